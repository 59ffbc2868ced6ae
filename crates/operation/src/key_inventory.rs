//! What is sealed under which keys, counted from the headers of what is stored.
//!
//! Refuses to know which columns those are: every domain names its own
//! ([`tenancy::cells::Sealed`]). Reads every sealed value there is, so it is for an
//! operator who asks and never for a request.

use access::{Permission, Scope};
use serde::Serialize;
use tenancy::{Database, DbError, OpContext, Query, cells::Sealed};
use tokio_postgres::{Row, types::ToSql};

use crate::{Found, View, read::ViewFailure};

/// The inventory of a tenant.
#[derive(Debug)]
pub struct KeyInventory {
    /// What the domains seal.
    pub sealed: &'static [Sealed],
}

/// What stands in one column under one generation of keys.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct InventoryLine {
    /// The table.
    pub table: String,
    /// The sealed column.
    pub column: String,
    /// What the keys are for; `unknown` where a header names a key that the tenant has not.
    pub purpose: String,
    /// Their generation; of data subjects' keys, that of the KEK which wraps them.
    pub epoch: Option<i32>,
    /// `active`, `retired`, `destroyed` (closed for good) or `unknown`.
    pub status: String,
    /// How many keys.
    pub keys: i64,
    /// How many values.
    pub values: i64,
}

impl InventoryLine {
    fn read(row: &Row) -> Result<Self, DbError> {
        Ok(Self {
            table: row.try_get("table_name")?,
            column: row.try_get("column_name")?,
            purpose: row.try_get("purpose")?,
            epoch: row.try_get("epoch")?,
            status: row.try_get("status")?,
            keys: row.try_get("key_count")?,
            values: row.try_get("value_count")?,
        })
    }
}

impl View for KeyInventory {
    const NAME: &'static str = "key.inventory";
    const RESOURCE: &'static str = "data_key";
    type Output = Vec<InventoryLine>;

    fn permission(&self) -> Permission {
        Permission::KeyRead
    }

    async fn load(
        &self,
        database: &Database,
        context: &OpContext,
        _: Scope,
    ) -> Result<Found<Self::Output>, ViewFailure> {
        let tenant = context.tenant_id();
        let parameters: [&(dyn ToSql + Sync); 1] = [&tenant];
        let queries: Vec<Query<'_>> =
            self.sealed.iter().map(|one| Query::new(one.inventory, &parameters)).collect();
        let mut lines = Vec::new();
        for rows in database.read(context, &queries).await? {
            for row in &rows {
                lines.push(InventoryLine::read(row)?);
            }
        }
        let count = lines.len();
        Ok(Found::List { value: lines, count })
    }
}
