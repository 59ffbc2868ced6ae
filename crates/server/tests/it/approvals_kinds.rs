//! Roles under four eyes: what waits, who may agree, what is given when enough have, and what
//! is in the way of it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use futures_util::future::join_all;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::{
    approvals::{decide, id, status_of},
    console::Browser,
    harness::{Answered, App, Bank, PASSWORD},
    wire_requests::assert_problem,
};

/// From now on so many others have to agree to a role of more than one's own.
async fn demand(app: &App, bank: &Bank, required: i32) {
    let sql = "UPDATE security_policies SET policy = policy || jsonb_build_object('role_grant_approvals', $2::int) \
               WHERE tenant_id = $1";
    assert_eq!(app.superuser.execute(sql, &[&bank.id, &required]).await.unwrap(), 1);
}

async fn bank_of(required: i32) -> App {
    let app = App::start().await;
    demand(&app, &app.bank, required).await;
    app
}

async fn change(app: &App, token: &str, person: Uuid, to: &Value) -> Answered {
    let ask = app.patch(format!("/v1/users/{person}")).bearer(token).header("if-match", "*");
    ask.json(to).send().await
}

/// Roles for somebody that wait; the approval.
async fn asked(app: &App, token: &str, person: Uuid, roles: &[&str]) -> Uuid {
    let answer = change(app, token, person, &json!({ "roles": roles })).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    id(&answer.body["pending_roles"]["approval_id"])
}

async fn roles_of(app: &App, person: Uuid) -> Vec<String> {
    let sql = "SELECT role FROM user_roles WHERE user_id = $1 ORDER BY role";
    let rows = app.superuser.query(sql, &[&person]).await.unwrap();
    rows.iter().map(|row| row.get(0)).collect()
}

async fn count(app: &App, sql: &str, one: Uuid) -> i64 {
    app.superuser.query_one(sql, &[&one]).await.unwrap().get(0)
}

