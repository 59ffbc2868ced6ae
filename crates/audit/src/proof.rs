//! Owns proofs for outsiders: that an event stands in the log, and that one
//! signed log extends another.
//!
//! Refuses to know: who asks. Each answer carries all that a verifier needs
//! beside the log's public key; O(log n) nodes are read.

use std::collections::HashMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use serde::{Serialize, Serializer};
use tenancy::{Database, DbError, OpContext, Query};
use tokio_postgres::Row;
use uuid::Uuid;

use crate::merkle::{Hash, NodeId, ProofPlan, compute_low_nodes, nodes_to_fetch};
use crate::note::NoteVerifier;
use crate::rows::{hash_of, signed, unsigned};
use crate::super_proof::{Place, SuperInclusion};

const LEAF: &str = tenancy::sql!("audit/proof.sql", "leaf");
const LATEST_CHECKPOINT: &str = tenancy::sql!("audit/proof.sql", "latest_checkpoint");
const CHECKPOINT: &str = tenancy::sql!("audit/proof.sql", "checkpoint");
const CHECKPOINTS: &str = tenancy::sql!("audit/proof.sql", "checkpoints");
const NODES: &str = tenancy::sql!("audit/proof.sql", "nodes");
const PUBLIC_KEYS: &str = tenancy::sql!("audit/proof.sql", "public_keys");
const PLACE: &str = tenancy::sql!("audit/witness.sql", "place");
const RECORD: &str = tenancy::sql!("audit/proof.sql", "record");

/// A signed tree head as stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct StoredCheckpoint {
    /// Leaves in the tree.
    pub tree_size: u64,
    /// The root, base64.
    #[serde(serialize_with = "base64_hash")]
    pub root_hash: Hash,
    /// The C2SP signed note.
    pub note: String,
    /// When it was signed (our clock; not part of the note).
    pub signed_at: Timestamp,
}

/// That one event stands in the log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct InclusionProof {
    /// The event.
    pub event_id: Uuid,
    /// The exact record whose hash is the leaf, as text (it is JSON).
    pub record: String,
    /// The leaf: `SHA-256(0x00 ‖ record)`, base64.
    #[serde(serialize_with = "base64_hash")]
    pub leaf_hash: Hash,
    /// Its place, from 0.
    pub log_index: u64,
    /// The audit path (RFC 6962 section 2.1.1), base64, from the leaf upwards.
    #[serde(serialize_with = "base64_hashes")]
    pub hashes: Vec<Hash>,
    /// The signed tree head that the path leads to.
    pub checkpoint: StoredCheckpoint,
    /// From there into the log over all tenants' logs, which witnesses cosign; none for what
    /// was signed before there was one.
    #[serde(skip)]
    pub super_log: Option<SuperInclusion>,
}

/// That a log extends an earlier state of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ConsistencyProof {
    /// The earlier size.
    pub first_size: u64,
    /// The later size.
    pub second_size: u64,
    /// The consistency proof (RFC 6962 section 2.1.2), base64.
    #[serde(serialize_with = "base64_hashes")]
    pub hashes: Vec<Hash>,
}

/// What can be said about an event's place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Inclusion {
    /// There is no such event in this tenant.
    Unknown,
    /// It is committed and waits to be sealed: try again in a second.
    Waiting,
    /// The proof.
    Proven(Box<InclusionProof>),
}

/// The inclusion proof of an event: against the newest checkpoint that a witnessed head of the
/// super-log covers, the latest where there is none. Three round trips.
pub async fn inclusion(
    database: &Database,
    context: &OpContext,
    event_id: Uuid,
) -> Result<Inclusion, DbError> {
    let tenant_id = context.tenant_id();
    let answers = database
        .read(
            context,
            &[
                Query::new(RECORD, &[&tenant_id, &event_id]),
                Query::new(LEAF, &[&tenant_id, &event_id]),
                Query::new(LATEST_CHECKPOINT, &[&tenant_id]),
                Query::new(PLACE, &[&tenant_id, &event_id]),
            ],
        )
        .await?;
    let [records, leaves, checkpoints, places] = answers.as_slice() else {
        return Err(DbError::Corrupt("four answers were expected".to_owned()));
    };
    let Some(record) = records.first() else { return Ok(Inclusion::Unknown) };
    let (Some(leaf), Some(checkpoint)) = (leaves.first(), checkpoints.first()) else {
        return Ok(Inclusion::Waiting);
    };
    let place = places.first().map(Place::of).transpose()?;
    let checkpoint = match &place {
        Some(place) => place.tenant_checkpoint.clone(),
        None => stored_checkpoint(checkpoint)?,
    };
    let super_log = match place {
        Some(place) => Some(place.prove(database, context).await?),
        None => None,
    };
    let log_index = unsigned(leaf.try_get("log_index")?)?;
    let plan = ProofPlan::inclusion(log_index, checkpoint.tree_size).map_err(unprovable)?;
    let record: Vec<u8> = record.try_get("record")?;
    Ok(Inclusion::Proven(Box::new(InclusionProof {
        event_id,
        record: String::from_utf8(record)
            .map_err(|_| DbError::Corrupt("a record is not UTF-8".to_owned()))?,
        leaf_hash: hash_of(leaf, 1)?,
        log_index,
        hashes: assemble(database, context, &plan).await?,
        checkpoint,
        super_log,
    })))
}

