//! The one table of settings: loading, `config check`, the faults and
//! `docs/configuration.md` all follow from it, so that none can be forgotten.
//!
//! A setting stands here only once something reads it.

use super::value::Kind;

/// One setting.
#[derive(Debug)]
pub struct Setting {
    /// Its name in the environment and in `.env`; in TOML the same in lower case.
    pub name: &'static str,
    /// Other names it answers to.
    pub aliases: &'static [&'static str],
    /// What its text must be.
    pub kind: Kind,
    /// The value where nothing sets it.
    pub default: Option<&'static str>,
    /// Whether it is never shown, and may come from a file (`NAME_FILE`).
    pub secret: bool,
    /// What it does, for the operator: one or two sentences.
    pub documentation: &'static str,
}

/// A heading of the documentation with its settings.
#[derive(Debug)]
pub struct Group {
    /// The heading.
    pub title: &'static str,
    /// Its settings, in the order of the documentation.
    pub settings: &'static [Setting],
}

const fn plain(
    name: &'static str,
    kind: Kind,
    default: &'static str,
    documentation: &'static str,
) -> Setting {
    Setting { name, aliases: &[], kind, default: Some(default), secret: false, documentation }
}

const fn unset(name: &'static str, kind: Kind, documentation: &'static str) -> Setting {
    Setting { name, aliases: &[], kind, default: None, secret: false, documentation }
}

const fn secret(name: &'static str, kind: Kind, documentation: &'static str) -> Setting {
    Setting { name, aliases: &[], kind, default: None, secret: true, documentation }
}

const fn also(mut setting: Setting, aliases: &'static [&'static str]) -> Setting {
    setting.aliases = aliases;
    setting
}

/// Every setting.
pub const GROUPS: &[Group] = &[
    Group { title: "Deployment", settings: DEPLOYMENT },
    Group { title: "Listening", settings: LISTENING },
    Group { title: "Database", settings: DATABASE },
    Group { title: "Several nodes", settings: SHARED },
    Group { title: "Keys", settings: KEYS },
    Group { title: "Workers", settings: WORKERS },
    Group { title: "Messages to people", settings: MESSAGES },
    Group { title: "Policy of new tenants", settings: POLICY },
];

/// Every setting, in the order of the documentation.
pub fn all() -> impl Iterator<Item = &'static Setting> {
    GROUPS.iter().flat_map(|group| group.settings)
}

/// The setting of that name, aliases included.
pub fn find(name: &str) -> Option<&'static Setting> {
    all().find(|setting| setting.name == name || setting.aliases.contains(&name))
}

const DEPLOYMENT: &[Setting] = &[
    also(
        plain(
            "ENV",
            Kind::Choice(&["development", "staging", "production"]),
            "development",
            "What this installation is. `staging` and `production` refuse to start with unsafe settings and name all \
             of them at once; `.env` is read in `development` only.",
        ),
        &["ENVIRONMENT"],
    ),
    plain(
        "DEBUG",
        Kind::Flag,
        "false",
        "Development only: logs how long each SQL statement took, by its name, and what failures of the database came \
         from; commands log at level `debug` where `LOG_LEVEL` is not set. Secrets, the text of SQL and its parameters \
         are never logged.",
    ),
    plain(
        "LOG_LEVEL",
        Kind::LogLevel,
        "info",
        "`error`, `warn`, `info`, `debug` or `trace`, in either case, with `critical` and `warning` as in Python; or a \
         filter as of the Rust crate `tracing-subscriber` (`info,audit=debug`).",
    ),
    plain(
        "LOG_FORMAT",
        Kind::Choice(&["json", "text"]),
        "json",
        "One JSON object a line, or text for people.",
    ),
];

