//! XAES-256-GCM (C2SP XAES-256-GCM v1): AES-256-GCM with a 24-byte nonce that may be random for
//! any number of messages.
//!
//! The first half of the nonce gives the key of the message, derived by CMAC (NIST SP
//! 800-108r1); the second half is the GCM nonce. Deriving costs more than sealing a field does,
//! so one first half serves up to `MESSAGES_MAX` messages of this process, each with a random
//! second half: 96 random bits meet among 2^20 with a chance below 2^-57. Any such nonce is one
//! of XAES, and opens anywhere. It knows neither envelopes nor key identities.

use std::fmt;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::cipher::{AES_256, EncryptingKey, UnboundCipherKey};
use zeroize::Zeroizing;

use crate::primitives::{fixed, or_abort, random_nonce};
use crate::secret::SecretBytes;

/// Length of a nonce in bytes.
pub const NONCE_BYTES: usize = 24;
/// Length of the authentication tag in bytes, at the end of every ciphertext.
pub const TAG_BYTES: usize = 16;

/// Messages that are sealed under one derived key.
const MESSAGES_MAX: u32 = 1 << 20;
/// Derived keys that are remembered for opening, each in the place that its prefix says.
const OPENED_MAX: usize = 8;

const BLOCK_BYTES: usize = 16;
const PREFIX_BYTES: usize = 12;

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

/// A 256-bit key, expanded: the AES key schedule and the CMAC subkey are computed once, the keys
/// derived for messages are kept while they are used.
pub struct XaesKey {
    block_cipher: EncryptingKey,
    subkey: Zeroizing<[u8; BLOCK_BYTES]>,
    sealing: RwLock<Option<Arc<Sealing>>>,
    opened: RwLock<[Option<Arc<MessageKey>>; OPENED_MAX]>,
}

/// The key of all messages whose nonces begin alike.
struct MessageKey {
    prefix: [u8; PREFIX_BYTES],
    gcm: LessSafeKey,
}

/// The one that is sealed under now, and how many messages were begun.
struct Sealing {
    key: MessageKey,
    begun: AtomicU32,
}

impl Sealing {
    /// Takes the place of one more message, where there is one left.
    fn begin(&self) -> bool {
        let next = |begun: u32| (begun < MESSAGES_MAX).then_some(begun + 1);
        self.begun.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next).is_ok()
    }
}

impl XaesKey {
    /// Expands a key.
    pub fn new(key: &[u8; 32]) -> Self {
        let unbound = or_abort(UnboundCipherKey::new(&AES_256, key));
        let block_cipher = or_abort(EncryptingKey::ecb(unbound));
        let mut subkey = Zeroizing::new([0_u8; BLOCK_BYTES]);
        or_abort(block_cipher.encrypt(subkey.as_mut_slice()));
        double(&mut subkey);
        Self { block_cipher, subkey, sealing: RwLock::default(), opened: RwLock::default() }
    }

