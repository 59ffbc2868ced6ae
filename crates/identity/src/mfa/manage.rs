//! A person's own factors: listed, named, removed, and new backup codes. Refuses to
//! reach another's: what is not one's own is not found.

use std::sync::Arc;

use access::Permission;
use audit::EventType;
use jiff::Timestamp;
use operation::{
    Applied, Call, Command, Failure, OperationError, Refusal, access_log::Access, event,
};
use serde_json::json;
use tenancy::{DbError, OpContext, Query, TenantTx};
use uuid::Uuid;
use zeroize::Zeroizing;

use super::{
    Held, Method,
    enrol::{checked_name, fresh_codes},
    enrol_commands::store_backup_codes,
    held, held_of,
    notices::{Told, tell},
    step_up::RECENT,
};
use crate::{
    Identity, session_begin,
    sessions::{Forgotten, own_user},
    tenant_state::TenantState,
    version,
};

const LOCK_OWN: &str = tenancy::sql!("identity/mfa.sql", "lock_own");
const RENAME: &str = tenancy::sql!("identity/mfa.sql", "rename");
const DISABLE: &str = tenancy::sql!("identity/mfa.sql", "disable");

/// A factor as its owner sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FactorRecord {
    /// Its id; backup codes, which come with the others, have none.
    pub id: Option<Uuid>,
    /// Which.
    pub method: Method,
    /// What its owner calls it.
    pub name: String,
    /// Since when it counts.
    pub confirmed_at: Option<Timestamp>,
    /// When it was last used.
    pub last_used_at: Option<Timestamp>,
    /// Of backup codes: how many are left.
    pub remaining: Option<i32>,
    /// Counts changes, not uses; backup codes have none.
    pub version: Option<i64>,
}

impl Identity {
    /// The person's own confirmed factors.
    pub async fn factors(&self, context: &OpContext) -> Result<Vec<FactorRecord>, OperationError> {
        let user = own_user(context)?;
        let operations = &self.inner.operations;
        let database = operations.database();
        let records: Vec<_> = self
            .factors_of(context, user)
            .await?
            .into_iter()
            .map(|held| FactorRecord {
                id: held.config,
                method: held.method,
                name: held.name,
                confirmed_at: held.confirmed_at,
                last_used_at: held.last_used_at,
                remaining: held.remaining,
                version: held.version,
            })
            .collect();
        let access = Access {
            action: "mfa.list",
            resource: "user",
            object: Some(user),
            allowed: true,
            count: records.len(),
        };
        operations.access_log().record(database, context, access).await;
        Ok(records)
    }

    /// What somebody may prove themselves with, for those who record the access.
    pub(super) async fn factors_of(
        &self,
        context: &OpContext,
        user: Uuid,
    ) -> Result<Vec<Held>, DbError> {
        let parameters: super::Parameters<'_, 1> = [&user];
        let database = self.inner.operations.database();
        held_of(&database.look_up(context, Query::new(super::METHODS, &parameters)).await?)
    }

    /// Gives one of the person's own factors another name, and says its new version.
    /// Refused, first found, with `validation_failed`, `not_found` where it is not theirs,
    /// `version_conflict` where it is not at the version expected.
    pub async fn rename_factor(
        &self,
        context: &OpContext,
        (factor, expected_version): (Uuid, Option<i64>),
        name: &str,
    ) -> Result<i64, OperationError> {
        let command = RenameFactor {
            user: own_user(context)?,
            factor,
            expected_version,
            name: checked_name(name)?,
        };
        let call = Call { context: context.clone(), idempotency_key: None, command };
        Ok(self.inner.operations.run_one(call).await?.output)
    }

    /// Removes one of the person's own factors. 403 `step_up_required`; 404; 412
    /// `version_conflict`; 422 `last_factor` where it is the only one.
    pub async fn remove_factor(
        &self,
        context: &OpContext,
        (factor, expected_version): (Uuid, Option<i64>),
    ) -> Result<(), OperationError> {
        let user = own_user(context)?;
        self.require_recent_factor(context, RECENT).await?;
        let state = self.state(context).await?;
        let command = RemoveFactor { user, factor, expected_version, state };
        self.run_and_forget(context, command, Forgotten::User(user)).await
    }

    /// A new set of backup codes in the place of the old one; shown now and never again.
    /// 403 `step_up_required`; 422 `no_factor` where there is nothing to back up.
    pub async fn regenerate_backup_codes(
        &self,
        context: &OpContext,
    ) -> Result<Vec<Zeroizing<String>>, OperationError> {
        let user = own_user(context)?;
        self.require_recent_factor(context, RECENT).await?;
        let state = self.state(context).await?;
        let (codes, hashes) = fresh_codes(&state, user);
        let command = RegenerateCodes { user, hashes };
        // Every session of the person goes on that waited for it.
        self.run_and_forget(context, command, Forgotten::User(user)).await?;
        Ok(codes)
    }
}

