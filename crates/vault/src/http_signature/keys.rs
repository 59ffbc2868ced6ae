//! The keys of message signatures. Each is bound to one algorithm and one `keyid` when it is
//! made; what a message says of its algorithm is compared with that and chooses nothing.
//!
//! Public keys come from clients, who are not trusted to have made them well. It refuses to know
//! messages.

use std::fmt;

use aws_lc_rs::hmac;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair as RsaKeyPair, PublicKeyComponents};
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, ED25519, EcdsaKeyPair,
    Ed25519KeyPair, KeyPair as _, ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_SHA256,
    RSA_PSS_2048_8192_SHA512, RSA_PSS_SHA512, RsaEncoding,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::primitives::or_abort;
use crate::secret::SecretBytes;
use crate::signing::{
    HMAC_SECRET_BYTES, MODULUS_BYTES_MAX, PublicParts, SigningKeyError, check_kid, check_rsa,
    is_of_small_order, public_parts, rsa_pair,
};

/// An algorithm of RFC 9421 section 3.3, by its name in the registry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum SignatureAlgorithm {
    /// Ed25519.
    #[serde(rename = "ed25519")]
    Ed25519,
    /// ECDSA with P-256 and SHA-256; signatures are two numbers of 32 bytes.
    #[serde(rename = "ecdsa-p256-sha256")]
    EcdsaP256Sha256,
    /// RSASSA-PSS with SHA-512 and a salt of 64 bytes.
    #[serde(rename = "rsa-pss-sha512")]
    RsaPssSha512,
    /// RSASSA-PKCS1-v1_5 with SHA-256.
    #[serde(rename = "rsa-v1_5-sha256")]
    RsaV15Sha256,
    /// HMAC with SHA-256.
    #[serde(rename = "hmac-sha256")]
    HmacSha256,
}

impl SignatureAlgorithm {
    /// Every algorithm.
    pub const ALL: [Self; 5] = [
        Self::Ed25519,
        Self::EcdsaP256Sha256,
        Self::RsaPssSha512,
        Self::RsaV15Sha256,
        Self::HmacSha256,
    ];

    /// The name in `alg`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ed25519 => "ed25519",
            Self::EcdsaP256Sha256 => "ecdsa-p256-sha256",
            Self::RsaPssSha512 => "rsa-pss-sha512",
            Self::RsaV15Sha256 => "rsa-v1_5-sha256",
            Self::HmacSha256 => "hmac-sha256",
        }
    }

    /// The algorithm of this name, written exactly so.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|algorithm| algorithm.as_str() == name)
    }

    /// What a JWK of such a key may say of its algorithm (RFC 7518, 8037, 9864).
    const fn jwk_names(self) -> &'static [&'static str] {
        match self {
            Self::Ed25519 => &["EdDSA", "Ed25519"],
            Self::EcdsaP256Sha256 => &["ES256"],
            Self::RsaPssSha512 => &["PS512"],
            Self::RsaV15Sha256 => &["RS256"],
            Self::HmacSha256 => &[],
        }
    }
}

/// A key that signs messages.
pub struct MessageSigningKey {
    key_id: String,
    algorithm: SignatureAlgorithm,
    pair: Pair,
}

