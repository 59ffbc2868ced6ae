//! The second step of a sign-in: a code or a passkey, where a factor is due. Owns its page
//! and the cookie that holds the pending state between the two steps.
//!
//! Attempts are counted where the API's are and made by the same functions of identity.
//! Refuses to know what the code is compared with.

use std::sync::Arc;

use askama::Template;
use axum::{
    Extension,
    extract::State,
    response::{Html, IntoResponse as _, Response},
};
use hotstate::limits::{Class, Counted, SignIn, count_sign_in};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use identity::{ConsoleStep, FactorPresented, Method, SecondFactorDue};
use operation::OperationError;
use tenancy::{TenantId, TenantRef};
use uuid::Uuid;
use zeroize::Zeroizing;

use super::{
    backup_codes,
    codes::{Choices, told_of},
    sign_in::{entered, nobody, with_count},
    webauthn,
};
use crate::{
    cookies,
    fault::{Answer, Fault},
    frame::Visit,
    page::Page,
    params::Params,
    state::Console,
    visitor::{own_path, see_other},
};

/// Where the page is.
pub(crate) const PATH: &str = "/login/code";
/// Forms that count themselves, under the pending token.
pub(crate) const PATHS: [&str; 3] = [PATH, "/login/code/passkey", "/login/code/passkey/options"];
/// A pending state lives no longer.
const KEEP_S: u64 = 5 * 60;

#[derive(Template)]
#[template(path = "areas/second_step.html")]
struct SecondStepPage {
    page: Page,
    next: String,
    with: String,
    choices: Choices,
    notice: Option<&'static str>,
    fault: Option<String>,
}

/// To the page, with the pending state in its cookie.
pub(crate) fn lead(form: &Params, due: &SecondFactorDue) -> Answer {
    let names: Vec<&str> = due.methods.iter().map(|method| method.as_str()).collect();
    lead_to(PATH, form, (due, &names.join(".")))
}

/// To a page that goes on with a pending state.
pub(super) fn lead_to(path: &str, form: &Params, (due, with): (&SecondFactorDue, &str)) -> Answer {
    let next = form.get("next").and_then(own_path).unwrap_or("/");
    let mut query = form_urlencoded::Serializer::new(String::new());
    if !with.is_empty() {
        query.append_pair("with", with);
    }
    let query = query.append_pair("next", next).finish();
    let mut response = see_other(&format!("{path}?{query}"))?;
    let keep = cookies::Keep::Seconds(KEEP_S);
    cookies::set(response.headers_mut(), cookies::SECOND_STEP, &due.token, keep);
    Ok(response)
}

/// `GET /login/code`.
pub(crate) async fn show(
    State(console): State<Console>,
    Extension(visit): Extension<Arc<Visit>>,
    headers: HeaderMap,
    params: Params,
) -> Answer {
    if cookies::read(&headers, cookies::SECOND_STEP).is_none() {
        return see_other("/login");
    }
    draw(&console, &visit, &params, StatusCode::OK, (None, None))
}

/// `POST /login/code`: the code, or the wish to be sent one.
pub(crate) async fn enter(
    State(console): State<Console>,
    Extension(visit): Extension<Arc<Visit>>,
    headers: HeaderMap,
    form: Params,
) -> Answer {
    let Some(token) = cookies::read(&headers, cookies::SECOND_STEP) else {
        return over();
    };
    let (counted, wait_s) = counted(&console, &visit, (token, Class::Mfa)).await?;
    let answer = match (wait_s, form.get("send").and_then(Method::of)) {
        (Some(seconds), _) => busy(&console, &visit, &form, seconds),
        (None, Some(method)) => send(&console, &visit, &form, (token, method)).await,
        (None, None) => verify(&console, &visit, &form, token).await,
    };
    Ok(with_count(answer, counted))
}

/// `POST /login/code/passkey/options`: what the browser is asked for.
pub(crate) async fn passkey_options(
    State(console): State<Console>,
    Extension(visit): Extension<Arc<Visit>>,
    headers: HeaderMap,
) -> Answer {
    let Some(token) = cookies::read(&headers, cookies::SECOND_STEP) else {
        return Err(Fault::signed_out());
    };
    let (counted, wait_s) = counted(&console, &visit, (token, Class::Auth)).await?;
    let answer = if let Some(seconds) = wait_s {
        Err(Fault::too_many(seconds))
    } else {
        let from = Arc::clone(&visit.source);
        let options = console.identity.passkey_console_factor_options(token, from).await;
        options.map(|options| webauthn::request(&options)).map_err(Fault::from)
    };
    Ok(with_count(answer, counted))
}

/// `POST /login/code/passkey`: the browser's answer.
pub(crate) async fn enter_by_passkey(
    State(console): State<Console>,
    Extension(visit): Extension<Arc<Visit>>,
    headers: HeaderMap,
    form: Params,
) -> Answer {
    let Some(token) = cookies::read(&headers, cookies::SECOND_STEP) else {
        return over();
    };
    let proof = webauthn::proof(&form)?;
    let (counted, wait_s) = counted(&console, &visit, (token, Class::Mfa)).await?;
    let answer = if let Some(seconds) = wait_s {
        busy(&console, &visit, &form, seconds)
    } else {
        let (token, from) = (Zeroizing::new(token.to_owned()), Arc::clone(&visit.source));
        let step = console.identity.verify_console_passkey_factor(token, proof, from).await;
        finished(&console, &visit, &form, step).await
    };
    Ok(with_count(answer, counted))
}

