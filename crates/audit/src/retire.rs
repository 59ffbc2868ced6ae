//! Owns dropping what of the log is kept no longer: a month of a class at once, after each
//! tenant's log has said how many records go and what tree their leaves make. Leaves, tree and
//! checkpoints stay, so that every proof of what is left is as it was.
//!
//! Refuses to know: why, beyond the reason that stands in the record; and to drop what is not
//! sealed, or not as it was sealed.

use futures_util::TryStreamExt as _;
use jiff::{Timestamp, Zoned, civil::Date, tz::TimeZone};
use serde::Serialize;
use tenancy::DbError;
use tokio_postgres::{Client, Transaction};
use uuid::Uuid;

use crate::{
    EventType, RetentionClass,
    dropped::Declared,
    merkle::{self, Frontier},
    rows::{hash_of, unsigned},
    verify::SET_TENANT,
};

const MONTHS: &str = tenancy::sql!("audit/drops.sql", "months");
const TENANTS: &str = tenancy::sql!("audit/drops.sql", "tenants");
const RECORDS: &str = tenancy::sql!("audit/drops.sql", "records");
const DECLARE: &str = tenancy::sql!("audit/drops.sql", "declare");
const REMEMBER: &str = tenancy::sql!("audit/drops.sql", "remember");
const DROP: &str = tenancy::sql!("audit/drops.sql", "drop");

/// Whoever writes records must not wait for this.
const BEGIN: &str = "SET LOCAL lock_timeout = '1s'; SET LOCAL app.operation = 'yes'";

/// What of one tenant was dropped, or would be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Retired {
    /// The month, like `2024_11`.
    pub month: String,
    /// The tenant.
    pub tenant_id: Uuid,
    /// Its records.
    pub records: u64,
}

/// Why nothing of a month was dropped.
#[derive(Debug, thiserror::Error)]
pub enum RetireError {
    /// A record waits to be sealed, however old it is.
    #[error("a record of {month} is not sealed: {event}")]
    Unsealed {
        /// The month.
        month: String,
        /// The record.
        event: Uuid,
    },
    /// A record is not as it was sealed: dropping it would hide that.
    #[error("record {log_index} of tenant {tenant} is not as it was sealed")]
    Changed {
        /// The tenant.
        tenant: Uuid,
        /// Its place in the log.
        log_index: u64,
    },
    /// The database.
    #[error(transparent)]
    Database(#[from] DbError),
}

impl From<tokio_postgres::Error> for RetireError {
    fn from(error: tokio_postgres::Error) -> Self {
        Self::Database(error.into())
    }
}

impl RetentionClass {
    /// The least that records are kept, in years.
    pub const fn kept_years(self) -> i64 {
        match self {
            Self::Security => 7,
            Self::Access => 3,
            Self::System => 1,
        }
    }

    /// Records from before this day are kept no longer; the first of a month.
    pub fn kept_since(self, now: Timestamp) -> Date {
        let today = Zoned::new(now, TimeZone::UTC).date();
        today.first_of_month().saturating_sub(jiff::Span::new().years(self.kept_years()))
    }

    fn types(self) -> Vec<&'static str> {
        let own = EventType::ALL.iter().filter(|kind| kind.retention_class() == self);
        own.map(|kind| kind.as_str()).collect()
    }
}

/// Drops the months of a class that are over before that day, each in a transaction of its
/// own; with no reason it only says what there is. Needs the schema's owner.
pub async fn retire(
    client: &mut Client,
    class: RetentionClass,
    before: Date,
    reason: Option<&str>,
) -> Result<Vec<Retired>, RetireError> {
    let before = before.to_zoned(TimeZone::UTC).map(|day| day.timestamp()).unwrap_or_default();
    let mut retired = Vec::new();
    for row in client.query(MONTHS, &[&class.as_str(), &before]).await? {
        let month: String = row.try_get("month")?;
        let transaction = client.transaction().await?;
        transaction.batch_execute(BEGIN).await?;
        // Nothing joins what is being counted.
        let lock = format!("LOCK TABLE {} IN SHARE MODE", row.try_get::<_, &str>("name")?);
        transaction.batch_execute(&lock).await?;
        for tenant in transaction.query(TENANTS, &[]).await? {
            let tenant_id: Uuid = tenant.try_get(0)?;
            let gone = gone(&transaction, tenant_id, class, &month).await?;
            let records = gone.leaves.size();
            if records > 0 {
                if let Some(reason) = reason {
                    declare(&transaction, (tenant_id, class, &month), &gone, reason).await?;
                }
                retired.push(Retired { month: month.clone(), tenant_id, records });
            }
        }
        if reason.is_some() {
            transaction.execute(DROP, &[&class.as_str(), &month]).await?;
            transaction.commit().await?;
        } else {
            transaction.rollback().await?;
        }
    }
    Ok(retired)
}

/// One tenant's leaves in a partition, and the runs of places that they take in the log.
#[derive(Default)]
struct Gone {
    leaves: Frontier,
    firsts: Vec<i64>,
    lasts: Vec<i64>,
}

async fn gone(
    transaction: &Transaction<'_>,
    tenant: Uuid,
    class: RetentionClass,
    month: &str,
) -> Result<Gone, RetireError> {
    transaction.execute(SET_TENANT, &[&tenant.to_string()]).await?;
    let types = class.types();
    let parameters: [&(dyn tokio_postgres::types::ToSql + Sync); 3] = [&tenant, &types, &month];
    let rows = transaction.query_raw(RECORDS, parameters).await?;
    let mut rows = std::pin::pin!(rows);
    let mut gone = Gone::default();
    while let Some(row) = rows.try_next().await? {
        let Some(place) = row.try_get::<_, Option<i64>>("log_index")? else {
            let event = row.try_get("event_id")?;
            return Err(RetireError::Unsealed { month: month.to_owned(), event });
        };
        let leaf = hash_of(&row, 1)?;
        if merkle::leaf_hash(row.try_get("record")?) != leaf {
            return Err(RetireError::Changed { tenant, log_index: unsigned(place)? });
        }
        gone.leaves.append(leaf, |_, _| {});
        match gone.lasts.last_mut() {
            Some(last) if *last + 1 == place => *last = place,
            _ => {
                gone.firsts.push(place);
                gone.lasts.push(place);
            }
        }
    }
    Ok(gone)
}

async fn declare(
    transaction: &Transaction<'_>,
    (tenant, class, month): (Uuid, RetentionClass, &str),
    gone: &Gone,
    reason: &str,
) -> Result<(), RetireError> {
    let declared = Declared {
        class: class.as_str().to_owned(),
        month: month.to_owned(),
        records: gone.leaves.size(),
        root: Declared::root_of(&gone.leaves),
        reason: reason.to_owned(),
    };
    let details = serde_json::to_value(&declared)
        .map_err(|error| DbError::Corrupt(format!("a drop's record: {error}")))?;
    let severity = EventType::AdminAction.severity().as_str();
    let drop: Uuid = transaction.query_one(DECLARE, &[&severity, &details]).await?.try_get(0)?;
    transaction.execute(REMEMBER, &[&tenant, &gone.firsts, &gone.lasts, &drop]).await?;
    Ok(())
}
