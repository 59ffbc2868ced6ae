//! Verification, done anew from what the log says: hashes are recomputed, paths walked,
//! signatures checked. Refuses to believe a stored hash, size or root.

use audit::{
    merkle,
    note::{Checkpoint, NoteVerifier},
    proof::{InclusionProof, StoredCheckpoint},
};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use audit::query::StoredEvent;

use super::views::Evidence;
use crate::areas::overview::thousands;

/// One thing that was checked.
pub(crate) struct Check {
    pub(crate) title: &'static str,
    pub(crate) passed: bool,
    pub(crate) told: String,
}

impl Check {
    fn new(title: &'static str, passed: bool, told: impl Into<String>) -> Self {
        Self { title, passed, told: told.into() }
    }
}

/// A hash as people compare it.
pub(crate) fn hash_text(hash: &merkle::Hash) -> String {
    STANDARD.encode(hash)
}

/// One event against its proof: record, leaf, path, signature.
pub(crate) fn event(
    event: &StoredEvent,
    proof: &InclusionProof,
    keys: &[NoteVerifier],
) -> Vec<Check> {
    let leaf = merkle::leaf_hash(proof.record.as_bytes());
    let (size, root) = (proof.checkpoint.tree_size, &proof.checkpoint.root_hash);
    let path = merkle::verify_inclusion(&leaf, proof.log_index, size, &proof.hashes, root);
    let path_told = match &path {
        Ok(()) => format!(
            "From place {} of {}, {} neighbouring hashes lead to the root {}",
            thousands(proof.log_index),
            thousands(size),
            proof.hashes.len(),
            hash_text(root)
        ),
        Err(error) => format!("The path does not lead to the signed root: {error}"),
    };
    vec![
        shown(event, &proof.record),
        Check::new(
            "The record’s hash is the leaf",
            leaf == proof.leaf_hash,
            format!(
                "SHA-256 over 0x00 and the {} bytes of the record: {}",
                proof.record.len(),
                hash_text(&leaf)
            ),
        ),
        Check::new("The leaf stands in the tree", path.is_ok(), path_told),
        signature(&proof.checkpoint, keys),
    ]
}

/// What the page shows is what the sealed record says.
fn shown(event: &StoredEvent, record: &str) -> Check {
    let title = "The page shows the record";
    let Ok(record) = serde_json::from_str::<Value>(record) else {
        return Check::new(title, false, "The record cannot be read");
    };
    let text = |name: &str| record[name].as_str().unwrap_or_default().to_owned();
    let id = |id: Option<uuid::Uuid>| id.map(|id| id.to_string()).unwrap_or_default();
    let member = |name: &str| record.get(name).cloned();
    let differs: Vec<&str> = [
        ("event_id", text("event_id") == event.event_id.to_string()),
        ("event_type", text("event_type") == event.event_type),
        ("severity", text("severity") == event.severity),
        ("action", text("action") == event.action),
        ("result", text("result") == event.result),
        ("actor_kind", text("actor_kind") == event.actor_kind),
        ("resource_type", text("resource_type") == event.resource_type),
        ("resource_id", text("resource_id") == id(event.resource_id)),
        ("user_id", text("user_id") == id(event.user_id)),
        ("session_id", text("session_id") == id(event.session_id)),
        ("organization_id", text("organization_id") == id(event.organization_id)),
        ("request_id", text("request_id") == event.request_id.clone().unwrap_or_default()),
        ("ip_address", text("ip_address") == event.ip_address.clone().unwrap_or_default()),
        ("old_values", member("old_values") == event.old_values),
        ("new_values", member("new_values") == event.new_values),
        ("details", member("details") == event.details),
        (
            "occurred_at",
            text("occurred_at").parse().is_ok_and(|at: jiff::Timestamp| at == event.occurred_at),
        ),
    ]
    .into_iter()
    .filter(|(_, same)| !same)
    .map(|(name, _)| name)
    .collect();
    if differs.is_empty() {
        Check::new(title, true, "Every field below is in the sealed record, letter by letter")
    } else {
        Check::new(title, false, format!("Not as in the sealed record: {}", differs.join(", ")))
    }
}

/// The tree head was signed by a key of this tenant, over this very size and root.
fn signature(checkpoint: &StoredCheckpoint, keys: &[NoteVerifier]) -> Check {
    let title = "The root is signed";
    let opened = keys.iter().find_map(|key| {
        let opened = Checkpoint::open(&checkpoint.note, key).ok()?;
        Some((opened, key))
    });
    match opened {
        Some((opened, key))
            if opened.size == checkpoint.tree_size && opened.root == checkpoint.root_hash =>
        {
            Check::new(title, true, format!("Ed25519, by the log’s key {}", key.name()))
        }
        Some(_) => Check::new(title, false, "The signature is of another size or root"),
        None => Check::new(title, false, "No key of this tenant has signed it"),
    }
}

/// The log as a whole, as far as one page may go.
pub(crate) fn log(evidence: &Evidence) -> Vec<Check> {
    let Some(latest) = &evidence.latest else { return Vec::new() };
    let mut checks = vec![signature(latest, &evidence.keys)];
    if let Some(earlier) = &evidence.earlier {
        let hashes = evidence.growth.as_ref().map_or(&[][..], |proof| &proof.hashes);
        let grown = evidence.growth.is_some()
            && merkle::verify_consistency(
                earlier.tree_size,
                latest.tree_size,
                hashes,
                &earlier.root_hash,
                &latest.root_hash,
            )
            .is_ok();
        let told = format!(
            "From {} to {} records: what was there is there, unchanged and in order",
            thousands(earlier.tree_size),
            thousands(latest.tree_size)
        );
        let broken = "The later tree does not contain the earlier one".to_owned();
        checks.push(Check::new("The log only grew", grown, if grown { told } else { broken }));
    }
    let proven = evidence.samples.iter().filter(|sample| stands(sample, &evidence.keys)).count();
    checks.push(Check::new(
        "The newest records stand in it",
        proven == evidence.samples.len(),
        format!(
            "{proven} of {} records were hashed and their paths walked",
            evidence.samples.len()
        ),
    ));
    checks
}

fn stands(sample: &audit::proof::Inclusion, keys: &[NoteVerifier]) -> bool {
    let audit::proof::Inclusion::Proven(proof) = sample else { return false };
    let leaf = merkle::leaf_hash(proof.record.as_bytes());
    let (size, root) = (proof.checkpoint.tree_size, &proof.checkpoint.root_hash);
    let path = merkle::verify_inclusion(&leaf, proof.log_index, size, &proof.hashes, root);
    leaf == proof.leaf_hash && path.is_ok() && signature(&proof.checkpoint, keys).passed
}
