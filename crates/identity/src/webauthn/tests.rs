//! Both ceremonies against a software authenticator that is honest, and then bent in every
//! place.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use proptest::prelude::*;
use serde_json::{Value, json};
use testkit::authenticator::{
    AT, BE, BS, Created, ED, KeyKind, Passkey, Proof, UP, UV, attestation_object, cbor,
};

use super::{
    Expected, Fault, RelyingParty,
    assertion::{Assertion, Proven, Stored},
    cose::CredentialKey,
    registration::{NewCredential, Registration},
};

const SITE: &str = "https://bank.example";
const CHALLENGE: &[u8] = b"a challenge that was given to this browser";
const KINDS: [KeyKind; 3] = [KeyKind::Es256, KeyKind::EdDsa, KeyKind::Rs256];

fn party() -> RelyingParty {
    RelyingParty::of(SITE).unwrap()
}

fn register(created: &Created) -> Result<NewCredential, Fault> {
    let registration = Registration {
        credential_id: &created.credential_id,
        client_data: &created.client_data,
        attestation: &created.attestation,
    };
    let expected = Expected { party: &party(), challenge: CHALLENGE, user_verification: true };
    registration.verify(&expected)
}

fn passkey(kind: KeyKind) -> Passkey {
    let mut passkey = Passkey::new(kind, SITE);
    passkey.user_handle = Some(b"the owner's random name".to_vec());
    passkey
}

fn stored(passkey: &Passkey) -> Stored {
    let credential = register(&passkey.create_for(CHALLENGE)).unwrap();
    Stored {
        key: CredentialKey::from_bytes(&credential.public_key).unwrap(),
        credential_id: credential.credential_id,
        sign_count: credential.sign_count,
        backup_eligible: credential.backup_eligible,
        user_handle: passkey.user_handle.clone().unwrap(),
    }
}

fn prove(proof: &Proof, stored: &Stored) -> Result<Proven, Fault> {
    let assertion = Assertion {
        credential_id: &proof.credential_id,
        client_data: &proof.client_data,
        authenticator_data: &proof.authenticator_data,
        signature: &proof.signature,
        user_handle: proof.user_handle.as_deref(),
    };
    let expected = Expected { party: &party(), challenge: CHALLENGE, user_verification: true };
    assertion.verify(&expected, stored, true)
}

#[test]
fn every_algorithm_registers_and_proves_itself() {
    for kind in KINDS {
        for format in ["none", "packed"] {
            let mut passkey = passkey(kind);
            passkey.format = format;
            passkey.flags |= BE;
            passkey.aaguid = [7; 16];
            let credential = register(&passkey.create_for(CHALLENGE)).unwrap();
            let expected = NewCredential {
                credential_id: passkey.credential_id.clone(),
                public_key: passkey.cose_key(),
                algorithm: i16::try_from(passkey.algorithm()).unwrap(),
                sign_count: 1,
                aaguid: uuid::Uuid::from_bytes([7; 16]),
                backup_eligible: true,
                backed_up: false,
            };
            assert_eq!(credential, expected, "{kind:?} {format}");
            let stored = stored(&passkey);
            passkey.flags |= BS;
            let proven = prove(&passkey.get_for(CHALLENGE), &stored).unwrap();
            let expected = Proven { sign_count: 2, backed_up: true, user_verified: true };
            assert_eq!(proven, expected, "{kind:?} {format}");
        }
    }
}

/// What is done to it.
type Bend = fn(&mut Passkey);

