//! What a plan promises before anything of it is stored.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;

use jiff::ToSpan as _;
use jiff::civil::{Date, Weekday, date};

use super::cast::plan;
use super::plan::{By, HISTORY_DAYS, Movement, Plan, Side, What};

/// Days at which months, years and weekends are in the way.
const DAYS: [Date; 8] = [
    date(2026, 11, 22),
    date(2026, 12, 1),
    date(2027, 1, 1),
    date(2027, 2, 28),
    date(2027, 3, 1),
    date(2028, 2, 29),
    date(2026, 5, 31),
    date(2027, 7, 6),
];

fn moves(plan: &Plan) -> impl Iterator<Item = (jiff::civil::DateTime, &Movement)> {
    plan.steps.iter().filter_map(|step| match &step.what {
        What::Move(movement) => Some((step.at, movement)),
        _ => None,
    })
}

#[test]
fn the_same_seed_gives_the_same_demo_and_another_seed_another() {
    let today = date(2026, 11, 22);
    assert_eq!(plan(1, today), plan(1, today));
    let (one, two) = (plan(1, today), plan(2, today));
    assert_ne!(one.people, two.people);
    assert_ne!(one.steps, two.steps);
    // Those who have a login are the same people whatever the seed.
    let names = |plan: &Plan| -> Vec<_> {
        plan.people.iter().filter_map(|person| person.username).collect()
    };
    assert_eq!(names(&one), names(&two));
}

#[test]
fn no_balance_is_ever_below_its_limit_on_the_day_or_as_of_the_day() {
    for seed in 0..6 {
        for today in DAYS {
            let plan = plan(seed, today);
            let mut balances = vec![0; plan.accounts.len()];
            let mut as_of: Vec<BTreeMap<Date, i64>> = vec![BTreeMap::new(); plan.accounts.len()];
            for (at, movement) in moves(&plan) {
                assert!(movement.amount > 0 && movement.from != movement.to);
                assert!(
                    at.date() < today && at.date() >= today.saturating_sub(HISTORY_DAYS.days())
                );
                assert!(movement.value_date <= at.date());
                for (side, sign) in [(movement.from, -1), (movement.to, 1)] {
                    let Side::Account(account) = side else { continue };
                    let planned = &plan.accounts[account];
                    assert_eq!(planned.currency, movement.currency);
                    assert!(planned.opened < movement.value_date);
                    balances[account] += sign * movement.amount;
                    *as_of[account].entry(movement.value_date).or_default() +=
                        sign * movement.amount;
                    assert!(
                        balances[account] >= -planned.overdraft_limit,
                        "{seed} {today} {movement:?}"
                    );
                }
            }
            for (planned, days) in plan.accounts.iter().zip(as_of) {
                let mut balance = 0;
                for (day, change) in days {
                    balance += change;
                    assert!(
                        balance >= -planned.overdraft_limit,
                        "{seed} {today} {} {day}",
                        planned.key
                    );
                }
            }
        }
    }
}

#[test]
fn everything_stands_in_order_of_time() {
    let plan = plan(1, date(2026, 11, 22));
    assert!(plan.steps.is_sorted_by_key(|step| step.at));
    assert!((2_500..20_000).contains(&plan.steps.len()), "{}", plan.steps.len());
}

#[test]
fn the_first_customer_has_two_accounts_with_ten_entries_and_a_hundred_each() {
    for seed in 0..6 {
        for today in DAYS {
            let plan = plan(seed, today);
            let first =
                plan.people.iter().position(|one| one.username == Some("customer")).unwrap();
            let own: Vec<_> =
                (0..plan.accounts.len()).filter(|at| plan.accounts[*at].owner == first).collect();
            assert_eq!(own.len(), 2);
            for account in own {
                let mut balance = 0;
                let mut entries = 0;
                for (_, movement) in moves(&plan) {
                    let own = Side::Account(account);
                    balance += i64::from(movement.to == own) * movement.amount;
                    balance -= i64::from(movement.from == own) * movement.amount;
                    entries += usize::from(movement.to == own || movement.from == own);
                }
                assert_eq!(plan.accounts[account].currency, "EUR");
                assert!(entries >= 10 && balance >= 10_000, "{seed} {today} {entries} {balance}");
            }
        }
    }
}

