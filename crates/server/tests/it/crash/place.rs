//! Owns the two processes under test: a durable PostgreSQL of its own and the real
//! `strongroom serve` on it, each ended and started without the other.

use std::hash::{BuildHasher as _, RandomState};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use cluster::{ClusterOptions, Ending, PrivateCluster};
use rustix::process::{Pid, Signal, kill_process};
use tenancy::migrate::{Migrator, ensure_roles};
use testkit::connect;
use tokio::task::block_in_place;
use tokio_postgres::{Client as Connection, Config, NoTls};

use super::client::{Answer, Client, Missing, Request};
use crate::cli::strongroom;

/// `ENCRYPTION_KEY` of the installation, in hexadecimal.
pub(crate) const ROOT: [u8; 32] = [0x5e; 32];
const DATABASE: &str = "bank";

/// A PostgreSQL that keeps what it has committed, with the application's database.
#[derive(Debug)]
pub(crate) struct Postgres {
    cluster: PrivateCluster,
}

impl Postgres {
    /// A new one, migrated, with logins as an operator makes them.
    pub(crate) async fn start() -> Self {
        let options = ClusterOptions::ephemeral();
        let cluster = block_in_place(|| PrivateCluster::start(&options).unwrap());
        let postgres = Self { cluster };
        let admin = connect(&postgres.cluster.superuser_url()).await;
        admin.batch_execute(&format!("CREATE DATABASE {DATABASE}")).await.unwrap();
        let mut owner = connect(&postgres.superuser_url()).await;
        ensure_roles(&owner).await.unwrap();
        Migrator::embedded().up(&mut owner, None).await.unwrap();
        for role in ["app", "sealer", "auditor"] {
            let login = format!(
                "CREATE ROLE bank_{role} LOGIN PASSWORD 'login-{role}'; GRANT strongroom_{role} TO bank_{role}"
            );
            owner.batch_execute(&login).await.unwrap();
        }
        postgres
    }

    pub(crate) fn superuser_url(&self) -> String {
        self.cluster.superuser_url_for(DATABASE).to_string()
    }

    /// The URL of one of the logins.
    pub(crate) fn url_of(&self, role: &str) -> String {
        format!("postgres://bank_{role}:login-{role}@127.0.0.1:{}/{DATABASE}", self.cluster.port())
    }

    /// A connection of the superuser; for what the harness itself asks and does.
    pub(crate) async fn inspect(&self) -> Connection {
        connect(&self.superuser_url()).await
    }

    pub(crate) fn process_id(&self) -> u32 {
        self.cluster.process_id()
    }

    pub(crate) fn end(&mut self, ending: Ending) {
        block_in_place(|| self.cluster.end(ending).unwrap());
    }

    pub(crate) fn start_again(&mut self) {
        block_in_place(|| self.cluster.start_again().unwrap());
    }

    /// SIGKILL to one process that serves the application; says whether there was one.
    pub(crate) async fn kill_a_backend(&self, which: usize) -> bool {
        let sql = "SELECT pid FROM pg_stat_activity WHERE usename = 'bank_app' ORDER BY pid";
        let rows = self.inspect().await.query(sql, &[]).await.unwrap();
        if rows.is_empty() {
            return false;
        }
        let process_id: i32 = rows[which % rows.len()].get(0);
        kill_process(Pid::from_raw(process_id).unwrap(), Signal::KILL).is_ok()
    }

