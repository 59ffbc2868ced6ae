//! The reference ledger: what the books must say after every order, written from the
//! specification and the documented order of refusals, not from the engine. It shares
//! no code and no type with it: accounts, holds and transfers are numbers, amounts are
//! wide enough for anything, and a balance is the sum of its entries, summed again for
//! every question. `crates/server/tests/it/ledger_model` holds the database against it.
#![allow(dead_code, reason = "each of its two users asks for a part of it")]

use std::collections::BTreeMap;

/// The greatest exact integer of a double.
pub(crate) const MAX: i128 = 9_007_199_254_740_991;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Status {
    Active,
    Frozen,
    Closed,
}

/// How a hold has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Captured,
    Released,
    Expired,
}

/// Why an order is refused. Where one of several legs is at fault, which.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Refusal {
    InvalidAmount,
    AmountTooLarge,
    Unbalanced,
    SameAccount(usize),
    UnknownAccount(usize),
    CurrencyMismatch(usize),
    AccountClosed(usize),
    AccountFrozen(usize),
    InsufficientFunds(usize),
    BalanceOutOfRange(usize),
    UnknownHold,
    HoldCaptured,
    HoldReleased,
    HoldExpired,
    HoldNotDue,
    ExceedsHold,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) transfer: u64,
    pub(crate) amount: i128,
    /// The day from which it counts.
    pub(crate) day: i32,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Account {
    /// The bank's own, which has no floor.
    pub(crate) is_internal: bool,
    pub(crate) currency: &'static str,
    pub(crate) overdraft: i128,
    pub(crate) minimum: Option<i128>,
    pub(crate) status: Status,
    pub(crate) entries: Vec<Entry>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Hold {
    pub(crate) account: u64,
    pub(crate) to: u64,
    pub(crate) amount: i128,
    pub(crate) captured: i128,
    pub(crate) end: Option<End>,
    pub(crate) expires_at: i64,
    pub(crate) last_transfer: Option<u64>,
    pub(crate) changes: i64,
}

/// A movement that is ordered.
#[derive(Clone, Debug)]
pub(crate) struct Order {
    pub(crate) transfer: u64,
    /// A transfer order names customers' accounts only.
    pub(crate) names_customers_only: bool,
    pub(crate) amount: i128,
    pub(crate) currency: &'static str,
    pub(crate) legs: Vec<(u64, i128)>,
    pub(crate) day: i32,
    pub(crate) waive_limits: bool,
}

/// Money that is to be kept back.
#[derive(Clone, Debug)]
pub(crate) struct Promise {
    pub(crate) hold: u64,
    pub(crate) account: u64,
    pub(crate) to: u64,
    /// Promised to one of the bank's own accounts, which no order can name.
    pub(crate) to_internal: bool,
    pub(crate) amount: i128,
    pub(crate) currency: &'static str,
    pub(crate) expires_at: i64,
    pub(crate) now: i64,
}

/// Money that is to be paid out of a hold.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Payout {
    pub(crate) hold: u64,
    /// None means all that remains.
    pub(crate) amount: Option<i128>,
    pub(crate) is_final: bool,
    pub(crate) transfer: u64,
    pub(crate) day: i32,
    pub(crate) now: i64,
}

/// What must stay on an account, where something must.
pub(crate) type Minimum = Option<i128>;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Reference {
    pub(crate) accounts: BTreeMap<u64, Account>,
    pub(crate) holds: BTreeMap<u64, Hold>,
}

/// An entry as it is answered: account, its place there from 1, amount, balance behind it.
pub(crate) type Written = (u64, usize, i128, i128);

impl Account {
    pub(crate) fn new(is_internal: bool, currency: &'static str) -> Self {
        Self {
            is_internal,
            currency,
            overdraft: 0,
            minimum: None,
            status: Status::Active,
            entries: Vec::new(),
        }
    }

    pub(crate) fn balance(&self) -> i128 {
        self.entries.iter().map(|entry| entry.amount).sum()
    }

    /// The balance at the end of a day.
    pub(crate) fn balance_on(&self, day: i32) -> i128 {
        self.entries.iter().filter(|entry| entry.day <= day).map(|entry| entry.amount).sum()
    }

    /// The lowest balance, holds taken off, that an order may leave.
    pub(crate) fn floor(&self) -> i128 {
        self.minimum.unwrap_or(-self.overdraft)
    }
}

impl Hold {
    pub(crate) fn remaining(&self) -> i128 {
        if self.end.is_some() { 0 } else { self.amount - self.captured }
    }
}

impl Reference {
    pub(crate) fn held(&self, account: u64) -> i128 {
        let own = self.holds.values().filter(|hold| hold.account == account);
        own.map(Hold::remaining).sum()
    }

    /// What an order may take out of an account now.
    pub(crate) fn available(&self, account: u64) -> i128 {
        let Some(state) = self.accounts.get(&account) else { return 0 };
        (state.balance() - self.held(account) - state.floor()).max(0)
    }

