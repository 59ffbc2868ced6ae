//! The house rules that no compiler checks. Each submodule owns one kind of rule
//! and says why; all of them see the same list of files.

mod imports;
mod secrets;
mod shape;
mod source;
mod sql;
#[cfg(test)]
mod tests;
mod words;

use std::fmt;
use std::path::Path;

use source::SourceFile;

/// One breach of a rule.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Finding {
    /// Relative to the repository.
    path: String,
    /// From 1; 0 where the file as a whole is meant.
    line: usize,
    /// What is wrong and what to do about it.
    message: String,
}

impl Finding {
    fn new(path: &str, line: usize, message: impl Into<String>) -> Self {
        Self { path: path.to_owned(), line, message: message.into() }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}:{}: {}", self.path, self.line, self.message)
    }
}

/// Checks the whole repository.
///
/// # Errors
/// Where it cannot be read.
pub(crate) fn run(repository: &Path) -> std::io::Result<Vec<Finding>> {
    Ok(check(&source::collect(repository)?))
}

fn check(files: &[SourceFile]) -> Vec<Finding> {
    let rules = [imports::check, shape::check, words::check, secrets::check, sql::check];
    let mut findings: Vec<_> = rules.iter().flat_map(|rule| rule(files)).collect();
    findings.sort();
    findings.dedup();
    findings
}
