//! Owns that the months to come have their partitions of the log before their first record.
//!
//! Refuses to know: when partitions go, and who says so.

use tenancy::{Database, DbError};

const MAKE: &str = tenancy::sql!("audit/partitions.sql", "make");

/// Months beside this one: nobody has to look after a worker that stood still for weeks.
pub const MONTHS_AHEAD: i32 = 2;

/// Makes those that are missing, and says how many. Harmless beside its twin on another node.
/// What has no partition of its month goes into the rest of its class, and nothing is lost.
pub async fn make_ahead(database: &Database) -> Result<i32, DbError> {
    let connection = database.system_connection().await?;
    Ok(connection.query_one(MAKE, &[&MONTHS_AHEAD]).await?.try_get("made")?)
}
