//! What wraps a tenant's KEKs: the roots, and for field KEKs a share a key beside them where an
//! installation keeps shares. Refuses to know which KEK is current.

use vault::{Kek, KeyId, Purpose, RootKeys, TenantKey as _, WrappingKey as _};

use super::{KeyName, KeyringError, generations::Kept, shares::KeyShares, stored::StoredKey};

/// The roots and the shares.
#[derive(Debug)]
pub(super) struct Roots {
    pub(super) keys: RootKeys,
    pub(super) shares: Option<KeyShares>,
}

impl From<RootKeys> for Roots {
    fn from(keys: RootKeys) -> Self {
        Self { keys, shares: None }
    }
}

impl Roots {
    /// A KEK that was just made, wrapped; the share of a field KEK is kept when this returns.
    pub(super) fn wrap(&self, kek: &Kek) -> Result<StoredKey, KeyringError> {
        if kek.context().purpose != Purpose::FieldKek {
            return StoredKey::new(kek, None, self.keys.encryption());
        }
        let Some(shares) = &self.shares else {
            return StoredKey::new(kek, None, self.keys.field());
        };
        let share = shares.make(kek.context().key)?;
        StoredKey::new(kek, None, &self.keys.field().with_share(&share))
    }

    /// Opens a KEK; one that was wrapped before there were shares by the root alone.
    pub(super) fn open(&self, row: &StoredKey) -> Result<Kept<Kek>, KeyringError> {
        let Some(wrapped) = &row.wrapped else { return Ok(Kept::Destroyed) };
        if row.context.purpose != Purpose::FieldKek {
            return Ok(Kept::living_of(self.keys.encryption().unwrap_key(&row.context, wrapped)?));
        }
        let field = self.keys.field();
        if wrapped.wrapped_by() == field.commitment() {
            return Ok(Kept::living_of(field.unwrap_key(&row.context, wrapped)?));
        }
        let name = KeyName::Kek(row.context.purpose, row.context.epoch);
        let shares = self.shares.as_ref().ok_or(KeyringError::NoShare(name))?;
        let share = shares.of(row.context.key)?.ok_or(KeyringError::NoShare(name))?;
        Ok(Kept::living_of(field.with_share(&share).unwrap_key(&row.context, wrapped)?))
    }

    /// Whether a field KEK is wrapped by the root alone, and outlives in every copy of the
    /// database what is erased.
    pub(super) fn is_without_share(&self, row: &StoredKey) -> bool {
        let alone = self.keys.field().commitment();
        row.wrapped.as_ref().is_some_and(|wrapped| wrapped.wrapped_by() == alone)
    }

    /// Has the shares of destroyed keys be gone. The rows are to be committed ones.
    pub(super) fn forget(&self, keks: &[StoredKey]) -> Result<(), KeyringError> {
        let Some(shares) = &self.shares else { return Ok(()) };
        let destroyed = keks.iter().filter(|row| row.wrapped.is_none());
        let destroyed: Vec<KeyId> = destroyed.map(|row| row.context.key).collect();
        Ok(shares.forget(&destroyed)?)
    }
}
