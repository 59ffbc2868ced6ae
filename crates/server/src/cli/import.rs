//! `strongroom import`: another bank's records in, and the proof that they fit.

use std::{fs, path::PathBuf, sync::Arc};

use anyhow::Context as _;
use banking::import::{
    Fault, Fit, Import, ImportMap, Loaded, Plan, Reconciliation, load, reconcile,
};
use serde::Serialize;
use tenancy::ActorKind;

use super::exit::{Found, Usage};
use super::output::Output;
use super::progress::Progress;
use super::tenant::refused;
use crate::compose::Installation;
use crate::config::Configuration;
use crate::serve;

/// Faults and differences that are told one by one; the rest is counted.
const LISTED_MAX: usize = 50;

/// What to import.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// The tenant to import into.
    #[arg(long, value_name = "SLUG", required_unless_present = "dry_run")]
    tenant: Option<String>,
    /// The column map (TOML); see docs/import.md.
    #[arg(long, value_name = "FILE")]
    map: PathBuf,
    /// The folder of the map's files.
    #[arg(long, value_name = "FOLDER")]
    from: PathBuf,
    /// Read and check everything, change nothing. Needs no database.
    #[arg(long)]
    dry_run: bool,
    /// Go on without the lines that cannot be imported.
    #[arg(long)]
    skip_bad: bool,
    /// Write the reconciliation of every account to this file, as JSON.
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
}

/// What a dry run found.
#[derive(Serialize)]
struct DryRun {
    source: String,
    customers: usize,
    accounts: usize,
    parties: usize,
    transactions: usize,
    faults: Vec<String>,
}

/// What an import did.
#[derive(Serialize)]
struct Imported {
    #[serde(flatten)]
    loaded: Loaded,
    skipped_lines: usize,
    exact: usize,
    rounded: usize,
    cut_off: usize,
    unexplained: usize,
}

pub(super) async fn run(
    options: Options,
    configuration: &Configuration,
    output: Output,
) -> anyhow::Result<()> {
    let (map, plan) = read(&options)?;
    tell_faults(&plan.faults);
    if options.dry_run {
        return dry_run(&map, &plan, output);
    }
    if !plan.faults.is_empty() && !options.skip_bad {
        let message = format!(
            "{} lines cannot be imported; nothing was. Mend them, or give --skip-bad",
            plan.faults.len()
        );
        return Err(Found(message).into());
    }
    let slug = options.tenant.as_deref().ok_or_else(|| Usage("--tenant is missing".to_owned()))?;
    configuration.check_form()?;
    let installation = Installation::assemble(serve::ingredients(configuration).await?)?;
    let tenant = installation.tenant(slug).await?;
    if !tenant.has_module("banking") {
        return Err(Found(format!("tenant {slug} has no module banking")).into());
    }
    let context = installation.context(tenant, ActorKind::Cli);
    let import =
        Import { source: &map.source, plan: &plan, keyring: Arc::clone(&installation.keyring) };
    let loaded = {
        let mut bar: Option<(&'static str, Progress)> = None;
        load(&installation.operations, &context, &import, |at| {
            if bar.as_ref().is_none_or(|(kind, _)| *kind != at.kind) {
                bar = Some((at.kind, Progress::new(at.kind, 0)));
            }
            if let Some((_, bar)) = &bar {
                bar.set_of(
                    u64::try_from(at.done).unwrap_or(0),
                    u64::try_from(at.total).unwrap_or(0),
                );
            }
        })
        .await
        .map_err(refused)?
    };
    installation.sealer.drain().await?;
    let reconciliation = reconcile(&installation.app, &context, &plan, &map.source).await?;
    finish(&options, loaded, &plan, &reconciliation, output)
}

fn read(options: &Options) -> anyhow::Result<(ImportMap, Plan)> {
    let text = fs::read_to_string(&options.map)
        .with_context(|| format!("reading {}", options.map.display()))?;
    let map = ImportMap::parse(&text)
        .map_err(|error| Usage(format!("{}: {error}", options.map.display())))?;
    let plan = Plan::read(&map, &options.from).map_err(|error| Usage(error.to_string()))?;
    Ok((map, plan))
}

fn dry_run(map: &ImportMap, plan: &Plan, output: Output) -> anyhow::Result<()> {
    output.one(&DryRun {
        source: map.source.clone(),
        customers: plan.customers.len(),
        accounts: plan.accounts.len(),
        parties: plan.accounts.iter().map(|account| 1 + account.others.len()).sum(),
        transactions: plan.transactions.len(),
        faults: plan.faults.iter().map(ToString::to_string).collect(),
    })?;
    match plan.faults.len() {
        0 => Ok(()),
        count => Err(Found(format!("{count} lines cannot be imported")).into()),
    }
}

fn finish(
    options: &Options,
    loaded: Loaded,
    plan: &Plan,
    reconciliation: &Reconciliation,
    output: Output,
) -> anyhow::Result<()> {
    if let Some(path) = &options.report {
        let text = serde_json::to_string_pretty(reconciliation)?;
        fs::write(path, text).with_context(|| format!("writing {}", path.display()))?;
    }
    let refused = loaded.refused.len();
    for (source_id, reason) in loaded.refused.iter().take(LISTED_MAX) {
        eprintln!("refused {source_id}: {reason}");
    }
    tell_differences(reconciliation, plan);
    output.one(&Imported {
        loaded,
        skipped_lines: plan.faults.len(),
        exact: reconciliation.exact,
        rounded: reconciliation.rounded,
        cut_off: reconciliation.cut_off,
        unexplained: reconciliation.unexplained,
    })?;
    let unexplained = reconciliation.unexplained;
    if refused + unexplained > 0 {
        return Err(Found(format!(
            "{refused} records were refused, {unexplained} accounts do not reconcile"
        ))
        .into());
    }
    Ok(())
}

/// The accounts that differ, those that need a person first.
fn tell_differences(reconciliation: &Reconciliation, plan: &Plan) {
    let currency = plan.currency;
    let differing: Vec<_> =
        reconciliation.accounts.iter().filter(|one| one.fit != Fit::Exact).collect();
    for one in differing.iter().take(LISTED_MAX) {
        let amount = |minor: Option<i64>| {
            minor.map_or_else(|| "nothing".to_owned(), |minor| currency.format_minor(minor))
        };
        eprintln!(
            "account {}: computed {}, published {}, difference {} {currency}: {}",
            one.account,
            currency.format_minor(one.computed),
            amount(one.published),
            amount(one.difference),
            one.explanation,
        );
    }
    if differing.len() > LISTED_MAX {
        eprintln!(
            "… and {} more accounts that differ; --report FILE lists all",
            differing.len() - LISTED_MAX
        );
    }
}

fn tell_faults(faults: &[Fault]) {
    for fault in faults.iter().take(LISTED_MAX) {
        eprintln!("{fault}");
    }
    if faults.len() > LISTED_MAX {
        eprintln!("… and {} more", faults.len() - LISTED_MAX);
    }
}
