//! Owns the sliding windows that bound how often somebody may ask: how many hits
//! of a key fell into the last period, decided and counted in one step.
//!
//! Refuses to know what is limited and how strictly: callers bring keys, quotas
//! and the time. Memory is bounded: a window is at most [`SLOTS`]` + 1` counters,
//! and the number of windows has a ceiling.
//!
//! A period is cut into [`SLOTS`] slots, and the hits of a slot are forgotten
//! together, one period after the newest of them. So no true sliding window ever
//! holds more than the quota, a hit is held against its key at most 1/60 of the
//! period too long, and nobody is told to wait longer than the period.
//!
//! Lock order: the shards of one check are locked in ascending order, and nothing
//! else is taken under them.

use std::{
    collections::{HashMap, VecDeque},
    hash::{BuildHasher, RandomState},
    net::IpAddr,
    sync::{Mutex, MutexGuard, PoisonError},
};

use uuid::Uuid;

use crate::source;

/// Slots of a period: a minute is counted in seconds, an hour in minutes.
pub const SLOTS: i64 = 60;

const SHARDS: usize = 64;
/// Windows of one shard; 131,072 in all, tens of megabytes under attack.
const WINDOWS_MAX: usize = 2_048;

/// Whose hits are counted together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Subject {
    /// A source address; build it with [`Subject::address`].
    Address(IpAddr),
    /// A signed-in principal.
    User {
        /// The tenant.
        tenant: Uuid,
        /// The principal's id in it.
        user: Uuid,
    },
    /// A name somebody tries to sign in with, hashed: it need not exist.
    Name {
        /// The tenant.
        tenant: Uuid,
        /// SHA-256 over the normalised name.
        hash: [u8; 32],
    },
    /// Where no address is known (no socket: tests, Unix sockets).
    Unknown,
}

impl Subject {
    /// The source that an address is counted as.
    pub fn address(address: Option<IpAddr>) -> Self {
        address.map_or(Self::Unknown, |address| Self::Address(source::counted(address)))
    }
}

/// One window: whose hits, of which class.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Key {
    /// Whose.
    pub subject: Subject,
    /// The class of requests; windows of different classes are apart.
    pub class: &'static str,
}

/// How many hits within how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quota {
    /// Hits allowed within the period.
    pub limit: u32,
    /// Length of the period; at least one second.
    pub period_s: u32,
}

/// What is left of one window after a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Left {
    /// Hits still allowed now.
    pub remaining: u32,
    /// Seconds until more are, rounded up; 1 to the seconds of the period.
    pub reset_s: u64,
}

/// The outcome of a check of `N` windows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verdict<const N: usize> {
    /// Seconds after which the hit would be admitted, at most the longest period;
    /// none where it was.
    pub retry_after_s: Option<u64>,
    /// The windows in the order asked.
    pub left: [Left; N],
}

impl<const N: usize> Verdict<N> {
    /// Whether the hit was admitted and counted in every window.
    pub const fn allowed(&self) -> bool {
        self.retry_after_s.is_none()
    }
}

/// All windows of this node.
#[derive(Debug)]
pub struct RateWindows {
    shards: Vec<Mutex<Shard>>,
    hasher: RandomState,
    windows_max: usize,
}

type Shard = HashMap<Key, Window>;

impl Default for RateWindows {
    fn default() -> Self {
        Self::with_windows_max(WINDOWS_MAX)
    }
}

impl RateWindows {
    /// Counts a hit in all of the windows, or in none where one of them is full.
    ///
    /// `now_ms` is milliseconds since 1970; a clock that goes back stands still.
    /// The keys of one check have to differ.
    pub fn hit<const N: usize>(&self, windows: &[(Key, Quota); N], now_ms: i64) -> Verdict<N> {
        self.judge(windows, now_ms, false)
    }

    /// Counts a hit that was admitted elsewhere, full or not.
    pub(crate) fn count<const N: usize>(&self, windows: &[(Key, Quota); N], now_ms: i64) {
        self.judge(windows, now_ms, true);
    }

