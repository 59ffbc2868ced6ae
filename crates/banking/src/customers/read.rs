//! Looking at customers. Commands and not views: each opens personal data, and
//! each page leaves one record that says so.

use std::sync::Arc;

use access::{Permission, Resource, Scope};
use audit::EventType;
use operation::{
    Applied, Command, Operations, Page, PageRequest, Refusal, Target, command::Outcome, event,
};
use serde::{Deserialize, Serialize};
use serde_json::json;
use tenancy::{
    DbError, OpContext, TenantTx,
    keyring::{Keyring, TenantKeys},
};
use tokio_postgres::{Row, types::ToSql};
use uuid::Uuid;

use super::{Customer, CustomerRecord, CustomerStatus, CustomerType, customer_target, seal};
use crate::paging::Position;

const CUSTOMER: &str = tenancy::sql!("banking/customers.sql", "customer");
const LIST_ALL: &str = tenancy::sql!("banking/customers.sql", "list_all");
const LIST_OWN: &str = tenancy::sql!("banking/customers.sql", "list_own");
const LIST_BY_EMAIL: &str = tenancy::sql!("banking/customers.sql", "list_by_email");
const LIST_BY_PHONE: &str = tenancy::sql!("banking/customers.sql", "list_by_phone");

/// One customer, opened. Answers 200. Give it no idempotency key: nothing of the
/// answer may be stored.
#[derive(Clone, Debug)]
pub struct ReadCustomer {
    /// Opens the tenant's keys.
    pub keyring: Arc<Keyring>,
    /// Whom (from the path).
    pub customer_id: Uuid,
}

/// Which customers of a list; what is `None` does not narrow it.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct CustomerFilter {
    /// With this e-mail address, whatever its case.
    pub email: Option<String>,
    /// With this telephone number (E.164).
    pub phone: Option<String>,
    /// In this status.
    pub status: Option<CustomerStatus>,
    /// Persons or companies.
    pub customer_type: Option<CustomerType>,
}

impl std::fmt::Debug for CustomerFilter {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("CustomerFilter").field("fields", &self.fields()).finish()
    }
}

impl CustomerFilter {
    /// The names of the filters that are set: what a record may say of them.
    fn fields(&self) -> Vec<&'static str> {
        [
            ("email", self.email.is_some()),
            ("phone", self.phone.is_some()),
            ("status", self.status.is_some()),
            ("customer_type", self.customer_type.is_some()),
        ]
        .into_iter()
        .filter_map(|(name, set)| set.then_some(name))
        .collect()
    }
}

/// A page of customers, the newest first, then by id.
#[derive(Clone, Debug)]
pub struct ListCustomers {
    keyring: Arc<Keyring>,
    scope: Scope,
    filter: CustomerFilter,
    page: PageRequest,
}

/// What [`ListCustomers`] answers.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct CustomerPage {
    /// The customers, opened.
    pub data: Vec<Customer>,
    /// The position of the last one, where more follow.
    pub next: Option<String>,
    /// How many there are, where that was asked for and they are not too many.
    pub total: Option<usize>,
}

impl ListCustomers {
    /// The list as far as the actor's policy reaches: the scope is taken from it
    /// here and applied in SQL.
    pub fn new(
        operations: &Operations,
        context: &OpContext,
        keyring: Arc<Keyring>,
        filter: CustomerFilter,
        page: PageRequest,
    ) -> Self {
        let scope = operations.scope(context, Permission::CustomerRead);
        Self { keyring, scope, filter, page }
    }

