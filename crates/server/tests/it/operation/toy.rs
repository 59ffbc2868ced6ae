//! A table, a command and a world to try operations in.

use std::sync::Arc;
use std::time::Duration;

use access::{Permission, Policies, Resource, ResourceKind};
use audit::{EventType, Outcome};
use operation::{
    AccessLog, Applied, Call, Command, Failure, OperationError, Operations, Refusal, RefusalKind,
    Reply, Target, event,
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tenancy::{
    Actor, ActorKind, Clock, Database, DatabaseConfig, DbError, OpContext, RequestInfo, TenantId,
    TenantRef, TenantTx,
};
use testkit::{TestDatabase, connect};
use tokio_postgres::Client;
use uuid::Uuid;

const SCHEMA: &str = "
SET ROLE strongroom_owner;
CREATE TABLE toys (
    tenant_id uuid NOT NULL, id uuid NOT NULL, label text NOT NULL, PRIMARY KEY (tenant_id, id)
);
CALL secure_tenant_table('toys', 'SELECT, INSERT, UPDATE', true);
CREATE SEQUENCE toy_conflicts;
GRANT USAGE ON SEQUENCE toy_conflicts TO strongroom_app;
CREATE FUNCTION toy_conflict(times bigint) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    IF nextval('toy_conflicts') <= times THEN
        RAISE EXCEPTION 'provoked' USING ERRCODE = '40001';
    END IF;
END $$;
GRANT EXECUTE ON FUNCTION toy_conflict TO strongroom_app;
CREATE FUNCTION toy_raise(state text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'provoked' USING ERRCODE = state;
END $$;
GRANT EXECUTE ON FUNCTION toy_raise TO strongroom_app;
RESET ROLE;";

pub(crate) const INSERT: &str =
    "INSERT INTO toys (tenant_id, id, label) VALUES ($1::uuid, $2::uuid, $3::text)";
const SEEN_BY: &str =
    "SELECT current_setting('app.current_user_id') AS seen_by WHERE $1::uuid IS NOT NULL";
const SLEEP: &str = "SELECT pg_sleep($1::float8)::text";
const CONFLICT: &str = "SELECT toy_conflict($1::bigint)::text";
const RAISE: &str = "SELECT toy_raise($1::text)::text";
const HURRY: &str = "SELECT set_config('statement_timeout', '150', true)";
pub(crate) const DIVIDE: &str = "SELECT 1 / $1::integer";

/// What a toy command does after it has made its toy.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Act {
    Make,
    Refuse(RefusalKind),
    RefuseAndKeep,
    /// A statement fails, and the command says so.
    Fail,
    /// A statement fails, and the command pretends that nothing happened.
    FailAndHide,
    Panic,
    /// 40001, the first so many times.
    Conflict(i64),
    Sleep(Duration),
    /// A statement whose time is up: 57014, from the server itself.
    TimeOut,
    /// That SQLSTATE, every time.
    Raise(&'static str),
}

#[derive(Clone, Debug)]
pub(crate) struct MakeToy {
    pub(crate) label: &'static str,
    pub(crate) act: Act,
    pub(crate) permission: Permission,
    pub(crate) target: Target,
    pub(crate) events: bool,
    pub(crate) details: Value,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Toy {
    pub(crate) id: Uuid,
    pub(crate) label: String,
    pub(crate) seen_by: String,
}

pub(crate) fn resource() -> Resource<'static> {
    Resource::new(ResourceKind::Account, Some(Uuid::from_u128(77)))
}

impl MakeToy {
    pub(crate) fn labelled(label: &'static str) -> Self {
        Self::acting(label, Act::Make)
    }

    pub(crate) fn acting(label: &'static str, act: Act) -> Self {
        Self {
            label,
            act,
            permission: Permission::AccountUpdate,
            target: Target::Tenant,
            events: true,
            details: json!({}),
        }
    }

    fn refused(kind: RefusalKind) -> Refusal {
        Refusal::new(kind, "toy_refused", "No toys today")
    }
}

impl Command for MakeToy {
    const NAME: &'static str = "toy.make";
    const RESOURCE: &'static str = "toy";
    type Output = Toy;

    fn permission(&self) -> Permission {
        self.permission
    }

    /// The label alone, so that a repetition may behave otherwise and be caught at it.
    fn fingerprint(&self) -> Value {
        json!({ "label": self.label })
    }

    async fn target(&self, _: &TenantTx, _: &OpContext) -> Result<Target, DbError> {
        Ok(self.target.clone())
    }

    async fn execute(
        &self,
        transaction: &TenantTx,
        context: &OpContext,
    ) -> Result<Applied<Toy>, Failure> {
        let (tenant, id) = (transaction.tenant(), context.clock.new_id());
        transaction.execute(INSERT, &[&tenant, &id, &self.label]).await?;
        match self.act {
            Act::Make => {}
            Act::Refuse(kind) => return Err(Self::refused(kind).into()),
            Act::RefuseAndKeep => {
                let kept = event(context, EventType::AuthFailure, Self::NAME, Self::RESOURCE)
                    .outcome(Outcome::Failed);
                return Err(Failure::RefusedAndKept {
                    refusal: Self::refused(RefusalKind::Rule),
                    events: vec![kept],
                });
            }
            Act::Fail => drop(transaction.query(DIVIDE, &[&0_i32]).await?),
            Act::FailAndHide => drop(transaction.query(DIVIDE, &[&0_i32]).await),
            Act::Panic => panic!("provoked"),
            Act::Conflict(times) => drop(transaction.query(CONFLICT, &[&times]).await?),
            Act::TimeOut => {
                transaction.query(HURRY, &[]).await?;
                drop(transaction.query(SLEEP, &[&5.0_f64]).await?);
            }
            Act::Raise(state) => drop(transaction.query(RAISE, &[&state]).await?),
            Act::Sleep(time) => drop(transaction.query(SLEEP, &[&time.as_secs_f64()]).await?),
        }
        let row = transaction.query_opt(SEEN_BY, &[&tenant]).await?.expect("one row");
        let made = event(context, EventType::DataModification, Self::NAME, Self::RESOURCE)
            .resource_id(id)
            .details(self.details.clone());
        Ok(Applied {
            output: Toy { id, label: self.label.to_owned(), seen_by: row.get("seen_by") },
            status: 201,
            events: if self.events { vec![made] } else { Vec::new() },
        })
    }
}

impl operation::Grouped for MakeToy {
    /// Toys of one label are one object.
    fn locks(&self) -> impl Iterator<Item = Uuid> {
        let bytes = self.label.bytes().fold(0_u128, |sum, byte| sum * 257 + u128::from(byte));
        std::iter::once(Uuid::from_u128(bytes))
    }
}

/// A command for nobody in particular.
struct Greet(String);

impl Command for Greet {
    const NAME: &'static str = "toy.greet";
    const RESOURCE: &'static str = "toy";
    const ANONYMOUS: bool = true;
    type Output = String;

    fn permission(&self) -> Permission {
        Permission::AccountRead
    }

    async fn execute(&self, _: &TenantTx, _: &OpContext) -> Result<Applied<String>, Failure> {
        Ok(Applied { output: self.0.clone(), status: 200, events: Vec::new() })
    }
}

pub(crate) struct World {
    pub(crate) database: TestDatabase,
    pub(crate) operations: Operations,
    pub(crate) superuser: Client,
    pub(crate) tenant: Arc<TenantRef>,
    pub(crate) clock: Clock,
}

/// One row of the audit log.
#[derive(Debug)]
pub(crate) struct Audited {
    action: String,
    event_type: String,
    result: String,
    pub(crate) user_id: Option<Uuid>,
    pub(crate) resource_id: Option<Uuid>,
    pub(crate) details: Value,
}

impl Audited {
    pub(crate) fn summary(&self) -> String {
        format!("{} {} {}", self.action, self.event_type, self.result)
    }
}

impl World {
    pub(crate) async fn new() -> Self {
        let database = TestDatabase::create().await;
        let superuser = connect(&database.superuser_url()).await;
        superuser.batch_execute(SCHEMA).await.unwrap();
        let app = open(&database, "strongroom_app");
        let policies = Arc::new(Policies::load().unwrap());
        let operations = Operations::new(app, policies, AccessLog::default());
        let clock = Clock::System;
        let tenant = make_tenant(&superuser, &clock, "north-bank").await;
        Self { database, operations, superuser, tenant, clock }
    }

    pub(crate) async fn other_tenant(&self) -> Arc<TenantRef> {
        make_tenant(&self.superuser, &self.clock, "south-bank").await
    }

    pub(crate) fn as_actor(&self, actor: Actor) -> OpContext {
        OpContext {
            tenant: Arc::clone(&self.tenant),
            actor,
            session: None,
            request: Arc::new(RequestInfo { id: "request-1".to_owned(), ..RequestInfo::default() }),
            clock: self.clock.clone(),
        }
    }

    pub(crate) fn user(&self, roles: &[&str]) -> OpContext {
        self.as_actor(Actor::user(
            self.clock.new_id(),
            roles.iter().map(|&role| role.to_owned()).collect(),
        ))
    }

    pub(crate) fn nobody(&self) -> OpContext {
        self.as_actor(Actor::system(ActorKind::Anonymous))
    }

    pub(crate) fn app(&self) -> &Database {
        self.operations.database()
    }

    pub(crate) async fn run(
        &self,
        context: &OpContext,
        command: MakeToy,
    ) -> Result<Reply<Toy>, OperationError> {
        self.operations.run_one(call(context, None, command)).await
    }

    pub(crate) async fn run_keyed(
        &self,
        context: &OpContext,
        key: &str,
        command: MakeToy,
    ) -> Result<Reply<Toy>, OperationError> {
        self.operations.run_one(call(context, Some(key), command)).await
    }

    pub(crate) async fn run_anonymous(
        &self,
        context: &OpContext,
        key: &str,
        text: &str,
    ) -> Result<Reply<String>, OperationError> {
        self.operations.run_one(call(context, Some(key), Greet(text.to_owned()))).await
    }

    pub(crate) async fn labels(&self) -> Vec<String> {
        let rows =
            self.superuser.query("SELECT label FROM toys ORDER BY label", &[]).await.unwrap();
        rows.iter().map(|row| row.get(0)).collect()
    }

    pub(crate) async fn remembered(&self) -> i64 {
        self.superuser.query_one("SELECT count(*) FROM idempotency_keys", &[]).await.unwrap().get(0)
    }

    pub(crate) async fn audited(&self) -> Vec<Audited> {
        let rows = self
            .superuser
            .query(
                "SELECT action, event_type::text, result::text, user_id, resource_id, \
                 coalesce(details, 'null') AS details FROM audit_log ORDER BY event_id",
                &[],
            )
            .await
            .unwrap();
        rows.iter()
            .map(|row| Audited {
                action: row.get("action"),
                event_type: row.get("event_type"),
                result: row.get("result"),
                user_id: row.get("user_id"),
                resource_id: row.get("resource_id"),
                details: row.get("details"),
            })
            .collect()
    }

    pub(crate) async fn summaries(&self) -> Vec<String> {
        self.audited().await.iter().map(Audited::summary).collect()
    }

    /// That no connection of the pool is inside a transaction or carries a tenant.
    pub(crate) async fn assert_pool_is_clean(&self) {
        let open = "SELECT count(*) FROM pg_stat_activity \
                    WHERE datname = current_database() AND state LIKE 'idle in transaction%'";
        until("no transaction is open", async || {
            self.superuser.query_one(open, &[]).await.unwrap().get::<_, i64>(0) == 0
        })
        .await;
        let mut held = Vec::new();
        for _ in 0..10 {
            let connection = self.app().system_connection().await.unwrap();
            let row = connection
                .query_one("SELECT current_setting('app.current_tenant', true)", &[])
                .await
                .unwrap();
            assert_eq!(row.get::<_, Option<String>>(0).unwrap_or_default(), "");
            let rows = connection.query("SELECT 1 FROM toys", &[]).await.unwrap();
            assert!(rows.is_empty(), "no tenant, no rows");
            held.push(connection);
        }
    }
}

pub(crate) fn call<C>(context: &OpContext, key: Option<&str>, command: C) -> Call<C> {
    Call { context: context.clone(), idempotency_key: key.map(str::to_owned), command }
}

pub(crate) fn open(database: &TestDatabase, role: &'static str) -> Database {
    Database::new(&DatabaseConfig::new(database.superuser_url()).with_role(role)).unwrap()
}

/// Waits up to ten seconds for something to become true.
pub(crate) async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    for _ in 0..500 {
        if holds().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("never: {what}");
}

async fn make_tenant(superuser: &Client, clock: &Clock, slug: &str) -> Arc<TenantRef> {
    let id = clock.new_id();
    // As the operation that makes tenants: the log begins empty.
    superuser.batch_execute("SET app.operation = 'yes'").await.unwrap();
    superuser
        .execute(
            "INSERT INTO tenants (id, slug, name, blueprint, modules) VALUES ($1, $2, $2, 'core-bank', '{}')",
            &[&id, &slug],
        )
        .await
        .unwrap();
    Arc::new(TenantRef {
        id: TenantId(id),
        slug: slug.to_owned(),
        blueprint: "core-bank".parse().unwrap(),
        modules: Vec::new(),
        time_zone: "UTC".to_owned(),
    })
}
