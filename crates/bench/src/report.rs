//! Owns what a run says: the machine, a line for each row, and the table for people.
//! Refuses to know how anything was measured.

use std::fmt::Write as _;

use serde::Serialize;

use crate::catalogue::Entry;
use crate::statistics::{Comparison, Goal, Summary};

/// A whole run.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Where it ran: figures compare within one machine only, ratios further.
    pub machine: Machine,
    /// The commit of the binary, where known.
    pub commit: Option<String>,
    /// Whether rounds were short and misses tolerated up to 15 %.
    pub quick: bool,
    /// What was measured, in the catalogue's order.
    pub rows: Vec<Row>,
}

impl Report {
    /// The names of the rows that missed their goals or could not be measured.
    pub fn missed(&self) -> Vec<&str> {
        self.rows.iter().filter(|row| !row.passed).map(|row| row.name).collect()
    }
}

/// The machine of a run.
#[derive(Clone, Debug, Serialize)]
pub struct Machine {
    /// Its processor.
    pub processor: String,
    /// Threads that run at once.
    pub cores: usize,
    /// Memory, in megabytes.
    pub memory_mb: u64,
    /// The kernel's version.
    pub kernel: String,
    /// The load average of the last minute before the run: what else it does.
    pub load_before: String,
}

impl Machine {
    /// This one, as far as /proc tells.
    pub fn this() -> Self {
        let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
        let (processors, memory) = (read("/proc/cpuinfo"), read("/proc/meminfo"));
        let value = |text: &str, name: &str| {
            let line = text.lines().find(|line| line.starts_with(name));
            line.and_then(|line| line.split_once(':')).map(|(_, value)| value.trim().to_owned())
        };
        let memory_kb = value(&memory, "MemTotal")
            .and_then(|text| text.split(' ').next().and_then(|number| number.parse::<u64>().ok()));
        Self {
            processor: value(&processors, "model name").unwrap_or_else(|| "unknown".to_owned()),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            memory_mb: memory_kb.unwrap_or(0) / 1024,
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
            load_before: read("/proc/loadavg").split(' ').next().unwrap_or_default().to_owned(),
        }
    }
}

/// One row of a run.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// Its name.
    pub name: &'static str,
    /// What it has to reach.
    pub goal: Goal,
    /// What it reached: measured over limit, or measured where there is no limit.
    pub ratio: Option<f64>,
    /// Median of ours.
    pub measured: Option<f64>,
    /// Median of the limit's.
    pub limit: Option<f64>,
    /// Of both.
    pub unit: &'static str,
    /// Interleaved rounds.
    pub rounds: usize,
    /// (largest − smallest) / median ratio of the rounds, where there is more than one.
    pub spread: Option<f64>,
    /// Whether the goal was met.
    pub passed: bool,
    /// What else a reader should know.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// Why there are no figures.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// What measuring a row gave.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Figures; without a limit its `limit` is 1.
    pub summary: Summary,
    /// How many rounds.
    pub rounds: usize,
    /// What else a reader should know.
    pub note: Option<String>,
}

impl Row {
    /// Of a measurement, or of its failure.
    pub fn of(entry: &Entry, outcome: anyhow::Result<Outcome>, quick: bool) -> Self {
        let blank = Self {
            name: entry.name,
            goal: entry.goal,
            ratio: None,
            measured: None,
            limit: None,
            unit: entry.unit,
            rounds: 0,
            spread: None,
            passed: false,
            note: None,
            error: None,
        };
        match outcome {
            Err(error) => Self { error: Some(format!("{error:#}")), ..blank },
            Ok(Outcome { summary, rounds, note }) => Self {
                ratio: Some(summary.ratio),
                measured: Some(summary.measured),
                limit: entry.limit.map(|_| summary.limit),
                rounds,
                spread: summary.spread,
                passed: entry.goal.is_met(summary.ratio, quick),
                note,
                ..blank
            },
        }
    }

