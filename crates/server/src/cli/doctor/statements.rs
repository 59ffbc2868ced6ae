//! Owns `doctor --queries`: the plan of every statement this binary can run, made
//! by its own role as PostgreSQL would make it for any parameters, and those that
//! read large tables from end to end.
//!
//! It refuses to run any of them: EXPLAIN alone, in a transaction that is rolled back.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde::Serialize;
use tenancy::sql::statements;
use tenancy::{DatabaseConfig, DbError};
use tokio_postgres::{Client, SimpleQueryMessage};

use super::Patient;
use super::report::{Finding, plural};
use crate::connect::connect;
use crate::serve::roles;

const ROW_ESTIMATES: &str = tenancy::sql!("server/doctor.sql", "row_estimates");
const HAS_STATISTICS: &str = tenancy::sql!("server/doctor.sql", "has_statement_statistics");

/// Not in `queries/`: it cannot be prepared where the extension is not.
const MOST_TIME: &str = "SELECT left(regexp_replace(query, '\\s+', ' ', 'g'), 160), calls, \
     total_exec_time::bigint, (mean_exec_time * 1000)::bigint FROM pg_stat_statements \
     WHERE dbid = (SELECT oid FROM pg_database WHERE datname = current_database()) \
     ORDER BY total_exec_time DESC LIMIT 10";

pub(super) const PLANS: &str = "queries.plans";

/// Every file of `queries/` with its text.
const FILES: &[(&str, &str)] = include!(concat!(env!("OUT_DIR"), "/queries.rs"));
/// Reading so many rows from end to end is worth a person's attention.
const LARGE_ROWS: i64 = 10_000;
/// The name under which a statement is prepared for its plan.
const PREPARED: &str = "strongroom_doctor";

/// What `--queries` found.
#[derive(Debug, Default, Serialize)]
pub(super) struct Statements {
    /// How many statements were planned.
    pub planned: usize,
    /// Roles of which no login is configured, with how many statements they have.
    pub skipped: BTreeMap<String, usize>,
    /// Those that read a table from end to end.
    pub listed: Vec<Statement>,
    /// From `pg_stat_statements`: those that took the most time; none where it is not installed.
    pub most_time: Option<Vec<Timed>>,
}

/// A statement that reads a table from end to end.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Statement {
    /// Its file in `queries/`.
    pub file: &'static str,
    /// Its name.
    pub name: &'static str,
    /// Who runs it.
    pub role: &'static str,
    /// `slow`: it does so today, on a large table. `unindexed`: no index could be
    /// used, however large the table gets.
    pub judgement: &'static str,
    /// The tables, with the planner's estimate of their rows.
    pub tables: Vec<Scanned>,
    /// The planner's estimate of the whole, in its own unit.
    pub cost: String,
    /// The plan, as EXPLAIN prints it.
    pub plan: String,
}

/// A table that is read from end to end.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub(super) struct Scanned {
    /// Its name.
    pub table: String,
    /// Its rows by the planner's estimate.
    pub rows: i64,
}

/// A line of `pg_stat_statements`.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Timed {
    /// The text, shortened, without values.
    pub query: String,
    /// How often it ran.
    pub calls: i64,
    /// Together.
    pub total_ms: i64,
    /// On average.
    pub mean_us: i64,
}

/// Plans everything; the finding says how it came out.
pub(super) async fn explain(
    patient: &Patient<'_>,
    client: &Client,
) -> Result<(Statements, Finding), DbError> {
    let mut rows = BTreeMap::new();
    for row in client.query(ROW_ESTIMATES, &[]).await? {
        rows.insert(row.try_get::<_, String>("name")?, row.try_get::<_, i64>("live_rows")?);
    }
    let mut found = Statements { most_time: most_time(client).await?, ..Statements::default() };
    let mut clients = BTreeMap::new();
    for (file, text) in FILES {
        for statement in statements(text) {
            if !clients.contains_key(statement.role) {
                clients.insert(statement.role, acting_as(patient, statement.role).await);
            }
            let Some(Some(acting)) = clients.get(statement.role) else {
                *found.skipped.entry(statement.role.to_owned()).or_default() += 1;
                continue;
            };
            found.planned += 1;
            let place = (*file, statement.name, statement.role);
            found.listed.extend(judge(acting, place, statement.text, &rows).await?);
        }
    }
    let finding = summary(&found);
    Ok((found, finding))
}

