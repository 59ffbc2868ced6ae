//! Machines at the interface: API keys wherever somebody may try them, their limits and
//! duties, and what introspection tells.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use api::ApiConfig;
use jiff::SignedDuration;
use serde_json::{Value, json};
use tenancy::{Clock, RequestInfo};
use uuid::Uuid;

use crate::{
    approvals::{bank_with_ceiling, decide, status_of, waiting},
    harness::{Answered, App, Bank, PASSWORD, unlimited},
};

/// A key made by a tenant's admin: its id and its secret.
async fn key_of(app: &App, bank: &Bank, wish: &Value) -> (Uuid, String) {
    let admin = app.login_by_factor(bank, "admin").await;
    let made = app.post("/v1/api-keys").bearer(&admin).json(wish).send().await;
    assert_eq!(made.status, 201, "{}", made.text);
    let id = made.body["id"].as_str().unwrap().parse().unwrap();
    (id, made.body["secret"].as_str().unwrap().to_owned())
}

async fn key(app: &App, wish: &Value) -> (Uuid, String) {
    key_of(app, &app.bank, wish).await
}

fn officer(scopes: &[&str]) -> Value {
    json!({ "name": "Payroll", "role": "officer", "scopes": scopes })
}

async fn accounts(app: &App, bearer: &str) -> Answered {
    app.get("/v1/accounts").bearer(bearer).send().await
}

#[tokio::test]
async fn a_key_does_what_its_role_and_its_scopes_both_allow() {
    let app = App::start().await;
    let (id, secret) = key(&app, &officer(&["account:read"])).await;
    assert_eq!(accounts(&app, &secret).await.status, 200);
    let account = app.bank.customers[0].accounts[0];
    let order = json!({
        "from_account_id": account, "to_account_id": app.bank.customers[1].accounts[0],
        "amount": 1, "currency": "EUR",
    });
    let sent = app.post("/v1/transfers").bearer(&secret).key("k").json(&order).send().await;
    assert_eq!((sent.status, sent.code()), (403, "permission_denied"));
    for path in ["/v1/customers", "/v1/users", "/v1/keys", "/v1/api-keys", "/v1/audit/events"] {
        let answer = app.get(path).bearer(&secret).send().await;
        assert_eq!((answer.status, answer.code()), (403, "permission_denied"), "{path}");
    }
    // Unconfined it does what an officer does, and no more.
    let (_, whole) = key(&app, &json!({ "name": "All", "role": "officer" })).await;
    let sent = app.post("/v1/transfers").bearer(&whole).key("k").json(&order).send().await;
    assert_eq!(sent.status, 201, "{}", sent.text);
    assert_eq!(app.get("/v1/keys").bearer(&whole).send().await.status, 403);
    app.operations.access_log().flush(&app.pool, true).await.unwrap();
    let reads = "SELECT count(*) FROM audit_log WHERE user_id = $1 AND actor_kind = 'api_key' AND session_id IS NULL \
                 AND action = 'account.list'";
    let reads: i64 = app.superuser.query_one(reads, &[&id]).await.unwrap().get(0);
    assert_eq!(reads, 1);
    // Nobody is ever shown a secret again.
    let admin = app.login(&app.bank, "admin").await;
    let listed = app.get("/v1/api-keys").bearer(&admin).send().await;
    assert_eq!(listed.body["data"].as_array().unwrap().len(), 2);
    let read = app.get(format!("/v1/api-keys/{id}")).bearer(&admin).send().await;
    for answer in [listed, read] {
        assert!(!answer.text.contains(secret.splitn(3, '_').nth(2).unwrap()), "{}", answer.text);
        assert!(!answer.text.contains("hash"), "{}", answer.text);
    }
}

#[tokio::test]
async fn what_is_about_people_is_closed_to_machines() {
    let app = App::start().await;
    let (_, secret) = key(&app, &json!({ "name": "All", "role": "admin" })).await;
    let session = Uuid::from_u128(1);
    let mut tried = 0;
    for route in api::route_facts() {
        if route.access != api::Access::SignedIn {
            continue;
        }
        let path = route.path.replace("{id}", &session.to_string());
        let answer = app.ask(route.method, path).bearer(&secret).json(&json!({})).send().await;
        assert_eq!((answer.status, answer.code()), (403, "permission_denied"), "{}", route.path);
        tried += 1;
    }
    assert!(tried >= 5, "{tried}");
    let refused =
        "SELECT count(*) FROM audit_log WHERE action = 'api_key.refused' AND result = 'denied'";
    let refused: i64 = app.superuser.query_one(refused, &[]).await.unwrap().get(0);
    assert!(refused >= 1);
}

