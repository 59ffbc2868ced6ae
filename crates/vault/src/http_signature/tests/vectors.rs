//! What is published: RFC 9421 appendix B and the signatures of its sections 2.4 and 4.3, and
//! the digests of RFC 9530. Appendix B has no signature by `ecdsa-p384-sha384`, which we do not
//! take, and none by `rsa-v1_5-sha256`, which section 4.3 has.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use super::super::base::signature_base;
use super::*;
use crate::vectors::read_json;

const DIGEST: &str = "sha-512=:WZDPaVn/7XgHaAy8pmojAkGWoRx2UFChF41A2svX+TaPm+AbwAgBWnrIiYllu7BNNyealdVLvRwEmTHWXvJwew==:";
const B_4: &str = "Signature-Input: transform=(\"@method\" \"@path\" \"@authority\" \"accept\");created=1618884473;keyid=\"test-key-ed25519\"
Signature: transform=:ZT1kooQsEHpZ0I1IjCqtQppOmIqlJPeo7DHR3SoMn0s5JZ1eRGS0A+vyYP9t/LXlh5QMFFQ6cpLt2m0pmj3NDA==:";

/// A message out of its text: a start line, field lines and, behind an empty line, its content.
fn read(text: &str) -> Owned {
    let mut lines = text.split("\n\n").next().unwrap().lines();
    let start: Vec<&str> = lines.next().unwrap().split(' ').collect();
    let field = |line: &str| {
        let (name, value) = line.split_once(':').unwrap();
        (name.to_owned(), value.as_bytes().to_vec())
    };
    let fields: Vec<(String, Vec<u8>)> = lines.map(field).collect();
    let host = fields.iter().find(|(name, _)| name == "Host");
    let host = host.map(|(_, value)| std::str::from_utf8(value).unwrap().trim().to_owned());
    let is_response = start[0].starts_with("HTTP/");
    Owned {
        method: start[0].to_owned(),
        scheme: "https".to_owned(),
        authority: host.unwrap_or_default(),
        target: start[1].to_owned(),
        status: if is_response { start[1].parse().unwrap() } else { 0 },
        fields,
    }
}

fn with_lines(message: &str, lines: &str) -> Owned {
    read(&format!("{}\n{lines}", message.split("\n\n").next().unwrap()))
}

/// The RFC's keys, absent where its file is.
fn published_keys() -> Option<Value> {
    read_json("rfc/rfc9421-appendix-b1-public.json")
}

fn published_key(key_id: &str, keys: &Value) -> MessageVerifyingKey {
    let algorithm = match key_id {
        "test-key-rsa" => SignatureAlgorithm::RsaV15Sha256,
        "test-key-rsa-pss" => SignatureAlgorithm::RsaPssSha512,
        "test-key-ecc-p256" => SignatureAlgorithm::EcdsaP256Sha256,
        "test-key-ed25519" => SignatureAlgorithm::Ed25519,
        "test-shared-secret" => {
            return MessageVerifyingKey::from_shared_secret(key_id, &shared_secret(keys)).unwrap();
        }
        _ => panic!("{key_id}"),
    };
    MessageVerifyingKey::from_public_jwk(algorithm, key_id, public_jwk(key_id, keys)).unwrap()
}

fn public_jwk<'a>(key_id: &str, keys: &'a Value) -> &'a Value {
    let jwks = keys["jwk_public"].as_array().unwrap();
    jwks.iter().find(|jwk| jwk["kid"] == key_id).unwrap()
}

fn shared_secret(keys: &Value) -> SecretBytes {
    SecretBytes::new(STANDARD.decode(keys["shared_secret_base64"].as_str().unwrap()).unwrap())
}

/// Whether each signature of a message is one of the RFC's key that it names.
fn verify_all(message: &Message<'_>, keys: &Value) -> Vec<Result<(), SignatureError>> {
    let signatures = Signatures::read(message.fields()).unwrap();
    let verify = |signature: &ReceivedSignature| {
        let key = published_key(signature.key_id().unwrap(), keys);
        signature.verify(message, &key, &expectations()).map(drop)
    };
    signatures.all().iter().map(verify).collect()
}

