//! Round trips of the four algorithms, every refusal, and Wycheproof's JWS and JWK vectors.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use uuid::Uuid;

use super::*;
use crate::secret::SecretBytes;
use crate::vectors::wycheproof;

const TYP: &str = "at+jwt";

fn key(algorithm: Algorithm) -> SigningKey {
    SigningKey::generate(algorithm, algorithm.as_str()).unwrap()
}

fn verifier(keys: &[&SigningKey]) -> Verifier {
    Verifier::new(keys.iter().map(|key| key.verifying_key())).unwrap()
}

fn part(value: &Value) -> String {
    URL_SAFE_NO_PAD.encode(value.to_string())
}

/// A token with any header, signed properly by `key`.
fn forge(key: &SigningKey, header: &Value, claims: &Value) -> String {
    let signed = format!("{}.{}", part(header), part(claims));
    let signature = URL_SAFE_NO_PAD.encode(key.sign(signed.as_bytes()));
    format!("{signed}.{signature}")
}

#[test]
fn every_algorithm_survives_storage_and_verifies_nothing_else() {
    let algorithms = [Algorithm::HS256, Algorithm::RS256, Algorithm::ES256, Algorithm::EdDSA];
    let keys = algorithms.map(key);
    let all = verifier(&keys.each_ref());
    for made in &keys {
        let (algorithm, kid) = (made.algorithm(), made.kid());
        assert_eq!(Algorithm::parse(algorithm.as_str()), Some(algorithm));
        let stored = made.private_bytes().clone();
        let read = SigningKey::from_private_bytes(algorithm, kid, stored).unwrap();
        let token = read.sign_jwt(TYP, &json!({"sub": "1"})).unwrap();
        let verified = all.verify(&token, TYP).unwrap();
        assert_eq!(verified.kid(), kid);
        assert_eq!(verified.claims::<Value>().unwrap(), json!({"sub": "1"}));
        assert!(!format!("{made:?}").contains("secret"));

        let jwk = made.public_jwk();
        assert_eq!(jwk.is_none(), algorithm == Algorithm::HS256);
        if let Some(jwk) = jwk {
            assert_eq!((&jwk["kid"], &jwk["use"]), (&json!(kid), &json!("sig")));
            assert!(jwk.get("d").is_none());
            let public = VerifyingKey::from_public_jwk(&jwk).unwrap();
            let public = Verifier::new([public]).unwrap();
            assert!(public.verify(&token, TYP).is_ok());
        }
        for other in algorithms.into_iter().filter(|other| *other != algorithm) {
            let stored = made.private_bytes().clone();
            let misread = SigningKey::from_private_bytes(other, kid, stored);
            assert!(other == Algorithm::HS256 || misread.is_err());
        }
    }
    let rsa = keys[1].public_jwk().unwrap();
    let modulus = URL_SAFE_NO_PAD.decode(rsa["n"].as_str().unwrap()).unwrap();
    assert_eq!((modulus.len(), &rsa["e"]), (384, &json!("AQAB")));
}

#[test]
fn a_header_holds_three_members_and_no_other() {
    let key = key(Algorithm::ES256);
    let verifier = verifier(&[&key]);
    let claims = json!({});
    let header = json!({"alg": "ES256", "kid": "ES256", "typ": TYP});
    assert!(verifier.verify(&forge(&key, &header, &claims), TYP).is_ok());
    let with = |name: &str, value: Value| {
        let mut header = header.clone();
        header[name] = value;
        header
    };
    let jwk = key.public_jwk().unwrap();
    let cases = [
        (with("jwk", jwk), JwtError::Malformed),
        (with("jku", json!("https://example.org")), JwtError::Malformed),
        (with("x5u", json!("https://example.org")), JwtError::Malformed),
        (with("x5c", json!([])), JwtError::Malformed),
        (with("crit", json!(["exp"])), JwtError::Malformed),
        (with("b64", json!(false)), JwtError::Malformed),
        (with("kid", json!(null)), JwtError::Malformed),
        (with("kid", json!(1)), JwtError::Malformed),
        (json!({"alg": "ES256", "typ": TYP}), JwtError::Malformed),
        (json!({"kid": "ES256", "typ": TYP}), JwtError::Malformed),
        (json!([]), JwtError::Malformed),
        (with("kid", json!("other")), JwtError::UnknownKey),
        (with("alg", json!("none")), JwtError::BadSignature),
        (with("alg", json!("HS256")), JwtError::BadSignature),
        (with("alg", json!("es256")), JwtError::BadSignature),
        (with("typ", json!("AT+JWT")), JwtError::WrongType),
        (with("typ", json!("refresh")), JwtError::WrongType),
        (with("typ", json!(null)), JwtError::WrongType),
        (json!({"alg": "ES256", "kid": "ES256"}), JwtError::WrongType),
    ];
    for (header, expected) in cases {
        let refused = verifier.verify(&forge(&key, &header, &claims), TYP);
        assert_eq!(refused.unwrap_err(), expected, "{header}");
    }
    let twice = r#"{"alg":"ES256","kid":"ES256","kid":"ES256","typ":"at+jwt"}"#;
    let signed = format!("{}.e30", URL_SAFE_NO_PAD.encode(twice));
    let signature = URL_SAFE_NO_PAD.encode(key.sign(signed.as_bytes()));
    let refused = verifier.verify(&format!("{signed}.{signature}"), TYP);
    assert_eq!(refused.unwrap_err(), JwtError::Malformed);
}

