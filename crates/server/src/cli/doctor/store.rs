//! Owns asking the store of `REDIS_URL`: does it answer, may we run our scripts there, is
//! its memory bounded.
//!
//! It refuses to look at what stands in it: names are MACs, and nobody's business.

use hotstate::shared::examine;

use super::Patient;
use super::report::Finding;
use crate::serve::shared;

pub(super) const REACHABLE: &str = "redis.reachable";
pub(super) const MEMORY: &str = "redis.memory";

/// Every check of this file.
pub(super) async fn check(patient: &Patient<'_>) -> Vec<Finding> {
    let skipped = |why: &str| [REACHABLE, MEMORY].map(|check| Finding::skipped(check, why)).into();
    let address = match patient.configuration.shared_store() {
        Ok(Some(address)) => address,
        Ok(None) => {
            return skipped("REDIS_URL is not set: each node counts limits and blocks by itself");
        }
        // Why is a finding of its own.
        Err(_) => return skipped("REDIS_URL is not one"),
    };
    let Ok(roots) = patient.configuration.root_keys() else {
        return skipped("ENCRYPTION_KEY comes first: names in the store are made with it");
    };
    let health = match examine(&address, shared::secret(&roots)).await {
        Ok(health) => health,
        Err(trouble) => {
            let found = format!(
                "{address} cannot be shared: {trouble}; each node counts limits and blocks by itself meanwhile"
            );
            let mend =
                "redis-cli PING   (is it up, is the password right, may the login run EVALSHA?)";
            let finding = Finding::fault(REACHABLE, found, mend);
            return vec![finding, Finding::skipped(MEMORY, "it cannot be asked")];
        }
    };
    let mut findings =
        vec![Finding::ok(REACHABLE, format!("{address} answers and runs our scripts"))];
    findings.push(match (health.is_bounded, health.evicts) {
        (false, _) => Finding::warning(
            MEMORY,
            "its memory has no bound: a flood of addresses may fill the machine",
            "redis-cli CONFIG SET maxmemory 256mb",
        ),
        (true, false) => Finding::warning(
            MEMORY,
            "it refuses writes when it is full; nodes would count alone then",
            "redis-cli CONFIG SET maxmemory-policy volatile-ttl",
        ),
        (true, true) => Finding::ok(MEMORY, "bounded, and it makes room when it is full"),
    });
    findings
}
