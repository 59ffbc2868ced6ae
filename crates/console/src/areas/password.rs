//! Changing one's own password; and the page that a session gets on every address once
//! its password has reached the maximum age.

use askama::Template;
use axum::response::Response;
use http::StatusCode;
use identity::{PasswordChange, PasswordRules};
use operation::{OperationError, RefusalKind};
use zeroize::Zeroizing;

use crate::{
    fault::{Answer, Fault},
    form::Form,
    page::Page,
    params::Params,
    visitor::Visitor,
};

/// Where it is changed.
pub(crate) const PATH: &str = "/password";

#[derive(Template)]
#[template(path = "areas/password.html")]
struct PasswordPage {
    page: Page,
    form: Form,
    rules: Option<PasswordRules>,
    is_expired: bool,
    username: String,
}

/// `GET /password`.
pub(crate) async fn show(visitor: Visitor) -> Answer {
    draw(&visitor, Form::default(), StatusCode::OK).await
}

/// `POST /password`.
pub(crate) async fn change(visitor: Visitor, form: Params) -> Answer {
    let typed = |name| Zeroizing::new(form.raw(name).unwrap_or_default().to_owned());
    let change = PasswordChange { current: typed("current_password"), new: typed("new_password") };
    match visitor.console.identity.change_password(visitor.context(), change).await {
        Ok(()) => {
            visitor.redirect_saying("/", "Your password is changed. Other devices are signed out.")
        }
        Err(OperationError::Refused(refusal))
            if matches!(refusal.kind, RefusalKind::Rule | RefusalKind::Conflict) =>
        {
            let status = StatusCode::from_u16(refusal.kind.status());
            let form = Form::refused(&Params::default(), &refusal);
            draw(&visitor, form, status.unwrap_or(StatusCode::BAD_REQUEST)).await
        }
        Err(error) => Err(error.into()),
    }
}

/// The page itself on whatever address was asked for, as a refusal.
pub(crate) async fn demanded(visitor: &Visitor) -> Result<Response, Fault> {
    draw(visitor, Form::default(), StatusCode::FORBIDDEN).await
}

async fn draw(visitor: &Visitor, form: Form, status: StatusCode) -> Answer {
    let identity = &visitor.console.identity;
    let is_expired = identity.has_expired_password(visitor.context()).await?;
    let policy = identity.policy(visitor.context()).await?;
    let mut page = visitor
        .page(if is_expired { "Choose a new password" } else { "Change your password" })
        // The change itself takes passwords, which stand in no example.
        .api("/v1/auth/me");
    if is_expired {
        // Nothing else is to be had until it is changed.
        page.navigation = Vec::new();
    }
    visitor.show_as(
        status,
        &PasswordPage {
            page,
            form,
            rules: Some(PasswordRules::from(&policy.password)),
            is_expired,
            username: visitor.session.username.clone(),
        },
    )
}
