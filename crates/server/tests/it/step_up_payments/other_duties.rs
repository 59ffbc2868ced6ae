//! What else is sensitive: keys that sign, keys of machines, the policy. Whoever has a factor
//! proves it within five minutes of them.

use axum::http::Method;
use serde_json::json;
use uuid::Uuid;

use super::{LIMIT, Scene, enrolled};
use crate::harness::FUNDS;

#[tokio::test]
async fn keys_and_the_policy_want_a_factor_that_was_used_lately() {
    let scene = Scene::new().await;
    let app = &scene.app;
    let admin = app.login(&app.bank, "admin").await;
    let wish = json!({ "name": "Payroll", "role": "officer" });
    // Who has no factor is asked for none, but where a machine is let act in their place.
    let patch = json!({ "patch": { "session": { "concurrent_limit": 3 } } });
    let asked = app.post("/v1/settings/policy/changes").bearer(&admin).json(&patch).send().await;
    assert_eq!(asked.status, 201, "{}", asked.text);
    let key = format!("/v1/api-keys/{}", Uuid::nil());
    for (path, body) in
        [("/v1/api-keys".to_owned(), wish.clone()), (format!("{key}/rotate"), json!({}))]
    {
        let sent = app.post(path.as_str()).bearer(&admin).json(&body).send().await;
        assert_eq!((sent.status, sent.code()), (403, "step_up_required"), "{path}: {}", sent.text);
        assert!(sent.text.contains("Set up a second factor first"), "{}", sent.text);
    }
    app.seal().await;
    let refused = "SELECT count(DISTINCT session_id) FROM audit_log WHERE action = 'auth.step_up_required' \
         AND event_type = 'permission_denied' AND result = 'denied'";
    let refused: i64 = app.superuser.query_one(refused, &[]).await.unwrap().get(0);
    assert_eq!(refused, 1);
    let signing = app.get("/v1/keys").bearer(&admin).send().await;
    let signing = signing.body["data"][0]["id"].as_str().unwrap().to_owned();
    let codes = enrolled(app, &admin).await;
    let asks = [
        (Method::POST, "/v1/api-keys".to_owned(), wish.clone()),
        (Method::POST, format!("{key}/rotate"), json!({})),
        (Method::DELETE, key.clone(), json!({})),
        (Method::POST, "/v1/keys/rotate".to_owned(), json!({})),
        (Method::POST, format!("/v1/keys/{signing}/revoke"), json!({})),
        (
            Method::POST,
            "/v1/settings/policy/changes".to_owned(),
            json!({ "patch": { "transfer_step_up_minor": 5 } }),
        ),
    ];
    for (method, path, body) in &asks {
        let sent = app.ask(method.clone(), path.as_str()).bearer(&admin).json(body).send().await;
        assert_eq!((sent.status, sent.code()), (403, "step_up_required"), "{path}: {}", sent.text);
    }
    let stepped = app.post("/v1/auth/step-up").bearer(&admin).json(&json!({ "code": codes[0] }));
    let stepped = stepped.send().await;
    let fresh = stepped.body["access_token"].as_str().unwrap();
    let again = app.post("/v1/api-keys").bearer(fresh).json(&wish).send().await;
    assert_eq!(again.status, 201, "{}", again.text);
    let key = format!("/v1/api-keys/{}", again.body["id"].as_str().unwrap());
    let gone = app.delete(key).bearer(fresh).send().await;
    assert_eq!(gone.status, 204, "{}", gone.text);
    // A proof of long ago is none.
    let stale = "UPDATE user_sessions SET mfa_at = mfa_at - interval '301 seconds' WHERE mfa_at IS NOT NULL";
    app.superuser.execute(stale, &[]).await.unwrap();
    tokio::time::sleep(std::time::Duration::from_millis(1_100)).await;
    let late = app.post("/v1/api-keys").bearer(fresh).json(&wish).send().await;
    assert_eq!(late.code(), "step_up_required");
    let nobody = format!("/v1/api-keys/{}/rotate", Uuid::nil());
    assert_eq!(app.post(nobody).bearer(fresh).send().await.code(), "step_up_required");
}

#[tokio::test]
async fn journals_and_reversals_above_the_limit_take_a_factor() {
    let scene = Scene::new().await;
    let (app, bank) = (&scene.app, &scene.app.bank);
    let admin = app.login(bank, "admin").await;
    let [from, to] = [scene.from, scene.to];
    let journal = async |bearer: &str, key: &str, amount: i64| {
        let body = json!({
            "currency": "EUR", "description": "Correction",
            "entries": [
                { "account_id": from, "amount": -amount },
                { "account_id": to, "amount": amount },
            ],
        });
        app.post("/v1/postings").bearer(bearer).key(key).json(&body).send().await
    };
    let small = journal(&admin, "small", LIMIT).await;
    assert_eq!(small.status, 201, "the limit itself is below it: {}", small.text);
    let refused = journal(&admin, "great", LIMIT + 1).await;
    assert_eq!((refused.status, refused.code()), (403, "step_up_required"), "{}", refused.text);
    assert_eq!(app.balance(from).await, FUNDS - LIMIT);
    app.factor_used("admin").await;
    let great = journal(&admin, "great", LIMIT + 1).await;
    assert_eq!(great.status, 201, "{}", great.text);
    let stale = "UPDATE user_sessions SET mfa_at = mfa_at - interval '301 seconds'";
    app.superuser.execute(stale, &[]).await.unwrap();
    let late = journal(&admin, "late", LIMIT + 1).await;
    assert_eq!(late.code(), "step_up_required", "a factor of long ago is none");
    let undone = async |bearer: &str, key: &str, movement: &serde_json::Value| {
        let path = format!("/v1/transactions/{}/reverse", movement["id"].as_str().unwrap());
        app.post(path).bearer(bearer).key(key).json(&json!({})).send().await
    };
    let refused = undone(&admin, "undo", &great.body).await;
    assert_eq!((refused.status, refused.code()), (403, "step_up_required"), "{}", refused.text);
    let done = undone(&admin, "undo-small", &small.body).await;
    assert_eq!(done.status, 201, "{}", done.text);
    app.factor_used("admin").await;
    let done = undone(&admin, "undo", &great.body).await;
    assert_eq!(done.status, 201, "{}", done.text);
    assert_eq!(app.balance(from).await, FUNDS);
    // A machine has nothing to prove it with. The node has met the session: it looks again
    // a second later.
    tokio::time::sleep(std::time::Duration::from_millis(1_100)).await;
    let scopes = ["transaction:post", "transaction:read", "account:read"];
    let wish = json!({ "name": "Books", "role": "admin", "scopes": scopes });
    let key = app.post("/v1/api-keys").bearer(&admin).json(&wish).send().await;
    let secret = key.body["secret"].as_str().unwrap();
    let booked = journal(secret, "machine", LIMIT + 1).await;
    assert_eq!(booked.status, 201, "{}", booked.text);
}
