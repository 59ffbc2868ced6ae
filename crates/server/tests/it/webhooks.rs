//! Webhooks over a real receiver: what is signed, in which order, how often, after which
//! crash, and what is never sent to whom.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::{
    collections::{BTreeSet, VecDeque},
    sync::{Arc, Mutex},
    time::Duration,
};

use ::webhooks::{NewWebhook, Patience, Webhooks};
use axum::{
    Router,
    body::Bytes,
    extract::State,
    http::{HeaderMap, Method, StatusCode},
    routing::post,
};
use banking::{AccountChange, AccountStatus, UpdateAccount};
use events::Relay;
use operation::OperationError;
use outward::{Client, Guard};
use serde_json::{Value, json};
use tenancy::{ActorKind, OpContext};
use tokio::net::TcpListener;
use uuid::Uuid;
use vault::webhook::{WebhookSecret, sign_webhook};

use crate::{
    bank_world::open,
    harness::{Answered, App, Bank},
};

pub(crate) const AT_ONCE: Patience = Patience {
    delays: &[Duration::ZERO; 3],
    lease: Duration::from_secs(60),
    rest: Duration::ZERO,
    waiting_max: 10_000,
};

/// What a receiver was sent.
#[derive(Clone, Debug)]
struct Received {
    headers: HeaderMap,
    body: Bytes,
}

impl Received {
    fn header(&self, name: &str) -> &str {
        self.headers[name].to_str().unwrap()
    }

    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    fn sequence(&self) -> i64 {
        self.json()["data"]["sequence"].as_i64().unwrap()
    }

    fn object(&self) -> Uuid {
        self.json()["data"]["object_id"].as_str().unwrap().parse().unwrap()
    }

    /// Which of these secrets signed it.
    fn signed_by(&self, secrets: &[&str]) -> Vec<bool> {
        let at = self.header("webhook-timestamp").parse().unwrap();
        let signatures: Vec<&str> = self.header("webhook-signature").split(' ').collect();
        let signs = |secret: &&str| {
            let secret = WebhookSecret::parse(secret).unwrap();
            let id = self.header("webhook-id");
            let expected = sign_webhook(&secret, None, id, at, &self.body).unwrap();
            signatures.contains(&expected.as_str())
        };
        secrets.iter().map(signs).collect()
    }
}

/// A receiver that answers as it is told to, and 200 when nothing is left to tell; 0 never
/// answers.
#[derive(Clone, Default)]
pub(crate) struct Sink {
    received: Arc<Mutex<Vec<Received>>>,
    answers: Arc<Mutex<VecDeque<u16>>>,
    pub(crate) url: String,
}

impl Sink {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/hook?key=receivers-own", listener.local_addr().unwrap());
        let sink = Self { url, ..Self::default() };
        let router = Router::new().route("/hook", post(take)).with_state(sink.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        sink
    }

    pub(crate) fn answering(self, answers: &[u16]) -> Self {
        self.answers.lock().unwrap().extend(answers);
        self
    }

    fn received(&self) -> Vec<Received> {
        self.received.lock().unwrap().clone()
    }

    pub(crate) fn ids(&self) -> Vec<String> {
        let received = self.received();
        received.iter().map(|one| one.header("webhook-id").to_owned()).collect()
    }
}

async fn take(State(sink): State<Sink>, headers: HeaderMap, body: Bytes) -> StatusCode {
    sink.received.lock().unwrap().push(Received { headers, body });
    let answer = sink.answers.lock().unwrap().pop_front().unwrap_or(200);
    if answer == 0 {
        std::future::pending::<()>().await;
    }
    StatusCode::from_u16(answer).unwrap()
}

pub(crate) fn service(app: &App, guard: Guard, patience: Patience) -> Webhooks {
    let (operations, keyring) = (app.operations.clone(), Arc::clone(&app.keyring));
    Webhooks::with_patience(operations, keyring, Client::plain(guard), patience)
}

async fn worker(app: &App, slug: &str) -> OpContext {
    let tenant = app.directory.by_slug(slug).await.unwrap().unwrap();
    OpContext::system(tenant, ActorKind::Worker, app.clock.clone())
}

/// Relays and delivers until nothing more is due; says how much was taken.
pub(crate) async fn deliver(app: &App, webhooks: &Webhooks, slug: &str) -> u64 {
    Relay::new(open(&app.database, "strongroom_sealer"), app.clock.clone()).drain().await.unwrap();
    webhooks.deliver_due(&worker(app, slug).await, || false).await.unwrap()
}

async fn admin(app: &App, bank: &Bank) -> String {
    app.login_by_factor(bank, "super_admin").await
}

