//! Owns the arithmetic of a comparison: medians, ratios of interleaved rounds, how
//! noisy they were, and whether a goal is met. Refuses to know what was measured.

use serde::Serialize;

/// With `--quick` a row fails only where it lies more than this share below its goal:
/// rounds of a second on a machine that does other things are no better than that.
const QUICK_TOLERANCE: f64 = 0.15;

/// On which side of its goal a ratio has to lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Comparison {
    /// More is better: throughput.
    AtLeast,
    /// Less is better: time, memory.
    AtMost,
    /// Told and not judged.
    Reported,
}

/// What a row has to reach.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Goal {
    /// On which side.
    pub comparison: Comparison,
    /// Of what: a ratio, or the row's unit where it has no limit beside it.
    pub value: f64,
}

impl Goal {
    /// More is better.
    pub const fn at_least(value: f64) -> Self {
        Self { comparison: Comparison::AtLeast, value }
    }

    /// Less is better.
    pub const fn at_most(value: f64) -> Self {
        Self { comparison: Comparison::AtMost, value }
    }

    /// What is told for people to judge: any figure will do.
    pub const fn reported() -> Self {
        Self { comparison: Comparison::Reported, value: 0.0 }
    }

    /// Whether `reached` is good enough; `quick` allows for the noise of short rounds.
    /// A figure that is none (0/0) never is.
    pub fn is_met(self, reached: f64, quick: bool) -> bool {
        let share = if quick { 1.0 - QUICK_TOLERANCE } else { 1.0 };
        match self.comparison {
            Comparison::AtLeast => reached >= self.value * share,
            Comparison::AtMost => reached <= self.value / share,
            Comparison::Reported => reached.is_finite(),
        }
    }
}

/// The same work done by us and by its limit, right after each other.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Round {
    /// Ours.
    pub measured: f64,
    /// The limit's.
    pub limit: f64,
}

/// What several rounds say together.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Summary {
    /// Median of ours.
    pub measured: f64,
    /// Median of the limit's.
    pub limit: f64,
    /// Median of the rounds' ratios, which is not the ratio of the medians: what slows
    /// the machine for a while slows both halves of a round.
    pub ratio: f64,
    /// Noise: the distance of the furthest ratios as a share of the median one. One
    /// round knows none.
    pub spread: Option<f64>,
}

impl Summary {
    /// Of at least one round.
    pub fn of(rounds: &[Round]) -> Self {
        let ratios: Vec<f64> = rounds.iter().map(|round| round.measured / round.limit).collect();
        let each = |value: fn(&Round) -> f64| median(rounds.iter().map(value));
        let ratio = median(ratios.iter().copied());
        Self {
            measured: each(|round| round.measured),
            limit: each(|round| round.limit),
            ratio,
            spread: (ratios.len() > 1).then(|| spread(&ratios, ratio)),
        }
    }
}

/// (largest − smallest) / middle.
pub fn spread(values: &[f64], middle: f64) -> f64 {
    let largest = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let smallest = values.iter().copied().fold(f64::INFINITY, f64::min);
    (largest - smallest) / middle
}

/// The middle value, or the mean of the middle two; NaN of nothing.
pub fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    let mut sorted: Vec<f64> = values.into_iter().collect();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match sorted.as_slice() {
        [] => f64::NAN,
        sorted if sorted.len() % 2 == 1 => sorted[middle],
        sorted => f64::midpoint(sorted[middle - 1], sorted[middle]),
    }
}

/// The smallest value that at least `percent` in a hundred do not exceed (nearest
/// rank); 0 of nothing. Sorts the values.
pub fn percentile(values: &mut [u64], percent: usize) -> u64 {
    values.sort_unstable();
    let rank = (values.len() * percent).div_ceil(100).max(1);
    values.get(rank - 1).copied().unwrap_or(0)
}

/// Whether two samples are of one distribution, as the Mann–Whitney test sees it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RankTest {
    /// How likely a value of the first sample is the larger of a pair: one half where
    /// nobody can tell them apart.
    pub larger: f64,
    /// How likely ranks so uneven are by chance, on both sides, by the normal approximation.
    pub chance: f64,
}

impl RankTest {
    /// Of two samples, equal values sharing their ranks; no figures where one is empty.
    pub fn of(first: &[f64], second: &[f64]) -> Self {
        let (ours, theirs) = (float(first.len() as u64), float(second.len() as u64));
        let tagged = |values: &[f64], tag| values.iter().map(|value| (*value, tag)).collect();
        let mut all: Vec<(f64, bool)> = tagged(first, true);
        all.extend::<Vec<_>>(tagged(second, false));
        all.sort_by(|left, right| left.0.total_cmp(&right.0));
        let (mut before, mut ranks, mut ties) = (0.0, 0.0, 0.0);
        for equal in all.chunk_by(|left, right| left.0.total_cmp(&right.0).is_eq()) {
            let count = float(equal.len() as u64);
            let own = float(equal.iter().filter(|(_, tag)| *tag).count() as u64);
            ranks += own * (before + f64::midpoint(1.0, count));
            ties += count * count * count - count;
            before += count;
        }
        let statistic = ranks - ours * (ours + 1.0) / 2.0;
        let total = ours + theirs;
        let variance = ours * theirs / 12.0 * (total + 1.0 - ties / (total * (total - 1.0)));
        let distance = (statistic - ours * theirs / 2.0).abs();
        let score = if variance > 0.0 { distance / variance.sqrt() } else { 0.0 };
        Self { larger: statistic / (ours * theirs), chance: two_sided(score) }
    }
}

