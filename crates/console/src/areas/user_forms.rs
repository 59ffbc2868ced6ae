//! Adding a person and changing one. A change is made on the version that was drawn: where
//! somebody else was faster, both values are shown and a person decides.

use std::collections::BTreeSet;

use access::Permission;
use askama::Template;
use axum::extract::Path;
use http::StatusCode;
use identity::{Change, NewPassword, NewUser, UserRecord, UserUpdate};
use operation::{OperationError, Refusal, RefusalKind};
use uuid::Uuid;

use super::{
    customer_forms::prefilled,
    under_way,
    users::{self, demand},
};
use crate::{
    fault::{Answer, Fault},
    form::Form,
    kit,
    page::Page,
    params::Params,
    visitor::Visitor,
};

/// The fields of the form: name and label, in order.
const FIELDS: [(&str, &str); 5] = [
    ("full_name", "Name"),
    ("email", "E-mail"),
    ("phone", "Phone"),
    ("department", "Department"),
    ("role", "Role"),
];
/// Stands before the name of a further role's box.
const ALSO: &str = "also_";

#[derive(Template)]
#[template(path = "areas/user_new.html")]
struct New {
    page: Page,
    form: Form,
    once: String,
    roles: Vec<(String, String)>,
    invites: bool,
}

#[derive(Template)]
#[template(path = "areas/user_edit.html")]
struct Edit {
    page: Page,
    form: Form,
    id: Uuid,
    version: i64,
    /// Their own record: the name only.
    is_self: bool,
    roles: Vec<(String, String)>,
    /// Further roles: the box's name, the role in words, whether it is ticked.
    further: Vec<(String, String, bool)>,
    conflicts: Vec<Conflict>,
}

/// A field on which two people disagree.
struct Conflict {
    label: &'static str,
    now: String,
    yours: String,
}

/// `GET /users/new`.
pub(crate) async fn blank(visitor: Visitor, params: Params) -> Answer {
    demand(&visitor, Permission::UserCreate)?;
    draw_new(&visitor, &params, Form::new(&params), (visitor.once(), StatusCode::OK))
}

/// `POST /users/new`.
pub(crate) async fn create(visitor: Visitor, form: Params) -> Answer {
    demand(&visitor, Permission::UserCreate)?;
    let once = visitor.once_of(&form)?;
    if let Some(faulty) = incomplete(&form) {
        return draw_new(&visitor, &form, faulty, (once, StatusCode::UNPROCESSABLE_ENTITY));
    }
    let identity = &visitor.console.identity;
    let made = under_way::settled(
        || identity.create_user(visitor.context(), Some(once.clone()), new_user(&form)),
        |done| matches!(done, Err(OperationError::Refused(refusal)) if under_way::is_under_way(refusal)),
    )
    .await;
    let reply = match made {
        Ok(reply) => reply,
        Err(OperationError::Refused(refusal)) => {
            return not_made(&visitor, &form, refusal);
        }
        Err(error) => return Err(error.into()),
    };
    let to = format!("/users/{}", reply.output.id);
    if !invites(&form) {
        return visitor.redirect_saying(&to, "Person added");
    }
    // Sent twice, the form has invited them already.
    if reply.replayed {
        return visitor.redirect_saying(&to, "Person added and invited");
    }
    match identity.invite_user(visitor.context(), reply.output.id).await {
        Ok(_) => visitor.redirect_saying(&to, "Person added and invited"),
        Err(OperationError::Refused(_)) => {
            visitor.redirect_saying(&to, "Person added, not invited yet: send the invitation here")
        }
        Err(error) => Err(error.into()),
    }
}

fn not_made(visitor: &Visitor, form: &Params, refusal: Refusal) -> Answer {
    if under_way::is_under_way(&refusal) {
        return under_way::draw(visitor, "/users/new", &kept(form));
    }
    let status = match refusal.kind {
        RefusalKind::Rule => StatusCode::UNPROCESSABLE_ENTITY,
        RefusalKind::Conflict => StatusCode::CONFLICT,
        _ => return Err(refusal.into()),
    };
    // Another key: what was refused is remembered under the old one.
    let drawn = Form::refused(&kept(form), &refusal);
    draw_new(visitor, form, drawn, (visitor.once(), status))
}

/// What this form wants of itself, before anybody is made.
fn incomplete(form: &Params) -> Option<Form> {
    let drawn = Form::new(&kept(form));
    if invites(form) && form.get("email").is_none() {
        let detail = "An invitation needs an address to go to";
        return Some(drawn.fault("email", "email_missing", detail));
    }
    if !invites(form) && form.raw("password").unwrap_or_default().is_empty() {
        return Some(drawn.fault("password", "required", "Type a first password"));
    }
    None
}

fn invites(form: &Params) -> bool {
    form.get("start") != Some("password")
}

