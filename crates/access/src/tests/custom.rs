//! Custom roles: the grammar, the conditions, what no role may carry, and that a list picks
//! what single decisions allow.

use std::net::IpAddr;
use std::sync::Arc;

use jiff::Timestamp;
use proptest::prelude::*;
use proptest::sample::{select, subsequence};
use serde_json::{Value, json};
use uuid::Uuid;

use super::POLICIES;
use crate::{
    Blueprint, CustomRole, CustomRoles, Permission, Principal, Resource, RoleDefinition, Scope,
    Situation,
};

fn definition(permissions: &Value) -> RoleDefinition {
    serde_json::from_value(json!({ "name": "night_desk", "permissions": permissions })).unwrap()
}

fn stored(permissions: &Value) -> Arc<str> {
    serde_json::to_string(&definition(permissions)).unwrap().into()
}

fn faults(permissions: &Value) -> Vec<String> {
    let parsed = CustomRole::parse(&definition(permissions));
    parsed.err().unwrap_or_default().into_iter().map(|fault| fault.field).collect()
}

fn holder(definitions: &[Arc<str>], situation: Situation) -> Principal<'_> {
    Principal {
        user_id: Uuid::from_u128(7),
        roles: &[],
        organization: Some(Uuid::from_u128(11)),
        department: Some("lending"),
        custom: CustomRoles { definitions, situation },
    }
}

