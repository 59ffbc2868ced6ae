//! What a user is, and which values are acceptable before anything is sealed.
//!
//! No I/O.

use jiff::Timestamp;
use operation::{FieldError, Refusal};
use serde::{Deserialize, Serialize};
use uuid::Uuid;
use vault::password::PasswordHash;
use zeroize::Zeroizing;

use crate::{mfa::Method, tenant_state::TenantState};

/// A password for a new user.
pub enum NewPassword {
    /// None yet: an invitation follows.
    None,
    /// As typed; checked against policy.
    Plain(Zeroizing<String>),
    /// Hashed before, for many users at once; accepted from the system only.
    Hashed(PasswordHash),
}

impl std::fmt::Debug for NewPassword {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("NewPassword(redacted)")
    }
}

impl NewPassword {
    /// What a repeated request is compared by: a MAC, since a plain hash of a password
    /// could be searched.
    pub(crate) fn proof(&self, state: &TenantState) -> [u8; 32] {
        let text = match self {
            Self::None => Zeroizing::new(String::new()),
            Self::Plain(plain) => plain.clone(),
            Self::Hashed(hash) => Zeroizing::new(hash.to_string()),
        };
        state.keys.session().sign("idempotency-password", text.as_bytes())
    }
}

/// A user to be made.
#[derive(Debug)]
pub struct NewUser {
    /// 1 to 64 of `a-z A-Z 0-9 . _ -`, beginning with a letter or digit.
    pub username: String,
    /// Unique in the tenant, in any case of letters.
    pub email: Option<String>,
    /// E.164: `+` and 7 to 15 digits.
    pub phone: Option<String>,
    /// At most 200 characters.
    pub full_name: Option<String>,
    /// What to sign in with.
    pub password: NewPassword,
    /// A role of the blueprint that the actor may give.
    pub role: String,
    /// For policies by department.
    pub department: Option<String>,
    /// For policies by organisation.
    pub organization_id: Option<Uuid>,
    /// The referral code of whoever recommended this bank.
    pub referral_code: Option<String>,
}

/// A value to set, or to leave as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Change<T> {
    /// Leave it.
    #[default]
    Keep,
    /// Set it; `None` empties it.
    Set(Option<T>),
}

impl<T> Change<T> {
    /// Whether anything is to be set.
    pub const fn is_set(&self) -> bool {
        matches!(self, Self::Set(_))
    }

    /// The value to set.
    pub const fn value(&self) -> Option<&T> {
        match self {
            Self::Set(Some(value)) => Some(value),
            Self::Set(None) | Self::Keep => None,
        }
    }
}

/// What to change of a user.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UserUpdate {
    /// Whether they may sign in.
    pub is_active: Option<bool>,
    /// Their one role from now on.
    pub role: Option<String>,
    /// Their roles from now on, the primary one first; not together with `role`.
    pub roles: Option<Vec<String>>,
    /// Their department.
    pub department: Change<String>,
    /// Their e-mail.
    pub email: Change<String>,
    /// Their phone.
    pub phone: Change<String>,
    /// Their name.
    pub full_name: Change<String>,
}

impl UserUpdate {
    /// Whether it touches what only staff may decide.
    pub(crate) const fn is_administrative(&self) -> bool {
        self.is_active.is_some()
            || self.role.is_some()
            || self.roles.is_some()
            || self.department.is_set()
    }

    /// The roles from now on, the primary one first, where they are to be set.
    pub(crate) fn wanted_roles(&self) -> Option<Vec<&str>> {
        let several = self.roles.as_ref().map(|roles| roles.iter().map(String::as_str).collect());
        several.or_else(|| self.role.as_deref().map(|role| vec![role]))
    }
}

/// Why staff lock an account: a closed list, so that records may carry it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LockReason {
    /// Somebody may be at work who is not the owner.
    SuspectedFraud,
    /// The password or the device is in other hands.
    Compromised,
    /// The owner asked for it.
    OwnerRequest,
    /// A rule or an authority demands it.
    Compliance,
    /// None of these.
    Other,
}

impl LockReason {
    /// Every reason.
    pub const ALL: [Self; 5] = [
        Self::SuspectedFraud,
        Self::Compromised,
        Self::OwnerRequest,
        Self::Compliance,
        Self::Other,
    ];

    /// The name on the wire, in records and in the database.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::SuspectedFraud => "suspected_fraud",
            Self::Compromised => "compromised",
            Self::OwnerRequest => "owner_request",
            Self::Compliance => "compliance",
            Self::Other => "other",
        }
    }
}

