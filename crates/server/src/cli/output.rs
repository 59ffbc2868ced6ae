//! Owns writing results to standard output as a table for people, or as JSON or
//! CSV for programs. The same rows in each.

use std::io::{self, Write as _};

use clap::ValueEnum;
use comfy_table::{ContentArrangement, Table, presets};
use serde::Serialize;

/// How results are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// Aligned columns.
    Table,
    /// One JSON document.
    Json,
    /// Comma-separated values with a header line.
    Csv,
}

/// Writes results in the chosen format.
#[derive(Debug, Clone, Copy)]
pub struct Output {
    format: Format,
}

impl Output {
    /// Results in that format.
    pub fn new(format: Format) -> Self {
        Self { format }
    }

    /// A list; `cells` gives a row's columns for table and CSV, JSON takes the items as they are.
    pub fn list<T: Serialize>(
        self,
        headers: &[&str],
        items: &[T],
        cells: impl Fn(&T) -> Vec<String>,
    ) -> anyhow::Result<()> {
        match self.format {
            Format::Json => self.json(&items),
            Format::Table => {
                let mut table = Table::new();
                table
                    .load_style(presets::NOTHING)
                    .set_content_arrangement(ContentArrangement::Disabled);
                table.set_header(headers.iter().map(|header| header.to_uppercase()));
                for item in items {
                    table.add_row(cells(item));
                }
                self.text(
                    &table
                        .lines()
                        .map(|line| {
                            line.trim_end().strip_prefix(' ').unwrap_or_default().to_owned()
                        })
                        .collect::<Vec<_>>()
                        .join("\n"),
                )
            }
            Format::Csv => {
                let mut writer = csv::Writer::from_writer(io::stdout().lock());
                writer.write_record(headers)?;
                for item in items {
                    writer.write_record(cells(item))?;
                }
                Ok(writer.flush()?)
            }
        }
    }

    /// One thing: its JSON, or its fields below each other.
    pub fn one<T: Serialize>(self, item: &T) -> anyhow::Result<()> {
        let value = serde_json::to_value(item)?;
        let fields: Vec<(String, String)> = value
            .as_object()
            .map(|object| object.iter().map(|(name, value)| (name.clone(), plain(value))).collect())
            .unwrap_or_default();
        match self.format {
            Format::Json => self.json(&value),
            Format::Csv => {
                let mut writer = csv::Writer::from_writer(io::stdout().lock());
                writer.write_record(fields.iter().map(|(name, _)| name))?;
                writer.write_record(fields.iter().map(|(_, value)| value))?;
                Ok(writer.flush()?)
            }
            Format::Table => {
                let width = fields.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
                let lines: Vec<_> =
                    fields.iter().map(|(name, value)| format!("{name:width$}  {value}")).collect();
                self.text(&lines.join("\n"))
            }
        }
    }

    /// Text as it is, with a line feed.
    pub fn text(self, text: &str) -> anyhow::Result<()> {
        match writeln!(io::stdout().lock(), "{}", text.trim_end_matches('\n')) {
            // `strongroom … | head` has seen enough.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            result => Ok(result?),
        }
    }

    /// Whether results are written for people.
    pub fn is_table(self) -> bool {
        self.format == Format::Table
    }

    /// Whether results are written as JSON.
    pub fn is_json(self) -> bool {
        self.format == Format::Json
    }

    /// A document of its own shape.
    pub fn json<T: Serialize>(self, value: &T) -> anyhow::Result<()> {
        self.text(&serde_json::to_string_pretty(value)?)
    }
}

/// This program as it was called, for commands that people paste.
pub fn program() -> String {
    std::env::args().next().unwrap_or_else(|| "strongroom".to_owned())
}

fn plain(value: &serde_json::Value) -> String {
    match value {
        serde_json::Value::Null => String::new(),
        serde_json::Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}
