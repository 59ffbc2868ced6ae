//! The stored form of a password hash, peppers, and the computation itself.

use std::fmt;
use std::str::FromStr;

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

use super::argon::{Argon2Costs, Argon2Hash};
use super::{MAXIMUM_COST, MINIMUM_COST, PasswordError};
use crate::keyring::RootKey;
use crate::primitives::{fixed, random_bytes};

const BCRYPT_LETTERS: usize = 60;

/// How a password was hashed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// `sr1`: bcrypt over base64(HMAC-SHA-384(pepper, password)).
    BcryptHmacSha384,
    /// `sr2`: Argon2id (RFC 9106) over the same.
    Argon2idHmacSha384,
}

impl Scheme {
    /// The stored name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::BcryptHmacSha384 => "sr1",
            Self::Argon2idHmacSha384 => "sr2",
        }
    }
}

/// How new passwords are hashed, and what a dummy costs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Recipe {
    /// bcrypt at the pool's own cost.
    #[default]
    Bcrypt,
    /// Argon2id at these costs.
    Argon2id(Argon2Costs),
}

impl Recipe {
    /// What one computation keeps in memory beside its stack.
    pub(super) const fn memory_kib(self) -> u32 {
        match self {
            Self::Bcrypt => 0,
            Self::Argon2id(costs) => costs.memory_kib(),
        }
    }
}

/// A secret mixed into every password, kept outside the database.
pub struct Pepper {
    id: String,
    key: hmac::Key,
}

impl Pepper {
    /// `id` is 1 to 32 of `a-z0-9-`; `key` has at least 32 bytes.
    pub fn new(id: &str, key: &[u8]) -> Result<Self, PasswordError> {
        if !is_pepper_id(id) || key.len() < 32 {
            return Err(PasswordError::BadPepper);
        }
        Ok(Self { id: id.to_owned(), key: hmac::Key::new(hmac::HMAC_SHA384, key) })
    }

    /// The pepper that belongs to a root. Its id comes from the root as well, so that another root
    /// yields another id and never a wrong password.
    pub fn derive(root: &RootKey) -> Self {
        let key = Zeroizing::new(root.derive_bytes("password-pepper"));
        let name = root.derive_bytes("password-pepper-id");
        let id = format!("{:016x}", u64::from_be_bytes(fixed(&name[..8])));
        Self { id, key: hmac::Key::new(hmac::HMAC_SHA384, key.as_slice()) }
    }

    /// What stands in stored hashes.
    pub fn id(&self) -> &str {
        &self.id
    }

    fn apply(&self, password: &str) -> Zeroizing<String> {
        let tag = hmac::sign(&self.key, password.as_bytes());
        Zeroizing::new(STANDARD.encode(tag.as_ref()))
    }
}

impl fmt::Debug for Pepper {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Pepper").field("id", &self.id).finish_non_exhaustive()
    }
}

/// The pepper for new hashes and those that stored hashes may still name.
#[derive(Debug)]
pub struct Peppers {
    current: Pepper,
    previous: Vec<Pepper>,
}

impl Peppers {
    /// `previous` verify only; a hash that names one asks to be remade.
    pub fn new(current: Pepper, previous: Vec<Pepper>) -> Self {
        Self { current, previous }
    }

    fn find(&self, id: &str) -> Option<&Pepper> {
        std::iter::once(&self.current).chain(&self.previous).find(|pepper| pepper.id == id)
    }
}

/// A stored hash: `$sr1$` pepper id `$2b$12$…`, or `$sr2$` pepper id `$argon2id$…`. `Display`
/// writes it, `FromStr` reads it; `Debug` leaves the hash out.
#[derive(Clone, PartialEq, Eq)]
pub struct PasswordHash {
    pepper_id: String,
    digest: Digest,
}

#[derive(Clone, PartialEq, Eq)]
enum Digest {
    Bcrypt { cost: u32, encoded: String },
    Argon2id(Argon2Hash),
}

impl PasswordHash {
    /// How it was made.
    pub fn scheme(&self) -> Scheme {
        match self.digest {
            Digest::Bcrypt { .. } => Scheme::BcryptHmacSha384,
            Digest::Argon2id(_) => Scheme::Argon2idHmacSha384,
        }
    }

    /// The pepper that it needs.
    pub fn pepper_id(&self) -> &str {
        &self.pepper_id
    }

    /// Its bcrypt cost, where it is bcrypt's.
    pub fn bcrypt_cost(&self) -> Option<u32> {
        match self.digest {
            Digest::Bcrypt { cost, .. } => Some(cost),
            Digest::Argon2id(_) => None,
        }
    }

