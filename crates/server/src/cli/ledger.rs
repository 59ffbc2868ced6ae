//! `strongroom ledger`: needs nothing but a database.

use clap::Subcommand;
use serde::Serialize;
use tenancy::directory::Directory;
use tenancy::{ActorKind, Clock, Database, OpContext};

use super::exit::Found;
use super::output::Output;
use super::progress::Progress;
use crate::config::Configuration;

/// Prove the ledger.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Recompute every balance from its entries: accounts, transfers, trial balance, and the customers' accounts beside the ledger's. Ends with 1 where anything differs.
    Verify {
        /// Only this tenant.
        #[arg(long, value_name = "SLUG")]
        tenant: Option<String>,
    },
}

#[derive(Serialize)]
struct Line {
    tenant: String,
    #[serde(flatten)]
    proof: banking::proof::Proof,
}

pub(super) async fn run(
    command: Command,
    configuration: &Configuration,
    output: Output,
) -> anyhow::Result<()> {
    let Command::Verify { tenant: wanted } = command;
    configuration.check_form()?;
    let database = Database::new(&configuration.auditor_database()?)?;
    let tenants = Directory::new(database.clone()).list().await?;
    let chosen: Vec<_> = tenants
        .into_iter()
        .filter(|tenant| wanted.as_ref().is_none_or(|slug| *slug == tenant.slug))
        .collect();
    if let Some(slug) = wanted.filter(|_| chosen.is_empty()) {
        return Err(Found(format!("there is no active tenant {slug}")).into());
    }
    let mut lines = Vec::with_capacity(chosen.len());
    for tenant in chosen {
        let slug = tenant.slug.clone();
        let context = OpContext::system(tenant, ActorKind::Cli, Clock::System);
        let progress = Progress::new(&slug, 0);
        let proof =
            banking::proof::prove(&context, &database, |at| progress.set_of(at.done, at.total))
                .await?;
        lines.push(Line { tenant: slug, proof });
    }
    output.list(
        &["tenant", "accounts", "transfers", "entries", "faults", "first_fault"],
        &lines,
        |line| {
            let ledger = &line.proof.ledger;
            vec![
                line.tenant.clone(),
                ledger.accounts.to_string(),
                ledger.transfers.to_string(),
                ledger.entries.to_string(),
                line.proof.fault_count().to_string(),
                line.proof.faults().next().unwrap_or_default(),
            ]
        },
    )?;
    let faults: u64 = lines.iter().map(|line| line.proof.fault_count()).sum();
    if faults > 0 { Err(Found(format!("the ledger has {faults} faults")).into()) } else { Ok(()) }
}
