//! From a bearer token to the context of an operation, in memory but for a session
//! that was not read within the last second.
//!
//! The order of refusals is fixed: not a token of ours, expired, its session over,
//! used from elsewhere. Refuses to know what the caller wants.

use std::sync::Arc;

use jiff::Timestamp;
use operation::Refusal;
use tenancy::{Actor, OpContext, Query, RequestInfo, SessionId, TenantId};
use uuid::Uuid;

use crate::{
    Identity, api_keys,
    claims::{VerifiedToken, invalid_token, token_expired, token_revoked},
    context::into_refusal,
    login::device_fingerprint,
    sessions::{SessionFacts, not_idle},
    tenant_state::TenantState,
};

const TOUCH: &str = tenancy::sql!("identity/sessions.sql", "touch");

impl Identity {
    /// Who sent this request. `bearer` is the token alone, without `Bearer `.
    /// Refuses with 401 `invalid_token`, `token_expired` or `token_revoked`, and with
    /// 503 where the database cannot be asked.
    pub async fn authenticate(
        &self,
        bearer: &str,
        from: Arc<RequestInfo>,
    ) -> Result<OpContext, Refusal> {
        if api_keys::is_api_key(bearer) {
            return self.authenticate_api_key(bearer, from).await;
        }
        let presented = self.presented(bearer);
        let tenant = presented.tenant().ok_or_else(invalid_token)?;
        let tenant = self
            .inner
            .directory
            .by_id(TenantId(tenant))
            .await
            .map_err(|error| into_refusal(error.into()))?;
        let context = self.anonymous(tenant.ok_or_else(invalid_token)?, from);
        let (state, token) = self.verified(&context, presented).await.map_err(into_refusal)?;
        let session = token.sid;
        let facts =
            self.session(&context, session).await.map_err(|error| into_refusal(error.into()))?;
        let facts = facts.ok_or_else(token_revoked)?;
        check(&token, &facts, context.clock.now())?;
        not_idle(&facts, &state.policy.session, context.clock.now())?;
        if let Some(reason) = misplaced(&context, &state, &facts) {
            let ended = self.end_hijacked(&context, (facts.user_id, session), reason).await;
            return Err(ended.map_or_else(into_refusal, |()| token_revoked()));
        }
        self.touch(&context, session, &facts);
        let mut context = self.context_of(context, session, &facts);
        context.actor.token = Some(token.jti);
        context.actor.signing_key = Some(token.key);
        Ok(context)
    }

    pub(crate) fn context_of(
        &self,
        context: OpContext,
        session: Uuid,
        facts: &SessionFacts,
    ) -> OpContext {
        let mut actor = Actor::user(facts.user_id, facts.roles.clone());
        actor.organization = facts.organization;
        actor.department.clone_from(&facts.department);
        actor.custom_roles = facts.custom_roles.as_slice().into();
        actor.mfa_level = u8::try_from(facts.mfa_level).unwrap_or_default();
        let mut context = OpContext { actor, session: Some(SessionId(session)), ..context };
        self.inner.operations.show_people(&mut context);
        context
    }

    /// Notes activity, at most once a minute and off the request path.
    pub(crate) fn touch(&self, context: &OpContext, session: Uuid, facts: &SessionFacts) {
        let idle_s = context.clock.now().as_second() - facts.last_activity_at.as_second();
        if idle_s < 60 || !self.inner.touched.first((context.tenant_id(), session), ()) {
            return;
        }
        let (identity, context) = (self.clone(), context.clone());
        tokio::spawn(async move {
            let (session, address) =
                (session.to_string(), context.request.ip.map(|address| address.to_string()));
            let parameters: [&(dyn tokio_postgres::types::ToSql + Sync); 2] = [&session, &address];
            let queries = [Query::new(TOUCH, &parameters)];
            let noted =
                match identity.inner.operations.database().begin_with(&context, &queries).await {
                    Ok((transaction, _)) => transaction.commit().await,
                    Err(error) => Err(error),
                };
            if let Err(error) = noted {
                tracing::warn!(%error, "session activity could not be noted");
            }
        });
    }
}

/// Whether a genuine token still counts.
pub(crate) fn check(
    token: &VerifiedToken,
    facts: &SessionFacts,
    now: Timestamp,
) -> Result<(), Refusal> {
    if token.sub != facts.user_id {
        return Err(invalid_token());
    }
    if facts.revoked || !facts.is_active || facts.revoked_tokens.contains(&token.jti) {
        return Err(token_revoked());
    }
    if facts.expires_at <= now {
        return Err(token_expired());
    }
    Ok(())
}

/// Why the session must not be used from here, where policy pins it.
pub(crate) fn misplaced(
    context: &OpContext,
    state: &TenantState,
    facts: &SessionFacts,
) -> Option<&'static str> {
    let policy = &state.policy.session;
    if policy.pinned_to_address && facts.address != context.request.ip {
        return Some("address_changed");
    }
    let moved = || facts.device != device_fingerprint(state, &context.request);
    (policy.bound_to_device && moved()).then_some("device_changed")
}
