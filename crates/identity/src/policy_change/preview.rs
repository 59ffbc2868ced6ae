//! What a change would come to, before anybody asks for it: the same judgement as the
//! request's, and nothing is written.

use access::{Permission, Resource, Scope};
use operation::{Found, OperationError, View, read::ViewFailure};
use tenancy::{Database, OpContext, Query};

use super::{
    CURRENT, PolicyDifference, PolicyWish, RESOURCE, current,
    request::{changed, check_version},
};
use crate::Identity;

/// What a change would come to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyPreview {
    /// What it would change.
    pub differences: Vec<PolicyDifference>,
    /// The version of the policy that it would be made of.
    pub base_version: i64,
}

impl Identity {
    /// What a change would come to, for whoever may ask for it. Refused as the request is:
    /// `version_conflict`, `validation_failed`, `nothing_changes`.
    pub async fn preview_policy_change(
        &self,
        context: &OpContext,
        (wish, expected_version): (PolicyWish, Option<i64>),
    ) -> Result<PolicyPreview, OperationError> {
        self.inner.operations.read(context, &Preview { wish, expected_version }).await
    }
}

struct Preview {
    wish: PolicyWish,
    expected_version: Option<i64>,
}

impl View for Preview {
    const NAME: &'static str = "policy_change.preview";
    const RESOURCE: &'static str = RESOURCE;
    type Output = PolicyPreview;

    fn permission(&self) -> Permission {
        Permission::SettingsUpdate
    }

    async fn load(
        &self,
        database: &Database,
        context: &OpContext,
        _: Scope,
    ) -> Result<Found<PolicyPreview>, ViewFailure> {
        let tenant = context.tenant_id();
        let rows = database.look_up(context, Query::new(CURRENT, &[&tenant])).await?;
        let (base, base_version) = current(rows.first())?;
        check_version(self.expected_version, base_version)?;
        let roles = context.tenant.blueprint.roles();
        let (_, differences) = changed::<ViewFailure>(&self.wish, (base, roles))?;
        let value = PolicyPreview { differences, base_version };
        let resource = Resource::for_permission(self.permission(), None);
        Ok(Found::Object { value, resource })
    }
}
