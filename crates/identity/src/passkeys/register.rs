//! Registering a passkey: what the browser is asked for, and what is stored of its answer.
//!
//! Refuses to know by whose authority it is made (`authority`'s).

use std::sync::Arc;

use access::Permission;
use audit::{AuditEvent, EventType};
use operation::{
    Applied, Call, Command, Failure, OperationError, Refusal, RefusalKind, event_context,
};
use serde_json::json;
use tenancy::{
    DbError, OpContext, Query, TenantTx,
    keyring::{KeyringError, load_subject_keys},
};
use uuid::Uuid;
use vault::{OpaqueToken, random_bytes};
use zeroize::Zeroizing;

use super::{
    PASSKEYS_MAX, Parameters, PasskeyRecord, PasskeyRegistration,
    authority::{PasskeyOwner, own_session},
    ceremony::{CreationOptions, Descriptor, begin, consume, new_challenge, presented},
    manage::{algorithm_name, load},
    stale_challenge, unacceptable,
};
use crate::{
    Identity,
    claims::token_revoked,
    context::key_failure,
    events::about,
    login::device_fingerprint,
    mfa::{
        Authority, Method, Told, checked_name, consume_challenge, end_other_sessions, fresh_codes,
        held, method_unavailable, store_backup_codes, tell,
    },
    session_begin::{Accepted, SessionBegin},
    sessions::Forgotten,
    tenant_state::TenantState,
    webauthn::{
        CREDENTIAL_ID_BYTES_MAX, Expected, Fault, RelyingParty,
        registration::{NewCredential, Registration},
    },
};

const NAME_USER: &str = tenancy::sql!("identity/passkeys.sql", "name_user");
const USER_HANDLE: &str = tenancy::sql!("identity/passkeys.sql", "user_handle");
const DESCRIPTORS: &str = tenancy::sql!("identity/passkeys.sql", "descriptors");
const FACTOR: &str = tenancy::sql!("identity/passkeys.sql", "factor");
const STORE: &str = tenancy::sql!("identity/passkeys.sql", "store");
const ENABLE: &str = tenancy::sql!("identity/mfa.sql", "enable");

/// Methods of a tenant's policy that a passkey is.
const POLICY_NAMES: [&str; 2] = ["passkey", "fido2"];
/// How browsers may look for a credential (WebAuthn section 5.8.4 and its registry).
const TRANSPORTS: [&str; 7] = ["ble", "cable", "hybrid", "internal", "nfc", "smart-card", "usb"];
const USER_HANDLE_BYTES: usize = 64;

/// A passkey that counts from now on.
pub struct PasskeyRegistered {
    /// The passkey.
    pub passkey: PasskeyRecord,
    /// The backup codes that come with the first factor; shown now and never again.
    pub backup_codes: Vec<Zeroizing<String>>,
}

impl std::fmt::Debug for PasskeyRegistered {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("PasskeyRegistered")
            .field("passkey", &self.passkey)
            .finish_non_exhaustive()
    }
}

impl Identity {
    /// What a browser needs to make a passkey for the caller. 403 `step_up_required` or
    /// `sign_in_required` where they proved nothing lately; 422 `method_unavailable`
    /// where policy knows no passkeys, `too_many_passkeys`.
    pub async fn passkey_creation_options(
        &self,
        context: &OpContext,
    ) -> Result<CreationOptions, OperationError> {
        let (user, session) = own_session(context)?;
        let state = self.state(context).await?;
        let facts = self.session(context, session).await?.ok_or_else(token_revoked)?;
        let owner = PasskeyOwner { user, authority: Authority::Session(session) };
        self.begin_registration(context, state, owner, facts.username.clone()).await
    }

    /// Stores a passkey that the caller's authenticator made. The refusals are those of
    /// [`Identity::passkey_creation_options`], 422 with what is wrong with the answer,
    /// and 409 `passkey_exists`.
    pub async fn register_passkey(
        &self,
        context: &OpContext,
        registration: PasskeyRegistration,
    ) -> Result<PasskeyRegistered, OperationError> {
        let (user, session) = own_session(context)?;
        let state = self.state(context).await?;
        let owner = PasskeyOwner { user, authority: Authority::Session(session) };
        let (made, _) = self.register_for(context, (state, owner), registration, None).await?;
        Ok(made)
    }

