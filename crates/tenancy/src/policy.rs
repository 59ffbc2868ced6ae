//! Security policy: data, per tenant, seeded from the blueprint.
//!
//! Owns the shape and the blueprints' starting values (the table of the product
//! specification). Refuses to enforce any of it: that is identity's work. The
//! login functions in the database read the same document.

use serde::{Deserialize, Serialize};
use vault::password::{Argon2Costs, Recipe};

use crate::Blueprint;

/// The signature algorithm of a tenant's access tokens (RFC 7518, RFC 8037).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum JwtAlgorithm {
    /// HMAC with SHA-256.
    HS256,
    /// RSASSA-PKCS1-v1_5 with SHA-256.
    RS256,
    /// ECDSA on P-256 with SHA-256.
    ES256,
    /// Ed25519.
    EdDSA,
}

/// Everything a tenant's admins can tighten or loosen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SecurityPolicy {
    /// Access and refresh tokens.
    pub token: TokenPolicy,
    /// Passwords.
    pub password: PasswordPolicy,
    /// Sessions.
    pub session: SessionPolicy,
    /// Wrong passwords against one account.
    pub account_lock: LockPolicy,
    /// Wrong passwords from one address.
    pub address_block: LockPolicy,
    /// Second factors.
    pub mfa: MfaPolicy,
    /// Requests a minute.
    pub rate_limits: RateLimitPolicy,
    /// A transfer of more than so many minor units, of whatever currency, waits for a
    /// second person; none does where absent, as in policies from before there was one.
    #[serde(default)]
    pub transfer_ceiling_minor: Option<i64>,
    /// So many others than its maker have to agree to such a transfer; one where absent, as in
    /// policies from before there was a choice.
    #[serde(default = "one_approval")]
    pub transfer_approvals: u8,
    /// So many others have to agree before somebody gets a role that reaches beyond what is
    /// their own; nobody else has to at 0, as in policies from before there was a choice.
    #[serde(default)]
    pub role_grant_approvals: u8,
    /// A transfer of more than so many minor units, of whatever currency, has to be proven
    /// by a second factor that was asked for this amount and this payee; none has where
    /// absent, as in policies from before there was such a limit.
    #[serde(default)]
    pub transfer_step_up_minor: Option<i64>,
    /// Whether people may sign up by themselves; as in policies from before there was a
    /// choice, they may not where absent.
    #[serde(default)]
    pub self_registration: bool,
    /// Whether what is sensitive at the interface has to be signed (RFC 9421); as in policies
    /// from before there was a choice, it has not where absent.
    #[serde(default)]
    pub require_signature: bool,
}

/// Access and refresh tokens.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TokenPolicy {
    /// Of newly made signing keys.
    pub algorithm: JwtAlgorithm,
    /// Lifetime of an access token.
    pub access_lifetime_s: i64,
    /// Lifetime of a refresh family.
    pub refresh_lifetime_s: i64,
    /// `iss`; the tenant's URL where absent.
    pub issuer: Option<String>,
    /// `aud`; the tenant's URL where empty.
    pub audience: Vec<String>,
    /// Age at which a new signing key takes over.
    pub key_rotation_days: u32,
}

/// Passwords.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PasswordPolicy {
    /// In characters.
    pub minimum_length: u32,
    /// Upper case, lower case, digit and special character all demanded.
    pub all_four_classes: bool,
    /// How many earlier passwords may not be used again.
    pub history: u32,
    /// Age at which a change is forced; never where absent.
    pub maximum_age_days: Option<u32>,
    /// Whether known common passwords are refused.
    pub refuse_common: bool,
    /// How new ones are hashed; those of another scheme or cost are hashed anew as their
    /// owners sign in. bcrypt where absent, as in policies from before there was a choice.
    #[serde(default)]
    pub hashing: PasswordHashing,
}

/// How passwords are hashed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "scheme", rename_all = "lowercase")]
pub enum PasswordHashing {
    /// bcrypt, at the installation's cost.
    #[default]
    Bcrypt,
    /// Argon2id (RFC 9106). Costs out of bounds are no policy at all.
    Argon2id(Argon2Costs),
}

impl From<PasswordHashing> for Recipe {
    fn from(hashing: PasswordHashing) -> Self {
        match hashing {
            PasswordHashing::Bcrypt => Self::Bcrypt,
            PasswordHashing::Argon2id(costs) => Self::Argon2id(costs),
        }
    }
}

