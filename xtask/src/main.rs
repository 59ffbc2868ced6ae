//! Chores of this repository that are not the product: `cargo xtask tidy`.
//!
//! It refuses to know anything of banking: it reads sources as text.

mod tidy;

use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments == ["tidy"] {
        return tidy_all();
    }
    eprintln!("usage: cargo xtask tidy");
    ExitCode::from(2)
}

fn tidy_all() -> ExitCode {
    match tidy::run(repository()) {
        Ok(findings) if findings.is_empty() => {
            eprintln!("tidy: nothing found");
            ExitCode::SUCCESS
        }
        Ok(findings) => {
            for finding in &findings {
                eprintln!("{finding}");
            }
            eprintln!("tidy: {} found", findings.len());
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("tidy: {error}");
            ExitCode::from(2)
        }
    }
}

/// The folder above this crate.
fn repository() -> &'static Path {
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    own.parent().unwrap_or(own)
}
