//! `strongroom doctor`: examines an installation from the outside and says, for
//! everything that is wrong, which command mends it.
//!
//! Owns the order of the examination: what needs nothing first, then the server,
//! the database, the schema, the tenants; what cannot be reached is skipped with the
//! reason, never left out. It refuses to mend anything itself and to show a secret.

mod anchor;
mod checklist;
mod connection;
mod database;
mod environment;
mod logins;
mod report;
mod schema;
mod service;
mod standards;
mod statements;
mod store;
mod tenants;
mod triggers;
mod witnesses;

use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};

use tenancy::{Clock, Database, DbError};
use tokio_postgres::Client;

use super::exit::Found;
use super::output::{Format, Output, program};
use crate::config::{self, Configuration};
use crate::serve::roles;
use report::{Finding, Report, plural};
use statements::Statements;

/// Examine an installation.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// Write the report as JSON; the same as `-o json`.
    #[arg(long)]
    json: bool,
    /// Judge as production, and answer the production checklist line by line.
    #[arg(long)]
    production: bool,
    /// Plan every statement of this binary and list those that read tables from end to end.
    #[arg(long)]
    queries: bool,
    /// Where to look for a development installation that runs, if `DATABASE_URL` is not set.
    #[arg(long, default_value = "var", value_name = "DIR")]
    pub folder: PathBuf,
}

/// Who is examined, and how strictly.
struct Patient<'a> {
    configuration: &'a Configuration,
    /// Whether what is fine in development only is a fault.
    strict: bool,
    clock: Clock,
}

/// Checks that need the server, in the order of the report.
const SERVER_CHECKS: [&str; 13] = [
    database::VERSION,
    database::TRANSPORT,
    database::LISTENING,
    database::CLOCK,
    database::TIME_ZONE,
    database::ENCODING,
    database::DURABILITY,
    database::CHECKSUMS,
    database::CONNECTIONS,
    database::DISK,
    database::TRANSACTIONS,
    logins::POWERS,
    logins::LOGINS,
];
/// Checks that need our schema.
const SCHEMA_CHECKS: [&str; 5] = [
    schema::ROW_SECURITY,
    triggers::TRIGGERS,
    triggers::PARTITIONS,
    schema::TABLE_SIZES,
    schema::INDEX_USE,
];

pub(super) async fn run(
    options: Options,
    configuration: &Configuration,
    output: Output,
) -> anyhow::Result<()> {
    let output = if options.json { Output::new(Format::Json) } else { output };
    let report = examine(&options, configuration).await;
    if output.is_table() {
        let colours = std::io::stdout().is_terminal() && config::wants_colours();
        output.text(&report.text(&program(), colours))?;
    } else if output.is_json() {
        output.json(&report)?;
    } else {
        output.list(&["check", "verdict", "found", "mend"], &report.checks, |finding| {
            vec![
                finding.check.to_owned(),
                finding.verdict.word().to_owned(),
                finding.found.clone(),
                finding.mend.clone().unwrap_or_default(),
            ]
        })?;
    }
    if report.healthy {
        return Ok(());
    }
    let faults = report.summary.fault;
    Err(Found(format!(
        "{faults} {}; each names the command that mends it",
        plural(faults, "fault")
    ))
    .into())
}

async fn examine(options: &Options, configuration: &Configuration) -> Report {
    let strict = options.production || configuration.deployment().is_strict();
    let patient = Patient { configuration, strict, clock: Clock::System };
    let now = patient.clock.now();
    let mut findings = environment::check(configuration, &options.folder, options.production, now);
    let (served, answer) = service::check(&patient).await;
    findings.extend(served);
    findings.extend(store::check(&patient).await);
    let (of_database, queries) = examine_database(&patient, options.queries).await;
    findings.extend(of_database);
    findings.push(anchor::check(&patient).await);
    findings.push(witnesses::check(&patient).await);
    let mut report = Report::new(installation(configuration, &options.folder), findings);
    if options.production {
        let figures = match metrics_host(configuration) {
            Some(host) => service::get(&host, "/metrics").await.is_ok_and(|got| got.status == 200),
            None => false,
        };
        report.production =
            Some(checklist::answer(&patient, &report.checks, answer.as_ref(), figures));
    }
    report.queries = queries;
    report.count();
    report
}

