//! Batches of transfers on the wire: each item is read, answered and remembered by
//! itself, so that one that is malformed or refused leaves the others alone.

use banking::CreateTransfer;
use operation::{OperationError, Reply};
use serde::{Deserialize, Serialize};
use serde_json::{Value, value::RawValue};
use utoipa::ToSchema;
use uuid::Uuid;

use super::{
    EXAMPLE_ID, OTHER_ID,
    accounts::currency,
    problem::{ProblemBody, problem_example},
    transfers::{Transfer, minor_units},
};
use crate::{
    extract::{key_of, malformed_key},
    json,
    openapi_parts::Example,
    problem::Problem,
};

/// The most transfers of a batch.
pub(crate) const TRANSFERS_MAX: usize = 1_000;

/// Transfers to be made, each for itself.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct TransferBatch {
    /// 1 to 1,000.
    #[allow(dead_code, reason = "the document's side of a batch; requests are read as RawBatch")]
    #[schema(min_items = 1, max_items = 1_000)]
    transfers: Vec<BatchedTransfer>,
}

/// A transfer of a batch, with its own key.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct BatchedTransfer {
    /// As in the header: 1 to 255 visible ASCII characters, bare or quoted; shared with
    /// `POST /v1/transfers`. Without one the item is answered with 400.
    #[serde(default)]
    #[schema(required)]
    idempotency_key: Option<String>,
    /// The account to debit.
    from_account_id: Uuid,
    /// The account to credit; anybody's in the tenant.
    to_account_id: Uuid,
    /// Minor units, 1 to 2^53 − 1.
    #[serde(deserialize_with = "minor_units")]
    #[schema(minimum = 1, maximum = 9_007_199_254_740_991_i64)]
    amount: i64,
    /// ISO 4217, of both accounts.
    currency: String,
    /// At most 140 characters; may be empty.
    #[serde(default)]
    description: Option<String>,
    /// Your own reference.
    #[serde(default)]
    reference: Option<String>,
}

/// A batch with its items left as they were written, in the request's own buffer.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawBatch<'a> {
    #[serde(borrow)]
    transfers: Vec<&'a RawValue>,
}

/// An item that can be run: its key and the order.
type Read = Result<(String, CreateTransfer), Problem>;

/// Reads a batch. What is wrong with one item is that item's; what is wrong with the
/// whole (no JSON, another shape, too many) is the request's.
pub(crate) fn read(body: &[u8]) -> Result<Vec<Read>, Problem> {
    let batch: RawBatch<'_> = json::parse_outline(body)?;
    if !(1..=TRANSFERS_MAX).contains(&batch.transfers.len()) {
        let message = format!("A batch has 1 to {TRANSFERS_MAX} transfers");
        return Err(Problem::validation("transfers", "out_of_range", message));
    }
    let item = |(position, raw): (usize, &&RawValue)| {
        json::parse::<BatchedTransfer>(raw.get().as_bytes())
            .and_then(BatchedTransfer::checked)
            .map_err(|problem| placed(problem, position))
    };
    Ok(batch.transfers.iter().enumerate().map(item).collect())
}

/// Names an item that is no object by its place; a field inside one goes by its own name.
fn placed(problem: Problem, position: usize) -> Problem {
    match problem.errors.as_slice() {
        [error] if error.field == "body" => Problem::malformed_field(
            format!("transfers[{position}]"),
            "invalid_value",
            error.message.clone(),
        ),
        _ => problem,
    }
}

impl BatchedTransfer {
    fn checked(self) -> Read {
        let Some(text) = self.idempotency_key else {
            let detail = "Give each transfer an idempotency_key: it moves money";
            return Err(Problem::malformed("idempotency_key_required", detail));
        };
        let key = key_of(&text).ok_or_else(|| malformed_key("idempotency_key"))?;
        let order = CreateTransfer {
            from_account_id: self.from_account_id,
            to_account_id: self.to_account_id,
            amount: self.amount,
            currency: currency(&self.currency)?,
            description: self.description.unwrap_or_default(),
            reference: self.reference,
        };
        Ok((key, order))
    }
}

