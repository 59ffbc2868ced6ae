//! Owns what an answer says of the windows it was counted in (`RateLimit-Policy`,
//! `RateLimit`: draft-ietf-httpapi-ratelimit-headers; and `Retry-After`).
//!
//! Refuses to count and to know the windows: those are hotstate's, shared with the console.

use std::net::IpAddr;

pub(crate) use hotstate::limits::{Counted, Limits, SignIn};
use hotstate::{
    limiter::Limiter,
    limits::{self, HOUR_S, MINUTE_S, OVERALL, Verdict},
};
use http::{HeaderMap, HeaderName, HeaderValue};
use tenancy::OpContext;

use crate::problem::Problem;

/// Counts a request of somebody unknown.
pub(crate) async fn count_address(
    limiter: &Limiter,
    limits: Limits,
    address: Option<IpAddr>,
    now_ms: i64,
) -> (Counted, Result<(), Problem>) {
    judged(limits::count_address(limiter, limits, address, now_ms).await)
}

/// Counts a request of somebody known, under their name and their address.
pub(crate) async fn count_user(
    limiter: &Limiter,
    limits: Limits,
    context: &OpContext,
    now_ms: i64,
) -> (Counted, Result<(), Problem>) {
    judged(limits::count_user(limiter, limits, context, now_ms).await)
}

/// Counts a sign-in, under the name tried and its address.
pub(crate) async fn count_sign_in(
    limiter: &Limiter,
    limits: Limits,
    sign_in: SignIn,
    address: Option<IpAddr>,
    now_ms: i64,
) -> (Counted, Result<(), Problem>) {
    judged(limits::count_sign_in(limiter, limits, sign_in, address, now_ms).await)
}

fn judged((counted, retry_after_s): Verdict) -> (Counted, Result<(), Problem>) {
    (counted, retry_after_s.map_or(Ok(()), |seconds| Err(Problem::rate_limited(seconds))))
}

/// Writes the two headers.
pub(super) fn write(counted: &Counted, headers: &mut HeaderMap) {
    let class = counted.limits.class;
    let policy = format!(
        "\"{class}\";q={};w={MINUTE_S}, \"{OVERALL}\";q={};w={HOUR_S}",
        counted.minute_limit, counted.limits.per_hour
    );
    let state = format!(
        "\"{class}\";r={};t={}, \"{OVERALL}\";r={};t={}",
        counted.minute.remaining,
        counted.minute.reset_s,
        counted.hour.remaining,
        counted.hour.reset_s
    );
    for (name, value) in [("ratelimit-policy", policy), ("ratelimit", state)] {
        if let Ok(value) = HeaderValue::try_from(value) {
            headers.insert(HeaderName::from_static(name), value);
        }
    }
}
