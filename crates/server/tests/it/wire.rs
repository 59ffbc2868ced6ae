//! The interface under attack: malformed requests, tricks against limits, forged
//! tokens and cursors, races.

use std::sync::Arc;

use api::ApiConfig;
use axum::http::Method;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use tenancy::{Blueprint, policy::JwtAlgorithm};
use uuid::Uuid;

use crate::harness::{Answered, App, FUNDS, PASSWORD, unlimited};
use crate::wire_requests::assert_problem;
#[tokio::test]
async fn a_cursor_is_good_for_its_owner_and_list_only() {
    let app = App::start().await;
    let auditor = app.login(&app.bank, "auditor").await;
    let officer = app.login(&app.bank, "officer").await;
    let page = app.get("/v1/accounts?limit=1").bearer(&auditor).send().await;
    let cursor = page.body["next_cursor"].as_str().unwrap().to_owned();
    assert_eq!(
        app.get(format!("/v1/accounts?cursor={cursor}")).bearer(&auditor).send().await.status,
        200
    );
    let mut edited = cursor.clone();
    edited.replace_range(0..1, if cursor.starts_with('A') { "B" } else { "A" });
    let attempts = [
        (&officer, format!("/v1/accounts?cursor={cursor}")),
        (&auditor, format!("/v1/customers?cursor={cursor}")),
        (&auditor, format!("/v1/accounts?status=active&cursor={cursor}")),
        (&auditor, format!("/v1/accounts?cursor={edited}")),
        (&auditor, format!("/v1/accounts?cursor={cursor}A")),
        (&auditor, "/v1/accounts?cursor=".to_owned()),
        (&auditor, "/v1/accounts?cursor=AAAA".to_owned()),
    ];
    for (token, path) in attempts {
        assert_problem(&app.get(path).bearer(token).send().await, 400, "invalid_cursor");
    }
    let [first, second] = app.bank.customers[0].accounts;
    let history =
        app.get(format!("/v1/accounts/{first}/transactions?limit=1")).bearer(&auditor).send().await;
    assert_eq!(history.body["next_cursor"], Value::Null);
    let order = json!({ "from_account_id": first, "to_account_id": second, "amount": 1, "currency": "EUR" });
    app.post("/v1/transfers").bearer(&officer).key("k").json(&order).send().await;
    let history =
        app.get(format!("/v1/accounts/{first}/transactions?limit=1")).bearer(&auditor).send().await;
    let cursor = history.body["next_cursor"].as_str().unwrap();
    let other = app
        .get(format!("/v1/accounts/{second}/transactions?limit=1&cursor={cursor}"))
        .bearer(&auditor)
        .send()
        .await;
    assert_problem(&other, 400, "invalid_cursor");
}

pub(crate) fn login_body(username: &str) -> Value {
    json!({ "tenant": "bank", "username": username, "password": "Wrong-Horse-9-Battery" })
}

