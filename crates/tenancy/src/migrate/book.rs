//! Owns the two tables that record migrations, and the transaction around each:
//! the script and its record commit together or not at all.

use std::time::Instant;

use jiff::Timestamp;
use tokio_postgres::error::ErrorPosition;
use tokio_postgres::{Client, Row, Transaction};

use super::{MigrateError, Migration, roles};

/// Any fixed number: all runners of one database must use the same.
const LOCK_KEY: i64 = 0x5374_726f_6e67_726f;

/// `schema_migrations` is what holds now; the history keeps every step, also
/// those taken back, and nobody but the owner writes either.
const TABLES: &str = "\
CREATE TABLE IF NOT EXISTS schema_migrations (
    version           integer PRIMARY KEY CHECK (version > 0),
    name              text NOT NULL,
    checksum_up       text NOT NULL,
    checksum_down     text NOT NULL,
    min_binary        integer NOT NULL,
    applied_at        timestamptz NOT NULL,
    applied_by        text NOT NULL,
    execution_time_ms bigint NOT NULL
);
CREATE TABLE IF NOT EXISTS schema_migrations_history (
    id                bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    version           integer NOT NULL,
    name              text NOT NULL,
    direction         text NOT NULL CHECK (direction IN ('up', 'down')),
    checksum          text NOT NULL,
    min_binary        integer NOT NULL,
    applied_at        timestamptz NOT NULL,
    applied_by        text NOT NULL,
    execution_time_ms bigint NOT NULL
);
GRANT SELECT ON schema_migrations, schema_migrations_history
    TO strongroom_app, strongroom_sealer, strongroom_auditor;";

const RECORD: &str = "INSERT INTO schema_migrations \
    (version, name, checksum_up, checksum_down, min_binary, applied_at, applied_by, execution_time_ms) \
    VALUES ($1, $2, $3, $4, $5, clock_timestamp(), session_user, $6) RETURNING *";

const REMEMBER: &str = "INSERT INTO schema_migrations_history \
    (version, name, direction, checksum, min_binary, applied_at, applied_by, execution_time_ms) \
    VALUES ($1, $2, $3, $4, $5, clock_timestamp(), session_user, $6)";

/// False where the schema is older than what records its steps in the tenants' logs.
const CAN_RECORD: &str =
    "SELECT to_regprocedure('public.record_migration(text, integer, text)') IS NOT NULL";

/// No row where the owner's role does not exist.
const WHO: &str = "SELECT current_user = rolname AS is_owner, \
           pg_has_role(current_user, oid, 'MEMBER') AS may_become, \
           quote_ident(current_user) AS login \
      FROM pg_roles WHERE rolname = 'strongroom_owner'";

/// A migration that the database holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AppliedMigration {
    /// Number of the migration.
    pub version: u32,
    /// Its name.
    pub name: String,
    /// SHA-256 of the up script as applied, in hexadecimal.
    pub checksum_up: String,
    /// SHA-256 of the down script at that time, in hexadecimal.
    pub checksum_down: String,
    /// Schema version of the oldest binary that works with it.
    pub min_binary: u32,
    /// When it was applied.
    pub applied_at: Timestamp,
    /// The login that applied it.
    pub applied_by: String,
    /// How long its script took, in milliseconds.
    pub execution_time_ms: i64,
}

/// Which way a step went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// Applied.
    Up,
    /// Taken back.
    Down,
}

impl Direction {
    /// `up` or `down`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::Down => "down",
        }
    }
}

/// One step that was ever taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HistoryEntry {
    /// Number of the migration.
    pub version: u32,
    /// Its name.
    pub name: String,
    /// Which way.
    pub direction: Direction,
    /// SHA-256 of the script that ran, in hexadecimal.
    pub checksum: String,
    /// When.
    pub applied_at: Timestamp,
    /// The login that ran it.
    pub applied_by: String,
    /// How long the script took, in milliseconds.
    pub execution_time_ms: i64,
}

