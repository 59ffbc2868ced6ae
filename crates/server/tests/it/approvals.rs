//! Four eyes over HTTP: from an order over the ceiling to its posting, and what is in
//! the way of it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use serde_json::{Value, json};
use uuid::Uuid;

use crate::harness::{Answered, App, Bank, FUNDS};
use crate::wire_requests::assert_problem;

/// The ceiling of these tests.
pub(crate) const CEILING: i64 = 5_000;

/// Sets a tenant's ceiling, or takes it away, as a change of its policy will. Nothing has to
/// be proven: `step_up_payments` holds what is.
pub(crate) async fn set_ceiling(app: &App, bank: &Bank, ceiling: Option<i64>) {
    let sql = "UPDATE security_policies SET policy = policy || jsonb_build_object( \
            'transfer_ceiling_minor', $2::bigint, 'transfer_step_up_minor', NULL) \
        WHERE tenant_id = $1";
    assert_eq!(app.superuser.execute(sql, &[&bank.id, &ceiling]).await.unwrap(), 1);
}

/// A bank with the ceiling of these tests.
pub(crate) async fn bank_with_ceiling() -> App {
    let app = App::start().await;
    set_ceiling(&app, &app.bank, Some(CEILING)).await;
    app
}

/// An order from the first customer's first account to the second customer's.
pub(crate) fn order(app: &App, amount: i64) -> Value {
    json!({
        "from_account_id": app.bank.customers[0].accounts[0],
        "to_account_id": app.bank.customers[1].accounts[0],
        "amount": amount, "currency": "EUR", "description": "Invoice 7", "reference": "RE 7",
    })
}

pub(crate) async fn send(app: &App, token: &str, key: &str, order: &Value) -> Answered {
    app.post("/v1/transfers").bearer(token).key(key).json(order).send().await
}

/// An order that waits: the approval's id and the transfer's.
pub(crate) async fn waiting(app: &App, token: &str, key: &str) -> (Uuid, Uuid) {
    let made = send(app, token, key, &order(app, CEILING + 1)).await;
    assert_eq!((made.status, status_of(&made)), (201, "pending_approval"), "{}", made.text);
    (id(&made.body["approval_id"]), id(&made.body["id"]))
}

pub(crate) async fn decide(
    app: &App,
    token: &str,
    (approval, verdict): (Uuid, &str),
    key: &str,
) -> Answered {
    let path = format!("/v1/approvals/{approval}/{verdict}");
    app.post(path).bearer(token).key(key).json(&json!({ "note": "Seen" })).send().await
}

pub(crate) fn status_of(answer: &Answered) -> &str {
    answer.body["status"].as_str().unwrap_or_default()
}

pub(crate) fn id(value: &Value) -> Uuid {
    value.as_str().and_then(|text| text.parse().ok()).unwrap_or_else(|| panic!("no id: {value}"))
}

/// Both first accounts' balances.
pub(crate) async fn balances(app: &App) -> (i64, i64) {
    let account = |at: usize| app.bank.customers[at].accounts[0];
    (app.balance(account(0)).await, app.balance(account(1)).await)
}

