//! One's own passkeys: the list, their names, taking one away.
//!
//! Taking one away needs a factor used lately, or whoever finds an open screen takes the
//! owner's keys from them. With the last one goes the factor. Refuses to know others'.

use std::sync::Arc;

use access::Permission;
use audit::EventType;
use operation::{
    Applied, Call, Command, Failure, OperationError, Refusal, access_log::Access, event,
};
use serde_json::json;
use tenancy::{
    DbError, OpContext, Query, TenantTx,
    keyring::{KeyringError, TenantKeys, load_subject_keys},
};
use tokio_postgres::Row;
use uuid::Uuid;
use vault::DataKey;

use super::{
    Parameters, PasskeyRecord,
    authority::{own_session, require_fresh},
};
use crate::{
    Identity,
    claims::token_revoked,
    context::key_failure,
    mfa::{Told, checked_name, held, tell},
    session_begin,
    sessions::{Forgotten, own_user},
    tenant_state::TenantState,
    version,
};

const LIST: &str = tenancy::sql!("identity/passkeys.sql", "list");
const LOCK_OWN: &str = tenancy::sql!("identity/passkeys.sql", "lock_own");
const RENAME: &str = tenancy::sql!("identity/passkeys.sql", "rename");
const REMOVE: &str = tenancy::sql!("identity/passkeys.sql", "remove");
const ANY_LEFT: &str = tenancy::sql!("identity/passkeys.sql", "any_left");
const DISABLE: &str = tenancy::sql!("identity/mfa.sql", "disable");

impl Identity {
    /// The caller's passkeys, newest first.
    pub async fn passkeys(
        &self,
        context: &OpContext,
    ) -> Result<Vec<PasskeyRecord>, OperationError> {
        let user = own_user(context)?;
        let database = self.inner.operations.database();
        let tenant = context.tenant_id();
        let parameters: Parameters<'_, 2> = [&tenant, &user];
        let rows = database.read(context, &[Query::new(LIST, &parameters)]).await?;
        let rows = rows.first().map_or(&[][..], Vec::as_slice);
        let records = self.opening(context, |keys| records(keys, rows)).await?;
        let access = Access {
            action: "passkey.list",
            resource: "passkey",
            object: None,
            allowed: true,
            count: records.len(),
        };
        self.inner.operations.access_log().record(database, context, access).await;
        Ok(records)
    }

    /// Gives one of the caller's passkeys another name; 404 where it is not theirs, 412
    /// `version_conflict` where it is not at the version expected.
    pub async fn rename_passkey(
        &self,
        context: &OpContext,
        (passkey, expected_version): (Uuid, Option<i64>),
        name: &str,
    ) -> Result<PasskeyRecord, OperationError> {
        let command = Rename {
            state: self.state(context).await?,
            user: own_user(context)?,
            passkey,
            expected_version,
            name: checked_name(name)?,
        };
        let call = Call { context: context.clone(), idempotency_key: None, command };
        Ok(self.inner.operations.run_one(call).await?.output)
    }

    /// Takes one of the caller's passkeys away. 404 where it is not theirs; 412
    /// `version_conflict`; 403 `step_up_required`; 422 `last_factor` where it is the only one.
    pub async fn remove_passkey(
        &self,
        context: &OpContext,
        (passkey, expected_version): (Uuid, Option<i64>),
    ) -> Result<(), OperationError> {
        let (user, session) = own_session(context)?;
        let state = self.state(context).await?;
        let command = Remove { state, user, session, passkey, expected_version };
        self.run_and_forget(context, command, Forgotten::User(user)).await
    }
}

/// The name of a COSE algorithm.
pub(super) fn algorithm_name(algorithm: i16) -> &'static str {
    match algorithm {
        -8 => "EdDSA",
        -257 => "RS256",
        _ => "ES256",
    }
}

/// One of somebody's passkeys, in the transaction that has just changed it.
pub(super) async fn load(
    transaction: &TenantTx,
    keys: &TenantKeys,
    (user, passkey): (Uuid, Uuid),
) -> Result<PasskeyRecord, Failure> {
    let rows = transaction.query(LIST, &[&transaction.tenant(), &user]).await?;
    let found = records(keys, &rows)?.into_iter().find(|record| record.id == passkey);
    found.ok_or_else(|| Refusal::not_found().into())
}

fn records(keys: &TenantKeys, rows: &[Row]) -> Result<Vec<PasskeyRecord>, DbError> {
    let Some(first) = rows.first() else { return Ok(Vec::new()) };
    // All are one person's, and so is the key.
    let subject = keys
        .open_subject_key(
            first.try_get("key_id")?,
            first.try_get("kek_epoch")?,
            first.try_get("wrapped_key")?,
        )
        .map_err(key_failure)?;
    rows.iter().map(|row| record(keys, &subject, row)).collect()
}

