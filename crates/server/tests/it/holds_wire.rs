//! Holds over HTTP: shapes, keys, tags, wrong bodies, pages.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use serde_json::{Value, json};

use crate::harness::{Answered, App, FUNDS};
use crate::wire_requests::assert_problem;

async fn available(app: &App, token: &str, account: uuid::Uuid) -> (i64, i64) {
    let read = app.get(format!("/v1/accounts/{account}")).bearer(token).send().await;
    let amount = |name: &str| read.body[name].as_i64().unwrap();
    (amount("balance"), amount("available_balance"))
}

async fn create(app: &App, token: &str, key: &str, body: &Value) -> Answered {
    app.post("/v1/holds").bearer(token).key(key).json(body).send().await
}

#[tokio::test]
async fn a_hold_lives_from_promise_to_payment() {
    let app = App::start().await;
    let customer = app.login(&app.bank, "customer").await;
    let officer = app.login(&app.bank, "officer").await;
    let [from, _] = app.bank.customers[0].accounts;
    let [to, _] = app.bank.customers[1].accounts;
    let order = json!({
        "account_id": from, "to_account_id": to, "amount": 2_000, "currency": "EUR",
        "description": "Hotel", "reference": "room 7",
    });
    let made = create(&app, &customer, "h1", &order).await;
    assert_eq!((made.status, made.header("etag")), (201, "\"1\""), "{}", made.text);
    let expected = [
        ("account_id", json!(from)),
        ("to_account_id", json!(to)),
        ("amount", json!(2_000)),
        ("captured_amount", json!(0)),
        ("remaining", json!(2_000)),
        ("currency", json!("EUR")),
        ("status", json!("authorized")),
        ("description", json!("Hotel")),
        ("reference", json!("room 7")),
        ("last_transfer_id", Value::Null),
        ("version", json!(1)),
    ];
    for (name, value) in expected {
        assert_eq!(made.body[name], value, "{name}");
    }
    let moment =
        |name: &str| -> jiff::Timestamp { made.body[name].as_str().unwrap().parse().unwrap() };
    let lifetime = moment("expires_at").duration_since(moment("created_at"));
    assert_eq!(lifetime.as_hours(), 168);
    assert_eq!(available(&app, &customer, from).await, (FUNDS, FUNDS - 2_000));

    let path = format!("/v1/holds/{}", made.body["id"].as_str().unwrap());
    let again = create(&app, &customer, "h1", &order).await;
    assert_eq!((again.status, again.header("idempotency-replayed")), (201, "true"));
    assert_eq!(again.body, made.body);
    let read = app.get(&path).bearer(&customer).send().await;
    assert_eq!((read.status, read.header("etag")), (200, "\"1\""));
    assert_eq!(read.body, made.body);

    let part = json!({ "amount": 500, "final": false });
    let capture = format!("{path}/capture");
    let done = app.post(&capture).bearer(&officer).key("c1").json(&part).send().await;
    assert_eq!((done.status, done.header("etag")), (200, "\"2\""), "{}", done.text);
    assert_eq!(
        (&done.body["status"], &done.body["remaining"], &done.body["captured_amount"]),
        (&json!("partially_captured"), &json!(1_500), &json!(500))
    );
    assert_eq!(available(&app, &customer, from).await, (FUNDS - 500, FUNDS - 2_000));
    let transfer = done.body["last_transfer_id"].as_str().unwrap();
    let transfer = app.get(format!("/v1/transfers/{transfer}")).bearer(&customer).send().await;
    assert_eq!(
        (&transfer.body["amount"], &transfer.body["to_account_id"]),
        (&json!(500), &json!(to))
    );

    // Without a body all that remains is paid, and the hold is over.
    let done = app.post(&capture).bearer(&officer).key("c2").send().await;
    assert_eq!((done.status, &done.body["status"]), (200, &json!("captured")), "{}", done.text);
    assert_eq!(app.balance(to).await, FUNDS + 2_000);
    assert_eq!(available(&app, &customer, from).await, (FUNDS - 2_000, FUNDS - 2_000));
    let over = app.post(&capture).bearer(&officer).key("c3").json(&json!({})).send().await;
    assert_problem(&over, 422, "hold_captured");
    let release = app.post(format!("{path}/release")).bearer(&officer).key("r1").send().await;
    assert_problem(&release, 422, "hold_captured");
    let read = app.get(&path).bearer(&customer).send().await;
    assert_eq!(read.body, done.body, "what was answered is what is read");
}

