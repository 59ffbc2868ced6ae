//! `strongroom serve` on a database as an operator prepares it: logins of their
//! own, migrations applied before, and what it refuses.

use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use testkit::{TestDatabase, connect};

const BINARY: &str = env!("CARGO_BIN_EXE_strongroom");
const KEY: &str = "7c1f0a5e93d24b86af2d41c09b7e63582e90d1c4b8f7a6350912cd48ef6b73a1";

/// Logins such as an operator makes; names are unique in the cluster of all tests.
pub(crate) async fn logins(database: &TestDatabase) -> (String, String) {
    let admin = connect(&database.superuser_url()).await;
    let name = |role: &str| format!("{}_{role}", database.name());
    for role in ["app", "sealer"] {
        let login = name(role);
        admin
            .batch_execute(&format!("CREATE ROLE {login} LOGIN PASSWORD 'login-{role}-9137'; GRANT strongroom_{role} TO {login}"))
            .await
            .unwrap();
    }
    let url = |role: &str| {
        let config: tokio_postgres::Config = database.superuser_url().parse().unwrap();
        let port = config.get_ports()[0];
        format!("postgres://{}:login-{role}-9137@127.0.0.1:{port}/{}", name(role), database.name())
    };
    (url("app"), url("sealer"))
}

pub(crate) async fn drop_logins(database: &TestDatabase) {
    let admin = connect(&database.superuser_url()).await;
    for role in ["app", "sealer"] {
        let _ = admin.batch_execute(&format!("DROP ROLE {}_{role}", database.name())).await;
    }
}

pub(crate) fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

pub(crate) fn serve(
    app: &str,
    sealer: &str,
    port: u16,
    metrics: u16,
    arguments: &[&str],
) -> Command {
    let mut command = Command::new(BINARY);
    command
        .env_clear()
        .current_dir(std::env::temp_dir())
        .env("DATABASE_URL", app)
        .env("DATABASE_SEALER_URL", sealer)
        .env("ENCRYPTION_KEY", KEY)
        .env("LISTEN_ADDRESS", format!("127.0.0.1:{port}"))
        .env("METRICS_ADDRESS", format!("127.0.0.1:{metrics}"))
        .arg("serve")
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    command
}

