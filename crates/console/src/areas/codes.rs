//! What pages say of a second factor that was refused, and the methods in words. Refuses
//! to know what a code is compared with.

use http::StatusCode;
use identity::Method;
use operation::{Refusal, RefusalKind};

use super::webauthn;
use crate::params::Params;

/// What a page says of a refusal, under its status.
pub(super) struct Told {
    pub(super) status: StatusCode,
    pub(super) words: String,
    /// Seconds after which another try makes sense.
    pub(super) retry_after_s: Option<u64>,
}

/// What to say of a refusal; none where it is not about the factor itself.
pub(super) fn told(refusal: &Refusal) -> Option<Told> {
    let seconds = refusal.retry_after_s;
    let words = match (refusal.code.as_ref(), refusal.kind) {
        ("invalid_code", _) => {
            "That code is not the one that is due. Check it and try again.".to_owned()
        }
        ("account_locked", _) => {
            "Too many failures. Codes are paused; try again in 15 minutes.".to_owned()
        }
        ("method_unavailable", _) => "A code cannot be sent that way.".to_owned(),
        ("address_missing", _) => {
            "There is no address on record to send codes to. Add one first.".to_owned()
        }
        ("passkey_not_accepted", _) => {
            let why = refusal.errors.first().map(|error| error.message.as_str());
            format!("The passkey was not accepted. {}.", why.unwrap_or("Try again"))
        }
        (_, RefusalKind::RateLimited) => {
            format!("Too many attempts. Try again in {} seconds.", seconds.unwrap_or(60))
        }
        (_, RefusalKind::Unavailable) => {
            "We are very busy at the moment. Try again in a few seconds.".to_owned()
        }
        ("version_conflict", _) => {
            "It was changed meanwhile. Here is how it stands now; nothing of yours was done."
                .to_owned()
        }
        (_, RefusalKind::Rule | RefusalKind::Conflict) => format!("{}.", refusal.detail),
        _ => return None,
    };
    let status = StatusCode::from_u16(refusal.kind.status()).unwrap_or(StatusCode::UNAUTHORIZED);
    Some(Told { status, words, retry_after_s: seconds })
}

/// As [`told`], of a form that may have carried a passkey's answer in a code's place.
pub(super) fn told_of(form: &Params, refusal: &Refusal) -> Option<Told> {
    let mut told = told(refusal)?;
    if refusal.code == "invalid_code" && webauthn::is_in(form) {
        "That passkey was not accepted. Try again, or choose another way."
            .clone_into(&mut told.words);
    }
    Some(told)
}

/// What a method is called.
pub(super) const fn words(method: Method) -> &'static str {
    match method {
        Method::Totp => "Authenticator app",
        Method::Sms => "Text message",
        Method::Email => "E-mail",
        Method::Backup => "Backup code",
        Method::Passkey => "Passkey",
    }
}

/// Whether a policy's methods know passkeys, under either of their names.
pub(super) fn know_passkeys(methods: &[String]) -> bool {
    methods.iter().any(|method| method == "passkey" || method == "fido2")
}

/// A method to choose.
pub(super) struct Choice {
    pub(super) name: &'static str,
    pub(super) words: &'static str,
    pub(super) chosen: bool,
}

/// What a form offers of the methods that somebody holds.
pub(super) struct Choices {
    /// Those whose codes are typed.
    pub(super) typed: Vec<Choice>,
    /// Those whose codes are sent.
    pub(super) sent: Vec<Choice>,
    /// Whether there is a passkey.
    pub(super) passkey: bool,
}

impl Choices {
    /// Of what is held, with what was chosen before; else the first.
    pub(super) fn of(held: &[Method], chosen: Option<Method>) -> Self {
        let typed = held.iter().copied().filter(|method| *method != Method::Passkey);
        let chosen = chosen.or_else(|| typed.clone().next());
        let choice = |method: Method| Choice {
            name: method.as_str(),
            words: words(method),
            chosen: Some(method) == chosen,
        };
        let is_sent = |method: &Method| matches!(method, Method::Sms | Method::Email);
        Self {
            typed: typed.clone().map(choice).collect(),
            sent: typed.filter(is_sent).map(choice).collect(),
            passkey: held.contains(&Method::Passkey),
        }
    }
}
