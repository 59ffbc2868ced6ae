//! Owns the sliding windows that bound how often somebody may ask: how many hits
//! of a key fell into the last period, decided and counted in one step.
//!
//! Refuses to know what is limited and how strictly: callers bring keys, quotas
//! and the time. Memory is bounded: a window is at most [`SLOTS`]` + 1` counters,
//! and the number of windows has a ceiling.
//!
//! A period is cut into [`SLOTS`] slots and a hit is forgotten when its whole slot
//! lies outside the period. So no true sliding window ever holds more than the
//! quota, and a hit is held against its key at most 1/60 of the period too long.
//!
//! Lock order: the shards of one check are locked in ascending order, and nothing
//! else is taken under them.

use std::{
    collections::{HashMap, VecDeque},
    hash::{BuildHasher, RandomState},
    net::{IpAddr, Ipv6Addr},
    sync::{Mutex, MutexGuard, PoisonError},
};

use uuid::Uuid;

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
    /// An address as it is counted: IPv6 by its /64, which is one subscriber, and
    /// an IPv4-mapped one as the IPv4 address that it is.
    pub fn address(address: Option<IpAddr>) -> Self {
        match address.map(|address| address.to_canonical()) {
            Some(IpAddr::V6(address)) => {
                let network = address.to_bits() & !u128::from(u64::MAX);
                Self::Address(IpAddr::V6(Ipv6Addr::from_bits(network)))
            }
            Some(address) => Self::Address(address),
            None => Self::Unknown,
        }
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
    /// Seconds until more are, rounded up; at least 1.
    pub reset_s: u64,
}

/// The outcome of a check of `N` windows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verdict<const N: usize> {
    /// Seconds after which the hit would be admitted; none where it was.
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
        let places = windows.map(|(key, _)| self.shard_of(&key));
        let mut shards = self.lock(places);
        let mut retry_after_s = None;
        for ((key, quota), place) in windows.iter().zip(places) {
            if let Some(shard) = shards.of(place) {
                let window = window_of(shard, *key, *quota, now_ms, self.windows_max);
                retry_after_s = retry_after_s.max(window.retry_after_s(*quota, now_ms));
            }
        }
        let mut left = [Left { remaining: 0, reset_s: 1 }; N];
        for (((key, quota), place), left) in windows.iter().zip(places).zip(&mut left) {
            if let Some(window) = shards.of(place).and_then(|shard| shard.get_mut(key)) {
                if retry_after_s.is_none() {
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

/// The window of a key, made where there is none; its expired hits are forgotten.
fn window_of(
    shard: &mut Shard,
    key: Key,
    quota: Quota,
    now_ms: i64,
    windows_max: usize,
) -> &mut Window {
    if shard.len() >= windows_max && !shard.contains_key(&key) {
        make_room(shard, now_ms, windows_max);
    }
    let window = shard.entry(key).or_default();
    window.advance(quota, now_ms);
    window
}

/// Drops what has expired and, where that is not enough, the window with the
/// fewest hits: a flood of new keys displaces itself and not the nearly full ones.
fn make_room(shard: &mut Shard, now_ms: i64, windows_max: usize) {
    shard.retain(|_, window| window.is_live(now_ms));
    if shard.len() < windows_max {
        return;
    }
    let least = shard.iter().min_by_key(|(_, window)| (window.total, window.newest()));
    if let Some(key) = least.map(|(key, _)| *key) {
        shard.remove(&key);
    }
}

/// Hits by slot, oldest first, empty slots left out.
#[derive(Debug, Default)]
struct Window {
    slots: VecDeque<(i64, u32)>,
    total: u32,
    slot_ms: i64,
}

impl Window {
    fn advance(&mut self, quota: Quota, now_ms: i64) {
        // Rounded up: the slots together are never shorter than the period.
        let slot_ms = (i64::from(quota.period_s.max(1)) * 1_000 + SLOTS - 1) / SLOTS;
        if slot_ms != self.slot_ms {
            // The period was changed: earlier slots mean something else now.
            *self = Self { slot_ms, ..Self::default() };
        }
        let now = self.slot(now_ms);
        while let Some((slot, hits)) = self.slots.front().copied() {
            if slot + SLOTS >= now {
                break;
            }
            self.slots.pop_front();
            self.total -= hits;
        }
    }

    /// The slot of an instant, never before one that was counted already.
    fn slot(&self, now_ms: i64) -> i64 {
        now_ms.div_euclid(self.slot_ms).max(self.newest())
    }

    fn newest(&self) -> i64 {
        self.slots.back().map_or(i64::MIN, |(slot, _)| *slot)
    }

    fn is_live(&self, now_ms: i64) -> bool {
        self.slot_ms > 0
            && self.slots.back().is_some_and(|(slot, _)| slot + SLOTS >= now_ms / self.slot_ms)
    }

    fn count(&mut self, now_ms: i64) {
        let now = self.slot(now_ms);
        match self.slots.back_mut() {
            Some((slot, hits)) if *slot == now => *hits += 1,
            _ => self.slots.push_back((now, 1)),
        }
        self.total += 1;
    }

    /// None where the quota has room for one more.
    fn retry_after_s(&self, quota: Quota, now_ms: i64) -> Option<u64> {
        if self.total < quota.limit {
            return None;
        }
        let mut excess = self.total - quota.limit + 1;
        for (slot, hits) in &self.slots {
            if *hits >= excess {
                return Some(self.seconds_until_forgotten(*slot, now_ms));
            }
            excess -= hits;
        }
        // A quota of nothing: asking again never helps.
        Some(u64::from(quota.period_s.max(1)))
    }

    fn left(&self, quota: Quota, now_ms: i64) -> Left {
        let oldest = self.slots.front().map(|(slot, _)| *slot);
        Left {
            remaining: quota.limit.saturating_sub(self.total),
            reset_s: oldest.map_or(1, |slot| self.seconds_until_forgotten(slot, now_ms)),
        }
    }

    fn seconds_until_forgotten(&self, slot: i64, now_ms: i64) -> u64 {
        let at_ms = (slot + SLOTS + 1) * self.slot_ms;
        u64::try_from(at_ms - now_ms).unwrap_or(0).div_ceil(1_000).max(1)
    }
}

#[cfg(test)]
#[path = "rate_tests.rs"]
mod tests;
