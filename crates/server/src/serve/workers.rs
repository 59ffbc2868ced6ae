//! Owns what happens beside requests: sealing and having it witnessed, relaying events, writing access records, letting
//! idle connections go, forgetting what is over, proving the books, sending notices. Each job is short or
//! can be dropped, repeatable, and harmless beside its twin on another node.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use operation::OperationError;
use tenancy::{ActorKind, DbError, OpContext, TenantId};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::{notices, proofs, resealing, webhooks};
use crate::compose::Installation;

const FORGET_ANSWERS: &str = tenancy::sql!("operation/idempotency.sql", "forget_old");

/// The bound on what a crash loses of the access log is a second: half of it
/// waits, the other half is for writing.
const ACCESS_LOG_EVERY: Duration = Duration::from_millis(500);
const UNOPENED_EVERY: Duration = Duration::from_secs(1);
const SHRINK_EVERY: Duration = Duration::from_secs(30);
const SESSIONS_EVERY: Duration = Duration::from_secs(300);
const KEYS_EVERY: Duration = Duration::from_secs(300);
const HOLDS_EVERY: Duration = Duration::from_secs(20);
const APPROVALS_EVERY: Duration = Duration::from_secs(60);
const POLICY_EVERY: Duration = Duration::from_secs(60);
const ANSWERS_EVERY: Duration = Duration::from_secs(3_600);
const PARTITIONS_EVERY: Duration = Duration::from_secs(3_600);

