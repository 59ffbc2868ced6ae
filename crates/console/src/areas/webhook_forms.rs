//! Setting up a webhook and changing where and of what it is told. A change is made on the
//! version that was drawn: where somebody else was faster, both values are shown.

use std::collections::BTreeSet;

use ::webhooks::{NewWebhook, Webhook, WebhookChange};
use access::Permission;
use askama::Template;
use axum::extract::Path;
use http::StatusCode;
use operation::{OperationError, Refusal, RefusalKind};
use uuid::Uuid;

use super::{
    under_way,
    webhook::{self, is_under_way, kindly, path_of, proven, version_of},
    webhooks::PATH,
};
use crate::{
    fault::{Answer, Fault},
    form::Form,
    kit,
    page::Page,
    params::Params,
    visitor::Visitor,
};

const NEW: &str = "/webhooks/new";

#[derive(Template)]
#[template(path = "areas/webhook_form.html")]
struct Drawn {
    page: Page,
    action: String,
    /// Where to, undone.
    back: String,
    form: Form,
    /// The kinds of events, by what they are about.
    kinds: Vec<(String, Vec<Choice>)>,
    step: Step,
    /// Where two people disagree: field, now, yours.
    conflicts: Vec<(&'static str, String, String)>,
}

/// What the form is for.
enum Step {
    /// To make one, once.
    New(String),
    /// To change one at this version.
    Change(i64),
}

/// A kind of event that may be ticked.
struct Choice {
    name: String,
    verb: String,
    is_chosen: bool,
}

/// `GET /webhooks/new`. A factor that is due is asked for before anything is typed.
pub(crate) async fn blank(visitor: Visitor, params: Params) -> Answer {
    demand(&visitor)?;
    proven(&visitor).await?;
    draw_new(&visitor, &params, (Form::new(&params), StatusCode::OK))
}

/// `POST /webhooks/new`.
pub(crate) async fn create(visitor: Visitor, form: Params) -> Answer {
    demand(&visitor)?;
    let once = visitor.once_of(&form)?;
    proven(&visitor).await?;
    let new = NewWebhook { url: form.text("url").to_owned(), event_types: ticked(&form) };
    let (webhooks, context) = (&visitor.console.webhooks, visitor.context());
    let attempt = || webhooks.create(context, Some(once.clone()), new.clone());
    match under_way::settled(attempt, is_under_way).await {
        Ok(issued) => webhook::secret(&visitor, issued, StatusCode::CREATED),
        Err(OperationError::Refused(refusal)) if under_way::is_under_way(&refusal) => {
            under_way::draw(&visitor, NEW, &form)
        }
        Err(OperationError::Refused(refusal)) => {
            let status = match refusal.kind {
                RefusalKind::Rule => StatusCode::UNPROCESSABLE_ENTITY,
                RefusalKind::Conflict => StatusCode::CONFLICT,
                _ => return Err(refusal.into()),
            };
            draw_new(&visitor, &form, (Form::refused(&form, &kindly(refusal)), status))
        }
        Err(error) => Err(error.into()),
    }
}

/// `GET /webhooks/{id}/edit`.
pub(crate) async fn edit(visitor: Visitor, Path(id): Path<Uuid>) -> Answer {
    let webhook = visitor.console.webhooks.one(visitor.context(), id).await?;
    demand(&visitor)?;
    proven(&visitor).await?;
    let now = filled(&webhook);
    let drawn = (Form::new(&now), webhook.version);
    draw_edit(&visitor, (&webhook, &now), drawn, (Vec::new(), StatusCode::OK))
}

/// `POST /webhooks/{id}/edit`.
pub(crate) async fn save(visitor: Visitor, Path(id): Path<Uuid>, form: Params) -> Answer {
    let webhook = visitor.console.webhooks.one(visitor.context(), id).await?;
    demand(&visitor)?;
    let expected = version_of(&form)?;
    proven(&visitor).await?;
    let change = WebhookChange {
        url: Some(form.text("url").to_owned()),
        event_types: Some(ticked(&form)),
        status: None,
    };
    let wish = (id, Some(expected));
    match visitor.console.webhooks.update(visitor.context(), wish, change).await {
        Ok(_) => visitor.redirect_saying(&path_of(id), "Changes saved"),
        Err(OperationError::Refused(refusal)) => {
            not_saved(&visitor, &webhook, &form, (kindly(refusal), expected)).await
        }
        Err(error) => Err(error.into()),
    }
}

async fn not_saved(
    visitor: &Visitor,
    seen: &Webhook,
    form: &Params,
    (refusal, expected): (Refusal, i64),
) -> Answer {
    let drawn = Form::refused(form, &refusal);
    match refusal.kind {
        RefusalKind::Rule => {
            let status = StatusCode::UNPROCESSABLE_ENTITY;
            draw_edit(visitor, (seen, form), (drawn, expected), (Vec::new(), status))
        }
        RefusalKind::PreconditionFailed => {
            let now = visitor.console.webhooks.one(visitor.context(), seen.id).await?;
            let conflicts = differences(&now, form);
            if conflicts.is_empty() {
                // Somebody was faster, and wrote the same.
                return visitor.redirect_saying(&path_of(seen.id), "Changes saved");
            }
            let drawn = (drawn, now.version);
            draw_edit(visitor, (&now, form), drawn, (conflicts, StatusCode::CONFLICT))
        }
        _ => Err(refusal.into()),
    }
}

fn demand(visitor: &Visitor) -> Result<(), Fault> {
    if visitor.may(Permission::SettingsUpdate) { Ok(()) } else { Err(Fault::denied()) }
}

fn ticked(form: &Params) -> Vec<String> {
    form.all("event_types").map(str::to_owned).collect()
}

/// The form of a webhook as it is.
fn filled(webhook: &Webhook) -> Params {
    let kinds = webhook.event_types.iter().map(|name| ("event_types", name.as_str()));
    super::customer_forms::prefilled(kinds.chain([("url", webhook.url.as_str())]))
}

fn differences(now: &Webhook, form: &Params) -> Vec<(&'static str, String, String)> {
    let told = |names: &[String]| {
        names
            .iter()
            .map(String::as_str)
            .collect::<BTreeSet<_>>()
            .into_iter()
            .collect::<Vec<_>>()
            .join(", ")
    };
    let pairs = [
        ("Address", now.url.clone(), form.text("url").to_owned()),
        ("Events", told(&now.event_types), told(&ticked(form))),
    ];
    pairs.into_iter().filter(|(_, now, yours)| now != yours).collect()
}

/// What the visitor may have told, and what is told already, by what it is about.
fn kinds(visitor: &Visitor, told: &[String], chosen: &Params) -> Vec<(String, Vec<Choice>)> {
    let offered = visitor.console.webhooks.offered(visitor.context());
    let further = told.iter().map(String::as_str).filter(|name| !offered.contains(name));
    let mut kinds: Vec<(String, Vec<Choice>)> = Vec::new();
    for name in offered.iter().copied().chain(further) {
        let (kind, verb) = name.split_once('.').unwrap_or((name, name));
        let choice = Choice {
            name: name.to_owned(),
            verb: kit::words(verb),
            is_chosen: chosen.all("event_types").any(|one| one == name),
        };
        let kind = kit::words(kind);
        match kinds.iter_mut().find(|(known, _)| *known == kind) {
            Some((_, choices)) => choices.push(choice),
            None => kinds.push((kind, vec![choice])),
        }
    }
    kinds
}

fn draw_new(visitor: &Visitor, params: &Params, (form, status): (Form, StatusCode)) -> Answer {
    let body = r#"{"url":"https://hook.example/strongroom","event_types":["account.opened"]}"#;
    let mut page = visitor
        .page("New webhook")
        .lead("What happens from now on is sent there, signed.")
        .crumb("Webhooks", PATH)
        .api_call("POST", "/v1/webhooks", Some(body.to_owned()));
    NEW.clone_into(&mut page.path);
    let template = Drawn {
        page,
        action: NEW.to_owned(),
        back: PATH.to_owned(),
        form,
        kinds: kinds(visitor, &[], params),
        step: Step::New(visitor.once()),
        conflicts: Vec::new(),
    };
    visitor.show_as(status, &template)
}

/// The form, what it holds, and the version that its texts were written upon.
fn draw_edit(
    visitor: &Visitor,
    (webhook, values): (&Webhook, &Params),
    (form, version): (Form, i64),
    (conflicts, status): (Vec<(&'static str, String, String)>, StatusCode),
) -> Answer {
    let place = path_of(webhook.id);
    let mut page = visitor
        .page("Change webhook")
        .crumb("Webhooks", PATH)
        .crumb("This one", place.clone())
        // What the form shows; its `ETag` is what a change of it has to name.
        .api(format!("/v1/webhooks/{}", webhook.id));
    page.path = format!("{place}/edit");
    let template = Drawn {
        page,
        action: format!("{place}/edit"),
        back: place,
        form,
        kinds: kinds(visitor, &webhook.event_types, values),
        step: Step::Change(version),
        conflicts,
    };
    visitor.show_as(status, &template)
}
