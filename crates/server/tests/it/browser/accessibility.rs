//! Owns the accessibility check: axe-core with the rules of WCAG 2.0 to 2.2, A and AA,
//! in a world beside the page's, so that the page's policy stays in force. Serious and
//! critical findings fail.

use std::fmt::Write as _;

use serde_json::Value;

use super::page::Page;

const AXE: &str = include_str!("vendor/axe-4.14.1.min.js");
const RUN: &str = r"(async () => {
    const tags = ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa'];
    const { violations } = await axe.run(document, {
        runOnly: { type: 'tag', values: tags }, resultTypes: ['violations'],
    });
    return violations
        .filter(({ impact }) => impact === 'serious' || impact === 'critical')
        .map(({ id, impact, help, nodes }) => ({ id, impact, help, nodes: nodes.map(
            ({ html, target, failureSummary }) => ({ html, target, failureSummary })) }));
})()";
/// Elements shown of each finding.
const SHOWN: usize = 5;

/// # Panics
/// With every serious and critical finding, readably.
pub(crate) async fn assert_accessible(page: &Page) {
    let found = barriers(page).await;
    assert!(found.is_empty(), "{} is not accessible:\n{}", page.url().await, found.join("\n"));
}

/// The serious and critical findings, each in some lines.
pub(super) async fn barriers(page: &Page) -> Vec<String> {
    let found = page.eval_apart(&[AXE, RUN]).await;
    found.as_array().expect("axe answers a list").iter().map(readable).collect()
}

fn readable(barrier: &Value) -> String {
    let word = |name: &str| barrier[name].as_str().unwrap_or_default();
    let nodes = barrier["nodes"].as_array().map(Vec::as_slice).unwrap_or_default();
    let mut lines = format!("{} ({}): {}", word("id"), word("impact"), word("help"));
    for node in nodes.iter().take(SHOWN) {
        let html: String = node["html"].as_str().unwrap_or_default().chars().take(160).collect();
        let summary = node["failureSummary"].as_str().unwrap_or_default().replace('\n', " ");
        write!(lines, "\n    {} {html}\n      {summary}", node["target"]).unwrap();
    }
    if nodes.len() > SHOWN {
        write!(lines, "\n    … and {} more", nodes.len() - SHOWN).unwrap();
    }
    lines
}
