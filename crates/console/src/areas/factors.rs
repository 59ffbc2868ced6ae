//! A person's own second factors: the list, their names, taking one away.
//!
//! Everything here is the person's own, whatever their role; identity sees to that, and to
//! what adding and removing take. Refuses to know how a factor is set up.

use askama::Template;
use axum::extract::Path;
use http::StatusCode;
use identity::{FactorRecord, Method, PasskeyRecord};
use jiff::tz::TimeZone;
use operation::OperationError;
use uuid::Uuid;

use super::{
    codes::{know_passkeys, told, words},
    factor_setup::METHODS,
    second_step::retry_after,
    security,
};
use crate::{
    fault::{Answer, Fault},
    form::Form,
    kit,
    page::Page,
    params::Params,
    visitor::Visitor,
};

/// Where the list is.
pub(super) const PATH: &str = "/security/factors";

#[derive(Template)]
#[template(path = "areas/factors.html")]
struct FactorsPage {
    page: Page,
    tabs: Vec<security::Tab>,
    lines: Vec<Line>,
    /// How many backup codes are left, where there are any factors.
    backup: Option<i32>,
    offers: Vec<(&'static str, &'static str)>,
    offers_passkey: bool,
    fault: Option<String>,
}

/// A factor as it is listed, passkeys one by one.
struct Line {
    href: String,
    name: String,
    kind: String,
    added: Option<kit::Markup>,
    used: Option<kit::Markup>,
}

