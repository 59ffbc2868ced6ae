//! After the field key was rotated all that it sealed moves to the newest one: beside people
//! who work, through processes that are killed, past what does not open, and no value is lost.

use std::collections::HashMap;
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use jiff::SignedDuration;
use operation::{KeyInventory, Refusal, ResealValues, ResealingProgress, ValuesResealed};
use server::compose::SEALED;
use tenancy::{
    ActorKind, OpContext,
    directory::Directory,
    keyring::{Keyring, Rotatable},
};
use uuid::Uuid;

use crate::{
    bank_world::BankWorld,
    cli::strongroom,
    key_changes::{destroy, rotate, tenant},
    key_epochs::{Node, roots},
};

const FIELD: Rotatable = Rotatable::FieldData;
const COLUMNS: usize = 4;
const VALUES: &str = "values_sealed";

/// Secrets of the tenant's own that wait in the queue, each with its number.
async fn queue(
    world: &BankWorld,
    context: &OpContext,
    numbers: std::ops::Range<usize>,
) -> Vec<Uuid> {
    let keys = Keyring::new(roots()).tenant(&world.app, context).await.unwrap();
    let ids: Vec<Uuid> = numbers.clone().map(|_| world.clock.new_id()).collect();
    let seal = |column: &'static str| -> Vec<Vec<u8>> {
        let rows = ids.iter().zip(numbers.clone());
        rows.map(|(id, number)| {
            keys.seal(keys.field(), ("notices", column, *id), &format!("secret {number}")).unwrap()
        })
        .collect()
    };
    let sql = "INSERT INTO notices (tenant_id, id, channel, template, recipient_sealed, values_sealed, \
        expires_at) SELECT $1, made.*, now() + interval '90 days' FROM (SELECT id, 'email', 'welcome', \
        recipient, told FROM unnest($2::uuid[], $3::bytea[], $4::bytea[]) AS made (id, recipient, told)) AS made";
    let (recipients, told) = (seal("recipient_sealed"), seal(VALUES));
    world.run_sql(sql, &[&context.tenant_id(), &ids, &recipients, &told]).await;
    ids
}

async fn step(world: &BankWorld, context: &OpContext) -> Result<ValuesResealed, Refusal> {
    let command = ResealValues { keyring: Arc::clone(&world.keyring), sealed: SEALED };
    world.run(context, command).await
}

/// Until nothing is left for now: values sealed anew and values that were skipped.
async fn reseal(world: &BankWorld, context: &OpContext) -> (usize, usize) {
    let (mut values, mut skipped) = (0, 0);
    loop {
        let page = step(world, context).await.unwrap();
        assert!(page.values + page.skipped <= 500, "{page:?}");
        (values, skipped) = (values + page.values, skipped + page.skipped);
        if page.is_over {
            return (values, skipped);
        }
    }
}

/// Past the time in which a slow node may seal under the key before.
fn settle(world: &BankWorld) {
    world.clock.advance(SignedDuration::from_mins(6));
}

async fn sealed(world: &BankWorld, id: Uuid, column: &str) -> Vec<u8> {
    let sql = format!("SELECT {column} FROM notices WHERE id = $1");
    world.superuser.query_one(&sql, &[&id]).await.unwrap().get(0)
}

/// Every secret opens, on a node that knows the keys as they are now, and says what it said.
async fn assert_open(world: &BankWorld, context: &OpContext, ids: &[Uuid]) {
    let keys = Keyring::new(roots()).tenant(&world.app, context).await.unwrap();
    let sql = "SELECT id, recipient_sealed, values_sealed FROM notices WHERE tenant_id = $1";
    let rows = world.superuser.query(sql, &[&context.tenant_id()]).await.unwrap();
    assert_eq!(rows.len(), ids.len());
    let numbers: HashMap<&Uuid, usize> = ids.iter().zip(0..).collect();
    for row in rows {
        let id: Uuid = row.get("id");
        let number = numbers[&id];
        for column in ["recipient_sealed", VALUES] {
            let opened = keys.open_own(("notices", column, id), row.get(column)).unwrap();
            assert_eq!(opened, format!("secret {number}"));
        }
    }
}

/// Values by the generation that seals them, and how far the column is, as the inventory tells.
async fn inventory(
    world: &BankWorld,
    context: &OpContext,
    column: &str,
) -> Vec<(Option<i32>, i64, Option<ResealingProgress>)> {
    let lines = world.operations.read(context, &KeyInventory { sealed: SEALED }).await.unwrap();
    let ours = lines.into_iter().filter(|line| line.column == column);
    ours.map(|line| (line.epoch, line.values, line.resealing)).collect()
}

