//! Group commit: who shares a transaction, who waits for whom, and what is left of a
//! queue after panics, hang-ups and floods.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use operation::{Group, OperationError, RefusalKind};
use tenancy::{ActorKind, OpContext};
use uuid::Uuid;

use super::refusal;
use super::toy::{Act, MakeToy, World, call, until};

const SLEEP: Act = Act::Sleep(Duration::from_millis(400));

impl World {
    fn group(&self) -> Group<MakeToy> {
        Group::new(self.operations.clone())
    }

    /// How many transactions there were: a batch's audit records are one statement.
    async fn transactions(&self) -> usize {
        let rows =
            self.superuser.query("SELECT DISTINCT xmin::text FROM audit_log", &[]).await.unwrap();
        rows.len()
    }

    /// The toys of a label in the order in which they were made.
    async fn in_order(&self, label: &str) -> Vec<Uuid> {
        let made = "SELECT id FROM toys WHERE label = $1 ORDER BY ctid";
        let rows = self.superuser.query(made, &[&label]).await.unwrap();
        rows.iter().map(|row| row.get(0)).collect()
    }
}

#[tokio::test]
async fn what_waits_together_commits_together_and_answers_apart() {
    let world = World::new().await;
    let group = world.group();
    let (officer, auditor) = (world.user(&["officer"]), world.user(&["auditor"]));
    // Both lanes are busy, so that everything behind gathers.
    let busy = ["p", "q"].map(|label| {
        let (group, officer) = (group.clone(), officer.clone());
        tokio::spawn(async move {
            group.run_one(call(&officer, None, MakeToy::acting(label, SLEEP))).await.unwrap();
        })
    });
    tokio::time::sleep(Duration::from_millis(100)).await;
    let waiting = (0..60).map(|number| {
        let group = group.clone();
        let (who, act) = match number % 3 {
            0 => (&officer, Act::Make),
            1 => (&officer, Act::Refuse(RefusalKind::Rule)),
            _ => (&auditor, Act::Make),
        };
        let call = call(who, None, MakeToy::acting("x", act));
        tokio::spawn(async move { group.run_one(call).await })
    });
    let mut statuses = Vec::new();
    for answer in waiting.collect::<Vec<_>>() {
        statuses.push(match answer.await.unwrap() {
            Ok(reply) => reply.status,
            other => refusal(other).kind.status(),
        });
    }
    for one in busy {
        one.await.unwrap();
    }
    assert_eq!(statuses, [201, 422, 403].repeat(20));
    assert_eq!(world.labels().await.len(), 22);
    assert_eq!(world.audited().await.len(), 62, "success and refusal alike");
    let transactions = world.transactions().await;
    assert!(transactions <= 3, "one for all that waited: {transactions}");
    world.assert_pool_is_clean().await;
}

#[tokio::test]
async fn batches_in_flight_never_overlap_and_order_is_kept() {
    let world = World::new().await;
    let group = world.group();
    let officer = world.user(&["officer"]);
    let started = Instant::now();
    let one = |label, act| {
        let (group, officer) = (group.clone(), officer.clone());
        tokio::spawn(async move {
            let reply = group.run_one(call(&officer, None, MakeToy::acting(label, act))).await;
            (reply.unwrap().output.id, started.elapsed())
        })
    };
    let slow = one("hot", SLEEP);
    tokio::time::sleep(Duration::from_millis(100)).await;
    let behind: Vec<_> = (0..5).map(|_| one("hot", Act::Make)).collect();
    let aside = one("cold", Act::Make);
    let (_, aside_at) = aside.await.unwrap();
    let (slow_id, slow_at) = slow.await.unwrap();
    assert!(aside_at < slow_at, "another object waits for nobody");
    let mut ids = vec![slow_id];
    for answer in behind {
        let (id, at) = answer.await.unwrap();
        assert!(at > slow_at, "the same object waits its turn");
        ids.push(id);
    }
    assert_eq!(world.in_order("hot").await, ids, "in order of arrival");
}

