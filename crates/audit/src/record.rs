//! Owns the shape of a record: which members it has, under which names and in
//! which order. One place for writing an event and for writing it again from the
//! columns, which is how `audit verify` compares the two.
//!
//! Refuses to know: where the values come from.

use std::fmt::Write as _;
use std::net::IpAddr;

use jiff::Timestamp;
use serde_json::Value;
use uuid::Uuid;

use crate::canonical::{CanonicalError, ObjectWriter};
use crate::event::RECORD_VERSION;

/// The members of one record, borrowed from wherever they stand.
pub(crate) struct Members<'a> {
    pub(crate) action: &'a str,
    pub(crate) actor_kind: &'a str,
    pub(crate) compliance_flags: &'a [&'a str],
    pub(crate) details: Option<&'a Value>,
    pub(crate) event_id: Uuid,
    pub(crate) event_type: &'a str,
    pub(crate) ip_address: Option<IpAddr>,
    pub(crate) new_values: Option<&'a Value>,
    pub(crate) occurred_at: Timestamp,
    pub(crate) old_values: Option<&'a Value>,
    pub(crate) organization_id: Option<Uuid>,
    pub(crate) request_id: Option<&'a str>,
    pub(crate) resource_id: Option<Uuid>,
    pub(crate) resource_type: &'a str,
    pub(crate) result: &'a str,
    pub(crate) session_id: Option<Uuid>,
    pub(crate) severity: &'a str,
    pub(crate) tenant_id: Uuid,
    pub(crate) user_agent: Option<&'a str>,
    pub(crate) user_id: Option<Uuid>,
}

impl Members<'_> {
    /// The canonical record in place of what the buffer held: RFC 8785 JSON (members
    /// sorted, no white space, integers only), absent members left out, UTF-8.
    pub(crate) fn write(&self, buffer: Vec<u8>) -> Result<Vec<u8>, CanonicalError> {
        let mut object = ObjectWriter::over(buffer);
        let mut text = String::new();
        // The calls below stand in the order of the member names.
        object.text("action", self.action);
        object.text("actor_kind", self.actor_kind);
        if !self.compliance_flags.is_empty() {
            object.texts("compliance_flags", self.compliance_flags.iter().copied());
        }
        object.value("details", self.details)?;
        object.uuid("event_id", Some(self.event_id));
        object.text("event_type", self.event_type);
        if let Some(address) = self.ip_address {
            _ = write!(text, "{address}");
            object.text("ip_address", &text);
            text.clear();
        }
        object.value("new_values", self.new_values)?;
        // RFC 3339, UTC, six decimals.
        _ = write!(text, "{:.6}", self.occurred_at);
        object.text("occurred_at", &text);
        object.value("old_values", self.old_values)?;
        object.uuid("organization_id", self.organization_id);
        object.optional_text("request_id", self.request_id);
        object.uuid("resource_id", self.resource_id);
        object.text("resource_type", self.resource_type);
        object.text("result", self.result);
        object.uuid("session_id", self.session_id);
        object.text("severity", self.severity);
        object.uuid("tenant_id", Some(self.tenant_id));
        object.optional_text("user_agent", self.user_agent);
        object.uuid("user_id", self.user_id);
        object.integer("v", RECORD_VERSION);
        Ok(object.finish())
    }
}
