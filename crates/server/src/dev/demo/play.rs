//! Owns what comes of everybody's wishes: goes through the days, keeps every
//! balance, drops what nobody can pay, and lets the bank take fees and give interest.
//!
//! Only credits are ever dated back, so a balance as of a day is never below what
//! was allowed on that day.

use banking::{AccountType, TransferKind};
use jiff::ToSpan as _;
use jiff::civil::{Date, DateTime};
use ledger::InternalAccount;

use super::plan::{By, Movement, PlannedAccount, Side, Step, What};
use super::wish::{Amount, Order, Wanted, Wish, Wishes, at};

/// Percent a year for being overdrawn, in hundredths.
const OVERDRAFT_BASIS_POINTS: i64 = 990;
const CHECKING_FEE: i64 = 490;
const BUSINESS_FEE: i64 = 1_490;

/// An account as the days go by.
#[derive(Clone, Default)]
struct Purse {
    balance: i64,
    is_shut: bool,
    /// Sum of the balances at the end of each day since the last interest: those
    /// above zero, and those below.
    credit_days: i64,
    debit_days: i64,
}

struct Play<'a> {
    accounts: &'a [PlannedAccount],
    purses: Vec<Purse>,
    steps: Vec<Step>,
}

/// The steps that come of the wishes between two days, both included.
pub(super) fn play(
    accounts: &[PlannedAccount],
    wishes: Wishes,
    (first, last): (Date, Date),
) -> Vec<Step> {
    let mut wishes = wishes.0;
    wishes.retain(|wish| (first..=last).contains(&wish.at.date()));
    wishes.sort_by_key(|wish| wish.at);
    let mut play =
        Play { accounts, purses: vec![Purse::default(); accounts.len()], steps: Vec::new() };
    let mut wishes = wishes.into_iter().peekable();
    let mut day = first;
    while day <= last {
        if day.day() == 1 && day > first {
            play.month_end(day);
        }
        while let Some(wish) = wishes.next_if(|wish| wish.at.date() == day) {
            play.wish(wish);
        }
        play.end_day();
        day = day.saturating_add(1.day());
    }
    // The ends of months go account by account; each account keeps its own order.
    play.steps.sort_by_key(|step| step.at);
    play.steps
}

impl Play<'_> {
    fn wish(&mut self, wish: Wish) {
        let at = wish.at;
        match wish.what {
            Wanted::Move(order) => self.order(at, order),
            Wanted::Refused(order) => {
                let allowed = self.movement(&order).is_some();
                if let (false, Amount::Exact(amount)) = (allowed, order.amount) {
                    let movement = self.of(at, order, amount);
                    self.steps.push(Step { at, what: What::Refused(movement) });
                }
            }
            Wanted::Freeze(account) => {
                self.purses[account].is_shut = true;
                self.steps.push(Step { at, what: What::Freeze(account) });
            }
            Wanted::Reversal(account) => {
                self.steps.push(Step { at, what: What::Reversal(account) });
            }
            Wanted::Close(account) => {
                if self.purses[account].balance == 0 {
                    self.purses[account].is_shut = true;
                    self.steps.push(Step { at, what: What::Close(account) });
                }
            }
        }
    }

    /// Does it, if it can be done.
    fn order(&mut self, at: DateTime, order: Order) {
        let Some(amount) = self.movement(&order) else { return };
        if let Side::Account(from) = order.from {
            self.purses[from].balance -= amount;
        }
        if let Side::Account(to) = order.to {
            self.purses[to].balance += amount;
        }
        let movement = self.of(at, order, amount);
        self.steps.push(Step { at, what: What::Move(movement) });
    }

    /// How much would move; nothing where that is refused.
    fn movement(&self, order: &Order) -> Option<i64> {
        let balance = |side: Side| match side {
            Side::Account(account) => self.purses[account].balance,
            Side::Bank(_) => 0,
        };
        let amount = match order.amount {
            Amount::Exact(amount) => amount,
            Amount::All => balance(order.from),
            Amount::DownTo(target) => balance(order.from) - target,
        };
        let shut =
            |side: Side| matches!(side, Side::Account(account) if self.purses[account].is_shut);
        let enough = match order.from {
            Side::Account(from) => {
                balance(order.from) - amount >= -self.accounts[from].overdraft_limit
            }
            Side::Bank(_) => true,
        };
        (amount > 0 && enough && !shut(order.from) && !shut(order.to)).then_some(amount)
    }

    fn of(&self, at: DateTime, order: Order, amount: i64) -> Movement {
        let currency = match (order.from, order.to) {
            (Side::Account(account), _) | (_, Side::Account(account)) => {
                self.accounts[account].currency
            }
            (Side::Bank(_), Side::Bank(_)) => "EUR",
        };
        Movement {
            by: order.by,
            kind: order.kind,
            from: order.from,
            to: order.to,
            amount,
            currency,
            value_date: order.value_date.unwrap_or(at.date()),
            text: order.text,
            reference: order.reference,
        }
    }

    fn end_day(&mut self) {
        for purse in &mut self.purses {
            purse.credit_days += purse.balance.max(0);
            purse.debit_days += (-purse.balance).max(0);
        }
    }

    /// Interest of the month that ended, valued on its last day, and the fees of it.
    fn month_end(&mut self, first: Date) {
        let last = first.saturating_sub(1.day());
        let month = month_of(last);
        let accounts = self.accounts;
        for (account, planned) in accounts.iter().enumerate() {
            let purse = self.purses[account].clone();
            (self.purses[account].credit_days, self.purses[account].debit_days) = (0, 0);
            let paid = interest(purse.credit_days, planned.rate_basis_points);
            let charged = interest(purse.debit_days, OVERDRAFT_BASIS_POINTS);
            let fee = match planned.account_type {
                AccountType::Savings => 0,
                AccountType::Checking => CHECKING_FEE,
                AccountType::Business => BUSINESS_FEE,
            };
            let own = Side::Account(account);
            let bank = |kind| Side::Bank(kind);
            let mut booking = |minute, kind, sides, amount, text: String, value_date| {
                let order = Order {
                    by: By::Bank,
                    kind,
                    from: sides,
                    to: own,
                    amount: Amount::Exact(amount),
                    value_date: Some(value_date),
                    text,
                    reference: None,
                };
                // What the bank takes comes out of the account.
                let order = match kind {
                    TransferKind::Interest if value_date < first => order,
                    _ => Order { from: own, to: order.from, ..order },
                };
                self.order(at(first, 0, minute), order);
            };
            booking(
                30,
                TransferKind::Interest,
                bank(InternalAccount::InterestExpense),
                paid,
                format!("Interest {month}"),
                last,
            );
            booking(
                35,
                TransferKind::Interest,
                bank(InternalAccount::InterestIncome),
                charged,
                format!("Overdraft interest {month}"),
                first,
            );
            booking(
                45,
                TransferKind::Fee,
                bank(InternalAccount::Fees),
                fee,
                format!("Account fee {month}"),
                first,
            );
        }
    }
}

/// Interest on a sum of daily balances (ACT/365F), rounded down.
fn interest(balance_days: i64, basis_points: i64) -> i64 {
    let unrounded = i128::from(balance_days) * i128::from(basis_points) / (365 * 10_000);
    i64::try_from(unrounded).unwrap_or(0)
}

/// `October 2026`.
pub(super) fn month_of(date: Date) -> String {
    date.strftime("%B %Y").to_string()
}
