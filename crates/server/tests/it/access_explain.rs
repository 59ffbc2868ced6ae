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
        (json!({ "action": "account:read", "as_of": "last week" }), "as_of"),
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

/// A moment between two deeds, as the database's clock has it.
async fn moment(app: &App) -> String {
    let at: jiff::Timestamp =
        app.superuser.query_one("SELECT clock_timestamp()", &[]).await.unwrap().get(0);
    tokio::time::sleep(std::time::Duration::from_millis(2)).await;
    format!("{at:.6}")
}

async fn change(app: &App, token: &str, user: Uuid, wish: &Value) {
    let ask = app.patch(format!("/v1/users/{user}")).bearer(token).header("If-Match", "*");
    let done = ask.json(wish).send().await;
    assert_eq!(done.status, 200, "{wish}: {}", done.body);
}

#[tokio::test]
async fn a_life_is_explained_as_it_was_at_every_moment_of_it() {
    let app = App::start().await;
    let bank = &app.bank;
    explain::remember_policies(&app.pool).await.unwrap();
    let admin = app.login_by_factor(bank, "super_admin").await;
    let account = bank.customers[0].accounts[0];
    let before = moment(&app).await;
    let wish =
        json!({ "username": "dana", "role": "auditor", "password": crate::harness::PASSWORD });
    let made = app.post("/v1/users").bearer(&admin).json(&wish).send().await;
    assert_eq!(made.status, 201, "{}", made.body);
    let dana: Uuid = made.body["id"].as_str().unwrap().parse().unwrap();
    let mut life = vec![(moment(&app).await, "deny", json!(["auditor"]))];
    for (wish, decision, roles) in [
        (json!({ "roles": ["officer"] }), "allow", json!(["officer"])),
        (json!({ "is_active": false }), "deny", json!([])),
        (json!({ "is_active": true }), "allow", json!(["officer"])),
        (json!({ "roles": ["officer", "auditor"] }), "allow", json!(["officer", "auditor"])),
        (json!({ "roles": ["customer"] }), "deny", json!(["customer"])),
    ] {
        change(&app, &admin, dana, &wish).await;
        life.push((moment(&app).await, decision, roles));
    }
    let gone = app.delete(format!("/v1/users/{dana}")).bearer(&admin).send().await;
    assert_eq!(gone.status, 204, "{}", gone.body);
    let after = moment(&app).await;
    let question = |at: &str| {
        json!({
            "actor": dana, "action": "transaction:deposit", "as_of": at,
            "resource": { "type": "account", "id": account },
        })
    };
    for (at, decision, roles) in &life {
        let told = ask(&app, &admin, &question(at)).await;
        assert_eq!(told.status, 200, "{at}: {}", told.body);
        assert_eq!(
            (&told.body["decision"], &told.body["roles"]),
            (&json!(decision), roles),
            "{at}"
        );
        assert_eq!(&told.body["as_of"], at);
    }
    for at in [&before, &after] {
        let told = ask(&app, &admin, &question(at)).await;
        assert_eq!((told.status, told.code()), (422, "not_there_then"), "{}", told.body);
        assert_eq!(told.field(), "as_of");
    }
    // Today there is nobody of that id.
    let now = json!({ "actor": dana, "action": "account:read" });
    assert_eq!(ask(&app, &admin, &now).await.status, 404);
}

