//! `strongroom access`: what the policies say, without a database, so that a change of policy
//! is reviewed here before any binary is built with it; and what they say of a tenant's people
//! and objects (`asked`).

mod asked;

use std::{
    borrow::Cow,
    collections::{BTreeMap, HashMap},
    path::{Path, PathBuf},
};

use access::{
    Blueprint, CustomRoles, Explanation, Missing, Permission, Policies, Principal, Resource,
    differences,
};
use anyhow::Context as _;
use clap::{Args, Subcommand, ValueEnum};
use jiff::Timestamp;
use serde::Serialize;
use uuid::Uuid;

use super::exit::{Found, Usage};
use super::output::Output;
use crate::config::Configuration;

/// Read, compare and explain who may do what.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Print who may do what: every permission, and for each role yes, the relation to the object that it asks for (own, assigned, department, organisation), or · for no. `!held` and `!own` are prohibitions on accounts that one holds or has a part in.
    Matrix {
        /// The kind of tenant.
        #[arg(long, value_name = "BLUEPRINT", default_value = "core-bank")]
        blueprint: Blueprint,
    },
    /// Compare this binary's policies with others: what each role, and whoever holds several, may do to objects of every relation. Ends with 1 where anybody could do more than before. Policies that name a person, an object, a department or an organisation are refused.
    Diff {
        /// A folder with the files of `policies/`, changed.
        #[arg(long, value_name = "FOLDER")]
        policies: PathBuf,
        /// Only this kind of tenant.
        #[arg(long, value_name = "BLUEPRINT")]
        blueprint: Option<Blueprint>,
    },
    /// Explain one decision: the policies that made it, and what is missing. Of roles, or with --tenant and --actor of a person, and an object, as they are or were. Ends with 1 where it is no.
    Explain(Question),
}

/// Somebody, an action, and what the object is to them; or a person and an object of a tenant.
#[derive(Debug, Args)]
pub struct Question {
    /// What is to be done, e.g. transaction:create.
    #[arg(value_name = "PERMISSION")]
    permission: Permission,
    /// A role of whoever wants to; may be repeated.
    #[arg(long, value_name = "ROLE", required_unless_present = "actor", conflicts_with = "actor")]
    role: Vec<String>,
    /// The kind of tenant.
    #[arg(long, value_name = "BLUEPRINT", default_value = "core-bank", conflicts_with = "actor")]
    blueprint: Blueprint,
    /// What the object is to them; may be repeated.
    #[arg(long, value_enum, value_name = "RELATION", conflicts_with = "actor")]
    object: Vec<Relation>,
    /// A person of the tenant, by user name or id, instead of roles.
    #[arg(long, value_name = "PERSON", requires = "tenant")]
    actor: Option<String>,
    /// The tenant.
    #[arg(long, value_name = "SLUG", requires = "actor")]
    tenant: Option<String>,
    /// The object: account, customer, hold or user, a colon, and its id.
    #[arg(long, value_name = "KIND:ID", requires = "actor")]
    resource: Option<asked::Resource>,
    /// A moment that is past (RFC 3339), instead of now.
    #[arg(long, value_name = "TIME", requires = "actor")]
    as_of: Option<Timestamp>,
}

/// What an object is to somebody.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Relation {
    /// They are a party to it, its subject or its owner.
    Own,
    /// They hold the account that is worked on; of a transfer the credited one.
    Held,
    /// Its company is assigned to them.
    Assigned,
    /// It belongs to their department.
    Department,
    /// It belongs to their organisation.
    Organisation,
}

#[derive(Serialize)]
struct Row {
    permission: Permission,
    roles: BTreeMap<&'static str, String>,
}

#[derive(Serialize)]
struct Change {
    blueprint: Blueprint,
    permission: Permission,
    /// Several, joined by `+`, where it is about whoever holds all of them.
    role: String,
    object: String,
    old: String,
    new: String,
    widens: bool,
    narrows: bool,
}

#[derive(Serialize)]
struct Answer {
    decision: &'static str,
    policies: Vec<String>,
    scope: String,
    missing: Vec<String>,
}

pub(super) async fn run(
    command: Command,
    configuration: &Configuration,
    output: Output,
) -> anyhow::Result<()> {
    match command {
        Command::Matrix { blueprint } => matrix(blueprint, output),
        Command::Diff { policies, blueprint } => diff(&policies, blueprint, output),
        Command::Explain(question) => match (&question.actor, &question.tenant) {
            (Some(actor), Some(tenant)) => {
                asked::explain(&question, (tenant, actor), configuration, output).await
            }
            _ => explain(&question, output),
        },
    }
}

