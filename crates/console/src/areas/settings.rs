//! The tenant's settings, to be read: what it is, its security policy in words, and who
//! may do what. Changing them comes with approvals.

use std::{
    collections::BTreeMap,
    sync::{Arc, LazyLock, Mutex, PoisonError},
};

use access::{Permission, Resource, Scope};
use askama::Template;
use identity::Identity;
use operation::{Found, View, read::ViewFailure};
use tenancy::{
    Blueprint, Database, OpContext,
    policy::{LockPolicy, SecurityPolicy},
};

use crate::{fault::Answer, kit, page::Page, visitor::Visitor};

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

struct ReadSettings(Identity);

impl View for ReadSettings {
    const NAME: &'static str = "settings.read";
    const RESOURCE: &'static str = "settings";
    type Output = SecurityPolicy;

    fn permission(&self) -> Permission {
        Permission::SettingsView
    }

    async fn load(
        &self,
        _: &Database,
        context: &OpContext,
        _: Scope,
    ) -> Result<Found<Self::Output>, ViewFailure> {
        let value = self.0.policy(context).await?;
        Ok(Found::Object { value, resource: Resource::for_permission(self.permission(), None) })
    }
}

/// `GET /settings`.
pub(crate) async fn show(visitor: Visitor) -> Answer {
    let policy = visitor.read(&ReadSettings(visitor.console.identity.clone())).await?;
    let tenant = &visitor.context().tenant;
    let groups = groups(&policy, &SecurityPolicy::of(Blueprint::Standard));
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
    })
}

fn groups(policy: &SecurityPolicy, standard: &SecurityPolicy) -> Vec<Group> {
    let (ours, theirs) = (lines(policy), lines(standard));
    let compared = ours.into_iter().zip(theirs).map(|((title, ours), (_, theirs))| {
        let lines = ours.into_iter().zip(theirs).map(|((name, value), (_, standard))| {
            let standard = (standard != value).then_some(standard);
            Line { name, value, standard }
        });
        Group { title, lines: lines.collect() }
    });
    compared.collect()
}