pub(crate) async fn create(app: &App, bank: &Bank, url: &str) -> (Uuid, String) {
    let wish = json!({ "url": url, "event_types": ["account.updated"] });
    let asked = app.post("/v1/webhooks").bearer(&admin(app, bank).await).json(&wish);
    let made = asked.send().await;
    assert_eq!(made.status, 201, "{}", made.text);
    assert_eq!(made.header("etag"), "\"1\"");
    let secret = made.body["secret"].as_str().unwrap().to_owned();
    (made.body["id"].as_str().unwrap().parse().unwrap(), secret)
}

/// So many events of one account, each of the next version.
pub(crate) async fn change(app: &App, bank: &Bank, account_id: Uuid, times: usize) {
    let context = app.cli(&bank.slug).await;
    for _ in 0..times {
        let sql = "SELECT status FROM ledger_accounts WHERE id = $1";
        let status: String = app.superuser.query_one(sql, &[&account_id]).await.unwrap().get(0);
        let next = if status == "active" { AccountStatus::Frozen } else { AccountStatus::Active };
        let change = AccountChange { status: Some(next), ..AccountChange::default() };
        app.run(&context, UpdateAccount { account_id, expected_version: None, change }).await;
    }
}

async fn deliveries(app: &App, bank: &Bank, id: Uuid) -> Vec<Value> {
    let path = format!("/v1/webhooks/{id}/deliveries");
    let answer = app.get(path).bearer(&admin(app, bank).await).send().await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    answer.body["data"].as_array().unwrap().clone()
}

async fn post_to(app: &App, bank: &Bank, path: &str, body: &Value) -> Answered {
    app.post(path).bearer(&admin(app, bank).await).json(body).send().await
}

#[tokio::test]
async fn a_receiver_is_told_signed_and_each_object_in_its_order() {
    let app = App::start().await;
    let sink = Sink::start().await;
    let [one, other] = app.bank.customers[0].accounts;
    change(&app, &app.bank, one, 1).await;
    Relay::new(open(&app.database, "strongroom_sealer"), app.clock.clone()).drain().await.unwrap();
    let (id, secret) = create(&app, &app.bank, &sink.url).await;
    change(&app, &app.bank, one, 3).await;
    change(&app, &app.bank, other, 2).await;
    assert_eq!(deliver(&app, &app.state.webhooks, "bank").await, 5, "from now on");
    let received = sink.received();
    assert_eq!(received.len(), 5);
    for account in [one, other] {
        let of_it = received.iter().filter(|told| told.object() == account);
        let sequences: Vec<i64> = of_it.map(Received::sequence).collect();
        assert!(sequences.windows(2).all(|pair| pair[0] + 1 == pair[1]), "{sequences:?}");
    }
    for told in &received {
        assert_eq!(told.signed_by(&[&secret]), [true]);
        assert_eq!(told.header("content-type"), "application/json");
        let (body, listed) = (told.json(), told.header("webhook-id"));
        assert_eq!(body["type"], "account.updated");
        assert_eq!(body["data"]["object_type"], "account");
        assert!(body["data"]["values"]["status"].is_string(), "{body}");
        let event: Uuid = body["data"]["event_id"].as_str().unwrap().parse().unwrap();
        assert_eq!(listed, format!("msg_{}", event.simple()));
    }
    let altered = Received { body: Bytes::from_static(b"{}"), ..received[0].clone() };
    assert_eq!(altered.signed_by(&[&secret]), [false]);
    let listed = deliveries(&app, &app.bank, id).await;
    assert!(listed.iter().all(|one| one["status"] == "delivered" && one["last_status"] == 200));
    assert_eq!(deliver(&app, &app.state.webhooks, "bank").await, 0, "once");
    // Neither the secret nor what an address holds besides its host is in a record.
    let told = "SELECT count(*) FROM audit_log WHERE convert_from(record, 'UTF8') LIKE '%receivers-own%' \
        OR convert_from(record, 'UTF8') LIKE '%whsec_%'";
    assert_eq!(app.superuser.query_one(told, &[]).await.unwrap().get::<_, i64>(0), 0);
}