fn matrix(blueprint: Blueprint, output: Output) -> anyhow::Result<()> {
    let roles = blueprint.roles();
    let rows: Vec<_> = Policies::load()?
        .matrix_rows(blueprint)
        .into_iter()
        .map(|row| Row {
            permission: row.permission,
            roles: roles.iter().copied().zip(row.cells).collect(),
        })
        .collect();
    let headers: Vec<_> = std::iter::once("permission").chain(roles.iter().copied()).collect();
    output.list(&headers, &rows, |row| {
        let cells = roles.iter().map(|role| row.roles[role].clone());
        std::iter::once(row.permission.to_string()).chain(cells).collect()
    })
}

fn diff(folder: &Path, only: Option<Blueprint>, output: Output) -> anyhow::Result<()> {
    let mut texts = HashMap::new();
    for name in Blueprint::ALL.into_iter().flat_map(Policies::file_names) {
        let path = folder.join(name);
        let text = std::fs::read_to_string(&path)
            .with_context(|| format!("cannot read {}", path.display()))?;
        texts.insert(name, text);
    }
    let others = Policies::from_texts(|blueprint| {
        Policies::file_names(blueprint).map(|name| Cow::Owned(texts[name].clone())).collect()
    })?;
    let ours = Policies::load()?;
    let mut changes = Vec::new();
    for blueprint in
        Blueprint::ALL.into_iter().filter(|one| only.is_none_or(|wanted| wanted == *one))
    {
        changes.extend(differences(&ours, &others, blueprint)?.into_iter().map(|found| Change {
            blueprint,
            permission: found.permission,
            role: match found.roles.as_slice() {
                [] => "(no role)".to_owned(),
                roles => roles.join(" + "),
            },
            object: found.object,
            old: found.old,
            new: found.new,
            widens: found.widens,
            narrows: found.narrows,
        }));
    }
    let headers = ["blueprint", "permission", "role", "object", "old", "new", "effect"];
    output.list(&headers, &changes, |change| {
        let effect = match (change.widens, change.narrows) {
            (true, true) => "widens and narrows",
            (true, false) => "widens",
            _ => "narrows",
        };
        vec![
            change.blueprint.to_string(),
            change.permission.to_string(),
            change.role.clone(),
            change.object.clone(),
            change.old.clone(),
            change.new.clone(),
            effect.to_owned(),
        ]
    })?;
    match changes.iter().filter(|change| change.widens).count() {
        0 => Ok(()),
        1 => Err(Found("1 cell allows more than before".to_owned()).into()),
        count => Err(Found(format!("{count} cells allow more than before")).into()),
    }
}

fn explain(question: &Question, output: Output) -> anyhow::Result<()> {
    let roles = question.blueprint.roles();
    if let Some(unknown) = question.role.iter().find(|role| !roles.contains(&role.as_str())) {
        let known = roles.join(", ");
        let blueprint = question.blueprint;
        return Err(Usage(format!("--role {unknown}: {blueprint} has {known}")).into());
    }
    let (organization, department) = (Uuid::from_u128(1), "theirs");
    let principal = Principal {
        user_id: Uuid::nil(),
        roles: &question.role,
        organization: Some(organization),
        department: Some(department),
        custom: CustomRoles::default(),
    };
    let is = |relation: Relation| question.object.contains(&relation);
    let object = Resource::for_permission(question.permission, None)
        .owned(is(Relation::Own))
        .held(is(Relation::Held))
        .assigned(is(Relation::Assigned))
        .organization(is(Relation::Organisation).then_some(organization))
        .department(is(Relation::Department).then_some(department));
    let told =
        Policies::load()?.explain(question.blueprint, &principal, question.permission, &object);
    tell(told, output)
}

fn tell(told: Explanation, output: Output) -> anyhow::Result<()> {
    let allowed = told.decision.allowed();
    output.one(&answer(told))?;
    if allowed { Ok(()) } else { Err(Found("it is not allowed".to_owned()).into()) }
}

fn answer(told: Explanation) -> Answer {
    let missing = told.missing.into_iter().map(|missing| match missing {
        Missing::Role(roles) => format!("one of the roles {}", roles.join(", ")),
        Missing::Relation(name) => format!("an object of theirs: {name}"),
        Missing::Condition(name) => format!("a condition of theirs: {name}"),
        Missing::Absence(name) => format!("an object that is not: {name}"),
    });
    Answer {
        decision: if told.decision.allowed() { "allow" } else { "deny" },
        missing: missing.collect(),
        policies: told.decision.reasons,
        scope: told.scope.to_string(),
    }
}
