//! Owns the rows of sign-in: how many a second, and what a flood of them does to
//! readers; what a hash of either scheme costs. Refuses to know passwords' form.

use std::num::NonZeroUsize;
use std::time::{Duration, Instant};

use vault::RootKey;
use vault::password::{Argon2Costs, Hasher, HasherOptions, Pepper, Peppers, Recipe};

use super::http::Reads;
use super::{Effort, alternate};
use crate::load::{Answer, Connection, Load, Plan, Source, drive, write_request};
use crate::report::Outcome;
use crate::stage::{Person, Stage, login_body, sign_in};
use crate::statistics::float;

const BCRYPT_COST: u32 = 12;
/// Readers during a flood, and how often each reads: far from saturation, so that
/// what is seen is waiting and not throughput.
const READERS: usize = 8;
const READ_EVERY: Duration = Duration::from_millis(20);
const FLOODERS: usize = 32;
const FLOOD_EVERY: Duration = Duration::from_millis(100);

/// Sign-ins of one person, again and again.
struct Logins {
    body: String,
    /// Whether a refusal for being busy is an answer too.
    may_be_busy: bool,
}

impl Logins {
    /// `number` picks the person, behind those whose sessions other rows use.
    fn new(stage: &Stage, number: usize, may_be_busy: bool) -> Self {
        let people: &[Person] = &stage.ready.manifest.users[stage.sessions.len()..];
        let person = &people[number % people.len()];
        Self { body: login_body(&stage.ready.manifest, person), may_be_busy }
    }
}

impl Source for Logins {
    fn next(&mut self, out: &mut Vec<u8>) {
        write_request(out, "POST /v1/auth/login", None, None, Some(&self.body));
    }

    fn judge(&mut self, answer: Answer<'_>) -> Option<u64> {
        match answer.status {
            200 => Some(1),
            503 | 429 if self.may_be_busy => Some(0),
            _ => None,
        }
    }
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

pub(super) async fn throughput(stage: &Stage, effort: Effort) -> anyhow::Result<Outcome> {
    let cores = cores();
    let each = if effort.quick { 5 } else { 16 };
    let plan = Plan {
        warm_up: Duration::ZERO,
        duration: Duration::from_secs(120),
        at_most: Some((cores * each) as u64),
        every: None,
    };
    alternate(
        effort,
        async || {
            // Twice the cores: while one is being answered, another is hashed.
            let sources = (0..cores * 2).map(|number| Logins::new(stage, number, false)).collect();
            Ok(drive(stage.address, sources, plan).await?.per_second())
        },
        async || Ok(tokio::task::spawn_blocking(move || hashes_a_second(cores, each)).await?),
    )
    .await
}

/// Both in a pool of one thread, each hash by itself.
pub(super) async fn argon2id(effort: Effort) -> anyhow::Result<Outcome> {
    let peppers = Peppers::new(Pepper::derive(&RootKey::from_bytes(&[7; 32])), Vec::new());
    let alone = HasherOptions { threads: NonZeroUsize::MIN, ..HasherOptions::production(peppers) };
    let hasher = Hasher::start(alone)?;
    let each = if effort.quick { 3 } else { 10 };
    let milliseconds = async |recipe| {
        let started = Instant::now();
        for _ in 0..each {
            hasher.reserve_for(recipe)?.hash("Try-this-1!").await?;
        }
        anyhow::Ok(started.elapsed().as_secs_f64() * 1e3 / f64::from(each))
    };
    alternate(
        effort,
        async || milliseconds(Recipe::Argon2id(Argon2Costs::DEFAULT)).await,
        async || milliseconds(Recipe::Bcrypt).await,
    )
    .await
}

fn hashes_a_second(threads: usize, each: usize) -> f64 {
    let started = Instant::now();
    let hash = || {
        for _ in 0..each {
            std::hint::black_box(
                bcrypt::hash_with_salt("Try-this-1!", BCRYPT_COST, [7; 16]).is_ok(),
            );
        }
    };
    std::thread::scope(|scope| (0..threads).for_each(|_| _ = scope.spawn(hash)));
    float((threads * each) as u64) / started.elapsed().as_secs_f64()
}

pub(super) async fn reads_under_flood(stage: &Stage, effort: Effort) -> anyhow::Result<Outcome> {
    let reading = Plan { every: Some(READ_EVERY), ..Plan::lasting(effort.window) };
    let read = async || -> anyhow::Result<Load> {
        let sources = (0..READERS).map(|number| Reads::ours(stage, number)).collect();
        drive(stage.address, sources, reading).await
    };
    let (manifest, last) = (&stage.ready.manifest, stage.session(0));
    // Longer than the reads on both sides.
    let flooding = Plan {
        warm_up: Duration::ZERO,
        duration: (reading.warm_up + reading.duration).mul_f64(1.1),
        at_most: None,
        every: Some(FLOOD_EVERY),
    };
    let mut outcome = alternate(
        effort,
        async || {
            let sources = (0..FLOODERS).map(|number| Logins::new(stage, number, true)).collect();
            let (flood, load) = tokio::join!(drive(stage.address, sources, flooding), read());
            anyhow::ensure!(flood?.units > 0, "the flood signed nobody in");
            // What was accepted before the flood ended is still being hashed; whoever gets
            // through now stood behind it.
            let mut connection = Connection::open(stage.address).await?;
            sign_in(&mut connection, manifest, &last.person).await?;
            Ok(load?.percentile_ms(99))
        },
        async || Ok(read().await?.percentile_ms(99)),
    )
    .await?;
    outcome.note = Some(format!(
        "{} reads/s beside {} sign-ins/s asked for",
        READERS * 1_000 / 20,
        FLOODERS * 10
    ));
    Ok(outcome)
}
