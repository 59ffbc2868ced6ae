//! Looks at the state of the audit log, for pages alone; its events are read by
//! `operation::audit_views`. Every look leaves a record of its own.

use access::{Permission, Resource, Scope};
use audit::{
    note::NoteVerifier,
    proof::{self, ConsistencyProof, Inclusion, StoredCheckpoint},
    query::{self, Filter},
};
use jiff::Timestamp;
use operation::{Found, View, read::ViewFailure};
use tenancy::{Database, OpContext};

/// Events looked at for those that wait to be sealed.
const RECENT: u32 = 100;
/// Checkpoints looked at for an earlier state of the log.
const CHECKPOINTS: u32 = 50;

fn log() -> Resource<'static> {
    Resource::for_permission(Permission::AuditRead, None)
}

macro_rules! audit_view {
    () => {
        fn permission(&self) -> Permission {
            Permission::AuditRead
        }
    };
}

/// How far the log is sealed.
pub(crate) struct ReadLogState;

/// What [`ReadLogState`] finds.
pub(crate) struct LogState {
    pub(crate) checkpoint: Option<StoredCheckpoint>,
    /// Of the newest hundred events, those that are in no signed tree yet.
    pub(crate) waiting: usize,
    /// All of those looked at wait: there may be more.
    pub(crate) waiting_more: bool,
    pub(crate) now: Timestamp,
}

impl View for ReadLogState {
    const NAME: &'static str = "audit.state";
    const RESOURCE: &'static str = "audit_checkpoint";
    type Output = LogState;

    audit_view!();

    async fn load(
        &self,
        database: &Database,
        context: &OpContext,
        _: Scope,
    ) -> Result<Found<Self::Output>, ViewFailure> {
        let checkpoint = proof::latest_checkpoint(database, context).await?;
        let events = query::list(database, context, &Filter::default(), None, RECENT).await?;
        let waiting = events.iter().filter(|event| event.log_index.is_none()).count();
        let value = LogState {
            checkpoint,
            waiting,
            waiting_more: u32::try_from(waiting).is_ok_and(|waiting| waiting >= RECENT),
            now: context.clock.now(),
        };
        Ok(Found::Object { value, resource: log() })
    }
}

/// Everything that a bounded look at the whole log takes.
pub(crate) struct ExamineLog {
    /// Newest sealed events whose inclusion is proven.
    pub(crate) samples: u32,
}

/// What [`ExamineLog`] finds.
pub(crate) struct Evidence {
    pub(crate) latest: Option<StoredCheckpoint>,
    pub(crate) earlier: Option<StoredCheckpoint>,
    pub(crate) growth: Option<ConsistencyProof>,
    pub(crate) keys: Vec<NoteVerifier>,
    pub(crate) samples: Vec<Inclusion>,
    pub(crate) waiting: usize,
}

impl View for ExamineLog {
    const NAME: &'static str = "audit.examine";
    const RESOURCE: &'static str = "audit_checkpoint";
    type Output = Evidence;

    audit_view!();

    async fn load(
        &self,
        database: &Database,
        context: &OpContext,
        _: Scope,
    ) -> Result<Found<Self::Output>, ViewFailure> {
        let checkpoints = proof::checkpoints(database, context, None, CHECKPOINTS).await?;
        let keys = proof::verifier_keys(database, context).await?;
        let latest = checkpoints.first().cloned();
        let earlier = checkpoints.last().filter(|_| checkpoints.len() > 1).cloned();
        let growth = match (&earlier, &latest) {
            (Some(earlier), Some(latest)) => {
                proof::consistency(database, context, earlier.tree_size, latest.tree_size).await?
            }
            _ => None,
        };
        let events = query::list(database, context, &Filter::default(), None, RECENT).await?;
        let waiting = events.iter().filter(|event| event.log_index.is_none()).count();
        let mut samples = Vec::new();
        let wanted = usize::try_from(self.samples).unwrap_or_default();
        for event in events.iter().filter(|event| event.log_index.is_some()).take(wanted) {
            samples.push(proof::inclusion(database, context, event.event_id).await?);
        }
        let value = Evidence { latest, earlier, growth, keys, samples, waiting };
        Ok(Found::Object { value, resource: log() })
    }
}
