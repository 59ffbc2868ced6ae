//! How an order comes to wait: its row, and how many a maker may have.

use std::collections::{BTreeSet, HashMap};

use ::approvals::{
    ApprovalKind, ApprovalStatus, Binding, LIFETIME, PENDING_MAX, PENDING_OF_MAKERS, RESOURCE,
    hexadecimal, too_many_pending,
};
use audit::{AuditEvent, EventType};
use jiff::Timestamp;
use ledger::Posting;
use operation::{Failure, event};
use serde_json::{Value, json};
use tenancy::{DbError, OpContext, TenantTx};
use tokio_postgres::types::ToSql;
use uuid::Uuid;

use super::payload::OrderedTransfer;

const INSERT: &str = tenancy::sql!("banking/approvals.sql", "insert_approvals");

/// The orders of one batch that have to wait, as the arrays of one insert.
#[derive(Default)]
pub(crate) struct Requests {
    /// How many orders of each maker wait, those of this batch among them.
    pending: HashMap<Uuid, i64>,
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
    required: Vec<i16>,
}

impl Requests {
    /// For orders of these makers; one round trip, and none where nobody waits. Batches
    /// that run at the same moment do not see each other's, so a maker may come to have
    /// a few more than [`PENDING_MAX`]: it bounds a nuisance, not a sum of money.
    pub(crate) async fn of(
        transaction: &TenantTx,
        makers: BTreeSet<Uuid>,
    ) -> Result<Self, DbError> {
        if makers.is_empty() {
            return Ok(Self::default());
        }
        let makers: Vec<Uuid> = makers.into_iter().collect();
        let rows = transaction.query(PENDING_OF_MAKERS, &[&transaction.tenant(), &makers]).await?;
        let pending = rows
            .iter()
            .map(|row| Ok((row.try_get("requested_by")?, row.try_get("pending")?)))
            .collect::<Result<_, DbError>>()?;
        Ok(Self { pending, ..Self::default() })
    }

    /// Takes one in, to which so many others have to agree; its id and the record of it.
    /// Refused where too many wait.
    pub(crate) fn add(
        &mut self,
        context: &OpContext,
        action: &'static str,
        (posting, required): (&Posting, i16),
    ) -> Result<(Uuid, AuditEvent), Failure> {
        let pending = self.pending.entry(context.actor.id).or_default();
        if *pending >= PENDING_MAX {
            return Err(too_many_pending().into());
        }
        *pending += 1;
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
            required,
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
                "required": required,
            }))
            .at_version(1);
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
        self.required.push(required);
        Ok((binding.approval_id, record))
    }

    /// Writes them; one round trip, and none where nothing waits.
    pub(crate) async fn store(&self, transaction: &TenantTx) -> Result<(), DbError> {
        if self.ids.is_empty() {
            return Ok(());
        }
        let (tenant, kind) = (transaction.tenant(), ApprovalKind::Transfer.as_str());
        let parameters: [&(dyn ToSql + Sync); 14] = [
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
            &self.required,
        ];
        transaction.execute(INSERT, &parameters).await.map(drop)
    }
}
