//! What is sealed of customers.

use tenancy::cells::{Cell, KeyClass, Meaning, Reindex, Sealed};

use crate::text::{normal_email, normal_tax_id};

const SELF: KeyClass = KeyClass::Subject("id");

const EMAIL: Meaning = Meaning { domain: "customers.email", normal: normal_email };
const PHONE: Meaning = Meaning { domain: "customers.phone", normal: str::to_owned };
const TAX_ID: Meaning = Meaning { domain: "customers.tax_id", normal: normal_tax_id };

const BY_EMAIL: Reindex = Reindex {
    behind: tenancy::sql!("banking/cells.sql", "email_index_behind"),
    page: tenancy::sql!("banking/cells.sql", "email_index_page"),
    write: tenancy::sql!("banking/cells.sql", "email_index_write"),
};
const BY_PHONE: Reindex = Reindex {
    behind: tenancy::sql!("banking/cells.sql", "phone_index_behind"),
    page: tenancy::sql!("banking/cells.sql", "phone_index_page"),
    write: tenancy::sql!("banking/cells.sql", "phone_index_write"),
};
const BY_TAX_ID: Reindex = Reindex {
    behind: tenancy::sql!("banking/cells.sql", "tax_id_index_behind"),
    page: tenancy::sql!("banking/cells.sql", "tax_id_index_page"),
    write: tenancy::sql!("banking/cells.sql", "tax_id_index_write"),
};

/// Of customers: who they are and how they are reached.
pub const SEALED: Sealed = Sealed {
    cells: &[
        Cell::new("customers", "first_name", SELF),
        Cell::new("customers", "last_name", SELF),
        Cell::new("customers", "company_name", SELF),
        Cell::new("customers", "email", SELF)
            .found_by("email_index", &[EMAIL])
            .reindexed_by(BY_EMAIL),
        Cell::new("customers", "phone", SELF)
            .found_by("phone_index", &[PHONE])
            .reindexed_by(BY_PHONE),
        Cell::new("customers", "date_of_birth", SELF),
        Cell::new("customers", "tax_id", SELF)
            .found_by("tax_id_index", &[TAX_ID])
            .reindexed_by(BY_TAX_ID),
    ],
    inventory: tenancy::sql!("banking/cells.sql", "inventory"),
};
