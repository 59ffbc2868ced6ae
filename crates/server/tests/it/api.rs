//! The interface as a client meets it: the shapes that specification 90 promises.

use serde_json::{Value, json};
use uuid::Uuid;

use crate::harness::{App, FUNDS};

fn names(value: &Value) -> Vec<&str> {
    let mut names: Vec<_> = value.as_object().unwrap().keys().map(String::as_str).collect();
    names.sort_unstable();
    names
}

#[tokio::test]
async fn sign_in_me_refresh_and_out() {
    let app = App::start().await;
    let tokens = app.sign_in(&app.bank, "officer").await;
    assert_eq!(names(&tokens), ["access_token", "expires_in", "refresh_token", "token_type"]);
    assert_eq!(
        (tokens["token_type"].as_str(), tokens["expires_in"].as_i64()),
        (Some("Bearer"), Some(1_800))
    );

    let access = tokens["access_token"].as_str().unwrap();
    let me = app.get("/v1/auth/me").bearer(access).send().await;
    assert_eq!(me.status, 200, "{}", me.body);
    for (name, value) in [("tenant", "bank"), ("username", "officer"), ("role", "officer")] {
        assert_eq!(me.body[name], value);
    }
    assert_eq!(me.body["id"], app.bank.users["officer"].to_string());
    assert!(me.body["permissions"].as_array().unwrap().contains(&json!("account:read")));

    let refresh = json!({ "refresh_token": tokens["refresh_token"] });
    let second = app.post("/v1/auth/refresh").json(&refresh).send().await;
    assert_eq!(second.status, 200, "{}", second.body);
    assert_eq!(names(&second.body), names(&tokens));
    assert_ne!(second.body["refresh_token"], tokens["refresh_token"]);

    let sessions = app.get("/v1/auth/sessions").bearer(access).send().await;
    assert_eq!(names(&sessions.body), ["data", "next_cursor"]);
    assert_eq!(sessions.body["data"][0]["current"], true);

    let out = app.post("/v1/auth/logout").bearer(access).json(&json!({})).send().await;
    assert_eq!((out.status, out.text.as_str()), (204, ""));
    let after = app.get("/v1/auth/me").bearer(access).send().await;
    assert_eq!((after.status, after.code()), (401, "token_revoked"));
    let newer = second.body["access_token"].as_str().unwrap();
    assert_eq!(app.get("/v1/auth/me").bearer(newer).send().await.status, 401);
}

#[tokio::test]
async fn a_session_is_ended_alone_and_all_together() {
    let app = App::start().await;
    let (one, two) = (app.login(&app.bank, "manager").await, app.login(&app.bank, "manager").await);
    let me = app.get("/v1/auth/me").bearer(&two).send().await;
    let path = format!("/v1/auth/sessions/{}", me.body["session_id"].as_str().unwrap());
    // Another person's session is not found.
    let stranger = app.login(&app.bank, "admin").await;
    assert_eq!(app.delete(&path).bearer(&stranger).send().await.status, 404);
    assert_eq!(app.delete(&path).bearer(&one).send().await.status, 204);
    assert_eq!(app.get("/v1/auth/me").bearer(&two).send().await.status, 401);
    let three = app.login(&app.bank, "manager").await;
    let all = app
        .post("/v1/auth/logout-everywhere")
        .bearer(&three)
        .json(&json!({ "keep_current": true }))
        .send()
        .await;
    assert_eq!((all.status, all.body["ended"].as_i64()), (200, Some(1)), "{}", all.body);
    assert_eq!(app.get("/v1/auth/me").bearer(&one).send().await.status, 401);
    assert_eq!(app.get("/v1/auth/me").bearer(&three).send().await.status, 200);
}

