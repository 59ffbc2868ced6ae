//! A witness as its own process: it cosigns what extends the checkpoint it cosigned last, and
//! nothing else, whatever is sent and whenever it dies.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;

use audit::cosignature::CosignatureVerifier;
use audit::merkle::{self, Hash, NodeId, ProofPlan};
use audit::note::{Checkpoint, LogSigner, Note};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::cli::strongroom;

const ORIGIN: &str = "log.example/super";

/// A log in memory; two of one key are the two histories of a fork.
struct Log {
    signer: LogSigner,
    leaves: Vec<Hash>,
}

impl Log {
    fn new() -> Self {
        let signer = LogSigner::new(ORIGIN, vault::NoteSigner::generate()).unwrap();
        Self { signer, leaves: leaves(b'a', 300) }
    }

    fn key(&self) -> String {
        self.signer.verifier().unwrap().to_text()
    }

    fn note(&self, size: usize) -> String {
        signed(&self.signer, ORIGIN, &self.leaves[..size])
    }

    /// The other history: the same up to `common`, and other leaves from there on.
    fn forked_note(&self, common: usize, size: usize) -> String {
        signed(&self.signer, ORIGIN, &self.forked(common)[..size])
    }

    fn forked(&self, common: usize) -> Vec<Hash> {
        [&self.leaves[..common], &leaves(b'b', 300)].concat()
    }

    fn request(&self, old: usize, new: usize) -> String {
        body(old, &proof(&self.leaves, old, new), &self.note(new))
    }
}

fn leaves(history: u8, count: u16) -> Vec<Hash> {
    (0..count)
        .map(|index| merkle::leaf_hash(&[&[history][..], &index.to_be_bytes()].concat()))
        .collect()
}

fn signed(signer: &LogSigner, origin: &str, leaves: &[Hash]) -> String {
    let (size, root) = (leaves.len() as u64, merkle::root(leaves));
    let checkpoint = Checkpoint { origin: origin.to_owned(), size, root, extensions: Vec::new() };
    checkpoint.sign(signer).unwrap()
}

fn proof(leaves: &[Hash], old: usize, new: usize) -> Vec<Hash> {
    if old == 0 || old >= new {
        return Vec::new();
    }
    let plan = ProofPlan::consistency(old as u64, new as u64).unwrap();
    let covered = |id: NodeId| {
        let first = usize::try_from(id.index << id.level).unwrap();
        merkle::root(&leaves[first..first + (1 << id.level)])
    };
    let nodes: HashMap<_, _> = plan.node_ids().into_iter().map(|id| (id, covered(id))).collect();
    plan.assemble(&nodes).unwrap()
}

fn body(old: usize, proof: &[Hash], note: &str) -> String {
    let mut body = format!("old {old}\n");
    for hash in proof {
        writeln!(body, "{}", STANDARD.encode(hash)).unwrap();
    }
    format!("{body}\n{note}")
}

/// What was answered.
#[derive(Debug)]
struct Answer {
    status: u16,
    head: String,
    body: String,
}

pub(crate) struct Witness {
    process: Child,
    port: u16,
    pub(crate) verifier: CosignatureVerifier,
}

impl Witness {
    fn start(folder: &Path, log: &Log) -> Self {
        Self::named("witness.example/w1", folder, &log.key())
    }

    /// With the key and the state of a folder, which are made where they are not there.
    pub(crate) fn named(name: &str, folder: &Path, log_key: &str) -> Self {
        let key = folder.join("key");
        if !key.exists() {
            std::fs::create_dir(folder.join("state")).unwrap();
            let made = strongroom(folder)
                .args(["witness", "new-key", name, "--file"])
                .arg(&key)
                .output()
                .unwrap();
            assert!(made.status.success(), "{made:?}");
            std::fs::write(folder.join("verifier"), made.stdout).unwrap();
        }
        let verifier = std::fs::read_to_string(folder.join("verifier")).unwrap();
        let verifier = CosignatureVerifier::parse(verifier.trim()).unwrap();
        let mut process = serving(folder, log_key).stderr(Stdio::piped()).spawn().unwrap();
        let mut told = BufReader::new(process.stderr.take().unwrap());
        let mut line = String::new();
        told.read_line(&mut line).unwrap();
        let port = line.split("127.0.0.1:").nth(1).unwrap_or_else(|| panic!("{line}"));
        let port = port.trim_end().trim_matches(|c: char| !c.is_ascii_digit()).parse().unwrap();
        // Read on, so that the process is never held up by what it says.
        thread::spawn(move || std::io::copy(&mut told, &mut std::io::sink()));
        Self { process, port, verifier }
    }