    async fn rows(
        &self,
        transaction: &TenantTx,
        context: &OpContext,
        keys: &TenantKeys,
    ) -> Result<Vec<Row>, operation::Failure> {
        let bound = Position::of(&self.page)?;
        let tenant = transaction.tenant();
        let fetch = self.page.fetch();
        let status = self.filter.status.map(CustomerStatus::as_str);
        let customer_type = self.filter.customer_type.map(CustomerType::as_str);
        let email = self.filter.email.as_deref().map(|email| seal::email_indexes(keys, email));
        let phone = self.filter.phone.as_deref().map(|phone| seal::phone_indexes(keys, phone));
        let common: [&(dyn ToSql + Sync); 6] =
            [&tenant, &bound.created_at, &bound.id, &fetch, &status, &customer_type];
        let rows = match (self.scope.is_all(), &email, &phone) {
            (false, _, _) => {
                transaction
                    .query(LIST_OWN, &[&common[..], &[&context.actor.id, &email, &phone]].concat())
                    .await?
            }
            (true, Some(_), _) => {
                transaction.query(LIST_BY_EMAIL, &[&common[..], &[&email, &phone]].concat()).await?
            }
            (true, None, Some(_)) => {
                transaction.query(LIST_BY_PHONE, &[&common[..], &[&phone]].concat()).await?
            }
            (true, None, None) => transaction.query(LIST_ALL, &common).await?,
        };
        Ok(rows)
    }
}

impl Command for ReadCustomer {
    const NAME: &'static str = "customer.read";
    const RESOURCE: &'static str = "customer";
    type Output = Customer;

    fn permission(&self) -> Permission {
        Permission::CustomerRead
    }

    async fn target(&self, transaction: &TenantTx, context: &OpContext) -> Result<Target, DbError> {
        customer_target(transaction, context, self.customer_id).await
    }

    async fn execute(&self, transaction: &TenantTx, context: &OpContext) -> Outcome<Customer> {
        let keys = self.keyring.tenant_in(transaction).await.map_err(DbError::from)?;
        let parameters: [&(dyn ToSql + Sync); 2] = [&transaction.tenant(), &self.customer_id];
        let row =
            transaction.query_opt(CUSTOMER, &parameters).await?.ok_or_else(Refusal::not_found)?;
        let customer = opened(&keys, &row)?;
        let seen = event(context, EventType::DataAccess, Self::NAME, Self::RESOURCE)
            .resource_id(self.customer_id)
            .personal_fields()
            .details(json!({ "sealed_fields": customer.personal.present() }));
        Ok(Applied { output: customer, status: 200, events: vec![seen] })
    }
}

impl Command for ListCustomers {
    const NAME: &'static str = "customer.list";
    const RESOURCE: &'static str = "customer";
    type Output = CustomerPage;

    fn permission(&self) -> Permission {
        Permission::CustomerRead
    }

    async fn target(
        &self,
        _transaction: &TenantTx,
        _context: &OpContext,
    ) -> Result<Target, DbError> {
        // Whatever the list shows lies within the scope, so it is the actor's to see.
        let resource = Resource::for_permission(Permission::CustomerRead, None);
        Ok(Target::Object {
            resource: resource.owned(true),
            read_permission: Permission::CustomerRead,
            field: None,
        })
    }

    async fn execute(&self, transaction: &TenantTx, context: &OpContext) -> Outcome<CustomerPage> {
        let keys = self.keyring.tenant_in(transaction).await.map_err(DbError::from)?;
        let rows = self.rows(transaction, context, &keys).await?;
        let customers: Vec<Customer> =
            rows.iter().map(|row| opened(&keys, row)).collect::<Result<_, _>>()?;
        let page = Page::of(customers, &self.page, |last| {
            Position::text(last.record.created_at, last.record.id)
        });
        let shown: Vec<Uuid> = page.data.iter().map(|customer| customer.record.id).collect();
        let seen = event(context, EventType::DataQuery, Self::NAME, Self::RESOURCE)
            .personal_fields()
            .details(json!({ "filters": self.filter.fields(), "count": shown.len(), "customer_ids": shown }));
        let output = CustomerPage { data: page.data, next: page.next, total: page.total };
        Ok(Applied { output, status: 200, events: vec![seen] })
    }
}

pub(super) fn opened(keys: &TenantKeys, row: &Row) -> Result<Customer, DbError> {
    let record = CustomerRecord::from_row(row)?;
    let personal = seal::open(keys, row).map_err(|error| match DbError::from(error) {
        DbError::Corrupt(what) => DbError::Corrupt(format!("customer {}: {what}", record.id)),
        other => other,
    })?;
    Ok(Customer { record, personal })
}