#[tokio::test]
async fn the_tenant_may_be_left_out_where_there_is_one() {
    let app = App::start().await;
    app.identity.ensure_platform().await.unwrap();
    let body = json!({ "username": "Officer@Bank.example", "password": crate::harness::PASSWORD });
    assert_eq!(app.post("/v1/auth/login").json(&body).send().await.status, 200);
    assert_eq!(app.get("/v1/auth/password-policy").send().await.body["minimum_length"], 12);
    app.add_tenant("other", tenancy::Blueprint::Standard, None).await;
    assert_eq!(app.post("/v1/auth/login").json(&body).send().await.status, 401);
    let unnamed = app.get("/v1/auth/password-policy").send().await;
    assert_eq!((unnamed.status, unnamed.field()), (400, "tenant"));
    let named = app.get("/v1/auth/password-policy?tenant=other").send().await;
    assert_eq!(named.body["minimum_length"], 15);
    let token = app.login(&app.bank, "customer").await;
    let own = app.get("/v1/auth/password-policy").bearer(&token).send().await;
    assert_eq!(own.body["minimum_length"], 12);
}

#[tokio::test]
async fn money_moves_and_shows() {
    let app = App::start().await;
    let token = app.login(&app.bank, "customer").await;
    let [from, _] = app.bank.customers[0].accounts;
    let [to, _] = app.bank.customers[1].accounts;
    let order = json!({ "from_account_id": from, "to_account_id": to, "amount": 2_500, "currency": "EUR", "description": "Rent" });
    let sent = app.post("/v1/transfers").bearer(&token).key("\"rent-1\"").json(&order).send().await;
    assert_eq!(sent.status, 201, "{}", sent.body);
    assert_eq!(
        (sent.body["status"].as_str(), sent.body["amount"].as_i64()),
        (Some("posted"), Some(2_500))
    );
    let again = app.post("/v1/transfers").bearer(&token).key("rent-1").json(&order).send().await;
    assert_eq!((again.status, &again.body), (201, &sent.body));
    assert_eq!(
        (again.header("idempotency-replayed"), sent.header("idempotency-replayed")),
        ("true", "")
    );
    let mut other = order.clone();
    other["amount"] = json!(2_501);
    let reused = app.post("/v1/transfers").bearer(&token).key("rent-1").json(&other).send().await;
    assert_eq!((reused.status, reused.code()), (422, "idempotency_key_reused"));
    assert_eq!((app.balance(from).await, app.balance(to).await), (FUNDS - 2_500, FUNDS + 2_500));

    let read = app
        .get(format!("/v1/transfers/{}", sent.body["id"].as_str().unwrap()))
        .bearer(&token)
        .send()
        .await;
    assert_eq!((read.status, &read.body), (200, &sent.body));
    let account = app.get(format!("/v1/accounts/{from}")).bearer(&token).send().await;
    assert_eq!(account.body["balance"], FUNDS - 2_500);
    assert_eq!(account.body["available_balance"], FUNDS - 2_500);
    assert_eq!(account.body["interest_rate"], "0");
    for name in [
        "id",
        "account_number",
        "customer_id",
        "account_type",
        "currency",
        "status",
        "opened_date",
        "created_at",
    ] {
        assert!(account.body[name].is_string(), "{name}");
    }
    let history = app.get(format!("/v1/accounts/{from}/transactions")).bearer(&token).send().await;
    assert_eq!(history.body["data"][0]["amount"], -2_500);
    assert_eq!(history.body["data"][0]["balance_after"], FUNDS - 2_500);
    let balance = app
        .get(format!("/v1/accounts/{from}/balance?as_of=2000-01-01"))
        .bearer(&token)
        .send()
        .await;
    assert_eq!(
        (balance.status, balance.body["balance"].as_i64()),
        (200, Some(0)),
        "{}",
        balance.body
    );
    let today = app.get(format!("/v1/accounts/{from}/balance")).bearer(&token).send().await;
    assert_eq!(today.body["balance"], FUNDS - 2_500);
}

