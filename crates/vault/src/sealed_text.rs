//! Sealed texts: one value as text, sealed under a root for one named place, so that it may lie
//! where others read.
//!
//! Form: `sealed:v1:` and, in base64 for URLs, commitment 32 | nonce 24 | ciphertext | tag 16. The
//! AAD names format and place: moved to another place, it does not open. It refuses to know what
//! the places are, and which of a root's uses this is: callers derive it.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::framing::Framed;
use crate::keyring::{COMMITMENT_BYTES, RootKey};
use crate::primitives::{constant_time_eq, fixed};
use crate::sealed::SealError;
use crate::secret::SecretBytes;
use crate::xaes::{NONCE_BYTES, TAG_BYTES};

/// What every sealed text begins with.
pub const PREFIX: &str = "sealed:v1:";

const LEAST_BYTES: usize = COMMITMENT_BYTES + NONCE_BYTES + TAG_BYTES;

/// Why a sealed text did not open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SealedTextError {
    /// Cut, or written by something else.
    #[error("is no whole sealed text")]
    Malformed,
    /// Sealed under another root.
    #[error("was sealed under another root")]
    WrongRoot,
    /// Altered, or moved here from another place.
    #[error("was altered or sealed for another place")]
    Tampered,
}

/// Seals a text for a place, under a fresh random nonce.
pub fn seal(root: &RootKey, place: &str, text: &SecretBytes) -> Result<String, SealError> {
    let key = root.material();
    let mut sealed = Vec::with_capacity(LEAST_BYTES + text.len());
    sealed.extend_from_slice(key.commitment());
    key.cipher()
        .seal_onto(&aad(place), text.expose(), &mut sealed)
        .map_err(|_| SealError::TooLong)?;
    Ok(format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(sealed)))
}

/// Opens a text that was sealed for exactly this place under exactly this root.
pub fn open(root: &RootKey, place: &str, sealed: &str) -> Result<SecretBytes, SealedTextError> {
    let encoded = sealed.strip_prefix(PREFIX).ok_or(SealedTextError::Malformed)?;
    let bytes = URL_SAFE_NO_PAD.decode(encoded).map_err(|_| SealedTextError::Malformed)?;
    if bytes.len() < LEAST_BYTES {
        return Err(SealedTextError::Malformed);
    }
    let key = root.material();
    let (commitment, rest) = bytes.split_at(COMMITMENT_BYTES);
    if !constant_time_eq(commitment, key.commitment()) {
        return Err(SealedTextError::WrongRoot);
    }
    let (nonce, ciphertext) = rest.split_at(NONCE_BYTES);
    key.cipher().open(&fixed(nonce), &aad(place), ciphertext).map_err(|_| SealedTextError::Tampered)
}

fn aad(place: &str) -> Vec<u8> {
    Framed::new("strongroom/sealed-text/v1").bytes(place.as_bytes()).finish()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn root() -> RootKey {
        RootKey::from_bytes(&[7; 32])
    }

    fn sealed() -> String {
        seal(&root(), "here", &SecretBytes::from_slice(b"the text")).unwrap()
    }

    #[test]
    fn a_text_opens_where_it_was_sealed_for_and_nowhere_else() {
        let sealed = sealed();
        assert_eq!(open(&root(), "here", &sealed).unwrap().expose(), b"the text");
        assert_ne!(sealed, self::sealed(), "never twice the same");
        let moved = open(&root(), "there", &sealed).unwrap_err();
        assert_eq!(moved, SealedTextError::Tampered);
        let foreign = open(&RootKey::from_bytes(&[8; 32]), "here", &sealed).unwrap_err();
        assert_eq!(foreign, SealedTextError::WrongRoot);
    }

    #[test]
    fn no_byte_of_it_can_be_altered_or_left_out() {
        let sealed = sealed();
        let bytes = URL_SAFE_NO_PAD.decode(&sealed[PREFIX.len()..]).unwrap();
        for at in 0..bytes.len() {
            let mut altered = bytes.clone();
            altered[at] ^= 1;
            let text = format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(altered));
            let expected = if at < COMMITMENT_BYTES {
                SealedTextError::WrongRoot
            } else {
                SealedTextError::Tampered
            };
            assert_eq!(open(&root(), "here", &text).unwrap_err(), expected, "byte {at}");
        }
        for end in 0..sealed.len() {
            assert!(open(&root(), "here", &sealed[..end]).is_err(), "cut at {end}");
        }
    }
}
