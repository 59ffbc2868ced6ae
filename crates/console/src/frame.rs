//! What every request for a page passes: who asks, how often, whether a form is ours;
//! and on the way out the headers, and the drawing of what went wrong.
//!
//! No handler can forget any of it: the form's token is checked before a handler is
//! found, and routes for the signed-in turn everybody else away by themselves.

use std::{sync::Arc, time::Duration};

use axum::{
    body::{Body, Bytes},
    extract::{Request, State},
    middleware::Next,
    response::{IntoResponse as _, Response},
};
use hotstate::limits::{Class, Counted, count_address, count_user};
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use http_body_util::{BodyExt as _, Limited};
use identity::ConsoleSession;
use operation::{OperationError, RefusalKind};
use tenancy::RequestInfo;

use crate::{
    areas::{self, backup_codes, enrolment, second_step, sign_in, step_up},
    cookies, device,
    fault::Fault,
    flash::Flash,
    guard, onward,
    page::Theme,
    params::{MAXIMUM_FORM_BYTES, Params, Submitted},
    security,
    state::Console,
    visitor::{Visitor, own_path},
};

/// What the frame learnt of a request.
pub(crate) struct Visit {
    /// Of this answer's policy.
    pub(crate) nonce: String,
    pub(crate) theme: Option<Theme>,
    pub(crate) session: Option<ConsoleSession>,
    /// A cookie came along that opens nothing.
    pub(crate) dead: Option<DeadCookie>,
    pub(crate) path: String,
    pub(crate) query: String,
    /// Name and port that the browser asked for; anybody may have written them.
    pub(crate) host: Option<String>,
    /// The page of ours that they come from, as the browser says.
    pub(crate) came_from: Option<String>,
    /// What a form before sign-in must repeat; new where the browser brought none.
    pub(crate) before: String,
    pub(crate) flash: Option<Flash>,
    /// Where from; its device id is the browser's cookie and nothing else.
    pub(crate) source: Arc<RequestInfo>,
    /// What the browser is to keep as its device's id, where it brought none.
    pub(crate) new_device: Option<String>,
    /// GET or HEAD.
    pub(crate) is_read: bool,
    /// htmx asks for a part of a page.
    pub(crate) is_fragment: bool,
}

/// Why a session's cookie opens nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DeadCookie {
    /// Its session is over.
    Ended,
    /// We never gave it out: somebody guesses.
    Forged,
}

impl Visit {
    /// Where they are, to come back to; none where a browser could read it as a place
    /// on another host.
    pub(crate) fn address(&self) -> Option<String> {
        let query = if self.query.is_empty() { "" } else { "?" };
        let whole = format!("{}{query}{}", self.path, self.query);
        own_path(&whole).is_some().then_some(whole)
    }
}

/// Asked for by anybody, and guarded all the same.
fn is_open_form(path: &str) -> bool {
    counts_itself(path) || path == "/preferences/theme"
}

/// Attempts at getting in: counted by their handlers, under what is tried.
fn counts_itself(path: &str) -> bool {
    [&sign_in::PATHS[..], &second_step::PATHS, &enrolment::PATHS, &areas::recovery::PATHS]
        .iter()
        .any(|paths| paths.contains(&path))
}

/// What a session may still do whose password has reached its maximum age.
const AFTER_EXPIRY: [&str; 6] = [
    areas::password::PATH,
    areas::password::ADVICE_PATH,
    "/logout",
    step_up::PATHS[0],
    step_up::PATHS[1],
    step_up::PATHS[2],
];
/// What a session may still do whose owner has to make new backup codes.
const WITH_SPENT_CODES: [&str; 5] =
    [backup_codes::PATH, "/logout", step_up::PATHS[0], step_up::PATHS[1], step_up::PATHS[2]];

/// A form is 64 KB at most: whoever takes longer to send it does not mean to.
const FORM_TIMEOUT: Duration = Duration::from_secs(10);

