//! Owns the configuration: the table of settings, where values come from, what
//! is refused, and how it is shown. It is the only reader of the environment.
//!
//! It refuses to know what the values are used for.

mod documentation;
mod opening;
pub mod running;
mod safety;
pub mod settings;
mod smtp;
mod source;
#[cfg(test)]
mod tests;
pub mod value;

use std::collections::BTreeSet;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

pub use documentation::markdown;
pub use source::{Found, Origin, Sources};

use api::Network;
use audit::anchor::{Anchor, Anchoring};
use audit::witness::Witness;
use hotstate::shared::StoreAddress;
use notify::{Gateway, GatewayConfig, Smtp, SmtpConfig, Transport, Transports};
use opening::Fetch;
use outward::{Client, Guard};
use secrets::Stores;
use settings::Setting;
use source::Resolved;
use tenancy::DatabaseConfig;
use tenancy::keyring::KeyShares;
use tenancy::policy::{JwtAlgorithm, PolicyOverrides};
use tracing_subscriber::EnvFilter;
use vault::{RootKey, RootKeys, SecretBytes};
use zeroize::Zeroizing;

use crate::serve::tls::{Certificate, Pair};

/// What the others are sealed under.
const ROOT: &str = "ENCRYPTION_KEY";

/// What an anchor begins with that is a witness.
const WITNESS_ANCHOR: &str = "witness:";

/// Something wrong with the configuration. Never carries a secret.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Fault {
    /// The setting's name, or the place of the fault.
    pub setting: String,
    /// What is wrong with it; completes a sentence that begins with the name.
    pub message: String,
}

impl Fault {
    fn new(setting: impl Into<String>, message: impl Into<String>) -> Self {
        Self { setting: setting.into(), message: message.into() }
    }
}

/// All that is wrong, at once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Faults(pub Vec<Fault>);

impl Faults {
    fn one(fault: Fault) -> Self {
        Self(vec![fault])
    }

    fn unless_empty(mut faults: Vec<Fault>) -> Result<(), Self> {
        faults.sort();
        faults.dedup();
        if faults.is_empty() { Ok(()) } else { Err(Self(faults)) }
    }
}

impl std::error::Error for Faults {}

impl fmt::Display for Faults {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} in the configuration:", count(self.0.len()))?;
        self.0
            .iter()
            .try_for_each(|fault| write!(formatter, "\n  {} {}", fault.setting, fault.message))
    }
}

fn count(faults: usize) -> String {
    if faults == 1 { "1 fault".to_owned() } else { format!("{faults} faults") }
}

/// What an installation is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deployment {
    /// A developer's machine.
    Development,
    /// As production, with data nobody misses.
    Staging,
    /// The real thing.
    Production,
}

impl Deployment {
    /// Whether unsafe settings are refused.
    pub fn is_strict(self) -> bool {
        self != Self::Development
    }
}

/// The configuration, each value checked for its form.
pub struct Configuration {
    values: source::Values,
    /// The development installation that it fell back to.
    running: Option<running::Running>,
    /// Faults of form and place, found while reading.
    faults: Vec<Fault>,
    /// Settings that are set, to something that leads to no value.
    unopened: BTreeSet<&'static str>,
}

impl fmt::Debug for Configuration {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Configuration")
            .field("settings", &self.values.len())
            .finish_non_exhaustive()
    }
}

/// One line of `config check`.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Shown {
    /// The setting.
    pub name: &'static str,
    /// Its value, redacted where it is a secret; none where it is not set.
    pub value: Option<String>,
    /// Where the value came from.
    pub source: String,
}

impl Configuration {
    /// Reads everything; faults are kept until they are asked for.
    pub fn read(sources: &Sources) -> Self {
        Self::read_with(sources, &|reference| {
            let now = tenancy::Clock::System.now();
            Stores { environment: &sources.environment, now }.fetch(reference)
        })
    }

    /// The same, where references are followed by `fetch`.
    pub(crate) fn read_with(sources: &Sources, fetch: &Fetch<'_>) -> Self {
        let Resolved { values, mut faults, unopened } = source::resolve(sources, fetch);
        for setting in settings::all() {
            if let Some(found) = values.get(setting.name)
                && let Err(message) = setting.kind.check(&found.text)
            {
                let name = if found.key == setting.name {
                    found.key.clone()
                } else {
                    format!("{} ({})", setting.name, found.key)
                };
                faults.push(Fault::new(name, message));
            }
        }
        faults.extend(safety::contradiction_of_store(&values));
        faults.extend(safety::unknown_witness(&values));
        let attached = |found: &Found| matches!(found.origin, Origin::Running(_));
        let is_attached = values.get("DATABASE_URL").is_some_and(attached);
        let running = sources.running.clone().filter(|_| is_attached);
        Self { values, running, faults, unopened }
    }

