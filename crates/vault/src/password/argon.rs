//! Argon2id (RFC 9106): its costs, within bounds, and its stored form, the PHC string.
//!
//! Refuses to know peppers: what is hashed here was peppered before.

use std::fmt;
use std::str::FromStr;

use argon2::{Algorithm, Argon2, Params, Version};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;

use serde::{Deserialize, Serialize};

use super::PasswordError;
use crate::primitives::constant_time_eq;

const SALT_BYTES: usize = 16;
const OUTPUT_BYTES: usize = 32;
/// The version of RFC 9106.
const VERSION: u32 = 0x13;

/// What one Argon2id computation costs. Constructed within bounds only, so that no policy and no
/// stored hash makes a sign-in trivial to guess or a thread busy for minutes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Stated", into = "Stated")]
pub struct Argon2Costs {
    memory_kib: u32,
    iterations: u32,
    lanes: u32,
}

impl Argon2Costs {
    /// 19 MiB, two passes, one lane: the first of OWASP's recommendations.
    pub const DEFAULT: Self = Self { memory_kib: 19_456, iterations: 2, lanes: 1 };
    /// The least memory; OWASP's smallest.
    pub const MEMORY_KIB_MIN: u32 = 7_168;
    /// The most memory.
    pub const MEMORY_KIB_MAX: u32 = 131_072;
    /// The most passes.
    pub const ITERATIONS_MAX: u32 = 10;
    /// The most lanes. They are computed one after another: a hash has one thread.
    pub const LANES_MAX: u32 = 4;
    /// The least product of memory and passes: what OWASP's cheapest recommendation comes to.
    pub const WORK_KIB_MIN: u32 = 35_840;

    /// Costs within the bounds.
    pub fn new(memory_kib: u32, iterations: u32, lanes: u32) -> Result<Self, PasswordError> {
        let fits = (Self::MEMORY_KIB_MIN..=Self::MEMORY_KIB_MAX).contains(&memory_kib)
            && (1..=Self::ITERATIONS_MAX).contains(&iterations)
            && (1..=Self::LANES_MAX).contains(&lanes)
            && memory_kib.saturating_mul(iterations) >= Self::WORK_KIB_MIN;
        if fits {
            Ok(Self { memory_kib, iterations, lanes })
        } else {
            Err(PasswordError::CostOutOfRange)
        }
    }

    /// Memory, in KiB.
    pub const fn memory_kib(self) -> u32 {
        self.memory_kib
    }

    fn output(
        self,
        prehashed: &[u8],
        salt: &[u8; SALT_BYTES],
    ) -> Result<[u8; OUTPUT_BYTES], PasswordError> {
        let params = Params::new(self.memory_kib, self.iterations, self.lanes, Some(OUTPUT_BYTES))
            .map_err(|_| PasswordError::CostOutOfRange)?;
        let mut output = [0; OUTPUT_BYTES];
        Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
            .hash_password_into(prehashed, salt, &mut output)
            // The inputs are of fixed lengths, so this is memory that could not be had.
            .map_err(|_| PasswordError::PoolFailed)?;
        Ok(output)
    }
}

/// Costs as they are written down; what is left out is the default's.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Stated {
    memory_kib: u32,
    iterations: u32,
    lanes: u32,
}

impl Default for Stated {
    fn default() -> Self {
        Argon2Costs::DEFAULT.into()
    }
}

impl From<Argon2Costs> for Stated {
    fn from(costs: Argon2Costs) -> Self {
        let Argon2Costs { memory_kib, iterations, lanes } = costs;
        Self { memory_kib, iterations, lanes }
    }
}

impl TryFrom<Stated> for Argon2Costs {
    type Error = PasswordError;

    fn try_from(stated: Stated) -> Result<Self, PasswordError> {
        Self::new(stated.memory_kib, stated.iterations, stated.lanes)
    }
}

/// A hash with its salt and costs.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Argon2Hash {
    costs: Argon2Costs,
    salt: [u8; SALT_BYTES],
    output: [u8; OUTPUT_BYTES],
}

impl Argon2Hash {
    pub(super) fn compute(
        costs: Argon2Costs,
        prehashed: &[u8],
        salt: [u8; SALT_BYTES],
    ) -> Result<Self, PasswordError> {
        Ok(Self { costs, salt, output: costs.output(prehashed, &salt)? })
    }

    pub(super) fn costs(&self) -> Argon2Costs {
        self.costs
    }

