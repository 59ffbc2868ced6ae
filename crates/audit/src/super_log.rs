//! Owns the super-log: one tree over the checkpoints of all tenants, grown and
//! signed in the pass that signs them, and held against what was anchored of it.
//!
//! Refuses to know: records, and what a tenant may be told of the others.
//!
//! It is signed with the key of the platform's log, which the platform's KEK
//! wraps, under a name of its own: a note's signature covers its origin, so a
//! checkpoint of the one log is never a checkpoint of the other.

use std::collections::HashMap;

use jiff::Timestamp;
use tenancy::DbError;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Row, Statement, Transaction};
use uuid::Uuid;
use vault::RootKeys;

use crate::anchor::AnchorFault;
use crate::keys;
use crate::merkle::{
    self, Frontier, Hash, NodeId, ProofError, ProofPlan, STORED_LEVEL_MIN, compute_low_nodes,
    nodes_to_fetch,
};
use crate::note::{Checkpoint, LogSigner};
use crate::rows::{hash_of, signed, unsigned};
use crate::sealer::SealFault;
use crate::sealing::restore;

/// The statements of a pass, prepared on its connection.
pub(crate) struct Statements {
    pub(crate) head: Statement,
    pub(crate) frontier: Statement,
    pub(crate) add_leaves: Statement,
    pub(crate) add_nodes: Statement,
    pub(crate) add_checkpoint: Statement,
}

impl Statements {
    pub(crate) const HEAD: &str = tenancy::sql!("audit/super_log.sql", "head");
    pub(crate) const FRONTIER: &str = tenancy::sql!("audit/super_log.sql", "frontier");
    pub(crate) const ADD_LEAVES: &str = tenancy::sql!("audit/super_log.sql", "add_leaves");
    pub(crate) const ADD_NODES: &str = tenancy::sql!("audit/super_log.sql", "add_nodes");
    pub(crate) const ADD_CHECKPOINT: &str = tenancy::sql!("audit/super_log.sql", "add_checkpoint");
}

/// What the names of super-logs begin with.
pub(crate) const SUPER_LOG_PREFIX: &str = "strongroom/super/";

/// The name of the super-log: its checkpoints' origin and its key's name.
pub(crate) fn super_log_name(platform_id: Uuid) -> String {
    format!("{SUPER_LOG_PREFIX}{platform_id}")
}

/// Why the super-log cannot grow: then nothing is sealed for anybody.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SuperFault {
    #[error(transparent)]
    Database(#[from] DbError),
    #[error("the super-log: {0}")]
    Tree(SealFault),
    #[error("the super-log: {0}")]
    Anchor(#[from] AnchorFault),
}

impl From<tokio_postgres::Error> for SuperFault {
    fn from(error: tokio_postgres::Error) -> Self {
        Self::Database(error.into())
    }
}

/// A checkpoint of a tenant that this pass has signed.
pub(crate) struct NewCheckpoint<'growth> {
    pub(crate) tenant_id: Uuid,
    pub(crate) tree_size: i64,
    pub(crate) note: &'growth str,
}

/// The super-log, as it was last signed.
pub(crate) struct SuperLog {
    tree: Frontier,
    signer: LogSigner,
}

impl SuperLog {
    /// None before there is a platform tenant: then there is nobody to sign.
    pub(crate) async fn load(
        transaction: &Transaction<'_>,
        statements: &Statements,
        roots: &RootKeys,
    ) -> Result<Option<Self>, SuperFault> {
        let head = transaction.query_one(&statements.head, &[]).await?;
        let size = signed_leaves(&head)?;
        let Some(signer) = signer(&head, roots)? else {
            return if size == 0 {
                Ok(None)
            } else {
                Err(SuperFault::Tree(SealFault::NoKey("the platform has none".to_owned())))
            };
        };
        let tree = load(transaction, statements, size).await?;
        if size > 0 && hash_of(&head, 2)? != tree.root() {
            return Err(SuperFault::Tree(SealFault::RootDiffers));
        }
        Ok(Some(Self { tree, signer }))
    }

    /// The leaves.
    pub(crate) fn size(&self) -> u64 {
        self.tree.size()
    }

    /// Whether this is the log whose checkpoint was anchored, or has grown out of it.
    pub(crate) async fn holds(
        &self,
        transaction: &Transaction<'_>,
        statements: &Statements,
        anchored: Option<&str>,
    ) -> Result<(), SuperFault> {
        let found = self.tree.size();
        let Some(note) = anchored else {
            return if found == 0 { Ok(()) } else { Err(AnchorFault::Missing { found }.into()) };
        };
        let point = (self.signer.verifier()).and_then(|key| Checkpoint::open(note, &key));
        let point = point.map_err(|error| AnchorFault::Foreign(error.to_string()))?;
        if point.size > found {
            return Err(AnchorFault::RolledBack { anchored: point.size, found }.into());
        }
        let root = if point.size == found {
            self.tree.root()
        } else {
            load(transaction, statements, point.size).await?.root()
        };
        if root == point.root {
            Ok(())
        } else {
            Err(AnchorFault::Forked { anchored: point.size }.into())
        }
    }

