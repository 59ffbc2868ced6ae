//! Who may do what to whom: nobody gives away more than they hold, nobody acts on the
//! mightier or on themselves, and no tenant loses its last administrator.
//!
//! Refuses to know what is done.

use access::{CustomRole, Permission, RoleDefinition, Scope};
use operation::{Failure, Refusal, RefusalKind};
use tenancy::{Blueprint, DbError, OpContext, Query, TenantTx};
use tokio_postgres::{Row, types::ToSql};
use uuid::Uuid;

use crate::Identity;

const LOCK_ADMINISTRATORS: &str = tenancy::sql!("identity/users.sql", "lock_administrators");
const OTHER_ADMINISTRATOR: &str = tenancy::sql!("identity/users.sql", "other_administrator");

const SHARE: &str = tenancy::sql!("identity/roles.sql", "share");
const DEFINITIONS: &str = tenancy::sql!("identity/roles.sql", "definitions");
const REMEMBER_HAND: &str = tenancy::sql!("identity/users.sql", "remember_hand");

/// How somebody other than a person themselves can have come to their access.
#[derive(Clone, Copy)]
pub(super) enum Hand {
    /// They set the address that links are sent to.
    Address,
    /// They brought the person back.
    Restoration,
}

/// Writes down that the actor had a hand in a person's access: the two are not two where
/// four eyes are wanted. Roles and API keys are written down by the database itself.
pub(super) async fn remember_hand(
    transaction: &TenantTx,
    context: &OpContext,
    (user, hand): (Uuid, Hand),
) -> Result<(), DbError> {
    let actor = &context.actor;
    if actor.is_system() || actor.id == user {
        return Ok(());
    }
    let reason = match hand {
        Hand::Address => "address",
        Hand::Restoration => "restoration",
    };
    let tenant = transaction.tenant();
    transaction.execute(REMEMBER_HAND, &[&tenant, &user, &actor.id, &reason]).await.map(drop)
}

fn unknown_role() -> Refusal {
    Refusal::rule("unknown_role", "role", "This tenant has no such role")
}

fn escalation(detail: &str) -> Refusal {
    Refusal::new(RefusalKind::Denied, "privilege_escalation", detail)
}

/// A custom role as the database has it.
fn stored_role(definition: &str) -> Result<CustomRole, DbError> {
    let corrupt = |what: String| DbError::Corrupt(format!("a custom role: {what}"));
    let parsed: RoleDefinition =
        serde_json::from_str(definition).map_err(|error| corrupt(error.to_string()))?;
    CustomRole::parse(&parsed).map_err(|faults| corrupt(format!("{faults:?}")))
}

impl Identity {
    /// Nobody has a machine act in a role of more than they hold by the blueprint's roles, nor
    /// above their own: what custom roles add may be changed without whoever holds them.
    pub(crate) fn check_grant(&self, context: &OpContext, role: &str) -> Result<(), Refusal> {
        let (blueprint, actor) = (context.tenant.blueprint, &context.actor);
        let policies = self.inner.operations.policies();
        self.check_system_role(context, role, |permission| {
            if actor.is_within_scopes(permission.as_str()) {
                policies.scope(blueprint, &actor.roles, permission)
            } else {
                Scope::NONE
            }
        })
    }

    fn check_system_role(
        &self,
        context: &OpContext,
        role: &str,
        held: impl Fn(Permission) -> Scope,
    ) -> Result<(), Refusal> {
        let (blueprint, actor) = (context.tenant.blueprint, &context.actor);
        if !blueprint.has_role(role) {
            return Err(unknown_role());
        }
        if actor.is_system() || self.covers(blueprint, (&actor.roles, held), role) {
            return Ok(());
        }
        Err(escalation("This role holds more than you do"))
    }

    /// Nobody gives or takes a role of more than they hold, nor one above their own: every
    /// permission of the role must be the actor's, on at least the same objects and whatever
    /// the circumstances.
    pub(crate) async fn check_grants<R: AsRef<str>>(
        &self,
        transaction: &TenantTx,
        context: &OpContext,
        roles: &[R],
    ) -> Result<(), Failure> {
        let blueprint = context.tenant.blueprint;
        let (system, custom): (Vec<&str>, Vec<&str>) =
            roles.iter().map(AsRef::as_ref).partition(|role| blueprint.has_role(role));
        let operations = &self.inner.operations;
        let held = |permission| operations.assured(context, permission);
        system.into_iter().try_for_each(|role| self.check_system_role(context, role, held))?;
        for role in self.custom_roles_of(transaction, &custom).await? {
            self.check_reach(context, &role)?;
        }
        Ok(())
    }