pub(crate) async fn frame(
    State(console): State<Console>,
    request: Request,
    next: Next,
) -> Response {
    if request.uri().path().starts_with("/assets/") {
        return finished_asset(next.run(request).await);
    }
    let Some(source) = request.extensions().get::<Arc<RequestInfo>>() else {
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    };
    let (source, new_device) = device::known(source, request.headers());
    let seen = session(&console, request.headers(), &source).await;
    let (session, dead, broken) = match seen {
        Ok((session, dead)) => (session, dead, None),
        Err(fault) => (None, None, Some(fault)),
    };
    let visit = Arc::new(Visit { new_device, ..visit(&request, session, dead, source) });
    let (counted, admitted) = match broken {
        Some(fault) => (None, Err(fault)),
        None => admitted(&console, &visit, request).await,
    };
    let mut response = match admitted {
        Ok(request) => match onward::arrival(&request, &visit) {
            Some(arrival) => arrival,
            None => next.run(request).await,
        },
        Err(fault) => fault.into_response(),
    };
    if let Some(counted) = counted {
        response.extensions_mut().insert(counted);
    }
    let response = counted_at_last(&console, &visit, response).await;
    finished(&console, &visit, response)
}

/// The session behind the cookie, or what is wrong with the cookie.
async fn session(
    console: &Console,
    headers: &HeaderMap,
    source: &Arc<RequestInfo>,
) -> Result<(Option<ConsoleSession>, Option<DeadCookie>), Fault> {
    let Some(cookie) = cookies::read(headers, cookies::SESSION) else { return Ok((None, None)) };
    match console.identity.authenticate_cookie(cookie, Arc::clone(source)).await {
        Ok(session) => Ok((Some(session), None)),
        Err(refusal) if refusal.code == "invalid_token" => Ok((None, Some(DeadCookie::Forged))),
        Err(refusal) if refusal.kind == RefusalKind::Unauthenticated => {
            Ok((None, Some(DeadCookie::Ended)))
        }
        Err(refusal) => Err(refusal.into()),
    }
}

fn visit(
    request: &Request,
    session: Option<ConsoleSession>,
    dead: Option<DeadCookie>,
    source: Arc<RequestInfo>,
) -> Visit {
    let headers = request.headers();
    let known = cookies::read(headers, cookies::BEFORE).filter(|value| value.len() == 64);
    Visit {
        nonce: security::nonce(),
        theme: cookies::read(headers, cookies::THEME).and_then(Theme::read),
        session,
        dead,
        path: request.uri().path().to_owned(),
        query: request.uri().query().unwrap_or_default().to_owned(),
        host: host(request).map(str::to_owned),
        came_from: came_from(request),
        before: known.map_or_else(new_token, str::to_owned),
        flash: cookies::read(headers, cookies::FLASH).and_then(Flash::read),
        source,
        new_device: None,
        is_read: matches!(*request.method(), Method::GET | Method::HEAD),
        is_fragment: headers.contains_key("hx-request"),
    }
}

fn host(request: &Request) -> Option<&str> {
    let named = request.headers().get(header::HOST).and_then(|host| host.to_str().ok());
    named.or_else(|| request.uri().authority().map(http::uri::Authority::as_str))
}

/// Of our own addresses alone: the referrer's host is the one that was asked for.
fn came_from(request: &Request) -> Option<String> {
    let referrer = request.headers().get(header::REFERER)?.to_str().ok()?;
    let (_, rest) = referrer.split_once("://")?;
    let path = rest.strip_prefix(host(request)?)?;
    own_path(path).map(str::to_owned)
}

