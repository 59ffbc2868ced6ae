//! Custom roles over HTTP: what they open, who may write and give them, and that a change is
//! obeyed at once.

use futures_util::future::join_all;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::approvals::{CEILING, bank_with_ceiling, decide, order, send, status_of, waiting};
use crate::harness::{Answered, App, Bank, PASSWORD};
use crate::wire_requests::assert_problem;

fn desk() -> Value {
    let ceiling = json!({ "amount_max": { "amount": 1_000, "currency": "EUR" } });
    json!([
        { "permission": "account:read" }, { "permission": "transaction:read" },
        { "permission": "transaction:deposit", "conditions": ceiling },
    ])
}

async fn write_role(app: &App, token: &str, name: &str, permissions: &Value) -> Answered {
    let body = json!({ "name": name, "permissions": permissions });
    app.post("/v1/roles").bearer(token).json(&body).send().await
}

/// A role that the tenant's admin made.
async fn role(app: &App, bank: &Bank, name: &str, permissions: &Value) -> Uuid {
    let admin = app.login_by_factor(bank, "admin").await;
    let made = write_role(app, &admin, name, permissions).await;
    assert_eq!(made.status, 201, "{}", made.text);
    assert_eq!(made.header("etag"), "\"1\"");
    id(&made)
}

fn id(answer: &Answered) -> Uuid {
    answer.body["id"].as_str().unwrap().parse().unwrap()
}

async fn give(app: &App, token: &str, person: Uuid, roles: &[&str]) -> Answered {
    let path = format!("/v1/users/{person}");
    let ask = app.patch(path).bearer(token).header("if-match", "*");
    ask.json(&json!({ "roles": roles })).send().await
}

async fn given(app: &App, bank: &Bank, name: &str, roles: &[&str]) {
    let admin = app.login(bank, "super_admin").await;
    let answer = give(app, &admin, bank.users[name], roles).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
}

async fn change(app: &App, (token, role): (&str, Uuid), version: &str, to: &Value) -> Answered {
    let ask = app.patch(format!("/v1/roles/{role}")).bearer(token).header("if-match", version);
    ask.json(&json!({ "permissions": to })).send().await
}

async fn deposit(app: &App, token: &str, account: Uuid, order: &Value) -> Answered {
    let key = Uuid::from_bytes(vault::random_bytes()).to_string();
    let path = format!("/v1/accounts/{account}/deposits");
    app.post(path).bearer(token).key(&key).json(order).send().await
}

#[tokio::test]
async fn a_custom_role_opens_what_it_says_and_nothing_else() {
    let app = App::start().await;
    let bank = &app.bank;
    let foreign = bank.customers[1].accounts[0];
    let own = bank.customers[0].accounts[0];
    let before = app.login(bank, "customer").await;
    let read = |account: Uuid| format!("/v1/accounts/{account}");
    assert_problem(&app.get(read(foreign)).bearer(&before).send().await, 404, "not_found");

    role(&app, bank, "night_desk", &desk()).await;
    given(&app, bank, "customer", &["customer", "night_desk"]).await;
    // What was begun with fewer roles is over.
    assert_eq!(app.get(read(own)).bearer(&before).send().await.status, 401);
    let token = app.login(bank, "customer").await;
    let me = app.get("/v1/auth/me").bearer(&token).send().await;
    assert_eq!(
        (&me.body["role"], &me.body["roles"]),
        (&json!("customer"), &json!(["customer", "night_desk"]))
    );
    let named = me.body["permissions"].as_array().unwrap();
    assert!(named.contains(&json!("transaction:deposit")), "{}", me.text);
    assert!(!named.contains(&json!("transaction:withdraw")), "{}", me.text);
    assert_eq!(app.get(read(foreign)).bearer(&token).send().await.status, 200);
    let all = app.get("/v1/accounts").bearer(&token).send().await;
    assert_eq!(all.body["data"].as_array().unwrap().len(), 4, "{}", all.text);

    for (account, order, status) in [
        (foreign, json!({ "amount": 1_000 }), 201),
        (foreign, json!({ "amount": 1_000, "currency": "EUR" }), 201),
        (foreign, json!({ "amount": 1_001 }), 403),
        (foreign, json!({ "amount": 1, "currency": "USD" }), 403),
        // The blueprint's prohibition: no teller on their own account.
        (own, json!({ "amount": 1 }), 403),
    ] {
        let answer = deposit(&app, &token, account, &order).await;
        assert_eq!(answer.status, status, "{order}: {}", answer.text);
    }
    let order = json!({ "amount": 1 });
    let path = format!("/v1/accounts/{foreign}/withdrawals");
    let withdrawn = app.post(path).bearer(&token).key("w").json(&order).send().await;
    assert_problem(&withdrawn, 403, "permission_denied");
    let order =
        json!({ "from_account_id": foreign, "to_account_id": own, "amount": 1, "currency": "EUR" });
    let stolen = app.post("/v1/transfers").bearer(&token).key("t").json(&order).send().await;
    assert_problem(&stolen, 403, "permission_denied");
}

