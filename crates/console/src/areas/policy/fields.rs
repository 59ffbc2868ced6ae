//! Every field of the security policy as people read it: its group, its name, a sentence
//! about it and how its value is said.
//!
//! Refuses to know what is acceptable: that is identity's, whose rules stand beside each
//! field by its path. A rule without a field here fails a test.

use identity::{POLICY_RULES, PolicyRule};
use serde_json::Value;

use super::duration;
use crate::kit;

/// How a value is written and said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A whole number of these.
    Count(&'static str),
    /// Seconds, written as people say them.
    Duration,
    /// What true and false mean.
    Flag([&'static str; 2]),
    /// One of these, and what each means.
    Choice(&'static [(&'static str, &'static str)]),
    /// One line.
    Text,
    /// Some lines.
    Lines,
    /// Some of the methods of a second factor.
    Methods,
    /// Some of the tenant's roles.
    Roles,
}

/// A field.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Field {
    pub(crate) path: &'static str,
    pub(crate) label: &'static str,
    /// One sentence or two; empty where the label says it all.
    pub(crate) hint: &'static str,
    pub(crate) kind: Kind,
    /// What no value means, where there may be none.
    pub(crate) none: &'static str,
}

/// A heading, a sentence, and what stands under it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Group {
    pub(crate) title: &'static str,
    pub(crate) lead: &'static str,
    pub(crate) fields: &'static [Field],
}

/// The methods of a second factor, in the order in which they are offered.
pub(super) const METHODS: [(&str, &str); 6] = [
    ("passkey", "Passkey"),
    ("fido2", "Hardware key"),
    ("totp", "Authenticator app"),
    ("sms", "SMS"),
    ("email", "E-mail"),
    ("backup", "Backup codes"),
];

const fn field(path: &'static str, label: &'static str, kind: Kind, hint: &'static str) -> Field {
    Field { path, label, hint, kind, none: "" }
}

const fn maybe(
    path: &'static str,
    (label, none): (&'static str, &'static str),
    kind: Kind,
    hint: &'static str,
) -> Field {
    Field { path, label, hint, kind, none }
}

const ENDS: Kind = Kind::Flag(["Ends the session", "Goes on"]);
const A_MINUTE: Kind = Kind::Count("a minute");

/// All of it, in the order of the pages.
pub(crate) const GROUPS: [Group; 10] = [
    Group {
        title: "Passwords",
        lead: "What a new password has to be. Present ones stay good until they are changed.",
        fields: &[
            field(
                "password.minimum_length",
                "Shortest",
                Kind::Count("characters"),
                "Length protects better than anything else here.",
            ),
            field(
                "password.all_four_classes",
                "Upper, lower, digit and special",
                Kind::Flag(["All demanded", "Not demanded"]),
                "NIST advises length and a list of common passwords instead.",
            ),
            field(
                "password.history",
                "Earlier passwords refused",
                Kind::Count("passwords"),
                "With 0 any earlier one may be chosen again.",
            ),
            maybe(
                "password.maximum_age_days",
                ("Must be changed after", "Never"),
                Kind::Count("days"),
                "Whoever has an older one is asked for a new one at the next sign-in.",
            ),
            field(
                "password.refuse_common",
                "Known common passwords",
                Kind::Flag(["Refused", "Accepted"]),
                "A list of those that attackers try first.",
            ),
            field(
                "password.hashing.scheme",
                "Hashed with",
                Kind::Choice(&[
                    ("bcrypt", "bcrypt, at the installation’s cost"),
                    ("argon2id", "Argon2id"),
                ]),
                "Each person’s password is hashed anew at their next sign-in.",
            ),
            maybe(
                "password.hashing.memory_kib",
                ("Argon2id memory", "As usual"),
                Kind::Count("KiB"),
                "Looked at with Argon2id alone, 19456 where it is empty.",
            ),
            maybe(
                "password.hashing.iterations",
                ("Argon2id passes", "As usual"),
                Kind::Count("passes"),
                "Looked at with Argon2id alone, 2 where it is empty.",
            ),
            maybe(
                "password.hashing.lanes",
                ("Argon2id lanes", "As usual"),
                Kind::Count("lanes"),
                "Looked at with Argon2id alone, 1 where it is empty.",
            ),
        ],
    },
    Group {
        title: "Sessions",
        lead: "How long people stay signed in, and from where.",
        fields: &[
            field(
                "session.idle_timeout_s",
                "Ends when idle for",
                Kind::Duration,
                "A session of the console without a request.",
            ),
            field(
                "session.absolute_timeout_s",
                "Ends in any case after",
                Kind::Duration,
                "A session of the console, however busy.",
            ),
            maybe(
                "session.client_idle_timeout_s",
                ("A program’s ends when idle for", "Only with its tokens"),
                Kind::Duration,
                "Sessions of programs that hold tokens.",
            ),
            field(
                "session.concurrent_limit",
                "At the same time",
                Kind::Count("sessions"),
                "Of one person.",
            ),
            field(
                "session.over_limit",
                "One more than that",
                Kind::Choice(&[("end_oldest", "Ends the oldest"), ("refuse", "Is refused")]),
                "What happens to somebody who signs in once too often.",
            ),
            field(
                "session.pinned_to_address",
                "From another address",
                ENDS,
                "People whose address changes on the way have to sign in again.",
            ),
            field(
                "session.bound_to_device",
                "From another device",
                ENDS,
                "A stolen cookie is of no use elsewhere.",
            ),
            field(
                "session.step_up_score",
                "Odd sign-ins prove a factor from",
                Kind::Count("points"),
                "A new device counts 30, a new network 20, an unusual hour 10, a burst of sessions 30, impossible travel 50.",
            ),
        ],
    },
    Group {
        title: "Second factors",
        lead: "What people prove beside their password.",
        fields: &[
            field(
                "mfa.methods",
                "Methods people may set up",
                Kind::Methods,
                "What somebody has set up already goes on working.",
            ),
            maybe(
                "mfa.required_roles",
                ("Required of", "Nobody"),
                Kind::Roles,
                "Whoever has none sets one up at the next sign-in.",
            ),
            field(
                "mfa.on_new_device",
                "On a device that is new",
                Kind::Flag(["A factor is demanded", "The password is enough"]),
                "New to the account, not to the bank.",
            ),
            maybe(
                "mfa.totp_issuer",
                ("Shown in authenticator apps as", "The tenant’s name"),
                Kind::Text,
                "Apps that are set up already keep what they show.",
            ),
            field(
                "mfa.totp_interval_s",
                "A code changes every",
                Kind::Duration,
                "Most apps know 30 s and nothing else.",
            ),
        ],
    },
    Group {
        title: "Wrong passwords",
        lead: "When an account is locked against guessing. A passkey opens it all the same.",
        fields: &[
            field(
                "account_lock.threshold",
                "An account is locked after",
                Kind::Count("wrong passwords"),
                "",
            ),
            maybe(
                "account_lock.window_s",
                ("Counted within", "Since the last success"),
                Kind::Duration,
                "Older ones are forgotten.",
            ),
            field("account_lock.duration_s", "Locked for", Kind::Duration, ""),
            maybe(
                "account_lock.doubling_to_s",
                ("Doubling each time, up to", "It does not double"),
                Kind::Duration,
                "Each lock lasts twice as long as the one before.",
            ),
        ],
    },
    Group {
        title: "Guessing addresses",
        lead: "When an address is blocked, whatever accounts it tries.",
        fields: &[
            field(
                "address_block.threshold",
                "An address is blocked after",
                Kind::Count("wrong passwords"),
                "",
            ),
            maybe(
                "address_block.window_s",
                ("Counted within", "Since the last success"),
                Kind::Duration,
                "Older ones are forgotten.",
            ),
            field("address_block.duration_s", "Blocked for", Kind::Duration, ""),
        ],
    },
    Group {
        title: "Tokens",
        lead: "What programs are given when they sign in.",
        fields: &[
            field(
                "token.algorithm",
                "Signature",
                Kind::Choice(&[
                    ("HS256", "HS256"),
                    ("RS256", "RS256"),
                    ("ES256", "ES256"),
                    ("EdDSA", "EdDSA"),
                ]),
                "Of keys that are made from then on; rotate the signing key to begin at once.",
            ),
            field(
                "token.access_lifetime_s",
                "Access token lives",
                Kind::Duration,
                "Then the program refreshes it.",
            ),
            field(
                "token.refresh_lifetime_s",
                "Refresh family lives",
                Kind::Duration,
                "Then somebody signs in again.",
            ),
            field(
                "token.key_rotation_days",
                "Signing key changes after",
                Kind::Count("days"),
                "Tokens of the key before stay good until they expire.",
            ),
            maybe(
                "token.issuer",
                ("Issuer", "The tenant’s own"),
                Kind::Text,
                "Programs that check it have to be told first.",
            ),
            maybe(
                "token.audience",
                ("Audience", "The tenant’s own"),
                Kind::Lines,
                "One a line. Programs that check it have to be told first.",
            ),
        ],
    },
    Group {
        title: "Payments",
        lead: "What takes a second person, or a second factor. In minor units of whatever currency: 100000 are 1,000.00 EUR.",
        fields: &[
            maybe(
                "transfer_ceiling_minor",
                ("A transfer waits above", "Never"),
                Kind::Count("minor units"),
                "Until a second person agrees. Deposits, withdrawals, fees, journals, holds and reversals above it are refused.",
            ),
            field(
                "transfer_approvals",
                "Others who have to agree to it",
                Kind::Count("people"),
                "Each independent of whoever ordered it and of the others. One rejection ends it.",
            ),
            maybe(
                "transfer_step_up_minor",
                ("A transfer is proven above", "Never"),
                Kind::Count("minor units"),
                "By a second factor that is asked for its amount and payee, by whoever orders it.",
            ),
        ],
    },
    Group {
        title: "Signed requests",
        lead: "What programs send to the interface, signed by keys that they registered.",
        fields: &[field(
            "require_signature",
            "What is sensitive",
            Kind::Flag(["Has to be signed", "May be unsigned"]),
            "Transfers above the ceiling, batches, policy, keys and exports. Not these pages.",
        )],
    },
    Group {
        title: "Joining",
        lead: "How people come to have a login, and what they may.",
        fields: &[
            field(
                "self_registration",
                "People without an invitation",
                Kind::Flag(["May sign up", "May not sign up"]),
                "They get the least role, once their e-mail address has answered.",
            ),
            field(
                "role_grant_approvals",
                "Others who have to agree to a role of more than one’s own",
                Kind::Count("people"),
                "0 asks for nobody else. Each could give the role too, and is neither who asked nor who gets it. Taking a role away never waits.",
            ),
        ],
    },
    Group {
        title: "Limits",
        lead: "How many requests are answered. Whoever asks for more waits.",
        fields: &[
            field("rate_limits.auth_per_user", "Sign-in, per user name", A_MINUTE, ""),
            field("rate_limits.auth_per_address", "Sign-in, per address", A_MINUTE, ""),
            field("rate_limits.mfa", "Second factors", A_MINUTE, ""),
            field("rate_limits.read", "Reading", A_MINUTE, ""),
            field("rate_limits.write", "Writing", A_MINUTE, ""),
            field("rate_limits.admin", "Administration", A_MINUTE, ""),
            field("rate_limits.default", "Anything else", A_MINUTE, ""),
            field("rate_limits.overall_per_hour", "All together", Kind::Count("an hour"), ""),
        ],
    },
];

/// Every field.
pub(super) fn all() -> impl Iterator<Item = &'static Field> {
    GROUPS.iter().flat_map(|group| group.fields)
}

