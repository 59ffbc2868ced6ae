//! Owns the direction of imports: who may know whom. It reads the manifests, not
//! the code: what is not a dependency cannot be imported.

use std::collections::BTreeSet;

use super::Finding;
use super::source::SourceFile;

/// A crate and what it may depend on, lowest first. A domain may know another
/// domain only where it stands here.
const MAY_IMPORT: &[(&str, &[&str])] = &[
    ("money", &[]),
    ("vault", &[]),
    ("cluster", &[]),
    ("outward", &[]),
    ("tenancy", &["money", "vault"]),
    ("access", &["tenancy"]),
    ("audit", &["outward", "tenancy", "vault"]),
    ("events", &["audit", "tenancy"]),
    ("hotstate", &["tenancy", "vault"]),
    ("operation", &["access", "audit", "events", "hotstate", "tenancy", "vault"]),
    ("secrets", &["outward", "vault"]),
    ("notify", &["access", "audit", "operation", "outward", "tenancy", "vault"]),
    ("webhooks", &["access", "audit", "events", "operation", "outward", "tenancy", "vault"]),
    ("approvals", &["audit", "money", "operation", "tenancy", "vault"]),
    (
        "identity",
        &[
            "access",
            "approvals",
            "audit",
            "hotstate",
            "money",
            "notify",
            "operation",
            "tenancy",
            "vault",
        ],
    ),
    ("ledger", &["access", "audit", "hotstate", "money", "operation", "tenancy", "vault"]),
    (
        "banking",
        &[
            "access",
            "approvals",
            "audit",
            "hotstate",
            "ledger",
            "money",
            "operation",
            "tenancy",
            "vault",
        ],
    ),
    ("explain", &["access", "banking", "identity", "operation", "tenancy"]),
    (
        "api",
        &[
            "access",
            "approvals",
            "audit",
            "banking",
            "events",
            "explain",
            "hotstate",
            "identity",
            "ledger",
            "money",
            "notify",
            "operation",
            "tenancy",
            "vault",
            "webhooks",
        ],
    ),
    (
        "bench",
        &[
            "access",
            "api",
            "audit",
            "banking",
            "cluster",
            "hotstate",
            "identity",
            "ledger",
            "money",
            "notify",
            "operation",
            "tenancy",
            "vault",
        ],
    ),
    (
        "console",
        &[
            "access",
            "approvals",
            "audit",
            "banking",
            "explain",
            "hotstate",
            "identity",
            "ledger",
            "money",
            "notify",
            "operation",
            "tenancy",
            "vault",
            "webhooks",
        ],
    ),
    (
        "bench",
        &[
            "access",
            "api",
            "audit",
            "banking",
            "cluster",
            "hotstate",
            "identity",
            "ledger",
            "money",
            "notify",
            "operation",
            "tenancy",
            "vault",
        ],
    ),
    (
        "server",
        &[
            "access",
            "api",
            "audit",
            "banking",
            "bench",
            "cluster",
            "console",
            "events",
            "explain",
            "hotstate",
            "identity",
            "ledger",
            "money",
            "notify",
            "operation",
            "outward",
            "secrets",
            "tenancy",
            "vault",
            "webhooks",
        ],
    ),
    ("testkit", &["cluster", "tenancy"]),
    ("xtask", &[]),
];

/// Third-party crates that only some of ours may know.
const CONFINED: &[(&str, &[&str], &str)] = &[
    ("axum", &["api", "bench", "console", "server"], "domains know no HTTP"),
    ("tower-http", &["api", "console", "server"], "domains know no HTTP"),
    (
        "hyper",
        &["notify", "outward", "secrets", "server", "webhooks"],
        "only the composition root listens; outward connects, and three say what is asked",
    ),
    ("lettre", &["notify"], "mail leaves the house through one door"),
    ("bcrypt", &["vault", "bench"], "all cryptography is the vault's; bench measures beside it"),
    (
        "aws-lc-rs",
        &["vault", "tenancy", "bench", "testkit"],
        "all cryptography is the vault's; tenancy checksums migrations, bench measures beside it, testkit plays authenticators",
    ),
    ("cedar-policy", &["access"], "the policy engine has one owner"),
    ("deadpool-postgres", &["tenancy"], "the pool has one owner"),
    ("anyhow", &["bench", "server"], "libraries name their errors"),
    ("clap", &["server"], "the command line belongs to the composition root"),
];

/// May be a development dependency of anything above `tenancy`, and a dependency of nothing.
const DEVELOPMENT_ONLY: &str = "testkit";

pub(super) fn check(files: &[SourceFile]) -> Vec<Finding> {
    let manifests = files.iter().filter_map(|file| {
        let folder = file.path.strip_suffix("/Cargo.toml")?;
        Some((folder.rsplit('/').next()?, file))
    });
    let ours: BTreeSet<&str> = MAY_IMPORT.iter().map(|(name, _)| *name).collect();
    manifests.flat_map(|(name, file)| check_manifest(name, file, &ours)).collect()
}

fn check_manifest(name: &str, file: &SourceFile, ours: &BTreeSet<&str>) -> Vec<Finding> {
    let complain = |line, message: String| Finding::new(&file.path, line, message);
    let Some((_, allowed)) = MAY_IMPORT.iter().find(|(known, _)| *known == name) else {
        return vec![complain(
            0,
            format!("crate `{name}` has no place in the map of imports (xtask)"),
        )];
    };
    let Ok(manifest) = file.text.parse::<toml::Table>() else {
        return vec![complain(0, "not a manifest".to_owned())];
    };
    let mut findings = Vec::new();
    for dependency in names(&manifest, "dependencies") {
        let line = line_of(file, &dependency);
        if ours.contains(dependency.as_str()) && !allowed.contains(&dependency.as_str()) {
            findings.push(complain(line, format!("`{name}` may not know `{dependency}`")));
        }
        if let Some((_, users, reason)) =
            CONFINED.iter().find(|(confined, ..)| *confined == dependency)
            && !users.contains(&name)
        {
            findings.push(complain(line, format!("`{dependency}` is not for `{name}`: {reason}")));
        }
    }
    for dependency in names(&manifest, "dev-dependencies") {
        let allowed = allowed.contains(&dependency.as_str()) || dependency == DEVELOPMENT_ONLY;
        if ours.contains(dependency.as_str()) && !allowed {
            let message = format!("the tests of `{name}` may not know `{dependency}`");
            findings.push(complain(line_of(file, &dependency), message));
        }
    }
    findings
}

fn names(manifest: &toml::Table, section: &str) -> Vec<String> {
    manifest
        .get(section)
        .and_then(toml::Value::as_table)
        .map(|table| table.keys().cloned().collect())
        .unwrap_or_default()
}

fn line_of(file: &SourceFile, dependency: &str) -> usize {
    file.text
        .lines()
        .position(|line| {
            line.strip_prefix(dependency).is_some_and(|rest| rest.starts_with(['.', ' ', '=']))
        })
        .map_or(0, |index| index + 1)
}
