//! Changes of a tenant's keys: one generation more, what older ones wrap wrapped anew by the
//! newest, and the end of a generation that opens nothing any more. Refuses to know who asks
//! for it, and what is sealed where.
//!
//! Every change waits for [`Keyring::lock`] and reads what is stored behind it: two at once are
//! one after the other. Nodes read of it within a second, and until then go on with what they
//! have, which opens and wraps as before.

use std::collections::HashSet;

use tokio_postgres::types::ToSql;
use uuid::Uuid;
use vault::{
    Kek, KeyContext, KeyError, KeyId, Purpose, TenantKey as _, WrappedKey, WrappingKey as _,
};

use super::{
    FIRST_EPOCH, Keyring, KeyringError, TenantKeys, epoch_column, generations,
    stored::{self, DATA_KEYS, KEKS, Stored},
};
use crate::{DbError, Query, TenantTx};

const LOCK: &str = crate::sql!("tenancy/keyring.sql", "lock_keys");
const RETIRE_KEK: &str = crate::sql!("tenancy/keyring.sql", "retire_kek");
const RETIRE_DATA_KEY: &str = crate::sql!("tenancy/keyring.sql", "retire_data_key");
const REWRAP_DATA_KEYS: &str = crate::sql!("tenancy/keyring.sql", "rewrap_data_keys");
const SUBJECT_KEYS_BEHIND: &str = crate::sql!("tenancy/keyring.sql", "subject_keys_behind");
const REWRAP_SUBJECT_KEYS: &str = crate::sql!("tenancy/keyring.sql", "rewrap_subject_keys");
const KEK_GENERATION: &str = crate::sql!("tenancy/keyring.sql", "kek_generation");
const DATA_KEY_GENERATION: &str = crate::sql!("tenancy/keyring.sql", "data_key_generation");
const WRAPPED_BY_KEK: &str = crate::sql!("tenancy/keyring.sql", "wrapped_by_kek");
const DESTROY_KEK: &str = crate::sql!("tenancy/keyring.sql", "destroy_kek");
const DESTROY_DATA_KEY: &str = crate::sql!("tenancy/keyring.sql", "destroy_data_key");

/// A key that has generations which open side by side, so that one more can be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rotatable {
    /// The KEK of signing, checkpoint and MAC keys.
    TenantKek,
    /// The KEK of data subjects' keys, field keys and index keys.
    FieldKek,
    /// The key of sealed fields that belong to no person.
    FieldData,
    /// The key of blind indexes, by which sealed values are found.
    BlindIndex,
}

impl Rotatable {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::TenantKek, Self::FieldKek, Self::FieldData, Self::BlindIndex];

    /// The one of this purpose.
    pub fn named(purpose: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|what| what.purpose().as_str() == purpose)
    }

    /// What it is in the key tables.
    pub const fn purpose(self) -> Purpose {
        match self {
            Self::TenantKek => Purpose::TenantKek,
            Self::FieldKek => Purpose::FieldKek,
            Self::FieldData => Purpose::FieldData,
            Self::BlindIndex => Purpose::BlindIndex,
        }
    }

    /// Whether it wraps keys, and seals and indexes nothing itself.
    pub const fn is_kek(self) -> bool {
        matches!(self, Self::TenantKek | Self::FieldKek)
    }
}

/// A generation that seals or wraps from now on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NewGeneration {
    /// Its id.
    pub key: KeyId,
    /// Its number.
    pub epoch: u32,
}

/// How many keys were wrapped anew.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rewrapped {
    /// Of the tenant's data, index and MAC keys.
    pub data_keys: usize,
    /// Of data subjects' keys: at most as many as were asked for.
    pub subject_keys: usize,
}

/// Where a generation stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// `active`, `retired` or `destroyed`.
    pub status: String,
    /// Since when nothing new comes under it.
    pub retired_at: jiff::Timestamp,
}

/// What a KEK still wraps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StillWrapped {
    /// Data, index and MAC keys.
    pub data_keys: i64,
    /// Keys of data subjects.
    pub subject_keys: i64,
    /// Keys that sign tokens, which are replaced and never wrapped anew.
    pub signing_keys: i64,
    /// Keys that sign the log.
    pub log_keys: i64,
}

impl StillWrapped {
    /// Whether it wraps nothing.
    pub fn is_none(&self) -> bool {
        *self == Self::default()
    }
}

