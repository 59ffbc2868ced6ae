//! What a customer is: types and pure rules, no I/O.

use jiff::{Timestamp, civil::Date};
use operation::{FieldError, Refusal};
use serde::{Deserialize, Serialize};
use tenancy::DbError;
use tokio_postgres::Row;
use uuid::Uuid;

use crate::{
    accounts::parsed_by_name,
    text::{check_email, check_name, check_phone, check_tax_id, fault},
};

/// A person or a company.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CustomerType {
    /// A person: first and last name.
    Individual,
    /// A company: company name; names are of whom to talk to.
    Business,
}

impl CustomerType {
    /// Every type.
    pub const ALL: [Self; 2] = [Self::Individual, Self::Business];

    /// The name on the wire and in the database.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Individual => "individual",
            Self::Business => "business",
        }
    }
}

/// Whether the bank deals with a customer. Legal transitions: active ↔ inactive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CustomerStatus {
    /// It does.
    Active,
    /// No new accounts.
    Inactive,
}

impl CustomerStatus {
    /// Every status.
    pub const ALL: [Self; 2] = [Self::Active, Self::Inactive];

    /// The name on the wire and in the database.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Inactive => "inactive",
        }
    }
}
parsed_by_name!(CustomerType, CustomerStatus);

/// What is known of a customer without opening anything.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CustomerRecord {
    /// Its id; also the subject whose key seals the personal data.
    pub id: Uuid,
    /// A person or a company.
    pub customer_type: CustomerType,
    /// The login of this customer, if any.
    pub user_id: Option<Uuid>,
    /// `not_started` until there is a know-your-customer record.
    pub kyc_status: String,
    /// Whether the bank deals with them.
    pub status: CustomerStatus,
    /// Counts changes: the `ETag`.
    pub version: i64,
    /// When the record was made.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
}

impl CustomerRecord {
    pub(crate) fn from_row(row: &Row) -> Result<Self, DbError> {
        Ok(Self {
            id: row.try_get("id")?,
            customer_type: row.try_get::<_, &str>("customer_type")?.parse()?,
            user_id: row.try_get("user_id")?,
            kyc_status: row.try_get("kyc_status")?,
            status: row.try_get::<_, &str>("status")?.parse()?,
            version: row.try_get("version")?,
            created_at: row.try_get("created_at")?,
            updated_at: row.try_get("updated_at")?,
        })
    }
}

/// What is sealed. Its debug form shows which fields are there, never a value.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PersonalData {
    /// Given name.
    pub first_name: Option<String>,
    /// Family name.
    pub last_name: Option<String>,
    /// Of a business.
    pub company_name: Option<String>,
    /// As it was given; looked up without regard to case.
    pub email: Option<String>,
    /// E.164.
    pub phone: Option<String>,
    /// Of an individual.
    pub date_of_birth: Option<Date>,
    /// As it was given; unique in the tenant without regard to case and separators.
    pub tax_id: Option<String>,
}

impl std::fmt::Debug for PersonalData {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("PersonalData")
            .field("present", &self.present())
            .finish_non_exhaustive()
    }
}

impl PersonalData {
    /// The names of the fields that have a value.
    pub fn present(&self) -> Vec<&'static str> {
        [
            ("first_name", self.first_name.is_some()),
            ("last_name", self.last_name.is_some()),
            ("company_name", self.company_name.is_some()),
            ("email", self.email.is_some()),
            ("phone", self.phone.is_some()),
            ("date_of_birth", self.date_of_birth.is_some()),
            ("tax_id", self.tax_id.is_some()),
        ]
        .into_iter()
        .filter_map(|(name, present)| present.then_some(name))
        .collect()
    }

    /// The names of the fields that differ.
    pub(crate) fn differences(&self, other: &Self) -> Vec<&'static str> {
        [
            ("first_name", self.first_name != other.first_name),
            ("last_name", self.last_name != other.last_name),
            ("company_name", self.company_name != other.company_name),
            ("email", self.email != other.email),
            ("phone", self.phone != other.phone),
            ("date_of_birth", self.date_of_birth != other.date_of_birth),
            ("tax_id", self.tax_id != other.tax_id),
        ]
        .into_iter()
        .filter_map(|(name, differs)| differs.then_some(name))
        .collect()
    }

    /// What a record of this type must have, and the form of what it has.
    pub fn check(&self, customer_type: CustomerType, today: Date) -> Result<(), Refusal> {
        let mut faults = self.missing(customer_type);
        let mut note = |check: Result<(), FieldError>| faults.extend(check.err());
        let names = [
            ("first_name", &self.first_name),
            ("last_name", &self.last_name),
            ("company_name", &self.company_name),
        ];
        for (field, value) in names {
            if let Some(value) = value {
                note(check_name(field, value));
            }
        }
        if let Some(email) = &self.email {
            note(check_email("email", email));
        }
        if let Some(phone) = &self.phone {
            note(check_phone("phone", phone));
        }
        if let Some(tax_id) = &self.tax_id {
            note(check_tax_id("tax_id", tax_id));
        }
        if let Some(born) = self.date_of_birth
            && (born > today || born.year() < 1850)
        {
            note(Err(fault("date_of_birth", "out_of_range", "Must lie between 1850 and today")));
        }
        if faults.is_empty() { Ok(()) } else { Err(Refusal::validation(faults)) }
    }

    fn missing(&self, customer_type: CustomerType) -> Vec<FieldError> {
        let required = |field| fault(field, "required", "Must be given");
        let surplus = |field| fault(field, "not_applicable", "Only a business has a company name");
        match customer_type {
            CustomerType::Individual => [
                self.first_name.is_none().then(|| required("first_name")),
                self.last_name.is_none().then(|| required("last_name")),
                self.company_name.is_some().then(|| surplus("company_name")),
            ]
            .into_iter()
            .flatten()
            .collect(),
            CustomerType::Business => {
                self.company_name.is_none().then(|| required("company_name")).into_iter().collect()
            }
        }
    }
}

