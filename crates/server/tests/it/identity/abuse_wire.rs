//! Attacks at the interface: each kind of token at each door, what is pending as if it
//! were a session, resets that leave a step out, names and passwords that are odd.
//! `docs/testing.md` says which test tries which attack.

use std::collections::{BTreeMap, HashSet};

use serde_json::{Value, json};

use super::factor_world::totp;
use crate::{
    console::{Browser, is_sent_away},
    harness::{Answered, App, PASSWORD},
    recovery::{is_link_refused, last, reset, reset_token, set_by, told, try_login},
};

const NEXT: &str = "Quite-New-77-Battery";
const WRONG: &str = "Wrong-Horse-9-Battery";
const HTML: &str = "text/html,application/xhtml+xml";

/// Changes a tenant's policy and waits until nodes know.
async fn policy(app: &App, path: &str, value: &Value) {
    let sql = "UPDATE security_policies SET policy = jsonb_set(policy, $2::text::text[], $3) WHERE tenant_id = $1";
    app.superuser.execute(sql, &[&app.bank.id, &path, value]).await.unwrap();
    tokio::time::sleep(std::time::Duration::from_millis(1_100)).await;
}

fn step_now(app: &App) -> i64 {
    app.clock.now().as_second() / 30
}

/// Enrols an authenticator app; its secret. This step confirms, the next is left.
async fn enrolled(app: &App, username: &str) -> String {
    let token = app.login(&app.bank, username).await;
    let setup = app.post("/v1/auth/mfa/setup").bearer(&token).json(&json!({ "method": "totp" }));
    let setup = setup.send().await;
    let secret = setup.body["manual_entry_key"].as_str().unwrap().to_owned();
    let code = totp(&secret, step_now(app));
    let confirm = app.post("/v1/auth/mfa/confirm").bearer(&token).json(&json!({ "code": code }));
    let confirm = confirm.send().await;
    assert_eq!(confirm.status, 200, "{}", confirm.body);
    secret
}

/// The pending token of a sign-in.
async fn pending(app: &App, username: &str) -> String {
    let first = try_login(app, &app.bank, username, PASSWORD).await;
    assert!(first.body.get("access_token").is_none(), "{}", first.body);
    first.body["mfa_token"].as_str().unwrap().to_owned()
}

/// One token of each kind, all good.
async fn one_of_each(app: &App) -> BTreeMap<&'static str, String> {
    let bank = &app.bank;
    let text = |answer: &Answered, name: &str| {
        answer.body[name].as_str().unwrap_or_else(|| panic!("{name}: {}", answer.body)).to_owned()
    };
    let mut tokens = BTreeMap::new();
    let admin = app.login_by_factor(bank, "admin").await;
    let signed_in = app.sign_in(bank, "customer").await;
    let customer = signed_in["access_token"].as_str().unwrap().to_owned();
    tokens.insert("refresh", signed_in["refresh_token"].as_str().unwrap().to_owned());
    tokens.insert("mfa", pending(app, "officer").await);
    tokens.insert("enrol", pending(app, "auditor").await);
    tokens.insert("reset", reset_token(app, bank, "second", 1).await);
    let body = json!({ "username": "new.one", "role": "customer", "email": "new@bank.example" });
    let made = app.post("/v1/users").bearer(&admin).json(&body).send().await;
    let body = json!({ "user_id": made.body["id"] });
    let sent = app.post("/v1/invitations").bearer(&admin).json(&body).send().await;
    assert_eq!(sent.status, 201, "{}", sent.body);
    tokens.insert("invite", last(app, bank, "invite", 1).await.token());
    let path = "/v1/auth/me/email/verification";
    assert_eq!(app.post(path).bearer(&customer).send().await.status, 202);
    tokens.insert("verify", last(app, bank, "verify_email", 1).await.token());
    let body = json!({ "phone": "+420601123456", "current_password": PASSWORD });
    let phone = app.post("/v1/auth/me/phone").bearer(&customer).json(&body).send().await;
    tokens.insert("phone", text(&phone, "phone_token"));
    let body = json!({ "name": "Payroll", "role": "officer" });
    let key = app.post("/v1/api-keys").bearer(&admin).json(&body).send().await;
    tokens.insert("key", text(&key, "secret"));
    let browser = Browser::signed_in(app, "bank", "manager").await;
    let session = browser.cookies.iter().find(|(name, _)| name == "__Host-strongroom");
    tokens.insert("cookie", session.unwrap().1.clone());
    tokens.insert("form", browser.token.clone());
    let mut halfway = Browser::default();
    halfway.get(app, "/login").await;
    let fields = [("tenant", "bank"), ("username", "officer"), ("password", PASSWORD)];
    assert_eq!(halfway.post(app, "/login", &fields).await.status, 303);
    let step = halfway.cookies.iter().find(|(name, _)| name.ends_with("-step"));
    tokens.insert("step", step.unwrap().1.clone());
    tokens.insert("access", customer);
    tokens
}

