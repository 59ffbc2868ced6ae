//! What is refused and why: each table an attempt to have something believed that was not signed.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};

use super::*;

const COVERED: [&str; 4] = ["@method", "@authority", "@target-uri", "content-digest"];

fn signed_payment() -> Owned {
    let payment = Owned::payment();
    let fields = payment.sign(&COVERED, key());
    payment.signed(&fields)
}

/// The payment with one part of the written signature replaced by something else.
fn with_input(from: &str, to: &str) -> Owned {
    let payment = Owned::payment();
    let mut fields = payment.sign(&COVERED, key());
    assert!(fields.input.contains(from), "{from} is not in {}", fields.input);
    fields.input = fields.input.replacen(from, to, 1);
    payment.signed(&fields)
}

#[test]
fn what_was_signed_is_believed_and_nothing_beside_it() {
    type Change = fn(&mut Owned);

    let verified = signed_payment().verify(key()).unwrap();
    assert_eq!(verified.covered, components(&COVERED));
    assert_eq!((verified.key_id.as_str(), verified.created_s), (KEY_ID, NOW_S - 7));
    assert_eq!(verified.taken_until_s, NOW_S - 7 + 300);
    assert_eq!((verified.nonce, verified.tag), (None, None));
    let changes: [(&str, Change, bool); 9] = [
        ("method", |m| m.method = "PUT".to_owned(), false),
        ("case of the method", |m| m.method = "post".to_owned(), false),
        ("authority", |m| m.authority = "bank2.example".to_owned(), false),
        ("port", |m| m.authority = "bank.example:444".to_owned(), false),
        ("scheme", |m| m.scheme = "http".to_owned(), false),
        ("path", |m| m.target = m.target.replace("transfers", "transfer"), false),
        ("query", |m| m.target = m.target.replace("false", "true"), false),
        ("digest", |m| m.fields[1].1[12] ^= 1, false),
        ("what is not covered", |m| m.fields[0].1 = b"text/plain".to_vec(), true),
    ];
    for (what, change, is_believed) in changes {
        let mut message = signed_payment();
        change(&mut message);
        let found = message.verify(key()).map(drop);
        let expected = if is_believed { Ok(()) } else { Err(SignatureError::BadSignature) };
        assert_eq!(found, expected, "{what}");
    }
    // `@authority` is the same in another spelling; `@target-uri` is as it was sent.
    let payment = Owned::payment();
    let mut respelled = payment.clone().signed(&payment.sign(&["@authority"], key()));
    respelled.authority = "BANK.example:443".to_owned();
    assert!(respelled.verify(key()).is_ok());
    // A second line of a covered field is another value.
    let doubled = signed_payment().with("content-digest", "sha-256=:YQ==:");
    assert_eq!(doubled.verify(key()).unwrap_err(), SignatureError::BadSignature);
}

