//! Who read what, outside the read's round trip.
//!
//! The first access of a principal to an object by an action is written within a
//! second; repeats within a minute become one record with a count. A crash loses
//! at most that second (the bound the specification states). Refused reads are
//! written at once, in a short transaction of their own.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use audit::{AuditEvent, EventType, Outcome};
use serde_json::json;
use tenancy::{Database, DbError, OpContext};
use uuid::Uuid;

use crate::event;

/// One access to record.
#[derive(Clone, Copy, Debug)]
pub struct Access {
    /// The view's name.
    pub action: &'static str,
    /// The kind of object.
    pub resource: &'static str,
    /// The object; none for a list.
    pub object: Option<Uuid>,
    /// Whether it was granted.
    pub allowed: bool,
    /// How many objects were shown.
    pub count: usize,
}

#[derive(Clone, PartialEq, Eq, Hash)]
struct Key {
    tenant: Uuid,
    principal: Uuid,
    action: &'static str,
    object: Option<Uuid>,
}

struct Entry {
    context: OpContext,
    access: Access,
    first_at: Instant,
    first_written: bool,
    repeats: u64,
}

/// The accesses of the last minute on this node.
#[derive(Clone, Default)]
pub struct AccessLog {
    entries: Arc<Mutex<HashMap<Key, Entry>>>,
}

/// Repeats within this are one record.
const COALESCE: Duration = Duration::from_secs(60);
/// Beyond this many distinct accesses in memory, records are written at once:
/// memory is bounded and nothing is dropped.
const ENTRIES_MAX: usize = 200_000;
/// Events of one insert.
const BATCH: usize = 500;

impl AccessLog {
    /// Takes note of an access. Returns at once unless it was refused or memory is full.
    pub(crate) async fn record(&self, database: &Database, context: &OpContext, access: Access) {
        if access.allowed && self.remember(context, access) {
            return;
        }
        let event = access_event(context, &access, 0);
        if let Err(error) = write(database, context, vec![event]).await {
            tracing::error!(%error, action = access.action, "an access record could not be written");
            metrics::counter!("strongroom_access_records_lost_total").increment(1);
        }
    }

    /// Writes what is due. Called twice a second by a worker, and with
    /// `everything` at shutdown.
    pub async fn flush(&self, database: &Database, everything: bool) -> Result<usize, DbError> {
        let due = self.take_due(everything);
        let count = due.values().map(|(_, events)| events.len()).sum();
        for (_, (context, mut events)) in due {
            while !events.is_empty() {
                let rest = events.split_off(events.len().min(BATCH));
                write(database, &context, events).await?;
                events = rest;
            }
        }
        Ok(count)
    }

    fn remember(&self, context: &OpContext, access: Access) -> bool {
        let key = Key {
            tenant: context.tenant_id(),
            principal: context.actor.id,
            action: access.action,
            object: access.object,
        };
        let Ok(mut entries) = self.entries.lock() else { return false };
        if let Some(entry) = entries.get_mut(&key) {
            entry.repeats += 1;
            return true;
        }
        if entries.len() >= ENTRIES_MAX {
            return false;
        }
        let entry = Entry {
            context: context.clone(),
            access,
            first_at: Instant::now(),
            first_written: false,
            repeats: 0,
        };
        entries.insert(key, entry);
        true
    }

    fn take_due(&self, everything: bool) -> HashMap<Uuid, (OpContext, Vec<AuditEvent>)> {
        let mut due: HashMap<Uuid, (OpContext, Vec<AuditEvent>)> = HashMap::new();
        let Ok(mut entries) = self.entries.lock() else { return due };
        entries.retain(|key, entry| {
            let over = everything || entry.first_at.elapsed() >= COALESCE;
            let mut push = |repeats| {
                let (_, events) = due.entry(key.tenant).or_insert_with(|| (entry.context.clone(), Vec::new()));
                events.push(access_event(&entry.context, &entry.access, repeats));
            };
            if !entry.first_written {
                push(0);
                entry.first_written = true;
            }
            if over && entry.repeats > 0 {
                push(entry.repeats);
            }
            !over
        });
        due
    }
}

fn access_event(context: &OpContext, access: &Access, repeats: u64) -> AuditEvent {
    let (event_type, outcome) = match (access.allowed, access.object) {
        (false, _) => (EventType::PermissionDenied, Outcome::Denied),
        (true, Some(_)) => (EventType::DataAccess, Outcome::Success),
        (true, None) => (EventType::DataQuery, Outcome::Success),
    };
    let mut record = event(context, event_type, access.action, access.resource).outcome(outcome);
    if let Some(object) = access.object {
        record = record.resource_id(object);
    }
    if repeats > 0 {
        return record.details(json!({ "repeats": repeats }));
    }
    if access.object.is_none() && access.allowed {
        return record.details(json!({ "count": access.count }));
    }
    record
}

async fn write(database: &Database, context: &OpContext, events: Vec<AuditEvent>) -> Result<(), DbError> {
    let transaction = database.begin(context).await?;
    audit::store::append(&transaction, events).await?;
    transaction.commit().await
}
