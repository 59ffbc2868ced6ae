//! The keys that seal and wrap, administered by people: their generations, what is sealed
//! under which, one generation more, and the end of one.
//!
//! Refuses to know how that is done (`operation::key_admin`): here is who proves a factor
//! first, and how much of it goes on at once.

use std::{sync::Arc, time::Duration};

use operation::{
    AdoptKeys, BundlePart, Call, Command, DestroyKey, InventoryLine, KeyDestroyed, KeyGeneration,
    KeyGenerations, KeyInventory, KeyRotation, KeysAdopted, KeysRewrapped, OperationError,
    ResealValues, RewrapKeys, RotateDataKey, TellKeys, Told, ValuesResealed,
};
use tenancy::{DbError, OpContext, keyring::Rotatable};
use uuid::Uuid;
use vault::keyring::Chain;

use crate::Identity;

/// A page that has read rows just before their keys were wrapped anew, and reads the keys
/// afterwards, still needs the older one.
const READS_END: Duration = Duration::from_secs(2);

/// Transactions of one request to wrap anew. What is left then is done by the next.
const STEPS_MAX: u32 = 20;

impl Identity {
    /// The generations of the keys that can be rotated, newest first.
    pub async fn key_generations(
        &self,
        context: &OpContext,
    ) -> Result<Vec<KeyGeneration>, OperationError> {
        self.inner.operations.read(context, &KeyGenerations).await
    }

    /// What is sealed under which keys. It reads every sealed value of the tenant, so this
    /// node counts for one request at a time.
    pub async fn key_inventory(
        &self,
        context: &OpContext,
    ) -> Result<Vec<InventoryLine>, OperationError> {
        let _turn = self.inner.inventories.acquire().await;
        let inventory = KeyInventory { sealed: self.inner.config.sealed };
        self.inner.operations.read(context, &inventory).await
    }

    /// One generation more; older ones open what they sealed. 403 `step_up_required`.
    pub async fn rotate_data_key(
        &self,
        context: &OpContext,
        what: Rotatable,
    ) -> Result<KeyRotation, OperationError> {
        self.require_recent_factor_of_people(context).await?;
        let keyring = Arc::clone(&self.inner.keyring);
        self.change_keys(context, RotateDataKey { keyring, what }).await
    }

    /// Wraps by the newest KEKs what older ones wrap, some ten thousand keys of people at
    /// most. Nothing was left where it says that none were. 403 `step_up_required`.
    pub async fn rewrap_keys(&self, context: &OpContext) -> Result<KeysRewrapped, OperationError> {
        self.require_recent_factor_of_people(context).await?;
        let mut done = KeysRewrapped::default();
        for _ in 0..STEPS_MAX {
            let keyring = Arc::clone(&self.inner.keyring);
            let step = self.change_keys(context, RewrapKeys { keyring }).await?;
            if step.is_none() {
                break;
            }
            done.data_keys += step.data_keys;
            done.subject_keys += step.subject_keys;
            done.log_keys += step.log_keys;
        }
        Ok(done)
    }

    /// Seals by the newest key a page of what older ones seal, and that belongs to no person.
    /// For the worker and the command line, which repeat it until nothing is left.
    pub async fn reseal_values(
        &self,
        context: &OpContext,
    ) -> Result<ValuesResealed, OperationError> {
        let sealed = self.inner.config.sealed;
        if !self.inner.operations.is_reseal_due(context, sealed).await? {
            return Ok(ValuesResealed { is_over: true, ..ValuesResealed::default() });
        }
        let keyring = Arc::clone(&self.inner.keyring);
        self.change_keys(context, ResealValues { keyring, sealed }).await
    }

    /// Destroys a retired generation that nothing is sealed or wrapped by. 403
    /// `step_up_required`, 404 where there is none, 409 `key_not_retired` or `key_in_use`.
    pub async fn destroy_data_key(
        &self,
        context: &OpContext,
        what: Rotatable,
        epoch: i32,
    ) -> Result<KeyDestroyed, OperationError> {
        self.require_recent_factor_of_people(context).await?;
        tokio::time::sleep(READS_END).await;
        let keyring = Arc::clone(&self.inner.keyring);
        let sealed = self.inner.config.sealed;
        let ended = self.change_keys(context, DestroyKey { keyring, sealed, what, epoch }).await?;
        // What is still on the disk when this is cut off goes when the keys are read next.
        let database = self.inner.operations.database();
        self.inner.keyring.forget_shares(database, context).await.map_err(DbError::from)?;
        Ok(ended)
    }

    /// The next part of what a bundle tells of the tenant's keys. For an operator.
    pub async fn tell_keys(
        &self,
        context: &OpContext,
        after: Option<Uuid>,
    ) -> Result<Told, OperationError> {
        self.change_keys(context, TellKeys { after }).await
    }

    /// Takes a part of a bundle into an older copy of the database. For an operator.
    pub async fn adopt_keys(
        &self,
        context: &OpContext,
        part: BundlePart,
    ) -> Result<KeysAdopted, OperationError> {
        self.change_keys(context, AdoptKeys { part }).await
    }

    /// Authenticates a bundle: whoever has the root of fields made it.
    pub fn bundle_chain(&self) -> Chain {
        self.inner.keyring.roots().field().chain("key-bundle/v1")
    }

    /// In a task of its own: who hangs up leaves no change half done.
    async fn change_keys<C: Command>(
        &self,
        context: &OpContext,
        command: C,
    ) -> Result<C::Output, OperationError> {
        let operations = self.inner.operations.clone();
        let call = Call { context: context.clone(), idempotency_key: None, command };
        let whole = tokio::spawn(async move { operations.run_one(call).await });
        Ok(whole.await.unwrap_or(Err(OperationError::Aborted))?.output)
    }
}
