//! Which security policies are acceptable: every field with its kind and bounds, and what
//! has to hold between fields. Finds every fault at once, each under its path.
//!
//! No I/O. A field of the policy that has no rule here fails a test.

use operation::FieldError;
use serde_json::Value;
use tenancy::policy::{PasswordHashing, SecurityPolicy};

use self::PolicyRule as Rule;

/// What one field may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PolicyRule {
    /// A whole number within bounds.
    Whole(i64, i64),
    /// The same, or nothing.
    MaybeWhole(i64, i64),
    /// True or false.
    Flag,
    /// One line of at most so many characters, or nothing.
    MaybeText(usize),
    /// At most so many such lines, each once.
    Texts(usize),
    /// At least one of these names, each once.
    Names(&'static [&'static str]),
    /// Any of the tenant's roles, each once.
    Roles,
    /// One of these names.
    Choice(&'static [&'static str]),
    /// A scheme of hashing passwords with its costs.
    Hashing,
    /// Null, always: locks of accounts have this field, and blocks of addresses share their form.
    Nothing,
}

const DAY_S: i64 = 86_400;
/// The greatest integer that every JSON reader keeps (RFC 8259, section 6).
const GREATEST: i64 = (1 << 53) - 1;
/// Characters of an issuer or an audience.
const NAME_MAX: usize = 200;
/// Audiences of one tenant.
const AUDIENCES_MAX: usize = 10;
/// Requests a minute or an hour: more is no limit.
const REQUESTS: Rule = Rule::Whole(1, 1_000_000);

/// Every field by its path, and what it may hold.
pub const POLICY_RULES: [(&str, Rule); 47] = [
    ("token.algorithm", Rule::Choice(&["HS256", "RS256", "ES256", "EdDSA"])),
    ("token.access_lifetime_s", Rule::Whole(60, DAY_S)),
    ("token.refresh_lifetime_s", Rule::Whole(300, 90 * DAY_S)),
    ("token.issuer", Rule::MaybeText(NAME_MAX)),
    ("token.audience", Rule::Texts(AUDIENCES_MAX)),
    ("token.key_rotation_days", Rule::Whole(1, 365)),
    ("password.minimum_length", Rule::Whole(8, 64)),
    ("password.all_four_classes", Rule::Flag),
    ("password.history", Rule::Whole(0, 24)),
    ("password.maximum_age_days", Rule::MaybeWhole(1, 3_650)),
    ("password.refuse_common", Rule::Flag),
    ("password.hashing", Rule::Hashing),
    // Activity is noted once a minute: less would end sessions that are in use.
    ("session.idle_timeout_s", Rule::Whole(120, 7 * DAY_S)),
    ("session.absolute_timeout_s", Rule::Whole(300, 30 * DAY_S)),
    ("session.pinned_to_address", Rule::Flag),
    ("session.bound_to_device", Rule::Flag),
    ("session.concurrent_limit", Rule::Whole(1, 100)),
    ("session.over_limit", Rule::Choice(&["end_oldest", "refuse"])),
    // Activity is noted once a minute: less than two would end what is in use.
    ("session.client_idle_timeout_s", Rule::MaybeWhole(120, 90 * DAY_S)),
    ("session.step_up_score", Rule::Whole(10, 1_000)),
    ("account_lock.threshold", Rule::Whole(1, 20)),
    ("account_lock.window_s", Rule::MaybeWhole(60, 7 * DAY_S)),
    ("account_lock.duration_s", Rule::Whole(30, 7 * DAY_S)),
    ("account_lock.doubling_to_s", Rule::MaybeWhole(30, 30 * DAY_S)),
    ("address_block.threshold", Rule::Whole(1, 1_000)),
    ("address_block.window_s", Rule::MaybeWhole(60, 7 * DAY_S)),
    ("address_block.duration_s", Rule::Whole(30, 7 * DAY_S)),
    // Unlike the lock of an account, a block always lasts as long as it says.
    ("address_block.doubling_to_s", Rule::Nothing),
    ("mfa.totp_issuer", Rule::MaybeText(64)),
    ("mfa.totp_interval_s", Rule::Whole(15, 120)),
    ("mfa.methods", Rule::Names(&["totp", "sms", "email", "backup", "passkey", "fido2"])),
    ("mfa.required_roles", Rule::Roles),
    ("mfa.on_new_device", Rule::Flag),
    ("rate_limits.auth_per_user", REQUESTS),
    ("rate_limits.auth_per_address", REQUESTS),
    ("rate_limits.mfa", REQUESTS),
    ("rate_limits.default", REQUESTS),
    ("rate_limits.read", REQUESTS),
    ("rate_limits.write", REQUESTS),
    ("rate_limits.admin", REQUESTS),
    ("rate_limits.overall_per_hour", Rule::Whole(1, 60_000_000)),
    ("transfer_ceiling_minor", Rule::MaybeWhole(0, GREATEST)),
    ("transfer_approvals", Rule::Whole(1, 5)),
    ("role_grant_approvals", Rule::Whole(0, 5)),
    ("transfer_step_up_minor", Rule::MaybeWhole(0, GREATEST)),
    ("self_registration", Rule::Flag),
    ("require_signature", Rule::Flag),
];