enum Pair {
    Hmac(Box<hmac::Key>),
    Rsa(Box<RsaKeyPair>, &'static dyn RsaEncoding),
    Ecdsa(Box<EcdsaKeyPair>),
    Ed25519(Box<Ed25519KeyPair>),
}

impl MessageSigningKey {
    /// From the shared secret for HMAC (at least 32 bytes), from PKCS#8 DER for the others.
    pub fn from_private_bytes(
        algorithm: SignatureAlgorithm,
        key_id: &str,
        secret: &SecretBytes,
    ) -> Result<Self, SigningKeyError> {
        check_kid(key_id)?;
        let bytes = secret.expose();
        let malformed = |_| SigningKeyError::Malformed;
        let pair = match algorithm {
            SignatureAlgorithm::HmacSha256 => Pair::Hmac(shared(bytes)?),
            SignatureAlgorithm::RsaPssSha512 => {
                Pair::Rsa(Box::new(rsa_pair(bytes)?), &RSA_PSS_SHA512)
            }
            SignatureAlgorithm::RsaV15Sha256 => {
                Pair::Rsa(Box::new(rsa_pair(bytes)?), &RSA_PKCS1_SHA256)
            }
            SignatureAlgorithm::EcdsaP256Sha256 => {
                let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, bytes);
                Pair::Ecdsa(Box::new(pair.map_err(malformed)?))
            }
            SignatureAlgorithm::Ed25519 => {
                Pair::Ed25519(Box::new(Ed25519KeyPair::from_pkcs8(bytes).map_err(malformed)?))
            }
        };
        Ok(Self { key_id: key_id.to_owned(), algorithm, pair })
    }

    /// The half that verifies. For HMAC it holds the secret and is as sensitive as the key.
    pub fn verifying_key(&self) -> Result<MessageVerifyingKey, SigningKeyError> {
        let check = match &self.pair {
            Pair::Hmac(key) => Check::Hmac(key.clone()),
            Pair::Rsa(pair, _) => {
                let public = pair.public_key();
                let parts = PublicParts::Rsa {
                    modulus: public.modulus().big_endian_without_leading_zero().to_vec(),
                    exponent: public.exponent().big_endian_without_leading_zero().to_vec(),
                };
                check_of(self.algorithm, &parts)?
            }
            Pair::Ecdsa(pair) => {
                let point = pair.public_key().as_ref().to_vec();
                check_of(self.algorithm, &PublicParts::P256(point))?
            }
            Pair::Ed25519(pair) => {
                let key = pair.public_key().as_ref().to_vec();
                check_of(self.algorithm, &PublicParts::Ed25519(key))?
            }
        };
        Ok(MessageVerifyingKey { key_id: self.key_id.clone(), algorithm: self.algorithm, check })
    }

    /// Its `keyid`.
    pub fn key_id(&self) -> &str {
        &self.key_id
    }

    /// Its algorithm.
    pub fn algorithm(&self) -> SignatureAlgorithm {
        self.algorithm
    }

    pub(super) fn sign(&self, base: &[u8]) -> Vec<u8> {
        let random = SystemRandom::new();
        match &self.pair {
            Pair::Hmac(key) => hmac::sign(key, base).as_ref().to_vec(),
            Pair::Rsa(pair, encoding) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                or_abort(pair.sign(*encoding, &random, base, &mut signature));
                signature
            }
            Pair::Ecdsa(pair) => or_abort(pair.sign(&random, base)).as_ref().to_vec(),
            Pair::Ed25519(pair) => pair.sign(base).as_ref().to_vec(),
        }
    }
}

impl fmt::Debug for MessageSigningKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("MessageSigningKey")
            .field("key_id", &self.key_id)
            .field("algorithm", &self.algorithm)
            .finish_non_exhaustive()
    }
}

/// A key that verifies messages.
pub struct MessageVerifyingKey {
    key_id: String,
    algorithm: SignatureAlgorithm,
    check: Check,
}

enum Check {
    Hmac(Box<hmac::Key>),
    Public(Box<ParsedPublicKey>),
}

