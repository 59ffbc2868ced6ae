//! The audit log as a file: written and verified by the real binary, proven from proofs, and
//! all of it verified again by what others wrote: PyPI `pymerkle` and `PyNaCl`, a process of
//! their own that knows our published forms and none of our code.

use std::path::Path;
use std::process::Command;

use audit::cosignature::Cosigner;
use audit::note::Note;
use audit::query::Filter;
use audit::super_proof;
use audit::witness::Witnesses;
use jiff::SignedDuration;
use operation::audit_views::ProveEvent;
use outward::{Client, Guard};
use serde_json::Value;
use tenancy::{Clock, Database, DatabaseConfig};

use crate::cli::strongroom;
use crate::harness::App;
use crate::interop::audit_python;
use crate::witness::Witness;

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/interop/audit.py");

/// A bank with a log of several checkpoints, and the binary over its database.
struct Bank {
    app: App,
    folder: tempfile::TempDir,
    key: String,
}

impl Bank {
    async fn start() -> Self {
        let app = App::start().await;
        app.seal().await;
        for username in ["auditor", "customer", "officer"] {
            app.login(&app.bank, username).await;
            app.seal().await;
        }
        let context = app.cli("bank").await;
        let keys = audit::proof::verifier_keys(&app.pool, &context).await.unwrap();
        Self { folder: tempfile::tempdir().unwrap(), key: keys[0].to_text(), app }
    }

    /// The binary; where it has no database it must not need one.
    fn run(&self, has_database: bool, arguments: &[&str]) -> (Option<i32>, String, String) {
        let mut command = strongroom(self.folder.path());
        if has_database {
            command.env("DATABASE_URL", self.app.database.superuser_url());
            command.env("ENCRYPTION_KEY", "07".repeat(32));
        }
        let output = command.arg("audit").args(arguments).output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (output.status.code(), text(output.stdout), text(output.stderr))
    }

    fn save(&self, name: &str, text: &str) {
        std::fs::write(self.folder.path().join(name), text).unwrap();
    }

    fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.folder.path().join(name)).unwrap()
    }

    fn export(&self) {
        let (code, told, wrong) =
            self.run(true, &["export", "--tenant", "bank", "--file", "log.jsonl", "-o", "json"]);
        assert_eq!(code, Some(0), "{wrong}");
        let told: Value = serde_json::from_str(&told).unwrap();
        assert!(told["records"].as_u64().unwrap() > 10, "{told}");
        assert!(told["checkpoints"].as_u64().unwrap() > 3, "{told}");
    }

    /// Proofs of one event and of growth, as files; the event.
    async fn proofs(&self) -> String {
        let context = self.app.cli("bank").await;
        let all = Filter::default();
        let events = audit::query::list(&self.app.pool, &context, &all, None, 500).await.unwrap();
        let middle = events.iter().find(|event| event.log_index == Some(5)).unwrap();
        let event = middle.event_id.to_string();
        let (code, proof, wrong) = self.run(true, &["proof", &event, "--tenant", "bank"]);
        assert_eq!(code, Some(0), "{wrong}");
        self.save("proof.json", &proof);
        let points = audit::proof::checkpoints(&self.app.pool, &context, None, 100).await.unwrap();
        let sizes =
            [points[points.len() - 1].tree_size, points[0].tree_size].map(|s| s.to_string());
        let (code, proof, wrong) =
            self.run(true, &["consistency", &sizes[0], &sizes[1], "--tenant", "bank"]);
        assert_eq!(code, Some(0), "{wrong}");
        self.save("growth.json", &proof);
        event
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_leaves_as_a_file_and_is_proven_without_a_database() {
    let bank = Bank::start().await;
    bank.export();
    let log = bank.read("log.jsonl");
    let (code, told, wrong) = bank.run(false, &["verify", "--from", "log.jsonl"]);
    assert_eq!(code, Some(0), "{wrong}");
    assert!(told.contains("from the file itself") && told.contains("none"), "{told}");
    let key = bank.key.as_str();
    let (code, told, wrong) = bank.run(false, &["verify", "--from", "log.jsonl", "--key", key]);
    assert_eq!((code, told.contains("as given")), (Some(0), true), "{wrong}");
    // That it left stands in the log, and in the file.
    assert!(log.contains(r#"\"action\":\"audit.export\""#));
    assert!(log.contains(r#"\"event_type\":\"data_export\""#));
    let (code, ..) = bank.run(true, &["export", "--tenant", "bank", "--file", "log.jsonl"]);
    assert_eq!(code, Some(70), "never over a file that is there");
    let (code, ..) = bank.run(true, &["export", "--tenant", "nobody", "--file", "other.jsonl"]);
    assert_eq!((code, bank.folder.path().join("other.jsonl").exists()), (Some(1), false));

    // A checkpoint kept elsewhere: this log's, and another's, which proves nothing.
    let point: Value =
        serde_json::from_str(log.lines().find(|line| line.starts_with("{\"checkpoint\"")).unwrap())
            .unwrap();
    bank.save("kept.txt", point["checkpoint"].as_str().unwrap());
    bank.save("foreign.txt", &bank.read("kept.txt").replace("strongroom/audit", "elsewhere"));
    for (has_database, base) in
        [(false, &["verify", "--from", "log.jsonl"][..]), (true, &["verify"])]
    {
        let with = |file| [base, &["--checkpoint", file]].concat();
        assert_eq!(bank.run(has_database, &with("kept.txt")).0, Some(0));
        assert_eq!(bank.run(has_database, &with("foreign.txt")).0, Some(1));
    }
    bank.save("log.jsonl", &log.replacen("auth.login", "auth.logon", 1));
    let (code, told, _) = bank.run(false, &["verify", "--from", "log.jsonl", "--key", key]);
    assert_eq!(code, Some(1), "{told}");
    assert!(told.contains("the record's bytes were changed"), "{told}");
    let wrong_key = bank.run(false, &["verify", "--from", "log.jsonl", "--key", "x+y+z"]);
    assert_eq!(wrong_key.0, Some(2), "{wrong_key:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn records_are_listed_by_filter_and_the_list_is_recorded() {
    let bank = Bank::start().await;
    let list =
        |arguments: &[&str]| bank.run(true, &[&["list", "--tenant", "bank"], arguments].concat());
    let (code, told, wrong) = list(&["--action", "auth.login", "--result", "success"]);
    assert_eq!((code, told.lines().count()), (Some(0), 3), "{wrong}");
    let event: Value = serde_json::from_str(told.lines().next().unwrap()).unwrap();
    assert_eq!((&event["action"], &event["event_type"]), (&"auth.login".into(), &"login".into()));
    let (_, told, _) = list(&["--action", "audit.export", "--format", "csv"]);
    assert!(told.starts_with("event_id,") && told.contains("cli"), "{told}");
    assert_eq!(told.lines().count(), 1 + 2, "this list and the one before: {told}");
    for wrong in [["--severity", "loud"], ["--actor-kind", "ghost"], ["--compliance-flag", "x"]] {
        assert_eq!(list(&wrong).0, Some(2), "{wrong:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_proof_file_serves_the_command_line_and_the_api_and_lies_are_found() {
    let bank = Bank::start().await;
    let event = bank.proofs().await;
    let key = bank.key.clone();
    let check = |file: &str, key: &str| bank.run(false, &["check-proof", file, "--key", key]);
    for file in ["proof.json", "growth.json"] {
        let (code, _, wrong) = check(file, &key);
        assert_eq!(code, Some(0), "{file}: {wrong}");
    }
    // The API's answer is the same file.
    let token = bank.app.login(&bank.app.bank, "auditor").await;
    let path = format!("/v1/audit/events/{event}/proof");
    let answer = bank.app.get(&path).bearer(&token).send().await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    bank.save("api.json", &answer.text);
    assert_eq!(check("api.json", &key).0, Some(0));
    bank.app.add_bank("other").await;
    let context = bank.app.cli("other").await;
    let foreign = audit::proof::verifier_keys(&bank.app.pool, &context).await.unwrap()[0].to_text();
    let (code, _, wrong) = check("api.json", &foreign);
    assert_eq!((code, wrong.contains("no key is given")), (Some(1), true), "{wrong}");
    // Another tenant's proof is not to be had.
    let id = event.parse().unwrap();
    assert!(bank.app.operations.read(&context, &ProveEvent(id)).await.is_err());

    let lies: [(&str, &str, fn(&mut Value)); 9] = [
        ("proof.json", "record", |p| {
            p["record"] = p["record"].as_str().unwrap().replace("\"v\":1", "\"v\":2").into();
        }),
        ("proof.json", "leaf_hash", |p| p["leaf_hash"] = p["checkpoint"]["root_hash"].clone()),
        ("proof.json", "log_index", |p| p["log_index"] = 6.into()),
        ("proof.json", "event_id", |p| p["event_id"] = p["tenant_id"].clone()),
        ("proof.json", "hashes", |p| drop(p["hashes"].as_array_mut().unwrap().pop())),
        ("proof.json", "tree_size", |p| p["checkpoint"]["tree_size"] = 7.into()),
        ("proof.json", "note", |p| {
            let note = p["checkpoint"]["note"].as_str().unwrap().replacen("room", "r00m", 1);
            p["checkpoint"]["note"] = note.into();
        }),
        ("growth.json", "first", |p| p["first"] = p["second"].clone()),
        ("growth.json", "hashes", |p| p["hashes"].as_array_mut().unwrap().reverse()),
    ];
    for (file, member, lie) in lies {
        let mut proof: Value = serde_json::from_str(&bank.read(file)).unwrap();
        let genuine = proof.clone();
        lie(&mut proof);
        assert_ne!(proof, genuine, "{file} {member}");
        bank.save("lie.json", &proof.to_string());
        assert_eq!(check("lie.json", &key).0, Some(1), "{file} {member}");
    }
}

/// A witness of the app's log; once it is asked it has cosigned what was signed.
struct Watched {
    witness: Witness,
    _folder: tempfile::TempDir,
    log_key: String,
}

impl Watched {
    async fn by(app: &App, name: &str) -> Self {
        let context = app.cli("bank").await;
        let (_, keys) = super_proof::newest(&app.pool, &context).await.unwrap().unwrap();
        let (folder, log_key) = (tempfile::tempdir().unwrap(), keys[0].to_text());
        let witness = Witness::named(name, folder.path(), &log_key);
        let own = Self { witness, _folder: folder, log_key };
        own.asked(app).await;
        own
    }

    /// A moment later, so that what was just signed is asked for as well.
    async fn asked(&self, app: &App) {
        let url = app.database.superuser_url();
        let sealer = DatabaseConfig::new(url).with_role("strongroom_sealer");
        let setting = self.witness.setting();
        let all = audit::witness::Witness::parse_all([setting.as_str()]).unwrap();
        let later = Clock::manual(Clock::System.now() + SignedDuration::from_secs(10));
        let client = Client::plain(Guard::Any);
        let witnesses = Witnesses::new(Database::new(&sealer).unwrap(), client, later, all);
        witnesses.ask(&witnesses.all()[0]).await.unwrap();
    }

    fn key(&self) -> String {
        self.witness.verifier.to_text()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_proof_leads_to_what_witnesses_cosigned_and_tells_of_nobody_else() {
    let bank = Bank::start().await;
    bank.app.identity.ensure_platform().await.unwrap();
    bank.app.add_bank("other").await;
    bank.app.seal().await;
    bank.app.login(&bank.app.bank, "auditor").await;
    bank.app.seal().await;
    let (one, two) = (
        Watched::by(&bank.app, "witness.example/1").await,
        Watched::by(&bank.app, "witness.example/2").await,
    );
    // Sealed since: what is proven by is what was cosigned, and not the newest.
    bank.app.login(&bank.app.bank, "auditor").await;
    bank.app.seal().await;
    bank.proofs().await;
    let proof: Value = serde_json::from_str(&bank.read("proof.json")).unwrap();
    let super_log = &proof["super_log"];
    assert_eq!(super_log["cosignatures"].as_array().unwrap().len(), 2, "{super_log}");
    assert!(!super_log.to_string().contains("strongroom/audit/"), "hashes alone of others");

    let watching = [&one, &two];
    witnesses_are_required(&bank, watching);
    lies_about_the_super_log_are_found(&bank, &one, &proof);
    the_head_is_served(&bank, watching, super_log).await;
    pynacl_verifies_the_way(&bank, watching);
}

fn witness_key(name: &str) -> String {
    let cosigner = Cosigner::new(name, vault::NoteSigner::generate()).unwrap();
    cosigner.verifier().unwrap().to_text()
}

/// `check-proof` with the tenant's key and further words.
fn checked(bank: &Bank, file: &str, witnesses: &[&str], further: &[&str]) -> (Option<i32>, String) {
    let mut words = vec!["check-proof", file, "--key", &bank.key];
    words.extend(further);
    words.extend(witnesses.iter().flat_map(|key| ["--witness", key]));
    let (code, told, wrong) = bank.run(false, &words);
    (code, told + &wrong)
}

fn witnesses_are_required(bank: &Bank, [one, two]: [&Watched; 2]) {
    let (stranger, impostor) = (witness_key("witness.example/3"), witness_key("witness.example/1"));
    let (over_all, first, second) = (&*one.log_key, &*one.key(), &*two.key());
    let with = ["--key", over_all];
    let one_of = ["--key", over_all, "--require", "1"];
    let three = ["--key", over_all, "--require", "3"];
    // witnesses, further words, how it ends, what is told
    let table: [(&[&str], &[&str], i32, &str); 11] = [
        (&[], &[], 0, "inclusion"),
        (&[], &with, 0, "inclusion"),
        (&[first, second], &with, 0, "witness.example/1"),
        (&[second], &with, 0, "witness.example/2"),
        (&[first, &stranger], &with, 1, "1 of the witnesses have cosigned it and 2 are required"),
        (&[first, &stranger], &one_of, 0, "witness.example/1"),
        (&[&stranger], &with, 1, "0 of the witnesses"),
        (&[&impostor], &with, 1, "0 of the witnesses"),
        (&[first], &[], 1, "no proof into the log"),
        (&[first, second], &three, 2, "--require 3"),
        (&["nonsense"], &with, 2, "--witness nonsense"),
    ];
    for (position, (witnesses, further, code, told)) in table.into_iter().enumerate() {
        let (found, words) = checked(bank, "proof.json", witnesses, further);
        assert_eq!(found, Some(code), "row {position}: {words}");
        assert!(words.contains(told), "row {position}: {words}");
    }
}

fn lies_about_the_super_log_are_found(bank: &Bank, one: &Watched, proof: &Value) {
    let with = ["--key", &*one.log_key];
    let lies: [(&str, fn(&mut Value)); 7] = [
        ("log_index", |p| {
            let index = p["log_index"].as_u64().unwrap();
            p["log_index"] = (index ^ 1).into();
        }),
        ("hashes", |p| drop(p["hashes"].as_array_mut().unwrap().pop())),
        ("tree_size", |p| p["checkpoint"]["tree_size"] = 1.into()),
        ("root_hash", |p| p["checkpoint"]["root_hash"] = p["hashes"][0].clone()),
        ("note", |p| {
            let note = p["checkpoint"]["note"].as_str().unwrap().replacen("room", "r00m", 1);
            p["checkpoint"]["note"] = note.into();
        }),
        ("cosignatures", |p| p["cosignatures"] = Value::Array(Vec::new())),
        ("a line of two", |p| {
            let line = p["cosignatures"][0].as_str().unwrap().to_owned();
            p["cosignatures"] = vec![format!("x\n\n{line}")].into();
        }),
    ];
    for (member, lie) in lies {
        let mut forged = proof.clone();
        lie(&mut forged["super_log"]);
        assert_ne!(forged, *proof, "{member}");
        bank.save("lie.json", &forged.to_string());
        assert_eq!(checked(bank, "lie.json", &[&one.key()], &with).0, Some(1), "{member}");
    }
    let mut without = proof.clone();
    without.as_object_mut().unwrap().remove("super_log");
    bank.save("without.json", &without.to_string());
    assert_eq!(checked(bank, "without.json", &[], &[]).0, Some(0), "an older file");
    assert_eq!(checked(bank, "without.json", &[], &with).0, Some(1));
}

/// The same head, and with it the note that a witness' key verifies.
async fn the_head_is_served(bank: &Bank, watching: [&Watched; 2], super_log: &Value) {
    let token = bank.app.login(&bank.app.bank, "auditor").await;
    let served = bank.app.get("/v1/audit/super/checkpoint").bearer(&token).send().await;
    assert_eq!(served.status, 200, "{}", served.body);
    assert_eq!(served.body["checkpoint"]["note"], super_log["checkpoint"]["note"]);
    assert_eq!(served.body["verifier_keys"][0], *watching[0].log_key);
    let lines = served.body["cosignatures"].as_array().unwrap();
    let lines = lines.iter().map(|line| line.as_str().unwrap().to_owned() + "\n");
    let note = served.body["checkpoint"]["note"].as_str().unwrap().to_owned();
    let note = Note::parse(&(note + &lines.collect::<String>())).unwrap();
    for watched in watching {
        watched.witness.verifier.verify(&note).unwrap();
    }
    let customer = bank.app.login(&bank.app.bank, "customer").await;
    let refused = bank.app.get("/v1/audit/super/checkpoint").bearer(&customer).send().await;
    assert_eq!(refused.status, 403, "{}", refused.body);
}

/// By others, with neither our code nor our server.
fn pynacl_verifies_the_way(bank: &Bank, [one, two]: [&Watched; 2]) {
    let Some(python) = audit_python() else { return };
    let (own, over_all) = (&*bank.key, &*one.log_key);
    let judge = |keys: &[&str]| {
        let mut command = Command::new(&python);
        command.current_dir(bank.folder.path()).arg(SCRIPT).arg("cosigned").arg("proof.json");
        let output = command.args(keys).output().unwrap();
        let said: Value = serde_json::from_slice(&output.stdout).unwrap();
        said["cosigned"].as_u64()
    };
    assert_eq!(judge(&[own, over_all, &one.key(), &two.key()]), Some(2));
    assert_eq!(judge(&[own, over_all, &witness_key("witness.example/3")]), None);
    assert_eq!(judge(&[own, own, &one.key()]), None);
}

fn judged(python: &Path, bank: &Bank, files: &[&str]) -> Value {
    let mut command = Command::new(python);
    command.current_dir(bank.folder.path()).arg(SCRIPT).arg(&bank.key).args(files);
    let output = command.output().unwrap();
    serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{output:?}"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pymerkle_and_pynacl_verify_our_log_and_our_proofs() {
    let Some(python) = audit_python() else { return };
    let bank = Bank::start().await;
    bank.proofs().await;
    bank.export();
    let judge = |files: &[&str]| judged(&python, &bank, files);
    let said = judge(&["log.jsonl", "proof.json", "growth.json"]);
    assert_eq!((&said["ok"], &said["proofs"]), (&Value::from(true), &Value::from(2)), "{said}");
    let log = bank.read("log.jsonl");
    let sizes = said["sizes"].as_array().unwrap().len();
    assert_eq!(sizes, log.matches("{\"checkpoint\"").count());
    // What we refuse they refuse.
    let last = log.trim_end().rfind('\n').unwrap();
    let tampered = [
        ("edited", log.replacen("auth.login", "auth.logon", 1)),
        ("cut", log[..=last].to_owned()),
        ("forged", log.replacen("\\n1", "\\n2", 1)),
        ("another's", log.replacen("{\"i\":3,", "{\"i\":4,", 1)),
    ];
    for (name, text) in tampered {
        assert_ne!(text, log, "{name}");
        bank.save("tampered.jsonl", &text);
        let said = judge(&["tampered.jsonl"]);
        assert_eq!(said["ok"], Value::from(false), "{name}: {said}");
        let ours = bank.run(false, &["verify", "--from", "tampered.jsonl"]);
        assert_eq!(ours.0, Some(1), "{name}: {ours:?}");
    }
    let proof = bank.read("proof.json").replacen("\"log_index\": 5", "\"log_index\": 4", 1);
    bank.save("lie.json", &proof);
    assert_eq!(judge(&["log.jsonl", "lie.json"])["ok"], Value::from(false));
}
