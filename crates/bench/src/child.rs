//! Owns the processes that a run starts: this binary again, as the server that is
//! measured or the one beside it. Ended by their pid when dropped, also when the run
//! is interrupted. Refuses to know what they serve.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use rustix::process::{Pid, Signal, kill_process};
use serde::de::DeserializeOwned;

const READY_LIMIT: Duration = Duration::from_secs(180);
const STOP_LIMIT: Duration = Duration::from_secs(40);
const POLL: Duration = Duration::from_millis(2);

/// A process of ours.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts `program`; what it says goes to `log`. Of the caller's environment it gets
    /// what finds programs and folders, so that no setting of a shell changes a figure.
    pub(crate) fn start(
        program: &Path,
        arguments: &[&str],
        environment: &[(&str, &str)],
        log: PathBuf,
    ) -> anyhow::Result<Self> {
        let output = std::fs::File::create(&log)?;
        let mut command = Command::new(program);
        command.args(arguments).env_clear().stdin(Stdio::null());
        #[allow(clippy::disallowed_methods, reason = "handed on, not read")]
        for name in ["PATH", "HOME", "TMPDIR", "USER"] {
            if let Some(value) = std::env::var_os(name) {
                command.env(name, value);
            }
        }
        let child = command
            .env("LOG_LEVEL", "warn")
            .envs(environment.iter().copied())
            .stderr(output.try_clone()?)
            .stdout(output)
            .spawn()
            .with_context(|| format!("cannot start {}", program.display()))?;
        Ok(Self { child, log })
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Waits for `probe` to give something, as long as the process lives.
    pub(crate) async fn until<T>(
        &mut self,
        mut probe: impl AsyncFnMut() -> Option<T>,
    ) -> anyhow::Result<T> {
        let deadline = Instant::now() + READY_LIMIT;
        while Instant::now() < deadline {
            if let Some(found) = probe().await {
                return Ok(found);
            }
            if let Some(status) = self.child.try_wait()? {
                anyhow::bail!("the server ended early ({status}): {}", self.tail());
            }
            tokio::time::sleep(POLL).await;
        }
        anyhow::bail!(
            "the server was not ready within {} s: {}",
            READY_LIMIT.as_secs(),
            self.tail()
        )
    }

    /// Waits for a JSON file that the process writes when it is ready.
    pub(crate) async fn ready_file<T: DeserializeOwned>(
        &mut self,
        path: &Path,
    ) -> anyhow::Result<T> {
        self.until(async || {
            let text = std::fs::read(path).ok()?;
            serde_json::from_slice(&text).ok()
        })
        .await
    }

    /// Begins the peak of [`Self::peak_mb`] anew.
    pub(crate) fn forget_peak(&self) -> anyhow::Result<()> {
        Ok(std::fs::write(format!("/proc/{}/clear_refs", self.id()), "5")?)
    }

    /// The most resident memory there was, in megabytes (`VmHWM`).
    pub(crate) fn peak_mb(&self) -> anyhow::Result<f64> {
        self.memory_mb("VmHWM:")
    }

    /// Resident memory in megabytes (`VmRSS`).
    pub(crate) fn resident_mb(&self) -> anyhow::Result<f64> {
        self.memory_mb("VmRSS:")
    }

    fn memory_mb(&self, name: &str) -> anyhow::Result<f64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        let kilobytes = line.and_then(|line| line.trim().split(' ').next()?.parse::<u32>().ok());
        Ok(f64::from(kilobytes.context("/proc tells no resident memory")?) / 1_024.0)
    }

    fn tail(&self) -> String {
        let text = std::fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<_> = text.lines().rev().take(5).collect();
        lines.into_iter().rev().collect::<Vec<_>>().join(" | ")
    }

    fn signal(&self, signal: Signal) {
        if let Some(pid) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw) {
            // It may be gone already, which the wait finds.
            let _ = kill_process(pid, signal);
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.signal(Signal::TERM);
        let deadline = Instant::now() + STOP_LIMIT;
        while Instant::now() < deadline {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return;
            }
            std::thread::sleep(POLL);
        }
        self.signal(Signal::KILL);
        let _ = self.child.wait();
    }
}
