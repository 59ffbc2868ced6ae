//! Owns the steps of one sealing pass: taking rows out of the inbox, loading
//! and checking the right edges of the trees, growing them, writing the growth.
//!
//! Refuses to know: when a pass runs, who leads, and where keys come from.

use std::collections::{BTreeMap, HashMap};

use jiff::Timestamp;
use tenancy::DbError;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Statement, Transaction};
use uuid::Uuid;

use crate::merkle::{Frontier, Hash, NodeId, STORED_LEVEL_MIN, compute_low_nodes, nodes_to_fetch};
use crate::note::{Checkpoint, LogSigner};
use crate::rows::{hash_of, signed, unsigned};
use crate::sealer::SealFault;
use crate::super_log::{self, NewCheckpoint, SuperFault};

/// The statements of a pass, prepared on its connection.
pub(crate) struct Statements {
    pub(crate) lead: Statement,
    pub(crate) take: Statement,
    pub(crate) trees: Statement,
    pub(crate) frontier: Statement,
    pub(crate) add_leaves: Statement,
    pub(crate) add_nodes: Statement,
    pub(crate) add_checkpoints: Statement,
    pub(crate) over_all: super_log::Statements,
}

impl Statements {
    pub(crate) const LEAD: &str = tenancy::sql!("audit/sealing.sql", "lead");
    pub(crate) const TAKE: &str = tenancy::sql!("audit/sealing.sql", "take");
    pub(crate) const TREES: &str = tenancy::sql!("audit/sealing.sql", "trees");
    pub(crate) const FRONTIER: &str = tenancy::sql!("audit/sealing.sql", "frontier");
    pub(crate) const ADD_LEAVES: &str = tenancy::sql!("audit/sealing.sql", "add_leaves");
    pub(crate) const ADD_NODES: &str = tenancy::sql!("audit/sealing.sql", "add_nodes");
    pub(crate) const ADD_CHECKPOINTS: &str = tenancy::sql!("audit/sealing.sql", "add_checkpoints");
}

/// Why a pass failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PassError {
    #[error(transparent)]
    Database(#[from] DbError),
    #[error("tenant {tenant_id}: {fault}")]
    Tenant { tenant_id: Uuid, fault: SealFault },
}

impl From<SuperFault> for PassError {
    /// Of all tenants, so it is no one's to be set aside for.
    fn from(fault: SuperFault) -> Self {
        Self::Database(match fault {
            SuperFault::Database(error) => error,
            SuperFault::Tree(_) | SuperFault::Anchor(_) => DbError::Corrupt(fault.to_string()),
        })
    }
}

impl From<tokio_postgres::Error> for PassError {
    fn from(error: tokio_postgres::Error) -> Self {
        Self::Database(error.into())
    }
}

pub(crate) type Leaves = Vec<(Uuid, Hash)>;

pub(crate) async fn take(
    transaction: &Transaction<'_>,
    statements: &Statements,
    limit: i64,
    skipped: &[Uuid],
) -> Result<BTreeMap<Uuid, Leaves>, PassError> {
    let mut taken: BTreeMap<Uuid, Leaves> = BTreeMap::new();
    for row in transaction.query(&statements.take, &[&limit, &skipped]).await? {
        let (tenant_id, event_id): (Uuid, Uuid) = (row.try_get(0)?, row.try_get(1)?);
        let hash = hash_of(&row, 2)
            .map_err(|_| PassError::Tenant { tenant_id, fault: SealFault::BadHash(event_id) })?;
        taken.entry(tenant_id).or_default().push((event_id, hash));
    }
    // DELETE returns in no particular order.
    for leaves in taken.values_mut() {
        leaves.sort_unstable();
    }
    Ok(taken)
}

/// The right edges of the tenants' trees, each checked against what was last signed.
pub(crate) async fn load_trees(
    transaction: &Transaction<'_>,
    statements: &Statements,
    tenants: &[Uuid],
) -> Result<HashMap<Uuid, Frontier>, PassError> {
    let mut sizes: Vec<(Uuid, u64, Option<Hash>)> = Vec::with_capacity(tenants.len());
    let mut wanted: (Vec<Uuid>, Vec<i16>, Vec<i64>) = Default::default();
    for row in transaction.query(&statements.trees, &[&tenants]).await? {
        let tenant_id: Uuid = row.try_get("tenant_id")?;
        let (leaves, signed_size) =
            (unsigned(row.try_get("leaves")?)?, unsigned(row.try_get("signed_size")?)?);
        if leaves != signed_size {
            return Err(PassError::Tenant {
                tenant_id,
                fault: SealFault::SizeDiffers { leaves, signed_size },
            });
        }
        for id in nodes_to_fetch(&Frontier::node_ids(leaves)) {
            wanted.0.push(tenant_id);
            wanted.1.push(i16::from(id.level));
            wanted.2.push(signed(id.index)?);
        }
        let root = if leaves > 0 { Some(hash_of(&row, 3)?) } else { None };
        sizes.push((tenant_id, leaves, root));
    }
    let mut nodes = load_nodes(transaction, statements, &wanted).await?;
    let mut trees = HashMap::with_capacity(sizes.len());
    for (tenant_id, size, root) in sizes {
        let tree = restore(size, nodes.remove(&tenant_id).unwrap_or_default())
            .map_err(|fault| PassError::Tenant { tenant_id, fault })?;
        if root.is_some_and(|root| root != tree.root()) {
            return Err(PassError::Tenant { tenant_id, fault: SealFault::RootDiffers });
        }
        trees.insert(tenant_id, tree);
    }
    Ok(trees)
}

