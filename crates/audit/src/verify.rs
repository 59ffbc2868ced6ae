//! Owns `audit verify`: proving from the stored bytes up that nothing in the
//! log was changed, removed, inserted or moved, and naming the first record
//! where it was.
//!
//! Refuses to know: the application, and how leaves lead to signed roots (the
//! walk). It needs any connection that may read
//! (owner, superuser, app or auditor), works in one read-only snapshot a tenant,
//! in pages of bounded memory, and trusts nothing but the signing keys.

use std::collections::BTreeMap;

use tenancy::DbError;
use tokio_postgres::{Client, Row};
use uuid::Uuid;

use crate::compare::{first_difference, is_as_written};
use crate::dropped::Drops;
use crate::fault::whole_log;
pub use crate::fault::{Fault, FaultKind, TenantReport};
use crate::merkle::{self, Hash, NodeId, STORED_LEVEL_MIN};
use crate::note::NoteVerifier;
use crate::proof::verifier_of;
use crate::rows::{hash_of, signed, unsigned};
use crate::super_walk;
pub use crate::trust::logs_without_report;
use crate::trust::{keys_of, notes_of};
use crate::walk::{self, Walk};

const TENANTS: &str = tenancy::sql!("audit/verify.sql", "tenants");
const COUNTS: &str = tenancy::sql!("audit/verify.sql", "counts");
const SEALED_RECORDS: &str = tenancy::sql!("audit/verify.sql", "sealed_records");
const WAITING_RECORDS: &str = tenancy::sql!("audit/verify.sql", "waiting_records");
const UNQUEUED: &str = tenancy::sql!("audit/verify.sql", "unqueued");
const SEALED_TWICE: &str = tenancy::sql!("audit/verify.sql", "sealed_twice");
const WRONG_NODES: &str = tenancy::sql!("audit/verify.sql", "wrong_nodes");
const CHECKPOINTS_BETWEEN: &str = tenancy::sql!("audit/verify.sql", "checkpoints_between");
const PUBLIC_KEYS: &str = tenancy::sql!("audit/verify.sql", "public_keys");

pub(crate) const SET_TENANT: &str = "SELECT set_config('app.current_tenant', $1::text, true)";

/// What to verify.
#[derive(Debug, Clone)]
pub struct Options {
    /// Only the tenant of this slug; all where there is none.
    pub tenant: Option<String>,
    /// Records read at once.
    pub page_rows: u32,
    /// Signed notes of earlier checkpoints, kept outside the database: the log
    /// must extend each of those that bear one of its names.
    pub known_checkpoints: Vec<String>,
    /// Verifier keys of logs, got from elsewhere than the database. A log of which one is
    /// given is held against those alone: whoever owns the database can store a key of
    /// their own in it, and sign all anew.
    pub trusted_keys: Vec<NoteVerifier>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            tenant: None,
            page_rows: 2_000,
            known_checkpoints: Vec::new(),
            trusted_keys: Vec::new(),
        }
    }
}

/// How far it is; handed to the callback after every page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Progress {
    /// The tenant being verified.
    pub tenant: String,
    /// Records checked in it.
    pub checked: u64,
    /// Records to check in it.
    pub total: u64,
}

/// Verifies every tenant, or one. A fault ends that tenant's verification, not
/// the others'. The connection must not be inside a transaction.
pub async fn verify(
    client: &Client,
    options: &Options,
    progress: &mut (dyn FnMut(&Progress) + Send),
) -> Result<Vec<TenantReport>, DbError> {
    let mut reports = Vec::new();
    for row in client.query(TENANTS, &[]).await? {
        let (tenant_id, slug): (Uuid, String) = (row.try_get("id")?, row.try_get("slug")?);
        if options.tenant.as_ref().is_some_and(|wanted| *wanted != slug) {
            continue;
        }
        client.batch_execute("BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY").await?;
        let report = tenant_report(client, options, tenant_id, slug, progress).await;
        client.batch_execute("ROLLBACK").await?;
        reports.push(report?);
    }
    Ok(reports)
}

async fn tenant_report(
    client: &Client,
    options: &Options,
    tenant_id: Uuid,
    slug: String,
    progress: &mut (dyn FnMut(&Progress) + Send),
) -> Result<TenantReport, DbError> {
    client.execute(SET_TENANT, &[&tenant_id.to_string()]).await?;
    let counts = Counts::of(&client.query_one(COUNTS, &[&tenant_id]).await?)?;
    let stored = client.query(PUBLIC_KEYS, &[&tenant_id]).await?;
    let stored = stored.iter().map(verifier_of).collect::<Result<_, _>>()?;
    let mut state =
        Progress { tenant: slug.clone(), checked: 0, total: counts.leaves + counts.waiting };
    progress(&state);
    let known = notes_of(tenant_id, &options.known_checkpoints);
    let walk = keys_of(tenant_id, stored, &options.trusted_keys).and_then(|keys| {
        let walk = Walk::new(keys.clone(), known)?;
        walk.reaches(counts.leaves).map(|()| (walk, keys))
    });
    let fault = match walk {
        Err(kind) => Some(whole_log(kind)),
        Ok((walk, keys)) => {
            let page_rows = i64::from(options.page_rows.max(1));
            let written = Vec::with_capacity(1_024);
            let first_unproven = None;
            let drops = Drops::default();
            let mut run =
                Verification { client, tenant_id, page_rows, walk, drops, first_unproven, written };
            match run.first_fault(&counts, &mut state, progress).await? {
                None => {
                    let known = &options.known_checkpoints;
                    super_walk::fault(client, tenant_id, (&keys, known), page_rows).await?
                }
                found => found,
            }
        }
    };
    Ok(TenantReport {
        tenant_id,
        tenant: slug,
        sealed: counts.leaves,
        waiting: counts.waiting,
        checkpoints: counts.checkpoints,
        fault,
    })
}