#[tokio::test]
async fn a_key_opens_nothing_but_the_interface_and_only_as_a_bearer() {
    let app = App::start().await;
    let rival = app.add_bank("rival").await;
    let (_, secret) = key(&app, &officer(&["account:read"])).await;
    let (_, theirs) = key_of(&app, &rival, &officer(&["account:read"])).await;
    let own = app.bank.customers[0].accounts[0];
    // Another tenant's is an actor there and nobody here.
    let there = app.get(format!("/v1/accounts/{own}")).bearer(&theirs).send().await;
    assert_eq!((there.status, there.code()), (404, "not_found"));
    let last = if secret.ends_with('A') { "E" } else { "A" };
    let text = &secret[..secret.len() - 1];
    let moved = secret.replace(&app.bank.id.simple().to_string(), &rival.id.simple().to_string());
    let forged = [
        text.to_owned(),
        format!("{text}{last}"),
        format!("{secret}x"),
        format!("{secret}."),
        format!("{secret}.a.b"),
        secret.to_uppercase(),
        secret.replacen("apikey", "refresh", 1),
        secret.replacen("apikey", "apikeys", 1),
        "apikey_".to_owned(),
        "apikey__".to_owned(),
        moved,
        secret.splitn(3, '_').nth(2).unwrap().to_owned(),
        format!("apikey_{}", "x".repeat(7_000)),
    ];
    for text in forged {
        let answer = accounts(&app, &text).await;
        assert_eq!((answer.status, answer.code()), (401, "invalid_token"), "{text}");
    }
    // In no other place of a request.
    for query in ["access_token", "api_key", "key", "token"] {
        let answer = app.get(format!("/v1/accounts?{query}={secret}")).send().await;
        assert_eq!(answer.status, 401, "{query}");
    }
    for (name, value) in [
        ("x-api-key", secret.clone()),
        ("authorization", format!("Basic {secret}")),
        ("authorization", format!("ApiKey {secret}")),
        ("authorization", secret.clone()),
        ("cookie", format!("__Host-strongroom={secret}; access_token={secret}")),
        ("proxy-authorization", format!("Bearer {secret}")),
    ] {
        let answer = app.get("/v1/accounts").header(name, &value).send().await;
        assert_eq!((answer.status, answer.code()), (401, "invalid_token"), "{name}");
    }
    // As a refresh token, as a password, as the console's cookie.
    let body = json!({ "refresh_token": secret });
    let refreshed = app.post("/v1/auth/refresh").json(&body).send().await;
    assert_eq!((refreshed.status, refreshed.code()), (401, "invalid_token"));
    let body = json!({ "tenant": "bank", "username": "admin", "password": secret });
    let login = app.post("/v1/auth/login").json(&body).send().await;
    assert_eq!((login.status, login.code()), (401, "invalid_credentials"));
    let cookie = format!("__Host-strongroom={secret}");
    let page = app.get("/accounts").header("accept", "text/html").header("cookie", &cookie);
    let page = page.send().await;
    // As any cookie that we never gave out.
    assert_eq!(page.status, 401, "{}", page.text);
    assert!(!page.text.contains("account_number"), "{}", page.text);
    // And what opens other doors is no API key.
    let tokens = app.sign_in(&app.bank, "officer").await;
    let refresh = tokens["refresh_token"].as_str().unwrap();
    assert_eq!(accounts(&app, refresh).await.code(), "invalid_token");
    let dressed = refresh.replacen("refresh", "apikey", 1);
    assert_eq!(accounts(&app, &dressed).await.code(), "invalid_token");
    assert_eq!(accounts(&app, &secret).await.status, 200, "all the while it is good");
}

