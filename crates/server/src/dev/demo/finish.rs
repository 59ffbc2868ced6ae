//! Owns the last operation of a demo: it is whole, and no later start touches it.

use access::Permission;
use audit::EventType;
use jiff::civil::Date;
use operation::{Applied, Command, command::Outcome, event};
use serde_json::json;
use tenancy::{OpContext, TenantTx};

use super::memory::{done_mark, remember};

/// Marks a demo as whole.
pub(super) struct Finish {
    pub(super) seed: u64,
    pub(super) today: Date,
}

impl Command for Finish {
    const NAME: &'static str = "development.demo";
    const RESOURCE: &'static str = "tenant";
    type Output = ();

    fn permission(&self) -> Permission {
        Permission::SystemUpdate
    }

    async fn execute(&self, transaction: &TenantTx, context: &OpContext) -> Outcome<()> {
        remember(transaction, &vec![done_mark(context.clock.new_id())]).await?;
        let record = event(context, EventType::AdminAction, Self::NAME, Self::RESOURCE).details(
            json!({ "seed": self.seed.to_string(), "business_date": self.today.to_string() }),
        );
        Ok(Applied { output: (), status: 200, events: vec![record] })
    }
}
