//! Writing down what the clock has ended: what a worker runs for each tenant.
//!
//! Nobody waits for it: an approval whose time is over can no longer be decided and
//! reads as expired. Repeatable, and harmless beside its twin on another node.

use ::approvals::{ApprovalStatus, RESOURCE};
use access::Permission;
use audit::EventType;
use operation::{Applied, Call, Command, OperationError, Operations, command::Outcome, event};
use serde_json::json;
use tenancy::{DbError, OpContext, Query, TenantTx};
use tokio_postgres::types::ToSql;
use uuid::Uuid;

const DUE: &str = tenancy::sql!("banking/approvals.sql", "due");
const EXPIRE: &str = tenancy::sql!("banking/approvals.sql", "expire");

/// Approvals that one transaction ends.
const BATCH_MAX: i64 = 200;
/// Transactions of one run: a long backlog must not keep other tenants waiting.
const BATCHES_MAX: usize = 25;

/// Ends the approvals whose time is over, the oldest first, at most so many.
///
/// The system's own command. It answers how many it ended, each with a record of its own.
#[derive(Clone, Copy, Debug)]
pub struct ExpireApprovals {
    /// At most so many.
    pub limit: i64,
}

impl Command for ExpireApprovals {
    const NAME: &'static str = "approval.expire";
    const RESOURCE: &'static str = RESOURCE;
    type Output = u64;

    fn permission(&self) -> Permission {
        Permission::TransactionApprove
    }

    async fn execute(&self, transaction: &TenantTx, context: &OpContext) -> Outcome<u64> {
        // No role ends what has time left, and none has to end what has not.
        if !context.actor.is_system() {
            return Err(operation::Refusal::denied().into());
        }
        let now = context.clock.now();
        let parameters: [&(dyn ToSql + Sync); 3] = [&transaction.tenant(), &now, &self.limit];
        let rows = transaction.query(EXPIRE, &parameters).await?;
        let events = rows
            .iter()
            .map(|row| {
                let (id, object_id, maker): (Uuid, Uuid, Uuid) =
                    (row.try_get("id")?, row.try_get("object_id")?, row.try_get("requested_by")?);
                let version = row.try_get("version")?;
                Ok(event(context, EventType::DataModification, Self::NAME, RESOURCE)
                    .resource_id(id)
                    .old_values(json!({ "status": ApprovalStatus::Pending }))
                    .new_values(json!({
                        "status": ApprovalStatus::Expired,
                        "object_id": object_id,
                        "requested_by": maker,
                    }))
                    .at_version(version))
            })
            .collect::<Result<_, DbError>>()?;
        let count = u64::try_from(rows.len()).unwrap_or(u64::MAX);
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
        let (tenant, now) = (context.tenant_id(), context.clock.now());
        let parameters: [&(dyn ToSql + Sync); 3] = [&tenant, &now, &1_i64];
        let found = operations.database().read(context, &[Query::new(DUE, &parameters)]).await?;
        if found.iter().all(Vec::is_empty) {
            break;
        }
        let command = ExpireApprovals { limit: BATCH_MAX };
        let call = Call { context: context.clone(), idempotency_key: None, command };
        ended += operations.run_one(call).await?.output;
    }
    Ok(ended)
}
