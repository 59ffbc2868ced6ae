//! The commands that have something delivered: a test, and what was delivered before.

use std::num::TryFromIntError;

use access::Permission;
use audit::EventType;
use operation::{Applied, Command, Refusal, Target, command::Outcome, event};
use serde_json::{Value, json};
use tenancy::{DbError, OpContext, TenantTx};
use tokio_postgres::types::ToSql;
use uuid::Uuid;

use crate::{
    Replay, Replayed,
    commands::{RESOURCE, no_machine, stored, target},
};

const TEST: &str = tenancy::sql!("webhooks/deliveries.sql", "test");
const REPLAY: &str = tenancy::sql!("webhooks/deliveries.sql", "replay");

/// Events of one replay.
const REPLAYED_MAX: i64 = 10_000;

/// Has an event of no consequence delivered, behind nothing and before nothing.
pub(crate) struct SendTest {
    pub(crate) id: Uuid,
    pub(crate) event: Uuid,
}

impl Command for SendTest {
    const NAME: &'static str = "webhook.test";
    const RESOURCE: &'static str = RESOURCE;
    type Output = Replayed;

    fn permission(&self) -> Permission {
        Permission::SettingsUpdate
    }

    fn fingerprint(&self) -> Value {
        json!({ "webhook": self.id })
    }

    async fn target(&self, transaction: &TenantTx, _: &OpContext) -> Result<Target, DbError> {
        target(transaction, self.id).await
    }

    async fn execute(&self, transaction: &TenantTx, context: &OpContext) -> Outcome<Replayed> {
        no_machine(context)?;
        let webhook = stored(transaction, self.id).await?;
        let parameters: [&(dyn ToSql + Sync); 4] =
            [&transaction.tenant(), &self.id, &self.event, &webhook.version];
        transaction.execute(TEST, &parameters).await?;
        let tested = event(context, EventType::ConfigurationChange, Self::NAME, RESOURCE)
            .resource_id(self.id)
            .details(json!({ "event_id": self.event }));
        Ok(Applied { output: Replayed { count: 1 }, status: 202, events: vec![tested] })
    }
}

/// Has events delivered again, under the ids that they had.
pub(crate) struct ReplayEvents {
    pub(crate) id: Uuid,
    pub(crate) replay: Replay,
}

impl Command for ReplayEvents {
    const NAME: &'static str = "webhook.replay";
    const RESOURCE: &'static str = RESOURCE;
    type Output = Replayed;

    fn permission(&self) -> Permission {
        Permission::SettingsUpdate
    }

    fn fingerprint(&self) -> Value {
        let (from, ids) = match &self.replay {
            Replay::From(position) => (Some(position), None),
            Replay::Events(ids) => (None, Some(ids)),
        };
        json!({ "webhook": self.id, "from_position": from, "event_ids": ids })
    }

    async fn target(&self, transaction: &TenantTx, _: &OpContext) -> Result<Target, DbError> {
        target(transaction, self.id).await
    }

    async fn execute(&self, transaction: &TenantTx, context: &OpContext) -> Outcome<Replayed> {
        no_machine(context)?;
        let (from, ids) = self.replay.accept().map_err(Refusal::validation)?;
        let parameters: [&(dyn ToSql + Sync); 5] =
            [&transaction.tenant(), &self.id, &from, &ids, &(REPLAYED_MAX + 1)];
        let rows = transaction.query(REPLAY, &parameters).await?;
        // Undone with the savepoint where it is refused.
        if from.is_none() && rows.len() < ids.len() {
            let detail = "Not all of these are events that this webhook was to be told";
            return Err(Refusal::rule("event_unknown", "event_ids", detail).into());
        }
        let too_many = |_: TryFromIntError| DbError::Corrupt("a count out of range".to_owned());
        let count = i64::try_from(rows.len()).map_err(too_many)?;
        if count > REPLAYED_MAX {
            let detail = "Begin later: at most 10,000 events are replayed at once";
            return Err(Refusal::rule("too_many_events", "from_position", detail).into());
        }
        let replayed = event(context, EventType::ConfigurationChange, Self::NAME, RESOURCE)
            .resource_id(self.id)
            .details(json!({ "from_position": from, "events": count }));
        Ok(Applied { output: Replayed { count }, status: 202, events: vec![replayed] })
    }
}