fn decides(
    definition: &Arc<str>,
    situation: Situation,
    asked: (Permission, &Resource<'_>),
) -> bool {
    let held = [Arc::clone(definition)];
    let somebody = holder(&held, situation);
    let decision = POLICIES.decide(Blueprint::CoreBank, &somebody, asked.0, asked.1);
    assert!(!decision.errored(), "{:?}", decision.errors);
    decision.allowed()
}

#[test]
fn the_grammar_reads_as_the_specification_says() {
    let table = [
        ("account:read", Permission::AccountRead, Scope::ALL),
        ("account:read:own_tenant", Permission::AccountRead, Scope::ALL),
        ("account:*:own", Permission::AccountDelete, Scope::OWN),
        ("prediction:*:own_org", Permission::PredictionCreate, Scope::ORGANISATION),
        ("prediction:read:assigned_companies", Permission::PredictionRead, Scope::ASSIGNED),
    ];
    for (text, permission, expected) in table {
        let role = CustomRole::parse(&definition(&json!([{ "permission": text }]))).unwrap();
        assert_eq!(role.reach(permission), expected, "{text}");
        assert_eq!(role.reach(Permission::LoanApprove), Scope::NONE, "{text}");
    }
    let wrong = [
        "",
        ":",
        "account",
        "account:",
        "*:*",
        "*:read",
        "account:reads",
        "Account:read",
        "account:read:",
        "account:read:all",
        "account:read:own:own",
        " account:read",
        "account:**",
        "account:read\" || true //",
        "acc*:read",
    ];
    for text in wrong {
        let at = faults(&json!([{ "permission": "loan:read" }, { "permission": text }]));
        assert_eq!(at, ["permissions[1].permission"], "{text:?}");
    }
}

#[test]
fn what_is_the_platforms_is_in_no_custom_role() {
    for permission in Permission::ALL {
        let (resource, _) = permission.as_str().split_once(':').unwrap();
        let is_the_platforms = ["system", "tenant"].contains(&resource);
        for text in [permission.to_string(), format!("{resource}:*")] {
            let at = faults(&json!([{ "permission": text }]));
            assert_eq!(!at.is_empty(), is_the_platforms, "{text}: {at:?}");
        }
    }
}

#[test]
fn each_fault_names_its_field() {
    let hours = |change: Value| {
        let mut hours = json!({ "time_zone": "Europe/Zurich", "days": ["mon"], "from": "08:00",
            "to": "18:00" });
        hours.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        json!({ "business_hours": hours })
    };
    let table = [
        (json!({ "owner_only": true, "department": true }), "department"),
        (json!({ "mfa_level": 0 }), "mfa_level"),
        (json!({ "mfa_level": 3 }), "mfa_level"),
        (json!({ "amount_max": { "amount": 5, "currency": "EUR" } }), "amount_max"),
        (json!({ "account_status": ["active"] }), "account_status"),
        (json!({ "networks": ["10.0.0.0/8", "10.0.0.1/8"] }), "networks[1]"),
        (json!({ "networks": ["10.0.0.0/33"] }), "networks[0]"),
        (json!({ "networks": vec!["10.0.0.0/8"; 17] }), "networks"),
        (hours(json!({ "time_zone": "Europe/Nowhere" })), "business_hours.time_zone"),
        (hours(json!({ "time_zone": "../etc/passwd" })), "business_hours.time_zone"),
        (hours(json!({ "days": [] })), "business_hours.days"),
        (hours(json!({ "days": ["mon", "mon"] })), "business_hours.days"),
        (hours(json!({ "from": "8:00" })), "business_hours.from"),
        (hours(json!({ "from": "08:60" })), "business_hours.from"),
        (hours(json!({ "from": "+8:00" })), "business_hours.from"),
        (hours(json!({ "to": "24:01" })), "business_hours.to"),
        (hours(json!({ "to": "08:00" })), "business_hours.to"),
    ];
    for (conditions, field) in table {
        let at = faults(&json!([{ "permission": "account:read", "conditions": conditions }]));
        assert_eq!(at, [format!("permissions[0].conditions.{field}")], "{conditions}");
    }
    for (amount, currency, field) in [
        (0, "EUR", "amount"),
        (-1, "EUR", "amount"),
        (i64::MAX, "EUR", "amount"),
        (1, "eur", "currency"),
        (1, "EURO", "currency"),
    ] {
        let max = json!({ "amount_max": { "amount": amount, "currency": currency } });
        let at = faults(&json!([{ "permission": "transaction:deposit", "conditions": max }]));
        assert_eq!(at, [format!("permissions[0].conditions.amount_max.{field}")]);
    }
    let twice = json!({ "permission": "account:read" });
    assert_eq!(faults(&json!([twice, twice])), ["permissions[1]"]);
    assert_eq!(faults(&json!([])), ["permissions"]);
    let many: Vec<_> = Permission::ALL.iter().map(|one| json!({ "permission": one })).collect();
    assert!(many.len() > 64);
    assert_eq!(faults(&json!(many)), ["permissions"]);
    let scoped =
        json!([{ "permission": "company:read:own_org", "conditions": { "owner_only": true } }]);
    assert_eq!(faults(&scoped), ["permissions[0].conditions.owner_only"]);
}

/// A list that is shown whole or not at all must not be shown whole to whoever has a part.
#[test]
fn a_scope_that_lists_do_not_know_is_refused() {
    for text in [
        "audit:read:own",
        "key:read:own_org",
        "settings:view:own",
        "account:read:own_org",
        "user:read:assigned_companies",
        "session:*:own",
        "report:view:own",
    ] {
        assert_eq!(
            faults(&json!([{ "permission": text }])),
            ["permissions[0].permission"],
            "{text}"
        );
    }
    for (condition, permission) in
        [("owner_only", "audit:read"), ("department", "account:read"), ("department", "user:read")]
    {
        let permission = json!({ "permission": permission, "conditions": { condition: true } });
        let field = format!("permissions[0].conditions.{condition}");
        assert_eq!(faults(&json!([permission])), [field]);
    }
}

#[test]
fn an_unknown_condition_is_no_definition() {
    for conditions in [
        json!({ "colour": "red" }),
        json!({ "Owner_only": true }),
        json!({ "owner_only": 1 }),
        json!({ "amount_max": { "amount": 1, "currency": "EUR", "per": "day" } }),
        json!({ "business_hours": { "days": ["monday"] } }),
    ] {
        let permissions = json!([{ "permission": "account:read", "conditions": conditions }]);
        let text = json!({ "name": "night_desk", "permissions": permissions });
        assert!(serde_json::from_value::<RoleDefinition>(text).is_err(), "{conditions}");
    }
}

#[test]
fn no_name_is_a_system_roles_or_more_than_letters() {
    let role = |name: &str| {
        let mut role = definition(&json!([{ "permission": "account:read" }]));
        name.clone_into(&mut role.name);
        CustomRole::parse(&role)
    };
    assert!(role("night_desk").is_ok());
    let reserved = Blueprint::ALL.iter().flat_map(|blueprint| blueprint.roles().iter().copied());
    let wrong = ["", "a", "Night", "night desk", "night\"desk", "night#1", "_night", "n1"];
    let long = "a".repeat(51);
    for name in reserved.chain(wrong).chain([long.as_str()]) {
        assert_eq!(role(name).unwrap_err()[0].field, "name", "{name}");
    }
}

#[test]
fn a_ceiling_bounds_the_amount_in_its_currency() {
    let teller = stored(&json!([{ "permission": "transaction:deposit", "conditions": {
        "amount_max": { "amount": 1_000, "currency": "EUR" } } }]));
    let object = Resource::for_permission(Permission::TransactionDeposit, None);
    let deposits = |object: Resource<'_>| {
        decides(&teller, Situation::default(), (Permission::TransactionDeposit, &object))
    };
    assert!(deposits(object.amount(1_000, "EUR")));
    assert!(!deposits(object.amount(1_001, "EUR")));
    assert!(!deposits(object.amount(1_000, "USD")));
    assert!(!deposits(object));
    // The blueprint's prohibitions bear on custom roles as on every other.
    assert!(!deposits(object.amount(1, "EUR").held(true)));
}

