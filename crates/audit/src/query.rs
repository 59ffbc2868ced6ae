//! Owns reading the log: one event, and pages of events, newest first.
//!
//! Refuses to know: who may read (decided before), cursors and routes (the API
//! signs them; here a page begins before an event id).

use std::net::IpAddr;

use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Value, json};
use tenancy::{Database, DbError, OpContext, Query};
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;
use uuid::Uuid;

use crate::event::first_event_id_at;
use crate::kind::{ComplianceFlag, EventType, Outcome, Severity};

const LIST: &str = tenancy::sql!("audit/log.sql", "list");
const PLAN_AFRESH: &str = tenancy::sql!("audit/log.sql", "plan_afresh");
const WINDOW: &str = tenancy::sql!("audit/log.sql", "window");
const ONE: &str = tenancy::sql!("audit/log.sql", "one");

/// Largest page.
pub const PAGE_MAX: u32 = 500;
/// Records that one page looks through for filters that have no index.
pub const WINDOW_ROWS: u32 = 50_000;
/// The sorts of actors in records: the application's, and the database that records what
/// was changed by hand.
pub const ACTOR_KINDS: [&str; 6] = ["user", "api_key", "worker", "cli", "anonymous", "database"];
/// Longest name of an action or of a kind of object.
const NAME_BYTES_MAX: usize = 64;

/// What to list; every field narrows, none is required.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// By the acting user.
    pub user_id: Option<Uuid>,
    /// By event type.
    pub event_type: Option<EventType>,
    /// By severity.
    pub severity: Option<Severity>,
    /// By how it ended.
    pub outcome: Option<Outcome>,
    /// By the command's name.
    pub action: Option<String>,
    /// By the kind of object.
    pub resource_type: Option<String>,
    /// By the object.
    pub resource_id: Option<Uuid>,
    /// By session.
    pub session_id: Option<Uuid>,
    /// By request.
    pub request_id: Option<String>,
    /// By organisation.
    pub organization_id: Option<Uuid>,
    /// By compliance flag.
    pub compliance_flag: Option<ComplianceFlag>,
    /// By the client's address.
    pub ip_address: Option<IpAddr>,
    /// By the sort of actor, one of [`ACTOR_KINDS`].
    pub actor_kind: Option<String>,
    /// By the client's user agent, as a whole.
    pub user_agent: Option<String>,
    /// From this instant, inclusive, to the millisecond.
    pub from: Option<Timestamp>,
    /// Before this instant, exclusive, to the millisecond.
    pub to: Option<Timestamp>,
}

impl Filter {
    /// What of it an access record may tell: an address, a request and a user agent are
    /// somebody's, so that they were asked for is said, and not which. So it is of a name
    /// that no action has: people type into a filter what they like.
    pub fn told(&self) -> Value {
        json!({
            "user_id": self.user_id,
            "event_type": self.event_type.map(EventType::as_str),
            "severity": self.severity.map(Severity::as_str),
            "result": self.outcome.map(Outcome::as_str),
            "action": told_name(self.action.as_deref()),
            "resource_type": told_name(self.resource_type.as_deref()),
            "resource_id": self.resource_id,
            "session_id": self.session_id,
            "request_id": self.request_id.as_ref().map(|_| true),
            "organization_id": self.organization_id,
            "compliance_flag": self.compliance_flag.map(ComplianceFlag::as_str),
            "ip_address": self.ip_address.map(|_| true),
            "actor_kind": told_name(self.actor_kind.as_deref()),
            "user_agent": self.user_agent.as_ref().map(|_| true),
            "from": self.from.map(|from| from.to_string()),
            "to": self.to.map(|to| to.to_string()),
        })
    }

    /// Whether an index leads to what it lets through, or nothing has to be passed over.
    fn is_indexed(&self) -> bool {
        let unfiltered = Self { from: self.from, to: self.to, ..Self::default() };
        self.user_id.is_some() || self.resource_id.is_some() || *self == unfiltered
    }
}

/// A name as records have them, or only that one was given.
fn told_name(name: Option<&str>) -> Option<Value> {
    let is_of_name = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'_' | b'-');
    let is_name = |name: &str| name.len() <= NAME_BYTES_MAX && name.bytes().all(is_of_name);
    name.map(|name| if is_name(name) { Value::from(name) } else { Value::from(true) })
}

/// One event as stored. Serialises with the field names of the interface.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct StoredEvent {
    /// Its id.
    pub event_id: Uuid,
    /// When it happened, UTC, in microseconds.
    pub occurred_at: Timestamp,
    /// One of [`EventType`].
    pub event_type: String,
    /// One of [`Severity`].
    pub severity: String,
    /// One of [`Outcome`].
    pub result: String,
    /// The organisation acted in.
    pub organization_id: Option<Uuid>,
    /// The acting user.
    pub user_id: Option<Uuid>,
    /// The session.
    pub session_id: Option<Uuid>,
    /// The object acted on.
    pub resource_id: Option<Uuid>,
    /// What sort of principal acted.
    pub actor_kind: String,
    /// The command's name.
    pub action: String,
    /// The kind of object.
    pub resource_type: String,
    /// The client's address.
    pub ip_address: Option<String>,
    /// The client's user agent.
    pub user_agent: Option<String>,
    /// The request's id.
    pub request_id: Option<String>,
    /// The rules it falls under.
    pub compliance_flags: Vec<String>,
    /// Values before.
    pub old_values: Option<Value>,
    /// Values after.
    pub new_values: Option<Value>,
    /// Anything else.
    pub details: Option<Value>,
    /// Its place in the log; none while it waits to be sealed.
    pub log_index: Option<i64>,
}

