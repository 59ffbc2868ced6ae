//! One webhook: how it stands, what became of what it was told, and what may be done to it.
//!
//! A secret is drawn once, in the answer to the form that made it: it stands in no address
//! and no other page, and the same form sent again says that it was shown.

use ::webhooks::{Delivery, DeliveryStatus, Issued, Replay, Webhook, WebhookChange, WebhookStatus};
use access::Permission;
use askama::Template;
use axum::extract::Path;
use http::StatusCode;
use jiff::tz::TimeZone;
use operation::{OperationError, Refusal, RefusalKind};
use uuid::Uuid;
use zeroize::Zeroizing;

use super::{
    as_api::{AsApi, address},
    customer_forms::prefilled,
    customers::choices,
    under_way,
    webhooks::PATH,
};
use crate::{
    fault::{Answer, Fault},
    form::Form,
    kit::{self, Markup},
    page::Page,
    params::Params,
    visitor::Visitor,
};

/// The dialog that asks from where on to replay.
const ASK_REPLAY: &str = "ask-replay";

#[derive(Template)]
#[template(path = "areas/webhook.html")]
struct WebhookPage {
    page: Page,
    path: String,
    webhook: Webhook,
    facts: Facts,
    refused: Option<String>,
    /// Of the place to replay from.
    form: Form,
    onces: [String; 3],
    may_change: bool,
    asked: String,
    params: Params,
    statuses: Vec<(String, String)>,
    list: Rows,
}

/// What is known of it, in words.
struct Facts {
    made: Markup,
    made_by: String,
    failing: Option<Markup>,
    /// Until when the secret before signs as well.
    previous: Option<Markup>,
}

