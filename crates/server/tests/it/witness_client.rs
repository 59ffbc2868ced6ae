//! Asking witnesses: real ones, which die, come back, stand in the past or on a fork, and others
//! that lie, hang or say too much. Nothing is kept that is not a good cosignature of what was
//! asked, and nothing that a witness does delays sealing.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use audit::anchor::Anchoring;
use audit::cosignature::Cosigner;
use audit::note::{Note, NoteVerifier};
use audit::witness::{AskFault, Asked, Witnesses};
use outward::{Client, Guard};
use tenancy::{Clock, OpContext};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::audit::World;
use crate::cli::strongroom;
use crate::serving::{free_port, serve};
use crate::witness::Witness;

/// A bank whose log was signed three times.
struct Bank {
    world: World,
    platform: OpContext,
    tenant: OpContext,
    log_key: String,
}

impl Bank {
    async fn new() -> Self {
        let world = World::new().await;
        let platform = world.tenant_of("platform", "platform").await;
        let tenant = world.tenant_of("bank", "core-bank").await;
        let sql = "SELECT public_key FROM audit_log_keys WHERE tenant_id = $1";
        let row = world.superuser().await.query_one(sql, &[&platform.tenant_id()]).await.unwrap();
        let name = format!("strongroom/super/{}", platform.tenant_id());
        let key: Vec<u8> = row.get(0);
        let log_key = NoteVerifier::new(&name, key.try_into().unwrap()).unwrap().to_text();
        let own = Self { world, platform, tenant, log_key };
        own.seal(3).await;
        own
    }

    /// So many checkpoints more.
    async fn seal(&self, passes: u64) {
        seal(&self.world, &self.tenant, passes).await;
    }

    fn start(&self, name: &str, folder: &Path) -> Witness {
        Witness::named(name, folder, &self.log_key)
    }

    async fn kept(&self) -> Vec<String> {
        kept(&self.world).await
    }
}

async fn seal(world: &World, bank: &OpContext, passes: u64) {
    for _ in 0..passes {
        world.append(bank, 1).await;
        world.sealer().drain().await.unwrap();
    }
}

/// Who cosigned which size.
async fn kept(world: &World) -> Vec<String> {
    let sql = "SELECT witness || ' ' || tree_size FROM audit_super_cosignatures ORDER BY 1";
    let rows = world.superuser().await.query(sql, &[]).await.unwrap();
    rows.iter().map(|row| row.get(0)).collect()
}

fn witnesses(world: &World, settings: &[&str]) -> Witnesses {
    let all = audit::witness::Witness::parse_all(settings.iter().copied()).unwrap();
    Witnesses::new(world.sealer_database(), Client::plain(Guard::Any), Clock::System, all)
}

async fn ask(world: &World, setting: &str) -> Result<Asked, AskFault> {
    let witnesses = witnesses(world, &[setting]);
    witnesses.ask(&witnesses.all()[0]).await
}

