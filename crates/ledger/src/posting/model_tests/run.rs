//! One bank: every step is asked of the reference, of the engine order by order, and
//! of the engine in batches, and all three must say the same.

use std::collections::BTreeMap;

use jiff::{SignedDuration, civil::date};
use money::Currency;
use tenancy::Clock;
use uuid::Uuid;

use super::{
    super::{Leg, Posting},
    invariants,
    reference::{Account, End, Hold, Order, Payout, Promise, Reference, Refusal, Status, Written},
    steps::{Amount, CUSTOMERS, How, Step, Trace, UNKNOWN_HOLD},
    store::{Answer, Engine, Store, at, id, number},
};
use crate::{
    holds::{Authorisation, Capture, Destination, HoldStatus, Release},
    model::{AccountClass, AccountState, AccountStatus, TransactionType, TransferKind},
};

/// How often each family of orders ended in which way.
pub(super) type Seen = BTreeMap<String, u64>;

/// An order of the engine's and what it answered.
type Answered = (Engine, Result<Answer, Refusal>);

/// An order in the words of both.
enum Asked {
    Post(Order),
    Authorise(Promise),
    Capture(Payout),
    Release(u64),
    Expire(u64),
}

pub(super) struct Bank {
    reference: Reference,
    /// Every order in a batch of its own.
    single: Store,
    /// As many in a batch as arrive together.
    batched: Store,
    clock: Clock,
    now: i64,
    orders: u64,
    holds: Vec<u64>,
    seen: Seen,
}

fn currency_of(account: u64) -> &'static str {
    if matches!(account, 7 | 8 | 10) { "CZK" } else { "EUR" }
}

fn currency(code: &str) -> Currency {
    code.parse().unwrap()
}

impl Bank {
    pub(super) fn new() -> Self {
        let mut bank = Self {
            reference: Reference::default(),
            single: Store::default(),
            batched: Store::default(),
            clock: Clock::manual(at(0)),
            now: 0,
            orders: 0,
            holds: Vec::new(),
            seen: Seen::new(),
        };
        for account in CUSTOMERS.into_iter().chain([9, 10]) {
            bank.open(account);
        }
        bank
    }

    fn open(&mut self, account: u64) {
        let is_internal = matches!(account, 9 | 10);
        let mut known = Account::new(is_internal, currency_of(account));
        let class = if is_internal { AccountClass::Internal } else { AccountClass::Customer };
        let internal = AccountState::new_internal(id(account), currency(currency_of(account)));
        let mut state = AccountState { class, ..internal };
        if account == 5 {
            (known.overdraft, state.overdraft_limit) = (500, 500);
        }
        if account == 6 {
            (known.minimum, state.minimum_balance) = (Some(300), Some(300));
        }
        self.reference.accounts.insert(account, known);
        self.single.accounts.insert(state.id, state.clone());
        self.batched.accounts.insert(state.id, state);
    }

    pub(super) fn run(mut self, trace: &Trace) -> Result<Seen, String> {
        for batch in trace.chunk_by(|left, right| left.0 == right.0) {
            let (mut orders, mut answers) = (Vec::new(), Vec::new());
            for (_, step) in batch {
                let said = self.step(step).map_err(|fault| format!("{step:?}: {fault}"))?;
                if let Some((order, answer)) = said {
                    orders.push(order);
                    answers.push(answer);
                }
            }
            let together = self.batched.run(&orders, &self.clock);
            if together != answers {
                return Err(format!("one by one {answers:?}, as a batch {together:?}"));
            }
            if self.batched.bytes() != self.single.bytes() {
                return Err(format!("a batch of {} leaves other books", orders.len()));
            }
        }
        if let Some(fault) = invariants::at_the_end(&self.single) {
            return Err(fault);
        }
        Ok(self.seen)
    }

