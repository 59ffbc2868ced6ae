//! The keys that sign a tenant's access tokens: made, stored wrapped, opened,
//! published.
//!
//! Refuses to know what is inside a token, and when a key changes its state (that is
//! `signing_keys`').

use std::sync::Arc;

use operation::{OperationError, Refusal};
use serde_json::{Value, json};
use tenancy::{
    ActorKind, DbError, OpContext, TenantRef, TenantTx, keyring::TenantKeys, policy::JwtAlgorithm,
};
use tokio_postgres::Row;
use uuid::Uuid;
use vault::{
    KeyContext, KeyId, Purpose, SecretBytes, TenantKey as _, WrappedKey, WrappingKey as _,
    signing::{Algorithm, SigningKey, Verifier},
};

use crate::{
    Identity,
    context::{key_failure, signing_failure},
};

const CREATE: &str = tenancy::sql!("identity/keys.sql", "create");
const PUBLISH: &str = tenancy::sql!("identity/keys.sql", "publish");
const NEXT_EPOCH: &str = tenancy::sql!("identity/keys.sql", "next_epoch");

/// The keys of a tenant that are not retired.
pub(crate) struct KeySet {
    /// What it was built from; rebuilt only where this changes.
    made_of: Vec<(Uuid, String)>,
    signer: SigningKey,
    verifier: Verifier,
    /// The keys of the verifier, by `kid`.
    verifying: Vec<Uuid>,
    algorithms: Vec<&'static str>,
    jwks: Value,
}

impl KeySet {
    /// The key that signs now.
    pub(crate) fn signer(&self) -> &SigningKey {
        &self.signer
    }

    /// The keys that verify now.
    pub(crate) fn verifier(&self) -> &Verifier {
        &self.verifier
    }

    /// Whether tokens of this key are still accepted.
    pub(crate) fn verifies(&self, key: Uuid) -> bool {
        self.verifying.contains(&key)
    }
}

/// A signing key before it is stored.
#[derive(Clone)]
pub(crate) struct MadeKey {
    id: KeyId,
    key: Arc<SigningKey>,
    derived: bool,
}

impl MadeKey {
    /// Its `kid`.
    pub(crate) fn id(&self) -> Uuid {
        self.id.0
    }

    /// How it signs.
    pub(crate) fn algorithm(&self) -> Algorithm {
        self.key.algorithm()
    }
}

impl Identity {
    /// Makes a signing key; RSA takes a while, so it runs off the request path.
    pub(crate) async fn make_signing_key(
        &self,
        tenant: Uuid,
        algorithm: JwtAlgorithm,
    ) -> Result<MadeKey, DbError> {
        let id = KeyId(self.inner.clock.new_id());
        let kid = id.to_string();
        if let (JwtAlgorithm::HS256, Some(secret)) = (algorithm, &self.inner.config.jwt_secret) {
            let key =
                SigningKey::derive_hs256(secret.expose(), tenant, &kid).map_err(signing_failure)?;
            return Ok(MadeKey { id, key: Arc::new(key), derived: true });
        }
        let generate = move || SigningKey::generate(algorithm_of(algorithm), &kid);
        let key = tokio::task::spawn_blocking(generate)
            .await
            .map_err(|_| DbError::Corrupt("a signing key could not be made".to_owned()))?
            .map_err(signing_failure)?;
        Ok(MadeKey { id, key: Arc::new(key), derived: false })
    }

    pub(crate) fn key_set(
        &self,
        context: &OpContext,
        keys: &TenantKeys,
        rows: &[Row],
    ) -> Result<Arc<KeySet>, DbError> {
        let tenant = context.tenant_id();
        let made_of = rows
            .iter()
            .map(|row| Ok((row.try_get("key_id")?, row.try_get("status")?)))
            .collect::<Result<Vec<(Uuid, String)>, DbError>>()?;
        if let Ok(known) = self.inner.key_sets.read()
            && let Some(set) = known.get(&tenant)
            && set.made_of == made_of
        {
            return Ok(Arc::clone(set));
        }
        let set = Arc::new(self.open_key_set(tenant, keys, rows, made_of)?);
        if let Ok(mut known) = self.inner.key_sets.write() {
            known.insert(tenant, Arc::clone(&set));
        }
        Ok(set)
    }

