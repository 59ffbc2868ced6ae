//! Owns what one audit event is, and the exact canonical bytes that are stored,
//! hashed and proven for ever.
//!
//! Refuses to know: the database, the tree, the request. Everything comes in
//! as plain values; time and tenant are the caller's.
//!
//! **Personal data never enters an event.** Values carry ids, states, amounts
//! and the names of changed fields; a sealed field appears only as its
//! ciphertext (sealed under the subject's key) or not at all, so that erasing
//! a person leaves every byte here, and every proof over it, valid.

use std::net::IpAddr;

use jiff::Timestamp;
use serde_json::Value;
use uuid::Uuid;

use crate::canonical::CanonicalError;
use crate::kind::{ComplianceFlag, EventType, Outcome};
use crate::merkle::{self, Hash};
use crate::record::Members;

/// Version of the record format; the member `v` of every record.
pub const RECORD_VERSION: i64 = 1;

/// Longest user agent kept, in bytes; the rest is cut at a character boundary.
const USER_AGENT_MAX_BYTES: usize = 256;

/// Who, where and when: the part of an event that every event of one request
/// shares, as plain values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventContext {
    /// The tenant whose log the event goes to.
    pub tenant_id: Uuid,
    /// The organisation acted in, where the tenant has organisations.
    pub organization_id: Option<Uuid>,
    /// The acting user, API key or operator; none for workers and strangers.
    pub user_id: Option<Uuid>,
    /// The session of the request.
    pub session_id: Option<Uuid>,
    /// `user`, `api_key`, `worker`, `cli` or `anonymous`.
    pub actor_kind: &'static str,
    /// The client's address after trusted proxies.
    pub ip_address: Option<IpAddr>,
    /// The client's user agent; cut at 256 bytes.
    pub user_agent: Option<String>,
    /// The request's id, as in `X-Request-ID`.
    pub request_id: Option<String>,
    /// The operation's instant on the injected clock, kept to the microsecond.
    pub occurred_at: Timestamp,
}

/// Why an event has no canonical record.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EventError {
    /// A value cannot be written canonically: a fraction, or an integer
    /// beyond 2^53 − 1.
    #[error("audit event {action}: {source}")]
    NotCanonical {
        /// The event's action.
        action: String,
        /// What stands in the way.
        source: CanonicalError,
    },
}

/// One event, built once and then sealed into bytes by [`AuditEvent::seal`].
///
/// The event id is a `UUIDv7` of the context's instant (RFC 9562, method 3:
/// the microseconds follow the milliseconds), so the order of ids is the order
/// of time and the primary key is also the index by time.
#[derive(Debug, Clone, PartialEq)]
pub struct AuditEvent {
    event_id: Uuid,
    event_type: EventType,
    action: String,
    outcome: Outcome,
    resource_type: String,
    resource_id: Option<Uuid>,
    old_values: Option<Value>,
    new_values: Option<Value>,
    details: Option<Value>,
    personal_fields: bool,
    is_recorded: bool,
    version: Option<i64>,
    context: EventContext,
}

/// What a successful event says of a versioned object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Change<'event> {
    /// The event's id.
    pub event_id: Uuid,
    /// The command's name.
    pub action: &'event str,
    /// The kind of object.
    pub object_type: &'event str,
    /// The object.
    pub object_id: Uuid,
    /// The version that the object came to.
    pub sequence: i64,
}

/// An event with its exact bytes and the leaf hash over them: what is stored.
#[derive(Debug, Clone, PartialEq)]
pub struct SealedEvent {
    /// The event; its values are those inside `record`.
    pub event: AuditEvent,
    /// The canonical record (RFC 8785), stored as it is.
    pub record: Vec<u8>,
    /// `SHA-256(0x00 ‖ record)`, the RFC 6962 leaf hash.
    pub leaf_hash: Hash,
}