/// How likely a normal value lies as far from the middle (Abramowitz and Stegun 7.1.26, exact
/// to 2e-7).
fn two_sided(score: f64) -> f64 {
    let x = score / std::f64::consts::SQRT_2;
    let t = 1.0 / 0.327_591_1_f64.mul_add(x, 1.0);
    let factors = [1.061_405_429, -1.453_152_027, 1.421_413_741, -0.284_496_736, 0.254_829_592];
    let sum = factors.iter().fold(0.0, |sum: f64, factor| sum.mul_add(t, *factor));
    sum * t * (-x * x).exp()
}

/// Of a count, for division.
#[expect(clippy::cast_precision_loss, reason = "counts of a benchmark are far below 2^53")]
pub fn float(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
#[allow(clippy::float_cmp, reason = "the values are chosen to be exact")]
mod tests {
    use super::{Goal, RankTest, Round, Summary, median, percentile};

    #[test]
    fn the_median_is_in_the_middle() {
        let table: [(&[f64], f64); 4] = [
            (&[3.0], 3.0),
            (&[9.0, 1.0, 2.0], 2.0),
            (&[4.0, 1.0], 2.5),
            (&[1.0, 8.0, 2.0, 4.0], 3.0),
        ];
        for (values, expected) in table {
            assert_eq!(median(values.iter().copied()), expected, "{values:?}");
        }
        assert!(median([]).is_nan());
    }

    #[test]
    fn percentiles_are_nearest_ranks() {
        let mut hundred: Vec<u64> = (1..=100).rev().collect();
        for (percent, expected) in [(50, 50), (99, 99), (100, 100), (0, 1)] {
            assert_eq!(percentile(&mut hundred, percent), expected);
        }
        assert_eq!(percentile(&mut [7], 99), 7);
        assert_eq!(percentile(&mut [1, 2], 99), 2);
        assert_eq!(percentile(&mut [], 99), 0);
    }

    #[test]
    fn a_slow_spell_hits_both_halves_of_its_round_and_not_the_ratio() {
        let rounds = [
            Round { measured: 80.0, limit: 100.0 },
            Round { measured: 8.0, limit: 10.0 },
            Round { measured: 96.0, limit: 120.0 },
        ];
        let summary = Summary::of(&rounds);
        assert!((summary.ratio - 0.8).abs() < 1e-12);
        assert!(summary.spread.unwrap() < 1e-12);
        assert_eq!((summary.measured, summary.limit), (80.0, 100.0));
        let noisy = Summary::of(&[
            Round { measured: 1.0, limit: 1.0 },
            Round { measured: 2.0, limit: 1.0 },
            Round { measured: 3.0, limit: 1.0 },
        ]);
        assert_eq!((noisy.ratio, noisy.spread), (2.0, Some(1.0)));
        let once = Summary::of(&[Round { measured: 1.0, limit: 2.0 }]);
        assert_eq!((once.ratio, once.spread), (0.5, None));
    }

    #[test]
    fn goals_have_two_sides_and_quick_runs_a_tolerance() {
        let (least, most) = (Goal::at_least(0.85), Goal::at_most(2.0));
        let table = [
            (least, 0.85, false, true),
            (least, 0.849, false, false),
            (least, 0.73, true, true),
            (least, 0.72, true, false),
            (most, 2.0, false, true),
            (most, 2.01, false, false),
            (most, 2.35, true, true),
            (most, 2.36, true, false),
            (least, f64::NAN, true, false),
            (most, f64::NAN, true, false),
            (Goal::reported(), 1e9, false, true),
            (Goal::reported(), f64::NAN, false, false),
        ];
        for (goal, reached, quick, met) in table {
            assert_eq!(goal.is_met(reached, quick), met, "{goal:?} {reached} {quick}");
        }
    }

    /// The chances were computed by hand from the same ranks with an exact `erfc`.
    #[test]
    fn ranks_tell_samples_apart_or_do_not() {
        let table: [(&[f64], &[f64], f64, f64); 4] = [
            (&[1.0, 2.0, 3.0], &[1.0, 2.0, 3.0], 0.5, 1.0),
            (&[4.0, 5.0, 6.0], &[1.0, 2.0, 3.0], 1.0, 0.049_534_6),
            (&[1.0, 3.0, 5.0, 7.0], &[2.0, 4.0, 6.0, 8.0], 0.375, 0.563_702_9),
            (&[1.0, 1.0, 2.0, 3.0], &[1.0, 2.0, 2.0, 9.0], 0.375, 0.543_866_2),
        ];
        for (first, second, larger, chance) in table {
            let test = RankTest::of(first, second);
            assert!((test.larger - larger).abs() < 1e-9, "{test:?}");
            assert!((test.chance - chance).abs() < 1e-4, "{test:?}");
        }
        assert!(RankTest::of(&[], &[1.0]).larger.is_nan());
    }
}
