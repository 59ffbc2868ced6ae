//! API keys: the machines that may ask, made, given a new secret and ended.
//!
//! A secret is drawn once, in the answer to the form that made it: it stands in no address
//! and no other page, and the same form sent again says that it was shown.

use std::collections::BTreeMap;

use access::Permission;
use askama::Template;
use axum::extract::Path;
use http::StatusCode;
use identity::{ApiKeyRecord, ApiKeyRotation, IssuedOnce, NewApiKey};
use jiff::{Timestamp, civil::Date, tz::TimeZone};
use operation::{OperationError, Refusal, RefusalKind};
use uuid::Uuid;
use zeroize::Zeroizing;

use super::{
    keys::{Tabs, tabs},
    under_way,
};
use crate::{
    fault::{Answer, Fault},
    form::Form,
    kit::{self, Markup},
    page::Page,
    params::Params,
    visitor::Visitor,
};

pub(crate) const PATH: &str = "/keys/api";

#[derive(Template)]
#[template(path = "areas/api_keys.html")]
struct Keys {
    page: Page,
    tabs: Tabs,
    lines: Vec<Line>,
    may_create: bool,
    first: Option<String>,
    next: Option<String>,
}

/// A key as it is drawn.
struct Line {
    id: Uuid,
    name: String,
    hint: String,
    status: &'static str,
    role: String,
    /// What it is confined to; empty where to nothing.
    scopes: Vec<String>,
    networks: Vec<String>,
    certificate: Option<String>,
    owner: String,
    made: Markup,
    expires: Markup,
    used: Option<Markup>,
    rotated: Option<Markup>,
    /// Until when the secret before is good as well.
    previous: Option<Markup>,
    revoked: Option<Markup>,
    version: i64,
}

#[derive(Template)]
#[template(path = "areas/api_key.html")]
struct KeyPage {
    page: Page,
    path: String,
    key: Line,
    refused: Option<String>,
    once: String,
    may_rotate: bool,
    may_revoke: bool,
    asked: String,
}

#[derive(Template)]
#[template(path = "areas/api_key_new.html")]
struct New {
    page: Page,
    form: Form,
    roles: Vec<(String, String)>,
    /// The role that was chosen, and what it may, by kind; none before it is.
    role: Option<String>,
    permissions: Vec<(String, Vec<Choice>)>,
    is_confined: bool,
    once: String,
}

/// A permission that may be ticked: its name, its verb, whether it is.
struct Choice {
    name: &'static str,
    verb: String,
    is_chosen: bool,
}

#[derive(Template)]
#[template(path = "areas/api_key_secret.html")]
struct SecretPage {
    page: Page,
    name: String,
    path: String,
    /// Shown this once; none where it was shown before.
    secret: Option<Zeroizing<String>>,
    previous: Option<Markup>,
}

/// `GET /keys/api`.
pub(crate) async fn list(visitor: Visitor, params: Params) -> Answer {
    let wanted = visitor.page_request(PATH, &params).await?;
    let found = visitor.console.identity.api_keys(visitor.context(), &wanted).await?;
    let next = visitor.next_page(PATH, &params, found.next.as_deref()).await?;
    let page = visitor
        .page("Keys")
        .lead("What programs present, newest first. A secret is shown once, when it is made.")
        .api("/v1/api-keys");
    visitor.show(&Keys {
        page,
        tabs: tabs(PATH),
        lines: lines(&visitor, found.data).await?,
        may_create: visitor.may(Permission::KeyCreate),
        first: params.get("cursor").map(|_| PATH.to_owned()),
        next,
    })
}

/// `GET /keys/api/{id}`.
pub(crate) async fn show(visitor: Visitor, Path(id): Path<Uuid>, params: Params) -> Answer {
    draw(&visitor, id, None, params.text("confirm").to_owned()).await
}

/// `GET` of what only a form is sent to.
pub(crate) async fn begin(visitor: Visitor, Path(id): Path<Uuid>) -> Answer {
    visitor.redirect(&format!("{PATH}/{id}"))
}

