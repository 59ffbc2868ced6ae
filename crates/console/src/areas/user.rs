//! One person as an administrator sees them: how their account stands, where they are
//! signed in, and everything that can be done about it.
//!
//! Every rule is identity's; a refusal is drawn on the page it was sent from. What changes
//! somebody names the version that was drawn. Refuses to edit: that is `user_forms`.

use access::Permission;
use askama::Template;
use axum::extract::Path;
use banking::ApprovalView;
use http::StatusCode;
use identity::{LockReason, Method, ResetRequest, UserRecord, UserUpdate};
use jiff::Timestamp;
use operation::{OperationError, PageRequest, Refusal, RefusalKind};
use uuid::Uuid;

use super::{
    approvals, sessions,
    users::{self, Waiting, all_waiting, demand, manages},
};
use crate::{
    fault::{Answer, Fault},
    kit,
    page::Page,
    params::Params,
    visitor::Visitor,
};

/// Sessions of somebody that their page shows.
const SESSIONS: u32 = 25;

#[derive(Template)]
#[template(path = "areas/user.html")]
struct One {
    page: Page,
    user: UserRecord,
    path: String,
    status: &'static str,
    /// Why, in words: of a lock or a missing password.
    standing: String,
    roles: String,
    factors: String,
    last_login: Option<kit::Markup>,
    password: Option<kit::Markup>,
    created: kit::Markup,
    updated: kit::Markup,
    sessions: Option<Vec<sessions::Line>>,
    more_sessions: bool,
    waits: Option<Waiting>,
    grant: Option<Grant>,
    reasons: Vec<(&'static str, String)>,
    may: May,
    is_self: bool,
    refused: Option<String>,
}

/// Roles that wait for others to agree.
struct Grant {
    roles: String,
    /// Where its decisions are sent to; none of who may not see the order.
    path: String,
    payload_hash: String,
    requested_by: Option<String>,
    ends: kit::Markup,
    agreed: Option<(usize, i16)>,
    may_approve: bool,
    may_reject: bool,
    once: String,
}

impl Grant {
    async fn of(visitor: &Visitor, user: &UserRecord) -> Result<Option<Self>, Fault> {
        let Some(waiting) = &user.pending_roles else { return Ok(None) };
        if !visitor.may(Permission::TransactionRead) {
            return Ok(None);
        }
        let view = ApprovalView { approval_id: waiting.approval_id };
        let approval = visitor.read(&view).await?;
        let names = approvals::names(visitor, vec![approval.requested_by]).await?;
        let me = visitor.context().actor.id;
        let may_reject = manages(visitor, Permission::UserUpdate)
            && me != user.id
            && me != approval.requested_by;
        let has_agreed = approval.approvals.iter().any(|given| given.by == me);
        Ok(Some(Self {
            roles: approvals::roles_of(&approval),
            path: format!("{}/{}", approvals::PATH, approval.id),
            requested_by: names.into_iter().next().map(|(_, name)| name),
            ends: kit::time(approval.expires_at, &visitor.zone()),
            agreed: (approval.required > 1)
                .then_some((approval.approvals.len(), approval.required)),
            payload_hash: approval.payload_hash,
            may_approve: may_reject && !has_agreed,
            may_reject,
            once: visitor.once(),
        }))
    }
}

/// Which of the buttons are drawn.
#[derive(Clone, Copy, Debug, Default)]
#[allow(clippy::struct_excessive_bools, reason = "one a button")]
struct May {
    edit: bool,
    invite: bool,
    send_reset: bool,
    lock: bool,
    unlock: bool,
    disable: bool,
    enable: bool,
    remove_factors: bool,
    end_sessions: bool,
    delete: bool,
    audit: bool,
}

#[derive(Template)]
#[template(path = "areas/user_restore.html")]
struct Restore {
    page: Page,
    username: String,
    path: String,
}

/// What can be done with somebody from their page.
#[derive(Clone, Copy, Debug)]
enum Act {
    Invite,
    SendReset,
    Lock,
    Unlock,
    Disable,
    Enable,
    RequestReset,
    ConfirmReset,
    RejectReset,
    EndSession,
    EndSessions,
    Delete,
}

impl Act {
    fn of(name: &str) -> Option<Self> {
        Some(match name {
            "invite" => Self::Invite,
            "send_reset" => Self::SendReset,
            "lock" => Self::Lock,
            "unlock" => Self::Unlock,
            "disable" => Self::Disable,
            "enable" => Self::Enable,
            "request_reset" => Self::RequestReset,
            "confirm_reset" => Self::ConfirmReset,
            "reject_reset" => Self::RejectReset,
            "end_session" => Self::EndSession,
            "end_sessions" => Self::EndSessions,
            "delete" => Self::Delete,
            _ => return None,
        })
    }

