//! Owns what staging and production refuse: weak or missing keys, plain HTTP in
//! the open, a database in the clear, debugging, default passwords. All faults are
//! found together; nobody restarts a server five times to learn of five.

use audit::witness::Witness;
use hotstate::shared::{AddressError, StoreAddress};

use super::source::Values;
use super::{Deployment, Fault, value};
use crate::serve::tls::Pair;

/// Keys an installation cannot do without.
const REQUIRED: [(&str, &str); 2] = [
    ("DATABASE_URL", "is not set: there is nothing to serve from"),
    (
        "ENCRYPTION_KEY",
        "is not set: nothing could be sealed; make one with `openssl rand -base64 32` and keep it safe",
    ),
];
const KEYS: [&str; 3] = ["ENCRYPTION_KEY", "FIELD_ENCRYPTION_KEY", "JWT_SECRET_KEY"];
const DATABASE_URLS: [&str; 4] =
    ["DATABASE_URL", "DATABASE_OWNER_URL", "DATABASE_SEALER_URL", "DATABASE_AUDITOR_URL"];

/// Words that stand in keys and passwords of examples.
const PATTERNS: [&str; 12] = [
    "changeme",
    "change-me",
    "change_me",
    "secret",
    "password",
    "example",
    "default",
    "random-256",
    "your-",
    "12345678",
    "abcdefgh",
    "qwerty",
];
/// Passwords of images, tutorials and the seeds.
const DEFAULT_PASSWORDS: [&str; 14] = [
    "postgres",
    "postgresql",
    "password",
    "pass",
    "admin",
    "root",
    "dev",
    "test",
    "secret",
    "changeme",
    "change-me",
    "strongroom",
    "user",
    "***",
];
/// A random key of 32 bytes has some 30 distinct ones.
const DISTINCT_BYTES_MIN: usize = 16;

/// What is missing for serving at all.
pub(super) fn missing(values: &Values) -> Vec<Fault> {
    REQUIRED
        .iter()
        .filter(|(name, _)| !values.contains_key(name))
        .map(|(name, message)| Fault::new(*name, *message))
        .chain(half_named(values))
        .collect()
}

pub(super) const SMTP_FROM_MISSING: &str =
    "is not set, and SMTP_URL is: mail has to come from somewhere";

/// A server that is named without what it takes to use it, or the other way round: better
/// said at the start than found in the queue.
fn half_named(values: &Values) -> Vec<Fault> {
    let is_set = |name: &str| values.contains_key(name);
    let mut faults = Vec::new();
    if is_set("SMTP_URL") && !is_set("SMTP_FROM") {
        faults.push(Fault::new("SMTP_FROM", SMTP_FROM_MISSING));
    }
    if is_set("SMTP_FROM") && !is_set("SMTP_URL") {
        faults.push(Fault::new("SMTP_URL", "is not set, and SMTP_FROM is: no mail would leave"));
    }
    let gateway = ["SMS_ACCOUNT_SID", "SMS_AUTH_TOKEN", "SMS_FROM"];
    if gateway.iter().any(|name| is_set(name)) {
        let missing = gateway.iter().filter(|name| !is_set(name));
        faults.extend(missing.map(|name| {
            Fault::new(*name, "is not set, and other settings of the SMS gateway are")
        }));
    }
    let pair = ["SSL_CERT_PATH", "SSL_KEY_PATH"];
    if pair.iter().any(|name| is_set(name)) {
        let missing = pair.iter().filter(|name| !is_set(name));
        faults
            .extend(missing.map(|name| {
                Fault::new(*name, "is not set: a certificate and its key go together")
            }));
    }
    if let Some(Err(error)) = pair_of(values).map(|pair| pair.load()) {
        faults.push(Fault::new(error.setting(), error.to_string()));
    }
    faults
}

/// Codes and links must not travel in the clear.
fn plain_notices(values: &Values) -> Vec<Fault> {
    let mut faults = Vec::new();
    let smtp = text(values, "SMTP_URL").and_then(super::smtp::parse);
    if smtp.is_some_and(|server| server.security == notify::SmtpSecurity::None) {
        faults.push(Fault::new(
            "SMTP_URL",
            "must use TLS: codes and links would travel in the clear",
        ));
    }
    if text(values, "SMS_BASE_URL").is_some_and(|url| !url.starts_with("https://")) {
        faults.push(Fault::new(
            "SMS_BASE_URL",
            "must begin with https://: codes would travel in the clear",
        ));
    }
    faults
}

