//! The halves of keys that stand outside the database: whoever has a copy of it and the root
//! opens nothing that was wrapped with a share which is gone.
//!
//! Owns the file of shares, a line a key, which all nodes of an installation have in common.
//! Refuses to know what a key is for and when it ends.

use std::collections::{HashMap, HashSet};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, RwLock};

use uuid::Uuid;
use vault::{KeyId, SecretBytes, primitives::random_secret};

/// Length of a share in bytes.
const SHARE_BYTES: usize = 32;

/// Why the file of shares could not be used.
#[derive(Debug, thiserror::Error)]
pub enum SharesError {
    /// The file system said no.
    #[error("the key shares {}: {cause}", .file.display())]
    File {
        /// The file.
        file: PathBuf,
        /// What it said.
        cause: io::Error,
    },
    /// A line of it is no share.
    #[error("the key shares {}: line {line} is not an id and 64 hexadecimal digits", .file.display())]
    Malformed {
        /// The file.
        file: PathBuf,
        /// The line, from 1.
        line: usize,
    },
    /// Others on the machine could read it.
    #[error("the key shares {}: readable by others than its owner (mode {mode:o}); chmod 600", .file.display())]
    Open {
        /// The file.
        file: PathBuf,
        /// Its mode.
        mode: u32,
    },
}

type Shares = HashMap<Uuid, Arc<SecretBytes>>;

/// What was read of the file.
#[derive(Debug, Default)]
struct Known {
    shares: Shares,
    /// Destroyed keys whose share is not in the file. Ids are never given twice.
    gone: HashSet<Uuid>,
}

/// The file of shares and what was read of it.
#[derive(Debug)]
pub struct KeyShares {
    file: PathBuf,
    known: RwLock<Known>,
}

impl KeyShares {
    /// From a setting: `file:/` and the rest of an absolute path.
    pub fn parse(setting: &str) -> Option<Self> {
        let file = Path::new(setting.strip_prefix("file:")?);
        let is_one = file.is_absolute() && file.file_name().is_some();
        is_one.then(|| Self { file: file.to_owned(), known: RwLock::default() })
    }

    /// The share of a key; looks into the file where it is not known.
    pub(super) fn of(&self, key: KeyId) -> Result<Option<Arc<SecretBytes>>, SharesError> {
        if let Some(share) = self.known(key) {
            return Ok(Some(share));
        }
        let found = self.read()?;
        let share = found.get(&key.0).cloned();
        self.remember(found);
        Ok(share)
    }

    /// Makes the share of a new key. It is on the disk when this returns: a key that the
    /// database then does not come to hold leaves a line behind that opens nothing.
    pub(super) fn make(&self, key: KeyId) -> Result<Arc<SecretBytes>, SharesError> {
        let _lock = self.lock()?;
        let mut shares = self.read()?;
        let share = Arc::new(random_secret(SHARE_BYTES));
        shares.insert(key.0, Arc::clone(&share));
        self.replace(&shares)?;
        self.remember(shares);
        Ok(share)
    }

    /// Has the shares of destroyed keys be gone. Of keys that the database says are destroyed,
    /// and never of those that it does not know: an older copy of it does not know the newest.
    pub(super) fn forget(&self, destroyed: &[KeyId]) -> Result<(), SharesError> {
        if self.are_gone(destroyed) {
            return Ok(());
        }
        let _lock = self.lock()?;
        let mut shares = self.read()?;
        let before = shares.len();
        shares.retain(|key, _| !destroyed.contains(&KeyId(*key)));
        if shares.len() < before {
            self.replace(&shares)?;
        }
        self.remember(shares);
        if let Ok(mut known) = self.known.write() {
            known.gone.extend(destroyed.iter().map(|key| key.0));
        }
        Ok(())
    }

    fn are_gone(&self, keys: &[KeyId]) -> bool {
        let known = self.known.read();
        known.is_ok_and(|known| keys.iter().all(|key| known.gone.contains(&key.0)))
    }

    fn known(&self, key: KeyId) -> Option<Arc<SecretBytes>> {
        self.known.read().ok()?.shares.get(&key.0).cloned()
    }

    fn remember(&self, shares: Shares) {
        if let Ok(mut known) = self.known.write() {
            known.shares = shares;
        }
    }

    fn read(&self) -> Result<Shares, SharesError> {
        let text = match fs::read_to_string(&self.file) {
            Ok(text) => text,
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => return Ok(Shares::new()),
            Err(cause) => return Err(self.trouble(cause)),
        };
        let mode = fs::metadata(&self.file).map_err(|cause| self.trouble(cause))?.permissions();
        if mode.mode() & 0o077 != 0 {
            let mode = mode.mode() & 0o777;
            return Err(SharesError::Open { file: self.file.clone(), mode });
        }
        let lines = (1..).zip(text.lines());
        let share = |(line, text): (usize, &str)| {
            parsed(text).ok_or_else(|| SharesError::Malformed { file: self.file.clone(), line })
        };
        lines.map(share).collect()
    }

