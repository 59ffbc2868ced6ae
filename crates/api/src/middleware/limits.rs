//! Owns which windows a request is counted in, and what the answer says of them
//! (`RateLimit-Policy`, `RateLimit`: draft-ietf-httpapi-ratelimit-headers; and
//! `Retry-After`).
//!
//! Refuses to count: that is hotstate's, in one atomic step for all windows of a
//! request. Every request falls into a window of its class a minute and one of
//! everything an hour, per source address and, where one is known, per user.

use std::net::IpAddr;

use hotstate::rate::{Key, Left, Quota, RateWindows, Subject};
use http::{HeaderMap, HeaderName, HeaderValue};
use tenancy::{OpContext, policy::RateLimitPolicy};
use uuid::Uuid;

use crate::{problem::Problem, route::Class};

const MINUTE_S: u32 = 60;
const HOUR_S: u32 = 3_600;
const OVERALL: &str = "overall";

/// The limits in force for one request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    class: &'static str,
    per_user: u32,
    per_address: u32,
    per_hour: u32,
}

impl Limits {
    /// A tenant's limits for a class, raised to the installation's floor.
    pub(crate) fn of(policy: &RateLimitPolicy, class: Class, floor: Option<u32>) -> Self {
        let (per_user, per_address) = match class {
            Class::Auth => (policy.auth_per_user, policy.auth_per_address),
            Class::Read => (policy.read, policy.read),
            Class::Write => (policy.write, policy.write),
            Class::Admin => (policy.admin, policy.admin),
            Class::Default => (policy.default, policy.default),
        };
        let raised = |limit: u32, times: u32| limit.max(floor.unwrap_or(0).saturating_mul(times));
        Self {
            class: class.as_str(),
            per_user: raised(per_user, 1),
            per_address: raised(per_address, 1),
            per_hour: raised(policy.overall_per_hour, 60),
        }
    }
}

/// What an answer says of its limits.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Counted {
    limits: Limits,
    minute: Left,
    minute_limit: u32,
    hour: Left,
}

/// A sign-in's own window beside the address's: the name that is tried.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SignIn {
    /// The tenant.
    pub(crate) tenant: Uuid,
    /// SHA-256 over the normalised name or the token's text.
    pub(crate) hash: [u8; 32],
}

/// Counts a request of somebody unknown.
pub(crate) fn count_address(
    windows: &RateWindows,
    limits: Limits,
    address: Option<IpAddr>,
    now_ms: i64,
) -> (Counted, Result<(), Problem>) {
    let subject = Subject::address(address);
    let verdict =
        windows.hit(&[limits.minute(subject, limits.per_address), limits.hour(subject)], now_ms);
    let [minute, hour] = verdict.left;
    let counted = Counted { limits, minute, minute_limit: limits.per_address, hour };
    (counted, verdict_of(verdict.retry_after_s))
}

/// Counts a request of somebody known, under their name and their address.
pub(crate) fn count_user(
    windows: &RateWindows,
    limits: Limits,
    context: &OpContext,
    now_ms: i64,
) -> (Counted, Result<(), Problem>) {
    let user = Subject::User { tenant: context.tenant_id(), user: context.actor.id };
    count_both(windows, limits, user, context.request.ip, now_ms)
}

/// Counts a sign-in, under the name tried and its address.
pub(crate) fn count_sign_in(
    windows: &RateWindows,
    limits: Limits,
    sign_in: SignIn,
    address: Option<IpAddr>,
    now_ms: i64,
) -> (Counted, Result<(), Problem>) {
    let name = Subject::Name { tenant: sign_in.tenant, hash: sign_in.hash };
    count_both(windows, limits, name, address, now_ms)
}

fn count_both(
    windows: &RateWindows,
    limits: Limits,
    who: Subject,
    address: Option<IpAddr>,
    now_ms: i64,
) -> (Counted, Result<(), Problem>) {
    let subject = Subject::address(address);
    let verdict = windows.hit(
        &[
            limits.minute(who, limits.per_user),
            limits.minute(subject, limits.per_address),
            limits.hour(who),
            limits.hour(subject),
        ],
        now_ms,
    );
    let [user, address, user_hour, address_hour] = verdict.left;
    let by_user = user.remaining <= address.remaining;
    let counted = Counted {
        limits,
        minute: if by_user { user } else { address },
        minute_limit: if by_user { limits.per_user } else { limits.per_address },
        hour: tighter(user_hour, address_hour),
    };
    (counted, verdict_of(verdict.retry_after_s))
}

fn tighter(left: Left, right: Left) -> Left {
    if left.remaining <= right.remaining { left } else { right }
}

fn verdict_of(retry_after_s: Option<u64>) -> Result<(), Problem> {
    retry_after_s.map_or(Ok(()), |seconds| Err(Problem::rate_limited(seconds)))
}

impl Limits {
    fn minute(&self, subject: Subject, limit: u32) -> (Key, Quota) {
        (Key { subject, class: self.class }, Quota { limit, period_s: MINUTE_S })
    }

    fn hour(&self, subject: Subject) -> (Key, Quota) {
        (Key { subject, class: OVERALL }, Quota { limit: self.per_hour, period_s: HOUR_S })
    }
}

impl Counted {
    /// Writes the two headers.
    pub(super) fn write(&self, headers: &mut HeaderMap) {
        let class = self.limits.class;
        let policy = format!(
            "\"{class}\";q={};w={MINUTE_S}, \"{OVERALL}\";q={};w={HOUR_S}",
            self.minute_limit, self.limits.per_hour
        );
        let state = format!(
            "\"{class}\";r={};t={}, \"{OVERALL}\";r={};t={}",
            self.minute.remaining, self.minute.reset_s, self.hour.remaining, self.hour.reset_s
        );
        for (name, value) in [("ratelimit-policy", policy), ("ratelimit", state)] {
            if let Ok(value) = HeaderValue::from_str(&value) {
                headers.insert(HeaderName::from_static(name), value);
            }
        }
    }
}