pub(crate) fn new_token() -> String {
    use std::fmt::Write as _;
    vault::random_bytes::<32>().iter().fold(String::with_capacity(64), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Counts the request and checks its form; gives it back with what handlers need.
async fn admitted(
    console: &Console,
    visit: &Arc<Visit>,
    mut request: Request,
) -> (Option<Counted>, Result<Request, Fault>) {
    let is_read = visit.is_read;
    let counted = match counted(console, visit, is_read).await {
        Ok((counted, None)) => counted,
        Ok((counted, Some(seconds))) => return (counted, Err(Fault::too_many(seconds))),
        Err(fault) => return (None, Err(fault)),
    };
    // On every path: whoever guesses takes the one that says nothing of it.
    if visit.dead == Some(DeadCookie::Forged) {
        return (counted, Err(Fault::signed_out()));
    }
    // Attempts at the query's own encoding of U+0000 reach no handler either.
    if request.uri().path().contains("%00") {
        return (counted, Err(Fault::not_found()));
    }
    request.extensions_mut().insert(Arc::clone(visit));
    if is_read {
        return (counted, Ok(request));
    }
    (counted, checked_form(console, visit, request).await)
}

/// A sign-in counts itself, under the name tried, and its second step under its token.
async fn counted(
    console: &Console,
    visit: &Visit,
    is_read: bool,
) -> Result<(Option<Counted>, Option<u64>), Fault> {
    let now_ms = console.now_ms();
    let Some(session) = &visit.session else {
        if counts_itself(&visit.path) && !is_read {
            return Ok((None, None));
        }
        let limits = console.limits(None, Class::Default);
        let (counted, wait_s) =
            count_address(&console.rates, limits, visit.source.ip, now_ms).await;
        return Ok((Some(counted), wait_s));
    };
    let policy = console.identity.policy(&session.context).await?;
    let class = if is_read { Class::Read } else { Class::Write };
    let limits = console.limits(Some(&policy.rate_limits), class);
    let (counted, wait_s) = count_user(&console.rates, limits, &session.context, now_ms).await;
    Ok((Some(counted), wait_s))
}

/// What of a sign-in failed before it could count itself (it is no form, or none of
/// ours) is counted here, as the API does. Our own failure is nobody's attempt.
async fn counted_at_last(console: &Console, visit: &Visit, response: Response) -> Response {
    if response.extensions().get::<Counted>().is_some() || !response.status().is_client_error() {
        return response;
    }
    let limits = console.limits(None, Class::Auth);
    let (counted, wait_s) =
        count_address(&console.rates, limits, visit.source.ip, console.now_ms()).await;
    let mut response = wait_s.map_or(response, |seconds| Fault::too_many(seconds).into_response());
    response.extensions_mut().insert(counted);
    response
}

async fn checked_form(
    console: &Console,
    visit: &Visit,
    request: Request,
) -> Result<Request, Fault> {
    // The signed-out are sent to the sign-in by the route; there is nothing to guard.
    if visit.session.is_none() && !is_open_form(&visit.path) {
        return Ok(request);
    }
    if *request.method() != Method::POST {
        return Err(Fault::wrong_method());
    }
    let (parts, body) = request.into_parts();
    if !guard::is_of_our_origin(&parts.headers, &console.public_url) {
        return Err(Fault::foreign_form());
    }
    let form =
        Params::parse(&collected(console, body).await?).ok_or_else(|| Fault::malformed("form"))?;
    let before = cookies::read(&parts.headers, cookies::BEFORE);
    if !guard::owns_form(visit.session.as_ref(), before, &parts.headers, &form) {
        return Err(Fault::foreign_form());
    }
    let mut request = Request::from_parts(parts, Body::empty());
    request.extensions_mut().insert(Submitted(form));
    Ok(request)
}

/// The whole form. It is read before any handler's time begins, so it has its own.
async fn collected(console: &Console, body: Body) -> Result<Bytes, Fault> {
    let limit = FORM_TIMEOUT.min(Duration::from_millis(console.request_timeout_ms));
    let whole = Limited::new(body, MAXIMUM_FORM_BYTES).collect();
    let whole = tokio::time::timeout(limit, whole).await.map_err(|_| Fault::too_slow())?;
    whole.map(http_body_util::Collected::to_bytes).map_err(|_| Fault::too_large())
}

/// Sends everybody without a session to the sign-in, and back afterwards; and shows
/// nothing but the change of their password, or their backup codes, to those who have to
/// change them.
pub(crate) async fn signed_in_only(
    State(console): State<Console>,
    request: Request,
    next: Next,
) -> Response {
    let Some(visit) = request.extensions().get::<Arc<Visit>>().cloned() else {
        return Fault::internal().into_response();
    };
    let Some(session) = visit.session.clone() else { return areas::sign_in::elsewhere(&visit) };
    let visitor = Visitor { console, visit, session };
    match demanded(&visitor).await {
        Ok(None) => next.run(request).await,
        Ok(Some(page)) => page,
        Err(fault) => fault.into_response(),
    }
}

/// The page that stands on every address until its owner has done what it asks for.
async fn demanded(visitor: &Visitor) -> Result<Option<Response>, Fault> {
    let (identity, path) = (&visitor.console.identity, visitor.visit.path.as_str());
    if !AFTER_EXPIRY.contains(&path) {
        match identity.refuse_expired_password(visitor.context()).await {
            Err(OperationError::Refused(refusal)) if refusal.code == "password_expired" => {
                return areas::password::demanded(visitor).await.map(Some);
            }
            checked => checked?,
        }
    }
    if !WITH_SPENT_CODES.contains(&path) {
        match identity.refuse_spent_backup_codes(visitor.context()).await {
            Err(OperationError::Refused(refusal)) if refusal.code == "backup_codes_due" => {
                return backup_codes::demanded(visitor).await.map(Some);
            }
            checked => checked?,
        }
    }
    Ok(None)
}

/// Of a module that the tenant has not, there are no pages: nothing is read, nothing is
/// written, and the answer is that of an address that nobody knows.
pub(crate) async fn with_module(
    State(module): State<&'static str>,
    request: Request,
    next: Next,
) -> Response {
    let visit = request.extensions().get::<Arc<Visit>>();
    let session = visit.and_then(|visit| visit.session.as_ref());
    if session.is_some_and(|session| session.context.tenant.has_module(module)) {
        return next.run(request).await;
    }
    Fault::not_found().into_response()
}

/// No page takes longer.
pub(crate) async fn in_time(
    State(console): State<Console>,
    request: Request,
    next: Next,
) -> Response {
    let limit = Duration::from_millis(console.request_timeout_ms);
    match tokio::time::timeout(limit, next.run(request)).await {
        Ok(response) => response,
        Err(_) => Fault::unavailable(1).into_response(),
    }
}

/// A panic is a page that says nothing of it.
pub(crate) fn panicked(_: Box<dyn std::any::Any + Send + 'static>) -> Response {
    tracing::error!("a page panicked");
    Fault::internal().into_response()
}

fn finished(console: &Console, visit: &Visit, mut response: Response) -> Response {
    if response.extensions().get::<Fault>().is_none()
        && let Some(fault) = refused_by_the_framework(&response)
    {
        response.extensions_mut().insert(fault);
    }
    if let Some(fault) = response.extensions_mut().remove::<Fault>() {
        response = drawn(console, visit, &fault, response);
    }
    let is_html = response
        .headers()
        .get(header::CONTENT_TYPE)
        .is_some_and(|kind| kind.as_bytes().starts_with(b"text/html"));
    // Shown on the page that this is; redirects hand it on.
    if visit.flash.is_some() && is_html && !visit.is_fragment {
        cookies::set(response.headers_mut(), cookies::FLASH, "", cookies::Keep::Drop);
    }
    device::keep(visit, &mut response);
    if visit.dead.is_some() {
        let ours = response.headers().get_all(header::SET_COOKIE).iter();
        let replaced = ours
            .filter_map(|line| line.to_str().ok())
            .any(|line| line.starts_with("__Host-strongroom="));
        if !replaced {
            cookies::set(response.headers_mut(), cookies::SESSION, "", cookies::Keep::Drop);
        }
    }
    let trusted = response.extensions_mut().remove::<security::TrustedTypes>();
    security::secure(response.headers_mut(), &visit.nonce, trusted);
    response
}

/// What is turned away before a handler sees it: another method, or something in the
/// path that cannot be an id, which leads nowhere.
fn refused_by_the_framework(response: &Response) -> Option<Fault> {
    let kind = response.headers().get(header::CONTENT_TYPE);
    let is_bare = kind.is_none_or(|kind| kind.as_bytes().starts_with(b"text/plain"));
    match response.status() {
        StatusCode::METHOD_NOT_ALLOWED => Some(Fault::wrong_method()),
        StatusCode::BAD_REQUEST if is_bare => Some(Fault::not_found()),
        _ => None,
    }
}

fn drawn(console: &Console, visit: &Visit, fault: &Fault, mut response: Response) -> Response {
    if fault.sign_in {
        let mut elsewhere = areas::sign_in::elsewhere(visit);
        std::mem::swap(elsewhere.extensions_mut(), response.extensions_mut());
        return elsewhere;
    }
    if fault.step_up {
        let mut page = step_up::lead(visit);
        std::mem::swap(page.extensions_mut(), response.extensions_mut());
        return page;
    }
    let html = areas::error::draw(console, visit, fault).unwrap_or_else(|error| {
        tracing::error!(%error, "the page for an error failed");
        fault.title.to_owned()
    });
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    headers.remove(header::CONTENT_LENGTH);
    *response.status_mut() = fault.status;
    *response.body_mut() = Body::from(html);
    response
}

fn finished_asset(mut response: Response) -> Response {
    if let Some(fault) = response.extensions_mut().remove::<Fault>() {
        return fault.status.into_response();
    }
    response
}
