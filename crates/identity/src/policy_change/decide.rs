//! The second pair of eyes: agreeing to a change, or rejecting it.

use access::{CustomRoles, Permission, Principal, Resource, Situation};
use audit::{AuditEvent, EventType, Outcome as AuditOutcome};
use operation::{Applied, Command, Failure, Refusal, RefusalKind, Target, event};
use serde_json::{Map, Value, json};
use tenancy::{Actor, ActorKind, DbError, OpContext, TenantTx};
use tokio_postgres::types::ToSql;
use uuid::Uuid;

use super::{PolicyChange, PolicyChangeStatus, PolicyDifference, RESOURCE};
use crate::Identity;

const FACTS: &str = tenancy::sql!("identity/policy.sql", "facts");
const LOCK: &str = tenancy::sql!("identity/policy.sql", "lock");
const MAKER: &str = tenancy::sql!("identity/policy.sql", "maker");
const DEPENDENT: &str = tenancy::sql!("identity/policy.sql", "dependent");
const DECIDE: &str = tenancy::sql!("identity/policy.sql", "decide");
const APPLY: &str = tenancy::sql!("identity/policy.sql", "apply");

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Approve,
    Reject,
}

/// Decides a change.
pub(super) struct Decide {
    pub(super) identity: Identity,
    pub(super) change: Uuid,
    pub(super) verdict: Verdict,
    pub(super) note: Option<String>,
}

impl Command for Decide {
    const NAME: &'static str = "policy_change.decide";
    const RESOURCE: &'static str = RESOURCE;
    type Output = PolicyChange;

    fn permission(&self) -> Permission {
        Permission::SettingsUpdate
    }

    async fn target(&self, transaction: &TenantTx, context: &OpContext) -> Result<Target, DbError> {
        let row = transaction.query_opt(FACTS, &[&context.tenant_id(), &self.change]).await?;
        let Some(row) = row else { return Ok(Target::Missing { field: None }) };
        let maker: Uuid = row.try_get("requested_by")?;
        Ok(Target::Object {
            resource: Resource::for_permission(Permission::SettingsUpdate, Some(self.change))
                .owned(maker == context.actor.id),
            read_permission: Permission::SettingsView,
            field: None,
        })
    }

    async fn execute(
        &self,
        transaction: &TenantTx,
        context: &OpContext,
    ) -> Result<Applied<PolicyChange>, Failure> {
        let change = self.locked(transaction, context).await?;
        match self.verdict {
            Verdict::Approve => self.approve(transaction, context, change).await,
            Verdict::Reject => {
                let status = PolicyChangeStatus::Rejected;
                let output = self.write(transaction, context, (change, status)).await?;
                let events = vec![decided(context, &output)];
                Ok(Applied { output, status: 200, events })
            }
        }
    }
}

impl Decide {
    /// The change behind its lock, where it can be decided by the actor, now.
    async fn locked(
        &self,
        transaction: &TenantTx,
        context: &OpContext,
    ) -> Result<PolicyChange, Failure> {
        let row = transaction.query_opt(LOCK, &[&context.tenant_id(), &self.change]).await?;
        let change = PolicyChange::read(&row.ok_or_else(Refusal::not_found)?)?;
        // Policy has said so of every person; the system is not asked, and a machine is
        // nobody's second pair of eyes.
        let actor = &context.actor;
        if change.requested_by == actor.id || actor.kind == ActorKind::ApiKey {
            return Err(Refusal::denied().into());
        }
        match change.status {
            PolicyChangeStatus::Pending if change.expires_at > context.clock.now() => {}
            PolicyChangeStatus::Pending | PolicyChangeStatus::Expired => {
                return Err(rule("change_expired", "Nobody has decided in time").into());
            }
            PolicyChangeStatus::Approved | PolicyChangeStatus::Rejected => {
                return Err(rule("change_decided", "Somebody has decided before").into());
            }
        }
        Ok(change)
    }

    async fn approve(
        &self,
        transaction: &TenantTx,
        context: &OpContext,
        change: PolicyChange,
    ) -> Result<Applied<PolicyChange>, Failure> {
        let tenant = context.tenant_id();
        let hash = change.hash(tenant)?;
        if crate::events::hexadecimal(&hash) != change.payload_hash {
            return Err(tampered(context, &change));
        }
        check_independence(transaction, context, change.requested_by).await?;
        self.check_maker(transaction, context, change.requested_by).await?;
        let parameters: [&(dyn ToSql + Sync); 3] = [&tenant, &change.policy, &change.base_version];
        if transaction.query_opt(APPLY, &parameters).await?.is_none() {
            let detail = "The policy was changed since this was asked for; ask for it anew";
            return Err(Refusal::new(RefusalKind::Conflict, "policy_changed", detail).into());
        }
        let status = PolicyChangeStatus::Approved;
        let output = self.write(transaction, context, (change, status)).await?;
        let events = vec![applied(context, &output), decided(context, &output)];
        Ok(Applied { output, status: 200, events })
    }

