//! The windows against a naive log of every admitted hit, and their memory.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::sync::atomic::{AtomicU32, Ordering};

use proptest::prelude::*;
use uuid::Uuid;

use super::{Key, Quota, RateWindows, SLOTS, Subject};

fn key(number: u128) -> Key {
    let user = Uuid::from_u128(number);
    Key { subject: Subject::User { tenant: Uuid::nil(), user }, class: "read" }
}

fn hits_since(log: &[i64], after_ms: i64) -> usize {
    log.iter().filter(|at_ms| **at_ms > after_ms).count()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// Never more than the quota in any true window; never refused where a window
    /// one slot longer has room; admitted again after the seconds it named.
    #[test]
    fn agrees_with_a_naive_log(
        limit in 0_u32..8,
        period_s in 1_u32..120,
        gaps in proptest::collection::vec((0_i64..40_000, 0_u128..2), 1..120),
    ) {
        let windows = RateWindows::default();
        let quota = Quota { limit, period_s };
        let period_ms = i64::from(period_s) * 1_000;
        let slot_ms = (period_ms + SLOTS - 1) / SLOTS;
        let mut logs = [Vec::new(), Vec::new()];
        let mut now_ms = 1_700_000_000_000_i64;
        for (gap_ms, who) in gaps {
            now_ms += gap_ms;
            let log = &mut logs[usize::try_from(who).unwrap()];
            let verdict = windows.hit(&[(key(who), quota)], now_ms);
            let in_window = hits_since(log, now_ms - period_ms);
            let in_longer_window = hits_since(log, now_ms - (SLOTS + 1) * slot_ms);
            if verdict.allowed() {
                prop_assert!(in_window < limit as usize);
                log.push(now_ms);
            } else {
                prop_assert!(in_longer_window >= limit as usize);
            }
            prop_assert!(verdict.left[0].remaining <= limit);
            prop_assert!(verdict.left[0].reset_s <= u64::from(period_s));
        }
    }

    #[test]
    fn waiting_as_told_is_enough(limit in 1_u32..6, period_s in 1_u32..120, gaps in proptest::collection::vec(0_i64..5_000, 1..40)) {
        let windows = RateWindows::default();
        let quota = Quota { limit, period_s };
        let mut now_ms = 1_700_000_000_000_i64;
        for gap_ms in gaps {
            now_ms += gap_ms;
            if let Some(wait_s) = windows.hit(&[(key(1), quota)], now_ms).retry_after_s {
                prop_assert!((1..=u64::from(period_s)).contains(&wait_s));
                now_ms += i64::try_from(wait_s).unwrap() * 1_000;
                prop_assert!(windows.hit(&[(key(1), quota)], now_ms).allowed());
            }
        }
    }
}

#[test]
fn parallel_hits_are_admitted_exactly_up_to_the_quota() {
    let windows = RateWindows::default();
    let admitted = AtomicU32::new(0);
    let quota = Quota { limit: 100, period_s: 60 };
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for _ in 0..200 {
                    let pair = [(key(1), quota), (key(2), quota)];
                    if windows.hit(&pair, 1_700_000_000_000).allowed() {
                        admitted.fetch_add(1, Ordering::Relaxed);
                    }
                }
            });
        }
    });
    assert_eq!(admitted.load(Ordering::Relaxed), 100);
}

#[test]
fn a_full_window_leaves_the_others_uncounted() {
    let windows = RateWindows::default();
    let (narrow, wide) = (Quota { limit: 1, period_s: 60 }, Quota { limit: 10, period_s: 60 });
    let pair = [(key(1), narrow), (key(2), wide)];
    assert!(windows.hit(&pair, 0).allowed());
    for _ in 0..20 {
        assert!(!windows.hit(&pair, 0).allowed());
    }
    assert_eq!(windows.hit(&[(key(2), wide)], 0).left[0].remaining, 8);
}

#[test]
fn memory_is_bounded_and_a_flood_displaces_itself() {
    let windows = RateWindows::with_windows_max(4);
    let quota = Quota { limit: 3, period_s: 60 };
    for _ in 0..3 {
        assert!(windows.hit(&[(key(0), quota)], 0).allowed());
    }
    for stranger in 1..10_000 {
        windows.hit(&[(key(stranger), quota)], 0);
    }
    assert!(windows.len() <= 4 * super::SHARDS);
    assert!(!windows.hit(&[(key(0), quota)], 0).allowed(), "the full window was kept");
}

#[test]
fn the_windows_of_one_check_do_not_displace_each_other() {
    // Of full shards as of half full ones, with strangers or without.
    for windows_max in 1..4 {
        let windows = RateWindows::with_windows_max(windows_max);
        let same_shard = |other: &Key| windows.shard_of(other) == windows.shard_of(&key(0));
        let mut neighbours = (1..).map(key).filter(same_shard);
        let (first, second) = (key(0), neighbours.next().unwrap());
        let quota = Quota { limit: 3, period_s: 60 };
        for stranger in neighbours.take(3) {
            windows.hit(&[(stranger, quota)], 0);
        }
        let left = [(); 3].map(|()| {
            let verdict = windows.hit(&[(first, quota), (second, quota)], 0);
            (verdict.allowed(), verdict.left.map(|left| left.remaining))
        });
        let counted = [(true, [2, 2]), (true, [1, 1]), (true, [0, 0])];
        assert_eq!(left, counted, "at most {windows_max} windows");
        assert!(!windows.hit(&[(first, quota)], 0).allowed(), "at most {windows_max} windows");
        assert!(!windows.hit(&[(second, quota)], 0).allowed(), "at most {windows_max} windows");
    }
}

#[test]
fn addresses_are_counted_as_sources() {
    let of = |text: &str| Subject::address(Some(text.parse().unwrap()));
    assert_eq!(of("2001:db8:1:2::1"), of("2001:db8:1:2:ffff::9"));
    assert_ne!(of("2001:db8:1:2::1"), of("2001:db8:1:3::1"));
    assert_eq!(Subject::address(None), Subject::Unknown);
}

#[test]
fn a_clock_that_goes_back_stands_still() {
    let windows = RateWindows::default();
    let quota = Quota { limit: 2, period_s: 60 };
    assert!(windows.hit(&[(key(1), quota)], 120_000).allowed());
    assert!(windows.hit(&[(key(1), quota)], 0).allowed());
    assert!(!windows.hit(&[(key(1), quota)], 60_000).allowed());
}
