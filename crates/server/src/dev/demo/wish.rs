//! Owns what people of the demo would like to happen, before anybody looks at their
//! balance.

use banking::TransferKind;
use jiff::civil::{Date, DateTime, Time};
use ledger::InternalAccount;

use super::plan::{By, Side};

/// How much.
#[derive(Clone, Copy, Debug)]
pub(super) enum Amount {
    /// Minor units.
    Exact(i64),
    /// Everything that is there.
    All,
    /// So much that the account stands at this balance.
    DownTo(i64),
}

/// What somebody wants to happen.
#[derive(Clone, Debug)]
pub(super) struct Wish {
    pub(super) at: DateTime,
    pub(super) what: Wanted,
}

/// The sorts of wishes.
#[derive(Clone, Debug)]
pub(super) enum Wanted {
    /// Money moves, if the balance allows it.
    Move(Order),
    /// The same, and the bank is expected to refuse it.
    Refused(Order),
    /// An account is frozen.
    Freeze(usize),
    /// An account is closed.
    Close(usize),
    /// Somebody tries to reverse its newest entry.
    Reversal(usize),
}

/// Money that is to move.
#[derive(Clone, Debug)]
pub(super) struct Order {
    pub(super) by: By,
    pub(super) kind: TransferKind,
    pub(super) from: Side,
    pub(super) to: Side,
    pub(super) amount: Amount,
    /// None means the day itself.
    pub(super) value_date: Option<Date>,
    pub(super) text: String,
    pub(super) reference: Option<String>,
}

/// Everybody's wishes, as they are collected.
#[derive(Debug, Default)]
pub(super) struct Wishes(pub(super) Vec<Wish>);

impl Wishes {
    /// Money from outside.
    pub(super) fn income(&mut self, at: DateTime, to: usize, amount: i64, text: (String, String)) {
        self.add(
            at,
            TransferKind::Deposit,
            (Side::Bank(InternalAccount::Settlement), Side::Account(to)),
            Amount::Exact(amount),
            text,
        );
    }

    /// Money that leaves the bank.
    pub(super) fn expense(
        &mut self,
        at: DateTime,
        from: usize,
        amount: Amount,
        text: (String, String),
    ) {
        self.add(
            at,
            TransferKind::Withdrawal,
            (Side::Account(from), Side::Bank(InternalAccount::Settlement)),
            amount,
            text,
        );
    }

    /// Cash from a machine.
    pub(super) fn cash(&mut self, at: DateTime, from: usize, amount: i64, text: (String, String)) {
        self.add(
            at,
            TransferKind::Withdrawal,
            (Side::Account(from), Side::Bank(InternalAccount::Cash)),
            Amount::Exact(amount),
            text,
        );
    }

    /// A standing order between two accounts of the bank.
    pub(super) fn standing(
        &mut self,
        at: DateTime,
        (from, to): (usize, usize),
        amount: i64,
        text: (String, String),
    ) {
        self.add(
            at,
            TransferKind::Transfer,
            (Side::Account(from), Side::Account(to)),
            Amount::Exact(amount),
            text,
        );
    }

    /// A transfer that a customer orders.
    pub(super) fn ordered(
        &mut self,
        at: DateTime,
        person: usize,
        (from, to): (usize, usize),
        amount: Amount,
        text: (String, String),
    ) {
        let order = order(
            By::Customer(person),
            TransferKind::Transfer,
            (Side::Account(from), Side::Account(to)),
            amount,
            text,
        );
        self.0.push(Wish { at, what: Wanted::Move(order) });
    }

    /// A transfer that a customer orders in vain.
    pub(super) fn in_vain(
        &mut self,
        at: DateTime,
        person: usize,
        (from, to): (usize, usize),
        amount: i64,
        text: &str,
    ) {
        let order = order(
            By::Customer(person),
            TransferKind::Transfer,
            (Side::Account(from), Side::Account(to)),
            Amount::Exact(amount),
            (text.to_owned(), String::new()),
        );
        self.0.push(Wish { at, what: Wanted::Refused(order) });
    }

    /// The bank freezes an account.
    pub(super) fn freeze(&mut self, at: DateTime, account: usize) {
        self.0.push(Wish { at, what: Wanted::Freeze(account) });
    }

    /// The bank closes an account, if it is empty by then.
    pub(super) fn close(&mut self, at: DateTime, account: usize) {
        self.0.push(Wish { at, what: Wanted::Close(account) });
    }

    /// The officer tries to reverse an account's newest entry.
    pub(super) fn reversal(&mut self, at: DateTime, account: usize) {
        self.0.push(Wish { at, what: Wanted::Reversal(account) });
    }

    /// Cash over the counter: in where the amount is positive.
    pub(super) fn counter(
        &mut self,
        at: DateTime,
        account: usize,
        amount: i64,
        value_date: Option<Date>,
        text: &str,
    ) {
        let (cash, own) = (Side::Bank(InternalAccount::Cash), Side::Account(account));
        let (kind, sides) = if amount > 0 {
            (TransferKind::Deposit, (cash, own))
        } else {
            (TransferKind::Withdrawal, (own, cash))
        };
        let order = order(
            By::Teller,
            kind,
            sides,
            Amount::Exact(amount.abs()),
            (text.to_owned(), String::new()),
        );
        self.0.push(Wish { at, what: Wanted::Move(Order { value_date, ..order }) });
    }

    /// The same as [`Wishes::add`], valued as of an earlier day. Only ever for money
    /// that comes in.
    pub(super) fn back_dated(
        &mut self,
        at: DateTime,
        kind: TransferKind,
        sides: (Side, Side),
        (amount, value_date): (i64, Date),
        text: (String, String),
    ) {
        let order = order(By::Bank, kind, sides, Amount::Exact(amount), text);
        self.0
            .push(Wish { at, what: Wanted::Move(Order { value_date: Some(value_date), ..order }) });
    }

    /// Anything that the bank's own runs book.
    pub(super) fn add(
        &mut self,
        at: DateTime,
        kind: TransferKind,
        sides: (Side, Side),
        amount: Amount,
        text: (String, String),
    ) {
        self.0.push(Wish { at, what: Wanted::Move(order(By::Bank, kind, sides, amount, text)) });
    }
}

fn order(
    by: By,
    kind: TransferKind,
    (from, to): (Side, Side),
    amount: Amount,
    (text, reference): (String, String),
) -> Order {
    let reference = Some(reference).filter(|reference| !reference.is_empty());
    Order { by, kind, from, to, amount, value_date: None, text, reference }
}

/// A minute of a day.
pub(super) fn at(date: Date, hour: i64, minute: i64) -> DateTime {
    let part = |value: i64| i8::try_from(value).unwrap_or(0);
    date.to_datetime(Time::new(part(hour), part(minute), 0, 0).unwrap_or(Time::midnight()))
}