/// The tenant that a pending token claims to be of.
pub(super) async fn tenant_of(
    console: &Console,
    token: &str,
) -> Result<Option<Arc<TenantRef>>, Fault> {
    let hint = token.split('_').nth(1).and_then(|part| Uuid::try_parse(part).ok());
    match hint {
        Some(id) => Ok(console.identity.directory().by_id(TenantId(id)).await?),
        None => Ok(None),
    }
}

/// Counts an attempt under the pending token and its address, as the API does.
pub(super) async fn counted(
    console: &Console,
    visit: &Visit,
    (token, class): (&str, Class),
) -> Result<(Counted, Option<u64>), Fault> {
    let tenant = tenant_of(console, token).await?;
    let policy = match &tenant {
        Some(tenant) => Some(console.identity.policy(&nobody(console, visit, tenant)).await?),
        None => None,
    };
    let limits = console.limits(policy.as_ref().map(|policy| &policy.rate_limits), class);
    let sign_in = SignIn {
        tenant: tenant.map_or(Uuid::nil(), |tenant| tenant.id.0),
        hash: vault::sha256(token.as_bytes()),
    };
    Ok(count_sign_in(&console.rates, limits, sign_in, visit.source.ip, console.now_ms()).await)
}

async fn send(
    console: &Console,
    visit: &Visit,
    form: &Params,
    (token, method): (&str, Method),
) -> Answer {
    match console.identity.send_console_code(token, method, Arc::clone(&visit.source)).await {
        Ok(()) => {
            let notice = "A code is on its way. It is good for five minutes.";
            draw(console, visit, form, StatusCode::OK, (Some(notice), None))
        }
        Err(error) => refused(console, visit, form, error),
    }
}

async fn verify(console: &Console, visit: &Visit, form: &Params, token: &str) -> Answer {
    let presented = FactorPresented {
        token: Zeroizing::new(token.to_owned()),
        method: form.get("method").and_then(Method::of),
        code: Zeroizing::new(form.raw("code").unwrap_or_default().to_owned()),
    };
    let from = Arc::clone(&visit.source);
    let step = console.identity.verify_console_factor(presented, from).await;
    finished(console, visit, form, step).await
}

async fn finished(
    console: &Console,
    visit: &Visit,
    form: &Params,
    step: Result<ConsoleStep, OperationError>,
) -> Answer {
    match step {
        Ok(step) => {
            let next = form.get("next").and_then(own_path).unwrap_or("/");
            let next = backup_codes::first(&step.proven, next);
            let mut response = entered(console, visit, &next, &step.grant).await?;
            cookies::set(response.headers_mut(), cookies::SECOND_STEP, "", cookies::Keep::Drop);
            Ok(response)
        }
        Err(error) => refused(console, visit, form, error),
    }
}

fn refused(console: &Console, visit: &Visit, form: &Params, error: OperationError) -> Answer {
    let OperationError::Refused(refusal) = error else { return Err(error.into()) };
    if refusal.code == "invalid_token" {
        return over();
    }
    let Some(told) = told_of(form, &refusal) else { return Err(refusal.into()) };
    let mut response = draw(console, visit, form, told.status, (None, Some(told.words)))?;
    retry_after(&mut response, told.retry_after_s);
    Ok(response)
}

fn busy(console: &Console, visit: &Visit, form: &Params, seconds: u64) -> Answer {
    let words = format!("Too many attempts. Try again in {seconds} seconds.");
    let said = (None, Some(words));
    let mut response = draw(console, visit, form, StatusCode::TOO_MANY_REQUESTS, said)?;
    retry_after(&mut response, Some(seconds));
    Ok(response)
}

pub(super) fn retry_after(response: &mut Response, seconds: Option<u64>) {
    if let Some(seconds) = seconds {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
}

/// The pending state is over, or never was: from the beginning.
pub(super) fn over() -> Answer {
    let mut response = see_other("/login?why=expired")?;
    cookies::set(response.headers_mut(), cookies::SECOND_STEP, "", cookies::Keep::Drop);
    Ok(response)
}

fn draw(
    console: &Console,
    visit: &Visit,
    params: &Params,
    status: StatusCode,
    (notice, fault): (Option<&'static str>, Option<String>),
) -> Answer {
    let mut page = Page::of(console, visit, "Sign in");
    (page.person, page.navigation) = (None, Vec::new());
    let with = params.text("with");
    let held: Vec<Method> = with.split('.').filter_map(Method::of).collect();
    let chosen = params.get("send").or_else(|| params.get("method")).and_then(Method::of);
    let template = SecondStepPage {
        page,
        next: params.get("next").and_then(own_path).unwrap_or("/").to_owned(),
        with: held.iter().map(|method| method.as_str()).collect::<Vec<_>>().join("."),
        choices: Choices::of(&held, chosen),
        notice,
        fault,
    };
    Ok(drawn(visit, (status, template.render()?)))
}

/// A page before there is a session, with what its forms must repeat.
pub(super) fn drawn(visit: &Visit, (status, html): (StatusCode, String)) -> Response {
    let mut response = (status, Html(html)).into_response();
    let keep = cookies::Keep::Session;
    cookies::set(response.headers_mut(), cookies::BEFORE, &visit.before, keep);
    response
}