#[tokio::test]
async fn conditions_on_the_circumstances_are_obeyed() {
    let app = App::start().await;
    let bank = &app.bank;
    let every_day = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];
    let always = json!({ "time_zone": "UTC", "days": every_day, "from": "00:00", "to": "24:00" });
    let permissions = json!([
        { "permission": "account:read", "conditions": {
            "business_hours": always, "networks": ["10.0.0.0/8"], "mfa_level": 1 } },
        // No minute of any day is both.
        { "permission": "customer:read", "conditions": { "business_hours": {
            "time_zone": "UTC", "days": every_day, "from": "00:00", "to": "00:01" } } },
    ]);
    role(&app, bank, "vault_desk", &permissions).await;
    given(&app, bank, "customer", &["customer", "vault_desk"]).await;
    let path = format!("/v1/accounts/{}", bank.customers[1].accounts[0]);
    let token = app.login_by_factor(bank, "customer").await;
    let from = |peer: &str| app.get(path.clone()).bearer(&token).peer(peer).send();
    assert_eq!(from("10.20.30.40").await.status, 200);
    assert_problem(&from("192.0.2.1").await, 404, "not_found");
    // Of oneself it is explained as it is decided: under the circumstances of the question.
    let question = json!({ "action": "account:read" });
    for (peer, decision, missing) in [
        ("10.20.30.40", "allow", json!([])),
        ("192.0.2.1", "deny", json!([{ "kind": "condition", "condition": "networks" }])),
    ] {
        let ask = app.post("/v1/access/explain").bearer(&token).peer(peer).json(&question);
        let told = ask.send().await;
        assert_eq!(told.body["decision"], decision, "{}", told.text);
        assert_eq!(told.body["missing"], missing, "{}", told.text);
    }
    let token = app.login(bank, "customer").await;
    let ask = app.post("/v1/access/explain").bearer(&token).peer("10.20.30.40").json(&question);
    let told = ask.send().await;
    let expected = json!([{ "kind": "condition", "condition": "mfa_level" }]);
    assert_eq!(told.body["missing"], expected, "{}", told.text);
    let by_password = app.get(path.clone()).bearer(&token).peer("10.20.30.40").send().await;
    assert_problem(&by_password, 404, "not_found");
    let listed = app.get("/v1/accounts").bearer(&token).peer("10.20.30.40").send().await;
    assert_eq!(listed.body["data"].as_array().unwrap().len(), 2, "{}", listed.text);
}

