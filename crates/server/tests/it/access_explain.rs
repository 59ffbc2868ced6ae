//! `POST /v1/access/explain`: what is explained is what is decided, of the facts of real
//! objects, and it tells nobody more than reading would.

use access::{Blueprint, Permission, Policies, Principal, Resource, ResourceKind};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::harness::{Answered, App, Bank};

const PATH: &str = "/v1/access/explain";

async fn ask(app: &App, token: &str, question: &Value) -> Answered {
    app.post(PATH).bearer(token).json(question).send().await
}

/// A hold of the first customer in favour of the second.
async fn hold(app: &App, bank: &Bank) -> Uuid {
    let token = app.login(bank, "customer").await;
    let order = json!({
        "account_id": bank.customers[0].accounts[0], "to_account_id": bank.customers[1].accounts[0],
        "amount": 10,
    });
    let made = app.post("/v1/holds").bearer(&token).key("hold").json(&order).send().await;
    made.body["id"].as_str().unwrap().parse().unwrap()
}

/// Kinds, ids, and the logins to whom the object is own, and held.
async fn objects(app: &App, bank: &Bank) -> Vec<(ResourceKind, Uuid, &'static str, &'static str)> {
    let [first, second] = [&bank.customers[0], &bank.customers[1]];
    vec![
        (ResourceKind::Account, first.accounts[0], "customer", "customer"),
        (ResourceKind::Account, second.accounts[1], "second", "second"),
        (ResourceKind::Customer, first.id, "customer", ""),
        (ResourceKind::Customer, second.id, "second", ""),
        (ResourceKind::Hold, hold(app, bank).await, "customer", "second"),
        (ResourceKind::User, bank.users["officer"], "officer", ""),
        (ResourceKind::User, bank.users["customer"], "customer", ""),
    ]
}

#[tokio::test]
async fn what_is_explained_is_what_is_decided() {
    let app = App::start().await;
    let (bank, policies) = (&app.bank, Policies::load().unwrap());
    let objects = objects(&app, bank).await;
    let token = app.login(bank, "super_admin").await;
    let (mut allowed, mut denied) = (0, 0);
    for (name, person) in &bank.users {
        let roles = [if name == "second" { "customer".to_owned() } else { name.clone() }];
        let principal = Principal {
            user_id: *person,
            roles: &roles,
            organization: None,
            department: None,
            custom: access::CustomRoles::default(),
        };
        for permission in Permission::ALL.iter().copied() {
            use Permission::{AccountCreate, CustomerCreate, HoldCreate, UserCreate};
            let makes = [AccountCreate, CustomerCreate, HoldCreate, UserCreate];
            let is_made = makes.contains(&permission);
            let fitting = objects.iter().filter(|(kind, ..)| permission.acts_on(*kind) && !is_made);
            let mut table = vec![(None, Resource::for_permission(permission, None))];
            table.extend(fitting.map(|(kind, id, owner, holder)| {
                // Of a transfer the credited account counts, and none is named.
                let held = holder == name && permission != Permission::TransactionCreate;
                (
                    Some((*kind, *id)),
                    Resource::new(*kind, Some(*id)).owned(owner == name).held(held),
                )
            }));
            for (object, resource) in table {
                let mut question = json!({ "actor": person, "action": permission.as_str() });
                if let Some((kind, id)) = object {
                    let kind = kind.as_str().to_ascii_lowercase();
                    question["resource"] = json!({ "type": kind, "id": id });
                }
                let told = ask(&app, &token, &question).await;
                assert_eq!(told.status, 200, "{question}: {}", told.body);
                let decision =
                    policies.decide(Blueprint::CoreBank, &principal, permission, &resource);
                let expected = if decision.allowed() { "allow" } else { "deny" };
                assert_eq!(told.body["decision"], expected, "{name} {question}: {}", told.body);
                assert_eq!(told.body["policies"], json!(decision.reasons), "{name} {question}");
                assert_eq!(told.body["roles"], json!(roles), "{name}");
                let missing = told.body["missing"].as_array().unwrap();
                assert!(missing.is_empty() || expected == "deny", "{question}: {}", told.body);
                *(if decision.allowed() { &mut allowed } else { &mut denied }) += 1;
            }
        }
    }
    assert!(allowed > 100 && denied > 100, "{allowed} allowed, {denied} denied");
}

