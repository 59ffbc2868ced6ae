//! `strongroom completion`: the script by which a shell completes our commands and
//! arguments. It follows from the command line itself, so it is never stale.

use clap::CommandFactory as _;
use clap_complete::Shell;

use super::Cli;
use super::output::Output;

/// Print a shell's completion script.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// The shell.
    #[arg(value_enum)]
    shell: Shell,
}

pub(super) fn run(options: &Options, output: Output) -> anyhow::Result<()> {
    output.text(&script(options.shell))
}

fn script(shell: Shell) -> String {
    let mut command = Cli::command();
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut command, "strongroom", &mut script);
    String::from_utf8_lossy(&script).into_owned()
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory as _, ValueEnum as _};
    use clap_complete::Shell;

    use super::script;
    use crate::cli::Cli;

    #[test]
    fn every_shell_learns_every_command() {
        let root = Cli::command();
        for shell in Shell::value_variants() {
            let script = script(*shell);
            for command in root.get_subcommands().filter(|command| !command.is_hide_set()) {
                assert!(script.contains(command.get_name()), "{shell}: {}", command.get_name());
                for child in command.get_subcommands() {
                    assert!(script.contains(child.get_name()), "{shell}: {}", child.get_name());
                }
            }
            assert!(script.contains("--production") || script.contains("production"), "{shell}");
        }
    }
}