impl AuditEvent {
    /// A successful event of `action` (the command's name, e.g.
    /// `transfer.create`) on a kind of resource.
    pub fn new(
        context: &EventContext,
        event_type: EventType,
        action: impl Into<String>,
        resource_type: impl Into<String>,
    ) -> Self {
        let mut context = context.clone();
        context.occurred_at = to_microseconds(context.occurred_at);
        context.user_agent = context.user_agent.map(short_user_agent);
        context.request_id = context.request_id.map(|id| id.replace('\0', "\u{fffd}"));
        Self {
            event_id: event_id_at(context.occurred_at),
            event_type,
            action: action.into(),
            outcome: Outcome::Success,
            resource_type: resource_type.into(),
            resource_id: None,
            old_values: None,
            new_values: None,
            details: None,
            personal_fields: false,
            is_recorded: false,
            version: None,
            context,
        }
    }

    /// Sets how the action ended.
    #[must_use]
    pub fn outcome(mut self, outcome: Outcome) -> Self {
        self.outcome = outcome;
        self
    }

    /// Sets the event type, where the outcome decides it (a refusal is
    /// [`EventType::PermissionDenied`] whatever was asked).
    #[must_use]
    pub fn event_type(mut self, event_type: EventType) -> Self {
        self.event_type = event_type;
        self
    }

    /// Sets the object acted on.
    #[must_use]
    pub fn resource_id(mut self, resource_id: Uuid) -> Self {
        self.resource_id = Some(resource_id);
        self
    }

    /// Sets the values before the change: ids and unsealed fields only.
    #[must_use]
    pub fn old_values(mut self, values: Value) -> Self {
        self.old_values = Some(values);
        self
    }

    /// Sets the values after the change: ids and unsealed fields only.
    #[must_use]
    pub fn new_values(mut self, values: Value) -> Self {
        self.new_values = Some(values);
        self
    }

    /// Sets anything else worth knowing: reason codes, counts, filters.
    #[must_use]
    pub fn details(mut self, details: Value) -> Self {
        self.details = Some(details);
        self
    }

    /// Says that a personal field was read or changed, which flags GDPR.
    #[must_use]
    pub fn personal_fields(mut self) -> Self {
        self.personal_fields = true;
        self
    }

    /// Says to which version its object came, which publishes the change. No part of the
    /// record.
    #[must_use]
    pub fn at_version(mut self, version: i64) -> Self {
        self.version = Some(version);
        self
    }