    /// Whether what is counted here fills one of the windows, and will for one of its
    /// slots and `margin_ms` more: then it is full by every clock near ours.
    pub(crate) fn is_full<const N: usize>(
        &self,
        windows: &[(Key, Quota); N],
        now_ms: i64,
        margin_ms: i64,
    ) -> bool {
        windows.iter().any(|(key, quota)| {
            let then_ms = now_ms + slot_ms(i64::from(quota.period_s.max(1)) * 1_000) + margin_ms;
            let shard = lock(&self.shards[self.shard_of(key)]);
            shard.get(key).is_some_and(|window| window.hits_at(then_ms) >= quota.limit)
        })
    }

    fn judge<const N: usize>(
        &self,
        windows: &[(Key, Quota); N],
        now_ms: i64,
        is_admitted: bool,
    ) -> Verdict<N> {
        let keys = windows.map(|(key, _)| key);
        let places = keys.map(|key| self.shard_of(&key));
        let mut shards = self.lock(places);
        let mut retry_after_s = None;
        for ((key, quota), place) in windows.iter().zip(places) {
            if let Some(shard) = shards.of(place) {
                if shard.len() >= self.windows_max && !shard.contains_key(key) {
                    make_room(shard, &keys, now_ms, self.windows_max);
                }
                let window = shard.entry(*key).or_default();
                window.advance(*quota, now_ms);
                retry_after_s = retry_after_s.max(window.retry_after_s(*quota, now_ms));
            }
        }
        let mut left = [Left { remaining: 0, reset_s: 1 }; N];
        for (((key, quota), place), left) in windows.iter().zip(places).zip(&mut left) {
            if let Some(window) = shards.of(place).and_then(|shard| shard.get_mut(key)) {
                if is_admitted || retry_after_s.is_none() {
                    window.count(now_ms);
                }
                *left = window.left(*quota, now_ms);
            }
        }
        Verdict { retry_after_s, left }
    }

    /// Windows held now, expired ones included.
    pub fn len(&self) -> usize {
        self.shards.iter().map(|shard| lock(shard).len()).sum()
    }

    /// Whether no window is held.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn with_windows_max(windows_max: usize) -> Self {
        let shards = (0..SHARDS).map(|_| Mutex::default()).collect();
        Self { shards, hasher: RandomState::new(), windows_max }
    }

    fn shard_of(&self, key: &Key) -> usize {
        usize::try_from(self.hasher.hash_one(key) % SHARDS as u64).unwrap_or(0)
    }

    fn lock<const N: usize>(&self, mut places: [usize; N]) -> Locked<'_> {
        places.sort_unstable();
        let mut locked = Locked(Vec::with_capacity(N));
        for place in places {
            if locked.0.last().is_none_or(|(last, _)| *last != place) {
                locked.0.push((place, lock(&self.shards[place])));
            }
        }
        locked
    }
}

/// Rounded up: no more slots than a period has.
const fn slot_ms(period_ms: i64) -> i64 {
    (period_ms + SLOTS - 1) / SLOTS
}

/// The shards of one check, ascending.
struct Locked<'windows>(Vec<(usize, MutexGuard<'windows, Shard>)>);

impl Locked<'_> {
    fn of(&mut self, place: usize) -> Option<&mut Shard> {
        self.0.iter_mut().find(|(index, _)| *index == place).map(|(_, shard)| &mut **shard)
    }
}

fn lock(shard: &Mutex<Shard>) -> MutexGuard<'_, Shard> {
    // Counters are whole after every statement: a panic elsewhere spoils nothing.
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Drops what has expired and, where that is not enough, the window with the
/// fewest hits: a flood of new keys displaces itself and not the nearly full ones.
///
/// The windows of the check itself stay, and a shard that holds nothing else grows by
/// them: one that was made a moment ago has no hits yet, and a hit that is admitted
/// must be counted in all of its windows.
fn make_room(shard: &mut Shard, checked: &[Key], now_ms: i64, windows_max: usize) {
    shard.retain(|key, window| window.is_live(now_ms) || checked.contains(key));
    if shard.len() < windows_max {
        return;
    }
    let others = shard.iter().filter(|(key, _)| !checked.contains(key));
    let least = others.min_by_key(|(_, window)| (window.total, window.newest_ms()));
    if let Some(key) = least.map(|(key, _)| *key) {
        shard.remove(&key);
    }
}

