//! Many calls, one transaction, a result each.

use operation::{OperationError, RefusalKind};
use tenancy::{Query, TenantTx};

use super::refusal;
use super::toy::{Act, MakeToy, World, call};

const SEEN: &str = "SELECT current_setting('app.current_user_id') || '/' || current_setting('app.current_org_id') AS seen";

#[tokio::test]
async fn a_rejection_never_fails_its_neighbours() {
    let world = World::new().await;
    let (officer, auditor) = (world.user(&["officer"]), world.user(&["auditor"]));
    let calls = vec![
        call(&officer, None, MakeToy::labelled("a")),
        call(&officer, None, MakeToy::acting("b", Act::Refuse(RefusalKind::Rule))),
        call(&auditor, None, MakeToy::labelled("c")),
        call(&officer, None, MakeToy::acting("d", Act::Refuse(RefusalKind::Conflict))),
        call(&officer, None, MakeToy::labelled("e")),
    ];
    let results = world.operations.run(calls).await;
    let statuses: Vec<_> = results
        .into_iter()
        .map(|result| match result {
            Ok(reply) => reply.status,
            other => refusal(other).kind.status(),
        })
        .collect();
    assert_eq!(statuses, [201, 422, 403, 409, 201]);
    assert_eq!(world.labels().await, ["a", "e"]);
    assert_eq!(world.summaries().await.len(), 5);
}

#[tokio::test]
async fn a_call_that_breaks_the_transaction_breaks_only_itself() {
    let world = World::new().await;
    let officer = world.user(&["officer"]);
    let acts = [Act::Make, Act::Fail, Act::Make, Act::FailAndHide, Act::Panic, Act::Make];
    let labels = ["a", "b", "c", "d", "e", "f"];
    let calls = acts
        .into_iter()
        .zip(labels)
        .map(|(act, label)| call(&officer, Some(label), MakeToy::acting(label, act)));
    let results = world.operations.run(calls.collect()).await;
    let outcomes: Vec<_> = results
        .iter()
        .map(|result| match result {
            Ok(_) => "done",
            Err(OperationError::Refused(_)) => "refused",
            Err(OperationError::Database(_)) => "database",
            Err(OperationError::Aborted) => "aborted",
        })
        .collect();
    assert_eq!(outcomes, ["done", "database", "done", "database", "aborted", "done"]);
    assert_eq!(world.labels().await, ["a", "c", "f"]);
    assert_eq!(world.remembered().await, 3);
    let failed = world
        .audited()
        .await
        .iter()
        .filter(|one| one.summary() == "toy.make api_access failed")
        .count();
    assert_eq!(failed, 3);
    world.assert_pool_is_clean().await;
}

#[tokio::test]
async fn duplicates_of_a_batch_replay_the_first() {
    let world = World::new().await;
    let (officer, auditor) = (world.user(&["officer"]), world.user(&["auditor"]));
    let keyed = |label| call(&officer, Some("key"), MakeToy::labelled(label));
    let refused_first = call(&auditor, Some("key"), MakeToy::labelled("ball"));
    let results = world
        .operations
        .run(vec![refused_first, keyed("ball"), keyed("ball"), keyed("doll")])
        .await;
    let [denied, first, second, third] = <[_; 4]>::try_from(results).unwrap();
    assert_eq!(refusal(denied).kind, RefusalKind::Denied);
    let (first, second) = (first.unwrap(), second.unwrap());
    assert_eq!((first.replayed, second.replayed), (false, true));
    assert_eq!((first.status, &first.output), (second.status, &second.output));
    assert_eq!(refusal(third).code, "idempotency_key_reused");
    assert_eq!(world.labels().await, ["ball"]);

    // Answered before: each is held against the answer, not against its neighbour.
    let results = world.operations.run(vec![keyed("doll"), keyed("ball")]).await;
    let [other, same] = <[_; 2]>::try_from(results).unwrap();
    assert_eq!(refusal(other).code, "idempotency_key_reused");
    assert_eq!(same.unwrap().output, first.output);

    // A refusal is said twice too.
    let no = |key| call(&officer, Some(key), MakeToy::acting("no", Act::Refuse(RefusalKind::Rule)));
    let results = world.operations.run(vec![no("other"), no("other")]).await;
    let refusals: Vec<_> = results.into_iter().map(refusal).collect();
    assert_eq!((refusals[0].replayed, refusals[1].replayed), (false, true));
}

#[tokio::test]
async fn a_batch_is_of_one_tenant() {
    let world = World::new().await;
    let officer = world.user(&["officer"]);
    let mut foreign = officer.clone();
    foreign.tenant = world.other_tenant().await;
    let calls = [&officer, &foreign].map(|context| call(context, None, MakeToy::labelled("x")));
    let results = world.operations.run(calls.into()).await;
    assert!(
        results.iter().all(|result| matches!(result, Err(OperationError::Database(_)))),
        "{results:?}"
    );
    assert_eq!(results.len(), 2);
    assert_eq!(world.labels().await, Vec::<String>::new());
    assert!(world.operations.run::<MakeToy>(Vec::new()).await.is_empty());
}

#[tokio::test]
async fn each_actor_of_a_batch_acts_under_their_own_name() {
    let world = World::new().await;
    let mut staff = world.user(&["officer"]);
    staff.actor.sees_all_users = true;
    let (one, two) = (world.user(&["officer"]), world.user(&["officer"]));
    let calls = vec![
        call(&staff, None, MakeToy::labelled("a")),
        call(&one, None, MakeToy::acting("b", Act::Refuse(RefusalKind::Rule))),
        call(&two, None, MakeToy::labelled("c")),
        call(&one, None, MakeToy::labelled("d")),
    ];
    let results = world.operations.run(calls).await;
    let seen: Vec<_> = results.into_iter().flatten().map(|reply| reply.output.seen_by).collect();
    assert_eq!(seen, ["*".to_owned(), two.actor.id.to_string(), one.actor.id.to_string()]);
}

#[tokio::test]
async fn what_several_actors_do_together_sees_what_all_may_see() {
    let world = World::new().await;
    let mut staff = world.user(&["officer"]);
    staff.actor.sees_all_users = true;
    let mut member = world.user(&["officer"]);
    member.actor.organization = Some(world.clock.new_id());
    let begin = async |first, others: &[_]| {
        world.app().begin_batch(first, others, &[Query::new(SEEN, &[])]).await.unwrap()
    };
    let seen = async |transaction: &TenantTx| -> String {
        transaction.query_opt(SEEN, &[]).await.unwrap().unwrap().get("seen")
    };
    let (together, first) = begin(&staff, &[&member]).await;
    assert_eq!(
        first[0][0].get::<_, String>("seen"),
        "*/",
        "only the core's own first statements see all users"
    );
    assert_eq!(seen(&together).await, "/");
    together.act_as(Some(&member)).await.unwrap();
    let own = format!("{}/{}", member.actor.id, member.actor.organization.unwrap());
    assert_eq!(seen(&together).await, own);
    together.act_as(None).await.unwrap();
    assert_eq!(seen(&together).await, "/");
    together.rollback().await.unwrap();
    let (alone, _) = begin(&member, &[&member]).await;
    assert_eq!(seen(&alone).await, own);
    drop(alone);
    world.assert_pool_is_clean().await;
}
