//! Signing in with a passkey and nothing else: no name is typed, the authenticator says
//! whose it is.
//!
//! The order: the challenge is used up, whatever comes after; the credential's owner is
//! locked; the proof is verified; counter and session are written. All in one
//! transaction, so that of any number of copies of one answer one begins a session.
//! Whether wrong passwords have locked the account is not asked, nor how many there were
//! from this address: nobody guesses a signature, and a stranger must not be able to keep
//! the owner out. Whatever is wrong, the answer is the same. Refuses to know how a
//! session is written.

use std::sync::Arc;

use access::Permission;
use audit::EventType;
use operation::{Applied, Call, Command, Failure, OperationError};
use serde_json::json;
use tenancy::{DbError, OpContext, Query, RequestInfo, TenantId, TenantRef, TenantTx};
use uuid::Uuid;
use vault::OpaqueToken;

use super::{
    Parameters, PasskeyProof,
    ceremony::{Purpose, RequestOptions, begin, consume, new_challenge, presented},
    not_accepted,
    proof::{Unproven, prove},
};
use crate::{
    ConsoleGrant, Identity, TokenGrant,
    events::about,
    session_begin::{self, Accepted, Assurance, Begun, Entrant, SessionBegin, SessionFor},
    webauthn::{CREDENTIAL_ID_BYTES_MAX, Expected, RelyingParty},
};

const OWNER: &str = tenancy::sql!("identity/passkeys.sql", "owner");

impl Identity {
    /// What a browser needs to sign somebody in by a passkey of theirs, whoever it is.
    /// The refusals are 422 `passkeys_unavailable` and no more: nobody is named.
    pub async fn passkey_sign_in_options(
        &self,
        tenant: Arc<TenantRef>,
        from: Arc<RequestInfo>,
    ) -> Result<RequestOptions, OperationError> {
        let party = self.party()?;
        let context = self.anonymous(tenant, from);
        let challenge = new_challenge(context.tenant_id(), Purpose::SignIn)?;
        let command = BeginSignIn { challenge: challenge.clone() };
        self.inner.operations.run_one(Call { context, idempotency_key: None, command }).await?;
        Ok(RequestOptions::new(&party, &challenge, Vec::new()))
    }

    /// Signs in by passkey. 401 `passkey_not_accepted`, whatever is wrong.
    pub async fn sign_in_by_passkey(
        &self,
        proof: PasskeyProof,
        from: Arc<RequestInfo>,
    ) -> Result<TokenGrant, OperationError> {
        let begun = self.begin_by_passkey(proof, from, SessionFor::Client).await?;
        self.tokens_of(&begun)
    }

    /// As [`Identity::sign_in_by_passkey`], to the console.
    pub async fn sign_in_console_by_passkey(
        &self,
        proof: PasskeyProof,
        from: Arc<RequestInfo>,
    ) -> Result<ConsoleGrant, OperationError> {
        let begun = self.begin_by_passkey(proof, from, SessionFor::Console).await?;
        Ok(Self::cookie_of(&begun))
    }

    async fn begin_by_passkey(
        &self,
        proof: PasskeyProof,
        from: Arc<RequestInfo>,
        session_for: SessionFor,
    ) -> Result<Begun, OperationError> {
        let identity = self.clone();
        // A task of its own: what ended because there were too many sessions must be
        // forgotten here even where the client does not wait.
        let whole = async move { identity.by_passkey_whole(proof, from, session_for).await };
        tokio::spawn(whole).await.unwrap_or(Err(OperationError::Aborted))
    }