impl Keyring {
    /// Waits until no other change of the tenant's keys is under way.
    pub async fn lock(&self, transaction: &TenantTx) -> Result<(), KeyringError> {
        transaction.query(LOCK, &[&transaction.tenant()]).await?;
        Ok(())
    }

    /// Makes one generation more. The one before is retired: it opens what it sealed and
    /// wrapped, and nothing new comes under it. Behind [`Self::lock`].
    pub async fn rotate(
        &self,
        transaction: &TenantTx,
        what: Rotatable,
    ) -> Result<NewGeneration, KeyringError> {
        let (stored, keys) = self.stored_in(transaction).await?;
        let (tenant, purpose) = (transaction.tenant(), what.purpose());
        let rows = if what.is_kek() { &stored.keks } else { &stored.data_keys };
        let newest = rows.iter().filter(|row| row.context.purpose == purpose);
        let newest = newest.map(|row| row.context.epoch).max().unwrap_or_default();
        let epoch = newest.checked_add(1).ok_or(KeyError::EpochOutOfRange)?;
        let made = match what {
            Rotatable::TenantKek | Rotatable::FieldKek => {
                self.wrapping().wrap(&Kek::generate(tenant, purpose, epoch)?)?
            }
            Rotatable::FieldData | Rotatable::BlindIndex => {
                stored::data_key(tenant, purpose, epoch, &keys.field_kek)?
            }
        };
        let retire = if what.is_kek() { RETIRE_KEK } else { RETIRE_DATA_KEY };
        transaction.execute(retire, &[&tenant, &purpose.as_str()]).await?;
        stored::insert(transaction, &made).await?;
        Ok(NewGeneration { key: made.context.key, epoch })
    }

    /// The tenant's keys as they stand now, and not as they were read a moment ago. Behind
    /// [`Self::lock`].
    pub async fn current_in(&self, transaction: &TenantTx) -> Result<TenantKeys, KeyringError> {
        Ok(self.stored_in(transaction).await?.1)
    }

    /// Wraps by the newest KEKs what older ones wrap: all of the tenant's own keys, and the
    /// keys of so many data subjects. Behind [`Self::lock`].
    pub async fn rewrap(
        &self,
        transaction: &TenantTx,
        subjects_max: i64,
    ) -> Result<Rewrapped, KeyringError> {
        let (stored, keys) = self.stored_in(transaction).await?;
        Ok(Rewrapped {
            data_keys: rewrap_data_keys(transaction, &stored, &keys).await?,
            subject_keys: rewrap_subject_keys(transaction, &keys, subjects_max).await?,
        })
    }

    /// Where a generation stands; none where there was none.
    pub async fn standing(
        &self,
        transaction: &TenantTx,
        what: Rotatable,
        epoch: i32,
    ) -> Result<Option<Standing>, KeyringError> {
        let sql = if what.is_kek() { KEK_GENERATION } else { DATA_KEY_GENERATION };
        let parameters: [&(dyn ToSql + Sync); 3] =
            [&transaction.tenant(), &what.purpose().as_str(), &epoch];
        let Some(row) = transaction.query_opt(sql, &parameters).await? else { return Ok(None) };
        Ok(Some(Standing {
            status: row.try_get("status").map_err(DbError::from)?,
            retired_at: row.try_get("retired_at").map_err(DbError::from)?,
        }))
    }

    /// What a KEK still wraps; a data key wraps nothing.
    pub async fn still_wrapped(
        &self,
        transaction: &TenantTx,
        what: Rotatable,
        epoch: i32,
    ) -> Result<StillWrapped, KeyringError> {
        if !what.is_kek() {
            return Ok(StillWrapped::default());
        }
        let parameters: [&(dyn ToSql + Sync); 3] =
            [&transaction.tenant(), &what.purpose().as_str(), &epoch];
        let row = transaction.query_opt(WRAPPED_BY_KEK, &parameters).await?;
        let row = row.ok_or(KeyringError::Missing("counted"))?;
        Ok(StillWrapped {
            data_keys: row.try_get("data_keys").map_err(DbError::from)?,
            subject_keys: row.try_get("subject_keys").map_err(DbError::from)?,
            signing_keys: row.try_get("signing_keys").map_err(DbError::from)?,
            log_keys: row.try_get("log_keys").map_err(DbError::from)?,
        })
    }