fn progress(state: &str, (done, total, skipped): (i64, i64, i64)) -> ResealingProgress {
    ResealingProgress { to_epoch: 2, state: state.to_owned(), done, total, skipped }
}

#[tokio::test]
async fn every_value_moves_to_the_newest_key_and_the_old_one_can_be_destroyed() {
    let world = BankWorld::new().await;
    let (ours, theirs) = (tenant(&world, "our-bank").await, tenant(&world, "their-bank").await);
    let ids = queue(&world, &ours, 0..1_201).await;
    let their_ids = queue(&world, &theirs, 0..3).await;
    let before = sealed(&world, their_ids[0], VALUES).await;
    assert_eq!(reseal(&world, &ours).await, (0, 0), "nothing was rotated");
    assert!(!world.operations.is_reseal_due(&ours, SEALED).await.unwrap());
    rotate(&world, &ours, FIELD).await.unwrap();
    assert!(world.operations.is_reseal_due(&ours, SEALED).await.unwrap());

    let first = step(&world, &ours).await.unwrap();
    assert_eq!((first.values, first.left, first.is_over), (500, 701, false));
    let half = inventory(&world, &ours, "recipient_sealed").await;
    let running = Some(progress("running", (500, 1_201, 0)));
    assert_eq!(half, [(Some(1), 701, running.clone()), (Some(2), 500, running)]);
    assert_open(&world, &ours, &ids).await;
    assert_eq!(reseal(&world, &ours).await, (2 * 1_201 - 500, 0));
    let waiting = Some(progress("waiting", (1_201, 1_201, 0)));
    assert_eq!(inventory(&world, &ours, VALUES).await, [(Some(2), 1_201, waiting)]);
    assert!(!world.operations.is_reseal_due(&ours, SEALED).await.unwrap());

    // A slow node has sealed one under the old key meanwhile: the second pass finds it.
    let late = Keyring::new(roots()).tenant(&world.app, &ours).await.unwrap();
    let old: Uuid = {
        let sql = "SELECT key_id FROM data_keys WHERE tenant_id = $1 AND purpose = 'field_data' AND epoch = 1";
        world.superuser.query_one(sql, &[&ours.tenant_id()]).await.unwrap().get(0)
    };
    let old = late
        .own_key(&[&[1], old.as_bytes().as_slice(), &[0; 80]].concat())
        .map(|key| late.seal(key, ("notices", VALUES, ids[0]), "secret 0").unwrap());
    let sql = "UPDATE notices SET values_sealed = $2 WHERE id = $1";
    world.run_sql(sql, &[&ids[0], &old.unwrap()]).await;
    settle(&world);
    assert!(world.operations.is_reseal_due(&ours, SEALED).await.unwrap());
    assert_eq!(reseal(&world, &ours).await, (1, 0));
    let done = Some(progress("done", (1_202, 1_202, 0)));
    assert_eq!(inventory(&world, &ours, VALUES).await, [(Some(2), 1_201, done)]);
    assert!(!world.operations.is_reseal_due(&ours, SEALED).await.unwrap());
    assert_eq!(destroy(&world, &ours, FIELD, 1).await.unwrap(), "destroyed");
    assert_open(&world, &ours, &ids).await;

    // The other tenant was not touched, and has nothing to do.
    assert_eq!(sealed(&world, their_ids[0], VALUES).await, before);
    assert!(!world.operations.is_reseal_due(&theirs, SEALED).await.unwrap());
    let sql = "SELECT count(*) FROM key_rotations WHERE tenant_id = $1";
    let theirs = world.superuser.query_one(sql, &[&theirs.tenant_id()]).await.unwrap();
    assert_eq!(theirs.get::<_, i64>(0), 0);
    // One record for every column that is through.
    let sql = "SELECT count(*) FROM audit_log WHERE tenant_id = $1 AND action = 'data_key.reseal' \
        AND event_type::text = 'key_management'";
    let records = world.superuser.query_one(sql, &[&ours.tenant_id()]).await.unwrap();
    assert_eq!(usize::try_from(records.get::<_, i64>(0)).unwrap(), COLUMNS);
}

