//! Owns the rule that statements and code match: every named statement of
//! `queries/` is used by some Rust file, every used one exists, no name stands
//! twice in a file, and every migration can be taken back.

use std::collections::{BTreeMap, BTreeSet};

use super::Finding;
use super::source::SourceFile;

pub(super) fn check(files: &[SourceFile]) -> Vec<Finding> {
    let mut findings = statements_match(files);
    findings.extend(migrations_pair_up(files));
    findings
}

fn statements_match(files: &[SourceFile]) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut defined: BTreeMap<(String, String), (String, usize)> = BTreeMap::new();
    for file in files {
        let Some(short) = file.path.strip_prefix("queries/") else { continue };
        for (number, line) in file.text.lines().enumerate() {
            let Some(name) =
                line.strip_prefix("--! ").and_then(|rest| rest.split_whitespace().next())
            else {
                continue;
            };
            let place = (file.path.clone(), number + 1);
            if defined.insert((short.to_owned(), name.to_owned()), place).is_some() {
                let message = format!("statement `{name}` stands twice in this file");
                findings.push(Finding::new(&file.path, number + 1, message));
            }
        }
    }
    let mut used = BTreeSet::new();
    for file in files.iter().filter(|file| file.is_rust()) {
        for (offset, statement) in uses(file) {
            if !defined.contains_key(&statement) {
                let message = format!("queries/{} has no statement `{}`", statement.0, statement.1);
                findings.push(Finding::new(&file.path, file.line_of(offset), message));
            }
            used.insert(statement);
        }
    }
    for ((_, name), (path, line)) in defined.iter().filter(|(key, _)| !used.contains(*key)) {
        let message = format!("no Rust file uses statement `{name}`");
        findings.push(Finding::new(path, *line, message));
    }
    findings
}

/// `sql!("file", "name")` in code, with where it stands.
fn uses(file: &SourceFile) -> Vec<(usize, (String, String))> {
    let calls = file.code.match_indices("sql!(").filter(|(offset, _)| {
        // The macro's own definition and documentation carry no literals.
        file.code.as_bytes()[offset + 5..].iter().find(|byte| !byte.is_ascii_whitespace())
            == Some(&b'"')
    });
    calls
        .filter_map(|(offset, _)| {
            let mut literals = file.text[offset..].split('"').skip(1).step_by(2);
            Some((offset, (literals.next()?.to_owned(), literals.next()?.to_owned())))
        })
        .filter(|(_, (path, _))| {
            std::path::Path::new(path).extension().is_some_and(|kind| kind == "sql")
        })
        .collect()
}

fn migrations_pair_up(files: &[SourceFile]) -> Vec<Finding> {
    let names: BTreeSet<&str> =
        files.iter().filter_map(|file| file.path.strip_prefix("migrations/")).collect();
    let mut findings = Vec::new();
    for name in &names {
        let other = match (name.strip_suffix(".up.sql"), name.strip_suffix(".down.sql")) {
            (Some(stem), _) => format!("{stem}.down.sql"),
            (_, Some(stem)) => format!("{stem}.up.sql"),
            _ => continue,
        };
        if !names.contains(other.as_str()) {
            let message = format!("its other half, {other}, is missing");
            findings.push(Finding::new(&format!("migrations/{name}"), 0, message));
        }
    }
    findings
}
