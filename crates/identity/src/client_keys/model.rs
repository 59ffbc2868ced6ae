//! What a client's key is, and which wishes for one are acceptable.
//!
//! Refuses to know who wishes.

use std::borrow::Cow;

use jiff::Timestamp;
use operation::refusal::FieldError;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tenancy::DbError;
use tokio_postgres::Row;
use uuid::Uuid;
use vault::{
    http_signature::{MessageVerifyingKey, SignatureAlgorithm},
    signing::bare_jwk,
};

const NAME_LETTERS: std::ops::RangeInclusive<usize> = 1..=100;

/// A key that is to be registered.
#[derive(Clone, Debug)]
pub struct NewClientKey {
    /// For people, 1 to 100 characters.
    pub name: String,
    /// The name of its algorithm in the registry of RFC 9421.
    pub algorithm: String,
    /// The public half.
    pub public_jwk: Value,
    /// The machine that signs with it; the caller where absent.
    pub api_key_id: Option<Uuid>,
}

/// A registered key.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ClientKeyRecord {
    /// Its `keyid`.
    pub id: Uuid,
    /// For people.
    pub name: String,
    /// The person who signs with it.
    pub user_id: Option<Uuid>,
    /// The machine that signs with it.
    pub api_key_id: Option<Uuid>,
    /// The algorithm that it is bound to.
    pub algorithm: String,
    /// The public half, with the members that make it and no others.
    pub public_jwk: Value,
    /// Of RFC 7638.
    pub thumbprint: String,
    /// Who registered it.
    pub created_by: Option<Uuid>,
    /// When somebody ended it.
    pub revoked_at: Option<Timestamp>,
    /// Counts changes.
    pub version: i64,
    /// When it was registered.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
}

impl ClientKeyRecord {
    pub(super) fn read(row: &Row) -> Result<Self, DbError> {
        Ok(Self {
            id: row.try_get("id")?,
            name: row.try_get("name")?,
            user_id: row.try_get("user_id")?,
            api_key_id: row.try_get("api_key_id")?,
            algorithm: row.try_get("algorithm")?,
            public_jwk: row.try_get("public_jwk")?,
            thumbprint: row.try_get("thumbprint")?,
            created_by: row.try_get("created_by")?,
            revoked_at: row.try_get("revoked_at")?,
            version: row.try_get("version")?,
            created_at: row.try_get("created_at")?,
            updated_at: row.try_get("updated_at")?,
        })
    }

    /// What verifies its signatures. A key was looked at as it was registered: one that is none
    /// is corrupt storage.
    pub(super) fn verifier(&self) -> Result<MessageVerifyingKey, DbError> {
        let corrupt = || DbError::Corrupt(format!("client key {}", self.id));
        let algorithm = SignatureAlgorithm::parse(&self.algorithm).ok_or_else(corrupt)?;
        let id = self.id.to_string();
        MessageVerifyingKey::from_public_jwk(algorithm, &id, &self.public_jwk)
            .map_err(|_| corrupt())
    }
}

/// A wish that is acceptable, as it is stored.
#[derive(Debug, PartialEq)]
pub(super) struct Accepted {
    pub(super) algorithm: &'static str,
    pub(super) public_jwk: Value,
    pub(super) thumbprint: String,
}

/// Asymmetric ones alone: of a shared secret nobody could say which side had signed. Without
/// RSASSA-PKCS1-v1_5, which nothing new should use (RFC 8017 section 8).
fn algorithm_of(name: &str) -> Option<SignatureAlgorithm> {
    SignatureAlgorithm::parse(name).filter(|algorithm| match algorithm {
        SignatureAlgorithm::Ed25519
        | SignatureAlgorithm::EcdsaP256Sha256
        | SignatureAlgorithm::RsaPssSha512 => true,
        SignatureAlgorithm::RsaV15Sha256 | SignatureAlgorithm::HmacSha256 => false,
    })
}

impl NewClientKey {
    /// Every fault at once.
    pub(super) fn accept(&self, id: Uuid) -> Result<Accepted, Vec<FieldError>> {
        let mut faults = Vec::new();
        if !NAME_LETTERS.contains(&self.name.chars().count())
            || self.name.chars().any(char::is_control)
        {
            faults.push(fault("name", "Expected 1 to 100 characters, none of control"));
        }
        let Some(algorithm) = algorithm_of(&self.algorithm) else {
            let message = "Expected ed25519, ecdsa-p256-sha256 or rsa-pss-sha512";
            faults.push(fault("algorithm", message));
            return Err(faults);
        };
        let id = id.to_string();
        let is_one = MessageVerifyingKey::from_public_jwk(algorithm, &id, &self.public_jwk).is_ok();
        match bare_jwk(&self.public_jwk) {
            Ok((public_jwk, thumbprint)) if is_one && faults.is_empty() => {
                Ok(Accepted { algorithm: algorithm.as_str(), public_jwk, thumbprint })
            }
            Ok(_) if is_one => Err(faults),
            _ => {
                let message = "Expected the public JWK of a key for this algorithm";
                faults.push(fault("public_jwk", message));
                Err(faults)
            }
        }
    }
}

fn fault(field: &'static str, message: &str) -> FieldError {
    FieldError {
        field: Cow::Borrowed(field),
        code: Cow::Borrowed("validation_failed"),
        message: message.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use serde_json::json;

    use super::*;

    #[test]
    fn every_fault_of_a_wish_is_named() {
        // RFC 8037 appendix A.2
        let x = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo";
        let good = json!({ "kty": "OKP", "crv": "Ed25519", "x": x, "kid": "mine", "use": "sig" });
        let but = |member: &str, value: Value| {
            let mut jwk = good.clone();
            jwk[member] = value;
            jwk
        };
        // name, algorithm, JWK, fields at fault
        let table: [(&str, &str, Value, &[&str]); 13] = [
            ("Payroll", "ed25519", good.clone(), &[]),
            ("", "ed25519", good.clone(), &["name"]),
            ("a\u{7}", "ed25519", good.clone(), &["name"]),
            ("Payroll", "Ed25519", good.clone(), &["algorithm"]),
            ("Payroll", "hmac-sha256", good.clone(), &["algorithm"]),
            ("Payroll", "rsa-v1_5-sha256", good.clone(), &["algorithm"]),
            ("Payroll", "ecdsa-p256-sha256", good.clone(), &["public_jwk"]),
            ("Payroll", "ed25519", but("d", json!(x)), &["public_jwk"]),
            ("Payroll", "ed25519", but("use", json!("enc")), &["public_jwk"]),
            ("Payroll", "ed25519", but("alg", json!("ES256")), &["public_jwk"]),
            ("Payroll", "ed25519", json!({ "kty": "oct", "k": x }), &["public_jwk"]),
            ("Payroll", "ed25519", json!("key"), &["public_jwk"]),
            ("", "ed25519", json!({}), &["name", "public_jwk"]),
        ];
        for (name, algorithm, public_jwk, expected) in table {
            let wish = NewClientKey {
                name: name.to_owned(),
                algorithm: algorithm.to_owned(),
                public_jwk,
                api_key_id: None,
            };
            let faults = wish.accept(Uuid::nil()).err().unwrap_or_default();
            let fields: Vec<&str> = faults.iter().map(|fault| fault.field.as_ref()).collect();
            assert_eq!(fields, expected, "{wish:?}");
        }
    }
}
