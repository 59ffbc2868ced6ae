//! Roles: those of the blueprint and the tenant's own, what each may do, and ending one.

use access::{Permission, RolePermission};
use askama::Template;
use axum::extract::Path;
use http::StatusCode;
use identity::{RoleRecord, RoleType};
use operation::{OperationError, Refusal, RefusalKind};
use uuid::Uuid;

use super::{
    role_text::{action, demands, reach},
    webhook::version_of,
};
use crate::{
    fault::Answer,
    kit::{self, Markup},
    page::Page,
    params::Params,
    visitor::Visitor,
};

pub(crate) const PATH: &str = "/roles";

#[derive(Template)]
#[template(path = "areas/roles.html")]
struct Roles {
    page: Page,
    lines: Vec<Line>,
    may_change: bool,
    first: Option<String>,
    next: Option<String>,
}

/// A role as a row draws it.
struct Line {
    id: Uuid,
    name: String,
    whose: &'static str,
    grants: usize,
    holders: String,
    changed: Markup,
}

#[derive(Template)]
#[template(path = "areas/role.html")]
struct RolePage {
    page: Page,
    path: String,
    role: RoleRecord,
    whose: &'static str,
    holders: String,
    grants: Vec<Grant>,
    changed: Markup,
    /// Where those are listed whose first role it is; none where the visitor sees no list.
    people: Option<String>,
    refused: Option<String>,
    may_create: bool,
    may_change: bool,
    asked: String,
}

/// One grant in words.
pub(super) struct Grant {
    pub(super) action: String,
    pub(super) reach: &'static str,
    pub(super) demands: Vec<String>,
}

/// `GET /roles`.
pub(crate) async fn list(visitor: Visitor, params: Params) -> Answer {
    let wanted = visitor.page_request(PATH, &params).await?;
    let found = visitor.console.identity.roles(visitor.context(), &wanted).await?;
    let next = visitor.next_page(PATH, &params, found.next.as_deref()).await?;
    let zone = visitor.zone();
    let line = |role: RoleRecord| Line {
        id: role.id,
        name: kit::words(&role.name),
        whose: whose(role.role_type),
        grants: role.permissions.len(),
        holders: people(role.holders),
        changed: kit::time(role.updated_at, &zone),
    };
    visitor.show(&Roles {
        page: visitor
            .page("Roles")
            .lead("What people may do here, by name: the blueprint’s roles and your own.")
            .api("/v1/roles"),
        lines: found.data.into_iter().map(line).collect(),
        may_change: visitor.may(Permission::SettingsUpdate),
        first: params.get("cursor").map(|_| PATH.to_owned()),
        next,
    })
}

/// `GET /roles/{id}`.
pub(crate) async fn show(visitor: Visitor, Path(id): Path<Uuid>, params: Params) -> Answer {
    draw(&visitor, id, params.text("confirm").to_owned(), None).await
}

/// `GET` of what only a form is sent to.
pub(crate) async fn begin(visitor: Visitor, Path(id): Path<Uuid>) -> Answer {
    visitor.redirect(&path_of(id))
}

/// `POST /roles/{id}/delete`.
pub(crate) async fn delete(visitor: Visitor, Path(id): Path<Uuid>, form: Params) -> Answer {
    let wish = (id, Some(version_of(&form)?));
    match visitor.console.identity.delete_role(visitor.context(), wish).await {
        Ok(()) => visitor.redirect_saying(PATH, "Ended. Nobody can be given it any more"),
        Err(OperationError::Refused(refusal)) if is_for_the_page(&refusal) => {
            draw(&visitor, id, String::new(), Some(refusal)).await
        }
        Err(error) => Err(error.into()),
    }
}

/// Whether a page can say it; a factor that is due is asked for elsewhere.
pub(super) fn is_for_the_page(refusal: &Refusal) -> bool {
    use RefusalKind::{Conflict, Denied, PreconditionFailed, Rule};
    match refusal.kind {
        Denied => matches!(refusal.code.as_ref(), "own_role" | "privilege_escalation"),
        kind => matches!(kind, Rule | Conflict | PreconditionFailed),
    }
}

pub(super) fn status_of(refusal: &Refusal) -> StatusCode {
    match refusal.kind {
        RefusalKind::Denied => StatusCode::FORBIDDEN,
        RefusalKind::Rule => StatusCode::UNPROCESSABLE_ENTITY,
        _ => StatusCode::CONFLICT,
    }
}

/// Why it was not done, and what to do.
pub(super) fn words(refusal: &Refusal) -> String {
    let said = match refusal.code.as_ref() {
        "version_conflict" => {
            "Somebody else changed this role meanwhile. Nothing of yours was done."
        }
        "own_role" => "You hold this role yourself. Somebody else has to change it.",
        "system_role" => "This is a role of the blueprint, which nobody changes here.",
        "too_many_roles" => "A tenant has 200 roles of its own at most. End one first.",
        "role_in_use" => {
            return format!("{}. Take it from them first.", refusal.detail);
        }
        "privilege_escalation" => {
            return format!("{}. Nobody writes a role of more than they hold.", refusal.detail);
        }
        _ => return format!("{}.", refusal.detail.trim_end_matches('.')),
    };
    said.to_owned()
}

pub(super) fn path_of(id: Uuid) -> String {
    format!("{PATH}/{id}")
}

pub(super) fn grants(permissions: &[RolePermission]) -> Vec<Grant> {
    let grant = |one: &RolePermission| Grant {
        action: action(one),
        reach: reach(one),
        demands: demands(one),
    };
    permissions.iter().map(grant).collect()
}

pub(super) fn people(holders: i64) -> String {
    match holders {
        0 => "Nobody".to_owned(),
        1 => "One person".to_owned(),
        many => format!("{many} people"),
    }
}

const fn whose(role_type: RoleType) -> &'static str {
    match role_type {
        RoleType::System => "The blueprint’s",
        RoleType::Custom => "Your own",
    }
}

async fn draw(visitor: &Visitor, id: Uuid, asked: String, refusal: Option<Refusal>) -> Answer {
    let role = visitor.console.identity.role(visitor.context(), id).await?;
    let path = path_of(id);
    let mut page =
        visitor.page(kit::words(&role.name)).crumb("Roles", PATH).api(format!("/v1/roles/{id}"));
    page.path.clone_from(&path);
    let is_custom = role.role_type == RoleType::Custom;
    let may = visitor.may(Permission::SettingsUpdate);
    let holds = visitor.context().actor.roles.contains(&role.name);
    let sees_people = visitor.console.operations.scope(visitor.context(), Permission::UserRead);
    let status = refusal.as_ref().map_or(StatusCode::OK, status_of);
    visitor.show_as(
        status,
        &RolePage {
            page,
            path,
            whose: whose(role.role_type),
            holders: people(role.holders),
            grants: grants(&role.permissions),
            changed: kit::time(role.updated_at, &visitor.zone()),
            people: sees_people.is_all().then(|| format!("/users?role={}", role.name)),
            refused: refusal.as_ref().map(words),
            may_create: may,
            may_change: may && is_custom && !holds,
            asked,
            role,
        },
    )
}
