//! Owns the server process: `initdb`, start, readiness, stop, and the server
//! that a killed parent left behind.

use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use zeroize::Zeroizing;

use crate::account::Account;
use crate::folder::Folder;
use crate::{Binaries, ClusterError, ClusterOptions, SUPERUSER};

const START_ATTEMPTS: u32 = 3;
const START_LIMIT: Duration = Duration::from_secs(60);
const FAST_STOP_LIMIT: Duration = Duration::from_secs(15);
const FORCED_STOP_LIMIT: Duration = Duration::from_secs(5);
const ORPHANS_LIMIT: Duration = Duration::from_secs(60);
pub(crate) const POLL: Duration = Duration::from_millis(20);

/// A running server.
#[derive(Debug)]
pub(crate) struct Postmaster {
    pub(crate) child: Child,
    port: u16,
}

impl Postmaster {
    /// Starts the server on `port`, or on a free one, and waits until it takes
    /// connections.
    pub(crate) fn start(
        folder: &Folder,
        binaries: &Binaries,
        account: &Account,
        options: &ClusterOptions,
        port: Option<u16>,
    ) -> Result<Self, ClusterError> {
        let deadline = Instant::now() + ORPHANS_LIMIT;
        let mut attempt = 1;
        loop {
            let chosen = port.map_or_else(free_port, Ok)?;
            match Self::start_once(folder, binaries, (account, options), chosen) {
                // Between choosing a free port and the server's bind, another
                // process may take it: choose again.
                Err(ClusterError::Start { tail, .. })
                    if port.is_none()
                        && attempt < START_ATTEMPTS
                        && tail.contains("Address already in use") => {}
                // After a killed postmaster its children still end.
                Err(ClusterError::Start { tail, .. })
                    if port.is_some()
                        && Instant::now() < deadline
                        && has_living_children(&tail) =>
                {
                    std::thread::sleep(POLL);
                }
                result => return result,
            }
            attempt += 1;
        }
    }

    fn start_once(
        folder: &Folder,
        binaries: &Binaries,
        (account, options): (&Account, &ClusterOptions),
        port: u16,
    ) -> Result<Self, ClusterError> {
        let program = binaries.program("postgres");
        let log = folder.open_log()?;
        let errors = log.try_clone().map_err(ClusterError::file("open", folder.log()))?;
        let mut command = account.command(&program);
        command.arg("-D").arg(folder.data()).stdout(Stdio::from(log)).stderr(Stdio::from(errors));
        for (name, value) in settings(folder, port, options) {
            command.arg("-c").arg(format!("{name}={value}"));
        }
        let child = command.spawn().map_err(|source| ClusterError::Run { program, source })?;
        Self { child, port }.wait_until_ready(folder)
    }