#[tokio::test]
async fn an_order_over_the_ceiling_waits_and_is_posted_once() {
    let app = bank_with_ceiling().await;
    let customer = app.login(&app.bank, "customer").await;
    let manager = app.login(&app.bank, "manager").await;
    let over = order(&app, CEILING + 1);
    let made = send(&app, &customer, "k", &over).await;
    assert_eq!((made.status, status_of(&made)), (201, "pending_approval"), "{}", made.text);
    for name in ["posted_at", "value_date", "booking_date"] {
        assert_eq!(made.body[name], Value::Null, "{name}: nothing is posted");
    }
    let again = send(&app, &customer, "k", &over).await;
    assert_eq!((again.status, again.header("idempotency-replayed")), (201, "true"));
    assert_eq!(again.body, made.body);
    let (transfer, approval) = (id(&made.body["id"]), id(&made.body["approval_id"]));

    // Nothing has moved, nothing is kept back, and no statement shows it.
    assert_eq!(balances(&app).await, (FUNDS, FUNDS));
    let account = app.bank.customers[0].accounts[0];
    let read = app.get(format!("/v1/accounts/{account}")).bearer(&customer).send().await;
    assert_eq!(read.body["available_balance"], FUNDS);
    let path = format!("/v1/accounts/{account}/transactions");
    let entries = app.get(&path).bearer(&customer).send().await;
    assert_eq!(entries.body["data"].as_array().unwrap().len(), 1, "the opening alone");
    let path = format!("/v1/transfers/{transfer}");
    let read = app.get(&path).bearer(&customer).send().await;
    assert_eq!((read.status, &read.body), (200, &made.body));
    let none = app.get(format!("/v1/postings/{transfer}")).bearer(&manager).send().await;
    assert_problem(&none, 404, "not_found");

    let shown = app.get(format!("/v1/approvals/{approval}")).bearer(&customer).send().await;
    assert_eq!((shown.status, shown.header("etag")), (200, "\"1\""), "{}", shown.text);
    assert_eq!(shown.body["payload"]["amount"], CEILING + 1);
    assert_eq!(shown.body["object_id"], json!(transfer));
    assert_eq!(shown.body["requested_by"], json!(app.bank.users["customer"]));

    let done = decide(&app, &manager, (approval, "approve"), "a").await;
    assert_eq!((done.status, status_of(&done)), (200, "approved"), "{}", done.text);
    assert_eq!(done.header("etag"), "\"2\"");
    assert_eq!(done.body["result_id"], json!(transfer));
    assert_eq!(done.body["decided_by"], json!(app.bank.users["manager"]));
    assert_eq!(done.body["decision_note"], "Seen");
    assert_eq!(balances(&app).await, (FUNDS - CEILING - 1, FUNDS + CEILING + 1));
    let posted = app.get(&path).bearer(&customer).send().await;
    assert_eq!(status_of(&posted), "posted");
    assert_eq!(posted.body["approval_id"], json!(approval));
    assert_eq!(posted.body["created_by"], json!(app.bank.users["customer"]), "its maker's order");
    assert_eq!(posted.body["description"], "Invoice 7");
    assert!(posted.body["posted_at"].is_string());
    let shown = app.get(format!("/v1/approvals/{approval}")).bearer(&customer).send().await;
    assert_eq!(shown.body, done.body);

    // The answer to the order stays what it was; the decision is made once.
    assert_eq!(send(&app, &customer, "k", &over).await.body, made.body);
    let again = decide(&app, &manager, (approval, "approve"), "a").await;
    assert_eq!((again.status, again.header("idempotency-replayed")), (200, "true"));
    assert_eq!(again.body, done.body);
    for verdict in ["approve", "reject"] {
        let late = decide(&app, &manager, (approval, verdict), "b").await;
        assert_problem(&late, 422, "approval_decided");
    }
    assert_eq!(balances(&app).await, (FUNDS - CEILING - 1, FUNDS + CEILING + 1));
}

#[tokio::test]
async fn the_ceiling_itself_passes_and_a_batch_sorts_its_orders() {
    let app = bank_with_ceiling().await;
    let officer = app.login(&app.bank, "officer").await;
    let [from, second] = app.bank.customers[0].accounts;
    let to = app.bank.customers[1].accounts[0];
    // from, amount, status, what
    let table = [
        (from, CEILING, 201, "posted"),
        (from, CEILING + 1, 201, "pending_approval"),
        // Nobody has so much: the balance is looked at when it is approved.
        (from, 9_007_199_254_740_991, 201, "pending_approval"),
        (from, 9_007_199_254_740_992, 422, "amount_too_large"),
        (from, 0, 422, "invalid_amount"),
        (from, -CEILING - 1, 422, "invalid_amount"),
        (to, CEILING + 1, 422, "same_account"),
        (Uuid::from_u128(1), CEILING + 1, 422, "not_found"),
        (second, 1, 201, "posted"),
    ];
    let items = table.iter().enumerate().map(|(at, (from, amount, ..))| {
        json!({
            "idempotency_key": format!("k{at}"), "from_account_id": from, "to_account_id": to,
            "amount": amount, "currency": "EUR",
        })
    });
    let body = json!({ "transfers": items.collect::<Vec<_>>() });
    let answer = app.post("/v1/transfers/batch").bearer(&officer).json(&body).send().await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    for (at, (_, amount, status, what)) in table.iter().enumerate() {
        let result = &answer.body["results"][at];
        let found = result["transfer"]["status"].as_str().or(result["problem"]["code"].as_str());
        assert_eq!(
            (result["status"].as_i64(), found),
            (Some(*status), Some(*what)),
            "{amount}: {result}"
        );
        assert_eq!(
            result["transfer"]["approval_id"].is_string(),
            *what == "pending_approval",
            "{result}"
        );
    }
    assert_eq!(balances(&app).await, (FUNDS - CEILING, FUNDS + CEILING + 1));
    let again = app.post("/v1/transfers/batch").bearer(&officer).json(&body).send().await;
    assert_eq!(again.body["results"][1]["transfer"], answer.body["results"][1]["transfer"]);
    assert_eq!(again.body["results"][1]["replayed"], true);
    let pending = "SELECT count(*) FROM approvals WHERE status = 'pending'";
    assert_eq!(app.superuser.query_one(pending, &[]).await.unwrap().get::<_, i64>(0), 2);
    // What no account holds is refused when it is approved, and waits on.
    let huge = id(&answer.body["results"][2]["transfer"]["approval_id"]);
    let manager = app.login(&app.bank, "manager").await;
    let refused = decide(&app, &manager, (huge, "approve"), "huge").await;
    assert_problem(&refused, 422, "insufficient_funds");
    let body = json!({ "from_account_id": from, "to_account_id": to, "amount": CEILING + 1, "currency": "USD" });
    assert_problem(&send(&app, &officer, "usd", &body).await, 422, "currency_mismatch");
}