const LISTENING: &[Setting] = &[
    plain("LISTEN_ADDRESS", Kind::Address, "127.0.0.1:8080", "Where the API listens."),
    plain(
        "METRICS_ADDRESS",
        Kind::Address,
        "127.0.0.1:9464",
        "Where `/metrics`, `/livez` and `/readyz` are answered for the operator; keep it off the public network.",
    ),
    plain(
        "PUBLIC_URL",
        Kind::Origin,
        "http://localhost:8080",
        "The origin that people and clients see. Token issuers are `{PUBLIC_URL}/t/{tenant}`.",
    ),
    unset(
        "SSL_CERT_PATH",
        Kind::File,
        "A PEM file with the certificate that `LISTEN_ADDRESS` speaks TLS under, and those between it and a root. \
         With `SSL_KEY_PATH`; both are read again when they change and on SIGHUP, without a restart. `dev` speaks plain \
         HTTP on the loopback whatever stands here.",
    ),
    unset("SSL_KEY_PATH", Kind::File, "A PEM file with the private key of that certificate."),
    plain(
        "TLS_MINIMUM",
        Kind::Choice(&["1.3", "1.2"]),
        "1.3",
        "The oldest version of TLS that clients may speak to our own listener.",
    ),
    plain(
        "TLS_CLIENT_CERTIFICATES",
        Kind::Choice(&["off", "optional"]),
        "off",
        "Whether our own listener asks clients for a certificate. Nobody has to have one, and it opens nothing by \
         itself: an API key that is bound to one by its thumbprint (RFC 8705) is good with that one alone. Browsers \
         may ask people which certificate to show.",
    ),
    unset(
        "HTTP_REDIRECT_ADDRESS",
        Kind::Address,
        "Where requests in the clear are sent to `PUBLIC_URL` (308); anything but GET and HEAD is refused there. \
         Nowhere by default.",
    ),
    unset(
        "TRUSTED_PROXIES",
        Kind::Networks,
        "Addresses or networks (`10.0.0.0/8`), comma-separated, whose `X-Forwarded-For` and `X-Forwarded-Proto` are \
         believed. Nobody's are by default.",
    ),
    unset(
        "LOCATION_HEADER",
        Kind::Header,
        "A header in which the trusted proxies say where on earth a client is, as `latitude,longitude` in degrees: \
         a sign-in from where nobody can have travelled to owes a second factor. Without it places are not compared.",
    ),
    unset(
        "ALLOWED_HOSTS",
        Kind::List,
        "Host names, comma-separated, that requests may be addressed to; all where unset.",
    ),
    also(
        unset(
            "CORS_ORIGINS",
            Kind::Origins,
            "Exact origins, comma-separated, whose pages may call the API with credentials. None by default.",
        ),
        &["ALLOWED_ORIGINS"],
    ),
    plain(
        "MAX_CONNECTIONS",
        Kind::Integer { least: 16, most: 1_000_000 },
        "10000",
        "Open client connections; further ones wait to be accepted.",
    ),
];

