//! Changing one's own password; and the page that a session gets on every address once
//! its password has reached the maximum age.
//!
//! The tenant's rules are checked by the page while one types. How strong a password is
//! takes a dictionary, which is the server's: it is asked once the field is left, in the
//! body of a POST, which no log holds, and never on each key. What is typed into a
//! password field is never drawn again.

use std::sync::Arc;

use askama::Template;
use axum::{
    Json,
    response::{IntoResponse as _, Response},
};
use http::{HeaderValue, StatusCode, header};
use identity::{PasswordAdvice, PasswordChange, PasswordRules, PasswordTried};
use operation::{OperationError, Refusal, RefusalKind};
use serde_json::json;
use zeroize::Zeroizing;

use super::security::{self, Tab};
use crate::{
    fault::{Answer, Fault},
    form::Form,
    page::Page,
    params::Params,
    visitor::Visitor,
};

/// Where it is changed.
pub(crate) const PATH: &str = "/security/password";
/// Where the estimate is asked for.
pub(crate) const ADVICE_PATH: &str = "/security/password/advice";

#[derive(Template)]
#[template(path = "areas/password.html")]
struct PasswordPage {
    page: Page,
    tabs: Vec<Tab>,
    form: Form,
    rules: Option<PasswordRules>,
    is_expired: bool,
    username: String,
    /// When it was last changed, and when it has to be.
    age: String,
    advice: &'static str,
}

/// `GET /security/password`.
pub(crate) async fn show(visitor: Visitor) -> Answer {
    draw(&visitor, Form::default(), StatusCode::OK).await
}

/// `POST /security/password`.
pub(crate) async fn change(visitor: Visitor, form: Params) -> Answer {
    let identity = &visitor.console.identity;
    let was_expired = identity.has_expired_password(visitor.context()).await?;
    let typed = |name| Zeroizing::new(form.raw(name).unwrap_or_default().to_owned());
    let change = PasswordChange { current: typed("current_password"), new: typed("new_password") };
    let refusal = match identity.change_password(visitor.context(), change).await {
        Ok(()) => {
            let to = if was_expired { "/" } else { PATH };
            let said = "Password changed. Everywhere else you are signed out";
            return visitor.redirect_saying(to, said);
        }
        Err(OperationError::Refused(refusal)) => refusal,
        Err(error) => return Err(error.into()),
    };
    let (refusal, status) = match refusal.kind {
        RefusalKind::Rule => (refusal, StatusCode::UNPROCESSABLE_ENTITY),
        RefusalKind::Conflict => (refusal, StatusCode::CONFLICT),
        RefusalKind::Unavailable => (busy(refusal), StatusCode::SERVICE_UNAVAILABLE),
        _ => return Err(refusal.into()),
    };
    let mut response = draw(&visitor, Form::refused(&Params::default(), &refusal), status).await?;
    if let Some(seconds) = refusal.retry_after_s {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    Ok(response)
}

/// `POST /security/password/advice`: how strong what was typed is, and what only the server
/// knows against it.
pub(crate) async fn advise(visitor: Visitor, form: Params) -> Answer {
    let (identity, context) = (&visitor.console.identity, visitor.context());
    let own = identity.own_record(context).await?;
    let password = Zeroizing::new(form.raw("new_password").unwrap_or_default().to_owned());
    let names = [Some(own.username), own.email, own.full_name];
    let tried = PasswordTried { password, names: names.into_iter().flatten().collect() };
    let advice = identity.advise_on_password(Arc::clone(&context.tenant), tried).await?;
    let label = match advice.score {
        0 | 1 => "Weak: guessed in no time",
        2 => "Fair: guessed by somebody who tries",
        3 => "Strong",
        _ => "Very strong",
    };
    let score = advice.score;
    Ok(Json(json!({ "score": score, "label": label, "notes": notes(advice) })).into_response())
}

/// What speaks against it; the other rules are checked on the page, each where it stands.
fn notes(advice: PasswordAdvice) -> Vec<String> {
    let untold = ["password_common", "password_contains_name", "password_too_long"];
    let broken = advice.broken.into_iter().filter(|error| untold.contains(&&*error.code));
    broken.map(|error| error.message).chain(advice.warning).chain(advice.suggestions).collect()
}

/// The page itself on whatever address was asked for, as a refusal.
pub(crate) async fn demanded(visitor: &Visitor) -> Result<Response, Fault> {
    draw(visitor, Form::default(), StatusCode::FORBIDDEN).await
}

/// The hashing queue is full: nothing was compared, nothing was charged.
fn busy(refusal: Refusal) -> Refusal {
    let detail = "We are very busy at the moment. Try again in a few seconds.".to_owned();
    Refusal { detail, ..refusal }
}

async fn draw(visitor: &Visitor, form: Form, status: StatusCode) -> Answer {
    let (identity, context) = (&visitor.console.identity, visitor.context());
    let is_expired = identity.has_expired_password(context).await?;
    let policy = identity.policy(context).await?.password;
    let changed_at = identity.me(context).await?.password_changed_at;
    let mut page = visitor
        .page(if is_expired { "Choose a new password" } else { "Security" })
        // The change itself takes passwords, which stand in no example.
        .api("/v1/auth/me");
    if is_expired {
        // Nothing else is to be had until it is changed.
        page.navigation = Vec::new();
    } else {
        page = page.lead("Your password, and the rules for the next one.");
    }
    visitor.show_as(
        status,
        &PasswordPage {
            page,
            tabs: if is_expired { Vec::new() } else { security::tabs(PATH) },
            form,
            rules: Some(PasswordRules::from(&policy)),
            is_expired,
            username: visitor.session.username.clone(),
            age: security::age(changed_at, policy.maximum_age_days, &visitor.zone()),
            advice: ADVICE_PATH,
        },
    )
}
