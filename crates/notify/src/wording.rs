//! What each message says: plain words, and nothing that asks for a password. One table
//! for e-mail and SMS, so that no template is forgotten in either.
//!
//! Refuses to know markup; names, links and times come in as they are to be read.

use crate::notice::{Template, Values};

/// The words of one message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Words {
    /// The subject line of an e-mail.
    pub(crate) subject: String,
    /// What happened, before anything to act on.
    pub(crate) lead: Vec<String>,
    /// What the link does, where there is one.
    pub(crate) action: Option<&'static str>,
    /// What to do about it.
    pub(crate) advice: Vec<String>,
    /// All of it in an SMS, the link or code included.
    pub(crate) sms: String,
}

/// What words are made of: values as people read them.
pub(crate) struct Told<'a> {
    /// The name of the tenant.
    pub(crate) brand: &'a str,
    /// "write to help@bank.example", "contact Bank".
    pub(crate) contact: &'a str,
    /// The link, whole; empty where there is none.
    pub(crate) link: &'a str,
    /// When link or code end, or the lock; empty where nothing does.
    pub(crate) until: &'a str,
    /// The rest.
    pub(crate) values: &'a Values,
}

pub(crate) fn words(template: Template, told: &Told<'_>) -> Words {
    match template {
        Template::PasswordReset => password_reset(told),
        Template::Invite => invite(told),
        Template::VerifyEmail => verify_email(told),
        Template::SignInCode => code(told),
        Template::EmailChanged => news(
            told,
            "Your e-mail address was changed",
            "has another e-mail address now. From now on we write to that one.",
        ),
        Template::PhoneChanged => news(
            told,
            "Your phone number was changed",
            "has another phone number now. Codes go to that one.",
        ),
        Template::PasswordChanged => news(told, "Your password was changed", "has a new password."),
        Template::FactorAdded => {
            let said = format!("can be opened with another second step now: {}.", factor(told));
            news(told, "A second step was added to your account", &said)
        }
        Template::FactorRemoved => {
            let said =
                format!("cannot be opened with this second step any more: {}.", factor(told));
            news(told, "A second step was removed from your account", &said)
        }
        Template::NewDevice => news(
            told,
            "A new device signed in to your account",
            "was opened from a device that we have not seen before.",
        ),
        Template::BackupCodeUsed => backup_code_used(told),
        Template::AccountLocked => account_locked(told),
    }
}

fn password_reset(told: &Told<'_>) -> Words {
    Words {
        subject: "Choose a new password".to_owned(),
        lead: vec![
            format!(
                "Somebody, probably you, asked for a new password for your account at {}.",
                told.brand
            ),
            format!("The link works once, until {}.", told.until),
        ],
        action: Some("Choose a new password"),
        advice: vec![
            "If it was not you, there is nothing to do: your password stays as it is.".to_owned(),
        ],
        sms: format!("{}: choose a new password: {} (until {})", told.brand, told.link, told.until),
    }
}

fn invite(told: &Told<'_>) -> Words {
    Words {
        subject: format!("Your account at {}", told.brand),
        lead: vec![
            format!("An account at {} was made for you. Choose a password to begin.", told.brand),
            format!("The link works once, until {}.", told.until),
        ],
        action: Some("Begin"),
        advice: vec![format!(
            "If you do not know what this is about, there is nothing to do, or {}.",
            told.contact
        )],
        sms: format!(
            "{}: begin with your account: {} (until {})",
            told.brand, told.link, told.until
        ),
    }
}

fn verify_email(told: &Told<'_>) -> Words {
    Words {
        subject: "Confirm your e-mail address".to_owned(),
        lead: vec![
            format!("Please confirm that {} may write to you at this address.", told.brand),
            format!("The link works once, until {}.", told.until),
        ],
        action: Some("Confirm this address"),
        advice: vec![
            "If you do not know what this is about, there is nothing to do: the address is not used.".to_owned(),
        ],
        sms: format!("{}: confirm your address: {} (until {})", told.brand, told.link, told.until),
    }
}

fn code(told: &Told<'_>) -> Words {
    let purpose = told.values.purpose.as_deref();
    let lead = match purpose {
        Some(purpose) => {
            format!("This is your code {purpose}. It works once, until {}.", told.until)
        }
        None => {
            format!("This is your code for {}. It works once, until {}.", told.brand, told.until)
        }
    };
    let code = told.values.code.as_deref().unwrap_or_default();
    let what = purpose.map(|purpose| format!(" {purpose}")).unwrap_or_default();
    Words {
        subject: "Your code".to_owned(),
        lead: vec![lead],
        action: None,
        advice: vec![
            "Tell it to nobody. We never ask for it, by phone or otherwise.".to_owned(),
            format!(
                "If you did not ask for it, somebody knows your password: {} at once.",
                told.contact
            ),
        ],
        sms: format!(
            "{}: {code} is your code{what}, until {}. Tell it to nobody.",
            told.brand, told.until
        ),
    }
}

fn backup_code_used(told: &Told<'_>) -> Words {
    let left = match told.values.remaining.unwrap_or_default() {
        0 => "None is left: make new ones now.".to_owned(),
        1 => "One is left: make new ones now.".to_owned(),
        2 => "Two are left: make new ones now.".to_owned(),
        left => format!("{left} are left."),
    };
    let said = "was opened with one of your backup codes.";
    let mut words = news(told, "A backup code was used", said);
    words.sms = format!("{} {left}", words.sms);
    words.lead.push(left);
    words
}

fn account_locked(told: &Told<'_>) -> Words {
    let end = if told.until.is_empty() { String::new() } else { format!(" until {}", told.until) };
    let said =
        format!("is locked{end}, because somebody gave wrong passwords or codes several times.");
    let mut words = news(told, "Your account is locked", &said);
    words.advice = vec![format!(
        "If that was not you, {}: somebody may be guessing your password.",
        told.contact
    )];
    words
}

/// Something that was done to an account, and whom to call if it was not its owner.
fn news(told: &Told<'_>, subject: &str, said: &str) -> Words {
    Words {
        subject: subject.to_owned(),
        lead: vec![format!("Your account at {} {said}", told.brand)],
        action: Some("Look at your account").filter(|_| !told.link.is_empty()),
        advice: vec![format!("If it was not you, {} at once.", told.contact)],
        sms: format!("Your account at {} {said} Not you? Please {}.", told.brand, told.contact),
    }
}

fn factor<'a>(told: &Told<'a>) -> &'a str {
    told.values.factor.as_deref().unwrap_or_default()
}
