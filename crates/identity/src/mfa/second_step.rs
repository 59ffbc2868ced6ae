//! The second step of a sign-in: a code, and a session. Refuses to know which factors
//! there are (`proof`'s) and how a session is written (`session_begin`'s).

use std::sync::Arc;

use access::Permission;
use audit::EventType;
use jiff::Timestamp;
use operation::{Applied, Call, Command, Failure, OperationError};
use serde::{Deserialize, Serialize};
use serde_json::json;
use tenancy::{OpContext, RequestInfo, TenantTx};
use zeroize::Zeroizing;

use super::{
    Method, Proven, Typed,
    challenge::{Pending, Purpose, consume},
    charge::account_locked,
    no_pending_state,
    proof::Claim,
};
use crate::{
    ConsoleGrant, Identity, TokenGrant,
    events::about,
    session_begin::{self, Accepted, Begun, Entrant, SessionBegin, SessionFor},
};

/// Passwords locked meanwhile say how long no sooner than this.
const LOCKED_RETRY_S: u64 = 60;

/// A second step, as it was sent.
pub struct FactorPresented {
    /// The pending token.
    pub token: Zeroizing<String>,
    /// None: authenticator app first, then backup codes.
    pub method: Option<Method>,
    /// As typed.
    pub code: Zeroizing<String>,
}

impl FactorPresented {
    fn typed(self) -> (Zeroizing<String>, Typed) {
        (self.token, Typed::code(self.method, self.code))
    }
}

impl std::fmt::Debug for FactorPresented {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("FactorPresented")
            .field("method", &self.method)
            .finish_non_exhaustive()
    }
}

/// What a right code gives a client.
#[derive(Debug)]
pub struct VerifiedStep {
    /// The tokens.
    pub tokens: TokenGrant,
    /// Which factor it was.
    pub proven: Proven,
}

/// What a right code gives a browser.
#[derive(Debug)]
pub struct ConsoleStep {
    /// The cookie.
    pub grant: ConsoleGrant,
    /// Which factor it was.
    pub proven: Proven,
}

/// What a factor proven again gives a client: the same session under new secrets.
pub type SteppedUp = VerifiedStep;

impl Identity {
    /// Finishes a client's sign-in. 401 `invalid_token` (one answer, whatever is wrong
    /// with the pending token), 401 `invalid_code`, 403 `account_locked`, 429.
    pub async fn verify_factor(
        &self,
        presented: FactorPresented,
        from: Arc<RequestInfo>,
    ) -> Result<VerifiedStep, OperationError> {
        let (token, typed) = presented.typed();
        let (begun, proven) = self.second_step((token, typed), SessionFor::Client, from).await?;
        Ok(VerifiedStep { tokens: self.tokens_of(&begun)?, proven })
    }

    /// Finishes a browser's sign-in; the refusals are those of [`Identity::verify_factor`].
    pub async fn verify_console_factor(
        &self,
        presented: FactorPresented,
        from: Arc<RequestInfo>,
    ) -> Result<ConsoleStep, OperationError> {
        let (token, typed) = presented.typed();
        let (begun, proven) = self.second_step((token, typed), SessionFor::Console, from).await?;
        Ok(ConsoleStep { grant: Self::cookie_of(&begun), proven })
    }

    pub(crate) async fn second_step(
        &self,
        presented: (Zeroizing<String>, Typed),
        session_for: SessionFor,
        from: Arc<RequestInfo>,
    ) -> Result<(Begun, Proven), OperationError> {
        let identity = self.clone();
        // A task of its own: who hangs up must not leave a charge without its record.
        let whole = async move { identity.second_step_whole(presented, session_for, from).await };
        tokio::spawn(whole).await.unwrap_or(Err(OperationError::Aborted))
    }

    async fn second_step_whole(
        &self,
        (token, typed): (Zeroizing<String>, Typed),
        session_for: SessionFor,
        from: Arc<RequestInfo>,
    ) -> Result<(Begun, Proven), OperationError> {
        let pending = self.pending(&token, (Purpose::SignIn, session_for), from).await?;
        let Pending { id, user, context, state, .. } = &pending;
        // A lock never keeps out the owner's passkey.
        if pending.is_locked && typed.passkey.is_none() {
            let refusal = account_locked(LOCKED_RETRY_S);
            return Err(self.refuse_factor(context, *user, refusal).await);
        }
        let charge = self.charge_factor(context, state, (*user, Some(*id)), typed.method).await?;
        let assurance = typed.assurance();
        let claim = Claim { state: Arc::clone(state), charge, typed };
        let entrant = Entrant::named(state, *user, pending.username_key.clone());
        let how = (session_for, assurance);
        let (begin, secret) = SessionBegin::prepare(context, state, entrant, how)?;
        let password_changed_at = pending.password_changed_at;
        let command = FinishSignIn { begin, claim, password_changed_at };
        let call = Call { context: context.clone(), idempotency_key: None, command };
        let finished = self.inner.operations.run_one(call).await?.output;
        Ok((self.begun((context, state), finished.accepted, secret), finished.proven))
    }
}

/// Begins the session of somebody whose password was right, if the code is.
struct FinishSignIn {
    begin: SessionBegin,
    claim: Claim,
    password_changed_at: Option<Timestamp>,
}

/// A sign-in that is complete.
#[derive(Clone, Serialize, Deserialize)]
struct Finished {
    accepted: Accepted,
    proven: Proven,
}

impl Command for FinishSignIn {
    const NAME: &'static str = "mfa.verify";
    const RESOURCE: &'static str = "session";
    /// Whoever holds the pending token and proves the factor.
    const ANONYMOUS: bool = true;
    type Output = Finished;

    fn permission(&self) -> Permission {
        Permission::SessionRead
    }

    async fn execute(
        &self,
        transaction: &TenantTx,
        context: &OpContext,
    ) -> Result<Applied<Finished>, Failure> {
        let (user, challenge) = (self.claim.charge.user, self.claim.charge.challenge);
        let account = session_begin::lock(transaction, context, user).await?;
        let by_passkey = self.claim.typed.passkey.is_some();
        let standing = account.filter(|account| {
            (account.may_enter() || (by_passkey && account.is_active))
                && account.password_changed_at == self.password_changed_at
        });
        // Gone, disabled, or given another password, since the first step.
        let (Some(account), Some(challenge)) = (standing, challenge) else {
            return Err(no_pending_state().into());
        };
        let (proven, mut events) = self.claim.settle(transaction, context, Self::NAME).await?;
        consume(transaction, challenge).await??;
        let (accepted, began) =
            self.begin.write(transaction, context, account.roles, (Self::NAME, &[])).await?;
        events.extend(began);
        let who = (Some(user), Some(accepted.session_id));
        events.push(
            about(context, EventType::ApiAccess, Self::NAME, who)
                .details(json!({ "method": proven.method })),
        );
        Ok(Applied { output: Finished { accepted, proven }, status: 200, events })
    }
}
