//! The audit log: a timeline, each record with what it changed, and its verification.

mod checks;
pub(crate) mod views;
mod words;

use std::{collections::BTreeMap, net::IpAddr};

use access::Permission;
use askama::Template;
use audit::{
    ComplianceFlag, EventType, Outcome, Severity,
    portable::PortableInclusion,
    proof::{Inclusion, InclusionProof, StoredCheckpoint},
    query::{ACTOR_KINDS, Filter, StoredEvent},
};
use axum::{body::Body, extract::Path, response::IntoResponse as _};
use http::{HeaderValue, header};
use jiff::{Timestamp, civil::Date, tz::TimeZone};
use operation::audit_export::{LogExport, LogFormat};
use operation::audit_views::{ListEvents, ProveEvent, ReadEvent};
use uuid::Uuid;

use self::{
    checks::Check,
    views::{Evidence, ExamineLog},
    words::{Change, changes, place, sentence},
};
use super::as_api::{AsApi, address};
use crate::{
    fault::{Answer, Fault},
    kit::{self, Markup},
    page::Page,
    params::Params,
    visitor::Visitor,
};

/// Said where a filter names a person who is not there.
const NOBODY: &str = "There is nobody of that name, and so no id to ask for.";
/// Records proven by a look at the whole log.
const SAMPLES: u32 = 12;

/// A record as the timeline shows it.
struct Line {
    event: StoredEvent,
    who: String,
    told: String,
    at: String,
    tone: &'static str,
}

struct Day {
    title: String,
    lines: Vec<Line>,
}

#[derive(Template)]
#[template(path = "areas/audit.html")]
struct Timeline {
    page: Page,
    params: Params,
    list: TimelineList,
    options: Options,
    more_filters: bool,
}

#[derive(Template)]
#[template(path = "areas/audit_list.html")]
struct TimelineList {
    days: Vec<Day>,
    first: Option<String>,
    next: Option<String>,
    csv: String,
    json_lines: String,
    api: AsApi,
    is_filtered: bool,
}

/// Drawn inside the page: a template, and as such escaped already.
impl askama::filters::HtmlSafe for TimelineList {}

/// What the filters offer.
struct Options {
    kinds: Vec<(String, String)>,
    severities: Vec<(String, String)>,
    results: Vec<(String, String)>,
    flags: Vec<(String, String)>,
    actors: Vec<(String, String)>,
}