/// Sessions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SessionPolicy {
    /// Ends a console session after so long without a request.
    pub idle_timeout_s: i64,
    /// Ends a console session after so long in any case.
    pub absolute_timeout_s: i64,
    /// A request from another address ends the session.
    pub pinned_to_address: bool,
    /// A request from another device ends the session.
    pub bound_to_device: bool,
    /// How many sessions one person has at once.
    pub concurrent_limit: u32,
    /// What becomes of one more; as it was before there was a choice, where absent.
    #[serde(default)]
    pub over_limit: OverLimit,
    /// Ends a client's session as well after so long without a request; its tokens'
    /// lifetimes alone do where absent.
    #[serde(default)]
    pub client_idle_timeout_s: Option<i64>,
    /// From which score of `detect_suspicious_session` on a session owes a second factor.
    #[serde(default = "step_up_score")]
    pub step_up_score: u32,
}

/// What becomes of a session beyond the limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OverLimit {
    /// The oldest ends, and the new one begins.
    #[default]
    EndOldest,
    /// The new one does not begin.
    Refuse,
}

/// An unusual hour on an unknown network is a journey; an unknown device as well is not.
const fn step_up_score() -> u32 {
    50
}

const fn one_approval() -> u8 {
    1
}

/// A threshold within a window, and what follows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LockPolicy {
    /// Failures that lock.
    pub threshold: u32,
    /// Within which they must fall; absent: since the last success.
    pub window_s: Option<i64>,
    /// How long the (first) lock lasts.
    pub duration_s: i64,
    /// Where present each further lock doubles, up to this.
    pub doubling_to_s: Option<i64>,
}

/// Second factors.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MfaPolicy {
    /// Shown by authenticator apps; the tenant's name where absent.
    pub totp_issuer: Option<String>,
    /// Length of a TOTP time step.
    pub totp_interval_s: u32,
    /// Methods people may enrol.
    pub methods: Vec<String>,
    /// Roles whose holders must have a factor; none where absent, as in policies from
    /// before there were any.
    #[serde(default)]
    pub required_roles: Vec<String>,
    /// Whether who signs in from a device that is new to their account must prove one.
    #[serde(default)]
    pub on_new_device: bool,
}

/// Requests by class, a minute unless the name says otherwise.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RateLimitPolicy {
    /// Sign-in and refresh, per user name.
    pub auth_per_user: u32,
    /// Sign-in and refresh, per address.
    pub auth_per_address: u32,
    /// Second factors.
    pub mfa: u32,
    /// Whatever has no class of its own.
    pub default: u32,
    /// Reads.
    pub read: u32,
    /// Writes.
    pub write: u32,
    /// Administration.
    pub admin: u32,
    /// All together, an hour.
    pub overall_per_hour: u32,
}

/// Values of the environment that replace the blueprint's when a tenant is created.
#[derive(Clone, Debug, Default)]
pub struct PolicyOverrides {
    /// `JWT_ALGORITHM`.
    pub algorithm: Option<JwtAlgorithm>,
    /// `JWT_ACCESS_TOKEN_EXPIRE_MINUTES`.
    pub access_lifetime_s: Option<i64>,
    /// `JWT_REFRESH_TOKEN_EXPIRE_DAYS`.
    pub refresh_lifetime_s: Option<i64>,
    /// `MFA_ISSUER`.
    pub totp_issuer: Option<String>,
    /// `MFA_TOTP_INTERVAL`.
    pub totp_interval_s: Option<u32>,
    /// `API_RATE_LIMIT_PER_MINUTE`.
    pub default_per_minute: Option<u32>,
    /// `API_RATE_LIMIT_PER_HOUR`.
    pub overall_per_hour: Option<u32>,
    /// Of no variable: what `tenant create --transfer-ceiling` says.
    pub transfer_ceiling_minor: Option<i64>,
    /// Of no variable: whether transfers of any amount need no proof, as for load drivers.
    pub no_transfer_step_up: bool,
}

const MINUTE_S: i64 = 60;
const HOUR_S: i64 = 3_600;
const DAY_S: i64 = 86_400;

/// 10,000.00, where staff order transfers for customers who sit before them.
const STAFFED_LIMIT_MINOR: i64 = 1_000_000;
/// 1,000.00, where customers order theirs alone.
const SELF_SERVICE_LIMIT_MINOR: i64 = 100_000;

