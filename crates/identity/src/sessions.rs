//! Sessions: what is known of one, its owner's list, and every way to end one.
//!
//! A person's own sessions are theirs whatever their role, so these commands ask no
//! policy and never reach another's: another's session is not found. Whatever ends one is
//! a task of its own, the forgetting on this node included: who hangs up must not keep
//! what they ended alive for the rest of a second. Refuses to know how a session began.

use std::{net::IpAddr, sync::Arc, time::Instant};

use access::Permission;
use audit::EventType;
use jiff::{SignedDuration, Timestamp};
use operation::{
    Applied, Call, Command, Failure, OperationError, Page, PageRequest, Refusal, RefusalKind,
    Reply, access_log::Access, event,
};
use serde::{Deserialize, Serialize};
use serde_json::json;
use tenancy::{ActorKind, DbError, OpContext, Query, SessionId, TenantTx, policy::SessionPolicy};
use tokio_postgres::Row;
use tracing::Instrument;
use uuid::Uuid;

use crate::{Identity, claims::token_expired, events::about};

const LOAD: &str = tenancy::sql!("identity/sessions.sql", "load");
pub(crate) const LIST_OWN: &str = tenancy::sql!("identity/sessions.sql", "list_own");
pub(crate) const REVOKE_OWN: &str = tenancy::sql!("identity/sessions.sql", "revoke_own");
const REVOKE_ANY: &str = tenancy::sql!("identity/sessions.sql", "revoke_any");
pub(crate) const REVOKE_FAMILY: &str = tenancy::sql!("identity/sessions.sql", "revoke_family");
const REVOKE_ALL: &str = tenancy::sql!("identity/sessions.sql", "revoke_all");
const REVOKE_TOKEN: &str = tenancy::sql!("identity/sessions.sql", "revoke_token");
const FORGET_TOKENS: &str = tenancy::sql!("identity/sessions.sql", "forget_tokens");
const CLEANUP: &str = tenancy::sql!("identity/sessions.sql", "cleanup");

/// A session and the person behind it, as they were at most a second ago.
#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "facts of a row, each asked on its own")]
pub(crate) struct SessionFacts {
    pub(crate) user_id: Uuid,
    pub(crate) username: String,
    pub(crate) roles: Vec<String>,
    /// The definitions of the custom ones among them.
    pub(crate) custom_roles: Vec<Arc<str>>,
    pub(crate) organization: Option<Uuid>,
    pub(crate) department: Option<String>,
    pub(crate) mfa_enabled: bool,
    /// How many backup codes are left, where one was used.
    pub(crate) backup_codes_left: Option<i64>,
    /// When a second factor was last used in it.
    pub(crate) mfa_at: Option<Timestamp>,
    /// How well its owner is known since it began.
    pub(crate) mfa_level: i16,
    /// Whether it looked odd as it began, and no factor was used since.
    pub(crate) step_up_due: bool,
    pub(crate) password_changed_at: Option<Timestamp>,
    pub(crate) is_active: bool,
    pub(crate) revoked: bool,
    pub(crate) expires_at: Timestamp,
    pub(crate) last_activity_at: Timestamp,
    pub(crate) address: Option<IpAddr>,
    pub(crate) device: Vec<u8>,
    pub(crate) revoked_tokens: Vec<Uuid>,
}

impl SessionFacts {
    fn read(row: &Row) -> Result<Self, DbError> {
        let revoked_at: Option<Timestamp> = row.try_get("revoked_at")?;
        Ok(Self {
            user_id: row.try_get("user_id")?,
            username: row.try_get("username")?,
            roles: row.try_get("roles")?,
            custom_roles: operation::custom_roles(row)?,
            organization: row.try_get("organization_id")?,
            department: row.try_get("department")?,
            mfa_enabled: row.try_get("mfa_enabled")?,
            backup_codes_left: row.try_get("backup_codes_left")?,
            mfa_at: row.try_get("mfa_at")?,
            mfa_level: row.try_get("mfa_level")?,
            step_up_due: row.try_get("step_up_due")?,
            password_changed_at: row.try_get("password_changed_at")?,
            is_active: row.try_get("is_active")?,
            revoked: revoked_at.is_some(),
            expires_at: row.try_get("absolute_expires_at")?,
            last_activity_at: row.try_get("last_activity_at")?,
            address: row.try_get("ip_address")?,
            device: row.try_get("device_fingerprint")?,
            revoked_tokens: row.try_get("revoked_tokens")?,
        })
    }
}