/// The ways to bend an authenticator or browser before either ceremony, and what comes of it.
fn bends() -> Vec<(&'static str, Bend, Fault)> {
    vec![
        ("another site", |key| key.origin = "https://bank.example.evil".into(), Fault::WrongOrigin),
        ("no TLS", |key| key.origin = "http://bank.example".into(), Fault::WrongOrigin),
        ("another port", |key| key.origin = format!("{SITE}:8443"), Fault::WrongOrigin),
        ("the usual port spelt out", |key| key.origin = format!("{SITE}:443"), Fault::WrongOrigin),
        ("a path", |key| key.origin = format!("{SITE}/"), Fault::WrongOrigin),
        ("upper case", |key| key.origin = "https://Bank.example".into(), Fault::WrongOrigin),
        ("a subdomain", |key| key.origin = "https://a.bank.example".into(), Fault::WrongOrigin),
        ("a null origin", |key| key.origin = "null".into(), Fault::WrongOrigin),
        ("another party", |key| key.rp_id = "example".into(), Fault::WrongRelyingParty),
        ("an empty party", |key| key.rp_id = String::new(), Fault::WrongRelyingParty),
        ("a frame", |key| key.client_extra = json!({ "crossOrigin": true }), Fault::CrossOrigin),
        (
            "a frame's top",
            |key| key.client_extra = json!({ "topOrigin": SITE }),
            Fault::CrossOrigin,
        ),
        ("nobody there", |key| key.flags = UV, Fault::UserNotPresent),
        ("nobody verified", |key| key.flags = UP, Fault::UserNotVerified),
        ("no flags", |key| key.flags = 0, Fault::UserNotPresent),
        ("backed up, not eligible", |key| key.flags |= BS, Fault::InconsistentBackup),
        ("extensions announced", |key| key.flags |= ED, Fault::MalformedAuthenticatorData),
        (
            "no crossOrigin that is one",
            |key| key.client_extra = json!({ "crossOrigin": "no" }),
            Fault::MalformedClientData,
        ),
        (
            "a long tale",
            |key| key.client_extra = json!({ "tale": "x".repeat(4_096) }),
            Fault::MalformedClientData,
        ),
    ]
}

#[test]
fn a_bent_authenticator_registers_nothing_and_proves_nothing() {
    for kind in [KeyKind::Es256, KeyKind::EdDsa] {
        for (what, bend, fault) in bends() {
            let mut honest = passkey(kind);
            let stored = stored(&honest);
            bend(&mut honest);
            assert_eq!(register(&honest.create_for(CHALLENGE)), Err(fault), "{kind:?}: {what}");
            assert_eq!(prove(&honest.get_for(CHALLENGE), &stored), Err(fault), "{kind:?}: {what}");
        }
    }
    // Members that nobody knows yet are no fault.
    let mut passkey = passkey(KeyKind::Es256);
    passkey.client_extra = json!({ "other_keys_can_be_added_here": "do not compare" });
    let stored = stored(&passkey);
    assert!(prove(&passkey.get_for(CHALLENGE), &stored).is_ok());
    passkey.client_extra = json!({ "crossOrigin": null, "topOrigin": null });
    assert!(prove(&passkey.get_for(CHALLENGE), &stored).is_ok());
}

#[test]
fn one_ceremonys_answer_is_none_to_the_other_nor_to_another_challenge() {
    let mut passkey = passkey(KeyKind::Es256);
    let stored = stored(&passkey);
    for (challenge, fault) in [
        (&b"another challenge"[..], Fault::WrongChallenge),
        (&CHALLENGE[1..], Fault::WrongChallenge),
        (&[], Fault::WrongChallenge),
    ] {
        assert_eq!(register(&passkey.create_for(challenge)), Err(fault));
        assert_eq!(prove(&passkey.get_for(challenge), &stored), Err(fault));
    }
    let as_get = passkey.client_data("webauthn.get", CHALLENGE);
    let created = Created { client_data: as_get, ..passkey.create_for(CHALLENGE) };
    assert_eq!(register(&created), Err(Fault::WrongType));
    for kind in ["webauthn.create", "payment.get", "WEBAUTHN.GET", ""] {
        let data = passkey.authenticator_data(UP | UV, 9, &[]);
        let proof = passkey.proof(passkey.client_data(kind, CHALLENGE), data);
        assert_eq!(prove(&proof, &stored), Err(Fault::WrongType), "{kind}");
    }
}

#[test]
fn client_data_are_read_strictly() {
    let passkey = passkey(KeyKind::Es256);
    let stored = stored(&passkey);
    let plain = String::from_utf8(passkey.client_data("webauthn.get", CHALLENGE)).unwrap();
    let without_end = plain.trim_end_matches('}');
    let mut padded: Value = serde_json::from_str(&plain).unwrap();
    padded["challenge"] = format!("{}==", padded["challenge"].as_str().unwrap()).into();
    let texts = [
        String::new(),
        "{}".to_owned(),
        "null".to_owned(),
        format!("[{plain}]"),
        format!(" {plain}"),
        format!("\u{feff}{plain}"),
        format!("{plain}{plain}"),
        format!("{without_end},\"type\":\"webauthn.get\"}}"),
        format!("{without_end},\"origin\":\"{SITE}\"}}"),
        without_end.to_owned(),
        padded.to_string(),
        plain.replace("\"webauthn.get\"", "1"),
    ];
    let data = passkey.authenticator_data(UP | UV, 9, &[]);
    for text in texts {
        let proof = passkey.proof(text.clone().into_bytes(), data.clone());
        assert_eq!(prove(&proof, &stored), Err(Fault::MalformedClientData), "{text}");
    }
    let invalid = [plain.as_bytes(), &[0xff]].concat();
    let refused = prove(&passkey.proof(invalid, data), &stored);
    assert_eq!(refused, Err(Fault::MalformedClientData));
}

