//! Two real servers over one database and one Redis: they limit and block together, and a
//! Redis that goes, hangs, lies or was never there costs them nothing but that.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::json;
use testkit::{RedisServer, TestDatabase, connect};
use tokio_postgres::Client as Connection;

use crate::crash::bank::{Bank, SLUG, sign_in, sign_in_request};
use crate::crash::client::{Answer, Client, Request};
use crate::crash::place::{ROOT, Server, Urls};

/// Longer than a busy machine holds anything up: what is counted must not depend on it.
const PATIENT: (&str, &str) = ("REDIS_TIMEOUT_MS", "5000");

/// A bank with as many servers.
struct Site<const N: usize> {
    nodes: [Server; N],
    bank: Bank,
    // Dropped last: the servers go first.
    _database: TestDatabase,
}

impl<const N: usize> Site<N> {
    /// `policy` is what the bank's own says otherwise: paths and numbers.
    async fn open(policy: &[(&str, i32)], settings: &[(&'static str, &str)]) -> Self {
        let database = TestDatabase::create().await;
        let url = database.superuser_url();
        let bank = Bank::found(&url).await;
        let superuser = connect(&url).await;
        for (path, number) in policy {
            set_policy(&superuser, path, *number).await;
        }
        let mut nodes = Vec::new();
        for _ in 0..N {
            let urls = Urls { app: url.clone(), sealer: url.clone() };
            nodes.push(Server::start(urls, settings).await);
        }
        Self { nodes: nodes.try_into().unwrap(), bank, _database: database }
    }

    fn read(&self, token: &str) -> Request {
        Request::get(format!("/v1/accounts/{}", self.bank.customers[0].accounts[0]), Some(token))
    }

    fn transfer(&self, token: &str, key: &str) -> Request {
        let accounts = &self.bank.customers[0].accounts;
        let body = json!({
            "from_account_id": accounts[0], "to_account_id": accounts[1], "amount": 7,
            "currency": "EUR", "description": "Shared", "reference": key,
        });
        Request::post("/v1/transfers", Some(token), Some(key), body)
    }

    async fn send(&self, node: usize, request: &Request) -> Answer {
        Client::new(self.nodes[node].port).send(request).await.unwrap()
    }

    async fn token(&self) -> String {
        sign_in(self.nodes[0].port, self.bank.customers[0].username).await
    }

    /// Until both say that they share, or that they do not.
    async fn until_sharing(&self, shares: bool) {
        for node in &self.nodes {
            until(node, "strongroom_shared_state_up", if shares { "1" } else { "0" }).await;
        }
    }
}

async fn set_policy(superuser: &Connection, path: &str, number: i32) {
    let sql = "UPDATE security_policies SET policy = jsonb_set(policy, $1::text::text[], to_jsonb($2::integer)) \
         FROM tenants WHERE tenants.id = tenant_id AND tenants.slug = $3";
    assert_eq!(superuser.execute(sql, &[&path, &number, &SLUG]).await.unwrap(), 1);
}

/// A figure of a node, as Prometheus reads it.
async fn figure(node: &Server, name: &str) -> Option<String> {
    let answer = Client::new(node.operator_port).send(&Request::get("/metrics", None)).await;
    let answer = answer.unwrap();
    let lines = answer.body.as_str().unwrap().lines();
    let mut named = lines.filter_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    named.next().map(str::to_owned)
}

async fn until(node: &Server, name: &str, value: &str) {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        let found = figure(node, name).await;
        if found.as_deref() == Some(value) {
            return;
        }
        assert!(Instant::now() < deadline, "{name} stays {found:?}, not {value}: {}", node.log());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn statuses(answers: &[Answer]) -> (usize, usize) {
    let count = |status| answers.iter().filter(|answer| answer.status == status).count();
    let (good, limited) = (count(200), count(429));
    assert_eq!(good + limited, answers.len(), "{answers:?}");
    (good, limited)
}

async fn in_turn<const N: usize>(
    site: &Site<N>,
    node: usize,
    request: &Request,
    times: usize,
) -> Vec<Answer> {
    let mut client = Client::new(site.nodes[node].port);
    let mut answers = Vec::new();
    for _ in 0..times {
        answers.push(client.send(request).await.unwrap());
    }
    answers
}

fn wrong(name: &str) -> Request {
    let body = json!({ "tenant": SLUG, "username": name, "password": "Wrong-Horse-9-Battery" });
    Request::post("/v1/auth/login", None, None, body)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_share_one_limit_to_the_last_request() {
    let redis = RedisServer::start();
    let url = redis.url();
    let settings = [("REDIS_URL", url.as_str()), PATIENT];
    let site: Site<2> = Site::open(&[("{rate_limits,read}", 20)], &settings).await;
    site.until_sharing(true).await;
    let request = site.read(&site.token().await);
    let tasks: Vec<_> = (0..50)
        .map(|turn| {
            let (port, request) = (site.nodes[turn % 2].port, request.clone());
            tokio::spawn(async move { Client::new(port).send(&request).await.unwrap() })
        })
        .collect();
    let mut answers = Vec::new();
    for task in tasks {
        answers.push(task.await.unwrap());
    }
    assert_eq!(statuses(&answers), (20, 30));
    for answer in &answers {
        assert!(answer.header("ratelimit-policy").starts_with("\"read\";q=20;w=60"), "{answer:?}");
        let waits =
            answer.header("retry-after").parse().is_ok_and(|wait: u64| (1..=60).contains(&wait));
        assert_eq!(answer.status == 429, waits, "{answer:?}");
    }
    for node in 0..2 {
        assert_eq!(site.send(node, &request).await.status, 429);
        assert_eq!(
            figure(&site.nodes[node], "strongroom_shared_state_forged_total").await.as_deref(),
            Some("0")
        );
        assert_eq!(site.nodes[node].panics(), Vec::<String>::new());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_block_is_everybodys_at_once_and_outlives_the_store() {
    let mut redis = RedisServer::start();
    let url = redis.url();
    let settings = [("REDIS_URL", url.as_str()), PATIENT];
    let site: Site<2> = Site::open(&[("{address_block,threshold}", 4)], &settings).await;
    site.until_sharing(true).await;
    let right = sign_in_request(site.bank.customers[0].username);
    // Both know the address, so that neither asks the database about it any more.
    for (node, name) in [(0, "nobody-1"), (1, "nobody-2"), (0, "nobody-3")] {
        assert_eq!(site.send(node, &wrong(name)).await.status, 401);
    }
    // A success is nobody's failure, on whichever node.
    assert_eq!(site.send(1, &right).await.status, 200);
    assert_eq!(site.send(0, &wrong("nobody-4")).await.status, 401);
    for node in [1, 0] {
        let refused = site.send(node, &right).await;
        assert_eq!((refused.status, refused.code()), (429, "rate_limited"), "{refused:?}");
        assert!(refused.header("retry-after").parse::<u64>().unwrap() > 60, "{refused:?}");
    }
    redis.kill();
    site.until_sharing(false).await;
    for node in 0..2 {
        assert_eq!(site.send(node, &right).await.status, 429, "{node} was told");
    }
    // Back with nothing in it: told by the first that asks.
    redis.start_again();
    site.until_sharing(true).await;
    for node in 0..2 {
        assert_eq!(site.send(node, &right).await.status, 429, "{node}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_dies_and_comes_back_empty_opens_nothing() {
    let mut redis = RedisServer::start();
    let url = redis.url();
    let settings = [("REDIS_URL", url.as_str()), PATIENT];
    let site: Site<2> =
        Site::open(&[("{rate_limits,read}", 30), ("{rate_limits,write}", 4)], &settings).await;
    site.until_sharing(true).await;
    let token = site.token().await;
    let request = site.read(&token);
    assert_eq!(statuses(&in_turn(&site, 0, &request, 10).await), (10, 0));
    assert_eq!(statuses(&in_turn(&site, 1, &request, 5).await), (5, 0));
    redis.kill();
    // Mid-run: nobody is refused for it, nothing is 5xx, and each node goes on from what
    // it has admitted itself.
    assert_eq!(statuses(&in_turn(&site, 0, &request, 40).await), (20, 20));
    assert_eq!(statuses(&in_turn(&site, 1, &request, 40).await), (25, 15));
    site.until_sharing(false).await;
    let said = site.nodes[0].log().matches("the shared store is lost").count();
    assert_eq!(said, 1, "once: {}", site.nodes[0].log());
    // Empty: what a node admitted it remembers.
    redis.start_again();
    site.until_sharing(true).await;
    for node in 0..2 {
        assert_eq!(statuses(&in_turn(&site, node, &request, 5).await), (0, 5));
    }
    // Shared again, without a restart.
    let mut clients = [0, 1].map(|node| Client::new(site.nodes[node].port));
    let mut answers = Vec::new();
    for turn in 0..8 {
        let transfer = site.transfer(&token, &format!("again-{turn}"));
        answers.push(clients[turn % 2].send(&transfer).await.unwrap().status);
    }
    assert_eq!(answers, [201, 201, 201, 201, 429, 429, 429, 429]);
    for node in &site.nodes {
        assert_eq!(node.panics(), Vec::<String>::new());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_forged_in_the_store_opens_nothing() {
    let redis = RedisServer::start();
    let url = redis.url();
    let settings = [("REDIS_URL", url.as_str()), PATIENT];
    let site: Site<2> = Site::open(&[("{rate_limits,read}", 10)], &settings).await;
    site.until_sharing(true).await;
    let request = site.read(&site.token().await);
    assert_eq!(statuses(&in_turn(&site, 0, &request, 12).await), (10, 2));
    assert_eq!(statuses(&in_turn(&site, 1, &request, 2).await), (0, 2));
    // Whoever may write there writes over every key of ours.
    let ours = redis_command(&redis, &["--scan", "--pattern", "{strongroom:*"]);
    let names: Vec<&str> = ours.lines().collect();
    assert!(names.len() >= 4, "{ours}");
    let (user, address) = (site.bank.customers[0].username, "127.0.0.1");
    assert!(!ours.contains(user) && !ours.contains(address), "{ours}");
    for name in &names {
        let ttl: i64 = redis_command(&redis, &["TTL", name]).trim().parse().unwrap();
        assert!((0..=3_600).contains(&ttl), "{name} lives {ttl}");
        redis_command(&redis, &["SET", name, "nonsense"]);
    }
    assert_eq!(statuses(&in_turn(&site, 0, &request, 5).await), (0, 5), "it has admitted ten");
    // The other node has admitted nothing: it gives its own limit, as it would alone.
    assert_eq!(statuses(&in_turn(&site, 1, &request, 15).await), (10, 5));
    let forged = figure(&site.nodes[1], "strongroom_shared_state_forged_total").await;
    assert!(forged.as_deref().is_some_and(|count| count != "0"), "{forged:?}");
    assert!(site.nodes[1].log().contains("held what we did not write"), "{}", site.nodes[1].log());
}

fn redis_command(redis: &RedisServer, arguments: &[&str]) -> String {
    let socket = redis.folder().join("redis.sock");
    let output = Command::new("redis-cli").arg("-s").arg(socket).args(arguments).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_hangs_costs_one_wait_and_comes_back() {
    let redis = RedisServer::start();
    let url = redis.url();
    let settings = [("REDIS_URL", url.as_str()), ("REDIS_TIMEOUT_MS", "1500")];
    let site: Site<1> = Site::open(&[], &settings).await;
    site.until_sharing(true).await;
    let request = site.read(&site.token().await);
    in_turn(&site, 0, &request, 3).await;
    redis.pause();
    let answers = in_turn(&site, 0, &request, 30).await;
    assert_eq!(statuses(&answers), (30, 0));
    let waited = answers.iter().filter(|answer| answer.took > Duration::from_millis(1_200)).count();
    assert!(waited <= 1, "{waited} requests waited for it");
    site.until_sharing(false).await;
    redis.resume();
    site.until_sharing(true).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_the_store_it_starts_counts_alone_and_joins_later() {
    let mut redis = RedisServer::start();
    redis.kill();
    let url = redis.url();
    let settings = [("REDIS_URL", url.as_str()), PATIENT];
    let site: Site<1> = Site::open(&[("{rate_limits,read}", 6)], &settings).await;
    site.until_sharing(false).await;
    let request = site.read(&site.token().await);
    assert_eq!(statuses(&in_turn(&site, 0, &request, 10).await), (6, 4));
    let doctor = |site: &Site<1>| {
        let mut command = site.nodes[0].command();
        let key = ROOT.map(|byte| format!("{byte:02x}")).concat();
        command.env("REDIS_URL", settings[0].1).env("ENCRYPTION_KEY", key);
        let output = command.args(["doctor", "--json"]).output().unwrap();
        let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        let checks = report["checks"].as_array().unwrap().clone();
        checks.into_iter().find(|one| one["check"] == "redis.reachable").unwrap()
    };
    let found = doctor(&site);
    assert_eq!(found["verdict"], "fault", "{found}");
    assert!(found["mend"].as_str().unwrap().starts_with("redis-cli"), "{found}");
    redis.start_again();
    site.until_sharing(true).await;
    assert_eq!(doctor(&site)["verdict"], "ok");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tls_with_a_password_is_checked_against_the_authority() {
    let folder = tempfile::tempdir().unwrap();
    certificates(folder.path());
    let file = |name: &str| folder.path().join(name).display().to_string();
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let _redis = RedisServer::start_with(&[
        "--port",
        "0",
        "--tls-port",
        &port.to_string(),
        "--tls-auth-clients",
        "no",
        "--tls-cert-file",
        &file("store.pem"),
        "--tls-key-file",
        &file("store.key"),
        "--requirepass",
        "hush-hush-4711",
    ]);
    let url = format!("rediss://localhost:{port}");
    let password = ("REDIS_PASSWORD", "hush-hush-4711");
    for (authority, shares) in [("authority.pem", true), ("stranger.pem", false)] {
        let authority = file(authority);
        let trusted = ("SSL_CERT_FILE", authority.as_str());
        let settings = [("REDIS_URL", url.as_str()), password, trusted, PATIENT];
        let site: Site<1> = Site::open(&[], &settings).await;
        site.until_sharing(shares).await;
        assert!(!site.nodes[0].log().contains("hush"), "{}", site.nodes[0].log());
    }
}

/// An authority, a certificate of it for `localhost`, and another authority.
fn certificates(folder: &Path) {
    let openssl = |arguments: &str| {
        let output = Command::new("openssl")
            .args(arguments.split(' '))
            .current_dir(folder)
            .output()
            .unwrap();
        assert!(output.status.success(), "{arguments}: {output:?}");
    };
    let key = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes";
    for name in ["authority", "stranger"] {
        openssl(&format!(
            "req -x509 {key} -subj /CN={name} -days 2 -keyout {name}.key -out {name}.pem"
        ));
    }
    openssl(&format!("req {key} -subj /CN=localhost -keyout store.key -out store.csr"));
    std::fs::write(folder.join("store.ext"), "subjectAltName=DNS:localhost\n").unwrap();
    openssl(
        "x509 -req -in store.csr -CA authority.pem -CAkey authority.key -CAcreateserial -days 2 -extfile store.ext -out store.pem",
    );
}
