//! Crashes under load. Each round lets clients move money through the real server,
//! kills the server, PostgreSQL or both with SIGKILL at a random moment, starts
//! again what was killed and nothing else, lets every client ask until it is
//! answered, and then compares what was acknowledged with what is there.
//!
//! `STRONGROOM_CRASH_ROUNDS` is the number of rounds (5), `STRONGROOM_CRASH_SEED`
//! repeats the choices of an earlier run: what is killed, after how long, and what
//! each client orders. The interleaving is the machine's own.

pub(crate) mod bank;
mod books;
pub(crate) mod client;
pub(crate) mod load;
pub(crate) mod place;
pub(crate) mod plan;

use std::hash::{BuildHasher as _, RandomState};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use cluster::Ending;
use testkit::connect;
use tokio_util::sync::CancellationToken;

use self::bank::{Bank, OFFICER, sign_in};
use self::books::{Books, proofs, wait_until_sealed, witness};
use self::load::{Met, Outcome, Worker, takes_batches};
use self::place::{Postgres, Server, Urls};
use self::plan::{Dice, Round, Victim};

const CLIENTS: usize = 8;
/// From the start of what was killed until the server serves again.
const RECOVERY_LIMIT: Duration = Duration::from_secs(30);

/// Everything under test, over all rounds.
struct Scene {
    seed: u64,
    postgres: Postgres,
    server: Server,
    bank: Bank,
    tokens: Vec<String>,
    /// The officer's.
    counter: String,
    batches: bool,
    outcome: Outcome,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nothing_acknowledged_is_lost_and_nothing_is_doubled() {
    let seed = number("STRONGROOM_CRASH_SEED").unwrap_or_else(|| RandomState::new().hash_one(1));
    let rounds = number("STRONGROOM_CRASH_ROUNDS").unwrap_or(5);
    println!("repeat with STRONGROOM_CRASH_SEED={seed} STRONGROOM_CRASH_ROUNDS={rounds}");
    let mut scene = Scene::set(seed).await;
    for number in 0..rounds {
        let round = Round::of(seed, number);
        let begun = Instant::now();
        let (met, posted, recovery) = scene.play(&round).await;
        println!(
            "{:?}: {posted} posted, recovered in {recovery:?}, {met:?}, {:.1?} in all; {round:?}",
            round.victim,
            begun.elapsed()
        );
    }
    assert!(scene.outcome.met.broken + scene.outcome.met.unavailable > 0, "nobody felt a thing");
    assert!(scene.outcome.met.replayed > 0, "nothing was ever asked for twice");
    let paid = scene.outcome.promised.values().filter(|hold| hold.captured > 0).count();
    assert!(paid > 0 && paid < scene.outcome.promised.len(), "holds were captured and let go");
}

#[allow(clippy::disallowed_methods, reason = "tests have no configuration to read it from")]
fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name}: {text}")))
}

impl Scene {
    async fn set(seed: u64) -> Self {
        let postgres = Postgres::start().await;
        assert_keeps_commits(&postgres.url_of("app")).await;
        let bank = Bank::found(&postgres.superuser_url()).await;
        let urls = Urls { app: postgres.url_of("app"), sealer: postgres.url_of("sealer") };
        let server = Server::start(urls, &[("LOG_LEVEL", "warn")]).await;
        let mut tokens = Vec::new();
        for customer in &bank.customers {
            tokens.push(sign_in(server.port, customer.username).await);
        }
        let counter = sign_in(server.port, OFFICER).await;
        let batches = takes_batches(server.port).await;
        let outcome = Outcome::default();
        Self { seed, postgres, server, bank, tokens, counter, batches, outcome }
    }

