//! Owns the rows of starting and of memory. Refuses to know what memory is spent on.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::http::Reads;
use super::{Effort, figures};
use crate::child::Process;
use crate::load::{Connection, Plan, drive, write_request};
use crate::report::Outcome;
use crate::stage::{Ready, Stage, address_of, start_dev};
use crate::statistics::float;

const BUSY_CONNECTIONS: usize = 1_000;
/// How often each of the held ones reads.
const READ_EVERY: Duration = Duration::from_secs(1);
/// A server is idle when its start is over and its workers have gone round.
const SETTLING: Duration = Duration::from_secs(2);

/// `strongroom serve` on the stage's database, as a production node starts.
async fn serve(stage: &Stage) -> anyhow::Result<(Process, Duration)> {
    let (listen, metrics) = (free_address()?, free_address()?);
    let (listen_text, metrics_text) = (listen.to_string(), metrics.to_string());
    let mut environment = stage.environment().to_vec();
    environment.extend([
        ("LISTEN_ADDRESS", listen_text.as_str()),
        ("METRICS_ADDRESS", metrics_text.as_str()),
    ]);
    let log = stage.folder.path().join("serve.log");
    let started = Instant::now();
    let mut process = Process::start(&stage.program, &["serve"], &environment, log)?;
    process.until(async || is_ready(metrics).await.then_some(())).await?;
    Ok((process, started.elapsed()))
}

async fn is_ready(metrics: SocketAddr) -> bool {
    let Ok(mut connection) = Connection::open(metrics).await else { return false };
    let mut request = Vec::new();
    write_request(&mut request, "GET /readyz", None, None, None);
    connection.call(&request).await.is_ok_and(|answer| answer.status == 200)
}

/// Free a moment ago; nobody else on a machine that measures takes ports at random.
fn free_address() -> std::io::Result<SocketAddr> {
    std::net::TcpListener::bind(("127.0.0.1", 0))?.local_addr()
}

pub(super) async fn start(stage: &Stage, effort: Effort) -> anyhow::Result<Outcome> {
    let mut times_ms = Vec::with_capacity(effort.rounds);
    for _ in 0..effort.rounds {
        let (_process, took) = serve(stage).await?;
        times_ms.push(took.as_secs_f64() * 1e3);
    }
    Ok(figures(&times_ms))
}

pub(super) async fn memory_idle(stage: &Stage, _effort: Effort) -> anyhow::Result<Outcome> {
    let (process, _) = serve(stage).await?;
    tokio::time::sleep(SETTLING).await;
    Ok(figures(&[process.resident_mb()?]))
}

/// Whoever is not answered, or otherwise than with the account, ends the load with an error.
pub(super) async fn connections(stage: &Stage, effort: Effort) -> anyhow::Result<Outcome> {
    raise_file_limit();
    let sources = (0..BUSY_CONNECTIONS).map(|number| Reads::ours(stage, number)).collect();
    let window = effort.window.max(READ_EVERY * 2);
    let plan = Plan { every: Some(READ_EVERY), ..Plan::lasting(window) };
    let mut load = drive(stage.address, sources, plan).await?;
    let mut outcome = figures(&[float(BUSY_CONNECTIONS as u64)]);
    outcome.note = Some(format!(
        "{:.0} reads/s meanwhile, p50 {:.2} ms, p99 {:.2} ms",
        load.per_second(),
        load.percentile_ms(50),
        load.percentile_ms(99),
    ));
    Ok(outcome)
}

/// On a second server over the same database: the stage's own has made 20,000
/// accounts and remembers what that took.
pub(super) async fn memory_busy(stage: &Stage, effort: Effort) -> anyhow::Result<Outcome> {
    raise_file_limit();
    let ready_file = stage.folder.path().join("second.json");
    let log = stage.folder.path().join("second.log");
    let mut second = start_dev(&stage.program, &ready_file, &stage.environment(), log)?;
    let ready: Ready = second.ready_file(&ready_file).await?;
    let _ = std::fs::remove_file(&ready_file);
    let mut second_stage_reads = Vec::with_capacity(BUSY_CONNECTIONS);
    let token = second_token(&ready).await?;
    for number in 0..BUSY_CONNECTIONS {
        second_stage_reads.push(Reads::of(&token, number));
    }
    second.forget_peak()?;
    let plan = Plan::lasting(effort.window);
    let load = drive(address_of(&ready.base_url)?, second_stage_reads, plan).await?;
    let mut outcome = figures(&[second.peak_mb()?]);
    outcome.note = Some(format!("{:.0} reads/s meanwhile", load.per_second()));
    Ok(outcome)
}

/// A token of the second server: its issuer is its own address.
async fn second_token(ready: &Ready) -> anyhow::Result<crate::stage::SignedIn> {
    let mut connection = Connection::open(address_of(&ready.base_url)?).await?;
    let person = ready.manifest.users.first();
    let person = person.ok_or_else(|| anyhow::anyhow!("nobody can sign in"))?;
    crate::stage::sign_in(&mut connection, &ready.manifest, person).await
}

/// Every connection is a file, and the soft limit is often 1,024.
fn raise_file_limit() {
    let limit = getrlimit(Resource::Nofile);
    // Where it stays low, connecting says so.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit });
}