#[tokio::test]
async fn a_role_of_more_than_ones_own_is_given_when_another_has_agreed() {
    let app = bank_of(1).await;
    let bank = &app.bank;
    let (person, maker) = (bank.users["customer_service"], bank.users["admin"]);
    let [admin, manager, super_admin] = [
        app.login(bank, "admin").await,
        app.login(bank, "manager").await,
        app.login(bank, "super_admin").await,
    ];
    let wish = json!({ "roles": ["officer", "customer_service"], "department": "Counter 3" });
    let made = change(&app, &admin, person, &wish).await;
    assert_eq!(made.status, 200, "{}", made.text);
    // The rest of the change is made; the roles are as they were.
    assert_eq!(made.body["department"], "Counter 3");
    assert_eq!(made.body["roles"], json!(["customer_service"]));
    let waiting = &made.body["pending_roles"];
    assert_eq!(waiting["roles"], json!(["officer", "customer_service"]));
    assert_eq!(roles_of(&app, person).await, ["customer_service"]);
    let approval = id(&waiting["approval_id"]);

    let shown = app.get(format!("/v1/approvals/{approval}")).bearer(&manager).send().await;
    assert_eq!((shown.status, shown.header("etag")), (200, "\"1\""), "{}", shown.text);
    assert_eq!((&shown.body["kind"], status_of(&shown)), (&json!("role_grant"), "pending"));
    assert_eq!(
        (&shown.body["object_id"], &shown.body["requested_by"]),
        (&json!(person), &json!(maker))
    );
    assert_eq!(shown.body["payload"]["roles_before"], json!(["customer_service"]));
    let listed = app.get("/v1/approvals?kind=role_grant").bearer(&super_admin).send().await;
    assert_eq!(listed.body["data"], json!([shown.body]), "{}", listed.text);
    let others = app.get("/v1/approvals?kind=transfer").bearer(&super_admin).send().await;
    assert_eq!(others.body["data"], json!([]));

    // Neither its maker nor whom it is about nor who may not anyhow.
    let concerned = app.login(bank, "customer_service").await;
    for (token, who) in [(&admin, "maker"), (&concerned, "person")] {
        for verdict in ["approve", "reject"] {
            let refused = decide(&app, token, (approval, verdict), who).await;
            assert_problem(&refused, 403, "permission_denied");
        }
    }
    let auditor = app.login(bank, "auditor").await;
    let refused = decide(&app, &auditor, (approval, "approve"), "auditor").await;
    assert_problem(&refused, 403, "permission_denied");

    let done = decide(&app, &manager, (approval, "approve"), "m").await;
    assert_eq!((done.status, status_of(&done)), (200, "approved"), "{}", done.text);
    assert_eq!((done.header("etag"), &done.body["result_id"]), ("\"2\"", &json!(person)));
    assert_eq!(roles_of(&app, person).await, ["customer_service", "officer"]);
    let read = app.get(format!("/v1/users/{person}")).bearer(&admin).send().await;
    assert_eq!(read.body["roles"], json!(["officer", "customer_service"]));
    assert_eq!(read.body["pending_roles"], Value::Null);
    // They were given in the maker's name, and the session of before is over.
    let by = "SELECT granted_by FROM user_roles WHERE user_id = $1 AND role = 'officer'";
    let by: Uuid = app.superuser.query_one(by, &[&person]).await.unwrap().get(0);
    assert_eq!(by, maker);
    let old = app.get("/v1/auth/me").bearer(&concerned).send().await;
    assert_eq!(old.status, 401, "{}", old.text);
    // Said twice, done once; decided is decided.
    let again = decide(&app, &manager, (approval, "approve"), "m").await;
    assert_eq!((again.header("idempotency-replayed"), &again.body), ("true", &done.body));
    let late = decide(&app, &super_admin, (approval, "reject"), "late").await;
    assert_problem(&late, 422, "approval_decided");
    let told =
        "SELECT count(*) FROM audit_log WHERE resource_id = $1 AND event_type = 'role_change'";
    assert_eq!(count(&app, told, person).await, 1, "one change of roles is told");
    let steps = "SELECT count(*) FROM event_outbox WHERE object_id = $1";
    assert_eq!(count(&app, steps, approval).await, 2, "asked for and approved");
}

#[tokio::test]
async fn what_needs_nobody_else_is_done_at_once() {
    let app = bank_of(2).await;
    let bank = &app.bank;
    let admin = app.login(bank, "admin").await;
    let now = |answer: Answered| {
        assert!([200, 201].contains(&answer.status), "{}", answer.text);
        assert_eq!(answer.body["pending_roles"], Value::Null, "{}", answer.text);
        answer.body["roles"].clone()
    };
    let person = bank.users["officer"];
    // Taking away, by one person; and what opens no more than one's own.
    let less = now(change(&app, &admin, person, &json!({ "role": "customer" })).await);
    assert_eq!(less, json!(["customer"]));
    let client = json!({ "username": "new.client", "password": PASSWORD, "role": "customer" });
    now(app.post("/v1/users").bearer(&admin).key("c").json(&client).send().await);
    // A custom role counts by what it reaches.
    let factor = app.login_by_factor(bank, "super_admin").await;
    for (name, grant) in [("self_service", "account:read:own"), ("back_office", "account:read")] {
        let grants = json!([{ "permission": grant }]);
        let body = json!({ "name": name, "permissions": grants });
        let made = app.post("/v1/roles").bearer(&factor).json(&body).send().await;
        assert_eq!(made.status, 201, "{}", made.text);
    }
    let own = json!({ "roles": ["customer", "self_service"] });
    assert_eq!(now(change(&app, &admin, person, &own).await), own["roles"]);
    let wide = asked(&app, &admin, person, &["customer", "back_office"]).await;
    assert_eq!(roles_of(&app, person).await, ["customer", "self_service"]);
    let shown = app.get(format!("/v1/approvals/{wide}")).bearer(&admin).send().await;
    assert_eq!(shown.body["required"], 2);
    // Nor is more written into what somebody holds, or is about to; less is.
    let find = "SELECT id FROM roles WHERE tenant_id = $1 AND name = $2";
    let write = async |name: &str, grants: [&str; 2]| {
        let role: Uuid = app.superuser.query_one(find, &[&bank.id, &name]).await.unwrap().get(0);
        let grants = grants.map(|grant| json!({ "permission": grant }));
        let ask = app.patch(format!("/v1/roles/{role}")).bearer(&factor).header("if-match", "*");
        ask.json(&json!({ "permissions": grants })).send().await
    };
    for name in ["self_service", "back_office"] {
        let wider = write(name, ["account:read", "transaction:read"]).await;
        assert_problem(&wider, 422, "approval_required");
    }
    let owned = write("self_service", ["account:read:own", "transaction:read:own"]).await;
    assert_eq!(owned.status, 200, "{}", owned.text);
    // Nothing is demanded where policy says so, as in every bank until it does.
    demand(&app, bank, 0).await;
    let given = change(&app, &admin, person, &json!({ "role": "manager" })).await;
    assert_eq!(given.body["roles"], json!(["manager"]), "{}", given.text);
    // What was asked for before goes on waiting, and is overtaken.
    assert_eq!(id(&given.body["pending_roles"]["approval_id"]), wide);
}

