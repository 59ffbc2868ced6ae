//! Owns a Redis of one test's own: on a Unix socket, keeping nothing, ended with it.
//!
//! A shell stands between: its standard input is a pipe of ours, and when that closes,
//! because the test ended or was killed, it ends the server.

use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// Starts the server, says its process id, waits for the end of its input.
const BESIDE: &str =
    r#"redis-server "$@" >/dev/null 2>&1 & echo $!; read -r _; kill -KILL $! 2>/dev/null; wait"#;

/// A Redis of one test's own.
#[derive(Debug)]
pub struct RedisServer {
    folder: tempfile::TempDir,
    options: Vec<String>,
    running: Option<Running>,
}

#[derive(Debug)]
struct Running {
    shell: Child,
    process_id: Pid,
}

impl RedisServer {
    /// Starts one and waits until it listens.
    ///
    /// # Panics
    /// Where `redis-server` is not installed or does not start.
    pub fn start() -> Self {
        Self::start_with(&[])
    }

    /// The same with more options, as on its command line.
    ///
    /// # Panics
    /// As [`Self::start`].
    pub fn start_with(options: &[&str]) -> Self {
        let folder = tempfile::tempdir().expect("a folder for Redis");
        let options = options.iter().map(|option| (*option).to_owned()).collect();
        let mut server = Self { folder, options, running: None };
        server.start_again();
        server
    }

    /// `REDIS_URL` of it.
    pub fn url(&self) -> String {
        format!("unix://{}", self.socket().display())
    }

    /// Its folder, for what options name.
    pub fn folder(&self) -> &std::path::Path {
        self.folder.path()
    }

    /// Ends it at once, with everything it knows.
    pub fn kill(&mut self) {
        self.end();
    }

    /// Starts it where it is down, with nothing in it.
    ///
    /// # Panics
    /// As [`Self::start`].
    pub fn start_again(&mut self) {
        if self.running.is_some() {
            return;
        }
        let folder = self.folder.path().display().to_string();
        let socket = self.socket().display().to_string();
        let mut shell = Command::new("sh")
            .args(["-c", BESIDE, "redis"])
            .args(["--unixsocket", &socket, "--dir", &folder, "--save", "", "--appendonly", "no"])
            .args(if self.options.iter().any(|option| option.ends_with("port")) {
                &[][..]
            } else {
                &["--port", "0"][..]
            })
            .args(&self.options)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("run a shell");
        let mut line = String::new();
        let said = shell.stdout.take().map(|said| BufReader::new(said).read_line(&mut line));
        let process_id = line.trim().parse().ok().and_then(Pid::from_raw);
        let process_id = process_id.unwrap_or_else(|| panic!("no process id: {said:?} {line:?}"));
        self.running = Some(Running { shell, process_id });
        self.wait_until_it_listens();
    }

    /// Stops it in the middle of whatever it does: it hangs until [`Self::resume`].
    ///
    /// # Panics
    /// Where it does not run.
    pub fn pause(&self) {
        self.signal(Signal::STOP);
    }

    /// Lets it go on.
    ///
    /// # Panics
    /// Where it does not run.
    pub fn resume(&self) {
        self.signal(Signal::CONT);
    }

    fn signal(&self, signal: Signal) {
        let running = self.running.as_ref().expect("a Redis that runs");
        kill_process(running.process_id, signal).expect("signal Redis");
    }

    fn wait_until_it_listens(&self) {
        let deadline = Instant::now() + Duration::from_secs(20);
        while std::os::unix::net::UnixStream::connect(self.socket()).is_err() {
            assert!(Instant::now() < deadline, "redis-server does not listen; is it installed?");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    fn socket(&self) -> PathBuf {
        self.folder.path().join("redis.sock")
    }

    fn end(&mut self) {
        let Some(mut running) = self.running.take() else { return };
        // It may be gone by itself; the shell takes its leave in either case.
        let _ = kill_process(running.process_id, Signal::KILL);
        drop(running.shell.stdin.take());
        let _ = running.shell.wait();
        let _ = std::fs::remove_file(self.socket());
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        self.end();
    }
}
