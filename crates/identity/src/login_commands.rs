//! The two ways a sign-in is recorded: a session begins, or a failure is kept.
//!
//! Both run for nobody yet (no policy applies) and trust what `login` established.
//! Round trips of a success: lock the account; then everything else in one.

use access::Permission;
use audit::{AuditEvent, EventType, Outcome as AuditOutcome};
use jiff::Timestamp;
use operation::{Applied, Command, Failure};
use serde::{Deserialize, Serialize};
use serde_json::json;
use tenancy::{DbError, OpContext, Query, TenantTx};
use uuid::Uuid;
use vault::BlindIndex;

use crate::{
    events::{about, hexadecimal},
    login::invalid_credentials,
};

const LOCK_ACCOUNT: &str = tenancy::sql!("identity/login.sql", "lock_account");
const SUCCEED: &str = tenancy::sql!("identity/login.sql", "succeed");
const REHASH: &str = tenancy::sql!("identity/login.sql", "rehash");
const RECORD_ATTEMPT: &str = tenancy::sql!("identity/login.sql", "record_attempt");
const CREATE_SESSION: &str = tenancy::sql!("identity/sessions.sql", "create");
const END_OLDEST: &str = tenancy::sql!("identity/sessions.sql", "end_oldest");
const ISSUE_REFRESH: &str = tenancy::sql!("identity/refresh.sql", "issue");

/// Begins a session for somebody whose password was right.
pub(crate) struct AcceptLogin {
    pub(crate) user: Uuid,
    pub(crate) username_key: String,
    pub(crate) password_changed_at: Option<Timestamp>,
    pub(crate) rehash: Option<String>,
    pub(crate) session: Uuid,
    pub(crate) secret: SessionSecret,
    pub(crate) identifier_index: BlindIndex,
    pub(crate) device: [u8; 32],
    pub(crate) expires_at: Timestamp,
    pub(crate) concurrent_limit: u32,
}

/// The hash of what its owner will present.
#[derive(Clone, Copy)]
pub(crate) enum SessionSecret {
    /// A refresh token: the session is a client's.
    Refresh([u8; 32]),
    /// A cookie: the session is the console's and has no tokens.
    Cookie([u8; 32]),
}

/// A session that began.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Accepted {
    pub(crate) user_id: Uuid,
    pub(crate) session_id: Uuid,
    pub(crate) roles: Vec<String>,
    pub(crate) expires_at: Timestamp,
    /// The sessions that ended because there were too many.
    pub(crate) ended: Vec<Uuid>,
}

impl Command for AcceptLogin {
    const NAME: &'static str = "auth.login";
    const RESOURCE: &'static str = "session";
    const ANONYMOUS: bool = true;
    type Output = Accepted;

    fn permission(&self) -> Permission {
        Permission::SessionRead
    }

    async fn execute(
        &self,
        transaction: &TenantTx,
        context: &OpContext,
    ) -> Result<Applied<Accepted>, Failure> {
        let tenant = context.tenant_id();
        let row = transaction.query_opt(LOCK_ACCOUNT, &[&tenant, &self.user]).await?;
        let Some(row) = row else { return Err(self.refused(context)) };
        // Disabled, or given another password, while ours was being compared.
        let changed_at: Option<Timestamp> =
            row.try_get("password_changed_at").map_err(DbError::from)?;
        let is_active: bool = row.try_get("is_active").map_err(DbError::from)?;
        if !is_active || changed_at != self.password_changed_at {
            return Err(self.refused(context));
        }
        let roles: Vec<String> = row.try_get("roles").map_err(DbError::from)?;
        let ended = self.begin(transaction, context).await?;
        let output = Accepted {
            user_id: self.user,
            session_id: self.session,
            roles,
            expires_at: self.expires_at,
            ended,
        };
        let events = self.events(context, &output);
        Ok(Applied { output, status: 200, events })
    }
}

