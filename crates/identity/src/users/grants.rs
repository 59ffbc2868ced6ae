//! Roles under four eyes: where the tenant's policy demands it, a role that reaches beyond what
//! is its holder's own is given when others have agreed to it.
//!
//! Owns which roles those are, the order, and how it is carried out. Whoever agrees could give
//! the roles themselves, and is neither their maker nor the person who gets them; the maker
//! must still be one who could. What is agreed to is the change that was seen: of somebody who
//! holds other roles by now nothing is changed. Taking roles away never waits.

use std::sync::Arc;

use ::approvals::{
    Approval, ApprovalKind, ApprovalStatus, Binding, Decision, NewOrder, RESOURCE, agree,
    agreement_event, check_independence, counted, decide, decided_event, demanded, insert_decision,
    locked, maker, maker_not_permitted, order, tampered, tampered_event,
};
use access::{CustomRole, Permission, Resource, Scope};
use audit::AuditEvent;
use operation::{
    Applied, Call, Command, Failure, OperationError, Refusal, RefusalKind, Reply, Target,
    command::Outcome,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tenancy::{Actor, DbError, OpContext, Query, TenantTx};
use tokio_postgres::types::ToSql;
use uuid::Uuid;

use super::{
    UserUpdate,
    commands::{Giver, UpdateUser, check_version, facts, target_of},
};
use crate::{Identity, RoleRecord, sessions::Forgotten};

const LOCK: &str = tenancy::sql!("identity/users.sql", "lock");
const PERSON: &str = tenancy::sql!("approvals/desk.sql", "person");
const IS_ORDERED: &str = tenancy::sql!("identity/roles.sql", "is_ordered");
/// The field of the policy that demands it.
const DEMAND: &str = "role_grant_approvals";

/// Roles as they were ordered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct OrderedRoles {
    pub(super) user_id: Uuid,
    /// The version of the person that the order belongs to.
    pub(super) user_version: i64,
    pub(super) roles_before: Vec<String>,
    /// The primary one first.
    pub(super) roles: Vec<String>,
}

impl OrderedRoles {
    /// The order of an approval, where every byte of it is what its maker has ordered.
    fn untampered(tenant: Uuid, approval: &Approval) -> Option<Self> {
        if !Binding::holds(tenant, approval) {
            return None;
        }
        let order: Self = serde_json::from_value(approval.payload.clone()).ok()?;
        (order.user_id == approval.object_id).then_some(order)
    }

    /// Has it wait for so many others; the record of it.
    pub(super) async fn wait(
        &self,
        transaction: &TenantTx,
        context: &OpContext,
        (action, required): (&'static str, i16),
    ) -> Result<AuditEvent, Failure> {
        let payload =
            serde_json::to_value(self).map_err(|error| DbError::Corrupt(error.to_string()))?;
        let kind = ApprovalKind::RoleGrant;
        let new = NewOrder { kind, object_id: self.user_id, payload, required };
        Ok(order(transaction, context, action, new).await?.1)
    }
}

/// Whether a custom role opens what is not its holder's own.
fn reaches_beyond_own(role: &CustomRole) -> bool {
    Permission::ALL.iter().any(|permission| !Scope::OWN.includes(role.reach(*permission)))
}

impl Identity {
    /// How many others have to agree before somebody who holds some roles gets others; none
    /// where policy demands none, nothing is added that reaches beyond what is one's own, or
    /// the system itself gives them.
    pub(super) async fn approvals_of_grant(
        &self,
        transaction: &TenantTx,
        context: &OpContext,
        (held, wanted): (&[String], &[&str]),
    ) -> Result<Option<i16>, Failure> {
        let is_new = |role: &&str| !held.iter().any(|held| held == role);
        let added: Vec<&str> = wanted.iter().copied().filter(is_new).collect();
        if added.is_empty() || context.actor.is_system() {
            return Ok(None);
        }
        let Some(required) = demanded(transaction, DEMAND).await? else { return Ok(None) };
        let reaches = self.reach_beyond_own(transaction, context, &added).await?;
        Ok(reaches.then_some(required))
    }

