//! No connection to be had, and connections that wait too long.

use std::time::{Duration, Instant};

use super::{Site, assert_unavailable, id_of, until_answered};
use crate::crash::bank::sign_in_request;
use crate::crash::client::{Client, Request};

/// The pool's wait of 5 s, once for the token and once for the operation, and slack
/// for a busy machine.
const BOUNDED: Duration = Duration::from_secs(14);

/// Every operation leaves a record, so every one waits here with its connection while
/// there is a row in `gate`. Not a lock, for waiting for one has a bound of its own.
const GATE: &str = "
    CREATE TABLE gate (shut boolean);
    CREATE FUNCTION wait_at_gate() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
    BEGIN
        WHILE EXISTS (SELECT FROM gate) LOOP
            PERFORM pg_sleep(0.1);
        END LOOP;
        RETURN NULL;
    END $$;
    CREATE TRIGGER wait_at_gate AFTER INSERT ON audit_log FOR EACH STATEMENT EXECUTE FUNCTION wait_at_gate();
    INSERT INTO gate VALUES (true);
";

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_exhausted_pool_answers_503_in_bounded_time_and_recovers() {
    let small =
        [("DATABASE_POOL_SIZE", "3"), ("DATABASE_MAX_OVERFLOW", "0"), ("LOG_LEVEL", "warn")];
    let site = Site::open(&small).await;
    let port = site.server.port;
    assert_eq!(site.send(&site.read()).await.status, 200);
    site.superuser.batch_execute(GATE).await.unwrap();
    let stuck: Vec<_> = (0..3)
        .map(|_| {
            let request = end_of_no_session(&site.token);
            tokio::spawn(async move { Client::new(port).send(&request).await })
        })
        .collect();
    let waiting = "SELECT count(*)::int FROM pg_stat_activity WHERE datname = current_database() \
         AND wait_event = 'PgSleep' AND application_name = 'strongroom' HAVING count(*) >= 3";
    super::wait_for(&site.superuser, waiting).await;

    let begun = Instant::now();
    let asked = [
        ("a transfer", site.transfer("exhausted")),
        ("another write", end_of_no_session(&site.token)),
        ("a sign-in", sign_in_request(site.bank.customers[1].username)),
        ("a read", site.read()),
        ("who I am", Request::get("/v1/auth/me", Some(&site.token))),
    ];
    let answers = futures_util::future::join_all(
        asked
            .iter()
            .map(async |(what, request)| (*what, Client::new(port).send(request).await.unwrap())),
    )
    .await;
    let took = || answers.iter().map(|(what, answer)| (what, answer.took)).collect::<Vec<_>>();
    assert!(begun.elapsed() < BOUNDED, "{:?}", took());
    for (what, answer) in &answers {
        // Reads have connections of their own, which are free.
        if !(["a read", "who I am"].contains(what) && answer.status == 200) {
            assert_unavailable(answer, what);
        }
    }
    let alive = Request::get("/livez", None);
    assert_eq!(Client::new(site.server.operator_port).send(&alive).await.unwrap().status, 200);

    site.superuser.batch_execute("DELETE FROM gate").await.unwrap();
    for task in stuck {
        let answer = task.await.unwrap().unwrap();
        assert_eq!(answer.status, 404, "who held a connection is answered: {answer:?}");
    }
    let answer = site.send(&site.read()).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    id_of(&site.send(&site.transfer("exhausted")).await, "the write, asked again");
    assert_eq!(site.posted("exhausted").await, 1);
    let answer = site.send(&sign_in_request(site.bank.customers[1].username)).await;
    assert_eq!(answer.status, 200, "{answer:?}");
}

/// An operation that is refused, and recorded.
fn end_of_no_session(token: &str) -> Request {
    let path = "/v1/auth/sessions/01890000-0000-7000-8000-000000000000";
    Request { method: "DELETE", ..Request::get(path, Some(token)) }
}

/// A row that somebody holds: the statement's time runs out (57014), or the lock's (55P03).
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_lock_that_is_not_had_in_time_is_503_and_changes_nothing() {
    let limit = [("DATABASE_STATEMENT_TIMEOUT_MS", "700"), ("LOG_LEVEL", "warn")];
    let site = Site::open(&limit).await;
    let account = site.bank.customers[0].accounts[0];
    for (key, lock_timeout) in [("statement-timeout", "0"), ("lock-timeout", "150ms")] {
        let name = site.database.name();
        let end_all = "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity \
             WHERE datname = current_database() AND application_name = 'strongroom'";
        site.superuser
            .batch_execute(&format!(
                "ALTER DATABASE {name} SET lock_timeout = '{lock_timeout}'; {end_all}"
            ))
            .await
            .unwrap();
        let lock = format!("BEGIN; SELECT FROM ledger_accounts WHERE id = '{account}' FOR UPDATE");
        site.superuser.batch_execute(&lock).await.unwrap();
        let answer = site.send(&site.transfer(key)).await;
        assert_unavailable(&answer, key);
        assert!(answer.took < Duration::from_secs(8), "{key}: {answer:?}");
        assert_eq!(site.posted(key).await, 0, "{key}: rolled back");
        site.superuser.batch_execute("ROLLBACK").await.unwrap();
        let first = id_of(&until_answered(site.server.port, &site.transfer(key)).await, key);
        let again = site.send(&site.transfer(key)).await;
        assert_eq!((id_of(&again, key), again.header("idempotency-replayed")), (first, "true"));
        assert_eq!(site.posted(key).await, 1);
    }
    let sql = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND state LIKE 'idle in transaction%'";
    let open: i64 = site.superuser.query_one(sql, &[]).await.unwrap().get(0);
    assert_eq!(open, 0, "no transaction is left open");
}
