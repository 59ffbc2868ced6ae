//! Cosignatures against a vector that Python's `cryptography` made from the specification:
//! key from the seed 00 01 … 1f, hash, message and blob put together there by hand.
#![allow(clippy::unwrap_used)]

use super::*;
use crate::note::{LogSigner, NoteVerifier};

const VERIFIER: &str = "witness.example/w1+e75f6532+BAOhB7/zzhC+HXDdGOdLwJln5NYwm6UNXx3chmQSVTG4";
const TEXT: &str = "log.example/super\n5\nCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQk=\n";
const SECONDS: u64 = 1_763_890_000;
const LINE: &str = "— witness.example/w1 \
    519lMgAAAABpItNQEXxDICLcTA9drUp9aLv0/OAKmRKrsBFlptRg\
    DUzJnNWvnLandn378558GukB98v5J8b2UQZsLtTeqPYj7rgiAQ==\n";

fn key() -> vault::NoteSigner {
    let seed: Vec<u8> = (0..32).collect();
    vault::NoteSigner::from_seed(&vault::SecretBytes::from_slice(&seed)).unwrap()
}

fn witness() -> Cosigner {
    Cosigner::new("witness.example/w1", key()).unwrap()
}

fn note(text: &str, lines: &str) -> Note {
    Note::parse(&format!("{text}\n{lines}")).unwrap()
}

#[test]
fn the_vector_is_made_and_verifies() {
    assert_eq!(witness().cosign(TEXT, SECONDS).unwrap(), LINE);
    assert_eq!(witness().verifier().unwrap().to_text(), VERIFIER);
    let verifier = CosignatureVerifier::parse(VERIFIER).unwrap();
    assert_eq!(verifier.verify(&note(TEXT, LINE)).unwrap(), SECONDS);
}

#[test]
fn every_flipped_byte_is_refused() {
    let verifier = CosignatureVerifier::parse(VERIFIER).unwrap();
    let good = note(TEXT, LINE);
    for position in 0..good.signatures[0].signature.len() {
        let mut forged = good.clone();
        forged.signatures[0].signature[position] ^= 1;
        let refusal = verifier.verify(&forged).unwrap_err();
        assert_eq!(refusal, NoteError::BadSignature("witness.example/w1".to_owned()), "{position}");
    }
    for position in 0..TEXT.len() {
        let mut bytes = TEXT.as_bytes().to_vec();
        bytes[position] ^= 1;
        let forged = Note { text: String::from_utf8(bytes).unwrap(), ..good.clone() };
        assert!(verifier.verify(&forged).is_err(), "text, byte {position}");
    }
    for position in 0..4 {
        let mut forged = good.clone();
        forged.signatures[0].key_hash[position] ^= 1;
        let refusal = verifier.verify(&forged).unwrap_err();
        assert_eq!(refusal, NoteError::Unsigned("witness.example/w1".to_owned()), "{position}");
    }
    for length in [0, 8, 71] {
        let mut short = good.clone();
        short.signatures[0].signature.truncate(length);
        assert!(verifier.verify(&short).is_err(), "{length} bytes");
    }
}

#[test]
fn a_wrong_line_spoils_a_right_one_and_the_latest_counts() {
    let verifier = CosignatureVerifier::parse(VERIFIER).unwrap();
    let later = witness().cosign(TEXT, SECONDS + 60).unwrap();
    for lines in [format!("{LINE}{later}"), format!("{later}{LINE}")] {
        assert_eq!(verifier.verify(&note(TEXT, &lines)).unwrap(), SECONDS + 60);
    }
    let other_text = TEXT.replace("\n5\n", "\n6\n");
    let elsewhere = witness().cosign(&other_text, SECONDS).unwrap();
    assert!(verifier.verify(&note(TEXT, &format!("{LINE}{elsewhere}"))).is_err());
}

#[test]
fn a_log_signature_is_no_cosignature_though_one_key_made_both() {
    let log = LogSigner::new("witness.example/w1", key()).unwrap();
    let signed = Note::parse(&Note::sign(TEXT, &log).unwrap()).unwrap();
    let cosigner = witness().verifier().unwrap();
    assert!(matches!(cosigner.verify(&signed), Err(NoteError::Unsigned(_))));
    let log = log.verifier().unwrap();
    assert!(matches!(note(TEXT, LINE).verify(&log), Err(NoteError::Unsigned(_))));
    assert!(NoteVerifier::parse(VERIFIER).is_err());
    assert!(CosignatureVerifier::parse(&log.to_text()).is_err());
}

#[test]
fn nothing_is_cosigned_that_is_no_checkpoint_or_has_no_time() {
    assert!(witness().cosign(TEXT, 0).is_err());
    assert!(witness().cosign("hello\n", SECONDS).is_err());
    assert!(Cosigner::new("two words", key()).is_err());
    for key in ["", "a", "a+b", "a+0000000+AAAA", &VERIFIER.replace("/w1", "/w2")] {
        assert!(CosignatureVerifier::parse(key).is_err(), "{key}");
    }
}