    /// Books a movement whole, or says what is wrong with it first.
    pub(crate) fn post(&mut self, order: &Order) -> Result<(), Refusal> {
        self.check_legs(order)?;
        for (leg, (account, _)) in order.legs.iter().enumerate() {
            let change: i128 =
                order.legs.iter().filter(|other| other.0 == *account).map(|other| other.1).sum();
            let state = &self.accounts[account];
            let bound = !state.is_internal && !order.waive_limits && change < 0;
            if bound && state.balance() + change - self.held(*account) < state.floor() {
                return Err(Refusal::InsufficientFunds(leg));
            }
        }
        for (leg, (account, _)) in order.legs.iter().enumerate() {
            let change: i128 =
                order.legs.iter().filter(|other| other.0 == *account).map(|other| other.1).sum();
            if (self.accounts[account].balance() + change).abs() > MAX {
                return Err(Refusal::BalanceOutOfRange(leg));
            }
        }
        for &(account, amount) in &order.legs {
            let entry = Entry { transfer: order.transfer, amount, day: order.day };
            self.accounts.get_mut(&account).unwrap().entries.push(entry);
        }
        Ok(())
    }

    /// The entries of a movement, by its accounts in the order of its legs.
    pub(crate) fn written(&self, legs: &[u64], transfer: u64) -> Vec<Written> {
        let mut used: BTreeMap<u64, usize> = BTreeMap::new();
        let mut written = Vec::new();
        for &number in legs {
            let entries = &self.accounts[&number].entries;
            let skipped = used.entry(number).or_default();
            let mut own =
                entries.iter().enumerate().filter(|(_, entry)| entry.transfer == transfer);
            let (place, entry) = own.nth(*skipped).unwrap();
            *skipped += 1;
            let after = entries[..=place].iter().map(|entry| entry.amount).sum();
            written.push((number, place + 1, entry.amount, after));
        }
        written
    }

    /// Everything of a movement that no balance decides.
    fn check_legs(&self, order: &Order) -> Result<(), Refusal> {
        if order.amount <= 0 || order.legs.iter().any(|leg| leg.1 == 0) {
            return Err(Refusal::InvalidAmount);
        }
        if order.amount > MAX {
            return Err(Refusal::AmountTooLarge);
        }
        let credits: i128 = order.legs.iter().map(|leg| leg.1.max(0)).sum();
        let debits: i128 = order.legs.iter().map(|leg| leg.1.min(0)).sum();
        if credits + debits != 0 || credits != order.amount {
            return Err(Refusal::Unbalanced);
        }
        for (later, leg) in order.legs.iter().enumerate() {
            for earlier in &order.legs[..later] {
                if earlier.0 == leg.0 && earlier.1.signum() != leg.1.signum() {
                    return Err(Refusal::SameAccount(later));
                }
            }
        }
        let nameable =
            |_: usize, account: &Account| !order.names_customers_only || !account.is_internal;
        let accounts: Vec<u64> = order.legs.iter().map(|leg| leg.0).collect();
        self.check_accounts(&accounts, order.currency, nameable)
    }

    /// Existence, currency, closed, frozen: each over all accounts before the next.
    fn check_accounts(
        &self,
        accounts: &[u64],
        currency: &str,
        is_nameable: impl Fn(usize, &Account) -> bool,
    ) -> Result<(), Refusal> {
        let mut found = Vec::new();
        for (leg, number) in accounts.iter().enumerate() {
            match self.accounts.get(number) {
                Some(account) if is_nameable(leg, account) => found.push(account),
                _ => return Err(Refusal::UnknownAccount(leg)),
            }
        }
        for (leg, account) in found.iter().enumerate() {
            if account.currency != currency {
                return Err(Refusal::CurrencyMismatch(leg));
            }
        }
        for (leg, account) in found.iter().enumerate() {
            if account.status == Status::Closed {
                return Err(Refusal::AccountClosed(leg));
            }
        }
        for (leg, account) in found.iter().enumerate() {
            if account.status == Status::Frozen {
                return Err(Refusal::AccountFrozen(leg));
            }
        }
        Ok(())
    }

    /// Keeps money back where the promised movement could be booked now.
    pub(crate) fn authorise(&mut self, promise: &Promise) -> Result<(), Refusal> {
        if promise.amount <= 0 {
            return Err(Refusal::InvalidAmount);
        }
        if promise.amount > MAX {
            return Err(Refusal::AmountTooLarge);
        }
        if promise.account == promise.to {
            return Err(Refusal::SameAccount(1));
        }
        if promise.expires_at <= promise.now {
            return Err(Refusal::HoldExpired);
        }
        let nameable = |leg: usize, account: &Account| {
            account.is_internal == (leg == 1 && promise.to_internal)
        };
        self.check_accounts(&[promise.account, promise.to], promise.currency, nameable)?;
        let (account, kept) = (&self.accounts[&promise.account], self.held(promise.account));
        if account.balance() - kept - promise.amount < account.floor() {
            return Err(Refusal::InsufficientFunds(0));
        }
        if kept + promise.amount > MAX {
            return Err(Refusal::AmountTooLarge);
        }
        let hold = Hold {
            account: promise.account,
            to: promise.to,
            amount: promise.amount,
            captured: 0,
            end: None,
            expires_at: promise.expires_at,
            last_transfer: None,
            changes: 1,
        };
        self.holds.insert(promise.hold, hold);
        Ok(())
    }

