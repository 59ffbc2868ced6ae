//! The keys that seal and wrap: their generations, making one more, wrapping anew, ending a
//! retired one; and what is sealed under which, counted when asked.

use access::Permission;
use askama::Template;
use axum::extract::Path;
use http::StatusCode;
use jiff::tz::TimeZone;
use operation::{InventoryLine, KeyGeneration, OperationError, RefusalKind};
use tenancy::keyring::Rotatable;

use super::keys::{Tabs, tabs};
use crate::{
    fault::{Answer, Fault},
    kit::{self, Markup},
    page::Page,
    params::Params,
    visitor::Visitor,
};

pub(crate) const PATH: &str = "/keys/data";

#[derive(Template)]
#[template(path = "areas/data_keys.html")]
struct DataKeys {
    page: Page,
    tabs: Tabs,
    lines: Vec<Line>,
    /// What is sealed under which; none where nobody asked.
    sealed: Option<Vec<InventoryLine>>,
    refused: Option<String>,
    may_rotate: bool,
    may_destroy: bool,
    /// Whether retired KEKs wrap keys still.
    is_behind: bool,
    asked: String,
}

/// A generation as a row draws it.
struct Line {
    key: &'static str,
    purpose: String,
    epoch: i32,
    status: String,
    made: Markup,
    wraps: Option<i64>,
    /// What became of it: words and when.
    end: Option<(&'static str, Markup)>,
    is_active: bool,
    /// Whether it may be destroyed, as far as this page knows.
    is_spent: bool,
    /// The question before it is changed, and the address that it is sent to.
    ask: String,
    tail: String,
}

/// `GET /keys/data`.
pub(crate) async fn list(visitor: Visitor, params: Params) -> Answer {
    draw(&visitor, &params, None, StatusCode::OK).await
}

/// `GET` of a change: a page reloaded behind a refusal comes here.
pub(crate) async fn begin(visitor: Visitor) -> Answer {
    visitor.redirect(PATH)
}

/// `POST /keys/data/{purpose}/rotate`.
pub(crate) async fn rotate(visitor: Visitor, Path(purpose): Path<String>) -> Answer {
    let what = Rotatable::named(&purpose).ok_or_else(Fault::not_found)?;
    let done = visitor.console.identity.rotate_data_key(visitor.context(), what).await;
    answer(&visitor, done.map(drop), "Rotated. Older generations open what they sealed").await
}

/// `POST /keys/data/rewrap`.
pub(crate) async fn rewrap(visitor: Visitor) -> Answer {
    let done = visitor.console.identity.rewrap_keys(visitor.context()).await;
    answer(&visitor, done.map(drop), "Wrapped anew").await
}

/// `POST /keys/data/{purpose}/{epoch}/destroy`.
pub(crate) async fn destroy(
    visitor: Visitor,
    Path((purpose, epoch)): Path<(String, i32)>,
) -> Answer {
    let what = Rotatable::named(&purpose).ok_or_else(Fault::not_found)?;
    let done = visitor.console.identity.destroy_data_key(visitor.context(), what, epoch).await;
    answer(&visitor, done.map(drop), "Destroyed. What it opened is closed for good").await
}

async fn answer(visitor: &Visitor, done: Result<(), OperationError>, said: &'static str) -> Answer {
    match done {
        Ok(()) => visitor.redirect_saying(PATH, said),
        Err(OperationError::Refused(refusal)) if refusal.kind == RefusalKind::Conflict => {
            let text = Some(format!("{}.", refusal.detail));
            draw(visitor, &Params::default(), text, StatusCode::CONFLICT).await
        }
        Err(error) => Err(error.into()),
    }
}

async fn draw(
    visitor: &Visitor,
    params: &Params,
    refused: Option<String>,
    status: StatusCode,
) -> Answer {
    let identity = &visitor.console.identity;
    let keys = identity.key_generations(visitor.context()).await?;
    let sealed = match params.get("count") {
        Some(_) => Some(identity.key_inventory(visitor.context()).await?),
        None => None,
    };
    let zone = visitor.zone();
    let is_behind = keys.iter().any(|key| key.status == "retired" && key.wrapped_keys > Some(0));
    let mut page = visitor
        .page("Keys")
        .lead("What seals the tenant's fields, and what wraps the keys of people and programs.")
        .api("/v1/keys/data");
    PATH.clone_into(&mut page.path);
    visitor.show_as(
        status,
        &DataKeys {
            page,
            tabs: tabs(PATH),
            lines: keys.into_iter().map(|key| line(key, &zone)).collect(),
            sealed,
            refused,
            may_rotate: visitor.may(Permission::KeyRotate),
            may_destroy: visitor.may(Permission::KeyRevoke),
            is_behind,
            asked: params.text("confirm").to_owned(),
        },
    )
}

fn line(key: KeyGeneration, zone: &TimeZone) -> Line {
    let end = match (key.destroyed_at, key.retired_at) {
        (Some(at), _) => Some(("Destroyed", at)),
        (_, Some(at)) => Some(("Retired", at)),
        _ => None,
    };
    let (is_active, is_retired) = (key.status == "active", key.status == "retired");
    let tail = if is_active {
        format!("{}/rotate", key.purpose)
    } else {
        format!("{}/{}/destroy", key.purpose, key.epoch)
    };
    Line {
        key: words(&key.purpose),
        ask: format!("ask-{}-{}", key.purpose.replace('_', "-"), key.epoch),
        tail,
        purpose: key.purpose,
        epoch: key.epoch,
        status: key.status,
        made: kit::time(key.created_at, zone),
        wraps: key.wrapped_keys,
        end: end.map(|(words, at)| (words, kit::time(at, zone))),
        is_active,
        is_spent: is_retired && key.wrapped_keys.unwrap_or_default() == 0,
    }
}

/// What people call it.
fn words(purpose: &str) -> &'static str {
    match Rotatable::named(purpose) {
        Some(Rotatable::TenantKek) => "Wraps what signs and verifies",
        Some(Rotatable::FieldKek) => "Wraps keys of people and fields",
        Some(Rotatable::FieldData) => "Seals the tenant's own secrets",
        Some(Rotatable::BlindIndex) => "Finds what is sealed",
        None => "Unknown",
    }
}