struct Counts {
    leaves: u64,
    nodes: u64,
    waiting: u64,
    checkpoints: u64,
    signed_size: u64,
}

impl Counts {
    fn of(row: &Row) -> Result<Self, DbError> {
        let count = |name: &str| unsigned(row.try_get(name)?);
        Ok(Self {
            leaves: count("leaves")?,
            nodes: count("nodes")?,
            waiting: count("waiting")?,
            checkpoints: count("checkpoints")?,
            signed_size: count("signed_size")?,
        })
    }
}

struct Verification<'client> {
    client: &'client Client,
    tenant_id: Uuid,
    page_rows: i64,
    walk: Walk,
    drops: Drops,
    /// The event of the first record that no good signature covers.
    first_unproven: Option<Uuid>,
    /// The buffer of comparisons.
    written: Vec<u8>,
}

impl Verification<'_> {
    async fn first_fault(
        &mut self,
        counts: &Counts,
        state: &mut Progress,
        progress: &mut (dyn FnMut(&Progress) + Send),
    ) -> Result<Option<Fault>, DbError> {
        if let Some(fault) = self.sealed(state, progress).await? {
            return Ok(Some(fault));
        }
        if let Some(kind) = tree_size_fault(counts) {
            return Ok(Some(whole_log(kind)));
        }
        if let Some(fault) = self.waiting(state, progress).await? {
            return Ok(Some(fault));
        }
        if let Some(fault) = self.drops.fault() {
            return Ok(Some(fault));
        }
        for (statement, kind) in
            [(UNQUEUED, FaultKind::RecordUnqueued), (SEALED_TWICE, FaultKind::SealedTwice)]
        {
            if let Some(row) = self.client.query_opt(statement, &[&self.tenant_id]).await? {
                return Ok(Some(Fault { event_id: Some(row.try_get(0)?), log_index: None, kind }));
            }
        }
        Ok(None)
    }

    /// Every leaf in order: record, columns, numbering, tree, checkpoints.
    async fn sealed(
        &mut self,
        state: &mut Progress,
        progress: &mut (dyn FnMut(&Progress) + Send),
    ) -> Result<Option<Fault>, DbError> {
        let statement = self.client.prepare(SEALED_RECORDS).await?;
        loop {
            let from = self.walk.size();
            let page = self
                .client
                .query(&statement, &[&self.tenant_id, &signed(from)?, &self.page_rows])
                .await?;
            if page.is_empty() {
                return Ok(None);
            }
            let until = from + page.len() as u64;
            let mut checkpoints = self.checkpoints(from, until).await?;
            let mut nodes = Nodes::default();
            for row in &page {
                let leaf = match self.check_leaf(row)? {
                    Ok(leaf) => leaf,
                    Err(fault) => return Ok(Some(fault)),
                };
                if self.walk.size() == self.walk.proven() {
                    self.first_unproven = Some(row.try_get("event_id")?);
                }
                let from_proven = self.walk.proven();
                let mut step = self.walk.leaf(leaf, |id, hash| nodes.push(id, hash));
                if let Some(point) = checkpoints.remove(&self.walk.size()) {
                    step = step.and_then(|()| self.judge(&point));
                }
                if let Err(kind) = step {
                    let (event_id, log_index) = (self.first_unproven, Some(from_proven));
                    return Ok(Some(Fault { event_id, log_index, kind }));
                }
            }
            if let Some(fault) = self.wrong_node(&nodes).await? {
                return Ok(Some(fault));
            }
            state.checked += page.len() as u64;
            progress(state);
        }
    }

    fn check_leaf(&mut self, row: &Row) -> Result<Result<Hash, Fault>, DbError> {
        let expected = self.walk.size();
        if unsigned(row.try_get("log_index")?)? != expected {
            let kind = FaultKind::LeafMissing;
            return Ok(Err(Fault { event_id: None, log_index: Some(expected), kind }));
        }
        let dropped_by: Option<Uuid> = row.try_get("dropped_by")?;
        if let (Some(drop), Ok(leaf)) = (dropped_by, hash_of(row, 2)) {
            self.drops.claim(drop, (expected, row.try_get("event_id")?), leaf);
            return Ok(Ok(leaf));
        }
        match self.check_record(row)? {
            Ok(leaf) => Ok(Ok(leaf)),
            Err(kind) => Ok(Err(about_leaf(row, kind)?)),
        }
    }

    /// The bytes against the hash, then the columns against the bytes.
    fn check_record(&mut self, row: &Row) -> Result<Result<Hash, FaultKind>, DbError> {
        let Ok(leaf) = hash_of(row, 2) else { return Ok(Err(FaultKind::HashMalformed)) };
        let record = match walk::record_of(row.try_get("record")?, &leaf) {
            Ok(record) => record,
            Err(kind) => return Ok(Err(kind)),
        };
        self.drops.read(record);
        if is_as_written(self.tenant_id, row, record, &mut self.written) {
            return Ok(Ok(leaf));
        }
        Ok(match first_difference(self.tenant_id, row, record) {
            None => Ok(leaf),
            Some(column) if column == "tenant_id" => Err(FaultKind::RecordForeign),
            Some(column) => Err(FaultKind::ColumnChanged { column }),
        })
    }

    async fn waiting(
        &mut self,
        state: &mut Progress,
        progress: &mut (dyn FnMut(&Progress) + Send),
    ) -> Result<Option<Fault>, DbError> {
        let mut after = Uuid::nil();
        loop {
            let page = self
                .client
                .query(WAITING_RECORDS, &[&self.tenant_id, &after, &self.page_rows])
                .await?;
            for row in &page {
                after = row.try_get("event_id")?;
                if let Err(kind) = self.check_record(row)? {
                    return Ok(Some(Fault { event_id: Some(after), log_index: None, kind }));
                }
            }
            if page.is_empty() {
                return Ok(None);
            }
            state.checked += page.len() as u64;
            progress(state);
        }
    }

    async fn checkpoints(
        &self,
        after: u64,
        until: u64,
    ) -> Result<BTreeMap<u64, StoredPoint>, DbError> {
        let rows = self
            .client
            .query(CHECKPOINTS_BETWEEN, &[&self.tenant_id, &signed(after)?, &signed(until)?])
            .await?;
        rows.iter()
            .map(|row| {
                let size = unsigned(row.try_get("tree_size")?)?;
                Ok((size, StoredPoint { size, root: hash_of(row, 1)?, note: row.try_get("note")? }))
            })
            .collect()
    }

    /// A stored checkpoint: its note, then the columns beside it.
    fn judge(&mut self, point: &StoredPoint) -> Result<(), FaultKind> {
        self.walk.checkpoint(&point.note)?;
        if point.root != self.walk.root() {
            let reason = "its column root_hash says otherwise than its note".to_owned();
            return Err(FaultKind::CheckpointBad { tree_size: point.size, reason });
        }
        Ok(())
    }

    async fn wrong_node(&self, nodes: &Nodes) -> Result<Option<Fault>, DbError> {
        if nodes.levels.is_empty() {
            return Ok(None);
        }
        let parameters: [&(dyn tokio_postgres::types::ToSql + Sync); 4] =
            [&self.tenant_id, &nodes.levels, &nodes.indices, &nodes.hashes];
        let row = self.client.query_opt(WRONG_NODES, &parameters).await?;
        row.map(|row| {
            let (level, node_index): (i16, i64) = (row.try_get(0)?, row.try_get(1)?);
            // The first leaf below it: the change lies there or just behind.
            let first_leaf =
                unsigned(node_index.checked_shl(u32::from(level.unsigned_abs())).unwrap_or(0))?;
            let kind = FaultKind::NodeWrong { level, node_index };
            Ok(Fault { event_id: None, log_index: Some(first_leaf), kind })
        })
        .transpose()
    }
}

