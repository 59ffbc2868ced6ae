//! Owns reading a request's JSON strictly: bounded in size and depth, unknown and
//! repeated fields refused, and the field at fault always named.
//!
//! Refuses to know what the fields mean. Everything found here is 400: shape comes
//! before permission, rules come after it.

use std::time::Duration;

use axum::{
    body::Body,
    extract::{FromRequest, Request},
};
use bytes::Bytes;
use http::{HeaderMap, StatusCode, header};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use serde::{Deserialize, de::DeserializeOwned};

use crate::{
    MAXIMUM_BODY_BYTES, nul,
    problem::{Problem, body_too_large},
};

/// A body has so long to arrive: far less than a request has to be answered, so that a slow
/// sender is told that it was them, and no stranger makes us answer 503.
const BODY_TIME: Duration = Duration::from_secs(10);
/// Objects and arrays inside one another.
const MAXIMUM_DEPTH: usize = 64;

/// A request's body.
pub(crate) struct Json<T>(pub(crate) T);

impl<T: DeserializeOwned, S: Sync> FromRequest<S> for Json<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        require_json(request.headers())?;
        let bytes = read(request, MAXIMUM_BODY_BYTES).await?;
        parse(&bytes).map(Self)
    }
}

/// A request's body, as JSON or as a form (RFC 7662 section 2.1 has clients send one).
pub(crate) struct JsonOrForm<T>(pub(crate) T);

impl<T: DeserializeOwned, S: Sync> FromRequest<S> for JsonOrForm<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        if !is_form(request.headers()) {
            require_json(request.headers())?;
            let bytes = read(request, MAXIMUM_BODY_BYTES).await?;
            return parse(&bytes).map(Self);
        }
        require_plain(request.headers())?;
        let bytes = read(request, MAXIMUM_BODY_BYTES).await?;
        parse(&form_as_json(&bytes)).map(Self)
    }
}

fn is_form(headers: &HeaderMap) -> bool {
    let value = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let kind = value.unwrap_or_default().split(';').next().unwrap_or_default();
    kind.trim().eq_ignore_ascii_case("application/x-www-form-urlencoded")
}

/// A form's fields as the object that JSON would have carried, a field given twice
/// included: one parser decides what is acceptable.
fn form_as_json(bytes: &[u8]) -> Vec<u8> {
    let text = |text: &str| serde_json::Value::from(text).to_string();
    let members: Vec<String> = form_urlencoded::parse(bytes)
        .map(|(name, value)| format!("{}:{}", text(&name), text(&value)))
        .collect();
    format!("{{{}}}", members.join(",")).into_bytes()
}

/// A body that may be left out altogether, which is `T::default()`.
pub(crate) struct OptionalJson<T>(pub(crate) T);

impl<T: DeserializeOwned + Default, S: Sync> FromRequest<S> for OptionalJson<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        let headers = request.headers().clone();
        let bytes = read(request, MAXIMUM_BODY_BYTES).await?;
        if bytes.is_empty() {
            return Ok(Self(T::default()));
        }
        require_json(&headers)?;
        parse(&bytes).map(Self)
    }
}

/// A JSON document as it came, for handlers that read its parts one by one; of at most
/// `LIMIT` bytes.
pub(crate) struct Document<const LIMIT: usize>(pub(crate) Bytes);

impl<const LIMIT: usize, S: Sync> FromRequest<S> for Document<LIMIT> {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        require_json(request.headers())?;
        read(request, LIMIT).await.map(Self)
    }
}

/// `application/json`, with UTF-8 as the only charset (RFC 8259 section 8.1).
fn require_json(headers: &HeaderMap) -> Result<(), Problem> {
    require_plain(headers)?;
    let value = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let mut parts = value.unwrap_or_default().split(';').map(str::trim);
    let is_json = parts.next().is_some_and(|kind| kind.eq_ignore_ascii_case("application/json"));
    let is_utf8 = parts.all(|parameter| {
        parameter.is_empty() || parameter.replace('"', "").eq_ignore_ascii_case("charset=utf-8")
    });
    if is_json && is_utf8 {
        return Ok(());
    }
    let detail = "The body has to be sent as Content-Type: application/json";
    Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type", detail))
}

/// Nothing is decompressed: a small body must not become a large one.
fn require_plain(headers: &HeaderMap) -> Result<(), Problem> {
    let plain = headers.get_all(header::CONTENT_ENCODING).iter().all(|line| {
        let mut codings = line.to_str().unwrap_or("?").split(',').map(str::trim);
        codings.all(|coding| coding.is_empty() || coding.eq_ignore_ascii_case("identity"))
    });
    if plain { Ok(()) } else { Err(Problem::encoded_body()) }
}