#[test]
fn what_a_signature_says_of_itself_is_signed() {
    let created = NOW_S - 7;
    for (from, to, why) in [
        (created.to_string(), (created + 1).to_string(), SignatureError::BadSignature),
        (format!("created={created};"), String::new(), SignatureError::Undated),
        (" \"content-digest\"".to_owned(), String::new(), SignatureError::BadSignature),
        (
            "\"@method\" \"@authority\"".to_owned(),
            "\"@authority\" \"@method\"".to_owned(),
            SignatureError::BadSignature,
        ),
        (KEY_ID.to_owned(), "client-2".to_owned(), SignatureError::WrongKey),
        (format!(";keyid=\"{KEY_ID}\""), String::new(), SignatureError::WrongKey),
        (";keyid".to_owned(), ";nonce=\"n\";keyid".to_owned(), SignatureError::BadSignature),
        (";keyid".to_owned(), ";alg=\"ed25519\";keyid".to_owned(), SignatureError::BadSignature),
        (
            ";keyid".to_owned(),
            ";alg=\"hmac-sha256\";keyid".to_owned(),
            SignatureError::WrongAlgorithm,
        ),
        (";keyid".to_owned(), ";alg=\"none\";keyid".to_owned(), SignatureError::WrongAlgorithm),
        (
            ";keyid".to_owned(),
            ";other=1;keyid".to_owned(),
            SignatureError::Unsupported("other".to_owned()),
        ),
        (
            "\"@method\"".to_owned(),
            "\"@method\" \"@method\"".to_owned(),
            SignatureError::Repeated("\"@method\"".to_owned()),
        ),
        (
            "\"@method\"".to_owned(),
            "\"@method\" \"x-none\"".to_owned(),
            SignatureError::ComponentAbsent("\"x-none\"".to_owned()),
        ),
        (
            "\"@method\"".to_owned(),
            "\"@method\" \"@signature-params\"".to_owned(),
            SignatureError::Unsupported("\"@signature-params\"".to_owned()),
        ),
        (
            "\"@method\"".to_owned(),
            "\"@method\" \"content-type\";tr".to_owned(),
            SignatureError::Unsupported("\"content-type\";tr".to_owned()),
        ),
        ("\"@method\"".to_owned(), "\"@method\" date".to_owned(), SignatureError::Malformed),
    ] {
        assert_eq!(with_input(&from, &to).verify(key()).unwrap_err(), why, "{from} -> {to}");
    }
    // Another spelling of the same parameters is the same, and the label is nobody's.
    assert!(with_input(" \"content-digest\"", "   \"content-digest\" ").verify(key()).is_ok());
    let mut renamed = signed_payment();
    for (_, value) in &mut renamed.fields[3..] {
        value.splice(..3, *b"proxy");
    }
    assert!(renamed.verify(key()).is_ok());
}

#[test]
fn a_signature_has_its_time() {
    let sign_at = |created_s, expires_s| {
        let payment = Owned::payment();
        let parameters = SignatureParameters { created_s, expires_s, ..Default::default() };
        let covered = components(&COVERED);
        let fields =
            payment.request(|message| sign(message, "sig", &covered, &parameters, key()).unwrap());
        payment.signed(&fields)
    };
    for (created_s, expires_s, expected) in [
        (Some(NOW_S), None, Ok(NOW_S + 300)),
        (Some(NOW_S + 5), None, Ok(NOW_S + 305)),
        (Some(NOW_S + 6), None, Err(SignatureError::NotYetValid)),
        (Some(NOW_S - 299), None, Ok(NOW_S + 1)),
        (Some(NOW_S - 300), None, Err(SignatureError::Expired)),
        (Some(NOW_S - 10), Some(NOW_S + 1), Ok(NOW_S + 1)),
        (Some(NOW_S - 10), Some(NOW_S), Err(SignatureError::Expired)),
        // A message does not lengthen its own life.
        (Some(NOW_S - 10), Some(NOW_S + 9_999), Ok(NOW_S + 290)),
        (Some(NOW_S - 300), Some(NOW_S + 9_999), Err(SignatureError::Expired)),
        (Some(-999_999_999_999_999), None, Err(SignatureError::Expired)),
        (Some(999_999_999_999_999), None, Err(SignatureError::NotYetValid)),
        (None, Some(NOW_S + 1), Err(SignatureError::Undated)),
        (None, None, Err(SignatureError::Undated)),
    ] {
        let found = sign_at(created_s, expires_s).verify(key());
        let found = found.map(|verified| verified.taken_until_s);
        assert_eq!(found, expected, "{created_s:?} {expires_s:?}");
    }
}

#[test]
fn what_has_to_be_covered_is_asked_for() {
    let message = signed_payment();
    let covering = |texts: &[&str]| {
        let covered = components(texts);
        message.verify_as(key(), &Expectations { covered: &covered, ..expectations() }).map(drop)
    };
    assert_eq!(covering(&["content-digest", "@method"]), Ok(()));
    for text in ["content-type", "@path", "\"content-digest\";sf", "\"@method\";req"] {
        let why = SignatureError::Uncovered(component(text).to_string());
        assert_eq!(covering(&["@method", text]), Err(why), "{text}");
    }
}

