//! Which passwords are good enough.
//!
//! Owns the rules and names every one that is broken, not the first. Refuses to know
//! hashes: whether a password was used before is asked where hashes are.

use std::{collections::HashSet, sync::OnceLock};

use operation::FieldError;
use serde::{Deserialize, Serialize};
use tenancy::policy::PasswordPolicy;

/// 19,640 passwords of breaches, most common first (Royce Williams' list as shipped
/// with Django, BSD licence).
const COMMON: &str = include_str!("../data/common-passwords.txt");

/// More than anybody types; bounds the work of hashing.
pub(crate) const LENGTH_MAX: usize = 1_024;
/// Names shorter than this stand in too many words to be refused inside a password.
const NAME_MIN: usize = 4;

/// What a client is told before a password is typed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PasswordRules {
    /// In characters.
    pub minimum_length: u32,
    /// In characters.
    pub maximum_length: u32,
    /// Whether upper case, lower case, digit and special character are all demanded.
    pub all_four_classes: bool,
    /// How many earlier passwords may not be used again.
    pub history: u32,
    /// Age at which a change is forced.
    pub maximum_age_days: Option<u32>,
    /// Whether common passwords are refused.
    pub refuse_common: bool,
    /// Whether one's own name and e-mail address are refused inside a password: always.
    pub refuse_own_name: bool,
}

impl From<&PasswordPolicy> for PasswordRules {
    fn from(policy: &PasswordPolicy) -> Self {
        Self {
            minimum_length: policy.minimum_length,
            maximum_length: u32::try_from(LENGTH_MAX).unwrap_or(u32::MAX),
            all_four_classes: policy.all_four_classes,
            history: policy.history,
            maximum_age_days: policy.maximum_age_days,
            refuse_common: policy.refuse_common,
            refuse_own_name: true,
        }
    }
}

/// Every rule that `password` breaks, as errors of the field `password`. `names` are
/// the user's own: user name, e-mail, full name.
pub fn broken_rules(policy: &PasswordPolicy, password: &str, names: &[&str]) -> Vec<FieldError> {
    let length = password.chars().count();
    let minimum = usize::try_from(policy.minimum_length).unwrap_or(usize::MAX);
    let lowered = password.to_lowercase();
    let lacks = |test: fn(char) -> bool| policy.all_four_classes && !password.chars().any(test);
    let rules = [
        (
            length < minimum,
            "password_too_short",
            format!("At least {minimum} characters are needed"),
        ),
        (
            length > LENGTH_MAX,
            "password_too_long",
            format!("At most {LENGTH_MAX} characters are possible"),
        ),
        (
            lacks(char::is_uppercase),
            "password_needs_upper",
            "An upper-case letter is needed".to_owned(),
        ),
        (
            lacks(char::is_lowercase),
            "password_needs_lower",
            "A lower-case letter is needed".to_owned(),
        ),
        (lacks(char::is_numeric), "password_needs_digit", "A digit is needed".to_owned()),
        (lacks(is_special), "password_needs_special", "A special character is needed".to_owned()),
        (
            policy.refuse_common && is_common(&lowered),
            "password_common",
            "The password is among the most common ones".to_owned(),
        ),
        (
            contains_name(&lowered, names),
            "password_contains_name",
            "The password contains your name or e-mail address".to_owned(),
        ),
    ];
    (rules.into_iter())
        .filter(|(broken, ..)| *broken)
        .map(|(_, code, message)| FieldError {
            field: "password".into(),
            code: code.into(),
            message,
        })
        .collect()
}

fn is_special(character: char) -> bool {
    !character.is_alphanumeric() && !character.is_control()
}

/// The word itself, or a common word with digits and marks hung on to please the
/// rules of classes.
fn is_common(lowered: &str) -> bool {
    static LIST: OnceLock<HashSet<&'static str>> = OnceLock::new();
    let list = LIST
        .get_or_init(|| COMMON.lines().map(str::trim).filter(|line| !line.is_empty()).collect());
    let core = lowered.trim_matches(|character: char| !character.is_alphabetic());
    list.contains(lowered)
        || (core.len() >= NAME_MIN && lowered.len() - core.len() <= 4 && list.contains(core))
}

fn contains_name(lowered: &str, names: &[&str]) -> bool {
    (names.iter())
        .flat_map(|name| {
            name.split(|character: char| character == '@' || character.is_whitespace())
        })
        .map(str::to_lowercase)
        .any(|part| part.chars().count() >= NAME_MIN && lowered.contains(&part))
}

#[cfg(test)]
mod tests {
    use tenancy::{Blueprint, policy::SecurityPolicy};

    use super::{COMMON, broken_rules};

    #[test]
    fn every_broken_rule_is_named() {
        let policy = SecurityPolicy::of(Blueprint::CoreBank).password;
        let table: &[(&str, &[&str])] = &[
            ("Correct-Horse-9", &[]),
            (
                "short",
                &[
                    "password_too_short",
                    "password_needs_upper",
                    "password_needs_digit",
                    "password_needs_special",
                ],
            ),
            (
                "123456",
                &[
                    "password_too_short",
                    "password_needs_upper",
                    "password_needs_lower",
                    "password_needs_special",
                    "password_common",
                ],
            ),
            ("Password2024!", &[]),
            ("Password123!", &["password_common"]),
            ("Alice.Liddell-77", &["password_contains_name"]),
            ("my Alice@9 is here", &["password_contains_name"]),
            ("ÄÖÜäöü-123456", &[]),
        ];
        for (password, expected) in table {
            let broken = broken_rules(&policy, password, &["alice", "liddell@example.com"]);
            let codes: Vec<_> = broken.iter().map(|error| error.code.as_ref()).collect();
            assert_eq!(&codes, expected, "{password}");
        }
    }

    #[test]
    fn the_standard_blueprint_asks_for_length_instead_of_classes() {
        let policy = SecurityPolicy::of(Blueprint::Standard).password;
        assert!(broken_rules(&policy, "correct horse battery staple", &[]).is_empty());
        assert_eq!(broken_rules(&policy, "correct horse", &[]).len(), 1);
    }

    #[test]
    fn the_list_is_as_long_as_promised() {
        assert!(COMMON.lines().count() >= 10_000);
    }
}