    /// Whether one of these roles opens what is not its holder's own.
    async fn reach_beyond_own(
        &self,
        transaction: &TenantTx,
        context: &OpContext,
        roles: &[&str],
    ) -> Result<bool, Failure> {
        let blueprint = context.tenant.blueprint;
        if roles.iter().any(|role| blueprint.has_role(role) && !self.is_own_only(context, role)) {
            return Ok(true);
        }
        let custom: Vec<&str> =
            roles.iter().filter(|role| !blueprint.has_role(role)).copied().collect();
        let written = self.custom_roles_of(transaction, &custom).await?;
        Ok(written.iter().any(reaches_beyond_own))
    }

    /// Whether a role of the blueprint opens only what is its holder's own.
    fn is_own_only(&self, context: &OpContext, role: &str) -> bool {
        let policies = self.inner.operations.policies();
        let blueprint = context.tenant.blueprint;
        let of = |permission: &Permission| policies.scope(blueprint, &[role], *permission);
        Permission::ALL.iter().all(|permission| Scope::OWN.includes(of(permission)))
    }

    /// What nobody may be given alone is not written into a role that they hold, or that is
    /// about to be given: where policy demands others, such a role only shrinks.
    pub(crate) async fn check_widening(
        &self,
        transaction: &TenantTx,
        context: &OpContext,
        (before, after): (&RoleRecord, &CustomRole),
    ) -> Result<(), Failure> {
        let written = after.spelled_out();
        let shrinks = written.iter().all(|grant| before.permissions.contains(grant));
        if shrinks || context.actor.is_system() || !reaches_beyond_own(after) {
            return Ok(());
        }
        if demanded(transaction, DEMAND).await?.is_none() {
            return Ok(());
        }
        let row = transaction.query_opt(IS_ORDERED, &[&transaction.tenant(), &before.name]).await?;
        let is_ordered = row.map_or(Ok(false), |row| row.try_get("is_ordered"));
        if before.holders == 0 && !is_ordered.map_err(DbError::from)? {
            return Ok(());
        }
        let detail = "Others have to agree before anybody gets more than this role opens: \
            write another role, and give that";
        Err(Refusal::rule("approval_required", "permissions", detail).into())
    }

    /// The role that somebody holds while others have yet to agree to theirs: the least one,
    /// where it opens only what is one's own.
    pub(super) fn interim_role(&self, context: &OpContext) -> Result<&'static str, Refusal> {
        let least = context.tenant.blueprint.roles().last().copied();
        least.filter(|role| self.is_own_only(context, role)).ok_or_else(|| {
            let detail = "Others have to agree to this role, and there is none to hold meanwhile";
            Refusal::rule("approval_required", "role", detail)
        })
    }

    /// Agrees to roles that somebody is to get, and gives them where nobody else has to.
    ///
    /// Refusals, first found: the note too long; `approval_decided`; `approval_expired`;
    /// `approval_changed` (412); `approval_tampered`; `already_approved`; `not_independent`
    /// (403); `maker_not_permitted`; `roles_changed`; `privilege_escalation` (403);
    /// `last_administrator`. None of them ends the approval.
    pub async fn approve_role_grant(
        &self,
        context: &OpContext,
        idempotency_key: Option<String>,
        decision: Decision,
    ) -> Result<Reply<Approval>, OperationError> {
        let tenant = context.tenant_id();
        let parameters: [&(dyn ToSql + Sync); 2] = [&tenant, &decision.approval_id];
        let database = self.inner.operations.database();
        let rows = database.look_up(context, Query::new(PERSON, &parameters)).await?;
        let person = rows.first().map(|row| row.try_get("object_id")).transpose();
        let person: Option<Uuid> = person.map_err(DbError::from)?;
        let command = ApproveGrant { identity: self.clone(), decision };
        let call = Call { context: context.clone(), idempotency_key, command };
        // Obeyed at the next request, as any change of somebody's roles.
        self.call_and_forget(call, Forgotten::Standing(person.unwrap_or_default())).await
    }