#[test]
fn a_nonce_is_there_where_it_has_to_be() {
    let sign_with = |nonce: Option<&str>| {
        let parameters = SignatureParameters {
            created_s: Some(NOW_S),
            nonce: nonce.map(str::to_owned),
            ..SignatureParameters::default()
        };
        let payment = Owned::payment();
        let covered = components(&COVERED);
        let fields = payment.request(|message| sign(message, "sig", &covered, &parameters, key()));
        payment.signed(&fields.unwrap())
    };
    let wanted = Expectations { needs_nonce: true, ..expectations() };
    let verified = sign_with(Some("n-1")).verify_as(key(), &wanted).unwrap();
    assert_eq!(verified.nonce.as_deref(), Some("n-1"));
    for nonce in [None, Some("")] {
        let message = sign_with(nonce);
        let refused = message.verify_as(key(), &wanted).unwrap_err();
        assert_eq!(refused, SignatureError::NoNonce, "{nonce:?}");
        assert!(message.verify(key()).is_ok(), "{nonce:?}");
    }
    // One signature cannot be given another nonce, nor lose its own.
    for (from, to, expected) in [
        ("nonce=\"n-1\"", "nonce=\"n-2\"", SignatureError::BadSignature),
        ("nonce=\"n-1\"", "nonce=\"N-1\"", SignatureError::BadSignature),
        (";nonce=\"n-1\"", "", SignatureError::NoNonce),
        ("nonce=\"n-1\"", "nonce=\"n-1\";nonce=\"n-2\"", SignatureError::Malformed),
        ("nonce=\"n-1\"", "nonce=n-1", SignatureError::Malformed),
    ] {
        let mut message = sign_with(Some("n-1"));
        let input = &mut message.fields[3].1;
        *input = String::from_utf8(input.clone()).unwrap().replacen(from, to, 1).into_bytes();
        assert_eq!(message.verify_as(key(), &wanted).unwrap_err(), expected, "{to}");
    }
}

#[test]
fn a_tag_is_for_its_own_purpose() {
    let payment = Owned::payment();
    let parameters = SignatureParameters {
        created_s: Some(NOW_S),
        names_algorithm: true,
        nonce: Some("a \"b\" \\".to_owned()),
        tag: Some("payment".to_owned()),
        ..SignatureParameters::default()
    };
    let covered = components(&COVERED);
    let fields =
        payment.request(|message| sign(message, "sig", &covered, &parameters, key()).unwrap());
    let signed = payment.signed(&fields);
    let tagged = |tag| signed.verify_as(key(), &Expectations { tag, ..expectations() });
    let verified = tagged(Some("payment")).unwrap();
    assert_eq!(verified.nonce.as_deref(), Some("a \"b\" \\"));
    assert_eq!(verified.tag.as_deref(), Some("payment"));
    assert!(tagged(None).is_ok());
    assert_eq!(tagged(Some("policy")).unwrap_err(), SignatureError::WrongTag);
    let untagged = signed_payment();
    let refused = untagged.verify_as(key(), &Expectations { tag: Some("x"), ..expectations() });
    assert_eq!(refused.unwrap_err(), SignatureError::WrongTag);
}

/// The key is of one algorithm, whatever signature or message comes.
#[test]
fn a_signature_of_one_algorithm_is_none_of_another() {
    for (made_by, signer) in keys().iter().enumerate() {
        let payment = Owned::payment();
        let fields = payment.sign(&COVERED, signer);
        let signed = payment.signed(&fields);
        for (read_by, reader) in keys().iter().enumerate() {
            let found = signed.verify(reader).map(drop);
            let expected =
                if made_by == read_by { Ok(()) } else { Err(SignatureError::BadSignature) };
            assert_eq!(found, expected, "{:?} {:?}", signer.algorithm(), reader.algorithm());
        }
    }
}