#[tokio::test]
async fn an_account_lives_and_dies_over_the_interface() {
    let app = App::start().await;
    let token = app.login(&app.bank, "manager").await;
    let opening = json!({ "customer_id": app.bank.customers[0].id, "currency": "EUR", "interest_rate": "4.25" });
    let opened = app.post("/v1/accounts").bearer(&token).json(&opening).send().await;
    assert_eq!(
        (opened.status, opened.body["interest_rate"].as_str()),
        (201, Some("4.25")),
        "{}",
        opened.body
    );
    let path = format!("/v1/accounts/{}", opened.body["id"].as_str().unwrap());
    let cash = app
        .post(format!("{path}/deposits"))
        .bearer(&token)
        .key("d")
        .json(&json!({ "amount": 500 }))
        .send()
        .await;
    assert_eq!((cash.status, cash.body["kind"].as_str()), (201, Some("deposit")), "{}", cash.body);
    let early = app.delete(&path).bearer(&token).send().await;
    assert_eq!((early.status, early.code()), (422, "account_not_empty"));
    let back = app
        .post(format!("{path}/withdrawals"))
        .bearer(&token)
        .key("w")
        .json(&json!({ "amount": 500 }))
        .send()
        .await;
    assert_eq!(back.status, 201, "{}", back.body);

    let read = app.get(&path).bearer(&token).send().await;
    let version = read.header("etag").to_owned();
    assert_eq!(version, format!("\"{}\"", read.body["version"]));
    let freeze = json!({ "status": "frozen", "minimum_balance": null });
    let blind = app.patch(&path).bearer(&token).json(&freeze).send().await;
    assert_eq!((blind.status, blind.code()), (428, "precondition_required"));
    for stale in ["\"99\"", "W/\"1\"", "\"*\"", "\"01\""] {
        let stale =
            app.patch(&path).bearer(&token).header("if-match", stale).json(&freeze).send().await;
        assert_eq!(stale.status, 412, "{}", stale.body);
    }
    let any = app.patch(&path).bearer(&token).header("if-match", "*");
    let any = any.json(&json!({ "minimum_balance": 0 })).send().await;
    assert_eq!(any.status, 200, "{}", any.body);
    let version = any.header("etag").to_owned();
    let frozen =
        app.patch(&path).bearer(&token).header("if-match", &version).json(&freeze).send().await;
    assert_eq!(
        (frozen.status, frozen.body["status"].as_str()),
        (200, Some("frozen")),
        "{}",
        frozen.body
    );
    assert_ne!(frozen.header("etag"), version);
    let cash = app
        .post(format!("{path}/deposits"))
        .bearer(&token)
        .key("d2")
        .json(&json!({ "amount": 500 }))
        .send()
        .await;
    assert_eq!((cash.status, cash.code()), (422, "account_frozen"));
    let closed =
        app.delete(&path).bearer(&token).header("if-match", frozen.header("etag")).send().await;
    assert_eq!(
        (closed.status, closed.body["status"].as_str()),
        (200, Some("closed")),
        "{}",
        closed.body
    );
}

#[tokio::test]
async fn customers_are_recorded_read_changed_and_listed() {
    let app = App::start().await;
    let token = app.login(&app.bank, "officer").await;
    let new = json!({ "customer_type": "individual", "first_name": "Petr", "last_name": "Svoboda", "email": "petr@home.example" });
    let made = app.post("/v1/customers").bearer(&token).key("c1").json(&new).send().await;
    assert_eq!(
        (made.status, made.body["first_name"].as_str()),
        (201, Some("Petr")),
        "{}",
        made.body
    );
    let again = app.post("/v1/customers").bearer(&token).key("c1").json(&new).send().await;
    assert_eq!((again.status, &again.body), (201, &made.body));
    let path = format!("/v1/customers/{}", made.body["id"].as_str().unwrap());
    let read = app.get(&path).bearer(&token).send().await;
    assert_eq!((read.status, &read.body), (200, &made.body));
    let any = app.patch(&path).bearer(&token).header("if-match", "*");
    let any = any.json(&json!({ "phone": "+420601000000" })).send().await;
    assert_eq!(any.status, 200, "{}", any.body);
    let stale = app.patch(&path).bearer(&token).header("if-match", read.header("etag"));
    assert_eq!(stale.json(&json!({ "phone": null })).send().await.status, 412);
    let read = app.get(&path).bearer(&token).send().await;
    let change = json!({ "phone": "+420601123456", "email": null });
    let changed = app
        .patch(&path)
        .bearer(&token)
        .header("if-match", read.header("etag"))
        .json(&change)
        .send()
        .await;
    assert_eq!(changed.status, 200, "{}", changed.body);
    let read = app.get(&path).bearer(&token).send().await;
    assert_eq!(
        (read.body["phone"].as_str(), &read.body["email"]),
        (Some("+420601123456"), &Value::Null)
    );
    let found = app.get("/v1/customers?phone=%2B420601123456").bearer(&token).send().await;
    assert_eq!(found.body["data"].as_array().unwrap().len(), 1, "{}", found.body);
    let own = app.login(&app.bank, "customer").await;
    let own = app.get("/v1/customers").bearer(&own).send().await;
    let ids: Vec<_> = own.body["data"]
        .as_array()
        .unwrap()
        .iter()
        .map(|customer| customer["id"].as_str().unwrap())
        .collect();
    assert_eq!(ids, [app.bank.customers[0].id.to_string()]);
}