impl AcceptLogin {
    /// Everything that a success writes, in one round trip.
    async fn begin(
        &self,
        transaction: &TenantTx,
        context: &OpContext,
    ) -> Result<Vec<Uuid>, DbError> {
        let tenant = context.tenant_id();
        let (ip, agent) = (context.request.ip, context.request.user_agent.as_deref());
        let (refresh_id, attempt_id) = (context.clock.new_id(), context.clock.new_id());
        let device = self.device.as_slice();
        let (refresh_hash, cookie_hash) = match &self.secret {
            SessionSecret::Refresh(hash) => (Some(hash.as_slice()), None),
            SessionSecret::Cookie(hash) => (None, Some(hash.as_slice())),
        };
        let index = self.identifier_index.as_slice();
        // The new session makes the count full.
        let others = i64::from(self.concurrent_limit.max(1)) - 1;
        let succeed: Parameters<'_, 3> = [&self.username_key, &ip, &agent];
        let end: Parameters<'_, 3> = [&tenant, &self.user, &others];
        let create: Parameters<'_, 8> = [
            &tenant,
            &self.session,
            &self.user,
            &device,
            &ip,
            &agent,
            &self.expires_at,
            &cookie_hash,
        ];
        let issue: Parameters<'_, 7> = [
            &tenant,
            &refresh_id,
            &self.user,
            &self.session,
            &refresh_hash,
            &device,
            &self.expires_at,
        ];
        let record: Parameters<'_, 7> =
            [&tenant, &attempt_id, &self.user, &index, &ip, &agent, &"success"];
        let rehash: Parameters<'_, 3> = [&tenant, &self.user, &self.rehash];
        let mut queries = vec![
            Query::new(END_OLDEST, &end),
            Query::new(SUCCEED, &succeed),
            Query::new(CREATE_SESSION, &create),
            Query::new(RECORD_ATTEMPT, &record),
        ];
        if refresh_hash.is_some() {
            queries.push(Query::new(ISSUE_REFRESH, &issue));
        }
        if self.rehash.is_some() {
            queries.push(Query::new(REHASH, &rehash));
        }
        let rows = transaction.pipeline(&queries).await?;
        let ended = rows.first().map_or(&[][..], Vec::as_slice);
        Ok(ended.iter().map(|row| row.try_get("id")).collect::<Result<_, _>>()?)
    }

    fn events(&self, context: &OpContext, output: &Accepted) -> Vec<AuditEvent> {
        let who = |session| (Some(self.user), Some(session));
        let ended = output.ended.iter().map(|session| {
            about(context, EventType::SessionRevocation, Self::NAME, who(*session))
                .details(json!({ "reason": "concurrent_limit" }))
        });
        std::iter::once(about(context, EventType::Login, Self::NAME, who(self.session)))
            .chain(ended)
            .collect()
    }

    fn refused(&self, context: &OpContext) -> Failure {
        let event = about(context, EventType::AuthFailure, Self::NAME, (Some(self.user), None))
            .outcome(AuditOutcome::Denied)
            .details(json!({ "reason": "changed" }));
        Failure::RefusedAndKept { refusal: invalid_credentials(), events: vec![event] }
    }
}

type Parameters<'a, const N: usize> = [&'a (dyn tokio_postgres::types::ToSql + Sync); N];

/// Why a sign-in failed; never told to the caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LoginOutcome {
    /// Compared, and not the password.
    Wrong,
    /// As `Wrong`, and the last one before the lock.
    WrongAndLocks,
    /// Not compared: the account is locked.
    Locked,
    /// Not compared: disabled, or without a password.
    Disabled,
    /// Nobody of that name, or no such tenant.
    Unknown,
    /// The address is blocked.
    Blocked,
}

impl LoginOutcome {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Wrong | Self::WrongAndLocks => "wrong",
            Self::Locked => "locked",
            Self::Disabled => "disabled",
            Self::Unknown => "unknown",
            Self::Blocked => "blocked",
        }
    }
}

/// Whose sign-in failed, where somebody of that name exists.
pub(crate) struct RefusedAccount {
    pub(crate) id: Uuid,
    pub(crate) failures: i32,
}

/// Keeps the record of a sign-in that failed, and refuses.
pub(crate) struct RefuseLogin {
    pub(crate) account: Option<RefusedAccount>,
    pub(crate) identifier_index: BlindIndex,
    pub(crate) outcome: LoginOutcome,
}

impl Command for RefuseLogin {
    const NAME: &'static str = "auth.login";
    const RESOURCE: &'static str = "user";
    const ANONYMOUS: bool = true;
    type Output = ();

    fn permission(&self) -> Permission {
        Permission::SessionRead
    }

    async fn execute(
        &self,
        transaction: &TenantTx,
        context: &OpContext,
    ) -> Result<Applied<()>, Failure> {
        let tenant = context.tenant_id();
        let user = self.account.as_ref().map(|account| account.id);
        let (ip, agent) = (context.request.ip, context.request.user_agent.as_deref());
        let (id, index, outcome) =
            (context.clock.new_id(), self.identifier_index.as_slice(), self.outcome.as_str());
        let record: Parameters<'_, 7> = [&tenant, &id, &user, &index, &ip, &agent, &outcome];
        transaction.execute(RECORD_ATTEMPT, &record).await?;
        Err(Failure::RefusedAndKept {
            refusal: invalid_credentials(),
            events: self.events(context),
        })
    }
}

impl RefuseLogin {
    fn events(&self, context: &OpContext) -> Vec<AuditEvent> {
        let user = self.account.as_ref().map(|account| account.id);
        // The name itself may be personal (or a password typed into the wrong field).
        let details = match user {
            Some(_) => json!({ "reason": self.outcome.as_str() }),
            None => {
                json!({ "reason": self.outcome.as_str(), "identifier": hexadecimal(&self.identifier_index) })
            }
        };
        let mut events = vec![
            about(context, EventType::AuthFailure, Self::NAME, (user, None))
                .outcome(AuditOutcome::Denied)
                .details(details),
        ];
        if self.outcome == LoginOutcome::WrongAndLocks {
            let failures = self.account.as_ref().map_or(0, |account| account.failures);
            events.push(
                about(context, EventType::AccountLockout, Self::NAME, (user, None))
                    .details(json!({ "failures": failures })),
            );
        }
        events
    }
}
