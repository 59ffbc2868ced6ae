//! The charge of an attempt: committed before the code is compared, taken back by a
//! success and by nothing else.
//!
//! Of parallel guesses each counts those before it, so no more than the allowance is
//! ever compared: three a minute (the tenant's `mfa` limit), and five within a quarter
//! of an hour, which lock for as long. Refuses to know what was typed.

use access::Permission;
use audit::{EventType, Outcome as AuditOutcome};
use jiff::Timestamp;
use operation::{Applied, Call, Command, Failure, OperationError, Refusal, RefusalKind};
use serde_json::json;
use tenancy::{DbError, OpContext, Query, TenantTx};
use uuid::Uuid;

use super::{Method, Parameters};
use crate::{Identity, events::about, tenant_state::TenantState};

const CHARGE: &str = tenancy::sql!("identity/mfa.sql", "charge");
const COUNT_ATTEMPT: &str = tenancy::sql!("identity/mfa.sql", "count_attempt");
pub(super) const RECORD: &str = tenancy::sql!("identity/mfa.sql", "record");

/// An attempt that may be made, and is paid for.
#[derive(Clone, Copy)]
pub(crate) struct FactorCharge {
    /// The row in `mfa_verification_attempts`.
    pub(crate) attempt: Uuid,
    pub(crate) user: Uuid,
    pub(crate) challenge: Option<Uuid>,
    pub(crate) failures: i32,
    /// Whether it is the last before the lock.
    pub(crate) locks: bool,
}

impl Identity {
    /// Charges an attempt. 403 `account_locked`, 429 `rate_limited`.
    pub(crate) async fn charge_factor(
        &self,
        context: &OpContext,
        state: &TenantState,
        (user, challenge): (Uuid, Option<Uuid>),
        method: Option<Method>,
    ) -> Result<FactorCharge, OperationError> {
        let (tenant, attempt) = (context.tenant_id(), context.clock.new_id());
        let (ip, agent) = (context.request.ip, context.request.user_agent.as_deref());
        let most = i32::try_from(state.policy.rate_limits.mfa).unwrap_or(i32::MAX);
        let method = method.map_or("any", Method::as_str);
        let charge: Parameters<'_, 7> = [&user, &ip, &most, &attempt, &challenge, &method, &agent];
        let count: Parameters<'_, 2> = [&tenant, &challenge];
        let queries = [Query::new(CHARGE, &charge), Query::new(COUNT_ATTEMPT, &count)];
        let (transaction, rows) =
            self.inner.operations.database().begin_with(context, &queries).await?;
        transaction.commit().await?;
        let row = rows.first().and_then(|rows| rows.first()).ok_or_else(super::no_pending_state)?;
        let read = || -> Result<_, tokio_postgres::Error> {
            let may_attempt: bool = row.try_get("may_attempt")?;
            let locked_to: Option<Timestamp> = row.try_get("locked_to")?;
            let retry_at: Option<Timestamp> = row.try_get("retry_at")?;
            let (failures, locks) = (row.try_get("failures")?, row.try_get("locks")?);
            let charge = FactorCharge { attempt, user, challenge, failures, locks };
            Ok((may_attempt, locked_to, retry_at, charge))
        };
        let (may_attempt, locked_to, retry_at, charge) = read().map_err(DbError::from)?;
        if may_attempt {
            return Ok(charge);
        }
        let now = context.clock.now();
        let refusal = match (locked_to, retry_at) {
            (Some(until), _) => account_locked(seconds_to(now, until)),
            (None, until) => too_many(seconds_to(now, until.unwrap_or(now))),
        };
        Err(self.refuse_factor(context, user, refusal).await)
    }

    /// Keeps the record of an attempt that was never evaluated.
    pub(crate) async fn refuse_factor(
        &self,
        context: &OpContext,
        user: Uuid,
        refusal: Refusal,
    ) -> OperationError {
        let command = RefuseFactor { user, refusal: refusal.clone() };
        let call = Call { context: context.clone(), idempotency_key: None, command };
        match self.inner.operations.run_one(call).await {
            // The command always refuses.
            Ok(_) => refusal.into(),
            Err(error) => error,
        }
    }
}

/// 403: too many failures, of passwords or of codes. Told only to who knows the password.
pub(crate) fn account_locked(retry_after_s: u64) -> Refusal {
    let detail = "Too many failures. Try again later";
    Refusal::new(RefusalKind::Denied, "account_locked", detail).retry_after(retry_after_s)
}

fn too_many(retry_after_s: u64) -> Refusal {
    let detail = format!("Try again in {retry_after_s} seconds");
    Refusal::new(RefusalKind::RateLimited, "rate_limited", detail).retry_after(retry_after_s)
}

pub(crate) fn seconds_to(now: Timestamp, until: Timestamp) -> u64 {
    u64::try_from(until.duration_since(now).as_secs()).unwrap_or(0).max(1)
}

struct RefuseFactor {
    user: Uuid,
    refusal: Refusal,
}

impl Command for RefuseFactor {
    const NAME: &'static str = "mfa.verify";
    const RESOURCE: &'static str = "user";
    /// Whoever holds a pending token, or is signed in, about themselves.
    const ANONYMOUS: bool = true;
    type Output = ();

    fn permission(&self) -> Permission {
        Permission::SessionRead
    }

    async fn execute(&self, _: &TenantTx, context: &OpContext) -> Result<Applied<()>, Failure> {
        // Too many tries are an attack perhaps; nothing to try on is a mistake.
        let kind = match self.refusal.kind {
            RefusalKind::Rule => EventType::ApiAccess,
            _ => EventType::AuthFailure,
        };
        let event = about(context, kind, Self::NAME, (Some(self.user), None))
            .outcome(AuditOutcome::Denied)
            .details(json!({ "reason": self.refusal.code }));
        Err(Failure::RefusedAndKept { refusal: self.refusal.clone(), events: vec![event] })
    }
}