struct StoredPoint {
    size: u64,
    root: Hash,
    note: String,
}

#[derive(Default)]
struct Nodes {
    levels: Vec<i16>,
    indices: Vec<i64>,
    hashes: Vec<Vec<u8>>,
}

impl Nodes {
    fn push(&mut self, id: NodeId, hash: Hash) {
        if id.level < STORED_LEVEL_MIN {
            return;
        }
        self.levels.push(i16::from(id.level));
        self.indices.push(i64::try_from(id.index).unwrap_or(i64::MAX));
        self.hashes.push(hash.to_vec());
    }
}

/// What the sizes alone betray, after every leaf was found good.
fn tree_size_fault(counts: &Counts) -> Option<FaultKind> {
    let expected = merkle::stored_node_count(counts.leaves);
    if counts.signed_size != counts.leaves {
        return Some(FaultKind::SizeDiffers {
            leaves: counts.leaves,
            signed_size: counts.signed_size,
        });
    }
    (counts.nodes != expected)
        .then_some(FaultKind::NodeCountWrong { found: counts.nodes, expected })
}

fn about_leaf(row: &Row, kind: FaultKind) -> Result<Fault, DbError> {
    let log_index = unsigned(row.try_get("log_index")?)?;
    Ok(Fault { event_id: Some(row.try_get("event_id")?), log_index: Some(log_index), kind })
}
