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
