//! Approving and rejecting: the second pair of eyes.

use ::approvals::{
    Approval, ApprovalKind, ApprovalStatus, Decision, RESOURCE, agree, agreement_event,
    check_independence, counted, decide, decided_event, insert_decision, locked, maker,
    maker_not_permitted, tampered, tampered_event,
};
use access::{CustomRoles, Permission, Principal, Resource, Situation};
use ledger::{Posting, TransactionType, TransferKind, posting::post_one};
use operation::{Applied, Command, Failure, Operations, Target, command::Outcome};
use serde_json::Value;
use tenancy::{DbError, OpContext, TenantTx};
use uuid::Uuid;

use super::{ceiling::is_the_systems, path_target, payload::OrderedTransfer};
use crate::{
    accounts::facts,
    movements::{Fields, Transfer, business_date, posting_event},
};

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
        self.decision().fingerprint()
    }

    async fn target(&self, transaction: &TenantTx, context: &OpContext) -> Result<Target, DbError> {
        path_target(transaction, context, self.approval_id).await
    }

    async fn execute(&self, transaction: &TenantTx, context: &OpContext) -> Outcome<Approval> {
        let decision = self.decision();
        let note = decision.checked_note()?;
        let approval = locked(transaction, context, ApprovalKind::Transfer, &decision).await?;
        let Some(order) = OrderedTransfer::untampered(transaction.tenant(), &approval) else {
            return Err(tampered(context, Self::NAME, &approval));
        };
        check_independence(transaction, context, &approval).await?;
        self.check_maker(transaction, context, &approval, &order).await?;
        let approval = agree(transaction, context, approval, note.as_deref()).await?;
        if !approval.is_agreed() {
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
        self.decision().fingerprint()
    }

    async fn target(&self, transaction: &TenantTx, context: &OpContext) -> Result<Target, DbError> {
        path_target(transaction, context, self.approval_id).await
    }

    async fn execute(&self, transaction: &TenantTx, context: &OpContext) -> Outcome<Approval> {
        let decision = self.decision();
        let note = decision.checked_note()?;
        let approval = locked(transaction, context, ApprovalKind::Transfer, &decision).await?;
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

impl RejectRequest {
    fn decision(&self) -> Decision {
        Decision {
            approval_id: self.approval_id,
            payload_hash: self.payload_hash.clone(),
            note: self.note.clone(),
        }
    }
}

impl ApproveRequest {
    fn decision(&self) -> Decision {
        Decision {
            approval_id: self.approval_id,
            payload_hash: self.payload_hash.clone(),
            note: self.note.clone(),
        }
    }

    /// Whether the maker may still give this order, by what they are now.
    async fn check_maker(
        &self,
        transaction: &TenantTx,
        context: &OpContext,
        approval: &Approval,
        order: &OrderedTransfer,
    ) -> Result<(), Failure> {
        let id = approval.requested_by;
        if is_the_systems(id) {
            return Ok(());
        }
        let wanted = [(order.from_account_id, id), (order.to_account_id, id)];
        let sides = facts(transaction, &wanted).await?;
        let maker = maker(transaction, id).await?;
        let principal = Principal {
            custom: CustomRoles { definitions: &maker.custom_roles, situation: Situation::past() },
            user_id: id,
            roles: &maker.roles,
            organization: maker.organization,
            department: maker.department.as_deref(),
        };
        let side = |at: usize| sides.get(at).copied().flatten().unwrap_or(false);
        let permission = Permission::TransactionCreate;
        let resource = Resource::for_permission(permission, Some(order.from_account_id))
            .owned(side(0))
            .held(side(1))
            .amount(order.amount, order.currency.code());
        let is_within = (maker.scopes)
            .is_none_or(|scopes| scopes.iter().any(|scope| scope == permission.as_str()));
        if maker.is_active
            && is_within
            && self.operations.allows_other(context, &principal, permission, &resource)
        {
            Ok(())
        } else {
            Err(maker_not_permitted().into())
        }
    }
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