#[test]
fn rfc_9421_b_2_bases_and_signatures() {
    let Some((file, keys)) = read_json("rfc/rfc9421-appendix-b2.json").zip(published_keys()) else {
        return;
    };
    let cases = file["cases"].as_array().unwrap();
    assert_eq!(cases.len(), 6);
    for case in cases {
        let name = case["name"].as_str().unwrap();
        let text = file["messages"][usize::from(name.contains("response"))].as_str().unwrap();
        let content = text.split_once("\n\n").unwrap().1.as_bytes();
        let headers = case["headers"].as_str().unwrap();
        let message = with_lines(text, headers);
        let look = |message: &Message<'_>| {
            assert_eq!(check_content_digest(message.fields(), content), Ok(()), "{name}");
            let signatures = Signatures::read(message.fields()).unwrap();
            let [signature] = signatures.all() else { panic!("{name}") };
            let key = published_key(signature.key_id().unwrap(), &keys);
            assert!(name.ends_with(key.algorithm().as_str()), "{name}");
            let verified = signature.verify(message, &key, &expectations()).unwrap();
            let parameters = headers.lines().next().unwrap().split_once('=').unwrap().1;
            let base = signature_base(message, &verified.covered, parameters).unwrap();
            assert_eq!(base, case["signature_base"].as_str().unwrap(), "{name}");
            assert_eq!(verified.created_s, 1_618_884_473, "{name}");
            // The same modulus under the other padding believes nothing.
            if key.algorithm() == SignatureAlgorithm::RsaPssSha512 {
                let other = MessageVerifyingKey::from_public_jwk(
                    SignatureAlgorithm::RsaV15Sha256,
                    key.key_id(),
                    public_jwk(key.key_id(), &keys),
                );
                let refused = signature.verify(message, &other.unwrap(), &expectations());
                assert_eq!(refused.unwrap_err(), SignatureError::BadSignature, "{name}");
            }
        };
        if name.contains("response") {
            message.response(&Owned::payment(), look);
        } else {
            message.request(look);
        }
    }
}

