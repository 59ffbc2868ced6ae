//! What is sealed of webhooks: the secrets, under the tenant's own key.

use tenancy::cells::{Cell, KeyClass, Sealed};

pub(crate) const TABLE: &str = "webhook_endpoints";
pub(crate) const SECRET: &str = "secret_sealed";
pub(crate) const PREVIOUS_SECRET: &str = "previous_secret_sealed";

/// Of endpoints: what they and we share.
pub const SEALED: Sealed = Sealed {
    cells: &[
        Cell::new(TABLE, SECRET, KeyClass::Tenant),
        Cell::new(TABLE, PREVIOUS_SECRET, KeyClass::Tenant),
    ],
    inventory: tenancy::sql!("webhooks/cells.sql", "inventory"),
};
