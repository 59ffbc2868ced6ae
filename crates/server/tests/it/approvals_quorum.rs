//! More than one second person: who counts, how often, against whom, and for how long.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use futures_util::future::join_all;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::{
    approvals::{
        CEILING, balances, bank_with_ceiling, decide, id, order, send, set_ceiling, status_of,
        waiting,
    },
    console::Browser,
    harness::{Answered, App, FUNDS, PASSWORD},
    wire_requests::assert_problem,
};

/// From now on an order above the ceiling needs so many others.
async fn set_required(app: &App, required: i32) {
    let sql = "UPDATE security_policies SET policy = policy || jsonb_build_object('transfer_approvals', $2::int) \
               WHERE tenant_id = $1";
    assert_eq!(app.superuser.execute(sql, &[&app.bank.id, &required]).await.unwrap(), 1);
}

async fn bank_of(required: i32) -> App {
    let app = bank_with_ceiling().await;
    set_required(&app, required).await;
    app
}

fn agreed(answer: &Answered) -> Vec<&str> {
    let approvals = answer.body["approvals"].as_array().unwrap();
    approvals.iter().map(|one| one["by"].as_str().unwrap()).collect()
}

async fn read(app: &App, token: &str, approval: Uuid) -> Answered {
    app.get(format!("/v1/approvals/{approval}")).bearer(token).send().await
}

#[tokio::test]
async fn an_order_is_done_when_as_many_have_agreed_as_policy_asked_for() {
    let app = bank_of(2).await;
    let customer = app.login(&app.bank, "customer").await;
    let [manager, admin] =
        [app.login(&app.bank, "manager").await, app.login(&app.bank, "admin").await];
    let (approval, transfer) = waiting(&app, &customer, "k").await;
    // A policy that changes meanwhile changes nothing for what was ordered.
    set_required(&app, 1).await;
    let first = decide(&app, &manager, (approval, "approve"), "m").await;
    assert_eq!((first.status, status_of(&first)), (200, "pending"), "{}", first.text);
    assert_eq!((&first.body["required"], first.header("etag")), (&json!(2), "\"2\""));
    let [by_manager, by_admin] =
        [app.bank.users["manager"].to_string(), app.bank.users["admin"].to_string()];
    assert_eq!(agreed(&first), [by_manager.as_str()]);
    assert_eq!((&first.body["decided_by"], &first.body["result_id"]), (&Value::Null, &Value::Null));
    assert_eq!(balances(&app).await, (FUNDS, FUNDS));
    assert_eq!(
        read(&app, &customer, approval).await.body,
        first.body,
        "its maker sees how it stands"
    );
    let listed = app.get("/v1/approvals").bearer(&manager).send().await;
    assert_eq!(listed.body["data"][0], first.body);
    let own = app.get("/v1/approvals").bearer(&customer).send().await;
    assert_eq!(own.body["data"][0], first.body);
    // Nobody counts twice, under whichever key.
    let again = decide(&app, &manager, (approval, "approve"), "m").await;
    assert_eq!((again.header("idempotency-replayed"), &again.body), ("true", &first.body));
    let twice = decide(&app, &manager, (approval, "approve"), "other").await;
    assert_problem(&twice, 422, "already_approved");
    let done = decide(&app, &admin, (approval, "approve"), "a").await;
    assert_eq!((done.status, status_of(&done)), (200, "approved"), "{}", done.text);
    assert_eq!(done.header("etag"), "\"3\"");
    assert_eq!(agreed(&done), [by_manager.as_str(), by_admin.as_str()]);
    assert_eq!(
        (&done.body["decided_by"], &done.body["result_id"]),
        (&json!(by_admin), &json!(transfer))
    );
    assert_eq!(balances(&app).await, (FUNDS - CEILING - 1, FUNDS + CEILING + 1));
    // Each step has its record and its event, in the order of the versions.
    let records = "SELECT action FROM audit_log WHERE resource_id = $1 AND resource_type = 'approval' \
                   AND new_values IS NOT NULL ORDER BY event_id";
    let actions: Vec<String> = (app.superuser.query(records, &[&approval]).await.unwrap().iter())
        .map(|row| row.get(0))
        .collect();
    assert_eq!(actions, ["transfer.create", "approval.agree", "approval.approve"]);
    let told =
        "SELECT event_type, sequence FROM event_outbox WHERE object_id = $1 ORDER BY sequence";
    let told: Vec<(String, i64)> = (app.superuser.query(told, &[&approval]).await.unwrap().iter())
        .map(|row| (row.get(0), row.get(1)))
        .collect();
    let expected = [("approval.requested", 1), ("approval.agreed", 2), ("approval.approved", 3)];
    assert_eq!(told, expected.map(|(name, sequence)| (name.to_owned(), sequence)));
}