#[derive(Template)]
#[template(path = "areas/audit_event.html")]
struct Shown {
    page: Page,
    zone: TimeZone,
    event: StoredEvent,
    who: String,
    place: Option<String>,
    changes: Vec<Change>,
    has_old: bool,
    details: Vec<Change>,
    proof: Option<Box<InclusionProof>>,
    leaf: String,
    steps: Vec<(String, &'static str)>,
    root: String,
    checks: Option<Vec<Check>>,
    verdict: bool,
    record: String,
}

#[derive(Template)]
#[template(path = "areas/audit_verify.html")]
struct Verified {
    page: Page,
    zone: TimeZone,
    latest: Option<StoredCheckpoint>,
    root: String,
    checks: Vec<Check>,
    verdict: bool,
    waiting: usize,
    keys: Vec<String>,
}

/// `GET /audit?who=&action=&event_type=&severity=&result=&resource_type=&resource_id=&from=&to=&ip_address=`.
pub(crate) async fn list(visitor: Visitor, params: Params) -> Answer {
    let asked = filter(&visitor, &params).await?;
    let request = visitor.page_request("/audit", &params).await?;
    let page = visitor
        .page("Audit log")
        .lead("Who did what, and when: sealed in a signed tree, so that nothing can be changed or taken out unnoticed.")
        .api(api_of(asked.as_ref()));
    let note = if asked.is_some() { "" } else { NOBODY };
    let api = AsApi::of(&page, note);
    let found = match asked {
        Some(filter) => visitor.read(&ListEvents { filter, page: request }).await?,
        // Nobody of that name: nothing of theirs.
        None => operation::Page { data: Vec::new(), next: None, total: None },
    };
    let list = TimelineList {
        next: visitor.next_page("/audit", &params, found.next.as_deref()).await?,
        first: params.get("cursor").map(|_| params.link("/audit", "cursor", "")),
        days: days(&visitor, found.data).await?,
        csv: params.link("/audit.csv", "cursor", ""),
        json_lines: params.link("/audit.jsonl", "cursor", ""),
        api,
        is_filtered: !params.without(&["cursor"]).is_empty(),
    };
    if visitor.wants_fragment() {
        return visitor.show(&list);
    }
    let more_filters = !params.without(&["cursor", "who", "severity", "from", "to"]).is_empty();
    visitor.show(&Timeline { page, list, options: options(), more_filters, params })
}

/// `GET /audit.csv`: what the filters let through, as long as that is.
pub(crate) async fn csv(visitor: Visitor, params: Params) -> Answer {
    file(&visitor, &params, LogFormat::Csv).await
}

/// `GET /audit.jsonl`: the same, for programs.
pub(crate) async fn json_lines(visitor: Visitor, params: Params) -> Answer {
    file(&visitor, &params, LogFormat::JsonLines).await
}

async fn file(visitor: &Visitor, params: &Params, format: LogFormat) -> Answer {
    // Nobody of that name: nothing of theirs.
    let nobody = || Filter { user_id: Some(Uuid::nil()), ..Filter::default() };
    let filter = filter(visitor, params).await?.unwrap_or_else(nobody);
    let operations = &visitor.console.operations;
    let export = LogExport::begin(operations, visitor.context(), filter, format).await?;
    let name = format!("attachment; filename=\"audit-log.{}\"", format.as_str());
    let headers = [
        (header::CONTENT_TYPE, format.media_type().to_owned()),
        (header::CONTENT_DISPOSITION, name),
    ];
    Ok((headers, Body::from_stream(export.into_stream())).into_response())
}

/// `GET /audit/{id}?verify=yes`.
pub(crate) async fn show(visitor: Visitor, Path(id): Path<Uuid>, params: Params) -> Answer {
    let event = visitor.read(&ReadEvent(id)).await?;
    let (inclusion, keys) = visitor.read(&ProveEvent(id)).await?;
    let proof = match inclusion {
        Inclusion::Proven(proof) => Some(proof),
        Inclusion::Waiting | Inclusion::Unknown => None,
    };
    let wants = params.get("verify").is_some();
    let checks =
        proof.as_deref().filter(|_| wants).map(|proof| checks::event(&event, proof, &keys));
    let names = names(&visitor, std::slice::from_ref(&event)).await?;
    let record = proof
        .as_ref()
        .and_then(|proof| serde_json::from_str::<serde_json::Value>(&proof.record).ok())
        .or_else(|| serde_json::to_value(&event).ok())
        .and_then(|value| serde_json::to_string_pretty(&value).ok())
        .unwrap_or_default();
    let told = sentence(&event);
    let who = actor(&event, &names);
    // What is not sealed yet has no proof to ask for.
    let tail = if proof.is_some() { "/proof" } else { "" };
    visitor.show(&Shown {
        page: visitor
            .page(format!("{who} {told}"))
            .crumb("Audit log", "/audit")
            .api(format!("/v1/audit/events/{id}{tail}")),
        zone: visitor.zone(),
        who,
        place: place(&event),
        changes: changes(event.old_values.as_ref(), event.new_values.as_ref()),
        has_old: event.old_values.is_some(),
        details: changes(None, event.details.as_ref()),
        leaf: proof.as_ref().map(|proof| checks::hash_text(&proof.leaf_hash)).unwrap_or_default(),
        steps: proof.as_deref().map(steps).unwrap_or_default(),
        root: proof
            .as_ref()
            .map(|proof| checks::hash_text(&proof.checkpoint.root_hash))
            .unwrap_or_default(),
        verdict: checks.as_ref().is_some_and(|checks| checks.iter().all(|check| check.passed)),
        checks,
        proof,
        event,
        record,
    })
}

/// `GET /audit/{id}/proof.json`: all that an outsider needs beside patience.
pub(crate) async fn proof(visitor: Visitor, Path(id): Path<Uuid>) -> Answer {
    let (inclusion, keys) = visitor.read(&ProveEvent(id)).await?;
    let Inclusion::Proven(proof) = inclusion else {
        return visitor.redirect_saying(
            &format!("/audit/{id}"),
            "Not sealed yet: there is no proof to download",
        );
    };
    let file = PortableInclusion::of(visitor.context().tenant_id(), *proof, &keys);
    let text = serde_json::to_string_pretty(&file).map_err(|_| Fault::internal())?;
    let name = HeaderValue::from_str(&format!("attachment; filename=\"audit-proof-{id}.json\""));
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("application/json")),
        (header::CONTENT_DISPOSITION, name.map_err(|_| Fault::internal())?),
    ];
    Ok((headers, text).into_response())
}

/// `GET /audit/verify`: as much of the whole log as one page may look at.
pub(crate) async fn verify(visitor: Visitor) -> Answer {
    let evidence: Evidence = visitor.read(&ExamineLog { samples: SAMPLES }).await?;
    let checks = checks::log(&evidence);
    visitor.show(&Verified {
        page: visitor
            .page("Verify the log")
            .lead("Checked anew for this page, from the records and the signed head of the tree.")
            .crumb("Audit log", "/audit")
            .api("/v1/audit/checkpoints"),
        zone: visitor.zone(),
        root: evidence
            .latest
            .as_ref()
            .map(|latest| checks::hash_text(&latest.root_hash))
            .unwrap_or_default(),
        verdict: !checks.is_empty() && checks.iter().all(|check| check.passed),
        checks,
        latest: evidence.latest,
        waiting: evidence.waiting,
        keys: evidence.keys.iter().map(audit::note::NoteVerifier::to_text).collect(),
    })
}

