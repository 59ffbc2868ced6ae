//! Deciding: what every kind of order has in common, from the lock to the record.

use std::sync::Arc;

use audit::{AuditEvent, EventType};
use jiff::Timestamp;
use operation::{Failure, FieldError, Refusal, RefusalKind, event};
use serde_json::{Value, json};
use tenancy::{ActorKind, DbError, OpContext, TenantTx};
use tokio_postgres::types::ToSql;
use uuid::Uuid;

use crate::{Agreement, Approval, ApprovalKind, ApprovalStatus, RESOURCE};

const LOCK: &str = tenancy::sql!("approvals/desk.sql", "lock");
const MAKER: &str = tenancy::sql!("approvals/desk.sql", "maker");
const DEPENDENT: &str = tenancy::sql!("approvals/desk.sql", "dependent");
const DECIDE: &str = tenancy::sql!("approvals/desk.sql", "decide");
const AGREED: &str = tenancy::sql!("approvals/desk.sql", "agreed");
const AGREE: &str = tenancy::sql!("approvals/desk.sql", "agree");
const INSERT_DECISION: &str = tenancy::sql!("approvals/desk.sql", "insert_decision");
/// The record of one who agreed while more are needed.
const AGREEMENT: &str = "approval.agree";
const NOTE_MAX_CHARS: usize = 140;

/// What somebody says to an order.
#[derive(Clone, Debug)]
pub struct Decision {
    /// Which (from the path).
    pub approval_id: Uuid,
    /// The hash of what was seen; what stands there is decided where absent.
    pub payload_hash: Option<String>,
    /// What to say to it.
    pub note: Option<String>,
}

impl Decision {
    /// A hash that was given is part of what is asked; requests from before there was one are
    /// repeated under the same key.
    pub fn fingerprint(&self) -> Value {
        let mut asked = json!({ "approval_id": self.approval_id, "note": self.note });
        if let Some(hash) = &self.payload_hash {
            asked["payload_hash"] = json!(hash);
        }
        asked
    }

    /// At most 140 characters, none of them a control. A note that says nothing is none.
    pub fn checked_note(&self) -> Result<Option<String>, Refusal> {
        let note = self.note.as_deref().map(str::trim).filter(|note| !note.is_empty());
        let Some(note) = note else { return Ok(None) };
        let (code, message) = if note.chars().count() > NOTE_MAX_CHARS {
            ("too_long", "At most 140 characters")
        } else if note.chars().any(char::is_control) {
            ("invalid_characters", "Control characters are not allowed")
        } else {
            return Ok(Some(note.to_owned()));
        };
        let fault =
            FieldError { field: "note".into(), code: code.into(), message: message.to_owned() };
        Err(Refusal::validation(vec![fault]))
    }
}

/// Who has ordered something, as they are now.
#[derive(Clone, Debug)]
pub struct Maker {
    /// Whether they may do anything.
    pub is_active: bool,
    /// Their organisation.
    pub organization: Option<Uuid>,
    /// Their department.
    pub department: Option<String>,
    /// Their roles; of a machine its one.
    pub roles: Vec<String>,
    /// What a machine is confined to.
    pub scopes: Option<Vec<String>>,
    /// The definitions of the custom roles among them.
    pub custom_roles: Vec<Arc<str>>,
}

/// Whoever has ordered it; what they may has to be asked again.
pub async fn maker(transaction: &TenantTx, id: Uuid) -> Result<Maker, Failure> {
    let parameters: [&(dyn ToSql + Sync); 2] = [&transaction.tenant(), &id];
    let row = transaction.query_opt(MAKER, &parameters).await?.ok_or_else(maker_not_permitted)?;
    let read = || {
        Ok::<_, tokio_postgres::Error>(Maker {
            is_active: row.try_get("is_active")?,
            organization: row.try_get("organization_id")?,
            department: row.try_get("department")?,
            roles: row.try_get("roles")?,
            scopes: row.try_get("scopes")?,
            custom_roles: operation::custom_roles(&row)?,
        })
    };
    Ok(read().map_err(DbError::from)?)
}