    pub(super) fn matches(&self, prehashed: &[u8]) -> Result<bool, PasswordError> {
        Ok(constant_time_eq(&self.costs.output(prehashed, &self.salt)?, &self.output))
    }
}

/// `argon2id$v=19$m=…,t=…,p=…$salt$output`, without the leading `$`.
impl fmt::Display for Argon2Hash {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Argon2Costs { memory_kib, iterations, lanes } = self.costs;
        let (salt, output) =
            (STANDARD_NO_PAD.encode(self.salt), STANDARD_NO_PAD.encode(self.output));
        write!(
            formatter,
            "argon2id$v={VERSION}$m={memory_kib},t={iterations},p={lanes}${salt}${output}"
        )
    }
}

impl FromStr for Argon2Hash {
    type Err = PasswordError;

    fn from_str(text: &str) -> Result<Self, PasswordError> {
        let parsed = parse(text).ok_or(PasswordError::MalformedHash)?;
        let ([memory_kib, iterations, lanes], salt, output) = parsed;
        let hash = Self { costs: Argon2Costs::new(memory_kib, iterations, lanes)?, salt, output };
        // One hash has one spelling.
        if hash.to_string() == text { Ok(hash) } else { Err(PasswordError::MalformedHash) }
    }
}

type Parts = ([u32; 3], [u8; SALT_BYTES], [u8; OUTPUT_BYTES]);

fn parse(text: &str) -> Option<Parts> {
    let mut parts = text.strip_prefix("argon2id$v=19$")?.splitn(3, '$');
    let (costs, salt, output) = (parts.next()?, parts.next()?, parts.next()?);
    let mut values = costs.splitn(3, ',').zip(["m=", "t=", "p="]);
    let mut value = || {
        let (given, name) = values.next()?;
        given.strip_prefix(name)?.parse::<u32>().ok()
    };
    let costs = [value()?, value()?, value()?];
    let salt = STANDARD_NO_PAD.decode(salt).ok()?.try_into().ok()?;
    let output = STANDARD_NO_PAD.decode(output).ok()?.try_into().ok()?;
    Some((costs, salt, output))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn costs_have_bounds_that_include_every_recommendation_of_owasp() {
        // KiB, passes, lanes, whether it is accepted
        let table = [
            (47_104, 1, 1, true),
            (19_456, 2, 1, true),
            (12_288, 3, 1, true),
            (9_216, 4, 1, true),
            (7_168, 5, 1, true),
            (131_072, 10, 4, true),
            (7_167, 6, 1, false),
            (7_168, 4, 1, false),
            (131_073, 1, 1, false),
            (19_456, 11, 1, false),
            (19_456, 0, 1, false),
            (19_456, 2, 0, false),
            (19_456, 2, 5, false),
            (u32::MAX, u32::MAX, u32::MAX, false),
        ];
        for (memory_kib, iterations, lanes, accepted) in table {
            let made = Argon2Costs::new(memory_kib, iterations, lanes);
            assert_eq!(made.is_ok(), accepted, "m={memory_kib} t={iterations} p={lanes}");
        }
        let Argon2Costs { memory_kib, iterations, lanes } = Argon2Costs::DEFAULT;
        assert_eq!(Argon2Costs::new(memory_kib, iterations, lanes), Ok(Argon2Costs::DEFAULT));
    }

    #[test]
    fn a_hash_that_another_implementation_made_is_read_and_matched() {
        // argon2-cffi 25.1 (the reference implementation): `hash_secret(b"password",
        // b"somesalt16bytes!", 2, 19456, 1, 32, Type.ID)`.
        let text = REFERENCE.strip_prefix('$').unwrap();
        let hash: Argon2Hash = text.parse().unwrap();
        assert_eq!(hash.to_string(), text);
        assert!(hash.matches(b"password").unwrap());
        assert!(!hash.matches(b"Password").unwrap());
        for broken in [
            text.replace("v=19", "v=16"),
            text.replace("argon2id", "argon2i"),
            text.replace("m=19456", "m=019456"),
            text.replace("m=19456,t=2", "t=2,m=19456"),
            text.replace("m=19456", "m=+19456"),
            format!("{text}="),
            format!("{text}$"),
            text[..text.len() - 1].to_owned(),
        ] {
            assert!(broken.parse::<Argon2Hash>().is_err(), "{broken}");
        }
    }

    const REFERENCE: &str = "$argon2id$v=19$m=19456,t=2,p=1$c29tZXNhbHQxNmJ5dGVzIQ$tPXA8KRaMxUDqoVFOkz5qceiysamiMSLxBrcC5sAtmo";
}
