//! Random banks through the real commands and a real PostgreSQL, held against the
//! reference ledger of `crates/ledger` after every step: every answer, every stored
//! row, the database's own sums, balances as of random days, and nothing written where
//! everything was refused. Orders come alone, in batches, and at the same moment; what
//! raced must have happened in some order.
//!
//! `STRONGROOM_SEED=<n>` repeats one bank, `STRONGROOM_MODEL_SEEDS` says how many.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod bank;
#[path = "../../../ledger/src/posting/model_tests/dice.rs"]
mod dice;
mod draw;
#[path = "../../../ledger/src/posting/model_tests/reference.rs"]
mod reference;
mod world;

use std::collections::{BTreeMap, BTreeSet};

use banking::{CreateTransfer, proof::prove};
use futures_util::future::{join_all, try_join};
use jiff::SignedDuration;
use operation::Group;
use uuid::Uuid;

use crate::bank_world::{BankWorld, open, refused};
use bank::{Answer, Bank, CURRENCIES, Order};
use dice::Dice;
use draw::{ACCOUNTS, Step, step};
use reference::Account;
use world::{Books, Outcome, output};

/// Banks of one run, and steps of each.
const SEEDS: u64 = 14;
const STEPS: u64 = 40;
const DAY_S: i64 = 86_400;

type Seen = BTreeMap<String, u64>;

#[tokio::test(flavor = "multi_thread")]
async fn random_banks_do_what_the_reference_ledger_says() {
    let only = dice::number("STRONGROOM_SEED");
    let seeds = dice::number("STRONGROOM_MODEL_SEEDS").unwrap_or(SEEDS);
    let (first, last) = only.map_or((0, seeds), |only| (only, only + 1));
    // Two worlds side by side, each with a clock and a database of its own.
    let even = Box::pin(seeds_of(first, last, 2));
    let odd = Box::pin(seeds_of(first + 1, last, 2));
    let halves = try_join(even, odd).await;
    let (mut seen, more) = halves.unwrap_or_else(|fault| panic!("{fault}"));
    for (name, count) in more {
        *seen.entry(name).or_default() += count;
    }
    let met = ["Transfer ok", "Deposit ok", "Withdraw ok", "Fee ok", "Reverse ok", "Journal ok"]
        .into_iter()
        .chain(["Authorise ok", "Capture ok", "Release ok", "Expire ok", "Freeze ok"])
        .chain(["Transfer insufficient_funds", "Transfer account_frozen", "Transfer not_found"])
        .chain(["Transfer idempotency_key_reused", "Reverse already_reversed"])
        .chain(["Journal unbalanced", "Capture capture_exceeds_hold", "raced"]);
    for name in met.filter(|_| last - first >= SEEDS) {
        assert!(seen.contains_key(name), "{name} was never met: {seen:#?}");
    }
}

async fn seeds_of(first: u64, last: u64, every: usize) -> Result<Seen, String> {
    let world = BankWorld::new().await;
    let elsewhere = world.tenant("elsewhere").await;
    let stranger = world.customer(&elsewhere, None).await;
    let foreign = world.account(&elsewhere, stranger.id, 1_000).await.id;
    let mut seen = Seen::new();
    for seed in (first..last).step_by(every) {
        let mut run = Run::start(&world, seed, foreign).await;
        let outcome = run.steps(seed).await;
        if let Err(fault) = outcome {
            let log = run.log.join("\n  ");
            return Err(format!("STRONGROOM_SEED={seed}: {fault}\nafter:\n  {log}"));
        }
        run.seen.into_iter().for_each(|(name, count)| *seen.entry(name).or_default() += count);
    }
    assert_eq!(world.balance(foreign).await, 1_000, "another tenant's account was reached");
    Ok(seen)
}

struct Run<'a> {
    books: Books<'a>,
    bank: Bank,
    group: Group<CreateTransfer>,
    dice: Dice,
    /// What was ordered under keys so far.
    keyed: Vec<(String, Order)>,
    orders: u64,
    log: Vec<String>,
    seen: Seen,
}

