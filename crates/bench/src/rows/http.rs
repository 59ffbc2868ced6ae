//! Owns the rows of reads and transfers over HTTP. Refuses to know how the server
//! answers.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use uuid::Uuid;

use super::{Effort, alternate};
use crate::load::{Answer, Plan, Source, drive, write_request};
use crate::pgbench::{CLIENTS, FEW_CLIENTS, Pgbench, WARM_UP};
use crate::report::Outcome;
use crate::stage::{SignedIn, Stage};

const READERS: usize = 32;
const WRITERS: usize = CLIENTS as usize;
const BATCH_CLIENTS: usize = 4;
/// Transfers of one batch, as the goal names them.
const BATCH: usize = 1_000;

/// xorshift64*: which account is next needs no secrecy, only no cost.
#[derive(Debug, Clone)]
pub(super) struct Dice(u64);

impl Dice {
    pub(super) fn new(seed: usize) -> Self {
        Self((seed as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub(super) fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let number = self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33;
        let index = number as usize % from.len();
        &from[index]
    }
}

/// Reads of single accounts.
pub(super) struct Reads {
    /// `GET …/accounts/`.
    line: String,
    bearer: Option<String>,
    accounts: Vec<Uuid>,
    dice: Dice,
}

impl Reads {
    /// Ours, by one signed-in person of their own accounts.
    pub(super) fn ours(stage: &Stage, number: usize) -> Self {
        Self::of(stage.session(number), number)
    }

    /// By that person.
    pub(super) fn of(signed_in: &SignedIn, number: usize) -> Self {
        Self {
            line: "GET /v1/accounts/".to_owned(),
            bearer: Some(signed_in.access_token.clone()),
            accounts: signed_in.person.accounts.clone(),
            dice: Dice::new(number),
        }
    }

    fn bare(stage: &Stage, number: usize) -> Self {
        Self {
            line: format!("GET /{}/accounts/", stage.tenant),
            bearer: None,
            ..Self::ours(stage, number)
        }
    }
}

impl Source for Reads {
    fn next(&mut self, out: &mut Vec<u8>) {
        let start = self.line.len();
        let account = self.dice.pick(&self.accounts);
        // Writing to a String cannot fail.
        let _ = write!(self.line, "{account}");
        write_request(out, &self.line, self.bearer.as_deref(), None, None);
        self.line.truncate(start);
    }

    fn judge(&mut self, answer: Answer<'_>) -> Option<u64> {
        (answer.status == 200).then_some(1)
    }
}

pub(super) async fn read_account(stage: &Stage, effort: Effort) -> anyhow::Result<Outcome> {
    let plan = Plan::lasting(effort.window);
    let rate = async |address, source: fn(&Stage, usize) -> Reads| {
        let sources = (0..READERS).map(|number| source(stage, number)).collect();
        anyhow::Ok(drive(address, sources, plan).await?.per_second())
    };
    alternate(
        effort,
        async || rate(stage.address, Reads::ours).await,
        async || rate(stage.bare_address, Reads::bare).await,
    )
    .await
}

/// Transfers from a person's own accounts.
struct Transfers {
    bearer: String,
    own: Vec<Uuid>,
    to: Arc<Vec<Uuid>>,
    currency: String,
    /// Starts every key of this source: no key is ever used twice.
    prefix: String,
    count: u64,
    batch: bool,
    dice: Dice,
    key: String,
    body: String,
}

impl Transfers {
    fn new(stage: &Stage, number: usize, to: &Arc<Vec<Uuid>>, batch: bool) -> Self {
        let signed_in = stage.session(number);
        let random = u64::from_le_bytes(vault::random_bytes());
        Self {
            bearer: signed_in.access_token.clone(),
            own: signed_in.person.accounts.clone(),
            to: Arc::clone(to),
            currency: stage.ready.manifest.currency.clone(),
            prefix: format!("bench-{random:016x}"),
            count: 0,
            batch,
            dice: Dice::new(number),
            key: String::new(),
            body: String::new(),
        }
    }

    fn next_key(&mut self) {
        self.count += 1;
        self.key.clear();
        let _ = write!(self.key, "{}-{:08}", self.prefix, self.count);
    }

    /// One transfer, without its braces.
    fn push_transfer(&mut self) {
        let from = *self.dice.pick(&self.own);
        let mut to = *self.dice.pick(&self.to);
        while to == from {
            to = *self.dice.pick(&self.to);
        }
        let _ = write!(
            self.body,
            r#""from_account_id":"{from}","to_account_id":"{to}","amount":1,"currency":"{}","description":"bench""#,
            self.currency
        );
    }
}

impl Source for Transfers {
    fn next(&mut self, out: &mut Vec<u8>) {
        self.body.clear();
        if !self.batch {
            self.body.push('{');
            self.push_transfer();
            self.body.push('}');
            self.next_key();
            let (bearer, key) = (Some(self.bearer.as_str()), Some(self.key.as_str()));
            return write_request(out, "POST /v1/transfers", bearer, key, Some(&self.body));
        }
        self.body.push_str(r#"{"transfers":["#);
        for position in 0..BATCH {
            self.next_key();
            let comma = if position > 0 { "," } else { "" };
            let _ = write!(self.body, r#"{comma}{{"idempotency_key":"{}","#, self.key);
            self.push_transfer();
            self.body.push('}');
        }
        self.body.push_str("]}");
        let bearer = Some(self.bearer.as_str());
        write_request(out, "POST /v1/transfers/batch", bearer, None, Some(&self.body));
    }

    fn judge(&mut self, answer: Answer<'_>) -> Option<u64> {
        if !self.batch {
            return (answer.status == 201).then_some(1);
        }
        let posted = str::from_utf8(answer.body).ok()?.matches(r#""status":201"#).count();
        (answer.status == 200 && posted == BATCH).then_some(BATCH as u64)
    }
}

/// All accounts of the tenant.
fn everywhere(stage: &Stage) -> Arc<Vec<Uuid>> {
    Arc::new(stage.ready.manifest.users.iter().flat_map(|user| user.accounts.clone()).collect())
}

async fn transfers_a_second(
    stage: &Stage,
    to: &Arc<Vec<Uuid>>,
    batch: bool,
    plan: Plan,
) -> anyhow::Result<f64> {
    // What the last half left to be sealed is not this one's work.
    stage.sealed().await?;
    let clients = if batch { BATCH_CLIENTS } else { WRITERS };
    let sources = (0..clients).map(|number| Transfers::new(stage, number, to, batch)).collect();
    Ok(drive(stage.address, sources, plan).await?.per_second())
}

/// What pgbench may take to become warm, transfers may, too.
fn writing(effort: Effort) -> Plan {
    Plan { warm_up: WARM_UP, ..Plan::lasting(effort.window) }
}

/// Counted, for a window would cut batches that take a good part of it.
fn batches(effort: Effort) -> Plan {
    Plan {
        warm_up: Duration::ZERO,
        duration: Duration::from_secs(120),
        at_most: Some(if effort.quick { 12 } else { 60 }),
        every: None,
    }
}

async fn against_pgbench(stage: &Stage, effort: Effort, batch: bool) -> anyhow::Result<Outcome> {
    let pgbench = Pgbench::prepare(&stage.ready.database_url, stage.folder.path())?;
    let to = everywhere(stage);
    let plan = if batch { batches(effort) } else { writing(effort) };
    let mut outcome = alternate(
        effort,
        async || transfers_a_second(stage, &to, batch, plan).await,
        async || {
            stage.sealed().await?;
            pgbench.run(CLIENTS, effort.window).await
        },
    )
    .await?;
    if effort.quick {
        return Ok(outcome);
    }
    // The goal's limit has as many clients as ours; PostgreSQL alone does better with few.
    stage.sealed().await?;
    let few = pgbench.run(FEW_CLIENTS, effort.window).await?;
    let ratio = outcome.summary.measured / few;
    outcome.note = Some(format!("{ratio:.2} of pgbench with {FEW_CLIENTS} clients ({few:.0}/s)"));
    Ok(outcome)
}

pub(super) async fn transfer_single(stage: &Stage, effort: Effort) -> anyhow::Result<Outcome> {
    against_pgbench(stage, effort, false).await
}

pub(super) async fn transfer_batch(stage: &Stage, effort: Effort) -> anyhow::Result<Outcome> {
    against_pgbench(stage, effort, true).await
}

pub(super) async fn hot_account(stage: &Stage, effort: Effort) -> anyhow::Result<Outcome> {
    let plan = writing(effort);
    let uniform = everywhere(stage);
    let last = stage.ready.manifest.users.last().and_then(|user| user.accounts.first());
    let hot = Arc::new(vec![*last.context("nobody owns an account")?]);
    alternate(
        effort,
        async || transfers_a_second(stage, &hot, false, plan).await,
        async || transfers_a_second(stage, &uniform, false, plan).await,
    )
    .await
}

#[cfg(test)]
mod tests {
    use super::Dice;

    #[test]
    fn the_dice_are_even_enough() {
        let sides: Vec<usize> = (0..10).collect();
        let mut dice = Dice::new(3);
        let mut counts = [0_u32; 10];
        for _ in 0..10_000 {
            counts[*dice.pick(&sides)] += 1;
        }
        assert!(counts.iter().all(|count| (850..1_150).contains(count)), "{counts:?}");
    }
}
