//! Owns what handlers share. Cheap to clone; put together by the composition root.

use std::{ops::Deref, sync::Arc};

use banking::{HoldGroups, movements::CreateTransfer};
use explain::Explainer;
use hotstate::limiter::Limiter;
use identity::Identity;
use operation::{Group, Operations};
use tenancy::{
    Blueprint, Clock,
    directory::Directory,
    keyring::Keyring,
    policy::{RateLimitPolicy, SecurityPolicy},
};
use webhooks::Webhooks;

use crate::{ApiConfig, floods::Floods, route::RouteIndex};

/// The parts that the composition root brings.
pub struct ApiParts {
    /// Runs every command and read, under the app role.
    pub operations: Operations,
    /// Transfers, several to a transaction.
    pub transfers: Group<CreateTransfer>,
    /// Holds and their captures, the same.
    pub holds: HoldGroups,
    /// People, sessions and tokens.
    pub identity: Identity,
    /// Where tenants' other systems are told.
    pub webhooks: Webhooks,
    /// The tenants.
    pub directory: Directory,
    /// The tenants' keys: here for cursors only.
    pub keyring: Arc<Keyring>,
    /// What time it is.
    pub clock: Clock,
    /// The rate windows.
    pub rates: Arc<Limiter>,
    /// Settings.
    pub config: ApiConfig,
}

/// What handlers share.
#[derive(Clone)]
pub struct ApiState(Arc<Shared>);

/// Everything behind an [`ApiState`].
pub struct Shared {
    parts: ApiParts,
    pub(crate) index: RouteIndex,
    /// The limits of requests whose tenant is not known.
    pub(crate) base_limits: RateLimitPolicy,
    pub(crate) document: String,
    pub(crate) floods: Floods,
}

impl ApiState {
    /// Puts the parts together.
    pub fn new(parts: ApiParts) -> Self {
        let index = RouteIndex::of(&crate::routes::table());
        let base_limits = SecurityPolicy::of(Blueprint::Standard).rate_limits;
        let document = crate::openapi().to_json().unwrap_or_default();
        Self(Arc::new(Shared { parts, index, base_limits, document, floods: Floods::default() }))
    }

    /// Explains decisions.
    pub(crate) fn explainer(&self) -> Explainer {
        Explainer::new(self.operations.clone(), self.identity.clone())
    }
}

impl Deref for ApiState {
    type Target = Shared;

    fn deref(&self) -> &Shared {
        &self.0
    }
}

impl Deref for Shared {
    type Target = ApiParts;

    fn deref(&self) -> &ApiParts {
        &self.parts
    }
}

impl Shared {
    /// Milliseconds since 1970, for the rate windows.
    pub(crate) fn now_ms(&self) -> i64 {
        self.clock.now().as_millisecond()
    }
}
