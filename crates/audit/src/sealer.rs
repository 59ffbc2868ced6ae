//! Owns sealing: moving hashes from the inbox into the tree, and signing what
//! the tree has become.
//!
//! Refuses to know: records. It runs under the role `strongroom_sealer`, which
//! may read no record, and works on all tenants at once.
//!
//! One pass is one transaction: leadership (an advisory lock that ends with
//! it), take, number, extend, sign. A crash anywhere leaves the inbox as it
//! was. Indices are contiguous because one leader numbers from the count of
//! leaves; a transaction that commits late is numbered late.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use tenancy::{Clock, Database, DbError, keyring::Keyring};
use tokio_postgres::Transaction;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::keys;
use crate::merkle::{Frontier, Hash, NodeId};
use crate::note::{Checkpoint, LogSigner};
use crate::rows::{hash_of, signed, unsigned};

const LEAD: &str = tenancy::sql!("audit/sealing.sql", "lead");
const TAKE: &str = tenancy::sql!("audit/sealing.sql", "take");
const TREES: &str = tenancy::sql!("audit/sealing.sql", "trees");
const FRONTIER: &str = tenancy::sql!("audit/sealing.sql", "frontier");
const ADD_LEAVES: &str = tenancy::sql!("audit/sealing.sql", "add_leaves");
const ADD_NODES: &str = tenancy::sql!("audit/sealing.sql", "add_nodes");
const ADD_CHECKPOINTS: &str = tenancy::sql!("audit/sealing.sql", "add_checkpoints");
const WAITING: &str = tenancy::sql!("audit/sealing.sql", "waiting");
const LOG_KEY: &str = tenancy::sql!("audit/sealing.sql", "log_key");

/// Rows taken in one pass: bounds the memory and the length of a transaction.
const BATCH_ROWS: i64 = 10_000;
/// Pause between passes where nothing more waits: a record is sealed within
/// this and the time of one pass.
const PAUSE: Duration = Duration::from_millis(100);
/// Pause after a failed pass.
const PAUSE_AFTER_ERROR: Duration = Duration::from_secs(1);
/// Passes for which a tenant whose log cannot be sealed is left alone.
const QUARANTINE_PASSES: u32 = 300;
/// The age of the inbox is measured every so many passes.
const MEASURE_EVERY_PASSES: u32 = 20;

/// What one pass did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Pass {
    /// Whether this process led; if not, another one seals.
    pub leads: bool,
    /// Records sealed.
    pub sealed: usize,
    /// Tenants with a new checkpoint.
    pub tenants: usize,
    /// Whether more may wait already.
    pub more: bool,
}

/// Why a tenant's log cannot be sealed. Its records stay in the inbox.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SealFault {
    /// The leaves do not end where the last checkpoint does: rows were removed
    /// or added by hand, or a restore went back behind a checkpoint.
    #[error("the log has {leaves} leaves and its last checkpoint says {signed_size}")]
    SizeDiffers {
        /// Leaves found.
        leaves: u64,
        /// The size last signed.
        signed_size: u64,
    },
    /// The stored nodes do not lead to the root last signed.
    #[error("the stored tree does not lead to the root of its last checkpoint")]
    RootDiffers,
    /// A node that must exist does not.
    #[error("node {index} of level {level} is missing")]
    NodeMissing {
        /// Its level.
        level: u8,
        /// Its index.
        index: u64,
    },
    /// The tenant has no signing key, or it does not open.
    #[error("no usable signing key: {0}")]
    NoKey(String),
    /// An inbox row holds something else than a hash.
    #[error("an inbox row of event {0} holds no hash")]
    BadHash(Uuid),
}

/// Why a pass failed.
#[derive(Debug, thiserror::Error)]
enum PassError {
    #[error(transparent)]
    Database(#[from] DbError),
    #[error("tenant {tenant_id}: {fault}")]
    Tenant { tenant_id: Uuid, fault: SealFault },
}

impl From<tokio_postgres::Error> for PassError {
    fn from(error: tokio_postgres::Error) -> Self {
        Self::Database(error.into())
    }
}

/// The sealer of one process. Several may run; one leads at a time.
pub struct Sealer {
    database: Database,
    keyring: Arc<Keyring>,
    clock: Clock,
    batch_rows: i64,
    signers: Mutex<HashMap<Uuid, Arc<LogSigner>>>,
    quarantine: Mutex<HashMap<Uuid, (u32, SealFault)>>,
}

impl std::fmt::Debug for Sealer {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Sealer").field("batch_rows", &self.batch_rows).finish_non_exhaustive()
    }
}

