//! The directory of tenants: what a request is routed by before anything else is known.

use std::{
    collections::HashMap,
    sync::{Arc, RwLock},
    time::{Duration, Instant},
};

use uuid::Uuid;

use crate::{Blueprint, Database, DbError, Query, TenantId, TenantRef};

const ALL: &str = crate::sql!("tenancy/directory.sql", "all_tenants");

/// All tenants, read at most once a second.
#[derive(Clone)]
pub struct Directory {
    database: Database,
    cache: Arc<RwLock<Cached>>,
}

struct Cached {
    read_at: Option<Instant>,
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
        let cache = Cached {
            read_at: None,
            tenants: Arc::default(),
        };
        Self {
            database,
            cache: Arc::new(RwLock::new(cache)),
        }
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

    /// Forgets what was read: after a tenant was created here.
    pub fn refresh(&self) {
        if let Ok(mut cache) = self.cache.write() {
            cache.read_at = None;
        }
    }

    async fn tenants(&self) -> Result<Arc<Tenants>, DbError> {
        if let Ok(cache) = self.cache.read()
            && cache.read_at.is_some_and(|read_at| read_at.elapsed() < FRESH_FOR)
        {
            return Ok(Arc::clone(&cache.tenants));
        }
        let rows = self.database.directory_query(Query::new(ALL, &[])).await?;
        let mut tenants = Tenants::default();
        for row in rows {
            let tenant = Arc::new(tenant_from_row(&row)?);
            tenants.by_slug.insert(tenant.slug.clone(), Arc::clone(&tenant));
            tenants.by_id.insert(tenant.id.0, tenant);
        }
        let tenants = Arc::new(tenants);
        if let Ok(mut cache) = self.cache.write() {
            *cache = Cached {
                read_at: Some(Instant::now()),
                tenants: Arc::clone(&tenants),
            };
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
