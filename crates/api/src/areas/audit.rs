//! The audit log: events, proofs, checkpoints. Read under `audit:read`; every look
//! leaves a record of its own.

use std::{net::IpAddr, str::FromStr};

use access::{Permission, Scope};
use audit::{
    ComplianceFlag, EventType, Outcome, Severity,
    note::NoteVerifier,
    portable::PortableInclusion,
    proof::{self, Inclusion, StoredCheckpoint},
    query::{ACTOR_KINDS, Filter},
};
use axum::{body::Body, extract::State, response::IntoResponse as _};
use http::header;
use jiff::Timestamp;
use operation::{
    Found, Page, PageRequest, Refusal, RefusalKind, View,
    audit_export::{LogExport, LogFormat},
    audit_views::{ListEvents, ProveConsistency, ProveEvent, ReadEvent, ReadSuperCheckpoint},
    read::ViewFailure,
};
use serde::{Deserialize, Serialize};
use tenancy::{Database, OpContext};
use uuid::Uuid;

use super::{Answer, ok};
use crate::{
    extract::{Caller, Id, PageParameters, PageQuery, Paging, Parameters, count, named},
    problem::Problem,
    state::ApiState,
    wire::audit as wire,
};

/// The filters of list and export, each optional; all have to hold. The list is paged, the
/// export has a format.
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
    actor_kind: Option<String>,
    user_agent: Option<String>,
    from: Option<Timestamp>,
    to: Option<Timestamp>,
    #[serde(skip_serializing)]
    limit: Option<u32>,
    #[serde(skip_serializing)]
    cursor: Option<String>,
    #[serde(skip_serializing)]
    count: Option<bool>,
    #[serde(skip_serializing)]
    format: Option<String>,
}

impl PageParameters for EventQuery {
    fn limit(&self) -> Option<u32> {
        self.limit
    }

    fn cursor(&self) -> Option<&str> {
        self.cursor.as_deref()
    }

    fn count(&self) -> bool {
        self.count.unwrap_or_default()
    }
}

impl EventQuery {
    /// Refuses parameters that the other of list and export has.
    fn takes_no(others: &[(&'static str, bool)]) -> Result<(), Problem> {
        let other = others.iter().find(|(_, is_there)| *is_there);
        let message = "This parameter is not known here";
        other.map_or(Ok(()), |(name, _)| {
            Err(Problem::malformed_field(*name, "unknown_field", message))
        })
    }

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
            actor_kind: actor_kind(self.actor_kind)?,
            user_agent: self.user_agent,
            from: self.from,
            to: self.to,
        })
    }
}

fn flag(text: Option<&str>) -> Result<Option<ComplianceFlag>, Problem> {
    let Some(text) = text else { return Ok(None) };
    let found = ComplianceFlag::ALL.into_iter().find(|flag| flag.as_str() == text);
    found.map(Some).ok_or_else(|| unknown("compliance_flag", "GDPR, KYC_AML, PCI_DSS or SOX"))
}

fn actor_kind(text: Option<String>) -> Result<Option<String>, Problem> {
    let known = text.as_ref().is_none_or(|kind| ACTOR_KINDS.contains(&kind.as_str()));
    known.then_some(text).ok_or_else(|| unknown("actor_kind", &ACTOR_KINDS.join(", ")))
}

fn unknown(field: &'static str, expected: &str) -> Problem {
    Problem::malformed_field(field, "invalid_value", format!("Expected {expected}"))
}

pub(crate) async fn list(
    State(state): State<ApiState>,
    Caller(context): Caller,
    Parameters(query): Parameters<EventQuery>,
) -> Answer {
    EventQuery::takes_no(&[("format", query.format.is_some())])?;
    let paging = Paging::of(&state, &context, "/v1/audit/events", &query).await?;
    let view = ListEvents { filter: query.filter()?, page: paging.request.clone() };
    let page = state.operations.read(&context, &view).await?;
    Ok(paging.answer(page, wire::Event::from))
}

