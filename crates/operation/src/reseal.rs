//! Sealing anew: what belongs to no person moves to the newest key of its tenant, page by
//! page. What belongs to a person is under a key of theirs, which is wrapped anew instead
//! ([`crate::RewrapKeys`]). Blind indexes move to the newest index key in the same way, made
//! anew from what they stand for.
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
    cells::{Cell, Meaning, Reindex, Reseal, Sealed},
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
    /// Whether a tenant has values that wait to be sealed or indexed anew.
    pub async fn is_reseal_due(
        &self,
        context: &OpContext,
        sealed: &[Sealed],
    ) -> Result<bool, DbError> {
        let settled_after = RETIRED_AT_LEAST.as_secs();
        let mut is_due = false;
        for what in MADE_ANEW {
            let (tables, columns) = names(sealed, what);
            let parameters: [&(dyn ToSql + Sync); 5] =
                [&context.tenant_id(), &what.purpose().as_str(), &tables, &columns, &settled_after];
            let rows = self.database.read(context, &[Query::new(DUE, &parameters)]).await?;
            // A tenant without keys has nothing sealed.
            let due = rows.iter().flatten().next().map(|row| row.try_get("is_due"));
            is_due |= due.transpose()?.unwrap_or(false);
        }
        Ok(is_due)
    }
}

/// Keys whose newest generation everything moves to by itself.
const MADE_ANEW: [Rotatable; 2] = [Rotatable::FieldData, Rotatable::BlindIndex];

/// A column that moves to the newest generation of a key.
#[derive(Clone, Copy)]
struct Column {
    cell: &'static Cell,
    way: Way,
}

#[derive(Clone, Copy)]
enum Way {
    /// Its values are sealed anew.
    Seal(Reseal),
    /// It is what a cell is found by, and made anew from what that holds.
    Index(&'static str, &'static Meaning, Reindex),
}

impl Column {
    const fn name(&self) -> &'static str {
        match self.way {
            Way::Seal(_) => self.cell.column,
            Way::Index(name, ..) => name,
        }
    }

    const fn behind(&self) -> &'static str {
        match &self.way {
            Way::Seal(statements) => statements.behind,
            Way::Index(.., statements) => statements.behind,
        }
    }

    const fn page(&self) -> &'static str {
        match &self.way {
            Way::Seal(statements) => statements.page,
            Way::Index(.., statements) => statements.page,
        }
    }

    const fn write(&self) -> &'static str {
        match &self.way {
            Way::Seal(statements) => statements.write,
            Way::Index(.., statements) => statements.write,
        }
    }
}

/// The columns that move with a key.
fn columns(sealed: &[Sealed], what: Rotatable) -> Vec<Column> {
    let cells = sealed.iter().flat_map(|one| one.cells);
    let column = |cell: &'static Cell| {
        let way = if what == Rotatable::BlindIndex {
            let index = cell.index.as_ref()?;
            Way::Index(index.column, index.meanings.first()?, index.reindex?)
        } else {
            Way::Seal(cell.reseal?)
        };
        Some(Column { cell, way })
    };
    cells.filter_map(column).collect()
}

fn names(sealed: &[Sealed], what: Rotatable) -> (Vec<&'static str>, Vec<&'static str>) {
    columns(sealed, what).iter().map(|column| (column.cell.table, column.name())).unzip()
}

/// The generation that everything moves to.
#[derive(Clone, Copy)]
struct Newest {
    key: Uuid,
    epoch: i32,
}

impl Newest {
    fn of(keys: &TenantKeys, what: Rotatable) -> Self {
        let (key, epoch) = if what == Rotatable::BlindIndex {
            (keys.index().context().key, keys.index().context().epoch)
        } else {
            (keys.field().context().key, keys.field().context().epoch)
        };
        Self { key: key.0, epoch: i32::try_from(epoch).unwrap_or(i32::MAX) }
    }

