//! Notes and checkpoints against a published tlog-tiles log.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::path::{Path, PathBuf};

use super::*;
use crate::merkle;

const VERIFIER: &str =
    "example.com/log/testdata+33d7b496+AeHTu4Q3hEIMHNqc6fASMsq3rKNx280NI+oO5xCFkkSx";

fn signer() -> LogSigner {
    let seed = vault::SecretBytes::from_slice(&[7; 32]);
    LogSigner::new("example.com/ours", vault::NoteSigner::from_seed(&seed).unwrap()).unwrap()
}

fn published_log() -> Option<PathBuf> {
    let path = Path::new(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../../shared/data/vectors-crypto/tlog-tiles/testdata/log"
    ));
    if path.exists() {
        return Some(path.to_owned());
    }
    eprintln!("skipped: ../shared/data/vectors-crypto/tlog-tiles absent");
    None
}

/// A full entry bundle: 16-bit lengths, big endian, each followed by its data.
fn entries(bundle: &[u8]) -> Vec<Vec<u8>> {
    let mut rest = bundle;
    let mut entries = Vec::new();
    while let Some((length, tail)) = rest.split_first_chunk::<2>() {
        let (entry, tail) = tail.split_at(usize::from(u16::from_be_bytes(*length)));
        entries.push(entry.to_vec());
        rest = tail;
    }
    entries
}

#[test]
fn published_checkpoints_verify_and_fit_their_entries() {
    let Some(log) = published_log() else { return };
    let verifier = NoteVerifier::parse(VERIFIER).unwrap();
    assert_eq!(verifier.to_text(), VERIFIER);
    for size in 0..=15_u64 {
        let note = std::fs::read_to_string(log.join(format!("checkpoint.{size}"))).unwrap();
        let checkpoint = Checkpoint::open(&note, &verifier).unwrap();
        assert_eq!(checkpoint.size, size);
        let hashes: Vec<_> = if size == 0 {
            Vec::new()
        } else {
            let bundle = std::fs::read(log.join(format!("tile/entries/000.p/{size}"))).unwrap();
            entries(&bundle).iter().map(|entry| merkle::leaf_hash(entry)).collect()
        };
        assert_eq!(merkle::root(&hashes), checkpoint.root, "root of {size}");
        if size > 0 {
            let tile = std::fs::read(log.join(format!("tile/0/000.p/{size}"))).unwrap();
            assert_eq!(tile, hashes.concat());
        }
        assert_eq!(Note::parse(&note).unwrap().text, checkpoint.to_text());
        let forged = note.replacen(&format!("\n{size}\n"), "\n16\n", 1);
        assert!(matches!(Checkpoint::open(&forged, &verifier), Err(NoteError::BadSignature(_))));
    }
}

#[test]
fn our_notes_open_with_our_key_only() {
    let signer = signer();
    let checkpoint = Checkpoint {
        origin: "example.com/ours".to_owned(),
        size: 3,
        root: [9; 32],
        extensions: vec!["extra".to_owned()],
    };
    let note = checkpoint.sign(&signer).unwrap();
    let verifier = signer.verifier().unwrap();
    assert_eq!(NoteVerifier::parse(&verifier.to_text()).unwrap(), verifier);
    assert_eq!(Checkpoint::open(&note, &verifier).unwrap(), checkpoint);
    let stranger = NoteVerifier::parse(VERIFIER).unwrap();
    assert!(matches!(Checkpoint::open(&note, &stranger), Err(NoteError::Unsigned(_))));
    let same_name = NoteVerifier::new("example.com/ours", [1; 32]).unwrap();
    assert!(matches!(Checkpoint::open(&note, &same_name), Err(NoteError::Unsigned(_))));
}

#[test]
fn malformed_notes_and_checkpoints_are_refused() {
    let hash = "A".repeat(43);
    for text in [
        "",
        "\n",
        "a\n\nb\n",
        "a\n\n",
        "a\n\n— b AAAA",
        "a\n\n— b\n",
        "a\n\n- b AAAAAAA=\n",
        "a\u{7}\n\n— b AAAAAAA=\n",
    ] {
        assert!(Note::parse(text).is_err(), "{text:?}");
    }
    for size in ["-1", "+1", "01", "", "1.0", "18446744073709551616"] {
        assert!(Checkpoint::parse(&format!("o\n{size}\n{hash}=\n")).is_err(), "{size:?}");
    }
    assert!(Checkpoint::parse(&format!("o\n1\n{hash}=\n")).is_ok());
    assert!(Checkpoint::parse(&format!("\n1\n{hash}=\n")).is_err());
    assert!(Checkpoint::parse(&format!("o\n1\n{hash}=")).is_err());
    assert!(Checkpoint::parse(&format!("o\n1\n{hash}=\n\nx\n")).is_err());
    assert!(Checkpoint::parse("o\n1\nAAAA\n").is_err());
    for key in [
        "",
        "a",
        "a+b",
        "a+33d7b496+AAAA",
        &VERIFIER.replace("33d7", "33d8"),
        &VERIFIER.replace(".com", " com"),
    ] {
        assert!(NoteVerifier::parse(key).is_err(), "{key:?}");
    }
}
