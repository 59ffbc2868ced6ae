//! Owns the shape of an examination's result: one finding a check, how bad it is,
//! and what mends it; as text for people and as JSON for programs.
//!
//! It refuses to know what was checked and how.

use std::fmt::Write as _;

use serde::Serialize;

use super::checklist::Line;
use super::statements::Statements;

/// How bad a finding is, the best first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Verdict {
    /// In order.
    Ok,
    /// Worth knowing; a choice, not a fault.
    Note,
    /// Not looked at; `found` says why.
    Skipped,
    /// Works, and should be mended.
    Warning,
    /// Wrong: mend it.
    Fault,
}

impl Verdict {
    const ALL: [Self; 5] = [Self::Ok, Self::Note, Self::Skipped, Self::Warning, Self::Fault];

    /// The word in every output.
    pub(super) const fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Note => "note",
            Self::Skipped => "skipped",
            Self::Warning => "warning",
            Self::Fault => "fault",
        }
    }

    /// The ANSI colour of the word.
    const fn colour(self) -> &'static str {
        match self {
            Self::Ok => "32",
            Self::Note => "36",
            Self::Skipped => "2",
            Self::Warning => "33",
            Self::Fault => "1;31",
        }
    }
}

/// What one check found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Finding {
    /// The check's steady name: `area.subject`.
    pub check: &'static str,
    /// How bad it is.
    pub verdict: Verdict,
    /// What was found, never a secret.
    pub found: String,
    /// The command that mends it (or the first step); none where nothing is wrong.
    pub mend: Option<String>,
}

impl Finding {
    /// In order.
    pub(super) fn ok(check: &'static str, found: impl Into<String>) -> Self {
        Self { check, verdict: Verdict::Ok, found: found.into(), mend: None }
    }

    /// Worth knowing.
    pub(super) fn note(check: &'static str, found: impl Into<String>) -> Self {
        Self { check, verdict: Verdict::Note, found: found.into(), mend: None }
    }

    /// Not looked at, and why.
    pub(super) fn skipped(check: &'static str, why: impl Into<String>) -> Self {
        Self { check, verdict: Verdict::Skipped, found: why.into(), mend: None }
    }

    /// Works, and should be mended.
    pub(super) fn warning(
        check: &'static str,
        found: impl Into<String>,
        mend: impl Into<String>,
    ) -> Self {
        Self { check, verdict: Verdict::Warning, found: found.into(), mend: Some(mend.into()) }
    }

    /// Wrong.
    pub(super) fn fault(
        check: &'static str,
        found: impl Into<String>,
        mend: impl Into<String>,
    ) -> Self {
        Self { check, verdict: Verdict::Fault, found: found.into(), mend: Some(mend.into()) }
    }
}

/// How many findings there are of each sort.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub(super) struct Summary {
    /// In order.
    pub ok: usize,
    /// Worth knowing.
    pub note: usize,
    /// Not looked at.
    pub skipped: usize,
    /// To be mended.
    pub warning: usize,
    /// Wrong.
    pub fault: usize,
}

/// The whole examination. Its JSON is documented in `docs/doctor.md` and only grows.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    /// Of this shape.
    pub version: u32,
    /// Of this binary.
    pub strongroom: &'static str,
    /// What was examined: `development` or `configured`, and where.
    pub installation: String,
    /// Whether there is no fault.
    pub healthy: bool,
    /// How many findings there are of each sort.
    pub summary: Summary,
    /// The findings, in the order of the examination.
    pub checks: Vec<Finding>,
    /// The production checklist, with `--production`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub production: Option<Vec<Line>>,
    /// The statements, with `--queries`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub queries: Option<Statements>,
}

impl Report {
    /// Counts what was found.
    pub(super) fn new(installation: String, checks: Vec<Finding>) -> Self {
        let mut report = Self {
            version: 1,
            strongroom: env!("CARGO_PKG_VERSION"),
            installation,
            healthy: true,
            summary: Summary::default(),
            checks,
            production: None,
            queries: None,
        };
        report.count();
        report
    }

    /// Counts again, after something was added.
    pub(super) fn count(&mut self) {
        let lines = self.production.iter().flatten().map(|line| line.verdict);
        let [ok, note, skipped, warning, fault] = Verdict::ALL
            .map(|wanted| self.checks.iter().filter(|finding| finding.verdict == wanted).count());
        self.summary = Summary { ok, note, skipped, warning, fault };
        self.healthy = fault == 0 && lines.max() != Some(Verdict::Fault);
    }

