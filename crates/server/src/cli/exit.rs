//! Owns what the process ends with: one code for each sort of failure, so that
//! scripts need not read messages.

use std::process::ExitCode;

use tenancy::DbError;
use tenancy::migrate::MigrateError;

use crate::config::Faults;

/// Everything was done, and nothing found wrong.
pub const OK: u8 = 0;
/// A check found a fault, or the command was refused.
pub const FOUND: u8 = 1;
/// The command line itself is wrong (clap ends with this).
pub const USAGE: u8 = 2;
/// The configuration is missing something or unsafe.
pub const CONFIGURATION: u8 = 3;
/// PostgreSQL cannot be reached.
pub const DATABASE: u8 = 4;
/// The schema's history is not this binary's, or migrations are pending.
pub const SCHEMA: u8 = 5;
/// Anything else: read the message.
pub const FAILED: u8 = 70;

/// The codes as `--help` shows them.
pub const HELP: &str = "\
Exit codes:
  0   done, nothing found wrong
  1   a check found a fault, or the command was refused
  2   the command line is wrong
  3   the configuration is incomplete or unsafe
  4   the database cannot be reached
  5   the schema's history is not this binary's, or migrations are pending
  70  anything else";

/// A command that ran and answers no: a proof that fails, a refusal.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Found(pub String);

/// A schema that this binary cannot serve from.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct SchemaNotReady(pub String);

/// A wrong command line that clap could not see.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Usage(pub String);

/// The code that an error ends the process with.
pub fn code_of(error: &anyhow::Error) -> ExitCode {
    ExitCode::from(number_of(error))
}

/// The command that says more about a failure, where one does.
pub fn hint(error: &anyhow::Error) -> Option<&'static str> {
    match number_of(error) {
        CONFIGURATION | DATABASE | SCHEMA => {
            Some("doctor   (what is wrong, and which command mends it)")
        }
        _ => None,
    }
}

fn number_of(error: &anyhow::Error) -> u8 {
    error.chain().find_map(number_of_cause).unwrap_or(FAILED)
}

fn number_of_cause(cause: &(dyn std::error::Error + 'static)) -> Option<u8> {
    if cause.is::<Found>() {
        return Some(FOUND);
    }
    if cause.is::<Usage>() {
        return Some(USAGE);
    }
    if cause.is::<Faults>() {
        return Some(CONFIGURATION);
    }
    if cause.is::<SchemaNotReady>() {
        return Some(SCHEMA);
    }
    if let Some(error) = cause.downcast_ref::<DbError>() {
        return matches!(error, DbError::Unavailable(_) | DbError::Stopped(_)).then_some(DATABASE);
    }
    if let Some(error) = cause.downcast_ref::<MigrateError>() {
        return match error {
            MigrateError::Database(error) => number_of_driver(error),
            MigrateError::BadName | MigrateError::File { .. } => Some(FAILED),
            _ => Some(SCHEMA),
        };
    }
    cause.downcast_ref::<tokio_postgres::Error>().and_then(number_of_driver)
}

/// An error without a SQLSTATE is the connection's, not a statement's.
fn number_of_driver(error: &tokio_postgres::Error) -> Option<u8> {
    let state = error.code().map(tokio_postgres::error::SqlState::code);
    // Classes 28 (authorisation), 3D (no such database), 53 (too many), 57P (shutting down).
    let refused =
        |state: &str| ["28", "3D", "53", "57P"].iter().any(|class| state.starts_with(class));
    state.is_none_or(refused).then_some(DATABASE)
}

#[cfg(test)]
mod tests {
    use anyhow::Context;

    use super::{Found, SchemaNotReady, Usage, number_of};
    use crate::config::{Fault, Faults};

    #[test]
    fn each_sort_of_failure_has_its_code() {
        let faults = Faults(vec![Fault { setting: "A".to_owned(), message: "is bad".to_owned() }]);
        let table = [
            (anyhow::Error::new(Found("no".to_owned())), 1),
            (anyhow::Error::new(Usage("no".to_owned())), 2),
            (anyhow::Error::new(faults).context("while starting"), 3),
            (anyhow::Error::new(tenancy::DbError::Unavailable("gone".to_owned())), 4),
            (anyhow::Error::new(tenancy::migrate::MigrateError::BadName), 70),
            (anyhow::Error::new(SchemaNotReady("pending".to_owned())), 5),
            (anyhow::anyhow!("anything"), 70),
        ];
        for (error, code) in table {
            assert_eq!(number_of(&error), code, "{error:#}");
        }
        let nested: anyhow::Result<()> = Err(Found("deep".to_owned())).context("outer");
        assert_eq!(nested.map_err(|error| number_of(&error)), Err(1));
    }
}
