//! The policy as a form: its values as texts, and texts as values again.
//!
//! Refuses to judge: what is no number stays a text, and identity says what it expected.

use identity::PolicyRule;
use operation::{FieldError, Refusal};
use serde_json::{Map, Value};

use super::{
    duration,
    fields::{self, Field, GROUPS, Group, Kind, METHODS, at},
};
use crate::{kit, params::Params};

/// A group as it is drawn.
pub(super) struct Section {
    pub(super) title: &'static str,
    pub(super) lead: &'static str,
    pub(super) fields: Vec<Drawn>,
}

/// A field as it is drawn.
pub(super) struct Drawn {
    pub(super) path: &'static str,
    pub(super) label: &'static str,
    pub(super) hint: String,
    pub(super) error: Option<String>,
    pub(super) control: Control,
}

/// What it is filled in with. Options are value, words and whether it is chosen.
pub(super) enum Control {
    Input { value: String, inputmode: &'static str },
    Select(Vec<(String, String, bool)>),
    Checks(Vec<(String, String, bool)>),
    Lines(String),
}

/// Where the texts come from.
#[derive(Clone, Copy)]
pub(super) enum Source<'a> {
    /// A policy.
    Policy(&'a Value),
    /// What somebody typed.
    Typed(&'a Params),
}

impl Source<'_> {
    fn text(self, field: &Field) -> String {
        match self {
            Self::Typed(params) => params.raw(field.path).unwrap_or_default().to_owned(),
            Self::Policy(policy) => match (field.kind, at(policy, field.path)) {
                (_, Value::Null) => String::new(),
                (Kind::Duration, Value::Number(seconds)) => {
                    duration::words(seconds.as_i64().unwrap_or_default())
                }
                (_, Value::String(text)) => text.clone(),
                (_, Value::Array(items)) => {
                    items.iter().filter_map(Value::as_str).collect::<Vec<_>>().join("\n")
                }
                (_, other) => other.to_string(),
            },
        }
    }

    fn holds(self, field: &Field, item: &str) -> bool {
        match self {
            Self::Typed(params) => params.all(field.path).any(|chosen| chosen == item),
            Self::Policy(policy) => {
                let items = at(policy, field.path).as_array().map(Vec::as_slice);
                items.unwrap_or_default().iter().any(|chosen| chosen == item)
            }
        }
    }
}

/// Every field, filled in, with what is wrong with it.
pub(super) fn sections(source: Source<'_>, roles: &[&str], faults: &[FieldError]) -> Vec<Section> {
    let section = |group: &'static Group| Section {
        title: group.title,
        lead: group.lead,
        fields: group.fields.iter().map(|field| drawn(field, source, roles, faults)).collect(),
    };
    GROUPS.iter().map(section).collect()
}

fn drawn(field: &Field, source: Source<'_>, roles: &[&str], faults: &[FieldError]) -> Drawn {
    let pairs = |all: Vec<(&str, String)>| -> Vec<(String, String, bool)> {
        let text = source.text(field);
        let chosen = |value: &str| match field.kind {
            Kind::Methods | Kind::Roles => source.holds(field, value),
            _ => text == value,
        };
        all.into_iter().map(|(value, words)| (value.to_owned(), words, chosen(value))).collect()
    };
    let owned = |list: &[(&'static str, &'static str)]| -> Vec<(&str, String)> {
        list.iter().map(|(value, words)| (*value, (*words).to_owned())).collect()
    };
    let control = match field.kind {
        Kind::Count(_) => Control::Input { value: source.text(field), inputmode: "numeric" },
        Kind::Duration | Kind::Text => Control::Input { value: source.text(field), inputmode: "" },
        Kind::Flag([yes, no]) => Control::Select(pairs(owned(&[("true", yes), ("false", no)]))),
        Kind::Choice(known) => Control::Select(pairs(owned(known))),
        Kind::Methods => Control::Checks(pairs(owned(&METHODS))),
        Kind::Roles => {
            Control::Checks(pairs(roles.iter().map(|role| (*role, kit::words(role))).collect()))
        }
        Kind::Lines => Control::Lines(source.text(field)),
    };
    let error = faults.iter().find(|fault| fault.field == field.path);
    Drawn {
        path: field.path,
        label: field.label,
        hint: hint(field),
        error: error.map(|fault| fault.message.clone()),
        control,
    }
}

/// The sentence, the bounds, and what nothing means.
fn hint(field: &Field) -> String {
    let mut parts = Vec::new();
    if !field.hint.is_empty() {
        parts.push(field.hint.to_owned());
    }
    let rule = field.rule();
    if let Some(PolicyRule::Whole(least, most) | PolicyRule::MaybeWhole(least, most)) = rule {
        parts.push(match field.kind {
            Kind::Duration => {
                format!("{} to {}.", duration::words(least), duration::words(most))
            }
            Kind::Count("minor units") => String::new(),
            Kind::Count(unit) => {
                let most = field.words(&Value::from(most));
                format!("{least} to {}.", most.strip_suffix(unit).unwrap_or(&most).trim_end())
            }
            _ => String::new(),
        });
    }
    if !field.none.is_empty() && !field.path.starts_with("password.hashing.") {
        parts.push(match field.kind {
            Kind::Roles => format!("None ticked: {}.", lower(field.none)),
            _ => format!("Empty: {}.", lower(field.none)),
        });
    }
    parts.retain(|part| !part.is_empty());
    parts.join(" ")
}

