//! A transaction that belongs to one tenant. The only way for a domain to reach a
//! table, so that a statement without a tenant cannot be written by accident.

use deadpool_postgres::Object;
use futures_util::future::try_join_all;
use tokio_postgres::{Row, types::ToSql};
use uuid::Uuid;

use crate::{ActorKind, DbError, OpContext, database::prepare_all};

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
pub(crate) struct Settings {
    tenant: String,
    user: String,
    organization: String,
    now: String,
}

impl Settings {
    /// One statement sets all of them, so that a begin stays one round trip.
    pub(crate) const SQL: &'static str = "SELECT set_config('app.current_tenant', $1, true), \
         set_config('app.current_user_id', $2, true), set_config('app.current_org_id', $3, true), \
         set_config('app.now', $4, true)";

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
        Self {
            tenant: context.tenant.id.to_string(),
            user,
            organization,
            now: context.clock.sql_setting(),
        }
    }

    pub(crate) fn parameters(&self) -> [&(dyn ToSql + Sync); 4] {
        [&self.tenant, &self.user, &self.organization, &self.now]
    }
}

/// An open transaction of one tenant. Dropped without a commit (error, panic,
/// cancellation), it closes its connection, which rolls back on the server: a
/// connection whose state is in doubt never returns to the pool.
pub struct TenantTx {
    client: Option<Object>,
    tenant: Uuid,
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
        };
        let connection = transaction.client()?;
        let set = connection.prepare_cached(Settings::SQL).await?;
        let statements = prepare_all(connection, queries).await?;
        let parameters = settings.parameters();
        let ((), _, rows) = tokio::try_join!(
            connection.batch_execute("BEGIN"),
            connection.query(&set, &parameters),
            try_join_all(
                statements
                    .iter()
                    .zip(queries)
                    .map(|(statement, query)| connection.query(statement, query.parameters))
            ),
        )?;
        Ok((transaction, rows))
    }

    /// The tenant, as every statement's first parameter.
    pub fn tenant(&self) -> Uuid {
        self.tenant
    }

    /// Runs one statement.
    pub async fn query(&self, sql: &'static str, parameters: &[&(dyn ToSql + Sync)]) -> Result<Vec<Row>, DbError> {
        let client = self.client()?;
        let statement = client.prepare_cached(sql).await?;
        Ok(client.query(&statement, parameters).await?)
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
    pub async fn execute(&self, sql: &'static str, parameters: &[&(dyn ToSql + Sync)]) -> Result<u64, DbError> {
        let client = self.client()?;
        let statement = client.prepare_cached(sql).await?;
        Ok(client.execute(&statement, parameters).await?)
    }

    /// Runs several statements in order and in one round trip.
    pub async fn pipeline(&self, queries: &[Query<'_>]) -> Result<Vec<Vec<Row>>, DbError> {
        let client = self.client()?;
        // Prepared first: a statement that had to be prepared in between would
        // be overtaken by those behind it.
        let statements = prepare_all(client, queries).await?;
        let pending = statements
            .iter()
            .zip(queries)
            .map(|(statement, query)| client.query(statement, query.parameters));
        Ok(try_join_all(pending).await?)
    }

    /// Opens a savepoint to which [`TenantTx::rollback_to_savepoint`] returns.
    pub async fn savepoint(&self) -> Result<(), DbError> {
        Ok(self.client()?.batch_execute("SAVEPOINT operation").await?)
    }

    /// Undoes everything since the savepoint and forgets it.
    pub async fn rollback_to_savepoint(&self) -> Result<(), DbError> {
        let undo = "ROLLBACK TO SAVEPOINT operation; RELEASE SAVEPOINT operation";
        Ok(self.client()?.batch_execute(undo).await?)
    }

    /// Runs the last statements and commits, in one round trip. On any error
    /// nothing is committed.
    pub async fn commit_with(mut self, queries: &[Query<'_>]) -> Result<Vec<Vec<Row>>, DbError> {
        let client = self.client()?;
        let statements = prepare_all(client, queries).await?;
        let pending = statements
            .iter()
            .zip(queries)
            .map(|(statement, query)| client.query(statement, query.parameters));
        let (rows, ()) = tokio::try_join!(try_join_all(pending), client.batch_execute("COMMIT"))?;
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
