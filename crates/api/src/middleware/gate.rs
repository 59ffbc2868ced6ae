//! The gate: finds where a request belongs, counts it, learns who calls, and turns
//! away whom no handler needs to see. In this order: 401 (counted against the
//! address, as is the 400 of two `Authorization` headers), 429, a password that has reached
//! its maximum age, a module that is off, a signature that is wrong or missing, then the handler.
//!
//! It refuses to decide permissions: operations do.

use std::{net::IpAddr, sync::Arc};

use axum::{
    extract::{RawPathParams, Request},
    middleware::Next,
    response::{IntoResponse as _, Response},
};
use http::{HeaderMap, StatusCode};
use tenancy::{ActorKind, OpContext, RequestInfo, TenantRef};

use super::{
    limits::{self, Counted, Limits, count_address, count_user},
    signature,
};
use crate::{
    extract::{Caller, Source, bearer, no_token},
    floods::Floods,
    nul,
    problem::Problem,
    route::{Access, Class, Place},
    routes,
    state::ApiState,
};

pub(super) async fn gate(
    state: ApiState,
    path: Option<RawPathParams>,
    request: Request,
    next: Next,
) -> Response {
    let Some(Source(source)) = request.extensions().get::<Source>().cloned() else {
        return Problem::internal().into_response();
    };
    let next = Inside { path, next };
    let place = state.index.locate(request.method(), request.uri().path());
    let response = match place {
        Some(place) if !place.exact => stray(&state, &source, place.class, request, next).await,
        Some(place)
            if matches!(place.access, Access::Public(_))
                && matches!(place.class, Class::Auth | Class::Mfa) =>
        {
            sign_in(&state, &source, place.class, request, next).await
        }
        Some(place) if matches!(place.access, Access::Public(_)) => {
            stray(&state, &source, place.class, request, next).await
        }
        Some(place) => known(&state, &source, &place, request, next).await,
        None if routes::is_of_later_module(request.uri().path()) => {
            known(&state, &source, &routes::later_module(), request, next).await
        }
        None => stray(&state, &source, Class::Default, request, next).await,
    };
    noted(&state, &source, response)
}

/// Finishes a page of the console, which counts and authenticates by itself; what it
/// says of either is written down here.
pub(super) fn page(
    state: &ApiState,
    source: &Arc<RequestInfo>,
    mut response: Response,
) -> Response {
    if let Some(counted) = response.extensions_mut().remove::<Counted>() {
        response = told(response, counted);
    }
    noted(state, source, response)
}

/// The handler, behind the last look at what it will be handed.
struct Inside {
    path: Option<RawPathParams>,
    next: Next,
}

impl Inside {
    async fn run(self, request: Request) -> Response {
        match nul::outside_bodies(self.path.as_ref(), request.uri()) {
            Ok(()) => self.next.run(request).await,
            Err(problem) => problem.into_response(),
        }
    }
}

/// The tenant of a caller who was known and refused all the same.
#[derive(Clone)]
struct Refused(Arc<TenantRef>);

fn noted(state: &ApiState, source: &Arc<RequestInfo>, mut response: Response) -> Response {
    let status = response.status();
    if matches!(status, StatusCode::UNAUTHORIZED | StatusCode::TOO_MANY_REQUESTS) {
        let tenant = response.extensions_mut().remove::<Refused>().map(|refused| refused.0);
        Floods::note(state, tenant, source, status.as_u16());
    }
    response
}

/// Public routes, and paths that lead nowhere.
async fn stray(
    state: &ApiState,
    source: &RequestInfo,
    class: Class,
    request: Request,
    next: Inside,
) -> Response {
    let (counted, verdict) = count_stranger(state, source.ip, class).await;
    match verdict {
        Ok(()) => told(next.run(request).await, counted),
        Err(problem) => told(problem.into_response(), counted),
    }
}