    /// What a browser needs, by whosever authority.
    pub(super) async fn begin_registration(
        &self,
        context: &OpContext,
        state: Arc<TenantState>,
        owner: PasskeyOwner,
        username: String,
    ) -> Result<CreationOptions, OperationError> {
        let party = self.party()?;
        let challenge = new_challenge(context.tenant_id(), owner.purpose())?;
        let command = BeginRegistration { state, owner, challenge: challenge.clone() };
        let call = Call { context: context.clone(), idempotency_key: None, command };
        let known = self.inner.operations.run_one(call).await?.output;
        let exclude = known
            .credentials
            .into_iter()
            .map(|(credential_id, transports)| Descriptor { credential_id, transports });
        let rp_name = context.tenant.slug.clone();
        Ok(CreationOptions::new(
            (&party, &challenge),
            (known.user_handle, username),
            (rp_name, exclude.collect()),
        ))
    }

    /// Stores a passkey, by whosever authority; with the session that comes of it, where
    /// one does.
    pub(super) async fn register_for(
        &self,
        context: &OpContext,
        (state, owner): (Arc<TenantState>, PasskeyOwner),
        registration: PasskeyRegistration,
        begin: Option<SessionBegin>,
    ) -> Result<(PasskeyRegistered, Option<Accepted>), OperationError> {
        let user = owner.user;
        let (codes, backup_hashes) = fresh_codes(&state, user);
        let command = Register {
            party: self.party()?,
            name: checked_name(registration.name.as_deref().unwrap_or(Method::Passkey.title()))?,
            transports: known_transports(&registration.transports),
            state,
            registration,
            backup_hashes,
            owner,
            begin,
        };
        // A factor changes what this node remembers of all of the person's sessions.
        let made = self.run_and_forget(context, command, Forgotten::User(user)).await?;
        let backup_codes = if made.codes_stored { codes } else { Vec::new() };
        Ok((PasskeyRegistered { passkey: made.passkey, backup_codes }, made.accepted))
    }
}

/// Transports that are known, each once; others are a newer browser's and no fault.
fn known_transports(given: &[String]) -> Vec<String> {
    let named = |name: &&str| given.iter().any(|given| given == name);
    TRANSPORTS.iter().filter(|name| named(name)).map(|name| (*name).to_owned()).collect()
}

fn require_method(state: &TenantState) -> Result<(), Refusal> {
    let methods = &state.policy.mfa.methods;
    if methods.iter().any(|method| POLICY_NAMES.contains(&method.as_str())) {
        return Ok(());
    }
    Err(method_unavailable())
}

struct BeginRegistration {
    state: Arc<TenantState>,
    owner: PasskeyOwner,
    challenge: OpaqueToken,
}

/// What is known of somebody who is about to have another passkey.
#[derive(Clone, serde::Serialize, serde::Deserialize)]
struct Known {
    user_handle: Vec<u8>,
    credentials: Vec<(Vec<u8>, Vec<String>)>,
}

impl Command for BeginRegistration {
    const NAME: &'static str = "passkey.begin";
    const RESOURCE: &'static str = "passkey";
    /// One's own, whatever the role; [`PasskeyOwner`] makes sure of it.
    const ANONYMOUS: bool = true;
    type Output = Known;

    fn permission(&self) -> Permission {
        Permission::SessionRead
    }

