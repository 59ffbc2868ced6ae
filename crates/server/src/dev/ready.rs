//! Owns the ready file: what black-box tests and load drivers attach by. It is
//! written when the server answers, whole or not at all.

use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use anyhow::Context as _;
use serde::Serialize;
use uuid::Uuid;

use crate::config::running;

/// The ready file.
#[derive(Debug, Serialize)]
pub(super) struct Ready {
    /// Where the API answers.
    pub base_url: String,
    /// Where metrics and health answer.
    pub metrics_url: String,
    /// This process.
    pub pid: u32,
    /// The private cluster's superuser, for inspection.
    pub database_url: String,
    /// `ENCRYPTION_KEY` of this installation, for commands that open its keys
    /// (`tenant create`, `import`).
    pub encryption_key: String,
    /// Who can sign in where.
    pub tenants: Vec<TenantLogins>,
    /// For load drivers, with `--seed load`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub manifest: Option<Manifest>,
}

/// A tenant and its people.
#[derive(Clone, Debug, Serialize)]
pub(super) struct TenantLogins {
    /// Its slug.
    pub slug: String,
    /// What it was created from.
    pub blueprint: String,
    /// Its people.
    pub users: Vec<Login>,
}

/// How somebody signs in.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Login {
    /// The user name.
    pub username: String,
    /// The password.
    pub password: String,
    /// The role.
    pub role: String,
}

/// What a load driver needs.
#[derive(Debug, Serialize)]
pub(super) struct Manifest {
    /// The tenant's slug.
    pub tenant: String,
    /// The password of all users.
    pub password: String,
    /// Of all accounts.
    pub currency: String,
    /// The users with their accounts.
    pub users: Vec<ManifestUser>,
}

/// A user of a load driver.
#[derive(Debug, Serialize)]
pub(super) struct ManifestUser {
    /// The user name.
    pub username: String,
    /// The ids of the accounts they own.
    pub accounts: Vec<Uuid>,
}

impl Ready {
    /// Leaves the note in the installation's folder by which every other command
    /// finds it. Without the manifest: that is a load driver's.
    ///
    /// # Errors
    /// Where the file cannot be written.
    pub(super) fn keep(&self, folder: &Path) -> anyhow::Result<()> {
        let note = Self { tenants: self.tenants.clone(), ..self.attached() };
        note.write(&folder.join(running::FILE))
    }

    fn attached(&self) -> Self {
        Self {
            base_url: self.base_url.clone(),
            metrics_url: self.metrics_url.clone(),
            pid: self.pid,
            database_url: self.database_url.clone(),
            encryption_key: self.encryption_key.clone(),
            tenants: Vec::new(),
            manifest: None,
        }
    }

    /// Takes the note away, unless another process has put its own there.
    pub(super) fn take_away(folder: &Path, pid: u32) {
        if running::Running::in_folder(folder).is_some_and(|note| note.pid == pid) {
            // Best effort: a note without its process is recognised as such.
            let _ = std::fs::remove_file(folder.join(running::FILE));
        }
    }

    /// Removes what an earlier run left, so that nobody attaches to a ghost.
    ///
    /// # Errors
    /// Where it is there and cannot be removed.
    pub(super) fn forget(path: &Path) -> anyhow::Result<()> {
        match std::fs::remove_file(path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(error).with_context(|| format!("the ready file {}", path.display()))
            }
            _ => Ok(()),
        }
    }

    /// Writes it: readable by its owner alone, renamed into place.
    ///
    /// # Errors
    /// Where the file cannot be written.
    pub(super) fn write(&self, path: &Path) -> anyhow::Result<()> {
        let unfinished = path.with_extension(format!("{}.unfinished", self.pid));
        let context = || format!("the ready file {}", path.display());
        let mut options = std::fs::OpenOptions::new();
        let mut file = options
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&unfinished)
            .with_context(context)?;
        serde_json::to_writer_pretty(&mut file, self)?;
        file.write_all(b"\n").with_context(context)?;
        std::fs::rename(&unfinished, path).with_context(context)
    }
}