/// The filters of the address; none where they name somebody who is not there.
async fn filter(visitor: &Visitor, params: &Params) -> Result<Option<Filter>, Fault> {
    let zone = visitor.zone();
    let mut filter = Filter {
        event_type: params.parsed::<EventType>("event_type")?,
        severity: params
            .get("severity")
            .map(|name| {
                Severity::ALL
                    .into_iter()
                    .find(|severity| severity.as_str() == name)
                    .ok_or_else(|| Fault::malformed("severity"))
            })
            .transpose()?,
        outcome: params
            .get("result")
            .map(|name| {
                Outcome::ALL
                    .into_iter()
                    .find(|outcome| outcome.as_str() == name)
                    .ok_or_else(|| Fault::malformed("result"))
            })
            .transpose()?,
        action: params.get("action").map(str::to_owned),
        resource_type: params.get("resource_type").map(str::to_owned),
        resource_id: params.id("resource_id")?,
        session_id: params.id("session_id")?,
        request_id: params.get("request_id").map(str::to_owned),
        organization_id: params.id("organization_id")?,
        compliance_flag: params
            .get("compliance_flag")
            .map(|name| {
                ComplianceFlag::ALL
                    .into_iter()
                    .find(|flag| flag.as_str() == name)
                    .ok_or_else(|| Fault::malformed("compliance_flag"))
            })
            .transpose()?,
        actor_kind: params
            .get("actor_kind")
            .map(|name| {
                let known = ACTOR_KINDS.into_iter().find(|kind| *kind == name);
                known.map(str::to_owned).ok_or_else(|| Fault::malformed("actor_kind"))
            })
            .transpose()?,
        user_agent: params.get("user_agent").map(str::to_owned),
        ip_address: params.parsed::<IpAddr>("ip_address")?,
        from: midnight(params, "from", &zone, false)?,
        to: midnight(params, "to", &zone, true)?,
        user_id: None,
    };
    if let Some(who) = params.get("who") {
        filter.user_id = match who.parse::<Uuid>() {
            Ok(id) => Some(id),
            Err(_) => named(visitor, who).await?,
        };
        if filter.user_id.is_none() {
            return Ok(None);
        }
    }
    Ok(Some(filter))
}

async fn named(visitor: &Visitor, username: &str) -> Result<Option<Uuid>, Fault> {
    if !visitor.may(Permission::UserRead) {
        return Ok(None);
    }
    let found = visitor.console.identity.user_names(visitor.context(), &[], &[username]).await?;
    Ok(found.first().map(|(id, _)| *id))
}

/// The beginning of a day in the tenant's zone, or of the one after it.
fn midnight(
    params: &Params,
    name: &'static str,
    zone: &TimeZone,
    after: bool,
) -> Result<Option<Timestamp>, Fault> {
    let Some(day) = params.parsed::<Date>(name)? else { return Ok(None) };
    let wrong = |_| Fault::malformed(name);
    let day = if after { day.tomorrow().map_err(wrong)? } else { day };
    Ok(Some(day.to_zoned(zone.clone()).map_err(wrong)?.timestamp()))
}

/// Names of those who acted, as far as the person may know them.
async fn names(visitor: &Visitor, events: &[StoredEvent]) -> Result<BTreeMap<Uuid, String>, Fault> {
    let mut ids: Vec<Uuid> = events.iter().filter_map(|event| event.user_id).collect();
    ids.sort();
    ids.dedup();
    if ids.is_empty() || !visitor.may(Permission::UserRead) {
        return Ok(BTreeMap::new());
    }
    let found = visitor.console.identity.user_names(visitor.context(), &ids, &[]).await?;
    Ok(found.into_iter().collect())
}

fn actor(event: &StoredEvent, names: &BTreeMap<Uuid, String>) -> String {
    match (event.user_id, event.actor_kind.as_str()) {
        (Some(id), _) => names.get(&id).cloned().unwrap_or_else(|| {
            let text = id.to_string();
            format!("Person …{}", text.rsplit('-').next().unwrap_or_default())
        }),
        (None, "cli") => "An operator".to_owned(),
        (None, "worker") => "The system".to_owned(),
        (None, "anonymous") => "Somebody".to_owned(),
        (None, kind) => kit::words(kind),
    }
}

