//! How an order comes to wait.

use audit::{AuditEvent, EventType};
use operation::{Failure, OperationError, Operations, Refusal, RefusalKind, event};
use serde_json::{Value, json};
use tenancy::{DbError, OpContext, Query, TenantTx};
use tokio_postgres::types::ToSql;
use uuid::Uuid;

use crate::{ApprovalKind, ApprovalStatus, Binding, LIFETIME, RESOURCE, hexadecimal};

const DEMANDED: &str = tenancy::sql!("approvals/desk.sql", "demanded");
const INSERT: &str = tenancy::sql!("approvals/desk.sql", "insert");
const KIND: &str = tenancy::sql!("approvals/desk.sql", "kind");
/// How much of each maker's waits.
pub const PENDING_OF_MAKERS: &str = tenancy::sql!("approvals/desk.sql", "pending_of_makers");

/// Orders of one maker that may wait at once: nothing is held for them and no balance is
/// asked, so that without a bound one person could bury everybody's inbox.
pub const PENDING_MAX: i64 = 100;

/// The refusal of whoever has as many already.
pub fn too_many_pending() -> Refusal {
    let detail = format!("{PENDING_MAX} of your orders wait for a second person already");
    Refusal::new(RefusalKind::Rule, "too_many_pending", detail)
}

/// How many others a policy's field asks for; none where it asks for nobody.
pub async fn demanded(transaction: &TenantTx, field: &'static str) -> Result<Option<i16>, DbError> {
    let row = transaction.query_opt(DEMANDED, &[&transaction.tenant(), &field]).await?;
    let required: i16 = row.map_or(Ok(0), |row| row.try_get("required"))?;
    Ok((required > 0).then_some(required))
}

/// What sort of order an approval is of, where the tenant has such a one: who may read or
/// decide it is that kind's to say.
pub async fn kind_of(
    operations: &Operations,
    context: &OpContext,
    approval_id: Uuid,
) -> Result<Option<ApprovalKind>, OperationError> {
    let tenant = context.tenant_id();
    let parameters: [&(dyn ToSql + Sync); 2] = [&tenant, &approval_id];
    let rows = operations.database().look_up(context, Query::new(KIND, &parameters)).await?;
    let Some(row) = rows.first() else { return Ok(None) };
    let name: &str = row.try_get("kind").map_err(DbError::from)?;
    Ok(Some(name.parse().map_err(DbError::from)?))
}

/// What is to wait.
#[derive(Clone, Debug)]
pub struct NewOrder {
    /// What sort of order.
    pub kind: ApprovalKind,
    /// What it is about.
    pub object_id: Uuid,
    /// The order itself.
    pub payload: Value,
    /// How many others have to agree.
    pub required: i16,
}

/// Has one wait; its id and the record of it. Refused where too many of the maker's do.
pub async fn order(
    transaction: &TenantTx,
    context: &OpContext,
    action: &'static str,
    new: NewOrder,
) -> Result<(Uuid, AuditEvent), Failure> {
    let (tenant, maker) = (transaction.tenant(), context.actor.id);
    let makers = [maker].to_vec();
    let rows = transaction.query(PENDING_OF_MAKERS, &[&tenant, &makers]).await?;
    let pending: i64 =
        rows.first().map_or(Ok(0), |row| row.try_get("pending")).map_err(DbError::from)?;
    if pending >= PENDING_MAX {
        return Err(too_many_pending().into());
    }
    let requested_at = context.clock.now();
    let binding = Binding {
        tenant_id: tenant,
        approval_id: context.clock.new_id(),
        kind: new.kind.as_str(),
        object_id: new.object_id,
        requested_by: maker,
        requested_at,
        expires_at: requested_at + LIFETIME,
        required: new.required,
    };
    let hash = binding.hash(&new.payload)?.to_vec();
    let parameters: [&(dyn ToSql + Sync); 10] = [
        &tenant,
        &binding.approval_id,
        &binding.kind,
        &new.payload,
        &hash,
        &binding.object_id,
        &maker,
        &binding.requested_at,
        &binding.expires_at,
        &binding.required,
    ];
    transaction.execute(INSERT, &parameters).await?;
    let record = event(context, EventType::DataModification, action, RESOURCE)
        .resource_id(binding.approval_id)
        .new_values(json!({
            "status": ApprovalStatus::Pending,
            "kind": binding.kind,
            "object_id": binding.object_id,
            "payload_hash": hexadecimal(&hash),
            "expires_at": format!("{:.6}", binding.expires_at),
            "required": binding.required,
        }))
        .at_version(1);
    Ok((binding.approval_id, record))
}