impl SecurityPolicy {
    /// The starting values of a blueprint.
    pub fn of(blueprint: Blueprint) -> Self {
        let mut policy = Self::core_bank();
        match blueprint {
            Blueprint::CoreBank => {}
            Blueprint::EquipmentErp => policy.become_equipment_erp(),
            Blueprint::DigitalBank => policy.become_digital_bank(),
            Blueprint::CardBank => policy.become_card_bank(),
            Blueprint::CreditRisk => policy.become_credit_risk(),
            Blueprint::Standard | Blueprint::Platform => policy.become_standard(),
        }
        policy
    }

    /// Puts the environment's values in the place of the blueprint's.
    #[must_use]
    pub fn with(mut self, overrides: &PolicyOverrides) -> Self {
        let limits = &mut self.rate_limits;
        replace(&mut self.token.algorithm, overrides.algorithm);
        replace(&mut self.token.access_lifetime_s, overrides.access_lifetime_s);
        replace(&mut self.token.refresh_lifetime_s, overrides.refresh_lifetime_s);
        replace(&mut self.mfa.totp_interval_s, overrides.totp_interval_s);
        replace(&mut limits.default, overrides.default_per_minute);
        replace(&mut limits.overall_per_hour, overrides.overall_per_hour);
        if overrides.totp_issuer.is_some() {
            self.mfa.totp_issuer.clone_from(&overrides.totp_issuer);
        }
        if overrides.transfer_ceiling_minor.is_some() {
            self.transfer_ceiling_minor = overrides.transfer_ceiling_minor;
        }
        if overrides.no_transfer_step_up {
            self.transfer_step_up_minor = None;
        }
        self
    }

    fn core_bank() -> Self {
        Self {
            token: TokenPolicy {
                algorithm: JwtAlgorithm::HS256,
                access_lifetime_s: 30 * MINUTE_S,
                refresh_lifetime_s: 7 * DAY_S,
                issuer: None,
                audience: Vec::new(),
                key_rotation_days: 30,
            },
            password: PasswordPolicy {
                minimum_length: 12,
                all_four_classes: true,
                history: 5,
                maximum_age_days: Some(90),
                refuse_common: true,
                hashing: PasswordHashing::Bcrypt,
            },
            session: SessionPolicy {
                idle_timeout_s: 30 * MINUTE_S,
                absolute_timeout_s: 12 * HOUR_S,
                pinned_to_address: false,
                bound_to_device: false,
                concurrent_limit: 10,
                over_limit: OverLimit::EndOldest,
                client_idle_timeout_s: None,
                step_up_score: step_up_score(),
            },
            account_lock: lock(5, 15 * MINUTE_S, 30 * MINUTE_S),
            address_block: lock(20, 15 * MINUTE_S, 60 * MINUTE_S),
            mfa: MfaPolicy {
                totp_issuer: Some("UltraCore".to_owned()),
                totp_interval_s: 30,
                methods: names(&["totp", "backup"]),
                required_roles: Vec::new(),
                on_new_device: false,
            },
            rate_limits: RateLimitPolicy {
                auth_per_user: 5,
                auth_per_address: 5,
                mfa: 3,
                default: 60,
                read: 100,
                write: 30,
                admin: 200,
                overall_per_hour: 1_000,
            },
            transfer_ceiling_minor: None,
            transfer_approvals: one_approval(),
            role_grant_approvals: 0,
            transfer_step_up_minor: Some(STAFFED_LIMIT_MINOR),
            self_registration: false,
            require_signature: false,
        }
    }

    fn become_equipment_erp(&mut self) {
        self.transfer_step_up_minor = None;
        self.token.algorithm = JwtAlgorithm::RS256;
        self.session.idle_timeout_s = 24 * HOUR_S;
        self.session.absolute_timeout_s = 24 * HOUR_S;
        self.session.pinned_to_address = true;
        self.session.concurrent_limit = 5;
        self.account_lock = lock(5, HOUR_S, HOUR_S);
        self.address_block = lock(5, HOUR_S, 60 * MINUTE_S);
        self.mfa.totp_issuer = Some("Bitcorp ERP".to_owned());
        self.rate_limits.auth_per_address = 100;
    }

    fn become_digital_bank(&mut self) {
        self.transfer_step_up_minor = Some(SELF_SERVICE_LIMIT_MINOR);
        self.self_registration = true;
        self.token.algorithm = JwtAlgorithm::RS256;
        self.session.absolute_timeout_s = 7 * DAY_S;
        self.session.bound_to_device = true;
        self.session.concurrent_limit = 5;
        self.account_lock = LockPolicy {
            threshold: 5,
            window_s: None,
            duration_s: MINUTE_S,
            doubling_to_s: Some(24 * HOUR_S),
        };
        self.mfa.totp_issuer = Some("DwayBank".to_owned());
        self.mfa.methods = names(&["totp", "sms", "email", "backup"]);
    }

