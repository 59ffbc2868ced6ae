//! Reading holds: one, and lists confined to what the actor may see.

use access::{Permission, Scope};
use ledger::{Hold, HoldStatus};
use operation::{Found, Page, PageRequest, View, read::ViewFailure};
use serde_json::{Value, json};
use tenancy::{Database, OpContext, Query};
use tokio_postgres::{Row, types::ToSql};
use uuid::Uuid;

use super::RESOURCE;
use crate::{accounts::resource_of, paging::Position};

const HOLD: &str = tenancy::sql!("banking/holds.sql", "hold");
const LIST_ALL: &str = tenancy::sql!("banking/holds.sql", "list_all");
const LIST_OF_ACCOUNT: &str = tenancy::sql!("banking/holds.sql", "list_of_account");
const LIST_OWN: &str = tenancy::sql!("banking/holds.sql", "list_own");

/// One hold; seen by the side that the money is kept back on.
#[derive(Clone, Copy, Debug)]
pub struct HoldView {
    /// Which.
    pub hold_id: Uuid,
}

/// Which holds of a list; what is `None` does not narrow it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HoldFilter {
    /// Kept back on this account.
    pub account_id: Option<Uuid>,
    /// In this status.
    pub status: Option<HoldStatus>,
}

/// Holds, the newest first, then by id.
#[derive(Clone, Debug, Default)]
pub struct HoldList {
    /// Which.
    pub filter: HoldFilter,
    /// Which page.
    pub page: PageRequest,
}

impl View for HoldView {
    const NAME: &'static str = "hold.read";
    const RESOURCE: &'static str = RESOURCE;
    type Output = Hold;

    fn permission(&self) -> Permission {
        Permission::HoldRead
    }

    fn object(&self) -> Option<Uuid> {
        Some(self.hold_id)
    }

    async fn load(
        &self,
        database: &Database,
        context: &OpContext,
        _scope: Scope,
    ) -> Result<Found<Hold>, ViewFailure> {
        let tenant = context.tenant_id();
        let parameters: [&(dyn ToSql + Sync); 3] = [&tenant, &self.hold_id, &context.actor.id];
        let rows = database.look_up(context, Query::new(HOLD, &parameters)).await?;
        let Some(row) = rows.first() else {
            return Ok(Found::Missing);
        };
        let resource = resource_of(row, Permission::HoldRead, self.hold_id)?;
        Ok(Found::Object { value: Hold::from_row(row)?, resource })
    }
}

impl View for HoldList {
    const NAME: &'static str = "hold.list";
    const RESOURCE: &'static str = RESOURCE;
    type Output = Page<Hold>;

    fn permission(&self) -> Permission {
        Permission::HoldRead
    }

    fn filter(&self) -> Option<Value> {
        let HoldFilter { account_id, status } = self.filter;
        (account_id.is_some() || status.is_some())
            .then(|| json!({ "account_id": account_id, "status": status }))
    }

    async fn load(
        &self,
        database: &Database,
        context: &OpContext,
        scope: Scope,
    ) -> Result<Found<Page<Hold>>, ViewFailure> {
        let rows = self.rows(database, context, scope).await?;
        let holds: Vec<Hold> = rows.iter().map(Hold::from_row).collect::<Result<_, _>>()?;
        let page = Page::of(holds, &self.page, |last| Position::text(last.created_at, last.id));
        let count = page.data.len();
        Ok(Found::List { value: page, count })
    }
}

impl HoldList {
    async fn rows(
        &self,
        database: &Database,
        context: &OpContext,
        scope: Scope,
    ) -> Result<Vec<Row>, ViewFailure> {
        let bound = Position::of(&self.page)?;
        let tenant = context.tenant_id();
        let status = self.filter.status.map(HoldStatus::as_str);
        // Everything narrower than "all" is "own": holds know no other scope.
        let party = (!scope.is_all()).then_some(context.actor.id);
        let fetch = self.page.fetch();
        let account_id = self.filter.account_id;
        let all: [&(dyn ToSql + Sync); 7] =
            [&tenant, &bound.created_at, &bound.id, &status, &fetch, &party, &account_id];
        let query = match (account_id, party) {
            (Some(_), _) => Query::new(LIST_OF_ACCOUNT, &all),
            (None, Some(_)) => Query::new(LIST_OWN, &all[..6]),
            (None, None) => Query::new(LIST_ALL, &all[..5]),
        };
        Ok(database.read(context, &[query]).await?.pop().unwrap_or_default())
    }
}
