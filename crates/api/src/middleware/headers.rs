//! Owns the security headers of every answer. A snapshot over all routes keeps them.

use std::sync::LazyLock;

use http::{HeaderMap, HeaderName, HeaderValue, header};

/// Name and value of each, as the specification writes them.
const ALWAYS: [(&str, &str); 9] = [
    ("strict-transport-security", "max-age=31536000; includeSubDomains"),
    ("x-frame-options", "DENY"),
    ("x-content-type-options", "nosniff"),
    ("referrer-policy", "strict-origin-when-cross-origin"),
    // Seed 001's `1; mode=block` opens leaks in the browsers that still know it.
    ("x-xss-protection", "0"),
    (
        "permissions-policy",
        "accelerometer=(), camera=(), geolocation=(), gyroscope=(), microphone=(), payment=(), usb=()",
    ),
    ("cross-origin-opener-policy", "same-origin"),
    ("cross-origin-resource-policy", "same-origin"),
    ("content-security-policy", "default-src 'none'; frame-ancestors 'none'"),
];

/// Headers that come besides: type, length, tag, limits, request id.
const ROOM: usize = 10;

/// The same, parsed once.
static PARSED: LazyLock<Vec<(HeaderName, HeaderValue)>> = LazyLock::new(|| {
    let parsed = |(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value));
    ALWAYS.map(parsed).into()
});

/// Sets them all; answers are kept by nobody unless their handler said otherwise.
pub(crate) fn secure(headers: &mut HeaderMap) {
    headers.reserve(PARSED.len() + ROOM);
    for (name, value) in PARSED.iter() {
        headers.insert(name, value.clone());
    }
    headers.remove(header::SERVER);
    headers.entry(header::CACHE_CONTROL).or_insert_with(|| HeaderValue::from_static("no-store"));
}

/// Sets those that a page has not set stricter or for itself.
pub(crate) fn complete(headers: &mut HeaderMap) {
    for (name, value) in PARSED.iter() {
        headers.entry(name).or_insert_with(|| value.clone());
    }
    headers.remove(header::SERVER);
    headers.entry(header::CACHE_CONTROL).or_insert_with(|| HeaderValue::from_static("no-store"));
}
