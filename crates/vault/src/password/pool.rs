//! The bounded pool: dedicated threads with a queue that refuses at once when it is full.
//!
//! Full means that who came now would wait too long at the pace measured so far. A place can be
//! had before there is anything to hash, so that callers learn of a full queue before they commit
//! to anything. Requests that were cancelled while they waited are dropped unhashed, and are
//! cleared away first when the queue is full, so that they never hold a place against a live one.

use std::collections::VecDeque;
use std::num::NonZeroUsize;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;
use zeroize::Zeroizing;

use super::hash::{self, PasswordHash, Peppers, Recipe};
use super::{MINIMUM_PRODUCTION_COST, PasswordError};

/// How the pool is set up.
#[derive(Debug)]
pub struct HasherOptions {
    /// The bcrypt cost; production refuses less than [`MINIMUM_PRODUCTION_COST`].
    pub cost: u32,
    /// Threads; each computes one hash at a time.
    pub threads: NonZeroUsize,
    /// How many requests may wait beside those being computed, however fast hashing is.
    pub queue_capacity: usize,
    /// How long a request may expect to wait before it is computed; who would wait longer is
    /// refused. Well below the time after which clients and proxies give up.
    pub wait_max: Duration,
    /// Added to the threads' nice value (0 to 19), so that hashing yields to other requests.
    pub niceness: i32,
    /// How much memory hashes may hold at the same time, in KiB: what would exceed it waits for
    /// others to end, whatever threads are free. One hash alone may always run.
    pub memory_kib: u32,
    /// The peppers.
    pub peppers: Peppers,
}

impl HasherOptions {
    /// Cost 12, a thread per core, at most 64 waiting places a thread and 3 seconds of waiting,
    /// niceness 10, 256 MiB.
    pub fn production(peppers: Peppers) -> Self {
        let threads = std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
        Self {
            cost: MINIMUM_PRODUCTION_COST,
            threads,
            queue_capacity: threads.get() * 64,
            wait_max: Duration::from_secs(3),
            niceness: 10,
            memory_kib: 256 * 1_024,
            peppers,
        }
    }
}

/// The answer to "is this the password?".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// Whether it is.
    pub matches: bool,
    /// Whether the stored hash should be replaced (only ever true together with `matches`).
    pub needs_rehash: bool,
}

/// A running pool. Dropping it lets queued work finish and ends the threads.
#[derive(Debug)]
pub struct Hasher {
    shared: Arc<Shared>,
}

impl Hasher {
    /// Starts the threads.
    pub fn start(options: HasherOptions) -> Result<Self, PasswordError> {
        hash::check_cost(options.cost)?;
        // Until the first measurement: 2^cost rounds at the pace of a common server core.
        let estimate_us = (1_u64 << options.cost) * 60;
        let shared = Arc::new(Shared {
            options,
            queue: Mutex::new(Queue::default()),
            wake: Condvar::new(),
            average_us: AtomicU64::new(estimate_us),
            places_taken: AtomicUsize::new(0),
            computed: AtomicU64::new(0),
        });
        // Built first: if a later thread fails to start, dropping it ends the earlier ones.
        let hasher = Self { shared };
        for index in 0..hasher.shared.options.threads.get() {
            let shared = Arc::clone(&hasher.shared);
            std::thread::Builder::new()
                .name(format!("password-{index}"))
                .spawn(move || shared.run())
                .map_err(|_| PasswordError::PoolFailed)?;
        }
        Ok(hasher)
    }

    /// The configured bcrypt cost.
    pub fn cost(&self) -> u32 {
        self.shared.options.cost
    }

    /// How many hashes were computed so far, those compared with nothing included.
    pub fn computed(&self) -> u64 {
        self.shared.computed.load(Ordering::Relaxed)
    }

    /// The most memory that hashes held at one time so far.
    pub fn memory_kib_most(&self) -> u32 {
        self.shared.lock().memory_kib_most
    }

    /// [`Hasher::reserve_for`] bcrypt.
    pub fn reserve(&self) -> Result<Permit, PasswordError> {
        self.reserve_for(Recipe::Bcrypt)
    }

