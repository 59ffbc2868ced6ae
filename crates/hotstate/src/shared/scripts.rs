//! Owns the scripts that run in the store, and reading what they answer: numbers within
//! the bounds that our scripts keep, or nothing. Refuses to send them.

use crate::{
    block::{BlockRule, Charge},
    rate::{Key, Left, Quota, Verdict},
};

/// The store's own clock: one for all nodes, whatever theirs say.
const STORE_CLOCK: &str = "local now_ms = (function() local time = redis.call('TIME') \
     return time[1] * 1000 + math.floor(time[2] / 1000) end)()\n";

/// A script.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Script {
    /// Rate windows.
    Windows,
    /// Charges a failure.
    Charge,
    /// Gives a charge back.
    GiveBack,
}

impl Script {
    /// All of them, in the order of their discriminants.
    pub(super) const ALL: [Self; 3] = [Self::Windows, Self::Charge, Self::GiveBack];

    pub(super) fn text(self) -> String {
        self.with_clock(STORE_CLOCK)
    }

    pub(super) fn with_clock(self, clock: &str) -> String {
        let failures = include_str!("failures.lua");
        let own = match self {
            Self::Windows => include_str!("windows.lua"),
            Self::Charge => include_str!("charge.lua"),
            Self::GiveBack => include_str!("give_back.lua"),
        };
        let common = if self == Self::Windows { "" } else { failures };
        format!("{clock}{common}{own}")
    }
}

pub(super) fn window_arguments<const N: usize>(windows: &[(Key, Quota); N]) -> Vec<i64> {
    let each = |(_, quota): &(Key, Quota)| [i64::from(quota.limit), period_ms(*quota)];
    windows.iter().flat_map(each).collect()
}

fn period_ms(quota: Quota) -> i64 {
    i64::from(quota.period_s.max(1)) * 1_000
}

/// Forged windows and the verdict; none where our script cannot have said it.
pub(super) fn verdict_of<const N: usize>(
    answer: &[i64],
    windows: &[(Key, Quota); N],
) -> Option<(u32, Verdict<N>)> {
    let [forged, retry_ms, lefts @ ..] = answer else { return None };
    if lefts.len() != 2 * N {
        return None;
    }
    let longest_ms = windows.iter().map(|(_, quota)| period_ms(*quota)).max()?;
    let retry_after_s = match *retry_ms {
        0 => None,
        wait_ms => Some(seconds(wait_ms, longest_ms)?),
    };
    let mut left = [Left { remaining: 0, reset_s: 1 }; N];
    for (((_, quota), pair), left) in windows.iter().zip(lefts.chunks_exact(2)).zip(&mut left) {
        let remaining = u32::try_from(pair[0]).ok().filter(|count| *count <= quota.limit)?;
        *left = Left { remaining, reset_s: seconds(pair[1], period_ms(*quota))? };
    }
    Some((forged_count(*forged)?, Verdict { retry_after_s, left }))
}

/// Whether it was forged, what became of the charge, and when that was.
pub(super) fn charge_of(answer: &[i64], rule: &BlockRule) -> Option<(u32, (Charge, i64))> {
    let [forged, blocked_s, now_s] = *answer else { return None };
    // A block may stand from a longer rule, but not from one that outlasts what is kept.
    if !(0..=rule.window_s.max(rule.duration_s)).contains(&blocked_s) || now_s <= 0 {
        return None;
    }
    let charge = match u64::try_from(blocked_s).ok()? {
        0 => Charge::Charged,
        retry_after_s => Charge::Blocked { retry_after_s },
    };
    Some((forged_count(forged)?, (charge, now_s)))
}

pub(super) fn forged_of(answer: &[i64]) -> Option<u32> {
    let [forged] = *answer else { return None };
    forged_count(forged)
}

fn forged_count(number: i64) -> Option<u32> {
    u32::try_from(number).ok().filter(|count| *count <= 4)
}

/// Rounded up; none beyond the period.
fn seconds(wait_ms: i64, period_ms: i64) -> Option<u64> {
    let wait_ms = u64::try_from(wait_ms).ok().filter(|_| (1..=period_ms).contains(&wait_ms))?;
    Some(wait_ms.div_ceil(1_000))
}

#[cfg(test)]
mod tests {
    use super::{charge_of, forged_of, verdict_of};
    use crate::{
        block::{BlockRule, Charge},
        rate::{Key, Left, Quota, Subject, Verdict},
    };

    const WINDOW: [(Key, Quota); 1] =
        [(Key { subject: Subject::Unknown, class: "read" }, Quota { limit: 5, period_s: 60 })];
    const RULE: BlockRule = BlockRule { threshold: 3, window_s: 60, duration_s: 600 };

    #[test]
    fn only_what_our_script_can_say_is_believed() {
        let said = |retry_after_s, remaining, reset_s| {
            let left = [Left { remaining, reset_s }];
            Some((0, Verdict { retry_after_s, left }))
        };
        let table: [(&[i64], _); 13] = [
            (&[0, 0, 4, 59_001], said(None, 4, 60)),
            (&[0, 1, 0, 1], said(Some(1), 0, 1)),
            (&[0, 60_000, 0, 60_000], said(Some(60), 0, 60)),
            (&[], None),
            (&[0, 0], None),
            (&[0, 0, 4], None),
            (&[0, 0, 4, 1, 4, 1], None),
            (&[0, -1, 4, 1], None),
            (&[0, 60_001, 0, 1], None),
            (&[0, 0, 6, 1], None),
            (&[0, 0, -1, 1], None),
            (&[0, 0, 4, 0], None),
            (&[-1, 0, 4, 1], None),
        ];
        for (answer, read) in table {
            assert_eq!(verdict_of(answer, &WINDOW), read, "{answer:?}");
        }
    }

    #[test]
    fn charges_are_read_as_strictly() {
        let blocked = Charge::Blocked { retry_after_s: 600 };
        let table: [(&[i64], _); 7] = [
            (&[0, 0, 9], Some((0, (Charge::Charged, 9)))),
            (&[1, 600, 9], Some((1, (blocked, 9)))),
            (&[0, 601, 9], None),
            (&[0, -1, 9], None),
            (&[0, 0, 0], None),
            (&[0, 0], None),
            (&[0, 0, 9, 9], None),
        ];
        for (answer, read) in table {
            assert_eq!(charge_of(answer, &RULE), read, "{answer:?}");
        }
        assert_eq!((forged_of(&[1]), forged_of(&[9]), forged_of(&[])), (Some(1), None, None));
    }
}