const DATABASE: &[Setting] = &[
    secret(
        "DATABASE_URL",
        Kind::DatabaseUrl,
        "PostgreSQL 15 or newer, as a login that may act as `strongroom_app`. `postgresql+asyncpg://` is accepted. \
         Over TCP `sslmode` is `disable` (the default), `require`, `verify-ca` or `verify-full`, with `sslrootcert` \
         (the system's roots where unset), `sslcert` and `sslkey` as in libpq; the files are read for each connection. \
         May be given in parts instead: `DB_USER`, `DB_PASSWORD`, `DB_HOST`, `DB_PORT`, `DB_NAME`.",
    ),
    unset("DB_USER", Kind::Text, "A part of `DATABASE_URL`: the login."),
    secret("DB_PASSWORD", Kind::Text, "A part of `DATABASE_URL`: the password."),
    unset(
        "DB_HOST",
        Kind::Text,
        "A part of `DATABASE_URL`: host name, or the folder of a Unix socket (`localhost`).",
    ),
    unset(
        "DB_PORT",
        Kind::Integer { least: 1, most: 65_535 },
        "A part of `DATABASE_URL`: the port (`5432`).",
    ),
    unset("DB_NAME", Kind::Text, "A part of `DATABASE_URL`: the database (`strongroom`)."),
    secret(
        "DATABASE_OWNER_URL",
        Kind::DatabaseUrl,
        "The login of migrations, which may act as `strongroom_owner`. `DATABASE_URL` where unset.",
    ),
    secret(
        "DATABASE_SEALER_URL",
        Kind::DatabaseUrl,
        "The login of the audit sealer (`strongroom_sealer`). `DATABASE_URL` where unset, if that login is a member \
         of the role.",
    ),
    secret(
        "DATABASE_AUDITOR_URL",
        Kind::DatabaseUrl,
        "The read-only login of `audit verify` and `ledger verify` (`strongroom_auditor`). `DATABASE_URL` where unset.",
    ),
    unset(
        "AUDIT_ANCHOR",
        Kind::Anchor,
        "A file that keeps the newest checkpoint of the audit log, outside the database and best on another machine's \
         disk: where a database is restored behind it, nothing is sealed and signed any more until somebody accepts \
         that (`strongroom audit anchor`). Several nodes share one. Or one of `AUDIT_WITNESSES`, which is asked at the \
         start and after every failure of the database; nothing that it cosigned is ever taken back. Without an anchor an \
         older copy is gone on from unnoticed.",
    ),
    unset(
        "AUDIT_WITNESSES",
        Kind::Witnesses,
        "Who is asked to cosign the checkpoints over all audit logs (C2SP tlog-witness), best machines of somebody else's: \
         address, `+`, and the witness' verifier key, separated by commas. A witness is given the key that `strongroom \
         audit status` prints. None of them ever delays sealing.",
    ),
    plain(
        "DATABASE_POOL_SIZE",
        Kind::Integer { least: 1, most: 1_000 },
        "20",
        "Connections opened on demand; five are kept when idle.",
    ),
    plain(
        "DATABASE_MAX_OVERFLOW",
        Kind::Integer { least: 0, most: 1_000 },
        "10",
        "Connections beyond `DATABASE_POOL_SIZE` under load.",
    ),
    plain(
        "DATABASE_STATEMENT_TIMEOUT_MS",
        Kind::Integer { least: 100, most: 600_000 },
        "30000",
        "Statements that take longer are cancelled, in milliseconds.",
    ),
];

const SHARED: &[Setting] = &[
    secret(
        "REDIS_URL",
        Kind::RedisUrl,
        "The Redis 6.2 or newer, or Valkey, in which all nodes of the installation share rate limits and blocks of \
         addresses: `rediss://[user[:password]@]host[:port][/database]` (TLS; certificates are checked against the \
         system's, or the file that `SSL_CERT_FILE` names), `redis://…` (in the clear: development only) or \
         `unix:///path?db=0`. Where unset, each node counts by itself; so it does, and raises an alarm, while the \
         store cannot be reached. Keys are MACs, none outlives an hour or a block; give the store a `maxmemory` and a \
         policy that evicts (`volatile-ttl`). One server and its replicas; not a cluster.",
    ),
    secret(
        "REDIS_PASSWORD",
        Kind::Text,
        "The password of `REDIS_URL`, where it does not stand there.",
    ),
    plain(
        "REDIS_TIMEOUT_MS",
        Kind::Integer { least: 5, most: 5_000 },
        "100",
        "How long a decision waits for the shared store. The first one that waits in vain gives it up for all, until it \
         answers again.",
    ),
];

const KEYS: &[Setting] = &[
    secret(
        "ENCRYPTION_KEY",
        Kind::Key,
        "The root: wraps every tenant's keys. 32 random bytes in hexadecimal or base64, for example from \
         `openssl rand -base64 32`. Lost, everything sealed is lost.",
    ),
    secret(
        "FIELD_ENCRYPTION_KEY",
        Kind::Key,
        "Roots the keys of sealed fields and blind indexes. Derived from `ENCRYPTION_KEY` where unset; never set or \
         change it later.",
    ),
    unset(
        "KEY_SHARES",
        Kind::Shares,
        "A file, outside the database and its backups, with one half of what wraps each tenant's field KEK; the other is \
         `FIELD_ENCRYPTION_KEY`. With it an erasure outlives backups: when a KEK was rotated and its predecessor destroyed \
         (`strongroom keys`), its half is gone, and older copies of the database open nothing. All nodes have the same \
         file; lost, everything sealed is lost, so keep a second copy that is overwritten and never archived. KEKs made \
         before it was set follow at their next rotation.",
    ),
    also(
        secret(
            "JWT_SECRET_KEY",
            Kind::SharedSecret,
            "At least 256 bits. Input to the derivation of each tenant's HS256 keys; never signs itself. Random keys \
             where unset.",
        ),
        &["JWT_SECRET"],
    ),
];

