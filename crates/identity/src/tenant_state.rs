//! What every request of a tenant needs: policy, signing keys, data keys. Read at
//! most once a second.
//!
//! Refuses to know how keys are used.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use operation::OperationError;
use tenancy::{DbError, OpContext, Query, TenantRef, keyring::TenantKeys, policy::SecurityPolicy};

use vault::password::{Hasher, Permit};

use crate::{
    Identity,
    context::{key_failure, password_failure},
    signing::KeySet,
};

const POLICY: &str = tenancy::sql!("identity/login.sql", "state");
const KEYS: &str = tenancy::sql!("identity/keys.sql", "list");

/// One reading of a tenant's policy and keys.
pub(crate) struct TenantState {
    pub(crate) policy: SecurityPolicy,
    pub(crate) signing: Arc<KeySet>,
    pub(crate) keys: Arc<TenantKeys>,
    read_at: Instant,
}

/// A token that names an unknown key may have been signed by one that another node made
/// a moment ago. Nobody asks more often than this because of it.
const RENEWED_AFTER: Duration = Duration::from_millis(100);

impl TenantState {
    /// A place in the hashing queue under the tenant's scheme.
    pub(crate) fn reserve_hash(&self, hasher: &Hasher) -> Result<Permit, OperationError> {
        hasher.reserve_for(self.policy.password.hashing.into()).map_err(password_failure)
    }
}

impl Identity {
    /// A tenant's policy, as it was at most a second ago: for limits and for
    /// telling clients the rules.
    pub async fn policy(&self, context: &OpContext) -> Result<SecurityPolicy, DbError> {
        Ok(self.state(context).await?.policy.clone())
    }

    pub(crate) async fn state(&self, context: &OpContext) -> Result<Arc<TenantState>, DbError> {
        let tenant = context.tenant_id();
        if let Some(state) = self.inner.states.get(&tenant)
            && !state.keys.is_stale()
        {
            return Ok(state);
        }
        // Once a second: every future that asks is not to be as large as this one.
        Box::pin(self.read_state(context)).await
    }

    /// What is known now, for a token whose key `state` does not know; nothing where that
    /// was read just now.
    pub(crate) async fn renewed_state(
        &self,
        context: &OpContext,
        state: &TenantState,
    ) -> Result<Option<Arc<TenantState>>, DbError> {
        if state.read_at.elapsed() < RENEWED_AFTER {
            return Ok(None);
        }
        // Somebody else may have asked for the same reason.
        match self.inner.states.get(&context.tenant_id()) {
            Some(known) if known.read_at > state.read_at => Ok(Some(known)),
            _ => Box::pin(self.read_state(context)).await.map(Some),
        }
    }

    /// Opens what was read; where that names a key that is not known, with keys read anew.
    pub(crate) async fn opening<T>(
        &self,
        context: &OpContext,
        open: impl Fn(&TenantKeys) -> Result<T, DbError>,
    ) -> Result<T, DbError> {
        match open(&self.state(context).await?.keys) {
            Err(DbError::StaleKeys(_)) => open(&self.state(context).await?.keys),
            outcome => outcome,
        }
    }

    async fn read_state(&self, context: &OpContext) -> Result<Arc<TenantState>, DbError> {
        let tenant = context.tenant_id();
        let read_at = Instant::now();
        let database = self.inner.operations.database();
        let keyring = &self.inner.keyring;
        let mut keys = keyring.tenant(database, context).await.map_err(key_failure)?;
        let rows = database
            .read(context, &[Query::new(POLICY, &[&tenant]), Query::new(KEYS, &[&tenant])])
            .await?;
        let [policies, signing] = rows.as_slice() else {
            return Err(DbError::Corrupt("two statements gave other than two results".to_owned()));
        };
        let policy = policies
            .first()
            .ok_or_else(|| DbError::Corrupt("the tenant has no security policy".to_owned()))?
            .try_get("policy")?;
        let mut set = self.key_set(context, &keys, signing);
        if let Err(DbError::StaleKeys(_)) = set {
            keys = keyring.tenant(database, context).await.map_err(key_failure)?;
            set = self.key_set(context, &keys, signing);
        }
        let state = TenantState {
            policy: serde_json::from_value(policy)
                .map_err(|error| DbError::Corrupt(format!("security policy: {error}")))?,
            signing: set?,
            keys,
            read_at,
        };
        let state = Arc::new(state);
        self.inner.states.put(tenant, read_at, Arc::clone(&state));
        Ok(state)
    }

    /// The tenant's issuer: the policy's own, else its URL.
    pub(crate) fn issuer(&self, tenant: &TenantRef, policy: &SecurityPolicy) -> String {
        policy.token.issuer.clone().unwrap_or_else(|| self.tenant_url(tenant))
    }

    pub(crate) fn tenant_url(&self, tenant: &TenantRef) -> String {
        format!("{}/t/{}", self.inner.config.public_url.trim_end_matches('/'), tenant.slug)
    }
}