    /// Pays out of a hold; says how much. What was kept back needs no available funds.
    pub(crate) fn capture(&mut self, order: &Payout) -> Result<i128, Refusal> {
        if order.amount.is_some_and(|amount| amount <= 0) {
            return Err(Refusal::InvalidAmount);
        }
        if order.amount.is_some_and(|amount| amount > MAX) {
            return Err(Refusal::AmountTooLarge);
        }
        let hold = self.live(order.hold)?.clone();
        if order.now >= hold.expires_at {
            return Err(Refusal::HoldExpired);
        }
        let amount = order.amount.unwrap_or(hold.remaining());
        if amount > hold.remaining() {
            return Err(Refusal::ExceedsHold);
        }
        let currency = self.accounts[&hold.account].currency;
        self.post(&Order {
            transfer: order.transfer,
            names_customers_only: false,
            amount,
            currency,
            legs: vec![(hold.account, -amount), (hold.to, amount)],
            day: order.day,
            waive_limits: true,
        })?;
        let hold = self.holds.get_mut(&order.hold).unwrap();
        hold.captured += amount;
        hold.changes += 1;
        hold.last_transfer = Some(order.transfer);
        if order.is_final || hold.captured == hold.amount {
            hold.end = Some(End::Captured);
        }
        Ok(amount)
    }

    /// Lets a hold go on somebody's order.
    pub(crate) fn release(&mut self, number: u64, now: i64) -> Result<(), Refusal> {
        if now >= self.live(number)?.expires_at {
            return Err(Refusal::HoldExpired);
        }
        self.end(number, End::Released);
        Ok(())
    }

    /// Ends a hold whose time is over.
    pub(crate) fn expire(&mut self, number: u64, now: i64) -> Result<(), Refusal> {
        if now < self.live(number)?.expires_at {
            return Err(Refusal::HoldNotDue);
        }
        self.end(number, End::Expired);
        Ok(())
    }

    fn end(&mut self, number: u64, end: End) {
        let hold = self.holds.get_mut(&number).unwrap();
        hold.end = Some(end);
        hold.changes += 1;
    }

    fn live(&self, number: u64) -> Result<&Hold, Refusal> {
        let hold = self.holds.get(&number).ok_or(Refusal::UnknownHold)?;
        match hold.end {
            None => Ok(hold),
            Some(End::Captured) => Err(Refusal::HoldCaptured),
            Some(End::Released) => Err(Refusal::HoldReleased),
            Some(End::Expired) => Err(Refusal::HoldExpired),
        }
    }

    /// Changes an account's settings, or gives the code of what forbids it.
    pub(crate) fn change(
        &mut self,
        account: u64,
        (status, overdraft): (Option<Status>, Option<i128>),
        minimum: Option<Minimum>,
    ) -> Result<(), &'static str> {
        let wrong = |amount: Option<i128>| amount.is_some_and(|it| !(0..=MAX).contains(&it));
        if wrong(overdraft) || wrong(minimum.flatten()) {
            return Err("out_of_range");
        }
        let held = self.held(account);
        let now = self.accounts.get_mut(&account).ok_or("not_found")?;
        if now.status == Status::Closed {
            return Err("account_closed");
        }
        let next_overdraft = overdraft.unwrap_or(now.overdraft);
        let next_minimum = minimum.unwrap_or(now.minimum);
        if next_overdraft > 0 && next_minimum.is_some() {
            return Err("excludes_overdraft");
        }
        if next_overdraft < now.overdraft && now.balance() - held < -next_overdraft {
            return Err("overdraft_in_use");
        }
        now.status = status.unwrap_or(now.status);
        now.overdraft = next_overdraft;
        now.minimum = next_minimum;
        Ok(())
    }

    /// Closes an account for ever, or gives the code of what forbids it.
    pub(crate) fn close(&mut self, account: u64) -> Result<(), &'static str> {
        let held = self.held(account);
        let now = self.accounts.get_mut(&account).ok_or("not_found")?;
        if now.status == Status::Closed {
            return Err("account_closed");
        }
        if now.balance() != 0 {
            return Err("account_not_empty");
        }
        if held != 0 {
            return Err("account_has_holds");
        }
        now.status = Status::Closed;
        Ok(())
    }
}