#[tokio::test]
async fn a_key_is_good_in_its_networks_alone() {
    let app = App::start().await;
    let wish = json!({
        "name": "Office", "role": "officer", "scopes": ["account:read"],
        "allowed_networks": ["10.1.0.0/16", "2001:db8::/32"],
    });
    let (id, secret) = key(&app, &wish).await;
    let from = async |peer: &str, forwarded: &str| {
        let ask = app.get("/v1/accounts").bearer(&secret).peer(peer);
        let ask = if forwarded.is_empty() { ask } else { ask.header("x-forwarded-for", forwarded) };
        ask.send().await
    };
    // peer, X-Forwarded-For, status
    let table = [
        ("10.1.2.3", "", 200),
        ("2001:db8::7", "", 200),
        ("::ffff:10.1.2.3", "", 200),
        ("10.2.0.1", "", 401),
        ("127.0.0.1", "", 401),
        // What a stranger says of itself.
        ("192.0.2.9", "10.1.2.3", 401),
        ("10.1.2.3", "192.0.2.9", 200),
    ];
    for (peer, forwarded, status) in table {
        let answer = from(peer, forwarded).await;
        assert_eq!(answer.status, status, "{peer} {forwarded}: {}", answer.text);
        if status == 401 {
            assert_eq!(answer.code(), "invalid_token");
        }
    }
    let noted = "SELECT count(DISTINCT ip_address) FROM audit_log WHERE event_type = 'security_violation' \
                 AND action = 'api_key.misuse' AND resource_id = $1 AND result = 'denied'";
    let noted: i64 = app.superuser.query_one(noted, &[&id]).await.unwrap().get(0);
    assert_eq!(noted, 3, "once for each address");
    for network in ["10.1.0.1/16", "office", "10.0.0.0/33"] {
        let admin = app.login_by_factor(&app.bank, "admin").await;
        let wish = json!({ "name": "x", "role": "officer", "allowed_networks": [network] });
        let answer = app.post("/v1/api-keys").bearer(&admin).json(&wish).send().await;
        assert_eq!((answer.status, answer.field()), (422, "allowed_networks"), "{network}");
    }
}

