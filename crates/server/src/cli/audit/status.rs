//! `strongroom audit status`: how far the log over all audit logs is, the key to give to a
//! witness, and how far each witness and the anchor are.

use audit::anchor;
use audit::witness::{SuperStanding, Witness, standing};
use serde::Serialize;

use super::super::output::Output;
use crate::config::Configuration;
use crate::connect::connect;

/// What is told.
#[derive(Serialize)]
struct Status {
    #[serde(flatten)]
    log: SuperStanding,
    /// What is kept outside the database; none where nothing is.
    anchored: Option<u64>,
    /// What makes it weaker than it could be.
    warning: Option<&'static str>,
}

pub(super) async fn run(configuration: &Configuration, output: Output) -> anyhow::Result<()> {
    configuration.check_form()?;
    let client = connect(&configuration.auditor_database()?).await?;
    let witnesses = configuration.witnesses();
    let names: Vec<&str> = witnesses.iter().map(Witness::name).collect();
    let log = standing(&client, &names).await?;
    let anchor = configuration.anchor();
    let anchored = match &anchor {
        Some(anchor) => anchor::standing(&client, anchor).await?.anchored,
        None => None,
    };
    let warning = (witnesses.is_empty() && anchor.is_none())
        .then_some("neither a witness nor an anchor: nothing outside the database knows the log");
    let status = Status { log, anchored, warning };
    if !output.is_table() {
        return output.one(&status);
    }
    output.text(&told(&status))
}

/// For people, a line for each thing.
fn told(status: &Status) -> String {
    let mut lines = vec![format!("{} checkpoints are signed over", status.log.signed)];
    lines.extend(status.log.verifier_keys.iter().map(|key| format!("verified with {key}")));
    for witness in &status.log.witnesses {
        lines.push(match (witness.size, witness.cosigned_at) {
            (Some(size), Some(at)) => {
                format!("{} has cosigned {size} of them, at {at}", witness.witness)
            }
            _ => format!("{} has cosigned none", witness.witness),
        });
    }
    lines.extend(status.anchored.map(|size| format!("{size} are anchored")));
    lines.extend(status.warning.map(|warning| format!("warning: {warning}")));
    lines.join("\n")
}
