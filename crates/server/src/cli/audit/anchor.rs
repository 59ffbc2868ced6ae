//! `strongroom audit anchor`: what is kept outside the database of the newest checkpoint, and
//! the two ways on where sealing is refused because of it.

use anyhow::Context as _;
use audit::anchor::{self, Anchor, Standing};
use audit::{AuditEvent, EventType};
use clap::Subcommand;
use operation::event;
use serde_json::json;
use tenancy::ActorKind;

use super::super::exit::{Found, Usage};
use super::super::output::Output;
use crate::compose::Installation;
use crate::config::Configuration;
use crate::connect::connect;
use crate::serve;

/// Letters of a reason.
const REASON_MAX: usize = 500;

/// What is kept outside the database of the newest checkpoint.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Say how large the log was whose checkpoint is anchored, how large it is, and whether the one grew out of the other. Ends with 1 where it did not.
    Status,
    /// Anchor the newest checkpoint where nothing is anchored yet. An anchor that was there and is gone is a reason to look who took it.
    Init,
    /// Go on from an older or another log than the one that was anchored: after a restore, when it is known what was lost. Leaves a critical record in the platform's log, with the checkpoint that the log no longer holds.
    AcceptRollback {
        /// Why, for whoever reads the log.
        #[arg(long, value_name = "TEXT")]
        reason: String,
    },
}

pub(super) async fn run(
    command: Command,
    configuration: &Configuration,
    output: Output,
) -> anyhow::Result<()> {
    configuration.check_form()?;
    if let Some(witness) = configuration.witness_anchor() {
        let name = witness.name();
        return Err(Usage(format!(
            "the anchor is the witness {name}: `strongroom audit status` says how far it is, and what it cosigned \
             nobody here takes back"
        ))
        .into());
    }
    let anchor = configuration
        .anchor()
        .ok_or_else(|| Usage("there is no anchor: AUDIT_ANCHOR is not set".to_owned()))?;
    let client = connect(&configuration.auditor_database()?).await?;
    let standing = anchor::standing(&client, &anchor).await?;
    drop(client);
    match command {
        Command::Status => status(&standing, output),
        Command::Init => {
            if standing.anchored.is_some() {
                return Err(Found("there is a checkpoint in the anchor already".to_owned()).into());
            }
            match &standing.newest {
                Some(note) => anchor.advance(note).map_err(anyhow::Error::from),
                // The first that is signed begins it.
                None => Ok(()),
            }
        }
        Command::AcceptRollback { reason } => {
            accept(&standing, &anchor, reason, configuration).await
        }
    }
}

fn status(standing: &Standing, output: Output) -> anyhow::Result<()> {
    output.one(standing)?;
    match &standing.fault {
        None => Ok(()),
        Some(fault) => Err(Found(fault.clone()).into()),
    }
}

/// A reason stands in the log for whoever reads it.
pub(super) fn check_reason(reason: &str) -> Result<(), Usage> {
    let length = reason.chars().count();
    if reason.trim().is_empty() || length > REASON_MAX || reason.contains(char::is_control) {
        return Err(Usage(format!("--reason: 1 to {REASON_MAX} letters, on one line")));
    }
    Ok(())
}

/// The record first: without it the anchor does not move.
async fn accept(
    standing: &Standing,
    anchor: &Anchor,
    reason: String,
    configuration: &Configuration,
) -> anyhow::Result<()> {
    check_reason(&reason)?;
    let Some(fault) = &standing.fault else {
        return Err(Found(
            "the log grew out of what was anchored: there is nothing to accept".to_owned(),
        )
        .into());
    };
    let installation = Installation::assemble(serve::ingredients(configuration).await?)?;
    let platform = installation.tenant("platform").await.context("the platform's log")?;
    let context = installation.context(platform, ActorKind::Cli);
    let record: AuditEvent =
        event(&context, EventType::SecurityViolation, "audit.accept_rollback", "audit_log")
            .details(json!({
                "reason": reason,
                "fault": fault,
                "anchored": standing.anchored,
                "signed": standing.signed,
                "anchored_note": anchor.read()?,
            }));
    let transaction = installation.app.begin(&context).await?;
    audit::store::append(&transaction, vec![record]).await?;
    transaction.commit().await?;
    match &standing.newest {
        Some(note) => anchor.force(note)?,
        None => anchor.clear()?,
    }
    installation.sealer.drain().await?;
    Ok(())
}
