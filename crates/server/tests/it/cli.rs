//! The real binary, from outside: a development installation is started, used
//! over HTTP, proved by the two verifiers, and gone when it is told to go.

use std::fmt::Write as _;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

const BINARY: &str = env!("CARGO_BIN_EXE_strongroom");

/// The binary without the environment of whoever runs the tests.
pub(crate) fn strongroom(folder: &Path) -> Command {
    let mut command = Command::new(BINARY);
    command.env_clear().current_dir(folder).stdin(Stdio::null());
    // The clusters' account and folders depend on these.
    #[allow(clippy::disallowed_methods)]
    for name in ["PATH", "HOME", "TMPDIR", "USER"] {
        if let Some(value) = std::env::var_os(name) {
            command.env(name, value);
        }
    }
    command
}

struct Dev {
    child: Child,
    ready: Value,
    folder: tempfile::TempDir,
}

impl Dev {
    fn start(arguments: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let ready_file = folder.path().join("ready.json");
        let mut child = strongroom(folder.path())
            .args(["dev", "--ephemeral", "--port", "0", "--ready-file"])
            .arg(&ready_file)
            .args(arguments)
            .stdout(std::fs::File::create(folder.path().join("greeting.txt")).unwrap())
            .spawn()
            .unwrap();
        let deadline = Instant::now() + Duration::from_secs(120);
        while !ready_file.exists() {
            assert!(child.try_wait().unwrap().is_none(), "dev ended before it was ready");
            assert!(Instant::now() < deadline, "dev is not ready after two minutes");
            std::thread::sleep(Duration::from_millis(50));
        }
        let ready = serde_json::from_slice(&std::fs::read(&ready_file).unwrap()).unwrap();
        Self { child, ready, folder }
    }

    fn text(&self, name: &str) -> &str {
        self.ready[name].as_str().unwrap()
    }

    fn call(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<&Value>,
    ) -> (u16, Value) {
        http(self.text("base_url"), method, path, headers, body)
    }

    fn command(&self, arguments: &[&str]) -> Output {
        strongroom(self.folder.path())
            .env("DATABASE_URL", self.text("database_url"))
            .args(arguments)
            .output()
            .unwrap()
    }

    /// The demo bank's password; one for all its people.
    fn password(&self) -> &str {
        self.ready["tenants"][0]["users"][0]["password"].as_str().unwrap()
    }

    fn login(&self, username: &str) -> String {
        let body =
            json!({ "tenant": "demo-bank", "username": username, "password": self.password() });
        let (status, answer) = self.call("POST", "/v1/auth/login", &[], Some(&body));
        assert_eq!(status, 200, "{answer}");
        format!("Bearer {}", answer["access_token"].as_str().unwrap())
    }

    fn signal(&self, name: &str) {
        let sent =
            Command::new("kill").args(["-s", name, &self.child.id().to_string()]).status().unwrap();
        assert!(sent.success());
    }

    fn database_port(&self) -> u16 {
        let url: tokio_postgres::Config = self.text("database_url").parse().unwrap();
        url.get_ports()[0]
    }
}

