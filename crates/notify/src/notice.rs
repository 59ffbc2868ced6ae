//! What can be told, and what each message has to be given. Refuses to know how it reads.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

/// How it reaches its recipient.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Channel {
    /// To an e-mail address.
    Email,
    /// To a phone number, as E.164 writes it.
    Sms,
}

impl Channel {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Email, Self::Sms];

    /// The name in the database and in metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Email => "email",
            Self::Sms => "sms",
        }
    }
}

macro_rules! templates {
    ($($(#[$doc:meta])* $variant:ident = $name:literal, needs [$($field:ident),*];)*) => {
        /// What is told. What its values must hold stands behind each; all may hold any
        /// other of the fields of [`Notice::values`].
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Template {
            $($(#[$doc])* $variant,)*
        }

        impl Template {
            /// Every template, in the order of declaration.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// The name in the database, in audit records and in metrics.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// The first field that it needs and does not have.
            fn lacks(self, values: &Values) -> Option<&'static str> {
                match self {
                    $(Self::$variant => {
                        $(if values.$field.is_none() { return Some(stringify!($field)); })*
                        let _ = values;
                        None
                    })*
                }
            }
        }
    };
}

templates! {
    /// Somebody asked for a new password: `link`, `expires_at`.
    PasswordReset = "password_reset", needs [link, expires_at];
    /// An account was made for them: `link`, `expires_at`.
    Invite = "invite", needs [link, expires_at];
    /// An address is to be proven: `link`, `expires_at`.
    VerifyEmail = "verify_email", needs [link, expires_at];
    /// The e-mail address was changed; goes to the old one.
    EmailChanged = "email_changed", needs [];
    /// The phone number was changed; goes to the old one or the e-mail address.
    PhoneChanged = "phone_changed", needs [];
    /// The password was changed.
    PasswordChanged = "password_changed", needs [];
    /// A one-time code, for sign-in or to confirm something (`purpose`): `code`, `expires_at`.
    SignInCode = "sign_in_code", needs [code, expires_at];
    /// A second factor was added: `factor`.
    FactorAdded = "factor_added", needs [factor];
    /// A second factor was removed: `factor`.
    FactorRemoved = "factor_removed", needs [factor];
    /// A sign-in from a device that was not seen before.
    NewDevice = "new_device", needs [];
    /// A backup code was used: `remaining`.
    BackupCodeUsed = "backup_code_used", needs [remaining];
    /// The account was locked after wrong passwords or codes.
    AccountLocked = "account_locked", needs [];
}

impl Template {
    /// The template of that name.
    pub(crate) fn of(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|template| template.as_str() == name)
    }
}

/// Something to tell somebody.
#[derive(Clone, Debug)]
pub struct Notice<'a> {
    /// How.
    pub channel: Channel,
    /// Where to: an e-mail address or an E.164 number.
    pub to: &'a str,
    /// Whom it is about; what it says is sealed under their key.
    pub user: Option<Uuid>,
    /// What.
    pub template: Template,
    /// An object of any of these; others are refused, and so are control characters.
    ///
    /// - `link`: a path of ours, `/reset?…`, or an address under `PUBLIC_URL`; no other
    ///   host is ever linked to.
    /// - `code`: the one-time code, digits.
    /// - `expires_at`: RFC 3339, from when on link or code are good for nothing. It is not
    ///   sent any more then.
    /// - `purpose`: what a code confirms, as in "to pay 12.00 EUR to Jana Nováková".
    /// - `name`: how the recipient is addressed.
    /// - `occurred_at`: RFC 3339; the moment of enqueuing where absent.
    /// - `until`: RFC 3339, the end of a lock.
    /// - `ip_address`, `device`: where it was done from.
    /// - `factor`: the name of a second factor, as in "authenticator app".
    /// - `remaining`: how many backup codes are left.
    pub values: Value,
}

/// [`Notice::values`], read.
#[derive(Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Values {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) link: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) code: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) expires_at: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) purpose: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) occurred_at: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) until: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) ip_address: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) device: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) factor: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) remaining: Option<u32>,
}

/// Longest text of one value, in bytes.
const TEXT_MAX_BYTES: usize = 2_000;
/// How long a notice without an end of its own is tried: what RFC 5321 (4.5.4.1) asks of
/// whoever relays mail.
const LIFETIME: SignedDuration = SignedDuration::from_hours(4 * 24);
/// Longest address (RFC 5321, 4.5.3.1.3).
const ADDRESS_MAX_BYTES: usize = 254;

