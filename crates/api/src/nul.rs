//! Owns one rule, for every text of a request: none holds U+0000, which JSON and
//! percent-encoding can write and PostgreSQL cannot keep.
//!
//! Refuses to know any field: it names the one it finds.

use std::fmt;

use axum::extract::{Query, RawPathParams};
use http::Uri;
use serde::{
    Deserialize, Deserializer,
    de::{Error, MapAccess, SeqAccess, Visitor},
};

use crate::problem::Problem;

const MESSAGE: &str = "U+0000 is not accepted in any text";
const ESCAPE: &[u8] = br"\u0000";

/// Turns away requests with the character in their path or query; inside the gate,
/// so that they are counted and their callers known. A path that is no text at all is
/// the handler's to refuse.
pub(crate) fn outside_bodies(path: Option<&RawPathParams>, uri: &Uri) -> Result<(), Problem> {
    let in_path = path.into_iter().flatten().find(|(_, value)| value.contains('\0'));
    let field = in_path.map(|(name, _)| name.to_owned()).or_else(|| in_query(uri));
    field.map_or(Ok(()), |field| Err(refused(field)))
}

/// The first parameter that holds it, in its name or its value.
fn in_query(uri: &Uri) -> Option<String> {
    if !uri.query()?.contains("%00") {
        return None;
    }
    let Query(pairs) = Query::<Vec<(String, String)>>::try_from_uri(uri).ok()?;
    let (name, _) =
        pairs.into_iter().find(|pair| pair.0.contains('\0') || pair.1.contains('\0'))?;
    Some(if name.contains('\0') { "query".to_owned() } else { name })
}

/// Refuses a JSON document with the character in a string or a key. Written raw it
/// is no JSON, which is left to the parser.
pub(crate) fn in_json(bytes: &[u8]) -> Result<(), Problem> {
    if !bytes.windows(ESCAPE.len()).any(|window| window == ESCAPE) {
        return Ok(());
    }
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let Err(error) = serde_path_to_error::deserialize::<_, Clean>(&mut reader) else {
        return Ok(());
    };
    let path = error.path().to_string();
    // Any value at all is taken: what the data is at fault for is the character.
    if error.inner().is_data() {
        return Err(refused(sound(&path)));
    }
    Err(crate::json::fault(&path, error.inner()))
}

/// The path, or what it lies in where the key itself holds the character.
fn sound(path: &str) -> String {
    let sound = match path.split_once('\0') {
        Some((before, _)) => before.rsplit_once('.').map_or(".", |(parent, _)| parent),
        None => path,
    };
    if sound == "." { "body" } else { sound }.to_owned()
}

fn refused(field: String) -> Problem {
    Problem::malformed_field(field, "invalid_value", MESSAGE)
}

/// Any JSON value, looked through and forgotten.
struct Clean;

impl<'de> Deserialize<'de> for Clean {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Self)
    }
}

impl<'de> Visitor<'de> for Clean {
    type Value = Self;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a JSON value")
    }

    fn visit_unit<E: Error>(self) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_u64<E: Error>(self, _: u64) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Self, E> {
        if text.contains('\0') { Err(E::custom(MESSAGE)) } else { Ok(self) }
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self, A::Error> {
        while items.next_element::<Self>()?.is_some() {}
        Ok(self)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Self, A::Error> {
        while members.next_entry::<Self, Self>()?.is_some() {}
        Ok(self)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::{in_json, in_query};

    #[test]
    fn the_field_of_a_body_is_named() {
        // body, field
        let table = [
            (r#"{"a":"\u0000"}"#, Some("a")),
            (r#"{"a":1,"b":{"c":[true,"x\u0000y"]}}"#, Some("b.c[1]")),
            (r#"{"a":{"k\u0000":1}}"#, Some("a")),
            (r#"{"k\u0000":1}"#, Some("body")),
            (r#""\u0000""#, Some("body")),
            (r#"{"n":1e999,"a":"\u0000"}"#, Some("n")),
            // A backslash before u0000, and other characters.
            (r#"{"a":"\\u0000"}"#, None),
            (r#"{"a":"\u0001\u00000"}"#, Some("a")),
            (r#"{"a":"\u0001","b":[null,1.5,-1,{}]}"#, None),
        ];
        for (body, field) in table {
            let problem = in_json(body.as_bytes()).err();
            let named = problem.as_ref().map(|problem| problem.errors[0].field.as_ref());
            assert_eq!(named, field, "{body}");
        }
        let broken = in_json(br#"{"a":"\u0000""#).unwrap_err();
        assert_eq!((broken.status.as_u16(), broken.errors[0].field.as_ref()), (400, "a"));
        let broken = in_json(br#"{"a":x"\u0000""#).unwrap_err();
        assert_eq!(broken.code, "malformed_json");
    }

    #[test]
    fn the_parameter_of_a_query_is_named() {
        // query, field
        let table = [
            ("?a=1&b=%00", Some("b")),
            ("?b=x%00y&b=1", Some("b")),
            ("?%00=1", Some("query")),
            ("?a=%2500", None),
            ("?a=%%00", Some("a")),
            ("?a=00", None),
            ("", None),
        ];
        for (query, field) in table {
            let uri = format!("/v1/accounts{query}").parse().unwrap();
            assert_eq!(in_query(&uri).as_deref(), field, "{query}");
        }
    }
}
