//! Owns the one shape of every error: RFC 9457 problem details. Refuses to say
//! more than the refusal itself does: no SQL, path, version, or other person's data.
//!
//! A [`Problem`] becomes an empty response that carries it; the outermost
//! middleware writes the body, because only there the request's id is known.

use std::borrow::Cow;

use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use operation::{FieldError, OperationError, Refusal, RefusalKind};
use serde_json::{Map, Value, json};
use tenancy::DbError;

/// The media type of problems.
pub(crate) const PROBLEM_JSON: &str = "application/problem+json";

const CONTENT_ENCODING: &str = "Content-Encoding";

/// Why a request was not answered as asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The HTTP status, 400 to 599.
    pub status: StatusCode,
    /// Stable, `lower_snake_case`.
    pub code: Cow<'static, str>,
    /// One sentence for people; empty for 5xx.
    pub detail: String,
    /// The fields at fault, if any.
    pub errors: Vec<FieldError>,
    /// Seconds to wait before another try makes sense.
    pub retry_after_s: Option<u64>,
    /// Whether this is the stored answer of an earlier request with the same key.
    pub replayed: bool,
}

impl Problem {
    /// A problem of any status.
    pub fn new(status: StatusCode, code: &'static str, detail: impl Into<String>) -> Self {
        Self {
            status,
            code: Cow::Borrowed(code),
            detail: detail.into(),
            errors: Vec::new(),
            retry_after_s: None,
            replayed: false,
        }
    }

    /// 400 about the request as a whole.
    pub(crate) fn malformed(code: &'static str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, code, detail)
    }

    /// 400 `malformed_request` about one field.
    pub(crate) fn malformed_field(
        field: impl Into<String>,
        code: &'static str,
        message: impl Into<String>,
    ) -> Self {
        let error = FieldError {
            field: Cow::Owned(field.into()),
            code: Cow::Borrowed(code),
            message: message.into(),
        };
        let detail = format!("{}: {}", error.field, error.message);
        Self { errors: vec![error], ..Self::malformed("malformed_request", detail) }
    }

    /// 422 `validation_failed` about one field, where no operation has been asked.
    pub(crate) fn validation(
        field: impl Into<String>,
        code: &'static str,
        message: impl Into<String>,
    ) -> Self {
        let error = FieldError {
            field: Cow::Owned(field.into()),
            code: Cow::Borrowed(code),
            message: message.into(),
        };
        Refusal::validation(vec![error]).into()
    }

    /// 415 for a body under a content coding.
    pub(crate) fn encoded_body() -> Self {
        let message = "The body has to be sent without a content coding";
        let found = Self::malformed_field(CONTENT_ENCODING, "invalid_value", message);
        let status = StatusCode::UNSUPPORTED_MEDIA_TYPE;
        Self { errors: found.errors, ..Self::new(status, "unsupported_media_type", message) }
    }

    /// 404.
    pub(crate) fn not_found() -> Self {
        Refusal::not_found().into()
    }

    /// 429.
    pub(crate) fn rate_limited(retry_after_s: u64) -> Self {
        let detail = format!("Try again in {retry_after_s} seconds");
        Self {
            retry_after_s: Some(retry_after_s),
            ..Self::new(StatusCode::TOO_MANY_REQUESTS, "rate_limited", detail)
        }
    }

    /// 500; what happened goes to the log.
    pub(crate) fn internal() -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal_error", "")
    }

    /// 503.
    pub(crate) fn unavailable(retry_after_s: u64) -> Self {
        Self {
            retry_after_s: Some(retry_after_s),
            ..Self::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", "")
        }
    }

    /// What a response of ours says where it carries no problem of its own: axum's
    /// plain rejections and the router's 404 and 405.
    pub(crate) fn of_status(status: StatusCode) -> Self {
        match status {
            StatusCode::NOT_FOUND => Self::new(status, "not_found", "No such resource"),
            StatusCode::METHOD_NOT_ALLOWED => {
                Self::new(status, "method_not_allowed", "This resource does not know that method")
            }
            StatusCode::PAYLOAD_TOO_LARGE => body_too_large(crate::MAXIMUM_BODY_BYTES),
            StatusCode::SERVICE_UNAVAILABLE => Self::unavailable(1),
            _ if status.is_server_error() => Self { status, ..Self::internal() },
            _ => Self::new(status, "malformed_request", "The request cannot be understood"),
        }
    }

    /// The body. A 5xx tells nothing but its code, its title and the request's id.
    pub(crate) fn body(&self, request_id: &str) -> Value {
        if self.status.is_server_error() {
            return json!({ "code": self.code, "title": self.title(), "request_id": request_id });
        }
        let mut body = Map::new();
        body.insert("type".into(), format!("urn:strongroom:problem:{}", self.code).into());
        body.insert("title".into(), self.title().into());
        body.insert("status".into(), self.status.as_u16().into());
        body.insert("detail".into(), self.detail.clone().into());
        body.insert("code".into(), self.code.clone().into());
        body.insert("errors".into(), json!(self.errors));
        body.insert("request_id".into(), request_id.into());
        body.into()
    }

    /// The code in words: `insufficient_funds` is titled "Insufficient funds".
    fn title(&self) -> String {
        let words = self.code.replace('_', " ");
        let mut letters = words.chars();
        letters
            .next()
            .map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
    }
}

