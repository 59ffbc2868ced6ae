//! The commands on one API key.

use access::{Permission, Resource};
use audit::EventType;
use jiff::Timestamp;
use operation::{Applied, Command, Failure, Refusal, RefusalKind, Target, event};
use serde_json::{Value, json};
use tenancy::{DbError, OpContext, Query, TenantTx};
use tokio_postgres::types::ToSql;
use uuid::Uuid;

use super::{ApiKeyRecord, ApiKeyRotation, NewApiKey, ONE, no_machine};
use crate::{Identity, claims::token_revoked, version};

const CREATE: &str = tenancy::sql!("identity/api_keys.sql", "create");
const LOCK_MAKER: &str = tenancy::sql!("identity/api_keys.sql", "lock_maker");
const ROLES_OF_MAKER: &str = tenancy::sql!("identity/api_keys.sql", "roles_of_maker");
const LOCK: &str = tenancy::sql!("identity/api_keys.sql", "lock");
const ROTATE: &str = tenancy::sql!("identity/api_keys.sql", "rotate");
const REVOKE: &str = tenancy::sql!("identity/api_keys.sql", "revoke");

/// Of a `version_conflict`.
const CHANGED: &str = "The key was changed since it was read";

/// A key as policy sees it: nobody's own.
pub(super) fn resource(key: Uuid) -> Resource<'static> {
    Resource::for_permission(Permission::KeyRead, Some(key))
}

async fn stored(transaction: &TenantTx, key: Uuid) -> Result<ApiKeyRecord, Failure> {
    let row = transaction.query_opt(ONE, &[&transaction.tenant(), &key]).await?;
    Ok(ApiKeyRecord::read(&row.ok_or_else(Refusal::not_found)?)?)
}

async fn target(transaction: &TenantTx, key: Uuid) -> Result<Target, DbError> {
    let row = transaction.query_opt(ONE, &[&transaction.tenant(), &key]).await?;
    let object = || Target::Object {
        resource: resource(key),
        read_permission: Permission::KeyRead,
        field: None,
    };
    Ok(row.map_or(Target::Missing { field: None }, |_| object()))
}

/// Whoever answers for a key still holds what they were let in with: a demotion that is under
/// way is waited for, because afterwards it would end this key and cannot see it now.
async fn still_holds_roles(transaction: &TenantTx, context: &OpContext) -> Result<(), Failure> {
    let actor = &context.actor;
    if actor.is_system() {
        return Ok(());
    }
    let tenant = context.tenant_id();
    let parameters: [&(dyn ToSql + Sync); 2] = [&tenant, &actor.id];
    let answers = transaction
        .pipeline(&[Query::new(LOCK_MAKER, &parameters), Query::new(ROLES_OF_MAKER, &parameters)])
        .await?;
    let rows = answers.last().map_or(&[][..], Vec::as_slice);
    let held = rows.iter().map(|row| row.try_get("role")).collect::<Result<Vec<String>, _>>();
    if *held.map_err(DbError::from)? == *actor.roles {
        return Ok(());
    }
    Err(token_revoked().into())
}

/// Makes one.
pub(super) struct CreateApiKey {
    pub(super) identity: Identity,
    pub(super) id: Uuid,
    pub(super) new: NewApiKey,
    pub(super) hash: [u8; 32],
    pub(super) hint: String,
}

impl Command for CreateApiKey {
    const NAME: &'static str = "api_key.create";
    const RESOURCE: &'static str = "api_key";
    type Output = ApiKeyRecord;

    fn permission(&self) -> Permission {
        Permission::KeyCreate
    }

    /// What was wished for: the secret is another one at every try.
    fn fingerprint(&self) -> Value {
        let NewApiKey { name, role, scopes, networks, expires_at, certificate_thumbprint } =
            &self.new;
        json!({
            "name": name, "role": role, "scopes": scopes, "networks": networks,
            "expires_at": expires_at, "certificate_thumbprint": certificate_thumbprint,
        })
    }

    async fn execute(
        &self,
        transaction: &TenantTx,
        context: &OpContext,
    ) -> Result<Applied<ApiKeyRecord>, Failure> {
        no_machine(context)?;
        still_holds_roles(transaction, context).await?;
        self.identity.check_grant(context, &self.new.role)?;
        let policies = self.identity.inner.operations.policies();
        let accepted = self
            .new
            .accept((policies, context.tenant.blueprint), context.clock.now())
            .map_err(Refusal::validation)?;
        let (tenant, hash) = (context.tenant_id(), self.hash.as_slice());
        let created_by = (!context.actor.is_system()).then_some(context.actor.id);
        let parameters: [&(dyn ToSql + Sync); 11] = [
            &tenant,
            &self.id,
            &self.new.name,
            &self.hint,
            &hash,
            &self.new.role,
            &accepted.scopes,
            &accepted.networks,
            &created_by,
            &accepted.expires_at,
            &self.new.certificate_thumbprint,
        ];
        transaction.execute(CREATE, &parameters).await?;
        let output = stored(transaction, self.id).await?;
        let event = event(context, EventType::CredentialChange, Self::NAME, Self::RESOURCE)
            .resource_id(self.id)
            .new_values(json!({
                "role": output.role, "scopes": output.scopes, "networks": output.networks,
                "expires_at": output.expires_at,
                "certificate_thumbprint": output.certificate_thumbprint,
            }))
            .at_version(output.version);
        Ok(Applied { output, status: 201, events: vec![event] })
    }
}

