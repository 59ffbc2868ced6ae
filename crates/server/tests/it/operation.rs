//! Operations against a real server: what is audited, undone, remembered, told
//! apart and survived, with a toy command whose behaviour every test chooses.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod batch;
mod failing_policy;
mod forgetting;
mod grouped;
mod idempotent;
mod reading;
mod sessions;
mod stopped;
mod surviving;
mod toy;

use operation::{OperationError, Refusal, RefusalKind, Reply, Target};
use serde_json::json;

use toy::{Act, MakeToy, Toy, World, resource};

/// The refusal in a result, or a panic.
fn refusal(result: Result<Reply<Toy>, OperationError>) -> Refusal {
    match result {
        Err(OperationError::Refused(refusal)) => refusal,
        other => panic!("not a refusal: {other:?}"),
    }
}

#[tokio::test]
async fn what_was_done_is_audited_with_it() {
    let world = World::new().await;
    let officer = world.user(&["officer"]);
    let reply = world.run(&officer, MakeToy::labelled("ball")).await.unwrap();
    assert_eq!((reply.status, reply.replayed, reply.output.label.as_str()), (201, false, "ball"));
    let audited = world.audited().await;
    assert_eq!(audited.len(), 1);
    assert_eq!(audited[0].summary(), "toy.make data_modification success");
    assert_eq!(audited[0].user_id, Some(officer.actor.id));
    assert_eq!(audited[0].resource_id, Some(reply.output.id));
}

#[tokio::test]
async fn a_command_without_events_is_audited_all_the_same() {
    let world = World::new().await;
    let command = MakeToy { events: false, ..MakeToy::labelled("quiet") };
    world.run(&world.user(&["officer"]), command).await.unwrap();
    assert_eq!(world.summaries().await, ["toy.make api_access success"]);
}

#[tokio::test]
async fn what_cannot_be_audited_is_not_done() {
    let world = World::new().await;
    let command = MakeToy { details: json!({ "rate": 0.5 }), ..MakeToy::labelled("loose") };
    let error = world.run(&world.user(&["officer"]), command).await.unwrap_err();
    assert!(matches!(error, OperationError::Database(_)), "{error:?}");
    assert_eq!(world.labels().await, Vec::<String>::new());
    assert_eq!(world.summaries().await, ["toy.make api_access failed"]);
}

#[tokio::test]
async fn a_refusal_undoes_its_work_and_keeps_its_record() {
    let world = World::new().await;
    let command = MakeToy::acting("gone", Act::Refuse(RefusalKind::Rule));
    let refused = refusal(world.run(&world.user(&["officer"]), command).await);
    assert_eq!((refused.kind.status(), refused.code.as_ref()), (422, "toy_refused"));
    assert_eq!(world.labels().await, Vec::<String>::new());
    let audited = world.audited().await;
    assert_eq!(audited[0].summary(), "toy.make api_access failed");
    assert_eq!(audited[0].details, json!({ "code": "toy_refused", "fields": [] }));
}

#[tokio::test]
async fn a_refusal_may_keep_what_it_says() {
    let world = World::new().await;
    let command = MakeToy::acting("kept", Act::RefuseAndKeep);
    let refused = refusal(world.run(&world.user(&["officer"]), command).await);
    assert_eq!(refused.code, "toy_refused");
    assert_eq!(world.labels().await, ["kept"]);
    assert_eq!(world.summaries().await, ["toy.make auth_failure failed"]);
}

/// (roles, permission and target, status, code)
#[tokio::test]
async fn refusals_have_an_order() {
    use access::Permission::{AccountRead, AccountUpdate, TransactionCreate, TransactionDeposit};
    let world = World::new().await;
    let object = |held: bool, owned: bool, field| Target::Object {
        resource: resource().held(held).owned(owned),
        read_permission: AccountRead,
        field,
    };
    let missing = |field| Target::Missing { field };
    let table = [
        ("nothing of the kind, missing", "auditor", AccountUpdate, missing(None), 403),
        ("nothing of the kind, there", "auditor", AccountUpdate, object(false, false, None), 403),
        ("unknown role", "pirate", AccountUpdate, Target::Tenant, 403),
        ("missing", "customer", TransactionCreate, missing(None), 404),
        ("another's", "customer", TransactionCreate, object(false, false, None), 404),
        ("missing, of the body", "customer", TransactionCreate, missing(Some("to")), 422),
        (
            "another's, of the body",
            "customer",
            TransactionCreate,
            object(false, false, Some("to")),
            422,
        ),
        ("readable and forbidden", "officer", TransactionDeposit, object(true, false, None), 403),
        ("own", "customer", TransactionCreate, object(false, true, None), 201),
        ("nobody's yet", "customer", TransactionCreate, Target::Tenant, 403),
        ("allowed", "officer", TransactionDeposit, object(false, false, None), 201),
    ];
    for (name, role, permission, target, status) in table {
        let command = MakeToy { permission, target, ..MakeToy::labelled(name) };
        let got = match world.run(&world.user(&[role]), command).await {
            Ok(reply) => reply.status,
            other => refusal(other).kind.status(),
        };
        assert_eq!(got, status, "{name}");
    }
    let unseen = [missing(Some("to")), object(false, false, Some("to"))].map(|target| MakeToy {
        permission: TransactionCreate,
        target,
        ..MakeToy::labelled("x")
    });
    let customer = world.user(&["customer"]);
    let mut words = Vec::new();
    for command in unseen {
        words.push(refusal(world.run(&customer, command).await));
    }
    assert_eq!(words[0], words[1], "missing and foreign read the same");
    assert_eq!(world.labels().await, ["allowed", "own"]);
}

#[tokio::test]
async fn nobody_may_only_do_what_is_made_for_nobody() {
    let world = World::new().await;
    let nobody = world.nobody();
    let refused = refusal(world.run(&nobody, MakeToy::labelled("x")).await);
    assert_eq!(
        (refused.kind, refused.code.as_ref()),
        (RefusalKind::Unauthenticated, "invalid_token")
    );
    // Strangers share no memory: the key of one never answers another.
    for label in ["one", "two"] {
        let reply = world.run_anonymous(&nobody, "key", label).await.unwrap();
        assert_eq!((reply.output.as_str(), reply.replayed), (label, false));
    }
    assert_eq!(world.remembered().await, 0);
}
