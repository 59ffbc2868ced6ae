//! How an order comes to wait: the ceiling it exceeds, and its row.

use audit::{AuditEvent, EventType};
use jiff::Timestamp;
use ledger::Posting;
use operation::event;
use serde_json::{Value, json};
use tenancy::{DbError, OpContext, TenantTx};
use tokio_postgres::{Row, types::ToSql};
use uuid::Uuid;

use super::{
    ApprovalKind, ApprovalStatus, LIFETIME, RESOURCE,
    model::hexadecimal,
    payload::{Binding, OrderedTransfer},
};

/// The tenant's ceiling; asked beside the locks of a batch.
pub(crate) const CEILING: &str = tenancy::sql!("banking/approvals.sql", "ceiling");
const INSERT: &str = tenancy::sql!("banking/approvals.sql", "insert_approvals");

/// Which postings may be made at once, by the answer to [`CEILING`].
pub(crate) fn admitted(answer: &[Row], batch: &[Posting]) -> Result<Vec<bool>, DbError> {
    let ceiling: Option<i64> =
        answer.first().map(|row| row.try_get("ceiling")).transpose()?.flatten();
    Ok(batch.iter().map(|posting| !exceeds(ceiling, posting.amount)).collect())
}

/// The ceiling itself is still below it.
fn exceeds(ceiling: Option<i64>, amount: i64) -> bool {
    ceiling.is_some_and(|ceiling| amount > ceiling)
}

/// The orders of one batch that have to wait, as the arrays of one insert.
#[derive(Default)]
pub(crate) struct Requests {
    ids: Vec<Uuid>,
    payloads: Vec<Value>,
    hashes: Vec<Vec<u8>>,
    objects: Vec<Uuid>,
    debited: Vec<Uuid>,
    credited: Vec<Uuid>,
    amounts: Vec<i64>,
    currencies: Vec<String>,
    makers: Vec<Uuid>,
    requested: Vec<Timestamp>,
    expiries: Vec<Timestamp>,
}

impl Requests {
    /// Takes one in; its id and the record of it.
    pub(crate) fn add(
        &mut self,
        context: &OpContext,
        action: &'static str,
        posting: &Posting,
    ) -> Result<(Uuid, AuditEvent), DbError> {
        let order = OrderedTransfer::of(posting)
            .ok_or_else(|| DbError::Corrupt("a transfer without two legs".to_owned()))?;
        let payload =
            serde_json::to_value(&order).map_err(|error| DbError::Corrupt(error.to_string()))?;
        let requested_at = posting.posted_at;
        let binding = Binding {
            tenant_id: context.tenant_id(),
            approval_id: context.clock.new_id(),
            kind: ApprovalKind::Transfer.as_str(),
            object_id: posting.transfer_id,
            requested_by: context.actor.id,
            requested_at,
            expires_at: requested_at + LIFETIME,
        };
        let hash = binding.hash(&payload)?;
        let record = event(context, EventType::DataModification, action, RESOURCE)
            .resource_id(binding.approval_id)
            .new_values(json!({
                "status": ApprovalStatus::Pending,
                "kind": binding.kind,
                "object_id": binding.object_id,
                "payload_hash": hexadecimal(&hash),
                "amount": order.amount,
                "currency": order.currency,
                "from_account_id": order.from_account_id,
                "to_account_id": order.to_account_id,
                "expires_at": format!("{:.6}", binding.expires_at),
            }));
        self.ids.push(binding.approval_id);
        self.payloads.push(payload);
        self.hashes.push(hash.to_vec());
        self.objects.push(binding.object_id);
        self.debited.push(order.from_account_id);
        self.credited.push(order.to_account_id);
        self.amounts.push(order.amount);
        self.currencies.push(order.currency.to_string());
        self.makers.push(binding.requested_by);
        self.requested.push(requested_at);
        self.expiries.push(binding.expires_at);
        Ok((binding.approval_id, record))
    }

    /// Writes them; one round trip, and none where nothing waits.
    pub(crate) async fn store(&self, transaction: &TenantTx) -> Result<(), DbError> {
        if self.ids.is_empty() {
            return Ok(());
        }
        let (tenant, kind) = (transaction.tenant(), ApprovalKind::Transfer.as_str());
        let parameters: [&(dyn ToSql + Sync); 13] = [
            &tenant,
            &kind,
            &self.ids,
            &self.payloads,
            &self.hashes,
            &self.objects,
            &self.debited,
            &self.credited,
            &self.amounts,
            &self.currencies,
            &self.makers,
            &self.requested,
            &self.expiries,
        ];
        transaction.execute(INSERT, &parameters).await.map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::exceeds;

    #[test]
    fn only_what_is_more_than_the_ceiling_waits() {
        // ceiling, amount, waits
        let table = [
            (None, 1, false),
            (None, i64::MAX, false),
            (Some(5_000_000), 4_999_999, false),
            (Some(5_000_000), 5_000_000, false),
            (Some(5_000_000), 5_000_001, true),
            (Some(0), 1, true),
            (Some(0), 0, false),
            (Some(0), -1, false),
            (Some(0), i64::MAX, true),
        ];
        for (ceiling, amount, waits) in table {
            assert_eq!(exceeds(ceiling, amount), waits, "{ceiling:?} {amount}");
        }
    }
}