    /// The row's cells as people read them, in the order of [`HEADERS`].
    pub fn cells(&self) -> Vec<String> {
        let goal = figure(Some(self.goal.value));
        let goal = match self.goal.comparison {
            Comparison::AtLeast => format!("≥ {goal}"),
            Comparison::AtMost => format!("≤ {goal}"),
            Comparison::Reported => "none".to_owned(),
        };
        let spread = self.spread.map(|spread| format!("{:.0} %", spread * 100.0));
        let verdict = match (&self.error, self.passed) {
            (Some(_), _) => "failed",
            (None, true) if self.goal.comparison == Comparison::Reported => "told",
            (None, true) => "met",
            (None, false) => "MISSED",
        };
        vec![
            self.name.to_owned(),
            figure(self.ratio),
            goal,
            verdict.to_owned(),
            figure(self.measured),
            figure(self.limit),
            self.unit.to_owned(),
            spread.unwrap_or_default(),
            self.error.clone().or_else(|| self.note.clone()).unwrap_or_default(),
        ]
    }
}

/// The heads of [`Row::cells`].
pub const HEADERS: [&str; 9] =
    ["name", "ratio", "goal", "verdict", "measured", "limit", "unit", "noise", "note"];

/// Three digits that matter, thousands apart.
fn figure(value: Option<f64>) -> String {
    let Some(value) = value else { return String::new() };
    let digits = match value.abs() {
        large if large >= 100.0 => 0,
        middle if middle >= 10.0 => 1,
        _ => 2,
    };
    let plain = format!("{value:.digits$}");
    let (whole, rest) =
        plain.split_once('.').map_or((plain.as_str(), None), |(whole, rest)| (whole, Some(rest)));
    let mut text = String::with_capacity(plain.len() + 4);
    for (position, digit) in whole.chars().enumerate() {
        if position > 0 && (whole.len() - position).is_multiple_of(3) && digit.is_ascii_digit() {
            text.push(',');
        }
        text.push(digit);
    }
    if let Some(rest) = rest {
        // Writing to a String cannot fail.
        let _ = write!(text, ".{rest}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::{Outcome, Row, figure};
    use crate::catalogue;
    use crate::statistics::{Round, Summary};

    #[test]
    fn figures_read_well() {
        let table = [
            (0.8512, "0.85"),
            (12.34, "12.3"),
            (123.4, "123"),
            (12_345.6, "12,346"),
            (1e6, "1,000,000"),
        ];
        for (value, text) in table {
            assert_eq!(figure(Some(value)), text);
        }
        assert_eq!(figure(None), "");
    }

    #[test]
    fn what_has_no_goal_is_told() {
        let entry = catalogue::find("argon2id").unwrap();
        let summary = Summary::of(&[Round { measured: 30.0, limit: 240.0 }]);
        let outcome = Outcome { summary, rounds: 1, note: None };
        let row = Row::of(entry, Ok(outcome), false);
        assert_eq!(row.cells()[1..4], ["0.12", "none", "told"]);
        assert!(row.passed);
    }

    #[test]
    fn a_row_that_could_not_be_measured_has_not_passed() {
        let entry = catalogue::find("cedar").unwrap();
        let row = Row::of(entry, Err(anyhow::anyhow!("503: busy")), true);
        assert!(!row.passed);
        assert_eq!(row.cells()[3], "failed");
        assert_eq!(row.cells()[8], "503: busy");
    }

    #[test]
    fn a_row_without_a_limit_is_judged_by_what_was_measured() {
        let entry = catalogue::find("cedar").unwrap();
        let summary = |measured| Summary::of(&[Round { measured, limit: 1.0 }]);
        for (measured, passed) in [(entry.goal.value - 1.0, true), (entry.goal.value + 1.0, false)]
        {
            let outcome = Outcome { summary: summary(measured), rounds: 1, note: None };
            let row = Row::of(entry, Ok(outcome), false);
            assert_eq!((row.passed, row.limit), (passed, None));
        }
    }
}
