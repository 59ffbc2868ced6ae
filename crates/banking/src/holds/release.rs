//! Letting a hold go on somebody's order.

use access::Permission;
use ledger::{Hold, holds::Release};
use operation::{Applied, Call, Command, Target, command::Outcome};
use serde_json::{Value, json};
use tenancy::{DbError, OpContext, TenantTx};
use uuid::Uuid;

use super::{RESOURCE, changed_event, error::refusal, path_targets};

/// Returns what is left of a hold to its account. Answers 200; works on frozen accounts,
/// because nothing moves. A hold that the actor may not read is 404.
#[derive(Clone, Copy, Debug)]
pub struct ReleaseHold {
    /// Which (from the path).
    pub hold_id: Uuid,
}

impl Command for ReleaseHold {
    const NAME: &'static str = "hold.release";
    const RESOURCE: &'static str = RESOURCE;
    type Output = Hold;

    fn permission(&self) -> Permission {
        Permission::HoldRelease
    }

    fn fingerprint(&self) -> Value {
        json!({ "hold_id": self.hold_id })
    }

    async fn execute(&self, transaction: &TenantTx, context: &OpContext) -> Outcome<Hold> {
        let call = Call { context: context.clone(), idempotency_key: None, command: *self };
        let mut outcomes = Self::execute_all(transaction, &[&call]).await?;
        let nothing = || DbError::Corrupt("a release without a result".to_owned());
        outcomes.pop().unwrap_or_else(|| Err(nothing().into()))
    }

    async fn targets(
        transaction: &TenantTx,
        calls: &[&Call<Self>],
    ) -> Result<Vec<Target>, DbError> {
        let wanted: Vec<(Uuid, Uuid)> =
            calls.iter().map(|call| (call.command.hold_id, call.context.actor.id)).collect();
        path_targets(transaction, &wanted, Permission::HoldRelease).await
    }

    async fn execute_all(
        transaction: &TenantTx,
        calls: &[&Call<Self>],
    ) -> Result<Vec<Outcome<Hold>>, DbError> {
        let orders: Vec<Release> = calls
            .iter()
            .map(|call| Release { hold_id: call.command.hold_id, at: call.context.clock.now() })
            .collect();
        let results = ledger::holds::release(transaction, &orders).await?;
        let outcomes = calls.iter().zip(results).map(|(call, result)| {
            let change = result.map_err(refusal)?;
            let record = changed_event(&call.context, Self::NAME, &change.before, &change.after);
            Ok(Applied { output: change.after, status: 200, events: vec![record] })
        });
        Ok(outcomes.collect())
    }
}
