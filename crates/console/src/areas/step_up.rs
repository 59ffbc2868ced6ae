//! Proving a second factor again, because what was asked for is sensitive.
//!
//! Whatever page or form is refused for it leads here and back again: to the page, or to
//! the form, which nobody sends but the person. Afterwards the session is another one
//! under another cookie. Refuses to know what is sensitive.

use askama::Template;
use axum::response::{IntoResponse as _, Response};
use http::{HeaderName, HeaderValue, StatusCode, header};
use identity::{ConsoleStep, Method};
use operation::OperationError;
use zeroize::Zeroizing;

use super::{
    backup_codes,
    codes::{Choices, told_of},
    second_step::retry_after,
    webauthn,
};
use crate::{
    cookies,
    fault::{Answer, Fault},
    frame::Visit,
    page::Page,
    params::Params,
    visitor::{Visitor, own_path},
};

/// Where the page is.
pub(crate) const PATH: &str = "/step-up";
/// The page and its forms.
pub(crate) const PATHS: [&str; 3] = [PATH, "/step-up/passkey", "/step-up/passkey/options"];

#[derive(Template)]
#[template(path = "areas/step_up.html")]
struct StepUpPage {
    page: Page,
    next: String,
    choices: Choices,
    notice: Option<&'static str>,
    fault: Option<String>,
}

/// To the page, from whatever was refused: what was read is come back to; of what was
/// sent, the page with its form is.
pub(crate) fn lead(visit: &Visit) -> Response {
    let was_read = visit.is_read && !visit.is_fragment;
    let back = if was_read { visit.address() } else { visit.came_from.clone() };
    let back = back.filter(|back| !back.starts_with(PATH)).unwrap_or_else(|| "/".to_owned());
    let mut query = form_urlencoded::Serializer::new(String::new());
    let to = format!("{PATH}?{}", query.append_pair("next", &back).finish());
    let Ok(to) = HeaderValue::from_str(&to) else { return Fault::internal().into_response() };
    if visit.is_fragment {
        // htmx follows redirects by itself and would put the page into a list.
        let name = HeaderName::from_static("hx-redirect");
        return (StatusCode::FORBIDDEN, [(name, to)]).into_response();
    }
    (StatusCode::SEE_OTHER, [(header::LOCATION, to)]).into_response()
}

/// `GET /step-up`.
pub(crate) async fn show(visitor: Visitor, params: Params) -> Answer {
    draw(&visitor, &params, (StatusCode::OK, None, None)).await
}

/// `POST /step-up`: the code, or the wish to be sent one.
pub(crate) async fn prove(visitor: Visitor, form: Params) -> Answer {
    let (identity, context) = (&visitor.console.identity, visitor.context());
    if let Some(method) = form.get("send").and_then(Method::of) {
        return match identity.send_step_up_code(context, method).await {
            Ok(()) => {
                let notice = "A code is on its way. It is good for five minutes.";
                draw(&visitor, &form, (StatusCode::OK, Some(notice), None)).await
            }
            Err(error) => refused(&visitor, &form, error).await,
        };
    }
    let method = form.get("method").and_then(Method::of);
    let code = Zeroizing::new(form.raw("code").unwrap_or_default().to_owned());
    let step = identity.step_up_console(context, method, code).await;
    finished(&visitor, &form, step).await
}

/// `POST /step-up/passkey/options`: what the browser is asked for.
pub(crate) async fn passkey_options(visitor: Visitor) -> Answer {
    let options = visitor.console.identity.passkey_step_up_options(visitor.context()).await?;
    Ok(webauthn::request(&options))
}

/// `POST /step-up/passkey`: the browser's answer.
pub(crate) async fn prove_by_passkey(visitor: Visitor, form: Params) -> Answer {
    let proof = webauthn::proof(&form)?;
    let step = visitor.console.identity.step_up_console_by_passkey(visitor.context(), proof).await;
    finished(&visitor, &form, step).await
}

/// `GET` of what only a form is sent to.
pub(crate) async fn again(visitor: Visitor) -> Answer {
    visitor.redirect(PATH)
}

async fn finished(
    visitor: &Visitor,
    form: &Params,
    step: Result<ConsoleStep, OperationError>,
) -> Answer {
    match step {
        Ok(step) => {
            let next = form.get("next").and_then(own_path).unwrap_or("/");
            let next = backup_codes::first(&step.proven, next);
            let mut response = visitor.redirect_saying(&next, "Confirmed. You can go on")?;
            let headers = response.headers_mut();
            cookies::set(headers, cookies::SESSION, &step.grant.cookie, cookies::Keep::Session);
            Ok(response)
        }
        Err(error) => refused(visitor, form, error).await,
    }
}

async fn refused(visitor: &Visitor, form: &Params, error: OperationError) -> Answer {
    let OperationError::Refused(refusal) = error else { return Err(error.into()) };
    let Some(told) = told_of(form, &refusal) else { return Err(refusal.into()) };
    let mut response = draw(visitor, form, (told.status, None, Some(told.words))).await?;
    retry_after(&mut response, told.retry_after_s);
    Ok(response)
}

async fn draw(
    visitor: &Visitor,
    params: &Params,
    (status, notice, fault): (StatusCode, Option<&'static str>, Option<String>),
) -> Answer {
    let factors = visitor.console.identity.factors(visitor.context()).await?;
    let held: Vec<Method> = factors.iter().map(|factor| factor.method).collect();
    let chosen = params.get("send").or_else(|| params.get("method")).and_then(Method::of);
    let page = visitor
        .page("Confirm that it is you")
        .lead("What you are about to do asks for a second factor used within five minutes.")
        .api("/v1/auth/mfa/methods");
    let template = StepUpPage {
        page,
        next: params.get("next").and_then(own_path).unwrap_or("/").to_owned(),
        choices: Choices::of(&held, chosen),
        notice,
        fault,
    };
    visitor.show_as(status, &template)
}
