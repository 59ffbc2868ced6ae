//! Owns the log's signing keys: made with the tenant, wrapped under its KEK,
//! opened by the sealer.
//!
//! Refuses to know: how KEKs are made and rotated (tenancy), and how a
//! signature is computed (vault).

use tenancy::{DbError, TenantTx, keyring::TenantKeys};
use tokio_postgres::Row;
use uuid::Uuid;
use vault::{
    Kek, KeyContext, KeyError, KeyId, NoteSigner, Purpose, RootKeys, TenantKey as _, WrappedKey,
    WrappingKey as _,
};

use crate::note::{LogSigner, NoteVerifier};

const ADD_LOG_KEY: &str = tenancy::sql!("audit/keys.sql", "add_log_key");
const LOG_KEYS_BEHIND: &str = tenancy::sql!("audit/keys.sql", "log_keys_behind");
const REWRAP_LOG_KEY: &str = tenancy::sql!("audit/keys.sql", "rewrap_log_key");

/// The name of a tenant's log: its checkpoints' origin and its key's name.
pub fn log_name(tenant_id: Uuid) -> String {
    format!("strongroom/audit/{tenant_id}")
}

/// Makes the tenant's log key and stores it wrapped under the tenant's KEK; to
/// be called once, in the transaction that creates the tenant. Gives back the
/// verifier key to publish.
pub async fn create(transaction: &TenantTx, kek: &Kek) -> Result<NoteVerifier, DbError> {
    let tenant_id = transaction.tenant();
    let context = KeyContext::generate(tenant_id, Purpose::Checkpoint, 1);
    let key = NoteSigner::generate();
    let wrapped = kek.wrap(&context, key.seed()).map_err(corrupt)?;
    let name = log_name(tenant_id);
    let public_key = key.public_key();
    let (epoch, kek_epoch) = (epoch_column(context.epoch)?, epoch_column(kek.context().epoch)?);
    let parameters: [&(dyn tokio_postgres::types::ToSql + Sync); 7] = [
        &tenant_id,
        &context.key.0,
        &name,
        &public_key.as_slice(),
        &epoch,
        &kek_epoch,
        &wrapped.as_bytes(),
    ];
    transaction.execute(ADD_LOG_KEY, &parameters).await?;
    NoteVerifier::new(&name, public_key).map_err(|error| DbError::Corrupt(error.to_string()))
}

/// Wraps by the tenant's newest KEK the log keys that an older one wraps; says how many.
/// `keys` are read in the same transaction, behind the lock on their changes.
pub async fn rewrap(transaction: &TenantTx, keys: &TenantKeys) -> Result<usize, DbError> {
    let tenant_id = transaction.tenant();
    let newest = epoch_column(keys.kek().context().epoch)?;
    let rows = transaction.query(LOG_KEYS_BEHIND, &[&tenant_id, &newest]).await?;
    for row in &rows {
        let context = KeyContext {
            tenant: tenant_id,
            purpose: Purpose::Checkpoint,
            key: KeyId(row.try_get("key_id")?),
            epoch: epoch_of(row.try_get("epoch")?)?,
        };
        let wrapped = WrappedKey::from_bytes(row.try_get("wrapped_seed")?).map_err(corrupt)?;
        let old = keys.kek_of(row.try_get("kek_epoch")?)?;
        let seed = old.unwrap(&context, &wrapped).map_err(corrupt)?;
        let anew = keys.kek().wrap(&context, &seed).map_err(corrupt)?;
        let parameters: [&(dyn tokio_postgres::types::ToSql + Sync); 4] =
            [&tenant_id, &context.key.0, &newest, &anew.as_bytes()];
        transaction.execute(REWRAP_LOG_KEY, &parameters).await?;
    }
    Ok(rows.len())
}

/// Opens the key of a row of `log_key` under the name that the row gives it.
pub(crate) fn open(tenant_id: Uuid, row: &Row, roots: &RootKeys) -> Result<LogSigner, DbError> {
    open_as(tenant_id, row.try_get("key_name")?, row, roots)
}

/// Opens it under a name: KEK under the root, seed under the KEK.
pub(crate) fn open_as(
    tenant_id: Uuid,
    name: &str,
    row: &Row,
    roots: &RootKeys,
) -> Result<LogSigner, DbError> {
    let kek_context = KeyContext {
        tenant: tenant_id,
        purpose: Purpose::TenantKek,
        key: KeyId(row.try_get("kek_id")?),
        epoch: epoch_of(row.try_get("kek_epoch")?)?,
    };
    let wrapped_kek = WrappedKey::from_bytes(row.try_get("wrapped_kek")?).map_err(corrupt)?;
    let kek: Kek = roots.encryption().unwrap_key(&kek_context, &wrapped_kek).map_err(corrupt)?;
    let context = KeyContext {
        tenant: tenant_id,
        purpose: Purpose::Checkpoint,
        key: KeyId(row.try_get("key_id")?),
        epoch: epoch_of(row.try_get("epoch")?)?,
    };
    let wrapped = WrappedKey::from_bytes(row.try_get("wrapped_seed")?).map_err(corrupt)?;
    let seed = kek.unwrap(&context, &wrapped).map_err(corrupt)?;
    let signer = NoteSigner::from_seed(&seed).map_err(corrupt)?;
    LogSigner::new(name, signer).map_err(|error| DbError::Corrupt(error.to_string()))
}

fn corrupt(error: KeyError) -> DbError {
    DbError::Corrupt(format!("audit log key: {error}"))
}

fn epoch_column(epoch: u32) -> Result<i32, DbError> {
    i32::try_from(epoch).map_err(|_| DbError::Corrupt("key epoch out of range".to_owned()))
}

fn epoch_of(column: i32) -> Result<u32, DbError> {
    u32::try_from(column).map_err(|_| DbError::Corrupt("key epoch out of range".to_owned()))
}
