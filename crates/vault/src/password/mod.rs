//! Password hashing: bcrypt or Argon2id over a peppered HMAC, on a bounded pool of its own threads.
//!
//! Scheme `sr1` is `bcrypt(cost, base64(HMAC-SHA-384(pepper, password)))`: the 64 letters stay
//! below bcrypt's 72 bytes, so that long passwords are neither truncated nor cut at a NUL. `sr2`
//! is Argon2id over the same letters. It refuses to know password policy, accounts and lockouts.

mod argon;
mod hash;
mod pool;
#[cfg(test)]
mod tests;

pub use argon::Argon2Costs;
pub use hash::{PasswordHash, Pepper, Peppers, Recipe, Scheme};
pub use pool::{Hasher, HasherOptions, Permit, Verdict};

/// The least bcrypt cost that production may run with.
pub const MINIMUM_PRODUCTION_COST: u32 = 12;
/// The least bcrypt cost there is; for tests.
pub const MINIMUM_COST: u32 = 4;
/// The greatest bcrypt cost accepted, in configuration and in stored hashes (about 4 minutes).
pub const MAXIMUM_COST: u32 = 22;

/// Why a password was neither hashed nor verified.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PasswordError {
    /// The queue is full: answer 503 with Retry-After.
    #[error("password hashing is busy")]
    Busy {
        /// When to come back, in seconds, at least 1.
        retry_after_s: u64,
    },
    /// A stored hash names a pepper that is not configured.
    #[error("the stored password hash names an unknown pepper")]
    UnknownPepper,
    /// A stored hash is in no known format.
    #[error("the stored password hash is malformed")]
    MalformedHash,
    /// The cost is outside what is accepted.
    #[error("the cost of password hashing is out of range")]
    CostOutOfRange,
    /// A pepper is shorter than 32 bytes or its id is not 1 to 32 of `a-z0-9-`.
    #[error("the pepper is too short or its id is malformed")]
    BadPepper,
    /// No thread could be started, or one died at work.
    #[error("the password hashing pool failed")]
    PoolFailed,
}
