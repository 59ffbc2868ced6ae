//! The audit log: events, proofs, checkpoints. Read under `audit:read`; every look
//! leaves a record of its own.

use std::{net::IpAddr, str::FromStr};

use access::{Permission, Resource, Scope};
use audit::{
    ComplianceFlag, EventType, Outcome, Severity,
    note::NoteVerifier,
    proof::{self, ConsistencyProof, Inclusion, StoredCheckpoint},
    query::{self, Filter, StoredEvent},
};
use axum::extract::State;
use jiff::Timestamp;
use operation::{
    Found, Page, PageRequest, Refusal, RefusalKind, View,
    read::{ViewFailure, told_filter},
};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tenancy::{Database, OpContext};
use uuid::Uuid;

use super::{Answer, ok};
use crate::{
    extract::{Caller, Id, PageParameters, PageQuery, Paging, Parameters, named},
    problem::Problem,
    state::ApiState,
    wire::{List, audit as wire},
};

/// The filters of the list, each optional; all have to hold.
#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct EventQuery {
    user_id: Option<Uuid>,
    event_type: Option<String>,
    severity: Option<String>,
    result: Option<String>,
    action: Option<String>,
    resource_type: Option<String>,
    resource_id: Option<Uuid>,
    session_id: Option<Uuid>,
    request_id: Option<String>,
    organization_id: Option<Uuid>,
    compliance_flag: Option<String>,
    ip_address: Option<IpAddr>,
    from: Option<Timestamp>,
    to: Option<Timestamp>,
    #[serde(skip_serializing)]
    limit: Option<u32>,
    #[serde(skip_serializing)]
    cursor: Option<String>,
}

impl PageParameters for EventQuery {
    fn limit(&self) -> Option<u32> {
        self.limit
    }

    fn cursor(&self) -> Option<&str> {
        self.cursor.as_deref()
    }
}

impl EventQuery {
    fn filter(self) -> Result<Filter, Problem> {
        Ok(Filter {
            user_id: self.user_id,
            event_type: named::<EventType>("event_type", self.event_type.as_deref())?,
            severity: named::<Severity>("severity", self.severity.as_deref())?,
            outcome: named::<Outcome>("result", self.result.as_deref())?,
            action: self.action,
            resource_type: self.resource_type,
            resource_id: self.resource_id,
            session_id: self.session_id,
            request_id: self.request_id,
            organization_id: self.organization_id,
            compliance_flag: flag(self.compliance_flag.as_deref())?,
            ip_address: self.ip_address,
            from: self.from,
            to: self.to,
        })
    }
}

fn flag(text: Option<&str>) -> Result<Option<ComplianceFlag>, Problem> {
    use ComplianceFlag::{Gdpr, KycAml, PciDss, Sox};
    let Some(text) = text else { return Ok(None) };
    let found = [Gdpr, KycAml, PciDss, Sox].into_iter().find(|flag| flag.as_str() == text);
    let message = "Expected GDPR, KYC_AML, PCI_DSS or SOX";
    found
        .map(Some)
        .ok_or_else(|| Problem::malformed_field("compliance_flag", "invalid_value", message))
}

pub(crate) async fn list(
    State(state): State<ApiState>,
    Caller(context): Caller,
    Parameters(query): Parameters<EventQuery>,
) -> Answer {
    let paging = Paging::of(&state, &context, "/v1/audit/events", &query).await?;
    let view = ListEvents { filter: query.filter()?, page: paging.request.clone() };
    let page = state.operations.read(&context, &view).await?;
    ok(List {
        data: page.data.into_iter().map(wire::Event::from).collect(),
        next_cursor: paging.cursor(page.next.as_deref()),
    })
}

pub(crate) async fn read(
    State(state): State<ApiState>,
    Caller(context): Caller,
    Id(id): Id,
) -> Answer {
    let event = state.operations.read(&context, &ReadEvent(id)).await?;
    ok(wire::Event::from(event))
}

pub(crate) async fn prove(
    State(state): State<ApiState>,
    Caller(context): Caller,
    Id(id): Id,
) -> Answer {
    match state.operations.read(&context, &ProveEvent(id)).await? {
        Inclusion::Proven(proof) => ok(wire::Inclusion::from(*proof)),
        Inclusion::Unknown => Err(Problem::not_found()),
        Inclusion::Waiting => {
            let detail = "The event is being sealed: try again in a second";
            Err(Refusal::new(RefusalKind::Conflict, "not_sealed_yet", detail).retry_after(1).into())
        }
    }
}

pub(crate) async fn checkpoints(
    State(state): State<ApiState>,
    Caller(context): Caller,
    Parameters(query): Parameters<PageQuery>,
) -> Answer {
    let paging = Paging::of(&state, &context, "/v1/audit/checkpoints", &query).await?;
    let view = ListCheckpoints { page: paging.request.clone() };
    let (page, keys) = state.operations.read(&context, &view).await?;
    ok(wire::Checkpoints::of(page.data, paging.cursor(page.next.as_deref()), &keys))
}

