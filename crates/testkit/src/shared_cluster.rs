//! Owns finding the cluster of this test run: the one `scripts/test` started, or
//! one that the first test process starts for all that follow it.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use cluster::{ClusterOptions, PrivateCluster};

/// Environment variable with the superuser's URL of the cluster to use; set by
/// `test-cluster run -- COMMAND`.
pub const CLUSTER_URL_VARIABLE: &str = "STRONGROOM_TEST_CLUSTER_URL";

/// How long a shared cluster outlives the last test process.
const IDLE_SECONDS: u32 = 30;

struct Shared {
    url: String,
    /// Held to the end of this process: tells the watchdog that somebody is here.
    _in_use: Option<File>,
}

/// URL of the superuser of this run's cluster, for its database `postgres`.
/// Blocks while it starts one.
///
/// # Panics
/// Where there is none and none can be started.
pub fn superuser_url() -> &'static str {
    static SHARED: OnceLock<Shared> = OnceLock::new();
    &SHARED.get_or_init(|| given().unwrap_or_else(join_or_start)).url
}

#[allow(clippy::disallowed_methods, reason = "tests have no configuration to read it from")]
fn given() -> Option<Shared> {
    let url = std::env::var(CLUSTER_URL_VARIABLE).ok().filter(|url| !url.is_empty())?;
    Some(Shared { url, _in_use: None })
}

/// Lock order: `users.lock` (shared; the watchdog holds it exclusively while it
/// ends the server), then `start.lock` (exclusive, one starter at a time).
fn join_or_start() -> Shared {
    let folder = meeting_place();
    let in_use = open(&folder.join("users.lock"));
    in_use.lock_shared().expect("lock the test cluster's users.lock");
    let starting = open(&folder.join("start.lock"));
    starting.lock().expect("lock the test cluster's start.lock");
    let url_file = folder.join("url");
    let url = living(&url_file).unwrap_or_else(|| start(&folder, &url_file));
    Shared { url, _in_use: Some(in_use) }
}

fn start(folder: &Path, url_file: &Path) -> String {
    let cluster = PrivateCluster::start(&ClusterOptions::for_tests())
        .unwrap_or_else(|error| panic!("no PostgreSQL cluster for the tests: {error}"));
    let url = cluster.superuser_url().to_string();
    let users = folder.join("users.lock");
    cluster
        .leave_while_locked(&users, url_file, IDLE_SECONDS)
        .unwrap_or_else(|error| panic!("no watchdog for the tests' cluster: {error}"));
    // Written beside and renamed: a reader never sees half of it.
    let unfinished = folder.join("url.unfinished");
    let mut file = open(&unfinished);
    file.set_len(0).expect("empty the cluster's URL file");
    file.write_all(url.as_bytes()).expect("write the cluster's URL");
    std::fs::rename(&unfinished, url_file).expect("publish the cluster's URL");
    url
}

/// The recorded URL, where a server still answers at its port: after a reboot
/// the file may be left without one.
fn living(url_file: &Path) -> Option<String> {
    let url = std::fs::read_to_string(url_file).ok()?;
    let address = url.split_once('@')?.1.split('/').next()?;
    std::net::TcpStream::connect(address).ok()?;
    Some(url)
}

/// A 0700 folder of ours, one for each account and checkout.
fn meeting_place() -> PathBuf {
    let checkout =
        env!("CARGO_MANIFEST_DIR").bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
    let own_id = std::fs::metadata("/proc/self").expect("read /proc/self").uid();
    let folder = std::env::temp_dir().join(format!("strongroom-tests-{checkout:016x}-{own_id}"));
    // It may be there already; whose it is decides.
    let _ = DirBuilder::new().mode(0o700).create(&folder);
    let found = std::fs::symlink_metadata(&folder).expect("make the tests' meeting place");
    assert!(
        found.is_dir() && found.uid() == own_id && found.mode() & 0o777 == 0o700,
        "{} is not ours alone: remove it",
        folder.display()
    );
    folder
}

fn open(path: &Path) -> File {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)
        .unwrap_or_else(|error| panic!("cannot open {}: {error}", path.display()))
}
