//! Owns what orchestrators and Prometheus ask: alive, ready, figures. Public by
//! nature, without figures of any tenant; meant for a listener of its own.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use axum::{
    Router,
    extract::State,
    response::{IntoResponse as _, Response},
    routing::get,
};
use http::{StatusCode, header};
use tenancy::Database;

/// How long the database may take to answer a readiness check.
const PING_TIMEOUT: Duration = Duration::from_secs(2);

/// What health is judged by. Cheap to clone.
#[derive(Clone)]
pub struct HealthState {
    /// Asked at every readiness check.
    pub database: Database,
    /// Set when shutdown begins: not ready any more, requests in flight finish.
    pub draining: Arc<AtomicBool>,
    /// The figures in Prometheus' text format.
    pub render_metrics: Arc<dyn Fn() -> String + Send + Sync>,
}

/// `/livez`, `/readyz` and `/metrics`, for a listener of their own.
pub fn health_router(state: HealthState) -> Router {
    probe_router(state.clone())
        .merge(Router::new().route("/metrics", get(figures)).with_state(state))
}

/// `/livez` and `/readyz` alone: load balancers ask them where they send requests.
pub fn probe_router(state: HealthState) -> Router {
    Router::new().route("/livez", get(live)).route("/readyz", get(ready)).with_state(state)
}

async fn live() -> &'static str {
    "ok\n"
}

async fn ready(State(state): State<HealthState>) -> Response {
    if state.draining.load(Ordering::Relaxed) {
        return (StatusCode::SERVICE_UNAVAILABLE, "draining\n").into_response();
    }
    match tokio::time::timeout(PING_TIMEOUT, state.database.ping()).await {
        Ok(Ok(())) => "ok\n".into_response(),
        // Why is in the log: this answer is public.
        Ok(Err(error)) => {
            tracing::warn!(%error, "not ready");
            (StatusCode::SERVICE_UNAVAILABLE, "database unavailable\n").into_response()
        }
        Err(_) => (StatusCode::SERVICE_UNAVAILABLE, "database slow\n").into_response(),
    }
}

async fn figures(State(state): State<HealthState>) -> Response {
    let (in_use, idle, waiting) = state.database.pool_status();
    for (name, value) in [("in_use", in_use), ("idle", idle), ("waiting", waiting)] {
        let value = u32::try_from(value).unwrap_or(u32::MAX);
        metrics::gauge!("strongroom_database_connections", "state" => name).set(f64::from(value));
    }
    let text = (state.render_metrics)();
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text).into_response()
}
