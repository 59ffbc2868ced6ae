//! A transaction that belongs to one tenant. The only way for a domain to reach a
//! table, so that a statement without a tenant cannot be written by accident.

use std::{
    borrow::Borrow,
    sync::atomic::{AtomicBool, Ordering},
};

use deadpool_postgres::Object;
use futures_util::FutureExt;
use tokio_postgres::{Row, types::ToSql};
use uuid::Uuid;

use crate::{
    ActorKind, DbError, OpContext,
    database::{in_order, prepare_all},
    timing::timed,
};

/// A named statement with its parameters, the first of which is the tenant.
#[derive(Clone, Copy)]
pub struct Query<'a> {
    /// The text, out of `queries/` by [`crate::sql!`].
    pub sql: &'static str,
    /// `$1…`.
    pub parameters: &'a [&'a (dyn ToSql + Sync)],
}

impl<'a> Query<'a> {
    /// A statement with its parameters.
    pub const fn new(sql: &'static str, parameters: &'a [&'a (dyn ToSql + Sync)]) -> Self {
        Self { sql, parameters }
    }
}

/// The transaction-local settings that row security and `app_now()` read.
#[derive(Clone)]
pub(crate) struct Settings {
    tenant: String,
    user: String,
    organization: String,
    /// The organisation whose people the actor may see; empty for none.
    visible_organization: String,
    now: String,
}

impl Settings {
    /// What is set, in the order of [`Settings::parameters`].
    pub(crate) const NAMES: [&'static str; 5] = [
        "app.current_tenant",
        "app.current_user_id",
        "app.current_org_id",
        "app.visible_org_id",
        "app.now",
    ];

    /// One statement sets all of them, so that a begin stays one round trip. Whatever
    /// changes rows without `app.operation` is recorded row by row (`audit_row_change`).
    pub(crate) const SQL: &'static str = "SELECT set_config('app.current_tenant', $1, true), \
         set_config('app.current_user_id', $2, true), set_config('app.current_org_id', $3, true), \
         set_config('app.visible_org_id', $4, true), set_config('app.now', $5, true), \
         set_config('app.operation', 'yes', true)";

    pub(crate) fn of(context: &OpContext) -> Self {
        let actor = &context.actor;
        // `*` opens the row policies that narrow a tenant further; only the
        // system and roles that read tenant-wide carry it.
        let user = if actor.is_system() || actor.sees_all_users {
            "*".to_owned()
        } else {
            actor.id.to_string()
        };
        let organization = match (actor.organization, actor.kind) {
            (Some(organization), _) => organization.to_string(),
            (None, ActorKind::User | ActorKind::ApiKey) => String::new(),
            (None, _) => "*".to_owned(),
        };
        let visible = actor.organization.filter(|_| actor.sees_organization_users);
        Self {
            tenant: context.tenant.id.to_string(),
            user,
            organization,
            visible_organization: visible.map(|id| id.to_string()).unwrap_or_default(),
            now: context.clock.sql_setting(),
        }
    }

    /// What all of several actors of a tenant may see, and whether they differ at all:
    /// where they do, the policies that narrow a tenant further show nothing.
    pub(crate) fn common<S: Borrow<Self>>(
        first: Self,
        others: impl IntoIterator<Item = S>,
    ) -> (Self, bool) {
        let (mut common, mut differ) = (first, false);
        for other in others {
            let other = other.borrow();
            if other.user != common.user {
                common.user.clear();
                differ = true;
            }
            if other.organization != common.organization {
                common.organization.clear();
                differ = true;
            }
            if other.visible_organization != common.visible_organization {
                common.visible_organization.clear();
                differ = true;
            }
        }
        (common, differ)
    }

