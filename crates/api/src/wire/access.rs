//! Explanations of decisions on the wire.

use access::{Missing, Permission, ResourceKind};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use super::instant;
use crate::{openapi_parts::Example, problem::Problem};

/// What is asked.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Explain {
    /// Whose access; yours where left out.
    #[serde(default)]
    pub(crate) actor: Option<Uuid>,
    /// What is to be done, such as `account:read`.
    action: String,
    /// What it is to be done to; nothing in particular where left out.
    #[serde(default)]
    resource: Option<Object>,
    /// A moment that is past (RFC 3339); now where left out.
    #[serde(default)]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub(crate) as_of: Option<Timestamp>,
}

/// An object by its kind.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Object {
    /// `account`, `customer`, `hold` or `user`, as the action acts on.
    #[serde(rename = "type")]
    kind: ObjectKind,
    /// Its id.
    id: Uuid,
}

/// Kinds of objects of which the facts are known.
#[derive(Clone, Copy, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum ObjectKind {
    /// An account.
    Account,
    /// A customer.
    Customer,
    /// A hold.
    Hold,
    /// A person.
    User,
}

impl From<ObjectKind> for ResourceKind {
    fn from(kind: ObjectKind) -> Self {
        match kind {
            ObjectKind::Account => Self::Account,
            ObjectKind::Customer => Self::Customer,
            ObjectKind::Hold => Self::Hold,
            ObjectKind::User => Self::User,
        }
    }
}

impl Explain {
    /// The action, and the object that it is asked of.
    pub(crate) fn checked(&self) -> Result<(Permission, Option<(ResourceKind, Uuid)>), Problem> {
        let unknown = |_| Problem::malformed_field("action", "invalid_value", "Not a known action");
        let permission: Permission = self.action.parse().map_err(unknown)?;
        let object = self.resource.as_ref().map(|object| (object.kind.into(), object.id));
        Ok((permission, object))
    }
}

/// A decision, explained.
#[derive(Serialize, ToSchema)]
pub(crate) struct Explained {
    /// `allow` or `deny`.
    decision: &'static str,
    /// The policies that made it; none where nothing permits it.
    policies: Vec<String>,
    /// The objects on which the roles may do it at all: `all`, `none`, or relations joined
    /// by `+`.
    scope: String,
    /// The roles that counted; none of an inactive person.
    roles: Vec<String>,
    /// What the object is to them.
    facts: Facts,
    /// What would make a deny an allow.
    missing: Vec<Lack>,
    /// The moment that it is of; none for now.
    as_of: Option<String>,
}

/// What an object is to somebody.
#[derive(Serialize, ToSchema)]
struct Facts {
    /// They are a party to it, its subject or its owner.
    own: bool,
    /// They hold the account that is worked on.
    held: bool,
    /// It belongs to their organisation.
    organisation: bool,
}

/// Something that is missing.
#[derive(Serialize, ToSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
enum Lack {
    /// One of these roles.
    Role {
        /// Their names.
        any_of: Vec<&'static str>,
    },
    /// An object that is to them what is named.
    Relation {
        /// `own`, `assigned`, `department` or `organisation`.
        relation: &'static str,
    },
    /// An object that is not to them what is named: a prohibition stands on it.
    Absence {
        /// `own` or `held`.
        relation: &'static str,
    },
    /// A condition of one of their custom roles that is not met.
    Condition {
        /// Its field: `mfa_level`, `business_hours`, `networks`, `amount_max` or `account_status`.
        condition: &'static str,
    },
}

impl From<Missing> for Lack {
    fn from(missing: Missing) -> Self {
        match missing {
            Missing::Role(any_of) => Self::Role { any_of },
            Missing::Relation(relation) => Self::Relation { relation },
            Missing::Absence(relation) => Self::Absence { relation },
            Missing::Condition(condition) => Self::Condition { condition },
        }
    }
}

impl From<explain::Explained> for Explained {
    fn from(told: explain::Explained) -> Self {
        let (decision, missing) = (told.explanation.decision, told.explanation.missing);
        Self {
            decision: if decision.allowed() { "allow" } else { "deny" },
            policies: decision.reasons,
            scope: told.explanation.scope.to_string(),
            roles: told.roles,
            facts: Facts { own: told.owned, held: told.held, organisation: told.same_organization },
            missing: missing.into_iter().map(Lack::from).collect(),
            as_of: told.as_of.map(instant),
        }
    }
}

impl Example for Explained {
    fn example() -> Self {
        Self {
            decision: "deny",
            policies: Vec::new(),
            scope: "own".to_owned(),
            roles: vec!["customer".to_owned()],
            facts: Facts { own: false, held: false, organisation: false },
            missing: vec![Lack::Relation { relation: "own" }],
            as_of: None,
        }
    }
}