impl Drop for Dev {
    fn drop(&mut self) {
        // Only where a test failed half-way; the cluster's watchdog does the rest.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// One request over one connection: enough of HTTP/1.1 for our own answers.
pub(crate) fn http(
    base: &str,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: Option<&Value>,
) -> (u16, Value) {
    let port: u16 = base.rsplit(':').next().unwrap().parse().unwrap();
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    let body = body.map(Value::to_string).unwrap_or_default();
    let mut request =
        format!("{method} {path} HTTP/1.1\r\nHost: localhost:{port}\r\nConnection: close\r\n");
    for (name, value) in headers {
        let _ = write!(request, "{name}: {value}\r\n");
    }
    if !body.is_empty() {
        let _ =
            write!(request, "Content-Type: application/json\r\nContent-Length: {}\r\n", body.len());
    }
    stream.write_all(format!("{request}\r\n{body}").as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(!head.to_lowercase().contains("transfer-encoding"), "{head}");
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, serde_json::from_str(body).unwrap_or(Value::String(body.to_owned())))
}

fn wait_for_end(child: &mut Child) -> Option<i32> {
    let deadline = Instant::now() + Duration::from_secs(40);
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status.code();
        }
        assert!(Instant::now() < deadline, "it does not end");
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn wait_until_closed(port: u16) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while TcpStream::connect(("127.0.0.1", port)).is_ok() {
        assert!(Instant::now() < deadline, "PostgreSQL is still there");
        std::thread::sleep(Duration::from_millis(100));
    }
}

#[test]
fn a_bank_in_one_command_moves_money_proves_it_and_goes() {
    let mut dev = Dev::start(&[]);
    let shapes: Vec<_> = dev.ready["tenants"]
        .as_array()
        .unwrap()
        .iter()
        .map(|tenant| tenant["blueprint"].as_str().unwrap())
        .collect();
    assert_eq!(
        shapes,
        [
            "core-bank",
            "digital-bank",
            "card-bank",
            "credit-risk",
            "equipment-erp",
            "standard",
            "platform"
        ]
    );

    let token = dev.login("customer");
    let (status, accounts) = dev.call("GET", "/v1/accounts", &[("Authorization", &token)], None);
    assert_eq!(status, 200, "{accounts}");
    let own = accounts["data"].as_array().unwrap().clone();
    assert_eq!(own.len(), 2, "a customer sees their own accounts only");
    assert!(
        own.iter().all(|account| account["currency"] == "EUR" && account["status"] == "active")
    );
    assert!(own.iter().all(|account| account["available_balance"].as_i64().unwrap() >= 10_000));
    let history = format!("/v1/accounts/{}/transactions", own[0]["id"].as_str().unwrap());
    let (status, entries) = dev.call("GET", &history, &[("Authorization", &token)], None);
    assert!(status == 200 && entries["data"].as_array().unwrap().len() >= 10, "{entries}");

    let order = json!({
        "from_account_id": own[0]["id"], "to_account_id": own[1]["id"],
        "amount": 1_234, "currency": "EUR", "description": "Lunch",
    });
    let headers = [("Authorization", token.as_str()), ("Idempotency-Key", "\"lunch-1\"")];
    let (status, first) = dev.call("POST", "/v1/transfers", &headers, Some(&order));
    assert_eq!((status, first["status"].as_str()), (201, Some("posted")), "{first}");
    let (status, again) = dev.call("POST", "/v1/transfers", &headers, Some(&order));
    assert_eq!((status, &again), (201, &first), "a repeated order is answered as the first time");

    let (status, answer) = http(dev.text("metrics_url"), "GET", "/readyz", &[], None);
    assert_eq!(status, 200, "{answer}");

    the_printed_command_moves_money(&dev);
    verifiers_agree(&dev);
    let port = dev.database_port();
    dev.signal("TERM");
    assert_eq!(wait_for_end(&mut dev.child), Some(0));
    wait_until_closed(port);
}

fn the_printed_command_moves_money(dev: &Dev) {
    let greeting = std::fs::read_to_string(dev.folder.path().join("greeting.txt")).unwrap();
    assert!(greeting.contains("Rate limits are raised"), "{greeting}");
    let start = greeting.find("TOKEN=").unwrap();
    let end = greeting.find("\nCtrl-C").unwrap();
    if Command::new("curl").arg("--version").stdout(Stdio::null()).status().is_err() {
        eprintln!("skipped: curl absent");
        return;
    }
    let pasted = Command::new("sh").arg("-c").arg(&greeting[start..end]).output().unwrap();
    let answer: Value = serde_json::from_slice(&pasted.stdout).unwrap_or_default();
    assert_eq!(
        (&answer["status"], &answer["amount"]),
        (&json!("posted"), &json!(1_234)),
        "{pasted:?}"
    );
}

fn verifiers_agree(dev: &Dev) {
    // The sealer needs a moment for what was just recorded.
    std::thread::sleep(Duration::from_millis(800));
    let ledger = dev.command(&["ledger", "verify", "-o", "json"]);
    assert!(ledger.status.success(), "{ledger:?}");
    let report: Value = serde_json::from_slice(&ledger.stdout).unwrap();
    let bank =
        report.as_array().unwrap().iter().find(|line| line["tenant"] == "demo-bank").unwrap();
    assert_eq!(bank["fault_count"], 0, "{bank}");
    assert!(bank["transfers"].as_u64().unwrap() > 100, "{bank}");
    let audit = dev.command(&["audit", "verify", "-o", "csv"]);
    assert!(audit.status.success(), "{audit:?}");
    let lines = String::from_utf8(audit.stdout).unwrap();
    assert!(lines.starts_with("tenant,sealed,waiting,checkpoints,fault\n"), "{lines}");
    assert_eq!(lines.lines().count(), 8, "{lines}");
    let unknown = dev.command(&["audit", "verify", "--tenant", "nobody"]);
    assert_eq!(unknown.status.code(), Some(1), "{unknown:?}");
    let name = "strongroom/audit/nobody";
    let stranger = audit::note::NoteVerifier::new(name, [1; 32]).unwrap().to_text();
    let without = dev.command(&["audit", "verify", "--key", &stranger]);
    assert_eq!(without.status.code(), Some(1), "{without:?}");
    assert!(String::from_utf8_lossy(&without.stderr).contains(name), "{without:?}");
    let malformed = dev.command(&["audit", "verify", "--key", "nonsense"]);
    assert!(!malformed.status.success(), "{malformed:?}");
    assert!(String::from_utf8_lossy(&malformed.stderr).contains("--key nonsense"), "{malformed:?}");
}

#[test]
fn tampering_is_found_and_ends_with_1() {
    let dev = Dev::start(&[]);
    std::thread::sleep(Duration::from_millis(500));
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let client = testkit::connect(dev.text("database_url")).await;
        client
            .batch_execute(
                "ALTER TABLE audit_log DISABLE TRIGGER append_only; \
                 UPDATE audit_log SET action = 'user.delete' WHERE event_id = (SELECT min(event_id::text)::uuid FROM audit_log); \
                 ALTER TABLE audit_log ENABLE ALWAYS TRIGGER append_only; \
                 UPDATE ledger_accounts SET balance = balance + 1 WHERE id = (SELECT min(id::text)::uuid FROM ledger_accounts WHERE currency = 'EUR')",
            )
            .await
            .unwrap();
    });
    let audit = dev.command(&["audit", "verify"]);
    assert_eq!(audit.status.code(), Some(1), "{audit:?}");
    assert!(
        String::from_utf8_lossy(&audit.stdout).contains("the column action was changed"),
        "{audit:?}"
    );
    let ledger = dev.command(&["ledger", "verify"]);
    assert_eq!(ledger.status.code(), Some(1), "{ledger:?}");
    assert!(
        String::from_utf8_lossy(&ledger.stdout).contains("trial balance of EUR is 1, not 0"),
        "{ledger:?}"
    );
}

