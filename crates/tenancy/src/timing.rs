//! What `DEBUG` adds to the log: how long each statement took, by its name, and what a failure
//! of the database came from.
//!
//! Both have targets of their own, which the log's filter lets through where an operator of a
//! development asked for them. It refuses to tell texts, parameters and messages of the server
//! that quote values: a name, a time and what the schema calls things.

use std::{collections::HashMap, fmt::Write as _, sync::OnceLock, time::Instant};

use tracing::Level;

use crate::DbError;

/// The target under which statements are timed.
pub const STATEMENTS_TARGET: &str = "strongroom::sql";
/// The target under which causes are told.
pub const CAUSES_TARGET: &str = "strongroom::causes";

/// Every file of `queries/`, by its place there without its ending.
const FILES: &[(&str, &str)] = include!(concat!(env!("OUT_DIR"), "/queries.rs"));

/// Does the work of one statement, and tells how long it took where that is asked for.
pub(crate) async fn timed<T>(sql: &'static str, work: impl Future<Output = T>) -> T {
    if !tracing::enabled!(target: STATEMENTS_TARGET, Level::DEBUG) {
        return work.await;
    }
    let begun = Instant::now();
    let outcome = work.await;
    let elapsed_us = u64::try_from(begun.elapsed().as_micros()).unwrap_or(u64::MAX);
    let statement = name_of(sql).unwrap_or("unnamed");
    tracing::debug!(target: STATEMENTS_TARGET, statement, elapsed_us, "a statement ended");
    outcome
}

/// Tells what a failure came from, where that is asked for.
pub fn tell_cause(error: &DbError) {
    if tracing::enabled!(target: CAUSES_TARGET, Level::DEBUG) {
        let cause = cause_of(error);
        tracing::debug!(target: CAUSES_TARGET, cause, "the database failed");
    }
}

/// A statement's name: the file and the name behind `--!`.
fn name_of(sql: &str) -> Option<&'static str> {
    static NAMES: OnceLock<HashMap<&'static str, String>> = OnceLock::new();
    let names = NAMES.get_or_init(|| {
        let mut names = HashMap::new();
        for &(place, text) in FILES {
            for statement in crate::sql::statements(text) {
                names.insert(statement.text.trim(), format!("{place}.{}", statement.name));
            }
        }
        names
    });
    names.get(sql.trim()).map(String::as_str)
}

/// The error as it is logged anyway, and what the server and the driver know of where it arose.
fn cause_of(error: &DbError) -> String {
    let mut cause = error.to_string();
    let mut next = std::error::Error::source(error);
    while let Some(source) = next {
        if let Some(driver) = source.downcast_ref::<tokio_postgres::Error>()
            && let Some(said) = driver.as_db_error()
        {
            for (what, name) in [
                ("schema", said.schema()),
                ("table", said.table()),
                ("column", said.column()),
                ("datatype", said.datatype()),
                ("constraint", said.constraint()),
                ("routine", said.routine()),
            ] {
                if let Some(name) = name {
                    let _ = write!(cause, "; {what} {name}");
                }
            }
            // Below it is the same error again, with the message that quotes values.
            return cause;
        }
        let _ = write!(cause, ": {source}");
        next = source.source();
    }
    cause
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::{FILES, name_of};

    #[test]
    fn every_statement_has_a_name() {
        let mut named = 0;
        for (place, text) in FILES {
            for statement in crate::sql::statements(text) {
                let name = name_of(statement.text).unwrap();
                assert!(!name.contains(' ') && name.contains('.'), "{place}: {name}");
                named += 1;
            }
        }
        assert!(named > 300, "{named}");
        assert_eq!(name_of(crate::sql!("identity/keys.sql", "list")), Some("identity/keys.list"));
        assert_eq!(name_of("SELECT 1"), None);
    }
}
