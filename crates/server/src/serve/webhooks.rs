//! Owns when webhooks are delivered and forgotten, and the figures that tell of it. It
//! refuses to know what they say.
//!
//! Tenants are served side by side, each by one task at a time, so that one whose receivers
//! hang holds up no other.

use std::collections::HashSet;
use std::time::Duration;

use operation::OperationError;
use tenancy::{ActorKind, OpContext, TenantId};
use tokio::task::{JoinError, JoinSet};
use tokio_util::sync::CancellationToken;

use super::workers::for_each_tenant;
use crate::compose::Installation;

/// How long an event waits at most before it is on its way.
const EVERY: Duration = Duration::from_secs(1);
/// Tenants served at once by this node.
const TENANTS_MAX: usize = 32;
/// How often what waits is measured.
pub(super) const MEASURE_EVERY: Duration = Duration::from_secs(30);

type Ended = (TenantId, Result<u64, OperationError>);

/// Delivers until cancelled; what is in flight then is finished.
pub(super) async fn run(installation: Installation, stop: CancellationToken) {
    let mut running = JoinSet::new();
    let mut served = HashSet::new();
    while !stop.is_cancelled() {
        if let Err(error) = begin(&installation, &stop, &mut running, &mut served).await {
            failed(&error.to_string());
        }
        tokio::select! {
            () = stop.cancelled() => {}
            () = tokio::time::sleep(EVERY) => {}
        }
        while let Some(ended) = running.try_join_next() {
            reap(ended, &mut served);
        }
    }
    while let Some(ended) = running.join_next().await {
        reap(ended, &mut served);
    }
}

/// Begins with every tenant that is not being served; where there is no room, as soon as
/// another one is done, so that nobody's place in the list decides.
async fn begin(
    installation: &Installation,
    stop: &CancellationToken,
    running: &mut JoinSet<Ended>,
    served: &mut HashSet<TenantId>,
) -> anyhow::Result<()> {
    for tenant in installation.directory.list().await? {
        let id = tenant.id;
        if served.contains(&id) {
            continue;
        }
        while running.len() >= TENANTS_MAX {
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                Some(ended) = running.join_next() => reap(ended, served),
            }
        }
        served.insert(id);
        let context = installation.context(tenant, ActorKind::Worker);
        let (webhooks, stop) = (installation.webhooks.clone(), stop.clone());
        running.spawn(
            async move { (id, webhooks.deliver_due(&context, || stop.is_cancelled()).await) },
        );
    }
    Ok(())
}

fn reap(ended: Result<Ended, JoinError>, served: &mut HashSet<TenantId>) {
    match ended {
        Ok((tenant, outcome)) => {
            served.remove(&tenant);
            if let Err(error) = outcome {
                failed(&error.to_string());
            }
        }
        // Whose it was is not known: everybody may be served again, under leases.
        Err(error) => {
            served.clear();
            failed(&error.to_string());
        }
    }
}

fn failed(error: &str) {
    metrics::counter!("strongroom_worker_failures_total", "worker" => "webhooks").increment(1);
    tracing::warn!(worker = "webhooks", error, "a worker failed and will try again");
}

/// Shows what waits, the same on every node.
#[expect(clippy::cast_precision_loss, reason = "gauges are floats; counts fit in them")]
pub(super) async fn measure(installation: Installation) -> anyhow::Result<()> {
    let now = installation.clock.now();
    let (mut waiting, mut age_s) = (0, 0);
    for tenant in installation.directory.list().await? {
        let context = installation.context(tenant, ActorKind::Worker);
        let backlog = installation.webhooks.backlog(&context).await?;
        waiting += backlog.count;
        let oldest = backlog.oldest_at.map_or(0, |at| now.as_second() - at.as_second());
        age_s = age_s.max(oldest);
    }
    metrics::gauge!("strongroom_webhooks_waiting").set(waiting as f64);
    metrics::gauge!("strongroom_webhooks_oldest_age_seconds").set(age_s as f64);
    Ok(())
}

/// Forgets what has long been over.
pub(super) async fn forget(
    installation: Installation,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let job = |own: Installation, context: OpContext| {
        let stop = stop.clone();
        async move {
            while !stop.is_cancelled() && own.webhooks.forget(&context).await? > 0 {}
            Ok::<_, OperationError>(())
        }
    };
    for_each_tenant(&installation, job).await
}
