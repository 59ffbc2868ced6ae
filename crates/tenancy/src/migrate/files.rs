//! Owns a migration's text: its checksums, what it says about older binaries,
//! and writing the next pair of files.

use std::fmt::Write as _;
use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use aws_lc_rs::digest::{Context, SHA256, digest};

use super::{AppliedMigration, MigrateError};

/// One step of the timeline.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Migration {
    /// Its number; steps are applied in this order.
    pub version: u32,
    /// Its name, as in `NNNN_name.up.sql`.
    pub name: String,
    /// Applies it.
    pub up: String,
    /// Takes it back.
    pub down: String,
    /// Schema version of the oldest binary that works once it is applied: a line
    /// `-- min_binary: N` of the up script, else its own number.
    pub min_binary: u32,
}

impl Migration {
    /// A migration of the given scripts.
    pub fn new(
        version: u32,
        name: impl Into<String>,
        up: impl Into<String>,
        down: impl Into<String>,
    ) -> Self {
        let up = up.into();
        let min_binary = up
            .lines()
            .find_map(|line| line.strip_prefix("-- min_binary:")?.trim().parse().ok())
            .unwrap_or(version);
        Self { version, name: name.into(), up, down: down.into(), min_binary }
    }

    /// SHA-256 of the up script, in hexadecimal.
    pub fn checksum_up(&self) -> String {
        checksum(&self.up)
    }

    /// SHA-256 of the down script, in hexadecimal.
    pub fn checksum_down(&self) -> String {
        checksum(&self.down)
    }

    /// Compares with what the database recorded when it was applied.
    pub(super) fn check(&self, row: &AppliedMigration) -> Result<(), MigrateError> {
        let parts = [
            ("name", self.name == row.name),
            ("up script", self.checksum_up() == row.checksum_up),
            ("down script", self.checksum_down() == row.checksum_down),
            ("min_binary", self.min_binary == row.min_binary),
        ];
        parts.into_iter().find(|(_, same)| !same).map_or(Ok(()), |(part, _)| {
            Err(MigrateError::Tampered { version: row.version, name: row.name.clone(), part })
        })
    }
}

/// Writes an empty up and down script with the next free number into `folder`;
/// returns both paths, up first. They take effect with the next build.
///
/// # Errors
/// [`MigrateError::BadName`], or [`MigrateError::File`] where the folder cannot
/// be read or written.
pub fn new(folder: &Path, name: &str) -> Result<[PathBuf; 2], MigrateError> {
    let is_plain = name.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_'));
    let starts_well = name.starts_with(|first: char| first.is_ascii_lowercase());
    if !is_plain || !starts_well || name.len() > 60 {
        return Err(MigrateError::BadName);
    }
    let next = newest_number(folder)? + 1;
    let pair = [
        ("up", "-- Why this exists, for whoever reads the timeline in ten years.\n"),
        ("down", "-- Takes back exactly what the up script did.\n"),
    ];
    let [up, down] = pair.map(|(direction, text)| {
        let path = folder.join(format!("{next:04}_{name}.{direction}.sql"));
        write_new(&path, text).map(|()| path)
    });
    Ok([up?, down?])
}

pub(super) fn embedded() -> Vec<Migration> {
    EMBEDDED.iter().map(|one| Migration::new(one.version, one.name, one.up, one.down)).collect()
}

pub(super) fn fingerprint(migrations: &[Migration]) -> String {
    let mut context = Context::new(&SHA256);
    for migration in migrations {
        context.update(&migration.version.to_be_bytes());
        for part in [&migration.name, &migration.up, &migration.down] {
            context.update(digest(&SHA256, part.as_bytes()).as_ref());
        }
    }
    hexadecimal(context.finish().as_ref())
}

struct Embedded {
    version: u32,
    name: &'static str,
    up: &'static str,
    down: &'static str,
}

const EMBEDDED: &[Embedded] = include!(concat!(env!("OUT_DIR"), "/migrations.rs"));

fn checksum(text: &str) -> String {
    hexadecimal(digest(&SHA256, text.as_bytes()).as_ref())
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn newest_number(folder: &Path) -> Result<u32, MigrateError> {
    let failed = |source| MigrateError::File { action: "read", path: folder.to_path_buf(), source };
    let entries = std::fs::read_dir(folder).map_err(failed)?;
    Ok(entries
        .filter_map(Result::ok)
        .filter_map(|entry| entry.file_name().to_str()?.split_once('_')?.0.parse().ok())
        .max()
        .unwrap_or(0))
}

fn write_new(path: &Path, text: &str) -> Result<(), MigrateError> {
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .open(path)
        .and_then(|mut file| file.write_all(text.as_bytes()))
        .map_err(|source| MigrateError::File { action: "write", path: path.to_path_buf(), source })
}