#[tokio::test]
async fn nobody_writes_or_gives_more_than_they_hold() {
    let app = App::start().await;
    let bank = &app.bank;
    let manager = app.login_by_factor(bank, "manager").await;
    let read = json!([{ "permission": "account:read" }]);
    assert_problem(&write_role(&app, &manager, "desk", &read).await, 403, "permission_denied");
    let without_factor = app.login(bank, "admin").await;
    let refused = write_role(&app, &without_factor, "desk", &read).await;
    assert_problem(&refused, 403, "step_up_required");
    let admin = app.login_by_factor(bank, "admin").await;
    // No role of a bank holds this, so nobody there can give it.
    let equipment = json!([{ "permission": "equipment:read" }]);
    let refused = write_role(&app, &admin, "desk", &equipment).await;
    assert_problem(&refused, 403, "privilege_escalation");

    let mighty = json!([{ "permission": "loan:disburse" }, { "permission": "account:read" }]);
    let mighty = role(&app, bank, "mighty_desk", &mighty).await;
    let plain = role(&app, bank, "plain_desk", &read).await;
    let writer = json!([
        { "permission": "settings:view" }, { "permission": "settings:update" },
        { "permission": "user:read" }, { "permission": "user:update" },
        // What a customer has and an officer has not.
        { "permission": "kyc:update:own" },
        { "permission": "account:approve", "conditions": { "mfa_level": 1 } },
    ]);
    let own = role(&app, bank, "role_writer", &writer).await;
    given(&app, bank, "officer", &["officer", "role_writer"]).await;
    let officer = app.login_by_factor(bank, "officer").await;

    for (permissions, case) in [
        (json!([{ "permission": "account:delete" }]), "not held"),
        (json!([{ "permission": "account:*" }]), "not all of it held"),
        (json!([{ "permission": "account:approve" }]), "held under a condition"),
        (
            json!([{ "permission": "account:approve", "conditions": { "mfa_level": 2 } }]),
            "narrower",
        ),
    ] {
        let refused = write_role(&app, &officer, "fresh_desk", &permissions).await;
        assert_eq!((refused.status, refused.code()), (403, "privilege_escalation"), "{case}");
    }
    assert_eq!(write_role(&app, &officer, "fresh_desk", &read).await.status, 201);
    let widened = json!([{ "permission": "account:read" }, { "permission": "loan:disburse" }]);
    let refused = change(&app, (&officer, plain), "*", &widened).await;
    assert_problem(&refused, 403, "privilege_escalation");
    // Nor is what they could not have written theirs to cut down.
    let refused = change(&app, (&officer, mighty), "*", &read).await;
    assert_problem(&refused, 403, "privilege_escalation");
    let ended = app.delete(format!("/v1/roles/{mighty}")).bearer(&officer).send().await;
    assert_problem(&ended, 403, "privilege_escalation");
    assert_problem(&change(&app, (&officer, own), "*", &writer).await, 403, "own_role");

    let customer = bank.users["customer"];
    let refused = give(&app, &officer, customer, &["customer", "mighty_desk"]).await;
    assert_problem(&refused, 403, "privilege_escalation");
    assert_eq!(give(&app, &officer, customer, &["customer", "plain_desk"]).await.status, 200);
    let refused = give(&app, &officer, customer, &["super_admin"]).await;
    assert_problem(&refused, 403, "privilege_escalation");
    // Nor does anybody touch whoever holds more.
    given(&app, bank, "second", &["customer", "mighty_desk"]).await;
    let refused = give(&app, &officer, bank.users["second"], &["customer"]).await;
    assert_problem(&refused, 403, "privilege_escalation");
    let refused = give(&app, &officer, bank.users["officer"], &["officer", "plain_desk"]).await;
    assert_eq!(refused.status, 403, "{}", refused.text);
}

#[tokio::test]
async fn whoever_changes_a_role_has_a_hand_in_the_access_of_its_holders() {
    let app = bank_with_ceiling().await;
    let bank = &app.bank;
    let read = json!([{ "permission": "account:read" }]);
    let desk = role(&app, bank, "portal_desk", &read).await;
    // Given by somebody else, when it was harmless.
    given(&app, bank, "auditor", &["auditor", "portal_desk"]).await;
    let admin = app.login_by_factor(bank, "admin").await;
    let (approval, _) = waiting(&app, &admin, "own").await;
    let approver = json!([
        { "permission": "account:read" }, { "permission": "transaction:read" },
        { "permission": "transaction:approve" }, { "permission": "user:read" },
    ]);
    assert_eq!(change(&app, (&admin, desk), "*", &approver).await.status, 200);
    let puppet = app.login_by_factor(bank, "auditor").await;
    let refused = decide(&app, &puppet, (approval, "approve"), "p").await;
    assert_problem(&refused, 403, "not_independent");
    // Somebody's else order is theirs to approve.
    let officer = app.login(bank, "officer").await;
    let (other, _) = waiting(&app, &officer, "other").await;
    let done = decide(&app, &puppet, (other, "approve"), "q").await;
    assert_eq!(status_of(&done), "approved", "{}", done.text);
}

#[tokio::test]
async fn nobody_changes_a_role_that_the_mightier_hold() {
    let app = App::start().await;
    let bank = &app.bank;
    let read = json!([{ "permission": "account:read" }]);
    let desk = role(&app, bank, "plain_desk", &read).await;
    let owner = app.login(bank, "super_admin").await;
    let sql = "INSERT INTO user_roles (tenant_id, user_id, role) VALUES ($1, $2, 'plain_desk')";
    app.superuser.execute(sql, &[&bank.id, &bank.users["super_admin"]]).await.unwrap();
    let admin = app.login_by_factor(bank, "admin").await;
    let wider = json!([{ "permission": "account:read" }, { "permission": "customer:read" }]);
    for permissions in [&read, &wider] {
        let refused = change(&app, (&admin, desk), "*", permissions).await;
        assert_problem(&refused, 403, "privilege_escalation");
    }
    let still = app.get("/v1/auth/me").bearer(&owner).send().await;
    assert_eq!(still.status, 200, "nobody's session ended");
    // A change that changes nothing ends nobody's either.
    let other = role(&app, bank, "other_desk", &read).await;
    given(&app, bank, "customer", &["customer", "other_desk"]).await;
    let customer = app.login(bank, "customer").await;
    let same = change(&app, (&admin, other), "*", &read).await;
    assert_eq!((same.status, same.header("etag")), (200, "\"1\""), "{}", same.text);
    assert_eq!(app.get("/v1/auth/me").bearer(&customer).send().await.status, 200);
    assert_eq!(change(&app, (&admin, other), "*", &wider).await.status, 200);
    assert_eq!(app.get("/v1/auth/me").bearer(&customer).send().await.status, 401);
}

