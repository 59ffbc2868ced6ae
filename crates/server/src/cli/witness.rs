//! `strongroom witness`: a witness of other installations' logs, and its key. It has no
//! database and takes no settings but its arguments.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use audit::note::NoteVerifier;
use clap::Subcommand;
use tokio::net::TcpListener;
use zeroize::Zeroizing;

use super::exit::Usage;
use super::output::Output;
use crate::witness::{self, Book};

/// Cosign the checkpoints of other logs.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Make a witness' key and print the verifier key that its cosignatures are checked with.
    NewKey {
        /// The witness' name, as a URL without its scheme.
        #[arg(value_name = "NAME")]
        name: String,
        /// Where the private key goes, readable by its owner alone; never over a file that is there.
        #[arg(long, value_name = "FILE")]
        file: PathBuf,
    },
    /// Answer `POST /add-checkpoint` (C2SP tlog-witness), in the clear: TLS ends before it.
    Serve {
        /// A verifier key of a log, `name+hash+key`, or a file with one key a line. May be repeated.
        #[arg(long, value_name = "KEY", required = true)]
        log: Vec<String>,
        /// The file of `witness new-key`.
        #[arg(long, value_name = "FILE")]
        key: PathBuf,
        /// The folder of what was cosigned last. It must be there: with another one, or an older copy, the witness would cosign a second history.
        #[arg(long, value_name = "DIR")]
        state: PathBuf,
        /// Where to listen.
        #[arg(long, value_name = "ADDRESS:PORT")]
        listen: SocketAddr,
    },
}

pub(super) async fn run(command: Command, output: Output) -> anyhow::Result<()> {
    match command {
        Command::NewKey { name, file } => output.text(&witness::write_key(&name, &file)?),
        Command::Serve { log, key, state, listen } => {
            let text = Zeroizing::new(read(&key)?);
            let book = Book::open(&state, witness::parse_key(&text)?, verifiers(&log)?)?;
            let listener = TcpListener::bind(listen).await;
            let listener = listener.with_context(|| format!("cannot listen on {listen}"))?;
            tracing::info!(address = %listener.local_addr()?, "the witness answers");
            witness::serve(listener, book).await
        }
    }
}

fn verifiers(logs: &[String]) -> anyhow::Result<Vec<NoteVerifier>> {
    let mut verifiers = Vec::new();
    for log in logs {
        if let Ok(verifier) = NoteVerifier::parse(log) {
            verifiers.push(verifier);
            continue;
        }
        let text = read(Path::new(log))?;
        let keys = text.lines().map(str::trim).filter(|line| !line.is_empty());
        let keys = keys.map(NoteVerifier::parse).collect::<Result<Vec<_>, _>>();
        verifiers.extend(keys.map_err(|error| Usage(format!("--log {log}: {error}")))?);
    }
    Ok(verifiers)
}

fn read(file: &Path) -> anyhow::Result<String> {
    fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))
}
