//! Owns reading the log on from a position.

use jiff::Timestamp;
use serde_json::Value;
use tenancy::{Database, DbError, OpContext, Query};
use tokio_postgres::{Row, types::ToSql};
use uuid::Uuid;

const PAGE: &str = tenancy::sql!("events/log.sql", "page");

/// Which events.
#[derive(Clone, Debug)]
pub struct Selection {
    /// The position behind which to read on; 0 for the beginning.
    pub after: i64,
    /// The most to give.
    pub limit: i64,
    /// The kinds of objects.
    pub object_types: Vec<&'static str>,
    /// By name.
    pub event_type: Option<String>,
    /// By object.
    pub object_id: Option<Uuid>,
}

/// One event.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// Its place in the tenant's log.
    pub position: i64,
    /// Its id, and its record's.
    pub event_id: Uuid,
    /// What happened.
    pub event_type: String,
    /// The kind of object.
    pub object_type: String,
    /// The object.
    pub object_id: Uuid,
    /// The version that the object came to.
    pub sequence: i64,
    /// When it happened.
    pub occurred_at: Timestamp,
    /// What the record tells: ids and unsealed fields.
    pub data: Option<Value>,
}

/// Part of the log.
#[derive(Clone, Debug, PartialEq)]
pub struct Page {
    /// Events, oldest first.
    pub events: Vec<Event>,
    /// Where to read on.
    pub next_after: i64,
    /// Behind which position was looked: beyond the asked one where what lay between is
    /// forgotten.
    pub start: i64,
    /// The last position of the log.
    pub head: i64,
}

/// Reads on. Where a filter finds little, a page may hold nothing and still not be the last.
pub async fn page(
    database: &Database,
    context: &OpContext,
    selection: &Selection,
) -> Result<Page, DbError> {
    let tenant = context.tenant_id();
    let Selection { after, limit, object_types, event_type, object_id } = selection;
    let parameters: [&(dyn ToSql + Sync); 6] =
        [&tenant, after, object_types, event_type, object_id, limit];
    let answers = database.read(context, &[Query::new(PAGE, &parameters)]).await?;
    let rows = answers.first().map_or(&[][..], Vec::as_slice);
    let first = rows.first().ok_or_else(|| DbError::Corrupt("a page without a row".to_owned()))?;
    let (head, looked_to): (i64, i64) = (first.try_get("head")?, first.try_get("looked_to")?);
    let start = first.try_get("start")?;
    let events: Vec<Event> =
        rows.iter().filter_map(|row| Event::from_row(row).transpose()).collect::<Result<_, _>>()?;
    let is_full = i64::try_from(events.len()).is_ok_and(|count| count >= *limit);
    let last = events.last().filter(|_| is_full).map(|event| event.position);
    Ok(Page { events, next_after: last.unwrap_or_else(|| looked_to.max(*after)), start, head })
}

impl Event {
    /// None of the row that says only how far was looked.
    fn from_row(row: &Row) -> Result<Option<Self>, DbError> {
        let Some(position) = row.try_get("position")? else { return Ok(None) };
        Ok(Some(Self {
            position,
            event_id: row.try_get("event_id")?,
            event_type: row.try_get("event_type")?,
            object_type: row.try_get("object_type")?,
            object_id: row.try_get("object_id")?,
            sequence: row.try_get("sequence")?,
            occurred_at: row.try_get("occurred_at")?,
            data: row.try_get("new_values")?,
        }))
    }
}
