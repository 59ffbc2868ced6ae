//! Public keys that people's own devices hold the other half of, and the signatures those make:
//! ES256, EdDSA and RS256 as WebAuthn writes them (Level 3, section 6.5.5).
//!
//! They differ from the keys of tokens in two ways: an ES256 signature is a DER sequence, and
//! whoever brings the key is not trusted to have made it well. So it is looked at before it is
//! believed: point on the curve, no key that anybody could sign for, no weak modulus. It refuses
//! to know COSE, CBOR and what was signed.

use std::fmt;

use aws_lc_rs::rsa::PublicKeyComponents;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1, ED25519, ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256,
};

use super::SigningKeyError;
use super::keys::{Algorithm, check_rsa};

/// The greatest RSA modulus, in bytes (4096 bits): no authenticator has more, and verifying
/// costs its square.
pub(crate) const MODULUS_BYTES_MAX: usize = 512;
const COORDINATE_BYTES: usize = 32;

/// A device's public key, bound to one algorithm.
pub struct DeviceKey {
    algorithm: Algorithm,
    key: Box<ParsedPublicKey>,
}

impl DeviceKey {
    /// A point of P-256 by its coordinates, big-endian, of 32 bytes each.
    pub fn es256(x: &[u8], y: &[u8]) -> Result<Self, SigningKeyError> {
        if x.len() != COORDINATE_BYTES || y.len() != COORDINATE_BYTES {
            return Err(SigningKeyError::Malformed);
        }
        // The library refuses a point that is not on the curve.
        let point = [&[4], x, y].concat();
        Self::of(Algorithm::ES256, ParsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, point))
    }

    /// An Ed25519 key of 32 bytes. One of small order is refused: it has a signature that is
    /// valid for many messages and that needs no private key.
    pub fn eddsa(key: &[u8]) -> Result<Self, SigningKeyError> {
        if is_of_small_order(key) {
            return Err(SigningKeyError::TooWeak);
        }
        Self::of(Algorithm::EdDSA, ParsedPublicKey::new(&ED25519, key))
    }

    /// Modulus and exponent, big-endian without leading zeros: 2048 to 4096 bits and 65537.
    pub fn rs256(modulus: &[u8], exponent: &[u8]) -> Result<Self, SigningKeyError> {
        if modulus.len() > MODULUS_BYTES_MAX || modulus.first() == Some(&0) {
            return Err(SigningKeyError::Malformed);
        }
        check_rsa(modulus, exponent)?;
        let parts = PublicKeyComponents { n: modulus, e: exponent };
        Self::of(Algorithm::RS256, parts.to_parsed_public_key(&RSA_PKCS1_2048_8192_SHA256))
    }

    /// Its algorithm.
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// Whether `signature` is this key's over `message`.
    pub fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        self.key.verify_sig(message, signature).is_ok()
    }

    fn of<E>(
        algorithm: Algorithm,
        parsed: Result<ParsedPublicKey, E>,
    ) -> Result<Self, SigningKeyError> {
        let key = parsed.map_err(|_| SigningKeyError::Malformed)?;
        Ok(Self { algorithm, key: Box::new(key) })
    }
}

impl fmt::Debug for DeviceKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("DeviceKey")
            .field("algorithm", &self.algorithm)
            .finish_non_exhaustive()
    }
}

/// The y-coordinates of the two points of order eight, little-endian.
const ORDER_EIGHT: [[u8; 32]; 2] = [
    [
        0x26, 0xe8, 0x95, 0x8f, 0xc2, 0xb2, 0x27, 0xb0, 0x45, 0xc3, 0xf4, 0x89, 0xf2, 0xef, 0x98,
        0xf0, 0xd5, 0xdf, 0xac, 0x05, 0xd3, 0xc6, 0x33, 0x39, 0xb1, 0x38, 0x02, 0x88, 0x6d, 0x53,
        0xfc, 0x05,
    ],
    [
        0xc7, 0x17, 0x6a, 0x70, 0x3d, 0x4d, 0xd8, 0x4f, 0xba, 0x3c, 0x0b, 0x76, 0x0d, 0x10, 0x67,
        0x0f, 0x2a, 0x20, 0x53, 0xfa, 0x2c, 0x39, 0xcc, 0xc6, 0x4e, 0xc7, 0xfd, 0x77, 0x92, 0xac,
        0x03, 0x7a,
    ],
];

