//! Key pairs of the four algorithms, and the halves that verify.

use std::fmt;

use aws_lc_rs::encoding::{AsDer as _, Pkcs8V1Der};
use aws_lc_rs::hmac;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair as RsaKeyPair, KeySize, PublicKeyComponents};
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, ED25519, EcdsaKeyPair,
    Ed25519KeyPair, KeyPair as _, ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_SHA256,
};
use serde::{Deserialize, Serialize};
use uuid::Uuid;
use zeroize::Zeroizing;

use super::{SigningKeyError, roca};
use crate::framing::Framed;
use crate::primitives::{hkdf_sha256, or_abort, random_secret};
use crate::secret::SecretBytes;

/// The least HMAC secret, in bytes.
pub(crate) const HMAC_SECRET_BYTES: usize = 32;
/// The least RSA modulus accepted on import, in bytes (2048 bits); new keys have 3072 bits.
const RSA_MODULUS_BYTES: usize = 256;
/// 65537, big-endian without leading zero.
const RSA_EXPONENT: [u8; 3] = [1, 0, 1];

/// A JWS algorithm (RFC 7518 section 3.1, RFC 8037).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Algorithm {
    /// HMAC with SHA-256.
    HS256,
    /// RSASSA-PKCS1-v1_5 with SHA-256.
    RS256,
    /// ECDSA with P-256 and SHA-256.
    ES256,
    /// Ed25519.
    EdDSA,
}

impl Algorithm {
    /// The name in `alg`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::HS256 => "HS256",
            Self::RS256 => "RS256",
            Self::ES256 => "ES256",
            Self::EdDSA => "EdDSA",
        }
    }

    /// The algorithm of this name, written exactly so.
    pub fn parse(name: &str) -> Option<Self> {
        [Self::HS256, Self::RS256, Self::ES256, Self::EdDSA]
            .into_iter()
            .find(|algorithm| algorithm.as_str() == name)
    }
}

/// A key that signs tokens, with the `kid` that names it.
pub struct SigningKey {
    kid: String,
    secret: SecretBytes,
    pair: Pair,
}

enum Pair {
    Hmac(Box<hmac::Key>),
    Rsa(Box<RsaKeyPair>),
    Ecdsa(Box<EcdsaKeyPair>),
    Ed25519(Box<Ed25519KeyPair>),
}

