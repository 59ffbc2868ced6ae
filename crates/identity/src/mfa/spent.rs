//! Backup codes that are nearly used up: whoever has two or fewer left makes a new set
//! before anything else. Refuses to know which requests may still be made; callers do.

use operation::{OperationError, Refusal, RefusalKind, access_log::Access};
use tenancy::{OpContext, SessionId};

use super::{BACKUP_CODES_FEW, Method};
use crate::{Identity, claims::token_revoked};

impl Identity {
    /// 403 `backup_codes_due` where the caller used backup codes until two or fewer were
    /// left: such a session makes new ones before it does anything else. Where the password
    /// has expired as well, that comes first, and nothing is said here.
    pub async fn refuse_spent_backup_codes(
        &self,
        context: &OpContext,
    ) -> Result<(), OperationError> {
        if !self.owes_backup_codes(context).await? || self.has_expired_password(context).await? {
            return Ok(());
        }
        let access = Access {
            action: "mfa.backup_codes_due",
            resource: "user",
            object: Some(context.actor.id),
            allowed: false,
            count: 1,
        };
        let operations = &self.inner.operations;
        operations.access_log().record(operations.database(), context, access).await;
        let detail = "Two backup codes or fewer are left: make a new set first";
        Err(Refusal::new(RefusalKind::Denied, "backup_codes_due", detail).into())
    }

    /// Whether the caller has to make new backup codes.
    pub async fn owes_backup_codes(&self, context: &OpContext) -> Result<bool, OperationError> {
        let Some(SessionId(session)) = context.session else { return Ok(false) };
        let state = self.state(context).await?;
        // A tenant that has no such codes any more asks for none.
        if !state.policy.mfa.methods.iter().any(|name| name == Method::Backup.as_str()) {
            return Ok(false);
        }
        let facts = self.session(context, session).await?.ok_or_else(token_revoked)?;
        Ok(facts.backup_codes_left.is_some_and(|left| left <= i64::from(BACKUP_CODES_FEW)))
    }
}
