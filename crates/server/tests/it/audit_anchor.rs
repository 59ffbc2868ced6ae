//! What is kept outside the database of the newest checkpoint: an older copy of the database,
//! another log, a lost or forged anchor seal nothing; a node that lags or comes late harms
//! nothing; and the ways on are recorded.

use std::process::Output;

use audit::anchor::Anchor;
use audit::note::{Checkpoint, LogSigner};
use serde_json::Value;
use tenancy::OpContext;
use testkit::{TestDatabase, connect};

use crate::audit::World;
use crate::cli::strongroom;
use crate::harness::App;

/// A bank that was sealed three times under an anchor.
struct Sealed {
    world: World,
    bank: OpContext,
    platform: OpContext,
    folder: tempfile::TempDir,
    anchor: Anchor,
}

impl Sealed {
    async fn new() -> Self {
        let world = World::new().await;
        let platform = world.tenant_of("platform", "platform").await;
        let bank = world.tenant_of("bank", "core-bank").await;
        let folder = tempfile::tempdir().unwrap();
        let anchor = anchor_in(&folder);
        let sealed = Self { world, bank, platform, folder, anchor };
        for size in 1..=3 {
            sealed.seal(&sealed.world).await.unwrap();
            assert_eq!(sealed.anchor.size().unwrap(), Some(size));
        }
        sealed
    }

    /// One record more, sealed by a node that has just started.
    async fn seal(&self, world: &World) -> Result<usize, String> {
        world.append(&self.bank, 1).await;
        let sealer = world.sealer().anchored_in(Some(self.anchor.clone()));
        sealer.drain().await.map_err(|error| error.to_string())
    }

    /// The same database with new connections, and a copy of it as it is now.
    async fn split(self) -> (Self, World) {
        let older = World::over(self.world.database.copied().await);
        (Self { world: World::over(self.world.database), ..self }, older)
    }
}

fn anchor_in(folder: &tempfile::TempDir) -> Anchor {
    Anchor::parse(&setting(folder)).unwrap()
}

fn setting(folder: &tempfile::TempDir) -> String {
    format!("file:{}", folder.path().join("anchor").display())
}

async fn count(world: &World, table: &str) -> i64 {
    let sql = format!("SELECT count(*) FROM {table}");
    world.superuser().await.query_one(&sql, &[]).await.unwrap().get(0)
}

#[tokio::test]
async fn an_older_copy_of_the_database_is_not_sealed_on() {
    let (sealed, older) = Sealed::new().await.split().await;
    for size in 4..=5 {
        assert_eq!(sealed.seal(&sealed.world).await, Ok(1));
        assert_eq!(sealed.anchor.size().unwrap(), Some(size));
    }
    let checkpoints = count(&older, "audit_checkpoints").await;
    for waiting in 1..=2 {
        let refused = sealed.seal(&older).await.unwrap_err();
        let told = "holds 3 checkpoints and 5 were anchored: an older copy was restored";
        assert!(refused.contains(told), "{refused}");
        assert_eq!(count(&older, "audit_inbox").await, waiting, "what waits is kept");
    }
    assert_eq!(count(&older, "audit_checkpoints").await, checkpoints, "nothing was signed");
    // Sealed on without the anchor, it grows past it on another way.
    for _ in 0..3 {
        older.append(&sealed.bank, 1).await;
        older.sealer().drain().await.unwrap();
    }
    let refused = sealed.seal(&older).await.unwrap_err();
    assert!(refused.contains("holds other checkpoints than the 5 that were anchored"), "{refused}");
    assert_eq!(sealed.seal(&sealed.world).await, Ok(1), "the true one goes on");
}

#[tokio::test]
async fn an_anchor_that_lags_is_caught_up_with() {
    let sealed = Sealed::new().await;
    let sql = "SELECT note FROM audit_super_checkpoints WHERE tree_size = $1";
    let superuser = sealed.world.superuser().await;
    for behind in [2_i64, 1] {
        // As after a crash between the commit and the file.
        let note: String = superuser.query_one(sql, &[&behind]).await.unwrap().get(0);
        sealed.anchor.force(&note).unwrap();
        let size = sealed.world.sealer().drain().await.map(|_| ());
        assert!(size.is_ok());
        assert_eq!(sealed.seal(&sealed.world).await, Ok(1));
        assert!(sealed.anchor.size().unwrap() > Some(3));
    }
}

#[tokio::test]
async fn two_nodes_share_an_anchor() {
    let sealed = Sealed::new().await;
    let nodes = [0, 1].map(|_| sealed.world.sealer().anchored_in(Some(sealed.anchor.clone())));
    for _ in 0..10 {
        sealed.world.append(&sealed.bank, 1).await;
        let (one, other) = tokio::join!(nodes[0].drain(), nodes[1].drain());
        assert_eq!(one.unwrap() + other.unwrap(), 1);
    }
    assert_eq!(sealed.anchor.size().unwrap(), Some(13));
}