/// An honest passkey's attestation with another key in it.
fn with_key(passkey: &Passkey, cose_key: &[u8]) -> Result<NewCredential, Fault> {
    let data = passkey.authenticator_data(passkey.flags | AT, 1, &passkey.attested_with(cose_key));
    let created = passkey.create_for(CHALLENGE);
    let attestation = passkey.attestation(&data, &created.client_data);
    register(&Created { attestation, ..created })
}

#[test]
fn keys_that_were_not_asked_for_are_refused() {
    let int = cbor::integer;
    let map = |members: &[(i64, Vec<u8>)]| {
        let members: Vec<_> =
            members.iter().map(|(label, value)| (int(*label), value.clone())).collect();
        cbor::map(&members)
    };
    let honest = passkey(KeyKind::Es256);
    let key = honest.cose_key();
    let (x, y) = (cbor::bytes(&key[10..42]), cbor::bytes(&key[45..77]));
    let ec = |kty, alg, crv: i64, x: &[u8], y: &[u8]| {
        map(&[(1, int(kty)), (3, int(alg)), (-1, int(crv)), (-2, x.to_vec()), (-3, y.to_vec())])
    };
    assert_eq!(ec(2, -7, 1, &x, &y), key, "the key is taken apart as it is put together");
    assert!(with_key(&honest, &key).is_ok());
    let mut beside = key[45..77].to_vec();
    beside[31] ^= 1;
    let okp = |alg, crv, x: Vec<u8>| map(&[(1, int(1)), (3, int(alg)), (-1, int(crv)), (-2, x)]);
    let rsa = |alg, n: Vec<u8>, e: &[u8]| {
        map(&[(1, int(3)), (3, int(alg)), (-1, cbor::bytes(&n)), (-2, cbor::bytes(e))])
    };
    let optional =
        |label| [vec![0xa6], key[1..].to_vec(), cbor::integer(label), cbor::array(&[])].concat();
    let table = [
        ("no algorithm", map(&[(1, int(2)), (-1, int(1)), (-2, x.clone()), (-3, y.clone())])),
        ("no y", map(&[(1, int(2)), (3, int(-7)), (-1, int(1)), (-2, x.clone())])),
        ("ES384's algorithm", ec(2, -35, 1, &x, &y)),
        ("ES256K's", ec(2, -47, 1, &x, &y)),
        ("EdDSA's on a point", ec(2, -8, 1, &x, &y)),
        ("RS256's on a point", ec(2, -257, 1, &x, &y)),
        ("RS1", rsa(-65_535, vec![0xff; 256], &[1, 0, 1])),
        ("HMAC", map(&[(1, int(4)), (3, int(5)), (-1, cbor::bytes(&[7; 32]))])),
        ("P-384", ec(2, -7, 2, &x, &y)),
        ("secp256k1", ec(2, -7, 8, &x, &y)),
        ("a point beside the curve", ec(2, -7, 1, &x, &cbor::bytes(&beside))),
        ("the point at infinity", ec(2, -7, 1, &cbor::bytes(&[0; 32]), &cbor::bytes(&[0; 32]))),
        ("a compressed point", ec(2, -7, 1, &x, &[0xf5])),
        ("a short coordinate", ec(2, -7, 1, &cbor::bytes(&key[10..41]), &y)),
        ("another type of key", ec(1, -7, 1, &x, &y)),
        ("operations", optional(4)),
        ("a base IV", optional(5)),
        ("ES256 on Edwards' curve", okp(-7, 6, cbor::bytes(&[9; 32]))),
        ("Ed25519's by its new number", okp(-19, 6, cbor::bytes(&[9; 32]))),
        ("X25519", okp(-8, 4, cbor::bytes(&[9; 32]))),
        ("Ed448", okp(-8, 7, cbor::bytes(&[9; 57]))),
        ("a key of small order", okp(-8, 6, cbor::bytes(&[0; 32]))),
        ("a short RSA key", rsa(-257, vec![0xff; 128], &[1, 0, 1])),
        ("an RSA exponent of 3", rsa(-257, vec![0xff; 256], &[3])),
        ("an RSA key of 8192 bits", rsa(-257, vec![0xff; 1_024], &[1, 0, 1])),
        ("PS256", rsa(-37, vec![0xff; 256], &[1, 0, 1])),
        ("a list", cbor::array(&[int(2), int(-7)])),
        ("nothing", cbor::map(&[])),
    ];
    for (what, key) in table {
        assert_eq!(with_key(&honest, &key), Err(Fault::UnacceptableKey), "{what}");
    }
    let not_canonical = [
        ("a number too long", [&key[..2], &[0x18, 0x02], &key[3..]].concat()),
        ("a member twice", [&[0xa6], &key[1..], &[0x01, 0x02]].concat()),
        ("no definite length", [&[0xbf], &key[1..], &[0xff]].concat()),
    ];
    for (what, key) in not_canonical {
        let refused = with_key(&honest, &key);
        assert_eq!(refused, Err(Fault::MalformedAuthenticatorData), "{what}");
    }
}

