//! Changes of the security policy: those that wait, what became of the others, and the
//! second person's decision.
//!
//! Refuses to say who may decide: identity does, and what it refuses is said here in words.

use access::Permission;
use askama::Template;
use axum::extract::Path;
use http::StatusCode;
use identity::{PolicyChange, PolicyChangeFilter, PolicyChangeStatus};
use operation::{OperationError, Refusal, RefusalKind};
use tenancy::{Actor, ActorKind};
use uuid::Uuid;

use super::{DiffLine, ReadSettings, again, lines};
use crate::{
    areas::as_api::{AsApi, address},
    fault::{Answer, Fault},
    kit::{self, Markup},
    page::Page,
    params::Params,
    visitor::Visitor,
};

pub(crate) const PATH: &str = "/settings/policy/changes";

#[derive(Template)]
#[template(path = "areas/policy_changes.html")]
struct Changes {
    page: Page,
    params: Params,
    statuses: Vec<(String, String)>,
    may_ask: bool,
    list: Rows,
}

#[derive(Template)]
#[template(path = "areas/policy_changes_rows.html")]
struct Rows {
    lines: Vec<Line>,
    is_filtered: bool,
    api: AsApi,
    first: Option<String>,
    next: Option<String>,
}

/// Drawn inside the page: a template, and as such escaped already.
impl askama::filters::HtmlSafe for Rows {}

/// A change as a row draws it.
struct Line {
    id: Uuid,
    title: String,
    status: &'static str,
    who: Option<String>,
    asked: Markup,
    ends: Markup,
}

