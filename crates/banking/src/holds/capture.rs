//! Paying out of a hold. A batch is one call of the ledger, decided in memory.

use access::Permission;
use audit::{AuditEvent, EventType};
use ledger::{
    Hold,
    holds::{Capture, Captured, HoldError},
};
use operation::{Applied, Call, Command, Grouped, Target, command::Outcome, event};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tenancy::{DbError, OpContext, Query, TenantTx};
use tokio_postgres::{Row, types::ToSql};
use uuid::Uuid;

use super::{RESOURCE, changed_event, error::refusal, path_targets};
use crate::{
    approvals::{self, Ceiling},
    movements::business_date,
};

/// Pays out of a hold to the account it was promised to. Answers 200.
///
/// A hold that the actor may not read is 404; then the ledger's refusals in the order
/// of [`HoldError`], `approval_required` among them: who has authorised a hold of more than
/// the tenant's ceiling does not capture it as well. Above it nobody authorises one alone,
/// so this is the ceiling that was lowered since.
#[derive(Clone, Copy, Debug)]
pub struct CaptureHold {
    /// Which (from the path).
    pub hold_id: Uuid,
    /// Minor units; none means all that remains.
    pub amount: Option<i64>,
    /// Whether what is left is returned; else it stays kept back for further captures.
    pub is_final: bool,
}

/// What a capture did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CapturedHold {
    /// The hold as it is now.
    pub hold: Hold,
    /// The transfer that it made.
    pub transfer_id: Uuid,
    /// What was paid out, minor units.
    pub amount: i64,
}

impl CaptureHold {
    fn order(&self, context: &OpContext) -> Result<Capture, DbError> {
        Ok(Capture {
            hold_id: self.hold_id,
            amount: self.amount,
            is_final: self.is_final,
            transfer_id: context.clock.new_id(),
            business_date: business_date(context)?,
            created_by: context.actor.id,
            at: context.clock.now(),
        })
    }
}

impl Command for CaptureHold {
    const NAME: &'static str = "hold.capture";
    const RESOURCE: &'static str = RESOURCE;
    type Output = CapturedHold;

    fn permission(&self) -> Permission {
        Permission::HoldCapture
    }

    fn fingerprint(&self) -> Value {
        json!({
            "hold_id": self.hold_id,
            "amount": self.amount.map(|amount| amount.to_string()),
            "final": self.is_final,
        })
    }

    async fn execute(&self, transaction: &TenantTx, context: &OpContext) -> Outcome<CapturedHold> {
        let call = Call { context: context.clone(), idempotency_key: None, command: *self };
        let mut outcomes = Self::execute_all(transaction, &[&call]).await?;
        outcomes.pop().unwrap_or_else(|| Err(nothing().into()))
    }

    async fn targets(
        transaction: &TenantTx,
        calls: &[&Call<Self>],
    ) -> Result<Vec<Target>, DbError> {
        let wanted: Vec<(Uuid, Uuid)> =
            calls.iter().map(|call| (call.command.hold_id, call.context.actor.id)).collect();
        path_targets(transaction, &wanted, Permission::HoldCapture).await
    }

    async fn execute_all(
        transaction: &TenantTx,
        calls: &[&Call<Self>],
    ) -> Result<Vec<Outcome<CapturedHold>>, DbError> {
        let Some(first) = calls.first() else { return Ok(Vec::new()) };
        let orders: Vec<Capture> =
            calls.iter().map(|call| call.command.order(&call.context)).collect::<Result<_, _>>()?;
        let tenant = transaction.tenant();
        let parameters: [&(dyn ToSql + Sync); 1] = [&tenant];
        let question = Query::new(approvals::CEILING, &parameters);
        let mut ceiling = Ceiling::default();
        let clock = &first.context.clock;
        let admitted = |said: &[Row], order: &Capture, hold: &Hold| {
            ceiling = Ceiling::of(said)?;
            // By all that was promised: in parts it would be nobody's second look.
            let is_allowed = ceiling.allows_alone(order.created_by, hold.amount);
            Ok(is_allowed || order.created_by != hold.created_by)
        };
        let record = |position: usize, done: &Captured| posted(&calls[position].context, done);
        let results =
            ledger::holds::capture(transaction, clock, &orders, question, admitted, record);
        let results = results.await?;
        let outcomes = calls.iter().zip(results);
        Ok(outcomes.map(|(call, result)| answer(&call.context, result, ceiling)).collect())
    }
}

/// What stands for the accounts that holds pay, which no request names.
const PAID: Uuid = Uuid::nil();

impl Grouped for CaptureHold {
    /// One batch at a time: nearly all of them pay the one settlement account.
    fn locks(&self) -> impl Iterator<Item = Uuid> {
        [self.hold_id, PAID].into_iter()
    }
}

/// The record of the movement, found by its own id.
fn posted(context: &OpContext, Captured { change, posting, .. }: &Captured) -> AuditEvent {
    event(context, EventType::LedgerPosting, CaptureHold::NAME, "transfer")
        .resource_id(posting.transfer_id)
        .new_values(json!({
            "kind": posting.kind,
            "amount": posting.amount,
            "currency": posting.currency,
            "from_account_id": change.after.account_id,
            "to_account_id": change.after.to_account_id,
            "value_date": posting.value_date.to_string(),
            "hold_id": change.after.id,
        }))
        .at_version(crate::movements::POSTED)
}

/// Two records: what became of the hold, and the movement's.
fn answer(
    context: &OpContext,
    result: Result<(Captured, AuditEvent), HoldError>,
    ceiling: Ceiling,
) -> Outcome<CapturedHold> {
    let (Captured { change, posting, .. }, posted) = result.map_err(|error| match error {
        HoldError::NotAdmitted => ceiling.refusal_of_own_promise(),
        error => refusal(error),
    })?;
    let changed = changed_event(context, CaptureHold::NAME, &change.before, &change.after);
    let (transfer_id, amount) = (posting.transfer_id, posting.amount);
    let output = CapturedHold { hold: change.after, transfer_id, amount };
    Ok(Applied { output, status: 200, events: vec![changed, posted] })
}

fn nothing() -> DbError {
    DbError::Corrupt("a capture without a result".to_owned())
}
