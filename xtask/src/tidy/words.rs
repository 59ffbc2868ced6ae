//! Owns the words that may not stand in a source, each with its reason. They are
//! spelled in halves here, or this file would be the first to be found.

use super::Finding;
use super::source::SourceFile;

struct Word {
    text: &'static str,
    /// Where it counts.
    place: Place,
    reason: &'static str,
}

#[derive(PartialEq)]
enum Place {
    /// In Rust code, comments and literals aside.
    Code,
    /// In Rust code that is not a test's.
    ProductCode,
    /// Anywhere in any file.
    Anywhere,
}

const WORDS: [Word; 13] = [
    Word {
        text: concat!("TO", "DO"),
        place: Place::Anywhere,
        reason: "finish it, or open an issue",
    },
    Word {
        text: concat!("FIX", "ME"),
        place: Place::Anywhere,
        reason: "mend it, or open an issue",
    },
    Word { text: concat!("XX", "X"), place: Place::Anywhere, reason: "say what is meant" },
    Word {
        text: concat!("lorem ", "ipsum"),
        place: Place::Anywhere,
        reason: "write the real text",
    },
    Word { text: concat!("white", "list"), place: Place::Anywhere, reason: "say allow-list" },
    Word { text: concat!("black", "list"), place: Place::Anywhere, reason: "say block-list" },
    Word { text: concat!("/wo", "rk/"), place: Place::Anywhere, reason: "a path of one machine" },
    Word { text: "dbg!", place: Place::Code, reason: "left over from debugging" },
    Word { text: "todo!", place: Place::Code, reason: "finish it" },
    Word { text: "unimplemented!", place: Place::Code, reason: "finish it" },
    Word {
        text: "println!",
        place: Place::ProductCode,
        reason: "use tracing, or the command line's output",
    },
    Word {
        text: "print!",
        place: Place::ProductCode,
        reason: "use tracing, or the command line's output",
    },
    Word {
        text: "eprintln!",
        place: Place::ProductCode,
        reason: "use tracing, or the command line's output",
    },
];

/// Files that speak to a terminal or to cargo by their nature.
const MAY_PRINT: [(&str, &str); 4] = [
    (
        "crates/server/src/cli/import.rs",
        "names bad lines on standard error, one by one, as it meets them",
    ),
    ("build.rs", "talks to cargo by printing"),
    ("xtask/src/main.rs", "a tool of the repository, not of the product"),
    ("crates/testkit/src/bin/test-cluster.rs", "a tool of the tests"),
];

/// Files that name a forbidden word to forbid it.
const NAMES_THE_RULE: [&str; 1] = ["STYLE.md"];

pub(super) fn check(files: &[SourceFile]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in files.iter().filter(|file| !NAMES_THE_RULE.contains(&file.path.as_str())) {
        for word in &WORDS {
            let text = if word.place == Place::Anywhere { &file.text } else { &file.code };
            if word.place == Place::ProductCode
                && MAY_PRINT.iter().any(|(path, _)| file.path.ends_with(path))
            {
                continue;
            }
            for (offset, _) in text.match_indices(word.text) {
                if is_whole(text, offset, word.text)
                    && !(word.place == Place::ProductCode && file.is_test_at(offset))
                {
                    let message = format!("`{}`: {}", word.text, word.reason);
                    findings.push(Finding::new(&file.path, file.line_of(offset), message));
                }
            }
        }
    }
    findings
}

fn is_whole(text: &str, offset: usize, word: &str) -> bool {
    let joins = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    let bytes = text.as_bytes();
    let before = offset.checked_sub(1).map(|before| bytes[before]);
    let after = bytes.get(offset + word.len()).copied();
    let starts = !before.is_some_and(joins) || !joins(word.as_bytes()[0]);
    let ends = !after.is_some_and(joins) || !word.bytes().last().is_some_and(joins);
    starts && ends
}
