//! The directory of tenants: what a request is routed by before anything else is known.

use std::{
    collections::HashMap,
    sync::{Arc, RwLock},
    time::{Duration, Instant},
};

use uuid::Uuid;

use crate::{Blueprint, Database, DbError, Query, TenantId, TenantRef};

const ALL: &str = crate::sql!("tenancy/directory.sql", "all_tenants");
const WITH_SUSPENDED: &str = crate::sql!("tenancy/directory.sql", "with_suspended");

/// All tenants, read at most once a second.
#[derive(Clone)]
pub struct Directory {
    database: Database,
    cache: Arc<RwLock<Cached>>,
}

struct Cached {
    /// When it was read, or when somebody began to read it anew.
    read_at: Option<Instant>,
    /// How often it was refreshed: an older reading must not undo that.
    refreshes: u64,
    tenants: Arc<Tenants>,
}

/// One reading of the directory.
#[derive(Debug, Default)]
pub struct Tenants {
    by_id: HashMap<Uuid, Arc<TenantRef>>,
    by_slug: HashMap<String, Arc<TenantRef>>,
}

const FRESH_FOR: Duration = Duration::from_secs(1);

impl Directory {
    /// A directory over a database.
    pub fn new(database: Database) -> Self {
        let cache = Cached { read_at: None, refreshes: 0, tenants: Arc::default() };
        Self { database, cache: Arc::new(RwLock::new(cache)) }
    }

    /// The tenant of that id, if it is active.
    pub async fn by_id(&self, id: TenantId) -> Result<Option<Arc<TenantRef>>, DbError> {
        Ok(self.tenants().await?.by_id.get(&id.0).cloned())
    }

    /// The tenant of that slug, if it is active.
    pub async fn by_slug(&self, slug: &str) -> Result<Option<Arc<TenantRef>>, DbError> {
        Ok(self.tenants().await?.by_slug.get(slug).cloned())
    }

    /// Every active tenant, by slug.
    pub async fn list(&self) -> Result<Vec<Arc<TenantRef>>, DbError> {
        let tenants = self.tenants().await?;
        let mut list: Vec<_> = tenants.by_slug.values().cloned().collect();
        list.sort_by(|left, right| left.slug.cmp(&right.slug));
        Ok(list)
    }

    /// Every tenant, the suspended ones as well, by slug: for what is kept of them all. Read
    /// anew each time.
    pub async fn with_suspended(&self) -> Result<Vec<Arc<TenantRef>>, DbError> {
        let rows = self.database.directory_query(Query::new(WITH_SUSPENDED, &[])).await?;
        rows.iter().map(|row| tenant_from_row(row).map(Arc::new)).collect()
    }

    /// Forgets what was read: after a tenant was created here.
    pub fn refresh(&self) {
        if let Ok(mut cache) = self.cache.write() {
            cache.read_at = None;
            cache.refreshes += 1;
        }
    }

    async fn tenants(&self) -> Result<Arc<Tenants>, DbError> {
        if let Some(tenants) = self.fresh() {
            return Ok(tenants);
        }
        let refreshes = self.begin_reading();
        let tenants = self.read().await.map(Arc::new);
        if let Ok(mut cache) = self.cache.write()
            && cache.refreshes == refreshes
        {
            match &tenants {
                Ok(tenants) => {
                    cache.read_at = Some(Instant::now());
                    cache.tenants = Arc::clone(tenants);
                }
                Err(_) => cache.read_at = None,
            }
        }
        tenants
    }

    fn fresh(&self) -> Option<Arc<Tenants>> {
        let cache = self.cache.read().ok()?;
        let fresh = cache.read_at.is_some_and(|read_at| read_at.elapsed() < FRESH_FOR);
        fresh.then(|| Arc::clone(&cache.tenants))
    }

    /// One reads, the others make do with what there is for that moment (where
    /// it is not old): not every request of a busy node asks the same thing at
    /// each second's turn.
    fn begin_reading(&self) -> u64 {
        self.cache.write().map_or(0, |mut cache| {
            let recent = cache.read_at.filter(|read_at| read_at.elapsed() < 2 * FRESH_FOR);
            cache.read_at = recent.map(|_| Instant::now());
            cache.refreshes
        })
    }

    async fn read(&self) -> Result<Tenants, DbError> {
        let rows = self.database.directory_query(Query::new(ALL, &[])).await?;
        let mut tenants = Tenants::default();
        for row in rows {
            let tenant = Arc::new(tenant_from_row(&row)?);
            tenants.by_slug.insert(tenant.slug.clone(), Arc::clone(&tenant));
            tenants.by_id.insert(tenant.id.0, tenant);
        }
        Ok(tenants)
    }
}

fn tenant_from_row(row: &tokio_postgres::Row) -> Result<TenantRef, DbError> {
    let blueprint: String = row.try_get("blueprint")?;
    Ok(TenantRef {
        id: TenantId(row.try_get("id")?),
        slug: row.try_get("slug")?,
        blueprint: blueprint
            .parse::<Blueprint>()
            .map_err(|error| DbError::Corrupt(error.to_string()))?,
        modules: row.try_get("modules")?,
        time_zone: row.try_get("time_zone")?,
    })
}