/// An anchor that nobody asks would let every restored copy be sealed on.
pub(super) fn unknown_witness(values: &Values) -> Option<Fault> {
    let name = text(values, "AUDIT_ANCHOR")?.strip_prefix(super::WITNESS_ANCHOR)?;
    let listed = value::list(text(values, "AUDIT_WITNESSES").unwrap_or_default());
    let witnesses = Witness::parse_all(listed).ok()?;
    let is_asked = witnesses.iter().any(|witness| witness.name() == name);
    (!is_asked).then(|| Fault::new("AUDIT_ANCHOR", "must name one of AUDIT_WITNESSES"))
}

/// A stranger in between could keep cosignatures back and answer in a witness' name.
fn plain_witnesses(values: &Values) -> Option<Fault> {
    let listed = value::list(text(values, "AUDIT_WITNESSES")?);
    let witnesses = Witness::parse_all(listed).ok()?;
    let is_plain = witnesses.iter().any(|witness| !witness.is_https());
    is_plain.then(|| Fault::new("AUDIT_WITNESSES", "must all begin with https://"))
}

/// Everything that must not be served with outside development.
pub(super) fn faults(values: &Values, deployment: Deployment) -> Vec<Fault> {
    let mut faults = missing(values);
    faults.extend(weak_keys(values));
    faults.extend(plain_http(values));
    faults.extend(untrusted_certificate(values, deployment));
    faults.extend(plain_notices(values));
    faults.extend(plain_witnesses(values));
    faults.extend(DATABASE_URLS.iter().flat_map(|name| unsafe_database(name, values)));
    faults.extend(unsafe_store(values));
    if text(values, "DEBUG").and_then(value::flag) == Some(true) {
        faults.push(Fault::new("DEBUG", "is for development only"));
    }
    faults
}

fn text<'a>(values: &'a Values, name: &str) -> Option<&'a str> {
    values.get(name).map(|found| found.text.as_str())
}

fn weak_keys(values: &Values) -> Vec<Fault> {
    let mut faults = Vec::new();
    for (position, name) in KEYS.iter().enumerate() {
        let Some(key) = text(values, name) else { continue };
        if let Some(weakness) = weakness(key) {
            faults.push(Fault::new(*name, weakness));
        }
        if let Some(other) = KEYS[..position].iter().find(|other| text(values, other) == Some(key))
        {
            faults.push(Fault::new(
                *name,
                format!("is the same as {other}: every key has one purpose"),
            ));
        }
    }
    faults
}

/// Why a key is not to be trusted; none where nothing speaks against it.
pub(super) fn weakness(key: &str) -> Option<&'static str> {
    let lower = key.to_ascii_lowercase();
    if PATTERNS.iter().any(|pattern| lower.contains(pattern)) {
        return Some("holds a word of an example");
    }
    let bytes = decoded(key);
    if bytes.len() < 32 {
        return Some("has less than 256 bits");
    }
    let mut seen = [false; 256];
    for &byte in &bytes {
        seen[usize::from(byte)] = true;
    }
    let distinct = seen.iter().filter(|&&seen| seen).count();
    let repeats = (1..=bytes.len() / 2)
        .any(|period| bytes.iter().zip(&bytes[period..]).all(|(left, right)| left == right));
    let counts = bytes
        .windows(3)
        .all(|three| three[2].wrapping_sub(three[1]) == three[1].wrapping_sub(three[0]));
    (distinct < DISTINCT_BYTES_MIN || repeats || counts)
        .then_some("follows a pattern: make it with `openssl rand -base64 32`")
}

/// The bytes that hexadecimal or base64 stands for, else the text's own.
fn decoded(key: &str) -> Vec<u8> {
    use base64::Engine as _;
    use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD};
    let is_hexadecimal =
        key.len().is_multiple_of(2) && key.bytes().all(|byte| byte.is_ascii_hexdigit());
    if is_hexadecimal {
        let digit = |at: usize| u8::from_str_radix(&key[at..at + 2], 16).unwrap_or_default();
        return (0..key.len()).step_by(2).map(digit).collect();
    }
    [&STANDARD, &STANDARD_NO_PAD, &URL_SAFE, &URL_SAFE_NO_PAD]
        .into_iter()
        .find_map(|engine| engine.decode(key).ok())
        .unwrap_or_else(|| key.as_bytes().to_vec())
}

