//! Webhooks on the wire.

use ::webhooks::{Delivery, NewWebhook, Replay, Replayed, WebhookChange};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;
use zeroize::Zeroizing;

use super::{EXAMPLE_ID, EXAMPLE_INSTANT, OTHER_ID, instant};
use crate::{extract::named, openapi_parts::Example, problem::Problem};

/// Where another system is told what happens, without the secret.
#[derive(Serialize, ToSchema)]
pub(crate) struct Webhook {
    /// Its id.
    id: Uuid,
    /// Where it is told.
    url: String,
    /// Of what, by name.
    event_types: Vec<String>,
    /// `active`; `disabled` by somebody; `failing`: it took nothing for five days, or said that
    /// it is gone (410).
    status: String,
    /// Up to which position of the log it has been seen to.
    position: i64,
    /// Since when it has taken nothing.
    failing_since: Option<String>,
    /// Until when the secret before signs as well.
    previous_until: Option<String>,
    /// The person who made it; null: the operator at the command line.
    created_by: Option<Uuid>,
    /// Counts changes.
    version: i64,
    /// When it was made.
    created_at: String,
}

impl From<::webhooks::Webhook> for Webhook {
    fn from(webhook: ::webhooks::Webhook) -> Self {
        Self {
            id: webhook.id,
            url: webhook.url,
            event_types: webhook.event_types,
            status: webhook.status.as_str().to_owned(),
            position: webhook.position,
            failing_since: webhook.failing_since.map(instant),
            previous_until: webhook.previous_until.map(instant),
            created_by: webhook.created_by,
            version: webhook.version,
            created_at: instant(webhook.created_at),
        }
    }
}

impl Example for Webhook {
    fn example() -> Self {
        Self {
            id: EXAMPLE_ID,
            url: "https://hook.example/strongroom".to_owned(),
            event_types: vec!["account.opened".to_owned()],
            status: "active".to_owned(),
            position: 4_711,
            failing_since: None,
            previous_until: None,
            created_by: Some(OTHER_ID),
            version: 1,
            created_at: EXAMPLE_INSTANT.to_owned(),
        }
    }
}

/// A webhook with its secret, shown this once.
#[derive(Serialize, ToSchema)]
pub(crate) struct WebhookWithSecret {
    /// The webhook.
    #[serde(flatten)]
    webhook: Webhook,
    /// `whsec_` and base64, for the receiver's library of Standard Webhooks; null where an
    /// earlier request with this `Idempotency-Key` was shown it.
    secret: Option<String>,
}

impl WebhookWithSecret {
    pub(crate) fn of(webhook: ::webhooks::Webhook, secret: Option<Zeroizing<String>>) -> Self {
        Self { webhook: webhook.into(), secret: secret.map(|secret| secret.as_str().to_owned()) }
    }
}

impl Example for WebhookWithSecret {
    fn example() -> Self {
        let secret = "whsec_C2FVsBQIhrscChlQIMV…".to_owned();
        Self { webhook: Webhook::example(), secret: Some(secret) }
    }
}

/// A webhook to be made.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct CreateWebhook {
    /// An https address of the public internet, at most 2048 bytes, without a user name.
    url: String,
    /// Names of events, one at least.
    event_types: Vec<String>,
}

impl From<CreateWebhook> for NewWebhook {
    fn from(new: CreateWebhook) -> Self {
        Self { url: new.url, event_types: new.event_types }
    }
}

/// What to change; what is left out stays.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ChangeWebhook {
    /// Where to.
    #[serde(default)]
    url: Option<String>,
    /// Of what.
    #[serde(default)]
    event_types: Option<Vec<String>>,
    /// `active` or `disabled`.
    #[serde(default)]
    status: Option<String>,
}

impl TryFrom<ChangeWebhook> for WebhookChange {
    type Error = Problem;

