//! Devices on the wire.

use identity::DeviceRecord;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use super::{EXAMPLE_ID, EXAMPLE_INSTANT, instant};
use crate::openapi_parts::Example;

/// A device that somebody signed in from.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Device {
    /// Its id.
    id: Uuid,
    /// What it is called.
    name: String,
    /// Whether it is the one of this request.
    current: bool,
    /// Until when it is trusted, because two factors were proven on it.
    trusted_until: Option<String>,
    /// When you last signed in from it.
    last_seen_at: String,
    /// When you first signed in from it.
    first_seen_at: String,
    /// Counts changes; its `ETag`.
    version: i64,
}

impl From<DeviceRecord> for Device {
    fn from(device: DeviceRecord) -> Self {
        Self {
            id: device.id,
            name: device.name,
            current: device.current,
            trusted_until: device.trusted_until.map(instant),
            last_seen_at: instant(device.last_seen_at),
            first_seen_at: instant(device.first_seen_at),
            version: device.version,
        }
    }
}

impl Example for Device {
    fn example() -> Self {
        Self {
            id: EXAMPLE_ID,
            name: "Firefox on Linux".to_owned(),
            current: true,
            trusted_until: None,
            last_seen_at: EXAMPLE_INSTANT.to_owned(),
            first_seen_at: EXAMPLE_INSTANT.to_owned(),
            version: 1,
        }
    }
}

/// Another name for a device.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RenameDevice {
    /// 1 to 64 characters.
    pub(crate) name: String,
}