/// `GET /keys/api/new?role=`: the role first, then what of it.
pub(crate) async fn blank(visitor: Visitor, params: Params) -> Answer {
    ask(&visitor, &params, Form::new(&params), StatusCode::OK)
}

/// `POST /keys/api/new`.
pub(crate) async fn create(visitor: Visitor, form: Params) -> Answer {
    let once = visitor.once_of(&form)?;
    let new = match wish(&form, &visitor.zone()) {
        Ok(new) => new,
        Err(faulty) => return ask(&visitor, &form, faulty, StatusCode::UNPROCESSABLE_ENTITY),
    };
    let (identity, context) = (&visitor.console.identity, visitor.context());
    let make = || identity.create_api_key_once(context, once.clone(), new.clone());
    match under_way::settled(make, is_under_way).await {
        Ok(issued) => secret(&visitor, issued, StatusCode::CREATED),
        Err(OperationError::Refused(refusal)) if under_way::is_under_way(&refusal) => {
            under_way::draw(&visitor, "/keys/api/new", &form)
        }
        Err(OperationError::Refused(refusal)) if is_for_the_form(&refusal) => {
            let drawn = Form::refused(&form, &kindly(refusal));
            ask(&visitor, &form, drawn, StatusCode::UNPROCESSABLE_ENTITY)
        }
        Err(error) => Err(error.into()),
    }
}

/// `POST /keys/api/{id}/rotate`.
pub(crate) async fn rotate(visitor: Visitor, Path(id): Path<Uuid>, form: Params) -> Answer {
    let once = visitor.once_of(&form)?;
    let rotation =
        ApiKeyRotation { overlap_s: form.parsed::<i64>("overlap_s")?, ..ApiKeyRotation::default() };
    let wish = (id, form.parsed("version")?, rotation);
    let (identity, context) = (&visitor.console.identity, visitor.context());
    let make = || identity.rotate_api_key_once(context, once.clone(), wish.clone());
    match under_way::settled(make, is_under_way).await {
        Ok(issued) => secret(&visitor, issued, StatusCode::OK),
        Err(OperationError::Refused(refusal)) if under_way::is_under_way(&refusal) => {
            under_way::draw(&visitor, &format!("{PATH}/{id}/rotate"), &form)
        }
        Err(OperationError::Refused(refusal)) if is_for_the_form(&refusal) => {
            draw(&visitor, id, Some(kindly(refusal).detail), String::new()).await
        }
        Err(error) => Err(error.into()),
    }
}

/// `POST /keys/api/{id}/revoke`.
/// Whatever its version: what leaks is ended first and read again afterwards.
pub(crate) async fn revoke(visitor: Visitor, Path(id): Path<Uuid>) -> Answer {
    visitor.console.identity.revoke_api_key(visitor.context(), (id, None)).await?;
    visitor.redirect_saying(&format!("{PATH}/{id}"), "Revoked. It opens nothing any more")
}

fn is_under_way<T>(done: &Result<T, OperationError>) -> bool {
    matches!(done, Err(OperationError::Refused(refusal)) if under_way::is_under_way(refusal))
}

fn is_for_the_form(refusal: &Refusal) -> bool {
    use RefusalKind::{Conflict, PreconditionFailed, Rule};
    matches!(refusal.kind, Rule | Conflict | PreconditionFailed)
}