/// What one look at the log found.
#[derive(Debug, Clone, PartialEq)]
pub struct Looked {
    /// Newest first.
    pub events: Vec<StoredEvent>,
    /// The look ended before the log did: what is older than this id was not looked at.
    pub until: Option<Uuid>,
}

/// Events before an id (from the newest where there is none), newest first, at
/// most `limit`, which is held between 1 and [`PAGE_MAX`]. One round trip. Looks through
/// the whole log for them: [`look`] does not.
pub async fn list(
    database: &Database,
    context: &OpContext,
    filter: &Filter,
    before: Option<Uuid>,
    limit: u32,
) -> Result<Vec<StoredEvent>, DbError> {
    let lower = filter.from.map(first_event_id_at);
    between(database, context, filter, (lower, upper_bound(filter, before)), limit).await
}

/// As [`list`], and for a filter that no index serves through so many records at most: a
/// page may hold fewer than `limit`, or none, and yet not be the last. Two round trips for
/// such a filter.
pub async fn look(
    database: &Database,
    context: &OpContext,
    filter: &Filter,
    before: Option<Uuid>,
    limit: u32,
    window_rows: u32,
) -> Result<Looked, DbError> {
    if filter.is_indexed() {
        let events = list(database, context, filter, before, limit).await?;
        return Ok(Looked { events, until: None });
    }
    let (lower, upper) = (filter.from.map(first_event_id_at), upper_bound(filter, before));
    let offset = i64::from(window_rows.max(1)) - 1;
    let window: [&(dyn ToSql + Sync); 4] = [&context.tenant_id(), &upper, &lower, &offset];
    let answers = database.look_up(context, Query::new(WINDOW, &window)).await?;
    let until: Option<Uuid> = answers.first().map(|row| row.try_get(0)).transpose()?;
    let bounds = (until.or(lower), upper);
    let events = between(database, context, filter, bounds, limit).await?;
    Ok(Looked { events, until })
}

fn upper_bound(filter: &Filter, before: Option<Uuid>) -> Option<Uuid> {
    match (before, filter.to.map(first_event_id_at)) {
        (Some(before), Some(to)) => Some(before.min(to)),
        (before, to) => before.or(to),
    }
}

async fn between(
    database: &Database,
    context: &OpContext,
    filter: &Filter,
    (lower, upper): (Option<Uuid>, Option<Uuid>),
    limit: u32,
) -> Result<Vec<StoredEvent>, DbError> {
    let tenant_id = context.tenant_id();
    let event_type = filter.event_type.map(EventType::as_str);
    let severity = filter.severity.map(Severity::as_str);
    let result = filter.outcome.map(Outcome::as_str);
    let flag = filter.compliance_flag.map(ComplianceFlag::as_str);
    let limit = i64::from(limit.clamp(1, PAGE_MAX));
    let parameters: [&(dyn ToSql + Sync); 18] = [
        &tenant_id,
        &upper,
        &lower,
        &filter.user_id,
        &event_type,
        &severity,
        &result,
        &filter.action,
        &filter.resource_type,
        &filter.resource_id,
        &filter.session_id,
        &filter.request_id,
        &filter.organization_id,
        &flag,
        &filter.ip_address,
        &filter.actor_kind,
        &filter.user_agent,
        &limit,
    ];
    let queries = [Query::new(PLAN_AFRESH, &[]), Query::new(LIST, &parameters)];
    let answers = database.read(context, &queries).await?;
    answers.iter().skip(1).flatten().map(stored_event).collect()
}

/// One event of the tenant, none where there is no such id. One round trip.
pub async fn one(
    database: &Database,
    context: &OpContext,
    event_id: Uuid,
) -> Result<Option<StoredEvent>, DbError> {
    let answers =
        database.look_up(context, Query::new(ONE, &[&context.tenant_id(), &event_id])).await?;
    answers.iter().map(stored_event).next().transpose()
}

fn stored_event(row: &Row) -> Result<StoredEvent, DbError> {
    Ok(StoredEvent {
        event_id: row.try_get("event_id")?,
        occurred_at: row.try_get("occurred_at")?,
        event_type: row.try_get("event_type")?,
        severity: row.try_get("severity")?,
        result: row.try_get("result")?,
        organization_id: row.try_get("organization_id")?,
        user_id: row.try_get("user_id")?,
        session_id: row.try_get("session_id")?,
        resource_id: row.try_get("resource_id")?,
        actor_kind: row.try_get("actor_kind")?,
        action: row.try_get("action")?,
        resource_type: row.try_get("resource_type")?,
        ip_address: row.try_get("ip_address")?,
        user_agent: row.try_get("user_agent")?,
        request_id: row.try_get("request_id")?,
        compliance_flags: row.try_get("compliance_flags")?,
        old_values: row.try_get("old_values")?,
        new_values: row.try_get("new_values")?,
        details: row.try_get("details")?,
        log_index: row.try_get("log_index")?,
    })
}
