//! Owns serving: refusing what is unsafe, opening the two listeners, running the
//! workers, and going down in order.

mod activity;
pub mod listener;
mod notices;
pub mod proofs;
mod redirect;
mod resealing;
pub mod roles;
pub mod shared;
mod signals;
pub mod tls;
mod webhooks;
pub mod workers;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::Context as _;
use api::{ApiConfig, ApiState, HealthState};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use tenancy::migrate::Migrator;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::cli::exit::SchemaNotReady;
use crate::compose::{Ingredients, Installation};
use crate::config::{Configuration, Faults};
use crate::connect::connect;
use listener::Acceptor;
use tls::Certificate;
use workers::Workers;

pub use signals::Termination;

/// How long requests in flight may take to finish after a signal.
const DRAIN: Duration = Duration::from_secs(20);
/// How long operations whose clients have hung up may take to finish after that.
const DRAIN_OPERATIONS: Duration = Duration::from_secs(10);
/// Connections that are sent from the clear to TLS, at once.
const REDIRECT_CONNECTIONS: usize = 256;
/// Connections of the operator's listener: scrapes and health checks.
const OPERATOR_CONNECTIONS: usize = 64;

/// Serve the API.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// Apply pending migrations first, with the login of `DATABASE_OWNER_URL`.
    #[arg(long)]
    migrate: bool,
}

/// `strongroom serve`.
///
/// # Errors
/// All faults of the configuration and the database login together; a schema that
/// is not this binary's; a database or an address that cannot be had.
pub async fn run(options: Options, configuration: &Configuration) -> anyhow::Result<()> {
    configuration.check_serving()?;
    let termination = Termination::listen()?;
    if configuration.deployment().is_strict() {
        let faults = roles::faults_of_app_login(&configuration.database()?).await?;
        if !faults.is_empty() {
            return Err(Faults(faults).into());
        }
    }
    schema_is_ready(configuration, options.migrate).await?;
    let ingredients = ingredients(configuration).await?;
    let secret = shared::secret(&ingredients.roots);
    let installation = Installation::assemble(ingredients)?;
    let mut installation = installation.sending_over(configuration.transports()?);
    installation = installation.telling_through(configuration.webhook_client());
    installation =
        installation.witnessed_by(configuration.witnesses(), configuration.witness_client());
    installation.proof_every = configuration.ledger_proof_every();
    let listening = Listening {
        public: vec![bind(configuration.listen_address()?).await?],
        operator: bind(configuration.metrics_address()?).await?,
        max_connections: configuration.max_connections(),
        certificate: configuration.certificate()?,
        redirect: match configuration.redirect_address()? {
            Some(address) => vec![bind(address).await?],
            None => Vec::new(),
        },
    };
    if configuration.deployment().is_strict() && listening.is_unreachable_in_the_clear() {
        tracing::warn!(
            "whoever types the address without https reaches nobody: set HTTP_REDIRECT_ADDRESS"
        );
    }
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        listen = %configuration.listen_address()?,
        metrics = %configuration.metrics_address()?,
        "ready"
    );
    let figures = record_metrics()?;
    shared::begin(&installation, configuration, secret).await?;
    let running = Running::start(installation, listening, figures);
    termination.wait().await;
    running.stop().await;
    Ok(())
}

/// Refuses a schema that is not this binary's, or applies what is missing.
async fn schema_is_ready(configuration: &Configuration, migrate: bool) -> anyhow::Result<()> {
    let migrator = Migrator::embedded();
    if migrate {
        let mut client = connect(&configuration.owner_database()?).await?;
        tenancy::migrate::ensure_roles(&client).await?;
        for applied in migrator.up(&mut client, None).await? {
            tracing::info!(version = applied.version, name = applied.name, "migration applied");
        }
    }
    let client = connect(&configuration.database()?).await?;
    let verified = migrator.verify(&client).await?;
    if verified.pending > 0 {
        let message = format!(
            "{} migrations are pending; run `strongroom migrate up`, or serve with --migrate",
            verified.pending
        );
        return Err(SchemaNotReady(message).into());
    }
    Ok(())
}

/// What the configuration says an installation is put together from; asks the
/// database how its logins become their roles.
pub async fn ingredients(configuration: &Configuration) -> anyhow::Result<Ingredients> {
    Ok(Ingredients {
        app: roles::acting_as(configuration.database()?, "strongroom_app", "DATABASE_URL").await?,
        sealer: roles::acting_as(
            configuration.sealer_database()?,
            "strongroom_sealer",
            "DATABASE_SEALER_URL",
        )
        .await?,
        anchor: configuration.anchoring(),
        roots: configuration.root_keys()?,
        shares: configuration.key_shares(),
        token_secret: configuration.token_secret(),
        exempt_loopback: false,
        api: ApiConfig {
            public_url: configuration.public_url().to_owned(),
            trusted_proxies: configuration.trusted_proxies(),
            location_header: configuration.location_header(),
            cors_origins: configuration.cors_origins(),
            allowed_hosts: configuration.allowed_hosts(),
            ..ApiConfig::default()
        },
    })
}

async fn bind(address: SocketAddr) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address).await.with_context(|| format!("cannot listen on {address}"))
}

