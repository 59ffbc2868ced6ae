//! A person's own passkeys: making one, its name, what it is, taking it away.
//!
//! What the browser is asked for comes with the page, and its answer is a form's field.
//! Refuses to judge either: identity does.

use askama::Template;
use axum::extract::Path;
use http::StatusCode;
use identity::PasskeyRecord;
use operation::{OperationError, Refusal};
use uuid::Uuid;

use super::{
    backup_codes::Shown,
    codes::told,
    factors::{self, FactorPage, moment, named},
    webauthn,
};
use crate::{
    fault::{Answer, Fault},
    form::Form,
    kit,
    page::Page,
    params::Params,
    visitor::Visitor,
};

/// Where each is.
pub(super) const PATH: &str = "/security/passkeys";

#[derive(Template)]
#[template(path = "areas/passkey_new.html")]
struct NewPasskeyPage {
    page: Page,
    form: Form,
    options: String,
    fault: Option<String>,
}

#[derive(Template)]
#[template(path = "areas/sign_in_again.html")]
struct SignInAgainPage {
    page: Page,
}

/// `GET` of what only a form is sent to.
pub(crate) async fn again(visitor: Visitor) -> Answer {
    visitor.redirect(factors::PATH)
}

/// `POST /security/passkeys/new`: what the browser is asked for, on its page.
pub(crate) async fn begin(visitor: Visitor) -> Answer {
    draw(&visitor, Form::new(&named("Passkey")), (StatusCode::OK, None)).await
}

/// `POST /security/passkeys`: what the authenticator made.
pub(crate) async fn register(visitor: Visitor, form: Params) -> Answer {
    let made = webauthn::registration(&form)?;
    match visitor.console.identity.register_passkey(visitor.context(), made).await {
        Ok(made) if made.backup_codes.is_empty() => {
            visitor.redirect_saying(factors::PATH, "Passkey added")
        }
        Ok(made) => {
            let page = Shown::page(&visitor);
            visitor.show(&Shown::new(page, &made.backup_codes, factors::PATH))
        }
        Err(OperationError::Refused(refusal)) => {
            let about_name = refusal.errors.iter().any(|error| error.field == "name");
            let Some(told) = told(&refusal) else { return refused(&visitor, refusal) };
            let drawn = if about_name {
                Form::refused(&form, &refusal)
            } else {
                Form::new(&named(form.text("name")))
            };
            let fault = (!about_name).then_some(told.words);
            draw(&visitor, drawn, (told.status, fault)).await
        }
        Err(error) => Err(error.into()),
    }
}

/// `GET /security/passkeys/{id}`.
pub(crate) async fn show(visitor: Visitor, Path(id): Path<Uuid>) -> Answer {
    let passkey = found(&visitor, id).await?;
    let form = Form::new(&named(&passkey.name));
    visitor.show(&one(&visitor, &passkey, form))
}

/// `POST /security/passkeys/{id}`: another name.
pub(crate) async fn rename(visitor: Visitor, Path(id): Path<Uuid>, form: Params) -> Answer {
    let passkey = found(&visitor, id).await?;
    let identity = &visitor.console.identity;
    let named = (id, form.parsed("version")?);
    match identity.rename_passkey(visitor.context(), named, form.text("name")).await {
        Ok(_) => visitor.redirect_saying(factors::PATH, "Renamed"),
        Err(OperationError::Refused(refusal)) if !refusal.errors.is_empty() => {
            let form = Form::refused(&form, &refusal);
            visitor.show_as(StatusCode::UNPROCESSABLE_ENTITY, &one(&visitor, &passkey, form))
        }
        Err(error) => factors::refused(&visitor, error).await,
    }
}

/// `POST /security/passkeys/{id}/remove`.
pub(crate) async fn remove(visitor: Visitor, Path(id): Path<Uuid>, form: Params) -> Answer {
    let passkey = (id, form.parsed("version")?);
    match visitor.console.identity.remove_passkey(visitor.context(), passkey).await {
        Ok(()) => visitor.redirect_saying(factors::PATH, "Passkey removed"),
        Err(error) => factors::refused(&visitor, error).await,
    }
}

/// `GET` of that: whoever comes back from proving a factor finds the form.
pub(crate) async fn removal(visitor: Visitor, Path(id): Path<Uuid>) -> Answer {
    visitor.redirect(&format!("{PATH}/{id}"))
}