#[tokio::test]
async fn an_anchor_that_is_gone_foreign_or_broken_seals_nothing() {
    let sealed = Sealed::new().await;
    let file = sealed.folder.path().join("anchor");
    let good = std::fs::read_to_string(&file).unwrap();
    let name = format!("strongroom/super/{}", sealed.platform.tenant_id());
    let stranger = LogSigner::new(&name, vault::NoteSigner::generate()).unwrap();
    let point = Checkpoint { origin: name, size: 1, root: [1; 32], extensions: Vec::new() };
    let forged = point.sign(&stranger).unwrap();
    for (text, told) in [
        (None, "holds 3 checkpoints and the anchor is empty"),
        (Some(forged), "is not of this installation"),
        (Some(good.replace("\n3\n", "\n2\n")), "is not of this installation"),
        (Some(good[..good.len() / 2].to_owned()), "is not of this installation"),
        (Some(String::new()), "is not of this installation"),
    ] {
        match &text {
            Some(text) => std::fs::write(&file, text).unwrap(),
            None => std::fs::remove_file(&file).unwrap(),
        }
        let refused = sealed.seal(&sealed.world).await.unwrap_err();
        assert!(refused.contains(told), "{text:?}: {refused}");
        let left = std::fs::read_to_string(&file).ok();
        assert_eq!(left, text, "nothing was written over it");
    }
    std::fs::write(&file, good).unwrap();
    assert_eq!(sealed.seal(&sealed.world).await, Ok(6), "with the anchor back, all of it");
}

#[tokio::test]
async fn a_checkpoint_of_the_super_log_kept_elsewhere_is_verified_against() {
    let (sealed, older) = Sealed::new().await.split().await;
    assert_eq!(sealed.seal(&sealed.world).await, Ok(1));
    let kept = sealed.anchor.read().unwrap().unwrap();
    let options = audit::verify::Options {
        known_checkpoints: vec![kept],
        ..audit::verify::Options::default()
    };
    for (world, fault) in [(&sealed.world, false), (&older, true)] {
        let client = connect(&world.database.superuser_url()).await;
        let reports = audit::verify::verify(&client, &options, &mut |_| {}).await.unwrap();
        assert_eq!(audit::verify::logs_without_report(&reports, &options), [""; 0]);
        let found: Vec<_> = reports.iter().filter(|report| report.fault.is_some()).collect();
        assert_eq!(found.len() == 1 && found[0].tenant == "platform", fault, "{reports:?}");
    }
}

/// The binary over a database, with an anchor.
fn run(folder: &tempfile::TempDir, database: &TestDatabase, arguments: &[&str]) -> Output {
    let mut command = strongroom(folder.path());
    command.env("DATABASE_URL", database.superuser_url());
    command.env("ENCRYPTION_KEY", "07".repeat(32)).env("AUDIT_ANCHOR", setting(folder));
    command.args(arguments).output().unwrap()
}

fn told(output: &Output) -> (Option<i32>, String) {
    let text = [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes));
    (output.status.code(), text.concat())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_operator_begins_an_anchor_and_accepts_a_rollback_on_record() {
    let app = App::start().await;
    app.identity.ensure_platform().await.unwrap();
    app.login(&app.bank, "admin").await;
    app.seal().await;
    let folder = tempfile::tempdir().unwrap();
    let anchor = |database: &TestDatabase, words: &[&str]| {
        told(&run(&folder, database, &[&["audit", "anchor"], words].concat()))
    };
    let (code, text) = anchor(&app.database, &["status"]);
    assert!(code == Some(1) && text.contains("the anchor is empty"), "{text}");
    assert_eq!(anchor(&app.database, &["init"]).0, Some(0));
    assert_eq!(anchor(&app.database, &["status"]).0, Some(0));
    let (code, text) = anchor(&app.database, &["init"]);
    assert!(code == Some(1) && text.contains("already"), "{text}");
    let (code, text) = anchor(&app.database, &["accept-rollback", "--reason", "none"]);
    assert!(code == Some(1) && text.contains("nothing to accept"), "{text}");

    let older = app.database.copied().await;
    let list = ["audit", "list", "--tenant", "bank"];
    assert_eq!(told(&run(&folder, &app.database, &list)).0, Some(0), "sealed and anchored");
    let (code, text) = anchor(&older, &["status"]);
    assert!(code == Some(1) && text.contains("an older copy was restored"), "{text}");
    let (code, text) = told(&run(&folder, &older, &list));
    assert!(code != Some(0) && text.contains("an older copy was restored"), "{text}");
    let (_, text) = told(&run(&folder, &older, &["doctor"]));
    assert!(text.contains("strongroom audit anchor status"), "{text}");
    for reason in ["", "  ", "two\nlines", &"x".repeat(501)] {
        let (code, text) = anchor(&older, &["accept-rollback", "--reason", reason]);
        assert!(code == Some(2) && text.contains("--reason"), "{reason}: {text}");
    }
    let reason = "Restored last night's backup after the fire";
    let (code, text) = anchor(&older, &["accept-rollback", "--reason", reason]);
    assert_eq!(code, Some(0), "{text}");
    assert_eq!(anchor(&older, &["status"]).0, Some(0));
    assert_eq!(told(&run(&folder, &older, &list)).0, Some(0), "sealing goes on");
    assert_eq!(told(&run(&folder, &older, &["audit", "verify"])).0, Some(0));

    let client = connect(&older.superuser_url()).await;
    let sql = "SELECT convert_from(record, 'UTF8'), EXISTS (SELECT 1 FROM audit_leaves leaf \
        WHERE leaf.event_id = log.event_id) FROM audit_log log WHERE action = 'audit.accept_rollback'";
    let rows = client.query(sql, &[]).await.unwrap();
    assert_eq!(rows.len(), 1);
    let record: Value = serde_json::from_str(rows[0].get(0)).unwrap();
    assert!(rows[0].get::<_, bool>(1), "it is sealed");
    assert_eq!(
        (&record["severity"], &record["details"]["reason"]),
        (&"critical".into(), &reason.into())
    );
    assert!(record["details"]["anchored_note"].as_str().unwrap().contains("strongroom/super/"));
}