/// The answers, in the order of the request.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct BatchResults {
    /// One for each transfer.
    pub(crate) results: Vec<BatchResult>,
}

/// What became of one transfer: what `POST /v1/transfers` would have answered.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct BatchResult {
    /// Its status: 201, or that of the problem.
    pub(crate) status: u16,
    /// The transfer, where it was made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) transfer: Option<Transfer>,
    /// Why not, where it was not.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<ProblemBody>)]
    pub(crate) problem: Option<Value>,
    /// `true` where this is the stored answer of an earlier request with the same key.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(crate) replayed: bool,
}

impl BatchResult {
    /// The answer of an item that was run.
    pub(crate) fn of(
        outcome: Result<Reply<banking::Transfer>, OperationError>,
        request_id: &str,
    ) -> Self {
        match outcome {
            Ok(reply) => Self {
                status: reply.status,
                transfer: Some(Transfer::from(reply.output)),
                problem: None,
                replayed: reply.replayed,
            },
            Err(error) => Self::refused(&Problem::from(error), request_id),
        }
    }

    /// The answer of an item that came to nothing.
    pub(crate) fn refused(problem: &Problem, request_id: &str) -> Self {
        Self {
            status: problem.status.as_u16(),
            transfer: None,
            problem: Some(problem.body(request_id)),
            replayed: problem.replayed,
        }
    }
}

impl Example for BatchResults {
    fn example() -> Self {
        let made = BatchResult {
            status: 201,
            transfer: Some(Transfer::example()),
            problem: None,
            replayed: false,
        };
        let refused = BatchResult {
            status: 422,
            transfer: None,
            problem: Some(problem_example(422, "insufficient_funds")),
            replayed: false,
        };
        Self { results: vec![made, refused] }
    }
}

