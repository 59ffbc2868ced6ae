//! Four eyes under attack: makers who approve themselves, parties, strangers, races,
//! forged orders, makers who have gone.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use futures_util::future::join_all;
use serde_json::json;

use crate::approvals::{
    CEILING, balances, bank_with_ceiling, decide, order, send, status_of, waiting,
};
use crate::harness::{FUNDS, PASSWORD};
use crate::wire_requests::assert_problem;

#[tokio::test]
async fn nobody_decides_what_they_have_ordered() {
    let app = bank_with_ceiling().await;
    for role in ["super_admin", "admin", "manager", "officer", "customer_service", "customer"] {
        let maker = app.login(&app.bank, role).await;
        let (approval, transfer) = waiting(&app, &maker, "k").await;
        for verdict in ["approve", "reject"] {
            let refused = decide(&app, &maker, (approval, verdict), "own").await;
            assert_problem(&refused, 403, "permission_denied");
        }
        let read = app.get(format!("/v1/transfers/{transfer}")).bearer(&maker).send().await;
        assert_eq!(status_of(&read), "pending_approval", "{role}");
    }
    assert_eq!(balances(&app).await, (FUNDS, FUNDS));
}

#[tokio::test]
async fn two_logins_in_one_hand_are_not_two_persons() {
    let app = bank_with_ceiling().await;
    let manager = app.login(&app.bank, "manager").await;
    let admin = app.login(&app.bank, "admin").await;
    let puppet =
        |name: &str, role: &str| json!({ "username": name, "password": PASSWORD, "role": role });
    let make = async |by: &str, name: &str, role: &str| {
        let made = app.post("/v1/users").bearer(by).key(name).json(&puppet(name, role)).send();
        let made = made.await;
        assert_eq!(made.status, 201, "{}", made.text);
        crate::approvals::id(&made.body["id"])
    };
    make(&manager, "puppet", "officer").await;
    make(&manager, "second.hand", "manager").await;
    let second_hand = app.login(&app.bank, "second.hand").await;
    make(&second_hand, "far.puppet", "officer").await;
    // Directly, and through a login between.
    for name in ["puppet", "far.puppet"] {
        let (approval, _) = waiting(&app, &app.login(&app.bank, name).await, name).await;
        let refused = decide(&app, &manager, (approval, "approve"), name).await;
        assert_problem(&refused, 403, "not_independent");
        let done = decide(&app, &admin, (approval, "approve"), name).await;
        assert_eq!(status_of(&done), "approved", "{}", done.text);
    }
    // The other way round: the maker's creature approves.
    let (approval, _) = waiting(&app, &manager, "own").await;
    let refused = decide(&app, &second_hand, (approval, "approve"), "own").await;
    assert_problem(&refused, 403, "not_independent");
    // Whoever stops it needs no independence.
    let stopped = decide(&app, &second_hand, (approval, "reject"), "stop").await;
    assert_eq!(status_of(&stopped), "rejected", "{}", stopped.text);
}

#[tokio::test]
async fn only_those_who_may_approve_and_have_no_side_decide() {
    let app = bank_with_ceiling().await;
    let officer = app.login(&app.bank, "officer").await;
    let (approval, _) = waiting(&app, &officer, "k").await;
    for role in ["customer_service", "auditor", "customer", "second"] {
        let token = app.login(&app.bank, role).await;
        for verdict in ["approve", "reject"] {
            let refused = decide(&app, &token, (approval, verdict), "k").await;
            assert_problem(&refused, 403, "permission_denied");
        }
    }
    let manager = app.login(&app.bank, "manager").await;
    // The manager's own account, on either side.
    for side in [0, 1] {
        let link = "UPDATE customers SET user_id = $2 WHERE id = $1";
        let customer = &app.bank.customers[side];
        let own = app.bank.users["manager"];
        app.superuser.execute(link, &[&customer.id, &own]).await.unwrap();
        for verdict in ["approve", "reject"] {
            let refused = decide(&app, &manager, (approval, verdict), &format!("{side}")).await;
            assert_problem(&refused, 403, "permission_denied");
        }
        let back = app.bank.users[customer.username];
        app.superuser.execute(link, &[&customer.id, &back]).await.unwrap();
    }
    assert_eq!(balances(&app).await, (FUNDS, FUNDS));
    let done = decide(&app, &manager, (approval, "approve"), "now").await;
    assert_eq!(status_of(&done), "approved", "{}", done.text);
}