#[tokio::test]
async fn somebody_new_holds_the_least_role_until_others_have_agreed() {
    let app = bank_of(1).await;
    let bank = &app.bank;
    let [admin, manager] = [app.login(bank, "admin").await, app.login(bank, "manager").await];
    let new = json!({ "username": "new.officer", "password": PASSWORD, "role": "officer" });
    let hire = || app.post("/v1/users").bearer(&admin).key("n").json(&new);
    let made = hire().send().await;
    assert_eq!((made.status, &made.body["role"]), (201, &json!("customer")), "{}", made.text);
    assert_eq!(made.body["pending_roles"]["roles"], json!(["officer"]));
    let person = id(&made.body["id"]);
    let again = hire().send().await;
    assert_eq!((again.header("idempotency-replayed"), &again.body), ("true", &made.body));
    let token = app.login(bank, "new.officer").await;
    let account = format!("/v1/accounts/{}", bank.customers[0].accounts[0]);
    assert_problem(&app.get(&account).bearer(&token).send().await, 404, "not_found");
    let approval = id(&made.body["pending_roles"]["approval_id"]);
    // They see that it waits.
    let own = app.get(format!("/v1/approvals/{approval}")).bearer(&token).send().await;
    assert_eq!(own.status, 200, "{}", own.text);
    let listed = app.get("/v1/approvals").bearer(&token).send().await;
    assert_eq!(listed.body["data"], json!([own.body]));
    let refused = decide(&app, &token, (approval, "approve"), "self").await;
    assert_problem(&refused, 403, "permission_denied");
    let done = decide(&app, &manager, (approval, "approve"), "m").await;
    assert_eq!(status_of(&done), "approved", "{}", done.text);
    assert_eq!(roles_of(&app, person).await, ["officer"]);
    let token = app.login(bank, "new.officer").await;
    assert_eq!(app.get(&account).bearer(&token).send().await.status, 200);
    // Another customer learns nothing of it.
    let stranger = app.login(bank, "customer").await;
    let path = format!("/v1/approvals/{approval}");
    assert_problem(&app.get(&path).bearer(&stranger).send().await, 404, "not_found");
    let tried = decide(&app, &stranger, (approval, "approve"), "x").await;
    assert_problem(&tried, 404, "not_found");
}