/// The refusal of what its maker could not order any more.
pub fn maker_not_permitted() -> Refusal {
    let detail = "Whoever ordered it may not order it any more";
    Refusal::new(RefusalKind::Rule, "maker_not_permitted", detail)
}

/// The approval behind its lock, where it can be decided by the actor, now, and is what was
/// seen, with all who have agreed.
pub async fn locked(
    transaction: &TenantTx,
    context: &OpContext,
    kind: ApprovalKind,
    decision: &Decision,
) -> Result<Approval, Failure> {
    let (tenant, kind) = (transaction.tenant(), kind.as_str());
    let parameters: [&(dyn ToSql + Sync); 3] = [&tenant, &decision.approval_id, &kind];
    let row = transaction.query_opt(LOCK, &parameters).await?;
    let mut approval = Approval::from_row(&row.ok_or_else(Refusal::not_found)?)?;
    let actor = &context.actor;
    // Policy has said so of everybody whom it is asked about; the system is not asked. The
    // second pair of eyes is a person's, and none looks at what its owner would get.
    if approval.requested_by == actor.id
        || approval.is_about(actor.id)
        || actor.kind != ActorKind::User
    {
        return Err(Refusal::denied().into());
    }
    let over = |status: ApprovalStatus| {
        let (code, detail) = match status {
            ApprovalStatus::Expired => ("approval_expired", "Nobody has decided in time"),
            _ => ("approval_decided", "Somebody has decided before"),
        };
        Refusal::new(RefusalKind::Rule, code, detail)
    };
    if !approval.status.may_become(ApprovalStatus::Approved) {
        return Err(over(approval.status).into());
    }
    if approval.expires_at <= context.clock.now() {
        return Err(over(ApprovalStatus::Expired).into());
    }
    let seen = decision.payload_hash.as_deref();
    if seen.is_some_and(|seen| !seen.eq_ignore_ascii_case(&approval.payload_hash)) {
        let detail = "This is not the order that was seen";
        let kind = RefusalKind::PreconditionFailed;
        return Err(Refusal::new(kind, "approval_changed", detail).into());
    }
    for row in transaction.query(AGREED, &[&tenant, &approval.id]).await? {
        let by = row.try_get("decided_by").map_err(DbError::from)?;
        let at = row.try_get("decided_at").map_err(DbError::from)?;
        approval.approvals.push(Agreement { by, at });
    }
    Ok(approval)
}

/// Whether maker and approvers are so many persons as far as the roles they were given tell.
pub async fn check_independence(
    transaction: &TenantTx,
    context: &OpContext,
    approval: &Approval,
) -> Result<(), Failure> {
    let actor = context.actor.id;
    let mut others: Vec<Uuid> = approval.approvals.iter().map(|given| given.by).collect();
    if others.contains(&actor) {
        let detail = "You have agreed to it already: somebody else has to as well";
        return Err(Refusal::new(RefusalKind::Rule, "already_approved", detail).into());
    }
    others.push(approval.requested_by);
    let parameters: [&(dyn ToSql + Sync); 3] = [&transaction.tenant(), &others, &actor];
    let row = transaction.query_opt(DEPENDENT, &parameters).await?;
    let dependent =
        row.ok_or_else(|| DbError::Corrupt("a question without an answer".to_owned()))?;
    if !dependent.try_get::<_, bool>("dependent").map_err(DbError::from)? {
        return Ok(());
    }
    let detail = "Whoever gave the other their role is no second person";
    Err(Refusal::new(RefusalKind::Denied, "not_independent", detail).into())
}

/// The approval with the actor among those who agreed.
pub async fn agree(
    transaction: &TenantTx,
    context: &OpContext,
    mut approval: Approval,
    note: Option<&str>,
) -> Result<Approval, DbError> {
    let at = insert_decision(transaction, context, approval.id, ("approve", note)).await?;
    approval.approvals.push(Agreement { by: context.actor.id, at });
    Ok(approval)
}

