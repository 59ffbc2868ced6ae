//! Whether the sessions that a batch came in are still alive.

use std::collections::HashMap;

use tenancy::{DbError, OpContext};
use tokio_postgres::Row;
use uuid::Uuid;

use crate::Refusal;

pub(crate) const LIVE: &str = tenancy::sql!("operation/session.sql", "live_sessions");

/// Whose the live sessions in the rows of [`LIVE`] are, by session.
pub(crate) fn live(rows: &[Row]) -> Result<HashMap<Uuid, Uuid>, DbError> {
    let owners = rows.iter().map(|row| Ok((row.try_get("id")?, row.try_get("user_id")?)));
    Ok(owners.collect::<Result<_, tokio_postgres::Error>>()?)
}

/// Refuses a caller whose session has ended, or never was theirs.
pub(crate) fn check(context: &OpContext, live: &HashMap<Uuid, Uuid>) -> Result<(), Refusal> {
    match context.session {
        Some(session) if live.get(&session.0) != Some(&context.actor.id) => {
            Err(Refusal::unauthenticated("token_revoked", "Token has been revoked"))
        }
        _ => Ok(()),
    }
}
