//! What an account, a customer or a hold is to somebody, or was at a moment that is past: the
//! facts by which commands and views decide, for whoever explains a decision. Refuses to decide,
//! and to show more of the object than that.

use access::{Permission, Resource, ResourceKind};
use jiff::Timestamp;
use tenancy::{Database, DbError, OpContext, Query};
use tokio_postgres::types::ToSql;
use uuid::Uuid;

const ACCOUNT: &str = tenancy::sql!("banking/accounts.sql", "facts");
const CUSTOMER: &str = tenancy::sql!("banking/customers.sql", "facts");
const HOLD: &str = tenancy::sql!("banking/holds.sql", "facts");
const ACCOUNT_AT: &str = tenancy::sql!("banking/accounts.sql", "facts_at");
const CUSTOMER_AT: &str = tenancy::sql!("banking/customers.sql", "facts_at");
const HOLD_AT: &str = tenancy::sql!("banking/holds.sql", "facts_at");

/// The facts of one object about one person; none where there is no such object, or where
/// it is of a kind that is not the bank's.
pub async fn resource_for(
    database: &Database,
    context: &OpContext,
    (kind, id): (ResourceKind, Uuid),
    (permission, person): (Permission, Uuid),
) -> Result<Option<Resource<'static>>, DbError> {
    let tenant = context.tenant_id();
    let (objects, people) = ([id], [person]);
    let several: [&(dyn ToSql + Sync); 3] = [&tenant, &objects.as_slice(), &people.as_slice()];
    let one: [&(dyn ToSql + Sync); 3] = [&tenant, &id, &person];
    let query = match kind {
        ResourceKind::Account => Query::new(ACCOUNT, &several),
        ResourceKind::Customer => Query::new(CUSTOMER, &one),
        ResourceKind::Hold => Query::new(HOLD, &several),
        _ => return Ok(None),
    };
    told(database, context, query, (kind, id, permission)).await
}

/// The same as they were at a moment that is past; none as well where the object was not there
/// yet.
pub async fn resource_at(
    database: &Database,
    context: &OpContext,
    (kind, id): (ResourceKind, Uuid),
    (permission, person): (Permission, Uuid),
    at: Timestamp,
) -> Result<Option<Resource<'static>>, DbError> {
    let statement = match kind {
        ResourceKind::Account => ACCOUNT_AT,
        ResourceKind::Customer => CUSTOMER_AT,
        ResourceKind::Hold => HOLD_AT,
        _ => return Ok(None),
    };
    let tenant = context.tenant_id();
    let parameters: [&(dyn ToSql + Sync); 4] = [&tenant, &id, &person, &at];
    told(database, context, Query::new(statement, &parameters), (kind, id, permission)).await
}

async fn told(
    database: &Database,
    context: &OpContext,
    query: Query<'_>,
    (kind, id, permission): (ResourceKind, Uuid, Permission),
) -> Result<Option<Resource<'static>>, DbError> {
    let rows = database.look_up(context, query).await?;
    let Some(row) = rows.first() else { return Ok(None) };
    let owned: bool = row.try_get("owned")?;
    let held = match kind {
        ResourceKind::Hold => row.try_get("held")?,
        // Whoever is a party to an account holds it; of a transfer it is the credited one
        // that counts, and that is not among the facts of the debited one.
        ResourceKind::Account => owned && permission != Permission::TransactionCreate,
        _ => false,
    };
    Ok(Some(Resource::new(kind, Some(id)).owned(owned).held(held)))
}
