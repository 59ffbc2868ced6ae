//! Panics, hang-ups, swallowed errors: nothing half done, no connection spoiled.

use std::time::Duration;

use operation::OperationError;
use tenancy::Query;

use super::toy::{Act, DIVIDE, INSERT, MakeToy, World, call, until};

const SLEEP: &str = "SELECT pg_sleep(4)::text";
const ONE: &str = "SELECT $1::integer AS one";

#[tokio::test]
async fn a_panic_changes_nothing_and_spoils_nothing() {
    let world = World::new().await;
    let officer = world.user(&["officer"]);
    for _ in 0..3 {
        let error = world.run(&officer, MakeToy::acting("x", Act::Panic)).await.unwrap_err();
        assert!(matches!(error, OperationError::Aborted), "{error:?}");
    }
    assert_eq!(world.labels().await, Vec::<String>::new());
    assert_eq!(world.summaries().await, ["toy.make api_access failed"; 3]);
    world.assert_pool_is_clean().await;
    world.run(&officer, MakeToy::labelled("y")).await.unwrap();
}

#[tokio::test]
async fn a_failed_statement_is_never_taken_for_success() {
    let world = World::new().await;
    let officer = world.user(&["officer"]);
    for act in [Act::Fail, Act::FailAndHide] {
        let error = world.run(&officer, MakeToy::acting("x", act)).await.unwrap_err();
        assert!(matches!(error, OperationError::Database(_)), "{error:?}");
    }
    let transaction = world.app().begin(&officer).await.unwrap();
    let (tenant, id) = (transaction.tenant(), world.clock.new_id());
    transaction.execute(INSERT, &[&tenant, &id, &"x"]).await.unwrap();
    transaction.query(DIVIDE, &[&0_i32]).await.unwrap_err();
    // PostgreSQL would say ROLLBACK, and no error, to this COMMIT.
    transaction.commit().await.unwrap_err();
    assert_eq!(world.labels().await, Vec::<String>::new());
    world.assert_pool_is_clean().await;
}

#[tokio::test]
async fn a_commit_of_many_statements_waits_for_all_of_them() {
    let world = World::new().await;
    let officer = world.user(&["officer"]);
    let transaction = world.app().begin(&officer).await.unwrap();
    let (tenant, id) = (transaction.tenant(), world.clock.new_id());
    transaction.execute(INSERT, &[&tenant, &id, &"x"]).await.unwrap();
    // The 35th cannot even be sent: its parameter is of the wrong type.
    let mut queries = vec![Query::new(ONE, &[&1_i32]); 40];
    queries[35] = Query::new(ONE, &[&"text"]);
    transaction.commit_with(&queries).await.unwrap_err();
    assert_eq!(world.labels().await, Vec::<String>::new());

    let transaction = world.app().begin(&officer).await.unwrap();
    let numbers: Vec<i32> = (0..100).collect();
    let parameters: Vec<[&(dyn tokio_postgres::types::ToSql + Sync); 1]> = numbers
        .iter()
        .map(|number| [number as &(dyn tokio_postgres::types::ToSql + Sync)])
        .collect();
    let queries: Vec<_> = parameters.iter().map(|one| Query::new(ONE, one)).collect();
    let rows = transaction.pipeline(&queries).await.unwrap();
    let answers: Vec<i32> = rows.iter().map(|one| one[0].get("one")).collect();
    assert_eq!(answers, numbers);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_hangs_up_cancels_nothing() {
    let world = World::new().await;
    let officer = world.user(&["officer"]);
    let slow = call(
        &officer,
        Some("key"),
        MakeToy::acting("slow", Act::Sleep(Duration::from_millis(300))),
    );
    let hung_up =
        tokio::time::timeout(Duration::from_millis(100), world.operations.run_one(slow)).await;
    assert!(hung_up.is_err());
    assert_eq!(world.labels().await, Vec::<String>::new());
    until("the toy is made", async || world.labels().await == ["slow"]).await;
    assert!(world.run_keyed(&officer, "key", MakeToy::labelled("slow")).await.unwrap().replayed);
    assert_eq!(world.summaries().await.len(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_that_hangs_up_leaves_no_busy_connection_in_the_pool() {
    let world = World::new().await;
    let officer = world.user(&["officer"]);
    world.app().read(&officer, &[Query::new(ONE, &[&1_i32])]).await.unwrap();
    // Two statements: reads of one share connections that are not the pool's.
    let queries = [Query::new(SLEEP, &[]), Query::new(ONE, &[&1_i32])];
    let slow = world.app().read(&officer, &queries);
    assert!(tokio::time::timeout(Duration::from_millis(100), slow).await.is_err());
    assert_eq!(world.app().pool_status().0, 1, "it is still at work");
    let queries = [Query::new(ONE, &[&1_i32]), Query::new(ONE, &[&2_i32])];
    world.app().read(&officer, &queries).await.unwrap();
    assert_eq!(world.app().pool_status().0, 1, "another connection answered meanwhile");
    until("it went back", async || world.app().pool_status().0 == 0).await;
    world.assert_pool_is_clean().await;
}
