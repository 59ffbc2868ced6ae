//! Owns `strongroom dev`: a complete installation on one machine, with people and
//! money in it, ready in seconds and gone without a trace where it is ephemeral.

mod bank;
mod demo;
mod digest;
mod greeting;
mod people;
mod place;
mod ready;
mod secrets;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use anyhow::Context as _;
use api::ApiConfig;
use clap::ValueEnum;
use notify::{Folder, Transport, Transports};
use tenancy::keyring::KeyringError;
use tenancy::policy::PolicyOverrides;
use tenancy::{ActorKind, DatabaseConfig};
use tokio::net::TcpListener;

use crate::cli::tenant::refused;
use crate::compose::{Ingredients, Installation};
use crate::config::Configuration;
use crate::config::running;
use crate::serve::listener::bind_loopbacks;
use crate::serve::{Listening, Running, Termination, record_metrics, shared};
use people::Peopled;
use place::Place;
use ready::{Manifest, Ready};

/// At least so many requests a minute are let through, unless limits are strict.
const RAISED_LIMIT_PER_MINUTE: u32 = 100_000;
/// A load driver is one address and must never meet a limit.
const UNLIMITED_PER_MINUTE: u32 = 100_000_000;
/// Logins of the load tenant.
const LOAD_USERS: usize = 200;
const METRICS_PORT: u16 = 9464;

/// Run a demo installation.
#[derive(Debug, Clone, clap::Args)]
pub struct Options {
    /// The port of the API on both loopbacks; 0 picks a free one.
    #[arg(long, default_value_t = 8080)]
    port: u16,
    /// The data to start with.
    #[arg(long, value_enum, default_value_t = Seed::Demo)]
    seed: Seed,
    /// Other people and amounts for each number; the same ones for the same number.
    #[arg(long, default_value_t = 1, value_name = "NUMBER")]
    demo_seed: u64,
    /// Write how to attach, as JSON, once the server answers.
    #[arg(long, value_name = "PATH")]
    ready_file: Option<PathBuf>,
    /// Use a temporary folder and remove it at exit.
    #[arg(long)]
    ephemeral: bool,
    /// Keep the tenants' own rate limits instead of raising them to 100,000 a minute.
    #[arg(long)]
    strict_limits: bool,
    /// Where the private cluster and the development key are kept.
    #[arg(long, default_value = "var", value_name = "DIR", overrides_with = "folder")]
    folder: PathBuf,
}

/// The data to start with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Seed {
    /// Only the platform's tenant.
    None,
    /// A tenant of each blueprint with people, and ninety days of their lives in the bank.
    Demo,
    /// The tenants and people of the demo with a little money, and a tenant of 200 users with 100 accounts each for load drivers.
    Load,
}

/// `strongroom dev`.
///
/// # Errors
/// No PostgreSQL, a port that is taken, a database that is no development one.
pub async fn run(options: Options, configuration: &Configuration) -> anyhow::Result<()> {
    configuration.check_form()?;
    anyhow::ensure!(
        !configuration.deployment().is_strict(),
        "`strongroom dev` is for ENV=development only"
    );
    let started = Instant::now();
    let mut termination = Termination::listen()?;
    // Before the ready file is forgotten: it may be the first one's.
    refuse_a_second(&options, configuration)?;
    if let Some(path) = &options.ready_file {
        Ready::forget(path)?;
    }
    // Taken first: whoever cannot listen should not start a database.
    let (port, public) = listen(options.port).await?;
    let place = tokio::select! {
        place = Place::prepare(&options.folder, options.ephemeral, configuration) => place?,
        () = termination.next() => return Ok(()),
    };
    let outcome = tokio::select! {
        outcome = installed(&options, configuration, &place, (port, public)) => outcome,
        () = termination.next() => return place.leave().await,
    };
    let (running, ready) = match outcome {
        Ok(parts) => parts,
        Err(error) => {
            place.leave().await?;
            return Err(error);
        }
    };
    // Nobody has to listen (`dev | head`); the ready file has to be there.
    let manner =
        greeting::Manner { limits_are_raised: !options.strict_limits, is_kept: !options.ephemeral };
    let _ = greeting::print(&ready, manner, started.elapsed());
    if !options.ephemeral {
        ready.keep(&options.folder)?;
    }
    if let Some(path) = &options.ready_file {
        ready.write(path)?;
    }
    termination.next().await;
    let stopping = async {
        if !options.ephemeral {
            Ready::take_away(&options.folder, ready.pid);
        }
        running.stop().await;
        place.leave().await
    };
    tokio::select! {
        left = stopping => left,
        // Asked twice: the cluster's watchdog cleans up behind us.
        () = termination.next() => Ok(()),
    }
}

