//! The names of a few customers at once, for lists of what belongs to them. A command,
//! as every look at personal data is: one record for all of them.

use std::{collections::HashMap, sync::Arc};

use access::{Permission, Resource, Scope};
use audit::EventType;
use operation::{Applied, Command, Operations, Target, command::Outcome, event};
use serde_json::json;
use tenancy::{DbError, OpContext, TenantTx, keyring::Keyring};
use tokio_postgres::types::ToSql;
use uuid::Uuid;

use super::{PersonalData, read::opened};

const BY_ID: &str = tenancy::sql!("banking/parties.sql", "customers_by_id");

/// Opens the names of customers by their ids: of those that the actor may read, by id.
/// Answers 200. Give it no idempotency key: nothing of the answer may be stored.
#[derive(Clone, Debug)]
pub struct NameCustomers {
    keyring: Arc<Keyring>,
    scope: Scope,
    customer_ids: Vec<Uuid>,
}

impl NameCustomers {
    /// The names as far as the actor's policy reaches.
    pub fn new(
        operations: &Operations,
        context: &OpContext,
        keyring: Arc<Keyring>,
        mut customer_ids: Vec<Uuid>,
    ) -> Self {
        let scope = operations.scope(context, Permission::CustomerRead);
        customer_ids.sort_unstable();
        customer_ids.dedup();
        Self { keyring, scope, customer_ids }
    }
}

impl Command for NameCustomers {
    const NAME: &'static str = "customer.name";
    const RESOURCE: &'static str = "customer";
    type Output = HashMap<Uuid, String>;

    fn permission(&self) -> Permission {
        Permission::CustomerRead
    }

    async fn target(
        &self,
        _transaction: &TenantTx,
        _context: &OpContext,
    ) -> Result<Target, DbError> {
        // Whatever is opened lies within the scope, so it is the actor's to see.
        let resource = Resource::for_permission(Permission::CustomerRead, None);
        Ok(Target::Object {
            resource: resource.owned(true),
            read_permission: Permission::CustomerRead,
            field: None,
        })
    }

    async fn execute(
        &self,
        transaction: &TenantTx,
        context: &OpContext,
    ) -> Outcome<HashMap<Uuid, String>> {
        let keys = self.keyring.tenant_in(transaction).await.map_err(DbError::from)?;
        let actor = (!self.scope.is_all()).then_some(context.actor.id);
        let parameters: [&(dyn ToSql + Sync); 3] =
            [&transaction.tenant(), &self.customer_ids, &actor];
        let mut names = HashMap::new();
        for row in transaction.query(BY_ID, &parameters).await? {
            let customer = opened(&keys, &row)?;
            names.insert(customer.record.id, customer.personal.display_name());
        }
        let mut shown: Vec<Uuid> = names.keys().copied().collect();
        shown.sort_unstable();
        let seen = event(context, EventType::DataQuery, Self::NAME, Self::RESOURCE)
            .personal_fields()
            .details(json!({ "count": shown.len(), "customer_ids": shown }));
        Ok(Applied { output: names, status: 200, events: vec![seen] })
    }
}

impl PersonalData {
    /// How the customer is called: the company, or the whole name; empty where nothing of
    /// it is left.
    pub fn display_name(&self) -> String {
        if let Some(company) = &self.company_name {
            return company.clone();
        }
        let parts = [self.first_name.as_deref(), self.last_name.as_deref()];
        parts.into_iter().flatten().collect::<Vec<_>>().join(" ")
    }
}
