//! Lookups, which are reads of a few rows by their key in one statement: the hottest
//! path there is.
//!
//! Such a read needs no transaction of its own making: a single statement is one. The
//! settings are made by the statement itself, before it reads ([`with_settings`]), so
//! one message goes out and one comes back, where BEGIN, settings, query and COMMIT
//! would be four. And because nothing is left open behind it, any number of readers
//! may share a connection: a few carry all of them, their messages pipelined, and
//! PostgreSQL switches between few backends instead of many (measured: docs/performance.md).
//!
//! Sharing has a price: who waits holds up those behind it. Plain reads wait for locks of
//! DDL alone, and here no longer than [`OPTIONS`] say: then that read is told to come
//! back, and its neighbours go on. The bound is a parameter of the connection. Set by the
//! statement itself it would come too late, for a statement's tables are locked when it is
//! parsed, and again when its plan is looked at, both before anything of it runs.
//!
//! It refuses to know what is read, and never writes: the statement's own transaction
//! is made read-only before it reads.

use std::{
    collections::HashMap,
    fmt::Write as _,
    sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock},
    time::{Duration, Instant},
};

use deadpool_postgres::{ClientWrapper, Object, Pool};
use tokio_postgres::{Row, types::ToSql};

use crate::{DbError, Query, timing::timed, transaction::Settings};

/// Connections that carry reads. More than the cores of a small database server keep
/// no core busier; fewer would let one slow list hold up every other read.
pub(crate) const READERS: usize = 4;
/// As for every connection: failovers and changed parameters reach all in an hour.
const MAX_AGE: Duration = Duration::from_secs(3_600);

/// Of these connections: how long a read waits for a lock, and one plan for as long as
/// they live, over indexes. What finds rows by their key has one good plan; left to choose,
/// PostgreSQL plans anew each time where an array is short (0.6 ms before a read of
/// 0.1 ms), and keeps reading a table from end to end that was empty when it planned. A
/// plan that may not do so and has to looks so dear that it would be compiled: never.
pub(crate) const OPTIONS: &str = "-c lock_timeout=2000 -c plan_cache_mode=force_generic_plan \
     -c enable_seqscan=off -c jit=off";

/// After a restart of the server every slot's connection is dead: so many may turn out
/// to be before a living one is made, and the server may go down again meanwhile.
const ATTEMPTS: usize = 2 * READERS;

/// How often, and how long apart, it is looked whether a connection ends after an error.
const DYING_LOOKS: usize = 2;
const DYING: Duration = Duration::from_millis(1);

/// The shared connections of one database.
pub(crate) struct Readers {
    pool: Pool,
    /// How long a read waits for a connection, as everywhere.
    wait: Duration,
    slots: [Slot; READERS],
    composed: RwLock<HashMap<&'static str, Arc<str>>>,
}

#[derive(Default)]
struct Slot {
    current: Mutex<Option<Arc<Reader>>>,
    /// Held while the slot's connection is made, so that a crowd makes one.
    opening: tokio::sync::Mutex<()>,
}

struct Reader {
    client: ClientWrapper,
    opened: Instant,
}

impl Readers {
    /// Readers over connections of that pool, which nobody else takes from: theirs have
    /// the bound on waiting for locks.
    pub(crate) fn new(pool: Pool, wait: Duration) -> Self {
        Self { pool, wait, slots: Default::default(), composed: RwLock::default() }
    }

    /// Runs the statement under the settings. A connection that turns out to be dead
    /// is replaced: a read can always be repeated.
    pub(crate) async fn read(
        &self,
        settings: &Settings,
        query: Query<'_>,
    ) -> Result<Vec<Row>, DbError> {
        let mut attempt = 1;
        loop {
            let reader = self.reader().await?;
            match self.read_on(&reader, settings, query).await {
                Err(error) if attempt < ATTEMPTS && is_outdated(&error) => self.retire(&reader),
                Err(_) if attempt < ATTEMPTS && reader.has_died().await => {}
                outcome => return outcome,
            }
            attempt += 1;
        }
    }

    async fn read_on(
        &self,
        reader: &Reader,
        settings: &Settings,
        query: Query<'_>,
    ) -> Result<Vec<Row>, DbError> {
        let text = self.composed(query);
        let statement = reader.client.prepare_cached(&text).await?;
        let mut parameters: Vec<&(dyn ToSql + Sync)> = query.parameters.to_vec();
        parameters.extend(settings.parameters());
        Ok(timed(query.sql, reader.client.query(&statement, &parameters)).await?)
    }