#[tokio::test]
async fn approvers_are_independent_of_each_other_too() {
    let app = bank_of(2).await;
    let [officer, manager] =
        [app.login(&app.bank, "officer").await, app.login(&app.bank, "manager").await];
    let puppet = json!({ "username": "second.hand", "password": PASSWORD, "role": "manager" });
    let made = app.post("/v1/users").bearer(&manager).key("p").json(&puppet).send().await;
    assert_eq!(made.status, 201, "{}", made.text);
    let second_hand = app.login(&app.bank, "second.hand").await;
    let (approval, _) = waiting(&app, &officer, "k").await;
    assert_eq!(decide(&app, &manager, (approval, "approve"), "m").await.status, 200);
    let refused = decide(&app, &second_hand, (approval, "approve"), "s").await;
    assert_problem(&refused, 403, "not_independent");
    let (other, _) = waiting(&app, &officer, "l").await;
    assert_eq!(decide(&app, &second_hand, (other, "approve"), "s2").await.status, 200);
    let refused = decide(&app, &manager, (other, "approve"), "m2").await;
    assert_problem(&refused, 403, "not_independent");
    assert_eq!(balances(&app).await, (FUNDS, FUNDS));
    let admin = app.login(&app.bank, "admin").await;
    for approval in [approval, other] {
        let done = decide(&app, &admin, (approval, "approve"), &approval.to_string()).await;
        assert_eq!(status_of(&done), "approved", "{}", done.text);
    }
}

