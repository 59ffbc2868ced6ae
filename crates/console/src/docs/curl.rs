//! Owns the request of an operation as a shell sends it: its own example, to be pasted.
//! What differs from one bank to the next is a variable: `$TOKEN`, `$ID`.

use std::fmt::Write as _;

use super::document::{Access, Operation, Parameter};

/// The request against a server such as `https://bank.example`.
pub(super) fn curl(operation: &Operation, public_url: &str) -> String {
    let mut text = String::from("curl -sS");
    if operation.method != "GET" {
        // Writing to a String cannot fail, here and below.
        let _ = write!(text, " -X {}", operation.method);
    }
    let _ =
        write!(text, " \"{public_url}{}{}\"", with_variables(&operation.path), query(operation));
    if !matches!(operation.access, Access::Public(_)) {
        line(&mut text, "-H \"Authorization: Bearer $TOKEN\"");
    }
    if operation.key() == Some(true) {
        line(&mut text, "-H \"Idempotency-Key: $(uuidgen)\"");
    }
    if operation.needs_version() {
        line(&mut text, "-H 'If-Match: \"1\"'");
    }
    if let Some(body) = &operation.body {
        line(&mut text, &format!("-H 'Content-Type: {}'", body.media_type));
        if let Some(example) = &body.example {
            let json = serde_json::to_string_pretty(example).unwrap_or_default();
            line(&mut text, &format!("-d '{}'", json.replace('\'', "'\\''")));
        }
    }
    text
}

fn line(text: &mut String, argument: &str) {
    let _ = write!(text, " \\\n  {argument}");
}

/// `{id}` becomes `$ID`.
fn with_variables(path: &str) -> String {
    let parts = path.split('/').map(|part| {
        let name = part.strip_prefix('{').and_then(|part| part.strip_suffix('}'));
        name.map_or_else(|| part.to_owned(), variable)
    });
    parts.collect::<Vec<_>>().join("/")
}

fn variable(name: &str) -> String {
    format!("${}", name.to_uppercase().replace('-', "_"))
}

/// What the query has to say.
fn query(operation: &Operation) -> String {
    let needed = |parameter: &&Parameter| parameter.place == "query" && parameter.is_required;
    let pairs: Vec<_> = operation
        .parameters
        .iter()
        .filter(needed)
        .map(|parameter| format!("{}={}", parameter.name, variable(&parameter.name)))
        .collect();
    if pairs.is_empty() { String::new() } else { format!("?{}", pairs.join("&")) }
}
