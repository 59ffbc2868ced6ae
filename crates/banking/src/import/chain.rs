//! The order of a day's movements, and what their published balances tell.
//!
//! Sources seldom say in which order a day's movements were posted, but the
//! balance published after each does: the right order is the one in which every
//! balance follows from its predecessor. Credits are tried first, so that where
//! nothing is published (or nothing fits) a day's credits come before its debits
//! and no account is overdrawn by mere order.

/// Days with more movements than this are not searched: the number of orders
/// explodes, and credits-first is taken.
const SEARCHED_MOVEMENTS_MAX: usize = 12;

/// A movement of one account on one day.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Movement {
    /// Signed minor units, credit positive.
    pub amount: i64,
    /// The balance published after it, in minor units.
    pub published: Option<i64>,
}

/// How well an account's published balances follow from its movements.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Fit {
    /// Each published balance equals the computed one.
    Exact,
    /// Each follows from its predecessor within the stated rounding; the sum of
    /// the roundings is the difference.
    Rounded,
    /// All but the last day follow, and the file is cut off inside that day: a
    /// movement of it is missing.
    CutOff,
    /// Something else: to be looked at by a person.
    Unexplained,
}

impl Fit {
    /// The name in reports.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Exact => "exact",
            Self::Rounded => "rounded",
            Self::CutOff => "cut_off",
            Self::Unexplained => "unexplained",
        }
    }
}

/// The order in which one day's movements are posted, as positions into `day`.
///
/// `before` is the last published balance (zero for a new account); `tolerance`
/// the rounding in minor units.
pub fn order(day: &[Movement], before: i64, tolerance: i64) -> Vec<usize> {
    let mut fallback: Vec<usize> = (0..day.len()).collect();
    fallback.sort_by_key(|&at| day[at].amount < 0);
    if day.len() < 2
        || day.len() > SEARCHED_MOVEMENTS_MAX
        || day.iter().any(|one| one.published.is_none())
    {
        return fallback;
    }
    let mut found = Vec::with_capacity(day.len());
    // An exact order is better than one that merely fits within the rounding.
    for allowed in [0, tolerance] {
        if search(day, &fallback, before, allowed, &mut found) {
            return found;
        }
    }
    fallback
}

fn search(
    day: &[Movement],
    candidates: &[usize],
    before: i64,
    tolerance: i64,
    found: &mut Vec<usize>,
) -> bool {
    if found.len() == day.len() {
        return true;
    }
    for &at in candidates {
        let Some(published) = day[at].published else { continue };
        if found.contains(&at) || residual(&day[at], before) > tolerance {
            continue;
        }
        found.push(at);
        if search(day, candidates, published, tolerance, found) {
            return true;
        }
        found.pop();
    }
    false
}

/// By how much a published balance misses its predecessor plus the movement.
fn residual(movement: &Movement, before: i64) -> i64 {
    movement.published.map_or(0, |published| (published - before - movement.amount).abs())
}

/// Judges an account's movements in posted order. `in_cut_day` says of each
/// whether it falls on the day in which the file ends unfinished.
pub fn fit(movements: &[Movement], in_cut_day: &[bool], tolerance: i64) -> Fit {
    let (mut computed, mut before) = (0_i64, 0_i64);
    let mut worst = Fit::Exact;
    for (movement, &cut) in movements.iter().zip(in_cut_day) {
        computed += movement.amount;
        let Some(published) = movement.published else { continue };
        let step = if published == computed {
            Fit::Exact
        } else if residual(movement, before) <= tolerance {
            Fit::Rounded
        } else if cut {
            Fit::CutOff
        } else {
            Fit::Unexplained
        };
        worst = worst.max(step);
        before = published;
    }
    worst
}

#[cfg(test)]
mod tests {
    use super::{Fit, Movement, fit, order};

    fn movement(amount: i64, published: i64) -> Movement {
        Movement { amount, published: Some(published) }
    }

    #[test]
    fn the_published_balances_decide_the_order() {
        // before, movements (amount, published), tolerance, expected order
        type Case<'a> = (i64, &'a [(i64, i64)], i64, &'a [usize]);
        let table: &[Case<'_>] = &[
            (0, &[(-30, 70), (100, 100)], 0, &[1, 0]),
            (50, &[(-50, 0), (100, 100)], 0, &[0, 1]),
            (0, &[(-30, 71), (100, 100)], 0, &[1, 0]),
            (10, &[(5, 14), (-3, 8)], 1, &[1, 0]),
            (0, &[(10, 10)], 0, &[0]),
        ];
        for (before, day, tolerance, expected) in table {
            let day: Vec<_> =
                day.iter().map(|&(amount, published)| movement(amount, published)).collect();
            assert_eq!(order(&day, *before, *tolerance), *expected, "{day:?}");
        }
    }

    #[test]
    fn without_published_balances_credits_come_first() {
        let day = [-5, 7, -1, 2].map(|amount| Movement { amount, published: None });
        assert_eq!(order(&day, 0, 0), [1, 3, 0, 2]);
    }

    #[test]
    fn a_difference_is_named_by_its_cause() {
        let exact = [movement(100, 100), movement(-30, 70)];
        assert_eq!(fit(&exact, &[false, false], 10), Fit::Exact);
        let rounded = [movement(100, 104), movement(-30, 74)];
        assert_eq!(fit(&rounded, &[false, false], 10), Fit::Rounded);
        assert_eq!(fit(&rounded, &[false, false], 1), Fit::Unexplained);
        let cut = [movement(100, 100), movement(-30, 400)];
        assert_eq!(fit(&cut, &[false, true], 10), Fit::CutOff);
        assert_eq!(fit(&cut, &[false, false], 10), Fit::Unexplained);
    }
}