#[tokio::test]
async fn one_rejection_ends_it_also_by_whoever_agreed() {
    let app = bank_of(3).await;
    let officer = app.login(&app.bank, "officer").await;
    let [manager, admin] =
        [app.login(&app.bank, "manager").await, app.login(&app.bank, "admin").await];
    for (stopper, key) in [(&manager, "same"), (&admin, "other")] {
        let (approval, transfer) = waiting(&app, &officer, key).await;
        assert_eq!(
            decide(&app, &manager, (approval, "approve"), &format!("m{key}")).await.status,
            200
        );
        let ended = decide(&app, stopper, (approval, "reject"), &format!("r{key}")).await;
        assert_eq!((ended.status, status_of(&ended)), (200, "rejected"), "{}", ended.text);
        assert_eq!(agreed(&ended).len(), 1);
        let late = decide(&app, &admin, (approval, "approve"), &format!("l{key}")).await;
        assert_problem(&late, 422, "approval_decided");
        let read = app.get(format!("/v1/transfers/{transfer}")).bearer(&officer).send().await;
        assert_eq!(status_of(&read), "rejected");
    }
    assert_eq!(balances(&app).await, (FUNDS, FUNDS));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn fifty_agreements_at_once_count_each_person_once() {
    let app = bank_of(3).await;
    let officer = app.login(&app.bank, "officer").await;
    let (approval, transfer) = waiting(&app, &officer, "k").await;
    let mut tokens = Vec::new();
    for role in ["super_admin", "admin", "manager"] {
        tokens.push(app.login(&app.bank, role).await);
    }
    let keys: Vec<String> = (0..50).map(|at| format!("a{at}")).collect();
    let tries = keys
        .iter()
        .zip(tokens.iter().cycle())
        .map(|(key, token)| decide(&app, token, (approval, "approve"), key));
    let answers = join_all(tries).await;
    let mut statuses: Vec<&str> =
        answers.iter().filter(|answer| answer.status == 200).map(status_of).collect();
    statuses.sort_unstable();
    assert_eq!(statuses, ["approved", "pending", "pending"]);
    for answer in answers.iter().filter(|answer| answer.status != 200) {
        assert!(
            ["already_approved", "approval_decided"].contains(&answer.code()),
            "{}",
            answer.text
        );
    }
    assert_eq!(balances(&app).await, (FUNDS - CEILING - 1, FUNDS + CEILING + 1));
    let posted = "SELECT count(*) FROM transactions WHERE transfer_id = $1";
    assert_eq!(app.superuser.query_one(posted, &[&transfer]).await.unwrap().get::<_, i64>(0), 2);
}

#[tokio::test]
async fn what_the_ledger_refuses_takes_the_last_agreement_back() {
    let app = bank_of(2).await;
    let officer = app.login(&app.bank, "officer").await;
    let [manager, admin] =
        [app.login(&app.bank, "manager").await, app.login(&app.bank, "admin").await];
    let made = send(&app, &officer, "k", &order(&app, FUNDS + 1)).await;
    let approval = id(&made.body["approval_id"]);
    // Funds are looked at when it is done, by the last one.
    assert_eq!(decide(&app, &manager, (approval, "approve"), "m").await.status, 200);
    let refused = decide(&app, &admin, (approval, "approve"), "a").await;
    assert_problem(&refused, 422, "insufficient_funds");
    let shown = read(&app, &officer, approval).await;
    assert_eq!((status_of(&shown), agreed(&shown).len()), ("pending", 1));
    let cash = json!({ "amount": CEILING });
    let path = format!("/v1/accounts/{}/deposits", app.bank.customers[0].accounts[0]);
    assert_eq!(app.post(path).bearer(&manager).key("d").json(&cash).send().await.status, 201);
    let done = decide(&app, &admin, (approval, "approve"), "again").await;
    assert_eq!(status_of(&done), "approved", "{}", done.text);
}

#[tokio::test]
async fn fewer_than_were_asked_for_never_do_it_whatever_the_row_says() {
    let app = bank_of(2).await;
    let [officer, manager] =
        [app.login(&app.bank, "officer").await, app.login(&app.bank, "manager").await];
    let (approval, _) = waiting(&app, &officer, "k").await;
    let one = "UPDATE approvals SET required = 1, version = version + 1 WHERE id = $1";
    assert!(app.superuser.execute(one, &[&approval]).await.is_err(), "only a decision moves a row");
    let maker = app.bank.users["officer"];
    for (statement, what) in [
        (
            "UPDATE approvals SET status = 'approved', decided_by = $2, decided_at = now(), result_id = object_id \
          WHERE id = $1 AND $2 <> requested_by",
            "by nobody's decision",
        ),
        (
            "INSERT INTO approval_decisions (tenant_id, approval_id, decided_by, verdict, decided_at) \
          SELECT tenant_id, id, requested_by, 'approve', now() FROM approvals WHERE id = $1 AND $2 <> requested_by",
            "by its maker",
        ),
    ] {
        let somebody = app.bank.users["manager"];
        assert!(app.superuser.execute(statement, &[&approval, &somebody]).await.is_err(), "{what}");
    }
    assert_eq!(decide(&app, &manager, (approval, "approve"), "m").await.status, 200);
    let person = app.bank.users["manager"];
    let enough = "UPDATE approvals SET status = 'approved', decided_by = $2, decided_at = now(), \
                  result_id = object_id, version = version + 1 WHERE id = $1";
    for by in [person, maker] {
        assert!(app.superuser.execute(enough, &[&approval, &by]).await.is_err(), "one of two");
    }
    for statement in [
        "DELETE FROM approval_decisions",
        "UPDATE approval_decisions SET verdict = 'reject'",
        "TRUNCATE approval_decisions",
    ] {
        assert!(app.superuser.batch_execute(statement).await.is_err(), "{statement}");
    }
    // Somebody who gets past the triggers does not get past the hash.
    app.superuser.batch_execute("SET session_replication_role = replica").await.unwrap();
    app.superuser
        .execute("UPDATE approvals SET required = 1 WHERE id = $1", &[&approval])
        .await
        .unwrap();
    app.superuser.batch_execute("RESET session_replication_role").await.unwrap();
    let admin = app.login(&app.bank, "admin").await;
    let refused = decide(&app, &admin, (approval, "approve"), "a").await;
    assert_problem(&refused, 422, "approval_tampered");
    assert_eq!(balances(&app).await, (FUNDS, FUNDS));
}

#[tokio::test]
async fn what_was_seen_is_what_is_decided() {
    let app = bank_with_ceiling().await;
    let [officer, manager] =
        [app.login(&app.bank, "officer").await, app.login(&app.bank, "manager").await];
    let (approval, _) = waiting(&app, &officer, "k").await;
    let hash =
        read(&app, &manager, approval).await.body["payload_hash"].as_str().unwrap().to_owned();
    let with = |verdict: &str, hash: &str, key: &str| {
        let body = json!({ "payload_hash": hash });
        app.post(format!("/v1/approvals/{approval}/{verdict}"))
            .bearer(&manager)
            .key(key)
            .json(&body)
    };
    for verdict in ["approve", "reject"] {
        for other in ["", "00", &hash.replace(char::is_numeric, "f")] {
            let refused = with(verdict, other, &format!("{verdict}{other}")).send().await;
            assert_problem(&refused, 412, "approval_changed");
        }
    }
    assert_eq!(balances(&app).await, (FUNDS, FUNDS));
    let done = with("approve", &hash.to_uppercase(), "seen").send().await;
    assert_eq!(status_of(&done), "approved", "{}", done.text);
    // The key is of what was asked, the hash included.
    assert_problem(&with("approve", "00", "seen").send().await, 422, "idempotency_key_reused");
}

async fn decide_many(app: &App, token: &str, body: &Value) -> Answered {
    app.post("/v1/approvals/decisions").bearer(token).json(body).send().await
}

#[tokio::test]
async fn many_are_decided_by_one_request_and_each_for_itself() {
    let app = bank_with_ceiling().await;
    let rival = app.add_bank("rival").await;
    set_ceiling(&app, &rival, Some(CEILING)).await;
    let [officer, manager] =
        [app.login(&app.bank, "officer").await, app.login(&app.bank, "manager").await];
    let (first, _) = waiting(&app, &officer, "1").await;
    let (second, _) = waiting(&app, &officer, "2").await;
    let (own, _) = waiting(&app, &manager, "3").await;
    let stranger = app.login(&rival, "officer").await;
    let foreign = json!({
        "from_account_id": rival.customers[0].accounts[0], "to_account_id": rival.customers[1].accounts[0],
        "amount": CEILING + 1, "currency": "EUR",
    });
    let foreign = id(&send(&app, &stranger, "4", &foreign).await.body["approval_id"]);
    let one = |id: Uuid, key: &str| json!({ "id": id, "idempotency_key": key });
    let mut changed = one(second, "b");
    changed["payload_hash"] = json!("00");
    let asked = json!({ "decision": "approve", "note": "Batch 7", "approvals": [
        one(first, "a"), changed, one(own, "c"), one(foreign, "d"), one(Uuid::nil(), "e"), one(first, "f"),
        one(second, "g"),
    ] });
    let answer = decide_many(&app, &manager, &asked).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    let results = answer.body["results"].as_array().unwrap();
    let found: Vec<(i64, &str)> = (results.iter())
        .map(|one| {
            let said = one["approval"]["status"].as_str().or(one["problem"]["code"].as_str());
            (one["status"].as_i64().unwrap(), said.unwrap())
        })
        .collect();
    let expected = [
        (200, "approved"),
        (412, "approval_changed"),
        (403, "permission_denied"),
        (404, "not_found"),
        (404, "not_found"),
        (422, "approval_decided"),
        (200, "approved"),
    ];
    assert_eq!(found, expected);
    assert_eq!(results[0]["approval"]["decision_note"], "Batch 7");
    let moved = 2 * (CEILING + 1);
    assert_eq!(balances(&app).await, (FUNDS - moved, FUNDS + moved));
    let again = decide_many(&app, &manager, &asked).await;
    assert_eq!(again.body["results"][0]["replayed"], true, "{}", again.text);
    assert_eq!(again.body["results"][0]["approval"], results[0]["approval"]);
    assert_eq!(balances(&app).await, (FUNDS - moved, FUNDS + moved));
    // Keys are shared with the routes of the one.
    let single = app.post(format!("/v1/approvals/{first}/approve")).bearer(&manager).key("a");
    let single = single.json(&json!({ "note": "Batch 7" })).send().await;
    assert_eq!((single.status, single.header("idempotency-replayed")), (200, "true"));
    let (third, _) = waiting(&app, &officer, "5").await;
    let rejected = json!({ "decision": "reject", "approvals": [one(third, "h")] });
    let rejected = decide_many(&app, &manager, &rejected).await;
    assert_eq!(rejected.body["results"][0]["approval"]["status"], "rejected", "{}", rejected.text);
}

#[tokio::test]
async fn a_request_for_many_that_is_wrong_decides_nothing() {
    let app = bank_with_ceiling().await;
    let [officer, manager] =
        [app.login(&app.bank, "officer").await, app.login(&app.bank, "manager").await];
    let (approval, _) = waiting(&app, &officer, "k").await;
    let one = json!({ "id": approval, "idempotency_key": "a" });
    for (body, status, code, field) in [
        (json!({ "decision": "approve", "approvals": [] }), 422, "validation_failed", "approvals"),
        (
            json!({ "decision": "approve", "approvals": vec![&one; 101] }),
            422,
            "validation_failed",
            "approvals",
        ),
        (json!({ "decision": "maybe", "approvals": [one] }), 400, "malformed_request", "decision"),
        (json!({ "approvals": [one] }), 400, "malformed_request", "decision"),
        (
            json!({ "decision": "approve", "approvals": [one, { "id": approval }] }),
            400,
            "malformed_request",
            "idempotency_key",
        ),
        (
            json!({ "decision": "approve", "approvals": [{ "id": approval, "idempotency_key": "a b" }] }),
            400,
            "malformed_request",
            "idempotency_key",
        ),
        (
            json!({ "decision": "approve", "approvals": [{ "id": "x", "idempotency_key": "a" }] }),
            400,
            "malformed_request",
            "id",
        ),
        (
            json!({ "decision": "approve", "approvals": [one], "all": true }),
            400,
            "malformed_request",
            "all",
        ),
    ] {
        let refused = decide_many(&app, &manager, &body).await;
        assert_eq!((refused.status, refused.code()), (status, code), "{body}: {}", refused.text);
        assert!(refused.field().ends_with(field), "{body}: {}", refused.text);
    }
    let asked = json!({ "decision": "approve", "approvals": [one, one] });
    let customer = app.login(&app.bank, "customer").await;
    let denied = decide_many(&app, &customer, &asked).await;
    assert_problem(&denied, 403, "permission_denied");
    let wish = json!({ "name": "Robot", "role": "manager" });
    let admin = app.login_by_factor(&app.bank, "admin").await;
    let robot = app.post("/v1/api-keys").bearer(&admin).json(&wish).send().await;
    let robot = robot.body["secret"].as_str().unwrap();
    let refused = decide_many(&app, robot, &asked).await;
    assert_problem(&refused, 403, "permission_denied");
    let told = "SELECT count(*) FROM audit_log WHERE action = 'approval.approve' AND actor_kind = 'api_key'";
    let told: i64 = app.superuser.query_one(told, &[]).await.unwrap().get(0);
    assert_eq!(told, 1, "one record, not one for each order");
    assert_eq!(status_of(&read(&app, &manager, approval).await), "pending");
}

#[tokio::test]
async fn the_console_says_how_many_have_agreed_and_still_have_to() {
    let app = bank_of(2).await;
    let customer = app.login(&app.bank, "customer").await;
    let (approval, transfer) = waiting(&app, &customer, "k").await;
    let mut manager = Browser::signed_in(&app, "bank", "manager").await;
    let place = format!("/transfers/{transfer}");
    let page = manager.get(&app, &place).await;
    assert!(page.text.contains("2 others agree; 0 of them have"), "{}", page.text);
    let hash = page.text.split("name=\"payload_hash\" value=\"").nth(1).unwrap();
    let hash = hash.split('"').next().unwrap().to_owned();
    let once = || tenancy::Clock::System.new_id().to_string();
    let path = format!("/approvals/{approval}/approve");
    let changed = [("once", &*once()), ("payload_hash", "00")];
    let refused = manager.post(&app, &path, &changed).await;
    assert_eq!(refused.status, 412);
    assert!(refused.text.contains("not the order that you were shown"), "{}", refused.text);
    let done = manager.post(&app, &path, &[("once", &once()), ("payload_hash", &hash)]).await;
    assert_eq!((done.status, done.header("location")), (303, place.as_str()), "{}", done.text);
    let page = manager.get(&app, &place).await;
    for part in ["2 others agree; 1 of them have", "You have agreed", "Reject…", "Agreed"] {
        assert!(page.text.contains(part), "{part}: {}", page.text);
    }
    assert!(!page.text.contains("Approve…"), "{}", page.text);
    let list = manager.get(&app, "/approvals").await;
    assert!(list.text.contains("1 of 2 agreed"), "{}", list.text);
    let twice = manager.post(&app, &path, &[("once", &once()), ("payload_hash", &hash)]).await;
    assert_eq!(twice.status, 422);
    assert!(twice.text.contains("You have agreed to it already"), "{}", twice.text);
    let mut admin = Browser::signed_in(&app, "bank", "admin").await;
    admin.get(&app, &place).await;
    let done = admin.post(&app, &path, &[("once", &once()), ("payload_hash", &hash)]).await;
    assert_eq!(done.status, 303, "{}", done.text);
    assert_eq!(balances(&app).await, (FUNDS - CEILING - 1, FUNDS + CEILING + 1));
}

#[tokio::test]
async fn the_migration_goes_down_where_nothing_waits_for_several_and_up_again() {
    let app = bank_of(2).await;
    let [officer, manager] =
        [app.login(&app.bank, "officer").await, app.login(&app.bank, "manager").await];
    let (approval, _) = waiting(&app, &officer, "k").await;
    let mut owner = testkit::connect(&app.database.url_as("strongroom_owner")).await;
    let migrator = tenancy::migrate::Migrator::embedded();
    let known = migrator.status(&owner).await.unwrap();
    let undone = known.iter().rev().position(|one| one.name == "quorum").unwrap() + 1;
    let undone = u32::try_from(undone).unwrap();
    let refused = migrator.down(&mut owner, undone).await.unwrap_err();
    assert!(format!("{refused:?}").contains("more than one person"), "{refused:?}");
    decide(&app, &manager, (approval, "reject"), "r").await;
    migrator.down(&mut owner, undone).await.unwrap();
    migrator.up(&mut owner, None).await.unwrap();
    set_required(&app, 1).await;
    let (approval, _) = waiting(&app, &officer, "l").await;
    let done = decide(&app, &manager, (approval, "approve"), "a").await;
    assert_eq!(status_of(&done), "approved", "{}", done.text);
}
