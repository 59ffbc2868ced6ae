//! Why somebody may or may not do something: one decision, asked of real people and objects,
//! as they are or as they were at a moment that is past.
//!
//! Owns the question, who may ask it, and the record of who asked. Explaining tells nothing
//! that a read does not: of an object that the asker may not read it knows as little as of one
//! that is not there, and about others only those ask who read every person. Refuses to decide,
//! and to know facts itself.

mod policies;

use access::{Explanation, Permission, Principal, Resource, ResourceKind};
use identity::{Capacity, Identity};
use jiff::Timestamp;
use operation::{OperationError, Operations, Refusal, RefusalKind, access_log::Access};
use serde_json::json;
use tenancy::{ActorKind, DbError, OpContext};
use uuid::Uuid;

pub use policies::remember_policies;

/// Kinds of objects of which the facts are known.
pub const KINDS: [ResourceKind; 4] =
    [ResourceKind::Account, ResourceKind::Customer, ResourceKind::Hold, ResourceKind::User];

/// Decided before there is an object, by facts of other things.
const MAKES_ITS_OBJECT: [Permission; 4] = [
    Permission::AccountCreate,
    Permission::CustomerCreate,
    Permission::HoldCreate,
    Permission::UserCreate,
];

/// A question.
#[derive(Clone, Copy, Debug)]
pub struct Question {
    /// Whose access.
    pub person: Uuid,
    /// What is to be done.
    pub permission: Permission,
    /// The object; none where the permission is asked of nothing in particular.
    pub object: Option<(ResourceKind, Uuid)>,
    /// The moment that is asked about; none for now.
    pub as_of: Option<Timestamp>,
}

impl Question {
    /// The field that makes no sense, and why.
    pub fn fault(&self, now: Timestamp) -> Option<(&'static str, &'static str)> {
        if let Some((kind, _)) = self.object {
            if !self.permission.acts_on(kind) {
                return Some(("resource.type", "The action is not one on objects of this kind"));
            }
            if MAKES_ITS_OBJECT.contains(&self.permission) {
                let why = "The object of this action is not there yet: leave it out";
                return Some(("resource", why));
            }
        }
        let is_ahead = self.as_of.is_some_and(|at| at > now);
        is_ahead.then_some(("as_of", "A moment that is past: this one is yet to come"))
    }
}

/// An answer.
#[derive(Clone, Debug)]
pub struct Explained {
    /// The decision and what led to it.
    pub explanation: Explanation,
    /// The roles that counted, the primary one first; none of an inactive person.
    pub roles: Vec<String>,
    /// They are a party to the object, its subject or its owner.
    pub owned: bool,
    /// They hold the account that is worked on.
    pub held: bool,
    /// The object belongs to their organisation.
    pub same_organization: bool,
    /// The moment that it is of; none for now.
    pub as_of: Option<Timestamp>,
}

impl Explained {
    fn new(
        explanation: Explanation,
        (principal, resource): (&Principal<'_>, &Resource<'_>),
        as_of: Option<Timestamp>,
    ) -> Self {
        let belongs = principal.organization.is_some();
        Self {
            explanation,
            roles: principal.roles.to_vec(),
            owned: resource.owned,
            held: resource.held,
            same_organization: belongs && principal.organization == resource.organization,
            as_of,
        }
    }
}

/// Answers questions.
#[derive(Clone)]
pub struct Explainer {
    operations: Operations,
    identity: Identity,
}

impl Explainer {
    /// Of a bank's people and objects.
    pub const fn new(operations: Operations, identity: Identity) -> Self {
        Self { operations, identity }
    }

    /// Answers, and has the log say who asked.
    ///
    /// # Errors
    /// `permission_denied` for machines; `not_found` for what the asker may not see;
    /// `not_there_then` and `policies_unknown` where the moment cannot be answered for.
    pub async fn explain(
        &self,
        context: &OpContext,
        question: &Question,
    ) -> Result<Explained, OperationError> {
        if context.actor.kind != ActorKind::User && !context.actor.is_system() {
            return Err(Refusal::denied().into());
        }
        let answered = self.answer(context, question).await;
        let is_told = match &answered {
            Ok(_) => true,
            Err(OperationError::Refused(refusal)) => {
                matches!(refusal.kind, RefusalKind::NotFound | RefusalKind::Rule)
            }
            Err(_) => false,
        };
        if is_told {
            self.record(context, question, answered.is_ok()).await;
        }
        answered
    }

