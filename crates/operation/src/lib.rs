//! Runs commands and reads: the only way to change anything, written once.
//!
//! [`Operations::run`] takes a batch of one tenant's commands and gives a result
//! each: begin, authorise, claim or replay the idempotency keys, execute, audit
//! success and refusal alike, store the answers, commit. [`Operations::read`]
//! authorises a read on the facts it returns and leaves an access record.
//!
//! It refuses to know any domain: commands name their permission, load the facts
//! of the decision and do their work; what those are is theirs.

pub mod access_log;
mod answer;
pub mod audit_export;
pub mod audit_views;
mod authorise;
pub mod command;
pub mod csv;
mod failed_decisions;
pub mod group;
mod idempotency;
mod judge;
mod key_admin;
mod key_bundle;
mod key_inventory;
pub mod page;
pub mod read;
pub mod refusal;
mod reseal;
mod run;
mod session;
mod unopened;

use std::{sync::Arc, time::Duration};

pub use access_log::AccessLog;
pub use command::{Applied, Call, Command, Failure, Reply, Target};
pub use group::{Group, Grouped};
pub use key_admin::{
    DestroyKey, KeyDestroyed, KeyRotation, KeysRewrapped, RewrapKeys, RotateDataKey,
};
pub use key_bundle::{AdoptKeys, BundlePart, KeysAdopted, TellKeys, Told};
pub use key_inventory::{
    InventoryLine, KeyGeneration, KeyGenerations, KeyInventory, ResealingProgress,
};
pub use page::{Page, PageRequest};
pub use read::{Found, View};
pub use refusal::{FieldError, OperationError, Refusal, RefusalKind};
pub use reseal::{ResealValues, ValuesResealed};
pub use session::custom_roles;
pub use unopened::tell_unopened;

use access::{CustomRoles, Permission, Policies, Principal, Scope, Situation};
use audit::{AuditEvent, EventContext, EventType};
use tenancy::{ActorKind, Database, OpContext};
use tokio_util::task::TaskTracker;

/// Everything an operation needs that is not its own. Cheap to clone.
#[derive(Clone)]
pub struct Operations {
    database: Database,
    policies: Arc<Policies>,
    access_log: AccessLog,
    tasks: TaskTracker,
}

impl Operations {
    /// Operations over a database under the app role.
    pub fn new(database: Database, policies: Arc<Policies>, access_log: AccessLog) -> Self {
        Self { database, policies, access_log, tasks: TaskTracker::new() }
    }

    /// The database, for the few reads that belong to no view.
    pub fn database(&self) -> &Database {
        &self.database
    }

    /// The policies, for `permissions` and list scopes.
    pub fn policies(&self) -> &Policies {
        &self.policies
    }

    /// Has row security show the actor whom policy shows them: every person, or those of
    /// their organisation.
    pub fn show_people(&self, context: &mut OpContext) {
        let scope = self.scope(context, Permission::UserRead);
        context.actor.sees_all_users = scope.is_all();
        context.actor.sees_organization_users = scope.includes(Scope::ORGANISATION);
    }

    /// Where reads are recorded.
    pub fn access_log(&self) -> &AccessLog {
        &self.access_log
    }

    /// Waits until no operation runs, at most so long; says whether none does. Called
    /// when nothing is accepted any more: operations whose clients have hung up finish
    /// as well.
    pub async fn drain(&self, patience: Duration) -> bool {
        self.tasks.close();
        tokio::time::timeout(patience, self.tasks.wait()).await.is_ok()
    }

    /// The running operations.
    pub(crate) fn tasks(&self) -> &TaskTracker {
        &self.tasks
    }
}

/// The policy's view of who acts, and under which circumstances.
pub fn principal(context: &OpContext) -> Principal<'_> {
    let actor = &context.actor;
    let custom = CustomRoles { definitions: &actor.custom_roles, situation: situation(context) };
    Principal {
        user_id: actor.id,
        roles: &actor.roles,
        organization: actor.organization,
        department: actor.department.as_deref(),
        custom,
    }
}

/// The circumstances that conditions of custom roles ask for.
fn situation(context: &OpContext) -> Situation {
    let (actor, address) = (&context.actor, context.request.ip);
    if actor.custom_roles.is_empty() {
        return Situation::default();
    }
    Situation {
        now: Some(context.clock.now()),
        mfa_level: actor.mfa_level,
        address,
        is_past: false,
    }
}

/// An audit event of this operation, to which the command adds its values.
pub fn event(
    context: &OpContext,
    event_type: EventType,
    action: &'static str,
    resource: &'static str,
) -> AuditEvent {
    AuditEvent::new(&event_context(context), event_type, action, resource)
}

/// The plain values that every event of one operation shares.
pub fn event_context(context: &OpContext) -> EventContext {
    let person = matches!(context.actor.kind, ActorKind::User | ActorKind::ApiKey);
    EventContext {
        tenant_id: context.tenant_id(),
        organization_id: context.actor.organization,
        user_id: person.then_some(context.actor.id),
        session_id: context.session.map(|session| session.0),
        actor_kind: context.actor.kind.as_str(),
        ip_address: context.request.ip,
        user_agent: context.request.user_agent.clone(),
        request_id: Some(context.request.id.clone()),
        occurred_at: context.clock.now(),
    }
}