#[derive(Template)]
#[template(path = "areas/policy_change.html")]
struct Change {
    page: Page,
    path: String,
    status: &'static str,
    /// Why it was not decided just now.
    refused: Option<String>,
    /// What there is to know before deciding, or after.
    notice: Option<&'static str>,
    lines: Vec<DiffLine>,
    note: Option<String>,
    facts: Vec<(&'static str, Fact)>,
    decision_note: Option<String>,
    may_decide: bool,
    /// The form with the same change laid upon the policy as it is now.
    again: Option<String>,
    asked: String,
}

enum Fact {
    Name(String),
    Drawn(Markup),
}

/// `GET /settings/policy/changes?status=`.
pub(crate) async fn list(visitor: Visitor, params: Params) -> Answer {
    let filter = PolicyChangeFilter { status: params.parsed::<PolicyChangeStatus>("status")? };
    let (identity, context) = (&visitor.console.identity, visitor.context());
    let wanted = visitor.page_request(PATH, &params).await?;
    let found = identity.policy_changes(context, filter, &wanted).await?;
    let status = filter.status.map(|status| status.as_str().to_owned());
    let page = visitor
        .page("Changes of the policy")
        .lead("What waits for a second person, and what became of the rest.")
        .crumb("Settings", "/settings")
        .api(address("/v1/settings/policy/changes", &[("status", status)]));
    let list = Rows {
        lines: rows(&visitor, &found.data).await?,
        is_filtered: filter.status.is_some(),
        api: AsApi::of(&page, ""),
        first: params.get("cursor").map(|_| params.link(PATH, "cursor", "")),
        next: visitor.next_page(PATH, &params, found.next.as_deref()).await?,
    };
    if visitor.wants_fragment() {
        return visitor.show(&list);
    }
    let named = PolicyChangeStatus::ALL
        .iter()
        .map(|status| (status.as_str().to_owned(), kit::words(status.as_str())));
    let statuses = std::iter::once((String::new(), "All".to_owned())).chain(named).collect();
    let may_ask = visitor.may(Permission::SettingsUpdate);
    visitor.show(&Changes { page, params, statuses, may_ask, list })
}

async fn rows(visitor: &Visitor, changes: &[PolicyChange]) -> Result<Vec<Line>, Fault> {
    let zone = visitor.zone();
    let makers: Vec<Uuid> = changes.iter().map(|change| change.requested_by).collect();
    let names = names(visitor, makers).await?;
    let line = |change: &PolicyChange| Line {
        id: change.id,
        title: title(change),
        status: change.status.as_str(),
        who: name_of(&names, change.requested_by),
        asked: kit::time(change.requested_at, &zone),
        ends: kit::time(change.decided_at.unwrap_or(change.expires_at), &zone),
    };
    Ok(changes.iter().map(line).collect())
}

/// The first of what changes, and how much more does.
fn title(change: &PolicyChange) -> String {
    let lines = lines(&change.differences);
    let Some(first) = lines.first() else { return "A change".to_owned() };
    let named = match first.group.as_str() {
        "" => first.label.clone(),
        group => format!("{group}: {}", first.label.to_lowercase()),
    };
    match lines.len() - 1 {
        0 => named,
        more => format!("{named}, and {more} more"),
    }
}

/// The names of people, where one may know them; the operator has one as well.
async fn names(visitor: &Visitor, mut ids: Vec<Uuid>) -> Result<Vec<(Uuid, String)>, Fault> {
    let operator = Actor::system(ActorKind::Cli).id;
    ids.sort_unstable();
    ids.dedup();
    ids.retain(|id| *id != operator);
    let mut names = vec![(operator, "The operator, at the command line".to_owned())];
    if !ids.is_empty() && visitor.may(Permission::UserRead) {
        let identity = &visitor.console.identity;
        names.extend(identity.user_names(visitor.context(), &ids, &[]).await?);
    }
    Ok(names)
}

fn name_of(names: &[(Uuid, String)], id: Uuid) -> Option<String> {
    names.iter().find(|(known, _)| *known == id).map(|(_, name)| name.clone())
}

/// `GET /settings/policy/changes/{id}`.
pub(crate) async fn show(visitor: Visitor, Path(id): Path<Uuid>, params: Params) -> Answer {
    let asked = params.text("confirm").to_owned();
    draw(&visitor, id, None, asked, StatusCode::OK).await
}

/// `GET` of what only a form is sent to: a page reloaded behind a refusal comes here.
pub(crate) async fn begin(visitor: Visitor, Path(id): Path<Uuid>) -> Answer {
    visitor.redirect(&format!("{PATH}/{id}"))
}

/// `POST /settings/policy/changes/{id}/approve`.
pub(crate) async fn approve(visitor: Visitor, Path(id): Path<Uuid>, form: Params) -> Answer {
    let (identity, context) = (&visitor.console.identity, visitor.context());
    let done = identity.approve_policy_change(context, id, form.get("note")).await;
    answer(&visitor, id, done, PolicyChangeStatus::Approved).await
}

/// `POST /settings/policy/changes/{id}/reject`.
pub(crate) async fn reject(visitor: Visitor, Path(id): Path<Uuid>, form: Params) -> Answer {
    let (identity, context) = (&visitor.console.identity, visitor.context());
    let done = identity.reject_policy_change(context, id, form.get("note")).await;
    answer(&visitor, id, done, PolicyChangeStatus::Rejected).await
}

async fn answer(
    visitor: &Visitor,
    id: Uuid,
    done: Result<PolicyChange, OperationError>,
    verdict: PolicyChangeStatus,
) -> Answer {
    let place = format!("{PATH}/{id}");
    let said = match verdict {
        PolicyChangeStatus::Approved => "Approved. The policy is changed from now on",
        _ => "Rejected. The policy stays as it is",
    };
    let refusal = match done {
        Ok(_) => return visitor.redirect_saying(&place, said),
        Err(OperationError::Refused(refusal)) if is_for_the_page(&refusal) => refusal,
        Err(error) => return Err(error.into()),
    };
    if refusal.code == "change_decided" {
        // The same form sent twice: the first time did it.
        let change = visitor.console.identity.policy_change(visitor.context(), id).await?;
        if change.status == verdict && change.decided_by == Some(visitor.context().actor.id) {
            return visitor.redirect_saying(&place, said);
        }
    }
    let status = match refusal.kind {
        RefusalKind::Denied => StatusCode::FORBIDDEN,
        RefusalKind::Conflict => StatusCode::CONFLICT,
        _ => StatusCode::UNPROCESSABLE_ENTITY,
    };
    draw(visitor, id, Some(words(&refusal)), String::new(), status).await
}

/// Whether the page of the change can say it; a factor that is due is asked for elsewhere.
fn is_for_the_page(refusal: &Refusal) -> bool {
    match refusal.kind {
        RefusalKind::Denied => {
            matches!(refusal.code.as_ref(), "permission_denied" | "not_independent")
        }
        RefusalKind::Rule | RefusalKind::Conflict => true,
        _ => false,
    }
}

/// Why it was not decided, and what to do.
fn words(refusal: &Refusal) -> String {
    let said = match refusal.code.as_ref() {
        "permission_denied" => {
            "Whoever asked for a change does not decide it. Another administrator has to."
        }
        "not_independent" => {
            "One of you gave the other their role, so you do not count as two people. Somebody \
             else has to agree."
        }
        "change_decided" => "Somebody has decided it meanwhile. Nothing of yours was done.",
        "change_expired" => "Nobody decided in time. Ask for it again if it is still wanted.",
        "policy_changed" => {
            "The policy was changed since this was asked for, so it was not applied. Reject it, \
             and ask for the same again upon the policy as it is now."
        }
        "maker_not_permitted" => {
            "Whoever asked for it may not change the policy any more. Reject it; somebody who \
             may can ask for it again."
        }
        "change_tampered" => {
            "This is not the change that was asked for: it was altered in the database. It was \
             not applied, and the audit log has a record of it. Tell your operator."
        }
        _ => return refusal.errors.first().map_or(&refusal.detail, |first| &first.message).clone(),
    };
    said.to_owned()
}

/// The page of one change; with what was just refused, where something was.
async fn draw(
    visitor: &Visitor,
    id: Uuid,
    refused: Option<String>,
    asked: String,
    status: StatusCode,
) -> Answer {
    let change = visitor.console.identity.policy_change(visitor.context(), id).await?;
    let view = ReadSettings(visitor.console.identity.clone());
    let (_, version) = visitor.read(&view).await?;
    let path = format!("{PATH}/{id}");
    let mut page = visitor
        .page(title(&change))
        .crumb("Settings", "/settings")
        .crumb("Changes of the policy", PATH)
        .api(format!("/v1/settings/policy/changes/{id}"));
    page.path.clone_from(&path);
    let is_waiting = change.status == PolicyChangeStatus::Pending;
    let (is_stale, is_own) =
        (version != change.base_version, change.requested_by == visitor.context().actor.id);
    let may_update = visitor.may(Permission::SettingsUpdate);
    let notice = notice(&change, is_stale, is_own).filter(|_| refused.is_none());
    let is_over = change.status != PolicyChangeStatus::Approved && (!is_waiting || is_stale);
    let facts = facts(visitor, &change).await?;
    visitor.show_as(
        status,
        &Change {
            page,
            path,
            status: change.status.as_str(),
            refused,
            notice,
            lines: lines(&change.differences),
            note: change.note.clone(),
            facts,
            decision_note: change.decision_note.clone(),
            may_decide: is_waiting && may_update && !is_own,
            again: (may_update && is_over)
                .then(|| again(&change.patch().to_string(), change.note.as_deref().unwrap_or(""))),
            asked,
        },
    )
}

fn notice(change: &PolicyChange, is_stale: bool, is_own: bool) -> Option<&'static str> {
    match change.status {
        PolicyChangeStatus::Pending if is_stale => Some(
            "The policy was changed since this was asked for, so it cannot be approved any more. \
             It can be rejected, and the same asked for again.",
        ),
        PolicyChangeStatus::Pending if is_own => {
            Some("You asked for this. Another administrator has to decide.")
        }
        PolicyChangeStatus::Expired => {
            Some("Nobody decided within seven days. Nothing was changed.")
        }
        _ => None,
    }
}

async fn facts(
    visitor: &Visitor,
    change: &PolicyChange,
) -> Result<Vec<(&'static str, Fact)>, Fault> {
    let zone = visitor.zone();
    let ids = std::iter::once(change.requested_by).chain(change.decided_by).collect();
    let names = names(visitor, ids).await?;
    let name = |id| Fact::Name(name_of(&names, id).unwrap_or_else(|| "Not shown".to_owned()));
    let mut facts = vec![
        ("Asked for by", name(change.requested_by)),
        ("Asked for", Fact::Drawn(kit::time(change.requested_at, &zone))),
    ];
    match (change.status, change.decided_by, change.decided_at) {
        (PolicyChangeStatus::Pending, ..) => {
            facts.push(("Decide before", Fact::Drawn(kit::time(change.expires_at, &zone))));
        }
        (_, Some(who), Some(at)) => {
            facts.push(("Decided by", name(who)));
            facts.push(("Decided", Fact::Drawn(kit::time(at, &zone))));
        }
        _ => facts.push(("Expired", Fact::Drawn(kit::time(change.expires_at, &zone)))),
    }
    Ok(facts)
}
