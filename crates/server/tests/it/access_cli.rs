//! `strongroom access` from outside: no database, no configuration, answers that a script
//! can act on.

use std::path::Path;
use std::process::Output;

use serde_json::Value;

use crate::cli::strongroom;

fn access(folder: &Path, arguments: &[&str]) -> Output {
    strongroom(folder).arg("access").args(arguments).args(["-o", "json"]).output().unwrap()
}

fn json(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap()
}

/// A copy of the policies, with what is added to one file.
fn policies(folder: &Path, file: &str, added: &str) {
    let ours = concat!(env!("CARGO_MANIFEST_DIR"), "/../../policies");
    for entry in std::fs::read_dir(ours).unwrap() {
        let path = entry.unwrap().path();
        let mut text = std::fs::read_to_string(&path).unwrap();
        if path.ends_with(file) {
            text.push_str(added);
        }
        std::fs::write(folder.join(path.file_name().unwrap()), text).unwrap();
    }
}

#[test]
fn the_matrix_has_every_permission_and_role() {
    let folder = tempfile::tempdir().unwrap();
    for blueprint in ["core-bank", "credit-risk", "platform"] {
        let output = access(folder.path(), &["matrix", "--blueprint", blueprint]);
        assert_eq!(output.status.code(), Some(0));
        let rows = json(&output);
        let roles = blueprint.parse::<::access::Blueprint>().unwrap().roles();
        assert_eq!(rows.as_array().unwrap().len(), ::access::Permission::ALL.len());
        for row in rows.as_array().unwrap() {
            let cells = row["roles"].as_object().unwrap();
            assert!(
                cells.len() == roles.len() && roles.iter().all(|role| cells[*role].is_string())
            );
        }
    }
    let unknown = access(folder.path(), &["matrix", "--blueprint", "pirate-bank"]);
    assert_eq!(unknown.status.code(), Some(2));
}

#[test]
fn a_difference_that_widens_ends_with_one() {
    let wider = r#"@id("test/wider") permit (
        principal in Role::"auditor", action == Action::"account:update", resource);"#;
    let narrower = r#"@id("test/narrower") forbid (
        principal in Role::"officer", action == Action::"account:read", resource
    ) when { resource.held };"#;
    let table: [(&str, i32, &[(&str, &str, &str, &str, &str)]); 3] = [
        ("", 0, &[]),
        // Prohibitions bind the newcomer as everybody else.
        (wider, 1, &[("core-bank", "account:update", "auditor", "·", "yes !held !own")]),
        (narrower, 0, &[("core-bank", "account:read", "officer", "yes", "yes !held")]),
    ];
    for (added, code, expected) in table {
        let folder = tempfile::tempdir().unwrap();
        policies(folder.path(), "core-bank.cedar", added);
        let output =
            access(folder.path(), &["diff", "--policies", ".", "--blueprint", "core-bank"]);
        assert_eq!(output.status.code(), Some(code), "{added}");
        let told = json(&output);
        let cells: Vec<_> = (told.as_array().unwrap().iter())
            .map(|cell| {
                let text = |name: &str| cell[name].as_str().unwrap();
                (text("blueprint"), text("permission"), text("role"), text("old"), text("new"))
            })
            .collect();
        assert_eq!(cells, expected, "{added}");
    }
    // Whoever shares the file is compared as well.
    let folder = tempfile::tempdir().unwrap();
    policies(folder.path(), "core-bank.cedar", wider);
    let told = json(&access(folder.path(), &["diff", "--policies", "."]));
    let blueprints: Vec<_> =
        told.as_array().unwrap().iter().map(|cell| cell["blueprint"].as_str().unwrap()).collect();
    assert_eq!(blueprints, ["core-bank", "standard"]);
}

#[test]
fn policies_that_are_missing_or_wrong_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let output = access(folder.path(), &["diff", "--policies", "."]);
    let told = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(70));
    assert!(told.contains("cannot read ./every-tenant.cedar"), "{told}");
    policies(folder.path(), "platform.cedar", "permit (");
    let output = access(folder.path(), &["diff", "--policies", "."]);
    let told = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(70));
    assert!(told.contains("policies of platform"), "{told}");
    policies(folder.path(), "core-bank.cedar", "permit (principal, action, resource);");
    let output = access(folder.path(), &["diff", "--policies", "."]);
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(told.contains("bears no @id"), "{told}");
}

#[test]
fn a_decision_is_explained_and_ends_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let table: [(&[&str], i32, &str, &str); 5] = [
        (&["account:read", "--role", "officer"], 0, "allow", "[]"),
        (&["account:read", "--role", "customer", "--object", "own"], 0, "allow", "[]"),
        (&["account:read", "--role", "customer"], 1, "deny", r#"["an object of theirs: own"]"#),
        (
            &["transaction:deposit", "--role", "officer", "--object", "held"],
            1,
            "deny",
            r#"["an object that is not: held"]"#,
        ),
        // Two roles unite.
        (&["account:update", "--role", "customer", "--role", "officer"], 0, "allow", "[]"),
    ];
    for (arguments, code, decision, missing) in table {
        let output = access(folder.path(), &[&["explain"], arguments].concat());
        assert_eq!(output.status.code(), Some(code), "{arguments:?}");
        let told = json(&output);
        assert_eq!(told["decision"], decision, "{arguments:?}");
        assert_eq!(told["missing"].to_string(), missing, "{arguments:?}");
        assert_eq!(told["policies"].as_array().unwrap().is_empty(), missing.contains("theirs"));
    }
    for wrong in [
        &["explain", "account:read", "--role", "pirate"][..],
        &["explain", "account:steal", "--role", "officer"],
        &["explain", "account:read"],
    ] {
        assert_eq!(access(folder.path(), wrong).status.code(), Some(2), "{wrong:?}");
    }
}
