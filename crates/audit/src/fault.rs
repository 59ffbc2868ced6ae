//! Owns what a verification can find: the report of a tenant and the first
//! thing that is wrong in it.
//!
//! Refuses to know: how it was found.

use serde::Serialize;
use uuid::Uuid;

/// What was found in one tenant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TenantReport {
    /// The tenant.
    pub tenant_id: Uuid,
    /// Its slug.
    pub tenant: String,
    /// Sealed records.
    pub sealed: u64,
    /// Records that wait to be sealed.
    pub waiting: u64,
    /// Checkpoints, each with its signature.
    pub checkpoints: u64,
    /// The first thing that is wrong; none where all is as it was written.
    pub fault: Option<Fault>,
}

/// The first bad record, and what is bad about it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Fault {
    /// Its event id, where it is about one record.
    pub event_id: Option<Uuid>,
    /// Its place in the log, where it has one.
    pub log_index: Option<u64>,
    /// What is wrong.
    #[serde(flatten)]
    pub kind: FaultKind,
}

/// What can be wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, thiserror::Error)]
#[serde(tag = "fault", rename_all = "snake_case")]
pub enum FaultKind {
    /// The bytes do not hash to the leaf.
    #[error("the record's bytes were changed: they do not hash to its leaf")]
    RecordChanged,
    /// A column beside the bytes contradicts them.
    #[error("the column {column} was changed: the record says otherwise")]
    ColumnChanged {
        /// Its name.
        column: String,
    },
    /// A leaf or inbox row without its record.
    #[error("the record was removed")]
    RecordMissing,
    /// Leaves without their records, which a drop is said to have taken: no record of the log
    /// declares that drop, or it declares others.
    #[error("records were dropped that no record of the log accounts for")]
    RecordsDropped,
    /// A record that was never queued.
    #[error("the record was inserted around the log: it is neither sealed nor waiting")]
    RecordUnqueued,
    /// A record that is sealed and waits again.
    #[error("the record is sealed and queued again")]
    SealedTwice,
    /// The numbering has a hole.
    #[error("a leaf is missing: its number was skipped")]
    LeafMissing,
    /// A file numbers its leaves otherwise.
    #[error("the leaf of place {found} stands here: one was added, dropped or moved")]
    LeafMisplaced {
        /// The place that it claims.
        found: u64,
    },
    /// A record that is not of the log's tenant.
    #[error("the record is another tenant's")]
    RecordForeign,
    /// A line of a file that no export has, or not there, or in another spelling.
    #[error("line {line} of the file is not as an export writes it")]
    LineMalformed {
        /// Its number, from 1.
        line: u64,
    },
    /// A file without its last line.
    #[error("the file was cut off: its last line is missing")]
    FileCut,
    /// A key of another name than the log's.
    #[error("the key is of another log: {name}")]
    KeyOfAnotherLog {
        /// The key's name.
        name: String,
    },
    /// A stored hash is no hash.
    #[error("a stored hash is malformed")]
    HashMalformed,
    /// A stored tree node differs from the leaves under it.
    #[error("tree node {node_index} of level {level} is wrong or missing")]
    NodeWrong {
        /// Its level.
        level: i16,
        /// Its index.
        node_index: i64,
    },
    /// Nodes beyond those that the leaves make.
    #[error("the tree holds {found} nodes instead of {expected}")]
    NodeCountWrong {
        /// Nodes stored.
        found: u64,
        /// Nodes that the leaves make.
        expected: u64,
    },
    /// The leaves do not lead to a root that was signed over them. No record of the range
    /// contradicts its own leaf, so that nothing tells which of them is another.
    #[error(
        "the leaves do not lead to the root signed at size {tree_size}: of the records {after} to \
         {}, one was changed, dropped, added or moved",
        .tree_size.saturating_sub(1)
    )]
    RootDiffers {
        /// The checkpoint's size.
        tree_size: u64,
        /// The size of the last good root: what lies below it is as it was signed.
        after: u64,
    },
    /// The note beside a checkpoint's columns is forged or says otherwise.
    #[error("the checkpoint of size {tree_size} is not good: {reason}")]
    CheckpointBad {
        /// The checkpoint's size.
        tree_size: u64,
        /// What is not good about it.
        reason: String,
    },
    /// The log is smaller than a checkpoint that was kept elsewhere.
    #[error("the log has {leaves} leaves and a checkpoint kept elsewhere says {known_size}")]
    RolledBack {
        /// Leaves found.
        leaves: u64,
        /// The size once signed.
        known_size: u64,
    },
    /// A checkpoint kept elsewhere bears this log's name and not its signature.
    #[error("a checkpoint kept elsewhere is not good: {reason}")]
    KnownCheckpointBad {
        /// What is not good about it.
        reason: String,
    },
    /// The super-log knows a checkpoint that is not there.
    #[error("the checkpoint of size {tree_size} was removed: the super-log knows it")]
    CheckpointRemoved {
        /// The size once signed.
        tree_size: u64,
    },
    /// The super-log does not know a checkpoint.
    #[error("the checkpoint of size {tree_size} is not in the super-log")]
    CheckpointUnlogged {
        /// The checkpoint's size.
        tree_size: u64,
    },
    /// The super-log itself is not as it was written.
    #[error("the super-log is not good at size {size}: {reason}")]
    SuperLogBad {
        /// How many of its leaves were good.
        size: u64,
        /// What is not good about it.
        reason: String,
    },
    /// The log ends elsewhere than its last checkpoint.
    #[error("the log has {leaves} leaves and its last checkpoint says {signed_size}")]
    SizeDiffers {
        /// Leaves found.
        leaves: u64,
        /// The size last signed.
        signed_size: u64,
    },
}

pub(crate) fn whole_log(kind: FaultKind) -> Fault {
    Fault { event_id: None, log_index: None, kind }
}