    /// Takes a place for one hash, or refuses with [`PasswordError::Busy`]. Never waits. The place
    /// is given back when it is dropped. A new hash is made as the recipe says, a dummy costs as
    /// much, and a stored hash that differs from it asks to be remade.
    pub fn reserve_for(&self, recipe: Recipe) -> Result<Permit, PasswordError> {
        let shared = &self.shared;
        if !shared.take_place() {
            // A cancelled job gives its place back as it is dropped.
            shared.lock().jobs.retain(|job| !job.task.is_cancelled());
            if !shared.take_place() {
                return Err(PasswordError::Busy { retry_after_s: shared.retry_after_s() });
            }
        }
        Ok(Permit { shared: Arc::clone(shared), recipe })
    }

    /// [`Permit::hash`] with a place taken now.
    pub async fn hash(&self, password: &str) -> Result<PasswordHash, PasswordError> {
        self.reserve()?.hash(password).await
    }

    /// [`Permit::verify`] with a place taken now.
    pub async fn verify(
        &self,
        password: &str,
        stored: Option<&PasswordHash>,
    ) -> Result<Verdict, PasswordError> {
        self.reserve()?.verify(password, stored).await
    }
}

/// A place in the queue: what is submitted with it is not refused for a full queue.
pub struct Permit {
    shared: Arc<Shared>,
    recipe: Recipe,
}

impl Permit {
    /// Hashes a new password.
    pub async fn hash(self, password: &str) -> Result<PasswordHash, PasswordError> {
        let (reply, answer) = oneshot::channel();
        self.submit(password, Task::Hash(reply))?;
        answer.await.map_err(|_| PasswordError::PoolFailed)?
    }

    /// Compares a password with a stored hash. `None` (unknown user, or an account whose password
    /// must not be evaluated now) does the same work and answers that it does not match.
    pub async fn verify(
        self,
        password: &str,
        stored: Option<&PasswordHash>,
    ) -> Result<Verdict, PasswordError> {
        let (reply, answer) = oneshot::channel();
        self.submit(password, Task::Verify(stored.cloned(), reply))?;
        answer.await.map_err(|_| PasswordError::PoolFailed)?
    }

    fn submit(self, password: &str, task: Task) -> Result<(), PasswordError> {
        let shared = Arc::clone(&self.shared);
        let mut queue = shared.lock();
        if queue.closed {
            return Err(PasswordError::PoolFailed);
        }
        let password = Zeroizing::new(password.to_owned());
        queue.jobs.push_back(Job { password, task, place: self });
        drop(queue);
        shared.wake.notify_one();
        Ok(())
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.shared.places_taken.fetch_sub(1, Ordering::Relaxed);
    }
}

impl std::fmt::Debug for Permit {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Permit").finish_non_exhaustive()
    }
}

impl Drop for Hasher {
    fn drop(&mut self) {
        self.shared.lock().closed = true;
        self.shared.wake.notify_all();
    }
}

struct Job {
    password: Zeroizing<String>,
    task: Task,
    /// Held until the job is done or dropped.
    place: Permit,
}

impl Job {
    fn memory_kib(&self) -> u32 {
        match &self.task {
            Task::Verify(Some(stored), _) => stored.memory_kib(),
            Task::Hash(_) | Task::Verify(None, _) => self.place.recipe.memory_kib(),
        }
    }
}

enum Task {
    Hash(oneshot::Sender<Result<PasswordHash, PasswordError>>),
    Verify(Option<PasswordHash>, oneshot::Sender<Result<Verdict, PasswordError>>),
}

impl Task {
    fn is_cancelled(&self) -> bool {
        match self {
            Self::Hash(reply) => reply.is_closed(),
            Self::Verify(_, reply) => reply.is_closed(),
        }
    }
}

#[derive(Default)]
struct Queue {
    jobs: VecDeque<Job>,
    /// Held by what is being computed.
    memory_kib: u32,
    /// The most that it ever was.
    memory_kib_most: u32,
    closed: bool,
}

impl Queue {
    /// The first job, where its memory is to be had; whoever came first is not overtaken.
    fn take(&mut self, most_kib: u32) -> Option<Job> {
        while self.jobs.front().is_some_and(|job| job.task.is_cancelled()) {
            self.jobs.pop_front();
        }
        let wanted_kib = self.jobs.front()?.memory_kib();
        let taken_kib = self.memory_kib.saturating_add(wanted_kib);
        if self.memory_kib > 0 && wanted_kib > 0 && taken_kib > most_kib {
            return None;
        }
        self.memory_kib = taken_kib;
        self.memory_kib_most = self.memory_kib_most.max(taken_kib);
        self.jobs.pop_front()
    }
}

