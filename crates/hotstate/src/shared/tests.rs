//! The scripts against the windows in memory, in a real Redis under a clock that the test
//! sets; and what one node makes of a store that goes, hangs, lies or comes back.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::{
    net::IpAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use proptest::prelude::*;
use redis::{Commands as _, Connection};
use testkit::RedisServer;
use uuid::Uuid;
use vault::SecretBytes;

use super::{
    Shared, StoreAddress, examine, failure_arguments,
    names::Names,
    scripts::{Script, charge_of, verdict_of, window_arguments},
};
use crate::{
    block::{AddressBlocks, BlockRule, Charge},
    blocks::{Blocked, SourceBlocks},
    limiter::Limiter,
    rate::{Key, Quota, RateWindows, Subject},
};

/// In the place of the store's clock: the last argument.
const GIVEN_CLOCK: &str = "local now_ms = tonumber(table.remove(ARGV))\n";
const TENANT: Uuid = Uuid::from_u128(7);
const START_MS: i64 = 1_700_000_000_000;
/// Long enough for a machine that is busy with other tests.
const PATIENCE: Duration = Duration::from_secs(5);

fn secret() -> SecretBytes {
    SecretBytes::new(vec![9; 32])
}

fn key(number: u128) -> Key {
    let user = Uuid::from_u128(number);
    Key { subject: Subject::User { tenant: TENANT, user }, class: "read" }
}

fn address(last: u8) -> IpAddr {
    [192, 0, 2, last].into()
}

fn connection(redis: &RedisServer) -> Connection {
    redis::Client::open(redis.url()).unwrap().get_connection().unwrap()
}

/// Seconds since 1970, as the store has them.
fn store_s(redis: &RedisServer) -> i64 {
    let time: (i64, i64) = redis::cmd("TIME").query(&mut connection(redis)).unwrap();
    time.0
}

async fn shared(redis: &RedisServer, patience: Duration) -> Shared {
    let address = StoreAddress::parse(&redis.url(), None).unwrap();
    Shared::open(address, secret(), patience).await.unwrap()
}