#[tokio::test]
async fn users_are_made_read_changed_and_listed() {
    let app = App::start().await;
    let token = app.login(&app.bank, "admin").await;
    let weak = json!({ "username": "weak", "password": "password", "role": "officer" });
    let refused = app.post("/v1/users").bearer(&token).json(&weak).send().await;
    assert_eq!((refused.status, refused.code()), (422, "validation_failed"));
    assert!(
        refused.body["errors"].as_array().unwrap().len() > 1,
        "every broken rule: {}",
        refused.body
    );
    let new = json!({ "username": "nina", "password": "Quite-Good-7-Phrase", "role": "officer", "email": "nina@bank.example" });
    let made = app.post("/v1/users").bearer(&token).json(&new).send().await;
    assert_eq!((made.status, made.body["role"].as_str()), (201, Some("officer")), "{}", made.body);
    assert!(!made.text.contains("Quite-Good"));
    let path = format!("/v1/users/{}", made.body["id"].as_str().unwrap());
    let read = app.get(&path).bearer(&token).send().await;
    assert_eq!((read.status, read.body["email"].as_str()), (200, Some("nina@bank.example")));
    let off = app
        .patch(&path)
        .bearer(&token)
        .header("if-match", read.header("etag"))
        .json(&json!({ "is_active": false }))
        .send()
        .await;
    assert_eq!((off.status, off.body["is_active"].as_bool()), (200, Some(false)), "{}", off.body);
    let stale = app
        .patch(&path)
        .bearer(&token)
        .header("if-match", read.header("etag"))
        .json(&json!({ "is_active": true }))
        .send()
        .await;
    assert_eq!(stale.status, 412);
    // `*` is any version, of a user that there is.
    for name in ["One", "Two"] {
        let any = app.patch(&path).bearer(&token).header("if-match", "*");
        let any = any.json(&json!({ "department": name })).send().await;
        assert_eq!(
            (any.status, any.body["department"].as_str()),
            (200, Some(name)),
            "{}",
            any.body
        );
    }
    let nobody = app.patch(format!("/v1/users/{}", Uuid::nil())).bearer(&token);
    let nobody = nobody.header("if-match", "*").json(&json!({ "department": "x" })).send().await;
    assert_eq!(nobody.status, 404);
    let list = app.get("/v1/users?is_active=false").bearer(&token).send().await;
    assert_eq!(list.body["data"].as_array().unwrap().len(), 1);
    assert!(!list.text.contains("nina@bank.example"), "lists unseal nothing");
    let second = app.post("/v1/users").bearer(&token).json(&new).send().await;
    assert_eq!((second.status, second.field()), (409, "username"));
}

