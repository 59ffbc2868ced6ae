//! Properties over random worlds: roles only ever add, a scope is the list form of the
//! decision.

use proptest::prelude::*;
use proptest::sample::{select, subsequence};
use uuid::Uuid;

use super::POLICIES;
use crate::{Blueprint, Permission, Principal, Resource, Scope};

/// The facts of one object, or of the actor's membership.
#[derive(Clone, Debug)]
struct Facts {
    owned: bool,
    held: bool,
    assigned: bool,
    organization: Option<Uuid>,
    department: Option<&'static str>,
}

fn organizations() -> impl Strategy<Value = Option<Uuid>> {
    prop::option::of((10_u128..13).prop_map(Uuid::from_u128))
}

fn departments() -> impl Strategy<Value = Option<&'static str>> {
    prop::option::of(select(vec!["", "lending", "Lending", "probe"]))
}

fn facts() -> impl Strategy<Value = Facts> {
    (any::<bool>(), any::<bool>(), any::<bool>(), organizations(), departments()).prop_map(
        |(owned, held, assigned, organization, department)| Facts {
            owned,
            held,
            assigned,
            organization,
            department,
        },
    )
}

/// A blueprint, some of its roles (and a stranger's), and the actor's membership.
fn actor() -> impl Strategy<Value = (Blueprint, Vec<String>, Facts)> {
    select(Blueprint::ALL.to_vec()).prop_flat_map(|blueprint| {
        let mut names: Vec<String> = blueprint.roles().iter().map(ToString::to_string).collect();
        names.push("stranger".to_owned());
        let count = names.len();
        (Just(blueprint), subsequence(names, 0..=count), facts())
    })
}

fn resource(permission: Permission, facts: &Facts) -> Resource<'static> {
    Resource::for_permission(permission, None)
        .owned(facts.owned)
        .held(facts.held)
        .assigned(facts.assigned)
        .organization(facts.organization)
        .department(facts.department)
}

fn principal<'a>(roles: &'a [String], member: &Facts) -> Principal<'a> {
    Principal {
        user_id: Uuid::from_u128(7),
        roles,
        organization: member.organization,
        department: member.department,
        custom: crate::CustomRoles::default(),
    }
}

/// Permissions that lists and single reads ask for: no prohibition may bear on them except
/// through the scope.
fn is_read(permission: Permission) -> bool {
    let name = permission.as_str();
    name.ends_with(":read") || name.ends_with(":view") || name.ends_with(":export")
}

