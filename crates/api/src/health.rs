//! Owns what orchestrators and Prometheus ask: alive, ready, figures. Public by
//! nature, without figures of any tenant; meant for a listener of its own.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use axum::{
    Router,
    extract::State,
    middleware::map_response,
    response::{IntoResponse as _, Response},
    routing::get,
};
use http::{StatusCode, header};
use tenancy::Database;
use tokio::sync::Mutex;

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
/// They pass no gate and no limit, so the database is asked once a second at most.
pub fn probe_router(state: HealthState) -> Router {
    let probes = Probes { state, last: Arc::default() };
    Router::new()
        .route("/livez", get(live))
        .route("/readyz", get(ready))
        .with_state(probes)
        .layer(map_response(with_security_headers))
}

async fn with_security_headers(mut response: Response) -> Response {
    crate::middleware::secure(response.headers_mut());
    response
}

/// Readiness, asked of the database once a second at most and by one request at a
/// time: whoever floods the probes takes no connection from anybody.
#[derive(Clone)]
struct Probes {
    state: HealthState,
    last: Arc<Mutex<Option<(Instant, Readiness)>>>,
}

/// Ready, or the line that says why not.
type Readiness = Result<(), &'static str>;

/// How long an answer of the database holds.
const READINESS_HOLDS: Duration = Duration::from_secs(1);

impl Probes {
    async fn readiness(&self) -> Readiness {
        let mut last = self.last.lock().await;
        if let Some((at, readiness)) = *last
            && at.elapsed() < READINESS_HOLDS
        {
            return readiness;
        }
        let readiness = match tokio::time::timeout(PING_TIMEOUT, self.state.database.ping()).await {
            Ok(Ok(())) => Ok(()),
            // Why is in the log: this answer is public.
            Ok(Err(error)) => {
                tracing::warn!(%error, "not ready");
                Err("database unavailable\n")
            }
            Err(_) => Err("database slow\n"),
        };
        *last = Some((Instant::now(), readiness));
        readiness
    }
}

async fn live() -> &'static str {
    "ok\n"
}

async fn ready(State(probes): State<Probes>) -> Response {
    if probes.state.draining.load(Ordering::Relaxed) {
        return (StatusCode::SERVICE_UNAVAILABLE, "draining\n").into_response();
    }
    match probes.readiness().await {
        Ok(()) => "ok\n".into_response(),
        Err(why) => (StatusCode::SERVICE_UNAVAILABLE, why).into_response(),
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
