//! What an API key is, and which wishes for one are acceptable.
//!
//! Refuses to know who wishes.

use std::borrow::Cow;

use access::{Permission, Policies};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use jiff::{SignedDuration, Timestamp};
use operation::refusal::FieldError;
use serde::{Deserialize, Serialize};
use tenancy::{Blueprint, DbError, network::Network};
use tokio_postgres::Row;
use uuid::Uuid;
use zeroize::Zeroizing;

use crate::Change;

const NAME_LETTERS: std::ops::RangeInclusive<usize> = 1..=100;
const SCOPES_MAX: usize = 200;
const NETWORKS_MAX: usize = 50;
const CERTIFICATE_DIGEST_BYTES: usize = 32;
/// What a key lives where nothing is said.
const LIFETIME_DEFAULT: SignedDuration = SignedDuration::from_hours(24 * 90);
/// What it lives at most; then it is rotated, or nobody needs it.
const LIFETIME_MAX: SignedDuration = SignedDuration::from_hours(24 * 366);
const LIFETIME_MIN: SignedDuration = SignedDuration::from_mins(1);
/// How long the secret before is good after a rotation, where nothing is said and at most.
const OVERLAP_DEFAULT_S: i64 = 3_600;
const OVERLAP_MAX_S: i64 = 86_400;

/// A key that is wished for.
#[derive(Clone, Debug, Default)]
pub struct NewApiKey {
    /// For people, 1 to 100 characters.
    pub name: String,
    /// The role that it acts in.
    pub role: String,
    /// The permissions of that role it is confined to; all of them where absent.
    pub scopes: Option<Vec<String>>,
    /// The networks it may be used from, in CIDR notation; any where empty.
    pub networks: Vec<String>,
    /// When it ends: a minute to 366 days from now, 90 days where absent.
    pub expires_at: Option<Timestamp>,
    /// The certificate that it is used with (`x5t#S256`); any or none where absent.
    pub certificate_thumbprint: Option<String>,
}

/// How a key is rotated.
#[derive(Clone, Debug, Default)]
pub struct ApiKeyRotation {
    /// How many seconds the secret before stays good: 0 to a day, an hour where absent.
    pub overlap_s: Option<i64>,
    /// A new end; unchanged where absent.
    pub expires_at: Option<Timestamp>,
    /// Another certificate, or none from now on; unchanged where absent. It holds for the secret
    /// before as well.
    pub certificate_thumbprint: Change<String>,
}

/// A key, without its secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApiKeyRecord {
    /// Its id: the actor in audit records.
    pub id: Uuid,
    /// For people.
    pub name: String,
    /// The first four characters of its secret.
    pub hint: String,
    /// The role that it acts in.
    pub role: String,
    /// What it is confined to; all that the role may where absent.
    pub scopes: Option<Vec<String>>,
    /// Where it may be used from; anywhere where empty.
    pub networks: Vec<String>,
    /// Who answers for it; the operator at the command line where absent.
    pub created_by: Option<Uuid>,
    /// When it ends.
    pub expires_at: Timestamp,
    /// When it was last given a new secret.
    pub rotated_at: Option<Timestamp>,
    /// Until when the secret before that is good.
    pub previous_until: Option<Timestamp>,
    /// When it was last used, to the minute.
    pub last_used_at: Option<Timestamp>,
    /// When somebody ended it.
    pub revoked_at: Option<Timestamp>,
    /// The certificate that it is used with (`x5t#S256`, RFC 8705); none where any will do.
    /// Answers from before there was one have none.
    #[serde(default)]
    pub certificate_thumbprint: Option<String>,
    /// Counts changes.
    pub version: i64,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
}

impl ApiKeyRecord {
    pub(super) fn read(row: &Row) -> Result<Self, DbError> {
        Ok(Self {
            id: row.try_get("id")?,
            name: row.try_get("name")?,
            hint: row.try_get("hint")?,
            role: row.try_get("role")?,
            scopes: row.try_get("scopes")?,
            networks: row.try_get("networks")?,
            created_by: row.try_get("created_by")?,
            expires_at: row.try_get("expires_at")?,
            rotated_at: row.try_get("rotated_at")?,
            previous_until: row.try_get("previous_until")?,
            last_used_at: row.try_get("last_used_at")?,
            revoked_at: row.try_get("revoked_at")?,
            certificate_thumbprint: row.try_get("certificate_thumbprint")?,
            version: row.try_get("version")?,
            created_at: row.try_get("created_at")?,
            updated_at: row.try_get("updated_at")?,
        })
    }
}