/// The refusal in words that tell the next step, under the names of the form.
fn kindly(mut refusal: Refusal) -> Refusal {
    if refusal.code == "version_conflict" {
        refusal.detail = String::from("The key was changed meanwhile. Here is how it stands now.");
    }
    if refusal.code == "api_key_over" {
        refusal.detail = String::from("This key is revoked or has expired. Make another one.");
    }
    if refusal.code == "idempotency_key_reused" {
        refusal.detail = String::from("This form made a key before. Send it anew to make another.");
        refusal.errors.clear();
    }
    for error in &mut refusal.errors {
        let (field, message) = match error.field.as_ref() {
            "name" => ("name", "Write a name of 1 to 100 characters."),
            "scopes" => ("scopes", "Tick one permission at least, or choose all of them."),
            "expires_at" => ("expires_on", "Choose a day from tomorrow to 366 days from now."),
            "allowed_networks" => (
                "allowed_networks",
                "Write one network a line, like 10.0.0.0/8 or 192.0.2.7; at most 50.",
            ),
            "certificate_thumbprint" => (
                "certificate_thumbprint",
                "Write the certificate’s SHA-256 in base64url: 43 characters.",
            ),
            _ => continue,
        };
        error.field = field.into();
        message.clone_into(&mut error.message);
    }
    refusal
}

fn wish(form: &Params, zone: &TimeZone) -> Result<NewApiKey, Form> {
    let lines = |name: &str| -> Vec<String> {
        let lines = form.text(name).lines().map(str::trim).filter(|line| !line.is_empty());
        lines.map(str::to_owned).collect()
    };
    let is_confined = form.text("reach") == "some";
    Ok(NewApiKey {
        name: form.text("name").to_owned(),
        role: form.text("role").to_owned(),
        scopes: is_confined.then(|| form.all("scopes").map(str::to_owned).collect()),
        networks: lines("allowed_networks"),
        certificate_thumbprint: form.get("certificate_thumbprint").map(str::to_owned),
        expires_at: form.get("expires_on").map(|day| end_of(day, zone)).transpose().map_err(
            |()| {
                let message = "Choose a day from tomorrow to 366 days from now.";
                Form::new(form).fault("expires_on", "invalid_value", message)
            },
        )?,
    })
}

/// The moment at which a day of the tenant is over.
fn end_of(day: &str, zone: &TimeZone) -> Result<Timestamp, ()> {
    let day: Date = day.parse().map_err(|_| ())?;
    let next = day.tomorrow().map_err(|_| ())?;
    Ok(next.to_zoned(zone.clone()).map_err(|_| ())?.timestamp())
}

fn ask(visitor: &Visitor, params: &Params, form: Form, status: StatusCode) -> Answer {
    if !visitor.may(Permission::KeyCreate) {
        return Err(Fault::denied());
    }
    let grantable = visitor.console.identity.grantable_roles(visitor.context());
    let role = params.get("role").filter(|role| grantable.contains(role));
    let permissions = role.map(|role| permissions(visitor, role, params)).unwrap_or_default();
    let mut page = visitor
        .page("New API key")
        .lead(match role {
            None => "A key acts in one role. Which one?",
            Some(_) => "Give it no more than the program needs.",
        })
        .crumb("Keys", super::keys::PATH)
        .crumb("API keys", PATH)
        .api("/v1/api-keys");
    "/keys/api/new".clone_into(&mut page.path);
    let roles = grantable.iter().map(|role| ((*role).to_owned(), kit::words(role)));
    visitor.show_as(
        status,
        &New {
            page,
            roles: roles.collect(),
            role: role.map(str::to_owned),
            permissions,
            is_confined: params.text("reach") != "all",
            form,
            once: visitor.once(),
        },
    )
}

/// What a role may, by kind of object.
fn permissions(visitor: &Visitor, role: &str, params: &Params) -> Vec<(String, Vec<Choice>)> {
    let policies = visitor.console.operations.policies();
    let blueprint = visitor.context().tenant.blueprint;
    let mut kinds: BTreeMap<String, Vec<Choice>> = BTreeMap::new();
    for permission in Permission::ALL {
        if policies.scope(blueprint, &[role], *permission).is_none() {
            continue;
        }
        let name = permission.as_str();
        let (kind, verb) = name.split_once(':').unwrap_or((name, ""));
        let is_chosen = params.all("scopes").any(|chosen| chosen == name);
        let choice = Choice { name, verb: kit::words(verb), is_chosen };
        kinds.entry(kit::words(kind)).or_default().push(choice);
    }
    kinds.into_iter().collect()
}

