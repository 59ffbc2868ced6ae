//! What is sealed of people: their names and addresses, their factors, what they asked for.

use tenancy::cells::{Cell, KeyClass, Meaning, Reindex, Sealed};

use crate::users::email_key;

const SELF: KeyClass = KeyClass::Subject("id");
const OWNER: KeyClass = KeyClass::Subject("user_id");

const EMAIL: Meaning = Meaning { domain: "users.email", normal: email_key };
const PHONE: Meaning = Meaning { domain: "users.phone", normal: str::to_owned };

const BY_EMAIL: Reindex = Reindex {
    behind: tenancy::sql!("identity/cells.sql", "email_index_behind"),
    page: tenancy::sql!("identity/cells.sql", "email_index_page"),
    write: tenancy::sql!("identity/cells.sql", "email_index_write"),
};
const BY_PHONE: Reindex = Reindex {
    behind: tenancy::sql!("identity/cells.sql", "phone_index_behind"),
    page: tenancy::sql!("identity/cells.sql", "phone_index_page"),
    write: tenancy::sql!("identity/cells.sql", "phone_index_write"),
};

/// Of people and their factors.
pub const SEALED: Sealed = Sealed {
    cells: &[
        Cell::new("users", "email_sealed", SELF)
            .found_by("email_index", &[EMAIL])
            .reindexed_by(BY_EMAIL),
        Cell::new("users", "phone_sealed", SELF)
            .found_by("phone_index", &[PHONE])
            .reindexed_by(BY_PHONE),
        Cell::new("users", "full_name_sealed", SELF),
        Cell::new("one_time_tokens", "payload_sealed", OWNER)
            .found_by("payload_index", &[EMAIL, PHONE]),
        Cell::new("mfa_configs", "secret_sealed", OWNER),
        Cell::new("webauthn_credentials", "name_sealed", OWNER),
    ],
    inventory: tenancy::sql!("identity/cells.sql", "inventory"),
};
