//! Owns the walk along one log from its first leaf: records against leaves, leaves
//! against every root that was signed over them. What the verifiers of a database and
//! of a file have in common.
//!
//! Refuses to know: where leaves and notes come from, and how they are numbered there.

use std::collections::BTreeMap;

use crate::fault::FaultKind;
use crate::merkle::{self, Frontier, Hash, NodeId};
use crate::note::{Checkpoint, NoteVerifier};

/// A log, as far as it was walked.
#[derive(Debug)]
pub(crate) struct Walk {
    tree: Frontier,
    keys: Vec<NoteVerifier>,
    /// The roots that checkpoints kept elsewhere promise, by size.
    known: BTreeMap<u64, Hash>,
    /// The size of the last signed root that the leaves led to.
    proven: u64,
}

impl Walk {
    /// At the beginning of a log that these keys sign, and that has to extend the
    /// checkpoints kept elsewhere; each must be signed by one of the keys.
    pub(crate) fn new<'note>(
        keys: Vec<NoteVerifier>,
        known_notes: impl IntoIterator<Item = &'note str>,
    ) -> Result<Self, FaultKind> {
        let mut known = BTreeMap::new();
        for note in known_notes {
            let point =
                open(note, &keys).map_err(|reason| FaultKind::KnownCheckpointBad { reason })?;
            known.insert(point.size, point.root);
        }
        Ok(Self { tree: Frontier::default(), keys, known, proven: 0 })
    }

    /// The leaves so far.
    pub(crate) fn size(&self) -> u64 {
        self.tree.size()
    }

    /// The root over them.
    pub(crate) fn root(&self) -> Hash {
        self.tree.root()
    }

    /// How many of them a good signature covers: none of those is another than was signed.
    pub(crate) fn proven(&self) -> u64 {
        self.proven
    }

    /// Whether a log of so many leaves is as large as each checkpoint kept elsewhere.
    pub(crate) fn reaches(&self, leaves: u64) -> Result<(), FaultKind> {
        match self.known.last_key_value() {
            Some((known_size, _)) if *known_size > leaves => {
                Err(FaultKind::RolledBack { leaves, known_size: *known_size })
            }
            _ => Ok(()),
        }
    }

    /// The next leaf; every subtree that it completes goes to `completed`.
    pub(crate) fn leaf(
        &mut self,
        leaf: Hash,
        completed: impl FnMut(NodeId, Hash),
    ) -> Result<(), FaultKind> {
        self.tree.append(leaf, completed);
        match self.known.get(&self.size()).copied() {
            Some(root) => self.is_root(root),
            None => Ok(()),
        }
    }

    /// The note signed at this very size.
    pub(crate) fn checkpoint(&mut self, note: &str) -> Result<(), FaultKind> {
        let tree_size = self.size();
        let bad = |reason: String| FaultKind::CheckpointBad { tree_size, reason };
        let signed = open(note, &self.keys).map_err(bad)?;
        if signed.size != tree_size {
            return Err(bad(format!("its note is of size {}", signed.size)));
        }
        self.is_root(signed.root)
    }

    /// A root that was signed at this very size.
    fn is_root(&mut self, signed: Hash) -> Result<(), FaultKind> {
        let tree_size = self.size();
        if signed != self.root() {
            return Err(FaultKind::RootDiffers { tree_size, after: self.proven });
        }
        self.proven = tree_size;
        Ok(())
    }
}

/// The record of a leaf, where it is there and hashes to it.
pub(crate) fn record_of<'row>(
    record: Option<&'row [u8]>,
    leaf: &Hash,
) -> Result<&'row [u8], FaultKind> {
    let record = record.ok_or(FaultKind::RecordMissing)?;
    if merkle::leaf_hash(record) == *leaf { Ok(record) } else { Err(FaultKind::RecordChanged) }
}

/// Opens a note with whichever key signed it; the reason of the last one otherwise.
fn open(note: &str, keys: &[NoteVerifier]) -> Result<Checkpoint, String> {
    let mut reason = "the log has no signing key".to_owned();
    for key in keys {
        match Checkpoint::open(note, key) {
            Ok(point) => return Ok(point),
            Err(error) => reason = error.to_string(),
        }
    }
    Err(reason)
}
