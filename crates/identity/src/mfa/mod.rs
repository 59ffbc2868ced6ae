//! Second factors: what somebody proves beside the password, at sign-in and again for
//! what is sensitive.
//!
//! Owns methods, the two-step sign-in, enrolment, backup codes, step-up and the reset
//! by two admins. Every attempt is charged and committed before anything is compared
//! (`charge`), and whatever is accepted is accepted once, by one conditional UPDATE
//! (`proof`). Refuses to know WebAuthn: a passkey is a method here and is verified by
//! its own module, which charges, consumes and begins sessions through this one.

mod challenge;
mod charge;
mod codes;
mod enrol;
mod enrol_commands;
mod manage;
mod notices;
mod payment;
mod proof;
mod qr;
mod reset;
mod second_step;
mod sign_in;
mod spent;
mod step_up;
mod totp;
mod waiting;

use jiff::Timestamp;
use operation::Refusal;
use serde::{Deserialize, Serialize};
use uuid::Uuid;
use zeroize::Zeroizing;

use crate::{passkeys::PasskeyPresented, session_begin::Assurance};

pub(crate) use challenge::{
    NewChallenge, Owner, Pending, PendingFactor, PendingTokens, Purpose, begin as begin_challenge,
    consume as consume_challenge,
};
pub use enrol::{AppSetup, Confirmed, Setup, SetupRequest};
pub(crate) use enrol::{Authority, checked_name, fresh_codes, method_unavailable};
pub(crate) use enrol_commands::{end_other_sessions, store_backup_codes};
pub use manage::FactorRecord;
pub(crate) use notices::{Told, tell};
pub use payment::{Payment, PaymentProven};
pub use reset::ResetRequest;
pub use second_step::{ConsoleStep, FactorPresented, SteppedUp, VerifiedStep};
pub(crate) use sign_in::is_required;
pub use sign_in::{ConsoleSignIn, SecondFactorDue, SignIn};
pub(crate) use step_up::RECENT;

const METHODS: &str = tenancy::sql!("identity/mfa.sql", "methods");

/// How a second factor is proven.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Method {
    /// Codes by time (RFC 6238).
    Totp,
    /// A code sent to a phone.
    Sms,
    /// A code sent by e-mail.
    Email,
    /// One of ten codes on paper; no factor by itself.
    Backup,
    /// A `WebAuthn` authenticator.
    Passkey,
}

impl Method {
    /// Every method.
    pub const ALL: [Self; 5] = [Self::Passkey, Self::Totp, Self::Sms, Self::Email, Self::Backup];

    /// The name on the wire, in policies and in the database.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Totp => "totp",
            Self::Sms => "sms",
            Self::Email => "email",
            Self::Backup => "backup",
            Self::Passkey => "passkey",
        }
    }

    /// The method of that name.
    pub fn of(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|method| method.as_str() == name)
    }

    /// Whether a code of it has to be sent first.
    pub(crate) const fn is_sent(self) -> bool {
        matches!(self, Self::Sms | Self::Email)
    }

    /// What it is called where somebody gave it no name.
    pub(crate) const fn title(self) -> &'static str {
        match self {
            Self::Totp => "Authenticator app",
            Self::Sms => "Text message",
            Self::Email => "E-mail",
            Self::Backup => "Backup codes",
            Self::Passkey => "Passkey",
        }
    }
}

/// What was proven with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proven {
    /// The method whose code it was.
    pub method: Method,
    /// Where it was a backup code: how many are left.
    pub backup_codes_left: Option<u32>,
}

impl Proven {
    /// Whether a new set of backup codes is due: advised after each that was used,
    /// obligatory at two or fewer.
    pub fn regenerate(&self) -> Option<Regenerate> {
        self.backup_codes_left.map(|left| {
            if left <= BACKUP_CODES_FEW { Regenerate::Required } else { Regenerate::Advised }
        })
    }
}

/// How urgently a new set of backup codes is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Regenerate {
    /// One was used.
    Advised,
    /// Two or fewer are left.
    Required,
}

/// At so many or fewer a new set is obligatory.
const BACKUP_CODES_FEW: u32 = 2;

/// A code as somebody typed it, or what their authenticator said instead.
pub(crate) struct Typed {
    /// None: authenticator app first, then backup codes.
    pub(crate) method: Option<Method>,
    pub(crate) code: Zeroizing<String>,
    pub(crate) passkey: Option<PasskeyPresented>,
}

impl Typed {
    pub(crate) fn code(method: Option<Method>, code: Zeroizing<String>) -> Self {
        Self { method, code, passkey: None }
    }

    pub(crate) fn passkey(presented: PasskeyPresented) -> Self {
        let method = Some(Method::Passkey);
        Self { method, code: Zeroizing::default(), passkey: Some(presented) }
    }

    /// How well its owner is known by it, beside the password.
    pub(crate) fn assurance(&self) -> Assurance {
        if self.passkey.is_some() { Assurance::Passkey } else { Assurance::TwoFactors }
    }
}

/// A factor that somebody may prove themselves with.
pub(crate) struct Held {
    pub(crate) method: Method,
    pub(crate) config: Option<Uuid>,
    pub(crate) name: String,
    pub(crate) confirmed_at: Option<Timestamp>,
    pub(crate) last_used_at: Option<Timestamp>,
    pub(crate) remaining: Option<i32>,
    pub(crate) version: Option<i64>,
}

/// What `get_user_mfa_methods` says of somebody.
pub(crate) async fn held(
    transaction: &tenancy::TenantTx,
    user: Uuid,
) -> Result<Vec<Held>, tenancy::DbError> {
    held_of(&transaction.query(METHODS, &[&user]).await?)
}

pub(crate) fn held_of(rows: &[tokio_postgres::Row]) -> Result<Vec<Held>, tenancy::DbError> {
    let read = |row: &tokio_postgres::Row| -> Result<Option<Held>, tokio_postgres::Error> {
        let method: String = row.try_get("method")?;
        let Some(method) = Method::of(&method) else { return Ok(None) };
        Ok(Some(Held {
            method,
            config: row.try_get("config_id")?,
            name: row.try_get("name")?,
            confirmed_at: row.try_get("confirmed_at")?,
            last_used_at: row.try_get("last_used_at")?,
            remaining: row.try_get("remaining")?,
            version: row.try_get("version")?,
        }))
    };
    Ok(rows.iter().filter_map(|row| read(row).transpose()).collect::<Result<_, _>>()?)
}

/// The one answer to a pending token that is wrong, over, used, from elsewhere or of
/// another purpose.
pub(crate) fn no_pending_state() -> Refusal {
    Refusal::unauthenticated("invalid_token", "This step is over. Sign in again")
}

/// The one answer to a code that is wrong, over or used.
pub(crate) fn invalid_code() -> Refusal {
    Refusal::unauthenticated("invalid_code", "This code is not the one that is due")
}

type Parameters<'a, const N: usize> = [&'a (dyn tokio_postgres::types::ToSql + Sync); N];
