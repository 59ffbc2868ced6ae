//! Asking for a change of the policy.

use access::Permission;
use audit::EventType;
use operation::{Applied, Command, Failure, Refusal, RefusalKind, event, refusal::FieldError};
use serde_json::{Value, json};
use tenancy::{DbError, OpContext, TenantTx};
use tokio_postgres::types::ToSql;
use uuid::Uuid;

use super::{
    CURRENT, LIFETIME, PolicyChange, PolicyChangeStatus, PolicyDifference, PolicyWish, RESOURCE,
    current,
    patch::{differences, merged},
    rules::{accepted, below},
};

const PENDING: &str = tenancy::sql!("identity/policy.sql", "pending");
const INSERT: &str = tenancy::sql!("identity/policy.sql", "insert");

/// Changes of one maker that may wait at once.
const PENDING_MAX: i64 = 20;

/// Puts a change up for a second person.
pub(super) struct RequestChange {
    pub(super) id: Uuid,
    pub(super) wish: PolicyWish,
    pub(super) expected_version: Option<i64>,
    pub(super) note: Option<String>,
}

impl Command for RequestChange {
    const NAME: &'static str = "policy_change.request";
    const RESOURCE: &'static str = RESOURCE;
    type Output = PolicyChange;

    fn permission(&self) -> Permission {
        Permission::SettingsUpdate
    }

    fn fingerprint(&self) -> Value {
        let (kind, document) = match &self.wish {
            PolicyWish::Whole(policy) => ("policy", policy),
            PolicyWish::Patch(patch) => ("patch", patch),
        };
        json!({ kind: document, "base": self.expected_version, "note": self.note })
    }

    async fn execute(
        &self,
        transaction: &TenantTx,
        context: &OpContext,
    ) -> Result<Applied<PolicyChange>, Failure> {
        let tenant = context.tenant_id();
        let (base, version) = current(transaction.query_opt(CURRENT, &[&tenant]).await?.as_ref())?;
        check_version(self.expected_version, version)?;
        let roles = context.tenant.blueprint.roles();
        let (policy, differences) = changed::<Failure>(&self.wish, (base, roles))?;
        self.check_desk(context, &policy)?;
        let actor = context.actor.id;
        let waiting = transaction.query_opt(PENDING, &[&tenant, &actor]).await?;
        let waiting: Option<i64> =
            waiting.map(|row| row.try_get("pending")).transpose().map_err(DbError::from)?;
        if waiting.is_some_and(|waiting| waiting >= PENDING_MAX) {
            let detail = format!("{PENDING_MAX} of your changes wait for a second person already");
            return Err(Refusal::new(RefusalKind::Rule, "too_many_pending", detail).into());
        }
        let change = self.stored(transaction, context, (policy, differences, version)).await?;
        let event = event(context, EventType::ConfigurationChange, Self::NAME, Self::RESOURCE)
            .resource_id(self.id)
            .new_values(json!({ "status": change.status, "payload_hash": change.payload_hash }))
            .details(json!({ "differences": change.differences, "base_version": version }))
            .at_version(change.version);
        Ok(Applied { output: change, status: 201, events: vec![event] })
    }
}

impl RequestChange {
    /// Roles that wait for others are decided where a bank's orders are: a tenant without that
    /// module would have nobody get a role any more.
    fn check_desk(&self, context: &OpContext, policy: &Value) -> Result<(), Refusal> {
        let demanded = policy["role_grant_approvals"].as_i64().unwrap_or_default();
        if demanded == 0 || context.tenant.has_module("banking") {
            return Ok(());
        }
        let prefix = match self.wish {
            PolicyWish::Whole(_) => "policy",
            PolicyWish::Patch(_) => "patch",
        };
        Err(Refusal::validation(vec![FieldError {
            field: below(prefix, "role_grant_approvals").into(),
            code: "invalid_value".into(),
            message: "Expected 0: this tenant has no desk for approvals".to_owned(),
        }]))
    }

    async fn stored(
        &self,
        transaction: &TenantTx,
        context: &OpContext,
        (policy, differences, base_version): (Value, Vec<PolicyDifference>, i64),
    ) -> Result<PolicyChange, DbError> {
        let requested_at = microseconds(context.clock.now());
        let mut change = PolicyChange {
            id: self.id,
            status: PolicyChangeStatus::Pending,
            policy,
            differences,
            payload_hash: String::new(),
            base_version,
            note: self.note.clone(),
            requested_by: context.actor.id,
            requested_at,
            expires_at: requested_at + LIFETIME,
            decided_by: None,
            decided_at: None,
            decision_note: None,
            version: 1,
        };
        let (tenant, hash) = (context.tenant_id(), change.hash(context.tenant_id())?);
        change.payload_hash = crate::events::hexadecimal(&hash);
        let differences = serde_json::to_value(&change.differences)
            .map_err(|error| DbError::Corrupt(error.to_string()))?;
        let parameters: [&(dyn ToSql + Sync); 10] = [
            &tenant,
            &change.id,
            &change.policy,
            &differences,
            &hash.as_slice(),
            &base_version,
            &change.note,
            &change.requested_by,
            &change.requested_at,
            &change.expires_at,
        ];
        transaction.execute(INSERT, &parameters).await?;
        Ok(change)
    }
}

/// The policy as it shall be, in our own writing, and what that changes.
pub(super) fn changed<E: From<Refusal> + From<DbError>>(
    wish: &PolicyWish,
    (base, roles): (Value, &[&str]),
) -> Result<(Value, Vec<PolicyDifference>), E> {
    let corrupt = |error: serde_json::Error| DbError::Corrupt(format!("policy: {error}"));
    // What is stored may be of before a field was; what is compared has all of them.
    let known: tenancy::policy::SecurityPolicy = serde_json::from_value(base).map_err(corrupt)?;
    let known = serde_json::to_value(&known).map_err(corrupt)?;
    let verdict = match wish {
        PolicyWish::Whole(policy) => accepted(policy, (&known, roles), "policy"),
        PolicyWish::Patch(patch) => {
            accepted(&merged(known.clone(), patch), (&known, roles), "patch")
        }
    };
    let policy = verdict.map_err(Refusal::validation)?;
    let policy = serde_json::to_value(&policy).map_err(corrupt)?;
    let differences: Vec<_> = differences(&known, &policy)
        .into_iter()
        .map(|(path, old, new)| PolicyDifference { path, old, new })
        .collect();
    if differences.is_empty() {
        let detail = "The policy is so already";
        return Err(Refusal::new(RefusalKind::Rule, "nothing_changes", detail).into());
    }
    Ok((policy, differences))
}

/// Refused where the policy is at another version than the one it was read at.
pub(super) fn check_version(expected: Option<i64>, version: i64) -> Result<(), Refusal> {
    if expected.is_none_or(|expected| expected == version) {
        return Ok(());
    }
    let detail = "The policy was changed since it was read";
    Err(Refusal::new(RefusalKind::PreconditionFailed, "version_conflict", detail))
}

/// As the database keeps instants, so that a hash over one can be made again.
fn microseconds(at: jiff::Timestamp) -> jiff::Timestamp {
    jiff::Timestamp::from_microsecond(at.as_microsecond()).unwrap_or(at)
}