/// The bytes of a body, and the request with its body still to be read: for who has to look at
/// what came before anybody takes it for JSON.
pub(crate) async fn peeked(request: Request, limit: usize) -> Result<(Request, Bytes), Problem> {
    let (parts, body) = request.into_parts();
    let bytes = read(Request::from_parts(parts.clone(), body), limit).await?;
    Ok((Request::from_parts(parts, Body::from(bytes.clone())), bytes))
}

async fn read(request: Request, limit: usize) -> Result<Bytes, Problem> {
    let announced = request.headers().get(header::CONTENT_LENGTH);
    let announced = announced.and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    if announced.is_some_and(|length| length > limit as u64) {
        return Err(body_too_large(limit));
    }
    let collected = Limited::new(request.into_body(), limit).collect();
    match tokio::time::timeout(BODY_TIME, collected).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(body_too_large(limit)),
        Ok(Err(_)) => Err(Problem::malformed("malformed_request", "The body ended early")),
        Err(_) => {
            const { assert!(BODY_TIME.as_secs() == 10, "the sentence names the time") };
            let detail = "The body did not come within 10 seconds";
            Err(Problem::new(StatusCode::REQUEST_TIMEOUT, "request_timeout", detail))
        }
    }
}

/// Parses `T`, which refuses unknown fields itself.
pub(crate) fn parse<'de, T: Deserialize<'de>>(bytes: &'de [u8]) -> Result<T, Problem> {
    nul::in_json(bytes)?;
    parse_outline(bytes)
}

/// Parses a `T` that leaves its parts unread: each is to be put through [`parse`], and
/// its texts with it.
pub(crate) fn parse_outline<'de, T: Deserialize<'de>>(bytes: &'de [u8]) -> Result<T, Problem> {
    if depth(bytes) > MAXIMUM_DEPTH {
        let detail = format!("The body is nested deeper than {MAXIMUM_DEPTH} levels");
        return Err(Problem::malformed("malformed_json", detail));
    }
    // serde would read a struct from a list of its values as well.
    if bytes.trim_ascii_start().first() == Some(&b'[') {
        return Err(Problem::malformed_field("body", "invalid_value", "Expected an object"));
    }
    // Keeping track of the path costs more than the parsing: only what failed is read again.
    serde_json::from_slice(bytes).or_else(|_| parse_slowly(bytes))
}

fn parse_slowly<'de, T: Deserialize<'de>>(bytes: &'de [u8]) -> Result<T, Problem> {
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let value = serde_path_to_error::deserialize(&mut reader).map_err(|error| {
        let path = error.path().to_string();
        fault(&path, error.inner())
    })?;
    reader.end().map_err(|error| fault(".", &error))?;
    Ok(value)
}

/// The deepest nesting, without recursion; strings are skipped.
fn depth(bytes: &[u8]) -> usize {
    let (mut deepest, mut open, mut in_string, mut escaped) = (0_usize, 0_usize, false, false);
    for byte in bytes {
        match (in_string, byte) {
            (true, _) if escaped => escaped = false,
            (true, b'\\') => escaped = true,
            (_, b'"') => in_string = !in_string,
            (false, b'{' | b'[') => open += 1,
            (false, b'}' | b']') => open = open.saturating_sub(1),
            _ => {}
        }
        deepest = deepest.max(open);
    }
    deepest
}

/// What serde found wrong at a path, in our words.
pub(crate) fn fault(path: &str, error: &serde_json::Error) -> Problem {
    let message = error.to_string();
    let number = message.starts_with("number out of range");
    if !(error.is_data() || number && path != ".") {
        return Problem::malformed("malformed_json", "The body is not valid JSON");
    }
    // serde's words name the field between backquotes; its values are the caller's own.
    let named = message.split('`').nth(1).unwrap_or_default();
    let beside = |name: &str| match path.rsplit_once('.') {
        _ if path == "." || path == name => name.to_owned(),
        Some((parent, last)) if last == name => format!("{parent}.{name}"),
        _ => format!("{path}.{name}"),
    };
    if message.starts_with("unknown field") {
        return Problem::malformed_field(
            beside(named),
            "unknown_field",
            "This field is not known here",
        );
    }
    if message.starts_with("missing field") {
        return Problem::malformed_field(beside(named), "missing_field", "This field is required");
    }
    if message.starts_with("duplicate field") {
        return Problem::malformed_field(
            beside(named),
            "duplicate_field",
            "This field is given twice",
        );
    }
    let message = match message.split_once(" expected ") {
        Some((_, wanted)) => format!("Expected {}", before_position(wanted)),
        None => "The value is not acceptable".to_owned(),
    };
    let field = if path == "." { "body" } else { path };
    Problem::malformed_field(field, "invalid_value", message)
}

