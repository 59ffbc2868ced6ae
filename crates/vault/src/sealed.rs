//! Sealed fields: one value encrypted for one cell of one table.
//!
//! Envelope: format 1 | key id 16 | commitment 32 | nonce 24 | ciphertext | tag 16. The AAD names
//! format, tenant, table, column, row and key id, so that a ciphertext moved to another cell does
//! not open. It refuses to know which fields are personal and where keys come from.

use uuid::Uuid;

use crate::framing::Framed;
use crate::keyring::{COMMITMENT_BYTES, DataKey, KeyId, TenantKey as _};
use crate::primitives::{constant_time_eq, fixed};
use crate::secret::SecretBytes;
use crate::xaes::{NONCE_BYTES, TAG_BYTES};

/// The only format so far; the first byte of every envelope.
pub const FORMAT: u8 = 1;
/// How much longer an envelope is than its plaintext: 89 bytes. Also the least length of one.
pub const OVERHEAD_BYTES: usize = HEADER_BYTES + TAG_BYTES;

const KEY_ID_END: usize = 17;
const COMMITMENT_END: usize = KEY_ID_END + COMMITMENT_BYTES;
const HEADER_BYTES: usize = COMMITMENT_END + NONCE_BYTES;

/// The cell that a value belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FieldContext<'a> {
    /// The tenant of the row.
    pub tenant: Uuid,
    /// The table's name.
    pub table: &'a str,
    /// The column's name.
    pub column: &'a str,
    /// The row's id.
    pub row: Uuid,
}

impl FieldContext<'_> {
    fn aad(&self, key: KeyId) -> Vec<u8> {
        Framed::new("strongroom/field")
            .bytes(&[FORMAT])
            .uuid(self.tenant)
            .bytes(self.table.as_bytes())
            .bytes(self.column.as_bytes())
            .uuid(self.row)
            .uuid(key.0)
            .finish()
    }
}

/// Why a value could not be sealed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// The data key belongs to another tenant than the row.
    #[error("the data key belongs to another tenant")]
    ForeignTenant,
    /// Longer than AES-GCM allows.
    #[error("the value is too long to seal")]
    TooLong,
}

/// Why an envelope did not open, in the order in which it is checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// Shorter than any envelope.
    #[error("the sealed field is truncated ({length} bytes)")]
    Truncated {
        /// What there is, in bytes.
        length: usize,
    },
    /// The first byte names no format we know.
    #[error("unknown sealed field format {0}")]
    UnknownFormat(u8),
    /// Sealed under another key than the one offered.
    #[error("the field was sealed with key {sealed_with}, not {offered}")]
    WrongKey {
        /// The key named in the header.
        sealed_with: KeyId,
        /// The key that was tried.
        offered: KeyId,
    },
    /// The id matches and the key does not: a corrupt header or a corrupt key table.
    #[error("the key does not match the field's key commitment")]
    CommitmentMismatch,
    /// The data key belongs to another tenant than the row.
    #[error("the data key belongs to another tenant")]
    ForeignTenant,
    /// Altered, or moved here from another cell.
    #[error("the sealed field was altered or belongs to another cell")]
    Tampered,
}

/// An envelope whose length and format were checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SealedField(Vec<u8>);

impl SealedField {
    /// Reads a stored envelope.
    pub fn from_bytes(bytes: Vec<u8>) -> Result<Self, OpenError> {
        check(&bytes)?;
        Ok(Self(bytes))
    }

    /// The bytes to store.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The bytes to store, without a copy.
    pub fn into_bytes(self) -> Vec<u8> {
        self.0
    }

    /// The key that sealed it, read from the header (for the live inventory); not authenticated
    /// until the field is opened.
    pub fn key_id(&self) -> KeyId {
        key_in(&self.0)
    }
}

/// The key that a stored envelope names, without taking the envelope; as little authenticated
/// as [`SealedField::key_id`].
pub fn key_id(envelope: &[u8]) -> Result<KeyId, OpenError> {
    check(envelope)?;
    Ok(key_in(envelope))
}

