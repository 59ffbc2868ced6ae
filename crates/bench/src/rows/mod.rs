//! Owns how each row is measured. Refuses to know goals and reports.

mod audit;
mod enumeration;
mod factor;
mod footprint;
mod http;
mod login;
mod primitive;
mod token;
mod tokens_served;

use std::time::Duration;

use crate::report::Outcome;
use crate::stage::Stage;
use crate::statistics::{Round, Summary};

/// How hard to try.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Effort {
    pub(crate) quick: bool,
    pub(crate) rounds: usize,
    /// Of one half of a round.
    pub(crate) window: Duration,
}

impl Effort {
    pub(crate) fn new(quick: bool) -> Self {
        let (rounds, window_ms) = if quick { (2, 800) } else { (5, 4_000) };
        Self { quick, rounds, window: Duration::from_millis(window_ms) }
    }

    /// For a row of which a round takes seconds: a quick run does it once.
    fn costly(self) -> Self {
        Self { rounds: if self.quick { 1 } else { self.rounds }, ..self }
    }

    /// Within one process a tenth of the time says as much.
    fn short_window(self) -> Duration {
        self.window / 10
    }
}

/// Measures a row that needs nothing but this process.
pub(crate) async fn in_process(name: &str, effort: Effort) -> anyhow::Result<Outcome> {
    match name {
        "cedar" => primitive::cedar(effort),
        "cedar-custom" => primitive::cedar_custom(effort),
        "seal" => primitive::seal(effort),
        "open" => primitive::open(effort),
        "argon2id" => login::argon2id(effort).await,
        _ => anyhow::bail!("nothing measures {name}"),
    }
}

/// Measures a row on the stage.
pub(crate) async fn on_stage(name: &str, stage: &Stage, effort: Effort) -> anyhow::Result<Outcome> {
    match name {
        "read-account" => http::read_account(stage, effort.costly()).await,
        "transfer-single" => http::transfer_single(stage, effort.costly()).await,
        "transfer-batch" => http::transfer_batch(stage, effort.costly()).await,
        "hot-account" => http::hot_account(stage, effort.costly()).await,
        "login" => login::throughput(stage, effort.costly()).await,
        "reads-under-login-flood" => login::reads_under_flood(stage, effort.costly()).await,
        "enumeration-login" => enumeration::login(stage, effort).await,
        "enumeration-forgot" => enumeration::forgot(stage, effort).await,
        "enumeration-sign-up" => enumeration::sign_up(stage, effort).await,
        "session-validation" => token::session(stage, effort).await,
        "mfa-verification" => factor::verification(stage, effort).await,
        "token-cached" => token::cached(stage, effort).await,
        "token-uncached" => token::uncached(stage, effort).await,
        "refresh" => tokens_served::refresh(stage, effort.costly()).await,
        "introspection" => tokens_served::introspection(stage, effort.costly()).await,
        "audit-append" => audit::append(stage, effort.costly()).await,
        "audit-verify" => audit::verify_exported(stage, effort.costly()).await,
        "audit-verify-database" => audit::verify(stage, effort.costly()).await,
        "start" => footprint::start(stage, effort).await,
        "memory-idle" => footprint::memory_idle(stage, effort).await,
        "connections" => footprint::connections(stage, effort).await,
        "memory-busy" => footprint::memory_busy(stage, effort).await,
        _ => anyhow::bail!("nothing measures {name}"),
    }
}

/// Interleaves both halves: each round begins with the half that the last one ended
/// with, so that neither always runs on a warmer machine.
async fn alternate(
    effort: Effort,
    mut measured: impl AsyncFnMut() -> anyhow::Result<f64>,
    mut limit: impl AsyncFnMut() -> anyhow::Result<f64>,
) -> anyhow::Result<Outcome> {
    let mut rounds = Vec::with_capacity(effort.rounds);
    for number in 0..effort.rounds {
        rounds.push(if number % 2 == 0 {
            let measured = measured().await?;
            Round { measured, limit: limit().await? }
        } else {
            let limit = limit().await?;
            Round { measured: measured().await?, limit }
        });
    }
    Ok(Outcome { summary: Summary::of(&rounds), rounds: rounds.len(), note: None })
}

/// Of a figure whose goal is itself, measured beside something that says what is possible
/// here: the note tells the share of that.
async fn figures_beside(
    effort: Effort,
    limit_name: &str,
    measured: impl AsyncFnMut() -> anyhow::Result<f64>,
    limit: impl AsyncFnMut() -> anyhow::Result<f64>,
) -> anyhow::Result<Outcome> {
    let beside = alternate(effort, measured, limit).await?.summary;
    let mut outcome = figures(&[beside.measured]);
    let share = beside.measured / beside.limit;
    outcome.note = Some(format!("{share:.2} of {limit_name} ({:.0}/s)", beside.limit));
    Ok(outcome)
}

/// Of a figure that has no limit beside it.
fn figures(values: &[f64]) -> Outcome {
    let rounds: Vec<_> =
        values.iter().map(|measured| Round { measured: *measured, limit: 1.0 }).collect();
    Outcome { summary: Summary::of(&rounds), rounds: rounds.len(), note: None }
}
