//! A person's own activity on the wire.

use identity::{ActivityBy, ActivityRecord};
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use super::{EXAMPLE_ID, EXAMPLE_INSTANT, instant};
use crate::openapi_parts::Example;

/// Who did something with an account.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Origin {
    /// Somebody who used it, or tried to.
    Account,
    /// Somebody who administers the tenant.
    Staff,
    /// The system.
    System,
}

/// Something that was done with your access.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Activity {
    /// Its id, that of the record in the audit log.
    id: Uuid,
    /// What kind of event.
    event_type: String,
    /// What exactly.
    action: String,
    /// `success`, `denied`, `failed` or `replayed`.
    result: String,
    /// Why it failed or was done, where the record says so.
    reason: Option<String>,
    /// Who did it.
    by: Origin,
    /// From where; only where the account was used.
    ip_address: Option<String>,
    /// With what; only where the account was used.
    device: Option<String>,
    /// When.
    created_at: String,
}

impl From<ActivityRecord> for Activity {
    fn from(record: ActivityRecord) -> Self {
        Self {
            id: record.id,
            event_type: record.event_type,
            action: record.action,
            result: record.result,
            reason: record.reason,
            by: match record.by {
                ActivityBy::Account => Origin::Account,
                ActivityBy::Staff => Origin::Staff,
                ActivityBy::System => Origin::System,
            },
            ip_address: record.ip_address,
            device: record.device,
            created_at: instant(record.occurred_at),
        }
    }
}

impl Example for Activity {
    fn example() -> Self {
        Self {
            id: EXAMPLE_ID,
            event_type: "login".to_owned(),
            action: "auth.login".to_owned(),
            result: "success".to_owned(),
            reason: None,
            by: Origin::Account,
            ip_address: Some("192.0.2.7".to_owned()),
            device: Some("Firefox on Linux".to_owned()),
            created_at: EXAMPLE_INSTANT.to_owned(),
        }
    }
}
