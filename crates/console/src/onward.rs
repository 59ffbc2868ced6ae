//! A page that goes on by itself, to an address of our own.
//!
//! Two arrivals need one. Whoever follows a link on another site comes without our
//! cookies, which are `SameSite=Strict`: the page asks for the same address once more,
//! this time from our own site, and the browser sends them along. And a cookie that we
//! never gave out has to be answered 401, as in the API, or nobody would be told of the
//! guessing; a redirect cannot be that. There is no script in it: a refresh, and a link
//! for whoever has switched that off. Refuses to choose where to: callers know our addresses.

use askama::Template;
use axum::{
    extract::Request,
    response::{Html, IntoResponse as _, Response},
};
use http::{Method, StatusCode};

use crate::{
    assets::{self, Addresses},
    cookies,
    fault::Answer,
    frame::Visit,
};

#[derive(Template)]
#[template(path = "onward.html")]
struct Onward<'a> {
    to: &'a str,
    assets: &'static Addresses,
}

/// The page itself; `to` is an address of our own.
pub(crate) fn page(status: StatusCode, to: &str) -> Answer {
    let html = Onward { to, assets: assets::addresses() }.render()?;
    Ok((status, Html(html)).into_response())
}

/// The page for somebody whom another site has sent; none for everybody else. What it
/// leads to is asked for by ourselves and is no such arrival again.
pub(crate) fn arrival(request: &Request, visit: &Visit) -> Option<Response> {
    let headers = request.headers();
    let said = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let is_sent = *request.method() == Method::GET
        && said("sec-fetch-site") == Some("cross-site")
        && said("sec-fetch-mode") == Some("navigate")
        && said("sec-fetch-dest") == Some("document")
        && cookies::read(headers, cookies::SESSION).is_none();
    let to = visit.address().filter(|_| is_sent)?;
    Some(page(StatusCode::OK, &to).into_response())
}