    /// The change that it tells of; none where it is no success, or of no versioned object.
    pub fn change(&self) -> Option<Change<'_>> {
        if self.outcome != Outcome::Success {
            return None;
        }
        Some(Change {
            event_id: self.event_id,
            action: &self.action,
            object_type: &self.resource_type,
            object_id: self.resource_id?,
            sequence: self.version?,
        })
    }

    /// Whether its record was written ahead of what it tells of: [`Batch`] leaves it out.
    ///
    /// [`Batch`]: crate::store::Batch
    pub fn is_recorded(&self) -> bool {
        self.is_recorded
    }

    pub(crate) fn recorded(mut self) -> Self {
        self.is_recorded = true;
        self
    }

    /// The id, known before anything is stored.
    pub fn event_id(&self) -> Uuid {
        self.event_id
    }

    /// The type as it stands.
    pub fn kind(&self) -> EventType {
        self.event_type
    }

    /// The flags that follow by rule from type, resource and personal fields.
    pub fn compliance_flags(&self) -> Vec<ComplianceFlag> {
        ComplianceFlag::by_rule(self.event_type, &self.resource_type, self.personal_fields)
    }

    /// The tenant whose log this goes to.
    pub fn tenant_id(&self) -> Uuid {
        self.context.tenant_id
    }

    pub(crate) fn parts(&self) -> EventParts<'_> {
        EventParts {
            event_type: self.event_type,
            action: &self.action,
            outcome: self.outcome,
            resource_type: &self.resource_type,
            resource_id: self.resource_id,
            old_values: self.old_values.as_ref(),
            new_values: self.new_values.as_ref(),
            details: self.details.as_ref(),
            context: &self.context,
        }
    }

    /// The canonical record: RFC 8785 JSON (members sorted, no white space,
    /// integers only), absent members left out, UTF-8.
    pub fn record(&self) -> Result<Vec<u8>, EventError> {
        let context = &self.context;
        let flags = self.compliance_flags();
        let members = Members {
            action: &self.action,
            actor_kind: context.actor_kind,
            compliance_flags: &flags.iter().map(|flag| flag.as_str()).collect::<Vec<_>>(),
            details: self.details.as_ref(),
            event_id: self.event_id,
            event_type: self.event_type.as_str(),
            ip_address: context.ip_address,
            new_values: self.new_values.as_ref(),
            occurred_at: context.occurred_at,
            old_values: self.old_values.as_ref(),
            organization_id: context.organization_id,
            request_id: context.request_id.as_deref(),
            resource_id: self.resource_id,
            resource_type: &self.resource_type,
            result: self.outcome.as_str(),
            session_id: context.session_id,
            severity: self.event_type.severity().as_str(),
            tenant_id: context.tenant_id,
            user_agent: context.user_agent.as_deref(),
            user_id: context.user_id,
        };
        members
            .write(Vec::with_capacity(512))
            .map_err(|source| EventError::NotCanonical { action: self.action.clone(), source })
    }

    /// Writes the record and hashes it.
    pub fn seal(self) -> Result<SealedEvent, EventError> {
        let record = self.record()?;
        let leaf_hash = merkle::leaf_hash(&record);
        Ok(SealedEvent { event: self, record, leaf_hash })
    }
}

/// What the store writes into the columns beside the bytes.
pub(crate) struct EventParts<'event> {
    pub(crate) event_type: EventType,
    pub(crate) action: &'event str,
    pub(crate) outcome: Outcome,
    pub(crate) resource_type: &'event str,
    pub(crate) resource_id: Option<Uuid>,
    pub(crate) old_values: Option<&'event Value>,
    pub(crate) new_values: Option<&'event Value>,
    pub(crate) details: Option<&'event Value>,
    pub(crate) context: &'event EventContext,
}

/// A `UUIDv7` of an instant: 48 bits of milliseconds, 12 bits of the fraction
/// of the millisecond, 62 random bits (RFC 9562, section 6.2, method 3).
pub fn event_id_at(instant: Timestamp) -> Uuid {
    let microseconds = u64::try_from(instant.as_microsecond()).unwrap_or(0);
    let fraction = (microseconds % 1_000) * 4_096 / 1_000;
    let mut tail = vault::random_bytes::<10>();
    tail[0] = u8::try_from(fraction >> 8).unwrap_or(0);
    tail[1] = u8::try_from(fraction & 0xff).unwrap_or(0);
    uuid::Builder::from_unix_timestamp_millis(microseconds / 1_000, &tail).into_uuid()
}

/// The smallest event id of an instant, for time ranges over the primary key.
pub fn first_event_id_at(instant: Timestamp) -> Uuid {
    let milliseconds = u64::try_from(instant.as_millisecond()).unwrap_or(0);
    uuid::Builder::from_unix_timestamp_millis(milliseconds, &[0; 10]).into_uuid()
}

fn to_microseconds(instant: Timestamp) -> Timestamp {
    Timestamp::from_microsecond(instant.as_microsecond()).unwrap_or(instant)
}

fn short_user_agent(agent: String) -> String {
    let agent = if agent.contains('\0') { agent.replace('\0', "\u{fffd}") } else { agent };
    if agent.len() <= USER_AGENT_MAX_BYTES {
        return agent;
    }
    let cut = (0..=USER_AGENT_MAX_BYTES).rev().find(|at| agent.is_char_boundary(*at));
    agent[..cut.unwrap_or(0)].to_owned()
}

#[cfg(test)]
#[path = "event_tests.rs"]
mod tests;
