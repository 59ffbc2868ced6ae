//! Owns the place outside the database where the newest checkpoint of the super-log is kept,
//! and what that says of a database: that it is the one which was signed last, or an older
//! copy, or another log.
//!
//! Refuses to know: what a log holds, and when it is signed.
//!
//! An anchor lags behind the database by the time between a COMMIT and the file's rename,
//! and never leads it: what is anchored was committed. So a database that is smaller than
//! its anchor has lost something that was signed.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use outward::Client;
use serde::Serialize;
use tenancy::DbError;
use tokio_postgres::Client as DatabaseClient;

use crate::note::{Checkpoint, Note};
use crate::rows::{signed, unsigned};
use crate::witness::Witness;

const NEWEST: &str = tenancy::sql!("audit/super_log.sql", "newest");
const ROOT_AT: &str = tenancy::sql!("audit/super_log.sql", "root_at");

/// Where the newest checkpoint is kept: a file that several nodes may share.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Anchor {
    file: Arc<Path>,
}

/// What the sealer goes by, outside the database.
#[derive(Clone, Debug)]
pub enum Anchoring {
    /// A file.
    File(Anchor),
    /// A witness, and what it is asked through.
    Witness(Witness, Client),
}

impl From<Anchor> for Anchoring {
    fn from(file: Anchor) -> Self {
        Self::File(file)
    }
}

/// Why an anchor could not be read or moved.
#[derive(Debug, thiserror::Error)]
pub enum AnchorError {
    /// The file system said no.
    #[error("the anchor {}: {cause}", .file.display())]
    File {
        /// The file.
        file: PathBuf,
        /// What it said.
        cause: io::Error,
    },
    /// What is kept there is no checkpoint.
    #[error("the anchor {} holds no checkpoint: {cause}", .file.display())]
    Malformed {
        /// The file.
        file: PathBuf,
        /// Why not.
        cause: String,
    },
}

/// What an anchor says against a database. Nothing is sealed then, for anybody.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AnchorFault {
    /// The database is older than what was signed.
    #[error(
        "the database holds {found} checkpoints and {anchored} were anchored: an older copy was \
         restored; `strongroom audit anchor accept-rollback` goes on from it"
    )]
    RolledBack {
        /// Leaves of the super-log once signed.
        anchored: u64,
        /// Leaves that are there.
        found: u64,
    },
    /// The database went another way from some size on.
    #[error(
        "the database holds other checkpoints than the {anchored} that were anchored; \
         `strongroom audit anchor accept-rollback` goes on from it"
    )]
    Forked {
        /// Leaves of the super-log once signed.
        anchored: u64,
    },
    /// The witness that is the anchor has not said that this is its log.
    #[error("the witness that is the anchor has not confirmed the log: {0}")]
    Unasked(String),
    /// The anchor is another log's, or nobody signed it.
    #[error("the anchor is not of this installation: {0}")]
    Foreign(String),
    /// The database was sealed, and its anchor is not there.
    #[error(
        "the database holds {found} checkpoints and the anchor is empty; where it is a new one, \
         `strongroom audit anchor init` begins it"
    )]
    Missing {
        /// Leaves that are there.
        found: u64,
    },
}

impl Anchor {
    /// From a setting: `file:/` and the rest of an absolute path.
    pub fn parse(setting: &str) -> Option<Self> {
        let path = Path::new(setting.strip_prefix("file:")?);
        (path.is_absolute() && path.file_name().is_some()).then(|| Self { file: path.into() })
    }

    /// What is kept, whoever wrote it; none where nothing is.
    pub fn read(&self) -> Result<Option<String>, AnchorError> {
        match fs::read_to_string(&self.file) {
            Ok(note) => Ok(Some(note)),
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(cause) => Err(self.trouble(cause)),
        }
    }

    /// How large the log was whose checkpoint is kept.
    pub fn size(&self) -> Result<Option<u64>, AnchorError> {
        let Some(note) = self.read()? else { return Ok(None) };
        self.size_of(&note).map(Some)
    }

    /// Keeps a checkpoint, unless a larger one is kept already: a node may come late.
    pub fn advance(&self, note: &str) -> Result<(), AnchorError> {
        let _lock = self.lock()?;
        let new = self.size_of(note)?;
        match self.size()? {
            Some(kept) if kept >= new => Ok(()),
            _ => self.replace(note),
        }
    }

    /// Keeps a checkpoint in the place of any: for an operator who knows what was lost.
    pub fn force(&self, note: &str) -> Result<(), AnchorError> {
        let _lock = self.lock()?;
        self.replace(note)
    }

    /// Keeps nothing any more: the log begins anew.
    pub fn clear(&self) -> Result<(), AnchorError> {
        let _lock = self.lock()?;
        match fs::remove_file(&self.file) {
            Err(cause) if cause.kind() != io::ErrorKind::NotFound => Err(self.trouble(cause)),
            _ => Ok(()),
        }
    }

    fn size_of(&self, note: &str) -> Result<u64, AnchorError> {
        self.parsed(note).map(|point| point.size)
    }

    fn parsed(&self, note: &str) -> Result<Checkpoint, AnchorError> {
        let point = Note::parse(note).and_then(|note| Checkpoint::parse(&note.text));
        point.map_err(|cause| AnchorError::Malformed {
            file: self.file.to_path_buf(),
            cause: cause.to_string(),
        })
    }

    /// Held until it is dropped, also against other processes.
    fn lock(&self) -> Result<File, AnchorError> {
        let open = || {
            let file = File::create(self.beside("lock"))?;
            file.lock()?;
            Ok(file)
        };
        open().map_err(|cause| self.trouble(cause))
    }