    /// The report for people; `program` is put in the place of `strongroom` in
    /// commands, so that they can be pasted.
    pub(super) fn text(&self, program: &str, colours: bool) -> String {
        let mut text = format!("Examined: {}\n\n", self.installation);
        let width = self.checks.iter().map(|finding| finding.check.len()).max().unwrap_or(0);
        for finding in &self.checks {
            entry(
                &mut text,
                (finding.verdict, colours),
                &format!("{:width$}", finding.check),
                &finding.found,
            );
            mend(&mut text, finding.mend.as_deref(), program);
        }
        if let Some(lines) = &self.production {
            text.push_str("\nProduction checklist:\n\n");
            for line in lines {
                entry(&mut text, (line.verdict, colours), line.line, "");
                // Writing to a String cannot fail.
                let _ = writeln!(text, "           {}", indented(&line.evidence));
                mend(&mut text, line.mend.as_deref(), program);
            }
        }
        if let Some(queries) = &self.queries {
            text.push_str(&queries.text());
        }
        let Summary { ok, note, skipped, warning, fault } = self.summary;
        let _ = write!(
            text,
            "\n{ok} ok, {note} {}, {skipped} skipped, {warning} {}, {fault} {}.\n",
            plural(note, "note"),
            plural(warning, "warning"),
            plural(fault, "fault")
        );
        text
    }
}

/// `word` or its plural.
pub(super) fn plural(count: usize, word: &str) -> String {
    if count == 1 { word.to_owned() } else { format!("{word}s") }
}

fn entry(text: &mut String, (verdict, colours): (Verdict, bool), name: &str, found: &str) {
    let word = format!("{:7}", verdict.word());
    let word = if colours { format!("\u{1b}[{}m{word}\u{1b}[0m", verdict.colour()) } else { word };
    let line = format!("  {word}  {name}  {}", indented(found));
    text.push_str(line.trim_end());
    text.push('\n');
}

fn mend(text: &mut String, command: Option<&str>, program: &str) {
    if let Some(command) = command {
        let pasteable = command
            .strip_prefix("strongroom ")
            .map_or_else(|| command.to_owned(), |rest| format!("{program} {rest}"));
        // Writing to a String cannot fail.
        let _ = writeln!(text, "           → {}", indented(&pasteable));
    }
}

fn indented(text: &str) -> String {
    text.trim_end().replace('\n', "\n             ")
}

#[cfg(test)]
mod tests {
    use super::{Finding, Report, Verdict};

    fn report() -> Report {
        Report::new(
            "development".to_owned(),
            vec![
                Finding::ok("a.fine", "all is well"),
                Finding::skipped("b.unseen", "no privilege"),
                Finding::note("c.known", "a choice"),
                Finding::warning("d.soon", "filling up", "strongroom config check"),
                Finding::fault("e.wrong", "down", "sudo systemctl start postgresql"),
            ],
        )
    }

    #[test]
    fn faults_alone_are_unhealthy() {
        let mut report = report();
        assert!(!report.healthy);
        report.checks.retain(|finding| finding.verdict != Verdict::Fault);
        report.count();
        assert!(report.healthy, "warnings are to be mended and do not fail");
    }

    #[test]
    fn text_carries_pasteable_commands() {
        let text = report().text("target/release/strongroom", false);
        assert!(text.contains("  fault    e.wrong   down\n           → sudo systemctl"), "{text}");
        assert!(text.contains("→ target/release/strongroom config check"), "{text}");
        assert!(text.ends_with("1 ok, 1 note, 1 skipped, 1 warning, 1 fault.\n"), "{text}");
        assert!(report().text("x", true).contains("\u{1b}[1;31mfault"));
    }

    #[test]
    fn the_json_has_its_documented_shape() -> Result<(), serde_json::Error> {
        let value = serde_json::to_value(report())?;
        let mut keys: Vec<&String> =
            value.as_object().into_iter().flat_map(|map| map.keys()).collect();
        keys.sort();
        assert_eq!(keys, ["checks", "healthy", "installation", "strongroom", "summary", "version"]);
        assert_eq!(
            value["checks"][4],
            serde_json::json!({
                "check": "e.wrong", "verdict": "fault", "found": "down",
                "mend": "sudo systemctl start postgresql",
            })
        );
        assert_eq!(value["checks"][0]["mend"], serde_json::Value::Null);
        assert_eq!(value["summary"]["warning"], 1);
        Ok(())
    }
}
