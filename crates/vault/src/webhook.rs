//! Signatures of webhooks that we send (Standard Webhooks 1.0, the symmetric `v1`): HMAC-SHA-256
//! over `id.timestamp.body`.
//!
//! It refuses to know endpoints, retries and the clock; receivers verify with their own library.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

use crate::primitives::{hmac_sha256, random_secret};
use crate::secret::SecretBytes;

const PREFIX: &str = "whsec_";
const VERSION: &str = "v1,";
/// The specification's 192 to 512 bits.
const SECRET_BYTES: std::ops::RangeInclusive<usize> = 24..=64;
const NEW_SECRET_BYTES: usize = 32;
const ID_BYTES_MAX: usize = 256;

/// Why a webhook cannot be signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WebhookError {
    /// The secret is no base64 of 24 to 64 bytes.
    #[error("the secret of the webhook is malformed")]
    BadSecret,
    /// The id is empty, too long, not visible ASCII, or has a full stop, which parts what is
    /// signed; or the timestamp is before 1970.
    #[error("the headers of the webhook are malformed")]
    Malformed,
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
        if SECRET_BYTES.contains(&secret.len()) {
            Ok(Self(secret))
        } else {
            Err(WebhookError::BadSecret)
        }
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

/// The value of `webhook-signature`. While a secret changes, the previous one signs too, so that
/// an endpoint may hold either. `id` and `timestamp_s` are the values of `webhook-id` and
/// `webhook-timestamp`, the body's bytes those that are sent.
pub fn sign_webhook(
    secret: &WebhookSecret,
    previous: Option<&WebhookSecret>,
    id: &str,
    timestamp_s: i64,
    body: &[u8],
) -> Result<String, WebhookError> {
    if !is_id(id) || timestamp_s < 0 {
        return Err(WebhookError::Malformed);
    }
    let mut signatures = secret.signature(id, timestamp_s, body);
    if let Some(previous) = previous {
        signatures.push(' ');
        signatures.push_str(&previous.signature(id, timestamp_s, body));
    }
    Ok(signatures)
}

fn is_id(id: &str) -> bool {
    let visible = |byte: u8| byte.is_ascii_graphic() && byte != b'.';
    (1..=ID_BYTES_MAX).contains(&id.len()) && id.bytes().all(visible)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::vectors::read_json;

    const NOW_S: i64 = 1_614_265_330;

    #[test]
    fn the_published_vector() {
        let Some(vector) = read_json("webhooks/standard-webhooks.json") else { return };
        let text = |name: &str| vector[name].as_str().unwrap();
        let secret = WebhookSecret::parse(text("secret")).unwrap();
        assert_eq!(secret.expose().as_str(), text("secret"));
        let at_s = vector["timestamp"].as_i64().unwrap();
        let body = text("body").as_bytes();
        let signature = sign_webhook(&secret, None, text("id"), at_s, body).unwrap();
        assert_eq!(signature, text("signature"));
    }

    #[test]
    fn old_and_new_secret_overlap() {
        let [old, new] = [0; 2].map(|_| WebhookSecret::generate());
        let alone = |secret| sign_webhook(secret, None, "msg_1", NOW_S, b"{}").unwrap();
        let both = sign_webhook(&new, Some(&old), "msg_1", NOW_S, b"{}").unwrap();
        assert_eq!(both, format!("{} {}", alone(&new), alone(&old)));
        assert_ne!(alone(&new), alone(&old));
    }

    #[test]
    fn what_could_be_read_in_two_ways_is_not_signed() {
        let secret = WebhookSecret::generate();
        let sign = |id: &str, at_s| sign_webhook(&secret, None, id, at_s, b"body");
        for id in ["", "a.b", "a b", "a\n", "é", &"a".repeat(257)] {
            assert_eq!(sign(id, NOW_S), Err(WebhookError::Malformed), "{id}");
        }
        assert_eq!(sign("a", -1), Err(WebhookError::Malformed));
        assert!(sign(&"a".repeat(256), 0).is_ok());
    }

    #[test]
    fn secrets_are_of_the_specifications_length_and_do_not_print() {
        let encoded = |bytes: usize| format!("whsec_{}", STANDARD.encode(vec![7; bytes]));
        for (text, is_one) in [
            (encoded(24), true),
            (encoded(64), true),
            (encoded(23), false),
            (encoded(65), false),
            (encoded(4_096), false),
            (encoded(32).replace("whsec_", ""), false),
            (encoded(32).replace("whsec_", "whpk_"), false),
            (encoded(32).replace('=', ""), false),
            ("whsec_".to_owned(), false),
        ] {
            assert_eq!(WebhookSecret::parse(&text).is_ok(), is_one, "{text}");
        }
        let secret = WebhookSecret::generate();
        assert_eq!(secret.expose().len(), "whsec_".len() + 44);
        assert_eq!(format!("{secret:?}"), "WebhookSecret(redacted)");
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

        /// Two messages that differ in anything have two signatures: what parts id, time and body
        /// is in neither of the first two.
        #[test]
        fn what_is_signed_is_all_of_it(
            one in ("[a-c0-1_]{1,3}", 0_i64..120, "[0-1.]{0,4}"),
            other in ("[a-c0-1_]{1,3}", 0_i64..120, "[0-1.]{0,4}"),
        ) {
            let secret = WebhookSecret::parse("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
            let sign = |(id, at_s, body): &(String, i64, String)| {
                sign_webhook(&secret, None, id, *at_s, body.as_bytes()).unwrap()
            };
            prop_assert_eq!(sign(&one) == sign(&other), one == other);
        }

        #[test]
        fn hostile_secrets_never_panic(text in ".{0,40}|whsec_[A-Za-z0-9+/=]{0,90}") {
            if let Ok(secret) = WebhookSecret::parse(&text) {
                let told = secret.expose();
                prop_assert_eq!(told.as_str(), text);
            }
        }
    }
}
