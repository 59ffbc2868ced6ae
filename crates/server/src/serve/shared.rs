//! Owns joining the other nodes in the store of `REDIS_URL`, where one is named. A store
//! that is away keeps nobody from serving: this node counts alone until it is there.

use hotstate::shared::Shared;
use vault::{RootKeys, SecretBytes};

use crate::compose::Installation;
use crate::config::Configuration;

/// What names in the store are made with: the same on every node that has our root.
pub fn secret(roots: &RootKeys) -> SecretBytes {
    roots.encryption().derive_secret("shared-state-names")
}

/// Shares limits and blocks from now on; tries for a second at most.
///
/// # Errors
/// Where `REDIS_URL` is no address.
pub async fn begin(
    installation: &Installation,
    configuration: &Configuration,
    secret: SecretBytes,
) -> anyhow::Result<()> {
    let Some(address) = configuration.shared_store()? else { return Ok(()) };
    let patience = configuration.shared_store_patience();
    installation.share(&Shared::open(address, secret, patience).await?);
    Ok(())
}
