//! Owns the audit log as a stream for people and their tools: the records that a filter
//! lets through, newest first, as CSV or as JSON Lines, a page at a time, so that a file of
//! any size costs the memory of one page and holds no connection between two. That it
//! leaves is recorded, and committed, before its first byte.
//!
//! Refuses to know: who asks over what. What proves the log is another file
//! ([`audit::export`]).
//!
//! A record keeps the place that its id has, by when its operation began. One that commits
//! while the stream has already passed its place is not in it: whoever exports by the day
//! asks for a day that ended a minute ago.

use std::time::Duration;

use audit::query::{self, Filter, StoredEvent, WINDOW_ROWS};
use futures_util::stream::{self, Stream};
use jiff::Timestamp;
use serde_json::Value;
use tenancy::{DbError, OpContext};
use uuid::Uuid;

use crate::audit_views::RecordLogExport;
use crate::{Call, OperationError, Operations, csv};

/// Records of a page.
const PAGE_ROWS: u32 = 500;
/// A stream that takes longer is ended: whoever reads so slowly asks again in parts.
const LIFETIME: Duration = Duration::from_secs(600);

/// How the records are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// RFC 4180, with a header line; values are JSON in their cell.
    Csv,
    /// One JSON object a line.
    JsonLines,
}

impl LogFormat {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Csv, Self::JsonLines];

    /// The name on the wire, in records, and the ending of a file.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Csv => "csv",
            Self::JsonLines => "jsonl",
        }
    }

    /// The media type.
    pub const fn media_type(self) -> &'static str {
        match self {
            Self::Csv => "text/csv; charset=utf-8",
            Self::JsonLines => "application/jsonl",
        }
    }
}

/// A stream that was recorded, as far as it was read.
pub struct LogExport {
    operations: Operations,
    context: OpContext,
    filter: Filter,
    format: LogFormat,
    state: State,
    ends_at: Timestamp,
}

enum State {
    Header,
    Page { before: Option<Uuid> },
    Done,
}

/// Why a stream broke off.
#[derive(Debug, thiserror::Error)]
pub enum ExportBroken {
    /// The database failed.
    #[error(transparent)]
    Database(#[from] DbError),
    /// It was read too slowly.
    #[error("the export took longer than {} minutes", LIFETIME.as_secs() / 60)]
    TooSlow,
}

impl LogExport {
    /// Records that the log leaves, or that it was refused.
    pub async fn begin(
        operations: &Operations,
        context: &OpContext,
        filter: Filter,
        format: LogFormat,
    ) -> Result<Self, OperationError> {
        let command = RecordLogExport { format: format.as_str(), filter: filter.clone() };
        let call = Call { context: context.clone(), idempotency_key: None, command };
        operations.run_one(call).await?;
        let now = context.clock.now();
        Ok(Self {
            operations: operations.clone(),
            context: context.clone(),
            filter,
            format,
            state: State::Header,
            ends_at: now.checked_add(LIFETIME).unwrap_or(Timestamp::MAX),
        })
    }

    /// The pieces of the file as whatever sends it takes them.
    pub fn into_stream(self) -> impl Stream<Item = Result<Vec<u8>, ExportBroken>> + Send {
        stream::try_unfold(self, |mut export| async move {
            Ok(export.next().await?.map(|piece| (piece, export)))
        })
    }

    /// The next piece of the file, none behind its end. May be empty where a rare value is
    /// looked for.
    pub async fn next(&mut self) -> Result<Option<Vec<u8>>, ExportBroken> {
        let before = match self.state {
            State::Done => return Ok(None),
            State::Header => {
                self.state = State::Page { before: None };
                return Ok(Some(self.header()));
            }
            State::Page { before } => before,
        };
        if self.context.clock.now() > self.ends_at {
            return Err(ExportBroken::TooSlow);
        }
        let database = self.operations.database();
        let (filter, context) = (&self.filter, &self.context);
        let looked = query::look(database, context, filter, before, PAGE_ROWS, WINDOW_ROWS).await?;
        let is_full = u32::try_from(looked.events.len()).is_ok_and(|rows| rows == PAGE_ROWS);
        let last = looked.events.last().map(|event| event.event_id).filter(|_| is_full);
        self.state = match last.or(looked.until) {
            Some(before) => State::Page { before: Some(before) },
            None => State::Done,
        };
        Ok(Some(self.page(&looked.events)?))
    }

    fn header(&self) -> Vec<u8> {
        let mut text = String::new();
        if self.format == LogFormat::Csv {
            csv::line(&mut text, COLUMNS);
        }
        text.into_bytes()
    }

    fn page(&self, events: &[StoredEvent]) -> Result<Vec<u8>, DbError> {
        let mut page = Vec::new();
        for event in events {
            match self.format {
                LogFormat::Csv => {
                    let mut text = String::new();
                    csv::line(&mut text, cells(event).iter().map(String::as_str));
                    page.extend_from_slice(text.as_bytes());
                }
                LogFormat::JsonLines => {
                    serde_json::to_writer(&mut page, event)
                        .map_err(|error| DbError::Corrupt(error.to_string()))?;
                    page.push(b'\n');
                }
            }
        }
        Ok(page)
    }
}

/// The members of a record, as in JSON.
const COLUMNS: [&str; 20] = [
    "event_id",
    "occurred_at",
    "event_type",
    "severity",
    "result",
    "organization_id",
    "user_id",
    "session_id",
    "resource_id",
    "actor_kind",
    "action",
    "resource_type",
    "ip_address",
    "user_agent",
    "request_id",
    "compliance_flags",
    "old_values",
    "new_values",
    "details",
    "log_index",
];

fn cells(event: &StoredEvent) -> [String; COLUMNS.len()] {
    let id = |id: Option<Uuid>| id.map(|id| id.to_string()).unwrap_or_default();
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    let json = |value: &Option<Value>| value.as_ref().map(Value::to_string).unwrap_or_default();
    [
        event.event_id.to_string(),
        event.occurred_at.to_string(),
        event.event_type.clone(),
        event.severity.clone(),
        event.result.clone(),
        id(event.organization_id),
        id(event.user_id),
        id(event.session_id),
        id(event.resource_id),
        event.actor_kind.clone(),
        event.action.clone(),
        event.resource_type.clone(),
        text(&event.ip_address),
        text(&event.user_agent),
        text(&event.request_id),
        event.compliance_flags.join(" "),
        json(&event.old_values),
        json(&event.new_values),
        json(&event.details),
        event.log_index.map(|index| index.to_string()).unwrap_or_default(),
    ]
}
