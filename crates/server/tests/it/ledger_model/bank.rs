//! What a bank answers to its people's orders, from their documentation: the reference
//! ledger below, and above it who may be named, dates, reversals, keys, and the words
//! and fields of refusals. Shares nothing with `banking`.

use std::collections::BTreeMap;

use super::reference::{
    Account, End, MAX, Order as Movement, Payout, Promise, Reference, Refusal, Status,
};

pub(super) const CURRENCIES: [&str; 2] = ["EUR", "CZK"];
/// The bank's own accounts that orders reach.
pub(super) const INTERNAL: [&str; 4] = ["cash", "fees", "suspense", "settlement"];
/// Numbers of accounts from here on are the bank's own.
const INTERNAL_FROM: u64 = 100;

/// An order, every value decided. Accounts, transfers and holds are numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Order {
    Transfer {
        from: u64,
        to: u64,
        amount: i64,
        currency: &'static str,
    },
    Deposit {
        account: u64,
        amount: i64,
        currency: Option<&'static str>,
        day: Option<i32>,
    },
    Withdraw {
        account: u64,
        amount: i64,
        currency: Option<&'static str>,
        day: Option<i32>,
    },
    Fee {
        account: u64,
        amount: i64,
        currency: Option<&'static str>,
    },
    Reverse {
        transfer: u64,
        day: Option<i32>,
    },
    Journal {
        entries: Vec<(u64, i64)>,
        currency: &'static str,
        day: Option<i32>,
    },
    Authorise {
        account: u64,
        to: Option<u64>,
        amount: i64,
        currency: Option<&'static str>,
        seconds: i64,
    },
    Capture {
        hold: u64,
        amount: Option<i64>,
        is_final: bool,
    },
    Release {
        hold: u64,
    },
    Expire,
    Freeze {
        account: u64,
        is_frozen: bool,
    },
    Overdraft {
        account: u64,
        limit: i64,
    },
    Minimum {
        account: u64,
        minimum: Option<i64>,
    },
    Close {
        account: u64,
    },
}

/// What an order that was carried out answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Done {
    Transfer {
        amount: i128,
        from: u64,
        to: u64,
        day: i32,
        reverses: Option<u64>,
    },
    /// A journal's entries: account, sequence, amount, balance behind; by amount.
    Journal(Vec<(u64, usize, i128, i128)>),
    Hold {
        status: &'static str,
        remaining: i128,
        captured: i128,
    },
    Expired(u64),
    Account {
        balance: i128,
        available: i128,
        status: Status,
    },
}

/// Or the code and the field of its refusal.
pub(super) type Answer = Result<Done, (String, String)>;

/// A movement that was booked.
#[derive(Clone, Debug)]
pub(super) struct Booked {
    pub(super) kind: &'static str,
    pub(super) amount: i128,
    pub(super) legs: Vec<(u64, i128)>,
    pub(super) day: i32,
    pub(super) reverses: Option<u64>,
    pub(super) hold: Option<u64>,
    currency: &'static str,
}

#[derive(Clone, Debug)]
pub(super) struct Bank {
    pub(super) books: Reference,
    pub(super) transfers: BTreeMap<u64, Booked>,
    /// What was first ordered under each key, and what came of it.
    keys: BTreeMap<String, (Order, Answer)>,
    /// Seconds since 1970.
    pub(super) now: i64,
    opened: i32,
}

/// What a request calls the parts of a movement.
#[derive(Clone, Copy)]
enum Naming {
    Sides,
    Account,
    Path,
    Entries,
    Hold,
}

pub(super) fn day_of(seconds: i64) -> i32 {
    i32::try_from(seconds.div_euclid(86_400)).unwrap()
}

pub(super) fn internal(code: &str, currency: &str) -> u64 {
    let at = |list: &[&str], name: &str| list.iter().position(|one| *one == name).unwrap() as u64;
    INTERNAL_FROM + 10 * at(&CURRENCIES, currency) + at(&INTERNAL, code)
}

fn no(code: &str, field: &str) -> Answer {
    Err((code.to_owned(), field.to_owned()))
}

impl Bank {
    pub(super) fn new(now: i64) -> Self {
        let mut books = Reference::default();
        for currency in CURRENCIES {
            for code in INTERNAL {
                books.accounts.insert(internal(code, currency), Account::new(true, currency));
            }
        }
        let (transfers, keys) = (BTreeMap::new(), BTreeMap::new());
        Self { books, transfers, keys, now, opened: day_of(now) }
    }

    pub(super) fn is_customers(&self, account: u64) -> bool {
        self.books.accounts.get(&account).is_some_and(|account| !account.is_internal)
    }