#[tokio::test]
async fn path_tricks_and_forged_headers_meet_the_same_limit() {
    let app = App::start_strict().await;
    let paths = [
        "/v1/auth/login",
        "//v1/auth/login",
        "/v1/auth/%6cogin",
        "/V1/auth/login",
        "/v1/./auth/login",
    ];
    for (number, path) in paths.iter().enumerate() {
        let answer = app
            .post(*path)
            .peer("203.0.113.1")
            .header("x-forwarded-for", &format!("198.51.100.{number}"))
            .header("forwarded", &format!("for=198.51.100.{number}"))
            .header("x-real-ip", &format!("198.51.100.{number}"))
            .json(&login_body(&format!("someone{number}")))
            .send()
            .await;
        assert!(matches!(answer.status, 401 | 404), "{path}: {}", answer.text);
    }
    for path in paths.iter().chain(&[
        "/api/v1/auth/login",
        "/v1/auth/login/",
        "/v1/accounts/%2e%2e/auth/login",
    ]) {
        let answer = app
            .post(*path)
            .peer("203.0.113.1")
            .header("x-forwarded-for", "192.0.2.99")
            .json(&login_body("x"))
            .send()
            .await;
        assert_problem(&answer, 429, "rate_limited");
        let wait = answer.header("retry-after").to_owned();
        assert_eq!(answer.body["detail"], format!("Try again in {wait} seconds"));
        assert!((1..=60).contains(&wait.parse::<u64>().unwrap()), "{wait}");
        let left = answer.header("ratelimit").strip_prefix("\"auth\";r=0;t=").unwrap();
        let reset: u64 = left.split(',').next().unwrap().parse().unwrap();
        assert!((1..=60).contains(&reset), "{left}");
        assert!(
            answer
                .header("ratelimit-policy")
                .starts_with("\"auth\";q=5;w=60, \"overall\";q=1000;w=3600")
        );
    }
    // Another address is another matter; the same name from many is not.
    let elsewhere =
        app.post("/v1/auth/login").peer("203.0.113.2").json(&login_body("officer")).send().await;
    assert_eq!(elsewhere.status, 401);
    for host in 3..7 {
        app.post("/v1/auth/login")
            .peer(&format!("203.0.113.{host}"))
            .json(&login_body("OFFICER "))
            .send()
            .await;
    }
    let sixth =
        app.post("/v1/auth/login").peer("203.0.113.9").json(&login_body("officer")).send().await;
    assert_problem(&sixth, 429, "rate_limited");
}

#[tokio::test]
async fn a_trusted_proxy_is_believed_as_far_as_it_is_trusted() {
    let config =
        ApiConfig { trusted_proxies: vec!["10.0.0.0/8".parse().unwrap()], ..ApiConfig::default() };
    let app = App::start_with(config).await;
    let attempt = |forwarded: &'static str, name: String| {
        let ask = app.post("/v1/auth/login").peer("10.0.0.1").header("x-forwarded-for", forwarded);
        async move { ask.json(&login_body(&name)).send().await.status }
    };
    for number in 0..5 {
        // The left part is the client's own invention.
        assert_eq!(attempt("1.1.1.1, 198.51.100.7", format!("a{number}")).await, 401);
    }
    assert_eq!(attempt("9.9.9.9, 198.51.100.7", "b".to_owned()).await, 429);
    assert_eq!(attempt("198.51.100.8", "c".to_owned()).await, 401);
}

#[tokio::test]
async fn reads_and_writes_are_limited_apart_per_person_and_address() {
    let app = App::start_strict().await;
    let sign_in = |username: &'static str, peer: &'static str| {
        let body = json!({ "tenant": "bank", "username": username, "password": PASSWORD });
        let ask = app.post("/v1/auth/login").peer(peer).json(&body);
        async move { ask.send().await.body["access_token"].as_str().unwrap().to_owned() }
    };
    let token = sign_in("customer", "203.0.113.1").await;
    for number in 0..100_u32 {
        let answer = app.get("/v1/accounts").peer("203.0.113.1").bearer(&token).send().await;
        assert_eq!(answer.status, 200, "{number}");
        let left = format!("\"read\";r={};", 99 - number);
        assert!(answer.header("ratelimit").starts_with(&left), "{}", answer.header("ratelimit"));
    }
    assert_problem(
        &app.get("/v1/accounts").peer("203.0.113.1").bearer(&token).send().await,
        429,
        "rate_limited",
    );
    // From another address the person is the same.
    assert_problem(
        &app.get("/v1/accounts").peer("203.0.113.2").bearer(&token).send().await,
        429,
        "rate_limited",
    );
    // Writing has a limit of its own.
    let [from, to] = app.bank.customers[0].accounts;
    let order =
        json!({ "from_account_id": from, "to_account_id": to, "amount": 1, "currency": "EUR" });
    assert_eq!(
        app.post("/v1/transfers")
            .peer("203.0.113.1")
            .bearer(&token)
            .key("k")
            .json(&order)
            .send()
            .await
            .status,
        201
    );
    // Somebody else at that address shares its window.
    let other = sign_in("second", "203.0.113.1").await;
    assert_problem(
        &app.get("/v1/accounts").peer("203.0.113.1").bearer(&other).send().await,
        429,
        "rate_limited",
    );
    assert_eq!(app.get("/v1/accounts").peer("203.0.113.3").bearer(&other).send().await.status, 200);
}

