//! Messages to people, over a real mail server's protocol with real TLS and a real HTTP
//! gateway: what leaves, what is tried again, what is given up, and what never leaves.

mod certificate;
mod gateway;
mod leases;
mod look;
mod mail;
mod mail_server;
mod secrets;
mod sms_gateway;

use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use notify::{Channel, Notice, Notices, Patience, Template, Transports, enqueue};
use serde_json::{Value, json};
use tenancy::{Clock, OpContext};
use uuid::Uuid;

use crate::harness::App;
use mail_server::MailServer;
use sms_gateway::SmsGateway;

const ORIGIN: &str = "https://bank.example";
const TO: &str = "jana@home.example";
const PHONE: &str = "+420123456789";
/// Such as no id, number or time in a log holds by chance.
const CODE: &str = "482_913";
const SENT: (&str, Option<&str>) = ("sent", None);

/// The bank, with a clock that stands still, and a queue.
struct Post {
    app: App,
    context: OpContext,
    clock: Clock,
}

/// A notice as its row tells it.
#[derive(Debug, PartialEq, Eq)]
struct Row {
    state: String,
    attempts: i32,
    error: Option<String>,
    wiped: bool,
}

impl Row {
    fn outcome(&self) -> (&str, Option<&str>) {
        (&self.state, self.error.as_deref())
    }
}

impl Post {
    async fn open() -> Self {
        let app = App::start().await;
        let clock = Clock::manual(app.clock.now());
        let context = OpContext { clock: clock.clone(), ..app.cli("bank").await };
        Self { app, context, clock }
    }

    fn notices(&self, transports: Transports) -> Notices {
        let patience = Patience {
            attempts_max: 3,
            first_rest: Duration::from_millis(1),
            ..Patience::default()
        };
        let (operations, keyring) = (self.app.operations.clone(), Arc::clone(&self.app.keyring));
        Notices::with_patience(operations, keyring, transports, ORIGIN, patience)
    }

    async fn put(&self, channel: Channel, template: Template, values: Value) -> Uuid {
        let to = if channel == Channel::Email { TO } else { PHONE };
        let user = self.app.bank.users.get("customer").copied();
        self.put_about(&Notice { channel, to, user, template, values }).await
    }

    async fn put_about(&self, notice: &Notice<'_>) -> Uuid {
        let transaction = self.app.pool.begin(&self.context).await.unwrap();
        let keys = self.app.keyring.tenant_in(&transaction).await.unwrap();
        let id = enqueue(&transaction, &self.context, &keys, notice).await.unwrap();
        transaction.commit().await.unwrap();
        id
    }

    async fn code(&self, channel: Channel) -> Uuid {
        let values = json!({ "code": CODE, "expires_at": self.in_s(300) });
        self.put(channel, Template::SignInCode, values).await
    }

    async fn news(&self) -> Uuid {
        self.put(Channel::Email, Template::PasswordChanged, json!({})).await
    }

    fn in_s(&self, seconds: i64) -> Timestamp {
        self.clock.now().checked_add(SignedDuration::from_secs(seconds)).unwrap()
    }

    fn wait_s(&self, seconds: i64) {
        self.clock.advance(SignedDuration::from_secs(seconds));
    }

    async fn row(&self, id: Uuid) -> Row {
        let sql = "SELECT state, attempts, last_error, recipient_sealed IS NULL AND values_sealed IS NULL \
                   FROM notices WHERE id = $1";
        let row = self.app.superuser.query_one(sql, &[&id]).await.unwrap();
        Row { state: row.get(0), attempts: row.get(1), error: row.get(2), wiped: row.get(3) }
    }

    /// What the audit log says of a notice: action, result and details.
    async fn records(&self, id: Uuid) -> Vec<(String, String, Value)> {
        let sql = "SELECT action, result::text, convert_from(record, 'UTF8') FROM audit_log \
                   WHERE resource_id = $1 ORDER BY event_id";
        let rows = self.app.superuser.query(sql, &[&id]).await.unwrap();
        rows.iter()
            .map(|row| {
                let record: Value = serde_json::from_str(row.get(2)).unwrap();
                (row.get(0), row.get(1), record["details"].clone())
            })
            .collect()
    }

    async fn send(&self, notices: &Notices, channel: Channel) -> u64 {
        // After an outage it rests for a millisecond.
        tokio::time::sleep(Duration::from_millis(10)).await;
        notices.send_due(&self.context, channel, || false).await.unwrap()
    }
}

fn mail_over(server: &MailServer) -> Transports {
    Transports { email: Some(server.transport()), sms: None }
}

fn sms_over(gateway: &SmsGateway) -> Transports {
    Transports { email: None, sms: Some(gateway.transport()) }
}
