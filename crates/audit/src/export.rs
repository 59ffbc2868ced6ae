//! Owns the file that a log leaves in: JSON Lines that carry the exact bytes of every
//! sealed record, each with its leaf, every checkpoint where its size is reached, and
//! the keys that sign them. Whoever has the file needs nothing of ours to verify it.
//!
//! Refuses to know: whether what it writes is true. It judges nothing and leaves nothing
//! out; a tampered database gives a file that does not verify ([`crate::offline`]).
//!
//! | Line | Says |
//! |---|---|
//! | `{"strongroom_audit":1,"tenant_id":…,"verifier_keys":[…]}` | the first: whose log it is |
//! | `{"i":0,"leaf":"…","record":"…"}` | a record: its place, the SHA-256 of `0x00 ‖ record`, its text |
//! | `{"i":0,"leaf":"…","record_base64":"…"}` | the same where the bytes are no text |
//! | `{"i":0,"leaf":"…","event_id":"…"}` | a leaf whose record is gone |
//! | `{"i":0,"leaf":"…","event_id":"…","dropped_by":"…"}` | the same, and the record that declares it |
//! | `{"checkpoint":"…"}` | the signed note over all leaves above it |
//! | `{"end":0}` | the last: how many leaves there were |
//!
//! Every line has one spelling (no white space, members in this order), so that no byte
//! of a file can be changed without changing what it says.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use tenancy::DbError;
use tokio::io::{AsyncWrite, AsyncWriteExt as _};
use tokio_postgres::{Client, Row};
use uuid::Uuid;

use crate::merkle::Hash;
use crate::proof::verifier_of;
use crate::rows::{hash_of, signed, unsigned};
use crate::verify::SET_TENANT;

const PUBLIC_KEYS: &str = tenancy::sql!("audit/verify.sql", "public_keys");
const CHECKPOINTS_BETWEEN: &str = tenancy::sql!("audit/verify.sql", "checkpoints_between");
const TENANTS: &str = tenancy::sql!("audit/verify.sql", "tenants");
const COUNTS: &str = tenancy::sql!("audit/verify.sql", "counts");
const SEALED_BYTES: &str = tenancy::sql!("audit/export.sql", "sealed_bytes");

/// The version of the form.
pub(crate) const FORM: u32 = 1;
/// Records read at once.
const PAGE_ROWS: i64 = 2_000;

/// The first line.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Header {
    pub(crate) strongroom_audit: u32,
    pub(crate) tenant_id: Uuid,
    pub(crate) verifier_keys: Vec<String>,
}

/// A leaf whose record is no text, or gone.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct OddLeaf {
    pub(crate) i: u64,
    pub(crate) leaf: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) record_base64: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) event_id: Option<Uuid>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) dropped_by: Option<Uuid>,
}

/// The note over all leaves above it.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Signed {
    pub(crate) checkpoint: String,
}

/// The last line.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct End {
    pub(crate) end: u64,
}

/// What was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Exported {
    /// Sealed records.
    pub records: u64,
    /// Checkpoints.
    pub checkpoints: u64,
    /// Records that waited to be sealed, and are not in the file.
    pub waiting: u64,
}

