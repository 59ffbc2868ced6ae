//! Addresses: proven, changed, and by whom not.

use std::sync::Arc;

use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::{is_link_refused, last, reset, reset_token, told};
use crate::harness::{Answered, App, PASSWORD};

async fn change(app: &App, token: &str, field: &str, body: &Value) -> Answered {
    app.post(format!("/v1/auth/me/{field}")).bearer(token).json(body).send().await
}

async fn verify(app: &App, token: &str) -> Answered {
    app.post("/v1/auth/verify-email").json(&json!({ "token": token })).send().await
}

async fn email_of(app: &App, name: &str) -> Value {
    let admin = app.login(&app.bank, "admin").await;
    let path = format!("/v1/users/{}", app.bank.users[name]);
    app.get(path).bearer(&admin).send().await.body["email"].clone()
}

#[tokio::test]
async fn an_e_mail_address_changes_once_the_new_one_answers_and_the_old_one_is_told() {
    let app = App::start().await;
    let bank = &app.bank;
    let customer = app.login(bank, "customer").await;
    let to = json!({ "email": "moved@home.example", "current_password": PASSWORD });
    let sent = change(&app, &customer, "email", &to).await;
    assert_eq!(sent.status, 202, "{}", sent.body);
    let link = last(&app, bank, "verify_email", 1).await;
    assert_eq!(link.to, "moved@home.example");
    assert_eq!(email_of(&app, "customer").await, "customer@bank.example", "not yet");
    let to_the_old = reset_token(&app, bank, "customer", 1).await;
    assert_eq!(verify(&app, &link.token()).await.status, 204);
    assert_eq!(email_of(&app, "customer").await, "moved@home.example");
    assert_eq!(last(&app, bank, "email_changed", 1).await.to, "customer@bank.example");
    assert!(is_link_refused(&reset(&app, &to_the_old, "Quite-New-77-Battery").await));
    assert!(is_link_refused(&verify(&app, &link.token()).await), "a replay");
    // It is found under the new one, and proven by having answered.
    let answer = super::try_login(&app, bank, "MOVED@home.example", PASSWORD).await;
    assert_eq!(answer.status, 200);
    let again = app.post("/v1/auth/me/email/verification").bearer(&customer).send().await;
    assert_eq!((again.status, again.code()), (409, "already_verified"));
}

#[tokio::test]
async fn a_new_password_ends_a_change_of_address_that_was_asked_for_with_the_old_one() {
    let app = App::start().await;
    let bank = &app.bank;
    let customer = app.login(bank, "customer").await;
    let to = json!({ "email": "thief@home.example", "current_password": PASSWORD });
    assert_eq!(change(&app, &customer, "email", &to).await.status, 202);
    let link = last(&app, bank, "verify_email", 1).await;
    let new = json!({ "current_password": PASSWORD, "new_password": "Quite-New-77-Battery" });
    let changed = app.post("/v1/auth/password/change").bearer(&customer).json(&new).send().await;
    assert_eq!(changed.status, 204, "{}", changed.text);
    assert!(is_link_refused(&verify(&app, &link.token()).await));
    assert_eq!(email_of(&app, "customer").await, "customer@bank.example");
}

#[tokio::test]
async fn a_session_alone_changes_no_address() {
    let app = App::start().await;
    let bank = &app.bank;
    let customer = app.login(bank, "customer").await;
    let path = format!("/v1/users/{}", bank.users["customer"]);
    // field, value, password, status, code
    let table = [
        ("email", "moved@home.example", None, 403, "step_up_required"),
        (
            "email",
            "moved@home.example",
            Some("Wrong-Horse-9-Battery"),
            422,
            "current_password_wrong",
        ),
        ("email", "moved", Some(PASSWORD), 422, "email_malformed"),
        ("email", "moved@home.example\r\nBcc: a@b.example", Some(PASSWORD), 422, "email_malformed"),
        ("phone", "+420601123456", None, 403, "step_up_required"),
        ("phone", "+420601123456", Some("Wrong-Horse-9-Battery"), 422, "current_password_wrong"),
        ("phone", "601123456", Some(PASSWORD), 422, "phone_malformed"),
    ];
    for (field, value, password, status, code) in table {
        let mut body = json!({ field: value });
        if let Some(password) = password {
            body["current_password"] = json!(password);
        }
        let answer = change(&app, &customer, field, &body).await;
        assert_eq!((answer.status, answer.code()), (status, code), "{body}: {}", answer.body);
    }
    for (field, value) in [
        ("email", json!("moved@home.example")),
        ("email", Value::Null),
        ("phone", json!("+420601123456")),
    ] {
        let body = json!({ field: value });
        let answer =
            app.patch(&path).bearer(&customer).header("if-match", "*").json(&body).send().await;
        assert_eq!(
            (answer.status, answer.code(), answer.field()),
            (422, "confirmation_needed", field)
        );
    }
    assert!(told(&app, bank).await.is_empty());
    // A second factor that the session used just now speaks for it as well.
    let sql = "UPDATE user_sessions SET mfa_level = 1, mfa_at = now() WHERE user_id = $1";
    app.superuser.execute(sql, &[&bank.users["customer"]]).await.unwrap();
    let body = json!({ "email": "moved@home.example" });
    assert_eq!(change(&app, &customer, "email", &body).await.status, 202);
    let sql = "UPDATE user_sessions SET mfa_at = now() - interval '6 minutes' WHERE user_id = $1";
    app.superuser.execute(sql, &[&bank.users["customer"]]).await.unwrap();
    assert_eq!(change(&app, &customer, "email", &body).await.code(), "step_up_required");
}