    /// An order under a key: the first is carried out, every other gets its answer.
    pub(super) fn run_keyed(&mut self, number: u64, key: Option<&str>, order: &Order) -> Answer {
        let Some(key) = key else { return self.run(number, order) };
        // Who names what they cannot use learns nothing of keys either.
        if let Order::Transfer { from, .. } = order
            && !self.is_customers(*from)
        {
            return self.run(number, order);
        }
        if let Some((first, answer)) = self.keys.get(key) {
            let same = first == order;
            return if same {
                answer.clone()
            } else {
                no("idempotency_key_reused", "Idempotency-Key")
            };
        }
        let answer = self.run(number, order);
        self.keys.insert(key.to_owned(), (order.clone(), answer.clone()));
        answer
    }

    /// Carries an order out, or says why not and leaves everything as it was.
    pub(super) fn run(&mut self, number: u64, order: &Order) -> Answer {
        match order {
            Order::Transfer { from, to, amount, currency } => {
                if !self.is_customers(*from) {
                    return no("not_found", "from_account_id");
                }
                let legs = two(*from, *to, *amount);
                self.book(
                    number,
                    (i128::from(*amount), legs),
                    ("transfer", *currency),
                    (self.today(), None),
                    Naming::Sides,
                )
            }
            Order::Deposit { account, amount, currency, day } => {
                self.counter(number, ("deposit", *account, *amount), *currency, *day)
            }
            Order::Withdraw { account, amount, currency, day } => {
                self.counter(number, ("withdrawal", *account, *amount), *currency, *day)
            }
            Order::Fee { account, amount, currency } => {
                self.counter(number, ("fee", *account, *amount), *currency, None)
            }
            Order::Reverse { transfer, day } => self.reverse(number, *transfer, *day),
            Order::Journal { entries, currency, day } => {
                self.journal(number, entries, currency, *day)
            }
            Order::Authorise { account, to, amount, currency, seconds } => {
                self.authorise(number, (*account, *to), *amount, *currency, *seconds)
            }
            Order::Capture { hold, amount, is_final } => {
                self.capture(number, *hold, *amount, *is_final)
            }
            Order::Release { hold } => {
                if let Err(refusal) = self.books.release(*hold, self.now) {
                    return Err(said(refusal, Naming::Hold));
                }
                Ok(self.hold(*hold))
            }
            Order::Expire => Ok(Done::Expired(self.expire())),
            Order::Freeze { account, is_frozen } => {
                let status = if *is_frozen { Status::Frozen } else { Status::Active };
                let done = self.books.change(*account, (Some(status), None), None);
                self.settings(*account, done, "")
            }
            Order::Overdraft { account, limit } => {
                let done = self.books.change(*account, (None, Some(i128::from(*limit))), None);
                self.settings(*account, done, "overdraft_limit")
            }
            Order::Minimum { account, minimum } => {
                let minimum = minimum.map(i128::from);
                let done = self.books.change(*account, (None, None), Some(minimum));
                self.settings(*account, done, "minimum_balance")
            }
            Order::Close { account } => {
                let done = self.books.close(*account);
                self.settings(*account, done, "")
            }
        }
    }

    pub(super) fn today(&self) -> i32 {
        day_of(self.now)
    }

    fn book(
        &mut self,
        number: u64,
        (amount, legs): (i128, Vec<(u64, i128)>),
        (kind, currency): (&'static str, &'static str),
        (day, reverses): (i32, Option<u64>),
        naming: Naming,
    ) -> Answer {
        let movement = Movement {
            transfer: number,
            names_customers_only: kind == "transfer",
            amount,
            currency,
            legs: legs.clone(),
            day,
            waive_limits: false,
        };
        if let Err(refusal) = self.books.post(&movement) {
            return Err(said(refusal, naming));
        }
        let first = |credit: bool| legs.iter().find(|leg| (leg.1 > 0) == credit).unwrap().0;
        let done = Done::Transfer { amount, from: first(false), to: first(true), day, reverses };
        let booked = Booked { kind, amount, legs, day, reverses, hold: None, currency };
        self.transfers.insert(number, booked);
        Ok(done)
    }

