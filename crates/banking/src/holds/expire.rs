//! Ending holds whose time is over: what a worker runs for each tenant.
//!
//! Only the money's return waits for the worker: the clock has ended the hold already.
//! It is repeatable and harmless beside its twin on another node: each looks again
//! behind the accounts' locks and leaves alone what the other has ended.

use access::Permission;
use ledger::holds::{Changed, Release};
use operation::{Applied, Call, Command, OperationError, Operations, command::Outcome};
use tenancy::{OpContext, TenantTx};

use super::{RESOURCE, changed_event};

/// Holds that one transaction ends: its locks are held no longer than a moment.
const BATCH_MAX: i64 = 200;
/// Transactions of one run: a long backlog must not keep other tenants waiting.
const BATCHES_MAX: usize = 25;

/// Ends the holds whose time is over, the oldest first, at most so many.
///
/// The system's own command: no role has a permission that reaches all holds without
/// naming one. It answers how many it ended, each with a record of its own.
#[derive(Clone, Copy, Debug)]
pub struct ExpireHolds {
    /// At most so many.
    pub limit: i64,
}

impl Command for ExpireHolds {
    const NAME: &'static str = "hold.expire";
    const RESOURCE: &'static str = RESOURCE;
    type Output = u64;

    fn permission(&self) -> Permission {
        Permission::HoldRelease
    }

    async fn execute(&self, transaction: &TenantTx, context: &OpContext) -> Outcome<u64> {
        let at = context.clock.now();
        let due = ledger::holds::due(transaction, at, self.limit).await?;
        let orders: Vec<Release> = due.into_iter().map(|hold_id| Release { hold_id, at }).collect();
        let results = ledger::holds::expire(transaction, &orders).await?;
        // What is refused here was ended by somebody else since it was looked for.
        let ended: Vec<Changed> = results.into_iter().flatten().collect();
        let events = ended
            .iter()
            .map(|change| changed_event(context, Self::NAME, &change.before, &change.after))
            .collect();
        let count = u64::try_from(ended.len()).unwrap_or(u64::MAX);
        Ok(Applied { output: count, status: 200, events })
    }
}

/// Ends what is due of the context's tenant, batch after batch, and says how many it
/// were. Where nothing is due nothing is written, so that it may run every few seconds.
pub async fn expire_due(
    operations: &Operations,
    context: &OpContext,
) -> Result<u64, OperationError> {
    let mut ended = 0;
    for _ in 0..BATCHES_MAX {
        if !is_any_due(operations, context).await? {
            break;
        }
        let command = ExpireHolds { limit: BATCH_MAX };
        let call = Call { context: context.clone(), idempotency_key: None, command };
        ended += operations.run_one(call).await?.output;
    }
    Ok(ended)
}

async fn is_any_due(operations: &Operations, context: &OpContext) -> Result<bool, OperationError> {
    let transaction = operations.database().begin(context).await?;
    let due = ledger::holds::due(&transaction, context.clock.now(), 1).await?;
    transaction.commit().await?;
    Ok(!due.is_empty())
}