pub(crate) fn restore(size: u64, mut nodes: HashMap<NodeId, Hash>) -> Result<Frontier, SealFault> {
    let ids = Frontier::node_ids(size);
    compute_low_nodes(&ids, &mut nodes).map_err(|_| SealFault::NodesMissing)?;
    let peaks: Option<Vec<_>> = ids.iter().map(|id| nodes.get(id).copied()).collect();
    Frontier::restore(size, peaks.ok_or(SealFault::NodesMissing)?)
        .map_err(|_| SealFault::NodesMissing)
}

async fn load_nodes(
    transaction: &Transaction<'_>,
    statements: &Statements,
    wanted: &(Vec<Uuid>, Vec<i16>, Vec<i64>),
) -> Result<HashMap<Uuid, HashMap<NodeId, Hash>>, PassError> {
    let mut nodes: HashMap<Uuid, HashMap<NodeId, Hash>> = HashMap::new();
    for row in transaction.query(&statements.frontier, &[&wanted.0, &wanted.1, &wanted.2]).await? {
        let (level, index): (i16, i64) = (row.try_get(1)?, row.try_get(2)?);
        let stored: Option<&[u8]> = row.try_get(3)?;
        if stored.is_some() {
            let id =
                NodeId { level: u8::try_from(level).unwrap_or(u8::MAX), index: unsigned(index)? };
            nodes.entry(row.try_get(0)?).or_default().insert(id, hash_of(&row, 3)?);
        }
    }
    Ok(nodes)
}

/// Everything one pass adds, as the arrays of its three inserts.
#[derive(Default)]
pub(crate) struct Growth {
    leaf_tenants: Vec<Uuid>,
    leaf_indices: Vec<i64>,
    leaf_events: Vec<Uuid>,
    leaf_hashes: Vec<Vec<u8>>,
    node_tenants: Vec<Uuid>,
    node_levels: Vec<i16>,
    node_indices: Vec<i64>,
    node_hashes: Vec<Vec<u8>>,
    checkpoint_tenants: Vec<Uuid>,
    checkpoint_sizes: Vec<i64>,
    checkpoint_roots: Vec<Vec<u8>>,
    checkpoint_notes: Vec<String>,
}

impl Growth {
    /// How many tenants have grown.
    pub(crate) fn tenants(&self) -> usize {
        self.checkpoint_tenants.len()
    }

    /// What the super-log is to hold of this pass.
    pub(crate) fn checkpoints(&self) -> Vec<NewCheckpoint<'_>> {
        (self.checkpoint_tenants.iter().zip(&self.checkpoint_sizes).zip(&self.checkpoint_notes))
            .map(|((tenant_id, size), note)| NewCheckpoint {
                tenant_id: *tenant_id,
                tree_size: *size,
                note,
            })
            .collect()
    }

    pub(crate) fn extend(
        &mut self,
        tenant_id: Uuid,
        mut tree: Frontier,
        leaves: Leaves,
        signer: &LogSigner,
    ) -> Result<(), PassError> {
        for (event_id, hash) in leaves {
            self.leaf_tenants.push(tenant_id);
            self.leaf_indices.push(signed(tree.size())?);
            self.leaf_events.push(event_id);
            self.leaf_hashes.push(hash.to_vec());
            tree.append(hash, |id, node| {
                if id.level < STORED_LEVEL_MIN {
                    return;
                }
                self.node_tenants.push(tenant_id);
                self.node_levels.push(i16::from(id.level));
                self.node_indices.push(i64::try_from(id.index).unwrap_or(i64::MAX));
                self.node_hashes.push(node.to_vec());
            });
        }
        let checkpoint = Checkpoint {
            origin: signer.name().to_owned(),
            size: tree.size(),
            root: tree.root(),
            extensions: Vec::new(),
        };
        let note = checkpoint.sign(signer).map_err(|error| PassError::Tenant {
            tenant_id,
            fault: SealFault::NoKey(error.to_string()),
        })?;
        self.checkpoint_tenants.push(tenant_id);
        self.checkpoint_sizes.push(signed(checkpoint.size)?);
        self.checkpoint_roots.push(checkpoint.root.to_vec());
        self.checkpoint_notes.push(note);
        Ok(())
    }

    /// Three inserts that leave together: a transaction sends in the order in
    /// which its futures are first polled.
    pub(crate) async fn write(
        &self,
        transaction: &Transaction<'_>,
        statements: &Statements,
        signed_at: Timestamp,
    ) -> Result<(), PassError> {
        let leaves: [&(dyn ToSql + Sync); 4] =
            [&self.leaf_tenants, &self.leaf_indices, &self.leaf_events, &self.leaf_hashes];
        let nodes: [&(dyn ToSql + Sync); 4] =
            [&self.node_tenants, &self.node_levels, &self.node_indices, &self.node_hashes];
        let checkpoints: [&(dyn ToSql + Sync); 5] = [
            &self.checkpoint_tenants,
            &self.checkpoint_sizes,
            &self.checkpoint_roots,
            &self.checkpoint_notes,
            &signed_at,
        ];
        tokio::try_join!(
            transaction.execute(&statements.add_leaves, &leaves),
            transaction.execute(&statements.add_nodes, &nodes),
            transaction.execute(&statements.add_checkpoints, &checkpoints),
        )?;
        Ok(())
    }
}
