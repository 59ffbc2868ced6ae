//! Which keys are taken, and for which algorithm.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use super::*;
use crate::signing::{Algorithm, SigningKey, SigningKeyError};

#[test]
fn weak_and_foreign_keys_are_refused() {
    use SignatureAlgorithm::{EcdsaP256Sha256, Ed25519, HmacSha256, RsaPssSha512, RsaV15Sha256};
    use SigningKeyError::{Malformed, TooWeak};

    let jwk = |algorithm| SigningKey::generate(algorithm, "k").unwrap().public_jwk().unwrap();
    let (rsa, p256, ed25519) =
        (jwk(Algorithm::RS256), jwk(Algorithm::ES256), jwk(Algorithm::EdDSA));
    let with = |jwk: &Value, name: &str, value: Value| {
        let mut jwk = jwk.clone();
        jwk[name] = value;
        jwk
    };
    let without_alg = |jwk: &Value| {
        let mut jwk = jwk.clone();
        jwk.as_object_mut().unwrap().remove("alg");
        jwk
    };
    let ones = |bytes: usize| URL_SAFE_NO_PAD.encode(vec![0xff; bytes]);
    let neutral = "AQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
    let table = [
        (RsaV15Sha256, rsa.clone(), None),
        (RsaPssSha512, without_alg(&rsa), None),
        (RsaPssSha512, with(&rsa, "alg", json!("PS512")), None),
        (EcdsaP256Sha256, p256.clone(), None),
        (Ed25519, ed25519.clone(), None),
        (Ed25519, with(&ed25519, "alg", json!("Ed25519")), None),
        // The JWK is for another algorithm than was agreed.
        (RsaPssSha512, rsa.clone(), Some(Malformed)),
        (RsaV15Sha256, with(&rsa, "alg", json!("PS512")), Some(Malformed)),
        (EcdsaP256Sha256, without_alg(&ed25519), Some(Malformed)),
        (Ed25519, without_alg(&p256), Some(Malformed)),
        (Ed25519, with(&ed25519, "use", json!("enc")), Some(Malformed)),
        (Ed25519, with(&ed25519, "d", json!("AA")), Some(Malformed)),
        (Ed25519, with(&without_alg(&ed25519), "x", json!(neutral)), Some(TooWeak)),
        (HmacSha256, json!({"kty": "oct", "k": "AA"}), Some(Malformed)),
        (HmacSha256, without_alg(&ed25519), Some(Malformed)),
        (RsaV15Sha256, with(&rsa, "e", json!("Aw")), Some(TooWeak)),
        (RsaV15Sha256, with(&rsa, "n", json!(ones(128))), Some(TooWeak)),
        (RsaV15Sha256, with(&rsa, "n", json!(ones(513))), Some(Malformed)),
        (Ed25519, json!([]), Some(Malformed)),
    ];
    for (algorithm, jwk, expected) in table {
        let refused = MessageVerifyingKey::from_public_jwk(algorithm, KEY_ID, &jwk).err();
        assert_eq!(refused, expected, "{algorithm:?} {jwk}");
    }
    let short = SecretBytes::new(vec![1; 31]);
    assert_eq!(MessageVerifyingKey::from_shared_secret("k", &short).err(), Some(TooWeak));
    let enough = SecretBytes::new(vec![1; 32]);
    for key_id in ["", "a b", "é", &"a".repeat(129)] {
        let refused = MessageVerifyingKey::from_shared_secret(key_id, &enough).err();
        assert_eq!(refused, Some(SigningKeyError::BadKeyId), "{key_id}");
    }
    for algorithm in SignatureAlgorithm::ALL {
        let refused = MessageSigningKey::from_private_bytes(algorithm, "k", &short).err();
        let expected = if algorithm == HmacSha256 { TooWeak } else { Malformed };
        assert_eq!(refused, Some(expected), "{algorithm:?}");
        let name = algorithm.as_str();
        assert_eq!(SignatureAlgorithm::parse(name), Some(algorithm));
        assert_eq!(serde_json::to_value(algorithm).unwrap(), json!(name));
    }
    assert_eq!(SignatureAlgorithm::parse("Ed25519"), None);
}
