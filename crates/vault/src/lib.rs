//! Cryptography for every other crate, and the only crate that touches a cryptographic library.
//!
//! It owns key material, sealed fields, blind indexes, password hashing, signing keys, opaque
//! tokens and the signatures of HTTP messages and webhooks. It refuses to know the database, the
//! clock, configuration, and what a value means: callers bring bytes, contexts and the time, and
//! take bytes away.

pub mod blind_index;
pub mod http_signature;
pub mod keyring;
pub mod note;
pub mod password;
pub mod primitives;
pub mod sealed;
pub mod sealed_text;
pub mod secret;
pub mod signing;
pub mod token;
pub mod webhook;
pub mod xaes;

mod framing;
#[cfg(test)]
mod golden;
#[cfg(test)]
mod vectors;

pub use blind_index::{BlindIndex, IndexKey, blind_index};
pub use keyring::{
    DataKey, Kek, KeyContext, KeyError, KeyId, MacKey, Purpose, RootKey, RootKeys, TenantKey,
    WrappedKey, WrappingKey,
};
pub use note::{NoteSigner, verify_note_signature};
pub use primitives::{
    constant_time_eq, hkdf_sha256, hmac_sha1, hmac_sha256, random_bytes, random_secret, sha256,
    sha256_parts, sha512,
};
pub use sealed::{FieldContext, OpenError, SealError, SealedField, open, seal};
pub use secret::SecretBytes;
pub use token::{OpaqueToken, TokenError};
