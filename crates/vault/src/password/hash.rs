//! The stored form of a password hash, peppers, and the computation itself.

use std::fmt;
use std::str::FromStr;

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

use super::{MAXIMUM_COST, MINIMUM_COST, PasswordError};
use crate::keyring::RootKey;
use crate::primitives::{fixed, random_bytes};

const SCHEME_PREFIX: &str = "$sr1$";
const BCRYPT_LETTERS: usize = 60;

/// How a password was hashed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// `sr1`: bcrypt over base64(HMAC-SHA-384(pepper, password)).
    BcryptHmacSha384,
}

impl Scheme {
    /// The stored name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::BcryptHmacSha384 => "sr1",
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

/// A stored hash: `$sr1$` pepper id `$2b$12$…`. `Display` writes it, `FromStr` reads it; `Debug`
/// leaves the hash out.
#[derive(Clone, PartialEq, Eq)]
pub struct PasswordHash {
    scheme: Scheme,
    pepper_id: String,
    cost: u32,
    encoded: String,
}

impl PasswordHash {
    /// How it was made.
    pub fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// The pepper that it needs.
    pub fn pepper_id(&self) -> &str {
        &self.pepper_id
    }

    /// Its bcrypt cost.
    pub fn cost(&self) -> u32 {
        self.cost
    }

    /// Whether a hash made now would differ in cost or pepper.
    pub(super) fn is_outdated(&self, peppers: &Peppers, cost: u32) -> bool {
        self.cost != cost || self.pepper_id != peppers.current.id
    }
}

impl FromStr for PasswordHash {
    type Err = PasswordError;

    fn from_str(text: &str) -> Result<Self, PasswordError> {
        let malformed = PasswordError::MalformedHash;
        let rest = text.strip_prefix(SCHEME_PREFIX).ok_or(malformed.clone())?;
        let (pepper_id, encoded) =
            rest.find('$').map(|at| rest.split_at(at)).ok_or(malformed.clone())?;
        if !is_pepper_id(pepper_id) || encoded.len() != BCRYPT_LETTERS {
            return Err(malformed);
        }
        let parts = bcrypt::HashParts::from_str(encoded).map_err(|_| malformed)?;
        check_cost(parts.get_cost())?;
        Ok(Self {
            scheme: Scheme::BcryptHmacSha384,
            pepper_id: pepper_id.to_owned(),
            cost: parts.get_cost(),
            encoded: encoded.to_owned(),
        })
    }
}

impl fmt::Display for PasswordHash {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{SCHEME_PREFIX}{}{}", self.pepper_id, self.encoded)
    }
}

impl fmt::Debug for PasswordHash {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("PasswordHash")
            .field("scheme", &self.scheme)
            .field("pepper_id", &self.pepper_id)
            .field("cost", &self.cost)
            .finish_non_exhaustive()
    }
}

/// Hashes under the current pepper and a fresh salt.
pub(super) fn compute(
    peppers: &Peppers,
    cost: u32,
    password: &str,
) -> Result<PasswordHash, PasswordError> {
    let prehashed = peppers.current.apply(password);
    let encoded = bcrypt::hash_with_salt(prehashed.as_bytes(), cost, random_bytes())
        .map_err(|_| PasswordError::CostOutOfRange)?
        .format_for_version(bcrypt::Version::TwoB);
    Ok(PasswordHash {
        scheme: Scheme::BcryptHmacSha384,
        pepper_id: peppers.current.id.clone(),
        cost,
        encoded,
    })
}

/// Compares with a stored hash.
pub(super) fn matches(
    peppers: &Peppers,
    stored: &PasswordHash,
    password: &str,
) -> Result<bool, PasswordError> {
    let pepper = peppers.find(&stored.pepper_id).ok_or(PasswordError::UnknownPepper)?;
    bcrypt::verify(pepper.apply(password).as_bytes(), &stored.encoded)
        .map_err(|_| PasswordError::MalformedHash)
}

/// Does the work of one verification and forgets the result: the same time as a real one.
pub(super) fn pretend(peppers: &Peppers, cost: u32, password: &str) {
    let _ = std::hint::black_box(compute(peppers, cost, password));
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
