//! Access tokens (RFC 9068): what they say, how they are issued and what makes one
//! acceptable before its session is even looked at.
//!
//! Refuses to know sessions: whether a genuine token still counts is decided there.

use std::sync::Arc;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use jiff::Timestamp;
use operation::{OperationError, Refusal};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tenancy::{DbError, OpContext, TenantRef};
use uuid::Uuid;
use vault::signing::{JwtError, ValidatedTimes};

use crate::{Identity, context::token_failure, tenant_state::TenantState};

/// `typ` of access tokens (RFC 9068 section 2.1).
const ACCESS_TYPE: &str = "at+jwt";
/// Clocks of several nodes may differ by this much.
const LEEWAY_S: u8 = 2;

/// The claims of an access token.
#[derive(Debug, Serialize, Deserialize)]
struct Claims {
    iss: String,
    sub: Uuid,
    aud: Audience,
    iat: i64,
    nbf: i64,
    exp: i64,
    jti: Uuid,
    sid: Uuid,
    tenant: Uuid,
    role: String,
    scope: String,
}

/// `aud`: one or several (RFC 7519 section 4.1.3).
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
enum Audience {
    One(String),
    Several(Vec<String>),
}

/// A token whose signature, type and claims were checked; its times are checked
/// again at each use.
///
/// Kept by the hundred thousand for a minute, so it is what is asked later and no more;
/// `Copy` says that nothing of it, such as a scope of a kilobyte, lies elsewhere.
#[derive(Clone, Copy, Debug)]
pub(crate) struct VerifiedToken {
    /// `kid`, which of ours is always the key's id.
    pub(crate) key: Uuid,
    tenant: Uuid,
    pub(crate) sub: Uuid,
    pub(crate) sid: Uuid,
    pub(crate) jti: Uuid,
    /// When it was issued, in seconds since 1970.
    pub(crate) iat: i64,
    /// When it expires, in seconds since 1970.
    pub(crate) exp: i64,
}

/// Whom a token is issued to.
pub(crate) struct Subject<'a> {
    pub(crate) user: Uuid,
    pub(crate) session: Uuid,
    pub(crate) roles: &'a [String],
    pub(crate) session_expires_at: Timestamp,
}

impl Identity {
    /// Signs an access token and says for how many seconds it lives.
    pub(crate) fn issue_access(
        &self,
        tenant: &TenantRef,
        state: &TenantState,
        subject: &Subject<'_>,
    ) -> Result<(String, i64), DbError> {
        let policy = &state.policy.token;
        let now_s = self.inner.clock.now_s();
        // Never past its session, which may be about to reach its end.
        let expires_at_s =
            (now_s + policy.access_lifetime_s).min(subject.session_expires_at.as_second());
        let permissions =
            self.inner.operations.policies().permissions_of(tenant.blueprint, subject.roles);
        let claims = Claims {
            iss: self.issuer(tenant, &state.policy),
            sub: subject.user,
            aud: self.audience(tenant, state),
            iat: now_s,
            nbf: now_s,
            exp: expires_at_s,
            jti: self.inner.clock.new_id(),
            sid: subject.session,
            tenant: tenant.id.0,
            role: subject.roles.first().cloned().unwrap_or_default(),
            scope: permissions.join(" "),
        };
        let token = state.signing.signer().sign_jwt(ACCESS_TYPE, &claims).map_err(token_failure)?;
        Ok((token, expires_at_s - now_s))
    }