/// A session as its owner sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionRecord {
    /// `sid`.
    pub id: Uuid,
    /// Where it began.
    pub ip_address: Option<String>,
    /// What it began with.
    pub user_agent: Option<String>,
    /// Whether it is the one that asks.
    pub current: bool,
    /// When it began.
    pub created_at: Timestamp,
    /// When it was last used, to the minute.
    pub last_activity_at: Timestamp,
    /// When it ends in any case.
    pub expires_at: Timestamp,
    /// What it was begun from, where that is known.
    pub device_id: Option<Uuid>,
    /// What looked odd as it began.
    pub suspicion_reasons: Vec<String>,
    /// Whether it owes a second factor for that.
    pub step_up_due: bool,
}

impl Identity {
    /// The person's own live sessions, newest first.
    pub async fn sessions(
        &self,
        context: &OpContext,
        page: &PageRequest,
    ) -> Result<Page<SessionRecord>, OperationError> {
        let after = after_of(page)?;
        let (tenant, user, fetch) = (context.tenant_id(), own_user(context)?, page.fetch());
        let parameters: [&(dyn tokio_postgres::types::ToSql + Sync); 4] =
            [&tenant, &user, &after, &fetch];
        let database = self.inner.operations.database();
        let rows = database.read(context, &[Query::new(LIST_OWN, &parameters)]).await?;
        let current = context.session.map(|session| session.0);
        let records = (rows.first().map_or(&[][..], Vec::as_slice).iter())
            .map(|row| session_record(row, current))
            .collect::<Result<Vec<_>, _>>()?;
        let page = Page::of(records, page, |record| record.id.to_string());
        let access = Access {
            action: "session.list",
            resource: "session",
            object: None,
            allowed: true,
            count: page.data.len(),
        };
        self.inner.operations.access_log().record(database, context, access).await;
        Ok(page)
    }

    /// Ends one of the person's own sessions; 404 where it is not theirs or not alive.
    pub async fn revoke_session(
        &self,
        context: &OpContext,
        session: Uuid,
    ) -> Result<(), OperationError> {
        self.end_own(context, session, "revoked_by_owner", EventType::SessionRevocation).await
    }

    /// Ends the session that the request came in.
    pub async fn logout(&self, context: &OpContext) -> Result<(), OperationError> {
        let session = context.session.ok_or_else(Refusal::not_found)?.0;
        self.end_own(context, session, "logout", EventType::Logout).await
    }

    /// Signs out everywhere: all sessions, or all but the present one. Says how many ended.
    pub async fn logout_everywhere(
        &self,
        context: &OpContext,
        keep_current: bool,
    ) -> Result<i32, OperationError> {
        let user = context.actor.id;
        self.run_and_forget(context, RevokeAll { keep_current }, Forgotten::User(user)).await
    }

    /// Ends one access token before its time, by its `jti`, and nothing else of its
    /// session. It must be a live token of the caller's own.
    pub async fn revoke_access_token(
        &self,
        context: &OpContext,
        bearer: &str,
    ) -> Result<(), OperationError> {
        let state = self.state(context).await?;
        let token = self.verify_access(context, &state, self.presented(bearer))?;
        if token.sub != own_user(context)? {
            return Err(Refusal::not_found().into());
        }
        let expires_at = Timestamp::from_second(token.exp).unwrap_or(Timestamp::MAX);
        let command = RevokeToken { id: token.jti, session: token.sid, expires_at };
        self.run_and_forget(context, command, Forgotten::Session(token.sid)).await
    }

    /// Ends what is past its end, in one tenant; for a worker. Says how many sessions
    /// ended. A backlog goes in transactions of a thousand sessions and five thousand
    /// tokens each, at most `CLEANUP_ROUNDS` of them: the rest has the next turn.
    pub async fn cleanup_sessions(&self, context: &OpContext) -> Result<i32, OperationError> {
        let mut ended = 0;
        for _ in 0..CLEANUP_ROUNDS {
            let call = Call { context: context.clone(), idempotency_key: None, command: Cleanup };
            let swept = self.inner.operations.run_one(call).await?.output;
            ended += swept.ended;
            if swept.ended == 0 && swept.forgotten == 0 {
                break;
            }
        }
        Ok(ended)
    }

