//! Owns proving a log from its file alone, without a database and without a server of
//! ours: every record against its leaf, all leaves against every signed root, the whole
//! against checkpoints kept elsewhere; and naming the first record that is not good.
//!
//! Refuses to know: where the file came from, and to trust what it says of itself. The
//! keys in it are used where none are given, and the report says so: they prove that
//! nothing was changed since the file was made, and not who made it.

use std::io::{self, BufRead};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;
use serde::de::DeserializeOwned;
use uuid::Uuid;

use crate::dropped::Drops;
use crate::export::{End, FORM, Header, OddLeaf, Signed};
use crate::fault::{Fault, FaultKind, whole_log};
use crate::keys::log_name;
use crate::merkle::Hash;
use crate::note::NoteVerifier;
use crate::walk::{self, Walk};

/// Longest line read, in bytes; a record has a few hundred.
const LINE_MAX: u64 = 16 << 20;

/// What to hold a file against.
#[derive(Debug, Clone, Default)]
pub struct Trusted {
    /// The keys of the log, got from somewhere else than the file; the file's own where
    /// there are none.
    pub keys: Vec<NoteVerifier>,
    /// Signed notes of earlier checkpoints of this log: it must extend each.
    pub known_checkpoints: Vec<String>,
}

/// Whose keys the signatures were held against.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum KeySource {
    /// Those that were given.
    Given,
    /// Those in the file, which whoever made the file chose.
    File,
}

/// What was found in a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FileReport {
    /// Whose log it is; none where the first line does not say.
    pub tenant_id: Option<Uuid>,
    /// Records proven.
    pub records: u64,
    /// Checkpoints proven.
    pub checkpoints: u64,
    /// Whose keys were trusted.
    pub keys: KeySource,
    /// The first thing that is wrong.
    pub fault: Option<Fault>,
}

/// Verifies an exported log. An error is the reading's, never the log's.
pub fn verify_export(file: impl BufRead, trusted: &Trusted) -> io::Result<FileReport> {
    let keys = if trusted.keys.is_empty() { KeySource::File } else { KeySource::Given };
    let mut report = FileReport { tenant_id: None, records: 0, checkpoints: 0, keys, fault: None };
    let mut lines = Lines { file, line: Vec::new(), number: 0 };
    let begun = match lines.next()? {
        Some(line) => begin(line, trusted),
        None => Err(FaultKind::FileCut),
    };
    let (tenant_id, walk) = match begun {
        Ok(begun) => begun,
        Err(kind) => {
            report.fault = Some(whole_log(kind));
            return Ok(report);
        }
    };
    report.tenant_id = Some(tenant_id);
    let mut reading = Reading::new(tenant_id, walk);
    report.fault = reading.first_fault(&mut lines)?;
    (report.records, report.checkpoints) = (reading.signed_size, reading.checkpoints);
    Ok(report)
}

/// The first line, and the walk that it begins.
fn begin(line: &[u8], trusted: &Trusted) -> Result<(Uuid, Walk), FaultKind> {
    let header = exact::<Header>(line).filter(|header| header.strongroom_audit == FORM);
    let header = header.ok_or(malformed(1))?;
    let name = log_name(header.tenant_id);
    let mut own = Vec::with_capacity(header.verifier_keys.len());
    for text in &header.verifier_keys {
        let key = NoteVerifier::parse(text).ok().filter(|key| key.to_text() == *text);
        own.push(key.ok_or(malformed(1))?);
    }
    let foreign = own.iter().chain(&trusted.keys).find(|key| key.name() != name);
    if let Some(key) = foreign {
        return Err(FaultKind::KeyOfAnotherLog { name: key.name().to_owned() });
    }
    let keys = if trusted.keys.is_empty() { own } else { trusted.keys.clone() };
    let known = trusted.known_checkpoints.iter().map(String::as_str);
    Ok((header.tenant_id, Walk::new(keys, known)?))
}

/// A file, as far as it was read.
struct Reading {
    walk: Walk,
    drops: Drops,
    /// As it stands in every record of the tenant.
    tenant_member: String,
    tenant_id: Uuid,
    record: Vec<u8>,
    /// The size of the last good checkpoint: what lies below is proven.
    signed_size: u64,
    checkpoints: u64,
    /// The event of the first record that no good signature covers.
    first_unsigned: Option<Uuid>,
    ended: bool,
}

impl Reading {
    fn new(tenant_id: Uuid, walk: Walk) -> Self {
        Self {
            walk,
            drops: Drops::default(),
            tenant_member: format!("\"tenant_id\":\"{tenant_id}\""),
            tenant_id,
            record: Vec::with_capacity(1_024),
            signed_size: 0,
            checkpoints: 0,
            first_unsigned: None,
            ended: false,
        }
    }

