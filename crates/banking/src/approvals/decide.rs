//! Approving and rejecting: the second pair of eyes.

use access::{CustomRoles, Permission, Principal, Resource, Situation};
use audit::{AuditEvent, EventType};
use jiff::Timestamp;
use ledger::{Posting, TransactionType, TransferKind, posting::post_one};
use operation::{
    Applied, Command, Failure, Operations, Refusal, RefusalKind, Target, command::Outcome, event,
};
use serde_json::{Value, json};
use tenancy::{ActorKind, DbError, OpContext, TenantTx};
use tokio_postgres::types::ToSql;
use uuid::Uuid;

use super::{
    Agreement, Approval, ApprovalStatus, RESOURCE, ceiling::is_the_systems, path_target,
    payload::OrderedTransfer,
};
use crate::{
    accounts::facts,
    movements::{Fields, Transfer, business_date, posting_event},
    text::check_note,
};

const LOCK: &str = tenancy::sql!("banking/approvals.sql", "lock");
const MAKER: &str = tenancy::sql!("banking/approvals.sql", "maker");
const DEPENDENT: &str = tenancy::sql!("banking/approvals.sql", "dependent");
const DECIDE: &str = tenancy::sql!("banking/approvals.sql", "decide");
const AGREED: &str = tenancy::sql!("banking/approvals.sql", "agreed");
const AGREE: &str = tenancy::sql!("banking/approvals.sql", "agree");
const INSERT_DECISION: &str = tenancy::sql!("banking/approvals.sql", "insert_decision");
/// The record of one who agreed while more are needed.
const AGREEMENT: &str = "approval.agree";

/// Approves what waits, and does it where nobody else has to agree. Answers 200 with the
/// approval. One that the actor may not read is 404.
///
/// Refusals, first found: the note too long; `approval_decided`; `approval_expired`;
/// `approval_changed` (412); `approval_tampered`; `already_approved`; `not_independent` (403);
/// `maker_not_permitted`; then, where nobody else has to agree, the ledger's in the order of
/// [`ledger::PostingError`], about the field `id`. None of them ends the approval.
#[derive(Clone)]
pub struct ApproveRequest {
    /// Whose policies say whether the maker still may.
    pub operations: Operations,
    /// Which (from the path).
    pub approval_id: Uuid,
    /// The hash of what was seen; what stands there is decided where absent.
    pub payload_hash: Option<String>,
    /// What to say to it.
    pub note: Option<String>,
}

/// Rejects what waits; nothing moves. Answers 200 with the approval. One that the actor
/// may not read is 404.
///
/// Refusals, first found: the note too long; `approval_decided`; `approval_expired`;
/// `approval_changed` (412).
#[derive(Clone, Debug)]
pub struct RejectRequest {
    /// Which (from the path).
    pub approval_id: Uuid,
    /// The hash of what was seen; what stands there is decided where absent.
    pub payload_hash: Option<String>,
    /// What to say to it.
    pub note: Option<String>,
}

impl Command for ApproveRequest {
    const NAME: &'static str = "approval.approve";
    const RESOURCE: &'static str = RESOURCE;
    type Output = Approval;

    fn permission(&self) -> Permission {
        Permission::TransactionApprove
    }

    fn fingerprint(&self) -> Value {
        fingerprint(self.approval_id, self.note.as_deref(), self.payload_hash.as_deref())
    }

    async fn target(&self, transaction: &TenantTx, context: &OpContext) -> Result<Target, DbError> {
        path_target(transaction, context, self.approval_id).await
    }

    async fn execute(&self, transaction: &TenantTx, context: &OpContext) -> Outcome<Approval> {
        let note = checked_note(self.note.as_deref())?;
        let seen = (self.approval_id, self.payload_hash.as_deref());
        let approval = locked(transaction, context, seen).await?;
        let Some(order) = OrderedTransfer::untampered(transaction.tenant(), &approval) else {
            return Err(tampered(context, Self::NAME, &approval));
        };
        check_independence(transaction, context, &approval).await?;
        self.check_maker(transaction, context, &approval, &order).await?;
        let approval = agree(transaction, context, approval, note.as_deref()).await?;
        if approval.approvals.len() < usize::try_from(approval.required).unwrap_or(usize::MAX) {
            let waiting = counted(transaction, approval).await?;
            let events = vec![agreement_event(context, &waiting)];
            return Ok(Applied { output: waiting, status: 200, events });
        }
        let posting = posting(context, &approval, order)?;
        let record = |_: &_| posting_event(context, Self::NAME, &Transfer::of(&posting));
        let result = post_one(transaction, &context.clock, &posting, record).await?;
        let posted = result.map_err(|error| Fields::APPROVAL.refusal(error))?.record;
        let verdict = (ApprovalStatus::Approved, note, Some(posting.transfer_id));
        let decided = decide(transaction, context, &approval, verdict).await?;
        let events = vec![posted, decided_event(context, Self::NAME, &approval, &decided)];
        Ok(Applied { output: decided, status: 200, events })
    }
}

