//! The golden matrices: any change of who may do what is a reviewed diff of these files.
//! `UPDATE_GOLDEN=1` rewrites them.

use std::path::Path;

use super::POLICIES;
use crate::Blueprint;

#[test]
#[allow(clippy::disallowed_methods, reason = "the switch of a developer, not configuration")]
fn the_matrices_are_the_golden_ones() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("golden");
    let rewrite = std::env::var_os("UPDATE_GOLDEN").is_some_and(|value| value == "1");
    for blueprint in Blueprint::ALL {
        let path = folder.join(format!("{blueprint}.txt"));
        let matrix = POLICIES.matrix(blueprint);
        if rewrite {
            std::fs::write(&path, &matrix).unwrap();
        }
        let golden = std::fs::read_to_string(&path).unwrap_or_default();
        assert_eq!(matrix, golden, "{blueprint}: review, then UPDATE_GOLDEN=1");
    }
}

/// `standard` promises the core-bank matrix with prohibitions on top: never a wider cell.
#[test]
fn standard_is_core_bank_under_prohibitions() {
    let plain = |blueprint| {
        let matrix = POLICIES.matrix(blueprint).replace(" !own", "").replace(" !held", "");
        let lines: Vec<Vec<String>> = matrix
            .lines()
            .skip(1)
            .map(|line| line.split_whitespace().map(str::to_owned).collect())
            .collect();
        lines
    };
    assert_eq!(plain(Blueprint::Standard), plain(Blueprint::CoreBank));
    assert!(POLICIES.matrix(Blueprint::Standard).contains("yes !held !own"));
}