#[tokio::test]
async fn what_does_not_open_is_told_and_left_and_holds_up_nothing() {
    let world = BankWorld::new().await;
    let (ours, theirs) = (tenant(&world, "mine-bank").await, tenant(&world, "alien-bank").await);
    let ids = queue(&world, &ours, 0..6).await;
    let alien = queue(&world, &theirs, 0..1).await;
    let foreign = sealed(&world, alien[0], VALUES).await;
    let moved = sealed(&world, ids[5], VALUES).await;
    let mut altered = sealed(&world, ids[2], VALUES).await;
    *altered.last_mut().unwrap() ^= 1;
    let mut bad = [(ids[0], foreign), (ids[1], moved), (ids[2], altered)];
    bad.sort_unstable();
    for (id, bytes) in &bad {
        let sql = "UPDATE notices SET values_sealed = $2 WHERE id = $1";
        world.run_sql(sql, &[id, bytes]).await;
    }
    rotate(&world, &ours, FIELD).await.unwrap();
    assert_eq!(reseal(&world, &ours).await, (9, 3));
    settle(&world);
    assert_eq!(reseal(&world, &ours).await, (0, 3), "the second pass tells of them once more");
    for (id, bytes) in &bad {
        assert_eq!(&sealed(&world, *id, VALUES).await, bytes, "left as it was");
    }
    let lines = inventory(&world, &ours, VALUES).await;
    let done = Some(progress("done", (3, 6, 3)));
    assert!(lines.iter().all(|line| line.2 == done), "{lines:?}");
    // What is left under the old key keeps it: nothing is closed for good by mistake.
    let refused = destroy(&world, &ours, FIELD, 1).await.unwrap_err();
    assert_eq!((refused.kind.status(), &*refused.code), (409, "key_in_use"));
    let sql = "SELECT resource_id, result::text, convert_from(record, 'UTF8') FROM audit_log \
        WHERE tenant_id = $1 AND event_type::text = 'security_violation' \
        AND action = 'data_key.reseal' ORDER BY resource_id";
    let told = world.superuser.query(sql, &[&ours.tenant_id()]).await.unwrap();
    assert_eq!(told.len(), 6);
    for (row, (id, _)) in told.chunks(2).zip(&bad) {
        let record: String = row[0].get(2);
        assert_eq!((row[0].get(0), row[1].get(0), row[0].get(1)), (*id, *id, "failed"));
        for word in ["notices", VALUES, "value_does_not_open"] {
            assert!(record.contains(word), "{record}");
        }
        assert!(!record.contains("secret"), "{record}");
    }
}

