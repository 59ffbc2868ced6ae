//! Batches of transfers through the interface: each item answers for itself, keys are
//! one with single transfers, and nothing is done twice however often it is sent.

use std::collections::BTreeSet;

use futures_util::future::join_all;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::harness::{Answered, App, FUNDS};
use crate::wire_requests::assert_problem;

fn item(key: &str, from: Uuid, to: Uuid, amount: i64) -> Value {
    json!({
        "idempotency_key": key, "from_account_id": from, "to_account_id": to, "amount": amount, "currency": "EUR",
    })
}

async fn send(app: &App, token: &str, items: &[Value]) -> Answered {
    let body = json!({ "transfers": items });
    app.post("/v1/transfers/batch").bearer(token).json(&body).send().await
}

/// Status, code of the problem, field at fault, whether replayed.
fn shown(result: &Value) -> (u64, String, String, bool) {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let problem = &result["problem"];
    assert_eq!(result["transfer"].is_object(), result["status"] == 201, "{result}");
    assert_eq!(problem.is_object(), result["status"] != 201, "{result}");
    (
        result["status"].as_u64().unwrap(),
        text(&problem["code"]),
        text(&problem["errors"][0]["field"]),
        result["replayed"] == true,
    )
}

async fn assert_books_are_right(app: &App) {
    let context = app.cli("bank").await;
    let proof = banking::proof::prove(&context, &app.pool, |_| {}).await.unwrap();
    assert_eq!(proof.fault_count(), 0, "{:?}", proof.faults().collect::<Vec<_>>());
}

#[tokio::test]
async fn each_item_is_answered_for_itself_and_in_order() {
    let app = App::start().await;
    let rival = app.add_bank("rival").await;
    let token = app.login(&app.bank, "customer").await;
    let [from, to] = app.bank.customers[0].accounts;
    let neighbour = app.bank.customers[1].accounts[0];
    let abroad = rival.customers[0].accounts[0];
    let mut unknown_field = item("u", from, to, 1);
    unknown_field["atomic"] = json!(true);
    let mut fraction = item("f", from, to, 1);
    fraction["amount"] = json!(1.5);
    let mut keyless = item("k", from, to, 1);
    keyless.as_object_mut().unwrap().remove("idempotency_key");
    let mut nul = item("n", from, to, 1);
    nul["description"] = json!("a\u{0}");
    let mut long = item("l", from, to, 1);
    long["description"] = json!("x".repeat(141));
    // item, status, code, field, replayed
    let table = [
        (item("a", from, to, 10), 201, "", "", false),
        (item("b", from, to, FUNDS), 422, "insufficient_funds", "amount", false),
        (item("c", neighbour, to, 1), 422, "not_found", "from_account_id", false),
        (item("d", abroad, to, 1), 422, "not_found", "from_account_id", false),
        (item("e", from, abroad, 1), 422, "not_found", "to_account_id", false),
        (unknown_field, 400, "malformed_request", "atomic", false),
        (fraction, 400, "malformed_request", "amount", false),
        (keyless, 400, "idempotency_key_required", "", false),
        (item("with blank", from, to, 1), 400, "malformed_request", "idempotency_key", false),
        (nul, 400, "malformed_request", "description", false),
        (long, 422, "validation_failed", "description", false),
        (item("g", from, from, 1), 422, "same_account", "to_account_id", false),
        (item("h", from, to, 1 << 53), 422, "amount_too_large", "amount", false),
        (item("i", from, to, 0), 422, "invalid_amount", "amount", false),
        (json!("text"), 400, "malformed_request", "transfers[14]", false),
        (item("a", from, to, 10), 201, "", "", true),
        (item("\"a\"", from, to, 10), 201, "", "", true),
        (item("a", from, to, 11), 422, "idempotency_key_reused", "Idempotency-Key", false),
        (item("b", from, to, FUNDS), 422, "insufficient_funds", "amount", true),
        (item("j", from, neighbour, 5), 201, "", "", false),
    ];
    let items: Vec<Value> = table.iter().map(|(item, ..)| item.clone()).collect();
    let answer = send(&app, &token, &items).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    let results = answer.body["results"].as_array().unwrap();
    assert_eq!(results.len(), table.len());
    for ((item, status, code, field, replayed), result) in table.iter().zip(results) {
        let expected = (*status, (*code).to_owned(), (*field).to_owned(), *replayed);
        assert_eq!(shown(result), expected, "{item}: {result}");
        if let Some(problem) = result["problem"].as_object() {
            assert_eq!(problem["status"], *status);
            assert_eq!(problem["request_id"], answer.header("x-request-id"));
        }
    }
    assert_eq!(results[0]["transfer"], results[15]["transfer"]);
    assert_eq!(results[0]["transfer"]["status"], "posted");
    assert_eq!(app.balance(from).await, FUNDS - 15);
    assert_eq!(app.balance(neighbour).await, FUNDS + 5);
    assert_books_are_right(&app).await;
}

