//! A person's own contact, devices and activity in the console, and the cookie that tells
//! one browser from another.

use serde_json::{Value, json};
use uuid::Uuid;

use crate::{
    console::{Browser, is_sent_away},
    harness::{App, PASSWORD},
    recovery::last,
};

const DEVICE: &str = "__Host-strongroom-device";

fn device_of(browser: &Browser) -> String {
    let found = browser.cookies.iter().find(|(name, _)| name == DEVICE);
    found.map(|(_, value)| value.clone()).unwrap_or_default()
}

/// What stands between two marks of a page, each time.
fn each<'a>(page: &'a str, before: &str, after: char) -> Vec<&'a str> {
    page.split(before).skip(1).filter_map(|rest| rest.split(after).next()).collect()
}

#[tokio::test]
async fn an_address_changes_once_the_new_one_has_answered() {
    let app = App::start().await;
    let mut browser = Browser::signed_in(&app, "bank", "customer").await;
    let page = browser.get(&app, "/security/contact").await;
    assert!(page.text.contains("customer@bank.example"), "{}", page.text);
    assert!(page.text.contains("Send me a link to prove it"), "not proven yet");
    // what is sent, status, what the page says
    let table = [
        (("moved", PASSWORD), 422, "Not an e-mail address"),
        (("moved@home.example", "Wrong-Horse-9-Battery"), 422, "The present password is wrong"),
    ];
    for ((email, password), status, words) in table {
        let fields = [("email", email), ("current_password", password)];
        let answer = browser.post(&app, "/security/contact/email", &fields).await;
        assert_eq!(answer.status, status, "{}", answer.text);
        assert!(answer.text.contains(words) && !answer.text.contains(password), "{words}");
    }
    let fields = [("email", "moved@home.example"), ("current_password", PASSWORD)];
    assert_eq!(browser.post(&app, "/security/contact/email", &fields).await.status, 303);
    let page = browser.get(&app, "/security/contact").await;
    assert!(page.text.contains("customer@bank.example") && !page.text.contains("moved@"));
    let link = last(&app, &app.bank, "verify_email", 1).await;
    let verified = json!({ "token": link.token() });
    assert_eq!(app.post("/v1/auth/verify-email").json(&verified).send().await.status, 204);
    assert_eq!(last(&app, &app.bank, "email_changed", 1).await.to, "customer@bank.example");
    let page = browser.get(&app, "/security/contact").await;
    assert!(page.text.contains("moved@home.example") && page.text.contains(">Verified<"));
    // Proven already: nothing is sent, and that is said.
    assert_eq!(browser.post(&app, "/security/contact/email/prove", &[]).await.status, 303);
    last(&app, &app.bank, "verify_email", 1).await;
    browser.forget_token();
    assert_eq!(browser.post(&app, "/security/contact/email", &fields).await.status, 403);
}

#[tokio::test]
async fn a_phone_changes_by_a_code_whose_token_stands_in_no_page() {
    let app = App::start().await;
    let mut browser = Browser::signed_in(&app, "bank", "customer").await;
    browser.get(&app, "/security/contact").await;
    let none = browser.get(&app, "/security/contact/phone").await;
    assert_eq!((none.status, none.header("location")), (303, "/security/contact"));
    let fields = [("phone", "+420 601-123 456"), ("current_password", PASSWORD)];
    let sent = browser.post(&app, "/security/contact/phone", &fields).await;
    assert_eq!(
        (sent.status, sent.header("location")),
        (303, "/security/contact/phone"),
        "{}",
        sent.text
    );
    let notice = last(&app, &app.bank, "sign_in_code", 1).await;
    assert_eq!(notice.to, "+420601123456");
    let code = notice.values["code"].as_str().unwrap().to_owned();
    let page = browser.get(&app, "/security/contact/phone").await;
    assert!(page.status == 200 && !page.text.contains("phonechange_"), "{}", page.text);
    let wrong = if code == "000000" { "000001" } else { "000000" };
    let refused = browser.post(&app, "/security/contact/phone/code", &[("code", wrong)]).await;
    assert_eq!(refused.status, 422, "{}", refused.text);
    // Another session of another person cannot use the cookie.
    let mut thief = Browser::signed_in(&app, "bank", "second").await;
    let stolen =
        browser.cookies.iter().find(|(name, _)| name == "__Host-strongroom-phone").unwrap();
    thief.cookies.push(stolen.clone());
    let answer = thief.post(&app, "/security/contact/phone/code", &[("code", &code)]).await;
    assert_eq!(answer.status, 303);
    assert!(!thief.get(&app, "/security/contact").await.text.contains("+420601123456"));
    let done = browser.post(&app, "/security/contact/phone/code", &[("code", &code)]).await;
    assert_eq!(done.status, 303, "{}", done.text);
    assert!(browser.get(&app, "/security/contact").await.text.contains("+420601123456"));
    // The cookie is gone, and the code was for once.
    assert!(browser.cookies.iter().all(|(name, _)| name != "__Host-strongroom-phone"));
}

