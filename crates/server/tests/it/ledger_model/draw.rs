//! Random orders to a bank, some of them at the very edge of what it can do.

use super::{
    bank::{Bank, INTERNAL, Order, internal},
    dice::Dice,
};

const MAX: i64 = (1 << 53) - 1;
/// Plain, plain, plain, with an overdraft, with a minimum, in koruna.
pub(super) const ACCOUNTS: [u64; 6] = [1, 2, 3, 4, 5, 6];
/// Nobody's, and one of another tenant.
pub(super) const UNKNOWN: u64 = 900;
pub(super) const FOREIGN: u64 = 901;

/// What arrives together.
pub(super) enum Step {
    Wait(i64),
    /// In this order, in one call; how many transactions that becomes is the group's business.
    Transfers(Vec<(Option<String>, Order)>),
    /// Orders of one kind, in this order, in one transaction.
    Batch(Vec<Order>),
    /// At the same moment, in whatever order.
    Race(Vec<Order>),
    One(Order),
}

pub(super) fn step(dice: &mut Dice, bank: &Bank, keyed: &[(String, Order)], at: u64) -> Step {
    match dice.between(0, 19) {
        0 => Step::Wait(dice.of(&[600, 40_000, 90_000])),
        1..=5 => {
            let count = dice.between(1, 6);
            let mut orders: Vec<(Option<String>, Order)> = Vec::new();
            for number in 0..count {
                let all: Vec<(String, Order)> = (orders.iter())
                    .filter_map(|(key, order)| Some((key.clone()?, order.clone())))
                    .chain(keyed.iter().cloned())
                    .collect();
                orders.push(transfer_under_key(dice, bank, &all, &format!("k-{at}-{number}")));
            }
            Step::Transfers(orders)
        }
        6 => Step::Batch((0..dice.between(2, 5)).map(|_| authorise(dice, bank)).collect()),
        7 => Step::Batch((0..dice.between(2, 5)).map(|_| capture(dice, bank)).collect()),
        8..=10 => Step::Race((0..dice.between(2, 4)).map(|_| order(dice, bank)).collect()),
        _ => Step::One(order(dice, bank)),
    }
}

fn transfer_under_key(
    dice: &mut Dice,
    bank: &Bank,
    all: &[(String, Order)],
    fresh: &str,
) -> (Option<String>, Order) {
    if !all.is_empty() && dice.percent(25) {
        let (key, mut order) =
            all[usize::try_from(dice.next() % all.len() as u64).unwrap()].clone();
        if dice.percent(20)
            && let Order::Transfer { amount, .. } = &mut order
        {
            *amount = amount.wrapping_add(1);
        }
        return (Some(key), order);
    }
    (dice.percent(40).then(|| fresh.to_owned()), transfer(dice, bank))
}

pub(super) fn order(dice: &mut Dice, bank: &Bank) -> Order {
    match dice.between(0, 29) {
        0..=5 => transfer(dice, bank),
        6 | 7 => {
            let (account, currency, day) = (account(dice), own_or(dice), day(dice, bank));
            Order::Deposit { account, amount: plain_amount(dice), currency, day }
        }
        8 | 9 => {
            let account = account(dice);
            let amount = amount(dice, bank, account, account);
            Order::Withdraw { account, amount, currency: own_or(dice), day: day(dice, bank) }
        }
        10 => {
            let account = account(dice);
            Order::Fee { account, amount: plain_amount(dice), currency: own_or(dice) }
        }
        11..=13 => {
            let made: Vec<u64> = bank.transfers.keys().rev().take(12).copied().collect();
            let transfer =
                if made.is_empty() || dice.percent(5) { UNKNOWN } else { dice.of(&made) };
            Order::Reverse { transfer, day: day(dice, bank) }
        }
        14..=16 => journal(dice, bank),
        17..=19 => authorise(dice, bank),
        20..=22 => capture(dice, bank),
        23 => Order::Release { hold: hold(dice, bank) },
        24 => Order::Expire,
        25 | 26 => Order::Freeze { account: customer(dice), is_frozen: dice.percent(40) },
        27 => {
            let limit = dice.of(&[0, 100, 700, MAX, MAX + 1, -1]);
            Order::Overdraft { account: customer(dice), limit }
        }
        28 => {
            let minimum = dice.of(&[None, None, Some(0), Some(80), Some(MAX + 1)]);
            Order::Minimum { account: customer(dice), minimum }
        }
        _ => Order::Close { account: customer(dice) },
    }
}

