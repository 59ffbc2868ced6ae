//! A tenant's keys, opened once and kept in memory; made when the tenant is made.
//!
//! Owns where wrapped keys are stored and which is current. Refuses to do any
//! cryptography: that is the vault's. Subject keys travel with the rows they open
//! (a read joins `subject_keys`), so opening a person's fields costs no round trip.

use std::{
    collections::HashMap,
    sync::{Arc, RwLock},
};

use tokio_postgres::Row;
use uuid::Uuid;
use vault::{
    DataKey, FieldContext, IndexKey, Kek, KeyContext, KeyError, KeyId, MacKey, OpenError, Purpose,
    RootKeys, SealError, SealedField, SecretBytes, TenantKey, WrappedKey, WrappingKey,
};

use crate::{Database, DbError, OpContext, Query, TenantTx};

const INSERT_KEK: &str = crate::sql!("tenancy/keyring.sql", "insert_kek");
const INSERT_DATA_KEY: &str = crate::sql!("tenancy/keyring.sql", "insert_data_key");
const KEKS: &str = crate::sql!("tenancy/keyring.sql", "keks");
const DATA_KEYS: &str = crate::sql!("tenancy/keyring.sql", "data_keys");
const INSERT_SUBJECT_KEY: &str = crate::sql!("tenancy/keyring.sql", "insert_subject_key");
const RENEW_SUBJECT_KEY: &str = crate::sql!("tenancy/keyring.sql", "renew_subject_key");
const SUBJECT_KEYS: &str = crate::sql!("tenancy/keyring.sql", "subject_keys");

/// The first generation of every key; rotation counts on from here.
const FIRST_EPOCH: u32 = 1;

