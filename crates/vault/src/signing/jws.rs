//! JWS compact serialisation: signing, and verification that trusts nothing before the signature.
//!
//! A header may hold `alg`, `kid` and `typ` and nothing else: we issue every token that we accept,
//! so that `jwk`, `jku`, `x5u`, `crit`, `b64` and whatever comes next are refused unread.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::keys::{SigningKey, VerifyingKey};
use super::{JwtError, SigningKeyError};

/// The longest token accepted, in bytes.
pub const MAXIMUM_TOKEN_BYTES: usize = 8 * 1024;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    alg: String,
    kid: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    typ: Option<String>,
}

impl SigningKey {
    /// Signs `claims` as a token of type `typ` (such as `at+jwt`). Fails with
    /// [`JwtError::BadClaims`] where they are not a JSON object and with [`JwtError::Malformed`]
    /// where the token would be longer than a verifier accepts.
    pub fn sign_jwt(&self, typ: &str, claims: &impl Serialize) -> Result<String, JwtError> {
        let header = Header {
            alg: self.algorithm().as_str().to_owned(),
            kid: self.kid().to_owned(),
            typ: Some(typ.to_owned()),
        };
        let header = serde_json::to_vec(&header).map_err(|_| JwtError::Malformed)?;
        let claims = serde_json::to_vec(claims).map_err(|_| JwtError::BadClaims)?;
        if claims.first() != Some(&b'{') {
            return Err(JwtError::BadClaims);
        }
        let mut token = String::with_capacity((header.len() + claims.len()) * 4 / 3 + 512);
        URL_SAFE_NO_PAD.encode_string(header, &mut token);
        token.push('.');
        URL_SAFE_NO_PAD.encode_string(claims, &mut token);
        let signature = self.sign(token.as_bytes());
        token.push('.');
        URL_SAFE_NO_PAD.encode_string(signature, &mut token);
        if token.len() > MAXIMUM_TOKEN_BYTES {
            return Err(JwtError::Malformed);
        }
        Ok(token)
    }
}

/// A token whose signature and type were checked; nothing else yet.
#[derive(Clone, Debug)]
pub struct VerifiedJwt {
    kid: String,
    claims: Vec<u8>,
}

impl VerifiedJwt {
    /// The key that signed it.
    pub fn kid(&self) -> &str {
        &self.kid
    }

    /// The claims, as a type of the caller's or `serde_json::Value`. A struct refuses duplicate
    /// names; `Value` takes the last of them.
    pub fn claims<T: DeserializeOwned>(&self) -> Result<T, JwtError> {
        serde_json::from_slice(&self.claims).map_err(|_| JwtError::BadClaims)
    }
}

/// The keys that may verify, by `kid`.
#[derive(Debug, Default)]
pub struct Verifier {
    keys: HashMap<String, VerifyingKey>,
}

impl Verifier {
    /// Takes the keys; two with one `kid` are refused.
    pub fn new(keys: impl IntoIterator<Item = VerifyingKey>) -> Result<Self, SigningKeyError> {
        let mut verifier = Self::default();
        for key in keys {
            match verifier.keys.entry(key.kid.clone()) {
                Entry::Vacant(place) => place.insert(key),
                Entry::Occupied(_) => return Err(SigningKeyError::DuplicateKeyId),
            };
        }
        Ok(verifier)
    }

    /// Verifies a token that must be exactly of type `expected_typ`. Claims are parsed only after
    /// the signature; their times are checked by [`super::ValidatedTimes::check`].
    pub fn verify(&self, token: &str, expected_typ: &str) -> Result<VerifiedJwt, JwtError> {
        self.verify_typed(token, Some(expected_typ))
    }

    pub(super) fn verify_typed(
        &self,
        token: &str,
        expected_typ: Option<&str>,
    ) -> Result<VerifiedJwt, JwtError> {
        if token.len() > MAXIMUM_TOKEN_BYTES {
            return Err(JwtError::Malformed);
        }
        let (signed, signature) = token.rsplit_once('.').ok_or(JwtError::Malformed)?;
        let (header, claims) = signed.split_once('.').ok_or(JwtError::Malformed)?;
        let header: Header =
            serde_json::from_slice(&decode(header)?).map_err(|_| JwtError::Malformed)?;
        // Decoded before the signature so that a fourth part is malformed, parsed only after it.
        let (claims, signature) = (decode(claims)?, decode(signature)?);
        let key = self.keys.get(&header.kid).ok_or(JwtError::UnknownKey)?;
        if header.alg != key.algorithm().as_str() || !key.verifies(signed.as_bytes(), &signature) {
            return Err(JwtError::BadSignature);
        }
        if header.typ.as_deref() != expected_typ {
            return Err(JwtError::WrongType);
        }
        Ok(VerifiedJwt { kid: header.kid, claims })
    }
}

fn decode(part: &str) -> Result<Vec<u8>, JwtError> {
    URL_SAFE_NO_PAD.decode(part).map_err(|_| JwtError::Malformed)
}
