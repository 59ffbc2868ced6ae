//! What is sealed under which keys, counted from the headers of what is stored; and the
//! generations of those keys.
//!
//! Refuses to know which columns those are: every domain names its own
//! ([`tenancy::cells::Sealed`]). The inventory reads every sealed value there is: whoever
//! offers it to requests sees to it that few are under way.

use access::{Permission, Scope};
use serde::Serialize;
use tenancy::{Database, DbError, OpContext, Query, cells::Sealed};
use tokio_postgres::{Row, types::ToSql};
use uuid::Uuid;

use crate::{Found, View, read::ViewFailure};

const GENERATIONS: &str = tenancy::sql!("tenancy/keyring.sql", "key_generations");

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

/// The generations of the keys that can be rotated.
#[derive(Debug)]
pub struct KeyGenerations;

/// One of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct KeyGeneration {
    /// What the key is for: `tenant_kek`, `field_kek` or `field_data`.
    pub purpose: String,
    /// Its number.
    pub epoch: i32,
    /// Its id, as headers of sealed values name it.
    pub key_id: Uuid,
    /// `active`, `retired` or `destroyed`.
    pub status: String,
    /// When it was made.
    pub created_at: jiff::Timestamp,
    /// Since when nothing new is sealed or wrapped by it.
    pub retired_at: Option<jiff::Timestamp>,
    /// Since when it opens nothing.
    pub destroyed_at: Option<jiff::Timestamp>,
    /// How many keys it wraps still; none where it seals values.
    pub wrapped_keys: Option<i64>,
}

impl KeyGeneration {
    fn read(row: &Row) -> Result<Self, DbError> {
        Ok(Self {
            purpose: row.try_get("purpose")?,
            epoch: row.try_get("epoch")?,
            key_id: row.try_get("key_id")?,
            status: row.try_get("status")?,
            created_at: row.try_get("created_at")?,
            retired_at: row.try_get("retired_at")?,
            destroyed_at: row.try_get("destroyed_at")?,
            wrapped_keys: row.try_get("wrapped_keys")?,
        })
    }
}

impl View for KeyGenerations {
    const NAME: &'static str = "key.generations";
    const RESOURCE: &'static str = "data_key";
    type Output = Vec<KeyGeneration>;

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
        let rows = database.read(context, &[Query::new(GENERATIONS, &[&tenant])]).await?;
        let rows = rows.iter().flatten();
        let value = rows.map(KeyGeneration::read).collect::<Result<Vec<_>, _>>()?;
        let count = value.len();
        Ok(Found::List { value, count })
    }
}
