//! A person's own e-mail address and phone number: proven, and changed once a link or a
//! code has come back from the new one. The old one is told; identity sees to that.
//!
//! The token that a phone's code belongs to is kept in a cookie for its five minutes, so that
//! it stands in no page. Refuses to know how messages leave.

use askama::Template;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use identity::{NewAddress, UserRecord};
use operation::{OperationError, Refusal, RefusalKind};
use zeroize::Zeroizing;

use super::security::{self, Tab};
use crate::{cookies, fault::Answer, form::Form, page::Page, params::Params, visitor::Visitor};

const PATH: &str = "/security/contact";
const CODE_PATH: &str = "/security/contact/phone";
/// A code is good no longer.
const CODE_S: u64 = 5 * 60;

#[derive(Template)]
#[template(path = "areas/contact.html")]
struct Contact {
    page: Page,
    tabs: Vec<Tab>,
    record: UserRecord,
    email: Form,
    phone: Form,
    /// Whether a second factor can stand in for the password.
    has_factor: bool,
}

#[derive(Template)]
#[template(path = "areas/contact_code.html")]
struct Code {
    page: Page,
    form: Form,
}

/// Which of the two forms.
#[derive(Clone, Copy)]
enum Which {
    Email,
    Phone,
}

/// `GET /security/contact`.
pub(crate) async fn show(visitor: Visitor) -> Answer {
    draw(&visitor, (Form::default(), Form::default()), StatusCode::OK).await
}

/// `GET` of what only a form is sent to: a page reloaded behind a refusal comes here.
pub(crate) async fn begin(visitor: Visitor) -> Answer {
    visitor.redirect(PATH)
}

/// `POST /security/contact/email`: a link to the address that is to be theirs.
pub(crate) async fn change_email(visitor: Visitor, form: Params) -> Answer {
    let new = address(&form, "email", str::to_owned);
    match visitor.console.identity.ask_email_change(visitor.context(), new).await {
        Ok(_) => {
            let said = "A link is on its way to the new address. It changes once you follow it";
            visitor.redirect_saying(PATH, said)
        }
        Err(error) => refused(&visitor, &form, (Which::Email, error)).await,
    }
}

/// `POST /security/contact/email/prove`: a link to the address that is theirs already.
pub(crate) async fn prove_email(visitor: Visitor) -> Answer {
    match visitor.console.identity.send_email_verification(visitor.context()).await {
        Ok(_) => visitor.redirect_saying(PATH, "A link is on its way. Follow it within a day"),
        Err(OperationError::Refused(refusal)) if refusal.code == "already_verified" => {
            visitor.redirect_saying(PATH, "The address is proven already")
        }
        Err(error) => refused(&visitor, &Params::default(), (Which::Email, error)).await,
    }
}

/// `POST /security/contact/phone`: a code to the number that is to be theirs.
pub(crate) async fn change_phone(visitor: Visitor, form: Params) -> Answer {
    let new = address(&form, "phone", |text| text.replace([' ', '-', '(', ')'], ""));
    match visitor.console.identity.ask_phone_change(visitor.context(), new).await {
        Ok(challenge) => {
            let mut response = visitor.redirect(CODE_PATH)?;
            let keep = cookies::Keep::Seconds(CODE_S);
            cookies::set(response.headers_mut(), cookies::PHONE, &challenge.phone_token, keep);
            Ok(response)
        }
        Err(error) => refused(&visitor, &form, (Which::Phone, error)).await,
    }
}

/// `GET /security/contact/phone`: where the code is typed.
pub(crate) async fn ask_code(visitor: Visitor, headers: HeaderMap) -> Answer {
    if cookies::read(&headers, cookies::PHONE).is_none() {
        return visitor.redirect(PATH);
    }
    draw_code(&visitor, Form::default(), StatusCode::OK)
}

