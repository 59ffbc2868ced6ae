//! What is published of changes: as many events as changes, at the versions that the objects
//! came to, numbered without a gap and in the order of each object's versions.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::{collections::BTreeMap, sync::Arc};

use banking::{
    AccountChange, AccountStatus, CloseAccount, CustomerChange, CustomerStatus, UpdateAccount,
    UpdateCustomer,
};
use events::{Relay, Relayed};
use jiff::SignedDuration;
use serde_json::Value;
use tenancy::OpContext;
use testkit::connect;
use tokio_postgres::error::SqlState;
use uuid::Uuid;

use crate::{
    bank_world::{BankWorld, deposit, open, transfer},
    harness::App,
};

/// An event as it was published.
#[derive(Clone, Debug, PartialEq)]
struct Published {
    position: i64,
    name: String,
    object: Uuid,
    sequence: i64,
}

fn relay(world: &BankWorld) -> Relay {
    Relay::new(open(&world.database, "strongroom_sealer"), world.clock.clone())
}

fn app_relay(app: &App) -> Relay {
    Relay::new(open(&app.database, "strongroom_sealer"), app.clock.clone())
}

/// The log of one tenant, behind a relay that had nothing left to do.
async fn published(world: &BankWorld, tenant: &OpContext) -> Vec<Published> {
    relay(world).drain().await.unwrap();
    let sql = format!(
        "SELECT position, event_type, object_id, sequence FROM events WHERE tenant_id = '{}' ORDER BY position",
        tenant.tenant_id()
    );
    let rows = world.rows(&sql).await;
    let of = |row: &tokio_postgres::Row| Published {
        position: row.get(0),
        name: row.get(1),
        object: row.get(2),
        sequence: row.get(3),
    };
    rows.iter().map(of).collect()
}

/// The events of an object, in the order of the log.
fn told_of(events: &[Published], object: Uuid) -> Vec<(&str, i64)> {
    let of_it = events.iter().filter(|event| event.object == object);
    of_it.map(|event| (event.name.as_str(), event.sequence)).collect()
}

fn assert_contiguous(events: &[Published]) {
    let first = events.first().map_or(1, |event| event.position);
    for (expected, event) in (first..).zip(events) {
        assert_eq!(event.position, expected, "{events:?}");
    }
}

fn freeze(account_id: Uuid, status: AccountStatus) -> UpdateAccount {
    let change = AccountChange { status: Some(status), ..AccountChange::default() };
    UpdateAccount { account_id, expected_version: None, change }
}

#[tokio::test]
async fn each_change_is_one_event_at_the_version_it_led_to() {
    let world = BankWorld::new().await;
    let tenant = world.tenant("north-bank").await;
    let (jana, customer) = world.banking_customer(&tenant).await;
    let change =
        CustomerChange { status: Some(CustomerStatus::Active), ..CustomerChange::default() };
    let update = UpdateCustomer {
        keyring: Arc::clone(&world.keyring),
        customer_id: customer.id,
        expected_version: None,
        change,
    };
    let updated = world.run(&tenant, update).await.unwrap();
    let from = world.account(&tenant, customer.id, 0).await;
    let to = world.account(&tenant, customer.id, 0).await;
    let paid_in = world.run(&tenant, deposit(from.id, 100)).await.unwrap();
    let paid = world.run(&jana, transfer(from.id, to.id, 30)).await.unwrap();
    let frozen = world.run(&tenant, freeze(from.id, AccountStatus::Frozen)).await.unwrap();
    let thawed = world.run(&tenant, freeze(from.id, AccountStatus::Active)).await.unwrap();
    world.run(&jana, transfer(to.id, from.id, 30)).await.unwrap();
    let close = CloseAccount { account_id: to.id, expected_version: None };
    let closed = world.run(&tenant, close).await.unwrap();

    let events = published(&world, &tenant).await;
    assert_contiguous(&events);
    assert_eq!(events[0].position, 1);
    assert_eq!(
        told_of(&events, customer.id),
        [("customer.created", customer.version), ("customer.updated", updated.version)]
    );
    assert_eq!(
        told_of(&events, from.id),
        [
            ("account.opened", from.version),
            ("account.updated", frozen.version),
            ("account.updated", thawed.version),
        ]
    );
    assert_eq!(
        told_of(&events, to.id),
        [("account.opened", to.version), ("account.closed", closed.version)]
    );
    for posted in [paid_in.id, paid.id] {
        assert_eq!(told_of(&events, posted), [("transfer.posted", 1)]);
    }
    // Each is the shadow of a record of its own, which tells what changed.
    let shadows = "SELECT count(*) FROM events JOIN audit_log USING (tenant_id, event_id) \
        WHERE object_id = resource_id AND object_type = resource_type AND result = 'success'";
    assert_eq!(world.rows(shadows).await[0].get::<_, i64>(0), i64::try_from(events.len()).unwrap());
    assert_eq!(relay(&world).relay_once().await.unwrap(), Relayed::Moved(0));
}

