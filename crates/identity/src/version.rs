//! Optimistic locking: a change names the version that its maker has seen.
//!
//! Asked of a row under its lock, or two changes could both find the version they saw.

use operation::{Failure, Refusal, RefusalKind};
use tenancy::DbError;
use tokio_postgres::Row;

/// The version of a row under its lock, where it is there and the caller has seen it; none is
/// any. `changed` says what was changed meanwhile.
pub(crate) fn check(
    row: Option<&Row>,
    expected: Option<i64>,
    changed: &'static str,
) -> Result<i64, Failure> {
    let version: i64 =
        row.ok_or_else(Refusal::not_found)?.try_get("version").map_err(DbError::from)?;
    same(version, expected, changed)?;
    Ok(version)
}

/// Whether this is the version that the caller has seen; none is any.
pub(crate) fn same(
    version: i64,
    expected: Option<i64>,
    changed: &'static str,
) -> Result<(), Refusal> {
    if expected.is_none_or(|expected| expected == version) {
        return Ok(());
    }
    Err(Refusal::new(RefusalKind::PreconditionFailed, "version_conflict", changed))
}
