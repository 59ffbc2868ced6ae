//! Who read what, outside the read's round trip.
//!
//! The first access of a principal to an object by an action is written within a
//! second; repeats within a minute become one record with a count. A crash loses
//! at most that second (the bound the specification states); a database that is
//! away loses nothing, for what was not written stays here. Refused reads are
//! written at once, in a short transaction of their own.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use audit::{AuditEvent, EventType, Outcome};
use jiff::Timestamp;
use serde_json::{Map, Value, json};
use tenancy::{Database, DbError, OpContext};
use uuid::Uuid;

use crate::event_context;

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

/// What makes two accesses the same. Session and address are part of it: a
/// stolen token must not read in the shadow of its owner's record.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Key {
    tenant: Uuid,
    principal: Uuid,
    session: Option<Uuid>,
    address: Option<IpAddr>,
    action: &'static str,
    object: Option<Uuid>,
    filter: Option<String>,
}

/// How often, and how many objects were shown in all.
#[derive(Clone, Copy, Default)]
struct Tally {
    accesses: u64,
    objects: usize,
}

struct Entry {
    context: OpContext,
    access: Access,
    filter: Option<Value>,
    at: Timestamp,
    begun_at: Instant,
    first_written: bool,
    repeats: Tally,
}

/// One entry's records of one flush.
struct Due {
    key: Key,
    context: OpContext,
    events: Vec<AuditEvent>,
    written: Tally,
    ended: bool,
}

/// The accesses of the last minute on this node.
#[derive(Clone, Default)]
pub struct AccessLog {
    entries: Arc<Mutex<HashMap<Key, Entry>>>,
    /// One flush at a time: two would write the same records.
    flushing: Arc<tokio::sync::Mutex<()>>,
}

/// Repeats within this are one record.
const COALESCE: Duration = Duration::from_secs(60);
/// Beyond this many distinct accesses in memory, records are written at once:
/// memory is bounded and nothing is dropped.
const ENTRIES_MAX: usize = 200_000;
/// Entries of one insert.
const BATCH: usize = 500;

impl AccessLog {
    /// Takes note of an access. Returns at once unless it was refused or memory is full.
    pub async fn record(&self, database: &Database, context: &OpContext, access: Access) {
        self.record_list(database, context, access, None).await;
    }

    /// [`AccessLog::record`] of a list with what it was filtered by.
    pub async fn record_list(
        &self,
        database: &Database,
        context: &OpContext,
        access: Access,
        filter: Option<Value>,
    ) {
        if access.allowed && self.remember(context, access, filter.as_ref()) {
            return;
        }
        let event = access_event(context, &access, filter.as_ref(), context.clock.now(), None);
        let (database, context) = (database.clone(), context.clone());
        // A task of its own: who asks for what is not theirs and hangs up is recorded too.
        let written = tokio::spawn(async move { write(&database, &context, vec![event]).await });
        if !matches!(written.await, Ok(Ok(()))) {
            tracing::error!(action = access.action, "an access record could not be written");
            metrics::counter!("strongroom_access_records_lost_total").increment(1);
        }
    }

    /// Writes what is due and returns how many records. Called twice a second by a
    /// worker, and with `everything` at shutdown. What could not be written (the
    /// first error is returned) is due again at the next call; one tenant's
    /// failure does not hold up the others.
    pub async fn flush(&self, database: &Database, everything: bool) -> Result<usize, DbError> {
        let _only_one = self.flushing.lock().await;
        let mut count = 0;
        let mut failure = None;
        for due in self.due(everything).values() {
            for batch in due.chunks(BATCH) {
                let events: Vec<_> =
                    batch.iter().flat_map(|one| one.events.iter().cloned()).collect();
                let records = events.len();
                match write(database, &batch[0].context, events).await {
                    Ok(()) => {
                        count += records;
                        self.settle(batch);
                    }
                    Err(error) => failure = failure.or(Some(error)),
                }
            }
        }
        failure.map_or(Ok(count), Err)
    }

