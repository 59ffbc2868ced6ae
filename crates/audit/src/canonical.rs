//! Owns canonical JSON (RFC 8785) for values made of objects, arrays, strings,
//! booleans, nulls and integers up to 2^53 − 1.
//!
//! Refuses to know: what the values mean. Fractions are refused instead of
//! being formatted: money and rates are integers and decimal strings here.

use serde_json::Value;
use uuid::Uuid;

/// Largest integer that every JSON reader holds exactly (RFC 7493).
const INTEGER_MAX: u64 = (1 << 53) - 1;

/// A value that has no canonical form here.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CanonicalError {
    /// A number with a fraction or an exponent.
    #[error("the number {0} is not an integer")]
    NotAnInteger(String),
    /// An integer beyond ±(2^53 − 1).
    #[error("the integer {0} is beyond 2^53 - 1")]
    TooLarge(String),
}

/// The canonical bytes of a value. U+0000 in strings becomes U+FFFD, because
/// the database holds no such character in `jsonb`.
pub fn to_vec(value: &Value) -> Result<Vec<u8>, CanonicalError> {
    let mut out = Vec::with_capacity(128);
    write_value(&mut out, value)?;
    Ok(out)
}

/// The canonical form as text.
pub fn to_text(value: &Value) -> Result<String, CanonicalError> {
    // Only whole characters are ever written, so nothing is lost here.
    to_vec(value).map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
}

/// Writes one object member by member; the caller keeps the names sorted.
pub(crate) struct ObjectWriter {
    out: Vec<u8>,
}

impl ObjectWriter {
    /// Writes in place of what the buffer held.
    pub(crate) fn over(mut out: Vec<u8>) -> Self {
        out.clear();
        out.push(b'{');
        Self { out }
    }

    fn name(&mut self, name: &str) {
        if self.out.len() > 1 {
            self.out.push(b',');
        }
        write_text(&mut self.out, name);
        self.out.push(b':');
    }

    pub(crate) fn text(&mut self, name: &str, text: &str) {
        self.name(name);
        write_text(&mut self.out, text);
    }

    pub(crate) fn optional_text(&mut self, name: &str, text: Option<&str>) {
        if let Some(text) = text {
            self.text(name, text);
        }
    }

    pub(crate) fn uuid(&mut self, name: &str, id: Option<Uuid>) {
        if let Some(id) = id {
            let mut buffer = Uuid::encode_buffer();
            self.text(name, id.hyphenated().encode_lower(&mut buffer));
        }
    }

    pub(crate) fn texts<'text>(&mut self, name: &str, texts: impl Iterator<Item = &'text str>) {
        self.name(name);
        self.out.push(b'[');
        for (position, text) in texts.enumerate() {
            if position > 0 {
                self.out.push(b',');
            }
            write_text(&mut self.out, text);
        }
        self.out.push(b']');
    }

    pub(crate) fn integer(&mut self, name: &str, integer: i64) {
        self.name(name);
        self.out.extend_from_slice(integer.to_string().as_bytes());
    }

    pub(crate) fn value(
        &mut self,
        name: &str,
        value: Option<&Value>,
    ) -> Result<(), CanonicalError> {
        if let Some(value) = value {
            self.name(name);
            write_value(&mut self.out, value)?;
        }
        Ok(())
    }

    pub(crate) fn finish(mut self) -> Vec<u8> {
        self.out.push(b'}');
        self.out
    }
}

