//! Owns ending a server the way an outage does, for those who test what comes
//! after: in order, in a hurry, or by a crash. Its data stays.

use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::ClusterError;
use crate::postmaster::{Postmaster, wait};

const LIMIT: Duration = Duration::from_secs(30);

/// How a server ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// SIGINT, as an administrator restarts it: sessions are ended, everything is
    /// written, nothing has to be recovered.
    Fast,
    /// SIGQUIT: every process ends at once; the next start recovers.
    Immediate,
    /// SIGKILL to the postmaster alone; its children end once they notice.
    Killed,
    /// SIGKILL to the postmaster and to each of its children: as where the machine
    /// loses power, but for what the system's page cache keeps.
    KilledWhole,
}

impl Postmaster {
    /// Ends it and waits until the postmaster is gone; where it was killed alone,
    /// its children may still be ending.
    pub(crate) fn end(mut self, ending: Ending) -> Result<(), ClusterError> {
        let process_id = self.process_id();
        let children =
            if ending == Ending::KilledWhole { children_of(process_id) } else { Vec::new() };
        let signal = match ending {
            Ending::Fast => Signal::INT,
            Ending::Immediate => Signal::QUIT,
            Ending::Killed | Ending::KilledWhole => Signal::KILL,
        };
        // It, or any of them, may already be gone.
        let _ = kill_process(Pid::from_child(&self.child), signal);
        for child in children {
            let _ = kill_process(child, Signal::KILL);
        }
        if wait(LIMIT, || self.child.try_wait().is_ok_and(|status| status.is_some())) {
            return Ok(());
        }
        Err(ClusterError::Stop { process_id })
    }
}

/// The processes whose parent is `process_id`, out of `/proc`.
fn children_of(process_id: u32) -> Vec<Pid> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().filter_map(Result::ok);
    entries
        .filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok())
        .filter(|&candidate| parent_of(candidate) == Some(process_id))
        .filter_map(Pid::from_raw)
        .collect()
}

/// Field 4 of `/proc/PID/stat`; the second, in brackets, may hold anything.
fn parent_of(process_id: i32) -> Option<u32> {
    let stat = std::fs::read_to_string(format!("/proc/{process_id}/stat")).ok()?;
    stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()
}