#[tokio::test]
async fn a_rejected_order_never_moves() {
    let app = bank_with_ceiling().await;
    let customer = app.login(&app.bank, "customer").await;
    let officer = app.login(&app.bank, "officer").await;
    let (approval, transfer) = waiting(&app, &customer, "k").await;
    let path = format!("/v1/approvals/{approval}/reject");
    let long = json!({ "note": "x".repeat(141) });
    let refused = app.post(&path).bearer(&officer).key("long").json(&long).send().await;
    assert_problem(&refused, 422, "validation_failed");
    assert_eq!(refused.field(), "note");
    assert_problem(&app.post(&path).bearer(&officer).send().await, 400, "idempotency_key_required");
    let done = app.post(&path).bearer(&officer).key("r").send().await;
    assert_eq!((done.status, status_of(&done)), (200, "rejected"), "{}", done.text);
    assert_eq!(
        (&done.body["result_id"], &done.body["decision_note"]),
        (&Value::Null, &Value::Null)
    );
    let read = app.get(format!("/v1/transfers/{transfer}")).bearer(&customer).send().await;
    assert_eq!((read.status, status_of(&read)), (200, "rejected"));
    let late = decide(&app, &officer, (approval, "approve"), "a").await;
    assert_problem(&late, 422, "approval_decided");
    assert_eq!(balances(&app).await, (FUNDS, FUNDS));
}

#[tokio::test]
async fn the_ledger_looks_again_when_it_is_approved() {
    let app = bank_with_ceiling().await;
    let customer = app.login(&app.bank, "customer").await;
    let manager = app.login(&app.bank, "manager").await;
    let (approval, _) = waiting(&app, &customer, "k").await;
    let account = app.bank.customers[0].accounts[0];
    let set = |status: &'static str| {
        let sql = "UPDATE ledger_accounts SET status = $2 WHERE id = $1";
        let (superuser, account) = (&app.superuser, account);
        async move { superuser.execute(sql, &[&account, &status]).await.unwrap() }
    };
    set("frozen").await;
    let refused = decide(&app, &manager, (approval, "approve"), "frozen").await;
    assert_problem(&refused, 422, "account_frozen");
    assert_eq!(refused.field(), "id");
    // A frozen account takes no order at all.
    let refused = send(&app, &customer, "other", &order(&app, CEILING + 1)).await;
    assert_problem(&refused, 422, "account_frozen");
    set("active").await;
    // The refusal is its key's answer; another key tries again.
    let same = decide(&app, &manager, (approval, "approve"), "frozen").await;
    assert_eq!((same.status, same.header("idempotency-replayed")), (422, "true"));
    // The money has gone elsewhere since: below the ceiling, one by one.
    for at in 0..20 {
        let spent = send(&app, &customer, &format!("s{at}"), &order(&app, CEILING)).await;
        assert_eq!(spent.status, 201, "{}", spent.text);
    }
    let refused = decide(&app, &manager, (approval, "approve"), "empty").await;
    assert_problem(&refused, 422, "insufficient_funds");
    let read = app.get(format!("/v1/approvals/{approval}")).bearer(&manager).send().await;
    assert_eq!((status_of(&read), read.header("etag")), ("pending", "\"1\""));
    // Cash in above the ceiling is nobody's alone: it comes in two parts.
    let path = format!("/v1/accounts/{account}/deposits");
    for (key, amount, status) in [("d", CEILING + 1, 422), ("e", CEILING, 201), ("f", 1, 201)] {
        let deposit = json!({ "amount": amount });
        let paid = app.post(&path).bearer(&manager).key(key).json(&deposit).send().await;
        assert_eq!(paid.status, status, "{}", paid.text);
    }
    let done = decide(&app, &manager, (approval, "approve"), "again").await;
    assert_eq!(status_of(&done), "approved", "{}", done.text);
    assert_eq!(app.balance(account).await, 0);
}

