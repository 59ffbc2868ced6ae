//! The listener in the clear that knows one answer: where it is safe. It reads no body, sets
//! no cookie and knows nobody.

use axum::Router;
use axum::extract::Request;
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse as _, Response};

/// Sends whoever asks for a page to the same path of `public_url`. Anything else has been
/// sent in the clear already, credentials and all: it is refused, not passed on.
pub(super) fn router(public_url: &str) -> Router {
    let public_url = public_url.to_owned();
    Router::new()
        .fallback(move |request: Request| std::future::ready(answer(&public_url, &request)))
}

fn answer(public_url: &str, request: &Request) -> Response {
    if ![Method::GET, Method::HEAD].contains(request.method()) {
        let words = "Ask over https. What was sent here was readable on the way.\n";
        return (StatusCode::BAD_REQUEST, words).into_response();
    }
    let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
    let path = if path.starts_with('/') { path } else { "/" };
    let location = HeaderValue::try_from(format!("{public_url}{path}"));
    match location {
        Ok(location) => {
            (StatusCode::PERMANENT_REDIRECT, [(header::LOCATION, location)]).into_response()
        }
        Err(_) => StatusCode::BAD_REQUEST.into_response(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use axum::body::Body;
    use tower::ServiceExt as _;

    use super::*;

    #[tokio::test]
    async fn only_questions_are_sent_on_and_only_to_us() {
        let table = [
            ("GET", "/", Some("https://bank.example/")),
            ("HEAD", "/a/b?c=d&e", Some("https://bank.example/a/b?c=d&e")),
            ("GET", "//evil.example/x", Some("https://bank.example//evil.example/x")),
            ("GET", "http://evil.example/x", Some("https://bank.example/x")),
            ("OPTIONS", "*", None),
            ("POST", "/v1/auth/login", None),
            ("DELETE", "/", None),
        ];
        for (method, uri, expected) in table {
            let request = Request::builder().method(method).uri(uri).body(Body::empty()).unwrap();
            let answer = router("https://bank.example").oneshot(request).await.unwrap();
            let status = if expected.is_some() { 308 } else { 400 };
            assert_eq!(answer.status(), status, "{method} {uri}");
            let location = answer.headers().get("location").map(|value| value.to_str().unwrap());
            assert_eq!(location, expected, "{method} {uri}");
        }
    }
}
