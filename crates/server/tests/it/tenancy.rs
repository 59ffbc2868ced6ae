//! Pooled connections go from tenant to tenant: whatever happens in between
//! (success, error, panic, cancellation), the next one sees its own rows only.

use std::sync::Arc;
use std::time::Duration;

use ::tenancy::{
    ActorKind, Blueprint, Clock, Database, DatabaseConfig, DbError, Gathered, OpContext, Query,
    TenantId, TenantRef,
};
use testkit::{TestDatabase, connect};
use tokio_postgres::error::SqlState;
use uuid::Uuid;

const OWN: &str = "SELECT tenant_id FROM security_policies";
const OWN_OF: &str = "SELECT tenant_id FROM security_policies WHERE tenant_id = $1::uuid";
const CHANGE: &str =
    "UPDATE security_policies SET version = version + 1 WHERE tenant_id = $1::uuid";
const VERSION: &str = "SELECT version FROM security_policies WHERE tenant_id = $1::uuid";
const INSERT: &str = "INSERT INTO security_policies (tenant_id, policy) VALUES ($1::uuid, '{}')";
const SLEEP: &str = "SELECT pg_sleep(2)";

struct World {
    database: TestDatabase,
    pool: Database,
    first: OpContext,
    second: OpContext,
}

impl World {
    /// Two tenants and a pool of one connection, which therefore serves both.
    async fn new() -> Self {
        let database = TestDatabase::create().await;
        let admin = connect(&database.superuser_url()).await;
        let mut contexts = Vec::new();
        for slug in ["first", "second"] {
            let id = Clock::System.new_id();
            admin
                .execute("INSERT INTO tenants (id, slug, name, blueprint, modules) VALUES ($1, $2, $2, 'core-bank', '{}')", &[&id, &slug])
                .await
                .unwrap();
            admin.execute(INSERT, &[&id]).await.unwrap();
            let tenant = TenantRef {
                id: TenantId(id),
                slug: slug.to_owned(),
                blueprint: Blueprint::CoreBank,
                modules: Vec::new(),
                time_zone: "UTC".to_owned(),
            };
            contexts.push(OpContext::system(Arc::new(tenant), ActorKind::Worker, Clock::System));
        }
        let mut config = DatabaseConfig::new(database.superuser_url()).with_role("strongroom_app");
        config.max_connections = 1;
        let pool = Database::new(&config).unwrap();
        let second = contexts.pop().unwrap();
        let first = contexts.pop().unwrap();
        Self { database, pool, first, second }
    }

    async fn seen_by(&self, context: &OpContext) -> Vec<Uuid> {
        let rows = self.pool.read(context, &[Query::new(OWN, &[])]).await.unwrap();
        rows[0].iter().map(|row| row.get(0)).collect()
    }

    async fn assert_apart(&self) {
        for context in [&self.first, &self.second, &self.first] {
            assert_eq!(self.seen_by(context).await, [context.tenant_id()]);
        }
    }

    async fn version(&self, context: &OpContext) -> i64 {
        let tenant = context.tenant_id();
        self.pool.read(context, &[Query::new(VERSION, &[&tenant])]).await.unwrap()[0][0].get(0)
    }
}

#[tokio::test]
async fn reads_and_writes_stay_in_their_tenant() {
    let world = World::new().await;
    world.assert_apart().await;
    // The other tenant named outright: row security still answers nothing.
    let other = world.second.tenant_id();
    let rows = world.pool.read(&world.first, &[Query::new(OWN_OF, &[&other])]).await.unwrap();
    assert!(rows[0].is_empty());
    let transaction = world.pool.begin(&world.first).await.unwrap();
    assert_eq!(transaction.execute(CHANGE, &[&other]).await.unwrap(), 0);
    let refused = transaction.execute(INSERT, &[&other]).await.unwrap_err();
    assert_eq!(refused.state(), Some("42501"), "{refused}");
    drop(transaction);
    world.assert_apart().await;
}

#[tokio::test]
async fn an_error_leaves_nothing_behind() {
    let world = World::new().await;
    let own = world.first.tenant_id();
    let transaction = world.pool.begin(&world.first).await.unwrap();
    transaction.execute(CHANGE, &[&own]).await.unwrap();
    let refused = transaction.execute(INSERT, &[&own]).await.unwrap_err();
    assert!(matches!(refused, DbError::Constraint { .. }), "{refused}");
    drop(transaction);
    assert_eq!(world.version(&world.first).await, 1);
    world.assert_apart().await;
    // A failing pipelined read, too.
    let broken = world
        .pool
        .read(&world.first, &[Query::new("SELECT 1 / 0", &[]), Query::new(OWN, &[])])
        .await;
    assert!(broken.is_err());
    world.assert_apart().await;
}