    async fn execute(
        &self,
        transaction: &TenantTx,
        context: &OpContext,
    ) -> Result<Applied<Known>, Failure> {
        require_method(&self.state)?;
        let user = self.owner.user;
        self.owner.admitted(transaction, context).await?;
        let (tenant, handle) = (context.tenant_id(), random_bytes::<USER_HANDLE_BYTES>());
        let handle = handle.as_slice();
        let name: Parameters<'_, 3> = [&tenant, &user, &handle];
        let person: Parameters<'_, 2> = [&tenant, &user];
        let rows = transaction
            .pipeline(&[
                Query::new(NAME_USER, &name),
                Query::new(USER_HANDLE, &person),
                Query::new(DESCRIPTORS, &person),
            ])
            .await?;
        let [_, handles, credentials] = rows.as_slice() else {
            return Err(DbError::Corrupt("three statements gave other results".to_owned()).into());
        };
        let handle = handles.first().ok_or_else(Refusal::not_found)?;
        if credentials.len() >= PASSKEYS_MAX {
            return Err(too_many().into());
        }
        begin(transaction, context, &self.challenge, self.owner.purpose()).await?;
        let credentials = credentials
            .iter()
            .map(|row| Descriptor::read(row).map(|known| (known.credential_id, known.transports)));
        let output = Known {
            user_handle: handle.try_get("user_handle").map_err(DbError::from)?,
            credentials: credentials.collect::<Result<_, _>>()?,
        };
        let event = about(context, EventType::ApiAccess, Self::NAME, (Some(user), None));
        Ok(Applied { output, status: 200, events: vec![event] })
    }
}

fn too_many() -> Refusal {
    const { assert!(PASSKEYS_MAX == 20, "the sentence names the number") };
    let detail = "Nobody may have more than 20 passkeys";
    Refusal::new(RefusalKind::Rule, "too_many_passkeys", detail)
}

struct Register {
    party: RelyingParty,
    state: Arc<TenantState>,
    registration: PasskeyRegistration,
    name: String,
    transports: Vec<String>,
    /// Stored where this is the person's first factor.
    backup_hashes: Vec<[u8; 32]>,
    owner: PasskeyOwner,
    /// Of a sign-in that required it, and ends with it.
    begin: Option<SessionBegin>,
}

/// What a registration came to.
#[derive(Clone, serde::Serialize, serde::Deserialize)]
struct Made {
    passkey: PasskeyRecord,
    codes_stored: bool,
    accepted: Option<Accepted>,
}

impl Command for Register {
    const NAME: &'static str = "passkey.register";
    const RESOURCE: &'static str = "passkey";
    /// One's own, whatever the role; [`PasskeyOwner`] makes sure of it.
    const ANONYMOUS: bool = true;
    type Output = Made;

    fn permission(&self) -> Permission {
        Permission::SessionRead
    }

    async fn execute(
        &self,
        transaction: &TenantTx,
        context: &OpContext,
    ) -> Result<Applied<Made>, Failure> {
        require_method(&self.state)?;
        // Its lock is held to the end, so that two registrations count each other.
        let account = self.owner.admitted(transaction, context).await?;
        let purpose = self.owner.purpose();
        let challenge = presented(&self.registration.client_data, purpose)
            .filter(|challenge| challenge.tenant() == context.tenant_id())
            .ok_or_else(stale_challenge)?;
        if !consume(transaction, &challenge, purpose).await? {
            return Err(stale_challenge().into());
        }
        let credential = match self.verified(&challenge) {
            Ok(credential) => credential,
            // The challenge stays used: an answer is judged once.
            Err(fault) => return Err(self.refused(context, fault)),
        };
        let (tenant, person) = (context.tenant_id(), self.owner.user);
        let parameters: Parameters<'_, 2> = [&tenant, &person];
        if transaction.query(DESCRIPTORS, &parameters).await?.len() >= PASSKEYS_MAX {
            return Err(too_many().into());
        }
        let first = !held(transaction, person).await?.iter().any(|held| held.config.is_some());
        let id = context.clock.new_id();
        if !self.store(transaction, context, (id, &credential)).await? {
            let detail = "This passkey is registered already";
            return Err(Refusal::new(RefusalKind::Conflict, "passkey_exists", detail).into());
        }
        if first {
            end_other_sessions(transaction, context, person).await?;
        }
        let codes_stored =
            first && self.state.policy.mfa.methods.iter().any(|name| name == "backup");
        if codes_stored {
            store_backup_codes(transaction, context, (person, &self.backup_hashes)).await?;
        }
        let told = Told::Added { factor: &self.name };
        tell(transaction, context, &self.state.keys, (person, told)).await?;
        let passkey = load(transaction, &self.state.keys, (person, id)).await?;
        let mut events = vec![self.event(context).resource_id(id).details(json!({
            "algorithm": algorithm_name(credential.algorithm),
            "aaguid": credential.aaguid,
            "backup_eligible": credential.backup_eligible,
        }))];
        let (accepted, began) = self.sign_in(transaction, context, account.roles).await?;
        events.extend(began);
        let output = Made { passkey, codes_stored, accepted };
        Ok(Applied { output, status: 201, events })
    }
}

