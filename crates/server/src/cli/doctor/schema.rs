//! Owns the judgement of our schema: its history, what keeps tenants apart,
//! and how its tables and indexes fare.
//!
//! It refuses to know what the tables mean.

use tenancy::DbError;
use tenancy::migrate::{MigrateError, Migrator};
use tokio_postgres::Client;

use super::database::bytes;
use super::report::{Finding, plural};
use super::triggers;

const TENANT_TABLES: &str = tenancy::sql!("server/doctor.sql", "tenant_tables");
const TABLES: &str = tenancy::sql!("server/doctor.sql", "tables");
const INDEXES: &str = tenancy::sql!("server/doctor.sql", "indexes");

pub(super) const MIGRATIONS: &str = "schema.migrations";
pub(super) const ROW_SECURITY: &str = "schema.row_security";
pub(super) const TABLE_SIZES: &str = "schema.tables";
pub(super) const INDEX_USE: &str = "schema.indexes";

/// Smaller unused indexes cost nothing worth mentioning.
const INDEX_BYTES_MIN: i64 = 10 << 20;
/// A table with more dead rows than this share of living ones is not vacuumed.
const DEAD_SHARE_PERCENT_MAX: i64 = 50;
const DEAD_ROWS_MIN: i64 = 100_000;
/// Sequential scans of tables above this many rows are worth an index.
const SCANNED_ROWS_MIN: i64 = 100_000;

/// Whether the schema is this binary's; the rest makes sense only then.
pub(super) async fn migrations(client: &Client) -> (Finding, bool) {
    match Migrator::embedded().verify(client).await {
        Ok(verified) if verified.pending == 0 => {
            let found = format!("version {}, unchanged and complete", verified.current_version);
            (Finding::ok(MIGRATIONS, found), true)
        }
        Ok(verified) => {
            let found = format!(
                "{} {} pending (version {})",
                verified.pending,
                plural(verified.pending, "migration"),
                verified.current_version
            );
            (Finding::fault(MIGRATIONS, found, "strongroom migrate up"), false)
        }
        Err(error) => {
            let (mend, still_readable) = match &error {
                MigrateError::Tampered { .. } => (
                    "strongroom migrate status   (restore the migration, or the database from a backup)",
                    true,
                ),
                MigrateError::TooNew { .. } => {
                    ("install the newer binary: strongroom --version says which this is", false)
                }
                MigrateError::Gap { .. } | MigrateError::Unknown { .. } => {
                    ("strongroom migrate history", false)
                }
                _ => ("strongroom migrate status", false),
            };
            (Finding::fault(MIGRATIONS, error.to_string(), mend), still_readable)
        }
    }
}

/// Every other check of this file.
pub(super) async fn check(client: &Client) -> Result<Vec<Finding>, DbError> {
    let mut findings = row_security(client).await?;
    findings.extend(triggers::check(client).await?);
    findings.push(tables(client).await?);
    findings.push(indexes(client).await?);
    Ok(findings)
}

pub(super) fn as_owner(statement: &str) -> String {
    format!("psql \"$DATABASE_OWNER_URL\" -c 'SET ROLE strongroom_owner' -c '{statement}'")
}

async fn row_security(client: &Client) -> Result<Vec<Finding>, DbError> {
    let rows = client.query(TENANT_TABLES, &[]).await?;
    let mut findings = Vec::new();
    for row in &rows {
        let (name, owner): (String, String) = (row.try_get("name")?, row.try_get("owner")?);
        let flag = |column: &str| row.try_get::<_, bool>(column);
        if !flag("enabled")? {
            let statement = format!("ALTER TABLE {name} ENABLE ROW LEVEL SECURITY");
            let found = format!("{name} has row security switched off: every tenant sees it all");
            findings.push(Finding::fault(ROW_SECURITY, found, as_owner(&statement)));
        }
        if !flag("forced")? {
            let statement = format!("ALTER TABLE {name} FORCE ROW LEVEL SECURITY");
            let found = format!("{name} does not force row security on its owner");
            findings.push(Finding::fault(ROW_SECURITY, found, as_owner(&statement)));
        }
        if !flag("isolated")? {
            let found = format!("{name} has lost its policy tenant_isolation");
            let mend =
                "strongroom migrate status   (restore the policy as migration 0001 makes it)";
            findings.push(Finding::fault(ROW_SECURITY, found, mend));
        }
        if owner != "strongroom_owner" {
            let statement = format!("ALTER TABLE {name} OWNER TO strongroom_owner");
            let found = format!("{name} belongs to {owner}");
            let mend = format!("sudo -u postgres psql -c '{statement}'");
            findings.push(Finding::fault(ROW_SECURITY, found, mend));
        }
    }
    if findings.is_empty() {
        let found = format!("forced on all {} tables of tenants", rows.len());
        findings.push(Finding::ok(ROW_SECURITY, found));
    }
    Ok(findings)
}