#[tokio::test]
async fn a_browser_is_a_device_of_its_own_and_keeps_its_id() {
    let app = App::start().await;
    let stranger = app.get("/docs").header("accept", "text/html").send().await;
    let cookies = stranger.headers.get_all("set-cookie");
    assert!(
        cookies.iter().all(|line| !line.to_str().unwrap().contains(DEVICE)),
        "readers are not marked"
    );
    let mut desk = Browser::signed_in(&app, "bank", "customer").await;
    let first = device_of(&desk);
    assert_eq!(first.len(), 64);
    let sql = "SELECT count(*) FROM user_devices WHERE user_id = $1";
    let count = async || -> i64 {
        app.superuser.query_one(sql, &[&app.bank.users["customer"]]).await.unwrap().get(0)
    };
    assert_eq!(count().await, 1);
    // The same browser again is the same device; another of the same kind is another.
    desk.get(&app, "/").await;
    desk.post(&app, "/logout", &[]).await;
    desk.get(&app, "/login").await;
    let fields = [("tenant", "bank"), ("username", "customer"), ("password", PASSWORD)];
    assert_eq!(desk.post(&app, "/login", &fields).await.status, 303);
    assert_eq!((device_of(&desk), count().await), (first.clone(), 1));
    let phone = Browser::signed_in(&app, "bank", "customer").await;
    assert_eq!(count().await, 2);
    assert_ne!(device_of(&phone), first);
    last(&app, &app.bank, "new_device", 1).await;
    // Only a MAC over it is stored.
    let sql = "SELECT string_agg(device::text, ' ') FROM user_devices device";
    let stored: String = app.superuser.query_one(sql, &[]).await.unwrap().get(0);
    assert!(!stored.contains(&first));
}

#[tokio::test]
async fn where_sessions_are_bound_to_devices_a_stolen_cookie_opens_nothing() {
    let app = App::start().await;
    let sql = "UPDATE security_policies SET policy = jsonb_set(policy, '{session,bound_to_device}', 'true') \
        WHERE tenant_id = $1";
    assert_eq!(app.superuser.execute(sql, &[&app.bank.id]).await.unwrap(), 1);
    tokio::time::sleep(std::time::Duration::from_millis(1_100)).await;
    let mut owner = Browser::signed_in(&app, "bank", "customer").await;
    assert_eq!(owner.get(&app, "/security/devices").await.status, 200);
    let mut thief = owner.clone();
    thief.cookies.retain(|(name, _)| name != DEVICE);
    assert!(is_sent_away(&thief.get(&app, "/").await), "without the device's own cookie");
    assert!(is_sent_away(&owner.get(&app, "/").await), "and the session is over for both");
    let sql =
        "SELECT revocation_reason FROM user_sessions WHERE user_id = $1 ORDER BY id DESC LIMIT 1";
    let row = app.superuser.query_one(sql, &[&app.bank.users["customer"]]).await.unwrap();
    assert!(row.get::<_, Option<String>>(0).is_some());
}

#[tokio::test]
async fn devices_are_renamed_and_revoked_by_their_owner() {
    let app = App::start().await;
    let mut desk = Browser::signed_in(&app, "bank", "customer").await;
    let mut phone = Browser::signed_in(&app, "bank", "customer").await;
    let page = desk.get(&app, "/security/devices").await;
    assert!(page.text.contains("This one"), "{}", page.text);
    let ids = each(&page.text, "action=\"/security/devices/", '/');
    assert_eq!(ids.len(), 4, "two devices, two forms each: {}", page.text);
    // Newest first: the phone's.
    let theirs = ids[0].to_owned();
    let name = format!("/security/devices/{theirs}/name");
    for (version, text, status, words) in [
        ("1", "", 422, "1 to 64 characters"),
        ("9", "Phone", 409, "changed meanwhile"),
        ("1", "<b>Jana's</b> phone", 303, ""),
    ] {
        let answer = desk.post(&app, &name, &[("version", version), ("name", text)]).await;
        assert_eq!(answer.status, status, "{text}: {}", answer.text);
        assert!(answer.text.contains(words), "{text}");
    }
    let page = desk.get(&app, "/security/devices").await;
    assert!(page.text.contains("&lt;b&gt;Jana") && !page.text.contains("<b>Jana"));
    // Another person's device is not there, and neither is one without the form's token.
    let revoke = format!("/security/devices/{theirs}/revoke");
    let mut stranger = Browser::signed_in(&app, "bank", "second").await;
    for path in [&name, &revoke] {
        let fields = [("version", "2"), ("name", "Mine")];
        assert_eq!(stranger.post(&app, path, &fields).await.status, 404, "{path}");
    }
    let token = std::mem::take(&mut desk.token);
    assert_eq!(desk.post(&app, &revoke, &[("version", "2")]).await.status, 403);
    desk.token = token;
    assert_eq!(phone.get(&app, "/").await.status, 200);
    assert_eq!(desk.post(&app, &revoke, &[("version", "2")]).await.status, 303);
    assert!(is_sent_away(&phone.get(&app, "/").await), "signed out there");
    assert_eq!(desk.get(&app, "/").await.status, 200, "and not here");
}

