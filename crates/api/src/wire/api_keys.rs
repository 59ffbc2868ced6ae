//! API keys on the wire.

use identity::{ApiKeyRecord, ApiKeyRotation, Change, IssuedApiKey, NewApiKey};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use super::{EXAMPLE_ID, EXAMPLE_INSTANT, OTHER_ID, instant, present};
use crate::{areas::api_keys::instant as instant_of, openapi_parts::Example, problem::Problem};

/// A machine's key, without its secret.
#[derive(Serialize, ToSchema)]
pub(crate) struct ApiKey {
    /// Its id: the actor in audit records.
    id: Uuid,
    /// For people.
    name: String,
    /// The first four characters of its secret, to know it by.
    hint: String,
    /// The role that it acts in.
    role: String,
    /// The permissions it is confined to; null: all of the role's.
    scopes: Option<Vec<String>>,
    /// The networks it may be used from; empty: any.
    allowed_networks: Vec<String>,
    /// The person who made it; null: the operator at the command line.
    created_by: Option<Uuid>,
    /// When it ends.
    expires_at: String,
    /// When it last got a new secret.
    rotated_at: Option<String>,
    /// Until when the secret before that one is good.
    previous_until: Option<String>,
    /// When it was last used, to the minute.
    last_used_at: Option<String>,
    /// When somebody ended it.
    revoked_at: Option<String>,
    /// The certificate that it is used with: its SHA-256 in base64url (`x5t#S256`, RFC 8705);
    /// null: it needs none.
    certificate_thumbprint: Option<String>,
    /// Counts changes.
    version: i64,
    /// When it was made.
    created_at: String,
    /// When it last changed.
    updated_at: String,
}

impl From<ApiKeyRecord> for ApiKey {
    fn from(key: ApiKeyRecord) -> Self {
        Self {
            id: key.id,
            name: key.name,
            hint: key.hint,
            role: key.role,
            scopes: key.scopes,
            allowed_networks: key.networks,
            created_by: key.created_by,
            expires_at: instant(key.expires_at),
            rotated_at: key.rotated_at.map(instant),
            previous_until: key.previous_until.map(instant),
            last_used_at: key.last_used_at.map(instant),
            revoked_at: key.revoked_at.map(instant),
            certificate_thumbprint: key.certificate_thumbprint,
            version: key.version,
            created_at: instant(key.created_at),
            updated_at: instant(key.updated_at),
        }
    }
}

impl Example for ApiKey {
    fn example() -> Self {
        Self {
            id: EXAMPLE_ID,
            name: "Payroll".to_owned(),
            hint: "Zk3x".to_owned(),
            role: "officer".to_owned(),
            scopes: Some(vec!["account:read".to_owned()]),
            allowed_networks: vec!["192.0.2.0/24".to_owned()],
            created_by: Some(OTHER_ID),
            expires_at: "2027-02-19T09:30:00.000000Z".to_owned(),
            rotated_at: None,
            previous_until: None,
            last_used_at: None,
            revoked_at: None,
            certificate_thumbprint: None,
            version: 1,
            created_at: EXAMPLE_INSTANT.to_owned(),
            updated_at: EXAMPLE_INSTANT.to_owned(),
        }
    }
}

/// A key with its secret, shown this once.
#[derive(Serialize, ToSchema)]
pub(crate) struct ApiKeyWithSecret {
    /// The key.
    #[serde(flatten)]
    key: ApiKey,
    /// Goes into `Authorization: Bearer`; nobody can show it again.
    secret: String,
}

impl From<IssuedApiKey> for ApiKeyWithSecret {
    fn from(issued: IssuedApiKey) -> Self {
        Self { secret: issued.secret.as_str().to_owned(), key: issued.record.into() }
    }
}

impl Example for ApiKeyWithSecret {
    fn example() -> Self {
        let secret = "apikey_0192e4c8…5a69_Zk3x…";
        Self { key: ApiKey::example(), secret: secret.to_owned() }
    }
}

/// A key to be made.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct CreateApiKey {
    /// For people, 1 to 100 characters.
    name: String,
    /// A role of the tenant, no more than your own.
    role: String,
    /// Permissions of that role; left out or null: all of them.
    #[serde(default)]
    scopes: Option<Vec<String>>,
    /// Networks such as `10.0.0.0/8`, at most 50; left out: any.
    #[serde(default)]
    allowed_networks: Vec<String>,
    /// RFC 3339; a minute to 366 days from now, 90 days where left out.
    #[serde(default)]
    expires_at: Option<String>,
    /// The SHA-256 of a client's certificate in base64url (`x5t#S256`), with which alone it may
    /// be used; left out: with any or none.
    #[serde(default)]
    certificate_thumbprint: Option<String>,
}

impl TryFrom<CreateApiKey> for NewApiKey {
    type Error = Problem;

    fn try_from(new: CreateApiKey) -> Result<Self, Problem> {
        Ok(Self {
            expires_at: instant_of("expires_at", new.expires_at.as_deref())?,
            name: new.name,
            role: new.role,
            scopes: new.scopes,
            networks: new.allowed_networks,
            certificate_thumbprint: new.certificate_thumbprint,
        })
    }
}

/// How to rotate.
#[derive(Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RotateApiKey {
    /// Seconds for which the secret before stays good: 0 to 86400, 3600 where left out.
    #[serde(default)]
    overlap_s: Option<i64>,
    /// RFC 3339; unchanged where left out.
    #[serde(default)]
    expires_at: Option<String>,
    /// Another certificate, for the secret before as well; null: none from now on; left out:
    /// unchanged.
    #[serde(default, deserialize_with = "present")]
    certificate_thumbprint: Option<Option<String>>,
}

impl TryFrom<RotateApiKey> for ApiKeyRotation {
    type Error = Problem;

    fn try_from(rotation: RotateApiKey) -> Result<Self, Problem> {
        let expires_at = instant_of("expires_at", rotation.expires_at.as_deref())?;
        let RotateApiKey { overlap_s, certificate_thumbprint, .. } = rotation;
        let certificate_thumbprint = certificate_thumbprint.map_or(Change::Keep, Change::Set);
        Ok(Self { overlap_s, expires_at, certificate_thumbprint })
    }
}
