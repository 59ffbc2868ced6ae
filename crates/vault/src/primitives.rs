//! Hashes, MACs, key derivation, randomness and constant-time comparison, so that no other crate
//! names a cryptographic library.
//!
//! Nothing here can fail for a reason a caller could handle. Where the library still returns an
//! error (no entropy, out of memory), the process aborts: a bank that cannot draw random numbers
//! must stop rather than continue.

use std::cell::RefCell;

use aws_lc_rs::{constant_time, digest, hkdf, hmac, rand};

use crate::secret::SecretBytes;

/// `N` bytes from the operating system's generator (through AWS-LC). Aborts without entropy.
pub fn random_bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0_u8; N];
    or_abort(rand::fill(&mut bytes));
    bytes
}

/// `N` random bytes that need not be secret: a nonce. A thread draws them from the generator by
/// the kilobyte, because each draw costs more than sealing a field does. None is given twice.
/// Aborts without entropy.
pub fn random_nonce<const N: usize>() -> [u8; N] {
    NONCES.with_borrow_mut(|stock| {
        let from = if stock.used + N > stock.bytes.len() {
            or_abort(rand::fill(&mut stock.bytes));
            0
        } else {
            stock.used
        };
        stock.used = from + N;
        fixed(&stock.bytes[from..from + N])
    })
}

/// What a thread has drawn for nonces and how much of it is used.
struct Stock {
    bytes: [u8; 1_008],
    used: usize,
}

thread_local! {
    static NONCES: RefCell<Stock> =
        const { RefCell::new(Stock { bytes: [0; 1_008], used: 1_008 }) };
}

/// `length` random bytes that wipe themselves.
pub fn random_secret(length: usize) -> SecretBytes {
    let mut bytes = vec![0_u8; length];
    or_abort(rand::fill(&mut bytes));
    SecretBytes::new(bytes)
}

/// SHA-256 (FIPS 180-4).
pub fn sha256(message: &[u8]) -> [u8; 32] {
    sha256_parts(&[message])
}

/// SHA-256 of the parts one after another, without joining them first. No framing: the caller
/// makes the parts unambiguous (RFC 6962 does it with a prefix byte and fixed lengths).
pub fn sha256_parts(parts: &[&[u8]]) -> [u8; 32] {
    let mut context = digest::Context::new(&digest::SHA256);
    for part in parts {
        context.update(part);
    }
    fixed(context.finish().as_ref())
}

/// SHA-512 (FIPS 180-4).
pub fn sha512(message: &[u8]) -> [u8; 64] {
    fixed(digest::digest(&digest::SHA512, message).as_ref())
}

/// HMAC-SHA-256 (RFC 2104) with a key of any length; 32 bytes and more are safe ones.
pub fn hmac_sha256(key: &[u8], message: &[u8]) -> [u8; 32] {
    fixed(hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), message).as_ref())
}

/// HMAC-SHA-1 (RFC 2104), which authenticator apps are made for (RFC 4226). For nothing else:
/// what is wrong with SHA-1 (collisions) does not touch HMAC, but nothing new needs it.
pub fn hmac_sha1(key: &[u8], message: &[u8]) -> [u8; 20] {
    let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, key);
    fixed(hmac::sign(&key, message).as_ref())
}

/// HKDF-SHA-256 (RFC 5869), 32 bytes out.
pub fn hkdf_sha256(salt: &[u8], key_material: &[u8], info: &[u8]) -> [u8; 32] {
    let mut output = [0_u8; 32];
    or_abort(hkdf_expand(salt, key_material, info, &mut output).ok_or(()));
    output
}

/// Whether two byte strings are equal, in time that depends on their lengths only.
pub fn constant_time_eq(left: &[u8], right: &[u8]) -> bool {
    constant_time::verify_slices_are_equal(left, right).is_ok()
}

/// HKDF-SHA-256 into a buffer of any length; `None` beyond 255 blocks (8,160 bytes).
pub(crate) fn hkdf_expand(
    salt: &[u8],
    key_material: &[u8],
    info: &[u8],
    output: &mut [u8],
) -> Option<()> {
    struct Length(usize);
    impl hkdf::KeyType for Length {
        fn len(&self) -> usize {
            self.0
        }
    }
    let length = Length(output.len());
    hkdf::Salt::new(hkdf::HKDF_SHA256, salt)
        .extract(key_material)
        .expand(&[info], length)
        .and_then(|material| material.fill(output))
        .ok()
}

/// Copies a library's output of known length into an array; any other length is a broken build.
pub(crate) fn fixed<const N: usize>(bytes: &[u8]) -> [u8; N] {
    or_abort(<[u8; N]>::try_from(bytes))
}

/// The value, or the end of the process (see the module's comment).
pub(crate) fn or_abort<T, E>(outcome: Result<T, E>) -> T {
    outcome.unwrap_or_else(|_| std::process::abort())
}