    fn first_fault(&mut self, lines: &mut Lines<impl BufRead>) -> io::Result<Option<Fault>> {
        loop {
            let number = lines.number + 1;
            let Some(line) = lines.next()? else { break };
            if let Err(fault) = self.line(number, line) {
                return Ok(Some(fault));
            }
        }
        let size = self.walk.size();
        let kind = if !self.ended {
            FaultKind::FileCut
        } else if let Err(kind) = self.walk.reaches(size) {
            kind
        } else if self.signed_size != size {
            FaultKind::SizeDiffers { leaves: size, signed_size: self.signed_size }
        } else {
            return Ok(self.drops.fault());
        };
        Ok(Some(whole_log(kind)))
    }

    fn line(&mut self, number: u64, line: &[u8]) -> Result<(), Fault> {
        if self.ended {
            return Err(self.here(malformed(number)));
        }
        if let Some((index, leaf)) = record_line(line, &mut self.record) {
            return self.leaf(index, leaf, true);
        }
        if let Some(odd) = exact::<OddLeaf>(line) {
            return self.odd_leaf(number, odd);
        }
        if let Some(signed) = exact::<Signed>(line) {
            return self.checkpoint(&signed.checkpoint);
        }
        match exact::<End>(line) {
            Some(last) if last.end == self.walk.size() => {
                self.ended = true;
                Ok(())
            }
            _ => Err(self.here(malformed(number))),
        }
    }

    fn odd_leaf(&mut self, number: u64, odd: OddLeaf) -> Result<(), Fault> {
        let leaf = hash_of(odd.leaf.as_bytes()).ok_or_else(|| self.here(malformed(number)))?;
        match (odd.record_base64, odd.event_id, odd.dropped_by) {
            (Some(record), None, None) => {
                let record = STANDARD.decode(record).ok();
                // What is text has a line of its own form.
                let record = record.filter(|record| std::str::from_utf8(record).is_err());
                self.record = record.ok_or_else(|| self.here(malformed(number)))?;
                self.leaf(odd.i, leaf, true)
            }
            (None, Some(event_id), Some(drop)) => {
                self.in_place(odd.i)?;
                self.drops.claim(drop, (odd.i, Some(event_id)), leaf);
                if self.walk.size() == self.walk.proven() {
                    self.first_unsigned = Some(event_id);
                }
                self.walk.leaf(leaf, |_, _| {}).map_err(|kind| self.behind_the_signed(kind))
            }
            (None, Some(event_id), None) => {
                let fault = self.leaf(odd.i, leaf, false);
                fault.map_err(|fault| Fault { event_id: Some(event_id), ..fault })
            }
            _ => Err(self.here(malformed(number))),
        }
    }

    /// The next leaf, whose record is there or gone.
    fn leaf(&mut self, index: u64, leaf: Hash, is_there: bool) -> Result<(), Fault> {
        self.in_place(index)?;
        let record = is_there.then_some(self.record.as_slice());
        if let Err(kind) = walk::record_of(record, &leaf) {
            let event_id = record.and_then(event_id_of);
            return Err(Fault { event_id, ..self.here(kind) });
        }
        if !self.is_own() {
            let event_id = event_id_of(&self.record);
            return Err(Fault { event_id, ..self.here(FaultKind::RecordForeign) });
        }
        if self.walk.size() == self.walk.proven() {
            self.first_unsigned = event_id_of(&self.record);
        }
        self.drops.read(&self.record);
        self.walk.leaf(leaf, |_, _| {}).map_err(|kind| self.behind_the_signed(kind))
    }

    fn in_place(&self, index: u64) -> Result<(), Fault> {
        if index == self.walk.size() {
            return Ok(());
        }
        Err(self.here(FaultKind::LeafMisplaced { found: index }))
    }

    fn checkpoint(&mut self, note: &str) -> Result<(), Fault> {
        self.walk.checkpoint(note).map_err(|kind| self.behind_the_signed(kind))?;
        self.signed_size = self.walk.size();
        self.checkpoints += 1;
        Ok(())
    }

    /// Whether the record says that it is this tenant's. Nearly all are written the
    /// same way, so that looking for the member is enough; records that SQL wrote have
    /// white space.
    fn is_own(&self) -> bool {
        let Ok(text) = std::str::from_utf8(&self.record) else { return false };
        text.rfind(&self.tenant_member).is_some()
            || member_of(&self.record, "tenant_id") == Some(self.tenant_id)
    }

    /// About the leaf that would be next.
    fn here(&self, kind: FaultKind) -> Fault {
        Fault { event_id: None, log_index: Some(self.walk.size()), kind }
    }

