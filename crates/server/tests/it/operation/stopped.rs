//! Transactions that PostgreSQL stops while it serves others, and a PostgreSQL that
//! serves nobody: the first are recorded and break no neighbour, the second ends it all.

use operation::{OperationError, Reply};
use serde_json::json;
use tenancy::{DbError, OpContext};

use super::toy::{Act, MakeToy, Toy, World, call};

/// What became of a call.
fn fate(result: &Result<Reply<Toy>, OperationError>) -> &'static str {
    match result {
        Ok(reply) if reply.replayed => "replayed",
        Ok(_) => "done",
        Err(OperationError::Database(DbError::Stopped(_))) => "stopped",
        Err(OperationError::Database(DbError::Unavailable(_))) => "unavailable",
        Err(_) => "other",
    }
}

/// Runs a batch in which each call's label is its key.
async fn run_keyed(
    world: &World,
    officer: &OpContext,
    toys: &[(&'static str, Act)],
) -> Vec<&'static str> {
    let calls = (toys.iter())
        .map(|&(label, act)| call(officer, Some(label), MakeToy::acting(label, act)))
        .collect();
    world.operations.run(calls).await.iter().map(fate).collect()
}

#[tokio::test]
async fn what_was_stopped_is_recorded_as_failed_and_what_cannot_be_recorded_is_not() {
    // act, fate, audited
    let table = [
        (Act::TimeOut, "stopped", true),
        (Act::Raise("57014"), "stopped", true),
        (Act::Raise("55P03"), "stopped", true),
        (Act::Raise("40000"), "stopped", true),
        (Act::Raise("40001"), "stopped", true),
        (Act::Raise("40P01"), "stopped", true),
        // Nobody knows what became of it: nothing is claimed.
        (Act::Raise("40003"), "unavailable", false),
        (Act::Raise("53100"), "unavailable", false),
        (Act::Raise("57P01"), "unavailable", false),
        (Act::Raise("25006"), "unavailable", false),
    ];
    let world = World::new().await;
    let officer = world.user(&["officer"]);
    for (act, expected, is_audited) in table {
        let known = world.audited().await.len();
        assert_eq!(run_keyed(&world, &officer, &[("x", act)]).await, [expected], "{act:?}");
        let audited = world.audited().await.split_off(known);
        let said: Vec<_> = audited.iter().map(|one| (one.summary(), &one.details)).collect();
        let code = json!({ "code": "unavailable" });
        let failed = [("toy.make api_access failed".to_owned(), &code)];
        assert_eq!(said, if is_audited { &failed[..] } else { &[] }, "{act:?}");
    }
    assert_eq!(world.labels().await, Vec::<String>::new());
    assert_eq!(world.remembered().await, 0, "every key is free");
    world.assert_pool_is_clean().await;
}

#[tokio::test]
async fn a_slow_neighbour_fails_alone() {
    for act in [Act::TimeOut, Act::Raise("55P03"), Act::Raise("40001")] {
        let world = World::new().await;
        let officer = world.user(&["officer"]);
        let toys = [("a", Act::Make), ("b", act), ("c", Act::Make), ("d", Act::Make)];
        assert_eq!(
            run_keyed(&world, &officer, &toys).await,
            ["done", "stopped", "done", "done"],
            "{act:?}"
        );
        assert_eq!(world.labels().await, ["a", "c", "d"]);
        let summaries = world.summaries().await;
        let failed = summaries.iter().filter(|one| *one == "toy.make api_access failed").count();
        assert_eq!((summaries.len(), failed), (4, 1), "{summaries:?}");
        // The key of the one that was stopped is free, those of the others are answered.
        let toys = toys.map(|(label, _)| (label, Act::Make));
        let again = run_keyed(&world, &officer, &toys).await;
        assert_eq!(again, ["replayed", "done", "replayed", "replayed"]);
        assert_eq!(world.labels().await, ["a", "b", "c", "d"]);
        world.assert_pool_is_clean().await;
    }
}

#[tokio::test]
async fn a_batch_that_is_stopped_again_and_again_is_not_tried_to_its_end() {
    let world = World::new().await;
    let officer = world.user(&["officer"]);
    let mut toys = vec![("a", Act::Make)];
    toys.extend(["b", "c", "d"].map(|label| (label, Act::TimeOut)));
    toys.extend(["e", "f"].map(|label| (label, Act::Make)));
    let fates = run_keyed(&world, &officer, &toys).await;
    assert_eq!(fates, ["done", "stopped", "stopped", "stopped", "stopped", "stopped"]);
    assert_eq!(world.labels().await, ["a"], "the last two were not tried");
    assert_eq!(world.summaries().await.len(), 6, "and are on record all the same");
    assert_eq!(run_keyed(&world, &officer, &[("e", Act::Make)]).await, ["done"]);
}

#[tokio::test]
async fn an_outage_ends_a_batch_at_once() {
    let world = World::new().await;
    let officer = world.user(&["officer"]);
    let toys = [("a", Act::Make), ("b", Act::Raise("53100")), ("c", Act::Make)];
    assert_eq!(run_keyed(&world, &officer, &toys).await, ["unavailable"; 3]);
    // Taken apart for another's sake, it ends where the outage begins.
    let toys = [("a", Act::Make), ("b", Act::Fail), ("c", Act::Raise("53100")), ("d", Act::Make)];
    assert_eq!(
        run_keyed(&world, &officer, &toys).await,
        ["done", "other", "unavailable", "unavailable"]
    );
    assert_eq!(world.labels().await, ["a"]);
    assert_eq!(world.summaries().await.len(), 2);
}
