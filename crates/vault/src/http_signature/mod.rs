//! Signatures of HTTP messages (RFC 9421) and digests of their contents (RFC 9530), pure: values
//! in, values out.
//!
//! A signature says who sent which parts of a message. The algorithm belongs to the key, never to
//! the message; every part that could be read in two ways is refused; a message's fields are
//! bounded before they are looked at. It refuses to know whose a key is, which parts an operation
//! wants covered, whether a nonce was seen before, bodies, the clock and any HTTP library.

mod base;
mod component;
mod digest;
mod keys;
mod message;
mod sign;
mod structured;
#[cfg(test)]
mod tests;
mod verify;

pub use component::Component;
pub use digest::{DigestAlgorithm, DigestError, check_content_digest, content_digest};
pub use keys::{MessageSigningKey, MessageVerifyingKey, SignatureAlgorithm};
pub use message::{FieldLine, Message, Request, Response};
pub use sign::{SignatureFields, SignatureParameters, sign};
pub use verify::{Expectations, ReceivedSignature, Signatures, VerifiedSignature};

/// Why a signature was refused or cannot be made, in the order in which it is checked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// Neither `Signature-Input` nor `Signature`.
    #[error("the message has no signature")]
    Absent,
    /// Not the structured fields they have to be, a label in only one of them, too many or too
    /// large.
    #[error("the signature fields are malformed")]
    Malformed,
    /// The signature has another tag, or none.
    #[error("the signature is for another purpose")]
    WrongTag,
    /// `keyid` is absent or not the key's.
    #[error("the signature names another key")]
    WrongKey,
    /// `alg` is there and not the key's.
    #[error("the signature names another algorithm than its key's")]
    WrongAlgorithm,
    /// A component or parameter that is not known or not allowed where it stands.
    #[error("the signature covers {0}, which is not supported")]
    Unsupported(String),
    /// The signature does not say when it was made.
    #[error("the signature does not say when it was made")]
    Undated,
    /// Made in the future.
    #[error("the signature is not valid yet")]
    NotYetValid,
    /// Too old, or past `expires`.
    #[error("the signature has expired")]
    Expired,
    /// No nonce where one has to be.
    #[error("the signature has no nonce")]
    NoNonce,
    /// Something that has to be covered is not.
    #[error("the signature does not cover {0}")]
    Uncovered(String),
    /// A component is covered twice.
    #[error("the signature covers {0} twice")]
    Repeated(String),
    /// A covered component is not in the message.
    #[error("the message has no {0}")]
    ComponentAbsent(String),
    /// A covered component has no one value that could be signed.
    #[error("{0} has no one value that could be signed")]
    ComponentUnusable(String),
    /// What is covered is more than a signature is verified over.
    #[error("the signature covers too much")]
    TooLarge,
    /// The signature is not this key's over this message.
    #[error("the signature is not valid")]
    BadSignature,
}
