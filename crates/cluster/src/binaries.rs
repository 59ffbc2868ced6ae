//! Owns finding the installed PostgreSQL server binaries.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::ClusterError;

const OLDEST_MAJOR: u32 = 15;
const PACKAGED: &str = "/usr/lib/postgresql";

/// A folder with `postgres`, `initdb` and the client programs of one version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Binaries {
    folder: PathBuf,
    major: u32,
}

impl Binaries {
    /// The newest installed version that is at least 15, or exactly
    /// `major` where a data folder demands it.
    ///
    /// # Errors
    /// [`ClusterError::NoBinaries`], or [`ClusterError::WrongMajor`] where only
    /// other versions are installed.
    pub fn find(major: Option<u32>) -> Result<Self, ClusterError> {
        let installed = installed();
        // Reversed, so that of equals the packaged one, which is complete, wins.
        let newest = installed.iter().rev().max_by_key(|binaries| binaries.major);
        let Some(newest) = newest else {
            return Err(ClusterError::NoBinaries);
        };
        match major {
            None => Ok(newest.clone()),
            Some(major) => installed
                .iter()
                .find(|binaries| binaries.major == major)
                .cloned()
                .ok_or(ClusterError::WrongMajor { major }),
        }
    }

    /// Path of one program, for example `psql`.
    pub fn program(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Major version, for example 17.
    pub fn major(&self) -> u32 {
        self.major
    }
}

fn installed() -> Vec<Binaries> {
    let packaged = std::fs::read_dir(PACKAGED)
        .into_iter()
        .flatten()
        .filter_map(Result::ok)
        .map(|entry| entry.path().join("bin"));
    let searched: Vec<PathBuf> = std::env::split_paths(&search_path()).collect();
    packaged.chain(searched).filter_map(|folder| inspect(&folder)).collect()
}

#[allow(
    clippy::disallowed_methods,
    reason = "PATH is where an operator puts a server, not a setting of ours"
)]
fn search_path() -> String {
    std::env::var("PATH").unwrap_or_default()
}

fn inspect(folder: &Path) -> Option<Binaries> {
    let postgres = folder.join("postgres");
    if !postgres.is_file() || !folder.join("initdb").is_file() {
        return None;
    }
    let output = Command::new(&postgres).arg("--version").output().ok()?;
    let major = parse_major(&String::from_utf8(output.stdout).ok()?)?;
    (major >= OLDEST_MAJOR).then(|| Binaries { folder: folder.to_path_buf(), major })
}

/// `postgres (PostgreSQL) 17.6 (Debian 17.6-0+deb13u1)` → 17.
pub(crate) fn parse_major(version: &str) -> Option<u32> {
    let number = version.split(") ").nth(1)?;
    let digits: String = number.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().ok()
}