#[tokio::test]
async fn other_tenants_see_and_decide_nothing() {
    let app = bank_with_ceiling().await;
    let rival = app.add_bank("rival").await;
    let officer = app.login(&app.bank, "officer").await;
    let (approval, transfer) = waiting(&app, &officer, "k").await;
    let stranger = app.login(&rival, "admin").await;
    for path in [format!("/v1/approvals/{approval}"), format!("/v1/transfers/{transfer}")] {
        assert_problem(&app.get(path).bearer(&stranger).send().await, 404, "not_found");
    }
    for verdict in ["approve", "reject"] {
        let refused = decide(&app, &stranger, (approval, verdict), "k").await;
        assert_problem(&refused, 404, "not_found");
    }
    let list = app.get("/v1/approvals").bearer(&stranger).send().await;
    assert_eq!(list.body["data"], json!([]));
    // Who is paid sees nothing of it either, before they are.
    let payee = app.login(&app.bank, "second").await;
    for path in [format!("/v1/approvals/{approval}"), format!("/v1/transfers/{transfer}")] {
        assert_problem(&app.get(path).bearer(&payee).send().await, 404, "not_found");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn fifty_approvals_post_once() {
    let app = bank_with_ceiling().await;
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
    let approved = answers.iter().filter(|answer| answer.status == 200).count();
    let late = answers.iter().filter(|answer| answer.code() == "approval_decided").count();
    assert_eq!((approved, late), (1, 49));
    assert_eq!(balances(&app).await, (FUNDS - CEILING - 1, FUNDS + CEILING + 1));
    let posted = "SELECT count(*) FROM transactions WHERE transfer_id = $1";
    assert_eq!(app.superuser.query_one(posted, &[&transfer]).await.unwrap().get::<_, i64>(0), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn approving_and_rejecting_at_once_is_one_of_them() {
    let app = bank_with_ceiling().await;
    let officer = app.login(&app.bank, "officer").await;
    let (manager, admin) =
        (app.login(&app.bank, "manager").await, app.login(&app.bank, "admin").await);
    let mut moved = 0;
    for round in 0..8 {
        let (approval, _) = waiting(&app, &officer, &format!("k{round}")).await;
        let key = format!("d{round}");
        let (yes, no) = tokio::join!(
            decide(&app, &manager, (approval, "approve"), &key),
            decide(&app, &admin, (approval, "reject"), &key)
        );
        let codes = [(yes.status, yes.code()), (no.status, no.code())];
        assert!(
            codes == [(200, ""), (422, "approval_decided")]
                || codes == [(422, "approval_decided"), (200, "")],
            "{codes:?}"
        );
        moved += i64::from(yes.status == 200) * (CEILING + 1);
    }
    assert_eq!(balances(&app).await, (FUNDS - moved, FUNDS + moved));
}

#[tokio::test]
async fn a_forged_order_is_refused_and_told() {
    let app = bank_with_ceiling().await;
    let officer = app.login(&app.bank, "officer").await;
    let manager = app.login(&app.bank, "manager").await;
    let (approval, _) = waiting(&app, &officer, "k").await;
    let thief = app.bank.customers[0].accounts[1];
    let forge = "UPDATE approvals SET to_account_id = $2, \
        payload = payload || jsonb_build_object('to_account_id', $2::uuid) WHERE id = $1";
    // Not even the superuser by a plain statement: only a decision changes a row.
    assert!(app.superuser.execute(forge, &[&approval, &thief]).await.is_err());
    app.superuser.batch_execute("SET session_replication_role = replica").await.unwrap();
    assert_eq!(app.superuser.execute(forge, &[&approval, &thief]).await.unwrap(), 1);
    app.superuser.batch_execute("RESET session_replication_role").await.unwrap();
    let refused = decide(&app, &manager, (approval, "approve"), "a").await;
    assert_problem(&refused, 422, "approval_tampered");
    assert_eq!((balances(&app).await, app.balance(thief).await), ((FUNDS, FUNDS), FUNDS));
    let told = "SELECT severity::text FROM audit_log \
        WHERE tenant_id = $1 AND event_type = 'security_violation' AND resource_id = $2";
    let rows = app.superuser.query(told, &[&app.bank.id, &approval]).await.unwrap();
    assert_eq!(rows.len(), 1);
    assert_eq!(rows[0].get::<_, String>(0), "critical");
    // It can be got rid of, and that is told as well.
    let done = decide(&app, &manager, (approval, "reject"), "r").await;
    assert_eq!(status_of(&done), "rejected", "{}", done.text);
    assert_eq!(app.superuser.query(told, &[&app.bank.id, &approval]).await.unwrap().len(), 2);
}

#[tokio::test]
async fn a_maker_who_may_no_longer_order_it_stops_it() {
    let app = bank_with_ceiling().await;
    let manager = app.login(&app.bank, "manager").await;
    let own = [app.bank.users["officer"], app.bank.users["customer"]];
    let makers = [("officer", own[0]), ("customer", own[1])];
    let steps = [
        (
            "UPDATE users SET is_active = false WHERE id = $1",
            "UPDATE users SET is_active = true WHERE id = $1",
        ),
        (
            "UPDATE user_roles SET role = 'auditor' WHERE user_id = $1",
            "UPDATE user_roles SET role = (SELECT role FROM users WHERE id = $1) WHERE user_id = $1",
        ),
    ];
    for (name, maker) in makers {
        let token = app.login(&app.bank, name).await;
        let (approval, _) = waiting(&app, &token, "k").await;
        for (at, (gone, back)) in steps.iter().enumerate() {
            app.superuser.execute(*gone, &[&maker]).await.unwrap();
            let key = format!("{name}{at}");
            let refused = decide(&app, &manager, (approval, "approve"), &key).await;
            assert_problem(&refused, 422, "maker_not_permitted");
            app.superuser.execute(*back, &[&maker]).await.unwrap();
        }
        if name == "customer" {
            // The account is another's by now.
            let link = "UPDATE customers SET user_id = $2 WHERE id = $1";
            let customer = app.bank.customers[0].id;
            let nobody: Option<uuid::Uuid> = None;
            app.superuser.execute(link, &[&customer, &nobody]).await.unwrap();
            let refused = decide(&app, &manager, (approval, "approve"), "party").await;
            assert_problem(&refused, 422, "maker_not_permitted");
            app.superuser.execute(link, &[&customer, &maker]).await.unwrap();
        }
        let done = decide(&app, &manager, (approval, "approve"), &format!("{name}-back")).await;
        assert_eq!(status_of(&done), "approved", "{}", done.text);
    }
}

#[tokio::test]
async fn a_session_that_has_ended_decides_nothing() {
    let app = bank_with_ceiling().await;
    let officer = app.login(&app.bank, "officer").await;
    let manager = app.login(&app.bank, "manager").await;
    let (approval, _) = waiting(&app, &officer, "k").await;
    let out = app.post("/v1/auth/logout").bearer(&manager).json(&json!({})).send().await;
    assert!(out.is_success(), "{}", out.text);
    assert_eq!(decide(&app, &manager, (approval, "approve"), "a").await.status, 401);
    assert_eq!(decide(&app, "nonsense", (approval, "approve"), "a").await.status, 401);
    assert_eq!(balances(&app).await, (FUNDS, FUNDS));
    // One key, two verdicts: they are two commands and two namespaces; one body each.
    let manager = app.login(&app.bank, "manager").await;
    let first = decide(&app, &manager, (approval, "approve"), "same").await;
    assert_eq!(first.status, 200, "{}", first.text);
    let (other, _) = waiting(&app, &officer, "k2").await;
    let reused = decide(&app, &manager, (other, "approve"), "same").await;
    assert_problem(&reused, 422, "idempotency_key_reused");
    let sent = send(&app, &officer, "k2", &order(&app, CEILING + 2)).await;
    assert_problem(&sent, 422, "idempotency_key_reused");
}
