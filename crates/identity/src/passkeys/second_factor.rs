//! A passkey as the second step of a sign-in that began with a password, and to prove a
//! factor again in a session.
//!
//! Owns the challenges of both and whether an answer is right. What an attempt costs, and
//! what a right one gives, is the same as with a code (`mfa`'s).

use std::sync::Arc;

use access::Permission;
use audit::EventType;
use operation::{Applied, Call, Command, Failure, OperationError};
use tenancy::{DbError, OpContext, RequestInfo, TenantTx};
use uuid::Uuid;
use vault::OpaqueToken;
use zeroize::Zeroizing;

use super::{
    Parameters, PasskeyProof,
    authority::own_session,
    ceremony::{Descriptor, Purpose, RequestOptions, begin, consume, new_challenge, presented},
    proof::prove,
};
use crate::{
    Identity,
    events::about,
    mfa::{
        ConsoleStep, Pending, Purpose as PendingPurpose, SteppedUp, Typed, VerifiedStep,
        method_unavailable,
    },
    session_begin::SessionFor,
    webauthn::{Expected, RelyingParty},
};

const DESCRIPTORS: &str = tenancy::sql!("identity/passkeys.sql", "descriptors");

/// The audit action of an attempt that raised an alarm.
const ACTION: &str = "mfa.passkey";

/// What an authenticator said, and on whose behalf it was asked.
pub(crate) struct PasskeyPresented {
    party: RelyingParty,
    proof: PasskeyProof,
    /// The challenge of the payment that it has to prove, and then nothing else.
    payment: Option<Uuid>,
}

impl PasskeyPresented {
    /// Has it prove the payment of a challenge.
    pub(crate) fn bind_to(&mut self, challenge: Uuid) {
        self.payment = Some(challenge);
    }

    /// Whether it proves a passkey of `user`'s, for the pending state that they came with
    /// or, where somebody is signed in, for their session. The challenge is used up
    /// whatever the answer. Runs under the lock on the account.
    pub(crate) async fn proves(
        &self,
        transaction: &TenantTx,
        context: &OpContext,
        (user, pending): (Uuid, Option<Uuid>),
    ) -> Result<bool, DbError> {
        let session = context.session.map(|session| session.0);
        let purpose = match (session, self.payment, pending) {
            (Some(session), Some(challenge), _) => Purpose::Payment { user, session, challenge },
            (Some(session), None, _) => Purpose::StepUp { user, session },
            (None, None, Some(pending)) => Purpose::SecondFactor { user, pending },
            (None, ..) => return Ok(false),
        };
        let challenge = presented(&self.proof.client_data, purpose)
            .filter(|challenge| challenge.tenant() == context.tenant_id());
        let Some(challenge) = challenge else { return Ok(false) };
        if !consume(transaction, &challenge, purpose).await? {
            return Ok(false);
        }
        let challenge = challenge.expose().as_bytes();
        let expected = Expected { party: &self.party, challenge, user_verification: true };
        // Whose it is has been said already, so that the authenticator need not.
        let proven = prove(transaction, (user, &self.proof), &expected, false).await?;
        let alarm = proven.err().and_then(|unproven| unproven.alarm(context, ACTION, Some(user)));
        if let Some(alarm) = alarm {
            audit::store::append(transaction, vec![alarm]).await?;
        }
        Ok(proven.is_ok())
    }
}

impl Identity {
    /// What a browser needs to finish a client's sign-in by passkey. 401 `invalid_token`;
    /// 422 `method_unavailable` where the person has none.
    pub async fn passkey_factor_options(
        &self,
        token: &str,
        from: Arc<RequestInfo>,
    ) -> Result<RequestOptions, OperationError> {
        self.factor_options(token, (SessionFor::Client, from)).await
    }

    /// As [`Identity::passkey_factor_options`], for the console.
    pub async fn passkey_console_factor_options(
        &self,
        token: &str,
        from: Arc<RequestInfo>,
    ) -> Result<RequestOptions, OperationError> {
        self.factor_options(token, (SessionFor::Console, from)).await
    }

    /// Finishes a client's sign-in by passkey; the refusals are those of
    /// [`Identity::verify_factor`].
    pub async fn verify_passkey_factor(
        &self,
        token: Zeroizing<String>,
        proof: PasskeyProof,
        from: Arc<RequestInfo>,
    ) -> Result<VerifiedStep, OperationError> {
        let typed = self.as_presented(proof)?;
        let (begun, proven) = self.second_step((token, typed), SessionFor::Client, from).await?;
        Ok(VerifiedStep { tokens: self.tokens_of(&begun)?, proven })
    }