#[test]
fn hours_networks_factors_and_states_are_obeyed() {
    let role = stored(&json!([{ "permission": "account:update", "conditions": {
        "business_hours": { "time_zone": "Europe/Zurich", "days": ["mon", "fri"],
            "from": "08:00", "to": "18:00" },
        "networks": ["10.0.0.0/8"], "mfa_level": 1, "account_status": ["active"] } }]));
    let ip = |text: &str| Some(text.parse::<IpAddr>().unwrap());
    // A Monday, 09:30 in Zurich.
    let met = Situation {
        now: Some("2026-11-23T08:30:00Z".parse().unwrap()),
        mfa_level: 1,
        address: ip("10.1.2.3"),
        is_past: false,
    };
    let account = Resource::for_permission(Permission::AccountUpdate, None);
    let allows = |situation: Situation, status| {
        let held = [Arc::clone(&role)];
        let somebody = holder(&held, situation);
        let update = Permission::AccountUpdate;
        let scope = POLICIES.scope_of(Blueprint::CoreBank, &somebody, update);
        let allowed = decides(&role, situation, (update, &account.status(status)));
        assert!(!allowed || scope.is_all());
        allowed
    };
    let at = |instant: &str| Situation { now: Some(instant.parse::<Timestamp>().unwrap()), ..met };
    assert!(allows(met, Some("active")));
    assert!(allows(at("2026-11-23T16:59:59Z"), Some("active")));
    // Summer: 08:00 in Zurich is 06:00 in Greenwich.
    assert!(allows(at("2026-07-06T06:00:00Z"), Some("active")));
    for denied in [
        at("2026-11-23T17:00:00Z"),
        at("2026-11-23T06:59:59Z"),
        at("2026-11-24T08:30:00Z"),
        Situation { now: None, ..met },
        Situation { mfa_level: 0, ..met },
        Situation { address: ip("11.0.0.1"), ..met },
        Situation { address: None, ..met },
    ] {
        assert!(!allows(denied, Some("active")), "{denied:?}");
    }
    assert!(!allows(met, Some("frozen")) && !allows(met, None));
    // Of an order that was given before: they were met then, and the object is as it is now.
    assert!(allows(Situation::past(), Some("active")));
    assert!(!allows(Situation::past(), Some("frozen")));
}

/// A definition that somebody has written past us denies, and says so: never a permit less a
/// condition.
#[test]
fn a_definition_that_does_not_read_denies_with_an_error() {
    let good = stored(&json!([{ "permission": "account:read" }]));
    let account = Resource::for_permission(Permission::AccountRead, None);
    for bad in [
        "",
        "{}",
        "null",
        r#"{"name":"admin","permissions":[{"permission":"account:read"}]}"#,
        r#"{"name":"x_y","permissions":[{"permission":"system:read"}]}"#,
        r#"{"name":"x_y","permissions":[{"permission":"account:read","conditions":{"a":1}}]}"#,
    ] {
        let held: [Arc<str>; 2] = [bad.into(), Arc::clone(&good)];
        let somebody = holder(&held, Situation::default());
        let read = Permission::AccountRead;
        let decision = POLICIES.decide(Blueprint::CoreBank, &somebody, read, &account);
        assert!(!decision.allowed() && decision.errored(), "{bad}");
        assert!(POLICIES.custom_roles_fail(Blueprint::CoreBank, &somebody.custom));
    }
}