#[test]
fn load_drivers_get_their_manifest_and_strict_limits_are_the_tenants_own() {
    let dev = Dev::start(&["--seed", "load", "--strict-limits"]);
    let manifest = &dev.ready["manifest"];
    assert_eq!(manifest["currency"], "EUR");
    let users = manifest["users"].as_array().unwrap();
    assert_eq!(users.len(), 200);
    assert!(users.iter().all(|user| user["accounts"].as_array().unwrap().len() == 100));
    let login = json!({
        "tenant": manifest["tenant"], "username": users[199]["username"], "password": manifest["password"],
    });
    let (status, answer) = dev.call("POST", "/v1/auth/login", &[], Some(&login));
    assert_eq!(status, 200, "{answer}");
    let token = format!("Bearer {}", answer["access_token"].as_str().unwrap());
    let account = format!("/v1/accounts/{}", users[199]["accounts"][99].as_str().unwrap());
    let (status, answer) = dev.call("GET", &account, &[("Authorization", &token)], None);
    assert_eq!((status, answer["balance"].as_i64()), (200, Some(1_000_000_000)), "{answer}");

    let wrong = json!({ "tenant": "demo-bank", "username": "nobody", "password": "wrong" });
    let statuses: Vec<u16> =
        (0..7).map(|_| dev.call("POST", "/v1/auth/login", &[], Some(&wrong)).0).collect();
    assert!(statuses.contains(&429), "{statuses:?}");
}

#[test]
fn a_killed_parent_leaves_no_postgres_behind() {
    let mut dev = Dev::start(&["--seed", "none"]);
    let port = dev.database_port();
    dev.child.kill().unwrap();
    dev.child.wait().unwrap();
    wait_until_closed(port);
}