    /// As `AUDIT_WITNESSES` names it.
    pub(crate) fn setting(&self) -> String {
        format!("http://127.0.0.1:{}+{}", self.port, self.verifier.to_text())
    }

    fn ask(&self, body: &[u8]) -> Answer {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        let head = format!(
            "POST /add-checkpoint HTTP/1.1\r\nHost: w\r\nConnection: close\r\n\
             Content-Length: {}\r\n\r\n",
            body.len()
        );
        stream.write_all(&[head.as_bytes(), body].concat()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        Answer { status, head: head.to_lowercase(), body: body.to_owned() }
    }

    fn cosigns(&self, log: &Log, old: usize, new: usize) {
        let answer = self.ask(log.request(old, new).as_bytes());
        assert_eq!(answer.status, 200, "{old} to {new}: {answer:?}");
        self.verifies(&log.note(new), &answer.body);
    }

    fn verifies(&self, note: &str, lines: &str) {
        let note = Note::parse(&format!("{note}{lines}")).unwrap();
        assert!(self.verifier.verify(&note).unwrap() > 1_700_000_000, "{lines}");
    }

    fn stands_at(&self, log: &Log, size: usize) {
        // An old size that it never has.
        let answer = self.ask(log.request(299, 300).as_bytes());
        assert_eq!((answer.status, answer.body), (409, format!("{size}\n")));
        assert!(answer.head.contains("content-type: text/x.tlog.size"), "{}", answer.head);
    }
}

impl Drop for Witness {
    /// SIGKILL: what it answered must have been written before.
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn serving(folder: &Path, log_key: &str) -> Command {
    let mut command = strongroom(folder);
    command.args(["witness", "serve", "--listen", "127.0.0.1:0", "--log", log_key, "--key"]);
    command.arg(folder.join("key")).arg("--state").arg(folder.join("state"));
    command
}

#[test]
fn a_growing_log_is_cosigned_and_what_was_is_cosigned_again() {
    let (folder, log) = (tempfile::tempdir().unwrap(), Log::new());
    let witness = Witness::start(folder.path(), &log);
    for (old, new) in [(0, 3), (3, 3), (3, 64), (64, 65), (65, 200), (200, 200)] {
        witness.cosigns(&log, old, new);
    }
    witness.stands_at(&log, 200);
}

#[test]
fn a_fork_a_smaller_tree_and_strangers_are_refused_and_change_nothing() {
    let (folder, log) = (tempfile::tempdir().unwrap(), Log::new());
    let witness = Witness::start(folder.path(), &log);
    witness.cosigns(&log, 0, 70);
    let forked = log.forked(60);
    let stranger = Log::new();
    let other = LogSigner::new("log.example/other", vault::NoteSigner::generate()).unwrap();
    let short = proof(&log.leaves, 70, 90);
    let unsigned = log.note(90).replace("\u{2014} log.example/super", "\u{2014} log.example/x");
    let table = [
        ("same size, other root", body(70, &[], &log.forked_note(60, 70)), 409),
        ("other history", body(70, &proof(&forked, 70, 90), &log.forked_note(60, 90)), 422),
        ("from nothing again", log.request(0, 90), 409),
        ("other history from nothing", body(0, &[], &log.forked_note(60, 90)), 409),
        ("a smaller tree", log.request(60, 65), 409),
        ("a smaller tree, as if it were new", log.request(70, 65), 400),
        ("no proof", body(70, &[], &log.note(90)), 422),
        ("a proof too short", body(70, &short[1..], &log.note(90)), 422),
        ("a hash too many", body(70, &[&short[..], &[[0; 32]]].concat(), &log.note(90)), 422),
        ("another key of the name", body(70, &short, &stranger.note(90)), 403),
        ("no line of the log's", body(70, &short, &unsigned), 403),
        ("another log", body(0, &[], &signed(&other, "log.example/other", &forked[..9])), 404),
    ];
    for (name, request, status) in table {
        let answer = witness.ask(request.as_bytes());
        assert_eq!(answer.status, status, "{name}: {answer:?}");
        assert!(!answer.body.contains('\u{2014}'), "{name}: {answer:?}");
        witness.stands_at(&log, 70);
    }
    witness.cosigns(&log, 70, 90);
}

#[test]
fn garbage_is_refused() {
    let (folder, log) = (tempfile::tempdir().unwrap(), Log::new());
    let witness = Witness::start(folder.path(), &log);
    let note = log.note(9);
    let many = body(1, &[[0; 32]; 64], &note);
    let table: [(&[u8], u16); 12] = [
        (b"", 400),
        (b"\xff\xfe", 400),
        (note.as_bytes(), 400),
        (&body(0, &[], "log.example/super\n9\n").into_bytes(), 400),
        (&body(0, &[], &note).replace("old 0", "old 00").into_bytes(), 400),
        (&body(0, &[], &note).replace("old 0", "old +0").into_bytes(), 400),
        (&body(0, &[], &note).replace("old 0", "old -1").into_bytes(), 400),
        (&body(0, &[], &note).replace("old 0", "old 0\nAAAA").into_bytes(), 400),
        (&body(0, &[[0; 32]], &note).into_bytes(), 400),
        (many.as_bytes(), 400),
        (&note.replace("\n9\n", "\n09\n").into_bytes(), 400),
        (&vec![b'a'; 73 * 1024], 413),
    ];
    for (position, (request, status)) in table.into_iter().enumerate() {
        assert_eq!(witness.ask(request).status, status, "row {position}");
    }
    witness.stands_at(&log, 0);
}

#[test]
fn what_was_answered_outlives_a_kill_and_two_never_serve_one_state() {
    let (folder, log) = (tempfile::tempdir().unwrap(), Log::new());
    let mut size = 0;
    for next in [5, 64, 100] {
        let witness = Witness::start(folder.path(), &log);
        witness.stands_at(&log, size);
        witness.cosigns(&log, size, next);
        size = next;
        let second = serving(folder.path(), &log.key()).output().unwrap();
        let told = String::from_utf8_lossy(&second.stderr).into_owned();
        assert!(!second.status.success() && told.contains("another witness serves"), "{told}");
    }
    let state = std::fs::read_dir(folder.path().join("state")).unwrap();
    let file = state
        .map(|entry| entry.unwrap().path())
        .find(|path| path.extension().is_some_and(|ending| ending == "checkpoint"));
    std::fs::write(file.unwrap(), "log.example/super\n").unwrap();
    let damaged = serving(folder.path(), &log.key()).output().unwrap();
    let told = String::from_utf8_lossy(&damaged.stderr).into_owned();
    assert!(!damaged.status.success() && told.contains("is damaged"), "{told}");
}

#[test]
fn of_fifty_histories_at_once_one_is_cosigned() {
    let (folder, log) = (tempfile::tempdir().unwrap(), Log::new());
    let witness = Witness::start(folder.path(), &log);
    let requests: Vec<String> =
        (0..50).map(|way| body(0, &[], &signed(&log.signer, ORIGIN, &leaves(way, 7)))).collect();
    let answers: Vec<Answer> = thread::scope(|scope| {
        let asking = requests.iter().map(|request| scope.spawn(|| witness.ask(request.as_bytes())));
        let asking: Vec<_> = asking.collect();
        asking.into_iter().map(|answer| answer.join().unwrap()).collect()
    });
    let cosigned = answers.iter().filter(|answer| answer.status == 200).count();
    let refused = answers.iter().filter(|answer| answer.status == 409).count();
    assert_eq!((cosigned, refused), (1, 49), "{answers:?}");
    witness.stands_at(&log, 7);
}