    /// The development installation that it fell back to, where no database was named.
    pub fn running(&self) -> Option<&running::Running> {
        self.running.as_ref()
    }

    /// What a setting's value is and where it came from; secrets in the clear.
    pub(crate) fn found(&self, name: &str) -> Option<&Found> {
        self.values.get(name)
    }

    /// Every secret that is set, with where it came from.
    pub(crate) fn secrets(&self) -> impl Iterator<Item = (&'static str, &Found)> {
        settings::all()
            .filter(|setting| setting.secret)
            .filter_map(|setting| Some((setting.name, self.values.get(setting.name)?)))
    }

    /// Whether what is set can be read at all: enough for commands that need a
    /// database and no more.
    pub fn check_form(&self) -> Result<(), Faults> {
        Faults::unless_empty(self.faults.clone())
    }

    /// Whether it can be served with: complete, and outside development safe.
    pub fn check_serving(&self) -> Result<(), Faults> {
        let mut faults = self.faults.clone();
        faults.extend(self.of_what_opened(if self.deployment().is_strict() {
            safety::faults(&self.values, self.deployment())
        } else {
            safety::missing(&self.values)
        }));
        Faults::unless_empty(faults)
    }

    /// What is refused outside development, whatever `ENV` says.
    pub fn check_production(&self) -> Result<(), Faults> {
        let mut faults = self.faults.clone();
        faults.extend(self.of_what_opened(safety::faults(&self.values, Deployment::Production)));
        Faults::unless_empty(faults)
    }

    /// What was set and leads to no value has its fault, and is not missing besides.
    fn of_what_opened(&self, mut faults: Vec<Fault>) -> Vec<Fault> {
        faults.retain(|fault| !self.unopened.contains(fault.setting.as_str()));
        faults
    }

    /// Seals a secret setting's value, to be set in its place.
    pub fn seal(&self, setting: &Setting, text: &str) -> Result<String, Faults> {
        // What is wrong with the others is no matter here: they may not be there yet.
        let of_root = self.faults.iter().filter(|fault| fault.setting.starts_with(ROOT));
        Faults::unless_empty(of_root.cloned().collect())?;
        let missing = || Fault::new(ROOT, "is not set: there is nothing to seal under");
        let root = self.values.get(ROOT).ok_or_else(missing).map_err(Faults::one)?;
        let root = RootKey::parse(&root.text)
            .map_err(|error| Faults::one(Fault::new(ROOT, error.to_string())))?;
        let text = source::tidy(setting, text);
        let refused = |message| Faults::one(Fault::new(setting.name, message));
        setting.kind.check(&text).map_err(refused)?;
        opening::seal(setting, &text, &root).map_err(Faults::one)
    }

    /// Every setting with its value and source, secrets redacted.
    pub fn shown(&self) -> Vec<Shown> {
        settings::all()
            .map(|setting| {
                let found = self.values.get(setting.name);
                Shown {
                    name: setting.name,
                    value: found.map(|found| show(setting, &found.text)),
                    source: found.map_or_else(
                        || "not set".to_owned(),
                        |found| {
                            let alias = if found.key == setting.name {
                                String::new()
                            } else {
                                format!(" ({})", found.key)
                            };
                            let through =
                                found.through.map(|means| format!(", {means}")).unwrap_or_default();
                            format!("{}{alias}{through}", found.origin)
                        },
                    ),
                }
            })
            .collect()
    }

    /// What this installation is.
    pub fn deployment(&self) -> Deployment {
        match self.text("ENV").to_ascii_lowercase().as_str() {
            "production" => Deployment::Production,
            "staging" => Deployment::Staging,
            _ => Deployment::Development,
        }
    }

    /// Whether causes and timings are logged.
    pub fn is_debugging(&self) -> bool {
        value::flag(self.text("DEBUG")) == Some(true)
    }

    /// Whether anybody asked for a level of the log.
    pub fn is_log_level_set(&self) -> bool {
        self.values.get("LOG_LEVEL").is_some_and(|found| found.origin != Origin::Default)
    }

    /// The log's filter.
    pub fn log_filter(&self) -> EnvFilter {
        value::log_filter(self.text("LOG_LEVEL")).unwrap_or_else(|| EnvFilter::new("info"))
    }

    /// Whether the log is one JSON object a line.
    pub fn logs_json(&self) -> bool {
        self.text("LOG_FORMAT").eq_ignore_ascii_case("json")
    }