    async fn by_passkey_whole(
        &self,
        proof: PasskeyProof,
        from: Arc<RequestInfo>,
        session_for: SessionFor,
    ) -> Result<Begun, OperationError> {
        let party = self.party()?;
        let challenge = presented(&proof.client_data, Purpose::SignIn).ok_or_else(not_accepted)?;
        let tenant = self.inner.directory.by_id(TenantId(challenge.tenant())).await?;
        let context = self.anonymous(tenant.ok_or_else(not_accepted)?, from);
        let state = self.state(&context).await?;
        let owner = self.passkey_owner(&context, &proof.credential_id).await?;
        let (begin, secret) = match owner {
            Some((user, username_key)) => {
                let entrant = Entrant::named(&state, user, username_key);
                let how = (session_for, Assurance::Passkey);
                let (begin, secret) = SessionBegin::prepare(&context, &state, entrant, how)?;
                (Some(begin), Some(secret))
            }
            None => (None, None),
        };
        let command = SignIn { party, challenge, proof, begin };
        let call = Call { context: context.clone(), idempotency_key: None, command };
        let accepted = self.inner.operations.run_one(call).await?.output;
        // The command refuses where there is no owner.
        let secret = secret.ok_or_else(not_accepted)?;
        Ok(self.begun((&context, &state), accepted, secret))
    }

    async fn passkey_owner(
        &self,
        context: &OpContext,
        credential_id: &[u8],
    ) -> Result<Option<(Uuid, String)>, DbError> {
        if credential_id.len() > CREDENTIAL_ID_BYTES_MAX {
            return Ok(None);
        }
        let tenant = context.tenant_id();
        let parameters: Parameters<'_, 2> = [&tenant, &credential_id];
        let database = self.inner.operations.database();
        let rows = database.look_up(context, Query::new(OWNER, &parameters)).await?;
        let Some(row) = rows.first() else { return Ok(None) };
        Ok(Some((row.try_get("id")?, row.try_get("username_key")?)))
    }
}

struct BeginSignIn {
    challenge: OpaqueToken,
}

impl Command for BeginSignIn {
    const NAME: &'static str = "auth.passkey_options";
    const RESOURCE: &'static str = "session";
    /// Nobody is known yet.
    const ANONYMOUS: bool = true;
    type Output = ();

    fn permission(&self) -> Permission {
        Permission::SessionRead
    }

    async fn execute(
        &self,
        transaction: &TenantTx,
        context: &OpContext,
    ) -> Result<Applied<()>, Failure> {
        begin(transaction, context, &self.challenge, Purpose::SignIn).await?;
        let event = about(context, EventType::ApiAccess, Self::NAME, (None, None));
        Ok(Applied { output: (), status: 200, events: vec![event] })
    }
}

/// Begins a session for whoever proves a passkey.
struct SignIn {
    party: RelyingParty,
    challenge: OpaqueToken,
    proof: PasskeyProof,
    /// None where nobody has the credential that was named.
    begin: Option<SessionBegin>,
}

impl Command for SignIn {
    const NAME: &'static str = "auth.passkey";
    const RESOURCE: &'static str = "session";
    /// Whoever holds the passkey.
    const ANONYMOUS: bool = true;
    type Output = Accepted;

    fn permission(&self) -> Permission {
        Permission::SessionRead
    }

    async fn execute(
        &self,
        transaction: &TenantTx,
        context: &OpContext,
    ) -> Result<Applied<Accepted>, Failure> {
        let owner = self.begin.as_ref().map(|begin| begin.entrant.user);
        let refuse = |unproven: Unproven| Failure::RefusedAndKept {
            refusal: not_accepted(),
            events: unproven.events(context, Self::NAME, owner),
        };
        if !consume(transaction, &self.challenge, Purpose::SignIn).await? {
            return Err(refuse(Unproven::Challenge));
        }
        let Some(begin) = &self.begin else { return Err(refuse(Unproven::UnknownCredential)) };
        let user = begin.entrant.user;
        let account = session_begin::lock(transaction, context, user).await?;
        let Some(account) = account.filter(|account| account.is_active) else {
            return Err(refuse(Unproven::Disabled));
        };
        let challenge = self.challenge.expose().as_bytes();
        let expected = Expected { party: &self.party, challenge, user_verification: true };
        let proven = prove(transaction, (user, &self.proof), &expected, true).await?;
        let (passkey, _) = proven.map_err(refuse)?;
        let (accepted, mut events) =
            begin.write(transaction, context, account.roles, (Self::NAME, &[])).await?;
        let who = (Some(user), Some(accepted.session_id));
        events.push(
            about(context, EventType::KeyUse, Self::NAME, who)
                .details(json!({ "passkey": passkey })),
        );
        Ok(Applied { output: accepted, status: 200, events })
    }
}
