//! Users on the wire. Lists show nothing personal; one user is unsealed and the
//! look at them recorded.

use identity::{Change, NewPassword, NewUser, UserRecord, UserSummary as Summary, UserUpdate};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use super::{EXAMPLE_ID, EXAMPLE_INSTANT, instant, mfa::Method, present};
use crate::openapi_parts::Example;

/// A user in a list.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct UserSummary {
    /// Its id; `sub` in tokens.
    pub(crate) id: Uuid,
    /// The name to sign in with.
    pub(crate) username: String,
    /// The primary role.
    pub(crate) role: String,
    /// Whether they may sign in.
    pub(crate) is_active: bool,
    /// Whether a second factor is asked for.
    pub(crate) mfa_enabled: bool,
    /// For policies by department.
    pub(crate) department: Option<String>,
    /// For policies by organisation.
    pub(crate) organization_id: Option<Uuid>,
    /// When they last signed in.
    pub(crate) last_login_at: Option<String>,
    /// Until when sign-in is locked; may lie in the past.
    pub(crate) locked_until: Option<String>,
    /// Why staff have locked the account, where they have; such a lock has no end.
    pub(crate) lock_reason: Option<String>,
    /// When they were deleted; null of everybody in the plain list.
    pub(crate) deleted_at: Option<String>,
    /// Counts changes; its `ETag`.
    pub(crate) version: i64,
    /// When they were made.
    pub(crate) created_at: String,
    /// When they last changed.
    pub(crate) updated_at: String,
}

impl From<Summary> for UserSummary {
    fn from(user: Summary) -> Self {
        Self {
            id: user.id,
            username: user.username,
            role: user.role,
            is_active: user.is_active,
            mfa_enabled: user.mfa_enabled,
            department: user.department,
            organization_id: user.organization_id,
            last_login_at: user.last_login_at.map(instant),
            locked_until: user.locked_until.map(instant),
            lock_reason: user.lock_reason,
            deleted_at: user.deleted_at.map(instant),
            version: user.version,
            created_at: instant(user.created_at),
            updated_at: instant(user.updated_at),
        }
    }
}

impl Example for UserSummary {
    fn example() -> Self {
        let user = User::example();
        Self {
            id: user.id,
            username: user.username,
            role: user.role,
            is_active: user.is_active,
            mfa_enabled: user.mfa_enabled,
            department: user.department,
            organization_id: user.organization_id,
            last_login_at: user.last_login_at,
            locked_until: user.locked_until,
            lock_reason: user.lock_reason,
            deleted_at: None,
            version: user.version,
            created_at: user.created_at,
            updated_at: user.updated_at,
        }
    }
}

/// A user with their personal data.
#[derive(Serialize, ToSchema)]
pub(crate) struct User {
    /// Its id; `sub` in tokens.
    pub(crate) id: Uuid,
    /// The name to sign in with.
    pub(crate) username: String,
    /// E-mail address.
    pub(crate) email: Option<String>,
    /// E.164.
    pub(crate) phone: Option<String>,
    /// When they proved that the e-mail address is theirs.
    pub(crate) email_verified_at: Option<String>,
    /// When they proved that the phone is theirs.
    pub(crate) phone_verified_at: Option<String>,
    /// Full name.
    pub(crate) full_name: Option<String>,
    /// The primary role.
    pub(crate) role: String,
    /// Every role, the primary one first.
    pub(crate) roles: Vec<String>,
    /// The roles that they get when others have agreed to it (`/v1/approvals`).
    pub(crate) pending_roles: Option<PendingRoles>,
    /// Whether they may sign in.
    pub(crate) is_active: bool,
    /// Whether a second factor is asked for.
    pub(crate) mfa_enabled: bool,
    /// For policies by department.
    pub(crate) department: Option<String>,
    /// For policies by organisation.
    pub(crate) organization_id: Option<Uuid>,
    /// What they give to people they recommend the bank to.
    pub(crate) referral_code: String,
    /// When the password was last changed.
    pub(crate) password_changed_at: Option<String>,
    /// When they last signed in.
    pub(crate) last_login_at: Option<String>,
    /// Until when sign-in is locked; may lie in the past.
    pub(crate) locked_until: Option<String>,
    /// Why staff have locked the account, where they have; such a lock has no end.
    pub(crate) lock_reason: Option<String>,
    /// The kinds of second factor that they hold.
    pub(crate) factors: Vec<Method>,
    /// Counts changes; its `ETag`.
    pub(crate) version: i64,
    /// When they were made.
    pub(crate) created_at: String,
    /// When they last changed.
    pub(crate) updated_at: String,
}

/// Roles that wait for others to agree.
#[derive(Serialize, ToSchema)]
pub(crate) struct PendingRoles {
    /// The approval.
    pub(crate) approval_id: Uuid,
    /// Every role that they would hold, the primary one first.
    pub(crate) roles: Vec<String>,
}

impl From<identity::PendingRoles> for PendingRoles {
    fn from(waiting: identity::PendingRoles) -> Self {
        Self { approval_id: waiting.approval_id, roles: waiting.roles }
    }
}

