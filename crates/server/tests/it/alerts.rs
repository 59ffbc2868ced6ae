//! The alert rules that operators load, held against the code: a rule on a metric that
//! nothing emits never fires.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// What Prometheus makes of a histogram's name.
const OF_HISTOGRAMS: [&str; 3] = ["_bucket", "_sum", "_count"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn rules() -> String {
    std::fs::read_to_string(root().join("ops/alerts/strongroom.rules.yaml")).unwrap()
}

fn sources(folder: &Path, texts: &mut Vec<String>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, texts);
        } else if path.extension().is_some_and(|kind| kind == "rs") {
            texts.push(std::fs::read_to_string(path).unwrap());
        }
    }
}

/// The metrics that the code emits, histograms apart.
fn emitted() -> (BTreeSet<String>, BTreeSet<String>) {
    let mut texts = Vec::new();
    for member in std::fs::read_dir(root().join("crates")).unwrap() {
        let folder = member.unwrap().path().join("src");
        if folder.is_dir() {
            sources(&folder, &mut texts);
        }
    }
    let named = |text: &str, macro_name: &str| -> Vec<String> {
        let opening = format!("{macro_name}!(");
        let calls = text.split(opening.as_str()).skip(1);
        calls
            .filter_map(|rest| rest.trim_start().strip_prefix('"')?.split_once('"'))
            .map(|(name, _)| name.to_owned())
            .collect()
    };
    let all = |macro_name: &str| texts.iter().flat_map(|text| named(text, macro_name)).collect();
    let (mut plain, gauges, histograms): (BTreeSet<_>, BTreeSet<_>, BTreeSet<_>) =
        (all("counter"), all("gauge"), all("histogram"));
    plain.extend(gauges);
    (plain, histograms)
}

/// The metrics that an expression names: words with an underscore that are neither
/// functions (a parenthesis follows) nor labels (a brace or parenthesis is open before).
fn metrics_of(expression: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut rest = expression;
    while let Some(start) = rest.find(|letter: char| letter.is_ascii_alphabetic()) {
        let word = &rest[start..];
        let end = word
            .find(|letter: char| !(letter.is_ascii_alphanumeric() || letter == '_'))
            .unwrap_or(word.len());
        let (name, behind) = word.split_at(end);
        if name.contains('_') {
            found.push(name.to_owned());
        }
        // Matchers hold labels and texts.
        rest = match behind.strip_prefix('{') {
            Some(matchers) => matchers.split_once('}').map_or("", |(_, rest)| rest),
            None => behind,
        };
    }
    found
}

#[test]
fn every_metric_of_a_rule_is_emitted() {
    let (plain, histograms) = emitted();
    assert!(plain.len() > 8 && !histograms.is_empty(), "{plain:?} {histograms:?}");
    let mut seen = BTreeSet::new();
    for line in rules().lines() {
        let Some(expression) = line.trim().strip_prefix("expr: ") else { continue };
        let metrics = metrics_of(expression);
        assert!(!metrics.is_empty(), "{expression} names no metric");
        for metric in metrics {
            let of_histogram = OF_HISTOGRAMS.iter().any(|suffix| {
                metric.strip_suffix(suffix).is_some_and(|name| histograms.contains(name))
            });
            assert!(plain.contains(&metric) || of_histogram, "nothing emits {metric}");
            seen.insert(metric);
        }
    }
    for proof in ["ok", "last_success_timestamp_seconds", "period_seconds"] {
        assert!(
            seen.contains(&format!("strongroom_ledger_proof_{proof}")),
            "{proof} alarms nobody"
        );
    }
}

#[test]
fn every_rule_says_what_to_do() {
    let rules = rules();
    assert!(!rules.contains('\t'), "YAML knows no tabs");
    let blocks: Vec<&str> = rules.split("- alert: ").skip(1).collect();
    let mut names = BTreeSet::new();
    for block in &blocks {
        let name = block.lines().next().unwrap();
        assert!(names.insert(name), "{name} twice");
        for part in ["expr: ", "severity: ", "summary: ", "description: "] {
            let lines = block.lines().filter(|line| line.trim().starts_with(part.trim_end()));
            assert_eq!(lines.count(), 1, "{name}: {part}");
        }
        let severity = block.lines().find_map(|line| line.trim().strip_prefix("severity: "));
        assert!(matches!(severity, Some("critical" | "warning")), "{name}: {severity:?}");
    }
    assert!(blocks.len() >= 8);
}

#[test]
fn expressions_are_taken_apart() {
    let expression = r#"sum(rate(a_count{status=~"5.._x"}[5m])) / max(b_c) > 3 * time()"#;
    assert_eq!(metrics_of(expression), ["a_count", "b_c"]);
}
