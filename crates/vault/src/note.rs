//! Ed25519 signatures over notes (C2SP signed-note), for audit checkpoints.
//!
//! It owns the raw signature; the text of a note, key names and key hashes belong to `audit`.

use std::fmt;

use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};

use crate::keyring::KeyError;
use crate::primitives::{fixed, random_secret};
use crate::secret::SecretBytes;

/// An Ed25519 key pair (RFC 8032).
pub struct NoteSigner {
    pair: Ed25519KeyPair,
    seed: SecretBytes,
}

impl NoteSigner {
    /// From a 32-byte seed.
    pub fn from_seed(seed: &SecretBytes) -> Result<Self, KeyError> {
        let pair = Ed25519KeyPair::from_seed_unchecked(seed.expose())
            .map_err(|_| KeyError::WrongLength)?;
        let seed = seed.clone();
        Ok(Self { pair, seed })
    }

    /// From 32 random bytes.
    pub fn generate() -> Self {
        crate::primitives::or_abort(Self::from_seed(&random_secret(32)))
    }

    /// The public key.
    pub fn public_key(&self) -> [u8; 32] {
        fixed(self.pair.public_key().as_ref())
    }

    /// The seed, to be wrapped for storage and nothing else.
    pub fn seed(&self) -> &SecretBytes {
        &self.seed
    }

    /// Signs a message; equal messages give equal signatures.
    pub fn sign(&self, message: &[u8]) -> [u8; 64] {
        fixed(self.pair.sign(message).as_ref())
    }
}

impl fmt::Debug for NoteSigner {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("NoteSigner(redacted)")
    }
}

/// Whether `signature` is a valid Ed25519 signature of `message` by `public_key`.
pub fn verify_note_signature(public_key: &[u8; 32], message: &[u8], signature: &[u8]) -> bool {
    UnparsedPublicKey::new(&ED25519, public_key).verify(message, signature).is_ok()
}
