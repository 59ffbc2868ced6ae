//! The shapes of published documents, for the OpenAPI document only: their
//! contents come from identity.

use serde::Serialize;
use serde_json::{Value, json};
use utoipa::ToSchema;

use crate::openapi_parts::Example;

/// A JSON Web Key Set (RFC 7517 section 5).
#[derive(Serialize, ToSchema)]
pub(crate) struct Jwks {
    /// Public keys with `kid`, `kty`, `alg` and `use`.
    #[schema(value_type = Vec<Object>)]
    keys: Vec<Value>,
}

impl Example for Jwks {
    fn example() -> Self {
        let key = json!({
            "kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo",
            "kid": "0192e4c8", "use": "sig", "alg": "EdDSA",
        });
        Self { keys: vec![key] }
    }
}

/// A discovery document; further members may be present.
#[derive(Serialize, ToSchema)]
pub(crate) struct OpenIdConfiguration {
    /// `iss` of the tenant's tokens.
    issuer: String,
    /// Where the keys are.
    jwks_uri: String,
    /// Where a machine asks whether a token is good (RFC 7662).
    introspection_endpoint: String,
    /// How it says who it is there: with an API key as the bearer token.
    introspection_endpoint_auth_methods_supported: Vec<String>,
    /// How tokens are signed.
    id_token_signing_alg_values_supported: Vec<String>,
}

impl Example for OpenIdConfiguration {
    fn example() -> Self {
        let bank = "https://bank.example/t/dwaybank";
        Self {
            issuer: bank.to_owned(),
            jwks_uri: format!("{bank}/.well-known/jwks.json"),
            introspection_endpoint: "https://bank.example/v1/auth/introspect".to_owned(),
            introspection_endpoint_auth_methods_supported: vec!["Bearer".to_owned()],
            id_token_signing_alg_values_supported: vec!["RS256".to_owned()],
        }
    }
}

/// An OpenAPI document.
#[derive(Serialize, ToSchema)]
pub(crate) struct OpenApiDocument {
    /// The version of the specification.
    openapi: String,
    /// Title and version.
    #[schema(value_type = Object)]
    info: Value,
    /// The routes.
    #[schema(value_type = Object)]
    paths: Value,
}

impl Example for OpenApiDocument {
    fn example() -> Self {
        Self {
            openapi: "3.1.0".to_owned(),
            info: json!({ "title": "Strongroom", "version": "1" }),
            paths: json!({}),
        }
    }
}