    /// What tells what is under it from what is not: an id in a header, or a first byte.
    const fn mark(&self, column: &Column) -> &(dyn ToSql + Sync) {
        match column.way {
            Way::Seal(_) => &self.key,
            Way::Index(..) => &self.epoch,
        }
    }
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

/// Seals or indexes one page of one column anew. To be repeated until nothing is left for now; some
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
        job.begin(transaction).await?;
        let page = job.page(transaction, &keys).await?;
        let values = job.write(transaction, &page).await?;
        job.advance(transaction, &page, values).await?;
        let output = ValuesResealed {
            values,
            skipped: page.unopened.len(),
            left: (job.total - job.done - job.skipped).max(0),
            is_over: false,
        };
        let mut events = page.violations(context, &job.column);
        events.extend(job.end(context));
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
        for what in MADE_ANEW {
            let job = self.next_of(transaction, context, (what, Newest::of(keys, what))).await?;
            if job.is_some() {
                return Ok(job);
            }
        }
        Ok(None)
    }

    async fn next_of(
        &self,
        transaction: &TenantTx,
        context: &OpContext,
        (what, newest): (Rotatable, Newest),
    ) -> Result<Option<Job>, Failure> {
        let before = self.keyring.standing(transaction, what, newest.epoch - 1).await;
        let Some(before) = before.map_err(failure)? else { return Ok(None) };
        let (tables, columns) = names(self.sealed, what);
        let tenant = transaction.tenant();
        transaction.execute(AIM, &[&tenant, &newest.epoch, &tables, &columns]).await?;
        let is_settled = context.clock.now().duration_since(before.retired_at) >= RETIRED_AT_LEAST;
        let parameters: [&(dyn ToSql + Sync); 4] = [&tenant, &tables, &columns, &is_settled];
        let row = transaction.query_opt(NEXT, &parameters).await?;
        Ok(row.map(|row| Job::read(&row, self.sealed, (what, newest))).transpose()?)
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
    column: Column,
    newest: Newest,
    state: State,
    cursor: Uuid,
    done: i64,
    total: i64,
    skipped: i64,
}

impl Job {
    fn read(
        row: &Row,
        sealed: &[Sealed],
        (what, newest): (Rotatable, Newest),
    ) -> Result<Self, DbError> {
        let (table, name, state): (&str, &str, &str) =
            (row.try_get("table_name")?, row.try_get("column_name")?, row.try_get("state")?);
        let mut columns = columns(sealed, what).into_iter();
        let column = columns.find(|column| column.cell.table == table && column.name() == name);
        let state = State::ALL.into_iter().find(|known| known.as_str() == state);
        let (column, state) = column
            .zip(state)
            .ok_or_else(|| DbError::Corrupt(format!("a rotation of {table}.{name}")))?;
        Ok(Self {
            column,
            newest,
            state,
            cursor: row.try_get("cursor")?,
            done: row.try_get("done")?,
            total: row.try_get("total")?,
            skipped: row.try_get("skipped")?,
        })
    }

    /// Counts what is to be done where a pass begins here.
    async fn begin(&mut self, transaction: &TenantTx) -> Result<(), DbError> {
        if self.state == State::Waiting {
            (self.state, self.cursor, self.skipped) = (State::Verifying, Uuid::nil(), 0);
        }
        if self.cursor.is_nil() {
            let parameters: [&(dyn ToSql + Sync); 2] =
                [&transaction.tenant(), self.newest.mark(&self.column)];
            let row = transaction.query_opt(self.column.behind(), &parameters).await?;
            let behind = row.map_or(Ok(0), |row| row.try_get::<_, i64>("behind"))?;
            self.total = self.done + behind;
        }
        Ok(())
    }

    async fn page(&self, transaction: &TenantTx, keys: &TenantKeys) -> Result<Page, Failure> {
        let mark = self.newest.mark(&self.column);
        let parameters: [&(dyn ToSql + Sync); 4] =
            [&transaction.tenant(), mark, &self.cursor, &PAGE];
        let mut page = Page::default();
        for row in transaction.query(self.column.page(), &parameters).await? {
            page.take(keys, &self.column, &row)?;
        }
        Ok(page)
    }

