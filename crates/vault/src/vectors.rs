//! Published vectors (C2SP, NIST, RFC, Wycheproof), read in place; absent files are skipped aloud.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]

use std::collections::HashMap;
use std::process::Command;

use aws_lc_rs::aead::Nonce;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use sha3::digest::{ExtendableOutput, Update, XofReader};

use crate::signing::VerifyingKey;
use crate::xaes::{XaesKey, gcm_open};
use crate::{hmac_sha256, primitives, verify_note_signature};

const DIRECTORY: &str =
    concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/data/vectors-crypto/");

/// A vector file's text; says so where it is absent.
pub(crate) fn read(name: &str) -> Option<String> {
    let text = std::fs::read_to_string(format!("{DIRECTORY}{name}")).ok();
    if text.is_none() {
        println!("skipped: ../shared/data/vectors-crypto/{name} absent");
    }
    text
}

/// A vector file as JSON.
pub(crate) fn read_json(name: &str) -> Option<Value> {
    read(name).map(|text| serde_json::from_str(&text).unwrap())
}

/// Every test of a Wycheproof file with its group.
pub(crate) fn wycheproof(name: &str) -> Vec<(Value, Value)> {
    let Some(file) = read_json(&format!("wycheproof/{name}_test.json")) else {
        return Vec::new();
    };
    let groups = file["testGroups"].as_array().unwrap();
    groups
        .iter()
        .flat_map(|group| {
            let tests = group["tests"].as_array().unwrap().clone();
            tests.into_iter().map(|test| (group.clone(), test))
        })
        .collect()
}

fn hex(value: &Value) -> Vec<u8> {
    unhex(value.as_str().unwrap())
}

fn unhex(text: &str) -> Vec<u8> {
    (0..text.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap())
        .collect()
}

fn is_valid(test: &Value) -> bool {
    test["result"] == "valid"
}

#[test]
fn xaes_256_gcm_cases() {
    let Some(file) = read_json("xaes/xaes-256-gcm.json") else {
        return;
    };
    for case in file["cases"].as_array().unwrap() {
        let ascii = |name: &str| case[name].as_str().unwrap().as_bytes().to_vec();
        let key = XaesKey::new(&hex(&case["key"]).try_into().unwrap());
        let nonce = ascii("nonce_ascii").try_into().unwrap();
        let (plaintext, aad) = (ascii("plaintext_ascii"), ascii("aad_ascii"));
        assert_eq!(key.derive(&nonce).0.as_slice(), hex(&case["derived_key"]));
        let ciphertext = key.seal_with_nonce(&nonce, &aad, &plaintext).unwrap();
        assert_eq!(ciphertext, hex(&case["ciphertext"]));
        assert_eq!(key.open(&nonce, &aad, &ciphertext).unwrap().expose(), plaintext);
    }
}

#[test]
fn xaes_256_gcm_accumulated_10000() {
    accumulated(10_000);
}

#[test]
#[ignore = "takes a minute: scripts/nightly"]
fn xaes_256_gcm_accumulated_1000000() {
    accumulated(1_000_000);
}

fn accumulated(messages: u32) {
    let Some(file) = read_json("xaes/xaes-256-gcm.json") else {
        return;
    };
    let mut source = sha3::Shake128::default().finalize_xof();
    let mut sink = sha3::Shake128::default();
    let mut take = |length: usize| {
        let mut bytes = vec![0; length];
        source.read(&mut bytes);
        bytes
    };
    for _ in 0..messages {
        let key = XaesKey::new(&take(32).try_into().unwrap());
        let nonce = take(24).try_into().unwrap();
        let length = take(1)[0];
        let plaintext = take(length.into());
        let length = take(1)[0];
        let aad = take(length.into());
        let ciphertext = key.seal_with_nonce(&nonce, &aad, &plaintext).unwrap();
        assert_eq!(key.open(&nonce, &aad, &ciphertext).unwrap().expose(), plaintext);
        sink.update(&ciphertext);
    }
    let mut accumulated = vec![0; 32];
    sink.finalize_xof().read(&mut accumulated);
    assert_eq!(accumulated, hex(&file["accumulated"][format!("after_{messages}")]));
}

#[test]
fn wycheproof_aes_256_gcm() {
    let mut seen = 0;
    for (group, test) in wycheproof("aes_gcm") {
        if group["keySize"] != 256 || group["ivSize"] != 96 {
            continue;
        }
        seen += 1;
        let key = hex(&test["key"]).try_into().unwrap();
        let nonce = Nonce::try_assume_unique_for_key(&hex(&test["iv"])).unwrap();
        let ciphertext = [hex(&test["ct"]), hex(&test["tag"])].concat();
        let opened = gcm_open(&key, nonce, &hex(&test["aad"]), &ciphertext);
        assert_eq!(opened.is_ok(), is_valid(&test), "{}", test["tcId"]);
        if let Ok(plaintext) = opened {
            assert_eq!(plaintext.expose(), hex(&test["msg"]));
        }
    }
    println!("{seen} cases");
}

