//! What was done with a person's access, told to that person: sign-ins and failures, what
//! changed of how they prove who they are, and what staff did to their account.
//!
//! Out of the audit log, one's own records only, whatever one's role: nobody needs
//! permission to know what happened under their name. Of what staff did it says that staff
//! did it, not who and from where. Refuses other people's, which is the log's own list.

use jiff::Timestamp;
use operation::{OperationError, Page, PageRequest, access_log::Access};
use serde::{Deserialize, Serialize};
use tenancy::{DbError, OpContext, Query};
use tokio_postgres::{Row, types::ToSql};
use uuid::Uuid;

use crate::{
    Identity, devices,
    sessions::{after_of, own_user},
};

const OF_PERSON: &str = tenancy::sql!("identity/activity.sql", "of_person");

/// Records that one page looks at, at most, of each side. Whoever does a great deal else
/// gets pages that are not full, and goes on from there.
const LOOKED_AT: i64 = 20_000;

/// Event types that are about access, whatever the action.
const TYPES: [&str; 8] = [
    "login",
    "logout",
    "auth_failure",
    "credential_change",
    "session_revocation",
    "account_lockout",
    "security_violation",
    "role_change",
];
/// Actions of other types that are.
const ACTIONS: [&str; 9] = [
    "contact.confirm",
    "mfa.reset",
    "mfa.reset_reject",
    "mfa.reset_request",
    "password.reset_link",
    "password.send_reset",
    "user.invite",
    "user.unlock",
    "user.update",
];

/// Who did something with an account.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ActivityBy {
    /// Somebody who used it, or tried to: its owner, as far as that was proven.
    Account,
    /// Somebody who administers the tenant, or a program with a key of its own.
    Staff,
    /// The system.
    System,
}

/// Something that was done with the person's own access.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ActivityRecord {
    /// Of the record in the audit log.
    pub id: Uuid,
    /// When.
    pub occurred_at: Timestamp,
    /// What kind of event, as the audit log names it.
    pub event_type: String,
    /// What exactly, as the audit log names it.
    pub action: String,
    /// How it ended, as the audit log names it.
    pub result: String,
    /// Why it failed or was done, where the record says so.
    pub reason: Option<String>,
    /// Who did it.
    pub by: ActivityBy,
    /// From where; only where the account was used.
    pub ip_address: Option<String>,
    /// With what, as a person would call it; only where the account was used.
    pub device: Option<String>,
}

impl ActivityRecord {
    fn read(row: &Row, id: Uuid) -> Result<Self, DbError> {
        let by: String = row.try_get("by")?;
        let agent: Option<String> = row.try_get("user_agent")?;
        Ok(Self {
            id,
            occurred_at: row.try_get("occurred_at")?,
            event_type: row.try_get("event_type")?,
            action: row.try_get("action")?,
            result: row.try_get("result")?,
            reason: row.try_get("reason")?,
            by: match by.as_str() {
                "account" => ActivityBy::Account,
                "staff" => ActivityBy::Staff,
                _ => ActivityBy::System,
            },
            ip_address: row.try_get("ip_address")?,
            device: agent.map(|agent| devices::name_of(Some(&agent))),
        })
    }
}

impl Identity {
    /// What was done with the person's own access, newest first. A page may hold fewer than
    /// asked for and still have a next one.
    pub async fn activity(
        &self,
        context: &OpContext,
        page: &PageRequest,
    ) -> Result<Page<ActivityRecord>, OperationError> {
        let after = after_of(page)?;
        let (tenant, user, fetch) = (context.tenant_id(), own_user(context)?, page.fetch());
        let (types, actions) = (TYPES.as_slice(), ACTIONS.as_slice());
        let parameters: [&(dyn ToSql + Sync); 7] =
            [&tenant, &user, &after, &fetch, &LOOKED_AT, &types, &actions];
        let database = self.inner.operations.database();
        let answers = database.read(context, &[Query::new(OF_PERSON, &parameters)]).await?;
        let rows = answers.first().map_or(&[][..], Vec::as_slice);
        let (records, floor) = told(rows)?;
        let mut page = Page::of(records, page, |record| record.id.to_string());
        if page.next.is_none() {
            page.next = floor.map(|floor| floor.to_string());
        }
        let access = Access {
            action: "activity.list",
            resource: "user",
            object: Some(user),
            allowed: true,
            count: page.data.len(),
        };
        self.inner.operations.access_log().record(database, context, access).await;
        Ok(page)
    }
}

/// The records, and how far down was looked where that was not to the end.
fn told(rows: &[Row]) -> Result<(Vec<ActivityRecord>, Option<Uuid>), DbError> {
    let mut records = Vec::with_capacity(rows.len());
    let mut floor = None;
    for row in rows {
        floor = row.try_get("floor")?;
        // Where nothing is told, one row says how far was looked.
        if let Some(id) = row.try_get::<_, Option<Uuid>>("event_id")? {
            records.push(ActivityRecord::read(row, id)?);
        }
    }
    Ok((records, floor))
}
