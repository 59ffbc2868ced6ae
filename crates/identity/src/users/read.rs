//! Users as they are read.

use access::{Permission, Scope};
use operation::{
    FieldError, Found, OperationError, Page, PageRequest, Refusal, RefusalKind, View,
    read::ViewFailure,
};
use serde_json::{Value, json};
use tenancy::{Database, DbError, OpContext, Query, TenantTx, keyring::TenantKeys};
use tokio_postgres::{Row, types::ToSql};
use uuid::Uuid;

use super::model::{
    PendingRoles, UserFilter, UserRecord, UserSummary, email_key, is_email, username_key,
};
use crate::{Identity, context::key_failure, mfa::Method, sessions::after_of};

pub(super) const ONE: &str = tenancy::sql!("identity/users.sql", "one");
const LIST: &str = tenancy::sql!("identity/users.sql", "list");
const LIST_DELETED: &str = tenancy::sql!("identity/users.sql", "list_deleted");
const BY_EMAIL: &str = tenancy::sql!("identity/users.sql", "by_email");
const BY_USERNAME: &str = tenancy::sql!("identity/users.sql", "by_username");

/// Stands after every character that a user name may hold.
const AFTER_ALL: char = '{';

/// A scope as the lists of people ask for it: the conditions under which reading one person
/// is allowed, and no other. Of a person no department is known to the policies.
pub(super) struct Reach {
    /// Everybody of the tenant.
    pub(super) all: bool,
    /// Oneself.
    pub(super) own: Option<Uuid>,
    /// Those of one's organisation.
    pub(super) organization: Option<Uuid>,
}

impl Reach {
    pub(super) fn of(context: &OpContext, scope: Scope) -> Self {
        let actor = &context.actor;
        Self {
            all: scope.is_all(),
            own: scope.includes(Scope::OWN).then_some(actor.id),
            organization: actor.organization.filter(|_| scope.includes(Scope::ORGANISATION)),
        }
    }
}

/// The users that the actor may see.
pub(super) struct UserList {
    pub(super) filter: UserFilter,
    /// Of the address in the filter, by every version of the index.
    pub(super) email_indexes: Option<Vec<Vec<u8>>>,
    pub(super) page: PageRequest,
}

impl View for UserList {
    const NAME: &'static str = "user.list";
    const RESOURCE: &'static str = "user";
    type Output = Page<UserSummary>;

    fn permission(&self) -> Permission {
        Permission::UserRead
    }

    fn filter(&self) -> Option<Value> {
        let UserFilter { role, is_active, email, username, deleted } = &self.filter;
        // That somebody was looked for, never whom.
        let searched = match (email, username) {
            (Some(_), _) => Some("by_email"),
            (None, Some(_)) => Some("by_username"),
            (None, None) => None,
        };
        (role.is_some() || is_active.is_some() || searched.is_some() || *deleted).then(|| {
            json!({ "role": role, "is_active": is_active, "search": searched, "deleted": deleted })
        })
    }

    async fn load(
        &self,
        database: &Database,
        context: &OpContext,
        scope: Scope,
    ) -> Result<Found<Self::Output>, ViewFailure> {
        let after = after_of(&self.page)?;
        let (tenant, fetch, filter) = (context.tenant_id(), self.page.fetch(), &self.filter);
        let Reach { all, own, organization } = Reach::of(context, scope);
        let (role, is_active) = (&filter.role, &filter.is_active);
        let everybody: [&(dyn ToSql + Sync); 8] =
            [&tenant, &all, &own, &after, role, is_active, &fetch, &organization];
        let deleted: [&(dyn ToSql + Sync); 6] = [&tenant, &all, &after, role, is_active, &fetch];
        let searched: [&(dyn ToSql + Sync); 7] =
            [&tenant, &all, &own, &self.email_indexes, role, is_active, &organization];
        let from = filter.username.as_deref().map(username_key);
        let to = from.as_ref().map(|from| format!("{from}{AFTER_ALL}"));
        let among_deleted = &filter.deleted;
        let named: [&(dyn ToSql + Sync); 11] = [
            &tenant,
            &all,
            &own,
            &from,
            &to,
            role,
            is_active,
            among_deleted,
            &after,
            &fetch,
            &organization,
        ];
        let query = match (&self.email_indexes, &from, filter.deleted) {
            (Some(_), ..) => Query::new(BY_EMAIL, &searched),
            (None, Some(_), _) => Query::new(BY_USERNAME, &named),
            (None, None, true) => Query::new(LIST_DELETED, &deleted),
            (None, None, false) => Query::new(LIST, &everybody),
        };
        let rows = database.read(context, &[query]).await?;
        let mut users = (rows.first().map_or(&[][..], Vec::as_slice).iter())
            .map(summary)
            .collect::<Result<Vec<_>, _>>()?;
        // An address has one owner, who has to have the name as well.
        if let Some(from) = &from {
            users.retain(|user| username_key(&user.username).starts_with(from.as_str()));
        }
        let page = Page::of(users, &self.page, |user| user.id.to_string());
        let count = page.data.len();
        Ok(Found::List { value: page, count })
    }
}

