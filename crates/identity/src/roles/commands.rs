//! The commands on one custom role.

use access::{CustomRole, Permission, RoleDefinition, RolePermission};
use audit::{AuditEvent, EventType};
use operation::{Applied, Command, Failure, FieldError, Refusal, RefusalKind, Target, event};
use serde_json::{Value, json};
use tenancy::{DbError, OpContext, Query, TenantTx};
use tokio_postgres::types::ToSql;
use uuid::Uuid;

use super::{ONE, RoleRecord, no_machine, resource};
use crate::{Identity, version};

const LOCK_ALL: &str = tenancy::sql!("identity/roles.sql", "lock_all");
const ROLES_OF_HOLDERS: &str = tenancy::sql!("identity/roles.sql", "roles_of_holders");
const REMEMBER_HANDS: &str = tenancy::sql!("identity/roles.sql", "remember_hands");
const COUNT: &str = tenancy::sql!("identity/roles.sql", "count");
const CREATE: &str = tenancy::sql!("identity/roles.sql", "create");
const LOCK: &str = tenancy::sql!("identity/roles.sql", "lock");
const RAISE_VERSION: &str = tenancy::sql!("identity/roles.sql", "raise_version");
const FORGET_PERMISSIONS: &str = tenancy::sql!("identity/roles.sql", "forget_permissions");
const PERMIT: &str = tenancy::sql!("identity/roles.sql", "permit");
const END_SESSIONS: &str = tenancy::sql!("identity/roles.sql", "end_sessions_of_holders");
const DELETE: &str = tenancy::sql!("identity/roles.sql", "delete");

/// Holders of a role whose sessions end when it changes.
const ENDED_MAX: i64 = 1_000;
/// The custom roles of one tenant.
const ROLES_MAX: i64 = 200;
/// Of a `version_conflict`.
pub(super) const CHANGED: &str = "The role was changed since it was read";

/// Makes one.
pub(super) struct CreateRole {
    pub(super) identity: Identity,
    pub(super) id: Uuid,
    pub(super) definition: RoleDefinition,
}

/// Has one do something else.
pub(super) struct ChangeRole {
    pub(super) identity: Identity,
    pub(super) role: Uuid,
    pub(super) expected_version: Option<i64>,
    pub(super) permissions: Vec<RolePermission>,
}

/// Ends one.
pub(super) struct DeleteRole {
    pub(super) identity: Identity,
    pub(super) role: Uuid,
    pub(super) expected_version: Option<i64>,
}

/// The role, or every fault of its definition.
pub(super) fn checked(definition: &RoleDefinition) -> Result<CustomRole, Refusal> {
    let mut errors = match CustomRole::parse(definition) {
        Ok(role) => match unknown_currencies(definition) {
            errors if errors.is_empty() => return Ok(role),
            errors => errors,
        },
        Err(faults) => faults
            .into_iter()
            .map(|fault| FieldError {
                field: fault.field.into(),
                code: fault.code.into(),
                message: fault.message,
            })
            .collect(),
    };
    errors.truncate(32);
    Err(Refusal::validation(errors))
}

/// The same of one that is to be written: it is kept spelled out.
pub(super) fn writable(definition: &RoleDefinition) -> Result<CustomRole, Refusal> {
    let role = checked(definition)?;
    match role.check_size() {
        Ok(()) => Ok(role),
        Err(fault) => Err(Refusal::validation(vec![FieldError {
            field: fault.field.into(),
            code: fault.code.into(),
            message: fault.message,
        }])),
    }
}

/// Ceilings in what is no currency.
fn unknown_currencies(definition: &RoleDefinition) -> Vec<FieldError> {
    let unknown = |(index, wanted): (usize, &RolePermission)| {
        let max = wanted.conditions.amount_max.as_ref()?;
        let error = max.currency.parse::<money::Currency>().err()?;
        Some(FieldError {
            field: format!("permissions[{index}].conditions.amount_max.currency").into(),
            code: "invalid_value".into(),
            message: error.to_string(),
        })
    };
    definition.permissions.iter().enumerate().filter_map(unknown).collect()
}

async fn stored(
    transaction: &TenantTx,
    context: &OpContext,
    (identity, role): (&Identity, Uuid),
) -> Result<RoleRecord, Failure> {
    let row = transaction.query_opt(ONE, &[&transaction.tenant(), &role]).await?;
    let row = row.ok_or_else(Refusal::not_found)?;
    Ok(identity.role_record(context.tenant.blueprint, &row)?)
}

