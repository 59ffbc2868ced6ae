//! Decisions on holds: every status against every order, refusals in their order,
//! and random sequences against a naive model that knows only a list of promises.

#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, HashMap};

use jiff::{SignedDuration, Timestamp, civil::date};
use money::AMOUNT_MAX;
use proptest::prelude::*;
use uuid::Uuid;

use super::{
    PostingError as P, decide,
    holding::{self, Accounts, Holds},
    tests::{account, id, transfer, world},
};
use crate::{
    holds::{
        Authorisation, Capture, Changed, Destination, Hold, HoldError as E, HoldStatus as S,
        TRANSITIONS,
    },
    model::{AccountClass, AccountState, AccountStatus},
};

/// The instant `seconds` after the start of every test.
fn at(seconds: i64) -> Timestamp {
    Timestamp::UNIX_EPOCH + SignedDuration::from_secs(seconds)
}

/// Ends at second 100.
fn order(hold: u128, from: u128, to: u128, amount: i64) -> Authorisation {
    Authorisation {
        hold_id: id(hold),
        account_id: id(from),
        destination: Destination::Customer(id(to)),
        amount,
        currency: "EUR".parse().unwrap(),
        description: "Hotel".to_owned(),
        reference: None,
        expires_at: at(100),
        created_by: id(0),
        at: at(0),
    }
}

fn capture(hold: u128, amount: Option<i64>, is_final: bool, second: i64) -> Capture {
    Capture {
        hold_id: id(hold),
        amount,
        is_final,
        transfer_id: id(555),
        business_date: date(2026, 1, 1),
        created_by: id(0),
        at: at(second),
    }
}

/// 1 has 1,000; 2 is empty; 3 closed; 4 frozen; 5 in koruna; 6 with an overdraft of 500;
/// 7 the bank's settlement; 8 must keep 300 of its 1,000; 9 is full.
fn bank() -> Accounts {
    let customer = |number, balance| AccountState { balance, ..account(number) };
    world([
        customer(1, 1_000),
        customer(2, 0),
        AccountState { status: AccountStatus::Closed, ..customer(3, 0) },
        AccountState { status: AccountStatus::Frozen, ..customer(4, 1_000) },
        AccountState { currency: "CZK".parse().unwrap(), ..customer(5, 1_000) },
        AccountState { overdraft_limit: 500, ..customer(6, 0) },
        AccountState { class: AccountClass::Internal, ..customer(7, 0) },
        AccountState { minimum_balance: Some(300), ..customer(8, 1_000) },
        customer(9, AMOUNT_MAX),
    ])
}

/// A bank with one live hold of 400 from 1 to 2, of which so much is captured.
fn with_hold(captured: i64) -> (Accounts, Holds) {
    let (mut accounts, mut holds) = (bank(), Holds::new());
    let promise = order(50, 1, 2, 400);
    holding::authorise(&mut accounts, &Accounts::new(), &mut holds, &promise).unwrap();
    if captured > 0 {
        let part = capture(50, Some(captured), false, 1);
        holding::capture(&mut accounts, &mut holds, &part, || id(1)).unwrap();
    }
    (accounts, holds)
}