    /// What is known of a token before anything of it is believed.
    pub(crate) fn presented<'a>(&self, bearer: &'a str) -> Presented<'a> {
        let hash = vault::sha256(bearer.as_bytes());
        Presented { bearer, hash, verified: self.inner.tokens.get(&hash) }
    }

    /// As [`Self::verify_access`], looking again where the token's key is not known: another
    /// node may have made it a moment ago.
    pub(crate) async fn verified(
        &self,
        context: &OpContext,
        presented: Presented<'_>,
    ) -> Result<(Arc<TenantState>, VerifiedToken), OperationError> {
        let state = self.state(context).await?;
        if presented.verified.is_none()
            && presented.key().is_some_and(|key| !state.signing.verifies(key))
            && let Some(renewed) = self.renewed_state(context, &state).await?
        {
            let token = self.verify_access(context, &renewed, presented)?;
            return Ok((renewed, token));
        }
        let token = self.verify_access(context, &state, presented)?;
        Ok((state, token))
    }

    /// Checks signature, type, issuer, audience, tenant and times; the signature
    /// only once a minute while its key still verifies.
    pub(crate) fn verify_access(
        &self,
        context: &OpContext,
        state: &TenantState,
        presented: Presented<'_>,
    ) -> Result<VerifiedToken, Refusal> {
        let read_at = std::time::Instant::now();
        let now_s = self.inner.clock.now_s();
        let Presented { bearer, hash, verified } = presented;
        if let Some(token) = verified {
            if token.tenant != context.tenant_id() || !state.signing.verifies(token.key) {
                return Err(invalid_token());
            }
            return if now_s >= token.exp + i64::from(LEEWAY_S) {
                Err(token_expired())
            } else {
                Ok(token)
            };
        }
        let verified = state.signing.verifier().verify(bearer, ACCESS_TYPE).map_err(refused)?;
        ValidatedTimes::check(&verified, now_s, LEEWAY_S).map_err(refused)?;
        let claims: Claims = verified.claims().map_err(refused)?;
        let tenant = &context.tenant;
        if claims.tenant != tenant.id.0
            || claims.iss != self.issuer(tenant, &state.policy)
            || claims.aud != self.audience(tenant, state)
        {
            return Err(invalid_token());
        }
        let token = VerifiedToken {
            key: verified.kid().parse().map_err(|_| invalid_token())?,
            tenant: claims.tenant,
            sub: claims.sub,
            sid: claims.sid,
            jti: claims.jti,
            iat: claims.iat,
            exp: claims.exp,
        };
        self.inner.tokens.put(hash, read_at, token);
        Ok(token)
    }

    /// `aud` of the tenant's tokens, as it stands in them.
    pub(crate) fn audience_value(&self, tenant: &TenantRef, state: &TenantState) -> Value {
        serde_json::to_value(self.audience(tenant, state)).unwrap_or_default()
    }

    fn audience(&self, tenant: &TenantRef, state: &TenantState) -> Audience {
        match state.policy.token.audience.as_slice() {
            [] => Audience::One(self.tenant_url(tenant)),
            [one] => Audience::One(one.clone()),
            several => Audience::Several(several.to_vec()),
        }
    }
}

/// A token as it came.
#[derive(Clone, Copy)]
pub(crate) struct Presented<'a> {
    bearer: &'a str,
    hash: [u8; 32],
    /// Where its signature was checked within the last minute.
    verified: Option<VerifiedToken>,
}

impl Presented<'_> {
    /// The tenant that it names: proven, or a hint for which keys to try.
    pub(crate) fn tenant(&self) -> Option<Uuid> {
        let proven = self.verified.map(|token| token.tenant);
        proven.or_else(|| tenant_hint(self.bearer))
    }

    /// The key that it says it was signed by.
    fn key(&self) -> Option<Uuid> {
        #[derive(Deserialize)]
        struct Hint {
            kid: Uuid,
        }
        let header = URL_SAFE_NO_PAD.decode(self.bearer.split('.').next()?).ok()?;
        serde_json::from_slice::<Hint>(&header).ok().map(|hint| hint.kid)
    }
}

fn tenant_hint(bearer: &str) -> Option<Uuid> {
    #[derive(Deserialize)]
    struct Hint {
        tenant: Uuid,
    }
    if bearer.len() > vault::signing::MAXIMUM_TOKEN_BYTES {
        return None;
    }
    let payload = URL_SAFE_NO_PAD.decode(bearer.split('.').nth(1)?).ok()?;
    serde_json::from_slice::<Hint>(&payload).ok().map(|hint| hint.tenant)
}

/// 401: not a token of ours, whatever is wrong with it.
pub(crate) fn invalid_token() -> Refusal {
    Refusal::unauthenticated("invalid_token", "A valid access token is needed")
}

/// 401: genuine and too old.
pub(crate) fn token_expired() -> Refusal {
    Refusal::unauthenticated("token_expired", "Token has expired")
}

/// 401: genuine and ended before its time.
pub(crate) fn token_revoked() -> Refusal {
    Refusal::unauthenticated("token_revoked", "Token has been revoked")
}

fn refused(error: JwtError) -> Refusal {
    match error {
        JwtError::Expired => token_expired(),
        _ => invalid_token(),
    }
}
