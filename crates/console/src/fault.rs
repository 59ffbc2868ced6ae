//! Owns what a page says when it cannot be shown. A fault travels as an extension of
//! the response; the frame, which knows who asks and how the page should look, draws it.
//!
//! Refuses to say what went wrong inside: that is in the log, under the request's id.

use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use operation::{OperationError, Refusal, RefusalKind};
use tenancy::DbError;

/// A page, or why there is none.
pub(crate) type Answer = Result<Response, Fault>;

/// Why there is no page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    /// The status of the answer.
    pub(crate) status: StatusCode,
    /// One line.
    pub(crate) title: &'static str,
    /// What to do about it.
    pub(crate) detail: String,
    /// Seconds after which another try makes sense.
    pub(crate) retry_after_s: Option<u64>,
    /// Whether signing in (again) is the answer.
    pub(crate) sign_in: bool,
    /// Whether proving a second factor again is the answer.
    pub(crate) step_up: bool,
    /// Whether a decision about their access kept them out.
    pub(crate) is_denied: bool,
}

impl Fault {
    fn new(status: StatusCode, title: &'static str, detail: impl Into<String>) -> Self {
        let detail = detail.into();
        Self {
            status,
            title,
            detail,
            retry_after_s: None,
            sign_in: false,
            step_up: false,
            is_denied: false,
        }
    }

    /// 404, whether it does not exist or is not for them.
    pub(crate) fn not_found() -> Self {
        let detail = "This page does not exist, or it is not yours to see. Check the address.";
        Self::new(StatusCode::NOT_FOUND, "There is nothing here", detail)
    }

    /// 403.
    pub(crate) fn denied() -> Self {
        let detail = "Your role does not include this. Ask an administrator if it should.";
        let fault = Self::new(StatusCode::FORBIDDEN, "You may not do this", detail);
        Self { is_denied: true, ..fault }
    }

    /// 403: a form that is not of this session, or comes from another site.
    pub(crate) fn foreign_form() -> Self {
        let detail = "Nothing was changed. This happens when you have signed in again, or signed \
            out, in another tab since the form was opened. Open the page again and repeat \
            what you did.";
        Self::new(StatusCode::FORBIDDEN, "This form is no longer valid", detail)
    }

    /// 400 for a parameter of the address or a form that was tampered with.
    pub(crate) fn malformed(field: &str) -> Self {
        let detail = format!("We cannot read what was sent as “{field}”. Nothing was changed.");
        Self::new(StatusCode::BAD_REQUEST, "That does not look right", detail)
    }

    /// 405.
    pub(crate) fn wrong_method() -> Self {
        let detail = "This address is not for opening directly. Nothing was changed.";
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "This cannot be opened", detail)
    }

    /// 408.
    pub(crate) fn too_slow() -> Self {
        let detail = "It did not arrive whole in time. Nothing was changed.";
        Self::new(StatusCode::REQUEST_TIMEOUT, "The form took too long", detail)
    }

    /// 413.
    pub(crate) fn too_large() -> Self {
        let detail = "It holds more than we accept at once (64 KB). Nothing was changed.";
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "The form is too large", detail)
    }

    /// 429.
    pub(crate) fn too_many(seconds: u64) -> Self {
        let detail = format!("Try again in {seconds} seconds.");
        let fault = Self::new(StatusCode::TOO_MANY_REQUESTS, "Too many requests", detail);
        Self { retry_after_s: Some(seconds), ..fault }
    }

    /// 500.
    pub(crate) fn internal() -> Self {
        let detail = "The mistake is ours and has been logged. If it happens again, tell your \
            administrator the number below.";
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "Something went wrong", detail)
    }

    /// 503.
    pub(crate) fn unavailable(seconds: u64) -> Self {
        // Not “nothing was changed”: a commit whose answer was lost may have happened.
        let detail = "We cannot reach our data at the moment. Try again shortly. If you sent \
            a form, look whether it was done before you send it again.";
        let fault = Self::new(StatusCode::SERVICE_UNAVAILABLE, "Back in a moment", detail);
        Self { retry_after_s: Some(seconds), ..fault }
    }

    /// To the sign-in.
    pub(crate) fn signed_out() -> Self {
        let detail = "Your session has ended. Sign in to go on.";
        let fault = Self::new(StatusCode::UNAUTHORIZED, "You are signed out", detail);
        Self { sign_in: true, ..fault }
    }

    /// To the second factor.
    pub(crate) fn step_up() -> Self {
        let detail = "Show a second factor again to go on.";
        let fault = Self::new(StatusCode::FORBIDDEN, "Confirm that it is you", detail);
        Self { step_up: true, ..fault }
    }
}

impl From<Refusal> for Fault {
    fn from(refusal: Refusal) -> Self {
        match refusal.kind {
            RefusalKind::Unauthenticated => Self::signed_out(),
            RefusalKind::Denied if refusal.code == "step_up_required" => Self::step_up(),
            RefusalKind::Denied => Self::denied(),
            RefusalKind::NotFound => Self::not_found(),
            RefusalKind::RateLimited => Self::too_many(refusal.retry_after_s.unwrap_or(60)),
            RefusalKind::Unavailable => Self::unavailable(refusal.retry_after_s.unwrap_or(1)),
            kind => {
                let status = StatusCode::from_u16(kind.status()).unwrap_or(StatusCode::BAD_REQUEST);
                Self::new(status, "That could not be done", refusal.detail)
            }
        }
    }
}

impl From<DbError> for Fault {
    fn from(error: DbError) -> Self {
        tracing::error!(%error, "a page could not read");
        match error {
            DbError::Corrupt(_) => Self::internal(),
            _ => Self::unavailable(1),
        }
    }
}

impl From<OperationError> for Fault {
    fn from(error: OperationError) -> Self {
        match error {
            OperationError::Refused(refusal) => refusal.into(),
            OperationError::Database(error) => error.into(),
            OperationError::Aborted => Self::internal(),
        }
    }
}

impl From<askama::Error> for Fault {
    fn from(error: askama::Error) -> Self {
        tracing::error!(%error, "a template failed");
        Self::internal()
    }
}

impl IntoResponse for Fault {
    fn into_response(self) -> Response {
        let mut response = self.status.into_response();
        if let Some(seconds) = self.retry_after_s {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response.extensions_mut().insert(self);
        response
    }
}
