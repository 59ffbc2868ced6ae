//! Owns `docs/cli.md` (and reaches `docs/configuration.md`): written from the
//! code, so that the two cannot differ.

use std::fmt::Write as _;

use clap::{CommandFactory as _, Subcommand};

use super::output::Output;
use super::{Cli, exit};

/// Write the documentation that follows from the code.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// `docs/configuration.md`.
    Configuration,
    /// `docs/cli.md`.
    Cli,
}

pub(super) fn run(command: &Command, output: Output) -> anyhow::Result<()> {
    match command {
        Command::Configuration => output.text(&crate::config::markdown()),
        Command::Cli => output.text(&markdown()),
    }
}

const INTRODUCTION: &str = "\
# Command line

Written by `strongroom docs cli` from the code; a test fails where the two differ.

Results go to standard output (`-o table|json|csv`), progress and complaints to standard error. Progress bars appear \
for work over a second and only on a terminal; `NO_COLOR` is honoured. Settings come from the environment, `.env` in \
development, and `--config FILE`: see [configuration.md](configuration.md).

";

/// The whole document.
pub fn markdown() -> String {
    let mut text = format!("{INTRODUCTION}```text\n{}\n```\n", exit::HELP);
    let mut root = Cli::command();
    root.build();
    describe(&mut text, &root, "");
    text
}

fn describe(text: &mut String, command: &clap::Command, path: &str) {
    for child in
        command.get_subcommands().filter(|child| !child.is_hide_set() && child.get_name() != "help")
    {
        let path = format!("{path} {}", child.get_name());
        let about = child.get_about().map(ToString::to_string).unwrap_or_default();
        // Writing to a String cannot fail.
        let _ = write!(text, "\n## `strongroom{path}`\n\n{about}.\n");
        if !child.has_subcommands() {
            arguments(text, child);
        }
        describe(text, child, &path);
    }
}

fn arguments(text: &mut String, command: &clap::Command) {
    let own: Vec<_> = command
        .get_arguments()
        .filter(|argument| !argument.is_hide_set() && !argument.is_global_set())
        .filter(|argument| !matches!(argument.get_id().as_str(), "help" | "version"))
        .collect();
    if !own.is_empty() {
        text.push_str("\n| Argument | Meaning | Default |\n|---|---|---|\n");
    }
    for argument in own {
        let value = argument.get_value_names().unwrap_or_default().join(" ");
        let shape = match argument.get_long() {
            Some(long) if argument.get_action().takes_values() => format!("--{long} {value}"),
            Some(long) => format!("--{long}"),
            None if argument.is_required_set() => value,
            None => format!("[{value}]"),
        };
        let choices: Vec<_> = argument
            .get_possible_values()
            .iter()
            .map(|value| value.get_name().to_owned())
            .collect();
        let is_flag = !argument.get_action().takes_values();
        let choices = if choices.is_empty() || is_flag {
            String::new()
        } else {
            format!(" ({})", choices.join(", "))
        };
        let help = argument.get_help().map(ToString::to_string).unwrap_or_default();
        let default: Vec<_> = argument
            .get_default_values()
            .iter()
            .map(|value| value.to_string_lossy().into_owned())
            .collect();
        let default = if is_flag { String::new() } else { default.join(" ") };
        let _ = writeln!(text, "| `{shape}` | {help}{choices} | {default} |");
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_documentation_is_current() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/cli.md");
        let written = std::fs::read_to_string(path).unwrap_or_default();
        assert!(
            written == super::markdown(),
            "run: cargo run --bin strongroom -- docs cli > docs/cli.md"
        );
    }
}
