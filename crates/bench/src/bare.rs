//! Owns the limits of requests: the smallest server that could answer the same.
//! Of reads the same statement and the same JSON over pipelined connections, with no
//! token, no decision, no tenant's settings, no transaction and no record of the access; of
//! a refresh the same rows written in one transaction, and nothing signed; of an
//! introspection the same question read and as many bytes answered, and nothing looked at.
//!
//! Refuses to know anything of security, which is its point.

mod refresh;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::Context as _;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Json, Router};
use jiff::Timestamp;
use jiff::civil::Date;
use serde::{Deserialize, Serialize};
use tokio_postgres::{Client, NoTls, Row, Statement};
use uuid::Uuid;

/// Connections that all requests share; more of them make shorter pipelines, which
/// on two cores answer fewer requests.
const CONNECTIONS: usize = 4;

const ACCOUNT: &str = include_str!("../sql/bare_account.sql");

/// What the bare server says when it listens.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct BareReady {
    pub(crate) port: u16,
}

/// Serves `GET /{tenant}/accounts/{id}` on a free port of the loopback until the
/// process is told to end; writes its port to `ready_file` once it listens.
///
/// # Errors
/// Where the database cannot be reached or nobody may listen.
pub async fn serve(database_url: &str, ready_file: &Path) -> anyhow::Result<()> {
    let mut lanes = Vec::with_capacity(CONNECTIONS);
    for _ in 0..CONNECTIONS {
        let (client, connection) = tokio_postgres::connect(database_url, NoTls).await?;
        tokio::spawn(connection);
        let statement = client.prepare(ACCOUNT).await?;
        lanes.push((client, statement));
    }
    let bare = Arc::new(Bare { lanes, turn: AtomicUsize::new(0) });
    let accounts = Router::new().route("/{tenant}/accounts/{id}", get(account)).with_state(bare);
    let routes =
        accounts.merge(refresh::routes(database_url).await?).route("/introspect", post(introspect));
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await?;
    let ready = BareReady { port: listener.local_addr()?.port() };
    let unfinished = ready_file.with_extension("unfinished");
    std::fs::write(&unfinished, serde_json::to_vec(&ready)?).context("the ready file")?;
    std::fs::rename(&unfinished, ready_file).context("the ready file")?;
    axum::serve(
        axum::serve::ListenerExt::tap_io(listener, |stream| {
            // Without it the answer would wait for an acknowledgement.
            let _ = stream.set_nodelay(true);
        }),
        routes,
    )
    .await?;
    Ok(())
}

struct Bare {
    lanes: Vec<(Client, Statement)>,
    turn: AtomicUsize,
}

#[derive(Serialize)]
#[expect(clippy::struct_field_names, reason = "the wire's names")]
struct Account {
    id: Uuid,
    account_number: String,
    customer_id: Uuid,
    account_type: String,
    currency: String,
    balance: i64,
    available_balance: i64,
    overdraft_limit: i64,
    minimum_balance: Option<i64>,
    interest_rate: String,
    status: String,
    opened_date: Date,
    closed_date: Option<Date>,
    version: i64,
    created_at: Timestamp,
    updated_at: Timestamp,
}

impl Account {
    fn of(row: &Row) -> Result<Self, tokio_postgres::Error> {
        let (balance, held): (i64, i64) = (row.try_get("balance")?, row.try_get("held")?);
        let overdraft_limit: i64 = row.try_get("overdraft_limit")?;
        Ok(Self {
            id: row.try_get("id")?,
            account_number: row.try_get("account_number")?,
            customer_id: row.try_get("customer_id")?,
            account_type: row.try_get("account_type")?,
            currency: row.try_get("currency")?,
            balance,
            available_balance: balance - held,
            overdraft_limit,
            minimum_balance: row.try_get("minimum_balance")?,
            interest_rate: row.try_get("interest_rate")?,
            status: row.try_get("status")?,
            opened_date: row.try_get("opened_date")?,
            closed_date: row.try_get("closed_date")?,
            version: row.try_get("version")?,
            created_at: row.try_get("created_at")?,
            updated_at: row.try_get("updated_at")?,
        })
    }
}

/// A question as it is asked of us.
#[derive(Deserialize)]
struct Question {
    token: String,
}

/// As many bytes as a real answer has.
#[derive(Serialize)]
struct Said {
    active: bool,
    scope: &'static str,
    token_bytes: usize,
}

/// The permissions of a customer, and the ids and times of an answer in their length.
const SCOPE: &str = "account:read card:create card:freeze card:read customer:read customer:update hold:create \
    hold:read kyc:read kyc:update loan:create loan:read transaction:create transaction:read user:read user:update \
    customer user-0001 01a200ea-4fa4-7d3b-9563-bcf5cca4ec1a 01a200ea-4fa4-7d3b-9563-bcf5cca4ec1a \
    01a200ea-4fa4-7d3b-9563-bcf5cca4ec1a 01a200ea-4fa4-7d3b-9563-bcf5cca4ec1a 1795253400 1795253400 1795255200 \
    http://localhost:50000/t/load http://localhost:50000/t/load";

async fn introspect(Json(question): Json<Question>) -> Json<Said> {
    Json(Said { active: true, scope: SCOPE, token_bytes: question.token.len() })
}

async fn account(
    State(bare): State<Arc<Bare>>,
    axum::extract::Path((tenant, id)): axum::extract::Path<(Uuid, Uuid)>,
) -> Result<Json<Account>, StatusCode> {
    let turn = bare.turn.fetch_add(1, Ordering::Relaxed) % bare.lanes.len();
    let (client, statement) = &bare.lanes[turn];
    let row = client
        .query_one(statement, &[&tenant, &id])
        .await
        .map_err(|_| StatusCode::INTERNAL_SERVER_ERROR)?;
    Account::of(&row).map(Json).map_err(|_| StatusCode::INTERNAL_SERVER_ERROR)
}
