//! A person's own security in the console: sessions listed and ended, the password
//! changed, and what others may not do with it.

use crate::console::Browser;
use crate::harness::{App, PASSWORD};

const NEXT: &str = "Another-Horse-8-Battery";

/// The ids of the sessions that the page offers to end.
fn others(page: &str) -> Vec<String> {
    let ends = page.split("action=\"/security/sessions/").skip(1);
    let ids = ends.filter_map(|rest| rest.split_once("/end\""));
    ids.map(|(id, _)| id.to_owned()).filter(|id| id.len() == 36).collect()
}

async fn alive(app: &App, browser: &mut Browser) -> bool {
    browser.get(app, "/security/sessions").await.status == 200
}

#[tokio::test]
async fn people_see_where_they_are_signed_in_and_end_it() {
    let app = App::start().await;
    let mut desk = Browser::signed_in(&app, "bank", "customer").await;
    let page = desk.get(&app, "/security/sessions").await;
    assert_eq!((page.status, others(&page.text).len()), (200, 0), "{}", page.text);
    assert!(page.text.contains("This one") && !page.text.contains("Sign out everywhere else"));
    let mut phone = Browser::signed_in(&app, "bank", "customer").await;
    let token = app.login(&app.bank, "customer").await;
    let page = desk.get(&app, "/security/sessions").await;
    let ids = others(&page.text);
    assert_eq!(ids.len(), 2, "{}", page.text);
    for id in &ids {
        let path = format!("/security/sessions/{id}/end");
        let ended = desk.post(&app, &path, &[]).await;
        assert_eq!(
            (ended.status, ended.header("location")),
            (303, "/security/sessions"),
            "{}",
            ended.text
        );
        // Again: it has ended already, which is what was asked.
        assert_eq!(desk.post(&app, &path, &[]).await.status, 303);
    }
    assert!(!alive(&app, &mut phone).await, "the browser is signed out");
    assert_eq!(app.get("/v1/auth/me").bearer(&token).send().await.status, 401);
    assert!(alive(&app, &mut desk).await);
    let mut again = Browser::signed_in(&app, "bank", "customer").await;
    desk.get(&app, "/security/sessions").await;
    assert_eq!(desk.post(&app, "/security/sessions/end", &[]).await.status, 303);
    assert!(!alive(&app, &mut again).await && alive(&app, &mut desk).await);
}

#[tokio::test]
async fn nobody_ends_the_session_of_somebody_else() {
    let app = App::start().await;
    let mut owner = Browser::signed_in(&app, "bank", "customer").await;
    Browser::signed_in(&app, "bank", "customer").await;
    let page = owner.get(&app, "/security/sessions").await;
    let [id] = <[String; 1]>::try_from(others(&page.text)).unwrap();
    let path = format!("/security/sessions/{id}/end");
    for (tenant, name) in [("bank", "second"), ("bank", "super_admin")] {
        let mut stranger = Browser::signed_in(&app, tenant, name).await;
        stranger.get(&app, "/security/sessions").await;
        assert_eq!(stranger.post(&app, &path, &[]).await.status, 303, "{name}");
        assert_eq!(stranger.post(&app, "/security/sessions/end", &[]).await.status, 303, "{name}");
    }
    let page = owner.get(&app, "/security/sessions").await;
    assert_eq!(others(&page.text), [id], "it lives on");
    // Without the form's token nothing ends, not even one's own.
    owner.forget_token();
    assert_eq!(owner.post(&app, &path, &[]).await.status, 403);
}

#[tokio::test]
async fn a_password_is_changed_by_who_knows_it() {
    let app = App::start().await;
    let mut browser = Browser::signed_in(&app, "bank", "customer").await;
    let mut elsewhere = Browser::signed_in(&app, "bank", "customer").await;
    browser.get(&app, "/security/password").await;
    // present, next, status, what the page says
    let table = [
        (PASSWORD, "short", 422, "At least 12 characters are needed"),
        (PASSWORD, "short", 422, "An upper-case letter is needed"),
        (PASSWORD, "Customer-Horse-8", 422, "contains your name"),
        (PASSWORD, PASSWORD, 422, "This password was used before"),
        ("Wrong-Horse-9-Battery", NEXT, 422, "The present password is wrong"),
        ("", NEXT, 422, "The present password is wrong"),
    ];
    for (present, next, status, words) in table {
        let fields = [("current_password", present), ("new_password", next)];
        let answer = browser.post(&app, "/security/password", &fields).await;
        assert_eq!(answer.status, status, "{words}");
        assert!(answer.text.contains(words), "{words}: {}", answer.text);
        for typed in [present, next].iter().filter(|typed| typed.len() > 5) {
            assert!(!answer.text.contains(*typed), "a password is never drawn again");
        }
    }
    assert!(alive(&app, &mut elsewhere).await, "a refusal changes nothing");
    let fields = [("current_password", PASSWORD), ("new_password", NEXT)];
    let done = browser.post(&app, "/security/password", &fields).await;
    assert_eq!(
        (done.status, done.header("location")),
        (303, "/security/password"),
        "{}",
        done.text
    );
    assert!(alive(&app, &mut browser).await);
    assert!(!alive(&app, &mut elsewhere).await, "everywhere else they are signed out");
    let login = |password: &str| serde_json::json!({ "tenant": "bank", "username": "customer", "password": password });
    for (password, status) in [(PASSWORD, 401), (NEXT, 200)] {
        let answer = app.post("/v1/auth/login").json(&login(password)).send().await;
        assert_eq!(answer.status, status);
    }
}
