//! The handlers, one module an area: a request becomes one operation, its outcome
//! an answer. Each handler has its documentation under the same name in `docs`.
#![allow(
    clippy::unnecessary_wraps,
    reason = "answers are the last expression of handlers that can fail"
)]

pub(crate) mod access;
pub(crate) mod accounts;
pub(crate) mod activity;
pub(crate) mod api_keys;
pub(crate) mod approvals;
pub(crate) mod audit;
pub(crate) mod auth;
pub(crate) mod client_keys;
pub(crate) mod customers;
pub(crate) mod data_keys;
pub(crate) mod devices;
pub(crate) mod events;
pub(crate) mod holds;
pub(crate) mod keys;
pub(crate) mod mfa;
pub(crate) mod passkeys;
pub(crate) mod postings;
pub(crate) mod recovery;
pub(crate) mod roles;
pub(crate) mod settings;
pub(crate) mod transfers;
pub(crate) mod users;
pub(crate) mod webhooks;
pub(crate) mod well_known;

use axum::{
    Json,
    response::{IntoResponse, Response},
};
use http::{HeaderValue, StatusCode, header};
use operation::Reply;
use serde::Serialize;

use crate::problem::Problem;

/// What a handler gives.
pub(crate) type Answer = Result<Response, Problem>;

/// 200 with a body.
pub(crate) fn ok(body: impl Serialize) -> Answer {
    Ok(Json(body).into_response())
}

/// 200 with a body and its version as `ETag`.
pub(crate) fn ok_versioned(body: impl Serialize, version: i64) -> Answer {
    let mut response = Json(body).into_response();
    tag(&mut response, version);
    Ok(response)
}

/// The status and body of a command's reply, marked where it is an earlier one's.
pub(crate) fn reply<T, W: Serialize>(reply: Reply<T>, to_wire: impl FnOnce(T) -> W) -> Response {
    let status = StatusCode::from_u16(reply.status).unwrap_or(StatusCode::OK);
    let mut response = (status, Json(to_wire(reply.output))).into_response();
    if reply.replayed {
        let replayed = HeaderValue::from_static("true");
        response.headers_mut().insert("idempotency-replayed", replayed);
    }
    response
}

/// Sets the `ETag` of a version.
pub(crate) fn tag(response: &mut Response, version: i64) {
    if let Ok(value) = HeaderValue::from_str(&format!("\"{version}\"")) {
        response.headers_mut().insert(header::ETAG, value);
    }
}

/// 204.
pub(crate) fn nothing() -> Answer {
    Ok(StatusCode::NO_CONTENT.into_response())
}
