//! Contexts in which identity itself acts, and the conversion of lower errors.
//!
//! Refuses to know what is done in them.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use operation::{OperationError, Refusal, RefusalKind};
use tenancy::{
    Actor, ActorKind, DbError, OpContext, RequestInfo, TenantRef, keyring::KeyringError,
};
use vault::{password::PasswordError, signing::JwtError, signing::SigningKeyError};

use crate::Identity;

impl Identity {
    /// Nobody yet, in one tenant: sign-in, refresh, the check of a token.
    pub(crate) fn anonymous(&self, tenant: Arc<TenantRef>, request: Arc<RequestInfo>) -> OpContext {
        OpContext {
            tenant,
            actor: Actor::system(ActorKind::Anonymous),
            session: None,
            request,
            clock: self.inner.clock.clone(),
        }
    }
}

/// A keyring that does not open is corrupt storage.
pub(crate) fn key_failure(error: KeyringError) -> DbError {
    DbError::from(error)
}

/// A stored signing key that does not open is corrupt storage.
pub(crate) fn signing_failure(error: SigningKeyError) -> DbError {
    DbError::Corrupt(format!("signing key: {error}"))
}

/// A token that cannot be signed is an error of ours.
pub(crate) fn token_failure(error: JwtError) -> DbError {
    DbError::Corrupt(format!("access token: {error}"))
}

/// Hashing is busy (try again) or broken (corrupt storage).
pub(crate) fn password_failure(error: PasswordError) -> OperationError {
    match error {
        PasswordError::Busy { retry_after_s } => {
            let detail = format!("Try again in {retry_after_s} seconds");
            Refusal::new(RefusalKind::Unavailable, "busy", detail).retry_after(retry_after_s).into()
        }
        other => DbError::Corrupt(other.to_string()).into(),
    }
}

/// The refusal, or the 503 that stands for a failure of ours.
pub(crate) fn into_refusal(error: OperationError) -> Refusal {
    match error {
        OperationError::Refused(refusal) => refusal,
        other => {
            say(&other);
            Refusal::new(RefusalKind::Unavailable, "unavailable", "Try again later").retry_after(1)
        }
    }
}

/// In an outage every request fails in the same way: one line a second says it.
const SILENCE: Duration = Duration::from_secs(1);

fn say(error: &OperationError) {
    static SAID: Mutex<Option<Instant>> = Mutex::new(None);
    let is_outage = matches!(
        error,
        OperationError::Database(
            DbError::Unavailable(_)
                | DbError::Stopped(_)
                | DbError::Retry(_)
                | DbError::StaleKeys(_)
        )
    );
    if !is_outage {
        tracing::error!(%error, "identity failed");
        return;
    }
    let now = Instant::now();
    let mut said = SAID.lock().unwrap_or_else(PoisonError::into_inner);
    if said.is_none_or(|at| now.duration_since(at) >= SILENCE) {
        *said = Some(now);
        tracing::warn!(%error, "nobody can be recognised");
    } else {
        tracing::debug!(%error, "nobody can be recognised");
    }
}