    /// Rejects them; nothing changes. Refusals as of [`Identity::approve_role_grant`], to
    /// `approval_changed`.
    pub async fn reject_role_grant(
        &self,
        context: &OpContext,
        idempotency_key: Option<String>,
        decision: Decision,
    ) -> Result<Reply<Approval>, OperationError> {
        let command = RejectGrant { identity: self.clone(), decision };
        let call = Call { context: context.clone(), idempotency_key, command };
        self.inner.operations.run_one(call).await
    }

    /// Roles are decided by whoever manages everybody of the tenant.
    fn check_manages(&self, context: &OpContext) -> Result<(), Refusal> {
        if self.inner.operations.scope(context, Permission::UserUpdate).is_all() {
            Ok(())
        } else {
            Err(Refusal::denied())
        }
    }

    /// Whether the maker could still give these roles to somebody who holds those, by what
    /// they are now.
    async fn check_giver(
        &self,
        transaction: &TenantTx,
        context: &OpContext,
        (id, grant): (Uuid, &OrderedRoles),
    ) -> Result<(), Failure> {
        let maker = maker(transaction, id).await?;
        let mut actor = Actor::user(id, maker.roles);
        actor.custom_roles = maker.custom_roles.into();
        actor.scopes = maker.scopes.map(Arc::from);
        actor.organization = maker.organization;
        actor.department = maker.department;
        let then = OpContext { actor, ..context.clone() };
        if !maker.is_active || self.check_manages(&then).is_err() {
            return Err(maker_not_permitted().into());
        }
        match self.check_grants(transaction, &then, &grant.touched()).await {
            Err(Failure::Refused(refusal)) if refusal.kind == RefusalKind::Denied => {
                Err(maker_not_permitted().into())
            }
            other => other,
        }
    }
}

impl OrderedRoles {
    /// Every role that whoever gives or takes them has to hold as much as.
    fn touched(&self) -> Vec<&str> {
        let mut roles: Vec<&str> =
            self.roles_before.iter().chain(&self.roles).map(String::as_str).collect();
        roles.sort_unstable();
        roles.dedup();
        roles
    }
}

/// The person whom an approval is about, as the object of a decision.
async fn person_target(
    transaction: &TenantTx,
    context: &OpContext,
    approval: Uuid,
) -> Result<Target, DbError> {
    let parameters: [&(dyn ToSql + Sync); 2] = [&transaction.tenant(), &approval];
    let Some(row) = transaction.query_opt(PERSON, &parameters).await? else {
        return Ok(Target::Missing { field: None });
    };
    let person: Uuid = row.try_get("object_id")?;
    Ok(match target_of(transaction, context, person).await? {
        // Whoever was deleted since is nobody's to read, but what waits for them is decided.
        Target::Missing { .. } => Target::Object {
            resource: Resource::for_permission(Permission::UserUpdate, Some(person)),
            read_permission: Permission::UserRead,
            field: None,
        },
        there => there,
    })
}

struct ApproveGrant {
    identity: Identity,
    decision: Decision,
}

impl Command for ApproveGrant {
    const NAME: &'static str = "approval.approve";
    const RESOURCE: &'static str = RESOURCE;
    type Output = Approval;

    fn permission(&self) -> Permission {
        Permission::UserUpdate
    }

    fn fingerprint(&self) -> Value {
        self.decision.fingerprint()
    }

    async fn target(&self, transaction: &TenantTx, context: &OpContext) -> Result<Target, DbError> {
        person_target(transaction, context, self.decision.approval_id).await
    }

