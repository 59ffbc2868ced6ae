//! Owns the limit of writes: pgbench running one transaction per transfer. Refuses to
//! know what it is compared with.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use cluster::Binaries;
use tokio_postgres::config::Host;

use crate::statistics::float;

const SCRIPT: &str = include_str!("../sql/limit_transfer.pgbench");
/// As many as the clients that it is the limit of.
pub(crate) const CLIENTS: u32 = 64;
/// As few as one PostgreSQL of few cores commits fastest with.
pub(crate) const FEW_CLIENTS: u32 = 8;
const THREADS: &str = "2";
/// Not counted: there the new connections plan their statement. It is pgbench's shortest.
pub(crate) const WARM_UP: Duration = Duration::from_secs(1);

/// pgbench, ready to run.
#[derive(Debug)]
pub(crate) struct Pgbench {
    program: PathBuf,
    script: PathBuf,
    environment: Vec<(&'static str, String)>,
}

impl Pgbench {
    /// Of the installed PostgreSQL, against `database_url`; its script is put into `folder`.
    pub(crate) fn prepare(database_url: &str, folder: &std::path::Path) -> anyhow::Result<Self> {
        let program = Binaries::find(None)?.program("pgbench");
        anyhow::ensure!(
            program.is_file(),
            "{} is missing; install it: apt-get install postgresql-contrib",
            program.display()
        );
        let script = folder.join("transfer.pgbench");
        std::fs::write(&script, without_comments(SCRIPT))?;
        let config: tokio_postgres::Config = database_url.parse()?;
        let host = match config.get_hosts() {
            [Host::Tcp(host), ..] => host.clone(),
            _ => "127.0.0.1".to_owned(),
        };
        let password = config.get_password().unwrap_or_default();
        // Not among the arguments, where every process of the machine could read it.
        let environment = vec![
            ("PGHOST", host),
            ("PGPORT", config.get_ports().first().copied().unwrap_or(5432).to_string()),
            ("PGUSER", config.get_user().unwrap_or("postgres").to_owned()),
            ("PGPASSWORD", String::from_utf8_lossy(password).into_owned()),
            ("PGDATABASE", config.get_dbname().unwrap_or("postgres").to_owned()),
        ];
        Ok(Self { program, script, environment })
    }

    /// Transfers a second over `duration`, in whole seconds and at least one, after
    /// [`WARM_UP`].
    pub(crate) async fn run(&self, clients: u32, duration: Duration) -> anyhow::Result<f64> {
        let seconds = (duration.as_secs().max(1) + WARM_UP.as_secs()).to_string();
        let clients = clients.to_string();
        let output = tokio::process::Command::new(&self.program)
            .args(["-n", "-M", "prepared", "-c", &clients, "-j", THREADS, "-T", &seconds])
            .args(["-P", "1", "-f"])
            .arg(&self.script)
            .envs(self.environment.iter().map(|(name, value)| (*name, value)))
            .kill_on_drop(true)
            .output()
            .await?;
        let progress = String::from_utf8_lossy(&output.stderr);
        anyhow::ensure!(output.status.success(), "pgbench: {progress}");
        transactions_per_second(&progress).with_context(|| format!("pgbench: {progress}"))
    }
}

/// What is sent with each transaction is the statement alone.
fn without_comments(script: &str) -> String {
    let kept = |line: &&str| !line.trim_start().starts_with("--");
    script.split_inclusive('\n').filter(kept).collect()
}

/// The mean of all seconds but the first: `progress: 2.0 s, 5203.4 tps, lat 12.3 ms …`.
fn transactions_per_second(progress: &str) -> Option<f64> {
    let rates = progress.lines().filter_map(|line| {
        let (_, rest) = line.strip_prefix("progress: ")?.split_once(" s, ")?;
        rest.split_once(" tps")?.0.parse::<f64>().ok()
    });
    let warm: Vec<f64> = rates.skip(1).collect();
    (!warm.is_empty()).then(|| warm.iter().sum::<f64>() / float(warm.len() as u64))
}

#[cfg(test)]
mod tests {
    use super::{SCRIPT, transactions_per_second, without_comments};

    #[test]
    fn the_rate_is_found_in_what_pgbench_says() {
        let output = "pgbench (15.1)\nprogress: 1.0 s, 900.0 tps, lat 60.1 ms stddev 9.9, 0 failed\n\
                      progress: 2.0 s, 5000.0 tps, lat 12.3 ms stddev 1.2, 0 failed\n\
                      progress: 3.0 s, 5400.0 tps, lat 11.3 ms stddev 1.2, 0 failed\n";
        assert_eq!(transactions_per_second(output), Some(5_200.0));
        assert_eq!(transactions_per_second("progress: 1.0 s, 900.0 tps, lat 1 ms"), None);
        assert_eq!(transactions_per_second("pgbench: fatal"), None);
    }

    #[test]
    fn the_script_names_no_variable_by_accident() {
        // A colon before a digit or letter is a variable to pgbench, also in quotes.
        let script = without_comments(SCRIPT).replace("::", "");
        let known = ["from_account", "to_account", "client_id"];
        for (position, _) in script.match_indices(':') {
            let rest = &script[position + 1..];
            let is_name = rest.starts_with(|letter: char| letter.is_ascii_alphanumeric());
            assert!(!is_name || known.iter().any(|name| rest.starts_with(name)), "{rest:.40}");
        }
    }
}