#[tokio::test]
async fn a_hold_that_is_let_go_leaves_everything_there() {
    let app = App::start().await;
    let customer = app.login(&app.bank, "customer").await;
    let officer = app.login(&app.bank, "officer").await;
    let [from, _] = app.bank.customers[0].accounts;
    // Promised to nobody in particular: settlement.
    let order = json!({ "account_id": from, "amount": 100 });
    let made = create(&app, &customer, "h2", &order).await;
    assert_eq!((made.status, &made.body["currency"]), (201, &json!("EUR")), "{}", made.text);
    let path = format!("/v1/holds/{}/release", made.body["id"].as_str().unwrap());
    let gone = app.post(&path).bearer(&officer).key("r2").json(&json!({})).send().await;
    assert_eq!(
        (gone.status, &gone.body["status"], &gone.body["remaining"]),
        (200, &json!("released"), &json!(0))
    );
    assert_eq!(available(&app, &customer, from).await, (FUNDS, FUNDS));
    // Somebody with no part in it sees nothing of it.
    let second = app.login(&app.bank, "second").await;
    let path = format!("/v1/holds/{}", made.body["id"].as_str().unwrap());
    assert_problem(&app.get(&path).bearer(&second).send().await, 404, "not_found");
    for who in [&customer, &second] {
        let refused = app.post(format!("{path}/capture")).bearer(who).key("c9").send().await;
        assert_problem(&refused, 403, "permission_denied");
    }
}

