//! What clients see of a database that is not there, not willing or not quick: 503
//! with a time to come back, never 500, never a hang, and everything as before once
//! it is back, without a restart of the server. All through the real binary.

mod commit;
mod pool;
mod restart;
mod shutdown;
mod states;

use std::time::{Duration, Instant};

use serde_json::json;
use testkit::{TestDatabase, connect};
use tokio_postgres::Client as Connection;
use uuid::Uuid;

use crate::crash::bank::{Bank, sign_in};
use crate::crash::client::{Answer, Client, Request};
use crate::crash::place::{Postgres, Server, Urls};

/// A bank on the tests' common PostgreSQL, for outages that one database can have.
struct Site {
    server: Server,
    bank: Bank,
    token: String,
    superuser: Connection,
    // Dropped last: the connections above go first.
    database: TestDatabase,
}

impl Site {
    async fn open(settings: &[(&'static str, &str)]) -> Self {
        let database = TestDatabase::create().await;
        let url = database.superuser_url();
        let bank = Bank::found(&url).await;
        let server = Server::start(Urls { app: url.clone(), sealer: url.clone() }, settings).await;
        let token = sign_in(server.port, bank.customers[0].username).await;
        Self { server, bank, token, superuser: connect(&url).await, database }
    }

    /// A transfer between the first customer's first two accounts.
    fn transfer(&self, key: &str) -> Request {
        transfer(&self.bank, &self.token, key)
    }

    fn read(&self) -> Request {
        read(&self.bank, &self.token)
    }

    async fn send(&self, request: &Request) -> Answer {
        Client::new(self.server.port).send(request).await.unwrap()
    }

    async fn posted(&self, key: &str) -> i64 {
        posted(&self.superuser, key).await
    }
}

/// A bank on a PostgreSQL of its own, for outages of all of it.
struct Plant {
    server: Server,
    bank: Bank,
    token: String,
    postgres: Postgres,
}

impl Plant {
    async fn open(settings: &[(&'static str, &str)]) -> Self {
        let postgres = Postgres::start().await;
        let bank = Bank::found(&postgres.superuser_url()).await;
        let urls = Urls { app: postgres.url_of("app"), sealer: postgres.url_of("sealer") };
        let server = Server::start(urls, settings).await;
        let token = sign_in(server.port, bank.customers[0].username).await;
        Self { server, bank, token, postgres }
    }
}

fn transfer(bank: &Bank, token: &str, key: &str) -> Request {
    let accounts = &bank.customers[0].accounts;
    let body = json!({
        "from_account_id": accounts[0], "to_account_id": accounts[1], "amount": 7,
        "currency": "EUR", "description": "Outage", "reference": key,
    });
    Request::post("/v1/transfers", Some(token), Some(key), body)
}

fn read(bank: &Bank, token: &str) -> Request {
    Request::get(format!("/v1/accounts/{}", bank.customers[0].accounts[0]), Some(token))
}

/// How often a transfer of that key is posted.
async fn posted(superuser: &Connection, key: &str) -> i64 {
    let sql = "SELECT count(*) FROM transfers WHERE reference = $1";
    superuser.query_one(sql, &[&key]).await.unwrap().get(0)
}

/// 503 as the contract says it.
fn assert_unavailable(answer: &Answer, what: &str) {
    assert_eq!(answer.faults_of_unavailable(), Vec::<String>::new(), "{what}");
}

/// The id of the transfer in a 201.
fn id_of(answer: &Answer, what: &str) -> Uuid {
    assert_eq!(answer.status, 201, "{what}: {answer:?}");
    answer.body["id"].as_str().unwrap().parse().unwrap()
}

/// Asks until the answer is another than 503 or a key in flight.
async fn until_answered(port: u16, request: &Request) -> Answer {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        let answer = Client::new(port).send(request).await.unwrap();
        if answer.status != 503 && answer.code() != "idempotency_in_flight" {
            return answer;
        }
        assert!(Instant::now() < deadline, "still {answer:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Waits for something that the database comes to show.
async fn wait_for(superuser: &Connection, sql: &str) -> i32 {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        if let Some(row) = superuser.query_opt(sql, &[]).await.unwrap() {
            return row.get(0);
        }
        assert!(Instant::now() < deadline, "never happened: {sql}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
