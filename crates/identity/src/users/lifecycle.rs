//! Locking, unlocking, deleting and restoring people.
//!
//! A lock closes the password and ends what is open; it never blocks the owner's passkey
//! (that is what disabling is for). Deleting keeps the row, for whatever refers to it, with
//! the user name they acted under, which nobody else can take; everything personal, every
//! factor and every session is shredded in the same transaction, their key with it.
//! Restoring brings back name and roles and nothing else: they need a new invitation.
//!
//! Failures in this order: not permitted at all, not seen, not permitted, changed meanwhile,
//! oneself, somebody mightier, the last administrator.

use access::Permission;
use audit::{AuditEvent, EventType};
use operation::{Applied, Command, Failure, OperationError, Refusal, Target, event};
use serde_json::json;
use tenancy::{DbError, OpContext, TenantTx, keyring::renew_subject_key};
use uuid::Uuid;

use super::{
    LockReason, UserRecord,
    authority::{Hand, remember_hand},
    commands::{check_version, facts, facts_of_deleted},
};
use crate::{
    Identity,
    context::key_failure,
    recovery::one_time::{self, Purpose},
    sessions::{Forgotten, revoke_all},
};

const LOCK: &str = tenancy::sql!("identity/users.sql", "lock");
const LOCK_DELETED: &str = tenancy::sql!("identity/users.sql", "lock_deleted");
const STAFF_LOCK: &str = tenancy::sql!("identity/users.sql", "staff_lock");
const UNLOCK: &str = tenancy::sql!("identity/users.sql", "unlock");
const SHRED: &str = tenancy::sql!("identity/users.sql", "shred");
const RESTORE: &str = tenancy::sql!("identity/users.sql", "restore");

impl Identity {
    /// Locks an account until somebody unlocks it: its password opens nothing, its
    /// sessions and tokens end. `expected_version` as in [`Identity::update_user`].
    pub async fn lock_user(
        &self,
        context: &OpContext,
        user: Uuid,
        expected_version: Option<i64>,
        reason: LockReason,
    ) -> Result<UserRecord, OperationError> {
        self.run_step(context, user, expected_version, Step::Lock(reason)).await?;
        self.unaudited_user(context, user).await
    }

    /// Takes back a lock, staff's or that of wrong passwords, and forgets the failures.
    pub async fn unlock_user(
        &self,
        context: &OpContext,
        user: Uuid,
        expected_version: Option<i64>,
    ) -> Result<UserRecord, OperationError> {
        self.run_step(context, user, expected_version, Step::Unlock).await?;
        self.unaudited_user(context, user).await
    }

    /// Deletes somebody; see the module.
    pub async fn delete_user(
        &self,
        context: &OpContext,
        user: Uuid,
        expected_version: Option<i64>,
    ) -> Result<(), OperationError> {
        self.run_step(context, user, expected_version, Step::Delete).await
    }

    /// Restores somebody who was deleted: the name and the roles, with nothing to sign in
    /// with. 404 where nobody of that id was deleted.
    pub async fn restore_user(
        &self,
        context: &OpContext,
        user: Uuid,
        expected_version: Option<i64>,
    ) -> Result<UserRecord, OperationError> {
        let command = RestoreUser { identity: self.clone(), user, expected_version };
        self.run_and_forget(context, command, Forgotten::Standing(user)).await?;
        self.unaudited_user(context, user).await
    }

    async fn run_step(
        &self,
        context: &OpContext,
        user: Uuid,
        expected_version: Option<i64>,
        step: Step,
    ) -> Result<(), OperationError> {
        let command = ChangeStanding { identity: self.clone(), user, expected_version, step };
        // Obeyed at the next request.
        self.run_and_forget(context, command, Forgotten::Standing(user)).await
    }
}

/// What becomes of an account.
#[derive(Clone, Copy, Debug)]
enum Step {
    Lock(LockReason),
    Unlock,
    Delete,
}

/// Locks, unlocks or deletes an account.
struct ChangeStanding {
    identity: Identity,
    user: Uuid,
    expected_version: Option<i64>,
    step: Step,
}

impl Command for ChangeStanding {
    const NAME: &'static str = "user.standing";
    const RESOURCE: &'static str = "user";
    type Output = ();

    fn permission(&self) -> Permission {
        match self.step {
            Step::Lock(_) | Step::Unlock => Permission::UserUpdate,
            Step::Delete => Permission::UserDelete,
        }
    }

    async fn target(&self, transaction: &TenantTx, context: &OpContext) -> Result<Target, DbError> {
        Ok(facts(transaction, context, self.user)
            .await?
            .map_or(Target::Missing { field: None }, |facts| facts.target))
    }