#[tokio::test]
async fn whose_an_address_is_learns_its_owner_only() {
    let app = App::start().await;
    let bank = &app.bank;
    let customer = app.login(bank, "customer").await;
    let ask = async |email: &str| {
        let body = json!({ "email": email, "current_password": PASSWORD });
        let mut answer = change(&app, &customer, "email", &body).await;
        answer.body["expires_at"] = Value::Null;
        (answer.status, answer.body)
    };
    assert_eq!(ask("second@bank.example").await, ask("nobody@home.example").await);
    let links = told(&app, bank).await;
    assert!(is_link_refused(&verify(&app, &links[0].token()).await), "voided by the second");
    ask("second@bank.example").await;
    let link = last(&app, bank, "verify_email", 3).await;
    let taken = verify(&app, &link.token()).await;
    assert_eq!((taken.status, taken.code()), (409, "email_taken"));
    assert_eq!(email_of(&app, "customer").await, "customer@bank.example");
}

/// The code of the last message to a phone.
async fn code_of(app: &App, count: usize) -> String {
    let notice = last(app, &app.bank, "sign_in_code", count).await;
    assert_eq!(notice.channel, "sms");
    notice.values["code"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_phone_number_changes_by_a_code_that_five_guesses_end() {
    let app = App::start().await;
    let bank = &app.bank;
    let customer = app.login(bank, "customer").await;
    let officer = app.login(bank, "officer").await;
    let ask = async |phone: &str| {
        let body = json!({ "phone": phone, "current_password": PASSWORD });
        let answer = change(&app, &customer, "phone", &body).await;
        assert_eq!(answer.status, 202, "{}", answer.body);
        answer.body["phone_token"].as_str().unwrap().to_owned()
    };
    let bring = async |who: &str, token: &str, code: &str| {
        let body = json!({ "phone_token": token, "code": code });
        let answer = app.post("/v1/auth/verify-phone").bearer(who).json(&body).send().await;
        (answer.status, answer.code().to_owned())
    };
    let refused = |code: &str| (422, code.to_owned());
    let first = ask("+420601123456").await;
    let code = code_of(&app, 1).await;
    let wrong = if code == "000000" { "000001" } else { "000000" };
    assert_eq!(bring(&officer, &first, &code).await, refused("link_invalid"), "another's");
    for _ in 0..5 {
        assert_eq!(bring(&customer, &first, wrong).await, refused("code_wrong"));
    }
    assert_eq!(bring(&customer, &first, &code).await, refused("link_invalid"), "after five");
    let second = ask("+420601123456").await;
    let next = code_of(&app, 2).await;
    if next != code {
        assert_eq!(bring(&customer, &second, &code).await, refused("code_wrong"), "the first's");
    }
    assert_eq!(bring(&customer, &first, &next).await, refused("link_invalid"), "the first's token");
    assert_eq!(bring(&customer, &second, &next).await.0, 204);
    assert_eq!(bring(&customer, &second, &next).await, refused("link_invalid"), "a replay");
    // Now there is an old number to be told.
    let third = ask("+420602999888").await;
    assert_eq!(bring(&customer, &third, &code_of(&app, 3).await).await.0, 204);
    let notices = told(&app, bank).await;
    let changed: Vec<_> = notices
        .iter()
        .filter(|notice| notice.template == "phone_changed")
        .map(|notice| notice.to.as_str())
        .collect();
    assert_eq!(changed, ["customer@bank.example", "+420601123456"]);
    // What is stored of a code is worth nothing without the token.
    let sql = "SELECT count(*) FROM one_time_tokens WHERE code_hash IN (sha256($1::bytea), sha256($2::bytea))";
    let guessed =
        app.superuser.query_one(sql, &[&code.as_bytes(), &next.as_bytes()]).await.unwrap();
    assert_eq!(guessed.get::<_, i64>(0), 0);
}

#[tokio::test]
async fn fifty_guesses_at_once_are_five_and_fifty_right_codes_are_one() {
    let app = Arc::new(App::start().await);
    let customer = app.login(&app.bank, "customer").await;
    for (count, right) in [(1, false), (2, true)] {
        let body = json!({ "phone": "+420601123456", "current_password": PASSWORD });
        let asked = change(&app, &customer, "phone", &body).await;
        let code = code_of(&app, count).await;
        let wrong = if code == "000000" { "000001" } else { "000000" };
        let body = json!({ "phone_token": asked.body["phone_token"], "code": if right { &code } else { wrong } });
        let mut tries = JoinSet::new();
        for _ in 0..50 {
            let (app, customer, body) = (Arc::clone(&app), customer.clone(), body.clone());
            tries.spawn(async move {
                let path = "/v1/auth/verify-phone";
                let answer = app.post(path).bearer(&customer).json(&body).send().await;
                if answer.status == 204 { "done".to_owned() } else { answer.code().to_owned() }
            });
        }
        let answers = tries.join_all().await;
        let counted = |code: &str| answers.iter().filter(|answer| *answer == code).count();
        let expected = if right { (1, 0, 49) } else { (0, 5, 45) };
        assert_eq!((counted("done"), counted("code_wrong"), counted("link_invalid")), expected);
    }
}
