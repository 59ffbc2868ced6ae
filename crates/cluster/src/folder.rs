//! Owns a cluster's folder on disk: where it is, who may enter it, the lock
//! that keeps a second process out, and its removal.
//!
//! Layout: `data/` (PostgreSQL's), `socket/`, `superuser.password` (0600),
//! `postgres.log`, `lock`. The whole is 0700 and belongs to the server's account.

use std::fmt::Write as _;
use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io::{Read, Write as _};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use crate::ClusterError;
use crate::account::Account;

/// A Unix socket's path has at most 107 bytes, of which PostgreSQL's file name
/// takes up to 16; some room is left for other systems' lower limits.
const SOCKET_FOLDER_MAX_BYTES: usize = 84;
const FALLBACK_PARENTS: [&str; 2] = ["/var/tmp", "/tmp"];

/// A cluster's folder.
#[derive(Debug, Clone)]
pub(crate) struct Folder {
    root: PathBuf,
    sockets: PathBuf,
    ephemeral: bool,
}

impl Folder {
    /// A new folder below the system's temporary folder.
    pub(crate) fn temporary(account: &Account) -> Result<Self, ClusterError> {
        let name = format!("strongroom-{}", random_hex(8)?.as_str());
        let parents =
            std::iter::once(std::env::temp_dir()).chain(FALLBACK_PARENTS.map(PathBuf::from));
        let mut refusal = None;
        for parent in parents {
            let root = parent.join(&name);
            match create_private(&root, account) {
                Ok(()) if account.can_use(&root) => return Self::open(root, true, account),
                Ok(()) => _ = std::fs::remove_dir(&root),
                Err(error) => refusal = Some(error),
            }
        }
        Err(refusal.unwrap_or(ClusterError::Unsafe {
            folder: std::env::temp_dir(),
            reason: "the database's account cannot enter it",
        }))
    }

    /// The preferred folder, or one below `/var/tmp` where the server's account
    /// cannot enter the preferred one.
    pub(crate) fn persistent(preferred: &Path, account: &Account) -> Result<Self, ClusterError> {
        let preferred =
            std::path::absolute(preferred).map_err(ClusterError::file("resolve", preferred))?;
        if let Some(parent) = preferred.parent() {
            std::fs::create_dir_all(parent).map_err(ClusterError::file("create", parent))?;
        }
        create_private(&preferred, account)?;
        if account.can_use(&preferred) {
            return Self::open(preferred, false, account);
        }
        // Empty, so that nobody takes it for the place where the data is.
        let _ = std::fs::remove_dir(&preferred);
        let name = format!("strongroom-{:016x}-{}", fingerprint(&preferred), account.user_id());
        let root = Path::new(FALLBACK_PARENTS[0]).join(name);
        create_private(&root, account)?;
        Self::open(root, false, account)
    }

