//! JWT signing keys and verification, directly over AWS-LC (JWS compact, RFC 7515, 7518, 8037).
//!
//! The algorithm belongs to the key that `kid` names, never to the token. It refuses to know
//! issuers, audiences, revocation and the clock; a caller brings the time.

mod device;
mod jwk;
mod jws;
mod keys;
mod roca;
#[cfg(test)]
mod tests;
mod times;

pub(crate) use device::{MODULUS_BYTES_MAX, is_of_small_order};
pub use jwk::bare_jwk;
pub(crate) use jwk::public_parts;
pub(crate) use keys::{HMAC_SECRET_BYTES, PublicParts, check_kid, check_rsa, rsa_pair};

pub use device::DeviceKey;
pub use jws::{MAXIMUM_TOKEN_BYTES, VerifiedJwt, Verifier};
pub use keys::{Algorithm, SigningKey, VerifyingKey};
pub use times::{MAXIMUM_LEEWAY_S, ValidatedTimes};

/// Why a signing key was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SigningKeyError {
    /// The bytes or JWK do not describe a key of this algorithm.
    #[error("the key is malformed or of another algorithm")]
    Malformed,
    /// HMAC below 256 bits, RSA below 2048 bits, an RSA exponent other than 65537, or a modulus
    /// with the ROCA fingerprint (CVE-2017-15361).
    #[error("the key is too weak")]
    TooWeak,
    /// A `kid` must be 1 to 128 visible ASCII characters.
    #[error("the key id is malformed")]
    BadKeyId,
    /// Two keys of one verifier share a `kid`.
    #[error("two keys share an id")]
    DuplicateKeyId,
}

/// Why a token was refused, in the order in which it is checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JwtError {
    /// Too long, not three base64url parts, or a header with anything but `alg`, `kid`, `typ`.
    #[error("the token is malformed")]
    Malformed,
    /// No key with this `kid`.
    #[error("the token names an unknown key")]
    UnknownKey,
    /// The header's `alg` is not the key's, or the signature does not verify.
    #[error("the token's signature is not valid")]
    BadSignature,
    /// A genuine token whose `typ` is not exactly the one demanded.
    #[error("the token is of another type")]
    WrongType,
    /// The claims are not the JSON that the caller expects, or times are not integers.
    #[error("the token's claims are malformed")]
    BadClaims,
    /// Past `exp`.
    #[error("the token has expired")]
    Expired,
    /// Before `nbf` or `iat`.
    #[error("the token is not valid yet")]
    NotYetValid,
}
