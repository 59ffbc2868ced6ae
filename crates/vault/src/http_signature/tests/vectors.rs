//! RFC 9421 appendix B.2 and the examples of its section 2, RFC 9530 appendix B.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use super::super::base::signature_base;
use super::*;
use crate::vectors::read_json;

/// Field lines out of a message as text.
fn lines(text: &str) -> Vec<FieldLine<'_>> {
    let head = text.split("\n\n").next().unwrap();
    let line = |line| {
        let (name, value): (&str, &str) = str::split_once(line, ": ")?;
        Some((name, value.as_bytes()))
    };
    head.lines().filter_map(line).collect()
}

fn with_message<T>(text: &str, extra: &str, look: impl FnOnce(&Message<'_>, &[u8]) -> T) -> T {
    let mut fields = lines(text);
    fields.extend(lines(extra));
    let first: Vec<&str> = text.lines().next().unwrap().split(' ').collect();
    let body = text.split_once("\n\n").unwrap().1.as_bytes();
    if first[0].starts_with("HTTP/") {
        let status = first[1].parse().unwrap();
        return look(&Message::Response(Response { status, fields: &fields, request: None }), body);
    }
    let authority = fields.iter().find(|(name, _)| *name == "Host").unwrap().1;
    let request = Request {
        method: first[0],
        scheme: "https",
        authority: std::str::from_utf8(authority).unwrap(),
        target: first[1],
        fields: &fields,
    };
    look(&Message::Request(request), body)
}

fn verifying_key(algorithm: SignatureAlgorithm, key_id: &str, keys: &Value) -> MessageVerifyingKey {
    if algorithm == SignatureAlgorithm::HmacSha256 {
        return MessageVerifyingKey::from_shared_secret(key_id, &shared_secret(keys)).unwrap();
    }
    let jwks = keys["jwk_public"].as_array().unwrap();
    let jwk = jwks.iter().find(|jwk| jwk["kid"] == key_id).unwrap();
    MessageVerifyingKey::from_public_jwk(algorithm, key_id, jwk).unwrap()
}

fn shared_secret(keys: &Value) -> SecretBytes {
    SecretBytes::new(STANDARD.decode(keys["shared_secret_base64"].as_str().unwrap()).unwrap())
}

#[test]
fn rfc_9421_b_2_bases_and_signatures() {
    let keys = read_json("rfc/rfc9421-appendix-b1-public.json");
    let Some((file, keys)) = read_json("rfc/rfc9421-appendix-b2.json").zip(keys) else {
        return;
    };
    let cases = file["cases"].as_array().unwrap();
    assert_eq!(cases.len(), 6);
    for case in cases {
        let name = case["name"].as_str().unwrap();
        let algorithm = SignatureAlgorithm::ALL.into_iter();
        let algorithm = algorithm.filter(|one| name.ends_with(one.as_str())).next_back().unwrap();
        let text = file["messages"][usize::from(name.contains("response"))].as_str().unwrap();
        with_message(text, case["headers"].as_str().unwrap(), |message, body| {
            assert_eq!(check_content_digest(message.fields(), body), Ok(()), "{name}");
            let signatures = Signatures::read(message.fields()).unwrap();
            let [signature] = signatures.all() else { panic!("{name}") };
            let key = verifying_key(algorithm, signature.key_id().unwrap(), &keys);
            let verified = signature.verify(message, &key, &expectations()).unwrap();
            let parameters = case["headers"].as_str().unwrap().lines().next().unwrap();
            let parameters = parameters.split_once('=').unwrap().1;
            let base = signature_base(message, &verified.covered, parameters).unwrap();
            assert_eq!(base, case["signature_base"].as_str().unwrap(), "{name}");
            assert_eq!(verified.created_s, 1_618_884_473, "{name}");
            // The same modulus under the other padding believes nothing.
            if algorithm == SignatureAlgorithm::RsaPssSha512 {
                let other = verifying_key(SignatureAlgorithm::RsaV15Sha256, key.key_id(), &keys);
                let refused = signature.verify(message, &other, &expectations()).unwrap_err();
                assert_eq!(refused, SignatureError::BadSignature, "{name}");
            }
        });
    }
}

/// What has one signature only is made to the letter: HMAC, and Ed25519 by the key of B.1.4.
#[test]
fn rfc_9421_b_2_5_and_b_2_6_are_made_to_the_letter() {
    let keys = read_json("rfc/rfc9421-appendix-b1-public.json");
    let Some((file, keys)) = read_json("rfc/rfc9421-appendix-b2.json").zip(keys) else {
        return;
    };
    let ed25519 = STANDARD
        .decode("MC4CAQAwBQYDK2VwBCIEIJ+DYvh6SEqVTm50DFtMDoQikTmiCqirVv9mWG9qfSnF")
        .unwrap();
    let of = |algorithm, key_id, secret: &SecretBytes| {
        MessageSigningKey::from_private_bytes(algorithm, key_id, secret).unwrap()
    };
    let hmac = of(SignatureAlgorithm::HmacSha256, "test-shared-secret", &shared_secret(&keys));
    let ed25519 = of(SignatureAlgorithm::Ed25519, "test-key-ed25519", &SecretBytes::new(ed25519));
    let b_2_6 = ["date", "@method", "@path", "@authority", "content-type", "content-length"];
    let cases: [(usize, &str, &[&str], _); 2] = [
        (4, "sig-b25", &["date", "@authority", "content-type"], hmac),
        (5, "sig-b26", &b_2_6, ed25519),
    ];
    for (at, label, covered, key) in cases {
        with_message(file["messages"][0].as_str().unwrap(), "", |message, _| {
            let parameters = SignatureParameters {
                created_s: Some(1_618_884_473),
                ..SignatureParameters::default()
            };
            let made = sign(message, label, &components(covered), &parameters, &key).unwrap();
            let written = format!("Signature-Input: {}\nSignature: {}", made.input, made.signature);
            assert_eq!(written, file["cases"][at]["headers"].as_str().unwrap());
        });
    }
}

#[test]
fn rfc_9421_b_1_1_is_a_key_of_pkcs_1_v1_5() {
    let Some(keys) = read_json("rfc/rfc9421-appendix-b1-public.json") else { return };
    let key = verifying_key(SignatureAlgorithm::RsaV15Sha256, "test-key-rsa", &keys);
    assert_eq!(key.algorithm(), SignatureAlgorithm::RsaV15Sha256);
}

/// RFC 9530 appendix B.1 and RFC 9421 section 2.1: the same text, without and with its end of line.
#[test]
fn rfc_9530_digests() {
    let cases: [(&[u8], _, &str); 3] = [
        (
            b"{\"hello\": \"world\"}\n",
            DigestAlgorithm::Sha256,
            "sha-256=:RK/0qy18MlBSVnWgjwz6lZEWjP/lF5HF9bvEF8FabDg=:",
        ),
        (
            b"{\"hello\": \"world\"}",
            DigestAlgorithm::Sha256,
            "sha-256=:X48E9qOokqqrvdts8nOJRJN3OWDUoyWxBf7kbu9DBPE=:",
        ),
        (
            b"{\"hello\": \"world\"}",
            DigestAlgorithm::Sha512,
            "sha-512=:WZDPaVn/7XgHaAy8pmojAkGWoRx2UFChF41A2svX+TaPm+AbwAgBWnrIiYllu7BNNyealdVLvRwEmTHWXvJwew==:",
        ),
    ];
    for (content, algorithm, field) in cases {
        assert_eq!(content_digest(algorithm, content), field);
        assert_eq!(check_content_digest(&[("content-digest", field.as_bytes())], content), Ok(()));
    }
}
