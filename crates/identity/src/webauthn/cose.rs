//! A credential's public key as COSE writes it (RFC 9052 section 7, RFC 9053): the three
//! algorithms that are asked for and the members that each has, none more.
//!
//! It refuses to know what the key signs; the key itself is judged by the vault.

use vault::signing::{Algorithm, DeviceKey};

use super::cbor::Value;

/// What authenticators are asked for, the best first: ES256, EdDSA, RS256.
pub(crate) const ALGORITHMS: [i16; 3] = [ES256, EDDSA, RS256];

const ES256: i16 = -7;
const EDDSA: i16 = -8;
const RS256: i16 = -257;

// Labels of a key (RFC 9052 section 7.1) and of its type (RFC 9053 section 7, RFC 8230).
const KTY: i64 = 1;
const ALG: i64 = 3;
const CRV: i64 = -1;
const X: i64 = -2;
const Y: i64 = -3;
const RSA_N: i64 = -1;
const RSA_E: i64 = -2;

const KTY_OKP: i64 = 1;
const KTY_EC2: i64 = 2;
const KTY_RSA: i64 = 3;
const CRV_P256: i64 = 1;
const CRV_ED25519: i64 = 6;

/// A credential's key, bound to the algorithm it was registered with.
#[derive(Debug)]
pub(crate) struct CredentialKey {
    key: DeviceKey,
}

impl CredentialKey {
    /// Reads a COSE key. None where it is of another type or algorithm, has a member too
    /// many or too few, or is one that the vault refuses.
    pub(super) fn of(key: &Value<'_>) -> Option<Self> {
        let number = |label| key.numbered(label).and_then(Value::integer);
        let bytes = |label| key.numbered(label).and_then(Value::bytes);
        let algorithm = i16::try_from(number(ALG)?).ok()?;
        let (members, parsed) = match (algorithm, number(KTY)?) {
            (ES256, KTY_EC2) if number(CRV)? == CRV_P256 => {
                (5, DeviceKey::es256(bytes(X)?, bytes(Y)?))
            }
            (EDDSA, KTY_OKP) if number(CRV)? == CRV_ED25519 => (4, DeviceKey::eddsa(bytes(X)?)),
            (RS256, KTY_RSA) => (4, DeviceKey::rs256(bytes(RSA_N)?, bytes(RSA_E)?)),
            _ => return None,
        };
        // WebAuthn section 6.5.1: no optional parameter beside `alg`.
        (key.members()? == members).then_some(())?;
        parsed.ok().map(|key| Self { key })
    }

    /// Reads a stored key.
    pub(crate) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        Self::of(&Value::read(bytes).ok()?)
    }

    /// The algorithm by its COSE number.
    pub(crate) fn algorithm(&self) -> i16 {
        match self.key.algorithm() {
            Algorithm::EdDSA => EDDSA,
            Algorithm::RS256 => RS256,
            Algorithm::ES256 | Algorithm::HS256 => ES256,
        }
    }

    pub(super) fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        self.key.verifies(message, signature)
    }
}
