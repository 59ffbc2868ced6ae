//! The keys of a tenant's people, fields and indexes as they are now, for a database that is
//! restored from an older copy: what lives opens again, and who was erased since is erased again.
//!
//! A copy of the database whose KEK has ended opens nothing by itself: the share of that KEK is
//! gone. What is told here is wrapped by KEKs that live, so a bundle that is kept ends with them.
//! Refuses to know where a bundle is kept and who authenticates it.

use access::Permission;
use audit::{AuditEvent, EventType};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tenancy::{DbError, OpContext, TenantTx};
use tokio_postgres::{Row, types::ToSql};
use uuid::Uuid;

use crate::{Applied, Command, Failure, Refusal, RefusalKind, event};

const KEKS: &str = tenancy::sql!("tenancy/key_bundle.sql", "keks");
const DATA_KEYS: &str = tenancy::sql!("tenancy/key_bundle.sql", "data_keys");
const SUBJECTS: &str = tenancy::sql!("tenancy/key_bundle.sql", "subjects");
const SHREDDED_BEFORE: &str = tenancy::sql!("tenancy/key_bundle.sql", "shredded_before");
const STRANGERS: &str = tenancy::sql!("tenancy/key_bundle.sql", "strangers");
const RETIRE_KEKS: &str = tenancy::sql!("tenancy/key_bundle.sql", "retire_keks");
const INSERT_KEKS: &str = tenancy::sql!("tenancy/key_bundle.sql", "insert_keks");
const RETIRE_DATA_KEYS: &str = tenancy::sql!("tenancy/key_bundle.sql", "retire_data_keys");
const DESTROY_DATA_KEYS: &str = tenancy::sql!("tenancy/key_bundle.sql", "destroy_data_keys");
const INSERT_DATA_KEYS: &str = tenancy::sql!("tenancy/key_bundle.sql", "insert_data_keys");
const REWRAP_DATA_KEYS: &str = tenancy::sql!("tenancy/key_bundle.sql", "rewrap_data_keys");
const REWRAP_SUBJECTS: &str = tenancy::sql!("tenancy/key_bundle.sql", "rewrap_subjects");
const ERASED: &str = tenancy::sql!("tenancy/key_bundle.sql", "erased");
const SHRED: &str = tenancy::sql!("tenancy/key_bundle.sql", "shred");
const DESTROY_KEKS: &str = tenancy::sql!("tenancy/key_bundle.sql", "destroy_keks");

const RESOURCE: &str = "data_key";

/// Keys of data subjects that are told, or taken, at once.
const SUBJECTS_AT_ONCE: i64 = 500;

/// A part of what a bundle tells of one tenant.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BundlePart {
    /// Rows of what wraps, and of what seals and indexes.
    Keys {
        /// Of `tenant_keks`.
        keks: Vec<Value>,
        /// Of `data_keys`.
        data_keys: Vec<Value>,
    },
    /// Keys of data subjects, those of the erased without what opens.
    Subjects(Vec<Value>),
    /// Nothing more comes: what ended in the first part ends.
    End {
        /// Of `tenant_keks`.
        keks: Vec<Value>,
    },
}

/// The part that comes next, and where the one after it begins.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Told {
    /// The part.
    pub part: BundlePart,
    /// The last subject that it tells of; none where there are no more.
    pub after: Option<Uuid>,
}

/// Tells the keys of a tenant, part by part.
#[derive(Debug)]
pub struct TellKeys {
    /// The last subject that was told of; none at the beginning.
    pub after: Option<Uuid>,
}

impl Command for TellKeys {
    const NAME: &'static str = "data_key.tell";
    const RESOURCE: &'static str = RESOURCE;
    type Output = Told;

    fn permission(&self) -> Permission {
        Permission::KeyRotate
    }

    async fn execute(
        &self,
        transaction: &TenantTx,
        context: &OpContext,
    ) -> Result<Applied<Told>, Failure> {
        let tenant = transaction.tenant();
        let Some(after) = self.after else {
            let keks = lines(&transaction.query(KEKS, &[&tenant]).await?)?;
            let data_keys = lines(&transaction.query(DATA_KEYS, &[&tenant]).await?)?;
            let record = event(context, EventType::KeyManagement, Self::NAME, RESOURCE)
                .details(json!({ "keks": keks.len(), "data_keys": data_keys.len() }));
            let part = BundlePart::Keys { keks, data_keys };
            let output = Told { part, after: Some(Uuid::nil()) };
            return Ok(Applied { output, status: 200, events: vec![record] });
        };
        let parameters: [&(dyn ToSql + Sync); 3] = [&tenant, &after, &SUBJECTS_AT_ONCE];
        let rows = transaction.query(SUBJECTS, &parameters).await?;
        let mut subjects = lines(&rows)?;
        let is_last = i64::try_from(rows.len()).unwrap_or(i64::MAX) < SUBJECTS_AT_ONCE;
        if is_last {
            subjects.extend(lines(&transaction.query(SHREDDED_BEFORE, &[&tenant]).await?)?);
        }
        let last = rows.last().map(|row| row.try_get("subject_id")).transpose();
        let after = last.map_err(DbError::from)?.filter(|_| !is_last);
        let output = Told { part: BundlePart::Subjects(subjects), after };
        Ok(Applied { output, status: 200, events: Vec::new() })
    }
}