    /// One round and its reckoning.
    async fn play(&mut self, round: &Round) -> (Met, usize, Duration) {
        let stop = CancellationToken::new();
        let workers: Vec<_> = (0..CLIENTS)
            .map(|client| {
                let dice = Dice::of(self.seed, &[round.number, 3, client as u64]);
                let token = &self.tokens[client % self.tokens.len()];
                let to = (self.server.port, self.batches);
                let worker = Worker::new(&self.bank, (round.number, client), token, to, dice);
                tokio::spawn(worker.with_counter(&self.counter).work(stop.clone()))
            })
            .collect();
        tokio::time::sleep(round.before).await;
        let witnessed = self.witness().await;
        let mut recovery = self.strike(round).await;
        if let Some(pause) = round.again_after {
            tokio::time::sleep(pause).await;
            recovery = recovery.max(self.strike(round).await);
        }
        tokio::time::sleep(round.after).await;
        stop.cancel();
        let mut told = Outcome::default();
        for worker in workers {
            told.add(worker.await.unwrap());
        }
        let (met, posted) = (told.met.clone(), told.acknowledged.len());
        self.outcome.add(told);
        self.reckon(round, witnessed).await;
        (met, posted, recovery)
    }

    async fn witness(&self) -> Option<PathBuf> {
        let superuser = self.postgres.inspect().await;
        witness(&self.bank, &superuser, self.server.folder()).await
    }

    /// Kills, starts again what was killed, and waits until it serves: the other
    /// part is still the process that it was.
    async fn strike(&mut self, round: &Round) -> Duration {
        let before = (self.server.process_id(), self.postgres.process_id());
        match round.victim {
            Victim::Server => self.server.kill(),
            Victim::Postgres(ending) => self.postgres.end(ending),
            Victim::Backend => {
                let which = Dice::of(self.seed, &[round.number, 4]).below(64);
                assert!(self.postgres.kill_a_backend(which).await, "nobody is served");
            }
            Victim::Both => {
                self.server.kill();
                self.postgres.end(Ending::KilledWhole);
            }
        }
        tokio::time::sleep(round.down).await;
        let begun = Instant::now();
        self.postgres.start_again();
        self.postgres.wait_until_up().await;
        self.server.start_again();
        self.server.wait_until_ready().await;
        let recovery = begun.elapsed();
        assert!(recovery < RECOVERY_LIMIT, "{round:?} recovered only after {recovery:?}");
        let after = (self.server.process_id(), self.postgres.process_id());
        let stayed = (after.0 == before.0, after.1 == before.1);
        let expected = match round.victim {
            Victim::Server => (false, true),
            Victim::Postgres(_) => (true, false),
            Victim::Backend => (true, true),
            Victim::Both => (false, false),
        };
        assert_eq!(stayed, expected, "{round:?}: which of server and PostgreSQL stayed");
        recovery
    }

    async fn reckon(&mut self, round: &Round, witnessed: Option<PathBuf>) {
        self.server.assert_lives();
        let superuser = self.postgres.inspect().await;
        wait_until_sealed(&superuser).await;
        let Outcome { acknowledged, promised, .. } = &self.outcome;
        let books = Books { bank: &self.bank, acknowledged, promised };
        let mut faults = self.outcome.faults.clone();
        faults.extend(books.faults(&superuser).await);
        faults.extend(tokio::task::block_in_place(|| {
            proofs(&self.postgres, &self.server, witnessed.as_deref())
        }));
        faults.extend(self.server.panics());
        // Sign-in has come back as well; every second round, for it is slow by intent.
        // The new token goes on: the old session ends when ten newer ones are open.
        if round.number.is_multiple_of(2) {
            let username = self.bank.customers[0].username;
            self.tokens[0] = sign_in(self.server.port, username).await;
        }
        let shown = &faults[..faults.len().min(5)];
        assert!(
            faults.is_empty(),
            "seed {}, {round:?}: {} faults\n{}\nthe server said:\n{}",
            self.seed,
            faults.len(),
            shown.join("\n"),
            self.server.log()
        );
    }
}

/// The claim is worth nothing on a server that answers before it has written.
async fn assert_keeps_commits(url: &str) {
    let connection = connect(url).await;
    for setting in ["fsync", "synchronous_commit", "full_page_writes"] {
        let row = connection.query_one(&format!("SHOW {setting}"), &[]).await.unwrap();
        assert_eq!(row.get::<_, &str>(0), "on", "{setting}");
    }
}