/// The field of a path.
pub(super) fn find(path: &str) -> Option<&'static Field> {
    all().find(|field| field.path == path)
}

/// What stands at a path.
pub(crate) fn at<'a>(policy: &'a Value, path: &str) -> &'a Value {
    path.split('.').fold(policy, |value, name| &value[name])
}

impl Field {
    /// What identity lets it hold; the costs of hashing are judged together.
    pub(super) fn rule(&self) -> Option<PolicyRule> {
        POLICY_RULES.iter().find(|(path, _)| *path == self.path).map(|(_, rule)| *rule)
    }

    /// Under which heading it stands.
    pub(super) fn group(&self) -> &'static str {
        let holds = |group: &&Group| group.fields.iter().any(|field| field.path == self.path);
        GROUPS.iter().find(holds).map_or("", |group| group.title)
    }

    /// A value as people say it.
    pub(crate) fn words(&self, value: &Value) -> String {
        match (self.kind, value) {
            (_, Value::Null) => self.none.to_owned(),
            (Kind::Count(unit), Value::Number(count)) => format!("{} {unit}", grouped(count)),
            (Kind::Duration, Value::Number(seconds)) => {
                duration::words(seconds.as_i64().unwrap_or_default())
            }
            (Kind::Flag([yes, no]), Value::Bool(is)) => (if *is { yes } else { no }).to_owned(),
            (Kind::Choice(known), Value::String(name)) => {
                let found = known.iter().find(|(value, _)| value == name);
                found.map_or_else(|| name.clone(), |(_, words)| (*words).to_owned())
            }
            (_, Value::String(text)) => text.clone(),
            (_, Value::Array(items)) if items.is_empty() => self.none.to_owned(),
            (kind, Value::Array(items)) => {
                let name = |item: &Value| named(kind, item.as_str().unwrap_or_default());
                items.iter().map(name).collect::<Vec<_>>().join(", ")
            }
            (_, other) => other.to_string(),
        }
    }
}

