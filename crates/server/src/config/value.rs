//! Owns what a setting's text may be: the kinds of values, their parsing, and
//! the words that tell an operator what was wrong. No secret is ever repeated.

use std::net::SocketAddr;

use audit::witness::Witness;
use hotstate::shared::StoreAddress;
use tenancy::tls::{self, OptionsError, TlsMode, TlsOptions};
use tokio_postgres::config::Host;
use tracing_subscriber::EnvFilter;
use vault::RootKey;

/// What the text of a setting must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Anything but nothing.
    Text,
    /// A whole number within bounds.
    Integer {
        /// The least accepted.
        least: u64,
        /// The greatest accepted.
        most: u64,
    },
    /// `true`/`false`, `1`/`0`, `yes`/`no`, `on`/`off`, in any case.
    Flag,
    /// One of these, in any case.
    Choice(&'static [&'static str]),
    /// Comma-separated words.
    List,
    /// Comma-separated addresses and networks.
    Networks,
    /// The name of a header.
    Header,
    /// `address:port`.
    Address,
    /// `http(s)://host[:port]`, nothing behind it.
    Origin,
    /// Comma-separated origins.
    Origins,
    /// A level or a filter of the log.
    LogLevel,
    /// A PostgreSQL connection string.
    DatabaseUrl,
    /// The address of a Redis.
    RedisUrl,
    /// 32 bytes in hexadecimal or base64.
    Key,
    /// Any text of at least 32 bytes.
    SharedSecret,
    /// A mail server, as `config::smtp` reads it.
    SmtpUrl,
    /// An e-mail address.
    MailAddress,
    /// `http(s)://host[:port]`, perhaps with a path.
    HttpUrl,
    /// Letters and digits.
    Identifier,
    /// The path of a file.
    File,
    /// Where the newest checkpoint is kept, as `audit::anchor` reads it.
    Anchor,
    /// Where shares of keys are kept, as `tenancy::keyring` reads it.
    Shares,
    /// Witnesses, as `audit::witness` reads them.
    Witnesses,
}

impl Kind {
    /// What the documentation says it must be.
    pub fn describe(self) -> String {
        match self {
            Self::Text => "text".to_owned(),
            Self::Integer { least, most } => format!("whole number, {least} to {most}"),
            Self::Flag => "true or false".to_owned(),
            Self::Choice(choices) => choices.join(", "),
            Self::List => "list".to_owned(),
            Self::Networks => "list of addresses or networks".to_owned(),
            Self::Header => "name of a header".to_owned(),
            Self::Address => "address:port".to_owned(),
            Self::Origin => "origin, as `https://bank.example`".to_owned(),
            Self::Origins => "list of origins".to_owned(),
            Self::LogLevel => "level or filter".to_owned(),
            Self::DatabaseUrl => "PostgreSQL URL".to_owned(),
            Self::RedisUrl => "rediss://, redis:// or unix:// URL".to_owned(),
            Self::Key => "32 bytes, hexadecimal or base64".to_owned(),
            Self::SharedSecret => "32 bytes or more".to_owned(),
            Self::SmtpUrl => {
                "`smtps://user:password@host:465` or `smtp://user:password@host:587`".to_owned()
            }
            Self::MailAddress => "e-mail address".to_owned(),
            Self::HttpUrl => "address, as `https://gateway.example`".to_owned(),
            Self::Identifier => "letters and digits".to_owned(),
            Self::File => "path of a file, not what stands in it".to_owned(),
            Self::Shares => "absolute path, as `file:/var/lib/strongroom/shares`".to_owned(),
            Self::Witnesses => {
                "list of `https://witness.example+name+hash+key`, each with the verifier key that \
                 `strongroom witness new-key` prints"
                    .to_owned()
            }
            Self::Anchor => "absolute path, as `file:/var/lib/strongroom/anchor`, or `witness:` and the name of one of \
                 `AUDIT_WITNESSES`"
                    .to_owned(),
        }
    }

