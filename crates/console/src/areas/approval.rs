//! What waits for a second person, decided: one order on the page of its movement or of the
//! person it is about, or many
//! that were marked in the list, after they were shown once more.
//!
//! Refuses to say who may decide: banking does, and what it refuses is said here in words.

use access::Permission;
use approvals::{Approval, ApprovalKind, ApprovalStatus, Decision};
use askama::Template;
use axum::extract::Path;
use banking::{Account, ApprovalView, ApproveRequest, RejectRequest};
use http::StatusCode;
use operation::{Call, Command, OperationError, Refusal, RefusalKind, Reply};
use uuid::Uuid;

use super::{
    approvals::{self as inbox, place_of},
    moving, transfers, under_way, user,
};
use crate::{
    fault::{Answer, Fault},
    kit::{self, Markup},
    page::Page,
    params::Params,
    visitor::Visitor,
};

/// Orders that are decided by one form.
const MANY_MAX: usize = 100;

/// What a second person says to it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Approve,
    Reject,
}

/// What waits or waited, as the page of its movement draws it.
pub(super) struct Waiting {
    /// Where its decisions are sent to, and the page itself.
    pub(super) path: String,
    pub(super) back: String,
    pub(super) from: Option<Side>,
    pub(super) to: Option<Side>,
    pub(super) ends: Markup,
    pub(super) decided: Option<(Option<String>, Markup)>,
    pub(super) note: Option<String>,
    pub(super) payload_hash: String,
    /// Who has agreed, and how many have to; none where one is enough.
    pub(super) agreed: Vec<(Option<String>, Markup)>,
    pub(super) required: Option<i16>,
    pub(super) may_decide: bool,
    pub(super) may_approve: bool,
    pub(super) notice: Option<&'static str>,
    pub(super) refused: Option<String>,
    pub(super) once: String,
    pub(super) asked: String,
}

/// An account of the order, for those who may read it.
pub(super) struct Side {
    pub(super) account_id: Uuid,
    pub(super) number: String,
    pub(super) owner: Option<String>,
}

/// What is asked of the page of a movement that waits.
#[derive(Default)]
pub(super) struct Asked {
    pub(super) refused: Option<String>,
    pub(super) dialog: String,
}

#[derive(Template)]
#[template(path = "areas/approvals_many.html")]
struct Many {
    page: Page,
    lines: Vec<inbox::Line>,
    totals: Vec<Markup>,
    once: String,
}

