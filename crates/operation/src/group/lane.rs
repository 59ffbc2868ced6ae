//! One tenant's queue: what waits, what is in flight, and who may go next. Pure, and
//! under its owner's lock.

use std::collections::{HashSet, VecDeque};

use tokio::sync::oneshot;
use uuid::Uuid;

use super::{BATCH_MAX, Grouped, Outcome};
use crate::Call;

/// How many waiting calls are looked at for one batch: a long queue behind one hot
/// account must not be walked again for every batch.
const LOOK_MAX: usize = 4 * BATCH_MAX;

/// A call and whom to tell.
pub(super) struct Waiting<C: Grouped> {
    pub(super) call: Call<C>,
    pub(super) answer: oneshot::Sender<Outcome<C>>,
}

/// A tenant's queue.
pub(super) struct Lane<C: Grouped> {
    waiting: VecDeque<Waiting<C>>,
    /// Objects of the batches in flight.
    locked: HashSet<Uuid>,
    /// Drivers at work.
    drivers: usize,
}

impl<C: Grouped> Default for Lane<C> {
    fn default() -> Self {
        Self { waiting: VecDeque::new(), locked: HashSet::new(), drivers: 0 }
    }
}

impl<C: Grouped> Lane<C> {
    pub(super) fn waiting(&self) -> usize {
        self.waiting.len()
    }

    pub(super) fn push(&mut self, waiting: Waiting<C>) {
        self.waiting.push_back(waiting);
    }

    /// Whether another driver should start, counted in at once.
    pub(super) fn open(&mut self, drivers_max: usize) -> bool {
        let opens = self.drivers < drivers_max;
        self.drivers += usize::from(opens);
        opens
    }

    /// The next batch and what it locks; none where nothing may run, and the driver
    /// that asked is counted out. What overlaps with a batch in flight is left to the
    /// driver that finishes that batch, and so is everything behind it over the same
    /// objects.
    pub(super) fn take(&mut self) -> Option<(Vec<Waiting<C>>, Vec<Uuid>)> {
        let mut batch = Vec::new();
        let mut locks = Vec::new();
        let mut overtaken: HashSet<Uuid> = HashSet::new();
        let mut kept = VecDeque::new();
        let mut looked = 0;
        while batch.len() < BATCH_MAX && looked < LOOK_MAX {
            let Some(next) = self.waiting.pop_front() else { break };
            looked += 1;
            let stays = (next.call.command.locks())
                .any(|object| self.locked.contains(&object) || overtaken.contains(&object));
            if stays {
                overtaken.extend(next.call.command.locks());
                kept.push_back(next);
            } else {
                locks.extend(next.call.command.locks());
                batch.push(next);
            }
        }
        while let Some(last) = kept.pop_back() {
            self.waiting.push_front(last);
        }
        if batch.is_empty() {
            self.drivers -= 1;
            return None;
        }
        locks.sort_unstable();
        locks.dedup();
        self.locked.extend(&locks);
        Some((batch, locks))
    }

    /// A batch is over.
    pub(super) fn finished(&mut self, locks: &[Uuid]) {
        for object in locks {
            self.locked.remove(object);
        }
    }

    /// Nothing waits and nobody works here.
    pub(super) fn is_deserted(&mut self) -> bool {
        self.waiting.is_empty() && self.drivers == 0
    }
}