fn copy(from: &Path, to: &Path) {
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_witnesses_cosign_and_one_dies_and_comes_back_and_forgets() {
    let bank = Bank::new().await;
    let folders = [(); 2].map(|()| tempfile::tempdir().unwrap());
    let one = bank.start("witness.example/1", folders[0].path());
    let two = bank.start("witness.example/2", folders[1].path());
    for witness in [&one, &two] {
        let asked = ask(&bank.world, &witness.setting()).await.unwrap();
        assert_eq!(asked, Asked::Cosigned { size: 3 });
        let again = ask(&bank.world, &witness.setting()).await.unwrap();
        assert_eq!(again, Asked::Current { size: 3 });
    }
    let past = tempfile::tempdir().unwrap();
    copy(&folders[0].path().join("state"), past.path());
    let gone = one.setting();
    drop(one);
    bank.seal(70).await;
    let fault = ask(&bank.world, &gone).await.unwrap_err();
    assert_eq!(fault.reason(), "unreached");
    assert_eq!(ask(&bank.world, &two.setting()).await.unwrap(), Asked::Cosigned { size: 73 });
    let one = bank.start("witness.example/1", folders[0].path());
    assert_eq!(ask(&bank.world, &one.setting()).await.unwrap(), Asked::Cosigned { size: 73 });
    drop(one);

    // Restored to where it stood before, it is brought to where it was with one more question.
    copy(past.path(), &folders[0].path().join("state"));
    bank.seal(9).await;
    let one = bank.start("witness.example/1", folders[0].path());
    assert_eq!(ask(&bank.world, &one.setting()).await.unwrap(), Asked::Cosigned { size: 82 });

    let name = |number: u8, size: u8| format!("witness.example/{number} {size}");
    let expected = [name(1, 3), name(1, 73), name(1, 82), name(2, 3), name(2, 73)];
    assert_eq!(bank.kept().await, expected);
    let sql = "SELECT point.note || line.line || E'\\n' FROM audit_super_cosignatures line \
        JOIN audit_super_checkpoints point USING (tree_size) WHERE witness = 'witness.example/1'";
    for row in bank.world.superuser().await.query(sql, &[]).await.unwrap() {
        let note = Note::parse(row.get(0)).unwrap();
        note.verify(&NoteVerifier::parse(&bank.log_key).unwrap()).unwrap();
        one.verifier.verify(&note).unwrap();
    }
    let reports = bank.world.verify().await;
    assert!(reports.iter().all(|report| report.fault.is_none()), "{reports:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_history_finds_no_cosignature() {
    let Bank { world, tenant, platform, log_key } = Bank::new().await;
    let older = World::over(world.database.copied().await);
    let own = Bank { world: World::over(world.database), platform, tenant, log_key };
    own.seal(3).await;
    let folder = tempfile::tempdir().unwrap();
    let witness = own.start("witness.example/1", folder.path());
    let setting = witness.setting();
    assert_eq!(ask(&own.world, &setting).await.unwrap(), Asked::Cosigned { size: 6 });
    // The older copy, and then the other way that it takes: smaller, as large, larger.
    for (passes, is_ahead) in [(0, true), (1, true), (2, false), (3, false)] {
        seal(&older, &own.tenant, passes).await;
        let fault = ask(&older, &setting).await.unwrap_err();
        assert!(fault.contradicts(), "{fault}");
        assert_eq!(matches!(fault, AskFault::Ahead { stands_at: 6, .. }), is_ahead, "{fault}");
    }
    assert_eq!(kept(&older).await, [""; 0]);
    own.seal(1).await;
    assert_eq!(ask(&own.world, &setting).await.unwrap(), Asked::Cosigned { size: 7 });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn strangers_are_told_apart() {
    let bank = Bank::new().await;
    let folder = tempfile::tempdir().unwrap();
    let other = tempfile::tempdir().unwrap();
    let witness = bank.start("witness.example/1", folder.path());
    // Somebody else who took its name, and one that watches another log.
    let stranger = Cosigner::new("witness.example/1", vault::NoteSigner::generate()).unwrap();
    let key = stranger.verifier().unwrap().to_text();
    let wrong_key = format!("{}+{key}", witness.setting().split_once('+').unwrap().0);
    let fault = ask(&bank.world, &wrong_key).await.unwrap_err();
    assert!(matches!(fault, AskFault::Cosignature(_)), "{fault}");
    let foreign = Bank::new().await;
    let elsewhere = foreign.start("witness.example/2", other.path());
    let fault = ask(&bank.world, &elsewhere.setting()).await.unwrap_err();
    assert!(matches!(fault, AskFault::Refused { status: 404 }), "{fault}");
    assert_eq!(bank.kept().await, [""; 0]);
    assert_ne!(bank.platform.tenant_id(), foreign.platform.tenant_id());
}

/// A witness that answers every question with what is made of it; its setting.
async fn fake<F>(key: &str, answer: F) -> String
where
    F: Fn(&str) -> Vec<u8> + Send + Sync + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let answer = Arc::new(answer);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let answer = Arc::clone(&answer);
            tokio::spawn(async move {
                let mut request = Vec::new();
                // The note's last line ends the request.
                while !String::from_utf8_lossy(&request).contains("\u{2014} strongroom/super") {
                    let mut piece = [0; 4096];
                    let read = stream.read(&mut piece).await.unwrap_or(0);
                    if read == 0 {
                        return;
                    }
                    request.extend_from_slice(&piece[..read]);
                }
                let answer = answer(&String::from_utf8_lossy(&request));
                if answer.is_empty() {
                    tokio::time::sleep(Duration::from_secs(600)).await;
                }
                let _ = stream.write_all(&answer).await;
            });
        }
    });
    format!("http://127.0.0.1:{port}+{key}")
}