    async fn execute(&self, transaction: &TenantTx, context: &OpContext) -> Outcome<Approval> {
        let note = self.decision.checked_note()?;
        self.identity.check_manages(context)?;
        let kind = ApprovalKind::RoleGrant;
        let approval = locked(transaction, context, kind, &self.decision).await?;
        let Some(grant) = OrderedRoles::untampered(transaction.tenant(), &approval) else {
            return Err(tampered(context, Self::NAME, &approval));
        };
        check_independence(transaction, context, &approval).await?;
        let by = (approval.requested_by, &grant);
        self.identity.check_giver(transaction, context, by).await?;
        let version = unchanged(transaction, context, &grant).await?;
        self.identity.check_grants(transaction, context, &grant.touched()).await?;
        let approval = agree(transaction, context, approval, note.as_deref()).await?;
        if !approval.is_agreed() {
            let waiting = counted(transaction, approval).await?;
            let events = vec![agreement_event(context, &waiting)];
            return Ok(Applied { output: waiting, status: 200, events });
        }
        let mut events = self.give(transaction, context, (&approval, grant, version)).await?;
        let result = Some(approval.object_id);
        let verdict = (ApprovalStatus::Approved, note, result);
        let decided = decide(transaction, context, &approval, verdict).await?;
        events.push(decided_event(context, Self::NAME, &approval, &decided));
        Ok(Applied { output: decided, status: 200, events })
    }
}

impl ApproveGrant {
    /// Gives them as their maker would have: the hand that is remembered is the maker's.
    async fn give(
        &self,
        transaction: &TenantTx,
        context: &OpContext,
        (approval, grant, version): (&Approval, OrderedRoles, i64),
    ) -> Result<Vec<AuditEvent>, Failure> {
        let update = UserUpdate { roles: Some(grant.roles), ..UserUpdate::default() };
        let command = UpdateUser {
            identity: self.identity.clone(),
            user: grant.user_id,
            expected_version: None,
            update,
        };
        let giver = Giver(Some(approval.requested_by));
        command.apply(transaction, context, (&grant.roles_before, version), giver).await
    }
}

/// The version of the person, under their lock, where they hold the roles that were seen.
async fn unchanged(
    transaction: &TenantTx,
    context: &OpContext,
    grant: &OrderedRoles,
) -> Result<i64, Failure> {
    let changed = || {
        let detail = "They hold other roles than when this was asked for: ask for it again";
        Refusal::new(RefusalKind::Rule, "roles_changed", detail)
    };
    let tenant = transaction.tenant();
    let row = transaction.query_opt(LOCK, &[&tenant, &grant.user_id]).await?;
    let row = row.ok_or_else(changed)?;
    let version = check_version(Some(&row), None)?;
    let held = facts(transaction, context, grant.user_id).await?.ok_or_else(changed)?.roles;
    if held == grant.roles_before { Ok(version) } else { Err(changed().into()) }
}

struct RejectGrant {
    identity: Identity,
    decision: Decision,
}

impl Command for RejectGrant {
    const NAME: &'static str = "approval.reject";
    const RESOURCE: &'static str = RESOURCE;
    type Output = Approval;

    fn permission(&self) -> Permission {
        Permission::UserUpdate
    }

    fn fingerprint(&self) -> Value {
        self.decision.fingerprint()
    }

    async fn target(&self, transaction: &TenantTx, context: &OpContext) -> Result<Target, DbError> {
        person_target(transaction, context, self.decision.approval_id).await
    }

    async fn execute(&self, transaction: &TenantTx, context: &OpContext) -> Outcome<Approval> {
        let note = self.decision.checked_note()?;
        self.identity.check_manages(context)?;
        let kind = ApprovalKind::RoleGrant;
        let approval = locked(transaction, context, kind, &self.decision).await?;
        insert_decision(transaction, context, approval.id, ("reject", note.as_deref())).await?;
        let verdict = (ApprovalStatus::Rejected, note, None);
        let decided = decide(transaction, context, &approval, verdict).await?;
        let mut events = vec![decided_event(context, Self::NAME, &approval, &decided)];
        // Rejecting ends it, whatever it says by now; that it was changed is told all the same.
        if OrderedRoles::untampered(transaction.tenant(), &approval).is_none() {
            events.push(tampered_event(context, Self::NAME, &approval));
        }
        Ok(Applied { output: decided, status: 200, events })
    }
}
