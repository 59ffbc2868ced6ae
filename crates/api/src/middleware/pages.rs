//! Lets requests for pages through to the console, under the same frame as the API:
//! request id, client address, served hosts, metrics.
//!
//! Owns which paths are the API's. Refuses to know any page: their router is handed
//! in, makes its own errors, counts its own requests.

use std::sync::Arc;

use axum::{
    Router,
    extract::Request,
    response::{IntoResponse as _, Response},
};
use http::{HeaderMap, StatusCode, header};
use tenancy::RequestInfo;
use tower::ServiceExt as _;

use super::gate;
use crate::{problem::Problem, state::ApiState};

/// Marks an answer of the console: its body is left as it is.
#[derive(Clone, Copy)]
pub(super) struct IsPage;

/// First segments of paths that are never a page's.
const OURS: [&str; 7] = ["v1", "api", "t", "openapi.json", "livez", "readyz", "metrics"];

/// What the layer needs.
#[derive(Clone)]
pub(super) struct Pages {
    pub(super) state: ApiState,
    pub(super) router: Router,
}

/// The page that is meant; gives the request back where it is the API's.
pub(super) async fn page(pages: &Pages, request: Request) -> Result<Response, Request> {
    if is_ours(request.uri().path()) {
        return Err(request);
    }
    let source = request.extensions().get::<Arc<RequestInfo>>().cloned();
    let wants_page = wants_page(request.headers());
    // A router's only error is none.
    let Ok(response) = pages.router.clone().oneshot(request).await;
    let mut response = response;
    if response.status() == StatusCode::NOT_FOUND && !wants_page {
        response = Problem::not_found().into_response();
    } else {
        response.extensions_mut().insert(IsPage);
    }
    Ok(match source {
        Some(source) => gate::page(&pages.state, &source, response),
        None => response,
    })
}

/// Whether somebody sloppy would find the API behind this path: its limits and
/// answers hold for every spelling of it.
fn is_ours(path: &str) -> bool {
    // Most are written plainly, and are not worth taking apart.
    path.starts_with("/v1/")
        || crate::route::normal_segments(path)
            .first()
            .is_none_or(|first| OURS.contains(&first.as_str()))
            && path != "/"
}

/// Clients of the API get problems, browsers get pages.
fn wants_page(headers: &HeaderMap) -> bool {
    let accepts = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok());
    accepts.is_some_and(|types| types.contains("text/html")) || headers.contains_key("hx-request")
}

#[cfg(test)]
mod tests {
    use super::is_ours;

    #[test]
    fn every_spelling_of_an_interface_path_stays_the_interfaces() {
        let table = [
            ("/", false),
            ("/login", false),
            ("/accounts/1", false),
            ("/v1", true),
            ("/v1/auth/login", true),
            ("/v1/../login", true),
            ("//v1/auth/login", true),
            ("/x/../v1/auth/login", true),
            ("/%76%31/auth/login", true),
            ("/V1/auth/login", true),
            ("/api/v1/accounts", true),
            ("/API/other", true),
            ("/t/bank/.well-known/jwks.json", true),
            ("/openapi.json", true),
            ("/livez", true),
            ("//", true),
        ];
        for (path, ours) in table {
            assert_eq!(is_ours(path), ours, "{path}");
        }
    }
}