    /// Cash in, cash out, a fee: against one of the bank's own accounts.
    fn counter(
        &mut self,
        number: u64,
        (kind, account, amount): (&'static str, u64, i64),
        currency: Option<&'static str>,
        day: Option<i32>,
    ) -> Answer {
        if !self.is_customers(account) {
            return no("not_found", "");
        }
        let day = day.unwrap_or(self.today());
        if day > self.today() {
            return no("value_date_in_future", "value_date");
        }
        if day < self.opened {
            return no("value_date_before_opening", "value_date");
        }
        let own = self.books.accounts[&account].currency;
        if currency.is_some_and(|currency| currency != own) {
            return no("currency_mismatch", "currency");
        }
        let bank = internal(if kind == "fee" { "fees" } else { "cash" }, own);
        let (from, to) = if kind == "deposit" { (bank, account) } else { (account, bank) };
        let movement = (i128::from(amount), two(from, to, amount));
        self.book(number, movement, (kind, own), (day, None), Naming::Account)
    }

    fn reverse(&mut self, number: u64, transfer: u64, day: Option<i32>) -> Answer {
        let Some(undone) = self.transfers.get(&transfer).cloned() else {
            return no("not_found", "");
        };
        if undone.kind == "reversal" {
            return no("not_reversible", "");
        }
        if self.transfers.values().any(|other| other.reverses == Some(transfer)) {
            return no("already_reversed", "");
        }
        let day = day.unwrap_or(self.today());
        if day > self.today() {
            return no("value_date_in_future", "value_date");
        }
        if day < undone.day {
            return no("value_date_before_original", "value_date");
        }
        // First what the movement's first debit and credit become, the credited side's
        // debit before it: from where it went, to where it came from.
        let legs: Vec<(u64, i128)> = undone.legs.iter().map(|leg| (leg.0, -leg.1)).collect();
        let first =
            |credit: bool| undone.legs.iter().position(|leg| (leg.1 > 0) == credit).unwrap();
        let mut sorted = vec![legs[first(true)], legs[first(false)]];
        let sides = [first(true), first(false)];
        sorted.extend((0..legs.len()).filter(|at| !sides.contains(at)).map(|at| legs[at]));
        let kind = ("reversal", undone.currency);
        self.book(number, (undone.amount, sorted), kind, (day, Some(transfer)), Naming::Path)
    }

    fn journal(
        &mut self,
        number: u64,
        entries: &[(u64, i64)],
        currency: &'static str,
        day: Option<i32>,
    ) -> Answer {
        if !(2..=100).contains(&entries.len()) {
            return no("entry_count", "entries");
        }
        for (leg, (_, amount)) in entries.iter().enumerate() {
            let field = format!("entries[{leg}].amount");
            if *amount == 0 {
                return no("invalid_amount", &field);
            }
            if i128::from(*amount).abs() > MAX {
                return no("amount_too_large", &field);
            }
        }
        for leg in 0..entries.len() {
            if entries[..leg].iter().any(|earlier| earlier.0 == entries[leg].0) {
                return no("same_account", &format!("entries[{leg}]"));
            }
        }
        let legs: Vec<(u64, i128)> =
            entries.iter().map(|entry| (entry.0, i128::from(entry.1))).collect();
        if legs.iter().map(|leg| leg.1).sum::<i128>() != 0 {
            return no("unbalanced", "entries");
        }
        let amount: i128 = legs.iter().map(|leg| leg.1.max(0)).sum();
        if amount > MAX {
            return no("amount_too_large", "entries");
        }
        for (leg, (account, _)) in entries.iter().enumerate() {
            if !self.books.accounts.contains_key(account) {
                return no("not_found", &format!("entries[{leg}].account_id"));
            }
        }
        let day = day.unwrap_or(self.today());
        if day > self.today() {
            return no("value_date_in_future", "value_date");
        }
        if day < self.opened && entries.iter().any(|entry| self.is_customers(entry.0)) {
            return no("value_date_before_opening", "value_date");
        }
        let accounts: Vec<u64> = entries.iter().map(|entry| entry.0).collect();
        self.book(number, (amount, legs), ("journal", currency), (day, None), Naming::Entries)?;
        let mut written = self.books.written(&accounts, number);
        written.sort_by_key(|entry| (entry.2, entry.0));
        Ok(Done::Journal(written))
    }

    fn authorise(
        &mut self,
        number: u64,
        (account, to): (u64, Option<u64>),
        amount: i64,
        currency: Option<&'static str>,
        seconds: i64,
    ) -> Answer {
        if !self.is_customers(account) {
            return no("not_found", "account_id");
        }
        if seconds <= 0 {
            return no("expires_in_past", "expires_at");
        }
        if seconds > 30 * 86_400 {
            return no("expires_too_late", "expires_at");
        }
        let own = self.books.accounts[&account].currency;
        let promise = Promise {
            hold: number,
            account,
            to: to.unwrap_or_else(|| internal("settlement", own)),
            to_internal: to.is_none(),
            amount: i128::from(amount),
            currency: currency.unwrap_or(own),
            expires_at: self.now + seconds,
            now: self.now,
        };
        match self.books.authorise(&promise) {
            Ok(()) => Ok(self.hold(number)),
            Err(refusal) => Err(said(refusal, Naming::Hold)),
        }
    }

    fn capture(&mut self, number: u64, hold: u64, amount: Option<i64>, is_final: bool) -> Answer {
        // A hold in the path is looked for before anything in the body is read.
        let Some(known) = self.books.holds.get(&hold) else { return no("not_found", "") };
        let (from, to) = (known.account, known.to);
        let payout = Payout {
            hold,
            amount: amount.map(i128::from),
            is_final,
            transfer: number,
            day: self.today(),
            now: self.now,
        };
        let paid = match self.books.capture(&payout) {
            Ok(paid) => paid,
            Err(refusal) => return Err(said(refusal, Naming::Hold)),
        };
        let booked = Booked {
            kind: "transfer",
            amount: paid,
            legs: vec![(from, -paid), (to, paid)],
            day: self.today(),
            reverses: None,
            hold: Some(hold),
            currency: self.books.accounts[&from].currency,
        };
        self.transfers.insert(number, booked);
        Ok(self.hold(hold))
    }

    /// Ends every hold whose time is over, and counts them.
    fn expire(&mut self) -> u64 {
        let numbers: Vec<u64> = self.books.holds.keys().copied().collect();
        let now = self.now;
        numbers.into_iter().filter(|number| self.books.expire(*number, now).is_ok()).count() as u64
    }

    fn hold(&self, number: u64) -> Done {
        let hold = &self.books.holds[&number];
        let status = status(hold.end, hold.captured > 0);
        Done::Hold { status, remaining: hold.remaining(), captured: hold.captured }
    }

    fn settings(&self, account: u64, done: Result<(), &'static str>, field: &str) -> Answer {
        if !self.is_customers(account) {
            return no("not_found", "");
        }
        match done {
            Err("excludes_overdraft") => no("excludes_overdraft", "minimum_balance"),
            Err(code @ ("account_closed" | "account_not_empty" | "account_has_holds")) => {
                no(code, "")
            }
            Err(code) => no(code, field),
            Ok(()) => {
                let state = &self.books.accounts[&account];
                let available = self.books.available(account);
                Ok(Done::Account { balance: state.balance(), available, status: state.status })
            }
        }
    }
}

pub(super) fn status(end: Option<End>, is_partly_captured: bool) -> &'static str {
    match end {
        Some(End::Captured) => "captured",
        Some(End::Released) => "released",
        Some(End::Expired) => "expired",
        None if is_partly_captured => "partially_captured",
        None => "authorized",
    }
}