#[tokio::test]
async fn a_ceiling_that_moves_changes_nothing_for_what_was_ordered() {
    let app = bank_with_ceiling().await;
    let customer = app.login(&app.bank, "customer").await;
    let manager = app.login(&app.bank, "manager").await;
    let (approval, transfer) = waiting(&app, &customer, "k").await;
    for ceiling in [Some(1_000_000), None] {
        set_ceiling(&app, &app.bank, ceiling).await;
        let read = app.get(format!("/v1/transfers/{transfer}")).bearer(&customer).send().await;
        assert_eq!(status_of(&read), "pending_approval", "{ceiling:?}");
        let free = send(&app, &customer, &format!("{ceiling:?}"), &order(&app, CEILING + 1)).await;
        assert_eq!(status_of(&free), "posted", "{ceiling:?}: obeyed at once");
    }
    set_ceiling(&app, &app.bank, Some(0)).await;
    assert_eq!(status_of(&send(&app, &customer, "one", &order(&app, 1)).await), "pending_approval");
    // Approving is the exception that was asked for, whatever the ceiling is by now.
    let done = decide(&app, &manager, (approval, "approve"), "a").await;
    assert_eq!(status_of(&done), "approved", "{}", done.text);
    let settings = app.get("/v1/settings").bearer(&manager).send().await;
    assert!(settings.body["security_policy"].get("transfer_ceiling_minor").is_some());
}

#[tokio::test]
async fn lists_show_what_single_reads_show() {
    let app = bank_with_ceiling().await;
    let mut tokens = std::collections::BTreeMap::new();
    for name in ["customer", "second", "officer", "auditor", "manager"] {
        tokens.insert(name, app.login(&app.bank, name).await);
    }
    let mut all = Vec::new();
    for at in 0..3 {
        all.push(waiting(&app, &tokens["customer"], &format!("c{at}")).await.0);
        all.push(waiting(&app, &tokens["officer"], &format!("o{at}")).await.0);
    }
    decide(&app, &tokens["manager"], (all[0], "reject"), "r").await;
    for (name, token) in &tokens {
        let mut readable = Vec::new();
        for approval in all.iter().rev() {
            let read = app.get(format!("/v1/approvals/{approval}")).bearer(token).send().await;
            if read.status == 200 {
                readable.push(*approval);
            }
        }
        let (mut listed, mut cursor) = (Vec::new(), String::new());
        loop {
            let page = app.get(format!("/v1/approvals?limit=2{cursor}")).bearer(token).send().await;
            assert_eq!(page.status, 200, "{name}: {}", page.text);
            listed.extend(page.body["data"].as_array().unwrap().iter().map(|one| id(&one["id"])));
            let Some(next) = page.body["next_cursor"].as_str() else { break };
            cursor = format!("&cursor={next}");
        }
        assert_eq!(listed, readable, "{name}");
        // The payer sees what is asked of their account; the payee nothing before it is paid.
        assert_eq!(listed.len(), if *name == "second" { 0 } else { all.len() }, "{name}");
    }
    let officer = &tokens["officer"];
    for (query, count) in [
        ("status=pending", 5),
        ("status=rejected", 1),
        ("status=approved", 0),
        ("kind=transfer", 6),
    ] {
        let page = app.get(format!("/v1/approvals?{query}")).bearer(officer).send().await;
        assert_eq!(page.body["data"].as_array().unwrap().len(), count, "{query}");
    }
    for query in ["status=posted", "kind=loan", "cursor=AAAA", "other=1"] {
        let page = app.get(format!("/v1/approvals?{query}")).bearer(officer).send().await;
        assert_eq!(page.status, 400, "{query}: {}", page.text);
    }
}