/// Whether a point has order one, two, four or eight, however it is written: y is 0, 1 or -1
/// modulo 2^255 - 19, or one of the two of order eight. The sign of x does not matter.
pub(crate) fn is_of_small_order(key: &[u8]) -> bool {
    let Ok(mut y) = <[u8; 32]>::try_from(key) else { return false };
    y[31] &= 0x7f;
    let small = |last: u8| y[0] <= last && y[1..].iter().all(|byte| *byte == 0);
    // p - 1, p and p + 1, where p = 2^255 - 19 ends in 0xed: the last two are 0 and 1 again.
    let near_prime =
        (0xec..=0xee).contains(&y[0]) && y[1..31].iter().all(|byte| *byte == 0xff) && y[31] == 0x7f;
    small(1) || near_prime || ORDER_EIGHT.contains(&y)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout)]
mod tests {
    use aws_lc_rs::encoding::AsDer as _;
    use aws_lc_rs::rand::SystemRandom;
    use aws_lc_rs::rsa::{KeyPair as RsaKeyPair, KeySize};
    use aws_lc_rs::signature::{
        ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _,
        RSA_PKCS1_SHA256,
    };

    use super::*;
    use crate::vectors::wycheproof;

    fn hex(text: &str) -> Vec<u8> {
        let digits = |at: usize| u8::from_str_radix(&text[at..at + 2], 16).unwrap();
        (0..text.len()).step_by(2).map(digits).collect()
    }

    /// A signature of two halves of 32 bytes as a DER sequence of two integers.
    fn der_of(halves: &[u8]) -> Vec<u8> {
        let integer = |half: &[u8]| {
            let start = half.iter().position(|byte| *byte != 0).unwrap_or(half.len() - 1);
            let mut bytes = half[start..].to_vec();
            if bytes[0] >= 0x80 {
                bytes.insert(0, 0);
            }
            [&[2, u8::try_from(bytes.len()).unwrap()], bytes.as_slice()].concat()
        };
        let (left, right) = halves.split_at(halves.len() / 2);
        let body = [integer(left), integer(right)].concat();
        [&[0x30, u8::try_from(body.len()).unwrap()], body.as_slice()].concat()
    }