fn new_user(form: &Params) -> NewUser {
    let text = |name| form.get(name).map(str::to_owned);
    let typed = form.raw("password").unwrap_or_default().to_owned();
    NewUser {
        username: form.text("username").to_owned(),
        email: text("email"),
        phone: phone(form),
        full_name: text("full_name"),
        password: if invites(form) { NewPassword::None } else { NewPassword::Plain(typed.into()) },
        role: form.text("role").to_owned(),
        department: text("department"),
        organization_id: None,
        referral_code: None,
    }
}

fn phone(form: &Params) -> Option<String> {
    form.get("phone").map(|phone| phone.replace([' ', '-', '(', ')'], ""))
}

/// Without the password, which is never drawn again.
fn kept(form: &Params) -> Params {
    prefilled(form.without(&["password", "csrf"]).into_iter())
}

/// `GET /users/{id}/edit`.
pub(crate) async fn edit(visitor: Visitor, Path(id): Path<Uuid>) -> Answer {
    demand(&visitor, Permission::UserUpdate)?;
    let user = visitor.console.identity.user(visitor.context(), id).await?;
    let now = filled(&user);
    let drawn = (&now, Form::new(&now), user.version);
    draw_edit(&visitor, &user, drawn, (Vec::new(), StatusCode::OK)).await
}

/// `POST /users/{id}/edit`.
pub(crate) async fn save(visitor: Visitor, Path(id): Path<Uuid>, form: Params) -> Answer {
    demand(&visitor, Permission::UserUpdate)?;
    let identity = &visitor.console.identity;
    let expected = form.parsed::<i64>("version")?.ok_or_else(|| Fault::malformed("version"))?;
    let user = identity.user(visitor.context(), id).await?;
    let to = format!("/users/{id}");
    let update = update_of(&user, &form);
    if update == UserUpdate::default() && user.version == expected {
        return visitor.redirect_saying(&to, "Nothing was different");
    }
    match identity.update_user(visitor.context(), id, expected, update).await {
        Ok(saved) if saved.pending_roles.is_some() => {
            visitor.redirect_saying(&to, "Saved. Other roles wait for others to agree")
        }
        Ok(_) => visitor.redirect_saying(&to, "Changes saved"),
        Err(OperationError::Refused(refusal)) => {
            not_saved(&visitor, id, &form, (refusal, expected)).await
        }
        Err(error) => Err(error.into()),
    }
}

async fn not_saved(
    visitor: &Visitor,
    id: Uuid,
    form: &Params,
    (refusal, expected): (Refusal, i64),
) -> Answer {
    let user = visitor.console.identity.user(visitor.context(), id).await?;
    let (status, conflicts, version) = match refusal.kind {
        RefusalKind::Rule => (StatusCode::UNPROCESSABLE_ENTITY, Vec::new(), expected),
        RefusalKind::Conflict => (StatusCode::CONFLICT, Vec::new(), expected),
        RefusalKind::PreconditionFailed => {
            (StatusCode::CONFLICT, differences(&filled(&user), form), user.version)
        }
        RefusalKind::Denied if refusal.code == "privilege_escalation" => {
            (StatusCode::FORBIDDEN, Vec::new(), expected)
        }
        _ => return Err(refusal.into()),
    };
    if refusal.kind == RefusalKind::PreconditionFailed && conflicts.is_empty() {
        // Somebody was faster, and wrote the same.
        return visitor.redirect_saying(&format!("/users/{id}"), "Changes saved");
    }
    let detail = match refusal.code.as_ref() {
        "version_conflict" => "Somebody else changed this person while you were typing",
        "privilege_escalation" => "They hold, or would hold, more than you do",
        "last_administrator" => "Nobody would be left to administer the tenant",
        _ => refusal.detail.as_str(),
    };
    let said = Refusal { detail: detail.to_owned(), ..refusal.clone() };
    let drawn = (form, Form::refused(form, &said), version);
    draw_edit(visitor, &user, drawn, (conflicts, status)).await
}

/// What differs from what is there, of the fields that the form shows.
fn update_of(user: &UserRecord, form: &Params) -> UserUpdate {
    let change = |name: &str, now: Option<&String>, wanted: Option<String>| {
        if form.raw(name).is_none() || now == wanted.as_ref() {
            Change::Keep
        } else {
            Change::Set(wanted)
        }
    };
    let text = |name: &str| form.get(name).map(str::to_owned);
    let roles = wanted_roles(user, form);
    UserUpdate {
        roles: (roles != user.roles && form.raw("role").is_some()).then_some(roles),
        department: change("department", user.department.as_ref(), text("department")),
        email: change("email", user.email.as_ref(), text("email")),
        phone: change("phone", user.phone.as_ref(), phone(form)),
        full_name: change("full_name", user.full_name.as_ref(), text("full_name")),
        ..UserUpdate::default()
    }
}

