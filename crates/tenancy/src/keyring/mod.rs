//! A tenant's keys, opened once and kept in memory; made when the tenant is made.
//!
//! Owns where wrapped keys are stored, which is current and which older generations still
//! open. Refuses to do any cryptography: that is the vault's; and to know when a key is
//! replaced. Subject keys travel with the rows they open (a read joins `subject_keys`), so
//! opening a person's fields costs no round trip.

mod change;
mod generations;
mod ring;
mod roots;
mod shares;
mod stored;
mod subjects;
#[cfg(test)]
mod tests;
mod unopened;

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    fmt,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
};

use uuid::Uuid;
use vault::{
    DataKey, FieldContext, IndexKey, Kek, KeyContext, KeyError, KeyId, MacKey, OpenError, Purpose,
    SealError, SealedField, SecretBytes, TenantKey as _, WrappedKey, WrappingKey as _, blind_index,
};

pub use change::{NewGeneration, Rewrapped, Rotatable, Standing, StillWrapped};
pub use ring::Keyring;
pub use shares::{KeyShares, SharesError};
pub use subjects::{load_subject_keys, renew_subject_key, store_subject_keys};
pub use unopened::{Unopened, UnopenedCell};

use crate::{DbError, cells::Meaning};
use generations::Kept;
use stored::Made;

/// The first generation of every key; rotation counts on from here.
const FIRST_EPOCH: u32 = 1;

/// Which key: by what a ciphertext or a wrapped key says of the one that it needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum KeyName {
    /// A data key, by its id in the header of a sealed field.
    Data(KeyId),
    /// A tenant's KEK, by its purpose and generation.
    Kek(Purpose, u32),
    /// An index key, by the first byte of what it made.
    Index(u8),
}

impl fmt::Display for KeyName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Data(id) => write!(formatter, "data key {id}"),
            Self::Kek(purpose, epoch) => write!(formatter, "{} epoch {epoch}", purpose.as_str()),
            Self::Index(version) => write!(formatter, "blind index version {version}"),
        }
    }
}

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
    /// A key that another node may have made a moment ago: the next reading of the tenant's
    /// keys is a new one, and tells.
    #[error("a sealed field does not open: {0} is not known yet")]
    NotYetKnown(KeyName),
    /// The tenant never had that key, or its row is gone.
    #[error("a sealed field does not open: the tenant has no {0}")]
    Unknown(KeyName),
    /// The key was destroyed, and all that only it opens is closed for good.
    #[error("a sealed field does not open: {0} was destroyed")]
    Destroyed(KeyName),
    /// The share that opens a KEK beside the root is not there.
    #[error(
        "{0} does not open: its share is not in KEY_SHARES. This node has another file than the \
         others or another FIELD_ENCRYPTION_KEY, or the database is an older copy whose keys have \
         ended since: `strongroom keys import` brings those that live"
    )]
    NoShare(KeyName),
    /// The shares could not be read or written.
    #[error(transparent)]
    Shares(#[from] SharesError),
    /// The subject's key was destroyed: their data is erased.
    #[error("the subject's key was destroyed")]
    Shredded,
}

impl KeyringError {
    /// Whether it is so for good: what is stored does not open, and will not the next time.
    pub fn is_lasting(&self) -> bool {
        matches!(self, Self::Key(_) | Self::Open(_) | Self::Unknown(_) | Self::Destroyed(_))
    }
}

impl From<KeyringError> for DbError {
    /// For callers that treat an unopenable key as what it is: corrupt storage. One that may
    /// be new is looked for once more, by whoever runs the transaction again.
    fn from(error: KeyringError) -> Self {
        match error {
            KeyringError::Database(error) => error,
            KeyringError::NotYetKnown(_) => Self::StaleKeys(error.to_string()),
            other => Self::Corrupt(other.to_string()),
        }
    }
}

