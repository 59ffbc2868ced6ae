//! The factor that a role requires, enrolled on the way in: which, setting it up, backup
//! codes, and in.
//!
//! Nobody is signed in yet; the pending state in the second step's cookie is good for this
//! and nothing else, and only identity can tell. Attempts are counted as at the API. What
//! sets a factor up is drawn once, in the answer that made it, and kept nowhere.

use std::sync::Arc;

use askama::Template;
use axum::{
    Extension,
    extract::State,
    response::{Html, IntoResponse as _},
};
use hotstate::limits::Class;
use http::{HeaderMap, StatusCode};
use identity::{ConsoleGrant, Method, SecondFactorDue, Setup, SetupRequest};
use operation::OperationError;
use zeroize::Zeroizing;

use super::{
    backup_codes::Shown,
    codes::{know_passkeys, told},
    factor_setup::{AppKey, METHODS},
    second_step::{counted, drawn, lead_to, over, retry_after, tenant_of},
    sign_in::{admit, nobody, with_count},
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

/// Where the pages are.
pub(crate) const PATH: &str = "/login/factor";
/// Forms that count themselves, under the pending token.
pub(crate) const PATHS: [&str; 3] = [PATH, "/login/factor/confirm", "/login/factor/passkey"];

#[derive(Template)]
#[template(path = "areas/enrolment.html")]
struct EnrolmentPage {
    page: Page,
    next: String,
    /// The way back to the choice.
    choice: String,
    /// What may be set up; empty once something is.
    methods: Vec<Offer>,
    offers_passkey: bool,
    doing: Option<Doing>,
    notice: Option<&'static str>,
    fault: Option<String>,
}

/// A method to choose.
struct Offer {
    name: &'static str,
    verb: &'static str,
}

/// What is being set up.
enum Doing {
    /// An app: its key, while it is shown.
    App(Option<AppKey>),
    /// A method whose code was sent.
    Sent(Method),
    /// A passkey, and what the browser is asked for.
    Passkey(String),
}

/// To the page, with the pending state in its cookie.
pub(super) fn lead(form: &Params, due: &SecondFactorDue) -> Answer {
    lead_to(PATH, form, (due, ""))
}

/// `GET /login/factor`.
pub(crate) async fn show(
    State(console): State<Console>,
    Extension(visit): Extension<Arc<Visit>>,
    headers: HeaderMap,
    params: Params,
) -> Answer {
    let Some(token) = cookies::read(&headers, cookies::SECOND_STEP) else {
        return see_other("/login");
    };
    draw(&console, &visit, (&params, token), (StatusCode::OK, None, None)).await
}

/// `GET` of what only a form is sent to: a page reloaded comes to the choice.
pub(crate) async fn again() -> Answer {
    see_other(PATH)
}

/// `POST /login/factor`: the choice.
pub(crate) async fn begin(
    State(console): State<Console>,
    Extension(visit): Extension<Arc<Visit>>,
    headers: HeaderMap,
    form: Params,
) -> Answer {
    let Some(token) = cookies::read(&headers, cookies::SECOND_STEP) else {
        return over();
    };
    let method =
        form.get("method").and_then(Method::of).ok_or_else(|| Fault::malformed("method"))?;
    let (counted, wait_s) = counted(&console, &visit, (token, Class::Auth)).await?;
    let answer = match wait_s {
        Some(seconds) => Err(Fault::too_many(seconds)),
        None => begun(&console, &visit, (&form, token), method).await,
    };
    Ok(with_count(answer, counted))
}

/// `POST /login/factor/confirm`: the first code.
pub(crate) async fn confirm(
    State(console): State<Console>,
    Extension(visit): Extension<Arc<Visit>>,
    headers: HeaderMap,
    form: Params,
) -> Answer {
    let Some(token) = cookies::read(&headers, cookies::SECOND_STEP) else {
        return over();
    };
    let method =
        form.get("method").and_then(Method::of).ok_or_else(|| Fault::malformed("method"))?;
    let (counted, wait_s) = counted(&console, &visit, (token, Class::Mfa)).await?;
    let answer = if let Some(seconds) = wait_s {
        Err(Fault::too_many(seconds))
    } else {
        let code = Zeroizing::new(form.raw("code").unwrap_or_default().to_owned());
        let (typed, from) = ((Some(method), code), Arc::clone(&visit.source));
        match console.identity.confirm_console_factor(token, typed, from).await {
            Ok((confirmed, grant)) => {
                entered(&console, &visit, &form, (&confirmed.backup_codes, &grant)).await
            }
            Err(error) => {
                let doing = match method {
                    Method::Totp => Doing::App(None),
                    sent => Doing::Sent(sent),
                };
                refused(&console, &visit, (&form, token), (error, Some(doing))).await
            }
        }
    };
    Ok(with_count(answer, counted))
}

/// `POST /login/factor/passkey`: what the authenticator made.
pub(crate) async fn make_passkey(
    State(console): State<Console>,
    Extension(visit): Extension<Arc<Visit>>,
    headers: HeaderMap,
    form: Params,
) -> Answer {
    let Some(token) = cookies::read(&headers, cookies::SECOND_STEP) else {
        return over();
    };
    let made = webauthn::registration(&form)?;
    let (counted, wait_s) = counted(&console, &visit, (token, Class::Mfa)).await?;
    let answer = if let Some(seconds) = wait_s {
        Err(Fault::too_many(seconds))
    } else {
        let (identity, from) = (&console.identity, Arc::clone(&visit.source));
        match identity.register_required_console_passkey(token, made, from).await {
            Ok((made, grant)) => {
                entered(&console, &visit, &form, (&made.backup_codes, &grant)).await
            }
            Err(error) => refused(&console, &visit, (&form, token), (error, None)).await,
        }
    };
    Ok(with_count(answer, counted))
}

async fn begun(
    console: &Console,
    visit: &Visit,
    (form, token): (&Params, &str),
    method: Method,
) -> Answer {
    let (identity, from) = (&console.identity, Arc::clone(&visit.source));
    let doing = if method == Method::Passkey {
        let options = identity.required_console_passkey_options(token, from).await;
        options.map(|options| Doing::Passkey(webauthn::creation(&options)))
    } else {
        let request = SetupRequest { method, name: None };
        let setup = identity.setup_console_factor(token, request, from).await;
        setup.map(|setup| doing(&setup))
    };
    match doing {
        Ok(doing) => draw(console, visit, (form, token), (StatusCode::OK, Some(doing), None)).await,
        Err(error) => refused(console, visit, (form, token), (error, None)).await,
    }
}

fn doing(setup: &Setup) -> Doing {
    match &setup.app {
        Some(app) => Doing::App(Some(AppKey::of(app))),
        None => Doing::Sent(setup.method),
    }
}

async fn refused(
    console: &Console,
    visit: &Visit,
    whose: (&Params, &str),
    (error, doing): (OperationError, Option<Doing>),
) -> Answer {
    let OperationError::Refused(refusal) = error else { return Err(error.into()) };
    if refusal.code == "invalid_token" {
        return over();
    }
    let Some(told) = told(&refusal) else { return Err(refusal.into()) };
    // Nothing is being set up any more: back to the choice.
    let doing = doing.filter(|_| refusal.code != "nothing_to_confirm");
    let mut response = draw(console, visit, whose, (told.status, doing, Some(told.words))).await?;
    retry_after(&mut response, told.retry_after_s);
    Ok(response)
}

/// In: the backup codes, shown this once, and the way on.
async fn entered(
    console: &Console,
    visit: &Visit,
    form: &Params,
    (codes, grant): (&[Zeroizing<String>], &ConsoleGrant),
) -> Answer {
    let next = form.get("next").and_then(own_path).unwrap_or("/");
    let mut response = if codes.is_empty() {
        see_other(next)?
    } else {
        let mut page = Page::of(console, visit, "Backup codes");
        // The session begins with this answer: what it would draw is not known yet.
        (page.person, page.navigation) = (None, Vec::new());
        Html(Shown::new(page, codes, next).render()?).into_response()
    };
    admit(console, visit, &mut response, grant).await;
    cookies::set(response.headers_mut(), cookies::SECOND_STEP, "", cookies::Keep::Drop);
    Ok(response)
}

async fn draw(
    console: &Console,
    visit: &Visit,
    (params, token): (&Params, &str),
    (status, doing, fault): (StatusCode, Option<Doing>, Option<String>),
) -> Answer {
    let offered = match tenant_of(console, token).await? {
        Some(tenant) => {
            console.identity.policy(&nobody(console, visit, &tenant)).await?.mfa.methods
        }
        None => return over(),
    };
    let mut page = Page::of(console, visit, "Set up a second factor");
    (page.person, page.navigation) = (None, Vec::new());
    let offer = |(method, verb): &(Method, &'static str)| {
        let name = method.as_str();
        offered.iter().any(|offered| offered == name).then_some(Offer { name, verb })
    };
    let next = params.get("next").and_then(own_path).unwrap_or("/");
    let mut query = form_urlencoded::Serializer::new(String::new());
    let template = EnrolmentPage {
        page,
        next: next.to_owned(),
        choice: format!("{PATH}?{}", query.append_pair("next", next).finish()),
        methods: METHODS.iter().filter_map(offer).collect(),
        offers_passkey: know_passkeys(&offered),
        doing,
        notice: None,
        fault,
    };
    Ok(drawn(visit, (status, template.render()?)))
}
