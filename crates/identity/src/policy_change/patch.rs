//! A policy and its changes as JSON: a merge patch applied, the fields that differ, and the
//! patch that makes one policy of another.
//!
//! No I/O. Refuses to know what is acceptable.

use serde_json::{Map, Value};

use super::{PolicyDifference, rules::below};

/// A JSON merge patch (RFC 7396) applied.
pub fn merged(mut base: Value, patch: &Value) -> Value {
    let Value::Object(changes) = patch else { return patch.clone() };
    if !base.is_object() {
        base = Value::Object(Map::new());
    }
    if let Value::Object(members) = &mut base {
        for (name, change) in changes {
            if change.is_null() {
                members.remove(name);
            } else {
                let before = members.remove(name).unwrap_or_default();
                members.insert(name.clone(), merged(before, change));
            }
        }
    }
    base
}

/// Every field that differs: path, before, after. A list is one field.
pub(super) fn differences(before: &Value, after: &Value) -> Vec<(String, Value, Value)> {
    let mut found = Vec::new();
    differ("", before, after, &mut found);
    found
}

fn differ(path: &str, before: &Value, after: &Value, found: &mut Vec<(String, Value, Value)>) {
    let (Value::Object(old), Value::Object(new)) = (before, after) else {
        if before != after {
            found.push((path.to_owned(), before.clone(), after.clone()));
        }
        return;
    };
    let added = new.keys().filter(|name| !old.contains_key(*name));
    for name in old.keys().chain(added) {
        let side = |members: &Map<String, Value>| members.get(name).cloned().unwrap_or_default();
        differ(&below(path, name), &side(old), &side(new), found);
    }
}

/// The merge patch that makes `after` of `before`: what it does not name stays.
pub fn patch_between(before: &Value, after: &Value) -> Value {
    let (Value::Object(old), Value::Object(new)) = (before, after) else { return after.clone() };
    let mut patch = Map::new();
    for name in old.keys().filter(|name| !new.contains_key(*name)) {
        patch.insert(name.clone(), Value::Null);
    }
    for (name, value) in new {
        let known = old.get(name).unwrap_or(&Value::Null);
        let change = patch_between(known, value);
        // An object that comes to nothing is no change, and neither is nothing for nothing.
        let is_same = known == value || (known.is_object() && change == Value::Object(Map::new()));
        if !is_same {
            patch.insert(name.clone(), change);
        }
    }
    Value::Object(patch)
}

/// The merge patch that asks for the same differences again.
pub(super) fn patch_of(differences: &[PolicyDifference]) -> Value {
    let mut patch = Value::Object(Map::new());
    for difference in differences {
        let mut place = &mut patch;
        for name in difference.path.split('.') {
            if !place.is_object() {
                *place = Value::Object(Map::new());
            }
            place = &mut place[name];
        }
        *place = difference.new.clone();
    }
    patch
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use serde_json::{Value, json};
    use tenancy::{Blueprint, policy::SecurityPolicy};

    use super::{PolicyDifference, differences, merged, patch_between, patch_of};

    /// Every policy that a blueprint starts from becomes every other, by its patch and by the
    /// list of its differences alike.
    #[test]
    fn a_patch_between_two_policies_makes_one_of_the_other() {
        let written =
            |blueprint| -> Value { serde_json::to_value(SecurityPolicy::of(blueprint)).unwrap() };
        // An absent field and one that is null are one policy.
        let read = |policy: Value| serde_json::from_value::<SecurityPolicy>(policy).unwrap();
        let mut all: Vec<Value> = Blueprint::ALL.into_iter().map(written).collect();
        let mut argon = all[0].clone();
        argon["password"]["hashing"] =
            json!({ "scheme": "argon2id", "memory_kib": 47_104, "iterations": 1, "lanes": 1 });
        all.push(argon);
        for before in &all {
            for after in &all {
                let wanted = read(after.clone());
                let patch = patch_between(before, after);
                assert_eq!(read(merged(before.clone(), &patch)), wanted);
                let listed: Vec<_> = differences(before, after)
                    .into_iter()
                    .map(|(path, old, new)| PolicyDifference { path, old, new })
                    .collect();
                assert_eq!(listed.is_empty(), before == after);
                assert_eq!(read(merged(before.clone(), &patch_of(&listed))), wanted);
            }
        }
    }

    /// The examples of RFC 7396, appendix A, that objects can come to.
    #[test]
    fn patches_merge_as_the_rfc_says() {
        let table = [
            (json!({"a":"b"}), json!({"a":"c"}), json!({"a":"c"})),
            (json!({"a":"b"}), json!({"b":"c"}), json!({"a":"b","b":"c"})),
            (json!({"a":"b"}), json!({"a":null}), json!({})),
            (json!({"a":"b","b":"c"}), json!({"a":null}), json!({"b":"c"})),
            (json!({"a":["b"]}), json!({"a":"c"}), json!({"a":"c"})),
            (json!({"a":"c"}), json!({"a":["b"]}), json!({"a":["b"]})),
            (json!({"a":{"b":"c"}}), json!({"a":{"b":"d","c":null}}), json!({"a":{"b":"d"}})),
            (json!({"a":[{"b":"c"}]}), json!({"a":[1]}), json!({"a":[1]})),
            (json!(["a", "b"]), json!(["c", "d"]), json!(["c", "d"])),
            (json!({"a":"b"}), json!(["c"]), json!(["c"])),
            (json!({"a":"foo"}), json!(null), json!(null)),
            (json!({"e":null}), json!({"a":1}), json!({"e":null,"a":1})),
            (json!([1, 2]), json!({"a":"b","c":null}), json!({"a":"b"})),
            (json!({}), json!({"a":{"bb":{"ccc":null}}}), json!({"a":{"bb":{}}})),
        ];
        for (base, patch, expected) in table {
            assert_eq!(merged(base.clone(), &patch), expected, "{base} {patch}");
        }
    }
}