/// Whoever knows a public key signs with it as if it were a shared secret.
#[test]
fn a_public_key_is_no_secret() {
    use crate::signing::{Algorithm, SigningKey};

    for (algorithm, kind) in [
        (SignatureAlgorithm::RsaPssSha512, Algorithm::RS256),
        (SignatureAlgorithm::EcdsaP256Sha256, Algorithm::ES256),
        (SignatureAlgorithm::Ed25519, Algorithm::EdDSA),
    ] {
        let mut jwk = SigningKey::generate(kind, KEY_ID).unwrap().public_jwk().unwrap();
        jwk.as_object_mut().unwrap().remove("alg");
        let reader = MessageVerifyingKey::from_public_jwk(algorithm, KEY_ID, &jwk).unwrap();
        let member = jwk.get("n").or(jwk.get("x")).unwrap().as_str().unwrap();
        let public = URL_SAFE_NO_PAD.decode(member).unwrap();
        for secret in [public, member.as_bytes().to_vec(), jwk.to_string().into_bytes()] {
            let secret = SecretBytes::new(secret);
            let hmac = SignatureAlgorithm::HmacSha256;
            let forger = MessageSigningKey::from_private_bytes(hmac, KEY_ID, &secret).unwrap();
            for (names_algorithm, why) in
                [(false, SignatureError::BadSignature), (true, SignatureError::WrongAlgorithm)]
            {
                let parameters = SignatureParameters {
                    created_s: Some(NOW_S),
                    names_algorithm,
                    ..SignatureParameters::default()
                };
                let covered = components(&COVERED);
                let payment = Owned::payment();
                let made = payment.request(|m| sign(m, "sig", &covered, &parameters, &forger));
                let refused = payment.signed(&made.unwrap()).request(|message| {
                    let signatures = Signatures::read(message.fields()).unwrap();
                    signatures.all()[0].verify(message, &reader, &expectations())
                });
                assert_eq!(refused.unwrap_err(), why, "{algorithm:?}");
            }
        }
    }
}

#[test]
fn a_signature_has_its_own_length() {
    for signer in keys() {
        let payment = Owned::payment();
        let fields = payment.sign(&COVERED, signer);
        let encoded = fields.signature.trim_start_matches("sig=:").trim_end_matches(':');
        let good = STANDARD.decode(encoded).unwrap();
        let leading = [&[0][..], &good].concat();
        let trailing = [good.as_slice(), &[0]].concat();
        let twice = [good.as_slice(), &good].concat();
        // ECDSA as everybody else writes it.
        let half = good.len() / 2;
        let whole = u8::try_from(good.len() % 128 + 8).unwrap();
        let number = |bytes: &[u8]| {
            let length = u8::try_from(bytes.len() % 128 + 1).unwrap();
            [&[2, length, 0][..], bytes].concat()
        };
        let der = [&[0x30, whole][..], &number(&good[..half]), &number(&good[half..])].concat();
        let others =
            [&[][..], &[0], &good[1..], &good[..good.len() - 1], &leading, &trailing, &twice, &der];
        for bytes in others {
            let signature = format!("sig=:{}:", STANDARD.encode(bytes));
            let forged = SignatureFields { input: fields.input.clone(), signature };
            let refused = payment.clone().signed(&forged).verify(signer).unwrap_err();
            assert_eq!(refused, SignatureError::BadSignature, "{:?}", signer.algorithm());
        }
    }
}

/// Every single one, for every algorithm: what the fields say is signed, and so is how it is
/// written.
#[test]
fn any_changed_bit_of_the_signature_fields_is_refused() {
    for signer in keys() {
        let verifying = signer.verifying_key().unwrap();
        let payment = Owned::payment();
        let signed = payment.clone().signed(&payment.sign(&COVERED, signer));
        for field in [3, 4] {
            for at in 0..signed.fields[field].1.len() {
                for bit in 0..8 {
                    let mut changed = signed.clone();
                    changed.fields[field].1[at] ^= 1 << bit;
                    let is_refused = changed.request(|message| {
                        let signatures = Signatures::read(message.fields())?;
                        signatures.all()[0].verify(message, &verifying, &expectations())
                    });
                    assert!(is_refused.is_err(), "{:?} {field} {at} {bit}", signer.algorithm());
                }
            }
        }
    }
}