/// The keys of one tenant, as they were read together.
pub struct TenantKeys {
    tenant: Uuid,
    /// What it was opened from; opened anew only where this changes.
    made_of: Vec<Made>,
    keks: HashMap<(Purpose, u32), Kept<Kek>>,
    data: HashMap<KeyId, Kept<DataKey>>,
    indexes: BTreeMap<u8, Kept<IndexKey>>,
    tenant_kek: Arc<Kek>,
    field_kek: Arc<Kek>,
    field: Arc<DataKey>,
    audit: Arc<DataKey>,
    index: Arc<IndexKey>,
    refresh: Arc<MacKey>,
    cursor: Arc<MacKey>,
    session: Arc<MacKey>,
    /// Keys that were asked for before this reading began, and that it does not have.
    absent: HashSet<KeyName>,
    /// Keys that were asked for since, and why the next reading is due at once.
    wanted: Mutex<HashSet<KeyName>>,
    is_stale: AtomicBool,
    /// Shared by the whole keyring.
    unopened: Arc<Unopened>,
}

impl fmt::Debug for TenantKeys {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("TenantKeys").field("tenant", &self.tenant).finish_non_exhaustive()
    }
}

impl TenantKeys {
    /// Wraps signing keys and checkpoint keys (bound to their own [`KeyContext`]).
    pub fn kek(&self) -> &Kek {
        &self.tenant_kek
    }

    /// The KEK of a generation that wraps signing keys.
    pub fn kek_of(&self, epoch: i32) -> Result<&Kek, KeyringError> {
        self.kek_named(Purpose::TenantKek, epoch)
    }

    /// Blind indexes.
    pub fn index(&self) -> &IndexKey {
        &self.index
    }

    /// The indexes by which a value may be stored, under every key that is not destroyed and
    /// the newest first: what is looked up while some rows wait to be indexed anew.
    pub fn indexes(&self, domain: &str, normalised: &str) -> Vec<Vec<u8>> {
        let living = self.indexes.values().rev().filter_map(Kept::living);
        living.map(|key| blind_index(key, domain, normalised).to_vec()).collect()
    }

