//! A gate by key for attempts that are charged before they are tried.
//!
//! The charge itself is elsewhere (a row in the database, a window in memory). The
//! gate lets attempts that found everything charged wait for those in flight: a
//! success gives charges back, and only when the last one in flight has failed is
//! the key really used up. So parallel right answers all pass and parallel wrong
//! ones never evaluate more than is allowed. Refuses to know what is attempted.

use std::{
    collections::HashMap,
    hash::Hash,
    sync::{Arc, Mutex, PoisonError},
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

/// Attempts in flight, by key.
#[derive(Debug)]
pub struct Gate<K: Eq + Hash + Clone> {
    slots: Arc<Mutex<HashMap<K, Arc<Slot>>>>,
}

impl<K: Eq + Hash + Clone> Default for Gate<K> {
    fn default() -> Self {
        Self { slots: Arc::default() }
    }
}

#[derive(Debug)]
struct Slot {
    permits: Arc<Semaphore>,
    progress: watch::Sender<Progress>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Progress {
    /// Attempts that are being charged or tried now.
    active: usize,
    /// Attempts that succeeded so far.
    successes: u64,
    /// How often the last active attempt ended.
    settled: u64,
}

/// What to do after finding everything charged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// A charge was given back meanwhile: try to charge again.
    Again,
    /// Nothing in flight can give a charge back: it is really used up.
    Exhausted,
}

/// One attempt inside the gate. Dropping it without [`Entered::succeeded`] counts as failed.
#[derive(Debug)]
pub struct Entered<K: Eq + Hash + Clone> {
    slots: Arc<Mutex<HashMap<K, Arc<Slot>>>>,
    key: K,
    slot: Arc<Slot>,
    permit: Option<OwnedSemaphorePermit>,
    seen: Progress,
    active: bool,
}

impl<K: Eq + Hash + Clone> Gate<K> {
    /// Waits for a place, first come first served; at most `places` attempts of a
    /// key contend at a time.
    pub async fn enter(&self, key: K, places: usize) -> Entered<K> {
        let slot = {
            let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
            let made = || Slot {
                permits: Arc::new(Semaphore::new(places.max(1))),
                progress: watch::Sender::new(Progress::default()),
            };
            Arc::clone(slots.entry(key.clone()).or_insert_with(|| Arc::new(made())))
        };
        // Built first, so that a caller that gives up while it waits is cleaned up after.
        let mut entered = Entered {
            slots: Arc::clone(&self.slots),
            key,
            slot,
            permit: None,
            seen: Progress::default(),
            active: false,
        };
        entered.permit = Arc::clone(&entered.slot.permits).acquire_owned().await.ok();
        entered.activate();
        entered
    }
}

impl<K: Eq + Hash + Clone> Entered<K> {
    /// To be called when the charge found nothing left: waits until one in flight
    /// succeeds or the last of them has failed.
    pub async fn exhausted(&mut self) -> Verdict {
        let seen = self.seen;
        let mut progress = self.slot.progress.subscribe();
        self.deactivate(false);
        let now = progress
            .wait_for(|now| {
                now.successes > seen.successes || now.settled > seen.settled || now.active == 0
            })
            .await
            .map_or(seen, |now| *now);
        if now.successes > seen.successes {
            self.activate();
            return Verdict::Again;
        }
        Verdict::Exhausted
    }

    /// The attempt succeeded and its charge was given back.
    pub fn succeeded(mut self) {
        self.deactivate(true);
    }

    fn activate(&mut self) {
        self.slot.progress.send_modify(|progress| {
            progress.active += 1;
            self.seen = *progress;
        });
        self.active = true;
    }

    fn deactivate(&mut self, succeeded: bool) {
        if !self.active {
            return;
        }
        self.active = false;
        self.slot.progress.send_modify(|progress| {
            progress.active -= 1;
            progress.successes += u64::from(succeeded);
            progress.settled += u64::from(progress.active == 0);
        });
    }
}

impl<K: Eq + Hash + Clone> Drop for Entered<K> {
    fn drop(&mut self) {
        self.deactivate(false);
        drop(self.permit.take());
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        // The map's and ours: nobody else is inside or waiting.
        if Arc::strong_count(&self.slot) <= 2 {
            slots.remove(&self.key);
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::{
        sync::{
            Arc,
            atomic::{AtomicU32, Ordering},
        },
        time::Duration,
    };

    use super::{Gate, Verdict};

    /// Charges up to `threshold`, as the database does.
    struct Account {
        charged: AtomicU32,
        evaluated: AtomicU32,
        threshold: u32,
    }

    impl Account {
        fn charge(&self) -> bool {
            self.charged
                .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |used| {
                    (used < self.threshold).then_some(used + 1)
                })
                .is_ok()
        }
    }

    async fn attempt(gate: Arc<Gate<u8>>, account: Arc<Account>, right: bool) -> bool {
        let mut entered = gate.enter(1, 5).await;
        loop {
            tokio::task::yield_now().await;
            if account.charge() {
                account.evaluated.fetch_add(1, Ordering::SeqCst);
                tokio::time::sleep(Duration::from_millis(2)).await;
                if right {
                    account.charged.store(0, Ordering::SeqCst);
                    entered.succeeded();
                }
                return right;
            }
            if entered.exhausted().await == Verdict::Exhausted {
                return false;
            }
        }
    }

    async fn storm(count: usize, right: bool) -> (usize, u32, usize) {
        let gate = Arc::new(Gate::default());
        let account = Arc::new(Account {
            charged: AtomicU32::new(0),
            evaluated: AtomicU32::new(0),
            threshold: 5,
        });
        let tasks: Vec<_> = (0..count)
            .map(|_| tokio::spawn(attempt(Arc::clone(&gate), Arc::clone(&account), right)))
            .collect();
        let mut passed = 0;
        for task in tasks {
            passed += usize::from(task.await.unwrap());
        }
        let left = gate.slots.lock().unwrap().len();
        (passed, account.evaluated.load(Ordering::SeqCst), left)
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn wrong_attempts_in_parallel_evaluate_no_more_than_the_threshold() {
        assert_eq!(storm(200, false).await, (0, 5, 0));
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn right_attempts_in_parallel_all_pass() {
        let (passed, _, left) = storm(100, true).await;
        assert_eq!((passed, left), (100, 0));
    }
}