/// Two installations over one folder would fight for its database; the first
/// one is there to be used.
fn refuse_a_second(options: &Options, configuration: &Configuration) -> anyhow::Result<()> {
    if options.ephemeral || configuration.database().is_ok() {
        return Ok(());
    }
    match running::Running::in_folder(&options.folder).filter(running::Running::is_alive) {
        Some(first) => anyhow::bail!(
            "an installation runs from {} already, at {} (process {pid}): use that one, stop it with `kill {pid}`, or \
             start a second one with --ephemeral --port 0",
            options.folder.display(),
            first.base_url,
            pid = first.pid,
        ),
        None => Ok(()),
    }
}

async fn listen(port: u16) -> anyhow::Result<(u16, Vec<TcpListener>)> {
    bind_loopbacks(port).await.with_context(|| {
        format!("cannot listen on port {port} of the loopback; choose another with --port, or --port 0 for any free one")
    })
}

async fn installed(
    options: &Options,
    configuration: &Configuration,
    place: &Place,
    (port, public): (u16, Vec<TcpListener>),
) -> anyhow::Result<(Running, Ready)> {
    let base_url = format!("http://localhost:{port}");
    let ingredients = ingredients(options, configuration, place, &base_url)?;
    let secret = shared::secret(&ingredients.roots);
    let installation = Installation::assemble(ingredients)?;
    let installation = installation.sending_over(transports(configuration, place)?);
    let installation = installation.telling_through(configuration.webhook_client());
    keys_fit(&installation, options).await?;
    let (tenants, manifest) =
        Box::pin(populate(options, configuration, place, &installation)).await?;
    let operator = match TcpListener::bind(("127.0.0.1", METRICS_PORT)).await {
        Ok(listener) if options.port != 0 => listener,
        _ => TcpListener::bind(("127.0.0.1", 0)).await?,
    };
    let metrics_url = format!("http://{}", operator.local_addr()?);
    let max_connections = configuration.max_connections();
    let figures = record_metrics()?;
    shared::begin(&installation, configuration, secret).await?;
    let listening =
        Listening { public, operator, max_connections, certificate: None, redirect: Vec::new() };
    let running = Running::start(installation, listening, figures);
    let ready = Ready {
        base_url,
        metrics_url,
        pid: std::process::id(),
        database_url: place.url.to_string(),
        encryption_key: place.secrets.encryption_key().to_string(),
        tenants: tenants.into_iter().map(|peopled| peopled.logins).collect(),
        manifest,
    };
    Ok((running, ready))
}

/// What is configured, and a folder for the rest.
fn transports(configuration: &Configuration, place: &Place) -> anyhow::Result<Transports> {
    let configured = configuration.transports()?;
    let folder: Arc<dyn Transport> = Arc::new(Folder::new(place.outbox()));
    Ok(Transports {
        email: configured.email.or_else(|| Some(Arc::clone(&folder))),
        sms: configured.sms.or(Some(folder)),
    })
}

