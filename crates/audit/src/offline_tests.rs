//! Files tampered with line by line and bit by bit.
#![allow(clippy::unwrap_used, clippy::panic)]

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use uuid::Uuid;

use super::{FileReport, KeySource, Trusted, unescape, verify_export};
use crate::export::record_line;
use crate::keys::log_name;
use crate::merkle::{self, leaf_hash};
use crate::note::{Checkpoint, LogSigner, NoteVerifier};

/// One tenant's log, as a file of lines.
struct Log {
    tenant: Uuid,
    signer: LogSigner,
}

impl Log {
    fn new(number: u128) -> Self {
        let tenant = Uuid::from_u128(number);
        let signer = LogSigner::new(&log_name(tenant), vault::NoteSigner::generate()).unwrap();
        Self { tenant, signer }
    }

    fn key(&self) -> NoteVerifier {
        self.signer.verifier().unwrap()
    }

    fn record(&self, number: u64) -> String {
        let id = Uuid::from_u128(u128::from(number) + 100);
        let tenant = self.tenant;
        format!(r#"{{"action":"transfer.create","details":{{"n":{number},"note":"é\n\u001f \\"}},"#)
            + &format!(r#""event_id":"{id}","tenant_id":"{tenant}","v":1}}"#)
    }

    fn note(&self, size: u64) -> String {
        let leaves: Vec<_> = (0..size).map(|n| leaf_hash(self.record(n).as_bytes())).collect();
        let root = merkle::root(&leaves);
        let origin = log_name(self.tenant);
        Checkpoint { origin, size, root, extensions: Vec::new() }.sign(&self.signer).unwrap()
    }

    fn header(&self) -> String {
        let (tenant, key) = (self.tenant, self.key().to_text());
        format!(r#"{{"strongroom_audit":1,"tenant_id":"{tenant}","verifier_keys":["{key}"]}}"#)
    }

    /// Header, records 0–2, a checkpoint, records 3–9, a checkpoint, the end.
    fn lines(&self) -> Vec<String> {
        let mut lines = vec![self.header()];
        for number in 0..10 {
            lines.push(numbered(number, &self.record(number)));
            if number == 2 || number == 9 {
                lines.push(signed(&self.note(number + 1)));
            }
        }
        lines.push(r#"{"end":10}"#.to_owned());
        lines
    }
}

fn numbered(number: u64, record: &str) -> String {
    let mut line = Vec::new();
    record_line(&mut line, number, &leaf_hash(record.as_bytes()), record).unwrap();
    String::from_utf8(line).unwrap().trim_end().to_owned()
}

fn signed(note: &str) -> String {
    serde_json::json!({ "checkpoint": note }).to_string()
}

fn file_of(lines: &[String]) -> String {
    lines.join("\n") + "\n"
}

fn verify(lines: &[String], trusted: &Trusted) -> FileReport {
    verify_export(file_of(lines).as_bytes(), trusted).unwrap()
}

fn summary(report: &FileReport) -> String {
    let Some(fault) = &report.fault else { return "good".to_owned() };
    let index = fault.log_index.map_or("-".to_owned(), |index| index.to_string());
    let kind = serde_json::to_value(&fault.kind).unwrap();
    format!("{index} {}", kind["fault"].as_str().unwrap())
}

#[test]
fn a_file_proves_itself_and_says_whose_keys_it_was_held_against() {
    let log = Log::new(1);
    let report = verify(&log.lines(), &Trusted::default());
    let whole = FileReport {
        tenant_id: Some(log.tenant),
        records: 10,
        checkpoints: 2,
        keys: KeySource::File,
        fault: None,
    };
    assert_eq!(report, whole);
    let trusted = Trusted { keys: vec![log.key()], known_checkpoints: vec![log.note(5)] };
    assert_eq!(verify(&log.lines(), &trusted), FileReport { keys: KeySource::Given, ..whole });
    let empty = [log.header(), r#"{"end":0}"#.to_owned()];
    assert_eq!(summary(&verify(&empty, &Trusted::default())), "good");
}

/// What it is, how it is done to the lines, and what is found.
type Tampering<'a> = (&'a str, Box<dyn Fn(&mut Vec<String>) + 'a>, &'a str);

fn all_are_found(log: &Log, table: &[Tampering<'_>]) {
    for (name, tamper, expected) in table {
        let mut lines = log.lines();
        tamper(&mut lines);
        let report = verify(&lines, &Trusted::default());
        assert_eq!(summary(&report), *expected, "{name}: {report:?}");
    }
}

// Lines: 0 header, 1–3 records 0–2, 4 checkpoint, 5–11 records 3–9, 12 checkpoint, 13 end.

#[test]
fn tampering_with_records_and_notes_names_the_first_bad_record() {
    let (log, other) = (Log::new(1), Log::new(2));
    let own = |number: u64| log.record(number);
    let table: Vec<Tampering<'_>> = vec![
        ("edited", Box::new(|l| l[2] = l[2].replace("create", "delete")), "1 record_changed"),
        (
            "leaf edited",
            Box::new(|l| l[2] = l[2].replace("leaf\":\"", "leaf\":\"A")),
            "1 line_malformed",
        ),
        ("dropped", Box::new(|l| drop(l.remove(6))), "4 leaf_misplaced"),
        ("added twice", Box::new(|l| l.insert(6, l[6].clone())), "5 leaf_misplaced"),
        ("swapped", Box::new(|l| l.swap(7, 8)), "5 leaf_misplaced"),
        (
            "swapped and numbered again",
            Box::new(|l| (l[7], l[8]) = (numbered(5, &own(6)), numbered(6, &own(5)))),
            "3 root_differs",
        ),
        (
            "rewritten with its leaf",
            Box::new(|l| l[9] = numbered(7, &own(7).replace("create", "delete"))),
            "3 root_differs",
        ),
        (
            "one put in and all numbered again",
            Box::new(|l| {
                l.splice(5..12, (3..9).map(|n| numbered(n, &own(n.max(4) - 1))));
            }),
            "3 checkpoint_bad",
        ),
        (
            "another tenant's",
            Box::new(|l| l[6] = numbered(4, &other.record(4))),
            "4 record_foreign",
        ),
        (
            "another tenant's note",
            Box::new(|l| l[12] = signed(&other.note(10))),
            "3 checkpoint_bad",
        ),
        ("another size's note", Box::new(|l| l[12] = signed(&log.note(9))), "3 checkpoint_bad"),
        (
            "note forged",
            Box::new(|l| l[4] = signed(&log.note(3).replace("\n3\n", "\n4\n"))),
            "0 checkpoint_bad",
        ),
    ];
    all_are_found(&log, &table);
}

#[test]
fn tampering_with_the_frame_of_a_file_is_found() {
    let (log, other) = (Log::new(1), Log::new(2));
    let table: Vec<Tampering<'_>> = vec![
        (
            "record gone",
            Box::new(|l| {
                let leaf = STANDARD.encode(leaf_hash(log.record(3).as_bytes()));
                l[5] = format!(r#"{{"i":3,"leaf":"{leaf}","event_id":"{}"}}"#, Uuid::nil());
            }),
            "3 record_missing",
        ),
        ("cut off", Box::new(|l| l.truncate(9)), "- file_cut"),
        ("without its last line", Box::new(|l| drop(l.pop())), "- file_cut"),
        ("last checkpoint dropped", Box::new(|l| drop(l.remove(12))), "- size_differs"),
        ("another end", Box::new(|l| l[13] = r#"{"end":9}"#.to_owned()), "10 line_malformed"),
        (
            "more behind the end",
            Box::new(|l| l.push(r#"{"end":10}"#.to_owned())),
            "10 line_malformed",
        ),
        ("white space", Box::new(|l| l[2] = l[2].replace("{\"i\"", "{ \"i\"")), "1 line_malformed"),
        ("another spelling", Box::new(|l| l[2] = l[2].replace("é", "\\u00e9")), "1 line_malformed"),
        ("an empty line", Box::new(|l| l.insert(3, String::new())), "2 line_malformed"),
        ("no first line", Box::new(|l| drop(l.remove(0))), "- line_malformed"),
        ("another first line", Box::new(|l| l[0] = other.header()), "0 record_foreign"),
        (
            "a key of another log",
            Box::new(|l| l[0] = l[0].replace(&log.key().to_text(), &other.key().to_text())),
            "- key_of_another_log",
        ),
    ];
    all_are_found(&log, &table);
    assert_eq!(summary(&verify_export(&b""[..], &Trusted::default()).unwrap()), "- file_cut");
}

#[test]
fn what_the_file_cannot_betray_the_keys_and_checkpoints_kept_elsewhere_do() {
    let log = Log::new(1);
    let forger = Log { tenant: log.tenant, signer: Log::new(1).signer };
    let (false_lines, genuine) = (forger.lines(), log.lines());
    let none = Trusted::default();
    let ours = Trusted { keys: vec![log.key()], ..Trusted::default() };
    // Made anew from the first line to the last: good by its own keys, which the report says.
    let by_itself = verify(&false_lines, &none);
    assert_eq!((summary(&by_itself).as_str(), by_itself.keys), ("good", KeySource::File));
    assert_eq!(summary(&verify(&false_lines, &ours)), "0 checkpoint_bad");
    // Ended early, where it was once signed.
    let mut short = genuine[..5].to_vec();
    short.push(r#"{"end":3}"#.to_owned());
    assert_eq!(summary(&verify(&short, &ours)), "good");
    let known = |note: String| Trusted { known_checkpoints: vec![note], ..ours.clone() };
    assert_eq!(summary(&verify(&short, &known(log.note(10)))), "- rolled_back");
    assert_eq!(summary(&verify(&genuine, &known(log.note(7)))), "good");
    assert_eq!(summary(&verify(&genuine, &known(Log::new(2).note(7)))), "- known_checkpoint_bad");
    assert_eq!(summary(&verify(&genuine, &known(forger.note(7)))), "- known_checkpoint_bad");
    let foreign = Trusted { keys: vec![log.key(), Log::new(2).key()], ..Trusted::default() };
    assert_eq!(summary(&verify(&genuine, &foreign)), "- key_of_another_log");
    // Of this log by its signature, and of another history.
    let mut history = log.lines();
    history[2] = numbered(1, &log.record(50));
    let split = verify(&history, &known(log.note(2)));
    assert_eq!(summary(&split), "0 root_differs");
}

#[test]
fn every_flipped_bit_of_a_file_is_found() {
    let log = Log::new(1);
    let mut lines = log.lines();
    lines.splice(5..13, []);
    lines[4] = r#"{"end":3}"#.to_owned();
    lines.insert(4, signed(&log.note(3)));
    lines.truncate(6);
    let file = file_of(&lines);
    assert_eq!(summary(&verify_export(file.as_bytes(), &Trusted::default()).unwrap()), "good");
    for at in 0..file.len() {
        for bit in 0..8 {
            let mut flipped = file.clone().into_bytes();
            flipped[at] ^= 1 << bit;
            let report = verify_export(flipped.as_slice(), &Trusted::default()).unwrap();
            assert!(report.fault.is_some(), "byte {at}, bit {bit}: {:?}", &file[at..=at]);
        }
    }
}

proptest::proptest! {
    #[test]
    fn texts_are_read_as_they_are_written(text in ".*") {
        let written = serde_json::to_vec(&text).unwrap();
        let mut read = Vec::new();
        let rest = unescape(&written[1..], &mut read);
        proptest::prop_assert_eq!(rest, Some(&b""[..]));
        proptest::prop_assert_eq!(read, text.into_bytes());
    }
}
