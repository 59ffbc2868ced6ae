//! What waits for a second person, and what became of it.
//!
//! Refuses to decide: `approval` does.

use askama::Template;
use banking::{Approval, ApprovalFilter, ApprovalList, ApprovalStatus};
use money::Currency;
use uuid::Uuid;

use super::as_api::{AsApi, address};
use crate::{
    fault::{Answer, Fault},
    kit::{self, Markup},
    page::Page,
    params::Params,
    visitor::Visitor,
};

pub(crate) const PATH: &str = "/approvals";

#[derive(Template)]
#[template(path = "areas/approvals.html")]
struct Approvals {
    page: Page,
    params: Params,
    statuses: Vec<(String, String)>,
    list: Rows,
}

#[derive(Template)]
#[template(path = "areas/approvals_rows.html")]
struct Rows {
    lines: Vec<Line>,
    is_waiting: bool,
    may_decide: bool,
    csrf: (&'static str, String),
    api: AsApi,
    first: Option<String>,
    next: Option<String>,
}

/// Drawn inside the page: a template, and as such escaped already.
impl askama::filters::HtmlSafe for Rows {}

/// An approval as a row draws it.
pub(super) struct Line {
    pub(super) id: Uuid,
    pub(super) transfer_id: Uuid,
    pub(super) title: String,
    pub(super) status: &'static str,
    pub(super) who: Option<String>,
    pub(super) asked: Markup,
    pub(super) ends: Markup,
    pub(super) amount: Option<(i64, Currency)>,
    /// What was shown, as whoever decides many sends it back.
    pub(super) payload_hash: String,
    /// How many have agreed, of how many; none where one is enough.
    pub(super) agreed: Option<(usize, i16)>,
    /// Whoever ordered it does not decide it.
    pub(super) is_own: bool,
}

/// `GET /approvals?status=`: those that wait, where the address names no status.
pub(crate) async fn list(visitor: Visitor, params: Params) -> Answer {
    let status = params.parsed::<ApprovalStatus>("status")?.unwrap_or(ApprovalStatus::Pending);
    let filter = ApprovalFilter { status: Some(status), kind: None };
    let page = visitor.page_request(PATH, &params).await?;
    let found = visitor.read(&ApprovalList { filter, page }).await?;
    let page = visitor
        .page("Approvals")
        .lead("Transfers above what one person may move alone, the newest first.")
        .api(address("/v1/approvals", &[("status", Some(status.as_str().to_owned()))]));
    let list = Rows {
        lines: lines(&visitor, found.data).await?,
        is_waiting: status == ApprovalStatus::Pending,
        may_decide: status == ApprovalStatus::Pending
            && visitor.may(access::Permission::TransactionApprove),
        csrf: (page.csrf_field(), page.csrf.clone()),
        api: AsApi::of(&page, ""),
        first: params.get("cursor").map(|_| params.link(PATH, "cursor", "")),
        next: visitor.next_page(PATH, &params, found.next.as_deref()).await?,
    };
    if visitor.wants_fragment() {
        return visitor.show(&list);
    }
    let named = ApprovalStatus::ALL.iter().map(|status| match status {
        ApprovalStatus::Pending => (String::new(), "Waiting".to_owned()),
        other => (other.as_str().to_owned(), kit::words(other.as_str())),
    });
    visitor.show(&Approvals { page, params, statuses: named.collect(), list })
}

/// The names of people, where one may know them.
pub(super) async fn names(
    visitor: &Visitor,
    mut ids: Vec<Uuid>,
) -> Result<Vec<(Uuid, String)>, Fault> {
    ids.sort();
    ids.dedup();
    if ids.is_empty() || !visitor.may(access::Permission::UserRead) {
        return Ok(Vec::new());
    }
    Ok(visitor.console.identity.user_names(visitor.context(), &ids, &[]).await?)
}

pub(super) async fn lines(visitor: &Visitor, approvals: Vec<Approval>) -> Result<Vec<Line>, Fault> {
    let zone = visitor.zone();
    let makers = approvals.iter().map(|approval| approval.requested_by).collect();
    let names = names(visitor, makers).await?;
    let line = |approval: Approval| {
        let said = approval.payload["description"].as_str().unwrap_or_default();
        let who = names.iter().find(|(id, _)| *id == approval.requested_by);
        Line {
            id: approval.id,
            is_own: approval.requested_by == visitor.context().actor.id,
            transfer_id: approval.object_id,
            agreed: (approval.required > 1)
                .then_some((approval.approvals.len(), approval.required)),
            payload_hash: approval.payload_hash.clone(),
            title: if said.is_empty() {
                kit::words(approval.kind.as_str())
            } else {
                said.to_owned()
            },
            status: approval.status.as_str(),
            who: who.map(|(_, name)| name.clone()),
            asked: kit::time(approval.requested_at, &zone),
            ends: kit::time(approval.expires_at, &zone),
            amount: approval.amount.zip(approval.currency),
        }
    };
    Ok(approvals.into_iter().map(line).collect())
}