    /// What is said once it is done.
    const fn said(self) -> &'static str {
        match self {
            Self::Invite => "Invitation sent. An earlier one is void",
            Self::SendReset => "Link sent to their own address",
            Self::Lock => "Account locked and signed out",
            Self::Unlock => "Account unlocked",
            Self::Disable => "Account disabled and signed out",
            Self::Enable => "Account enabled",
            Self::RequestReset => "Asked for. A second administrator decides within a day",
            Self::ConfirmReset => "Second factors removed and signed out",
            Self::RejectReset => "Turned down. Their second factors stay",
            Self::EndSession => "Signed out there",
            Self::EndSessions => "Signed out everywhere",
            Self::Delete => "Deleted. What was personal is destroyed",
        }
    }
}

/// `GET /users/{id}`.
pub(crate) async fn show(visitor: Visitor, Path(id): Path<Uuid>) -> Answer {
    demand(&visitor, Permission::UserRead)?;
    draw(&visitor, id, (None, StatusCode::OK)).await
}

/// `POST /users/{id}`: one of the things that can be done.
pub(crate) async fn act(visitor: Visitor, Path(id): Path<Uuid>, form: Params) -> Answer {
    demand(&visitor, Permission::UserRead)?;
    let act = form.get("act").and_then(Act::of).ok_or_else(|| Fault::malformed("act"))?;
    match done(&visitor, id, &form, act).await? {
        Ok(said) => {
            let to = if matches!(act, Act::Delete) {
                users::PATH.to_owned()
            } else {
                format!("/users/{id}")
            };
            visitor.redirect_saying(&to, said)
        }
        Err(refusal) => refused(&visitor, id, refusal).await,
    }
}

/// Does it; the inner refusal is one to be drawn.
async fn done(
    visitor: &Visitor,
    id: Uuid,
    form: &Params,
    act: Act,
) -> Result<Result<&'static str, Refusal>, Fault> {
    let outcome = match act {
        Act::Lock | Act::Unlock | Act::Disable | Act::Enable | Act::Delete => {
            change(visitor, id, form, act).await?
        }
        _ => ask(visitor, id, form, act).await?,
    };
    match outcome {
        Ok(()) => Ok(Ok(act.said())),
        Err(OperationError::Refused(refusal)) if is_for_the_page(&refusal) => Ok(Err(refusal)),
        Err(error) => Err(error.into()),
    }
}

/// What changes the person, on the version that was drawn.
async fn change(
    visitor: &Visitor,
    id: Uuid,
    form: &Params,
    act: Act,
) -> Result<Result<(), OperationError>, Fault> {
    let (identity, context) = (&visitor.console.identity, visitor.context());
    let version = form.parsed::<i64>("version")?.ok_or_else(|| Fault::malformed("version"))?;
    let enabled = |is_active| UserUpdate { is_active: Some(is_active), ..UserUpdate::default() };
    Ok(match act {
        Act::Lock => {
            let reason = reason_of(form).ok_or_else(|| Fault::malformed("reason"))?;
            identity.lock_user(context, id, Some(version), reason).await.map(drop)
        }
        Act::Unlock => identity.unlock_user(context, id, Some(version)).await.map(drop),
        Act::Delete => identity.delete_user(context, id, Some(version)).await,
        Act::Enable => identity.update_user(context, id, version, enabled(true)).await.map(drop),
        _ => identity.update_user(context, id, version, enabled(false)).await.map(drop),
    })
}

