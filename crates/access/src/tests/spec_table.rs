//! The core-bank table as the access spec prints it, copied row by row from there and not
//! from the policies, and the sentences of the spec about the other blueprints.

use super::{POLICIES, person, roles};
use crate::{Blueprint, Permission, Resource, Scope};

const ROLES: [&str; 7] =
    ["super_admin", "admin", "manager", "officer", "customer_service", "auditor", "customer"];

/// The columns are the roles above; `-` stands for the spec's `·`.
const SPEC: &str = "
user:create         yes yes yes -   -   -   -
user:read           yes yes yes yes yes yes own
user:update         yes yes yes -   -   -   own
user:delete         yes yes -   -   -   -   -
customer:create     yes yes yes yes yes -   -
customer:update     yes yes yes yes yes -   own
customer:read       yes yes yes yes yes yes own
audit:read          yes yes -   -   -   yes -
account:create      yes yes yes yes yes -   -
account:read        yes yes yes yes yes yes own
account:update      yes yes yes yes yes -   -
account:delete      yes yes yes -   -   -   -
account:approve     yes yes yes -   -   -   -
transaction:create  yes yes yes yes yes -   own
transaction:deposit yes yes yes yes yes -   -
transaction:withdraw yes yes yes yes yes -  -
transaction:read    yes yes yes yes yes yes own
transaction:approve yes yes yes yes -   -   -
transaction:reverse yes yes yes -   -   -   -
loan:create         yes yes yes yes yes -   own
loan:read           yes yes yes yes yes yes own
loan:update         yes yes yes yes -   -   -
loan:approve        yes yes yes -   -   -   -
loan:disburse       yes yes yes -   -   -   -
report:view         yes yes yes yes -   yes -
report:export       yes yes yes -   -   yes -
settings:view       yes yes yes -   -   yes -
settings:update     yes yes -   -   -   -   -
";

/// What the spec says in words: `card:*` as the account rows, `kyc:*` as the user rows,
/// `key:*` and `privacy:*` for admin and above. Ours where it is silent: freezing a card is
/// an update, approving KYC is as approving an account, screening is for admin and above;
/// other people's sessions are as user:update for staff;
/// linking a customer to a login hands over its accounts, so it is as user:update for staff
/// and nobody's own; a fee is as a withdrawal, a journal as a reversal; a hold promises a
/// transfer, and only staff end one. Asking about other people's tokens is as `key:*`.
const ADDED: &str = "
session:read        yes yes yes -   -   -   -
session:delete      yes yes yes -   -   -   -
customer:link       yes yes yes -   -   -   -
transaction:fee     yes yes yes yes yes -   -
transaction:post    yes yes yes -   -   -   -
hold:create         yes yes yes yes yes -   own
hold:read           yes yes yes yes yes yes own
hold:capture        yes yes yes yes yes -   -
hold:release        yes yes yes yes yes -   -
card:create         yes yes yes yes yes -   -
card:read           yes yes yes yes yes yes own
card:update         yes yes yes yes yes -   -
card:freeze         yes yes yes yes yes -   -
card:delete         yes yes yes -   -   -   -
card:approve        yes yes yes -   -   -   -
kyc:create          yes yes yes -   -   -   -
kyc:read            yes yes yes yes yes yes own
kyc:update          yes yes yes -   -   -   own
kyc:delete          yes yes -   -   -   -   -
kyc:approve         yes yes yes -   -   -   -
screening:read      yes yes -   -   -   -   -
screening:approve   yes yes -   -   -   -   -
key:create          yes yes -   -   -   -   -
key:read            yes yes -   -   -   -   -
key:rotate          yes yes -   -   -   -   -
key:revoke          yes yes -   -   -   -   -
session:introspect  yes yes -   -   -   -   -
privacy:create      yes yes -   -   -   -   -
privacy:read        yes yes -   -   -   -   -
privacy:update      yes yes -   -   -   -   -
";

fn rows() -> Vec<(Permission, Vec<Scope>)> {
    let scope = |cell: &str| match cell {
        "yes" => Scope::ALL,
        "own" => Scope::OWN,
        "-" => Scope::NONE,
        other => panic!("cell {other}"),
    };
    SPEC.lines()
        .chain(ADDED.lines())
        .filter(|line| !line.is_empty())
        .map(|line| {
            let mut cells = line.split_whitespace();
            let permission = cells.next().unwrap().parse().unwrap();
            (permission, cells.map(scope).collect())
        })
        .collect()
}

#[test]
fn core_bank_is_the_table_of_the_spec() {
    let rows = rows();
    assert_eq!(Blueprint::CoreBank.roles(), ROLES);
    for permission in Permission::ALL.iter().copied() {
        let expected = rows
            .iter()
            .find(|(name, _)| *name == permission)
            .map_or_else(|| vec![Scope::NONE; ROLES.len()], |(_, cells)| cells.clone());
        assert_eq!(expected.len(), ROLES.len(), "{permission}");
        let actual: Vec<_> = ROLES
            .iter()
            .map(|role| POLICIES.scope(Blueprint::CoreBank, &[role], permission))
            .collect();
        assert_eq!(actual, expected, "{permission}");
    }
}