#[derive(Template)]
#[template(path = "areas/webhook_deliveries.html")]
struct Rows {
    path: String,
    csrf: (&'static str, String),
    lines: Vec<Line>,
    may_change: bool,
    is_filtered: bool,
    api: AsApi,
    first: Option<String>,
    next: Option<String>,
}

/// Drawn inside the page: a template, and as such escaped already.
impl askama::filters::HtmlSafe for Rows {}

/// A delivery as a row draws it.
struct Line {
    event: Uuid,
    event_type: String,
    object: String,
    object_id: Uuid,
    /// Its place in the log; none of a test, which is not replayed.
    position: Option<i64>,
    status: &'static str,
    attempts: i32,
    /// What the last attempt was answered, and how long that took.
    answered: String,
    took: String,
    /// What becomes, or became, of it: words and when.
    end: (&'static str, Markup),
    once: String,
}

#[derive(Template)]
#[template(path = "areas/webhook_secret.html")]
struct SecretPage {
    page: Page,
    url: String,
    path: String,
    /// Shown this once; none where it was shown before.
    secret: Option<Zeroizing<String>>,
    previous: Option<Markup>,
}

/// What a drawing is asked for besides the webhook itself.
#[derive(Default)]
struct Asked {
    params: Params,
    refused: Option<Refusal>,
    /// The dialog that stands open.
    dialog: String,
    form: Form,
}

/// `GET /webhooks/{id}`.
pub(crate) async fn show(visitor: Visitor, Path(id): Path<Uuid>, params: Params) -> Answer {
    let dialog = params.text("confirm").to_owned();
    let params = prefilled(params.without(&["confirm"]).into_iter());
    draw(&visitor, id, Asked { params, dialog, ..Asked::default() }).await
}

/// `GET` of what only a form is sent to.
pub(crate) async fn begin(visitor: Visitor, Path(id): Path<Uuid>) -> Answer {
    visitor.redirect(&path_of(id))
}

/// `POST /webhooks/{id}/status`: told nothing from now on, or told again.
pub(crate) async fn change_status(visitor: Visitor, Path(id): Path<Uuid>, form: Params) -> Answer {
    let (status, said) = match form.text("status") {
        "active" => (WebhookStatus::Active, "Enabled. It is told what happened meanwhile as well"),
        "disabled" => (WebhookStatus::Disabled, "Disabled. It is told nothing from now on"),
        _ => return Err(Fault::malformed("status")),
    };
    let change = WebhookChange { status: Some(status), ..WebhookChange::default() };
    let wish = (id, Some(version_of(&form)?));
    proven(&visitor).await?;
    let done = visitor.console.webhooks.update(visitor.context(), wish, change).await;
    settle(&visitor, id, done.map(|_| said.to_owned())).await
}

/// `POST /webhooks/{id}/delete`.
pub(crate) async fn delete(visitor: Visitor, Path(id): Path<Uuid>, form: Params) -> Answer {
    let wish = (id, Some(version_of(&form)?));
    proven(&visitor).await?;
    match visitor.console.webhooks.delete(visitor.context(), wish).await {
        Ok(()) => visitor.redirect_saying(PATH, "Deleted. It is told nothing any more"),
        Err(error) => settle(&visitor, id, Err(error)).await,
    }
}

/// `POST /webhooks/{id}/test`.
pub(crate) async fn test(visitor: Visitor, Path(id): Path<Uuid>, form: Params) -> Answer {
    let once = visitor.once_of(&form)?;
    proven(&visitor).await?;
    let (webhooks, context) = (&visitor.console.webhooks, visitor.context());
    let attempt = || webhooks.test(context, Some(once.clone()), id);
    let done = under_way::settled(attempt, is_under_way).await;
    if is_under_way(&done) {
        return under_way::draw(&visitor, &format!("{}/test", path_of(id)), &form);
    }
    settle(&visitor, id, done.map(|_| "On its way. It stands among the deliveries".to_owned()))
        .await
}

/// `POST /webhooks/{id}/replay`: one event, or all from a place on.
pub(crate) async fn replay(visitor: Visitor, Path(id): Path<Uuid>, form: Params) -> Answer {
    let once = visitor.once_of(&form)?;
    let wish = if let Some(event) = form.id("event_id")? {
        Replay::Events(vec![event])
    } else {
        let Ok(position) = form.text("from_position").parse() else {
            let fault = Refusal::rule("validation_failed", "from_position", "No position");
            return replay_refused(&visitor, id, (&form, fault)).await;
        };
        Replay::From(position)
    };
    proven(&visitor).await?;
    let (webhooks, context) = (&visitor.console.webhooks, visitor.context());
    let attempt = || webhooks.replay(context, Some(once.clone()), (id, wish.clone()));
    let said = |count: i64| match count {
        0 => "Nothing that it was to be told lies there".to_owned(),
        1 => "One event is delivered again".to_owned(),
        many => format!("{many} events are delivered again"),
    };
    match under_way::settled(attempt, is_under_way).await {
        Err(OperationError::Refused(refusal)) if under_way::is_under_way(&refusal) => {
            under_way::draw(&visitor, &format!("{}/replay", path_of(id)), &form)
        }
        Err(OperationError::Refused(refusal)) if form.get("event_id").is_none() => {
            replay_refused(&visitor, id, (&form, refusal)).await
        }
        done => settle(&visitor, id, done.map(|reply| said(reply.output.count))).await,
    }
}

/// The dialog once more, its field at fault; everything that is no fault of a field as it is.
async fn replay_refused(
    visitor: &Visitor,
    id: Uuid,
    (form, refusal): (&Params, Refusal),
) -> Answer {
    if refusal.kind != RefusalKind::Rule {
        return settle(visitor, id, Err(refusal.into())).await;
    }
    let words = match refusal.code.as_ref() {
        "too_many_events" => "More than 10,000 events lie behind it. Begin later.",
        _ => "Write a position: a whole number from 1 on, as the deliveries have it.",
    };
    let typed = Form::new(form).fault("from_position", "invalid_value", words);
    let asked = Asked {
        refused: Some(Refusal { detail: words.to_owned(), ..refusal }),
        dialog: ASK_REPLAY.to_owned(),
        form: typed,
        ..Asked::default()
    };
    draw(visitor, id, asked).await
}

/// `POST /webhooks/{id}/rotate`.
pub(crate) async fn rotate(visitor: Visitor, Path(id): Path<Uuid>, form: Params) -> Answer {
    let once = visitor.once_of(&form)?;
    let wish = (id, Some(version_of(&form)?), form.parsed::<i64>("overlap_s")?);
    proven(&visitor).await?;
    let (webhooks, context) = (&visitor.console.webhooks, visitor.context());
    let attempt = || webhooks.rotate_secret(context, Some(once.clone()), wish);
    match under_way::settled(attempt, is_under_way).await {
        Ok(issued) => secret(&visitor, issued, StatusCode::OK),
        Err(OperationError::Refused(refusal)) if under_way::is_under_way(&refusal) => {
            under_way::draw(&visitor, &format!("{}/rotate", path_of(id)), &form)
        }
        Err(error) => settle(&visitor, id, Err(error)).await,
    }
}

/// The one page that has the secret.
pub(super) fn secret(visitor: &Visitor, issued: Issued, status: StatusCode) -> Answer {
    let (webhook, secret) = (issued.reply.output, issued.secret);
    let path = path_of(webhook.id);
    let (title, lead) = match &secret {
        Some(_) => ("Copy the secret now", "It is shown this once. Nobody can show it again."),
        None => ("The secret was shown before", "This form was sent twice and done once."),
    };
    let mut page = visitor
        .page(title)
        .lead(lead)
        .crumb("Webhooks", PATH)
        .api(format!("/v1/webhooks/{}", webhook.id));
    page.path.clone_from(&path);
    let zone = visitor.zone();
    let previous = webhook.previous_until.map(|at| kit::time(at, &zone));
    let status = if secret.is_some() { status } else { StatusCode::OK };
    visitor.show_as(status, &SecretPage { page, url: webhook.url, path, secret, previous })
}

/// Where a tenant's events go is said by whoever proved a factor of late.
pub(super) async fn proven(visitor: &Visitor) -> Result<(), Fault> {
    Ok(visitor.console.identity.prove_for_settings(visitor.context()).await?)
}

pub(super) fn is_under_way<T>(done: &Result<T, OperationError>) -> bool {
    matches!(done, Err(OperationError::Refused(refusal)) if under_way::is_under_way(refusal))
}

pub(super) fn path_of(id: Uuid) -> String {
    format!("{PATH}/{id}")
}

/// The version that the form was drawn upon.
pub(super) fn version_of(form: &Params) -> Result<i64, Fault> {
    form.parsed("version")?.ok_or_else(|| Fault::malformed("version"))
}

/// Why it was not done, and what to do.
pub(super) fn kindly(mut refusal: Refusal) -> Refusal {
    let said = match refusal.code.as_ref() {
        "version_conflict" => "The webhook was changed meanwhile. Here is how it stands now.",
        "too_many_webhooks" => "A tenant has at most 20 webhooks. Delete one first.",
        "event_unknown" => {
            "This webhook was not to be told that, or it is longer ago than events are kept."
        }
        "idempotency_key_reused" => "This form was sent before for something else. Send it anew.",
        _ => "",
    };
    if !said.is_empty() {
        said.clone_into(&mut refusal.detail);
    }
    if refusal.code == "idempotency_key_reused" {
        refusal.errors.clear();
    }
    for error in &mut refusal.errors {
        match error.field.as_ref() {
            "event_types" => {
                let words = "Tick one kind of event at least, of those that you may follow.";
                words.clone_into(&mut error.message);
            }
            // The guard's own words, as a sentence.
            "url" => error.message = format!("{}.", error.message.trim_end_matches('.')),
            _ => {}
        }
    }
    refusal
}

/// The page again: with what was done, or with why it was not.
async fn settle(visitor: &Visitor, id: Uuid, done: Result<String, OperationError>) -> Answer {
    use RefusalKind::{Conflict, PreconditionFailed, Rule};
    match done {
        Ok(said) => visitor.redirect_saying(&path_of(id), said),
        Err(OperationError::Refused(refusal))
            if matches!(refusal.kind, Rule | Conflict | PreconditionFailed) =>
        {
            let refused = Some(kindly(refusal));
            draw(visitor, id, Asked { refused, ..Asked::default() }).await
        }
        Err(error) => Err(error.into()),
    }
}

/// What stands above the page, and its status: one field's fault tells more than the whole.
fn told(refused: Option<Refusal>) -> (Option<String>, StatusCode) {
    let Some(refusal) = refused else { return (None, StatusCode::OK) };
    let status = match refusal.kind {
        RefusalKind::Rule => StatusCode::UNPROCESSABLE_ENTITY,
        _ => StatusCode::CONFLICT,
    };
    let detail = match refusal.errors.first() {
        Some(error) if refusal.code == "validation_failed" => error.message.clone(),
        _ => refusal.detail,
    };
    (Some(detail), status)
}

async fn draw(visitor: &Visitor, id: Uuid, asked: Asked) -> Answer {
    let webhook = visitor.console.webhooks.one(visitor.context(), id).await?;
    let path = path_of(id);
    let status = asked.params.parsed::<DeliveryStatus>("status")?;
    let mut page = visitor.page(host_of(&webhook.url)).crumb("Webhooks", PATH);
    page.path.clone_from(&path);
    let list = rows(visitor, (id, status), (&asked.params, &page)).await?;
    if visitor.wants_fragment() {
        return visitor.show(&list);
    }
    let (refused, code) = told(asked.refused);
    let statuses = DeliveryStatus::ALL.map(DeliveryStatus::as_str);
    let facts = facts(visitor, &webhook).await?;
    visitor.show_as(
        code,
        &WebhookPage {
            page: page.api(format!("/v1/webhooks/{id}")),
            path,
            facts,
            webhook,
            refused,
            form: asked.form,
            onces: [visitor.once(), visitor.once(), visitor.once()],
            may_change: visitor.may(Permission::SettingsUpdate),
            asked: asked.dialog,
            params: asked.params,
            statuses: choices(&statuses),
            list,
        },
    )
}

/// What a webhook is called: the host, since the rest may hold a receiver's own secret.
fn host_of(url: &str) -> String {
    let behind = url.split_once("://").map_or(url, |(_, rest)| rest);
    behind.split(['/', '?']).next().unwrap_or_default().to_owned()
}

async fn facts(visitor: &Visitor, webhook: &Webhook) -> Result<Facts, Fault> {
    let (zone, now) = (visitor.zone(), visitor.context().clock.now());
    let made_by = match webhook.created_by {
        None => "The operator, at the command line".to_owned(),
        Some(_) if !visitor.may(Permission::UserRead) => "Not shown".to_owned(),
        Some(id) => {
            let identity = &visitor.console.identity;
            let names = identity.user_names(visitor.context(), &[id], &[]).await?;
            names.into_iter().next().map_or_else(|| "Not shown".to_owned(), |(_, name)| name)
        }
    };
    let previous = webhook.previous_until.filter(|at| *at > now);
    Ok(Facts {
        made: kit::time(webhook.created_at, &zone),
        made_by,
        failing: webhook.failing_since.map(|at| kit::time(at, &zone)),
        previous: previous.map(|at| kit::time(at, &zone)),
    })
}

async fn rows(
    visitor: &Visitor,
    (id, status): (Uuid, Option<DeliveryStatus>),
    (params, page): (&Params, &Page),
) -> Result<Rows, Fault> {
    let path = path_of(id);
    let wanted = visitor.page_request(&path, params).await?;
    let found =
        visitor.console.webhooks.deliveries(visitor.context(), (id, status), &wanted).await?;
    let filters = [("status", status.map(|status| status.as_str().to_owned()))];
    let asked = address(&format!("/v1/webhooks/{id}/deliveries"), &filters);
    let zone = visitor.zone();
    let drawn = found.data.into_iter().map(|delivery| line(delivery, (&zone, visitor.once())));
    Ok(Rows {
        csrf: (page.csrf_field(), page.csrf.clone()),
        lines: drawn.collect(),
        may_change: visitor.may(Permission::SettingsUpdate),
        is_filtered: status.is_some(),
        api: AsApi::of(&visitor.page("Deliveries").api(asked), ""),
        first: params.get("cursor").map(|_| params.link(&path, "cursor", "")),
        next: visitor.next_page(&path, params, found.next.as_deref()).await?,
        path,
    })
}

fn line(delivery: Delivery, (zone, once): (&TimeZone, String)) -> Line {
    let end = match (delivery.status, delivery.delivered_at, delivery.next_attempt_at) {
        (DeliveryStatus::Delivered, Some(at), _) => ("Taken", at),
        (DeliveryStatus::Pending, _, Some(at)) => ("Due", at),
        _ => ("Since", delivery.created_at),
    };
    let answered = match (delivery.last_status, &delivery.last_error) {
        // A status says it all: the error of it repeats the number.
        (Some(status), _) => status.to_string(),
        (None, Some(error)) => words(error),
        (None, None) => String::new(),
    };
    Line {
        event: delivery.event_id,
        object: kit::words(&delivery.object_type),
        object_id: delivery.object_id,
        position: delivery.position,
        status: delivery.status.as_str(),
        attempts: delivery.attempts,
        answered,
        took: delivery.duration_ms.map(|took| format!("{took} ms")).unwrap_or_default(),
        end: (end.0, kit::time(end.1, zone)),
        event_type: delivery.event_type,
        once,
    }
}

/// `address_refused` → `address refused`.
fn words(code: &str) -> String {
    code.replace('_', " ")
}

#[cfg(test)]
mod tests {
    use super::host_of;

    #[test]
    fn a_webhook_is_called_by_its_host_alone() {
        for (url, host) in [
            ("https://hook.example/a?key=b", "hook.example"),
            ("https://hook.example:8443?key=b/c", "hook.example:8443"),
            ("http://127.0.0.1:9", "127.0.0.1:9"),
        ] {
            assert_eq!(host_of(url), host);
        }
    }
}