async fn target(transaction: &TenantTx, role: Uuid) -> Result<Target, DbError> {
    let row = transaction.query_opt(ONE, &[&transaction.tenant(), &role]).await?;
    let object = || Target::Object {
        resource: resource(role),
        read_permission: Permission::SettingsView,
        field: None,
    };
    Ok(row.map_or(Target::Missing { field: None }, |_| object()))
}

/// The role behind its lock, where the actor has power over it as it is: it is a custom one,
/// not one of theirs, and nothing of it is more than they hold.
async fn locked(
    transaction: &TenantTx,
    context: &OpContext,
    (identity, role, expected_version): (&Identity, Uuid, Option<i64>),
) -> Result<RoleRecord, Failure> {
    no_machine(context)?;
    // Whose it is never changes; row security has the blueprint's locked by nobody.
    let known = stored(transaction, context, (identity, role)).await?;
    identity.check_power_over_role(context, &known)?;
    let row = transaction.query_opt(LOCK, &[&transaction.tenant(), &role]).await?;
    version::check(row.as_ref(), expected_version, CHANGED)?;
    let before = stored(transaction, context, (identity, role)).await?;
    identity.check_power_over_role(context, &before)?;
    if !context.actor.is_system() {
        // Nobody ends the sessions, or takes the power, of the mightier.
        let parameters: [&(dyn ToSql + Sync); 2] = [&transaction.tenant(), &before.name];
        let rows = transaction.query(ROLES_OF_HOLDERS, &parameters).await?;
        let roles: Vec<String> = rows
            .iter()
            .map(|row| row.try_get("role"))
            .collect::<Result<_, _>>()
            .map_err(DbError::from)?;
        identity.check_grants(transaction, context, &roles).await?;
    }
    Ok(before)
}

pub(super) fn definition_of(record: &RoleRecord) -> RoleDefinition {
    RoleDefinition { name: record.name.clone(), permissions: record.permissions.clone() }
}

fn as_json(permissions: &[RolePermission]) -> Result<Value, DbError> {
    serde_json::to_value(permissions).map_err(|error| DbError::Corrupt(error.to_string()))
}

fn record(context: &OpContext, name: &'static str, (role, version): (Uuid, i64)) -> AuditEvent {
    event(context, EventType::RoleChange, name, "role").resource_id(role).at_version(version)
}

impl Command for CreateRole {
    const NAME: &'static str = "role.create";
    const RESOURCE: &'static str = "role";
    type Output = RoleRecord;

    fn permission(&self) -> Permission {
        Permission::SettingsUpdate
    }

    fn fingerprint(&self) -> Value {
        json!({ "name": self.definition.name, "permissions": self.definition.permissions })
    }

    async fn execute(
        &self,
        transaction: &TenantTx,
        context: &OpContext,
    ) -> Result<Applied<RoleRecord>, Failure> {
        no_machine(context)?;
        let role = writable(&self.definition)?;
        self.identity.check_reach(context, &role)?;
        let tenant = context.tenant_id();
        transaction.query(LOCK_ALL, &[&tenant]).await?;
        let row = transaction.query_opt(COUNT, &[&tenant]).await?;
        let known: i64 = row.map_or(Ok(0), |row| row.try_get("roles")).map_err(DbError::from)?;
        if known >= ROLES_MAX {
            let detail = format!("A tenant has {ROLES_MAX} custom roles at most");
            return Err(Refusal::new(RefusalKind::Rule, "too_many_roles", detail).into());
        }
        let permissions = as_json(&role.spelled_out())?;
        let create: [&(dyn ToSql + Sync); 3] = [&tenant, &self.id, &self.definition.name];
        let permit: [&(dyn ToSql + Sync); 3] = [&tenant, &self.id, &permissions];
        transaction
            .pipeline(&[Query::new(CREATE, &create), Query::new(PERMIT, &permit)])
            .await
            .map_err(taken)?;
        let output = stored(transaction, context, (&self.identity, self.id)).await?;
        let event = record(context, Self::NAME, (self.id, output.version))
            .new_values(json!({ "name": output.name, "permissions": permissions }));
        Ok(Applied { output, status: 201, events: vec![event] })
    }
}