fn lines(rows: &[Row]) -> Result<Vec<Value>, DbError> {
    let line = |row: &Row| {
        let text: &str = row.try_get("line")?;
        serde_json::from_str(text).map_err(|error| DbError::Corrupt(error.to_string()))
    };
    rows.iter().map(line).collect()
}

/// What a part of a bundle changed here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeysAdopted {
    /// Generations of KEKs that came, were retired or ended.
    pub keks: u64,
    /// Data and index keys that came, were wrapped anew or ended.
    pub data_keys: u64,
    /// Keys of data subjects that open again.
    pub subject_keys: u64,
    /// Who was erased once more.
    pub erased: u64,
}

/// Takes a part of a bundle into an older copy of the database. Nothing goes back by it, and
/// taken again it changes nothing.
#[derive(Debug)]
pub struct AdoptKeys {
    /// The part.
    pub part: BundlePart,
}

impl Command for AdoptKeys {
    const NAME: &'static str = "data_key.adopt";
    const RESOURCE: &'static str = RESOURCE;
    type Output = KeysAdopted;

    fn permission(&self) -> Permission {
        Permission::KeyRotate
    }

    async fn execute(
        &self,
        transaction: &TenantTx,
        context: &OpContext,
    ) -> Result<Applied<KeysAdopted>, Failure> {
        let mut events = Vec::new();
        let output = match &self.part {
            BundlePart::Keys { keks, data_keys } => {
                adopt_keys(transaction, keks, data_keys).await?
            }
            BundlePart::Subjects(subjects) => {
                let subjects = Value::from(subjects.as_slice()).to_string();
                let erased = erase_again(transaction, &subjects).await?;
                events.extend(erased.iter().map(|subject| erasure(context, *subject)));
                KeysAdopted {
                    subject_keys: change(transaction, REWRAP_SUBJECTS, &subjects).await?,
                    erased: erased.len() as u64,
                    ..KeysAdopted::default()
                }
            }
            BundlePart::End { keks } => {
                let keks = Value::from(keks.as_slice()).to_string();
                let keks = change(transaction, DESTROY_KEKS, &keks).await?;
                KeysAdopted { keks, ..KeysAdopted::default() }
            }
        };
        if output != KeysAdopted::default() {
            let record = event(context, EventType::KeyManagement, Self::NAME, RESOURCE);
            events.push(record.details(json!(output)));
        }
        Ok(Applied { output, status: 200, events })
    }
}

async fn adopt_keys(
    transaction: &TenantTx,
    keks: &[Value],
    data_keys: &[Value],
) -> Result<KeysAdopted, Failure> {
    let [keks, data_keys] = [keks, data_keys].map(|rows| Value::from(rows).to_string());
    let parameters: [&(dyn ToSql + Sync); 3] = [&transaction.tenant(), &keks, &data_keys];
    let row = transaction.query_opt(STRANGERS, &parameters).await?;
    let strangers = row.map_or(Ok(0), |row| row.try_get::<_, i64>("strangers"));
    if strangers.map_err(DbError::from)? > 0 {
        let detail = "The database has had keys of its own since the copy was made: those of the \
                      bundle do not go with them";
        return Err(Refusal::new(RefusalKind::Conflict, "key_bundle_differs", detail).into());
    }
    let mut adopted = KeysAdopted::default();
    for sql in [RETIRE_KEKS, INSERT_KEKS] {
        adopted.keks += change(transaction, sql, &keks).await?;
    }
    for sql in [RETIRE_DATA_KEYS, DESTROY_DATA_KEYS, INSERT_DATA_KEYS, REWRAP_DATA_KEYS] {
        adopted.data_keys += change(transaction, sql, &data_keys).await?;
    }
    Ok(adopted)
}

async fn change(transaction: &TenantTx, sql: &'static str, rows: &String) -> Result<u64, DbError> {
    transaction.execute(sql, &[&transaction.tenant(), rows]).await
}

async fn erase_again(transaction: &TenantTx, subjects: &String) -> Result<Vec<Uuid>, DbError> {
    let tenant = transaction.tenant();
    let mut erased = Vec::new();
    for row in transaction.query(ERASED, &[&tenant, subjects]).await? {
        let subject: Uuid = row.try_get("subject_id")?;
        transaction.execute(SHRED, &[&tenant, &subject]).await?;
        erased.push(subject);
    }
    Ok(erased)
}

/// The record of who was erased before the copy was restored.
fn erasure(context: &OpContext, subject: Uuid) -> AuditEvent {
    event(context, EventType::DataModification, AdoptKeys::NAME, "data_subject")
        .resource_id(subject)
        .personal_fields()
        .details(json!({ "reason": "erased_after_the_copy_was_made" }))
}