fn key_in(envelope: &[u8]) -> KeyId {
    KeyId(Uuid::from_bytes(fixed(&envelope[1..KEY_ID_END])))
}

fn check(envelope: &[u8]) -> Result<(), OpenError> {
    match envelope.first() {
        Some(&format) if format != FORMAT => Err(OpenError::UnknownFormat(format)),
        _ if envelope.len() < OVERHEAD_BYTES => {
            Err(OpenError::Truncated { length: envelope.len() })
        }
        _ => Ok(()),
    }
}

/// Seals `plaintext` for one cell under a fresh random nonce.
pub fn seal(
    key: &DataKey,
    context: &FieldContext<'_>,
    plaintext: &[u8],
) -> Result<SealedField, SealError> {
    if key.context().tenant != context.tenant {
        return Err(SealError::ForeignTenant);
    }
    let mut envelope = Vec::with_capacity(OVERHEAD_BYTES + plaintext.len());
    envelope.push(FORMAT);
    envelope.extend_from_slice(key.id().0.as_bytes());
    envelope.extend_from_slice(key.symmetric().commitment());
    key.symmetric()
        .cipher()
        .seal_onto(&context.aad(key.id()), plaintext, &mut envelope)
        .map_err(|_| SealError::TooLong)?;
    Ok(SealedField(envelope))
}

