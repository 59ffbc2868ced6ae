//! The keys of all tenants on this node, and how old what is known of them may be.
//!
//! Another node may make, retire and destroy keys. What this one knows is read again after a
//! second, so that nothing is sealed under a retired key for long, and at once where a
//! ciphertext names a key that is not known ([`TenantKeys::is_stale`]): such a key is new,
//! or there is none. Refuses to know what is opened with them.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, RwLock},
    time::{Duration, Instant},
};

use tokio_postgres::types::ToSql;
use uuid::Uuid;
use vault::{Kek, Purpose, RootKeys, TenantKey as _};

use super::{
    FIRST_EPOCH, KeyName, KeyShares, KeyringError, TenantKeys, Unopened, generations,
    roots::Roots,
    stored::{self, DATA_KEYS, KEKS, Stored},
};
use crate::{Database, OpContext, Query, TenantTx};

/// How old a reading may be.
const FRESH_FOR: Duration = Duration::from_secs(1);

/// Names of keys that a tenant does not have, remembered so that each is looked for once.
const ABSENT_MAX: usize = 1_000;

#[derive(Clone)]
struct Reading {
    keys: Arc<TenantKeys>,
    at: Instant,
}

impl Reading {
    fn is_fresh(&self) -> bool {
        self.at.elapsed() < FRESH_FOR && !self.keys.is_stale()
    }
}

/// All tenants' keys on this node.
pub struct Keyring {
    roots: Roots,
    tenants: RwLock<HashMap<Uuid, Reading>>,
    unopened: Arc<Unopened>,
}

impl std::fmt::Debug for Keyring {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Keyring")
    }
}

impl Keyring {
    /// A keyring over the two roots.
    pub fn new(roots: RootKeys) -> Self {
        Self { roots: roots.into(), tenants: RwLock::default(), unopened: Arc::default() }
    }

    /// The same with shares of field KEKs, which whoever destroys one destroys with it.
    #[must_use]
    pub fn sharing(mut self, shares: Option<KeyShares>) -> Self {
        self.roots.shares = shares;
        self
    }

    /// How a tenant's field KEKs outlive their end in copies of the database: those that the
    /// root alone opens, by their generation.
    pub async fn keks_without_share(
        &self,
        database: &Database,
        context: &OpContext,
    ) -> Result<Vec<u32>, KeyringError> {
        let stored = self.read(database, context).await?;
        let field = stored.keks.iter().filter(|row| row.context.purpose == Purpose::FieldKek);
        let alone = field.filter(|row| self.roots.is_without_share(row));
        Ok(alone.map(|row| row.context.epoch).collect())
    }

    /// Has the shares of the tenant's destroyed KEKs be gone, which are so in the database.
    pub async fn forget_shares(
        &self,
        database: &Database,
        context: &OpContext,
    ) -> Result<(), KeyringError> {
        self.roots.forget(&self.read(database, context).await?.keks)
    }

    /// What did not open on this node.
    pub fn unopened(&self) -> &Unopened {
        &self.unopened
    }

    /// The roots, for what is derived from them (the password pepper).
    pub fn roots(&self) -> &RootKeys {
        &self.roots.keys
    }

    /// What wraps KEKs.
    pub(super) fn wrapping(&self) -> &Roots {
        &self.roots
    }

    /// A tenant's keys, from memory or the database.
    pub async fn tenant(
        &self,
        database: &Database,
        context: &OpContext,
    ) -> Result<Arc<TenantKeys>, KeyringError> {
        let tenant = context.tenant_id();
        let known = self.known(tenant);
        if let Some(known) = known.as_ref().filter(|known| known.is_fresh()) {
            return Ok(Arc::clone(&known.keys));
        }
        let (at, asked) = (Instant::now(), asked(known.as_ref()));
        let stored = self.read(database, context).await?;
        let (keys, _) = self.opened(tenant, &stored, known.as_ref(), asked)?;
        // Who destroyed one may have ended before its share did.
        self.roots.forget(&stored.keks)?;
        self.remember(tenant, &keys, at);
        Ok(keys)
    }

    /// What is committed of a tenant's keys.
    async fn read(&self, database: &Database, context: &OpContext) -> Result<Stored, KeyringError> {
        let tenant = context.tenant_id();
        let parameters: [&(dyn ToSql + Sync); 1] = [&tenant];
        let queries = [Query::new(KEKS, &parameters), Query::new(DATA_KEYS, &parameters)];
        let rows = database.read(context, &queries).await?;
        Stored::from_rows(tenant, &rows)
    }