#[test]
fn a_decision_names_the_grant_that_made_it() {
    let held =
        [stored(&json!([{ "permission": "loan:read" }, { "permission": "account:read:own" }]))];
    let somebody = holder(&held, Situation::default());
    let own = Resource::for_permission(Permission::AccountRead, None).owned(true);
    let decision = POLICIES.decide(Blueprint::CoreBank, &somebody, Permission::AccountRead, &own);
    assert_eq!(decision.reasons, ["night_desk#0"]);
    let names = POLICIES.permissions_held(Blueprint::CoreBank, &somebody);
    assert_eq!(names, ["account:read", "loan:read"]);
}

/// What is under a condition is nobody's to give away.
#[test]
fn only_what_is_unconditional_may_be_given() {
    let held = [stored(&json!([
        { "permission": "account:read", "conditions": { "mfa_level": 1 } },
        { "permission": "account:read:own" },
        { "permission": "equipment:read", "conditions": { "department": true } },
    ]))];
    let somebody = holder(&held, Situation { mfa_level: 2, ..Situation::default() });
    let bank = Blueprint::CoreBank;
    let scope = |permission| POLICIES.scope_of(bank, &somebody, permission);
    let assured = |permission| POLICIES.assured_scope(bank, &somebody, permission);
    assert_eq!(scope(Permission::AccountRead), Scope::ALL);
    assert_eq!(assured(Permission::AccountRead), Scope::OWN);
    assert_eq!(assured(Permission::EquipmentRead), Scope::DEPARTMENT);
}

#[test]
fn a_blueprint_must_not_speak_of_circumstances() {
    for condition in ["context.mfa_level > 0", "resource has amount && resource.amount < 5"] {
        let text = format!(
            "@id(\"x\") permit (principal, action == Action::\"account:read\", resource) when {{ {condition} }};"
        );
        let loaded = crate::Policies::from_texts(|_| vec![text.clone().into()]);
        assert!(loaded.is_err(), "{condition}");
    }
}

/// Pairs of a scope's text and its conditions that go together.
fn scopes() -> impl Strategy<Value = (&'static str, Value)> {
    select(vec![
        ("", json!({})),
        (":own", json!({})),
        (":own_org", json!({})),
        (":assigned_companies", json!({})),
        ("", json!({ "owner_only": true })),
        ("", json!({ "department": true })),
    ])
}

fn circumstances() -> impl Strategy<Value = Value> {
    let hours = json!({ "time_zone": "America/New_York", "days": ["mon", "tue", "wed"],
        "from": "09:00", "to": "17:30" });
    subsequence(
        vec![
            ("mfa_level", json!(1)),
            ("networks", json!(["10.0.0.0/8", "fd00::/8"])),
            ("business_hours", hours),
        ],
        0..=2,
    )
    .prop_map(|chosen| chosen.into_iter().map(|(key, value)| (key.to_owned(), value)).collect())
}

fn grants() -> impl Strategy<Value = Value> {
    let tenants = Permission::ALL.iter().filter(|permission| {
        !matches!(permission.kind(), crate::ResourceKind::System | crate::ResourceKind::Tenant)
    });
    let permissions: Vec<_> = tenants.copied().collect();
    let grant = (select(permissions), any::<bool>(), scopes(), circumstances()).prop_map(
        |(permission, whole, (suffix, mut conditions), more)| {
            let (resource, _) = permission.as_str().split_once(':').unwrap();
            let name = if whole { format!("{resource}:*") } else { permission.to_string() };
            conditions.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            json!({ "permission": format!("{name}{suffix}"), "conditions": conditions })
        },
    );
    let several = prop::collection::vec(grant, 4..16).prop_map(|mut all| {
        let mut kept: Vec<Value> = Vec::new();
        all.retain(|one| {
            let is_new = !kept.contains(one);
            kept.push(one.clone());
            is_new && faults(&json!([one])).is_empty()
        });
        Value::Array(all)
    });
    several.prop_filter("nothing is left", |all| all != &json!([]))
}