#[test]
fn attestations_are_verified_or_refused() {
    let mut packed = passkey(KeyKind::Es256);
    packed.format = "packed";
    let created = packed.create_for(CHALLENGE);
    let data = packed.authenticator_data(packed.flags | AT, 1, &packed.attested());
    let hash = testkit::authenticator::sha256(&created.client_data);
    let signature = packed.sign(&[data.as_slice(), &hash].concat());
    let (text, bytes) = (cbor::text, cbor::bytes);
    let statement = |members: &[(&str, Vec<u8>)]| {
        let members: Vec<_> =
            members.iter().map(|(name, value)| (text(name), value.clone())).collect();
        cbor::map(&members)
    };
    let (es256, sig) = (cbor::integer(-7), bytes(&signature));
    let with = |format, statement: &[u8]| {
        let attestation = attestation_object(format, statement, &data);
        register(&Created { attestation, ..created.clone() })
    };
    let honest = statement(&[("alg", es256.clone()), ("sig", sig.clone())]);
    assert!(with("packed", &honest).is_ok());
    let chain = cbor::array(&[bytes(&[0x30, 0x82])]);
    let others = passkey(KeyKind::Es256).sign(&[data.as_slice(), &hash].concat());
    // format, statement, fault
    let table = [
        ("none", honest.clone(), Fault::UnverifiableAttestation),
        ("packed", cbor::map(&[]), Fault::UnverifiableAttestation),
        (
            "packed",
            statement(&[("alg", es256.clone()), ("sig", sig.clone()), ("x5c", chain.clone())]),
            Fault::UnverifiableAttestation,
        ),
        (
            "packed",
            statement(&[("alg", cbor::integer(-257)), ("sig", sig.clone())]),
            Fault::WrongSignature,
        ),
        (
            "packed",
            statement(&[("alg", es256.clone()), ("x5c", chain.clone())]),
            Fault::WrongSignature,
        ),
        (
            "packed",
            statement(&[("alg", es256.clone()), ("sig", bytes(&others))]),
            Fault::WrongSignature,
        ),
        (
            "packed",
            statement(&[("alg", es256.clone()), ("sig", bytes(&[]))]),
            Fault::WrongSignature,
        ),
        (
            "fido-u2f",
            statement(&[("sig", sig.clone()), ("x5c", chain)]),
            Fault::UnverifiableAttestation,
        ),
        ("tpm", honest.clone(), Fault::UnverifiableAttestation),
        ("apple", cbor::map(&[]), Fault::UnverifiableAttestation),
        ("android-safetynet", honest.clone(), Fault::UnverifiableAttestation),
        ("", cbor::map(&[]), Fault::UnverifiableAttestation),
        ("none", cbor::array(&[]), Fault::MalformedAttestation),
        ("none", Vec::new(), Fault::MalformedAttestation),
    ];
    for (format, statement, fault) in table {
        assert_eq!(with(format, &statement), Err(fault), "{format} {statement:?}");
    }
}

