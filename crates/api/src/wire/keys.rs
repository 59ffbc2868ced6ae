//! Signing keys and introspection on the wire.

use identity::{ActiveToken, Introspection, SigningKeyRecord};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;
use uuid::Uuid;

use super::{EXAMPLE_ID, EXAMPLE_INSTANT, OTHER_ID, instant};
use crate::openapi_parts::Example;

/// A key that signs, has signed or will sign access tokens.
#[derive(Serialize, ToSchema)]
pub(crate) struct SigningKey {
    /// The `kid` of its tokens.
    id: Uuid,
    /// `HS256`, `RS256`, `ES256` or `EdDSA`.
    algorithm: String,
    /// `pre_published`, `active`, `verify_only` or `retired`.
    status: &'static str,
    /// Counts the tenant's keys.
    epoch: i32,
    /// When it began to sign.
    activated_at: Option<String>,
    /// When its last token will have expired, once it signs no more.
    verify_until: Option<String>,
    /// When its secret was destroyed.
    retired_at: Option<String>,
    /// When somebody ended it before its time.
    revoked_at: Option<String>,
    /// When it was made and published.
    created_at: String,
}

impl From<SigningKeyRecord> for SigningKey {
    fn from(key: SigningKeyRecord) -> Self {
        Self {
            id: key.id,
            algorithm: key.algorithm,
            status: key.status.as_str(),
            epoch: key.epoch,
            activated_at: key.activated_at.map(instant),
            verify_until: key.verify_until.map(instant),
            retired_at: key.retired_at.map(instant),
            revoked_at: key.revoked_at.map(instant),
            created_at: instant(key.created_at),
        }
    }
}

impl Example for SigningKey {
    fn example() -> Self {
        Self {
            id: EXAMPLE_ID,
            algorithm: "RS256".to_owned(),
            status: "active",
            epoch: 2,
            activated_at: Some(EXAMPLE_INSTANT.to_owned()),
            verify_until: None,
            retired_at: None,
            revoked_at: None,
            created_at: EXAMPLE_INSTANT.to_owned(),
        }
    }
}

/// A token in question.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Introspect {
    /// The token.
    #[schema(format = Password)]
    pub(crate) token: String,
    /// Accepted and not needed: only access tokens are known here.
    #[serde(default, rename = "token_type_hint")]
    pub(crate) _token_type_hint: Option<String>,
}

/// What is known of it (RFC 7662 section 2.2); `active` alone where it is not good.
#[derive(Default, Serialize, ToSchema)]
pub(crate) struct IntrospectedToken {
    /// Whether it is good at this moment.
    active: bool,
    /// `Bearer`.
    #[serde(skip_serializing_if = "Option::is_none")]
    token_type: Option<&'static str>,
    /// The permissions held now, separated by spaces.
    #[serde(skip_serializing_if = "Option::is_none")]
    scope: Option<String>,
    /// The name that its owner signs in with.
    #[serde(skip_serializing_if = "Option::is_none")]
    username: Option<String>,
    /// The owner's primary role.
    #[serde(skip_serializing_if = "Option::is_none")]
    role: Option<String>,
    /// The owner.
    #[serde(skip_serializing_if = "Option::is_none")]
    sub: Option<Uuid>,
    /// The session.
    #[serde(skip_serializing_if = "Option::is_none")]
    sid: Option<Uuid>,
    /// The token's own id.
    #[serde(skip_serializing_if = "Option::is_none")]
    jti: Option<Uuid>,
    /// The tenant.
    #[serde(skip_serializing_if = "Option::is_none")]
    tenant: Option<Uuid>,
    /// Who issued it.
    #[serde(skip_serializing_if = "Option::is_none")]
    iss: Option<String>,
    /// Whom it is for: a text, or a list of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    aud: Option<Value>,
    /// When it was issued, in seconds since 1970.
    #[serde(skip_serializing_if = "Option::is_none")]
    iat: Option<i64>,
    /// From when it is good.
    #[serde(skip_serializing_if = "Option::is_none")]
    nbf: Option<i64>,
    /// Until when.
    #[serde(skip_serializing_if = "Option::is_none")]
    exp: Option<i64>,
}

impl From<Introspection> for IntrospectedToken {
    fn from(said: Introspection) -> Self {
        match said {
            Introspection::Inactive => Self::default(),
            Introspection::Active(token) => Self::from(*token),
        }
    }
}

impl From<ActiveToken> for IntrospectedToken {
    fn from(token: ActiveToken) -> Self {
        Self {
            active: true,
            token_type: Some("Bearer"),
            scope: Some(token.scope.as_ref().to_owned()),
            username: Some(token.username),
            role: Some(token.role),
            sub: Some(token.user_id),
            sid: Some(token.session_id),
            jti: Some(token.token_id),
            tenant: Some(token.tenant_id),
            iss: Some(token.issuer),
            aud: Some(token.audience),
            iat: Some(token.issued_at_s),
            nbf: Some(token.issued_at_s),
            exp: Some(token.expires_at_s),
        }
    }
}

impl Example for IntrospectedToken {
    fn example() -> Self {
        let bank = "https://bank.example/t/ultracore";
        Self::from(ActiveToken {
            issuer: bank.to_owned(),
            audience: bank.into(),
            user_id: EXAMPLE_ID,
            username: "customer".to_owned(),
            session_id: OTHER_ID,
            token_id: OTHER_ID,
            tenant_id: EXAMPLE_ID,
            role: "customer".to_owned(),
            scope: "account:read transaction:create".into(),
            issued_at_s: 1_795_253_400,
            expires_at_s: 1_795_255_200,
        })
    }
}
