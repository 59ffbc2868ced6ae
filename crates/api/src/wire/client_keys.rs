//! Keys that sign requests, on the wire.

use identity::{ClientKeyRecord, NewClientKey};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::ToSchema;
use uuid::Uuid;

use super::{EXAMPLE_ID, EXAMPLE_INSTANT, OTHER_ID, instant};
use crate::{extract::PageParameters, openapi_parts::Example};

/// A key that signs requests: its public half.
#[derive(Serialize, ToSchema)]
pub(crate) struct ClientKey {
    /// Its id: the `keyid` of its signatures.
    id: Uuid,
    /// For people.
    name: String,
    /// The person who signs with it; null: a machine does.
    user_id: Option<Uuid>,
    /// The API key of the machine that signs with it; null: a person does.
    api_key_id: Option<Uuid>,
    /// `ed25519`, `ecdsa-p256-sha256` or `rsa-pss-sha512`: its signatures have no other.
    algorithm: String,
    /// The public half, with the members that make it and no others.
    public_jwk: Value,
    /// Its SHA-256 thumbprint (RFC 7638).
    thumbprint: String,
    /// Who registered it.
    created_by: Option<Uuid>,
    /// When somebody ended it.
    revoked_at: Option<String>,
    /// Counts changes.
    version: i64,
    /// When it was registered.
    created_at: String,
    /// When it last changed.
    updated_at: String,
}

impl From<ClientKeyRecord> for ClientKey {
    fn from(key: ClientKeyRecord) -> Self {
        Self {
            id: key.id,
            name: key.name,
            user_id: key.user_id,
            api_key_id: key.api_key_id,
            algorithm: key.algorithm,
            public_jwk: key.public_jwk,
            thumbprint: key.thumbprint,
            created_by: key.created_by,
            revoked_at: key.revoked_at.map(instant),
            version: key.version,
            created_at: instant(key.created_at),
            updated_at: instant(key.updated_at),
        }
    }
}

impl Example for ClientKey {
    fn example() -> Self {
        Self {
            id: EXAMPLE_ID,
            name: "Payroll".to_owned(),
            user_id: Some(OTHER_ID),
            api_key_id: None,
            algorithm: "ed25519".to_owned(),
            public_jwk: json!({
                "crv": "Ed25519", "kty": "OKP", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo",
            }),
            thumbprint: "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k".to_owned(),
            created_by: Some(OTHER_ID),
            revoked_at: None,
            version: 1,
            created_at: EXAMPLE_INSTANT.to_owned(),
            updated_at: EXAMPLE_INSTANT.to_owned(),
        }
    }
}

/// A key to be registered.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RegisterClientKey {
    /// For people, 1 to 100 characters.
    name: String,
    /// `ed25519`, `ecdsa-p256-sha256` or `rsa-pss-sha512`.
    algorithm: String,
    /// The public half as a JWK (RFC 7517); never the private one.
    public_jwk: Value,
    /// The machine that signs with it; left out or null: you do.
    #[serde(default)]
    api_key_id: Option<Uuid>,
}

impl From<RegisterClientKey> for NewClientKey {
    fn from(new: RegisterClientKey) -> Self {
        let RegisterClientKey { name, algorithm, public_jwk, api_key_id } = new;
        Self { name, algorithm, public_jwk, api_key_id }
    }
}

/// The parameters of the list.
#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ClientKeyQuery {
    /// Of one machine alone.
    pub(crate) api_key_id: Option<Uuid>,
    #[serde(skip_serializing)]
    limit: Option<u32>,
    #[serde(skip_serializing)]
    cursor: Option<String>,
    #[serde(skip_serializing)]
    count: Option<bool>,
}

impl PageParameters for ClientKeyQuery {
    fn limit(&self) -> Option<u32> {
        self.limit
    }

    fn cursor(&self) -> Option<&str> {
        self.cursor.as_deref()
    }

    fn count(&self) -> bool {
        self.count.unwrap_or_default()
    }
}
