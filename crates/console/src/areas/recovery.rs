//! For those who cannot sign in: a link asked for, a link followed, an invitation
//! accepted, an address proven.
//!
//! Opening a link changes nothing (mail scanners open them); the form on its page does.
//! Attempts are counted where the API's are, under the same names, tokens and addresses.
//! Whether somebody exists is not said.

use std::sync::Arc;

use askama::Template;
use axum::{
    Extension,
    extract::State,
    response::{Html, IntoResponse as _},
};
use http::StatusCode;
use identity::{ForgottenPassword, Link, NewPasswordByLink, PasswordRules};
use operation::{OperationError, RefusalKind};
use tenancy::{TenantId, TenantRef};
use uuid::Uuid;
use zeroize::Zeroizing;

use super::sign_in::{counted, nobody};
use crate::{
    cookies,
    fault::{Answer, Fault},
    form::Form,
    frame::Visit,
    page::Page,
    params::Params,
    state::Console,
    visitor::see_other,
};

/// Forms that count themselves, as the sign-in does.
pub(crate) const PATHS: [&str; 4] = ["/reset", "/reset/confirm", "/invite", "/verify-email"];

#[derive(Template)]
#[template(path = "areas/recovery.html")]
struct RecoveryPage {
    page: Page,
    lead: &'static str,
    action: &'static str,
    verb: &'static str,
    form: Form,
    /// Draws the field for the organisation.
    asks_tenant: bool,
    /// Draws the field for the name.
    asks_name: bool,
    /// Draws the field for the password.
    asks_password: bool,
    /// Those that it is chosen under, where the link says whose it is.
    rules: Option<PasswordRules>,
    token: String,
    /// What has come of it; then there is no form.
    done: Option<&'static str>,
}

/// One of the pages.
#[derive(Clone, Copy)]
enum Way {
    Forgotten,
    Reset,
    Invite,
    Email,
}

impl Way {
    /// Title, lead, address, verb.
    const fn words(self) -> [&'static str; 4] {
        match self {
            Self::Forgotten => [
                "Reset your password",
                "We send a link to the e-mail address of your account. It is good for 30 minutes.",
                "/reset",
                "Send the link",
            ],
            Self::Reset => [
                "Choose a new password",
                "Every device that is signed in now will be signed out.",
                "/reset/confirm",
                "Set password",
            ],
            Self::Invite => [
                "Welcome",
                "Choose the password that you will sign in with.",
                "/invite",
                "Set password",
            ],
            Self::Email => [
                "Confirm your e-mail address",
                "One more click, so that we know that it was you who opened the link.",
                "/verify-email",
                "Confirm address",
            ],
        }
    }

    const fn sets_password(self) -> bool {
        matches!(self, Self::Reset | Self::Invite)
    }
}

/// `GET /reset`.
pub(crate) async fn ask(
    State(console): State<Console>,
    Extension(visit): Extension<Arc<Visit>>,
    params: Params,
) -> Answer {
    draw(&console, &visit, Way::Forgotten, Form::new(&params), StatusCode::OK, None).await
}

/// `POST /reset`: the answer is the same whoever it is.
pub(crate) async fn forgot(
    State(console): State<Console>,
    Extension(visit): Extension<Arc<Visit>>,
    form: Params,
) -> Answer {
    let typed = form.raw("username").unwrap_or_default().to_owned();
    let tenant = console.identity.login_tenant(form.get("tenant")).await?;
    let request = ForgottenPassword {
        tenant: form.get("tenant").map(str::to_owned),
        username: typed.clone(),
    };
    let asking = console.identity.forgot_password(request, Arc::clone(&visit.source));
    let said = "If there is such an account, a link to set a new password is on its way to its \
        e-mail address. Look into your mailbox.";
    let tried = Tried { console: &console, visit: &visit, way: Way::Forgotten, form: &form };
    tried.counted(tenant, &typed, async { asking.await.map(|()| Done::Said(said)) }).await
}

/// `GET /reset/confirm`.
pub(crate) async fn follow_reset(
    State(console): State<Console>,
    Extension(visit): Extension<Arc<Visit>>,
    params: Params,
) -> Answer {
    draw(&console, &visit, Way::Reset, Form::new(&params), StatusCode::OK, None).await
}

/// `GET /invite`.
pub(crate) async fn follow_invite(
    State(console): State<Console>,
    Extension(visit): Extension<Arc<Visit>>,
    params: Params,
) -> Answer {
    draw(&console, &visit, Way::Invite, Form::new(&params), StatusCode::OK, None).await
}

/// `GET /verify-email`.
pub(crate) async fn follow_email(
    State(console): State<Console>,
    Extension(visit): Extension<Arc<Visit>>,
    params: Params,
) -> Answer {
    draw(&console, &visit, Way::Email, Form::new(&params), StatusCode::OK, None).await
}