#[tokio::test]
async fn security_headers_are_on_every_answer() {
    let app = App::start().await;
    let token = app.login(&app.bank, "customer").await;
    let answers = [
        app.get("/v1/auth/me").bearer(&token).send().await,
        app.get("/v1/auth/me").send().await,
        app.get("/nothing").send().await,
        app.get("/openapi.json").send().await,
        app.get("/t/bank/.well-known/jwks.json").send().await,
        app.post("/v1/auth/login").raw_json("{").send().await,
        app.post("/v1/auth/logout").bearer(&token).send().await,
        app.ask(Method::PUT, "/v1/accounts").send().await,
    ];
    let shown: Vec<_> = answers.iter().map(security_headers).collect();
    for headers in &shown {
        assert_eq!(headers, &shown[0]);
    }
    insta::assert_snapshot!("security_headers", shown[0]);
    for answer in &answers {
        assert!(
            answer.headers.get("server").is_none() && answer.headers.get("x-powered-by").is_none()
        );
    }
}

pub(crate) fn security_headers(answer: &Answered) -> String {
    let names = [
        "content-security-policy",
        "cross-origin-opener-policy",
        "cross-origin-resource-policy",
        "permissions-policy",
        "referrer-policy",
        "strict-transport-security",
        "x-content-type-options",
        "x-frame-options",
        "x-xss-protection",
    ];
    names.map(|name| format!("{name}: {}", answer.header(name))).join("\n")
}

#[tokio::test]
async fn request_ids_are_taken_over_where_they_are_sane() {
    let app = App::start().await;
    let sane = app.get("/nothing").header("x-request-id", "abc-123").send().await;
    assert_eq!(
        (sane.header("x-request-id"), sane.body["request_id"].as_str()),
        ("abc-123", Some("abc-123"))
    );
    for hostile in ["a b", "\"><script>", &"x".repeat(500)] {
        let answer = app.get("/nothing").header("x-request-id", hostile).send().await;
        assert!(answer.header("x-request-id").parse::<Uuid>().is_ok(), "{hostile}");
    }
}

#[tokio::test]
async fn cors_knows_exact_origins_only() {
    let config =
        ApiConfig { cors_origins: vec!["https://app.bank.example".to_owned()], ..unlimited() };
    let app = App::start_with(config).await;
    let preflight = |origin: &'static str| {
        app.ask(Method::OPTIONS, "/v1/transfers")
            .header("origin", origin)
            .header("access-control-request-method", "POST")
            .header(
                "access-control-request-headers",
                "authorization,content-type,idempotency-key,if-match",
            )
    };
    let allowed = preflight("https://app.bank.example").send().await;
    assert_eq!(allowed.header("access-control-allow-origin"), "https://app.bank.example");
    assert_eq!(allowed.header("access-control-allow-credentials"), "true");
    assert_eq!(allowed.header("access-control-allow-methods"), "GET,POST,PUT,PATCH,DELETE");
    assert!(allowed.header("access-control-allow-headers").contains("idempotency-key"));
    for origin in [
        "https://evil.example",
        "https://app.bank.example.evil.example",
        "null",
        "http://app.bank.example",
    ] {
        let refused = preflight(origin).send().await;
        assert_eq!(refused.header("access-control-allow-origin"), "", "{origin}");
    }
    let answer = app.get("/openapi.json").header("origin", "https://app.bank.example").send().await;
    assert_eq!(answer.header("access-control-expose-headers"), "x-request-id,x-total-count");
    let closed = App::start().await;
    let answer =
        closed.get("/openapi.json").header("origin", "https://app.bank.example").send().await;
    assert_eq!(answer.header("access-control-allow-origin"), "");
}