/// Where a token is taken, and the kinds that belong there.
const DOORS: [(&str, &[&str]); 10] = [
    ("/v1/auth/me", &["access"]),
    ("/v1/auth/refresh", &["refresh"]),
    ("/v1/auth/mfa/verify", &["mfa"]),
    ("/v1/auth/mfa/challenge", &["mfa"]),
    ("/v1/auth/mfa/enrolment", &["enrol"]),
    ("/v1/auth/mfa/enrolment/confirm", &["enrol"]),
    ("/v1/auth/password/reset", &["reset"]),
    ("/v1/invitations/accept", &["invite"]),
    ("/v1/auth/verify-email", &["verify"]),
    ("/v1/auth/verify-phone", &["phone"]),
];

async fn knock(app: &App, door: &str, token: &str, owner: &str) -> Answered {
    let body = match door {
        "/v1/auth/me" => return app.get(door).bearer(token).send().await,
        "/v1/auth/refresh" => json!({ "refresh_token": token }),
        "/v1/auth/mfa/challenge" => json!({ "mfa_token": token, "method": "sms" }),
        "/v1/auth/mfa/enrolment" => json!({ "mfa_token": token, "method": "totp" }),
        "/v1/auth/mfa/verify" | "/v1/auth/mfa/enrolment/confirm" => {
            json!({ "mfa_token": token, "code": "000000" })
        }
        "/v1/auth/verify-email" => json!({ "token": token }),
        "/v1/auth/verify-phone" => json!({ "phone_token": token, "code": "000000" }),
        _ => json!({ "token": token, "new_password": NEXT }),
    };
    let ask = app.post(door).json(&body);
    let ask = if door == "/v1/auth/verify-phone" { ask.bearer(owner) } else { ask };
    ask.send().await
}

#[tokio::test]
async fn every_kind_of_token_is_refused_at_every_door_but_its_own() {
    let app = App::start().await;
    policy(&app, "{rate_limits,mfa}", &json!(10_000)).await;
    let secret = enrolled(&app, "officer").await;
    policy(&app, "{mfa,required_roles}", &json!(["auditor"])).await;
    let tokens = one_of_each(&app).await;
    assert_eq!(tokens.values().collect::<HashSet<_>>().len(), 12);
    let owner = &tokens["access"];
    for (door, own) in DOORS {
        for (kind, token) in tokens.iter().filter(|(kind, _)| !own.contains(kind)) {
            let answer = knock(&app, door, token, owner).await;
            let refused = match (door, *kind) {
                // A machine is somebody, and not a person.
                ("/v1/auth/me", "key") => answer.status == 403,
                _ if door.contains("password/") || door.contains("verify-") => {
                    (answer.status, answer.code()) == (422, "link_invalid")
                }
                ("/v1/invitations/accept", _) => is_link_refused(&answer),
                _ => (answer.status, answer.code()) == (401, "invalid_token"),
            };
            assert!(refused, "{kind} at {door}: {} {}", answer.status, answer.body);
        }
    }
    let session = |value: &str| format!("__Host-strongroom={value}");
    for (kind, token) in tokens.iter().filter(|(kind, _)| **kind != "cookie") {
        let page = app.get("/accounts").header("accept", HTML).header("cookie", &session(token));
        let page = page.send().await;
        assert!(page.status == 401 || is_sent_away(&page), "{kind} as a cookie: {}", page.status);
    }
    // None of it used anything up.
    let code = totp(&secret, step_now(&app) + 1);
    let body = json!({ "mfa_token": tokens["mfa"], "code": code });
    let verified = app.post("/v1/auth/mfa/verify").json(&body).send().await;
    assert_eq!(verified.status, 200, "{}", verified.body);
    for (door, kind, status) in [
        ("/v1/auth/me", "access", 200),
        ("/v1/auth/mfa/enrolment", "enrol", 200),
        ("/v1/auth/verify-email", "verify", 204),
        ("/v1/auth/password/reset", "reset", 204),
        ("/v1/invitations/accept", "invite", 204),
        ("/v1/auth/refresh", "refresh", 200),
    ] {
        let answer = knock(&app, door, &tokens[kind], owner).await;
        assert_eq!(answer.status, status, "{kind}: {}", answer.body);
    }
    let page = app.get("/accounts").header("accept", HTML);
    assert_eq!(page.header("cookie", &session(&tokens["cookie"])).send().await.status, 200);
}