#[test]
fn operators_make_tenants_and_users_and_never_show_passwords() {
    let dev = Dev::start(&["--seed", "none"]);
    let key = dev.text("encryption_key").to_owned();
    let with_key = |arguments: &[&str], input: &str| {
        let mut child = strongroom(dev.folder.path())
            .env("DATABASE_URL", dev.text("database_url"))
            .env("ENCRYPTION_KEY", &key)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        child.wait_with_output().unwrap()
    };
    let create = [
        "tenant",
        "create",
        "--blueprint",
        "core-bank",
        "--slug",
        "my-bank",
        "--name",
        "My Bank",
        "-o",
        "json",
    ];
    let made = with_key(&create, "");
    assert!(made.status.success(), "{made:?}");
    assert_eq!(serde_json::from_slice::<Value>(&made.stdout).unwrap()["slug"], "my-bank");
    assert_eq!(with_key(&create, "").status.code(), Some(1), "the slug is taken");
    let user = [
        "user",
        "create",
        "--tenant",
        "my-bank",
        "--username",
        "teller",
        "--role",
        "officer",
        "--password-stdin",
    ];
    let weak = with_key(&user, "short\n");
    assert_eq!(weak.status.code(), Some(1), "{weak:?}");
    assert!(!String::from_utf8_lossy(&weak.stderr).contains("short\n"), "{weak:?}");
    let made = with_key(&user, "Correct-Horse-42-Staple\n");
    assert!(made.status.success(), "{made:?}");
    let body =
        json!({ "tenant": "my-bank", "username": "teller", "password": "Correct-Horse-42-Staple" });
    // The directory is at most a second old.
    std::thread::sleep(Duration::from_millis(1_100));
    let (status, answer) = dev.call("POST", "/v1/auth/login", &[], Some(&body));
    assert_eq!(status, 200, "{answer}");
    rotate_and_revoke(&dev, &answer, |arguments| with_key(arguments, ""));
    change_sealing_keys(&dev, |arguments| with_key(arguments, ""));
}

