//! By whose authority a passkey is made or taken away, and any other factor set up.
//!
//! Whoever has a session that is hours old may be a passer-by at an open screen, and a
//! passkey outlives the session. So it takes a second factor used within five minutes,
//! or, of somebody who has none, a sign-in within five minutes. Or the pending state of a
//! sign-in whose role requires a factor, while there is none.

use jiff::{SignedDuration, Timestamp};
use operation::{Failure, Refusal, RefusalKind};
use tenancy::{DbError, OpContext, SessionId, TenantTx};
use uuid::Uuid;

use super::{Parameters, ceremony::Purpose};
use crate::{
    claims::token_revoked,
    mfa::{Authority, no_pending_state},
    session_begin::{self, LockedAccount},
    sessions::own_user,
};

const FRESHNESS: &str = tenancy::sql!("identity/passkeys.sql", "freshness");

/// How lately somebody must have proven to be there.
const FRESH: SignedDuration = SignedDuration::from_secs(5 * 60);

/// Whose passkey is made, and by what right.
#[derive(Clone, Copy)]
pub(super) struct PasskeyOwner {
    pub(super) user: Uuid,
    pub(super) authority: Authority,
}

impl PasskeyOwner {
    /// What its challenge is for.
    pub(super) const fn purpose(self) -> Purpose {
        let user = self.user;
        match self.authority {
            Authority::Session(session) => Purpose::Registration { user, session },
            Authority::Pending { challenge, .. } => Purpose::Enrolment { user, pending: challenge },
        }
    }

    /// The account, locked, if its owner may make a passkey now.
    pub(super) async fn admitted(
        self,
        transaction: &TenantTx,
        context: &OpContext,
    ) -> Result<LockedAccount, Failure> {
        match self.authority {
            Authority::Session(session) => {
                let person = (self.user, session);
                // Locked first: whoever waited here finds what was enrolled meanwhile.
                let account = session_begin::lock(transaction, context, self.user).await?;
                require_fresh(transaction, context, person, false).await?;
                Ok(account.ok_or_else(token_revoked)?)
            }
            Authority::Pending { password_changed_at, .. } => {
                let account = session_begin::lock(transaction, context, self.user).await?;
                // Somebody who has a factor by now proves that one instead.
                let standing = account.filter(|account| {
                    account.may_enter()
                        && account.methods.is_empty()
                        && account.password_changed_at == password_changed_at
                });
                Ok(standing.ok_or_else(no_pending_state)?)
            }
        }
    }
}

/// The signed-in person and their session.
pub(super) fn own_session(context: &OpContext) -> Result<(Uuid, Uuid), Refusal> {
    let user = own_user(context)?;
    let SessionId(session) = context.session.ok_or_else(token_revoked)?;
    Ok((user, session))
}

/// Refuses who proved nothing lately, and a session that is over; `factor_needed` even where
/// they have no factor. Under the account's lock where what it guards must not be done twice.
pub(crate) async fn require_fresh(
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
