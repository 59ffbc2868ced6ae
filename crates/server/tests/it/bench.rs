//! `strongroom bench` from outside: what it lists, what a row says, and how it ends.
//! No test here looks at a time.

use serde_json::Value;

use crate::cli::strongroom;

fn run(arguments: &[&str]) -> (Option<i32>, Value, String) {
    let folder = tempfile::tempdir().unwrap();
    let output = strongroom(folder.path()).arg("bench").args(arguments).output().unwrap();
    let complaint = String::from_utf8(output.stderr).unwrap();
    let answer = serde_json::from_slice(&output.stdout).unwrap_or(Value::Null);
    (output.status.code(), answer, complaint)
}

#[test]
fn the_list_holds_every_row_of_the_specification_with_its_goal() {
    let (code, listed, _) = run(&["--list", "-o", "json"]);
    assert_eq!(code, Some(0));
    let goals: Vec<(String, String, f64)> = listed
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| {
            let goal = &entry["goal"];
            let text = |value: &Value| value.as_str().unwrap().to_owned();
            (text(&entry["name"]), text(&goal["comparison"]), goal["value"].as_f64().unwrap())
        })
        .collect();
    let table = [
        ("read-account", "at_least", 0.85),
        ("transfer-single", "at_least", 1.0),
        ("transfer-batch", "at_least", 3.0),
        ("hot-account", "at_least", 0.7),
        ("login", "at_least", 0.95),
        ("reads-under-login-flood", "at_most", 2.0),
        ("token-cached", "at_least", 20.0),
        ("token-uncached", "at_least", 0.9),
        ("cedar", "at_most", 15.0),
        ("cedar-custom", "at_most", 15.0),
        ("argon2id", "reported", 0.0),
        ("enumeration-login", "reported", 0.0),
        ("enumeration-forgot", "reported", 0.0),
        ("enumeration-sign-up", "reported", 0.0),
        ("session-validation", "at_most", 2.5),
        ("mfa-verification", "at_most", 10.0),
        ("connections", "at_least", 1_000.0),
        ("refresh", "at_least", 2_000.0),
        ("introspection", "at_least", 20_000.0),
        ("audit-append", "at_least", 0.8),
        ("audit-verify", "at_least", 1e6),
        ("audit-verify-database", "reported", 0.0),
        ("seal", "at_most", 3.0),
        ("open", "at_most", 3.0),
        ("memory-idle", "at_most", 60.0),
        ("memory-busy", "at_most", 150.0),
        ("start", "at_most", 300.0),
    ];
    for (name, comparison, value) in table {
        let wanted = (name.to_owned(), comparison.to_owned(), value);
        assert!(goals.contains(&wanted), "{wanted:?} in {goals:?}");
    }
    assert_eq!(goals.len(), table.len());
}

#[test]
fn a_row_runs_end_to_end_and_its_verdict_is_the_exit_code() {
    let (code, report, complaint) = run(&["seal", "--quick", "-o", "json"]);
    let rows = report["rows"].as_array().unwrap_or_else(|| panic!("{complaint}"));
    let [row] = rows.as_slice() else { panic!("one row was asked for: {rows:?}") };
    assert_eq!(row["name"], "seal");
    let [ratio, measured, limit] =
        ["ratio", "measured", "limit"].map(|name| row[name].as_f64().unwrap());
    assert!(ratio > 0.0 && measured > 0.0 && limit > 0.0, "{row}");
    assert!(row["rounds"].as_u64().unwrap() > 1 && row["error"].is_null(), "{row}");
    // Whether this build is fast enough is not the test's affair; that it says so is.
    let passed = ratio <= row["goal"]["value"].as_f64().unwrap() / 0.85;
    assert_eq!(row["passed"], passed);
    assert_eq!(code, Some(i32::from(!passed)), "{complaint}");
    assert!(report["machine"]["cores"].as_u64().unwrap() > 0 && report["quick"] == true);
}

#[test]
fn an_unknown_name_is_a_wrong_command_line() {
    let (code, _, complaint) = run(&["nothing"]);
    assert_eq!(code, Some(2), "{complaint}");
    assert!(complaint.contains("nothing"), "{complaint}");
}
