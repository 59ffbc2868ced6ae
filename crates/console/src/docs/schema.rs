//! Owns the reading of JSON schemas into rows: a row for each field, objects within
//! objects indented. Refuses what the document does not use (discriminators and such).

use serde_json::Value;

use super::document::{list, members, text};

/// Deepest nesting shown; a schema that contains itself ends there at the latest.
const DEPTH_MAX: usize = 6;

/// A field of a body or an answer.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Field {
    /// With its parents': `parties[].user_id`.
    pub(super) path: String,
    /// Of the row, 0 outermost.
    pub(super) depth: usize,
    pub(super) kind: String,
    pub(super) is_required: bool,
    pub(super) limits: Vec<String>,
    pub(super) description: String,
}

/// Follows references until there is none.
pub(super) fn resolved<'a>(document: &'a Value, value: &'a Value) -> &'a Value {
    let mut found = value;
    for _ in 0..DEPTH_MAX {
        let Some(pointer) = found["$ref"].as_str().and_then(|text| text.strip_prefix('#')) else {
            break;
        };
        found = document.pointer(pointer).unwrap_or(&Value::Null);
    }
    found
}

/// The rows of a schema.
pub(super) fn fields(document: &Value, schema: &Value) -> Vec<Field> {
    let mut rows = Vec::new();
    collect(document, schema, "", 0, &mut rows);
    rows
}

fn collect(document: &Value, schema: &Value, prefix: &str, depth: usize, rows: &mut Vec<Field>) {
    if depth > DEPTH_MAX {
        return;
    }
    let schema = object(document, schema);
    let required: Vec<&str> = list(&schema["required"]).filter_map(Value::as_str).collect();
    let mut properties: Vec<_> = members(&schema["properties"]).collect();
    // What has to be there first, in the order in which the type says it.
    properties.sort_by_key(|(name, _)| {
        required.iter().position(|known| known == name).unwrap_or(usize::MAX)
    });
    for (name, property) in properties {
        let (value, suffix) = element(document, property);
        let path = format!("{prefix}{name}{suffix}");
        let described = [&property["description"], &value["description"]];
        let description = described.into_iter().find(|text| text.is_string());
        rows.push(Field {
            path: path.clone(),
            depth,
            kind: whole_kind(document, property),
            is_required: required.contains(&name),
            limits: limits(object(document, property)),
            description: description.map(text).unwrap_or_default(),
        });
        collect(document, value, &format!("{path}."), depth + 1, rows);
    }
}

/// The schema itself, or the one of several that is not `null`.
fn object<'a>(document: &'a Value, schema: &'a Value) -> &'a Value {
    let schema = resolved(document, schema);
    let choices = ["oneOf", "anyOf", "allOf"].into_iter().flat_map(|name| list(&schema[name]));
    let mut useful = choices.filter(|choice| choice["type"] != "null");
    useful.next().map_or(schema, |choice| resolved(document, choice))
}

/// What an array holds, or the schema itself; with the mark that its path gets.
fn element<'a>(document: &'a Value, schema: &'a Value) -> (&'a Value, &'static str) {
    let schema = object(document, schema);
    match schema.get("items") {
        Some(items) => (object(document, items), "[]"),
        None => (schema, ""),
    }
}

fn whole_kind(document: &Value, property: &Value) -> String {
    let found = resolved(document, property);
    let is_choice = found.get("oneOf").or_else(|| found.get("anyOf")).is_some();
    let can_be_null = is_choice
        && ["oneOf", "anyOf"]
            .into_iter()
            .flat_map(|name| list(&found[name]))
            .any(|choice| choice["type"] == "null");
    let schema = object(document, property);
    let kind = match schema.get("items") {
        Some(items) => format!("array of {}", kind(object(document, items))),
        None => kind(schema),
    };
    if can_be_null { format!("{kind} or null") } else { kind }
}

/// The type in words: `string, uuid or null`.
pub(super) fn kind(schema: &Value) -> String {
    let types: Vec<String> = match &schema["type"] {
        Value::String(name) => vec![name.clone()],
        Value::Array(names) => names.iter().map(text).collect(),
        _ if schema.get("properties").is_some() => vec!["object".to_owned()],
        _ => vec!["any".to_owned()],
    };
    let mut named: Vec<String> = types.iter().filter(|name| *name != "null").cloned().collect();
    // The width says nothing that the limits do not.
    if let Some(format) = schema["format"].as_str().filter(|format| !format.starts_with("int")) {
        named = vec![format!("{}, {format}", named.join(" or "))];
    }
    if types.iter().any(|name| name == "null") {
        named.push("null".to_owned());
    }
    named.join(" or ")
}

/// The limits in words.
pub(super) fn limits(schema: &Value) -> Vec<String> {
    let known = [
        ("minimum", "at least"),
        ("maximum", "at most"),
        ("minLength", "characters, at least"),
        ("maxLength", "characters, at most"),
        ("minItems", "items, at least"),
        ("maxItems", "items, at most"),
        ("pattern", "pattern"),
        ("default", "default"),
    ];
    let mut all: Vec<String> = known
        .iter()
        .filter_map(|(name, words)| {
            let value = schema.get(name)?;
            Some(match value {
                Value::String(text) => format!("{words} `{text}`"),
                other => format!("{words} `{other}`"),
            })
        })
        .collect();
    let values: Vec<String> =
        list(&schema["enum"]).filter_map(Value::as_str).map(|text| format!("`{text}`")).collect();
    if !values.is_empty() {
        all.push(format!("one of {}", values.join(", ")));
    }
    all
}
