//! The resets of second factors that wait for a second admin, as admins list them.
//!
//! Refuses to decide any.

use access::{Permission, Scope};
use operation::{Found, OperationError, Page, PageRequest, Refusal, View, read::ViewFailure};
use tenancy::{Database, OpContext, Query};
use tokio_postgres::types::ToSql;

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
        let requests =
            rows.iter().flatten().map(ResetRequest::read).collect::<Result<Vec<_>, _>>()?;
        let page = Page::of(requests, &self.page, |request| request.id.to_string());
        let count = page.data.len();
        Ok(Found::List { value: page, count })
    }
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
