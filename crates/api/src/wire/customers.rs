//! Customers on the wire: the record, and the personal data that is sealed at rest.

use banking::{
    Customer as Opened, CustomerChange, CustomerRecord as Stored, CustomerStatus, CustomerType,
    NewCustomer, PersonalData,
};
use jiff::civil::Date;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use super::{EXAMPLE_ID, EXAMPLE_INSTANT, OTHER_ID, instant, present};
use crate::openapi_parts::Example;

/// A customer without what is sealed.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct CustomerRecord {
    /// Its id.
    pub(crate) id: Uuid,
    /// `individual` or `business`.
    pub(crate) customer_type: String,
    /// The login of this customer.
    pub(crate) user_id: Option<Uuid>,
    /// `not_started` until there is a know-your-customer record.
    pub(crate) kyc_status: String,
    /// `active` or `inactive`.
    pub(crate) status: String,
    /// Counts changes; its `ETag`.
    pub(crate) version: i64,
    /// When it was made.
    pub(crate) created_at: String,
    /// When it last changed.
    pub(crate) updated_at: String,
}

impl From<Stored> for CustomerRecord {
    fn from(record: Stored) -> Self {
        Self {
            id: record.id,
            customer_type: record.customer_type.to_string(),
            user_id: record.user_id,
            kyc_status: record.kyc_status,
            status: record.status.to_string(),
            version: record.version,
            created_at: instant(record.created_at),
            updated_at: instant(record.updated_at),
        }
    }
}

impl Example for CustomerRecord {
    fn example() -> Self {
        Self {
            id: EXAMPLE_ID,
            customer_type: "individual".to_owned(),
            user_id: Some(OTHER_ID),
            kyc_status: "not_started".to_owned(),
            status: "active".to_owned(),
            version: 1,
            created_at: EXAMPLE_INSTANT.to_owned(),
            updated_at: EXAMPLE_INSTANT.to_owned(),
        }
    }
}

/// A customer, opened: every look at it is recorded.
#[derive(Serialize, ToSchema)]
pub(crate) struct Customer {
    /// Its id.
    pub(crate) id: Uuid,
    /// `individual` or `business`.
    pub(crate) customer_type: String,
    /// Given name.
    pub(crate) first_name: Option<String>,
    /// Family name.
    pub(crate) last_name: Option<String>,
    /// Of a business.
    pub(crate) company_name: Option<String>,
    /// E-mail address.
    pub(crate) email: Option<String>,
    /// E.164.
    pub(crate) phone: Option<String>,
    /// ISO 8601.
    pub(crate) date_of_birth: Option<String>,
    /// Tax id.
    pub(crate) tax_id: Option<String>,
    /// The login of this customer.
    pub(crate) user_id: Option<Uuid>,
    /// `not_started` until there is a know-your-customer record.
    pub(crate) kyc_status: String,
    /// `active` or `inactive`.
    pub(crate) status: String,
    /// Counts changes; its `ETag`.
    pub(crate) version: i64,
    /// When it was made.
    pub(crate) created_at: String,
    /// When it last changed.
    pub(crate) updated_at: String,
}

impl Customer {
    pub(crate) fn of(record: Stored, personal: PersonalData) -> Self {
        let record = CustomerRecord::from(record);
        Self {
            id: record.id,
            customer_type: record.customer_type,
            first_name: personal.first_name,
            last_name: personal.last_name,
            company_name: personal.company_name,
            email: personal.email,
            phone: personal.phone,
            date_of_birth: personal.date_of_birth.map(|date| date.to_string()),
            tax_id: personal.tax_id,
            user_id: record.user_id,
            kyc_status: record.kyc_status,
            status: record.status,
            version: record.version,
            created_at: record.created_at,
            updated_at: record.updated_at,
        }
    }
}

impl From<Opened> for Customer {
    fn from(customer: Opened) -> Self {
        Self::of(customer.record, customer.personal)
    }
}

impl Example for Customer {
    fn example() -> Self {
        let record = CustomerRecord::example();
        Self {
            id: record.id,
            customer_type: record.customer_type,
            first_name: Some("Jana".to_owned()),
            last_name: Some("Nováková".to_owned()),
            company_name: None,
            email: Some("jana@bank.example".to_owned()),
            phone: Some("+420601123456".to_owned()),
            date_of_birth: Some("1990-04-17".to_owned()),
            tax_id: None,
            user_id: record.user_id,
            kyc_status: record.kyc_status,
            status: record.status,
            version: record.version,
            created_at: record.created_at,
            updated_at: record.updated_at,
        }
    }
}

/// A customer to be recorded.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct CreateCustomer {
    /// `individual` or `business`.
    #[schema(value_type = String)]
    customer_type: CustomerType,
    /// Given name; an individual's is required.
    #[serde(default)]
    first_name: Option<String>,
    /// Family name; an individual's is required.
    #[serde(default)]
    last_name: Option<String>,
    /// A business's is required.
    #[serde(default)]
    company_name: Option<String>,
    /// E-mail address.
    #[serde(default)]
    email: Option<String>,
    /// E.164.
    #[serde(default)]
    phone: Option<String>,
    /// ISO 8601.
    #[serde(default)]
    #[schema(value_type = Option<String>, format = Date)]
    date_of_birth: Option<Date>,
    /// Unique in the tenant.
    #[serde(default)]
    tax_id: Option<String>,
    /// The login of this customer.
    #[serde(default)]
    user_id: Option<Uuid>,
}

impl From<CreateCustomer> for NewCustomer {
    fn from(new: CreateCustomer) -> Self {
        Self {
            customer_type: new.customer_type,
            personal: PersonalData {
                first_name: new.first_name,
                last_name: new.last_name,
                company_name: new.company_name,
                email: new.email,
                phone: new.phone,
                date_of_birth: new.date_of_birth,
                tax_id: new.tax_id,
            },
            user_id: new.user_id,
        }
    }
}

/// What may be changed of a customer; what is absent stays, null removes. People may
/// change their own e-mail and phone.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ChangeCustomer {
    /// Given name.
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<String>)]
    first_name: Option<Option<String>>,
    /// Family name.
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<String>)]
    last_name: Option<Option<String>>,
    /// Of a business.
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<String>)]
    company_name: Option<Option<String>>,
    /// E-mail address.
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<String>)]
    email: Option<Option<String>>,
    /// E.164.
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<String>)]
    phone: Option<Option<String>>,
    /// ISO 8601.
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<String>, format = Date)]
    date_of_birth: Option<Option<Date>>,
    /// Unique in the tenant.
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<String>)]
    tax_id: Option<Option<String>>,
    /// The login of this customer.
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<Uuid>)]
    user_id: Option<Option<Uuid>>,
    /// `active` or `inactive`.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    status: Option<CustomerStatus>,
}

impl From<ChangeCustomer> for CustomerChange {
    fn from(change: ChangeCustomer) -> Self {
        Self {
            first_name: change.first_name,
            last_name: change.last_name,
            company_name: change.company_name,
            email: change.email,
            phone: change.phone,
            date_of_birth: change.date_of_birth,
            tax_id: change.tax_id,
            user_id: change.user_id,
            status: change.status,
        }
    }
}