/// The running workers.
#[derive(Debug)]
pub struct Workers {
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl Workers {
    /// Starts all of them.
    pub fn start(installation: &Installation) -> Self {
        let workers = Self { stop: CancellationToken::new(), tasks: TaskTracker::new() };
        let (sealer, stop) = (Arc::clone(&installation.sealer), workers.stop.clone());
        workers.tasks.spawn(async move { sealer.run(stop).await });
        let (witnesses, stop) = (installation.witnesses.clone(), workers.stop.clone());
        workers.tasks.spawn(witnesses.run(stop));
        let (relay, stop) = (Arc::clone(&installation.relay), workers.stop.clone());
        workers.tasks.spawn(async move { relay.run(stop).await });
        workers.tasks.spawn(proofs::run(installation.clone(), workers.stop.clone()));
        workers.every(ACCESS_LOG_EVERY, "access_log", installation, |own| async move {
            own.operations.access_log().flush(&own.app, false).await?;
            Ok(())
        });
        workers.every(UNOPENED_EVERY, "unopened", installation, tell_unopened);
        workers.every(SHRINK_EVERY, "pool", installation, |own| async move {
            own.app.shrink();
            Ok(())
        });
        workers.every(SESSIONS_EVERY, "sessions", installation, end_sessions);
        workers.every(KEYS_EVERY, "keys", installation, tend_keys);
        workers.every(HOLDS_EVERY, "holds", installation, expire_holds);
        workers.every(APPROVALS_EVERY, "approvals", installation, expire_approvals);
        workers.every(POLICY_EVERY, "policy", installation, expire_policy_changes);
        let stop = workers.stop.clone();
        workers.every(resealing::EVERY, "resealing", installation, move |own| {
            resealing::run(own, stop.clone())
        });
        workers.send_notices(installation);
        workers.deliver_webhooks(installation);
        workers.make_partitions(installation);
        workers.remember_policies(installation);
        // At once as well: a process that is restarted every hour must forget, too.
        let (first, stop) = (installation.clone(), workers.stop.clone());
        workers.tasks.spawn(async move {
            if let Err(error) = forget_answers(first, stop).await {
                tracing::warn!(%error, "old answers could not be forgotten at the start");
            }
        });
        let stop = workers.stop.clone();
        workers.every(ANSWERS_EVERY, "idempotency", installation, move |own| {
            forget_answers(own, stop.clone())
        });
        workers
    }

    /// Tells all to stop and waits for what they are doing.
    pub async fn stop(self) {
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }

    fn make_partitions(&self, installation: &Installation) {
        let first = installation.clone();
        self.tasks.spawn(async move {
            if let Err(error) = make_partitions(first).await {
                tracing::warn!(%error, "partitions could not be made at the start");
            }
        });
        self.every(PARTITIONS_EVERY, "partitions", installation, make_partitions);
    }

    /// Once: they are built in.
    fn remember_policies(&self, installation: &Installation) {
        let app = installation.app.clone();
        self.tasks.spawn(async move {
            if let Err(error) = explain::remember_policies(&app).await {
                tracing::warn!(%error, "which policies decide from now on could not be written down");
            }
        });
    }

    fn send_notices(&self, installation: &Installation) {
        for channel in notify::Channel::ALL {
            if installation.notices.has(channel) {
                let job = notices::sending(channel, self.stop.clone());
                self.every(notices::SEND_EVERY, "notices", installation, job);
            }
        }
        self.every(notices::CLEAN_EVERY, "notices", installation, notices::clean);
        let stop = self.stop.clone();
        self.every(ANSWERS_EVERY, "notices", installation, move |own| {
            notices::forget(own, stop.clone())
        });
    }

    fn deliver_webhooks(&self, installation: &Installation) {
        self.tasks.spawn(webhooks::run(installation.clone(), self.stop.clone()));
        self.every(webhooks::MEASURE_EVERY, "webhooks", installation, webhooks::measure);
        let stop = self.stop.clone();
        self.every(ANSWERS_EVERY, "webhooks", installation, move |own| {
            webhooks::forget(own, stop.clone())
        });
    }

    fn every<F, J>(&self, period: Duration, name: &'static str, installation: &Installation, job: J)
    where
        J: Fn(Installation) -> F + Send + 'static,
        F: Future<Output = anyhow::Result<()>> + Send + 'static,
    {
        let (stop, installation) = (self.stop.clone(), installation.clone());
        self.tasks.spawn(async move {
            loop {
                tokio::select! {
                    () = stop.cancelled() => return,
                    () = tokio::time::sleep(period) => {}
                }
                if let Err(error) = job(installation.clone()).await {
                    metrics::counter!("strongroom_worker_failures_total", "worker" => name)
                        .increment(1);
                    tracing::warn!(worker = name, %error, "a worker failed and will try again");
                }
            }
        });
    }
}

/// The months to come get their partitions of the audit log.
async fn make_partitions(installation: Installation) -> anyhow::Result<()> {
    let made = audit::partitions::make_ahead(&installation.app).await?;
    if made > 0 {
        tracing::info!(made, "partitions of the audit log were made");
    }
    Ok(())
}

/// Writes down which sealed fields did not open, of whichever tenant.
async fn tell_unopened(installation: Installation) -> anyhow::Result<()> {
    for tenant in installation.keyring.unopened().tenants() {
        if let Some(tenant) = installation.directory.by_id(TenantId(tenant)).await? {
            let context = installation.context(tenant, ActorKind::Worker);
            operation::tell_unopened(&installation.app, &installation.keyring, &context).await?;
        }
    }
    Ok(())
}

/// Ends the sessions that are over. The database function leaves the audit records.
async fn end_sessions(installation: Installation) -> anyhow::Result<()> {
    let job = |own: Installation, context: OpContext| async move {
        own.identity.cleanup_sessions(&context).await.map(drop)
    };
    for_each_tenant(&installation, job).await
}

/// Publishes, activates and retires signing keys as each tenant's policy has it.
async fn tend_keys(installation: Installation) -> anyhow::Result<()> {
    let job = |own: Installation, context: OpContext| async move {
        own.identity.tend_signing_keys(&context).await.map(drop)
    };
    for_each_tenant(&installation, job).await
}

/// Returns the money of holds whose time is over.
async fn expire_holds(installation: Installation) -> anyhow::Result<()> {
    let job = |own: Installation, context: OpContext| async move {
        if !context.tenant.has_module("banking") {
            return Ok(());
        }
        banking::holds::expire_due(&own.operations, &context).await.map(drop)
    };
    for_each_tenant(&installation, job).await
}

/// Writes down which approvals the clock has ended.
async fn expire_approvals(installation: Installation) -> anyhow::Result<()> {
    let job = |own: Installation, context: OpContext| async move {
        if !context.tenant.has_module("banking") {
            return Ok(());
        }
        banking::approvals::expire_due(&own.operations, &context).await.map(drop)
    };
    for_each_tenant(&installation, job).await
}

/// Writes down which changes of the security policy the clock has ended.
async fn expire_policy_changes(installation: Installation) -> anyhow::Result<()> {
    let job = |own: Installation, context: OpContext| async move {
        own.identity.expire_policy_changes(&context).await.map(drop)
    };
    for_each_tenant(&installation, job).await
}

/// Forgets answers to idempotency keys that are older than a week, events older than 30 days,
/// links, codes and challenges whose end is long over, and nonces of signatures, batch by batch, so that no backlog is too large for the time
/// that a statement may take. What is left when the process is told to stop is forgotten
/// at the next start.
///
/// # Errors
/// The first tenant's trouble, after every other tenant had its turn.
pub async fn forget_answers(
    installation: Installation,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let job = |own: Installation, context: OpContext| {
        let stop = stop.clone();
        async move {
            while !stop.is_cancelled() {
                let transaction = own.app.begin(&context).await?;
                let tenant = transaction.tenant();
                let forgotten = transaction.execute(FORGET_ANSWERS, &[&tenant]).await?;
                transaction.commit().await?;
                if forgotten == 0 {
                    break;
                }
            }
            while !stop.is_cancelled() {
                if events::forget_old(&own.app, &context).await? == 0 {
                    break;
                }
            }
            while !stop.is_cancelled() {
                if own.identity.forget_one_time_tokens(&context).await? == 0 {
                    break;
                }
            }
            while !stop.is_cancelled() {
                if own.identity.forget_challenges(&context).await? == 0 {
                    break;
                }
            }
            while !stop.is_cancelled() {
                if own.identity.forget_nonces(&context).await? == 0 {
                    break;
                }
            }
            Ok(())
        }
    };
    for_each_tenant(&installation, job).await
}

/// Does a job tenant by tenant: forced row security knows no "all tenants". One tenant's
/// trouble is not the next one's, except where there is no database to ask.
pub(super) async fn for_each_tenant<F>(
    installation: &Installation,
    job: impl Fn(Installation, OpContext) -> F,
) -> anyhow::Result<()>
where
    F: Future<Output = Result<(), OperationError>>,
{
    let mut trouble = Ok(());
    for tenant in installation.directory.list().await? {
        let slug = tenant.slug.clone();
        let context = installation.context(tenant, ActorKind::Worker);
        let Err(error) = job(installation.clone(), context).await else { continue };
        if matches!(error, OperationError::Database(DbError::Unavailable(_))) {
            return Err(error.into());
        }
        tracing::warn!(tenant = slug, %error, "a worker failed for one tenant");
        trouble = trouble.and(Err(error));
    }
    Ok(trouble?)
}