#[tokio::test]
async fn hosts_that_are_not_ours_are_not_served() {
    let config = ApiConfig { allowed_hosts: vec!["bank.example".to_owned()], ..unlimited() };
    let app = App::start_with(config).await;
    for (host, status) in [
        ("bank.example", 200),
        ("BANK.example:8443", 200),
        ("evil.example", 400),
        ("bank.example.evil", 400),
    ] {
        assert_eq!(
            app.get("/openapi.json").header("host", host).send().await.status,
            status,
            "{host}"
        );
    }
    assert_eq!(app.get("/openapi.json").send().await.status, 400);
}

#[tokio::test]
async fn a_request_names_one_host_and_no_other() {
    let config = ApiConfig { allowed_hosts: vec!["bank.example".to_owned()], ..unlimited() };
    let (listed, open) = (App::start_with(config).await, App::start().await);
    let twice = ["bank.example", "evil.example"];
    // target, Host lines, whether it is refused where every host is served as well
    let table: [(&str, &[&str], bool); 6] = [
        ("/openapi.json", &twice, true),
        ("/openapi.json", &["evil.example", "bank.example"], true),
        ("http://evil.example/openapi.json", &["bank.example"], true),
        ("http://bank.example/openapi.json", &["evil.example"], true),
        ("http://evil.example/openapi.json", &["evil.example"], false),
        ("http://bank.example/openapi.json", &["BANK.example"], false),
    ];
    for (target, hosts, is_unclear) in table {
        for (app, served) in [(&listed, target.contains("bank.example")), (&open, true)] {
            let ask = hosts.iter().fold(app.get(target), |ask, host| ask.header("host", host));
            let answer = ask.send().await;
            match (is_unclear, served) {
                (true, _) => assert_problem(&answer, 400, "malformed_request"),
                (false, false) => assert_problem(&answer, 400, "unknown_host"),
                (false, true) => assert_eq!(answer.status, 200, "{target} {hosts:?}"),
            }
        }
    }
    let answer = open.get("/openapi.json").header("host", "caf\u{e9}").send().await;
    assert_problem(&answer, 400, "malformed_request");
}

fn forge(header: &Value, claims: &Value, signature: &[u8]) -> String {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    format!("{}.{}.{}", part(header), part(claims), URL_SAFE_NO_PAD.encode(signature))
}

fn parts(token: &str) -> (Value, Value) {
    let mut parts = token.split('.').map(|part| URL_SAFE_NO_PAD.decode(part).unwrap());
    let mut next = || serde_json::from_slice(&parts.next().unwrap()).unwrap();
    (next(), next())
}

#[tokio::test]
async fn forged_tokens_are_refused_alike() {
    let app = App::start().await;
    let tokens = app.sign_in(&app.bank, "customer").await;
    let token = tokens["access_token"].as_str().unwrap();
    let (header, claims) = parts(token);
    let signature = URL_SAFE_NO_PAD.decode(token.rsplit('.').next().unwrap()).unwrap();
    let with = |value: &Value, name: &str, new: Value| {
        let mut value = value.clone();
        value[name] = new;
        value
    };
    let without = |value: &Value, name: &str| {
        let mut value = value.clone();
        value.as_object_mut().unwrap().remove(name);
        value
    };
    let rival = app.add_bank("rival").await;
    let foreign = app.login(&rival, "customer").await;
    let (foreign_header, _) = parts(&foreign);
    let forged = [
        forge(&json!({ "alg": "none", "typ": "at+jwt", "kid": header["kid"] }), &claims, b""),
        forge(&json!({ "alg": "None" }), &claims, b""),
        forge(&with(&header, "alg", json!("RS256")), &claims, &signature),
        forge(&with(&header, "kid", json!("../../etc/passwd")), &claims, &signature),
        forge(&with(&header, "kid", json!("' OR 1=1 --")), &claims, &signature),
        forge(&without(&header, "kid"), &claims, &signature),
        forge(&with(&header, "kid", foreign_header["kid"].clone()), &claims, &signature),
        forge(&with(&header, "jwk", json!({ "kty": "oct", "k": "AAAA" })), &claims, &signature),
        forge(&header, &with(&claims, "role", json!("super_admin")), &signature),
        forge(&header, &with(&claims, "exp", json!("9999999999")), &signature),
        forge(&header, &without(&claims, "exp"), &signature),
        forge(&header, &with(&claims, "tenant", json!(rival.id)), &signature),
        tokens["refresh_token"].as_str().unwrap().to_owned(),
        format!("{token}x"),
        token[..token.len() - 4].to_owned(),
        "..".to_owned(),
        "A".repeat(20_000),
    ];
    for token in forged {
        let answer = app.get("/v1/auth/me").bearer(&token).send().await;
        assert_problem(&answer, 401, "invalid_token");
    }
    for scheme in ["Basic abc", "Bearer", "bearer  ", "Token x"] {
        assert_eq!(
            app.get("/v1/auth/me").header("authorization", scheme).send().await.status,
            401,
            "{scheme}"
        );
    }
    assert_eq!(
        app.get("/v1/auth/me")
            .header("authorization", &format!("bearer {token}"))
            .send()
            .await
            .status,
        200
    );
    // An access token is no refresh token.
    let body = json!({ "refresh_token": token });
    assert_problem(&app.post("/v1/auth/refresh").json(&body).send().await, 401, "invalid_token");
}