/// `POST /reset/confirm`.
pub(crate) async fn reset(
    State(console): State<Console>,
    Extension(visit): Extension<Arc<Visit>>,
    form: Params,
) -> Answer {
    set(&console, &visit, (Way::Reset, Link::Reset), &form).await
}

/// `POST /invite`.
pub(crate) async fn accept(
    State(console): State<Console>,
    Extension(visit): Extension<Arc<Visit>>,
    form: Params,
) -> Answer {
    set(&console, &visit, (Way::Invite, Link::Invite), &form).await
}

async fn set(console: &Console, visit: &Visit, (way, link): (Way, Link), form: &Params) -> Answer {
    let token = form.text("token");
    let request = NewPasswordByLink {
        link,
        token: Zeroizing::new(token.to_owned()),
        new: Zeroizing::new(form.raw("new_password").unwrap_or_default().to_owned()),
    };
    let setting = console.identity.set_password_by_link(request, Arc::clone(&visit.source));
    let tried = Tried { console, visit, way, form };
    let tenant = hinted(console, token).await?;
    tried.counted(tenant, token, async { setting.await.map(|()| Done::SignIn) }).await
}

/// `POST /verify-email`.
pub(crate) async fn verify(
    State(console): State<Console>,
    Extension(visit): Extension<Arc<Visit>>,
    form: Params,
) -> Answer {
    let token = form.text("token");
    let verifying = console.identity.verify_email(token, Arc::clone(&visit.source));
    let tried = Tried { console: &console, visit: &visit, way: Way::Email, form: &form };
    let tenant = hinted(&console, token).await?;
    let said = "Thank you. The address is confirmed, and you can close this page.";
    tried.counted(tenant, token, async { verifying.await.map(|()| Done::Said(said)) }).await
}

/// The tenant that a token claims: good enough to choose limits and rules by.
async fn hinted(console: &Console, token: &str) -> Result<Option<Arc<TenantRef>>, Fault> {
    let hint = token.split('_').nth(1).and_then(|part| Uuid::try_parse(part).ok());
    match hint {
        Some(id) => Ok(console.directory.by_id(TenantId(id)).await?),
        None => Ok(None),
    }
}

/// What has come of an attempt.
enum Done {
    Said(&'static str),
    SignIn,
}

/// An attempt on its way.
struct Tried<'a> {
    console: &'a Console,
    visit: &'a Visit,
    way: Way,
    form: &'a Params,
}

impl Tried<'_> {
    async fn counted(
        &self,
        tenant: Option<Arc<TenantRef>>,
        tried: &str,
        attempt: impl Future<Output = Result<Done, OperationError>>,
    ) -> Answer {
        let (counted, wait_s) = counted(self.console, self.visit, tenant, tried).await?;
        let answer = match wait_s {
            Some(seconds) => Err(Fault::too_many(seconds)),
            None => self.answered(attempt.await).await,
        };
        let mut response = answer.unwrap_or_else(axum::response::IntoResponse::into_response);
        response.extensions_mut().insert(counted);
        Ok(response)
    }

    async fn answered(&self, outcome: Result<Done, OperationError>) -> Answer {
        let (console, visit, way) = (self.console, self.visit, self.way);
        match outcome {
            Ok(Done::SignIn) => see_other("/login?why=password"),
            Ok(Done::Said(said)) => {
                draw(console, visit, way, Form::default(), StatusCode::OK, Some(said)).await
            }
            Err(OperationError::Refused(refusal))
                if matches!(refusal.kind, RefusalKind::Rule | RefusalKind::Conflict) =>
            {
                let status = StatusCode::from_u16(refusal.kind.status());
                let form = Form::refused(self.form, &refusal);
                draw(console, visit, way, form, status.unwrap_or(StatusCode::BAD_REQUEST), None)
                    .await
            }
            Err(error) => Err(error.into()),
        }
    }
}

async fn draw(
    console: &Console,
    visit: &Visit,
    way: Way,
    form: Form,
    status: StatusCode,
    done: Option<&'static str>,
) -> Answer {
    let [title, lead, action, verb] = way.words();
    let asks_name = matches!(way, Way::Forgotten);
    let asks_tenant = asks_name
        && (!form.value("tenant").is_empty()
            || console.identity.login_tenant(None).await?.is_none());
    let token = form.value("token").to_owned();
    let rules = match hinted(console, &token).await? {
        Some(tenant) if way.sets_password() => {
            let policy = console.identity.policy(&nobody(console, visit, &tenant)).await?;
            Some(PasswordRules::from(&policy.password))
        }
        _ => None,
    };
    let mut page = Page::of(console, visit, title);
    (page.person, page.navigation) = (None, Vec::new());
    let template = RecoveryPage {
        page,
        lead,
        action,
        verb,
        form,
        asks_tenant,
        asks_name,
        asks_password: way.sets_password(),
        rules,
        token,
        done,
    };
    let mut response = (status, Html(template.render()?)).into_response();
    let keep = cookies::Keep::Session;
    cookies::set(response.headers_mut(), cookies::BEFORE, &visit.before, keep);
    Ok(response)
}