    fn wait_until_ready(mut self, folder: &Folder) -> Result<Self, ClusterError> {
        let deadline = Instant::now() + START_LIMIT;
        while Instant::now() < deadline {
            if self.child.try_wait().is_ok_and(|status| status.is_some()) {
                return Err(start_error(folder));
            }
            if is_ready(&folder.postmaster_file(), self.process_id()) {
                return Ok(self);
            }
            std::thread::sleep(POLL);
        }
        self.stop()?;
        Err(start_error(folder))
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    pub(crate) fn process_id(&self) -> u32 {
        self.child.id()
    }

    /// SIGINT ends sessions and shuts down in order; SIGQUIT and SIGKILL follow
    /// where that takes too long.
    pub(crate) fn stop(mut self) -> Result<(), ClusterError> {
        let process_id = self.process_id();
        let pid = Pid::from_child(&self.child);
        for (signal, limit) in [
            (Signal::INT, FAST_STOP_LIMIT),
            (Signal::QUIT, FORCED_STOP_LIMIT),
            (Signal::KILL, FORCED_STOP_LIMIT),
        ] {
            // It may already be gone, which the wait below finds.
            let _ = kill_process(pid, signal);
            if wait(limit, || self.child.try_wait().is_ok_and(|status| status.is_some())) {
                return Ok(());
            }
        }
        Err(ClusterError::Stop { process_id })
    }

    /// Leaves the server running; from now on only a watchdog knows it.
    pub(crate) fn detach(self) {
        drop(self.child);
    }
}

/// Initialises the data folder where it is new; returns the superuser's password.
pub(crate) fn initialise(
    folder: &Folder,
    binaries: &Binaries,
    account: &Account,
    options: &ClusterOptions,
) -> Result<Zeroizing<String>, ClusterError> {
    if folder.data_major_version().is_some() {
        return folder.stored_password();
    }
    let unfinished = folder.unfinished_data();
    if unfinished.exists() {
        std::fs::remove_dir_all(&unfinished).map_err(ClusterError::file("remove", &unfinished))?;
    }
    let password = folder.new_password(account)?;
    let program = binaries.program("initdb");
    let mut command = account.command(&program);
    command
        .arg("-D")
        .arg(&unfinished)
        .arg(format!("--username={SUPERUSER}"))
        .arg(format!("--pwfile={}", folder.password_file().display()))
        .args(["--auth=scram-sha-256", "--encoding=UTF8", "--locale=C.UTF-8", "--no-instructions"])
        .arg(if options.durable { "--data-checksums" } else { "--no-sync" });
    let output = command.output().map_err(|source| ClusterError::Run { program, source })?;
    if !output.status.success() {
        let output = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        return Err(ClusterError::Initialise { output });
    }
    std::fs::rename(&unfinished, folder.data())
        .map_err(ClusterError::file("rename", &unfinished))?;
    Ok(password)
}

/// Stops a server that a killed parent left running. The caller holds the
/// folder's lock, so no living parent is behind it.
pub(crate) fn stop_orphan(folder: &Folder) -> Result<(), ClusterError> {
    let file = folder.postmaster_file();
    let Some(process_id) = recorded_process_id(&file) else {
        return Ok(());
    };
    let Some(pid) = i32::try_from(process_id).ok().and_then(Pid::from_raw) else {
        return Ok(());
    };
    if !is_server_of(process_id, &folder.data()) {
        // A stale file: after a reboot the number may belong to anybody, and the
        // server would refuse to start beside it.
        return std::fs::remove_file(&file).map_err(ClusterError::file("remove", file));
    }
    for (signal, limit) in [(Signal::INT, FAST_STOP_LIMIT), (Signal::QUIT, FORCED_STOP_LIMIT)] {
        let _ = kill_process(pid, signal);
        if wait(limit, || !is_server_of(process_id, &folder.data())) {
            return Ok(());
        }
    }
    Err(ClusterError::Stop { process_id })
}

fn settings(folder: &Folder, port: u16, options: &ClusterOptions) -> Vec<(&'static str, String)> {
    let on_or_off = if options.durable { "on" } else { "off" }.to_owned();
    vec![
        ("listen_addresses", "127.0.0.1".to_owned()),
        ("port", port.to_string()),
        ("unix_socket_directories", folder.sockets().display().to_string()),
        ("unix_socket_permissions", "0700".to_owned()),
        ("max_connections", options.max_connections.to_string()),
        ("fsync", on_or_off.clone()),
        ("synchronous_commit", on_or_off.clone()),
        ("full_page_writes", on_or_off),
        ("shared_buffers", "256MB".to_owned()),
        ("max_wal_size", "2GB".to_owned()),
        // Dropping and creating many tables in one transaction takes a lock each.
        ("max_locks_per_transaction", "256".to_owned()),
        ("password_encryption", "scram-sha-256".to_owned()),
        ("timezone", "UTC".to_owned()),
        ("log_timezone", "UTC".to_owned()),
        // Statements carry people's data: neither their text nor values are logged.
        ("log_statement", "none".to_owned()),
        ("log_min_error_statement", "panic".to_owned()),
        ("log_parameter_max_length", "0".to_owned()),
        ("log_parameter_max_length_on_error", "0".to_owned()),
        ("logging_collector", "off".to_owned()),
        // A test that ends while it connects leaves a backend that waits for the rest of the
        // handshake, and every DROP DATABASE of the cluster waits for that backend.
        ("authentication_timeout", if options.durable { "60s" } else { "5s" }.to_owned()),
    ]
}

fn free_port() -> Result<u16, ClusterError> {
    TcpListener::bind(("127.0.0.1", 0))
        .and_then(|listener| listener.local_addr())
        .map(|address| address.port())
        .map_err(ClusterError::file("find a free port on", "127.0.0.1"))
}

/// Line 8 of `postmaster.pid` says `ready` once connections are taken; line 1
/// guards against reading the file of a server before this one.
fn is_ready(file: &Path, process_id: u32) -> bool {
    std::fs::read_to_string(file).is_ok_and(|text| {
        let mut lines = text.lines();
        lines.next().map(str::trim) == Some(process_id.to_string().as_str())
            && lines.nth(6).map(str::trim) == Some("ready")
    })
}

/// The server refuses to start beside the processes of the one before it.
fn has_living_children(tail: &str) -> bool {
    ["shared memory block", "Address already in use", "lock file"]
        .iter()
        .any(|words| tail.contains(words))
}

fn recorded_process_id(file: &Path) -> Option<u32> {
    std::fs::read_to_string(file).ok()?.lines().next()?.trim().parse().ok()
}

fn is_server_of(process_id: u32, data: &Path) -> bool {
    std::fs::read(format!("/proc/{process_id}/cmdline")).is_ok_and(|arguments| {
        arguments
            .split(|byte| *byte == 0)
            .any(|argument| argument == data.as_os_str().as_encoded_bytes())
    })
}

pub(crate) fn wait(limit: Duration, mut is_over: impl FnMut() -> bool) -> bool {
    let deadline = Instant::now() + limit;
    while Instant::now() < deadline {
        if is_over() {
            return true;
        }
        std::thread::sleep(POLL);
    }
    is_over()
}

fn start_error(folder: &Folder) -> ClusterError {
    let text = std::fs::read_to_string(folder.log()).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    let tail = lines[lines.len().saturating_sub(12)..].join("\n");
    ClusterError::Start { log: folder.log(), tail }
}