    /// The old one or the new one is there after a crash, and never half of either.
    fn replace(&self, note: &str) -> Result<(), AnchorError> {
        let write = || {
            let new = self.beside("new");
            let mut file = File::create(&new)?;
            file.write_all(note.as_bytes())?;
            file.sync_all()?;
            fs::rename(&new, &self.file)?;
            File::open(self.file.parent().unwrap_or_else(|| Path::new("/")))?.sync_all()
        };
        write().map_err(|cause| self.trouble(cause))
    }

    fn beside(&self, ending: &str) -> PathBuf {
        let mut name = self.file.file_name().unwrap_or_default().to_owned();
        name.push(".");
        name.push(ending);
        self.file.with_file_name(name)
    }

    fn trouble(&self, cause: io::Error) -> AnchorError {
        AnchorError::File { file: self.file.to_path_buf(), cause }
    }
}

/// How an anchor and a database stand to each other.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Standing {
    /// Leaves of the super-log whose checkpoint is anchored.
    pub anchored: Option<u64>,
    /// Leaves whose checkpoint the database holds.
    pub signed: u64,
    /// Why nothing is sealed, in words.
    pub fault: Option<String>,
    /// The database's newest checkpoint.
    #[serde(skip)]
    pub newest: Option<String>,
}

/// Why the two could not be compared.
#[derive(Debug, thiserror::Error)]
pub enum StandingError {
    /// The database failed.
    #[error(transparent)]
    Database(#[from] DbError),
    /// The anchor could not be read.
    #[error(transparent)]
    Anchor(#[from] AnchorError),
}

/// Compares the two for people, by what was signed: the sealer goes by the tree and the keys
/// as well. The role has to read the super-log (owner or auditor).
pub async fn standing(client: &DatabaseClient, anchor: &Anchor) -> Result<Standing, StandingError> {
    let newest = client.query_opt(NEWEST, &[]).await.map_err(DbError::from)?;
    let newest: Option<(i64, String)> = newest.map(|row| (row.get("tree_size"), row.get("note")));
    let found = newest.as_ref().map_or(Ok(0), |(size, _)| unsigned(*size))?;
    let anchored = anchor.read()?.map(|note| anchor.parsed(&note)).transpose()?;
    let fault = match &anchored {
        None if found == 0 => None,
        None => Some(AnchorFault::Missing { found }),
        Some(point) if point.size > found => {
            Some(AnchorFault::RolledBack { anchored: point.size, found })
        }
        Some(point) => {
            let row = client.query_opt(ROOT_AT, &[&signed(point.size)?]).await;
            let row = row.map_err(DbError::from)?;
            let is_held = row.is_some_and(|row| row.get::<_, &[u8]>(0) == point.root.as_slice());
            (!is_held).then_some(AnchorFault::Forked { anchored: point.size })
        }
    };
    Ok(Standing {
        anchored: anchored.map(|point| point.size),
        signed: found,
        fault: fault.map(|fault| fault.to_string()),
        newest: newest.map(|(_, note)| note),
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::thread;

    use super::{Anchor, AnchorError};
    use crate::note::{Checkpoint, LogSigner};

    fn note(size: u64) -> String {
        let signer = LogSigner::new("super", vault::NoteSigner::generate()).unwrap();
        let origin = "super".to_owned();
        Checkpoint { origin, size, root: [7; 32], extensions: Vec::new() }.sign(&signer).unwrap()
    }

    fn anchor(folder: &tempfile::TempDir) -> Anchor {
        Anchor::parse(&format!("file:{}", folder.path().join("anchor").display())).unwrap()
    }

    #[test]
    fn it_is_named_by_an_absolute_path() {
        assert!(Anchor::parse("file:/var/lib/strongroom/anchor").is_some());
        for setting in ["", "/var/lib/anchor", "file:anchor", "file:", "file:/", "s3://bucket/a"] {
            assert_eq!(Anchor::parse(setting), None, "{setting}");
        }
    }

    #[test]
    fn it_only_grows_unless_it_is_forced() {
        let folder = tempfile::tempdir().unwrap();
        let anchor = anchor(&folder);
        assert_eq!(anchor.size().unwrap(), None);
        for (size, kept) in [(3, 3), (5, 5), (4, 5), (5, 5)] {
            anchor.advance(&note(size)).unwrap();
            assert_eq!(anchor.size().unwrap(), Some(kept));
        }
        anchor.force(&note(2)).unwrap();
        assert_eq!(anchor.size().unwrap(), Some(2));
    }

    #[test]
    fn nodes_that_share_it_leave_the_largest() {
        let folder = tempfile::tempdir().unwrap();
        let anchor = anchor(&folder);
        thread::scope(|scope| {
            for node in 0..8_u64 {
                let anchor = anchor.clone();
                scope.spawn(move || {
                    (0..20).for_each(|step| anchor.advance(&note(step * 8 + node)).unwrap());
                });
            }
        });
        assert_eq!(anchor.size().unwrap(), Some(159));
    }

    #[test]
    fn what_is_no_checkpoint_and_a_folder_that_is_gone_are_told() {
        let folder = tempfile::tempdir().unwrap();
        let anchor = anchor(&folder);
        for text in ["", "strongroom\n3\n", "a\n\nb"] {
            std::fs::write(folder.path().join("anchor"), text).unwrap();
            assert!(matches!(anchor.size(), Err(AnchorError::Malformed { .. })), "{text}");
            assert!(anchor.advance(&note(9)).is_err(), "nothing is written over it: {text}");
        }
        drop(folder);
        assert!(matches!(anchor.advance(&note(9)), Err(AnchorError::File { .. })));
    }
}