#[test]
fn signature_fields_are_well_formed_and_belong_together() {
    let good = Owned::payment().sign(&COVERED, key());
    let (input, value) = (good.input.as_str(), good.signature.as_str());
    let other = |text: &str| text.replacen("sig", "sig2", 1);
    let both = |text: &str| format!("{text}, {}", other(text));
    let many = |text: &str, count: usize| {
        (0..count)
            .map(|at| text.replacen("sig", &format!("s{at}"), 1))
            .collect::<Vec<_>>()
            .join(",")
    };
    let read = |inputs: &[&str], values: &[&str]| {
        let line = |name: &'static str| move |value: &&str| (name, value.as_bytes().to_vec());
        let lines: Vec<(&str, Vec<u8>)> = inputs
            .iter()
            .map(line("SIGNATURE-input"))
            .chain(values.iter().map(line("Signature")))
            .collect();
        let lines: Vec<FieldLine<'_>> = lines.iter().map(|(n, v)| (*n, v.as_slice())).collect();
        Signatures::read(&lines).map(|signatures| signatures.all().len())
    };
    assert_eq!(read(&[], &[]), Err(SignatureError::Absent));
    assert_eq!(read(&[input], &[value]), Ok(1));
    assert_eq!(read(&[&both(input)], &[&other(value), value]), Ok(2));
    assert_eq!(read(&[&many(input, 8)], &[&many(value, 8)]), Ok(8));
    let long = format!("sig=(\"{}\")", "a".repeat(16 * 1024));
    let cases: [(&[&str], &[&str]); 16] = [
        (&[input], &[]),
        (&[], &[value]),
        (&[""], &[""]),
        (&[input], &[&other(value)]),
        (&[&both(input)], &[value]),
        (&[input], &[&both(value)]),
        (&[input, input], &[value, value]),
        (&[&many(input, 9)], &[&many(value, 9)]),
        (&["sig=\"@method\""], &[value]),
        (&["sig"], &[value]),
        (&[input], &["sig=(:YQ==:)"]),
        (&[input], &["sig=\"YQ==\""]),
        (&[input], &["sig"]),
        (&["sig=();created=\"1\""], &[value]),
        (&["sig=();created=1.0"], &[value]),
        (&[&long], &[value]),
    ];
    for (inputs, values) in cases {
        assert_eq!(read(inputs, values), Err(SignatureError::Malformed), "{inputs:?} {values:?}");
    }
    let long = format!("nonce=\"{}\"", "a".repeat(257));
    for parameter in
        [long.as_str(), "expires=a", "alg=ed25519", "keyid=:YQ==:", "nonce=1", "tag", "keyid=?1"]
    {
        let input = format!("sig=();{parameter}");
        assert_eq!(read(&[&input], &[value]), Err(SignatureError::Malformed), "{parameter}");
    }
}

/// One signature among several that we cannot read does not take the others along.
#[test]
fn a_proxys_signature_stands_beside_the_clients() {
    let payment = Owned::payment();
    let own = payment.sign(&COVERED, key());
    let signed = payment
        .with("Signature-Input", "proxy=(\"@method\";tr \"x-y\");created=1;keyid=\"p\";hops=2")
        .with("Signature", "proxy=:YQ==:")
        .signed(&own);
    let key = key().verifying_key().unwrap();
    signed.request(|message| {
        let signatures = Signatures::read(message.fields()).unwrap();
        let [proxy, client] = signatures.all() else { panic!("two") };
        assert_eq!((proxy.label(), proxy.key_id(), proxy.tag()), ("proxy", Some("p"), None));
        assert_eq!(client.label(), "sig");
        assert!(client.verify(message, &key, &expectations()).is_ok());
        let refused = proxy.verify(message, &key, &expectations()).unwrap_err();
        assert_eq!(refused, SignatureError::WrongKey);
    });
}