/// Opens an envelope for exactly the cell and the key that it was sealed for.
pub fn open(
    key: &DataKey,
    context: &FieldContext<'_>,
    sealed: &SealedField,
) -> Result<SecretBytes, OpenError> {
    let (sealed_with, offered) = (sealed.key_id(), key.id());
    if sealed_with != offered {
        return Err(OpenError::WrongKey { sealed_with, offered });
    }
    let commitment = &sealed.0[KEY_ID_END..COMMITMENT_END];
    if !constant_time_eq(commitment, key.symmetric().commitment()) {
        return Err(OpenError::CommitmentMismatch);
    }
    if key.context().tenant != context.tenant {
        return Err(OpenError::ForeignTenant);
    }
    let (nonce, ciphertext) = sealed.0[COMMITMENT_END..].split_at(NONCE_BYTES);
    key.symmetric()
        .cipher()
        .open(&fixed(nonce), &context.aad(offered), ciphertext)
        .map_err(|_| OpenError::Tampered)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::keyring::{KeyContext, Purpose};

    fn key(tenant: Uuid) -> DataKey {
        DataKey::generate(tenant, Purpose::FieldData, 1).unwrap()
    }

    fn cell() -> FieldContext<'static> {
        FieldContext {
            tenant: Uuid::from_u128(1),
            table: "users",
            column: "email",
            row: Uuid::from_u128(2),
        }
    }

    #[test]
    fn the_header_names_the_key_and_has_the_documented_length() {
        let key = key(cell().tenant);
        let sealed = seal(&key, &cell(), b"").unwrap();
        assert_eq!(sealed.key_id(), key.id());
        assert_eq!((sealed.as_bytes().len(), OVERHEAD_BYTES), (89, 89));
        assert_eq!(open(&key, &cell(), &sealed).unwrap().len(), 0);
    }

    #[test]
    fn equal_values_never_look_alike() {
        let key = key(cell().tenant);
        let first = seal(&key, &cell(), b"same").unwrap();
        assert_ne!(first, seal(&key, &cell(), b"same").unwrap());
    }

    #[test]
    fn errors_are_precise() {
        let (tenant, other_tenant) = (cell().tenant, Uuid::from_u128(9));
        let (mine, other) = (key(tenant), key(tenant));
        let sealed = seal(&mine, &cell(), b"value").unwrap();
        let wrong = OpenError::WrongKey { sealed_with: mine.id(), offered: other.id() };
        assert_eq!(open(&other, &cell(), &sealed).unwrap_err(), wrong);

        let impostor = DataKey::from_secret(*mine.context(), crate::random_secret(32)).unwrap();
        let refused = open(&impostor, &cell(), &sealed).unwrap_err();
        assert_eq!(refused, OpenError::CommitmentMismatch);

        let elsewhere = FieldContext { tenant: other_tenant, ..cell() };
        let refused = open(&mine, &elsewhere, &sealed).unwrap_err();
        assert_eq!(refused, OpenError::ForeignTenant);
        let refused = seal(&mine, &elsewhere, b"value").unwrap_err();
        assert_eq!(refused, SealError::ForeignTenant);
        // The AAD holds the tenant as well, should a key ever be bound to two.
        let context = KeyContext { tenant: other_tenant, ..*mine.context() };
        let shared = DataKey::from_secret(context, mine.secret().clone()).unwrap();
        assert_eq!(open(&shared, &elsewhere, &sealed).unwrap_err(), OpenError::Tampered);

        let unknown = SealedField::from_bytes(vec![2; 100]).unwrap_err();
        assert_eq!(unknown, OpenError::UnknownFormat(2));
        for length in 0..OVERHEAD_BYTES {
            let cut = SealedField::from_bytes(sealed.as_bytes()[..length].to_vec());
            assert_eq!(cut.unwrap_err(), OpenError::Truncated { length });
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn a_value_opens_in_its_own_cell(plaintext in prop::collection::vec(any::<u8>(), 0..600)) {
            let key = key(cell().tenant);
            let sealed = seal(&key, &cell(), &plaintext).unwrap();
            let stored = SealedField::from_bytes(sealed.into_bytes()).unwrap();
            let opened = open(&key, &cell(), &stored).unwrap();
            prop_assert_eq!(opened.expose(), plaintext.as_slice());
        }

        #[test]
        fn a_moved_value_never_opens(
            table in "[a-z_]{0,8}",
            column in "[a-z_]{0,8}",
            row in any::<u128>(),
            tenant in any::<u128>(),
            moved in 1_u8..16,
        ) {
            let home = cell();
            let target = FieldContext {
                tenant: if moved & 1 > 0 { Uuid::from_u128(tenant) } else { home.tenant },
                table: if moved & 2 > 0 { &table } else { home.table },
                column: if moved & 4 > 0 { &column } else { home.column },
                row: if moved & 8 > 0 { Uuid::from_u128(row) } else { home.row },
            };
            prop_assume!(target != home);
            let key = key(home.tenant);
            let sealed = seal(&key, &home, b"value").unwrap();
            prop_assert!(open(&key, &target, &sealed).is_err());
        }

        #[test]
        fn names_that_run_together_stay_apart(text in "[a-z]{2,12}", at in 1_usize..11, other in 1_usize..11) {
            let (at, other) = (at.min(text.len() - 1), other.min(text.len() - 1));
            prop_assume!(at != other);
            let split = |at: usize| FieldContext { table: &text[..at], column: &text[at..], ..cell() };
            let key = key(cell().tenant);
            let sealed = seal(&key, &split(at), b"value").unwrap();
            prop_assert_eq!(open(&key, &split(other), &sealed).unwrap_err(), OpenError::Tampered);
        }

        #[test]
        fn every_flipped_byte_is_refused(mask in 1_u8.., length in 0_usize..40) {
            let key = key(cell().tenant);
            let bytes = seal(&key, &cell(), &vec![7; length]).unwrap().into_bytes();
            for at in 0..bytes.len() {
                let mut altered = bytes.clone();
                altered[at] ^= mask;
                let outcome = SealedField::from_bytes(altered)
                    .and_then(|sealed| open(&key, &cell(), &sealed));
                let expected = match at {
                    0 => OpenError::UnknownFormat(FORMAT ^ mask),
                    1..17 => {
                        let wrong_key = matches!(outcome, Err(OpenError::WrongKey { .. }));
                        prop_assert!(wrong_key);
                        continue;
                    }
                    17..49 => OpenError::CommitmentMismatch,
                    _ => OpenError::Tampered,
                };
                prop_assert_eq!(outcome.unwrap_err(), expected);
            }
        }
    }
}
