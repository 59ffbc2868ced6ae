//! A tenant's settings on the wire.

use serde::Serialize;
use serde_json::Value;
use tenancy::{Blueprint, TenantRef, policy::SecurityPolicy};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::openapi_parts::Example;

/// What a tenant is and which security policy it has.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Settings {
    /// The tenant's id.
    pub(crate) id: Uuid,
    /// Its slug, which never changes.
    pub(crate) tenant: String,
    /// What it was created from.
    pub(crate) blueprint: String,
    /// The modules that are on.
    pub(crate) modules: Vec<String>,
    /// IANA zone of its business dates.
    pub(crate) time_zone: String,
    /// Tokens, passwords, sessions, locks, factors and limits.
    #[schema(value_type = Object)]
    pub(crate) security_policy: Value,
}

impl Settings {
    pub(crate) fn of(tenant: &TenantRef, policy: &SecurityPolicy) -> Self {
        Self {
            id: tenant.id.0,
            tenant: tenant.slug.clone(),
            blueprint: tenant.blueprint.to_string(),
            modules: tenant.modules.clone(),
            time_zone: tenant.time_zone.clone(),
            security_policy: serde_json::to_value(policy).unwrap_or_default(),
        }
    }
}

impl Example for Settings {
    fn example() -> Self {
        let blueprint = Blueprint::CoreBank;
        let tenant = TenantRef {
            id: tenancy::TenantId(super::EXAMPLE_ID),
            slug: "ultracore".to_owned(),
            blueprint,
            modules: blueprint.modules().iter().map(|&module| module.to_owned()).collect(),
            time_zone: "Europe/Prague".to_owned(),
        };
        Self::of(&tenant, &SecurityPolicy::of(blueprint))
    }
}
