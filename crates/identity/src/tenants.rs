//! Making a tenant: directory entry, policy, keys, roles, in one operation.
//!
//! Refuses to know who may: the system itself does it, and the platform's operators
//! through it.

use access::Permission;
use audit::EventType;
use operation::{Applied, Call, Command, Failure, OperationError, Refusal, RefusalKind, event};
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::sync::Arc;
use tenancy::{
    ActorKind, Blueprint, DbError, OpContext, Query, TenantId, TenantRef, TenantTx,
    policy::{PolicyOverrides, SecurityPolicy},
};
use tokio_postgres::types::ToSql;
use uuid::Uuid;

use crate::{
    Identity,
    context::key_failure,
    login::PLATFORM,
    signing::{self, MadeKey},
};

const INSERT_TENANT: &str = tenancy::sql!("tenancy/directory.sql", "insert_tenant");
const INSERT_POLICY: &str = tenancy::sql!("tenancy/directory.sql", "insert_policy");
const INSERT_ROLES: &str = tenancy::sql!("identity/tenants.sql", "insert_roles");

/// A tenant to be made.
#[derive(Clone, Debug)]
pub struct NewTenant {
    /// 3 to 63 of `a-z 0-9 -`, for good.
    pub slug: String,
    /// For people, 1 to 200 characters.
    pub name: String,
    /// What it is made from.
    pub blueprint: Blueprint,
    /// IANA zone of its business dates.
    pub time_zone: String,
    /// The environment's values in the place of the blueprint's.
    pub overrides: PolicyOverrides,
}

/// A tenant that was made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TenantRecord {
    /// Its id.
    pub id: Uuid,
    /// Its immutable name.
    pub slug: String,
    /// For people.
    pub name: String,
    /// What it was made from.
    pub blueprint: Blueprint,
}

impl Identity {
    /// Makes a tenant, as the operator at the command line. Refused with
    /// `validation_failed`, `slug_reserved` or `slug_taken` (409).
    pub async fn create_tenant(&self, tenant: NewTenant) -> Result<TenantRecord, OperationError> {
        check(&tenant)?;
        let id = self.inner.clock.new_id();
        let policy = SecurityPolicy::of(tenant.blueprint).with(&tenant.overrides);
        let signing_key = self.make_signing_key(id, policy.token.algorithm).await?;
        let reference = TenantRef {
            id: TenantId(id),
            slug: tenant.slug.clone(),
            blueprint: tenant.blueprint,
            modules: tenant.blueprint.modules().iter().map(|&module| module.to_owned()).collect(),
            time_zone: tenant.time_zone.clone(),
        };
        let context =
            OpContext::system(Arc::new(reference), ActorKind::Cli, self.inner.clock.clone());
        let command = CreateTenant { identity: self.clone(), tenant, policy, signing_key };
        let reply =
            self.inner.operations.run_one(Call { context, idempotency_key: None, command }).await?;
        self.inner.directory.refresh();
        Ok(reply.output)
    }

    /// Makes the reserved tenant of the installation's operators, unless it exists.
    pub async fn ensure_platform(&self) -> Result<(), OperationError> {
        if self.inner.directory.by_slug(PLATFORM).await?.is_some() {
            return Ok(());
        }
        let platform = NewTenant {
            slug: PLATFORM.to_owned(),
            name: "Platform".to_owned(),
            blueprint: Blueprint::Platform,
            time_zone: "UTC".to_owned(),
            overrides: PolicyOverrides::default(),
        };
        match self.create_tenant(platform).await {
            // Another node was faster.
            Err(OperationError::Refused(refusal)) if refusal.code == "slug_taken" => Ok(()),
            outcome => outcome.map(drop),
        }
    }
}

fn check(tenant: &NewTenant) -> Result<(), Refusal> {
    let inner_is_fine = |slug: &str| {
        slug.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
    };
    let slug = tenant.slug.as_str();
    let is_slug = (3..=63).contains(&slug.len())
        && inner_is_fine(slug)
        && slug.starts_with(|first: char| first.is_ascii_lowercase())
        && !slug.ends_with('-');
    if !is_slug {
        return Err(Refusal::rule(
            "validation_failed",
            "slug",
            "3 to 63 of a-z, 0-9 and -, beginning with a letter",
        ));
    }
    if (slug == PLATFORM) != (tenant.blueprint == Blueprint::Platform) {
        return Err(Refusal::rule(
            "slug_reserved",
            "slug",
            "This name and blueprint belong to the platform's tenant",
        ));
    }
    if !(1..=200).contains(&tenant.name.chars().count()) {
        return Err(Refusal::rule("validation_failed", "name", "1 to 200 characters are possible"));
    }
    if jiff::tz::TimeZone::get(&tenant.time_zone).is_err() {
        return Err(Refusal::rule("validation_failed", "time_zone", "Not an IANA time zone"));
    }
    Ok(())
}

struct CreateTenant {
    identity: Identity,
    tenant: NewTenant,
    policy: SecurityPolicy,
    signing_key: MadeKey,
}

impl Command for CreateTenant {
    const NAME: &'static str = "tenant.create";
    const RESOURCE: &'static str = "tenant";
    type Output = TenantRecord;

    fn permission(&self) -> Permission {
        Permission::TenantCreate
    }

    async fn execute(
        &self,
        transaction: &TenantTx,
        context: &OpContext,
    ) -> Result<Applied<TenantRecord>, Failure> {
        self.insert(transaction, context).await?;
        let keys = self
            .identity
            .inner
            .keyring
            .create_tenant_keys(transaction)
            .await
            .map_err(key_failure)?;
        audit::keys::create(transaction, keys.kek()).await?;
        let lifetime_s = self.policy.token.access_lifetime_s;
        signing::store(transaction, &keys, &self.signing_key, lifetime_s).await?;
        let output = TenantRecord {
            id: context.tenant_id(),
            slug: self.tenant.slug.clone(),
            name: self.tenant.name.clone(),
            blueprint: self.tenant.blueprint,
        };
        let event = event(context, EventType::AdminAction, Self::NAME, Self::RESOURCE)
            .resource_id(output.id)
            .new_values(json!({ "slug": output.slug, "blueprint": output.blueprint.as_str() }));
        Ok(Applied { output, status: 201, events: vec![event] })
    }
}

impl CreateTenant {
    async fn insert(&self, transaction: &TenantTx, context: &OpContext) -> Result<(), Failure> {
        let (id, tenant) = (context.tenant_id(), &self.tenant);
        let policy = serde_json::to_value(&self.policy)
            .map_err(|error| DbError::Corrupt(error.to_string()))?;
        let blueprint = tenant.blueprint.as_str();
        let directory: [&(dyn ToSql + Sync); 6] = [
            &id,
            &tenant.slug,
            &tenant.name,
            &blueprint,
            &context.tenant.modules,
            &tenant.time_zone,
        ];
        let roles = tenant.blueprint.roles();
        let written = transaction
            .pipeline(&[
                Query::new(INSERT_TENANT, &directory),
                Query::new(INSERT_POLICY, &[&id, &policy]),
                Query::new(INSERT_ROLES, &[&id, &roles]),
            ])
            .await;
        written.map(drop).map_err(|error| match error.constraint() {
            Some("tenants_slug_key") => {
                Refusal::new(RefusalKind::Conflict, "slug_taken", "A tenant of this slug exists")
                    .into()
            }
            _ => Failure::Database(error),
        })
    }
}
