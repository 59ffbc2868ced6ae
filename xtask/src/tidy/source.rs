//! Owns the files of the repository as the rules see them: their text, and for
//! Rust the same text with comments and literals blanked out, so that a rule
//! about code is not fooled by what a string says.

use std::path::Path;

/// A text file.
#[derive(Debug)]
pub(super) struct SourceFile {
    /// Relative to the repository, with `/`.
    pub(super) path: String,
    /// As it stands.
    pub(super) text: String,
    /// For Rust: `text` with comments and the insides of literals as spaces, at
    /// the same offsets. Empty for everything else.
    pub(super) code: String,
}

impl SourceFile {
    pub(super) fn new(path: impl Into<String>, text: impl Into<String>) -> Self {
        let (path, text) = (path.into(), text.into());
        let code = if is_rust(&path) { blank(&text) } else { String::new() };
        Self { path, text, code }
    }

    pub(super) fn is_rust(&self) -> bool {
        is_rust(&self.path)
    }

    /// Whether a byte offset lies in code that only tests see.
    pub(super) fn is_test_at(&self, offset: usize) -> bool {
        let name = self.path.rsplit('/').next().unwrap_or_default();
        self.path.contains("/tests/")
            || self.path.starts_with("crates/testkit/")
            || matches!(name, "tests.rs" | "vectors.rs")
            || name.ends_with("_tests.rs")
            || self.code.find("#[cfg(test)]").is_some_and(|start| start < offset)
    }

    /// The line (from 1) of a byte offset.
    pub(super) fn line_of(&self, offset: usize) -> usize {
        self.text[..offset].matches('\n').count() + 1
    }
}

/// Neither ours nor written by hand.
const SKIPPED_FOLDERS: [&str; 4] = ["target", "var", ".git", ".claude"];
const KINDS: [&str; 11] =
    ["rs", "toml", "sql", "sh", "md", "json", "yml", "yaml", "cedar", "cedarschema", "txt"];

/// Every text file of ours, sorted.
pub(super) fn collect(repository: &Path) -> std::io::Result<Vec<SourceFile>> {
    let mut files = Vec::new();
    walk(repository, repository, &mut files)?;
    files.sort_by(|left, right| left.path.cmp(&right.path));
    Ok(files)
}

fn walk(repository: &Path, folder: &Path, files: &mut Vec<SourceFile>) -> std::io::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let (path, name) = (entry.path(), entry.file_name());
        let name = name.to_string_lossy();
        if entry.file_type()?.is_dir() {
            if !SKIPPED_FOLDERS.contains(&name.as_ref()) {
                walk(repository, &path, files)?;
            }
            continue;
        }
        let script = [".ci", "scripts"].iter().any(|name| folder == repository.join(name));
        let known = path.extension().is_some_and(|kind| KINDS.iter().any(|known| kind == *known));
        if !(known || script && path.extension().is_none()) {
            continue;
        }
        let relative = path.strip_prefix(repository).unwrap_or(&path);
        let text = String::from_utf8_lossy(&std::fs::read(&path)?).into_owned();
        files.push(SourceFile::new(relative.to_string_lossy().replace('\\', "/"), text));
    }
    Ok(())
}

fn is_rust(path: &str) -> bool {
    Path::new(path).extension().is_some_and(|kind| kind == "rs")
}

/// What the scanner is inside of.
#[derive(Clone, Copy)]
enum Inside {
    Code,
    LineComment,
    BlockComment(usize),
    Text,
    RawText(usize),
}

/// `text` with comments and the insides of literals replaced by spaces.
pub(super) fn blank(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut code = Vec::with_capacity(bytes.len());
    let mut inside = Inside::Code;
    let mut at = 0;
    while at < bytes.len() {
        let rest = &bytes[at..];
        let (length, keep, next) =
            step(rest, at.checked_sub(1).map(|before| bytes[before]), inside);
        inside = next;
        let length = length.min(rest.len());
        code.extend(
            rest[..length].iter().map(|&byte| if keep || byte == b'\n' { byte } else { b' ' }),
        );
        at += length;
    }
    String::from_utf8(code).unwrap_or_default()
}

/// How many bytes to take, whether they are code, and what follows.
fn step(rest: &[u8], before: Option<u8>, inside: Inside) -> (usize, bool, Inside) {
    match inside {
        Inside::Code => in_code(rest, before),
        Inside::LineComment if rest[0] == b'\n' => (1, true, Inside::Code),
        Inside::LineComment => (1, false, Inside::LineComment),
        Inside::BlockComment(depth) if rest.starts_with(b"*/") => {
            (2, false, if depth == 1 { Inside::Code } else { Inside::BlockComment(depth - 1) })
        }
        Inside::BlockComment(depth) if rest.starts_with(b"/*") => {
            (2, false, Inside::BlockComment(depth + 1))
        }
        Inside::BlockComment(depth) => (1, false, Inside::BlockComment(depth)),
        Inside::Text if rest[0] == b'\\' => (2, false, Inside::Text),
        Inside::Text if rest[0] == b'"' => (1, true, Inside::Code),
        Inside::Text => (1, false, Inside::Text),
        Inside::RawText(hashes) => {
            let ends = rest[0] == b'"'
                && rest[1..].iter().take_while(|&&byte| byte == b'#').count() >= hashes;
            if ends {
                (1 + hashes, true, Inside::Code)
            } else {
                (1, false, Inside::RawText(hashes))
            }
        }
    }
}

fn in_code(rest: &[u8], before: Option<u8>) -> (usize, bool, Inside) {
    let after_word = before.is_some_and(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    if rest.starts_with(b"//") {
        return (2, false, Inside::LineComment);
    }
    if rest.starts_with(b"/*") {
        return (2, false, Inside::BlockComment(1));
    }
    if rest[0] == b'"' {
        return (1, true, Inside::Text);
    }
    if !after_word && let Some((length, hashes)) = raw_start(rest) {
        return (length, true, Inside::RawText(hashes));
    }
    // A character, not a lifetime.
    if rest[0] == b'\'' {
        if rest.get(1) == Some(&b'\\') {
            let end = rest.iter().skip(3).position(|&byte| byte == b'\'').map_or(1, |at| at + 4);
            return (end, false, Inside::Code);
        }
        let width = rest.get(1).map_or(1, |&byte| character_width(byte));
        if rest.get(1 + width) == Some(&b'\'') {
            return (2 + width, false, Inside::Code);
        }
    }
    (1, true, Inside::Code)
}

/// Length of `r#"` and the like, and how many `#` it has.
fn raw_start(rest: &[u8]) -> Option<(usize, usize)> {
    let prefix =
        [&b"br"[..], b"cr", b"r"].into_iter().find(|prefix| rest.starts_with(prefix))?.len();
    let hashes = rest[prefix..].iter().take_while(|&&byte| byte == b'#').count();
    (rest.get(prefix + hashes) == Some(&b'"')).then_some((prefix + hashes + 1, hashes))
}

fn character_width(first: u8) -> usize {
    match first {
        0..=0x7f => 1,
        0x80..=0xdf => 2,
        0xe0..=0xef => 3,
        _ => 4,
    }
}
