//! The keys that sign the tenant's tokens: where each stands, having the next one sign, and
//! ending one that somebody else may have.

use access::Permission;
use askama::Template;
use axum::extract::Path;
use http::StatusCode;
use identity::{KeyStatus, SigningKeyRecord};
use jiff::tz::TimeZone;
use operation::{OperationError, RefusalKind};
use uuid::Uuid;

use crate::{
    fault::Answer,
    kit::{self, Markup},
    page::Page,
    params::Params,
    visitor::Visitor,
};

pub(crate) const PATH: &str = "/keys";

#[derive(Template)]
#[template(path = "areas/keys.html")]
struct Keys {
    page: Page,
    tabs: Tabs,
    lines: Vec<Line>,
    /// Where programs read what verifies; none where no key may be shown to them.
    key_set: Option<String>,
    refused: Option<&'static str>,
    may_rotate: bool,
    may_revoke: bool,
    asked: String,
    first: Option<String>,
    next: Option<String>,
}

/// The kinds of keys; address, words, whether one is there.
pub(super) type Tabs = [(&'static str, &'static str, bool); 3];

/// The tabs, on the page at `path`.
pub(super) fn tabs(path: &str) -> Tabs {
    [
        (PATH, "Signing keys"),
        (super::api_keys::PATH, "API keys"),
        (super::data_keys::PATH, "Data keys"),
    ]
    .map(|(place, words)| (place, words, place == path))
}

/// A key as a row draws it.
struct Line {
    id: Uuid,
    algorithm: String,
    status: &'static str,
    made: Markup,
    signs_since: Option<Markup>,
    /// What becomes, or became, of it: words and when.
    end: Option<(&'static str, Markup)>,
    signs: bool,
    is_over: bool,
    /// The question before it is revoked, and the address that it is sent to.
    ask: String,
    tail: String,
}

/// `GET /keys`.
pub(crate) async fn list(visitor: Visitor, params: Params) -> Answer {
    draw(&visitor, &params, None, StatusCode::OK).await
}

/// `GET /keys/rotate` and `/keys/{id}/revoke`: a page reloaded behind a refusal comes here.
pub(crate) async fn begin(visitor: Visitor) -> Answer {
    visitor.redirect(PATH)
}

/// `GET` of a key's revocation: the same.
pub(crate) async fn begin_revocation(visitor: Visitor, Path(_): Path<Uuid>) -> Answer {
    visitor.redirect(PATH)
}

/// `POST /keys/rotate`.
pub(crate) async fn rotate(visitor: Visitor) -> Answer {
    let done = visitor.console.identity.rotate_signing_key(visitor.context()).await;
    answer(&visitor, done, "The next key signs from now on").await
}

/// `POST /keys/{id}/revoke`.
pub(crate) async fn revoke(visitor: Visitor, Path(id): Path<Uuid>) -> Answer {
    let done = visitor.console.identity.revoke_signing_key(visitor.context(), id).await;
    answer(&visitor, done, "Revoked. Its tokens are refused from now on").await
}

async fn answer(
    visitor: &Visitor,
    done: Result<SigningKeyRecord, OperationError>,
    said: &'static str,
) -> Answer {
    match done {
        Ok(_) => visitor.redirect_saying(PATH, said),
        Err(OperationError::Refused(refusal)) if refusal.kind == RefusalKind::Conflict => {
            let text = "Somebody else changed the keys at the same moment. Look at them, then \
                        try again.";
            draw(visitor, &Params::default(), Some(text), StatusCode::CONFLICT).await
        }
        Err(error) => Err(error.into()),
    }
}

async fn draw(
    visitor: &Visitor,
    params: &Params,
    refused: Option<&'static str>,
    status: StatusCode,
) -> Answer {
    let wanted = visitor.page_request(PATH, params).await?;
    let found = visitor.console.identity.signing_keys(visitor.context(), &wanted).await?;
    let zone = visitor.zone();
    let is_public =
        |key: &SigningKeyRecord| key.algorithm != "HS256" && key.status != KeyStatus::Retired;
    let slug = &visitor.context().tenant.slug;
    let key_set =
        (found.data.iter().any(is_public)).then(|| format!("/t/{slug}/.well-known/jwks.json"));
    let mut page = visitor
        .page("Keys")
        .lead("What signs the tokens of people and programs, newest first.")
        .api("/v1/keys");
    PATH.clone_into(&mut page.path);
    visitor.show_as(
        status,
        &Keys {
            page,
            tabs: tabs(PATH),
            lines: found.data.into_iter().map(|key| line(key, &zone)).collect(),
            key_set,
            refused,
            may_rotate: visitor.may(Permission::KeyRotate),
            may_revoke: visitor.may(Permission::KeyRevoke),
            asked: params.text("confirm").to_owned(),
            first: params.get("cursor").map(|_| PATH.to_owned()),
            next: visitor.next_page(PATH, params, found.next.as_deref()).await?,
        },
    )
}

fn line(key: SigningKeyRecord, zone: &TimeZone) -> Line {
    let end = match (key.revoked_at, key.retired_at, key.verify_until) {
        (Some(at), ..) => Some(("Revoked", at)),
        (_, Some(at), _) => Some(("Retired", at)),
        (_, _, Some(at)) => Some(("Verifies until", at)),
        _ => None,
    };
    Line {
        id: key.id,
        algorithm: key.algorithm,
        status: if key.revoked_at.is_some() { "revoked" } else { key.status.as_str() },
        made: kit::time(key.created_at, zone),
        signs_since: key.activated_at.map(|at| kit::time(at, zone)),
        end: end.map(|(words, at)| (words, kit::time(at, zone))),
        signs: key.status == KeyStatus::Active,
        is_over: key.status == KeyStatus::Retired,
        ask: format!("revoke-{}", key.id),
        tail: format!("{}/revoke", key.id),
    }
}
