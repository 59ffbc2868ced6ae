//! The limit of refreshes: the rows of one, in one transaction and one round trip over
//! connections that are never short. Tokens are numbers; nobody signs or seals anything.

use std::sync::{Arc, Mutex, PoisonError};

use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::post;
use axum::{Json, Router};
use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;
use tokio_postgres::{Client, NoTls, Statement};
use uuid::Uuid;

/// As many as refresh at once here; more than two cores can keep busy.
const CONNECTIONS: usize = 24;

const PERSON: &str = "SELECT tenant_id, id FROM users ORDER BY id LIMIT 1";
const CONSUME: &str = "UPDATE bare.refresh_tokens SET used_at = now() \
    WHERE tenant_id = $1 AND token_hash = sha256(convert_to($2, 'UTF8')) AND used_at IS NULL";
const LOAD: &str = "SELECT person.username, person.role, person.is_active, person.organization_id, person.department, \
    ARRAY(SELECT held.role FROM user_roles held WHERE held.tenant_id = $1 AND held.user_id = person.id) AS roles \
    FROM users person WHERE person.tenant_id = $1 AND person.id = $2";
const ISSUE: &str = "INSERT INTO bare.refresh_tokens (tenant_id, id, user_id, session_id, token_hash, \
    device_fingerprint, expires_at, created_at) \
    VALUES ($1, $2, $3, $2, sha256(convert_to($4, 'UTF8')), sha256(''), now() + interval '7 days', now())";
const RECORD: &str = "INSERT INTO bare.audit_log (tenant_id, event_id, occurred_at, event_type, severity, result, \
    user_id, session_id, resource_id, actor_kind, action, resource_type, ip_address, request_id, compliance_flags, \
    details, record) \
    VALUES ($1, $2, now(), 'token_refresh', 'low', 'success', $3, $2, $2, 'anonymous', 'auth.refresh', 'session', \
    '127.0.0.1', $2::uuid::text, '{}', '{\"retried\": false}', convert_to(repeat('0123456789abcdef', 32), 'UTF8'))";
const QUEUE: &str =
    "INSERT INTO bare.audit_inbox (tenant_id, event_id, leaf_hash) VALUES ($1, $2, sha256(''))";

/// The route, over connections that are opened with its first requests.
pub(super) async fn routes(database_url: &str) -> anyhow::Result<Router> {
    let mut lanes = Vec::with_capacity(CONNECTIONS);
    for _ in 0..CONNECTIONS {
        lanes.push(Lane::open(database_url).await?);
    }
    let person = lanes[0].client.query_one(PERSON, &[]).await?;
    let (tenant, user): (Uuid, Uuid) = (person.try_get(0)?, person.try_get(1)?);
    for number in 0..CONNECTIONS {
        let (id, token) = (new_id(), format!("bare-{number}"));
        lanes[0].client.execute(ISSUE, &[&tenant, &id, &user, &token]).await?;
    }
    let bare = Bare { free: Semaphore::new(CONNECTIONS), lanes: Mutex::new(lanes), tenant, user };
    Ok(Router::new().route("/refresh", post(refresh)).with_state(Arc::new(bare)))
}

struct Bare {
    free: Semaphore,
    lanes: Mutex<Vec<Lane>>,
    tenant: Uuid,
    user: Uuid,
}

struct Lane {
    client: Client,
    consume: Statement,
    load: Statement,
    issue: Statement,
    record: Statement,
    queue: Statement,
}

impl Lane {
    async fn open(database_url: &str) -> anyhow::Result<Self> {
        let (client, connection) = tokio_postgres::connect(database_url, NoTls).await?;
        tokio::spawn(connection);
        Ok(Self {
            consume: client.prepare(CONSUME).await?,
            load: client.prepare(LOAD).await?,
            issue: client.prepare(ISSUE).await?,
            record: client.prepare(RECORD).await?,
            queue: client.prepare(QUEUE).await?,
            client,
        })
    }

    async fn exchange(
        &self,
        (tenant, user): (Uuid, Uuid),
        presented: &str,
        next: &str,
    ) -> Result<bool, tokio_postgres::Error> {
        type Parameters<'a, const N: usize> = [&'a (dyn tokio_postgres::types::ToSql + Sync); N];
        let (id, client) = (new_id(), &self.client);
        let consume: Parameters<'_, 2> = [&tenant, &presented];
        let load: Parameters<'_, 2> = [&tenant, &user];
        let issue: Parameters<'_, 4> = [&tenant, &id, &user, &next];
        let record: Parameters<'_, 3> = [&tenant, &id, &user];
        let queue: Parameters<'_, 2> = [&tenant, &id];
        // Polled in order, so that all of it leaves together.
        let ((), consumed, ..) = tokio::try_join!(
            biased;
            client.batch_execute("BEGIN"),
            client.execute(&self.consume, &consume),
            client.query(&self.load, &load),
            client.execute(&self.issue, &issue),
            client.execute(&self.record, &record),
            client.execute(&self.queue, &queue),
            client.batch_execute("COMMIT"),
        )?;
        Ok(consumed == 1)
    }
}

#[derive(Deserialize)]
struct Used {
    refresh_token: String,
}

#[derive(Serialize)]
struct Next {
    refresh_token: String,
    token_type: &'static str,
    expires_in: i64,
}

async fn refresh(
    State(bare): State<Arc<Bare>>,
    Json(used): Json<Used>,
) -> Result<Json<Next>, StatusCode> {
    let broken = StatusCode::INTERNAL_SERVER_ERROR;
    let _place = bare.free.acquire().await.map_err(|_| broken)?;
    let lanes = || bare.lanes.lock().unwrap_or_else(PoisonError::into_inner);
    let lane = lanes().pop().ok_or(broken)?;
    let next = new_id().to_string();
    let done = lane.exchange((bare.tenant, bare.user), &used.refresh_token, &next).await;
    lanes().push(lane);
    match done {
        Ok(true) => Ok(Json(Next { refresh_token: next, token_type: "Bearer", expires_in: 1_800 })),
        Ok(false) => Err(StatusCode::UNAUTHORIZED),
        Err(_) => Err(broken),
    }
}

#[expect(clippy::disallowed_methods, reason = "the bare handler has no clock but the machine's")]
fn new_id() -> Uuid {
    Uuid::now_v7()
}