    /// Ends a session that is used from where it must not be.
    pub(crate) async fn end_hijacked(
        &self,
        context: &OpContext,
        (user, session): (Uuid, Uuid),
        reason: &'static str,
    ) -> Result<(), OperationError> {
        let command = EndHijacked { user, session, reason };
        self.run_and_forget(context, command, Forgotten::Session(session)).await
    }

    /// A session from memory, or from the database where it is not fresh.
    pub(crate) async fn session(
        &self,
        context: &OpContext,
        session: Uuid,
    ) -> Result<Option<Arc<SessionFacts>>, DbError> {
        let tenant = context.tenant_id();
        if let Some(facts) = self.inner.sessions.get(tenant, session) {
            return Ok(Some(facts));
        }
        let read_at = Instant::now();
        let parameters: [&(dyn tokio_postgres::types::ToSql + Sync); 2] = [&tenant, &session];
        let database = self.inner.operations.database();
        let rows = database.look_up(context, Query::new(LOAD, &parameters)).await?;
        let Some(row) = rows.first() else { return Ok(None) };
        let facts = Arc::new(SessionFacts::read(row)?);
        self.inner.sessions.put((tenant, session), facts.user_id, read_at, Arc::clone(&facts));
        Ok(Some(facts))
    }

    async fn end_own(
        &self,
        context: &OpContext,
        session: Uuid,
        reason: &'static str,
        event_type: EventType,
    ) -> Result<(), OperationError> {
        let command = EndOwn { session, reason, event_type };
        self.run_and_forget(context, command, Forgotten::Session(session)).await
    }

    /// Runs a command and has this node forget what it may have ended, whatever becomes of
    /// the caller and whatever the answer is: of a COMMIT that was not answered nobody
    /// knows whether it took place.
    pub(crate) async fn run_and_forget<C: Command>(
        &self,
        context: &OpContext,
        command: C,
        forgotten: Forgotten,
    ) -> Result<C::Output, OperationError> {
        let call = Call { context: context.clone(), idempotency_key: None, command };
        Ok(self.call_and_forget(call, forgotten).await?.output)
    }

    /// As [`Identity::run_and_forget`], where a key says whether it was done before.
    pub(crate) async fn call_and_forget<C: Command>(
        &self,
        call: Call<C>,
        forgotten: Forgotten,
    ) -> Result<Reply<C::Output>, OperationError> {
        let (identity, tenant) = (self.clone(), call.context.tenant_id());
        let whole = async move {
            let reply = identity.inner.operations.run_one(call).await;
            match forgotten {
                Forgotten::Session(session) => identity.inner.sessions.forget(tenant, session),
                Forgotten::User(user) => identity.inner.sessions.forget_user(tenant, user),
                Forgotten::Standing(user) => {
                    identity.inner.sessions.forget_user(tenant, user);
                    // Machines may fall with whoever answers for them.
                    identity.inner.api_keys.forget_tenant(tenant);
                }
                Forgotten::Everybody => identity.inner.sessions.forget_tenant(tenant),
                Forgotten::State => identity.inner.states.forget(tenant),
                Forgotten::ApiKey(key) => identity.inner.api_keys.forget_user(tenant, key),
                Forgotten::Nothing => {}
            }
            reply
        };
        let whole = tokio::spawn(whole.in_current_span());
        whole.await.unwrap_or(Err(OperationError::Aborted))
    }
}

/// What a node must read again after a command.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Forgotten {
    /// One session.
    Session(Uuid),
    /// All of a person's.
    User(Uuid),
    /// All of a person's, and the tenant's machines: roles, locks, disablement, deletion.
    Standing(Uuid),
    /// All of the tenant's people: a role that any of them may hold.
    Everybody,
    /// The tenant's policy and signing keys.
    State,
    /// An API key, by whichever of its secrets it was found.
    ApiKey(Uuid),
    /// What it changes is not kept in memory.
    Nothing,
}