impl MessageVerifyingKey {
    /// From a client's public JWK, for the algorithm that was agreed with them. `alg` and `use`,
    /// where present, must fit; symmetric keys, private members and weak keys are refused: RSA
    /// below 2048 and above 4096 bits, Ed25519 of small order.
    pub fn from_public_jwk(
        algorithm: SignatureAlgorithm,
        key_id: &str,
        jwk: &Value,
    ) -> Result<Self, SigningKeyError> {
        check_kid(key_id)?;
        let members = jwk.as_object().ok_or(SigningKeyError::Malformed)?;
        let is_for_signatures = members.get("use").is_none_or(|usage| usage == "sig");
        let is_of_algorithm = members.get("alg").is_none_or(|name| {
            name.as_str().is_some_and(|name| algorithm.jwk_names().contains(&name))
        });
        if !is_for_signatures || !is_of_algorithm {
            return Err(SigningKeyError::Malformed);
        }
        let check = check_of(algorithm, &public_parts(members)?)?;
        Ok(Self { key_id: key_id.to_owned(), algorithm, check })
    }

    /// From a secret that both sides know, for HMAC: at least 32 bytes.
    pub fn from_shared_secret(key_id: &str, secret: &SecretBytes) -> Result<Self, SigningKeyError> {
        check_kid(key_id)?;
        let check = Check::Hmac(shared(secret.expose())?);
        Ok(Self { key_id: key_id.to_owned(), algorithm: SignatureAlgorithm::HmacSha256, check })
    }

    /// Its `keyid`.
    pub fn key_id(&self) -> &str {
        &self.key_id
    }

    /// Its algorithm.
    pub fn algorithm(&self) -> SignatureAlgorithm {
        self.algorithm
    }

    pub(super) fn verifies(&self, base: &[u8], signature: &[u8]) -> bool {
        match &self.check {
            Check::Hmac(key) => hmac::verify(key, base, signature).is_ok(),
            Check::Public(key) => key.verify_sig(base, signature).is_ok(),
        }
    }
}

impl fmt::Debug for MessageVerifyingKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("MessageVerifyingKey")
            .field("key_id", &self.key_id)
            .field("algorithm", &self.algorithm)
            .finish_non_exhaustive()
    }
}

fn shared(secret: &[u8]) -> Result<Box<hmac::Key>, SigningKeyError> {
    if secret.len() < HMAC_SECRET_BYTES {
        return Err(SigningKeyError::TooWeak);
    }
    Ok(Box::new(hmac::Key::new(hmac::HMAC_SHA256, secret)))
}

/// A public key for one algorithm; a key of another type is malformed for it.
fn check_of(algorithm: SignatureAlgorithm, parts: &PublicParts) -> Result<Check, SigningKeyError> {
    let parsed = match (algorithm, parts) {
        (SignatureAlgorithm::RsaPssSha512, PublicParts::Rsa { modulus, exponent }) => {
            check_size(modulus, exponent)?;
            PublicKeyComponents { n: modulus, e: exponent }
                .to_parsed_public_key(&RSA_PSS_2048_8192_SHA512)
        }
        (SignatureAlgorithm::RsaV15Sha256, PublicParts::Rsa { modulus, exponent }) => {
            check_size(modulus, exponent)?;
            PublicKeyComponents { n: modulus, e: exponent }
                .to_parsed_public_key(&RSA_PKCS1_2048_8192_SHA256)
        }
        (SignatureAlgorithm::EcdsaP256Sha256, PublicParts::P256(point)) => {
            ParsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point)
        }
        (SignatureAlgorithm::Ed25519, PublicParts::Ed25519(key)) if is_of_small_order(key) => {
            return Err(SigningKeyError::TooWeak);
        }
        (SignatureAlgorithm::Ed25519, PublicParts::Ed25519(key)) => {
            ParsedPublicKey::new(&ED25519, key)
        }
        _ => return Err(SigningKeyError::Malformed),
    };
    parsed.map(|key| Check::Public(Box::new(key))).map_err(|_| SigningKeyError::Malformed)
}

fn check_size(modulus: &[u8], exponent: &[u8]) -> Result<(), SigningKeyError> {
    if modulus.len() > MODULUS_BYTES_MAX || modulus.first() == Some(&0) {
        return Err(SigningKeyError::Malformed);
    }
    check_rsa(modulus, exponent)
}
