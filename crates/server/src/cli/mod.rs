//! Owns the command line: what can be asked of the binary, and which answer goes
//! where. Results go to standard output, progress and complaints to standard
//! error, so that pipes stay clean. It refuses to hold rules: every command is a
//! few lines over the module that does the work.

mod access;
mod audit;
mod bench;
mod completion;
mod config;
mod docs;
mod doctor;
mod events;
pub mod exit;
mod import;
pub mod keys;
mod ledger;
mod logging;
mod man;
mod migrate;
pub mod output;
pub mod progress;
pub(crate) mod tenant;
mod user;
mod witness;

use std::path::{Path, PathBuf};

use clap::{Parser, Subcommand};

use crate::config::{Configuration, Sources};
use crate::{dev, serve};
use output::{Format, Output};

pub use docs::markdown as documentation;

/// The secure core that financial software is built on.
#[derive(Debug, Parser)]
#[command(name = "strongroom", version, about, propagate_version = true, after_help = exit::HELP)]
pub struct Cli {
    /// What every command takes.
    #[command(flatten)]
    pub global: Global,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What every command takes.
#[derive(Debug, clap::Args)]
pub struct Global {
    /// How results are written to standard output.
    #[arg(short, long, value_enum, default_value_t = Format::Table, global = true, value_name = "FORMAT")]
    pub output: Format,
    /// A TOML file of settings; the environment wins over it.
    #[arg(long, global = true, value_name = "FILE")]
    pub config: Option<PathBuf>,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run a demo installation on this machine, with a private PostgreSQL.
    Dev(dev::Options),
    /// Serve the API; refuses unsafe settings outside development.
    Serve(serve::Options),
    /// Apply, take back and inspect the schema's migrations.
    #[command(subcommand)]
    Migrate(migrate::Command),
    /// Inspect the configuration, and seal what is secret in it.
    #[command(subcommand)]
    Config(config::Command),
    /// Print the OpenAPI 3.1 document of the API, as JSON.
    Openapi,
    /// Create and list tenants, and choose how their messages look.
    #[command(subcommand)]
    Tenant(tenant::Command),
    /// Create users.
    #[command(subcommand)]
    User(user::Command),
    /// List, rotate and revoke the keys that sign tokens and those that seal and wrap; count what is sealed under which.
    #[command(subcommand)]
    Keys(keys::Command),
    /// Import another bank's customers, accounts and history from CSV files.
    Import(import::Options),
    /// Read, compare and explain who may do what.
    #[command(subcommand)]
    Access(access::Command),
    /// Prove the ledger.
    #[command(subcommand)]
    Ledger(ledger::Command),
    /// Prove the audit log.
    #[command(subcommand)]
    Audit(audit::Command),
    /// Read the events of a tenant, and have webhooks told them again.
    #[command(subcommand)]
    Events(events::Command),
    /// Cosign the checkpoints of other installations' logs, so that none has two histories.
    #[command(subcommand)]
    Witness(witness::Command),
    /// Examine an installation; each fault names the command that mends it.
    Doctor(doctor::Options),
    /// Print the completion script of a shell.
    Completion(completion::Options),
    /// Write a manual page for each command.
    Man(man::Options),
    /// Measure this binary beside its limits.
    Bench(bench::Options),
    /// Write the documentation that follows from the code, as Markdown.
    #[command(subcommand, hide = true)]
    Docs(docs::Command),
}

/// Runs a parsed command line.
///
/// # Errors
/// Whatever ends the process with another code than 0; see [`exit::code_of`].
pub async fn run(cli: Cli) -> anyhow::Result<()> {
    let mut sources = Sources::of_process(cli.global.config.as_deref())?;
    if let Some(folder) = attaches_in(&cli.command) {
        sources = sources.or_running(folder);
    }
    let configuration = if works_without_secrets(&cli.command) {
        Configuration::read_with(&sources, &|_| Err(secrets::Refusal::NotAsked))
    } else {
        Configuration::read(&sources)
    };
    let output = Output::new(cli.global.output);
    logging::start(&configuration, &cli.command);
    match cli.command {
        // Boxed: making a whole installation is a large future.
        Command::Dev(options) => Box::pin(dev::run(options, &configuration)).await,
        Command::Serve(options) => Box::pin(serve::run(options, &configuration)).await,
        Command::Migrate(command) => migrate::run(command, &configuration, output).await,
        Command::Config(command) => config::run(&command, &configuration, output),
        Command::Openapi => output.text(&serde_json::to_string_pretty(&api::openapi())?),
        Command::Tenant(command) => tenant::run(command, &configuration, output).await,
        Command::User(command) => user::run(command, &configuration, output).await,
        Command::Keys(command) => keys::run(command, &configuration, output).await,
        Command::Import(options) => import::run(options, &configuration, output).await,
        Command::Access(command) => access::run(command, &configuration, output).await,
        Command::Ledger(command) => ledger::run(command, &configuration, output).await,
        Command::Audit(command) => audit::run(command, &configuration, output).await,
        Command::Events(command) => events::run(command, &configuration, cli.global.output).await,
        Command::Witness(command) => witness::run(command, output).await,
        Command::Doctor(options) => doctor::run(options, &configuration, output).await,
        Command::Completion(options) => completion::run(&options, output),
        Command::Man(options) => man::run(&options, output),
        Command::Bench(options) => bench::run(options, &configuration, cli.global.output).await,
        Command::Docs(command) => docs::run(&command, output),
    }
}

/// Whoever completes a command line must not wait for a secret manager.
fn works_without_secrets(command: &Command) -> bool {
    matches!(
        command,
        Command::Openapi
            | Command::Access(_)
            | Command::Completion(_)
            | Command::Man(_)
            | Command::Docs(_)
    )
}

/// The folder in which a command looks for a development installation to work on
/// where no database is named. What serves never does: it would serve itself.
fn attaches_in(command: &Command) -> Option<&Path> {
    match command {
        Command::Migrate(_)
        | Command::Config(_)
        | Command::Tenant(_)
        | Command::User(_)
        | Command::Keys(_)
        | Command::Import(_)
        | Command::Ledger(_)
        | Command::Audit(_)
        | Command::Events(_) => Some(Path::new("var")),
        Command::Doctor(options) => Some(&options.folder),
        _ => None,
    }
}
