//! Owns what a log is held against that does not come from the log itself: which of the
//! checkpoints and keys that were given are whose.
//!
//! Refuses to know: what they prove.

use std::collections::BTreeSet;

use uuid::Uuid;

use crate::fault::{FaultKind, TenantReport};
use crate::keys::log_name;
use crate::note::NoteVerifier;
use crate::super_log::super_log_name;
use crate::verify::Options;

/// The names of the logs whose checkpoints or keys were given and none of which was
/// verified: a log that is gone with its tenant is no good log.
pub fn logs_without_report(reports: &[TenantReport], options: &Options) -> Vec<String> {
    // The super-log is verified with the platform; no other tenant has one of its name.
    let names =
        |report: &TenantReport| [log_name(report.tenant_id), super_log_name(report.tenant_id)];
    let verified: BTreeSet<String> = reports.iter().flat_map(names).collect();
    let notes = options.known_checkpoints.iter().map(|note| origin_of(note));
    let keys = options.trusted_keys.iter().map(NoteVerifier::name);
    let given: BTreeSet<&str> = notes.chain(keys).collect();
    given.into_iter().filter(|name| !verified.contains(*name)).map(str::to_owned).collect()
}

/// The notes that bear the tenant's log's name; those of other logs are theirs.
pub(crate) fn notes_of(tenant_id: Uuid, notes: &[String]) -> impl Iterator<Item = &str> {
    notes_named(log_name(tenant_id), notes)
}

/// The notes of the log of this name.
pub(crate) fn notes_named(name: String, notes: &[String]) -> impl Iterator<Item = &str> {
    notes.iter().map(String::as_str).filter(move |note| origin_of(note) == name)
}

/// The keys that the tenant's log is held against: those given for it, the stored ones
/// where there are none. A stored key of another log is a fault even so: with it, that
/// log's notes would pass for this one's.
pub(crate) fn keys_of(
    tenant_id: Uuid,
    stored: Vec<NoteVerifier>,
    trusted: &[NoteVerifier],
) -> Result<Vec<NoteVerifier>, FaultKind> {
    let name = log_name(tenant_id);
    if let Some(key) = stored.iter().find(|key| key.name() != name) {
        return Err(FaultKind::KeyOfAnotherLog { name: key.name().to_owned() });
    }
    let given: Vec<_> = trusted.iter().filter(|key| key.name() == name).cloned().collect();
    Ok(if given.is_empty() { stored } else { given })
}

/// The name of the log that a note says it is of.
fn origin_of(note: &str) -> &str {
    note.lines().next().unwrap_or_default()
}
