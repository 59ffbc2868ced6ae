//! Proving a factor again, in a session: what is sensitive asks for one used lately.
//!
//! Whoever proves one gets the same rights under new secrets: the session ends and
//! another begins in its place, with its end, so that what was stolen before is worth
//! nothing after. Refuses to know what is sensitive: callers ask
//! [`Identity::require_recent_factor`].

use std::sync::Arc;

use access::Permission;
use audit::EventType;
use jiff::{SignedDuration, Timestamp};
use operation::{
    Applied, Call, Command, Failure, OperationError, Refusal, RefusalKind, access_log::Access,
    event,
};
use serde::{Deserialize, Serialize};
use serde_json::json;
use tenancy::{ActorKind, DbError, OpContext, Query, SessionId, TenantTx};
use uuid::Uuid;
use zeroize::Zeroizing;

use super::{
    ConsoleStep, Method, Parameters, Proven, SteppedUp, Typed,
    challenge::{self, NewChallenge, Owner, Purpose, consume},
    manage::no_factor,
    proof::Claim,
    sign_in::send_to_factor,
};
use crate::{
    Identity,
    claims::token_revoked,
    events::about,
    login::device_fingerprint,
    session_begin::{self, Accepted, Begun, Entrant, SessionBegin, SessionFor},
    sessions::own_user,
    tenant_state::TenantState,
};

const REVOKE_OWN: &str = tenancy::sql!("identity/sessions.sql", "revoke_own");
const REVOKE_FAMILY: &str = tenancy::sql!("identity/sessions.sql", "revoke_family");

/// How lately a factor must have been used for what is sensitive.
pub(crate) const RECENT: SignedDuration = SignedDuration::from_secs(5 * 60);

/// What somebody's session says of their second factor.
#[derive(Clone, Copy, PartialEq, Eq)]
enum FactorUse {
    /// Used lately.
    Proven,
    /// To be used now: they have one, or the session looked odd as it began.
    Due,
    /// There is none.
    WithoutFactor,
}

fn step_up_required(has_none: bool) -> Refusal {
    let detail = if has_none {
        "Set up a second factor first (POST /v1/auth/mfa/setup), then prove it (POST /v1/auth/step-up)"
    } else {
        "Prove a second factor first (POST /v1/auth/step-up)"
    };
    Refusal::new(RefusalKind::Denied, "step_up_required", detail)
}

impl Identity {
    /// Passes who used a second factor within `age` in this session, and who has none to
    /// use, unless the session looked odd as it began; 403 `step_up_required` for everybody else.
    pub(crate) async fn require_recent_factor(
        &self,
        context: &OpContext,
        age: SignedDuration,
    ) -> Result<(), OperationError> {
        match self.factor_use(context, age).await? {
            FactorUse::Proven | FactorUse::WithoutFactor => Ok(()),
            FactorUse::Due => Err(self.refuse_unproven(context, false).await),
        }
    }

    /// As [`Identity::require_recent_factor`] for what other principals do as well: machines
    /// and the system itself have no factor, and are bounded by policy alone.
    pub(crate) async fn require_recent_factor_of_people(
        &self,
        context: &OpContext,
    ) -> Result<(), OperationError> {
        if context.actor.kind != ActorKind::User {
            return Ok(());
        }
        self.require_recent_factor(context, RECENT).await
    }

    /// Whoever may change the tenant's settings proves a factor of late, or is refused with
    /// `step_up_required`: for settings that other domains keep, which refuse everybody else.
    pub async fn prove_for_settings(&self, context: &OpContext) -> Result<(), OperationError> {
        if !self.may(context, Permission::SettingsUpdate) {
            return Ok(());
        }
        self.require_recent_factor_of_people(context).await
    }

    /// As [`Identity::require_recent_factor_of_people`], and nobody is excused for having no
    /// factor: for what hands on a power that is proven where people use it.
    pub(crate) async fn require_factor_of_people(
        &self,
        context: &OpContext,
    ) -> Result<(), OperationError> {
        if context.actor.kind != ActorKind::User {
            return Ok(());
        }
        match self.factor_use(context, RECENT).await? {
            FactorUse::Proven => Ok(()),
            other => Err(self.refuse_unproven(context, other == FactorUse::WithoutFactor).await),
        }
    }