    /// Where the API listens.
    pub fn listen_address(&self) -> Result<SocketAddr, Faults> {
        self.address("LISTEN_ADDRESS")
    }

    /// Where people are sent to `PUBLIC_URL` from.
    pub fn redirect_address(&self) -> Result<Option<SocketAddr>, Faults> {
        self.values
            .contains_key("HTTP_REDIRECT_ADDRESS")
            .then(|| self.address("HTTP_REDIRECT_ADDRESS"))
            .transpose()
    }

    /// The files of the certificate of our own listener.
    pub fn pair(&self) -> Option<Pair> {
        safety::pair_of(&self.values)
    }

    /// What our own listener speaks TLS under; none where it does not.
    pub fn certificate(&self) -> Result<Option<Certificate>, Faults> {
        let opened = self.pair().map(Certificate::open);
        opened
            .transpose()
            .map_err(|error| Faults::one(Fault::new(error.setting(), error.to_string())))
    }

    /// Where metrics are answered.
    pub fn metrics_address(&self) -> Result<SocketAddr, Faults> {
        self.address("METRICS_ADDRESS")
    }

    /// The origin that clients see, without a slash at its end.
    pub fn public_url(&self) -> &str {
        self.text("PUBLIC_URL")
    }

    /// The proxies whose forwarding headers are believed.
    pub fn trusted_proxies(&self) -> Vec<Network> {
        value::list(self.text("TRUSTED_PROXIES"))
            .into_iter()
            .filter_map(|network| network.parse().ok())
            .collect()
    }

    /// Where the newest checkpoint of the audit log is kept.
    pub fn anchor(&self) -> Option<Anchor> {
        Anchor::parse(self.text("AUDIT_ANCHOR"))
    }

    /// Where the halves of field KEKs are kept that stand outside the database.
    pub fn key_shares(&self) -> Option<KeyShares> {
        KeyShares::parse(self.text("KEY_SHARES"))
    }

    /// The witness that is the anchor, of those that are asked.
    pub fn witness_anchor(&self) -> Option<Witness> {
        let name = self.text("AUDIT_ANCHOR").strip_prefix(WITNESS_ANCHOR)?;
        self.witnesses().into_iter().find(|witness| witness.name() == name)
    }

    /// What the sealer goes by, outside the database.
    pub fn anchoring(&self) -> Option<Anchoring> {
        let witness = || Some(Anchoring::Witness(self.witness_anchor()?, self.witness_client()));
        self.anchor().map(Anchoring::File).or_else(witness)
    }

    /// Who cosigns the checkpoints over all audit logs.
    pub fn witnesses(&self) -> Vec<Witness> {
        let listed = value::list(self.text("AUDIT_WITNESSES"));
        Witness::parse_all(listed).unwrap_or_default()
    }

    /// The header in which those proxies say where a client is.
    pub fn location_header(&self) -> Option<String> {
        Some(self.text("LOCATION_HEADER").to_ascii_lowercase()).filter(|name| !name.is_empty())
    }

    /// The hosts that requests may be addressed to; all where empty.
    pub fn allowed_hosts(&self) -> Vec<String> {
        self.words("ALLOWED_HOSTS")
    }

    /// The origins whose pages may call the API.
    pub fn cors_origins(&self) -> Vec<String> {
        self.words("CORS_ORIGINS")
    }

    /// Open client connections.
    pub fn max_connections(&self) -> usize {
        self.number("MAX_CONNECTIONS").unwrap_or(10_000)
    }

    /// How often each tenant's books are proven.
    pub fn ledger_proof_every(&self) -> Duration {
        let seconds = self.number("LEDGER_PROOF_EVERY_S");
        seconds.map_or(crate::serve::proofs::EVERY_DEFAULT, Duration::from_secs)
    }

    /// How to reach the database as the app.
    pub fn database(&self) -> Result<DatabaseConfig, Faults> {
        self.database_as(&["DATABASE_URL"])
    }

    /// How to reach the database to migrate it.
    pub fn owner_database(&self) -> Result<DatabaseConfig, Faults> {
        self.database_as(&["DATABASE_OWNER_URL", "DATABASE_URL"])
    }

    /// How to reach the database as the sealer.
    pub fn sealer_database(&self) -> Result<DatabaseConfig, Faults> {
        let mut config = self.database_as(&["DATABASE_SEALER_URL", "DATABASE_URL"])?;
        (config.max_connections, config.idle_connections) = (2, 1);
        Ok(config)
    }

