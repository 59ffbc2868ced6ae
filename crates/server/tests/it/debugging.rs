//! `DEBUG` over the real binary: statements by name and time, and what failures came from; never
//! texts, parameters or secrets, and nothing of it unless it was asked for.

use std::{
    fs::File,
    process::{Child, Stdio},
    time::{Duration, Instant},
};

use serde_json::Value;
use testkit::{TestDatabase, connect};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use crate::serving::{free_port, serve, wait_for};

const SECRET: &str = "Not-In-The-Log-77-Battery";
const NAME: &str = "somebody-who-is-not-there";

struct Served {
    child: Child,
    port: u16,
    folder: tempfile::TempDir,
    database: TestDatabase,
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Served {
    async fn start(settings: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let database = TestDatabase::create().await;
        let url = database.superuser_url();
        let (port, metrics) = (free_port(), free_port());
        let log = File::create(folder.path().join("log")).unwrap();
        let mut command = serve(&url, &url, port, metrics, &[]);
        let mut child = command
            .env("LOG_FORMAT", "json")
            .envs(settings.iter().copied())
            .stderr(Stdio::from(log))
            .spawn()
            .unwrap();
        wait_for(&mut child, port);
        Self { child, port, folder, database }
    }

    async fn login(&self) -> String {
        let body =
            format!("{{\"tenant\":\"nobodys\",\"username\":\"{NAME}\",\"password\":\"{SECRET}\"}}");
        let request = format!(
            "POST /v1/auth/login HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n\
             content-length: {}\r\nconnection: close\r\n\r\n{body}",
            body.len()
        );
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.unwrap();
        String::from_utf8_lossy(&answer).into_owned()
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap()
    }

    /// The lines of a target, once there are some.
    async fn lines(&self, target: &str) -> Vec<Value> {
        let until = Instant::now() + Duration::from_secs(20);
        loop {
            let lines = of_target(&self.log(), target);
            if !lines.is_empty() || Instant::now() > until {
                return lines;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

fn of_target(log: &str, target: &str) -> Vec<Value> {
    let lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    lines.filter(|line| line["target"] == target).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn statements_are_timed_by_name_and_causes_told_to_whoever_debugs() {
    let served = Served::start(&[("DEBUG", "true")]).await;
    served.login().await;
    let timed = served.lines("strongroom::sql").await;
    assert!(!timed.is_empty(), "{}", served.log());
    for line in &timed {
        let name = line["statement"].as_str().unwrap();
        assert!(!name.contains(' ') && !name.contains('\n'), "a name and no text: {line}");
        assert!(line["elapsed_us"].is_u64(), "{line}");
        let fields: Vec<&String> = line.as_object().unwrap().keys().collect();
        let known =
            ["elapsed_us", "level", "message", "span", "spans", "statement", "target", "timestamp"];
        assert!(fields.iter().all(|field| known.contains(&field.as_str())), "{line}");
    }
    assert!(timed.iter().any(|line| line["statement"].as_str().unwrap().starts_with("tenancy/")));
    // What a failure came from: here, a right that was taken away.
    let superuser = connect(&served.database.superuser_url()).await;
    superuser.batch_execute("ALTER TABLE tenants RENAME TO tenants_elsewhere").await.unwrap();
    // What a node knows of its tenants is a moment old.
    let until = Instant::now() + Duration::from_secs(20);
    let mut answer = served.login().await;
    while !answer.starts_with("HTTP/1.1 500") && Instant::now() < until {
        tokio::time::sleep(Duration::from_millis(300)).await;
        answer = served.login().await;
    }
    let causes = served.lines("strongroom::causes").await;
    let cause = causes.first().map(|line| line["cause"].to_string()).unwrap_or_default();
    assert!(cause.contains("SQLSTATE 42P01") && cause.contains("routine"), "{cause} {answer}");
    assert!(answer.starts_with("HTTP/1.1 500"), "{answer}");
    assert!(!answer.contains("42P01") && !answer.contains("tenants"), "{answer}");
    let log = served.log();
    for secret in [SECRET, NAME, "SELECT ", "UPDATE ", "INSERT "] {
        assert!(!log.contains(secret), "{secret} in {log}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_told_who_did_not_ask() {
    // Whatever the level.
    for settings in [&[("LOG_LEVEL", "trace")][..], &[("LOG_LEVEL", "info")]] {
        let served = Served::start(settings).await;
        served.login().await;
        tokio::time::sleep(Duration::from_millis(500)).await;
        let log = served.log();
        for target in ["strongroom::sql", "strongroom::causes"] {
            assert!(of_target(&log, target).is_empty(), "{target} with {settings:?}");
        }
    }
}