/// Where to listen.
#[derive(Debug)]
pub struct Listening {
    /// For the API.
    pub public: Vec<TcpListener>,
    /// For metrics and health.
    pub operator: TcpListener,
    /// Connections of the API at once.
    pub max_connections: usize,
    /// What the API's listeners speak TLS under; in the clear where there is none.
    pub certificate: Option<Certificate>,
    /// In the clear, for sending people to `PUBLIC_URL`.
    pub redirect: Vec<TcpListener>,
}

impl Listening {
    fn is_unreachable_in_the_clear(&self) -> bool {
        self.certificate.is_some() && self.redirect.is_empty()
    }
}

/// An installation that serves.
pub struct Running {
    installation: Installation,
    api: ApiState,
    public: Acceptor,
    redirect: Acceptor,
    operator: Acceptor,
    workers: Workers,
    watching: CancellationToken,
}

impl Running {
    /// Starts listening and the workers; `figures` is what metrics are answered from.
    pub fn start(
        installation: Installation,
        listening: Listening,
        figures: PrometheusHandle,
    ) -> Self {
        raise_file_limit(listening.max_connections);
        let api = installation.api_state();
        let health = HealthState {
            database: installation.app.clone(),
            draining: std::sync::Arc::clone(&installation.draining),
            render_metrics: std::sync::Arc::new(move || figures.render()),
        };
        let routes = api::router_with_pages(api.clone(), console::router(installation.console()))
            .merge(api::probe_router(health.clone()));
        let watching = CancellationToken::new();
        let certificate = listening.certificate.map(Arc::new);
        if let Some(certificate) = certificate.clone() {
            let watch = certificate.watch(watching.clone());
            tokio::spawn(async move {
                if let Err(error) = watch.await {
                    tracing::error!(%error, "a renewed certificate needs a restart to be served");
                }
            });
        }
        let redirect = redirect::router(&api.config.public_url);
        let redirect = Acceptor::new(redirect, REDIRECT_CONNECTIONS);
        let public = Acceptor::new(routes, listening.max_connections).under(certificate);
        let operator = Acceptor::new(api::health_router(health), OPERATOR_CONNECTIONS);
        let workers = Workers::start(&installation);
        listening.public.into_iter().for_each(|listener| public.listen(listener));
        listening.redirect.into_iter().for_each(|listener| redirect.listen(listener));
        operator.listen(listening.operator);
        Self { installation, api, public, redirect, operator, workers, watching }
    }

    /// Goes down in order: not ready any more, requests finish, what was read is
    /// recorded, what was recorded is sealed.
    pub async fn stop(self) {
        self.installation.draining.store(true, Ordering::Relaxed);
        tracing::info!("stopping");
        self.watching.cancel();
        self.redirect.stop(Duration::ZERO).await;
        if !self.public.stop(DRAIN).await {
            tracing::warn!("requests were still running after {} s", DRAIN.as_secs());
        }
        if !self.installation.operations.drain(DRAIN_OPERATIONS).await {
            tracing::warn!("operations were still running; what they did is rolled back");
        }
        self.workers.stop().await;
        if let Err(error) = self.api.record_refused().await {
            tracing::error!(%error, "the last refused requests could not be recorded");
        }
        let log = self.installation.operations.access_log();
        if let Err(error) = log.flush(&self.installation.app, true).await {
            tracing::error!(%error, "the last access records could not be written");
        }
        if let Err(error) = self.installation.sealer.drain().await {
            tracing::error!(%error, "the last audit records could not be sealed; the next start will");
        }
        self.operator.stop(Duration::from_millis(200)).await;
        tracing::info!("stopped");
    }
}

/// Files beside client connections: the pool, logs, listeners.
const FILES_BESIDE_CONNECTIONS: u64 = 256;

/// Every connection is a file. The soft limit is often 1,024; up to the hard one
/// it is ours to raise.
fn raise_file_limit(max_connections: usize) {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let wanted = FILES_BESIDE_CONNECTIONS.saturating_add(max_connections as u64);
    let limit = getrlimit(Resource::Nofile);
    let Some(current) = limit.current.filter(|current| *current < wanted) else { return };
    let reachable = limit.maximum.map_or(wanted, |maximum| wanted.min(maximum));
    let raised = setrlimit(Resource::Nofile, Rlimit { current: Some(reachable), ..limit });
    if raised.is_err() || reachable < wanted {
        let files = if raised.is_ok() { reachable } else { current };
        tracing::warn!(files, wanted, "fewer files may be open than MAX_CONNECTIONS needs");
    }
}

/// Latencies in seconds: a read is a millisecond, a login a quarter of a second.
const LATENCY_BUCKETS_S: [f64; 12] =
    [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0];

/// Records metrics from now on.
///
/// # Errors
/// Where they are recorded in this process already.
pub fn record_metrics() -> anyhow::Result<PrometheusHandle> {
    let recorder = PrometheusBuilder::new().set_buckets(&LATENCY_BUCKETS_S)?.build_recorder();
    let handle = recorder.handle();
    metrics::set_global_recorder(recorder)
        .map_err(|_| anyhow::anyhow!("metrics are recorded already"))?;
    Ok(handle)
}
