//! A tenant's settings on the wire.

use identity::PolicyChange as Stored;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tenancy::{Blueprint, TenantRef, policy::SecurityPolicy};
use utoipa::ToSchema;
use uuid::Uuid;

use super::{EXAMPLE_ID, EXAMPLE_INSTANT, OTHER_ID, instant};
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
    /// Counts the changes of the security policy; the `ETag`.
    pub(crate) policy_version: i64,
    /// Tokens, passwords, sessions, locks, factors and limits.
    #[schema(value_type = Object)]
    pub(crate) security_policy: Value,
}

impl Settings {
    pub(crate) fn of(tenant: &TenantRef, (policy, policy_version): (&SecurityPolicy, i64)) -> Self {
        Self {
            id: tenant.id.0,
            tenant: tenant.slug.clone(),
            blueprint: tenant.blueprint.to_string(),
            modules: tenant.modules.clone(),
            time_zone: tenant.time_zone.clone(),
            policy_version,
            security_policy: serde_json::to_value(policy).unwrap_or_default(),
        }
    }
}

impl Example for Settings {
    fn example() -> Self {
        let blueprint = Blueprint::CoreBank;
        let tenant = TenantRef {
            id: tenancy::TenantId(EXAMPLE_ID),
            slug: "ultracore".to_owned(),
            blueprint,
            modules: blueprint.modules().iter().map(|&module| module.to_owned()).collect(),
            time_zone: "Europe/Prague".to_owned(),
        };
        Self::of(&tenant, (&SecurityPolicy::of(blueprint), 1))
    }
}

/// A field that a change of the policy concerns.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct PolicyDifference {
    /// Its path, as in `session.concurrent_limit`.
    path: String,
    /// What it is; null where it is absent.
    #[schema(value_type = Option<Object>)]
    old: Value,
    /// What it shall be; null where it shall be absent.
    #[schema(value_type = Option<Object>)]
    new: Value,
}

/// A change of the security policy.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct PolicyChange {
    /// Its id.
    id: Uuid,
    /// `pending` may become `approved`, `rejected` or `expired`; those three are final.
    status: String,
    /// The whole policy as it shall be.
    #[schema(value_type = Object)]
    policy: Value,
    /// What it changes.
    differences: Vec<PolicyDifference>,
    /// SHA-256 over the policy and what it is bound to; what is agreed to is this.
    payload_hash: String,
    /// The version of the policy that it changes.
    base_version: i64,
    /// What its maker says to it.
    note: Option<String>,
    /// Who has asked for it; they cannot decide it.
    requested_by: Uuid,
    /// When it was asked for.
    requested_at: String,
    /// From this instant on nobody can decide it, and the status reads `expired`.
    expires_at: String,
    /// Who has decided.
    decided_by: Option<Uuid>,
    /// When it was decided.
    decided_at: Option<String>,
    /// What whoever decided says to it.
    decision_note: Option<String>,
    /// Counts its changes; its `ETag`.
    version: i64,
}

impl From<Stored> for PolicyChange {
    fn from(change: Stored) -> Self {
        let differences = change.differences.into_iter().map(|difference| PolicyDifference {
            path: difference.path,
            old: difference.old,
            new: difference.new,
        });
        Self {
            id: change.id,
            status: change.status.as_str().to_owned(),
            policy: change.policy,
            differences: differences.collect(),
            payload_hash: change.payload_hash,
            base_version: change.base_version,
            note: change.note,
            requested_by: change.requested_by,
            requested_at: instant(change.requested_at),
            expires_at: instant(change.expires_at),
            decided_by: change.decided_by,
            decided_at: change.decided_at.map(instant),
            decision_note: change.decision_note,
            version: change.version,
        }
    }
}

impl Example for PolicyChange {
    fn example() -> Self {
        let mut policy = SecurityPolicy::of(Blueprint::CoreBank);
        policy.session.concurrent_limit = 3;
        Self {
            id: EXAMPLE_ID,
            status: "pending".to_owned(),
            policy: serde_json::to_value(policy).unwrap_or_default(),
            differences: vec![PolicyDifference {
                path: "session.concurrent_limit".to_owned(),
                old: json!(10),
                new: json!(3),
            }],
            payload_hash: "9f2c7a5e".repeat(8),
            base_version: 1,
            note: Some("After the audit of May".to_owned()),
            requested_by: OTHER_ID,
            requested_at: EXAMPLE_INSTANT.to_owned(),
            expires_at: "2026-11-28T09:30:00.000000Z".to_owned(),
            decided_by: None,
            decided_at: None,
            decision_note: None,
            version: 1,
        }
    }
}

impl PolicyChange {
    /// The example, agreed to.
    pub(crate) fn approved_example() -> Self {
        Self::decided_example("approved")
    }

    /// The example, rejected.
    pub(crate) fn rejected_example() -> Self {
        Self::decided_example("rejected")
    }

    fn decided_example(status: &str) -> Self {
        Self {
            status: status.to_owned(),
            decided_by: Some(EXAMPLE_ID),
            decided_at: Some(EXAMPLE_INSTANT.to_owned()),
            version: 2,
            ..Self::example()
        }
    }
}

/// A change to be asked for: one of `policy` and `patch`.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RequestPolicyChange {
    /// The whole policy as it shall be.
    #[serde(default)]
    #[schema(value_type = Option<Object>)]
    pub(crate) policy: Option<Value>,
    /// A JSON merge patch (RFC 7396) of the policy as it is.
    #[serde(default)]
    #[schema(value_type = Option<Object>)]
    pub(crate) patch: Option<Value>,
    /// What to say to it, at most 140 characters.
    #[serde(default)]
    pub(crate) note: Option<String>,
}
