//! Owns what pages share. Cheap to clone; put together by the composition root.

use std::{ops::Deref, sync::Arc};

use banking::movements::CreateTransfer;
use hotstate::{
    limiter::Limiter,
    limits::{Class, Limits},
};
use identity::Identity;
use operation::{Group, Operations};
use tenancy::{
    Blueprint, Clock,
    directory::Directory,
    keyring::Keyring,
    policy::{RateLimitPolicy, SecurityPolicy},
};
use webhooks::Webhooks;

/// The parts that the composition root brings; the same ones that the API has.
pub struct ConsoleParts {
    /// Runs every command and read, under the app role.
    pub operations: Operations,
    /// Transfers, several to a transaction.
    pub transfers: Group<CreateTransfer>,
    /// People and sessions.
    pub identity: Identity,
    /// The tenants.
    pub directory: Directory,
    /// The tenants' keys: for cursors, and for commands that open personal data.
    pub keyring: Arc<Keyring>,
    /// Where other systems are told what happened.
    pub webhooks: Webhooks,
    /// What time it is.
    pub clock: Clock,
    /// The rate windows, shared with the API: one budget.
    pub rates: Arc<Limiter>,
    /// Raises every limit to at least this many a minute; development only.
    pub rate_limit_floor_per_minute: Option<u32>,
    /// Scheme and authority under which people reach us, without a trailing slash.
    pub public_url: String,
    /// Names of hosts, without a port, under which we are served besides; requests for
    /// others are refused before they come here. Empty: any name reaches us.
    pub allowed_hosts: Vec<String>,
    /// What `/docs` shows: the OpenAPI document, read.
    pub reference: Arc<crate::Reference>,
    /// How long a request may take in all.
    pub request_timeout_ms: u64,
}

/// What pages share.
#[derive(Clone)]
pub struct Console(Arc<Shared>);

/// Everything behind a [`Console`].
struct Shared {
    parts: ConsoleParts,
    base_limits: RateLimitPolicy,
}

impl Console {
    /// Puts the parts together.
    pub fn new(parts: ConsoleParts) -> Self {
        let base_limits = SecurityPolicy::of(Blueprint::Standard).rate_limits;
        Self(Arc::new(Shared { parts, base_limits }))
    }

    /// The limits of a class: a tenant's where one is known.
    pub(crate) fn limits(&self, policy: Option<&RateLimitPolicy>, class: Class) -> Limits {
        let policy = policy.unwrap_or(&self.0.base_limits);
        Limits::of(policy, class, self.rate_limit_floor_per_minute)
    }

    /// Milliseconds since 1970, for the rate windows.
    pub(crate) fn now_ms(&self) -> i64 {
        self.clock.now().as_millisecond()
    }
}

impl Deref for Console {
    type Target = ConsoleParts;

    fn deref(&self) -> &ConsoleParts {
        &self.0.parts
    }
}