#[test]
fn attestation_objects_have_three_members_and_nothing_behind_them() {
    let made = passkey(KeyKind::Es256);
    let created = made.create_for(CHALLENGE);
    let data = made.authenticator_data(made.flags | AT, 1, &made.attested());
    let text = cbor::text;
    let whole = attestation_object("none", &cbor::map(&[]), &data);
    let three = [text("fmt"), text("none"), text("attStmt"), cbor::map(&[])].concat();
    let objects = [
        ("two members", [vec![0xa2], three.clone()].concat()),
        ("no bytes", [vec![0xa3], three, text("authData"), text("x")].concat()),
        ("four members", [&[0xa4], &whole[1..], &text("ep"), &[0xf5]].concat()),
        ("more behind it", [whole.clone(), vec![0]].concat()),
        ("nothing", Vec::new()),
        ("a list", cbor::array(&[])),
        ("too long", attestation_object("none", &cbor::map(&[]), &vec![0; 16_384])),
    ];
    for (what, attestation) in objects {
        let refused = register(&Created { attestation, ..created.clone() });
        assert_eq!(refused, Err(Fault::MalformedAttestation), "{what}");
    }
}

#[test]
fn authenticator_data_hold_what_their_flags_say_and_no_more() {
    let passkey = passkey(KeyKind::Es256);
    let created = passkey.create_for(CHALLENGE);
    let whole = |flags, rest: &[u8]| {
        let data = passkey.authenticator_data(flags, 1, rest);
        let attestation = passkey.attestation(&data, &created.client_data);
        register(&Created { attestation, ..created.clone() })
    };
    let attested = passkey.attested();
    let policy = cbor::map(&[(cbor::text("credProtect"), cbor::integer(2))]);
    let extended = [attested.as_slice(), &policy].concat();
    let flags = UP | UV | AT;
    assert!(whole(flags, &attested).is_ok());
    assert!(whole(flags | ED, &extended).is_ok());
    let of_length = |length: usize| {
        let id = vec![7; length];
        let length = u16::try_from(length).unwrap().to_be_bytes();
        [&[0; 16][..], &length, &id, &passkey.cose_key()].concat()
    };
    let table = [
        ("no credential", UP | UV, Vec::new()),
        ("one that is not announced", UP | UV, attested.clone()),
        ("extensions not announced", flags, extended.clone()),
        ("extensions missing", flags | ED, attested.clone()),
        ("extensions that are no map", flags | ED, [&attested[..], &[0x01]].concat()),
        ("more behind them", flags | ED, [&extended[..], &[0x00]].concat()),
        ("more behind it", flags, [&attested[..], &[0x00]].concat()),
        ("an id of no bytes", flags, of_length(0)),
        ("an id of 1024 bytes", flags, of_length(1_024)),
        ("an id that ends early", flags, attested[..20].to_vec()),
        ("no key", flags, attested[..34].to_vec()),
    ];
    for (what, flags, rest) in table {
        assert_eq!(whole(flags, &rest), Err(Fault::MalformedAuthenticatorData), "{what}");
    }
    for length in 0..37 {
        let short = &passkey.authenticator_data(flags, 1, &[])[..length];
        let attestation = attestation_object("none", &cbor::map(&[]), short);
        let refused = register(&Created { attestation, ..created.clone() });
        assert_eq!(refused, Err(Fault::MalformedAuthenticatorData), "{length}");
    }
    let mut long = self::passkey(KeyKind::Es256);
    long.credential_id = vec![7; 1_023];
    assert!(register(&long.create_for(CHALLENGE)).is_ok());
    let other = Created { credential_id: vec![1; 16], ..created };
    assert_eq!(register(&other), Err(Fault::WrongCredential));
}

#[test]
fn a_counter_goes_forward_or_there_is_none() {
    // stored, said, whether it is believed
    let table = [
        (0, 0, true),
        (0, 1, true),
        (5, 6, true),
        (5, 1_000_000, true),
        (5, u32::MAX, true),
        (5, 5, false),
        (5, 4, false),
        (5, 0, false),
        (u32::MAX, 0, false),
        (u32::MAX, u32::MAX, false),
    ];
    for (before, said, believed) in table {
        let passkey = passkey(KeyKind::EdDsa);
        let stored = Stored { sign_count: before, ..stored(&passkey) };
        let data = passkey.authenticator_data(UP | UV, said, &[]);
        let proof = passkey.proof(passkey.client_data("webauthn.get", CHALLENGE), data);
        let expected = if believed { Ok(said) } else { Err(Fault::CounterWentBack) };
        let outcome = prove(&proof, &stored).map(|proven| proven.sign_count);
        assert_eq!(outcome, expected, "{before} {said}");
        // Who has no key raises no alarm about copies.
        let forged = Proof { signature: vec![0; 64], ..proof };
        assert_eq!(prove(&forged, &stored), Err(Fault::WrongSignature), "{before} {said}");
    }
}