#[tokio::test]
async fn a_panic_leaves_nothing_behind() {
    let world = World::new().await;
    let (pool, context) = (world.pool.clone(), world.first.clone());
    let task = tokio::spawn(async move {
        let transaction = pool.begin(&context).await.unwrap();
        transaction.execute(CHANGE, &[&context.tenant_id()]).await.unwrap();
        panic!("in the middle of a transaction");
    });
    assert!(task.await.unwrap_err().is_panic());
    assert_eq!(world.version(&world.first).await, 1);
    world.assert_apart().await;
}

#[tokio::test]
async fn a_cancellation_leaves_nothing_behind() {
    let world = World::new().await;
    let (pool, context) = (world.pool.clone(), world.first.clone());
    let task = tokio::spawn(async move {
        let transaction = pool.begin(&context).await.unwrap();
        transaction.execute(CHANGE, &[&context.tenant_id()]).await.unwrap();
        transaction.query(SLEEP, &[]).await.unwrap();
        transaction.commit().await.unwrap();
    });
    tokio::time::sleep(Duration::from_millis(300)).await;
    task.abort();
    assert!(task.await.unwrap_err().is_cancelled());
    world.assert_apart().await;
    // A read that is given up while its answer is on the way.
    let slow = [Query::new(SLEEP, &[])];
    let cut_off =
        tokio::time::timeout(Duration::from_millis(100), world.pool.read(&world.first, &slow));
    assert!(cut_off.await.is_err());
    world.assert_apart().await;
    // The abandoned transaction's lock goes with its connection, and its change too.
    let own = world.first.tenant_id();
    let admin = connect(&world.database.superuser_url()).await;
    let changed = admin.execute(CHANGE, &[&own]).await.unwrap();
    assert_eq!(changed, 1);
    assert_eq!(world.version(&world.first).await, 2);
}

#[tokio::test]
async fn without_a_tenant_there_are_no_rows() {
    let world = World::new().await;
    let client = connect(&world.database.url_as("strongroom_app")).await;
    let tables = client
        .query(
            "SELECT c.oid::regclass::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
             WHERE n.nspname = 'public' AND c.relkind IN ('r', 'p') AND c.relrowsecurity \
               AND has_table_privilege(c.oid, 'SELECT')",
            &[],
        )
        .await
        .unwrap();
    assert!(tables.len() > 15);
    // Once before any transaction, once after one whose settings are over: then they are ''.
    for round in 0..2 {
        for table in &tables {
            let table: String = table.get(0);
            let rows = client.query(&format!("SELECT 1 FROM {table}"), &[]).await.unwrap();
            assert!(rows.is_empty(), "{table} in round {round}");
        }
        let refused = client.execute(INSERT, &[&world.first.tenant_id()]).await.unwrap_err();
        assert_eq!(refused.code().map(SqlState::code), Some("42501"));
        client
            .batch_execute(&format!(
                "BEGIN; SELECT set_config('app.current_tenant', '{}', true); SELECT * FROM security_policies; COMMIT",
                world.first.tenant_id()
            ))
            .await
            .unwrap();
    }
    // The owner is bound as well: security is forced.
    let owner = connect(&world.database.url_as("strongroom_owner")).await;
    assert!(owner.query(OWN, &[]).await.unwrap().is_empty());
}

/// The tenant that its settings say, and the rows that row security shows.
const SETTING_AND_ROWS: &str = "SELECT current_setting('app.current_tenant') AS setting, policy.tenant_id \
     FROM security_policies policy WHERE $1::bigint >= 0 ORDER BY policy.tenant_id;";

#[tokio::test]
async fn readers_that_share_a_connection_see_their_own_tenant_only() {
    let world = World::new().await;
    let reads = (0..400_i64).map(|number| {
        let context = if number % 2 == 0 { &world.first } else { &world.second };
        let (pool, context) = (world.pool.clone(), context.clone());
        tokio::spawn(async move {
            let rows = pool.look_up(&context, Query::new(SETTING_AND_ROWS, &[&number])).await;
            let rows = rows.unwrap();
            assert_eq!(rows.len(), 1);
            assert_eq!(rows[0].get::<_, Uuid>("tenant_id"), context.tenant_id());
            assert_eq!(rows[0].get::<_, String>("setting"), context.tenant_id().to_string());
        })
    });
    for read in reads.collect::<Vec<_>>() {
        read.await.unwrap();
    }
    // Nothing of it stays on the connections: not even the next statement would see it.
    let admin = connect(&world.database.superuser_url()).await;
    let kept = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'strongroom' \
                AND datname = current_database()";
    let connections: i64 = admin.query_one(kept, &[]).await.unwrap().get(0);
    assert!(connections <= 5, "400 readers shared {connections} connections");
}

