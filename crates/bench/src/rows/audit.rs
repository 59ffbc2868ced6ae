//! Owns the rows of the audit log: appending until sealed, and verifying. Refuses to
//! know what happened.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use audit::event::EventContext;
use audit::offline::{Trusted, verify_export};
use audit::store::{self, Batch};
use audit::verify::Options;
use audit::{AuditEvent, EventType};
use rustix::time::{ClockId, clock_gettime};
use serde_json::json;
use tenancy::directory::Directory;
use tenancy::{ActorKind, Clock, Database, DatabaseConfig, OpContext};
use tokio::task::JoinSet;
use tokio_postgres::Client;

use super::{Effort, alternate, figures};
use crate::report::Outcome;
use crate::stage::{Stage, connect};
use crate::statistics::float;

const WRITERS: usize = 8;
/// Records of one transaction.
const RECORDS: usize = 100;
const SEALED_POLL: Duration = Duration::from_millis(5);
const SEALING_LIMIT: Duration = Duration::from_secs(60);
/// Fewer say nothing about verifying.
const VERIFIED_MINIMUM: u64 = 20_000;
const VERIFIED_FULL: u64 = 100_000;

const HEIGHT: &str =
    "SELECT coalesce(max(log_index) + 1, 0)::bigint FROM audit_leaves WHERE tenant_id = $1::uuid";

pub(super) async fn append(stage: &Stage, effort: Effort) -> anyhow::Result<Outcome> {
    let log = Log::of(stage).await?;
    // Long beside the sealer's pause of a tenth of a second.
    let transactions = if effort.quick { 40 } else { 100 };
    let mut outcome = alternate(
        effort,
        async || {
            stage.sealed().await?;
            log.sealed_a_second(transactions).await
        },
        async || {
            stage.sealed().await?;
            log.bare_a_second(transactions).await
        },
    )
    .await?;
    outcome.note = Some(format!("{RECORDS} records a transaction, {WRITERS} writers"));
    Ok(outcome)
}

/// Out of memory: what a disk gives is not measured.
pub(super) async fn verify_exported(stage: &Stage, effort: Effort) -> anyhow::Result<Outcome> {
    Log::of(stage).await?.filled(effort).await?;
    let client = stage.client().await?;
    let mut file = Vec::new();
    let tenant = &stage.ready.manifest.tenant;
    let exported = audit::export::export(&client, tenant, &mut file, &mut |_, _| {}).await?;
    let exported = exported.context("the tenant has no log")?;
    let mut rates = Vec::new();
    for _ in 0..effort.rounds {
        let spent = processor_time();
        let report = verify_export(file.as_slice(), &Trusted::default())?;
        anyhow::ensure!(report.fault.is_none(), "the file does not verify: {:?}", report.fault);
        let spent = processor_time().saturating_sub(spent);
        rates.push(float(report.records) / spent.as_secs_f64());
    }
    let mut outcome = figures(&rates);
    let record_bytes = file.len() as u64 / exported.records.max(1);
    outcome.note =
        Some(format!("{record_bytes} bytes a line, {} checkpoints", exported.checkpoints));
    Ok(outcome)
}

pub(super) async fn verify(stage: &Stage, effort: Effort) -> anyhow::Result<Outcome> {
    Log::of(stage).await?.filled(effort).await?;
    let client = stage.client().await?;
    let options =
        Options { tenant: Some(stage.ready.manifest.tenant.clone()), ..Options::default() };
    let (mut rates, mut wall) = (Vec::new(), Vec::new());
    for _ in 0..effort.rounds {
        let (spent, started) = (processor_time(), Instant::now());
        let reports = audit::verify::verify(&client, &options, &mut |_| {}).await?;
        let report = reports.first().context("the tenant has no log")?;
        anyhow::ensure!(report.fault.is_none(), "the log does not verify: {:?}", report.fault);
        let records = float(report.sealed + report.waiting);
        rates.push(records / processor_time().saturating_sub(spent).as_secs_f64());
        wall.push(records / started.elapsed().as_secs_f64());
    }
    let wall = crate::statistics::median(wall);
    let mut outcome = figures(&rates);
    outcome.note = Some(format!("{wall:.0}/s by the clock, the database's share included"));
    Ok(outcome)
}

/// Of this process, all threads.
fn processor_time() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    let seconds = u64::try_from(time.tv_sec).unwrap_or_default();
    Duration::new(seconds, u32::try_from(time.tv_nsec).unwrap_or_default())
}

/// The stage tenant's log, and bare tables of the same rows.
struct Log {
    database: Database,
    context: OpContext,
    reader: Client,
    bare: Vec<Arc<Client>>,
    bare_sql: String,
}

