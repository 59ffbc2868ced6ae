//! Real clusters: start, restart, lock, planted folders, killed parents.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use super::*;

fn answers(cluster: &PrivateCluster) -> bool {
    let output = std::process::Command::new(cluster.binaries().program("psql"))
        .args(["-X", "-A", "-t", "-c", "select 1"])
        .arg(cluster.superuser_url().as_str())
        .output()
        .unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    output.stdout == b"1\n"
}

#[test]
fn versions_are_read_from_what_the_server_says() {
    for (said, major) in [
        ("postgres (PostgreSQL) 17.6 (Debian 17.6-0+deb13u1)\n", Some(17)),
        ("postgres (PostgreSQL) 15.14", Some(15)),
        ("postgres (PostgreSQL) 18beta1", Some(18)),
        ("something else", None),
    ] {
        assert_eq!(binaries::parse_major(said), major, "{said}");
    }
}

#[test]
fn an_ephemeral_cluster_answers_and_leaves_nothing() {
    let cluster = PrivateCluster::start(&ClusterOptions::for_tests()).unwrap();
    assert!(answers(&cluster));
    let folder = cluster.folder.root().to_path_buf();
    let password = std::fs::metadata(cluster.folder.password_file()).unwrap();
    assert_eq!(password.permissions().mode() & 0o777, 0o600);
    assert!(!format!("{cluster:?}").contains(cluster.password.as_str()));
    cluster.stop().unwrap();
    assert!(!folder.exists());
}

#[test]
fn a_persistent_cluster_restarts_is_locked_and_survives_an_orphan() {
    let parent = tempfile::tempdir().unwrap();
    std::fs::set_permissions(parent.path(), PermissionsExt::from_mode(0o755)).unwrap();
    let mut options = ClusterOptions::persistent(parent.path().join("postgres"));
    options.durable = false;

    let first = PrivateCluster::start(&options).unwrap();
    let data = first.data_directory();
    let refused = PrivateCluster::start(&options).unwrap_err();
    assert!(matches!(refused, ClusterError::InUse { .. }), "{refused}");

    // What a `kill -9` of parent and watchdog leaves: a server nobody knows.
    let mut orphan = first;
    let orphan_id = orphan.process_id();
    orphan.watchdog.take().unwrap().dismiss();
    let mut server = orphan.postmaster.take().unwrap();
    let reaper = std::thread::spawn(move || server.child.wait());
    drop(orphan);

    let second = PrivateCluster::start(&options).unwrap();
    assert_eq!(second.data_directory(), data);
    assert_ne!(second.process_id(), orphan_id);
    assert!(answers(&second));
    second.stop().unwrap();
    assert!(data.exists());
    reaper.join().unwrap().unwrap();
}

#[test]
fn a_server_comes_back_from_every_ending_where_it_was() {
    let mut cluster = PrivateCluster::start(&ClusterOptions::ephemeral()).unwrap();
    let (port, root) = (cluster.port(), cluster.folder.root().to_path_buf());
    for ending in [Ending::Fast, Ending::Immediate, Ending::Killed, Ending::KilledWhole] {
        let before = cluster.process_id();
        cluster.end(ending).unwrap();
        assert_eq!(cluster.process_id(), 0, "{ending:?}");
        assert!(std::net::TcpStream::connect(("127.0.0.1", port)).is_err(), "{ending:?}");
        cluster.end(ending).unwrap();
        cluster.start_again().unwrap();
        let after = cluster.process_id();
        assert_ne!(after, before, "{ending:?}");
        cluster.start_again().unwrap();
        assert_eq!((cluster.process_id(), cluster.port()), (after, port), "{ending:?}");
        assert!(answers(&cluster), "{ending:?}");
    }
    cluster.end(Ending::KilledWhole).unwrap();
    drop(cluster);
    assert!(!root.exists(), "an ephemeral folder goes, the server being down or not");
}

#[test]
fn a_folder_of_somebody_else_is_refused() {
    let parent = tempfile::tempdir().unwrap();
    std::fs::set_permissions(parent.path(), PermissionsExt::from_mode(0o755)).unwrap();
    let planted = parent.path().join("postgres");
    std::os::unix::fs::symlink("/etc", &planted).unwrap();
    let refused = PrivateCluster::start(&ClusterOptions::persistent(&planted)).unwrap_err();
    assert!(matches!(refused, ClusterError::Unsafe { .. }), "{refused}");
}

#[test]
fn a_checkout_nobody_else_can_enter_moves_the_cluster() {
    let parent = tempfile::tempdir().unwrap();
    std::fs::set_permissions(parent.path(), PermissionsExt::from_mode(0o700)).unwrap();
    let preferred = parent.path().join("postgres");
    let mut options = ClusterOptions::persistent(&preferred);
    options.durable = false;
    let cluster = PrivateCluster::start(&options).unwrap();
    assert!(answers(&cluster));
    let root = cluster.folder.root().to_path_buf();
    cluster.stop().unwrap();
    let is_root = rustix::process::geteuid().is_root();
    assert_eq!(root != preferred, is_root, "only root hands the server to another account");
    std::fs::remove_dir_all(root).unwrap();
}

#[test]
fn the_watchdog_cleans_up_after_a_parent_that_never_said_goodbye() {
    let mut cluster = PrivateCluster::start(&ClusterOptions::for_tests()).unwrap();
    let folder = cluster.folder.root().to_path_buf();
    // Closing the pipe is all that a killed parent does; its children are then
    // reaped by init, here by us.
    let mut server = cluster.postmaster.take().unwrap();
    drop(cluster.watchdog.take());
    server.child.wait().unwrap();
    wait_until_gone(&folder);
}

#[test]
fn a_shared_cluster_ends_when_nobody_holds_its_lock() {
    let folder = tempfile::tempdir().unwrap();
    let lock_path = folder.path().join("users.lock");
    let url_path = folder.path().join("url");
    let lock = std::fs::File::create(&lock_path).unwrap();
    lock.lock_shared().unwrap();
    std::fs::write(&url_path, "secret").unwrap();
    let cluster = PrivateCluster::start(&ClusterOptions::for_tests()).unwrap();
    let root = cluster.folder.root().to_path_buf();
    cluster.leave_while_locked(&lock_path, &url_path, 1).unwrap();
    std::thread::sleep(Duration::from_millis(2500));
    assert!(url_path.exists(), "still used");
    lock.unlock().unwrap();
    wait_until_gone(&root);
    wait_until_gone(&url_path);
}

fn wait_until_gone(path: &Path) {
    let deadline = Instant::now() + Duration::from_secs(40);
    while path.exists() && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(50));
    }
    assert!(!path.exists(), "{} is still there", path.display());
}
