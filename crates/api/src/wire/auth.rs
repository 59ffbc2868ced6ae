//! Sign-in, the signed-in person and their sessions on the wire.

use identity::{Me as StoredMe, PasswordRules as StoredRules, SessionRecord, TokenGrant};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use super::{EXAMPLE_ID, EXAMPLE_INSTANT, OTHER_ID, instant};
use crate::openapi_parts::Example;

/// A sign-in.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Login {
    /// The tenant's slug; may be left out where the installation has one tenant.
    #[serde(default)]
    pub(crate) tenant: Option<String>,
    /// User name or e-mail.
    pub(crate) username: String,
    /// As typed.
    #[schema(format = Password)]
    pub(crate) password: String,
}

/// A refresh token to be exchanged.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RefreshToken {
    /// The `refresh_token` of the answer before; good for one use.
    #[schema(format = Password)]
    pub(crate) refresh_token: String,
}

/// Nothing: an empty object, or no body.
#[derive(Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Nothing {}

/// What to sign out of.
#[derive(Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SignOutEverywhere {
    /// Whether the session of this request stays.
    #[serde(default)]
    pub(crate) keep_current: bool,
}

/// Tokens. An access token is a JWT (RFC 9068), a refresh token opaque.
#[derive(Serialize, ToSchema)]
pub(crate) struct Tokens {
    /// Goes into `Authorization: Bearer`.
    access_token: String,
    /// For `POST /v1/auth/refresh`, once.
    refresh_token: String,
    /// `Bearer`.
    token_type: &'static str,
    /// Lifetime of the access token in seconds.
    expires_in: i64,
}

impl From<TokenGrant> for Tokens {
    fn from(grant: TokenGrant) -> Self {
        Self {
            refresh_token: grant.refresh_token.as_str().to_owned(),
            access_token: grant.access_token,
            token_type: "Bearer",
            expires_in: grant.expires_in_s,
        }
    }
}

impl Example for Tokens {
    fn example() -> Self {
        Self {
            access_token: "header.claims.signature".to_owned(),
            refresh_token: "refresh_tenant_secret".to_owned(),
            token_type: "Bearer",
            expires_in: 1_800,
        }
    }
}

/// The signed-in person.
#[derive(Serialize, ToSchema)]
pub(crate) struct Me {
    /// The user's id.
    id: Uuid,
    /// The tenant's slug.
    tenant: String,
    /// The tenant's id.
    tenant_id: Uuid,
    /// The name to sign in with.
    username: String,
    /// The primary role.
    role: String,
    /// Every role, the primary one first.
    roles: Vec<String>,
    /// Permissions held on at least one object, sorted.
    permissions: Vec<String>,
    /// The session of the token.
    session_id: Uuid,
    /// When the session ends in any case.
    session_expires_at: String,
    /// The organisation confined to.
    organization_id: Option<Uuid>,
    /// The department belonged to.
    department: Option<String>,
    /// Whether a second factor is asked for at sign-in.
    mfa_enabled: bool,
    /// When the password was last changed.
    password_changed_at: Option<String>,
    /// Whether the password is older than policy allows.
    password_expired: bool,
}

impl From<StoredMe> for Me {
    fn from(me: StoredMe) -> Self {
        Self {
            id: me.id,
            tenant: me.tenant,
            tenant_id: me.tenant_id,
            username: me.username,
            role: me.role,
            roles: me.roles,
            permissions: me.permissions,
            session_id: me.session_id,
            session_expires_at: instant(me.session_expires_at),
            organization_id: me.organization_id,
            department: me.department,
            mfa_enabled: me.mfa_enabled,
            password_changed_at: me.password_changed_at.map(instant),
            password_expired: me.password_expired,
        }
    }
}

