//! Owns what a round does: everything that is chosen at random, out of one seed, so
//! that a round can be repeated. It refuses to know how it is done.

use std::time::Duration;

use cluster::Ending;

/// `SplitMix64` (Steele, Lea, Flood 2014): small, and the same on every machine.
#[derive(Clone, Debug)]
pub(crate) struct Dice(u64);

impl Dice {
    /// Dice of a seed and what they are for.
    pub(crate) fn of(seed: u64, purposes: &[u64]) -> Self {
        let mut dice = Self(seed);
        for purpose in purposes {
            let next = dice.next();
            dice.0 = next ^ purpose.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        }
        dice
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// One of `0..count`; the slight unevenness harms nobody here.
    pub(crate) fn below(&mut self, count: usize) -> usize {
        usize::try_from(self.next() % (count as u64)).expect("less than a usize")
    }

    /// Between two numbers of milliseconds.
    pub(crate) fn between_ms(&mut self, from: usize, to: usize) -> Duration {
        Duration::from_millis((from + self.below(to - from)) as u64)
    }

    /// Once in `count` times.
    pub(crate) fn once_in(&mut self, count: usize) -> bool {
        self.below(count) == 0
    }
}

/// What is killed, always with SIGKILL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Victim {
    /// The server process.
    Server,
    /// PostgreSQL, wholly or its postmaster alone.
    Postgres(Ending),
    /// One of PostgreSQL's processes that serves the application: PostgreSQL then
    /// ends all others and recovers by itself.
    Backend,
    /// PostgreSQL and the server at the same moment.
    Both,
}

/// Every kind; the first rounds take each of them once.
const VICTIMS: [Victim; 5] = [
    Victim::Server,
    Victim::Postgres(Ending::Killed),
    Victim::Postgres(Ending::KilledWhole),
    Victim::Backend,
    Victim::Both,
];

/// One round.
#[derive(Clone, Debug)]
pub(crate) struct Round {
    pub(crate) number: u64,
    pub(crate) victim: Victim,
    /// Load before the kill.
    pub(crate) before: Duration,
    /// Until what was killed is started again.
    pub(crate) down: Duration,
    /// A second kill so soon after the start: in the middle of the recovery, or of
    /// the clients' retries.
    pub(crate) again_after: Option<Duration>,
    /// Load after the recovery.
    pub(crate) after: Duration,
}

impl Round {
    pub(crate) fn of(seed: u64, number: u64) -> Self {
        let mut dice = Dice::of(seed, &[number, 1]);
        // The first rounds meet every kind once, in an order of the seed's.
        let turn = Dice::of(seed, &[2]).below(VICTIMS.len()) as u64 + number;
        let count = VICTIMS.len() as u64;
        let at = if number < count { turn % count } else { dice.below(VICTIMS.len()) as u64 };
        Self {
            number,
            victim: VICTIMS[usize::try_from(at).expect("an index")],
            before: dice.between_ms(100, 1_200),
            down: dice.between_ms(0, 700),
            again_after: dice.once_in(4).then(|| dice.between_ms(0, 400)),
            after: dice.between_ms(200, 500),
        }
    }
}

#[test]
fn a_seed_gives_the_same_rounds_and_the_first_five_meet_every_victim() {
    for seed in [0, 1, 42, u64::MAX] {
        let rounds = || (0..20).map(|number| format!("{:?}", Round::of(seed, number)));
        assert!(rounds().eq(rounds()));
        for victim in VICTIMS {
            assert!((0..5).any(|number| Round::of(seed, number).victim == victim), "{victim:?}");
        }
    }
    let other = format!("{:?}", Round::of(2, 7));
    assert_ne!(format!("{:?}", Round::of(1, 7)), other);
}