    /// Destroys a retired generation for good; says whether there was one. The database
    /// refuses it of a KEK that others are wrapped by.
    pub async fn destroy(
        &self,
        transaction: &TenantTx,
        what: Rotatable,
        epoch: i32,
    ) -> Result<bool, KeyringError> {
        let sql = if what.is_kek() { DESTROY_KEK } else { DESTROY_DATA_KEY };
        let parameters: [&(dyn ToSql + Sync); 3] =
            [&transaction.tenant(), &what.purpose().as_str(), &epoch];
        Ok(transaction.execute(sql, &parameters).await? == 1)
    }

    async fn stored_in(
        &self,
        transaction: &TenantTx,
    ) -> Result<(Stored, TenantKeys), KeyringError> {
        let tenant = transaction.tenant();
        let parameters: [&(dyn ToSql + Sync); 1] = [&tenant];
        let queries = [Query::new(KEKS, &parameters), Query::new(DATA_KEYS, &parameters)];
        let rows = transaction.pipeline(&queries).await?;
        let stored = Stored::from_rows(tenant, &rows)?;
        let keys = generations::open(self.wrapping(), tenant, &stored, HashSet::new())?;
        Ok((stored, keys))
    }
}

impl TenantKeys {
    /// A secret that an older generation of a KEK wrapped, wrapped by the newest one.
    fn wrapped_anew(
        &self,
        context: &KeyContext,
        by: (Purpose, i32),
        wrapped: &WrappedKey,
    ) -> Result<Vec<u8>, KeyringError> {
        let secret = self.kek_named(by.0, by.1)?.unwrap(context, wrapped)?;
        Ok(self.newest(by.0).wrap(context, &secret)?.into_bytes())
    }

    fn newest(&self, purpose: Purpose) -> &Kek {
        match purpose {
            Purpose::FieldKek => &self.field_kek,
            _ => &self.tenant_kek,
        }
    }
}

async fn rewrap_data_keys(
    transaction: &TenantTx,
    stored: &Stored,
    keys: &TenantKeys,
) -> Result<usize, KeyringError> {
    let (mut ids, mut epochs, mut wrapped) = (Vec::new(), Vec::new(), Vec::new());
    for row in &stored.data_keys {
        let (Some((purpose, epoch)), Some(key)) = (row.kek, &row.wrapped) else { continue };
        let newest = keys.newest(purpose).context().epoch;
        if epoch < newest {
            ids.push(row.context.key.0);
            epochs.push(epoch_column(newest));
            wrapped.push(keys.wrapped_anew(&row.context, (purpose, epoch_column(epoch)), key)?);
        }
    }
    let parameters: [&(dyn ToSql + Sync); 4] = [&transaction.tenant(), &ids, &epochs, &wrapped];
    transaction.execute(REWRAP_DATA_KEYS, &parameters).await?;
    Ok(ids.len())
}

async fn rewrap_subject_keys(
    transaction: &TenantTx,
    keys: &TenantKeys,
    most: i64,
) -> Result<usize, KeyringError> {
    let tenant = transaction.tenant();
    let newest = epoch_column(keys.field_kek.context().epoch);
    let rows = transaction.query(SUBJECT_KEYS_BEHIND, &[&tenant, &newest, &most]).await?;
    let (mut subjects, mut wrapped) = (Vec::new(), Vec::new());
    for row in rows {
        let key: Uuid = row.try_get("key_id").map_err(DbError::from)?;
        let epoch: i32 = row.try_get("kek_epoch").map_err(DbError::from)?;
        let bytes: Vec<u8> = row.try_get("wrapped_key").map_err(DbError::from)?;
        let context = KeyContext {
            tenant,
            purpose: Purpose::SubjectData,
            key: KeyId(key),
            epoch: FIRST_EPOCH,
        };
        let key = WrappedKey::from_bytes(bytes)?;
        subjects.push(row.try_get::<_, Uuid>("subject_id").map_err(DbError::from)?);
        wrapped.push(keys.wrapped_anew(&context, (Purpose::FieldKek, epoch), &key)?);
    }
    let parameters: [&(dyn ToSql + Sync); 4] = [&tenant, &newest, &subjects, &wrapped];
    transaction.execute(REWRAP_SUBJECT_KEYS, &parameters).await?;
    Ok(subjects.len())
}
