//! `strongroom keys`: the keys that sign a tenant's tokens, and what is sealed under which
//! others. Audited as the operator at the command line.

use clap::Subcommand;
use identity::{Identity, SigningKeyRecord};
use operation::{InventoryLine, KeyInventory, PageRequest};
use tenancy::{ActorKind, OpContext, cells::Sealed};
use uuid::Uuid;

use super::output::Output;
use super::tenant::refused;
use crate::compose::Installation;
use crate::config::Configuration;
use crate::serve;

/// List, rotate and revoke the keys that sign tokens; count what is sealed under which others.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// List a tenant's signing keys, newest first, retired ones included.
    List {
        /// The tenant.
        #[arg(long, value_name = "SLUG")]
        tenant: String,
    },
    /// Count the sealed values of every column by the keys that seal them, read from the values themselves. Reads all of them, so it takes a while on a large tenant.
    Status {
        /// The tenant.
        #[arg(long, value_name = "SLUG")]
        tenant: String,
    },
    /// Have the next key sign from now on; tokens of the one before stay good. Takes a little more than a second where the next key has to be published first.
    Rotate {
        /// The tenant.
        #[arg(long, value_name = "SLUG")]
        tenant: String,
    },
    /// End a key that somebody else may have, and all its tokens, at once. People and the console stay signed in.
    Revoke {
        /// The key: the `kid` of its tokens.
        #[arg(value_name = "KID")]
        key: Uuid,
        /// The tenant.
        #[arg(long, value_name = "SLUG")]
        tenant: String,
    },
}

const HEADERS: [&str; 7] =
    ["kid", "algorithm", "status", "created_at", "activated_at", "verify_until", "revoked_at"];
const INVENTORY: [&str; 7] = ["table", "column", "purpose", "epoch", "status", "keys", "values"];

/// What each domain seals.
pub const SEALED: &[Sealed] = &[banking::SEALED, identity::SEALED, notify::SEALED];

pub(super) async fn run(
    command: Command,
    configuration: &Configuration,
    output: Output,
) -> anyhow::Result<()> {
    configuration.check_form()?;
    let (Command::List { tenant }
    | Command::Status { tenant }
    | Command::Rotate { tenant }
    | Command::Revoke { tenant, .. }) = &command;
    let installation = Installation::assemble(serve::ingredients(configuration).await?)?;
    let context = installation.context(installation.tenant(tenant).await?, ActorKind::Cli);
    let identity = &installation.identity;
    match command {
        Command::List { .. } => {
            let keys = all(identity, &context).await?;
            output.list(&HEADERS, &keys, cells)?;
        }
        Command::Status { .. } => {
            let inventory = KeyInventory { sealed: SEALED };
            let lines = installation.operations.read(&context, &inventory).await;
            output.list(&INVENTORY, &lines.map_err(refused)?, line)?;
        }
        Command::Rotate { .. } => {
            let key = identity.rotate_signing_key(&context).await.map_err(refused)?;
            output.one(&key)?;
        }
        Command::Revoke { key, .. } => {
            let key = identity.revoke_signing_key(&context, key).await.map_err(refused)?;
            output.one(&key)?;
        }
    }
    installation.operations.access_log().flush(&installation.app, true).await?;
    installation.sealer.drain().await?;
    Ok(())
}

async fn all(identity: &Identity, context: &OpContext) -> anyhow::Result<Vec<SigningKeyRecord>> {
    let mut keys = Vec::new();
    let mut page = PageRequest { limit: operation::page::LIMIT_MAX, after: None };
    loop {
        let found = identity.signing_keys(context, &page).await.map_err(refused)?;
        keys.extend(found.data);
        match found.next {
            Some(next) => page.after = Some(next),
            None => return Ok(keys),
        }
    }
}

fn line(line: &InventoryLine) -> Vec<String> {
    vec![
        line.table.clone(),
        line.column.clone(),
        line.purpose.clone(),
        line.epoch.map(|epoch| epoch.to_string()).unwrap_or_default(),
        line.status.clone(),
        line.keys.to_string(),
        line.values.to_string(),
    ]
}

fn cells(key: &SigningKeyRecord) -> Vec<String> {
    let instant = |at: Option<jiff::Timestamp>| at.map(|at| at.to_string()).unwrap_or_default();
    vec![
        key.id.to_string(),
        key.algorithm.clone(),
        key.status.to_string(),
        key.created_at.to_string(),
        instant(key.activated_at),
        instant(key.verify_until),
        instant(key.revoked_at),
    ]
}
