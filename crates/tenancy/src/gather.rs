//! Reads of one object each that wait at the same moment share a statement.
//!
//! While [`LANES`] statements of a kind are on their way the next one gathers, so that
//! the settings, the trip and the switch to a backend are paid by as many as arrived
//! meanwhile; nobody waits for company, and an idle lane takes a statement of one at
//! once. Each read sees what was committed before it was asked, because its statement
//! starts later. Measured: docs/performance.md.
//!
//! It refuses to know what is read, and to mix tenants: a statement is one tenant's, and
//! each asker stands in it beside the object that they ask for.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::oneshot;
use tokio_postgres::{Row, types::ToSql};
use uuid::Uuid;

use crate::{Database, DbError, OpContext, Query, transaction::Settings};

/// Statements of one kind and tenant on their way: one in the database while another
/// one's rows are being read.
const LANES: usize = 2;
/// Reads of one statement: bounds its time, which all of them wait for.
const BATCH_MAX: usize = 128;

type Answer = Result<Option<Row>, DbError>;

/// A statement in which objects and the actors who ask for them are arrays: `$1` is the
/// tenant, `$2::uuid[]` the objects, `$3::uuid[]` the actors. It gives at most one row for
/// each pair, with the pair's `position` from 0.
#[derive(Clone, Copy, Debug)]
pub struct Gathered(pub &'static str);

/// The reads that wait.
#[derive(Default)]
pub(crate) struct Gather {
    lanes: Mutex<HashMap<Place, Lane>>,
}

/// A tenant, and the address of a statement's text.
type Place = (Uuid, usize);

#[derive(Default)]
struct Lane {
    drivers: usize,
    waiting: Vec<Waiting>,
}

struct Waiting {
    object: Uuid,
    actor: Uuid,
    settings: Settings,
    answer: oneshot::Sender<Answer>,
}

impl Database {
    /// The object as the context's actor would read it, none where there is none.
    pub async fn read_one(&self, context: &OpContext, statement: Gathered, object: Uuid) -> Answer {
        let (answer, answered) = oneshot::channel();
        let (tenant, actor) = (context.tenant_id(), context.actor.id);
        let waiting = Waiting { object, actor, settings: Settings::of(context), answer };
        if let Some(driver) = self.gather.enter((tenant, statement.0.as_ptr().addr()), waiting) {
            // A task of its own: who hangs up takes nobody's answer along.
            let database = self.clone();
            tokio::spawn(async move { database.drive(driver, (tenant, statement)).await });
        }
        let lost = |_| Err(DbError::Unavailable("the read was lost".to_owned()));
        answered.await.unwrap_or_else(lost)
    }

    /// Statement after statement until nothing waits.
    async fn drive(&self, mut driver: Driver, of: (Uuid, Gathered)) {
        while let Some(batch) = driver.next() {
            self.answer(of, batch).await;
        }
    }

    async fn answer(&self, of: (Uuid, Gathered), batch: Vec<Waiting>) {
        match self.rows_of(of, &batch).await {
            Ok(rows) => {
                for (waiting, row) in batch.into_iter().zip(rows) {
                    waiting.tell(Ok(row));
                }
            }
            Err(DbError::Unavailable(why)) => {
                for waiting in batch {
                    waiting.tell(Err(DbError::Unavailable(why.clone())));
                }
            }
            // A lock, for whose end each would wait as long again.
            Err(DbError::Stopped(why)) => {
                for waiting in batch {
                    waiting.tell(Err(DbError::Stopped(why.clone())));
                }
            }
            // Whose fault it is shows when each stands alone.
            Err(_) => {
                for waiting in batch {
                    let row = self.rows_of(of, std::slice::from_ref(&waiting)).await;
                    waiting.tell(row.map(|mut rows| rows.pop().flatten()));
                }
            }
        }
    }

    async fn rows_of(
        &self,
        (tenant, statement): (Uuid, Gathered),
        batch: &[Waiting],
    ) -> Result<Vec<Option<Row>>, DbError> {
        let [first, others @ ..] = batch else { return Ok(Vec::new()) };
        let others = others.iter().map(|waiting| &waiting.settings);
        let (settings, _) = Settings::common(first.settings.clone(), others);
        let objects: Vec<Uuid> = batch.iter().map(|waiting| waiting.object).collect();
        let actors: Vec<Uuid> = batch.iter().map(|waiting| waiting.actor).collect();
        let parameters: [&(dyn ToSql + Sync); 3] = [&tenant, &objects, &actors];
        let found = self.readers.read(&settings, Query::new(statement.0, &parameters)).await?;
        let mut rows: Vec<Option<Row>> = batch.iter().map(|_| None).collect();
        for row in found {
            let position: i64 = row.try_get("position")?;
            let slot = usize::try_from(position).ok().and_then(|position| rows.get_mut(position));
            *slot.ok_or_else(|| DbError::Corrupt("position of an object".to_owned()))? = Some(row);
        }
        Ok(rows)
    }
}

impl Waiting {
    fn tell(self, answer: Answer) {
        // Whoever hung up misses it.
        drop(self.answer.send(answer));
    }
}

impl Gather {
    /// Waits in the lane; gives a driver where one more may run.
    fn enter(self: &Arc<Self>, place: Place, waiting: Waiting) -> Option<Driver> {
        let mut lanes = self.lanes();
        let lane = lanes.entry(place).or_default();
        lane.waiting.push(waiting);
        if lane.drivers == LANES {
            return None;
        }
        lane.drivers += 1;
        Some(Driver { gather: Arc::clone(self), place, drives: true })
    }

    /// Never held across an await.
    fn lanes(&self) -> MutexGuard<'_, HashMap<Place, Lane>> {
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The right to send a lane's statements, until nothing waits or the driver dies.
struct Driver {
    gather: Arc<Gather>,
    place: Place,
    drives: bool,
}

impl Driver {
    /// The next batch, or the end. Whether anything waits is asked under the same lock
    /// under which the right is given back: nobody is left behind in between.
    fn next(&mut self) -> Option<Vec<Waiting>> {
        let mut lanes = self.gather.lanes();
        let lane = lanes.get_mut(&self.place)?;
        let rest = lane.waiting.split_off(lane.waiting.len().min(BATCH_MAX));
        let batch = std::mem::replace(&mut lane.waiting, rest);
        if batch.is_empty() {
            self.drives = false;
            lane.drivers -= 1;
            if lane.drivers == 0 {
                lanes.remove(&self.place);
            }
            return None;
        }
        Some(batch)
    }
}

impl Drop for Driver {
    /// After a panic: whoever waits learns that there is no answer, instead of waiting
    /// for a driver that is no more.
    fn drop(&mut self) {
        if self.drives {
            let mut lanes = self.gather.lanes();
            if let Some(lane) = lanes.get_mut(&self.place) {
                lane.drivers -= 1;
                lane.waiting.clear();
            }
        }
    }
}
