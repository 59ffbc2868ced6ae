//! Digests of contents (RFC 9530): the field that lets a signature stand for a body. It refuses
//! the algorithms that the registry calls deprecated, and to know signatures.

use super::message::{FieldLine, combined, lines};
use super::structured::{Bare, Dictionary, Item, Member};
use crate::primitives::{constant_time_eq, sha256, sha512};

/// A digest algorithm that is active in the registry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DigestAlgorithm {
    /// SHA-256.
    Sha256,
    /// SHA-512.
    Sha512,
}

/// Why a content's digest was refused, in the order in which it is checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DigestError {
    /// No `Content-Digest`.
    #[error("the message has no digest of its content")]
    Absent,
    /// Not a dictionary of byte sequences.
    #[error("the digest of the content is malformed")]
    Malformed,
    /// Of a known algorithm, and of other bytes.
    #[error("the digest is of another content")]
    Mismatch,
    /// No digest of an algorithm that we take.
    #[error("the digest of the content is of an unsupported algorithm")]
    Unsupported,
}

impl DigestAlgorithm {
    const ALL: [Self; 2] = [Self::Sha256, Self::Sha512];

    /// The name in the field.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Sha256 => "sha-256",
            Self::Sha512 => "sha-512",
        }
    }

    fn digest(self, content: &[u8]) -> Vec<u8> {
        match self {
            Self::Sha256 => sha256(content).to_vec(),
            Self::Sha512 => sha512(content).to_vec(),
        }
    }
}

/// The value of `Content-Digest` for a content.
pub fn content_digest(algorithm: DigestAlgorithm, content: &[u8]) -> String {
    format!("{}={}", algorithm.as_str(), Bare::Bytes(algorithm.digest(content)))
}

/// Whether the fields' `Content-Digest` is this content's: every digest of an algorithm that we
/// take must be, and one must be there. What else stands beside it is not looked at.
pub fn check_content_digest(fields: &[FieldLine<'_>], content: &[u8]) -> Result<(), DigestError> {
    let lines = lines(fields, "content-digest");
    if lines.is_empty() {
        return Err(DigestError::Absent);
    }
    let text = combined(&lines).ok_or(DigestError::Malformed)?;
    let digests = Dictionary::parse(&text).map_err(|_| DigestError::Malformed)?;
    let mut known = 0;
    for (name, member) in &digests.0 {
        let Member::Item(Item { value: Bare::Bytes(digest), .. }) = member else {
            return Err(DigestError::Malformed);
        };
        let Some(algorithm) = DigestAlgorithm::ALL.into_iter().find(|one| one.as_str() == name)
        else {
            continue;
        };
        if !constant_time_eq(&algorithm.digest(content), digest) {
            return Err(DigestError::Mismatch);
        }
        known += 1;
    }
    if known > 0 { Ok(()) } else { Err(DigestError::Unsupported) }
}