#[tokio::test]
async fn what_is_not_taken_is_tried_again_under_one_id_and_holds_back_its_object_alone() {
    let app = App::start().await;
    let [one, other] = app.bank.customers[0].accounts;
    let sink = Sink::start().await.answering(&[503, 302, 404]);
    let (id, _) = create(&app, &app.bank, &sink.url).await;
    let webhooks = service(&app, Guard::Any, AT_ONCE);
    change(&app, &app.bank, one, 2).await;
    assert_eq!(deliver(&app, &webhooks, "bank").await, 2);
    let ids = sink.ids();
    assert_eq!(ids.len(), 5, "three refusals, then both");
    assert!(ids[..4].iter().all(|id| *id == ids[0]) && ids[4] != ids[0], "{ids:?}");
    let attempts: Vec<i64> = (deliveries(&app, &app.bank, id).await.iter())
        .map(|one| one["attempts"].as_i64().unwrap())
        .collect();
    assert_eq!(attempts, [1, 4], "newest first");
    // Given up after the last: what comes after it goes on.
    let sink = Sink::start().await.answering(&[500, 500, 500, 500]);
    let path = format!("/v1/webhooks/{id}");
    let moved = app.patch(path).bearer(&admin(&app, &app.bank).await).header("if-match", "\"1\"");
    let moved = moved.json(&json!({ "url": sink.url })).send().await;
    assert_eq!((moved.status, moved.header("etag")), (200, "\"2\""), "{}", moved.text);
    change(&app, &app.bank, other, 2).await;
    assert_eq!(deliver(&app, &webhooks, "bank").await, 1);
    let listed = deliveries(&app, &app.bank, id).await;
    assert_eq!(
        (&listed[0]["status"], &listed[1]["status"]),
        (&json!("delivered"), &json!("given_up"))
    );
    assert_eq!(listed[1]["last_error"], "status_500");
}

