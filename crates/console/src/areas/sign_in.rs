//! In and out. Owns the sign-in page, the way back afterwards, and the end.
//!
//! Attempts are counted where the API's are, under the same names and addresses, and
//! made by the same function of identity: alternating gains nothing. Whatever is wrong
//! with name or password, the page says the same.

use std::sync::Arc;

use askama::Template;
use axum::{
    Extension,
    extract::State,
    response::{Html, IntoResponse as _, Response},
};
use hotstate::limits::{Class, Counted, SignIn, count_sign_in, tried_name};
use http::{HeaderName, HeaderValue, StatusCode, header};
use identity::{ConsoleGrant, ConsoleSignIn, LoginRequest, PasskeyProof};
use operation::{OperationError, RefusalKind};
use tenancy::{Actor, ActorKind, OpContext, TenantRef};
use uuid::Uuid;
use zeroize::Zeroizing;

use super::{codes, enrolment, second_step, webauthn};
use crate::{
    cookies,
    fault::{Answer, Fault},
    frame::{DeadCookie, Visit},
    onward,
    page::Page,
    params::Params,
    state::Console,
    visitor::{Visitor, own_path, see_other},
};

/// Forms that count themselves, under the name, the passkey or the address tried.
pub(crate) const PATHS: [&str; 3] = ["/login", "/login/passkey", "/login/passkey/options"];

#[derive(Template)]
#[template(path = "areas/sign_in.html")]
struct SignInPage {
    page: Page,
    tenant: String,
    asks_tenant: bool,
    /// Whether the tenant, where it is known, has passkeys.
    offers_passkey: bool,
    username: String,
    next: String,
    notice: Option<&'static str>,
    fault: Option<String>,
}

/// `GET /login`.
pub(crate) async fn show(
    State(console): State<Console>,
    Extension(visit): Extension<Arc<Visit>>,
    params: Params,
) -> Answer {
    let next = params.get("next").and_then(own_path).unwrap_or("/");
    if visit.session.is_some() {
        return see_other(next);
    }
    let notice = match params.get("why") {
        Some("out") => Some("You are signed out."),
        Some("password") => Some("Your password is set. Sign in with it."),
        Some("expired") => Some("Your session has ended. Sign in to go on."),
        _ => None,
    };
    draw(&console, &visit, &params, StatusCode::OK, (notice, None)).await
}

/// `POST /login`.
pub(crate) async fn enter(
    State(console): State<Console>,
    Extension(visit): Extension<Arc<Visit>>,
    form: Params,
) -> Answer {
    let slug = form.get("tenant");
    let tenant = console.identity.login_tenant(slug).await?;
    let typed = form.raw("username").unwrap_or_default();
    let (counted, wait_s) = counted(&console, &visit, tenant, typed).await?;
    let answer = match wait_s {
        Some(seconds) => {
            refused(&console, &visit, &form, StatusCode::TOO_MANY_REQUESTS, seconds).await
        }
        None => tried(&console, &visit, &form).await,
    };
    Ok(with_count(answer, counted))
}

/// Counts an attempt under the name tried and its address, as the API does.
pub(super) async fn counted(
    console: &Console,
    visit: &Visit,
    tenant: Option<Arc<TenantRef>>,
    typed: &str,
) -> Result<(Counted, Option<u64>), Fault> {
    let policy = match &tenant {
        Some(tenant) => Some(console.identity.policy(&nobody(console, visit, tenant)).await?),
        None => None,
    };
    let limits = console.limits(policy.as_ref().map(|policy| &policy.rate_limits), Class::Auth);
    let sign_in = SignIn {
        tenant: tenant.map_or(Uuid::nil(), |tenant| tenant.id.0),
        hash: vault::sha256(tried_name(typed).as_bytes()),
    };
    let now_ms = console.now_ms();
    Ok(count_sign_in(&console.rates, limits, sign_in, visit.source.ip, now_ms).await)
}

pub(crate) fn nobody(console: &Console, visit: &Visit, tenant: &Arc<TenantRef>) -> OpContext {
    OpContext {
        tenant: Arc::clone(tenant),
        actor: Actor::system(ActorKind::Anonymous),
        session: None,
        request: Arc::clone(&visit.source),
        clock: console.clock.clone(),
    }
}

