//! The audit log for people and their tools: what filters let through, streamed as the API
//! streams it.

use std::io::{self, Write as _};
use std::net::IpAddr;
use std::str::FromStr;

use audit::query::{ACTOR_KINDS, Filter};
use audit::{ComplianceFlag, EventType, Outcome, Severity};
use clap::{Args, ValueEnum};
use jiff::Timestamp;
use operation::audit_export::{LogExport, LogFormat};
use uuid::Uuid;

use super::super::exit::Usage;
use super::super::tenant::refused;
use super::files::installed;
use crate::config::Configuration;

/// How records are written.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum Format {
    /// Comma-separated values with a header line.
    Csv,
    /// One JSON object a line.
    Jsonl,
}

/// What of the log; all have to hold.
#[derive(Debug, Args)]
pub struct Filters {
    /// By the acting user.
    #[arg(long, value_name = "ID")]
    user_id: Option<Uuid>,
    /// By type, like `login_failure`.
    #[arg(long, value_name = "TYPE")]
    event_type: Option<String>,
    /// By severity: `low`, `medium`, `high` or `critical`.
    #[arg(long, value_name = "SEVERITY")]
    severity: Option<String>,
    /// By how it ended: `success`, `denied`, `failed` or `replayed`.
    #[arg(long, value_name = "RESULT")]
    result: Option<String>,
    /// By the command's or view's name, like `transfer.create`.
    #[arg(long, value_name = "NAME")]
    action: Option<String>,
    /// By the kind of object.
    #[arg(long, value_name = "KIND")]
    resource_type: Option<String>,
    /// By the object: its timeline.
    #[arg(long, value_name = "ID")]
    resource_id: Option<Uuid>,
    /// By session.
    #[arg(long, value_name = "ID")]
    session_id: Option<Uuid>,
    /// By request.
    #[arg(long, value_name = "ID")]
    request_id: Option<String>,
    /// By organisation.
    #[arg(long, value_name = "ID")]
    organization_id: Option<Uuid>,
    /// By the rules it falls under: `GDPR`, `KYC_AML`, `PCI_DSS` or `SOX`.
    #[arg(long, value_name = "FLAG")]
    compliance_flag: Option<String>,
    /// By the client's address.
    #[arg(long, value_name = "ADDRESS")]
    ip_address: Option<IpAddr>,
    /// By the sort of actor, like `api_key`.
    #[arg(long, value_name = "KIND")]
    actor_kind: Option<String>,
    /// By the client's user agent, as a whole.
    #[arg(long, value_name = "TEXT")]
    user_agent: Option<String>,
    /// From this instant, inclusive.
    #[arg(long, value_name = "INSTANT")]
    from: Option<Timestamp>,
    /// Before this instant.
    #[arg(long, value_name = "INSTANT")]
    to: Option<Timestamp>,
}

impl Filters {
    fn filter(self) -> Result<Filter, Usage> {
        let flag = |text: &str| ComplianceFlag::ALL.into_iter().find(|flag| flag.as_str() == text);
        let actor = |text: &str| ACTOR_KINDS.contains(&text).then(|| text.to_owned());
        Ok(Filter {
            user_id: self.user_id,
            event_type: known("event-type", self.event_type, parsed::<EventType>)?,
            severity: known("severity", self.severity, parsed::<Severity>)?,
            outcome: known("result", self.result, parsed::<Outcome>)?,
            action: self.action,
            resource_type: self.resource_type,
            resource_id: self.resource_id,
            session_id: self.session_id,
            request_id: self.request_id,
            organization_id: self.organization_id,
            compliance_flag: known("compliance-flag", self.compliance_flag, flag)?,
            ip_address: self.ip_address,
            actor_kind: known("actor-kind", self.actor_kind, actor)?,
            user_agent: self.user_agent,
            from: self.from,
            to: self.to,
        })
    }
}

fn parsed<T: FromStr>(text: &str) -> Option<T> {
    text.parse().ok()
}

/// A name out of a closed list, or the option that it was given to.
fn known<T>(
    option: &str,
    text: Option<String>,
    read: impl Fn(&str) -> Option<T>,
) -> Result<Option<T>, Usage> {
    let Some(text) = text else { return Ok(None) };
    read(&text).map(Some).ok_or_else(|| Usage(format!("--{option} {text}: there is no such")))
}

pub(super) async fn run(
    slug: &str,
    format: Format,
    filters: Filters,
    configuration: &Configuration,
) -> anyhow::Result<()> {
    let filter = filters.filter()?;
    let (installation, context) = installed(slug, configuration).await?;
    let format = match format {
        Format::Csv => LogFormat::Csv,
        Format::Jsonl => LogFormat::JsonLines,
    };
    let begun = LogExport::begin(&installation.operations, &context, filter, format).await;
    let mut export = begun.map_err(refused)?;
    while let Some(piece) = export.next().await? {
        match io::stdout().lock().write_all(&piece) {
            // `strongroom … | head` has seen enough.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => break,
            written => written?,
        }
    }
    installation.sealer.drain().await?;
    Ok(())
}
