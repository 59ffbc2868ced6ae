//! The closed vocabulary of conditions under which a permission holds, as a set.
//!
//! Each condition has a Cedar form (in `policies/`), a SQL form (in the list's `WHERE`) and
//! the form of [`Scope::admits`]; nothing else may restrict a list. Refuses to know which
//! role has which scope.

use std::fmt;
use std::ops::BitOr;

use crate::decision::{Principal, Resource};

/// The objects on which a permission holds: the union of the conditions in the set.
///
/// It is a set and not a ladder because roles unite: an operator (own equipment) who is
/// also a manager (the department's) reaches what either reaches, and neither of the two
/// conditions contains the other. A list's predicate is the OR of its conditions.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Scope(u8);

impl Scope {
    /// No object: the permission is not held at all (403 before any lookup).
    pub const NONE: Self = Self(0);
    /// What the actor is a party to, the subject or the owner of.
    pub const OWN: Self = Self(1);
    /// What belongs to a company assigned to the actor.
    pub const ASSIGNED: Self = Self(2);
    /// What belongs to the actor's department.
    pub const DEPARTMENT: Self = Self(4);
    /// What belongs to the actor's organisation.
    pub const ORGANISATION: Self = Self(8);
    /// Every object of the tenant; contains all other conditions.
    pub const ALL: Self = Self(31);

    /// The conditions short of [`Scope::ALL`], with their names.
    pub(crate) const CONDITIONS: [(Self, &'static str); 4] = [
        (Self::OWN, "own"),
        (Self::ASSIGNED, "assigned"),
        (Self::DEPARTMENT, "department"),
        (Self::ORGANISATION, "organisation"),
    ];

    /// Whether the permission is held on no object at all.
    pub const fn is_none(self) -> bool {
        self.0 == 0
    }

    /// Whether the permission is held on every object of the tenant.
    pub const fn is_all(self) -> bool {
        self.0 == Self::ALL.0
    }

    /// Whether every condition of `other` is in this set; bind a list's SQL flags with it
    /// (`scope.includes(Scope::OWN)` is true of [`Scope::ALL`] as well).
    pub const fn includes(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Both sets together.
    #[must_use]
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// What both sets have.
    #[must_use]
    pub(crate) const fn intersection(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// Whether an object falls under the scope: the reference form of the SQL predicate.
    pub fn admits(self, principal: &Principal<'_>, resource: &Resource<'_>) -> bool {
        let same_department =
            principal.department.is_some() && principal.department == resource.department;
        let same_organization =
            principal.organization.is_some() && principal.organization == resource.organization;
        self.is_all()
            || (self.includes(Self::OWN) && resource.owned)
            || (self.includes(Self::ASSIGNED) && resource.assigned)
            || (self.includes(Self::DEPARTMENT) && same_department)
            || (self.includes(Self::ORGANISATION) && same_organization)
    }
}

impl BitOr for Scope {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        self.union(other)
    }
}

/// `all`, `none`, or the names of the conditions joined by `+`.
impl fmt::Display for Scope {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_all() {
            return formatter.pad("all");
        }
        if self.is_none() {
            return formatter.pad("none");
        }
        let names: Vec<_> = Self::CONDITIONS
            .iter()
            .filter(|(condition, _)| self.includes(*condition))
            .map(|(_, name)| *name)
            .collect();
        formatter.pad(&names.join("+"))
    }
}

impl fmt::Debug for Scope {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Scope({self})")
    }
}