/// A request as the document shows it.
pub(crate) fn example() -> Value {
    serde_json::json!({ "transfers": [{
        "idempotency_key": "rent-2026-11", "from_account_id": EXAMPLE_ID, "to_account_id": OTHER_ID,
        "amount": 2_500, "currency": "EUR", "description": "Rent",
    }] })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::{TRANSFERS_MAX, example, read};

    fn item(key: &str, rest: &str) -> String {
        let id = uuid::Uuid::nil();
        format!(
            r#"{{"idempotency_key":{key},"from_account_id":"{id}","to_account_id":"{id}","amount":1,"currency":"EUR"{rest}}}"#
        )
    }

    #[test]
    fn the_example_is_read_as_requests_are() {
        let items = read(example().to_string().as_bytes()).unwrap();
        assert_eq!(items.len(), 1);
        assert_eq!(items[0].as_ref().unwrap().0, "rent-2026-11");
    }

    #[test]
    fn an_item_at_fault_is_answered_by_itself() {
        let id = uuid::Uuid::nil();
        // item, code, field
        let table = [
            (item("\"k\"", ""), None),
            (item(r#""\"k\"""#, ""), None),
            (item("null", ""), Some(("idempotency_key_required", ""))),
            (item("\"\"", ""), Some(("malformed_request", "idempotency_key"))),
            (item("\"a b\"", ""), Some(("malformed_request", "idempotency_key"))),
            (item(r#""\"a""#, ""), Some(("malformed_request", "idempotency_key"))),
            (item("7", ""), Some(("malformed_request", "idempotency_key"))),
            (item("\"k\"", r#","extra":1"#), Some(("malformed_request", "extra"))),
            (item("\"k\"", r#","amount":2"#), Some(("malformed_request", "amount"))),
            (
                item("\"k\"", r#","description":"\u0000""#),
                Some(("malformed_request", "description")),
            ),
            (item("\"k\"", "").replace("EUR", "ZZZ"), Some(("malformed_request", "currency"))),
            (item("\"k\"", "").replace(":1,", ":1.5,"), Some(("malformed_request", "amount"))),
            (
                format!(r#"{{"idempotency_key":"k","to_account_id":"{id}"}}"#),
                Some(("malformed_request", "from_account_id")),
            ),
            ("{}".to_owned(), Some(("malformed_request", "from_account_id"))),
            ("null".to_owned(), Some(("malformed_request", "transfers[17]"))),
            ("[]".to_owned(), Some(("malformed_request", "transfers[18]"))),
            ("\"text\"".to_owned(), Some(("malformed_request", "transfers[19]"))),
            ("7".to_owned(), Some(("malformed_request", "transfers[20]"))),
            (
                format!("{}1{}", "[".repeat(62), "]".repeat(62)),
                Some(("malformed_request", "transfers[21]")),
            ),
        ];
        // Three good ones first: faults have to be named by their own place.
        let texts: Vec<String> = std::iter::repeat_n(item("\"k\"", ""), 3)
            .chain(table.iter().map(|(text, _)| text.clone()))
            .collect();
        let body = format!(r#"{{"transfers":[{}]}}"#, texts.join(","));
        let items = read(body.as_bytes()).unwrap();
        assert_eq!(items.len(), table.len() + 3);
        for ((text, expected), found) in table.iter().zip(&items[3..]) {
            match (expected, found) {
                (None, Ok((key, _))) => assert_eq!(key, "k", "{text}"),
                (Some((code, field)), Err(problem)) => {
                    let named = problem.errors.first().map_or("", |error| error.field.as_ref());
                    assert_eq!((problem.code.as_ref(), named), (*code, *field), "{text}");
                    assert_eq!(problem.status.as_u16(), 400, "{text}");
                }
                other => panic!("{text}: {other:?}"),
            }
        }
    }

    #[test]
    fn a_batch_at_fault_is_refused_whole() {
        let many = |count: usize| {
            let items = vec![item("\"k\"", ""); count];
            format!(r#"{{"transfers":[{}]}}"#, items.join(","))
        };
        let deep = format!(r#"{{"transfers":[{}{}]}}"#, "[".repeat(10_000), "]".repeat(10_000));
        // body, status, code, field
        let table = [
            (many(0), 422, "validation_failed", "transfers"),
            (many(TRANSFERS_MAX + 1), 422, "validation_failed", "transfers"),
            ("{}".to_owned(), 400, "malformed_request", "transfers"),
            ("[]".to_owned(), 400, "malformed_request", "body"),
            ("7".to_owned(), 400, "malformed_request", "body"),
            (r#"{"transfers":{}}"#.to_owned(), 400, "malformed_request", "transfers"),
            (r#"{"transfers":null}"#.to_owned(), 400, "malformed_request", "transfers"),
            (r#"{"transfers":[],"atomic":true}"#.to_owned(), 400, "malformed_request", "atomic"),
            (
                r#"{"transfers":[],"transfers":[]}"#.to_owned(),
                400,
                "malformed_request",
                "transfers",
            ),
            (r#"{"transfers":[{]}"#.to_owned(), 400, "malformed_json", ""),
            (many(1).replace("}]", "}"), 400, "malformed_json", ""),
            (deep, 400, "malformed_json", ""),
        ];
        for (body, status, code, field) in table {
            let problem = read(body.as_bytes()).unwrap_err();
            let named = problem.errors.first().map_or("", |error| error.field.as_ref());
            let found = (problem.status.as_u16(), problem.code.as_ref(), named);
            assert_eq!(found, (status, code, field), "{}", &body[..body.len().min(80)]);
        }
        assert_eq!(read(many(TRANSFERS_MAX).as_bytes()).unwrap().len(), TRANSFERS_MAX);
    }

    #[test]
    fn a_thousand_of_the_longest_fit() {
        let text = "𝄞".repeat(140);
        let rest = format!(r#","description":"{text}","reference":"{text}""#);
        let longest = item(&format!("\"{}\"", "k".repeat(255)), &rest);
        let bytes = (longest.len() + 1) * TRANSFERS_MAX + 20;
        assert!(bytes < crate::MAXIMUM_BATCH_BYTES, "{bytes}");
    }
}