fn metrics_host(configuration: &Configuration) -> Option<String> {
    match configuration.running() {
        Some(running) => running.metrics_url.strip_prefix("http://").map(str::to_owned),
        None => configuration.metrics_address().ok().map(|address| address.to_string()),
    }
}

/// What is examined, for people: never a password.
fn installation(configuration: &Configuration, folder: &Path) -> String {
    let place = configuration
        .shown()
        .into_iter()
        .find(|shown| shown.name == "DATABASE_URL")
        .and_then(|shown| shown.value);
    match (configuration.running(), place) {
        (Some(running), _) => {
            format!(
                "development installation in {}, serving {}",
                folder.display(),
                running.base_url
            )
        }
        (None, Some(place)) => format!("configured installation, database {place}"),
        (None, None) => "nothing: no database is named and none runs here".to_owned(),
    }
}

async fn examine_database(
    patient: &Patient<'_>,
    wants_queries: bool,
) -> (Vec<Finding>, Option<Statements>) {
    let mut findings = Vec::new();
    let Ok(config) = patient.configuration.database() else {
        findings.push(Finding::skipped(connection::REACHABLE, "no database is named"));
        skip_rest(&mut findings, "no database is named");
        return (findings, None);
    };
    let is_development = patient.configuration.running().is_some();
    let (client, target) = match connection::open("DATABASE_URL", &config, is_development).await {
        Ok(opened) => opened,
        Err(fault) => {
            findings.push(fault);
            skip_rest(&mut findings, "the database cannot be reached");
            return (findings, None);
        }
    };
    let place = &target.place;
    findings.push(Finding::ok(connection::REACHABLE, format!("PostgreSQL answers at {place}")));
    let server = database::check(patient, &client, &target).await;
    findings.extend(judged(database::VERSION, server));
    findings.extend(judged(logins::POWERS, logins::check(patient, &client).await));
    let (history, is_ours) = schema::migrations(&client).await;
    findings.push(history);
    if !is_ours {
        let why = "the schema comes first";
        findings.extend(
            SCHEMA_CHECKS.iter().chain(&tenants::ALL).map(|check| Finding::skipped(check, why)),
        );
        return (findings, None);
    }
    findings.extend(judged(schema::ROW_SECURITY, schema::check(&client).await));
    findings.extend(examine_tenants(patient).await);
    let queries =
        if wants_queries { Some(explain(patient, &client, &mut findings).await) } else { None };
    (findings, queries)
}

async fn examine_tenants(patient: &Patient<'_>) -> Vec<Finding> {
    let opened = async {
        let config = patient.configuration.database()?;
        let acting = roles::acting_as(config, "strongroom_app", "DATABASE_URL").await?;
        anyhow::Ok(Database::new(&acting)?)
    };
    match opened.await {
        Ok(app) => judged(tenants::ENCRYPTION, tenants::check(patient, &app).await),
        // Why is a finding of its own by now.
        Err(_) => tenants::ALL
            .iter()
            .map(|check| Finding::skipped(check, "DATABASE_URL cannot act as strongroom_app"))
            .collect(),
    }
}

async fn explain(
    patient: &Patient<'_>,
    client: &Client,
    findings: &mut Vec<Finding>,
) -> Statements {
    match statements::explain(patient, client).await {
        Ok((found, finding)) => {
            findings.push(finding);
            found
        }
        Err(error) => {
            findings.extend(judged(statements::PLANS, Err(error)));
            Statements::default()
        }
    }
}

fn skip_rest(findings: &mut Vec<Finding>, why: &str) {
    let all = SERVER_CHECKS
        .iter()
        .chain(&[schema::MIGRATIONS])
        .chain(&SCHEMA_CHECKS)
        .chain(&tenants::ALL);
    findings.extend(all.map(|check| Finding::skipped(check, why)));
}

/// A check that could not be made is a fault of its own: silence would pass for health.
fn judged(check: &'static str, outcome: Result<Vec<Finding>, DbError>) -> Vec<Finding> {
    outcome.unwrap_or_else(|error| {
        let found = format!("could not be examined: {error}");
        vec![Finding::fault(
            check,
            found,
            "strongroom migrate status   (is this database ours, and complete?)",
        )]
    })
}
