//! Owns reading the audit log under policy, for the API, the console and the command line
//! alike. The log is the tenant's: it is read whole or not at all, and every look leaves a
//! record of its own.
//!
//! Refuses to know: how records, proofs and files look where they are shown.

use access::{Permission, Resource, Scope};
use audit::EventType;
use audit::note::NoteVerifier;
use audit::portable::PortableHead;
use audit::proof::{self, ConsistencyProof, Inclusion};
use audit::query::{self, Filter, Looked, StoredEvent};
use audit::super_proof;
use serde_json::{Value, json};
use tenancy::{Database, DbError, OpContext, TenantTx};
use uuid::Uuid;

use crate::command::{Outcome, Target};
use crate::read::{ViewFailure, told_filter};
use crate::{Applied, Command, Found, Page, PageRequest, Refusal, RefusalKind, View, event};

/// A page of events, newest first.
pub struct ListEvents {
    /// Which.
    pub filter: Filter,
    /// Which of those.
    pub page: PageRequest,
}

impl View for ListEvents {
    const NAME: &'static str = "audit.list";
    const RESOURCE: &'static str = "audit_event";
    type Output = Page<StoredEvent>;

    fn permission(&self) -> Permission {
        Permission::AuditRead
    }

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
        let looked = if scope.is_all() {
            let limit = u32::try_from(self.page.fetch()).unwrap_or(u32::MAX);
            let window = query::WINDOW_ROWS;
            query::look(database, context, &self.filter, before, limit, window).await?
        } else {
            Looked { events: Vec::new(), until: None }
        };
        let mut value = Page::of(looked.events, &self.page, |event| event.event_id.to_string());
        // Rare: the next page goes on where this one stopped looking.
        if looked.until.is_some() {
            value.total = None;
        }
        value.next = value.next.or_else(|| looked.until.map(|until| until.to_string()));
        let count = value.data.len();
        Ok(Found::List { value, count })
    }
}

/// One event.
pub struct ReadEvent(pub Uuid);

impl View for ReadEvent {
    const NAME: &'static str = "audit.read";
    const RESOURCE: &'static str = "audit_event";
    type Output = StoredEvent;

    fn permission(&self) -> Permission {
        Permission::AuditRead
    }

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
pub struct ProveEvent(pub Uuid);

impl View for ProveEvent {
    const NAME: &'static str = "audit.prove";
    const RESOURCE: &'static str = "audit_event";
    type Output = (Inclusion, Vec<NoteVerifier>);

    fn permission(&self) -> Permission {
        Permission::AuditRead
    }

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

/// The proof that the log only grew between two sizes.
pub struct ProveConsistency {
    /// The earlier size.
    pub from: u64,
    /// The later one.
    pub to: u64,
}

impl View for ProveConsistency {
    const NAME: &'static str = "audit.consistency";
    const RESOURCE: &'static str = "audit_checkpoint";
    type Output = ConsistencyProof;

    fn permission(&self) -> Permission {
        Permission::AuditRead
    }

    async fn load(
        &self,
        database: &Database,
        context: &OpContext,
        _: Scope,
    ) -> Result<Found<Self::Output>, ViewFailure> {
        let proof = proof::consistency(database, context, self.from, self.to).await?;
        let sizes = || {
            Refusal::rule("invalid_sizes", "to", "Expected 0 < from ≤ to ≤ the log's signed size")
        };
        let value = proof.ok_or_else(sizes)?;
        Ok(Found::Object { value, resource: log(None) })
    }
}

/// The signed head of the log over all tenants' logs, with what witnesses said of it. It tells
/// how many checkpoints were signed for everybody together, and of no other tenant's how many.
pub struct ReadSuperCheckpoint;

impl View for ReadSuperCheckpoint {
    const NAME: &'static str = "audit.super_checkpoint";
    const RESOURCE: &'static str = "audit_checkpoint";
    type Output = PortableHead;

    fn permission(&self) -> Permission {
        Permission::AuditRead
    }

    async fn load(
        &self,
        database: &Database,
        context: &OpContext,
        _: Scope,
    ) -> Result<Found<Self::Output>, ViewFailure> {
        Ok(match super_proof::newest(database, context).await? {
            Some((head, keys)) => {
                Found::Object { value: PortableHead::of(head, &keys), resource: log(None) }
            }
            None => Found::Missing,
        })
    }
}

/// Writes down that the log, or what a filter lets through of it, leaves as a file.
/// Committed before the first byte does: there is no other way to have one.
pub struct RecordLogExport {
    /// The form of the file.
    pub format: &'static str,
    /// What of the log; all of it where nothing is filtered.
    pub filter: Filter,
}

impl Command for RecordLogExport {
    const NAME: &'static str = "audit.export";
    const RESOURCE: &'static str = "audit_event";
    type Output = ();

    fn permission(&self) -> Permission {
        Permission::AuditRead
    }

    async fn target(&self, _: &TenantTx, _: &OpContext) -> Result<Target, DbError> {
        let read_permission = Permission::AuditRead;
        Ok(Target::Object { resource: log(None), read_permission, field: None })
    }

    async fn execute(&self, _: &TenantTx, context: &OpContext) -> Outcome<()> {
        let filter = told_filter(self.filter.told()).unwrap_or_else(|| json!({}));
        let left = event(context, EventType::DataExport, Self::NAME, Self::RESOURCE)
            .details(json!({ "format": self.format, "filter": filter }))
            .personal_fields();
        Ok(Applied { output: (), status: 200, events: vec![left] })
    }
}

/// The log as a whole, or one record of it.
fn log(id: Option<Uuid>) -> Resource<'static> {
    Resource::for_permission(Permission::AuditRead, id)
}