/// Why a log could not be written.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The database, or what stands in it.
    #[error(transparent)]
    Database(#[from] DbError),
    /// The file.
    #[error("the file cannot be written: {0}")]
    File(#[from] std::io::Error),
}

impl From<tokio_postgres::Error> for ExportError {
    fn from(error: tokio_postgres::Error) -> Self {
        Self::Database(error.into())
    }
}

/// Writes the log of the tenant of that slug, as it stands in one snapshot, a page at a
/// time; none where there is no such tenant. `progress` hears of records written and in
/// all. The connection must not be inside a transaction.
pub async fn export(
    client: &Client,
    slug: &str,
    out: &mut (impl AsyncWrite + Unpin + Send),
    progress: &mut (dyn FnMut(u64, u64) + Send),
) -> Result<Option<Exported>, ExportError> {
    client.batch_execute("BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY").await?;
    let exported = of_slug(client, slug, out, progress).await;
    client.batch_execute("ROLLBACK").await?;
    exported
}

async fn of_slug(
    client: &Client,
    slug: &str,
    out: &mut (impl AsyncWrite + Unpin + Send),
    progress: &mut (dyn FnMut(u64, u64) + Send),
) -> Result<Option<Exported>, ExportError> {
    for row in client.query(TENANTS, &[]).await? {
        if row.try_get::<_, &str>("slug")? == slug {
            let tenant_id = row.try_get("id")?;
            return write_log(client, tenant_id, out, progress).await.map(Some);
        }
    }
    Ok(None)
}

async fn write_log(
    client: &Client,
    tenant_id: Uuid,
    out: &mut (impl AsyncWrite + Unpin + Send),
    progress: &mut (dyn FnMut(u64, u64) + Send),
) -> Result<Exported, ExportError> {
    client.execute(SET_TENANT, &[&tenant_id.to_string()]).await?;
    let counts = client.query_one(COUNTS, &[&tenant_id]).await?;
    let total = unsigned(counts.try_get("leaves")?)?;
    let mut exported =
        Exported { records: 0, checkpoints: 0, waiting: unsigned(counts.try_get("waiting")?)? };
    let mut buffer = Vec::new();
    header(client, tenant_id, &mut buffer).await?;
    let statement = client.prepare(SEALED_BYTES).await?;
    let mut next = 0;
    loop {
        let from = signed(next)?;
        let page = client.query(&statement, &[&tenant_id, &from, &PAGE_ROWS]).await?;
        let Some(last) = page.last() else { break };
        next = unsigned(last.try_get("log_index")?)? + 1;
        let mut notes = notes(client, tenant_id, from, signed(next)?).await?.into_iter().peekable();
        for row in &page {
            let index = unsigned(row.try_get("log_index")?)?;
            leaf(&mut buffer, index, row)?;
            exported.records += 1;
            while let Some((_, note)) = notes.next_if(|(size, _)| *size <= index + 1) {
                line(&mut buffer, &Signed { checkpoint: note })?;
                exported.checkpoints += 1;
            }
        }
        out.write_all(&buffer).await?;
        buffer.clear();
        progress(exported.records, total);
    }
    // What is signed about leaves that are not there is told as well.
    for (_, note) in notes(client, tenant_id, signed(next)?, i64::MAX).await? {
        line(&mut buffer, &Signed { checkpoint: note })?;
        exported.checkpoints += 1;
    }
    line(&mut buffer, &End { end: exported.records })?;
    out.write_all(&buffer).await?;
    out.flush().await?;
    Ok(exported)
}

async fn header(client: &Client, tenant_id: Uuid, buffer: &mut Vec<u8>) -> Result<(), ExportError> {
    let mut verifier_keys = Vec::new();
    for row in client.query(PUBLIC_KEYS, &[&tenant_id]).await? {
        verifier_keys.push(verifier_of(&row)?.to_text());
    }
    line(buffer, &Header { strongroom_audit: FORM, tenant_id, verifier_keys })
}

/// The notes of sizes above one and up to another, with their sizes, in order.
async fn notes(
    client: &Client,
    tenant_id: Uuid,
    after: i64,
    until: i64,
) -> Result<Vec<(u64, String)>, ExportError> {
    let rows = client.query(CHECKPOINTS_BETWEEN, &[&tenant_id, &after, &until]).await?;
    let mut notes = Vec::with_capacity(rows.len());
    for row in rows {
        notes.push((unsigned(row.try_get("tree_size")?)?, row.try_get("note")?));
    }
    Ok(notes)
}

fn leaf(buffer: &mut Vec<u8>, index: u64, row: &Row) -> Result<(), ExportError> {
    let hash = hash_of(row, 2)?;
    let Some(record) = row.try_get::<_, Option<&[u8]>>("record")? else {
        let gone = (Some(row.try_get("event_id")?), row.try_get("dropped_by")?);
        return odd_leaf(buffer, index, &hash, None, gone);
    };
    if let Ok(text) = std::str::from_utf8(record) {
        return record_line(buffer, index, &hash, text);
    }
    odd_leaf(buffer, index, &hash, Some(STANDARD.encode(record)), (None, None))
}

/// The line of a record, in its one spelling.
pub(crate) fn record_line(
    buffer: &mut Vec<u8>,
    index: u64,
    leaf: &Hash,
    record: &str,
) -> Result<(), ExportError> {
    buffer.extend_from_slice(b"{\"i\":");
    buffer.extend_from_slice(index.to_string().as_bytes());
    buffer.extend_from_slice(b",\"leaf\":\"");
    buffer.extend_from_slice(STANDARD.encode(leaf).as_bytes());
    buffer.extend_from_slice(b"\",\"record\":");
    serde_json::to_writer(&mut *buffer, record).map_err(std::io::Error::from)?;
    buffer.extend_from_slice(b"}\n");
    Ok(())
}

fn odd_leaf(
    buffer: &mut Vec<u8>,
    i: u64,
    leaf: &Hash,
    record_base64: Option<String>,
    (event_id, dropped_by): (Option<Uuid>, Option<Uuid>),
) -> Result<(), ExportError> {
    line(buffer, &OddLeaf { i, leaf: STANDARD.encode(leaf), record_base64, event_id, dropped_by })
}

fn line<T: Serialize>(buffer: &mut Vec<u8>, value: &T) -> Result<(), ExportError> {
    serde_json::to_writer(&mut *buffer, value).map_err(std::io::Error::from)?;
    buffer.push(b'\n');
    Ok(())
}
