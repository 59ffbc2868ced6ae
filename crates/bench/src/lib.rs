//! Owns measuring: every benchmark beside its limit, in one run on one machine,
//! alternating, so that the ratio says something where the figures do not.
//!
//! It refuses to know how a server is put together: it drives the same binary from
//! outside, as a client would. The load generator, the server and the limit's server
//! are three processes, so that neither side shares an allocator or a scheduler with
//! what measures it; both sides lose the same share of the cores to the generator.

pub mod bare;
pub mod catalogue;
pub mod report;
pub mod statistics;

mod child;
mod load;
mod pgbench;
mod rows;
mod stage;

use std::path::PathBuf;

use catalogue::Entry;
use report::{Machine, Report, Row};
use rows::Effort;
use stage::Stage;

/// How the processes of a run are started.
#[derive(Clone, Debug)]
pub struct Setup {
    /// This binary: it is started again as the server that is measured.
    pub program: PathBuf,
    /// Its arguments as the limit's server ([`bare::serve`]), which finds its database in
    /// `DATABASE_URL`; the path of its ready file follows them.
    pub bare_arguments: Vec<String>,
}

/// What to measure.
#[derive(Clone, Debug)]
pub struct Options {
    /// The rows, or all where there are none.
    pub names: Vec<String>,
    /// Short rounds, with a tolerance.
    pub quick: bool,
    /// Of the binary, where known.
    pub commit: Option<String>,
}

/// No row has this name.
#[derive(Debug, thiserror::Error)]
#[error("there is no benchmark {0}; `--list` shows them")]
pub struct UnknownName(pub String);

/// The rows that are wanted, in the catalogue's order.
///
/// # Errors
/// [`UnknownName`].
pub fn chosen(names: &[String]) -> Result<Vec<&'static Entry>, UnknownName> {
    if let Some(unknown) = names.iter().find(|name| catalogue::find(name).is_none()) {
        return Err(UnknownName(unknown.clone()));
    }
    let wanted = |entry: &&Entry| names.is_empty() || names.iter().any(|name| name == entry.name);
    Ok(catalogue::ALL.iter().filter(wanted).collect())
}

/// Measures. A row that cannot be measured says why and counts as missed; `progress`
/// hears of each row before it starts and of its figures. Dropping the future ends what was started.
///
/// # Errors
/// An unknown name, or a stage that cannot be set up.
pub async fn run(
    setup: &Setup,
    options: &Options,
    mut progress: impl FnMut(&str),
) -> anyhow::Result<Report> {
    let entries = chosen(&options.names)?;
    let machine = Machine::this();
    let effort = Effort::new(options.quick);
    let mut stage = None;
    let mut rows = Vec::with_capacity(entries.len());
    for entry in entries {
        if entry.needs_server && stage.is_none() {
            progress("setting up an installation");
            stage = Some(Stage::set_up(setup).await?);
        }
        progress(entry.name);
        let outcome = match &stage {
            Some(stage) if entry.needs_server => rows::on_stage(entry.name, stage, effort).await,
            _ => rows::in_process(entry.name, effort).await,
        };
        let row = Row::of(entry, outcome, options.quick);
        progress(&format!("  {}", row.cells().join("  ")));
        rows.push(row);
    }
    Ok(Report { machine, commit: options.commit.clone(), quick: options.quick, rows })
}

#[cfg(test)]
mod tests {
    use super::{catalogue, chosen};

    #[test]
    fn names_choose_rows_in_the_catalogues_order() {
        let all = chosen(&[]).unwrap();
        assert_eq!(all.len(), catalogue::ALL.len());
        let two = chosen(&["seal".to_owned(), "cedar".to_owned()]).unwrap();
        assert_eq!(two.iter().map(|entry| entry.name).collect::<Vec<_>>(), ["cedar", "seal"]);
        assert!(chosen(&["cedar".to_owned(), "nothing".to_owned()]).is_err());
    }
}
