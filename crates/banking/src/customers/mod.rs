//! The bank's customers: recording, changing, and looking at them.
//!
//! Every name, address and number of theirs is sealed under a key of their own.
//! Looking at them is therefore a command as well: what opens personal data leaves
//! an audit record, one a page.

mod model;
mod names;
mod read;
mod seal;

use std::sync::Arc;

use access::{Permission, Resource};
use audit::EventType;
use operation::{Applied, Command, Failure, Refusal, Target, command::Outcome, event};
use serde_json::{Value, json};
use tenancy::{
    DbError, OpContext, TenantTx,
    keyring::{Keyring, TenantKeys, store_subject_keys},
};
use tokio_postgres::{Row, types::ToSql};
use uuid::Uuid;
use vault::DataKey;

pub use model::{
    Customer, CustomerChange, CustomerRecord, CustomerStatus, CustomerType, NewCustomer,
    PersonalData,
};
pub use names::NameCustomers;
pub use read::{CustomerFilter, CustomerPage, ListCustomers, ReadCustomer};

use self::seal::Columns;
use crate::{accounts::version_conflict, movements::business_date};

const INSERT: &str = tenancy::sql!("banking/customers.sql", "insert_customers");
const CLAIM_TAX_IDS: &str = tenancy::sql!("banking/customers.sql", "claim_tax_ids");
const FACTS: &str = tenancy::sql!("banking/customers.sql", "facts");
const FOR_UPDATE: &str = tenancy::sql!("banking/customers.sql", "customer_for_update");
const SAVE: &str = tenancy::sql!("banking/customers.sql", "save_customer");

/// Records a customer. Answers 201 with what is not sealed: an answer is stored
/// with its idempotency key, and personal data is stored nowhere in the clear.
#[derive(Clone, Debug)]
pub struct CreateCustomer {
    /// Opens the tenant's keys.
    pub keyring: Arc<Keyring>,
    /// Whom to record.
    pub customer: NewCustomer,
}

/// Changes a customer. People may change their own contact details and no more.
#[derive(Clone, Debug)]
pub struct UpdateCustomer {
    /// Opens the tenant's keys.
    pub keyring: Arc<Keyring>,
    /// Whom (from the path).
    pub customer_id: Uuid,
    /// The version that the change was made on (`If-Match`); none for any.
    pub expected_version: Option<i64>,
    /// What to change.
    pub change: CustomerChange,
}

impl Command for CreateCustomer {
    const NAME: &'static str = "customer.create";
    const RESOURCE: &'static str = "customer";
    type Output = CustomerRecord;

    /// A login over the record is power over its money, and is given by whoever
    /// gives out logins; in every blueprint they record customers as well.
    fn permission(&self) -> Permission {
        match self.customer.user_id {
            Some(_) => Permission::CustomerLink,
            None => Permission::CustomerCreate,
        }
    }

    fn fingerprint(&self) -> Value {
        json!({
            "customer_type": self.customer.customer_type,
            "user_id": self.customer.user_id,
            "personal": self.customer.personal,
        })
    }

    async fn execute(
        &self,
        transaction: &TenantTx,
        context: &OpContext,
    ) -> Outcome<CustomerRecord> {
        let new = &self.customer;
        check_link(context, None, new.user_id)?;
        new.personal.check(new.customer_type, business_date(context)?)?;
        let keys = self.keyring.tenant_in(transaction).await.map_err(DbError::from)?;
        let stored = store(transaction, context, &keys, std::slice::from_ref(new)).await?.pop();
        let record =
            stored.ok_or_else(|| DbError::Corrupt("an insert returned nothing".to_owned()))?;
        let created = event(context, EventType::DataModification, Self::NAME, Self::RESOURCE)
            .resource_id(record.id)
            .personal_fields()
            .new_values(unsealed(&record))
            .details(json!({ "sealed_fields": new.personal.present() }))
            .at_version(record.version);
        Ok(Applied { output: record, status: 201, events: vec![created] })
    }
}