#[tokio::test]
async fn what_a_dead_worker_held_is_taken_over_when_its_lease_ends() {
    let app = App::start().await;
    let sink = Sink::start().await.answering(&[0]);
    let (id, _) = create(&app, &app.bank, &sink.url).await;
    change(&app, &app.bank, app.bank.customers[0].accounts[0], 1).await;
    let patience = Patience { lease: Duration::from_secs(2), ..AT_ONCE };
    let webhooks = service(&app, Guard::Any, patience);
    Relay::new(open(&app.database, "strongroom_sealer"), app.clock.clone()).drain().await.unwrap();
    let (dying, context) = (webhooks.clone(), worker(&app, "bank").await);
    let killed = tokio::spawn(async move { dying.deliver_due(&context, || false).await });
    while sink.received().is_empty() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    killed.abort();
    assert_eq!(deliver(&app, &webhooks, "bank").await, 0, "it is still the other's");
    tokio::time::sleep(Duration::from_millis(2_100)).await;
    assert_eq!(deliver(&app, &webhooks, "bank").await, 1);
    let ids = sink.ids();
    assert!(ids.len() == 2 && ids[0] == ids[1], "{ids:?}");
    assert_eq!(deliveries(&app, &app.bank, id).await[0]["attempts"], 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn several_nodes_deliver_each_event_once_and_in_order() {
    let app = App::start().await;
    let sink = Sink::start().await;
    create(&app, &app.bank, &sink.url).await;
    let account = app.bank.customers[0].accounts[0];
    change(&app, &app.bank, account, 10).await;
    Relay::new(open(&app.database, "strongroom_sealer"), app.clock.clone()).drain().await.unwrap();
    let mut nodes = tokio::task::JoinSet::new();
    for _ in 0..4 {
        let (node, context) = (service(&app, Guard::Any, AT_ONCE), worker(&app, "bank").await);
        nodes.spawn(async move {
            for _ in 0..20 {
                node.deliver_due(&context, || false).await.unwrap();
            }
        });
    }
    nodes.join_all().await;
    let sequences: Vec<i64> = sink.received().iter().map(Received::sequence).collect();
    assert_eq!(sequences.len(), 10, "{sequences:?}");
    assert!(sequences.windows(2).all(|pair| pair[0] + 1 == pair[1]), "{sequences:?}");
}

#[tokio::test]
async fn a_receiver_that_hangs_holds_up_no_other() {
    let app = App::start().await;
    let (hanging, well) = (Sink::start().await.answering(&[0]), Sink::start().await);
    let (stuck, _) = create(&app, &app.bank, &hanging.url).await;
    let (id, _) = create(&app, &app.bank, &well.url).await;
    let account = app.bank.customers[0].accounts[0];
    change(&app, &app.bank, account, 1).await;
    let relay = Relay::new(open(&app.database, "strongroom_sealer"), app.clock.clone());
    relay.drain().await.unwrap();
    let (webhooks, context) = (service(&app, Guard::Any, AT_ONCE), worker(&app, "bank").await);
    let run = tokio::spawn(async move { webhooks.deliver_due(&context, || false).await });
    while hanging.received().is_empty() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    // What happens while it hangs reaches the other one, and is written down.
    change(&app, &app.bank, account, 2).await;
    relay.drain().await.unwrap();
    let delivered =
        "SELECT count(*) FROM webhook_deliveries WHERE endpoint_id = $1 AND status = 'delivered'";
    let mut count = 0;
    for _ in 0..100 {
        count = app.superuser.query_one(delivered, &[&id]).await.unwrap().get::<_, i64>(0);
        if count == 3 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(count, 3);
    assert!(!run.is_finished(), "the other one still hangs");
    assert_eq!(hanging.received().len(), 1, "and is asked nothing else of that object");
    assert_eq!(deliveries(&app, &app.bank, stuck).await[2]["status"], "pending");
    run.abort();
}

#[tokio::test]
async fn whoever_takes_nothing_rests_longer_each_time() {
    let app = App::start().await;
    let sink = Sink::start().await.answering(&[500, 500, 500]);
    let (id, _) = create(&app, &app.bank, &sink.url).await;
    change(&app, &app.bank, app.bank.customers[0].accounts[0], 1).await;
    let patience = Patience { rest: Duration::from_secs(100), ..AT_ONCE };
    let webhooks = service(&app, Guard::Any, patience);
    let resting = "SELECT failures, extract(epoch FROM resting_until - now())::float8 FROM webhook_endpoints \
                   WHERE id = $1";
    let over = "UPDATE webhook_endpoints SET resting_until = now()";
    for (failures, rest_s) in [(1, 100.0), (2, 200.0), (3, 400.0)] {
        assert_eq!(deliver(&app, &webhooks, "bank").await, 0);
        let row = app.superuser.query_one(resting, &[&id]).await.unwrap();
        assert_eq!(row.get::<_, i32>(0), failures);
        let left: f64 = row.get(1);
        assert!((rest_s - 20.0..=rest_s).contains(&left), "{failures}: {left}");
        app.superuser.execute(over, &[]).await.unwrap();
    }
    assert_eq!(deliver(&app, &webhooks, "bank").await, 1);
    let row = app.superuser.query_one(resting, &[&id]).await.unwrap();
    assert_eq!(row.get::<_, i32>(0), 0, "well again");
}

#[tokio::test]
async fn whoever_takes_nothing_reads_no_further_and_loses_nothing() {
    let app = App::start().await;
    let sink = Sink::start().await.answering(&[500]);
    let (id, _) = create(&app, &app.bank, &sink.url).await;
    change(&app, &app.bank, app.bank.customers[0].accounts[0], 30).await;
    let patience = Patience { rest: Duration::from_secs(100), waiting_max: 5, ..AT_ONCE };
    let webhooks = service(&app, Guard::Any, patience);
    assert_eq!(deliver(&app, &webhooks, "bank").await, 0);
    let waits =
        "SELECT count(*) FROM webhook_deliveries WHERE endpoint_id = $1 AND status = 'pending'";
    let count: i64 = app.superuser.query_one(waits, &[&id]).await.unwrap().get(0);
    assert!((5..10).contains(&count), "{count}");
    assert_eq!(deliver(&app, &webhooks, "bank").await, 0, "nor later");
    assert_eq!(app.superuser.query_one(waits, &[&id]).await.unwrap().get::<_, i64>(0), count);
    app.superuser.execute("UPDATE webhook_endpoints SET resting_until = now()", &[]).await.unwrap();
    assert_eq!(deliver(&app, &webhooks, "bank").await, 30);
    let sequences: Vec<i64> = sink.received()[1..].iter().map(Received::sequence).collect();
    assert!(sequences.windows(2).all(|pair| pair[0] + 1 == pair[1]), "{sequences:?}");
}

#[tokio::test]
async fn what_is_deleted_or_old_is_forgotten() {
    let app = App::start().await;
    let sink = Sink::start().await.answering(&[200, 200, 500]);
    let (id, _) = create(&app, &app.bank, &sink.url).await;
    let (other, _) = create(&app, &app.bank, &sink.url).await;
    let account = app.bank.customers[0].accounts[0];
    change(&app, &app.bank, account, 1).await;
    let patience = Patience { rest: Duration::from_secs(100), ..AT_ONCE };
    let webhooks = service(&app, Guard::Any, patience);
    assert_eq!(deliver(&app, &webhooks, "bank").await, 2);
    change(&app, &app.bank, account, 1).await;
    deliver(&app, &webhooks, "bank").await;
    let token = admin(&app, &app.bank).await;
    let path = format!("/v1/webhooks/{id}");
    assert_eq!(app.delete(path.clone()).bearer(&token).send().await.status, 204);
    for (method, path) in [
        (Method::GET, path.clone()),
        (Method::GET, format!("{path}/deliveries")),
        (Method::DELETE, path.clone()),
        (Method::POST, format!("{path}/test")),
        (Method::POST, format!("{path}/rotate-secret")),
    ] {
        let answer = app.ask(method.clone(), path.clone()).bearer(&token).json(&json!({})).send();
        assert_eq!(answer.await.status, 404, "{method} {path}");
    }
    let replay = json!({ "from_position": 1 });
    let replayed = post_to(&app, &app.bank, &format!("{path}/replay"), &replay).await;
    assert_eq!(replayed.status, 404);
    let listed = app.get("/v1/webhooks").bearer(&token).send().await;
    assert_eq!(listed.body["data"].as_array().unwrap().len(), 1, "{}", listed.text);
    let context = worker(&app, "bank").await;
    assert_eq!(webhooks.forget(&context).await.unwrap(), 2, "the deleted one's alone");
    let left = "SELECT id FROM webhook_endpoints";
    assert_eq!(app.superuser.query_one(left, &[]).await.unwrap().get::<_, Uuid>(0), other);
    // Also what is still pending, when its event is forgotten as well.
    let aged = "UPDATE webhook_deliveries SET created_at = now() - interval '31 days'";
    app.superuser.execute(aged, &[]).await.unwrap();
    assert_eq!(webhooks.forget(&context).await.unwrap(), 2);
    assert_eq!(webhooks.forget(&context).await.unwrap(), 0);
    assert!(deliveries(&app, &app.bank, other).await.is_empty());
}

#[tokio::test]
async fn deliveries_tell_of_what_their_reader_may_read() {
    let app = App::start().await;
    let sink = Sink::start().await;
    let (id, _) = create(&app, &app.bank, &sink.url).await;
    change(&app, &app.bank, app.bank.customers[0].accounts[0], 2).await;
    post_to(&app, &app.bank, &format!("/v1/webhooks/{id}/test"), &json!({})).await;
    assert_eq!(deliver(&app, &app.state.webhooks, "bank").await, 3);
    assert_eq!(deliveries(&app, &app.bank, id).await.len(), 3);
    let token = admin(&app, &app.bank).await;
    let wish = json!({ "name": "Monitor", "role": "admin", "scopes": ["settings:view"] });
    let made = app.post("/v1/api-keys").bearer(&token).json(&wish).send().await;
    let secret = made.body["secret"].as_str().unwrap();
    let told = app.get(format!("/v1/webhooks/{id}/deliveries")).bearer(secret).send().await;
    let told = told.body["data"].as_array().unwrap().clone();
    let types: Vec<&Value> = told.iter().map(|one| &one["type"]).collect();
    assert_eq!(types, ["webhook.test"], "accounts are not its own to read");
}

#[tokio::test]
async fn what_somebody_may_read_at_some_hours_is_told_at_none() {
    let app = App::start().await;
    let sink = Sink::start().await;
    let token = admin(&app, &app.bank).await;
    let role = json!({ "name": "desk", "permissions": [
        { "permission": "settings:view" }, { "permission": "settings:update" },
        { "permission": "customer:read" },
        { "permission": "account:read", "conditions": { "mfa_level": 1 } },
    ] });
    let made = app.post("/v1/roles").bearer(&token).json(&role).send().await;
    assert_eq!(made.status, 201, "{}", made.text);
    let path = format!("/v1/users/{}", app.bank.users["customer"]);
    let given = app.patch(path).bearer(&token).header("if-match", "*");
    let given = given.json(&json!({ "roles": ["customer", "desk"] })).send().await;
    assert_eq!(given.status, 200, "{}", given.text);
    let token = app.login_by_factor(&app.bank, "customer").await;
    for (name, status) in [("account.updated", 422), ("customer.updated", 201)] {
        let wish = json!({ "url": sink.url, "event_types": [name] });
        let answer = app.post("/v1/webhooks").bearer(&token).json(&wish).send().await;
        assert_eq!(answer.status, status, "{name}: {}", answer.text);
    }
}

#[tokio::test]
async fn a_replay_is_of_exactly_those_events() {
    let app = App::start().await;
    let rival = app.add_bank("rival").await;
    let sink = Sink::start().await;
    let (id, _) = create(&app, &app.bank, &sink.url).await;
    change(&app, &app.bank, app.bank.customers[0].accounts[0], 3).await;
    change(&app, &rival, rival.customers[0].accounts[0], 1).await;
    assert_eq!(deliver(&app, &app.state.webhooks, "bank").await, 3);
    let first = sink.received();
    let path = format!("/v1/webhooks/{id}/replay");
    let second = &first[1].json()["data"]["event_id"];
    let done = post_to(&app, &app.bank, &path, &json!({ "event_ids": [second, second] })).await;
    assert_eq!((done.status, &done.body["count"]), (202, &json!(1)), "{}", done.text);
    assert_eq!(deliver(&app, &app.state.webhooks, "bank").await, 1);
    let position = &first[1].json()["data"]["position"];
    let done = post_to(&app, &app.bank, &path, &json!({ "from_position": position })).await;
    assert_eq!(done.body["count"], 2, "{}", done.text);
    assert_eq!(deliver(&app, &app.state.webhooks, "bank").await, 2);
    let ids = sink.ids();
    assert_eq!(ids[3..], [ids[1].clone(), ids[1].clone(), ids[2].clone()]);
    assert!(first[1].body == sink.received()[3].body, "the same to the letter");
    // Another tenant's event is none, and nothing of the request is done.
    let theirs =
        "SELECT event_id FROM events WHERE tenant_id = $1 AND event_type = 'account.updated'";
    let theirs: Uuid = app.superuser.query_one(theirs, &[&rival.id]).await.unwrap().get(0);
    let mixed = json!({ "event_ids": [second, theirs] });
    let refused = post_to(&app, &app.bank, &path, &mixed).await;
    let found = (refused.status, refused.code(), refused.field());
    assert_eq!(found, (422, "event_unknown", "event_ids"));
    for (wish, status) in [
        (json!({ "from_position": 0 }), 422),
        (json!({ "event_ids": [] }), 422),
        (json!({ "from_position": 1, "event_ids": [] }), 400),
        (json!({}), 400),
    ] {
        assert_eq!(post_to(&app, &app.bank, &path, &wish).await.status, status, "{wish}");
    }
    assert_eq!(deliver(&app, &app.state.webhooks, "bank").await, 0);
}

#[tokio::test]
async fn a_test_is_delivered_and_listed() {
    let app = App::start().await;
    let sink = Sink::start().await;
    let (id, secret) = create(&app, &app.bank, &sink.url).await;
    let path = format!("/v1/webhooks/{id}/test");
    let asked = app.post(path).bearer(&admin(&app, &app.bank).await).send().await;
    assert_eq!(asked.status, 202, "{}", asked.text);
    assert_eq!(deliver(&app, &app.state.webhooks, "bank").await, 1);
    let received = sink.received();
    assert_eq!(received[0].json()["type"], "webhook.test");
    assert_eq!((received[0].object(), received[0].signed_by(&[&secret])), (id, vec![true]));
    assert_eq!(deliveries(&app, &app.bank, id).await[0]["position"], Value::Null);
}

#[tokio::test]
async fn both_secrets_sign_until_the_overlap_ends() {
    let app = App::start().await;
    let sink = Sink::start().await;
    let (id, old) = create(&app, &app.bank, &sink.url).await;
    let path = format!("/v1/webhooks/{id}/rotate-secret");
    let rotated = post_to(&app, &app.bank, &path, &json!({ "overlap_s": 600 })).await;
    assert_eq!(rotated.status, 200, "{}", rotated.text);
    let new = rotated.body["secret"].as_str().unwrap().to_owned();
    assert!(new != old && rotated.body["previous_until"].is_string());
    let account = app.bank.customers[0].accounts[0];
    change(&app, &app.bank, account, 1).await;
    deliver(&app, &app.state.webhooks, "bank").await;
    assert_eq!(sink.received()[0].signed_by(&[&old, &new]), [true, true]);
    let over = "UPDATE webhook_endpoints SET previous_until = now() - interval '1 second'";
    app.superuser.execute(over, &[]).await.unwrap();
    change(&app, &app.bank, account, 1).await;
    deliver(&app, &app.state.webhooks, "bank").await;
    assert_eq!(sink.received()[1].signed_by(&[&old, &new]), [false, true]);
    let rotated = post_to(&app, &app.bank, &path, &json!({ "overlap_s": 0 })).await;
    assert_eq!(rotated.body["previous_until"], Value::Null);
    change(&app, &app.bank, account, 1).await;
    deliver(&app, &app.state.webhooks, "bank").await;
    assert_eq!(sink.received()[2].signed_by(&[&old, &new]), [false, false]);
    let refused = post_to(&app, &app.bank, &path, &json!({ "overlap_s": 604_801 })).await;
    assert_eq!((refused.status, refused.field()), (422, "overlap_s"));
}

#[tokio::test]
async fn what_is_disabled_or_gone_hears_nothing_until_it_is_enabled() {
    let app = App::start().await;
    let sink = Sink::start().await.answering(&[200, 410]);
    let (id, _) = create(&app, &app.bank, &sink.url).await;
    let path = format!("/v1/webhooks/{id}");
    let set = async |status: &str| {
        let token = admin(&app, &app.bank).await;
        let asked = app.patch(path.clone()).bearer(&token).header("if-match", "*");
        asked.json(&json!({ "status": status })).send().await
    };
    let account = app.bank.customers[0].accounts[0];
    assert_eq!(set("disabled").await.body["status"], "disabled");
    change(&app, &app.bank, account, 1).await;
    assert_eq!(deliver(&app, &app.state.webhooks, "bank").await, 0);
    assert!(sink.received().is_empty());
    assert_eq!(set("active").await.body["status"], "active");
    assert_eq!(deliver(&app, &app.state.webhooks, "bank").await, 1, "nothing is lost");
    // 410: left alone at once, with a record.
    change(&app, &app.bank, account, 1).await;
    assert_eq!(deliver(&app, &app.state.webhooks, "bank").await, 0);
    let read = app.get(path.clone()).bearer(&admin(&app, &app.bank).await).send().await;
    assert_eq!(read.body["status"], "failing", "{}", read.text);
    let records =
        "SELECT count(*) FROM audit_log WHERE action = 'webhook.suspend' AND resource_id = $1";
    assert_eq!(app.superuser.query_one(records, &[&id]).await.unwrap().get::<_, i64>(0), 1);
    let refused = set("failing").await;
    assert_eq!((refused.status, refused.field()), (422, "status"));
    set("active").await;
    app.superuser
        .execute("UPDATE webhook_deliveries SET next_attempt_at = now()", &[])
        .await
        .unwrap();
    assert_eq!(deliver(&app, &app.state.webhooks, "bank").await, 1);
    // Five days without taking anything.
    sink.answers.lock().unwrap().push_back(500);
    let failing = "UPDATE webhook_endpoints SET failing_since = now() - interval '121 hours'";
    app.superuser.execute(failing, &[]).await.unwrap();
    change(&app, &app.bank, account, 1).await;
    deliver(&app, &app.state.webhooks, "bank").await;
    assert_eq!(app.superuser.query_one(records, &[&id]).await.unwrap().get::<_, i64>(0), 2);
}

#[tokio::test]
async fn what_is_private_malformed_or_not_ones_own_to_read_is_refused_with_its_field() {
    let app = App::start().await;
    let webhooks = service(&app, Guard::PublicOnly, AT_ONCE);
    let context = app.cli("bank").await;
    let long = format!("https://hook.example/{}", "a".repeat(2_048));
    let event_types = vec!["account.updated".to_owned()];
    for url in [
        "http://hook.example/",
        "https://127.0.0.1/",
        "https://[::1]/",
        "https://10.0.0.1/",
        "https://169.254.169.254/latest/",
        "https://[::ffff:192.168.1.1]/",
        "https://localhost/",
        "https://user:secret@hook.example/",
        "https://hook.example/#part",
        "hook.example",
        "",
        long.as_str(),
    ] {
        let new = NewWebhook { url: url.to_owned(), event_types: event_types.clone() };
        let Err(OperationError::Refused(refusal)) = webhooks.create(&context, None, new).await
        else {
            panic!("{url} was taken")
        };
        assert_eq!(
            (refusal.kind.status(), refusal.errors[0].field.as_ref()),
            (422, "url"),
            "{url}"
        );
    }
    let url = "https://hook.example/".to_owned();
    for names in [&[][..], &["account.nothing"], &["account.updated", "webhook.test"]] {
        let event_types = names.iter().map(|&name| name.to_owned()).collect();
        let new = NewWebhook { url: url.clone(), event_types };
        let Err(OperationError::Refused(refusal)) = webhooks.create(&context, None, new).await
        else {
            panic!("{names:?} was taken")
        };
        assert_eq!(refusal.errors[0].field, "event_types", "{names:?}");
    }
    let kept = "SELECT count(*) FROM webhook_endpoints";
    assert_eq!(app.superuser.query_one(kept, &[]).await.unwrap().get::<_, i64>(0), 0);
    let token = app.login_by_factor(&app.bank, "customer").await;
    let wish = json!({ "url": url, "event_types": event_types });
    let denied = app.post("/v1/webhooks").bearer(&token).json(&wish).send().await;
    assert_eq!((denied.status, denied.code()), (403, "permission_denied"));
}

#[tokio::test]
async fn where_events_go_is_said_by_whoever_proved_a_factor_of_late() {
    let app = App::start().await;
    let sink = Sink::start().await;
    let (id, _) = create(&app, &app.bank, &sink.url).await;
    let token = app.login(&app.bank, "super_admin").await;
    let enrolled = "UPDATE users SET mfa_enabled = true WHERE id = $1";
    app.superuser.execute(enrolled, &[&app.bank.users["super_admin"]]).await.unwrap();
    let wish = json!({ "url": sink.url, "event_types": ["account.updated"] });
    let place = format!("/v1/webhooks/{id}");
    let asked = |method: Method, path: &str, body: Value| {
        let ask = app.ask(method, path.to_owned()).header("if-match", "\"1\"");
        ask.bearer(&token).json(&body)
    };
    let before = app.superuser.query("SELECT one::text FROM webhook_endpoints one", &[]).await;
    let before: Vec<String> = before.unwrap().iter().map(|row| row.get(0)).collect();
    for (method, path, body) in [
        (Method::POST, "/v1/webhooks".to_owned(), wish),
        (Method::PATCH, place.clone(), json!({ "status": "disabled" })),
        (Method::POST, format!("{place}/rotate-secret"), json!({})),
        (Method::POST, format!("{place}/replay"), json!({ "from_position": 1 })),
        (Method::DELETE, place.clone(), json!({})),
    ] {
        let unproven = asked(method.clone(), &path, body).send().await;
        let told = (unproven.status, unproven.code());
        assert_eq!(told, (403, "step_up_required"), "{method} {path}: {}", unproven.text);
    }
    let after = app.superuser.query("SELECT one::text FROM webhook_endpoints one", &[]).await;
    let after: Vec<String> = after.unwrap().iter().map(|row| row.get(0)).collect();
    assert_eq!(before, after, "nothing was changed");
}

#[tokio::test]
async fn a_name_that_leads_home_is_never_connected_to() {
    let app = App::start().await;
    let sink = Sink::start().await;
    let (id, _) = create(&app, &app.bank, &sink.url).await;
    // As a name does that led elsewhere when it was stored.
    let port = sink.url.split(':').nth(2).unwrap();
    let home = format!("https://2130706433:{port}");
    let stored = "UPDATE webhook_endpoints SET url = $1";
    app.superuser.execute(stored, &[&home]).await.unwrap();
    change(&app, &app.bank, app.bank.customers[0].accounts[0], 1).await;
    let webhooks = service(&app, Guard::PublicOnly, AT_ONCE);
    assert_eq!(deliver(&app, &webhooks, "bank").await, 0);
    assert!(sink.received().is_empty());
    assert_eq!(deliveries(&app, &app.bank, id).await[0]["last_error"], "address_refused");
}

#[tokio::test]
async fn another_tenants_webhook_is_none_and_hears_of_its_own_alone() {
    let app = App::start().await;
    let rival = app.add_bank("rival").await;
    let (ours, theirs) = (Sink::start().await, Sink::start().await);
    create(&app, &app.bank, &ours.url).await;
    let (id, _) = create(&app, &rival, &theirs.url).await;
    change(&app, &app.bank, app.bank.customers[0].accounts[0], 2).await;
    change(&app, &rival, rival.customers[0].accounts[0], 1).await;
    assert_eq!(deliver(&app, &app.state.webhooks, "bank").await, 2);
    assert!(theirs.received().is_empty());
    assert_eq!(deliver(&app, &app.state.webhooks, "rival").await, 1);
    assert_eq!((ours.received().len(), theirs.received().len()), (2, 1));
    let token = admin(&app, &app.bank).await;
    for path in ["", "/deliveries"] {
        let answer = app.get(format!("/v1/webhooks/{id}{path}")).bearer(&token).send().await;
        assert_eq!(answer.status, 404, "{path}");
    }
    for path in ["rotate-secret", "test", "replay"] {
        let asked = app.post(format!("/v1/webhooks/{id}/{path}")).bearer(&token);
        let body = if path == "replay" { json!({ "from_position": 1 }) } else { json!({}) };
        assert_eq!(asked.json(&body).send().await.status, 404, "{path}");
    }
    let deleted = app.delete(format!("/v1/webhooks/{id}")).bearer(&token).send().await;
    assert_eq!(deleted.status, 404);
    let own = app.delete(format!("/v1/webhooks/{id}")).bearer(&admin(&app, &rival).await);
    assert_eq!(own.send().await.status, 204, "with its deliveries");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn fifty_creations_under_one_key_are_one_and_its_secret_is_shown_once() {
    let app = Arc::new(App::start().await);
    let token = admin(&app, &app.bank).await;
    let wish = json!({ "url": "https://hook.example/", "event_types": ["account.updated"] });
    let mut asked = tokio::task::JoinSet::new();
    for _ in 0..50 {
        let (app, token, wish) = (Arc::clone(&app), token.clone(), wish.clone());
        asked.spawn(async move {
            app.post("/v1/webhooks").bearer(&token).key("one").json(&wish).send().await
        });
    }
    let answers = asked.join_all().await;
    let made: Vec<_> = answers.iter().filter(|answer| answer.status == 201).collect();
    let ids: BTreeSet<&str> = made.iter().map(|one| one.body["id"].as_str().unwrap()).collect();
    assert_eq!(ids.len(), 1);
    let shown = made.iter().filter(|answer| answer.body["secret"].is_string()).count();
    assert_eq!(shown, 1, "{} answered", made.len());
    let again = app.post("/v1/webhooks").bearer(&token).key("one").json(&wish).send().await;
    assert_eq!((again.status, again.header("idempotency-replayed")), (201, "true"));
    assert_eq!(again.body["secret"], Value::Null);
    // Twenty at most, also of fifty at once under keys of their own.
    let mut asked = tokio::task::JoinSet::new();
    for number in 0..50 {
        let (app, token, wish) = (Arc::clone(&app), token.clone(), wish.clone());
        asked.spawn(async move {
            let key = format!("key-{number}");
            app.post("/v1/webhooks").bearer(&token).key(&key).json(&wish).send().await
        });
    }
    let answers = asked.join_all().await;
    assert!(answers.iter().any(|answer| answer.code() == "too_many_webhooks"));
    let kept = "SELECT count(*) FROM webhook_endpoints";
    assert_eq!(app.superuser.query_one(kept, &[]).await.unwrap().get::<_, i64>(0), 20);
}