#[test]
fn what_is_covered_is_bounded() {
    let names: Vec<String> = (0..65).map(|at| format!("x-{at}")).collect();
    let mut payment = Owned::payment();
    for name in &names {
        payment = payment.with(name, "a".repeat(2_000));
    }
    let all: Vec<Component> = names.iter().map(|name| component(name)).collect();
    let try_sign = |message: &Owned, covered: &[Component]| {
        let parameters = SignatureParameters::default();
        message.request(|message| sign(message, "sig", covered, &parameters, key()).map(drop))
    };
    assert_eq!(try_sign(&payment, &all), Err(SignatureError::TooLarge));
    assert_eq!(try_sign(&payment, &all[..64]), Ok(()));
    let heavy = payment.with("x-heavy", "a".repeat(130_000));
    assert_eq!(try_sign(&heavy, &[component("x-heavy")]), Ok(()));
    let both = [component("x-heavy"), component("x-0")];
    assert_eq!(try_sign(&heavy, &both), Err(SignatureError::TooLarge));
}

#[test]
fn what_cannot_be_written_is_not_signed() {
    let try_sign = |label: &str, parameters: SignatureParameters| {
        Owned::payment().request(|message| sign(message, label, &[], &parameters, key()).map(drop))
    };
    let text = |text: &str| Some(text.to_owned());
    let none = SignatureParameters::default;
    assert_eq!(try_sign("sig-1", none()), Ok(()));
    for label in ["", "Sig", "a b", "a=", "1a", &"a".repeat(257)] {
        assert_eq!(try_sign(label, none()), Err(SignatureError::Malformed), "{label}");
    }
    for parameters in [
        SignatureParameters { nonce: text("é"), ..none() },
        SignatureParameters { nonce: text("a\n"), ..none() },
        SignatureParameters { tag: text(&"a".repeat(257)), ..none() },
        SignatureParameters { created_s: Some(1_000_000_000_000_000), ..none() },
        SignatureParameters { expires_s: Some(i64::MIN), ..none() },
    ] {
        let refused = try_sign("sig", parameters.clone());
        assert_eq!(refused, Err(SignatureError::Malformed), "{parameters:?}");
    }
}

#[test]
fn a_digest_is_of_its_content() {
    let sha256 = content_digest(DigestAlgorithm::Sha256, b"body");
    let sha512 = content_digest(DigestAlgorithm::Sha512, b"body");
    let of_other = content_digest(DigestAlgorithm::Sha512, b"Body");
    let check = |lines: &[&str]| {
        let lines: Vec<FieldLine<'_>> =
            lines.iter().map(|line| ("Content-Digest", line.as_bytes())).collect();
        check_content_digest(&lines, b"body")
    };
    let md5 = "md5=:hBotaJrYa9FhFEdFPCLG/A==:";
    let cut = "sha-256=:YQ==:";
    let table: [(&[&str], Result<(), DigestError>); 14] = [
        (&[&sha256], Ok(())),
        (&[&sha512], Ok(())),
        (&[&sha256, &sha512], Ok(())),
        (&[md5, &sha256], Ok(())),
        (&[], Err(DigestError::Absent)),
        (&[""], Err(DigestError::Unsupported)),
        (&[md5], Err(DigestError::Unsupported)),
        // One that fits does not excuse one that does not.
        (&[&sha256, &of_other], Err(DigestError::Mismatch)),
        (&[&of_other], Err(DigestError::Mismatch)),
        (&[cut], Err(DigestError::Mismatch)),
        (&["sha-256=::"], Err(DigestError::Mismatch)),
        (&["sha-256=abc"], Err(DigestError::Malformed)),
        (&["sha-256"], Err(DigestError::Malformed)),
        (&[&sha256, &sha256], Err(DigestError::Malformed)),
    ];
    for (lines, expected) in table {
        assert_eq!(check(lines), expected, "{lines:?}");
    }
    assert!(check(&["SHA-256=:YQ==:"]).is_err());
}