async fn until(what: &str, holds: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !holds() {
        assert!(Instant::now() < deadline, "{what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Runs a script at an instant.
fn at(
    store: &mut Connection,
    script: Script,
    names: &[String],
    arguments: &[i64],
    now_ms: i64,
) -> Vec<i64> {
    let mut command = redis::cmd("EVAL");
    command.arg(script.with_clock(GIVEN_CLOCK)).arg(names.len()).arg(names);
    command.arg(arguments).arg(now_ms);
    command.query(store).unwrap()
}

#[test]
fn scripts_decide_as_memory_does() {
    let redis = RedisServer::start();
    let names = Names::new(secret());
    // limits, periods, then steps of the clock (back as well) and of whom they are.
    let steps = proptest::collection::vec((-200_i64..20_000, 0_u128..3), 1..80);
    let cases = ProptestConfig { cases: 120, failure_persistence: None, ..Default::default() };
    proptest!(cases, |(limits in (0_u32..6, 0_u32..12), periods in (10_u32..90, 60_u32..400), steps in steps)| {
        let mut store = connection(&redis);
        let _: () = redis::cmd("FLUSHALL").query(&mut store).unwrap();
        let windows = RateWindows::default();
        let mut now_ms = START_MS;
        for (step_ms, who) in steps {
            now_ms += step_ms;
            // Two windows of one subject; a third subject shares the second window.
            let pair = [
                (key(who), Quota { limit: limits.0, period_s: periods.0 }),
                (key(100 + who / 2), Quota { limit: limits.1, period_s: periods.1 }),
            ];
            let called = pair.map(|(key, quota)| names.window(&key, quota));
            let answer = at(&mut store, Script::Windows, &called, &window_arguments(&pair), now_ms);
            let read = verdict_of(&answer, &pair);
            prop_assert_eq!(read, Some((0, windows.hit(&pair, now_ms))), "{:?}", answer);
        }
    });
}

#[test]
fn failures_are_charged_as_in_memory() {
    let redis = RedisServer::start();
    let name = [Names::new(secret()).source(TENANT, address(1))];
    let steps = proptest::collection::vec((0_i64..40, 0_usize..4), 1..60);
    let cases = ProptestConfig { cases: 120, failure_persistence: None, ..Default::default() };
    proptest!(cases, |(threshold in 1_u32..6, window_s in 30_i64..90, duration_s in 30_i64..200, steps in steps)| {
        let mut store = connection(&redis);
        let _: () = redis::cmd("FLUSHALL").query(&mut store).unwrap();
        let rule = BlockRule { threshold, window_s, duration_s };
        let blocks = AddressBlocks::default();
        let (mut now_s, mut charged) = (START_MS / 1_000, Vec::new());
        for (step_s, what) in steps {
            now_s += step_s;
            let mut arguments = failure_arguments(&rule);
            // Mostly charges; a success gives the newest back.
            let given_back = if what == 0 { charged.pop() } else { None };
            if let Some(at_s) = given_back {
                arguments.push(at_s);
                at(&mut store, Script::GiveBack, &name, &arguments, now_s * 1_000);
                blocks.give_back(TENANT, address(1), at_s, &rule);
                continue;
            }
            arguments.push(0);
            let answer = at(&mut store, Script::Charge, &name, &arguments, now_s * 1_000 + 999);
            let expected = blocks.charge(TENANT, address(1), now_s, &rule);
            if expected == Charge::Charged {
                charged.push(now_s);
            }
            prop_assert_eq!(charge_of(&answer, &rule), Some((0, (expected, now_s))));
        }
    });
}

#[test]
fn what_was_forged_is_thrown_away_and_counted() {
    let redis = RedisServer::start();
    let mut store = connection(&redis);
    let names = Names::new(secret());
    let window = [(key(1), Quota { limit: 2, period_s: 60 })];
    let name = [names.window(&window[0].0, window[0].1)];
    let arguments = window_arguments(&window);
    let packed = |slots: &str| format!("return redis.call('SET', KEYS[1], cmsgpack.pack({slots}))");
    let lies = [
        "{}",
        "{1}",
        "'text'",
        "7",
        "{{1, 1}}",
        "{1700000000000, 0}",
        "{1700000000000, -5}",
        "{1700000000000, 1.5}",
        "{'1700000000000', 1}",
        "{1700000000000, 1, 1600000000000, 1}",
        "{1700009999999, 1}",
        "{0/0, 1}",
        "{1/0, 1}",
        "{1700000000000, 2^40}",
    ];
    for lie in lies {
        let _: () =
            redis::cmd("EVAL").arg(packed(lie)).arg(1).arg(&name).query(&mut store).unwrap();
        let said = at(&mut store, Script::Windows, &name, &arguments, START_MS);
        assert_eq!(said, [1, 0, 1, 60_000], "{lie}");
        let said = at(&mut store, Script::Windows, &name, &arguments, START_MS);
        assert_eq!(said, [0, 0, 0, 60_000], "after {lie}");
        let left_ms: i64 = store.pttl(&name[0]).unwrap();
        assert!((1..=60_000).contains(&left_ms), "{lie}: {left_ms}");
    }
    // Neither text nor of our size; another type altogether.
    for make in [
        "return redis.call('SET', KEYS[1], string.rep('x', 4096))",
        "redis.call('DEL', KEYS[1]) return redis.call('LPUSH', KEYS[1], 'x')",
    ] {
        let _: Result<(), _> = redis::cmd("EVAL").arg(make).arg(1).arg(&name).query(&mut store);
        assert_eq!(at(&mut store, Script::Windows, &name, &arguments, START_MS)[0], 1, "{make}");
    }
    // A block that somebody took away, or dated beyond any rule, comes back from who knows it.
    let rule = BlockRule { threshold: 3, window_s: 60, duration_s: 600 };
    let source = [names.source(TENANT, address(1))];
    let now_s = START_MS / 1_000;
    let mut known = failure_arguments(&rule);
    known.extend([now_s + 300, now_s - 300]);
    for lie in ["{}", "{-1}", "{1700009999, 1}", "{0, 'x'}"] {
        let _: () =
            redis::cmd("EVAL").arg(packed(lie)).arg(1).arg(&source).query(&mut store).unwrap();
        let said = at(&mut store, Script::Charge, &source, &known, START_MS);
        assert_eq!(said, [1, 300, now_s], "{lie}");
    }
}

#[test]
fn the_store_holds_little_and_not_for_long() {
    let redis = RedisServer::start();
    let mut store = connection(&redis);
    let names = Names::new(secret());
    let quota = Quota { limit: 1_000_000, period_s: 3_600 };
    let window = [(key(1), quota)];
    let name = [names.window(&key(1), quota)];
    for minute in 0..200 {
        at(
            &mut store,
            Script::Windows,
            &name,
            &window_arguments(&window),
            START_MS + minute * 60_000,
        );
    }
    let bytes: usize = store.strlen(&name[0]).unwrap();
    assert!(bytes <= 1_024, "{bytes}");
    let rule = BlockRule { threshold: 20, window_s: 60, duration_s: 600 };
    let source = [names.source(TENANT, address(1))];
    let mut arguments = failure_arguments(&rule);
    arguments.push(0);
    at(&mut store, Script::Charge, &source, &arguments, START_MS);
    let (window_s, source_s): (i64, i64) =
        (store.ttl(&name[0]).unwrap(), store.ttl(&source[0]).unwrap());
    assert!(
        (3_590..=3_600).contains(&window_s) && (590..=600).contains(&source_s),
        "{window_s} {source_s}"
    );
    let found: Vec<String> = redis::cmd("SCAN")
        .arg(0)
        .arg("COUNT")
        .arg(1_000)
        .query::<(String, Vec<String>)>(&mut store)
        .unwrap()
        .1;
    assert_eq!(found.len(), 2, "{found:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_admit_the_quota_together_and_no_more() {
    let redis = RedisServer::start();
    let mut nodes = Vec::new();
    for _ in 0..2 {
        let limiter = Limiter::default();
        limiter.share(shared(&redis, PATIENCE).await);
        nodes.push(Arc::new(limiter));
    }
    let pair = [
        (key(1), Quota { limit: 50, period_s: 60 }),
        (key(2), Quota { limit: 1_000, period_s: 3_600 }),
    ];
    let tasks: Vec<_> = (0..200)
        .map(|turn| {
            let node = Arc::clone(&nodes[turn % 2]);
            tokio::spawn(async move { node.hit(&pair, START_MS).await.allowed() })
        })
        .collect();
    let mut admitted = 0;
    for task in tasks {
        admitted += usize::from(task.await.unwrap());
    }
    assert_eq!(admitted, 50);
    let verdict = nodes[0].hit(&[pair[1]], START_MS).await;
    assert_eq!(verdict.left[0].remaining, 1_000 - 51, "what was refused counts nowhere");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_is_emptied_or_gone_opens_nothing() {
    let mut redis = RedisServer::start();
    let (here, there) = (Limiter::default(), Limiter::default());
    let store = shared(&redis, PATIENCE).await;
    here.share(store.clone());
    there.share(shared(&redis, PATIENCE).await);
    let window = [(key(1), Quota { limit: 4, period_s: 3_600 })];
    for _ in 0..4 {
        assert!(here.hit(&window, START_MS).await.allowed());
    }
    assert!(!there.hit(&window, START_MS).await.allowed());
    let _: () = redis::cmd("FLUSHALL").query(&mut connection(&redis)).unwrap();
    assert!(!here.hit(&window, START_MS).await.allowed(), "this node remembers");
    redis.kill();
    assert!(!here.hit(&window, START_MS).await.allowed());
    until("noticed", || !store.is_up()).await;
    // What it admitted with the store counts without it.
    let other = [(key(2), Quota { limit: 2, period_s: 3_600 })];
    assert!(here.hit(&other, START_MS).await.allowed());
    redis.start_again();
    until("back", || store.is_up()).await;
    assert!(here.hit(&other, START_MS).await.allowed());
    assert!(!here.hit(&other, START_MS).await.allowed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_hangs_costs_one_wait() {
    let redis = RedisServer::start();
    let patience = Duration::from_millis(100);
    let store = shared(&redis, patience).await;
    let limiter = Limiter::default();
    limiter.share(store.clone());
    let window = [(key(1), Quota { limit: 1_000, period_s: 60 })];
    // A busy machine may have lost it once already.
    until("up", || store.is_up()).await;
    redis.pause();
    let begun = Instant::now();
    for _ in 0..100 {
        assert!(limiter.hit(&window, START_MS).await.allowed());
    }
    let took = begun.elapsed();
    assert!(took < patience * 8, "a hundred requests waited {took:?} together");
    assert!(!store.is_up());
    redis.resume();
    until("back", || store.is_up()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn blocks_are_everybodys_at_once_and_outlive_the_store() {
    let mut redis = RedisServer::start();
    let (here, there) = (SourceBlocks::default(), SourceBlocks::default());
    let store = shared(&redis, PATIENCE).await;
    here.share(store.clone());
    let other_store = shared(&redis, PATIENCE).await;
    there.share(other_store.clone());
    let rule = BlockRule { threshold: 3, window_s: 600, duration_s: 600 };
    let now_s = store_s(&redis);
    let mut charged = Vec::new();
    for node in [&here, &there, &here] {
        charged.push(node.charge(TENANT, address(1), now_s, &rule).await.unwrap());
    }
    for node in [&here, &there] {
        let refused = node.charge(TENANT, address(1), now_s, &rule).await;
        assert!(matches!(refused, Err(Blocked { retry_after_s: 590..=600 })), "{refused:?}");
    }
    assert!(there.charge(TENANT, address(2), now_s, &rule).await.is_ok(), "others are not");
    // A success gives its charge back, and with it the block, on every node.
    here.give_back(TENANT, address(1), charged[2], &rule).await;
    let again = there.charge(TENANT, address(1), now_s, &rule).await.unwrap();
    assert!(here.charge(TENANT, address(1), now_s, &rule).await.is_err());
    assert!(there.charge(TENANT, address(1), now_s, &rule).await.is_err());
    redis.kill();
    until("noticed", || !store.is_up() && !other_store.is_up()).await;
    assert!(here.charge(TENANT, address(1), now_s, &rule).await.is_err(), "it was told");
    assert!(there.charge(TENANT, address(1), now_s, &rule).await.is_err());
    there.give_back(TENANT, address(1), again, &rule).await;
    redis.start_again();
    until("back", || store.is_up() && other_store.is_up()).await;
    // Empty, and told by the first that asks.
    assert!(there.charge(TENANT, address(1), now_s, &rule).await.is_err());
    assert!(here.charge(TENANT, address(1), now_s, &rule).await.is_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_was_emptied_is_told_of_the_block() {
    let redis = RedisServer::start();
    let (here, there) = (SourceBlocks::default(), SourceBlocks::default());
    here.share(shared(&redis, PATIENCE).await);
    there.share(shared(&redis, PATIENCE).await);
    let rule = BlockRule { threshold: 3, window_s: 3_600, duration_s: 3_600 };
    // Earlier failures, as the database remembers them; by the real clock, as the store's is.
    let now_s = store_s(&redis);
    here.remember(TENANT, address(1), vec![now_s - 9, now_s - 8], &rule);
    assert!(here.charge(TENANT, address(1), now_s, &rule).await.is_ok());
    let refused = there.charge(TENANT, address(1), now_s, &rule).await;
    assert!(matches!(refused, Err(Blocked { .. })), "{refused:?}");
}

#[tokio::test]
async fn nothing_is_shared_without_rights_or_with_an_impostor() {
    // No rights: it answers, and refuses the scripts.
    let redis = RedisServer::start_with(&["--requirepass", "hush-hush"]);
    let wrong = StoreAddress::parse(&redis.url(), Some("wrong")).unwrap();
    let store = Shared::open(wrong.clone(), secret(), PATIENCE).await.unwrap();
    assert!(!store.is_up());
    let said = examine(&wrong, secret()).await.unwrap_err().to_string();
    assert!(!said.contains("hush") && !said.contains("wrong:"), "{said}");
    let right = StoreAddress::parse(&redis.url(), Some("hush-hush")).unwrap();
    assert!(Shared::open(right.clone(), secret(), PATIENCE).await.unwrap().is_up());
    let health = examine(&right, secret()).await.unwrap();
    assert!(!health.is_bounded && !health.evicts, "{health:?}");

    // An impostor: says PONG, OK and nonsense to everything.
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("impostor.sock");
    let listener = tokio::net::UnixListener::bind(&socket).unwrap();
    tokio::spawn(async move {
        use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut bytes = vec![0; 65_536];
                while let Ok(1..) = stream.read(&mut bytes).await {
                    let _ = stream.write_all(b"+OK\r\n+OK\r\n*1\r\n:-7\r\n").await;
                }
            });
        }
    });
    let url = format!("unix://{}", socket.display());
    let address = StoreAddress::parse(&url, None).unwrap();
    let store = Shared::open(address, secret(), Duration::from_millis(200)).await.unwrap();
    let limiter = Limiter::default();
    limiter.share(store);
    let window = [(key(1), Quota { limit: 2, period_s: 60 })];
    let mut verdicts = Vec::new();
    for _ in 0..4 {
        verdicts.push(limiter.hit(&window, START_MS).await.allowed());
    }
    assert_eq!(verdicts, [true, true, false, false]);
}