/// Hits by slot, oldest first, empty slots left out.
#[derive(Debug, Default)]
struct Window {
    slots: VecDeque<Slot>,
    total: u32,
    period_ms: i64,
}

/// The hits of one slot of a period.
#[derive(Clone, Copy, Debug)]
struct Slot {
    newest_ms: i64,
    hits: u32,
}

impl Window {
    fn advance(&mut self, quota: Quota, now_ms: i64) {
        let period_ms = i64::from(quota.period_s.max(1)) * 1_000;
        if period_ms != self.period_ms {
            // The period was changed: earlier slots mean something else now.
            *self = Self { period_ms, ..Self::default() };
        }
        let now_ms = self.forward(now_ms);
        while let Some(slot) = self.slots.front().copied() {
            if slot.newest_ms + period_ms > now_ms {
                break;
            }
            self.slots.pop_front();
            self.total -= slot.hits;
        }
    }

    /// An instant, never before one that was counted already.
    fn forward(&self, now_ms: i64) -> i64 {
        self.newest_ms().map_or(now_ms, |newest_ms| now_ms.max(newest_ms))
    }

    fn newest_ms(&self) -> Option<i64> {
        self.slots.back().map(|slot| slot.newest_ms)
    }

    fn is_live(&self, now_ms: i64) -> bool {
        self.newest_ms().is_some_and(|newest_ms| newest_ms + self.period_ms > now_ms)
    }

    fn count(&mut self, now_ms: i64) {
        let now_ms = self.forward(now_ms);
        let slot_ms = slot_ms(self.period_ms);
        let same = |at_ms: i64| at_ms.div_euclid(slot_ms) == now_ms.div_euclid(slot_ms);
        match self.slots.back_mut() {
            Some(slot) if same(slot.newest_ms) => {
                *slot = Slot { newest_ms: now_ms, hits: slot.hits + 1 };
            }
            _ => self.slots.push_back(Slot { newest_ms: now_ms, hits: 1 }),
        }
        self.total += 1;
    }

    fn hits_at(&self, then_ms: i64) -> u32 {
        let live = self.slots.iter().filter(|slot| slot.newest_ms + self.period_ms > then_ms);
        live.map(|slot| slot.hits).sum()
    }

    /// None where the quota has room for one more.
    fn retry_after_s(&self, quota: Quota, now_ms: i64) -> Option<u64> {
        if self.total < quota.limit {
            return None;
        }
        let mut excess = self.total - quota.limit + 1;
        for slot in &self.slots {
            if slot.hits >= excess {
                return Some(self.seconds_until_forgotten(*slot, now_ms));
            }
            excess -= slot.hits;
        }
        // A quota of nothing: asking again never helps.
        Some(u64::from(quota.period_s.max(1)))
    }

    fn left(&self, quota: Quota, now_ms: i64) -> Left {
        let oldest = self.slots.front();
        Left {
            remaining: quota.limit.saturating_sub(self.total),
            reset_s: oldest.map_or(1, |slot| self.seconds_until_forgotten(*slot, now_ms)),
        }
    }

    /// Rounded up; 1 to the seconds of the period.
    fn seconds_until_forgotten(&self, slot: Slot, now_ms: i64) -> u64 {
        let wait_ms = slot.newest_ms + self.period_ms - self.forward(now_ms);
        u64::try_from(wait_ms).unwrap_or(0).div_ceil(1_000).max(1)
    }
}

#[cfg(test)]
#[path = "rate_tests.rs"]
mod tests;