#[tokio::test]
async fn whoever_gives_a_role_waits_for_whoever_changes_it() {
    let app = App::start().await;
    let bank = &app.bank;
    let read = json!([{ "permission": "account:read" }]);
    let desk = role(&app, bank, "plain_desk", &read).await;
    let officer = json!([{ "permission": "user:read" }, { "permission": "user:update" }]);
    role(&app, bank, "giver", &officer).await;
    given(&app, bank, "officer", &["officer", "giver"]).await;
    let token = app.login_by_factor(bank, "officer").await;
    // A widening that is not committed yet.
    let mut other = testkit::connect(&app.database.superuser_url()).await;
    let widening = other.transaction().await.unwrap();
    let lock = "SELECT version FROM roles WHERE id = $1 FOR NO KEY UPDATE";
    widening.query(lock, &[&desk]).await.unwrap();
    let widen = "INSERT INTO role_permissions (tenant_id, role_id, position, resource, action) \
                 VALUES ($1, $2, 1, 'loan', 'disburse')";
    widening.execute(widen, &[&bank.id, &desk]).await.unwrap();
    let customer = bank.users["customer"];
    let wanted = ["customer", "plain_desk"];
    let giving = give(&app, &token, customer, &wanted);
    let committing = async {
        tokio::time::sleep(std::time::Duration::from_millis(300)).await;
        widening.commit().await.unwrap();
    };
    let (refused, ()) = futures_util::future::join(giving, committing).await;
    assert_problem(&refused, 403, "privilege_escalation");
}

#[tokio::test]
async fn where_a_role_needs_a_factor_every_custom_role_does() {
    let app = App::start().await;
    let bank = &app.bank;
    let policy = "UPDATE security_policies SET policy = jsonb_set(policy, '{mfa,required_roles}', '[\"manager\"]')";
    app.superuser.batch_execute(policy).await.unwrap();
    let deputy = json!([{ "permission": "account:read" }, { "permission": "transaction:read" }]);
    role(&app, bank, "deputy", &deputy).await;
    given(&app, bank, "second", &["deputy"]).await;
    // A node knows a tenant's policy for a second.
    tokio::time::sleep(std::time::Duration::from_millis(1_100)).await;
    for (username, is_let_in) in [("second", false), ("officer", true)] {
        let wish = json!({ "tenant": bank.slug, "username": username, "password": PASSWORD });
        let answer = app.post("/v1/auth/login").json(&wish).send().await;
        assert_eq!(answer.body["access_token"].is_string(), is_let_in, "{}", answer.text);
    }
}

#[tokio::test]
async fn a_wildcard_is_what_it_meant_when_it_was_written() {
    let app = App::start().await;
    let bank = &app.bank;
    let all = json!([{ "permission": "hold:*" }, { "permission": "hold:read" }]);
    let desk = role(&app, bank, "hold_desk", &all).await;
    let admin = app.login(bank, "admin").await;
    let read = app.get(format!("/v1/roles/{desk}")).bearer(&admin).send().await;
    let mut names: Vec<&str> = (read.body["permissions"].as_array().unwrap().iter())
        .map(|one| one["permission"].as_str().unwrap())
        .collect();
    names.sort_unstable();
    assert_eq!(names, ["hold:capture", "hold:create", "hold:read", "hold:release"]);
    let stored = "SELECT count(*) FROM role_permissions WHERE role_id = $1 AND action = '*'";
    assert_eq!(app.superuser.query_one(stored, &[&desk]).await.unwrap().get::<_, i64>(0), 0);
}

