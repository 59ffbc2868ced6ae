//! Registering a passkey, in a session whose owner proved lately to be there.
//!
//! Whoever has a session that is hours old may be a passer-by at an open screen, and a
//! passkey outlives the session. So it takes a second factor used within five minutes,
//! or, of somebody who has none, a sign-in within five minutes.

use std::sync::Arc;

use access::Permission;
use audit::EventType;
use jiff::{SignedDuration, Timestamp};
use operation::{Applied, Call, Command, Failure, OperationError, Refusal, RefusalKind, event};
use serde_json::json;
use tenancy::{
    DbError, OpContext, Query, SessionId, TenantTx,
    keyring::{KeyringError, load_subject_keys},
};
use uuid::Uuid;
use vault::{OpaqueToken, random_bytes};
use zeroize::Zeroizing;

use super::{
    PASSKEYS_MAX, Parameters, PasskeyRecord, PasskeyRegistration,
    ceremony::{CreationOptions, Descriptor, Purpose, begin, consume, new_challenge, presented},
    manage::{algorithm_name, load},
    stale_challenge, unacceptable,
};
use crate::{
    Identity,
    claims::token_revoked,
    context::key_failure,
    login::device_fingerprint,
    mfa::{
        Method, Told, checked_name, fresh_codes, held, method_unavailable, store_backup_codes, tell,
    },
    session_begin,
    sessions::{Forgotten, own_user},
    tenant_state::TenantState,
    webauthn::{
        CREDENTIAL_ID_BYTES_MAX, Expected, Fault, RelyingParty,
        registration::{NewCredential, Registration},
    },
};

const FRESHNESS: &str = tenancy::sql!("identity/passkeys.sql", "freshness");
const NAME_USER: &str = tenancy::sql!("identity/passkeys.sql", "name_user");
const USER_HANDLE: &str = tenancy::sql!("identity/passkeys.sql", "user_handle");
const DESCRIPTORS: &str = tenancy::sql!("identity/passkeys.sql", "descriptors");
const FACTOR: &str = tenancy::sql!("identity/passkeys.sql", "factor");
const STORE: &str = tenancy::sql!("identity/passkeys.sql", "store");
const ENABLE: &str = tenancy::sql!("identity/mfa.sql", "enable");

/// How lately somebody must have proven to be there.
const FRESH: SignedDuration = SignedDuration::from_secs(5 * 60);
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
        let party = self.party()?;
        let state = self.state(context).await?;
        let facts = self.session(context, session).await?.ok_or_else(token_revoked)?;
        let purpose = Purpose::Registration { user, session };
        let challenge = new_challenge(context.tenant_id(), purpose)?;
        let command = BeginRegistration { state, user, session, challenge: challenge.clone() };
        let call = Call { context: context.clone(), idempotency_key: None, command };
        let known = self.inner.operations.run_one(call).await?.output;
        let exclude = known
            .credentials
            .into_iter()
            .map(|(credential_id, transports)| Descriptor { credential_id, transports });
        let rp_name = context.tenant.slug.clone();
        Ok(CreationOptions::new(
            (&party, &challenge),
            (known.user_handle, facts.username.clone()),
            (rp_name, exclude.collect()),
        ))
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
        let (codes, backup_hashes) = fresh_codes(&state, user);
        let command = Register {
            party: self.party()?,
            name: checked_name(registration.name.as_deref().unwrap_or(Method::Passkey.title()))?,
            transports: known_transports(&registration.transports),
            state,
            registration,
            backup_hashes,
            user,
            session,
        };
        // A factor changes what this node remembers of all of the person's sessions.
        let made = self.run_and_forget(context, command, Forgotten::User(user)).await?;
        let backup_codes = if made.codes_stored { codes } else { Vec::new() };
        Ok(PasskeyRegistered { passkey: made.passkey, backup_codes })
    }
}

/// The signed-in person and their session.
pub(super) fn own_session(context: &OpContext) -> Result<(Uuid, Uuid), Refusal> {
    let user = own_user(context)?;
    let SessionId(session) = context.session.ok_or_else(token_revoked)?;
    Ok((user, session))
}

/// Transports that are known, each once; others are a newer browser's and no fault.
fn known_transports(given: &[String]) -> Vec<String> {
    let named = |name: &&str| given.iter().any(|given| given == name);
    TRANSPORTS.iter().filter(|name| named(name)).map(|name| (*name).to_owned()).collect()
}