#[tokio::test]
async fn what_is_pending_opens_no_route_and_no_page() {
    let app = App::start().await;
    policy(&app, "{rate_limits,mfa}", &json!(10_000)).await;
    enrolled(&app, "officer").await;
    policy(&app, "{mfa,required_roles}", &json!(["auditor"])).await;
    let mut halfway = Browser::default();
    halfway.get(&app, "/login").await;
    let fields = [("tenant", "bank"), ("username", "officer"), ("password", PASSWORD)];
    halfway.post(&app, "/login", &fields).await;
    let step = &halfway.cookies.iter().find(|(name, _)| name.ends_with("-step")).unwrap().1;
    let pending = [pending(&app, "officer").await, pending(&app, "auditor").await, step.to_owned()];
    let filled = |path: &str| path.replace("{id}", "01890000-0000-7000-8000-000000000000");
    for token in &pending {
        for route in api::route_facts() {
            if matches!(route.access, api::Access::Public(_)) {
                continue;
            }
            let ask = app.ask(route.method.clone(), filled(route.path)).bearer(token);
            let answer = ask.json(&json!({})).send().await;
            assert_eq!((answer.status, answer.code()), (401, "invalid_token"), "{}", route.path);
        }
        for page in console::page_paths() {
            let method = page.method.to_uppercase().parse().unwrap();
            let ask = app.ask(method, filled(page.path)).header("accept", HTML);
            let answer = ask.header("cookie", &format!("__Host-strongroom={token}")).send().await;
            let refused = is_sent_away(&answer) || [401, 403].contains(&answer.status);
            assert!(refused, "{}: {} {}", page.path, answer.status, answer.text);
        }
    }
}

#[tokio::test]
async fn a_sign_in_answers_alike_whatever_becomes_of_the_name() {
    let app = App::start().await;
    app.identity.ensure_platform().await.unwrap();
    for _ in 0..5 {
        try_login(&app, &app.bank, "second", WRONG).await;
    }
    let sql = "UPDATE users SET is_active = false WHERE username_key = 'manager'; \
        UPDATE users SET password_hash = NULL WHERE username_key = 'auditor'; \
        UPDATE users SET staff_locked_at = now(), staff_lock_reason = 'suspected_fraud' \
        WHERE username_key = 'officer'";
    app.superuser.batch_execute(sql).await.unwrap();
    enrolled(&app, "admin").await;
    let table = [
        ("known", "bank", "customer", WRONG),
        ("by e-mail", "bank", "customer@bank.example", WRONG),
        ("with a factor", "bank", "admin", WRONG),
        ("locked", "bank", "second", PASSWORD),
        ("locked by staff", "bank", "officer", PASSWORD),
        ("disabled", "bank", "manager", PASSWORD),
        ("without a password", "bank", "auditor", PASSWORD),
        ("unknown", "bank", "nobody", PASSWORD),
        ("unknown e-mail", "bank", "nobody@bank.example", PASSWORD),
        ("impossible", "bank", "two words\u{202e}", PASSWORD),
        ("unknown tenant", "nowhere", "customer", PASSWORD),
    ];
    let mut answers = HashSet::new();
    for (fate, tenant, username, password) in table {
        let body = json!({ "tenant": tenant, "username": username, "password": password });
        let answer = app.post("/v1/auth/login").json(&body).send().await;
        assert_eq!((answer.status, answer.code()), (401, "invalid_credentials"), "{fate}");
        let mut names: Vec<_> = answer.headers.keys().map(ToString::to_string).collect();
        names.sort_unstable();
        let mut said = answer.body;
        let request = said.as_object_mut().unwrap().remove("request_id");
        let length = request.map(|id| id.as_str().unwrap().len());
        answers.insert(format!("{said} {names:?} {length:?}"));
    }
    assert_eq!(answers.len(), 1, "{answers:#?}");
}

