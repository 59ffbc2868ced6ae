//! `strongroom audit`: proves the log, over a database or over a file alone, and makes the
//! files that others prove it by. Trusts nothing but the signing keys.

mod anchor;
mod files;
mod list;
mod retire;
mod status;

use std::path::PathBuf;

use anyhow::Context as _;
use audit::verify::{Fault, Options, TenantReport, logs_without_report};
use clap::Subcommand;
use uuid::Uuid;

use super::exit::Found;
use super::output::Output;
use super::progress::Progress;
use crate::config::Configuration;
use crate::connect::connect;

/// Prove the audit log.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Re-hash every record, rebuild every tree, check every signature; names the first bad record of each tenant. Ends with 1 where there is one. With --from, over an exported file alone: no database, no server.
    Verify {
        /// Only this tenant.
        #[arg(long, value_name = "SLUG", conflicts_with = "from")]
        tenant: Option<String>,
        /// A file of `audit export`, instead of the database.
        #[arg(long, value_name = "FILE")]
        from: Option<PathBuf>,
        /// A file with a checkpoint kept elsewhere: the log must extend it. May be repeated.
        #[arg(long, value_name = "FILE")]
        checkpoint: Vec<PathBuf>,
        /// A verifier key, `name+hash+key`, got from elsewhere than the database or the file: the log of its name is held against it, and not against the keys stored beside it. May be repeated. Without one a file's own keys are used: that proves that nothing was changed since it was made, and not who made it.
        #[arg(long, value_name = "KEY")]
        key: Vec<String>,
    },
    /// Print records, newest first, as they happened, sealed or not; for people and their tools, while `export` is for proofs. Leaves a record that they left.
    List {
        /// The tenant.
        #[arg(long, value_name = "SLUG")]
        tenant: String,
        /// How records are written.
        #[arg(long, value_enum, default_value_t = list::Format::Jsonl, value_name = "FORMAT")]
        format: list::Format,
        /// Which.
        #[command(flatten)]
        filters: Box<list::Filters>,
    },
    /// Write a tenant's sealed log to a file that is verified without this database: JSON Lines with the exact bytes of every record, every checkpoint, and the keys. Leaves a record that it left.
    Export {
        /// The tenant.
        #[arg(long, value_name = "SLUG")]
        tenant: String,
        /// Where to; never over a file that is there.
        #[arg(long, value_name = "FILE")]
        file: PathBuf,
    },
    /// Print the proof that an event stands in the log, as the API answers it.
    Proof {
        /// The event's id.
        #[arg(value_name = "EVENT")]
        event: Uuid,
        /// The tenant.
        #[arg(long, value_name = "SLUG")]
        tenant: String,
    },
    /// Print the proof that the log only grew between two sizes that were signed.
    Consistency {
        /// The earlier size.
        #[arg(value_name = "FROM")]
        from: u64,
        /// The later size.
        #[arg(value_name = "TO")]
        to: u64,
        /// The tenant.
        #[arg(long, value_name = "SLUG")]
        tenant: String,
    },
    /// Say how large the log over all audit logs is, the key that it is verified with (a witness is given it), and how far each of `AUDIT_WITNESSES` and the anchor are.
    Status,
    /// What is kept outside the database of the newest checkpoint (`AUDIT_ANCHOR`), and the ways on where sealing is refused because of it.
    Anchor {
        /// What to do.
        #[command(subcommand)]
        command: anchor::Command,
    },
    /// Drop records that are kept no longer (security seven years, access three, system one): a month of a class at once, after each tenant's log has said how many go and what tree their leaves make. Leaves and checkpoints stay, so that proofs of the rest are as they were. Without --reason it only tells. Needs the login of the schema's owner.
    Drop(retire::Options),
    /// Check a proof from its file alone: no database, no server. Ends with 1 where it proves nothing.
    CheckProof {
        /// A file of `audit proof`, of `audit consistency`, of the API or of the console.
        #[arg(value_name = "FILE")]
        file: PathBuf,
        /// A verifier key of the log, `name+hash+key`, got from elsewhere than the file. May be repeated. With one of the log over all tenants' logs (`strongroom/super/…`) the way into that is checked as well.
        #[arg(long, value_name = "KEY", required = true)]
        key: Vec<String>,
        /// A witness' verifier key, `name+hash+key`: it must have cosigned the log over all tenants' logs that the event stands in. May be repeated.
        #[arg(long, value_name = "KEY")]
        witness: Vec<String>,
        /// How many of the witnesses must have; all of them where it is not said.
        #[arg(long, value_name = "N", requires = "witness")]
        require: Option<usize>,
    },
}

pub(super) async fn run(
    command: Command,
    configuration: &Configuration,
    output: Output,
) -> anyhow::Result<()> {
    match command {
        Command::Verify { from: Some(file), key, checkpoint, .. } => {
            files::verify(&file, &key, notes(&checkpoint)?, output)
        }
        Command::Verify { tenant, checkpoint, key, .. } => {
            let options = Options {
                tenant,
                known_checkpoints: notes(&checkpoint)?,
                trusted_keys: files::parsed(&key)?,
                ..Options::default()
            };
            verify(&options, configuration, output).await
        }
        Command::List { tenant, format, filters } => {
            list::run(&tenant, format, *filters, configuration).await
        }
        Command::Export { tenant, file } => {
            files::export(&tenant, &file, configuration, output).await
        }
        Command::Proof { event, tenant } => {
            files::proof(&tenant, event, configuration, output).await
        }
        Command::Consistency { from, to, tenant } => {
            files::consistency(&tenant, from, to, configuration, output).await
        }
        Command::Status => status::run(configuration, output).await,
        Command::Anchor { command } => anchor::run(command, configuration, output).await,
        Command::Drop(options) => retire::run(options, configuration, output).await,
        Command::CheckProof { file, key, witness, require } => {
            files::check(&file, &files::trust(&key, &witness, require)?, output)
        }
    }
}

fn notes(files: &[PathBuf]) -> anyhow::Result<Vec<String>> {
    files
        .iter()
        .map(|path| std::fs::read_to_string(path).with_context(|| path.display().to_string()))
        .collect()
}

async fn verify(
    options: &Options,
    configuration: &Configuration,
    output: Output,
) -> anyhow::Result<()> {
    configuration.check_form()?;
    let client = connect(&configuration.auditor_database()?).await?;
    let progress = Progress::new("records", 0);
    let reports =
        audit::verify::verify(&client, options, &mut |at| progress.set_of(at.checked, at.total))
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
            told(report.fault.as_ref()),
        ]
    })?;
    found(&reports, options)
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

/// A fault in a line.
fn told(fault: Option<&Fault>) -> String {
    fault.map_or_else(
        || "none".to_owned(),
        |fault| {
            let index =
                fault.log_index.map(|index| format!("record {index}: ")).unwrap_or_default();
            let event = fault.event_id.map(|event| format!(" (event {event})")).unwrap_or_default();
            format!("{index}{}{event}", fault.kind)
        },
    )
}
