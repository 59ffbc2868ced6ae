//! What an endpoint and a delivery are, and which wishes are acceptable.

use std::{borrow::Cow, str::FromStr};

use jiff::Timestamp;
use operation::{Operations, refusal::FieldError};
use outward::{Destination, Guard};
use serde::{Deserialize, Serialize};
use tenancy::{DbError, OpContext};
use tokio_postgres::Row;
use uuid::Uuid;

use crate::kinds::is_offered;

const REPLAYED_IDS_MAX: usize = 1_000;

/// How an endpoint stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WebhookStatus {
    /// It is told.
    Active,
    /// Somebody has it told nothing.
    Disabled,
    /// It took nothing for five days, or said that it is gone, and is told nothing.
    Failing,
}

/// How a delivery stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DeliveryStatus {
    /// To be tried, perhaps again.
    Pending,
    /// Taken.
    Delivered,
    /// Tried often enough.
    GivenUp,
}

impl WebhookStatus {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Active, Self::Disabled, Self::Failing];

    /// As it is stored and told.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Disabled => "disabled",
            Self::Failing => "failing",
        }
    }
}

impl DeliveryStatus {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Pending, Self::Delivered, Self::GivenUp];

    /// As it is stored and told.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Delivered => "delivered",
            Self::GivenUp => "given_up",
        }
    }
}

impl FromStr for WebhookStatus {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        Self::ALL.into_iter().find(|status| status.as_str() == text).ok_or(())
    }
}

impl FromStr for DeliveryStatus {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        Self::ALL.into_iter().find(|status| status.as_str() == text).ok_or(())
    }
}

/// An endpoint, without its secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Webhook {
    /// Its id.
    pub id: Uuid,
    /// Where it is told.
    pub url: String,
    /// Of what, by name.
    pub event_types: Vec<String>,
    /// How it stands.
    pub status: WebhookStatus,
    /// Up to where in the log it has been seen to.
    pub position: i64,
    /// Since when it has taken nothing.
    pub failing_since: Option<Timestamp>,
    /// Until when the secret before signs as well.
    pub previous_until: Option<Timestamp>,
    /// Who made it; the operator at the command line where absent.
    pub created_by: Option<Uuid>,
    /// Counts changes.
    pub version: i64,
    /// When it was made.
    pub created_at: Timestamp,
}

impl Webhook {
    pub(crate) fn from_row(row: &Row) -> Result<Self, DbError> {
        Ok(Self {
            id: row.try_get("id")?,
            url: row.try_get("url")?,
            event_types: row.try_get("event_types")?,
            status: known(row.try_get("status")?)?,
            position: row.try_get("position")?,
            failing_since: row.try_get("failing_since")?,
            previous_until: row.try_get("previous_until")?,
            created_by: row.try_get("created_by")?,
            version: row.try_get("version")?,
            created_at: row.try_get("created_at")?,
        })
    }
}

/// A delivery.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// Its event.
    pub event_id: Uuid,
    /// The event's place in the log; none of a test.
    pub position: Option<i64>,
    /// What happened.
    pub event_type: String,
    /// To what kind of object.
    pub object_type: String,
    /// To which.
    pub object_id: Uuid,
    /// The version that it came to.
    pub sequence: i64,
    /// How it stands.
    pub status: DeliveryStatus,
    /// How often it was tried.
    pub attempts: i32,
    /// When it is due.
    pub next_attempt_at: Option<Timestamp>,
    /// The status of the last answer.
    pub last_status: Option<i32>,
    /// Why it was not taken, last.
    pub last_error: Option<String>,
    /// How long the last answer took.
    pub duration_ms: Option<i64>,
    /// When it was taken.
    pub delivered_at: Option<Timestamp>,
    /// When there was something to deliver.
    pub created_at: Timestamp,
}

impl Delivery {
    pub(crate) fn from_row(row: &Row) -> Result<Self, DbError> {
        Ok(Self {
            event_id: row.try_get("event_id")?,
            position: row.try_get("position")?,
            event_type: row.try_get("event_type")?,
            object_type: row.try_get("object_type")?,
            object_id: row.try_get("object_id")?,
            sequence: row.try_get("sequence")?,
            status: known(row.try_get("status")?)?,
            attempts: row.try_get("attempts")?,
            next_attempt_at: row.try_get("next_attempt_at")?,
            last_status: row.try_get("last_status")?,
            last_error: row.try_get("last_error")?,
            duration_ms: row.try_get("duration_ms")?,
            delivered_at: row.try_get("delivered_at")?,
            created_at: row.try_get("created_at")?,
        })
    }
}

/// An endpoint that is wished for.
#[derive(Clone, Debug)]
pub struct NewWebhook {
    /// Where to.
    pub url: String,
    /// Of what, by name.
    pub event_types: Vec<String>,
}

/// What to change of an endpoint; what is absent stays.
#[derive(Clone, Debug, Default)]
pub struct WebhookChange {
    /// Where to.
    pub url: Option<String>,
    /// Of what.
    pub event_types: Option<Vec<String>>,
    /// Active or disabled.
    pub status: Option<WebhookStatus>,
}

/// Which events to deliver again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Replay {
    /// All from this place on.
    From(i64),
    /// These.
    Events(Vec<Uuid>),
}

/// How many deliveries were made or made due again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Replayed {
    /// How many.
    pub count: i64,
}

impl NewWebhook {
    /// Every fault at once; names in order, each once.
    pub(crate) fn accept(
        &self,
        (operations, context): (&Operations, &OpContext),
        guard: Guard,
    ) -> Result<Vec<String>, Vec<FieldError>> {
        let mut faults = Vec::new();
        if let Err(error) = Destination::chosen(&self.url, guard) {
            faults.push(fault("url", error.to_string()));
        }
        let mut names = self.event_types.clone();
        names.sort_unstable();
        names.dedup();
        if names.is_empty() || !names.iter().all(|name| is_offered(operations, context, name)) {
            let message =
                "Expected names of events of which you may read every object, one at least";
            faults.push(fault("event_types", message));
        }
        if faults.is_empty() { Ok(names) } else { Err(faults) }
    }
}

impl Replay {
    /// The place and the ids, or what is at fault.
    pub(crate) fn accept(&self) -> Result<(Option<i64>, Vec<Uuid>), Vec<FieldError>> {
        match self {
            Self::From(position) if *position > 0 => Ok((Some(*position), Vec::new())),
            Self::From(_) => Err(vec![fault("from_position", "Expected a position, 1 or more")]),
            Self::Events(ids) => {
                let mut ids = ids.clone();
                ids.sort_unstable();
                ids.dedup();
                if ids.is_empty() || ids.len() > REPLAYED_IDS_MAX {
                    return Err(vec![fault("event_ids", "Expected 1 to 1000 ids")]);
                }
                Ok((None, ids))
            }
        }
    }
}

pub(crate) fn fault(field: &'static str, message: impl Into<String>) -> FieldError {
    FieldError {
        field: Cow::Borrowed(field),
        code: Cow::Borrowed("validation_failed"),
        message: message.into(),
    }
}

fn known<T: FromStr>(text: &str) -> Result<T, DbError> {
    text.parse().map_err(|_| DbError::Corrupt(format!("an unknown status: {text}")))
}