/// As it stands within a sentence.
fn lower(words: &str) -> String {
    let mut letters = words.chars();
    letters.next().map_or_else(String::new, |first| first.to_lowercase().chain(letters).collect())
}

/// What a form makes of the policy it was drawn from.
pub(super) fn policy_of(form: &Params, base: &Value, roles: &[&str]) -> Value {
    let mut policy = base.clone();
    for field in fields::all() {
        let value = value_of(field, form, at(base, field.path), roles);
        put(&mut policy, field.path, value);
    }
    // The costs of one scheme are no costs of another.
    if at(&policy, "password.hashing.scheme") != "argon2id" {
        for path in ["memory_kib", "iterations", "lanes"] {
            put(&mut policy, &format!("password.hashing.{path}"), Value::Null);
        }
    }
    policy
}

fn value_of(field: &Field, form: &Params, before: &Value, roles: &[&str]) -> Value {
    let text = form.text(field.path);
    let or_text = |value: Option<Value>| match (value, text) {
        (Some(value), _) => value,
        (None, "") => Value::Null,
        (None, text) => Value::from(text),
    };
    match field.kind {
        Kind::Count(_) => or_text(text.parse::<i64>().ok().map(Value::from)),
        Kind::Duration => or_text(duration::seconds(text).map(Value::from)),
        Kind::Flag(_) => or_text(text.parse::<bool>().ok().map(Value::from)),
        Kind::Choice(_) | Kind::Text => or_text(None),
        Kind::Lines => {
            let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
            lines.map(Value::from).collect()
        }
        Kind::Methods => kept_in_order(form, field, before, &METHODS.map(|(name, _)| name)),
        Kind::Roles => kept_in_order(form, field, before, roles),
    }
}

/// What is ticked: what was there before in the order it had, then what is new. Ticking
/// the same boxes changes nothing.
fn kept_in_order(form: &Params, field: &Field, before: &Value, known: &[&str]) -> Value {
    let ticked: Vec<&str> = form.all(field.path).collect();
    let before: Vec<&str> =
        before.as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let kept = before.iter().filter(|item| ticked.contains(item));
    let is_new = |item: &&&str| !before.contains(item) && ticked.contains(item);
    let unknown = ticked.iter().filter(|item| !known.contains(item) && !before.contains(item));
    kept.chain(known.iter().filter(is_new)).chain(unknown).map(|item| Value::from(*item)).collect()
}

fn put(policy: &mut Value, path: &str, value: Value) {
    let mut place = policy;
    for name in path.split('.') {
        if !place.is_object() {
            *place = Value::Object(Map::new());
        }
        place = &mut place[name];
    }
    *place = value;
}

/// A refusal's faults under the fields of the form, in words that say what to write.
pub(super) fn told(refusal: &Refusal) -> Refusal {
    let errors = refusal.errors.iter().map(|error| {
        let path = error.field.strip_prefix("patch.").unwrap_or(&error.field);
        let path = if path == "password.hashing" { "password.hashing.scheme" } else { path };
        let message = match fields::find(path) {
            Some(field) => message(field, &error.code, &error.message),
            None => error.message.clone(),
        };
        FieldError { field: path.to_owned().into(), code: error.code.clone(), message }
    });
    Refusal { errors: errors.collect(), ..refusal.clone() }
}