#[tokio::test]
async fn relations_custom_roles_and_policies_are_those_of_the_moment() {
    let app = App::start().await;
    let bank = &app.bank;
    let admin = app.login_by_factor(bank, "super_admin").await;
    let long_ago = moment(&app).await;
    explain::remember_policies(&app.pool).await.unwrap();
    let (officer, login) = (bank.users["officer"], bank.users["customer"]);
    let [own, account] = [bank.customers[0].id, bank.customers[0].accounts[0]];
    let as_of = |person: Uuid, action: &str, object: Value, at: &str| json!({ "actor": person, "action": action, "resource": object, "as_of": at });
    let at_account = || json!({ "type": "account", "id": account });

    // The customer's record belongs to another login afterwards.
    let linked = moment(&app).await;
    let unlink = "UPDATE customers SET user_id = NULL WHERE id = $1";
    app.superuser.execute(unlink, &[&own]).await.unwrap();
    let unlinked = moment(&app).await;
    for (at, decision) in [(&linked, "allow"), (&unlinked, "deny")] {
        for object in [at_account(), json!({ "type": "customer", "id": own })] {
            let action = format!("{}:read", object["type"].as_str().unwrap());
            let told = ask(&app, &admin, &as_of(login, &action, object, at)).await;
            assert_eq!(told.body["decision"], decision, "{at}: {}", told.body);
        }
    }

    // A custom role that was narrowed, and then ended.
    let role = json!({ "name": "night_desk", "permissions": [{ "permission": "account:read" }, { "permission": "customer:read" }] });
    let made = app.post("/v1/roles").bearer(&admin).json(&role).send().await;
    assert_eq!(made.status, 201, "{}", made.body);
    let path = format!("/v1/roles/{}", made.body["id"].as_str().unwrap());
    change(&app, &admin, officer, &json!({ "roles": ["night_desk"] })).await;
    let wide = moment(&app).await;
    let narrow = json!({ "permissions": [{ "permission": "customer:read" }] });
    let tag = made.header("etag").to_owned();
    let done = app.patch(&path).bearer(&admin).header("If-Match", &tag).json(&narrow).send().await;
    assert_eq!(done.status, 200, "{}", done.body);
    let narrowed = moment(&app).await;
    change(&app, &admin, officer, &json!({ "roles": ["officer"] })).await;
    let ended = app.delete(&path).bearer(&admin).send().await;
    assert_eq!(ended.status, 204, "{}", ended.body);
    for (at, decision) in [(&wide, "allow"), (&narrowed, "deny")] {
        let told = ask(&app, &admin, &as_of(officer, "account:read", at_account(), at)).await;
        assert_eq!(told.body["decision"], decision, "{at}: {}", told.body);
        assert_eq!(told.body["roles"], json!(["night_desk"]));
    }

    // Other policies decide from now on, as if another binary had been started.
    let forbid =
        "@id(\"test/closed\") forbid (principal, action == Action::\"account:read\", resource);";
    let other = "INSERT INTO policies_in_force (since, texts) SELECT clock_timestamp(), \
        jsonb_set(texts, '{core-bank.cedar}', to_jsonb(texts ->> 'core-bank.cedar' || $1::text)) FROM policies_in_force";
    app.superuser.execute(other, &[&forbid]).await.unwrap();
    let closed = moment(&app).await;
    let told = ask(&app, &admin, &as_of(officer, "account:read", at_account(), &closed)).await;
    assert_eq!(told.body["policies"], json!(["test/closed"]), "{}", told.body);
    let today = json!({ "actor": officer, "action": "account:read", "resource": at_account() });
    assert_eq!(ask(&app, &admin, &today).await.body["decision"], "allow");
    explain::remember_policies(&app.pool).await.unwrap();
    explain::remember_policies(&app.pool).await.unwrap();
    let written = "SELECT count(*) FROM policies_in_force";
    let written: i64 = app.superuser.query_one(written, &[]).await.unwrap().get(0);
    assert_eq!(written, 3, "a start with the same policies writes nothing");

    // Before the first of them nothing is guessed at.
    let told = ask(&app, &admin, &as_of(officer, "account:read", at_account(), &long_ago)).await;
    assert_eq!((told.status, told.code()), (422, "policies_unknown"), "{}", told.body);
    let ahead = as_of(officer, "account:read", at_account(), "2999-01-01T00:00:00Z");
    let told = ask(&app, &admin, &ahead).await;
    assert_eq!((told.status, told.field()), (400, "as_of"), "{}", told.body);
}