/// The file of an export, a piece at a time; what breaks off, breaks the answer off.
pub(crate) async fn export(
    State(state): State<ApiState>,
    Caller(context): Caller,
    Parameters(query): Parameters<EventQuery>,
) -> Answer {
    EventQuery::takes_no(&[("limit", query.limit.is_some()), ("cursor", query.cursor.is_some())])?;
    let named = query.format.as_deref().unwrap_or_default();
    let format = LogFormat::ALL.into_iter().find(|format| format.as_str() == named);
    let format = format.ok_or_else(|| unknown("format", "csv or jsonl"))?;
    let export = LogExport::begin(&state.operations, &context, query.filter()?, format).await?;
    let name = format!("attachment; filename=\"audit-log.{}\"", format.as_str());
    let headers = [
        (header::CONTENT_TYPE, format.media_type().to_owned()),
        (header::CONTENT_DISPOSITION, name),
    ];
    Ok((headers, Body::from_stream(export.into_stream())).into_response())
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
        (Inclusion::Proven(proof), keys) => {
            let file = PortableInclusion::of(context.tenant_id(), *proof, &keys);
            ok(wire::Inclusion::from(file))
        }
        (Inclusion::Unknown, _) => Err(Problem::not_found()),
        (Inclusion::Waiting, _) => {
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
    let next_cursor = paging.cursor(page.next.as_deref());
    let mut response = ok(wire::Checkpoints::of(page.data, next_cursor, &keys))?;
    count(&mut response, page.total);
    Ok(response)
}

pub(crate) async fn super_checkpoint(
    State(state): State<ApiState>,
    Caller(context): Caller,
) -> Answer {
    let head = state.operations.read(&context, &ReadSuperCheckpoint).await?;
    ok(wire::SuperHead::from(head))
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

/// A position that the cursor vouches for; anything else is another list's.
fn position<T: FromStr>(text: &str) -> Result<T, Refusal> {
    let detail = "The cursor belongs to another list";
    text.parse().map_err(|_| Refusal::new(RefusalKind::Malformed, "invalid_cursor", detail))
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
        let fetch = u32::try_from(self.page.fetch()).unwrap_or(u32::MAX);
        let rows = proof::checkpoints(database, context, before, fetch).await?;
        let keys = proof::verifier_keys(database, context).await?;
        let page = Page::of(rows, &self.page, |checkpoint| checkpoint.tree_size.to_string());
        let count = page.data.len();
        Ok(Found::List { value: (page, keys), count })
    }
}

pub(crate) mod docs {
    //! What the handlers say of themselves.

    use audit::{ComplianceFlag, EventType, Outcome, Severity, query::ACTOR_KINDS};
    use operation::audit_export::LogFormat;

    use crate::{
        openapi_parts::{Doc, instant, one_of, text, uuid, whole_number},
        wire::{List, audit as wire},
    };

    pub(crate) fn list() -> Doc {
        filters(Doc::new("listAuditEvents", "audit", "The audit log, newest first"))
            .describe(
                "A page may hold fewer events than asked for, or none, and yet have a \
                 `next_cursor`: for a filter other than by user or object it looks through a \
                 bounded part of the log.",
            )
            .paged()
            .answers::<List<wire::Event>>(200, "A page of events.")
    }

    pub(crate) fn export() -> Doc {
        let formats = LogFormat::ALL.map(LogFormat::as_str);
        filters(Doc::new("exportAuditEvents", "audit", "The audit log as a file, newest first"))
            .required_query("format", one_of(formats), "CSV or JSON Lines.")
            .describe(
                "Streamed, with no bound on its length; recorded as a `data_export` before its \
                 first byte. An event that commits while the file is made may be missing: ids are \
                 in the order in which operations begin. `strongroom audit export` writes the \
                 file that proves the log.",
            )
            .answers_file("The file.")
    }

    fn filters(doc: Doc) -> Doc {
        let severities = Severity::ALL.map(Severity::as_str);
        let flags = ComplianceFlag::ALL.map(ComplianceFlag::as_str);
        doc.query("user_id", uuid(), "By the acting user.")
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
            .query("actor_kind", one_of(ACTOR_KINDS), "By the sort of actor.")
            .query("user_agent", text(), "By the client's user agent, as a whole.")
            .query("from", instant(), "From this instant, inclusive.")
            .query("to", instant(), "Before this instant.")
    }

    pub(crate) fn read() -> Doc {
        Doc::new("readAuditEvent", "audit", "One event").answers::<wire::Event>(200, "The event.")
    }

    pub(crate) fn prove() -> Doc {
        Doc::new("proveAuditEvent", "audit", "The proof that an event stands in the log")
            .describe(
                "An RFC 6962 inclusion proof against the latest signed checkpoint. The answer is \
                 a file that proves it to whoever has the log's key: `strongroom audit \
                 check-proof`.",
            )
            .answers::<wire::Inclusion>(200, "The proof.")
            .problem(409, &["not_sealed_yet"])
    }

    pub(crate) fn checkpoints() -> Doc {
        Doc::new("listAuditCheckpoints", "audit", "Signed tree heads, newest first")
            .paged()
            .answers::<wire::Checkpoints>(200, "A page of checkpoints and the keys that verify them.")
    }

    pub(crate) fn super_checkpoint() -> Doc {
        Doc::new(
            "readSuperCheckpoint",
            "audit",
            "The signed head of the log over all tenants' logs, with what witnesses said of it",
        )
        .answers::<wire::SuperHead>(200, "The head, its cosignatures and the keys.")
    }

    pub(crate) fn consistency() -> Doc {
        Doc::new("proveAuditConsistency", "audit", "The proof that the log only grew")
            .required_query("from", whole_number(), "The earlier size.")
            .required_query("to", whole_number(), "The later size.")
            .answers::<wire::Consistency>(200, "The proof.")
            .problem(422, &["invalid_sizes"])
    }
}
