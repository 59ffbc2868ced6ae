//! The three times of a token against a clock that the caller reads.

use serde::Deserialize;

use super::JwtError;
use super::jws::VerifiedJwt;

/// The greatest leeway that can be asked for, in seconds.
pub const MAXIMUM_LEEWAY_S: u8 = 5;

/// Times that were present, whole numbers, and right at the moment of the check. Seconds since
/// the Unix epoch. Only [`ValidatedTimes::check`] makes one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ValidatedTimes {
    /// `iat`.
    pub issued_at_s: i64,
    /// `nbf`.
    pub not_before_s: i64,
    /// `exp`.
    pub expires_at_s: i64,
}

/// As claimed: integers only, all three present, none twice.
#[derive(Deserialize)]
struct ClaimedTimes {
    iat: i64,
    nbf: i64,
    exp: i64,
}

impl ValidatedTimes {
    /// Requires integer `iat`, `nbf` and `exp` (a string, a fraction or an absence is
    /// [`JwtError::BadClaims`]) and `now_s` within them. A leeway above [`MAXIMUM_LEEWAY_S`]
    /// counts as that.
    pub fn check(token: &VerifiedJwt, now_s: i64, leeway_s: u8) -> Result<Self, JwtError> {
        let ClaimedTimes { iat, nbf, exp } = token.claims()?;
        let leeway_s = i64::from(leeway_s.min(MAXIMUM_LEEWAY_S));
        if now_s >= exp.saturating_add(leeway_s) {
            return Err(JwtError::Expired);
        }
        let latest_start_s = now_s.saturating_add(leeway_s);
        if nbf > latest_start_s || iat > latest_start_s {
            return Err(JwtError::NotYetValid);
        }
        Ok(Self { issued_at_s: iat, not_before_s: nbf, expires_at_s: exp })
    }
}