#[derive(Template)]
#[template(path = "areas/approvals_done.html")]
struct Done {
    page: Page,
    lines: Vec<(inbox::Line, Result<&'static str, String>)>,
}

impl Waiting {
    pub(super) async fn of(visitor: &Visitor, id: Uuid, asked: Asked) -> Result<Self, Fault> {
        let approval = visitor.read(&ApprovalView { approval_id: id }).await?;
        let zone = visitor.zone();
        let is_pending = approval.status == ApprovalStatus::Pending;
        let is_own = approval.requested_by == visitor.context().actor.id;
        let may = visitor.may(Permission::TransactionApprove);
        let by = approval.decided_by;
        let agreed = approval.approvals.iter().map(|given| given.by);
        let names = inbox::names(visitor, agreed.chain(by).collect()).await?;
        let name =
            |id: Uuid| names.iter().find(|(one, _)| *one == id).map(|(_, name)| name.clone());
        let me = visitor.context().actor.id;
        let has_agreed = approval.approvals.iter().any(|given| given.by == me);
        let agreed =
            approval.approvals.iter().map(|given| (name(given.by), kit::time(given.at, &zone)));
        let notice = match (is_pending && may, is_own, has_agreed) {
            (true, true, _) => Some("You ordered this yourself. Somebody else has to decide."),
            (true, _, true) => {
                Some("You have agreed. Somebody else has to as well; until then you may reject it.")
            }
            _ => None,
        };
        Ok(Self {
            path: format!("{}/{id}", inbox::PATH),
            back: format!("/transfers/{}", approval.object_id),
            from: side(visitor, approval.from_account_id).await?,
            to: side(visitor, approval.to_account_id).await?,
            ends: kit::time(approval.expires_at, &zone),
            decided: approval.decided_at.map(|at| (by.and_then(name), kit::time(at, &zone))),
            agreed: agreed.collect(),
            required: (approval.required > 1).then_some(approval.required),
            note: approval.decision_note,
            payload_hash: approval.payload_hash,
            may_decide: is_pending && may && !is_own,
            may_approve: is_pending && may && !is_own && !has_agreed,
            notice,
            refused: asked.refused,
            once: visitor.once(),
            asked: asked.dialog,
        })
    }
}

async fn side(visitor: &Visitor, id: Option<Uuid>) -> Result<Option<Side>, Fault> {
    let Some(id) = id else { return Ok(None) };
    let Some(Account { account_number, .. }) = moving::readable(visitor, &id.to_string()).await?
    else {
        return Ok(None);
    };
    let owner = moving::owner(visitor, id).await?;
    Ok(Some(Side { account_id: id, number: account_number, owner }))
}

/// `GET /approvals/{id}` and of its decisions: to the movement or person that it is about.
pub(crate) async fn show(visitor: Visitor, Path(id): Path<Uuid>) -> Answer {
    let approval = visitor.read(&ApprovalView { approval_id: id }).await?;
    visitor.redirect(&place_of(&approval))
}

/// `POST /approvals/{id}/approve`.
pub(crate) async fn approve(visitor: Visitor, Path(id): Path<Uuid>, form: Params) -> Answer {
    decide(&visitor, id, &form, Verdict::Approve).await
}

/// `POST /approvals/{id}/reject`.
pub(crate) async fn reject(visitor: Visitor, Path(id): Path<Uuid>, form: Params) -> Answer {
    decide(&visitor, id, &form, Verdict::Reject).await
}

async fn decide(visitor: &Visitor, id: Uuid, form: &Params, verdict: Verdict) -> Answer {
    let once = visitor.once_of(form)?;
    let approval = visitor.read(&ApprovalView { approval_id: id }).await?;
    let seen = form.get("payload_hash").map(str::to_owned);
    match say(visitor, (&approval, seen), form.get("note"), verdict, once).await {
        Ok(done) => visitor.redirect_saying(&place_of(&approval), said(&done.output)),
        Err(OperationError::Refused(refusal)) if under_way::is_under_way(&refusal) => {
            let tail = if verdict == Verdict::Approve { "approve" } else { "reject" };
            under_way::draw(visitor, &format!("{}/{id}/{tail}", inbox::PATH), form)
        }
        Err(OperationError::Refused(refusal)) if is_for_the_page(&refusal) => {
            let status = StatusCode::from_u16(refusal.kind.status());
            let status = status.unwrap_or(StatusCode::UNPROCESSABLE_ENTITY);
            let refused = Some(words(refusal));
            if approval.kind == ApprovalKind::RoleGrant {
                return user::draw(visitor, approval.object_id, (refused, status)).await;
            }
            let asked = Asked { refused, dialog: String::new() };
            transfers::draw_waiting(visitor, approval.object_id, asked, status).await
        }
        Err(error) => Err(error.into()),
    }
}

fn said(approval: &Approval) -> &'static str {
    match (approval.status, approval.kind) {
        (ApprovalStatus::Approved, ApprovalKind::Transfer) => "Approved: the money has moved",
        (ApprovalStatus::Approved, ApprovalKind::RoleGrant) => "Approved: they hold the roles",
        (ApprovalStatus::Pending, _) => "You agreed: it waits for somebody else as well",
        (_, ApprovalKind::Transfer) => "Rejected: nothing moves",
        (_, ApprovalKind::RoleGrant) => "Rejected: their roles stay as they are",
    }
}