/// Puts customers into the table, sealed, each under a new key of their own; two
/// round trips. For commands that have checked what they record.
pub async fn store(
    transaction: &TenantTx,
    context: &OpContext,
    keys: &TenantKeys,
    customers: &[NewCustomer],
) -> Result<Vec<CustomerRecord>, Failure> {
    let mut columns = Columns::default();
    let mut subjects: Vec<(Uuid, DataKey)> = Vec::with_capacity(customers.len());
    for customer in customers {
        let id = context.clock.new_id();
        let subject = keys.make_subject_key().map_err(DbError::from)?;
        let sealed = seal::seal(keys, &subject, id, &customer.personal).map_err(DbError::from)?;
        columns.push(id, customer, sealed);
        subjects.push((id, subject));
    }
    let by_subject: Vec<(Uuid, &DataKey)> = subjects.iter().map(|(id, key)| (*id, key)).collect();
    store_subject_keys(transaction, keys, &by_subject).await.map_err(DbError::from)?;
    let persons: Vec<(Uuid, &PersonalData)> =
        subjects.iter().zip(customers).map(|((id, _), new)| (*id, &new.personal)).collect();
    claim_tax_ids(transaction, keys, &persons).await.map_err(refuse_taken)?;
    let rows = transaction
        .query(INSERT, &columns.parameters(&transaction.tenant()))
        .await
        .map_err(refuse_taken)?;
    let mut records = Vec::with_capacity(customers.len());
    for ((row, (id, _)), customer) in rows.iter().zip(&subjects).zip(customers) {
        records.push(new_record(row, *id, customer)?);
    }
    Ok(records)
}

/// Sees to it that the tax numbers are nobody else's under any generation of the index key.
async fn claim_tax_ids(
    transaction: &TenantTx,
    keys: &TenantKeys,
    customers: &[(Uuid, &PersonalData)],
) -> Result<(), DbError> {
    let tax_ids = customers.iter().filter_map(|(_, personal)| personal.tax_id.as_deref());
    let indexes: Vec<_> = tax_ids.flat_map(|tax_id| seal::tax_id_indexes(keys, tax_id)).collect();
    if indexes.is_empty() {
        return Ok(());
    }
    let ids: Vec<Uuid> = customers.iter().map(|(id, _)| *id).collect();
    transaction.execute(CLAIM_TAX_IDS, &[&ids, &indexes]).await?;
    Ok(())
}

fn new_record(row: &Row, id: Uuid, customer: &NewCustomer) -> Result<CustomerRecord, DbError> {
    Ok(CustomerRecord {
        id,
        customer_type: customer.customer_type,
        user_id: customer.user_id,
        kyc_status: "not_started".to_owned(),
        status: CustomerStatus::Active,
        version: 1,
        created_at: row.try_get("created_at")?,
        updated_at: row.try_get("updated_at")?,
    })
}

impl Command for UpdateCustomer {
    const NAME: &'static str = "customer.update";
    const RESOURCE: &'static str = "customer";
    type Output = CustomerRecord;

    /// As [`CreateCustomer`]'s: naming a login, or removing it, is another power.
    fn permission(&self) -> Permission {
        match self.change.user_id {
            Some(_) => Permission::CustomerLink,
            None => Permission::CustomerUpdate,
        }
    }

    async fn target(&self, transaction: &TenantTx, context: &OpContext) -> Result<Target, DbError> {
        customer_target(transaction, context, self.customer_id).await
    }

    async fn execute(
        &self,
        transaction: &TenantTx,
        context: &OpContext,
    ) -> Outcome<CustomerRecord> {
        let keys = self.keyring.tenant_in(transaction).await.map_err(DbError::from)?;
        let parameters: [&(dyn ToSql + Sync); 2] = [&transaction.tenant(), &self.customer_id];
        let row =
            transaction.query_opt(FOR_UPDATE, &parameters).await?.ok_or_else(Refusal::not_found)?;
        let before = CustomerRecord::from_row(&row)?;
        self.check(context, &before)?;
        let subject = seal::subject_key(&keys, &row).map_err(DbError::from)?;
        let was = seal::open(&keys, &row).map_err(DbError::from)?;
        let personal = self.change.applied_to(&was);
        personal.check(before.customer_type, business_date(context)?)?;
        let after = self
            .save(transaction, &keys, &subject, &before, &personal)
            .await
            .map_err(refuse_taken)?;
        let sealed_fields = personal.differences(&was);
        let record = event(context, EventType::DataModification, Self::NAME, Self::RESOURCE)
            .resource_id(self.customer_id)
            .old_values(unsealed(&before))
            .new_values(unsealed(&after))
            .details(json!({ "sealed_fields": sealed_fields }))
            .personal_fields()
            .at_version(after.version);
        Ok(Applied { output: after, status: 200, events: vec![record] })
    }
}