/// Refuses who proved nothing lately; `factor_needed` even where they have none.
pub(super) async fn require_fresh(
    transaction: &TenantTx,
    context: &OpContext,
    (user, session): (Uuid, Uuid),
    factor_needed: bool,
) -> Result<(), Failure> {
    let parameters: Parameters<'_, 3> = [&transaction.tenant(), &session, &user];
    let row = transaction.query_opt(FRESHNESS, &parameters).await?.ok_or_else(token_revoked)?;
    let read = || -> Result<_, tokio_postgres::Error> {
        let factor_due = row.try_get::<_, bool>("mfa_enabled")? || row.try_get("step_up_due")?;
        Ok((row.try_get("created_at")?, row.try_get("mfa_at")?, factor_due))
    };
    // A session that looked odd is not fresh by its password alone.
    let (began_at, factor_at, has_factor): (Timestamp, Option<Timestamp>, bool) =
        read().map_err(DbError::from)?;
    let fresh = |at: Timestamp| context.clock.now().duration_since(at) <= FRESH;
    if factor_at.is_some_and(fresh) || (!has_factor && !factor_needed && fresh(began_at)) {
        return Ok(());
    }
    let (code, detail) = if has_factor || factor_needed {
        ("step_up_required", "Prove a second factor first (POST /v1/auth/step-up)")
    } else {
        ("sign_in_required", "Sign in again first")
    };
    Err(Refusal::new(RefusalKind::Denied, code, detail).into())
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
    user: Uuid,
    session: Uuid,
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
    /// One's own, whatever the role; `own_session` made sure of it.
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
        require_fresh(transaction, context, (self.user, self.session), false).await?;
        let (tenant, handle) = (context.tenant_id(), random_bytes::<USER_HANDLE_BYTES>());
        let handle = handle.as_slice();
        let name: Parameters<'_, 3> = [&tenant, &self.user, &handle];
        let person: Parameters<'_, 2> = [&tenant, &self.user];
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
        let purpose = Purpose::Registration { user: self.user, session: self.session };
        begin(transaction, context, &self.challenge, purpose).await?;
        let credentials = credentials
            .iter()
            .map(|row| Descriptor::read(row).map(|known| (known.credential_id, known.transports)));
        let output = Known {
            user_handle: handle.try_get("user_handle").map_err(DbError::from)?,
            credentials: credentials.collect::<Result<_, _>>()?,
        };
        let event = event(context, EventType::ApiAccess, Self::NAME, Self::RESOURCE);
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
    user: Uuid,
    session: Uuid,
}

/// What a registration came to.
#[derive(Clone, serde::Serialize, serde::Deserialize)]
struct Made {
    passkey: PasskeyRecord,
    codes_stored: bool,
}

impl Command for Register {
    const NAME: &'static str = "passkey.register";
    const RESOURCE: &'static str = "passkey";
    /// One's own, whatever the role; `own_session` made sure of it.
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
        require_fresh(transaction, context, (self.user, self.session), false).await?;
        let purpose = Purpose::Registration { user: self.user, session: self.session };
        let challenge = presented(&self.registration.client_data, purpose)
            .filter(|challenge| challenge.tenant() == context.tenant_id())
            .ok_or_else(stale_challenge)?;
        // Held to the end, so that two registrations count each other.
        session_begin::lock(transaction, context, self.user).await?.ok_or_else(token_revoked)?;
        if !consume(transaction, &challenge, purpose).await? {
            return Err(stale_challenge().into());
        }
        let credential = match self.verified(&challenge) {
            Ok(credential) => credential,
            // The challenge stays used: an answer is judged once.
            Err(fault) => return Err(refused(context, fault)),
        };
        let (tenant, person) = (context.tenant_id(), self.user);
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
        let codes_stored =
            first && self.state.policy.mfa.methods.iter().any(|name| name == "backup");
        if codes_stored {
            store_backup_codes(transaction, context, (person, &self.backup_hashes)).await?;
        }
        let told = Told::Added { factor: &self.name };
        tell(transaction, context, &self.state.keys, (person, told)).await?;
        let passkey = load(transaction, &self.state.keys, (person, id)).await?;
        let event = event(context, EventType::CredentialChange, Self::NAME, Self::RESOURCE)
            .resource_id(id)
            .details(json!({
                "algorithm": algorithm_name(credential.algorithm),
                "aaguid": credential.aaguid,
                "backup_eligible": credential.backup_eligible,
            }));
        let output = Made { passkey, codes_stored };
        Ok(Applied { output, status: 201, events: vec![event] })
    }
}

impl Register {
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
            load_subject_keys(transaction, keys, &[self.user]).await.map_err(key_failure)?;
        let subject = subjects.get(&self.user).ok_or(KeyringError::Shredded)?;
        let cell = ("webauthn_credentials", "name_sealed", id);
        let name = keys.seal(subject, cell, &self.name).map_err(key_failure)?;
        let device = device_fingerprint(&self.state, &context.request);
        let (factor_id, device) = (context.clock.new_id(), device.as_slice());
        let factor: Parameters<'_, 5> =
            [&tenant, &factor_id, &self.user, &Method::Passkey.title(), &device];
        let person: Parameters<'_, 2> = [&tenant, &self.user];
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
            &self.user,
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

/// A refusal that leaves the challenge used.
fn refused(context: &OpContext, fault: Fault) -> Failure {
    let event = event(context, EventType::CredentialChange, Register::NAME, Register::RESOURCE)
        .outcome(audit::Outcome::Failed)
        .details(json!({ "reason": fault.code() }));
    Failure::RefusedAndKept { refusal: unacceptable(fault), events: vec![event] }
}
