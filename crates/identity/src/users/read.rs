//! Users as they are read.

use access::{Permission, Scope};
use operation::{Found, OperationError, Page, PageRequest, Refusal, View, read::ViewFailure};
use tenancy::{Database, DbError, OpContext, Query, TenantTx, keyring::TenantKeys};
use tokio_postgres::Row;
use uuid::Uuid;

use super::model::{UserFilter, UserRecord, UserSummary};
use crate::{Identity, context::key_failure, sessions::after_of};

pub(super) const ONE: &str = tenancy::sql!("identity/users.sql", "one");
const LIST: &str = tenancy::sql!("identity/users.sql", "list");

/// The users that the actor may see.
pub(super) struct UserList {
    pub(super) filter: UserFilter,
    pub(super) page: PageRequest,
}

impl View for UserList {
    const NAME: &'static str = "user.list";
    const RESOURCE: &'static str = "user";
    type Output = Page<UserSummary>;

    fn permission(&self) -> Permission {
        Permission::UserRead
    }

    async fn load(
        &self,
        database: &Database,
        context: &OpContext,
        scope: Scope,
    ) -> Result<Found<Self::Output>, ViewFailure> {
        let after = after_of(&self.page)?;
        let (tenant, all, fetch) = (context.tenant_id(), scope.is_all(), self.page.fetch());
        let filter = &self.filter;
        let parameters: [&(dyn tokio_postgres::types::ToSql + Sync); 7] =
            [&tenant, &all, &context.actor.id, &after, &filter.role, &filter.is_active, &fetch];
        let rows = database.read(context, &[Query::new(LIST, &parameters)]).await?;
        let users = (rows.first().map_or(&[][..], Vec::as_slice).iter())
            .map(summary)
            .collect::<Result<Vec<_>, _>>()?;
        let page = Page::of(users, &self.page, |user| user.id.to_string());
        let count = page.data.len();
        Ok(Found::List { value: page, count })
    }
}

impl Identity {
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
        let state = self.state(context).await?;
        Ok(record(&state.keys, row)?)
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
            Some(keys.open_subject_key(key_id, Some(wrapped)).map_err(key_failure)?)
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
        full_name: open("full_name_sealed")?,
        role: row.try_get("role")?,
        roles: row.try_get("roles")?,
        is_active: row.try_get("is_active")?,
        mfa_enabled: row.try_get("mfa_enabled")?,
        department: row.try_get("department")?,
        organization_id: row.try_get("organization_id")?,
        referral_code: row.try_get("referral_code")?,
        password_changed_at: row.try_get("password_changed_at")?,
        last_login_at: row.try_get("last_login_at")?,
        locked_until: row.try_get("locked_until")?,
        created_at: row.try_get("created_at")?,
        updated_at: row.try_get("updated_at")?,
        version: row.try_get("version")?,
    })
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
        created_at: row.try_get("created_at")?,
        updated_at: row.try_get("updated_at")?,
        version: row.try_get("version")?,
    })
}