    /// Nothing else records it: what was asked for is not begun.
    async fn refuse_unproven(&self, context: &OpContext, has_none: bool) -> OperationError {
        let access = Access {
            action: "auth.step_up_required",
            resource: "session",
            object: context.session.map(|session| session.0),
            allowed: false,
            count: 0,
        };
        let operations = &self.inner.operations;
        operations.access_log().record(operations.database(), context, access).await;
        step_up_required(has_none).into()
    }

    async fn factor_use(
        &self,
        context: &OpContext,
        age: SignedDuration,
    ) -> Result<FactorUse, OperationError> {
        let SessionId(session) = context.session.ok_or_else(token_revoked)?;
        let facts = self.session(context, session).await?.ok_or_else(token_revoked)?;
        let recent = |at: Timestamp| context.clock.now().duration_since(at) <= age;
        Ok(if facts.mfa_at.is_some_and(recent) {
            FactorUse::Proven
        } else if facts.mfa_enabled || facts.step_up_due {
            FactorUse::Due
        } else {
            FactorUse::WithoutFactor
        })
    }

    /// Sends a code to step up with. 422 `method_unavailable`, 429.
    pub async fn send_step_up_code(
        &self,
        context: &OpContext,
        method: Method,
    ) -> Result<(), OperationError> {
        let user = own_user(context)?;
        let SessionId(session) = context.session.ok_or_else(token_revoked)?;
        let state = self.state(context).await?;
        let command = SendStepUpCode { user, session, method, state };
        let call = Call { context: context.clone(), idempotency_key: None, command };
        self.inner.operations.run_one(call).await?;
        Ok(())
    }

    /// Proves a factor again. Every token of the session that asks ends with it; the
    /// answer's are of the session in its place. 401 `invalid_code`, 403
    /// `account_locked`, 429.
    pub async fn step_up(
        &self,
        context: &OpContext,
        method: Option<Method>,
        code: Zeroizing<String>,
    ) -> Result<SteppedUp, OperationError> {
        let typed = Typed::code(method, code);
        let (begun, proven) = self.stepped_up(context, typed, SessionFor::Client).await?;
        Ok(SteppedUp { tokens: self.tokens_of(&begun)?, proven })
    }

    /// As [`Identity::step_up`], for a session of the console.
    pub async fn step_up_console(
        &self,
        context: &OpContext,
        method: Option<Method>,
        code: Zeroizing<String>,
    ) -> Result<ConsoleStep, OperationError> {
        let typed = Typed::code(method, code);
        let (begun, proven) = self.stepped_up(context, typed, SessionFor::Console).await?;
        Ok(ConsoleStep { grant: Self::cookie_of(&begun), proven })
    }

    pub(crate) async fn stepped_up(
        &self,
        context: &OpContext,
        typed: Typed,
        session_for: SessionFor,
    ) -> Result<(Begun, Proven), OperationError> {
        let (identity, context) = (self.clone(), context.clone());
        // As with a sign-in: who hangs up must not leave a charge without its record.
        let whole = async move { identity.step_up_whole(&context, typed, session_for).await };
        tokio::spawn(whole).await.unwrap_or(Err(OperationError::Aborted))
    }

    async fn step_up_whole(
        &self,
        context: &OpContext,
        typed: Typed,
        session_for: SessionFor,
    ) -> Result<(Begun, Proven), OperationError> {
        let user = own_user(context)?;
        let SessionId(session) = context.session.ok_or_else(token_revoked)?;
        let facts = self.session(context, session).await?.ok_or_else(token_revoked)?;
        let state = self.state(context).await?;
        // Who has nothing to prove anything with is not guessing.
        if self.factors_of(context, user).await?.is_empty() {
            return Err(self.refuse_factor(context, user, no_factor()).await);
        }
        let challenge =
            self.challenge_of_session(context, (user, session), Purpose::StepUp).await?;
        let charge = self.charge_factor(context, &state, (user, challenge), typed.method).await?;
        let assurance = typed.assurance();
        let claim = Claim { state: Arc::clone(&state), charge, typed };
        let entrant = Entrant::named(&state, user, facts.username.to_ascii_lowercase());
        let how = (session_for, assurance);
        let (begin, secret) = SessionBegin::prepare(context, &state, entrant, how)?;
        let begin = begin.ending_at(facts.expires_at);
        let command = StepUp { begin, claim, replaced: session };
        let call = Call { context: context.clone(), idempotency_key: None, command };
        let reply = self.inner.operations.run_one(call).await;
        self.inner.sessions.forget(context.tenant_id(), session);
        let done = reply?.output;
        Ok((self.begun((context, &state), done.accepted, secret), done.proven))
    }
}