async fn say(
    visitor: &Visitor,
    (approval, payload_hash): (&Approval, Option<String>),
    note: Option<&str>,
    verdict: Verdict,
    once: String,
) -> Result<Reply<Approval>, OperationError> {
    let (approval_id, note) = (approval.id, note.map(str::to_owned));
    if approval.kind == ApprovalKind::RoleGrant {
        return give(visitor, Decision { approval_id, payload_hash, note }, verdict, once).await;
    }
    match verdict {
        Verdict::Approve => {
            let operations = visitor.console.operations.clone();
            let command = ApproveRequest { operations, approval_id, payload_hash, note };
            run(visitor, command, once).await
        }
        Verdict::Reject => {
            run(visitor, RejectRequest { approval_id, payload_hash, note }, once).await
        }
    }
}

/// Roles are decided at identity's desk.
async fn give(
    visitor: &Visitor,
    decision: Decision,
    verdict: Verdict,
    once: String,
) -> Result<Reply<Approval>, OperationError> {
    let (identity, context) = (&visitor.console.identity, visitor.context());
    let say = || async {
        let (key, decision) = (Some(once.clone()), decision.clone());
        match verdict {
            Verdict::Approve => identity.approve_role_grant(context, key, decision).await,
            Verdict::Reject => identity.reject_role_grant(context, key, decision).await,
        }
    };
    under_way::settled(say, is_still_under_way).await
}

fn is_still_under_way<T>(done: &Result<T, OperationError>) -> bool {
    matches!(done, Err(OperationError::Refused(refusal)) if under_way::is_under_way(refusal))
}

async fn run<C: Command + Clone>(
    visitor: &Visitor,
    command: C,
    once: String,
) -> Result<Reply<C::Output>, OperationError> {
    let context = visitor.context().clone();
    let call = Call { context, idempotency_key: Some(once), command };
    let run = || visitor.console.operations.run_one(call.clone());
    under_way::settled(run, is_still_under_way).await
}

/// Whether the page can say it; a factor that is due is asked for elsewhere.
fn is_for_the_page(refusal: &Refusal) -> bool {
    match refusal.kind {
        RefusalKind::Denied => {
            let said = ["permission_denied", "not_independent", "privilege_escalation"];
            said.contains(&refusal.code.as_ref())
        }
        RefusalKind::Rule | RefusalKind::Conflict | RefusalKind::PreconditionFailed => true,
        _ => false,
    }
}

/// Why it was not decided, and what to do.
fn words(refusal: Refusal) -> String {
    let said = match refusal.code.as_ref() {
        "permission_denied" => {
            "Whoever ordered it, is a party to one of the accounts or would get the roles does not \
             decide it. Somebody else has to."
        }
        "not_independent" => {
            "One of you gave the other their role, so you do not count as two people. Somebody \
             else has to decide."
        }
        "privilege_escalation" => {
            "Some of these roles hold more than you do. Whoever decides could give them, too."
        }
        "roles_changed" => {
            "They hold other roles than when this was asked for. Reject it; it can be asked for \
             again."
        }
        "already_approved" => "You have agreed to it already. Somebody else has to as well.",
        "approval_changed" => {
            "This is not the order that you were shown. Look at it again before you decide."
        }
        "approval_decided" => "Somebody has decided it meanwhile. Nothing of yours was done.",
        "approval_expired" => "Nobody decided in time. It has to be ordered again.",
        "maker_not_permitted" => {
            "Whoever ordered it may not order it any more. Reject it; somebody who may can order \
             it again."
        }
        "approval_tampered" => {
            "This is not the order that was given: it was altered in the database. Nothing moved, \
             and the audit log has a record of it. Tell your operator."
        }
        _ => {
            let refusal = transfers::in_words(refusal);
            return refusal
                .errors
                .first()
                .map_or(refusal.detail.clone(), |one| one.message.clone());
        }
    };
    said.to_owned()
}

