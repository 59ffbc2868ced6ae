//! Approvals on the wire.

use approvals::Approval as Stored;
use operation::{OperationError, Reply};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::ToSchema;
use uuid::Uuid;

use super::{
    EXAMPLE_ID, EXAMPLE_INSTANT, OTHER_ID, instant,
    problem::{ProblemBody, problem_example},
};
use crate::{
    extract::{key_of, malformed_key},
    openapi_parts::Example,
    problem::Problem,
};

/// The most approvals that one request decides.
pub(crate) const DECISIONS_MAX: usize = 100;

/// An order that a second person has to approve before it is done.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Approval {
    /// Its id.
    pub(crate) id: Uuid,
    /// `transfer`: one over the tenant's ceiling; `role_grant`: roles for somebody.
    pub(crate) kind: String,
    /// `pending` may become `approved`, `rejected` or `expired`; those three are final.
    pub(crate) status: String,
    /// What it is about: the id that the transfer will have, or the person who gets the roles.
    pub(crate) object_id: Uuid,
    /// The account that is to be debited.
    pub(crate) from_account_id: Option<Uuid>,
    /// The account that is to be credited.
    pub(crate) to_account_id: Option<Uuid>,
    /// Minor units.
    pub(crate) amount: Option<i64>,
    /// ISO 4217.
    pub(crate) currency: Option<String>,
    /// The order as it was given; its members depend on `kind`.
    #[schema(value_type = Object)]
    pub(crate) payload: Value,
    /// SHA-256 over the canonical order and what it is bound to; what is approved is this.
    pub(crate) payload_hash: String,
    /// Who has ordered it; they cannot decide it.
    pub(crate) requested_by: Uuid,
    /// When it was ordered.
    pub(crate) requested_at: String,
    /// From this instant on nobody can decide it, and the status reads `expired`.
    pub(crate) expires_at: String,
    /// How many others than `requested_by` have to agree.
    pub(crate) required: i16,
    /// Who has agreed so far, the first one first.
    pub(crate) approvals: Vec<Agreement>,
    /// Who has decided; of several the last.
    pub(crate) decided_by: Option<Uuid>,
    /// When it was decided, or its expiry written down.
    pub(crate) decided_at: Option<String>,
    /// What whoever decided says to it.
    pub(crate) decision_note: Option<String>,
    /// What came of it: the transfer that was posted, or the person who has the roles.
    pub(crate) result_id: Option<Uuid>,
    /// Counts its changes; its `ETag`.
    pub(crate) version: i64,
}

/// Somebody who has agreed.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Agreement {
    /// Who.
    pub(crate) by: Uuid,
    /// When.
    pub(crate) at: String,
}

impl From<approvals::Agreement> for Agreement {
    fn from(given: approvals::Agreement) -> Self {
        Self { by: given.by, at: instant(given.at) }
    }
}

impl From<Stored> for Approval {
    fn from(approval: Stored) -> Self {
        Self {
            id: approval.id,
            kind: approval.kind.to_string(),
            status: approval.status.to_string(),
            object_id: approval.object_id,
            from_account_id: approval.from_account_id,
            to_account_id: approval.to_account_id,
            amount: approval.amount,
            currency: approval.currency.map(|currency| currency.to_string()),
            payload: approval.payload,
            payload_hash: approval.payload_hash,
            requested_by: approval.requested_by,
            requested_at: instant(approval.requested_at),
            expires_at: instant(approval.expires_at),
            required: approval.required,
            approvals: approval.approvals.into_iter().map(Agreement::from).collect(),
            decided_by: approval.decided_by,
            decided_at: approval.decided_at.map(instant),
            decision_note: approval.decision_note,
            result_id: approval.result_id,
            version: approval.version,
        }
    }
}

impl Example for Approval {
    fn example() -> Self {
        Self {
            id: EXAMPLE_ID,
            kind: "transfer".to_owned(),
            status: "pending".to_owned(),
            object_id: OTHER_ID,
            from_account_id: Some(EXAMPLE_ID),
            to_account_id: Some(OTHER_ID),
            amount: Some(8_430_000),
            currency: Some("EUR".to_owned()),
            payload: json!({
                "from_account_id": EXAMPLE_ID, "to_account_id": OTHER_ID, "amount": 8_430_000,
                "currency": "EUR", "description": "Invoice 2026-0398", "reference": null,
            }),
            payload_hash: "9f2c7a5e".repeat(8),
            requested_by: OTHER_ID,
            requested_at: EXAMPLE_INSTANT.to_owned(),
            expires_at: "2026-11-28T09:30:00.000000Z".to_owned(),
            required: 1,
            approvals: Vec::new(),
            decided_by: None,
            decided_at: None,
            decision_note: None,
            result_id: None,
            version: 1,
        }
    }
}

