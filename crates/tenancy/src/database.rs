//! The pool and the pipelined read.
//!
//! Round trips are the price of everything here: a read is one (BEGIN, settings,
//! query, COMMIT leave in one flush), a write is one to begin, authorise and load,
//! as many as its rules need, and one to record and commit.

use std::{
    future::poll_fn,
    pin::Pin,
    sync::Arc,
    task::Poll,
    time::{Duration, Instant},
};

use deadpool_postgres::{
    Hook, HookError, Manager, ManagerConfig, Object, Pool, RecyclingMethod, Runtime, Timeouts,
};
use futures_util::future::{TryFuture, TryMaybeDone, try_join_all, try_maybe_done};
use tokio_postgres::{Config, Row, Statement};

use crate::{
    DbError, OpContext, Query, TenantTx,
    gather::Gather,
    reader::{self, Readers},
    timing::timed,
    tls::{self, Connector, OptionsError, TlsOptions},
    transaction::Settings,
};

/// How to reach PostgreSQL and how hard to lean on it.
#[derive(Clone)]
pub struct DatabaseConfig {
    /// A libpq URL. Its password never appears in logs: print nothing of it.
    pub url: String,
    /// Connections kept and opened on demand, overflow included.
    pub max_connections: usize,
    /// Connections kept when idle.
    pub idle_connections: usize,
    /// How long a request waits for a connection before it answers 503.
    pub wait_timeout_ms: u64,
    /// The statement limit of every connection.
    pub statement_timeout_ms: u64,
    /// Role to take on at connect (development and tests, where the login is the
    /// cluster's superuser). Production logs in as the role itself.
    pub set_role: Option<&'static str>,
    /// Shown in `pg_stat_activity`.
    pub application_name: String,
}

impl std::fmt::Debug for DatabaseConfig {
    /// Without the URL: it holds a password.
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("DatabaseConfig")
            .field("max_connections", &self.max_connections)
            .field("set_role", &self.set_role)
            .field("application_name", &self.application_name)
            .finish_non_exhaustive()
    }
}

impl DatabaseConfig {
    /// The defaults of the specification for a URL: 5 kept, 20 plus 10 overflow.
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            max_connections: 30,
            idle_connections: 5,
            wait_timeout_ms: 5_000,
            statement_timeout_ms: 30_000,
            set_role: None,
            application_name: "strongroom".to_owned(),
        }
    }

    /// The same server under another role (development and tests).
    #[must_use]
    pub fn with_role(mut self, role: &'static str) -> Self {
        self.set_role = Some(role);
        self
    }

    /// What connections are encrypted with.
    pub fn connector(&self) -> Result<Connector, DbError> {
        self.parsed().map(|(_, tls)| Connector::new(tls))
    }

    fn parsed(&self) -> Result<(Config, TlsOptions), DbError> {
        // SQLAlchemy's driver suffix is accepted: seed 000's URLs carry it.
        let url = self.url.replacen("postgresql+asyncpg://", "postgresql://", 1);
        let complain = |error: OptionsError| DbError::Unavailable(format!("DATABASE_URL {error}"));
        tls::parse(&url).map_err(complain)
    }

    /// The connection parameters, settings included.
    pub fn connection_config(&self) -> Result<Config, DbError> {
        let (mut config, _) = self.parsed()?;
        let given = config.get_options().unwrap_or_default();
        let role = self.set_role.map(|role| format!("-c role={role}")).unwrap_or_default();
        // An operation that hangs in our own code must not hold its locks for ever.
        let options = format!(
            "{given} {role} -c statement_timeout={} -c idle_in_transaction_session_timeout=60000",
            self.statement_timeout_ms
        );
        config
            .options(options.trim())
            .application_name(&self.application_name)
            .connect_timeout(Duration::from_secs(10))
            // A server that vanished without a word must not hold an operation for hours.
            .keepalives_idle(Duration::from_secs(30))
            .tcp_user_timeout(Duration::from_secs(60));
        Ok(config)
    }
}

/// A handle on one PostgreSQL server under one role. Cheap to clone.
#[derive(Clone)]
pub struct Database {
    pool: Pool,
    pub(crate) readers: Arc<Readers>,
    pub(crate) gather: Arc<Gather>,
    idle_connections: usize,
}

impl std::fmt::Debug for Database {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Database")
            .field("status", &self.pool.status())
            .finish_non_exhaustive()
    }
}

/// Connections older than this are replaced, so that failovers and parameter
/// changes reach every one of them.
const MAX_AGE: Duration = Duration::from_secs(3_600);

/// How long a statement waits for a lock. A row that somebody outside holds (a node that
/// froze, a person with psql) must not hold up a whole batch until its statement ends.
const LOCK_TIMEOUT_MS: u32 = 5_000;

/// What fails sooner than this on a connection taken from the pool failed because
/// the connection was dead.
const DEAD_WITHIN: Duration = Duration::from_secs(1);

