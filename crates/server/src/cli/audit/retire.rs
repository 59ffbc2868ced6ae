//! `strongroom audit drop`: what of the log is kept no longer goes, a month of a class at once,
//! after each tenant's log has said so. As the owner of the schema: the server may not.

use audit::{RetentionClass, retire};
use clap::{Args, ValueEnum};
use jiff::civil::Date;
use tenancy::Clock;

use super::{
    super::{exit::Usage, output::Output},
    anchor::check_reason,
};
use crate::{config::Configuration, connect::connect};

/// How long records are kept.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum Class {
    /// Who did what to what; seven years.
    Security,
    /// Who read what; three years.
    Access,
    /// What the system did of itself; a year.
    System,
}

/// What goes, and why.
#[derive(Debug, Args)]
pub struct Options {
    /// How long the records were to be kept.
    #[arg(long, value_enum, value_name = "CLASS")]
    class: Class,
    /// Only months before this one, like 2019-03; all that are old enough where absent.
    #[arg(long, value_name = "MONTH")]
    before: Option<String>,
    /// Why, for whoever reads the log. Without it nothing is dropped, and what would be is told.
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
}

impl From<Class> for RetentionClass {
    fn from(class: Class) -> Self {
        match class {
            Class::Security => Self::Security,
            Class::Access => Self::Access,
            Class::System => Self::System,
        }
    }
}

pub(super) async fn run(
    options: Options,
    configuration: &Configuration,
    output: Output,
) -> anyhow::Result<()> {
    configuration.check_form()?;
    let class = RetentionClass::from(options.class);
    let kept_since = class.kept_since(Clock::System.now());
    let before = options.before.as_deref().map_or(Ok(kept_since), month)?;
    if before > kept_since {
        let (years, since) = (class.kept_years(), kept_since.strftime("%Y-%m"));
        let kept =
            format!("--before: {} records are kept {years} years, since {since}", class.as_str());
        return Err(Usage(kept).into());
    }
    if let Some(reason) = &options.reason {
        check_reason(reason)?;
    }
    let mut client =
        connect(&configuration.owner_database()?.with_role("strongroom_owner")).await?;
    let retired = retire::retire(&mut client, class, before, options.reason.as_deref()).await?;
    output.list(&["month", "tenant", "records"], &retired, |one| {
        vec![one.month.clone(), one.tenant_id.to_string(), one.records.to_string()]
    })
}

fn month(text: &str) -> Result<Date, Usage> {
    let day = format!("{text}-01").parse();
    day.map_err(|_| Usage(format!("--before {text}: expected a month like 2019-03")))
}