#[test]
fn a_public_key_is_never_an_hmac_secret() {
    for algorithm in [Algorithm::RS256, Algorithm::ES256, Algorithm::EdDSA] {
        let key = key(algorithm);
        let jwk = key.public_jwk().unwrap();
        let public = SecretBytes::new(jwk.to_string().into_bytes());
        let forger = SigningKey::from_private_bytes(Algorithm::HS256, key.kid(), public).unwrap();
        let token = forger.sign_jwt(TYP, &json!({})).unwrap();
        let refused = verifier(&[&key]).verify(&token, TYP).unwrap_err();
        assert_eq!(refused, JwtError::BadSignature);
    }
}

#[test]
fn altered_tokens_are_refused() {
    let key = key(Algorithm::EdDSA);
    let verifier = verifier(&[&key]);
    let token = key.sign_jwt(TYP, &json!({"sub": "1"})).unwrap();
    for at in 0..token.len() {
        let mut altered = token.clone().into_bytes();
        altered[at] = if altered[at] == b'A' { b'B' } else { b'A' };
        let altered = String::from_utf8(altered).unwrap();
        assert!(verifier.verify(&altered, TYP).is_err(), "{at}");
    }
    let malformed = [
        String::new(),
        "..".to_owned(),
        format!("{token}."),
        format!("{token}="),
        format!("{token}\n"),
        format!(" {token}"),
        token[..token.rfind('.').unwrap()].to_owned(),
        format!("{token}{}", "A".repeat(MAXIMUM_TOKEN_BYTES)),
    ];
    for text in malformed {
        let refused = verifier.verify(&text, TYP).unwrap_err();
        assert_eq!(refused, JwtError::Malformed, "{text}");
    }
    let unsigned = &token[..=token.rfind('.').unwrap()];
    let refused = verifier.verify(unsigned, TYP).unwrap_err();
    assert_eq!(refused, JwtError::BadSignature);
}

#[test]
fn times_are_whole_numbers_and_now_lies_within() {
    let key = key(Algorithm::HS256);
    let verifier = verifier(&[&key]);
    let check = |claims: &Value, leeway_s| {
        let token = key.sign_jwt(TYP, claims).unwrap();
        ValidatedTimes::check(&verifier.verify(&token, TYP).unwrap(), 1000, leeway_s)
    };
    let times = |iat: i64, nbf: i64, exp: i64| json!({"iat": iat, "nbf": nbf, "exp": exp});
    let good = check(&times(1000, 1000, 1001), 0).unwrap();
    assert_eq!((good.issued_at_s, good.expires_at_s), (1000, 1001));
    let cases = [
        (times(900, 900, 1000), 0, JwtError::Expired),
        (times(900, 900, 995), 5, JwtError::Expired),
        (times(900, 900, 990), 200, JwtError::Expired),
        (times(900, 1001, 1100), 0, JwtError::NotYetValid),
        (times(1001, 900, 1100), 0, JwtError::NotYetValid),
        (times(900, 1006, 1100), 5, JwtError::NotYetValid),
        (times(900, i64::MAX, i64::MAX), 5, JwtError::NotYetValid),
        (json!({"iat": 900, "nbf": 900}), 0, JwtError::BadClaims),
        (json!({"iat": 900, "exp": 1100}), 0, JwtError::BadClaims),
        (json!({"nbf": 900, "exp": 1100}), 0, JwtError::BadClaims),
        (json!({"iat": 900, "nbf": 900, "exp": "1100"}), 0, JwtError::BadClaims),
        (json!({"iat": 900, "nbf": 900, "exp": 1100.0}), 0, JwtError::BadClaims),
        (json!({"iat": 900, "nbf": 900, "exp": null}), 0, JwtError::BadClaims),
        (json!({"iat": 900, "nbf": 900, "exp": u64::MAX}), 0, JwtError::BadClaims),
    ];
    for (claims, leeway_s, expected) in cases {
        assert_eq!(check(&claims, leeway_s).unwrap_err(), expected, "{claims}");
    }
    assert!(check(&times(900, 1005, 1100), 5).is_ok());
    assert!(check(&times(900, 900, 996), 5).is_ok());
}

#[test]
fn claims_are_an_object_and_small_enough() {
    let key = key(Algorithm::HS256);
    for claims in [json!([]), json!("text"), json!(1), json!(null)] {
        let refused = key.sign_jwt(TYP, &claims).unwrap_err();
        assert_eq!(refused, JwtError::BadClaims);
    }
    let large = json!({"a": "x".repeat(MAXIMUM_TOKEN_BYTES)});
    assert_eq!(key.sign_jwt(TYP, &large).unwrap_err(), JwtError::Malformed);
}