/// Whether [`leave`] has to give the owner's role back.
#[derive(Debug, Clone, Copy)]
pub(super) struct Restore {
    reset_role: bool,
}

/// Becomes the owner, takes the runners' lock and makes the tables.
pub(super) async fn enter(client: &Client) -> Result<Restore, MigrateError> {
    let reset_role = become_owner(client).await?;
    client.execute("SELECT pg_advisory_lock($1)", &[&LOCK_KEY]).await?;
    let restore = Restore { reset_role };
    if let Err(error) = make_tables(client).await {
        leave(client, restore).await?;
        return Err(error);
    }
    Ok(restore)
}

/// Undoes [`enter`], so that the connection can be used for something else.
pub(super) async fn leave(client: &Client, restore: Restore) -> Result<(), MigrateError> {
    client.execute("SELECT pg_advisory_unlock($1)", &[&LOCK_KEY]).await?;
    if restore.reset_role {
        client.batch_execute("RESET ROLE").await?;
    }
    Ok(())
}

/// Rows of `schema_migrations` by version; none where the table is not there.
pub(super) async fn applied(client: &Client) -> Result<Vec<AppliedMigration>, MigrateError> {
    if !tables_exist(client).await? {
        return Ok(Vec::new());
    }
    let rows = client.query("SELECT * FROM schema_migrations ORDER BY version", &[]).await?;
    rows.iter().map(applied_row).collect()
}

/// Rows of the history in order; none where the table is not there.
pub(super) async fn history(client: &Client) -> Result<Vec<HistoryEntry>, MigrateError> {
    if !tables_exist(client).await? {
        return Ok(Vec::new());
    }
    let rows = client.query("SELECT * FROM schema_migrations_history ORDER BY id", &[]).await?;
    rows.iter().map(history_row).collect()
}

/// Runs the up script and records it.
pub(super) async fn apply(
    client: &mut Client,
    migration: &Migration,
    lock_timeout_ms: u32,
) -> Result<AppliedMigration, MigrateError> {
    let failed = failure_of(migration, &migration.up);
    let transaction = client.transaction().await?;
    let elapsed_ms =
        run_script(&transaction, &migration.up, lock_timeout_ms).await.map_err(&failed)?;
    let row = transaction
        .query_one(
            RECORD,
            &[
                &number(migration.version),
                &migration.name,
                &migration.checksum_up(),
                &migration.checksum_down(),
                &number(migration.min_binary),
                &elapsed_ms,
            ],
        )
        .await
        .map_err(&failed)?;
    remember(&transaction, migration, Direction::Up, elapsed_ms).await.map_err(&failed)?;
    transaction.commit().await.map_err(&failed)?;
    applied_row(&row)
}

/// Runs the down script and removes the record; the history keeps both.
pub(super) async fn take_back(
    client: &mut Client,
    migration: &Migration,
    lock_timeout_ms: u32,
) -> Result<(), MigrateError> {
    let failed = failure_of(migration, &migration.down);
    let transaction = client.transaction().await?;
    let elapsed_ms =
        run_script(&transaction, &migration.down, lock_timeout_ms).await.map_err(&failed)?;
    transaction
        .execute("DELETE FROM schema_migrations WHERE version = $1", &[&number(migration.version)])
        .await
        .map_err(&failed)?;
    remember(&transaction, migration, Direction::Down, elapsed_ms).await.map_err(&failed)?;
    transaction.commit().await.map_err(&failed)
}

async fn run_script(
    transaction: &Transaction<'_>,
    script: &str,
    lock_timeout_ms: u32,
) -> Result<i64, tokio_postgres::Error> {
    // A backfill may take longer than a request may; waiting for a lock may not.
    // One record of the step (`remember`) stands for the rows it changes.
    let settings = format!(
        "SET LOCAL lock_timeout = {lock_timeout_ms}; SET LOCAL statement_timeout = 0; \
         SET LOCAL app.operation = 'yes'"
    );
    transaction.batch_execute(&settings).await?;
    let start = Instant::now();
    transaction.batch_execute(script).await?;
    Ok(i64::try_from(start.elapsed().as_millis()).unwrap_or(i64::MAX))
}

