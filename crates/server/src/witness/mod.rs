//! Owns a witness of other people's logs (<https://c2sp.org/tlog-witness>): it cosigns the
//! checkpoint of a log it knows where that extends the one it cosigned last, so that no two
//! histories of one log find a cosignature. It has no database.
//!
//! Refuses to know: what the logs hold.

mod book;
mod key;
mod request;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use tokio::net::TcpListener;

pub use book::{Book, Refusal};
pub use key::{parse as parse_key, write as write_key};

use crate::serve::Termination;

/// The largest note, 63 hashes of a proof and the first line.
const BODY_MAX_BYTES: usize = 72 * 1024;
/// Whoever needs longer to send that is holding the line.
const BODY_MAX: Duration = Duration::from_secs(10);
const SIZE_TYPE: &str = "text/x.tlog.size";

/// Answers until the process is told to stop, and lets answers in the making be finished.
///
/// # Errors
/// Where signals cannot be caught or the listener fails.
pub async fn serve(listener: TcpListener, book: Book) -> anyhow::Result<()> {
    let termination = Termination::listen()?;
    let router =
        Router::new().route("/add-checkpoint", post(add_checkpoint)).with_state(Arc::new(book));
    axum::serve(listener, router).with_graceful_shutdown(termination.wait()).await?;
    Ok(())
}

async fn add_checkpoint(State(book): State<Arc<Book>>, body: Body) -> Response {
    let body = match tokio::time::timeout(BODY_MAX, to_bytes(body, BODY_MAX_BYTES)).await {
        Ok(Ok(body)) => body,
        Ok(Err(_)) => return StatusCode::PAYLOAD_TOO_LARGE.into_response(),
        Err(_) => return StatusCode::REQUEST_TIMEOUT.into_response(),
    };
    // On a thread that no hang-up stops: what is written must be remembered as well.
    let cosigning = tokio::task::spawn_blocking(move || {
        let request = request::parse(&body).map_err(Refusal::Malformed)?;
        book.cosign(&request)
    });
    match cosigning.await {
        Ok(Ok(line)) => line.into_response(),
        Ok(Err(refusal)) => refused(&refusal),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

fn refused(refusal: &Refusal) -> Response {
    let status = match refusal {
        Refusal::Malformed(_) => StatusCode::BAD_REQUEST,
        Refusal::Unsigned => StatusCode::FORBIDDEN,
        Refusal::UnknownOrigin => StatusCode::NOT_FOUND,
        Refusal::Fork { size, .. } => {
            tracing::error!(%refusal, "a log was signed twice: keep both checkpoints");
            return conflict(*size);
        }
        Refusal::OtherSize { size } => return conflict(*size),
        Refusal::Unproven { size, cause } => {
            tracing::error!(size, %cause, "a checkpoint does not extend the cosigned one");
            StatusCode::UNPROCESSABLE_ENTITY
        }
        Refusal::State(_) => {
            tracing::error!(%refusal, "nothing is cosigned that cannot be remembered");
            return StatusCode::INTERNAL_SERVER_ERROR.into_response();
        }
    };
    (status, format!("{refusal}\n")).into_response()
}

fn conflict(size: u64) -> Response {
    (StatusCode::CONFLICT, [(header::CONTENT_TYPE, SIZE_TYPE)], format!("{size}\n")).into_response()
}
