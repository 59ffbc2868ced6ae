//! Why somebody may or may not do something, and what is missing: the same question asked
//! again with one fact turned round, so that an explanation cannot differ from the decision.

use crate::blueprint::Blueprint;
use crate::decision::{Decision, Principal, Resource};
use crate::engine::Policies;
use crate::permission::Permission;
use crate::scope::Scope;

/// A decision with what led to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explanation {
    /// The decision itself, with the ids of the deciding policies.
    pub decision: Decision,
    /// The objects on which the roles have the permission at all.
    pub scope: Scope,
    /// What would make a deny an allow; empty where it is one, or where an error denies.
    pub missing: Vec<Missing>,
}

/// Something that stands between the actor and an allow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Missing {
    /// None of the roles is enough; each of these would be.
    Role(Vec<&'static str>),
    /// The permission is held, and on other objects: a relation to the object is wanted,
    /// `own`, `assigned`, `department` or `organisation`.
    Relation(&'static str),
    /// A prohibition that ends with that fact: `own` or `held`.
    Absence(&'static str),
    /// A condition of a custom role that is not met, by its field: `mfa_level`,
    /// `business_hours`, `networks`, `amount_max` or `account_status`.
    Condition(&'static str),
}

impl Policies {
    /// Explains one decision. Decides a few dozen times: for people who ask, not for hot
    /// paths.
    pub fn explain(
        &self,
        blueprint: Blueprint,
        principal: &Principal<'_>,
        permission: Permission,
        resource: &Resource<'_>,
    ) -> Explanation {
        let decision = self.decide_uncached(blueprint, principal, permission, resource);
        let scope = self.scope_of(blueprint, principal, permission);
        let missing = if decision.allowed() || decision.errored() {
            Vec::new()
        } else {
            self.missing(blueprint, principal, permission, resource)
        };
        Explanation { decision, scope, missing }
    }

    /// The circumstances first, as what is nearest; then one fact, then two at once; then
    /// other roles.
    fn missing(
        &self,
        blueprint: Blueprint,
        principal: &Principal<'_>,
        permission: Permission,
        resource: &Resource<'_>,
    ) -> Vec<Missing> {
        let allows = |resource: &Resource<'_>| {
            self.decide_uncached(blueprint, principal, permission, resource).allowed()
        };
        let unmet = self.unmet_conditions(blueprint, principal, permission, resource);
        if !unmet.is_empty() {
            return unmet.into_iter().map(Missing::Condition).collect();
        }
        let turns: Vec<_> =
            Turn::ALL.into_iter().filter(|turn| turn.on(principal, resource).is_some()).collect();
        let alone: Vec<_> = turns
            .iter()
            .filter(|turn| turn.on(principal, resource).as_ref().is_some_and(allows))
            .map(|turn| turn.missing())
            .collect();
        if !alone.is_empty() {
            return alone;
        }
        for (position, first) in turns.iter().enumerate() {
            for second in &turns[position + 1..] {
                let both = first
                    .on(principal, resource)
                    .and_then(|resource| second.on(principal, &resource));
                if both.as_ref().is_some_and(allows) {
                    return vec![first.missing(), second.missing()];
                }
            }
        }
        let would_do = |role: &&'static str| {
            let roles = [(*role).to_owned()];
            let other = Principal { roles: &roles, ..*principal };
            self.decide_uncached(blueprint, &other, permission, resource).allowed()
        };
        let roles: Vec<_> = blueprint.roles().iter().copied().filter(would_do).collect();
        if roles.is_empty() { Vec::new() } else { vec![Missing::Role(roles)] }
    }
}

/// A fact about the object that could be otherwise.
#[derive(Clone, Copy)]
enum Turn {
    Own,
    Assigned,
    Department,
    Organisation,
    NotOwn,
    NotHeld,
}

impl Turn {
    const ALL: [Self; 6] = [
        Self::Own,
        Self::Assigned,
        Self::Department,
        Self::Organisation,
        Self::NotOwn,
        Self::NotHeld,
    ];

    /// The object with the fact turned; none where it is so already, or where the actor
    /// belongs to no department or organisation that the object could belong to.
    fn on<'a>(self, principal: &Principal<'a>, resource: &Resource<'a>) -> Option<Resource<'a>> {
        match self {
            Self::Own => (!resource.owned).then(|| resource.owned(true)),
            Self::Assigned => (!resource.assigned).then(|| resource.assigned(true)),
            Self::Department => (principal.department.is_some()
                && principal.department != resource.department)
                .then(|| resource.department(principal.department)),
            Self::Organisation => (principal.organization.is_some()
                && principal.organization != resource.organization)
                .then(|| resource.organization(principal.organization)),
            Self::NotOwn => resource.owned.then(|| resource.owned(false)),
            Self::NotHeld => resource.held.then(|| resource.held(false)),
        }
    }

    const fn missing(self) -> Missing {
        match self {
            Self::Own => Missing::Relation("own"),
            Self::Assigned => Missing::Relation("assigned"),
            Self::Department => Missing::Relation("department"),
            Self::Organisation => Missing::Relation("organisation"),
            Self::NotOwn => Missing::Absence("own"),
            Self::NotHeld => Missing::Absence("held"),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Missing, Turn};
    use crate::tests::POLICIES;
    use crate::{Blueprint, Permission, Principal, Resource};

    fn person(roles: &[String]) -> Principal<'_> {
        Principal {
            user_id: uuid::Uuid::nil(),
            roles,
            organization: None,
            department: None,
            custom: crate::CustomRoles::default(),
        }
    }

    /// The object with what is missing made good.
    fn turned<'a>(
        somebody: &Principal<'a>,
        object: Resource<'a>,
        missing: &Missing,
    ) -> Resource<'a> {
        let turn = Turn::ALL.into_iter().find(|turn| turn.missing() == *missing);
        turn.and_then(|turn| turn.on(somebody, &object)).unwrap_or(object)
    }

    #[test]
    fn what_is_missing_is_named() {
        let bank = Blueprint::CoreBank;
        let table: [(&str, Permission, [bool; 2], &[Missing]); 6] = [
            ("officer", Permission::AccountRead, [false, false], &[]),
            ("customer", Permission::AccountRead, [true, false], &[]),
            ("customer", Permission::AccountRead, [false, false], &[Missing::Relation("own")]),
            ("officer", Permission::TransactionDeposit, [false, true], &[Missing::Absence("held")]),
            (
                "officer",
                Permission::TransactionDeposit,
                [true, true],
                &[Missing::Absence("own"), Missing::Absence("held")],
            ),
            (
                "auditor",
                Permission::TransactionPost,
                [false, false],
                &[Missing::Role(vec!["super_admin", "admin", "manager"])],
            ),
        ];
        for (role, permission, [owned, held], expected) in table {
            let roles = [role.to_owned()];
            let object = Resource::for_permission(permission, None).owned(owned).held(held);
            let told = POLICIES.explain(bank, &person(&roles), permission, &object);
            assert_eq!(told.decision.allowed(), expected.is_empty(), "{role} {permission}");
            assert_eq!(told.missing, expected, "{role} {permission} {owned} {held}");
        }
    }

    proptest! {
        /// What is said to be missing is enough.
        #[test]
        fn with_what_is_missing_it_is_allowed(
            blueprint in proptest::sample::select(Blueprint::ALL.to_vec()),
            permission in proptest::sample::select(Permission::ALL.to_vec()),
            role in 0_usize..8,
            facts in any::<[bool; 4]>(),
        ) {
            let roles = [blueprint.roles()[role % blueprint.roles().len()].to_owned()];
            let somebody = Principal {
                organization: facts[3].then(|| uuid::Uuid::from_u128(1)),
                department: facts[3].then_some("vault"),
                ..person(&roles)
            };
            let object = Resource::for_permission(permission, None)
                .owned(facts[0]).held(facts[1]).assigned(facts[2]);
            let told = POLICIES.explain(blueprint, &somebody, permission, &object);
            let decided = POLICIES.decide(blueprint, &somebody, permission, &object);
            prop_assert_eq!(&told.decision, &decided);
            prop_assert!(!decided.allowed() || told.missing.is_empty());
            match told.missing.first() {
                None => {}
                Some(Missing::Role(names)) => for name in names {
                    let roles = [(*name).to_owned()];
                    let other = Principal { roles: &roles, ..somebody };
                    prop_assert!(POLICIES.decide(blueprint, &other, permission, &object).allowed());
                },
                Some(_) => {
                    let one_is_enough = told.missing.iter().all(|missing| POLICIES
                        .decide(blueprint, &somebody, permission, &turned(&somebody, object, missing)).allowed());
                    let all = told
                        .missing.iter().fold(object, |object, missing| turned(&somebody, object, missing));
                    let together = POLICIES.decide(blueprint, &somebody, permission, &all).allowed();
                    prop_assert!(one_is_enough || together, "{:?}", told);
                }
            }
        }
    }
}