    fn become_card_bank(&mut self) {
        self.transfer_step_up_minor = Some(SELF_SERVICE_LIMIT_MINOR);
        self.password.maximum_age_days = None;
        self.session.concurrent_limit = 5;
        self.mfa.totp_issuer = None;
        self.mfa.methods = names(&["totp", "backup", "passkey"]);
        self.mfa.on_new_device = true;
    }

    fn become_credit_risk(&mut self) {
        self.transfer_step_up_minor = None;
        self.token.algorithm = JwtAlgorithm::RS256;
        self.token.access_lifetime_s = 15 * MINUTE_S;
        self.token.issuer = Some("default-rate-prediction-api".to_owned());
        self.token.audience = names(&["api-users", "admin-panel"]);
        self.password.history = 12;
        self.session.concurrent_limit = 3;
        self.mfa.totp_issuer = Some("Default Risk Prediction".to_owned());
        self.mfa.methods = names(&["totp", "sms", "email", "fido2", "backup"]);
    }

    /// The strictest of each row, and NIST SP 800-63B-4 where the seeds
    /// contradict it: length and a block list instead of composition and expiry.
    fn become_standard(&mut self) {
        self.transfer_step_up_minor = Some(SELF_SERVICE_LIMIT_MINOR);
        self.token.algorithm = JwtAlgorithm::EdDSA;
        self.token.access_lifetime_s = 15 * MINUTE_S;
        self.password = PasswordPolicy {
            minimum_length: 15,
            all_four_classes: false,
            history: 12,
            maximum_age_days: None,
            refuse_common: true,
            hashing: PasswordHashing::Bcrypt,
        };
        self.session.pinned_to_address = true;
        self.session.bound_to_device = true;
        self.session.concurrent_limit = 3;
        self.account_lock = lock(5, HOUR_S, HOUR_S);
        self.address_block = lock(5, HOUR_S, 60 * MINUTE_S);
        self.mfa.totp_issuer = None;
        self.mfa.methods = names(&["passkey", "totp", "backup"]);
    }
}

fn replace<T>(value: &mut T, by: Option<T>) {
    if let Some(by) = by {
        *value = by;
    }
}

fn lock(threshold: u32, window_s: i64, duration_s: i64) -> LockPolicy {
    LockPolicy { threshold, window_s: Some(window_s), duration_s, doubling_to_s: None }
}

