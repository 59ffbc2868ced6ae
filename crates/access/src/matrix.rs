//! The role × permission table of a blueprint, for review and golden files.
//!
//! Derived from the policies by asking them; holds no rule of its own.

use std::fmt::Write as _;

use crate::blueprint::Blueprint;
use crate::engine::{Policies, probe_resource};
use crate::permission::Permission;
use crate::scope::Scope;

/// A line of the table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MatrixRow {
    /// What may be done.
    pub permission: Permission,
    /// Who may, in the order of [`Blueprint::roles`]: `yes` (every object of the tenant),
    /// the conditions of the scope (`own`, `department`, …), or `·` for no. `!held` and
    /// `!own` mark a prohibition on accounts that the actor holds, and on objects that it
    /// owns.
    pub cells: Vec<String>,
}

impl Policies {
    /// A line for every permission.
    pub fn matrix_rows(&self, blueprint: Blueprint) -> Vec<MatrixRow> {
        let roles = 0..blueprint.roles().len();
        let row = |permission: &Permission| MatrixRow {
            permission: *permission,
            cells: roles.clone().map(|role| self.cell(blueprint, role, *permission)).collect(),
        };
        Permission::ALL.iter().map(row).collect()
    }

    /// The lines as aligned text under a header of the roles.
    pub fn matrix(&self, blueprint: Blueprint) -> String {
        let rows: Vec<Vec<String>> = self
            .matrix_rows(blueprint)
            .into_iter()
            .map(|row| std::iter::once(row.permission.to_string()).chain(row.cells).collect())
            .collect();
        let header = std::iter::once(blueprint.as_str()).chain(blueprint.roles().iter().copied());
        let header: Vec<String> = header.map(str::to_owned).collect();
        let widths: Vec<usize> = (0..header.len())
            .map(|column| {
                let cells = rows.iter().chain([&header]);
                cells.map(|row| row[column].chars().count()).max().unwrap_or(0)
            })
            .collect();
        std::iter::once(&header).chain(&rows).fold(String::new(), |mut text, row| {
            let line = row.iter().zip(&widths).fold(String::new(), |mut line, (cell, width)| {
                let _ = write!(line, "{cell:width$}  ");
                line
            });
            text.push_str(line.trim_end());
            text.push('\n');
            text
        })
    }

    pub(crate) fn cell(&self, blueprint: Blueprint, role: usize, permission: Permission) -> String {
        let scope = self.scope(blueprint, &blueprint.roles()[role..=role], permission);
        if scope.is_none() {
            return "·".to_owned();
        }
        let within = Scope::CONDITIONS
            .into_iter()
            .map(|(condition, _)| condition)
            .find(|condition| !scope.is_all() && scope.includes(*condition))
            .unwrap_or(Scope::ALL);
        let object = probe_resource(permission, within);
        let forbidden = [(object.held(true), " !held"), (object.owned(true), " !own")];
        let name = if scope.is_all() { "yes".to_owned() } else { scope.to_string() };
        forbidden
            .iter()
            .filter(|(object, _)| !self.probe(blueprint, role, permission, object).allowed())
            .fold(name, |text, (_, mark)| text + mark)
    }
}