/// What has one signature only is made to the letter: HMAC, and Ed25519 by the key of B.1.4.
#[test]
fn rfc_9421_b_2_5_and_b_2_6_are_made_to_the_letter() {
    let Some((file, keys)) = read_json("rfc/rfc9421-appendix-b2.json").zip(published_keys()) else {
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
    let message = read(file["messages"][0].as_str().unwrap());
    for (at, label, covered, key) in cases {
        let parameters = SignatureParameters {
            created_s: Some(1_618_884_473),
            ..SignatureParameters::default()
        };
        let covered = components(covered);
        let made = message.request(|message| sign(message, label, &covered, &parameters, &key));
        let made = made.unwrap();
        let written = format!("Signature-Input: {}\nSignature: {}", made.input, made.signature);
        assert_eq!(written, file["cases"][at]["headers"].as_str().unwrap());
    }
}

#[test]
fn rfc_9421_b_3_a_proxy_that_ends_tls() {
    let Some(keys) = published_keys() else { return };
    let message = read(
        "POST /foo?param=Value&Pet=dog HTTP/1.1
Host: service.internal.example
Date: Tue, 20 Apr 2021 02:07:55 GMT
Content-Type: application/json
Content-Length: 18
Client-Cert: :MIIBqDCCAU6gAwIBAgIBBzAKBggqhkjOPQQDAjA6MRswGQYDVQQKDBJMZXQncyBBdXRoZW50aWNhdGUxGzAZBgNVBAMMEkxBIEludGVybWVkaWF0ZSBDQTAeFw0yMDAxMTQyMjU1MzNaFw0yMTAxMjMyMjU1MzNaMA0xCzAJBgNVBAMMAkJDMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE8YnXXfaUgmnMtOXU/IncWalRhebrXmckC8vdgJ1p5Be5F/3YC8OthxM4+k1M6aEAEFcGzkJiNy6J84y7uzo9M6NyMHAwCQYDVR0TBAIwADAfBgNVHSMEGDAWgBRm3WjLa38lbEYCuiCPct0ZaSED2DAOBgNVHQ8BAf8EBAMCBsAwEwYDVR0lBAwwCgYIKwYBBQUHAwIwHQYDVR0RAQH/BBMwEYEPYmRjQGV4YW1wbGUuY29tMAoGCCqGSM49BAMCA0gAMEUCIBHda/r1vaL6G3VliL4/Di6YK0Q6bMjeSkC3dFCOOB8TAiEAx/kHSB4urmiZ0NX5r5XarmPk0wmuydBVoU4hBVZ1yhk=:
Signature-Input: ttrp=(\"@path\" \"@query\" \"@method\" \"@authority\" \"client-cert\");created=1618884473;keyid=\"test-key-ecc-p256\"
Signature: ttrp=:xVMHVpawaAC/0SbHrKRs9i8I3eOs5RtTMGCWXm/9nvZzoHsIg6Mce9315T6xoklyy0yzhD9ah4JHRwMLOgmizw==:",
    );
    assert_eq!(message.request(|message| verify_all(message, &keys)), [Ok(())]);
}

/// Its message, the two changes on the way that a signature outlives, and the two that it does not.
#[test]
fn rfc_9421_b_4_transformations() {
    let Some(keys) = published_keys() else { return };
    let bad = Err(SignatureError::BadSignature);
    let cases = [
        (
            "GET /demo?name1=Value1&Name2=value2 HTTP/1.1
Host: example.org
Date: Fri, 15 Jul 2022 14:24:55 GMT
Accept: application/json
Accept: */*",
            Ok(()),
        ),
        (
            "GET /demo?name1=Value1&Name2=value2&param=added HTTP/1.1
Host: example.org
Date: Fri, 15 Jul 2022 14:24:55 GMT
Accept: application/json
Accept: */*
Accept-Language: en-US,en;q=0.5",
            Ok(()),
        ),
        (
            "GET /demo?name1=Value1&Name2=value2 HTTP/1.1
Host: example.org
Referer: https://developer.example.org/demo
Accept: application/json, */*",
            Ok(()),
        ),
        (
            "POST /demo?name1=Value1&Name2=value2 HTTP/1.1
Host: example.com
Date: Fri, 15 Jul 2022 14:24:55 GMT
Accept: application/json
Accept: */*",
            bad.clone(),
        ),
        (
            "GET /demo?name1=Value1&Name2=value2 HTTP/1.1
Host: example.org
Date: Fri, 15 Jul 2022 14:24:55 GMT
Accept: */*
Accept: application/json",
            bad,
        ),
    ];
    for (text, expected) in cases {
        let found = with_lines(text, B_4).request(|message| verify_all(message, &keys));
        assert_eq!(found, [expected], "{text}");
    }
}

/// Two responses that take parts of the request along.
#[test]
fn rfc_9421_2_4_a_response_bound_to_its_request() {
    let Some(keys) = published_keys() else { return };
    let request = format!(
        "POST /foo?param=Value&Pet=dog HTTP/1.1
Host: example.com
Date: Tue, 20 Apr 2021 02:07:55 GMT
Content-Digest: {DIGEST}
Content-Type: application/json
Content-Length: 18"
    );
    let response = "HTTP/1.1 503 Service Unavailable
Date: Tue, 20 Apr 2021 02:07:56 GMT
Content-Type: application/json
Content-Length: 62
Content-Digest: sha-512=:0Y6iCBzGg5rZtoXS95Ijz03mslf6KAMCloESHObfwnHJDbkkWWQz6PhhU9kxsTbARtY2PTBOzq24uJFpHsMuAg==:";
    let content: &[u8] = b"{\"busy\": true, \"message\": \"Your call is very important to us\"}";
    let signed = [
        (
            "\"@path\";req \"content-digest\";req",
            "dMT/A/76ehrdBTD/2Xx8QuKV6FoyzEP/I9hdzKN8LQJLNgzU4W767HK05rx1i8meNQQgQPgQp8wq2ive3tV5Ag==",
        ),
        (
            "\"@path\";req \"@query\";req \"content-digest\";req \"content-type\";req \"content-length\";req",
            "C73J41GVKc+TYXbSobvZf0CmNcptRiWN+NY1Or0A36ISg6ymdRN6ZgR2QfrtopFNzqAyv+CeWrMsNbcV2Ojsgg==",
        ),
    ];
    for (covered, signature) in signed {
        let lines = format!(
            "Signature-Input: reqres=(\"@status\" \"content-digest\" \"content-type\" \"@authority\";req \"@method\";req {covered});created=1618884479;keyid=\"test-key-ecc-p256\"
Signature: reqres=:{signature}:"
        );
        let response = with_lines(response, &lines);
        let found = |request: &str| {
            response.response(&read(request), |message| {
                assert_eq!(check_content_digest(message.fields(), content), Ok(()));
                verify_all(message, &keys)
            })
        };
        assert_eq!(found(&request), [Ok(())], "{covered}");
        let other = request.replace("/foo", "/bar");
        assert_eq!(found(&other), [Err(SignatureError::BadSignature)], "{covered}");
    }
}

/// A client's signature, and the one of a proxy that passed it on under another name.
#[test]
fn rfc_9421_4_3_two_signatures() {
    let Some(keys) = published_keys() else { return };
    let sent = |host: &str| {
        format!(
            "POST /foo?param=Value&Pet=dog HTTP/1.1
Host: {host}
Date: Tue, 20 Apr 2021 02:07:56 GMT
Content-Type: application/json
Content-Length: 18
Content-Digest: {DIGEST}
Forwarded: for=192.0.2.123;host=example.com;proto=https
Signature-Input: sig1=(\"@method\" \"@authority\" \"@path\" \"content-digest\" \"content-type\" \"content-length\");created=1618884475;keyid=\"test-key-ecc-p256\"
Signature-Input: proxy_sig=(\"@method\" \"@authority\" \"@path\" \"content-digest\" \"content-type\" \"content-length\" \"forwarded\");created=1618884480;keyid=\"test-key-rsa\";alg=\"rsa-v1_5-sha256\";expires=1618884540
Signature: sig1=:X5spyd6CFnAG5QnDyHfqoSNICd+BUP4LYMz2Q0JXlb//4Ijpzp+kve2w4NIyqeAuM7jTDX+sNalzA8ESSaHD3A==:, proxy_sig=:S6ZzPXSdAMOPjN/6KXfXWNO/f7V6cHm7BXYUh3YD/fRad4BCaRZxP+JH+8XY1I6+8Cy+CM5g92iHgxtRPz+MjniOaYmdkDcnL9cCpXJleXsOckpURl49GwiyUpZ10KHgOEe11sx3G2gxI8S0jnxQB+Pu68U9vVcasqOWAEObtNKKZd8tSFu7LB5YAv0RAGhB8tmpv7sFnIm9y+7X5kXQfi8NMaZaA8i2ZHwpBdg7a6CMfwnnrtflzvZdXAsD3LH2TwevU+/PBPv0B6NMNk93wUs/vfJvye+YuI87HU38lZHowtznbLVdp770I6VHR6WfgS9ddzirrswsE1w5o0LV/g==:"
        )
    };
    let found = |host| read(&sent(host)).request(|message| verify_all(message, &keys));
    let bad = Err(SignatureError::BadSignature);
    assert_eq!(found("origin.host.internal.example"), [bad.clone(), Ok(())]);
    assert_eq!(found("example.com"), [Ok(()), bad]);
}

/// RFC 9530 section 2 and appendix B: with the end of its line, without (RFC 9421 section 2.1),
/// nothing, a part, and coded by Brotli, whose bytes are those of erratum 8890. The pair that
/// section 2 shows is of two contents, the coded and the plain one, and so of neither.
#[test]
fn rfc_9530_digests() {
    let cases: [(&[u8], _, &str); 7] = [
        (
            b"{\"hello\": \"world\"}\n",
            DigestAlgorithm::Sha256,
            "sha-256=:RK/0qy18MlBSVnWgjwz6lZEWjP/lF5HF9bvEF8FabDg=:",
        ),
        (
            b"{\"hello\": \"world\"}\n",
            DigestAlgorithm::Sha512,
            "sha-512=:YMAam51Jz/jOATT6/zvHrLVgOYTGFy1d6GJiOHTohq4yP+pgk4vf2aCsyRZOtw8MjkM7iw7yZ/WkppmM44T3qg==:",
        ),
        (
            b"{\"hello\": \"world\"}",
            DigestAlgorithm::Sha256,
            "sha-256=:X48E9qOokqqrvdts8nOJRJN3OWDUoyWxBf7kbu9DBPE=:",
        ),
        (b"{\"hello\": \"world\"}", DigestAlgorithm::Sha512, DIGEST),
        (b"", DigestAlgorithm::Sha256, "sha-256=:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=:"),
        (
            b"\"world\"}\n",
            DigestAlgorithm::Sha256,
            "sha-256=:jjcgBDWNAtbYUXI37CVG3gRuGOAjaaDRGpIUFsdyepQ=:",
        ),
        (
            b"\x0b\x09\x80{\"hello\": \"world\"}\n\x03",
            DigestAlgorithm::Sha256,
            "sha-256=:d435Qo+nKZ+gLcUHn7GQtQ72hiBVAgqoLsZnZPiTGPk=:",
        ),
    ];
    for (content, algorithm, field) in cases {
        assert_eq!(content_digest(algorithm, content), field);
        assert_eq!(check_content_digest(&[("content-digest", field.as_bytes())], content), Ok(()));
    }
    let [(plain, _, of_plain), (coded, _, of_coded)] = [cases[1], cases[6]];
    let pair = format!("{of_coded}, {of_plain}");
    for content in [plain, coded] {
        let found = check_content_digest(&[("content-digest", pair.as_bytes())], content);
        assert_eq!(found, Err(DigestError::Mismatch));
    }
}