/// Sign-in, second step and refresh count themselves, under the name or token tried; what failed before
/// it could (a malformed body) is counted here.
async fn sign_in(
    state: &ApiState,
    source: &RequestInfo,
    class: Class,
    request: Request,
    next: Inside,
) -> Response {
    let mut response = next.run(request).await;
    if let Some(counted) = response.extensions_mut().remove::<Counted>() {
        return told(response, counted);
    }
    // Our own failure, a database that is away, is nobody's attempt.
    if response.status().is_server_error() {
        return response;
    }
    let (counted, verdict) = count_stranger(state, source.ip, class).await;
    let response = verdict.err().map_or(response, axum::response::IntoResponse::into_response);
    told(response, counted)
}

/// Routes for the signed-in.
async fn known(
    state: &ApiState,
    source: &Arc<RequestInfo>,
    place: &Place,
    request: Request,
    next: Inside,
) -> Response {
    let mut caller = match authenticated(state, source, request.headers()).await {
        Ok(caller) => caller,
        Err(problem) if problem.status.is_client_error() => {
            let (counted, verdict) = count_stranger(state, source.ip, place.class).await;
            let problem = verdict.err().unwrap_or(problem);
            return told(problem.into_response(), counted);
        }
        Err(problem) => return problem.into_response(),
    };
    let policy = match state.identity.policy(&caller).await {
        Ok(policy) => policy,
        Err(error) => return Problem::from(error).into_response(),
    };
    let limits =
        Limits::of(&policy.rate_limits, place.class, state.config.rate_limit_floor_per_minute);
    let (counted, verdict) = count_user(&state.rates, limits, &caller, state.now_ms()).await;
    if let Err(problem) = verdict {
        let mut response = problem.into_response();
        response.extensions_mut().insert(Refused(caller.tenant));
        return told(response, counted);
    }
    if !place.after_expiry
        && let Err(error) = state.identity.refuse_expired_password(&caller).await
    {
        return told(Problem::from(error).into_response(), counted);
    }
    if !place.with_spent_codes
        && let Err(error) = state.identity.refuse_spent_backup_codes(&caller).await
    {
        return told(Problem::from(error).into_response(), counted);
    }
    if !caller.tenant.has_module(place.module) {
        return told(module_not_enabled().into_response(), counted);
    }
    // What is about oneself is about people: sessions, factors, passwords.
    if caller.actor.kind == ActorKind::ApiKey && place.access == Access::SignedIn {
        return told(refused_machine(state, &caller).await, counted);
    }
    let demands = signature::Demands::of(&policy, place.signature);
    let checked = signature::checked(state, &mut caller, demands, request);
    // Few requests are signed: every future of this is not to be as large as that one.
    let mut request = match Box::pin(checked).await {
        Ok(request) => request,
        Err(problem) => return told(problem.into_response(), counted),
    };
    request.extensions_mut().insert(Caller(caller));
    told(next.run(request).await, counted)
}

async fn refused_machine(state: &ApiState, caller: &OpContext) -> Response {
    let access = operation::access_log::Access {
        action: "api_key.refused",
        resource: "session",
        object: None,
        allowed: false,
        count: 0,
    };
    let operations = &state.operations;
    operations.access_log().record(operations.database(), caller, access).await;
    Problem::from(operation::Refusal::denied()).into_response()
}

async fn authenticated(
    state: &ApiState,
    source: &Arc<RequestInfo>,
    headers: &HeaderMap,
) -> Result<OpContext, Problem> {
    let token = bearer(headers)?.ok_or_else(no_token)?;
    Ok(state.identity.authenticate(token, Arc::clone(source)).await?)
}

async fn count_stranger(
    state: &ApiState,
    address: Option<IpAddr>,
    class: Class,
) -> (Counted, Result<(), Problem>) {
    let floor = state.config.rate_limit_floor_per_minute;
    let limits = Limits::of(&state.base_limits, class, floor);
    count_address(&state.rates, limits, address, state.now_ms()).await
}

fn told(mut response: Response, counted: Counted) -> Response {
    limits::write(&counted, response.headers_mut());
    response
}

fn module_not_enabled() -> Problem {
    let detail = "This module is not enabled for the tenant";
    Problem::new(StatusCode::NOT_FOUND, "module_not_enabled", detail)
}