struct Shared {
    options: HasherOptions,
    queue: Mutex<Queue>,
    wake: Condvar,
    /// How long a hash takes, smoothed over the last few.
    average_us: AtomicU64,
    /// Permits alive: reserved, waiting and being computed.
    places_taken: AtomicUsize,
    computed: AtomicU64,
}

impl Shared {
    fn run(&self) {
        if self.options.niceness > 0 {
            // Linux applies it to this thread alone. Without the right to change it the pool
            // works all the same.
            let _ = rustix::process::nice(self.options.niceness);
        }
        while let Some(job) = self.next() {
            let (started, memory_kib) = (Instant::now(), job.memory_kib());
            // A panic ends this job (its reply is dropped), not the thread.
            let outcome = catch_unwind(AssertUnwindSafe(|| self.perform(job)));
            self.give_back(memory_kib);
            // An answer without a hash says nothing about the pace.
            if matches!(outcome, Ok(true)) {
                self.record(started);
            }
        }
    }

    fn next(&self) -> Option<Job> {
        let mut queue = self.lock();
        loop {
            match queue.take(self.options.memory_kib) {
                Some(job) => return Some(job),
                None if queue.closed && queue.jobs.is_empty() => return None,
                None => {
                    queue = self.wake.wait(queue).unwrap_or_else(PoisonError::into_inner);
                }
            }
        }
    }

    fn give_back(&self, memory_kib: u32) {
        if memory_kib > 0 {
            self.lock().memory_kib -= memory_kib;
            self.wake.notify_all();
        }
    }

    /// Whether a hash was computed.
    fn perform(&self, job: Job) -> bool {
        // A caller that has gone away meanwhile no longer wants the answer.
        let recipe = job.place.recipe;
        match job.task {
            Task::Hash(reply) => {
                let (peppers, cost) = (&self.options.peppers, self.options.cost);
                let made = hash::compute(peppers, recipe, cost, &job.password);
                self.answer(reply, made)
            }
            Task::Verify(stored, reply) => {
                let verdict = self.verdict(recipe, &job.password, stored.as_ref());
                self.answer(reply, verdict)
            }
        }
    }

    fn answer<T>(
        &self,
        reply: oneshot::Sender<Result<T, PasswordError>>,
        outcome: Result<T, PasswordError>,
    ) -> bool {
        let is_computed = outcome.is_ok();
        // Counted first: who has the answer sees the count.
        self.computed.fetch_add(u64::from(is_computed), Ordering::Relaxed);
        let _ = reply.send(outcome);
        is_computed
    }

    fn verdict(
        &self,
        recipe: Recipe,
        password: &str,
        stored: Option<&PasswordHash>,
    ) -> Result<Verdict, PasswordError> {
        let (peppers, cost) = (&self.options.peppers, self.options.cost);
        let Some(stored) = stored else {
            hash::pretend(peppers, recipe, cost, password);
            return Ok(Verdict { matches: false, needs_rehash: false });
        };
        let matches = hash::matches(peppers, stored, password)?;
        Ok(Verdict { matches, needs_rehash: matches && stored.is_outdated(peppers, recipe, cost) })
    }

    fn record(&self, started: Instant) {
        let taken_us = u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX);
        let average_us = self.average_us.load(Ordering::Relaxed);
        let blended = (average_us / 8).saturating_mul(7).saturating_add(taken_us / 8);
        self.average_us.store(blended, Ordering::Relaxed);
    }

    fn take_place(&self) -> bool {
        let places = self.places();
        self.places_taken
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |taken| {
                (taken < places).then_some(taken + 1)
            })
            .is_ok()
    }

    /// One for each thread, and as many as are computed within the longest wait.
    fn places(&self) -> usize {
        let threads = self.options.threads.get();
        let wait_us = u64::try_from(self.options.wait_max.as_micros()).unwrap_or(u64::MAX);
        let rounds = wait_us / self.average_us.load(Ordering::Relaxed).max(1);
        let waiting = usize::try_from(rounds).unwrap_or(usize::MAX).saturating_mul(threads);
        threads.saturating_add(waiting.min(self.options.queue_capacity))
    }

    fn retry_after_s(&self) -> u64 {
        let taken = self.places_taken.load(Ordering::Relaxed);
        let rounds = (taken / self.options.threads.get()) as u64;
        self.average_us.load(Ordering::Relaxed).saturating_mul(rounds).div_ceil(1_000_000).max(1)
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Shared").field("options", &self.options).finish_non_exhaustive()
    }
}
