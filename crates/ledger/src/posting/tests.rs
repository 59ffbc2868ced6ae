//! The decision against a table of cases and against a naive model that keeps
//! nothing but entries and sums them again for every question.

#![allow(clippy::unwrap_used)]

use std::collections::HashMap;

use jiff::{Timestamp, civil::date};
use money::AMOUNT_MAX;
use proptest::prelude::*;
use uuid::Uuid;

use super::{Leg, Posting, PostingError, decide::apply};
use crate::model::{AccountClass, AccountState, AccountStatus, TransactionType, TransferKind};

pub(super) type Accounts = HashMap<Uuid, AccountState>;

pub(super) fn id(number: u128) -> Uuid {
    Uuid::from_u128(number)
}

pub(super) fn account(number: u128) -> AccountState {
    let internal = AccountState::new_internal(id(number), "EUR".parse().unwrap());
    AccountState { class: AccountClass::Customer, ..internal }
}

pub(super) fn world(accounts: impl IntoIterator<Item = AccountState>) -> Accounts {
    accounts.into_iter().map(|account| (account.id, account)).collect()
}

fn posting(kind: TransferKind, amount: i64, legs: Vec<Leg>) -> Posting {
    Posting {
        transfer_id: id(999),
        kind,
        amount,
        currency: "EUR".parse().unwrap(),
        legs,
        description: String::new(),
        reference: None,
        value_date: date(2026, 1, 1),
        booking_date: date(2026, 1, 1),
        posted_at: Timestamp::UNIX_EPOCH,
        created_by: id(0),
        reverses_transfer_id: None,
        waive_limits: false,
    }
}

pub(super) fn transfer(from: u128, to: u128, amount: i64) -> Posting {
    let legs = Posting::two_legs(
        (id(from), TransactionType::TransferOut),
        (id(to), TransactionType::TransferIn),
        amount,
    );
    posting(TransferKind::Transfer, amount, legs)
}

fn leg(number: u128, amount: i64) -> Leg {
    Leg { account_id: id(number), amount, transaction_type: TransactionType::Fee }
}

/// 1 has 1,000; 2 is empty; 3 closed; 4 frozen; 5 in koruna; 6 full; 7 the bank's; 8 with an overdraft of 500.
fn bank() -> Accounts {
    let customer = |number, balance| AccountState { balance, ..account(number) };
    world([
        customer(1, 1_000),
        customer(2, 0),
        AccountState { status: AccountStatus::Closed, ..customer(3, 0) },
        AccountState { status: AccountStatus::Frozen, ..customer(4, 1_000) },
        AccountState { currency: "CZK".parse().unwrap(), ..customer(5, 1_000) },
        customer(6, AMOUNT_MAX),
        AccountState { class: AccountClass::Internal, ..customer(7, 0) },
        AccountState { overdraft_limit: 500, ..customer(8, 0) },
    ])
}

