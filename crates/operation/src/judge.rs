//! Asks policy, and tells where policy could not answer: an error denies (a broken `forbid`
//! must never become an allow), and somebody has to hear of it, for until it is mended people
//! are refused what is theirs.

use access::{Permission, Principal, Resource, Scope};
use tenancy::OpContext;

use crate::{Operations, principal};

impl Operations {
    /// On which objects the actor has a permission: by their roles, and for an API key only
    /// where it is within its scopes.
    pub(crate) fn held(&self, context: &OpContext, permission: Permission) -> Scope {
        let (blueprint, actor) = (context.tenant.blueprint, &context.actor);
        if !actor.is_within_scopes(permission.as_str()) {
            return Scope::NONE;
        }
        let principal = principal(context);
        if self.policies.scope_errored(blueprint, &actor.roles, permission)
            || self.policies.custom_roles_fail(blueprint, &principal.custom)
        {
            self.tell_of_failure(context, permission);
        }
        self.policies.scope_of(blueprint, &principal, permission)
    }

    /// On which objects the actor has a permission whatever the circumstances: what they may
    /// give to others.
    pub fn assured(&self, context: &OpContext, permission: Permission) -> Scope {
        if context.actor.is_system() {
            return Scope::ALL;
        }
        if !context.actor.is_within_scopes(permission.as_str()) {
            return Scope::NONE;
        }
        self.policies.assured_scope(context.tenant.blueprint, &principal(context), permission)
    }

    /// Whether the actor may do something to an object.
    pub(crate) fn allows(
        &self,
        context: &OpContext,
        permission: Permission,
        resource: &Resource<'_>,
    ) -> bool {
        context.actor.is_within_scopes(permission.as_str())
            && self.allows_other(context, &principal(context), permission, resource)
    }

    /// Whether somebody else than the actor may: whoever ordered what is decided now.
    pub fn allows_other(
        &self,
        context: &OpContext,
        somebody: &Principal<'_>,
        permission: Permission,
        resource: &Resource<'_>,
    ) -> bool {
        let blueprint = context.tenant.blueprint;
        let decision = self.policies.decide(blueprint, somebody, permission, resource);
        if decision.errored() {
            self.tell_of_failure(context, permission);
        }
        decision.allowed()
    }

    /// A metric that alerts, and a critical record in the tenant's log, one a minute. The
    /// refusal waits for neither: the record is a task that a shutdown waits for.
    fn tell_of_failure(&self, context: &OpContext, permission: Permission) {
        let (blueprint, name) = (context.tenant.blueprint.as_str(), permission.as_str());
        metrics::counter!(
            "strongroom_access_errors_total", "blueprint" => blueprint, "permission" => name
        )
        .increment(1);
        let failed = self.access_log().failed_decisions().clone();
        if failed.is_news(context, permission) {
            let (database, context) = (self.database().clone(), context.clone());
            self.tasks().spawn(async move { failed.tell(&database, &context, permission).await });
        }
    }
}
