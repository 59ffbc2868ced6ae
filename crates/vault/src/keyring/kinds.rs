//! The kinds of key a tenant has, and what each may be used for.

use std::fmt;

use aws_lc_rs::hmac;
use uuid::Uuid;

use super::{KEY_BYTES, KeyContext, KeyError, KeyId, Purpose, SymmetricKey};
use crate::framing::Framed;
use crate::primitives::{constant_time_eq, fixed, random_secret};
use crate::secret::SecretBytes;

/// A 32-byte key of one tenant with a context.
pub trait TenantKey: Sized {
    /// Whether keys of this kind may carry `purpose`.
    fn accepts(purpose: Purpose) -> bool;

    /// Builds it from 32 secret bytes.
    fn from_secret(context: KeyContext, secret: SecretBytes) -> Result<Self, KeyError>;

    /// What it is bound to.
    fn context(&self) -> &KeyContext;

    /// Its bytes, to be wrapped and nothing else.
    fn secret(&self) -> &SecretBytes;

    /// A new random key with a new identity.
    fn generate(tenant: Uuid, purpose: Purpose, epoch: u32) -> Result<Self, KeyError> {
        let context = KeyContext::generate(tenant, purpose, epoch);
        Self::from_secret(context, random_secret(KEY_BYTES))
    }
}

/// Refuses a context whose purpose does not fit `K`.
pub(crate) fn check_purpose<K: TenantKey>(context: &KeyContext) -> Result<(), KeyError> {
    if K::accepts(context.purpose) { Ok(()) } else { Err(KeyError::WrongPurpose) }
}

/// A tenant's key-encryption key.
pub struct Kek {
    context: KeyContext,
    key: SymmetricKey,
}

impl TenantKey for Kek {
    fn accepts(purpose: Purpose) -> bool {
        matches!(purpose, Purpose::TenantKek | Purpose::FieldKek)
    }

    fn from_secret(context: KeyContext, secret: SecretBytes) -> Result<Self, KeyError> {
        check_purpose::<Self>(&context)?;
        let key = SymmetricKey::new(secret)?;
        Ok(Self { context, key })
    }

    fn context(&self) -> &KeyContext {
        &self.context
    }

    fn secret(&self) -> &SecretBytes {
        &self.key.bytes
    }
}

impl Kek {
    pub(super) fn material(&self) -> &SymmetricKey {
        &self.key
    }
}

/// A key that seals fields: one per class and epoch, and one per data subject.
pub struct DataKey {
    context: KeyContext,
    key: SymmetricKey,
}

impl DataKey {
    /// Its identity, as it stands in the header of every field that it sealed.
    pub fn id(&self) -> KeyId {
        self.context.key
    }

    pub(crate) fn symmetric(&self) -> &SymmetricKey {
        &self.key
    }
}

impl TenantKey for DataKey {
    fn accepts(purpose: Purpose) -> bool {
        matches!(purpose, Purpose::FieldData | Purpose::SubjectData | Purpose::AuditData)
    }

    fn from_secret(context: KeyContext, secret: SecretBytes) -> Result<Self, KeyError> {
        check_purpose::<Self>(&context)?;
        let key = SymmetricKey::new(secret)?;
        Ok(Self { context, key })
    }

    fn context(&self) -> &KeyContext {
        &self.context
    }

    fn secret(&self) -> &SecretBytes {
        &self.key.bytes
    }
}

/// A key for HMAC-SHA-256: refresh successors, cursors, short-lived proofs.
pub struct MacKey {
    context: KeyContext,
    secret: SecretBytes,
    key: hmac::Key,
}

impl MacKey {
    /// MAC over `message` for one use; `domain` keeps uses of the same key apart.
    pub fn sign(&self, domain: &str, message: &[u8]) -> [u8; 32] {
        let input =
            Framed::new("strongroom/mac/v1").bytes(domain.as_bytes()).bytes(message).finish();
        fixed(hmac::sign(&self.key, &input).as_ref())
    }

    /// Whether `tag` is the MAC over `message`, compared in constant time.
    pub fn verify(&self, domain: &str, message: &[u8], tag: &[u8]) -> bool {
        constant_time_eq(&self.sign(domain, message), tag)
    }
}

impl TenantKey for MacKey {
    fn accepts(purpose: Purpose) -> bool {
        matches!(purpose, Purpose::RefreshSuccessor | Purpose::Cursor | Purpose::Session)
    }

    fn from_secret(context: KeyContext, secret: SecretBytes) -> Result<Self, KeyError> {
        check_purpose::<Self>(&context)?;
        if secret.len() != KEY_BYTES {
            return Err(KeyError::WrongLength);
        }
        let key = hmac::Key::new(hmac::HMAC_SHA256, secret.expose());
        Ok(Self { context, secret, key })
    }

    fn context(&self) -> &KeyContext {
        &self.context
    }

    fn secret(&self) -> &SecretBytes {
        &self.secret
    }
}

macro_rules! redacted_debug {
    ($($kind:ident),+) => {$(
        impl fmt::Debug for $kind {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter
                    .debug_struct(stringify!($kind))
                    .field("context", &self.context)
                    .finish_non_exhaustive()
            }
        }
    )+};
}
redacted_debug!(Kek, DataKey, MacKey);
