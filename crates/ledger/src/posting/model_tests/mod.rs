//! Thousands of random banks, each order held against the reference ledger: the same
//! result, the same books, and every invariant of the ledger after every step. No
//! database: the engine's own book over tables in memory.
//!
//! `STRONGROOM_SEED=<n> cargo nextest run -p ledger model_tests` repeats one bank; a
//! failure names its seed and prints the shortest sequence that still fails.
//! `STRONGROOM_MODEL_SEEDS` says how many banks.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod dice;
mod invariants;
mod reference;
mod run;
mod steps;
mod store;

use std::{
    collections::BTreeMap,
    panic::{self, AssertUnwindSafe},
    thread,
};

use run::{Bank, Seen};
use steps::{Trace, trace};

/// Banks of one run.
const SEEDS: u64 = 5_000;
/// As many as there are cores on the smallest machine that this is built on.
const THREADS: u64 = 2;

#[test]
fn random_banks_do_what_the_reference_ledger_says() {
    if let Some(seed) = dice::number("STRONGROOM_SEED") {
        judge(seed);
        return;
    }
    let seeds = dice::number("STRONGROOM_MODEL_SEEDS").unwrap_or(SEEDS);
    let part = |thread: u64| {
        let mut seen = BTreeMap::new();
        for seed in (thread..seeds).step_by(usize::try_from(THREADS).unwrap()) {
            merge(&mut seen, judge(seed));
        }
        seen
    };
    let seen = thread::scope(|scope| {
        let parts: Vec<_> = (0..THREADS).map(|thread| scope.spawn(move || part(thread))).collect();
        let mut seen = BTreeMap::new();
        for part in parts {
            merge(&mut seen, part.join().expect("a judged bank"));
        }
        seen
    });
    if seeds >= SEEDS {
        assert_everything_was_met(&seen);
    }
}

/// A sequence that never reaches a rule says nothing of it.
fn assert_everything_was_met(seen: &Seen) {
    let expected = [
        "Authorise AccountClosed",
        "Authorise AccountFrozen",
        "Authorise AmountTooLarge",
        "Authorise CurrencyMismatch",
        "Authorise HoldExpired",
        "Authorise InsufficientFunds",
        "Authorise InvalidAmount",
        "Authorise SameAccount",
        "Authorise UnknownAccount",
        "Authorise ok",
        "Capture AccountFrozen",
        "Capture AmountTooLarge",
        "Capture BalanceOutOfRange",
        "Capture ExceedsHold",
        "Capture HoldCaptured",
        "Capture HoldExpired",
        "Capture HoldReleased",
        "Capture InvalidAmount",
        "Capture UnknownHold",
        "Capture ok",
        "Expire HoldCaptured",
        "Expire HoldExpired",
        "Expire HoldNotDue",
        "Expire HoldReleased",
        "Expire ok",
        "Post AccountClosed",
        "Post AccountFrozen",
        "Post AmountTooLarge",
        "Post BalanceOutOfRange",
        "Post CurrencyMismatch",
        "Post InsufficientFunds",
        "Post InvalidAmount",
        "Post SameAccount",
        "Post Unbalanced",
        "Post UnknownAccount",
        "Post ok",
        "Release HoldExpired",
        "Release HoldReleased",
        "Release ok",
    ];
    for name in expected {
        let count = seen.get(name).copied().unwrap_or_default();
        assert!(count >= 3, "{name} was met {count} times: {seen:#?}");
    }
}

fn merge(all: &mut Seen, more: Seen) {
    for (name, count) in more {
        *all.entry(name).or_default() += count;
    }
}

/// Runs one bank; where it fails, finds the shortest sequence that still does.
fn judge(seed: u64) -> Seen {
    let whole = trace(seed);
    let first = match run(&whole) {
        Ok(met) => return met,
        Err(first) => first,
    };
    let (shortest, said) = shrink(whole, first);
    let listed: Vec<String> =
        shortest.iter().map(|(batch, step)| format!("  batch {batch}: {step:?}")).collect();
    panic!(
        "STRONGROOM_SEED={seed}: {said}\n{} orders suffice:\n{}",
        shortest.len(),
        listed.join("\n")
    );
}

/// A fault of the engine may be a panic as well: an overflow, a broken assertion.
fn run(trace: &Trace) -> Result<Seen, String> {
    panic::catch_unwind(AssertUnwindSafe(|| Bank::new().run(trace))).unwrap_or_else(|panic| {
        let said = panic.downcast_ref::<String>().cloned();
        Err(said.unwrap_or_else(|| "the engine panicked".to_owned()))
    })
}

/// Leaves out ever smaller pieces as long as something is still wrong.
fn shrink(mut trace: Trace, mut said: String) -> (Trace, String) {
    let mut size = trace.len().div_ceil(2);
    loop {
        let mut at = 0;
        while at < trace.len() {
            let mut shorter = trace.clone();
            shorter.drain(at..(at + size).min(trace.len()));
            match run(&shorter) {
                Err(still) => (trace, said) = (shorter, still),
                Ok(_) => at += size,
            }
        }
        if size <= 1 {
            return (trace, said);
        }
        size = size.div_ceil(2);
    }
}
