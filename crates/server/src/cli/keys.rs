//! `strongroom keys`: the keys that sign a tenant's tokens, those that seal and wrap, and what
//! is sealed under which. Audited as the operator at the command line.

mod bundle;

use std::path::PathBuf;
use std::sync::Arc;

use clap::{Args, Subcommand, ValueEnum};
use identity::{Identity, SigningKeyRecord};
use operation::{InventoryLine, KeysRewrapped, PageRequest, ResealingProgress};
use serde::Serialize;
use tenancy::{ActorKind, OpContext, TenantRef, keyring::Rotatable};
use uuid::Uuid;

use super::exit::Found;
use super::output::Output;
use super::tenant::refused;
use crate::compose::Installation;
use crate::config::Configuration;
use crate::serve;

/// List, rotate and revoke the keys that sign tokens and those that seal and wrap; count what is sealed under which.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// List a tenant's signing keys, newest first, retired ones included.
    List {
        /// The tenant.
        #[arg(long, value_name = "SLUG")]
        tenant: String,
    },
    /// Count the sealed values of every column by the keys that seal them, read from the values themselves, and tell how far those of older keys are sealed anew. Reads all of them, so it takes a while on a large tenant.
    Status {
        /// The tenant.
        #[arg(long, value_name = "SLUG")]
        tenant: String,
    },
    /// Have the next key sign from now on; tokens of the one before stay good. Takes a little more than a second where the next key has to be published first. With --data or --kek: make one generation more of a key that seals or wraps; older ones open what they sealed.
    Rotate {
        /// The tenant.
        #[arg(long, value_name = "SLUG")]
        tenant: String,
        /// Which of those that seal and wrap.
        #[command(flatten)]
        which: Which,
    },
    /// Wrap by the newest KEKs all keys that older ones wrap, and seal and index by the newest data keys what older ones do, of one tenant or of all, suspended ones included. A server does the latter by itself. May be stopped and begun again at any time.
    Rewrap {
        /// The tenant; all where absent.
        #[arg(long, value_name = "SLUG")]
        tenant: Option<String>,
    },
    /// End a key that somebody else may have, and all its tokens, at once. People and the console stay signed in. With --epoch: destroy a retired generation of a key that nothing is sealed or wrapped by any more.
    Revoke {
        /// The key: the `kid` of its tokens.
        #[arg(value_name = "KID", required_unless_present = "epoch", conflicts_with_all = ["epoch", "which"])]
        key: Option<Uuid>,
        /// The generation of the key that --data or --kek names.
        #[arg(long, value_name = "NUMBER", requires = "which", value_parser = clap::value_parser!(i32).range(1..))]
        epoch: Option<i32>,
        /// The tenant.
        #[arg(long, value_name = "SLUG")]
        tenant: String,
        /// Which of those that seal and wrap.
        #[command(flatten)]
        which: Which,
    },
    /// Write the keys that open what is sealed, as they are now, for a database that is restored from an older backup: wrapped, so that they open nothing without the roots and the key shares. Overwrite the file after every erasure that is to outlive backups (rotate --kek field, rewrap, revoke --epoch), and archive none.
    Export {
        /// The file.
        #[arg(value_name = "FILE")]
        file: PathBuf,
    },
    /// Take the keys of a file that export wrote into a database that was restored from an older backup: what lives opens again, and who was erased since is erased again. May be stopped and begun again at any time.
    Import {
        /// The file.
        #[arg(value_name = "FILE")]
        file: PathBuf,
    },
}

