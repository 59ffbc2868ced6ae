//! XAES-256-GCM (C2SP XAES-256-GCM v1): AES-256-GCM with a 24-byte nonce that may be random for
//! any number of messages.
//!
//! Each message gets its own key, derived by CMAC from the first half of the nonce (NIST SP
//! 800-108r1); the second half is the GCM nonce. It knows neither envelopes nor key identities.

use std::fmt;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::cipher::{AES_256, EncryptingKey, UnboundCipherKey};
use zeroize::Zeroizing;

use crate::primitives::{or_abort, random_nonce};
use crate::secret::SecretBytes;

/// Length of a nonce in bytes.
pub const NONCE_BYTES: usize = 24;
/// Length of the authentication tag in bytes, at the end of every ciphertext.
pub const TAG_BYTES: usize = 16;

const BLOCK_BYTES: usize = 16;

/// Why a message could not be sealed or opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum XaesError {
    /// Longer than AES-GCM allows (2^36 − 32 bytes).
    #[error("the plaintext is too long for AES-GCM")]
    TooLong,
    /// The tag does not match: another key, nonce or AAD, or an altered ciphertext.
    #[error("the ciphertext is not authentic")]
    NotAuthentic,
}

/// A 256-bit key, expanded: the AES key schedule and the CMAC subkey are computed once.
pub struct XaesKey {
    block_cipher: EncryptingKey,
    subkey: Zeroizing<[u8; BLOCK_BYTES]>,
}

impl XaesKey {
    /// Expands a key.
    pub fn new(key: &[u8; 32]) -> Self {
        let unbound = or_abort(UnboundCipherKey::new(&AES_256, key));
        let block_cipher = or_abort(EncryptingKey::ecb(unbound));
        let mut subkey = Zeroizing::new([0_u8; BLOCK_BYTES]);
        or_abort(block_cipher.encrypt(subkey.as_mut_slice()));
        double(&mut subkey);
        Self { block_cipher, subkey }
    }

    /// Seals under a fresh random nonce; appends the nonce and the ciphertext with its tag.
    pub fn seal_onto(
        &self,
        aad: &[u8],
        plaintext: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<(), XaesError> {
        let nonce: [u8; NONCE_BYTES] = random_nonce();
        let (derived, short_nonce) = self.derive(&nonce);
        out.reserve(NONCE_BYTES + plaintext.len() + TAG_BYTES);
        out.extend_from_slice(&nonce);
        let from = out.len();
        out.extend_from_slice(plaintext);
        let tag = gcm_key(&derived)
            .seal_in_place_separate_tag(short_nonce, Aad::from(aad), &mut out[from..])
            .map_err(|_| XaesError::TooLong)?;
        out.extend_from_slice(tag.as_ref());
        Ok(())
    }

    /// Seals under a fresh random nonce; gives the nonce and the ciphertext with its tag.
    pub fn seal(
        &self,
        aad: &[u8],
        plaintext: &[u8],
    ) -> Result<([u8; NONCE_BYTES], Vec<u8>), XaesError> {
        let nonce = random_nonce();
        Ok((nonce, self.seal_with_nonce(&nonce, aad, plaintext)?))
    }

    /// Seals under a given nonce, which must never repeat for this key.
    pub fn seal_with_nonce(
        &self,
        nonce: &[u8; NONCE_BYTES],
        aad: &[u8],
        plaintext: &[u8],
    ) -> Result<Vec<u8>, XaesError> {
        let (derived, short_nonce) = self.derive(nonce);
        let mut buffer = Vec::with_capacity(plaintext.len() + TAG_BYTES);
        buffer.extend_from_slice(plaintext);
        gcm_key(&derived)
            .seal_in_place_append_tag(short_nonce, Aad::from(aad), &mut buffer)
            .map_err(|_| XaesError::TooLong)?;
        Ok(buffer)
    }

    /// Opens a ciphertext with its tag.
    pub fn open(
        &self,
        nonce: &[u8; NONCE_BYTES],
        aad: &[u8],
        ciphertext: &[u8],
    ) -> Result<SecretBytes, XaesError> {
        let (derived, short_nonce) = self.derive(nonce);
        gcm_open(&derived, short_nonce, aad, ciphertext)
    }

    /// The message key and the 12-byte nonce that remain of a 24-byte one.
    pub(crate) fn derive(&self, nonce: &[u8; NONCE_BYTES]) -> (Zeroizing<[u8; 32]>, Nonce) {
        let mut derived = Zeroizing::new([0_u8; 32]);
        let (prefix, rest) = nonce.split_at(12);
        for (counter, block) in (1_u8..).zip(derived.chunks_exact_mut(BLOCK_BYTES)) {
            block[..4].copy_from_slice(&[0, counter, b'X', 0]);
            block[4..].copy_from_slice(prefix);
            block.iter_mut().zip(self.subkey.iter()).for_each(|(byte, key)| *byte ^= key);
        }
        or_abort(self.block_cipher.encrypt(derived.as_mut_slice()));
        (derived, or_abort(Nonce::try_assume_unique_for_key(rest)))
    }
}

impl fmt::Debug for XaesKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("XaesKey(redacted)")
    }
}

/// Opens plain AES-256-GCM: the primitive below, apart so that published GCM vectors reach it.
pub(crate) fn gcm_open(
    key: &[u8; 32],
    nonce: Nonce,
    aad: &[u8],
    ciphertext: &[u8],
) -> Result<SecretBytes, XaesError> {
    let length = ciphertext.len().checked_sub(TAG_BYTES).ok_or(XaesError::NotAuthentic)?;
    let mut buffer = Zeroizing::new(ciphertext.to_vec());
    gcm_key(key)
        .open_in_place(nonce, Aad::from(aad), buffer.as_mut_slice())
        .map_err(|_| XaesError::NotAuthentic)?;
    buffer.truncate(length);
    Ok(SecretBytes::new(std::mem::take(&mut *buffer)))
}

fn gcm_key(key: &[u8; 32]) -> LessSafeKey {
    LessSafeKey::new(or_abort(UnboundKey::new(&AES_256_GCM, key)))
}

/// Doubles in GF(2^128), as CMAC derives its first subkey (NIST SP 800-38B), without a branch on
/// the secret bit.
fn double(block: &mut [u8; BLOCK_BYTES]) {
    let value = u128::from_be_bytes(*block);
    let carry = value >> 127;
    *block = ((value << 1) ^ (carry * 0x87)).to_be_bytes();
}