/// A database that was made under another root key would fail at the first
/// sign-in; better now, with the reason.
async fn keys_fit(installation: &Installation, options: &Options) -> anyhow::Result<()> {
    for tenant in installation.directory.list().await? {
        let context = installation.context(tenant, ActorKind::Cli);
        match installation.keyring.tenant(&installation.app, &context).await {
            Err(KeyringError::Key(_)) => anyhow::bail!(
                "ENCRYPTION_KEY does not open the keys in this database, which was made under another one: set that \
                 one, or unset ENCRYPTION_KEY to use {}, or start afresh with --ephemeral or another --folder",
                options.folder.join(place::KEY_FILE).display()
            ),
            opened => opened?,
        };
    }
    Ok(())
}

fn ingredients(
    options: &Options,
    configuration: &Configuration,
    place: &Place,
    base_url: &str,
) -> anyhow::Result<Ingredients> {
    let mut sealer = DatabaseConfig::new(place.url.as_str()).with_role("strongroom_sealer");
    (sealer.max_connections, sealer.idle_connections) = (2, 1);
    Ok(Ingredients {
        app: DatabaseConfig::new(place.url.as_str()).with_role("strongroom_app"),
        sealer,
        anchor: configuration.anchoring(),
        roots: place.secrets.roots()?,
        shares: configuration.key_shares(),
        token_secret: configuration.token_secret(),
        exempt_loopback: true,
        api: ApiConfig {
            public_url: base_url.to_owned(),
            trusted_proxies: configuration.trusted_proxies(),
            location_header: configuration.location_header(),
            cors_origins: configuration.cors_origins(),
            allowed_hosts: configuration.allowed_hosts(),
            rate_limit_floor_per_minute: (!options.strict_limits).then_some(match options.seed {
                Seed::Load => UNLIMITED_PER_MINUTE,
                Seed::None | Seed::Demo => RAISED_LIMIT_PER_MINUTE,
            }),
            ..ApiConfig::default()
        },
    })
}

/// Puts tenants, people and money in place, as far as they are missing.
async fn populate(
    options: &Options,
    configuration: &Configuration,
    place: &Place,
    installation: &Installation,
) -> anyhow::Result<(Vec<Peopled>, Option<Manifest>)> {
    if options.seed == Seed::None {
        installation.identity.ensure_platform().await.map_err(refused)?;
        return Ok((Vec::new(), None));
    }
    // Load drivers have no second factor to prove a transfer with.
    let no_transfer_step_up = options.seed == Seed::Load;
    let overrides = PolicyOverrides { no_transfer_step_up, ..configuration.policy_overrides() };
    let ceiling = (options.seed == Seed::Demo).then_some(people::CEILING_MINOR);
    let mut tenants =
        Box::pin(people::settle(installation, &place.secrets, &overrides, ceiling)).await?;
    if options.seed == Seed::Demo {
        for bank in tenants.iter().filter(|peopled| peopled.tenant.has_module("banking")) {
            let password = place.secrets.password_of(&bank.tenant.slug);
            demo::seed(installation, &bank.tenant, &password, options.demo_seed).await?;
        }
        return Ok((tenants, None));
    }
    // What load drivers compare needs a bank beside theirs, not ninety days of its life.
    if let Some(bank) = tenants.iter().find(|peopled| peopled.tenant.slug == people::BANK) {
        bank::seed(installation, &bank.tenant, bank::BRIEF).await?;
    }
    let load =
        people::load_tenant(installation, &place.secrets, &load_overrides(overrides), LOAD_USERS)
            .await?;
    bank::seed(installation, &load.tenant, bank::LOAD).await?;
    let password = place.secrets.password_of(&load.tenant.slug);
    let manifest = bank::manifest(installation, &load.tenant, &password).await?;
    tenants.push(load);
    Ok((tenants, Some(manifest)))
}

/// A load driver signs in once and works for hours.
fn load_overrides(overrides: PolicyOverrides) -> PolicyOverrides {
    PolicyOverrides {
        access_lifetime_s: Some(overrides.access_lifetime_s.unwrap_or(4 * 3_600)),
        ..overrides
    }
}