/// A key that seals or wraps.
#[derive(Clone, Copy, Debug, Args)]
#[group(id = "which", multiple = false)]
pub struct Which {
    /// A key that seals or indexes: field for what belongs to no person, index for what sealed values are found by.
    #[arg(long, value_name = "CLASS")]
    data: Option<DataClass>,
    /// A key that wraps others: tenant for those that sign and verify, field for those that seal and index.
    #[arg(long, value_name = "CLASS")]
    kek: Option<KekClass>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum DataClass {
    /// What belongs to no person: the tenant's own secrets.
    Field,
    /// What sealed values are found by: addresses, telephone and tax numbers.
    Index,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum KekClass {
    /// Wraps signing keys, log keys and those of cursors, sessions and refresh tokens.
    Tenant,
    /// Wraps the keys of people, of sealed fields and of blind indexes.
    Field,
}

impl Which {
    const fn named(self) -> Option<Rotatable> {
        match (self.data, self.kek) {
            (Some(DataClass::Field), _) => Some(Rotatable::FieldData),
            (Some(DataClass::Index), _) => Some(Rotatable::BlindIndex),
            (None, Some(KekClass::Tenant)) => Some(Rotatable::TenantKek),
            (None, Some(KekClass::Field)) => Some(Rotatable::FieldKek),
            (None, None) => None,
        }
    }
}

/// What was wrapped anew in a tenant.
#[derive(Debug, Serialize)]
struct RewrapLine {
    tenant: String,
    #[serde(flatten)]
    keys: KeysRewrapped,
    values: usize,
    skipped: usize,
}

const HEADERS: [&str; 7] =
    ["kid", "algorithm", "status", "created_at", "activated_at", "verify_until", "revoked_at"];
const INVENTORY: [&str; 8] =
    ["table", "column", "purpose", "epoch", "status", "keys", "values", "resealing"];
const REWRAPPED: [&str; 6] =
    ["tenant", "data_keys", "subject_keys", "log_keys", "values", "skipped"];

pub(super) async fn run(
    command: Command,
    configuration: &Configuration,
    output: Output,
) -> anyhow::Result<()> {
    configuration.check_form()?;
    let installation = Installation::assemble(serve::ingredients(configuration).await?)?;
    match command {
        Command::Export { file } => bundle::export(&installation, &file, output).await?,
        Command::Import { file } => bundle::import(&installation, &file, output).await?,
        Command::Rewrap { tenant } => rewrap(&installation, tenant.as_deref(), output).await?,
        Command::List { tenant } => {
            let context = context(&installation, &tenant).await?;
            let keys = all(&installation.identity, &context).await?;
            output.list(&HEADERS, &keys, cells)?;
        }
        Command::Status { tenant } => {
            let context = context(&installation, &tenant).await?;
            let lines = installation.identity.key_inventory(&context).await;
            output.list(&INVENTORY, &lines.map_err(refused)?, line)?;
        }
        Command::Rotate { tenant, which } => {
            let context = context(&installation, &tenant).await?;
            if let Some(what) = which.named() {
                let made = installation.identity.rotate_data_key(&context, what).await;
                output.one(&made.map_err(refused)?)?;
            } else {
                let key = installation.identity.rotate_signing_key(&context).await;
                output.one(&key.map_err(refused)?)?;
            }
        }
        Command::Revoke { key, epoch, tenant, which } => {
            let context = context(&installation, &tenant).await?;
            match (key, epoch, which.named()) {
                (_, Some(epoch), Some(what)) => {
                    let identity = &installation.identity;
                    let ended = identity.destroy_data_key(&context, what, epoch).await;
                    output.one(&ended.map_err(refused)?)?;
                }
                (Some(key), _, _) => {
                    let key = installation.identity.revoke_signing_key(&context, key).await;
                    output.one(&key.map_err(refused)?)?;
                }
                _ => anyhow::bail!("which key: a KID, or --epoch with --data or --kek"),
            }
        }
    }
    installation.operations.access_log().flush(&installation.app, true).await?;
    installation.sealer.drain().await?;
    Ok(())
}

async fn context(installation: &Installation, slug: &str) -> anyhow::Result<OpContext> {
    Ok(installation.context(installation.tenant(slug).await?, ActorKind::Cli))
}

/// Tenant by tenant, and in each until nothing is left: every step is whole by itself.
async fn rewrap(
    installation: &Installation,
    slug: Option<&str>,
    output: Output,
) -> anyhow::Result<()> {
    let mut lines = Vec::new();
    for tenant in tenants(installation, slug).await? {
        let context = installation.context(Arc::clone(&tenant), ActorKind::Cli);
        let mut line = RewrapLine {
            tenant: tenant.slug.clone(),
            keys: KeysRewrapped::default(),
            values: 0,
            skipped: 0,
        };
        loop {
            let step = installation.identity.rewrap_keys(&context).await.map_err(refused)?;
            if step.is_none() {
                break;
            }
            line.keys.data_keys += step.data_keys;
            line.keys.subject_keys += step.subject_keys;
            line.keys.log_keys += step.log_keys;
        }
        loop {
            let step = installation.identity.reseal_values(&context).await.map_err(refused)?;
            if step.is_over {
                break;
            }
            line.values += step.values;
            line.skipped += step.skipped;
        }
        lines.push(line);
    }
    output.list(&REWRAPPED, &lines, |line| {
        let keys = [line.keys.data_keys, line.keys.subject_keys, line.keys.log_keys];
        let counts = keys.into_iter().chain([line.values, line.skipped]);
        std::iter::once(line.tenant.clone()).chain(counts.map(|count| count.to_string())).collect()
    })
}

async fn tenants(
    installation: &Installation,
    slug: Option<&str>,
) -> anyhow::Result<Vec<Arc<TenantRef>>> {
    let mut tenants = installation.directory.with_suspended().await?;
    if let Some(slug) = slug {
        tenants.retain(|tenant| tenant.slug == slug);
        if tenants.is_empty() {
            return Err(Found(format!("there is no tenant {slug}")).into());
        }
    }
    Ok(tenants)
}

async fn all(identity: &Identity, context: &OpContext) -> anyhow::Result<Vec<SigningKeyRecord>> {
    let mut keys = Vec::new();
    let mut page =
        PageRequest { limit: operation::page::LIMIT_MAX, after: None, ..PageRequest::default() };
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
        line.resealing.as_ref().map(resealing).unwrap_or_default(),
    ]
}

/// `running to 2: 40 of 90, 1 skipped`.
fn resealing(progress: &ResealingProgress) -> String {
    let ResealingProgress { to_epoch, state, done, total, skipped } = progress;
    format!("{state} to {to_epoch}: {done} of {total}, {skipped} skipped")
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
