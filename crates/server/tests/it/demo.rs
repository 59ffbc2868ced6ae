//! The living demo, from outside: the same seed gives the same lives, the books and
//! the log prove themselves, nobody is ever beyond their limit, the oddities are
//! there to be found, and a start that is killed in the middle is continued.

use std::path::Path;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use testkit::{TestDatabase, connect};
use tokio_postgres::Client;

use crate::cli::{http, strongroom};

/// A demo on a database of its own.
struct Demo {
    database: TestDatabase,
    folder: tempfile::TempDir,
    client: Client,
    child: Option<Child>,
}

impl Demo {
    async fn new() -> Self {
        let database = TestDatabase::create().await;
        let client = connect(&database.superuser_url()).await;
        Self { database, folder: tempfile::tempdir().unwrap(), client, child: None }
    }

    fn start(&mut self, arguments: &[&str]) {
        let _ = std::fs::remove_file(self.ready_path());
        let child = strongroom(self.folder.path())
            .env("DATABASE_URL", self.database.superuser_url())
            .args(["dev", "--folder", "here", "--port", "0", "--ready-file", "ready.json"])
            .args(arguments)
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        self.child = Some(child);
    }

    fn ready_path(&self) -> std::path::PathBuf {
        self.folder.path().join("ready.json")
    }

    async fn ready(&mut self) -> Value {
        let deadline = Instant::now() + Duration::from_secs(120);
        while !self.ready_path().exists() {
            let child = self.child.as_mut().unwrap();
            assert!(child.try_wait().unwrap().is_none(), "dev ended before it was ready");
            assert!(Instant::now() < deadline, "dev is not ready after two minutes");
            tokio::time::sleep(Duration::from_millis(30)).await;
        }
        serde_json::from_slice(&std::fs::read(self.ready_path()).unwrap()).unwrap()
    }

