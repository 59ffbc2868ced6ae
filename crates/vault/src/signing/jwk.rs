//! Public keys as JWK (RFC 7517, 7518 section 6, 8037), written and read.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value, json};

use super::SigningKeyError;
use super::keys::{Algorithm, PublicParts, SigningKey, VerifyingKey};
use crate::primitives::sha256;

impl SigningKey {
    /// The public half with `kid`, `use` and `alg`; `None` for HS256, which has none.
    pub fn public_jwk(&self) -> Option<Value> {
        let encode = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        let mut jwk = match self.public()? {
            PublicParts::Rsa { modulus, exponent } => {
                json!({"kty": "RSA", "n": encode(&modulus), "e": encode(&exponent)})
            }
            PublicParts::P256(point) => {
                let (x, y) = point[1..].split_at(32);
                json!({"kty": "EC", "crv": "P-256", "x": encode(x), "y": encode(y)})
            }
            PublicParts::Ed25519(key) => json!({"kty": "OKP", "crv": "Ed25519", "x": encode(&key)}),
        };
        jwk["kid"] = self.kid().into();
        jwk["use"] = "sig".into();
        jwk["alg"] = self.algorithm().as_str().into();
        Some(jwk)
    }
}

impl VerifyingKey {
    /// Reads a public JWK. Requires `kid` and the type's members; `alg` and `use`, where present,
    /// must fit; symmetric keys and private members are refused.
    pub fn from_public_jwk(jwk: &Value) -> Result<Self, SigningKeyError> {
        let members = jwk.as_object().ok_or(SigningKeyError::Malformed)?;
        let public = public_parts(members)?;
        let key = Self::from_public(text(members, "kid")?, &public)?;
        let fits = |name: &str, expected: &str| members.get(name).is_none_or(|v| v == expected);
        if fits("use", "sig") && fits("alg", Algorithm::as_str(key.algorithm())) {
            Ok(key)
        } else {
            Err(SigningKeyError::Malformed)
        }
    }
}

/// The parts of a public JWK by its type; symmetric keys and private members are refused.
pub(crate) fn public_parts(members: &Map<String, Value>) -> Result<PublicParts, SigningKeyError> {
    if members.contains_key("d") || members.contains_key("k") {
        return Err(SigningKeyError::Malformed);
    }
    Ok(match (text(members, "kty")?, members.get("crv")) {
        ("RSA", None) => {
            PublicParts::Rsa { modulus: bytes(members, "n")?, exponent: bytes(members, "e")? }
        }
        ("EC", Some(curve)) if curve == "P-256" => {
            PublicParts::P256(point(&bytes(members, "x")?, &bytes(members, "y")?)?)
        }
        ("OKP", Some(curve)) if curve == "Ed25519" => PublicParts::Ed25519(bytes(members, "x")?),
        _ => return Err(SigningKeyError::Malformed),
    })
}

/// A public JWK in its one form: the members that make the key what it is and no others, and its
/// thumbprint (RFC 7638), which is the same however the key was written.
pub fn bare_jwk(jwk: &Value) -> Result<(Value, String), SigningKeyError> {
    let members = jwk.as_object().ok_or(SigningKeyError::Malformed)?;
    public_parts(members)?;
    // In the order of the alphabet, as they are hashed.
    let names: &[&str] = match text(members, "kty")? {
        "RSA" => &["e", "kty", "n"],
        "EC" => &["crv", "kty", "x", "y"],
        _ => &["crv", "kty", "x"],
    };
    let mut bare = Map::new();
    let mut hashed = Vec::with_capacity(names.len());
    for name in names {
        let value = text(members, name)?;
        // Base64url and known words: nothing that JSON would have to escape.
        hashed.push(format!("\"{name}\":\"{value}\""));
        bare.insert((*name).to_owned(), value.into());
    }
    let digest = sha256(format!("{{{}}}", hashed.join(",")).as_bytes());
    Ok((bare.into(), URL_SAFE_NO_PAD.encode(digest)))
}

fn text<'a>(members: &'a Map<String, Value>, name: &str) -> Result<&'a str, SigningKeyError> {
    members.get(name).and_then(Value::as_str).ok_or(SigningKeyError::Malformed)
}

fn bytes(members: &Map<String, Value>, name: &str) -> Result<Vec<u8>, SigningKeyError> {
    URL_SAFE_NO_PAD.decode(text(members, name)?).map_err(|_| SigningKeyError::Malformed)
}

fn point(x: &[u8], y: &[u8]) -> Result<Vec<u8>, SigningKeyError> {
    if x.len() == 32 && y.len() == 32 {
        Ok([&[4], x, y].concat())
    } else {
        Err(SigningKeyError::Malformed)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use serde_json::json;

    use super::bare_jwk;

    #[test]
    fn a_thumbprint_is_that_of_rfc_7638_section_3_1_whatever_stands_beside_the_key() {
        let n = "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw";
        let jwk = json!({ "kty": "RSA", "n": n, "e": "AQAB", "alg": "RS256", "kid": "2011-04-29" });
        let (bare, thumbprint) = bare_jwk(&jwk).unwrap();
        assert_eq!(thumbprint, "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs");
        assert_eq!(bare, json!({ "e": "AQAB", "kty": "RSA", "n": n }));
        for private in ["d", "k"] {
            let mut jwk = jwk.clone();
            jwk[private] = json!("AQAB");
            assert!(bare_jwk(&jwk).is_err(), "{private}");
        }
    }
}