#[tokio::test]
async fn behind_a_trusted_proxy_the_network_is_the_clients() {
    let config = ApiConfig { trusted_proxies: vec!["127.0.0.1".parse().unwrap()], ..unlimited() };
    let app = App::start_with(config).await;
    let wish = json!({
        "name": "Office", "role": "officer", "allowed_networks": ["10.1.0.0/16"],
    });
    let (_, secret) = key(&app, &wish).await;
    for (forwarded, status) in [("10.1.2.3", 200), ("192.0.2.9", 401), ("10.1.2.3, 192.0.2.9", 401)]
    {
        let ask = app.get("/v1/accounts").bearer(&secret).header("x-forwarded-for", forwarded);
        assert_eq!(ask.send().await.status, status, "{forwarded}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_revoked_key_is_refused_by_every_request_that_begins_after_it() {
    let app = Arc::new(App::start().await);
    let (id, secret) = key(&app, &officer(&["account:read"])).await;
    let revoked = Arc::new(AtomicBool::new(false));
    let until = Instant::now() + Duration::from_secs(2);
    let latest = until + Duration::from_secs(60);
    let requests: Vec<_> = (0..50)
        .map(|_| {
            let (app, revoked, secret) = (Arc::clone(&app), Arc::clone(&revoked), secret.clone());
            tokio::spawn(async move {
                let mut refused = 0;
                // On a slow machine somebody's first refusal comes later than that.
                while Instant::now() < until || (refused == 0 && Instant::now() < latest) {
                    let is_over = revoked.load(Ordering::SeqCst);
                    let answer = accounts(&app, &secret).await;
                    assert!(!is_over || answer.code() == "token_revoked", "{}", answer.text);
                    refused += usize::from(answer.status == 401);
                }
                refused
            })
        })
        .collect();
    let admin = app.login(&app.bank, "admin").await;
    let ended = app.delete(format!("/v1/api-keys/{id}")).bearer(&admin).send().await;
    assert_eq!(ended.status, 204, "{}", ended.text);
    revoked.store(true, Ordering::SeqCst);
    for request in requests {
        assert!(request.await.unwrap() > 0);
    }
    let again = app.delete(format!("/v1/api-keys/{id}")).bearer(&admin).send().await;
    assert_eq!(again.status, 204);
}

#[tokio::test]
async fn limits_are_counted_by_key() {
    let app = App::start_strict().await;
    let (_, busy) = key(&app, &officer(&["account:read"])).await;
    let (_, calm) = key(&app, &officer(&["account:read"])).await;
    let read = async |secret: &str, peer: &str| {
        app.get("/v1/accounts").bearer(secret).peer(peer).send().await
    };
    // Its own window is empty wherever it comes from; another's is not touched.
    let mut last = 0;
    for number in 0..=100 {
        last = read(&busy, &format!("198.51.100.{}", number / 2)).await.status;
    }
    assert_eq!(last, 429);
    let refused = read(&busy, "203.0.113.1").await;
    assert_eq!((refused.status, refused.code()), (429, "rate_limited"));
    assert!(!refused.header("retry-after").is_empty());
    assert_eq!(read(&calm, "203.0.113.2").await.status, 200);
}

#[tokio::test]
async fn an_order_of_a_machine_is_approved_by_a_person_who_has_not_made_the_machine() {
    let app = bank_with_ceiling().await;
    let (id, orders) =
        key(&app, &officer(&["transaction:create", "transaction:read", "account:read"])).await;
    let (_, rubber_stamp) = key(&app, &json!({ "name": "Rubber stamp", "role": "admin" })).await;
    let [admin, manager] =
        [app.login(&app.bank, "admin").await, app.login(&app.bank, "manager").await];
    let (approval, _) = waiting(&app, &orders, "1").await;
    let by = "SELECT requested_by FROM approvals WHERE id = $1";
    let by: Uuid = app.superuser.query_one(by, &[&approval]).await.unwrap().get(0);
    assert_eq!(by, id);
    // Itself, and another machine.
    for (who, token) in [("itself", &orders), ("another", &rubber_stamp)] {
        for verdict in ["approve", "reject"] {
            let answer = decide(&app, token, (approval, verdict), who).await;
            assert_eq!((answer.status, answer.code()), (403, "permission_denied"), "{who}");
        }
    }
    let refused = decide(&app, &admin, (approval, "approve"), "maker").await;
    assert_eq!((refused.status, refused.code()), (403, "not_independent"));
    let approved = decide(&app, &manager, (approval, "approve"), "m").await;
    assert_eq!((approved.status, status_of(&approved)), (200, "approved"), "{}", approved.text);
    // Who was shown its second secret is behind it as well.
    let mighty = app.login_by_factor(&app.bank, "super_admin").await;
    let path = format!("/v1/api-keys/{id}/rotate");
    let rotated = app.post(path).bearer(&mighty).json(&json!({ "overlap_s": 600 })).send().await;
    assert_eq!(rotated.status, 200, "{}", rotated.text);
    let (second, _) = waiting(&app, &orders, "2").await;
    let refused = decide(&app, &mighty, (second, "approve"), "s").await;
    assert_eq!((refused.status, refused.code()), (403, "not_independent"));
    // What a machine ordered that is no more is nobody's order.
    app.delete(format!("/v1/api-keys/{id}")).bearer(&admin).send().await;
    let late = decide(&app, &manager, (second, "approve"), "l").await;
    assert_eq!((late.status, late.code()), (422, "maker_not_permitted"), "{}", late.text);
}

/// A machine that may ask about tokens and nothing else.
async fn gateway(app: &App) -> String {
    let wish = json!({ "name": "Gateway", "role": "admin", "scopes": ["session:introspect"] });
    key(app, &wish).await.1
}

/// What a machine is told of a token.
async fn introspected(app: &App, machine: &str, token: &str) -> Value {
    let body = json!({ "token": token, "token_type_hint": "access_token" });
    let answer = app.post("/v1/auth/introspect").bearer(machine).json(&body).send().await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    answer.body
}

#[tokio::test]
async fn introspection_says_all_of_a_good_token() {
    let app = App::start().await;
    let machine = gateway(&app).await;
    let token = app.login(&app.bank, "customer").await;
    let me = app.get("/v1/auth/me").bearer(&token).send().await.body;
    let said = introspected(&app, &machine, &token).await;
    assert_eq!((&said["active"], &said["token_type"]), (&json!(true), &json!("Bearer")));
    assert_eq!((&said["sub"], &said["sid"]), (&me["id"], &me["session_id"]));
    assert_eq!((&said["username"], &said["role"]), (&json!("customer"), &json!("customer")));
    let issuer = format!("{}/t/bank", app.state.config.public_url);
    assert_eq!((&said["iss"], &said["aud"]), (&json!(issuer), &json!(issuer)));
    assert_eq!(said["exp"].as_i64().unwrap() - said["iat"].as_i64().unwrap(), 1_800);
    let scope: Vec<&str> = said["scope"].as_str().unwrap().split(' ').collect();
    assert_eq!(json!(scope), me["permissions"]);
    let ask = app.post("/v1/auth/introspect").bearer(&machine);
    assert_eq!(ask.form(&[("token", &token)]).send().await.body, said, "a form says the same");
    // Strangers, the token's own owner, and machines that are not made for it.
    let body = json!({ "token": token });
    let (_, other) = key(&app, &officer(&["account:read"])).await;
    for (bearer, status) in [(token.as_str(), 403), (&other, 403), ("", 401), ("x", 401)] {
        let answer = app.post("/v1/auth/introspect").bearer(bearer).json(&body).send().await;
        assert_eq!(answer.status, status, "{bearer}");
    }
    // form, field at fault
    let table: [(&[(&str, &str)], &str); 2] =
        [(&[("token_type_hint", "x")], "token"), (&[("token", "x"), ("more", "y")], "more")];
    for (form, field) in table {
        let answer = app.post("/v1/auth/introspect").bearer(&machine).form(form).send().await;
        assert_eq!((answer.status, answer.field()), (400, field), "{}", answer.text);
    }
}

#[tokio::test]
async fn introspection_says_nothing_of_any_other_token() {
    let app = App::start().await;
    let rival = app.add_bank("rival").await;
    let machine = gateway(&app).await;
    let tokens = app.sign_in(&app.bank, "customer").await;
    let token = tokens["access_token"].as_str().unwrap();
    let past = Clock::System.now().checked_sub(SignedDuration::from_hours(1)).unwrap();
    let earlier = app.identity.at(Clock::manual(past));
    let who = identity::LoginRequest {
        tenant: Some("bank".to_owned()),
        username: "customer".to_owned(),
        password: PASSWORD.to_owned().into(),
    };
    let expired = earlier.login(who, Arc::new(RequestInfo::default())).await.unwrap();
    let expired = expired.into_tokens().unwrap().access_token;
    let ended = app.login(&app.bank, "customer").await;
    app.post("/v1/auth/logout").bearer(&ended).send().await;
    let (signed, signature) = token.rsplit_once('.').unwrap();
    let table = [
        ("another tenant's", app.login(&rival, "customer").await),
        ("expired", expired),
        ("signed out", ended),
        ("altered", format!("{signed}.A{}", signature.get(1..).unwrap().replace('a', "b"))),
        ("a refresh token", tokens["refresh_token"].as_str().unwrap().to_owned()),
        ("an API key", machine.clone()),
        ("nothing", String::new()),
        ("nonsense", "a.b.c".to_owned()),
        ("too long", format!("{token}{}", "a".repeat(20_000))),
    ];
    for (case, token) in &table {
        let said = introspected(&app, &machine, token).await;
        assert_eq!(said, json!({ "active": false }), "{case}");
    }
    assert_eq!(introspected(&app, &machine, token).await["active"], json!(true));
    // The key that signed it is ended: so is the token.
    let kid = "SELECT key_id FROM signing_keys WHERE tenant_id = $1 AND status = 'active'";
    let kid: Uuid = app.superuser.query_one(kid, &[&app.bank.id]).await.unwrap().get(0);
    let admin = app.login(&app.bank, "admin").await;
    let path = format!("/v1/keys/{kid}/revoke");
    let revoked = app.post(path).bearer(&admin).json(&json!({})).send().await;
    assert_eq!(
        (revoked.status, &revoked.body["status"]),
        (200, &json!("retired")),
        "{}",
        revoked.text
    );
    assert_eq!(introspected(&app, &machine, token).await, json!({ "active": false }));
    let after = app.get("/v1/auth/me").bearer(token).send().await;
    assert_eq!((after.status, after.code()), (401, "invalid_token"));
}
