//! The two ways a sign-in is recorded: a session begins, or a failure is kept.
//!
//! Both run for nobody yet (no policy applies) and trust what `login` established.
//! Round trips of a success: lock the account; then everything else in one.

use access::Permission;
use audit::{AuditEvent, EventType, Outcome as AuditOutcome};
use jiff::Timestamp;
use operation::{Applied, Command, Failure};
use serde_json::json;
use tenancy::{OpContext, Query, TenantTx};
use uuid::Uuid;
use vault::BlindIndex;

use crate::{
    events::{about, hexadecimal},
    login::invalid_credentials,
    session_begin::{self, Accepted, SessionBegin},
};

const REHASH: &str = tenancy::sql!("identity/login.sql", "rehash");
const RECORD_ATTEMPT: &str = tenancy::sql!("identity/login.sql", "record_attempt");

/// Begins a session for somebody whose password was right.
pub(crate) struct AcceptLogin {
    pub(crate) begin: SessionBegin,
    pub(crate) password_changed_at: Option<Timestamp>,
    pub(crate) rehash: Option<String>,
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
        let (tenant, user) = (context.tenant_id(), self.begin.entrant.user);
        let account = session_begin::lock(transaction, context, user).await?;
        // Gone, disabled, or given another password, while ours was being compared.
        let standing = account.filter(|account| {
            account.is_active && account.password_changed_at == self.password_changed_at
        });
        let Some(account) = standing else { return Err(self.refused(context)) };
        let rehash: Parameters<'_, 3> = [&tenant, &user, &self.rehash];
        let rehash = self.rehash.as_ref().map(|_| Query::new(REHASH, &rehash));
        let more = (Self::NAME, rehash.as_slice());
        let (output, events) = self.begin.write(transaction, context, account.roles, more).await?;
        Ok(Applied { output, status: 200, events })
    }
}

impl AcceptLogin {
    fn refused(&self, context: &OpContext) -> Failure {
        let who = (Some(self.begin.entrant.user), None);
        let event = about(context, EventType::AuthFailure, Self::NAME, who)
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
