//! Keys that seal and wrap are rotated, wrapped anew and destroyed: nothing that was sealed is
//! lost, nothing that is needed is destroyed, and nobody does it who may not.

use std::sync::Arc;

use futures_util::future::join_all;
use jiff::SignedDuration;
use operation::{DestroyKey, KeysRewrapped, Refusal, RewrapKeys, RotateDataKey};
use server::compose::SEALED;
use tenancy::{
    ActorKind, OpContext,
    directory::Directory,
    keyring::{Keyring, Rotatable, store_subject_keys},
    migrate::Migrator,
};
use testkit::connect;
use tokio_postgres::error::SqlState;
use uuid::Uuid;
use vault::DataKey;

use crate::{
    bank_world::{BankWorld, open},
    key_epochs::{Node, epoch_of},
};

const KEKS: [Rotatable; 2] = [Rotatable::TenantKek, Rotatable::FieldKek];

pub(crate) async fn rotate(
    world: &BankWorld,
    context: &OpContext,
    what: Rotatable,
) -> Result<u32, Refusal> {
    let command = RotateDataKey { keyring: Arc::clone(&world.keyring), what };
    world.run(context, command).await.map(|made| made.epoch)
}

async fn rewrap_some(world: &BankWorld, context: &OpContext) -> KeysRewrapped {
    let command = RewrapKeys { keyring: Arc::clone(&world.keyring) };
    world.run(context, command).await.unwrap()
}

pub(crate) async fn destroy(
    world: &BankWorld,
    context: &OpContext,
    what: Rotatable,
    epoch: i32,
) -> Result<String, Refusal> {
    let command = DestroyKey { keyring: Arc::clone(&world.keyring), sealed: SEALED, what, epoch };
    world.run(context, command).await.map(|gone| gone.status)
}

async fn refused_as(
    world: &BankWorld,
    context: &OpContext,
    (what, epoch): (Rotatable, i32),
) -> (u16, String) {
    let refusal = destroy(world, context, what, epoch).await.unwrap_err();
    (refusal.kind.status(), refusal.code.into_owned())
}

/// What the log has of changes of keys and of refusals, in order; not what changed nothing.
async fn recorded(world: &BankWorld, context: &OpContext) -> Vec<String> {
    let sql = "SELECT action || ' ' || result::text FROM audit_log WHERE tenant_id = $1 \
        AND action LIKE 'data_key.%' \
        AND (event_type::text = 'key_management' OR result::text = 'failed') ORDER BY event_id";
    let rows = world.superuser.query(sql, &[&context.tenant_id()]).await.unwrap();
    rows.iter().map(|row| row.get(0)).collect()
}

/// A tenant with a key that signs its log.
pub(crate) async fn tenant(world: &BankWorld, slug: &str) -> OpContext {
    let context = world.tenant(slug).await;
    let transaction = world.app.begin(&context).await.unwrap();
    let keys = world.keyring.tenant_in(&transaction).await.unwrap();
    audit::keys::create(&transaction, keys.kek()).await.unwrap();
    transaction.commit().await.unwrap();
    context
}

/// A secret of the tenant's own that waits in the queue.
async fn queue_secret(world: &BankWorld, context: &OpContext) -> (Uuid, Vec<u8>) {
    let keys = Node::start(world).keyring.tenant(&world.app, context).await.unwrap();
    let id = world.clock.new_id();
    let seal = |column| keys.seal(keys.field(), ("notices", column, id), "secret").unwrap();
    let (recipient, values) = (seal("recipient_sealed"), seal("values_sealed"));
    let sql = "INSERT INTO notices (tenant_id, id, channel, template, recipient_sealed, values_sealed, \
        expires_at) VALUES ($1, $2, 'email', 'welcome', $3, $4, now() + interval '1 day')";
    world.run_sql(sql, &[&context.tenant_id(), &id, &recipient, &values]).await;
    (id, values)
}

