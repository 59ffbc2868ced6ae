//! Changes of the keys that seal and wrap: one generation more, older ones' keys wrapped anew,
//! the end of a generation that nothing needs any more.
//!
//! Refuses to know how keys are made and what the domains seal (they name it themselves,
//! [`tenancy::cells::Sealed`]). Signing keys are `identity`'s.

use std::sync::Arc;

use access::Permission;
use audit::EventType;
use jiff::SignedDuration;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tenancy::{
    DbError, OpContext, TenantTx,
    cells::Sealed,
    keyring::{Keyring, KeyringError, Rotatable, Standing},
};
use tokio_postgres::types::ToSql;
use vault::KeyError;

use crate::{Applied, Command, Failure, Refusal, RefusalKind, event};

/// What the records of all three are about.
const RESOURCE: &str = "data_key";

/// How long after it was retired a data key stays. A node seals by what it read of the keys a
/// second ago, in a transaction that a statement of 30 s and a pause of 60 s may make longer:
/// when this is over, whatever was sealed under it is stored and is counted.
pub(crate) const RETIRED_AT_LEAST: SignedDuration = SignedDuration::from_mins(5);

/// Keys of data subjects that are wrapped anew in one transaction.
const SUBJECTS_AT_ONCE: i64 = 500;

/// A generation that seals or wraps from now on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyRotation {
    /// What the key is for.
    pub purpose: String,
    /// Its generation.
    pub epoch: u32,
    /// Its id, as headers of sealed values name it.
    pub key_id: uuid::Uuid,
}

/// Makes one generation more of a key.
pub struct RotateDataKey {
    /// The keys.
    pub keyring: Arc<Keyring>,
    /// Which.
    pub what: Rotatable,
}

impl Command for RotateDataKey {
    const NAME: &'static str = "data_key.rotate";
    const RESOURCE: &'static str = RESOURCE;
    type Output = KeyRotation;

    fn permission(&self) -> Permission {
        Permission::KeyRotate
    }

    async fn execute(
        &self,
        transaction: &TenantTx,
        context: &OpContext,
    ) -> Result<Applied<KeyRotation>, Failure> {
        self.keyring.lock(transaction).await.map_err(failure)?;
        let made = match self.keyring.rotate(transaction, self.what).await {
            Err(KeyringError::Key(KeyError::EpochOutOfRange)) => return Err(exhausted().into()),
            made => made.map_err(failure)?,
        };
        let purpose = self.what.purpose().as_str();
        let event = event(context, EventType::KeyManagement, Self::NAME, RESOURCE)
            .resource_id(made.key.0)
            .new_values(json!({ "purpose": purpose, "epoch": made.epoch }));
        let output =
            KeyRotation { purpose: purpose.to_owned(), epoch: made.epoch, key_id: made.key.0 };
        Ok(Applied { output, status: 200, events: vec![event] })
    }
}

/// How many keys were wrapped anew.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeysRewrapped {
    /// The tenant's data, index and MAC keys.
    pub data_keys: usize,
    /// Keys of data subjects.
    pub subject_keys: usize,
    /// Keys that sign the log.
    pub log_keys: usize,
}

impl KeysRewrapped {
    /// Whether nothing was left to do.
    pub fn is_none(&self) -> bool {
        *self == Self::default()
    }
}

/// Wraps by the newest KEKs some of what older ones wrap. To be repeated until nothing is
/// left; who stops in between has lost nothing.
pub struct RewrapKeys {
    /// The keys.
    pub keyring: Arc<Keyring>,
}

impl Command for RewrapKeys {
    const NAME: &'static str = "data_key.rewrap";
    const RESOURCE: &'static str = RESOURCE;
    type Output = KeysRewrapped;

    fn permission(&self) -> Permission {
        Permission::KeyRotate
    }

    async fn execute(
        &self,
        transaction: &TenantTx,
        context: &OpContext,
    ) -> Result<Applied<KeysRewrapped>, Failure> {
        self.keyring.lock(transaction).await.map_err(failure)?;
        let done = self.keyring.rewrap(transaction, SUBJECTS_AT_ONCE).await.map_err(failure)?;
        let keys = self.keyring.current_in(transaction).await.map_err(failure)?;
        let output = KeysRewrapped {
            data_keys: done.data_keys,
            subject_keys: done.subject_keys,
            log_keys: audit::keys::rewrap(transaction, &keys).await?,
        };
        let event = (!output.is_none()).then(|| {
            event(context, EventType::KeyManagement, Self::NAME, RESOURCE).details(json!(output))
        });
        Ok(Applied { output, status: 200, events: event.into_iter().collect() })
    }
}