fn record(keys: &TenantKeys, subject: &DataKey, row: &Row) -> Result<PasskeyRecord, DbError> {
    let id: Uuid = row.try_get("id")?;
    let cell = ("webauthn_credentials", "name_sealed", id);
    let name = keys.open(subject, cell, row.try_get("name_sealed")?).map_err(key_failure)?;
    let aaguid: Uuid = row.try_get("aaguid")?;
    Ok(PasskeyRecord {
        id,
        name,
        algorithm: algorithm_name(row.try_get("algorithm")?).to_owned(),
        aaguid: Some(aaguid).filter(|aaguid| !aaguid.is_nil()),
        transports: row.try_get("transports")?,
        backup_eligible: row.try_get("backup_eligible")?,
        backed_up: row.try_get("backed_up")?,
        last_used_at: row.try_get("last_used_at")?,
        created_at: row.try_get("created_at")?,
        updated_at: row.try_get("updated_at")?,
        version: row.try_get("version")?,
    })
}

/// Locks one of somebody's own passkeys that is at the version they have seen.
async fn locked(
    transaction: &TenantTx,
    (user, passkey): (Uuid, Uuid),
    expected: Option<i64>,
) -> Result<(), Failure> {
    let parameters: Parameters<'_, 3> = [&transaction.tenant(), &user, &passkey];
    let row = transaction.query_opt(LOCK_OWN, &parameters).await?;
    version::check(row.as_ref(), expected, "The passkey was changed since it was read").map(drop)
}

struct Rename {
    state: Arc<TenantState>,
    user: Uuid,
    passkey: Uuid,
    expected_version: Option<i64>,
    name: String,
}

impl Command for Rename {
    const NAME: &'static str = "passkey.rename";
    const RESOURCE: &'static str = "passkey";
    /// One's own, whatever the role; `own_user` made sure of it.
    const ANONYMOUS: bool = true;
    type Output = PasskeyRecord;

    fn permission(&self) -> Permission {
        Permission::SessionRead
    }

    async fn execute(
        &self,
        transaction: &TenantTx,
        context: &OpContext,
    ) -> Result<Applied<PasskeyRecord>, Failure> {
        locked(transaction, (self.user, self.passkey), self.expected_version).await?;
        let keys = &self.state.keys;
        let subjects =
            load_subject_keys(transaction, keys, &[self.user]).await.map_err(key_failure)?;
        let subject = subjects.get(&self.user).ok_or(KeyringError::Shredded);
        let cell = ("webauthn_credentials", "name_sealed", self.passkey);
        let sealed = subject.and_then(|subject| keys.seal(subject, cell, &self.name));
        let sealed = sealed.map_err(key_failure)?;
        let parameters: Parameters<'_, 4> =
            [&transaction.tenant(), &self.user, &self.passkey, &sealed];
        transaction.query_opt(RENAME, &parameters).await?.ok_or_else(Refusal::not_found)?;
        let output = load(transaction, keys, (self.user, self.passkey)).await?;
        let event = event(context, EventType::DataModification, Self::NAME, Self::RESOURCE)
            .resource_id(self.passkey)
            .details(json!({ "fields": ["name"] }));
        Ok(Applied { output, status: 200, events: vec![event] })
    }
}

struct Remove {
    state: Arc<TenantState>,
    user: Uuid,
    session: Uuid,
    passkey: Uuid,
    expected_version: Option<i64>,
}

impl Command for Remove {
    const NAME: &'static str = "passkey.remove";
    const RESOURCE: &'static str = "passkey";
    /// One's own, whatever the role; `own_session` made sure of it.
    const ANONYMOUS: bool = true;
    type Output = ();

    fn permission(&self) -> Permission {
        Permission::SessionDelete
    }

    async fn execute(
        &self,
        transaction: &TenantTx,
        context: &OpContext,
    ) -> Result<Applied<()>, Failure> {
        let account = session_begin::lock(transaction, context, self.user).await?;
        account.ok_or_else(token_revoked)?;
        let (tenant, keys) = (transaction.tenant(), &self.state.keys);
        locked(transaction, (self.user, self.passkey), self.expected_version).await?;
        let removed = load(transaction, keys, (self.user, self.passkey)).await?;
        let parameters: Parameters<'_, 3> = [&tenant, &self.user, &self.passkey];
        require_fresh(transaction, context, (self.user, self.session), true).await?;
        transaction.query_opt(REMOVE, &parameters).await?.ok_or_else(Refusal::not_found)?;
        let left = transaction.query_opt(ANY_LEFT, &[&tenant, &self.user]).await?.is_some();
        if !left {
            transaction.query_opt(DISABLE, &[&self.user, &"passkey"]).await?;
            let factors = held(transaction, self.user).await?;
            if factors.is_empty() {
                let detail = "The only second factor stays: add another one first";
                return Err(Refusal::rule("last_factor", "id", detail).into());
            }
        }
        let told = Told::Removed { factor: &removed.name };
        tell(transaction, context, keys, (self.user, told)).await?;
        let event = event(context, EventType::CredentialChange, Self::NAME, Self::RESOURCE)
            .resource_id(self.passkey)
            .details(json!({ "last": !left }));
        Ok(Applied { output: (), status: 204, events: vec![event] })
    }
}