/// A key with its secret, which nobody can show again.
pub struct IssuedApiKey {
    /// The key.
    pub record: ApiKeyRecord,
    /// What the machine presents: `apikey_tenant_secret`.
    pub secret: Zeroizing<String>,
}

impl std::fmt::Debug for IssuedApiKey {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("IssuedApiKey").field("id", &self.record.id).finish_non_exhaustive()
    }
}

/// A wish that is acceptable, as it is stored.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Accepted {
    pub(super) scopes: Option<Vec<String>>,
    pub(super) networks: Vec<String>,
    pub(super) expires_at: Timestamp,
}

impl NewApiKey {
    /// Every fault at once. The role is known to exist.
    pub(super) fn accept(
        &self,
        (policies, blueprint): (&Policies, Blueprint),
        now: Timestamp,
    ) -> Result<Accepted, Vec<FieldError>> {
        let mut faults = Vec::new();
        if !NAME_LETTERS.contains(&self.name.chars().count())
            || self.name.chars().any(char::is_control)
        {
            faults.push(fault("name", "Expected 1 to 100 characters, none of control"));
        }
        let scopes = self.scopes.as_deref().map(|wanted| {
            let mut scopes: Vec<String> = wanted.to_vec();
            scopes.sort_unstable();
            scopes.dedup();
            scopes
        });
        let of_role = |scope: &String| {
            scope.parse::<Permission>().is_ok_and(|permission| {
                !policies.scope(blueprint, &[&self.role], permission).is_none()
            })
        };
        if let Some(scopes) = &scopes
            && (scopes.is_empty() || scopes.len() > SCOPES_MAX || !scopes.iter().all(of_role))
        {
            faults.push(fault("scopes", "Expected permissions of the role, one at least"));
        }
        let networks = networks(&self.networks);
        if networks.is_none() {
            faults.push(fault(
                "allowed_networks",
                "Expected at most 50 networks such as 10.0.0.0/8, without a host in them",
            ));
        }
        faults.extend(certificate_at_fault(self.certificate_thumbprint.as_deref()));
        let expires_at =
            self.expires_at.or_else(|| now.checked_add(LIFETIME_DEFAULT).ok()).unwrap_or(now);
        faults.extend(end_at_fault(expires_at, now));
        match networks {
            Some(networks) if faults.is_empty() => Ok(Accepted { scopes, networks, expires_at }),
            _ => Err(faults),
        }
    }
}

impl ApiKeyRotation {
    /// The seconds of overlap and the new end, if any; or every fault at once.
    pub(super) fn accept(
        &self,
        now: Timestamp,
    ) -> Result<(i64, Option<Timestamp>), Vec<FieldError>> {
        let overlap_s = self.overlap_s.unwrap_or(OVERLAP_DEFAULT_S);
        let mut faults = Vec::new();
        if !(0..=OVERLAP_MAX_S).contains(&overlap_s) {
            faults.push(fault("overlap_s", "Expected 0 to 86400 seconds"));
        }
        faults.extend(self.expires_at.and_then(|end| end_at_fault(end, now)));
        let certificate = self.certificate_thumbprint.value();
        faults.extend(certificate_at_fault(certificate.map(String::as_str)));
        if faults.is_empty() { Ok((overlap_s, self.expires_at)) } else { Err(faults) }
    }
}

/// SHA-256 in base64url without padding, in its one form: another would never be met.
fn certificate_at_fault(thumbprint: Option<&str>) -> Option<FieldError> {
    let is_one = |text: &str| {
        URL_SAFE_NO_PAD.decode(text).is_ok_and(|digest| digest.len() == CERTIFICATE_DIGEST_BYTES)
    };
    let message = "Expected the SHA-256 of a certificate in base64url (x5t#S256)";
    thumbprint.filter(|text| !is_one(text)).map(|_| fault("certificate_thumbprint", message))
}

fn end_at_fault(expires_at: Timestamp, now: Timestamp) -> Option<FieldError> {
    let lifetime = expires_at.duration_since(now);
    let is_fine = (LIFETIME_MIN..=LIFETIME_MAX).contains(&lifetime);
    (!is_fine).then(|| fault("expires_at", "Expected a minute to 366 days from now"))
}

fn networks(wanted: &[String]) -> Option<Vec<String>> {
    if wanted.len() > NETWORKS_MAX {
        return None;
    }
    let parsed = wanted.iter().map(|text| {
        let network: Network = text.parse().ok()?;
        network.is_bare().then(|| network.to_string())
    });
    parsed.collect()
}