    /// Seals under a fresh random nonce; appends the nonce and the ciphertext with its tag.
    pub fn seal_onto(
        &self,
        aad: &[u8],
        plaintext: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<(), XaesError> {
        let sealing = self.sealing();
        let rest: [u8; NONCE_BYTES - PREFIX_BYTES] = random_nonce();
        out.reserve(NONCE_BYTES + plaintext.len() + TAG_BYTES);
        out.extend_from_slice(&sealing.key.prefix);
        out.extend_from_slice(&rest);
        let from = out.len();
        out.extend_from_slice(plaintext);
        let nonce = Nonce::assume_unique_for_key(rest);
        let tag = (sealing.key.gcm)
            .seal_in_place_separate_tag(nonce, Aad::from(aad), &mut out[from..])
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
        let (prefix, rest) = halves(nonce);
        open_with(&self.opening(prefix).gcm, Nonce::assume_unique_for_key(rest), aad, ciphertext)
    }

    /// The key that is sealed under now, with the place of one message in it. Nobody seals
    /// inside the lock.
    fn sealing(&self) -> Arc<Sealing> {
        let now = self.sealing.read().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(sealing) = now.filter(|sealing| sealing.begin()) {
            return sealing;
        }
        let mut now = self.sealing.write().unwrap_or_else(PoisonError::into_inner);
        // Somebody else may have been first.
        if let Some(sealing) = now.as_ref().filter(|sealing| sealing.begin()) {
            return Arc::clone(sealing);
        }
        let key = self.message_key(random_nonce());
        Arc::clone(now.insert(Arc::new(Sealing { key, begun: AtomicU32::new(1) })))
    }

    /// The key of messages whose nonces begin so, which may be remembered.
    fn opening(&self, prefix: [u8; PREFIX_BYTES]) -> Arc<MessageKey> {
        let place = usize::from(prefix[0]) % OPENED_MAX;
        let kept = self.opened.read().unwrap_or_else(PoisonError::into_inner)[place].clone();
        if let Some(key) = kept.filter(|key| key.prefix == prefix) {
            return key;
        }
        let key = Arc::new(self.message_key(prefix));
        let mut opened = self.opened.write().unwrap_or_else(PoisonError::into_inner);
        opened[place] = Some(Arc::clone(&key));
        key
    }

    fn message_key(&self, prefix: [u8; PREFIX_BYTES]) -> MessageKey {
        MessageKey { prefix, gcm: gcm_key(&self.derive_key(prefix)) }
    }

    /// The message key and the 12-byte nonce that remain of a 24-byte one.
    pub(crate) fn derive(&self, nonce: &[u8; NONCE_BYTES]) -> (Zeroizing<[u8; 32]>, Nonce) {
        let (prefix, rest) = halves(nonce);
        (self.derive_key(prefix), Nonce::assume_unique_for_key(rest))
    }

    fn derive_key(&self, prefix: [u8; PREFIX_BYTES]) -> Zeroizing<[u8; 32]> {
        let mut derived = Zeroizing::new([0_u8; 32]);
        for (counter, block) in (1_u8..).zip(derived.chunks_exact_mut(BLOCK_BYTES)) {
            block[..4].copy_from_slice(&[0, counter, b'X', 0]);
            block[4..].copy_from_slice(&prefix);
            block.iter_mut().zip(self.subkey.iter()).for_each(|(byte, key)| *byte ^= key);
        }
        or_abort(self.block_cipher.encrypt(derived.as_mut_slice()));
        derived
    }
}

impl fmt::Debug for XaesKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("XaesKey(redacted)")
    }
}

/// Opens plain AES-256-GCM: the primitive below, so that published GCM vectors reach it.
#[cfg(test)]
pub(crate) fn gcm_open(
    key: &[u8; 32],
    nonce: Nonce,
    aad: &[u8],
    ciphertext: &[u8],
) -> Result<SecretBytes, XaesError> {
    open_with(&gcm_key(key), nonce, aad, ciphertext)
}

