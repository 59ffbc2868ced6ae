//! Approvals on the wire.

use banking::Approval as Stored;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::ToSchema;
use uuid::Uuid;

use super::{EXAMPLE_ID, EXAMPLE_INSTANT, OTHER_ID, instant};
use crate::openapi_parts::Example;

/// An order that a second person has to approve before it is done.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Approval {
    /// Its id.
    pub(crate) id: Uuid,
    /// `transfer`: one over the tenant's ceiling.
    pub(crate) kind: String,
    /// `pending` may become `approved`, `rejected` or `expired`; those three are final.
    pub(crate) status: String,
    /// The id that what is approved will have: of a transfer, the transfer's.
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
    /// Who has decided.
    pub(crate) decided_by: Option<Uuid>,
    /// When it was decided, or its expiry written down.
    pub(crate) decided_at: Option<String>,
    /// What whoever decided says to it.
    pub(crate) decision_note: Option<String>,
    /// The transfer that was posted.
    pub(crate) result_id: Option<Uuid>,
    /// Counts its changes; its `ETag`.
    pub(crate) version: i64,
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
        Self { result_id: Some(OTHER_ID), ..Self::decided_example("approved") }
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
}
