//! The log over all tenants' logs: each checkpoint is a leaf of it, none can be
//! removed unseen, and a tenant is told of its own alone.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use audit::merkle;
use audit::note::{Checkpoint, NoteVerifier};
use audit::proof;
use tenancy::OpContext;
use testkit::connect;
use tokio_postgres::Client;

use crate::audit::World;

/// Two banks and the platform, and passes enough to store a node of the super-log.
struct Sealed {
    world: World,
    platform: OpContext,
    bank: OpContext,
    superuser: Client,
}

const PASSES: u64 = 40;

impl Sealed {
    async fn new() -> Self {
        let world = World::new().await;
        let platform = world.tenant_of("platform", "platform").await;
        let bank = world.tenant_of("north-bank", "core-bank").await;
        let other = world.tenant_of("south-bank", "core-bank").await;
        let sealer = world.sealer();
        for _ in 0..PASSES {
            world.append(&bank, 1).await;
            world.append(&other, 2).await;
            assert_eq!(sealer.drain().await.unwrap(), 3);
        }
        let superuser = world.superuser().await;
        Self { world, platform, bank, superuser }
    }

    /// Runs statements with every trigger off, as one who owns the server would.
    async fn forge(&self, sql: &str) {
        let forged = format!(
            "SET session_replication_role = replica; {}; {sql}; {}; RESET session_replication_role",
            triggers("DISABLE"),
            triggers("ENABLE ALWAYS"),
        );
        self.superuser.batch_execute(&forged).await.unwrap();
    }

    async fn faults(&self) -> Vec<String> {
        let reports = self.world.verify().await;
        reports
            .into_iter()
            .filter_map(|report| {
                report.fault.map(|fault| format!("{} {}", report.tenant, fault.kind))
            })
            .collect()
    }
}

fn triggers(change: &str) -> String {
    let tables =
        ["audit_checkpoints", "audit_super_leaves", "audit_super_tree", "audit_super_checkpoints"];
    tables.map(|table| format!("ALTER TABLE {table} {change} TRIGGER append_only")).join("; ")
}

#[tokio::test]
async fn each_pass_signs_every_new_checkpoint_into_one_log() {
    let sealed = Sealed::new().await;
    let platform_id = sealed.platform.tenant_id();
    let key = sealed
        .superuser
        .query_one("SELECT public_key FROM audit_log_keys WHERE tenant_id = $1", &[&platform_id])
        .await
        .unwrap();
    let name = format!("strongroom/super/{platform_id}");
    let key = NoteVerifier::new(&name, key.get::<_, Vec<u8>>(0).try_into().unwrap()).unwrap();
    let sql = "SELECT leaf.leaf_hash, point.note FROM audit_super_leaves leaf \
        JOIN audit_checkpoints point USING (tenant_id, tree_size) ORDER BY leaf.log_index";
    let mut leaves = Vec::new();
    for row in sealed.superuser.query(sql, &[]).await.unwrap() {
        let (hash, note): (Vec<u8>, String) = (row.get(0), row.get(1));
        let leaf = merkle::leaf_hash(note.as_bytes());
        assert_eq!(hash, leaf);
        leaves.push(leaf);
    }
    assert_eq!(leaves.len() as u64, 2 * PASSES, "two tenants had something new in each pass");
    let sql = "SELECT tree_size, note FROM audit_super_checkpoints ORDER BY tree_size";
    let points = sealed.superuser.query(sql, &[]).await.unwrap();
    assert_eq!(points.len() as u64, PASSES);
    for point in points {
        let opened = Checkpoint::open(point.get(1), &key).unwrap();
        assert_eq!(opened.size, u64::try_from(point.get::<_, i64>(0)).unwrap());
        assert_eq!(opened.root, merkle::root(&leaves[..usize::try_from(opened.size).unwrap()]));
    }
    for role in ["strongroom_owner", "strongroom_app", "strongroom_auditor"] {
        let reports = sealed.world.verify_as(&sealed.world.database.url_as(role)).await;
        assert!(reports.iter().all(|report| report.fault.is_none()), "{role}: {reports:?}");
    }
}

#[tokio::test]
async fn a_checkpoint_that_vanishes_or_appears_is_named() {
    let sealed = Sealed::new().await;
    let bank = sealed.bank.tenant_id();
    assert_eq!(sealed.faults().await, [""; 0]);
    sealed
        .forge(&format!(
            "CREATE TEMP TABLE kept AS SELECT * FROM audit_checkpoints \
                WHERE tenant_id = '{bank}' AND tree_size = 3; \
             DELETE FROM audit_checkpoints WHERE tenant_id = '{bank}' AND tree_size = 3"
        ))
        .await;
    let removed = "north-bank the checkpoint of size 3 was removed: the super-log knows it";
    assert_eq!(sealed.faults().await, [removed]);
    for role in ["strongroom_app", "strongroom_auditor"] {
        let reports = sealed.world.verify_as(&sealed.world.database.url_as(role)).await;
        assert_eq!(reports.iter().filter(|report| report.fault.is_some()).count(), 1, "{role}");
    }
    // Its leaf as well: then it is the super-log that has a hole.
    sealed
        .forge(&format!(
            "CREATE TEMP TABLE kept_leaf AS SELECT * FROM audit_super_leaves \
                WHERE tenant_id = '{bank}' AND tree_size = 3; \
             DELETE FROM audit_super_leaves WHERE tenant_id = '{bank}' AND tree_size = 3"
        ))
        .await;
    let faults = sealed.faults().await;
    assert_eq!(faults.len(), 1, "{faults:?}");
    assert!(faults[0].starts_with("platform the super-log is not good"), "{faults:?}");
    assert!(faults[0].ends_with("a leaf is missing"), "{faults:?}");
    // The checkpoint alone back: it is signed, and nobody logged it.
    sealed.forge("INSERT INTO audit_checkpoints SELECT * FROM kept").await;
    let unlogged = "north-bank the checkpoint of size 3 is not in the super-log";
    assert_eq!(sealed.faults().await[0], unlogged);
    sealed.forge("INSERT INTO audit_super_leaves SELECT * FROM kept_leaf").await;
    assert_eq!(sealed.faults().await, [""; 0], "all is back");
}