#[tokio::test]
async fn what_is_changed_between_reading_and_writing_stays_as_it_was_changed() {
    let world = BankWorld::new().await;
    let ours = tenant(&world, "edit-bank").await;
    let ids = queue(&world, &ours, 0..3).await;
    rotate(&world, &ours, FIELD).await.unwrap();
    // Somebody has changed a row and not yet committed: the page is read, and its writing waits.
    let keys = Keyring::new(roots()).tenant(&world.app, &ours).await.unwrap();
    let newer = keys.seal(keys.field(), ("notices", "recipient_sealed", ids[1]), "newer").unwrap();
    let editor = testkit::connect(&world.database.superuser_url()).await;
    editor.batch_execute("BEGIN").await.unwrap();
    let sql = "UPDATE notices SET recipient_sealed = $2 WHERE id = $1";
    editor.execute(sql, &[&ids[1], &newer]).await.unwrap();
    let waits = async {
        let sql = "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE datname = current_database() \
            AND wait_event_type = 'Lock')";
        let deadline = Instant::now() + Duration::from_secs(20);
        while !world.rows(sql).await[0].get::<_, bool>(0) {
            assert!(Instant::now() < deadline, "the writing does not wait for the row");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        editor.batch_execute("COMMIT").await.unwrap();
    };
    let (page, ()) = tokio::join!(step(&world, &ours), waits);
    assert_eq!(page.unwrap().values, 2);
    assert_eq!(sealed(&world, ids[1], "recipient_sealed").await, newer);
    settle(&world);
    reseal(&world, &ours).await;
    destroy(&world, &ours, FIELD, 1).await.unwrap();
    let keys = Keyring::new(roots()).tenant(&world.app, &ours).await.unwrap();
    let stored = sealed(&world, ids[1], "recipient_sealed").await;
    assert_eq!(keys.open_own(("notices", "recipient_sealed", ids[1]), stored).unwrap(), "newer");
}

#[tokio::test]
async fn two_workers_beside_people_who_read_and_write_lose_nothing() {
    let world = BankWorld::new().await;
    let ours = tenant(&world, "busy-bank").await;
    let mut ids = queue(&world, &ours, 0..2_000).await;
    rotate(&world, &ours, FIELD).await.unwrap();
    let workers = join_all((0..2).map(|_| reseal(&world, &ours)));
    let people = async {
        let node = Node::start(&world);
        let mut made = Vec::new();
        for round in 0..20 {
            let keys = node.keyring.tenant(&world.app, &ours).await.unwrap();
            let id = ids[round * 97];
            let stored = sealed(&world, id, VALUES).await;
            let opened = keys.open_own(("notices", VALUES, id), stored).unwrap();
            assert_eq!(opened, format!("secret {}", round * 97));
            let number = 2_000 + round;
            made.extend(queue(&world, &ours, number..number + 1).await);
            // A later rotation begins it all anew, in the middle.
            if round == 10 {
                rotate(&world, &ours, FIELD).await.unwrap();
            }
        }
        made
    };
    let (worked, made) = tokio::join!(workers, people);
    assert!(worked.iter().map(|(values, _)| values).sum::<usize>() >= 4_000, "{worked:?}");
    assert!(worked.iter().all(|(_, skipped)| *skipped == 0), "{worked:?}");
    ids.extend(made);
    reseal(&world, &ours).await;
    settle(&world);
    reseal(&world, &ours).await;
    for epoch in [1, 2] {
        assert_eq!(destroy(&world, &ours, FIELD, epoch).await.unwrap(), "destroyed");
    }
    assert_open(&world, &ours, &ids).await;
}

#[tokio::test]
async fn a_suspended_tenants_values_are_sealed_anew_and_nobody_without_the_permission_does_it() {
    let world = BankWorld::new().await;
    let ours = tenant(&world, "shut-bank").await;
    let ids = queue(&world, &ours, 0..2).await;
    rotate(&world, &ours, FIELD).await.unwrap();
    for role in ["customer", "customer_service", "auditor"] {
        let person = world.person(&ours, role).await;
        assert_eq!(step(&world, &person).await.unwrap_err().kind.status(), 403, "{role}");
    }
    let sql = "UPDATE tenants SET status = 'suspended' WHERE id = $1";
    world.run_sql(sql, &[&ours.tenant_id()]).await;
    let listed = Directory::new(world.app.clone()).with_suspended().await.unwrap();
    let found = listed.into_iter().find(|one| one.slug == "shut-bank").unwrap();
    let worker = OpContext::system(found, ActorKind::Worker, world.clock.clone());
    assert_eq!(reseal(&world, &worker).await, (4, 0));
    assert_open(&world, &ours, &ids).await;
}

/// How far the real binary has come.
async fn done(world: &BankWorld) -> i64 {
    let sql = "SELECT coalesce(sum(done), 0)::bigint FROM key_rotations";
    world.rows(sql).await[0].get(0)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_is_killed_again_and_again_loses_a_page_at_most() {
    let world = BankWorld::new().await;
    let ours = tenant(&world, "kill-bank").await;
    let ids = queue(&world, &ours, 0..9_000).await;
    rotate(&world, &ours, FIELD).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let spawn = || {
        strongroom(folder.path())
            .env("DATABASE_URL", world.database.superuser_url())
            .env("ENCRYPTION_KEY", "07".repeat(32))
            .args(["keys", "rewrap", "--tenant", "kill-bank"])
            .stdout(Stdio::null())
            .spawn()
            .unwrap()
    };
    let mut kills = 0;
    while kills < 6 {
        let (mut child, before) = (spawn(), done(&world).await);
        let deadline = Instant::now() + Duration::from_secs(60);
        while done(&world).await == before {
            assert!(Instant::now() < deadline, "it goes on where the last one was killed");
            assert!(child.try_wait().unwrap().is_none(), "it was through before it was killed");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        // Somewhere in a page, and not at the same place every time.
        tokio::time::sleep(Duration::from_millis(7 * kills)).await;
        child.kill().unwrap();
        assert!(!child.wait().unwrap().success(), "killed too late to show anything");
        kills += 1;
        assert_open(&world, &ours, &ids[..]).await;
    }
    assert!(spawn().wait().unwrap().success());
    assert_eq!(done(&world).await, 18_000, "none was done twice, and none was left out");
    settle(&world);
    assert_eq!(reseal(&world, &ours).await, (0, 0));
    for column in ["recipient_sealed", VALUES] {
        let lines = inventory(&world, &ours, column).await;
        assert_eq!((lines.len(), lines[0].0, lines[0].1), (1, Some(2), 9_000), "{lines:?}");
    }
    destroy(&world, &ours, FIELD, 1).await.unwrap();
    assert_open(&world, &ours, &ids).await;
}
