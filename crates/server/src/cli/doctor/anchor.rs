//! Owns one question: is the newest checkpoint of the audit log kept where whoever restores
//! an older database does not reach it, and did this database grow out of it; with it, whether
//! witnesses keep up.

use audit::anchor::{self, Standing};

use super::Patient;
use super::report::Finding;
use crate::connect::connect;

/// The anchor.
pub(super) const ANCHOR: &str = "audit.anchor";

/// The check of this file.
pub(super) async fn check(patient: &Patient<'_>) -> Finding {
    let configuration = patient.configuration;
    if let Some(witness) = configuration.witness_anchor() {
        let found = format!("the witness {} is asked before anything is signed", witness.name());
        return Finding::ok(ANCHOR, found);
    }
    let Some(anchor) = configuration.anchor() else {
        let found = "nothing outside the database says how large the audit log was: who restores \
                     an older copy is not noticed";
        return if patient.strict {
            Finding::warning(ANCHOR, found, "strongroom config explain AUDIT_ANCHOR")
        } else {
            Finding::note(ANCHOR, found)
        };
    };
    let Ok(database) = configuration.auditor_database() else {
        return Finding::skipped(ANCHOR, "the database cannot be asked");
    };
    let Ok(client) = connect(&database).await else {
        return Finding::skipped(ANCHOR, "the database cannot be asked");
    };
    match anchor::standing(&client, &anchor).await {
        Ok(Standing { fault: Some(fault), .. }) => {
            Finding::fault(ANCHOR, fault, "strongroom audit anchor status")
        }
        Ok(Standing { anchored, signed, .. }) => Finding::ok(
            ANCHOR,
            format!("{} of {signed} checkpoints are anchored", anchored.unwrap_or(0)),
        ),
        Err(error) => Finding::fault(ANCHOR, error.to_string(), "strongroom audit anchor status"),
    }
}