#[tokio::test]
async fn both_keks_are_replaced_and_nothing_is_lost() {
    let world = BankWorld::new().await;
    let tenant = tenant(&world, "life-bank").await;
    let node = Node::start(&world);
    let ann = node.create(&tenant, "Ann").await;
    let (notice, sealed) = queue_secret(&world, &tenant).await;
    for what in KEKS {
        assert_eq!(rotate(&world, &tenant, what).await.unwrap(), 2);
        let in_use = refused_as(&world, &tenant, (what, 1)).await;
        assert_eq!(in_use, (409, "key_in_use".to_owned()), "{what:?}");
    }
    assert_eq!(node.name(&tenant, ann.id).await, "Ann");
    let done = rewrap_some(&world, &tenant).await;
    assert_eq!(done, KeysRewrapped { data_keys: 6, subject_keys: 1, log_keys: 1 });
    assert!(rewrap_some(&world, &tenant).await.is_none(), "a second time finds nothing to do");
    assert_eq!(epoch_of(&world, ann.id).await, 2);
    for what in KEKS {
        for time in ["once", "twice"] {
            let gone = destroy(&world, &tenant, what, 1).await.unwrap();
            assert_eq!(gone, "destroyed", "{what:?} {time}");
        }
    }
    // One that has read nothing yet, and one that has all the old keys in memory.
    for node in [&Node::start(&world), &node] {
        assert_eq!(node.name(&tenant, ann.id).await, "Ann");
        let keys = node.keyring.tenant(&world.app, &tenant).await.unwrap();
        let cell = ("notices", "values_sealed", notice);
        assert_eq!(keys.open_own(cell, sealed.clone()).unwrap(), "secret");
    }
    let bob = node.create(&tenant, "Bob").await;
    assert_eq!(epoch_of(&world, bob.id).await, 2);
    let log_sealer = audit::Sealer::new(
        open(&world.database, "strongroom_sealer"),
        Arc::clone(&world.keyring),
        world.clock.clone(),
    );
    assert!(
        log_sealer.drain().await.unwrap() > 0,
        "the log is signed by the key that was wrapped anew"
    );

    // The clock stands still, so records of it are in no order.
    let mut told = recorded(&world, &tenant).await;
    told.sort_unstable();
    assert_eq!(
        told,
        [
            "data_key.destroy failed",
            "data_key.destroy failed",
            "data_key.destroy success",
            "data_key.destroy success",
            "data_key.rewrap success",
            "data_key.rotate success",
            "data_key.rotate success",
        ]
    );
}

#[tokio::test]
async fn a_key_that_is_needed_is_not_destroyed() {
    let world = BankWorld::new().await;
    let tenant = tenant(&world, "needed-bank").await;
    for what in Rotatable::ALL {
        let active = refused_as(&world, &tenant, (what, 1)).await;
        assert_eq!(active, (409, "key_not_retired".to_owned()), "{what:?}");
        for unknown in [2, 255, i32::MAX] {
            assert_eq!(refused_as(&world, &tenant, (what, unknown)).await.0, 404, "{what:?}");
        }
    }
    queue_secret(&world, &tenant).await;
    assert_eq!(rotate(&world, &tenant, Rotatable::FieldData).await.unwrap(), 2);
    let old = (Rotatable::FieldData, 1);
    // First because a node may still seal under it, then because values are left.
    for minutes in [0, 4, 2] {
        world.clock.advance(SignedDuration::from_mins(minutes));
        let refused = destroy(&world, &tenant, old.0, old.1).await.unwrap_err();
        assert_eq!(refused.code, "key_in_use");
        let expected = if minutes == 2 { "2 values" } else { "5 minutes" };
        assert!(refused.detail.contains(expected), "{}", refused.detail);
    }
    world.run_sql("DELETE FROM notices WHERE tenant_id = $1", &[&tenant.tenant_id()]).await;
    assert_eq!(destroy(&world, &tenant, old.0, old.1).await.unwrap(), "destroyed");
    let (notice, sealed) = queue_secret(&world, &tenant).await;
    let keys = Node::start(&world).keyring.tenant(&world.app, &tenant).await.unwrap();
    assert_eq!(keys.open_own(("notices", "values_sealed", notice), sealed).unwrap(), "secret");
}