/// `GET` of what only a form is sent to.
pub(crate) async fn begin(visitor: Visitor) -> Answer {
    visitor.redirect(inbox::PATH)
}

/// `POST /approvals/review`: nothing is decided; what was marked is shown once more.
pub(crate) async fn review(visitor: Visitor, form: Params) -> Answer {
    if !inbox::may_decide_some(&visitor) {
        return Err(Fault::denied());
    }
    let marked = marked(&visitor, &form).await?;
    if marked.is_empty() {
        return visitor.redirect_saying(inbox::PATH, "Mark what you want to decide first");
    }
    let page = visitor
        .page("Decide what you marked")
        .lead("Nothing is decided yet. Each is decided by itself: one that is refused stops no other.")
        .crumb("Approvals", inbox::PATH)
        .api("/v1/approvals?status=pending");
    let totals = totals(&marked);
    let lines = inbox::lines(&visitor, marked).await?;
    visitor.show(&Many { page, lines, totals, once: visitor.once() })
}

/// `POST /approvals/decide`: each under a key of its own, so that a form sent twice is done
/// once.
pub(crate) async fn decide_many(visitor: Visitor, form: Params) -> Answer {
    if !inbox::may_decide_some(&visitor) {
        return Err(Fault::denied());
    }
    let once = visitor.once_of(&form)?;
    let verdict = match form.text("verdict") {
        "approve" => Verdict::Approve,
        "reject" => Verdict::Reject,
        _ => return Err(Fault::malformed("verdict")),
    };
    let marked = marked(&visitor, &form).await?;
    let mut outcomes = Vec::with_capacity(marked.len());
    for approval in &marked {
        let key = format!("{once}/{}", approval.id);
        let seen = form.all("seen").find_map(|seen| {
            let (id, hash) = seen.split_once('/')?;
            (id == approval.id.to_string()).then(|| hash.to_owned())
        });
        let seen = Some(seen.ok_or_else(|| Fault::malformed("seen"))?);
        let order = (approval, seen);
        outcomes.push(match say(&visitor, order, form.get("note"), verdict, key).await {
            Ok(done) => Ok(said(&done.output)),
            Err(OperationError::Refused(refusal)) if is_for_the_page(&refusal) => {
                Err(words(refusal))
            }
            Err(error) => return Err(error.into()),
        });
    }
    let page =
        visitor.page("What became of them").crumb("Approvals", inbox::PATH).api("/v1/approvals");
    let lines = inbox::lines(&visitor, marked).await?;
    visitor.show(&Done { page, lines: lines.into_iter().zip(outcomes).collect() })
}

/// What the form names and the visitor may read, once each.
async fn marked(visitor: &Visitor, form: &Params) -> Result<Vec<Approval>, Fault> {
    let mut ids = Vec::new();
    for text in form.all("id") {
        let id: Uuid = text.parse().map_err(|_| Fault::malformed("id"))?;
        if !ids.contains(&id) {
            ids.push(id);
        }
    }
    if ids.len() > MANY_MAX {
        return Err(Fault::malformed("id"));
    }
    let mut approvals = Vec::with_capacity(ids.len());
    for approval_id in ids {
        approvals.push(visitor.read(&ApprovalView { approval_id }).await?);
    }
    Ok(approvals)
}

/// A sum for each currency.
fn totals(approvals: &[Approval]) -> Vec<Markup> {
    let mut sums: Vec<(money::Currency, i64)> = Vec::new();
    for (amount, currency) in
        approvals.iter().filter_map(|approval| approval.amount.zip(approval.currency))
    {
        match sums.iter_mut().find(|(known, _)| *known == currency) {
            Some((_, sum)) => *sum = sum.saturating_add(amount),
            None => sums.push((currency, amount)),
        }
    }
    sums.into_iter().map(|(currency, sum)| kit::money(sum, currency)).collect()
}
