//! What became of notices, written down with a record of each: evidence that somebody was
//! told, or that they were not. Refuses to know servers; errors are words of ours.

use access::Permission;
use audit::{AuditEvent, EventType, Outcome};
use jiff::Timestamp;
use operation::{Applied, Command, command, event};
use serde_json::json;
use tenancy::{DbError, OpContext, TenantTx};
use tokio_postgres::Row;
use uuid::Uuid;

use crate::notice::Channel;

const FINISH: &str = tenancy::sql!("notify/queue.sql", "finish");
const EXPIRE: &str = tenancy::sql!("notify/queue.sql", "expire");

const RESOURCE: &str = "notice";

/// What became of one attempt, under the lease that it was made under.
#[derive(Clone, Debug)]
pub(crate) enum Tried {
    /// The server has taken it over.
    Sent { id: Uuid, attempts: i32 },
    /// It is never going to be sent.
    GivenUp { id: Uuid, attempts: i32, error: String },
    /// To be tried again.
    Deferred { id: Uuid, attempts: i32, next_attempt_at: Timestamp, error: String },
}

/// Writes down what was sent and what was given up; answers how many were sent. Whose lease
/// was over by then is somebody else's to write down.
///
/// The system's own command: nobody is asked whether a message may have been sent.
#[derive(Clone, Debug)]
pub(crate) struct RecordSent {
    pub(crate) channel: Channel,
    /// None of them deferred.
    pub(crate) finished: Vec<Tried>,
}

impl Command for RecordSent {
    const NAME: &'static str = "notice.send";
    const RESOURCE: &'static str = RESOURCE;
    type Output = u64;

    fn permission(&self) -> Permission {
        Permission::SystemUpdate
    }

    async fn execute(&self, transaction: &TenantTx, context: &OpContext) -> command::Outcome<u64> {
        let (mut ids, mut numbers, mut errors) = (vec![], vec![], vec![]);
        for tried in &self.finished {
            let (id, attempts, error) = match tried {
                Tried::Sent { id, attempts } => (id, attempts, None),
                Tried::GivenUp { id, attempts, error }
                | Tried::Deferred { id, attempts, error, .. } => {
                    (id, attempts, Some(error.as_str()))
                }
            };
            ids.push(*id);
            numbers.push(*attempts);
            errors.push(error);
        }
        let tenant = transaction.tenant();
        let rows = transaction.query(FINISH, &[&tenant, &ids, &numbers, &errors]).await?;
        let mut sent = 0;
        let mut events = Vec::with_capacity(rows.len());
        for row in &rows {
            let is_sent = row.try_get::<_, Option<&str>>("error").map_err(DbError::from)?.is_none();
            sent += u64::from(is_sent);
            events.push(record(context, Self::NAME, row)?);
        }
        metrics::counter!("strongroom_notices_sent_total", "channel" => self.channel.as_str())
            .increment(sent);
        Ok(Applied { output: sent, status: 200, events })
    }
}

/// Gives up what is over, the oldest first, at most so many; answers how many it were.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ExpireNotices {
    pub(crate) limit: i64,
}

impl Command for ExpireNotices {
    const NAME: &'static str = "notice.expire";
    const RESOURCE: &'static str = RESOURCE;
    type Output = u64;

    fn permission(&self) -> Permission {
        Permission::SystemUpdate
    }

    async fn execute(&self, transaction: &TenantTx, context: &OpContext) -> command::Outcome<u64> {
        let rows = transaction.query(EXPIRE, &[&transaction.tenant(), &self.limit]).await?;
        let mut events = Vec::with_capacity(rows.len());
        for row in &rows {
            events.push(record(context, Self::NAME, row)?);
        }
        let output = u64::try_from(rows.len()).unwrap_or(u64::MAX);
        Ok(Applied { output, status: 200, events })
    }
}

/// What happened to one notice: whom it was about and which it was, never what it said.
fn record(context: &OpContext, action: &'static str, row: &Row) -> Result<AuditEvent, DbError> {
    let (id, user): (Uuid, Option<Uuid>) = (row.try_get("id")?, row.try_get("user_id")?);
    let (channel, template): (&str, &str) = (row.try_get("channel")?, row.try_get("template")?);
    let (attempts, error): (i32, Option<&str>) = (row.try_get("attempts")?, row.try_get("error")?);
    let details = json!({
        "channel": channel, "template": template, "attempts": attempts, "user_id": user, "error": error,
    });
    let mut record =
        event(context, EventType::JobRun, action, RESOURCE).resource_id(id).details(details);
    if let Some(error) = error {
        record = record.outcome(Outcome::Failed);
        metrics::counter!(
            "strongroom_notices_failed_total",
            "channel" => channel.to_owned(), "error" => error.to_owned()
        )
        .increment(1);
        tracing::warn!(notice = %id, channel, template, attempts, error, "a notice was given up");
    }
    Ok(record)
}
