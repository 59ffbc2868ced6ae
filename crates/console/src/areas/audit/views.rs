//! Reads of the audit log under policy. The log is the tenant's: it is read whole or not
//! at all. Every look leaves a record of its own, under the names that the API uses too.

use access::{Permission, Resource, Scope};
use audit::{
    note::NoteVerifier,
    proof::{self, ConsistencyProof, Inclusion, StoredCheckpoint},
    query::{self, Filter, StoredEvent},
};
use jiff::Timestamp;
use operation::{
    Found, Page, PageRequest, Refusal, RefusalKind, View,
    read::{ViewFailure, told_filter},
};
use serde_json::Value;
use tenancy::{Database, OpContext};
use uuid::Uuid;

/// Events looked at for those that wait to be sealed.
const RECENT: u32 = 100;
/// Checkpoints looked at for an earlier state of the log.
const CHECKPOINTS: u32 = 50;

fn log(id: Option<Uuid>) -> Resource<'static> {
    Resource::for_permission(Permission::AuditRead, id)
}

macro_rules! audit_view {
    () => {
        fn permission(&self) -> Permission {
            Permission::AuditRead
        }
    };
}

/// A page of events.
pub(crate) struct ListEvents {
    pub(crate) filter: Filter,
    pub(crate) page: PageRequest,
}

impl View for ListEvents {
    const NAME: &'static str = "audit.list";
    const RESOURCE: &'static str = "audit_event";
    type Output = Page<StoredEvent>;

    audit_view!();

    fn filter(&self) -> Option<Value> {
        told_filter(self.filter.told())
    }

    async fn load(
        &self,
        database: &Database,
        context: &OpContext,
        scope: Scope,
    ) -> Result<Found<Self::Output>, ViewFailure> {
        let position = |text: &str| {
            let detail = "The cursor belongs to another list";
            let foreign = || Refusal::new(RefusalKind::Malformed, "invalid_cursor", detail);
            text.parse::<Uuid>().map_err(|_| foreign())
        };
        let before = self.page.after.as_deref().map(position).transpose()?;
        let rows = if scope.is_all() {
            query::list(database, context, &self.filter, before, self.page.limit + 1).await?
        } else {
            Vec::new()
        };
        let value = Page::of(rows, &self.page, |event| event.event_id.to_string());
        let count = value.data.len();
        Ok(Found::List { value, count })
    }
}

/// One event.
pub(crate) struct ReadEvent(pub(crate) Uuid);

impl View for ReadEvent {
    const NAME: &'static str = "audit.read";
    const RESOURCE: &'static str = "audit_event";
    type Output = StoredEvent;

    audit_view!();

    fn object(&self) -> Option<Uuid> {
        Some(self.0)
    }

    async fn load(
        &self,
        database: &Database,
        context: &OpContext,
        _: Scope,
    ) -> Result<Found<Self::Output>, ViewFailure> {
        let event = query::one(database, context, self.0).await?;
        Ok(event
            .map_or(Found::Missing, |value| Found::Object { value, resource: log(Some(self.0)) }))
    }
}

/// The proof that an event stands in the log, and the keys that verify it.
pub(crate) struct ProveEvent(pub(crate) Uuid);

impl View for ProveEvent {
    const NAME: &'static str = "audit.prove";
    const RESOURCE: &'static str = "audit_event";
    type Output = (Inclusion, Vec<NoteVerifier>);

    audit_view!();

    fn object(&self) -> Option<Uuid> {
        Some(self.0)
    }

    async fn load(
        &self,
        database: &Database,
        context: &OpContext,
        _: Scope,
    ) -> Result<Found<Self::Output>, ViewFailure> {
        match proof::inclusion(database, context, self.0).await? {
            Inclusion::Unknown => Ok(Found::Missing),
            inclusion => {
                let keys = proof::verifier_keys(database, context).await?;
                Ok(Found::Object { value: (inclusion, keys), resource: log(Some(self.0)) })
            }
        }
    }
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
        Ok(Found::Object { value, resource: log(None) })
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
        Ok(Found::Object { value, resource: log(None) })
    }
}