    fn try_from(change: ChangeWebhook) -> Result<Self, Problem> {
        let status = named("status", change.status.as_deref())?;
        Ok(Self { url: change.url, event_types: change.event_types, status })
    }
}

/// How to rotate.
#[derive(Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RotateSecret {
    /// Seconds for which the secret before signs as well: 0 to 604800, 86400 where left out.
    #[serde(default)]
    pub(crate) overlap_s: Option<i64>,
}

/// Which events to deliver again: one of the two.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ReplayEvents {
    /// All from this position on.
    #[serde(default)]
    from_position: Option<i64>,
    /// These, at most 1000.
    #[serde(default)]
    event_ids: Option<Vec<Uuid>>,
}

impl TryFrom<ReplayEvents> for Replay {
    type Error = Problem;

    fn try_from(wish: ReplayEvents) -> Result<Self, Problem> {
        match (wish.from_position, wish.event_ids) {
            (Some(position), None) => Ok(Self::From(position)),
            (None, Some(ids)) => Ok(Self::Events(ids)),
            _ => {
                let message = "Send a position or ids, one of the two";
                Err(Problem::malformed_field("from_position", "invalid_value", message))
            }
        }
    }
}

/// How many deliveries were made due.
#[derive(Serialize, ToSchema)]
pub(crate) struct Deliveries {
    /// How many.
    count: i64,
}

impl From<Replayed> for Deliveries {
    fn from(replayed: Replayed) -> Self {
        Self { count: replayed.count }
    }
}

impl Example for Deliveries {
    fn example() -> Self {
        Self { count: 1 }
    }
}

/// What became of one event that a webhook was told.
#[derive(Serialize, ToSchema)]
pub(crate) struct WebhookDelivery {
    /// The event.
    event_id: Uuid,
    /// Its place in the log; null of a test.
    position: Option<i64>,
    /// What happened.
    r#type: String,
    /// To what kind of object.
    object_type: String,
    /// To which.
    object_id: Uuid,
    /// The version that it came to.
    sequence: i64,
    /// `pending`, `delivered` or `given_up`.
    status: String,
    /// How often it was tried.
    attempts: i32,
    /// When it is due; null where it is over.
    next_attempt_at: Option<String>,
    /// The HTTP status of the last answer.
    last_status: Option<i32>,
    /// Why it was not taken, last: a word such as `timeout` or `address_refused`.
    last_error: Option<String>,
    /// How long the last attempt took.
    duration_ms: Option<i64>,
    /// When it was taken.
    delivered_at: Option<String>,
    /// When there was something to deliver.
    created_at: String,
}

impl From<Delivery> for WebhookDelivery {
    fn from(delivery: Delivery) -> Self {
        Self {
            event_id: delivery.event_id,
            position: delivery.position,
            r#type: delivery.event_type,
            object_type: delivery.object_type,
            object_id: delivery.object_id,
            sequence: delivery.sequence,
            status: delivery.status.as_str().to_owned(),
            attempts: delivery.attempts,
            next_attempt_at: delivery.next_attempt_at.map(instant),
            last_status: delivery.last_status,
            last_error: delivery.last_error,
            duration_ms: delivery.duration_ms,
            delivered_at: delivery.delivered_at.map(instant),
            created_at: instant(delivery.created_at),
        }
    }
}

impl Example for WebhookDelivery {
    fn example() -> Self {
        Self {
            event_id: EXAMPLE_ID,
            position: Some(4_711),
            r#type: "account.opened".to_owned(),
            object_type: "account".to_owned(),
            object_id: OTHER_ID,
            sequence: 1,
            status: "pending".to_owned(),
            attempts: 1,
            next_attempt_at: Some(EXAMPLE_INSTANT.to_owned()),
            last_status: Some(503),
            last_error: Some("status_503".to_owned()),
            duration_ms: Some(42),
            delivered_at: None,
            created_at: EXAMPLE_INSTANT.to_owned(),
        }
    }
}
