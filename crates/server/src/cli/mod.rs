//! Owns the command line: what can be asked of the binary, and which answer goes
//! where. Results go to standard output, progress and complaints to standard
//! error, so that pipes stay clean. It refuses to hold rules: every command is a
//! few lines over the module that does the work.

mod audit;
mod config;
mod docs;
pub mod exit;
mod import;
mod ledger;
mod logging;
mod migrate;
pub mod output;
pub mod progress;
pub(crate) mod tenant;
mod user;

use std::path::PathBuf;

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
    /// Inspect the configuration.
    #[command(subcommand)]
    Config(config::Command),
    /// Print the OpenAPI 3.1 document of the API, as JSON.
    Openapi,
    /// Create and list tenants.
    #[command(subcommand)]
    Tenant(tenant::Command),
    /// Create users.
    #[command(subcommand)]
    User(user::Command),
    /// Import another bank's customers, accounts and history from CSV files.
    Import(import::Options),
    /// Prove the ledger.
    #[command(subcommand)]
    Ledger(ledger::Command),
    /// Prove the audit log.
    #[command(subcommand)]
    Audit(audit::Command),
    /// Write the documentation that follows from the code, as Markdown.
    #[command(subcommand, hide = true)]
    Docs(docs::Command),
}

/// Runs a parsed command line.
///
/// # Errors
/// Whatever ends the process with another code than 0; see [`exit::code_of`].
pub async fn run(cli: Cli) -> anyhow::Result<()> {
    let configuration = Configuration::read(&Sources::of_process(cli.global.config.as_deref())?);
    let output = Output::new(cli.global.output);
    logging::start(&configuration, &cli.command);
    match cli.command {
        Command::Dev(options) => dev::run(options, &configuration).await,
        Command::Serve(options) => serve::run(options, &configuration).await,
        Command::Migrate(command) => migrate::run(command, &configuration, output).await,
        Command::Config(command) => config::run(&command, &configuration, output),
        Command::Openapi => output.text(&serde_json::to_string_pretty(&api::openapi())?),
        Command::Tenant(command) => tenant::run(command, &configuration, output).await,
        Command::User(command) => user::run(command, &configuration, output).await,
        Command::Import(options) => import::run(options, &configuration, output).await,
        Command::Ledger(command) => ledger::run(command, &configuration, output).await,
        Command::Audit(command) => audit::run(command, &configuration, output).await,
        Command::Docs(command) => docs::run(&command, output),
    }
}