impl Command for ChangeRole {
    const NAME: &'static str = "role.update";
    const RESOURCE: &'static str = "role";
    type Output = RoleRecord;

    fn permission(&self) -> Permission {
        Permission::SettingsUpdate
    }

    async fn target(&self, transaction: &TenantTx, _: &OpContext) -> Result<Target, DbError> {
        target(transaction, self.role).await
    }

    async fn execute(
        &self,
        transaction: &TenantTx,
        context: &OpContext,
    ) -> Result<Applied<RoleRecord>, Failure> {
        let wanted = (&self.identity, self.role, self.expected_version);
        let before = locked(transaction, context, wanted).await?;
        let name = before.name.clone();
        let definition = RoleDefinition { name, permissions: self.permissions.clone() };
        let role = writable(&definition)?;
        self.identity.check_reach(context, &role)?;
        if role.spelled_out() == before.permissions {
            let unchanged = event(context, EventType::RoleChange, Self::NAME, "role")
                .resource_id(self.role)
                .details(json!({ "changed": false }));
            return Ok(Applied { output: before, status: 200, events: vec![unchanged] });
        }
        self.identity.check_widening(transaction, context, (&before, &role)).await?;
        let tenant = context.tenant_id();
        let permissions = as_json(&role.spelled_out())?;
        let one: [&(dyn ToSql + Sync); 2] = [&tenant, &self.role];
        let permit: [&(dyn ToSql + Sync); 3] = [&tenant, &self.role, &permissions];
        let (actor, is_system) = (context.actor.id, context.actor.is_system());
        let hands: [&(dyn ToSql + Sync); 4] = [&tenant, &before.name, &actor, &is_system];
        let holders: [&(dyn ToSql + Sync); 3] = [&tenant, &before.name, &ENDED_MAX];
        transaction
            .pipeline(&[
                Query::new(RAISE_VERSION, &one),
                Query::new(FORGET_PERMISSIONS, &one),
                Query::new(PERMIT, &permit),
                Query::new(REMEMBER_HANDS, &hands),
                Query::new(END_SESSIONS, &holders),
            ])
            .await?;
        let output = stored(transaction, context, (&self.identity, self.role)).await?;
        let event = record(context, Self::NAME, (self.role, output.version))
            .old_values(json!({ "permissions": as_json(&before.permissions)? }))
            .new_values(json!({ "permissions": permissions, "holders": output.holders }));
        Ok(Applied { output, status: 200, events: vec![event] })
    }
}

impl Command for DeleteRole {
    const NAME: &'static str = "role.delete";
    const RESOURCE: &'static str = "role";
    type Output = ();

    fn permission(&self) -> Permission {
        Permission::SettingsUpdate
    }

    async fn target(&self, transaction: &TenantTx, _: &OpContext) -> Result<Target, DbError> {
        target(transaction, self.role).await
    }

    async fn execute(
        &self,
        transaction: &TenantTx,
        context: &OpContext,
    ) -> Result<Applied<()>, Failure> {
        let wanted = (&self.identity, self.role, self.expected_version);
        let before = locked(transaction, context, wanted).await?;
        if before.holders > 0 {
            return Err(in_use(&format!("{} people hold this role", before.holders)).into());
        }
        let tenant = context.tenant_id();
        transaction.execute(DELETE, &[&tenant, &self.role]).await.map_err(held)?;
        let event = record(context, Self::NAME, (self.role, before.version + 1)).old_values(
            json!({ "name": before.name, "permissions": as_json(&before.permissions)? }),
        );
        Ok(Applied { output: (), status: 204, events: vec![event] })
    }
}

fn in_use(detail: &str) -> Refusal {
    Refusal::new(RefusalKind::Conflict, "role_in_use", detail)
}

/// Somebody was given the role meanwhile.
fn held(error: DbError) -> Failure {
    match error.constraint() {
        Some("user_roles_role_known" | "users_role_known") => {
            in_use("Somebody holds this role").into()
        }
        _ => Failure::Database(error),
    }
}

fn taken(error: DbError) -> Failure {
    match error.constraint() {
        Some("roles_pkey") => {
            let refusal = Refusal::rule("role_exists", "name", "There is a role of this name");
            Refusal { kind: RefusalKind::Conflict, ..refusal }.into()
        }
        _ => Failure::Database(error),
    }
}
