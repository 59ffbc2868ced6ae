//! Opaque tokens: `kind_tenant_secret`, where the tenant is 32 hexadecimal digits and the secret
//! 32 random bytes in base64url.
//!
//! The tenant inside is a routing hint; only the stored hash, which covers the whole text, proves
//! anything. It refuses to know expiry, storage and what each kind permits.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use uuid::Uuid;
use zeroize::Zeroizing;

use crate::keyring::MacKey;
use crate::primitives::{or_abort, random_bytes, sha256};

/// The longest kind, in letters.
pub const MAXIMUM_KIND_LETTERS: usize = 16;

const SECRET_BYTES: usize = 32;
const SECRET_LETTERS: usize = 43;
const TENANT_DIGITS: usize = 32;

/// Why a presented text is not the token that is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// A well-formed token of another kind.
    #[error("the token is of another kind")]
    WrongKind,
    /// Not a token.
    #[error("the token is malformed")]
    Malformed,
}

/// A token in the clear: shown once, never stored. `Debug` shows its kind and tenant only.
#[derive(Clone)]
pub struct OpaqueToken {
    text: Zeroizing<String>,
    kind_letters: usize,
    tenant: Uuid,
}

impl OpaqueToken {
    /// A new random token. `kind` is one lowercase word of at most 16 ASCII letters.
    pub fn generate(kind: &str, tenant: Uuid) -> Result<Self, TokenError> {
        let secret = Zeroizing::new(random_bytes::<SECRET_BYTES>());
        Self::compose(kind, tenant, secret.as_slice())
    }

    /// The one successor of a presented token: same kind and tenant, its secret an HMAC of the
    /// presented text, so that a retry yields the same successor and nothing recoverable is kept.
    #[must_use]
    pub fn derive_successor(key: &MacKey, presented: &Self) -> Self {
        let secret = Zeroizing::new(key.sign("token-successor", presented.text.as_bytes()));
        or_abort(Self::compose(presented.kind(), presented.tenant, secret.as_slice()))
    }

    /// Reads a presented token, which must be of `expected_kind`.
    pub fn parse(text: &str, expected_kind: &str) -> Result<Self, TokenError> {
        let token = Self::parse_any(text)?;
        if token.kind() == expected_kind { Ok(token) } else { Err(TokenError::WrongKind) }
    }

    /// What is stored and looked up: SHA-256 over the whole text.
    pub fn hash(&self) -> [u8; 32] {
        sha256(self.text.as_bytes())
    }

    /// The text to hand to its owner.
    pub fn expose(&self) -> &str {
        &self.text
    }

    /// The kind in front.
    pub fn kind(&self) -> &str {
        &self.text[..self.kind_letters]
    }

    /// The tenant named inside: a routing hint until the hash was found.
    pub fn tenant(&self) -> Uuid {
        self.tenant
    }

    fn compose(kind: &str, tenant: Uuid, secret: &[u8]) -> Result<Self, TokenError> {
        if !is_kind(kind) {
            return Err(TokenError::Malformed);
        }
        // One allocation of the final size: growing would leave copies of the secret behind.
        let length = kind.len() + TENANT_DIGITS + SECRET_LETTERS + 2;
        let mut text = Zeroizing::new(String::with_capacity(length));
        text.push_str(kind);
        text.push('_');
        text.push_str(tenant.simple().encode_lower(&mut Uuid::encode_buffer()));
        text.push('_');
        URL_SAFE_NO_PAD.encode_string(secret, &mut text);
        Ok(Self { text, kind_letters: kind.len(), tenant })
    }

    fn parse_any(text: &str) -> Result<Self, TokenError> {
        let mut parts = text.splitn(3, '_');
        let (Some(kind), Some(tenant), Some(secret)) = (parts.next(), parts.next(), parts.next())
        else {
            return Err(TokenError::Malformed);
        };
        if !is_kind(kind) || !is_tenant(tenant) || secret.len() != SECRET_LETTERS {
            return Err(TokenError::Malformed);
        }
        // The strict alphabet refuses a second spelling of the same secret.
        let decoded = URL_SAFE_NO_PAD.decode(secret).map(Zeroizing::new);
        let tenant = Uuid::try_parse(tenant).map_err(|_| TokenError::Malformed)?;
        match decoded {
            Ok(bytes) if bytes.len() == SECRET_BYTES => {
                Ok(Self { text: Zeroizing::new(text.to_owned()), kind_letters: kind.len(), tenant })
            }
            _ => Err(TokenError::Malformed),
        }
    }
}

