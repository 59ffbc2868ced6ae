//! What a right password gives: a session, or a token that is good for the second step
//! and nothing else. Refuses to know how either is presented.

use std::sync::Arc;

use access::Permission;
use audit::EventType;
use operation::{Applied, Command};
use operation::{Call, Failure, OperationError, Refusal};
use serde_json::json;
use tenancy::{Blueprint, OpContext, RequestInfo, TenantTx};
use vault::OpaqueToken;
use zeroize::Zeroizing;

use super::{
    Method,
    challenge::{LIFETIME, Pending, PendingFactor, Purpose},
    no_pending_state,
    notices::send_code,
    proof::configs,
};
use crate::{
    ConsoleGrant, Identity, TokenGrant,
    events::about,
    session_begin::{self, SessionFor},
    tenant_state::TenantState,
};

/// A sign-in whose second step is due.
pub struct SecondFactorDue {
    /// Opaque, for five minutes, for the second step alone.
    pub token: Zeroizing<String>,
    /// What may be proven with.
    pub methods: Vec<Method>,
    /// Whether there is nothing yet to prove with, and the role requires something: the
    /// token is then good for enrolling a factor.
    pub enrolment_required: bool,
    /// Seconds until the token is good for nothing.
    pub expires_in_s: i64,
}

impl std::fmt::Debug for SecondFactorDue {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("SecondFactorDue")
            .field("methods", &self.methods)
            .field("enrolment_required", &self.enrolment_required)
            .finish_non_exhaustive()
    }
}

impl SecondFactorDue {
    pub(crate) fn of(token: &OpaqueToken, pending: PendingFactor) -> Self {
        Self {
            token: Zeroizing::new(token.expose().to_owned()),
            enrolment_required: pending.methods.is_empty(),
            methods: pending.methods,
            expires_in_s: LIFETIME.as_secs(),
        }
    }
}

/// What a right password gives a client.
#[derive(Debug)]
pub enum SignIn {
    /// Tokens.
    Tokens(TokenGrant),
    /// The second step.
    SecondFactor(SecondFactorDue),
}

impl SignIn {
    /// The tokens; 401 `mfa_required` where a second step is due.
    pub fn into_tokens(self) -> Result<TokenGrant, Refusal> {
        match self {
            Self::Tokens(grant) => Ok(grant),
            Self::SecondFactor(_) => {
                Err(Refusal::unauthenticated("mfa_required", "A second factor is due"))
            }
        }
    }
}

/// What a right password gives a browser.
#[derive(Debug)]
pub enum ConsoleSignIn {
    /// A cookie.
    Session(ConsoleGrant),
    /// The second step.
    SecondFactor(SecondFactorDue),
}

/// Whether a person of these roles has to have a factor. Policy names the blueprint's roles
/// alone, and a custom one may do what any of them may: where one of them needs a factor, so
/// does every custom role.
pub(crate) fn is_required(state: &TenantState, roles: &[String]) -> bool {
    let required = &state.policy.mfa.required_roles;
    let is_custom = |role: &String| !Blueprint::ALL.iter().any(|known| known.has_role(role));
    roles.iter().any(|role| required.contains(role) || (!required.is_empty() && is_custom(role)))
}

impl Identity {
    /// Sends the code of a sign-in's second step. 401 `invalid_token`; 422
    /// `method_unavailable` where nothing is sent for the method, or the person does not
    /// have it; 429.
    pub async fn send_factor_code(
        &self,
        token: &str,
        method: Method,
        from: Arc<RequestInfo>,
    ) -> Result<(), OperationError> {
        self.send_pending(token, method, (SessionFor::Client, from)).await
    }

    /// As [`Identity::send_factor_code`], for the console.
    pub async fn send_console_code(
        &self,
        token: &str,
        method: Method,
        from: Arc<RequestInfo>,
    ) -> Result<(), OperationError> {
        self.send_pending(token, method, (SessionFor::Console, from)).await
    }

    async fn send_pending(
        &self,
        token: &str,
        method: Method,
        (session_for, from): (SessionFor, Arc<RequestInfo>),
    ) -> Result<(), OperationError> {
        let pending = self.pending(token, (Purpose::SignIn, session_for), from).await?;
        let context = pending.context.clone();
        let command = SendSignInCode { pending, method };
        let call = Call { context, idempotency_key: None, command };
        self.inner.operations.run_one(call).await?;
        Ok(())
    }
}

struct SendSignInCode {
    pending: Pending,
    method: Method,
}

impl Command for SendSignInCode {
    const NAME: &'static str = "mfa.challenge";
    const RESOURCE: &'static str = "user";
    /// Whoever holds the pending token.
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
        let Pending { id, user, state, .. } = &self.pending;
        let account = session_begin::lock(transaction, context, *user).await?;
        if account.is_none_or(|account| !account.may_enter()) {
            return Err(no_pending_state().into());
        }
        let code = (self.method, None);
        send_to_factor(transaction, context, state, ((*user, *id), code)).await?;
        let event = about(context, EventType::ApiAccess, Self::NAME, (Some(*user), None))
            .details(json!({ "method": self.method }));
        Ok(Applied { output: (), status: 202, events: vec![event] })
    }
}

/// Sends a code to the address that somebody enrolled, with what it is for.
pub(crate) async fn send_to_factor(
    transaction: &TenantTx,
    context: &OpContext,
    state: &TenantState,
    ((user, challenge), (method, purpose)): ((uuid::Uuid, uuid::Uuid), (Method, Option<&str>)),
) -> Result<(), Failure> {
    let configs = configs(transaction, &state.keys, user).await?;
    let config = configs.iter().find(|held| held.method == method && held.confirmed);
    let to = config.filter(|_| method.is_sent()).and_then(|config| config.secret.as_deref());
    let Some(to) = to else { return Err(super::enrol::method_unavailable().into()) };
    send_code(transaction, context, &state.keys, (user, challenge), (method, to, purpose)).await
}
