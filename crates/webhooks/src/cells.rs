//! What is sealed of webhooks: the secrets, under the tenant's own key.

use tenancy::cells::{Cell, KeyClass, Reseal, Sealed};

pub(crate) const TABLE: &str = "webhook_endpoints";
pub(crate) const SECRET: &str = "secret_sealed";
pub(crate) const PREVIOUS_SECRET: &str = "previous_secret_sealed";

const RESEAL_SECRET: Reseal = Reseal {
    behind: tenancy::sql!("webhooks/cells.sql", "secret_behind"),
    page: tenancy::sql!("webhooks/cells.sql", "secret_page"),
    write: tenancy::sql!("webhooks/cells.sql", "secret_write"),
};

const RESEAL_PREVIOUS: Reseal = Reseal {
    behind: tenancy::sql!("webhooks/cells.sql", "previous_secret_behind"),
    page: tenancy::sql!("webhooks/cells.sql", "previous_secret_page"),
    write: tenancy::sql!("webhooks/cells.sql", "previous_secret_write"),
};

/// Of endpoints: what they and we share.
pub const SEALED: Sealed = Sealed {
    cells: &[
        Cell::new(TABLE, SECRET, KeyClass::Tenant).resealed_by(RESEAL_SECRET),
        Cell::new(TABLE, PREVIOUS_SECRET, KeyClass::Tenant).resealed_by(RESEAL_PREVIOUS),
    ],
    inventory: tenancy::sql!("webhooks/cells.sql", "inventory"),
};