    /// Checks a text; the error completes "`NAME` must be …" and never shows a secret.
    pub fn check(self, text: &str) -> Result<(), String> {
        let fits = match self {
            Self::Text => !text.is_empty(),
            Self::Integer { least, most } => {
                text.parse::<u64>().is_ok_and(|number| (least..=most).contains(&number))
            }
            Self::Flag => flag(text).is_some(),
            Self::Choice(choices) => choices.iter().any(|choice| choice.eq_ignore_ascii_case(text)),
            Self::List => !list(text).is_empty(),
            Self::Networks => {
                list(text).iter().all(|network| network.parse::<api::Network>().is_ok())
            }
            Self::Header => {
                !text.is_empty()
                    && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
            }
            Self::Address => text.parse::<SocketAddr>().is_ok(),
            Self::Origin => is_origin(text),
            Self::Origins => list(text).iter().all(|origin| is_origin(origin)),
            Self::LogLevel => log_filter(text).is_some(),
            Self::DatabaseUrl => return parsed_database(text).map(drop).map_err(said),
            Self::RedisUrl => StoreAddress::parse(text, None).is_ok(),
            Self::Key => RootKey::parse(text).is_ok(),
            Self::SharedSecret => text.len() >= 32,
            Self::SmtpUrl => super::smtp::parse(text).is_some(),
            Self::MailAddress => is_mail_address(text),
            Self::HttpUrl => {
                // No query, no credentials: a path of ours is put behind it.
                is_origin(&origin_of(text)) && !text.contains(['?', '#', '@', ' '])
            }
            Self::Identifier => {
                !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric())
            }
            Self::Shares => tenancy::keyring::KeyShares::parse(text).is_some(),
            Self::Witnesses => {
                return Witness::parse_all(list(text)).map(drop).map_err(|error| error.to_string());
            }
            Self::Anchor => {
                let witness = text.strip_prefix(super::WITNESS_ANCHOR);
                witness.is_some_and(|name| !name.is_empty())
                    || audit::anchor::Anchor::parse(text).is_some()
            }
            Self::File => {
                !text.is_empty() && !text.contains("-----BEGIN") && !text.contains(['\n', '\0'])
            }
        };
        if fits { Ok(()) } else { Err(format!("must be: {}", self.describe())) }
    }
}

fn said(error: OptionsError) -> String {
    match error {
        OptionsError::Malformed => format!("must be: {}", Kind::DatabaseUrl.describe()),
        other => other.to_string(),
    }
}

/// The words of a comma-separated list.
pub fn list(text: &str) -> Vec<&str> {
    text.split(',').map(str::trim).filter(|word| !word.is_empty()).collect()
}

/// A truth value.
pub fn flag(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "1" | "yes" | "on" => Some(true),
        "false" | "0" | "no" | "off" => Some(false),
        _ => None,
    }
}

/// The log's filter; Python's names of levels (seed 000: `INFO`) are accepted.
pub fn log_filter(text: &str) -> Option<EnvFilter> {
    let lower = text.to_ascii_lowercase();
    let text = match lower.as_str() {
        "warning" => "warn",
        "critical" | "fatal" => "error",
        other => other,
    };
    EnvFilter::builder().parse(text).ok().filter(|_| !text.is_empty())
}

/// A PostgreSQL URL without the driver suffix of `SQLAlchemy`.
pub fn plain_database_url(text: &str) -> String {
    text.replacen("postgresql+asyncpg://", "postgresql://", 1)
}

/// A parsed PostgreSQL connection string.
pub fn database(text: &str) -> Option<tokio_postgres::Config> {
    parsed_database(text).ok().map(|(config, _)| config)
}

fn parsed_database(text: &str) -> Result<(tokio_postgres::Config, TlsOptions), OptionsError> {
    let parsed = tls::parse(&plain_database_url(text))?;
    if parsed.0.get_hosts().is_empty() { Err(OptionsError::Malformed) } else { Ok(parsed) }
}

/// Whether nobody on the way reads what goes over a connection, or answers in the place of
/// the server: every host is a Unix socket, or its certificate is verified with its name.
pub fn is_private_database(text: &str) -> bool {
    let Ok((config, tls)) = parsed_database(text) else { return false };
    // `hostaddr` would be dialled in the place of the host.
    let never_leaves = config.get_hostaddrs().is_empty()
        && config.get_hosts().iter().all(|host| matches!(host, Host::Unix(_)));
    never_leaves || tls.mode == TlsMode::VerifyFull
}

fn is_mail_address(text: &str) -> bool {
    let is_plain =
        text.bytes().all(|byte| byte.is_ascii_graphic() && !b"<>,;:\"()[]\\".contains(&byte));
    is_plain
        && text.split_once('@').is_some_and(|(local, domain)| {
            let is_host = domain.contains('.') || domain == "localhost";
            !local.is_empty() && is_host && !domain.contains('@')
        })
}

/// An address without its path.
fn origin_of(text: &str) -> String {
    let Some((scheme, rest)) = text.split_once("://") else { return String::new() };
    let host = rest.split_once('/').map_or(rest, |(host, _)| host);
    format!("{scheme}://{host}")
}

fn is_origin(text: &str) -> bool {
    let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    rest.is_some_and(|host| {
        !host.is_empty()
            && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-:[]".contains(&byte))
    })
}