    /// As [`Identity::verify_passkey_factor`], for the console.
    pub async fn verify_console_passkey_factor(
        &self,
        token: Zeroizing<String>,
        proof: PasskeyProof,
        from: Arc<RequestInfo>,
    ) -> Result<ConsoleStep, OperationError> {
        let typed = self.as_presented(proof)?;
        let (begun, proven) = self.second_step((token, typed), SessionFor::Console, from).await?;
        Ok(ConsoleStep { grant: Self::cookie_of(&begun), proven })
    }

    /// What a browser needs to prove a passkey of the caller's again. 422
    /// `method_unavailable` where they have none.
    pub async fn passkey_step_up_options(
        &self,
        context: &OpContext,
    ) -> Result<RequestOptions, OperationError> {
        let (user, session) = own_session(context)?;
        self.proof_options(context, (user, Purpose::StepUp { user, session })).await
    }

    /// Proves a passkey again; what it gives, and the refusals, are those of
    /// [`Identity::step_up`].
    pub async fn step_up_by_passkey(
        &self,
        context: &OpContext,
        proof: PasskeyProof,
    ) -> Result<SteppedUp, OperationError> {
        let typed = self.as_presented(proof)?;
        let (begun, proven) = self.stepped_up(context, typed, SessionFor::Client).await?;
        Ok(SteppedUp { tokens: self.tokens_of(&begun)?, proven })
    }

    /// As [`Identity::step_up_by_passkey`], for a session of the console.
    pub async fn step_up_console_by_passkey(
        &self,
        context: &OpContext,
        proof: PasskeyProof,
    ) -> Result<ConsoleStep, OperationError> {
        let typed = self.as_presented(proof)?;
        let (begun, proven) = self.stepped_up(context, typed, SessionFor::Console).await?;
        Ok(ConsoleStep { grant: Self::cookie_of(&begun), proven })
    }

    pub(crate) fn as_presented(&self, proof: PasskeyProof) -> Result<Typed, OperationError> {
        Ok(Typed::passkey(PasskeyPresented { party: self.party()?, proof, payment: None }))
    }

    /// What a browser needs to prove the payment of a challenge of the session.
    pub(crate) async fn payment_options(
        &self,
        context: &OpContext,
        challenge: Uuid,
    ) -> Result<RequestOptions, OperationError> {
        let (user, session) = own_session(context)?;
        self.proof_options(context, (user, Purpose::Payment { user, session, challenge })).await
    }

    async fn factor_options(
        &self,
        token: &str,
        (session_for, from): (SessionFor, Arc<RequestInfo>),
    ) -> Result<RequestOptions, OperationError> {
        let pending = self.pending(token, (PendingPurpose::SignIn, session_for), from).await?;
        let Pending { id, user, context, .. } = &pending;
        let purpose = Purpose::SecondFactor { user: *user, pending: *id };
        self.proof_options(context, (*user, purpose)).await
    }

    async fn proof_options(
        &self,
        context: &OpContext,
        (user, purpose): (Uuid, Purpose),
    ) -> Result<RequestOptions, OperationError> {
        let party = self.party()?;
        let challenge = new_challenge(context.tenant_id(), purpose)?;
        let command = BeginProof { user, purpose, challenge: challenge.clone() };
        let call = Call { context: context.clone(), idempotency_key: None, command };
        let known = self.inner.operations.run_one(call).await?.output;
        let allow = known
            .into_iter()
            .map(|(credential_id, transports)| Descriptor { credential_id, transports });
        Ok(RequestOptions::new(&party, &challenge, allow.collect()))
    }
}

struct BeginProof {
    user: Uuid,
    purpose: Purpose,
    challenge: OpaqueToken,
}

impl Command for BeginProof {
    const NAME: &'static str = "mfa.passkey_options";
    const RESOURCE: &'static str = "user";
    /// Whoever holds the pending token, or is signed in, about themselves.
    const ANONYMOUS: bool = true;
    type Output = Vec<(Vec<u8>, Vec<String>)>;

    fn permission(&self) -> Permission {
        Permission::SessionRead
    }

    async fn execute(
        &self,
        transaction: &TenantTx,
        context: &OpContext,
    ) -> Result<Applied<Self::Output>, Failure> {
        let parameters: Parameters<'_, 2> = [&transaction.tenant(), &self.user];
        let rows = transaction.query(DESCRIPTORS, &parameters).await?;
        if rows.is_empty() {
            return Err(method_unavailable().into());
        }
        begin(transaction, context, &self.challenge, self.purpose).await?;
        let known = rows
            .iter()
            .map(|row| Descriptor::read(row).map(|known| (known.credential_id, known.transports)));
        let output = known.collect::<Result<_, _>>()?;
        let event = about(context, EventType::ApiAccess, Self::NAME, (Some(self.user), None));
        Ok(Applied { output, status: 200, events: vec![event] })
    }
}
