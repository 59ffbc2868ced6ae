//! The binary `strongroom`: parses the command line, runs it, and ends with a code
//! that says what sort of failure there was.

use std::io::Write as _;
use std::process::ExitCode;

use clap::Parser as _;
use server::cli::{self, Cli, exit};

/// Requests are many small allocations on several threads, which the C library's
/// allocator serves at twice the price (docs/performance.md).
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

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
    if let Some(hint) = exit::hint(error) {
        let program = cli::output::program();
        let _ = writeln!(std::io::stderr(), "  → {program} {hint}");
    }
    exit::code_of(error)
}