/// What leaves the person's record as it is.
async fn ask(
    visitor: &Visitor,
    id: Uuid,
    form: &Params,
    act: Act,
) -> Result<Result<(), OperationError>, Fault> {
    let (identity, context) = (&visitor.console.identity, visitor.context());
    Ok(match act {
        Act::Invite => identity.invite_user(context, id).await.map(drop),
        Act::SendReset => identity.send_reset_link(context, id).await.map(drop),
        Act::RequestReset => identity.request_factor_reset(context, id).await.map(drop),
        Act::ConfirmReset => {
            // The one that was drawn.
            let request = form.id("request")?.ok_or_else(|| Fault::malformed("request"))?;
            identity.confirm_factor_reset(context, (id, request)).await
        }
        Act::RejectReset => identity.reject_factor_reset(context, id).await,
        Act::EndSession => {
            let session = form.id("session")?.ok_or_else(|| Fault::malformed("session"))?;
            identity.end_sessions_of(context, id, Some(session)).await.map(drop)
        }
        _ => identity.end_sessions_of(context, id, None).await.map(drop),
    })
}

/// Refusals that say something about this person and this deed; the others are pages.
fn is_for_the_page(refusal: &Refusal) -> bool {
    match refusal.kind {
        RefusalKind::Rule
        | RefusalKind::Conflict
        | RefusalKind::PreconditionFailed
        | RefusalKind::RateLimited => true,
        RefusalKind::Denied => {
            ["own_account", "privilege_escalation", "not_independent"].contains(&&*refusal.code)
        }
        _ => false,
    }
}

async fn refused(visitor: &Visitor, id: Uuid, refusal: Refusal) -> Answer {
    let status = match refusal.kind {
        RefusalKind::PreconditionFailed => StatusCode::CONFLICT,
        kind => StatusCode::from_u16(kind.status()).unwrap_or(StatusCode::BAD_REQUEST),
    };
    let said = match refusal.code.as_ref() {
        "version_conflict" => {
            "Somebody else changed this person meanwhile. Nothing was done; here is how they \
             stand now."
                .to_owned()
        }
        "own_account" => "Nobody does this to their own account. Ask a colleague.".to_owned(),
        "privilege_escalation" => {
            "They hold more than you do. Ask somebody who holds as much.".to_owned()
        }
        "not_independent" => {
            "Whoever gave the other their role is no second person. Somebody else has to decide."
                .to_owned()
        }
        "email_missing" => "They have no e-mail address to send it to.".to_owned(),
        "rate_limited" => "They were sent enough for now. Try again in an hour.".to_owned(),
        "not_found" => "That session had ended already.".to_owned(),
        _ => format!("{}.", refusal.detail),
    };
    draw(visitor, id, (Some(said), status)).await
}

fn reason_of(form: &Params) -> Option<LockReason> {
    let name = form.get("reason")?;
    LockReason::ALL.into_iter().find(|reason| reason.as_str() == name)
}

/// `GET /users/{id}/restore`: what restoring brings back, and what not.
pub(crate) async fn ask_restore(visitor: Visitor, Path(id): Path<Uuid>) -> Answer {
    demand(&visitor, Permission::UserDelete)?;
    let username = users::names(&visitor, &[id]).await?.remove(&id).ok_or_else(Fault::not_found)?;
    match visitor.console.identity.user(visitor.context(), id).await {
        Ok(_) => return visitor.redirect(&format!("/users/{id}")),
        Err(OperationError::Refused(refusal)) if refusal.kind == RefusalKind::NotFound => {}
        Err(error) => return Err(error.into()),
    }
    let page = visitor
        .page(username.clone())
        .lead("Deleted")
        .crumb("People", users::PATH)
        .api("/v1/users?deleted=true");
    visitor.show(&Restore { page, username, path: format!("/users/{id}/restore") })
}

/// `POST /users/{id}/restore`.
pub(crate) async fn restore(visitor: Visitor, Path(id): Path<Uuid>) -> Answer {
    visitor.console.identity.restore_user(visitor.context(), id, None).await?;
    let said = "Restored. Give them an address, then invite them";
    visitor.redirect_saying(&format!("/users/{id}"), said)
}

