//! What else is sensitive: keys that sign, keys of machines, the policy. Whoever has a factor
//! proves it within five minutes of them.

use axum::http::Method;
use serde_json::json;
use uuid::Uuid;

use super::{Scene, enrolled};

#[tokio::test]
async fn keys_and_the_policy_want_a_factor_that_was_used_lately() {
    let scene = Scene::new().await;
    let app = &scene.app;
    let admin = app.login(&app.bank, "admin").await;
    let wish = json!({ "name": "Payroll", "role": "officer" });
    let made = app.post("/v1/api-keys").bearer(&admin).json(&wish).send().await;
    assert_eq!(made.status, 201, "who has no factor is not asked for one: {}", made.text);
    let key = format!("/v1/api-keys/{}", made.body["id"].as_str().unwrap());
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