#[tokio::test]
async fn the_past_of_others_is_told_to_nobody_else_and_written_by_nobody() {
    let app = App::start().await;
    let rival = app.add_bank("rival").await;
    let bank = &app.bank;
    explain::remember_policies(&app.pool).await.unwrap();
    let at = moment(&app).await;
    let stranger = app.login(&rival, "super_admin").await;
    let officer = app.login(bank, "officer").await;
    let customer = app.login(bank, "customer").await;
    for (token, person) in [(&stranger, bank.users["officer"]), (&customer, bank.users["officer"])]
    {
        let told =
            ask(&app, token, &json!({ "actor": person, "action": "account:read", "as_of": at }))
                .await;
        assert_eq!((told.status, told.code()), (404, "not_found"), "{}", told.body);
    }
    let own = json!({ "action": "transaction:deposit", "as_of": at });
    let told = ask(&app, &officer, &own).await;
    assert_eq!((told.status, &told.body["decision"]), (200, &json!("allow")), "{}", told.body);

    // The application reads its history and writes none of it.
    let app_role = testkit::connect(&app.database.url_as("strongroom_app")).await;
    let set = format!("SET app.current_tenant = '{}'", bank.id);
    app_role.batch_execute(&set).await.unwrap();
    for statement in [
        "INSERT INTO access_history SELECT tenant_id, 'held_roles', id, now(), '{\"roles\":[\"admin\"]}' FROM users",
        "UPDATE access_history SET facts = '{}'",
        "DELETE FROM access_history",
        "UPDATE policies_in_force SET texts = '{}'",
        "DELETE FROM policies_in_force",
        "SELECT remember_access(NULL, NULL, NULL, NULL)",
    ] {
        let refused = app_role.batch_execute(statement).await.unwrap_err();
        let code = refused.code().map(tokio_postgres::error::SqlState::code);
        assert_eq!(code, Some("42501"), "{statement}");
    }
    // Whose department it was goes with them.
    let person = bank.users["officer"];
    let belongs = "UPDATE users SET department = $2 WHERE id = $1";
    for department in ["vault", "night desk"] {
        app.superuser.execute(belongs, &[&person, &department]).await.unwrap();
    }
    let told = "SELECT count(*) FROM access_history WHERE subject_id = $1 AND facts ->> 'department' IS NOT NULL";
    let count =
        || async { app.superuser.query_one(told, &[&person]).await.unwrap().get::<_, i64>(0) };
    assert_eq!(count().await, 1);
    app.superuser.batch_execute(&set).await.unwrap();
    app.superuser.execute("SELECT shred_user($1)", &[&person]).await.unwrap();
    assert_eq!(count().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_line_asks_of_people_and_objects() {
    let app = App::start().await;
    let bank = &app.bank;
    explain::remember_policies(&app.pool).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let ask = |arguments: &[&str]| {
        let output = crate::cli::strongroom(folder.path())
            .env("DATABASE_URL", app.database.superuser_url())
            .env("ENCRYPTION_KEY", "07".repeat(32))
            .args(["access", "explain", "-o", "json"])
            .args(arguments)
            .output()
            .unwrap();
        let told: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
        (output.status.code(), told, String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let [own, foreign] =
        [0, 1].map(|number| format!("account:{}", bank.customers[number].accounts[0]));
    let (tenant, id) = (["--tenant", "bank"], bank.users["customer"].to_string());
    let then = moment(&app).await;
    for (person, object, time, code) in [
        ("customer", &own, None, 0),
        ("Customer", &foreign, None, 1),
        (&*id, &own, Some(&*then), 0),
        (&*id, &foreign, Some(&*then), 1),
    ] {
        let mut arguments = vec!["account:read", "--actor", person, "--resource", object.as_str()];
        arguments.extend(tenant);
        arguments.extend(time.iter().flat_map(|time| ["--as-of", time]));
        let (ended, told, said) = ask(&arguments);
        assert_eq!(ended, Some(code), "{arguments:?}: {said}");
        let decision = if code == 0 { "allow" } else { "deny" };
        assert_eq!(told["decision"], decision, "{told}");
    }
    for (arguments, code, words) in [
        (vec!["account:read", "--actor", "customer"], 2, "--tenant"),
        (vec!["account:read", "--actor", "nobody", "--tenant", "bank"], 1, "nobody"),
        (vec!["account:read", "--actor", "customer", "--tenant", "rival"], 1, "rival"),
        (
            vec!["account:read", "--actor", &id, "--tenant", "bank", "--resource", "ship:1"],
            2,
            "ship",
        ),
        (
            vec!["account:read", "--actor", &id, "--tenant", "bank", "--role", "officer"],
            2,
            "--role",
        ),
        (
            vec![
                "account:read",
                "--actor",
                &id,
                "--tenant",
                "bank",
                "--as-of",
                "2999-01-01T00:00:00Z",
            ],
            2,
            "yet to come",
        ),
    ] {
        let (ended, _, said) = ask(&arguments);
        assert_eq!(ended, Some(code), "{arguments:?}: {said}");
        assert!(said.contains(words), "{arguments:?}: {said}");
    }
    let records =
        "SELECT count(*) FROM audit_log WHERE tenant_id = $1 AND action = 'access.explain'";
    let records: i64 = app.superuser.query_one(records, &[&bank.id]).await.unwrap().get(0);
    assert!(records > 0, "asking leaves a record");
}