#[test]
fn derived_keys_differ_by_tenant_and_kid() {
    let derive = |tenant: u128, kid: &str| {
        let tenant = Uuid::from_u128(tenant);
        SigningKey::derive_hs256(&[7; 32], tenant, kid).unwrap().private_bytes().clone()
    };
    let first = derive(1, "a");
    assert_eq!(first.expose(), derive(1, "a").expose());
    assert_ne!(first.expose(), derive(2, "a").expose());
    assert_ne!(first.expose(), derive(1, "b").expose());
    assert_ne!(first.expose(), [7; 32]);
    let weak = SigningKey::derive_hs256(&[7; 31], Uuid::nil(), "a").unwrap_err();
    assert_eq!(weak, SigningKeyError::TooWeak);
}

#[test]
fn weak_and_ambiguous_keys_are_refused() {
    let short = SecretBytes::new(vec![1; 31]);
    let weak = SigningKey::from_private_bytes(Algorithm::HS256, "a", short).unwrap_err();
    assert_eq!(weak, SigningKeyError::TooWeak);
    for kid in ["", "a b", "a\n", "é", &"a".repeat(129)] {
        let refused = SigningKey::generate(Algorithm::HS256, kid).unwrap_err();
        assert_eq!(refused, SigningKeyError::BadKeyId, "{kid}");
    }
    let twins = [key(Algorithm::HS256), key(Algorithm::HS256)];
    let refused = Verifier::new(twins.iter().map(SigningKey::verifying_key)).unwrap_err();
    assert_eq!(refused, SigningKeyError::DuplicateKeyId);
    let jwk = key(Algorithm::EdDSA).public_jwk().unwrap();
    for (name, value) in [
        ("d", json!("AA")),
        ("alg", json!("ES256")),
        ("use", json!("enc")),
        ("crv", json!("X25519")),
        ("kty", json!("EC")),
        ("x", json!("AA")),
        ("kid", json!(null)),
    ] {
        let mut altered = jwk.clone();
        altered[name] = value;
        assert!(VerifyingKey::from_public_jwk(&altered).is_err(), "{name}");
    }
}

#[test]
fn rsa_keys_of_2048_bits_may_be_imported() {
    use aws_lc_rs::encoding::{AsDer as _, Pkcs8V1Der};
    use aws_lc_rs::rsa::{KeyPair, KeySize};

    let pair = KeyPair::generate(KeySize::Rsa2048).unwrap();
    let document: Pkcs8V1Der<'_> = pair.as_der().unwrap();
    let stored = SecretBytes::from_slice(document.as_ref());
    let key = SigningKey::from_private_bytes(Algorithm::RS256, "old", stored).unwrap();
    let token = key.sign_jwt(TYP, &json!({})).unwrap();
    assert!(verifier(&[&key]).verify(&token, TYP).is_ok());
}

/// The verifier that a Wycheproof group describes, `None` where one of its keys is refused.
fn wycheproof_verifier(group: &Value) -> Option<Verifier> {
    let set = group.get("public").unwrap_or(&group["private"]);
    let keys = set["keys"].as_array().cloned().unwrap_or(vec![set.clone()]);
    let read = |jwk: &Value| {
        let mut jwk = jwk.clone();
        if jwk["kty"] == "oct" {
            // We never read symmetric JWKs; the secret stands for one of ours.
            let fits = jwk["alg"] == "HS256" && jwk["use"] == "sig";
            let secret = URL_SAFE_NO_PAD.decode(jwk["k"].as_str()?).ok()?;
            let kid = jwk["kid"].as_str()?;
            let secret = SecretBytes::new(secret);
            let key = SigningKey::from_private_bytes(Algorithm::HS256, kid, secret).ok()?;
            return fits.then(|| key.verifying_key());
        }
        for private in ["d", "p", "q", "dp", "dq", "qi"] {
            jwk.as_object_mut()?.remove(private);
        }
        VerifyingKey::from_public_jwk(&jwk).ok()
    };
    let keys: Option<Vec<_>> = keys.iter().map(read).collect();
    Verifier::new(keys?).ok()
}

#[test]
fn wycheproof_json_web_signatures_and_keys() {
    let files = ["json_web_crypto", "json_web_key"];
    let mut seen = 0;
    for (group, test) in files.into_iter().flat_map(wycheproof) {
        let Some(token) = test["jws"].as_str() else {
            continue;
        };
        let comment = group["comment"].as_str().unwrap_or_default();
        // A set of symmetric and public keys is no danger here: `alg` is bound to the key.
        if comment == "jws_mixedSymmetryKeyset" {
            continue;
        }
        seen += 1;
        let accepted = wycheproof_verifier(&group)
            .is_some_and(|verifier| verifier.verify_typed(token, None).is_ok());
        // HS384 and HS512 are genuine, and none of ours.
        let expected = test["result"] == "valid" && !["HS384", "HS512"].contains(&comment);
        assert_eq!(accepted, expected, "{comment}: {}", test["comment"]);
    }
    println!("{seen} cases");
}