    fn open(root: PathBuf, ephemeral: bool, account: &Account) -> Result<Self, ClusterError> {
        let own = root.join("socket");
        let sockets = if own.as_os_str().len() <= SOCKET_FOLDER_MAX_BYTES {
            own
        } else {
            let name =
                format!("strongroom-socket-{:016x}-{}", fingerprint(&root), account.user_id());
            Path::new("/tmp").join(name)
        };
        create_private(&sockets, account)?;
        Ok(Self { root, sockets, ephemeral })
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    pub(crate) fn sockets(&self) -> &Path {
        &self.sockets
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.root.join("data")
    }

    /// Where `initdb` works; renamed to `data` once it has succeeded.
    pub(crate) fn unfinished_data(&self) -> PathBuf {
        self.root.join("data.unfinished")
    }

    pub(crate) fn log(&self) -> PathBuf {
        self.root.join("postgres.log")
    }

    pub(crate) fn password_file(&self) -> PathBuf {
        self.root.join("superuser.password")
    }

    pub(crate) fn postmaster_file(&self) -> PathBuf {
        self.data().join("postmaster.pid")
    }

    pub(crate) fn is_ephemeral(&self) -> bool {
        self.ephemeral
    }

    /// The major version that initialised `data`, or `None` where it is new.
    pub(crate) fn data_major_version(&self) -> Option<u32> {
        std::fs::read_to_string(self.data().join("PG_VERSION")).ok()?.trim().parse().ok()
    }

    /// Takes the folder for this process, or says that another one has it.
    pub(crate) fn lock(&self) -> Result<File, ClusterError> {
        let path = self.root.join("lock");
        let file = open_private(&path, false)?;
        match file.try_lock() {
            Ok(()) => Ok(file),
            Err(TryLockError::WouldBlock) => Err(ClusterError::InUse { folder: self.root.clone() }),
            Err(TryLockError::Error(source)) => Err(ClusterError::file("lock", path)(source)),
        }
    }

    /// The server's log, emptied.
    pub(crate) fn open_log(&self) -> Result<File, ClusterError> {
        open_private(&self.log(), true)
    }

    /// Writes a fresh password and gives the file to `account`.
    pub(crate) fn new_password(
        &self,
        account: &Account,
    ) -> Result<Zeroizing<String>, ClusterError> {
        let password = random_hex(24)?;
        let path = self.password_file();
        let mut file = open_private(&path, true)?;
        file.write_all(password.as_bytes()).map_err(ClusterError::file("write", &path))?;
        account.own(&path)?;
        Ok(password)
    }

    /// The password written when the cluster was made.
    pub(crate) fn stored_password(&self) -> Result<Zeroizing<String>, ClusterError> {
        let path = self.password_file();
        if !path.is_file() {
            return Err(ClusterError::PasswordMissing { file: path });
        }
        let mut password = Zeroizing::new(String::new());
        let mut file = open_private(&path, false)?;
        file.read_to_string(&mut password).map_err(ClusterError::file("read", &path))?;
        Ok(password)
    }

    pub(crate) fn remove_if_ephemeral(&self) {
        if self.ephemeral {
            // Best effort: a left-over in the temporary folder harms nobody.
            let _ = std::fs::remove_dir_all(&self.root);
            let _ = std::fs::remove_dir_all(&self.sockets);
        }
    }
}

/// Makes `path` a 0700 folder of `account`, or checks that it already is one:
/// below a shared folder such as `/var/tmp` anybody may have planted it.
fn create_private(path: &Path, account: &Account) -> Result<(), ClusterError> {
    match DirBuilder::new().mode(0o700).create(path) {
        Ok(()) => return account.own(path),
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
        Err(error) => return Err(ClusterError::file("create", path)(error)),
    }
    let refuse = |reason| Err(ClusterError::Unsafe { folder: path.to_path_buf(), reason });
    let metadata = std::fs::symlink_metadata(path).map_err(ClusterError::file("inspect", path))?;
    if !metadata.is_dir() {
        return refuse("it is not a folder");
    }
    if metadata.uid() != account.user_id() {
        return refuse("it belongs to another account");
    }
    if metadata.mode() & 0o077 != 0 {
        return refuse("other accounts may enter it");
    }
    Ok(())
}

/// Opens or creates a 0600 file, never through a symbolic link: the folder
/// belongs to the server's account while we may be root.
fn open_private(path: &Path, truncate: bool) -> Result<File, ClusterError> {
    let no_follow = i32::try_from(rustix::fs::OFlags::NOFOLLOW.bits()).unwrap_or_default();
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(truncate)
        .mode(0o600)
        .custom_flags(no_follow)
        .open(path)
        .map_err(ClusterError::file("open", path))
}

/// `bytes` random bytes in hexadecimal.
fn random_hex(bytes: usize) -> Result<Zeroizing<String>, ClusterError> {
    let mut random = Zeroizing::new(vec![0_u8; bytes]);
    getrandom::fill(&mut random).map_err(|_| ClusterError::Random)?;
    // Sized at once: growing would leave copies behind that nobody wipes.
    let mut text = Zeroizing::new(String::with_capacity(bytes * 2));
    for byte in random.iter() {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    Ok(text)
}

/// FNV-1a, 64 bits: only tells checkouts apart, the owner check is what protects.
fn fingerprint(path: &Path) -> u64 {
    path.as_os_str().as_encoded_bytes().iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}
