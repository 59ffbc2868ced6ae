//! Owns the pages drawn by ourselves: index, operation, guides, problem codes.

use std::sync::Arc;

use askama::Template;
use axum::{
    Extension,
    extract::{Path, State},
    response::{Html, IntoResponse as _},
};

use super::{
    curl,
    document::{Access, Area, Code, Operation, Parameter, Reference},
};
use crate::{
    fault::{Answer, Fault},
    frame::Visit,
    kit,
    page::Page,
    params::Params,
    state::Console,
};

/// Name in the address, title, and what it tells.
pub(super) const GUIDES: [(&str, &str, &str); 4] = [
    ("getting-started", "Getting started", "Sign in, find an account, move money, see the proof."),
    ("idempotency", "Idempotency", "Send a payment twice, have it happen once."),
    ("pagination", "Pages and versions", "Walk through lists, and change what you have read."),
    ("money-and-dates", "Money and dates", "Minor units, decimal rates, business days."),
];

/// What every page of the documentation has around it.
pub(super) struct Frame {
    pub(super) page: Page,
    pub(super) reference: Arc<Reference>,
    /// The area that the page belongs to.
    pub(super) area: String,
}

impl Frame {
    pub(super) fn of(console: &Console, visit: &Visit, title: &str) -> Self {
        let page = Page::of(console, visit, title);
        Self { page, reference: Arc::clone(&console.reference), area: String::new() }
    }

    pub(super) fn guides(&self) -> &'static [(&'static str, &'static str, &'static str)] {
        let _ = self;
        &GUIDES
    }

    pub(super) fn current(&self, path: &str) -> bool {
        self.page.path == path
    }

    /// The curl of an operation; nothing where the document does not know it.
    pub(super) fn curl(&self, id: &str) -> String {
        let found = self.reference.operation(id);
        found.map(|(_, operation)| curl::curl(operation, &self.page.public_url)).unwrap_or_default()
    }

    /// The example of an operation's first answer.
    pub(super) fn example(&self, id: &str) -> String {
        let answer = self.reference.operation(id).and_then(|(_, found)| found.answers.first());
        answer.and_then(|answer| answer.example.as_ref()).map(pretty).unwrap_or_default()
    }
}

#[derive(Template)]
#[template(path = "docs/index.html")]
pub(super) struct Index<'a> {
    pub(super) frame: &'a Frame,
    pub(super) query: String,
    pub(super) found: Vec<(&'a Area, Vec<&'a Operation>)>,
}

pub(super) async fn index(
    State(console): State<Console>,
    Extension(visit): Extension<Arc<Visit>>,
    params: Params,
) -> Answer {
    let frame = Frame::of(&console, &visit, "API reference");
    let query = params.text("q").chars().take(100).collect::<String>();
    let found = frame.reference.search(&query);
    shown(&Index { frame: &frame, query, found })
}

#[derive(Template)]
#[template(path = "docs/operation.html")]
pub(super) struct OperationPage<'a> {
    pub(super) frame: &'a Frame,
    pub(super) area: &'a Area,
    pub(super) operation: &'a Operation,
    pub(super) curl: String,
}

impl OperationPage<'_> {
    /// The parameters of a place, each with its heading.
    fn parameters(&self) -> Vec<(&'static str, Vec<&Parameter>)> {
        let places = [("Path", "path"), ("Query", "query"), ("Headers", "header")];
        let mut all: Vec<_> = places
            .into_iter()
            .map(|(label, place)| {
                let here = self.operation.parameters.iter();
                (label, here.filter(|parameter| parameter.place == place).collect::<Vec<_>>())
            })
            .collect();
        all.retain(|(_, here)| !here.is_empty());
        all
    }
}

pub(super) async fn operation(
    State(console): State<Console>,
    Extension(visit): Extension<Arc<Visit>>,
    Path(id): Path<String>,
) -> Answer {
    let reference = Arc::clone(&console.reference);
    let (area, operation) = reference.operation(&id).ok_or_else(Fault::not_found)?;
    let mut frame = Frame::of(&console, &visit, &operation.summary);
    area.name.clone_into(&mut frame.area);
    let curl = curl::curl(operation, &frame.page.public_url);
    shown(&OperationPage { frame: &frame, area, operation, curl })
}

#[derive(Template)]
#[template(path = "docs/errors.html")]
pub(super) struct Errors<'a> {
    pub(super) frame: &'a Frame,
    pub(super) codes: &'a [Code],
}

impl Errors<'_> {
    /// A problem that says more than its code.
    fn example(&self) -> Option<String> {
        let all = self.frame.reference.areas.iter().flat_map(|area| &area.operations);
        let examples = all.flat_map(|operation| &operation.problems);
        let mut examples = examples.filter_map(|problem| problem.example.as_ref());
        examples.find(|example| example["code"] == "insufficient_funds").map(pretty)
    }
}

pub(super) async fn errors(
    State(console): State<Console>,
    Extension(visit): Extension<Arc<Visit>>,
) -> Answer {
    let frame = Frame::of(&console, &visit, "Errors");
    shown(&Errors { frame: &frame, codes: &frame.reference.codes })
}

#[derive(Template)]
#[template(path = "docs/getting_started.html")]
struct GettingStarted<'a> {
    frame: &'a Frame,
}

#[derive(Template)]
#[template(path = "docs/idempotency.html")]
struct Idempotency<'a> {
    frame: &'a Frame,
    demanding: Vec<&'a Operation>,
}

#[derive(Template)]
#[template(path = "docs/pagination.html")]
struct Pagination<'a> {
    frame: &'a Frame,
    paged: Vec<&'a Operation>,
    versioned: Vec<&'a Operation>,
}

#[derive(Template)]
#[template(path = "docs/money_and_dates.html")]
struct MoneyAndDates<'a> {
    frame: &'a Frame,
}

pub(super) async fn guide(
    State(console): State<Console>,
    Extension(visit): Extension<Arc<Visit>>,
    Path(name): Path<String>,
) -> Answer {
    let known = GUIDES.iter().find(|(known, ..)| *known == name).ok_or_else(Fault::not_found)?;
    let frame = &Frame::of(&console, &visit, known.1);
    let all = || frame.reference.areas.iter().flat_map(|area| &area.operations);
    match known.0 {
        "getting-started" => shown(&GettingStarted { frame }),
        "idempotency" => {
            let demanding = all().filter(|operation| operation.key() == Some(true)).collect();
            shown(&Idempotency { frame, demanding })
        }
        "pagination" => {
            let paged = all().filter(|operation| operation.is_paged()).collect();
            let versioned = all().filter(|operation| operation.needs_version()).collect();
            shown(&Pagination { frame, paged, versioned })
        }
        _ => shown(&MoneyAndDates { frame }),
    }
}

pub(super) fn shown(template: &impl Template) -> Answer {
    Ok(Html(template.render()?).into_response())
}

/// Sentences with `code` in backquotes, as HTML; everything else is escaped.
pub(super) fn prose(text: &str) -> kit::Markup {
    let parts = text.split('`').enumerate().map(|(index, part)| {
        let part = kit::escaped(part);
        if index % 2 == 1 { format!("<code>{part}</code>") } else { part }
    });
    kit::Markup::made(parts.collect())
}

pub(super) fn pretty(value: &serde_json::Value) -> String {
    match value {
        serde_json::Value::String(text) => text.clone(),
        other => serde_json::to_string_pretty(other).unwrap_or_default(),
    }
}