#[tokio::test]
async fn keys_are_one_with_single_transfers_and_refusals_are_remembered() {
    let app = App::start().await;
    let token = app.login(&app.bank, "customer").await;
    let other = app.login(&app.bank, "officer").await;
    let [from, to] = app.bank.customers[0].accounts;
    let neighbour = app.bank.customers[1].accounts[0];
    let single = |key: &'static str, from: Uuid, to: Uuid, amount: i64| {
        let order = json!({ "from_account_id": from, "to_account_id": to, "amount": amount, "currency": "EUR" });
        let ask = app.post("/v1/transfers").bearer(&token).key(key).json(&order);
        async move { ask.send().await }
    };
    // Single first, then batch; and the other way round.
    let first = single("one", from, to, 7).await;
    let again = send(&app, &token, &[item("\"one\"", from, to, 7)]).await;
    assert_eq!(shown(&again.body["results"][0]), (201, String::new(), String::new(), true));
    assert_eq!(again.body["results"][0]["transfer"], first.body);
    let batch = send(&app, &token, &[item("two", from, to, 8)]).await;
    let again = single("\"two\"", from, to, 8).await;
    assert_eq!((again.status, again.header("idempotency-replayed")), (201, "true"));
    assert_eq!(batch.body["results"][0]["transfer"], again.body);
    // Another person's key of the same name is another key.
    let theirs = send(&app, &other, &[item("one", from, to, 7)]).await;
    assert_eq!(theirs.body["results"][0].get("replayed"), None);

    // What there was no money for stays refused under its key, whichever way it is sent.
    let too_much = FUNDS + 1;
    let refused = send(&app, &token, &[item("big", from, to, too_much)]).await;
    assert_eq!(shown(&refused.body["results"][0]).1, "insufficient_funds");
    let big = single("large", from, to, too_much).await;
    assert_problem(&big, 422, "insufficient_funds");
    let teller = app.login(&app.bank, "officer").await;
    let cash = json!({ "amount": FUNDS * 2 });
    let path = format!("/v1/accounts/{from}/deposits");
    assert_eq!(app.post(path).bearer(&teller).key("cash").json(&cash).send().await.status, 201);
    let before = app.balance(from).await;
    let again = single("big", from, to, too_much).await;
    assert_problem(&again, 422, "insufficient_funds");
    assert_eq!(again.header("idempotency-replayed"), "true");
    let again =
        send(&app, &token, &[item("large", from, to, too_much), item("big", from, to, too_much)])
            .await;
    for result in again.body["results"].as_array().unwrap() {
        assert_eq!(
            shown(result),
            (422, "insufficient_funds".to_owned(), "amount".to_owned(), true)
        );
    }
    assert_eq!(app.balance(from).await, before);
    // Under a new key the money is there; and after seven days the old one is forgotten.
    let fresh = send(&app, &token, &[item("fresh", from, to, too_much)]).await;
    assert_eq!(fresh.body["results"][0]["status"], 201);
    let remembered = "SELECT count(*) FROM idempotency_keys WHERE created_at > now() - interval '1 minute' AND idempotency_key = 'big'";
    let count: i64 = app.superuser.query_one(remembered, &[]).await.unwrap().get(0);
    assert_eq!(count, 1);
    app.superuser
        .execute(
            "UPDATE idempotency_keys SET created_at = created_at - interval '7 days 1 hour'",
            &[],
        )
        .await
        .unwrap();
    let context = app.cli("bank").await;
    let transaction = app.pool.begin(&context).await.unwrap();
    let forget = tenancy::sql!("operation/idempotency.sql", "forget_old");
    transaction.execute(forget, &[&transaction.tenant()]).await.unwrap();
    transaction.commit().await.unwrap();
    assert_eq!(single("big", from, neighbour, 1).await.status, 201);
    assert_books_are_right(&app).await;
}