#[test]
fn the_first_failure_of_the_documented_order_is_the_answer() {
    use PostingError as E;
    let table = [
        ("fine", transfer(1, 2, 1_000), None),
        ("one too much", transfer(1, 2, 1_001), Some(E::InsufficientFunds { leg: 0 })),
        ("zero", transfer(1, 2, 0), Some(E::InvalidAmount)),
        ("negative", transfer(1, 2, -5), Some(E::InvalidAmount)),
        ("least", transfer(1, 2, i64::MIN), Some(E::InvalidAmount)),
        ("greatest", transfer(1, 2, i64::MAX), Some(E::AmountTooLarge)),
        ("beyond exact integers", transfer(1, 2, AMOUNT_MAX + 1), Some(E::AmountTooLarge)),
        ("the most", transfer(1, 2, AMOUNT_MAX), Some(E::InsufficientFunds { leg: 0 })),
        ("zero to itself", transfer(1, 1, 0), Some(E::InvalidAmount)),
        ("to itself", transfer(1, 1, 1), Some(E::SameAccount { leg: 1 })),
        ("unknown to itself", transfer(90, 90, 1), Some(E::SameAccount { leg: 1 })),
        ("from unknown", transfer(90, 2, 1), Some(E::UnknownAccount { leg: 0 })),
        ("to unknown", transfer(1, 90, 5_000), Some(E::UnknownAccount { leg: 1 })),
        ("to the bank's own", transfer(1, 7, 1), Some(E::UnknownAccount { leg: 1 })),
        ("other currency before status", transfer(3, 5, 1), Some(E::CurrencyMismatch { leg: 1 })),
        ("closed before frozen", transfer(4, 3, 1), Some(E::AccountClosed { leg: 1 })),
        ("from frozen", transfer(4, 2, 1), Some(E::AccountFrozen { leg: 0 })),
        ("to frozen", transfer(1, 4, 5_000), Some(E::AccountFrozen { leg: 1 })),
        ("within overdraft", transfer(8, 2, 500), None),
        ("beyond overdraft", transfer(8, 2, 501), Some(E::InsufficientFunds { leg: 0 })),
        ("onto a full account", transfer(1, 6, 1), Some(E::BalanceOutOfRange { leg: 1 })),
        (
            "three legs",
            posting(TransferKind::Fee, 900, vec![leg(1, -900), leg(2, 800), leg(7, 100)]),
            None,
        ),
        (
            "legs that do not balance",
            posting(TransferKind::Fee, 900, vec![leg(1, -900), leg(2, 800)]),
            Some(E::Unbalanced),
        ),
        (
            "amount that is not the credits",
            posting(TransferKind::Fee, 800, vec![leg(1, -900), leg(2, 900)]),
            Some(E::Unbalanced),
        ),
        ("no legs", posting(TransferKind::Fee, 1, Vec::new()), Some(E::Unbalanced)),
        (
            "a leg of nothing",
            posting(TransferKind::Fee, 1, vec![leg(1, -1), leg(2, 1), leg(7, 0)]),
            Some(E::InvalidAmount),
        ),
        (
            "two debits of one account count together",
            posting(TransferKind::Fee, 1_200, vec![leg(1, -600), leg(1, -600), leg(2, 1_200)]),
            Some(E::InsufficientFunds { leg: 0 }),
        ),
        (
            "overflowing legs",
            posting(TransferKind::Fee, 5, vec![leg(1, i64::MIN), leg(2, i64::MAX), leg(7, 1)]),
            Some(E::Unbalanced),
        ),
    ];
    for (name, posting, expected) in table {
        let mut accounts = bank();
        let result = apply(&mut accounts, &posting, || id(7_777));
        assert_eq!(result.as_ref().err(), expected.as_ref(), "{name}");
        if expected.is_some() {
            assert_eq!(accounts, bank(), "{name} left a trace");
        }
    }
}

#[test]
fn holds_and_minimum_balances_bind_debits_only() {
    let held = AccountState { balance: 1_000, held: 400, ..account(1) };
    let minimum = AccountState { balance: 1_000, minimum_balance: Some(300), ..account(2) };
    // Below its floor, as imported history can leave it: credits are welcome.
    let below = AccountState { balance: -50, ..account(3) };
    let accounts = world([held, minimum, below, account(4)]);
    let table = [
        (transfer(1, 4, 600), true),
        (transfer(1, 4, 601), false),
        (transfer(2, 4, 700), true),
        (transfer(2, 4, 701), false),
        (transfer(1, 3, 1), true),
        (transfer(3, 4, 1), false),
    ];
    for (posting, posted) in table {
        let result = apply(&mut accounts.clone(), &posting, || id(1));
        assert_eq!(result.is_ok(), posted, "{:?} {}", posting.legs, posting.amount);
    }
    let waived = Posting { waive_limits: true, ..transfer(3, 4, 1_000) };
    assert!(
        apply(&mut accounts.clone(), &waived, || id(1)).is_ok(),
        "history is not second-guessed"
    );
}

