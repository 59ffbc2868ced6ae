//! Owns the small conversions between columns and the tree's own types.
//!
//! Refuses to know: what the numbers count.

use tenancy::DbError;
use tokio_postgres::Row;

use crate::merkle::Hash;

/// A hash column.
pub(crate) fn hash_of(row: &Row, column: usize) -> Result<Hash, DbError> {
    let bytes: &[u8] = row.try_get(column)?;
    bytes.try_into().map_err(|_| DbError::Corrupt("a hash is not 32 bytes long".to_owned()))
}

/// A size or index as the database holds it.
pub(crate) fn signed(number: u64) -> Result<i64, DbError> {
    i64::try_from(number).map_err(|_| DbError::Corrupt("a tree size is out of range".to_owned()))
}

/// A size or index out of the database.
pub(crate) fn unsigned(number: i64) -> Result<u64, DbError> {
    u64::try_from(number).map_err(|_| DbError::Corrupt("a tree size is negative".to_owned()))
}
