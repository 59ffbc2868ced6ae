//! Owns what a demo consists of, before any of it exists: people, accounts, and
//! what happens on which day. Refuses to know the database.

use banking::{AccountType, CustomerType, PartyRole, PersonalData, TransferKind};
use jiff::civil::{Date, DateTime};
use ledger::InternalAccount;

/// How many days of history there are; the last one is yesterday.
pub(super) const HISTORY_DAYS: i64 = 90;
/// Logins exist for so many days: nobody orders anything themselves before.
pub(in crate::dev) const LOGIN_DAYS: i64 = 60;

/// A demo.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Plan {
    /// The bank's customers.
    pub(super) people: Vec<Person>,
    /// Their accounts.
    pub(super) accounts: Vec<PlannedAccount>,
    /// What happens, in order of time.
    pub(super) steps: Vec<Step>,
}

/// A customer of the bank.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Person {
    /// Unique in the demo.
    pub(super) key: String,
    /// Their login, where they have one.
    pub(super) username: Option<&'static str>,
    /// A person or a company.
    pub(super) customer_type: CustomerType,
    /// What is sealed.
    pub(super) personal: PersonalData,
}

/// An account of the demo.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct PlannedAccount {
    /// Unique in the demo.
    pub(super) key: String,
    /// The owner: a place in [`Plan::people`].
    pub(super) owner: usize,
    /// Further parties.
    pub(super) others: Vec<(usize, PartyRole)>,
    /// What sort.
    pub(super) account_type: AccountType,
    /// ISO 4217.
    pub(super) currency: &'static str,
    /// Minor units below zero.
    pub(super) overdraft_limit: i64,
    /// Hundredths of a percent a year.
    pub(super) rate_basis_points: i64,
    /// When it was opened.
    pub(super) opened: Date,
}

/// One thing that happens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Step {
    /// When, in the tenant's time.
    pub(super) at: DateTime,
    /// What.
    pub(super) what: What,
}

/// What happens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum What {
    /// Money moves.
    Move(Movement),
    /// A customer tries to move money, and the bank refuses.
    Refused(Movement),
    /// The manager freezes an account.
    Freeze(usize),
    /// The manager closes an account.
    Close(usize),
    /// The officer tries to reverse an account's newest entry, which is not theirs to do.
    Reversal(usize),
}

/// One side of a movement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    /// A customer's account: a place in [`Plan::accounts`].
    Account(usize),
    /// The bank's own.
    Bank(InternalAccount),
}

/// Who orders a movement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum By {
    /// The bank's own run: standing orders, debits, cards, interest, fees.
    Bank,
    /// A customer at their screen: a place in [`Plan::people`].
    Customer(usize),
    /// The officer at the counter.
    Teller,
}

/// Money that moves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Movement {
    /// Who ordered it.
    pub(super) by: By,
    /// Why.
    pub(super) kind: TransferKind,
    /// Debited.
    pub(super) from: Side,
    /// Credited.
    pub(super) to: Side,
    /// Minor units.
    pub(super) amount: i64,
    /// Of both sides.
    pub(super) currency: &'static str,
    /// The day from which it bears interest.
    pub(super) value_date: Date,
    /// On the statement.
    pub(super) text: String,
    /// On the statement.
    pub(super) reference: Option<String>,
}
