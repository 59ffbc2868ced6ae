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
use tenancy::{Database, DbError, OpContext, RequestInfo};
use uuid::Uuid;

use crate::{event_context, failed_decisions::FailedDecisions};

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

/// Kinds of things of which every view shows somebody's data: names, addresses, devices.
const PERSONAL: [&str; 6] = ["audit_event", "customer", "device", "passkey", "session", "user"];

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
    /// What a list was filtered by, as JSON.
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

/// Entries by what makes them the same, and what they weigh.
#[derive(Default)]
struct Entries {
    of: HashMap<Key, Entry>,
    bytes: usize,
}

/// The accesses of the last minute on this node.
#[derive(Clone, Default)]
pub struct AccessLog {
    entries: Arc<Mutex<Entries>>,
    failed_decisions: FailedDecisions,
    /// One flush at a time: two would write the same records.
    flushing: Arc<tokio::sync::Mutex<()>>,
}

/// Repeats within this are one record.
const COALESCE: Duration = Duration::from_secs(60);
/// Beyond this much in memory, distinct accesses are written at once: memory is bounded
/// and nothing is dropped. A hundred thousand of the usual ones, which name an object;
/// fewer of lists, whose filters may be as long as a URL.
const BYTES_MAX: usize = 64 * 1_024 * 1_024;
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
        let event = access_event(context, &access, filter, context.clock.now(), None);
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
        match self.failed_decisions.flush(database, everything).await {
            Ok(told) => count += told,
            Err(error) => failure = failure.or(Some(error)),
        }
        failure.map_or(Ok(count), Err)
    }

    /// What policy failed to decide; written by the same worker.
    pub(crate) const fn failed_decisions(&self) -> &FailedDecisions {
        &self.failed_decisions
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
        if let Some(entry) = entries.of.get_mut(&key) {
            entry.repeats.accesses += 1;
            entry.repeats.objects += access.count;
            return true;
        }
        let entry = Entry {
            context: context.clone(),
            access,
            at: context.clock.now(),
            begun_at: Instant::now(),
            first_written: false,
            repeats: Tally::default(),
        };
        entries.keep(key, entry)
    }

    /// What is to be written, by tenant. Entries that are over and owe nothing go.
    fn due(&self, everything: bool) -> HashMap<Uuid, Vec<Due>> {
        let mut due: HashMap<Uuid, Vec<Due>> = HashMap::new();
        let Ok(mut entries) = self.entries.lock() else { return due };
        let Entries { of, bytes } = &mut *entries;
        of.retain(|key, entry| {
            let one = entry.due(key, everything);
            let owes = !one.events.is_empty();
            let ended = one.ended;
            if owes {
                due.entry(key.tenant).or_default().push(one);
            }
            let stays = owes || !ended;
            if !stays {
                *bytes -= weight(key, entry);
            }
            stays
        });
        due
    }

    /// Takes note that records were written; accesses since then are still owed.
    fn settle(&self, written: &[Due]) {
        let Ok(mut entries) = self.entries.lock() else { return };
        for one in written {
            let Some(entry) = entries.of.get_mut(&one.key) else { continue };
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

impl Entries {
    /// Keeps an entry, and says so, where there is room for it.
    fn keep(&mut self, key: Key, entry: Entry) -> bool {
        let weight = weight(&key, &entry);
        if self.bytes + weight > BYTES_MAX {
            return false;
        }
        self.bytes += weight;
        self.of.insert(key, entry);
        true
    }

    fn remove(&mut self, key: &Key) {
        if let Some(entry) = self.of.remove(key) {
            self.bytes -= weight(key, &entry);
        }
    }
}

/// Bytes of an entry, with all that it alone keeps alive. The same from its beginning to
/// its end, or the sum would drift.
fn weight(key: &Key, entry: &Entry) -> usize {
    let Entry { context, .. } = entry;
    let texts = [
        key.filter.as_deref(),
        context.request.user_agent.as_deref(),
        context.request.client_hints.as_deref(),
        context.request.device_id.as_deref(),
        context.actor.department.as_deref(),
        Some(context.request.id.as_str()),
    ];
    let roles = context.actor.roles.iter().map(|role| size_of::<String>() + role.len());
    size_of::<(Key, Entry)>()
        + size_of::<RequestInfo>()
        + texts.into_iter().flatten().map(str::len).sum::<usize>()
        + roles.sum::<usize>()
}

impl Entry {
    fn due(&self, key: &Key, everything: bool) -> Due {
        let ended = everything || self.begun_at.elapsed() >= COALESCE;
        let repeated = ended && self.repeats.accesses > 0;
        let written = if repeated { self.repeats } else { Tally::default() };
        let mut events = Vec::new();
        let mut record = |at, repeats| {
            let filter = key.filter.as_deref().and_then(|text| serde_json::from_str(text).ok());
            events.push(access_event(&self.context, &self.access, filter, at, repeats));
        };
        if !self.first_written {
            record(self.at, None);
        }
        if repeated {
            record(self.context.clock.now(), Some(written));
        }
        Due { key: key.clone(), context: self.context.clone(), events, written, ended }
    }
}

fn access_event(
    context: &OpContext,
    access: &Access,
    filter: Option<Value>,
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
    if access.allowed && PERSONAL.contains(&access.resource) {
        record = record.personal_fields();
    }
    let mut details = Map::new();
    if let Some(tally) = repeats {
        details.insert("repeats".to_owned(), json!(tally.accesses));
    }
    // What is filtered is a list, also where it is one object's: an account's entries.
    if access.allowed && (access.object.is_none() || filter.is_some()) {
        details
            .insert("count".to_owned(), json!(repeats.map_or(access.count, |tally| tally.objects)));
    }
    if let Some(filter) = filter {
        details.insert("filter".to_owned(), filter);
    }
    if details.is_empty() { record } else { record.details(Value::Object(details)) }
}

pub(crate) async fn write(
    database: &Database,
    context: &OpContext,
    events: Vec<AuditEvent>,
) -> Result<(), DbError> {
    let transaction = database.begin(context).await?;
    audit::store::append(&transaction, events).await?;
    transaction.commit().await
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::json;
    use tenancy::{
        Actor, ActorKind, Blueprint, Clock, OpContext, RequestInfo, TenantId, TenantRef,
    };
    use uuid::Uuid;

    use super::{Access, AccessLog, BYTES_MAX};

    fn context() -> OpContext {
        let tenant = TenantRef {
            id: TenantId(Uuid::nil()),
            slug: "bank".to_owned(),
            blueprint: Blueprint::CoreBank,
            modules: Vec::new(),
            time_zone: "UTC".to_owned(),
        };
        let context = OpContext::system(Arc::new(tenant), ActorKind::Cli, Clock::System);
        let request =
            RequestInfo { user_agent: Some("x".repeat(512)), ..(*context.request).clone() };
        let actor = Actor::user(Uuid::from_u128(1), vec!["customer".to_owned()]);
        OpContext { actor, request: Arc::new(request), ..context }
    }

    #[test]
    fn what_is_kept_is_bounded_by_its_size_and_given_free_again() {
        let (log, context) = (AccessLog::default(), context());
        let list = |number: usize, length: usize| {
            let access = Access {
                action: "account.list",
                resource: "account",
                object: None,
                allowed: true,
                count: 0,
            };
            let filter = json!({ "number": number, "name": "y".repeat(length) });
            log.remember(&context, access, Some(&filter))
        };
        // (bytes of a filter, at least and at most so many of them are kept)
        for (length, kept) in [(8_000, 6_000..8_300), (0, 40_000..130_000)] {
            let count = (0..1_000_000).take_while(|number| list(*number, length)).count();
            assert!(kept.contains(&count), "{count} of {length} bytes");
            assert!(list(0, length), "a repeat takes no room");
            for due in log.due(true).into_values() {
                log.settle(&due);
            }
            let entries = log.entries.lock().map(|entries| (entries.of.len(), entries.bytes));
            assert_eq!(entries.ok(), Some((0, 0)), "{length}");
        }
        assert!(!list(0, BYTES_MAX), "one too large for all of it");
    }
}