impl SigningKey {
    /// A new key: 32 random bytes for HS256, 3072 bits for RS256. RSA takes a noticeable fraction
    /// of a second; call it off the request path.
    pub fn generate(algorithm: Algorithm, kid: &str) -> Result<Self, SigningKeyError> {
        let secret = match algorithm {
            Algorithm::HS256 => random_secret(HMAC_SECRET_BYTES),
            Algorithm::RS256 => {
                let pair = or_abort(RsaKeyPair::generate(KeySize::Rsa3072));
                let document: Pkcs8V1Der<'_> = or_abort(pair.as_der());
                SecretBytes::from_slice(document.as_ref())
            }
            Algorithm::ES256 => {
                let pair = or_abort(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING));
                SecretBytes::from_slice(or_abort(pair.to_pkcs8v1()).as_ref())
            }
            Algorithm::EdDSA => {
                let pair = or_abort(Ed25519KeyPair::generate());
                SecretBytes::from_slice(or_abort(pair.to_pkcs8()).as_ref())
            }
        };
        Self::from_private_bytes(algorithm, kid, secret)
    }

    /// A tenant's HS256 key from a shared secret (`JWT_SECRET_KEY`, at least 32 bytes) by
    /// HKDF-SHA-256 over tenant and `kid`: the shared secret itself never signs.
    pub fn derive_hs256(
        shared_secret: &[u8],
        tenant: Uuid,
        kid: &str,
    ) -> Result<Self, SigningKeyError> {
        if shared_secret.len() < HMAC_SECRET_BYTES {
            return Err(SigningKeyError::TooWeak);
        }
        let info =
            Framed::new("strongroom/jwt-hs256/v1").uuid(tenant).bytes(kid.as_bytes()).finish();
        let key = Zeroizing::new(hkdf_sha256(b"strongroom/jwt", shared_secret, &info));
        Self::from_private_bytes(Algorithm::HS256, kid, SecretBytes::from_slice(key.as_slice()))
    }

    /// From what [`Self::private_bytes`] gave: raw bytes for HS256, PKCS#8 DER for the others.
    pub fn from_private_bytes(
        algorithm: Algorithm,
        kid: &str,
        secret: SecretBytes,
    ) -> Result<Self, SigningKeyError> {
        check_kid(kid)?;
        let bytes = secret.expose();
        let malformed = |_| SigningKeyError::Malformed;
        let pair = match algorithm {
            Algorithm::HS256 if bytes.len() < HMAC_SECRET_BYTES => {
                return Err(SigningKeyError::TooWeak);
            }
            Algorithm::HS256 => Pair::Hmac(Box::new(hmac::Key::new(hmac::HMAC_SHA256, bytes))),
            Algorithm::RS256 => Pair::Rsa(Box::new(rsa_pair(bytes)?)),
            Algorithm::ES256 => {
                let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, bytes);
                Pair::Ecdsa(Box::new(pair.map_err(malformed)?))
            }
            Algorithm::EdDSA => {
                let pair = Ed25519KeyPair::from_pkcs8(bytes);
                Pair::Ed25519(Box::new(pair.map_err(malformed)?))
            }
        };
        Ok(Self { kid: kid.to_owned(), secret, pair })
    }

    /// The private key, to be wrapped for storage and nothing else.
    pub fn private_bytes(&self) -> &SecretBytes {
        &self.secret
    }

    /// The name of the key.
    pub fn kid(&self) -> &str {
        &self.kid
    }

    /// Its algorithm.
    pub fn algorithm(&self) -> Algorithm {
        match self.pair {
            Pair::Hmac(_) => Algorithm::HS256,
            Pair::Rsa(_) => Algorithm::RS256,
            Pair::Ecdsa(_) => Algorithm::ES256,
            Pair::Ed25519(_) => Algorithm::EdDSA,
        }
    }

    /// The half that verifies. For HS256 it holds the secret and is as sensitive as the key.
    pub fn verifying_key(&self) -> VerifyingKey {
        let check = match &self.pair {
            Pair::Hmac(key) => Check::Hmac(key.clone()),
            // A key pair's own public half always parses.
            _ => or_abort(self.public().map_or(Err(()), |public| public.parse().map_err(drop))),
        };
        VerifyingKey { kid: self.kid.clone(), algorithm: self.algorithm(), check }
    }

    /// The public half in parts; `None` for HS256, which has none.
    pub(super) fn public(&self) -> Option<PublicParts> {
        match &self.pair {
            Pair::Hmac(_) => None,
            Pair::Rsa(pair) => {
                let public = pair.public_key();
                Some(PublicParts::Rsa {
                    modulus: public.modulus().big_endian_without_leading_zero().to_vec(),
                    exponent: public.exponent().big_endian_without_leading_zero().to_vec(),
                })
            }
            Pair::Ecdsa(pair) => Some(PublicParts::P256(pair.public_key().as_ref().to_vec())),
            Pair::Ed25519(pair) => Some(PublicParts::Ed25519(pair.public_key().as_ref().to_vec())),
        }
    }

    pub(super) fn sign(&self, message: &[u8]) -> Vec<u8> {
        let random = SystemRandom::new();
        match &self.pair {
            Pair::Hmac(key) => hmac::sign(key, message).as_ref().to_vec(),
            Pair::Rsa(pair) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                or_abort(pair.sign(&RSA_PKCS1_SHA256, &random, message, &mut signature));
                signature
            }
            Pair::Ecdsa(pair) => or_abort(pair.sign(&random, message)).as_ref().to_vec(),
            Pair::Ed25519(pair) => pair.sign(message).as_ref().to_vec(),
        }
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("SigningKey")
            .field("kid", &self.kid)
            .field("algorithm", &self.algorithm())
            .finish_non_exhaustive()
    }
}