    /// One step on the reference and on the engine alone; the order and its answer
    /// where it was one of the engine's.
    fn step(&mut self, step: &Step) -> Result<Option<Answered>, String> {
        let Some((asked, order)) = self.asked(step) else {
            self.set(step);
            return match self.difference().or_else(|| invariants::broken(&self.single)) {
                Some(fault) => Err(fault),
                None => Ok(None),
            };
        };
        let (before, bytes) = (self.single.accounts.clone(), self.single.bytes());
        let (name, expected) = self.expected(&asked);
        let answer = self.single.run(std::slice::from_ref(&order), &self.clock).remove(0);
        let outcome = match &answer {
            Ok(_) => "ok".to_owned(),
            Err(refusal) => format!("{refusal:?}").split('(').next().unwrap().to_owned(),
        };
        *self.seen.entry(format!("{name} {outcome}")).or_default() += 1;
        if answer != expected {
            return Err(format!("the engine says {answer:?}, the reference {expected:?}"));
        }
        if answer.is_err() && self.single.bytes() != bytes {
            return Err(format!("{outcome} has left a trace"));
        }
        let is_waived = matches!(
            step,
            Step::Pay { how: How::Waived, .. } | Step::Post { how: How::Waived, .. }
        );
        let fell = if is_waived { None } else { invariants::fell(&before, &self.single) };
        let fault = fell.or_else(|| self.difference()).or_else(|| invariants::broken(&self.single));
        fault.map_or(Ok(Some((order, answer))), Err)
    }

    /// What the reference answers.
    fn expected(&mut self, asked: &Asked) -> (&'static str, Result<Answer, Refusal>) {
        let now = self.now;
        match asked {
            Asked::Post(order) => {
                let posted = self.reference.post(order);
                let legs: Vec<u64> = order.legs.iter().map(|leg| leg.0).collect();
                ("Post", posted.map(|()| Answer::Posted(self.entries_of(&legs, order.transfer))))
            }
            Asked::Authorise(promise) => {
                let made = self.reference.authorise(promise);
                if made.is_ok() {
                    self.holds.push(promise.hold);
                }
                ("Authorise", made.map(|()| self.hold_answer(promise.hold)))
            }
            Asked::Capture(payout) => {
                let paid = self.reference.capture(payout);
                let answer = paid.map(|_| {
                    let hold = &self.reference.holds[&payout.hold];
                    let entries = self.entries_of(&[hold.account, hold.to], payout.transfer);
                    Answer::Captured(entries, status_of(hold), narrow(hold.remaining()))
                });
                ("Capture", answer)
            }
            Asked::Release(hold) => {
                let done = self.reference.release(*hold, now);
                ("Release", done.map(|()| self.hold_answer(*hold)))
            }
            Asked::Expire(hold) => {
                let done = self.reference.expire(*hold, now);
                ("Expire", done.map(|()| self.hold_answer(*hold)))
            }
        }
    }

    fn hold_answer(&self, hold: u64) -> Answer {
        let hold = &self.reference.holds[&hold];
        Answer::Hold(status_of(hold), narrow(hold.remaining()))
    }

    fn entries_of(&self, legs: &[u64], transfer: u64) -> Vec<(u64, i64, i64, i64)> {
        let written = self.reference.written(legs, transfer).into_iter();
        let entry = |(account, sequence, amount, after): Written| {
            (account, i64::try_from(sequence).unwrap(), narrow(amount), narrow(after))
        };
        written.map(entry).collect()
    }