impl Identity {
    /// What an address is found by.
    pub(super) async fn email_indexes(
        &self,
        context: &OpContext,
        email: &str,
        among_deleted: bool,
    ) -> Result<Vec<Vec<u8>>, OperationError> {
        let fault = |message: &str| Refusal {
            errors: vec![FieldError {
                field: "email".into(),
                code: "invalid_value".into(),
                message: message.to_owned(),
            }],
            ..Refusal::new(RefusalKind::Malformed, "invalid_value", message)
        };
        if !is_email(email.trim()) {
            return Err(fault("Not an e-mail address").into());
        }
        if among_deleted {
            return Err(fault("Those who were deleted have no address left").into());
        }
        let state = self.state(context).await?;
        Ok(state.keys.indexes("users.email", &email_key(email)))
    }

    /// A user right after a command that recorded the access itself.
    pub(crate) async fn unaudited_user(
        &self,
        context: &OpContext,
        user: Uuid,
    ) -> Result<UserRecord, OperationError> {
        let tenant = context.tenant_id();
        let parameters: [&(dyn tokio_postgres::types::ToSql + Sync); 2] = [&tenant, &user];
        let rows =
            self.inner.operations.database().look_up(context, Query::new(ONE, &parameters)).await?;
        let row = rows.first().ok_or_else(Refusal::not_found)?;
        Ok(self.opening(context, |keys| record(keys, row)).await?)
    }
}

/// A person as they stand in a transaction that has its own record.
pub(crate) async fn person_in(
    transaction: &TenantTx,
    keys: &TenantKeys,
    user: Uuid,
) -> Result<Option<UserRecord>, DbError> {
    let row = transaction.query_opt(ONE, &[&transaction.tenant(), &user]).await?;
    row.map(|row| record(keys, &row)).transpose()
}

/// A row of [`ONE`] with its sealed fields opened; an erased person has none.
pub(super) fn record(keys: &TenantKeys, row: &Row) -> Result<UserRecord, DbError> {
    let id: Uuid = row.try_get("id")?;
    let wrapped: Option<Vec<u8>> = row.try_get("wrapped_key")?;
    let subject = match (row.try_get::<_, Option<Uuid>>("key_id")?, wrapped) {
        (Some(key_id), Some(wrapped)) => {
            let subject = keys.open_subject_key(key_id, row.try_get("kek_epoch")?, Some(wrapped));
            Some(subject.map_err(key_failure)?)
        }
        _ => None,
    };
    let open = |column: &str| -> Result<Option<String>, DbError> {
        let sealed: Option<Vec<u8>> = row.try_get(column)?;
        let (Some(subject), Some(sealed)) = (&subject, sealed) else { return Ok(None) };
        keys.open(subject, ("users", column, id), sealed).map(Some).map_err(key_failure)
    };
    Ok(UserRecord {
        id,
        username: row.try_get("username")?,
        email: open("email_sealed")?,
        phone: open("phone_sealed")?,
        email_verified_at: row.try_get("email_verified_at")?,
        phone_verified_at: row.try_get("phone_verified_at")?,
        full_name: open("full_name_sealed")?,
        role: row.try_get("role")?,
        roles: row.try_get("roles")?,
        pending_roles: pending_roles(row)?,
        is_active: row.try_get("is_active")?,
        mfa_enabled: row.try_get("mfa_enabled")?,
        department: row.try_get("department")?,
        organization_id: row.try_get("organization_id")?,
        referral_code: row.try_get("referral_code")?,
        password_changed_at: row.try_get("password_changed_at")?,
        last_login_at: row.try_get("last_login_at")?,
        locked_until: row.try_get("locked_until")?,
        lock_reason: row.try_get("staff_lock_reason")?,
        has_password: row.try_get("has_password")?,
        factors: (row.try_get::<_, Vec<String>>("factors")?.iter())
            .filter_map(|name| Method::of(name))
            .collect(),
        created_at: row.try_get("created_at")?,
        updated_at: row.try_get("updated_at")?,
        version: row.try_get("version")?,
    })
}

/// What waits for others to agree, where something does.
fn pending_roles(row: &Row) -> Result<Option<PendingRoles>, DbError> {
    let Some(approval_id) = row.try_get("pending_approval_id")? else { return Ok(None) };
    Ok(Some(PendingRoles { approval_id, roles: row.try_get("pending_roles")? }))
}

fn summary(row: &Row) -> Result<UserSummary, DbError> {
    Ok(UserSummary {
        id: row.try_get("id")?,
        username: row.try_get("username")?,
        role: row.try_get("role")?,
        is_active: row.try_get("is_active")?,
        mfa_enabled: row.try_get("mfa_enabled")?,
        department: row.try_get("department")?,
        organization_id: row.try_get("organization_id")?,
        last_login_at: row.try_get("last_login_at")?,
        locked_until: row.try_get("locked_until")?,
        lock_reason: row.try_get("staff_lock_reason")?,
        deleted_at: row.try_get("deleted_at")?,
        created_at: row.try_get("created_at")?,
        updated_at: row.try_get("updated_at")?,
        version: row.try_get("version")?,
    })
}