/// The signed-in person; machines and the system have no sessions of their own.
pub(crate) fn own_user(context: &OpContext) -> Result<Uuid, Refusal> {
    if context.actor.kind == ActorKind::User {
        Ok(context.actor.id)
    } else {
        Err(Refusal::denied())
    }
}

/// The position that a page begins after.
pub(crate) fn after_of(page: &PageRequest) -> Result<Option<Uuid>, Refusal> {
    let malformed = |_| {
        Refusal::new(RefusalKind::Malformed, "invalid_cursor", "The cursor is not of this list")
    };
    page.after.as_deref().map(|after| after.parse().map_err(malformed)).transpose()
}

pub(crate) fn session_record(row: &Row, current: Option<Uuid>) -> Result<SessionRecord, DbError> {
    let id = row.try_get("id")?;
    Ok(SessionRecord {
        id,
        ip_address: row.try_get("ip_address")?,
        user_agent: row.try_get("user_agent")?,
        current: current == Some(id),
        created_at: row.try_get("created_at")?,
        last_activity_at: row.try_get("last_activity_at")?,
        expires_at: row.try_get("absolute_expires_at")?,
        device_id: row.try_get("device_id")?,
        suspicion_reasons: row.try_get("suspicion_reasons")?,
        step_up_due: row.try_get("step_up_due")?,
    })
}

/// Refuses a client's session that was idle for too long, where policy says what that is.
pub(crate) fn not_idle(
    facts: &SessionFacts,
    policy: &SessionPolicy,
    now: Timestamp,
) -> Result<(), Refusal> {
    let Some(idle_s) = policy.client_idle_timeout_s else { return Ok(()) };
    let idle = SignedDuration::from_secs(idle_s);
    let until = facts.last_activity_at.checked_add(idle).unwrap_or(Timestamp::MAX);
    if until <= now { Err(token_expired()) } else { Ok(()) }
}

/// Ends one of the actor's own sessions.
struct EndOwn {
    session: Uuid,
    reason: &'static str,
    event_type: EventType,
}

impl Command for EndOwn {
    const NAME: &'static str = "session.revoke";
    const RESOURCE: &'static str = "session";
    const ANONYMOUS: bool = true;
    type Output = ();

    fn permission(&self) -> Permission {
        Permission::SessionDelete
    }

    async fn execute(
        &self,
        transaction: &TenantTx,
        context: &OpContext,
    ) -> Result<Applied<()>, Failure> {
        let (tenant, user) = (context.tenant_id(), own_user(context)?);
        let ended = transaction
            .pipeline(&[
                Query::new(REVOKE_OWN, &[&tenant, &self.session, &user, &self.reason]),
                Query::new(REVOKE_FAMILY, &[&tenant, &self.session]),
            ])
            .await?;
        // A refusal rolls back to the savepoint, the family of another's session included.
        if ended.first().is_none_or(Vec::is_empty) {
            return Err(Refusal::not_found().into());
        }
        let event = event(context, self.event_type, Self::NAME, Self::RESOURCE)
            .resource_id(self.session)
            .details(json!({ "reason": self.reason }));
        Ok(Applied { output: (), status: 204, events: vec![event] })
    }
}

/// Ends all of the actor's own sessions.
struct RevokeAll {
    keep_current: bool,
}

impl Command for RevokeAll {
    const NAME: &'static str = "session.revoke_all";
    const RESOURCE: &'static str = "session";
    const ANONYMOUS: bool = true;
    type Output = i32;

    fn permission(&self) -> Permission {
        Permission::SessionDelete
    }

    async fn execute(
        &self,
        transaction: &TenantTx,
        context: &OpContext,
    ) -> Result<Applied<i32>, Failure> {
        let user = own_user(context)?;
        let kept =
            context.session.filter(|_| self.keep_current).map(|SessionId(id)| id.to_string());
        let ended = revoke_all(transaction, user, "sign_out_everywhere", kept.as_deref()).await?;
        let event = event(context, EventType::Logout, Self::NAME, "user")
            .resource_id(user)
            .details(json!({ "ended": ended, "kept_current": self.keep_current }));
        Ok(Applied { output: ended, status: 200, events: vec![event] })
    }
}

