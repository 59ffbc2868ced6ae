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

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use tenancy::{Clock, Database, DbError, keyring::Keyring};
use tokio_postgres::Transaction;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::anchor::{Anchor, AnchorFault, Anchoring};
use crate::keys;
use crate::note::{Checkpoint, LogSigner, Note, NoteError};
use crate::sealing::{Growth, PassError, Statements, load_trees, take};
use crate::super_log::{self, SuperFault, SuperLog};
use crate::witness::WitnessAnchor;

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
    /// Leaves or nodes of the tree's right edge do not exist.
    #[error("leaves or nodes at the edge of the tree are missing")]
    NodesMissing,
    /// The tenant has no signing key, or it does not open.
    #[error("no usable signing key: {0}")]
    NoKey(String),
    /// An inbox row holds something else than a hash.
    #[error("an inbox row of event {0} holds no hash")]
    BadHash(Uuid),
}

/// The sealer of one process. Several may run; one leads at a time.
pub struct Sealer {
    database: Database,
    keyring: Arc<Keyring>,
    clock: Clock,
    batch_rows: i64,
    anchor: Option<Anchor>,
    witness: Option<Arc<WitnessAnchor>>,
    signers: Mutex<HashMap<Uuid, Arc<LogSigner>>>,
    quarantine: Mutex<HashMap<Uuid, (u32, SealFault)>>,
}

impl std::fmt::Debug for Sealer {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Sealer")
            .field("batch_rows", &self.batch_rows)
            .finish_non_exhaustive()
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
            anchor: None,
            witness: None,
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

    /// The same, keeping the newest checkpoint outside the database, and sealing nothing
    /// where the database is not the one that was signed last.
    #[must_use]
    pub fn anchored_in(mut self, anchor: Option<impl Into<Anchoring>>) -> Self {
        match anchor.map(Into::into) {
            None => {}
            Some(Anchoring::File(anchor)) => self.anchor = Some(anchor),
            Some(Anchoring::Witness(witness, client)) => {
                // A witness' clock is the world's, whatever ours is set to.
                let database = self.database.clone();
                let anchor = WitnessAnchor::new(database, client, Clock::System, witness);
                self.witness = Some(Arc::new(anchor));
            }
        }
        self
    }

    /// The witness that it goes by, to be told what that says elsewhere.
    pub fn witness_anchor(&self) -> Option<Arc<WitnessAnchor>> {
        self.witness.clone()
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
        let pass = self.confirmed_pass().await;
        if let (Err(_), Some(witness)) = (&pass, &self.witness) {
            // Behind a connection that broke there may be another database.
            witness.doubt();
        }
        pass
    }

