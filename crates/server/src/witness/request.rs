//! Owns the body of `add-checkpoint`: `old N`, the hashes of a consistency proof, a blank
//! line, and the note.

use audit::merkle::Hash;
use audit::note::{Checkpoint, Note};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// No tree of 2^64 leaves needs more.
const PROOF_HASHES_MAX: usize = 63;

/// What a log asks to have cosigned.
#[derive(Debug)]
pub struct Request {
    pub(super) old: u64,
    pub(super) proof: Vec<Hash>,
    pub(super) note: Note,
    pub(super) checkpoint: Checkpoint,
    /// The bytes of the note, as they came.
    pub(super) raw_note: String,
}

pub(super) fn parse(body: &[u8]) -> Result<Request, String> {
    let body = std::str::from_utf8(body).map_err(|_| "the body is not UTF-8")?;
    let (head, raw_note) = body.split_once("\n\n").ok_or("no blank line before the note")?;
    let mut lines = head.split('\n');
    let old = lines.next().and_then(|line| line.strip_prefix("old ")).and_then(size_of);
    let old = old.ok_or("the first line must be `old` and a size")?;
    let proof = lines.map(hash_of).collect::<Option<Vec<_>>>();
    let proof = proof.ok_or("a line of the proof is no hash in base64")?;
    if proof.len() > PROOF_HASHES_MAX {
        return Err(format!("the proof has more than {PROOF_HASHES_MAX} hashes"));
    }
    if old == 0 && !proof.is_empty() {
        return Err("a proof from the empty tree has no hashes".to_owned());
    }
    let note = Note::parse(raw_note).map_err(|error| error.to_string())?;
    let checkpoint = Checkpoint::parse(&note.text).map_err(|error| error.to_string())?;
    if old > checkpoint.size {
        return Err(format!("old {old} is larger than the checkpoint's {}", checkpoint.size));
    }
    Ok(Request { old, proof, note, checkpoint, raw_note: raw_note.to_owned() })
}

/// One size has one spelling: no sign, no leading zero.
fn size_of(text: &str) -> Option<u64> {
    let size: u64 = text.parse().ok()?;
    (size.to_string() == text).then_some(size)
}

fn hash_of(line: &str) -> Option<Hash> {
    STANDARD.decode(line).ok()?.try_into().ok()
}