    /// How to reach the database to verify it.
    pub fn auditor_database(&self) -> Result<DatabaseConfig, Faults> {
        let mut config = self.database_as(&["DATABASE_AUDITOR_URL", "DATABASE_URL"])?;
        (config.max_connections, config.idle_connections) = (4, 1);
        Ok(config)
    }

    /// Where nodes share state; none where each is alone.
    pub fn shared_store(&self) -> Result<Option<StoreAddress>, Faults> {
        safety::store(&self.values).transpose().map_err(Faults::one)
    }

    /// How long a decision waits for the shared store.
    pub fn shared_store_patience(&self) -> Duration {
        Duration::from_millis(self.number("REDIS_TIMEOUT_MS").unwrap_or(100))
    }

    /// The two roots.
    pub fn root_keys(&self) -> Result<RootKeys, Faults> {
        let key = |name: &'static str| {
            self.values
                .get(name)
                .map(|found| {
                    RootKey::parse(&found.text)
                        .map_err(|error| Faults::one(Fault::new(name, error.to_string())))
                })
                .transpose()
        };
        let encryption =
            key("ENCRYPTION_KEY")?.ok_or_else(|| Faults(safety::missing(&self.values)))?;
        Ok(RootKeys::new(encryption, key("FIELD_ENCRYPTION_KEY")?))
    }

    /// What messages are sent with: nothing over a channel whose server is not named.
    pub fn transports(&self) -> Result<Transports, Faults> {
        let email = self.smtp()?.map(|config| {
            let made = Smtp::new(config);
            made.map_err(|error| {
                Faults::one(Fault::new("SMTP_URL", format!("is of no use: {error}")))
            })
        });
        let sms = self.gateway().map(|config| {
            let made = Gateway::new(config);
            made.map_err(|error| {
                Faults::one(Fault::new("SMS_BASE_URL", format!("is of no use: {error}")))
            })
        });
        Ok(Transports {
            email: email.transpose()?.map(|smtp| Arc::new(smtp) as Arc<dyn Transport>),
            sms: sms.transpose()?.map(|gateway| Arc::new(gateway) as Arc<dyn Transport>),
        })
    }

    /// What witnesses are asked through, wherever the operator says that they are.
    pub fn witness_client(&self) -> Client {
        Client::new(Guard::Any, None).unwrap_or_else(|error| {
            tracing::warn!(%error, "witnesses are not reached over TLS");
            Client::plain(Guard::Any)
        })
    }

    /// What tenants' other systems are told through: in development anywhere, for receivers on
    /// the same machine; else the public internet, over TLS.
    pub fn webhook_client(&self) -> Client {
        let guard = match self.deployment() {
            Deployment::Development => Guard::Any,
            Deployment::Staging | Deployment::Production => Guard::PublicOnly,
        };
        Client::new(guard, None).unwrap_or_else(|error| {
            tracing::warn!(%error, "webhooks reach nobody over TLS");
            Client::plain(guard)
        })
    }

    fn smtp(&self) -> Result<Option<SmtpConfig>, Faults> {
        let Some(found) = self.values.get("SMTP_URL") else { return Ok(None) };
        let complain = |setting, message| Faults::one(Fault::new(setting, message));
        let server = smtp::parse(&found.text)
            .ok_or_else(|| complain("SMTP_URL", "is no mail server's address"))?;
        let from = self.values.get("SMTP_FROM");
        let from = from.ok_or_else(|| complain("SMTP_FROM", safety::SMTP_FROM_MISSING))?;
        Ok(Some(SmtpConfig {
            host: server.host,
            port: server.port,
            security: server.security,
            credentials: server.credentials,
            from: from.text.to_string(),
            roots: self.path("SMTP_CA_FILE"),
        }))
    }

    fn gateway(&self) -> Option<GatewayConfig> {
        let text = |name| self.values.get(name).map(|found| found.text.clone());
        Some(GatewayConfig {
            base_url: self.text("SMS_BASE_URL").to_owned(),
            account_sid: text("SMS_ACCOUNT_SID")?.to_string(),
            auth_token: text("SMS_AUTH_TOKEN")?,
            from: text("SMS_FROM")?.to_string(),
            roots: self.path("SMS_CA_FILE"),
        })
    }

    fn path(&self, name: &str) -> Option<PathBuf> {
        self.values.get(name).map(|found| PathBuf::from(found.text.as_str()))
    }

    /// `ENCRYPTION_KEY` and `FIELD_ENCRYPTION_KEY` as they were written.
    pub fn root_key_texts(&self) -> (Option<Zeroizing<String>>, Option<Zeroizing<String>>) {
        let text = |name: &str| self.values.get(name).map(|found| found.text.clone());
        (text("ENCRYPTION_KEY"), text("FIELD_ENCRYPTION_KEY"))
    }

    /// `JWT_SECRET_KEY`.
    pub fn token_secret(&self) -> Option<SecretBytes> {
        self.values
            .get("JWT_SECRET_KEY")
            .map(|found| SecretBytes::from_slice(found.text.as_bytes()))
    }

    /// What the environment puts in the place of a blueprint's values.
    pub fn policy_overrides(&self) -> PolicyOverrides {
        let seconds = |name, unit_s: i64| self.number(name).map(|number: i64| number * unit_s);
        PolicyOverrides {
            algorithm: self.values.get("JWT_ALGORITHM").and_then(|found| algorithm(&found.text)),
            access_lifetime_s: seconds("JWT_ACCESS_TOKEN_EXPIRE_MINUTES", 60),
            refresh_lifetime_s: seconds("JWT_REFRESH_TOKEN_EXPIRE_DAYS", 86_400),
            totp_issuer: self.values.get("MFA_ISSUER").map(|found| found.text.to_string()),
            totp_interval_s: self.number("MFA_TOTP_INTERVAL"),
            default_per_minute: self.number("API_RATE_LIMIT_PER_MINUTE"),
            overall_per_hour: self.number("API_RATE_LIMIT_PER_HOUR"),
            transfer_ceiling_minor: None,
            no_transfer_step_up: false,
        }
    }

    /// The value of a setting by name; empty where it is not set.
    fn text(&self, name: &str) -> &str {
        self.values.get(name).map_or("", |found| found.text.as_str())
    }

    fn words(&self, name: &str) -> Vec<String> {
        value::list(self.text(name)).into_iter().map(str::to_owned).collect()
    }

    fn number<T: std::str::FromStr>(&self, name: &str) -> Option<T> {
        self.text(name).parse().ok()
    }

    fn address(&self, name: &'static str) -> Result<SocketAddr, Faults> {
        self.text(name).parse().map_err(|_| Faults::one(Fault::new(name, "must be: address:port")))
    }

    fn database_as(&self, names: &[&'static str]) -> Result<DatabaseConfig, Faults> {
        let found = names.iter().find_map(|name| self.values.get(name));
        let missing = || Faults::one(Fault::new(names[names.len() - 1], "is not set"));
        let mut config = DatabaseConfig::new(found.ok_or_else(missing)?.text.as_str());
        let pool: usize = self.number("DATABASE_POOL_SIZE").unwrap_or(20);
        config.max_connections = pool + self.number::<usize>("DATABASE_MAX_OVERFLOW").unwrap_or(10);
        config.idle_connections = config.idle_connections.min(pool);
        config.statement_timeout_ms =
            self.number("DATABASE_STATEMENT_TIMEOUT_MS").unwrap_or(30_000);
        Ok(config)
    }
}

