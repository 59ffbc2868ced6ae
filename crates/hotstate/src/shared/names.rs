//! Owns how things are called in the shared store: by MACs, so that whoever reads it
//! learns neither addresses nor names nor who was where.
//!
//! All names of an installation begin alike, so that a store may serve others as well and
//! an access list may keep us to our own; the braces keep them on one node of what hides
//! a cluster. Refuses to know what is stored.

use std::{fmt::Write as _, net::IpAddr};

use uuid::Uuid;
use vault::{SecretBytes, hmac_sha256};

use crate::rate::{Key, Quota, Subject};

/// Characters of a MAC in a name: 128 bits.
const MAC_CHARACTERS: usize = 32;

/// Makes names.
pub(super) struct Names {
    secret: SecretBytes,
    prefix: String,
}

impl std::fmt::Debug for Names {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Names").field("prefix", &self.prefix).finish_non_exhaustive()
    }
}

impl Names {
    pub(super) fn new(secret: SecretBytes) -> Self {
        let mut names = Self { secret, prefix: String::new() };
        names.prefix = format!("{{strongroom:{}}}:", &names.mac(&[b"installation"])[..8]);
        names
    }

    /// Of a rate window.
    pub(super) fn window(&self, key: &Key, quota: Quota) -> String {
        let class = key.class.as_bytes();
        let period_s = quota.period_s.to_be_bytes();
        let mac = match key.subject {
            Subject::Address(address) => {
                self.mac(&[b"rate/address", class, &period_s, &address_bytes(address)])
            }
            Subject::User { tenant, user } => {
                self.mac(&[b"rate/user", class, &period_s, tenant.as_bytes(), user.as_bytes()])
            }
            Subject::Name { tenant, hash } => {
                self.mac(&[b"rate/name", class, &period_s, tenant.as_bytes(), &hash])
            }
            Subject::Unknown => self.mac(&[b"rate/unknown", class, &period_s]),
        };
        format!("{}rate:{mac}", self.prefix)
    }

    /// Of a source's failures.
    pub(super) fn source(&self, tenant: Uuid, source: IpAddr) -> String {
        let mac = self.mac(&[b"failures", tenant.as_bytes(), &address_bytes(source)]);
        format!("{}failures:{mac}", self.prefix)
    }

    /// Of what a new connection tries its scripts on.
    pub(super) fn probe(&self) -> String {
        format!("{}probe", self.prefix)
    }

    /// Over the parts, each behind its length.
    fn mac(&self, parts: &[&[u8]]) -> String {
        let mut message = Vec::with_capacity(128);
        for part in parts {
            message.extend_from_slice(&(part.len() as u64).to_be_bytes());
            message.extend_from_slice(part);
        }
        let mac = hmac_sha256(self.secret.expose(), &message);
        mac[..MAC_CHARACTERS / 2].iter().fold(
            String::with_capacity(MAC_CHARACTERS),
            |mut text, byte| {
                // Writing to a String cannot fail.
                let _ = write!(text, "{byte:02x}");
                text
            },
        )
    }
}

fn address_bytes(address: IpAddr) -> [u8; 16] {
    match address.to_canonical() {
        IpAddr::V4(address) => address.to_ipv6_mapped().octets(),
        IpAddr::V6(address) => address.octets(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::collections::BTreeSet;

    use uuid::Uuid;
    use vault::SecretBytes;

    use super::Names;
    use crate::rate::{Key, Quota, Subject};

    fn names(byte: u8) -> Names {
        Names::new(SecretBytes::new(vec![byte; 32]))
    }

    #[test]
    fn names_differ_by_everything_and_say_nothing() {
        let tenant = Uuid::from_u128(0x1234_5678);
        let user = Uuid::from_u128(0x9abc);
        let address = "192.0.2.77".parse().unwrap();
        let subjects = [
            Subject::Address(address),
            Subject::User { tenant, user },
            Subject::User { tenant: user, user: tenant },
            Subject::Name { tenant, hash: [7; 32] },
            Subject::Unknown,
        ];
        let mut all = BTreeSet::new();
        for names in [names(1), names(2)] {
            for subject in subjects {
                for class in ["read", "write"] {
                    for period_s in [60, 3_600] {
                        let quota = Quota { limit: 5, period_s };
                        all.insert(names.window(&Key { subject, class }, quota));
                    }
                }
            }
            all.insert(names.source(tenant, address));
            all.insert(names.probe());
        }
        assert_eq!(all.len(), 2 * (5 * 2 * 2 + 2));
        for name in &all {
            assert!(name.starts_with("{strongroom:") && name.len() <= 64, "{name}");
            for telling in ["192", "77", "12345678", "9abc", "read", "write"] {
                let mac = name.rsplit(':').next().unwrap();
                assert!(!name.contains(telling) || mac.contains(telling), "{name}");
            }
        }
    }

    #[test]
    fn a_limit_that_changes_goes_on_counting() {
        let key = Key { subject: Subject::Unknown, class: "read" };
        let name = |limit| names(1).window(&key, Quota { limit, period_s: 60 });
        assert_eq!(name(5), name(6));
    }
}
