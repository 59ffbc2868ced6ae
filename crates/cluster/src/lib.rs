//! Owns private PostgreSQL clusters: finding the installed binaries, choosing an
//! unprivileged account and a folder it can enter, `initdb`, start, stop, and
//! cleaning up after a parent that was killed.
//!
//! It refuses to know what is stored in a cluster: it speaks no SQL, knows no
//! roles but the superuser, and no migration. It blocks the calling thread;
//! asynchronous callers use a blocking task.

mod account;
mod binaries;
mod ending;
mod error;
mod folder;
mod postmaster;
mod watchdog;

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Child;

use zeroize::Zeroizing;

pub use binaries::Binaries;
pub use ending::Ending;
pub use error::ClusterError;

use account::Account;
use folder::Folder;
use postmaster::Postmaster;
use watchdog::Watchdog;

/// The only database account a new cluster has.
pub const SUPERUSER: &str = "postgres";

/// Where a cluster lives and how long.
#[derive(Debug, Clone)]
pub enum Placement {
    /// A fresh folder below the system's temporary folder, removed at the end.
    Ephemeral,
    /// A folder kept between runs.
    Persistent {
        /// The wanted folder, for example `var/postgres` of a checkout. Where
        /// the cluster's account cannot enter it, a folder of that account's
        /// own below `/var/tmp`, derived from this path, takes its place.
        preferred: PathBuf,
    },
}

/// What a caller decides about a cluster.
#[derive(Debug, Clone)]
pub struct ClusterOptions {
    /// Where it lives.
    pub placement: Placement,
    /// `true` keeps every commit through a power cut (`fsync` on); `false` is
    /// for tests, whose data nobody misses.
    pub durable: bool,
    /// Connections the server takes at once.
    pub max_connections: u16,
}

impl ClusterOptions {
    /// A throw-away cluster for tests: no `fsync`, 200 connections.
    pub fn for_tests() -> Self {
        Self { placement: Placement::Ephemeral, durable: false, max_connections: 200 }
    }

    /// A durable cluster kept in `preferred`, 200 connections.
    pub fn persistent(preferred: impl Into<PathBuf>) -> Self {
        let placement = Placement::Persistent { preferred: preferred.into() };
        Self { placement, durable: true, max_connections: 200 }
    }

    /// A durable cluster in a temporary folder, removed at the end.
    pub fn ephemeral() -> Self {
        Self { placement: Placement::Ephemeral, durable: true, max_connections: 200 }
    }
}

/// A running private cluster; dropping it stops the server, and removes the
/// folder of an ephemeral one.
///
/// A parent that dies without dropping it (`kill -9`) is covered by a small
/// watchdog process that does the same.
pub struct PrivateCluster {
    // Fields drop in this order: the server ends before the watchdog is let go,
    // and the lock is the last thing released.
    postmaster: Option<Postmaster>,
    watchdog: Option<Watchdog>,
    folder: Folder,
    binaries: Binaries,
    password: Zeroizing<String>,
    account: Account,
    options: ClusterOptions,
    /// Kept over [`Self::start_again`].
    port: u16,
    _lock: Option<File>,
}

impl std::fmt::Debug for PrivateCluster {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("PrivateCluster")
            .field("folder", &self.folder.root())
            .field("port", &self.port())
            .finish_non_exhaustive()
    }
}

impl PrivateCluster {
    /// Starts a cluster, initialising it first where its folder is new.
    ///
    /// A server left running in the folder by a killed parent is stopped first.
    ///
    /// # Errors
    /// [`ClusterError`]: no binaries, a folder that cannot be used or is in use
    /// by another process, or a server that does not come up.
    pub fn start(options: &ClusterOptions) -> Result<Self, ClusterError> {
        let account = Account::choose()?;
        let folder = match &options.placement {
            Placement::Ephemeral => Folder::temporary(&account)?,
            Placement::Persistent { preferred } => Folder::persistent(preferred, &account)?,
        };
        let lock = folder.lock()?;
        let binaries = Binaries::find(folder.data_major_version())?;
        let started = postmaster::stop_orphan(&folder)
            .and_then(|()| postmaster::initialise(&folder, &binaries, &account, options))
            .and_then(|password| {
                let postmaster = Postmaster::start(&folder, &binaries, &account, options, None)?;
                Ok((password, postmaster))
            });
        let (password, postmaster) = match started {
            Ok(parts) => parts,
            Err(error) => {
                folder.remove_if_ephemeral();
                return Err(error);
            }
        };
        // From here on dropping `cluster` cleans up, also where the watchdog fails.
        let mut cluster = Self {
            port: postmaster.port(),
            postmaster: Some(postmaster),
            watchdog: None,
            folder,
            binaries,
            password,
            account,
            options: options.clone(),
            _lock: Some(lock),
        };
        cluster.watchdog =
            Some(Watchdog::until_parent_ends(&cluster.folder, cluster.process_id())?);
        Ok(cluster)
    }

