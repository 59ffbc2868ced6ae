//! Owns the judgement of the triggers that keep the ledger, the log and the keys as they
//! were written: each that our schema makes is there, is on, and fires where it must.
//!
//! It refuses to know what they do.

use std::collections::BTreeMap;

use tenancy::DbError;
use tokio_postgres::Client;

use super::report::Finding;
use super::schema::as_owner;

const SELECT_TRIGGERS: &str = tenancy::sql!("server/doctor.sql", "triggers");
const SELECT_PARTITIONS: &str = tenancy::sql!("server/doctor.sql", "partitions");
const SELECT_MISSING: &str = tenancy::sql!("server/doctor.sql", "partitions_missing");

pub(super) const TRIGGERS: &str = "schema.triggers";
pub(super) const PARTITIONS: &str = "schema.partitions";

/// What the migrations make, held against them by a test: a line a table with the names
/// of its triggers. One with `!` fires whatever `session_replication_role` says.
const EXPECTED: &str = include_str!("triggers.txt");

/// The verifiers tell what was done while a trigger was away.
const THEN: &str = "   (then: strongroom audit verify, strongroom ledger verify)";

pub(super) async fn check(client: &Client) -> Result<Vec<Finding>, DbError> {
    let mut found = BTreeMap::new();
    for row in client.query(SELECT_TRIGGERS, &[]).await? {
        let (table, name): (String, String) = (row.try_get("name")?, row.try_get("trigger")?);
        found.insert((table, name), row.try_get::<_, String>("mode")?);
    }
    let mut findings = Vec::new();
    for (table, trigger) in expected() {
        let name = trigger.trim_end_matches('!');
        let mode = found.remove(&(table.to_owned(), name.to_owned()));
        findings.extend(fault(table, name, trigger.ends_with('!'), mode.as_deref()));
    }
    findings.extend(found.keys().map(|(table, name)| {
        let found = format!("the trigger {name} of {table} is none of ours");
        let drop = as_owner(&format!("DROP TRIGGER {name} ON {table}"));
        Finding::warning(TRIGGERS, found, format!("{drop}{THEN}"))
    }));
    let partitions = partitions(client, &mut findings).await?;
    if findings.is_empty() {
        findings.push(Finding::ok(TRIGGERS, "all are on: ledger and audit log take no changes"));
    }
    findings.push(partitions);
    Ok(findings)
}

/// Each partition of the audit log refuses changes as the log itself does, and the months to
/// come have theirs.
async fn partitions(client: &Client, findings: &mut Vec<Finding>) -> Result<Finding, DbError> {
    let partitions = client.query(SELECT_PARTITIONS, &[]).await?;
    for row in &partitions {
        let (name, mode): (String, Option<String>) = (row.try_get("name")?, row.try_get("mode")?);
        findings.extend(fault(&name, "append_only", true, mode.as_deref()));
    }
    let missing = client.query(SELECT_MISSING, &[]).await?;
    let missing = missing.iter().map(|row| row.try_get(0)).collect::<Result<Vec<String>, _>>()?;
    if missing.is_empty() {
        let found = format!("{} of the audit log, the next month's among them", partitions.len());
        return Ok(Finding::ok(PARTITIONS, found));
    }
    let found = format!("the audit log lacks {}", missing.join(", "));
    let mend = "strongroom serve   (a running server makes them within the hour)";
    Ok(Finding::warning(PARTITIONS, found, mend))
}

fn expected() -> impl Iterator<Item = (&'static str, &'static str)> {
    EXPECTED.lines().flat_map(|line| {
        let mut words = line.split_whitespace();
        let table = words.next().unwrap_or_default();
        words.map(move |trigger| (table, trigger))
    })
}

/// What is wrong with one trigger of ours, given how it is enabled (the letters of
/// `pg_trigger.tgenabled`), none where it is gone.
fn fault(table: &str, name: &str, is_always: bool, mode: Option<&str>) -> Option<Finding> {
    let wanted = if is_always { "A" } else { "O" };
    let what = match mode {
        Some(mode) if mode == wanted || mode == "A" => return None,
        Some("D") => "is switched off",
        Some(_) => "does not always fire: replicas pass it by",
        None => {
            let found = format!("the trigger {name} of {table} is gone");
            let mend =
                "strongroom migrate status   (restore the trigger as its migration makes it)";
            return Some(Finding::fault(TRIGGERS, found, mend));
        }
    };
    let enable = if is_always { "ENABLE ALWAYS" } else { "ENABLE" };
    let mend = as_owner(&format!("ALTER TABLE {table} {enable} TRIGGER {name}"));
    let found = format!("the trigger {name} of {table} {what}");
    Some(Finding::fault(TRIGGERS, found, format!("{mend}{THEN}")))
}