/// An item of a list as people say it.
fn named(kind: Kind, item: &str) -> String {
    match kind {
        Kind::Methods => {
            let found = METHODS.iter().find(|(name, _)| *name == item);
            found.map_or_else(|| item.to_owned(), |(_, words)| (*words).to_owned())
        }
        Kind::Roles => kit::words(item),
        _ => item.to_owned(),
    }
}

/// `1,000,000`: long numbers are read wrong.
fn grouped(count: &serde_json::Number) -> String {
    let digits = count.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A field's name, and a value before and after, as people say them; a path that is none
/// of ours (of a later version's policy) as it is written.
pub(super) fn difference(path: &str, old: &Value, new: &Value) -> (String, String, [String; 2]) {
    match find(path) {
        Some(field) => {
            let words = [field.words(old), field.words(new)];
            (field.group().to_owned(), field.label.to_owned(), words)
        }
        None => (String::new(), path.to_owned(), [old.to_string(), new.to_string()]),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::collections::BTreeSet;

    use identity::{POLICY_RULES, PolicyRule};
    use serde_json::json;
    use tenancy::{Blueprint, policy::SecurityPolicy};

    use super::{Kind, all, at, find};

    #[test]
    fn every_rule_has_a_field_of_its_kind_and_every_field_a_rule() {
        let mut seen = BTreeSet::new();
        for field in all() {
            assert!(seen.insert(field.path), "{} stands twice", field.path);
            if field.path.starts_with("password.hashing.") {
                continue;
            }
            let rule = field.rule().unwrap_or_else(|| panic!("{} has no rule", field.path));
            let fits = match rule {
                PolicyRule::Whole(..) => matches!(field.kind, Kind::Count(_) | Kind::Duration),
                PolicyRule::MaybeWhole(..) => {
                    matches!(field.kind, Kind::Count(_) | Kind::Duration) && !field.none.is_empty()
                }
                PolicyRule::Flag => matches!(field.kind, Kind::Flag(_)),
                PolicyRule::MaybeText(_) => field.kind == Kind::Text && !field.none.is_empty(),
                PolicyRule::Texts(_) => field.kind == Kind::Lines && !field.none.is_empty(),
                PolicyRule::Names(known) => {
                    let ours: BTreeSet<_> = super::METHODS.iter().map(|(name, _)| *name).collect();
                    field.kind == Kind::Methods && ours == known.iter().copied().collect()
                }
                PolicyRule::Roles => field.kind == Kind::Roles && !field.none.is_empty(),
                PolicyRule::Choice(known) => match field.kind {
                    Kind::Choice(ours) => {
                        ours.iter().map(|(name, _)| *name).eq(known.iter().copied())
                    }
                    _ => false,
                },
                PolicyRule::Hashing | PolicyRule::Nothing => false,
            };
            assert!(fits, "{}: {:?} is not {rule:?}", field.path, field.kind);
        }
        for (path, rule) in POLICY_RULES {
            if rule == PolicyRule::Nothing {
                assert!(find(path).is_none(), "{path}: there is nothing to choose");
                continue;
            }
            let path = if path == "password.hashing" { "password.hashing.scheme" } else { path };
            assert!(find(path).is_some(), "{path}: no page shows it");
        }
    }

    #[test]
    fn every_value_of_every_blueprint_is_said_in_words() {
        for blueprint in Blueprint::ALL {
            let policy = serde_json::to_value(SecurityPolicy::of(blueprint)).unwrap();
            for field in all() {
                let words = field.words(at(&policy, field.path));
                assert!(!words.is_empty(), "{blueprint} {}", field.path);
                assert!(
                    !words.contains(['{', '[', '"', '_']),
                    "{blueprint} {}: {words}",
                    field.path
                );
            }
        }
        let said = |path: &str, value| find(path).unwrap().words(&value);
        assert_eq!(said("session.idle_timeout_s", json!(1_800)), "30 min");
        assert_eq!(said("rate_limits.read", json!(100_000)), "100,000 a minute");
        assert_eq!(
            said("mfa.methods", json!(["totp", "backup"])),
            "Authenticator app, Backup codes"
        );
        assert_eq!(said("mfa.required_roles", json!([])), "Nobody");
        assert_eq!(said("password.maximum_age_days", json!(null)), "Never");
    }
}