    fn open_key_set(
        &self,
        tenant: Uuid,
        keys: &TenantKeys,
        rows: &[Row],
        made_of: Vec<(Uuid, String)>,
    ) -> Result<KeySet, DbError> {
        let mut signer = None;
        let (mut verifying, mut verifying_keys) = (Vec::new(), Vec::new());
        let mut published = Vec::new();
        let mut algorithms = Vec::new();
        for (row, (id, status)) in rows.iter().zip(&made_of) {
            let key = self.open_key(tenant, keys, row)?;
            if let Some(jwk) = key.public_jwk() {
                published.push(jwk);
                algorithms.push(key.algorithm().as_str());
            }
            if status != "pre_published" {
                verifying.push(*id);
                verifying_keys.push(key.verifying_key());
            }
            if status == "active" {
                signer = Some(key);
            }
        }
        algorithms.dedup();
        Ok(KeySet {
            made_of,
            signer: signer.ok_or_else(|| {
                DbError::Corrupt("the tenant has no active signing key".to_owned())
            })?,
            verifier: Verifier::new(verifying_keys).map_err(signing_failure)?,
            verifying,
            algorithms,
            jwks: json!({ "keys": published }),
        })
    }

    fn open_key(&self, tenant: Uuid, keys: &TenantKeys, row: &Row) -> Result<SigningKey, DbError> {
        let id = KeyId(row.try_get("key_id")?);
        let algorithm: String = row.try_get("algorithm")?;
        let corrupt = |what: &str| DbError::Corrupt(format!("signing key {id}: {what}"));
        let algorithm = Algorithm::parse(&algorithm).ok_or_else(|| corrupt("unknown algorithm"))?;
        let kid = id.to_string();
        let Some(wrapped) = row.try_get::<_, Option<Vec<u8>>>("wrapped_key")? else {
            let secret = (self.inner.config.jwt_secret.as_ref())
                .ok_or_else(|| corrupt("derived from JWT_SECRET_KEY, which is not set"))?;
            return SigningKey::derive_hs256(secret.expose(), tenant, &kid)
                .map_err(signing_failure);
        };
        let epoch: i32 = row.try_get("epoch")?;
        let context = key_context(tenant, id, u32::try_from(epoch).map_err(|_| corrupt("epoch"))?);
        let wrapped =
            WrappedKey::from_bytes(wrapped).map_err(|error| corrupt(&error.to_string()))?;
        let kek = keys.kek_of(row.try_get("kek_epoch")?).map_err(key_failure)?;
        let secret: SecretBytes =
            kek.unwrap(&context, &wrapped).map_err(|error| corrupt(&error.to_string()))?;
        SigningKey::from_private_bytes(algorithm, &kid, secret).map_err(signing_failure)
    }

    /// The tenant's public keys as a JWK set (RFC 7517 section 5); empty for HS256.
    pub async fn jwks(&self, slug: &str) -> Result<Value, OperationError> {
        let (_, context) = self.published_tenant(slug).await?;
        Ok(self.state(&context).await?.signing.jwks.clone())
    }

    /// The discovery document of a tenant (RFC 8414): who issues its tokens, where the
    /// keys are, how they sign and where a machine asks about one. There is no authorization
    /// endpoint and no OAuth token endpoint, so none is named.
    pub async fn openid_configuration(&self, slug: &str) -> Result<Value, OperationError> {
        let (tenant, context) = self.published_tenant(slug).await?;
        let state = self.state(&context).await?;
        let url = self.tenant_url(&tenant);
        let algorithms = match state.signing.algorithms.as_slice() {
            [] => vec!["HS256"],
            asymmetric => asymmetric.to_vec(),
        };
        let public = self.inner.config.public_url.trim_end_matches('/');
        Ok(json!({
            "issuer": self.issuer(&tenant, &state.policy),
            "jwks_uri": format!("{url}/.well-known/jwks.json"),
            "introspection_endpoint": format!("{public}/v1/auth/introspect"),
            "introspection_endpoint_auth_methods_supported": ["Bearer"],
            "id_token_signing_alg_values_supported": algorithms,
            "response_types_supported": [],
            "subject_types_supported": ["public"],
            "claims_supported":
                ["iss", "sub", "aud", "iat", "nbf", "exp", "jti", "sid", "tenant", "role", "scope"],
        }))
    }

