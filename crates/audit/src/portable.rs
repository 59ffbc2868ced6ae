//! Owns the file of a proof: what the console gives as `proof.json`, the API answers and
//! the command line writes are one form, and this verifies it without a database.
//!
//! Refuses to know: where the file came from, and to believe the keys in it. Whoever
//! verifies brings keys of their own.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::keys::log_name;
use crate::merkle::{self, Hash, ProofError};
use crate::note::{Checkpoint, NoteError, NoteVerifier};
use crate::proof::{ConsistencyProof, InclusionProof, StoredCheckpoint};

/// That one event stands in a tenant's log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortableInclusion {
    /// Whose log it is; the name of its keys follows from it.
    pub tenant_id: Uuid,
    /// The event.
    pub event_id: Uuid,
    /// The exact record, a text: these bytes are hashed, and not a reformatted copy.
    pub record: String,
    /// `SHA-256(0x00 ‖ record)`, base64.
    pub leaf_hash: String,
    /// Its place, from 0.
    pub log_index: u64,
    /// The audit path (RFC 6962 section 2.1.1), base64, from the leaf upwards.
    pub hashes: Vec<String>,
    /// The signed tree head that the path leads to.
    pub checkpoint: PortableCheckpoint,
    /// The log's keys, as whoever made the file says.
    pub verifier_keys: Vec<String>,
}

/// That a tenant's log extends an earlier state of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortableConsistency {
    /// Whose log it is.
    pub tenant_id: Uuid,
    /// The earlier signed tree head.
    pub first: PortableCheckpoint,
    /// The later one.
    pub second: PortableCheckpoint,
    /// The consistency proof (RFC 6962 section 2.1.2), base64.
    pub hashes: Vec<String>,
    /// The log's keys, as whoever made the file says.
    pub verifier_keys: Vec<String>,
}

/// A signed tree head.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortableCheckpoint {
    /// Leaves in the tree.
    pub tree_size: u64,
    /// The root, base64.
    pub root_hash: String,
    /// The C2SP signed note: what is verified.
    pub note: String,
    /// When it was signed, by our clock; nothing proves it.
    pub created_at: Timestamp,
}

/// A file of either sort; which one it is, its members say.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum PortableProof {
    /// That an event stands in the log.
    Inclusion(PortableInclusion),
    /// That the log only grew.
    Consistency(PortableConsistency),
}

/// Why a file proves nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PortableError {
    /// None of the keys is the log's.
    #[error("no key is given of the log {0}")]
    NoKey(String),
    /// The note is not signed by a key that was given.
    #[error("the checkpoint is not good: {0}")]
    Note(NoteError),
    /// A member says otherwise than what is proven.
    #[error("{0} is not what the proof says")]
    Member(&'static str),
    /// The hashes do not lead to the signed root.
    #[error(transparent)]
    Path(#[from] ProofError),
}

impl PortableInclusion {
    /// The file of a proof that the log of a tenant gave.
    pub fn of(tenant_id: Uuid, proof: InclusionProof, keys: &[NoteVerifier]) -> Self {
        Self {
            tenant_id,
            event_id: proof.event_id,
            record: proof.record,
            leaf_hash: STANDARD.encode(proof.leaf_hash),
            log_index: proof.log_index,
            hashes: texts(&proof.hashes),
            checkpoint: proof.checkpoint.into(),
            verifier_keys: keys.iter().map(NoteVerifier::to_text).collect(),
        }
    }

    /// Verifies it by keys that were got from somewhere else: every member, none believed.
    pub fn verify(&self, keys: &[NoteVerifier]) -> Result<(), PortableError> {
        let signed = self.checkpoint.open(self.tenant_id, keys)?;
        let leaf = merkle::leaf_hash(self.record.as_bytes());
        if hash(&self.leaf_hash, "leaf_hash")? != leaf {
            return Err(PortableError::Member("leaf_hash"));
        }
        let hashes = hashes(&self.hashes)?;
        merkle::verify_inclusion(&leaf, self.log_index, signed.size, &hashes, &signed.root)?;
        let record: RecordIds =
            serde_json::from_str(&self.record).map_err(|_| PortableError::Member("record"))?;
        if record.tenant_id != self.tenant_id {
            return Err(PortableError::Member("tenant_id"));
        }
        if record.event_id != self.event_id {
            return Err(PortableError::Member("event_id"));
        }
        Ok(())
    }
}

impl PortableConsistency {
    /// The file of a proof between two signed states of a tenant's log.
    pub fn of(
        tenant_id: Uuid,
        ends: [StoredCheckpoint; 2],
        proof: &ConsistencyProof,
        keys: &[NoteVerifier],
    ) -> Self {
        let [first, second] = ends.map(PortableCheckpoint::from);
        let verifier_keys = keys.iter().map(NoteVerifier::to_text).collect();
        Self { tenant_id, first, second, hashes: texts(&proof.hashes), verifier_keys }
    }

    /// Verifies it by keys that were got from somewhere else.
    pub fn verify(&self, keys: &[NoteVerifier]) -> Result<(), PortableError> {
        let first = self.first.open(self.tenant_id, keys)?;
        let second = self.second.open(self.tenant_id, keys)?;
        let hashes = hashes(&self.hashes)?;
        merkle::verify_consistency(first.size, second.size, &hashes, &first.root, &second.root)?;
        Ok(())
    }
}

impl PortableProof {
    /// Verifies it by keys that were got from somewhere else.
    pub fn verify(&self, keys: &[NoteVerifier]) -> Result<(), PortableError> {
        match self {
            Self::Inclusion(proof) => proof.verify(keys),
            Self::Consistency(proof) => proof.verify(keys),
        }
    }
}

impl PortableCheckpoint {
    /// What a key of the log has signed, which the members beside the note repeat.
    fn open(&self, tenant_id: Uuid, keys: &[NoteVerifier]) -> Result<Checkpoint, PortableError> {
        let name = log_name(tenant_id);
        let mut failure = PortableError::NoKey(name.clone());
        for key in keys.iter().filter(|key| key.name() == name) {
            match Checkpoint::open(&self.note, key) {
                Ok(signed) if signed.size != self.tree_size => {
                    return Err(PortableError::Member("tree_size"));
                }
                Ok(signed) if signed.root != hash(&self.root_hash, "root_hash")? => {
                    return Err(PortableError::Member("root_hash"));
                }
                Ok(signed) => return Ok(signed),
                Err(error) => failure = PortableError::Note(error),
            }
        }
        Err(failure)
    }
}

impl From<StoredCheckpoint> for PortableCheckpoint {
    fn from(stored: StoredCheckpoint) -> Self {
        Self {
            tree_size: stored.tree_size,
            root_hash: STANDARD.encode(stored.root_hash),
            note: stored.note,
            created_at: stored.signed_at,
        }
    }
}

/// The members of a record that a proof names.
#[derive(Deserialize)]
struct RecordIds {
    tenant_id: Uuid,
    event_id: Uuid,
}

fn texts(hashes: &[Hash]) -> Vec<String> {
    hashes.iter().map(|hash| STANDARD.encode(hash)).collect()
}

fn hashes(texts: &[String]) -> Result<Vec<Hash>, PortableError> {
    texts.iter().map(|text| hash(text, "hashes")).collect()
}

fn hash(text: &str, member: &'static str) -> Result<Hash, PortableError> {
    let bytes = STANDARD.decode(text).ok().and_then(|bytes| bytes.try_into().ok());
    bytes.ok_or(PortableError::Member(member))
}
