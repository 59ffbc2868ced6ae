//! Whether the sessions that a batch came in are still alive.

use std::collections::HashSet;

use tenancy::{DbError, OpContext};
use tokio_postgres::Row;
use uuid::Uuid;

use crate::Refusal;

pub(crate) const LIVE: &str = tenancy::sql!("operation/session.sql", "live_sessions");

/// The ids of live sessions in the rows of [`LIVE`].
pub(crate) fn live(rows: &[Row]) -> Result<HashSet<Uuid>, DbError> {
    Ok(rows.iter().map(|row| row.try_get("id")).collect::<Result<_, _>>()?)
}

/// Refuses a caller whose session has ended.
pub(crate) fn check(context: &OpContext, live: &HashSet<Uuid>) -> Result<(), Refusal> {
    match context.session {
        Some(session) if !live.contains(&session.0) => {
            Err(Refusal::unauthenticated("token_revoked", "Token has been revoked"))
        }
        _ => Ok(()),
    }
}
