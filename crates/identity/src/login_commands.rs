//! The ways a sign-in by password is recorded: a session begins, a second step is due,
//! or a failure is kept.
//!
//! All run for nobody yet (no policy applies) and trust what `login` established.
//! Round trips of a success: lock the account; then everything else in one.

use std::sync::Arc;

use access::Permission;
use audit::{AuditEvent, EventType, Outcome as AuditOutcome};
use jiff::Timestamp;
use operation::{Applied, Command, Failure, Refusal, RefusalKind};
use serde::{Deserialize, Serialize};
use serde_json::json;
use tenancy::{DbError, OpContext, Query, TenantTx};
use uuid::Uuid;
use vault::BlindIndex;

use crate::{
    devices::{self, Acquaintance},
    events::{about, hexadecimal},
    login::{device_fingerprint, invalid_credentials},
    mfa::{
        NewChallenge, Owner, PendingFactor, PendingTokens, Purpose, begin_challenge, is_required,
    },
    session_begin::{self, Accepted, LockedAccount, SessionBegin, SessionFor},
    tenant_state::TenantState,
};

const TAKE_BACK_LOGIN: &str = tenancy::sql!("identity/mfa.sql", "take_back_login");
const REHASH: &str = tenancy::sql!("identity/login.sql", "rehash");
const RECORD_ATTEMPT: &str = tenancy::sql!("identity/login.sql", "record_attempt");

/// Begins a session for somebody whose password was right.
pub(crate) struct AcceptLogin {
    pub(crate) begin: SessionBegin,
    pub(crate) password_changed_at: Option<Timestamp>,
    pub(crate) rehash: Option<String>,
    /// For where a second step is due.
    pub(crate) pending: PendingTokens,
    pub(crate) session_for: SessionFor,
    pub(crate) state: Arc<TenantState>,
}

/// What a right password gave.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) enum Judged {
    /// A session.
    Session(Accepted),
    /// The second step, by the token that fits it.
    SecondFactor(PendingFactor),
}

impl Command for AcceptLogin {
    const NAME: &'static str = "auth.login";
    const RESOURCE: &'static str = "session";
    const ANONYMOUS: bool = true;
    type Output = Judged;

    fn permission(&self) -> Permission {
        Permission::SessionRead
    }

    async fn execute(
        &self,
        transaction: &TenantTx,
        context: &OpContext,
    ) -> Result<Applied<Judged>, Failure> {
        let (tenant, user) = (context.tenant_id(), self.begin.entrant.user);
        let account = session_begin::lock(transaction, context, user).await?;
        // Gone, disabled, or given another password, while ours was being compared.
        let standing = account.filter(|account| {
            account.may_enter() && account.password_changed_at == self.password_changed_at
        });
        let Some(account) = standing else { return Err(self.refused(context)) };
        let rehash: Parameters<'_, 3> = [&tenant, &user, &self.rehash];
        let rehash = self.rehash.as_ref().map(|_| Query::new(REHASH, &rehash));
        let device = self.device(transaction, context).await?;
        let is_required = is_required(&self.state, &account.roles);
        if account.methods.is_empty() && !is_required && device == Acquaintance::NewBesideOthers {
            return self.refuse_device(transaction, context).await;
        }
        if !account.methods.is_empty() || is_required || device != Acquaintance::Known {
            return self.ask_second_factor(transaction, context, account, rehash.as_slice()).await;
        }
        let more = (Self::NAME, rehash.as_slice());
        let (accepted, events) =
            self.begin.write(transaction, context, account.roles, more).await?;
        Ok(Applied { output: Judged::Session(accepted), status: 200, events })
    }
}

impl AcceptLogin {
    /// How the account knows where this comes from, where policy makes a difference.
    async fn device(
        &self,
        transaction: &TenantTx,
        context: &OpContext,
    ) -> Result<Acquaintance, DbError> {
        if !self.state.policy.mfa.on_new_device {
            return Ok(Acquaintance::Known);
        }
        let device = device_fingerprint(&self.state, &context.request);
        devices::acquaintance(transaction, self.begin.entrant.user, &device).await
    }

    /// A factor is due and there is none. To let it be set up here would give the account
    /// to whoever has the password: that is done where the owner has been before.
    async fn refuse_device(
        &self,
        transaction: &TenantTx,
        context: &OpContext,
    ) -> Result<Applied<Judged>, Failure> {
        let user = self.begin.entrant.user;
        transaction.query_opt(TAKE_BACK_LOGIN, &[&user]).await?;
        let event = about(context, EventType::AuthFailure, Self::NAME, (Some(user), None))
            .outcome(AuditOutcome::Denied)
            .details(json!({ "reason": "new_device_without_factor" }));
        let detail = "Set up a second factor on a device that you have signed in from before";
        let refusal = Refusal::new(RefusalKind::Denied, "device_unknown", detail);
        Err(Failure::RefusedAndKept { refusal, events: vec![event] })
    }

    /// The password was right, so its charges go back; nobody is signed in.
    async fn ask_second_factor(
        &self,
        transaction: &TenantTx,
        context: &OpContext,
        account: LockedAccount,
        rehash: &[Query<'_>],
    ) -> Result<Applied<Judged>, Failure> {
        let user = self.begin.entrant.user;
        let enrols = account.methods.is_empty();
        let (purpose, token) = if enrols {
            (Purpose::Enrolment, &self.pending.enrolment)
        } else {
            (Purpose::SignIn, &self.pending.sign_in)
        };
        let new = NewChallenge {
            user,
            purpose,
            owner: Owner::Token { hash: token.hash(), session_for: self.session_for },
            device: device_fingerprint(&self.state, &context.request),
            password_changed_at: self.password_changed_at,
        };
        let take_back: Parameters<'_, 1> = [&user];
        let mut more = vec![Query::new(TAKE_BACK_LOGIN, &take_back)];
        more.extend_from_slice(rehash);
        begin_challenge(transaction, context, &new, &more).await?;
        let event = about(context, EventType::ApiAccess, Self::NAME, (Some(user), None))
            .details(json!({ "second_factor": if enrols { "to_enrol" } else { "due" } }));
        let output =
            Judged::SecondFactor(PendingFactor { user_id: user, methods: account.methods });
        Ok(Applied { output, status: 200, events: vec![event] })
    }

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