#[tokio::test]
async fn activity_is_ones_own_and_says_who_did_it() {
    let app = App::start().await;
    let customer = app.bank.users["customer"];
    for name in ["customer", "second"] {
        let body = json!({ "tenant": "bank", "username": name, "password": "Wrong-Horse-9" });
        assert_eq!(app.post("/v1/auth/login").json(&body).send().await.status, 401);
    }
    let admin = app.login(&app.bank, "admin").await;
    let lock = |what: &str| format!("/v1/users/{customer}/{what}");
    let reason = json!({ "reason": "compliance" });
    assert_eq!(app.post(lock("lock")).bearer(&admin).json(&reason).send().await.status, 200);
    assert_eq!(app.post(lock("unlock")).bearer(&admin).send().await.status, 200);
    let mut browser = Browser::signed_in(&app, "bank", "customer").await;
    let page = browser.get(&app, "/security/activity").await;
    let told = each(&page.text, "happening-told\">", '<');
    assert_eq!(
        told,
        ["Signed in", "Account unlocked", "Account locked", "Sign-in failed: wrong password"],
        "{}",
        page.text
    );
    assert!(page.text.contains("By an administrator"));
    // The interface says the same, of nobody else, and not who of the staff it was.
    let token = app.login(&app.bank, "customer").await;
    let list = app.get("/v1/auth/activity?limit=2").bearer(&token).send().await;
    assert_eq!(list.status, 200, "{}", list.text);
    let kinds: Vec<&Value> =
        list.body["data"].as_array().unwrap().iter().map(|one| &one["event_type"]).collect();
    assert_eq!(kinds, ["login", "login"]);
    let cursor = list.body["next_cursor"].as_str().unwrap();
    let path = format!("/v1/auth/activity?limit=2&cursor={cursor}");
    let rest = app.get(&path).bearer(&token).send().await;
    assert_eq!(rest.body["data"][0]["action"], "user.unlock", "{}", rest.text);
    assert_eq!(
        (&rest.body["data"][1]["by"], &rest.body["data"][1]["ip_address"]),
        (&json!("staff"), &Value::Null)
    );
    assert!(!rest.text.contains(&app.bank.users["admin"].to_string()), "not who");
    // Another person's cursor is not of this list.
    let second = app.login(&app.bank, "second").await;
    assert_eq!(app.get(&path).bearer(&second).send().await.status, 400);
    let theirs = app.get("/v1/auth/activity").bearer(&second).send().await;
    assert_eq!(theirs.body["data"].as_array().unwrap().len(), 2, "{}", theirs.text);
}

#[tokio::test]
async fn a_page_of_activity_costs_the_same_however_much_else_somebody_does() {
    let app = App::start().await;
    let customer = app.bank.users["customer"];
    let token = app.login(&app.bank, "customer").await;
    // More other records than a page looks at, all newer than that sign-in.
    let now: Uuid = app.clock.new_id();
    let sql = "INSERT INTO audit_log (tenant_id, event_id, occurred_at, event_type, severity, result, user_id, \
            actor_kind, action, resource_type, record) \
        SELECT $1, encode(overlay(uuid_send($2::uuid) placing int8send(n::bigint) from 9), 'hex')::uuid, now(), \
            'data_access', 'low', 'success', $3, 'user', 'account.read', 'account', '\\x00' \
        FROM generate_series(1, 20100) AS n";
    app.superuser.execute(sql, &[&app.bank.id, &now, &customer]).await.unwrap();
    let first = app.get("/v1/auth/activity").bearer(&token).send().await;
    assert_eq!(first.body["data"].as_array().unwrap().len(), 0, "{}", first.text);
    let cursor = first.body["next_cursor"].as_str().expect("it goes on");
    let path = format!("/v1/auth/activity?cursor={cursor}");
    let next = app.get(path).bearer(&token).send().await;
    assert_eq!(next.body["data"][0]["event_type"], "login", "{}", next.text);
    assert_eq!(next.body["next_cursor"], Value::Null);
}

#[tokio::test]
async fn advice_on_a_password_is_given_to_the_signed_in_and_repeats_nothing() {
    let app = App::start().await;
    let mut browser = Browser::signed_in(&app, "bank", "customer").await;
    browser.get(&app, "/security/password").await;
    let path = "/security/password/advice";
    // what is typed, the greatest score, whether the owner's name stands in it
    for (typed, most, named) in [
        ("Password123!", 1, false),
        ("customer@bank.example", 1, true),
        ("Kv7#qLw2$zR9-forty-geese", 4, false),
    ] {
        let answer = browser.post(&app, path, &[("new_password", typed)]).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        assert!(answer.body["score"].as_u64().unwrap() <= most, "{typed}: {}", answer.text);
        let notes = answer.body["notes"].to_string();
        assert_eq!(notes.contains("contains your name"), named, "{typed}: {notes}");
        assert!(!answer.text.contains(typed), "{}", answer.text);
    }
    browser.forget_token();
    assert_eq!(browser.post(&app, path, &[("new_password", "x")]).await.status, 403);
    let stranger = app.post(path).form(&[("new_password", "x")]).send().await;
    assert!(is_sent_away(&stranger), "{}", stranger.status);
}