    /// About a root: the first record that it covers and no good signature does.
    fn behind_the_signed(&self, kind: FaultKind) -> Fault {
        Fault { event_id: self.first_unsigned, log_index: Some(self.walk.proven()), kind }
    }
}

fn malformed(line: u64) -> FaultKind {
    FaultKind::LineMalformed { line }
}

fn event_id_of(record: &[u8]) -> Option<Uuid> {
    member_of(record, "event_id")
}

fn member_of(record: &[u8], name: &str) -> Option<Uuid> {
    let record: serde_json::Value = serde_json::from_slice(record).ok()?;
    record.get(name)?.as_str()?.parse().ok()
}

/// A line in the one spelling that it has.
fn exact<T: DeserializeOwned + Serialize>(line: &[u8]) -> Option<T> {
    let value = serde_json::from_slice::<T>(line).ok()?;
    (serde_json::to_vec(&value).ok()? == line).then_some(value)
}

/// A record's place and leaf; its bytes go into `record`. By hand, for nearly every line
/// is one, and its quotes are many: a reader of any JSON takes longer than the hash.
fn record_line(line: &[u8], record: &mut Vec<u8>) -> Option<(u64, Hash)> {
    let rest = line.strip_prefix(b"{\"i\":")?;
    let digits = rest.iter().position(|byte| !byte.is_ascii_digit())?;
    let (digits, rest) = rest.split_at(digits);
    let index: u64 = std::str::from_utf8(digits).ok()?.parse().ok()?;
    if digits.len() > 1 && digits.starts_with(b"0") {
        return None;
    }
    let rest = rest.strip_prefix(b",\"leaf\":\"")?;
    let (leaf, rest) = rest.split_at_checked(44)?;
    let rest = rest.strip_prefix(b"\",\"record\":\"")?;
    (unescape(rest, record)? == b"}").then_some((index, hash_of(leaf)?))
}

/// Takes the escapes out of a JSON text, as `serde_json` puts them in and no other way,
/// up to its closing quote; what follows that.
fn unescape<'line>(text: &'line [u8], into: &mut Vec<u8>) -> Option<&'line [u8]> {
    into.clear();
    let mut rest = text;
    loop {
        let plain = rest.iter().position(|byte| matches!(byte, b'"' | b'\\' | ..0x20))?;
        let (before, after) = rest.split_at(plain);
        into.extend_from_slice(before);
        let (first, after) = after.split_first()?;
        match first {
            b'"' => return Some(after),
            b'\\' => {
                let (byte, after) = escaped(after)?;
                into.push(byte);
                rest = after;
            }
            _ => return None,
        }
    }
}

fn escaped(text: &[u8]) -> Option<(u8, &[u8])> {
    let (letter, rest) = text.split_first()?;
    let byte = match letter {
        b'"' | b'\\' => *letter,
        b'b' => 0x08,
        b't' => b'\t',
        b'n' => b'\n',
        b'f' => 0x0c,
        b'r' => b'\r',
        b'u' => {
            let (digits, rest) = rest.split_at_checked(4)?;
            let digits = std::str::from_utf8(digits).ok()?;
            let byte = u8::from_str_radix(digits.strip_prefix("00")?, 16).ok()?;
            let has_letter = matches!(byte, 0x08 | b'\t' | b'\n' | 0x0c | b'\r');
            let is_ours = byte < 0x20 && !has_letter && digits == format!("{byte:04x}");
            return is_ours.then_some((byte, rest));
        }
        _ => return None,
    };
    Some((byte, rest))
}

fn hash_of(base64: &[u8]) -> Option<Hash> {
    let mut hash = [0; 33];
    let length = STANDARD.decode_slice(base64, &mut hash).ok()?;
    let (hash, _) = hash.split_at_checked(length).filter(|(hash, _)| hash.len() == 32)?;
    hash.try_into().ok()
}

/// Lines of bounded length, each with its line feed.
struct Lines<R> {
    file: R,
    line: Vec<u8>,
    number: u64,
}

impl<R: BufRead> Lines<R> {
    /// The next line without its line feed. One that has none, being cut or too long, is
    /// given with a line feed too few to be any: as nothing at all.
    fn next(&mut self) -> io::Result<Option<&[u8]>> {
        self.line.clear();
        let read = io::Read::take(&mut self.file, LINE_MAX).read_until(b'\n', &mut self.line)?;
        self.number += 1;
        match self.line.strip_suffix(b"\n") {
            Some(line) => Ok(Some(line)),
            None if read == 0 => Ok(None),
            None => Ok(Some(&[])),
        }
    }
}

#[cfg(test)]
#[path = "offline_tests.rs"]
mod tests;
