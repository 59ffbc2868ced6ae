//! What every request passes, from the socket inwards: the frame (request id,
//! client address, headers of every answer, problems written out), CORS, panics,
//! time, the gate (limits, authentication, modules), characters that no text may
//! hold. Handlers come after.
//!
//! It refuses to know any single route: the table says what each demands.

mod frame;
mod gate;
mod headers;
mod limits;
mod pages;
mod signature;

use std::{panic::AssertUnwindSafe, sync::Arc, time::Duration};

use axum::{
    Router,
    extract::{RawPathParams, Request, State, rejection::RawPathParamsRejection},
    middleware::{Next, from_fn_with_state},
    response::{IntoResponse as _, Response},
};
use futures_util::FutureExt as _;
use http::{HeaderName, HeaderValue, Method, header};
use tower_http::cors::CorsLayer;

pub(crate) use headers::secure;
pub(crate) use limits::{Limits, SignIn, count_sign_in};

use crate::{problem::Problem, state::ApiState};

/// The parameters of a path that is text.
type RawPath = Result<RawPathParams, RawPathParamsRejection>;

/// What the layers need.
#[derive(Clone)]
struct Around {
    state: ApiState,
    pages: Option<Arc<pages::Pages>>,
}

/// Puts everything around the routes. Each layer costs every request a boxed future
/// and a copy of all layers below it, so there is one; CORS, which few installations
/// ask for and which answers by itself, comes in between and makes it two.
pub(crate) fn around(
    router: Router<ApiState>,
    state: &ApiState,
    pages: Option<Router>,
) -> Router<ApiState> {
    let pages = pages.map(|router| Arc::new(pages::Pages { state: state.clone(), router }));
    let around = Around { state: state.clone(), pages };
    // The layer answers every OPTIONS: without origins there is nothing to answer.
    match cors(&state.config.cors_origins) {
        Some(cors) => router
            .layer(from_fn_with_state(around.clone(), inner))
            .layer(cors)
            .layer(from_fn_with_state(around, outer)),
        None => router.layer(from_fn_with_state(around, whole)),
    }
}

async fn whole(
    State(around): State<Around>,
    path: RawPath,
    request: Request,
    next: Next,
) -> Response {
    let state = around.state.clone();
    let served = async |request| match page(&around, request).await {
        Ok(page) => page,
        Err(request) => in_time(around.state.clone(), path, request, next).await,
    };
    frame::frame(&state, request, served).await
}

async fn outer(State(around): State<Around>, request: Request, next: Next) -> Response {
    let served = async |request| match page(&around, request).await {
        Ok(page) => page,
        Err(request) => next.run(request).await,
    };
    frame::frame(&around.state, request, served).await
}

async fn inner(
    State(around): State<Around>,
    path: RawPath,
    request: Request,
    next: Next,
) -> Response {
    in_time(around.state, path, request, next).await
}

async fn page(around: &Around, request: Request) -> Result<Response, Request> {
    match &around.pages {
        Some(pages) => pages::page(pages, request).await,
        None => Err(request),
    }
}

/// The gate and the handler behind it, for so long and no longer, come what may.
async fn in_time(state: ApiState, path: RawPath, request: Request, next: Next) -> Response {
    let limit = Duration::from_millis(state.config.request_timeout_ms);
    let work = unpanicked(gate::gate(state, path.ok(), request, next));
    tokio::time::timeout(limit, work)
        .await
        .unwrap_or_else(|_| Problem::unavailable(1).into_response())
}

async fn unpanicked(work: impl Future<Output = Response>) -> Response {
    AssertUnwindSafe(work).catch_unwind().await.unwrap_or_else(|_| {
        // The payload may hold anything, a secret included: the panic hook has logged where.
        tracing::error!("a handler panicked");
        Problem::internal().into_response()
    })
}

fn cors(origins: &[String]) -> Option<CorsLayer> {
    let origins: Vec<HeaderValue> =
        origins.iter().filter_map(|origin| origin.parse().ok()).collect();
    if origins.is_empty() {
        return None;
    }
    let named = ["idempotency-key", "if-match", "x-request-id", "signature", "signature-input"];
    let mut headers = vec![header::AUTHORIZATION, header::CONTENT_TYPE];
    headers.extend(named.map(HeaderName::from_static));
    let exposed = ["x-request-id", "x-total-count"].map(HeaderName::from_static);
    let layer = CorsLayer::new()
        .allow_origin(origins)
        .allow_credentials(true)
        .allow_methods([Method::GET, Method::POST, Method::PUT, Method::PATCH, Method::DELETE])
        .allow_headers(headers)
        .expose_headers(exposed)
        .max_age(Duration::from_secs(600));
    Some(layer)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]

    use crate::problem::Problem;

    #[tokio::test]
    async fn a_panic_is_a_problem_that_says_nothing() {
        let response = super::unpanicked(async { panic!("the secret is 42") }).await;
        let problem = response.extensions().get::<Problem>().unwrap();
        assert_eq!((problem.status.as_u16(), problem.code.as_ref()), (500, "internal_error"));
        assert!(!problem.body("r").to_string().contains("42"));
    }
}