    /// The tenant's custom roles of these names, which nobody changes meanwhile.
    pub(super) async fn custom_roles_of(
        &self,
        transaction: &TenantTx,
        names: &[&str],
    ) -> Result<Vec<CustomRole>, Failure> {
        if names.is_empty() {
            return Ok(Vec::new());
        }
        // Two statements: the second one sees what whoever held the lock has written.
        let parameters: [&(dyn ToSql + Sync); 2] = [&transaction.tenant(), &names];
        transaction.query(SHARE, &parameters).await?;
        let rows = transaction.query(DEFINITIONS, &parameters).await?;
        if rows.len() < names.len() {
            return Err(unknown_role().into());
        }
        let role = |row: &Row| stored_role(row.try_get("definition")?);
        let roles: Result<_, DbError> = rows.iter().map(role).collect();
        Ok(roles?)
    }

    /// Nobody writes, gives or takes a custom role of more than they hold whatever the
    /// circumstances. What they hold under a condition is not theirs to give.
    pub(crate) fn check_reach(
        &self,
        context: &OpContext,
        role: &CustomRole,
    ) -> Result<(), Refusal> {
        let operations = &self.inner.operations;
        let exceeds = |permission: &&Permission| {
            let held = operations.assured(context, **permission);
            !held.includes(role.reach(**permission))
        };
        match Permission::ALL.iter().find(exceeds) {
            None => Ok(()),
            Some(permission) => {
                let name = role.name();
                Err(escalation(&format!("{name} holds more than you do: {permission}")))
            }
        }
    }

    /// Whether whoever holds these roles, and with them these scopes, may give a role.
    fn covers(
        &self,
        blueprint: Blueprint,
        (roles, held): (&[String], impl Fn(Permission) -> Scope),
        role: &str,
    ) -> bool {
        let rank = |name: &str| blueprint.roles().iter().position(|known| *known == name);
        let own_rank = roles.iter().filter_map(|name| rank(name)).min();
        let outranks = own_rank.zip(rank(role)).is_some_and(|(own, given)| own <= given);
        let policies = self.inner.operations.policies();
        outranks
            && Permission::ALL.iter().all(|permission| {
                held(*permission).includes(policies.scope(blueprint, &[role], *permission))
            })
    }

    /// The roles that a person of these roles may give.
    pub(super) fn grantable_by(&self, blueprint: Blueprint, roles: &[String]) -> Vec<&'static str> {
        let names: Vec<&str> = roles.iter().map(String::as_str).collect();
        let policies = self.inner.operations.policies();
        let held = |permission| policies.scope(blueprint, &names, permission);
        let known = blueprint.roles().iter().copied();
        known.filter(|role| self.covers(blueprint, (roles, held), role)).collect()
    }

    /// The roles that the actor may give, the mightiest first: what a form offers.
    pub fn grantable_roles(&self, context: &OpContext) -> Vec<&'static str> {
        let roles = context.tenant.blueprint.roles().iter().copied();
        roles.filter(|role| self.check_grant(context, role).is_ok()).collect()
    }

    /// Whether the actor may act on a person who holds these roles: 403 `own_account` on
    /// themselves, 403 `privilege_escalation` on the mightier.
    pub(crate) async fn check_power_over(
        &self,
        transaction: &TenantTx,
        context: &OpContext,
        (user, roles): (Uuid, &[String]),
    ) -> Result<(), Failure> {
        if context.actor.is_system() {
            return Ok(());
        }
        if context.actor.id == user {
            let detail = "Nobody does this to their own account";
            return Err(Refusal::new(RefusalKind::Denied, "own_account", detail).into());
        }
        self.check_grants(transaction, context, roles).await
    }

    /// The roles whose holders administer a tenant: those that may remove anybody.
    pub(super) fn administrative_roles(&self, context: &OpContext) -> Vec<&'static str> {
        let blueprint = context.tenant.blueprint;
        let policies = self.inner.operations.policies();
        let removes_anybody =
            |role: &&&str| policies.scope(blueprint, &[**role], Permission::UserDelete).is_all();
        blueprint.roles().iter().filter(removes_anybody).copied().collect()
    }

    /// Refuses to take away the last administrator: 422 `last_administrator`. Whoever asks
    /// holds a lock until their transaction ends, so of two that would remove each other
    /// one stays.
    pub(super) async fn keep_an_administrator(
        &self,
        transaction: &TenantTx,
        context: &OpContext,
        (user, roles): (Uuid, &[String]),
    ) -> Result<(), Failure> {
        let administrative = self.administrative_roles(context);
        if !roles.iter().any(|role| administrative.contains(&role.as_str())) {
            return Ok(());
        }
        let tenant = context.tenant_id();
        let parameters: [&(dyn ToSql + Sync); 3] = [&tenant, &administrative, &user];
        let rows = transaction
            .pipeline(&[
                Query::new(LOCK_ADMINISTRATORS, &[&tenant]),
                Query::new(OTHER_ADMINISTRATOR, &parameters),
            ])
            .await?;
        let row = rows.last().and_then(|rows| rows.first());
        let others: bool = row
            .ok_or_else(|| DbError::Corrupt("a question without an answer".to_owned()))?
            .try_get("exists")
            .map_err(DbError::from)?;
        if others {
            return Ok(());
        }
        let detail = "Nobody would be left to administer the tenant";
        Err(Refusal::new(RefusalKind::Rule, "last_administrator", detail).into())
    }
}