/// Of each pair the first is no greater than the second, where both are given.
const NO_GREATER: [(&str, &str); 3] = [
    ("token.access_lifetime_s", "token.refresh_lifetime_s"),
    ("session.idle_timeout_s", "session.absolute_timeout_s"),
    ("account_lock.duration_s", "account_lock.doubling_to_s"),
];

/// The policy that a document holds, or everything that is wrong with it, each under its
/// path behind `prefix`. `known` is a policy as it is written now: what it has no name
/// for does not exist. `roles` are the tenant's.
pub(super) fn accepted(
    proposed: &Value,
    (known, roles): (&Value, &[&str]),
    prefix: &str,
) -> Result<SecurityPolicy, Vec<FieldError>> {
    let mut faults = Faults { prefix, roles, errors: Vec::new() };
    faults.walk("", proposed, known);
    if faults.errors.is_empty() {
        faults.compare(proposed);
    }
    if !faults.errors.is_empty() {
        return Err(faults.errors);
    }
    serde_json::from_value(proposed.clone()).map_err(|_| {
        faults.add("", "invalid_value", "This is no policy");
        faults.errors
    })
}

pub(super) fn below(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}

struct Faults<'a> {
    prefix: &'a str,
    roles: &'a [&'a str],
    errors: Vec<FieldError>,
}

impl Faults<'_> {
    fn add(&mut self, path: &str, code: &'static str, message: impl Into<String>) {
        let field = below(self.prefix, path);
        let field = field.trim_end_matches('.').to_owned();
        self.errors.push(FieldError {
            field: field.into(),
            code: code.into(),
            message: message.into(),
        });
    }

    fn walk(&mut self, path: &str, proposed: &Value, known: &Value) {
        if let Some(rule) = rule_of(path) {
            if let Err(expected) = rule.check(proposed, self.roles) {
                self.add(path, "invalid_value", expected);
            }
            return;
        }
        let Value::Object(known) = known else { return };
        let Value::Object(proposed) = proposed else {
            return self.add(path, "invalid_value", "Expected an object");
        };
        for name in proposed.keys().filter(|name| !known.contains_key(*name)) {
            self.add(&below(path, name), "unknown_field", "A policy has no such field");
        }
        for (name, known) in known {
            let path = below(path, name);
            match proposed.get(name) {
                Some(value) => self.walk(&path, value, known),
                None if rule_of(&path).is_some_and(Rule::is_optional) => {}
                None => self.add(&path, "missing_field", "A policy has this field"),
            }
        }
    }

    fn compare(&mut self, proposed: &Value) {
        let number = |path: &str| {
            path.split('.').try_fold(proposed, |value, name| value.get(name))?.as_i64()
        };
        for (less, more) in NO_GREATER {
            if let (Some(first), Some(second)) = (number(less), number(more))
                && first > second
            {
                self.add(less, "out_of_order", format!("Must not be greater than {more}"));
            }
        }
    }
}

fn rule_of(path: &str) -> Option<Rule> {
    POLICY_RULES.iter().find(|(ruled, _)| *ruled == path).map(|(_, rule)| *rule)
}

impl Rule {
    const fn is_optional(self) -> bool {
        matches!(self, Self::MaybeWhole(..) | Self::MaybeText(_) | Self::Hashing | Self::Nothing)
    }