    #[test]
    fn each_algorithm_verifies_its_own_signatures_and_no_others() {
        let random = SystemRandom::new();
        let message = b"authenticator data and the hash of the client's";
        let ecdsa = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).unwrap();
        let (x, y) = ecdsa.public_key().as_ref()[1..].split_at(32);
        let ed = Ed25519KeyPair::generate().unwrap();
        let rsa = RsaKeyPair::generate(KeySize::Rsa2048).unwrap();
        assert!(!rsa.as_der().unwrap().as_ref().is_empty());
        let mut by_rsa = vec![0; rsa.public_modulus_len()];
        rsa.sign(&RSA_PKCS1_SHA256, &random, message, &mut by_rsa).unwrap();
        let public = rsa.public_key();
        let (modulus, exponent) = (
            public.modulus().big_endian_without_leading_zero(),
            public.exponent().big_endian_without_leading_zero(),
        );
        let keys = [
            DeviceKey::es256(x, y).unwrap(),
            DeviceKey::eddsa(ed.public_key().as_ref()).unwrap(),
            DeviceKey::rs256(modulus, exponent).unwrap(),
        ];
        let signatures = [
            ecdsa.sign(&random, message).unwrap().as_ref().to_vec(),
            ed.sign(message).as_ref().to_vec(),
            by_rsa,
        ];
        for (own, key) in keys.iter().enumerate() {
            for (made, signature) in signatures.iter().enumerate() {
                assert_eq!(key.verifies(message, signature), own == made, "{key:?} {made}");
            }
            for at in 0..signatures[own].len() {
                let mut altered = signatures[own].clone();
                altered[at] ^= 1;
                assert!(!key.verifies(message, &altered), "{key:?} {at}");
            }
            assert!(!key.verifies(b"another message", &signatures[own]), "{key:?}");
            assert!(!key.verifies(message, &signatures[own][1..]), "{key:?}");
            assert!(!key.verifies(message, &[]), "{key:?}");
        }
        let algorithms = keys.map(|key| key.algorithm());
        assert_eq!(algorithms, [Algorithm::ES256, Algorithm::EdDSA, Algorithm::RS256]);
    }

    #[test]
    fn keys_that_are_none_are_refused() {
        let ecdsa = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).unwrap();
        let (x, y) = ecdsa.public_key().as_ref()[1..].split_at(32);
        let mut beside = y.to_vec();
        beside[31] ^= 1;
        for (x, y) in [(x, beside.as_slice()), (x, &y[1..]), (&x[..31], y), (&[0; 32], &[0; 32])] {
            assert_eq!(DeviceKey::es256(x, y).unwrap_err(), SigningKeyError::Malformed);
        }
        for length in [0, 31, 33, 64] {
            assert!(DeviceKey::eddsa(&vec![7; length]).is_err(), "{length}");
        }
        let odd = |bytes: usize, first: u8| {
            let mut modulus = vec![0xff; bytes];
            modulus[0] = first;
            modulus
        };
        // modulus, exponent, why not
        let table = [
            (odd(256, 0x80), vec![3], SigningKeyError::TooWeak),
            (odd(256, 0x80), vec![1, 0, 0], SigningKeyError::TooWeak),
            (odd(256, 0x7f), vec![1, 0, 1], SigningKeyError::TooWeak),
            (odd(128, 0x80), vec![1, 0, 1], SigningKeyError::TooWeak),
            (odd(257, 0), vec![1, 0, 1], SigningKeyError::Malformed),
            (odd(513, 0x80), vec![1, 0, 1], SigningKeyError::Malformed),
            (Vec::new(), vec![1, 0, 1], SigningKeyError::TooWeak),
        ];
        for (modulus, exponent, why) in table {
            let length = modulus.len();
            assert_eq!(DeviceKey::rs256(&modulus, &exponent).unwrap_err(), why, "{length}");
        }
    }

    #[test]
    fn a_key_that_anybody_can_sign_for_is_refused() {
        let near = |first: u8| {
            let mut key = [0xff; 32];
            (key[0], key[31]) = (first, 0x7f);
            key
        };
        let tiny = |first: u8| {
            let mut key = [0; 32];
            key[0] = first;
            key
        };
        let points =
            [tiny(0), tiny(1), ORDER_EIGHT[0], ORDER_EIGHT[1], near(0xec), near(0xed), near(0xee)];
        // R the neutral point and S zero: valid wherever the hash is a multiple of the order.
        let forged = [tiny(1), [0; 32]].concat();
        let mut believed = 0;
        for point in points {
            for sign in [0, 0x80] {
                let mut key = point;
                key[31] |= sign;
                assert_eq!(DeviceKey::eddsa(&key).unwrap_err(), SigningKeyError::TooWeak);
                let Ok(parsed) = ParsedPublicKey::new(&ED25519, key) else { continue };
                let fooled = |number: u8| parsed.verify_sig(&[number], &forged).is_ok();
                believed += usize::from((0..=u8::MAX).any(fooled));
            }
        }
        assert!(believed > 0, "the library refuses them by now: this check can go");
    }

    #[test]
    fn wycheproof_signatures() {
        for (group, test) in wycheproof("ed25519") {
            let key = DeviceKey::eddsa(&hex(group["publicKey"]["pk"].as_str().unwrap())).unwrap();
            let message = hex(test["msg"].as_str().unwrap());
            let signature = hex(test["sig"].as_str().unwrap());
            let expected = test["result"] == "valid";
            assert_eq!(key.verifies(&message, &signature), expected, "{}", test["comment"]);
        }
        for (group, test) in wycheproof("ecdsa_secp256r1_sha256_p1363") {
            let point = hex(group["publicKey"]["uncompressed"].as_str().unwrap());
            let key = DeviceKey::es256(&point[1..33], &point[33..]).unwrap();
            let halves = hex(test["sig"].as_str().unwrap());
            // A signature of another length is a fault of that form, which this is not.
            if halves.len() != 64 {
                continue;
            }
            let message = hex(test["msg"].as_str().unwrap());
            let expected = test["result"] == "valid";
            assert_eq!(
                key.verifies(&message, &der_of(&halves)),
                expected,
                "{} {}",
                test["tcId"],
                test["comment"]
            );
            // The other form of the same signature is none here.
            assert!(!key.verifies(&message, &halves), "{}", test["tcId"]);
        }
    }
}