impl Register {
    /// Ends the pending sign-in with its session, where that is what it was made for.
    async fn sign_in(
        &self,
        transaction: &TenantTx,
        context: &OpContext,
        roles: Vec<String>,
    ) -> Result<(Option<Accepted>, Vec<AuditEvent>), Failure> {
        let (Some(begin), Authority::Pending { challenge, .. }) =
            (&self.begin, self.owner.authority)
        else {
            return Ok((None, Vec::new()));
        };
        consume_challenge(transaction, challenge).await??;
        let (accepted, events) =
            begin.write(transaction, context, roles, (Self::NAME, &[])).await?;
        Ok((Some(accepted), events))
    }

    fn event(&self, context: &OpContext) -> AuditEvent {
        let mut shared = event_context(context);
        shared.user_id = Some(self.owner.user);
        AuditEvent::new(&shared, EventType::CredentialChange, Self::NAME, Self::RESOURCE)
    }

    /// A refusal that leaves the challenge used.
    fn refused(&self, context: &OpContext, fault: Fault) -> Failure {
        let event = self
            .event(context)
            .outcome(audit::Outcome::Failed)
            .details(json!({ "reason": fault.code() }));
        Failure::RefusedAndKept { refusal: unacceptable(fault), events: vec![event] }
    }

    fn verified(&self, challenge: &OpaqueToken) -> Result<NewCredential, Fault> {
        let given = &self.registration;
        if given.credential_id.len() > CREDENTIAL_ID_BYTES_MAX {
            return Err(Fault::WrongCredential);
        }
        let registration = Registration {
            credential_id: &given.credential_id,
            client_data: &given.client_data,
            attestation: &given.attestation,
        };
        let challenge = challenge.expose().as_bytes();
        registration.verify(&Expected { party: &self.party, challenge, user_verification: true })
    }

    /// Stores the credential under its owner's one factor; false where it is known.
    async fn store(
        &self,
        transaction: &TenantTx,
        context: &OpContext,
        (id, credential): (Uuid, &NewCredential),
    ) -> Result<bool, DbError> {
        let (tenant, keys) = (context.tenant_id(), &self.state.keys);
        let subjects =
            load_subject_keys(transaction, keys, &[self.owner.user]).await.map_err(key_failure)?;
        let subject = subjects.get(&self.owner.user).ok_or(KeyringError::Shredded)?;
        let cell = ("webauthn_credentials", "name_sealed", id);
        let name = keys.seal(subject, cell, &self.name).map_err(key_failure)?;
        let device = device_fingerprint(&self.state, &context.request);
        let (factor_id, device) = (context.clock.new_id(), device.as_slice());
        let factor: Parameters<'_, 5> =
            [&tenant, &factor_id, &self.owner.user, &Method::Passkey.title(), &device];
        let person: Parameters<'_, 2> = [&tenant, &self.owner.user];
        let rows = transaction
            .pipeline(&[Query::new(FACTOR, &factor), Query::new(ENABLE, &person)])
            .await?;
        let row = rows.first().and_then(|rows| rows.first());
        let row = row.ok_or_else(|| DbError::Corrupt("a factor gave no row".to_owned()))?;
        let config: Uuid = row.try_get("id")?;
        let count = i64::from(credential.sign_count);
        let store: Parameters<'_, 13> = [
            &tenant,
            &id,
            &self.owner.user,
            &config,
            &credential.credential_id,
            &credential.public_key,
            &credential.algorithm,
            &count,
            &self.transports,
            &credential.aaguid,
            &credential.backup_eligible,
            &credential.backed_up,
            &name,
        ];
        Ok(transaction.query_opt(STORE, &store).await?.is_some())
    }
}
