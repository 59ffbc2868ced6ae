//! What waits for a second person, and what became of it.
//!
//! Refuses to decide: `approval` does.

use access::Permission;
use approvals::{Approval, ApprovalKind, ApprovalStatus};
use askama::Template;
use banking::{ApprovalFilter, ApprovalList};
use money::Currency;
use uuid::Uuid;

use super::{
    as_api::{AsApi, address},
    settings,
    users::{self, manages},
};
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
    elsewhere: Vec<Elsewhere>,
    list: Rows,
}

/// What waits for a second person and is decided at a desk of its own.
struct Elsewhere {
    said: String,
    place: &'static str,
    link: &'static str,
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
    /// The page of what it is about.
    pub(super) place: String,
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
    /// Whoever ordered it does not decide it, nor does whom it is about.
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
        .lead("Transfers above what one person may move alone, and roles of more than one’s own; the newest first.")
        .api(address("/v1/approvals", &[("status", Some(status.as_str().to_owned()))]));
    let list = Rows {
        lines: lines(&visitor, found.data).await?,
        is_waiting: status == ApprovalStatus::Pending,
        may_decide: status == ApprovalStatus::Pending && may_decide_some(&visitor),
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
    let statuses = named.collect();
    let elsewhere = elsewhere(&visitor).await?;
    visitor.show(&Approvals { page, params, statuses, elsewhere, list })
}

/// For those who would decide it.
async fn elsewhere(visitor: &Visitor) -> Result<Vec<Elsewhere>, Fault> {
    let mut found = Vec::new();
    if visitor.may(Permission::SettingsUpdate) {
        let said = settings::waiting(visitor).await?;
        let place = "/settings/policy/changes?status=pending";
        found.push(Elsewhere { said, place, link: "Changes of the policy" });
    }
    if manages(visitor, Permission::UserUpdate) {
        let said = match users::all_waiting(visitor).await?.len() {
            0 => String::new(),
            1 => "One removal of second factors waits for a second administrator.".to_owned(),
            many => format!("{many} removals of second factors wait for a second administrator."),
        };
        found.push(Elsewhere { said, place: "/users/resets", link: "Removals of factors" });
    }
    found.retain(|desk| !desk.said.is_empty());
    Ok(found)
}

/// Where an order is shown, and decided.
pub(super) fn place_of(approval: &Approval) -> String {
    match approval.kind {
        ApprovalKind::Transfer => format!("/transfers/{}", approval.object_id),
        ApprovalKind::RoleGrant => format!("/users/{}", approval.object_id),
    }
}

/// Whether the visitor decides orders of one kind or another.
pub(super) fn may_decide_some(visitor: &Visitor) -> bool {
    visitor.may(Permission::TransactionApprove) || manages(visitor, Permission::UserUpdate)
}

/// The names of people, where one may know them.
pub(super) async fn names(
    visitor: &Visitor,
    mut ids: Vec<Uuid>,
) -> Result<Vec<(Uuid, String)>, Fault> {
    ids.sort();
    ids.dedup();
    if ids.is_empty() || !visitor.may(Permission::UserRead) {
        return Ok(Vec::new());
    }
    Ok(visitor.console.identity.user_names(visitor.context(), &ids, &[]).await?)
}

pub(super) async fn lines(visitor: &Visitor, approvals: Vec<Approval>) -> Result<Vec<Line>, Fault> {
    let zone = visitor.zone();
    let people = approvals.iter().flat_map(|approval| {
        let person = Some(approval.object_id).filter(|_| approval.kind == ApprovalKind::RoleGrant);
        [Some(approval.requested_by), person].into_iter().flatten()
    });
    let names = names(visitor, people.collect()).await?;
    let me = visitor.context().actor.id;
    let line = |approval: Approval| {
        let who = names.iter().find(|(id, _)| *id == approval.requested_by);
        Line {
            id: approval.id,
            is_own: approval.requested_by == me || approval.object_id == me,
            place: place_of(&approval),
            agreed: (approval.required > 1)
                .then_some((approval.approvals.len(), approval.required)),
            payload_hash: approval.payload_hash.clone(),
            title: title(&approval, &names),
            status: approval.status.as_str(),
            who: who.map(|(_, name)| name.clone()),
            asked: kit::time(approval.requested_at, &zone),
            ends: kit::time(approval.expires_at, &zone),
            amount: approval.amount.zip(approval.currency),
        }
    };
    Ok(approvals.into_iter().map(line).collect())
}

fn title(approval: &Approval, names: &[(Uuid, String)]) -> String {
    match approval.kind {
        ApprovalKind::Transfer => match approval.payload["description"].as_str() {
            Some(said) if !said.is_empty() => said.to_owned(),
            _ => kit::words(approval.kind.as_str()),
        },
        ApprovalKind::RoleGrant => {
            let who = names.iter().find(|(id, _)| *id == approval.object_id);
            let who = who.map_or("somebody", |(_, name)| name);
            format!("{} for {who}", roles_of(approval))
        }
    }
}

/// The roles that somebody would hold, in words.
pub(super) fn roles_of(approval: &Approval) -> String {
    let roles = approval.payload["roles"].as_array().map(Vec::as_slice).unwrap_or_default();
    let words: Vec<String> =
        roles.iter().filter_map(|role| role.as_str()).map(kit::words).collect();
    words.join(", ")
}