#[tokio::test]
async fn a_machine_neither_writes_roles_nor_acts_in_a_custom_one() {
    let app = App::start().await;
    role(&app, &app.bank, "plain_desk", &json!([{ "permission": "account:read" }])).await;
    let admin = app.login_by_factor(&app.bank, "admin").await;
    let wish = |role: &str| json!({ "name": "Robot", "role": role });
    let refused = app.post("/v1/api-keys").bearer(&admin).json(&wish("plain_desk")).send().await;
    assert_problem(&refused, 422, "unknown_role");
    let made = app.post("/v1/api-keys").bearer(&admin).json(&wish("admin")).send().await;
    let secret = made.body["secret"].as_str().unwrap_or_else(|| panic!("{}", made.text));
    let refused = write_role(&app, secret, "robots", &json!([{ "permission": "user:read" }])).await;
    assert_problem(&refused, 403, "permission_denied");
}

#[tokio::test]
async fn bad_input_names_its_field_and_changes_nothing() {
    let app = App::start().await;
    let admin = app.login_by_factor(&app.bank, "admin").await;
    let with = |conditions: Value| json!([{ "permission": "transaction:deposit", "conditions": conditions }]);
    let currency = json!({ "amount_max": { "amount": 1, "currency": "XYZ" } });
    for (name, permissions, status, field) in [
        ("desk", json!([{ "permission": "account:fly" }]), 422, "permissions[0].permission"),
        ("desk", json!([{ "permission": "system:read" }]), 422, "permissions[0].permission"),
        ("desk", json!([{ "permission": "tenant:*" }]), 422, "permissions[0].permission"),
        ("desk", json!([{ "permission": "audit:read:own" }]), 422, "permissions[0].permission"),
        ("desk", json!([]), 422, "permissions"),
        ("admin", json!([{ "permission": "account:read" }]), 422, "name"),
        ("Desk\"", json!([{ "permission": "account:read" }]), 422, "name"),
        ("desk", with(json!({ "mfa_level": 9 })), 422, "permissions[0].conditions.mfa_level"),
        ("desk", with(currency), 422, "permissions[0].conditions.amount_max.currency"),
        ("desk", with(json!({ "colour": "red" })), 400, "permissions[0].conditions.colour"),
        (
            "desk",
            with(json!({ "account_status": vec!["active"; 50_000] })),
            422,
            "permissions[0].conditions.account_status",
        ),
        (
            "desk",
            with(json!({ "networks": [format!("{}10.0.0.0/8", " ".repeat(10_000))] })),
            422,
            "permissions[0].conditions.networks[0]",
        ),
        (
            "desk",
            json!([{ "permission": format!("account:{}", "r".repeat(10_000)) }]),
            422,
            "permissions[0].permission",
        ),
        (
            "desk",
            json!([{ "permission": "account:read", "effect": "x" }]),
            400,
            "permissions[0].effect",
        ),
    ] {
        let refused = write_role(&app, &admin, name, &permissions).await;
        assert_eq!((refused.status, refused.field()), (status, field), "{}", refused.text);
    }
    let huge =
        json!([{ "permission": "account:read", "conditions": { "networks": vec!["x"; 400_000] } }]);
    assert_eq!(write_role(&app, &admin, "desk", &huge).await.status, 413);
    let many: Vec<_> = (0..65).map(|_| json!({ "permission": "account:read" })).collect();
    let refused = write_role(&app, &admin, "desk", &json!(many)).await;
    assert_eq!((refused.status, refused.field()), (422, "permissions"), "{}", refused.text);
    // Spelled out they would be more than a role may have.
    let kinds =
        ["user", "account", "transaction", "hold", "loan", "kyc", "card", "key", "customer"];
    let levels = (1..=2).flat_map(|level| kinds.map(|kind| (kind, level)));
    let wide: Vec<_> = levels
        .map(|(kind, level)| {
            json!({ "permission": format!("{kind}:*"), "conditions": { "mfa_level": level } })
        })
        .collect();
    let refused = write_role(&app, &admin, "desk", &json!(wide)).await;
    assert_eq!((refused.status, refused.field()), (422, "permissions"), "{}", refused.text);
    let sql = "SELECT count(*) FROM roles WHERE role_type = 'custom'";
    let made: i64 = app.superuser.query_one(sql, &[]).await.unwrap().get(0);
    assert_eq!(made, 0);
    // The same twice is one role.
    let read = json!([{ "permission": "account:read" }]);
    assert_eq!(write_role(&app, &admin, "desk", &read).await.status, 201);
    let twice = write_role(&app, &admin, "desk", &read).await;
    assert_eq!((twice.status, twice.code(), twice.field()), (409, "role_exists", "name"));
}