async fn tables(client: &Client) -> Result<Finding, DbError> {
    let rows = client.query(TABLES, &[]).await?;
    let (mut total, mut largest) = (0_i64, Vec::new());
    for row in &rows {
        let (name, size): (String, i64) = (row.try_get("name")?, row.try_get("bytes")?);
        let (live, dead): (i64, i64) = (row.try_get("live_rows")?, row.try_get("dead_rows")?);
        if dead > DEAD_ROWS_MIN
            && dead.saturating_mul(100) > live.saturating_mul(DEAD_SHARE_PERCENT_MAX)
        {
            let found = format!(
                "{name} has {dead} dead rows beside {live} living ones: autovacuum does not keep up"
            );
            let mend = as_owner(&format!("VACUUM (ANALYZE) {name}"));
            return Ok(Finding::warning(TABLE_SIZES, found, mend));
        }
        total += size;
        largest.push(format!("{name} {}", bytes(size.unsigned_abs())));
    }
    largest.truncate(3);
    let found = format!(
        "{} tables, {}; the largest: {}",
        rows.len(),
        bytes(total.unsigned_abs()),
        largest.join(", ")
    );
    Ok(Finding::ok(TABLE_SIZES, found))
}

async fn indexes(client: &Client) -> Result<Finding, DbError> {
    let rows = client.query(INDEXES, &[]).await?;
    let mut unused = Vec::new();
    for row in &rows {
        let name: String = row.try_get("name")?;
        if !row.try_get::<_, bool>("is_valid")? {
            let found = format!("the index {name} is invalid: it costs and serves nothing");
            return Ok(Finding::warning(
                INDEX_USE,
                found,
                as_owner(&format!("REINDEX INDEX CONCURRENTLY {name}")),
            ));
        }
        let (size, scans): (i64, i64) = (row.try_get("bytes")?, row.try_get("scans")?);
        if scans == 0 && size > INDEX_BYTES_MIN && !row.try_get::<_, bool>("is_unique")? {
            unused.push(format!("{name} {}", bytes(size.unsigned_abs())));
        }
    }
    let scanned = often_scanned(client).await?;
    let found = format!("{} indexes", rows.len());
    if unused.is_empty() && scanned.is_empty() {
        return Ok(Finding::ok(INDEX_USE, format!("{found}, no large one is unused")));
    }
    let mut remarks = vec![found];
    if !unused.is_empty() {
        remarks.push(format!(
            "{} never read since the statistics began: {}",
            unused.len(),
            unused.join(", ")
        ));
    }
    if !scanned.is_empty() {
        remarks.push(format!(
            "large and mostly read from end to end: {} (see --queries)",
            scanned.join(", ")
        ));
    }
    Ok(Finding::note(INDEX_USE, remarks.join("; ")))
}

/// Large tables of which a sequential scan reads many rows: an index may be missing.
async fn often_scanned(client: &Client) -> Result<Vec<String>, DbError> {
    let mut names = Vec::new();
    for row in client.query(TABLES, &[]).await? {
        let (scans, read): (i64, i64) =
            (row.try_get("sequential_scans")?, row.try_get("sequential_rows")?);
        let live: i64 = row.try_get("live_rows")?;
        if live > SCANNED_ROWS_MIN && scans > 100 && read / scans.max(1) > live / 2 {
            names.push(row.try_get("name")?);
        }
    }
    Ok(names)
}
