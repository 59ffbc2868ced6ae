//! Named statements out of `queries/`, cut out at compile time.
//!
//! A file holds one concept's statements; a line `--! name` (or `--! name @role`)
//! starts each. A missing name fails the build, and a test PREPAREs every
//! statement of the folder as its role against a migrated database.

/// The text of a named statement: `sql!("ledger/posting.sql", "lock_accounts")`.
#[macro_export]
macro_rules! sql {
    ($file:literal, $name:literal) => {{
        const TEXT: &str = $crate::sql::section(
            include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../queries/", $file)),
            $name,
        );
        TEXT
    }};
}

const MARK: &[u8] = b"--! ";

/// The part of `file` between `--! name` and the next mark.
///
/// # Panics
/// At compile time, where no such statement exists.
#[expect(clippy::panic, reason = "runs at compile time: the build fails, not the program")]
pub const fn section<'a>(file: &'a str, name: &str) -> &'a str {
    let bytes = file.as_bytes();
    let mut position = 0;
    while position < bytes.len() {
        if mark_at(bytes, position) && name_at(bytes, position + MARK.len(), name.as_bytes()) {
            let start = line_end(bytes, position);
            let mut end = start;
            while end < bytes.len() && !mark_at(bytes, end) {
                end += 1;
            }
            return file.split_at(end).0.split_at(start).1;
        }
        position += 1;
    }
    panic!("no statement of that name in this file of queries/")
}

/// One statement of a file, as the PREPARE test sees it.
#[derive(Debug, PartialEq, Eq)]
pub struct Statement<'a> {
    /// The name after `--!`.
    pub name: &'a str,
    /// The role that runs it, without the prefix `strongroom_`.
    pub role: &'a str,
    /// The text.
    pub text: &'a str,
}

/// All statements of a file, in order.
pub fn statements(file: &str) -> Vec<Statement<'_>> {
    file.split("\n--! ")
        .map(|part| part.strip_prefix("--! ").unwrap_or(part))
        .skip(usize::from(!file.starts_with("--! ")))
        .filter_map(|part| {
            let (head, text) = part.split_once('\n')?;
            let mut words = head.split_whitespace();
            let name = words.next()?;
            let role = words.next().and_then(|word| word.strip_prefix('@')).unwrap_or("app");
            Some(Statement { name, role, text })
        })
        .collect()
}

const fn mark_at(bytes: &[u8], position: usize) -> bool {
    (position == 0 || bytes[position - 1] == b'\n') && starts_at(bytes, position, MARK)
}

const fn name_at(bytes: &[u8], position: usize, name: &[u8]) -> bool {
    let end = position + name.len();
    starts_at(bytes, position, name)
        && (end >= bytes.len() || matches!(bytes[end], b'\n' | b' ' | b'\r'))
}

const fn starts_at(bytes: &[u8], position: usize, expected: &[u8]) -> bool {
    if position + expected.len() > bytes.len() {
        return false;
    }
    let mut offset = 0;
    while offset < expected.len() {
        if bytes[position + offset] != expected[offset] {
            return false;
        }
        offset += 1;
    }
    true
}

const fn line_end(bytes: &[u8], mut position: usize) -> usize {
    while position < bytes.len() && bytes[position] != b'\n' {
        position += 1;
    }
    position
}

#[cfg(test)]
mod tests {
    use super::{section, statements};

    const FILE: &str = "-- preface\n--! first\nSELECT 1;\n--! second @sealer\n-- why\nSELECT 2;\n";

    #[test]
    fn a_section_ends_where_the_next_begins() {
        assert_eq!(section(FILE, "first").trim(), "SELECT 1;");
        assert_eq!(section(FILE, "second").trim(), "-- why\nSELECT 2;");
    }

    #[test]
    fn all_statements_are_listed_with_their_roles() {
        let listed: Vec<_> = statements(FILE).into_iter().map(|one| (one.name, one.role)).collect();
        assert_eq!(listed, [("first", "app"), ("second", "sealer")]);
        assert_eq!(statements("--! only\nSELECT 3").len(), 1);
    }
}
