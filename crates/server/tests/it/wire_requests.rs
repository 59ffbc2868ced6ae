//! Requests as they should not be: shapes, bodies, texts, parameters, amounts.

use axum::{body::Body, http::Method};
use serde_json::json;
use uuid::Uuid;

use crate::harness::{Answered, App, FUNDS, PASSWORD};
use crate::wire::login_body;

pub(crate) fn assert_problem(answer: &Answered, status: u16, code: &str) {
    assert_eq!((answer.status, answer.code()), (status, code), "{}", answer.text);
    assert_eq!(answer.header("content-type"), "application/problem+json");
    assert_eq!(answer.body["request_id"], answer.header("x-request-id"));
    for name in ["type", "title", "detail"] {
        assert!(answer.body[name].is_string(), "{name} in {}", answer.text);
    }
    assert_eq!(answer.body["status"], status);
    assert!(answer.body["errors"].is_array());
}

#[tokio::test]
async fn every_rejection_is_a_problem() {
    let app = App::start().await;
    let token = app.login(&app.bank, "customer").await;
    assert_problem(&app.get("/nothing").send().await, 404, "not_found");
    assert_problem(&app.get("/v1/accounts/").bearer(&token).send().await, 404, "not_found");
    assert_problem(
        &app.ask(Method::PUT, "/v1/accounts").bearer(&token).send().await,
        405,
        "method_not_allowed",
    );
    assert_problem(
        &app.ask(Method::OPTIONS, "/v1/accounts").send().await,
        405,
        "method_not_allowed",
    );
    for id in ["x", "0192e4c8", "%00", "1%2F2"] {
        let answer = app.get(format!("/v1/accounts/{id}")).bearer(&token).send().await;
        assert_problem(&answer, 400, "malformed_request");
        assert_eq!(answer.field(), "id");
    }
    // Any well-formed UUID is an id, whatever its version.
    let nil = app.get(format!("/v1/accounts/{}", Uuid::nil())).bearer(&token).send().await;
    assert_problem(&nil, 404, "not_found");
    let untyped = app.post("/v1/transfers").bearer(&token).key("k").send().await;
    assert_problem(&untyped, 415, "unsupported_media_type");
    for kind in
        ["text/plain", "application/x-www-form-urlencoded", "application/json; charset=latin1"]
    {
        let answer = app.post("/v1/auth/login").header("content-type", kind).send().await;
        assert_problem(&answer, 415, "unsupported_media_type");
    }
    let broken = app.post("/v1/auth/login").raw_json("{\"username\":").send().await;
    assert_problem(&broken, 400, "malformed_json");
    let unknown = json!({ "username": "a", "password": "b", "admin": true });
    let answer = app.post("/v1/auth/login").json(&unknown).send().await;
    assert_problem(&answer, 400, "malformed_request");
    assert_eq!(
        (answer.field(), answer.body["errors"][0]["code"].as_str()),
        ("admin", Some("unknown_field"))
    );
    let twice = app
        .post("/v1/auth/login")
        .raw_json(r#"{"username":"a","username":"b","password":"c"}"#)
        .send()
        .await;
    assert_eq!(twice.field(), "username");
    let deep = format!("{{\"username\":{}{}}}", "[".repeat(10_000), "]".repeat(10_000));
    assert_problem(&app.post("/v1/auth/login").raw_json(deep).send().await, 400, "malformed_json");
}

#[tokio::test]
async fn no_text_holds_the_nul_character() {
    let app = App::start().await;
    let (auditor, admin) =
        (app.login(&app.bank, "auditor").await, app.login(&app.bank, "admin").await);
    // role, path, field
    let reads = [
        (&auditor, "/v1/accounts?account_number=%00", "account_number"),
        (&auditor, "/v1/accounts?limit=1&status=a%00", "status"),
        (&auditor, "/v1/accounts?%00=1", "query"),
        (&auditor, "/v1/accounts/%00", "id"),
        (&auditor, "/v1/audit/events?action=%00", "action"),
        (&auditor, "/v1/audit/events?resource_type=%00", "resource_type"),
        (&auditor, "/v1/audit/events?request_id=a%00b", "request_id"),
        (&admin, "/v1/users?role=%00", "role"),
        (&admin, "/v1/auth/password-policy?tenant=%00", "tenant"),
        (&admin, "/t/%00/.well-known/jwks.json", "tenant"),
    ];
    for (token, path, field) in reads {
        let answer = app.get(path).bearer(token).send().await;
        assert_problem(&answer, 400, "malformed_request");
        assert_eq!(answer.field(), field, "{path}");
    }
    let [from, to] = app.bank.customers[0].accounts;
    let user = json!({
        "username": "newcomer", "email": "newcomer@bank.example", "password": PASSWORD,
        "role": "officer", "referral_code": "A\u{0}",
    });
    let order = json!({
        "from_account_id": from, "to_account_id": to, "amount": 1, "currency": "EUR",
        "description": "Rent\u{0}",
    });
    let login = |username: &str, password: &str, tenant: &str| json!({ "tenant": tenant, "username": username, "password": password });
    // path, body, field
    let writes = [
        ("/v1/users", user, "referral_code"),
        ("/v1/transfers", order, "description"),
        (
            "/v1/approvals/00000000-0000-0000-0000-000000000001/approve",
            json!({ "note": "\u{0}" }),
            "note",
        ),
        ("/v1/auth/login", login("a\u{0}", PASSWORD, "bank"), "username"),
        ("/v1/auth/login", login("a", "\u{0}", "bank"), "password"),
        ("/v1/auth/login", login("a", PASSWORD, "\u{0}"), "tenant"),
        ("/v1/auth/login", json!({ "user\u{0}name": "a" }), "body"),
        ("/v1/auth/refresh", json!({ "refresh_token": "\u{0}" }), "refresh_token"),
    ];
    for (path, body, field) in writes {
        let answer = app.post(path).bearer(&admin).key("nul").json(&body).send().await;
        assert_problem(&answer, 400, "malformed_request");
        assert_eq!(answer.field(), field, "{path}: {}", answer.text);
    }
    // Who is not known learns nothing of the field.
    assert_problem(&app.get("/v1/accounts?account_number=%00").send().await, 401, "invalid_token");
}

#[tokio::test]
async fn bodies_are_taken_as_they_are_or_not_at_all() {
    let app = App::start().await;
    let body = login_body("customer");
    // Content-Encoding, status
    let table = [
        ("identity", 401),
        ("Identity", 401),
        ("gzip", 415),
        ("br", 415),
        ("identity, gzip", 415),
        ("nonsense", 415),
    ];
    for (coding, status) in table {
        let answer =
            app.post("/v1/auth/login").header("content-encoding", coding).json(&body).send().await;
        assert_eq!(answer.status, status, "{coding}: {}", answer.text);
        let accepted = if status == 415 { "identity" } else { "" };
        assert_eq!(answer.header("accept-encoding"), accepted, "{coding}");
    }
    let twice = app.post("/v1/auth/login").header("content-encoding", "identity");
    let twice = twice.header("content-encoding", "gzip").json(&body).send().await;
    assert_problem(&twice, 415, "unsupported_media_type");
    assert_eq!(twice.field(), "Content-Encoding");
    let token = app.login(&app.bank, "customer").await;
    let optional = app.post("/v1/auth/logout").bearer(&token).header("content-encoding", "gzip");
    assert_problem(&optional.raw_json("{}").send().await, 415, "unsupported_media_type");
    // Where the media type is at fault, codings are not mentioned.
    let untyped = app.post("/v1/auth/login").send().await;
    assert_eq!((untyped.status, untyped.header("accept-encoding")), (415, ""));
}

#[tokio::test]
async fn parameters_at_fault_are_named() {
    let app = App::start().await;
    let token = app.login(&app.bank, "auditor").await;
    // query, field, code of the field
    let table = [
        ("limit=-1", "limit", "invalid_value"),
        ("limit=x", "limit", "invalid_value"),
        ("limit=", "limit", "invalid_value"),
        ("limit=0", "limit", "invalid_value"),
        ("limit=1&limit=2", "limit", "duplicate_field"),
        ("customer_id=7", "customer_id", "invalid_value"),
        ("colour=red", "colour", "unknown_field"),
    ];
    for (query, field, code) in table {
        let answer = app.get(format!("/v1/accounts?{query}")).bearer(&token).send().await;
        assert_problem(&answer, 400, "malformed_request");
        let found = (answer.field(), answer.body["errors"][0]["code"].as_str());
        assert_eq!(found, (field, Some(code)), "{query}");
    }
    let half = app.get("/v1/audit/consistency?from=1").bearer(&token).send().await;
    assert_eq!((half.status, half.field()), (400, "to"), "{}", half.text);
}

#[tokio::test]
async fn two_tokens_are_none() {
    let app = App::start().await;
    let token = app.login(&app.bank, "customer").await;
    for second in [format!("Bearer {token}"), "Bearer nonsense".to_owned(), String::new()] {
        for path in ["/v1/auth/me", "/v1/auth/password-policy", "/v1/accounts"] {
            let ask = app.get(path).bearer(&token).header("authorization", &second);
            let answer = ask.send().await;
            assert_problem(&answer, 400, "malformed_request");
            assert_eq!(answer.field(), "Authorization");
        }
    }
}

#[tokio::test]
async fn bodies_are_bounded_announced_or_not() {
    let app = App::start().await;
    let token = app.login(&app.bank, "customer").await;
    let big = vec![b' '; 10 * 1024 * 1024];
    let announced = app
        .post("/v1/transfers")
        .bearer(&token)
        .key("k")
        .header("content-length", &big.len().to_string());
    assert_problem(&announced.raw_json(big.clone()).send().await, 413, "body_too_large");
    let chunks = futures_util::stream::iter(
        big.chunks(65_536).map(|chunk| Ok::<_, std::io::Error>(chunk.to_vec())).collect::<Vec<_>>(),
    );
    let streamed =
        app.post("/v1/transfers").bearer(&token).key("k").raw_json(Body::from_stream(chunks));
    assert_problem(&streamed.send().await, 413, "body_too_large");
    let out = app.post("/v1/auth/logout").bearer(&token).raw_json(big).send().await;
    assert_problem(&out, 413, "body_too_large");
}

#[tokio::test]
async fn a_body_that_does_not_come_is_the_senders_fault() {
    let app = App::start().await;
    let token = app.login(&app.bank, "customer").await;
    let never = || {
        let first = futures_util::stream::iter([Ok::<_, std::io::Error>(b"{".to_vec())]);
        Body::from_stream(futures_util::StreamExt::chain(first, futures_util::stream::pending()))
    };
    let (sign_in, transfer) = tokio::join!(
        app.post("/v1/auth/login").raw_json(never()).send(),
        app.post("/v1/transfers").bearer(&token).key("k").raw_json(never()).send(),
    );
    for answer in [sign_in, transfer] {
        assert_problem(&answer, 408, "request_timeout");
    }
}

#[tokio::test]
async fn amounts_are_whole_positive_and_bounded() {
    let app = App::start().await;
    let token = app.login(&app.bank, "customer").await;
    let [from, to] = app.bank.customers[0].accounts;
    // amount as written, status
    let table = [
        ("0", 422),
        ("-1", 422),
        ("-9223372036854775808", 422),
        ("-9223372036854775809", 422),
        ("9007199254740992", 422),
        ("9223372036854775807", 422),
        ("9223372036854775808", 422),
        ("1000000000000000000000000000000", 422),
        ("-1000000000000000000000000000000", 422),
        ("1.5", 400),
        ("1.0", 400),
        ("1e2", 400),
        ("1e999", 400),
        ("\"5\"", 400),
        ("null", 400),
        ("true", 400),
        ("[1]", 400),
        ("100001", 422),
    ];
    for (amount, status) in table {
        let body = format!(
            r#"{{"from_account_id":"{from}","to_account_id":"{to}","amount":{amount},"currency":"EUR"}}"#
        );
        let answer = app
            .post("/v1/transfers")
            .bearer(&token)
            .key(&format!("k{amount}").replace('"', "q"))
            .raw_json(body)
            .send()
            .await;
        assert_eq!(
            (answer.status, answer.field()),
            (status, "amount"),
            "{amount}: {}",
            answer.text
        );
    }
    let itself =
        json!({ "from_account_id": from, "to_account_id": from, "amount": 1, "currency": "EUR" });
    let answer = app.post("/v1/transfers").bearer(&token).key("self").json(&itself).send().await;
    assert_problem(&answer, 422, "same_account");
    let dollars =
        json!({ "from_account_id": from, "to_account_id": to, "amount": 1, "currency": "USD" });
    assert_problem(
        &app.post("/v1/transfers").bearer(&token).key("usd").json(&dollars).send().await,
        422,
        "currency_mismatch",
    );
    let fantasy =
        json!({ "from_account_id": from, "to_account_id": to, "amount": 1, "currency": "ZZZ" });
    assert_eq!(
        app.post("/v1/transfers").bearer(&token).key("zzz").json(&fantasy).send().await.field(),
        "currency"
    );
    let keyless = app.post("/v1/transfers").bearer(&token).json(&itself).send().await;
    assert_problem(&keyless, 400, "idempotency_key_required");
    assert_eq!((app.balance(from).await, app.balance(to).await), (FUNDS, FUNDS));
}
