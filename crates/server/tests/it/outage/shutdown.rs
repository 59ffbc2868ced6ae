//! SIGTERM under load: not ready any more, nobody new, everybody finished.

use std::time::Duration;

use testkit::connect;
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;

use super::{Site, id_of};
use crate::crash::client::Client;
use crate::crash::load::{Outcome, Worker};
use crate::crash::plan::Dice;

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_is_in_flight_finishes_and_the_probe_says_that_it_ends() {
    let mut site = Site::open(&[("LOG_LEVEL", "info")]).await;
    let (port, account) = (site.server.port, site.bank.customers[0].accounts[0]);
    let lock = format!("BEGIN; SELECT FROM ledger_accounts WHERE id = '{account}' FOR UPDATE");
    // Not over the connection that looks: within a transaction it would see the first look for ever.
    let holder = connect(&site.database.superuser_url()).await;
    holder.batch_execute(&lock).await.unwrap();
    let held = site.transfer("held");
    let waiting = held.clone();
    let asked = tokio::spawn(async move { Client::new(port).send(&waiting).await });
    // Another one's client waits until it is an operation, but not for the answer.
    let a_while = Duration::from_secs(1);
    Client::new(port).send_and_hang_up(&site.transfer("left"), a_while).await;
    let stuck = "SELECT count(*)::int FROM pg_stat_activity WHERE datname = current_database() \
         AND wait_event_type = 'Lock' HAVING count(*) >= 1";
    super::wait_for(&site.superuser, stuck).await;
    tokio::time::sleep(Duration::from_millis(200)).await;

    site.server.terminate();
    tokio::time::sleep(Duration::from_millis(300)).await;
    let answer = site.server.readyz().await.unwrap();
    assert_eq!((answer.status, answer.body.as_str()), (503, Some("draining\n")), "{answer:?}");
    assert!(TcpStream::connect(("127.0.0.1", port)).await.is_err(), "nobody new is taken");
    site.server.assert_lives();

    holder.batch_execute("ROLLBACK").await.unwrap();
    let first = id_of(&asked.await.unwrap().unwrap(), "the one in flight");
    assert_eq!(site.server.wait_for_end(Duration::from_secs(15)).await, Some(0));
    let left = site.posted("left").await;
    assert_eq!(left, 1, "an operation whose client hung up finishes as well");
    let waiting = site.superuser.query_one("SELECT count(*) FROM audit_inbox", &[]).await.unwrap();
    assert_eq!(waiting.get::<_, i64>(0), 0, "what was recorded is sealed before the end");

    site.server.start_again();
    site.server.wait_until_ready().await;
    assert_eq!(id_of(&site.send(&held).await, "asked of the next process"), first);
    id_of(&site.send(&site.transfer("left")).await, "asked of the next process");
    assert_eq!((site.posted("held").await, site.posted("left").await), (1, 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_rolling_restart_under_load_loses_and_doubles_nothing() {
    let mut site = Site::open(&[("LOG_LEVEL", "info")]).await;
    let port = site.server.port;
    let stop = CancellationToken::new();
    let workers: Vec<_> = (0..6)
        .map(|client| {
            let dice = Dice::of(31, &[client as u64]);
            // Every fourth customer is the one of the token.
            let worker = Worker::new(&site.bank, (0, 4 * client), &site.token, (port, false), dice);
            tokio::spawn(worker.work(stop.clone()))
        })
        .collect();
    for _ in 0..3 {
        tokio::time::sleep(Duration::from_millis(500)).await;
        site.server.terminate();
        assert_eq!(site.server.wait_for_end(Duration::from_secs(25)).await, Some(0));
        site.server.start_again();
        site.server.wait_until_ready().await;
    }
    tokio::time::sleep(Duration::from_millis(300)).await;
    stop.cancel();
    let mut told = Outcome::default();
    for worker in workers {
        told.add(worker.await.unwrap());
    }
    assert_eq!(told.faults, Vec::<String>::new());
    assert_eq!(told.met.unavailable, 0, "whoever was taken in was served: {:?}", told.met);
    let sql = "SELECT count(*), count(DISTINCT reference) FROM transfers WHERE reference ~ '^r0-c'";
    let row = site.superuser.query_one(sql, &[]).await.unwrap();
    let expected = i64::try_from(told.acknowledged.len()).unwrap();
    assert_eq!((row.get::<_, i64>(0), row.get::<_, i64>(1)), (expected, expected));
    let log = site.server.log();
    assert!(!log.contains("were still running"), "{log}");
}