fn summary(found: &Statements) -> Finding {
    let large = |one: &&Statement| one.tables.iter().any(|table| table.rows >= LARGE_ROWS);
    let slow: Vec<_> =
        found.listed.iter().filter(large).map(|one| format!("{} {}", one.file, one.name)).collect();
    let planned = format!("{} statements planned", found.planned);
    if slow.is_empty() {
        return Finding::ok(PLANS, format!("{planned}, none reads a large table from end to end"));
    }
    let found = format!(
        "{planned}, {} {} a large table from end to end: {}",
        slow.len(),
        if slow.len() == 1 { "reads" } else { "read" },
        slow.join(", ")
    );
    Finding::warning(
        PLANS,
        found,
        "psql \"$DATABASE_OWNER_URL\" -c ANALYZE   (then again; what remains needs an index: see its plan)",
    )
}

/// A connection under a role, where a login for it is configured.
async fn acting_as(patient: &Patient<'_>, role: &str) -> Option<Client> {
    let configuration = patient.configuration;
    let (config, full): (Option<DatabaseConfig>, _) = match role {
        "sealer" => (configuration.sealer_database().ok(), "strongroom_sealer"),
        "auditor" => (configuration.auditor_database().ok(), "strongroom_auditor"),
        "owner" => (configuration.owner_database().ok(), "strongroom_owner"),
        _ => (configuration.database().ok(), "strongroom_app"),
    };
    let setting = "DATABASE_URL";
    let acting = match roles::acting_as(config.clone()?, full, setting).await {
        Ok(acting) => acting,
        // The question knows three roles; of the others the server itself decides.
        Err(_) => config?.with_role(full),
    };
    connect(&acting).await.ok()
}

