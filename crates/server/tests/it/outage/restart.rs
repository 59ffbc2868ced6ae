//! PostgreSQL restarted, and made read-only, under a server that stays.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use cluster::Ending;
use tokio_util::sync::CancellationToken;

use super::{Plant, assert_unavailable, id_of, posted, read, transfer, until_answered};
use crate::crash::bank::sign_in_request;
use crate::crash::client::{Client, Missing, Request};
use crate::crash::load::{Outcome, Worker};
use crate::crash::plan::Dice;

/// While PostgreSQL is down each answer is a refused connection away.
const ANSWER_LIMIT: Duration = Duration::from_secs(6);
const RECOVERY_LIMIT: Duration = Duration::from_secs(10);

/// Asks the same until told to stop: only 200 and 503 may come, and no connection to
/// the server may break. Counts the good ones as they come; gives how often 503 came,
/// and what was wrong.
async fn probe(
    port: u16,
    request: Request,
    good: Arc<AtomicUsize>,
    stop: CancellationToken,
) -> (usize, Vec<String>) {
    let mut client = Client::new(port);
    let (mut unavailable, mut faults) = (0, Vec::new());
    while !stop.is_cancelled() {
        match client.send(&request).await {
            Ok(answer) if answer.took > ANSWER_LIMIT => faults.push(format!("slow: {answer:?}")),
            Ok(answer) if answer.status == 200 => _ = good.fetch_add(1, Ordering::Relaxed),
            Ok(answer) => {
                unavailable += 1;
                faults.extend(answer.faults_of_unavailable());
            }
            Err(Missing::Hung) => faults.push("no answer in time".to_owned()),
            Err(Missing::Broken(why)) => faults.push(format!("the connection broke: {why}")),
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    (unavailable, faults.into_iter().map(|fault| format!("{}: {fault}", request.path)).collect())
}

/// Until each of the probes has had a good answer more than now.
async fn all_answered(good: &[Arc<AtomicUsize>], what: &str) {
    let counts = || good.iter().map(|one| one.load(Ordering::Relaxed));
    let before: Vec<usize> = counts().collect();
    let deadline = Instant::now() + RECOVERY_LIMIT;
    while counts().zip(&before).any(|(now, before)| now == *before) {
        assert!(
            Instant::now() < deadline,
            "{what}: {before:?}, then {:?}",
            counts().collect::<Vec<_>>()
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_restart_under_load_is_a_pause_for_writes_reads_and_sign_ins() {
    let mut plant = Plant::open(&[("LOG_LEVEL", "warn")]).await;
    let port = plant.server.port;
    // Both against one server: an outage leaves nothing behind that the next one meets,
    // such as sign-ins that were counted as failures of their address.
    for (number, ending) in [Ending::Fast, Ending::Immediate].into_iter().enumerate() {
        let stop = CancellationToken::new();
        let workers: Vec<_> = (0..4)
            .map(|client| {
                let dice = Dice::of(17, &[number as u64, client as u64]);
                let round = (number as u64, 4 * client);
                let worker = Worker::new(&plant.bank, round, &plant.token, (port, false), dice);
                tokio::spawn(worker.work(stop.clone()))
            })
            .collect();
        let asked = [
            read(&plant.bank, &plant.token),
            Request::get("/v1/auth/me", Some(&plant.token)),
            sign_in_request(plant.bank.customers[1].username),
        ];
        let good: [Arc<AtomicUsize>; 3] = Default::default();
        let probes: Vec<_> = asked
            .into_iter()
            .zip(&good)
            .map(|(request, good)| {
                tokio::spawn(probe(port, request, Arc::clone(good), stop.clone()))
            })
            .collect();
        all_answered(&good, &format!("before {ending:?}")).await;
        tokio::time::sleep(Duration::from_millis(300)).await;
        assert_eq!(plant.server.readyz().await.unwrap().status, 200);

        plant.postgres.end(ending);
        let down = Instant::now();
        while plant.server.readyz().await.unwrap().status != 503 {
            assert!(
                down.elapsed() < Duration::from_secs(5),
                "{ending:?}: ready without a database"
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let alive = Request::get("/livez", None);
        let answer = Client::new(plant.server.operator_port).send(&alive).await.unwrap();
        assert_eq!(answer.status, 200, "{ending:?}: being alive needs no database");
        tokio::time::sleep(Duration::from_millis(1_500)).await;
        plant.postgres.start_again();
        let recovery = plant.server.wait_until_ready().await;
        assert!(recovery < RECOVERY_LIMIT, "{ending:?}: {recovery:?}");
        all_answered(&good, &format!("after {ending:?}")).await;
        tokio::time::sleep(Duration::from_millis(300)).await;
        stop.cancel();

        let mut told = Outcome::default();
        for worker in workers {
            told.add(worker.await.unwrap());
        }
        assert_eq!(told.faults, Vec::<String>::new(), "{ending:?}");
        assert!(told.met.unavailable > 0, "{ending:?}: {:?}", told.met);
        assert!(told.met.slowest < ANSWER_LIMIT, "{ending:?}: {:?}", told.met);
        for probe in probes {
            let (unavailable, faults) = probe.await.unwrap();
            assert_eq!(faults, Vec::<String>::new(), "{ending:?}");
            assert!(unavailable > 0, "{ending:?}: nobody was told to come back");
        }
        let superuser = plant.postgres.inspect().await;
        for (key, transfer) in &told.acknowledged {
            assert_eq!(posted(&superuser, key).await, 1, "{ending:?}: {transfer:?}");
        }
    }
    assert_eq!(plant.server.panics(), Vec::<String>::new());
}

/// The pool holds connections to a PostgreSQL that is no more; nobody is told.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_first_requests_after_a_restart_succeed() {
    let mut plant = Plant::open(&[("LOG_LEVEL", "warn")]).await;
    let port = plant.server.port;
    let endings = [Ending::Fast, Ending::Immediate, Ending::Fast, Ending::Killed];
    for number in 0..20 {
        // Several at once, so that several connections lie idle afterwards.
        let readers = (0..6).map(|_| {
            let request = read(&plant.bank, &plant.token);
            async move { Client::new(port).send(&request).await.unwrap().status }
        });
        let statuses = futures_util::future::join_all(readers).await;
        assert_eq!(statuses, [200; 6], "{number}");
        let ending = endings[number % endings.len()];
        plant.postgres.end(ending);
        plant.postgres.start_again();
        let key = format!("first-{number}");
        let answer =
            Client::new(port).send(&transfer(&plant.bank, &plant.token, &key)).await.unwrap();
        id_of(&answer, &format!("the first write after {ending:?}, {number}"));
        let answer = Client::new(port).send(&read(&plant.bank, &plant.token)).await.unwrap();
        assert_eq!(answer.status, 200, "the first read after {ending:?}, {number}: {answer:?}");
    }
}

/// As [`the_first_requests_after_a_restart_succeed`], with no time at all between the
/// end of the connections and the request: the end may not have been noticed yet.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn requests_right_after_the_end_of_idle_connections_succeed() {
    let plant = Plant::open(&[("LOG_LEVEL", "warn")]).await;
    let port = plant.server.port;
    let superuser = plant.postgres.inspect().await;
    let end_all = "SELECT count(pg_terminate_backend(pid, 5000)) FROM pg_stat_activity WHERE usename = 'bank_app'";
    let mut ended = 0_i64;
    let mut client = Client::new(port);
    for number in 0..40 {
        assert_eq!(client.send(&read(&plant.bank, &plant.token)).await.unwrap().status, 200);
        ended += superuser.query_one(end_all, &[]).await.unwrap().get::<_, i64>(0);
        let request = if number % 2 == 0 {
            transfer(&plant.bank, &plant.token, &format!("right-after-{number}"))
        } else {
            read(&plant.bank, &plant.token)
        };
        let answer = client.send(&request).await.unwrap();
        assert!([200, 201].contains(&answer.status), "{number}: {answer:?}");
    }
    assert!(ended >= 40, "only {ended} connections were there to be ended");
}

/// What a failover, a full disk's guard or an operator does: 25006 on every write.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_read_only_database_still_serves_reads() {
    let plant = Plant::open(&[("LOG_LEVEL", "warn")]).await;
    let port = plant.server.port;
    let superuser = plant.postgres.inspect().await;
    let request = transfer(&plant.bank, &plant.token, "read-only");
    let set = async |to: &str| {
        superuser
            .batch_execute(&format!("ALTER SYSTEM SET default_transaction_read_only = {to}"))
            .await
            .unwrap();
        superuser.batch_execute("SELECT pg_reload_conf()").await.unwrap();
    };
    set("on").await;
    let deadline = Instant::now() + Duration::from_secs(10);
    let mut number = 0;
    // The reload reaches each of PostgreSQL's processes in its own time.
    let answer = loop {
        let key = format!("until-read-only-{number}");
        let answer =
            Client::new(port).send(&transfer(&plant.bank, &plant.token, &key)).await.unwrap();
        if answer.status == 503 {
            break answer;
        }
        assert!(Instant::now() < deadline, "{answer:?}");
        number += 1;
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    assert_unavailable(&answer, "a write");
    assert_unavailable(&Client::new(port).send(&request).await.unwrap(), "another write");
    let answer = Client::new(port).send(&sign_in_request("boris")).await.unwrap();
    assert_unavailable(&answer, "a sign-in");
    let answer = Client::new(port).send(&read(&plant.bank, &plant.token)).await.unwrap();
    assert_eq!(answer.status, 200, "{answer:?}");
    set("off").await;
    let answer = until_answered(port, &request).await;
    id_of(&answer, "after");
    assert_eq!(posted(&superuser, "read-only").await, 1);
}