fn write_value(out: &mut Vec<u8>, value: &Value) -> Result<(), CanonicalError> {
    match value {
        Value::Null => out.extend_from_slice(b"null"),
        Value::Bool(true) => out.extend_from_slice(b"true"),
        Value::Bool(false) => out.extend_from_slice(b"false"),
        Value::Number(number) => write_integer(out, number)?,
        Value::String(text) => write_text(out, text),
        Value::Array(items) => {
            out.push(b'[');
            for (position, item) in items.iter().enumerate() {
                if position > 0 {
                    out.push(b',');
                }
                write_value(out, item)?;
            }
            out.push(b']');
        }
        Value::Object(members) => {
            let mut sorted: Vec<_> = members.iter().collect();
            // RFC 8785 sorts by UTF-16 code units, not by code points.
            sorted.sort_by(|(left, _), (right, _)| left.encode_utf16().cmp(right.encode_utf16()));
            out.push(b'{');
            for (position, (name, member)) in sorted.into_iter().enumerate() {
                if position > 0 {
                    out.push(b',');
                }
                write_text(out, name);
                out.push(b':');
                write_value(out, member)?;
            }
            out.push(b'}');
        }
    }
    Ok(())
}

fn write_integer(out: &mut Vec<u8>, number: &serde_json::Number) -> Result<(), CanonicalError> {
    let magnitude = number
        .as_i64()
        .map(i64::unsigned_abs)
        .or_else(|| number.as_u64())
        .ok_or_else(|| CanonicalError::NotAnInteger(number.to_string()))?;
    if magnitude > INTEGER_MAX {
        return Err(CanonicalError::TooLarge(number.to_string()));
    }
    out.extend_from_slice(number.to_string().as_bytes());
    Ok(())
}

fn write_text(out: &mut Vec<u8>, text: &str) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    out.push(b'"');
    // What needs no escape is copied in runs.
    let mut rest = text.as_bytes();
    while let Some(at) = rest.iter().position(|byte| matches!(byte, b'"' | b'\\' | 0x00..=0x1f)) {
        out.extend_from_slice(&rest[..at]);
        let byte = rest[at];
        rest = &rest[at + 1..];
        match byte {
            b'"' => out.extend_from_slice(b"\\\""),
            b'\\' => out.extend_from_slice(b"\\\\"),
            0x00 => out.extend_from_slice("\u{fffd}".as_bytes()),
            0x08 => out.extend_from_slice(b"\\b"),
            b'\t' => out.extend_from_slice(b"\\t"),
            b'\n' => out.extend_from_slice(b"\\n"),
            0x0c => out.extend_from_slice(b"\\f"),
            b'\r' => out.extend_from_slice(b"\\r"),
            _ => {
                out.extend_from_slice(b"\\u00");
                out.push(HEX[usize::from(byte >> 4)]);
                out.push(HEX[usize::from(byte & 0x0f)]);
            }
        }
    }
    out.extend_from_slice(rest);
    out.push(b'"');
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::json;

    use super::*;

    #[test]
    fn canonical_form() {
        let cases = [
            (json!({"b": 1, "a": [true, null, -5]}), r#"{"a":[true,null,-5],"b":1}"#),
            (json!("\u{8}\t\n\u{c}\r\u{1f}\"\\é€"), "\"\\b\\t\\n\\f\\r\\u001f\\\"\\\\é€\""),
            (json!("nul\0"), "\"nul\u{fffd}\""),
            // U+1F600 is a surrogate pair and sorts before U+FB33 in UTF-16.
            (json!({"\u{fb33}": 1, "\u{1f600}": 2}), "{\"\u{1f600}\":2,\"\u{fb33}\":1}"),
            (json!(9_007_199_254_740_991_i64), "9007199254740991"),
        ];
        for (value, expected) in cases {
            assert_eq!(String::from_utf8(to_vec(&value).unwrap()).unwrap(), expected);
        }
    }

    #[test]
    fn fractions_and_large_integers_are_refused() {
        assert!(matches!(to_vec(&json!({"a": 1.5})), Err(CanonicalError::NotAnInteger(_))));
        assert!(matches!(to_vec(&json!([1_u64 << 53])), Err(CanonicalError::TooLarge(_))));
        assert!(matches!(to_vec(&json!(i64::MIN)), Err(CanonicalError::TooLarge(_))));
        assert!(matches!(to_vec(&json!(u64::MAX)), Err(CanonicalError::TooLarge(_))));
    }
}
