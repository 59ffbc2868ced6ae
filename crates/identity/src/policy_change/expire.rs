//! Writing down which changes the clock has ended: what a worker runs for each tenant.
//!
//! Nobody waits for it: a change whose time is over can no longer be decided and reads as
//! expired. Repeatable, and harmless beside its twin on another node.

use access::Permission;
use audit::EventType;
use operation::{Applied, Call, Command, OperationError, Refusal, command::Outcome, event};
use serde_json::json;
use tenancy::{DbError, OpContext, Query, TenantTx};
use tokio_postgres::types::ToSql;
use uuid::Uuid;

use super::{PolicyChangeStatus, RESOURCE};
use crate::Identity;

const DUE: &str = tenancy::sql!("identity/policy.sql", "due");
const EXPIRE: &str = tenancy::sql!("identity/policy.sql", "expire");

/// Changes that one transaction ends.
const BATCH_MAX: i64 = 100;

impl Identity {
    /// Ends the changes whose time is over, so many as one transaction may, each with a
    /// record of its own; for a worker. Says how many. Where none is due nothing is written.
    pub async fn expire_policy_changes(&self, context: &OpContext) -> Result<u64, OperationError> {
        let (tenant, now) = (context.tenant_id(), context.clock.now());
        let parameters: [&(dyn ToSql + Sync); 2] = [&tenant, &now];
        let database = self.inner.operations.database();
        if database.look_up(context, Query::new(DUE, &parameters)).await?.is_empty() {
            return Ok(0);
        }
        let call = Call { context: context.clone(), idempotency_key: None, command: Expire };
        Ok(self.inner.operations.run_one(call).await?.output)
    }
}

/// Ends what is due. The system's own command.
struct Expire;

impl Command for Expire {
    const NAME: &'static str = "policy_change.expire";
    const RESOURCE: &'static str = RESOURCE;
    type Output = u64;

    fn permission(&self) -> Permission {
        Permission::SettingsUpdate
    }

    async fn execute(&self, transaction: &TenantTx, context: &OpContext) -> Outcome<u64> {
        // No role ends what has time left, and none has to end what has not.
        if !context.actor.is_system() {
            return Err(Refusal::denied().into());
        }
        let now = context.clock.now();
        let parameters: [&(dyn ToSql + Sync); 3] = [&transaction.tenant(), &now, &BATCH_MAX];
        let rows = transaction.query(EXPIRE, &parameters).await?;
        let events = rows
            .iter()
            .map(|row| {
                let (id, maker): (Uuid, Uuid) = (row.try_get("id")?, row.try_get("requested_by")?);
                let version = row.try_get("version")?;
                Ok(event(context, EventType::ConfigurationChange, Self::NAME, RESOURCE)
                    .resource_id(id)
                    .old_values(json!({ "status": PolicyChangeStatus::Pending }))
                    .new_values(json!({
                        "status": PolicyChangeStatus::Expired, "requested_by": maker,
                    }))
                    .at_version(version))
            })
            .collect::<Result<_, DbError>>()?;
        let count = u64::try_from(rows.len()).unwrap_or(u64::MAX);
        Ok(Applied { output: count, status: 200, events })
    }
}
