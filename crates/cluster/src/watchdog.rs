//! Owns the small shell process that outlives a killed parent and stops the
//! server then. It learns of the parent's end from its standard input: the
//! parent alone holds the other end of that pipe, so its death is an EOF.

use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};

use crate::folder::Folder;
use crate::{ClusterError, reap};

/// Arguments: process id, `postmaster.pid`, folders to remove. The recorded
/// process id must still be the one we started: a new server in the same
/// folder has its own watchdog.
const END: &str = r#"
end_server() {
    pid=$1; file=$2; shift 2
    recorded() { head -n 1 "$file" 2>/dev/null; }
    for signal in INT QUIT KILL; do
        [ "$(recorded)" = "$pid" ] || break
        kill -s "$signal" "$pid" 2>/dev/null || break
        tries=0
        while [ "$tries" -lt 100 ] && [ "$(recorded)" = "$pid" ] && kill -0 "$pid" 2>/dev/null; do
            sleep 0.1
            tries=$((tries + 1))
        done
    done
    [ "$#" -eq 0 ] || rm -rf -- "$@"
}
"#;

const UNTIL_PARENT_ENDS: &str = r#"
while read -r _; do :; done
end_server "$@"
"#;

/// Arguments: lock file, idle seconds, URL file, then those of `end_server`.
/// While the server is being ended the lock is held exclusively, so that a new
/// user waits and then finds no URL.
const WHILE_LOCKED: &str = r#"
lock=$1; limit=$2; url=$3; shift 3
idle=0
while :; do
    sleep 1
    exec 9>>"$lock"
    if flock -n -x 9; then
        idle=$((idle + 1))
        if [ "$idle" -ge "$limit" ]; then break; fi
    else
        idle=0
    fi
    exec 9>&-
done
rm -f -- "$url"
end_server "$@"
"#;

/// A running watchdog.
#[derive(Debug)]
pub(crate) struct Watchdog {
    child: Child,
    _alive: Option<ChildStdin>,
}

impl Watchdog {
    /// Ends the server when this process ends, whatever ends it.
    pub(crate) fn until_parent_ends(
        folder: &Folder,
        process_id: u32,
    ) -> Result<Self, ClusterError> {
        let mut command = shell(UNTIL_PARENT_ENDS);
        end_arguments(&mut command, folder, process_id);
        let mut child = command.stdin(Stdio::piped()).spawn().map_err(ClusterError::Watchdog)?;
        let alive = child.stdin.take();
        Ok(Self { child, _alive: alive })
    }

    /// Ends the server once nobody has held `lock` for `idle_seconds`.
    pub(crate) fn while_locked(
        folder: &Folder,
        process_id: u32,
        lock: &Path,
        url_file: &Path,
        idle_seconds: u32,
    ) -> Result<Self, ClusterError> {
        let mut command = shell(WHILE_LOCKED);
        command.arg(lock).arg(idle_seconds.to_string()).arg(url_file);
        end_arguments(&mut command, folder, process_id);
        let child = command.stdin(Stdio::null()).spawn().map_err(ClusterError::Watchdog)?;
        Ok(Self { child, _alive: None })
    }

    /// Lets it go on without us.
    pub(crate) fn detach(self) {
        drop(self.child);
    }

    /// Ends it without letting it end the server.
    pub(crate) fn dismiss(mut self) {
        let _ = self.child.kill();
        reap(self.child);
    }

    /// The server is down: closes the pipe, upon which it finds nothing to do.
    pub(crate) fn finish(self) {
        let Self { child, _alive: alive } = self;
        drop(alive);
        reap(child);
    }
}

fn shell(script: &str) -> Command {
    let mut command = Command::new("/bin/sh");
    command
        .arg("-c")
        .arg(format!("{END}{script}"))
        .arg("strongroom-watchdog")
        .current_dir("/")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        // Out of reach of a Ctrl-C that ends the parent.
        .process_group(0);
    command
}

fn end_arguments(command: &mut Command, folder: &Folder, process_id: u32) {
    command.arg(process_id.to_string()).arg(folder.postmaster_file());
    if folder.is_ephemeral() {
        command.arg(folder.root()).arg(folder.sockets());
    }
}