/// The table's cells are decisions too, not only scopes.
#[test]
fn core_bank_decides_as_the_table_says() {
    for (permission, cells) in rows() {
        for (role, scope) in ROLES.iter().zip(cells) {
            let held = roles(&[role]);
            for owned in [false, true] {
                let object = Resource::for_permission(permission, None).owned(owned);
                let decision =
                    POLICIES.decide(Blueprint::CoreBank, &person(&held), permission, &object);
                let never_own = matches!(
                    permission,
                    Permission::TransactionDeposit
                        | Permission::TransactionWithdraw
                        | Permission::TransactionFee
                        | Permission::TransactionPost
                        | Permission::TransactionReverse
                        | Permission::TransactionApprove
                        | Permission::HoldCapture
                        | Permission::HoldRelease
                        | Permission::AccountCreate
                        | Permission::AccountUpdate
                        | Permission::AccountDelete
                        | Permission::SettingsUpdate
                );
                let expected =
                    (scope.is_all() && !(owned && never_own)) || (owned && scope == Scope::OWN);
                assert_eq!(decision.allowed(), expected, "{role} {permission} {owned}");
            }
        }
    }
}

#[test]
fn tellers_never_touch_accounts_they_hold() {
    for blueprint in [Blueprint::CoreBank, Blueprint::Standard, Blueprint::CardBank] {
        let everyone = roles(blueprint.roles());
        for permission in [
            Permission::TransactionDeposit,
            Permission::TransactionWithdraw,
            Permission::TransactionFee,
            Permission::TransactionPost,
            Permission::TransactionReverse,
        ] {
            let object = Resource::for_permission(permission, None);
            let decide = |object: &Resource<'_>| {
                POLICIES.decide(blueprint, &person(&everyone), permission, object).allowed()
            };
            assert!(decide(&object), "{blueprint} {permission}");
            assert!(!decide(&object.held(true)), "{blueprint} {permission}");
            assert!(!decide(&object.owned(true)), "{blueprint} {permission}");
            assert!(!decide(&object.held(true).owned(true)), "{blueprint} {permission}");
        }
    }
}

/// Staff who hold an account are its customers and nothing else.
#[test]
fn nobody_sets_terms_of_accounts_they_hold_or_pays_them_with_foreign_money() {
    for blueprint in [Blueprint::CoreBank, Blueprint::Standard, Blueprint::CardBank] {
        let everyone = roles(blueprint.roles());
        let decide = |permission, owned, held| {
            let object = Resource::for_permission(permission, None).owned(owned).held(held);
            POLICIES.decide(blueprint, &person(&everyone), permission, &object).allowed()
        };
        for permission in
            [Permission::AccountCreate, Permission::AccountUpdate, Permission::AccountDelete]
        {
            assert!(decide(permission, false, false), "{blueprint} {permission}");
            assert!(!decide(permission, false, true), "{blueprint} {permission}");
            assert!(!decide(permission, true, true), "{blueprint} {permission}");
        }
        for (debited, credited, expected) in
            [(false, false, true), (false, true, false), (true, false, true), (true, true, true)]
        {
            let transfer = Permission::TransactionCreate;
            assert_eq!(decide(transfer, debited, credited), expected, "{blueprint}");
        }
    }
}

/// A hold is promised by those who could pay, and ended by neither of its sides.
#[test]
fn holds_are_never_ended_by_their_sides() {
    for blueprint in [Blueprint::CoreBank, Blueprint::Standard, Blueprint::CardBank] {
        let everyone = roles(blueprint.roles());
        let decide = |permission, owned, held| {
            let object = Resource::for_permission(permission, None).owned(owned).held(held);
            POLICIES.decide(blueprint, &person(&everyone), permission, &object).allowed()
        };
        for (owned, held, creates) in
            [(false, false, true), (false, true, false), (true, false, true), (true, true, true)]
        {
            assert_eq!(decide(Permission::HoldCreate, owned, held), creates, "{blueprint}");
            for permission in [Permission::HoldCapture, Permission::HoldRelease] {
                let expected = !owned && !held;
                assert_eq!(decide(permission, owned, held), expected, "{blueprint} {permission}");
            }
        }
        let customer = POLICIES.permissions_of(blueprint, &roles(&["customer"]));
        assert!(!customer.contains(&"hold:capture") && !customer.contains(&"hold:release"));
    }
}

