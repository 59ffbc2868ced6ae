//! `strongroom migrate`: the one place that asks a person before it takes
//! migrations back in production.

use std::io::{IsTerminal as _, Write as _};
use std::path::PathBuf;

use clap::Subcommand;
use serde::Serialize;
use tenancy::migrate::{AppliedMigration, MigrationState, Migrator, ensure_roles};

use super::exit::{SchemaNotReady, Usage};
use super::output::Output;
use crate::config::{Configuration, Deployment};
use crate::connect::connect;

/// Apply, take back and inspect the schema's migrations.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Apply pending migrations: all of them, or up to a number.
    Up {
        /// The last one to apply, or `head`.
        #[arg(default_value = "head", value_parser = target)]
        target: Target,
    },
    /// Take the newest migrations back.
    Down {
        /// How many.
        #[arg(default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
        count: u32,
        /// Do not ask, also in production.
        #[arg(long)]
        yes: bool,
    },
    /// Show every migration and whether it is applied, and the current version.
    Status,
    /// Show everything ever applied or taken back.
    History,
    /// Write the files of a new migration.
    New {
        /// Its name: a-z, 0-9 and _.
        name: String,
        /// Where migrations live.
        #[arg(long, default_value = "migrations", value_name = "DIR")]
        folder: PathBuf,
    },
    /// Check that the database's history is this binary's and complete.
    Verify,
}

/// How far up.
#[derive(Debug, Clone, Copy)]
pub struct Target(Option<u32>);

fn target(text: &str) -> Result<Target, String> {
    if text == "head" {
        return Ok(Target(None));
    }
    text.parse()
        .map(|number| Target(Some(number)))
        .map_err(|_| "a migration's number, or head".to_owned())
}

#[derive(Serialize)]
struct Line {
    version: u32,
    name: String,
    state: &'static str,
    applied_at: Option<String>,
    applied_by: Option<String>,
    execution_time_ms: Option<i64>,
}

impl Line {
    fn applied(row: &AppliedMigration, state: &'static str) -> Self {
        Self {
            version: row.version,
            name: row.name.clone(),
            state,
            applied_at: Some(row.applied_at.to_string()),
            applied_by: Some(row.applied_by.clone()),
            execution_time_ms: Some(row.execution_time_ms),
        }
    }
}

pub(super) async fn run(
    command: Command,
    configuration: &Configuration,
    output: Output,
) -> anyhow::Result<()> {
    let migrator = Migrator::embedded();
    if let Command::New { name, folder } = &command {
        let [up, down] = tenancy::migrate::new(folder, name)?;
        return output.text(&format!("{}\n{}", up.display(), down.display()));
    }
    configuration.check_form()?;
    let mut client = connect(&configuration.owner_database()?).await?;
    match command {
        Command::Up { target } => {
            ensure_roles(&client).await?;
            let applied = migrator.up(&mut client, target.0).await?;
            write(
                output,
                &applied.iter().map(|row| Line::applied(row, "applied")).collect::<Vec<_>>(),
            )
        }
        Command::Down { count, yes } => {
            confirm(configuration, count, yes)?;
            let taken_back = migrator.down(&mut client, count).await?;
            write(
                output,
                &taken_back.iter().map(|row| Line::applied(row, "taken back")).collect::<Vec<_>>(),
            )
        }
        Command::Status => status(&migrator, &client, output).await,
        Command::History => {
            let lines: Vec<_> = migrator
                .history(&client)
                .await?
                .into_iter()
                .map(|entry| Line {
                    version: entry.version,
                    name: entry.name,
                    state: entry.direction.as_str(),
                    applied_at: Some(entry.applied_at.to_string()),
                    applied_by: Some(entry.applied_by),
                    execution_time_ms: Some(entry.execution_time_ms),
                })
                .collect();
            write(output, &lines)
        }
        Command::Verify => verify(&migrator, &client, output).await,
        // Answered above: it needs no database.
        Command::New { .. } => Ok(()),
    }
}

async fn status(
    migrator: &Migrator,
    client: &tokio_postgres::Client,
    output: Output,
) -> anyhow::Result<()> {
    let lines: Vec<_> = migrator
        .status(client)
        .await?
        .into_iter()
        .map(|status| match &status.state {
            MigrationState::Applied(row) => Line::applied(row, "applied"),
            MigrationState::Newer(row) => Line::applied(row, "newer"),
            MigrationState::Pending => Line {
                version: status.version,
                name: status.name,
                state: "pending",
                applied_at: None,
                applied_by: None,
                execution_time_ms: None,
            },
        })
        .collect();
    write(output, &lines)?;
    let current = lines
        .iter()
        .filter(|line| line.state != "pending")
        .map(|line| line.version)
        .max()
        .unwrap_or(0);
    writeln!(std::io::stderr(), "current version: {current}")?;
    Ok(())
}

#[derive(Serialize)]
struct Proof {
    current_version: u32,
    binary_version: u32,
    pending: usize,
}

async fn verify(
    migrator: &Migrator,
    client: &tokio_postgres::Client,
    output: Output,
) -> anyhow::Result<()> {
    let verified = migrator.verify(client).await?;
    output.one(&Proof {
        current_version: verified.current_version,
        binary_version: migrator.schema_version(),
        pending: verified.pending,
    })?;
    if verified.pending > 0 {
        return Err(SchemaNotReady(format!(
            "{} pending; run `strongroom migrate up`",
            verified.pending
        ))
        .into());
    }
    Ok(())
}

fn write(output: Output, lines: &[Line]) -> anyhow::Result<()> {
    output.list(
        &["version", "name", "state", "applied_at", "applied_by", "execution_time_ms"],
        lines,
        |line| {
            vec![
                format!("{:04}", line.version),
                line.name.clone(),
                line.state.to_owned(),
                line.applied_at.clone().unwrap_or_default(),
                line.applied_by.clone().unwrap_or_default(),
                line.execution_time_ms.map(|ms| ms.to_string()).unwrap_or_default(),
            ]
        },
    )
}

fn confirm(configuration: &Configuration, count: u32, yes: bool) -> anyhow::Result<()> {
    if yes || configuration.deployment() != Deployment::Production {
        return Ok(());
    }
    if !std::io::stdin().is_terminal() {
        return Err(Usage(
            "taking migrations back in production must be confirmed: add --yes".to_owned(),
        )
        .into());
    }
    write!(
        std::io::stderr(),
        "Take back {count} in PRODUCTION, with the data they hold? Type the number: "
    )?;
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer)?;
    if answer.trim() == count.to_string() {
        Ok(())
    } else {
        Err(Usage("not confirmed".to_owned()).into())
    }
}