#[tokio::test]
async fn a_lookup_changes_nothing_and_fails_alone() {
    let world = World::new().await;
    let admin = connect(&world.database.superuser_url()).await;
    admin
        .batch_execute(
            "CREATE FUNCTION meddle() RETURNS bigint LANGUAGE sql AS \
             'UPDATE security_policies SET version = version + 1 RETURNING version'; \
             GRANT EXECUTE ON FUNCTION meddle() TO strongroom_app",
        )
        .await
        .unwrap();
    let meddling = world.pool.look_up(&world.first, Query::new("SELECT meddle()", &[])).await;
    // 25006, which otherwise is a standby that was taken for a primary.
    let refused = meddling.unwrap_err();
    assert!(
        matches!(&refused, DbError::Unavailable(why) if why.contains("read-only")),
        "{refused}"
    );
    assert_eq!(world.version(&world.first).await, 1);
    let (broken, whole) = tokio::join!(
        world.pool.look_up(&world.first, Query::new("SELECT 1 / 0", &[])),
        world.pool.look_up(&world.first, Query::new(OWN, &[])),
    );
    assert_eq!(broken.unwrap_err().state(), Some("22012"));
    assert_eq!(whole.unwrap().len(), 1);
    world.assert_apart().await;
}

#[tokio::test]
async fn shared_connections_that_died_are_replaced_unseen() {
    let world = World::new().await;
    let seen = async || {
        let rows = world.pool.look_up(&world.first, Query::new(OWN, &[])).await.unwrap();
        assert_eq!(rows[0].get::<_, Uuid>(0), world.first.tenant_id());
    };
    let admin = connect(&world.database.superuser_url()).await;
    let kill = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
                WHERE application_name = 'strongroom' AND datname = current_database()";
    for _ in 0..10 {
        world.assert_apart().await;
        seen().await;
        admin.query(kill, &[]).await.unwrap();
        seen().await;
        world.assert_apart().await;
    }
}

/// Who asks, for what, what row security shows, and how many stood in the statement.
const GATHERED: Gathered = Gathered(
    "SELECT wanted.position - 1 AS position, wanted.object, wanted.actor, policy.tenant_id, \
         current_setting('app.current_tenant') AS setting, \
         cardinality($2::uuid[])::bigint AS company, pg_sleep(0.005)::text AS slept \
     FROM unnest($2::uuid[], $3::uuid[]) WITH ORDINALITY AS wanted (object, actor, position) \
     JOIN security_policies policy ON policy.tenant_id = $1::uuid \
     WHERE wanted.object <> '00000000-0000-0000-0000-000000000000'",
);

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn reads_that_share_a_statement_get_their_own_answer_each() {
    let world = World::new().await;
    let reads = (0..400_u128).map(|number| {
        let mut context = if number % 3 == 0 { &world.first } else { &world.second }.clone();
        context.actor.id = Uuid::from_u128(1_000 + number);
        let object = Uuid::from_u128(if number % 50 == 7 { 0 } else { number + 1 });
        let pool = world.pool.clone();
        tokio::spawn(async move {
            let row = pool.read_one(&context, GATHERED, object).await.unwrap();
            let Some(row) = row else {
                assert!(object.is_nil(), "{object} is not there");
                return 0;
            };
            assert_eq!(row.get::<_, Uuid>("object"), object);
            assert_eq!(row.get::<_, Uuid>("actor"), context.actor.id);
            assert_eq!(row.get::<_, Uuid>("tenant_id"), context.tenant_id());
            assert_eq!(row.get::<_, String>("setting"), context.tenant_id().to_string());
            row.get::<_, i64>("company")
        })
    });
    let mut most = 0;
    for read in reads.collect::<Vec<_>>() {
        most = most.max(read.await.unwrap());
    }
    assert!(most > 1, "nobody ever shared a statement");
    assert!(most <= 128, "{most} in one statement");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn one_bad_read_spoils_its_company_nothing() {
    const DIVIDES: Gathered = Gathered(
        "SELECT wanted.position - 1 AS position, \
             1 / (CASE WHEN wanted.object = '00000000-0000-0000-0000-000000000007' THEN 0 ELSE 1 END) AS one, \
             pg_sleep(0.01)::text AS slept \
         FROM unnest($2::uuid[], $3::uuid[]) WITH ORDINALITY AS wanted (object, actor, position) \
         WHERE $1::uuid IS NOT NULL",
    );
    let world = World::new().await;
    let read = |number: u128| {
        let (pool, context) = (world.pool.clone(), world.first.clone());
        tokio::spawn(async move { pool.read_one(&context, DIVIDES, Uuid::from_u128(number)).await })
    };
    let reads: Vec<_> = (0..40).map(|number| read(number % 10)).collect();
    for (number, read) in reads.into_iter().enumerate() {
        match (number % 10, read.await.unwrap()) {
            (7, Err(error)) => assert_eq!(error.state(), Some("22012")),
            (7, Ok(_)) => panic!("divided by zero"),
            (_, outcome) => assert!(outcome.unwrap().is_some(), "{number}"),
        }
    }
    // Who hangs up takes nobody along, and the lane stays open.
    let hung_up: Vec<_> = (0..20).map(|number| read(number % 5)).collect();
    hung_up.iter().step_by(2).for_each(tokio::task::JoinHandle::abort);
    for read in hung_up.into_iter().skip(1).step_by(2) {
        assert!(read.await.unwrap().unwrap().is_some());
    }
    assert!(read(1).await.unwrap().unwrap().is_some());
}