    async fn answer(
        &self,
        context: &OpContext,
        question: &Question,
    ) -> Result<Explained, OperationError> {
        let capacity = self.capacity(context, question).await?;
        let is_oneself = question.person == context.actor.id && question.as_of.is_none();
        // Of oneself, now, the circumstances are those of the question.
        let principal = if is_oneself {
            operation::principal(context)
        } else {
            capacity.principal(question.as_of.unwrap_or_else(|| context.clock.now()))
        };
        let permission = question.permission;
        let resource = match question.object {
            None => Resource::for_permission(permission, None),
            Some(object) => {
                self.check_readable(context, object, question.as_of).await?;
                let about = (permission, question.person);
                match question.as_of {
                    None => self.facts(context, object, about).await?,
                    Some(at) => self.facts_at(context, object, about, at).await?,
                }
            }
        };
        let blueprint = context.tenant.blueprint;
        let former = match question.as_of {
            None => None,
            Some(at) => policies::other_in_force_at(self.operations.database(), at).await?,
        };
        let policies = former.as_ref().unwrap_or_else(|| self.operations.policies());
        let explanation = policies.explain(blueprint, &principal, permission, &resource);
        Ok(Explained::new(explanation, (&principal, &resource), question.as_of))
    }

    /// Of oneself, or of anybody to whoever reads every person.
    async fn capacity(
        &self,
        context: &OpContext,
        question: &Question,
    ) -> Result<Capacity, OperationError> {
        let person = question.person;
        if person != context.actor.id && !self.reads_everybody(context) {
            return Err(Refusal::not_found().into());
        }
        let Some(at) = question.as_of else {
            let found = self.identity.capacity_of(context, person).await?;
            return Ok(found.ok_or_else(Refusal::not_found)?);
        };
        if let Some(capacity) = self.identity.capacity_at(context, person, at).await? {
            return Ok(capacity);
        }
        let is_known = self.identity.is_known(context, person).await?;
        Err(if is_known { not_there_then("They were") } else { Refusal::not_found() }.into())
    }

    fn reads_everybody(&self, context: &OpContext) -> bool {
        context.actor.is_system() || self.operations.scope(context, Permission::UserRead).is_all()
    }

    /// `not_found` where the asker does not read the object as it is now.
    async fn check_readable(
        &self,
        context: &OpContext,
        (kind, id): (ResourceKind, Uuid),
        as_of: Option<Timestamp>,
    ) -> Result<(), OperationError> {
        let was_a_person = kind == ResourceKind::User && as_of.is_some();
        if was_a_person && self.reads_everybody(context) {
            let is_known = self.identity.is_known(context, id).await?;
            return if is_known { Ok(()) } else { Err(Refusal::not_found().into()) };
        }
        let permission = match kind {
            ResourceKind::Account => Permission::AccountRead,
            ResourceKind::Customer => Permission::CustomerRead,
            ResourceKind::Hold => Permission::HoldRead,
            _ => Permission::UserRead,
        };
        let asker = operation::principal(context);
        let object = self.facts(context, (kind, id), (permission, asker.user_id)).await?;
        let is_readable = context.actor.is_system()
            || self.operations.allows_other(context, &asker, permission, &object);
        if is_readable { Ok(()) } else { Err(Refusal::not_found().into()) }
    }

    /// What an object is to somebody, as the operations see it.
    async fn facts(
        &self,
        context: &OpContext,
        (kind, id): (ResourceKind, Uuid),
        about: (Permission, Uuid),
    ) -> Result<Resource<'static>, OperationError> {
        let found = if kind == ResourceKind::User {
            let capacity = self.identity.capacity_of(context, id).await?;
            capacity.map(|capacity| capacity.resource_for(about.1))
        } else {
            let database = self.operations.database();
            banking::facts::resource_for(database, context, (kind, id), about).await?
        };
        Ok(found.ok_or_else(Refusal::not_found)?)
    }

    /// What it was to them.
    async fn facts_at(
        &self,
        context: &OpContext,
        (kind, id): (ResourceKind, Uuid),
        about: (Permission, Uuid),
        at: Timestamp,
    ) -> Result<Resource<'static>, OperationError> {
        let found = if kind == ResourceKind::User {
            let capacity = self.identity.capacity_at(context, id, at).await?;
            capacity.map(|capacity| capacity.resource_for(about.1))
        } else {
            let database = self.operations.database();
            banking::facts::resource_at(database, context, (kind, id), about, at).await?
        };
        Ok(found.ok_or_else(|| not_there_then("The object was"))?)
    }

    /// Who asked about whom and what: ids, and no answer.
    async fn record(&self, context: &OpContext, question: &Question, allowed: bool) {
        let access = Access {
            action: "access.explain",
            resource: "user",
            object: Some(question.person),
            allowed,
            count: 1,
        };
        let object = question
            .object
            .map(|(kind, id)| json!({ "type": kind.as_str().to_ascii_lowercase(), "id": id }));
        let mut filter = json!({ "permission": question.permission.as_str(), "resource": object });
        if let Some(at) = question.as_of {
            filter["as_of"] = json!(at);
        }
        let (log, database) = (self.operations.access_log(), self.operations.database());
        log.record_list(database, context, access, operation::read::told_filter(filter)).await;
    }
}

fn not_there_then(who: &str) -> Refusal {
    Refusal::rule("not_there_then", "as_of", format!("{who} not there at that moment"))
}

fn unreadable(cause: impl std::fmt::Display) -> DbError {
    DbError::Corrupt(format!("policies_in_force: {cause}"))
}