/// Two sizes of the log.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ConsistencyQuery {
    from: u64,
    to: u64,
}

pub(crate) async fn consistency(
    State(state): State<ApiState>,
    Caller(context): Caller,
    Parameters(query): Parameters<ConsistencyQuery>,
) -> Answer {
    let proof = state
        .operations
        .read(&context, &ProveConsistency { from: query.from, to: query.to })
        .await?;
    ok(wire::Consistency::from(proof))
}

struct ListEvents {
    filter: Filter,
    page: PageRequest,
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
        let before = self.page.after.as_deref().map(position::<Uuid>).transpose()?;
        // The log is the tenant's: it is read whole or not at all.
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

/// A position that the cursor vouches for; anything else is another list's.
fn position<T: FromStr>(text: &str) -> Result<T, Refusal> {
    let detail = "The cursor belongs to another list";
    text.parse().map_err(|_| Refusal::new(RefusalKind::Malformed, "invalid_cursor", detail))
}

struct ReadEvent(Uuid);

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

struct ProveEvent(Uuid);

impl View for ProveEvent {
    const NAME: &'static str = "audit.prove";
    const RESOURCE: &'static str = "audit_event";
    type Output = Inclusion;

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
            value => Ok(Found::Object { value, resource: log(Some(self.0)) }),
        }
    }
}

struct ListCheckpoints {
    page: PageRequest,
}

impl View for ListCheckpoints {
    const NAME: &'static str = "audit.checkpoints";
    const RESOURCE: &'static str = "audit_checkpoint";
    type Output = (Page<StoredCheckpoint>, Vec<NoteVerifier>);

    fn permission(&self) -> Permission {
        Permission::AuditRead
    }

    async fn load(
        &self,
        database: &Database,
        context: &OpContext,
        _: Scope,
    ) -> Result<Found<Self::Output>, ViewFailure> {
        let before = self.page.after.as_deref().map(position::<u64>).transpose()?;
        let rows = proof::checkpoints(database, context, before, self.page.limit + 1).await?;
        let keys = proof::verifier_keys(database, context).await?;
        let page = Page::of(rows, &self.page, |checkpoint| checkpoint.tree_size.to_string());
        let count = page.data.len();
        Ok(Found::List { value: (page, keys), count })
    }
}

struct ProveConsistency {
    from: u64,
    to: u64,
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

fn log(id: Option<Uuid>) -> Resource<'static> {
    Resource::for_permission(Permission::AuditRead, id)
}

pub(crate) mod docs {
    //! What the handlers say of themselves.

    use audit::{EventType, Outcome, Severity};

    use crate::{
        openapi_parts::{Doc, instant, one_of, text, uuid, whole_number},
        wire::{List, audit as wire},
    };

    pub(crate) fn list() -> Doc {
        let severities = Severity::ALL.map(Severity::as_str);
        let flags = ["GDPR", "KYC_AML", "PCI_DSS", "SOX"];
        Doc::new("listAuditEvents", "audit", "The audit log, newest first")
            .query("user_id", uuid(), "By the acting user.")
            .query(
                "event_type",
                one_of(EventType::ALL.iter().map(|kind| kind.as_str())),
                "By type.",
            )
            .query("severity", one_of(severities), "By severity.")
            .query("result", one_of(Outcome::ALL.map(Outcome::as_str)), "By how it ended.")
            .query("action", text(), "By the command's or view's name.")
            .query("resource_type", text(), "By the kind of object.")
            .query("resource_id", uuid(), "By the object: its timeline.")
            .query("session_id", uuid(), "By session.")
            .query("request_id", text(), "By request.")
            .query("organization_id", uuid(), "By organisation.")
            .query("compliance_flag", one_of(flags), "By the rules it falls under.")
            .query("ip_address", text(), "By the client's address.")
            .query("from", instant(), "From this instant, inclusive.")
            .query("to", instant(), "Before this instant.")
            .paged()
            .answers::<List<wire::Event>>(200, "A page of events.")
    }

    pub(crate) fn read() -> Doc {
        Doc::new("readAuditEvent", "audit", "One event").answers::<wire::Event>(200, "The event.")
    }

    pub(crate) fn prove() -> Doc {
        Doc::new("proveAuditEvent", "audit", "The proof that an event stands in the log")
            .describe("An RFC 6962 inclusion proof against the latest signed checkpoint.")
            .answers::<wire::Inclusion>(200, "The proof.")
            .problem(409, &["not_sealed_yet"])
    }

    pub(crate) fn checkpoints() -> Doc {
        Doc::new("listAuditCheckpoints", "audit", "Signed tree heads, newest first")
            .paged()
            .answers::<wire::Checkpoints>(200, "A page of checkpoints and the keys that verify them.")
    }

    pub(crate) fn consistency() -> Doc {
        Doc::new("proveAuditConsistency", "audit", "The proof that the log only grew")
            .required_query("from", whole_number(), "The earlier size.")
            .required_query("to", whole_number(), "The later size.")
            .answers::<wire::Consistency>(200, "The proof.")
            .problem(422, &["invalid_sizes"])
    }
}
