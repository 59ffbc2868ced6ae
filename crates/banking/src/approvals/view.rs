//! Reading approvals: one, and lists confined to what the actor may see. Their makers
//! see their own, whoever is a party to an account what is asked of its money, and
//! whoever reads all transactions all of them.

use access::{Permission, Scope};
use operation::{Found, Page, PageRequest, View, read::ViewFailure};
use serde_json::{Value, json};
use tenancy::{Database, OpContext, Query};
use tokio_postgres::types::ToSql;
use uuid::Uuid;

use super::{Approval, ApprovalKind, ApprovalStatus, RESOURCE};
use crate::{accounts::resource_of, paging::Position};

const APPROVAL: &str = tenancy::sql!("banking/approvals.sql", "approval");
const LIST_ALL: &str = tenancy::sql!("banking/approvals.sql", "list_all");
const LIST_OWN: &str = tenancy::sql!("banking/approvals.sql", "list_own");
/// One movement, posted or waiting.
pub(crate) const TRANSFER: &str = tenancy::sql!("banking/approvals.sql", "transfer");

/// One approval.
#[derive(Clone, Copy, Debug)]
pub struct ApprovalView {
    /// Which.
    pub approval_id: Uuid,
}

/// Which approvals of a list; what is `None` does not narrow it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ApprovalFilter {
    /// In this status, as it reads.
    pub status: Option<ApprovalStatus>,
    /// Of this kind.
    pub kind: Option<ApprovalKind>,
}

/// Approvals, the newest first, then by id.
#[derive(Clone, Debug, Default)]
pub struct ApprovalList {
    /// Which.
    pub filter: ApprovalFilter,
    /// Which page.
    pub page: PageRequest,
}

impl View for ApprovalView {
    const NAME: &'static str = "approval.read";
    const RESOURCE: &'static str = RESOURCE;
    type Output = Approval;

    fn permission(&self) -> Permission {
        Permission::TransactionRead
    }

    fn object(&self) -> Option<Uuid> {
        Some(self.approval_id)
    }

    async fn load(
        &self,
        database: &Database,
        context: &OpContext,
        _scope: Scope,
    ) -> Result<Found<Approval>, ViewFailure> {
        let tenant = context.tenant_id();
        let parameters: [&(dyn ToSql + Sync); 3] = [&tenant, &self.approval_id, &context.actor.id];
        let rows = database.look_up(context, Query::new(APPROVAL, &parameters)).await?;
        let Some(row) = rows.first() else {
            return Ok(Found::Missing);
        };
        let resource = resource_of(row, Permission::TransactionRead, self.approval_id)?;
        Ok(Found::Object { value: Approval::from_row(row)?, resource })
    }
}

impl View for ApprovalList {
    const NAME: &'static str = "approval.list";
    const RESOURCE: &'static str = RESOURCE;
    type Output = Page<Approval>;

    fn permission(&self) -> Permission {
        Permission::TransactionRead
    }

    fn filter(&self) -> Option<Value> {
        let ApprovalFilter { status, kind } = self.filter;
        (status.is_some() || kind.is_some()).then(|| json!({ "status": status, "kind": kind }))
    }

    async fn load(
        &self,
        database: &Database,
        context: &OpContext,
        scope: Scope,
    ) -> Result<Found<Page<Approval>>, ViewFailure> {
        let bound = Position::of(&self.page)?;
        let (tenant, actor) = (context.tenant_id(), context.actor.id);
        let status = self.filter.status.map(ApprovalStatus::as_str);
        let kind = self.filter.kind.map(ApprovalKind::as_str);
        let fetch = self.page.fetch();
        let all: [&(dyn ToSql + Sync); 7] =
            [&tenant, &bound.created_at, &bound.id, &status, &kind, &fetch, &actor];
        // Everything narrower than "all" is "own": accounts know no other scope.
        let query = if scope.is_all() {
            Query::new(LIST_ALL, &all[..6])
        } else {
            Query::new(LIST_OWN, &all)
        };
        let rows = database.read(context, &[query]).await?.pop().unwrap_or_default();
        let approvals: Vec<Approval> =
            rows.iter().map(Approval::from_row).collect::<Result<_, _>>()?;
        let position = |last: &Approval| Position::text(last.requested_at, last.id);
        let page = Page::of(approvals, &self.page, position);
        let count = page.data.len();
        Ok(Found::List { value: page, count })
    }
}
