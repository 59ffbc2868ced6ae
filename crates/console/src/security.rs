//! Owns the headers that guard every page.
//!
//! The policy allows one thing of each kind: scripts that carry this answer's nonce
//! (no `strict-dynamic`: nothing may load a further one), our own style sheets, fonts
//! and images, forms and requests to ourselves. Strings reach the document only through
//! the one Trusted Types policy that htmx's extension makes. Refuses exceptions.

use http::{HeaderMap, HeaderName, HeaderValue};

/// Bytes of a nonce: 128 bits.
const NONCE_BYTES: usize = 16;

const ALWAYS: [(&str, &str); 8] = [
    ("cache-control", "no-store"),
    ("cross-origin-opener-policy", "same-origin"),
    ("cross-origin-resource-policy", "same-origin"),
    ("cross-origin-embedder-policy", "require-corp"),
    // Not `no-referrer`, which would blank the Origin that forms are checked by.
    ("referrer-policy", "same-origin"),
    ("x-content-type-options", "nosniff"),
    ("x-frame-options", "DENY"),
    ("vary", "Cookie, HX-Request"),
];

/// The Trusted Types policies that one page may make instead of htmx's; an extension of
/// its response. Scripts, styles and everything else stay as they are.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TrustedTypes(pub(crate) &'static str);

const HTMX: TrustedTypes = TrustedTypes("htmx");

/// A new nonce, for one answer.
pub(crate) fn nonce() -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(vault::random_bytes::<NONCE_BYTES>())
}

/// Sets them all.
pub(crate) fn secure(headers: &mut HeaderMap, nonce: &str, trusted: Option<TrustedTypes>) {
    for (name, value) in ALWAYS {
        headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    let TrustedTypes(trusted) = trusted.unwrap_or(HTMX);
    let policy = format!(
        "default-src 'none'; script-src 'nonce-{nonce}'; style-src 'self'; img-src 'self' data:; \
         font-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none'; \
         frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types {trusted}"
    );
    // A nonce is base64url and the rest is ours.
    if let Ok(policy) = HeaderValue::from_str(&policy) {
        headers.insert(HeaderName::from_static("content-security-policy"), policy);
    }
}