    fn remember(&self, context: &OpContext, access: Access, filter: Option<&Value>) -> bool {
        let key = Key {
            tenant: context.tenant_id(),
            principal: context.actor.id,
            session: context.session.map(|session| session.0),
            address: context.request.ip,
            action: access.action,
            object: access.object,
            filter: filter.map(Value::to_string),
        };
        let Ok(mut entries) = self.entries.lock() else { return false };
        if let Some(entry) = entries.get_mut(&key) {
            entry.repeats.accesses += 1;
            entry.repeats.objects += access.count;
            return true;
        }
        if entries.len() >= ENTRIES_MAX {
            return false;
        }
        let entry = Entry {
            context: context.clone(),
            access,
            filter: filter.cloned(),
            at: context.clock.now(),
            begun_at: Instant::now(),
            first_written: false,
            repeats: Tally::default(),
        };
        entries.insert(key, entry);
        true
    }

    /// What is to be written, by tenant. Entries that are over and owe nothing go.
    fn due(&self, everything: bool) -> HashMap<Uuid, Vec<Due>> {
        let mut due: HashMap<Uuid, Vec<Due>> = HashMap::new();
        let Ok(mut entries) = self.entries.lock() else { return due };
        entries.retain(|key, entry| {
            let one = entry.due(key, everything);
            let owes = !one.events.is_empty();
            let ended = one.ended;
            if owes {
                due.entry(key.tenant).or_default().push(one);
            }
            owes || !ended
        });
        due
    }

    /// Takes note that records were written; accesses since then are still owed.
    fn settle(&self, written: &[Due]) {
        let Ok(mut entries) = self.entries.lock() else { return };
        for one in written {
            let Some(entry) = entries.get_mut(&one.key) else { continue };
            entry.first_written = true;
            entry.repeats.accesses -= one.written.accesses;
            entry.repeats.objects -= one.written.objects;
            if one.ended && entry.repeats.accesses == 0 {
                entries.remove(&one.key);
            } else if one.ended {
                entry.begun_at = Instant::now();
            }
        }
    }
}

impl Entry {
    fn due(&self, key: &Key, everything: bool) -> Due {
        let ended = everything || self.begun_at.elapsed() >= COALESCE;
        let mut events = Vec::new();
        if !self.first_written {
            events.push(access_event(
                &self.context,
                &self.access,
                self.filter.as_ref(),
                self.at,
                None,
            ));
        }
        let repeated = ended && self.repeats.accesses > 0;
        let written = if repeated { self.repeats } else { Tally::default() };
        if repeated {
            let now = self.context.clock.now();
            events.push(access_event(
                &self.context,
                &self.access,
                self.filter.as_ref(),
                now,
                Some(written),
            ));
        }
        Due { key: key.clone(), context: self.context.clone(), events, written, ended }
    }
}

fn access_event(
    context: &OpContext,
    access: &Access,
    filter: Option<&Value>,
    at: Timestamp,
    repeats: Option<Tally>,
) -> AuditEvent {
    let (event_type, outcome) = match (access.allowed, access.object) {
        (false, _) => (EventType::PermissionDenied, Outcome::Denied),
        (true, Some(_)) => (EventType::DataAccess, Outcome::Success),
        (true, None) => (EventType::DataQuery, Outcome::Success),
    };
    let mut shared = event_context(context);
    shared.occurred_at = at;
    let mut record =
        AuditEvent::new(&shared, event_type, access.action, access.resource).outcome(outcome);
    if let Some(object) = access.object {
        record = record.resource_id(object);
    }
    let mut details = Map::new();
    if let Some(tally) = repeats {
        details.insert("repeats".to_owned(), json!(tally.accesses));
    }
    if access.allowed && access.object.is_none() {
        details
            .insert("count".to_owned(), json!(repeats.map_or(access.count, |tally| tally.objects)));
    }
    if let Some(filter) = filter {
        details.insert("filter".to_owned(), filter.clone());
    }
    if details.is_empty() { record } else { record.details(Value::Object(details)) }
}

async fn write(
    database: &Database,
    context: &OpContext,
    events: Vec<AuditEvent>,
) -> Result<(), DbError> {
    let transaction = database.begin(context).await?;
    audit::store::append(&transaction, events).await?;
    transaction.commit().await
}