#[test]
fn only_the_credential_that_was_named_proves_itself_and_for_its_owner() {
    for kind in KINDS {
        let mut own = passkey(kind);
        let stored = stored(&own);
        let proof = own.get_for(CHALLENGE);
        assert!(prove(&proof, &stored).is_ok());
        let renamed = Proof { credential_id: vec![1; 16], ..proof.clone() };
        assert_eq!(prove(&renamed, &stored), Err(Fault::WrongCredential));
        let nobodys = Proof { user_handle: None, ..proof.clone() };
        assert_eq!(prove(&nobodys, &stored), Err(Fault::WrongUser));
        let others = Proof { user_handle: Some(b"somebody else".to_vec()), ..proof.clone() };
        assert_eq!(prove(&others, &stored), Err(Fault::WrongUser));
        let flags_of_old = Stored { backup_eligible: true, ..self::stored(&passkey(kind)) };
        assert_eq!(prove(&proof, &flags_of_old), Err(Fault::InconsistentBackup));
        // A key of each algorithm under the same name: none of them is this one.
        for other in KINDS {
            let mut thief = passkey(other);
            thief.credential_id.clone_from(&own.credential_id);
            let refused = prove(&thief.get_for(CHALLENGE), &stored);
            assert_eq!(refused, Err(Fault::WrongSignature), "{kind:?} {other:?}");
        }
        let long = Proof { signature: vec![0; 513], ..proof };
        assert_eq!(prove(&long, &stored), Err(Fault::WrongSignature));
    }
}

#[test]
fn no_bit_of_a_proof_can_be_changed() {
    for kind in [KeyKind::Es256, KeyKind::EdDsa] {
        let mut passkey = passkey(kind);
        let stored = stored(&passkey);
        let proof = passkey.get_for(CHALLENGE);
        let parts: [fn(&mut Proof) -> &mut Vec<u8>; 4] = [
            |proof| &mut proof.client_data,
            |proof| &mut proof.authenticator_data,
            |proof| &mut proof.signature,
            |proof| &mut proof.credential_id,
        ];
        for part in parts {
            let length = part(&mut proof.clone()).len();
            for bit in 0..length * 8 {
                let mut altered = proof.clone();
                part(&mut altered)[bit / 8] ^= 1 << (bit % 8);
                assert!(prove(&altered, &stored).is_err(), "{kind:?} {bit}");
            }
            for end in 0..length {
                let mut cut = proof.clone();
                part(&mut cut).truncate(end);
                assert!(prove(&cut, &stored).is_err(), "{kind:?} {end}");
            }
        }
    }
}

#[test]
fn no_byte_of_a_self_signed_registration_can_be_changed() {
    let mut passkey = passkey(KeyKind::Es256);
    passkey.format = "packed";
    let created = passkey.create_for(CHALLENGE);
    for at in 0..created.attestation.len() {
        let mut altered = created.clone();
        altered.attestation[at] ^= 1;
        assert!(register(&altered).is_err(), "{at}");
        altered.attestation.truncate(at);
        assert!(register(&altered).is_err(), "cut at {at}");
    }
}

proptest! {
    /// Whatever is sent, the answer is a refusal and not a crash.
    #[test]
    fn nonsense_is_refused(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let passkey = passkey(KeyKind::EdDsa);
        let created = Created { attestation: bytes.clone(), ..passkey.create_for(CHALLENGE) };
        prop_assert!(register(&created).is_err());
        let inside = attestation_object("none", &cbor::map(&[]), &bytes);
        let created = Created { attestation: inside, ..created };
        prop_assert!(register(&created).is_err());
        prop_assert!(CredentialKey::from_bytes(&bytes).is_none());
        let stored = stored(&passkey);
        let proof = Proof {
            credential_id: passkey.credential_id.clone(),
            client_data: passkey.client_data("webauthn.get", CHALLENGE),
            authenticator_data: bytes.clone(),
            signature: bytes,
            user_handle: passkey.user_handle.clone(),
        };
        prop_assert!(prove(&proof, &stored).is_err());
    }

    /// A counter is believed exactly where it went forward, or where there is none.
    #[test]
    fn counters(before: u32, said: u32) {
        let passkey = passkey(KeyKind::EdDsa);
        let stored = Stored { sign_count: before, ..stored(&passkey) };
        let data = passkey.authenticator_data(UP | UV, said, &[]);
        let proof = passkey.proof(passkey.client_data("webauthn.get", CHALLENGE), data);
        prop_assert_eq!(prove(&proof, &stored).is_ok(), said > before || (said == 0 && before == 0));
    }
}