/// A customer, opened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Customer {
    /// What is not sealed.
    #[serde(flatten)]
    pub record: CustomerRecord,
    /// What was.
    #[serde(flatten)]
    pub personal: PersonalData,
}

/// A customer to be recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewCustomer {
    /// A person or a company.
    pub customer_type: CustomerType,
    /// What will be sealed.
    pub personal: PersonalData,
    /// The login of this customer, if any.
    pub user_id: Option<Uuid>,
}

/// What may be changed of a customer; what is `None` stays, `Some(None)` removes.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct CustomerChange {
    /// Given name.
    pub first_name: Option<Option<String>>,
    /// Family name.
    pub last_name: Option<Option<String>>,
    /// Of a business.
    pub company_name: Option<Option<String>>,
    /// As it was given.
    pub email: Option<Option<String>>,
    /// E.164.
    pub phone: Option<Option<String>>,
    /// Of an individual.
    pub date_of_birth: Option<Option<Date>>,
    /// As it was given.
    pub tax_id: Option<Option<String>>,
    /// The login of this customer.
    pub user_id: Option<Option<Uuid>>,
    /// Whether the bank deals with them.
    pub status: Option<CustomerStatus>,
}

impl std::fmt::Debug for CustomerChange {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("CustomerChange")
            .field("status", &self.status)
            .finish_non_exhaustive()
    }
}

impl CustomerChange {
    /// The personal data with this change.
    pub(crate) fn applied_to(&self, personal: &PersonalData) -> PersonalData {
        fn next<T: Clone>(change: Option<&Option<T>>, now: Option<&T>) -> Option<T> {
            change.map_or_else(|| now.cloned(), Clone::clone)
        }
        PersonalData {
            first_name: next(self.first_name.as_ref(), personal.first_name.as_ref()),
            last_name: next(self.last_name.as_ref(), personal.last_name.as_ref()),
            company_name: next(self.company_name.as_ref(), personal.company_name.as_ref()),
            email: next(self.email.as_ref(), personal.email.as_ref()),
            phone: next(self.phone.as_ref(), personal.phone.as_ref()),
            date_of_birth: next(self.date_of_birth.as_ref(), personal.date_of_birth.as_ref()),
            tax_id: next(self.tax_id.as_ref(), personal.tax_id.as_ref()),
        }
    }

    /// The first field that people may not change of themselves: all but how to
    /// reach them, for the rest was checked against documents.
    pub(crate) fn beyond_contact_details(&self) -> Option<&'static str> {
        [
            ("first_name", self.first_name.is_some()),
            ("last_name", self.last_name.is_some()),
            ("company_name", self.company_name.is_some()),
            ("date_of_birth", self.date_of_birth.is_some()),
            ("tax_id", self.tax_id.is_some()),
            ("user_id", self.user_id.is_some()),
            ("status", self.status.is_some()),
        ]
        .into_iter()
        .find_map(|(name, given)| given.then_some(name))
    }
}

#[cfg(test)]
mod tests {
    use super::{CustomerChange, CustomerType, PersonalData};

    fn person() -> PersonalData {
        PersonalData {
            first_name: Some("Jana".to_owned()),
            last_name: Some("Nováková".to_owned()),
            ..PersonalData::default()
        }
    }

    #[test]
    fn personal_data_is_checked_by_type() {
        let today = jiff::civil::date(2026, 1, 1);
        let company =
            PersonalData { company_name: Some("Pekárna".to_owned()), ..PersonalData::default() };
        let with = |change: fn(&mut PersonalData)| {
            let mut personal = person();
            change(&mut personal);
            personal
        };
        let table = [
            (CustomerType::Individual, person(), None),
            (CustomerType::Business, company.clone(), None),
            (CustomerType::Individual, company, Some("first_name")),
            (CustomerType::Business, person(), Some("company_name")),
            (
                CustomerType::Individual,
                with(|data| data.email = Some("x".to_owned())),
                Some("email"),
            ),
            (
                CustomerType::Individual,
                with(|data| data.phone = Some("1".to_owned())),
                Some("phone"),
            ),
            (
                CustomerType::Individual,
                with(|data| data.date_of_birth = Some(jiff::civil::date(2026, 1, 2))),
                Some("date_of_birth"),
            ),
        ];
        for (customer_type, personal, field) in table {
            let refused = personal.check(customer_type, today).err();
            let refused = refused.map(|refusal| refusal.errors[0].field.clone());
            assert_eq!(refused.as_deref(), field, "{customer_type} {personal:?}");
        }
    }

    #[test]
    fn debug_output_names_fields_and_shows_no_values() {
        let shown = format!("{:?}", person());
        assert!(shown.contains("first_name") && !shown.contains("Jana"), "{shown}");
    }

    #[test]
    fn a_change_keeps_what_it_does_not_name() {
        let change =
            CustomerChange { email: Some(Some("j@n.cz".to_owned())), ..CustomerChange::default() };
        let changed = change.applied_to(&person());
        assert_eq!(changed.differences(&person()), ["email"]);
        assert_eq!(change.beyond_contact_details(), None);
        let removed = CustomerChange { email: Some(None), ..CustomerChange::default() };
        assert_eq!(removed.applied_to(&changed), person());
    }
}
