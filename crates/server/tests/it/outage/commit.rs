//! Commits whose outcome the server never learns. The client is told 503, and the
//! same key gives the one true answer, whichever it was.

use std::time::Duration;

use super::{Plant, assert_unavailable, id_of, posted, transfer, until_answered, wait_for};
use crate::crash::client::Client;
use crate::crash::plan::Dice;

const END: &str = "SELECT pg_terminate_backend($1::int, 5000)";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Truth {
    Committed,
    RolledBack,
}

/// Sends a transfer, ends the connection while its COMMIT is at work, and asks again.
async fn interrupt(plant: &Plant, key: &str, working: &str, truth: Truth, heal: &str) {
    let superuser = plant.postgres.inspect().await;
    let request = transfer(&plant.bank, &plant.token, key);
    let port = plant.server.port;
    let sent = request.clone();
    let asked = tokio::spawn(async move { Client::new(port).send(&sent).await.unwrap() });
    let process = wait_for(&superuser, working).await;
    superuser.execute(END, &[&process]).await.unwrap();
    let answer = asked.await.unwrap();
    assert_unavailable(&answer, key);
    let expected = i64::from(truth == Truth::Committed);
    assert_eq!(
        posted(&superuser, key).await,
        expected,
        "{key}: the test does not test what it says"
    );
    for statement in heal.split(';') {
        superuser.batch_execute(statement).await.unwrap();
    }
    let answer = until_answered(port, &request).await;
    let first = id_of(&answer, key);
    let replayed = answer.header("idempotency-replayed") == "true";
    assert_eq!(replayed, truth == Truth::Committed, "{key}: {answer:?}");
    assert_eq!(id_of(&Client::new(port).send(&request).await.unwrap(), key), first);
    assert_eq!(posted(&superuser, key).await, 1, "{key}");
}

/// A standby that never answers lets COMMIT wait when all is on disk: who is ended
/// then has committed and cannot say so.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_commit_that_took_place_unheard_is_answered_by_its_key() {
    let plant = Plant::open(&[("LOG_LEVEL", "error")]).await;
    for number in 0..8 {
        let superuser = plant.postgres.inspect().await;
        superuser
            .batch_execute("ALTER SYSTEM SET synchronous_standby_names = 'nobody'")
            .await
            .unwrap();
        superuser.batch_execute("SELECT pg_reload_conf()").await.unwrap();
        // The checkpointer is who lets commits wait: only then do they.
        let settled = "SELECT 1 FROM pg_settings WHERE name = 'synchronous_standby_names' AND setting = 'nobody'";
        wait_for(&superuser, settled).await;
        tokio::time::sleep(Duration::from_millis(100)).await;
        let working = format!(
            "SELECT activity.pid FROM pg_stat_activity activity JOIN pg_locks held ON held.pid = activity.pid \
             AND held.relation = 'transfers'::regclass AND held.mode = 'RowExclusiveLock' \
             WHERE usename = 'bank_app' AND wait_event = 'SyncRep' LIMIT 1 /* {number} */"
        );
        let heal = "ALTER SYSTEM RESET synchronous_standby_names; SELECT pg_reload_conf()";
        interrupt(&plant, &format!("heard-{number}"), &working, Truth::Committed, heal).await;
    }
}

/// A deferred constraint that takes its time holds COMMIT up before anything is final.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_commit_that_did_not_take_place_leaves_its_key_free() {
    let plant = Plant::open(&[("LOG_LEVEL", "error")]).await;
    let superuser = plant.postgres.inspect().await;
    superuser
        .batch_execute(
            "CREATE FUNCTION take_time() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(5); RETURN NULL; END $$;
             CREATE CONSTRAINT TRIGGER take_time AFTER INSERT ON transfers DEFERRABLE INITIALLY DEFERRED
                 FOR EACH ROW EXECUTE FUNCTION take_time();",
        )
        .await
        .unwrap();
    let working = "SELECT pid FROM pg_stat_activity WHERE usename = 'bank_app' AND wait_event = 'PgSleep' AND query ~ 'COMMIT' LIMIT 1";
    for number in 0..8 {
        superuser.batch_execute("ALTER TABLE transfers ENABLE TRIGGER take_time").await.unwrap();
        let heal = "ALTER TABLE transfers DISABLE TRIGGER take_time";
        interrupt(&plant, &format!("unheard-{number}"), working, Truth::RolledBack, heal).await;
    }
}

/// Whenever the connection ends: anywhere between the first statement and the answer.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_connection_that_ends_at_any_moment_posts_once() {
    let plant = Plant::open(&[("LOG_LEVEL", "error")]).await;
    let superuser = plant.postgres.inspect().await;
    let end_all =
        "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE usename = 'bank_app'";
    let port = plant.server.port;
    let mut dice = Dice::of(29, &[]);
    let (mut unavailable, mut replayed) = (0, 0);
    for number in 0..120 {
        let key = format!("moment-{number}");
        let request = transfer(&plant.bank, &plant.token, &key);
        let sent = request.clone();
        let asked = tokio::spawn(async move { Client::new(port).send(&sent).await.unwrap() });
        tokio::time::sleep(Duration::from_micros(dice.below(25_000) as u64)).await;
        superuser.query_one(end_all, &[]).await.unwrap();
        let told = asked.await.unwrap();
        let answer = until_answered(port, &request).await;
        let first = id_of(&answer, &key);
        if told.status == 503 {
            assert_unavailable(&told, &key);
            unavailable += 1;
            replayed += usize::from(answer.header("idempotency-replayed") == "true");
        } else {
            assert_eq!(id_of(&told, &key), first, "{key}: told once, told again");
        }
        assert_eq!(posted(&superuser, &key).await, 1, "{key}");
    }
    println!("{unavailable} of 120 were answered 503, {replayed} of them had been committed");
    assert!(unavailable > 0, "no moment was hit");
}
