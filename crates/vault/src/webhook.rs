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

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::vectors::read_json;

    const NOW_S: i64 = 1_614_265_330;

    fn headers<'a>(id: &'a str, timestamp: &'a str, signature: &'a str) -> WebhookHeaders<'a> {
        WebhookHeaders { id, timestamp, signature }
    }

    #[test]
    fn the_published_vector() {
        let Some(vector) = read_json("webhooks/standard-webhooks.json") else { return };
        let text = |name: &str| vector[name].as_str().unwrap();
        let secret = WebhookSecret::parse(text("secret")).unwrap();
        assert_eq!(secret.expose().as_str(), text("secret"));
        let at_s = vector["timestamp"].as_i64().unwrap();
        let (id, body, signature) = (text("id"), text("body").as_bytes(), text("signature"));
        assert_eq!(sign_webhook(&[&secret], id, at_s, body).unwrap(), signature);
        let headers = headers(id, "1614265330", signature);
        assert_eq!(verify_webhook(&[&secret], &headers, body, at_s, TOLERANCE_S), Ok(at_s));
    }

    #[test]
    fn old_and_new_secret_overlap() {
        let [old, new, other] = [0; 3].map(|_| WebhookSecret::generate());
        let both = sign_webhook(&[&old, &new], "msg_1", NOW_S, b"{}").unwrap();
        assert_eq!(both.split(' ').count(), 2);
        let foreign = format!("v1a,YWJj v2,{} {both}", &both[3..]);
        let check = |secrets: &[&WebhookSecret], signature: &str| {
            let headers = headers("msg_1", "1614265330", signature);
            verify_webhook(secrets, &headers, b"{}", NOW_S, TOLERANCE_S)
        };
        for secrets in [&[&old][..], &[&new], &[&other, &new], &[&old, &new]] {
            assert_eq!(check(secrets, &both), Ok(NOW_S));
            assert_eq!(check(secrets, &foreign), Ok(NOW_S));
        }
        let refused = Err(WebhookError::BadSignature);
        assert_eq!(check(&[&other], &both), refused);
        assert_eq!(check(&[], &both), refused);
        // Of another version, without one, cut, joined by something else.
        let one = sign_webhook(&[&old], "msg_1", NOW_S, b"{}").unwrap();
        let odd = [
            one.replace("v1,", "v2,"),
            one.replace("v1,", ""),
            one.replace("v1,", "V1,"),
            one[..one.len() - 1].to_owned(),
            format!("{one},{one}"),
            format!("{one}="),
            String::new(),
            " ".to_owned(),
        ];
        for signature in odd {
            assert_eq!(check(&[&old], &signature), refused, "{signature}");
        }
    }

    #[test]
    fn what_was_not_signed_is_refused() {
        use WebhookError::{BadSignature, Malformed, TooNew, TooOld};

        let secret = WebhookSecret::generate();
        let good = sign_webhook(&[&secret], "msg_1", NOW_S, b"body").unwrap();
        let many = vec![good.as_str(); 17].join(" ");
        let long = format!("{good} {}", "a".repeat(4_096));
        // id, timestamp, signature, body, now
        let table: [(&str, &str, &str, &[u8], i64, Result<i64, WebhookError>); 19] = [
            ("msg_1", "1614265330", &good, b"body", NOW_S + 300, Ok(NOW_S)),
            ("msg_1", "1614265330", &good, b"body", NOW_S - 300, Ok(NOW_S)),
            ("msg_1", "1614265330", &good, b"body", NOW_S + 301, Err(TooOld)),
            ("msg_1", "1614265330", &good, b"body", NOW_S - 301, Err(TooNew)),
            ("msg_1", "1614265330", &good, b"Body", NOW_S, Err(BadSignature)),
            ("msg_1", "1614265331", &good, b"body", NOW_S, Err(BadSignature)),
            ("msg_2", "1614265330", &good, b"body", NOW_S, Err(BadSignature)),
            ("msg_1.1", "1614265330", &good, b"body", NOW_S, Err(Malformed)),
            ("", "1614265330", &good, b"body", NOW_S, Err(Malformed)),
            ("msg 1", "1614265330", &good, b"body", NOW_S, Err(Malformed)),
            ("msg_1", "01614265330", &good, b"body", NOW_S, Err(Malformed)),
            ("msg_1", "+1614265330", &good, b"body", NOW_S, Err(Malformed)),
            ("msg_1", "-1", &good, b"body", NOW_S, Err(Malformed)),
            ("msg_1", "1614265330.0", &good, b"body", NOW_S, Err(Malformed)),
            ("msg_1", " 1614265330", &good, b"body", NOW_S, Err(Malformed)),
            ("msg_1", "9223372036854775808", &good, b"body", NOW_S, Err(Malformed)),
            ("msg_1", "9223372036854775807", &good, b"body", NOW_S, Err(TooNew)),
            ("msg_1", "1614265330", &many, b"body", NOW_S, Err(Malformed)),
            ("msg_1", "1614265330", &long, b"body", NOW_S, Err(Malformed)),
        ];
        for (id, timestamp, signature, body, now_s, expected) in table {
            let headers = headers(id, timestamp, signature);
            let found = verify_webhook(&[&secret], &headers, body, now_s, TOLERANCE_S);
            assert_eq!(found, expected, "{id} {timestamp} {now_s}");
        }
        for id in ["", "a.b", "a b", "é", &"a".repeat(257)] {
            assert_eq!(sign_webhook(&[&secret], id, NOW_S, b""), Err(Malformed), "{id}");
        }
        assert_eq!(sign_webhook(&[&secret], "a", -1, b""), Err(Malformed));
        assert_eq!(sign_webhook(&[], "a", NOW_S, b""), Err(Malformed));
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

        #[test]
        fn what_was_signed_verifies_and_nothing_else(
            body in prop::collection::vec(any::<u8>(), 0..64),
            at in any::<prop::sample::Index>(),
            id in "[a-zA-Z0-9_-]{1,40}",
            timestamp_s in 0_i64..10_000_000_000,
        ) {
            let secret = WebhookSecret::generate();
            let signature = sign_webhook(&[&secret], &id, timestamp_s, &body).unwrap();
            let text = timestamp_s.to_string();
            let headers = headers(&id, &text, &signature);
            let check = |body: &[u8]| verify_webhook(&[&secret], &headers, body, timestamp_s, 0);
            prop_assert_eq!(check(&body), Ok(timestamp_s));
            let mut longer = body.clone();
            longer.insert(at.index(body.len() + 1), b'x');
            prop_assert_eq!(check(&longer), Err(WebhookError::BadSignature));
        }

        #[test]
        fn hostile_headers_never_panic(
            id in ".{0,20}", timestamp in ".{0,20}|[0-9+-]{0,22}", signature in ".{0,80}|(v1,[A-Za-z0-9+/=]{0,44} ?){0,4}",
            secret in ".{0,40}|whsec_[A-Za-z0-9+/=]{0,90}", now_s in any::<i64>(), tolerance_s in any::<u32>(),
        ) {
            let headers = headers(&id, &timestamp, &signature);
            let known = WebhookSecret::generate();
            let believed = verify_webhook(&[&known], &headers, b"body", now_s, tolerance_s).is_ok();
            prop_assert!(!believed);
            if let Ok(secret) = WebhookSecret::parse(&secret) {
                let again = WebhookSecret::parse(&secret.expose()).unwrap();
                prop_assert_eq!(again.0.expose(), secret.0.expose());
            }
        }
    }
}
