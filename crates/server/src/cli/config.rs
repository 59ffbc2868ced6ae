//! `strongroom config`: shows and explains what was set, and never a secret.

use clap::Subcommand;

use super::exit::Usage;
use super::output::Output;
use crate::config::{Configuration, settings};

/// Inspect the configuration.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Show every value with its source, secrets redacted, and all faults.
    Check {
        /// Judge as if `ENV` were `production`.
        #[arg(long)]
        production: bool,
    },
    /// Say what a setting does.
    Explain {
        /// Its name or an alias.
        name: String,
    },
}

pub(super) fn run(
    command: &Command,
    configuration: &Configuration,
    output: Output,
) -> anyhow::Result<()> {
    match command {
        Command::Check { production } => {
            output.list(&["setting", "value", "source"], &configuration.shown(), |shown| {
                vec![
                    shown.name.to_owned(),
                    shown.value.clone().unwrap_or_default(),
                    shown.source.clone(),
                ]
            })?;
            if *production {
                configuration.check_production()?;
            } else {
                configuration.check_serving()?;
            }
            Ok(())
        }
        Command::Explain { name } => explain(name, output),
    }
}

#[derive(serde::Serialize)]
struct Explained {
    setting: &'static str,
    aliases: String,
    value: String,
    default: Option<&'static str>,
    secret: bool,
    documentation: &'static str,
}

fn explain(name: &str, output: Output) -> anyhow::Result<()> {
    let found = settings::find(&name.to_uppercase());
    let setting = found.ok_or_else(|| {
        Usage(format!("there is no setting {name}; `strongroom config check` lists all"))
    })?;
    output.one(&Explained {
        setting: setting.name,
        aliases: setting.aliases.join(", "),
        value: setting.kind.describe(),
        default: setting.default,
        secret: setting.secret,
        documentation: setting.documentation,
    })
}