impl UpdateCustomer {
    fn check(&self, context: &OpContext, before: &CustomerRecord) -> Result<(), Refusal> {
        if self.expected_version.is_some_and(|expected| expected != before.version) {
            return Err(version_conflict());
        }
        let self_service = before.user_id == Some(context.actor.id);
        match self.change.beyond_contact_details() {
            Some(field) if self_service => {
                let detail =
                    "People change their own e-mail and telephone only; staff change the rest";
                Err(Refusal::rule("contact_details_only", field, detail))
            }
            _ => match self.change.user_id {
                Some(login) => check_link(context, before.user_id, login),
                None => Ok(()),
            },
        }
    }

    async fn save(
        &self,
        transaction: &TenantTx,
        keys: &TenantKeys,
        subject: &DataKey,
        before: &CustomerRecord,
        personal: &PersonalData,
    ) -> Result<CustomerRecord, DbError> {
        let sealed = seal::seal(keys, subject, before.id, personal)?;
        claim_tax_ids(transaction, keys, &[(before.id, personal)]).await?;
        let user_id = self.change.user_id.unwrap_or(before.user_id);
        let status = self.change.status.unwrap_or(before.status);
        let row = transaction
            .query_opt(
                SAVE,
                &[
                    &transaction.tenant(),
                    &before.id,
                    &sealed.first_name,
                    &sealed.last_name,
                    &sealed.company_name,
                    &sealed.email,
                    &sealed.email_index,
                    &sealed.phone,
                    &sealed.phone_index,
                    &sealed.date_of_birth,
                    &sealed.tax_id,
                    &sealed.tax_id_index,
                    &user_id,
                    &status.as_str(),
                ],
            )
            .await?;
        let row = row.ok_or_else(|| DbError::Corrupt("a locked customer is gone".to_owned()))?;
        Ok(CustomerRecord {
            user_id,
            status,
            version: row.try_get("version")?,
            updated_at: row.try_get("updated_at")?,
            ..before.clone()
        })
    }
}

/// Whether a record may pass from the login `before` to the login `next`: never to
/// the actor's own, and to another only after the old one was removed, so that a
/// take-over is two records in the log. The system itself may.
fn check_link(
    context: &OpContext,
    before: Option<Uuid>,
    next: Option<Uuid>,
) -> Result<(), Refusal> {
    let Some(login) = next.filter(|_| !context.actor.is_system()) else { return Ok(()) };
    if login == context.actor.id {
        let detail = "Nobody makes their own login a customer's";
        return Err(Refusal::rule("own_login", "user_id", detail));
    }
    if before.is_some_and(|linked| linked != login) {
        let detail = "The customer has another login, which has to be removed first";
        return Err(Refusal::rule("user_linked", "user_id", detail));
    }
    Ok(())
}

/// The facts of a decision on a customer that the path names.
async fn customer_target(
    transaction: &TenantTx,
    context: &OpContext,
    customer_id: Uuid,
) -> Result<Target, DbError> {
    let parameters: [&(dyn ToSql + Sync); 3] =
        [&transaction.tenant(), &customer_id, &context.actor.id];
    let Some(row) = transaction.query_opt(FACTS, &parameters).await? else {
        return Ok(Target::Missing { field: None });
    };
    let resource = Resource::for_permission(Permission::CustomerRead, Some(customer_id));
    Ok(Target::Object {
        resource: resource.owned(row.try_get("owned")?),
        read_permission: Permission::CustomerRead,
        field: None,
    })
}

/// What an audit record may show of a customer.
fn unsealed(record: &CustomerRecord) -> Value {
    json!({
        "customer_type": record.customer_type,
        "user_id": record.user_id,
        "kyc_status": record.kyc_status,
        "status": record.status,
        "version": record.version,
    })
}

/// Constraints that a request can run into, in its own words.
fn refuse_taken(error: DbError) -> Failure {
    match error.constraint() {
        Some("customers_user_fkey") => Refusal::invisible("user_id").into(),
        Some("customers_one_per_user") => {
            Refusal::rule("user_taken", "user_id", "This login belongs to another customer").into()
        }
        Some("customers_one_per_tax_id") => {
            Refusal::rule("tax_id_taken", "tax_id", "Another customer has this tax number").into()
        }
        _ => error.into(),
    }
}