/// A key that verifies tokens of one algorithm under one `kid`.
pub struct VerifyingKey {
    pub(super) kid: String,
    pub(super) algorithm: Algorithm,
    check: Check,
}

enum Check {
    Hmac(Box<hmac::Key>),
    Public(Box<ParsedPublicKey>),
}

impl VerifyingKey {
    /// The name of the key.
    pub fn kid(&self) -> &str {
        &self.kid
    }

    /// Its algorithm.
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    pub(super) fn from_public(kid: &str, public: &PublicParts) -> Result<Self, SigningKeyError> {
        check_kid(kid)?;
        Ok(Self { kid: kid.to_owned(), algorithm: public.algorithm(), check: public.parse()? })
    }

    pub(crate) fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        match &self.check {
            Check::Hmac(key) => hmac::verify(key, message, signature).is_ok(),
            Check::Public(key) => key.verify_sig(message, signature).is_ok(),
        }
    }
}

impl fmt::Debug for VerifyingKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("VerifyingKey")
            .field("kid", &self.kid)
            .field("algorithm", &self.algorithm)
            .finish_non_exhaustive()
    }
}

/// A public key in the parts that a JWK shows.
pub(crate) enum PublicParts {
    /// Big-endian, without leading zeros.
    Rsa { modulus: Vec<u8>, exponent: Vec<u8> },
    /// An uncompressed point: 4, then x and y of 32 bytes each.
    P256(Vec<u8>),
    /// 32 bytes.
    Ed25519(Vec<u8>),
}

impl PublicParts {
    fn algorithm(&self) -> Algorithm {
        match self {
            Self::Rsa { .. } => Algorithm::RS256,
            Self::P256(_) => Algorithm::ES256,
            Self::Ed25519(_) => Algorithm::EdDSA,
        }
    }

    fn parse(&self) -> Result<Check, SigningKeyError> {
        let parsed = match self {
            Self::Rsa { modulus, exponent } => {
                check_rsa(modulus, exponent)?;
                PublicKeyComponents { n: modulus, e: exponent }
                    .to_parsed_public_key(&RSA_PKCS1_2048_8192_SHA256)
            }
            Self::P256(point) => ParsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point),
            Self::Ed25519(key) => ParsedPublicKey::new(&ED25519, key),
        };
        parsed.map(|key| Check::Public(Box::new(key))).map_err(|_| SigningKeyError::Malformed)
    }
}

pub(crate) fn rsa_pair(bytes: &[u8]) -> Result<RsaKeyPair, SigningKeyError> {
    let pair = RsaKeyPair::from_pkcs8(bytes).map_err(|_| SigningKeyError::Malformed)?;
    let public = pair.public_key();
    check_rsa(
        public.modulus().big_endian_without_leading_zero(),
        public.exponent().big_endian_without_leading_zero(),
    )?;
    Ok(pair)
}

pub(crate) fn check_rsa(modulus: &[u8], exponent: &[u8]) -> Result<(), SigningKeyError> {
    // The top bit must be set, or 256 bytes would be fewer than 2048 bits.
    let long_enough = modulus.len() > RSA_MODULUS_BYTES
        || (modulus.len() == RSA_MODULUS_BYTES && modulus[0] >= 0x80);
    if long_enough && exponent == RSA_EXPONENT && !roca::is_fingerprinted(modulus) {
        Ok(())
    } else {
        Err(SigningKeyError::TooWeak)
    }
}

pub(crate) fn check_kid(kid: &str) -> Result<(), SigningKeyError> {
    if (1..=128).contains(&kid.len()) && kid.bytes().all(|byte| byte.is_ascii_graphic()) {
        Ok(())
    } else {
        Err(SigningKeyError::BadKeyId)
    }
}