    /// SIGKILL.
    fn kill(&mut self) {
        let mut child = self.child.take().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// Whatever is done is sealed, then the process goes.
    fn stop(&mut self) {
        let mut child = self.child.take().unwrap();
        let pid = child.id().to_string();
        std::process::Command::new("kill").args(["-s", "TERM", &pid]).status().unwrap();
        assert!(child.wait().unwrap().success());
    }

    async fn number(&self, sql: &str) -> i64 {
        self.client.query_one(sql, &[]).await.unwrap().get(0)
    }

    async fn text(&self, sql: &str) -> String {
        self.client.query_one(sql, &[]).await.unwrap().get(0)
    }

    /// Amounts, days, texts and owners of everything that was moved, without ids.
    async fn digest(&self) -> String {
        self.text(DIGEST).await
    }

    fn verify(&self, what: &str) {
        let output = strongroom(self.folder.path())
            .env("DATABASE_URL", self.database.superuser_url())
            .args([what, "verify"])
            .output()
            .unwrap();
        assert!(output.status.success(), "{what}: {output:?}");
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

const DIGEST: &str = "
    SELECT md5(string_agg(line, E'\n' ORDER BY line)) FROM (
        SELECT concat_ws('|', item.source_id, entry.account_sequence, entry.transaction_type, entry.amount,
            entry.balance_after, entry.description, entry.reference, entry.transaction_date, entry.posted_date AT TIME ZONE 'UTC',
            account.currency, saved.account_type, account.status, account.overdraft_limit) AS line
        FROM transactions entry
        JOIN import_items item ON item.source = 'living-demo' AND item.kind = 'account' AND item.object_id = entry.account_id
        JOIN ledger_accounts account ON account.id = entry.account_id
        JOIN savings_accounts saved ON saved.id = entry.account_id) lines";
const STEPS: &str =
    "SELECT count(*) FROM import_items WHERE source = 'living-demo' AND source_id LIKE 'step%'";
const DAY: &str = "SELECT source_id FROM import_items WHERE source_id LIKE 'plan %'";
const EVERYTHING: &str =
    "SELECT (SELECT count(*) FROM transactions) + (SELECT count(*) FROM customers)
    + (SELECT count(*) FROM savings_accounts) + (SELECT count(*) FROM users)";

/// Killed twice on its way, and once more when it was whole: what comes of it is what
/// comes of a start that nobody disturbed, to the last entry.
#[tokio::test(flavor = "multi_thread")]
async fn a_killed_start_is_continued_and_a_whole_demo_is_left_alone() {
    let (mut disturbed, mut whole) = (Demo::new().await, Demo::new().await);
    whole.start(&[]);
    for steps in [12, 55] {
        disturbed.start(&[]);
        let deadline = Instant::now() + Duration::from_secs(60);
        while disturbed.table_is_missing().await || disturbed.number(STEPS).await < steps {
            assert!(Instant::now() < deadline, "no {steps} steps");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        disturbed.kill();
        assert!(!disturbed.ready_path().exists(), "it was killed too late to show anything");
    }
    disturbed.start(&["--demo-seed", "99"]);
    disturbed.ready().await;
    disturbed.stop();
    whole.ready().await;
    whole.stop();
    assert_eq!(disturbed.text(DAY).await, whole.text(DAY).await, "midnight went by: run it again");
    assert_eq!(disturbed.number(EVERYTHING).await, whole.number(EVERYTHING).await);
    assert_eq!(disturbed.digest().await, whole.digest().await);
    disturbed.verify("ledger");
    disturbed.verify("audit");

    let before = (whole.number(EVERYTHING).await, whole.digest().await);
    whole.start(&["--demo-seed", "99"]);
    whole.ready().await;
    whole.kill();
    assert_eq!((whole.number(EVERYTHING).await, whole.digest().await), before);
}

impl Demo {
    async fn table_is_missing(&self) -> bool {
        self.number("SELECT count(*) FROM pg_class WHERE relname = 'import_items'").await == 0
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_demo_keeps_its_promises() {
    let mut demo = Demo::new().await;
    demo.start(&["--demo-seed", "5"]);
    let ready = demo.ready().await;
    roles_come_first_and_share_a_password(&ready);
    the_first_customer_can_pay(&ready);
    oddities_can_be_found(&ready);
    nobody_is_ever_beyond_their_limit(&demo).await;
    people_are_sealed(&demo).await;
    let past = "SELECT count(*) FROM audit_log WHERE action LIKE 'row.%'";
    assert_eq!(demo.number(past).await, 0, "no row was changed past the operations");
    demo.stop();
    demo.verify("ledger");
    demo.verify("audit");
}

fn roles_come_first_and_share_a_password(ready: &Value) {
    for tenant in ready["tenants"].as_array().unwrap() {
        let users = tenant["users"].as_array().unwrap();
        let blueprint: tenancy::Blueprint =
            tenant["blueprint"].as_str().unwrap().parse().unwrap_or(tenancy::Blueprint::Platform);
        for (role, user) in blueprint.roles().iter().zip(users) {
            assert_eq!(user["role"], *role, "{tenant}");
        }
        assert!(users.iter().all(|user| user["password"] == users[0]["password"]), "{tenant}");
        assert!(users.iter().all(|user| user.get("totp_secret").is_none()), "{tenant}");
    }
}

struct Session<'a> {
    base: &'a str,
    token: String,
}

impl<'a> Session<'a> {
    fn of(ready: &'a Value, username: &str) -> Self {
        let base = ready["base_url"].as_str().unwrap();
        let password = &ready["tenants"][0]["users"][0]["password"];
        let body = json!({ "tenant": "demo-bank", "username": username, "password": password });
        let (status, answer) = http(base, "POST", "/v1/auth/login", &[], Some(&body));
        assert_eq!(status, 200, "{username}: {answer}");
        Self { base, token: format!("Bearer {}", answer["access_token"].as_str().unwrap()) }
    }

    fn get(&self, path: &str) -> Vec<Value> {
        let (status, answer) =
            http(self.base, "GET", path, &[("Authorization", &self.token)], None);
        assert_eq!(status, 200, "{path}: {answer}");
        answer["data"].as_array().unwrap().clone()
    }
}

fn the_first_customer_can_pay(ready: &Value) {
    let users = ready["tenants"][0]["users"].as_array().unwrap();
    let first = users.iter().find(|user| user["role"] == "customer").unwrap();
    let session = Session::of(ready, first["username"].as_str().unwrap());
    let accounts = session.get("/v1/accounts");
    assert_eq!(accounts.len(), 2);
    for account in accounts {
        assert_eq!((&account["currency"], &account["status"]), (&json!("EUR"), &json!("active")));
        assert!(account["balance"].as_i64().unwrap() >= 10_000, "{account}");
        let history = format!("/v1/accounts/{}/transactions", account["id"].as_str().unwrap());
        assert!(session.get(&history).len() >= 10, "{account}");
    }
    for username in ["ada", "bela", "chiara", "dmitri", "emma", "farid", "grete", "hugo"] {
        let accounts = Session::of(ready, username).get("/v1/accounts");
        assert!(accounts.iter().any(|account| account["status"] == "active"), "{username}");
    }
}

fn oddities_can_be_found(ready: &Value) {
    let auditor = Session::of(ready, "auditor");
    let night = auditor.get("/v1/audit/events?ip_address=203.0.113.77&limit=100");
    let kinds: Vec<_> =
        night.iter().rev().map(|event| event["event_type"].as_str().unwrap()).collect();
    assert_eq!(
        &kinds[..5],
        ["auth_failure", "auth_failure", "auth_failure", "auth_failure", "login"]
    );
    assert_eq!(kinds.last(), Some(&"logout"));
    assert!(night.iter().all(|event| event["occurred_at"].as_str().unwrap().contains("T03:1")));
    assert!(
        night
            .iter()
            .any(|event| event["result"] == "failed" && event["action"] == "withdrawal.create")
    );
    let sunday = auditor.get("/v1/audit/events?ip_address=198.51.100.240&limit=100");
    let looked_up: Vec<_> =
        sunday.iter().filter(|event| event["action"] == "customer.read").collect();
    assert_eq!(looked_up.len(), 40);
    let times: Vec<jiff::Timestamp> = looked_up
        .iter()
        .map(|event| event["occurred_at"].as_str().unwrap().parse().unwrap())
        .collect();
    let took = times.first().unwrap().duration_since(*times.last().unwrap());
    assert!(took.as_secs() > 60 && took.as_secs() <= 600, "{took}");
    let weekday = times[0].to_zoned(jiff::tz::TimeZone::UTC).weekday();
    assert_eq!(weekday, jiff::civil::Weekday::Sunday);
    let reversals = auditor.get("/v1/audit/events?action=transaction.reverse&limit=10");
    assert!(reversals.iter().any(|event| event["result"] == "denied"), "{reversals:?}");
}

/// As it was booked and as it is valued, on every day.
async fn nobody_is_ever_beyond_their_limit(demo: &Demo) {
    let booked = demo
        .number(
            "SELECT count(*) FROM transactions entry JOIN ledger_accounts account ON account.id = entry.account_id
             WHERE account.class = 'customer' AND entry.balance_after < -account.overdraft_limit",
        )
        .await;
    let valued = demo
        .number(
            "SELECT count(*) FROM (
                 SELECT sum(amount) OVER (PARTITION BY account_id ORDER BY transaction_date) AS balance, account_id
                 FROM transactions) day
             JOIN ledger_accounts account ON account.id = day.account_id
             WHERE account.class = 'customer' AND day.balance < -account.overdraft_limit",
        )
        .await;
    let disordered = demo
        .number(
            "SELECT count(*) FROM (
                 SELECT posted_date < lag(posted_date) OVER (PARTITION BY account_id ORDER BY account_sequence) AS wrong
                 FROM transactions) entry WHERE wrong",
        )
        .await;
    let impossible = demo
        .number(
            "SELECT count(*) FROM transfers WHERE value_date > booking_date OR booking_date <> (posted_at AT TIME ZONE 'UTC')::date
                 OR posted_at > now() OR booking_date < current_date - 91",
        )
        .await;
    assert_eq!((booked, valued, disordered, impossible), (0, 0, 0, 0));
    for (least, what) in [
        (2_500, "SELECT count(*) FROM transfers"),
        (1, "SELECT count(*) FROM ledger_accounts WHERE status = 'frozen' AND balance > 0"),
        (1, "SELECT count(*) FROM savings_accounts WHERE closed_date IS NOT NULL"),
        (1, "SELECT count(*) FROM ledger_accounts WHERE class = 'customer' AND balance < 0"),
        (10, "SELECT count(*) FROM transfers WHERE value_date < booking_date"),
        (3, "SELECT count(*) FROM account_parties WHERE party_role <> 'owner'"),
        (3, "SELECT count(*) FROM customers WHERE customer_type = 'business'"),
        (3, "SELECT count(DISTINCT currency) FROM ledger_accounts"),
        (
            8,
            "SELECT count(*) FROM audit_log WHERE action = 'transfer.create' AND result = 'success'",
        ),
        (
            2,
            "SELECT count(*) FROM audit_log WHERE action = 'transfer.create' AND result = 'failed'",
        ),
    ] {
        let found = demo.number(what).await;
        assert!(found >= least, "{found}, not {least}: {what}");
    }
}

async fn people_are_sealed(demo: &Demo) {
    let plain = demo
        .number("SELECT count(*) FROM customers WHERE position('Lindqvist'::bytea IN last_name) > 0 OR tax_id IS NULL")
        .await;
    assert_eq!(plain, 0);
    let names = demo
        .number("SELECT count(*) FROM audit_log WHERE record::text LIKE '%Lindqvist%' OR convert_from(record, 'UTF8') LIKE '%Lindqvist%'")
        .await;
    assert_eq!(names, 0);
    let linked = demo.number("SELECT count(*) FROM customers WHERE user_id IS NOT NULL").await;
    assert_eq!(linked, 9);
    assert!(Path::new(&demo.folder.path().join("here").join("development.key")).exists());
}
