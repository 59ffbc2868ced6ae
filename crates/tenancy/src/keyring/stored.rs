//! Wrapped keys as they stand in `tenant_keks` and `data_keys`. Refuses to open them and to
//! know when one is made.

use tokio_postgres::{Row, types::ToSql};
use uuid::Uuid;
use vault::{
    DataKey, IndexKey, Kek, KeyContext, KeyError, KeyId, MacKey, Purpose, TenantKey, WrappedKey,
    WrappingKey,
};

use super::{KeyringError, epoch_column};
use crate::{DbError, TenantTx};

pub(super) const KEKS: &str = crate::sql!("tenancy/keyring.sql", "keks");
pub(super) const DATA_KEYS: &str = crate::sql!("tenancy/keyring.sql", "data_keys");
const INSERT_KEK: &str = crate::sql!("tenancy/keyring.sql", "insert_kek");
const INSERT_DATA_KEY: &str = crate::sql!("tenancy/keyring.sql", "insert_data_key");

/// What may change of a key: two readings that are alike in this opened the same keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Made {
    key: KeyId,
    status: String,
    kek: Option<(Purpose, u32)>,
    is_settled: bool,
}

/// A row of either table.
#[derive(Clone, Debug)]
pub(super) struct StoredKey {
    pub(super) context: KeyContext,
    pub(super) status: String,
    /// Which KEK wraps it; none where that is a root.
    pub(super) kek: Option<(Purpose, u32)>,
    /// None where it was destroyed.
    pub(super) wrapped: Option<WrappedKey>,
    /// Whether every node has read of it.
    pub(super) is_settled: bool,
}

impl StoredKey {
    /// A key that was just made, wrapped.
    pub(super) fn new<K: TenantKey>(
        key: &K,
        kek: Option<(Purpose, u32)>,
        by: &impl WrappingKey,
    ) -> Result<Self, KeyringError> {
        let wrapped = Some(by.wrap_key(key)?);
        let status = "active".to_owned();
        Ok(Self { context: *key.context(), status, kek, wrapped, is_settled: false })
    }

    pub(super) fn is_active(&self) -> bool {
        self.status == "active"
    }
}

/// All keys of a tenant, every generation of them.
#[derive(Clone, Debug, Default)]
pub(super) struct Stored {
    pub(super) keks: Vec<StoredKey>,
    pub(super) data_keys: Vec<StoredKey>,
}

impl Stored {
    /// Out of the answers to [`KEKS`] and [`DATA_KEYS`].
    pub(super) fn from_rows(tenant: Uuid, rows: &[Vec<Row>]) -> Result<Self, KeyringError> {
        let [keks, data_keys] = rows else { return Err(KeyringError::Missing("tenant")) };
        let keks = keks.iter().map(|row| stored(tenant, row, None));
        let data_keys = data_keys.iter().map(|row| {
            let purpose = purpose_of(row, "kek_purpose")?;
            let kek = (purpose, epoch_of(row, "kek_epoch")?);
            stored(tenant, row, Some(kek))
        });
        Ok(Self {
            keks: keks.collect::<Result<_, _>>()?,
            data_keys: data_keys.collect::<Result<_, _>>()?,
        })
    }

    pub(super) fn made_of(&self) -> Vec<Made> {
        let made = |row: &StoredKey| Made {
            key: row.context.key,
            status: row.status.clone(),
            kek: row.kek,
            is_settled: row.is_settled,
        };
        self.keks.iter().chain(&self.data_keys).map(made).collect()
    }
}

fn stored(tenant: Uuid, row: &Row, kek: Option<(Purpose, u32)>) -> Result<StoredKey, KeyringError> {
    let wrapped: Option<Vec<u8>> = row.try_get("wrapped_key").map_err(DbError::from)?;
    Ok(StoredKey {
        context: KeyContext {
            tenant,
            purpose: purpose_of(row, "purpose")?,
            key: KeyId(row.try_get("key_id").map_err(DbError::from)?),
            epoch: epoch_of(row, "epoch")?,
        },
        status: row.try_get("status").map_err(DbError::from)?,
        kek,
        wrapped: wrapped.map(WrappedKey::from_bytes).transpose()?,
        is_settled: row.try_get("is_settled").map_err(DbError::from)?,
    })
}

fn purpose_of(row: &Row, column: &str) -> Result<Purpose, KeyringError> {
    let name: String = row.try_get(column).map_err(DbError::from)?;
    let purpose = Purpose::parse(&name);
    Ok(purpose.ok_or_else(|| DbError::Corrupt(format!("a key for {name}")))?)
}

fn epoch_of(row: &Row, column: &str) -> Result<u32, KeyringError> {
    let epoch: i32 = row.try_get(column).map_err(DbError::from)?;
    Ok(u32::try_from(epoch).map_err(|_| KeyError::EpochOutOfRange)?)
}

/// A new data key of a purpose, as the current one.
pub(super) fn data_key(
    tenant: Uuid,
    purpose: Purpose,
    epoch: u32,
    kek: &Kek,
) -> Result<StoredKey, KeyringError> {
    let by = Some((kek.context().purpose, kek.context().epoch));
    match purpose {
        Purpose::BlindIndex => {
            StoredKey::new(&IndexKey::generate(tenant, purpose, epoch)?, by, kek)
        }
        Purpose::FieldData | Purpose::AuditData => {
            StoredKey::new(&DataKey::generate(tenant, purpose, epoch)?, by, kek)
        }
        _ => StoredKey::new(&MacKey::generate(tenant, purpose, epoch)?, by, kek),
    }
}

/// Stores a key that was made as the current one.
pub(super) async fn insert(transaction: &TenantTx, key: &StoredKey) -> Result<(), KeyringError> {
    let (context, wrapped) = (&key.context, key.wrapped.as_ref().map(WrappedKey::as_bytes));
    let (purpose, epoch) = (context.purpose.as_str(), epoch_column(context.epoch));
    match key.kek {
        None => {
            let parameters: [&(dyn ToSql + Sync); 5] =
                [&context.tenant, &purpose, &epoch, &context.key.0, &wrapped];
            transaction.execute(INSERT_KEK, &parameters).await?;
        }
        Some((by, generation)) => {
            let (by, generation) = (by.as_str(), epoch_column(generation));
            let parameters: [&(dyn ToSql + Sync); 7] =
                [&context.tenant, &context.key.0, &purpose, &epoch, &by, &generation, &wrapped];
            transaction.execute(INSERT_DATA_KEY, &parameters).await?;
        }
    }
    Ok(())
}
