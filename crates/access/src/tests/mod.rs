//! Tests of the access engine: spec tables, golden matrices, hostile policies, properties.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod custom;
mod golden;
mod hostile;
mod properties;
mod spec_table;

use std::sync::LazyLock;

use uuid::Uuid;

use crate::{Blueprint, Permission, Policies, Principal, Resource, ResourceKind, Scope};

/// Loaded once for a test process.
pub(crate) static POLICIES: LazyLock<Policies> =
    LazyLock::new(|| Policies::load().expect("policies load"));

fn roles(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

fn person(roles: &[String]) -> Principal<'_> {
    Principal {
        user_id: Uuid::from_u128(7),
        roles,
        organization: None,
        department: None,
        custom: crate::CustomRoles::default(),
    }
}

#[test]
fn names_survive_the_wire() {
    for blueprint in Blueprint::ALL {
        let json = format!("\"{blueprint}\"");
        assert_eq!(blueprint.to_string().parse::<Blueprint>().unwrap(), blueprint);
        assert_eq!(serde_json::to_string(&blueprint).unwrap(), json);
        assert_eq!(serde_json::from_str::<Blueprint>(&json).unwrap(), blueprint);
    }
    for permission in Permission::ALL {
        let json = format!("\"{permission}\"");
        assert_eq!(permission.as_str().parse::<Permission>().unwrap(), *permission);
        assert_eq!(serde_json::to_string(permission).unwrap(), json);
        assert_eq!(serde_json::from_str::<Permission>(&json).unwrap(), *permission);
    }
    assert!("core_bank".parse::<Blueprint>().is_err());
    for unknown in ["", "account", "account:", "account:*", "Account:read", "account:read "] {
        assert!(unknown.parse::<Permission>().is_err(), "{unknown:?}");
    }
}

/// `decide` finds its tables by discriminant.
#[test]
fn closed_lists_stand_in_the_order_of_their_discriminants() {
    assert!(Blueprint::ALL.iter().enumerate().all(|(index, item)| *item as usize == index));
    assert!(Permission::ALL.iter().enumerate().all(|(index, item)| *item as usize == index));
    assert!(ResourceKind::ALL.iter().enumerate().all(|(index, item)| *item as usize == index));
}

#[test]
fn nobody_without_a_role_may_do_anything() {
    let strangers = [roles(&[]), roles(&["no_such_role"]), roles(&["Super_Admin", ""])];
    for (blueprint, roles) in
        Blueprint::ALL.iter().flat_map(|b| strangers.iter().map(move |r| (*b, r)))
    {
        assert!(POLICIES.permissions_of(blueprint, roles).is_empty());
        for permission in Permission::ALL.iter().copied() {
            let object = Resource::for_permission(permission, None).owned(true).assigned(true);
            let decision = POLICIES.decide(blueprint, &person(roles), permission, &object);
            assert!(!decision.allowed() && !decision.errored(), "{blueprint} {permission}");
        }
    }
}

/// Another blueprint's role name is no role here, however mighty it is there.
#[test]
fn a_foreign_blueprints_role_grants_nothing() {
    for blueprint in Blueprint::ALL {
        let foreign: Vec<_> = Blueprint::ALL
            .iter()
            .flat_map(|other| other.roles())
            .filter(|role| !blueprint.has_role(role))
            .map(|role| (*role).to_owned())
            .collect();
        assert!(POLICIES.permissions_of(blueprint, &foreign).is_empty(), "{blueprint}");
    }
}

#[test]
fn system_and_tenant_act_from_the_platform_only() {
    for blueprint in Blueprint::ALL {
        let everyone = roles(blueprint.roles());
        let outside = Permission::ALL.iter().copied().filter(|permission| {
            let resource = permission.kind();
            let installation = matches!(resource, ResourceKind::System | ResourceKind::Tenant);
            installation
                && !POLICIES.scope(blueprint, &everyone, *permission).is_none()
                && POLICIES.scope(blueprint, &everyone, *permission) != Scope::OWN
        });
        assert_eq!(outside.count() > 0, blueprint == Blueprint::Platform, "{blueprint}");
    }
}