fn fault(field: &'static str, message: &str) -> FieldError {
    FieldError {
        field: Cow::Borrowed(field),
        code: Cow::Borrowed("validation_failed"),
        message: message.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn texts(list: &[&str]) -> Vec<String> {
        list.iter().map(|&text| text.to_owned()).collect()
    }

    #[test]
    fn every_fault_of_a_wish_is_named() {
        let policies = Policies::load().unwrap();
        let now = Timestamp::UNIX_EPOCH;
        let later = |seconds| Some(now + SignedDuration::from_secs(seconds));
        let good = NewApiKey {
            name: "payroll".to_owned(),
            role: "officer".to_owned(),
            scopes: Some(texts(&["account:read", "account:read"])),
            networks: texts(&["10.0.0.0/8", "2001:db8::/32", "192.0.2.7"]),
            expires_at: None,
            certificate_thumbprint: Some("bwcK0esc3ACC3DB2Y5_lESsXE8o9ltc05O89jdN-dg0".to_owned()),
        };
        let with = |change: fn(&mut NewApiKey)| {
            let mut wish = good.clone();
            change(&mut wish);
            wish
        };
        // wish, fields at fault
        let table: [(NewApiKey, &[&str]); 18] = [
            (good.clone(), &[]),
            (with(|wish| wish.scopes = None), &[]),
            (with(|wish| wish.name = String::new()), &["name"]),
            (with(|wish| wish.name = "é".repeat(101)), &["name"]),
            (with(|wish| wish.name = "a\u{7}".to_owned()), &["name"]),
            (with(|wish| wish.scopes = Some(Vec::new())), &["scopes"]),
            (with(|wish| wish.scopes = Some(vec!["account:nothing".to_owned()])), &["scopes"]),
            // Of another role, and nobody's to give.
            (with(|wish| wish.scopes = Some(vec!["key:revoke".to_owned()])), &["scopes"]),
            (with(|wish| wish.networks = vec!["10.0.0.1/8".to_owned()]), &["allowed_networks"]),
            (with(|wish| wish.networks = vec!["everywhere".to_owned()]), &["allowed_networks"]),
            (with(|wish| wish.networks = vec!["10.0.0.0/8".to_owned(); 51]), &["allowed_networks"]),
            (
                with(|wish| wish.certificate_thumbprint = Some("00:11".to_owned())),
                &["certificate_thumbprint"],
            ),
            // Two bits too many: another way to write the same, which would never be met.
            (
                with(|wish| {
                    let text = "bwcK0esc3ACC3DB2Y5_lESsXE8o9ltc05O89jdN-dg1";
                    wish.certificate_thumbprint = Some(text.to_owned());
                }),
                &["certificate_thumbprint"],
            ),
            (NewApiKey { expires_at: later(59), ..good.clone() }, &["expires_at"]),
            (NewApiKey { expires_at: later(60), ..good.clone() }, &[]),
            (NewApiKey { expires_at: later(366 * 86_400), ..good.clone() }, &[]),
            (NewApiKey { expires_at: later(366 * 86_400 + 1), ..good.clone() }, &["expires_at"]),
            (
                NewApiKey {
                    name: String::new(),
                    scopes: Some(Vec::new()),
                    expires_at: later(-1),
                    ..good.clone()
                },
                &["name", "scopes", "expires_at"],
            ),
        ];
        for (wish, expected) in table {
            let outcome = wish.accept((&policies, Blueprint::CoreBank), now);
            let faults = outcome.as_ref().err().map(Vec::as_slice).unwrap_or_default();
            let fields: Vec<&str> = faults.iter().map(|fault| fault.field.as_ref()).collect();
            assert_eq!(fields, expected, "{wish:?}");
        }
        let accepted = good.accept((&policies, Blueprint::CoreBank), now).unwrap();
        assert_eq!(accepted.scopes, Some(texts(&["account:read"])));
        assert_eq!(accepted.networks, ["10.0.0.0/8", "2001:db8::/32", "192.0.2.7/32"]);
        assert_eq!(accepted.expires_at, now + SignedDuration::from_hours(24 * 90));
    }

    #[test]
    fn an_overlap_is_bounded() {
        let now = Timestamp::UNIX_EPOCH;
        let rotation = |overlap_s| ApiKeyRotation { overlap_s, ..ApiKeyRotation::default() };
        assert_eq!(rotation(None).accept(now).unwrap(), (3_600, None));
        for (overlap_s, fine) in [(0, true), (86_400, true), (86_401, false), (-1, false)] {
            assert_eq!(rotation(Some(overlap_s)).accept(now).is_ok(), fine, "{overlap_s}");
        }
    }
}