    /// Whether a value follows it, or what was expected.
    fn check(self, value: &Value, roles: &[&str]) -> Result<(), String> {
        let whole = |least, most| value.as_i64().is_some_and(|it| (least..=most).contains(&it));
        let fits = match self {
            Self::Whole(least, most) => whole(least, most),
            Self::MaybeWhole(least, most) => value.is_null() || whole(least, most),
            Self::Flag => value.is_boolean(),
            Self::MaybeText(most) => value.is_null() || value.as_str().is_some_and(line(most)),
            Self::Texts(most) => {
                let texts = texts(value);
                texts.is_some_and(|texts| {
                    texts.len() <= most && texts.into_iter().all(line(NAME_MAX))
                })
            }
            Self::Names(known) => texts(value).is_some_and(|names| {
                !names.is_empty() && names.iter().all(|name| known.contains(name))
            }),
            Self::Roles => {
                texts(value).is_some_and(|names| names.iter().all(|name| roles.contains(name)))
            }
            Self::Choice(known) => value.as_str().is_some_and(|name| known.contains(&name)),
            Self::Nothing => value.is_null(),
            Self::Hashing => serde_json::from_value::<PasswordHashing>(value.clone()).is_ok(),
        };
        if fits { Ok(()) } else { Err(self.expected()) }
    }

    fn expected(self) -> String {
        match self {
            Self::Whole(least, most) => format!("Expected a whole number, {least} to {most}"),
            Self::MaybeWhole(least, most) => {
                format!("Expected a whole number, {least} to {most}, or null")
            }
            Self::Flag => "Expected true or false".to_owned(),
            Self::MaybeText(most) => format!("Expected 1 to {most} characters, or null"),
            Self::Texts(most) => format!("Expected at most {most} texts, each once"),
            Self::Names(known) => format!("Expected some of {}, each once", known.join(", ")),
            Self::Roles => "Expected roles of the tenant, each once".to_owned(),
            Self::Choice(known) => format!("Expected one of {}", known.join(", ")),
            Self::Nothing => "Expected null: a block of addresses does not double".to_owned(),
            Self::Hashing => "Expected bcrypt, or argon2id with costs within bounds".to_owned(),
        }
    }
}

fn line(most: usize) -> impl Fn(&str) -> bool {
    move |text| (1..=most).contains(&text.chars().count()) && !text.chars().any(char::is_control)
}