/// Writes down who said what; says when.
pub async fn insert_decision(
    transaction: &TenantTx,
    context: &OpContext,
    approval_id: Uuid,
    (verdict, note): (&str, Option<&str>),
) -> Result<Timestamp, DbError> {
    let now = context.clock.now();
    let parameters: [&(dyn ToSql + Sync); 6] =
        [&transaction.tenant(), &approval_id, &context.actor.id, &verdict, &note, &now];
    transaction.execute(INSERT_DECISION, &parameters).await?;
    Ok(now)
}

/// The approval at its next version: it waits for somebody else.
pub async fn counted(transaction: &TenantTx, approval: Approval) -> Result<Approval, DbError> {
    let row = transaction.query_opt(AGREE, &[&transaction.tenant(), &approval.id]).await?;
    let version = row.ok_or_else(changed_under_lock)?.try_get("version")?;
    Ok(Approval { version, ..approval })
}

/// Writes the decision; the approval as it is then.
pub async fn decide(
    transaction: &TenantTx,
    context: &OpContext,
    approval: &Approval,
    (status, note, result_id): (ApprovalStatus, Option<String>, Option<Uuid>),
) -> Result<Approval, DbError> {
    let (actor, now) = (context.actor.id, context.clock.now());
    let parameters: [&(dyn ToSql + Sync); 7] =
        [&transaction.tenant(), &approval.id, &status.as_str(), &actor, &now, &note, &result_id];
    let row = transaction.query_opt(DECIDE, &parameters).await?;
    let row = row.ok_or_else(changed_under_lock)?;
    Ok(Approval {
        status,
        decided_by: Some(actor),
        decided_at: Some(now),
        decision_note: note,
        result_id,
        version: row.try_get("version")?,
        ..approval.clone()
    })
}

fn changed_under_lock() -> DbError {
    DbError::Corrupt("an approval changed under its lock".to_owned())
}

/// Refused, and the record of it kept: somebody has written to the database.
pub fn tampered(context: &OpContext, action: &'static str, approval: &Approval) -> Failure {
    let detail = "The order is not the one that was given";
    Failure::RefusedAndKept {
        refusal: Refusal::new(RefusalKind::Rule, "approval_tampered", detail),
        events: vec![tampered_event(context, action, approval).outcome(audit::Outcome::Failed)],
    }
}

/// The record of an order that is not the one that was given.
pub fn tampered_event(
    context: &OpContext,
    action: &'static str,
    approval: &Approval,
) -> AuditEvent {
    event(context, EventType::SecurityViolation, action, RESOURCE)
        .resource_id(approval.id)
        .details(json!({ "code": "approval_tampered", "payload_hash": approval.payload_hash }))
}

/// The record of one who agreed while more are needed.
pub fn agreement_event(context: &OpContext, approval: &Approval) -> AuditEvent {
    event(context, EventType::DataModification, AGREEMENT, RESOURCE)
        .resource_id(approval.id)
        .new_values(json!({
            "status": approval.status,
            "object_id": approval.object_id,
            "approved_by": context.actor.id,
            "approvals": approval.approvals.len(),
            "required": approval.required,
            "payload_hash": approval.payload_hash,
        }))
        .at_version(approval.version)
}

/// The record of a decision: ids, states, the hash; no text of anybody's.
pub fn decided_event(
    context: &OpContext,
    action: &'static str,
    before: &Approval,
    after: &Approval,
) -> AuditEvent {
    event(context, EventType::DataModification, action, RESOURCE)
        .resource_id(after.id)
        .old_values(json!({ "status": before.status }))
        .new_values(json!({
            "status": after.status,
            "object_id": after.object_id,
            "result_id": after.result_id,
            "requested_by": after.requested_by,
            "decided_by": after.decided_by,
            "payload_hash": after.payload_hash,
        }))
        .at_version(after.version)
}
