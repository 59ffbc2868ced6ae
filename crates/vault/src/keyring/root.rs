//! Roots: where the hierarchy begins, as read from the environment or a file.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD};
use zeroize::Zeroizing;

use super::{KEY_BYTES, KeyError, SymmetricKey};
use crate::primitives::{constant_time_eq, hkdf_sha256, hmac_sha256, or_abort};
use crate::secret::SecretBytes;

/// A root of the hierarchy, from the environment or a KMS.
pub struct RootKey(SymmetricKey);

impl RootKey {
    /// From 32 bytes.
    pub fn from_bytes(bytes: &[u8; KEY_BYTES]) -> Self {
        let secret = SecretBytes::from_slice(bytes);
        Self(or_abort(SymmetricKey::new(secret)))
    }

    /// From text: 64 hexadecimal digits, or base64 (either alphabet, padded or not) of 32 bytes.
    /// White space around it is ignored, as a mounted secret file often ends in a line feed.
    pub fn parse(text: &str) -> Result<Self, KeyError> {
        let text = text.trim();
        let bytes =
            decode_hexadecimal(text).or_else(|| decode_base64(text)).ok_or(KeyError::Encoding)?;
        SymmetricKey::new(SecretBytes::from_slice(&bytes)).map(Self).map_err(|_| KeyError::Encoding)
    }

    /// A root for another use, by HKDF-SHA-256 with `label` as info.
    #[must_use]
    pub fn derive(&self, label: &str) -> Self {
        let derived = Zeroizing::new(self.derive_bytes(label));
        Self::from_bytes(&derived)
    }

    /// A secret for a use outside the hierarchy, the same wherever the root is, by HKDF-SHA-256
    /// with `label` as info.
    pub fn derive_secret(&self, label: &str) -> SecretBytes {
        let derived = Zeroizing::new(self.derive_bytes(label));
        SecretBytes::from_slice(&derived[..])
    }

    /// The root that wraps together with a share: neither opens anything alone.
    #[must_use]
    pub fn with_share(&self, share: &SecretBytes) -> Self {
        let material = self.0.bytes.expose();
        let salt = b"strongroom/root-share/v1";
        Self::from_bytes(&Zeroizing::new(hkdf_sha256(salt, material, share.expose())))
    }

    /// Authenticates pieces of a file one after the other, for the use that `label` names.
    pub fn chain(&self, label: &str) -> Chain {
        Chain { key: self.derive_secret(label), state: [0; KEY_BYTES] }
    }

    pub(crate) fn material(&self) -> &SymmetricKey {
        &self.0
    }

    pub(crate) fn derive_bytes(&self, label: &str) -> [u8; KEY_BYTES] {
        hkdf_sha256(b"strongroom/root/v1", self.0.bytes.expose(), label.as_bytes())
    }
}

/// What authenticates the pieces of a file in their order: each HMAC-SHA-256 is over the one
/// before it and the piece.
pub struct Chain {
    key: SecretBytes,
    state: [u8; KEY_BYTES],
}

impl Chain {
    /// Takes the next piece.
    pub fn push(&mut self, piece: &[u8]) {
        self.state = hmac_sha256(self.key.expose(), &[&self.state, piece].concat());
    }

    /// Whether this is what all pieces came to.
    pub fn is(&self, told: &[u8]) -> bool {
        constant_time_eq(&self.state, told)
    }

    /// What all pieces came to.
    pub fn finish(self) -> [u8; KEY_BYTES] {
        self.state
    }
}

impl fmt::Debug for Chain {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Chain(redacted)")
    }
}

/// The two roots.
#[derive(Debug)]
pub struct RootKeys {
    encryption: RootKey,
    field: RootKey,
}

impl RootKeys {
    /// `encryption` is `ENCRYPTION_KEY`; `field` is `FIELD_ENCRYPTION_KEY`, derived from the
    /// former by HKDF where absent.
    pub fn new(encryption: RootKey, field: Option<RootKey>) -> Self {
        let field = field.unwrap_or_else(|| encryption.derive("field-encryption-key"));
        Self { encryption, field }
    }

    /// Wraps tenant KEKs and signing keys.
    pub fn encryption(&self) -> &RootKey {
        &self.encryption
    }

    /// Roots field data keys and blind indexes.
    pub fn field(&self) -> &RootKey {
        &self.field
    }
}

impl fmt::Debug for RootKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("RootKey(redacted)")
    }
}

fn decode_hexadecimal(text: &str) -> Option<Zeroizing<Vec<u8>>> {
    if text.len() != 2 * KEY_BYTES || !text.is_ascii() {
        return None;
    }
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let mut bytes = Zeroizing::new(Vec::with_capacity(KEY_BYTES));
    for pair in text.as_bytes().chunks_exact(2) {
        bytes.push(u8::try_from(digit(pair[0])? * 16 + digit(pair[1])?).ok()?);
    }
    Some(bytes)
}

fn decode_base64(text: &str) -> Option<Zeroizing<Vec<u8>>> {
    [&STANDARD, &STANDARD_NO_PAD, &URL_SAFE, &URL_SAFE_NO_PAD]
        .into_iter()
        .find_map(|engine| engine.decode(text).ok())
        .map(Zeroizing::new)
}
