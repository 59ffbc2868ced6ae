//! What is sealed of notices.

use tenancy::cells::{Cell, KeyClass, Sealed};

const BY_PERSON: KeyClass = KeyClass::SubjectOrTenant("user_id");

/// Of notices: whom they go to and what they say.
pub const SEALED: Sealed = Sealed {
    cells: &[
        Cell::new("notices", "recipient_sealed", BY_PERSON),
        Cell::new("notices", "values_sealed", BY_PERSON),
    ],
    inventory: tenancy::sql!("notify/cells.sql", "inventory"),
};
