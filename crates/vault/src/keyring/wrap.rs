//! The wrapped form of a key and the two kinds of key that wrap.

use std::fmt;

use super::{COMMITMENT_BYTES, KEY_BYTES, Kek, KeyContext, KeyError, RootKey, TenantKey};
use crate::primitives::{constant_time_eq, fixed, hkdf_sha256};
use crate::secret::SecretBytes;
use crate::xaes::{NONCE_BYTES, TAG_BYTES, XaesKey};

/// How much longer a wrapped key is than the key inside:
/// format 1 | commitment 32 | nonce 24 | ciphertext | tag 16.
pub const WRAP_OVERHEAD_BYTES: usize = 1 + COMMITMENT_BYTES + NONCE_BYTES + TAG_BYTES;

pub(super) const WRAP_FORMAT: u8 = 1;

/// A wrapped key as stored: format 1 | commitment 32 | nonce 24 | ciphertext and tag.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WrappedKey(Vec<u8>);

impl WrappedKey {
    /// Reads stored bytes, checking length and format.
    pub fn from_bytes(bytes: Vec<u8>) -> Result<Self, KeyError> {
        match bytes.first() {
            Some(&WRAP_FORMAT) if bytes.len() > WRAP_OVERHEAD_BYTES => Ok(Self(bytes)),
            Some(&format) if format != WRAP_FORMAT => Err(KeyError::UnknownFormat(format)),
            _ => Err(KeyError::Truncated),
        }
    }

    /// The bytes to store.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The bytes to store, without a copy.
    pub fn into_bytes(self) -> Vec<u8> {
        self.0
    }

    /// The commitment of the key that wrapped it: which root or KEK, for the live inventory.
    pub fn wrapped_by(&self) -> [u8; COMMITMENT_BYTES] {
        fixed(&self.0[1..=COMMITMENT_BYTES])
    }
}

/// Symmetric key material with everything computed once: schedule, subkey and commitment.
pub struct SymmetricKey {
    pub(super) bytes: SecretBytes,
    cipher: XaesKey,
    commitment: [u8; COMMITMENT_BYTES],
}

impl SymmetricKey {
    pub(super) fn new(bytes: SecretBytes) -> Result<Self, KeyError> {
        let key: &[u8; KEY_BYTES] = bytes.expose().try_into().map_err(|_| KeyError::WrongLength)?;
        let cipher = XaesKey::new(key);
        let commitment = hkdf_sha256(&[], key, b"commit");
        Ok(Self { bytes, cipher, commitment })
    }

    pub(crate) fn cipher(&self) -> &XaesKey {
        &self.cipher
    }

    pub(crate) fn commitment(&self) -> &[u8; COMMITMENT_BYTES] {
        &self.commitment
    }
}

/// A key that wraps other keys: a root or a KEK.
pub trait WrappingKey: private::Wraps {
    /// Wraps any secret (a data key, a PKCS#8 document, an Ed25519 seed) for `context`.
    fn wrap(&self, context: &KeyContext, secret: &SecretBytes) -> Result<WrappedKey, KeyError> {
        let key = self.symmetric();
        let (nonce, ciphertext) =
            key.cipher.seal(&context.aad(), secret.expose()).map_err(|_| KeyError::TooLong)?;
        let mut wrapped = Vec::with_capacity(WRAP_OVERHEAD_BYTES + secret.len());
        wrapped.push(WRAP_FORMAT);
        wrapped.extend_from_slice(&key.commitment);
        wrapped.extend_from_slice(&nonce);
        wrapped.extend_from_slice(&ciphertext);
        Ok(WrappedKey(wrapped))
    }

    /// Unwraps a secret that was wrapped for exactly this context by exactly this key.
    fn unwrap(&self, context: &KeyContext, wrapped: &WrappedKey) -> Result<SecretBytes, KeyError> {
        let key = self.symmetric();
        if !constant_time_eq(&wrapped.wrapped_by(), &key.commitment) {
            return Err(KeyError::WrongWrappingKey);
        }
        let (nonce, ciphertext) = wrapped.0[1 + COMMITMENT_BYTES..].split_at(NONCE_BYTES);
        key.cipher.open(&fixed(nonce), &context.aad(), ciphertext).map_err(|_| KeyError::Tampered)
    }

    /// Wraps a typed key for its own context.
    fn wrap_key<K: TenantKey>(&self, key: &K) -> Result<WrappedKey, KeyError> {
        self.wrap(key.context(), key.secret())
    }

    /// Unwraps a typed key.
    fn unwrap_key<K: TenantKey>(
        &self,
        context: &KeyContext,
        wrapped: &WrappedKey,
    ) -> Result<K, KeyError> {
        K::from_secret(*context, self.unwrap(context, wrapped)?)
    }

    /// Its commitment: names the key without betraying it.
    fn commitment(&self) -> [u8; COMMITMENT_BYTES] {
        self.symmetric().commitment
    }
}

mod private {
    /// Closes [`super::WrappingKey`] to this crate.
    pub trait Wraps {
        /// The material that does the work.
        fn symmetric(&self) -> &super::SymmetricKey;
    }

    impl Wraps for crate::keyring::RootKey {
        fn symmetric(&self) -> &super::SymmetricKey {
            self.material()
        }
    }

    impl Wraps for crate::keyring::Kek {
        fn symmetric(&self) -> &super::SymmetricKey {
            self.material()
        }
    }
}

impl WrappingKey for RootKey {}
impl WrappingKey for Kek {}

impl fmt::Debug for SymmetricKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("SymmetricKey(redacted)")
    }
}