async fn tried(console: &Console, visit: &Visit, form: &Params) -> Answer {
    let request = LoginRequest {
        tenant: form.get("tenant").map(str::to_owned),
        username: form.raw("username").unwrap_or_default().to_owned(),
        password: Zeroizing::new(form.raw("password").unwrap_or_default().to_owned()),
    };
    match console.identity.sign_in_console(request, Arc::clone(&visit.source)).await {
        Ok(ConsoleSignIn::Session(grant)) => {
            entered(console, visit, form.get("next").unwrap_or("/"), &grant).await
        }
        Ok(ConsoleSignIn::SecondFactor(due)) if due.enrolment_required => {
            enrolment::lead(form, &due)
        }
        Ok(ConsoleSignIn::SecondFactor(due)) => second_step::lead(form, &due),
        Err(OperationError::Refused(refusal)) => match refusal.kind {
            RefusalKind::RateLimited => {
                let seconds = refusal.retry_after_s.unwrap_or(60);
                refused(console, visit, form, StatusCode::TOO_MANY_REQUESTS, seconds).await
            }
            RefusalKind::Unavailable => {
                let seconds = refusal.retry_after_s.unwrap_or(1);
                refused(console, visit, form, StatusCode::SERVICE_UNAVAILABLE, seconds).await
            }
            // Said after a right password alone.
            _ if ["device_unknown", "too_many_sessions"].contains(&&*refusal.code) => {
                let words = format!("{}.", refusal.detail);
                let status = StatusCode::from_u16(refusal.kind.status());
                let status = status.unwrap_or(StatusCode::FORBIDDEN);
                draw(console, visit, form, status, (None, Some(words))).await
            }
            _ => {
                let words = "That name and password do not match. Check both and try again.";
                let said = (None, Some(words.to_owned()));
                draw(console, visit, form, StatusCode::UNAUTHORIZED, said).await
            }
        },
        Err(error) => Err(error.into()),
    }
}

/// `POST /login/passkey/options`: what the browser is asked for.
pub(crate) async fn passkey_options(
    State(console): State<Console>,
    Extension(visit): Extension<Arc<Visit>>,
    form: Params,
) -> Answer {
    let tenant = console.identity.login_tenant(form.get("tenant")).await?;
    // Every challenge is another attempt: only the address says that it is one person's.
    let tried = visit.source.ip.map(|address| address.to_string()).unwrap_or_default();
    let (counted, wait_s) = counted(&console, &visit, tenant.clone(), &tried).await?;
    let answer = match (wait_s, tenant) {
        (Some(seconds), _) => Err(Fault::too_many(seconds)),
        (None, None) => Err(Fault::not_found()),
        (None, Some(tenant)) => {
            let from = Arc::clone(&visit.source);
            let options = console.identity.passkey_sign_in_options(tenant, from).await;
            options.map(|options| webauthn::request(&options)).map_err(Fault::from)
        }
    };
    Ok(with_count(answer, counted))
}

/// `POST /login/passkey`: the browser's answer.
pub(crate) async fn enter_by_passkey(
    State(console): State<Console>,
    Extension(visit): Extension<Arc<Visit>>,
    form: Params,
) -> Answer {
    let proof = webauthn::proof(&form)?;
    let tenant = match proof.tenant_hint() {
        Some(tenant) => console.identity.directory().by_id(tenant).await?,
        None => None,
    };
    let tried = format!("{:?}", proof.credential_id);
    let (counted, wait_s) = counted(&console, &visit, tenant, &tried).await?;
    let answer = match wait_s {
        Some(seconds) => {
            refused(&console, &visit, &form, StatusCode::TOO_MANY_REQUESTS, seconds).await
        }
        None => by_passkey(&console, &visit, &form, proof).await,
    };
    Ok(with_count(answer, counted))
}

async fn by_passkey(
    console: &Console,
    visit: &Visit,
    form: &Params,
    proof: PasskeyProof,
) -> Answer {
    let from = Arc::clone(&visit.source);
    match console.identity.sign_in_console_by_passkey(proof, from).await {
        Ok(grant) => entered(console, visit, form.get("next").unwrap_or("/"), &grant).await,
        Err(OperationError::Refused(refusal)) if refusal.kind == RefusalKind::Unauthenticated => {
            let words = "That passkey was not accepted. Try again, or use your password.";
            let said = (None, Some(words.to_owned()));
            draw(console, visit, form, StatusCode::UNAUTHORIZED, said).await
        }
        Err(error) => Err(error.into()),
    }
}

pub(super) fn with_count(answer: Answer, counted: Counted) -> Response {
    let mut response = answer.unwrap_or_else(axum::response::IntoResponse::into_response);
    response.extensions_mut().insert(counted);
    response
}

/// Signed in: the cookie, and on to where they wanted to go.
pub(crate) async fn entered(
    console: &Console,
    visit: &Visit,
    next: &str,
    grant: &ConsoleGrant,
) -> Answer {
    let mut response = see_other(next)?;
    admit(console, visit, &mut response, grant).await;
    Ok(response)
}

