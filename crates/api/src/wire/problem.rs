//! The shapes of errors, for the document; `problem` writes the real ones.

use http::StatusCode;
use operation::FieldError;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use crate::problem::Problem;

/// RFC 9457 problem details of a 4xx.
#[derive(Serialize, Deserialize, ToSchema)]
#[schema(as = Problem)]
pub(crate) struct ProblemBody {
    /// `urn:strongroom:problem:` and the code.
    r#type: String,
    /// The code in words.
    title: String,
    /// The HTTP status.
    status: u16,
    /// One sentence for people.
    detail: String,
    /// Stable, `lower_snake_case`: what programs rely on.
    code: String,
    /// The fields at fault; empty where no single field is.
    errors: Vec<FieldProblem>,
    /// The request's id, as in `X-Request-ID`.
    request_id: String,
}

/// What is wrong with one field.
#[derive(Serialize, Deserialize, ToSchema)]
pub(crate) struct FieldProblem {
    /// The field's path in the request, or the parameter's or header's name.
    field: String,
    /// Stable, `lower_snake_case`.
    code: String,
    /// For people.
    message: String,
}

/// All that a 5xx says.
#[derive(Serialize, Deserialize, ToSchema)]
#[schema(as = ServerProblem)]
pub(crate) struct ServerProblemBody {
    /// Stable, `lower_snake_case`.
    code: String,
    /// The code in words.
    title: String,
    /// The request's id, to be quoted to the operator.
    request_id: String,
}

/// A problem as it would really be written.
pub(crate) fn problem_example(status: u16, code: &'static str) -> Value {
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_REQUEST);
    let (detail, field) = match code {
        "token_expired" => ("Token has expired", None),
        "invalid_token" => ("A valid access token is needed", None),
        "permission_denied" => ("Insufficient permissions", None),
        "rate_limited" => ("Try again in 30 seconds", None),
        "not_found" => ("No such object", None),
        "malformed_request" => ("amount: Expected an integer within its range", Some("amount")),
        "validation_failed" => ("One or more fields are not acceptable", Some("description")),
        _ => ("The request cannot be answered as asked", None),
    };
    let mut problem = Problem::new(status, code, detail);
    problem.errors.extend(field.map(|field| FieldError {
        field: field.into(),
        code: "invalid_value".into(),
        message: "Expected another value".to_owned(),
    }));
    problem.body("0192e4c8-7f3a-7c1e-9b1f-3f1d2c4b5a69")
}