fn two(from: u64, to: u64, amount: i64) -> Vec<(u64, i128)> {
    vec![(from, -i128::from(amount)), (to, i128::from(amount))]
}

/// A refusal of the books in the words and fields of the request.
fn said(refusal: Refusal, naming: Naming) -> (String, String) {
    let account = |leg: usize| match naming {
        Naming::Sides if leg == 0 => "from_account_id".to_owned(),
        Naming::Hold if leg == 0 => "account_id".to_owned(),
        Naming::Sides | Naming::Hold => "to_account_id".to_owned(),
        Naming::Account => "account_id".to_owned(),
        Naming::Path => "id".to_owned(),
        Naming::Entries => format!("entries[{leg}].account_id"),
    };
    let whole = || match naming {
        Naming::Path => "id".to_owned(),
        Naming::Entries => "entries".to_owned(),
        _ => "amount".to_owned(),
    };
    let amount = |leg: usize| match naming {
        Naming::Entries => format!("entries[{leg}].amount"),
        _ => whole(),
    };
    let (code, field) = match refusal {
        Refusal::InvalidAmount => ("invalid_amount", whole()),
        Refusal::AmountTooLarge => ("amount_too_large", whole()),
        Refusal::Unbalanced => ("unbalanced", whole()),
        Refusal::SameAccount(leg) => ("same_account", account(leg)),
        Refusal::UnknownAccount(leg) => ("not_found", account(leg)),
        Refusal::CurrencyMismatch(0) if !matches!(naming, Naming::Entries) => {
            ("currency_mismatch", "currency".to_owned())
        }
        Refusal::CurrencyMismatch(leg) => ("currency_mismatch", account(leg)),
        Refusal::AccountClosed(leg) => ("account_closed", account(leg)),
        Refusal::AccountFrozen(leg) => ("account_frozen", account(leg)),
        Refusal::InsufficientFunds(leg) => ("insufficient_funds", amount(leg)),
        Refusal::BalanceOutOfRange(leg) => {
            let is_journal = matches!(naming, Naming::Entries);
            ("amount_too_large", if is_journal { amount(leg) } else { account(leg) })
        }
        Refusal::UnknownHold => ("not_found", String::new()),
        Refusal::HoldCaptured => ("hold_captured", String::new()),
        Refusal::HoldReleased => ("hold_released", String::new()),
        Refusal::HoldExpired => ("hold_expired", String::new()),
        Refusal::HoldNotDue => ("hold_not_expired", String::new()),
        Refusal::ExceedsHold => ("capture_exceeds_hold", "amount".to_owned()),
    };
    (code.to_owned(), field)
}