/// Why a key or a sealed field could not be had. Never carries key material.
#[derive(Debug, thiserror::Error)]
pub enum KeyringError {
    /// The database failed.
    #[error(transparent)]
    Database(#[from] DbError),
    /// A stored key did not open: the root key is another one, or the row was altered.
    #[error("a stored key does not open: {0}")]
    Key(#[from] KeyError),
    /// A sealed field did not open: moved, altered, or under another key.
    #[error("a sealed field does not open: {0}")]
    Open(#[from] OpenError),
    /// A value could not be sealed.
    #[error("a value could not be sealed: {0}")]
    Seal(#[from] SealError),
    /// The tenant lacks a key that it should have been made with.
    #[error("the tenant has no {0} key")]
    Missing(&'static str),
    /// The subject's key was destroyed: their data is erased.
    #[error("the subject's key was destroyed")]
    Shredded,
}

impl From<KeyringError> for DbError {
    /// For callers that treat an unopenable key as what it is: corrupt storage.
    fn from(error: KeyringError) -> Self {
        match error {
            KeyringError::Database(error) => error,
            other => Self::Corrupt(other.to_string()),
        }
    }
}

/// The current keys of one tenant.
pub struct TenantKeys {
    tenant: Uuid,
    tenant_kek: Kek,
    field_kek: Kek,
    field: DataKey,
    audit: DataKey,
    index: IndexKey,
    refresh: MacKey,
    cursor: MacKey,
    session: MacKey,
}

impl std::fmt::Debug for TenantKeys {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("TenantKeys").field("tenant", &self.tenant).finish_non_exhaustive()
    }
}

impl TenantKeys {
    /// Wraps signing keys and checkpoint keys (bound to their own [`KeyContext`]).
    pub fn kek(&self) -> &Kek {
        &self.tenant_kek
    }

    /// Blind indexes.
    pub fn index(&self) -> &IndexKey {
        &self.index
    }

    /// Successors of refresh tokens.
    pub fn refresh(&self) -> &MacKey {
        &self.refresh
    }

    /// Page cursors.
    pub fn cursor(&self) -> &MacKey {
        &self.cursor
    }

    /// Device fingerprints and CSRF tokens.
    pub fn session(&self) -> &MacKey {
        &self.session
    }

    /// Fields that belong to no person (secrets of the tenant).
    pub fn field(&self) -> &DataKey {
        &self.field
    }

    /// Personal data inside audit records.
    pub fn audit(&self) -> &DataKey {
        &self.audit
    }

    /// Makes a subject's key; store it with [`store_subject_keys`].
    pub fn make_subject_key(&self) -> Result<DataKey, KeyringError> {
        Ok(DataKey::generate(self.tenant, Purpose::SubjectData, FIRST_EPOCH)?)
    }

    /// Opens a subject's key that a read brought along (`subject_keys.key_id, wrapped_key`).
    pub fn open_subject_key(
        &self,
        key_id: Uuid,
        wrapped: Option<Vec<u8>>,
    ) -> Result<DataKey, KeyringError> {
        let wrapped = WrappedKey::from_bytes(wrapped.ok_or(KeyringError::Shredded)?)?;
        let context = KeyContext {
            tenant: self.tenant,
            purpose: Purpose::SubjectData,
            key: KeyId(key_id),
            epoch: FIRST_EPOCH,
        };
        Ok(self.field_kek.unwrap_key(&context, &wrapped)?)
    }

    /// Seals a text for one cell under a key of this tenant.
    pub fn seal(
        &self,
        key: &DataKey,
        (table, column, row): (&str, &str, Uuid),
        plaintext: &str,
    ) -> Result<Vec<u8>, KeyringError> {
        let context = FieldContext { tenant: self.tenant, table, column, row };
        Ok(vault::seal(key, &context, plaintext.as_bytes())?.into_bytes())
    }

    /// Opens the text of one cell.
    pub fn open(
        &self,
        key: &DataKey,
        (table, column, row): (&str, &str, Uuid),
        sealed: Vec<u8>,
    ) -> Result<String, KeyringError> {
        let context = FieldContext { tenant: self.tenant, table, column, row };
        let opened: SecretBytes = vault::open(key, &context, &SealedField::from_bytes(sealed)?)?;
        opened.expose_text().map(str::to_owned).ok_or(KeyringError::Open(OpenError::Tampered))
    }
}

/// All tenants' keys on this node.
pub struct Keyring {
    roots: RootKeys,
    tenants: RwLock<HashMap<Uuid, Arc<TenantKeys>>>,
}

impl std::fmt::Debug for Keyring {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Keyring")
    }
}

impl Keyring {
    /// A keyring over the two roots.
    pub fn new(roots: RootKeys) -> Self {
        Self { roots, tenants: RwLock::default() }
    }

    /// The roots, for what is derived from them (the password pepper).
    pub fn roots(&self) -> &RootKeys {
        &self.roots
    }

    /// A tenant's keys, from memory or the database.
    pub async fn tenant(
        &self,
        database: &Database,
        context: &OpContext,
    ) -> Result<Arc<TenantKeys>, KeyringError> {
        let tenant = context.tenant_id();
        if let Some(keys) = self.cached(tenant) {
            return Ok(keys);
        }
        let rows = database
            .read(context, &[Query::new(KEKS, &[&tenant]), Query::new(DATA_KEYS, &[&tenant])])
            .await?;
        self.remember(tenant, &rows)
    }

    /// A tenant's keys, from memory or inside a transaction.
    pub async fn tenant_in(&self, transaction: &TenantTx) -> Result<Arc<TenantKeys>, KeyringError> {
        let tenant = transaction.tenant();
        if let Some(keys) = self.cached(tenant) {
            return Ok(keys);
        }
        let rows = transaction
            .pipeline(&[Query::new(KEKS, &[&tenant]), Query::new(DATA_KEYS, &[&tenant])])
            .await?;
        self.open_tenant(tenant, &rows).map(Arc::new)
    }

    /// Makes the keys of a new tenant and stores them wrapped. They are cached
    /// only when read again: this transaction may yet roll back.
    pub async fn create_tenant_keys(
        &self,
        transaction: &TenantTx,
    ) -> Result<Arc<TenantKeys>, KeyringError> {
        let tenant = transaction.tenant();
        let tenant_kek = Kek::generate(tenant, Purpose::TenantKek, FIRST_EPOCH)?;
        let field_kek = Kek::generate(tenant, Purpose::FieldKek, FIRST_EPOCH)?;
        store_kek(transaction, &tenant_kek, &self.roots.encryption().wrap_key(&tenant_kek)?)
            .await?;
        store_kek(transaction, &field_kek, &self.roots.field().wrap_key(&field_kek)?).await?;
        let keys = TenantKeys {
            tenant,
            field: made(transaction, &field_kek, Purpose::FieldData).await?,
            index: made(transaction, &field_kek, Purpose::BlindIndex).await?,
            audit: made(transaction, &tenant_kek, Purpose::AuditData).await?,
            refresh: made(transaction, &tenant_kek, Purpose::RefreshSuccessor).await?,
            cursor: made(transaction, &tenant_kek, Purpose::Cursor).await?,
            session: made(transaction, &tenant_kek, Purpose::Session).await?,
            tenant_kek,
            field_kek,
        };
        Ok(Arc::new(keys))
    }

    fn cached(&self, tenant: Uuid) -> Option<Arc<TenantKeys>> {
        self.tenants.read().ok()?.get(&tenant).cloned()
    }

    fn remember(&self, tenant: Uuid, rows: &[Vec<Row>]) -> Result<Arc<TenantKeys>, KeyringError> {
        let keys = Arc::new(self.open_tenant(tenant, rows)?);
        if let Ok(mut tenants) = self.tenants.write() {
            tenants.insert(tenant, Arc::clone(&keys));
        }
        Ok(keys)
    }

    fn open_tenant(&self, tenant: Uuid, rows: &[Vec<Row>]) -> Result<TenantKeys, KeyringError> {
        let [keks, data_keys] = rows else { return Err(KeyringError::Missing("tenant")) };
        let tenant_kek: Kek = opened(self.roots.encryption(), tenant, keks, Purpose::TenantKek)?;
        let field_kek: Kek = opened(self.roots.field(), tenant, keks, Purpose::FieldKek)?;
        Ok(TenantKeys {
            tenant,
            field: opened(&field_kek, tenant, data_keys, Purpose::FieldData)?,
            index: opened(&field_kek, tenant, data_keys, Purpose::BlindIndex)?,
            audit: opened(&tenant_kek, tenant, data_keys, Purpose::AuditData)?,
            refresh: opened(&tenant_kek, tenant, data_keys, Purpose::RefreshSuccessor)?,
            cursor: opened(&tenant_kek, tenant, data_keys, Purpose::Cursor)?,
            session: opened(&tenant_kek, tenant, data_keys, Purpose::Session)?,
            tenant_kek,
            field_kek,
        })
    }
}

/// Stores the keys of subjects, in the transaction that first seals for them.
pub async fn store_subject_keys(
    transaction: &TenantTx,
    keys: &TenantKeys,
    subjects: &[(Uuid, &DataKey)],
) -> Result<(), KeyringError> {
    let mut ids = Vec::with_capacity(subjects.len());
    let mut key_ids = Vec::with_capacity(subjects.len());
    let mut wrapped = Vec::with_capacity(subjects.len());
    for (subject, key) in subjects {
        ids.push(*subject);
        key_ids.push(key.id().0);
        wrapped.push(keys.field_kek.wrap_key(*key)?.into_bytes());
    }
    let epoch = epoch_column(FIRST_EPOCH);
    transaction
        .execute(INSERT_SUBJECT_KEY, &[&transaction.tenant(), &ids, &key_ids, &epoch, &wrapped])
        .await?;
    Ok(())
}

/// Gives a new key to a subject whose key was destroyed; what was sealed under the old one
/// stays closed. [`KeyringError::Shredded`] where there is none to replace.
pub async fn renew_subject_key(
    transaction: &TenantTx,
    keys: &TenantKeys,
    (subject, key): (Uuid, &DataKey),
) -> Result<(), KeyringError> {
    let wrapped = keys.field_kek.wrap_key(key)?.into_bytes();
    let epoch = epoch_column(FIRST_EPOCH);
    let row = transaction
        .query_opt(RENEW_SUBJECT_KEY, &[&subject, &key.id().0, &epoch, &wrapped])
        .await?;
    let renewed = row.map(|row| row.try_get("renewed")).transpose().map_err(DbError::from)?;
    if renewed == Some(true) { Ok(()) } else { Err(KeyringError::Shredded) }
}

/// The keys of subjects by subject; a shredded or unknown subject has none.
pub async fn load_subject_keys(
    transaction: &TenantTx,
    keys: &TenantKeys,
    subjects: &[Uuid],
) -> Result<HashMap<Uuid, DataKey>, KeyringError> {
    let rows = transaction.query(SUBJECT_KEYS, &[&transaction.tenant(), &subjects]).await?;
    let mut opened = HashMap::with_capacity(rows.len());
    for row in rows {
        let wrapped: Option<Vec<u8>> = row.try_get("wrapped_key").map_err(DbError::from)?;
        if wrapped.is_some() {
            let subject = row.try_get("subject_id").map_err(DbError::from)?;
            let key_id = row.try_get("key_id").map_err(DbError::from)?;
            opened.insert(subject, keys.open_subject_key(key_id, wrapped)?);
        }
    }
    Ok(opened)
}

async fn store_kek(
    transaction: &TenantTx,
    kek: &Kek,
    wrapped: &WrappedKey,
) -> Result<(), KeyringError> {
    let context = kek.context();
    let epoch = epoch_column(context.epoch);
    transaction
        .execute(
            INSERT_KEK,
            &[
                &context.tenant,
                &context.purpose.as_str(),
                &epoch,
                &context.key.0,
                &wrapped.as_bytes(),
            ],
        )
        .await?;
    Ok(())
}

async fn made<K: TenantKey>(
    transaction: &TenantTx,
    kek: &Kek,
    purpose: Purpose,
) -> Result<K, KeyringError> {
    let key = K::generate(transaction.tenant(), purpose, FIRST_EPOCH)?;
    let wrapped = kek.wrap_key(&key)?;
    let (context, outer) = (key.context(), kek.context());
    transaction
        .execute(
            INSERT_DATA_KEY,
            &[
                &context.tenant,
                &context.key.0,
                &purpose.as_str(),
                &epoch_column(context.epoch),
                &outer.purpose.as_str(),
                &epoch_column(outer.epoch),
                &wrapped.as_bytes(),
            ],
        )
        .await?;
    Ok(key)
}

fn opened<K: TenantKey>(
    by: &impl WrappingKey,
    tenant: Uuid,
    rows: &[Row],
    purpose: Purpose,
) -> Result<K, KeyringError> {
    for row in rows {
        let stored: String = row.try_get("purpose").map_err(DbError::from)?;
        if stored != purpose.as_str() {
            continue;
        }
        let epoch: i32 = row.try_get("epoch").map_err(DbError::from)?;
        let context = KeyContext {
            tenant,
            purpose,
            key: KeyId(row.try_get("key_id").map_err(DbError::from)?),
            epoch: u32::try_from(epoch).map_err(|_| KeyError::EpochOutOfRange)?,
        };
        let wrapped = WrappedKey::from_bytes(row.try_get("wrapped_key").map_err(DbError::from)?)?;
        return Ok(by.unwrap_key(&context, &wrapped)?);
    }
    Err(KeyringError::Missing(purpose.as_str()))
}

fn epoch_column(epoch: u32) -> i32 {
    i32::try_from(epoch).unwrap_or(i32::MAX)
}