impl From<UserRecord> for User {
    fn from(user: UserRecord) -> Self {
        Self {
            id: user.id,
            username: user.username,
            email: user.email,
            phone: user.phone,
            email_verified_at: user.email_verified_at.map(instant),
            phone_verified_at: user.phone_verified_at.map(instant),
            full_name: user.full_name,
            role: user.role,
            roles: user.roles,
            pending_roles: user.pending_roles.map(PendingRoles::from),
            is_active: user.is_active,
            mfa_enabled: user.mfa_enabled,
            department: user.department,
            organization_id: user.organization_id,
            referral_code: user.referral_code,
            password_changed_at: user.password_changed_at.map(instant),
            last_login_at: user.last_login_at.map(instant),
            locked_until: user.locked_until.map(instant),
            lock_reason: user.lock_reason,
            factors: user.factors.into_iter().map(Method::from).collect(),
            version: user.version,
            created_at: instant(user.created_at),
            updated_at: instant(user.updated_at),
        }
    }
}

impl Example for User {
    fn example() -> Self {
        Self {
            id: EXAMPLE_ID,
            username: "officer".to_owned(),
            email: Some("officer@bank.example".to_owned()),
            phone: None,
            email_verified_at: Some(EXAMPLE_INSTANT.to_owned()),
            phone_verified_at: None,
            full_name: Some("Petr Svoboda".to_owned()),
            role: "officer".to_owned(),
            roles: vec!["officer".to_owned()],
            pending_roles: None,
            is_active: true,
            mfa_enabled: false,
            department: None,
            organization_id: None,
            referral_code: "7H2K9QX4MB".to_owned(),
            password_changed_at: Some(EXAMPLE_INSTANT.to_owned()),
            last_login_at: None,
            locked_until: None,
            lock_reason: None,
            factors: Vec::new(),
            version: 1,
            created_at: EXAMPLE_INSTANT.to_owned(),
            updated_at: EXAMPLE_INSTANT.to_owned(),
        }
    }
}

/// A user to be made.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct CreateUser {
    /// 1 to 64 letters, digits, dots, dashes and underscores.
    username: String,
    /// Checked against the tenant's rules; none yet where absent.
    #[serde(default)]
    #[schema(format = Password)]
    password: Option<String>,
    /// A role of the tenant that holds no more than you do.
    role: String,
    /// E-mail address; unique in the tenant.
    #[serde(default)]
    email: Option<String>,
    /// E.164.
    #[serde(default)]
    phone: Option<String>,
    /// Full name.
    #[serde(default)]
    full_name: Option<String>,
    /// For policies by department.
    #[serde(default)]
    department: Option<String>,
    /// For policies by organisation.
    #[serde(default)]
    organization_id: Option<Uuid>,
    /// The referral code of whoever recommended the bank.
    #[serde(default)]
    referral_code: Option<String>,
}

impl From<CreateUser> for NewUser {
    fn from(new: CreateUser) -> Self {
        Self {
            username: new.username,
            email: new.email,
            phone: new.phone,
            full_name: new.full_name,
            password: new
                .password
                .map_or(NewPassword::None, |text| NewPassword::Plain(text.into())),
            role: new.role,
            department: new.department,
            organization_id: new.organization_id,
            referral_code: new.referral_code,
        }
    }
}

/// What may be changed of a user; what is absent stays, null removes. People may
/// change their own e-mail, phone and name.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ChangeUser {
    /// Whether they may sign in; false ends their sessions.
    #[serde(default)]
    is_active: Option<bool>,
    /// Their one role from now on.
    #[serde(default)]
    role: Option<String>,
    /// Their roles from now on, the primary one first; instead of `role`.
    #[serde(default)]
    roles: Option<Vec<String>>,
    /// For policies by department.
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<String>)]
    department: Option<Option<String>>,
    /// E-mail address.
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<String>)]
    email: Option<Option<String>>,
    /// E.164.
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<String>)]
    phone: Option<Option<String>>,
    /// Full name.
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<String>)]
    full_name: Option<Option<String>>,
}

impl From<ChangeUser> for UserUpdate {
    fn from(change: ChangeUser) -> Self {
        let set = |value: Option<Option<String>>| value.map_or(Change::Keep, Change::Set);
        Self {
            is_active: change.is_active,
            role: change.role,
            roles: change.roles,
            department: set(change.department),
            email: set(change.email),
            phone: set(change.phone),
            full_name: set(change.full_name),
        }
    }
}

/// Why an account is locked by staff.
#[derive(Clone, Copy, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum LockReason {
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

impl From<LockReason> for identity::LockReason {
    fn from(reason: LockReason) -> Self {
        match reason {
            LockReason::SuspectedFraud => Self::SuspectedFraud,
            LockReason::Compromised => Self::Compromised,
            LockReason::OwnerRequest => Self::OwnerRequest,
            LockReason::Compliance => Self::Compliance,
            LockReason::Other => Self::Other,
        }
    }
}

/// A lock by staff.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct LockUser {
    /// Why; stands in the record of it.
    pub(crate) reason: LockReason,
}

/// Which of somebody's sessions end; an empty object, or no body, means all.
#[derive(Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct EndSessions {
    /// Only this one.
    #[serde(default)]
    pub(crate) session_id: Option<Uuid>,
}