#[tokio::test]
async fn a_public_key_is_no_secret_to_sign_with() {
    let app = App::start().await;
    let tenant = app.add_tenant("rsa", Blueprint::DigitalBank, Some(JwtAlgorithm::RS256)).await;
    let token = app.login(&tenant, "customer").await;
    let (header, claims) = parts(&token);
    let jwks = app.get("/t/rsa/.well-known/jwks.json").send().await;
    let modulus = jwks.body["keys"][0]["n"].as_str().unwrap().to_owned();
    let mut confused = header.clone();
    confused["alg"] = json!("HS256");
    let signed = format!(
        "{}.{}",
        URL_SAFE_NO_PAD.encode(confused.to_string()),
        URL_SAFE_NO_PAD.encode(claims.to_string())
    );
    for secret in [
        modulus.clone().into_bytes(),
        URL_SAFE_NO_PAD.decode(&modulus).unwrap(),
        jwks.text.clone().into_bytes(),
    ] {
        let signature = vault::hmac_sha256(&secret, signed.as_bytes());
        let token = format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature));
        assert_problem(&app.get("/v1/auth/me").bearer(&token).send().await, 401, "invalid_token");
    }
}

#[tokio::test]
async fn unknown_names_and_wrong_passwords_read_alike() {
    let app = App::start().await;
    let mut bodies = Vec::new();
    for body in [
        json!({ "tenant": "bank", "username": "customer", "password": "Wrong-Horse-9-Battery" }),
        json!({ "tenant": "bank", "username": "nobody", "password": "Wrong-Horse-9-Battery" }),
        json!({ "tenant": "nowhere", "username": "nobody", "password": "Wrong-Horse-9-Battery" }),
    ] {
        let answer =
            app.post("/v1/auth/login").json(&body).header("x-request-id", "same").send().await;
        assert_problem(&answer, 401, "invalid_credentials");
        bodies.push(answer.text);
    }
    assert!(bodies.windows(2).all(|pair| pair[0] == pair[1]), "{bodies:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn fifty_identical_transfers_are_one() {
    let app = Arc::new(App::start().await);
    let token = app.login(&app.bank, "customer").await;
    let [from, to] = app.bank.customers[0].accounts;
    let order =
        json!({ "from_account_id": from, "to_account_id": to, "amount": 700, "currency": "EUR" });
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..50 {
        let (app, token, order) = (Arc::clone(&app), token.clone(), order.clone());
        tasks.spawn(async move {
            app.post("/v1/transfers").bearer(&token).key("one").json(&order).send().await
        });
    }
    let answers = tasks.join_all().await;
    let done: Vec<_> = answers.iter().filter(|answer| answer.status == 201).collect();
    assert!(!done.is_empty() && done.iter().all(|answer| answer.body == done[0].body));
    assert_eq!(
        done.iter().filter(|answer| answer.header("idempotency-replayed").is_empty()).count(),
        1
    );
    for answer in answers.iter().filter(|answer| answer.status != 201) {
        assert_problem(answer, 409, "idempotency_in_flight");
        assert_eq!(answer.header("retry-after"), "1");
    }
    assert_eq!((app.balance(from).await, app.balance(to).await), (FUNDS - 700, FUNDS + 700));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_balance_for_ten_pays_ten_of_a_hundred() {
    let app = Arc::new(App::start().await);
    let token = app.login(&app.bank, "customer").await;
    let [from, to] = app.bank.customers[0].accounts;
    let order = json!({ "from_account_id": from, "to_account_id": to, "amount": FUNDS / 10, "currency": "EUR" });
    let mut tasks = tokio::task::JoinSet::new();
    for number in 0..100 {
        let (app, token, order) = (Arc::clone(&app), token.clone(), order.clone());
        let key = format!("race-{number}");
        tasks.spawn(async move {
            app.post("/v1/transfers").bearer(&token).key(&key).json(&order).send().await
        });
    }
    let answers = tasks.join_all().await;
    assert_eq!(answers.iter().filter(|answer| answer.status == 201).count(), 10);
    for answer in answers.iter().filter(|answer| answer.status != 201) {
        assert_problem(answer, 422, "insufficient_funds");
    }
    assert_eq!((app.balance(from).await, app.balance(to).await), (0, FUNDS * 2));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn fifty_refreshes_of_one_token_have_one_successor() {
    let app = Arc::new(App::start().await);
    let tokens = app.sign_in(&app.bank, "customer").await;
    let body = json!({ "refresh_token": tokens["refresh_token"] });
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..50 {
        let (app, body) = (Arc::clone(&app), body.clone());
        tasks.spawn(async move { app.post("/v1/auth/refresh").json(&body).send().await });
    }
    let answers = tasks.join_all().await;
    let successors: std::collections::HashSet<_> = answers
        .iter()
        .filter(|answer| answer.status == 200)
        .map(|answer| answer.body["refresh_token"].to_string())
        .collect();
    assert_eq!(successors.len(), 1, "{answers:?}");
    // The successor is used, so the first token is a replay now: the family dies.
    let successor = json!({ "refresh_token": answers.iter().find(|answer| answer.status == 200).unwrap().body["refresh_token"] });
    let next = app.post("/v1/auth/refresh").json(&successor).send().await;
    assert_eq!(next.status, 200, "{}", next.text);
    assert_eq!(app.post("/v1/auth/refresh").json(&body).send().await.status, 401);
    let access = next.body["access_token"].as_str().unwrap();
    assert_eq!(app.get("/v1/auth/me").bearer(access).send().await.status, 401);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn twenty_sign_outs_of_one_session_all_succeed_or_find_it_over() {
    let app = Arc::new(App::start().await);
    let token = app.login(&app.bank, "customer").await;
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..20 {
        let (app, token) = (Arc::clone(&app), token.clone());
        tasks.spawn(async move { app.post("/v1/auth/logout").bearer(&token).send().await });
    }
    let answers = tasks.join_all().await;
    assert!(answers.iter().any(|answer| answer.status == 204));
    for answer in answers.iter().filter(|answer| answer.status != 204) {
        assert_problem(answer, 401, "token_revoked");
    }
    assert_eq!(app.get("/v1/auth/me").bearer(&token).send().await.status, 401);
}

#[tokio::test]
async fn a_request_that_takes_too_long_says_so_and_no_more() {
    let app = App::start_with(ApiConfig { request_timeout_ms: 1, ..unlimited() }).await;
    let body = json!({ "tenant": "bank", "username": "customer", "password": PASSWORD });
    let answer = app.post("/v1/auth/login").json(&body).send().await;
    assert_eq!(
        (answer.status, answer.code(), answer.header("retry-after")),
        (503, "unavailable", "1"),
        "{}",
        answer.text
    );
    let mut names: Vec<_> = answer.body.as_object().unwrap().keys().collect();
    names.sort_unstable();
    assert_eq!(names, ["code", "request_id", "title"]);
}

/// One request over a socket, as written; the answer, as read.
async fn exchange(port: u16, request: &str) -> String {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let mut stream = tokio::net::TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    let read = stream.read_to_end(&mut answer);
    tokio::time::timeout(std::time::Duration::from_secs(10), read).await.unwrap().unwrap();
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test]
async fn over_a_socket_the_peer_is_counted_and_nothing_is_revealed() {
    let app = App::start_strict().await;
    let (port, acceptor) = app.listen().await;
    let body = login_body("nobody").to_string();
    let attempt = |path: &str, number: usize| {
        let length = body.len();
        format!(
            "POST {path} HTTP/1.1\r\nhost: bank\r\nx-forwarded-for: 192.0.2.{number}\r\ncontent-type: application/json\r\n\
             content-length: {length}\r\nconnection: close\r\n\r\n{body}"
        )
    };
    for number in 0..5 {
        let answer = exchange(port, &attempt("/v1/auth/login", number)).await;
        assert!(answer.starts_with("HTTP/1.1 401"), "{answer}");
        assert!(!answer.to_lowercase().contains("\r\nserver:"), "{answer}");
    }
    for path in ["/v1/auth/login", "//v1/auth/login", "/v1/auth/../auth/login", "/v1/%61uth/login"]
    {
        let answer = exchange(port, &attempt(path, 77)).await;
        assert!(answer.starts_with("HTTP/1.1 429"), "{path}: {answer}");
    }
    // Two lengths that contradict each other are how requests are smuggled.
    let smuggled = "POST /v1/auth/login HTTP/1.1\r\nhost: a\r\ncontent-length: 4\r\ncontent-length: 5\r\n\r\nabcde";
    assert!(exchange(port, smuggled).await.starts_with("HTTP/1.1 400"));
    acceptor.stop(std::time::Duration::from_secs(5)).await;
}

#[tokio::test]
async fn strangers_are_limited_by_address_and_recorded_by_the_minute() {
    let app = App::start_strict().await;
    app.identity.ensure_platform().await.unwrap();
    for _ in 0..100 {
        let answer = app.get("/v1/accounts").peer("203.0.113.1").bearer("nonsense").send().await;
        assert_problem(&answer, 401, "invalid_token");
    }
    for _ in 0..7 {
        let answer = app.get("/v1/accounts").peer("203.0.113.1").bearer("nonsense").send().await;
        assert_problem(&answer, 429, "rate_limited");
    }
    // A database that is away postpones the record and loses nothing of it.
    app.superuser.batch_execute("ALTER TABLE audit_log RENAME TO audit_log_away").await.unwrap();
    app.state.record_refused().await.unwrap_err();
    app.superuser.batch_execute("ALTER TABLE audit_log_away RENAME TO audit_log").await.unwrap();
    app.get("/v1/accounts").peer("203.0.113.2").send().await;
    app.get("/v1/accounts").peer("203.0.113.1").send().await;
    app.state.record_refused().await.unwrap();
    app.state.record_refused().await.unwrap();
    let sql = "SELECT host(ip_address), (details->>'status')::int, (details->>'requests')::int FROM audit_log log \
               JOIN tenants ON tenants.id = log.tenant_id AND tenants.slug = 'platform' \
               WHERE event_type = 'request_flood' ORDER BY 1, 2";
    let rows = app.superuser.query(sql, &[]).await.unwrap();
    let rows: Vec<(String, i32, i32)> =
        rows.iter().map(|row| (row.get(0), row.get(1), row.get(2))).collect();
    let expected = [("203.0.113.1", 401, 100), ("203.0.113.1", 429, 8), ("203.0.113.2", 401, 1)];
    assert_eq!(rows, expected.map(|(address, status, count)| (address.to_owned(), status, count)));
}