#[test]
fn a_hold_is_authorised_where_its_transfer_could_be_posted() {
    let internal = |number| Destination::Internal(id(number));
    let base = |from, to, amount| order(50, from, to, amount);
    let posting = |error| Some(E::Posting(error));
    let table = [
        ("all there is", base(1, 2, 1_000), None),
        ("one too much", base(1, 2, 1_001), posting(P::InsufficientFunds { leg: 0 })),
        ("zero", base(1, 2, 0), Some(E::InvalidAmount)),
        ("negative", base(1, 2, -1), Some(E::InvalidAmount)),
        ("least", base(1, 2, i64::MIN), Some(E::InvalidAmount)),
        ("greatest", base(1, 2, i64::MAX), Some(E::AmountTooLarge)),
        ("beyond exact integers", base(1, 2, AMOUNT_MAX + 1), Some(E::AmountTooLarge)),
        ("the most", base(1, 2, AMOUNT_MAX), posting(P::InsufficientFunds { leg: 0 })),
        ("to itself", base(1, 1, 1), posting(P::SameAccount { leg: 1 })),
        ("zero to itself", base(1, 1, 0), Some(E::InvalidAmount)),
        ("on unknown", base(90, 2, 1), posting(P::UnknownAccount { leg: 0 })),
        ("for unknown", base(1, 90, 1), posting(P::UnknownAccount { leg: 1 })),
        ("for the bank's own by name", base(1, 7, 1), posting(P::UnknownAccount { leg: 1 })),
        ("on the bank's own", base(7, 2, 1), posting(P::UnknownAccount { leg: 0 })),
        ("for settlement", Authorisation { destination: internal(7), ..base(1, 2, 5) }, None),
        (
            "a customer's account as if it were the bank's",
            Authorisation { destination: internal(2), ..base(1, 2, 5) },
            posting(P::UnknownAccount { leg: 1 }),
        ),
        ("other currency before status", base(3, 5, 1), posting(P::CurrencyMismatch { leg: 1 })),
        ("on koruna", base(5, 2, 1), posting(P::CurrencyMismatch { leg: 0 })),
        ("on closed", base(3, 2, 1), posting(P::AccountClosed { leg: 0 })),
        ("for closed", base(1, 3, 5_000), posting(P::AccountClosed { leg: 1 })),
        ("on frozen", base(4, 2, 1), posting(P::AccountFrozen { leg: 0 })),
        ("for frozen", base(1, 4, 1), posting(P::AccountFrozen { leg: 1 })),
        ("within overdraft", base(6, 2, 500), None),
        ("beyond overdraft", base(6, 2, 501), posting(P::InsufficientFunds { leg: 0 })),
        ("above the minimum", base(8, 2, 700), None),
        ("below the minimum", base(8, 2, 701), posting(P::InsufficientFunds { leg: 0 })),
        ("over already", Authorisation { expires_at: at(0), ..base(1, 2, 1) }, Some(E::Expired)),
    ];
    for (name, order, expected) in table {
        let (mut accounts, mut holds) = (bank(), Holds::new());
        // A destination is only looked at.
        let mut seen = Accounts::new();
        for number in [2, 7] {
            seen.extend(accounts.remove(&id(number)).map(|account| (account.id, account)));
        }
        if let Some(account) = seen.get(&order.account_id).cloned() {
            accounts.insert(account.id, account);
        }
        let before = accounts.clone();
        let result = holding::authorise(&mut accounts, &seen, &mut holds, &order);
        assert_eq!(result.as_ref().err(), expected.as_ref(), "{name}");
        if expected.is_some() {
            assert_eq!((&accounts, holds.len()), (&before, 0), "{name} left a trace");
        } else {
            let held = accounts[&order.account_id].held;
            assert_eq!((held, holds.len()), (order.amount, 1), "{name}");
            assert_eq!(accounts[&order.account_id].balance, before[&order.account_id].balance);
        }
    }
}

#[test]
fn an_account_that_is_only_seen_is_never_held_on() {
    let (mut accounts, mut holds) = (Accounts::new(), Holds::new());
    let result = holding::authorise(&mut accounts, &bank(), &mut holds, &order(50, 1, 2, 1));
    assert_eq!(result, Err(E::Posting(P::UnknownAccount { leg: 0 })));
}

#[test]
fn all_that_is_held_together_stays_within_exact_integers() {
    let mut rich = AccountState { balance: AMOUNT_MAX, ..account(1) };
    rich.overdraft_limit = AMOUNT_MAX;
    let (mut accounts, mut holds) = (world([rich, account(2)]), Holds::new());
    let seen = Accounts::new();
    let whole = order(50, 1, 2, AMOUNT_MAX);
    holding::authorise(&mut accounts, &seen, &mut holds, &whole).unwrap();
    let more = holding::authorise(&mut accounts, &seen, &mut holds, &order(51, 1, 2, 1));
    assert_eq!(more, Err(E::AmountTooLarge));
}

