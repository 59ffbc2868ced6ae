//! The resets of second factors that wait for a second admin, as admins list them.
//!
//! Refuses to decide any.

use access::{Permission, Scope};
use operation::{Found, OperationError, Page, PageRequest, Refusal, View, read::ViewFailure};
use tenancy::{Database, DbError, OpContext, Query};
use tokio_postgres::{Row, types::ToSql};

use super::reset::ResetRequest;
use crate::{Identity, sessions::after_of};

const WAITING: &str = tenancy::sql!("identity/mfa.sql", "waiting_resets");

struct WaitingResets {
    page: PageRequest,
}

impl View for WaitingResets {
    const NAME: &'static str = "mfa.reset_list";
    const RESOURCE: &'static str = "user";
    type Output = Page<ResetRequest>;

    fn permission(&self) -> Permission {
        Permission::UserUpdate
    }

    async fn load(
        &self,
        database: &Database,
        context: &OpContext,
        scope: Scope,
    ) -> Result<Found<Self::Output>, ViewFailure> {
        // Whoever manages nobody but themselves decides nothing.
        if !scope.is_all() {
            return Err(Refusal::denied().into());
        }
        let (tenant, after, fetch) =
            (context.tenant_id(), after_of(&self.page)?, self.page.fetch());
        let parameters: [&(dyn ToSql + Sync); 3] = [&tenant, &after, &fetch];
        let rows = database.read(context, &[Query::new(WAITING, &parameters)]).await?;
        let requests = rows.iter().flatten().map(request).collect::<Result<Vec<_>, _>>()?;
        let page = Page::of(requests, &self.page, |request| request.id.to_string());
        let count = page.data.len();
        Ok(Found::List { value: page, count })
    }
}

fn request(row: &Row) -> Result<ResetRequest, DbError> {
    Ok(ResetRequest {
        id: row.try_get("id")?,
        user_id: row.try_get("user_id")?,
        requested_by: row.try_get("requested_by")?,
        expires_at: row.try_get("expires_at")?,
    })
}

impl Identity {
    /// The resets that wait for a second admin, newest first; the actor's own among them.
    pub async fn waiting_factor_resets(
        &self,
        context: &OpContext,
        page: &PageRequest,
    ) -> Result<Page<ResetRequest>, OperationError> {
        let view = WaitingResets { page: page.clone() };
        self.inner.operations.read(context, &view).await
    }
}