#[tokio::test]
async fn holds_as_they_should_not_be_ordered() {
    let app = App::start().await;
    let customer = app.login(&app.bank, "customer").await;
    let [from, to] = app.bank.customers[0].accounts;
    // amount as written, status
    for (amount, status) in [
        ("0", 422),
        ("-1", 422),
        ("9007199254740992", 422),
        ("9223372036854775808", 422),
        ("1000000000000000000000000000000", 422),
        ("1.5", 400),
        ("1e2", 400),
        ("\"5\"", 400),
        ("null", 400),
        ("true", 400),
    ] {
        let body = format!(r#"{{"account_id":"{from}","to_account_id":"{to}","amount":{amount}}}"#);
        let key = format!("k{amount}").replace('"', "q");
        let answer = app.post("/v1/holds").bearer(&customer).key(&key).raw_json(body).send().await;
        assert_eq!(
            (answer.status, answer.field()),
            (status, "amount"),
            "{amount}: {}",
            answer.text
        );
    }
    let base = json!({ "account_id": from, "to_account_id": to, "amount": 10 });
    let keyless = app.post("/v1/holds").bearer(&customer).json(&base).send().await;
    assert_problem(&keyless, 400, "idempotency_key_required");
    // field, value, status, code
    let table = [
        ("status", json!("captured"), 400, "malformed_request"),
        ("currency", json!("ZZZ"), 400, "malformed_request"),
        ("currency", json!("USD"), 422, "currency_mismatch"),
        ("expires_at", json!("tomorrow"), 400, "malformed_request"),
        ("expires_at", json!("2020-01-01T00:00:00Z"), 422, "validation_failed"),
        ("expires_at", json!("9999-01-01T00:00:00Z"), 422, "validation_failed"),
        ("description", json!("x".repeat(141)), 422, "validation_failed"),
        ("reference", json!("a\u{1}"), 422, "validation_failed"),
        ("description", json!("a\u{0}"), 400, "malformed_request"),
        ("account_id", json!("x"), 400, "malformed_request"),
    ];
    for (number, (field, value, status, code)) in table.into_iter().enumerate() {
        let mut body = base.clone();
        body[field] = value;
        let answer = create(&app, &customer, &format!("t{number}"), &body).await;
        assert_problem(&answer, status, code);
        assert_eq!(answer.field(), field, "{}", answer.text);
    }
}

#[tokio::test]
async fn captures_as_they_should_not_be_ordered() {
    let app = App::start().await;
    let customer = app.login(&app.bank, "customer").await;
    let officer = app.login(&app.bank, "officer").await;
    let [from, to] = app.bank.customers[0].accounts;
    let base = json!({ "account_id": from, "to_account_id": to, "amount": 10 });
    let made = create(&app, &customer, "good", &base).await;
    let path = format!("/v1/holds/{}", made.body["id"].as_str().unwrap());
    // body, status, code, field
    for (number, (body, status, code, field)) in [
        (json!({ "amount": 11 }), 422, "capture_exceeds_hold", "amount"),
        (json!({ "amount": 0 }), 422, "invalid_amount", "amount"),
        (json!({ "amount": -1 }), 422, "invalid_amount", "amount"),
        (json!({ "amount": null }), 400, "malformed_request", "amount"),
        (json!({ "amount": 1.5 }), 400, "malformed_request", "amount"),
        (json!({ "final": "yes" }), 400, "malformed_request", "final"),
        // Whom it pays is not for the one who captures to say.
        (json!({ "to_account_id": from }), 400, "malformed_request", "to_account_id"),
    ]
    .into_iter()
    .enumerate()
    {
        let key = format!("c{number}");
        let ask = app.post(format!("{path}/capture")).bearer(&officer).key(&key).json(&body);
        let answer = ask.send().await;
        assert_problem(&answer, status, code);
        assert_eq!(answer.field(), field, "{}", answer.text);
    }
    for action in ["capture", "release"] {
        let keyless = app.post(format!("{path}/{action}")).bearer(&officer).send().await;
        assert_problem(&keyless, 400, "idempotency_key_required");
        let big = vec![b' '; 10 * 1024 * 1024];
        let ask = app.post(format!("{path}/{action}")).bearer(&officer).key("big").raw_json(big);
        assert_problem(&ask.send().await, 413, "body_too_large");
    }
    let unknown = app.get("/v1/holds?status=held").bearer(&customer).send().await;
    assert_problem(&unknown, 400, "malformed_request");
    let odd = app.get("/v1/holds?account_id=7").bearer(&customer).send().await;
    assert_eq!((odd.status, odd.field()), (400, "account_id"));
    assert_eq!(app.balance(from).await, FUNDS);
}

#[tokio::test]
async fn pages_of_holds_belong_to_their_filters() {
    let app = App::start().await;
    let customer = app.login(&app.bank, "customer").await;
    let [from, to] = app.bank.customers[0].accounts;
    for number in 0..5 {
        let order = json!({ "account_id": from, "to_account_id": to, "amount": 1 });
        assert_eq!(create(&app, &customer, &format!("p{number}"), &order).await.status, 201);
    }
    let list = format!("/v1/holds?account_id={from}&status=authorized&limit=2");
    let mut seen = Vec::new();
    let mut cursor = String::new();
    loop {
        let page = app.get(format!("{list}{cursor}")).bearer(&customer).send().await;
        assert_eq!(page.status, 200, "{}", page.text);
        let ids = page.body["data"].as_array().unwrap().iter();
        seen.extend(ids.map(|hold| hold["id"].as_str().unwrap().to_owned()));
        let Some(next) = page.body["next_cursor"].as_str() else { break };
        cursor = format!("&cursor={next}");
    }
    assert_eq!(seen.len(), 5);
    let first = app.get(&list).bearer(&customer).send().await;
    let next = first.body["next_cursor"].as_str().unwrap();
    let moved = app.get(format!("/v1/holds?limit=2&cursor={next}")).bearer(&customer).send().await;
    assert_problem(&moved, 400, "invalid_cursor");
    let none = app.get(format!("/v1/holds?account_id={to}")).bearer(&customer).send().await;
    assert_eq!((none.status, &none.body["data"]), (200, &json!([])));
}
