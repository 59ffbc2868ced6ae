//! Owns the search for secrets in sources: known shapes, and long strings too
//! random to be words. What only looks like one is on a list, with the reason.

use super::Finding;
use super::source::SourceFile;

/// How a known kind of secret begins, and how many of its own characters follow.
const SHAPES: &[(&str, usize, &str)] = &[
    (concat!("AK", "IA"), 16, "an AWS access key"),
    (concat!("gh", "p_"), 36, "a GitHub token"),
    (concat!("github_", "pat_"), 40, "a GitHub token"),
    (concat!("xo", "xb-"), 20, "a Slack token"),
    (concat!("sk_", "live_"), 16, "a Stripe key"),
    (concat!("AI", "za"), 35, "a Google key"),
    (concat!("ey", "J"), 60, "a JSON web token"),
];

const PRIVATE_KEY: &str = concat!("PRIVATE", " KEY-----");

/// Files whose long strings are no secrets.
const NO_SECRETS: &[(&str, &str)] = &[
    ("/golden/", "golden files: the product's own published output"),
    ("/snapshots/", "snapshots: the product's own published output"),
    ("vectors.rs", "published test vectors"),
    ("golden.rs", "fixed inputs and outputs of tests, made up for them"),
    ("tests.rs", "fixed inputs of tests, made up for them"),
    ("/tests/", "fixed inputs of tests, made up for them"),
    ("crates/testkit/", "fixed inputs of tests, made up for them"),
];

/// Single strings outside those files.
const NOT_A_SECRET: &[(&str, &str)] = &[
    ("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789", "an alphabet"),
    ("11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo", "the public key of RFC 8037, appendix A"),
    ("kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k", "its thumbprint, of the same appendix"),
];

/// Below this many characters a word may be as random as a key.
const LENGTH_MIN: usize = 32;
/// Bits a character; a random base64 key of 32 bytes has about 4.8, English and
/// identifiers below 4.2.
const ENTROPY_MIN: f64 = 4.3;
/// Random hexadecimal digits have nearly 4 bits each, and no other letters.
const HEXADECIMAL_ENTROPY_MIN: f64 = 3.3;

pub(super) fn check(files: &[SourceFile]) -> Vec<Finding> {
    files.iter().flat_map(check_one).collect()
}

fn check_one(file: &SourceFile) -> Vec<Finding> {
    let listed = NO_SECRETS.iter().any(|(part, _)| file.path.contains(part));
    let mut findings = Vec::new();
    for (index, line) in file.text.lines().enumerate() {
        if line.contains("-----BEGIN ") && line.contains(PRIVATE_KEY) {
            findings.push(Finding::new(&file.path, index + 1, "a private key"));
        }
        if listed || NOT_A_SECRET.iter().any(|(text, _)| line.contains(text)) {
            continue;
        }
        // Code below this mark is a test's: its keys are made up.
        if line.trim() == "#[cfg(test)]" {
            break;
        }
        if let Some(what) = words(line).find_map(suspicion) {
            let message =
                format!("looks like {what}; if it is none, list it in xtask with the reason");
            findings.push(Finding::new(&file.path, index + 1, message));
        }
    }
    findings
}

fn words(line: &str) -> impl Iterator<Item = &str> {
    line.split(|letter: char| !(letter.is_ascii_alphanumeric() || "+/=_-".contains(letter)))
}

fn suspicion(word: &str) -> Option<&'static str> {
    for (start, length, what) in SHAPES {
        if word.strip_prefix(start).is_some_and(|rest| rest.len() >= *length) {
            return Some(what);
        }
    }
    if word.len() < LENGTH_MIN {
        return None;
    }
    let hexadecimal = word.bytes().all(|byte| byte.is_ascii_hexdigit());
    if hexadecimal {
        return (entropy_bits(word) >= HEXADECIMAL_ENTROPY_MIN).then_some("a key in hexadecimal");
    }
    let mixed = [u8::is_ascii_uppercase, u8::is_ascii_lowercase, u8::is_ascii_digit]
        .iter()
        .all(|is| word.as_bytes().iter().any(is));
    (mixed && entropy_bits(word) >= ENTROPY_MIN).then_some("a key in base64")
}

/// Shannon entropy in bits a character.
#[expect(clippy::cast_precision_loss, reason = "a few hundred characters at most")]
fn entropy_bits(word: &str) -> f64 {
    let mut counts = [0_u32; 256];
    word.bytes().for_each(|byte| counts[usize::from(byte)] += 1);
    let length = word.len() as f64;
    counts
        .iter()
        .filter(|&&count| count > 0)
        .map(|&count| f64::from(count) / length)
        .map(|share| -share * share.log2())
        .sum()
}