    /// What comparing with it keeps in memory.
    pub(super) fn memory_kib(&self) -> u32 {
        match &self.digest {
            Digest::Bcrypt { .. } => 0,
            Digest::Argon2id(hash) => hash.costs().memory_kib(),
        }
    }

    /// Whether a hash made now would differ in scheme, cost or pepper, in either direction.
    pub(super) fn is_outdated(&self, peppers: &Peppers, recipe: Recipe, cost: u32) -> bool {
        let as_made_now = match (&self.digest, recipe) {
            (Digest::Bcrypt { cost: own, .. }, Recipe::Bcrypt) => *own == cost,
            (Digest::Argon2id(hash), Recipe::Argon2id(costs)) => hash.costs() == costs,
            _ => false,
        };
        !as_made_now || self.pepper_id != peppers.current.id
    }
}

impl FromStr for PasswordHash {
    type Err = PasswordError;

    fn from_str(text: &str) -> Result<Self, PasswordError> {
        let malformed = PasswordError::MalformedHash;
        let mut parts = text.splitn(4, '$');
        let (Some(""), Some(scheme), Some(pepper_id), Some(encoded)) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(malformed);
        };
        if !is_pepper_id(pepper_id) {
            return Err(malformed);
        }
        let digest = match scheme {
            "sr1" => bcrypt_digest(&format!("${encoded}"))?,
            "sr2" => Digest::Argon2id(encoded.parse()?),
            _ => return Err(malformed),
        };
        Ok(Self { pepper_id: pepper_id.to_owned(), digest })
    }
}

fn bcrypt_digest(encoded: &str) -> Result<Digest, PasswordError> {
    if encoded.len() != BCRYPT_LETTERS {
        return Err(PasswordError::MalformedHash);
    }
    let parts = bcrypt::HashParts::from_str(encoded).map_err(|_| PasswordError::MalformedHash)?;
    check_cost(parts.get_cost())?;
    Ok(Digest::Bcrypt { cost: parts.get_cost(), encoded: encoded.to_owned() })
}

impl fmt::Display for PasswordHash {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (scheme, pepper_id) = (self.scheme().as_str(), &self.pepper_id);
        match &self.digest {
            Digest::Bcrypt { encoded, .. } => write!(formatter, "${scheme}${pepper_id}{encoded}"),
            Digest::Argon2id(hash) => write!(formatter, "${scheme}${pepper_id}${hash}"),
        }
    }
}

impl fmt::Debug for PasswordHash {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("PasswordHash")
            .field("scheme", &self.scheme())
            .field("pepper_id", &self.pepper_id)
            .finish_non_exhaustive()
    }
}

/// Hashes under the current pepper and a fresh salt.
pub(super) fn compute(
    peppers: &Peppers,
    recipe: Recipe,
    cost: u32,
    password: &str,
) -> Result<PasswordHash, PasswordError> {
    let prehashed = peppers.current.apply(password);
    let digest = match recipe {
        Recipe::Bcrypt => Digest::Bcrypt {
            cost,
            encoded: bcrypt::hash_with_salt(prehashed.as_bytes(), cost, random_bytes())
                .map_err(|_| PasswordError::CostOutOfRange)?
                .format_for_version(bcrypt::Version::TwoB),
        },
        Recipe::Argon2id(costs) => {
            Digest::Argon2id(Argon2Hash::compute(costs, prehashed.as_bytes(), random_bytes())?)
        }
    };
    Ok(PasswordHash { pepper_id: peppers.current.id.clone(), digest })
}

/// Compares with a stored hash.
pub(super) fn matches(
    peppers: &Peppers,
    stored: &PasswordHash,
    password: &str,
) -> Result<bool, PasswordError> {
    let pepper = peppers.find(&stored.pepper_id).ok_or(PasswordError::UnknownPepper)?;
    let prehashed = pepper.apply(password);
    match &stored.digest {
        Digest::Bcrypt { encoded, .. } => {
            bcrypt::verify(prehashed.as_bytes(), encoded).map_err(|_| PasswordError::MalformedHash)
        }
        Digest::Argon2id(hash) => hash.matches(prehashed.as_bytes()),
    }
}

/// Does the work of one verification and forgets the result: the same time as a real one.
pub(super) fn pretend(peppers: &Peppers, recipe: Recipe, cost: u32, password: &str) {
    let _ = std::hint::black_box(compute(peppers, recipe, cost, password));
}

pub(super) fn check_cost(cost: u32) -> Result<(), PasswordError> {
    if (MINIMUM_COST..=MAXIMUM_COST).contains(&cost) {
        Ok(())
    } else {
        Err(PasswordError::CostOutOfRange)
    }
}

fn is_pepper_id(text: &str) -> bool {
    (1..=32).contains(&text.len())
        && text.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-'))
}
