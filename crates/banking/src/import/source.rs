//! Files as numbered records. Refuses to know what a column means.

use std::{
    fs::File,
    io::{BufReader, Read, Write},
    path::Path,
};

use super::plan::Fault;

/// The most that one file may unpack to: a compressed file cannot exhaust memory.
const UNPACKED_BYTES_MAX: usize = 1 << 31;

/// A file's records with the names of their columns.
pub struct Table {
    /// The file's name, for faults.
    pub file: String,
    columns: Vec<String>,
    records: Vec<(u64, csv::StringRecord)>,
}

/// One record.
#[derive(Clone, Copy)]
pub struct Record<'a> {
    table: &'a Table,
    /// The line it begins on, from 1.
    pub line: u64,
    fields: &'a csv::StringRecord,
}

/// Why a file cannot be read at all.
#[derive(Debug, thiserror::Error)]
#[error("{file}: {message}")]
pub struct FileError {
    file: String,
    message: String,
}

impl Table {
    /// Reads a file; lines that are no records become faults.
    pub fn read(
        folder: &Path,
        file: &str,
        delimiter: char,
        faults: &mut Vec<Fault>,
    ) -> Result<Self, FileError> {
        let unreadable = |message: String| FileError { file: file.to_owned(), message };
        let content = content(&folder.join(file)).map_err(|error| unreadable(error.to_string()))?;
        Self::parse(file, &content, delimiter, faults)
            .map_err(|error| unreadable(error.to_string()))
    }

    pub(crate) fn parse(
        file: &str,
        content: &[u8],
        delimiter: char,
        faults: &mut Vec<Fault>,
    ) -> Result<Self, csv::Error> {
        let mut reader = csv::ReaderBuilder::new()
            .delimiter(u8::try_from(delimiter).unwrap_or(b','))
            .flexible(true)
            .from_reader(WithoutReturns(content));
        let columns: Vec<String> = reader.headers()?.iter().map(str::to_owned).collect();
        let mut records = Vec::new();
        for result in reader.records() {
            match result {
                Ok(record) => {
                    let line = record.position().map_or(0, csv::Position::line);
                    if record.len() == columns.len() {
                        records.push((line, record));
                    } else {
                        let message = format!(
                            "{} fields where the heading has {}",
                            record.len(),
                            columns.len()
                        );
                        faults.push(Fault::line(file, line, None, message));
                    }
                }
                Err(error) => {
                    let line = error.position().map_or(0, csv::Position::line);
                    faults.push(Fault::line(file, line, None, "not UTF-8 text".to_owned()));
                }
            }
        }
        Ok(Self { file: file.to_owned(), columns, records })
    }

    /// The records in the file's order.
    pub fn records(&self) -> impl Iterator<Item = Record<'_>> {
        self.records.iter().map(|(line, fields)| Record { table: self, line: *line, fields })
    }

    /// Names of the map that the heading lacks.
    pub fn missing<'a>(&self, wanted: impl IntoIterator<Item = &'a str>) -> Vec<&'a str> {
        let has = |name: &&str| self.columns.iter().any(|column| column == name);
        wanted.into_iter().filter(|name| !has(name)).collect()
    }
}

impl<'a> Record<'a> {
    /// A column's value without surrounding space; empty where there is no such column.
    pub fn get(&self, column: &str) -> &'a str {
        let position = self.table.columns.iter().position(|name| name == column);
        position.and_then(|at| self.fields.get(at)).map_or("", str::trim)
    }
}

fn content(path: &Path) -> std::io::Result<Vec<u8>> {
    let mut file = BufReader::new(File::open(path)?);
    let mut unpacked = Bounded(Vec::new());
    if path.extension().is_some_and(|extension| extension == "xz") {
        lzma_rs::xz_decompress(&mut file, &mut unpacked)
            .map_err(|error| std::io::Error::other(format!("not a complete xz file: {error:?}")))?;
    } else {
        let limit = u64::try_from(UNPACKED_BYTES_MAX).unwrap_or(u64::MAX);
        std::io::copy(&mut file.take(limit), &mut unpacked)?;
    }
    Ok(unpacked.0)
}

/// Passes everything but carriage returns: behind CRLF the reader's line numbers
/// lag by one, and faults have to name the line that an editor shows.
struct WithoutReturns<'a>(&'a [u8]);

impl Read for WithoutReturns<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        loop {
            let taken = self.0.len().min(buffer.len());
            let (now, later) = self.0.split_at(taken);
            self.0 = later;
            let mut kept = 0;
            for &byte in now.iter().filter(|&&byte| byte != b'\r') {
                buffer[kept] = byte;
                kept += 1;
            }
            if kept > 0 || taken == 0 {
                return Ok(kept);
            }
        }
    }
}

struct Bounded(Vec<u8>);

impl Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        if self.0.len() + bytes.len() > UNPACKED_BYTES_MAX {
            return Err(std::io::Error::other("larger than 2 GiB"));
        }
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
