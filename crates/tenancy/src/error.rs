//! What can go wrong between us and PostgreSQL, sorted by what the caller does about it.

use tokio_postgres::error::SqlState;

/// A database failure. Never shown to clients: constraint names are mapped to
/// client errors by the domain that knows them, the rest is a 5xx.
#[derive(Debug, thiserror::Error)]
pub enum DbError {
    /// No connection could be had in time, the server went away, or it cannot serve
    /// now (disk full, read-only): nothing can be asked of it, retry later. After a
    /// COMMIT was sent nobody knows whether it took place.
    #[error("database unavailable: {0}")]
    Unavailable(String),
    /// 40001 or 40P01: run the whole transaction again.
    #[error("transaction must be retried: {}", without_values(.0))]
    Retry(#[source] tokio_postgres::Error),
    /// This transaction was stopped, for others or for its own slowness (57014, 55P03,
    /// 40000; 40001 and 40P01 once no more attempts are made): it took no place. The
    /// database serves others meanwhile: retry later.
    #[error("transaction stopped: {0}")]
    Stopped(String),
    /// A named constraint said no.
    #[error("constraint {name} violated")]
    Constraint {
        /// The constraint's name.
        name: String,
        /// SQLSTATE, five characters.
        state: String,
        /// The driver's error.
        #[source]
        source: tokio_postgres::Error,
    },
    /// Anything else the server said.
    #[error("database error: {}", without_values(.0))]
    Other(#[source] tokio_postgres::Error),
    /// Something is sealed or wrapped under a key that this node had not read: the
    /// next reading has it, or there is none. Run the whole transaction again.
    #[error("keys must be read again: {0}")]
    StaleKeys(String),
    /// A row did not have the shape the code expects, or a stored value is corrupt.
    #[error("corrupt row: {0}")]
    Corrupt(String),
}

impl DbError {
    /// The violated constraint's name, where one was.
    pub fn constraint(&self) -> Option<&str> {
        match self {
            Self::Constraint { name, .. } => Some(name),
            _ => None,
        }
    }

    /// SQLSTATE, where the server gave one.
    pub fn state(&self) -> Option<&str> {
        match self {
            Self::Retry(error) | Self::Other(error) => error.code().map(SqlState::code),
            Self::Constraint { state, .. } => Some(state),
            Self::Unavailable(_) | Self::Stopped(_) | Self::StaleKeys(_) | Self::Corrupt(_) => None,
        }
    }
}

impl From<tokio_postgres::Error> for DbError {
    fn from(error: tokio_postgres::Error) -> Self {
        let Some(database) = error.as_db_error() else {
            // No SQLSTATE: the socket broke or the answer could not be decoded.
            return if error.is_closed() || std::error::Error::source(&error).is_some_and(is_io) {
                Self::Unavailable(error.to_string())
            } else {
                Self::Other(error)
            };
        };
        match Remedy::of(database.code().code()) {
            Remedy::RunAgain => return Self::Retry(error),
            Remedy::StandBack => return Self::Stopped(without_values(&error)),
            Remedy::ComeBack => return Self::Unavailable(without_values(&error)),
            Remedy::None => {}
        }
        match database.constraint() {
            Some(name) => Self::Constraint {
                name: name.to_owned(),
                state: database.code().code().to_owned(),
                source: error,
            },
            None => Self::Other(error),
        }
    }
}

/// What helps against an error that PostgreSQL names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Remedy {
    /// The same transaction from its beginning, at once.
    RunAgain,
    /// The same request, later: it met others, or was too slow, and nothing of it took place.
    StandBack,
    /// The same request, later or from another server: it was not the request's fault.
    ComeBack,
    /// Neither: the statement, or what it found, is wrong.
    None,
}

impl Remedy {
    /// By SQLSTATE (PostgreSQL's documentation, appendix A), the class first where
    /// all of it is alike.
    fn of(state: &str) -> Self {
        match state {
            // serialization_failure, deadlock_detected.
            "40001" | "40P01" => Self::RunAgain,
            // Rolled back by the server; lock_not_available; query_canceled: the statement's
            // time was up, or the operator cancelled it.
            "40000" | "55P03" | "57014" => Self::StandBack,
            // Nobody knows whether it took place: the idempotency key does.
            "40003"
            // A standby, or a server made read-only: a failover, or a disk that filled up.
            | "25006"
            // Our own transaction waited too long and was ended.
            | "25P03"
            // system_error, io_error.
            | "58000" | "58030" => Self::ComeBack,
            // Classes 08 connection, 53 resources (disk, memory, connections), 57P
            // the operator (shutdown, crash, not yet up).
            _ if ["08", "53", "57P"].iter().any(|class| state.starts_with(class)) => Self::ComeBack,
            _ => Self::None,
        }
    }
}

/// What may be logged of a server's error: its SQLSTATE, and its message except
/// in classes 22 and 23, whose messages quote the values. Never DETAIL or HINT.
fn without_values(error: &tokio_postgres::Error) -> String {
    let Some(database) = error.as_db_error() else { return error.to_string() };
    let state = database.code().code();
    if state.starts_with("22") || state.starts_with("23") {
        return format!("SQLSTATE {state}");
    }
    format!("SQLSTATE {state}: {}", database.message())
}

fn is_io(error: &(dyn std::error::Error + 'static)) -> bool {
    error.downcast_ref::<std::io::Error>().is_some()
}

/// The driver names the step that failed; why it did is what helps.
fn with_cause(error: &tokio_postgres::Error) -> String {
    let cause = std::error::Error::source(error).map(ToString::to_string);
    cause.map_or_else(|| error.to_string(), |cause| format!("{error}: {cause}"))
}

impl From<deadpool_postgres::PoolError> for DbError {
    fn from(error: deadpool_postgres::PoolError) -> Self {
        match error {
            deadpool_postgres::PoolError::Backend(backend) => match Self::from(backend) {
                // A failure to connect is never the statement's fault.
                Self::Other(error) => Self::Unavailable(with_cause(&error)),
                other => other,
            },
            other => Self::Unavailable(other.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Remedy::{self, ComeBack, None, RunAgain, StandBack};

    #[test]
    fn each_class_of_error_has_one_remedy() {
        let table = [
            // Class 08: the connection.
            ("08000", ComeBack),
            ("08001", ComeBack),
            ("08003", ComeBack),
            ("08004", ComeBack),
            ("08006", ComeBack),
            ("08P01", ComeBack),
            // Class 53: resources.
            ("53000", ComeBack),
            ("53100", ComeBack),
            ("53200", ComeBack),
            ("53300", ComeBack),
            ("53400", ComeBack),
            // Class 57: the operator.
            ("57014", StandBack),
            ("57P01", ComeBack),
            ("57P02", ComeBack),
            ("57P03", ComeBack),
            ("57P04", ComeBack),
            ("57P05", ComeBack),
            // Class 40: the transaction.
            ("40000", StandBack),
            ("40001", RunAgain),
            ("40003", ComeBack),
            ("40P01", RunAgain),
            // Class 25: its state. 25P02 is a bug of ours.
            ("25006", ComeBack),
            ("25P02", None),
            ("25P03", ComeBack),
            // Locks and the system below.
            ("55P03", StandBack),
            ("55000", None),
            ("58000", ComeBack),
            ("58030", ComeBack),
            ("58P01", None),
            // What another try does not mend.
            ("22003", None),
            ("23505", None),
            ("23514", None),
            ("28P01", None),
            ("42501", None),
            ("42703", None),
            ("42P01", None),
            ("54001", None),
            ("P0001", None),
            ("XX000", None),
            ("XX001", None),
        ];
        for (state, remedy) in table {
            assert_eq!(Remedy::of(state), remedy, "{state}");
        }
    }
}