/// Gives one a new secret.
pub(super) struct RotateApiKey {
    pub(super) identity: Identity,
    pub(super) key: Uuid,
    pub(super) expected_version: Option<i64>,
    pub(super) rotation: ApiKeyRotation,
    pub(super) hash: [u8; 32],
    pub(super) hint: String,
}

impl Command for RotateApiKey {
    const NAME: &'static str = "api_key.rotate";
    const RESOURCE: &'static str = "api_key";
    type Output = ApiKeyRecord;

    fn permission(&self) -> Permission {
        Permission::KeyRotate
    }

    fn fingerprint(&self) -> Value {
        let ApiKeyRotation { overlap_s, expires_at, certificate_thumbprint } = &self.rotation;
        json!({
            "key": self.key, "expected_version": self.expected_version, "overlap_s": overlap_s,
            "expires_at": expires_at, "is_bound_anew": certificate_thumbprint.is_set(),
            "certificate_thumbprint": certificate_thumbprint.value(),
        })
    }

    async fn target(&self, transaction: &TenantTx, _: &OpContext) -> Result<Target, DbError> {
        target(transaction, self.key).await
    }

    async fn execute(
        &self,
        transaction: &TenantTx,
        context: &OpContext,
    ) -> Result<Applied<ApiKeyRecord>, Failure> {
        no_machine(context)?;
        still_holds_roles(transaction, context).await?;
        let tenant = context.tenant_id();
        let row = transaction.query_opt(LOCK, &[&tenant, &self.key]).await?;
        version::check(row.as_ref(), self.expected_version, CHANGED)?;
        let row = row.ok_or_else(Refusal::not_found)?;
        let role: String = row.try_get("role").map_err(DbError::from)?;
        // Whoever rotates holds the secret: it may be no more than they are.
        self.identity.check_grant(context, &role)?;
        let now = context.clock.now();
        let revoked_at: Option<Timestamp> = row.try_get("revoked_at").map_err(DbError::from)?;
        let expires_at: Timestamp = row.try_get("expires_at").map_err(DbError::from)?;
        if revoked_at.is_some() || expires_at <= now {
            let detail = "The key is over; make another";
            return Err(Refusal::new(RefusalKind::Conflict, "api_key_over", detail).into());
        }
        let (overlap_s, new_end) = self.rotation.accept(now).map_err(Refusal::validation)?;
        let hash = self.hash.as_slice();
        let rotated_by = (!context.actor.is_system()).then_some(context.actor.id);
        let wished = &self.rotation.certificate_thumbprint;
        let (is_bound_anew, certificate) = (wished.is_set(), wished.value());
        let parameters: [&(dyn ToSql + Sync); 9] = [
            &tenant,
            &self.key,
            &hash,
            &self.hint,
            &new_end,
            &overlap_s,
            &rotated_by,
            &is_bound_anew,
            &certificate,
        ];
        transaction.execute(ROTATE, &parameters).await?;
        let output = stored(transaction, self.key).await?;
        let event = event(context, EventType::CredentialChange, Self::NAME, Self::RESOURCE)
            .resource_id(self.key)
            .new_values(json!({
                "previous_until": output.previous_until, "expires_at": output.expires_at,
                "certificate_thumbprint": output.certificate_thumbprint,
            }))
            .at_version(output.version);
        Ok(Applied { output, status: 200, events: vec![event] })
    }
}

/// Ends one.
pub(super) struct RevokeApiKey {
    pub(super) key: Uuid,
    pub(super) expected_version: Option<i64>,
}

impl Command for RevokeApiKey {
    const NAME: &'static str = "api_key.revoke";
    const RESOURCE: &'static str = "api_key";
    type Output = ();

    fn permission(&self) -> Permission {
        Permission::KeyRevoke
    }

    async fn target(&self, transaction: &TenantTx, _: &OpContext) -> Result<Target, DbError> {
        target(transaction, self.key).await
    }

    async fn execute(
        &self,
        transaction: &TenantTx,
        context: &OpContext,
    ) -> Result<Applied<()>, Failure> {
        no_machine(context)?;
        let tenant = context.tenant_id();
        let row = transaction.query_opt(LOCK, &[&tenant, &self.key]).await?;
        version::check(row.as_ref(), self.expected_version, CHANGED)?;
        let ended = transaction.query_opt(REVOKE, &[&tenant, &self.key]).await?;
        let mut event = event(context, EventType::CredentialChange, Self::NAME, Self::RESOURCE)
            .resource_id(self.key)
            .details(json!({ "ended": ended.is_some() }));
        if let Some(row) = ended {
            event = event.at_version(row.try_get("version").map_err(DbError::from)?);
        }
        Ok(Applied { output: (), status: 204, events: vec![event] })
    }
}