/// 422: there is no second factor to do this with.
pub(super) fn no_factor() -> Refusal {
    Refusal::rule("no_factor", "method", "You have no second factor: enrol one first")
}

/// Locks one of somebody's own factors that is at the version they have seen.
async fn locked(
    transaction: &TenantTx,
    (user, factor): (Uuid, Uuid),
    expected: Option<i64>,
) -> Result<(), Failure> {
    let parameters: super::Parameters<'_, 3> = [&transaction.tenant(), &user, &factor];
    let row = transaction.query_opt(LOCK_OWN, &parameters).await?;
    version::check(row.as_ref(), expected, "The factor was changed since it was read").map(drop)
}

struct RenameFactor {
    user: Uuid,
    factor: Uuid,
    expected_version: Option<i64>,
    name: String,
}

impl Command for RenameFactor {
    const NAME: &'static str = "mfa.rename";
    const RESOURCE: &'static str = "user";
    /// One's own factor, whatever the role; `own_user` made sure of it.
    const ANONYMOUS: bool = true;
    type Output = i64;

    fn permission(&self) -> Permission {
        Permission::UserUpdate
    }

    async fn execute(
        &self,
        transaction: &TenantTx,
        context: &OpContext,
    ) -> Result<Applied<i64>, Failure> {
        locked(transaction, (self.user, self.factor), self.expected_version).await?;
        let parameters: super::Parameters<'_, 4> =
            [&context.tenant_id(), &self.user, &self.factor, &self.name];
        let row = transaction.query_opt(RENAME, &parameters).await?;
        let row = row.ok_or_else(Refusal::not_found)?;
        let output = row.try_get("version").map_err(DbError::from)?;
        let event = event(context, EventType::DataModification, Self::NAME, Self::RESOURCE)
            .resource_id(self.user)
            .details(json!({ "factor": self.factor }));
        Ok(Applied { output, status: 204, events: vec![event] })
    }
}

struct RemoveFactor {
    user: Uuid,
    factor: Uuid,
    expected_version: Option<i64>,
    state: Arc<TenantState>,
}

impl Command for RemoveFactor {
    const NAME: &'static str = "mfa.remove";
    const RESOURCE: &'static str = "user";
    /// One's own factor, whatever the role; `own_user` made sure of it.
    const ANONYMOUS: bool = true;
    type Output = ();

    fn permission(&self) -> Permission {
        Permission::UserUpdate
    }

    async fn execute(
        &self,
        transaction: &TenantTx,
        context: &OpContext,
    ) -> Result<Applied<()>, Failure> {
        let account = session_begin::lock(transaction, context, self.user).await?;
        account.ok_or_else(Refusal::not_found)?;
        let held = held(transaction, self.user).await?;
        let factors = || held.iter().filter(|held| held.config.is_some());
        let removed = factors().find(|held| held.config == Some(self.factor));
        let removed = removed.ok_or_else(Refusal::not_found)?;
        locked(transaction, (self.user, self.factor), self.expected_version).await?;
        if factors().count() == 1 {
            let detail = "The only second factor stays: add another one first";
            return Err(Refusal::rule("last_factor", "id", detail).into());
        }
        transaction.query_opt(DISABLE, &[&self.user, &removed.method.as_str()]).await?;
        let told = Told::Removed { factor: &removed.name };
        tell(transaction, context, &self.state.keys, (self.user, told)).await?;
        let event = event(context, EventType::CredentialChange, Self::NAME, Self::RESOURCE)
            .resource_id(self.user)
            .details(json!({ "method": removed.method, "state": "removed" }));
        Ok(Applied { output: (), status: 204, events: vec![event] })
    }
}

struct RegenerateCodes {
    user: Uuid,
    hashes: Vec<[u8; 32]>,
}

impl Command for RegenerateCodes {
    const NAME: &'static str = "mfa.regenerate_backup_codes";
    const RESOURCE: &'static str = "user";
    /// One's own codes, whatever the role; `own_user` made sure of it.
    const ANONYMOUS: bool = true;
    type Output = ();

    fn permission(&self) -> Permission {
        Permission::UserUpdate
    }

    async fn execute(
        &self,
        transaction: &TenantTx,
        context: &OpContext,
    ) -> Result<Applied<()>, Failure> {
        session_begin::lock(transaction, context, self.user).await?;
        if !held(transaction, self.user).await?.iter().any(|held| held.config.is_some()) {
            return Err(no_factor().into());
        }
        store_backup_codes(transaction, context, (self.user, &self.hashes)).await?;
        let event = event(context, EventType::CredentialChange, Self::NAME, Self::RESOURCE)
            .resource_id(self.user)
            .details(json!({ "method": Method::Backup, "state": "replaced" }));
        Ok(Applied { output: (), status: 200, events: vec![event] })
    }
}
