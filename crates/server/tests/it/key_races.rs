//! Generations of keys that change while others work: whoever destroys a KEK and whoever
//! stores a key under it never both succeed, a rotation that stops halfway leaves a tenant
//! that works, and nodes that are a second behind lose nobody's data.

use std::future::Future;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tenancy::keyring::{TenantKeys, store_subject_keys};
use tenancy::{DbError, OpContext, TenantTx};
use uuid::Uuid;
use vault::{Kek, Purpose, TenantKey as _, WrappingKey as _};

use crate::bank_world::BankWorld;
use crate::key_epochs::{
    DESTROY, NEW_KEK, Node, RETIRE_DATA_KEY, RETIRE_KEK, destroy, epoch_of, rewrap, roots, rotate,
};

/// What waits for a lock for longer waits for ever.
const PATIENCE: Duration = Duration::from_secs(20);

async fn in_time<T>(what: &str, work: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, work).await.unwrap_or_else(|_| panic!("{what} hangs"))
}

/// Returns once a connection of this database waits for a lock.
async fn until_somebody_waits(world: &BankWorld) {
    let sql = "SELECT count(*) FROM pg_stat_activity \
        WHERE datname = current_database() AND wait_event_type = 'Lock'";
    let waited = async {
        while world.superuser.query_one(sql, &[]).await.unwrap().get::<_, i64>(0) == 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    in_time("nobody waits, and the test", waited).await;
}

/// Stores a key of somebody new by the keys that a node holds; the transaction stays open.
async fn storing(
    world: &BankWorld,
    context: &OpContext,
    keys: &TenantKeys,
) -> Result<TenantTx, DbError> {
    let transaction = world.app.begin(context).await?;
    let subject = keys.make_subject_key().map_err(DbError::from)?;
    let subjects = [(context.clock.new_id(), &subject)];
    store_subject_keys(&transaction, keys, &subjects).await.map_err(DbError::from)?;
    Ok(transaction)
}

async fn destroying(
    world: &BankWorld,
    context: &OpContext,
    epoch: i32,
) -> Result<TenantTx, DbError> {
    let transaction = world.app.begin(context).await?;
    transaction.execute(DESTROY, &[&context.tenant_id(), &epoch]).await?;
    Ok(transaction)
}

/// How many living keys of people are under a generation, and whether it is destroyed.
async fn under(world: &BankWorld, context: &OpContext, epoch: i32) -> (i64, bool) {
    let sql = "SELECT (SELECT count(*) FROM subject_keys subject WHERE subject.tenant_id = $1 \
            AND subject.kek_epoch = $2 AND subject.wrapped_key IS NOT NULL), status = 'destroyed' \
        FROM tenant_keks WHERE tenant_id = $1 AND purpose = 'field_kek' AND epoch = $2";
    let row = world.superuser.query_one(sql, &[&context.tenant_id(), &epoch]).await.unwrap();
    (row.get(0), row.get(1))
}

#[tokio::test]
async fn a_key_is_stored_under_a_generation_or_that_is_destroyed_and_never_both() {
    let world = BankWorld::new().await;
    let tenant = world.tenant("race-bank").await;
    let node = Node::start(&world);
    node.create(&tenant, "Ann").await;
    // A node that keeps these is behind all along.
    let behind = node.keyring.tenant(&world.app, &tenant).await.unwrap();
    rotate(&world, &tenant, 2).await;
    rewrap(&world, &tenant, (1, 2), true).await;

    // Who stores comes first and stays: the generation is in use.
    let first = storing(&world, &tenant, &behind).await.unwrap();
    let (refused, ()) = tokio::join!(in_time("destroying", destroy(&world, &tenant, 1)), async {
        until_somebody_waits(&world).await;
        first.commit().await.unwrap();
    });
    assert_eq!(refused.unwrap_err().state(), Some("23000"));
    assert_eq!(under(&world, &tenant, 1).await, (1, false));

    // Who destroys comes first and thinks better of it: nothing happened.
    rewrap(&world, &tenant, (1, 2), true).await;
    let second = destroying(&world, &tenant, 1).await.unwrap();
    let (stored, ()) = tokio::join!(in_time("storing", storing(&world, &tenant, &behind)), async {
        until_somebody_waits(&world).await;
        second.rollback().await.unwrap();
    });
    stored.unwrap().commit().await.unwrap();
    assert_eq!(under(&world, &tenant, 1).await, (1, false));

    // Who destroys comes first and stays: what is stored then is stored by newer keys.
    rewrap(&world, &tenant, (1, 2), true).await;
    let third = destroying(&world, &tenant, 1).await.unwrap();
    let (refused, ()) =
        tokio::join!(in_time("storing", storing(&world, &tenant, &behind)), async {
            until_somebody_waits(&world).await;
            third.commit().await.unwrap();
        });
    assert!(matches!(refused, Err(DbError::Retry(_))), "{:?}", refused.map(drop));
    assert!(behind.is_stale(), "and the keys that were too old are read again");
    assert_eq!(under(&world, &tenant, 1).await, (0, true));

    // Who stores comes first and is rolled back: nothing is in the way.
    rotate(&world, &tenant, 3).await;
    rewrap(&world, &tenant, (2, 3), true).await;
    let node = Node::start(&world);
    let keys = node.keyring.tenant(&world.app, &tenant).await.unwrap();
    rotate(&world, &tenant, 4).await;
    rewrap(&world, &tenant, (3, 4), true).await;
    let fourth = storing(&world, &tenant, &keys).await.unwrap();
    let (done, ()) = tokio::join!(in_time("destroying", destroy(&world, &tenant, 3)), async {
        until_somebody_waits(&world).await;
        fourth.rollback().await.unwrap();
    });
    done.unwrap();
    assert_eq!(under(&world, &tenant, 3).await, (0, true));
    assert_eq!(node.names(&tenant).await, ["Ann"]);
}

#[tokio::test]
async fn generations_come_and_go_under_nodes_that_work_and_nobody_is_lost() {
    const PEOPLE: usize = 30;
    const ALL: i64 = 60;
    let world = BankWorld::new().await;
    let tenant = world.tenant("busy-bank").await;
    let (one, two) = (Node::start(&world), Node::start(&world));
    let done = AtomicBool::new(false);
    let creates = async |node: &Node, prefix: &str| {
        let mut made: Vec<(Uuid, String)> = Vec::new();
        while made.len() < PEOPLE {
            let name = format!("{prefix}{:02}", made.len());
            let id = node.create(&tenant, &name).await.id;
            if let Some((id, name)) = made.last() {
                assert_eq!(node.name(&tenant, *id).await, *name);
            }
            made.push((id, name));
        }
        made
    };
    let works = async {
        let (mut made, others) = tokio::join!(creates(&one, "a"), creates(&two, "b"));
        made.extend(others);
        done.store(true, Ordering::Relaxed);
        made
    };
    let rotates = async {
        let mut old = 1;
        while old < 4 || !done.load(Ordering::Relaxed) {
            rotate(&world, &tenant, u32::try_from(old + 1).unwrap()).await;
            in_time("taking a generation away", take_away(&world, &tenant, old)).await;
            old += 1;
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        old
    };
    let (made, newest) = tokio::join!(works, rotates);
    for old in 1..newest {
        assert_eq!(under(&world, &tenant, old).await, (0, true), "generation {old}");
    }
    assert_eq!(made.len(), 2 * PEOPLE);
    assert_eq!(under(&world, &tenant, newest).await, (ALL, false));
    let node = Node::start(&world);
    for (id, name) in made {
        assert_eq!(node.name(&tenant, id).await, name);
    }
}

/// Nodes store under the old generation for up to a second more.
async fn take_away(world: &BankWorld, tenant: &OpContext, old: i32) {
    loop {
        rewrap(world, tenant, (old, old + 1), true).await;
        match destroy(world, tenant, old).await {
            Ok(()) => return,
            Err(error) => assert_eq!(error.state(), Some("23000"), "{error}"),
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn a_rotation_that_stops_halfway_leaves_a_tenant_that_works() {
    let world = BankWorld::new().await;
    let tenant = world.tenant("half-bank").await;
    let id = tenant.tenant_id();
    let ann = Node::start(&world).create(&tenant, "Ann").await;
    let cell = ("notices", "values_sealed", Uuid::from_u128(5));
    let keys = Node::start(&world).keyring.tenant(&world.app, &tenant).await.unwrap();
    let sealed = keys.seal(keys.field(), cell, "before").unwrap();
    let works = async |expected: &[&str]| {
        let node = Node::start(&world);
        assert_eq!(node.names(&tenant).await, expected);
        let keys = node.keyring.tenant(&world.app, &tenant).await.unwrap();
        assert_eq!(keys.open_own(cell, sealed.clone()).unwrap(), "before");
        let again = keys.seal(keys.field(), cell, "after").unwrap();
        assert_eq!(keys.open_own(cell, again).unwrap(), "after");
    };

    // Killed before its transaction ended: nothing happened.
    let killed = world.app.begin(&tenant).await.unwrap();
    assert_eq!(killed.execute(RETIRE_KEK, &[&id]).await.unwrap(), 1);
    drop(killed);
    works(&["Ann"]).await;

    // Killed after the KEK and before the data key: each has its own generation.
    let kek = Kek::generate(id, Purpose::FieldKek, 2).unwrap();
    let wrapped = roots().field().wrap_key(&kek).unwrap();
    let step = world.app.begin(&tenant).await.unwrap();
    assert_eq!(step.execute(RETIRE_KEK, &[&id]).await.unwrap(), 1);
    step.execute(NEW_KEK, &[&id, &2, &kek.context().key.0, &wrapped.as_bytes()]).await.unwrap();
    step.commit().await.unwrap();
    works(&["Ann"]).await;
    let bob = Node::start(&world).create(&tenant, "Bob").await;
    assert_eq!((epoch_of(&world, ann.id).await, epoch_of(&world, bob.id).await), (1, 2));

    // Killed after the tenant's keys and before people's: the old generation stays.
    rewrap(&world, &tenant, (1, 2), false).await;
    works(&["Ann", "Bob"]).await;
    assert!(destroy(&world, &tenant, 1).await.is_err());
    // Begun again, it comes to its end; a second time, it finds nothing left to do.
    for _ in 0..2 {
        rewrap(&world, &tenant, (1, 2), true).await;
    }
    destroy(&world, &tenant, 1).await.unwrap();
    works(&["Ann", "Bob"]).await;

    // Two at once make one generation: the later one is refused whole.
    let fourth = world.app.begin(&tenant).await.unwrap();
    assert_eq!(fourth.execute(RETIRE_DATA_KEY, &[&id]).await.unwrap(), 1);
    let kek = Kek::generate(id, Purpose::FieldKek, 2).unwrap();
    let wrapped = roots().field().wrap_key(&kek).unwrap();
    let again =
        fourth.execute(NEW_KEK, &[&id, &2, &kek.context().key.0, &wrapped.as_bytes()]).await;
    assert_eq!(again.unwrap_err().state(), Some("23505"));
    drop(fourth);
    works(&["Ann", "Bob"]).await;
}
