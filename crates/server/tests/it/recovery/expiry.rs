//! A password at its maximum age: its owner signs in and may do one thing.

use axum::http::Method;
use serde_json::json;

use super::{NEXT, set_policy};
use crate::{
    console::Browser,
    harness::{App, PASSWORD},
};

/// What such a session may do.
const OPEN: [&str; 9] = [
    "/v1/auth/logout",
    "/v1/auth/logout-everywhere",
    "/v1/auth/me",
    "/v1/auth/mfa/methods",
    "/v1/auth/password/change",
    "/v1/auth/sessions",
    "/v1/auth/sessions/{id}",
    "/v1/auth/step-up",
    "/v1/auth/step-up/challenge",
];

async fn age(app: &App, days: i32) {
    let sql = "UPDATE users SET password_changed_at = now() - make_interval(days => $1)";
    app.superuser.execute(sql, &[&days]).await.unwrap();
}

const NOTHING: &str = "01890000-0000-7000-8000-000000000000";

#[tokio::test]
async fn an_expired_password_opens_nothing_but_its_own_change() {
    let app = App::start().await;
    age(&app, 91).await;
    let token = app.login(&app.bank, "admin").await;
    let me = app.get("/v1/auth/me").bearer(&token).send().await;
    assert_eq!((me.status, &me.body["password_expired"]), (200, &json!(true)));
    let mut refused = 0;
    for route in api::route_facts() {
        if matches!(route.access, api::Access::Public(_)) || OPEN.contains(&route.path) {
            continue;
        }
        let path = route.path.replace("{id}", NOTHING);
        for path in [path.clone(), format!("/api{path}")] {
            let answer = app.ask(route.method.clone(), &path).bearer(&token).send().await;
            assert_eq!(
                (answer.status, answer.code()),
                (403, "password_expired"),
                "{} {path}: {}",
                route.method,
                answer.body
            );
        }
        refused += 1;
    }
    assert!(refused > 40, "{refused}");
    // Paths of modules that are to come say no more.
    let later = app.get("/v1/loans").bearer(&token).send().await;
    assert_eq!((later.status, later.code()), (403, "password_expired"));
    for (method, path) in [
        (Method::GET, "/v1/auth/me".to_owned()),
        (Method::GET, "/v1/auth/sessions".to_owned()),
        (Method::DELETE, format!("/v1/auth/sessions/{NOTHING}")),
    ] {
        let answer = app.ask(method, &path).bearer(&token).send().await;
        assert_ne!(answer.code(), "password_expired", "{path}");
    }
    let change = json!({ "current_password": PASSWORD, "new_password": NEXT });
    let changed = app.post("/v1/auth/password/change").bearer(&token).json(&change).send().await;
    assert_eq!(changed.status, 204, "{}", changed.body);
    let users = app.get("/v1/users").bearer(&token).send().await;
    assert_eq!(users.status, 200, "the same session goes on: {}", users.body);
}

#[tokio::test]
async fn the_maximum_age_is_the_tenants_to_the_day() {
    let app = App::start().await;
    // days old, maximum age, refused
    let table = [
        (89, json!(90), false),
        (90, json!(90), true),
        (4_000, json!(null), false),
        (7, json!(7), true),
    ];
    for (days, maximum, is_refused) in table {
        age(&app, days).await;
        set_policy(&app, &app.bank, &["password", "maximum_age_days"], &maximum).await;
        let token = app.login(&app.bank, "customer").await;
        let answer = app.get("/v1/accounts").bearer(&token).send().await;
        assert_eq!(answer.status == 403, is_refused, "{days} of {maximum}: {}", answer.body);
    }
    // Whoever asks is on record as refused.
    let refusals = super::recorded(&app, &app.bank, "password.expired").await;
    assert!(refusals >= 2, "{refusals}");
}

#[tokio::test]
async fn the_console_shows_the_change_on_every_page_and_nothing_else() {
    let app = App::start().await;
    let mut browser = Browser::signed_in(&app, "bank", "admin").await;
    age(&app, 91).await;
    tokio::time::sleep(std::time::Duration::from_millis(1_100)).await;
    let mut walked = 0;
    for console::PagePath { method, path, .. } in console::page_paths() {
        // Changing it may take a second factor first.
        let own = ["/security/password", "/security/password/advice", "/logout"].contains(&path);
        if own || path.starts_with("/step-up") {
            continue;
        }
        let address = path.replace("{id}", NOTHING);
        let answer = if method == "get" {
            browser.get(&app, &address).await
        } else {
            browser.post(&app, &address, &[]).await
        };
        assert_eq!(answer.status, 403, "{method} {path}: {}", answer.text);
        assert!(answer.text.contains("action=\"/security/password\""), "{method} {path}");
        assert!(!answer.text.contains("sidebar-link\" href=\"/transfers"), "{method} {path}");
        walked += 1;
    }
    assert!(walked > 40, "{walked}");
    let weak = [("current_password", PASSWORD), ("new_password", "short")];
    let answer = browser.post(&app, "/security/password", &weak).await;
    assert_eq!(answer.status, 422);
    assert!(answer.text.contains("At least 12 characters are needed"), "{}", answer.text);
    assert!(!answer.text.contains(PASSWORD));
    let good = [("current_password", PASSWORD), ("new_password", NEXT)];
    let answer = browser.post(&app, "/security/password", &good).await;
    assert_eq!((answer.status, answer.header("location")), (303, "/"), "{}", answer.text);
    assert_eq!(browser.get(&app, "/").await.status, 200);
}

#[tokio::test]
async fn the_pages_lead_from_a_forgotten_password_to_a_new_one() {
    let app = App::start().await;
    let mut browser = Browser::default();
    let page = browser.get(&app, "/reset").await;
    assert_eq!(page.status, 200, "{}", page.text);
    let mut texts = Vec::new();
    for username in ["customer", "nobody"] {
        let answer =
            browser.post(&app, "/reset", &[("tenant", "bank"), ("username", username)]).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        let main = answer.text.split_once("<main").unwrap().1.to_owned();
        texts.push(main.replace(&browser.token, ""));
    }
    assert_eq!(texts[0], texts[1], "known and unknown read alike");
    let link = super::last(&app, &app.bank, "password_reset", 1).await;
    let link_path = link.values["link"].as_str().unwrap().to_owned();
    // Opened twice, as scanners of mail do: nothing happens.
    for _ in 0..2 {
        let page = browser.get(&app, &link_path).await;
        assert_eq!(page.status, 200);
        assert!(page.text.contains("At least 12 characters"), "{}", page.text);
    }
    let token = link.token();
    let weak = [("token", token.as_str()), ("new_password", "short")];
    let answer = browser.post(&app, "/reset/confirm", &weak).await;
    assert_eq!(answer.status, 422);
    assert!(answer.text.contains("An upper-case letter is needed"), "{}", answer.text);
    let good = [("token", token.as_str()), ("new_password", NEXT)];
    let foreign = app.post("/reset/confirm").form(&good).send().await;
    assert_eq!(foreign.status, 403, "without the form's token");
    let answer = browser.post(&app, "/reset/confirm", &good).await;
    assert_eq!((answer.status, answer.header("location")), (303, "/login?why=password"));
    let again = browser.post(&app, "/reset/confirm", &good).await;
    assert_eq!(again.status, 422);
    assert!(again.text.contains("no longer valid"), "{}", again.text);
    assert_eq!(super::try_login(&app, &app.bank, "customer", NEXT).await.status, 200);
}
