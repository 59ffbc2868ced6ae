//! Group commit: calls of one kind that wait at the same moment share a transaction.
//!
//! While a batch is being committed the next one gathers, so that the price of a
//! commit is paid by as many as arrived meanwhile, and nobody waits for company: an
//! idle lane takes a batch of one at once. A tenant has two batches in flight
//! at most, and two of them never lock the same objects ([`Grouped::locks`]): batches
//! that do only wait for each other's rows, which measures slower than one alone.
//! Calls over the same objects keep their order of arrival.
//!
//! It refuses to know what a call does: a batch is [`Operations::run`], with a result
//! each.

mod lane;

use std::{
    collections::HashMap,
    panic::AssertUnwindSafe,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use futures_util::FutureExt;
use tenancy::DbError;
use tokio::sync::{Semaphore, oneshot};
use uuid::Uuid;

use crate::{Call, Command, OperationError, Operations, Reply};
use lane::{Lane, Waiting};

/// Batches of one tenant in flight: one in the database, one on its way there.
const LANES: usize = 2;
/// Calls of a batch. Each key costs an advisory lock, and the server's table of locks
/// is shared by all its connections.
const BATCH_MAX: usize = 512;
/// Batches of all tenants in flight on this node: they must leave connections to reads.
const BATCHES_MAX: usize = 8;
/// Calls of one tenant that may wait. Further ones are told to come back: a queue
/// that is longer than the patience of its clients works for nobody.
const WAITING_MAX: usize = 20_000;

type Outcome<C> = Result<Reply<<C as Command>::Output>, OperationError>;

/// A command whose calls may share a transaction with others of their kind: decided
/// in memory under its locks, so that one refusal never touches its neighbours.
pub trait Grouped: Command {
    /// The objects that it locks, as far as the request names them.
    fn locks(&self) -> impl Iterator<Item = Uuid>;
}

/// The queue of one kind of command. Cheap to clone; one a process, shared by
/// everything that accepts such calls.
pub struct Group<C: Grouped> {
    shared: Arc<Shared<C>>,
}

impl<C: Grouped> Clone for Group<C> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared) }
    }
}

impl<C: Grouped> std::fmt::Debug for Group<C> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Group").field("command", &C::NAME).finish_non_exhaustive()
    }
}

struct Shared<C: Grouped> {
    operations: Operations,
    places: Semaphore,
    lanes: Mutex<HashMap<Uuid, Lane<C>>>,
}

impl<C: Grouped> Group<C> {
    /// An empty queue before these operations.
    pub fn new(operations: Operations) -> Self {
        let shared =
            Shared { operations, places: Semaphore::new(BATCHES_MAX), lanes: Mutex::default() };
        Self { shared: Arc::new(shared) }
    }

    /// Runs one command, together with whatever else waits.
    pub async fn run_one(&self, call: Call<C>) -> Outcome<C> {
        self.run(vec![call]).await.pop().unwrap_or(Err(OperationError::Aborted))
    }

    /// Runs several and answers each in order. They are of one tenant or not, share a
    /// transaction or not: each stands for itself. A caller that goes away cancels
    /// nothing that was accepted.
    pub async fn run(&self, calls: Vec<Call<C>>) -> Vec<Outcome<C>> {
        let mut answers = Vec::with_capacity(calls.len());
        for (tenant, calls) in by_tenant(calls) {
            answers.extend(self.accept(tenant, calls));
        }
        answers.sort_unstable_by_key(|(position, _)| *position);
        let mut outcomes = Vec::with_capacity(answers.len());
        for (_, answer) in answers {
            outcomes.push(match answer {
                // The sender goes away unanswered only where its batch died.
                Ok(answer) => answer.await.unwrap_or(Err(OperationError::Aborted)),
                Err(busy) => Err(busy),
            });
        }
        outcomes
    }

    /// Puts calls into their tenant's queue, all of them or none.
    fn accept(&self, tenant: Uuid, calls: Vec<(usize, Call<C>)>) -> Accepted<C> {
        let mut lanes = self.shared.lanes();
        let lane = lanes.entry(tenant).or_default();
        if lane.waiting() + calls.len() > WAITING_MAX {
            metrics::counter!("strongroom_group_refused_total", "command" => C::NAME).increment(1);
            let busy = || DbError::Unavailable("too many operations are waiting".to_owned());
            return calls.into_iter().map(|(at, _)| (at, Err(busy().into()))).collect();
        }
        let mut answers = Vec::with_capacity(calls.len());
        for (position, call) in calls {
            let (answer, answered) = oneshot::channel();
            lane.push(Waiting { call, answer });
            answers.push((position, Ok(answered)));
        }
        if lane.open(LANES) {
            let own = self.clone();
            self.shared.operations.tasks().spawn(async move { own.drive(tenant).await });
        }
        answers
    }

    /// Runs batch after batch of a tenant until nothing waits that may run.
    async fn drive(&self, tenant: Uuid) {
        loop {
            // Taken first: whatever arrives while we wait for a place comes along.
            let place = self.shared.places.acquire().await;
            let Some((batch, locks)) = self.shared.lanes().get_mut(&tenant).and_then(Lane::take)
            else {
                break;
            };
            // A panic must not leave the lane shut and its objects locked for ever; who
            // waits for an answer of this batch learns that there is none.
            let ran = AssertUnwindSafe(self.run_batch(batch)).catch_unwind().await;
            if ran.is_err() {
                tracing::error!(command = C::NAME, "a batch panicked");
            }
            if let Some(lane) = self.shared.lanes().get_mut(&tenant) {
                lane.finished(&locks);
            }
            drop(place);
        }
        let mut lanes = self.shared.lanes();
        if lanes.get_mut(&tenant).is_some_and(Lane::is_deserted) {
            lanes.remove(&tenant);
        }
    }

    async fn run_batch(&self, batch: Vec<Waiting<C>>) {
        let (mut calls, answers): (Vec<_>, Vec<_>) =
            batch.into_iter().map(|waiting| (waiting.call, waiting.answer)).unzip();
        #[expect(clippy::cast_precision_loss, reason = "a batch is small")]
        metrics::histogram!("strongroom_group_batch_calls", "command" => C::NAME)
            .record(calls.len() as f64);
        let outcomes = self.shared.operations.run_whole(&mut calls).await;
        for (answer, outcome) in answers.into_iter().zip(outcomes) {
            // Whoever has gone away finds the answer under its key.
            drop(answer.send(outcome));
        }
    }
}

type Accepted<C> = Vec<(usize, Result<oneshot::Receiver<Outcome<C>>, OperationError>)>;

impl<C: Grouped> Shared<C> {
    /// Never held across an await, and nothing under it panics half-way.
    fn lanes(&self) -> MutexGuard<'_, HashMap<Uuid, Lane<C>>> {
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The calls of each tenant with their positions; nearly always there is one tenant.
fn by_tenant<C>(calls: Vec<Call<C>>) -> HashMap<Uuid, Vec<(usize, Call<C>)>> {
    let mut tenants: HashMap<Uuid, Vec<(usize, Call<C>)>> = HashMap::new();
    for (position, call) in calls.into_iter().enumerate() {
        tenants.entry(call.context.tenant_id()).or_default().push((position, call));
    }
    tenants
}