    /// The first value in which the stored books are not the reference's.
    fn difference(&self) -> Option<String> {
        for (account, known) in &self.reference.accounts {
            let stored = &self.single.accounts[&id(*account)];
            let said = (i128::from(stored.balance), i128::from(stored.held), stored.entry_count);
            let count = i64::try_from(known.entries.len()).unwrap();
            let expected = (known.balance(), self.reference.held(*account), count);
            if said != expected {
                return Some(format!("account {account} is {said:?} and should be {expected:?}"));
            }
            if i128::from(stored.available()) != self.reference.available(*account) {
                return Some(format!("{} available on account {account}", stored.available()));
            }
        }
        if self.single.holds.len() != self.reference.holds.len() {
            return Some(format!("{} holds are stored", self.single.holds.len()));
        }
        self.single.holds.values().find_map(|stored| {
            let known = &self.reference.holds[&number(stored.id)];
            let same = stored.status == status_of(known)
                && i128::from(stored.captured_amount) == known.captured
                && i128::from(stored.remaining) == known.remaining()
                && stored.version == known.changes
                && stored.last_transfer_id == known.last_transfer.map(id)
                && stored.expires_at == at(known.expires_at)
                && stored.created_by == Uuid::nil();
            (!same).then(|| format!("{stored:?} should be {known:?}"))
        })
    }

    /// Time, and settings as banking leaves them behind.
    fn set(&mut self, step: &Step) {
        let status = |frozen: bool| if frozen { Status::Frozen } else { Status::Active };
        let (account, done) = match *step {
            Step::Wait { seconds } => {
                self.now += seconds;
                self.clock.advance(SignedDuration::from_secs(seconds));
                return;
            }
            Step::Status { account, is_frozen } => {
                (account, self.reference.change(account, (Some(status(is_frozen)), None), None))
            }
            Step::Overdraft { account, limit } => {
                let limit = Some(i128::from(limit));
                (account, self.reference.change(account, (None, limit), None))
            }
            Step::Minimum { account, minimum } => {
                let minimum = Some(minimum.map(i128::from));
                (account, self.reference.change(account, (None, None), minimum))
            }
            Step::Close { account } => (account, self.reference.close(account)),
            _ => return,
        };
        if done.is_err() {
            return;
        }
        let known = &self.reference.accounts[&account];
        for store in [&mut self.single, &mut self.batched] {
            let state = store.accounts.get_mut(&id(account)).unwrap();
            state.overdraft_limit = narrow(known.overdraft);
            state.minimum_balance = known.minimum.map(narrow);
            state.status = match known.status {
                Status::Active => AccountStatus::Active,
                Status::Frozen => AccountStatus::Frozen,
                Status::Closed => AccountStatus::Closed,
            };
        }
    }

    fn asked(&mut self, step: &Step) -> Option<(Asked, Engine)> {
        self.orders += 1;
        let number = 10_000 + self.orders;
        let at = at(self.now);
        match step {
            Step::Pay { from, to, amount, currency, how } => {
                let amount = self.resolved(*amount, self.reference.available(*from), *to);
                let legs = [(*from, amount.saturating_neg()), (*to, amount)];
                Some(self.posting(number, &legs, amount, (currency, *how)))
            }
            Step::Post { legs, amount, currency, how } => {
                Some(self.posting(number, legs, *amount, (currency, *how)))
            }
            Step::Authorise { from, to, to_internal, amount, seconds } => {
                let amount = self.resolved(*amount, self.reference.available(*from), *to);
                Some(self.promise(number, (*from, *to, *to_internal), amount, *seconds))
            }
            Step::Capture { hold, amount, is_final } => {
                let hold = self.hold(*hold);
                let known = self.reference.holds.get(&hold);
                let (left, to) = known.map_or((0, 0), |hold| (hold.remaining(), hold.to));
                let amount = amount.map(|amount| self.resolved(amount, left, to));
                let order = Capture {
                    hold_id: id(hold),
                    amount,
                    is_final: *is_final,
                    transfer_id: id(number),
                    business_date: date(2026, 1, 1),
                    created_by: Uuid::nil(),
                    at,
                };
                let payout = Payout {
                    hold,
                    amount: amount.map(i128::from),
                    is_final: *is_final,
                    transfer: number,
                    day: 0,
                    now: self.now,
                };
                Some((Asked::Capture(payout), Engine::Capture(order)))
            }
            Step::Release { hold } => {
                let hold = self.hold(*hold);
                let order = Release { hold_id: id(hold), at };
                Some((Asked::Release(hold), Engine::Release(order)))
            }
            Step::Expire { hold } => {
                let hold = self.hold(*hold);
                let order = Release { hold_id: id(hold), at };
                Some((Asked::Expire(hold), Engine::Expire(order)))
            }
            _ => None,
        }
    }