#[tokio::test]
async fn pages_follow_one_another_and_end() {
    let app = App::start().await;
    let token = app.login(&app.bank, "auditor").await;
    let mut seen: Vec<String> = Vec::new();
    let mut path = "/v1/accounts?limit=3".to_owned();
    for _ in 0..4 {
        let page = app.get(&path).bearer(&token).send().await;
        assert_eq!(page.status, 200, "{}", page.body);
        seen.extend(
            page.body["data"].as_array().unwrap().iter().map(|account| account["id"].to_string()),
        );
        match page.body["next_cursor"].as_str() {
            Some(cursor) => path = format!("/v1/accounts?limit=3&cursor={cursor}"),
            None => break,
        }
    }
    let expected = app.bank.customers.len() * 2;
    let distinct: std::collections::HashSet<_> = seen.iter().collect();
    assert_eq!((seen.len(), distinct.len()), (expected, expected));
    for limit in ["0", "201", "-1", "x"] {
        let wrong = app.get(format!("/v1/accounts?limit={limit}")).bearer(&token).send().await;
        assert_eq!((wrong.status, wrong.code()), (400, "malformed_request"), "{limit}");
    }
    let unknown = app.get("/v1/accounts?owner=me").bearer(&token).send().await;
    assert_eq!((unknown.status, unknown.field()), (400, "owner"));
}

#[tokio::test]
async fn the_audit_log_is_listed_and_proven() {
    let app = App::start().await;
    let token = app.login(&app.bank, "auditor").await;
    app.seal().await;
    let list = app.get("/v1/audit/events?event_type=login&limit=1").bearer(&token).send().await;
    assert_eq!(list.status, 200, "{}", list.body);
    let event = &list.body["data"][0];
    assert_eq!(
        (event["event_type"].as_str(), event["severity"].as_str()),
        (Some("login"), Some("high"))
    );
    let path = format!("/v1/audit/events/{}", event["id"].as_str().unwrap());
    assert_eq!(app.get(&path).bearer(&token).send().await.body, *event);
    let proof = app.get(format!("{path}/proof")).bearer(&token).send().await;
    assert_eq!(proof.status, 200, "{}", proof.body);
    let checkpoints = app.get("/v1/audit/checkpoints").bearer(&token).send().await;
    let key = checkpoints.body["verifier_keys"][0].as_str().unwrap();
    verify_inclusion(&proof.body, key);
    let size = proof.body["checkpoint"]["tree_size"].as_u64().unwrap();
    let consistency =
        app.get(format!("/v1/audit/consistency?from=1&to={size}")).bearer(&token).send().await;
    assert_eq!(
        (consistency.status, consistency.body["to"].as_u64()),
        (200, Some(size)),
        "{}",
        consistency.body
    );
    let beyond = app
        .get(format!("/v1/audit/consistency?from=1&to={}", size + 1_000))
        .bearer(&token)
        .send()
        .await;
    assert_eq!((beyond.status, beyond.code()), (422, "invalid_sizes"));
    let missing = app
        .get(format!("/v1/audit/events/{}/proof", Uuid::from_u128(5)))
        .bearer(&token)
        .send()
        .await;
    assert_eq!(missing.status, 404);
}

/// As an outsider would: from the answer and the published key alone.
fn verify_inclusion(proof: &Value, key: &str) {
    use base64::Engine as _;
    let decode = |value: &Value| -> [u8; 32] {
        let bytes =
            base64::engine::general_purpose::STANDARD.decode(value.as_str().unwrap()).unwrap();
        bytes.try_into().unwrap()
    };
    let verifier = audit::note::NoteVerifier::parse(key).unwrap();
    let checkpoint =
        audit::note::Checkpoint::open(proof["checkpoint"]["note"].as_str().unwrap(), &verifier)
            .unwrap();
    let leaf = audit::merkle::leaf_hash(proof["record"].as_str().unwrap().as_bytes());
    assert_eq!(leaf, decode(&proof["leaf_hash"]));
    let hashes: Vec<_> = proof["hashes"].as_array().unwrap().iter().map(decode).collect();
    let index = proof["log_index"].as_u64().unwrap();
    audit::merkle::verify_inclusion(&leaf, index, checkpoint.size, &hashes, &checkpoint.root)
        .unwrap();
}