/// Cuts serde's " at line 1 column 2" and puts its type names into words.
fn before_position(wanted: &str) -> String {
    let wanted = wanted.split(" at line ").next().unwrap_or_default();
    match wanted {
        "i64" | "u64" | "i32" | "u32" | "i16" | "u16" => "an integer within its range".to_owned(),
        _ if wanted.starts_with("struct ") => "an object".to_owned(),
        other => other.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]

    use serde::Deserialize;

    use super::{depth, parse};

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "only its parsing is looked at")]
    struct Transfer {
        amount: i64,
        #[serde(default)]
        note: Option<String>,
        #[serde(default)]
        inner: Option<Inner>,
    }

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "only its parsing is looked at")]
    struct Inner {
        count: u32,
    }

    #[test]
    fn every_fault_names_its_field() {
        // body, code of the problem, field, code of the field
        let table = [
            (r#"{"amount":1.5}"#, "amount", "invalid_value"),
            (r#"{"amount":1e3}"#, "amount", "invalid_value"),
            (r#"{"amount":1e999}"#, "amount", "invalid_value"),
            (r#"{"amount":"5"}"#, "amount", "invalid_value"),
            (r#"{"amount":9223372036854775808}"#, "amount", "invalid_value"),
            (r#"{"amount":99999999999999999999999999}"#, "amount", "invalid_value"),
            (r#"{"amount":null}"#, "amount", "invalid_value"),
            (r#"{"amount":true}"#, "amount", "invalid_value"),
            (r#"{"amount":1,"extra":2}"#, "extra", "unknown_field"),
            (r#"{"amount":1,"amount":2}"#, "amount", "duplicate_field"),
            (r"{}", "amount", "missing_field"),
            (r#"{"amount":1,"inner":{}}"#, "inner.count", "missing_field"),
            (r#"{"amount":1,"inner":{"count":1,"x":1}}"#, "inner.x", "unknown_field"),
            (r#"{"amount":1,"inner":{"count":-1}}"#, "inner.count", "invalid_value"),
            (r"[]", "body", "invalid_value"),
        ];
        for (body, field, code) in table {
            let problem = parse::<Transfer>(body.as_bytes()).unwrap_err();
            assert_eq!(problem.status.as_u16(), 400, "{body}");
            let Some(error) = problem.errors.first() else {
                panic!("{body}: no field in {problem:?}")
            };
            assert_eq!((error.field.as_ref(), error.code.as_ref()), (field, code), "{body}");
        }
    }

    #[test]
    fn what_is_not_json_is_malformed() {
        let deep = [vec![b'['; 10_000], vec![b']'; 10_000]].concat();
        let bodies: [&[u8]; 7] =
            [b"", b"{", b"{\"amount\":1}x", b"{\"amount\":01}", b"\xff", &deep, b"{'amount':1}"];
        for body in bodies {
            let problem = parse::<Transfer>(body).unwrap_err();
            assert_eq!((problem.status.as_u16(), problem.code.as_ref()), (400, "malformed_json"));
        }
    }

    #[test]
    fn a_form_is_read_as_strictly_as_json() {
        let parsed = |form: &[u8]| parse::<Note>(&super::form_as_json(form));
        assert_eq!(parsed(b"note=a%22b%5C+c").unwrap().note, "a\"b\\ c");
        for (form, code) in [
            (&b"note=a&note=b"[..], "duplicate_field"),
            (b"note=a&other=b", "unknown_field"),
            (b"", "missing_field"),
            (b"note=%00", "invalid_value"),
        ] {
            let problem = parsed(form).unwrap_err();
            let error = problem.errors.first().map(|error| error.code.as_ref());
            assert_eq!(error.unwrap_or_default(), code, "{problem:?}");
        }
    }

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Note {
        note: String,
    }

    #[test]
    fn depth_ignores_what_stands_in_strings() {
        assert_eq!(depth(br#"{"a":"[[[{\"[["}"#), 1);
        assert_eq!(depth(br#"[[{"a":[]}]]"#), 4);
        assert!(parse::<Transfer>(br#"{"amount":1,"note":"[[[["}"#).is_ok());
    }
}