proptest! {
    #![proptest_config(ProptestConfig { fork: false, ..ProptestConfig::with_cases(192) })]

    /// list = filter(read), the pure half: in a world of objects the scope picks exactly
    /// those that a single read allows.
    #[test]
    fn the_scope_is_the_filter_of_the_decision(
        (blueprint, roles, member) in actor(),
        permission in select(
            Permission::ALL.iter().copied().filter(|p| is_read(*p)).collect::<Vec<_>>()
        ),
        world in prop::collection::vec(facts(), 1..16),
    ) {
        let principal = principal(&roles, &member);
        let scope = POLICIES.scope(blueprint, &roles, permission);
        for facts in &world {
            let object = resource(permission, facts);
            let decision = POLICIES.decide(blueprint, &principal, permission, &object);
            prop_assert!(!decision.errored());
            prop_assert_eq!(
                decision.allowed(), scope.admits(&principal, &object),
                "{} {} {:?}", permission, scope, facts
            );
        }
    }

    /// For every permission the scope bounds the decision; only a prohibition narrows it.
    #[test]
    fn outside_the_scope_nothing_is_allowed(
        (blueprint, roles, member) in actor(),
        permission in select(Permission::ALL.to_vec()),
        world in prop::collection::vec(facts(), 1..8),
    ) {
        let principal = principal(&roles, &member);
        let scope = POLICIES.scope(blueprint, &roles, permission);
        for facts in &world {
            let object = resource(permission, facts);
            let decision = POLICIES.decide(blueprint, &principal, permission, &object);
            let admitted = scope.admits(&principal, &object);
            prop_assert!(!decision.allowed() || admitted, "{} {:?}", permission, facts);
            prop_assert!(
                decision.allowed() || !admitted || !decision.reasons.is_empty(),
                "{} {:?} denied without a prohibition", permission, facts
            );
        }
    }

    /// A decision that is kept is the decision of everybody who asks the same: whoever
    /// they are, and whichever object they ask about.
    #[test]
    fn what_is_kept_is_what_would_be_decided(
        (blueprint, roles, member) in actor(),
        permission in select(Permission::ALL.to_vec()),
        (person, object_id, object) in (any::<u128>(), any::<u128>(), facts()),
        plain in any::<bool>(),
    ) {
        let free = |facts: Facts| Facts { organization: None, department: None, ..facts };
        let (member, object) = if plain { (free(member), free(object)) } else { (member, object) };
        let roles = if plain { &roles[..roles.len().min(1)] } else { &roles[..] };
        let principal = Principal { user_id: Uuid::from_u128(person), ..principal(roles, &member) };
        let object =
            Resource { id: Some(Uuid::from_u128(object_id)), ..resource(permission, &object) };
        let afresh = POLICIES.decide_uncached(blueprint, &principal, permission, &object);
        for _ in 0..2 {
            let decision = POLICIES.decide(blueprint, &principal, permission, &object);
            prop_assert_eq!(decision.effect, afresh.effect);
            prop_assert_eq!(&decision.reasons, &afresh.reasons);
        }
    }

    /// A further role never takes an allow away, never narrows the scope and never takes a
    /// permission off the list. (No prohibition of ours depends on a role.)
    #[test]
    fn roles_only_add(
        (blueprint, roles, member) in actor(),
        kept in any::<u16>(),
        permission in select(Permission::ALL.to_vec()),
        object in facts(),
    ) {
        let fewer: Vec<_> = roles
            .iter()
            .enumerate()
            .filter(|(index, _)| kept >> index & 1 == 1)
            .map(|(_, role)| role.clone())
            .collect();
        let object = resource(permission, &object);
        let allowed = |roles: &[String]| {
            let principal = principal(roles, &member);
            POLICIES.decide(blueprint, &principal, permission, &object).allowed()
        };
        prop_assert!(!allowed(&fewer) || allowed(&roles));
        let wide = POLICIES.scope(blueprint, &roles, permission);
        prop_assert!(wide.includes(POLICIES.scope(blueprint, &fewer, permission)));
        let names = POLICIES.permissions_of(blueprint, &roles);
        prop_assert!(
            POLICIES.permissions_of(blueprint, &fewer).iter().all(|name| names.contains(name))
        );
    }

    /// A union admits exactly what one of its parts admits, and `ALL` admits everything.
    #[test]
    fn a_union_admits_what_a_part_admits(
        left in 0_usize..16, right in 0_usize..16, member in facts(), object in facts()
    ) {
        let set = |bits: usize| {
            [Scope::OWN, Scope::ASSIGNED, Scope::DEPARTMENT, Scope::ORGANISATION]
                .into_iter()
                .enumerate()
                .filter(|(index, _)| bits >> index & 1 == 1)
                .fold(Scope::NONE, |union, (_, condition)| union | condition)
        };
        let principal = principal(&[], &member);
        let object = resource(Permission::AccountRead, &object);
        let (left, right) = (set(left), set(right));
        prop_assert_eq!(
            (left | right).admits(&principal, &object),
            left.admits(&principal, &object) || right.admits(&principal, &object)
        );
        prop_assert!(Scope::ALL.admits(&principal, &object));
        prop_assert!(!Scope::NONE.admits(&principal, &object));
        prop_assert!(!(left | right).is_all());
    }
}