/// Puts another session in the place of the one that asks.
struct StepUp {
    begin: SessionBegin,
    claim: Claim,
    replaced: Uuid,
}

#[derive(Clone, Serialize, Deserialize)]
struct Done {
    accepted: Accepted,
    proven: Proven,
}

impl Command for StepUp {
    const NAME: &'static str = "auth.step_up";
    const RESOURCE: &'static str = "session";
    /// One's own session, whatever the role; `own_user` made sure of it.
    const ANONYMOUS: bool = true;
    type Output = Done;

    fn permission(&self) -> Permission {
        Permission::SessionRead
    }

    async fn execute(
        &self,
        transaction: &TenantTx,
        context: &OpContext,
    ) -> Result<Applied<Done>, Failure> {
        let (tenant, user) = (context.tenant_id(), self.claim.charge.user);
        let account = session_begin::lock(transaction, context, user).await?;
        let account = account.filter(|account| account.is_active).ok_or_else(token_revoked)?;
        let (proven, mut events) = self.claim.settle(transaction, context, Self::NAME).await?;
        if let Some(challenge) = self.claim.charge.challenge.filter(|_| proven.method.is_sent()) {
            consume(transaction, challenge).await??;
        }
        let revoke: Parameters<'_, 4> = [&tenant, &self.replaced, &user, &"stepped_up"];
        let family: Parameters<'_, 2> = [&tenant, &self.replaced];
        let ended = transaction
            .pipeline(&[Query::new(REVOKE_OWN, &revoke), Query::new(REVOKE_FAMILY, &family)])
            .await?;
        // Another request stepped up first, or ended the session.
        if ended.first().is_none_or(Vec::is_empty) {
            return Err(token_revoked().into());
        }
        let (accepted, began) =
            self.begin.write(transaction, context, account.roles, (Self::NAME, &[])).await?;
        events.extend(began);
        let who = (Some(user), Some(self.replaced));
        events.push(
            about(context, EventType::SessionRevocation, Self::NAME, who)
                .details(json!({ "reason": "stepped_up", "method": proven.method })),
        );
        Ok(Applied { output: Done { accepted, proven }, status: 200, events })
    }
}

struct SendStepUpCode {
    user: Uuid,
    session: Uuid,
    method: Method,
    state: Arc<TenantState>,
}

impl Command for SendStepUpCode {
    const NAME: &'static str = "auth.step_up_challenge";
    const RESOURCE: &'static str = "user";
    /// One's own factor; `own_user` made sure of it.
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
        session_begin::lock(transaction, context, self.user).await?;
        let id = begin_in_session(
            transaction,
            context,
            (&self.state, self.user, self.session),
            Purpose::StepUp,
        )
        .await?;
        let code = (self.method, None);
        send_to_factor(transaction, context, &self.state, ((self.user, id), code)).await?;
        let event = event(context, EventType::ApiAccess, Self::NAME, Self::RESOURCE)
            .resource_id(self.user)
            .details(json!({ "method": self.method }));
        Ok(Applied { output: (), status: 202, events: vec![event] })
    }
}

/// A challenge for somebody signed in.
pub(crate) async fn begin_in_session(
    transaction: &TenantTx,
    context: &OpContext,
    (state, user, session): (&TenantState, Uuid, Uuid),
    purpose: Purpose,
) -> Result<Uuid, DbError> {
    let new = NewChallenge {
        user,
        purpose,
        owner: Owner::Session(session),
        device: device_fingerprint(state, &context.request),
        password_changed_at: None,
        payment: None,
    };
    challenge::begin(transaction, context, &new, &[]).await
}
