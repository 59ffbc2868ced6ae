//! `test-cluster run -- COMMAND…`: runs a command with a PostgreSQL cluster of
//! its own, whose superuser URL it finds in `STRONGROOM_TEST_CLUSTER_URL`, and
//! exits with the command's code. Knows nothing of what is run.

use std::process::{Command, ExitCode};

use cluster::{ClusterOptions, PrivateCluster};

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args_os().skip(1).collect();
    let [run, separator, program, rest @ ..] = arguments.as_slice() else { return usage() };
    if run != "run" || separator != "--" {
        return usage();
    }
    let cluster = match PrivateCluster::start(&ClusterOptions::for_tests()) {
        Ok(cluster) => cluster,
        Err(error) => return fail(&error.to_string()),
    };
    let status = Command::new(program)
        .args(rest)
        .env(testkit::CLUSTER_URL_VARIABLE, cluster.superuser_url().as_str())
        .status();
    if let Err(error) = cluster.stop() {
        eprintln!("test-cluster: {error}");
    }
    match status {
        // A command ended by a signal has no code; shells report those as failures too.
        Ok(status) => status
            .code()
            .and_then(|code| u8::try_from(code).ok())
            .map_or(ExitCode::FAILURE, ExitCode::from),
        Err(error) => fail(&format!("cannot run {}: {error}", program.to_string_lossy())),
    }
}

fn usage() -> ExitCode {
    eprintln!("usage: test-cluster run -- COMMAND [ARGUMENT…]");
    ExitCode::from(2)
}

fn fail(message: &str) -> ExitCode {
    eprintln!("test-cluster: {message}");
    ExitCode::FAILURE
}
