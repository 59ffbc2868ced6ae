//! Forgetting challenges that nobody answered: what stands between two steps of a sign-in,
//! and what browsers were asked to sign. What a worker runs for each tenant.
//!
//! Refuses to know what a challenge is for: its end is all that counts.

use operation::OperationError;
use tenancy::OpContext;

use crate::Identity;

const OF_CODES: &str = tenancy::sql!("identity/mfa.sql", "forget_old_challenges");
const OF_PASSKEYS: &str = tenancy::sql!("identity/passkeys.sql", "forget_old_challenges");

impl Identity {
    /// Forgets challenges whose end is long over, one batch of each kind; for a worker. Says
    /// how many.
    pub async fn forget_challenges(&self, context: &OpContext) -> Result<u64, OperationError> {
        let transaction = self.inner.operations.database().begin(context).await?;
        let mut forgotten = 0;
        for statement in [OF_CODES, OF_PASSKEYS] {
            forgotten += transaction.execute(statement, &[&context.tenant_id()]).await?;
        }
        transaction.commit().await?;
        Ok(forgotten)
    }
}