#[tokio::test]
async fn a_broken_call_breaks_only_itself_and_the_lane_goes_on() {
    let world = World::new().await;
    let group = world.group();
    let officer = world.user(&["officer"]);
    let acts = [Act::Make, Act::Fail, Act::Panic, Act::FailAndHide, Act::Conflict(2), Act::Make];
    let calls = acts.map(|act| call(&officer, None, MakeToy::acting("x", act)));
    let results = group.run(calls.into()).await;
    let done: Vec<bool> = results.iter().map(Result::is_ok).collect();
    assert_eq!(done, [true, false, false, false, true, true]);
    for _ in 0..3 {
        group.run_one(call(&officer, None, MakeToy::labelled("x"))).await.unwrap();
    }
    assert_eq!(world.labels().await.len(), 6);
    world.assert_pool_is_clean().await;
}

#[tokio::test]
async fn who_hangs_up_cancels_nothing_and_shutdown_waits_for_it() {
    let world = World::new().await;
    let group = world.group();
    let officer = world.user(&["officer"]);
    for label in ["a", "b", "c", "d"] {
        let hasty = group.run_one(call(&officer, None, MakeToy::acting(label, SLEEP)));
        tokio::time::timeout(Duration::from_millis(20), hasty).await.unwrap_err();
    }
    assert!(!world.operations.drain(Duration::from_millis(10)).await, "they still run");
    assert!(world.operations.drain(Duration::from_secs(20)).await);
    assert_eq!(world.labels().await, ["a", "b", "c", "d"]);
}

#[tokio::test]
async fn one_key_fifty_times_is_one_toy() {
    let world = World::new().await;
    let group = world.group();
    let officer = world.user(&["officer"]);
    let calls = (0..50).map(|_| {
        let (group, officer) = (group.clone(), officer.clone());
        tokio::spawn(async move {
            group.run_one(call(&officer, Some("key"), MakeToy::labelled("ball"))).await
        })
    });
    let mut ids = BTreeSet::new();
    let mut fresh = 0;
    for answer in calls.collect::<Vec<_>>() {
        match answer.await.unwrap() {
            Ok(reply) => {
                ids.insert(reply.output.id);
                fresh += usize::from(!reply.replayed);
            }
            other => assert_eq!(refusal(other).code, "idempotency_in_flight"),
        }
    }
    assert_eq!((fresh, ids.len()), (1, 1));
    assert_eq!(world.labels().await, ["ball"]);
}

#[tokio::test]
async fn tenants_share_a_queue_and_never_a_transaction() {
    let world = World::new().await;
    let group = world.group();
    let officer = world.user(&["officer"]);
    let foreign = OpContext { tenant: world.other_tenant().await, ..officer.clone() };
    let calls = [&officer, &foreign, &officer, &foreign]
        .map(|context| call(context, Some("key"), MakeToy::labelled("ball")));
    let results = group.run(calls.into()).await;
    let replies: Vec<_> = results.into_iter().map(Result::unwrap).collect();
    assert_eq!(
        replies.iter().map(|reply| reply.replayed).collect::<Vec<_>>(),
        [false, false, true, true]
    );
    assert_eq!(replies[0].output.id, replies[2].output.id);
    assert_ne!(replies[0].output.id, replies[1].output.id, "the key is each tenant's own");
    let owners = "SELECT count(DISTINCT tenant_id), count(*) FROM toys";
    let row = world.superuser.query_one(owners, &[]).await.unwrap();
    assert_eq!((row.get::<_, i64>(0), row.get::<_, i64>(1)), (2, 2));
}

#[tokio::test]
async fn a_queue_has_an_end() {
    let world = World::new().await;
    let group = world.group();
    let system = OpContext::system(world.tenant.clone(), ActorKind::Cli, world.clock.clone());
    let flood = (0..20_001).map(|_| call(&system, None, MakeToy::labelled("x"))).collect();
    let results = group.run(flood).await;
    assert_eq!(results.len(), 20_001);
    assert!(results.iter().all(|result| matches!(
        result,
        Err(OperationError::Database(tenancy::DbError::Unavailable(_)))
    )));
    assert_eq!(world.labels().await.len(), 0, "all of them or none");
    group.run_one(call(&system, None, MakeToy::labelled("y"))).await.unwrap();
}

#[tokio::test]
async fn nobody_waits_for_company() {
    let world = World::new().await;
    let group = world.group();
    let officer = world.user(&["officer"]);
    for number in 0..5 {
        group.run_one(call(&officer, None, MakeToy::labelled("x"))).await.unwrap();
        assert_eq!(world.transactions().await, number + 1);
    }
    until("no connection is kept", async || world.app().pool_status().0 == 0).await;
}
