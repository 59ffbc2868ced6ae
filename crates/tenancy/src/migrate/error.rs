//! Owns what can go wrong with a migration, each with what to do about it.

use std::path::PathBuf;

/// Why migrations were refused or failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MigrateError {
    /// An applied migration differs from this binary's.
    #[error(
        "migration {version:04}_{name} was changed after it was applied (its {part} differs); \
         restore the file, and put the change into a new migration"
    )]
    Tampered {
        /// Number of the migration.
        version: u32,
        /// Name by the database's record.
        name: String,
        /// What differs.
        part: &'static str,
    },
    /// A migration below the newest applied one is missing from the history.
    #[error(
        "migration {version:04}_{name} is not applied although {current:04} is; \
         the history has a gap and is refused"
    )]
    Gap {
        /// Number of the missing migration.
        version: u32,
        /// Its name.
        name: String,
        /// Newest applied migration.
        current: u32,
    },
    /// The history names a migration that this binary should know and does not.
    #[error("migration {version:04}_{name} is applied but unknown to this binary")]
    Unknown {
        /// Number of the migration.
        version: u32,
        /// Name by the database's record.
        name: String,
    },
    /// The database is ahead, and its newer migration does not allow this binary.
    #[error(
        "the database has migration {version:04}_{name}, which needs a binary of schema version \
         {min_binary} or newer; this one is {schema_version}: install the newer binary"
    )]
    TooNew {
        /// Number of the migration.
        version: u32,
        /// Its name.
        name: String,
        /// Oldest binary that works with it.
        min_binary: u32,
        /// This binary's schema version.
        schema_version: u32,
    },
    /// Taking back a migration that only a newer binary knows.
    #[error("migration {version:04}_{name} can only be taken back by the binary that brought it")]
    NotInBinary {
        /// Number of the migration.
        version: u32,
        /// Its name.
        name: String,
    },
    /// A script failed; its transaction was rolled back.
    #[error(
        "migration {version:04}_{name} failed{} and was rolled back: {}",
        line.map(|line| format!(" in line {line}")).unwrap_or_default(),
        describe(source)
    )]
    Failed {
        /// Number of the migration.
        version: u32,
        /// Its name.
        name: String,
        /// Line of the script, where the server points at one.
        line: Option<usize>,
        /// PostgreSQL's answer.
        source: tokio_postgres::Error,
    },
    /// The connection may not create roles or give away the schema.
    #[error("this login may not prepare the database; have an administrator run:\n\n{sql}")]
    NotAllowed {
        /// The statements to run.
        sql: String,
    },
    /// The connection is neither `strongroom_owner` nor a member of it.
    #[error(
        "this login cannot act as strongroom_owner; have an administrator run: \
         GRANT strongroom_owner TO {login};"
    )]
    NotOwner {
        /// The login, quoted as an identifier.
        login: String,
    },
    /// Any other failure of the database.
    #[error("{}", describe(.0))]
    Database(#[from] tokio_postgres::Error),
    /// A name that cannot become part of a file's name.
    #[error("a migration's name is 1 to 60 of a-z, 0-9 and _, starting with a letter")]
    BadName,
    /// A file of the timeline cannot be read or written.
    #[error("cannot {action} {}: {source}", path.display())]
    File {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// The system's answer.
        source: std::io::Error,
    },
}

/// `tokio_postgres` prints only "db error"; the server's own words say what to mend.
fn describe(error: &tokio_postgres::Error) -> String {
    error.as_db_error().map_or_else(
        || error.to_string(),
        |server| {
            let detail = server.detail().map(|text| format!(" ({text})")).unwrap_or_default();
            let place = server.where_().map(|text| format!(" at {text}")).unwrap_or_default();
            format!("{} [{}]{detail}{place}", server.message(), server.code().code())
        },
    )
}
