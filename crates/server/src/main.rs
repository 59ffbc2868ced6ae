//! The binary `strongroom`: parses the command line, runs it, and ends with a code
//! that says what sort of failure there was.

use std::io::Write as _;
use std::process::ExitCode;

use clap::Parser as _;
use server::cli::{self, Cli, exit};

fn main() -> ExitCode {
    let cli = Cli::parse();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return complain(&anyhow::Error::new(error)),
    };
    match runtime.block_on(cli::run(cli)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => complain(&error),
    }
}

fn complain(error: &anyhow::Error) -> ExitCode {
    // Nobody may be left to read it.
    let _ = writeln!(std::io::stderr(), "strongroom: {error:#}");
    exit::code_of(error)
}