fn answered(status: &str, kind: &str, body: &str) -> Vec<u8> {
    format!(
        "HTTP/1.1 {status}\r\ncontent-type: {kind}\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

/// The text of the checkpoint that was asked for.
fn text_of(request: &str) -> String {
    let start = request.find("strongroom/super").unwrap();
    request[start..].split_once("\n\n").unwrap().0.to_owned() + "\n"
}

fn now() -> u64 {
    Clock::System.now().as_second().unsigned_abs()
}

/// What is made of a question with the liar's own key.
type Lie = Box<dyn Fn(&str, &Cosigner) -> Vec<u8> + Send + Sync>;

/// What is found of each lie.
fn lies() -> Vec<(&'static str, Lie)> {
    let size_type = "text/x.tlog.size";
    let ok = |body: &str| answered("200 OK", "text/plain", body);
    vec![
        ("cosignature", Box::new(move |_, _| ok(""))),
        ("cosignature", Box::new(move |_, _| ok("\u{2014} witness.example/liar AAAA\n"))),
        (
            "cosignature",
            Box::new(move |request, cosigner| {
                // Over another size of the same log.
                let other = text_of(request).replace("\n3\n", "\n4\n");
                ok(&cosigner.cosign(&other, now()).unwrap())
            }),
        ),
        (
            "cosignature",
            Box::new(move |request, cosigner| {
                // A text of its own, with a good line under it.
                let other = text_of(request).replace("\n3\n", "\n4\n");
                ok(&format!("{other}\n{}", cosigner.cosign(&other, now()).unwrap()))
            }),
        ),
        (
            "cosignature",
            Box::new(move |request, cosigner| {
                // A good line beside a wrong one.
                let good = cosigner.cosign(&text_of(request), now()).unwrap();
                let other = text_of(request).replace("\n3\n", "\n4\n");
                ok(&format!("{good}{}", cosigner.cosign(&other, now()).unwrap()))
            }),
        ),
        (
            "clock",
            Box::new(move |request, cosigner| ok(&cosigner.cosign(&text_of(request), 1).unwrap())),
        ),
        (
            "clock",
            Box::new(move |request, cosigner| {
                ok(&cosigner.cosign(&text_of(request), u64::MAX).unwrap())
            }),
        ),
        (
            "clock",
            Box::new(move |request, cosigner| {
                ok(&cosigner.cosign(&text_of(request), now() + 7_200).unwrap())
            }),
        ),
        ("malformed", Box::new(move |_, _| answered("409 Conflict", size_type, "-1\n"))),
        ("malformed", Box::new(move |_, _| answered("409 Conflict", "text/plain", "2\n"))),
        ("ahead", Box::new(move |_, _| answered("409 Conflict", size_type, "9999\n"))),
        ("forked", Box::new(move |_, _| answered("409 Conflict", size_type, "2\n"))),
        ("forked", Box::new(move |_, _| answered("409 Conflict", size_type, "0\n"))),
        ("forked", Box::new(move |_, _| answered("422 Unprocessable", "text/plain", ""))),
        (
            "moved",
            Box::new(move |request, _| {
                let stands_at = if request.contains("old 0\n") { "1\n" } else { "2\n" };
                answered("409 Conflict", size_type, stands_at)
            }),
        ),
        ("refused", Box::new(move |_, _| answered("307 Temporary Redirect", "text/plain", ""))),
        ("refused", Box::new(move |_, _| answered("500 Oops", "text/plain", "x"))),
        ("unreached", Box::new(move |_, _| b"\0\xff not http\r\n\r\n".to_vec())),
        ("malformed", Box::new(move |_, _| ok(&"\u{2014} a AAAA\n".repeat(50 << 16)))),
        (
            "malformed",
            Box::new(move |_, _| {
                b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\n\xff\xfe\n".to_vec()
            }),
        ),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn liars_are_not_kept() {
    let bank = Bank::new().await;
    let cosigner =
        Arc::new(Cosigner::new("witness.example/liar", vault::NoteSigner::generate()).unwrap());
    let key = cosigner.verifier().unwrap().to_text();
    for (position, (reason, make)) in lies().into_iter().enumerate() {
        let own = Arc::clone(&cosigner);
        let setting = fake(&key, move |request| make(request, &own)).await;
        let began = Instant::now();
        let fault = ask(&bank.world, &setting).await.unwrap_err();
        assert_eq!(fault.reason(), reason, "row {position}: {fault}");
        assert!(began.elapsed() < Duration::from_secs(9), "row {position}");
    }
    assert_eq!(bank.kept().await, [""; 0]);
    // The same one, honest: among the lines of others, its own is kept and no other.
    let own = Arc::clone(&cosigner);
    let setting = fake(&key, move |request| {
        let good = own.cosign(&text_of(request), now()).unwrap();
        let lines = format!("\u{2014} somebody.else AAAAAAAA\n{good}");
        answered("200 OK", "text/plain", &lines)
    });
    assert_eq!(ask(&bank.world, &setting.await).await.unwrap(), Asked::Cosigned { size: 3 });
    let sql = "SELECT line FROM audit_super_cosignatures";
    let line: String = bank.world.superuser().await.query_one(sql, &[]).await.unwrap().get(0);
    assert!(line.starts_with("\u{2014} witness.example/liar ") && !line.contains('\n'), "{line}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_hangs_delays_neither_sealing_nor_the_others_nor_the_end() {
    let bank = Bank::new().await;
    let folder = tempfile::tempdir().unwrap();
    let witness = bank.start("witness.example/1", folder.path());
    let sleeper = Cosigner::new("witness.example/2", vault::NoteSigner::generate()).unwrap();
    let silent = fake(&sleeper.verifier().unwrap().to_text(), |_| Vec::new()).await;
    let asking = witnesses(&bank.world, &[&silent, &witness.setting()]);
    let stop = CancellationToken::new();
    let running = tokio::spawn(asking.run(stop.clone()));
    for size in 3..6 {
        let expected = format!("witness.example/1 {size}");
        let deadline = Instant::now() + Duration::from_secs(8);
        while !bank.kept().await.contains(&expected) {
            assert!(Instant::now() < deadline, "{expected}: {:?}", bank.kept().await);
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let began = Instant::now();
        bank.seal(1).await;
        assert!(began.elapsed() < Duration::from_secs(2), "sealing waited");
    }
    let began = Instant::now();
    stop.cancel();
    running.await.unwrap();
    assert!(began.elapsed() < Duration::from_secs(1), "the end waited");
    assert!(bank.kept().await.iter().all(|kept| kept.starts_with("witness.example/1 ")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fifty_at_once_keep_one_line_and_nobody_changes_it() {
    let bank = Bank::new().await;
    let folder = tempfile::tempdir().unwrap();
    let witness = bank.start("witness.example/1", folder.path());
    let asking = witnesses(&bank.world, &[&witness.setting()]);
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..50 {
        let own = asking.clone();
        tasks.spawn(async move { own.ask(&own.all()[0]).await });
    }
    while let Some(asked) = tasks.join_next().await {
        let asked = asked.unwrap();
        assert!(asked.is_ok() || matches!(asked, Err(AskFault::Moved)), "{asked:?}");
    }
    assert_eq!(bank.kept().await, ["witness.example/1 3"]);
    let superuser = bank.world.superuser().await;
    let changes =
        ["UPDATE audit_super_cosignatures SET line = 'x'", "TRUNCATE audit_super_cosignatures"];
    for sql in changes.into_iter().chain(["DELETE FROM audit_super_cosignatures"]) {
        let error = superuser.batch_execute(sql).await.unwrap_err();
        assert_eq!(error.code().unwrap().code(), "42501", "{sql}");
    }
    let app = testkit::connect(&bank.world.database.url_as("strongroom_app")).await;
    let error = app.query("SELECT * FROM audit_super_cosignatures", &[]).await.unwrap_err();
    assert_eq!(error.code().unwrap().code(), "42501");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_server_asks_and_the_operator_is_told() {
    let bank = Bank::new().await;
    let (folder, home) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let witness = bank.start("witness.example/1", folder.path());
    let url = bank.world.database.superuser_url();
    let run = |setting: Option<&str>, arguments: &[&str]| {
        let mut command = strongroom(home.path());
        command.env("DATABASE_URL", &url).env("ENCRYPTION_KEY", "07".repeat(32));
        command.envs(setting.map(|setting| ("AUDIT_WITNESSES", setting)));
        let output = command.args(arguments).output().unwrap();
        String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
    };
    let setting = witness.setting();
    let told = run(None, &["audit", "status"]);
    assert!(told.contains("neither a witness nor an anchor"), "{told}");
    let told = run(Some(&setting), &["audit", "status"]);
    assert!(told.contains(&bank.log_key) && told.contains("has cosigned none"), "{told}");
    let doctor = ["doctor", "--production"];
    let told = run(None, &doctor);
    assert!(told.contains("strongroom config explain AUDIT_WITNESSES"), "{told}");
    // The log was signed in a March long ago.
    let told = run(Some(&setting), &doctor);
    assert!(told.contains("witness.example/1 has cosigned 0 of 3 checkpoints"), "{told}");
    assert!(told.contains("must all begin with https://"), "{told}");

    let port = free_port();
    let mut command = serve(&url, &url, port, free_port(), &[]);
    command.env("ENCRYPTION_KEY", "07".repeat(32)).env("AUDIT_WITNESSES", &setting);
    let mut server = command.spawn().unwrap();
    let deadline = Instant::now() + Duration::from_secs(60);
    while bank.kept().await.is_empty() && Instant::now() < deadline {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    server.kill().unwrap();
    server.wait().unwrap();
    assert_eq!(bank.kept().await, ["witness.example/1 3"]);
    let told = run(Some(&setting), &["audit", "status"]);
    assert!(told.contains("witness.example/1 has cosigned 3 of them, at 20"), "{told}");
    let told = run(Some(&setting), &["audit", "status", "-o", "json"]);
    let told: serde_json::Value = serde_json::from_str(&told).unwrap();
    assert_eq!((&told["signed"], &told["witnesses"][0]["size"]), (&3.into(), &3.into()), "{told}");
    let refused = run(Some("https://witness.example"), &["audit", "status"]);
    assert!(refused.contains("AUDIT_WITNESSES must be"), "{refused}");
}

/// A sealer that goes by this witness.
fn anchored(world: &World, setting: &str) -> audit::Sealer {
    let witness = audit::witness::Witness::parse(setting).unwrap();
    world.sealer().anchored_in(Some(Anchoring::Witness(witness, Client::plain(Guard::Any))))
}

async fn count(world: &World, table: &str) -> i64 {
    let sql = format!("SELECT count(*) FROM {table}");
    world.superuser().await.query_one(&sql, &[]).await.unwrap().get(0)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_witness_is_an_anchor_that_an_older_copy_is_not_sealed_behind() {
    let Bank { world, tenant, platform, log_key } = Bank::new().await;
    let older = World::over(world.database.copied().await);
    let own = Bank { world: World::over(world.database), platform, tenant, log_key };
    let folder = tempfile::tempdir().unwrap();
    let witness = own.start("witness.example/1", folder.path());
    let setting = witness.setting();
    // Confirmed where both stand at three, in two processes: one over each copy.
    let (true_one, stale) = (anchored(&own.world, &setting), anchored(&older, &setting));
    for (world, sealer) in [(&own.world, &true_one), (&older, &stale)] {
        assert_eq!(sealer.drain().await.unwrap(), 0);
        assert_eq!(kept(world).await, ["witness.example/1 3"], "asked before anything was signed");
    }
    for size in 4..=5 {
        own.world.append(&own.tenant, 1).await;
        assert_eq!(true_one.drain().await.unwrap(), 1, "{size}");
    }
    assert_eq!(ask(&own.world, &setting).await.unwrap(), Asked::Cosigned { size: 5 });

    // A process that starts over the older copy signs nothing, and keeps what waits.
    for waiting in 1..=2 {
        older.append(&own.tenant, 1).await;
        let refused = anchored(&older, &setting).drain().await.unwrap_err().to_string();
        let told = "holds 3 checkpoints and 5 were anchored: an older copy was restored";
        assert!(refused.contains(told), "{refused}");
        assert_eq!(count(&older, "audit_inbox").await, waiting);
    }
    assert_eq!(count(&older, "audit_super_checkpoints").await, 3);

    // One that was confirmed before goes on until the witness contradicts it, and no longer.
    assert_eq!(stale.drain().await.unwrap(), 2);
    let asking = witnesses(&older, &[&setting]).telling(stale.witness_anchor());
    assert!(asking.ask(&asking.all()[0]).await.unwrap_err().contradicts());
    older.append(&own.tenant, 1).await;
    let refused = stale.drain().await.unwrap_err().to_string();
    assert!(refused.contains("5 were anchored"), "{refused}");
    // As large as the true one, and then larger, it is another history.
    for _ in 0..2 {
        seal(&older, &own.tenant, 1).await;
        let refused = anchored(&older, &setting).drain().await.unwrap_err().to_string();
        assert!(refused.contains("holds other checkpoints than the 5"), "{refused}");
    }

    // Silent, it stops nobody whom it confirmed, and confirms nobody.
    drop(witness);
    own.world.append(&own.tenant, 1).await;
    assert_eq!(true_one.drain().await.unwrap(), 1);
    own.world.append(&own.tenant, 1).await;
    let refused = anchored(&own.world, &setting).drain().await.unwrap_err().to_string();
    assert!(refused.contains("has not confirmed the log"), "{refused}");
    let witness = own.start("witness.example/1", folder.path());
    assert_eq!(anchored(&own.world, &witness.setting()).drain().await.unwrap(), 1);
}
