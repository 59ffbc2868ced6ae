//! Owns the comparison of a stored record's bytes with the columns beside them.
//!
//! Refuses to know: hashes and the tree. The bytes are the truth; a column that
//! says something else was changed by hand, and so was one that cannot be read at all:
//! whatever was once written can (an instant of `infinity`, a flag of NULL or a number
//! beyond any float never was).

use std::net::IpAddr;
use std::str::FromStr;

use jiff::Timestamp;
use serde_json::{Map, Value};
use tokio_postgres::types::{FromSql, FromSqlOwned, Type};
use tokio_postgres::{Error, Row};
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
) -> bool {
    let written = write_again(tenant_id, row, std::mem::take(buffer));
    let Ok(Some(written)) = written else { return false };
    *buffer = written;
    buffer == record
}

/// The columns as a record, in place of what the buffer held; none where they hold what
/// no record can.
fn write_again(tenant_id: Uuid, row: &Row, buffer: Vec<u8>) -> Result<Option<Vec<u8>>, Error> {
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
        ip_address: row.try_get::<_, Option<Host>>(place::IP_ADDRESS)?.map(|host| host.0),
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
    Ok(members.write(buffer).ok())
}

/// The first column that contradicts the record, none where all agree. A
/// member that has no column, and bytes that are no JSON object, are
/// contradictions as well.
pub(crate) fn first_difference(tenant_id: Uuid, row: &Row, record: &[u8]) -> Option<String> {
    let Ok(Value::Object(mut members)) = serde_json::from_slice(record) else {
        return Some("record".to_owned());
    };
    let differs = difference(tenant_id, row, &mut members);
    differs.map(str::to_owned).or_else(|| members.into_iter().next().map(|(name, _)| name))
}

/// Takes every known member out of the object as it is compared.
fn difference(
    tenant_id: Uuid,
    row: &Row,
    members: &mut Map<String, Value>,
) -> Option<&'static str> {
    if members.remove("v") != Some(Value::from(crate::event::RECORD_VERSION)) {
        return Some("v");
    }
    if parsed::<Uuid>(members.remove("tenant_id")) != Some(Some(tenant_id)) {
        return Some("tenant_id");
    }
    for name in ["event_id", "organization_id", "user_id", "session_id", "resource_id"] {
        if !agrees::<Uuid>(row, name, members) {
            return Some(name);
        }
    }
    for name in TEXT_COLUMNS {
        if !agrees::<String>(row, name, members) {
            return Some(name);
        }
    }
    if !agrees::<Timestamp>(row, "occurred_at", members) {
        return Some("occurred_at");
    }
    if !agrees::<Host>(row, "ip_address", members) {
        return Some("ip_address");
    }
    let flags = column::<Vec<String>>(row, "compliance_flags").ok().flatten();
    let written = members.remove("compliance_flags").unwrap_or_else(|| Value::Array(Vec::new()));
    if flags.map(Value::from) != Some(written) {
        return Some("compliance_flags");
    }
    ["old_values", "new_values", "details"].into_iter().find(|name| {
        let member = members.remove(*name);
        !column::<Value>(row, name).is_ok_and(|column| column == member)
    })
}

/// Whether a column says what the member of its name does, which is taken out.
fn agrees<T>(row: &Row, name: &str, members: &mut Map<String, Value>) -> bool
where
    T: FromSqlOwned + FromStr + PartialEq,
{
    let member = parsed::<T>(members.remove(name));
    column::<T>(row, name).is_ok_and(|column| member == Some(column))
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

/// A host's address. A column of `inet` may hold a network as well, whose mask an
/// [`IpAddr`] drops; no record ever had one.
#[derive(Debug, PartialEq)]
struct Host(IpAddr);

impl FromStr for Host {
    type Err = std::net::AddrParseError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().map(Self)
    }
}

impl<'row> FromSql<'row> for Host {
    fn from_sql(
        kind: &Type,
        raw: &'row [u8],
    ) -> Result<Self, Box<dyn std::error::Error + Sync + Send>> {
        // Family, bits of the mask, a flag, the number of bytes, and the bytes.
        let [_, mask_bits, _, bytes, ..] = raw else { return Err("a short address".into()) };
        if u16::from(*mask_bits) != u16::from(*bytes) * 8 {
            return Err("a network, and no host".into());
        }
        IpAddr::from_sql(kind, raw).map(Self)
    }

    fn accepts(kind: &Type) -> bool {
        *kind == Type::INET
    }
}

fn column<T: FromSqlOwned>(row: &Row, name: &str) -> Result<Option<T>, Error> {
    row.try_get(name)
}

/// A member as a typed value; the outer `None` means that it is malformed.
#[expect(clippy::option_option, reason = "malformed, absent and present are three cases")]
fn parsed<T: FromStr>(member: Option<Value>) -> Option<Option<T>> {
    match member {
        None => Some(None),
        Some(Value::String(text)) => text.parse().ok().map(Some),
        Some(_) => None,
    }
}
