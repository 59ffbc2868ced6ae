//! What is sealed of notices.

use tenancy::cells::{Cell, KeyClass, Reseal, Sealed};

const BY_PERSON: KeyClass = KeyClass::SubjectOrTenant("user_id");

const RECIPIENT: Reseal = Reseal {
    behind: tenancy::sql!("notify/cells.sql", "recipient_behind"),
    page: tenancy::sql!("notify/cells.sql", "recipient_page"),
    write: tenancy::sql!("notify/cells.sql", "recipient_write"),
};

const VALUES: Reseal = Reseal {
    behind: tenancy::sql!("notify/cells.sql", "values_behind"),
    page: tenancy::sql!("notify/cells.sql", "values_page"),
    write: tenancy::sql!("notify/cells.sql", "values_write"),
};

/// Of notices: whom they go to and what they say.
pub const SEALED: Sealed = Sealed {
    cells: &[
        Cell::new("notices", "recipient_sealed", BY_PERSON).resealed_by(RECIPIENT),
        Cell::new("notices", "values_sealed", BY_PERSON).resealed_by(VALUES),
    ],
    inventory: tenancy::sql!("notify/cells.sql", "inventory"),
};
