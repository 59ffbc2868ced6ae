//! Sessions of the console: from a password to a cookie, and from a cookie to the
//! context of an operation.
//!
//! The cookie is an opaque token of its own kind and our MAC over it; only the token's
//! hash is stored, on the session's row. So what we never gave out is known without
//! asking the database, as it is of the API's tokens. Signing in is `login`'s, with the
//! same charges and answers; a session that began here has no tokens, and a token never
//! finds a session here.
//! Refuses to know cookies' attributes, forms and pages.

use std::{sync::Arc, time::Instant};

use jiff::{SignedDuration, Timestamp};
use operation::{OperationError, Refusal};
use tenancy::{OpContext, Query, RequestInfo, TenantId};
use uuid::Uuid;
use vault::{OpaqueToken, constant_time_eq};
use zeroize::Zeroizing;

use crate::{
    Identity, LoginRequest,
    authenticate::misplaced,
    claims::{invalid_token, token_expired, token_revoked},
    context::into_refusal,
    login::Entered,
    mfa::ConsoleSignIn,
    session_begin::SessionFor,
    sessions::SessionFacts,
    tenant_state::TenantState,
};

const FIND: &str = tenancy::sql!("identity/console.sql", "find");

/// The kind of the console's cookies.
pub(crate) const COOKIE: &str = "console";
/// What the cookie's seal is a MAC of, beside its token.
const SEAL_DOMAIN: &str = "console-cookie";
/// Stands between token and seal; neither holds one.
const BEFORE_SEAL: char = '.';
/// What the synchroniser token is a MAC of, beside the cookie's hash.
const CSRF_DOMAIN: &str = "console-form";

/// What a successful sign-in to the console gives.
pub struct ConsoleGrant {
    /// The cookie's value: 256 random bits behind a routing hint, sealed.
    pub cookie: Zeroizing<String>,
    /// When the session ends in any case.
    pub expires_at: Timestamp,
    /// `sid`.
    pub session_id: Uuid,
}

impl std::fmt::Debug for ConsoleGrant {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("ConsoleGrant")
            .field("session_id", &self.session_id)
            .finish_non_exhaustive()
    }
}

/// A living session of the console.
#[derive(Clone)]
pub struct ConsoleSession {
    /// Who asks, as every operation wants it.
    pub context: OpContext,
    /// The name signed in with.
    pub username: String,
    /// When the session ends in any case.
    pub expires_at: Timestamp,
    /// What every form of this session must carry.
    form_token: [u8; 32],
}

impl std::fmt::Debug for ConsoleSession {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("ConsoleSession")
            .field("session", &self.context.session)
            .finish_non_exhaustive()
    }
}

impl ConsoleSession {
    /// The synchroniser token of this session's forms, in hexadecimal.
    pub fn form_token(&self) -> String {
        crate::events::hexadecimal(&self.form_token)
    }

    /// Whether a form carried this session's token; takes as long either way.
    pub fn owns_form(&self, presented: &str) -> bool {
        constant_time_eq(self.form_token().as_bytes(), presented.as_bytes())
    }
}

impl Identity {
    /// Signs in to the console. The refusals are those of [`Identity::login`].
    pub async fn sign_in_console(
        &self,
        request: LoginRequest,
        from: Arc<RequestInfo>,
    ) -> Result<ConsoleSignIn, OperationError> {
        Ok(match self.by_password(request, from, SessionFor::Console).await? {
            Entered::Session(begun) => ConsoleSignIn::Session(Self::cookie_of(&begun)),
            Entered::SecondFactor(due) => ConsoleSignIn::SecondFactor(due),
        })
    }

    /// Whose cookie this is. Refuses with 401 `invalid_token` what we never gave out,
    /// with 401 `token_revoked` or `token_expired` (idle for too long, or past its end)
    /// what is over, and with 503 where the database cannot be asked.
    pub async fn authenticate_cookie(
        &self,
        cookie: &str,
        from: Arc<RequestInfo>,
    ) -> Result<ConsoleSession, Refusal> {
        let (token, _) = cookie.split_once(BEFORE_SEAL).ok_or_else(invalid_token)?;
        let token = OpaqueToken::parse(token, COOKIE).map_err(|_| invalid_token())?;
        let tenant = self.inner.directory.by_id(TenantId(token.tenant())).await;
        let tenant = tenant.map_err(|error| into_refusal(error.into()))?;
        let context = self.anonymous(tenant.ok_or_else(invalid_token)?, from);
        let state = self.state(&context).await.map_err(|error| into_refusal(error.into()))?;
        // Before the session is looked for: guessing must not cost us a read each.
        if !constant_time_eq(sealed(&state, &token).as_bytes(), cookie.as_bytes()) {
            return Err(invalid_token());
        }
        let session = self.session_of_cookie(&context, token.hash()).await?;
        let facts =
            self.session(&context, session).await.map_err(|error| into_refusal(error.into()))?;
        let facts = facts.ok_or_else(token_revoked)?;
        let idle_s = state.policy.session.idle_timeout_s;
        alive(&facts, context.clock.now(), SignedDuration::from_secs(idle_s))?;
        if let Some(reason) = misplaced(&context, &state, &facts) {
            let ended = self.end_hijacked(&context, (facts.user_id, session), reason).await;
            return Err(ended.map_or_else(into_refusal, |()| token_revoked()));
        }
        self.touch(&context, session, &facts);
        let form_token = state.keys.session().sign(CSRF_DOMAIN, &token.hash());
        Ok(ConsoleSession {
            username: facts.username.clone(),
            expires_at: facts.expires_at,
            form_token,
            context: self.context_of(context, session, &facts),
        })
    }

    /// A cookie belongs to one session for ever, so this may be remembered. One that we
    /// gave out and that opens nothing is over.
    async fn session_of_cookie(
        &self,
        context: &OpContext,
        hash: [u8; 32],
    ) -> Result<Uuid, Refusal> {
        if let Some(session) = self.inner.cookies.get(&hash) {
            return Ok(session);
        }
        let read_at = Instant::now();
        let (tenant, stored) = (context.tenant_id(), hash.as_slice());
        let parameters: [&(dyn tokio_postgres::types::ToSql + Sync); 2] = [&tenant, &stored];
        let database = self.inner.operations.database();
        let rows = database
            .look_up(context, Query::new(FIND, &parameters))
            .await
            .map_err(|error| into_refusal(error.into()))?;
        let row = rows.first().ok_or_else(invalid_token)?;
        let session: Uuid = row
            .try_get("id")
            .map_err(|error| into_refusal(tenancy::DbError::from(error).into()))?;
        self.inner.cookies.put(hash, read_at, session);
        Ok(session)
    }
}

/// The whole text of a cookie: its token, and our MAC over that.
pub(crate) fn sealed(state: &TenantState, token: &OpaqueToken) -> Zeroizing<String> {
    let seal = state.keys.session().sign(SEAL_DOMAIN, token.expose().as_bytes());
    let (token, seal) = (token.expose(), crate::events::hexadecimal(&seal));
    Zeroizing::new(format!("{token}{BEFORE_SEAL}{seal}"))
}

fn alive(facts: &SessionFacts, now: Timestamp, idle: SignedDuration) -> Result<(), Refusal> {
    if facts.revoked || !facts.is_active {
        return Err(token_revoked());
    }
    let idle_until = facts.last_activity_at.checked_add(idle).unwrap_or(Timestamp::MAX);
    if facts.expires_at <= now || idle_until <= now {
        return Err(token_expired());
    }
    Ok(())
}