#[tokio::test]
async fn what_is_done_to_the_super_log_itself_is_found() {
    let sealed = Sealed::new().await;
    let forgeries = [
        (
            "DELETE FROM audit_super_checkpoints WHERE tree_size = 80",
            "its last checkpoint is of another size",
        ),
        (
            "UPDATE audit_super_checkpoints SET root_hash = sha256(root_hash) WHERE tree_size = 4",
            "the leaves do not lead to the signed root",
        ),
        (
            "UPDATE audit_super_checkpoints SET note = replace(note, E'\\n4\\n', E'\\n5\\n') \
             WHERE tree_size = 4",
            "is wrong",
        ),
        (
            "UPDATE audit_super_tree SET hash = sha256(hash)",
            "a stored tree node is wrong or missing",
        ),
        (
            "INSERT INTO audit_super_tree VALUES (7, 9, sha256(''))",
            "it holds more nodes than its leaves make",
        ),
    ];
    for (sql, expected) in forgeries {
        let tables = ["audit_super_leaves", "audit_super_tree", "audit_super_checkpoints"];
        let save = tables.map(|table| format!("CREATE TEMP TABLE saved_{table} AS TABLE {table}"));
        sealed.forge(&format!("{}; {sql}", save.join("; "))).await;
        let faults = sealed.faults().await;
        assert_eq!(faults.len(), 1, "{sql}: {faults:?}");
        assert!(faults[0].starts_with("platform the super-log is not good"), "{sql}: {faults:?}");
        assert!(faults[0].contains(expected), "{sql}: {faults:?}");
        let restore = tables.map(|table| {
            format!(
                "DELETE FROM {table}; INSERT INTO {table} TABLE saved_{table}; \
                 DROP TABLE saved_{table}"
            )
        });
        sealed.forge(&restore.join("; ")).await;
        assert_eq!(sealed.faults().await, [""; 0], "{sql}: restored");
    }
}

#[tokio::test]
async fn a_super_log_behind_its_checkpoint_is_not_signed_on() {
    let sealed = Sealed::new().await;
    sealed.forge("DELETE FROM audit_super_leaves WHERE log_index >= 78").await;
    sealed.world.append(&sealed.bank, 1).await;
    let error = sealed.world.sealer().drain().await.unwrap_err().to_string();
    assert!(error.contains("the super-log: the log has 78 leaves"), "{error}");
    let waiting = sealed.superuser.query_one("SELECT count(*) FROM audit_inbox", &[]).await;
    assert_eq!(waiting.unwrap().get::<_, i64>(0), 1, "the inbox is kept");
    let latest = proof::latest_checkpoint(&sealed.world.app, &sealed.bank).await.unwrap();
    assert_eq!(latest.unwrap().tree_size, PASSES, "nothing was signed");
}

#[tokio::test]
async fn nobody_changes_it_and_a_tenant_reads_its_own_leaves_alone() {
    let sealed = Sealed::new().await;
    for table in ["audit_super_leaves", "audit_super_tree", "audit_super_checkpoints"] {
        for sql in [format!("DELETE FROM {table}"), format!("TRUNCATE {table}")] {
            let error = sealed.superuser.batch_execute(&sql).await.unwrap_err();
            assert_eq!(error.code().unwrap().code(), "42501", "{sql}");
        }
        let app = connect(&sealed.world.database.url_as("strongroom_app")).await;
        let error = app.query(&format!("SELECT * FROM {table}"), &[]).await.unwrap_err();
        assert_eq!(error.code().unwrap().code(), "42501", "{table}");
    }
    let app = connect(&sealed.world.database.url_as("strongroom_app")).await;
    let own = "SELECT count(*), max(tree_size) FROM audit_super_leaves_here()";
    assert!(app.query(own, &[]).await.is_err(), "without a tenant there is no answer");
    let bank = sealed.bank.tenant_id().to_string();
    app.execute("SELECT set_config('app.current_tenant', $1, false)", &[&bank]).await.unwrap();
    let row = app.query_one(own, &[]).await.unwrap();
    let size = i64::try_from(PASSES).unwrap();
    assert_eq!((row.get::<_, i64>(0), row.get::<_, i64>(1)), (size, size));
}

#[tokio::test]
async fn the_schema_goes_back_only_while_nothing_was_signed() {
    let world = World::new().await;
    let platform = world.tenant_of("platform", "platform").await;
    let mut owner = connect(&world.database.url_as("strongroom_owner")).await;
    let migrator = tenancy::migrate::Migrator::embedded();
    let steps = migrator.schema_version() - 32;
    migrator.down(&mut owner, steps).await.unwrap();
    migrator.up(&mut owner, None).await.unwrap();
    world.append(&platform, 1).await;
    world.sealer().drain().await.unwrap();
    let refused = migrator.down(&mut owner, steps).await.unwrap_err();
    let words = format!("{refused:#} {refused:?}");
    assert!(words.contains("the super-log has signed checkpoints"), "{words}");
    let kept = "SELECT count(*) FROM audit_super_checkpoints";
    let count = world.superuser().await.query_one(kept, &[]).await.unwrap();
    assert_eq!(count.get::<_, i64>(0), 1);
}
