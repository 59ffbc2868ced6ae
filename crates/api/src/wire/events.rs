//! Events on the wire.

use serde::Serialize;
use serde_json::{Value, json};
use utoipa::ToSchema;
use uuid::Uuid;

use super::{EXAMPLE_ID, EXAMPLE_INSTANT, instant};
use crate::openapi_parts::Example;

/// One event.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Event {
    /// Its id: the same as its audit record's.
    pub(crate) event_id: Uuid,
    /// Its place in the tenant's log; places have no gaps.
    pub(crate) position: i64,
    /// What happened, e.g. `account.opened`.
    pub(crate) r#type: String,
    /// The kind of object.
    pub(crate) object_type: String,
    /// The object.
    pub(crate) object_id: Uuid,
    /// The version that the object came to: its `ETag`.
    pub(crate) sequence: i64,
    /// When it happened.
    pub(crate) occurred_at: String,
    /// Ids, states and amounts after the change; null where nothing more is told.
    #[schema(value_type = Option<Object>)]
    pub(crate) data: Option<Value>,
}

/// Part of the log.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Events {
    /// Events, oldest first.
    pub(crate) data: Vec<Event>,
    /// Pass it as `after` to read on, now or later.
    pub(crate) next_after: i64,
    /// Whether the log goes on behind it already.
    pub(crate) has_more: bool,
}

impl From<events::Event> for Event {
    fn from(event: events::Event) -> Self {
        Self {
            event_id: event.event_id,
            position: event.position,
            r#type: event.event_type,
            object_type: event.object_type,
            object_id: event.object_id,
            sequence: event.sequence,
            occurred_at: instant(event.occurred_at),
            data: event.data,
        }
    }
}

impl From<events::Page> for Events {
    fn from(page: events::Page) -> Self {
        Self {
            has_more: page.next_after < page.head,
            next_after: page.next_after,
            data: page.events.into_iter().map(Event::from).collect(),
        }
    }
}

impl Example for Events {
    fn example() -> Self {
        let event = Event {
            event_id: EXAMPLE_ID,
            position: 4_711,
            r#type: "account.opened".to_owned(),
            object_type: "account".to_owned(),
            object_id: EXAMPLE_ID,
            sequence: 1,
            occurred_at: EXAMPLE_INSTANT.to_owned(),
            data: Some(json!({ "currency": "EUR" })),
        };
        Self { data: vec![event], next_after: 4_711, has_more: false }
    }
}