fn transfer(dice: &mut Dice, bank: &Bank) -> Order {
    let (from, mut to) = (account(dice), account(dice));
    if dice.percent(3) {
        to = internal("cash", "EUR");
    }
    let currency = if dice.percent(94) { "EUR" } else { "CZK" };
    Order::Transfer { from, to, amount: amount(dice, bank, from, to), currency }
}

fn journal(dice: &mut Dice, bank: &Bank) -> Order {
    let currency = if dice.percent(95) { "EUR" } else { "CZK" };
    let mut entries: Vec<(u64, i64)> = Vec::new();
    for _ in 0..dice.between(0, 5) {
        let account =
            if dice.percent(30) { internal(dice.of(&INTERNAL), currency) } else { account(dice) };
        let is_double = entries.iter().any(|entry| entry.0 == account);
        if !is_double || dice.percent(20) {
            let exact = if dice.percent(94) { dice.between(-200, 200) } else { extreme(dice) };
            entries.push((account, exact));
        }
    }
    // One in ten is left as it is, and then hardly ever sums to zero.
    if dice.percent(90) {
        let account = internal(dice.of(&INTERNAL), currency);
        entries.retain(|entry| entry.0 != account);
        let rest = -entries.iter().map(|entry| i128::from(entry.1)).sum::<i128>();
        entries.push((account, i64::try_from(rest).unwrap_or(i64::MIN)));
    }
    Order::Journal { entries, currency, day: day(dice, bank) }
}

fn authorise(dice: &mut Dice, bank: &Bank) -> Order {
    let account = account(dice);
    let to = if dice.percent(40) { None } else { Some(self::account(dice)) };
    let seconds = dice.of(&[1, 700, 50_000, 200_000, 0, -5, 30 * 86_400, 30 * 86_400 + 1]);
    let amount = amount(dice, bank, account, to.unwrap_or(account));
    Order::Authorise { account, to, amount, currency: own_or(dice), seconds }
}

fn capture(dice: &mut Dice, bank: &Bank) -> Order {
    let hold = hold(dice, bank);
    let left = bank.books.holds.get(&hold).map_or(0, super::reference::Hold::remaining);
    let left = i64::try_from(left).unwrap();
    let amount = match dice.between(0, 9) {
        0..=2 => None,
        3..=6 => Some(dice.between(1, 150)),
        7 => Some(left),
        8 => Some(left + 1),
        _ => Some(extreme(dice)),
    };
    Order::Capture { hold, amount, is_final: dice.percent(35) }
}

fn hold(dice: &mut Dice, bank: &Bank) -> u64 {
    let made: Vec<u64> = bank.books.holds.keys().rev().take(5).copied().collect();
    if made.is_empty() || dice.percent(4) { UNKNOWN } else { dice.of(&made) }
}

fn account(dice: &mut Dice) -> u64 {
    match dice.between(0, 39) {
        0 => UNKNOWN,
        1 => FOREIGN,
        2 | 3 => 6,
        _ => dice.of(&ACCOUNTS[..5]),
    }
}

fn customer(dice: &mut Dice) -> u64 {
    if dice.percent(5) { dice.of(&[UNKNOWN, FOREIGN]) } else { dice.of(&ACCOUNTS) }
}

fn own_or(dice: &mut Dice) -> Option<&'static str> {
    dice.of(&[None, None, None, None, Some("EUR"), Some("EUR"), Some("CZK")])
}

fn day(dice: &mut Dice, bank: &Bank) -> Option<i32> {
    let days_ago = i32::try_from(dice.between(-1, 3)).unwrap();
    dice.percent(45).then(|| bank.today() - days_ago)
}

fn plain_amount(dice: &mut Dice) -> i64 {
    match dice.between(0, 19) {
        0 => dice.between(-2, 0),
        1 => extreme(dice),
        _ => dice.between(1, 800),
    }
}

fn amount(dice: &mut Dice, bank: &Bank, from: u64, to: u64) -> i64 {
    let exact = |amount: i128| i64::try_from(amount).unwrap();
    match dice.between(0, 9) {
        0 | 1 => exact(bank.books.available(from)) + dice.between(-1, 1),
        2 if dice.percent(20) => {
            let balance =
                bank.books.accounts.get(&to).map_or(0, super::reference::Account::balance);
            MAX - exact(balance) + dice.between(-1, 1)
        }
        3 => plain_amount(dice),
        _ => dice.between(1, 300),
    }
}

fn extreme(dice: &mut Dice) -> i64 {
    dice.of(&[MAX, MAX + 1, MAX - 1, i64::MAX, i64::MIN, i64::MIN + 1, -MAX])
}