/// `POST /security/contact/phone/code`.
pub(crate) async fn confirm_phone(visitor: Visitor, headers: HeaderMap, form: Params) -> Answer {
    let Some(token) = cookies::read(&headers, cookies::PHONE) else {
        return visitor.redirect_saying(PATH, "That took too long. Ask for a new code");
    };
    let code = form.text("code");
    let said = match visitor.console.identity.verify_phone(visitor.context(), token, code).await {
        Ok(()) => "Phone number changed",
        Err(OperationError::Refused(refusal)) if refusal.code == "code_wrong" => {
            let form = Form::refused(&Params::default(), &refusal);
            return draw_code(&visitor, form, StatusCode::UNPROCESSABLE_ENTITY);
        }
        Err(OperationError::Refused(refusal)) if refusal.code == "link_invalid" => {
            "That code is no longer valid. Ask for a new one"
        }
        Err(error) => return Err(error.into()),
    };
    let mut response = visitor.redirect_saying(PATH, said)?;
    cookies::set(response.headers_mut(), cookies::PHONE, "", cookies::Keep::Drop);
    Ok(response)
}

/// Without a password the second factor of a moment ago has to speak.
fn address(form: &Params, name: &str, written: impl Fn(&str) -> String) -> NewAddress {
    let typed = form.raw("current_password").filter(|typed| !typed.is_empty());
    NewAddress {
        address: written(form.text(name)),
        current_password: typed.map(|typed| Zeroizing::new(typed.to_owned())),
    }
}

async fn refused(
    visitor: &Visitor,
    form: &Params,
    (which, error): (Which, OperationError),
) -> Answer {
    let OperationError::Refused(refusal) = error else { return Err(error.into()) };
    let status = match refusal.kind {
        RefusalKind::Rule => StatusCode::UNPROCESSABLE_ENTITY,
        RefusalKind::Conflict => StatusCode::CONFLICT,
        RefusalKind::RateLimited => StatusCode::TOO_MANY_REQUESTS,
        RefusalKind::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        _ => return Err(refusal.into()),
    };
    // The password that came along is never drawn again.
    let drawn = Form::refused(&kept(form), &said(&refusal, which));
    let forms = match which {
        Which::Email => (drawn, Form::default()),
        Which::Phone => (Form::default(), drawn),
    };
    let mut response = draw(visitor, forms, status).await?;
    if let Some(seconds) = refusal.retry_after_s {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    Ok(response)
}

fn kept(form: &Params) -> Params {
    let mut encoded = form_urlencoded::Serializer::new(String::new());
    encoded.extend_pairs(form.without(&["current_password"]));
    Params::parse(encoded.finish().as_bytes()).unwrap_or_default()
}

/// In words for people, about the fields of that one of the two forms.
fn said(refusal: &Refusal, which: Which) -> Refusal {
    let mut said = refusal.clone();
    match refusal.kind {
        RefusalKind::RateLimited => {
            "You were sent enough for now. Try again in an hour.".clone_into(&mut said.detail);
        }
        RefusalKind::Unavailable => {
            "We are very busy at the moment. Try again in a few seconds."
                .clone_into(&mut said.detail);
        }
        _ => {}
    }
    for error in said.errors.iter_mut().filter(|error| error.field == "current_password") {
        error.field = match which {
            Which::Email => "email_password".into(),
            Which::Phone => "phone_password".into(),
        };
    }
    said
}

async fn draw(visitor: &Visitor, (email, phone): (Form, Form), status: StatusCode) -> Answer {
    let (identity, context) = (&visitor.console.identity, visitor.context());
    let record = identity.own_record(context).await?;
    let page = visitor
        .page("Security")
        .lead("Where we reach you. A new address counts once it has answered.")
        .api("/v1/auth/me");
    let template = Contact {
        page,
        tabs: security::tabs(PATH),
        has_factor: !record.factors.is_empty(),
        record,
        email,
        phone,
    };
    visitor.show_as(status, &template)
}

fn draw_code(visitor: &Visitor, form: Form, status: StatusCode) -> Answer {
    let page = visitor
        .page("Type the code")
        .lead("It was sent to the new number and is good for five minutes.")
        .crumb("E-mail and phone", PATH)
        .api("/v1/auth/me");
    visitor.show_as(status, &Code { page, form })
}