#[tokio::test]
async fn nobody_without_the_permission_and_nobody_of_another_tenant() {
    let world = BankWorld::new().await;
    let (mine, theirs) = (tenant(&world, "mine-bank").await, tenant(&world, "their-bank").await);
    let sql = "SELECT tenant_id, purpose, epoch, status FROM tenant_keks UNION ALL \
        SELECT tenant_id, purpose, epoch, status FROM data_keys ORDER BY 1, 2, 3";
    let keys = async || -> Vec<(Uuid, String, i32, String)> {
        let rows = world.rows(sql).await;
        rows.iter().map(|row| (row.get(0), row.get(1), row.get(2), row.get(3))).collect()
    };
    let before = keys().await;
    for role in ["customer", "customer_service", "auditor"] {
        let person = world.person(&mine, role).await;
        for what in Rotatable::ALL {
            let refused = rotate(&world, &person, what).await.unwrap_err();
            assert_eq!(refused.kind.status(), 403, "{role} {what:?}");
            assert_eq!(refused_as(&world, &person, (what, 1)).await.0, 403, "{role} {what:?}");
        }
        let command = RewrapKeys { keyring: Arc::clone(&world.keyring) };
        assert_eq!(world.run(&person, command).await.unwrap_err().kind.status(), 403, "{role}");
    }
    assert_eq!(keys().await, before);
    rotate(&world, &mine, Rotatable::FieldKek).await.unwrap();
    rewrap_some(&world, &mine).await;
    destroy(&world, &mine, Rotatable::FieldKek, 1).await.unwrap();
    let of_theirs = |rows: Vec<(Uuid, String, i32, String)>| {
        rows.into_iter().filter(|row| row.0 == theirs.tenant_id()).collect::<Vec<_>>()
    };
    assert_eq!(of_theirs(keys().await), of_theirs(before));
}

#[tokio::test]
async fn many_at_once_are_one_after_the_other_under_people_who_work() {
    let world = BankWorld::new().await;
    let tenant = tenant(&world, "race-bank").await;
    let node = Node::start(&world);
    let rotations = (0..12).map(|at| rotate(&world, &tenant, KEKS[at % 2]));
    let (names, node) = (["Ann", "Bob", "Cyd", "Dan", "Eve"], &node);
    let people = names.map(|name| node.create(&tenant, name));
    let (rotated, _) = tokio::join!(join_all(rotations), join_all(people));
    let mut epochs: Vec<u32> = rotated.into_iter().map(Result::unwrap).collect();
    epochs.sort_unstable();
    assert_eq!(epochs, [2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7]);
    let sql = "SELECT count(*) FROM tenant_keks WHERE status = 'active'";
    assert_eq!(world.rows(sql).await[0].get::<_, i64>(0), 2);
    // Two rewrap at the same time as well, and two destroy.
    let steps = join_all((0..2).map(|_| rewrap_some(&world, &tenant))).await;
    let anew: usize = steps.iter().map(|step| step.subject_keys).sum();
    assert!(anew <= names.len() && steps.iter().filter(|step| step.data_keys > 0).count() == 1);
    for epoch in 1..=6 {
        let both = join_all((0..2).map(|_| destroy(&world, &tenant, KEKS[1], epoch))).await;
        assert!(both.iter().all(Result::is_ok), "{both:?}");
    }
    assert_eq!(Node::start(&world).names(&tenant).await, names);
}

