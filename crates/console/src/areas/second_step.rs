//! The second step of a sign-in: a code, where a factor is due. Owns its page and the
//! cookie that holds the pending state between the two steps.
//!
//! Attempts are counted where the API's are and made by the same functions of identity.
//! Refuses to know what the code is compared with.

use std::sync::Arc;

use askama::Template;
use axum::{
    Extension,
    extract::State,
    response::{Html, IntoResponse as _},
};
use hotstate::limits::{Class, Counted, SignIn, count_sign_in};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use identity::{FactorPresented, Method, SecondFactorDue};
use operation::{OperationError, Refusal, RefusalKind};
use tenancy::TenantId;
use uuid::Uuid;
use zeroize::Zeroizing;

use super::sign_in::{entered, nobody};
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
/// A pending state lives no longer.
const KEEP_S: u64 = 5 * 60;

#[derive(Template)]
#[template(path = "areas/second_step.html")]
struct SecondStepPage {
    page: Page,
    next: String,
    with: String,
    choices: Vec<Choice>,
    sent: Vec<Choice>,
    notice: Option<&'static str>,
    fault: Option<String>,
}

/// A method to choose.
struct Choice {
    name: &'static str,
    words: &'static str,
    chosen: bool,
}

/// To the page, with the pending state in its cookie.
pub(crate) fn lead(form: &Params, due: &SecondFactorDue) -> Answer {
    let names: Vec<&str> = due.methods.iter().map(|method| method.as_str()).collect();
    let next = form.get("next").and_then(own_path).unwrap_or("/");
    let query = form_urlencoded::Serializer::new(String::new())
        .append_pair("with", &names.join("."))
        .append_pair("next", next)
        .finish();
    let mut response = see_other(&format!("{PATH}?{query}"))?;
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
    let (counted, wait_s) = counted(&console, &visit, token).await?;
    let answer = match (wait_s, form.get("send").and_then(Method::of)) {
        (Some(seconds), _) => {
            busy(&console, &visit, &form, (StatusCode::TOO_MANY_REQUESTS, seconds))
        }
        (None, Some(method)) => send(&console, &visit, &form, (token, method)).await,
        (None, None) => verify(&console, &visit, &form, token).await,
    };
    let mut response = answer.unwrap_or_else(axum::response::IntoResponse::into_response);
    response.extensions_mut().insert(counted);
    Ok(response)
}

/// Counts an attempt under the pending token and its address, as the API does.
async fn counted(
    console: &Console,
    visit: &Visit,
    token: &str,
) -> Result<(Counted, Option<u64>), Fault> {
    let hint = token.split('_').nth(1).and_then(|part| Uuid::try_parse(part).ok());
    let tenant = match hint {
        Some(id) => console.identity.directory().by_id(TenantId(id)).await?,
        None => None,
    };
    let policy = match &tenant {
        Some(tenant) => Some(console.identity.policy(&nobody(console, visit, tenant)).await?),
        None => None,
    };
    let limits = console.limits(policy.as_ref().map(|policy| &policy.rate_limits), Class::Mfa);
    let sign_in = SignIn {
        tenant: tenant.map_or(Uuid::nil(), |tenant| tenant.id.0),
        hash: vault::sha256(token.as_bytes()),
    };
    Ok(count_sign_in(&console.rates, limits, sign_in, visit.source.ip, console.now_ms()))
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
    match console.identity.verify_console_factor(presented, Arc::clone(&visit.source)).await {
        Ok(step) => {
            let mut response = entered(console, visit, form, &step.grant).await?;
            cookies::set(response.headers_mut(), cookies::SECOND_STEP, "", cookies::Keep::Drop);
            Ok(response)
        }
        Err(error) => refused(console, visit, form, error),
    }
}

fn refused(console: &Console, visit: &Visit, form: &Params, error: OperationError) -> Answer {
    let OperationError::Refused(refusal) = error else { return Err(error.into()) };
    let seconds = refusal.retry_after_s;
    match refusal.kind {
        RefusalKind::Unauthenticated if refusal.code == "invalid_token" => over(),
        RefusalKind::RateLimited => {
            busy(console, visit, form, (StatusCode::TOO_MANY_REQUESTS, seconds.unwrap_or(60)))
        }
        RefusalKind::Unavailable => {
            busy(console, visit, form, (StatusCode::SERVICE_UNAVAILABLE, seconds.unwrap_or(1)))
        }
        _ => {
            let status = status_of(&refusal);
            let said = (None, Some(words_of(&refusal).to_owned()));
            draw(console, visit, form, status, said)
        }
    }
}

fn status_of(refusal: &Refusal) -> StatusCode {
    StatusCode::from_u16(refusal.kind.status()).unwrap_or(StatusCode::UNAUTHORIZED)
}

fn words_of(refusal: &Refusal) -> &'static str {
    match refusal.code.as_ref() {
        "account_locked" => "Too many failures. Sign-in is paused; try again in 15 minutes.",
        "method_unavailable" => "A code cannot be sent that way.",
        _ => "That code is not the one that is due. Check it and try again.",
    }
}

fn busy(
    console: &Console,
    visit: &Visit,
    form: &Params,
    (status, seconds): (StatusCode, u64),
) -> Answer {
    let words = format!("Too many attempts. Try again in {seconds} seconds.");
    let mut response = draw(console, visit, form, status, (None, Some(words)))?;
    response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    Ok(response)
}

/// The pending state is over, or never was: from the beginning.
fn over() -> Answer {
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
    let typed = held.iter().filter(|method| **method != Method::Passkey);
    let chosen = chosen.or_else(|| typed.clone().next().copied());
    let choice = |method: &Method| Choice {
        name: method.as_str(),
        words: words(*method),
        chosen: Some(*method) == chosen,
    };
    let sent = held.iter().filter(|method| matches!(method, Method::Sms | Method::Email));
    let template = SecondStepPage {
        page,
        next: params.get("next").and_then(own_path).unwrap_or("/").to_owned(),
        choices: typed.map(choice).collect(),
        sent: sent.map(choice).collect(),
        with: held.iter().map(|method| method.as_str()).collect::<Vec<_>>().join("."),
        notice,
        fault,
    };
    let mut response = (status, Html(template.render()?)).into_response();
    let keep = cookies::Keep::Session;
    cookies::set(response.headers_mut(), cookies::BEFORE, &visit.before, keep);
    Ok(response)
}

const fn words(method: Method) -> &'static str {
    match method {
        Method::Totp => "Authenticator app",
        Method::Sms => "Text message",
        Method::Email => "E-mail",
        Method::Backup => "Backup code",
        Method::Passkey => "Passkey",
    }
}