impl Sealer {
    /// A sealer on a database that was opened under the role `strongroom_sealer`.
    pub fn new(database: Database, keyring: Arc<Keyring>, clock: Clock) -> Self {
        Self {
            database,
            keyring,
            clock,
            batch_rows: BATCH_ROWS,
            signers: Mutex::default(),
            quarantine: Mutex::default(),
        }
    }

    /// The same with another bound on the rows of one pass.
    #[must_use]
    pub fn with_batch_rows(mut self, batch_rows: i64) -> Self {
        self.batch_rows = batch_rows.max(1);
        self
    }

    /// Tenants that are not being sealed, and why: a fault to be shown.
    pub fn quarantined(&self) -> Vec<(Uuid, SealFault)> {
        let quarantine = self.quarantine.lock().unwrap_or_else(PoisonError::into_inner);
        quarantine.iter().map(|(tenant_id, (_, fault))| (*tenant_id, fault.clone())).collect()
    }

    /// Seals until cancelled; a pass that has begun is finished.
    pub async fn run(&self, cancel: CancellationToken) {
        let mut passes = 0_u32;
        while !cancel.is_cancelled() {
            let pause = match self.seal_once().await {
                Ok(pass) if pass.more => Duration::ZERO,
                Ok(_) => PAUSE,
                Err(error) => {
                    metrics::counter!("audit_seal_failures_total").increment(1);
                    tracing::error!(%error, "sealing failed");
                    PAUSE_AFTER_ERROR
                }
            };
            if passes.is_multiple_of(MEASURE_EVERY_PASSES)
                && let Err(error) = self.measure().await
            {
                tracing::warn!(%error, "the age of the audit inbox could not be measured");
            }
            passes = passes.wrapping_add(1);
            tokio::select! {
                () = cancel.cancelled() => {}
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    /// Seals until nothing more waits (tests, shutdown, `audit seal`). Gives up
    /// the moment another process leads.
    pub async fn drain(&self) -> Result<usize, DbError> {
        let mut sealed = 0;
        loop {
            let pass = self.seal_once().await?;
            sealed += pass.sealed;
            if !pass.more {
                return Ok(sealed);
            }
        }
    }

    /// One pass. A tenant whose log does not fit its own checkpoint is set
    /// aside, loudly, and never keeps the others from being sealed.
    pub async fn seal_once(&self) -> Result<Pass, DbError> {
        let skipped = self.skipped();
        let mut client = self.database.system_connection().await?;
        let transaction = client.build_transaction().start().await?;
        match self.pass(&transaction, &skipped).await {
            Ok(pass) => {
                transaction.commit().await?;
                metrics::counter!("audit_sealed_total").increment(pass.sealed as u64);
                Ok(pass)
            }
            Err(PassError::Tenant { tenant_id, fault }) => {
                transaction.rollback().await?;
                metrics::counter!("audit_tenants_quarantined_total").increment(1);
                tracing::error!(%tenant_id, %fault, "the audit log of a tenant cannot be sealed");
                let mut quarantine = self.quarantine.lock().unwrap_or_else(PoisonError::into_inner);
                quarantine.insert(tenant_id, (QUARANTINE_PASSES, fault));
                Ok(Pass { leads: true, more: true, ..Pass::default() })
            }
            Err(PassError::Database(error)) => Err(error),
        }
    }

    /// Sets the gauges `audit_inbox_waiting` and `audit_inbox_age_seconds`.
    pub async fn measure(&self) -> Result<(), DbError> {
        let client = self.database.system_connection().await?;
        let row = client.query_one(WAITING, &[]).await?;
        let waiting: i64 = row.try_get("waiting")?;
        let oldest: Option<Uuid> = row.try_get("oldest")?;
        let age_ms = oldest.and_then(instant_of).map_or(0, |at| self.clock.now().as_millisecond() - at.as_millisecond());
        #[expect(clippy::cast_precision_loss, reason = "gauges are floats; neither is money")]
        {
            metrics::gauge!("audit_inbox_waiting").set(waiting as f64);
            metrics::gauge!("audit_inbox_age_seconds").set(age_ms.max(0) as f64 / 1_000.0);
        }
        Ok(())
    }

    fn skipped(&self) -> Vec<Uuid> {
        let mut quarantine = self.quarantine.lock().unwrap_or_else(PoisonError::into_inner);
        quarantine.retain(|_, (passes_left, _)| {
            *passes_left = passes_left.saturating_sub(1);
            *passes_left > 0
        });
        quarantine.keys().copied().collect()
    }

    async fn pass(&self, transaction: &Transaction<'_>, skipped: &[Uuid]) -> Result<Pass, PassError> {
        let leads: bool = transaction.query_one(LEAD, &[]).await?.try_get("leads")?;
        if !leads {
            return Ok(Pass::default());
        }
        let taken = take(transaction, self.batch_rows, &skipped).await?;
        let rows: usize = taken.values().map(Vec::len).sum();
        if rows > 0 {
            let trees = load_trees(transaction, &taken.keys().copied().collect::<Vec<_>>()).await?;
            let mut growth = Growth::default();
            for (tenant_id, leaves) in taken {
                let tree = trees.get(&tenant_id).cloned().unwrap_or_default();
                let signer = self.signer(transaction, tenant_id).await?;
                growth.extend(tenant_id, tree, leaves, &signer)?;
            }
            growth.write(transaction, self.clock.now()).await?;
            return Ok(Pass {
                leads: true,
                sealed: rows,
                tenants: growth.checkpoint_tenants.len(),
                more: i64::try_from(rows).is_ok_and(|rows| rows >= self.batch_rows),
            });
        }
        Ok(Pass { leads: true, ..Pass::default() })
    }

    async fn signer(&self, transaction: &Transaction<'_>, tenant_id: Uuid) -> Result<Arc<LogSigner>, PassError> {
        if let Ok(signers) = self.signers.lock()
            && let Some(signer) = signers.get(&tenant_id)
        {
            return Ok(Arc::clone(signer));
        }
        let no_key = |reason: String| PassError::Tenant { tenant_id, fault: SealFault::NoKey(reason) };
        let row = transaction.query_opt(LOG_KEY, &[&tenant_id]).await?;
        let row = row.ok_or_else(|| no_key("none is active".to_owned()))?;
        let signer = keys::open(tenant_id, &row, self.keyring.roots()).map_err(|error| no_key(error.to_string()))?;
        let signer = Arc::new(signer);
        if let Ok(mut signers) = self.signers.lock() {
            signers.insert(tenant_id, Arc::clone(&signer));
        }
        Ok(signer)
    }
}

type Leaves = Vec<(Uuid, Hash)>;

async fn take(
    transaction: &Transaction<'_>,
    limit: i64,
    skipped: &&[Uuid],
) -> Result<BTreeMap<Uuid, Leaves>, PassError> {
    let mut taken: BTreeMap<Uuid, Leaves> = BTreeMap::new();
    for row in transaction.query(TAKE, &[&limit, skipped]).await? {
        let (tenant_id, event_id): (Uuid, Uuid) = (row.try_get(0)?, row.try_get(1)?);
        let hash = hash_of(&row, 2)
            .map_err(|_| PassError::Tenant { tenant_id, fault: SealFault::BadHash(event_id) })?;
        taken.entry(tenant_id).or_default().push((event_id, hash));
    }
    // DELETE returns in no particular order.
    taken.values_mut().for_each(|leaves| leaves.sort_unstable());
    Ok(taken)
}

/// The right edges of the tenants' trees, each checked against what was last signed.
async fn load_trees(transaction: &Transaction<'_>, tenants: &[Uuid]) -> Result<HashMap<Uuid, Frontier>, PassError> {
    let mut sizes: Vec<(Uuid, u64, Option<Hash>)> = Vec::with_capacity(tenants.len());
    let mut wanted: (Vec<Uuid>, Vec<i16>, Vec<i64>) = Default::default();
    for row in transaction.query(TREES, &[&tenants]).await? {
        let tenant_id: Uuid = row.try_get("tenant_id")?;
        let (leaves, signed_size) = (unsigned(row.try_get("leaves")?)?, unsigned(row.try_get("signed_size")?)?);
        if leaves != signed_size {
            return Err(PassError::Tenant { tenant_id, fault: SealFault::SizeDiffers { leaves, signed_size } });
        }
        for id in Frontier::node_ids(leaves) {
            wanted.0.push(tenant_id);
            wanted.1.push(i16::from(id.level));
            wanted.2.push(signed(id.index)?);
        }
        let root = if leaves > 0 { Some(hash_of(&row, 3)?) } else { None };
        sizes.push((tenant_id, leaves, root));
    }
    let nodes = load_nodes(transaction, &wanted).await?;
    let mut trees = HashMap::with_capacity(sizes.len());
    for (tenant_id, size, root) in sizes {
        let refuse = |fault| PassError::Tenant { tenant_id, fault };
        let peaks = Frontier::node_ids(size)
            .into_iter()
            .map(|id| {
                let missing = SealFault::NodeMissing { level: id.level, index: id.index };
                nodes.get(&(tenant_id, id)).copied().ok_or_else(|| refuse(missing))
            })
            .collect::<Result<Vec<_>, _>>()?;
        let tree = Frontier::restore(size, peaks).map_err(|_| refuse(SealFault::RootDiffers))?;
        if root.is_some_and(|root| root != tree.root()) {
            return Err(refuse(SealFault::RootDiffers));
        }
        trees.insert(tenant_id, tree);
    }
    Ok(trees)
}

async fn load_nodes(
    transaction: &Transaction<'_>,
    wanted: &(Vec<Uuid>, Vec<i16>, Vec<i64>),
) -> Result<HashMap<(Uuid, NodeId), Hash>, PassError> {
    let mut nodes = HashMap::with_capacity(wanted.0.len());
    for row in transaction.query(FRONTIER, &[&wanted.0, &wanted.1, &wanted.2]).await? {
        let (level, index): (i16, i64) = (row.try_get(1)?, row.try_get(2)?);
        let stored: Option<&[u8]> = row.try_get(3)?;
        if stored.is_some() {
            let id = NodeId { level: u8::try_from(level).unwrap_or(u8::MAX), index: unsigned(index)? };
            nodes.insert((row.try_get(0)?, id), hash_of(&row, 3)?);
        }
    }
    Ok(nodes)
}

/// Everything one pass adds, as the arrays of its three inserts.
#[derive(Default)]
struct Growth {
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
    fn extend(
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

    async fn write(&self, transaction: &Transaction<'_>, signed_at: Timestamp) -> Result<(), PassError> {
        // Polled in order, so the three statements leave together.
        tokio::try_join!(
            async {
                transaction
                    .execute(
                        ADD_LEAVES,
                        &[&self.leaf_tenants, &self.leaf_indices, &self.leaf_events, &self.leaf_hashes],
                    )
                    .await
            },
            async {
                transaction
                    .execute(
                        ADD_NODES,
                        &[&self.node_tenants, &self.node_levels, &self.node_indices, &self.node_hashes],
                    )
                    .await
            },
            async {
                transaction
                    .execute(
                        ADD_CHECKPOINTS,
                        &[
                            &self.checkpoint_tenants,
                            &self.checkpoint_sizes,
                            &self.checkpoint_roots,
                            &self.checkpoint_notes,
                            &signed_at,
                        ],
                    )
                    .await
            },
        )?;
        Ok(())
    }
}

/// The millisecond inside a version 7 id.
fn instant_of(id: Uuid) -> Option<Timestamp> {
    let (seconds, nanoseconds) = id.get_timestamp()?.to_unix();
    Timestamp::new(i64::try_from(seconds).ok()?, i32::try_from(nanoseconds).ok()?).ok()
}