#[test]
fn nist_gcm_decrypt_256() {
    let path = format!("{DIRECTORY}nist/gcmDecrypt256.rsp.gz");
    let unpacked = Command::new("gzip").args(["-dc", &path]).output();
    let Some(output) = unpacked.ok().filter(|output| output.status.success()) else {
        println!("skipped: ../shared/data/vectors-crypto/nist/gcmDecrypt256.rsp.gz absent");
        return;
    };
    let text = String::from_utf8(output.stdout).unwrap();
    let mut seen = 0;
    for section in text.split("[Keylen = 256]").skip(1) {
        if !section.contains("[IVlen = 96]") || !section.contains("[Taglen = 128]") {
            continue;
        }
        for case in section.split("Count = ").skip(1) {
            let part = |name: &str| {
                let line = case.lines().find_map(|line| line.strip_prefix(name));
                line.map(|line| unhex(line.trim_start_matches(" =").trim()))
            };
            let key = part("Key").unwrap().try_into().unwrap();
            let nonce = Nonce::try_assume_unique_for_key(&part("IV").unwrap()).unwrap();
            let ciphertext = [part("CT").unwrap(), part("Tag").unwrap()].concat();
            let opened = gcm_open(&key, nonce, &part("AAD").unwrap(), &ciphertext);
            let expected = part("PT").filter(|_| !case.contains("FAIL"));
            assert_eq!(opened.ok().map(|text| text.expose().to_vec()), expected);
            seen += 1;
        }
    }
    assert!(seen > 300, "only {seen} cases");
}

#[test]
fn cmac_derivation_equals_the_library() {
    // XAES computes two CMACs by hand; the library's CMAC must agree on the same messages, and
    // must itself pass the published vectors.
    for (_, test) in wycheproof("aes_cmac") {
        let key = hex(&test["key"]);
        if key.len() != 32 {
            continue;
        }
        let key = aws_lc_rs::cmac::Key::new(aws_lc_rs::cmac::AES_256, &key).unwrap();
        let verdict = aws_lc_rs::cmac::verify(&key, &hex(&test["msg"]), &hex(&test["tag"]));
        assert_eq!(verdict.is_ok(), is_valid(&test), "{}", test["tcId"]);
    }
    for _ in 0..200 {
        let (key, nonce) = (crate::random_bytes::<32>(), crate::random_bytes::<24>());
        let cmac = aws_lc_rs::cmac::Key::new(aws_lc_rs::cmac::AES_256, &key).unwrap();
        let block = |counter: u8| {
            let message = [&[0, counter, b'X', 0], &nonce[..12]].concat();
            aws_lc_rs::cmac::sign(&cmac, &message).unwrap()
        };
        let expected = [block(1).as_ref(), block(2).as_ref()].concat();
        assert_eq!(XaesKey::new(&key).derive(&nonce).0.as_slice(), expected);
    }
}

/// The cases of a file of `NAME = value` lines, each begun by `COUNT`.
fn counted(name: &str) -> Vec<HashMap<String, String>> {
    let mut cases = Vec::new();
    for line in read(name).unwrap_or_default().lines().filter(|line| !line.starts_with('#')) {
        let Some((member, value)) = line.split_once('=') else { continue };
        if member.trim() == "COUNT" {
            cases.push(HashMap::new());
        }
        let case: &mut HashMap<_, _> = cases.last_mut().unwrap();
        case.insert(member.trim().to_owned(), value.trim().to_owned());
    }
    cases
}

#[test]
fn nist_800_38b_aes_256_cmac() {
    for case in counted("nist/nist-800-38b-aes256.txt") {
        let key = unhex(&case["KEY"]);
        let key = aws_lc_rs::cmac::Key::new(aws_lc_rs::cmac::AES_256, &key).unwrap();
        let tag = aws_lc_rs::cmac::sign(&key, &unhex(&case["MESSAGE"])).unwrap();
        assert_eq!(tag.as_ref(), unhex(&case["OUTPUT"]), "{}", case["COUNT"]);
    }
}

#[test]
fn rfc_5869_hkdf_sha256() {
    for case in counted("nist/rfc-5869-HKDF-SHA256.txt") {
        let mut output = vec![0; case["L"].parse().unwrap()];
        let (salt, material) = (unhex(&case["salt"]), unhex(&case["IKM"]));
        primitives::hkdf_expand(&salt, &material, &unhex(&case["info"]), &mut output).unwrap();
        assert_eq!(output, unhex(&case["OKM"]), "{}", case["COUNT"]);
        // Extraction is HMAC of the key material under the salt.
        assert_eq!(
            hmac_sha256(&salt, &material).as_ref(),
            unhex(&case["PRK"]),
            "{}",
            case["COUNT"]
        );
    }
}