pub(super) async fn draw(
    visitor: &Visitor,
    id: Uuid,
    (refused, status): (Option<String>, StatusCode),
) -> Answer {
    let user = visitor.console.identity.user(visitor.context(), id).await?;
    let now = visitor.console.clock.now();
    let (sessions, more_sessions) = sessions_of(visitor, id).await?;
    let request = waits_for(visitor, id).await?;
    let waits = match &request {
        Some(request) => users::waiting(visitor, std::slice::from_ref(request)).await?.pop(),
        None => None,
    };
    let zone = visitor.zone();
    let is_self = visitor.context().actor.id == id;
    let page = visitor
        .page(user.username.clone())
        .crumb("People", users::PATH)
        .api(format!("/v1/users/{id}"));
    let one = One {
        page,
        path: format!("/users/{id}"),
        status: status_of(&user, now),
        standing: standing(&user, now, &zone),
        roles: listed(user.roles.iter().map(|role| kit::words(role))),
        factors: listed(user.factors.iter().map(|method| called(*method).to_owned())),
        last_login: user.last_login_at.map(|at| kit::time(at, &zone)),
        password: user
            .password_changed_at
            .filter(|_| user.has_password)
            .map(|at| kit::time(at, &zone)),
        created: kit::time(user.created_at, &zone),
        updated: kit::time(user.updated_at, &zone),
        sessions,
        more_sessions,
        waits,
        grant: Grant::of(visitor, &user).await?,
        reasons: LockReason::ALL
            .iter()
            .map(|one| (one.as_str(), kit::words(one.as_str())))
            .collect(),
        may: may(visitor, &user, (is_self, request.is_some()), now),
        is_self,
        refused,
        user,
    };
    visitor.show_as(status, &one)
}

/// Where they are signed in, for those who may know.
async fn sessions_of(
    visitor: &Visitor,
    id: Uuid,
) -> Result<(Option<Vec<sessions::Line>>, bool), Fault> {
    if !manages(visitor, Permission::SessionRead) {
        return Ok((None, false));
    }
    let some = PageRequest { limit: SESSIONS, after: None, ..PageRequest::default() };
    let found = visitor.console.identity.sessions_of(visitor.context(), id, &some).await?;
    let zone = visitor.zone();
    let lines = found.data.into_iter().map(|one| sessions::Line::of(one, &zone)).collect();
    Ok((Some(lines), found.next.is_some()))
}

async fn waits_for(visitor: &Visitor, id: Uuid) -> Result<Option<ResetRequest>, Fault> {
    if !manages(visitor, Permission::UserUpdate) {
        return Ok(None);
    }
    let waiting = all_waiting(visitor).await?;
    Ok(waiting.into_iter().find(|request| request.user_id == id))
}

fn may(
    visitor: &Visitor,
    user: &UserRecord,
    (is_self, waits): (bool, bool),
    now: Timestamp,
) -> May {
    let over = |permission| !is_self && manages(visitor, permission);
    let update = over(Permission::UserUpdate);
    let is_locked = user.lock_reason.is_some() || user.locked_until.is_some_and(|to| to > now);
    May {
        edit: manages(visitor, Permission::UserUpdate),
        invite: over(Permission::UserCreate) && user.is_active && !user.has_password,
        send_reset: update && user.is_active && user.has_password && user.lock_reason.is_none(),
        lock: update && user.lock_reason.is_none(),
        unlock: update && is_locked,
        disable: update && user.is_active,
        enable: update && !user.is_active,
        remove_factors: update && !user.factors.is_empty() && !waits,
        end_sessions: over(Permission::SessionDelete),
        delete: over(Permission::UserDelete),
        audit: visitor.may(Permission::AuditRead),
    }
}

fn status_of(user: &UserRecord, now: Timestamp) -> &'static str {
    if !user.is_active {
        "disabled"
    } else if user.lock_reason.is_some() || user.locked_until.is_some_and(|until| until > now) {
        "locked"
    } else if user.has_password || !user.factors.is_empty() {
        "active"
    } else {
        "not_joined_yet"
    }
}

fn standing(user: &UserRecord, now: Timestamp, zone: &jiff::tz::TimeZone) -> String {
    if let Some(reason) = &user.lock_reason {
        return format!("Locked by staff until somebody unlocks it: {}", kit::words(reason));
    }
    if let Some(until) = user.locked_until.filter(|until| *until > now) {
        let until = until.to_zoned(zone.clone()).strftime("%-d %b %Y, %H:%M").to_string();
        return format!("Locked after wrong passwords until {until}");
    }
    String::new()
}

fn listed(names: impl Iterator<Item = String>) -> String {
    names.collect::<Vec<_>>().join(", ")
}

const fn called(method: Method) -> &'static str {
    match method {
        Method::Passkey => "Passkey",
        Method::Totp => "Authenticator app",
        Method::Sms => "Text message",
        Method::Email => "E-mail",
        Method::Backup => "Backup codes",
    }
}
