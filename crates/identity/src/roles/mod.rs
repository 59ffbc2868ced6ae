//! Roles: those of the blueprint, and those that administrators make of permissions and
//! conditions for their own tenant.
//!
//! A custom role holds no more than whoever writes it holds under any circumstances, and
//! nobody writes a role that they hold themselves, nor one that the mightier hold. A change
//! takes effect with its transaction: writes read what their actor holds, and the sessions of
//! the holders end. Whoever changed it has a hand in their access from then on.
//!
//! Refuses to know what a permission means: `access` parses and decides.

mod commands;

use access::{Permission, Resource, RoleDefinition, RolePermission, Scope};
use jiff::Timestamp;
use operation::{
    Call, Found, OperationError, Page, PageRequest, Refusal, RefusalKind, View, page::LIMIT_MAX,
    read::ViewFailure,
};
use serde::{Deserialize, Serialize};
use tenancy::{ActorKind, Blueprint, Database, DbError, OpContext, Query};
use tokio_postgres::{Row, types::ToSql};
use uuid::Uuid;

use crate::{Identity, sessions::Forgotten, version};
use commands::{CHANGED, ChangeRole, CreateRole, DeleteRole, checked, writable};

const LIST: &str = tenancy::sql!("identity/roles.sql", "list");
const ONE: &str = tenancy::sql!("identity/roles.sql", "one");

/// Whose a role is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RoleType {
    /// The blueprint's.
    System,
    /// The tenant's own.
    Custom,
}

/// A role of a tenant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoleRecord {
    /// Its id.
    pub id: Uuid,
    /// By which people hold it.
    pub name: String,
    /// Whose it is.
    pub role_type: RoleType,
    /// What it may do.
    pub permissions: Vec<RolePermission>,
    /// How many people hold it.
    pub holders: i64,
    /// Counts changes.
    pub version: i64,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
}

impl Identity {
    /// The tenant's roles, by name.
    pub async fn roles(
        &self,
        context: &OpContext,
        page: &PageRequest,
    ) -> Result<Page<RoleRecord>, OperationError> {
        let view = RoleList { identity: self.clone(), page: page.clone() };
        self.inner.operations.read(context, &view).await
    }

    /// One role.
    pub async fn role(
        &self,
        context: &OpContext,
        role: Uuid,
    ) -> Result<RoleRecord, OperationError> {
        let view = OneRole { identity: self.clone(), role };
        self.inner.operations.read(context, &view).await
    }

    /// Makes a custom role. Refused in this order: not permitted (a machine never is),
    /// `step_up_required`, every field at fault together, `privilege_escalation`,
    /// `too_many_roles`, `role_exists`.
    pub async fn create_role(
        &self,
        context: &OpContext,
        idempotency_key: Option<String>,
        definition: RoleDefinition,
    ) -> Result<RoleRecord, OperationError> {
        self.prove_for_roles(context).await?;
        let id = context.clock.new_id();
        let command = CreateRole { identity: self.clone(), id, definition };
        let call = Call { context: context.clone(), idempotency_key, command };
        Ok(self.inner.operations.run_one(call).await?.output)
    }

    /// Has a custom role do something else from now on, and ends the sessions of whoever
    /// holds it. Refused as [`Self::create_role`], and: `system_role`, `own_role`, another
    /// version than the one that was seen (`version_conflict`).
    pub async fn change_role(
        &self,
        context: &OpContext,
        (role, expected_version): (Uuid, Option<i64>),
        permissions: Vec<RolePermission>,
    ) -> Result<RoleRecord, OperationError> {
        self.prove_for_roles(context).await?;
        let command = ChangeRole { identity: self.clone(), role, expected_version, permissions };
        self.run_and_forget(context, command, Forgotten::Everybody).await
    }

    /// Ends a custom role that nobody holds any more (`role_in_use`).
    pub async fn delete_role(
        &self,
        context: &OpContext,
        (role, expected_version): (Uuid, Option<i64>),
    ) -> Result<(), OperationError> {
        self.prove_for_roles(context).await?;
        let command = DeleteRole { identity: self.clone(), role, expected_version };
        self.run_and_forget(context, command, Forgotten::Everybody).await
    }

    /// Refuses what writing the role would refuse of it as it stands now, and changes nothing;
    /// answers the role as it is, none where it is still to be made. Whether a name is taken
    /// and whether a tenant has too many is known when it is made.
    pub async fn preview_role(
        &self,
        context: &OpContext,
        role: Option<(Uuid, i64)>,
        definition: &RoleDefinition,
    ) -> Result<Option<RoleRecord>, OperationError> {
        if !self.may(context, Permission::SettingsUpdate) {
            return Err(Refusal::denied().into());
        }
        no_machine(context)?;
        self.prove_for_roles(context).await?;
        let before = match role {
            None => None,
            Some((role, expected_version)) => {
                let before = self.role(context, role).await?;
                self.check_power_over_role(context, &before)?;
                version::same(before.version, Some(expected_version), CHANGED)?;
                Some(before)
            }
        };
        self.check_reach(context, &writable(definition)?)?;
        Ok(before)
    }