    /// Connection URL of the superuser, with its password, for the maintenance
    /// database `postgres`. A secret: never log it.
    pub fn superuser_url(&self) -> Zeroizing<String> {
        self.superuser_url_for("postgres")
    }

    /// As [`Self::superuser_url`], for the database `database` (a plain
    /// identifier: letters, digits, `_`).
    pub fn superuser_url_for(&self, database: &str) -> Zeroizing<String> {
        Zeroizing::new(format!(
            "postgres://{SUPERUSER}:{}@127.0.0.1:{}/{database}",
            self.password.as_str(),
            self.port()
        ))
    }

    /// TCP port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Folder of the Unix socket.
    pub fn socket_directory(&self) -> &Path {
        self.folder.sockets()
    }

    /// PostgreSQL's data directory.
    pub fn data_directory(&self) -> PathBuf {
        self.folder.data()
    }

    /// The server's log file.
    pub fn log_file(&self) -> PathBuf {
        self.folder.log()
    }

    /// The PostgreSQL binaries in use (`psql`, `pg_dump`, …).
    pub fn binaries(&self) -> &Binaries {
        &self.binaries
    }

    /// Process id of the server; 0 while it is down.
    pub fn process_id(&self) -> u32 {
        self.postmaster.as_ref().map_or(0, Postmaster::process_id)
    }

    /// Stops the server: fast (SIGINT), then by force.
    ///
    /// # Errors
    /// [`ClusterError::Stop`] where it is still there after that.
    pub fn stop(mut self) -> Result<(), ClusterError> {
        self.shut_down()
    }

    /// Ends the server the way an outage does, and leaves its data for
    /// [`Self::start_again`]. Nothing to do where it is down already.
    ///
    /// # Errors
    /// [`ClusterError::Stop`] where it is still there after half a minute.
    pub fn end(&mut self, ending: Ending) -> Result<(), ClusterError> {
        match self.postmaster.take() {
            Some(postmaster) => postmaster.end(ending),
            None => Ok(()),
        }
    }

    /// Starts the server again after [`Self::end`], on the same port and data; where
    /// it was killed, PostgreSQL recovers. Nothing to do where it is running.
    ///
    /// # Errors
    /// [`ClusterError`]: a server that does not come up within a minute, as where
    /// somebody else has taken the port.
    pub fn start_again(&mut self) -> Result<(), ClusterError> {
        if self.postmaster.is_some() {
            return Ok(());
        }
        let (account, options) = (&self.account, &self.options);
        let postmaster =
            Postmaster::start(&self.folder, &self.binaries, account, options, Some(self.port))?;
        self.postmaster = Some(postmaster);
        // The old one watches a process that is no more.
        if let Some(watchdog) = self.watchdog.take() {
            watchdog.dismiss();
        }
        self.watchdog = Some(Watchdog::until_parent_ends(&self.folder, self.process_id())?);
        Ok(())
    }

    /// Leaves the server running beyond this process, until nobody has held a
    /// lock on `users_lock` for `idle_seconds`; then its watchdog stops it and
    /// removes its folder and `url_file`.
    ///
    /// # Errors
    /// [`ClusterError::Watchdog`] where the watchdog cannot be started; the
    /// cluster is stopped then.
    pub fn leave_while_locked(
        mut self,
        users_lock: &Path,
        url_file: &Path,
        idle_seconds: u32,
    ) -> Result<(), ClusterError> {
        let pid = self.process_id();
        Watchdog::while_locked(&self.folder, pid, users_lock, url_file, idle_seconds)?.detach();
        if let Some(watchdog) = self.watchdog.take() {
            watchdog.dismiss();
        }
        if let Some(postmaster) = self.postmaster.take() {
            postmaster.detach();
        }
        Ok(())
    }

    fn shut_down(&mut self) -> Result<(), ClusterError> {
        let stopped = self.postmaster.take().map(Postmaster::stop);
        // Without a server: it was left running, or ended and not started again.
        let over = stopped.as_ref().map_or(self.watchdog.is_some(), Result::is_ok);
        if over {
            self.folder.remove_if_ephemeral();
        }
        if let Some(watchdog) = self.watchdog.take() {
            watchdog.finish();
        }
        stopped.unwrap_or(Ok(()))
    }
}

impl Drop for PrivateCluster {
    fn drop(&mut self) {
        // Nobody is left to tell; the watchdog tries again once we are gone.
        let _ = self.shut_down();
    }
}

/// Waits for a child whose end is certain, so that no zombie stays.
fn reap(mut child: Child) {
    let _ = child.wait();
}

#[cfg(test)]
mod tests;