fn message(field: &Field, code: &str, said: &str) -> String {
    let label = field.label;
    if code == "missing_field" {
        return format!("{label}: this cannot be empty.");
    }
    if code == "out_of_order" {
        let other = said.rsplit(' ').next().and_then(fields::find);
        let other = other.map_or("the other one", |field| field.label);
        return format!("{label}: this must not be more than “{other}”.");
    }
    let or_empty = if field.none.is_empty() { "" } else { ", or leave it empty" };
    match (field.rule(), field.kind) {
        (
            Some(PolicyRule::Whole(least, most) | PolicyRule::MaybeWhole(least, most)),
            Kind::Duration,
        ) => format!(
            "{label}: write a time between {} and {}, like 30 min, 12 h or 7 days{or_empty}.",
            duration::words(least),
            duration::words(most)
        ),
        (Some(PolicyRule::Whole(least, most) | PolicyRule::MaybeWhole(least, most)), _) => {
            format!("{label}: write a whole number, {least} to {most}{or_empty}.")
        }
        (Some(PolicyRule::MaybeText(most)), _) => {
            format!("{label}: write 1 to {most} characters{or_empty}.")
        }
        (Some(PolicyRule::Texts(most)), _) => {
            format!("{label}: write at most {most} lines, each once.")
        }
        (Some(PolicyRule::Names(_)), _) => format!("{label}: choose one at least."),
        (None, _) => "Argon2id takes 7168 to 131072 KiB, 1 to 10 passes and 1 to 4 lanes; memory \
                      times passes is at least 35840."
            .to_owned(),
        _ => format!("{label}: choose one of those offered."),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use serde_json::{Value, json};
    use tenancy::{Blueprint, policy::SecurityPolicy};

    use super::{Control, Source, policy_of, sections};
    use crate::params::Params;

    fn written(blueprint: Blueprint) -> Value {
        serde_json::to_value(SecurityPolicy::of(blueprint)).unwrap()
    }

    /// What a browser sends of a form as it was drawn.
    fn sent(policy: &Value, roles: &[&str], changed: &[(&str, &str)]) -> Params {
        let mut form = form_urlencoded::Serializer::new(String::new());
        for field in sections(Source::Policy(policy), roles, &[]).iter().flat_map(|all| &all.fields)
        {
            if let Some((_, value)) = changed.iter().find(|(path, _)| *path == field.path) {
                form.append_pair(field.path, value);
                continue;
            }
            match &field.control {
                Control::Input { value, .. } | Control::Lines(value) => {
                    form.append_pair(field.path, value);
                }
                Control::Select(options) | Control::Checks(options) => {
                    for (value, _, _) in options.iter().filter(|(.., chosen)| *chosen) {
                        form.append_pair(field.path, value);
                    }
                }
            }
        }
        Params::parse(form.finish().as_bytes()).unwrap()
    }

    #[test]
    fn a_form_sent_as_it_was_drawn_changes_nothing() {
        for blueprint in Blueprint::ALL {
            let policy = written(blueprint);
            let roles = blueprint.roles();
            let back = policy_of(&sent(&policy, roles, &[]), &policy, roles);
            let read: SecurityPolicy = serde_json::from_value(back).unwrap();
            assert_eq!(read, SecurityPolicy::of(blueprint), "{blueprint}");
        }
    }

    #[test]
    fn what_was_typed_is_what_is_asked_for() {
        let policy = written(Blueprint::DigitalBank);
        // Field, text, where it lands, value.
        let table = [
            ("session.idle_timeout_s", "1 h 30 min", "/session/idle_timeout_s", json!(5_400)),
            ("session.idle_timeout_s", "30", "/session/idle_timeout_s", json!("30")),
            ("session.idle_timeout_s", "", "/session/idle_timeout_s", json!(null)),
            ("password.minimum_length", " 15 ", "/password/minimum_length", json!(15)),
            ("password.minimum_length", "many", "/password/minimum_length", json!("many")),
            ("password.minimum_length", "1.5", "/password/minimum_length", json!("1.5")),
            ("account_lock.window_s", "15 min", "/account_lock/window_s", json!(900)),
            ("password.all_four_classes", "false", "/password/all_four_classes", json!(false)),
            (
                "password.all_four_classes",
                "perhaps",
                "/password/all_four_classes",
                json!("perhaps"),
            ),
            ("token.algorithm", "none", "/token/algorithm", json!("none")),
            ("token.issuer", "", "/token/issuer", json!(null)),
            ("token.audience", "one\r\n\r\n two \n", "/token/audience", json!(["one", "two"])),
            ("mfa.methods", "passkey", "/mfa/methods", json!(["passkey"])),
            ("mfa.methods", "pigeon", "/mfa/methods", json!(["pigeon"])),
        ];
        for (path, text, pointer, expected) in table {
            let form = sent(&policy, &["admin"], &[(path, text)]);
            let asked = policy_of(&form, &policy, &["admin"]);
            assert_eq!(asked.pointer(pointer).unwrap(), &expected, "{path} {text:?}");
        }
    }

    #[test]
    fn costs_go_with_their_scheme() {
        let policy = written(Blueprint::CoreBank);
        let argon =
            [("password.hashing.scheme", "argon2id"), ("password.hashing.memory_kib", "47104")];
        let asked = policy_of(&sent(&policy, &[], &argon), &policy, &[]);
        assert_eq!(asked["password"]["hashing"]["memory_kib"], 47_104);
        let back =
            policy_of(&sent(&asked, &[], &[("password.hashing.scheme", "bcrypt")]), &asked, &[]);
        assert_eq!(back["password"]["hashing"]["memory_kib"], json!(null));
    }

    #[test]
    fn a_base_that_somebody_made_up_is_no_trouble() {
        for base in [json!(null), json!([]), json!("x"), json!({ "session": 5 })] {
            let asked = policy_of(&Params::default(), &base, &["admin"]);
            assert!(asked["session"].is_object());
        }
    }
}