/// The certificate and key of our own listener.
pub(super) fn pair_of(values: &Values) -> Option<Pair> {
    Some(Pair {
        certificate: text(values, "SSL_CERT_PATH")?.into(),
        key: text(values, "SSL_KEY_PATH")?.into(),
        is_tls12_allowed: text(values, "TLS_MINIMUM") == Some("1.2"),
        asks_clients: text(values, "TLS_CLIENT_CERTIFICATES") == Some("optional"),
    })
}

/// Staging may vouch for itself.
fn untrusted_certificate(values: &Values, deployment: Deployment) -> Vec<Fault> {
    // One that cannot be read is among what is missing.
    let Some(Ok(loaded)) = pair_of(values).map(|pair| pair.load()) else { return Vec::new() };
    let mut faults = Vec::new();
    if loaded.expires_at <= tenancy::Clock::System.now() {
        faults.push(Fault::new("SSL_CERT_PATH", "names a certificate that has expired"));
    }
    if loaded.is_self_signed && deployment == Deployment::Production {
        faults.push(Fault::new(
            "SSL_CERT_PATH",
            "names a certificate that is signed by itself: clients would have to trust anybody's",
        ));
    }
    faults
}

/// Without a certificate of our own a proxy in front ends TLS, and must be named so that
/// its word on the client is believed.
fn plain_http(values: &Values) -> Vec<Fault> {
    let mut faults = Vec::new();
    if !text(values, "PUBLIC_URL").is_some_and(|url| url.starts_with("https://")) {
        faults.push(Fault::new(
            "PUBLIC_URL",
            "must begin with https://: tokens and passwords would travel in the clear",
        ));
    }
    if text(values, "TRUSTED_PROXIES").is_none() && pair_of(values).is_none() {
        faults.push(Fault::new(
            "TRUSTED_PROXIES",
            "is not set: name the proxy that ends TLS in front of this listener, or give the listener a certificate \
             of its own (SSL_CERT_PATH, SSL_KEY_PATH)",
        ));
    }
    let insecure = text(values, "CORS_ORIGINS").map(value::list).unwrap_or_default();
    if insecure.iter().any(|origin| !origin.starts_with("https://")) {
        faults.push(Fault::new("CORS_ORIGINS", "must all begin with https://"));
    }
    faults
}

/// `REDIS_URL` with `REDIS_PASSWORD`; none where it is not set.
pub(super) fn store(values: &Values) -> Option<Result<StoreAddress, Fault>> {
    let parsed = StoreAddress::parse(text(values, "REDIS_URL")?, text(values, "REDIS_PASSWORD"));
    Some(parsed.map_err(|error| Fault::new("REDIS_URL", error.to_string())))
}

/// What is wrong between the two; the form of each is looked at with all others.
pub(super) fn contradiction_of_store(values: &Values) -> Option<Fault> {
    let contradiction = AddressError::TwoPasswords.to_string();
    store(values)?.err().filter(|fault| fault.message == contradiction)
}

/// Whoever reaches the store can lift every limit and block in it.
fn unsafe_store(values: &Values) -> Vec<Fault> {
    let Some(Ok(address)) = store(values) else { return Vec::new() };
    let mut faults = Vec::new();
    if !address.is_private() {
        faults.push(Fault::new(
            "REDIS_URL",
            "is not encrypted: name it as rediss://, or as the Unix socket of a server here",
        ));
    }
    match address.password() {
        Some(password)
            if DEFAULT_PASSWORDS.iter().any(|known| known.eq_ignore_ascii_case(password)) =>
        {
            faults.push(Fault::new("REDIS_URL", "has a default password"));
        }
        None if !address.is_local() => {
            faults.push(Fault::new("REDIS_URL", "has no password; set REDIS_PASSWORD"));
        }
        _ => {}
    }
    faults
}

fn unsafe_database(name: &'static str, values: &Values) -> Vec<Fault> {
    let Some(url) = text(values, name) else { return Vec::new() };
    let Some(config) = value::database(url) else { return Vec::new() };
    let mut faults = Vec::new();
    if !value::is_private_database(url) {
        faults.push(Fault::new(
            name,
            "is not encrypted to a server that is known: say sslmode=verify-full (with sslrootcert, unless its \
             certificate is of a root of the system), or name a Unix socket (postgresql:///strongroom?host=/run/postgresql)",
        ));
    }
    let password = config.get_password().map(String::from_utf8_lossy);
    if let Some(password) = password {
        let user = config.get_user().unwrap_or_default();
        if DEFAULT_PASSWORDS.iter().any(|known| known.eq_ignore_ascii_case(&password))
            || password == user
        {
            faults.push(Fault::new(name, "has a default password"));
        }
    }
    faults
}