#[test]
fn a_capture_takes_what_was_kept_back_and_no_more() {
    // What it says or (balances, held, remaining, status).
    type Expected = Result<(i64, i64, i64, i64, S), E>;
    // Name, captured before, amount, final, second, what comes of it.
    type Case = (&'static str, i64, Option<i64>, bool, i64, Expected);
    let table: [Case; 16] = [
        ("all", 0, None, true, 1, Ok((600, 400, 0, 0, S::Captured))),
        ("all, not final", 0, None, false, 1, Ok((600, 400, 0, 0, S::Captured))),
        ("all by name", 0, Some(400), false, 1, Ok((600, 400, 0, 0, S::Captured))),
        ("a part", 0, Some(150), false, 1, Ok((850, 150, 250, 250, S::PartiallyCaptured))),
        ("a part and no more", 0, Some(150), true, 1, Ok((850, 150, 0, 0, S::Captured))),
        ("the rest", 150, None, true, 2, Ok((600, 400, 0, 0, S::Captured))),
        ("another part", 150, Some(50), false, 2, Ok((800, 200, 200, 200, S::PartiallyCaptured))),
        ("the last second", 0, None, true, 99, Ok((600, 400, 0, 0, S::Captured))),
        ("too late", 0, None, true, 100, Err(E::Expired)),
        ("too much and too late", 0, Some(999), true, 100, Err(E::Expired)),
        ("too much", 0, Some(401), true, 1, Err(E::ExceedsHold)),
        ("more than the rest", 150, Some(251), true, 1, Err(E::ExceedsHold)),
        ("nothing", 0, Some(0), true, 1, Err(E::InvalidAmount)),
        ("negative", 0, Some(-1), true, 100, Err(E::InvalidAmount)),
        ("beyond exact integers", 0, Some(AMOUNT_MAX + 1), true, 1, Err(E::AmountTooLarge)),
        ("greatest", 0, Some(i64::MAX), true, 1, Err(E::AmountTooLarge)),
    ];
    for (name, captured, amount, is_final, second, expected) in table {
        let (mut accounts, mut holds) = with_hold(captured);
        let before = (accounts.clone(), holds.clone());
        let order = capture(50, amount, is_final, second);
        let result = holding::capture(&mut accounts, &mut holds, &order, || id(1));
        match expected {
            Err(error) => {
                assert_eq!(result.unwrap_err(), error, "{name}");
                assert_eq!((accounts, holds), before, "{name} left a trace");
            }
            Ok((paid_from, paid_to, kept, remaining, status)) => {
                let done = result.unwrap();
                let hold = &done.change.after;
                let payer = &accounts[&id(1)];
                assert_eq!((payer.balance, payer.held), (paid_from, kept), "{name}");
                assert_eq!(accounts[&id(2)].balance, paid_to, "{name}");
                assert_eq!((hold.remaining, hold.status), (remaining, status), "{name}");
                assert_eq!(hold.captured_amount, paid_to, "{name}");
                assert_eq!(hold.last_transfer_id, Some(id(555)), "{name}");
                assert_eq!((&holds[&id(50)], done.posting.amount), (hold, paid_to - captured));
                assert!(done.change.before.status.may_become(hold.status), "{name}");
            }
        }
    }
}

/// Puts a hold into a status by legal means.
fn in_status(status: S) -> (Accounts, Holds) {
    let (mut accounts, mut holds) = with_hold(if status == S::PartiallyCaptured { 100 } else { 0 });
    let (accounts_now, holds_now) = (&mut accounts, &mut holds);
    match status {
        S::Authorized | S::PartiallyCaptured => {}
        S::Captured => {
            let all = capture(50, None, true, 1);
            holding::capture(accounts_now, holds_now, &all, || id(1)).unwrap();
        }
        S::Released => {
            holding::release(accounts_now, holds_now, (id(50), at(1))).unwrap();
        }
        S::Expired => {
            holding::expire(accounts_now, holds_now, (id(50), at(100))).unwrap();
        }
    }
    assert_eq!(holds[&id(50)].status, status);
    (accounts, holds)
}

/// Every order in every status goes where the table of transitions says, or nowhere.
#[test]
fn every_transition_is_in_the_table_and_the_table_is_reached() {
    let mut reached = Vec::new();
    for &from in S::ALL {
        for (to, second) in
            [(S::PartiallyCaptured, 1), (S::Captured, 1), (S::Released, 1), (S::Expired, 100)]
        {
            let (mut accounts, mut holds) = in_status(from);
            let before = (accounts.clone(), holds.clone());
            let change: Result<Changed, E> = match to {
                S::PartiallyCaptured | S::Captured => {
                    let order = capture(50, Some(10), to == S::Captured, second);
                    holding::capture(&mut accounts, &mut holds, &order, || id(1))
                        .map(|done| done.change)
                }
                S::Released => holding::release(&mut accounts, &mut holds, (id(50), at(second))),
                _ => holding::expire(&mut accounts, &mut holds, (id(50), at(second))),
            };
            assert_eq!(change.is_ok(), from.may_become(to), "{from} → {to}");
            match change {
                Ok(change) => {
                    assert_eq!((change.before.status, change.after.status), (from, to));
                    assert_eq!(change.after.version, change.before.version + 1);
                    assert_eq!(accounts[&id(1)].held, change.after.remaining);
                    reached.push((from, to));
                }
                Err(error) => {
                    let expected = if from == S::Expired { E::Expired } else { E::Ended(from) };
                    assert_eq!(error, expected, "{from} → {to}");
                    assert_eq!((accounts, holds), before, "{from} → {to} left a trace");
                }
            }
        }
        assert!(!from.may_become(S::Authorized), "{from} lives again");
        assert_eq!(from.is_live(), TRANSITIONS.iter().any(|(start, _)| *start == from));
    }
    reached.sort_unstable();
    let mut table = TRANSITIONS.to_vec();
    table.sort_unstable();
    assert_eq!(reached, table);
}

#[test]
fn the_clock_decides_who_may_end_a_hold() {
    for (second, released, expired) in [(99, true, Err(E::NotDue)), (100, false, Ok(()))] {
        let (mut accounts, mut holds) = with_hold(0);
        let ended =
            holding::expire(&mut accounts.clone(), &mut holds.clone(), (id(50), at(second)));
        assert_eq!(ended.map(drop), expired, "{second}");
        let let_go = holding::release(&mut accounts, &mut holds, (id(50), at(second)));
        assert_eq!(let_go.is_ok(), released, "{second}");
        assert_eq!(accounts[&id(1)].held, if released { 0 } else { 400 });
    }
    let (mut accounts, mut holds) = with_hold(0);
    let unknown = holding::release(&mut accounts, &mut holds, (id(51), at(1)));
    assert_eq!(unknown, Err(E::UnknownHold));
}

#[test]
fn a_freeze_stops_captures_and_lets_holds_go() {
    for (frozen, leg) in [(1, 0), (2, 1)] {
        for status in [AccountStatus::Frozen, AccountStatus::Closed] {
            let (mut accounts, mut holds) = with_hold(0);
            accounts.get_mut(&id(frozen)).unwrap().status = status;
            let before = (accounts.clone(), holds.clone());
            let all = capture(50, None, true, 1);
            let refused = holding::capture(&mut accounts, &mut holds, &all, || id(1));
            let expected = match status {
                AccountStatus::Frozen => P::AccountFrozen { leg },
                _ => P::AccountClosed { leg },
            };
            assert_eq!(refused.unwrap_err(), E::Posting(expected));
            assert_eq!((&accounts, &holds), (&before.0, &before.1));
            holding::release(&mut accounts, &mut holds, (id(50), at(1))).unwrap();
            assert_eq!(accounts[&id(1)].held, 0);
        }
    }
}

#[test]
fn a_capture_needs_no_available_funds() {
    let (mut accounts, mut holds) = with_hold(0);
    // All the rest is spent, and then the terms become harder than the balance.
    decide::apply(&mut accounts, &transfer(1, 2, 600), || id(1)).unwrap();
    accounts.get_mut(&id(1)).unwrap().minimum_balance = Some(10_000);
    holding::capture(&mut accounts, &mut holds, &capture(50, None, true, 1), || id(2)).unwrap();
    assert_eq!((accounts[&id(1)].balance, accounts[&id(2)].balance), (0, 1_000));
}

/// What a naive bank knows: balances, and promises as (account, destination, left, end).
#[derive(Default)]
struct NaiveBank {
    balances: BTreeMap<u128, i64>,
    promises: BTreeMap<u128, (u128, u128, i64, i64)>,
}

impl NaiveBank {
    fn held(&self, account: u128) -> i64 {
        self.promises.values().filter(|promise| promise.0 == account).map(|one| one.2).sum()
    }

    fn is_covered(&self, account: u128, amount: i64) -> bool {
        amount > 0 && self.balances[&account] - self.held(account) >= amount
    }

    fn pay(&mut self, from: u128, to: u128, amount: i64) {
        *self.balances.get_mut(&from).unwrap() -= amount;
        *self.balances.get_mut(&to).unwrap() += amount;
    }
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Transfer(u128, u128, i64),
    Authorise(u128, u128, i64, i64),
    Capture(u128, Option<i64>, bool),
    Release(u128),
    Expire(u128),
    Wait(i64),
}

fn steps() -> impl Strategy<Value = Step> {
    let (account, amount) = (|| 0_u128..4, || -2_i64..600);
    // Of the first forty holds, so that many steps meet.
    let hold = || 1_000_u128..1_040;
    prop_oneof![
        2 => (account(), account(), amount()).prop_map(|(a, b, c)| Step::Transfer(a, b, c)),
        4 => (account(), account(), amount(), 1_i64..30)
            .prop_map(|(a, b, c, d)| Step::Authorise(a, b, c, d)),
        3 => (hold(), prop::option::of(amount()), any::<bool>())
            .prop_map(|(a, b, c)| Step::Capture(a, b, c)),
        1 => hold().prop_map(Step::Release),
        1 => hold().prop_map(Step::Expire),
        1 => (0_i64..10).prop_map(Step::Wait),
    ]
}

/// Runs a step on both; whether each did anything.
fn step(
    (accounts, holds): (&mut Accounts, &mut Holds),
    naive: &mut NaiveBank,
    (now, number): (&mut i64, &mut u128),
    step: Step,
) -> (bool, bool) {
    match step {
        Step::Wait(seconds) => {
            *now += seconds;
            (true, true)
        }
        Step::Transfer(from, to, amount) => {
            let fits = from != to && naive.is_covered(from, amount);
            if fits {
                naive.pay(from, to, amount);
            }
            let order = transfer(from, to, amount);
            (decide::apply(accounts, &order, || id(1)).is_ok(), fits)
        }
        Step::Authorise(from, to, amount, lifetime) => {
            let fits = from != to && naive.is_covered(from, amount);
            let ends = *now + lifetime;
            if fits {
                naive.promises.insert(*number, (from, to, amount, ends));
            }
            let order = Authorisation {
                at: at(*now),
                expires_at: at(ends),
                ..order(*number, from, to, amount)
            };
            *number += u128::from(fits);
            (holding::authorise(accounts, &Accounts::new(), holds, &order).is_ok(), fits)
        }
        Step::Capture(hold, amount, is_final) => {
            let promise = naive.promises.get(&hold).copied();
            let fits = promise.filter(|(_, _, left, ends)| {
                *now < *ends && amount.is_none_or(|amount| amount > 0 && amount <= *left)
            });
            if let Some((from, to, left, ends)) = fits {
                let taken = amount.unwrap_or(left);
                naive.promises.remove(&hold);
                if !is_final && left > taken {
                    naive.promises.insert(hold, (from, to, left - taken, ends));
                }
                naive.pay(from, to, taken);
            }
            let order = capture(hold, amount, is_final, *now);
            (holding::capture(accounts, holds, &order, || id(1)).is_ok(), fits.is_some())
        }
        Step::Release(hold) => {
            let fits = naive.promises.get(&hold).is_some_and(|promise| *now < promise.3);
            if fits {
                naive.promises.remove(&hold);
            }
            (holding::release(accounts, holds, (id(hold), at(*now))).is_ok(), fits)
        }
        Step::Expire(hold) => {
            let fits = naive.promises.get(&hold).is_some_and(|promise| *now >= promise.3);
            if fits {
                naive.promises.remove(&hold);
            }
            (holding::expire(accounts, holds, (id(hold), at(*now))).is_ok(), fits)
        }
    }
}

/// What must be true of a hold whatever happened.
fn is_consistent(hold: &Hold) -> bool {
    let kept = if hold.status.is_live() { hold.amount - hold.captured_amount } else { 0 };
    hold.remaining == kept
        && (0..=hold.amount).contains(&hold.captured_amount)
        && hold.status.is_live() == (hold.remaining > 0)
        && (hold.captured_amount > 0) == hold.last_transfer_id.is_some()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn random_holds_do_what_the_naive_bank_says(
        balances in prop::collection::vec(0_i64..1_500, 4),
        steps in prop::collection::vec(steps(), 1..150),
    ) {
        let mut accounts = world((0..4_u128).zip(&balances).map(|(number, &balance)| {
            AccountState { balance, ..account(number) }
        }));
        let mut holds: HashMap<Uuid, Hold> = HashMap::new();
        let mut naive = NaiveBank {
            balances: (0..4_u128).zip(balances.iter().copied()).collect(),
            ..NaiveBank::default()
        };
        let (mut now, mut number) = (0, 1_000);
        for one in steps {
            let before = (accounts.clone(), holds.clone());
            let said = format!("{one:?}");
            let moved = (&mut now, &mut number);
            let (done, expected) = step((&mut accounts, &mut holds), &mut naive, moved, one);
            prop_assert_eq!(done, expected, "{}", said);
            if !done {
                prop_assert_eq!((&accounts, &holds), (&before.0, &before.1), "{} left a trace", said);
            }
            for account in 0..4_u128 {
                let state = &accounts[&id(account)];
                prop_assert_eq!(state.balance, naive.balances[&account]);
                prop_assert_eq!(state.held, naive.held(account));
                prop_assert!(state.balance >= state.held && state.held >= 0);
            }
            prop_assert!(holds.values().all(is_consistent));
        }
        let total: i64 = accounts.values().map(|account| account.balance).sum();
        prop_assert_eq!(total, balances.iter().sum::<i64>());
    }
}
