//! Owns the choice of the operating-system account that the server runs under.
//! PostgreSQL refuses to run as root, so root hands it to an unprivileged one.

use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::ClusterError;

/// The account under which `initdb` and `postgres` run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Account {
    user_id: u32,
    group_id: u32,
    switch: bool,
}

impl Account {
    /// The caller's own account, or an unprivileged one where the caller is root.
    pub(crate) fn choose() -> Result<Self, ClusterError> {
        let user_id = rustix::process::geteuid().as_raw();
        if user_id != 0 {
            let group_id = rustix::process::getegid().as_raw();
            return Ok(Self { user_id, group_id, switch: false });
        }
        ["postgres", "nobody"]
            .into_iter()
            .find_map(|name| {
                let (user_id, group_id) = (lookup("-u", name)?, lookup("-g", name)?);
                (user_id != 0).then_some(Self { user_id, group_id, switch: true })
            })
            .ok_or(ClusterError::NoAccount)
    }

    pub(crate) fn user_id(&self) -> u32 {
        self.user_id
    }

    /// A command that will run as this account, away from the caller's folder
    /// and terminal, with nothing of the caller's environment but the locale's.
    pub(crate) fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command
            .env_clear()
            .env("PATH", "/usr/local/bin:/usr/bin:/bin")
            .env("LC_ALL", "C.UTF-8")
            .env("TZ", "UTC")
            .current_dir("/")
            .stdin(Stdio::null())
            // A Ctrl-C at the terminal is for the parent, which then stops us in order.
            .process_group(0);
        if self.switch {
            // With a uid set by root, std also drops the supplementary groups.
            command.uid(self.user_id).gid(self.group_id);
        }
        command
    }

    /// Gives `path` to this account.
    pub(crate) fn own(&self, path: &Path) -> Result<(), ClusterError> {
        if !self.switch {
            return Ok(());
        }
        std::os::unix::fs::lchown(path, Some(self.user_id), Some(self.group_id))
            .map_err(ClusterError::file("change the owner of", path))
    }

    /// Whether this account can enter `folder` and write there.
    pub(crate) fn can_use(&self, folder: &Path) -> bool {
        self.command(Path::new("/bin/sh"))
            .args(["-c", "cd -- \"$1\" && test -w .", "sh"])
            .arg(folder)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .is_ok_and(|status| status.success())
    }
}

/// Asks `id`, which also knows accounts that are not in `/etc/passwd`.
fn lookup(what: &str, name: &str) -> Option<u32> {
    let output = Command::new("id").args([what, name]).stderr(Stdio::null()).output().ok()?;
    output.status.success().then_some(())?;
    String::from_utf8(output.stdout).ok()?.trim().parse().ok()
}