impl<'a> Run<'a> {
    async fn start(world: &'a BankWorld, seed: u64, foreign: Uuid) -> Self {
        // Every bank opens at the same hour, whatever was run before it.
        let now = world.clock.now().as_second();
        let noon = (now / DAY_S + 1) * DAY_S + DAY_S / 2;
        world.clock.advance(SignedDuration::from_secs(noon - now));
        let books = Books::open(world, &format!("model-{seed}"), foreign).await;
        let mut bank = Bank::new(noon);
        for number in ACCOUNTS {
            let mut account = Account::new(false, CURRENCIES[usize::from(number == 6)]);
            account.overdraft = if number == 4 { 500 } else { 0 };
            account.minimum = (number == 5).then_some(100);
            bank.books.accounts.insert(number, account);
        }
        Self {
            books,
            bank,
            group: Group::new(world.operations.clone()),
            dice: Dice::new(seed),
            keyed: Vec::new(),
            orders: 0,
            log: Vec::new(),
            seen: Seen::new(),
        }
    }

    async fn steps(&mut self, seed: u64) -> Result<(), String> {
        for account in ACCOUNTS {
            let amount = self.dice.between(200, 2_000);
            let deposit = Order::Deposit { account, amount, currency: None, day: None };
            self.step(Step::One(deposit)).await?;
        }
        for at in 0..STEPS {
            let next = step(&mut self.dice, &self.bank, &self.keyed, at);
            self.step(next).await?;
        }
        let tenant = &self.books.tenant;
        self.books.world.assert_books_are_right(tenant).await;
        let auditor = open(&self.books.world.database, "strongroom_auditor");
        let proof = prove(tenant, &auditor, |_| {}).await.unwrap();
        if proof.fault_count() > 0 {
            return Err(format!("bank {seed} does not prove: {proof:?}"));
        }
        Ok(())
    }

    async fn step(&mut self, step: Step) -> Result<(), String> {
        let before = self.books.dump().await;
        let answers = match step {
            Step::Wait(seconds) => {
                self.log.push(format!("{seconds} s pass"));
                self.books.world.clock.advance(SignedDuration::from_secs(seconds));
                self.bank.now += seconds;
                return Ok(());
            }
            Step::One(order) => {
                let outcome = self.books.run(&order).await;
                self.in_order(&[(None, order)], vec![outcome]).await?
            }
            Step::Transfers(orders) => {
                let outcomes = self.transfers(&orders).await;
                self.in_order(&orders, outcomes).await?
            }
            Step::Batch(orders) => {
                let outcomes = self.books.batch(&orders).await;
                let orders: Vec<_> = orders.into_iter().map(|order| (None, order)).collect();
                self.in_order(&orders, outcomes).await?
            }
            Step::Race(orders) => self.race(&orders).await?,
        };
        let is_nothing_done =
            answers.iter().all(|answer| matches!(answer, Err(_) | Ok(bank::Done::Expired(0))));
        if is_nothing_done && self.books.dump().await != before {
            return Err(format!("{answers:?} left a trace"));
        }
        self.as_of().await
    }

    /// Several in one call: through the group, or as the batch that the group makes.
    async fn transfers(&mut self, orders: &[(Option<String>, Order)]) -> Vec<Outcome> {
        let calls =
            orders.iter().map(|(key, order)| self.books.transfer_call(key.as_deref(), order));
        let calls = calls.collect();
        let results = if self.dice.percent(60) {
            self.group.run(calls).await
        } else {
            self.books.world.operations.run(calls).await
        };
        let mut outcomes = Vec::new();
        for result in results {
            outcomes.push(self.books.of_transfer(refused(result).map(output)).await);
        }
        for (key, order) in orders {
            if let Some(key) = key
                && !self.keyed.iter().any(|(known, _)| known == key)
            {
                self.keyed.push((key.clone(), order.clone()));
            }
        }
        outcomes
    }

