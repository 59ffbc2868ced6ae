//! Every statement of `queries/` is prepared as the role that runs it: it parses,
//! its tables and columns exist, its parameters are typed, and the role may.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use testkit::{TestDatabase, connect};

fn files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files(&path, found);
        } else if path.extension().is_some_and(|kind| kind == "sql") {
            found.push(path);
        }
    }
}

#[tokio::test]
async fn every_statement_can_be_prepared_by_its_role() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../queries");
    let mut paths = Vec::new();
    files(Path::new(folder), &mut paths);
    paths.sort();
    let database = TestDatabase::create().await;
    let mut clients = BTreeMap::new();
    for role in ["app", "sealer", "owner", "auditor"] {
        clients.insert(role, connect(&database.url_as(&format!("strongroom_{role}"))).await);
    }
    let mut faults = Vec::new();
    let mut prepared = 0;
    for path in paths {
        let text = std::fs::read_to_string(&path).unwrap();
        for statement in tenancy::sql::statements(&text) {
            let place = format!("{}: {} @{}", path.display(), statement.name, statement.role);
            let Some(client) = clients.get(statement.role) else {
                faults.push(format!("{place}: no such role"));
                continue;
            };
            prepared += 1;
            if let Err(error) = client.prepare(statement.text).await {
                let words =
                    error.as_db_error().map_or_else(|| error.to_string(), ToString::to_string);
                faults.push(format!("{place}: {words}"));
            }
        }
    }
    assert!(prepared > 50, "only {prepared} statements");
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}