    /// Held until it is dropped, also against other processes.
    fn lock(&self) -> Result<File, SharesError> {
        let open = || {
            let file = self.beside("lock")?;
            file.lock()?;
            Ok(file)
        };
        open().map_err(|cause| self.trouble(cause))
    }

    /// The old ones or the new ones are there after a crash, and never half of either. What was
    /// on the disk before may be read from it until it is written over: the disk is to be an
    /// encrypted one.
    fn replace(&self, shares: &Shares) -> Result<(), SharesError> {
        let write = || {
            let mut file = self.beside("new")?;
            file.set_len(0)?;
            for (key, share) in shares {
                writeln!(file, "{key} {}", hexadecimal(share.expose()))?;
            }
            file.sync_all()?;
            fs::rename(self.path_beside("new"), &self.file)?;
            File::open(self.file.parent().unwrap_or_else(|| Path::new("/")))?.sync_all()
        };
        write().map_err(|cause| self.trouble(cause))
    }

    fn beside(&self, ending: &str) -> io::Result<File> {
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(false).mode(0o600);
        options.open(self.path_beside(ending))
    }

    fn path_beside(&self, ending: &str) -> PathBuf {
        let mut name = self.file.file_name().unwrap_or_default().to_owned();
        name.push(".");
        name.push(ending);
        self.file.with_file_name(name)
    }

    fn trouble(&self, cause: io::Error) -> SharesError {
        SharesError::File { file: self.file.clone(), cause }
    }
}

fn parsed(line: &str) -> Option<(Uuid, Arc<SecretBytes>)> {
    let (key, share) = line.split_once(' ')?;
    if share.len() != 2 * SHARE_BYTES || !share.is_ascii() {
        return None;
    }
    let bytes = (0..SHARE_BYTES).map(|at| u8::from_str_radix(&share[2 * at..2 * at + 2], 16).ok());
    let bytes = bytes.collect::<Option<Vec<u8>>>()?;
    Some((key.parse().ok()?, Arc::new(SecretBytes::new(bytes))))
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes
        .iter()
        .flat_map(|byte| [byte >> 4, byte & 15])
        .map(|digit| char::from_digit(digit.into(), 16).unwrap_or('0'))
        .collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn key(number: u128) -> KeyId {
        KeyId(Uuid::from_u128(number))
    }

    #[test]
    fn a_share_is_there_for_every_node_until_its_key_is_destroyed() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("shares");
        let setting = format!("file:{}", file.display());
        let [one, other] = [(); 2].map(|()| KeyShares::parse(&setting).unwrap());
        assert!(one.of(key(1)).unwrap().is_none());
        let made = one.make(key(1)).unwrap();
        let second = other.make(key(2)).unwrap();
        assert_eq!(other.of(key(1)).unwrap().unwrap().expose(), made.expose());
        assert_eq!(one.of(key(2)).unwrap().unwrap().expose(), second.expose());
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        // By a node that has read nothing yet; the others find out as they are told.
        KeyShares::parse(&setting).unwrap().forget(&[key(1), key(3)]).unwrap();
        one.forget(&[key(1), key(3)]).unwrap();
        assert!(one.of(key(1)).unwrap().is_none());
        assert!(one.are_gone(&[key(1), key(3)]) && !other.are_gone(&[key(1)]));
        let left = fs::read_to_string(&file).unwrap();
        assert!(!left.contains(&hexadecimal(made.expose())), "{left}");
        assert_eq!(left.lines().count(), 1);
        assert_eq!(KeyShares::parse(&setting).unwrap().read().unwrap().len(), 1);
    }

    #[test]
    fn a_file_that_is_damaged_or_open_to_others_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("shares");
        let shares = KeyShares::parse(&format!("file:{}", file.display())).unwrap();
        shares.make(key(1)).unwrap();
        let good = fs::read_to_string(&file).unwrap();
        for bad in ["x", "00000000-0000-0000-0000-000000000001 zz", &good[..good.len() - 3]] {
            fs::write(&file, bad).unwrap();
            assert!(matches!(shares.read(), Err(SharesError::Malformed { line: 1, .. })), "{bad}");
        }
        fs::write(&file, &good).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).unwrap();
        assert!(matches!(shares.read(), Err(SharesError::Open { mode: 0o640, .. })));
        for setting in ["", "/etc/shares", "file:shares", "file:/"] {
            assert!(KeyShares::parse(setting).is_none(), "{setting}");
        }
    }
}