async fn days(visitor: &Visitor, events: Vec<StoredEvent>) -> Result<Vec<Day>, Fault> {
    let names = names(visitor, &events).await?;
    let zone = visitor.zone();
    let today = visitor.context().clock.now().to_zoned(zone.clone()).date();
    let mut days: Vec<(Date, Day)> = Vec::new();
    for event in events {
        let local = event.occurred_at.to_zoned(zone.clone());
        let (date, at) = (local.date(), local.strftime("%H:%M:%S").to_string());
        let line = Line {
            who: actor(&event, &names),
            told: sentence(&event),
            at,
            tone: tone(&event),
            event,
        };
        match days.last_mut() {
            Some((last, day)) if *last == date => day.lines.push(line),
            _ => {
                let title = if date == today {
                    "Today".to_owned()
                } else {
                    date.strftime("%A, %-d %B %Y").to_string()
                };
                days.push((date, Day { title, lines: vec![line] }));
            }
        }
    }
    Ok(days.into_iter().map(|(_, day)| day).collect())
}

fn tone(event: &StoredEvent) -> &'static str {
    match (event.severity.as_str(), event.result.as_str()) {
        ("critical", _) | (_, "failed") => "bad",
        (_, "denied") => "wait",
        ("high", _) => "care",
        ("medium", _) => "good",
        _ => "calm",
    }
}

/// The audit path, and on which side each hash stands.
fn steps(proof: &InclusionProof) -> Vec<(String, &'static str)> {
    let (mut node, mut last) = (proof.log_index, proof.checkpoint.tree_size.saturating_sub(1));
    let mut steps = Vec::with_capacity(proof.hashes.len());
    for hash in &proof.hashes {
        // As RFC 6962 verification goes: an odd node, or the last of its level, has its
        // neighbour on the left.
        let left = node & 1 == 1 || node == last;
        if left {
            while node & 1 == 0 && node != 0 {
                node >>= 1;
                last >>= 1;
            }
        }
        steps.push((checks::hash_text(hash), if left { "left" } else { "right" }));
        node >>= 1;
        last >>= 1;
    }
    steps
}

fn options() -> Options {
    let named = |name: &str| (name.to_owned(), kit::words(name));
    let any = || (String::new(), "Any".to_owned());
    let mut kinds: Vec<_> = EventType::ALL.iter().map(|kind| named(kind.as_str())).collect();
    kinds.sort();
    kinds.insert(0, any());
    let with_any = |names: Vec<&str>| {
        std::iter::once(any()).chain(names.into_iter().map(named)).collect::<Vec<_>>()
    };
    Options {
        kinds,
        severities: with_any(Severity::ALL.iter().map(|severity| severity.as_str()).collect()),
        results: with_any(Outcome::ALL.iter().map(|outcome| outcome.as_str()).collect()),
        flags: std::iter::once(any())
            .chain(ComplianceFlag::ALL.map(|flag| {
                let name = flag.as_str();
                (name.to_owned(), name.replace('_', " "))
            }))
            .collect(),
        actors: with_any(ACTOR_KINDS.to_vec()),
    }
}

/// The same list from the interface: people by id, days by the instants at which they
/// begin and end in the tenant's zone. Nobody is the nil id.
fn api_of(asked: Option<&Filter>) -> String {
    let path = "/v1/audit/events";
    let Some(filter) = asked else {
        return address(path, &[("user_id", Some(Uuid::nil().to_string()))]);
    };
    let text = |id: Option<Uuid>| id.map(|id| id.to_string());
    let filters = [
        ("user_id", text(filter.user_id)),
        ("event_type", filter.event_type.map(|kind| kind.as_str().to_owned())),
        ("severity", filter.severity.map(|severity| severity.as_str().to_owned())),
        ("result", filter.outcome.map(|outcome| outcome.as_str().to_owned())),
        ("action", filter.action.clone()),
        ("resource_type", filter.resource_type.clone()),
        ("resource_id", text(filter.resource_id)),
        ("session_id", text(filter.session_id)),
        ("request_id", filter.request_id.clone()),
        ("organization_id", text(filter.organization_id)),
        ("compliance_flag", filter.compliance_flag.map(|flag| flag.as_str().to_owned())),
        ("actor_kind", filter.actor_kind.clone()),
        ("user_agent", filter.user_agent.clone()),
        ("ip_address", filter.ip_address.map(|address| address.to_string())),
        ("from", filter.from.map(|from| from.to_string())),
        ("to", filter.to.map(|to| to.to_string())),
    ];
    address(path, &filters)
}

impl Shown {
    fn when(&self) -> Markup {
        kit::time(self.event.occurred_at, &self.zone)
    }

    /// The timeline narrowed to one value.
    fn filtered(&self, name: &str, value: &str) -> String {
        let _ = self;
        Params::default().link("/audit", name, value)
    }
}