/// The most roles that one person holds.
const ROLES_MAX: usize = 8;

/// A user with their personal data.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UserRecord {
    /// `sub`.
    pub id: Uuid,
    /// As written when it was chosen.
    pub username: String,
    /// Unsealed; absent where erased.
    pub email: Option<String>,
    /// Unsealed; absent where erased.
    pub phone: Option<String>,
    /// When they proved that they read what comes to the address.
    pub email_verified_at: Option<Timestamp>,
    /// The same of the phone.
    pub phone_verified_at: Option<Timestamp>,
    /// Unsealed; absent where erased.
    pub full_name: Option<String>,
    /// The primary role.
    pub role: String,
    /// All roles, the primary one first.
    pub roles: Vec<String>,
    /// The roles that they get when others have agreed to it, of several orders by the newest.
    pub pending_roles: Option<PendingRoles>,
    /// Whether they may sign in.
    pub is_active: bool,
    /// Whether a second factor is asked for.
    pub mfa_enabled: bool,
    /// For policies by department.
    pub department: Option<String>,
    /// For policies by organisation.
    pub organization_id: Option<Uuid>,
    /// What they give to people they recommend us to.
    pub referral_code: String,
    /// When the password was last changed.
    pub password_changed_at: Option<Timestamp>,
    /// When they last signed in.
    pub last_login_at: Option<Timestamp>,
    /// Until when sign-in is locked; may lie in the past.
    pub locked_until: Option<Timestamp>,
    /// Why staff have locked it, where they have; such a lock has no end.
    pub lock_reason: Option<String>,
    /// Whether there is a password; an invitation sets the first.
    pub has_password: bool,
    /// The kinds of second factor that they hold, each as often as they hold it.
    pub factors: Vec<Method>,
    /// When they were made.
    pub created_at: Timestamp,
    /// When they were last changed.
    pub updated_at: Timestamp,
    /// The `ETag`.
    pub version: i64,
}

/// Roles that wait for others to agree.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PendingRoles {
    /// The order.
    pub approval_id: Uuid,
    /// All roles that they would hold, the primary one first.
    pub roles: Vec<String>,
}

/// A user in a list: no personal data, so that a list unseals nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UserSummary {
    /// `sub`.
    pub id: Uuid,
    /// As written when it was chosen.
    pub username: String,
    /// The primary role.
    pub role: String,
    /// Whether they may sign in.
    pub is_active: bool,
    /// Whether a second factor is asked for.
    pub mfa_enabled: bool,
    /// For policies by department.
    pub department: Option<String>,
    /// For policies by organisation.
    pub organization_id: Option<Uuid>,
    /// When they last signed in.
    pub last_login_at: Option<Timestamp>,
    /// Until when sign-in is locked; may lie in the past.
    pub locked_until: Option<Timestamp>,
    /// Why staff have locked it, where they have; such a lock has no end.
    pub lock_reason: Option<String>,
    /// When they were deleted, if they are.
    pub deleted_at: Option<Timestamp>,
    /// When they were made.
    pub created_at: Timestamp,
    /// When they were last changed.
    pub updated_at: Timestamp,
    /// The `ETag`.
    pub version: i64,
}

/// Which users to list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UserFilter {
    /// Only those of this primary role.
    pub role: Option<String>,
    /// Only those that may, or may not, sign in.
    pub is_active: Option<bool>,
    /// Only the one with this e-mail address, in any case of letters.
    pub email: Option<String>,
    /// Only those whose user name begins so, in any case of letters.
    pub username: Option<String>,
    /// Those who were deleted instead of those who were not; not together with `email`,
    /// of which they have none.
    pub deleted: bool,
}

impl NewUser {
    /// With its values in their stored form, or every field that is not acceptable.
    pub(crate) fn checked(mut self) -> Result<Self, Refusal> {
        let mut errors = Vec::new();
        if !is_username(&self.username) {
            errors.push(error(
                "username",
                "username_malformed",
                "1 to 64 letters, digits, dots, dashes, underscores",
            ));
        }
        check_contact(&mut self.email, &mut self.phone, &mut self.full_name, &mut errors);
        check_department(self.department.as_ref(), &mut errors);
        if let Some(code) = &mut self.referral_code {
            *code = code.trim().to_ascii_uppercase();
        }
        refuse(self, errors)
    }
}