async fn remember(
    transaction: &Transaction<'_>,
    migration: &Migration,
    direction: Direction,
    elapsed_ms: i64,
) -> Result<(), tokio_postgres::Error> {
    let checksum = match direction {
        Direction::Up => migration.checksum_up(),
        Direction::Down => migration.checksum_down(),
    };
    let (version, min_binary) = (number(migration.version), number(migration.min_binary));
    let direction = direction.as_str();
    transaction
        .execute(
            REMEMBER,
            &[&version, &migration.name, &direction, &checksum, &min_binary, &elapsed_ms],
        )
        .await?;
    if transaction.query_one(CAN_RECORD, &[]).await?.get(0) {
        transaction
            .execute("CALL record_migration($1, $2, $3)", &[&direction, &version, &migration.name])
            .await?;
    }
    Ok(())
}

async fn make_tables(client: &Client) -> Result<(), MigrateError> {
    if !tables_exist(client).await? {
        client.batch_execute(TABLES).await?;
    }
    Ok(())
}

async fn tables_exist(client: &Client) -> Result<bool, MigrateError> {
    let row = client
        .query_one("SELECT to_regclass('public.schema_migrations_history') IS NOT NULL", &[])
        .await?;
    Ok(row.get(0))
}

/// Returns whether the role was changed.
async fn become_owner(client: &Client) -> Result<bool, MigrateError> {
    let found = client.query_opt(WHO, &[]).await?;
    let Some(row) = found else { return Err(roles::not_allowed(client).await?) };
    if row.get("is_owner") {
        return Ok(false);
    }
    if !row.get::<_, bool>("may_become") {
        return Err(MigrateError::NotOwner { login: row.get("login") });
    }
    client.batch_execute("SET ROLE strongroom_owner").await?;
    Ok(true)
}

fn failure_of<'a>(
    migration: &'a Migration,
    script: &'a str,
) -> impl Fn(tokio_postgres::Error) -> MigrateError + 'a {
    move |source| MigrateError::Failed {
        version: migration.version,
        name: migration.name.clone(),
        line: failing_line(script, &source),
        source,
    }
}

/// The server counts characters from the script's start, people count lines.
fn failing_line(script: &str, error: &tokio_postgres::Error) -> Option<usize> {
    let Some(ErrorPosition::Original(position)) = error.as_db_error()?.position() else {
        return None;
    };
    let before = script.chars().take(usize::try_from(*position).ok()?.saturating_sub(1));
    Some(before.filter(|character| *character == '\n').count() + 1)
}

fn applied_row(row: &Row) -> Result<AppliedMigration, MigrateError> {
    Ok(AppliedMigration {
        version: unsigned(row.try_get("version")?),
        name: row.try_get("name")?,
        checksum_up: row.try_get("checksum_up")?,
        checksum_down: row.try_get("checksum_down")?,
        min_binary: unsigned(row.try_get("min_binary")?),
        applied_at: row.try_get("applied_at")?,
        applied_by: row.try_get("applied_by")?,
        execution_time_ms: row.try_get("execution_time_ms")?,
    })
}

fn history_row(row: &Row) -> Result<HistoryEntry, MigrateError> {
    let direction = match row.try_get("direction")? {
        "down" => Direction::Down,
        _ => Direction::Up,
    };
    Ok(HistoryEntry {
        version: unsigned(row.try_get("version")?),
        name: row.try_get("name")?,
        direction,
        checksum: row.try_get("checksum")?,
        applied_at: row.try_get("applied_at")?,
        applied_by: row.try_get("applied_by")?,
        execution_time_ms: row.try_get("execution_time_ms")?,
    })
}

/// Versions are small; one that does not fit is stored as none we know.
fn number(version: u32) -> i32 {
    i32::try_from(version).unwrap_or(i32::MAX)
}

fn unsigned(version: i32) -> u32 {
    u32::try_from(version).unwrap_or(0)
}