    /// Whether its maker may still change the policy, by what they are now.
    async fn check_maker(
        &self,
        transaction: &TenantTx,
        context: &OpContext,
        maker: Uuid,
    ) -> Result<(), Failure> {
        if maker == Actor::system(ActorKind::Cli).id {
            return Ok(());
        }
        let refused =
            || rule("maker_not_permitted", "Whoever ordered it may not order it any more");
        let row = transaction.query_opt(MAKER, &[&context.tenant_id(), &maker]).await?;
        let row = row.ok_or_else(refused)?;
        let is_active: bool = row.try_get("is_active").map_err(DbError::from)?;
        let roles: Vec<String> = row.try_get("roles").map_err(DbError::from)?;
        let permission = Permission::SettingsUpdate;
        let definitions = operation::custom_roles(&row).map_err(DbError::from)?;
        let custom = CustomRoles { definitions: &definitions, situation: Situation::past() };
        let (organization, department) = (None, None);
        let principal =
            Principal { user_id: maker, roles: &roles, organization, department, custom };
        let resource = Resource::for_permission(permission, None);
        let operations = &self.identity.inner.operations;
        if is_active && operations.allows_other(context, &principal, permission, &resource) {
            Ok(())
        } else {
            Err(refused().into())
        }
    }

    /// Writes the decision; the change as it is then.
    async fn write(
        &self,
        transaction: &TenantTx,
        context: &OpContext,
        (change, status): (PolicyChange, PolicyChangeStatus),
    ) -> Result<PolicyChange, DbError> {
        let (tenant, actor, now) = (context.tenant_id(), context.actor.id, context.clock.now());
        let name = status.as_str();
        let parameters: [&(dyn ToSql + Sync); 6] =
            [&tenant, &change.id, &name, &actor, &now, &self.note];
        let row = transaction.query_opt(DECIDE, &parameters).await?;
        let row =
            row.ok_or_else(|| DbError::Corrupt("a change changed under its lock".to_owned()))?;
        Ok(PolicyChange {
            status,
            decided_by: Some(actor),
            decided_at: Some(now),
            decision_note: self.note.clone(),
            version: row.try_get("version")?,
            ..change
        })
    }
}

/// Whether maker and approver are two persons as far as the roles they were given tell.
async fn check_independence(
    transaction: &TenantTx,
    context: &OpContext,
    maker: Uuid,
) -> Result<(), Failure> {
    let parameters: [&(dyn ToSql + Sync); 3] = [&context.tenant_id(), &maker, &context.actor.id];
    let row = transaction.query_opt(DEPENDENT, &parameters).await?;
    let row = row.ok_or_else(|| DbError::Corrupt("a question without an answer".to_owned()))?;
    if !row.try_get::<_, bool>("dependent").map_err(DbError::from)? {
        return Ok(());
    }
    let detail = "Whoever gave the other their role is no second person";
    Err(Refusal::new(RefusalKind::Denied, "not_independent", detail).into())
}

fn rule(code: &'static str, detail: &str) -> Refusal {
    Refusal::new(RefusalKind::Rule, code, detail)
}

/// Refused, and the record of it kept: somebody has written to the database.
fn tampered(context: &OpContext, change: &PolicyChange) -> Failure {
    let event = event(context, EventType::SecurityViolation, Decide::NAME, RESOURCE)
        .resource_id(change.id)
        .outcome(AuditOutcome::Failed)
        .details(json!({ "code": "change_tampered", "payload_hash": change.payload_hash }));
    Failure::RefusedAndKept {
        refusal: rule("change_tampered", "The change is not the one that was asked for"),
        events: vec![event],
    }
}

/// The policy is another one: what it was and what it is, field by field.
fn applied(context: &OpContext, change: &PolicyChange) -> AuditEvent {
    let side = |value: fn(&PolicyDifference) -> &Value| -> Value {
        let fields: Map<_, _> = (change.differences.iter())
            .map(|difference| (difference.path.clone(), value(difference).clone()))
            .collect();
        Value::Object(fields)
    };
    event(context, EventType::ConfigurationChange, "settings.update", "settings")
        .resource_id(change.id)
        .old_values(side(|difference| &difference.old))
        .new_values(side(|difference| &difference.new))
        .details(
            json!({ "base_version": change.base_version, "payload_hash": change.payload_hash }),
        )
}

fn decided(context: &OpContext, change: &PolicyChange) -> AuditEvent {
    event(context, EventType::ConfigurationChange, Decide::NAME, RESOURCE)
        .resource_id(change.id)
        .old_values(json!({ "status": PolicyChangeStatus::Pending }))
        .new_values(json!({
            "status": change.status, "requested_by": change.requested_by,
            "decided_by": change.decided_by, "payload_hash": change.payload_hash,
        }))
        .at_version(change.version)
}