    fn posting(
        &self,
        number: u64,
        legs: &[(u64, i64)],
        amount: i64,
        (code, how): (&&'static str, How),
    ) -> (Asked, Engine) {
        let kind = if how == How::Ordered { TransferKind::Transfer } else { TransferKind::Journal };
        let leg = |&(account, amount): &(u64, i64)| Leg {
            account_id: id(account),
            amount,
            transaction_type: TransactionType::Journal,
        };
        let posting = Posting {
            transfer_id: id(number),
            kind,
            amount,
            currency: currency(code),
            legs: legs.iter().map(leg).collect(),
            description: String::new(),
            reference: None,
            value_date: date(2026, 1, 1),
            booking_date: date(2026, 1, 1),
            posted_at: at(self.now),
            created_by: Uuid::nil(),
            reverses_transfer_id: None,
            waive_limits: how == How::Waived,
        };
        let order = Order {
            transfer: number,
            names_customers_only: how == How::Ordered,
            amount: i128::from(amount),
            currency: code,
            legs: legs.iter().map(|leg| (leg.0, i128::from(leg.1))).collect(),
            day: 0,
            waive_limits: how == How::Waived,
        };
        (Asked::Post(order), Engine::Post(posting))
    }

    fn promise(
        &self,
        hold: u64,
        (from, to, to_internal): (u64, u64, bool),
        amount: i64,
        seconds: i64,
    ) -> (Asked, Engine) {
        let code = self.reference.accounts.get(&from).map_or("EUR", |account| account.currency);
        let destination = if to_internal { Destination::Internal } else { Destination::Customer };
        let order = Authorisation {
            hold_id: id(hold),
            account_id: id(from),
            destination: destination(id(to)),
            amount,
            currency: currency(code),
            description: "Hotel".to_owned(),
            reference: None,
            expires_at: at(self.now + seconds),
            created_by: Uuid::nil(),
            at: at(self.now),
        };
        let promise = Promise {
            hold,
            account: from,
            to,
            to_internal,
            amount: i128::from(amount),
            currency: code,
            expires_at: self.now + seconds,
            now: self.now,
        };
        (Asked::Authorise(promise), Engine::Authorise(order))
    }

    /// The last but so many of the holds that were made, going round.
    fn hold(&self, back: u64) -> u64 {
        let count = u64::try_from(self.holds.len()).unwrap();
        if count == 0 || back >= UNKNOWN_HOLD {
            return back;
        }
        self.holds[usize::try_from(count - 1 - back % count).unwrap()]
    }

    fn resolved(&self, amount: Amount, all: i128, to: u64) -> i64 {
        let amount = match amount {
            Amount::Exactly(amount) => i128::from(amount),
            Amount::All(more) => all + i128::from(more),
            Amount::Room(more) => {
                let balance = self.reference.accounts.get(&to).map_or(0, Account::balance);
                super::reference::MAX - balance + i128::from(more)
            }
        };
        narrow(amount)
    }
}

fn narrow(amount: i128) -> i64 {
    i64::try_from(amount).unwrap()
}

fn status_of(hold: &Hold) -> HoldStatus {
    match hold.end {
        Some(End::Captured) => HoldStatus::Captured,
        Some(End::Released) => HoldStatus::Released,
        Some(End::Expired) => HoldStatus::Expired,
        None if hold.captured > 0 => HoldStatus::PartiallyCaptured,
        None => HoldStatus::Authorized,
    }
}