impl Command for RejectRequest {
    const NAME: &'static str = "approval.reject";
    const RESOURCE: &'static str = RESOURCE;
    type Output = Approval;

    fn permission(&self) -> Permission {
        Permission::TransactionApprove
    }

    fn fingerprint(&self) -> Value {
        fingerprint(self.approval_id, self.note.as_deref(), self.payload_hash.as_deref())
    }

    async fn target(&self, transaction: &TenantTx, context: &OpContext) -> Result<Target, DbError> {
        path_target(transaction, context, self.approval_id).await
    }

    async fn execute(&self, transaction: &TenantTx, context: &OpContext) -> Outcome<Approval> {
        let note = checked_note(self.note.as_deref())?;
        let seen = (self.approval_id, self.payload_hash.as_deref());
        let approval = locked(transaction, context, seen).await?;
        let said = ("reject", note.as_deref());
        insert_decision(transaction, context, approval.id, said).await?;
        let verdict = (ApprovalStatus::Rejected, note, None);
        let decided = decide(transaction, context, &approval, verdict).await?;
        let mut events = vec![decided_event(context, Self::NAME, &approval, &decided)];
        // Rejecting ends it, whatever it says by now; that it was changed is told all the same.
        if OrderedTransfer::untampered(transaction.tenant(), &approval).is_none() {
            events.push(tampered_event(context, Self::NAME, &approval));
        }
        Ok(Applied { output: decided, status: 200, events })
    }
}

impl ApproveRequest {
    /// Whether the maker may still give this order, by what they are now.
    async fn check_maker(
        &self,
        transaction: &TenantTx,
        context: &OpContext,
        approval: &Approval,
        order: &OrderedTransfer,
    ) -> Result<(), Failure> {
        let maker = approval.requested_by;
        if is_the_systems(maker) {
            return Ok(());
        }
        let wanted = [(order.from_account_id, maker), (order.to_account_id, maker)];
        let sides = facts(transaction, &wanted).await?;
        let parameters: [&(dyn ToSql + Sync); 2] = [&transaction.tenant(), &maker];
        let row = transaction.query_opt(MAKER, &parameters).await?;
        let row = row.ok_or_else(maker_not_permitted)?;
        let roles: Vec<String> = row.try_get("roles").map_err(DbError::from)?;
        let department: Option<String> = row.try_get("department").map_err(DbError::from)?;
        let definitions = operation::custom_roles(&row).map_err(DbError::from)?;
        let principal = Principal {
            custom: CustomRoles { definitions: &definitions, situation: Situation::past() },
            user_id: maker,
            roles: &roles,
            organization: row.try_get("organization_id").map_err(DbError::from)?,
            department: department.as_deref(),
        };
        let side = |at: usize| sides.get(at).copied().flatten().unwrap_or(false);
        let permission = Permission::TransactionCreate;
        let resource = Resource::for_permission(permission, Some(order.from_account_id))
            .owned(side(0))
            .held(side(1))
            .amount(order.amount, order.currency.code());
        let is_active: bool = row.try_get("is_active").map_err(DbError::from)?;
        let scopes: Option<Vec<String>> = row.try_get("scopes").map_err(DbError::from)?;
        let is_within =
            scopes.is_none_or(|scopes| scopes.iter().any(|scope| scope == permission.as_str()));
        if is_active
            && is_within
            && self.operations.allows_other(context, &principal, permission, &resource)
        {
            Ok(())
        } else {
            Err(maker_not_permitted().into())
        }
    }
}

/// A hash that was given is part of what is asked; requests from before there was one are
/// repeated under the same key.
fn fingerprint(approval_id: Uuid, note: Option<&str>, payload_hash: Option<&str>) -> Value {
    let mut asked = json!({ "approval_id": approval_id, "note": note });
    if let Some(hash) = payload_hash {
        asked["payload_hash"] = json!(hash);
    }
    asked
}

