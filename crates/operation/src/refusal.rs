//! Why something was not done, in the words clients rely on.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use tenancy::DbError;

/// The class of a refusal; the HTTP status follows from it (RFC 9110).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RefusalKind {
    /// 400: the request cannot be understood.
    Malformed,
    /// 401: nobody is signed in, or no longer.
    Unauthenticated,
    /// 403: not permitted.
    Denied,
    /// 404: no such object, as far as the actor may know.
    NotFound,
    /// 409: collides with something in flight or present.
    Conflict,
    /// 412: the object changed since it was read.
    PreconditionFailed,
    /// 422: understood, and against a rule.
    Rule,
    /// 428: `If-Match` is missing.
    PreconditionRequired,
    /// 429: too many.
    RateLimited,
    /// 503: try again later.
    Unavailable,
}

impl RefusalKind {
    /// The HTTP status.
    pub const fn status(self) -> u16 {
        match self {
            Self::Malformed => 400,
            Self::Unauthenticated => 401,
            Self::Denied => 403,
            Self::NotFound => 404,
            Self::Conflict => 409,
            Self::PreconditionFailed => 412,
            Self::Rule => 422,
            Self::PreconditionRequired => 428,
            Self::RateLimited => 429,
            Self::Unavailable => 503,
        }
    }
}

/// What is wrong with one field.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FieldError {
    /// The field's path in the request, e.g. `amount`.
    pub field: Cow<'static, str>,
    /// Stable, `lower_snake_case`.
    pub code: Cow<'static, str>,
    /// For people.
    pub message: String,
}

/// A refusal: nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{code}: {detail}")]
pub struct Refusal {
    /// Its class.
    pub kind: RefusalKind,
    /// Stable, `lower_snake_case`.
    pub code: Cow<'static, str>,
    /// One sentence for people; never another person's data.
    pub detail: String,
    /// The fields at fault, if any.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<FieldError>,
    /// Seconds to wait before another try makes sense.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after_s: Option<u64>,
    /// Whether it is the stored answer of an earlier request.
    #[serde(skip)]
    pub replayed: bool,
}

impl Refusal {
    /// A refusal of any class.
    pub fn new(kind: RefusalKind, code: &'static str, detail: impl Into<String>) -> Self {
        Self {
            kind,
            code: Cow::Borrowed(code),
            detail: detail.into(),
            errors: Vec::new(),
            retry_after_s: None,
            replayed: false,
        }
    }

    /// A business rule broken by one field.
    pub fn rule(code: &'static str, field: &'static str, detail: impl Into<String>) -> Self {
        let detail = detail.into();
        let error = FieldError {
            field: Cow::Borrowed(field),
            code: Cow::Borrowed(code),
            message: detail.clone(),
        };
        Self { errors: vec![error], ..Self::new(RefusalKind::Rule, code, detail) }
    }

    /// One or more fields that are not acceptable.
    pub fn validation(errors: Vec<FieldError>) -> Self {
        Self {
            errors,
            ..Self::new(
                RefusalKind::Rule,
                "validation_failed",
                "One or more fields are not acceptable",
            )
        }
    }

    /// An object named in a body that the actor cannot see: the same words
    /// whether it is missing, another owner's or another tenant's.
    pub fn invisible(field: &'static str) -> Self {
        Self::rule("not_found", field, format!("{field} names nothing that you can use"))
    }

    /// No such object, as far as the actor may know.
    pub fn not_found() -> Self {
        Self::new(RefusalKind::NotFound, "not_found", "No such object")
    }

    /// Not permitted.
    pub fn denied() -> Self {
        Self::new(RefusalKind::Denied, "permission_denied", "Insufficient permissions")
    }

    /// Not signed in, or no longer.
    pub fn unauthenticated(code: &'static str, detail: impl Into<String>) -> Self {
        Self::new(RefusalKind::Unauthenticated, code, detail)
    }

    /// Adds how long to wait.
    #[must_use]
    pub fn retry_after(mut self, seconds: u64) -> Self {
        self.retry_after_s = Some(seconds);
        self
    }

    /// Whether the answer to an idempotent command is remembered: business
    /// refusals are final, everything else may end otherwise next time.
    pub fn is_final(&self) -> bool {
        self.kind == RefusalKind::Rule
    }
}

/// Why an operation gave no answer of its own.
#[derive(Debug, thiserror::Error)]
pub enum OperationError {
    /// It was refused.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The database failed; nothing was changed.
    #[error(transparent)]
    Database(#[from] DbError),
    /// The operation's task died; the database rolled back.
    #[error("the operation ended unexpectedly")]
    Aborted,
}