const WORKERS: &[Setting] = &[plain(
    "LEDGER_PROOF_EVERY_S",
    Kind::Integer { least: 60, most: 604_800 },
    "3600",
    "How often each tenant's books are proven (`ledger verify`, by one of the nodes), in seconds. What is found wrong is \
     logged, recorded as a critical audit record and shown in `strongroom_ledger_proof_ok`; alarms are in `ops/alerts`.",
)];

const MESSAGES: &[Setting] = &[
    secret(
        "SMTP_URL",
        Kind::SmtpUrl,
        "The server that e-mail leaves through. `smtps://` is TLS from the first byte, `smtp://` is STARTTLS, without \
         which nothing is sent; the certificate is verified. User name and password are percent-encoded. \
         `smtp://localhost:1025?tls=none` is for a mail catcher, in development only. Where unset no e-mail is sent; \
         `strongroom dev` writes it into `notices` below its folder instead.",
    ),
    unset(
        "SMTP_FROM",
        Kind::MailAddress,
        "The address that e-mail comes from; the name beside it is the tenant's.",
    ),
    unset(
        "SMTP_CA_FILE",
        Kind::Text,
        "A PEM file with the certificates that the mail server is verified by. The system's where unset.",
    ),
    plain(
        "SMS_BASE_URL",
        Kind::HttpUrl,
        "https://api.twilio.com",
        "The gateway that SMS leave through, as Twilio's: `POST {SMS_BASE_URL}/2010-04-01/Accounts/{sid}/Messages.json`.",
    ),
    unset(
        "SMS_ACCOUNT_SID",
        Kind::Identifier,
        "The account at the gateway. Where unset no SMS are sent; `strongroom dev` writes them into `notices` below its \
         folder instead.",
    ),
    secret("SMS_AUTH_TOKEN", Kind::Text, "The password of that account."),
    unset("SMS_FROM", Kind::Text, "The number, in E.164, or the name that SMS come from."),
    unset(
        "SMS_CA_FILE",
        Kind::Text,
        "A PEM file with the certificates that the gateway is verified by. The system's where unset.",
    ),
];

const POLICY: &[Setting] = &[
    unset(
        "JWT_ALGORITHM",
        Kind::Choice(&["HS256", "RS256", "ES256", "EdDSA"]),
        "Replaces the blueprint's algorithm when a tenant is created. From then on the tenant's stored policy wins; \
         so with all of these.",
    ),
    also(
        unset(
            "JWT_ACCESS_TOKEN_EXPIRE_MINUTES",
            Kind::Integer { least: 1, most: 1_440 },
            "Lifetime of access tokens, in minutes.",
        ),
        &["ACCESS_TOKEN_EXPIRE_MINUTES"],
    ),
    unset(
        "JWT_REFRESH_TOKEN_EXPIRE_DAYS",
        Kind::Integer { least: 1, most: 90 },
        "Lifetime of a refresh family, in days.",
    ),
    unset("MFA_ISSUER", Kind::Text, "The name that authenticator apps show."),
    unset(
        "MFA_TOTP_INTERVAL",
        Kind::Integer { least: 15, most: 120 },
        "Length of a TOTP step, in seconds.",
    ),
    unset(
        "API_RATE_LIMIT_PER_MINUTE",
        Kind::Integer { least: 1, most: 10_000_000 },
        "Requests a minute of a class without a limit of its own.",
    ),
    unset(
        "API_RATE_LIMIT_PER_HOUR",
        Kind::Integer { least: 1, most: 100_000_000 },
        "Requests an hour, all classes together.",
    ),
];