pub(crate) fn wait_for(child: &mut Child, port: u16) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while TcpStream::connect(("127.0.0.1", port)).is_err() {
        assert!(child.try_wait().unwrap().is_none(), "serve ended");
        assert!(Instant::now() < deadline, "serve does not listen");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[tokio::test]
async fn it_serves_under_logins_of_its_own_and_stops_on_sigterm() {
    let database = TestDatabase::create().await;
    let (app, sealer) = logins(&database).await;
    let (port, metrics) = (free_port(), free_port());
    let mut child = serve(&app, &sealer, port, metrics, &[]).spawn().unwrap();
    wait_for(&mut child, metrics);
    wait_for(&mut child, port);
    let stopped = Instant::now();
    Command::new("kill").args(["-s", "TERM", &child.id().to_string()]).status().unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert!(stopped.elapsed() < Duration::from_secs(10));
    let log = String::from_utf8(output.stderr).unwrap();
    assert!(
        log.contains("\"message\":\"ready\"") && log.contains("\"message\":\"stopped\""),
        "{log}"
    );
    assert!(!log.contains(KEY) && !log.contains("login-app-9137"), "{log}");
    drop_logins(&database).await;
}

#[tokio::test]
async fn it_never_migrates_unasked() {
    let database = TestDatabase::empty().await;
    let url = database.superuser_url();
    let (port, metrics) = (free_port(), free_port());
    let refused = serve(&url, &url, port, metrics, &[]).output().unwrap();
    assert_eq!(refused.status.code(), Some(5), "{refused:?}");
    assert!(
        String::from_utf8_lossy(&refused.stderr).contains("migrations are pending"),
        "{refused:?}"
    );
    let mut child = serve(&url, &url, port, metrics, &["--migrate"]).spawn().unwrap();
    wait_for(&mut child, port);
    child.kill().unwrap();
    child.wait().unwrap();
}

/// The same login over the cluster's Unix socket.
async fn over_socket(database: &TestDatabase, url: &str) -> String {
    let admin = connect(&database.superuser_url()).await;
    let setting = "SELECT split_part(current_setting('unix_socket_directories'), ',', 1)";
    let folder: String = admin.query_one(setting, &[]).await.unwrap().get(0);
    let config: tokio_postgres::Config = url.parse().unwrap();
    let password = String::from_utf8(config.get_password().unwrap_or_default().to_vec()).unwrap();
    format!(
        "postgresql://{}:{password}@/{}?host={folder}&port={}",
        config.get_user().unwrap(),
        database.name(),
        config.get_ports()[0]
    )
}

fn in_production(mut command: Command) -> Command {
    command
        .env("ENV", "production")
        .env("PUBLIC_URL", "https://bank.example")
        .env("TRUSTED_PROXIES", "127.0.0.1");
    command
}

#[tokio::test]
async fn production_refuses_logins_that_row_security_does_not_bind() {
    let database = TestDatabase::create().await;
    let url = over_socket(&database, &database.superuser_url()).await;
    let command = serve(&url, &url, free_port(), free_port(), &[]);
    let refused = in_production(command).output().unwrap();
    assert_eq!(refused.status.code(), Some(3), "{refused:?}");
    let words = String::from_utf8_lossy(&refused.stderr);
    assert!(words.contains("is a superuser"), "{words}");
}

#[tokio::test]
async fn production_refuses_an_app_that_could_be_the_sealer() {
    let database = TestDatabase::create().await;
    let (app, _) = logins(&database).await;
    let admin = connect(&database.superuser_url()).await;
    let grant = format!("GRANT strongroom_sealer TO {}_app", database.name());
    admin.batch_execute(&grant).await.unwrap();
    let url = over_socket(&database, &app).await;
    let command = serve(&url, &url, free_port(), free_port(), &[]);
    let refused = in_production(command).output().unwrap();
    assert_eq!(refused.status.code(), Some(3), "{refused:?}");
    let words = String::from_utf8_lossy(&refused.stderr);
    assert!(words.contains("is a member of strongroom_sealer"), "{words}");
    drop_logins(&database).await;
}

#[tokio::test]
async fn production_serves_where_everything_is_safe() {
    let database = TestDatabase::create().await;
    let (app, sealer) = logins(&database).await;
    let (app, sealer) = (over_socket(&database, &app).await, over_socket(&database, &sealer).await);
    let (port, metrics) = (free_port(), free_port());
    let mut child = in_production(serve(&app, &sealer, port, metrics, &[])).spawn().unwrap();
    wait_for(&mut child, port);
    Command::new("kill").args(["-s", "INT", &child.id().to_string()]).status().unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    drop_logins(&database).await;
}

#[tokio::test]
async fn migrations_go_down_and_up_and_are_proved() {
    let database = TestDatabase::create().await;
    let folder = tempfile::tempdir().unwrap();
    let run = |arguments: &[&str]| {
        let output = Command::new(BINARY)
            .env_clear()
            .current_dir(folder.path())
            .env("DATABASE_OWNER_URL", database.url_as("strongroom_owner"))
            .arg("migrate")
            .args(arguments)
            .args(["-o", "json"])
            .output()
            .unwrap();
        let answer =
            serde_json::from_slice::<serde_json::Value>(&output.stdout).unwrap_or_default();
        (
            output.status.code().unwrap(),
            answer,
            String::from_utf8_lossy(&output.stderr).into_owned(),
        )
    };
    let (code, proof, words) = run(&["verify"]);
    assert_eq!((code, proof["pending"].as_u64()), (0, Some(0)), "{words}");
    let newest = proof["current_version"].as_u64().unwrap();
    assert!(newest >= 6);
    let (code, back, words) = run(&["down"]);
    assert_eq!((code, back[0]["version"].as_u64()), (0, Some(newest)), "{words}");
    assert_eq!(run(&["verify"]).0, 5, "one is pending");
    let (code, status, words) = run(&["status"]);
    assert_eq!(code, 0);
    assert_eq!(status.as_array().unwrap().last().unwrap()["state"], "pending");
    assert!(words.contains(&format!("current version: {}", newest - 1)), "{words}");
    let (code, forth, words) = run(&["up", "head"]);
    assert_eq!((code, forth[0]["version"].as_u64()), (0, Some(newest)), "{words}");
    let (_, history, _) = run(&["history"]);
    let steps = history.as_array().unwrap();
    assert_eq!(steps.len() as u64, newest + 2);
    assert_eq!(steps[steps.len() - 2]["state"], "down");
    std::fs::create_dir(folder.path().join("migrations")).unwrap();
    assert_eq!(run(&["new", "first_step"]).0, 0);
    assert!(folder.path().join("migrations/0001_first_step.down.sql").is_file());
    assert_eq!(run(&["new", "Not A Name"]).0, 70);
}