pub(crate) fn body_too_large(limit_bytes: usize) -> Problem {
    let detail = format!("A body may have at most {limit_bytes} bytes here");
    Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "body_too_large", detail)
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        let unavailable = refusal.kind == RefusalKind::Unavailable;
        let status = StatusCode::from_u16(refusal.kind.status());
        Self {
            status: status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR),
            code: refusal.code,
            detail: refusal.detail,
            errors: refusal.errors,
            retry_after_s: refusal.retry_after_s.or(unavailable.then_some(1)),
            replayed: refusal.replayed,
        }
    }
}

impl From<DbError> for Problem {
    fn from(error: DbError) -> Self {
        tenancy::timing::tell_cause(&error);
        match error {
            DbError::Unavailable(_)
            | DbError::Stopped(_)
            | DbError::Retry(_)
            | DbError::StaleKeys(_) => {
                tracing::warn!(%error, "the database could not be used");
                Self::unavailable(1)
            }
            _ => {
                tracing::error!(%error, "a request failed");
                Self::internal()
            }
        }
    }
}

impl From<OperationError> for Problem {
    fn from(error: OperationError) -> Self {
        match error {
            OperationError::Refused(refusal) => refusal.into(),
            OperationError::Database(error) => error.into(),
            OperationError::Aborted => {
                tracing::error!("an operation ended unexpectedly");
                Self::internal()
            }
        }
    }
}

impl From<tenancy::keyring::KeyringError> for Problem {
    fn from(error: tenancy::keyring::KeyringError) -> Self {
        DbError::from(error).into()
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = self.status.into_response();
        let headers = response.headers_mut();
        if let Some(seconds) = self.retry_after_s {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if self.replayed {
            headers.insert("idempotency-replayed", HeaderValue::from_static("true"));
        }
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        // Tells a coding from a media type that is not supported (RFC 9110 section 12.5.3).
        let coding = |error: &FieldError| error.field == CONTENT_ENCODING;
        if self.status == StatusCode::UNSUPPORTED_MEDIA_TYPE && self.errors.iter().any(coding) {
            headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        }
        response.extensions_mut().insert(self);
        response
    }
}

#[cfg(test)]
mod tests {
    use http::StatusCode;
    use operation::{OperationError, Refusal};
    use tenancy::DbError;

    use super::Problem;

    #[test]
    fn a_server_error_says_nothing() {
        let secret = DbError::Corrupt("SELECT secret FROM vault at /srv".to_owned());
        let problem = Problem::from(OperationError::Database(secret));
        assert_eq!(problem.status, StatusCode::INTERNAL_SERVER_ERROR);
        let body = problem.body("r-1");
        let mut members: Vec<_> =
            body.as_object().into_iter().flatten().map(|(name, _)| name).collect();
        members.sort();
        assert_eq!(members, ["code", "request_id", "title"]);
        assert!(!body.to_string().contains("secret"));
    }

    #[test]
    fn an_unreachable_database_is_worth_another_try() {
        let problem = Problem::from(DbError::Unavailable("refused".to_owned()));
        assert_eq!((problem.status.as_u16(), problem.retry_after_s), (503, Some(1)));
    }

    #[test]
    fn a_refusal_keeps_its_words() {
        let refusal = Refusal::rule("insufficient_funds", "amount", "Not enough money");
        let body = Problem::from(refusal).body("r-2");
        assert_eq!(body["title"], "Insufficient funds");
        assert_eq!(body["status"], 422);
        assert_eq!(body["errors"][0]["field"], "amount");
        assert_eq!(body["request_id"], "r-2");
    }
}
