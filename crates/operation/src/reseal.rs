//! Sealing anew: what belongs to no person moves to the newest key of its tenant, page by
//! page. What belongs to a person is under a key of theirs, which is wrapped anew instead
//! ([`crate::RewrapKeys`]).
//!
//! A page and the cursor behind it are one transaction: who is killed has lost a page at most,
//! and nothing of it is half done. Pages of a tenant wait for each other and for every change
//! of its keys ([`Keyring::lock`]), on whatever node.

use std::sync::Arc;

use access::Permission;
use audit::{AuditEvent, EventType, Outcome};
use serde::{Deserialize, Serialize};
use serde_json::json;
use tenancy::{
    DbError, OpContext, Query, TenantTx,
    cells::{Cell, Reseal, Sealed},
    keyring::{Keyring, KeyringError, Rotatable, TenantKeys},
};
use tokio_postgres::{Row, types::ToSql};
use uuid::Uuid;
use vault::TenantKey as _;

use crate::{Applied, Command, Failure, Operations, event, key_admin::RETIRED_AT_LEAST};

const DUE: &str = tenancy::sql!("tenancy/resealing.sql", "due");
const AIM: &str = tenancy::sql!("tenancy/resealing.sql", "aim");
const NEXT: &str = tenancy::sql!("tenancy/resealing.sql", "next");
const ADVANCE: &str = tenancy::sql!("tenancy/resealing.sql", "advance");

const RESOURCE: &str = "data_key";

/// Values that are sealed anew in one transaction.
const PAGE: i64 = 500;

impl Operations {
    /// Whether a tenant has values that wait to be sealed anew.
    pub async fn is_reseal_due(
        &self,
        context: &OpContext,
        sealed: &[Sealed],
    ) -> Result<bool, DbError> {
        let columns = i64::try_from(resealable(sealed).count()).unwrap_or(i64::MAX);
        let settled_after = RETIRED_AT_LEAST.as_secs();
        let parameters: [&(dyn ToSql + Sync); 3] = [&context.tenant_id(), &columns, &settled_after];
        let rows = self.database.read(context, &[Query::new(DUE, &parameters)]).await?;
        // A tenant without keys has nothing sealed.
        rows.iter().flatten().next().map_or(Ok(false), |row| Ok(row.try_get("is_due")?))
    }
}

fn resealable(sealed: &[Sealed]) -> impl Iterator<Item = (&'static Cell, Reseal)> {
    let cells = sealed.iter().flat_map(|one| one.cells);
    cells.filter_map(|cell| Some((cell, cell.reseal?)))
}

/// What one page came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ValuesResealed {
    /// Values sealed anew.
    pub values: usize,
    /// Values that could not be opened, and were left as they are.
    pub skipped: usize,
    /// Values of the column that wait still.
    pub left: i64,
    /// Whether nothing is left to do for now.
    pub is_over: bool,
}

/// Seals one page of one column anew. To be repeated until nothing is left for now; some
/// minutes after the rotation a second pass makes sure that no slow node is left behind.
///
/// A value that cannot be opened is told by every pass that meets it.
pub struct ResealValues {
    /// The keys.
    pub keyring: Arc<Keyring>,
    /// What the domains seal.
    pub sealed: &'static [Sealed],
}

impl Command for ResealValues {
    const NAME: &'static str = "data_key.reseal";
    const RESOURCE: &'static str = RESOURCE;
    type Output = ValuesResealed;

    fn permission(&self) -> Permission {
        Permission::KeyRotate
    }

    async fn execute(
        &self,
        transaction: &TenantTx,
        context: &OpContext,
    ) -> Result<Applied<ValuesResealed>, Failure> {
        self.keyring.lock(transaction).await.map_err(failure)?;
        let keys = self.keyring.current_in(transaction).await.map_err(failure)?;
        let Some(mut job) = self.next(transaction, context, &keys).await? else {
            let output = ValuesResealed { is_over: true, ..ValuesResealed::default() };
            return Ok(Applied { output, status: 200, events: Vec::new() });
        };
        job.begin(transaction, &keys).await?;
        let page = job.page(transaction, &keys).await?;
        let values = job.write(transaction, &page).await?;
        job.advance(transaction, &page, values).await?;
        let output = ValuesResealed {
            values,
            skipped: page.unopened.len(),
            left: (job.total - job.done - job.skipped).max(0),
            is_over: false,
        };
        let mut events = page.violations(context, job.cell);
        events.extend(job.end(context, &keys));
        Ok(Applied { output, status: 200, events })
    }
}