/// Ends the sessions of a person through seed 002's function, which records it.
pub(crate) async fn revoke_all(
    transaction: &TenantTx,
    user: Uuid,
    reason: &str,
    kept: Option<&str>,
) -> Result<i32, DbError> {
    let row = transaction.query_opt(REVOKE_ALL, &[&user, &reason, &kept]).await?;
    let row = row.ok_or_else(|| DbError::Corrupt("revoke_user_sessions gave no row".to_owned()))?;
    Ok(row.try_get("ended")?)
}

/// Ends one access token.
struct RevokeToken {
    id: Uuid,
    session: Uuid,
    expires_at: Timestamp,
}

impl Command for RevokeToken {
    const NAME: &'static str = "token.revoke";
    const RESOURCE: &'static str = "session";
    const ANONYMOUS: bool = true;
    type Output = ();

    fn permission(&self) -> Permission {
        Permission::SessionDelete
    }

    async fn execute(
        &self,
        transaction: &TenantTx,
        context: &OpContext,
    ) -> Result<Applied<()>, Failure> {
        let (tenant, user) = (context.tenant_id(), own_user(context)?);
        let reason = "revoked_by_owner";
        transaction
            .execute(
                REVOKE_TOKEN,
                &[&tenant, &self.id, &self.session, &user, &reason, &self.expires_at],
            )
            .await?;
        let event = event(context, EventType::SessionRevocation, Self::NAME, Self::RESOURCE)
            .resource_id(self.session)
            .details(json!({ "jti": self.id }));
        Ok(Applied { output: (), status: 204, events: vec![event] })
    }
}

/// Ends a session that was used from another address or device.
struct EndHijacked {
    user: Uuid,
    session: Uuid,
    reason: &'static str,
}

impl Command for EndHijacked {
    const NAME: &'static str = "session.end";
    const RESOURCE: &'static str = "session";
    const ANONYMOUS: bool = true;
    type Output = ();

    fn permission(&self) -> Permission {
        Permission::SessionDelete
    }

    async fn execute(
        &self,
        transaction: &TenantTx,
        context: &OpContext,
    ) -> Result<Applied<()>, Failure> {
        let tenant = context.tenant_id();
        transaction
            .pipeline(&[
                Query::new(REVOKE_ANY, &[&tenant, &self.session, &self.reason]),
                Query::new(REVOKE_FAMILY, &[&tenant, &self.session]),
            ])
            .await?;
        let who = (Some(self.user), Some(self.session));
        let event = about(context, EventType::SecurityViolation, Self::NAME, who)
            .details(json!({ "reason": self.reason }));
        Ok(Applied { output: (), status: 204, events: vec![event] })
    }
}

/// Transactions of one turn of the worker.
const CLEANUP_ROUNDS: u32 = 200;

/// Ends what is past its end.
struct Cleanup;

/// What one transaction of it did.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Swept {
    ended: i32,
    forgotten: i32,
}

impl Command for Cleanup {
    const NAME: &'static str = "session.cleanup";
    const RESOURCE: &'static str = "session";
    type Output = Swept;

    fn permission(&self) -> Permission {
        Permission::SessionDelete
    }

    async fn execute(
        &self,
        transaction: &TenantTx,
        context: &OpContext,
    ) -> Result<Applied<Swept>, Failure> {
        let rows = transaction
            .pipeline(&[Query::new(CLEANUP, &[]), Query::new(FORGET_TOKENS, &[])])
            .await?;
        let count = |at: usize, column: &str| -> Result<i32, DbError> {
            let row = rows.get(at).and_then(|rows| rows.first());
            let row = row.ok_or_else(|| DbError::Corrupt(format!("{column} gave no row")))?;
            Ok(row.try_get(column)?)
        };
        let swept = Swept { ended: count(0, "ended")?, forgotten: count(1, "forgotten")? };
        let event = event(context, EventType::JobRun, Self::NAME, Self::RESOURCE)
            .details(json!({ "ended": swept.ended, "forgotten": swept.forgotten }));
        Ok(Applied { output: swept, status: 200, events: vec![event] })
    }
}
