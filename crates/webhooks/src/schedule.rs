//! When to try again, and when to give up. Pure but for the randomness, which comes in.

use std::time::Duration;

/// How patient the worker is.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// Before the second attempt, the third and so on; behind the last it is given up.
    pub delays: &'static [Duration],
    /// How long a delivery is ours alone: longer than connecting and asking take.
    pub lease: Duration,
    /// How long an endpoint is left alone that took nothing; twice as long each time, up to
    /// 64 times as long.
    pub rest: Duration,
    /// How many deliveries wait for one endpoint before it reads no further.
    pub waiting_max: i64,
}

const fn minutes(minutes: u64) -> Duration {
    Duration::from_secs(minutes * 60)
}

/// Three days together.
const DELAYS: [Duration; 9] = [
    Duration::from_secs(5),
    minutes(5),
    minutes(30),
    minutes(2 * 60),
    minutes(5 * 60),
    minutes(10 * 60),
    minutes(14 * 60),
    minutes(20 * 60),
    minutes(24 * 60),
];

impl Default for Patience {
    fn default() -> Self {
        Self {
            delays: &DELAYS,
            lease: Duration::from_secs(120),
            rest: Duration::from_secs(5),
            waiting_max: 10_000,
        }
    }
}

impl Patience {
    /// How long to wait after that many attempts, up to a fifth more or less, so that what
    /// failed together does not come back together; none where it is given up. A receiver
    /// that names a time is not asked sooner. `chance` is from 0 to 255.
    pub(crate) fn delay(
        &self,
        attempts: i32,
        chance: u8,
        asked: Option<Duration>,
    ) -> Option<Duration> {
        let made = usize::try_from(attempts.saturating_sub(1)).unwrap_or(0);
        let whole = self.delays.get(made)?;
        let delay = whole.mul_f64(0.8 + 0.4 * f64::from(chance) / 255.0);
        Some(asked.map_or(delay, |asked| asked.max(delay)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_grow_from_seconds_to_a_day_and_end() {
        let patience = Patience::default();
        let seconds =
            |attempts, chance| patience.delay(attempts, chance, None).map(|delay| delay.as_secs());
        let table = [
            (1, Some(4), Some(6)),
            (2, Some(240), Some(360)),
            (3, Some(1_440), Some(2_160)),
            (9, Some(69_120), Some(103_680)),
            (10, None, None),
            (i32::MAX, None, None),
        ];
        for (attempts, least, most) in table {
            assert_eq!((seconds(attempts, 0), seconds(attempts, 255)), (least, most), "{attempts}");
        }
        let asked = patience.delay(1, 0, Some(Duration::from_secs(600)));
        assert_eq!(asked, Some(Duration::from_secs(600)), "not sooner than it asked");
        let total: Duration = DELAYS.iter().sum();
        assert!((72..=80).contains(&(total.as_secs() / 3_600)), "{total:?}");
    }

    #[test]
    fn a_lease_outlasts_an_attempt() {
        assert!(Patience::default().lease > 2 * Duration::from_secs(10 + 20));
    }
}