impl UserUpdate {
    /// With its values in their stored form, or every field that is not acceptable.
    pub(crate) fn checked(mut self) -> Result<Self, Refusal> {
        let mut errors = Vec::new();
        let unset = |change: &mut Change<String>| match change {
            Change::Set(value) => value.take(),
            Change::Keep => None,
        };
        let (mut email, mut phone, mut name) =
            (unset(&mut self.email), unset(&mut self.phone), unset(&mut self.full_name));
        check_contact(&mut email, &mut phone, &mut name, &mut errors);
        for (change, value) in
            [(&mut self.email, email), (&mut self.phone, phone), (&mut self.full_name, name)]
        {
            if change.is_set() {
                *change = Change::Set(value);
            }
        }
        check_department(self.department.value(), &mut errors);
        self.check_roles(&mut errors);
        refuse(self, errors)
    }
}

impl UserUpdate {
    fn check_roles(&self, errors: &mut Vec<FieldError>) {
        let Some(roles) = &self.roles else { return };
        if self.role.is_some() {
            errors.push(error("roles", "conflicting_fields", "Send role or roles, not both"));
        }
        let twice = roles.iter().enumerate().any(|(at, role)| roles[..at].contains(role));
        if twice || !(1..=ROLES_MAX).contains(&roles.len()) {
            errors.push(error("roles", "roles_malformed", "1 to 8 roles, each once"));
        }
    }
}

/// An e-mail address as it is compared.
pub(crate) fn email_key(email: &str) -> String {
    email.trim().to_lowercase()
}

/// A user name as it is compared.
pub(crate) fn username_key(username: &str) -> String {
    username.to_ascii_lowercase()
}

fn check_contact(
    email: &mut Option<String>,
    phone: &mut Option<String>,
    name: &mut Option<String>,
    errors: &mut Vec<FieldError>,
) {
    for value in [&mut *email, &mut *phone, &mut *name].into_iter().flatten() {
        *value = value.trim().to_owned();
    }
    if email.as_deref().is_some_and(|email| !is_email(email)) {
        errors.push(error("email", "email_malformed", "Not an e-mail address"));
    }
    if phone.as_deref().is_some_and(|phone| !is_phone(phone)) {
        errors.push(error("phone", "phone_malformed", "Not an E.164 number: + and 7 to 15 digits"));
    }
    let is_name = |name: &str| {
        (1..=200).contains(&name.chars().count()) && !name.chars().any(char::is_control)
    };
    if name.as_deref().is_some_and(|name| !is_name(name)) {
        errors.push(error("full_name", "name_malformed", "1 to 200 characters are possible"));
    }
}

fn check_department(department: Option<&String>, errors: &mut Vec<FieldError>) {
    let is_fine = |name: &str| {
        (1..=100).contains(&name.chars().count()) && !name.chars().any(char::is_control)
    };
    if department.is_some_and(|name| !is_fine(name)) {
        errors.push(error(
            "department",
            "department_malformed",
            "1 to 100 characters are possible",
        ));
    }
}

fn refuse<T>(value: T, errors: Vec<FieldError>) -> Result<T, Refusal> {
    if errors.is_empty() { Ok(value) } else { Err(Refusal::validation(errors)) }
}

fn error(field: &'static str, code: &'static str, message: &str) -> FieldError {
    FieldError { field: field.into(), code: code.into(), message: message.to_owned() }
}

pub(super) fn is_username(name: &str) -> bool {
    (1..=64).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
        && name.as_bytes().first().is_some_and(u8::is_ascii_alphanumeric)
}

/// RFC 5321 in the form that every provider accepts: ASCII, one `@`, a dotted host.
pub(crate) fn is_email(email: &str) -> bool {
    let Some((local, host)) = email.rsplit_once('@') else { return false };
    let is_local =
        |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+/=?^_`{|}~.-".contains(&byte);
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    email.len() <= 254
        && (1..=64).contains(&local.len())
        && local.bytes().all(is_local)
        && !local.starts_with('.')
        && !local.ends_with('.')
        && !local.contains("..")
        && host.contains('.')
        && host.split('.').all(is_label)
}

/// E.164: `+`, a country code that does not begin with 0, 7 to 15 digits in all.
pub(crate) fn is_phone(phone: &str) -> bool {
    phone.strip_prefix('+').is_some_and(|digits| {
        (7..=15).contains(&digits.len())
            && digits.bytes().all(|byte| byte.is_ascii_digit())
            && !digits.starts_with('0')
    })
}