fn situation() -> impl Strategy<Value = Situation> {
    let addresses = prop::option::of(select(vec!["10.9.9.9", "192.0.2.1", "fd00::1"]));
    (any::<bool>(), 0_i64..1_209_600, 0_u8..3, addresses).prop_map(
        |(known, second, level, address)| Situation {
            now: known.then(|| Timestamp::from_second(1_780_000_000 + second).unwrap()),
            mfa_level: level,
            address: address.map(|text| text.parse().unwrap()),
            is_past: false,
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { fork: false, ..ProptestConfig::with_cases(96) })]

    /// list = filter(read) of custom roles, the pure half: the scope, which Rust finds, picks
    /// exactly those objects that Cedar allows.
    #[test]
    fn the_scope_of_a_custom_role_is_the_filter_of_its_decisions(
        permissions in grants(),
        blueprint in select(Blueprint::ALL.to_vec()),
        situation in situation(),
        world in prop::collection::vec((any::<[bool; 3]>(), 10_u128..13, any::<bool>()), 1..6),
    ) {
        let held = [stored(&permissions)];
        let somebody = holder(&held, situation);
        for permission in Permission::ALL.iter().copied() {
            let scope = POLICIES.scope_of(blueprint, &somebody, permission);
            let name = permission.as_str();
            let is_read = [":read", ":view", ":export"].iter().any(|end| name.ends_with(end));
            for ([owned, held, assigned], organization, same) in &world {
                let object = Resource::for_permission(permission, None)
                    .owned(*owned).held(*held).assigned(*assigned)
                    .organization(Some(Uuid::from_u128(*organization)))
                    .department(Some(if *same { "lending" } else { "trading" }));
                let decision = POLICIES.decide(blueprint, &somebody, permission, &object);
                prop_assert!(!decision.errored(), "{:?}", decision.errors);
                let admitted = scope.admits(&somebody, &object);
                prop_assert!(!decision.allowed() || admitted, "{} {}", permission, permissions);
                prop_assert!(
                    !is_read || decision.allowed() == admitted, "{} {}", permission, permissions
                );
            }
        }
    }

    /// A custom role that says what a blueprint's role has is that role, but for its
    /// prohibitions, which bear on both.
    #[test]
    fn a_copy_of_a_system_role_decides_as_it_does(
        role in select(vec!["customer", "auditor", "officer", "manager", "admin"]),
        facts in any::<[bool; 3]>(),
    ) {
        let blueprint = Blueprint::CoreBank;
        let scope = |permission| POLICIES.scope(blueprint, &[role], permission);
        let of = |permission: &Permission| {
            let suffix = if scope(*permission).is_all() { "" } else { ":own" };
            json!({ "permission": format!("{permission}{suffix}") })
        };
        let held: Vec<_> =
            Permission::ALL.iter().filter(|one| !matches!(scope(**one), Scope::NONE)).collect();
        let held: Vec<_> =
            held.into_iter().filter(|one| !one.as_str().starts_with("tenant:")).collect();
        let definitions: Vec<_> = held
            .chunks(32)
            .map(|some| stored(&Value::Array(some.iter().map(|one| of(one)).collect())))
            .collect();
        let copy = Principal { organization: None, department: None, ..holder(&definitions, Situation::default()) };
        let roles = [role.to_owned()];
        let original = Principal { roles: &roles, custom: CustomRoles::default(), ..copy };
        for permission in held {
            let object = Resource::for_permission(*permission, None)
                .owned(facts[0]).held(facts[1]).assigned(facts[2]);
            let by = |who| POLICIES.decide(blueprint, who, *permission, &object).effect;
            // A prohibition of one role is that role's.
            let by_original = by(&original);
            prop_assert!(by_original == crate::Effect::Deny || by(&copy) == by_original, "{}", permission);
        }
    }
}