#[tokio::test]
async fn as_many_agree_as_policy_asked_for_and_each_could_give_the_role() {
    let app = bank_of(2).await;
    let bank = &app.bank;
    let [admin, manager, super_admin] = [
        app.login(bank, "admin").await,
        app.login(bank, "manager").await,
        app.login(bank, "super_admin").await,
    ];
    let person = bank.users["officer"];
    // A manager gives no administrator, alone or among others.
    let high = asked(&app, &super_admin, person, &["admin"]).await;
    let refused = decide(&app, &manager, (high, "approve"), "m").await;
    assert_problem(&refused, 403, "privilege_escalation");
    // Whoever may not agree may stop it: nobody gains by it.
    assert_eq!(status_of(&decide(&app, &manager, (high, "reject"), "r").await), "rejected");

    let approval = asked(&app, &admin, person, &["manager"]).await;
    demand(&app, bank, 1).await;
    let first = decide(&app, &manager, (approval, "approve"), "m1").await;
    assert_eq!((first.status, status_of(&first)), (200, "pending"), "{}", first.text);
    assert_eq!(first.body["approvals"].as_array().unwrap().len(), 1);
    assert_eq!(roles_of(&app, person).await, ["officer"]);
    let twice = decide(&app, &manager, (approval, "approve"), "m2").await;
    assert_problem(&twice, 422, "already_approved");
    // Two logins in one hand are not two people.
    demand(&app, bank, 0).await;
    let puppet = json!({ "username": "second.hand", "password": PASSWORD, "role": "manager" });
    let made = app.post("/v1/users").bearer(&manager).key("p").json(&puppet).send().await;
    assert_eq!(made.status, 201, "{}", made.text);
    let second_hand = app.login(bank, "second.hand").await;
    let refused = decide(&app, &second_hand, (approval, "approve"), "s").await;
    assert_problem(&refused, 403, "not_independent");
    let done = decide(&app, &super_admin, (approval, "approve"), "s1").await;
    assert_eq!(status_of(&done), "approved", "{}", done.text);
    assert_eq!(roles_of(&app, person).await, ["manager"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn twenty_approvals_at_once_give_it_once() {
    let app = bank_of(1).await;
    let bank = &app.bank;
    let admin = app.login(bank, "admin").await;
    let person = bank.users["customer_service"];
    let approval = asked(&app, &admin, person, &["officer"]).await;
    let tokens = [app.login(bank, "manager").await, app.login(bank, "super_admin").await];
    let keys: Vec<String> = (0..20).map(|at| format!("k{at}")).collect();
    let tries = keys
        .iter()
        .zip(tokens.iter().cycle())
        .map(|(key, token)| decide(&app, token, (approval, "approve"), key));
    let answers = join_all(tries).await;
    let done: Vec<&str> =
        answers.iter().filter(|answer| answer.status == 200).map(status_of).collect();
    assert_eq!(done, ["approved"]);
    for answer in answers.iter().filter(|answer| answer.status != 200) {
        assert_problem(answer, 422, "approval_decided");
    }
    assert_eq!(roles_of(&app, person).await, ["officer"]);
    let told =
        "SELECT count(*) FROM audit_log WHERE resource_id = $1 AND event_type = 'role_change'";
    assert_eq!(count(&app, told, person).await, 1);
}

#[tokio::test]
async fn an_order_that_was_changed_or_overtaken_gives_nothing() {
    let app = bank_of(1).await;
    let bank = &app.bank;
    let [admin, manager] = [app.login(bank, "admin").await, app.login(bank, "manager").await];
    let person = bank.users["customer_service"];
    let forged = asked(&app, &admin, person, &["officer"]).await;
    let forge = |sql: &'static str| {
        let app = &app;
        async move {
            app.superuser.batch_execute("SET session_replication_role = replica").await.unwrap();
            assert_eq!(app.superuser.execute(sql, &[&forged]).await.unwrap(), 1, "{sql}");
            app.superuser.batch_execute("RESET session_replication_role").await.unwrap();
        }
    };
    let other = bank.users["auditor"];
    for (key, there, back) in [
        (
            "roles",
            "UPDATE approvals SET payload = jsonb_set(payload, '{roles}', '[\"manager\"]') WHERE id = $1",
            "UPDATE approvals SET payload = jsonb_set(payload, '{roles}', '[\"officer\"]') WHERE id = $1",
        ),
        (
            "maker",
            "UPDATE approvals SET requested_by = (SELECT user_id FROM user_roles WHERE tenant_id = approvals.tenant_id \
             AND role = 'super_admin' LIMIT 1) WHERE id = $1",
            "UPDATE approvals SET requested_by = (SELECT user_id FROM user_roles WHERE tenant_id = approvals.tenant_id \
             AND role = 'admin' LIMIT 1) WHERE id = $1",
        ),
        (
            "person",
            "UPDATE approvals SET object_id = (SELECT user_id FROM user_roles WHERE tenant_id = approvals.tenant_id \
             AND role = 'auditor' LIMIT 1) WHERE id = $1",
            "UPDATE approvals SET object_id = (payload ->> 'user_id')::uuid WHERE id = $1",
        ),
    ] {
        forge(there).await;
        let refused = decide(&app, &manager, (forged, "approve"), key).await;
        assert_problem(&refused, 422, "approval_tampered");
        forge(back).await;
    }
    assert_eq!(roles_of(&app, other).await, ["auditor"]);
    assert_eq!(roles_of(&app, person).await, ["customer_service"]);
    let alarms = "SELECT count(*) FROM audit_log WHERE resource_id = $1 AND event_type = 'security_violation'";
    assert_eq!(count(&app, alarms, forged).await, 3);
    // What was seen is what is agreed to.
    let stale = json!({ "payload_hash": "00" });
    let path = format!("/v1/approvals/{forged}/approve");
    let refused = app.post(&path).bearer(&manager).key("h").json(&stale).send().await;
    assert_problem(&refused, 412, "approval_changed");

    // The roles were taken away meanwhile, by one person, who needs nobody else for it.
    let less = change(&app, &admin, person, &json!({ "role": "customer" })).await;
    assert_eq!(less.status, 200, "{}", less.text);
    let refused = decide(&app, &manager, (forged, "approve"), "late").await;
    assert_problem(&refused, 422, "roles_changed");
    assert_eq!(roles_of(&app, person).await, ["customer"]);

    // A maker who could not give it any more has not asked for it.
    let again = asked(&app, &admin, person, &["officer"]).await;
    let super_admin = app.login(bank, "super_admin").await;
    let less = json!({ "role": "customer" });
    let demoted = change(&app, &super_admin, bank.users["admin"], &less).await;
    assert_eq!(demoted.status, 200, "{}", demoted.text);
    let refused = decide(&app, &manager, (again, "approve"), "gone").await;
    assert_problem(&refused, 422, "maker_not_permitted");

    // Nobody decided in time.
    let late = asked(&app, &super_admin, person, &["officer"]).await;
    app.superuser.batch_execute("SET session_replication_role = replica").await.unwrap();
    let past = "UPDATE approvals SET requested_at = requested_at - interval '8 days', \
                expires_at = expires_at - interval '8 days' WHERE id = $1";
    app.superuser.execute(past, &[&late]).await.unwrap();
    app.superuser.batch_execute("RESET session_replication_role").await.unwrap();
    let refused = decide(&app, &manager, (late, "approve"), "late2").await;
    assert_problem(&refused, 422, "approval_expired");
    let read = app.get(format!("/v1/users/{person}")).bearer(&manager).send().await;
    assert_eq!(id(&read.body["pending_roles"]["approval_id"]), again, "what is over is not shown");
}

#[tokio::test]
async fn another_bank_knows_nothing_of_it_and_the_table_obeys_too() {
    let app = bank_of(1).await;
    let rival = app.add_bank("rival").await;
    let admin = app.login(&app.bank, "admin").await;
    let person = app.bank.users["customer_service"];
    let approval = asked(&app, &admin, person, &["officer"]).await;
    let stranger = app.login(&rival, "super_admin").await;
    let path = format!("/v1/approvals/{approval}");
    assert_problem(&app.get(&path).bearer(&stranger).send().await, 404, "not_found");
    for verdict in ["approve", "reject"] {
        let refused = decide(&app, &stranger, (approval, verdict), verdict).await;
        assert_problem(&refused, 404, "not_found");
    }
    let listed = app.get("/v1/approvals").bearer(&stranger).send().await;
    assert_eq!(listed.body["data"], json!([]));
    // Whoever writes past the application: not the person, and nobody for themselves.
    let own = "INSERT INTO approval_decisions (tenant_id, approval_id, decided_by, verdict, decided_at) \
               SELECT tenant_id, id, object_id, 'approve', now() FROM approvals WHERE id = $1";
    assert!(app.superuser.execute(own, &[&approval]).await.is_err());
    let amount = "UPDATE approvals SET amount = 1 WHERE id = $1";
    assert!(app.superuser.execute(amount, &[&approval]).await.is_err());
    assert_eq!(roles_of(&app, person).await, ["customer_service"]);
}

#[tokio::test]
async fn it_is_seen_and_decided_in_the_console() {
    let app = bank_of(2).await;
    let bank = &app.bank;
    let person = bank.users["customer_service"];
    let once = || tenancy::Clock::System.new_id().to_string();
    let token = app.login(bank, "admin").await;
    let approval = asked(&app, &token, person, &["officer"]).await;
    let place = format!("/users/{person}");
    let mut admin = Browser::signed_in(&app, "bank", "admin").await;
    let own = admin.get(&app, &place).await;
    assert!(own.text.contains("Other roles wait for others to agree"), "{}", own.text);
    assert!(!own.text.contains("ask-approve-roles"), "its maker decides nothing");

    let mut manager = Browser::signed_in(&app, "bank", "manager").await;
    let inbox = manager.get(&app, "/approvals").await;
    for part in [&format!("href=\"{place}\""), &format!("value=\"{approval}\""), "Officer for"] {
        assert!(inbox.text.contains(part), "{part}: {}", inbox.text);
    }
    let there = manager.get(&app, &format!("/approvals/{approval}")).await;
    assert_eq!((there.status, there.header("location")), (303, place.as_str()));
    let page = manager.get(&app, &place).await;
    for part in ["ask-approve-roles", "ask-reject-roles", "0 of 2 agreed", "Officer"] {
        assert!(page.text.contains(part), "{part}: {}", page.text);
    }
    let path = format!("/approvals/{approval}/approve");
    let form = [("once", once()), ("note", "Asked her".to_owned())];
    let form: Vec<(&str, &str)> = form.iter().map(|(name, text)| (*name, text.as_str())).collect();
    for time in ["once", "twice"] {
        let done = manager.post(&app, &path, &form).await;
        assert_eq!((done.status, done.header("location")), (303, place.as_str()), "{time}");
    }
    let page = manager.get(&app, &place).await;
    assert!(page.text.contains("1 of 2 agreed") && !page.text.contains("ask-approve-roles"));
    // A refusal is said on the page of the person.
    let refused = admin.post(&app, &path, &[("once", &once())]).await;
    assert_eq!(refused.status, 403, "{}", refused.text);
    assert!(refused.text.contains("Somebody else has to"), "{}", refused.text);

    let mut last = Browser::signed_in(&app, "bank", "super_admin").await;
    let marked = approval.to_string();
    let review = last.post(&app, "/approvals/review", &[("id", &marked)]).await;
    assert!(review.text.contains("1 marked") && !review.text.contains("Together"));
    let sql = "SELECT encode(payload_hash, 'hex') FROM approvals WHERE id = $1";
    let hash: String = app.superuser.query_one(sql, &[&approval]).await.unwrap().get(0);
    let seen = format!("{approval}/{hash}");
    let fields = [("once", &*once()), ("id", &marked), ("seen", &seen), ("verdict", "approve")];
    let done = last.post(&app, "/approvals/decide", &fields).await;
    assert!(done.text.contains("they hold the roles"), "{}", done.text);
    assert_eq!(roles_of(&app, person).await, ["officer"]);
    let page = last.get(&app, &place).await;
    assert!(!page.text.contains("Other roles wait"), "{}", page.text);
}

#[tokio::test]
async fn the_migration_goes_down_where_no_roles_were_ordered_and_nowhere_else() {
    let app = bank_of(1).await;
    let admin = app.login(&app.bank, "admin").await;
    let mut owner = testkit::connect(&app.database.url_as("strongroom_owner")).await;
    let migrator = tenancy::migrate::Migrator::embedded();
    let known = migrator.status(&owner).await.unwrap();
    let undone = known.iter().rev().position(|one| one.name == "approval_kinds").unwrap() + 1;
    let undone = u32::try_from(undone).unwrap();
    migrator.down(&mut owner, undone).await.unwrap();
    migrator.up(&mut owner, None).await.unwrap();
    let person = app.bank.users["customer_service"];
    let approval = asked(&app, &admin, person, &["officer"]).await;
    let refused = migrator.down(&mut owner, undone).await.unwrap_err();
    assert!(format!("{refused:?}").contains("no way back"), "{refused:?}");
    let manager = app.login(&app.bank, "manager").await;
    let done = decide(&app, &manager, (approval, "approve"), "m").await;
    assert_eq!(status_of(&done), "approved", "{}", done.text);
}

#[tokio::test]
async fn the_inbox_tells_what_waits_at_another_desk() {
    let app = App::start().await;
    let mut manager = Browser::signed_in(&app, "bank", "super_admin").await;
    let links = ["/settings/policy/changes?status=pending", "/users/resets"];
    let shown = manager.get(&app, "/approvals").await;
    assert!(links.iter().all(|link| !shown.text.contains(link)), "{}", shown.text);
    let admin = app.login_by_factor(&app.bank, "admin").await;
    let wish = json!({ "patch": { "role_grant_approvals": 2 }, "note": "Two more" });
    let asked = app.post("/v1/settings/policy/changes").bearer(&admin).key("p").json(&wish);
    let asked = asked.send().await;
    assert!(asked.is_success(), "{}", asked.text);
    app.login_by_factor(&app.bank, "auditor").await;
    let path = format!("/v1/users/{}/mfa-reset", app.bank.users["auditor"]);
    let reset = app.post(path).bearer(&admin).send().await;
    assert!(reset.is_success(), "{}", reset.text);
    let shown = manager.get(&app, "/approvals").await;
    for link in links {
        assert!(shown.text.contains(&link.replace('&', "&amp;")), "{link}: {}", shown.text);
    }
    // Who decides neither is told of neither.
    let mut officer = Browser::signed_in(&app, "bank", "officer").await;
    let shown = officer.get(&app, "/approvals").await;
    assert!(links.iter().all(|link| !shown.text.contains(link)), "{}", shown.text);
}

#[tokio::test]
async fn a_tenant_without_a_desk_for_orders_is_not_asked_for_them() {
    let app = App::start().await;
    let other = app.add_tenant("other", tenancy::Blueprint::Standard, None).await;
    for (bank, status) in [(&other, 422), (&app.bank, 201)] {
        let token = app.login_by_factor(bank, "admin").await;
        let wish = json!({ "patch": { "role_grant_approvals": 1 } });
        let asked = app.post("/v1/settings/policy/changes").bearer(&token).json(&wish);
        let answer = asked.header("if-match", "*").send().await;
        assert_eq!(answer.status, status, "{}", answer.text);
        if status == 422 {
            assert_eq!(answer.field(), "patch.role_grant_approvals");
        }
    }
}
