//! Leaving an endpoint alone that has been lost: the system's own command, with a record.

use access::Permission;
use audit::{EventType, Outcome as Ended};
use operation::{Applied, Command, Refusal, command::Outcome, event};
use serde_json::json;
use tenancy::{DbError, OpContext, TenantTx};
use uuid::Uuid;

use crate::commands::RESOURCE;

const SUSPEND: &str = tenancy::sql!("webhooks/endpoints.sql", "suspend");

/// Nothing more is sent to it until somebody enables it again.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SuspendWebhook {
    pub(crate) id: Uuid,
    /// A word: why.
    pub(crate) reason: &'static str,
}

impl Command for SuspendWebhook {
    const NAME: &'static str = "webhook.suspend";
    const RESOURCE: &'static str = RESOURCE;
    type Output = ();

    fn permission(&self) -> Permission {
        Permission::SystemUpdate
    }

    async fn execute(&self, transaction: &TenantTx, context: &OpContext) -> Outcome<()> {
        let row = transaction.query_opt(SUSPEND, &[&transaction.tenant(), &self.id]).await?;
        // Another node was first, or somebody disabled it.
        let row = row.ok_or_else(Refusal::not_found)?;
        let failing_since: jiff::Timestamp = row.try_get("failing_since").map_err(DbError::from)?;
        let suspended = event(context, EventType::JobRun, Self::NAME, RESOURCE)
            .resource_id(self.id)
            .outcome(Ended::Failed)
            .details(json!({ "reason": self.reason, "failing_since": failing_since }));
        metrics::counter!("strongroom_webhooks_suspended_total").increment(1);
        Ok(Applied { output: (), status: 200, events: vec![suspended] })
    }
}
