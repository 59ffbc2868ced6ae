//! Owns the note that a running development installation leaves in its folder:
//! how to attach to it. With it every command finds the installation of the
//! checkout it is called in, and nobody exports URLs by hand.
//!
//! It refuses to know who writes it (`dev`) and what is asked over it.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Deserializer};
use zeroize::Zeroizing;

/// The note's name inside the installation's folder.
pub const FILE: &str = "ready.json";

/// How to attach to a development installation. Secrets: never log it.
#[derive(Clone, Deserialize)]
pub struct Running {
    /// Where the API answers.
    pub base_url: String,
    /// Where metrics and health answer.
    pub metrics_url: String,
    /// The process that serves.
    pub pid: u32,
    /// The database, as its superuser.
    #[serde(deserialize_with = "wiped")]
    pub database_url: Zeroizing<String>,
    /// `ENCRYPTION_KEY`.
    #[serde(deserialize_with = "wiped")]
    pub encryption_key: Zeroizing<String>,
    /// Where the note lies.
    #[serde(skip)]
    pub path: PathBuf,
}

/// Text that is wiped from memory when it is dropped.
fn wiped<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Zeroizing<String>, D::Error> {
    String::deserialize(deserializer).map(Zeroizing::new)
}

impl std::fmt::Debug for Running {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Running")
            .field("base_url", &self.base_url)
            .field("pid", &self.pid)
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

impl Running {
    /// The note in an installation's folder; none where there is none that can be read.
    pub fn in_folder(folder: &Path) -> Option<Self> {
        let path = folder.join(FILE);
        let text = Zeroizing::new(std::fs::read(&path).ok()?);
        let note: Self = serde_json::from_slice(&text).ok()?;
        Some(Self { path, ..note })
    }

    /// Whether its process is there still. After `kill -9` the note stays behind.
    pub fn is_alive(&self) -> bool {
        let pid = i32::try_from(self.pid).ok().and_then(rustix::process::Pid::from_raw);
        let Some(pid) = pid else { return false };
        // Refused is alive as well: it belongs to somebody else.
        !matches!(rustix::process::test_kill_process(pid), Err(rustix::io::Errno::SRCH))
            && self.listens()
    }

    /// After a restart of the machine the number may be another program's.
    fn listens(&self) -> bool {
        let port = self.base_url.rsplit(':').next().and_then(|port| port.parse::<u16>().ok());
        port.is_some_and(|port| std::net::TcpStream::connect(("127.0.0.1", port)).is_ok())
    }

    /// The settings that it stands for.
    pub(super) fn values(&self) -> [(&'static str, &str); 3] {
        [
            ("DATABASE_URL", &self.database_url),
            ("ENCRYPTION_KEY", &self.encryption_key),
            ("PUBLIC_URL", &self.base_url),
        ]
    }
}
