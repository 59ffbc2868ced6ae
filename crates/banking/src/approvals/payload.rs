//! A transfer that waits, as it was ordered, and whether it still is what was ordered.

use ::approvals::{Approval, Binding};
use ledger::Posting;
use money::Currency;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// A transfer as it was ordered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct OrderedTransfer {
    pub(super) from_account_id: Uuid,
    pub(super) to_account_id: Uuid,
    /// Minor units.
    pub(super) amount: i64,
    pub(super) currency: Currency,
    pub(super) description: String,
    pub(super) reference: Option<String>,
}

impl OrderedTransfer {
    /// The order behind a posting of two legs.
    pub(super) fn of(posting: &Posting) -> Option<Self> {
        let [debit, credit] = posting.legs.as_slice() else { return None };
        Some(Self {
            from_account_id: debit.account_id,
            to_account_id: credit.account_id,
            amount: posting.amount,
            currency: posting.currency,
            description: posting.description.clone(),
            reference: posting.reference.clone(),
        })
    }

    /// The order of an approval, where every byte of it is what its maker has ordered;
    /// none where anything was changed since, in the order or beside it.
    pub(super) fn untampered(tenant: Uuid, approval: &Approval) -> Option<Self> {
        if !Binding::holds(tenant, approval) {
            return None;
        }
        let order: Self = serde_json::from_value(approval.payload.clone()).ok()?;
        let beside =
            (approval.from_account_id, approval.to_account_id, approval.amount, approval.currency);
        let inside = (
            Some(order.from_account_id),
            Some(order.to_account_id),
            Some(order.amount),
            Some(order.currency),
        );
        (beside == inside).then_some(order)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use jiff::{SignedDuration, Timestamp};
    use serde_json::{Value, json};
    use uuid::Uuid;

    use ::approvals::{Approval, ApprovalKind, ApprovalStatus, Binding, hexadecimal};

    use super::OrderedTransfer;

    const TENANT: Uuid = Uuid::from_u128(1);

    fn approval() -> Approval {
        let order = OrderedTransfer {
            from_account_id: Uuid::from_u128(2),
            to_account_id: Uuid::from_u128(3),
            amount: 8_430_000,
            currency: "EUR".parse().unwrap(),
            description: "Fit-out · café".to_owned(),
            reference: None,
        };
        let requested_at: Timestamp = "2026-11-21T09:30:00.123456Z".parse().unwrap();
        let mut approval = Approval {
            id: Uuid::from_u128(4),
            kind: ApprovalKind::Transfer,
            status: ApprovalStatus::Pending,
            payload: serde_json::to_value(&order).unwrap(),
            payload_hash: String::new(),
            object_id: Uuid::from_u128(5),
            from_account_id: Some(order.from_account_id),
            to_account_id: Some(order.to_account_id),
            amount: Some(order.amount),
            currency: Some(order.currency),
            requested_by: Uuid::from_u128(6),
            requested_at,
            expires_at: requested_at + SignedDuration::from_hours(1),
            required: 2,
            approvals: Vec::new(),
            decided_by: None,
            decided_at: None,
            decision_note: None,
            result_id: None,
            version: 1,
        };
        let hash = Binding::of(TENANT, &approval).hash(&approval.payload).unwrap();
        approval.payload_hash = hexadecimal(&hash);
        approval
    }

    #[test]
    fn an_order_is_read_back_whatever_the_order_of_its_members() {
        let mut approval = approval();
        let order = OrderedTransfer::untampered(TENANT, &approval).unwrap();
        assert_eq!(order.amount, 8_430_000);
        let members = approval.payload.as_object().unwrap().clone();
        approval.payload = members.into_iter().rev().collect::<serde_json::Map<_, _>>().into();
        assert_eq!(OrderedTransfer::untampered(TENANT, &approval).unwrap(), order);
    }

    #[test]
    fn every_change_is_noticed() {
        type Forge = fn(&mut Approval);
        let forgeries: [(&str, Forge); 19] = [
            ("amount", |one| one.payload["amount"] = json!(8_430_001)),
            ("amount as text", |one| one.payload["amount"] = json!("8430000")),
            ("a fraction", |one| one.payload["amount"] = json!(8_430_000.5)),
            ("payee", |one| one.payload["to_account_id"] = json!(Uuid::from_u128(9))),
            ("payer", |one| one.payload["from_account_id"] = json!(Uuid::from_u128(9))),
            ("currency", |one| one.payload["currency"] = json!("USD")),
            ("text", |one| one.payload["description"] = json!("Fit-out")),
            ("reference", |one| one.payload["reference"] = json!("")),
            ("a further member", |one| one.payload["value_date"] = json!("2020-01-01")),
            ("no order at all", |one| one.payload = Value::Null),
            ("the column beside it", |one| one.amount = Some(1)),
            ("the other column", |one| one.to_account_id = Some(Uuid::from_u128(9))),
            ("maker", |one| one.requested_by = Uuid::from_u128(9)),
            ("result", |one| one.object_id = Uuid::from_u128(9)),
            ("row", |one| one.id = Uuid::from_u128(9)),
            ("expiry", |one| one.expires_at += SignedDuration::from_secs(1)),
            ("one is enough", |one| one.required = 1),
            ("more than were asked", |one| one.required = 3),
            ("hash", |one| one.payload_hash.replace_range(..1, "g")),
        ];
        for (what, forge) in forgeries {
            let mut forged = approval();
            forge(&mut forged);
            assert!(OrderedTransfer::untampered(TENANT, &forged).is_none(), "{what}");
        }
        assert!(OrderedTransfer::untampered(Uuid::from_u128(9), &approval()).is_none(), "tenant");
    }
}
