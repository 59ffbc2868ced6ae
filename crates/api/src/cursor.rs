//! Owns the cursor: a list's position under a MAC, so that a client can neither
//! edit it nor use it under another name, on another list or with other filters.
//!
//! Refuses to know what a position means; it is not secret, only genuine.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Serialize;
use tenancy::OpContext;
use vault::MacKey;

use crate::problem::Problem;

const MAC_BYTES: usize = 32;
/// No position of ours comes near it.
const MAXIMUM_LETTERS: usize = 1_024;
const DOMAIN: &str = "page-cursor";

/// What a cursor is good for: one tenant and principal, one list, one set of filters.
pub(crate) struct Binding {
    message: Vec<u8>,
}

impl Binding {
    /// Binds to the caller, the route's template and the filters without the page.
    pub(crate) fn new(context: &OpContext, route: &str, filters: &impl Serialize) -> Self {
        let filters = serde_json::to_vec(filters).unwrap_or_default();
        let mut message = Vec::with_capacity(64 + route.len() + filters.len());
        message.extend_from_slice(context.tenant_id().as_bytes());
        message.extend_from_slice(context.actor.id.as_bytes());
        for part in [route.as_bytes(), &filters] {
            // Lengths in front, so that no two bindings are written alike.
            message.extend_from_slice(&u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
            message.extend_from_slice(part);
        }
        Self { message }
    }

    /// The cursor for a position.
    pub(crate) fn seal(&self, key: &MacKey, position: &str) -> String {
        let mac = key.sign(DOMAIN, &self.with(position.as_bytes()));
        URL_SAFE_NO_PAD.encode([mac.as_slice(), position.as_bytes()].concat())
    }

    /// The position in a cursor; 400 `invalid_cursor` for every other text.
    pub(crate) fn open(&self, key: &MacKey, cursor: &str) -> Result<String, Problem> {
        if cursor.len() > MAXIMUM_LETTERS {
            return Err(invalid());
        }
        let bytes = URL_SAFE_NO_PAD.decode(cursor).map_err(|_| invalid())?;
        let (mac, position) = bytes.split_at_checked(MAC_BYTES).ok_or_else(invalid)?;
        if !key.verify(DOMAIN, &self.with(position), mac) {
            return Err(invalid());
        }
        String::from_utf8(position.to_vec()).map_err(|_| invalid())
    }

    fn with(&self, position: &[u8]) -> Vec<u8> {
        [self.message.as_slice(), position].concat()
    }
}

fn invalid() -> Problem {
    let detail = "The cursor does not belong to this list: begin again without one";
    Problem::malformed("invalid_cursor", detail)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::sync::Arc;

    use proptest::prelude::*;
    use serde_json::json;
    use tenancy::{Actor, Blueprint, Clock, OpContext, TenantId, TenantRef};
    use uuid::Uuid;
    use vault::{MacKey, Purpose, TenantKey as _};

    use super::Binding;

    fn key() -> MacKey {
        MacKey::generate(Uuid::from_u128(1), Purpose::Cursor, 1).unwrap()
    }

    fn context(tenant: u128, user: u128) -> OpContext {
        let tenant = TenantRef {
            id: TenantId(Uuid::from_u128(tenant)),
            slug: "bank".to_owned(),
            blueprint: Blueprint::CoreBank,
            modules: Vec::new(),
            time_zone: "UTC".to_owned(),
        };
        let mut context =
            OpContext::system(Arc::new(tenant), tenancy::ActorKind::Worker, Clock::System);
        context.actor = Actor::user(Uuid::from_u128(user), Vec::new());
        context
    }

    proptest! {
        #[test]
        fn opens_to_what_was_sealed(position in ".{0,80}") {
            let (key, binding) = (key(), Binding::new(&context(1, 2), "/v1/accounts", &json!({})));
            prop_assert_eq!(binding.open(&key, &binding.seal(&key, &position)).unwrap(), position);
        }

        #[test]
        fn no_edit_survives(position in "[a-z0-9|-]{1,40}", at in any::<prop::sample::Index>(), letter in "[A-Za-z0-9_-]") {
            let (key, binding) = (key(), Binding::new(&context(1, 2), "/v1/accounts", &json!({})));
            let sealed = binding.seal(&key, &position);
            let at = at.index(sealed.len());
            let edited = format!("{}{letter}{}", &sealed[..at], &sealed[at + 1..]);
            prop_assert_eq!(binding.open(&key, &edited).is_ok(), edited == sealed);
        }
    }

    #[test]
    fn belongs_to_one_tenant_principal_route_and_filter() {
        let key = key();
        let of =
            |tenant, user, route, filters| Binding::new(&context(tenant, user), route, &filters);
        let cursor = of(1, 2, "/v1/accounts", json!({"status": null})).seal(&key, "7");
        let others = [
            of(9, 2, "/v1/accounts", json!({"status": null})),
            of(1, 9, "/v1/accounts", json!({"status": null})),
            of(1, 2, "/v1/customers", json!({"status": null})),
            of(1, 2, "/v1/accounts", json!({"status": "active"})),
        ];
        for other in others {
            let problem = other.open(&key, &cursor).unwrap_err();
            assert_eq!((problem.status.as_u16(), problem.code.as_ref()), (400, "invalid_cursor"));
        }
        for wrong in ["", "AA", "not base64!", &"A".repeat(5_000)] {
            assert!(of(1, 2, "/v1/accounts", json!({})).open(&key, wrong).is_err());
        }
    }
}
