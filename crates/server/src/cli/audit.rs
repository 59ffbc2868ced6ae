//! `strongroom audit`: needs nothing but a database, and trusts nothing but the
//! signing keys.

use std::path::PathBuf;

use anyhow::Context as _;
use audit::note::NoteVerifier;
use audit::verify::{Options, TenantReport, logs_without_report};
use clap::Subcommand;

use super::exit::Found;
use super::output::Output;
use super::progress::Progress;
use crate::config::Configuration;
use crate::connect::connect;

/// Prove the audit log.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Re-hash every record, rebuild every tree, check every signature; names the first bad record of each tenant. Ends with 1 where there is one.
    Verify {
        /// Only this tenant.
        #[arg(long, value_name = "SLUG")]
        tenant: Option<String>,
        /// A file with a checkpoint kept elsewhere: the log must extend it. May be repeated.
        #[arg(long, value_name = "FILE")]
        checkpoint: Vec<PathBuf>,
        /// A verifier key, `name+hash+key`, got from elsewhere than the database: the log of its name is held against it, and not against the keys stored beside it. May be repeated.
        #[arg(long, value_name = "KEY")]
        key: Vec<String>,
    },
}

pub(super) async fn run(
    command: Command,
    configuration: &Configuration,
    output: Output,
) -> anyhow::Result<()> {
    let Command::Verify { tenant, checkpoint, key } = command;
    configuration.check_form()?;
    let known_checkpoints = checkpoint
        .iter()
        .map(|path| std::fs::read_to_string(path).with_context(|| path.display().to_string()))
        .collect::<Result<_, _>>()?;
    let options = Options {
        tenant,
        known_checkpoints,
        trusted_keys: verifier_keys(&key)?,
        ..Options::default()
    };
    let client = connect(&configuration.auditor_database()?).await?;
    let progress = Progress::new("records", 0);
    let reports =
        audit::verify::verify(&client, &options, &mut |at| progress.set_of(at.checked, at.total))
            .await?;
    drop(progress);
    if let Some(slug) = options.tenant.as_ref().filter(|_| reports.is_empty()) {
        return Err(Found(format!("there is no tenant {slug}")).into());
    }
    output.list(&["tenant", "sealed", "waiting", "checkpoints", "fault"], &reports, |report| {
        vec![
            report.tenant.clone(),
            report.sealed.to_string(),
            report.waiting.to_string(),
            report.checkpoints.to_string(),
            fault(report),
        ]
    })?;
    found(&reports, &options)
}

fn verifier_keys(texts: &[String]) -> anyhow::Result<Vec<NoteVerifier>> {
    texts
        .iter()
        .map(|text| NoteVerifier::parse(text).with_context(|| format!("--key {text}")))
        .collect()
}

/// What ends the command with 1: faults, and logs that were given and that are not there.
fn found(reports: &[TenantReport], options: &Options) -> anyhow::Result<()> {
    let mut told = Vec::new();
    let bad = reports.iter().filter(|report| report.fault.is_some()).count();
    if bad > 0 {
        told.push(format!("the audit log of {bad} tenants is not as it was written"));
    }
    told.extend(logs_without_report(reports, options).iter().map(|name| {
        format!("a checkpoint or key was given of the log {name:?}, which no verified tenant has")
    }));
    if told.is_empty() { Ok(()) } else { Err(Found(told.join("; ")).into()) }
}

fn fault(report: &TenantReport) -> String {
    report.fault.as_ref().map_or_else(
        || "none".to_owned(),
        |fault| {
            let index =
                fault.log_index.map(|index| format!("record {index}: ")).unwrap_or_default();
            let event = fault.event_id.map(|event| format!(" (event {event})")).unwrap_or_default();
            format!("{index}{}{event}", fault.kind)
        },
    )
}
