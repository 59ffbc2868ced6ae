//! The golden tables of routes: who reaches what, by blueprint, permission and role. Any
//! change of the policies or of the route table is a reviewed diff of `golden/`.
//! `UPDATE_GOLDEN=1` rewrites them.
#![allow(clippy::unwrap_used)]

use std::{fmt::Write as _, path::Path};

use access::{Blueprint, Permission, Policies};

use crate::{Access, RouteFacts, route_facts};

/// A header of the roles, then a line for every route: method, path, permission, cells as
/// the policies' own matrix has them.
fn table(policies: &Policies, blueprint: Blueprint) -> String {
    let rows = policies.matrix_rows(blueprint);
    let cells = |permission: Permission| {
        let row = rows.iter().find(|row| row.permission == permission);
        row.map(|row| row.cells.clone()).unwrap()
    };
    let header = [blueprint.as_str(), "", "permission"];
    let header = header.into_iter().chain(blueprint.roles().iter().copied()).map(str::to_owned);
    let line = |route: RouteFacts| {
        let (needs, cells) = match route.access {
            Access::Public(_) => ("public".to_owned(), Vec::new()),
            Access::SignedIn => ("signed in".to_owned(), Vec::new()),
            Access::Needs(permission) => (permission.to_string(), cells(permission)),
            Access::NeedsOne(permissions) => {
                ("one on everything".to_owned(), any(permissions.iter().copied().map(cells)))
            }
        };
        let place = [route.method.to_string(), route.path.to_owned(), needs];
        place.into_iter().chain(cells).collect()
    };
    let lines: Vec<Vec<String>> =
        std::iter::once(header.collect()).chain(route_facts().into_iter().map(line)).collect();
    aligned(&lines)
}

/// Per role, whether any of several rows says yes.
fn any(rows: impl Iterator<Item = Vec<String>>) -> Vec<String> {
    let either = |one: Vec<String>, other: Vec<String>| {
        let cells = one.into_iter().zip(other);
        cells.map(|(one, other)| if one == "yes" { one } else { other }).collect()
    };
    let all: Vec<String> = rows.reduce(either).unwrap_or_default();
    all.into_iter().map(|cell| if cell == "yes" { cell } else { "·".to_owned() }).collect()
}

fn aligned(lines: &[Vec<String>]) -> String {
    let width = |column: usize| {
        let cells = lines.iter().filter_map(|line| line.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let mut text = String::new();
    for line in lines {
        let cells = line.iter().enumerate().fold(String::new(), |mut all, (column, cell)| {
            write!(all, "{cell:width$}  ", width = width(column)).unwrap();
            all
        });
        writeln!(text, "{}", cells.trim_end()).unwrap();
    }
    text
}

#[test]
#[allow(clippy::disallowed_methods, reason = "the switch of a developer, not configuration")]
fn the_golden_tables_of_routes_hold() {
    let policies = Policies::load().unwrap();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("golden");
    let rewrite = std::env::var_os("UPDATE_GOLDEN").is_some_and(|value| value == "1");
    for blueprint in Blueprint::ALL {
        let path = folder.join(format!("{blueprint}.txt"));
        let table = table(&policies, blueprint);
        if rewrite {
            std::fs::create_dir_all(&folder).unwrap();
            std::fs::write(&path, &table).unwrap();
        }
        let golden = std::fs::read_to_string(&path).unwrap_or_default();
        assert_eq!(table, golden, "{blueprint}: review, then UPDATE_GOLDEN=1");
    }
}

/// A permission that a route names and no role of any blueprint has is a route for nobody.
#[test]
fn every_route_is_for_somebody_in_golden_tables() {
    let policies = Policies::load().unwrap();
    for route in route_facts() {
        let Access::Needs(permission) = route.access else { continue };
        let is_reached = Blueprint::ALL.into_iter().any(|blueprint| {
            let rows = policies.matrix_rows(blueprint);
            let row = rows.iter().find(|row| row.permission == permission).unwrap();
            row.cells.iter().any(|cell| cell != "·")
        });
        assert!(is_reached, "{} {}: nobody has {permission}", route.method, route.path);
    }
}
