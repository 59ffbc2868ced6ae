//! Owns where a development installation lives: a private cluster in `./var` or a
//! temporary folder, or a server that is there already. Prepares its database.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use cluster::{ClusterOptions, PrivateCluster};
use tenancy::migrate::{Migrator, ensure_roles};
use tenancy::{DatabaseConfig, DbError};
use tokio_postgres::error::SqlState;
use zeroize::Zeroizing;

use super::secrets::Secrets;
use crate::config::Configuration;
use crate::connect::connect;

/// The database of a private cluster.
const DATABASE: &str = "strongroom";

/// The root key of an installation that was given none, in its folder.
pub(super) const KEY_FILE: &str = "development.key";

/// Where a development installation lives.
pub(super) struct Place {
    /// The login of everything; its roles are taken on by the connections.
    pub url: Zeroizing<String>,
    /// The root key.
    pub secrets: Secrets,
    cluster: Option<PrivateCluster>,
    outbox: Outbox,
}

/// Where messages to people are written instead of being sent.
enum Outbox {
    Kept(PathBuf),
    /// Gone with it.
    Temporary(tempfile::TempDir),
}

/// PostgreSQL says it in the middle of many lines.
fn advised(error: anyhow::Error, folder: &Path) -> anyhow::Error {
    if !format!("{error:#}").contains("No space left on device") {
        return error;
    }
    let folder = folder.display();
    error.context(format!(
        "no space is left where the database lies: free some (see df -h {folder}), or choose another --folder"
    ))
}

impl Place {
    /// Finds or starts the database, and migrates it.
    ///
    /// # Errors
    /// Where there is no PostgreSQL, or the migrations fail.
    pub(super) async fn prepare(
        folder: &Path,
        ephemeral: bool,
        configuration: &Configuration,
    ) -> anyhow::Result<Self> {
        let given = configuration.database().ok().map(|config| Zeroizing::new(config.url));
        if !ephemeral {
            std::fs::create_dir_all(folder)
                .with_context(|| {
                    let folder = folder.display();
                    format!("cannot make the folder {folder}; choose another with --folder, or use --ephemeral")
                })?;
        }
        let secrets = match Secrets::of(configuration) {
            Some(configured) => configured,
            None if ephemeral => Secrets::ephemeral(),
            None => Secrets::kept_in(&folder.join(KEY_FILE))?,
        };
        let outbox = if ephemeral {
            Outbox::Temporary(tempfile::tempdir()?)
        } else {
            Outbox::Kept(folder.join("notices"))
        };
        let (url, cluster) = match given {
            Some(url) => (url, None),
            None => Self::private(folder.join("postgres"), ephemeral)
                .await
                .map_err(|error| advised(error, folder))?,
        };
        let place = Self { url, secrets, cluster, outbox };
        place.migrate().await?;
        Ok(place)
    }

    /// Where messages to people are written.
    pub(super) fn outbox(&self) -> &Path {
        match &self.outbox {
            Outbox::Kept(path) => path,
            Outbox::Temporary(folder) => folder.path(),
        }
    }

    async fn private(
        folder: PathBuf,
        ephemeral: bool,
    ) -> anyhow::Result<(Zeroizing<String>, Option<PrivateCluster>)> {
        let options = if ephemeral {
            ClusterOptions::ephemeral()
        } else {
            ClusterOptions::persistent(folder)
        };
        let cluster =
            tokio::task::spawn_blocking(move || PrivateCluster::start(&options)).await??;
        let maintenance = DatabaseConfig::new(cluster.superuser_url().as_str());
        let client = connect(&maintenance).await?;
        match client.batch_execute(&format!("CREATE DATABASE {DATABASE}")).await {
            Err(error) if error.code() != Some(&SqlState::DUPLICATE_DATABASE) => {
                return Err(DbError::from(error).into());
            }
            _ => {}
        }
        let url = cluster.superuser_url_for(DATABASE);
        Ok((url, Some(cluster)))
    }

    async fn migrate(&self) -> anyhow::Result<()> {
        let mut client = connect(&DatabaseConfig::new(self.url.as_str())).await?;
        ensure_roles(&client).await?;
        Migrator::embedded().up(&mut client, None).await?;
        Ok(())
    }

    /// Stops the private cluster, if there is one.
    ///
    /// # Errors
    /// Where it does not stop.
    pub(super) async fn leave(self) -> anyhow::Result<()> {
        if let Some(cluster) = self.cluster {
            tokio::task::spawn_blocking(move || cluster.stop()).await??;
        }
        Ok(())
    }
}