/// The approval behind its lock, where it can be decided by the actor, now, and is what was
/// seen, with all who have agreed.
async fn locked(
    transaction: &TenantTx,
    context: &OpContext,
    (approval_id, seen): (Uuid, Option<&str>),
) -> Result<Approval, Failure> {
    let tenant = transaction.tenant();
    let row = transaction.query_opt(LOCK, &[&tenant, &approval_id]).await?;
    let mut approval = Approval::from_row(&row.ok_or_else(Refusal::not_found)?)?;
    // Policy has said so of everybody whom it is asked about; the system is not asked.
    if approval.requested_by == context.actor.id {
        return Err(Refusal::denied().into());
    }
    // The second pair of eyes is a person's.
    if context.actor.kind != ActorKind::User {
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
    if seen.is_some_and(|seen| !seen.eq_ignore_ascii_case(&approval.payload_hash)) {
        let detail = "This is not the order that was seen";
        let kind = RefusalKind::PreconditionFailed;
        return Err(Refusal::new(kind, "approval_changed", detail).into());
    }
    for row in transaction.query(AGREED, &[&tenant, &approval_id]).await? {
        let by = row.try_get("decided_by").map_err(DbError::from)?;
        let at = row.try_get("decided_at").map_err(DbError::from)?;
        approval.approvals.push(Agreement { by, at });
    }
    Ok(approval)
}

/// The approval with the actor among those who agreed.
async fn agree(
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
async fn insert_decision(
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
async fn counted(transaction: &TenantTx, approval: Approval) -> Result<Approval, DbError> {
    let row = transaction.query_opt(AGREE, &[&transaction.tenant(), &approval.id]).await?;
    let version = row.ok_or_else(changed_under_lock)?.try_get("version")?;
    Ok(Approval { version, ..approval })
}

fn changed_under_lock() -> DbError {
    DbError::Corrupt("an approval changed under its lock".to_owned())
}

fn posting(
    context: &OpContext,
    approval: &Approval,
    order: OrderedTransfer,
) -> Result<Posting, DbError> {
    let today = business_date(context)?;
    Ok(Posting {
        transfer_id: approval.object_id,
        kind: TransferKind::Transfer,
        amount: order.amount,
        currency: order.currency,
        legs: Posting::two_legs(
            (order.from_account_id, TransactionType::TransferOut),
            (order.to_account_id, TransactionType::TransferIn),
            order.amount,
        ),
        description: order.description,
        reference: order.reference,
        value_date: today,
        booking_date: today,
        posted_at: context.clock.now(),
        created_by: approval.requested_by,
        reverses_transfer_id: None,
        waive_limits: false,
    })
}

/// Writes the decision; the approval as it is then.
async fn decide(
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

/// A note that says nothing is none.
fn checked_note(note: Option<&str>) -> Result<Option<String>, Refusal> {
    let note = note.map(str::trim).filter(|note| !note.is_empty());
    check_note("note", note.unwrap_or_default())
        .map_err(|fault| Refusal::validation(vec![fault]))?;
    Ok(note.map(str::to_owned))
}

/// Whether maker and approvers are so many persons as far as the roles they were given tell.
async fn check_independence(
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

fn maker_not_permitted() -> Refusal {
    let detail = "Whoever ordered it may not order it any more";
    Refusal::new(RefusalKind::Rule, "maker_not_permitted", detail)
}

/// Refused, and the record of it kept: somebody has written to the database.
fn tampered(context: &OpContext, action: &'static str, approval: &Approval) -> Failure {
    let detail = "The order is not the one that was given";
    Failure::RefusedAndKept {
        refusal: Refusal::new(RefusalKind::Rule, "approval_tampered", detail),
        events: vec![tampered_event(context, action, approval).outcome(audit::Outcome::Failed)],
    }
}

fn tampered_event(context: &OpContext, action: &'static str, approval: &Approval) -> AuditEvent {
    event(context, EventType::SecurityViolation, action, RESOURCE)
        .resource_id(approval.id)
        .details(json!({ "code": "approval_tampered", "payload_hash": approval.payload_hash }))
}

/// The record of one who agreed while more are needed.
fn agreement_event(context: &OpContext, approval: &Approval) -> AuditEvent {
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
fn decided_event(
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
