//! Owns the way of events into the outbox: one statement beside the records of the same
//! changes, in their transaction.

use audit::AuditEvent;
use tenancy::DbError;
use tokio_postgres::types::ToSql;
use uuid::Uuid;

use crate::names::name_of;

/// What a transaction publishes: one array per column.
#[derive(Debug, Default)]
pub struct Outgoing {
    event_ids: Vec<Uuid>,
    event_types: Vec<&'static str>,
    object_types: Vec<String>,
    object_ids: Vec<Uuid>,
    sequences: Vec<i64>,
}

impl Outgoing {
    /// The statement.
    pub const SQL: &'static str = tenancy::sql!("events/outbox.sql", "publish");

    /// The shadows of those that tell of a change of a versioned object; none where nothing
    /// is published. A change that has no name is an error of ours.
    pub fn of(records: &[AuditEvent]) -> Result<Option<Self>, DbError> {
        let mut outgoing = Self::default();
        for change in records.iter().filter_map(AuditEvent::change) {
            let name = name_of(change.object_type, change.action).ok_or_else(|| {
                let (kind, action) = (change.object_type, change.action);
                DbError::Corrupt(format!("no event is named for {action} of {kind}"))
            })?;
            outgoing.event_ids.push(change.event_id);
            outgoing.event_types.push(name);
            outgoing.object_types.push(change.object_type.to_owned());
            outgoing.object_ids.push(change.object_id);
            outgoing.sequences.push(change.sequence);
        }
        Ok((!outgoing.event_ids.is_empty()).then_some(outgoing))
    }

    /// `$1…$6` of [`Outgoing::SQL`].
    pub fn parameters<'a>(&'a self, tenant: &'a Uuid) -> [&'a (dyn ToSql + Sync); 6] {
        [
            tenant,
            &self.event_ids,
            &self.event_types,
            &self.object_types,
            &self.object_ids,
            &self.sequences,
        ]
    }
}
