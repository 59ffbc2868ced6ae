//! Owns the log: where it goes (standard error), how it looks and how much there
//! is of it.

use std::io::IsTerminal as _;

use tenancy::timing::{CAUSES_TARGET, STATEMENTS_TARGET};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::FmtSpan;

use super::Command;
use crate::config::{self, Configuration};

/// Lets through, or keeps out whatever the level, what is told to those who debug alone.
fn debugging(is_on: bool, filter: EnvFilter) -> EnvFilter {
    let level = if is_on { "debug" } else { "off" };
    [STATEMENTS_TARGET, CAUSES_TARGET].into_iter().fold(filter, |filter, target| {
        match format!("{target}={level}").parse() {
            Ok(directive) => filter.add_directive(directive),
            Err(_) => filter,
        }
    })
}

/// Starts logging for this process. Commands that answer and end say nothing
/// below a warning: their answer is what was asked for.
pub(super) fn start(configuration: &Configuration, command: &Command) {
    let serves = matches!(command, Command::Serve(_) | Command::Dev(_) | Command::Witness(_));
    let is_dev = matches!(command, Command::Dev(_));
    let filter = if configuration.is_log_level_set() || (serves && !is_dev) {
        configuration.log_filter()
    } else if configuration.is_debugging() {
        EnvFilter::new("debug")
    } else {
        EnvFilter::new("warn")
    };
    let filter = debugging(configuration.is_debugging(), filter);
    let colours = std::io::stderr().is_terminal() && config::wants_colours();
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_span_events(FmtSpan::NONE)
        .with_ansi(colours);
    // Only a second start in one process fails, which is a test's.
    let _ = if serves && !is_dev && configuration.logs_json() {
        builder.json().flatten_event(true).try_init()
    } else {
        builder.with_target(false).try_init()
    };
}
