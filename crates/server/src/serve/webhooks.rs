//! Owns when webhooks are delivered and forgotten, and the figures that tell of it. It
//! refuses to know what they say.
//!
//! Tenants are served side by side, each by one task at a time, so that one whose receivers
//! hang holds up no other.

use std::collections::HashSet;
use std::future::Future;
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

type Served = Result<u64, OperationError>;

/// Delivers until cancelled; what is in flight then is finished.
pub(super) async fn run(installation: Installation, stop: CancellationToken) {
    let mut rota = Rota::default();
    let serve = |tenant| {
        let context = installation.context(tenant, ActorKind::Worker);
        let (webhooks, stop) = (installation.webhooks.clone(), stop.clone());
        async move { webhooks.deliver_due(&context, || stop.is_cancelled()).await }
    };
    while !stop.is_cancelled() {
        match installation.directory.list().await {
            Ok(tenants) => {
                let tenants = tenants.into_iter().map(|tenant| (tenant.id, tenant)).collect();
                rota.begin(tenants, &stop, serve).await;
            }
            Err(error) => failed(&error.to_string()),
        }
        tokio::select! {
            () = stop.cancelled() => {}
            () = tokio::time::sleep(EVERY) => {}
        }
        rota.reap();
    }
    rota.end().await;
}

/// Whose turn it is: each tenant is served by one task at a time.
#[derive(Default)]
struct Rota {
    running: JoinSet<(TenantId, Served)>,
    served: HashSet<TenantId>,
}

impl Rota {
    /// Begins with every tenant that is not being served; where there is no room, as soon as
    /// another one is done, so that nobody's place in the list decides.
    async fn begin<T, F>(
        &mut self,
        tenants: Vec<(TenantId, T)>,
        stop: &CancellationToken,
        serve: impl Fn(T) -> F,
    ) where
        F: Future<Output = Served> + Send + 'static,
    {
        for (id, tenant) in tenants {
            if self.served.contains(&id) {
                continue;
            }
            while self.running.len() >= TENANTS_MAX {
                tokio::select! {
                    () = stop.cancelled() => return,
                    Some(ended) = self.running.join_next() => self.note(ended),
                }
            }
            self.served.insert(id);
            let serving = serve(tenant);
            self.running.spawn(async move { (id, serving.await) });
        }
    }

    /// Takes note of who is done.
    fn reap(&mut self) {
        while let Some(ended) = self.running.try_join_next() {
            self.note(ended);
        }
    }

    async fn end(&mut self) {
        while let Some(ended) = self.running.join_next().await {
            self.note(ended);
        }
    }

    fn note(&mut self, ended: Result<(TenantId, Served), JoinError>) {
        match ended {
            Ok((tenant, outcome)) => {
                self.served.remove(&tenant);
                if let Err(error) = outcome {
                    failed(&error.to_string());
                }
            }
            // Whose it was is not known: everybody may be served again, under leases.
            Err(error) => {
                self.served.clear();
                failed(&error.to_string());
            }
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

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::{Arc, Mutex};

    use super::*;

    /// How often each was served.
    type Turns = Arc<Mutex<BTreeMap<u128, usize>>>;

    /// Tenants of which the first forty take a while.
    async fn round(rota: &mut Rota, stop: &CancellationToken, turns: &Turns) {
        let tenants = (0..100).map(|number| (tenant(number), number)).collect();
        let serve = |number| {
            let turns = Arc::clone(turns);
            async move {
                *turns.lock().unwrap().entry(number).or_default() += 1;
                if number < 40 {
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
                Ok(0)
            }
        };
        rota.begin(tenants, stop, serve).await;
        assert!(rota.running.len() <= TENANTS_MAX);
    }

    fn tenant(number: u128) -> TenantId {
        TenantId(uuid::Uuid::from_u128(number))
    }

    #[tokio::test]
    async fn every_tenant_has_its_turn_however_many_hang_before_it() {
        let (stop, turns) = (CancellationToken::new(), Turns::default());
        let mut rota = Rota::default();
        round(&mut rota, &stop, &turns).await;
        rota.end().await;
        let served = turns.lock().unwrap().clone();
        assert_eq!(served, (0..100).map(|number| (number, 1)).collect());
        round(&mut rota, &stop, &turns).await;
        rota.end().await;
        assert!(turns.lock().unwrap().values().all(|turns| *turns == 2));
    }

    #[tokio::test]
    async fn nobody_is_served_twice_at_once_and_a_task_that_dies_frees_its_place() {
        let (stop, turns) = (CancellationToken::new(), Turns::default());
        let mut rota = Rota::default();
        let hang = |()| {
            *turns.lock().unwrap().entry(1).or_default() += 1;
            std::future::pending::<Served>()
        };
        for _ in 0..3 {
            rota.begin(vec![(tenant(1), ())], &stop, hang).await;
        }
        assert_eq!(turns.lock().unwrap()[&1], 1);
        rota.running.abort_all();
        rota.end().await;
        rota.begin(vec![(tenant(1), ())], &stop, hang).await;
        assert_eq!(turns.lock().unwrap()[&1], 2);
    }
}
