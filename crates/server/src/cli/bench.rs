//! `strongroom bench`: every benchmark beside its limit. Refuses to know how any of
//! them is measured.

use std::path::PathBuf;

use bench::report::HEADERS;
use bench::statistics::Comparison;
use bench::{Setup, catalogue};

use super::exit::{Found, Usage};
use super::output::{Format, Output};
use crate::config::Configuration;
use crate::serve::Termination;

/// Measure this binary beside its limits.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// Only these benchmarks.
    #[arg(value_name = "NAME")]
    names: Vec<String>,
    /// Short rounds, all within 50 s; misses of up to 15 % are tolerated.
    #[arg(long)]
    quick: bool,
    /// List the benchmarks with their goals and limits.
    #[arg(long)]
    list: bool,
    /// Be the limit's server, writing its port to this file.
    #[arg(long, hide = true, value_name = "PATH")]
    serve_bare: Option<PathBuf>,
}

pub(super) async fn run(
    options: Options,
    configuration: &Configuration,
    format: Format,
) -> anyhow::Result<()> {
    let output = Output::new(format);
    if let Some(ready_file) = &options.serve_bare {
        let mut termination = Termination::listen()?;
        let database = configuration.database()?;
        return tokio::select! {
            served = bench::bare::serve(&database.url, ready_file) => served,
            () = termination.next() => Ok(()),
        };
    }
    if options.list {
        return list(&options, output);
    }
    let mut termination = Termination::listen()?;
    let setup = Setup {
        program: std::env::current_exe()?,
        bare_arguments: ["bench", "--serve-bare"].map(str::to_owned).to_vec(),
    };
    bench::chosen(&options.names).map_err(|error| Usage(error.to_string()))?;
    let wanted = bench::Options {
        names: options.names,
        quick: options.quick,
        commit: option_env!("STRONGROOM_COMMIT").map(str::to_owned),
    };
    let measuring = bench::run(&setup, &wanted, |text| {
        use std::io::Write as _;
        // Nobody has to watch.
        let _ = writeln!(std::io::stderr(), "{text}");
    });
    let report = tokio::select! {
        report = measuring => report?,
        // What was started ends with the future.
        () = termination.next() => anyhow::bail!("interrupted"),
    };
    match format {
        Format::Json => output.one(&report)?,
        Format::Table | Format::Csv => {
            output.list(&HEADERS, &report.rows, bench::report::Row::cells)?;
        }
    }
    let missed = report.missed();
    if missed.is_empty() {
        return Ok(());
    }
    Err(Found(format!("missed: {}", missed.join(", "))).into())
}

fn list(options: &Options, output: Output) -> anyhow::Result<()> {
    let entries = bench::chosen(&options.names).map_err(|error| Usage(error.to_string()))?;
    output.list(&["name", "goal", "work", "limit"], &entries, |entry: &&catalogue::Entry| {
        let unit = if entry.limit.is_some() { "× the limit" } else { entry.unit };
        let value = entry.goal.value;
        let goal = match entry.goal.comparison {
            Comparison::AtLeast => format!("≥ {value} {unit}"),
            Comparison::AtMost => format!("≤ {value} {unit}"),
            Comparison::Reported => "none".to_owned(),
        };
        vec![
            entry.name.to_owned(),
            goal,
            entry.work.to_owned(),
            entry.limit.unwrap_or_default().to_owned(),
        ]
    })
}
