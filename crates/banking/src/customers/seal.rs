//! Personal data to sealed columns and back. Owns which column is sealed for what
//! cell and which blind index stands beside it; the cryptography is the vault's.

use jiff::civil::Date;
use tenancy::{
    DbError,
    keyring::{KeyringError, TenantKeys},
};
use tokio_postgres::{Row, types::ToSql};
use uuid::Uuid;
use vault::DataKey;

use super::model::{NewCustomer, PersonalData};
use crate::text::{normal_email, normal_tax_id};

const TABLE: &str = "customers";

/// The sealed columns of one customer.
#[derive(Default)]
pub(crate) struct SealedColumns {
    pub(crate) first_name: Option<Vec<u8>>,
    pub(crate) last_name: Option<Vec<u8>>,
    pub(crate) company_name: Option<Vec<u8>>,
    pub(crate) email: Option<Vec<u8>>,
    pub(crate) email_index: Option<Vec<u8>>,
    pub(crate) phone: Option<Vec<u8>>,
    pub(crate) phone_index: Option<Vec<u8>>,
    pub(crate) date_of_birth: Option<Vec<u8>>,
    pub(crate) tax_id: Option<Vec<u8>>,
    pub(crate) tax_id_index: Option<Vec<u8>>,
}

/// Sealed customers as the arrays of one insert.
#[derive(Default)]
pub(crate) struct Columns {
    ids: Vec<Uuid>,
    types: Vec<&'static str>,
    sealed: [Vec<Option<Vec<u8>>>; 10],
    users: Vec<Option<Uuid>>,
}

impl Columns {
    pub(crate) fn push(&mut self, id: Uuid, customer: &NewCustomer, sealed: SealedColumns) {
        self.ids.push(id);
        self.types.push(customer.customer_type.as_str());
        self.users.push(customer.user_id);
        let values = [
            sealed.first_name,
            sealed.last_name,
            sealed.company_name,
            sealed.email,
            sealed.email_index,
            sealed.phone,
            sealed.phone_index,
            sealed.date_of_birth,
            sealed.tax_id,
            sealed.tax_id_index,
        ];
        for (column, value) in self.sealed.iter_mut().zip(values) {
            column.push(value);
        }
    }

    /// In the order of the statement: tenant, id, type, the sealed ones, user.
    pub(crate) fn parameters<'a>(&'a self, tenant: &'a Uuid) -> Vec<&'a (dyn ToSql + Sync)> {
        let mut parameters: Vec<&(dyn ToSql + Sync)> = vec![tenant, &self.ids, &self.types];
        for column in &self.sealed {
            parameters.push(column);
        }
        parameters.push(&self.users);
        parameters
    }
}

/// The blind index of an e-mail address.
pub(crate) fn email_index(keys: &TenantKeys, email: &str) -> Vec<u8> {
    vault::blind_index(keys.index(), "customers.email", &normal_email(email)).to_vec()
}

/// The blind indexes that an e-mail address may be stored under.
pub(crate) fn email_indexes(keys: &TenantKeys, email: &str) -> Vec<Vec<u8>> {
    keys.indexes("customers.email", &normal_email(email))
}

/// The blind indexes that a telephone number may be stored under.
pub(crate) fn phone_indexes(keys: &TenantKeys, phone: &str) -> Vec<Vec<u8>> {
    keys.indexes("customers.phone", phone)
}

/// The blind index of a telephone number.
pub(crate) fn phone_index(keys: &TenantKeys, phone: &str) -> Vec<u8> {
    vault::blind_index(keys.index(), "customers.phone", phone).to_vec()
}

/// The blind indexes that a tax number may be stored under.
pub(crate) fn tax_id_indexes(keys: &TenantKeys, tax_id: &str) -> Vec<Vec<u8>> {
    keys.indexes("customers.tax_id", &normal_tax_id(tax_id))
}

/// The blind index of a tax number.
pub(crate) fn tax_id_index(keys: &TenantKeys, tax_id: &str) -> Vec<u8> {
    vault::blind_index(keys.index(), "customers.tax_id", &normal_tax_id(tax_id)).to_vec()
}

/// Seals everything for the row `id` under the customer's own key.
pub(crate) fn seal(
    keys: &TenantKeys,
    subject: &DataKey,
    id: Uuid,
    personal: &PersonalData,
) -> Result<SealedColumns, KeyringError> {
    let one = |column: &str, value: Option<&str>| {
        value.map(|text| keys.seal(subject, (TABLE, column, id), text)).transpose()
    };
    let born = personal.date_of_birth.map(|date| date.to_string());
    Ok(SealedColumns {
        first_name: one("first_name", personal.first_name.as_deref())?,
        last_name: one("last_name", personal.last_name.as_deref())?,
        company_name: one("company_name", personal.company_name.as_deref())?,
        email: one("email", personal.email.as_deref())?,
        email_index: personal.email.as_deref().map(|email| email_index(keys, email)),
        phone: one("phone", personal.phone.as_deref())?,
        phone_index: personal.phone.as_deref().map(|phone| phone_index(keys, phone)),
        date_of_birth: one("date_of_birth", born.as_deref())?,
        tax_id: one("tax_id", personal.tax_id.as_deref())?,
        tax_id_index: personal.tax_id.as_deref().map(|tax_id| tax_id_index(keys, tax_id)),
    })
}

/// The key that a row's statement joined (`key_id, kek_epoch, wrapped_key`).
pub(crate) fn subject_key(keys: &TenantKeys, row: &Row) -> Result<DataKey, KeyringError> {
    let key_id = row.try_get("key_id").map_err(DbError::from)?;
    let kek_epoch = row.try_get("kek_epoch").map_err(DbError::from)?;
    keys.open_subject_key(key_id, kek_epoch, row.try_get("wrapped_key").map_err(DbError::from)?)
}

/// Opens everything of a row. An erased person has an empty record; anything else
/// that does not open is an error that says so.
pub(crate) fn open(keys: &TenantKeys, row: &Row) -> Result<PersonalData, KeyringError> {
    let subject = match subject_key(keys, row) {
        Err(KeyringError::Shredded) => return Ok(PersonalData::default()),
        other => other?,
    };
    let id: Uuid = row.try_get("id").map_err(DbError::from)?;
    let one = |column: &str| -> Result<Option<String>, KeyringError> {
        let sealed: Option<Vec<u8>> = row.try_get(column).map_err(DbError::from)?;
        sealed.map(|bytes| keys.open(&subject, (TABLE, column, id), bytes)).transpose()
    };
    let born = one("date_of_birth")?.map(|text| text.parse::<Date>()).transpose();
    Ok(PersonalData {
        first_name: one("first_name")?,
        last_name: one("last_name")?,
        company_name: one("company_name")?,
        email: one("email")?,
        phone: one("phone")?,
        date_of_birth: born.map_err(|error| DbError::Corrupt(format!("date of birth: {error}")))?,
        tax_id: one("tax_id")?,
    })
}