#[tokio::test]
async fn what_is_refused_or_replayed_publishes_nothing() {
    let world = BankWorld::new().await;
    let tenant = world.tenant("north-bank").await;
    let (jana, customer) = world.banking_customer(&tenant).await;
    let from = world.account(&tenant, customer.id, 100).await;
    let to = world.account(&tenant, customer.id, 0).await;
    let before = published(&world, &tenant).await.len();
    let waiting = "SELECT count(*) FROM event_outbox";
    // A rule, and what one may not see.
    world.run(&jana, transfer(from.id, to.id, 101)).await.unwrap_err();
    world.run(&jana, transfer(Uuid::from_u128(5), to.id, 1)).await.unwrap_err();
    let stale =
        UpdateAccount { expected_version: Some(9), ..freeze(from.id, AccountStatus::Frozen) };
    world.run(&tenant, stale).await.unwrap_err();
    assert_eq!(world.rows(waiting).await[0].get::<_, i64>(0), 0);
    // A replay, and a refused replay.
    let keyed = || transfer(from.id, to.id, 10);
    let first = world.run_keyed(&jana, Some("key-one"), keyed()).await.unwrap();
    let again = world.run_keyed(&jana, Some("key-one"), keyed()).await.unwrap();
    assert!(again.replayed && !first.replayed);
    let events = published(&world, &tenant).await;
    assert_eq!(events.len(), before + 1);
    assert_eq!(told_of(&events, first.output.id), [("transfer.posted", 1)]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn fifty_changes_at_once_of_one_account_come_in_order_without_a_gap() {
    let world = Arc::new(BankWorld::new().await);
    let tenant = world.tenant("north-bank").await;
    let (_, customer) = world.banking_customer(&tenant).await;
    let account = world.account(&tenant, customer.id, 0).await;
    let relays = tokio_util::sync::CancellationToken::new();
    let mut running = tokio::task::JoinSet::new();
    for _ in 0..2 {
        let (relay, stop) = (relay(&world).with_bounds(3, 5), relays.clone());
        running.spawn(async move { relay.run(stop).await });
    }
    let mut changes = tokio::task::JoinSet::new();
    for number in 0..50_i64 {
        let (world, tenant) = (Arc::clone(&world), tenant.clone());
        // Clocks go apart: later versions carry earlier instants.
        world.clock.advance(SignedDuration::from_millis(1));
        changes.spawn(async move {
            let change =
                AccountChange { overdraft_limit: Some(number + 1), ..AccountChange::default() };
            let update = UpdateAccount { account_id: account.id, expected_version: None, change };
            world.run(&tenant, update).await.unwrap().version
        });
    }
    let mut versions = Vec::new();
    while let Some(version) = changes.join_next().await {
        versions.push(version.unwrap());
    }
    relays.cancel();
    while running.join_next().await.transpose().unwrap().is_some() {}
    versions.sort_unstable();
    let events = published(&world, &tenant).await;
    assert_contiguous(&events);
    let told: Vec<_> =
        told_of(&events, account.id).into_iter().skip(1).map(|(_, sequence)| sequence).collect();
    assert_eq!(told, versions);
    assert_eq!(versions.len(), 50);
    let steps: Vec<_> = (account.version + 1..).take(50).collect();
    assert_eq!(versions, steps);
}

#[tokio::test]
async fn an_earlier_version_goes_out_first_whatever_its_instant() {
    let world = BankWorld::new().await;
    let tenant = world.tenant("north-bank").await.tenant_id();
    let object = Uuid::from_u128(7);
    // The later version was begun first, and the bounds let one event go at a time.
    for (event, sequence) in [(3_u128, 4_i64), (2, 5), (1, 6)] {
        let sql = "INSERT INTO event_outbox VALUES ($1, $2, 'account.updated', 'account', $3, $4)";
        world.run_sql(sql, &[&tenant, &Uuid::from_u128(event), &object, &sequence]).await;
    }
    let relay = relay(&world).with_bounds(1, 1);
    assert_eq!(relay.relay_once().await.unwrap(), Relayed::Moved(3));
    let rows = world.rows("SELECT position, sequence FROM events ORDER BY position").await;
    let order: Vec<(i64, i64)> = rows.iter().map(|row| (row.get(0), row.get(1))).collect();
    assert_eq!(order, [(1, 4), (2, 5), (3, 6)]);
}

#[tokio::test]
async fn one_tenants_flood_keeps_no_other_waiting() {
    let world = BankWorld::new().await;
    let (flooding, quiet) =
        (world.tenant("flooding").await.tenant_id(), world.tenant("quiet").await.tenant_id());
    let flood = "INSERT INTO event_outbox SELECT $1, md5('e' || n)::uuid, 'account.opened', 'account', \
        md5('o' || n)::uuid, 1 FROM generate_series(1, 500) n";
    world.run_sql(flood, &[&flooding]).await;
    let one = "INSERT INTO event_outbox VALUES ($1, 'ffffffff-ffff-7fff-8fff-ffffffffffff', \
        'account.opened', 'account', $2, 1)";
    world.run_sql(one, &[&quiet, &Uuid::from_u128(9)]).await;
    let relay = relay(&world).with_bounds(20, 10);
    assert_eq!(relay.relay_once().await.unwrap(), Relayed::Moved(10));
    let counts = "SELECT tenant_id, count(*) FROM events GROUP BY 1";
    let counts: BTreeMap<Uuid, i64> =
        world.rows(counts).await.iter().map(|row| (row.get(0), row.get(1))).collect();
    assert_eq!(counts, BTreeMap::from([(flooding, 9), (quiet, 1)]));
}

#[tokio::test]
async fn what_was_published_already_is_not_published_again_and_stops_nobody() {
    let world = BankWorld::new().await;
    let tenant = world.tenant("north-bank").await;
    let (_, customer) = world.banking_customer(&tenant).await;
    published(&world, &tenant).await;
    let twice = "INSERT INTO event_outbox VALUES ($1, $2, 'customer.created', 'customer', $3, $4)";
    let (id, event) = (tenant.tenant_id(), Uuid::from_u128(1));
    world.run_sql(twice, &[&id, &event, &customer.id, &customer.version]).await;
    let account = world.account(&tenant, customer.id, 0).await;
    let events = published(&world, &tenant).await;
    assert_eq!(told_of(&events, customer.id).len(), 1);
    assert_eq!(told_of(&events, account.id), [("account.opened", account.version)]);
    // It stays, so that the age of the outbox tells of it.
    let left = world.rows("SELECT event_id FROM event_outbox").await;
    assert_eq!(left.iter().map(|row| row.get(0)).collect::<Vec<Uuid>>(), [event]);
}

#[tokio::test]
async fn old_events_are_forgotten_from_the_oldest_on_and_never_the_last() {
    let world = BankWorld::new().await;
    let tenant = world.tenant("north-bank").await;
    let other = world.tenant("south-bank").await;
    let (_, customer) = world.banking_customer(&tenant).await;
    world.customer(&other, None).await;
    let last = published(&world, &tenant).await.last().unwrap().clone();
    // In the middle one was published by a clock that was ahead.
    for _ in 0..4 {
        world.account(&tenant, customer.id, 0).await;
    }
    let all = published(&world, &tenant).await;
    assert_eq!(all.len(), 5);
    let ahead = "UPDATE events SET published_at = published_at + interval '60 days' \
        WHERE tenant_id = $1 AND position = 4";
    world.run_sql(ahead, &[&tenant.tenant_id()]).await;
    let forget = async || events::forget_old(&world.app, &tenant).await.unwrap();
    assert_eq!(forget().await, 0, "none is 30 days old");
    world.clock.advance(SignedDuration::from_hours(24 * 31));
    assert_eq!(forget().await, 3, "up to the first that is young");
    world.clock.advance(SignedDuration::from_hours(24 * 90));
    assert_eq!((forget().await, forget().await), (1, 0), "never the last");
    assert_eq!(published(&world, &other).await.len(), 1, "nobody else's");
    // Positions go on where they were.
    world.account(&tenant, customer.id, 0).await;
    let positions: Vec<_> =
        published(&world, &tenant).await.iter().map(|event| event.position).collect();
    assert_eq!(positions, [5, 6]);
    assert_eq!(last.position, 1);
}

#[tokio::test]
async fn tenants_see_their_own_events_and_nobody_writes_the_log_but_the_relay() {
    let world = BankWorld::new().await;
    let tenant = world.tenant("north-bank").await;
    let other = world.tenant("south-bank").await;
    world.customer(&tenant, None).await;
    published(&world, &tenant).await;
    let app = connect(&world.database.url_as("strongroom_app")).await;
    for (whose, seen) in [(&tenant, 1_i64), (&other, 0)] {
        let as_tenant = format!("SET app.current_tenant = '{}'", whose.tenant_id());
        app.batch_execute(&as_tenant).await.unwrap();
        let row = app.query_one("SELECT count(*) FROM events", &[]).await.unwrap();
        assert_eq!(row.get::<_, i64>(0), seen);
    }
    for forged in [
        "INSERT INTO events SELECT tenant_id, 9, gen_random_uuid(), '', '', gen_random_uuid(), 1, now() FROM events",
        "UPDATE events SET sequence = 9",
        "DELETE FROM event_outbox",
        "UPDATE event_outbox SET sequence = 9",
    ] {
        let error = app.execute(forged, &[]).await.expect_err(forged);
        assert_eq!(error.code(), Some(&SqlState::INSUFFICIENT_PRIVILEGE), "{forged}");
    }
}

/// Everything that the reader may hear, page by page, and how many pages it took.
async fn heard(app: &App, token: &str, filter: &str) -> (Vec<Value>, usize) {
    let (mut after, mut all, mut pages) = (0, Vec::new(), 0);
    loop {
        let path = format!("/v1/events?after={after}&{filter}");
        let page = app.get(path.as_str()).bearer(token).send().await;
        assert_eq!(page.status, 200, "{path}: {}", page.body);
        all.extend(page.body["data"].as_array().unwrap().clone());
        pages += 1;
        after = page.body["next_after"].as_i64().unwrap();
        if page.body["has_more"] == false {
            return (all, pages);
        }
    }
}

#[tokio::test]
async fn the_feed_is_read_on_from_a_position_and_filtered() {
    let app = App::start().await;
    let token = app.login(&app.bank, "admin").await;
    app_relay(&app).drain().await.unwrap();
    let account = app.bank.customers[0].accounts[0];
    let read = app.get(format!("/v1/accounts/{account}")).bearer(&token).send().await;
    let (all, _) = heard(&app, &token, "limit=200").await;
    let positions: Vec<_> = all.iter().map(|event| event["position"].as_i64().unwrap()).collect();
    assert!(positions.is_sorted() && positions.len() > 5, "{positions:?}");
    let (one_by_one, pages) = heard(&app, &token, "limit=1").await;
    assert_eq!(one_by_one, all);
    assert!(pages >= all.len());
    let (opened, _) =
        heard(&app, &token, &format!("object_id={account}&type=account.opened")).await;
    assert_eq!(opened.len(), 1);
    assert_eq!(opened[0]["sequence"], read.body["version"]);
    assert_eq!(opened[0]["data"]["currency"], "EUR");
    let (customers, _) = heard(&app, &token, "object_type=customer").await;
    assert!(!customers.is_empty());
    for event in customers {
        assert_eq!(event["object_type"], "customer");
        assert!(!event["data"].to_string().contains("last_name"), "{event}");
    }
    // Whoever was away for too long is told so; who begins anew is not.
    let forget = "DELETE FROM events WHERE position < 3";
    app.superuser.execute(forget, &[]).await.unwrap();
    let away = app.get("/v1/events?after=1").bearer(&token).send().await;
    assert_eq!((away.status, away.code()), (422, "position_forgotten"), "{}", away.text);
    let (left, _) = heard(&app, &token, "limit=200").await;
    assert_eq!(left[0]["position"], 3);
    assert!(app.get("/v1/events?after=2").bearer(&token).send().await.is_success());
    for (path, field, status) in [
        ("/v1/events?after=999999", "after", 422),
        ("/v1/events?after=-1", "after", 400),
        ("/v1/events?limit=0", "limit", 400),
        ("/v1/events?type=account.eaten", "type", 400),
        ("/v1/events?object_type=session", "object_type", 400),
    ] {
        let refused = app.get(path).bearer(&token).send().await;
        assert_eq!(refused.status, status, "{path}: {}", refused.body);
        assert_eq!(refused.field(), field, "{path}");
    }
}

#[tokio::test]
async fn nobody_hears_of_a_kind_of_which_they_may_not_read_everything() {
    let app = App::start().await;
    app_relay(&app).drain().await.unwrap();
    let customer = app.login(&app.bank, "customer").await;
    for path in ["/v1/events", "/v1/events?object_type=account"] {
        let refused = app.get(path).bearer(&customer).send().await;
        assert_eq!((refused.status, refused.code()), (403, "permission_denied"), "{path}");
    }
    // What policy gives each role on everything is what it hears of, and no other tenant's.
    for role in app.bank.users.keys().filter(|name| *name != "second") {
        let token = app.login(&app.bank, role).await;
        for (kind, list) in [("user", "/v1/users"), ("api_key", "/v1/api-keys")] {
            let may_list = app.get(list).bearer(&token).send().await.is_success();
            let path = format!("/v1/events?object_type={kind}");
            let hears = app.get(path.as_str()).bearer(&token).send().await;
            if hears.is_success() {
                assert!(may_list, "{role} {kind}");
            } else {
                assert_eq!(hears.status, 403, "{role} {kind}");
            }
        }
    }
    let rival = app.add_bank("rival").await;
    let theirs = app.login(&rival, "admin").await;
    app_relay(&app).drain().await.unwrap();
    let (all, _) = heard(&app, &theirs, "limit=200").await;
    let ours = app.bank.customers[0].accounts[0].to_string();
    assert!(all.iter().all(|event| event["object_id"] != ours.as_str()));
    assert_eq!(all[0]["position"], 1);
}