#[test]
fn a_decision_names_its_policies() {
    let decide = |role: &str, permission, object: &Resource<'_>| {
        POLICIES.decide(Blueprint::CoreBank, &person(&roles(&[role])), permission, object)
    };
    let account = Resource::new(ResourceKind::Account, Some(Uuid::from_u128(9)));
    let deposit = Resource::new(ResourceKind::Transaction, None);
    let deposits = Permission::TransactionDeposit;

    let own = decide("customer", Permission::AccountRead, &account.owned(true));
    assert!(own.allowed());
    assert_eq!(own.reasons, ["core-bank/customer-own"]);
    let foreign = decide("customer", Permission::AccountRead, &account);
    assert!(!foreign.allowed() && foreign.reasons.is_empty() && !foreign.errored());
    assert!(decide("officer", deposits, &deposit).allowed());
    let held = decide("super_admin", deposits, &deposit.held(true));
    assert!(!held.allowed());
    assert_eq!(held.reasons, ["core-bank/teller-never-on-held-accounts"]);
}

#[test]
fn the_wrong_kind_of_object_is_an_error_and_a_deny() {
    let account = Resource::new(ResourceKind::Account, None).owned(true);
    let admin = roles(&["super_admin"]);
    let decision =
        POLICIES.decide(Blueprint::CoreBank, &person(&admin), Permission::LoanRead, &account);
    assert!(!decision.allowed() && decision.errored());
}

#[test]
fn roles_unite_their_scopes() {
    let both = roles(&["operator", "manager"]);
    let scope = POLICIES.scope(Blueprint::EquipmentErp, &both, Permission::EquipmentRead);
    assert_eq!(scope, Scope::OWN | Scope::DEPARTMENT);
    assert_eq!(scope.to_string(), "own+department");
    let with_viewer = roles(&["operator", "viewer"]);
    let scope = POLICIES.scope(Blueprint::EquipmentErp, &with_viewer, Permission::EquipmentRead);
    assert!(scope.is_all() && scope.includes(Scope::OWN));
    let customer = roles(&["customer"]);
    let names = POLICIES.permissions_of(Blueprint::CoreBank, &customer);
    assert!(names.is_sorted() && names.contains(&"transaction:create"));
}

/// Two parties without an organisation or department share none.
#[test]
fn absent_memberships_do_not_match() {
    let manager = roles(&["manager"]);
    let object = Resource::new(ResourceKind::Equipment, None);
    let read = Permission::EquipmentRead;
    let decision = POLICIES.decide(Blueprint::EquipmentErp, &person(&manager), read, &object);
    assert!(!decision.allowed() && !decision.errored());
    assert!(!Scope::DEPARTMENT.admits(&person(&manager), &object));
    let nowhere = Principal { department: Some("yard"), ..person(&manager) };
    assert!(!POLICIES.decide(Blueprint::EquipmentErp, &nowhere, read, &object).allowed());
    let yard = object.department(Some("yard"));
    assert!(POLICIES.decide(Blueprint::EquipmentErp, &nowhere, read, &yard).allowed());
}

/// A movement may be decided on the account it is made on; the party of the debited account
/// transfers, a teller does not.
#[test]
fn movements_are_decided_on_their_account() {
    let account = Resource::new(ResourceKind::Account, Some(Uuid::from_u128(9)));
    let table = [
        ("customer", Permission::TransactionCreate, true, true),
        ("customer", Permission::TransactionCreate, false, false),
        ("customer", Permission::TransactionDeposit, true, false),
        ("customer", Permission::TransactionRead, true, true),
        ("officer", Permission::TransactionCreate, false, true),
        ("officer", Permission::TransactionDeposit, false, true),
        ("officer", Permission::TransactionDeposit, true, false),
        ("officer", Permission::TransactionWithdraw, true, false),
    ];
    for (role, permission, owned, expected) in table {
        let held = roles(&[role]);
        let object = account.owned(owned);
        let decision = POLICIES.decide(Blueprint::CoreBank, &person(&held), permission, &object);
        assert_eq!(decision.allowed(), expected, "{role} {permission} {owned}");
        assert!(!decision.errored());
    }
}

/// The slice of a single role leaves out only what could not have been met: naming the role
/// twice takes the whole slice of the action, and answers the same.
#[test]
fn the_slice_of_a_role_decides_as_all_policies_do() {
    for (blueprint, role) in
        Blueprint::ALL.iter().flat_map(|b| b.roles().iter().map(move |role| (*b, *role)))
    {
        for permission in Permission::ALL.iter().copied() {
            let object = Resource::for_permission(permission, None);
            for object in [object, object.owned(true), object.owned(true).held(true)] {
                let decide = |roles: &[String]| {
                    POLICIES.decide(blueprint, &person(roles), permission, &object)
                };
                let sliced = decide(&roles(&[role]));
                assert_eq!(sliced, decide(&roles(&[role, role])), "{blueprint} {permission}");
            }
        }
    }
}