/// A command that links asks for `customer:link` alone, so whoever has it has the rest.
#[test]
fn whoever_links_customers_also_records_and_changes_them() {
    for blueprint in Blueprint::ALL {
        for role in blueprint.roles() {
            let scope = |permission| POLICIES.scope(blueprint, &[role], permission);
            let link = scope(Permission::CustomerLink);
            assert!(scope(Permission::CustomerCreate).includes(link), "{blueprint} {role}");
            assert!(scope(Permission::CustomerUpdate).includes(link), "{blueprint} {role}");
            assert!(link.is_none() || scope(Permission::UserUpdate).is_all());
        }
    }
}

/// The spec's sentences on the other blueprints: role, permission, scope.
#[test]
fn the_other_blueprints_follow_the_sentences_of_the_spec() {
    use Blueprint::{CardBank, CreditRisk, DigitalBank, EquipmentErp, Platform};
    let table: &[(Blueprint, &str, &str, Scope)] = &[
        (EquipmentErp, "viewer", "equipment:read", Scope::ALL),
        (EquipmentErp, "viewer", "equipment:update", Scope::NONE),
        (EquipmentErp, "operator", "equipment:create", Scope::OWN),
        (EquipmentErp, "operator", "equipment:read", Scope::OWN),
        (EquipmentErp, "operator", "equipment:update", Scope::OWN),
        (EquipmentErp, "operator", "equipment:delete", Scope::NONE),
        (EquipmentErp, "manager", "equipment:delete", Scope::DEPARTMENT),
        (EquipmentErp, "manager", "user:read", Scope::NONE),
        (EquipmentErp, "admin", "equipment:delete", Scope::ALL),
        (EquipmentErp, "admin", "user:create", Scope::ALL),
        (EquipmentErp, "admin", "settings:update", Scope::ALL),
        (DigitalBank, "customer", "user:update", Scope::OWN),
        (DigitalBank, "customer", "session:delete", Scope::OWN),
        (DigitalBank, "support", "session:read", Scope::ALL),
        (DigitalBank, "support", "session:delete", Scope::NONE),
        (CardBank, "admin", "session:delete", Scope::ALL),
        (CardBank, "customer", "session:read", Scope::NONE),
        (DigitalBank, "customer", "factor:create", Scope::OWN),
        (DigitalBank, "customer", "kyc:create", Scope::OWN),
        (DigitalBank, "customer", "kyc:approve", Scope::NONE),
        (DigitalBank, "support", "kyc:read", Scope::ALL),
        (DigitalBank, "support", "kyc:update", Scope::NONE),
        (DigitalBank, "support", "audit:read", Scope::NONE),
        (DigitalBank, "compliance_officer", "kyc:approve", Scope::ALL),
        (DigitalBank, "compliance_officer", "screening:approve", Scope::ALL),
        (DigitalBank, "compliance_officer", "audit:read", Scope::ALL),
        (DigitalBank, "compliance_officer", "user:update", Scope::NONE),
        (CardBank, "customer", "account:read", Scope::OWN),
        (CardBank, "customer", "transaction:create", Scope::OWN),
        (CardBank, "customer", "card:create", Scope::OWN),
        (CardBank, "support", "card:freeze", Scope::ALL),
        (CardBank, "support", "card:update", Scope::NONE),
        (CardBank, "support", "transaction:create", Scope::NONE),
        (CardBank, "admin", "user:delete", Scope::ALL),
        (CreditRisk, "super_admin", "model:approve", Scope::ALL),
        (CreditRisk, "super_admin", "audit:read", Scope::ALL),
        (CreditRisk, "tenant_admin", "tenant:update", Scope::OWN),
        (CreditRisk, "tenant_admin", "organization:create", Scope::ALL),
        (CreditRisk, "tenant_admin", "model:read", Scope::NONE),
        (CreditRisk, "tenant_admin", "audit:read", Scope::NONE),
        (CreditRisk, "org_admin", "organization:update", Scope::ORGANISATION),
        (CreditRisk, "org_admin", "user:create", Scope::ORGANISATION),
        (CreditRisk, "org_admin", "user:delete", Scope::NONE),
        (CreditRisk, "org_member", "prediction:read", Scope::ORGANISATION),
        (CreditRisk, "org_member", "prediction:create", Scope::ORGANISATION),
        (CreditRisk, "org_member", "prediction:update", Scope::NONE),
        (CreditRisk, "user", "prediction:create", Scope::ASSIGNED),
        (CreditRisk, "user", "statement:read", Scope::ASSIGNED),
        (CreditRisk, "user", "organization:read", Scope::NONE),
        (Platform, "super_admin", "tenant:create", Scope::ALL),
        (Platform, "auditor", "tenant:create", Scope::NONE),
    ];
    for (blueprint, role, permission, expected) in table {
        assert!(blueprint.has_role(role), "{blueprint} {role}");
        let permission = permission.parse().unwrap();
        let scope = POLICIES.scope(*blueprint, &[role], permission);
        assert_eq!(scope, *expected, "{blueprint} {role} {permission}");
    }
}