/// The roles that the form asks for, the primary one first; the others as they stand now,
/// so that the same boxes are no change.
fn wanted_roles(user: &UserRecord, form: &Params) -> Vec<String> {
    let primary = form.text("role").to_owned();
    let ticked = form.without(&[]).into_iter().filter_map(|(name, _)| name.strip_prefix(ALSO));
    let mut further: Vec<String> =
        ticked.filter(|role| *role != primary).map(str::to_owned).collect();
    let place =
        |role: &String| user.roles.iter().position(|held| held == role).unwrap_or(usize::MAX);
    further.sort_by_key(place);
    further.dedup();
    std::iter::once(primary).chain(further).collect()
}

/// The form of a person as they are.
fn filled(user: &UserRecord) -> Params {
    let mut values = vec![
        ("full_name".to_owned(), user.full_name.clone()),
        ("email".to_owned(), user.email.clone()),
        ("phone".to_owned(), user.phone.clone()),
        ("department".to_owned(), user.department.clone()),
        ("role".to_owned(), Some(user.role.clone())),
    ];
    let further = user.roles.iter().filter(|role| **role != user.role);
    values.extend(further.map(|role| (format!("{ALSO}{role}"), Some("yes".to_owned()))));
    let given = values.iter().filter_map(|(name, value)| Some((name.as_str(), value.as_deref()?)));
    prefilled(given)
}

/// The fields that the form shows and that differ.
fn differences(now: &Params, yours: &Params) -> Vec<Conflict> {
    let differing = FIELDS
        .iter()
        .filter(|(name, _)| yours.raw(name).is_some() && now.text(name) != yours.text(name));
    let shown = |text: &str| if text.is_empty() { "Nothing".to_owned() } else { text.to_owned() };
    let field = |&(name, label): &(&'static str, &'static str)| Conflict {
        label,
        now: shown(now.text(name)),
        yours: shown(yours.text(name)),
    };
    let boxes = |params: &Params| {
        let ticked =
            params.without(&[]).into_iter().filter_map(|(name, _)| name.strip_prefix(ALSO));
        let mut roles: Vec<String> = ticked.map(kit::words).collect();
        roles.sort();
        roles.join(", ")
    };
    let (theirs, mine) = (boxes(now), boxes(yours));
    let further = (yours.raw("role").is_some() && theirs != mine).then(|| Conflict {
        label: "Further roles",
        now: shown(&theirs),
        yours: shown(&mine),
    });
    differing.map(field).chain(further).collect()
}

/// The roles that the visitor may give, and those that the person holds already.
fn offered(visitor: &Visitor, held: &[String], custom: &[String]) -> Vec<(String, String)> {
    let given = visitor.console.identity.grantable_roles(visitor.context());
    let blueprint = visitor.context().tenant.blueprint.roles();
    let offered = blueprint
        .iter()
        .copied()
        .filter(|role| given.contains(role) || held.iter().any(|one| one == role));
    // Whoever holds one that the visitor may not give keeps it.
    let kept = held.iter().filter(|role| !blueprint.contains(&role.as_str()));
    let custom: BTreeSet<&str> = custom.iter().chain(kept).map(String::as_str).collect();
    offered.chain(custom).map(|role| (role.to_owned(), kit::words(role))).collect()
}

fn draw_new(
    visitor: &Visitor,
    params: &Params,
    form: Form,
    (once, status): (String, StatusCode),
) -> Answer {
    let body = r#"{"username":"new.officer","role":"officer","email":"new.officer@bank.example"}"#;
    let page = visitor.page("New person").crumb("People", users::PATH).api_call(
        "POST",
        "/v1/users",
        Some(body.to_owned()),
    );
    let mut roles = offered(visitor, &[], &[]);
    // The least comes first: nobody becomes mighty by a slip.
    roles.reverse();
    let invites = invites(params);
    visitor.show_as(status, &New { page, form, once, roles, invites })
}

/// The form, what it holds, and the version that its texts were written upon.
async fn draw_edit(
    visitor: &Visitor,
    user: &UserRecord,
    (values, form, version): (&Params, Form, i64),
    (conflicts, status): (Vec<Conflict>, StatusCode),
) -> Answer {
    let page = visitor
        .page("Edit person")
        .crumb("People", users::PATH)
        .crumb(user.username.clone(), format!("/users/{}", user.id))
        // What the form shows; its `ETag` is what a change of it has to name.
        .api(format!("/v1/users/{}", user.id));
    let custom = visitor.console.identity.grantable_custom_roles(visitor.context()).await?;
    let roles = offered(visitor, &user.roles, &custom);
    let further = roles.iter().map(|(role, words)| {
        let name = format!("{ALSO}{role}");
        let is_ticked = values.get(&name).is_some();
        (name, words.clone(), is_ticked)
    });
    let further = further.collect();
    visitor.show_as(
        status,
        &Edit {
            page,
            form,
            id: user.id,
            version,
            is_self: visitor.context().actor.id == user.id,
            roles,
            further,
            conflicts,
        },
    )
}