fn open_with(
    key: &LessSafeKey,
    nonce: Nonce,
    aad: &[u8],
    ciphertext: &[u8],
) -> Result<SecretBytes, XaesError> {
    let length = ciphertext.len().checked_sub(TAG_BYTES).ok_or(XaesError::NotAuthentic)?;
    let mut buffer = Zeroizing::new(ciphertext.to_vec());
    key.open_in_place(nonce, Aad::from(aad), buffer.as_mut_slice())
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

/// What names the message key, and the GCM nonce.
fn halves(nonce: &[u8; NONCE_BYTES]) -> ([u8; PREFIX_BYTES], [u8; NONCE_BYTES - PREFIX_BYTES]) {
    let (prefix, rest) = nonce.split_at(PREFIX_BYTES);
    (fixed(prefix), fixed(rest))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use std::collections::HashSet;
    use std::thread;

    use super::*;

    const AAD: &[u8] = b"a cell";

    fn sealed(key: &XaesKey, plaintext: &[u8]) -> ([u8; NONCE_BYTES], Vec<u8>) {
        let mut out = Vec::new();
        key.seal_onto(AAD, plaintext, &mut out).unwrap();
        let (nonce, ciphertext) = out.split_at(NONCE_BYTES);
        (fixed(nonce), ciphertext.to_vec())
    }

    #[test]
    fn what_a_kept_key_seals_is_what_the_definition_seals() {
        let key = XaesKey::new(&[7; 32]);
        for plaintext in [&b""[..], b"x", &[3; 4_096]] {
            let (nonce, ciphertext) = sealed(&key, plaintext);
            let anew = XaesKey::new(&[7; 32]).seal_with_nonce(&nonce, AAD, plaintext).unwrap();
            assert_eq!(ciphertext, anew);
            // Twice: the second is opened by the key that the first one left.
            for _ in 0..2 {
                let opened = key.open(&nonce, AAD, &ciphertext).unwrap();
                assert_eq!(opened.expose(), plaintext);
            }
        }
    }

    #[test]
    fn a_derived_key_seals_so_many_messages_and_no_more() {
        let key = XaesKey::new(&[7; 32]);
        let first = sealed(&key, b"").0;
        assert_eq!(sealed(&key, b"").0[..PREFIX_BYTES], first[..PREFIX_BYTES]);
        let begun = |count: u32| {
            let sealing = key.sealing.read().unwrap();
            sealing.as_ref().unwrap().begun.store(count, Ordering::Relaxed);
        };
        begun(MESSAGES_MAX - 1);
        assert_eq!(sealed(&key, b"").0[..PREFIX_BYTES], first[..PREFIX_BYTES]);
        let next = sealed(&key, b"").0;
        assert_ne!(next[..PREFIX_BYTES], first[..PREFIX_BYTES]);
        assert_eq!(sealed(&key, b"").0[..PREFIX_BYTES], next[..PREFIX_BYTES]);
    }

    #[test]
    fn kept_keys_are_found_by_their_whole_prefix() {
        let key = XaesKey::new(&[7; 32]);
        // All in one place, one after the other and to and fro.
        let messages: Vec<_> = (0..20_u8)
            .map(|number| {
                let mut nonce = [number; NONCE_BYTES];
                nonce[0] = 8;
                (nonce, key.seal_with_nonce(&nonce, AAD, &[number]).unwrap())
            })
            .collect();
        for (number, (nonce, ciphertext)) in
            messages.iter().chain(messages.iter().rev()).enumerate()
        {
            let opened = key.open(nonce, AAD, ciphertext).unwrap();
            assert_eq!(opened.expose(), [nonce[1]], "{number}");
            let other = &messages[usize::from((nonce[1] + 1) % 20)];
            assert_eq!(key.open(&other.0, AAD, ciphertext).unwrap_err(), XaesError::NotAuthentic);
        }
    }

    #[test]
    fn many_threads_never_share_a_nonce() {
        let key = XaesKey::new(&[7; 32]);
        key.sealing();
        key.sealing
            .read()
            .unwrap()
            .as_ref()
            .unwrap()
            .begun
            .store(MESSAGES_MAX - 500, Ordering::Relaxed);
        let nonces: Vec<[u8; NONCE_BYTES]> = thread::scope(|scope| {
            let workers: Vec<_> = (0..8)
                .map(|_| scope.spawn(|| (0..200).map(|_| sealed(&key, b"").0).collect::<Vec<_>>()))
                .collect();
            workers.into_iter().flat_map(|worker| worker.join().unwrap()).collect()
        });
        assert_eq!(nonces.iter().collect::<HashSet<_>>().len(), 1_600);
        let of_first =
            |prefix: &[u8]| nonces.iter().filter(|nonce| nonce.starts_with(prefix)).count();
        let prefixes: HashSet<&[u8]> = nonces.iter().map(|nonce| &nonce[..PREFIX_BYTES]).collect();
        let mut counts: Vec<usize> = prefixes.into_iter().map(of_first).collect();
        counts.sort_unstable();
        assert_eq!(counts, [500, 1_100]);
    }
}