fn algorithm(text: &str) -> Option<JwtAlgorithm> {
    let all = [
        ("HS256", JwtAlgorithm::HS256),
        ("RS256", JwtAlgorithm::RS256),
        ("ES256", JwtAlgorithm::ES256),
        ("EdDSA", JwtAlgorithm::EdDSA),
    ];
    all.into_iter()
        .find(|(name, _)| name.eq_ignore_ascii_case(text))
        .map(|(_, algorithm)| algorithm)
}

/// Whether output may be coloured (<https://no-color.org>).
pub fn wants_colours() -> bool {
    !std::env::vars_os().any(|(name, value)| name == "NO_COLOR" && !value.is_empty())
}

/// Secrets as their kind and length at most; of a database where it is.
fn show(setting: &Setting, text: &Zeroizing<String>) -> String {
    if !setting.secret {
        return text.to_string();
    }
    if setting.kind == value::Kind::SmtpUrl {
        return smtp::shown(text);
    }
    if setting.kind == value::Kind::DatabaseUrl
        && let Some(config) = value::database(text)
    {
        let host = match config.get_hosts().first() {
            Some(tokio_postgres::config::Host::Tcp(host)) => host.clone(),
            Some(tokio_postgres::config::Host::Unix(path)) => path.display().to_string(),
            None => String::new(),
        };
        let port = config.get_ports().first().copied().unwrap_or(5432);
        let user = config.get_user().unwrap_or("?");
        return format!("{user}:[redacted]@{host}:{port}/{}", config.get_dbname().unwrap_or(user));
    }
    if setting.kind == value::Kind::RedisUrl
        && let Ok(address) = StoreAddress::parse(text, None)
    {
        return address.to_string();
    }
    "[redacted]".to_owned()
}
