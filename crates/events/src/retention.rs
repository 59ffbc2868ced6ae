//! Owns forgetting: the log of events is a feed to read on from, not an archive. What
//! happened stays in the audit log.

use tenancy::{Database, DbError, OpContext};

const FORGET_OLD: &str = tenancy::sql!("events/log.sql", "forget_old");

/// Forgets a batch of the context's tenant's events that are older than 30 days, and says how
/// many it were.
pub async fn forget_old(database: &Database, context: &OpContext) -> Result<u64, DbError> {
    let transaction = database.begin(context).await?;
    let forgotten = transaction.execute(FORGET_OLD, &[&transaction.tenant()]).await?;
    transaction.commit().await?;
    Ok(forgotten)
}