fn names(list: &[&str]) -> Vec<String> {
    list.iter().map(|&name| name.to_owned()).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use serde_json::json;
    use vault::password::Argon2Costs;

    use super::{PasswordHashing, PolicyOverrides, SecurityPolicy};
    use crate::Blueprint;

    #[test]
    fn hashing_is_written_plainly_bounded_and_bcrypt_where_nothing_is_said() {
        let read = |value: serde_json::Value| {
            let mut stored = serde_json::to_value(SecurityPolicy::of(Blueprint::CoreBank)).unwrap();
            let password = stored["password"].as_object_mut().unwrap();
            password.remove("hashing").unwrap();
            if !value.is_null() {
                password.insert("hashing".to_owned(), value);
            }
            serde_json::from_value::<SecurityPolicy>(stored).map(|policy| policy.password.hashing)
        };
        let costs = |kib, passes| Argon2Costs::new(kib, passes, 1).unwrap();
        let table = [
            (json!(null), Some(PasswordHashing::Bcrypt)),
            (json!({ "scheme": "bcrypt" }), Some(PasswordHashing::Bcrypt)),
            (
                json!({ "scheme": "argon2id" }),
                Some(PasswordHashing::Argon2id(Argon2Costs::DEFAULT)),
            ),
            (
                json!({ "scheme": "argon2id", "memory_kib": 47_104, "iterations": 1 }),
                Some(PasswordHashing::Argon2id(costs(47_104, 1))),
            ),
            (json!({ "scheme": "argon2id", "memory_kib": 64 }), None),
            (json!({ "scheme": "argon2id", "threads": 2 }), None),
            (json!({ "scheme": "md5" }), None),
        ];
        for (stated, expected) in table {
            let found = read(stated.clone()).ok();
            assert_eq!(found, expected, "{stated}");
            if let Some(hashing) = found {
                let written = serde_json::to_value(hashing).unwrap();
                assert_eq!(read(written).unwrap(), hashing);
            }
        }
    }

    #[test]
    fn no_blueprint_has_a_ceiling_and_policies_without_the_field_are_still_read() {
        let all = [
            Blueprint::CoreBank,
            Blueprint::EquipmentErp,
            Blueprint::DigitalBank,
            Blueprint::CardBank,
            Blueprint::CreditRisk,
            Blueprint::Standard,
            Blueprint::Platform,
        ];
        for blueprint in all {
            let policy = SecurityPolicy::of(blueprint);
            assert_eq!(policy.transfer_ceiling_minor, None, "{blueprint}");
            let mut stored = serde_json::to_value(&policy).unwrap();
            stored.as_object_mut().unwrap().remove("transfer_ceiling_minor").unwrap();
            assert_eq!(serde_json::from_value::<SecurityPolicy>(stored).unwrap(), policy);
            let overrides =
                PolicyOverrides { transfer_ceiling_minor: Some(7), ..PolicyOverrides::default() };
            assert_eq!(policy.with(&overrides).transfer_ceiling_minor, Some(7));
        }
    }

    /// The columns of the table in the product specification, row by row as it is written there.
    const ROWS: [(Blueprint, [&str; 18]); 6] = [
        (
            Blueprint::CoreBank,
            [
                "HS256",
                "30 min / 7 d",
                "tenant URL; tenant URL",
                "30 d",
                "12, all four",
                "5 / 90 d",
                "common refused",
                "30 min / 12 h",
                "pinned no",
                "bound no",
                "10",
                "5 in 15 min → 30 min",
                "20 in 15 min → 60 min",
                "UltraCore",
                "5 / 5",
                "totp backup",
                "new device no",
                "30 s",
            ],
        ),
        (
            Blueprint::EquipmentErp,
            [
                "RS256",
                "30 min / 7 d",
                "tenant URL; tenant URL",
                "30 d",
                "12, all four",
                "5 / 90 d",
                "common refused",
                "24 h / 24 h",
                "pinned yes",
                "bound no",
                "5",
                "5 in 1 h → 1 h",
                "5 in 1 h → 1 h",
                "Bitcorp ERP",
                "5 / 100",
                "totp backup",
                "new device no",
                "30 s",
            ],
        ),
        (
            Blueprint::DigitalBank,
            [
                "RS256",
                "30 min / 7 d",
                "tenant URL; tenant URL",
                "30 d",
                "12, all four",
                "5 / 90 d",
                "common refused",
                "30 min / 7 d",
                "pinned no",
                "bound yes",
                "5",
                "5 → 1 min, doubling to 24 h",
                "20 in 15 min → 60 min",
                "DwayBank",
                "5 / 5",
                "totp sms email backup",
                "new device no",
                "30 s",
            ],
        ),
        (
            Blueprint::CardBank,
            [
                "HS256",
                "30 min / 7 d",
                "tenant URL; tenant URL",
                "30 d",
                "12, all four",
                "5 / none",
                "common refused",
                "30 min / 12 h",
                "pinned no",
                "bound no",
                "5",
                "5 in 15 min → 30 min",
                "20 in 15 min → 60 min",
                "tenant name",
                "5 / 5",
                "totp backup passkey",
                "new device yes",
                "30 s",
            ],
        ),
        (
            Blueprint::CreditRisk,
            [
                "RS256",
                "15 min / 7 d",
                "default-rate-prediction-api; api-users admin-panel",
                "30 d",
                "12, all four",
                "12 / 90 d",
                "common refused",
                "30 min / 12 h",
                "pinned no",
                "bound no",
                "3",
                "5 in 15 min → 30 min",
                "20 in 15 min → 60 min",
                "Default Risk Prediction",
                "5 / 5",
                "totp sms email fido2 backup",
                "new device no",
                "30 s",
            ],
        ),
        // The strictest of each row; NIST SP 800-63B-4 instead of composition and expiry.
        (
            Blueprint::Standard,
            [
                "EdDSA",
                "15 min / 7 d",
                "tenant URL; tenant URL",
                "30 d",
                "15, none",
                "12 / none",
                "common refused",
                "30 min / 12 h",
                "pinned yes",
                "bound yes",
                "3",
                "5 in 1 h → 1 h",
                "5 in 1 h → 1 h",
                "tenant name",
                "5 / 5",
                "passkey totp backup",
                "new device no",
                "30 s",
            ],
        ),
    ];

    #[test]
    fn banks_ask_for_a_proof_and_policies_from_before_do_not() {
        let table = [
            (Blueprint::CoreBank, Some(1_000_000), false),
            (Blueprint::EquipmentErp, None, false),
            (Blueprint::DigitalBank, Some(100_000), true),
            (Blueprint::CardBank, Some(100_000), false),
            (Blueprint::CreditRisk, None, false),
            (Blueprint::Standard, Some(100_000), false),
            (Blueprint::Platform, Some(100_000), false),
        ];
        for (blueprint, limit, signs_up) in table {
            let policy = SecurityPolicy::of(blueprint);
            let found = (policy.transfer_step_up_minor, policy.self_registration);
            assert_eq!(found, (limit, signs_up), "{blueprint}");
            let mut stored = serde_json::to_value(&policy).unwrap();
            let fields = stored.as_object_mut().unwrap();
            fields.remove("transfer_step_up_minor").unwrap();
            fields.remove("transfer_approvals").unwrap();
            fields.remove("role_grant_approvals").unwrap();
            fields.remove("self_registration").unwrap();
            let earlier: SecurityPolicy = serde_json::from_value(stored).unwrap();
            assert_eq!((earlier.transfer_step_up_minor, earlier.self_registration), (None, false));
            assert_eq!((earlier.transfer_approvals, earlier.role_grant_approvals), (1, 0));
            let overrides =
                PolicyOverrides { no_transfer_step_up: true, ..PolicyOverrides::default() };
            assert_eq!(policy.with(&overrides).transfer_step_up_minor, None);
        }
    }

    #[test]
    fn every_blueprint_starts_from_its_column_of_the_specification() {
        for (blueprint, row) in ROWS {
            assert_eq!(cells(&SecurityPolicy::of(blueprint)), row, "{blueprint}");
        }
    }

    /// A policy as the specification writes it.
    fn cells(policy: &SecurityPolicy) -> [String; 18] {
        let SecurityPolicy { token, password, session, mfa, rate_limits, .. } = policy;
        let own = |text: Option<&str>, own: &str| text.unwrap_or(own).to_owned();
        let yes = |what: &str, is: bool| format!("{what} {}", if is { "yes" } else { "no" });
        let (access, refresh) = (time(token.access_lifetime_s), time(token.refresh_lifetime_s));
        let audience = token.audience.join(" ");
        let audience = if audience.is_empty() { "tenant URL" } else { &audience };
        let age = password.maximum_age_days.map_or("none".to_owned(), |days| format!("{days} d"));
        [
            format!("{:?}", token.algorithm),
            format!("{access} / {refresh}"),
            format!("{}; {audience}", own(token.issuer.as_deref(), "tenant URL")),
            format!("{} d", token.key_rotation_days),
            format!(
                "{}, {}",
                password.minimum_length,
                if password.all_four_classes { "all four" } else { "none" }
            ),
            format!("{} / {age}", password.history),
            if password.refuse_common { "common refused" } else { "common taken" }.to_owned(),
            format!("{} / {}", time(session.idle_timeout_s), time(session.absolute_timeout_s)),
            yes("pinned", session.pinned_to_address),
            yes("bound", session.bound_to_device),
            session.concurrent_limit.to_string(),
            locked(&policy.account_lock),
            locked(&policy.address_block),
            own(mfa.totp_issuer.as_deref(), "tenant name"),
            format!("{} / {}", rate_limits.auth_per_user, rate_limits.auth_per_address),
            mfa.methods.join(" "),
            yes("new device", mfa.on_new_device),
            format!("{} s", mfa.totp_interval_s),
        ]
    }

    fn locked(policy: &super::LockPolicy) -> String {
        let super::LockPolicy { threshold, window_s, duration_s, doubling_to_s } = policy;
        let within = window_s.map_or(String::new(), |window_s| format!(" in {}", time(window_s)));
        let doubling =
            doubling_to_s.map_or(String::new(), |most_s| format!(", doubling to {}", time(most_s)));
        // The table says 60 min of an address and 1 h of an account; both are an hour.
        let lasts = match (duration_s, window_s) {
            (3_600, Some(900)) => "60 min".to_owned(),
            _ => time(*duration_s),
        };
        format!("{threshold}{within} → {lasts}{doubling}")
    }

    fn time(seconds: i64) -> String {
        match seconds {
            86_400 => "24 h".to_owned(),
            _ if seconds % 86_400 == 0 => format!("{} d", seconds / 86_400),
            _ if seconds % 3_600 == 0 => format!("{} h", seconds / 3_600),
            _ => format!("{} min", seconds / 60),
        }
    }
}