impl fmt::Debug for OpaqueToken {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("OpaqueToken")
            .field("kind", &self.kind())
            .field("tenant", &self.tenant)
            .finish_non_exhaustive()
    }
}

fn is_kind(text: &str) -> bool {
    (1..=MAXIMUM_KIND_LETTERS).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_lowercase())
}

fn is_tenant(text: &str) -> bool {
    text.len() == TENANT_DIGITS
        && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use super::*;
    use crate::keyring::{Purpose, TenantKey as _};

    fn tenant() -> Uuid {
        Uuid::from_u128(0x0123_4567_89ab_cdef)
    }

    #[test]
    fn a_token_reads_back() {
        let token = OpaqueToken::generate("refresh", tenant()).unwrap();
        let read = OpaqueToken::parse(token.expose(), "refresh").unwrap();
        assert_eq!((read.tenant(), read.kind()), (tenant(), "refresh"));
        assert_eq!(read.hash(), token.hash());
        assert_eq!(token.hash(), sha256(token.expose().as_bytes()));
        let another = OpaqueToken::generate("refresh", tenant()).unwrap();
        assert_ne!(another.hash(), token.hash());
        // A secret may begin with or contain the separator itself.
        let composed = OpaqueToken::compose("a", tenant(), &[0xff; 32]).unwrap();
        assert!(composed.expose().contains("____"));
        assert!(OpaqueToken::parse(composed.expose(), "a").is_ok());
    }

    #[test]
    fn other_kinds_and_spellings_are_refused() {
        let token = OpaqueToken::generate("reset", tenant()).unwrap();
        let text = token.expose();
        let wrong = OpaqueToken::parse(text, "refresh").unwrap_err();
        assert_eq!(wrong, TokenError::WrongKind);
        let secret = &text[text.len() - 43..];
        let spellings = [
            String::new(),
            "reset".to_owned(),
            format!("{text}="),
            format!("{text} "),
            text[..text.len() - 1].to_owned(),
            format!("Reset_{}_{secret}", tenant().simple()),
            format!("_{}_{secret}", tenant().simple()),
            format!("reset_{}_{secret}", tenant().hyphenated()),
            format!("reset_{}_{secret}", tenant().simple().to_string().to_uppercase()),
            format!("reset_{}_{}", tenant().simple(), "+".repeat(43)),
            // 43 letters carry 258 bits: the last two must be zero.
            format!("reset_{}_{}", tenant().simple(), "B".repeat(43)),
        ];
        for spelling in spellings {
            let refused = OpaqueToken::parse(&spelling, "reset").unwrap_err();
            assert_eq!(refused, TokenError::Malformed, "{spelling}");
        }
        for kind in ["", "Reset", "re_set", "reset1", "seventeenletterss"] {
            assert!(OpaqueToken::generate(kind, tenant()).is_err(), "{kind}");
        }
    }

    #[test]
    fn a_successor_is_one_and_the_same() {
        let key = MacKey::generate(tenant(), Purpose::RefreshSuccessor, 1).unwrap();
        let other = MacKey::generate(tenant(), Purpose::RefreshSuccessor, 1).unwrap();
        let presented = OpaqueToken::generate("refresh", tenant()).unwrap();
        let first = OpaqueToken::derive_successor(&key, &presented);
        let again = OpaqueToken::derive_successor(&key, &presented);
        assert_eq!(first.expose(), again.expose());
        assert_eq!((first.kind(), first.tenant()), ("refresh", tenant()));
        assert_ne!(first.hash(), presented.hash());
        let foreign = OpaqueToken::derive_successor(&other, &presented);
        assert_ne!(first.hash(), foreign.hash());
    }

    #[test]
    fn it_does_not_print_its_secret() {
        let token = OpaqueToken::generate("reset", tenant()).unwrap();
        let printed = format!("{token:?}");
        assert!(!printed.contains(&token.expose()[39..]), "{printed}");
    }
}