/// A generation that was destroyed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyDestroyed {
    /// What the key was for.
    pub purpose: String,
    /// Its generation.
    pub epoch: i32,
    /// `destroyed`.
    pub status: String,
}

/// Destroys a retired generation that nothing is sealed or wrapped by. One that is destroyed
/// already stays what it is.
pub struct DestroyKey {
    /// The keys.
    pub keyring: Arc<Keyring>,
    /// What the domains seal, for what is still sealed under it.
    pub sealed: &'static [Sealed],
    /// Which.
    pub what: Rotatable,
    /// Its generation.
    pub epoch: i32,
}

impl Command for DestroyKey {
    const NAME: &'static str = "data_key.destroy";
    const RESOURCE: &'static str = RESOURCE;
    type Output = KeyDestroyed;

    fn permission(&self) -> Permission {
        Permission::KeyRevoke
    }

    async fn execute(
        &self,
        transaction: &TenantTx,
        context: &OpContext,
    ) -> Result<Applied<KeyDestroyed>, Failure> {
        self.keyring.lock(transaction).await.map_err(failure)?;
        let standing = self.keyring.standing(transaction, self.what, self.epoch).await;
        let standing = standing.map_err(failure)?.ok_or_else(Refusal::not_found)?;
        let purpose = self.what.purpose().as_str();
        let output = KeyDestroyed {
            purpose: purpose.to_owned(),
            epoch: self.epoch,
            status: "destroyed".to_owned(),
        };
        if standing.status == output.status {
            return Ok(Applied { output, status: 200, events: Vec::new() });
        }
        self.refuse_in_use(transaction, context, &standing).await?;
        let destroyed = self.keyring.destroy(transaction, self.what, self.epoch).await;
        if !destroyed.map_err(failure)? {
            return Err(Failure::Refused(not_retired()));
        }
        let event = event(context, EventType::KeyManagement, Self::NAME, RESOURCE)
            .old_values(json!({ "status": standing.status }))
            .new_values(json!({ "status": output.status }))
            .details(json!({ "purpose": purpose, "epoch": self.epoch }));
        Ok(Applied { output, status: 200, events: vec![event] })
    }
}

impl DestroyKey {
    /// Refuses where something would be closed for good.
    async fn refuse_in_use(
        &self,
        transaction: &TenantTx,
        context: &OpContext,
        standing: &Standing,
    ) -> Result<(), Failure> {
        if standing.status != "retired" {
            return Err(not_retired().into());
        }
        let wrapped = self.keyring.still_wrapped(transaction, self.what, self.epoch).await;
        let wrapped = wrapped.map_err(failure)?;
        if !wrapped.is_none() {
            return Err(in_use(format!(
                "It still wraps {} data keys, {} keys of people, {} signing keys and {} log keys",
                wrapped.data_keys, wrapped.subject_keys, wrapped.signing_keys, wrapped.log_keys
            ))
            .into());
        }
        if self.what.is_kek() {
            return Ok(());
        }
        if context.clock.now().duration_since(standing.retired_at) < RETIRED_AT_LEAST {
            let detail = "Retired less than 5 minutes ago: a node may still be using it";
            return Err(in_use(detail.to_owned()).into());
        }
        match self.values_sealed(transaction).await? {
            0 => Ok(()),
            values => {
                Err(in_use(format!("{values} values are still sealed or indexed by it")).into())
            }
        }
    }

    async fn values_sealed(&self, transaction: &TenantTx) -> Result<i64, DbError> {
        let (tenant, purpose) = (transaction.tenant(), self.what.purpose().as_str());
        let parameters: [&(dyn ToSql + Sync); 1] = [&tenant];
        let mut values = 0;
        for one in self.sealed {
            for row in transaction.query(one.inventory, &parameters).await? {
                let (of, epoch): (&str, Option<i32>) =
                    (row.try_get("purpose")?, row.try_get("epoch")?);
                if of == purpose && epoch == Some(self.epoch) {
                    values += row.try_get::<_, i64>("value_count")?;
                }
            }
        }
        Ok(values)
    }
}

fn not_retired() -> Refusal {
    let detail = "The key that seals or wraps now is not destroyed; rotate it first";
    Refusal::new(RefusalKind::Conflict, "key_not_retired", detail)
}

fn exhausted() -> Refusal {
    let detail = "There is no number left for another generation of it";
    Refusal::new(RefusalKind::Conflict, "key_generations_exhausted", detail)
}

fn in_use(detail: String) -> Refusal {
    Refusal::new(RefusalKind::Conflict, "key_in_use", detail)
}

fn failure(error: KeyringError) -> Failure {
    Failure::Database(DbError::from(error))
}