    /// The key that made an index, by its first byte.
    pub fn index_of(&self, version: u8) -> Result<&IndexKey, KeyringError> {
        self.kept(self.indexes.get(&version), KeyName::Index(version))
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

    /// Seals fields that belong to no person (secrets of the tenant); see [`Self::open_own`].
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

    /// Opens a subject's key that a read brought along (`subject_keys.key_id, kek_epoch,
    /// wrapped_key`).
    pub fn open_subject_key(
        &self,
        key_id: Uuid,
        kek_epoch: i32,
        wrapped: Option<Vec<u8>>,
    ) -> Result<DataKey, KeyringError> {
        let opened = self.subject_key(key_id, kek_epoch, wrapped);
        self.noting(("subject_keys", "wrapped_key", key_id), opened)
    }

    fn subject_key(
        &self,
        key_id: Uuid,
        kek_epoch: i32,
        wrapped: Option<Vec<u8>>,
    ) -> Result<DataKey, KeyringError> {
        let wrapped = WrappedKey::from_bytes(wrapped.ok_or(KeyringError::Shredded)?)?;
        let context = KeyContext {
            tenant: self.tenant,
            purpose: Purpose::SubjectData,
            key: KeyId(key_id),
            epoch: FIRST_EPOCH,
        };
        Ok(self.kek_named(Purpose::FieldKek, kek_epoch)?.unwrap_key(&context, &wrapped)?)
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
        cell: (&str, &str, Uuid),
        sealed: Vec<u8>,
    ) -> Result<String, KeyringError> {
        self.noting(cell, self.open_field(key, cell, sealed))
    }

    /// Opens the text of one cell that belongs to no person, with the key that sealed it.
    pub fn open_own(
        &self,
        cell: (&str, &str, Uuid),
        sealed: Vec<u8>,
    ) -> Result<String, KeyringError> {
        let opened = self.own_key(&sealed).and_then(|key| self.open_field(key, cell, sealed));
        self.noting(cell, opened)
    }

    /// What one cell that belongs to no person holds, sealed by the newest key.
    pub fn reseal_own(
        &self,
        (table, column, row): (&str, &str, Uuid),
        sealed: &[u8],
    ) -> Result<Vec<u8>, KeyringError> {
        let context = FieldContext { tenant: self.tenant, table, column, row };
        let sealed = SealedField::from_bytes(sealed.to_vec())?;
        let opened = vault::open(self.own_key(sealed.as_bytes())?, &context, &sealed)?;
        Ok(vault::seal(&self.field, &context, opened.expose())?.into_bytes())
    }

    /// What a cell is found by from now on. Where the index that stood there is not that of the
    /// value, one of the two was altered, and neither is trusted.
    pub fn reindexed(
        &self,
        subject: &DataKey,
        cell: (&str, &str, Uuid),
        meaning: &Meaning,
        (sealed, before): (Vec<u8>, &[u8]),
    ) -> Result<Vec<u8>, KeyringError> {
        let normal = (meaning.normal)(&self.open_field(subject, cell, sealed)?);
        let version = before.first().copied().unwrap_or_default();
        match self.index_of(version) {
            Ok(key) if blind_index(key, meaning.domain, &normal) != before => {
                return Err(KeyringError::Open(OpenError::Tampered));
            }
            // What only a destroyed key could say of it, nobody can ask any more.
            Ok(_) | Err(KeyringError::Destroyed(_)) => {}
            Err(error) => return Err(error),
        }
        Ok(blind_index(&self.index, meaning.domain, &normal).to_vec())
    }

    /// The key that sealed a field that belongs to no person.
    pub fn own_key(&self, sealed: &[u8]) -> Result<&DataKey, KeyringError> {
        let key = vault::sealed::key_id(sealed)?;
        self.kept(self.data.get(&key), KeyName::Data(key))
    }

    /// Has the next reading of this tenant's keys be a new one.
    pub(crate) fn suspect(&self) {
        self.is_stale.store(true, Ordering::Relaxed);
    }

    /// Whether something was asked for that a newer reading may have.
    pub fn is_stale(&self) -> bool {
        self.is_stale.load(Ordering::Relaxed)
    }

    fn open_field(
        &self,
        key: &DataKey,
        (table, column, row): (&str, &str, Uuid),
        sealed: Vec<u8>,
    ) -> Result<String, KeyringError> {
        let context = FieldContext { tenant: self.tenant, table, column, row };
        let opened: SecretBytes = vault::open(key, &context, &SealedField::from_bytes(sealed)?)?;
        opened.expose_text().map(str::to_owned).ok_or(KeyringError::Open(OpenError::Tampered))
    }

    /// Takes note of what does not open, to be told in the audit log.
    fn noting<T>(
        &self,
        cell: (&str, &str, Uuid),
        opened: Result<T, KeyringError>,
    ) -> Result<T, KeyringError> {
        if let Err(error) = &opened {
            self.unopened.note(self.tenant, cell, error);
        }
        opened
    }

    fn kek_named(&self, purpose: Purpose, epoch: i32) -> Result<&Kek, KeyringError> {
        let epoch = u32::try_from(epoch).map_err(|_| KeyError::EpochOutOfRange)?;
        self.kept(self.keks.get(&(purpose, epoch)), KeyName::Kek(purpose, epoch))
    }

    fn kept<'a, K>(
        &self,
        found: Option<&'a Kept<K>>,
        name: KeyName,
    ) -> Result<&'a K, KeyringError> {
        match found {
            Some(Kept::Living(key)) => Ok(key.as_ref()),
            Some(Kept::Destroyed) => Err(KeyringError::Destroyed(name)),
            None if self.absent.contains(&name) => Err(KeyringError::Unknown(name)),
            None => {
                if let Ok(mut wanted) = self.wanted.lock() {
                    wanted.insert(name);
                }
                self.suspect();
                Err(KeyringError::NotYetKnown(name))
            }
        }
    }
}

fn epoch_column(epoch: u32) -> i32 {
    i32::try_from(epoch).unwrap_or(i32::MAX)
}
