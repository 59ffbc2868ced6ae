//! Passkeys and hardware keys: enrolling them, signing in with nothing else, and the list
//! of one's own.
//!
//! Owns the challenges given to browsers and what is stored of a credential. A person's
//! passkeys are theirs whatever their role, so no policy is asked and another's is not
//! found. All of a person's passkeys together are one of their second factors (`mfa`'s),
//! which comes with the first and goes with the last. Who we are to browsers comes from
//! `PUBLIC_URL` alone. Refuses to know how a ceremony is verified (`webauthn`'s) and how a
//! session begins (`session_begin`'s).

mod authority;
mod ceremony;
mod enrol;
mod manage;
mod proof;
mod register;
mod second_factor;
mod sign_in;

use jiff::Timestamp;
use operation::{FieldError, Refusal, RefusalKind};
use serde::{Deserialize, Serialize};
use tenancy::TenantId;
use uuid::Uuid;

pub(crate) use authority::require_fresh;
pub use ceremony::{CreationOptions, Descriptor, RequestOptions};
pub use register::PasskeyRegistered;
pub(crate) use second_factor::PasskeyPresented;

use crate::{
    Identity,
    webauthn::{Fault, RelyingParty},
};

/// Passkeys that one person may have.
const PASSKEYS_MAX: usize = 20;

/// A registration, as the browser gave it.
pub struct PasskeyRegistration {
    /// `rawId`.
    pub credential_id: Vec<u8>,
    /// `response.clientDataJSON`.
    pub client_data: Vec<u8>,
    /// `response.attestationObject`.
    pub attestation: Vec<u8>,
    /// `response.transports`: how browsers may look for it.
    pub transports: Vec<String>,
    /// What its owner calls it.
    pub name: Option<String>,
}

/// A proof, as the browser gave it.
pub struct PasskeyProof {
    /// `rawId`.
    pub credential_id: Vec<u8>,
    /// `response.clientDataJSON`.
    pub client_data: Vec<u8>,
    /// `response.authenticatorData`.
    pub authenticator_data: Vec<u8>,
    /// `response.signature`.
    pub signature: Vec<u8>,
    /// `response.userHandle`.
    pub user_handle: Option<Vec<u8>>,
}

impl PasskeyProof {
    /// The tenant that it claims to be for: good enough to choose limits by, proven by
    /// nothing.
    pub fn tenant_hint(&self) -> Option<TenantId> {
        ceremony::presented(&self.client_data, ceremony::Purpose::SignIn)
            .map(|challenge| TenantId(challenge.tenant()))
    }
}

/// A passkey as its owner sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PasskeyRecord {
    /// Ours, not the authenticator's.
    pub id: Uuid,
    /// What its owner calls it.
    pub name: String,
    /// `ES256`, `EdDSA` or `RS256`.
    pub algorithm: String,
    /// The authenticator's model; none where it does not say.
    pub aaguid: Option<Uuid>,
    /// How browsers look for it.
    pub transports: Vec<String>,
    /// Whether it can be on several devices.
    pub backup_eligible: bool,
    /// Whether it was when it was last used.
    pub backed_up: bool,
    /// When it was last used.
    pub last_used_at: Option<Timestamp>,
    /// When it was registered.
    pub created_at: Timestamp,
    /// When its name was last changed, or it was last used.
    pub updated_at: Timestamp,
    /// Counts changes, not uses.
    pub version: i64,
}

/// Stands for the parts of a ceremony in `Debug`: they hold challenges and signatures.
macro_rules! hide {
    ($($name:ident),*) => { $(
        impl std::fmt::Debug for $name {
            fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                formatter.debug_struct(stringify!($name)).finish_non_exhaustive()
            }
        }
    )* };
}
hide!(PasskeyRegistration, PasskeyProof);

impl Identity {
    /// Who we are to browsers. 422 where `PUBLIC_URL` has no host name.
    fn party(&self) -> Result<RelyingParty, Refusal> {
        let detail = "Passkeys need a host name: PUBLIC_URL has none";
        RelyingParty::of(&self.inner.config.public_url)
            .ok_or_else(|| Refusal::new(RefusalKind::Rule, "passkeys_unavailable", detail))
    }
}

/// A registration that is not acceptable, said to its owner.
fn unacceptable(fault: Fault) -> Refusal {
    let message = match fault {
        Fault::UserNotVerified => "The authenticator did not verify you (PIN, finger or face)",
        Fault::UnacceptableKey => "The authenticator knows none of the algorithms asked for",
        Fault::UnverifiableAttestation => "The authenticator's statement cannot be verified here",
        Fault::WrongOrigin | Fault::CrossOrigin | Fault::WrongRelyingParty => {
            "It was made for another site"
        }
        _ => "It is not the answer that is due",
    };
    at_fault(fault.code(), fault.field(), message)
}

/// An answer to a challenge that is over, was used, or is not this person's.
fn stale_challenge() -> Refusal {
    let message = "The challenge is over or was used. Ask for another";
    at_fault("challenge_expired", "credential.response.clientDataJSON", message)
}

fn at_fault(code: &'static str, field: &'static str, message: &str) -> Refusal {
    let error = FieldError { field: field.into(), code: code.into(), message: message.to_owned() };
    Refusal {
        errors: vec![error],
        ..Refusal::new(RefusalKind::Rule, NOT_ACCEPTED, NOT_ACCEPTED_DETAIL)
    }
}

/// The one answer to a passkey that proves nothing, whatever is wrong.
fn not_accepted() -> Refusal {
    Refusal::unauthenticated(NOT_ACCEPTED, NOT_ACCEPTED_DETAIL)
}

const NOT_ACCEPTED: &str = "passkey_not_accepted";
const NOT_ACCEPTED_DETAIL: &str = "The passkey was not accepted";

type Parameters<'a, const N: usize> = [&'a (dyn tokio_postgres::types::ToSql + Sync); N];
