//! Signing in and out, and what the signed-in are told of themselves.
//!
//! Sign-in and refresh count themselves against the limits, under the name or the
//! token tried: only they know it.

use std::{future::Future, sync::Arc};

use axum::{
    extract::State,
    response::{IntoResponse as _, Response},
};
use http::HeaderMap;
use identity::LoginRequest;
use operation::{OperationError, RefusalKind};
use serde::Deserialize;
use tenancy::{Blueprint, RequestInfo, TenantId, TenantRef, policy::RateLimitPolicy};
use uuid::Uuid;

use super::{Answer, nothing, ok};
use crate::{
    extract::{Caller, Id, PageQuery, Paging, Parameters, Source, bearer},
    json::{Json, OptionalJson},
    middleware::{Limits, SignIn, count_sign_in},
    problem::Problem,
    route::Class,
    state::ApiState,
    wire::{
        auth::{
            Login, Me, Nothing, PasswordRules, RefreshToken, Session, SignOutEverywhere, SignedOut,
            Tokens,
        },
        mfa::SignInAnswer,
    },
};

pub(crate) async fn login(
    State(state): State<ApiState>,
    Source(source): Source,
    Json(body): Json<Login>,
) -> Answer {
    let tenant = tenant_named(&state, body.tenant.as_deref()).await?;
    let tried = hotstate::limits::tried_name(&body.username);
    let request = LoginRequest {
        tenant: body.tenant,
        username: body.username,
        password: body.password.into(),
    };
    let signing_in = state.identity.login(request, Arc::clone(&source));
    limited_in(Class::Auth, &state, (&source, tenant), &tried, async {
        ok(SignInAnswer::from(signing_in.await?))
    })
    .await
}

pub(crate) async fn refresh(
    State(state): State<ApiState>,
    Source(source): Source,
    Json(body): Json<RefreshToken>,
) -> Answer {
    let tenant = tenant_hinted(&state, &body.refresh_token).await?;
    let refreshing = state.identity.refresh(&body.refresh_token, Arc::clone(&source));
    let answer = async { ok(Tokens::from(refreshing.await?)) };
    limited_in(Class::Auth, &state, (&source, tenant), &body.refresh_token, Box::pin(answer)).await
}

/// Counts an attempt under what was tried and its address, in a class, then makes it.
pub(crate) async fn limited_in(
    class: Class,
    state: &ApiState,
    (source, tenant): (&Arc<RequestInfo>, Option<Arc<TenantRef>>),
    tried: &str,
    attempt: impl Future<Output = Answer>,
) -> Answer {
    let policy = match &tenant {
        Some(tenant) => limits_of(state, tenant, source).await?,
        None => state.base_limits.clone(),
    };
    let limits = Limits::of(&policy, class, state.config.rate_limit_floor_per_minute);
    let sign_in = SignIn {
        tenant: tenant.map_or(Uuid::nil(), |tenant| tenant.id.0),
        hash: vault::sha256(tried.as_bytes()),
    };
    let (counted, verdict) =
        count_sign_in(&state.rates, limits, sign_in, source.ip, state.now_ms()).await;
    let answer = match verdict {
        Ok(()) => attempt.await,
        Err(problem) => Err(problem),
    };
    let mut response: Response = answer.into_response();
    response.extensions_mut().insert(counted);
    Ok(response)
}

async fn limits_of(
    state: &ApiState,
    tenant: &Arc<TenantRef>,
    source: &Arc<RequestInfo>,
) -> Result<RateLimitPolicy, Problem> {
    Ok(state.identity.policy(&state.nobody(tenant, source)).await?.rate_limits)
}

/// The tenant of that slug, or the only one of the installation.
pub(super) async fn tenant_named(
    state: &ApiState,
    slug: Option<&str>,
) -> Result<Option<Arc<TenantRef>>, Problem> {
    if let Some(slug) = slug {
        return Ok(state.directory.by_slug(slug).await?);
    }
    let mut tenants = state.directory.list().await?;
    tenants.retain(|tenant| tenant.blueprint != Blueprint::Platform);
    Ok(tenants.pop().filter(|_| tenants.is_empty()))
}

/// The tenant that an opaque token (`kind_tenant_secret`) claims: good enough to
/// choose limits by, proven by nothing.
pub(crate) async fn tenant_hinted(
    state: &ApiState,
    token: &str,
) -> Result<Option<Arc<TenantRef>>, Problem> {
    let hint = token.split('_').nth(1).and_then(|part| Uuid::try_parse(part).ok());
    match hint {
        Some(id) => Ok(state.directory.by_id(TenantId(id)).await?),
        None => Ok(None),
    }
}

pub(crate) async fn logout(
    State(state): State<ApiState>,
    Caller(context): Caller,
    OptionalJson(Nothing {}): OptionalJson<Nothing>,
) -> Answer {
    match state.identity.logout(&context).await {
        // Another request ended it after this one was let in: it is what was asked.
        Err(OperationError::Refused(refusal)) if refusal.kind == RefusalKind::NotFound => nothing(),
        ended => {
            ended?;
            nothing()
        }
    }
}