impl Example for Me {
    fn example() -> Self {
        Self {
            id: EXAMPLE_ID,
            tenant: "ultracore".to_owned(),
            tenant_id: OTHER_ID,
            username: "customer".to_owned(),
            role: "customer".to_owned(),
            roles: vec!["customer".to_owned()],
            permissions: vec!["account:read".to_owned(), "transaction:create".to_owned()],
            session_id: OTHER_ID,
            session_expires_at: EXAMPLE_INSTANT.to_owned(),
            organization_id: None,
            department: None,
            mfa_enabled: false,
            password_changed_at: Some(EXAMPLE_INSTANT.to_owned()),
            password_expired: false,
        }
    }
}

/// One of the person's own live sessions.
#[derive(Serialize, ToSchema)]
pub(crate) struct Session {
    /// Its id; `sid` in access tokens.
    id: Uuid,
    /// Where it began.
    ip_address: Option<String>,
    /// What it began with.
    user_agent: Option<String>,
    /// Whether it is the one of this request.
    current: bool,
    /// When it was last used, to the minute.
    last_activity_at: String,
    /// When it ends in any case.
    expires_at: String,
    /// The device it was begun from, where that is known.
    device_id: Option<Uuid>,
    /// What looked odd as it began: `new_device`, `new_network`, `impossible_travel`,
    /// `unusual_hour`, `session_burst`.
    suspicion_reasons: Vec<String>,
    /// Whether it owes a second factor for that.
    step_up_due: bool,
    /// When it began.
    created_at: String,
}

impl From<SessionRecord> for Session {
    fn from(session: SessionRecord) -> Self {
        Self {
            id: session.id,
            ip_address: session.ip_address,
            user_agent: session.user_agent,
            current: session.current,
            last_activity_at: instant(session.last_activity_at),
            expires_at: instant(session.expires_at),
            device_id: session.device_id,
            suspicion_reasons: session.suspicion_reasons,
            step_up_due: session.step_up_due,
            created_at: instant(session.created_at),
        }
    }
}

impl Example for Session {
    fn example() -> Self {
        Self {
            id: EXAMPLE_ID,
            ip_address: Some("192.0.2.7".to_owned()),
            user_agent: Some("curl/8.14".to_owned()),
            current: true,
            last_activity_at: EXAMPLE_INSTANT.to_owned(),
            expires_at: EXAMPLE_INSTANT.to_owned(),
            device_id: Some(OTHER_ID),
            suspicion_reasons: vec!["new_device".to_owned()],
            step_up_due: false,
            created_at: EXAMPLE_INSTANT.to_owned(),
        }
    }
}

/// How many sessions ended.
#[derive(Serialize, ToSchema)]
pub(crate) struct SignedOut {
    /// Sessions that were alive until now.
    pub(crate) ended: i32,
}

impl Example for SignedOut {
    fn example() -> Self {
        Self { ended: 3 }
    }
}

/// Which passwords are good enough.
#[derive(Serialize, ToSchema)]
pub(crate) struct PasswordRules {
    /// In characters.
    minimum_length: u32,
    /// In characters.
    maximum_length: u32,
    /// Whether upper case, lower case, digit and special character are all demanded.
    all_four_classes: bool,
    /// How many earlier passwords may not be used again.
    history: u32,
    /// Age at which a change is forced.
    maximum_age_days: Option<u32>,
    /// Whether common passwords are refused.
    refuse_common: bool,
    /// Whether one's own name and e-mail address are refused inside a password.
    refuse_own_name: bool,
}

impl From<StoredRules> for PasswordRules {
    fn from(rules: StoredRules) -> Self {
        Self {
            minimum_length: rules.minimum_length,
            maximum_length: rules.maximum_length,
            all_four_classes: rules.all_four_classes,
            history: rules.history,
            maximum_age_days: rules.maximum_age_days,
            refuse_common: rules.refuse_common,
            refuse_own_name: rules.refuse_own_name,
        }
    }
}

impl Example for PasswordRules {
    fn example() -> Self {
        let policy = tenancy::policy::SecurityPolicy::of(tenancy::Blueprint::CoreBank);
        StoredRules::from(&policy.password).into()
    }
}
