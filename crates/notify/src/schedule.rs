//! When to try again, when to give up, and when a whole channel rests. Pure but for the
//! randomness, which comes in.

use std::time::{Duration, Instant};

/// How patient the worker is.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// Attempts at one notice; then it is given up. With the delays below they last four
    /// days, as long as a notice without an end of its own (RFC 5321, 4.5.4.1, asks for
    /// four to five), so an outage of a weekend loses nothing.
    pub attempts_max: i32,
    /// Before the second attempt; each further delay is twice as long.
    pub first_delay: Duration,
    /// No delay is longer.
    pub longest_delay: Duration,
    /// How long a notice is ours alone. Longer than `BATCH_MAX` and one message more.
    pub lease: Duration,
    /// How long a channel rests after an outage; twice as long after each further one, up
    /// to `REST_MAX`.
    pub first_rest: Duration,
}

/// No channel rests longer.
pub(crate) const REST_MAX: Duration = Duration::from_secs(60);
/// When this has passed no further message of a batch is begun.
pub(crate) const BATCH_MAX: Duration = Duration::from_secs(60);

impl Default for Patience {
    fn default() -> Self {
        Self {
            attempts_max: 100,
            first_delay: Duration::from_secs(5),
            longest_delay: Duration::from_secs(3_600),
            lease: Duration::from_secs(120),
            first_rest: Duration::from_secs(5),
        }
    }
}

impl Patience {
    /// How long to wait after that many attempts: doubling, up to a fifth more or less, so
    /// that what failed together does not come back together. `chance` is from 0 to 255.
    pub(crate) fn delay(&self, attempts: i32, chance: u8) -> Duration {
        let doublings = u32::try_from(attempts.saturating_sub(1)).unwrap_or(0).min(20);
        let whole = self.first_delay.saturating_mul(1 << doublings).min(self.longest_delay);
        whole.mul_f64(0.8 + 0.4 * f64::from(chance) / 255.0)
    }
}

/// Whether a channel's server is there, as this node last saw it.
#[derive(Debug, Default)]
pub(crate) struct Rest {
    outages: u32,
    until: Option<Instant>,
}

impl Rest {
    pub(crate) fn is_resting(&self, now: Instant) -> bool {
        self.until.is_some_and(|until| now < until)
    }

    /// The server was there.
    pub(crate) fn ended(&mut self) {
        *self = Self::default();
    }

    /// It was not, or said when to come back.
    pub(crate) fn begin(&mut self, now: Instant, patience: &Patience, after: Option<Duration>) {
        let doubled = patience.first_rest.saturating_mul(1 << self.outages.min(10)).min(REST_MAX);
        self.outages = self.outages.saturating_add(1);
        self.until = now.checked_add(after.unwrap_or(doubled));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_double_up_to_an_hour_and_differ() {
        let patience = Patience::default();
        let seconds = |attempts, chance| patience.delay(attempts, chance).as_secs();
        let table = [
            (1, 4, 6),
            (2, 8, 12),
            (3, 16, 24),
            (6, 128, 192),
            (10, 2_048, 3_072),
            (11, 2_880, 4_320),
            (100, 2_880, 4_320),
        ];
        for (attempts, least, most) in table {
            assert_eq!((seconds(attempts, 0), seconds(attempts, 255)), (least, most), "{attempts}");
        }
        assert!(seconds(i32::MAX, 255) <= 4_320 && seconds(0, 0) == 4);
    }

    #[test]
    fn the_attempts_last_as_long_as_a_relay_should_try() {
        let patience = Patience::default();
        let total: Duration =
            (1..patience.attempts_max).map(|attempts| patience.delay(attempts, 0)).sum();
        assert!(total > Duration::from_secs(70 * 3_600), "{total:?}");
    }

    #[test]
    fn a_lease_outlasts_its_batch() {
        let longest_message = Duration::from_secs(35);
        assert!(Patience::default().lease > BATCH_MAX + longest_message);
    }

    #[test]
    fn a_channel_rests_longer_after_each_outage_and_no_more_once_it_is_back() {
        let (patience, now) = (Patience::default(), Instant::now());
        let mut rest = Rest::default();
        for expected in [5, 10, 20, 40, 60, 60] {
            rest.begin(now, &patience, None);
            assert!(rest.is_resting(now + Duration::from_secs(expected - 1)), "{expected}");
            assert!(!rest.is_resting(now + Duration::from_secs(expected)), "{expected}");
        }
        rest.begin(now, &patience, Some(Duration::from_secs(300)));
        assert!(rest.is_resting(now + Duration::from_secs(299)), "the server said when");
        rest.ended();
        assert!(!rest.is_resting(now));
    }
}