#[tokio::test]
async fn keys_and_discovery_are_published_per_tenant() {
    let app = App::start().await;
    let tenant = app.add_tenant("dway", tenancy::Blueprint::DigitalBank, None).await;
    let keys = app.get("/t/dway/.well-known/jwks.json").send().await;
    assert_eq!(
        (keys.status, keys.body["keys"][0]["alg"].as_str()),
        (200, Some("RS256")),
        "{}",
        keys.body
    );
    assert!(!keys.text.contains("\"d\""), "no private member");
    let shared = app.get("/t/bank/.well-known/jwks.json").send().await;
    assert_eq!(shared.body, json!({ "keys": [] }), "HS256 has nothing to publish");
    let discovery = app.get("/t/dway/.well-known/openid-configuration").send().await;
    assert_eq!(discovery.body["issuer"], "http://localhost:8080/t/dway");
    assert_eq!(app.get("/t/nobody/.well-known/jwks.json").send().await.status, 404);
    let token = app.login(&tenant, "customer").await;
    assert_eq!(app.get("/v1/auth/me").bearer(&token).send().await.status, 200);
    // The bank's modules are not this tenant's.
    let off = app.get("/v1/accounts").bearer(&token).send().await;
    assert_eq!((off.status, off.code()), (404, "module_not_enabled"));
}

#[tokio::test]
async fn settings_document_and_later_modules() {
    let app = App::start().await;
    let token = app.login(&app.bank, "manager").await;
    let settings = app.get("/v1/settings").bearer(&token).send().await;
    assert_eq!(
        (settings.status, settings.body["tenant"].as_str()),
        (200, Some("bank")),
        "{}",
        settings.body
    );
    assert_eq!(settings.body["security_policy"]["password"]["minimum_length"], 12);
    let document = app.get("/openapi.json").send().await;
    assert_eq!((document.status, document.body["openapi"].as_str()), (200, Some("3.1.0")));
    for path in
        ["/v1/loans", "/v1/loans/x/approve", "/v1/cards", "/v1/kyc", "/api/v1/standing-orders"]
    {
        let later = app.post(path).bearer(&token).json(&json!({})).send().await;
        assert_eq!((later.status, later.code()), (404, "module_not_enabled"), "{path}");
        assert_eq!(app.post(path).send().await.status, 401, "{path}");
    }
    assert_eq!(app.get("/v1/loansome").bearer(&token).send().await.code(), "not_found");
    assert_eq!(app.get("/api/v1/auth/me").bearer(&token).send().await.status, 200);
}

#[tokio::test]
async fn health_says_what_is_so_and_nothing_more() {
    use axum::{body::Body, http::Request};
    use http_body_util::BodyExt as _;
    use std::sync::atomic::Ordering;
    use tower::ServiceExt as _;

    let app = App::start().await;
    let health = api::HealthState {
        database: app.pool.clone(),
        draining: std::sync::Arc::default(),
        render_metrics: std::sync::Arc::new(|| "figures 1\n".to_owned()),
    };
    let router = api::health_router(health.clone());
    let probes = api::probe_router(health.clone());
    let asked = Request::get("/readyz").body(Body::empty()).unwrap();
    let answer = probes.oneshot(asked).await.unwrap();
    assert_eq!(answer.headers()["x-content-type-options"], "nosniff");
    let ask = |path: &'static str| {
        let asked = router.clone().oneshot(Request::get(path).body(Body::empty()).unwrap());
        async move {
            let answer = asked.await.unwrap();
            let status = answer.status().as_u16();
            (
                status,
                String::from_utf8_lossy(&answer.into_body().collect().await.unwrap().to_bytes())
                    .into_owned(),
            )
        }
    };
    assert_eq!(ask("/livez").await, (200, "ok\n".to_owned()));
    assert_eq!(ask("/readyz").await, (200, "ok\n".to_owned()));
    assert_eq!(ask("/metrics").await, (200, "figures 1\n".to_owned()));
    health.draining.store(true, Ordering::Relaxed);
    assert_eq!(ask("/readyz").await, (503, "draining\n".to_owned()));
    assert_eq!(ask("/livez").await.0, 200);
}
