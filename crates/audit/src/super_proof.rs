//! Owns what a tenant is shown of the super-log: its signed heads with what witnesses said of
//! them, and the way from a checkpoint of its own to one of them.
//!
//! Refuses to know: the leaves of others, of which a proof holds hashes and nothing else.

use jiff::Timestamp;
use tenancy::{Database, DbError, OpContext, Query};
use tokio_postgres::Row;
use uuid::Uuid;

use crate::merkle::{Hash, ProofPlan};
use crate::note::NoteVerifier;
use crate::proof::{StoredCheckpoint, stored_checkpoint};
use crate::rows::{hash_of, unsigned};
use crate::super_log::{assembled, columns, super_log_name};

const CHECKPOINT: &str = tenancy::sql!("audit/witness.sql", "checkpoint");
const PUBLIC_KEYS: &str = tenancy::sql!("audit/witness.sql", "public_keys");
const HASHES: &str = tenancy::sql!("audit/witness.sql", "hashes");

/// A signed head of the super-log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SuperCheckpoint {
    /// As it was signed.
    pub checkpoint: StoredCheckpoint,
    /// The signature lines of witnesses, each without its newline.
    pub cosignatures: Vec<String>,
}

/// That a tenant's checkpoint is a leaf of the super-log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SuperInclusion {
    /// The leaf's place, from 0. The leaf is over the bytes of the tenant's note.
    pub log_index: u64,
    /// The audit path from the leaf upwards.
    pub hashes: Vec<Hash>,
    /// The head that it leads to.
    pub head: SuperCheckpoint,
    /// The keys that verify it, oldest first.
    pub keys: Vec<NoteVerifier>,
}

/// Where a tenant's checkpoint stands, before the hashes are read.
pub(crate) struct Place {
    pub(crate) tenant_checkpoint: StoredCheckpoint,
    log_index: u64,
    head: SuperCheckpoint,
    plan: ProofPlan,
}

/// The head that the most witnesses cosigned of late, the newest where none did, and the keys
/// that verify it; none before anything was signed.
pub async fn newest(
    database: &Database,
    context: &OpContext,
) -> Result<Option<(SuperCheckpoint, Vec<NoteVerifier>)>, DbError> {
    let queries = [Query::new(CHECKPOINT, &[]), Query::new(PUBLIC_KEYS, &[])];
    let answers = database.read(context, &queries).await?;
    let [heads, keys] = answers.as_slice() else {
        return Err(DbError::Corrupt("two answers were expected".to_owned()));
    };
    let Some(head) = heads.first() else { return Ok(None) };
    Ok(Some((head_of(head)?, verifiers(keys)?)))
}

impl Place {
    pub(crate) fn of(row: &Row) -> Result<Self, DbError> {
        let head = head_of(row)?;
        let log_index = unsigned(row.try_get("log_index")?)?;
        let plan = ProofPlan::inclusion(log_index, head.checkpoint.tree_size)
            .map_err(|error| DbError::Corrupt(format!("the super-log: {error}")))?;
        let root: &[u8] = row.try_get("tenant_root")?;
        let wrong = |_| DbError::Corrupt("a hash is not 32 bytes long".to_owned());
        let tenant_checkpoint = StoredCheckpoint {
            tree_size: unsigned(row.try_get("tenant_size")?)?,
            root_hash: root.try_into().map_err(wrong)?,
            note: row.try_get("tenant_note")?,
            signed_at: row.try_get::<_, Timestamp>("tenant_signed_at")?,
        };
        Ok(Self { tenant_checkpoint, log_index, head, plan })
    }

    /// The proof. One round trip.
    pub(crate) async fn prove(
        self,
        database: &Database,
        context: &OpContext,
    ) -> Result<SuperInclusion, DbError> {
        let (levels, indices) = columns(&self.plan.node_ids())?;
        let answers = database
            .read(
                context,
                &[Query::new(HASHES, &[&levels, &indices]), Query::new(PUBLIC_KEYS, &[])],
            )
            .await?;
        let [hashes, keys] = answers.as_slice() else {
            return Err(DbError::Corrupt("two answers were expected".to_owned()));
        };
        Ok(SuperInclusion {
            log_index: self.log_index,
            hashes: assembled(&self.plan, hashes)?,
            head: self.head,
            keys: verifiers(keys)?,
        })
    }
}

fn head_of(row: &Row) -> Result<SuperCheckpoint, DbError> {
    let checkpoint = stored_checkpoint(row)?;
    Ok(SuperCheckpoint { checkpoint, cosignatures: row.try_get("cosignatures")? })
}

/// The platform's keys under the super-log's name.
pub(crate) fn verifiers(rows: &[Row]) -> Result<Vec<NoteVerifier>, DbError> {
    let verifier = |row: &Row| {
        let name = super_log_name(row.try_get::<_, Uuid>("tenant_id")?);
        NoteVerifier::new(&name, hash_of(row, 1)?)
            .map_err(|error| DbError::Corrupt(error.to_string()))
    };
    rows.iter().map(verifier).collect()
}
