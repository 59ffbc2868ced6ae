//! A policy that cannot be evaluated: nothing is allowed by it, and somebody hears of it.

use std::{sync::Arc, time::Duration};

use access::{Permission, Policies};
use operation::{AccessLog, Call, OperationError, Operations, RefusalKind, Target};

use super::reading::{Look, What};
use super::toy::{MakeToy, World, resource, until};

/// Everybody may everything, but where the second one overflows: on objects one owns.
const ERRING: &str = r#"
@id("permit") permit (
    principal, action in [Action::"account:read", Action::"account:update"], resource
);
@id("erring") forbid (
    principal, action in [Action::"account:read", Action::"account:update"], resource
) when { (if resource.owned then 9223372036854775807 else 0) + 1 > 10 };
"#;
/// Overflows on whatever it is asked about.
const ALWAYS: &str = r#"
@id("permit") permit (principal, action == Action::"account:read", resource);
@id("erring") forbid (principal, action == Action::"account:read", resource)
when { (if resource.owned then 9223372036854775807 else 9223372036854775806) + 2 > 10 };
"#;

async fn world(policies: &'static str) -> World {
    let mut world = World::new().await;
    let failing = Policies::from_texts(|_| vec![policies.into()]).unwrap();
    let database = world.operations.database().clone();
    world.operations = Operations::new(database, Arc::new(failing), AccessLog::default());
    world
}

/// Waits for the records of failed decisions: they hold nobody up.
async fn told(world: &World) -> Vec<String> {
    assert!(world.operations.drain(Duration::from_secs(10)).await);
    world.summaries().await
}

fn on(owned: bool) -> MakeToy {
    let target = Target::Object {
        resource: resource().owned(owned),
        read_permission: Permission::AccountRead,
        field: None,
    };
    MakeToy { target, ..MakeToy::labelled(if owned { "owned" } else { "another" }) }
}

#[tokio::test]
async fn a_command_is_refused_and_its_neighbour_is_not() {
    let world = world(ERRING).await;
    let officer = world.user(&["officer"]);
    let calls = [true, false].map(|owned| Call {
        context: officer.clone(),
        idempotency_key: None,
        command: on(owned),
    });
    let answers = world.operations.run(calls.into()).await;
    match &answers[0] {
        // Whether it is there is not said either: reading it could not be decided.
        Err(OperationError::Refused(refusal)) => assert_eq!(refusal.kind, RefusalKind::NotFound),
        other => panic!("{other:?}"),
    }
    assert!(answers[1].is_ok(), "{:?}", answers[1]);
    assert_eq!(world.labels().await, ["another"]);
    let mut told = told(&world).await;
    told.sort();
    let expected = [
        "access.decide security_violation failed",
        "toy.make data_modification success",
        "toy.make permission_denied denied",
    ];
    assert_eq!(told, expected);
    let audited = world.audited().await;
    let failed =
        audited.iter().find(|record| record.summary().starts_with("access.decide")).unwrap();
    assert_eq!(failed.user_id, Some(officer.actor.id));
    assert_eq!(failed.details["permission"], "account:read");
    assert_eq!(failed.details["code"], "policy_failed");
}

#[tokio::test]
async fn a_read_is_refused_every_time_and_told_with_a_count() {
    let world = world(ERRING).await;
    let officer = world.user(&["officer"]);
    for _ in 0..50 {
        match world.operations.read(&officer, &Look(What::Own)).await {
            Err(OperationError::Refused(refusal)) => {
                assert_eq!(refusal.kind, RefusalKind::NotFound);
            }
            other => panic!("{other:?}"),
        }
    }
    world.operations.read(&officer, &Look(What::Another)).await.unwrap();
    let told = told(&world).await;
    let failed = told.iter().filter(|line| line.starts_with("access.decide")).count();
    assert_eq!(failed, 1, "the first at once: {told:?}");
    let log = world.operations.access_log();
    assert_eq!(log.flush(world.operations.database(), true).await.unwrap(), 2, "and one list");
    let audited = world.audited().await;
    let failed: Vec<_> =
        audited.iter().filter(|record| record.summary().starts_with("access.decide")).collect();
    let told: Vec<_> = failed.iter().map(|record| record.details["repeats"].as_u64()).collect();
    assert_eq!(told, [None, Some(49)]);
    // What was told is told no more, and what comes next is news again.
    log.flush(world.operations.database(), true).await.unwrap();
    assert!(world.operations.read(&officer, &Look(What::Own)).await.is_err());
    assert_eq!(
        self::told(&world).await.iter().filter(|line| line.starts_with("access.decide")).count(),
        3
    );
}

#[tokio::test]
async fn a_scope_that_cannot_be_found_is_none_and_told() {
    let world = world(ALWAYS).await;
    let officer = world.user(&["officer"]);
    match world.operations.read(&officer, &Look(What::List(3))).await {
        Err(OperationError::Refused(refusal)) => assert_eq!(refusal.kind, RefusalKind::Denied),
        other => panic!("{other:?}"),
    }
    until("it is told", async || {
        world.summaries().await.iter().any(|line| line.starts_with("access.decide"))
    })
    .await;
}
