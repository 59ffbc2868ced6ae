//! Each rule is shown to find what it is for; then the repository itself is checked.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use super::source::{SourceFile, blank};
use super::{check, run};

fn findings(files: &[(&str, &str)]) -> Vec<String> {
    let files: Vec<_> = files.iter().map(|(path, text)| SourceFile::new(*path, *text)).collect();
    check(&files).iter().map(ToString::to_string).collect()
}

#[test]
fn the_repository_is_tidy() {
    let found = run(crate::repository()).expect("read the repository");
    let listed: Vec<_> = found.iter().map(ToString::to_string).collect();
    assert!(found.is_empty(), "{} found:\n{}", found.len(), listed.join("\n"));
}

#[test]
fn comments_and_literals_are_no_code() {
    let text = "let a = \"x // \\\" {\"; // { }\nlet b = r#\"\" }\"#; /* { /* } */ */ let c = '{'; let d: &'a str;";
    let code = blank(text);
    assert_eq!(code.len(), text.len());
    assert!(!code.contains(['{', '}']), "{code}");
    assert!(code.contains("let c =") && code.contains("let d: &'a str;"), "{code}");
}

#[test]
fn each_rule_finds_its_breach() {
    let long_function =
        format!("//! What it is for.\nfn long() {{\n{}}}\n", "    work();\n".repeat(71));
    let long_file = format!("//! What it is for.\n{}", "const A: u8 = 1;\n".repeat(800));
    let token = format!("const A: &str = \"{}{}\";", concat!("gh", "p_"), "a1".repeat(18));
    let key = concat!(
        "const A: &str = \"9f86d081884c7d659a2feaa0",
        "c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08\";"
    );
    let cases: &[(&str, &str, &str)] = &[
        ("crates/a/src/a.rs", "fn main() {}", "opens with `//!`"),
        ("crates/a/src/a.rs", "//! stub\nfn main() {}", "opens with `//!`"),
        ("crates/a/src/a.rs", &long_function, "function `long` has 71 lines"),
        ("crates/a/src/a.rs", &long_file, "801 lines"),
        ("crates/a/src/a.rs", concat!("//! What it is for.\n// TO", "DO later"), "open an issue"),
        ("crates/a/src/a.rs", "//! What it is for.\nfn a() { dbg!(1); }", "left over"),
        ("crates/a/src/a.rs", "//! What it is for.\nfn a() { println!(); }", "use tracing"),
        ("docs/a.md", concat!("see /wo", "rk/somewhere"), "one machine"),
        ("docs/a.md", &token, "a GitHub token"),
        ("crates/a/src/a.rs", &format!("//! What it is for.\n{key}"), "hexadecimal"),
        ("queries/a/b.sql", "--! unused\nSELECT 1;\n", "no Rust file uses statement `unused`"),
        (
            "crates/a/src/a.rs",
            "//! What it is for.\nconst A: &str = tenancy::sql!(\"a.sql\", \"b\");",
            "no statement `b`",
        ),
        ("migrations/0001_a.up.sql", "SELECT 1;", "0001_a.down.sql, is missing"),
        ("crates/unknown/Cargo.toml", "[dependencies]\n", "no place in the map"),
        (
            "crates/vault/Cargo.toml",
            "[dependencies]\ntenancy.workspace = true\n",
            "may not know `tenancy`",
        ),
        (
            "crates/banking/Cargo.toml",
            "[dependencies]\naxum.workspace = true\n",
            "domains know no HTTP",
        ),
        (
            "crates/banking/Cargo.toml",
            "[dependencies]\ntestkit.workspace = true\n",
            "may not know `testkit`",
        ),
    ];
    for (path, text, expected) in cases {
        let found = findings(&[(path, text)]);
        assert!(
            found.iter().any(|finding| finding.contains(expected)),
            "{path} {expected}: {found:?}"
        );
    }
}

#[test]
fn what_is_in_order_is_left_alone() {
    let tidy = "//! What it is for.\n\
        const A: &str = tenancy::sql!(\n    \"a/b.sql\",\n    \"used\"\n);\n\
        fn a() -> &'static str { \"println! dbg!\" }\n\
        #[cfg(test)]\nmod tests {\n    fn b() { println!(\"skipped\"); }\n}\n";
    let table = format!(
        "//! What it is for.\n#[test]\n#[expect(clippy::too_many_lines, reason = \"one table\")]\nfn table() {{\n{}}}\n",
        "    work();\n".repeat(80)
    );
    let files = [
        ("crates/money/src/table.rs", table.as_str()),
        ("crates/money/src/lib.rs", tidy),
        ("queries/a/b.sql", "--! used @sealer\nSELECT 1;\n"),
        ("migrations/0001_a.up.sql", "SELECT 1;"),
        ("migrations/0001_a.down.sql", "SELECT 1;"),
        (
            "crates/ledger/Cargo.toml",
            "[dependencies]\nmoney.workspace = true\n[dev-dependencies]\ntestkit.workspace = true\n",
        ),
    ];
    assert_eq!(findings(&files), Vec::<String>::new());
}
