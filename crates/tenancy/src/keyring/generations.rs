//! All generations of a tenant's keys, opened from what is stored. Refuses to know where
//! that is.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::{Arc, Mutex, atomic::AtomicBool},
};

use uuid::Uuid;
use vault::{IndexKey, Kek, KeyError, Purpose, TenantKey, WrappingKey};

use super::{
    KeyName, KeyringError, TenantKeys,
    roots::Roots,
    stored::{Stored, StoredKey},
};

/// One generation of a key.
pub(super) enum Kept<K> {
    /// It opens what it sealed or wrapped.
    Living(Arc<K>),
    /// Only that there was one is known.
    Destroyed,
}

impl<K> Kept<K> {
    pub(super) fn living_of(key: K) -> Self {
        Self::Living(Arc::new(key))
    }

    pub(super) fn living(&self) -> Option<&K> {
        match self {
            Self::Living(key) => Some(key),
            Self::Destroyed => None,
        }
    }
}

type Keks = HashMap<(Purpose, u32), Kept<Kek>>;

/// Opens everything that is not destroyed. `absent` are the keys that were asked for before
/// `stored` was read.
pub(super) fn open(
    roots: &Roots,
    tenant: Uuid,
    stored: &Stored,
    absent: HashSet<KeyName>,
) -> Result<TenantKeys, KeyringError> {
    let mut keks = Keks::new();
    // Field KEKs last: that they do not open says more once the other root is known to be right.
    let (field, tenants): (Vec<_>, Vec<_>) =
        stored.keks.iter().partition(|row| row.context.purpose == Purpose::FieldKek);
    for row in tenants.into_iter().chain(field) {
        keks.insert((row.context.purpose, row.context.epoch), roots.open(row)?);
    }
    let (mut data, mut indexes) = (HashMap::new(), BTreeMap::new());
    let mut settled = HashSet::new();
    for row in &stored.data_keys {
        match row.context.purpose {
            Purpose::FieldData | Purpose::AuditData => {
                data.insert(row.context.key, generation(&keks, row)?);
            }
            Purpose::BlindIndex => {
                let version = u8::try_from(row.context.epoch);
                let version = version.map_err(|_| KeyError::EpochOutOfRange)?;
                indexes.insert(version, generation(&keks, row)?);
                if row.is_settled {
                    settled.insert(version);
                }
            }
            _ => {}
        }
    }
    Ok(TenantKeys {
        tenant,
        tenant_kek: current_kek(&keks, &stored.keks, Purpose::TenantKek)?,
        field_kek: current_kek(&keks, &stored.keks, Purpose::FieldKek)?,
        field: current(&keks, &stored.data_keys, Purpose::FieldData)?,
        audit: current(&keks, &stored.data_keys, Purpose::AuditData)?,
        index: index_written(&indexes, &settled)?,
        refresh: current(&keks, &stored.data_keys, Purpose::RefreshSuccessor)?,
        cursor: current(&keks, &stored.data_keys, Purpose::Cursor)?,
        session: current(&keks, &stored.data_keys, Purpose::Session)?,
        keks,
        data,
        indexes,
        made_of: stored.made_of(),
        absent,
        wanted: Mutex::default(),
        is_stale: AtomicBool::new(false),
        unopened: Arc::default(),
    })
}

fn unwrapped<K: TenantKey>(
    by: &impl WrappingKey,
    row: &StoredKey,
) -> Result<Kept<K>, KeyringError> {
    let Some(wrapped) = &row.wrapped else { return Ok(Kept::Destroyed) };
    Ok(Kept::living_of(by.unwrap_key(&row.context, wrapped)?))
}

/// A data key under the KEK that it names.
fn generation<K: TenantKey>(keks: &Keks, row: &StoredKey) -> Result<Kept<K>, KeyringError> {
    let (purpose, epoch) = row.kek.ok_or(KeyringError::Missing("wrapping"))?;
    match keks.get(&(purpose, epoch)) {
        Some(Kept::Living(kek)) => unwrapped(kek.as_ref(), row),
        Some(Kept::Destroyed) => Ok(Kept::Destroyed),
        None => Err(KeyringError::Unknown(KeyName::Kek(purpose, epoch))),
    }
}

fn current_kek(
    keks: &Keks,
    rows: &[StoredKey],
    purpose: Purpose,
) -> Result<Arc<Kek>, KeyringError> {
    let row = active(rows, purpose)?;
    living(keks.get(&(purpose, row.context.epoch)), purpose)
}

fn current<K: TenantKey>(
    keks: &Keks,
    rows: &[StoredKey],
    purpose: Purpose,
) -> Result<Arc<K>, KeyringError> {
    living(Some(&generation(keks, active(rows, purpose)?)?), purpose)
}

fn active(rows: &[StoredKey], purpose: Purpose) -> Result<&StoredKey, KeyringError> {
    let found = rows.iter().find(|row| row.context.purpose == purpose && row.is_active());
    found.ok_or(KeyringError::Missing(purpose.as_str()))
}

/// The index key by which values are written: the newest that every node finds them by. One
/// that was made a moment ago waits, or somebody would be looked for in vain elsewhere.
fn index_written(
    indexes: &BTreeMap<u8, Kept<IndexKey>>,
    settled: &HashSet<u8>,
) -> Result<Arc<IndexKey>, KeyringError> {
    let is_living = |version: &u8| matches!(indexes[version], Kept::Living(_));
    let newest = settled.iter().copied().filter(is_living).max();
    let oldest = || indexes.keys().copied().find(is_living);
    let written = newest.or_else(oldest);
    living(written.and_then(|version| indexes.get(&version)), Purpose::BlindIndex)
}

fn living<K>(kept: Option<&Kept<K>>, purpose: Purpose) -> Result<Arc<K>, KeyringError> {
    match kept {
        Some(Kept::Living(key)) => Ok(Arc::clone(key)),
        _ => Err(KeyringError::Missing(purpose.as_str())),
    }
}