impl ResealValues {
    /// The column to go on with.
    async fn next(
        &self,
        transaction: &TenantTx,
        context: &OpContext,
        keys: &TenantKeys,
    ) -> Result<Option<Job>, Failure> {
        let epoch = i32::try_from(keys.field().context().epoch).unwrap_or(i32::MAX);
        let before = self.keyring.standing(transaction, Rotatable::FieldData, epoch - 1).await;
        let Some(before) = before.map_err(failure)? else { return Ok(None) };
        let (tables, columns): (Vec<&str>, Vec<&str>) =
            resealable(self.sealed).map(|(cell, _)| (cell.table, cell.column)).unzip();
        let tenant = transaction.tenant();
        transaction.execute(AIM, &[&tenant, &epoch, &tables, &columns]).await?;
        let is_settled = context.clock.now().duration_since(before.retired_at) >= RETIRED_AT_LEAST;
        let row = transaction.query_opt(NEXT, &[&tenant, &is_settled]).await?;
        Ok(row.map(|row| Job::read(&row, self.sealed)).transpose()?)
    }
}

/// Where a pass over a column stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Running,
    Waiting,
    Verifying,
    Done,
}

impl State {
    const ALL: [Self; 4] = [Self::Running, Self::Waiting, Self::Verifying, Self::Done];

    const fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Waiting => "waiting",
            Self::Verifying => "verifying",
            Self::Done => "done",
        }
    }
}

/// A column on its way to the newest key.
struct Job {
    cell: &'static Cell,
    reseal: Reseal,
    state: State,
    cursor: Uuid,
    done: i64,
    total: i64,
    skipped: i64,
}

impl Job {
    fn read(row: &Row, sealed: &[Sealed]) -> Result<Self, DbError> {
        let (table, column, state): (&str, &str, &str) =
            (row.try_get("table_name")?, row.try_get("column_name")?, row.try_get("state")?);
        let mut cells = resealable(sealed);
        let cell = cells.find(|(cell, _)| cell.table == table && cell.column == column);
        let state = State::ALL.into_iter().find(|known| known.as_str() == state);
        let ((cell, reseal), state) = cell
            .zip(state)
            .ok_or_else(|| DbError::Corrupt(format!("a rotation of {table}.{column}")))?;
        Ok(Self {
            cell,
            reseal,
            state,
            cursor: row.try_get("cursor")?,
            done: row.try_get("done")?,
            total: row.try_get("total")?,
            skipped: row.try_get("skipped")?,
        })
    }

    /// Counts what is to be done where a pass begins here.
    async fn begin(&mut self, transaction: &TenantTx, keys: &TenantKeys) -> Result<(), DbError> {
        if self.state == State::Waiting {
            (self.state, self.cursor, self.skipped) = (State::Verifying, Uuid::nil(), 0);
        }
        if self.cursor.is_nil() {
            let parameters: [&(dyn ToSql + Sync); 2] =
                [&transaction.tenant(), &keys.field().id().0];
            let row = transaction.query_opt(self.reseal.behind, &parameters).await?;
            let behind = row.map_or(Ok(0), |row| row.try_get::<_, i64>("behind"))?;
            self.total = self.done + behind;
        }
        Ok(())
    }