    /// A tenant's keys, from memory or inside a transaction. What it reads that is new to
    /// this node is not remembered: the transaction may have made it, and may yet roll back.
    pub async fn tenant_in(&self, transaction: &TenantTx) -> Result<Arc<TenantKeys>, KeyringError> {
        let tenant = transaction.tenant();
        let known = self.known(tenant);
        if let Some(known) = known.as_ref().filter(|known| known.is_fresh()) {
            return Ok(Arc::clone(&known.keys));
        }
        let (at, asked) = (Instant::now(), asked(known.as_ref()));
        let parameters: [&(dyn ToSql + Sync); 1] = [&tenant];
        let queries = [Query::new(KEKS, &parameters), Query::new(DATA_KEYS, &parameters)];
        let rows = transaction.pipeline(&queries).await?;
        let stored = Stored::from_rows(tenant, &rows)?;
        let (keys, is_known) = self.opened(tenant, &stored, known.as_ref(), asked)?;
        if is_known {
            self.remember(tenant, &keys, at);
        }
        Ok(keys)
    }

    /// Makes the keys of a new tenant and stores them wrapped. They are cached
    /// only when read again: this transaction may yet roll back.
    pub async fn create_tenant_keys(
        &self,
        transaction: &TenantTx,
    ) -> Result<Arc<TenantKeys>, KeyringError> {
        let tenant = transaction.tenant();
        let made = new_tenant(&self.roots, tenant)?;
        for key in made.keks.iter().chain(&made.data_keys) {
            stored::insert(transaction, key).await?;
        }
        let keys = generations::open(&self.roots, tenant, &made, HashSet::new())?;
        Ok(self.noting(keys))
    }

    fn known(&self, tenant: Uuid) -> Option<Reading> {
        self.tenants.read().ok()?.get(&tenant).cloned()
    }

    fn remember(&self, tenant: Uuid, keys: &Arc<TenantKeys>, at: Instant) {
        if let Ok(mut tenants) = self.tenants.write() {
            // A slower reading may have begun before a faster one.
            match tenants.get(&tenant) {
                Some(later) if later.at > at => {}
                _ => drop(tenants.insert(tenant, Reading { keys: Arc::clone(keys), at })),
            }
        }
    }

    /// The keys of a reading, and whether they are those that were known.
    fn opened(
        &self,
        tenant: Uuid,
        stored: &Stored,
        known: Option<&Reading>,
        mut asked: HashSet<KeyName>,
    ) -> Result<(Arc<TenantKeys>, bool), KeyringError> {
        let known = known.filter(|known| known.keys.made_of == stored.made_of());
        if let Some(known) = known {
            if !known.keys.is_stale() {
                return Ok((Arc::clone(&known.keys), true));
            }
            if asked.len() + known.keys.absent.len() < ABSENT_MAX {
                asked.extend(&known.keys.absent);
            }
        }
        let keys = generations::open(&self.roots, tenant, stored, asked)?;
        Ok((self.noting(keys), known.is_some()))
    }

    /// Keys that tell this keyring what does not open with them.
    fn noting(&self, mut keys: TenantKeys) -> Arc<TenantKeys> {
        keys.unopened = Arc::clone(&self.unopened);
        Arc::new(keys)
    }
}

/// What was asked for in vain before a reading begins: where it is not in that either,
/// there is no such key.
fn asked(known: Option<&Reading>) -> HashSet<KeyName> {
    let wanted = known.and_then(|known| Some(known.keys.wanted.lock().ok()?.clone()));
    wanted.unwrap_or_default()
}

/// The first generation of every key of a tenant.
pub(super) fn new_tenant(roots: &Roots, tenant: Uuid) -> Result<Stored, KeyringError> {
    let tenant_kek = Kek::generate(tenant, Purpose::TenantKek, FIRST_EPOCH)?;
    let field_kek = Kek::generate(tenant, Purpose::FieldKek, FIRST_EPOCH)?;
    let keks = vec![roots.wrap(&tenant_kek)?, roots.wrap(&field_kek)?];
    let data_keys = vec![
        stored::data_key(tenant, Purpose::FieldData, FIRST_EPOCH, &field_kek)?,
        stored::data_key(tenant, Purpose::BlindIndex, FIRST_EPOCH, &field_kek)?,
        stored::data_key(tenant, Purpose::AuditData, FIRST_EPOCH, &tenant_kek)?,
        stored::data_key(tenant, Purpose::RefreshSuccessor, FIRST_EPOCH, &tenant_kek)?,
        stored::data_key(tenant, Purpose::Cursor, FIRST_EPOCH, &tenant_kek)?,
        stored::data_key(tenant, Purpose::Session, FIRST_EPOCH, &tenant_kek)?,
    ];
    Ok(Stored { keks, data_keys })
}