    async fn confirmed_pass(&self) -> Result<Pass, DbError> {
        let least = self.confirmed().await?;
        let skipped = self.skipped();
        let mut client = self.database.system_connection().await?;
        // Prepared once a connection, not once a pass.
        let statements = Statements {
            lead: client.prepare_cached(Statements::LEAD).await?,
            take: client.prepare_cached(Statements::TAKE).await?,
            trees: client.prepare_cached(Statements::TREES).await?,
            frontier: client.prepare_cached(Statements::FRONTIER).await?,
            add_leaves: client.prepare_cached(Statements::ADD_LEAVES).await?,
            add_nodes: client.prepare_cached(Statements::ADD_NODES).await?,
            add_checkpoints: client.prepare_cached(Statements::ADD_CHECKPOINTS).await?,
            over_all: super_log::Statements {
                head: client.prepare_cached(super_log::Statements::HEAD).await?,
                frontier: client.prepare_cached(super_log::Statements::FRONTIER).await?,
                add_leaves: client.prepare_cached(super_log::Statements::ADD_LEAVES).await?,
                add_nodes: client.prepare_cached(super_log::Statements::ADD_NODES).await?,
                add_checkpoint: client
                    .prepare_cached(super_log::Statements::ADD_CHECKPOINT)
                    .await?,
            },
        };
        let transaction = client.build_transaction().start().await?;
        match self.pass(&transaction, &statements, (&skipped, least)).await {
            Ok((pass, note)) => {
                transaction.commit().await?;
                metrics::counter!("audit_sealed_total").increment(pass.sealed as u64);
                if let Some(note) = note {
                    self.publish(note).await;
                }
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

    /// The size below which the log must not be, as the witness says that is the anchor.
    async fn confirmed(&self) -> Result<u64, DbError> {
        let Some(witness) = &self.witness else { return Ok(0) };
        match witness.confirmed().await? {
            Ok(least) => {
                metrics::gauge!("audit_anchor_refused").set(0.0);
                Ok(least)
            }
            Err(fault) => Err(refused(fault)),
        }
    }

    /// What is anchored, where anything is to be.
    async fn anchored(&self) -> Result<Option<Option<String>>, DbError> {
        let Some(anchor) = self.anchor.clone() else { return Ok(None) };
        let read = tokio::task::spawn_blocking(move || anchor.read());
        let read = read.await.map_err(|error| DbError::Corrupt(error.to_string()))?;
        read.map(Some).map_err(|error| DbError::Corrupt(error.to_string()))
    }

    /// Anchors what is committed. Where that fails, what is sealed stays sealed; the next
    /// pass anchors for both.
    async fn publish(&self, note: String) {
        if let (Some(witness), Ok(point)) = (&self.witness, size_of(&note)) {
            witness.signed(point);
        }
        let Some(anchor) = self.anchor.clone() else { return };
        let moved = tokio::task::spawn_blocking(move || anchor.advance(&note)).await;
        let failed = match moved {
            Ok(Ok(())) => return,
            Ok(Err(error)) => error.to_string(),
            Err(error) => error.to_string(),
        };
        metrics::counter!("audit_anchor_failures_total").increment(1);
        tracing::error!(error = failed, "the newest checkpoint could not be anchored");
    }

    /// Sets the gauges `audit_inbox_waiting` and `audit_inbox_age_seconds`.
    pub async fn measure(&self) -> Result<(), DbError> {
        let client = self.database.system_connection().await?;
        let row = client.query_one(WAITING, &[]).await?;
        let waiting: i64 = row.try_get("waiting")?;
        let oldest: Option<Uuid> = row.try_get("oldest")?;
        let age_ms = oldest
            .and_then(instant_of)
            .map_or(0, |at| self.clock.now().as_millisecond() - at.as_millisecond());
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

    async fn pass(
        &self,
        transaction: &Transaction<'_>,
        statements: &Statements,
        (skipped, least): (&[Uuid], u64),
    ) -> Result<(Pass, Option<String>), PassError> {
        let leads: bool = transaction.query_one(&statements.lead, &[]).await?.try_get("leads")?;
        if !leads {
            return Ok((Pass::default(), None));
        }
        let taken = take(transaction, statements, self.batch_rows, skipped).await?;
        let sealed: usize = taken.values().map(Vec::len).sum();
        if sealed == 0 {
            return Ok((Pass { leads: true, ..Pass::default() }, None));
        }
        // Before anything is signed.
        let over_all = self.over_all(transaction, &statements.over_all).await?;
        let found = over_all.as_ref().map_or(0, SuperLog::size);
        if found < least {
            return Err(refused(AnchorFault::RolledBack { anchored: least, found }).into());
        }
        let tenants: Vec<Uuid> = taken.keys().copied().collect();
        let trees = load_trees(transaction, statements, &tenants).await?;
        let mut growth = Growth::default();
        for (tenant_id, leaves) in taken {
            let tree = trees.get(&tenant_id).cloned().unwrap_or_default();
            let signer = self.signer(transaction, tenant_id).await?;
            growth.extend(tenant_id, tree, leaves, &signer)?;
        }
        let now = self.clock.now();
        growth.write(transaction, statements, now).await?;
        let note = match over_all {
            Some(log) => {
                let points = growth.checkpoints();
                Some(log.extend(transaction, &statements.over_all, &points, now).await?)
            }
            None => None,
        };
        let more = i64::try_from(sealed).is_ok_and(|rows| rows >= self.batch_rows);
        Ok((Pass { leads: true, sealed, tenants: growth.tenants(), more }, note))
    }

    /// The log over all tenants' logs, where it is the one that was anchored.
    async fn over_all(
        &self,
        transaction: &Transaction<'_>,
        statements: &super_log::Statements,
    ) -> Result<Option<SuperLog>, PassError> {
        let loaded = SuperLog::load(transaction, statements, self.keyring.roots()).await?;
        let Some(anchored) = self.anchored().await? else { return Ok(loaded) };
        let held = match (&loaded, &anchored) {
            (Some(log), _) => log.holds(transaction, statements, anchored.as_deref()).await,
            (None, None) => Ok(()),
            (None, Some(_)) => {
                let fault = AnchorFault::Foreign("there is no platform tenant".to_owned());
                Err(SuperFault::Anchor(fault))
            }
        };
        let is_refused = matches!(held, Err(SuperFault::Anchor(_)));
        metrics::gauge!("audit_anchor_refused").set(if is_refused { 1.0 } else { 0.0 });
        held?;
        Ok(loaded)
    }

    async fn signer(
        &self,
        transaction: &Transaction<'_>,
        tenant_id: Uuid,
    ) -> Result<Arc<LogSigner>, PassError> {
        if let Ok(signers) = self.signers.lock()
            && let Some(signer) = signers.get(&tenant_id)
        {
            return Ok(Arc::clone(signer));
        }
        let no_key =
            |reason: String| PassError::Tenant { tenant_id, fault: SealFault::NoKey(reason) };
        let row = transaction.query_opt(LOG_KEY, &[&tenant_id]).await?;
        let row = row.ok_or_else(|| no_key("none is active".to_owned()))?;
        let signer = keys::open(tenant_id, &row, self.keyring.roots())
            .map_err(|error| no_key(error.to_string()))?;
        let signer = Arc::new(signer);
        if let Ok(mut signers) = self.signers.lock() {
            signers.insert(tenant_id, Arc::clone(&signer));
        }
        Ok(signer)
    }
}

fn size_of(note: &str) -> Result<u64, NoteError> {
    Note::parse(note).and_then(|note| Checkpoint::parse(&note.text)).map(|point| point.size)
}

/// What an anchor says against the database, told.
fn refused(fault: AnchorFault) -> DbError {
    let is_other = !matches!(fault, AnchorFault::Unasked(_));
    metrics::gauge!("audit_anchor_refused").set(if is_other { 1.0 } else { 0.0 });
    DbError::Corrupt(SuperFault::Anchor(fault).to_string())
}

/// The millisecond inside a version 7 id.
fn instant_of(id: Uuid) -> Option<Timestamp> {
    let (seconds, nanoseconds) = id.get_timestamp()?.to_unix();
    Timestamp::new(i64::try_from(seconds).ok()?, i32::try_from(nanoseconds).ok()?).ok()
}
