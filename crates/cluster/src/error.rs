//! Owns what can go wrong with a private cluster, each with how to mend it.

use std::path::PathBuf;

/// Why a private cluster could not be started or stopped.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClusterError {
    /// No usable PostgreSQL is installed.
    #[error(
        "no PostgreSQL server of version 15 or newer found (looked in /usr/lib/postgresql/*/bin and PATH); \
         install one: apt-get install postgresql"
    )]
    NoBinaries,
    /// The folder was initialised by a major version that is not installed.
    #[error(
        "the database folder was made by PostgreSQL {major}, which is not installed; \
         install it (apt-get install postgresql-{major}) or remove the folder"
    )]
    WrongMajor {
        /// The major version that made the folder.
        major: u32,
    },
    /// Running as root and no unprivileged account is there to run the server.
    #[error(
        "PostgreSQL refuses to run as root, and neither account `postgres` nor `nobody` exists; \
         create one: useradd --system postgres"
    )]
    NoAccount,
    /// Another process uses the same folder.
    #[error(
        "another process already runs a database in {}; stop it first, or use --ephemeral or DATABASE_URL",
        folder.display()
    )]
    InUse {
        /// The folder.
        folder: PathBuf,
    },
    /// A folder exists that is not ours: somebody else may have planted it.
    #[error("refusing to use {}: {reason}; remove it or make it yours", folder.display())]
    Unsafe {
        /// The folder.
        folder: PathBuf,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The folder's password file is gone while its data is there.
    #[error("{} is missing, so nobody can log in to the database beside it; remove the folder to start afresh", file.display())]
    PasswordMissing {
        /// The missing file.
        file: PathBuf,
    },
    /// A file operation failed.
    #[error("cannot {action} {}: {source}", path.display())]
    File {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// The system's answer.
        source: std::io::Error,
    },
    /// A program could not be run at all.
    #[error("cannot run {}: {source}", program.display())]
    Run {
        /// The program.
        program: PathBuf,
        /// The system's answer.
        source: std::io::Error,
    },
    /// `initdb` failed.
    #[error("initdb failed: {output}")]
    Initialise {
        /// What it printed last.
        output: String,
    },
    /// The server ended or did not answer in time.
    #[error("PostgreSQL did not start; the end of {}:\n{tail}", log.display())]
    Start {
        /// Its log file.
        log: PathBuf,
        /// The last lines of it.
        tail: String,
    },
    /// The server could not be stopped.
    #[error("PostgreSQL (process {process_id}) did not stop; end it with: kill -QUIT {process_id}")]
    Stop {
        /// Its process id.
        process_id: u32,
    },
    /// The watchdog could not be started.
    #[error("cannot start the cluster's watchdog (sh): {0}")]
    Watchdog(std::io::Error),
    /// The system gave no random bytes for the password.
    #[error("the system gave no random bytes")]
    Random,
}

impl ClusterError {
    pub(crate) fn file(
        action: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::File { action, path, source }
    }
}
