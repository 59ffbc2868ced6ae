//! Setting up an app, a phone or an e-mail address as one's own second factor: what it
//! takes, and its first code.
//!
//! The key is drawn in the answer that made it, and nowhere again: there is no address
//! that shows a QR code. Adding to factors takes one used lately, which identity sees to.

use askama::Template;
use http::StatusCode;
use identity::{AppSetup, Method, SetupRequest};
use operation::OperationError;
use zeroize::Zeroizing;

use super::{
    backup_codes::Shown,
    codes::{Told, told, words},
    factors::{self, PATH},
    second_step::retry_after,
};
use crate::{
    fault::{Answer, Fault},
    kit::Markup,
    page::Page,
    params::Params,
    visitor::Visitor,
};

/// What is set up by a code, and the words on its button.
pub(super) const METHODS: [(Method, &str); 3] = [
    (Method::Totp, "Set up an authenticator app"),
    (Method::Sms, "Set up text messages"),
    (Method::Email, "Set up e-mail"),
];

/// What an authenticator app is given.
pub(super) struct AppKey {
    /// The QR code, as part of a page.
    pub(super) svg: Markup,
    /// In groups of four, to be typed.
    pub(super) key: Zeroizing<String>,
}

impl AppKey {
    pub(super) fn of(app: &AppSetup) -> Self {
        // A part of a page has no XML declaration.
        let svg = app.svg.find("<svg").and_then(|begin| app.svg.get(begin..)).unwrap_or_default();
        let letters: Vec<char> = app.manual_key.chars().collect();
        let groups: Vec<String> = letters.chunks(4).map(|group| group.iter().collect()).collect();
        Self { svg: Markup::made(svg.to_owned()), key: Zeroizing::new(groups.join(" ")) }
    }
}

#[derive(Template)]
#[template(path = "areas/factor_setup.html")]
struct SetupPage {
    page: Page,
    method: &'static str,
    app: Option<AppKey>,
    fault: Option<String>,
}

/// `GET` of what only a form is sent to: a page reloaded comes to the list.
pub(crate) async fn again(visitor: Visitor) -> Answer {
    visitor.redirect(PATH)
}

/// `POST /security/factors/new`.
pub(crate) async fn begin(visitor: Visitor, form: Params) -> Answer {
    let method = method_of(&form)?;
    let request = SetupRequest { method, name: None };
    match visitor.console.identity.setup_factor(visitor.context(), request).await {
        Ok(setup) => {
            let app = setup.app.as_ref().map(AppKey::of);
            draw(&visitor, method, (StatusCode::OK, app, None))
        }
        Err(error) => factors::refused(&visitor, error).await,
    }
}

/// `POST /security/factors/confirm`: the first code.
pub(crate) async fn confirm(visitor: Visitor, form: Params) -> Answer {
    let method = method_of(&form)?;
    let code = Zeroizing::new(form.raw("code").unwrap_or_default().to_owned());
    let identity = &visitor.console.identity;
    match identity.confirm_factor(visitor.context(), Some(method), code).await {
        Ok(confirmed) if confirmed.backup_codes.is_empty() => {
            visitor.redirect_saying(PATH, format!("{} added", words(method)))
        }
        Ok(confirmed) => {
            let page = Shown::page(&visitor);
            visitor.show(&Shown::new(page, &confirmed.backup_codes, PATH))
        }
        Err(OperationError::Refused(refusal)) if refusal.code == "nothing_to_confirm" => {
            visitor.redirect_saying(PATH, "Nothing waits to be confirmed. Begin again")
        }
        Err(OperationError::Refused(refusal)) => {
            let Some(Told { status, words, retry_after_s }) = told(&refusal) else {
                return Err(refusal.into());
            };
            let mut response = draw(&visitor, method, (status, None, Some(words)))?;
            retry_after(&mut response, retry_after_s);
            Ok(response)
        }
        Err(error) => Err(error.into()),
    }
}

fn method_of(form: &Params) -> Result<Method, Fault> {
    let method = form.get("method").and_then(Method::of);
    let method = method.filter(|method| METHODS.iter().any(|(known, _)| known == method));
    method.ok_or_else(|| Fault::malformed("method"))
}

fn draw(
    visitor: &Visitor,
    method: Method,
    (status, app, fault): (StatusCode, Option<AppKey>, Option<String>),
) -> Answer {
    let page = visitor
        .page(words(method))
        .crumb("Security", "/security")
        .crumb("Second factors", PATH)
        .api("/v1/auth/mfa/methods");
    visitor.show_as(status, &SetupPage { page, method: method.as_str(), app, fault })
}
