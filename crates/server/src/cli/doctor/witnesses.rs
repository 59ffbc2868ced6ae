//! Owns one question: does anybody outside cosign the checkpoints over all audit logs, and is
//! each of them with the times.

use audit::witness::{SuperStanding, WitnessStanding, standing};
use jiff::{SignedDuration, Timestamp};

use super::Patient;
use super::report::Finding;
use crate::connect::connect;

/// The witnesses.
pub(super) const WITNESSES: &str = "audit.witnesses";

const STATUS: &str = "strongroom audit status";
/// As the alert.
const LATE: SignedDuration = SignedDuration::from_mins(15);

/// The check of this file.
pub(super) async fn check(patient: &Patient<'_>) -> Finding {
    let configuration = patient.configuration;
    let witnesses = configuration.witnesses();
    if witnesses.is_empty() {
        return unwitnessed(patient);
    }
    let Ok(database) = configuration.auditor_database() else {
        return Finding::skipped(WITNESSES, "the database cannot be asked");
    };
    let Ok(client) = connect(&database).await else {
        return Finding::skipped(WITNESSES, "the database cannot be asked");
    };
    let names: Vec<&str> = witnesses.iter().map(audit::witness::Witness::name).collect();
    match standing(&client, &names).await {
        Ok(found) => judged(&found, patient.clock.now()),
        Err(error) => Finding::fault(WITNESSES, error.to_string(), STATUS),
    }
}

/// Without an anchor either, nobody but this database says what was signed.
fn unwitnessed(patient: &Patient<'_>) -> Finding {
    let found = "nobody outside cosigns the audit log: who holds the signing key could show two \
                 histories of it";
    if patient.strict && patient.configuration.anchoring().is_none() {
        Finding::warning(WITNESSES, found, "strongroom config explain AUDIT_WITNESSES")
    } else {
        Finding::note(WITNESSES, found)
    }
}

fn judged(found: &SuperStanding, now: Timestamp) -> Finding {
    let told = told(&found.witnesses, found.signed);
    let is_late = |witness: &WitnessStanding| {
        witness.waiting_since.is_some_and(|since| now.duration_since(since) > LATE)
    };
    if found.witnesses.iter().all(is_late) {
        return Finding::fault(WITNESSES, told, STATUS);
    }
    if found.witnesses.iter().any(is_late) {
        return Finding::warning(WITNESSES, told, STATUS);
    }
    Finding::ok(WITNESSES, told)
}

fn told(witnesses: &[WitnessStanding], signed: u64) -> String {
    let each = witnesses.iter().map(|witness| {
        let (size, name) = (witness.size.unwrap_or(0), &witness.witness);
        format!("{name} has cosigned {size} of {signed} checkpoints")
    });
    each.collect::<Vec<_>>().join("; ")
}
