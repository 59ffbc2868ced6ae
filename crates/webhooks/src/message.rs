//! Owns what is sent: the body of an event and the headers that sign it.

use bytes::Bytes;
use http_body_util::Full;
use hyper::{Request, header};
use jiff::Timestamp;
use outward::Destination;
use serde::Serialize;
use serde_json::Value;
use uuid::Uuid;
use vault::webhook::{WebhookSecret, sign_webhook};

/// An event, as its receivers read it.
#[derive(Serialize)]
pub(crate) struct Told<'a> {
    /// What happened.
    pub(crate) r#type: &'a str,
    /// When.
    pub(crate) timestamp: Timestamp,
    pub(crate) data: Data<'a>,
}

/// To what.
#[derive(Serialize)]
pub(crate) struct Data<'a> {
    pub(crate) event_id: Uuid,
    /// The place in the tenant's log; null of a test.
    pub(crate) position: Option<i64>,
    pub(crate) object_type: &'a str,
    pub(crate) object_id: Uuid,
    /// The version that the object came to: a receiver that has seen a higher one has nothing
    /// to do.
    pub(crate) sequence: i64,
    /// Ids, states and amounts after the change, as `GET /v1/events` tells them.
    pub(crate) values: Option<&'a Value>,
}

/// The id of an event's message: the same at every attempt and every replay, so that a
/// receiver can tell a repetition.
pub(crate) fn id_of(event: Uuid) -> String {
    format!("msg_{}", event.simple())
}

/// The request; none where it cannot be signed or written.
pub(crate) fn request(
    destination: &Destination,
    told: &Told<'_>,
    (secret, previous): (&WebhookSecret, Option<&WebhookSecret>),
    now: Timestamp,
) -> Option<Request<Full<Bytes>>> {
    let body = serde_json::to_vec(told).ok()?;
    let id = id_of(told.data.event_id);
    let signature = sign_webhook(secret, previous, &id, now.as_second(), &body).ok()?;
    Request::post(destination.path())
        .header(header::HOST, destination.authority())
        .header(header::CONTENT_TYPE, "application/json")
        .header(header::USER_AGENT, "Strongroom")
        .header(header::CONNECTION, "close")
        .header("webhook-id", id)
        .header("webhook-timestamp", now.as_second())
        .header("webhook-signature", signature)
        .body(Full::new(Bytes::from(body)))
        .ok()
}
