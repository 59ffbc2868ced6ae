//! Random orders, drawn from a seed before anything runs: none depends on what became
//! of the others, so that any of them can be left out and the rest still means something.

use super::dice::Dice;

/// Customers' accounts: 1 to 4 plain, 5 with an overdraft, 6 with a minimum, 7 and 8 in
/// koruna, 11 to 13 with nothing that is ever put in from outside; 9 and 10 are the
/// bank's own in euro and koruna. Others are nobody's.
pub(super) const CUSTOMERS: [u64; 11] = [1, 2, 3, 4, 5, 6, 7, 8, 11, 12, 13];
const EURO: [u64; 9] = [1, 2, 3, 4, 5, 6, 11, 12, 13];
const MAX: i64 = (1 << 53) - 1;
/// Of no hold.
pub(super) const UNKNOWN_HOLD: u64 = 1_000;

/// How much, known only when it is asked for.
#[derive(Clone, Copy, Debug)]
pub(super) enum Amount {
    Exactly(i64),
    /// What can be taken out of the paying account (what remains of the hold), and so
    /// much more.
    All(i64),
    /// What the paid account can still take, and so much more.
    Room(i64),
}

#[derive(Clone, Debug)]
pub(super) enum Step {
    Pay {
        from: u64,
        to: u64,
        amount: Amount,
        currency: &'static str,
        how: How,
    },
    Post {
        legs: Vec<(u64, i64)>,
        amount: i64,
        currency: &'static str,
        how: How,
    },
    Authorise {
        from: u64,
        to: u64,
        to_internal: bool,
        amount: Amount,
        seconds: i64,
    },
    /// Holds are counted as they are made; the count goes round.
    Capture {
        hold: u64,
        amount: Option<Amount>,
        is_final: bool,
    },
    Release {
        hold: u64,
    },
    Expire {
        hold: u64,
    },
    Status {
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
    Wait {
        seconds: i64,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum How {
    /// On a customer's order.
    Ordered,
    /// By the bank, which may name its own accounts.
    Booked,
    /// History, posted below the floor as well.
    Waived,
}

/// Orders with the number of the batch that they come in.
pub(super) type Trace = Vec<(u32, Step)>;

/// Some sixty orders.
pub(super) fn trace(seed: u64) -> Trace {
    let mut dice = Dice::new(seed);
    // One bank in five moves amounts at the end of the range.
    let is_rich = dice.percent(20);
    let mut trace = Vec::new();
    for account in EURO.into_iter().take(6).chain([7]) {
        let (bank, currency) = if account == 7 { (10, "CZK") } else { (9, "EUR") };
        let amount = if is_rich && account < 3 { MAX / 2 } else { dice.between(1, 2_000) };
        let (amount, how) = (Amount::Exactly(amount), How::Booked);
        trace.push((0, Step::Pay { from: bank, to: account, amount, currency, how }));
    }
    for batch in 1.. {
        if trace.len() >= 60 {
            break;
        }
        burst(&mut dice, batch, &mut trace);
    }
    trace
}

/// One to six orders of a family, which may share a batch.
fn burst(dice: &mut Dice, batch: u32, trace: &mut Trace) {
    let family = dice.between(0, 19);
    let count = if family >= 16 { 1 } else { dice.between(1, 6) };
    for _ in 0..count {
        let step = match family {
            0..=4 => pay(dice),
            5..=7 => post(dice),
            8..=10 => authorise(dice),
            11..=13 => Step::Capture {
                hold: hold(dice),
                amount: if dice.percent(40) { None } else { Some(amount(dice)) },
                is_final: dice.percent(35),
            },
            14 => Step::Release { hold: hold(dice) },
            15 => Step::Expire { hold: hold(dice) },
            16 => Step::Wait { seconds: dice.between(1, 40) },
            17 => Step::Status { account: customer(dice), is_frozen: dice.percent(40) },
            18 => limit(dice),
            _ => Step::Close { account: customer(dice) },
        };
        trace.push((batch, step));
    }
}

fn limit(dice: &mut Dice) -> Step {
    let account = customer(dice);
    if dice.percent(50) {
        Step::Overdraft { account, limit: dice.of(&[0, 0, 100, 500, 2_000, MAX, MAX + 1, -1]) }
    } else {
        let minimum = dice.of(&[None, None, Some(0), Some(50), Some(300), Some(MAX), Some(-1)]);
        Step::Minimum { account, minimum }
    }
}

fn pay(dice: &mut Dice) -> Step {
    let how = if dice.percent(65) { How::Ordered } else { how(dice) };
    let (mut from, mut to) = (account(dice), account(dice));
    if how != How::Ordered && dice.percent(50) {
        let side = if dice.percent(50) { &mut from } else { &mut to };
        *side = 9;
    }
    Step::Pay { from, to, amount: amount(dice), currency: currency(dice), how }
}

fn post(dice: &mut Dice) -> Step {
    let count = dice.between(1, 6);
    let mut legs: Vec<(u64, i64)> = Vec::new();
    for _ in 0..count {
        let account = if dice.percent(25) { 9 } else { account(dice) };
        let exact = if dice.percent(95) { dice.between(-300, 300) } else { extreme(dice) };
        legs.push((account, exact));
    }
    let sum: i128 = legs.iter().map(|leg| i128::from(leg.1)).sum();
    if dice.percent(90) {
        let rest = i64::try_from(-sum).unwrap_or(i64::MIN);
        legs.push((account(dice), rest));
    }
    let credits: i128 = legs.iter().map(|leg| i128::from(leg.1.max(0))).sum();
    let amount = if dice.percent(95) {
        i64::try_from(credits).unwrap_or(i64::MAX)
    } else {
        dice.between(-1, 400)
    };
    Step::Post { legs, amount, currency: currency(dice), how: how(dice) }
}

fn authorise(dice: &mut Dice) -> Step {
    let (from, mut to) = (account(dice), account(dice));
    let to_internal = dice.percent(20);
    if to_internal && dice.percent(90) {
        to = 9;
    }
    let seconds = if dice.percent(5) { dice.between(-1, 0) } else { dice.between(1, 120) };
    Step::Authorise { from, to, to_internal, amount: amount(dice), seconds }
}

fn how(dice: &mut Dice) -> How {
    dice.of(&[How::Ordered, How::Booked, How::Booked, How::Booked, How::Waived])
}

fn account(dice: &mut Dice) -> u64 {
    match dice.between(0, 24) {
        0 => 7,
        1 => 8,
        2 => 9,
        3 => 90,
        _ => dice.of(&EURO),
    }
}

fn customer(dice: &mut Dice) -> u64 {
    if dice.percent(3) { 90 } else { dice.of(&CUSTOMERS) }
}

/// Of the last few: those are the ones that still live.
fn hold(dice: &mut Dice) -> u64 {
    if dice.percent(2) { UNKNOWN_HOLD } else { dice.next() % 5 }
}

fn currency(dice: &mut Dice) -> &'static str {
    if dice.percent(92) { "EUR" } else { "CZK" }
}

fn amount(dice: &mut Dice) -> Amount {
    match dice.between(0, 19) {
        0..=12 => Amount::Exactly(dice.between(1, 600)),
        13..=15 => Amount::All(dice.between(-1, 1)),
        16 => Amount::Room(dice.between(-1, 1)),
        17 => Amount::Exactly(dice.between(-3, 0)),
        _ => Amount::Exactly(extreme(dice)),
    }
}

fn extreme(dice: &mut Dice) -> i64 {
    let ends =
        [MAX - 1, MAX, MAX + 1, MAX / 2, -MAX, i64::MAX, i64::MIN, i64::MIN + 1, i64::MAX - 1];
    dice.of(&ends)
}