impl Approval {
    /// The example, approved.
    pub(crate) fn approved_example() -> Self {
        let approvals = vec![Agreement { by: EXAMPLE_ID, at: EXAMPLE_INSTANT.to_owned() }];
        Self { result_id: Some(OTHER_ID), approvals, ..Self::decided_example("approved") }
    }

    /// The example, rejected.
    pub(crate) fn rejected_example() -> Self {
        Self::decided_example("rejected")
    }

    fn decided_example(status: &str) -> Self {
        Self {
            status: status.to_owned(),
            decided_by: Some(EXAMPLE_ID),
            decided_at: Some(EXAMPLE_INSTANT.to_owned()),
            decision_note: Some("Checked with the customer by telephone".to_owned()),
            version: 2,
            ..Self::example()
        }
    }
}

/// A decision; an empty object, or no body, says nothing to it.
#[derive(Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Decision {
    /// What to say to it, at most 140 characters.
    #[serde(default)]
    pub(crate) note: Option<String>,
    /// The `payload_hash` that was seen; another order than that is not decided (412).
    #[serde(default)]
    pub(crate) payload_hash: Option<String>,
}

/// What somebody says to what they decide; an empty object, or no body, says nothing.
#[derive(Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Remark {
    /// At most 140 characters.
    #[serde(default)]
    pub(crate) note: Option<String>,
}

/// What to do with each of several.
#[derive(Clone, Copy, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Verdict {
    /// Agree, and have it done where enough have.
    Approve,
    /// End it; nothing moves.
    Reject,
}

/// One decision on several orders, each for itself.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Decisions {
    /// The same for all.
    pub(crate) decision: Verdict,
    /// What to say to each, at most 140 characters.
    #[serde(default)]
    pub(crate) note: Option<String>,
    /// 1 to 100.
    #[schema(min_items = 1, max_items = 100)]
    pub(crate) approvals: Vec<DecidedOne>,
}

/// One of the orders.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct DecidedOne {
    /// Which.
    pub(crate) id: Uuid,
    /// The `payload_hash` that was seen; another order than that is not decided (412).
    #[serde(default)]
    pub(crate) payload_hash: Option<String>,
    /// As in the header; shared with the decisions on one.
    pub(crate) idempotency_key: String,
}

impl Decisions {
    /// The orders with their keys, or what is wrong with the whole.
    pub(crate) fn checked(&self) -> Result<Vec<(&DecidedOne, String)>, Problem> {
        if !(1..=DECISIONS_MAX).contains(&self.approvals.len()) {
            let message = format!("Name 1 to {DECISIONS_MAX} approvals");
            return Err(Problem::validation("approvals", "out_of_range", message));
        }
        let mut keyed = Vec::with_capacity(self.approvals.len());
        for one in &self.approvals {
            let key = key_of(&one.idempotency_key);
            keyed.push((one, key.ok_or_else(|| malformed_key("idempotency_key"))?));
        }
        Ok(keyed)
    }
}

/// The answers, in the order of the request.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct DecisionResults {
    /// One for each approval.
    pub(crate) results: Vec<DecisionResult>,
}

/// What became of one decision: what the route of the one would have answered.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct DecisionResult {
    /// Its status: 200, or that of the problem.
    pub(crate) status: u16,
    /// The approval as it is now, where it was decided.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) approval: Option<Approval>,
    /// Why not, where it was not.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<ProblemBody>)]
    pub(crate) problem: Option<Value>,
    /// `true` where this is the stored answer of an earlier request with the same key.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(crate) replayed: bool,
}

impl DecisionResult {
    pub(crate) fn of(outcome: Result<Reply<Stored>, OperationError>, request_id: &str) -> Self {
        match outcome {
            Ok(reply) => Self {
                status: reply.status,
                approval: Some(Approval::from(reply.output)),
                problem: None,
                replayed: reply.replayed,
            },
            Err(error) => {
                let problem = Problem::from(error);
                Self {
                    status: problem.status.as_u16(),
                    approval: None,
                    problem: Some(problem.body(request_id)),
                    replayed: problem.replayed,
                }
            }
        }
    }
}

impl Example for DecisionResults {
    fn example() -> Self {
        let decided = DecisionResult {
            status: 200,
            approval: Some(Approval::approved_example()),
            problem: None,
            replayed: false,
        };
        let refused = DecisionResult {
            status: 422,
            approval: None,
            problem: Some(problem_example(422, "approval_decided")),
            replayed: false,
        };
        Self { results: vec![decided, refused] }
    }
}