    /// Appends the checkpoints of a pass and signs over them; gives the note.
    pub(crate) async fn extend(
        mut self,
        transaction: &Transaction<'_>,
        statements: &Statements,
        checkpoints: &[NewCheckpoint<'_>],
        signed_at: Timestamp,
    ) -> Result<String, SuperFault> {
        let (mut indices, mut hashes) = (Vec::new(), Vec::new());
        let mut nodes: (Vec<i16>, Vec<i64>, Vec<Vec<u8>>) = Default::default();
        for checkpoint in checkpoints {
            let leaf = merkle::leaf_hash(checkpoint.note.as_bytes());
            indices.push(signed(self.tree.size())?);
            hashes.push(leaf.to_vec());
            self.tree.append(leaf, |id, hash| {
                if id.level >= STORED_LEVEL_MIN {
                    nodes.0.push(i16::from(id.level));
                    nodes.1.push(i64::try_from(id.index).unwrap_or(i64::MAX));
                    nodes.2.push(hash.to_vec());
                }
            });
        }
        let (origin, root) = (self.signer.name().to_owned(), self.tree.root());
        let note = Checkpoint { origin, size: self.tree.size(), root, extensions: Vec::new() }
            .sign(&self.signer)
            .map_err(|error| SuperFault::Tree(SealFault::NoKey(error.to_string())))?;
        let tenants: Vec<Uuid> = checkpoints.iter().map(|point| point.tenant_id).collect();
        let sizes: Vec<i64> = checkpoints.iter().map(|point| point.tree_size).collect();
        let size = signed(self.tree.size())?;
        let leaves: [&(dyn ToSql + Sync); 4] = [&indices, &tenants, &sizes, &hashes];
        let nodes: [&(dyn ToSql + Sync); 3] = [&nodes.0, &nodes.1, &nodes.2];
        let head: [&(dyn ToSql + Sync); 4] = [&size, &root.as_slice(), &note, &signed_at];
        // They leave together, in the order in which they are first polled.
        tokio::try_join!(
            transaction.execute(&statements.add_leaves, &leaves),
            transaction.execute(&statements.add_nodes, &nodes),
            transaction.execute(&statements.add_checkpoint, &head),
        )?;
        Ok(note)
    }
}

/// The size, where leaves and last checkpoint agree on it.
fn signed_leaves(head: &Row) -> Result<u64, SuperFault> {
    let leaves = unsigned(head.try_get("leaves")?)?;
    let signed_size = unsigned(head.try_get("signed_size")?)?;
    if leaves == signed_size {
        Ok(leaves)
    } else {
        Err(SuperFault::Tree(SealFault::SizeDiffers { leaves, signed_size }))
    }
}

fn signer(head: &Row, roots: &RootKeys) -> Result<Option<LogSigner>, SuperFault> {
    let Some(platform_id) = head.try_get::<_, Option<Uuid>>("tenant_id")? else { return Ok(None) };
    keys::open_as(platform_id, &super_log_name(platform_id), head, roots)
        .map(Some)
        .map_err(|error| SuperFault::Tree(SealFault::NoKey(error.to_string())))
}

/// The tree as it was at a size that it has reached.
async fn load(
    transaction: &Transaction<'_>,
    statements: &Statements,
    size: u64,
) -> Result<Frontier, SuperFault> {
    let (levels, indices) = columns(&Frontier::node_ids(size))?;
    let rows = transaction.query(&statements.frontier, &[&levels, &indices]).await?;
    restore(size, nodes_of(&rows)?).map_err(SuperFault::Tree)
}

/// The hashes of a proof, as a role reads them that reads the tables.
pub(crate) async fn hashes(client: &Client, plan: &ProofPlan) -> Result<Vec<Hash>, DbError> {
    let (levels, indices) = columns(&plan.node_ids())?;
    let rows = client.query(Statements::FRONTIER, &[&levels, &indices]).await?;
    assembled(plan, &rows)
}

/// The proof out of the nodes that were read for it.
pub(crate) fn assembled(plan: &ProofPlan, rows: &[Row]) -> Result<Vec<Hash>, DbError> {
    let unprovable = |error: ProofError| DbError::Corrupt(format!("the super-log: {error}"));
    let mut nodes = nodes_of(rows)?;
    compute_low_nodes(&plan.node_ids(), &mut nodes).map_err(unprovable)?;
    plan.assemble(&nodes).map_err(unprovable)
}

/// What has to be read for these nodes, as two columns.
pub(crate) fn columns(wanted: &[NodeId]) -> Result<(Vec<i16>, Vec<i64>), DbError> {
    let ids = nodes_to_fetch(wanted);
    let levels = ids.iter().map(|id| i16::from(id.level)).collect();
    let indices = ids.iter().map(|id| signed(id.index)).collect::<Result<_, _>>()?;
    Ok((levels, indices))
}

fn nodes_of(rows: &[Row]) -> Result<HashMap<NodeId, Hash>, DbError> {
    let mut nodes = HashMap::with_capacity(rows.len());
    for row in rows {
        let (level, index): (i16, i64) = (row.try_get(0)?, row.try_get(1)?);
        if row.try_get::<_, Option<&[u8]>>(2)?.is_some() {
            let level = u8::try_from(level).unwrap_or(u8::MAX);
            nodes.insert(NodeId { level, index: unsigned(index)? }, hash_of(row, 2)?);
        }
    }
    Ok(nodes)
}