#[test]
fn everybodys_life_has_its_rhythm() {
    for today in DAYS {
        let plan = plan(3, today);
        let count = |wanted: &dyn Fn(jiff::civil::DateTime, &Movement) -> bool| {
            moves(&plan).filter(|(at, movement)| wanted(*at, movement)).count()
        };
        let cards = |from: i8, to: i8| {
            count(&|at, movement| {
                movement.text.starts_with("Card purchase") && (from..to).contains(&at.hour())
            })
        };
        assert_eq!(cards(0, 7), 0, "nobody buys bread before seven");
        assert!(cards(18, 23) > 200 && cards(7, 11) > 200, "{today}");
        assert_eq!(
            count(&|at, movement| movement.text.starts_with("Salary")
                && matches!(at.weekday(), Weekday::Saturday | Weekday::Sunday)),
            0
        );
        assert!(count(&|_, movement| movement.text.starts_with("Salary")) > 60, "{today}");
        assert!(
            count(&|at, movement| movement.text.starts_with("Rent ") && at.day() == 1) > 80,
            "{today}"
        );
        assert_eq!(count(&|at, movement| movement.text.starts_with("Rent ") && at.day() != 1), 0);
        let per_day = |day: Weekday| {
            count(&|at, movement| movement.text.starts_with("Card purchase") && at.weekday() == day)
        };
        assert!(per_day(Weekday::Saturday) > per_day(Weekday::Sunday) * 3 / 2, "{today}");
        assert!(count(&|_, movement| matches!(movement.by, By::Customer(_))) >= 5, "{today}");
        assert!(count(&|_, movement| movement.by == By::Teller) >= 8, "{today}");
        assert!(count(&|at, movement| movement.value_date < at.date()) >= 10, "{today}");
        for word in [
            "VAT ",
            "Invoice 2026-",
            "Interest ",
            "Account fee ",
            "Overdraft interest",
            "Correction ·",
            "Night safe",
        ] {
            assert!(count(&|_, movement| movement.text.starts_with(word)) > 0, "{word} {today}");
        }
        let happens = |wanted: &dyn Fn(&What) -> bool| {
            plan.steps.iter().filter(|step| wanted(&step.what)).count()
        };
        assert_eq!(happens(&|what| matches!(what, What::Freeze(_))), 1, "{today}");
        assert_eq!(happens(&|what| matches!(what, What::Close(_))), 1, "{today}");
        assert_eq!(happens(&|what| matches!(what, What::Refused(_))), 2, "{today}");
        assert_eq!(happens(&|what| matches!(what, What::Reversal(_))), 1, "{today}");
    }
}

#[test]
fn people_are_valid_customers_with_texts_that_fit() {
    for seed in 0..6 {
        let today = date(2026, 11, 22);
        let plan = plan(seed, today);
        for person in &plan.people {
            person.personal.check(person.customer_type, today).unwrap();
            let address = person.personal.email.clone().unwrap();
            assert!(address.ends_with("example.com") && address.is_ascii(), "{address}");
        }
        let distinct = |of: &dyn Fn(&super::plan::Person) -> String| {
            plan.people.iter().map(of).collect::<std::collections::BTreeSet<_>>().len()
        };
        assert_eq!(distinct(&|one| one.key.clone()), plan.people.len());
        assert_eq!(distinct(&|one| one.personal.tax_id.clone().unwrap()), plan.people.len());
        assert_eq!(distinct(&|one| one.personal.email.clone().unwrap()), plan.people.len());
        assert!(plan.people.len() > 50);
        for (_, movement) in moves(&plan) {
            for text in [Some(&movement.text), movement.reference.as_ref()].into_iter().flatten() {
                assert!((1..=140).contains(&text.chars().count()), "{text}");
            }
        }
    }
}