pub(crate) async fn me(State(state): State<ApiState>, Caller(context): Caller) -> Answer {
    ok(Me::from(state.identity.me(&context).await?))
}

pub(crate) async fn sessions(
    State(state): State<ApiState>,
    Caller(context): Caller,
    Parameters(query): Parameters<PageQuery>,
) -> Answer {
    let paging = Paging::of(&state, &context, "/v1/auth/sessions", &query).await?;
    let page = state.identity.sessions(&context, &paging.request).await?;
    Ok(paging.answer(page, Session::from))
}

pub(crate) async fn end_session(
    State(state): State<ApiState>,
    Caller(context): Caller,
    Id(session): Id,
) -> Answer {
    state.identity.revoke_session(&context, session).await?;
    nothing()
}

pub(crate) async fn sign_out_everywhere(
    State(state): State<ApiState>,
    Caller(context): Caller,
    OptionalJson(body): OptionalJson<SignOutEverywhere>,
) -> Answer {
    let ended = state.identity.logout_everywhere(&context, body.keep_current).await?;
    ok(SignedOut { ended })
}

/// Whose rules.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct TenantQuery {
    tenant: Option<String>,
}

pub(crate) async fn password_policy(
    State(state): State<ApiState>,
    Source(source): Source,
    headers: HeaderMap,
    Parameters(query): Parameters<TenantQuery>,
) -> Answer {
    let tenant = match (&query.tenant, bearer(&headers)?) {
        (None, Some(token)) => {
            Some(state.identity.authenticate(token, Arc::clone(&source)).await?.tenant)
        }
        (slug, _) => tenant_named(&state, slug.as_deref()).await?,
    };
    let tenant = match tenant {
        Some(tenant) => tenant,
        None if query.tenant.is_some() => return Err(Problem::not_found()),
        None => {
            let message = "Name the tenant, or send an access token";
            return Err(Problem::malformed_field("tenant", "missing_field", message));
        }
    };
    let policy = state.identity.policy(&state.nobody(&tenant, &source)).await?;
    ok(PasswordRules::from(identity::PasswordRules::from(&policy.password)))
}

pub(crate) mod docs {
    //! What the handlers say of themselves.

    use serde_json::json;

    use crate::{
        openapi_parts::{Doc, text},
        wire::{
            List,
            auth::{
                Login, Me, Nothing, PasswordRules, RefreshToken, Session, SignOutEverywhere,
                SignedOut, Tokens,
            },
            mfa::SignInAnswer,
        },
    };

    pub(crate) fn login() -> Doc {
        Doc::new("login", "auth", "Signs in")
            .describe("Unknown name, wrong password, locked and disabled are answered alike.")
            .body::<Login>(json!({
                "tenant": "ultracore", "username": "customer", "password": "as typed",
            }))
            .answers::<SignInAnswer>(200, "Tokens, or the second step where a factor is due.")
            .problem(401, &["invalid_credentials"])
            .problem(403, &["device_unknown"])
            .problem(409, &["too_many_sessions"])
    }

    pub(crate) fn refresh() -> Doc {
        Doc::new("refresh", "auth", "Exchanges a refresh token for new tokens")
            .describe(
                "Every use rotates it. A used token presented again ends the session, except \
                 for a retry within ten seconds, which gets the same successor.",
            )
            .body::<RefreshToken>(json!({ "refresh_token": "refresh_tenant_secret" }))
            .answers::<Tokens>(200, "Tokens.")
            .problem(401, &["invalid_token", "token_expired", "token_revoked"])
    }

    pub(crate) fn logout() -> Doc {
        Doc::new("logout", "auth", "Ends the session of this request")
            .body::<Nothing>(json!({}))
            .body_optional()
            .answers_nothing("Signed out.")
    }

    pub(crate) fn me() -> Doc {
        Doc::new("readMe", "auth", "Who you are and what you may do").answers::<Me>(200, "You.")
    }

    pub(crate) fn sessions() -> Doc {
        Doc::new("listSessions", "auth", "Your live sessions, newest first")
            .paged()
            .answers::<List<Session>>(200, "A page of sessions.")
    }

    pub(crate) fn end_session() -> Doc {
        Doc::new("endSession", "auth", "Ends one of your sessions")
            .answers_nothing("Ended; its tokens are refused from the next request on.")
    }

    pub(crate) fn sign_out_everywhere() -> Doc {
        Doc::new("signOutEverywhere", "auth", "Ends all of your sessions")
            .body::<SignOutEverywhere>(json!({ "keep_current": true }))
            .body_optional()
            .answers::<SignedOut>(200, "How many ended.")
    }

    pub(crate) fn password_policy() -> Doc {
        Doc::new("readPasswordPolicy", "auth", "Which passwords are good enough")
            .query(
                "tenant",
                text(),
                "The tenant's slug; an access token or a single tenant also does.",
            )
            .answers::<PasswordRules>(200, "The rules.")
            .problem(401, &["invalid_token"])
            .problem(404, &["not_found"])
    }
}