    /// Until it takes connections again by itself.
    pub(crate) async fn wait_until_up(&self) {
        let config: Config = self.superuser_url().parse().unwrap();
        let deadline = Instant::now() + Duration::from_secs(60);
        while config.connect(NoTls).await.is_err() {
            assert!(Instant::now() < deadline, "PostgreSQL has not recovered within a minute");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

/// Where a server finds its database.
#[derive(Clone, Debug)]
pub(crate) struct Urls {
    pub(crate) app: String,
    pub(crate) sealer: String,
}

/// The real server; the same address over every start.
#[derive(Debug)]
pub(crate) struct Server {
    urls: Urls,
    settings: Vec<(&'static str, String)>,
    child: Option<Child>,
    pub(crate) port: u16,
    pub(crate) operator_port: u16,
    log: PathBuf,
    folder: tempfile::TempDir,
}

impl Server {
    /// Starts it and waits until it is ready.
    pub(crate) async fn start(urls: Urls, settings: &[(&'static str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let settings = settings.iter().map(|(name, value)| (*name, (*value).to_owned()));
        let mut server = Self {
            urls,
            settings: settings.collect(),
            child: None,
            port: free_port(),
            operator_port: free_port(),
            log: folder.path().join("log.jsonl"),
            folder,
        };
        server.start_again();
        server.wait_until_ready().await;
        server
    }

    /// Starts it where it is down; its log goes on.
    pub(crate) fn start_again(&mut self) {
        if self.child.is_some() {
            return;
        }
        let log = std::fs::OpenOptions::new().create(true).append(true).open(&self.log).unwrap();
        let key = ROOT.map(|byte| format!("{byte:02x}")).concat();
        let child = self
            .command()
            .env("DATABASE_URL", &self.urls.app)
            .env("DATABASE_SEALER_URL", &self.urls.sealer)
            .env("ENCRYPTION_KEY", key)
            .env("LISTEN_ADDRESS", format!("127.0.0.1:{}", self.port))
            .env("METRICS_ADDRESS", format!("127.0.0.1:{}", self.operator_port))
            .envs(self.settings.iter().map(|(name, value)| (*name, value)))
            .arg("serve")
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        self.child = Some(child);
    }

    /// The binary in the server's folder, without any setting.
    pub(crate) fn command(&self) -> Command {
        strongroom(self.folder.path())
    }

    pub(crate) fn folder(&self) -> &std::path::Path {
        self.folder.path()
    }

    pub(crate) fn process_id(&self) -> u32 {
        self.child.as_ref().unwrap().id()
    }

    /// SIGKILL.
    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    /// SIGTERM.
    pub(crate) fn terminate(&self) {
        let pid = Pid::from_child(self.child.as_ref().unwrap());
        kill_process(pid, Signal::TERM).unwrap();
    }

    /// Its exit code, once it has ended.
    pub(crate) async fn wait_for_end(&mut self, patience: Duration) -> Option<i32> {
        let deadline = Instant::now() + patience;
        loop {
            if let Some(status) = self.child.as_mut().unwrap().try_wait().unwrap() {
                self.child = None;
                return status.code();
            }
            assert!(Instant::now() < deadline, "the server does not end: {}", self.log());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Fails the test where the process is gone.
    pub(crate) fn assert_lives(&mut self) {
        let ended = self.child.as_mut().unwrap().try_wait().unwrap();
        assert!(ended.is_none(), "the server ended ({ended:?}): {}", self.log());
    }

    pub(crate) async fn readyz(&self) -> Result<Answer, Missing> {
        Client::new(self.operator_port).send(&Request::get("/readyz", None)).await
    }

    /// Until it says that it is ready.
    pub(crate) async fn wait_until_ready(&mut self) -> Duration {
        let begun = Instant::now();
        loop {
            if self.readyz().await.is_ok_and(|answer| answer.status == 200) {
                return begun.elapsed();
            }
            self.assert_lives();
            assert!(begun.elapsed() < Duration::from_secs(60), "not ready: {}", self.log());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// The end of its log.
    pub(crate) fn log(&self) -> String {
        let text = std::fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(40)..].join("\n")
    }

    /// Lines of the log that say that our own code broke.
    pub(crate) fn panics(&self) -> Vec<String> {
        let text = std::fs::read_to_string(&self.log).unwrap_or_default();
        let broken = |line: &&str| line.contains("panicked") || line.contains("ended unexpectedly");
        text.lines().filter(broken).map(str::to_owned).collect()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A port below those that the system hands to outgoing connections: between two starts
/// of a server nobody else may come to hold its own.
fn free_port() -> u16 {
    let chance = RandomState::new();
    (0_u16..1_000)
        .map(|round| 10_000 + (chance.hash_one(round) % 20_000) as u16)
        .find(|port| std::net::TcpListener::bind(("127.0.0.1", *port)).is_ok())
        .unwrap()
}