#[tokio::test]
async fn what_concerns_the_caller_answers_the_whole() {
    let app = App::start().await;
    let [from, to] = app.bank.customers[0].accounts;
    let auditor = app.login(&app.bank, "auditor").await;
    let items: Vec<Value> =
        (0..50).map(|number| item(&format!("k{number}"), from, to, 1)).collect();
    let before = app.audit_count(app.bank.id).await;
    let denied = send(&app, &auditor, &items).await;
    assert_problem(&denied, 403, "permission_denied");
    assert_eq!(app.audit_count(app.bank.id).await, before + 1, "one refusal, not fifty");
    assert_problem(&send(&app, "nonsense", &items).await, 401, "invalid_token");
    // A signature of a session that has ended.
    let token = app.login(&app.bank, "customer").await;
    assert_eq!(send(&app, &token, &items[..1]).await.status, 200);
    assert!(app.post("/v1/auth/logout").bearer(&token).send().await.is_success());
    assert_eq!(send(&app, &token, &items[1..]).await.status, 401);
    // Of another tenant.
    let rival = app.add_bank("rival").await;
    let stranger = app.login(&rival, "admin").await;
    let answer = send(&app, &stranger, &items[..2]).await;
    for result in answer.body["results"].as_array().unwrap() {
        let expected = (422, "not_found".to_owned(), "from_account_id".to_owned(), false);
        assert_eq!(shown(result), expected);
    }
    assert_eq!(app.balance(from).await, FUNDS - 1);
}