async fn judge(
    client: &Client,
    (file, name, role): (&'static str, &'static str, &'static str),
    text: &str,
    rows: &BTreeMap<String, i64>,
) -> Result<Option<Statement>, DbError> {
    let parameters = client.prepare(text).await?.params().len();
    let scans = |plan: &serde_json::Value| {
        let mut tables = Vec::new();
        collect_scans(plan, rows, &mut tables);
        tables.sort();
        tables.dedup();
        tables
    };
    let today = plan(client, text, parameters, (true, "FORMAT JSON, VERBOSE")).await?;
    let today: serde_json::Value = serde_json::from_str(&today).unwrap_or_default();
    let large: Vec<_> =
        scans(&today).into_iter().filter(|table| table.rows >= LARGE_ROWS).collect();
    // With sequential scans priced out of reach, one that is left has no alternative.
    let at_best = plan(client, text, parameters, (false, "FORMAT JSON, VERBOSE")).await?;
    let unindexed = scans(&serde_json::from_str(&at_best).unwrap_or_default());
    let (judgement, tables) = match (large.is_empty(), unindexed.is_empty()) {
        (false, _) => ("slow", large),
        (true, false) => ("unindexed", unindexed),
        (true, true) => return Ok(None),
    };
    let cost = today[0]["Plan"]["Total Cost"].to_string();
    let shown = plan(client, text, parameters, (true, "FORMAT TEXT")).await?;
    Ok(Some(Statement { file, name, role, judgement, tables, cost, plan: shown }))
}

/// The generic plan: what PostgreSQL settles on for a prepared statement. (EXPLAIN's
/// own `GENERIC_PLAN` needs PostgreSQL 16.)
async fn plan(
    client: &Client,
    text: &str,
    parameters: usize,
    (sequential_scans, options): (bool, &str),
) -> Result<String, DbError> {
    let text = text.trim().trim_end_matches(';');
    let scans = if sequential_scans { "on" } else { "off" };
    let prepare = format!(
        "BEGIN; SET LOCAL plan_cache_mode = force_generic_plan; SET LOCAL jit = off; SET LOCAL enable_seqscan = {scans}; \
         PREPARE {PREPARED} AS {text}"
    );
    let nothing = vec!["NULL"; parameters].join(", ");
    let arguments = if parameters == 0 { String::new() } else { format!("({nothing})") };
    client.batch_execute(&prepare).await?;
    let messages =
        client.simple_query(&format!("EXPLAIN ({options}) EXECUTE {PREPARED}{arguments}")).await;
    client.batch_execute(&format!("ROLLBACK; DEALLOCATE {PREPARED}")).await?;
    let lines: Vec<String> = messages?
        .iter()
        .filter_map(|message| match message {
            SimpleQueryMessage::Row(row) => row.get(0).map(str::to_owned),
            _ => None,
        })
        .collect();
    Ok(lines.join("\n"))
}

/// Sequential scans of our own tables, anywhere in a plan.
fn collect_scans(plan: &serde_json::Value, rows: &BTreeMap<String, i64>, found: &mut Vec<Scanned>) {
    match plan {
        serde_json::Value::Array(parts) => {
            for part in parts {
                collect_scans(part, rows, found);
            }
        }
        serde_json::Value::Object(node) => {
            let is_scan = node.get("Node Type").and_then(|kind| kind.as_str()) == Some("Seq Scan");
            let table = node.get("Relation Name").and_then(|name| name.as_str());
            let is_ours = node.get("Schema").and_then(|name| name.as_str()) == Some("public");
            if let Some(table) = table.filter(|_| is_scan && is_ours) {
                let rows = rows.get(table).copied().unwrap_or(-1).max(0);
                found.push(Scanned { table: table.to_owned(), rows });
            }
            node.values()
                .filter(|value| value.is_array() || value.is_object())
                .for_each(|value| collect_scans(value, rows, found));
        }
        _ => {}
    }
}

async fn most_time(client: &Client) -> Result<Option<Vec<Timed>>, DbError> {
    if !client.query_one(HAS_STATISTICS, &[]).await?.try_get::<_, bool>("present")? {
        return Ok(None);
    }
    // Where it is not preloaded, or not ours to read, it is as good as absent.
    let Ok(rows) = client.query(MOST_TIME, &[]).await else { return Ok(None) };
    rows.iter()
        .map(|row| {
            Ok(Timed {
                query: row.try_get(0)?,
                calls: row.try_get(1)?,
                total_ms: row.try_get(2)?,
                mean_us: row.try_get(3)?,
            })
        })
        .collect::<Result<Vec<_>, DbError>>()
        .map(Some)
}

impl Statements {
    /// For people.
    pub(super) fn text(&self) -> String {
        let mut text = format!("\nStatements: {} planned", self.planned);
        for (role, count) in &self.skipped {
            // Writing to a String cannot fail.
            let _ = write!(text, ", {count} of strongroom_{role} not (no login for it)");
        }
        text.push_str(".\n");
        for one in &self.listed {
            let tables: Vec<_> = one
                .tables
                .iter()
                .map(|table| format!("{} ({} rows)", table.table, table.rows))
                .collect();
            let _ = write!(
                text,
                "\n  {}  {} {} @{}: reads {} from end to end, cost {}\n    {}\n",
                one.judgement,
                one.file,
                one.name,
                one.role,
                tables.join(", "),
                one.cost,
                one.plan.replace('\n', "\n    ")
            );
        }
        match &self.most_time {
            None => text.push_str("\nTimes: the extension pg_stat_statements is not installed.\n"),
            Some(times) => {
                let _ = writeln!(
                    text,
                    "\nMost time ({} {}):",
                    times.len(),
                    plural(times.len(), "statement")
                );
                for one in times {
                    let _ = writeln!(
                        text,
                        "  {:>10} ms {:>10} calls {:>8} us  {}",
                        one.total_ms, one.calls, one.mean_us, one.query
                    );
                }
            }
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::json;
    use tenancy::sql::statements;

    use super::{FILES, Scanned, collect_scans};

    #[test]
    fn scans_are_found_at_any_depth_and_of_our_tables_only() {
        let plan = json!([{ "Plan": { "Node Type": "Hash Join", "Plans": [
            { "Node Type": "Seq Scan", "Schema": "public", "Relation Name": "users" },
            { "Node Type": "Index Scan", "Schema": "public", "Relation Name": "accounts" },
            { "Node Type": "Limit", "Plans": [
                { "Node Type": "Seq Scan", "Schema": "pg_catalog", "Relation Name": "pg_class" },
                { "Node Type": "Seq Scan", "Schema": "public", "Relation Name": "new_one" },
            ] },
        ] } }]);
        let rows = BTreeMap::from([("users".to_owned(), 70_000)]);
        let mut found = Vec::new();
        collect_scans(&plan, &rows, &mut found);
        let expected = [("users", 70_000), ("new_one", 0)]
            .map(|(table, rows)| Scanned { table: table.to_owned(), rows });
        assert_eq!(found, expected);
    }

    #[test]
    fn the_binary_holds_every_statement() {
        let count: usize = FILES.iter().map(|(_, text)| statements(text).len()).sum();
        assert!(FILES.iter().any(|(file, _)| *file == "server/doctor.sql"));
        assert!(count > 100, "{count}");
    }
}