#[tokio::test]
async fn a_reset_leaves_no_factor_out_and_ends_what_was_pending() {
    let app = App::start().await;
    policy(&app, "{rate_limits,mfa}", &json!(10_000)).await;
    let secret = enrolled(&app, "officer").await;
    let pending = pending(&app, "officer").await;
    let link = reset_token(&app, &app.bank, "officer", 1).await;
    let set = reset(&app, &link, NEXT).await;
    // It signs nobody in.
    assert_eq!((set.status, set.text.as_str()), (204, ""));
    assert!(set.headers.get("set-cookie").is_none());
    let code = totp(&secret, step_now(&app) + 1);
    let body = json!({ "mfa_token": pending, "code": code });
    let finished = app.post("/v1/auth/mfa/verify").json(&body).send().await;
    assert_eq!((finished.status, finished.code()), (401, "invalid_token"), "of the old password");
    let anew = try_login(&app, &app.bank, "officer", NEXT).await;
    assert_eq!(anew.body["mfa_required"], json!(true), "{}", anew.body);
    assert!(anew.body.get("access_token").is_none());
    let body = json!({ "mfa_token": anew.body["mfa_token"], "code": code });
    assert_eq!(app.post("/v1/auth/mfa/verify").json(&body).send().await.status, 200);
    // The steps in another order, or without the first: there is nothing to follow.
    let sql = "SELECT count(*) FROM one_time_tokens WHERE used_at IS NULL AND voided_at IS NULL";
    assert_eq!(app.superuser.query_one(sql, &[]).await.unwrap().get::<_, i64>(0), 0);
    let invented = format!("reset_{}_{}", app.bank.id.simple(), "A".repeat(43));
    assert!(is_link_refused(&reset(&app, &invented, NEXT).await));
}

#[tokio::test]
async fn a_link_opens_no_lock_of_staffs() {
    let app = App::start().await;
    let bank = &app.bank;
    let link = reset_token(&app, bank, "customer", 1).await;
    let manager = app.login(bank, "manager").await;
    let path = format!("/v1/users/{}/lock", bank.users["customer"]);
    let body = json!({ "reason": "suspected_fraud" });
    let locked = app.post(path).bearer(&manager).header("if-match", "*").json(&body).send().await;
    assert_eq!(locked.status, 200, "{}", locked.body);
    // Whether the link is followed or not, and with the old password or the new one.
    let followed = reset(&app, &link, NEXT).await.status;
    assert!([204, 422].contains(&followed), "{followed}");
    for password in [PASSWORD, NEXT] {
        assert_eq!(try_login(&app, bank, "customer", password).await.status, 401);
    }
    let sql = "SELECT count(*) FROM users WHERE staff_locked_at IS NOT NULL";
    assert_eq!(app.superuser.query_one(sql, &[]).await.unwrap().get::<_, i64>(0), 1);
    let live = "SELECT count(*) FROM user_sessions WHERE revoked_at IS NULL AND user_id = $1";
    let live = app.superuser.query_one(live, &[&bank.users["customer"]]).await.unwrap();
    assert_eq!(live.get::<_, i64>(0), 0);
}

