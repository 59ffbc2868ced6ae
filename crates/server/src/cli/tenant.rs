//! `strongroom tenant`: audited as the operator at the command line.

use clap::Subcommand;
use identity::NewTenant;
use notify::{Branding, SetBranding};
use operation::{Call, OperationError};
use serde::Serialize;
use tenancy::directory::Directory;
use tenancy::policy::PolicyOverrides;
use tenancy::{ActorKind, Blueprint, Database};

use super::exit::Found;
use super::output::Output;
use crate::compose::Installation;
use crate::config::Configuration;
use crate::serve;

/// Create and list tenants, and choose how their messages look.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Create a tenant from a blueprint: its policy, roles and keys.
    Create {
        /// What it is made from: core-bank, equipment-erp, digital-bank, card-bank, credit-risk or standard.
        #[arg(long)]
        blueprint: Blueprint,
        /// Its name in URLs, for good: 3 to 63 of a-z, 0-9 and -.
        #[arg(long)]
        slug: String,
        /// Its name for people.
        #[arg(long)]
        name: String,
        /// IANA zone of its business dates.
        #[arg(long, default_value = "UTC", value_name = "ZONE")]
        time_zone: String,
        /// More than so many minor units takes two people: a transfer waits for the second, anything else is refused. No limit where absent.
        #[arg(long, value_name = "MINOR_UNITS", value_parser = clap::value_parser!(i64).range(0..=money::AMOUNT_MAX))]
        transfer_ceiling: Option<i64>,
    },
    /// List the active tenants.
    List,
    /// Choose how a tenant's e-mail and SMS look, in the place of what was chosen before.
    Brand {
        /// The tenant.
        #[arg(value_name = "SLUG")]
        slug: String,
        /// The name that messages come from and are signed with; the tenant's own where absent.
        #[arg(long, value_name = "NAME")]
        display_name: Option<String>,
        /// The words in the place of a logo, 24 characters at most; the name where absent.
        #[arg(long, value_name = "TEXT")]
        logo_text: Option<String>,
        /// The colour of headings and buttons, as #0a6b3d; ours where absent.
        #[arg(long, value_name = "COLOUR")]
        colour: Option<String>,
        /// The e-mail address or phone number where people find help.
        #[arg(long, value_name = "ADDRESS")]
        support: Option<String>,
    },
}

#[derive(Serialize)]
struct Line {
    id: String,
    slug: String,
    blueprint: &'static str,
    modules: String,
    time_zone: String,
}

pub(super) async fn run(
    command: Command,
    configuration: &Configuration,
    output: Output,
) -> anyhow::Result<()> {
    configuration.check_form()?;
    match command {
        Command::Create { blueprint, slug, name, time_zone, transfer_ceiling } => {
            let installation = Installation::assemble(serve::ingredients(configuration).await?)?;
            let overrides = PolicyOverrides {
                transfer_ceiling_minor: transfer_ceiling,
                ..configuration.policy_overrides()
            };
            let tenant = NewTenant { slug, name, blueprint, time_zone, overrides };
            installation.identity.ensure_platform().await.map_err(refused)?;
            let made = installation.identity.create_tenant(tenant).await.map_err(refused)?;
            installation.sealer.drain().await?;
            output.one(&made)
        }
        Command::Brand { slug, display_name, logo_text, colour, support } => {
            let installation = Installation::assemble(serve::ingredients(configuration).await?)?;
            let tenant = installation.tenant(&slug).await?;
            let branding = Branding {
                display_name,
                logo_text,
                brand_colour: colour.map(|colour| colour.to_ascii_lowercase()),
                support_address: support,
            };
            let context = installation.context(tenant, ActorKind::Cli);
            let call = Call { context, idempotency_key: None, command: SetBranding { branding } };
            let chosen = installation.operations.run_one(call).await.map_err(refused)?;
            installation.sealer.drain().await?;
            output.one(&chosen.output)
        }
        Command::List => {
            let tenants = Directory::new(Database::new(&configuration.database()?)?).list().await?;
            let lines: Vec<_> = tenants
                .iter()
                .map(|tenant| Line {
                    id: tenant.id.to_string(),
                    slug: tenant.slug.clone(),
                    blueprint: tenant.blueprint.as_str(),
                    modules: tenant.modules.join(","),
                    time_zone: tenant.time_zone.clone(),
                })
                .collect();
            output.list(&["id", "slug", "blueprint", "modules", "time_zone"], &lines, |line| {
                vec![
                    line.id.clone(),
                    line.slug.clone(),
                    line.blueprint.to_owned(),
                    line.modules.clone(),
                    line.time_zone.clone(),
                ]
            })
        }
    }
}

/// A refusal is an answer (code 1), with every rule it names; the rest is a failure.
pub(crate) fn refused(error: OperationError) -> anyhow::Error {
    match error {
        OperationError::Refused(refusal) => {
            let fields: Vec<_> = refusal
                .errors
                .iter()
                .map(|error| format!("\n  {}: {}", error.field, error.message))
                .collect();
            Found(format!("{}: {}{}", refusal.code, refusal.detail, fields.concat())).into()
        }
        other => other.into(),
    }
}