    /// The custom roles that the actor may give, by name, as far as they may look at roles.
    pub async fn grantable_custom_roles(
        &self,
        context: &OpContext,
    ) -> Result<Vec<String>, OperationError> {
        let (mut names, mut page) =
            (Vec::new(), PageRequest { limit: LIMIT_MAX, after: None, ..PageRequest::default() });
        if !self.may(context, Permission::SettingsView) {
            return Ok(names);
        }
        loop {
            let found = self.roles(context, &page).await?;
            let may_give = |role: &RoleRecord| {
                role.role_type == RoleType::Custom
                    && checked(&commands::definition_of(role))
                        .is_ok_and(|role| self.check_reach(context, &role).is_ok())
            };
            names.extend(found.data.into_iter().filter(may_give).map(|role| role.name));
            match found.next {
                None => return Ok(names),
                next => page.after = next,
            }
        }
    }

    /// Whether the actor may change a role as it is: it is a custom one, not one of theirs, and
    /// nothing of it is more than they hold.
    fn check_power_over_role(&self, context: &OpContext, role: &RoleRecord) -> Result<(), Refusal> {
        if role.role_type == RoleType::System {
            let detail = "What a system role may do is its blueprint's";
            return Err(Refusal::new(RefusalKind::Rule, "system_role", detail));
        }
        if context.actor.roles.contains(&role.name) {
            let detail = "Nobody changes a role that they hold";
            return Err(Refusal::new(RefusalKind::Denied, "own_role", detail));
        }
        self.check_reach(context, &checked(&commands::definition_of(role))?)
    }

    /// What a role may do is worth a second factor, to whoever may say so at all: whoever has
    /// none, or used none of late, is refused with `step_up_required`.
    pub async fn prove_for_roles(&self, context: &OpContext) -> Result<(), OperationError> {
        if self.may(context, Permission::SettingsUpdate) {
            self.require_factor_of_people(context).await?;
        }
        Ok(())
    }

    fn role_record(&self, blueprint: Blueprint, row: &Row) -> Result<RoleRecord, DbError> {
        let (name, definition): (String, Option<String>) =
            (row.try_get("name")?, row.try_get("definition")?);
        let custom: Option<RoleDefinition> = (definition.as_deref().map(serde_json::from_str))
            .transpose()
            .map_err(|error| DbError::Corrupt(format!("role {name}: {error}")))?;
        let (role_type, permissions) = if let Some(custom) = custom {
            (RoleType::Custom, custom.permissions)
        } else {
            let policies = self.inner.operations.policies();
            (RoleType::System, policies.permissions_of_role(blueprint, &name))
        };
        Ok(RoleRecord {
            id: row.try_get("id")?,
            name,
            role_type,
            permissions,
            holders: row.try_get("holders")?,
            version: row.try_get("version")?,
            created_at: row.try_get("created_at")?,
            updated_at: row.try_get("updated_at")?,
        })
    }
}

/// What roles may do is decided by people, and by the operator at the command line.
fn no_machine(context: &OpContext) -> Result<(), Refusal> {
    if context.actor.kind == ActorKind::ApiKey { Err(Refusal::denied()) } else { Ok(()) }
}

/// A role as policy sees it: nobody's own.
fn resource(role: Uuid) -> Resource<'static> {
    Resource::for_permission(Permission::SettingsView, Some(role))
}

struct RoleList {
    identity: Identity,
    page: PageRequest,
}

impl View for RoleList {
    const NAME: &'static str = "role.list";
    const RESOURCE: &'static str = "role";
    type Output = Page<RoleRecord>;

    fn permission(&self) -> Permission {
        Permission::SettingsView
    }

    async fn load(
        &self,
        database: &Database,
        context: &OpContext,
        _: Scope,
    ) -> Result<Found<Self::Output>, ViewFailure> {
        let after = self.page.after.as_deref();
        if after.is_some_and(|after| after.len() > 50) {
            let detail = "The cursor is not of this list";
            return Err(Refusal::new(RefusalKind::Malformed, "invalid_cursor", detail).into());
        }
        let (tenant, fetch) = (context.tenant_id(), self.page.fetch());
        let parameters: [&(dyn ToSql + Sync); 3] = [&tenant, &after, &fetch];
        let rows = database.read(context, &[Query::new(LIST, &parameters)]).await?;
        let blueprint = context.tenant.blueprint;
        let records = (rows.first().map_or(&[][..], Vec::as_slice).iter())
            .map(|row| self.identity.role_record(blueprint, row))
            .collect::<Result<Vec<_>, _>>()?;
        let page = Page::of(records, &self.page, |record| record.name.clone());
        let count = page.data.len();
        Ok(Found::List { value: page, count })
    }
}

struct OneRole {
    identity: Identity,
    role: Uuid,
}

impl View for OneRole {
    const NAME: &'static str = "role.read";
    const RESOURCE: &'static str = "role";
    type Output = RoleRecord;

    fn permission(&self) -> Permission {
        Permission::SettingsView
    }

    fn object(&self) -> Option<Uuid> {
        Some(self.role)
    }

    async fn load(
        &self,
        database: &Database,
        context: &OpContext,
        _: Scope,
    ) -> Result<Found<Self::Output>, ViewFailure> {
        let tenant = context.tenant_id();
        let parameters: [&(dyn ToSql + Sync); 2] = [&tenant, &self.role];
        let rows = database.read(context, &[Query::new(ONE, &parameters)]).await?;
        let Some(row) = rows.first().and_then(|rows| rows.first()) else {
            return Ok(Found::Missing);
        };
        let value = self.identity.role_record(context.tenant.blueprint, row)?;
        Ok(Found::Object { value, resource: resource(self.role) })
    }
}
