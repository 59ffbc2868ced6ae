//! Signatures of webhooks (Standard Webhooks 1.0, the symmetric `v1`): HMAC-SHA-256 over
//! `id.timestamp.body`.
//!
//! It refuses to know endpoints, retries, whether a message was seen before, and the clock.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

use crate::primitives::{constant_time_eq, hmac_sha256, random_secret};
use crate::secret::SecretBytes;

/// How far a message's timestamp may be from now, either way: the specification's five minutes.
pub const TOLERANCE_S: u32 = 300;

const PREFIX: &str = "whsec_";
const VERSION: &str = "v1,";
/// The specification's 192 to 512 bits.
const SECRET_BYTES: std::ops::RangeInclusive<usize> = 24..=64;
const NEW_SECRET_BYTES: usize = 32;
const ID_BYTES_MAX: usize = 256;
/// The longest `webhook-signature`, and the most signatures in it.
const SIGNATURES_BYTES_MAX: usize = 4_096;
const SIGNATURES_MAX: usize = 16;

/// Why a webhook was refused or cannot be signed, in the order in which it is checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WebhookError {
    /// The secret is no base64 of 24 to 64 bytes.
    #[error("the secret of the webhook is malformed")]
    BadSecret,
    /// The id is empty, too long, not visible ASCII, or has a full stop, which parts what is
    /// signed; the timestamp is no number; there are too many signatures.
    #[error("the headers of the webhook are malformed")]
    Malformed,
    /// Too old.
    #[error("the webhook is too old")]
    TooOld,
    /// From the future.
    #[error("the webhook is from the future")]
    TooNew,
    /// No signature is of any of the secrets.
    #[error("the signature of the webhook is not valid")]
    BadSignature,
}

/// What an endpoint and its sender share.
#[derive(Clone)]
pub struct WebhookSecret(SecretBytes);

impl WebhookSecret {
    /// 32 random bytes.
    pub fn generate() -> Self {
        Self(random_secret(NEW_SECRET_BYTES))
    }

    /// Reads `whsec_` and base64.
    pub fn parse(text: &str) -> Result<Self, WebhookError> {
        let encoded = text.strip_prefix(PREFIX).ok_or(WebhookError::BadSecret)?;
        if encoded.len() > SECRET_BYTES.end() * 2 {
            return Err(WebhookError::BadSecret);
        }
        let bytes = STANDARD.decode(encoded).map_err(|_| WebhookError::BadSecret)?;
        let secret = SecretBytes::new(bytes);
        if SECRET_BYTES.contains(&secret.len()) { Ok(Self(secret)) } else { Err(WebhookError::BadSecret) }
    }

    /// The text to hand to the endpoint's owner, and to be sealed for storage.
    pub fn expose(&self) -> Zeroizing<String> {
        let encoded = Zeroizing::new(STANDARD.encode(self.0.expose()));
        let mut text = Zeroizing::new(String::with_capacity(PREFIX.len() + encoded.len()));
        text.push_str(PREFIX);
        text.push_str(&encoded);
        text
    }

    fn signature(&self, id: &str, timestamp_s: i64, body: &[u8]) -> String {
        let signed = [format!("{id}.{timestamp_s}.").as_bytes(), body].concat();
        format!("{VERSION}{}", STANDARD.encode(hmac_sha256(self.0.expose(), &signed)))
    }
}

impl fmt::Debug for WebhookSecret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("WebhookSecret(redacted)")
    }
}

/// The value of `webhook-signature`: one signature for each secret, so that an endpoint may hold
/// the old or the new one while they change.
pub fn sign_webhook(
    secrets: &[&WebhookSecret],
    id: &str,
    timestamp_s: i64,
    body: &[u8],
) -> Result<String, WebhookError> {
    if !is_id(id) || timestamp_s < 0 || !(1..=SIGNATURES_MAX).contains(&secrets.len()) {
        return Err(WebhookError::Malformed);
    }
    let signatures = secrets.iter().map(|secret| secret.signature(id, timestamp_s, body));
    Ok(signatures.collect::<Vec<_>>().join(" "))
}

/// A webhook's three headers as they were received.
#[derive(Clone, Copy, Debug)]
pub struct WebhookHeaders<'a> {
    /// `webhook-id`.
    pub id: &'a str,
    /// `webhook-timestamp`.
    pub timestamp: &'a str,
    /// `webhook-signature`.
    pub signature: &'a str,
}

/// Verifies a webhook and gives its timestamp. Signatures of other versions are passed over. The
/// time does not tell which of the secrets fits, nor which of the signatures.
pub fn verify_webhook(
    secrets: &[&WebhookSecret],
    headers: &WebhookHeaders<'_>,
    body: &[u8],
    now_s: i64,
    tolerance_s: u32,
) -> Result<i64, WebhookError> {
    let timestamp_s = seconds(headers.timestamp).ok_or(WebhookError::Malformed)?;
    let presented: Vec<&str> = headers.signature.split(' ').collect();
    let is_bounded =
        headers.signature.len() <= SIGNATURES_BYTES_MAX && presented.len() <= SIGNATURES_MAX;
    if !is_id(headers.id) || !is_bounded {
        return Err(WebhookError::Malformed);
    }
    let tolerance_s = i64::from(tolerance_s);
    if timestamp_s < now_s.saturating_sub(tolerance_s) {
        return Err(WebhookError::TooOld);
    }
    if timestamp_s > now_s.saturating_add(tolerance_s) {
        return Err(WebhookError::TooNew);
    }
    let mut fits = false;
    for secret in secrets {
        let expected = secret.signature(headers.id, timestamp_s, body);
        for signature in &presented {
            fits |= constant_time_eq(expected.as_bytes(), signature.as_bytes());
        }
    }
    if fits { Ok(timestamp_s) } else { Err(WebhookError::BadSignature) }
}

fn is_id(id: &str) -> bool {
    let visible = |byte: u8| byte.is_ascii_graphic() && byte != b'.';
    (1..=ID_BYTES_MAX).contains(&id.len()) && id.bytes().all(visible)
}

/// A number in its one form, which is the one that was signed.
fn seconds(text: &str) -> Option<i64> {
    let number: i64 = text.parse().ok()?;
    (number >= 0 && number.to_string() == text).then_some(number)
}
