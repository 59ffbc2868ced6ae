//! Keys and the wrapping of one key under another: root → tenant KEK → data, index and MAC keys.
//!
//! It owns the wrapped form and the binding of every key to tenant, purpose, id and epoch. It
//! refuses to know where wrapped keys are stored, which key is current, and where roots come from.

mod kinds;
mod root;
#[cfg(test)]
mod tests;
mod wrap;

use std::fmt;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::framing::Framed;
use crate::primitives::random_bytes;

pub(crate) use kinds::check_purpose;
pub use kinds::{DataKey, Kek, MacKey, TenantKey};
pub use root::{Chain, RootKey, RootKeys};
pub use wrap::{SymmetricKey, WRAP_OVERHEAD_BYTES, WrappedKey, WrappingKey};

/// Length of every symmetric key in bytes.
pub const KEY_BYTES: usize = 32;
/// Length of a key commitment in bytes: HKDF-SHA-256(key, info "commit").
pub const COMMITMENT_BYTES: usize = 32;
/// Identity of a key; also the `kid` of a signing key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct KeyId(pub Uuid);

impl KeyId {
    /// A new random identity. It is no `UUIDv7`, as there is no clock here to take a time from;
    /// key tables are small and need no order.
    pub fn generate() -> Self {
        Self(uuid::Builder::from_random_bytes(random_bytes()).into_uuid())
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

/// What a key may be used for. The stored name is part of what a wrapped key is bound to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Purpose {
    /// A tenant's KEK under the `ENCRYPTION_KEY` root.
    TenantKek,
    /// A tenant's KEK under the `FIELD_ENCRYPTION_KEY` root, for field and index keys.
    FieldKek,
    /// Fields of one class (company financials, equipment, webhook secrets).
    FieldData,
    /// Personal data of one subject; destroyed on erasure.
    SubjectData,
    /// Personal data inside audit records; shredded, never retired.
    AuditData,
    /// Blind indexes of one tenant.
    BlindIndex,
    /// A tenant's JWT signing key.
    TokenSigning,
    /// The MAC that derives a refresh token's successor.
    RefreshSuccessor,
    /// The MAC over pagination cursors.
    Cursor,
    /// The MAC over device fingerprints, CSRF tokens and other short-lived proofs.
    Session,
    /// The Ed25519 key that signs audit checkpoints.
    Checkpoint,
}

impl Purpose {
    const ALL: [Self; 11] = [
        Self::TenantKek,
        Self::FieldKek,
        Self::FieldData,
        Self::SubjectData,
        Self::AuditData,
        Self::BlindIndex,
        Self::TokenSigning,
        Self::RefreshSuccessor,
        Self::Cursor,
        Self::Session,
        Self::Checkpoint,
    ];

    /// The stored name, `snake_case`; it must never change.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::TenantKek => "tenant_kek",
            Self::FieldKek => "field_kek",
            Self::FieldData => "field_data",
            Self::SubjectData => "subject_data",
            Self::AuditData => "audit_data",
            Self::BlindIndex => "blind_index",
            Self::TokenSigning => "token_signing",
            Self::RefreshSuccessor => "refresh_successor",
            Self::Cursor => "cursor",
            Self::Session => "session",
            Self::Checkpoint => "checkpoint",
        }
    }

    /// The purpose with this stored name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|purpose| purpose.as_str() == name)
    }
}

/// All that a wrapped key is bound to. Opening it under any other context fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyContext {
    /// The tenant that the key serves.
    pub tenant: Uuid,
    /// What it may be used for.
    pub purpose: Purpose,
    /// Its identity.
    pub key: KeyId,
    /// Its generation, from 1.
    pub epoch: u32,
}

impl KeyContext {
    /// A context for a new key, with a new identity.
    pub fn generate(tenant: Uuid, purpose: Purpose, epoch: u32) -> Self {
        Self { tenant, purpose, key: KeyId::generate(), epoch }
    }

    fn aad(&self) -> Vec<u8> {
        Framed::new("strongroom/wrap")
            .bytes(&[wrap::WRAP_FORMAT])
            .uuid(self.tenant)
            .bytes(self.purpose.as_str().as_bytes())
            .uuid(self.key.0)
            .number(self.epoch)
            .finish()
    }
}

/// Why a key could not be read, wrapped or unwrapped. Never carries key material.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// A root is neither 64 hexadecimal digits nor base64 of 32 bytes.
    #[error("a root key must be 32 bytes in hexadecimal or base64")]
    Encoding,
    /// Too short to be a wrapped key.
    #[error("the wrapped key is truncated")]
    Truncated,
    /// The first byte names no format we know.
    #[error("unknown wrapped key format {0}")]
    UnknownFormat(u8),
    /// It was wrapped by another key than the one offered.
    #[error("the key was wrapped by another key")]
    WrongWrappingKey,
    /// Altered, or bound to another tenant, purpose, id or epoch.
    #[error("the wrapped key was altered or belongs to another context")]
    Tampered,
    /// The unwrapped secret has the wrong length for its kind.
    #[error("the key has the wrong length")]
    WrongLength,
    /// The context's purpose does not fit the kind of key.
    #[error("the key is for another purpose")]
    WrongPurpose,
    /// The epoch is outside what this kind of key can carry (blind indexes: 1 to 255).
    #[error("the epoch is out of range")]
    EpochOutOfRange,
    /// The secret is longer than can be wrapped.
    #[error("the secret is too long to wrap")]
    TooLong,
}