/// Puts the session's cookie into an answer, in the place of all that was before.
pub(super) async fn admit(
    console: &Console,
    visit: &Visit,
    response: &mut Response,
    grant: &ConsoleGrant,
) {
    // The browser's earlier session is not left behind under another cookie.
    if let Some(earlier) = &visit.session
        && let Err(error) = console.identity.logout(&earlier.context).await
    {
        tracing::debug!(%error, "the earlier session had ended");
    }
    let headers = response.headers_mut();
    cookies::set(headers, cookies::SESSION, &grant.cookie, cookies::Keep::Session);
    // What was good before signing in is good for nothing after.
    cookies::set(headers, cookies::BEFORE, "", cookies::Keep::Drop);
}

async fn refused(
    console: &Console,
    visit: &Visit,
    form: &Params,
    status: StatusCode,
    seconds: u64,
) -> Answer {
    let words = if status == StatusCode::TOO_MANY_REQUESTS {
        format!("Too many attempts. Try again in {seconds} seconds.")
    } else {
        "We are very busy at the moment. Try again in a few seconds.".to_owned()
    };
    let mut response = draw(console, visit, form, status, (None, Some(words))).await?;
    response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    Ok(response)
}

async fn draw(
    console: &Console,
    visit: &Visit,
    params: &Params,
    status: StatusCode,
    (notice, fault): (Option<&'static str>, Option<String>),
) -> Answer {
    // Where the installation has one tenant nobody is asked for it but who asks for the
    // question (`/login?tenant=`): the platform's people, who are not of that tenant.
    let only = console.identity.login_tenant(None).await?;
    let asks_tenant = params.raw("tenant").is_some() || only.is_none();
    let offers_passkey = match only.filter(|_| !asks_tenant) {
        Some(tenant) => {
            let policy = console.identity.policy(&nobody(console, visit, &tenant)).await?;
            codes::know_passkeys(&policy.mfa.methods)
        }
        None => true,
    };
    let mut page = Page::of(console, visit, "Sign in");
    // A session in the same browser does not guard this form's drawing.
    (page.person, page.navigation) = (None, Vec::new());
    let template = SignInPage {
        page,
        tenant: params.text("tenant").to_owned(),
        asks_tenant,
        offers_passkey,
        username: params.text("username").to_owned(),
        next: params.get("next").and_then(own_path).unwrap_or("/").to_owned(),
        notice,
        fault,
    };
    let mut response = (status, Html(template.render()?)).into_response();
    let keep = cookies::Keep::Session;
    cookies::set(response.headers_mut(), cookies::BEFORE, &visit.before, keep);
    Ok(response)
}

/// `POST /logout`.
pub(crate) async fn leave(visitor: Visitor) -> Answer {
    match visitor.console.identity.logout(visitor.context()).await {
        // Another request ended it first: it is what was asked.
        Err(OperationError::Refused(refusal)) if refusal.kind == RefusalKind::NotFound => {}
        ended => ended?,
    }
    let mut response = see_other("/login?why=out")?;
    let headers = response.headers_mut();
    cookies::set(headers, cookies::SESSION, "", cookies::Keep::Drop);
    let clear = HeaderValue::from_static("\"cache\", \"storage\"");
    headers.insert(HeaderName::from_static("clear-site-data"), clear);
    Ok(response)
}

/// To the sign-in, and (for what was read) back to where they were. A cookie that we
/// never gave out is told that it is none.
pub(crate) fn elsewhere(visit: &Visit) -> Response {
    let mut query = form_urlencoded::Serializer::new(String::new());
    let was_read = visit.is_read && !visit.is_fragment;
    if let Some(back) = visit.address().filter(|back| was_read && back != "/") {
        query.append_pair("next", &back);
    }
    if visit.dead == Some(DeadCookie::Ended) {
        query.append_pair("why", "expired");
    }
    let query = query.finish();
    let to = if query.is_empty() { "/login".to_owned() } else { format!("/login?{query}") };
    if visit.dead == Some(DeadCookie::Forged) && !visit.is_fragment {
        return onward::page(StatusCode::UNAUTHORIZED, &to).into_response();
    }
    let Ok(to) = HeaderValue::from_str(&to) else { return Fault::internal().into_response() };
    if visit.is_fragment {
        // htmx follows redirects by itself and would put the sign-in into a list.
        let name = HeaderName::from_static("hx-redirect");
        return (StatusCode::UNAUTHORIZED, [(name, to)]).into_response();
    }
    (StatusCode::SEE_OTHER, [(header::LOCATION, to)]).into_response()
}
