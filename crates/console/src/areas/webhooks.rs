//! Webhooks: where the tenant's other systems are told what happened.

use ::webhooks::Webhook;
use access::Permission;
use askama::Template;
use jiff::tz::TimeZone;
use uuid::Uuid;

use crate::{
    fault::Answer,
    kit::{self, Markup},
    page::Page,
    params::Params,
    visitor::Visitor,
};

pub(crate) const PATH: &str = "/webhooks";

#[derive(Template)]
#[template(path = "areas/webhooks.html")]
struct Webhooks {
    page: Page,
    lines: Vec<Line>,
    may_change: bool,
    first: Option<String>,
    next: Option<String>,
}

/// A webhook as a row draws it.
struct Line {
    id: Uuid,
    url: String,
    status: &'static str,
    /// What it is told: the name of the only one, or how many.
    told: String,
    failing: Option<Markup>,
    made: Markup,
}

/// `GET /webhooks`.
pub(crate) async fn list(visitor: Visitor, params: Params) -> Answer {
    let wanted = visitor.page_request(PATH, &params).await?;
    let found = visitor.console.webhooks.list(visitor.context(), &wanted).await?;
    let next = visitor.next_page(PATH, &params, found.next.as_deref()).await?;
    let zone = visitor.zone();
    visitor.show(&Webhooks {
        page: visitor
            .page("Webhooks")
            .lead("Where other systems are told what happened, newest first.")
            .api("/v1/webhooks"),
        lines: found.data.into_iter().map(|webhook| line(webhook, &zone)).collect(),
        may_change: visitor.may(Permission::SettingsUpdate),
        first: params.get("cursor").map(|_| PATH.to_owned()),
        next,
    })
}

fn line(webhook: Webhook, zone: &TimeZone) -> Line {
    let told = match webhook.event_types.as_slice() {
        [only] => only.clone(),
        many => format!("{} kinds of events", many.len()),
    };
    Line {
        id: webhook.id,
        url: webhook.url,
        status: webhook.status.as_str(),
        told,
        failing: webhook.failing_since.map(|at| kit::time(at, zone)),
        made: kit::time(webhook.created_at, zone),
    }
}