#[tokio::test]
async fn odd_passwords_are_compared_whole_or_not_at_all() {
    let app = App::start().await;
    let bank = &app.bank;
    let token = app.login(bank, "customer").await;
    let nul = format!("{PASSWORD}\u{0}");
    let inside = PASSWORD.replace('-', "\u{0}");
    let (long, huge) = (PASSWORD.repeat(400), PASSWORD.repeat(50_000));
    for odd in [&nul, &inside, &long, &huge, "", "\u{0}"] {
        let answer = try_login(&app, bank, "customer", odd).await;
        assert!((400..500).contains(&answer.status), "{} bytes: {}", odd.len(), answer.status);
        for (old, new) in [(PASSWORD, odd), (odd, NEXT)] {
            let body = json!({ "current_password": old, "new_password": new });
            let answer = app.post("/v1/auth/password/change").bearer(&token).json(&body);
            let answer = answer.send().await;
            assert!((400..500).contains(&answer.status), "{} bytes: {}", odd.len(), answer.status);
        }
    }
    assert_eq!(try_login(&app, bank, "customer", PASSWORD).await.status, 200, "nothing changed");
    // 73 bytes, of which bcrypt alone would see 72.
    let whole = format!("Aa1-{}y", "x".repeat(68));
    assert_eq!(whole.len(), 73);
    let body = json!({ "current_password": PASSWORD, "new_password": whole });
    let changed = app.post("/v1/auth/password/change").bearer(&token).json(&body).send().await;
    assert_eq!(changed.status, 204, "{}", changed.body);
    for near in [whole[..72].to_owned(), format!("{}z", &whole[..72]), format!("{whole} ")] {
        assert_eq!(try_login(&app, bank, "customer", &near).await.status, 401, "{near}");
    }
    assert_eq!(try_login(&app, bank, "customer", &whole).await.status, 200);
}

#[tokio::test]
async fn what_was_planted_in_a_browser_is_nobodys_session_afterwards() {
    let app = App::start().await;
    policy(&app, "{rate_limits,mfa}", &json!(10_000)).await;
    let secret = enrolled(&app, "officer").await;
    let mallory = Browser::signed_in(&app, "bank", "second").await;
    // The victim's jar with the attacker's session in it, and the form of that session.
    let mut victim = Browser { cookies: mallory.cookies.clone(), token: String::new() };
    victim.get(&app, "/").await;
    let fields = [("tenant", "bank"), ("username", "officer"), ("password", PASSWORD)];
    assert_eq!(victim.post(&app, "/login", &fields).await.status, 303);
    let value = |browser: &Browser, end: &str| {
        let found = browser.cookies.iter().find(|(name, _)| name.ends_with(end));
        found.map(|(_, value)| value.clone()).unwrap_or_default()
    };
    let step = value(&victim, "-step");
    victim.get(&app, "/login/code?with=totp").await;
    let code = totp(&secret, step_now(&app) + 1);
    let fields = [("method", "totp"), ("code", code.as_str())];
    let entered = victim.post(&app, "/login/code", &fields).await;
    assert_eq!(entered.status, 303, "{}", entered.text);
    let (planted, fresh) =
        (value(&mallory, "__Host-strongroom"), value(&victim, "__Host-strongroom"));
    assert!(!fresh.is_empty() && fresh != planted && !fresh.contains(&step));
    // What the attacker knows opens her own things at most, and nothing of the victim's.
    for known in [&planted, &step] {
        let cookie = format!("__Host-strongroom={known}; __Host-strongroom-step={known}");
        let page = app.get("/").header("accept", HTML).header("cookie", &cookie).send().await;
        assert!(!page.text.contains("officer"), "{}", page.text);
    }
    let mut replayed = victim.clone();
    replayed.cookies = vec![("__Host-strongroom-step".to_owned(), step)];
    replayed.get(&app, "/login/code?with=totp").await;
    let fields = [("method", "totp"), ("code", code.as_str())];
    let again = replayed.post(&app, "/login/code", &fields).await;
    assert!(value(&replayed, "__Host-strongroom").is_empty(), "{} {}", again.status, again.text);
}

/// The links of one person do nothing for another of the same tenant, and say nothing.
#[tokio::test]
async fn a_link_sets_its_own_persons_password_alone() {
    let app = App::start().await;
    let bank = &app.bank;
    let link = reset_token(&app, bank, "customer", 1).await;
    let body = json!({ "token": link, "new_password": NEXT, "username": "second" });
    let smuggled = app.post("/v1/auth/password/reset").json(&body).send().await;
    assert!((400..500).contains(&smuggled.status), "{}", smuggled.body);
    assert_eq!(set_by(&app, "/v1/auth/password/reset", &link, NEXT).await.status, 204);
    assert_eq!(try_login(&app, bank, "second", NEXT).await.status, 401);
    assert_eq!(try_login(&app, bank, "second", PASSWORD).await.status, 200);
    let sent: Vec<_> = told(&app, bank).await.into_iter().map(|notice| notice.template).collect();
    assert_eq!(sent, ["password_reset", "password_changed"]);
}
