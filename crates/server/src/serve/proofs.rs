//! Owns the running proofs: that each tenant's books are proven once in a period by one
//! of the nodes, that what a proof finds is recorded and loud, and that every node's
//! metrics say the same of all tenants.
//!
//! Nodes share the work by the lease in `ledger_proofs`; none holds a transaction or a
//! lock while it proves. Metrics carry no tenant: how many there are is nobody's to
//! bound, and the log and the audit record name the one that is wrong.

use std::sync::Arc;
use std::time::Duration;

use banking::proof::{self, RecordProof, Standing};
use jiff::Timestamp;
use operation::Call;
use tenancy::{ActorKind, OpContext};
use tokio_util::sync::CancellationToken;

use crate::compose::Installation;

/// How often books are proven where nothing else is said.
pub const EVERY_DEFAULT: Duration = Duration::from_secs(3_600);
/// A proof that takes longer has gone wrong: it is given up and counted as a failure.
const PROOF_MAX: Duration = Duration::from_secs(1_800);
/// From the start of the process to the first look: what is started should serve first.
const FIRST_AFTER: Duration = Duration::from_secs(10);

/// Proves until it is told to stop; a proof under way is dropped then, for it only reads.
pub(super) async fn run(installation: Installation, stop: CancellationToken) {
    let every = installation.proof_every;
    let mut wait = FIRST_AFTER.min(every);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(wait) => {}
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = pass(&installation) => {}
        }
        wait = every;
    }
}

/// Proves what is due, tenant by tenant, and says in the metrics how all of them stand.
/// What fails for one tenant is logged and counted, and the next one has its turn.
pub async fn pass(installation: &Installation) {
    metrics::counter!("strongroom_ledger_proof_faults_total").increment(0);
    let tenants = match installation.directory.list().await {
        Ok(tenants) => tenants,
        Err(error) => return failed(&error.into(), "every tenant"),
    };
    let mut standings = Some(Vec::new());
    for tenant in tenants {
        let context = installation.context(Arc::clone(&tenant), ActorKind::Worker);
        if let Err(error) = in_turn(installation, &context).await {
            failed(&error, &tenant.slug);
        }
        // Of the tenant whose proof failed as well: how long ago it last succeeded is
        // what the alarm needs. Where that cannot be read, what was shown before stays.
        match proof::standing(&context, &installation.app).await {
            Ok(standing) => standings.iter_mut().for_each(|all: &mut Vec<_>| all.extend(standing)),
            Err(error) => {
                failed(&error.into(), &tenant.slug);
                standings = None;
            }
        }
    }
    if let Some(standings) = standings {
        show(installation, &standings);
    }
}

fn failed(error: &anyhow::Error, tenant: &str) {
    metrics::counter!("strongroom_worker_failures_total", "worker" => "ledger_proof").increment(1);
    tracing::error!(tenant, error = %format!("{error:#}"), "the books could not be proven");
}

/// Proves a tenant's books if it is their turn.
async fn in_turn(installation: &Installation, context: &OpContext) -> anyhow::Result<()> {
    // A little less than a period: a node that comes back on time finds its own due.
    let due_after_s = i64::try_from(installation.proof_every.as_secs() * 9 / 10)?;
    if !proof::claim(context, &installation.app, due_after_s).await? {
        return Ok(());
    }
    let proving = proof::prove(context, &installation.app, |_| {});
    let proof = tokio::time::timeout(PROOF_MAX, proving).await??;
    let faults = proof.fault_count();
    if faults > 0 {
        metrics::counter!("strongroom_ledger_proof_faults_total").increment(faults);
        let first = proof.faults().next().unwrap_or_default();
        tracing::error!(tenant = context.tenant.slug, faults, first, "the books are wrong");
    }
    let command = RecordProof::from(&proof);
    let call = Call { context: context.clone(), idempotency_key: None, command };
    installation.operations.run_one(call).await?;
    Ok(())
}

/// The same on every node, whichever did the proofs.
#[expect(clippy::cast_precision_loss, reason = "gauges are floats; seconds fit in them")]
fn show(installation: &Installation, standings: &[Standing]) {
    let is_good = standings.iter().all(|standing| standing.fault_count == 0);
    metrics::gauge!("strongroom_ledger_proof_ok").set(if is_good { 1.0 } else { 0.0 });
    let oldest = standings.iter().map(|standing| standing.good_until).min();
    let oldest_s = oldest.map_or_else(|| installation.clock.now_s(), Timestamp::as_second);
    metrics::gauge!("strongroom_ledger_proof_last_success_timestamp_seconds").set(oldest_s as f64);
    metrics::gauge!("strongroom_ledger_proof_period_seconds")
        .set(installation.proof_every.as_secs_f64());
}