/// The keys that seal and wrap, under a process that serves.
fn change_sealing_keys(dev: &Dev, run: impl Fn(&[&str]) -> Output) {
    let keys = |arguments: &[&str]| run(&[&["keys"], arguments, &["-o", "json"]].concat());
    let answer = |arguments: &[&str]| -> Value {
        let output = keys(arguments);
        assert!(output.status.success(), "{output:?}");
        serde_json::from_slice(&output.stdout).unwrap()
    };
    let bank = ["--tenant", "my-bank"];
    let of = |arguments: &[&'static str]| [arguments, &bank].concat();
    let made = answer(&of(&["rotate", "--kek", "field"]));
    assert_eq!((&made["purpose"], &made["epoch"]), (&json!("field_kek"), &json!(2)));
    let destroy = of(&["revoke", "--kek", "field", "--epoch", "1"]);
    let in_use = keys(&destroy);
    assert_eq!(in_use.status.code(), Some(1), "{in_use:?}");
    assert!(String::from_utf8_lossy(&in_use.stderr).contains("still wraps"), "{in_use:?}");
    let rewrapped = answer(&["rewrap"]);
    let line = rewrapped.as_array().unwrap().iter().find(|line| line["tenant"] == "my-bank");
    assert_eq!(line.unwrap()["data_keys"], 2, "{rewrapped}");
    assert_eq!(answer(&destroy)["status"], "destroyed");
    assert_eq!(answer(&of(&["rotate", "--data", "field"]))["epoch"], 2);
    // Somebody signs in where the process that serves had the old ones in memory.
    let body =
        json!({ "tenant": "my-bank", "username": "teller", "password": "Correct-Horse-42-Staple" });
    assert_eq!(dev.call("POST", "/v1/auth/login", &[], Some(&body)).0, 200);
    for unclear in [
        &["revoke"][..],
        &["revoke", "--epoch", "1"],
        &["revoke", "--kek", "field"],
        &["revoke", "00000000-0000-0000-0000-000000000000", "--kek", "field"],
        &["rotate", "--kek", "field", "--data", "field"],
        &["rotate", "--data", "blind_index"],
        &["revoke", "--kek", "field", "--epoch", "0"],
    ] {
        let refused = keys(&of(unclear));
        assert_eq!(refused.status.code(), Some(2), "{unclear:?}: {refused:?}");
    }
    assert_eq!(keys(&["rewrap", "--tenant", "no-bank"]).status.code(), Some(1));
}

/// The keys of `my-bank`, from another process than the one that serves.
fn rotate_and_revoke(dev: &Dev, grant: &Value, run: impl Fn(&[&str]) -> Output) {
    let keys = |arguments: &[&str]| -> Value {
        let tenant = ["--tenant", "my-bank", "-o", "json"];
        let output = run(&[&["keys"], arguments, &tenant].concat());
        assert!(output.status.success(), "{output:?}");
        serde_json::from_slice(&output.stdout).unwrap()
    };
    let bearer = format!("Bearer {}", grant["access_token"].as_str().unwrap());
    let me = || dev.call("GET", "/v1/auth/me", &[("authorization", &bearer)], None).0;
    let first = keys(&["list"])[0]["id"].as_str().unwrap().to_owned();
    let second = keys(&["rotate"]);
    assert_eq!((&second["status"], &second["epoch"]), (&json!("active"), &json!(2)));
    let listed = keys(&["list"]);
    assert_eq!(listed[1]["status"], "verify_only", "{listed}");
    assert!(!listed.to_string().contains("wrapped"), "{listed}");
    std::thread::sleep(Duration::from_millis(1_100));
    assert_eq!(me(), 200, "its tokens are good until they expire");
    let revoked = keys(&["revoke", &first]);
    assert_eq!(revoked["status"], "retired");
    std::thread::sleep(Duration::from_millis(1_100));
    assert_eq!(me(), 401, "the process that serves has read of it");
    let unknown = run(&["keys", "revoke", &"0".repeat(32), "--tenant", "my-bank"]);
    assert_eq!(unknown.status.code(), Some(1), "{unknown:?}");
}

#[test]
fn failures_have_their_codes() {
    let folder = tempfile::tempdir().unwrap();
    let code = |environment: &[(&str, &str)], arguments: &[&str]| {
        let output = strongroom(folder.path())
            .envs(environment.iter().copied())
            .args(arguments)
            .output()
            .unwrap();
        (output.status.code().unwrap(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let nowhere = [("DATABASE_URL", "postgres://a:b@127.0.0.1:1/c")];
    let unsafe_production = [
        ("ENV", "production"),
        ("DATABASE_URL", "postgresql+asyncpg://prod:postgres@db:5432/bank"),
        ("ENCRYPTION_KEY", "0000000000000000000000000000000000000000000000000000000000000000"),
        ("DEBUG", "true"),
    ];
    assert_eq!(code(&[], &["frobnicate"]).0, 2);
    assert_eq!(code(&[], &["serve"]).0, 3);
    assert_eq!(code(&nowhere, &["ledger", "verify"]).0, 4);
    assert_eq!(code(&nowhere, &["audit", "verify"]).0, 4);
    assert_eq!(code(&nowhere, &["migrate", "status"]).0, 4);
    assert_eq!(code(&[("ENV", "production")], &["dev"]).0, 70);
    let (number, words) = code(&unsafe_production, &["serve"]);
    assert_eq!(number, 3, "{words}");
    for expected in [
        "DEBUG is for",
        "DATABASE_URL is not encrypted",
        "default password",
        "ENCRYPTION_KEY follows",
        "PUBLIC_URL",
        "TRUSTED_PROXIES",
    ] {
        assert!(words.contains(expected), "{expected}: {words}");
    }
    std::fs::write(folder.path().join(".env"), "LOG_LEVLE=debug\n").unwrap();
    let (number, words) = code(&nowhere, &["ledger", "verify"]);
    assert!(number == 3 && words.contains("LOG_LEVLE no such setting, in .env"), "{words}");
    std::fs::remove_file(folder.path().join(".env")).unwrap();
    let openapi = strongroom(folder.path()).arg("openapi").output().unwrap();
    let document: Value = serde_json::from_slice(&openapi.stdout).unwrap();
    assert!(document["openapi"].as_str().unwrap().starts_with("3.1"));
}