    pub(crate) fn parameters(&self) -> [&(dyn ToSql + Sync); 5] {
        [&self.tenant, &self.user, &self.organization, &self.visible_organization, &self.now]
    }
}

/// An open transaction of one tenant. Dropped without a commit (error, panic,
/// cancellation), it closes its connection, which rolls back on the server: a
/// connection whose state is in doubt never returns to the pool.
pub struct TenantTx {
    client: Option<Object>,
    tenant: Uuid,
    /// What the actors of a batch have in common; none where one actor acts.
    common: Option<Settings>,
    /// A statement failed and nothing was rolled back since: PostgreSQL would
    /// answer COMMIT with a silent ROLLBACK, so it must never be sent.
    failed: AtomicBool,
    savepoint_open: AtomicBool,
}

impl std::fmt::Debug for TenantTx {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("TenantTx").field("tenant", &self.tenant).finish_non_exhaustive()
    }
}

impl TenantTx {
    pub(crate) async fn begin(
        client: Object,
        settings: &Settings,
        queries: &[Query<'_>],
    ) -> Result<(Self, Vec<Vec<Row>>), DbError> {
        let tenant = settings
            .tenant
            .parse()
            .map_err(|_| DbError::Corrupt("tenant id of the context".to_owned()))?;
        let transaction = Self {
            client: Some(client),
            tenant,
            common: None,
            failed: AtomicBool::new(false),
            savepoint_open: AtomicBool::new(false),
        };
        let connection = transaction.client()?;
        let set = connection.prepare_cached(Settings::SQL).await?;
        let statements = prepare_all(connection, queries).await?;
        let parameters = settings.parameters();
        let ((), _, rows) = tokio::try_join!(
            biased;
            connection.batch_execute("BEGIN"),
            connection.query(&set, &parameters),
            in_order(
                statements
                    .iter()
                    .zip(queries)
                    .map(|(statement, query)| {
                        timed(query.sql, connection.query(statement, query.parameters))
                    })
            ),
        )?;
        Ok((transaction, rows))
    }

    /// Begins for several actors of one tenant. `queries` see every user's row
    /// (they are the core's own: whose sessions live); whatever follows sees what
    /// all actors may, until [`TenantTx::act_as`] says for whom it is done.
    pub(crate) async fn begin_batch(
        client: Object,
        (first, others): (&OpContext, &[&OpContext]),
        queries: &[Query<'_>],
    ) -> Result<(Self, Vec<Vec<Row>>), DbError> {
        let others = others.iter().map(|context| Settings::of(context));
        let (common, differ) = Settings::common(Settings::of(first), others);
        if !differ {
            return Self::begin(client, &common, queries).await;
        }
        let opening = Settings { user: "*".to_owned(), ..common.clone() };
        let (mut transaction, rows) = Self::begin(client, &opening, queries).await?;
        transaction.common = Some(common);
        transaction.act_as(None).await?;
        Ok((transaction, rows))
    }

    /// Says for which of a batch's actors the next statements are done, or that
    /// they are for all (none). Nothing is sent where one actor acts anyway, and
    /// nothing is waited for: a failure fails the statements behind it.
    pub async fn act_as(&self, context: Option<&OpContext>) -> Result<(), DbError> {
        let Some(common) = &self.common else { return Ok(()) };
        let settings = context.map_or_else(|| common.clone(), Settings::of);
        let client = self.client()?;
        let set = self.noted(client.prepare_cached(Settings::SQL).await)?;
        let parameters = settings.parameters();
        let refused = client.query(&set, &parameters).now_or_never();
        self.noted(refused.transpose()).map(drop)
    }

    /// The tenant, as every statement's first parameter.
    pub fn tenant(&self) -> Uuid {
        self.tenant
    }

    /// Runs one statement.
    pub async fn query(
        &self,
        sql: &'static str,
        parameters: &[&(dyn ToSql + Sync)],
    ) -> Result<Vec<Row>, DbError> {
        let client = self.client()?;
        let statement = self.noted(client.prepare_cached(sql).await)?;
        self.noted(timed(sql, client.query(&statement, parameters)).await)
    }

    /// Runs one statement that gives at most one row.
    pub async fn query_opt(
        &self,
        sql: &'static str,
        parameters: &[&(dyn ToSql + Sync)],
    ) -> Result<Option<Row>, DbError> {
        Ok(self.query(sql, parameters).await?.into_iter().next())
    }

    /// Runs one statement and counts the rows it changed.
    pub async fn execute(
        &self,
        sql: &'static str,
        parameters: &[&(dyn ToSql + Sync)],
    ) -> Result<u64, DbError> {
        let client = self.client()?;
        let statement = self.noted(client.prepare_cached(sql).await)?;
        self.noted(timed(sql, client.execute(&statement, parameters)).await)
    }

    /// Runs several statements in order and in one round trip.
    pub async fn pipeline(&self, queries: &[Query<'_>]) -> Result<Vec<Vec<Row>>, DbError> {
        let client = self.client()?;
        // Prepared first: a statement that had to be prepared in between would
        // be overtaken by those behind it.
        let statements = self.noted(prepare_all(client, queries).await)?;
        let pending = statements
            .iter()
            .zip(queries)
            .map(|(statement, query)| timed(query.sql, client.query(statement, query.parameters)));
        self.noted(in_order(pending).await)
    }

    /// Opens a savepoint to which [`TenantTx::rollback_to_savepoint`] returns; the
    /// one before is forgotten, so that they never nest. Costs no round trip: it
    /// is sent ahead of the next statement, which fails if it fails.
    pub fn savepoint(&self) -> Result<(), DbError> {
        let open = if self.savepoint_open.swap(true, Ordering::Relaxed) {
            "RELEASE SAVEPOINT operation; SAVEPOINT operation"
        } else {
            "SAVEPOINT operation"
        };
        let refused = self.client()?.batch_execute(open).now_or_never();
        self.noted(refused.transpose()).map(drop)
    }

    /// Undoes everything since the savepoint and forgets it.
    pub async fn rollback_to_savepoint(&self) -> Result<(), DbError> {
        let undo = "ROLLBACK TO SAVEPOINT operation; RELEASE SAVEPOINT operation";
        self.client()?.batch_execute(undo).await?;
        self.savepoint_open.store(false, Ordering::Relaxed);
        self.failed.store(false, Ordering::Relaxed);
        Ok(())
    }

    /// Runs the last statements and commits, in one round trip. On any error
    /// nothing is committed; where the connection broke, nobody knows.
    pub async fn commit_with(mut self, queries: &[Query<'_>]) -> Result<Vec<Vec<Row>>, DbError> {
        if self.failed.load(Ordering::Relaxed) {
            return Err(DbError::Corrupt("commit after a failed statement".to_owned()));
        }
        let client = self.client()?;
        let statements = prepare_all(client, queries).await?;
        let pending = statements
            .iter()
            .zip(queries)
            .map(|(statement, query)| timed(query.sql, client.query(statement, query.parameters)));
        let (rows, ()) =
            tokio::try_join!(biased; in_order(pending), client.batch_execute("COMMIT"))?;
        // Only now may the connection go back.
        drop(self.client.take());
        Ok(rows)
    }

    /// Commits.
    pub async fn commit(self) -> Result<(), DbError> {
        self.commit_with(&[]).await.map(drop)
    }

    /// Rolls back and gives the connection back.
    pub async fn rollback(mut self) -> Result<(), DbError> {
        self.client()?.batch_execute("ROLLBACK").await?;
        drop(self.client.take());
        Ok(())
    }

    fn noted<T, E: Into<DbError>>(&self, result: Result<T, E>) -> Result<T, DbError> {
        result.map_err(|error| {
            self.failed.store(true, Ordering::Relaxed);
            error.into()
        })
    }

    fn client(&self) -> Result<&Object, DbError> {
        self.client
            .as_ref()
            .ok_or_else(|| DbError::Unavailable("transaction is finished".to_owned()))
    }
}

impl Drop for TenantTx {
    fn drop(&mut self) {
        if let Some(client) = self.client.take() {
            drop(Object::take(client));
        }
    }
}
