//! What can go wrong between us and PostgreSQL, sorted by what the caller does about it.

use tokio_postgres::error::SqlState;

/// A database failure. Never shown to clients: constraint names are mapped to
/// client errors by the domain that knows them, the rest is a 5xx.
#[derive(Debug, thiserror::Error)]
pub enum DbError {
    /// No connection could be had in time, or the server went away: retry later.
    #[error("database unavailable: {0}")]
    Unavailable(String),
    /// 40001 or 40P01: run the whole transaction again.
    #[error("transaction must be retried: {}", without_values(.0))]
    Retry(#[source] tokio_postgres::Error),
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
            Self::Unavailable(_) | Self::Corrupt(_) => None,
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
        let state = database.code();
        if *state == SqlState::T_R_SERIALIZATION_FAILURE
            || *state == SqlState::T_R_DEADLOCK_DETECTED
        {
            return Self::Retry(error);
        }
        // Class 57P: the administrator ended the server or this connection. 53300: too many connections.
        if state.code().starts_with("57P") || *state == SqlState::TOO_MANY_CONNECTIONS {
            return Self::Unavailable(error.to_string());
        }
        match database.constraint() {
            Some(name) => Self::Constraint {
                name: name.to_owned(),
                state: state.code().to_owned(),
                source: error,
            },
            None => Self::Other(error),
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

impl From<deadpool_postgres::PoolError> for DbError {
    fn from(error: deadpool_postgres::PoolError) -> Self {
        match error {
            deadpool_postgres::PoolError::Backend(backend) => match Self::from(backend) {
                // A failure to connect is never the statement's fault.
                Self::Other(cause) => Self::Unavailable(cause.to_string()),
                other => other,
            },
            other => Self::Unavailable(other.to_string()),
        }
    }
}