#[tokio::test]
async fn many_peoples_keys_are_wrapped_anew_in_steps_that_stand_alone() {
    let world = BankWorld::new().await;
    let tenant = tenant(&world, "step-bank").await;
    let transaction = world.app.begin(&tenant).await.unwrap();
    let keys = world.keyring.tenant_in(&transaction).await.unwrap();
    let made: Vec<(Uuid, DataKey)> =
        (0..1_100).map(|_| (world.clock.new_id(), keys.make_subject_key().unwrap())).collect();
    let subjects: Vec<(Uuid, &DataKey)> = made.iter().map(|(id, key)| (*id, key)).collect();
    store_subject_keys(&transaction, &keys, &subjects).await.unwrap();
    transaction.commit().await.unwrap();
    rotate(&world, &tenant, Rotatable::FieldKek).await.unwrap();

    let mut steps = vec![rewrap_some(&world, &tenant).await.subject_keys];
    // One that stops before its end has changed nothing; the next goes on where it was.
    let transaction = world.app.begin(&tenant).await.unwrap();
    assert_eq!(world.keyring.rewrap(&transaction, 500).await.unwrap().subject_keys, 500);
    drop(transaction);
    while !matches!(steps.last(), Some(0)) {
        steps.push(rewrap_some(&world, &tenant).await.subject_keys);
    }
    assert_eq!(steps, [500, 500, 100, 0]);
    destroy(&world, &tenant, Rotatable::FieldKek, 1).await.unwrap();
    let fresh = Keyring::new(crate::key_epochs::roots());
    let transaction = world.app.begin(&tenant).await.unwrap();
    let keys = fresh.tenant_in(&transaction).await.unwrap();
    let ids: Vec<Uuid> = made.iter().map(|(id, _)| *id).collect();
    let opened = tenancy::keyring::load_subject_keys(&transaction, &keys, &ids).await.unwrap();
    assert_eq!(opened.len(), made.len());
    assert!(made.iter().all(|(id, key)| opened[id].id() == key.id()));
}

#[tokio::test]
async fn a_suspended_tenants_keys_are_wrapped_anew_as_well() {
    let world = BankWorld::new().await;
    let tenant = tenant(&world, "still-bank").await;
    let ann = Node::start(&world).create(&tenant, "Ann").await;
    rotate(&world, &tenant, Rotatable::FieldKek).await.unwrap();
    let sql = "UPDATE tenants SET status = 'suspended' WHERE id = $1";
    world.run_sql(sql, &[&tenant.tenant_id()]).await;
    let directory = Directory::new(world.app.clone());
    assert!(directory.by_slug("still-bank").await.unwrap().is_none());
    let listed = directory.with_suspended().await.unwrap();
    let found = listed.into_iter().find(|one| one.slug == "still-bank").unwrap();
    let context = OpContext::system(found, ActorKind::Cli, world.clock.clone());
    assert_eq!(rewrap_some(&world, &context).await.subject_keys, 1);
    assert_eq!(epoch_of(&world, ann.id).await, 2);
}

#[tokio::test]
async fn replica_mode_brings_no_key_back_and_the_schema_does_not_go_back_over_a_rotation() {
    let world = BankWorld::new().await;
    let tenant = tenant(&world, "guard-bank").await;
    let mut owner = connect(&world.database.url_as("strongroom_owner")).await;
    let migrator = Migrator::embedded();
    let newer = migrator.migrations().iter().filter(|one| one.version >= 30).count();
    let steps = u32::try_from(newer).unwrap();
    migrator.down(&mut owner, steps).await.unwrap();
    migrator.up(&mut owner, None).await.unwrap();

    rotate(&world, &tenant, Rotatable::TenantKek).await.unwrap();
    rotate(&world, &tenant, Rotatable::FieldData).await.unwrap();
    world.superuser.batch_execute("SET session_replication_role = replica").await.unwrap();
    for statement in [
        "UPDATE tenant_keks SET status = 'active' WHERE status = 'retired'",
        "UPDATE data_keys SET status = 'active' WHERE status = 'retired'",
        "UPDATE tenant_keks SET status = 'destroyed', wrapped_key = NULL, destroyed_at = now() \
         WHERE status = 'retired'",
        "UPDATE audit_log_keys SET wrapped_seed = 'forged'",
    ] {
        let error = world.superuser.batch_execute(statement).await.expect_err(statement);
        assert_eq!(error.code().map(SqlState::code), Some("23000"), "{statement}: {error}");
    }
    world.superuser.batch_execute("SET session_replication_role = origin").await.unwrap();
    let refused = migrator.down(&mut owner, steps).await.unwrap_err();
    assert!(format!("{refused:?}").contains("KEKs of tenant"), "{refused:?}");
    assert_eq!(rotate(&world, &tenant, Rotatable::TenantKek).await.unwrap(), 3);
}