    fn composed(&self, query: Query<'_>) -> Arc<str> {
        let known = self.composed.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(text) = known.get(query.sql) {
            return Arc::clone(text);
        }
        drop(known);
        let text: Arc<str> = with_settings(query.sql, query.parameters.len()).into();
        let mut known = self.composed.write().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(known.entry(query.sql).or_insert(text))
    }

    /// The connection with the fewest readers; a slot without a living one is filled
    /// before a busy one is shared further.
    async fn reader(&self) -> Result<Arc<Reader>, DbError> {
        let mut least: Option<Arc<Reader>> = None;
        for slot in &self.slots {
            let Some(reader) = slot.living() else {
                // Busy ones serve while somebody else is at making this one.
                let Ok(opening) = slot.opening.try_lock() else { continue };
                let opened = self.open(slot).await;
                drop(opening);
                return opened;
            };
            // Each reader in flight holds a reference: they are the count.
            let is_less = |best: &Arc<Reader>| Arc::strong_count(&reader) < Arc::strong_count(best);
            if least.as_ref().is_none_or(is_less) {
                least = Some(reader);
            }
        }
        if let Some(reader) = least {
            Ok(reader)
        } else {
            let slot = &self.slots[0];
            let opening = tokio::time::timeout(self.wait, slot.opening.lock()).await;
            let late = |_| DbError::Unavailable("no connection in time".to_owned());
            let _opening = opening.map_err(late)?;
            match slot.living() {
                Some(reader) => Ok(reader),
                None => self.open(slot).await,
            }
        }
    }

    /// Takes a connection out of its slot; who uses it still may finish.
    fn retire(&self, reader: &Arc<Reader>) {
        for slot in &self.slots {
            slot.current().take_if(|current| Arc::ptr_eq(current, reader));
        }
    }

    async fn open(&self, slot: &Slot) -> Result<Arc<Reader>, DbError> {
        // Out of the pool for good: it is shared, and the pool lends to one at a time.
        let client = Object::take(self.pool.get().await?);
        let reader = Arc::new(Reader { client, opened: Instant::now() });
        *slot.current() = Some(Arc::clone(&reader));
        Ok(reader)
    }
}

impl Reader {
    /// Whether the connection is gone. The server's last words ("shutting down") come
    /// shortly before its end is noticed.
    async fn has_died(&self) -> bool {
        for _ in 0..DYING_LOOKS {
            if self.client.is_closed() {
                return true;
            }
            tokio::time::sleep(DYING).await;
        }
        self.client.is_closed()
    }
}

impl Slot {
    /// Never held across an await.
    fn current(&self) -> MutexGuard<'_, Option<Arc<Reader>>> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn living(&self) -> Option<Arc<Reader>> {
        let reader = self.current().clone()?;
        (!reader.client.is_closed() && reader.opened.elapsed() < MAX_AGE).then_some(reader)
    }
}

/// 0A000: a migration changed what a prepared statement gives; it must be prepared anew.
fn is_outdated(error: &DbError) -> bool {
    error.state() == Some("0A000")
}

/// The statement behind its settings. `wanted` depends on a column of `act` and
/// OFFSET 0 keeps it a query of its own, so that it can only be entered once `act` has
/// given its row, that is after the settings were made: until then row security sees
/// no tenant and nothing can be read. The settings are local to the statement, which
/// is the transaction.
fn with_settings(sql: &str, parameters: usize) -> String {
    let mut text = "WITH act AS MATERIALIZED (SELECT \
        set_config('transaction_read_only', 'on', true) AS read_only"
        .to_owned();
    for (position, setting) in Settings::NAMES.into_iter().enumerate() {
        let number = parameters + position + 1;
        // Writing to a String never fails.
        let _ = write!(text, ", set_config('{setting}', ${number}::text, true) AS s{position}");
    }
    let wanted = sql.trim_end().trim_end_matches(';');
    let _ = write!(
        text,
        ") SELECT wanted.* FROM act CROSS JOIN LATERAL \
         (SELECT * FROM (\n{wanted}\n) AS plain WHERE act.s0 <> '' OFFSET 0) AS wanted"
    );
    text
}

#[cfg(test)]
mod tests {
    use super::with_settings;

    #[test]
    fn parameters_of_the_settings_follow_the_statements_own() {
        let text = with_settings("SELECT 1 WHERE $1::uuid = $2::uuid;\n", 2);
        assert!(text.contains("set_config('app.current_tenant', $3::text, true) AS s0"), "{text}");
        assert!(text.contains("set_config('app.now', $7::text, true) AS s4"), "{text}");
        assert!(text.contains("(\nSELECT 1 WHERE $1::uuid = $2::uuid\n) AS plain"), "{text}");
    }
}
