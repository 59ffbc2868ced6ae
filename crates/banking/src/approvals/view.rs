//! Reading approvals: one, and lists confined to what the actor may see. Their makers
//! see their own, whoever is a party to an account what is asked of its money, and
//! whoever reads all transactions all of them. Roles that somebody would be given are shown to
//! them, to their maker and to whoever reads everybody of the tenant.

use ::approvals::{Approval, ApprovalKind, ApprovalStatus, RESOURCE};
use access::{Permission, Resource, Scope};
use operation::{Found, Page, PageRequest, View, read::ViewFailure};
use serde_json::{Value, json};
use tenancy::{Database, DbError, OpContext, Query};
use tokio_postgres::types::ToSql;
use uuid::Uuid;

use crate::paging::Position;

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
        let value = Approval::from_row(row)?;
        let is_own: bool = row.try_get("owned").map_err(DbError::from)?;
        let is_of_roles = value.kind == ApprovalKind::RoleGrant;
        let reads_people = context.actor.is_system() || context.actor.sees_all_users;
        if is_of_roles && !is_own && !reads_people {
            return Ok(Found::Missing);
        }
        let resource = Resource::for_permission(Permission::TransactionRead, Some(value.id))
            .owned(is_own || is_of_roles);
        Ok(Found::Object { value, resource })
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
        let people = context.actor.is_system() || context.actor.sees_all_users;
        let all: [&(dyn ToSql + Sync); 8] =
            [&tenant, &bound.created_at, &bound.id, &status, &kind, &fetch, &people, &actor];
        let own: [&(dyn ToSql + Sync); 8] =
            [&tenant, &bound.created_at, &bound.id, &status, &kind, &fetch, &actor, &people];
        // Everything narrower than "all" is "own": accounts know no other scope.
        let query =
            if scope.is_all() { Query::new(LIST_ALL, &all) } else { Query::new(LIST_OWN, &own) };
        let rows = database.read(context, &[query]).await?.pop().unwrap_or_default();
        let approvals: Vec<Approval> =
            rows.iter().map(Approval::from_row).collect::<Result<_, _>>()?;
        let position = |last: &Approval| Position::text(last.requested_at, last.id);
        let page = Page::of(approvals, &self.page, position);
        let count = page.data.len();
        Ok(Found::List { value: page, count })
    }
}
