//! Views: 403, 404, and who read what.

use std::time::{Duration, Instant};

use access::{Permission, Scope};
use futures_util::future::join_all;
use operation::read::ViewFailure;
use operation::{Found, OperationError, RefusalKind, View};
use serde_json::{Value, json};
use tenancy::{Database, DbError, OpContext, Query};
use uuid::Uuid;

use super::toy::{World, open, resource, until};

const ONE: &str = "SELECT 1 WHERE $1::uuid IS NOT NULL";

#[derive(Clone, Copy, Debug)]
pub(super) enum What {
    Own,
    Another,
    Missing,
    List(usize),
}

pub(super) struct Look(pub(super) What);

impl View for Look {
    const NAME: &'static str = "toy.read";
    const RESOURCE: &'static str = "toy";
    type Output = usize;

    fn permission(&self) -> Permission {
        Permission::AccountRead
    }

    fn object(&self) -> Option<Uuid> {
        (!matches!(self.0, What::List(_))).then_some(Uuid::from_u128(77))
    }

    fn filter(&self) -> Option<Value> {
        matches!(self.0, What::List(_)).then(|| json!({ "status": "active" }))
    }

    async fn load(
        &self,
        database: &Database,
        context: &OpContext,
        _: Scope,
    ) -> Result<Found<usize>, ViewFailure> {
        let rows = database.read(context, &[Query::new(ONE, &[&context.tenant_id()])]).await?;
        assert_eq!(rows[0].len(), 1);
        Ok(match self.0 {
            What::Own => Found::Object { value: 1, resource: resource().owned(true) },
            What::Another => Found::Object { value: 1, resource: resource() },
            What::Missing => Found::Missing,
            What::List(count) => Found::List { value: count, count },
        })
    }
}

#[tokio::test]
async fn a_read_is_refused_in_order_and_on_the_record() {
    let world = World::new().await;
    let table = [
        ("pirate", What::Missing, Some(RefusalKind::Denied)),
        ("pirate", What::List(3), Some(RefusalKind::Denied)),
        ("customer", What::Missing, Some(RefusalKind::NotFound)),
        ("customer", What::Another, Some(RefusalKind::NotFound)),
        ("customer", What::Own, None),
        ("officer", What::Another, None),
    ];
    for (role, what, expected) in table {
        let got = match world.operations.read(&world.user(&[role]), &Look(what)).await {
            Ok(_) => None,
            Err(OperationError::Refused(refusal)) => Some(refusal.kind),
            Err(other) => panic!("{role} {what:?}: {other:?}"),
        };
        assert_eq!(got, expected, "{role} {what:?}");
    }
    // Only the refused ones are written at once.
    let audited = world.audited().await;
    assert_eq!(world.summaries().await, ["toy.read permission_denied denied"; 4]);
    assert_eq!(audited[0].resource_id, Some(Uuid::from_u128(77)));

    match world.operations.read(&world.nobody(), &Look(What::Own)).await {
        Err(OperationError::Refused(refusal)) => {
            assert_eq!(refusal.kind, RefusalKind::Unauthenticated);
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn who_is_refused_and_hangs_up_is_on_the_record() {
    let world = World::new().await;
    let pirate = world.user(&["pirate"]);
    let view = Look(What::Missing);
    let read = world.operations.read(&pirate, &view);
    assert!(tokio::time::timeout(Duration::ZERO, read).await.is_err());
    until("it is written", async || {
        world.summaries().await == ["toy.read permission_denied denied"]
    })
    .await;
}

#[tokio::test]
async fn reads_are_on_the_record_once_and_then_with_a_count() {
    let world = World::new().await;
    let customer = world.user(&["customer"]);
    let log = world.operations.access_log();
    let look = async |context: &OpContext, what| {
        world.operations.read(context, &Look(what)).await.unwrap()
    };
    for _ in 0..3 {
        look(&customer, What::Own).await;
    }
    assert_eq!(log.flush(world.app(), false).await.unwrap(), 1);
    assert_eq!(log.flush(world.app(), false).await.unwrap(), 0, "repeats wait for their minute");
    look(&customer, What::Own).await;
    for count in [5, 7] {
        look(&customer, What::List(count)).await;
    }
    // The same person from another place is another access.
    let mut elsewhere = customer.clone();
    elsewhere.request = std::sync::Arc::new(tenancy::RequestInfo {
        ip: Some("203.0.113.9".parse().unwrap()),
        ..tenancy::RequestInfo::default()
    });
    look(&elsewhere, What::Own).await;
    assert_eq!(log.flush(world.app(), true).await.unwrap(), 4);
    assert_eq!(log.flush(world.app(), true).await.unwrap(), 0);

    let audited = world.audited().await;
    let mut records: Vec<_> =
        audited.iter().map(|one| format!("{} {}", one.summary(), one.details)).collect();
    records.sort();
    assert_eq!(
        records,
        [
            "toy.read data_access success null",
            "toy.read data_access success null",
            r#"toy.read data_access success {"repeats":3}"#,
            r#"toy.read data_query success {"count":5,"filter":{"status":"active"}}"#,
            r#"toy.read data_query success {"count":7,"filter":{"status":"active"},"repeats":1}"#,
        ]
    );
}

#[tokio::test]
async fn what_could_not_be_written_is_written_later() {
    let world = World::new().await;
    let log = world.operations.access_log();
    for _ in 0..2 {
        world.operations.read(&world.user(&["officer"]), &Look(What::Own)).await.unwrap();
    }
    let cannot = open(&world.database, "strongroom_auditor");
    for everything in [false, true] {
        log.flush(&cannot, everything).await.unwrap_err();
    }
    assert_eq!(world.summaries().await.len(), 0);
    assert_eq!(log.flush(world.app(), true).await.unwrap(), 2);
    assert_eq!(world.summaries().await, ["toy.read data_access success"; 2]);
}

/// Lookups wait for locks of DDL alone, and share connections while they do.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lookup_that_waits_for_a_lock_is_stopped_before_it_holds_up_the_others_for_long() {
    const TOYS: &str = "SELECT label FROM toys WHERE tenant_id = $1::uuid";
    let world = World::new().await;
    let officer = world.user(&["officer"]);
    let tenant = officer.tenant_id();
    // Prepared on some connections and new to others: a statement locks its tables when
    // it is parsed and when its plan is looked at.
    world.app().look_up(&officer, Query::new(TOYS, &[&tenant])).await.unwrap();
    let holder = testkit::connect(&world.database.superuser_url()).await;
    holder.batch_execute("BEGIN; LOCK TABLE toys IN ACCESS EXCLUSIVE MODE").await.unwrap();
    let begun = Instant::now();
    let parameters: [&(dyn tokio_postgres::types::ToSql + Sync); 1] = [&tenant];
    let (toys, ones) = (Query::new(TOYS, &parameters), Query::new(ONE, &parameters));
    let blocked = join_all((0..4).map(async |_| {
        let outcome = world.app().look_up(&officer, toys).await;
        assert!(matches!(outcome, Err(DbError::Stopped(_))), "{outcome:?}");
    }));
    let others = join_all((0..40).map(async |_| {
        tokio::time::sleep(Duration::from_millis(100)).await;
        world.app().look_up(&officer, ones).await.unwrap();
    }));
    tokio::join!(blocked, others);
    let took = begun.elapsed();
    let bounds = Duration::from_millis(1_900)..Duration::from_secs(6);
    assert!(bounds.contains(&took), "{took:?}");
    holder.batch_execute("ROLLBACK").await.unwrap();
    world.app().look_up(&officer, toys).await.unwrap();
}