/// A list of texts, none of them twice.
fn texts(value: &Value) -> Option<Vec<&str>> {
    let texts: Vec<&str> = value.as_array()?.iter().map(Value::as_str).collect::<Option<_>>()?;
    let twice = texts.iter().enumerate().any(|(at, text)| texts[..at].contains(text));
    (!twice).then_some(texts)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use serde_json::{Value, json};
    use tenancy::{Blueprint, policy::SecurityPolicy};

    use super::{NO_GREATER, POLICY_RULES, accepted, rule_of};
    use crate::policy_change::patch::{differences, merged};

    fn written(blueprint: Blueprint) -> Value {
        serde_json::to_value(SecurityPolicy::of(blueprint)).unwrap()
    }

    fn leaves(path: &str, value: &Value, found: &mut Vec<String>) {
        match value {
            Value::Object(members) if rule_of(path).is_none() => {
                for (name, value) in members {
                    leaves(&super::below(path, name), value, found);
                }
            }
            _ => found.push(path.to_owned()),
        }
    }

    #[test]
    fn every_field_has_a_rule_and_every_rule_a_field() {
        let mut found = Vec::new();
        leaves("", &written(Blueprint::CoreBank), &mut found);
        for path in &found {
            assert!(rule_of(path).is_some(), "{path}: say in POLICY_RULES what it may hold");
        }
        for (path, _) in POLICY_RULES {
            assert!(found.iter().any(|field| field == path), "{path} is no field of a policy");
        }
        for (less, more) in NO_GREATER {
            assert!(rule_of(less).is_some() && rule_of(more).is_some(), "{less} {more}");
        }
    }

    #[test]
    fn every_blueprint_starts_within_the_rules() {
        for blueprint in Blueprint::ALL {
            let policy = written(blueprint);
            let known = written(Blueprint::CoreBank);
            let read = accepted(&policy, (&known, blueprint.roles()), "policy").unwrap();
            assert_eq!(read, SecurityPolicy::of(blueprint), "{blueprint}");
        }
    }

    /// What to merge into the blueprint's, and the faults it has: path and code.
    const FAULTY: [(&str, &[&str]); 19] = [
        (r#"{"session":{"concurrent_limit":0}}"#, &["session.concurrent_limit invalid_value"]),
        (r#"{"session":{"concurrent_limit":2.5}}"#, &["session.concurrent_limit invalid_value"]),
        (r#"{"session":{"concurrent_limit":"5"}}"#, &["session.concurrent_limit invalid_value"]),
        (r#"{"session":{"concurrent_limit":null}}"#, &["session.concurrent_limit missing_field"]),
        (r#"{"session":{"concurent_limit":5}}"#, &["session.concurent_limit unknown_field"]),
        (r#"{"password":{"hashing":{"scheme":"md5"}}}"#, &["password.hashing invalid_value"]),
        (r#"{"password":{"hashing":"argon2id"}}"#, &["password.hashing invalid_value"]),
        (r#"{"session":5}"#, &["session invalid_value"]),
        (r#"{"session":null}"#, &["session missing_field"]),
        (r#"{"moon":{"phase":1}}"#, &["moon unknown_field"]),
        (r#"{"token":{"algorithm":"none"}}"#, &["token.algorithm invalid_value"]),
        (r#"{"token":{"issuer":"a\u0000b"}}"#, &["token.issuer invalid_value"]),
        (r#"{"mfa":{"methods":[]}}"#, &["mfa.methods invalid_value"]),
        (r#"{"mfa":{"methods":["totp","totp"]}}"#, &["mfa.methods invalid_value"]),
        (r#"{"mfa":{"methods":["carrier pigeon"]}}"#, &["mfa.methods invalid_value"]),
        (r#"{"mfa":{"required_roles":["teller","king"]}}"#, &["mfa.required_roles invalid_value"]),
        (r#"{"session":{"idle_timeout_s":90000}}"#, &["session.idle_timeout_s out_of_order"]),
        (
            r#"{"password":{"minimum_length":4,"history":-1},"x":1}"#,
            &[
                "password.history invalid_value",
                "password.minimum_length invalid_value",
                "x unknown_field",
            ],
        ),
        (
            r#"{"rate_limits":{"mfa":0,"read":1e9}}"#,
            &["rate_limits.mfa invalid_value", "rate_limits.read invalid_value"],
        ),
    ];

    #[test]
    fn every_fault_is_named() {
        let base = written(Blueprint::CoreBank);
        for (patch, expected) in FAULTY {
            let merged = merged(base.clone(), &serde_json::from_str(patch).unwrap());
            let errors = accepted(&merged, (&base, &["teller"]), "patch").unwrap_err();
            let mut found: Vec<_> = errors
                .iter()
                .map(|error| format!("{} {}", error.field.trim_start_matches("patch."), error.code))
                .collect();
            found.sort_unstable();
            assert_eq!(found, expected, "{patch}");
        }
        let errors = accepted(&Value::Null, (&base, &[]), "policy").unwrap_err();
        assert_eq!(
            (errors[0].field.as_ref(), errors[0].code.as_ref()),
            ("policy", "invalid_value")
        );
    }

    #[test]
    fn what_may_be_absent_is_removed_by_null() {
        let base = written(Blueprint::CoreBank);
        let patch =
            json!({ "password": { "maximum_age_days": null }, "transfer_ceiling_minor": 5 });
        let policy = accepted(&merged(base.clone(), &patch), (&base, &[]), "patch").unwrap();
        assert_eq!(
            (policy.password.maximum_age_days, policy.transfer_ceiling_minor),
            (None, Some(5))
        );
        let after = serde_json::to_value(&policy).unwrap();
        let expected = [
            ("password.maximum_age_days".to_owned(), json!(90), json!(null)),
            ("transfer_ceiling_minor".to_owned(), json!(null), json!(5)),
        ];
        assert_eq!(differences(&base, &after), expected);
        assert_eq!(differences(&base, &base), []);
    }
}
