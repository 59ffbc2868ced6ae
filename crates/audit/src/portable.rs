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

use crate::cosignature::CosignatureVerifier;
use crate::keys::log_name;
use crate::merkle::{self, Hash, ProofError};
use crate::note::{Checkpoint, Note, NoteError, NoteVerifier};
use crate::proof::{ConsistencyProof, InclusionProof, StoredCheckpoint};
use crate::super_log::SUPER_LOG_PREFIX;
use crate::super_proof::{SuperCheckpoint, SuperInclusion};

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
    /// From there into the log over all tenants' logs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub super_log: Option<PortableSuper>,
}

/// That the tenant's checkpoint is a leaf of the log over all tenants' logs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortableSuper {
    /// The leaf's place, from 0; the leaf is `SHA-256(0x00 ‖ note)` of the tenant's checkpoint.
    pub log_index: u64,
    /// The audit path, base64, from the leaf upwards.
    pub hashes: Vec<String>,
    /// The signed tree head that the path leads to.
    pub checkpoint: PortableCheckpoint,
    /// The signature lines of witnesses over it (`cosignature/v1`), each without its newline.
    pub cosignatures: Vec<String>,
    /// The super-log's keys, as whoever made the file says.
    pub verifier_keys: Vec<String>,
}

/// A signed head of the log over all tenants' logs, as it is served.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortableHead {
    /// The head.
    pub checkpoint: PortableCheckpoint,
    /// The signature lines of witnesses over it, each without its newline.
    pub cosignatures: Vec<String>,
    /// The log's keys, as whoever serves it says.
    pub verifier_keys: Vec<String>,
}

/// What a proof is verified by: keys that were got from somewhere else than the file.
#[derive(Debug, Clone, Default)]
pub struct Trust {
    /// Of the tenant's log, and of the super-log where the way into it is to be verified.
    pub keys: Vec<NoteVerifier>,
    /// Of witnesses.
    pub witnesses: Vec<CosignatureVerifier>,
    /// How many of those have to have cosigned.
    pub required: usize,
}

/// What was verified of an inclusion.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Verified {
    /// The size of the super-log that it stands in, where a key of it was given.
    pub super_size: Option<u64>,
    /// The witnesses whose cosignatures are good, as they were given.
    pub cosigned_by: Vec<String>,
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
    /// Witnesses were asked for, and there is no way to what they cosign.
    #[error("it holds no proof into the log that witnesses cosign")]
    Unwitnessed,
    /// A cosignature bears a witness' name and is not its own.
    #[error("a cosignature is not good: {0}")]
    Cosignature(NoteError),
    /// Too few of the witnesses have cosigned it.
    #[error("{found} of the witnesses have cosigned it and {required} are required")]
    TooFew {
        /// So many have.
        found: usize,
        /// So many should.
        required: usize,
    },
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
            super_log: proof.super_log.map(PortableSuper::from),
        }
    }

    /// Verifies it by keys that were got from somewhere else: every member, none believed. The
    /// way into the super-log is verified where a key of one is given, and has to be where
    /// witnesses are required.
    pub fn verify(&self, trust: &Trust) -> Result<Verified, PortableError> {
        self.verify_in_own_log(&trust.keys)?;
        let is_super = |key: &&NoteVerifier| key.name().starts_with(SUPER_LOG_PREFIX);
        let keys: Vec<_> = trust.keys.iter().filter(is_super).cloned().collect();
        match &self.super_log {
            Some(proof) if !keys.is_empty() => proof.verify(&self.checkpoint.note, &keys, trust),
            None if !keys.is_empty() => Err(PortableError::Unwitnessed),
            _ if trust.required > 0 => Err(PortableError::Unwitnessed),
            _ => Ok(Verified::default()),
        }
    }

    fn verify_in_own_log(&self, keys: &[NoteVerifier]) -> Result<(), PortableError> {
        let signed = self.checkpoint.open(&log_name(self.tenant_id), keys)?;
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

impl PortableSuper {
    /// The leaf is the tenant's note, to the byte.
    fn verify(
        &self,
        note: &str,
        keys: &[NoteVerifier],
        trust: &Trust,
    ) -> Result<Verified, PortableError> {
        let name = self.checkpoint.note.lines().next().unwrap_or_default();
        let signed = self.checkpoint.open(name, keys)?;
        let (leaf, hashes) = (merkle::leaf_hash(note.as_bytes()), hashes(&self.hashes)?);
        merkle::verify_inclusion(&leaf, self.log_index, signed.size, &hashes, &signed.root)?;
        let cosigned_by = cosigners(&self.checkpoint.note, &self.cosignatures, &trust.witnesses)?;
        let (found, required) = (cosigned_by.len(), trust.required);
        if found < required {
            return Err(PortableError::TooFew { found, required });
        }
        Ok(Verified { super_size: Some(signed.size), cosigned_by })
    }
}

/// The names of the witnesses that cosigned a note. One that did not is left out; a line in a
/// witness' name that is not its own is a forgery.
fn cosigners(
    note: &str,
    lines: &[String],
    witnesses: &[CosignatureVerifier],
) -> Result<Vec<String>, PortableError> {
    let mut text = note.to_owned();
    for line in lines {
        text.push_str(line);
        text.push('\n');
    }
    let signed = Note::parse(note).map_err(PortableError::Note)?;
    let cosigned = Note::parse(&text).map_err(PortableError::Cosignature)?;
    if cosigned.text != signed.text {
        return Err(PortableError::Member("cosignatures"));
    }
    let mut found = std::collections::BTreeSet::new();
    for witness in witnesses {
        match witness.verify(&cosigned) {
            Ok(_) => found.insert(witness.name().to_owned()),
            Err(NoteError::Unsigned(_)) => false,
            Err(error) => return Err(PortableError::Cosignature(error)),
        };
    }
    Ok(found.into_iter().collect())
}

impl From<SuperInclusion> for PortableSuper {
    fn from(proof: SuperInclusion) -> Self {
        let head = PortableHead::of(proof.head, &proof.keys);
        Self {
            log_index: proof.log_index,
            hashes: texts(&proof.hashes),
            checkpoint: head.checkpoint,
            cosignatures: head.cosignatures,
            verifier_keys: head.verifier_keys,
        }
    }
}

impl PortableHead {
    /// As it is served, with the keys that verify it.
    pub fn of(head: SuperCheckpoint, keys: &[NoteVerifier]) -> Self {
        Self {
            checkpoint: head.checkpoint.into(),
            cosignatures: head.cosignatures,
            verifier_keys: keys.iter().map(NoteVerifier::to_text).collect(),
        }
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
        let first = self.first.open(&log_name(self.tenant_id), keys)?;
        let second = self.second.open(&log_name(self.tenant_id), keys)?;
        let hashes = hashes(&self.hashes)?;
        merkle::verify_consistency(first.size, second.size, &hashes, &first.root, &second.root)?;
        Ok(())
    }
}

impl PortableProof {
    /// Verifies it by keys that were got from somewhere else.
    pub fn verify(&self, trust: &Trust) -> Result<Verified, PortableError> {
        match self {
            Self::Inclusion(proof) => proof.verify(trust),
            Self::Consistency(_) if trust.required > 0 => Err(PortableError::Unwitnessed),
            Self::Consistency(proof) => proof.verify(&trust.keys).map(|()| Verified::default()),
        }
    }
}

impl PortableCheckpoint {
    /// What a key of the log has signed, which the members beside the note repeat.
    fn open(&self, name: &str, keys: &[NoteVerifier]) -> Result<Checkpoint, PortableError> {
        let mut failure = PortableError::NoKey(name.to_owned());
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