/// The consistency proof between two sizes; none where the log is not that
/// large or the sizes are out of order. Two round trips.
pub async fn consistency(
    database: &Database,
    context: &OpContext,
    first_size: u64,
    second_size: u64,
) -> Result<Option<ConsistencyProof>, DbError> {
    let Some(latest) = latest_checkpoint(database, context).await? else { return Ok(None) };
    if second_size > latest.tree_size {
        return Ok(None);
    }
    let Ok(plan) = ProofPlan::consistency(first_size, second_size) else { return Ok(None) };
    let hashes = assemble(database, context, &plan).await?;
    Ok(Some(ConsistencyProof { first_size, second_size, hashes }))
}

/// The newest signed tree head, none before the first record was sealed.
pub async fn latest_checkpoint(
    database: &Database,
    context: &OpContext,
) -> Result<Option<StoredCheckpoint>, DbError> {
    first_checkpoint(database, context, Query::new(LATEST_CHECKPOINT, &[&context.tenant_id()]))
        .await
}

/// The tree head of exactly this size, where one was signed.
pub async fn checkpoint(
    database: &Database,
    context: &OpContext,
    tree_size: u64,
) -> Result<Option<StoredCheckpoint>, DbError> {
    let Ok(size) = i64::try_from(tree_size) else { return Ok(None) };
    first_checkpoint(database, context, Query::new(CHECKPOINT, &[&context.tenant_id(), &size]))
        .await
}

/// Tree heads smaller than a size (the newest where there is none), newest
/// first, at most 500.
pub async fn checkpoints(
    database: &Database,
    context: &OpContext,
    before_size: Option<u64>,
    limit: u32,
) -> Result<Vec<StoredCheckpoint>, DbError> {
    let before = before_size.and_then(|size| i64::try_from(size).ok()).unwrap_or(i64::MAX);
    let limit = i64::from(limit.clamp(1, 500));
    let answers = database
        .read(context, &[Query::new(CHECKPOINTS, &[&context.tenant_id(), &before, &limit])])
        .await?;
    answers.iter().flatten().map(stored_checkpoint).collect()
}

/// The keys that verify the tenant's checkpoints, oldest first.
pub async fn verifier_keys(
    database: &Database,
    context: &OpContext,
) -> Result<Vec<NoteVerifier>, DbError> {
    let answers =
        database.read(context, &[Query::new(PUBLIC_KEYS, &[&context.tenant_id()])]).await?;
    answers.iter().flatten().map(verifier_of).collect()
}

pub(crate) fn verifier_of(row: &Row) -> Result<NoteVerifier, DbError> {
    let name: String = row.try_get("key_name")?;
    NoteVerifier::new(&name, hash_of(row, 2)?).map_err(|error| DbError::Corrupt(error.to_string()))
}

async fn first_checkpoint(
    database: &Database,
    context: &OpContext,
    query: Query<'_>,
) -> Result<Option<StoredCheckpoint>, DbError> {
    database
        .read(context, &[query])
        .await?
        .iter()
        .flatten()
        .map(stored_checkpoint)
        .next()
        .transpose()
}

async fn assemble(
    database: &Database,
    context: &OpContext,
    plan: &ProofPlan,
) -> Result<Vec<Hash>, DbError> {
    let wanted = plan.node_ids();
    let ids = nodes_to_fetch(&wanted);
    let levels: Vec<i16> = ids.iter().map(|id| i16::from(id.level)).collect();
    let indices = ids.iter().map(|id| signed(id.index)).collect::<Result<Vec<_>, _>>()?;
    let answers = database
        .read(context, &[Query::new(NODES, &[&context.tenant_id(), &levels, &indices])])
        .await?;
    let mut nodes = HashMap::with_capacity(ids.len());
    for row in answers.iter().flatten() {
        let (level, index): (i16, i64) = (row.try_get(0)?, row.try_get(1)?);
        let stored: Option<&[u8]> = row.try_get(2)?;
        if stored.is_some() {
            let id =
                NodeId { level: u8::try_from(level).unwrap_or(u8::MAX), index: unsigned(index)? };
            nodes.insert(id, hash_of(row, 2)?);
        }
    }
    compute_low_nodes(&wanted, &mut nodes).map_err(unprovable)?;
    plan.assemble(&nodes).map_err(unprovable)
}

fn unprovable(error: crate::merkle::ProofError) -> DbError {
    DbError::Corrupt(format!("audit tree: {error}"))
}

pub(crate) fn stored_checkpoint(row: &Row) -> Result<StoredCheckpoint, DbError> {
    Ok(StoredCheckpoint {
        tree_size: unsigned(row.try_get("tree_size")?)?,
        root_hash: hash_of(row, 1)?,
        note: row.try_get("note")?,
        signed_at: row.try_get("signed_at")?,
    })
}

fn base64_hash<S: Serializer>(hash: &Hash, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&STANDARD.encode(hash))
}

fn base64_hashes<S: Serializer>(hashes: &[Hash], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(hashes.iter().map(|hash| STANDARD.encode(hash)))
}
