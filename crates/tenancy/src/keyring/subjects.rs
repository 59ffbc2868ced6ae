//! The keys of data subjects, one a person or company, and the KEK that each names. Refuses
//! to know who they are and when a key is destroyed.

use std::collections::HashMap;

use uuid::Uuid;
use vault::{DataKey, TenantKey as _, WrappingKey as _};

use super::{KeyringError, TenantKeys, epoch_column};
use crate::{DbError, TenantTx};

const INSERT_SUBJECT_KEY: &str = crate::sql!("tenancy/keyring.sql", "insert_subject_key");
const RENEW_SUBJECT_KEY: &str = crate::sql!("tenancy/keyring.sql", "renew_subject_key");
const SUBJECT_KEYS: &str = crate::sql!("tenancy/keyring.sql", "subject_keys");

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
    let epoch = epoch_column(keys.field_kek.context().epoch);
    transaction
        .execute(INSERT_SUBJECT_KEY, &[&transaction.tenant(), &ids, &key_ids, &epoch, &wrapped])
        .await
        .inspect_err(|_| keys.suspect())?;
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
    let epoch = epoch_column(keys.field_kek.context().epoch);
    let row = transaction
        .query_opt(RENEW_SUBJECT_KEY, &[&subject, &key.id().0, &epoch, &wrapped])
        .await
        .inspect_err(|_| keys.suspect())?;
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
            let epoch = row.try_get("kek_epoch").map_err(DbError::from)?;
            opened.insert(subject, keys.open_subject_key(key_id, epoch, wrapped)?);
        }
    }
    Ok(opened)
}