#[derive(Template)]
#[template(path = "areas/factor.html")]
pub(super) struct FactorPage {
    pub(super) page: Page,
    pub(super) form: Form,
    pub(super) path: String,
    /// The version that is shown, so that nobody changes what they have not seen.
    pub(super) version: i64,
    pub(super) facts: Vec<(&'static str, kit::Markup)>,
    /// What becomes of it, in words.
    pub(super) removal: &'static str,
}

/// `GET /security/factors`.
pub(crate) async fn list(visitor: Visitor) -> Answer {
    draw(&visitor, (StatusCode::OK, None)).await
}

/// `GET /security/factors/{id}`.
pub(crate) async fn show(visitor: Visitor, Path(id): Path<Uuid>) -> Answer {
    let factor = found(&visitor, id).await?;
    let form = Form::new(&named(&factor.name));
    visitor.show(&one(&visitor, &factor, form))
}

/// `POST /security/factors/{id}`: another name.
pub(crate) async fn rename(visitor: Visitor, Path(id): Path<Uuid>, form: Params) -> Answer {
    let factor = found(&visitor, id).await?;
    let identity = &visitor.console.identity;
    let named = (id, form.parsed("version")?);
    match identity.rename_factor(visitor.context(), named, form.text("name")).await {
        Ok(_) => visitor.redirect_saying(PATH, "Renamed"),
        Err(OperationError::Refused(refusal)) if !refusal.errors.is_empty() => {
            let form = Form::refused(&form, &refusal);
            visitor.show_as(StatusCode::UNPROCESSABLE_ENTITY, &one(&visitor, &factor, form))
        }
        Err(error) => refused(&visitor, error).await,
    }
}

/// `POST /security/factors/{id}/remove`.
pub(crate) async fn remove(visitor: Visitor, Path(id): Path<Uuid>, form: Params) -> Answer {
    let factor = (id, form.parsed("version")?);
    match visitor.console.identity.remove_factor(visitor.context(), factor).await {
        Ok(()) => visitor.redirect_saying(PATH, "Removed"),
        Err(error) => refused(&visitor, error).await,
    }
}

/// `GET` of what only a form is sent to: whoever comes back from proving a factor finds
/// the form.
pub(crate) async fn again(visitor: Visitor, Path(id): Path<Uuid>) -> Answer {
    visitor.redirect(&format!("{PATH}/{id}"))
}

/// The list, saying what could not be done.
pub(super) async fn refused(visitor: &Visitor, error: OperationError) -> Answer {
    let OperationError::Refused(refusal) = error else { return Err(error.into()) };
    let Some(told) = told(&refusal) else { return Err(refusal.into()) };
    let mut response = draw(visitor, (told.status, Some(told.words))).await?;
    retry_after(&mut response, told.retry_after_s);
    Ok(response)
}

/// A form's fields that hold a name.
pub(super) fn named(name: &str) -> Params {
    let mut query = form_urlencoded::Serializer::new(String::new());
    Params::parse(query.append_pair("name", name).finish().as_bytes()).unwrap_or_default()
}

/// A moment, or that there was none.
pub(super) fn moment(at: Option<jiff::Timestamp>, zone: &TimeZone) -> kit::Markup {
    at.map_or_else(|| kit::Markup::made("Never".to_owned()), |at| kit::time(at, zone))
}

async fn found(visitor: &Visitor, id: Uuid) -> Result<FactorRecord, Fault> {
    let factors = visitor.console.identity.factors(visitor.context()).await?;
    let wanted = |factor: &FactorRecord| factor.id == Some(id) && factor.method != Method::Passkey;
    factors.into_iter().find(wanted).ok_or_else(Fault::not_found)
}

fn one(visitor: &Visitor, factor: &FactorRecord, form: Form) -> FactorPage {
    let zone = visitor.zone();
    let id = factor.id.unwrap_or_default();
    let page = visitor
        .page(&factor.name)
        .crumb("Security", "/security")
        .crumb("Second factors", PATH)
        .api("/v1/auth/mfa/methods");
    FactorPage {
        page,
        form,
        path: format!("{PATH}/{id}"),
        version: factor.version.unwrap_or_default(),
        facts: vec![
            ("Kind", kit::Markup::made(words(factor.method).to_owned())),
            ("Added", moment(factor.confirmed_at, &zone)),
            ("Last used", moment(factor.last_used_at, &zone)),
        ],
        removal: "It proves nothing from then on. If it is your only second factor, it stays: add another one first.",
    }
}

async fn draw(visitor: &Visitor, (status, fault): (StatusCode, Option<String>)) -> Answer {
    let (identity, context) = (&visitor.console.identity, visitor.context());
    let zone = visitor.zone();
    let held = identity.factors(context).await?;
    let passkeys = identity.passkeys(context).await?;
    let offered = identity.policy(context).await?.mfa.methods;
    let holds = |method| held.iter().any(|held| held.method == method);
    let is_open =
        |method: Method| !holds(method) && offered.iter().any(|offered| offered == method.as_str());
    let offers = METHODS.into_iter().filter(|(method, _)| is_open(*method));
    let backup = held.iter().find(|held| held.method == Method::Backup);
    let has_factors = held.iter().any(|held| held.id.is_some());
    let gives_codes = offered.iter().any(|offered| offered == Method::Backup.as_str());
    let plain = held.iter().filter(|held| held.method != Method::Passkey);
    let lines = passkeys.iter().map(|passkey| key_line(passkey, &zone));
    let lines = lines.chain(plain.filter_map(|held| line(held, &zone))).collect();
    let page = visitor
        .page("Security")
        .lead("What you show beside your password, so that the password alone opens nothing.")
        .api("/v1/auth/mfa/methods");
    let template = FactorsPage {
        page,
        tabs: security::tabs(PATH),
        lines,
        backup: (has_factors && gives_codes)
            .then(|| backup.and_then(|backup| backup.remaining).unwrap_or(0)),
        offers: offers.map(|(method, verb)| (method.as_str(), verb)).collect(),
        offers_passkey: know_passkeys(&offered),
        fault,
    };
    visitor.show_as(status, &template)
}

fn line(factor: &FactorRecord, zone: &TimeZone) -> Option<Line> {
    let id = factor.id?;
    Some(Line {
        href: format!("{PATH}/{id}"),
        name: factor.name.clone(),
        kind: words(factor.method).to_owned(),
        added: factor.confirmed_at.map(|at| kit::time(at, zone)),
        used: factor.last_used_at.map(|at| kit::time(at, zone)),
    })
}

fn key_line(passkey: &PasskeyRecord, zone: &TimeZone) -> Line {
    Line {
        href: format!("{}/{}", super::passkeys::PATH, passkey.id),
        name: passkey.name.clone(),
        kind: super::passkeys::kind(passkey).to_owned(),
        added: Some(kit::time(passkey.created_at, zone)),
        used: passkey.last_used_at.map(|at| kit::time(at, zone)),
    }
}