#[test]
fn rfc_9106_argon2id() {
    for case in counted("nist/argon2id.txt") {
        let of = |name: &str| case.get(name).map(|value| unhex(value)).unwrap_or_default();
        let number = |name: &str| case[name].parse::<u32>().unwrap();
        let mut parameters = argon2::ParamsBuilder::new();
        parameters.m_cost(number("memcost")).t_cost(number("iter")).p_cost(number("lanes"));
        parameters.data(argon2::AssociatedData::new(&of("ad")).unwrap());
        parameters.output_len(case["length"].parse().unwrap());
        let (secret, version) = (of("secret"), argon2::Version::V0x13);
        let parameters = parameters.build().unwrap();
        let hasher = argon2::Argon2::new_with_secret(
            &secret,
            argon2::Algorithm::Argon2id,
            version,
            parameters,
        );
        let mut output = vec![0; case["length"].parse().unwrap()];
        hasher.unwrap().hash_password_into(&of("pass"), &of("salt"), &mut output).unwrap();
        assert_eq!(output, of("output"), "{}", case["COUNT"]);
    }
}

#[test]
fn wycheproof_hkdf_sha256() {
    for (_, test) in wycheproof("hkdf_sha256") {
        let mut output = vec![0; usize::try_from(test["size"].as_u64().unwrap()).unwrap()];
        let (salt, material) = (hex(&test["salt"]), hex(&test["ikm"]));
        let made = primitives::hkdf_expand(&salt, &material, &hex(&test["info"]), &mut output);
        assert_eq!(made.is_some(), is_valid(&test), "{}", test["tcId"]);
        if made.is_some() {
            assert_eq!(output, hex(&test["okm"]), "{}", test["tcId"]);
        }
    }
}

#[test]
fn wycheproof_hmac_sha256() {
    for (group, test) in wycheproof("hmac_sha256") {
        let bytes = usize::try_from(group["tagSize"].as_u64().unwrap() / 8).unwrap();
        let tag = hmac_sha256(&hex(&test["key"]), &hex(&test["msg"]));
        let equal = crate::constant_time_eq(&tag[..bytes], &hex(&test["tag"]));
        assert_eq!(equal, is_valid(&test), "{}", test["tcId"]);
    }
}

#[test]
fn wycheproof_ed25519() {
    for (group, test) in wycheproof("ed25519") {
        let public_key = hex(&group["publicKey"]["pk"]).try_into().unwrap();
        let verdict = verify_note_signature(&public_key, &hex(&test["msg"]), &hex(&test["sig"]));
        assert_eq!(verdict, is_valid(&test), "{}", test["tcId"]);
    }
}

#[test]
fn wycheproof_ecdsa_p256() {
    for (group, test) in wycheproof("ecdsa_secp256r1_sha256_p1363") {
        // Not every group has a JWK, so that it is made from the point.
        let point = hex(&group["publicKey"]["uncompressed"]);
        let (x, y) = point[1..].split_at(32);
        let [x, y] = [x, y].map(|part| URL_SAFE_NO_PAD.encode(part));
        let jwk = json!({"kty": "EC", "crv": "P-256", "kid": "a", "x": x, "y": y});
        let key = VerifyingKey::from_public_jwk(&jwk).unwrap();
        let verdict = key.verifies(&hex(&test["msg"]), &hex(&test["sig"]));
        assert_eq!(verdict, is_valid(&test), "{}", test["tcId"]);
    }
}

#[test]
fn rfc_8032_seed_and_signature() {
    // RFC 8032 section 7.1, test 2.
    let seed = unhex("4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb");
    let public = unhex("3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c");
    let signer = crate::NoteSigner::from_seed(&crate::SecretBytes::new(seed)).unwrap();
    assert_eq!(signer.public_key().as_slice(), public);
    let expected = unhex(
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da\
         085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
    );
    assert_eq!(signer.sign(&[0x72]).as_slice(), expected);
    assert!(verify_note_signature(&signer.public_key(), &[0x72], &expected));
    assert!(!verify_note_signature(&signer.public_key(), &[0x73], &expected));
}

#[test]
fn keys_and_pools_are_shared_between_threads() {
    fn shareable<T: Send + Sync + 'static>() {}
    shareable::<crate::RootKeys>();
    shareable::<crate::Kek>();
    shareable::<crate::DataKey>();
    shareable::<crate::IndexKey>();
    shareable::<crate::MacKey>();
    shareable::<crate::NoteSigner>();
    shareable::<crate::OpaqueToken>();
    shareable::<crate::password::Hasher>();
    shareable::<crate::signing::SigningKey>();
    shareable::<crate::signing::Verifier>();
}