#[tokio::test]
async fn nothing_is_told_that_a_read_would_not_tell() {
    let app = App::start().await;
    let rival = app.add_bank("rival").await;
    let (bank, nobody) = (&app.bank, Uuid::from_u128(1));
    let [own, neighbours] = [0, 1].map(|number| bank.customers[number].accounts[0]);
    let customer = app.login(bank, "customer").await;
    let officer = app.login(bank, "officer").await;
    let admin = app.login(bank, "admin").await;
    let account = |id: Uuid| json!({ "type": "account", "id": id });
    let person = |id: Uuid| json!({ "type": "user", "id": id });
    let read = |resource: Value| json!({ "action": "account:read", "resource": resource });
    let of = |actor: Uuid| json!({ "actor": actor, "action": "account:read" });
    // who asks, what, status
    let table = [
        (&customer, read(account(own)), 200),
        (&customer, json!({ "action": "transaction:deposit", "resource": account(own) }), 200),
        (&customer, read(account(neighbours)), 404),
        (&customer, read(account(rival.customers[0].accounts[0])), 404),
        (&customer, read(account(nobody)), 404),
        (&customer, of(bank.users["customer"]), 200),
        (&customer, of(bank.users["officer"]), 404),
        (&customer, of(nobody), 404),
        (
            &customer,
            json!({ "action": "user:read", "resource": person(bank.users["officer"]) }),
            404,
        ),
        (&officer, read(account(neighbours)), 200),
        (&admin, of(bank.users["officer"]), 200),
        (&admin, of(rival.users["officer"]), 404),
        (&admin, of(nobody), 404),
        (&admin, read(account(rival.customers[0].accounts[0])), 404),
        (&admin, json!({ "action": "user:read", "resource": person(rival.users["officer"]) }), 404),
    ];
    let mut missing = Vec::new();
    for (token, question, status) in table {
        let told = ask(&app, token, &question).await;
        assert_eq!(told.status, status, "{question}: {}", told.body);
        if status == 404 {
            let mut body = told.body;
            body["request_id"] = Value::Null;
            missing.push(body);
        }
    }
    assert!(missing.windows(2).all(|pair| pair[0] == pair[1]), "{missing:?}");
}

#[tokio::test]
async fn questions_that_make_no_sense_name_their_field_and_machines_ask_none() {
    let app = App::start().await;
    let bank = &app.bank;
    let admin = app.login_by_factor(bank, "admin").await;
    let account = json!({ "type": "account", "id": bank.customers[0].accounts[0] });
    let table = [
        (json!({ "action": "account:steal" }), "action"),
        (json!({}), "action"),
        (json!({ "action": "account:read", "as_of": "2025-01-01T00:00:00Z" }), "as_of"),
        (json!({ "action": "user:read", "resource": account }), "resource.type"),
        (json!({ "action": "account:create", "resource": account }), "resource"),
        (
            json!({ "action": "user:read", "resource": { "type": "ship", "id": Uuid::nil() } }),
            "resource.type",
        ),
        (json!({ "action": "user:read", "resource": { "type": "user" } }), "resource.id"),
    ];
    for (question, field) in table {
        let told = ask(&app, &admin, &question).await;
        assert_eq!((told.status, told.field()), (400, field), "{question}: {}", told.body);
    }
    let wish = json!({ "name": "Payroll", "role": "officer" });
    let key = app.post("/v1/api-keys").bearer(&admin).json(&wish).send().await;
    let secret = key.body["secret"].as_str().unwrap();
    let told = ask(&app, secret, &json!({ "action": "account:read" })).await;
    assert_eq!((told.status, told.code()), (403, "permission_denied"), "{}", told.body);
}

#[tokio::test]
async fn who_is_switched_off_has_no_roles_and_who_asked_is_on_the_record() {
    let app = App::start().await;
    let bank = &app.bank;
    let admin = app.login(bank, "admin").await;
    let (officer, account) = (bank.users["officer"], bank.customers[0].accounts[0]);
    let question = json!({
        "actor": officer, "action": "account:read", "resource": { "type": "account", "id": account },
    });
    assert_eq!(ask(&app, &admin, &question).await.body["decision"], "allow");
    let off = "UPDATE users SET is_active = false WHERE id = $1";
    app.superuser.execute(off, &[&officer]).await.unwrap();
    let told = ask(&app, &admin, &question).await;
    assert_eq!((&told.body["decision"], &told.body["roles"]), (&json!("deny"), &json!([])));
    assert_eq!(told.body["missing"][0]["kind"], "role");
    app.seal().await;
    let sql = "SELECT event_type::text, resource_id, details FROM audit_log \
         WHERE tenant_id = $1 AND action = 'access.explain'";
    let records = app.superuser.query(sql, &[&bank.id]).await.unwrap();
    assert!(!records.is_empty());
    for record in &records {
        assert_eq!(record.get::<_, &str>("event_type"), "data_access");
        assert_eq!(record.get::<_, Option<Uuid>>("resource_id"), Some(officer));
        let details: Value = record.get("details");
        let filter = json!({
            "permission": "account:read", "resource": { "type": "account", "id": account },
        });
        assert_eq!(details["filter"], filter);
    }
    let read = "SELECT count(*) FROM audit_log WHERE tenant_id = $1 AND action = 'user.read'";
    assert_eq!(app.superuser.query_one(read, &[&bank.id]).await.unwrap().get::<_, i64>(0), 0);
}
