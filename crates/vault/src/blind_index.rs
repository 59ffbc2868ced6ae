//! Blind indexes: equality lookup over sealed values without revealing them.
//!
//! An index is 33 bytes: the key's version (its epoch, 1 to 255), then HMAC-SHA-256 over tenant,
//! domain and value. The version stands in front so that the rows still indexed under an old key
//! can be counted and found during rotation. It refuses to know how a value is normalised.

use std::fmt;

use aws_lc_rs::hmac;

use crate::framing::Framed;
use crate::keyring::{KEY_BYTES, KeyContext, KeyError, Purpose, TenantKey, check_purpose};
use crate::secret::SecretBytes;

/// Length of an index in bytes.
pub const BLIND_INDEX_BYTES: usize = 33;

/// What is stored beside a sealed value and searched for.
pub type BlindIndex = [u8; BLIND_INDEX_BYTES];

/// A tenant's index key. Its epoch is the version byte of every index made with it.
pub struct IndexKey {
    context: KeyContext,
    secret: SecretBytes,
    key: hmac::Key,
    version: u8,
}

impl IndexKey {
    /// The first byte of every index made with this key.
    pub fn version(&self) -> u8 {
        self.version
    }
}

impl TenantKey for IndexKey {
    fn accepts(purpose: Purpose) -> bool {
        purpose == Purpose::BlindIndex
    }

    fn from_secret(context: KeyContext, secret: SecretBytes) -> Result<Self, KeyError> {
        check_purpose::<Self>(&context)?;
        if secret.len() != KEY_BYTES {
            return Err(KeyError::WrongLength);
        }
        let version = u8::try_from(context.epoch)
            .ok()
            .filter(|version| *version > 0)
            .ok_or(KeyError::EpochOutOfRange)?;
        let key = hmac::Key::new(hmac::HMAC_SHA256, secret.expose());
        Ok(Self { context, secret, key, version })
    }

    fn context(&self) -> &KeyContext {
        &self.context
    }

    fn secret(&self) -> &SecretBytes {
        &self.secret
    }
}

impl fmt::Debug for IndexKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("IndexKey").field("context", &self.context).finish_non_exhaustive()
    }
}

/// The index of a value that the caller has normalised. `domain` names the kind of value (such as
/// `users.email`), so that equal texts in different columns have unrelated indexes.
pub fn blind_index(key: &IndexKey, domain: &str, normalised: &str) -> BlindIndex {
    let input = Framed::new("strongroom/blind-index/v1")
        .uuid(key.context.tenant)
        .bytes(domain.as_bytes())
        .bytes(normalised.as_bytes())
        .finish();
    let mut index = [0_u8; BLIND_INDEX_BYTES];
    index[0] = key.version;
    index[1..].copy_from_slice(hmac::sign(&key.key, &input).as_ref());
    index
}