impl Database {
    /// Builds the pool; connects on first use.
    pub fn new(config: &DatabaseConfig) -> Result<Self, DbError> {
        let connection = |more: &str| {
            let mut connection = config.connection_config()?;
            let given = connection.get_options().unwrap_or_default();
            let options = format!("{given} {more}");
            connection.options(options.trim());
            Ok::<_, DbError>(connection)
        };
        let options = format!("-c lock_timeout={LOCK_TIMEOUT_MS}");
        let pool = pool(config, connection(&options)?, config.max_connections)?;
        let readers = self::pool(config, connection(reader::OPTIONS)?, reader::READERS)?;
        let wait = Duration::from_millis(config.wait_timeout_ms);
        let readers = Arc::new(Readers::new(readers, wait));
        let gather = Arc::default();
        Ok(Self { pool, readers, gather, idle_connections: config.idle_connections })
    }

    /// Begins a transaction in the context's tenant.
    pub async fn begin(&self, context: &OpContext) -> Result<TenantTx, DbError> {
        let (transaction, _) = self.begin_with(context, &[]).await?;
        Ok(transaction)
    }

    /// Begins a transaction and runs its first statements in the same round trip.
    pub async fn begin_with(
        &self,
        context: &OpContext,
        queries: &[Query<'_>],
    ) -> Result<(TenantTx, Vec<Vec<Row>>), DbError> {
        let settings = Settings::of(context);
        self.on_living(|connection| TenantTx::begin(connection, &settings, queries)).await
    }

    /// Begins a transaction for several actors of one tenant and runs its first
    /// statements in the same round trip. Those see every user's row; whatever
    /// follows sees what all the actors may see, until [`TenantTx::act_as`].
    pub async fn begin_batch(
        &self,
        first: &OpContext,
        others: &[&OpContext],
        queries: &[Query<'_>],
    ) -> Result<(TenantTx, Vec<Vec<Row>>), DbError> {
        self.on_living(|connection| TenantTx::begin_batch(connection, (first, others), queries))
            .await
    }

    /// One read-only transaction in one round trip: BEGIN, settings, the statements,
    /// COMMIT leave together. A caller that hangs up leaves nothing open: either none
    /// or all of it has been sent.
    pub async fn read(
        &self,
        context: &OpContext,
        queries: &[Query<'_>],
    ) -> Result<Vec<Vec<Row>>, DbError> {
        let settings = Settings::of(context);
        self.on_living(|connection| read_on(connection, &settings, queries)).await
    }

    /// One statement that finds a few rows by their key, on a connection that all such
    /// statements share (see `reader`). Nothing else belongs here: what takes long, a
    /// list or a sum, holds up every sign-in and every other lookup behind it.
    pub async fn look_up(
        &self,
        context: &OpContext,
        query: Query<'_>,
    ) -> Result<Vec<Row>, DbError> {
        self.readers.read(&Settings::of(context), query).await
    }

    /// A statement over the tables that belong to no tenant (the directory).
    pub(crate) async fn directory_query(&self, query: Query<'_>) -> Result<Vec<Row>, DbError> {
        self.on_living(|connection| directory_query_on(connection, query)).await
    }

    /// Answers where a trivial query does: readiness.
    pub async fn ping(&self) -> Result<(), DbError> {
        self.on_living(ping_on).await
    }

    /// A raw connection for the few jobs that act across tenants under a role of
    /// their own (the sealer) or on the catalogue (doctor, migrations, verify).
    pub async fn system_connection(&self) -> Result<Object, DbError> {
        self.connection().await
    }

    /// Closes idle connections beyond those kept; called now and then by a worker.
    pub fn shrink(&self) {
        let mut kept = 0;
        let keep = self.idle_connections;
        self.pool.retain(|_, metrics| {
            kept += 1;
            kept <= keep || metrics.last_used() < Duration::from_secs(60)
        });
    }

    /// Connections (in use, idle, waiting requests), for metrics.
    pub fn pool_status(&self) -> (usize, usize, usize) {
        let status = self.pool.status();
        (status.size.saturating_sub(status.available), status.available, status.waiting)
    }

    async fn connection(&self) -> Result<Object, DbError> {
        Ok(self.pool.get().await?)
    }

    /// Does what may be done again (a read, or the begin of a transaction, which
    /// nothing was committed in) on a connection of the pool.
    ///
    /// A connection that died while it was idle, in a restart of the server or by a
    /// firewall, may look alive when it is taken. Asking first would cost every
    /// request a round trip; trying again costs those few one. A failure that took
    /// its time (a lock, a statement) is no such thing and is told at once.
    async fn on_living<T, F: Future<Output = Result<T, DbError>>>(
        &self,
        work: impl Fn(Object) -> F,
    ) -> Result<T, DbError> {
        loop {
            let connection = self.connection().await?;
            let was_idle = Object::metrics(&connection).recycle_count > 0;
            let begun = Instant::now();
            match work(connection).await {
                // That one is gone from the pool, so this ends at a new one at the latest.
                Err(DbError::Unavailable(_)) if was_idle && begun.elapsed() < DEAD_WITHIN => {
                    metrics::counter!("strongroom_database_dead_connections_total").increment(1);
                }
                outcome => return outcome,
            }
        }
    }
}

/// A pool over connections of that configuration, at most so many.
fn pool(
    config: &DatabaseConfig,
    connection: Config,
    connections_max: usize,
) -> Result<Pool, DbError> {
    let manager = Manager::from_config(
        connection,
        config.connector()?,
        ManagerConfig { recycling_method: RecyclingMethod::Fast },
    );
    let wait = Duration::from_millis(config.wait_timeout_ms);
    Pool::builder(manager)
        .max_size(connections_max)
        .runtime(Runtime::Tokio1)
        .timeouts(Timeouts {
            wait: Some(wait),
            create: Some(Duration::from_secs(10)),
            recycle: Some(Duration::from_secs(5)),
        })
        .pre_recycle(Hook::sync_fn(|_, metrics| {
            if metrics.created.elapsed() > MAX_AGE {
                return Err(HookError::message("connection reached its age limit"));
            }
            Ok(())
        }))
        .build()
        .map_err(|error| DbError::Unavailable(error.to_string()))
}

async fn ping_on(connection: Object) -> Result<(), DbError> {
    let mut lent = Lent(Some(connection));
    lent.client()?.batch_execute("SELECT 1").await?;
    drop(lent.0.take());
    Ok(())
}

async fn directory_query_on(connection: Object, query: Query<'_>) -> Result<Vec<Row>, DbError> {
    let mut lent = Lent(Some(connection));
    let client = lent.client()?;
    let statement = client.prepare_cached(query.sql).await?;
    let rows = timed(query.sql, client.query(&statement, query.parameters)).await?;
    drop(lent.0.take());
    Ok(rows)
}

async fn read_on(
    connection: Object,
    settings: &Settings,
    queries: &[Query<'_>],
) -> Result<Vec<Vec<Row>>, DbError> {
    let mut lent = Lent(Some(connection));
    let client = lent.client()?;
    let set = client.prepare_cached(Settings::SQL).await?;
    let statements = prepare_all(client, queries).await?;
    let parameters = settings.parameters();
    let rows = in_order(
        statements
            .iter()
            .zip(queries)
            .map(|(statement, query)| timed(query.sql, client.query(statement, query.parameters))),
    );
    // Polled in order, so the messages leave in this order.
    let outcome = tokio::try_join!(
        biased;
        client.batch_execute("BEGIN READ ONLY"),
        client.query(&set, &parameters),
        rows,
        client.batch_execute("COMMIT"),
    );
    let client = lent.0.take();
    match outcome {
        Ok(((), _, rows, ())) => Ok(rows),
        Err(error) => {
            // An error leaves answers of this connection unread or its
            // transaction open: it is not worth finding out which.
            drop(client.map(Object::take));
            Err(error.into())
        }
    }
}

pub(crate) async fn prepare_all(
    client: &Object,
    queries: &[Query<'_>],
) -> Result<Vec<Statement>, DbError> {
    Ok(try_join_all(queries.iter().map(|query| client.prepare_cached(query.sql))).await?)
}

/// Sends all in order with its first poll and gathers the answers. Unlike
/// `try_join_all`, which beyond thirty polls as it likes and may answer an error
/// of the first poll late: a COMMIT behind it would already have left.
pub(crate) async fn in_order<F: TryFuture>(
    futures: impl Iterator<Item = F>,
) -> Result<Vec<F::Ok>, F::Error> {
    let mut all: Vec<Pin<Box<TryMaybeDone<F>>>> =
        futures.map(|future| Box::pin(try_maybe_done(future))).collect();
    poll_fn(|context| {
        let mut done = true;
        for one in &mut all {
            match one.as_mut().poll(context) {
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => done = false,
            }
        }
        if done { Poll::Ready(Ok(())) } else { Poll::Pending }
    })
    .await?;
    Ok(all.iter_mut().filter_map(|one| one.as_mut().take_output()).collect())
}

/// A connection with answers outstanding. Where its reader hangs up it goes back
/// only after they have arrived, so that nobody else waits behind them.
struct Lent(Option<Object>);

impl Lent {
    fn client(&self) -> Result<&Object, DbError> {
        self.0.as_ref().ok_or_else(|| DbError::Unavailable("connection was given back".to_owned()))
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        if let (Some(client), Ok(runtime)) = (self.0.take(), tokio::runtime::Handle::try_current())
        {
            runtime.spawn(async move {
                // Answers come in order: this one is the last.
                if client.batch_execute("").await.is_err() {
                    drop(Object::take(client));
                }
            });
        }
    }
}
