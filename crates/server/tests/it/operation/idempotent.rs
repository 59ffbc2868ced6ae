//! One key, one execution, one answer.

use std::time::Duration;

use operation::{OperationError, RefusalKind, Target};

use super::refusal;
use super::toy::{Act, MakeToy, World};

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn fifty_at_once_execute_once() {
    let world = World::new().await;
    let officer = world.user(&["officer"]);
    let slow = MakeToy::acting("once", Act::Sleep(Duration::from_millis(30)));
    let all = (0..50).map(|_| world.run_keyed(&officer, "key", slow.clone()));
    let results = futures_util::future::join_all(all).await;
    let mut executed = 0;
    let mut ids = Vec::new();
    for result in results {
        match result {
            Ok(reply) => {
                executed += usize::from(!reply.replayed);
                ids.push(reply.output.id);
            }
            other => {
                let refused = refusal(other);
                assert_eq!(
                    (refused.kind, refused.code.as_ref()),
                    (RefusalKind::Conflict, "idempotency_in_flight")
                );
                assert_eq!(refused.retry_after_s, Some(1));
            }
        }
    }
    ids.dedup();
    assert_eq!((executed, ids.len()), (1, 1));
    assert_eq!(world.labels().await, ["once"]);
    let again = world.run_keyed(&officer, "key", slow).await.unwrap();
    assert!(again.replayed);
}

#[tokio::test]
async fn a_replay_is_the_same_answer_and_is_authorised_again() {
    let world = World::new().await;
    let officer = world.user(&["officer"]);
    let first = world.run_keyed(&officer, "key", MakeToy::labelled("ball")).await.unwrap();
    let again =
        world.run_keyed(&officer, "key", MakeToy::acting("ball", Act::Panic)).await.unwrap();
    assert_eq!((again.status, &again.output, again.replayed), (first.status, &first.output, true));
    assert_eq!(world.summaries().await[1], "toy.make api_access replayed");

    let mut demoted = officer.clone();
    demoted.actor.roles = vec!["auditor".to_owned()].into();
    let refused = refusal(world.run_keyed(&demoted, "key", MakeToy::labelled("ball")).await);
    assert_eq!(refused.kind, RefusalKind::Denied);

    // What it was about is no longer his to see: said anew, and nothing is stored over the answer.
    let permission = access::Permission::AccountUpdate;
    let target = Target::Missing { field: Some("to") };
    for _ in 0..2 {
        let unseen = MakeToy { permission, target: target.clone(), ..MakeToy::labelled("ball") };
        let refused = refusal(world.run_keyed(&officer, "key", unseen).await);
        assert_eq!((refused.kind, refused.replayed), (RefusalKind::Rule, false));
    }
    assert!(world.run_keyed(&officer, "key", MakeToy::labelled("ball")).await.unwrap().replayed);
}

#[tokio::test]
async fn a_key_belongs_to_one_request_of_one_principal() {
    let world = World::new().await;
    let (officer, other) = (world.user(&["officer"]), world.user(&["officer"]));
    world.run_keyed(&officer, "key", MakeToy::labelled("ball")).await.unwrap();
    let refused = refusal(world.run_keyed(&officer, "key", MakeToy::labelled("doll")).await);
    assert_eq!((refused.kind.status(), refused.code.as_ref()), (422, "idempotency_key_reused"));
    assert!(world.run_keyed(&officer, "key", MakeToy::labelled("ball")).await.unwrap().replayed);
    assert!(!world.run_keyed(&other, "key", MakeToy::labelled("doll")).await.unwrap().replayed);
    assert_eq!(world.labels().await, ["ball", "doll"]);
}

#[tokio::test]
async fn only_success_and_broken_rules_are_remembered() {
    use RefusalKind as Kind;
    let world = World::new().await;
    let officer = world.user(&["officer"]);
    let forgotten = [
        Kind::Malformed,
        Kind::Unauthenticated,
        Kind::Denied,
        Kind::NotFound,
        Kind::Conflict,
        Kind::PreconditionFailed,
        Kind::PreconditionRequired,
        Kind::RateLimited,
        Kind::Unavailable,
    ];
    for kind in forgotten {
        let key = format!("{kind:?}");
        let refused = refusal(
            world.run_keyed(&officer, &key, MakeToy::acting("toy", Act::Refuse(kind))).await,
        );
        assert_eq!(refused.kind, kind);
        let reply = world.run_keyed(&officer, &key, MakeToy::labelled("toy")).await.unwrap();
        assert!(!reply.replayed, "{kind:?}");
    }
    for act in [Act::Fail, Act::FailAndHide, Act::Panic] {
        let key = format!("{act:?}");
        world.run_keyed(&officer, &key, MakeToy::acting("toy", act)).await.unwrap_err();
        assert!(
            !world.run_keyed(&officer, &key, MakeToy::labelled("toy")).await.unwrap().replayed,
            "{act:?}"
        );
    }
    for (key, act) in [("rule", Act::Refuse(Kind::Rule)), ("kept", Act::RefuseAndKeep)] {
        let first = refusal(world.run_keyed(&officer, key, MakeToy::acting("toy", act)).await);
        let again = refusal(world.run_keyed(&officer, key, MakeToy::labelled("toy")).await);
        assert!(!first.replayed && again.replayed, "{key}");
        assert_eq!((first.kind, first.code, first.detail), (again.kind, again.code, again.detail));
    }
}

#[tokio::test]
async fn keys_that_are_no_keys_are_malformed_after_401_and_before_403() {
    let world = World::new().await;
    let long = "k".repeat(256);
    for key in ["", "a\nb", long.as_str()] {
        for context in [world.user(&["officer"]), world.user(&["pirate"])] {
            let refused = refusal(world.run_keyed(&context, key, MakeToy::labelled("x")).await);
            assert_eq!(
                (refused.kind, refused.code.as_ref()),
                (RefusalKind::Malformed, "idempotency_key_invalid")
            );
        }
    }
    assert_eq!(world.remembered().await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_repeated_transaction_still_holds_its_key() {
    let world = World::new().await;
    let officer = world.user(&["officer"]);
    for round in 0..20 {
        world.superuser.batch_execute("ALTER SEQUENCE toy_conflicts RESTART").await.unwrap();
        let key = format!("key-{round}");
        let reply = world.run_keyed(&officer, &key, MakeToy::acting("toy", Act::Conflict(2))).await;
        assert!(!reply.unwrap().replayed);
    }
    assert_eq!(world.labels().await.len(), 20, "every failed attempt was undone");
    assert_eq!(world.summaries().await.len(), 20);

    world.superuser.batch_execute("ALTER SEQUENCE toy_conflicts RESTART").await.unwrap();
    let error = world
        .run_keyed(&officer, "never", MakeToy::acting("toy", Act::Conflict(1000)))
        .await
        .unwrap_err();
    assert!(matches!(error, OperationError::Database(tenancy::DbError::Stopped(_))), "{error:?}");
    world.assert_pool_is_clean().await;
}