/// What a passkey is, in words.
pub(super) fn kind(passkey: &PasskeyRecord) -> &'static str {
    let is = |transport: &str| passkey.transports.iter().any(|given| given == transport);
    if passkey.backed_up {
        "Passkey, synced"
    } else if passkey.backup_eligible {
        "Passkey, can be synced"
    } else if is("usb") || is("nfc") || is("ble") || is("smart-card") {
        "Hardware key"
    } else {
        "Passkey, on one device"
    }
}

async fn found(visitor: &Visitor, id: Uuid) -> Result<PasskeyRecord, Fault> {
    let passkeys = visitor.console.identity.passkeys(visitor.context()).await?;
    passkeys.into_iter().find(|passkey| passkey.id == id).ok_or_else(Fault::not_found)
}

fn one(visitor: &Visitor, passkey: &PasskeyRecord, form: Form) -> FactorPage {
    let zone = visitor.zone();
    let page = visitor
        .page(&passkey.name)
        .crumb("Security", "/security")
        .crumb("Second factors", factors::PATH)
        .api("/v1/auth/webauthn/passkeys");
    FactorPage {
        page,
        form,
        path: format!("{PATH}/{}", passkey.id),
        version: passkey.version,
        facts: vec![
            ("Kind", kit::Markup::made(kind(passkey).to_owned())),
            ("Added", moment(Some(passkey.created_at), &zone)),
            ("Last used", moment(passkey.last_used_at, &zone)),
        ],
        removal: "It signs you in no more. Delete it on your device as well. If it is your only second factor, it stays: add another one first.",
    }
}

/// Whoever has no factor to prove is asked to sign in anew; the rest is no page of ours.
fn refused(visitor: &Visitor, refusal: Refusal) -> Answer {
    if refusal.code != "sign_in_required" {
        return Err(refusal.into());
    }
    let page = visitor
        .page("Sign in again first")
        .crumb("Security", "/security")
        .crumb("Second factors", factors::PATH)
        .api("/v1/auth/webauthn/passkeys");
    visitor.show_as(StatusCode::FORBIDDEN, &SignInAgainPage { page })
}

async fn draw(
    visitor: &Visitor,
    form: Form,
    (status, fault): (StatusCode, Option<String>),
) -> Answer {
    let options = match visitor.console.identity.passkey_creation_options(visitor.context()).await {
        Ok(options) => webauthn::creation(&options),
        Err(OperationError::Refused(refusal)) if refusal.code == "sign_in_required" => {
            return refused(visitor, refusal);
        }
        Err(error) => return factors::refused(visitor, error).await,
    };
    let page = visitor
        .page("Make a passkey")
        .lead("Your device asks for your finger, face or PIN and keeps the passkey.")
        .crumb("Security", "/security")
        .crumb("Second factors", factors::PATH)
        .api("/v1/auth/webauthn/passkeys");
    visitor.show_as(status, &NewPasskeyPage { page, form, options, fault })
}

#[cfg(test)]
mod tests {
    use identity::PasskeyRecord;
    use jiff::Timestamp;
    use uuid::Uuid;

    use super::kind;

    #[test]
    fn a_key_on_a_ring_is_told_from_one_in_a_cloud() {
        // transports, eligible, backed up, words
        let table: [(&[&str], bool, bool, &str); 5] = [
            (&["internal", "hybrid"], true, true, "Passkey, synced"),
            (&["internal"], true, false, "Passkey, can be synced"),
            (&["usb", "nfc"], false, false, "Hardware key"),
            (&["internal"], false, false, "Passkey, on one device"),
            (&[], false, false, "Passkey, on one device"),
        ];
        for (transports, backup_eligible, backed_up, words) in table {
            let passkey = PasskeyRecord {
                id: Uuid::nil(),
                name: String::new(),
                algorithm: String::new(),
                aaguid: None,
                transports: transports.iter().map(|name| (*name).to_owned()).collect(),
                backup_eligible,
                backed_up,
                last_used_at: None,
                created_at: Timestamp::UNIX_EPOCH,
                updated_at: Timestamp::UNIX_EPOCH,
                version: 1,
            };
            assert_eq!(kind(&passkey), words);
        }
    }
}