    async fn page(&self, transaction: &TenantTx, keys: &TenantKeys) -> Result<Page, Failure> {
        let parameters: [&(dyn ToSql + Sync); 4] =
            [&transaction.tenant(), &keys.field().id().0, &self.cursor, &PAGE];
        let mut page = Page::default();
        for row in transaction.query(self.reseal.page, &parameters).await? {
            let (id, sealed) = (
                row.try_get("id").map_err(DbError::from)?,
                row.try_get("sealed").map_err(DbError::from)?,
            );
            page.take(keys, self.cell, id, sealed)?;
        }
        Ok(page)
    }

    /// Writes what is still as it was read; says how many that were. What was changed since
    /// is under the newest key already, or left to the second pass.
    async fn write(&self, transaction: &TenantTx, page: &Page) -> Result<usize, DbError> {
        let parameters: [&(dyn ToSql + Sync); 4] =
            [&transaction.tenant(), &page.rows, &page.before, &page.anew];
        let written = transaction.execute(self.reseal.write, &parameters).await?;
        Ok(usize::try_from(written).unwrap_or(usize::MAX))
    }

    async fn advance(
        &mut self,
        transaction: &TenantTx,
        page: &Page,
        written: usize,
    ) -> Result<(), DbError> {
        let count = |rows: usize| i64::try_from(rows).unwrap_or(i64::MAX);
        self.done += count(written);
        self.skipped += count(page.unopened.len());
        self.cursor = page.last.unwrap_or(self.cursor);
        if count(page.rows.len() + page.unopened.len()) < PAGE {
            self.state = if self.state == State::Running { State::Waiting } else { State::Done };
        }
        let (cell, state) = (self.cell, self.state.as_str());
        let parameters: [&(dyn ToSql + Sync); 8] = [
            &transaction.tenant(),
            &cell.table,
            &cell.column,
            &state,
            &self.cursor,
            &self.done,
            &self.total,
            &self.skipped,
        ];
        transaction.execute(ADVANCE, &parameters).await?;
        Ok(())
    }

    /// The record of a column that is through.
    fn end(&self, context: &OpContext, keys: &TenantKeys) -> Option<AuditEvent> {
        let record = event(context, EventType::KeyManagement, ResealValues::NAME, RESOURCE)
            .resource_id(keys.field().id().0)
            .details(json!({
                "table": self.cell.table,
                "column": self.cell.column,
                "epoch": keys.field().context().epoch,
                "done": self.done,
                "skipped": self.skipped,
            }));
        (self.state == State::Done).then_some(record)
    }
}

/// Some values of a column, those that open sealed anew.
#[derive(Default)]
struct Page {
    rows: Vec<Uuid>,
    before: Vec<Vec<u8>>,
    anew: Vec<Vec<u8>>,
    unopened: Vec<(Uuid, KeyringError)>,
    last: Option<Uuid>,
}

impl Page {
    fn take(
        &mut self,
        keys: &TenantKeys,
        cell: &Cell,
        row: Uuid,
        before: Vec<u8>,
    ) -> Result<(), Failure> {
        self.last = Some(row);
        match keys.reseal_own(cell.at(row), &before) {
            Ok(anew) => {
                self.rows.push(row);
                self.before.push(before);
                self.anew.push(anew);
            }
            // The keys were read behind the lock that whoever makes one waits for: one that is
            // not among them does not exist.
            Err(error) if error.is_lasting() || matches!(error, KeyringError::NotYetKnown(_)) => {
                self.unopened.push((row, error));
            }
            Err(error) => return Err(failure(error)),
        }
        Ok(())
    }

    /// A record of every value that does not open: it was moved, altered, or is another's.
    fn violations(&self, context: &OpContext, cell: &Cell) -> Vec<AuditEvent> {
        let record = |(row, error): &(Uuid, KeyringError)| {
            event(context, EventType::SecurityViolation, ResealValues::NAME, RESOURCE)
                .resource_id(*row)
                .outcome(Outcome::Failed)
                .details(json!({
                    "reason": "value_does_not_open",
                    "table": cell.table,
                    "column": cell.column,
                    "row": row,
                    "error": error.to_string(),
                }))
        };
        self.unopened.iter().map(record).collect()
    }
}

fn failure(error: KeyringError) -> Failure {
    Failure::Database(DbError::from(error))
}