impl Values {
    /// The values of a template, or what is wrong with them. The words never repeat a value.
    pub(crate) fn of(template: Template, values: &Value) -> Result<Self, String> {
        let values = Self::deserialize(values)
            // Serde's own words quote what they found.
            .map_err(|_| "hold a field that is not known, or of the wrong type".to_owned())?;
        if let Some(field) = template.lacks(&values) {
            return Err(format!("have no {field}"));
        }
        if values.texts().any(|text| text.len() > TEXT_MAX_BYTES || has_control(text)) {
            return Err("hold a text that is too long or has control characters".to_owned());
        }
        Ok(values)
    }

    /// From when on it is not sent any more.
    pub(crate) fn deadline(&self, now: Timestamp) -> Timestamp {
        self.expires_at.or_else(|| now.checked_add(LIFETIME).ok()).unwrap_or(now)
    }

    fn texts(&self) -> impl Iterator<Item = &str> {
        [
            &self.link,
            &self.code,
            &self.purpose,
            &self.name,
            &self.ip_address,
            &self.device,
            &self.factor,
        ]
        .into_iter()
        .flatten()
        .map(String::as_str)
    }
}

/// Whether an address could be one of that channel. Line ends among it would let its
/// owner write headers and commands of their own.
pub(crate) fn is_address(channel: Channel, to: &str) -> bool {
    if to.is_empty() || to.len() > ADDRESS_MAX_BYTES || has_control(to) {
        return false;
    }
    match channel {
        Channel::Email => to.split_once('@').is_some_and(|(local, domain)| {
            !local.is_empty() && !domain.is_empty() && !to.contains(' ')
        }),
        Channel::Sms => to.strip_prefix('+').is_some_and(|digits| {
            (7..=15).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit())
        }),
    }
}

/// Whether a text is more than one line, or moves a terminal.
pub fn has_control(text: &str) -> bool {
    // U+2028 and U+2029 end a line for some readers.
    text.chars().any(|letter| letter.is_control() || matches!(letter, '\u{2028}' | '\u{2029}'))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::json;

    use super::*;

    #[test]
    fn each_template_names_what_it_lacks() {
        let at = "2026-11-22T10:00:00Z";
        let table = [
            (Template::PasswordReset, json!({ "link": "/reset" }), "have no expires_at"),
            (Template::PasswordReset, json!({ "expires_at": at }), "have no link"),
            (Template::PasswordReset, json!({ "link": "/reset", "expires_at": at }), ""),
            (Template::SignInCode, json!({ "expires_at": at }), "have no code"),
            (Template::FactorAdded, json!({}), "have no factor"),
            (Template::BackupCodeUsed, json!({ "remaining": 3 }), ""),
            (Template::NewDevice, json!({}), ""),
            (
                Template::NewDevice,
                json!({ "colour": "red" }),
                "hold a field that is not known, or of the wrong type",
            ),
            (
                Template::NewDevice,
                json!(null),
                "hold a field that is not known, or of the wrong type",
            ),
            (
                Template::NewDevice,
                json!({ "device": "a\r\nBcc: b@c.example" }),
                "hold a text that is too long or has control characters",
            ),
            (
                Template::NewDevice,
                json!({ "device": "a\u{2028}b" }),
                "hold a text that is too long or has control characters",
            ),
            (
                Template::NewDevice,
                json!({ "device": "x".repeat(2_001) }),
                "hold a text that is too long or has control characters",
            ),
        ];
        for (template, values, expected) in table {
            let fault = Values::of(template, &values).err().unwrap_or_default();
            assert_eq!(fault, expected, "{template:?} {values}");
        }
    }

    #[test]
    fn an_address_is_of_its_channel_and_one_line() {
        let table = [
            (Channel::Email, "a@b.example", true),
            (Channel::Email, "a@b.example\r\nRCPT TO:<c@d.example>", false),
            (Channel::Email, "a@b.example c@d.example", false),
            (Channel::Email, "a@", false),
            (Channel::Email, "@b.example", false),
            (Channel::Email, "+420123456789", false),
            (Channel::Sms, "+420123456789", true),
            (Channel::Sms, "420123456789", false),
            (Channel::Sms, "+42012345678\n", false),
            (Channel::Sms, "+1234567890123456", false),
            (Channel::Sms, "a@b.example", false),
            (Channel::Sms, "", false),
        ];
        for (channel, to, expected) in table {
            assert_eq!(is_address(channel, to), expected, "{channel:?} {to:?}");
        }
    }

    #[test]
    fn names_lead_back() {
        for template in Template::ALL {
            assert_eq!(Template::of(template.as_str()), Some(*template));
        }
        assert_eq!(Template::of("PasswordReset"), None);
    }
}