    /// What was ordered one behind the other answers as the model does in that order.
    async fn in_order(
        &mut self,
        orders: &[(Option<String>, Order)],
        outcomes: Vec<Outcome>,
    ) -> Result<Vec<Answer>, String> {
        let mut answers = Vec::new();
        for ((key, order), outcome) in orders.iter().zip(outcomes) {
            self.orders += 1;
            let number = 10_000 + self.orders;
            let expected = self.bank.run_keyed(number, key.as_deref(), order);
            self.note(number, key.as_deref(), order, &outcome.answer);
            if outcome.answer != expected {
                return Err(format!("the bank says {:?}, the model {expected:?}", outcome.answer));
            }
            if self.bank.transfers.contains_key(&number)
                || self.bank.books.holds.contains_key(&number)
            {
                self.books.keep(number, &outcome);
            }
            answers.push(outcome.answer);
        }
        let wrong = self.books.differences(&self.bank).await;
        if wrong.is_empty() { Ok(answers) } else { Err(wrong.join("\n")) }
    }

    /// What was ordered at the same moment must have happened in some order: one in
    /// which the model gives every answer that was given, and leaves the books as stored.
    async fn race(&mut self, orders: &[Order]) -> Result<Vec<Answer>, String> {
        let first = 10_001 + self.orders;
        self.orders += orders.len() as u64;
        let outcomes = join_all(orders.iter().map(|order| self.books.run(order))).await;
        self.log.push("at the same moment:".to_owned());
        for ((number, order), outcome) in (first..).zip(orders).zip(&outcomes) {
            self.note(number, None, order, &outcome.answer);
            self.books.keep(number, outcome);
        }
        let answers: Vec<Answer> = outcomes.into_iter().map(|outcome| outcome.answer).collect();
        *self.seen.entry("raced".to_owned()).or_default() += 1;
        let mut closest = "no order of them gives these answers".to_owned();
        for sequence in permutations(orders.len()) {
            let mut bank = self.bank.clone();
            let fits =
                sequence.iter().all(|&at| bank.run(first + at as u64, &orders[at]) == answers[at]);
            if !fits {
                continue;
            }
            let wrong = self.books.differences(&bank).await;
            if wrong.is_empty() {
                self.bank = bank;
                return Ok(answers);
            }
            closest = wrong.join("\n");
        }
        Err(closest)
    }

    fn note(&mut self, number: u64, key: Option<&str>, order: &Order, answer: &Answer) {
        self.log.push(format!("{number} {order:?} {key:?}: {answer:?}"));
        let name = format!("{order:?}");
        let family = name.split([' ', '{']).next().unwrap_or_default();
        let outcome = answer.as_ref().map_or_else(|refusal| refusal.0.as_str(), |_| "ok");
        *self.seen.entry(format!("{family} {outcome}")).or_default() += 1;
    }

    /// Balances of a random day, before the opening and ahead of today as well.
    async fn as_of(&mut self) -> Result<(), String> {
        let account = self.dice.of(&ACCOUNTS);
        let day = self.bank.today() + i32::try_from(self.dice.between(-8, 1)).unwrap();
        let expected = self.bank.books.accounts[&account].balance_on(day);
        let found = self.books.balance_on(account, day).await;
        let what = format!("account {account} on day {day} is {found}, expected {expected}");
        if found == expected { Ok(()) } else { Err(what) }
    }
}

fn permutations(count: usize) -> Vec<Vec<usize>> {
    if count == 0 {
        return vec![Vec::new()];
    }
    let mut all = Vec::new();
    for shorter in permutations(count - 1) {
        for place in 0..count {
            let mut sequence = shorter.clone();
            sequence.insert(place, count - 1);
            all.push(sequence);
        }
    }
    all
}

#[test]
fn every_order_of_what_raced_is_tried() {
    let all: BTreeSet<Vec<usize>> = permutations(4).into_iter().collect();
    assert_eq!(all.len(), 24);
    assert!(all.contains(&vec![0, 1, 2, 3]) && all.contains(&vec![3, 1, 0, 2]));
}
