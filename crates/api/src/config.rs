//! Owns what an operator may set about the interface. Refuses to read it from
//! anywhere: the composition root hands it in.

use crate::client::Network;

/// The longest request body accepted, in bytes.
pub const MAXIMUM_BODY_BYTES: usize = 1024 * 1024;

/// The longest batch of transfers accepted, in bytes: a thousand with the longest key,
/// description and reference, in letters of four bytes, need four fifths of it.
pub const MAXIMUM_BATCH_BYTES: usize = 2 * 1024 * 1024;

/// Settings of the interface.
#[derive(Clone, Debug)]
pub struct ApiConfig {
    /// Scheme and authority under which clients reach us, without a trailing slash.
    pub public_url: String,
    /// Networks whose `X-Forwarded-For` is believed; nobody's by default.
    pub trusted_proxies: Vec<Network>,
    /// The header in which those say where on earth a client is, as `latitude,longitude`.
    pub location_header: Option<String>,
    /// Exact origins allowed to call from a browser (`CORS_ORIGINS`).
    pub cors_origins: Vec<String>,
    /// Host names served; any where empty (`ALLOWED_HOSTS`).
    pub allowed_hosts: Vec<String>,
    /// Raises every limit of the tenants to at least this many a minute, and
    /// sixty times as many an hour. Development and benchmarks only.
    pub rate_limit_floor_per_minute: Option<u32>,
    /// How long a request may take in all, its body included.
    pub request_timeout_ms: u64,
}

impl Default for ApiConfig {
    fn default() -> Self {
        Self {
            public_url: "http://localhost:8080".to_owned(),
            trusted_proxies: Vec::new(),
            location_header: None,
            cors_origins: Vec::new(),
            allowed_hosts: Vec::new(),
            rate_limit_floor_per_minute: None,
            request_timeout_ms: 30_000,
        }
    }
}
