//! The question (actor, object) and the answer of one decision.
//!
//! Refuses to know how the facts are gathered and how the answer is reached.

use uuid::Uuid;

use crate::custom::CustomRoles;
use crate::permission::{Permission, ResourceKind};

/// Who acts, as the policies see it.
#[derive(Clone, Copy, Debug)]
pub struct Principal<'a> {
    /// The acting user's id.
    pub user_id: Uuid,
    /// The roles held in the tenant; one that the blueprint does not know grants nothing.
    pub roles: &'a [String],
    /// The organisation the actor belongs to, if any.
    pub organization: Option<Uuid>,
    /// The department the actor belongs to, if any.
    pub department: Option<&'a str>,
    /// The custom roles held, with the circumstances that their conditions ask for.
    pub custom: CustomRoles<'a>,
}

/// What is acted on: the facts that a policy may depend on, computed with the row.
///
/// Start from [`Resource::for_permission`] or [`Resource::new`] (nothing related to the
/// actor) and add the facts that hold.
#[derive(Clone, Copy, Debug)]
pub struct Resource<'a> {
    /// What kind of object; has to be the permission's own kind.
    pub kind: ResourceKind,
    /// The object's id; absent for one that is to be created or has none.
    pub id: Option<Uuid>,
    /// The actor is a party to it, its subject or its owner. For `transaction:create`: a
    /// party to the debited account. For a tenant: the actor's own.
    pub owned: bool,
    /// The actor holds the account worked on (of a transfer: the credited one), or would
    /// hold the one that is opened; forbids teller operations and setting terms.
    pub held: bool,
    /// The company it belongs to is assigned to the actor.
    pub assigned: bool,
    /// The organisation it belongs to, if any.
    pub organization: Option<Uuid>,
    /// The department it belongs to, if any.
    pub department: Option<&'a str>,
    /// What a movement moves: minor units and the currency's code. Only conditions of custom
    /// roles ask for it.
    pub amount: Option<(i64, &'a str)>,
    /// The state of the account that is worked on; for custom roles as well.
    pub status: Option<&'a str>,
}

impl<'a> Resource<'a> {
    /// An object that has nothing to do with the actor.
    pub const fn new(kind: ResourceKind, id: Option<Uuid>) -> Self {
        Self {
            kind,
            id,
            owned: false,
            held: false,
            assigned: false,
            organization: None,
            department: None,
            amount: None,
            status: None,
        }
    }

    /// An object of the kind that `permission` acts on, unrelated to the actor.
    pub const fn for_permission(permission: Permission, id: Option<Uuid>) -> Self {
        Self::new(permission.kind(), id)
    }

    /// Says whether the actor is a party to it, its subject or its owner.
    #[must_use]
    pub const fn owned(mut self, owned: bool) -> Self {
        self.owned = owned;
        self
    }

    /// Says whether the actor holds the account worked on; of a transfer the credited one.
    #[must_use]
    pub const fn held(mut self, held: bool) -> Self {
        self.held = held;
        self
    }

    /// Says whether the object's company is assigned to the actor.
    #[must_use]
    pub const fn assigned(mut self, assigned: bool) -> Self {
        self.assigned = assigned;
        self
    }

    /// Says which organisation the object belongs to.
    #[must_use]
    pub const fn organization(mut self, organization: Option<Uuid>) -> Self {
        self.organization = organization;
        self
    }

    /// Says which department the object belongs to.
    #[must_use]
    pub const fn department(mut self, department: Option<&'a str>) -> Self {
        self.department = department;
        self
    }

    /// Says what a movement moves: minor units and the currency's code.
    #[must_use]
    pub const fn amount(mut self, minor: i64, currency: &'a str) -> Self {
        self.amount = Some((minor, currency));
        self
    }

    /// Says in which state the account is.
    #[must_use]
    pub const fn status(mut self, status: Option<&'a str>) -> Self {
        self.status = status;
        self
    }
}

/// Whether the action may happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// It may.
    Allow,
    /// It may not.
    Deny,
}

/// The answer to one question, with what led to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// Whether the action may happen.
    pub effect: Effect,
    /// The ids (`@id`) of the deciding policies, sorted: the permits of an allow, the
    /// forbids of a deny. A deny without any is a deny for want of a permit.
    pub reasons: Vec<String>,
    /// What failed during evaluation. Never empty without the effect being a deny.
    pub errors: Vec<String>,
}

impl Decision {
    /// Whether the action may happen.
    pub fn allowed(&self) -> bool {
        self.effect == Effect::Allow
    }

    /// Whether evaluation failed: denied, and worth an alert.
    pub const fn errored(&self) -> bool {
        !self.errors.is_empty()
    }

    pub(crate) const fn failed(errors: Vec<String>) -> Self {
        Self { effect: Effect::Deny, reasons: Vec::new(), errors }
    }
}