impl Log {
    async fn of(stage: &Stage) -> anyhow::Result<Self> {
        let url = stage.ready.database_url.as_str();
        let database = Database::new(&DatabaseConfig::new(url).with_role("strongroom_app"))?;
        let tenant = Directory::new(database.clone()).by_slug(&stage.ready.manifest.tenant).await?;
        let tenant = tenant.context("the load tenant is missing")?;
        let mut bare = Vec::with_capacity(WRITERS);
        for _ in 0..WRITERS {
            bare.push(Arc::new(connect(url).await?));
        }
        let bare_sql = Batch::SQL
            .replace("INSERT INTO audit_log", "INSERT INTO bare.audit_log")
            .replace("INSERT INTO audit_inbox", "INSERT INTO bare.audit_inbox");
        anyhow::ensure!(bare_sql.matches("bare.").count() == 2, "the statement has changed");
        Ok(Self {
            context: OpContext::system(tenant, ActorKind::Worker, Clock::System),
            database,
            reader: stage.client().await?,
            bare,
            bare_sql,
        })
    }

    /// With enough in it to say something about verifying.
    async fn filled(&self, effort: Effort) -> anyhow::Result<()> {
        let wanted = if effort.quick { VERIFIED_MINIMUM } else { VERIFIED_FULL };
        while self.height().await? < wanted {
            self.sealed_a_second(20).await?;
        }
        Ok(())
    }

    async fn height(&self) -> anyhow::Result<u64> {
        let row = self.reader.query_one(HEIGHT, &[&self.context.tenant_id()]).await?;
        Ok(u64::try_from(row.try_get::<_, i64>(0)?)?)
    }

    /// Appends and waits for the server's sealer; the wait for its next pass counts.
    async fn sealed_a_second(&self, transactions: usize) -> anyhow::Result<f64> {
        let before = self.height().await?;
        let started = Instant::now();
        let mut writers = JoinSet::new();
        for _ in 0..WRITERS {
            let (database, context) = (self.database.clone(), self.context.clone());
            writers.spawn(async move {
                for _ in 0..transactions {
                    let transaction = database.begin(&context).await?;
                    store::append(&transaction, records(&context)).await?;
                    transaction.commit().await?;
                }
                anyhow::Ok(())
            });
        }
        while let Some(written) = writers.join_next().await {
            written??;
        }
        let expected = (WRITERS * transactions * RECORDS) as u64;
        // Others may append too; nobody else does a tenth as much.
        while self.height().await? < before + expected {
            anyhow::ensure!(started.elapsed() < SEALING_LIMIT, "the sealer does not keep up");
            tokio::time::sleep(SEALED_POLL).await;
        }
        Ok(float(expected) / started.elapsed().as_secs_f64())
    }

    async fn bare_a_second(&self, transactions: usize) -> anyhow::Result<f64> {
        let started = Instant::now();
        let mut writers = JoinSet::new();
        for client in &self.bare {
            let (client, context) = (Arc::clone(client), self.context.clone());
            let sql = self.bare_sql.clone();
            writers.spawn(async move {
                let statement = client.prepare(&sql).await?;
                for _ in 0..transactions {
                    // Made in the same way: making them is not what is compared.
                    let batch = Batch::seal(context.tenant_id(), records(&context))?;
                    let columns = batch.columns()?;
                    client.execute(&statement, &columns.parameters()).await?;
                }
                anyhow::Ok(())
            });
        }
        while let Some(written) = writers.join_next().await {
            written??;
        }
        let expected = (WRITERS * transactions * RECORDS) as u64;
        Ok(float(expected) / started.elapsed().as_secs_f64())
    }
}

/// Records of the size of a transfer's.
fn records(context: &OpContext) -> Vec<AuditEvent> {
    let by = EventContext {
        tenant_id: context.tenant_id(),
        organization_id: None,
        user_id: Some(context.clock.new_id()),
        session_id: Some(context.clock.new_id()),
        actor_kind: context.actor.kind.as_str(),
        ip_address: Some(std::net::IpAddr::from([127, 0, 0, 1])),
        user_agent: None,
        request_id: Some(context.clock.new_id().to_string()),
        occurred_at: context.clock.now(),
    };
    let account = context.clock.new_id();
    let values = json!({
        "kind": "transfer", "amount": 1, "currency": "EUR", "value_date": "2026-11-22",
        "from_account_id": account, "to_account_id": account,
    });
    let event = || {
        AuditEvent::new(&by, EventType::LedgerPosting, "bench.append", "transfer")
            .resource_id(context.clock.new_id())
            .new_values(values.clone())
    };
    (0..RECORDS).map(|_| event()).collect()
}