fn secret(visitor: &Visitor, issued: IssuedOnce, status: StatusCode) -> Answer {
    let (record, secret) = match issued {
        IssuedOnce::Now(issued) => (issued.record, Some(issued.secret)),
        IssuedOnce::Before(record) => (record, None),
    };
    let path = format!("{PATH}/{}", record.id);
    let (title, lead) = match &secret {
        Some(_) => ("Copy the secret now", "It is shown this once. Nobody can show it again."),
        None => ("The secret was shown before", "This form was sent twice and done once."),
    };
    let mut page = visitor
        .page(title)
        .lead(lead)
        .crumb("Keys", super::keys::PATH)
        .crumb("API keys", PATH)
        .api(format!("/v1/api-keys/{}", record.id));
    page.path.clone_from(&path);
    let zone = visitor.zone();
    let previous = record.previous_until.map(|at| kit::time(at, &zone));
    let status = if secret.is_some() { status } else { StatusCode::OK };
    visitor.show_as(status, &SecretPage { page, name: record.name, path, secret, previous })
}

async fn draw(visitor: &Visitor, id: Uuid, refused: Option<String>, asked: String) -> Answer {
    let record = visitor.console.identity.api_key(visitor.context(), id).await?;
    let path = format!("{PATH}/{id}");
    let mut page = visitor
        .page(record.name.clone())
        .crumb("Keys", super::keys::PATH)
        .crumb("API keys", PATH)
        .api(format!("/v1/api-keys/{id}"));
    page.path.clone_from(&path);
    let key = lines(visitor, vec![record]).await?.pop().ok_or_else(Fault::not_found)?;
    let lives = key.status == "active";
    let status = match refused {
        Some(_) => StatusCode::CONFLICT,
        None => StatusCode::OK,
    };
    visitor.show_as(
        status,
        &KeyPage {
            page,
            path,
            key,
            refused,
            once: visitor.once(),
            may_rotate: lives && visitor.may(Permission::KeyRotate),
            may_revoke: lives && visitor.may(Permission::KeyRevoke),
            asked,
        },
    )
}

async fn lines(visitor: &Visitor, records: Vec<ApiKeyRecord>) -> Result<Vec<Line>, Fault> {
    let (zone, now) = (visitor.zone(), visitor.context().clock.now());
    let mut owners: Vec<Uuid> = records.iter().filter_map(|key| key.created_by).collect();
    owners.sort_unstable();
    owners.dedup();
    let names = if !owners.is_empty() && visitor.may(Permission::UserRead) {
        visitor.console.identity.user_names(visitor.context(), &owners, &[]).await?
    } else {
        Vec::new()
    };
    let owner = |key: &ApiKeyRecord| match key.created_by {
        None => "The operator, at the command line".to_owned(),
        Some(id) => {
            let found = names.iter().find(|(known, _)| *known == id);
            found.map_or_else(|| "Not shown".to_owned(), |(_, name)| name.clone())
        }
    };
    let line = |key: ApiKeyRecord| Line {
        id: key.id,
        status: match key.revoked_at {
            Some(_) => "revoked",
            None if key.expires_at <= now => "expired",
            None => "active",
        },
        owner: owner(&key),
        role: kit::words(&key.role),
        scopes: key.scopes.unwrap_or_default(),
        networks: key.networks,
        certificate: key.certificate_thumbprint,
        made: kit::time(key.created_at, &zone),
        expires: kit::time(key.expires_at, &zone),
        used: key.last_used_at.map(|at| kit::time(at, &zone)),
        rotated: key.rotated_at.map(|at| kit::time(at, &zone)),
        previous: key.previous_until.filter(|at| *at > now).map(|at| kit::time(at, &zone)),
        revoked: key.revoked_at.map(|at| kit::time(at, &zone)),
        name: key.name,
        hint: key.hint,
        version: key.version,
    };
    Ok(records.into_iter().map(line).collect())
}
