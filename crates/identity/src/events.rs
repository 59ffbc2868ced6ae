//! Audit events about a person who is not (yet) the actor of the operation.
//!
//! Refuses to carry personal data: ids, reasons and blind indexes only.

use std::fmt::Write as _;

use audit::{AuditEvent, EventType};
use operation::event_context;
use tenancy::OpContext;
use uuid::Uuid;

/// An event about `user` and, where there is one, their session.
pub(crate) fn about(
    context: &OpContext,
    event_type: EventType,
    action: &'static str,
    (user, session): (Option<Uuid>, Option<Uuid>),
) -> AuditEvent {
    let mut shared = event_context(context);
    shared.user_id = user.or(shared.user_id);
    shared.session_id = session.or(shared.session_id);
    let resource = if session.is_some() { "session" } else { "user" };
    let event = AuditEvent::new(&shared, event_type, action, resource);
    match session.or(user) {
        Some(id) => event.resource_id(id),
        None => event,
    }
}

/// Bytes as lower-case hexadecimal.
pub(crate) fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}