#[tokio::test]
async fn the_shape_and_the_size_are_bounded() {
    let app = App::start().await;
    let token = app.login(&app.bank, "customer").await;
    let [from, to] = app.bank.customers[0].accounts;
    let many = |count: usize| -> Vec<Value> {
        (0..count).map(|number| item(&format!("k{number}"), from, to, 1)).collect()
    };
    for count in [0, 1_001] {
        let answer = send(&app, &token, &many(count)).await;
        assert_problem(&answer, 422, "validation_failed");
        assert_eq!(
            (answer.field(), answer.body["errors"][0]["code"].as_str()),
            ("transfers", Some("out_of_range"))
        );
    }
    let ask = |body: String| app.post("/v1/transfers/batch").bearer(&token).raw_json(body);
    assert_problem(&ask("{\"transfers\":[".to_owned()).send().await, 400, "malformed_json");
    assert_problem(&ask("[]".to_owned()).send().await, 400, "malformed_request");
    let huge = format!("{{\"transfers\":[{}]}}", " ".repeat(api::MAXIMUM_BATCH_BYTES));
    assert_problem(&ask(huge).send().await, 413, "body_too_large");
    assert_eq!(app.balance(from).await, FUNDS);
    // A full batch, wider than a body may be elsewhere.
    let mut full = many(1_000);
    for transfer in &mut full {
        transfer["description"] = json!("ř".repeat(140));
        transfer["reference"] = json!("𝄞".repeat(140));
        transfer["idempotency_key"] =
            json!(format!("{:0>255}", transfer["idempotency_key"].as_str().unwrap()));
    }
    let answer = send(&app, &token, &full).await;
    assert_eq!(answer.status, 200, "{}", &answer.text[..answer.text.len().min(500)]);
    let results = answer.body["results"].as_array().unwrap();
    assert!(results.iter().all(|result| result["status"] == 201), "{}", results[0]);
    let ids: BTreeSet<&str> =
        results.iter().map(|result| result["transfer"]["id"].as_str().unwrap()).collect();
    assert_eq!((ids.len(), app.balance(to).await), (1_000, FUNDS + 1_000));
    assert_books_are_right(&app).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn fifty_equal_batches_at_once_move_the_money_once() {
    let app = App::start().await;
    let token = app.login(&app.bank, "customer").await;
    let [from, to] = app.bank.customers[0].accounts;
    let items: Vec<Value> =
        (0..20).map(|number| item(&format!("k{number}"), from, to, 3)).collect();
    // Half of them one by one as well, at the same time.
    let singles = items.iter().take(10).map(|item| {
        let mut order = item.clone();
        let key = order.as_object_mut().unwrap().remove("idempotency_key").unwrap();
        let ask = app.post("/v1/transfers").bearer(&token).key(key.as_str().unwrap()).json(&order);
        async move { ask.send().await }
    });
    let batches = (0..50).map(|_| send(&app, &token, &items));
    let (answers, singles) = tokio::join!(join_all(batches), join_all(singles));
    let mut fresh = 0;
    let mut ids = BTreeSet::new();
    for answer in &answers {
        assert_eq!(answer.status, 200, "{}", answer.text);
        for result in answer.body["results"].as_array().unwrap() {
            let (status, code, _, replayed) = shown(result);
            assert!(
                status == 201 || (status, code.as_str()) == (409, "idempotency_in_flight"),
                "{result}"
            );
            fresh += usize::from(status == 201 && !replayed);
            ids.extend(result["transfer"]["id"].as_str().map(str::to_owned));
        }
    }
    for answer in &singles {
        assert!(matches!(answer.status, 201 | 409), "{}", answer.text);
        fresh +=
            usize::from(answer.status == 201 && answer.header("idempotency-replayed").is_empty());
        ids.extend(answer.body["id"].as_str().map(str::to_owned));
    }
    assert_eq!((fresh, ids.len()), (20, 20), "each key is used once");
    assert_eq!((app.balance(from).await, app.balance(to).await), (FUNDS - 60, FUNDS + 60));
    assert_books_are_right(&app).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn batches_that_cross_never_overdraw() {
    let app = App::start().await;
    let token = app.login(&app.bank, "customer").await;
    let [left, right] = app.bank.customers[0].accounts;
    let batches = (0..16).map(|batch| {
        let items: Vec<Value> = (0..40_i64)
            .map(|number| {
                let (from, to) =
                    if (number + batch) % 3 == 0 { (right, left) } else { (left, right) };
                item(&format!("{batch}.{number}"), from, to, 1_000 * (number % 7 + 1))
            })
            .collect();
        let (app, token) = (&app, &token);
        async move { send(app, token, &items).await }
    });
    for answer in join_all(batches).await {
        assert_eq!(answer.status, 200, "{}", answer.text);
        for result in answer.body["results"].as_array().unwrap() {
            let (status, code, ..) = shown(result);
            assert!(status == 201 || code == "insufficient_funds", "{result}");
        }
    }
    let (left, right) = (app.balance(left).await, app.balance(right).await);
    assert!(left >= 0 && right >= 0 && left + right == 2 * FUNDS, "{left} {right}");
    assert_books_are_right(&app).await;
}