/// Nothing but entries.
#[derive(Default)]
struct NaiveLedger {
    entries: Vec<(u128, i64)>,
}

impl NaiveLedger {
    fn balance(&self, account: u128) -> i128 {
        self.entries
            .iter()
            .filter(|entry| entry.0 == account)
            .map(|entry| i128::from(entry.1))
            .sum()
    }

    /// Whether a transfer between two active accounts of one currency is posted.
    fn transfer(&mut self, from: u128, to: u128, amount: i64, overdraft: i64) -> bool {
        let possible = amount > 0
            && amount <= AMOUNT_MAX
            && from != to
            && self.balance(from) - i128::from(amount) >= -i128::from(overdraft)
            && self.balance(to) + i128::from(amount) <= i128::from(AMOUNT_MAX);
        if possible {
            self.entries.extend([(from, -amount), (to, amount)]);
        }
        possible
    }
}

fn amounts() -> impl Strategy<Value = i64> {
    prop_oneof![
        8 => 1_i64..2_000,
        1 => -5_i64..=0,
        1 => prop_oneof![Just(AMOUNT_MAX), Just(AMOUNT_MAX + 1), Just(i64::MIN), Just(i64::MAX)],
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn random_transfers_do_what_the_naive_ledger_says(
        overdrafts in prop::collection::vec(0_i64..3_000, 5),
        orders in prop::collection::vec((0_u128..5, 0_u128..5, amounts()), 1..120),
    ) {
        let mut accounts = world((0..5_u128).zip(&overdrafts).map(|(number, &overdraft_limit)| {
            AccountState { overdraft_limit, ..account(number) }
        }));
        let mut naive = NaiveLedger::default();
        let mut counter = 0;
        for (from, to, amount) in orders {
            let before = accounts.clone();
            let result = apply(&mut accounts, &transfer(from, to, amount), || {
                counter += 1;
                id(counter)
            });
            let overdraft = overdrafts[usize::try_from(from).unwrap()];
            prop_assert_eq!(result.is_ok(), naive.transfer(from, to, amount, overdraft));
            if let Ok(posted) = result {
                let sum: i64 = posted.entries.iter().map(|entry| entry.amount).sum();
                prop_assert_eq!(sum, 0);
                for entry in &posted.entries {
                    let was = &before[&entry.account_id];
                    prop_assert_eq!(entry.account_sequence, was.entry_count + 1);
                    prop_assert_eq!(entry.balance_after, was.balance + entry.amount);
                }
            } else {
                prop_assert_eq!(&accounts, &before);
            }
            for number in 0..5_u128 {
                let state = &accounts[&id(number)];
                prop_assert_eq!(i128::from(state.balance), naive.balance(number));
                prop_assert!(state.balance >= -state.overdraft_limit);
            }
        }
        let total: i64 = accounts.values().map(|account| account.balance).sum();
        prop_assert_eq!(total, 0);
    }

    #[test]
    fn random_legs_are_posted_whole_or_not_at_all(
        legs in prop::collection::vec((0_u128..6, -1_000_i64..1_000), 0..8),
        amount in -10_i64..3_000,
        balances in prop::collection::vec(0_i64..2_000, 5),
    ) {
        let mut accounts = world((0..5_u128).zip(balances).map(|(number, balance)| {
            AccountState { balance, ..account(number) }
        }));
        let before = accounts.clone();
        let legs: Vec<Leg> = legs.into_iter().map(|(number, amount)| leg(number, amount)).collect();
        let order = posting(TransferKind::Fee, amount, legs.clone());
        match apply(&mut accounts, &order, || id(1)) {
            Err(_) => prop_assert_eq!(accounts, before),
            Ok(posted) => {
                prop_assert_eq!(posted.entries.len(), legs.len());
                let total = |world: &Accounts| world.values().map(|one| one.balance).sum::<i64>();
                prop_assert_eq!(total(&accounts), total(&before));
                prop_assert!(accounts.values().all(|one| one.balance >= 0));
            }
        }
    }
}