    async fn published_tenant(
        &self,
        slug: &str,
    ) -> Result<(Arc<TenantRef>, OpContext), OperationError> {
        let tenant = self.inner.directory.by_slug(slug).await?.ok_or_else(Refusal::not_found)?;
        let context =
            OpContext::system(Arc::clone(&tenant), ActorKind::Anonymous, self.inner.clock.clone());
        Ok((tenant, context))
    }
}

/// Stores a tenant's first signing key as the active one.
pub(crate) async fn store(
    transaction: &TenantTx,
    keys: &TenantKeys,
    made: &MadeKey,
    lifetime_s: i64,
) -> Result<(), DbError> {
    insert(transaction, (CREATE, FIRST_EPOCH), keys, made, lifetime_s).await
}

/// Stores a tenant's next signing key: published, and not signing yet. The caller holds
/// the lock on the tenant's keys.
pub(crate) async fn publish(
    transaction: &TenantTx,
    keys: &TenantKeys,
    made: &MadeKey,
    lifetime_s: i64,
) -> Result<(), DbError> {
    let row = transaction.query_opt(NEXT_EPOCH, &[&transaction.tenant()]).await?;
    let row = row.ok_or_else(|| DbError::Corrupt("there is no next epoch".to_owned()))?;
    let epoch: i32 = row.try_get("epoch")?;
    let epoch = u32::try_from(epoch).map_err(|error| DbError::Corrupt(error.to_string()))?;
    insert(transaction, (PUBLISH, epoch), keys, made, lifetime_s).await
}

async fn insert(
    transaction: &TenantTx,
    (statement, epoch): (&'static str, u32),
    keys: &TenantKeys,
    made: &MadeKey,
    lifetime_s: i64,
) -> Result<(), DbError> {
    let tenant = transaction.tenant();
    let corrupt = |error: &dyn std::fmt::Display| DbError::Corrupt(error.to_string());
    let wrapped = (!made.derived)
        .then(|| keys.kek().wrap(&key_context(tenant, made.id, epoch), made.key.private_bytes()))
        .transpose()
        .map_err(|error| corrupt(&error))?
        .map(WrappedKey::into_bytes);
    let epoch = i32::try_from(epoch).map_err(|error| corrupt(&error))?;
    let algorithm = made.algorithm().as_str();
    let kek_epoch = i32::try_from(keys.kek().context().epoch).map_err(|error| corrupt(&error))?;
    let parameters: [&(dyn tokio_postgres::types::ToSql + Sync); 8] =
        [&tenant, &made.id.0, &algorithm, &epoch, &made.derived, &wrapped, &lifetime_s, &kek_epoch];
    transaction.execute(statement, &parameters).await?;
    Ok(())
}

const FIRST_EPOCH: u32 = 1;

fn key_context(tenant: Uuid, key: KeyId, epoch: u32) -> KeyContext {
    KeyContext { tenant, purpose: Purpose::TokenSigning, key, epoch }
}

pub(crate) fn algorithm_of(algorithm: JwtAlgorithm) -> Algorithm {
    match algorithm {
        JwtAlgorithm::HS256 => Algorithm::HS256,
        JwtAlgorithm::RS256 => Algorithm::RS256,
        JwtAlgorithm::ES256 => Algorithm::ES256,
        JwtAlgorithm::EdDSA => Algorithm::EdDSA,
    }
}