    /// Writes what is still as it was read; says how many that were. What was changed since
    /// is under the newest key already, or left to the second pass.
    async fn write(&self, transaction: &TenantTx, page: &Page) -> Result<usize, DbError> {
        let parameters: [&(dyn ToSql + Sync); 4] =
            [&transaction.tenant(), &page.rows, &page.before, &page.anew];
        let written = transaction.execute(self.column.write(), &parameters).await?;
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
        let parameters: [&(dyn ToSql + Sync); 8] = [
            &transaction.tenant(),
            &self.column.cell.table,
            &self.column.name(),
            &self.state.as_str(),
            &self.cursor,
            &self.done,
            &self.total,
            &self.skipped,
        ];
        transaction.execute(ADVANCE, &parameters).await?;
        Ok(())
    }

    /// The record of a column that is through.
    fn end(&self, context: &OpContext) -> Option<AuditEvent> {
        let record = event(context, EventType::KeyManagement, ResealValues::NAME, RESOURCE)
            .resource_id(self.newest.key)
            .details(json!({
                "table": self.column.cell.table,
                "column": self.column.name(),
                "epoch": self.newest.epoch,
                "done": self.done,
                "skipped": self.skipped,
            }));
        (self.state == State::Done).then_some(record)
    }
}

/// Some values of a column, those that open made anew.
#[derive(Default)]
struct Page {
    rows: Vec<Uuid>,
    before: Vec<Vec<u8>>,
    anew: Vec<Vec<u8>>,
    unopened: Vec<(Uuid, KeyringError)>,
    last: Option<Uuid>,
}

impl Page {
    fn take(&mut self, keys: &TenantKeys, column: &Column, row: &Row) -> Result<(), Failure> {
        let id: Uuid = row.try_get("id").map_err(DbError::from)?;
        self.last = Some(id);
        match made_anew(keys, column, (id, row)) {
            Ok((before, anew)) => {
                self.rows.push(id);
                self.before.push(before);
                self.anew.push(anew);
            }
            // The keys were read behind the lock that whoever makes one waits for: one that is
            // not among them does not exist.
            Err(error @ (KeyringError::NotYetKnown(_) | KeyringError::Shredded)) => {
                self.unopened.push((id, error));
            }
            Err(error) if error.is_lasting() => self.unopened.push((id, error)),
            Err(error) => return Err(failure(error)),
        }
        Ok(())
    }

    /// A record of every value that does not open: it was moved, altered, or is another's.
    fn violations(&self, context: &OpContext, column: &Column) -> Vec<AuditEvent> {
        let record = |(row, error): &(Uuid, KeyringError)| {
            event(context, EventType::SecurityViolation, ResealValues::NAME, RESOURCE)
                .resource_id(*row)
                .outcome(Outcome::Failed)
                .details(json!({
                    "reason": "value_does_not_open",
                    "table": column.cell.table,
                    "column": column.name(),
                    "row": row,
                    "error": error.to_string(),
                }))
        };
        self.unopened.iter().map(record).collect()
    }
}

/// What stood in a row, and what is to stand there.
fn made_anew(
    keys: &TenantKeys,
    column: &Column,
    (id, row): (Uuid, &Row),
) -> Result<(Vec<u8>, Vec<u8>), KeyringError> {
    let bytes = |name: &str| row.try_get::<_, Vec<u8>>(name).map_err(DbError::from);
    let sealed = bytes("sealed")?;
    let Way::Index(_, meaning, _) = column.way else {
        let anew = keys.reseal_own(column.cell.at(id), &sealed)?;
        return Ok((sealed, anew));
    };
    let before = bytes("before")?;
    let (key, epoch) = (row.try_get("key_id"), row.try_get("kek_epoch"));
    let subject = keys.open_subject_key(
        key.map_err(DbError::from)?,
        epoch.map_err(DbError::from)?,
        row.try_get("wrapped_key").map_err(DbError::from)?,
    )?;
    let anew = keys.reindexed(&subject, column.cell.at(id), meaning, (sealed, &before))?;
    Ok((before, anew))
}

fn failure(error: KeyringError) -> Failure {
    Failure::Database(DbError::from(error))
}