    async fn execute(
        &self,
        transaction: &TenantTx,
        context: &OpContext,
    ) -> Result<Applied<()>, Failure> {
        let row = transaction.query_opt(LOCK, &[&context.tenant_id(), &self.user]).await?;
        let version = check_version(row.as_ref(), self.expected_version)?;
        let roles =
            facts(transaction, context, self.user).await?.ok_or_else(Refusal::not_found)?.roles;
        let held = (self.user, roles.as_slice());
        self.identity.check_power_over(transaction, context, held).await?;
        if !matches!(self.step, Step::Unlock) {
            self.identity.keep_an_administrator(transaction, context, held).await?;
        }
        let is_changed = self.apply(transaction, context).await?;
        let mut event = self.event(context);
        if is_changed {
            event = event.at_version(version + 1);
        }
        let status = if matches!(self.step, Step::Delete) { 204 } else { 200 };
        Ok(Applied { output: (), status, events: vec![event] })
    }
}

impl ChangeStanding {
    /// Whether anything was changed by it: unlocking takes nothing from whom nothing keeps out.
    async fn apply(&self, transaction: &TenantTx, context: &OpContext) -> Result<bool, DbError> {
        let tenant = context.tenant_id();
        match self.step {
            Step::Lock(reason) => {
                let reason = reason.as_str();
                transaction.execute(STAFF_LOCK, &[&tenant, &self.user, &reason]).await?;
                // What whoever was in there has asked for ends with their sessions.
                one_time::void(transaction, self.user, &Purpose::OF_A_SESSION).await?;
                revoke_all(transaction, self.user, "locked", None).await?;
                Ok(true)
            }
            Step::Unlock => {
                let row = transaction.query_opt(UNLOCK, &[&self.user]).await?;
                let row = row.ok_or_else(|| DbError::Corrupt("no answer to unlocking".into()))?;
                Ok(row.try_get("unlocked")?)
            }
            // Ends the sessions as well.
            Step::Delete => {
                transaction.query_opt(SHRED, &[&self.user]).await?;
                Ok(true)
            }
        }
    }

    fn event(&self, context: &OpContext) -> AuditEvent {
        let (event_type, action) = match self.step {
            Step::Lock(_) => (EventType::AccountLockout, "user.lock"),
            Step::Unlock => (EventType::AdminAction, "user.unlock"),
            Step::Delete => (EventType::DataModification, "user.delete"),
        };
        let record = event(context, event_type, action, Self::RESOURCE).resource_id(self.user);
        match self.step {
            Step::Lock(reason) => record.details(json!({ "reason": reason })),
            Step::Unlock => record,
            Step::Delete => record
                .details(json!({ "shredded": true, "kept": ["username", "roles"] }))
                .personal_fields(),
        }
    }
}

/// Restores an account.
struct RestoreUser {
    identity: Identity,
    user: Uuid,
    expected_version: Option<i64>,
}

impl Command for RestoreUser {
    const NAME: &'static str = "user.restore";
    const RESOURCE: &'static str = "user";
    type Output = ();

    fn permission(&self) -> Permission {
        Permission::UserDelete
    }

    async fn target(&self, transaction: &TenantTx, context: &OpContext) -> Result<Target, DbError> {
        Ok(facts_of_deleted(transaction, context, self.user)
            .await?
            .map_or(Target::Missing { field: None }, |facts| facts.target))
    }

    async fn execute(
        &self,
        transaction: &TenantTx,
        context: &OpContext,
    ) -> Result<Applied<()>, Failure> {
        let tenant = context.tenant_id();
        let row = transaction.query_opt(LOCK_DELETED, &[&tenant, &self.user]).await?;
        let version = check_version(row.as_ref(), self.expected_version)?;
        let before = facts_of_deleted(transaction, context, self.user).await?;
        let roles = before.ok_or_else(Refusal::not_found)?.roles;
        // Whom one may not make, one may not bring back.
        let held = (self.user, roles.as_slice());
        self.identity.check_power_over(transaction, context, held).await?;
        let keys = self.identity.inner.keyring.tenant_in(transaction).await.map_err(key_failure)?;
        let subject = keys.make_subject_key().map_err(key_failure)?;
        renew_subject_key(transaction, &keys, (self.user, &subject)).await.map_err(key_failure)?;
        transaction.execute(RESTORE, &[&tenant, &self.user]).await?;
        // Whoever brings somebody back decides who gets in by that name.
        remember_hand(transaction, context, (self.user, Hand::Restoration)).await?;
        let event = event(context, EventType::UserCreation, Self::NAME, Self::RESOURCE)
            .resource_id(self.user)
            .new_values(json!({ "roles": roles }))
            .at_version(version + 1);
        Ok(Applied { output: (), status: 200, events: vec![event] })
    }
}
