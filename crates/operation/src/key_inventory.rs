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

const PROGRESS: &str = tenancy::sql!("tenancy/resealing.sql", "progress");
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
    /// How far the column is sealed anew, where values of the tenant's own are.
    pub resealing: Option<ResealingProgress>,
}

/// How far a column is sealed anew by the newest key, which its lines of older ones wait for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ResealingProgress {
    /// The generation of the newest key.
    pub to_epoch: i32,
    /// `running`, `waiting` for nodes that may still seal under the key before, `verifying`
    /// that none did, or `done`.
    pub state: String,
    /// Values sealed anew.
    pub done: i64,
    /// Values that were to be sealed anew.
    pub total: i64,
    /// Values that could not be opened, and stay as they are.
    pub skipped: i64,
}

impl ResealingProgress {
    fn read(row: &Row) -> Result<Self, DbError> {
        Ok(Self {
            to_epoch: row.try_get("to_epoch")?,
            state: row.try_get("state")?,
            done: row.try_get("done")?,
            total: row.try_get("total")?,
            skipped: row.try_get("skipped")?,
        })
    }
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
            resealing: None,
        })
    }

    /// Whether what it counts moves to the newest key by itself.
    fn moves(&self) -> bool {
        matches!(self.purpose.as_str(), "field_data" | "blind_index" | "unknown")
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
        let queries: Vec<Query<'_>> = std::iter::once(PROGRESS)
            .chain(self.sealed.iter().map(|one| one.inventory))
            .map(|sql| Query::new(sql, &parameters))
            .collect();
        let rows = database.read(context, &queries).await?;
        let (progress, counted) = rows.split_at(rows.len().min(1));
        let counted = counted.iter().flatten().map(InventoryLine::read);
        let mut lines = counted.collect::<Result<Vec<_>, _>>()?;
        tell_progress(&mut lines, progress.iter().flatten())?;
        let count = lines.len();
        Ok(Found::List { value: lines, count })
    }
}

/// Tells every line of a column how far the column is.
fn tell_progress<'a>(
    lines: &mut [InventoryLine],
    progress: impl Iterator<Item = &'a Row>,
) -> Result<(), DbError> {
    for row in progress {
        let (table, column): (&str, &str) =
            (row.try_get("table_name")?, row.try_get("column_name")?);
        let resealing = ResealingProgress::read(row)?;
        for line in lines.iter_mut() {
            if line.moves() && line.table == table && line.column == column {
                line.resealing = Some(resealing.clone());
            }
        }
    }
    Ok(())
}

/// The generations of the keys that can be rotated.
#[derive(Debug)]
pub struct KeyGenerations;

/// One of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct KeyGeneration {
    /// What the key is for: `tenant_kek`, `field_kek`, `field_data` or `blind_index`.
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