#[tokio::test]
async fn another_tenants_role_does_not_exist() {
    let app = App::start().await;
    let rival = app.add_bank("rival").await;
    let read = json!([{ "permission": "account:read" }]);
    let theirs = role(&app, &rival, "their_desk", &read).await;
    let admin = app.login_by_factor(&app.bank, "admin").await;
    let path = format!("/v1/roles/{theirs}");
    assert_problem(&app.get(path.clone()).bearer(&admin).send().await, 404, "not_found");
    assert_problem(&change(&app, (&admin, theirs), "*", &read).await, 404, "not_found");
    assert_problem(&app.delete(path).bearer(&admin).send().await, 404, "not_found");
    let customer = app.bank.users["customer"];
    let refused = give(&app, &admin, customer, &["customer", "their_desk"]).await;
    assert_problem(&refused, 422, "unknown_role");
    let listed = app.get("/v1/roles?limit=100").bearer(&admin).send().await;
    assert!(!listed.text.contains("their_desk"), "{}", listed.text);
    assert_eq!(listed.body["data"].as_array().unwrap().len(), 7, "{}", listed.text);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_fifty_changes_at_once_one_is_made() {
    let app = App::start().await;
    let read = json!([{ "permission": "account:read" }]);
    let desk = role(&app, &app.bank, "plain_desk", &read).await;
    let admin = app.login_by_factor(&app.bank, "admin").await;
    let wanted = json!([{ "permission": "customer:read" }]);
    let tries = (0..50).map(|_| change(&app, (&admin, desk), "\"1\"", &wanted));
    let answers = join_all(tries).await;
    let of = |status: u16| answers.iter().filter(|answer| answer.status == status).count();
    assert_eq!(
        (of(200), of(412)),
        (1, 49),
        "{:?}",
        answers.iter().map(|a| a.status).collect::<Vec<_>>()
    );
    let path = format!("/v1/roles/{desk}");
    let now = app.get(path).bearer(&admin).send().await;
    assert_eq!((now.header("etag"), &now.body["version"]), ("\"2\"", &json!(2)));
    assert_eq!(now.body["permissions"][0]["permission"], "customer:read");
    assert_eq!(now.body["permissions"].as_array().unwrap().len(), 1);
}

/// A change ends the sessions that were begun before it; and where a node remembers somebody
/// from before, their writes are decided by what the database says now.
#[tokio::test]
async fn a_change_is_obeyed_at_once() {
    let app = App::start().await;
    let bank = &app.bank;
    let desk_role = role(&app, bank, "night_desk", &desk()).await;
    given(&app, bank, "customer", &["customer", "night_desk"]).await;
    let foreign = bank.customers[1].accounts[0];
    let one = json!({ "amount": 1 });
    let token = app.login(bank, "customer").await;
    assert_eq!(deposit(&app, &token, foreign, &one).await.status, 201);

    // Past the interface, so that no session ends and this node remembers what was.
    let lower = "UPDATE role_permissions SET conditions = jsonb_set(conditions, '{amount_max,amount}', '5') \
         WHERE role_id = $1 AND action = 'deposit'";
    app.superuser.execute(lower, &[&desk_role]).await.unwrap();
    assert_problem(
        &deposit(&app, &token, foreign, &json!({ "amount": 6 })).await,
        403,
        "permission_denied",
    );
    assert_eq!(deposit(&app, &token, foreign, &json!({ "amount": 5 })).await.status, 201);
    let away = "DELETE FROM role_permissions WHERE role_id = $1 AND action = 'deposit'";
    app.superuser.execute(away, &[&desk_role]).await.unwrap();
    assert_problem(&deposit(&app, &token, foreign, &one).await, 403, "permission_denied");

    let admin = app.login_by_factor(bank, "admin").await;
    let read = json!([{ "permission": "transaction:read" }]);
    let changed = change(&app, (&admin, desk_role), "\"1\"", &read).await;
    assert_eq!((changed.status, &changed.body["holders"]), (200, &json!(1)), "{}", changed.text);
    let path = format!("/v1/accounts/{foreign}");
    let over = app.get(path.clone()).bearer(&token).send().await;
    assert_problem(&over, 401, "token_revoked");
    let token = app.login(bank, "customer").await;
    assert_problem(&app.get(path).bearer(&token).send().await, 404, "not_found");
    let reason = "SELECT count(*) FROM user_sessions WHERE user_id = $1 AND revocation_reason = 'role_changed'";
    let ended: i64 =
        app.superuser.query_one(reason, &[&bank.users["customer"]]).await.unwrap().get(0);
    assert!(ended >= 1);
}

#[tokio::test]
async fn a_role_ends_when_nobody_holds_it() {
    let app = App::start().await;
    let bank = &app.bank;
    let read = json!([{ "permission": "account:read" }]);
    let desk = role(&app, bank, "plain_desk", &read).await;
    given(&app, bank, "customer", &["customer", "plain_desk"]).await;
    let admin = app.login_by_factor(bank, "admin").await;
    let path = format!("/v1/roles/{desk}");
    let held = app.delete(path.clone()).bearer(&admin).send().await;
    assert_problem(&held, 409, "role_in_use");
    assert!(held.body["detail"].as_str().unwrap().starts_with("1 "), "{}", held.text);
    given(&app, bank, "customer", &["customer"]).await;
    assert_eq!(app.delete(path.clone()).bearer(&admin).send().await.status, 204);
    for again in [app.delete(path.clone()), app.get(path)] {
        assert_problem(&again.bearer(&admin).send().await, 404, "not_found");
    }
    let left = "SELECT (SELECT count(*) FROM role_permissions) + (SELECT count(*) FROM roles WHERE id = $1)";
    let left: i64 = app.superuser.query_one(left, &[&desk]).await.unwrap().get(0);
    assert_eq!(left, 0);

    // The blueprint's are nobody's to change, for the database neither.
    let sql = "SELECT id FROM roles WHERE tenant_id = $1 AND name = 'auditor'";
    let auditor: Uuid = app.superuser.query_one(sql, &[&bank.id]).await.unwrap().get(0);
    assert_problem(&change(&app, (&admin, auditor), "*", &read).await, 422, "system_role");
    let path = format!("/v1/roles/{auditor}");
    let shown = app.get(path.clone()).bearer(&admin).send().await;
    assert_eq!((&shown.body["role_type"], &shown.body["holders"]), (&json!("system"), &json!(1)));
    assert!(shown.text.contains("audit:read"), "{}", shown.text);
    assert_problem(&app.delete(path).bearer(&admin).send().await, 422, "system_role");
    let context = app.cli("bank").await;
    let transaction = app.pool.begin_with(&context, &[]).await.unwrap().0;
    for statement in [
        "UPDATE roles SET version = 9 WHERE role_type = 'system'",
        "DELETE FROM roles WHERE name = 'auditor'",
    ] {
        let touched = transaction.execute(statement, &[]).await.unwrap();
        assert_eq!(touched, 0, "{statement}");
    }
}

/// Somebody has written to the tables: what does not read denies, and is told.
#[tokio::test]
async fn a_definition_that_does_not_read_denies_and_alerts() {
    let app = App::start().await;
    let bank = &app.bank;
    let desk = role(&app, bank, "plain_desk", &json!([{ "permission": "account:read" }])).await;
    given(&app, bank, "customer", &["customer", "plain_desk"]).await;
    let sql = "UPDATE role_permissions SET conditions = '{\"colour\": \"red\"}' WHERE role_id = $1";
    app.superuser.execute(sql, &[&desk]).await.unwrap();
    let token = app.login(bank, "customer").await;
    let path = format!("/v1/accounts/{}", bank.customers[1].accounts[0]);
    assert_problem(&app.get(path).bearer(&token).send().await, 404, "not_found");
    let told =
        "SELECT count(*) FROM audit_log WHERE action = 'access.decide' AND severity = 'critical'";
    for _ in 0..50 {
        let records: i64 = app.superuser.query_one(told, &[]).await.unwrap().get(0);
        if records > 0 {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    panic!("nobody was told");
}

/// Below the migration there are the blueprint's roles alone: nobody is left without one.
#[tokio::test]
async fn the_migration_goes_down_over_a_bank_with_custom_roles_and_up_again() {
    let app = App::start().await;
    let bank = &app.bank;
    role(&app, bank, "plain_desk", &json!([{ "permission": "account:read" }])).await;
    given(&app, bank, "officer", &["officer", "plain_desk"]).await;
    given(&app, bank, "second", &["plain_desk"]).await;
    let mut owner = testkit::connect(&app.database.url_as("strongroom_owner")).await;
    let migrator = tenancy::migrate::Migrator::embedded();
    let known = migrator.status(&owner).await.unwrap();
    let undone = known.iter().rev().position(|one| one.name == "custom_roles").unwrap() + 1;
    migrator.down(&mut owner, u32::try_from(undone).unwrap()).await.unwrap();
    let sql = "SELECT person.role, array_agg(held.role ORDER BY held.role) FROM users person \
         JOIN user_roles held ON held.tenant_id = person.tenant_id AND held.user_id = person.id \
         WHERE person.id = $1 GROUP BY person.role";
    for (name, role) in [("officer", "officer"), ("second", "customer")] {
        let row = app.superuser.query_one(sql, &[&bank.users[name]]).await.unwrap();
        let (first, held): (String, Vec<String>) = (row.get(0), row.get(1));
        assert_eq!((first.as_str(), held.as_slice()), (role, &[role.to_owned()][..]), "{name}");
    }
    let known: i64 =
        app.superuser.query_one("SELECT count(*) FROM roles", &[]).await.unwrap().get(0);
    assert_eq!(known, 7);
    migrator.up(&mut owner, None).await.unwrap();
    let read = json!([{ "permission": "account:read" }]);
    role(&app, bank, "plain_desk", &read).await;
    given(&app, bank, "officer", &["officer", "plain_desk"]).await;
}

/// What waits was ordered under the circumstances of then, by the power of now.
#[tokio::test]
async fn an_order_that_waits_is_its_makers_by_what_their_role_says_now() {
    let app = bank_with_ceiling().await;
    let bank = &app.bank;
    let payer = |amount: i64| {
        json!([{ "permission": "transaction:create", "conditions": {
            "mfa_level": 1, "amount_max": { "amount": amount, "currency": "EUR" } } }])
    };
    let desk = role(&app, bank, "payer", &payer(CEILING + 1)).await;
    given(&app, bank, "auditor", &["auditor", "payer"]).await;
    let maker = app.login_by_factor(bank, "auditor").await;
    let above = send(&app, &maker, "above", &order(&app, CEILING + 2)).await;
    assert_problem(&above, 403, "permission_denied");
    let (first, _) = waiting(&app, &maker, "first").await;
    let (second, _) = waiting(&app, &maker, "second").await;
    let manager = app.login(bank, "manager").await;
    let done = decide(&app, &manager, (first, "approve"), "first").await;
    assert_eq!(status_of(&done), "approved", "{}", done.text);
    let admin = app.login_by_factor(bank, "admin").await;
    let narrowed = change(&app, (&admin, desk), "\"1\"", &payer(CEILING)).await;
    assert_eq!(narrowed.status, 200, "{}", narrowed.text);
    let refused = decide(&app, &manager, (second, "approve"), "second").await;
    assert_problem(&refused, 422, "maker_not_permitted");
}

#[tokio::test]
async fn an_explanation_names_the_grant() {
    let app = App::start().await;
    let bank = &app.bank;
    role(&app, bank, "night_desk", &desk()).await;
    given(&app, bank, "customer", &["customer", "night_desk"]).await;
    let token = app.login(bank, "customer").await;
    let account = json!({ "type": "account", "id": bank.customers[1].accounts[0] });
    let question = json!({ "action": "account:read", "resource": account });
    let told = app.post("/v1/access/explain").bearer(&token).json(&question).send().await;
    assert_eq!(told.status, 200, "{}", told.text);
    assert!(told.text.contains("\"night_desk#0\""), "{}", told.text);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_fifty_roles_of_one_name_one_is_made_and_none_ends_while_it_is_given() {
    let app = App::start().await;
    let bank = &app.bank;
    let admin = app.login_by_factor(bank, "admin").await;
    let read = json!([{ "permission": "account:read" }]);
    let made = join_all((0..50).map(|_| write_role(&app, &admin, "plain_desk", &read))).await;
    let of = |status: u16| made.iter().filter(|answer| answer.status == status).count();
    assert_eq!((of(201), of(409)), (1, 49));
    let desk = made.iter().find(|answer| answer.status == 201).map(id).unwrap();

    let (customer, path) = (bank.users["customer"], format!("/v1/roles/{desk}"));
    let tries = (0..25).map(async |_| {
        let wanted = ["customer", "plain_desk"];
        let ends = app.delete(path.clone()).bearer(&admin).send();
        let (given, ended) = tokio::join!(give(&app, &admin, customer, &wanted), ends);
        (given.status, ended.status)
    });
    for (given, ended) in join_all(tries).await {
        assert!([200, 422].contains(&given) && [204, 404, 409].contains(&ended), "{given} {ended}");
    }
    let sql = "SELECT (SELECT count(*) FROM roles WHERE id = $1) - \
         (SELECT count(*) FROM user_roles WHERE user_id = $2 AND role = 'plain_desk')";
    let difference: i64 = app.superuser.query_one(sql, &[&desk, &customer]).await.unwrap().get(0);
    assert_eq!(difference, 0, "it is there where somebody holds it, and gone where nobody does");
}
