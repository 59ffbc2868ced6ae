//! Which windows a request is counted in, whoever serves it: of its class a minute
//! and of everything an hour, per source address and, where one is known, per user.
//!
//! Owns that rule so that the API and the console spend one budget. Refuses to count
//! (that is [`crate::limiter`]'s, in one atomic step) and to know HTTP.

use std::net::IpAddr;

use tenancy::{OpContext, policy::RateLimitPolicy};
use uuid::Uuid;

use crate::{
    limiter::Limiter,
    rate::{Key, Left, Quota, Subject},
};

/// Seconds of the shorter window.
pub const MINUTE_S: u32 = 60;
/// Seconds of the longer window.
pub const HOUR_S: u32 = 3_600;
/// The name of the window over all classes.
pub const OVERALL: &str = "overall";

/// Classes of requests that are limited together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Class {
    /// Sign-in and refresh; counted by their handlers, which know the name.
    Auth,
    /// Proving a second factor; counted by its handlers where the token is all they have.
    Mfa,
    /// Reading.
    Read,
    /// Changing.
    Write,
    /// Administration.
    Admin,
    /// Whatever has no class of its own, paths that do not exist included.
    Default,
}

impl Class {
    /// The name in `RateLimit-Policy`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Auth => "auth",
            Self::Mfa => "mfa",
            Self::Read => "read",
            Self::Write => "write",
            Self::Admin => "admin",
            Self::Default => "default",
        }
    }
}

/// A verdict: the windows, and the seconds to wait where the request is one too many.
pub type Verdict = (Counted, Option<u64>);

/// The limits in force for one request.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// The name of the class.
    pub class: &'static str,
    /// Of one user or name, a minute.
    pub per_user: u32,
    /// Of one address, a minute.
    pub per_address: u32,
    /// Of either, an hour, whatever the class.
    pub per_hour: u32,
}

impl Limits {
    /// A tenant's limits for a class, raised to the installation's floor.
    pub fn of(policy: &RateLimitPolicy, class: Class, floor: Option<u32>) -> Self {
        let (per_user, per_address) = match class {
            Class::Auth => (policy.auth_per_user, policy.auth_per_address),
            // Many people may sign in behind one address; each has their own window.
            Class::Mfa => (policy.mfa, policy.auth_per_address),
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
pub struct Counted {
    /// The limits it was counted under.
    pub limits: Limits,
    /// The tighter window of the minute.
    pub minute: Left,
    /// The limit of that window.
    pub minute_limit: u32,
    /// The tighter window of the hour.
    pub hour: Left,
}

/// A sign-in's own window beside the address's: the name that is tried.
#[derive(Clone, Copy, Debug)]
pub struct SignIn {
    /// The tenant.
    pub tenant: Uuid,
    /// SHA-256 over the normalised name or the token's text.
    pub hash: [u8; 32],
}

/// A name as it is counted before anybody knows whether it exists.
pub fn tried_name(typed: &str) -> String {
    typed.trim().to_lowercase()
}

/// Counts a request of somebody unknown.
pub async fn count_address(
    limiter: &Limiter,
    limits: Limits,
    address: Option<IpAddr>,
    now_ms: i64,
) -> Verdict {
    let subject = Subject::address(address);
    let windows = [limits.minute(subject, limits.per_address), limits.hour(subject)];
    let verdict = limiter.hit(&windows, now_ms).await;
    let [minute, hour] = verdict.left;
    let counted = Counted { limits, minute, minute_limit: limits.per_address, hour };
    (counted, verdict.retry_after_s)
}

/// Counts a request of somebody known, under their name and their address.
pub async fn count_user(
    limiter: &Limiter,
    limits: Limits,
    context: &OpContext,
    now_ms: i64,
) -> Verdict {
    let user = Subject::User { tenant: context.tenant_id(), user: context.actor.id };
    count_both(limiter, limits, user, context.request.ip, now_ms).await
}

/// Counts a sign-in, under the name tried and its address.
pub async fn count_sign_in(
    limiter: &Limiter,
    limits: Limits,
    sign_in: SignIn,
    address: Option<IpAddr>,
    now_ms: i64,
) -> Verdict {
    let name = Subject::Name { tenant: sign_in.tenant, hash: sign_in.hash };
    count_both(limiter, limits, name, address, now_ms).await
}

async fn count_both(
    limiter: &Limiter,
    limits: Limits,
    who: Subject,
    address: Option<IpAddr>,
    now_ms: i64,
) -> Verdict {
    let subject = Subject::address(address);
    let windows = [
        limits.minute(who, limits.per_user),
        limits.minute(subject, limits.per_address),
        limits.hour(who),
        limits.hour(subject),
    ];
    let verdict = limiter.hit(&windows, now_ms).await;
    let [user, address, user_hour, address_hour] = verdict.left;
    let by_user = user.remaining <= address.remaining;
    let counted = Counted {
        limits,
        minute: if by_user { user } else { address },
        minute_limit: if by_user { limits.per_user } else { limits.per_address },
        hour: tighter(user_hour, address_hour),
    };
    (counted, verdict.retry_after_s)
}

fn tighter(left: Left, right: Left) -> Left {
    if left.remaining <= right.remaining { left } else { right }
}

impl Limits {
    fn minute(&self, subject: Subject, limit: u32) -> (Key, Quota) {
        (Key { subject, class: self.class }, Quota { limit, period_s: MINUTE_S })
    }

    fn hour(&self, subject: Subject) -> (Key, Quota) {
        (Key { subject, class: OVERALL }, Quota { limit: self.per_hour, period_s: HOUR_S })
    }
}
