//! The tenant's settings, to be read: what it is, its security policy in words, and who
//! may do what. Changing the policy takes two people (`policy`).

use std::{
    collections::BTreeMap,
    sync::{Arc, LazyLock, Mutex, PoisonError},
};

use access::Permission;
use askama::Template;
use identity::{PolicyChangeFilter, PolicyChangeStatus};
use serde_json::Value;
use tenancy::{Blueprint, policy::SecurityPolicy};

use super::policy::{
    ReadSettings,
    fields::{self, Field, GROUPS, at},
    written,
};
use crate::{
    fault::{Answer, Fault},
    kit,
    page::Page,
    visitor::Visitor,
};

#[derive(Template)]
#[template(path = "areas/settings.html")]
struct Settings {
    page: Page,
    facts: Vec<(&'static str, String)>,
    modules: Vec<String>,
    groups: Vec<Group>,
    deviations: usize,
    roles: Vec<String>,
    rows: Vec<MatrixRow>,
    may_change: bool,
    /// How many changes wait; a plus where there are more than are counted.
    waiting: String,
}

struct Group {
    title: &'static str,
    lines: Vec<Line>,
}

/// A value, and the standard's where it is another one.
struct Line {
    name: &'static str,
    value: String,
    standard: Option<String>,
}

/// One permission: who has it, in words; the first of its kind carries the heading.
#[derive(Clone)]
struct MatrixRow {
    heading: Option<String>,
    name: String,
    cells: Vec<Cell>,
}

#[derive(Clone)]
struct Cell {
    role: String,
    text: String,
    note: String,
    kind: &'static str,
}

/// `GET /settings`.
pub(crate) async fn show(visitor: Visitor) -> Answer {
    let view = ReadSettings(visitor.console.identity.clone());
    let (policy, _) = visitor.read(&view).await?;
    let tenant = &visitor.context().tenant;
    let standard = written(&SecurityPolicy::of(Blueprint::Standard))?;
    let groups = groups(&written(&policy)?, &standard);
    let deviations =
        groups.iter().flat_map(|group| &group.lines).filter(|line| line.standard.is_some()).count();
    let rows = matrix(visitor.console.operations.policies(), tenant.blueprint);
    visitor.show(&Settings {
        page: visitor
            .page("Settings")
            .lead("What this tenant is, how it protects itself, and who may do what.")
            .api("/v1/settings"),
        facts: vec![
            ("Tenant", tenant.slug.clone()),
            ("Created from", tenant.blueprint.to_string()),
            ("Time zone of business days", tenant.time_zone.clone()),
            ("Id", tenant.id.0.to_string()),
        ],
        modules: tenant.modules.iter().map(|module| kit::words(module)).collect(),
        groups,
        deviations,
        roles: tenant.blueprint.roles().iter().map(|role| kit::words(role)).collect(),
        rows: rows.as_ref().clone(),
        may_change: visitor.may(Permission::SettingsUpdate),
        waiting: waiting(&visitor).await?,
    })
}

/// `1 change waits`; empty where none does.
pub(super) async fn waiting(visitor: &Visitor) -> Result<String, Fault> {
    let filter = PolicyChangeFilter { status: Some(PolicyChangeStatus::Pending) };
    let page = operation::PageRequest::default();
    let found = visitor.console.identity.policy_changes(visitor.context(), filter, &page).await?;
    let more = if found.next.is_some() { "+" } else { "" };
    Ok(match found.data.len() {
        0 => String::new(),
        1 => "One change waits for a second person.".to_owned(),
        many => format!("{many}{more} changes wait for a second person."),
    })
}

fn groups(policy: &Value, standard: &Value) -> Vec<Group> {
    let shown = |field: &&Field| {
        // The costs of a scheme that is not in use.
        !field.path.starts_with("password.hashing.") || !at(policy, field.path).is_null()
    };
    let line = |field: &Field| {
        let value = field.words(at(policy, field.path));
        let theirs = field.words(at(standard, field.path));
        Line { name: field.label, standard: (theirs != value).then_some(theirs), value }
    };
    let group = |group: &fields::Group| Group {
        title: group.title,
        lines: group.fields.iter().filter(shown).map(line).collect(),
    };
    GROUPS.iter().map(group).collect()
}

/// The matrices, worked out once a blueprint: policies are part of the binary.
static MATRICES: LazyLock<Mutex<BTreeMap<Blueprint, Arc<Vec<MatrixRow>>>>> =
    LazyLock::new(Mutex::default);

fn matrix(policies: &access::Policies, blueprint: Blueprint) -> Arc<Vec<MatrixRow>> {
    let mut known = MATRICES.lock().unwrap_or_else(PoisonError::into_inner);
    let rows = known
        .entry(blueprint)
        .or_insert_with(|| Arc::new(read_matrix(&policies.matrix(blueprint), blueprint.roles())));
    Arc::clone(rows)
}

/// The table of `Policies::matrix`: columns stand two spaces apart or more. Permissions
/// that nobody has say nothing about this tenant.
fn read_matrix(text: &str, roles: &[&str]) -> Vec<MatrixRow> {
    let mut rows = Vec::new();
    let mut last_kind = String::new();
    for line in text.lines().skip(1) {
        let mut columns = line.split("  ").map(str::trim).filter(|text| !text.is_empty());
        let Some(permission) = columns.next() else { continue };
        let cells: Vec<Cell> =
            columns.zip(roles).map(|(text, role)| cell(text, &kit::words(role))).collect();
        if cells.iter().all(|cell| cell.kind == "none") {
            continue;
        }
        let (kind, verb) = permission.split_once(':').unwrap_or((permission, ""));
        let heading = (kind != last_kind).then(|| kit::words(kind));
        kind.clone_into(&mut last_kind);
        rows.push(MatrixRow { heading, name: kit::words(verb), cells });
    }
    rows
}

fn cell(text: &str, role: &str) -> Cell {
    let (scope, marks) = text.split_once(' ').unwrap_or((text, ""));
    let (text, kind) = match scope {
        "·" => ("No".to_owned(), "none"),
        "yes" => ("All".to_owned(), "all"),
        other => (kit::words(other), "some"),
    };
    let note = match (marks.contains("!held"), marks.contains("!own")) {
        (_, true) => "but never their own",
        (true, false) => "but not on accounts they hold",
        _ => "",
    };
    Cell { role: role.to_owned(), text, note: note.to_owned(), kind }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use tenancy::{Blueprint, policy::SecurityPolicy};

    use super::{groups, read_matrix};

    #[test]
    fn only_what_differs_from_the_standard_is_marked() {
        let standard = SecurityPolicy::of(Blueprint::Standard);
        let written = |policy: &SecurityPolicy| serde_json::to_value(policy).unwrap();
        let marked = |policy: &SecurityPolicy| {
            let groups = groups(&written(policy), &written(&standard));
            groups
                .iter()
                .flat_map(|group| &group.lines)
                .filter(|line| line.standard.is_some())
                .count()
        };
        assert_eq!(marked(&standard), 0);
        assert!(marked(&SecurityPolicy::of(Blueprint::CoreBank)) > 5);
    }

    #[test]
    fn every_cell_of_every_matrix_is_read() {
        let policies = access::Policies::load().unwrap();
        for blueprint in Blueprint::ALL {
            let text = policies.matrix(blueprint);
            let rows = read_matrix(&text, blueprint.roles());
            assert!(!rows.is_empty(), "{blueprint}");
            assert!(
                rows.iter().all(|row| row.cells.len() == blueprint.roles().len()),
                "{blueprint}"
            );
            let granted =
                rows.iter().flat_map(|row| &row.cells).filter(|cell| cell.kind == "all").count();
            assert_eq!(
                granted,
                text.lines()
                    .skip(1)
                    .map(|line| line.split_whitespace().filter(|word| *word == "yes").count())
                    .sum::<usize>()
            );
        }
    }
}