type Lines = Vec<(&'static str, String)>;

fn lines(policy: &SecurityPolicy) -> Vec<(&'static str, Lines)> {
    let SecurityPolicy { token, password, session, .. } = policy;
    let own = || "The tenant’s own".to_owned();
    let mut lines = vec![
        (
            "Passwords",
            vec![
                ("Shortest", format!("{} characters", password.minimum_length)),
                (
                    "Upper, lower, digit and special",
                    yes(password.all_four_classes, "All demanded", "Not demanded"),
                ),
                ("Earlier passwords refused", password.history.to_string()),
                (
                    "Must be changed after",
                    password
                        .maximum_age_days
                        .map_or_else(|| "Never".to_owned(), |days| format!("{days} days")),
                ),
                ("Known common passwords", yes(password.refuse_common, "Refused", "Accepted")),
            ],
        ),
        (
            "Sessions",
            vec![
                ("Ends when idle for", duration(session.idle_timeout_s)),
                ("Ends in any case after", duration(session.absolute_timeout_s)),
                (
                    "From another address",
                    yes(session.pinned_to_address, "Ends the session", "Goes on"),
                ),
                (
                    "From another device",
                    yes(session.bound_to_device, "Ends the session", "Goes on"),
                ),
                ("At the same time", format!("{} sessions", session.concurrent_limit)),
            ],
        ),
        (
            "Tokens",
            vec![
                ("Signature", format!("{:?}", token.algorithm)),
                ("Access token lives", duration(token.access_lifetime_s)),
                ("Refresh family lives", duration(token.refresh_lifetime_s)),
                ("Signing key changes after", format!("{} days", token.key_rotation_days)),
                ("Issuer", token.issuer.clone().unwrap_or_else(own)),
                (
                    "Audience",
                    if token.audience.is_empty() { own() } else { token.audience.join(", ") },
                ),
            ],
        ),
    ];
    lines.extend(guards(policy));
    lines
}

/// Against guessing and flooding, and the second person.
fn guards(policy: &SecurityPolicy) -> Vec<(&'static str, Lines)> {
    let SecurityPolicy { account_lock, address_block, mfa, rate_limits, .. } = policy;
    let a_minute = |count: u32| format!("{count} a minute");
    let above = |limit: Option<i64>| match limit {
        None => "Never".to_owned(),
        Some(minor) => {
            format!("{}.{:02} (minor units: {minor}, in any currency)", minor / 100, minor % 100)
        }
    };
    vec![
        (
            "Wrong passwords",
            vec![
                ("An account is locked", lock(account_lock)),
                ("An address is blocked", lock(address_block)),
            ],
        ),
        (
            "Second factors",
            vec![
                ("Methods", mfa.methods.join(", ")),
                (
                    "Required of",
                    match mfa.required_roles.as_slice() {
                        [] => "Nobody".to_owned(),
                        roles => roles.join(", "),
                    },
                ),
                ("Code changes every", duration(i64::from(mfa.totp_interval_s))),
                (
                    "Shown in the app as",
                    mfa.totp_issuer.clone().unwrap_or_else(|| "The tenant’s name".to_owned()),
                ),
            ],
        ),
        (
            "Ceiling for one person",
            vec![(
                "Above it a transfer waits for a second person; deposits, withdrawals, fees, journals, holds and reversals are refused",
                above(policy.transfer_ceiling_minor),
            )],
        ),
        (
            "Proof of payments",
            vec![(
                "Above it a transfer needs a second factor, asked for its amount and payee",
                above(policy.transfer_step_up_minor),
            )],
        ),
        (
            "Joining",
            vec![(
                "People without an invitation",
                yes(policy.self_registration, "May sign up", "May not sign up"),
            )],
        ),
        (
            "Limits",
            vec![
                ("Sign-in, per user name", a_minute(rate_limits.auth_per_user)),
                ("Sign-in, per address", a_minute(rate_limits.auth_per_address)),
                ("Second factors", a_minute(rate_limits.mfa)),
                ("Reading", a_minute(rate_limits.read)),
                ("Writing", a_minute(rate_limits.write)),
                ("Administration", a_minute(rate_limits.admin)),
                ("Anything else", a_minute(rate_limits.default)),
                ("All together", format!("{} an hour", rate_limits.overall_per_hour)),
            ],
        ),
    ]
}

fn yes(is: bool, yes: &str, no: &str) -> String {
    if is { yes.to_owned() } else { no.to_owned() }
}

fn lock(policy: &LockPolicy) -> String {
    let within = match policy.window_s {
        Some(window_s) => format!("within {}", duration(window_s)),
        None => "since the last success".to_owned(),
    };
    let lasts = duration(policy.duration_s);
    let doubling = policy
        .doubling_to_s
        .map(|most_s| format!(", doubling up to {}", duration(most_s)))
        .unwrap_or_default();
    format!("After {} {within}, for {lasts}{doubling}", policy.threshold)
}

/// `30 min`, `12 h`, `7 days`: the largest unit that is exact.
fn duration(seconds: i64) -> String {
    match seconds {
        86_400 => "1 day".to_owned(),
        _ if seconds > 0 && seconds % 86_400 == 0 => format!("{} days", seconds / 86_400),
        _ if seconds > 0 && seconds % 3_600 == 0 => format!("{} h", seconds / 3_600),
        _ if seconds > 0 && seconds % 60 == 0 => format!("{} min", seconds / 60),
        _ => format!("{seconds} s"),
    }
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

    use super::{duration, groups, read_matrix};

    #[test]
    fn durations_are_told_in_the_largest_exact_unit() {
        for (seconds, text) in [
            (30, "30 s"),
            (1_800, "30 min"),
            (43_200, "12 h"),
            (86_400, "1 day"),
            (604_800, "7 days"),
            (90, "90 s"),
        ] {
            assert_eq!(duration(seconds), text);
        }
    }

    #[test]
    fn only_what_differs_from_the_standard_is_marked() {
        let standard = SecurityPolicy::of(Blueprint::Standard);
        let marked = |policy: &SecurityPolicy| {
            let groups = groups(policy, &standard);
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
