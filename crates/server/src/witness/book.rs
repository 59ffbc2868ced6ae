//! Owns what a witness remembers: for each log the checkpoint that it cosigned last, in a file
//! that is written before the cosignature leaves.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use anyhow::Context as _;
use audit::cosignature::Cosigner;
use audit::merkle::{Hash, ProofError, empty_root, verify_consistency};
use audit::note::{Checkpoint, Note, NoteVerifier};
use tenancy::Clock;

use super::request::Request;

/// Why a checkpoint is not cosigned.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// The request is not one.
    #[error("malformed request: {0}")]
    Malformed(String),
    /// Nobody who is trusted for the origin signed it.
    #[error("no trusted signature")]
    Unsigned,
    /// A log that this witness does not watch.
    #[error("unknown origin")]
    UnknownOrigin,
    /// The proof does not begin where the witness stands.
    #[error("the witness stands at {size}")]
    OtherSize {
        /// Where it stands.
        size: u64,
    },
    /// The log signed two roots of one size.
    #[error("{origin} signed another root of size {size}; cosigned: {cosigned:?}, now: {now:?}")]
    Fork {
        /// The log.
        origin: String,
        /// The size of both.
        size: u64,
        /// The note that was cosigned.
        cosigned: String,
        /// The note that is refused.
        now: String,
    },
    /// The proof does not lead from the cosigned checkpoint to this one.
    #[error("the proof from {size} is refused: {cause}")]
    Unproven {
        /// Where the witness stands.
        size: u64,
        /// What is wrong with it.
        cause: ProofError,
    },
    /// The state could not be written.
    #[error("the state could not be written: {0}")]
    State(#[from] io::Error),
}

/// The watched logs and the key.
#[derive(Debug)]
pub struct Book {
    cosigner: Cosigner,
    logs: HashMap<String, Log>,
    /// Held for as long as the process lives.
    _lock: File,
}

#[derive(Debug)]
struct Log {
    verifiers: Vec<NoteVerifier>,
    file: PathBuf,
    /// One request of a log at a time.
    newest: Mutex<Cosigned>,
}

/// The checkpoint that was cosigned last.
#[derive(Debug)]
struct Cosigned {
    size: u64,
    root: Hash,
    note: String,
}

impl Book {
    /// Opens a folder that is there: a lost one made anew would let the past be cosigned twice.
    ///
    /// # Errors
    /// Where another witness serves it, or what it holds is not a state.
    pub fn open(
        folder: &Path,
        cosigner: Cosigner,
        verifiers: Vec<NoteVerifier>,
    ) -> anyhow::Result<Self> {
        let lock = File::create(folder.join("lock"))
            .with_context(|| format!("the state folder {}", folder.display()))?;
        lock.try_lock().with_context(|| format!("another witness serves {}", folder.display()))?;
        let mut logs = HashMap::<String, Log>::new();
        for verifier in verifiers {
            let origin = verifier.name().to_owned();
            if let Some(log) = logs.get_mut(&origin) {
                log.verifiers.push(verifier);
                continue;
            }
            let file = folder.join(file_name(&origin));
            let newest = Mutex::new(read(&file, &origin)?);
            logs.insert(origin, Log { verifiers: vec![verifier], file, newest });
        }
        Ok(Self { cosigner, logs, _lock: lock })
    }

    /// The cosignature line over a checkpoint that extends the one cosigned last.
    ///
    /// # Errors
    /// The reasons not to; then nothing has changed.
    pub fn cosign(&self, request: &Request) -> Result<String, Refusal> {
        let log = self.logs.get(&request.checkpoint.origin).ok_or(Refusal::UnknownOrigin)?;
        if !log.verifiers.iter().any(|verifier| request.note.verify(verifier).is_ok()) {
            return Err(Refusal::Unsigned);
        }
        // What is remembered changes in one assignment, after the file: a panic leaves it whole.
        let mut newest = log.newest.lock().unwrap_or_else(PoisonError::into_inner);
        newest.is_extended_by(request)?;
        let seconds = u64::try_from(Clock::System.now().as_second()).unwrap_or_default();
        let line = self.cosigner.cosign(&request.note.text, seconds);
        let line = line.map_err(|error| Refusal::Malformed(error.to_string()))?;
        if request.checkpoint.size > newest.size || newest.note.is_empty() {
            replace(&log.file, &request.raw_note)?;
            *newest = Cosigned::new(&request.checkpoint, request.raw_note.clone());
        }
        Ok(line)
    }
}

impl Cosigned {
    fn new(checkpoint: &Checkpoint, note: String) -> Self {
        Self { size: checkpoint.size, root: checkpoint.root, note }
    }

    fn is_extended_by(&self, request: &Request) -> Result<(), Refusal> {
        let (new, size) = (&request.checkpoint, self.size);
        if new.size == size && new.root != self.root {
            return Err(Refusal::Fork {
                origin: new.origin.clone(),
                size,
                cosigned: self.note.clone(),
                now: request.raw_note.clone(),
            });
        }
        if request.old != size {
            return Err(Refusal::OtherSize { size });
        }
        // From the empty tree everything follows, and there is nothing to prove it by.
        if size == 0 {
            return Ok(());
        }
        verify_consistency(size, new.size, &request.proof, &self.root, &new.root)
            .map_err(|cause| Refusal::Unproven { size, cause })
    }
}

/// An origin holds slashes and whatever else its log likes; its hash does not.
fn file_name(origin: &str) -> String {
    use std::fmt::Write as _;
    let mut name = String::with_capacity(80);
    for byte in vault::sha256_parts(&[origin.as_bytes()]) {
        // Writing to a String cannot fail.
        let _ = write!(name, "{byte:02x}");
    }
    name + ".checkpoint"
}

fn read(file: &Path, origin: &str) -> anyhow::Result<Cosigned> {
    let note = match fs::read_to_string(file) {
        Ok(note) => note,
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => {
            return Ok(Cosigned { size: 0, root: empty_root(), note: String::new() });
        }
        Err(cause) => return Err(cause).with_context(|| format!("the state {}", file.display())),
    };
    let checkpoint = Note::parse(&note).and_then(|note| Checkpoint::parse(&note.text));
    let checkpoint =
        checkpoint.with_context(|| format!("the state {} is damaged", file.display()))?;
    anyhow::ensure!(checkpoint.origin == origin, "the state {} is another's", file.display());
    Ok(Cosigned::new(&checkpoint, note))
}

/// The old one or the new one is there after a crash, and never half of either.
fn replace(file: &Path, note: &str) -> io::Result<()> {
    let new = file.with_extension("new");
    let mut writing = File::create(&new)?;
    writing.write_all(note.as_bytes())?;
    writing.sync_all()?;
    fs::rename(&new, file)?;
    File::open(file.parent().unwrap_or_else(|| Path::new("/")))?.sync_all()
}
