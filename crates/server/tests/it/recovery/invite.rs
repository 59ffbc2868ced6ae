//! Invitations: sent by those who may, accepted once.

use serde_json::{Value, json};

use super::{LATER, NEXT, is_link_refused, last, set_by, try_login};
use crate::harness::{Answered, App};

async fn made(app: &App, token: &str, name: &str, role: &str, more: Value) -> Value {
    let mut body = json!({ "username": name, "role": role });
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let made = app.post("/v1/users").bearer(token).json(&body).send().await;
    assert_eq!(made.status, 201, "{}", made.body);
    made.body["id"].clone()
}

async fn invite(app: &App, token: &str, user: &Value) -> Answered {
    app.post("/v1/invitations").bearer(token).json(&json!({ "user_id": user })).send().await
}

#[tokio::test]
async fn an_invitation_sets_the_first_password_once_and_for_seven_days() {
    let app = App::start().await;
    let bank = &app.bank;
    let admin = app.login(bank, "admin").await;
    let user =
        made(&app, &admin, "new.one", "customer", json!({ "email": "new@bank.example" })).await;
    let sent = invite(&app, &admin, &user).await;
    assert_eq!((sent.status, &sent.body["user_id"]), (201, &user), "{}", sent.body);
    let first = last(&app, bank, "invite", 1).await;
    assert_eq!(first.to, "new@bank.example");
    assert!(first.values["link"].as_str().unwrap().starts_with("/invite?token=invite_"));
    let sql = "SELECT extract(epoch FROM expires_at - created_at)::bigint FROM one_time_tokens";
    assert_eq!(app.superuser.query_one(sql, &[]).await.unwrap().get::<_, i64>(0), 7 * 86_400);
    let second = {
        assert_eq!(invite(&app, &admin, &user).await.status, 201);
        last(&app, bank, "invite", 2).await.token()
    };
    let accept = async |token: &str, password: &str| {
        set_by(&app, "/v1/invitations/accept", token, password).await
    };
    assert!(is_link_refused(&accept(&first.token(), NEXT).await), "voided by the second");
    let weak = accept(&second, "new.one").await;
    assert_eq!((weak.status, weak.code()), (422, "validation_failed"));
    assert_eq!(accept(&second, NEXT).await.status, 204);
    assert_eq!(try_login(&app, bank, "new.one", NEXT).await.status, 200);
    assert!(is_link_refused(&accept(&second, LATER).await), "a replay");
    let again = invite(&app, &admin, &user).await;
    assert_eq!((again.status, again.code()), (409, "already_joined"));
}

#[tokio::test]
async fn who_may_invite_whom() {
    let app = App::start().await;
    let bank = &app.bank;
    let rival = app.add_bank("rival").await;
    let admin = app.login(bank, "admin").await;
    let mail = |name: &str| json!({ "email": format!("{name}@bank.example") });
    let plain = made(&app, &admin, "plain", "customer", mail("plain")).await;
    let unreachable = made(&app, &admin, "unreachable", "customer", json!({})).await;
    let disabled = made(&app, &admin, "sleeper", "customer", mail("sleeper")).await;
    let sql = "UPDATE users SET is_active = false WHERE username_key = 'sleeper'; \
        UPDATE users SET password_hash = NULL WHERE username_key = 'super_admin'";
    app.superuser.batch_execute(sql).await.unwrap();
    let missing = json!("0192e4c8-7f3a-7c1e-9b1f-3f1d2c4b5a69");
    let theirs = json!(rival.users["customer"]);
    let mightier = json!(bank.users["super_admin"]);
    // who, whom, status, code
    let table = [
        ("admin", &missing, 422, "not_found"),
        ("admin", &theirs, 422, "not_found"),
        ("admin", &unreachable, 422, "email_missing"),
        ("admin", &disabled, 409, "user_disabled"),
        ("admin", &mightier, 403, "privilege_escalation"),
        ("customer", &plain, 403, "permission_denied"),
        ("auditor", &plain, 403, "permission_denied"),
        ("admin", &plain, 201, ""),
    ];
    let mut bodies = Vec::new();
    for (who, whom, status, code) in table {
        let token = app.login(bank, who).await;
        let mut answer = invite(&app, &token, whom).await;
        assert_eq!((answer.status, answer.code()), (status, code), "{who} {whom}: {}", answer.body);
        answer.body["request_id"] = Value::Null;
        bodies.push(answer.body);
    }
    assert_eq!(bodies[0], bodies[1], "another tenant's reads like nothing");
    for _ in 0..4 {
        assert_eq!(invite(&app, &admin, &plain).await.status, 201);
    }
    let sixth = invite(&app, &admin, &plain).await;
    assert_eq!(
        (sixth.status, sixth.code(), sixth.header("retry-after")),
        (429, "rate_limited", "3600")
    );
    last(&app, bank, "invite", 5).await;
}
