//! Public keys as JWK (RFC 7517, 7518 section 6, 8037), written and read.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value, json};

use super::SigningKeyError;
use super::keys::{Algorithm, PublicParts, SigningKey, VerifyingKey};

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
