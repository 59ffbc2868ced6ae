//! Owns the comparison of a stored record's bytes with the columns beside them.
//!
//! Refuses to know: hashes and the tree. The bytes are the truth; a column that
//! says something else was changed by hand.

use std::net::IpAddr;

use jiff::Timestamp;
use serde_json::{Map, Value};
use tenancy::DbError;
use tokio_postgres::Row;
use tokio_postgres::types::FromSqlOwned;
use uuid::Uuid;

use crate::record::Members;

/// Places of the columns in the statements of records.
mod place {
    pub(super) const EVENT_ID: usize = 1;
    pub(super) const OCCURRED_AT: usize = 4;
    pub(super) const EVENT_TYPE: usize = 5;
    pub(super) const SEVERITY: usize = 6;
    pub(super) const RESULT: usize = 7;
    pub(super) const ORGANIZATION_ID: usize = 8;
    pub(super) const USER_ID: usize = 9;
    pub(super) const SESSION_ID: usize = 10;
    pub(super) const RESOURCE_ID: usize = 11;
    pub(super) const ACTOR_KIND: usize = 12;
    pub(super) const ACTION: usize = 13;
    pub(super) const RESOURCE_TYPE: usize = 14;
    pub(super) const IP_ADDRESS: usize = 15;
    pub(super) const USER_AGENT: usize = 16;
    pub(super) const REQUEST_ID: usize = 17;
    pub(super) const COMPLIANCE_FLAGS: usize = 18;
    pub(super) const OLD_VALUES: usize = 19;
    pub(super) const NEW_VALUES: usize = 20;
    pub(super) const DETAILS: usize = 21;
}

/// Whether the columns, written as a record, give the very bytes: the quick way, and
/// enough where it says yes. Records that SQL wrote have the same members in another
/// order, and take the way of [`first_difference`].
pub(crate) fn is_as_written(
    tenant_id: Uuid,
    row: &Row,
    record: &[u8],
    buffer: &mut Vec<u8>,
) -> Result<bool, DbError> {
    let flags: Vec<&str> = row.try_get(place::COMPLIANCE_FLAGS)?;
    let old_values: Option<Value> = row.try_get(place::OLD_VALUES)?;
    let new_values: Option<Value> = row.try_get(place::NEW_VALUES)?;
    let details: Option<Value> = row.try_get(place::DETAILS)?;
    let members = Members {
        action: row.try_get(place::ACTION)?,
        actor_kind: row.try_get(place::ACTOR_KIND)?,
        compliance_flags: &flags,
        details: details.as_ref(),
        event_id: row.try_get(place::EVENT_ID)?,
        event_type: row.try_get(place::EVENT_TYPE)?,
        ip_address: row.try_get(place::IP_ADDRESS)?,
        new_values: new_values.as_ref(),
        occurred_at: row.try_get(place::OCCURRED_AT)?,
        old_values: old_values.as_ref(),
        organization_id: row.try_get(place::ORGANIZATION_ID)?,
        request_id: row.try_get(place::REQUEST_ID)?,
        resource_id: row.try_get(place::RESOURCE_ID)?,
        resource_type: row.try_get(place::RESOURCE_TYPE)?,
        result: row.try_get(place::RESULT)?,
        session_id: row.try_get(place::SESSION_ID)?,
        severity: row.try_get(place::SEVERITY)?,
        tenant_id,
        user_agent: row.try_get(place::USER_AGENT)?,
        user_id: row.try_get(place::USER_ID)?,
    };
    match members.write(std::mem::take(buffer)) {
        Ok(written) => *buffer = written,
        Err(_) => return Ok(false),
    }
    Ok(buffer == record)
}

/// The first column that contradicts the record, none where all agree. A
/// member that has no column, and bytes that are no JSON object, are
/// contradictions as well.
pub(crate) fn first_difference(
    tenant_id: Uuid,
    row: &Row,
    record: &[u8],
) -> Result<Option<String>, DbError> {
    let Ok(Value::Object(mut members)) = serde_json::from_slice(record) else {
        return Ok(Some("record".to_owned()));
    };
    let differs = difference(tenant_id, row, &mut members)?;
    Ok(differs.map(str::to_owned).or_else(|| members.into_iter().next().map(|(name, _)| name)))
}

/// Takes every known member out of the object as it is compared.
fn difference(
    tenant_id: Uuid,
    row: &Row,
    members: &mut Map<String, Value>,
) -> Result<Option<&'static str>, DbError> {
    if members.remove("v") != Some(Value::from(crate::event::RECORD_VERSION)) {
        return Ok(Some("v"));
    }
    if parsed::<Uuid>(members.remove("tenant_id")) != Some(Some(tenant_id)) {
        return Ok(Some("tenant_id"));
    }
    for name in ["event_id", "organization_id", "user_id", "session_id", "resource_id"] {
        if parsed(members.remove(name)) != Some(column::<Uuid>(row, name)?) {
            return Ok(Some(name));
        }
    }
    for name in TEXT_COLUMNS {
        if parsed(members.remove(name)) != Some(column::<String>(row, name)?) {
            return Ok(Some(name));
        }
    }
    if parsed(members.remove("occurred_at")) != Some(column::<Timestamp>(row, "occurred_at")?) {
        return Ok(Some("occurred_at"));
    }
    if parsed(members.remove("ip_address")) != Some(column::<IpAddr>(row, "ip_address")?) {
        return Ok(Some("ip_address"));
    }
    let flags: Vec<String> = row.try_get("compliance_flags")?;
    if members.remove("compliance_flags").unwrap_or_else(|| Value::Array(Vec::new()))
        != Value::from(flags)
    {
        return Ok(Some("compliance_flags"));
    }
    for name in ["old_values", "new_values", "details"] {
        if members.remove(name) != column::<Value>(row, name)? {
            return Ok(Some(name));
        }
    }
    Ok(None)
}

const TEXT_COLUMNS: [&str; 8] = [
    "event_type",
    "severity",
    "result",
    "actor_kind",
    "action",
    "resource_type",
    "user_agent",
    "request_id",
];

fn column<T: FromSqlOwned>(row: &Row, name: &str) -> Result<Option<T>, DbError> {
    Ok(row.try_get(name)?)
}

/// A member as a typed value; the outer `None` means that it is malformed.
#[expect(clippy::option_option, reason = "malformed, absent and present are three cases")]
fn parsed<T: std::str::FromStr>(member: Option<Value>) -> Option<Option<T>> {
    match member {
        None => Some(None),
        Some(Value::String(text)) => text.parse().ok().map(Some),
        Some(_) => None,
    }
}
