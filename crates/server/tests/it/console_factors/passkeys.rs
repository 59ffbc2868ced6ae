//! Passkeys over the console's forms, by an authenticator of our own: each ceremony, and
//! its answer sent twice, for another purpose, or by somebody else. `browser::passkeys`
//! does the same with a real browser.

use serde_json::{Value, json};
use tenancy::Blueprint;
use testkit::authenticator::{KeyKind, Passkey, UP};

use super::{LIST, between, codes, first_listed, first_step, policy};
use crate::{
    console::Browser,
    harness::{Answered, App, Bank},
};

/// `PUBLIC_URL` of the harness.
const SITE: &str = "http://localhost:8080";

/// A tenant that knows passkeys, beside the bank.
async fn cards(app: &App) -> Bank {
    let bank = app.add_tenant("cards", Blueprint::CardBank, None).await;
    // Every browser here is a new device.
    policy(app, &bank, "{mfa,on_new_device}", &json!(false)).await;
    policy(app, &bank, "{rate_limits,mfa}", &json!(100)).await;
    bank
}

fn unescaped(text: &str) -> String {
    text.replace("&#34;", "\"").replace("&quot;", "\"").replace("&#38;", "&").replace("&amp;", "&")
}

/// What the page asks the browser to make.
fn creation(page: &Answered) -> Value {
    let options = between(&page.text, "data-passkey=\"create\" data-options=\"", "\"");
    serde_json::from_str(&unescaped(options)).unwrap()
}

/// What a script is answered that asks for options.
async fn options(app: &App, browser: &mut Browser, path: &str, fields: &[(&str, &str)]) -> Value {
    let asked = browser.post(app, path, fields).await;
    assert_eq!(asked.status, 200, "{path}: {}", asked.text);
    assert_eq!(asked.header("content-type"), "application/json");
    assert!(asked.header("cache-control").contains("no-store"));
    serde_json::from_str(&asked.text).unwrap()
}

async fn send(app: &App, browser: &mut Browser, path: &str, credential: &Value) -> Answered {
    let credential = credential.to_string();
    browser.post(app, path, &[("credential", credential.as_str()), ("name", "Ring")]).await
}

/// Somebody signed in by password, who has just made a passkey; and their backup codes.
async fn enrolled(app: &App, bank: &Bank, username: &str) -> (Browser, Passkey, Vec<String>) {
    let mut browser = Browser::signed_in(app, &bank.slug, username).await;
    let page = browser.post(app, "/security/passkeys/new", &[]).await;
    assert_eq!(page.status, 200, "{}", page.text);
    let mut passkey = Passkey::new(KeyKind::Es256, SITE);
    let created = passkey.create(&creation(&page)).to_json();
    let made = send(app, &mut browser, "/security/passkeys", &created).await;
    assert_eq!(made.status, 200, "{}", made.text);
    let codes = codes(&made);
    assert_eq!(codes.len(), 10);
    // The same answer once more.
    let again = send(app, &mut browser, "/security/passkeys", &created).await;
    assert_ne!(again.status, 200, "a challenge is good once: {}", again.text);
    (browser, passkey, codes)
}

async fn sign_in(app: &App, bank: &Bank, passkey: &mut Passkey) -> (Browser, Answered, Value) {
    let mut browser = Browser::default();
    browser.get(app, "/login").await;
    let fields = [("tenant", bank.slug.as_str())];
    let options = options(app, &mut browser, "/login/passkey/options", &fields).await;
    assert_eq!(options["allowCredentials"], json!([]), "nobody is named");
    assert_eq!(options["userVerification"], "required");
    let proof = passkey.get(&options).to_json();
    let answer = send(app, &mut browser, "/login/passkey", &proof).await;
    (browser, answer, proof)
}

#[tokio::test]
async fn a_passkey_is_made_named_signs_in_and_is_taken_away() {
    let app = App::start().await;
    let bank = cards(&app).await;
    let (mut browser, mut passkey, _) = enrolled(&app, &bank, "customer").await;
    let list = browser.get(&app, LIST).await;
    let one = first_listed(&list);
    assert!(one.starts_with("/security/passkeys/") && list.text.contains("Ring"), "{}", list.text);
    assert!(list.text.contains("10 codes are left"));
    let seen = [("name", "Key in the safe"), ("version", "1")];
    assert_eq!(browser.post(&app, &one, &seen).await.status, 303);
    assert_eq!(browser.post(&app, &one, &seen).await.status, 412, "it is at the next one");
    assert!(browser.get(&app, &one).await.text.contains("Key in the safe"));

    let (mut entered, answer, proof) = sign_in(&app, &bank, &mut passkey).await;
    assert_eq!((answer.status, answer.header("location")), (303, "/"), "{}", answer.text);
    assert_eq!(entered.get(&app, "/security").await.status, 200);
    // What signed in once signs in no more, in whichever browser.
    let mut thief = Browser::default();
    thief.get(&app, "/login").await;
    let replayed = send(&app, &mut thief, "/login/passkey", &proof).await;
    assert_eq!(replayed.status, 401, "{}", replayed.text);
    assert!(replayed.text.contains("was not accepted"));
    // A passkey is a factor used just now: it may take itself away, where another one is left.
    entered.get(&app, &one).await;
    let only = entered.post(&app, &format!("{one}/remove"), &[]).await;
    assert!(only.status == 422 && only.text.contains("The only second factor stays"));
    app.another_factor(&bank, "customer").await;
    let removed = entered.post(&app, &format!("{one}/remove"), &[]).await;
    assert_eq!((removed.status, removed.header("location")), (303, LIST), "{}", removed.text);
    let (_, answer, _) = sign_in(&app, &bank, &mut passkey).await;
    assert_eq!(answer.status, 401, "{}", answer.text);
}

async fn first_step_in(app: &App, bank: &Bank, username: &str) -> (Browser, String) {
    first_step(app, bank, username, "/").await
}

#[tokio::test]
async fn after_the_password_a_passkey_is_the_second_step() {
    let app = App::start().await;
    let bank = cards(&app).await;
    let (_, mut passkey, codes) = enrolled(&app, &bank, "customer").await;
    let (mut browser, to) = first_step_in(&app, &bank, "customer").await;
    assert_eq!(to, "/login/code?with=passkey.backup&next=%2F");
    let page = browser.get(&app, &to).await;
    assert!(page.text.contains("data-options=\"/login/code/passkey/options\""), "{}", page.text);
    let path = "/login/code/passkey";
    let asked = options(&app, &mut browser, "/login/code/passkey/options", &[]).await;
    assert_eq!(asked["allowCredentials"].as_array().unwrap().len(), 1);
    // Somebody else's pending state does not take it.
    let (mut other, _) = first_step_in(&app, &bank, "customer").await;
    let proof = passkey.get(&asked).to_json();
    let crossed = send(&app, &mut other, path, &proof).await;
    assert_eq!(crossed.status, 401, "{}", crossed.text);
    // Nor does the sign-in without a name: it is for another purpose.
    let elsewhere = send(&app, &mut other, "/login/passkey", &proof).await;
    assert_eq!(elsewhere.status, 401, "{}", elsewhere.text);
    let entered = send(&app, &mut browser, path, &proof).await;
    assert_eq!((entered.status, entered.header("location")), (303, "/"), "{}", entered.text);
    assert_eq!(browser.get(&app, "/security").await.status, 200);
    // Without a script a backup code still does.
    let (mut paper, to) = first_step_in(&app, &bank, "customer").await;
    paper.get(&app, &to).await;
    let fields = [("method", "backup"), ("code", codes[0].as_str())];
    assert_eq!(paper.post(&app, "/login/code", &fields).await.status, 303);
}

#[tokio::test]
async fn a_passkey_steps_up_its_own_session_and_no_other() {
    let app = App::start().await;
    let bank = cards(&app).await;
    let (mut browser, mut passkey, _) = enrolled(&app, &bank, "customer").await;
    let mut elsewhere = Browser::default();
    {
        let (entered, answer, _) = sign_in(&app, &bank, &mut passkey).await;
        assert_eq!(answer.status, 303);
        elsewhere.cookies = entered.cookies;
    }
    let sql = "UPDATE user_sessions SET mfa_at = now() - interval '1 hour'";
    app.superuser.batch_execute(sql).await.unwrap();
    tokio::time::sleep(std::time::Duration::from_millis(1_100)).await;
    // A second passkey takes a factor used lately, now that there is one.
    browser.get(&app, LIST).await;
    let refused = browser.post(&app, "/security/passkeys/new", &[]).await;
    assert_eq!((refused.status, refused.header("location")), (303, "/step-up?next=%2F"));
    let asked = options(&app, &mut browser, "/step-up/passkey/options", &[]).await;
    let proof = passkey.get(&asked).to_json();
    elsewhere.get(&app, "/step-up").await;
    let crossed = send(&app, &mut elsewhere, "/step-up/passkey", &proof).await;
    assert_eq!(crossed.status, 401, "{}", crossed.text);
    let before = browser.clone();
    let proven = send(&app, &mut browser, "/step-up/passkey", &proof).await;
    assert_eq!((proven.status, proven.header("location")), (303, "/"), "{}", proven.text);
    assert!(crate::console::is_sent_away(&before.clone().get(&app, LIST).await));
    browser.get(&app, LIST).await;
    let page = browser.post(&app, "/security/passkeys/new", &[]).await;
    assert_eq!(page.status, 200, "{}", page.text);
    assert_eq!(creation(&page)["excludeCredentials"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn what_a_page_asked_one_session_to_make_no_other_registers() {
    let app = App::start().await;
    let bank = cards(&app).await;
    let mut browser = Browser::signed_in(&app, &bank.slug, "customer").await;
    let page = browser.post(&app, "/security/passkeys/new", &[]).await;
    let mut passkey = Passkey::new(KeyKind::EdDsa, SITE);
    let asked = creation(&page);
    let created = passkey.create(&asked).to_json();
    for username in ["customer", "admin"] {
        let mut other = Browser::signed_in(&app, &bank.slug, username).await;
        let refused = send(&app, &mut other, "/security/passkeys", &created).await;
        assert_eq!(refused.status, 422, "{username}: {}", refused.text);
    }
    // One that did not ask its owner is refused, and the page asks for another.
    let mut careless = Passkey::new(KeyKind::Es256, SITE);
    careless.flags = UP;
    let created_carelessly = careless.create(&asked).to_json();
    let refused = send(&app, &mut browser, "/security/passkeys", &created_carelessly).await;
    assert_eq!(refused.status, 422, "{}", refused.text);
    assert!(refused.text.contains("did not verify you"), "{}", refused.text);
    assert_ne!(creation(&refused)["challenge"], asked["challenge"]);
    // Its challenge is used, whatever the answer was.
    let late = send(&app, &mut browser, "/security/passkeys", &created).await;
    assert_eq!(late.status, 422, "{}", late.text);
    for credential in ["", "{", "[]", "null", "7", "{\"type\":\"public-key\"}"] {
        for path in ["/security/passkeys", "/step-up/passkey"] {
            let answer = browser.post(&app, path, &[("credential", credential)]).await;
            assert_eq!(answer.status, 400, "{path} {credential}: {}", answer.text);
        }
    }
    assert!(browser.get(&app, LIST).await.text.contains("Nothing yet"));
    // Hours after signing in nobody makes a first one.
    let sql = "UPDATE user_sessions SET created_at = now() - interval '1 hour'";
    app.superuser.batch_execute(sql).await.unwrap();
    let refused = browser.post(&app, "/security/passkeys/new", &[]).await;
    assert_eq!(refused.status, 403, "{}", refused.text);
    assert!(refused.text.contains("Sign in again first"), "{}", refused.text);
}

#[tokio::test]
async fn whose_role_requires_a_factor_makes_a_passkey_on_the_way_in() {
    let app = App::start().await;
    let bank = cards(&app).await;
    policy(&app, &bank, "{mfa,required_roles}", &json!(["customer"])).await;
    let (mut browser, to) = first_step(&app, &bank, "customer", "/security").await;
    let page = browser.get(&app, &to).await;
    assert!(page.text.contains("Make a passkey"), "{}", page.text);
    let fields = [("method", "passkey"), ("next", "/security")];
    let asked = browser.post(&app, "/login/factor", &fields).await;
    let mut passkey = Passkey::new(KeyKind::Es256, SITE);
    let created = passkey.create(&creation(&asked)).to_json();
    // Another's pending state, and a session of somebody else, do not take it.
    let (mut other, to) = first_step(&app, &bank, "customer", "/").await;
    other.get(&app, &to).await;
    let crossed = send(&app, &mut other, "/login/factor/passkey", &created).await;
    assert_eq!(crossed.status, 422, "{}", crossed.text);
    let mut admin = Browser::signed_in(&app, &bank.slug, "admin").await;
    let crossed = send(&app, &mut admin, "/security/passkeys", &created).await;
    assert_eq!(crossed.status, 422, "{}", crossed.text);
    let before = browser.clone();
    let done = send(&app, &mut browser, "/login/factor/passkey", &created).await;
    assert_eq!((done.status, codes(&done).len()), (200, 10), "{}", done.text);
    assert_eq!(browser.get(&app, "/security").await.status, 200);
    let again = send(&app, &mut before.clone(), "/login/factor/passkey", &created).await;
    assert_eq!(again.header("location"), "/login?why=expired", "{}", again.text);
    // The other sign-in, begun before, now has a factor to prove and nothing to enrol.
    let late = other.post(&app, "/login/factor", &[("method", "totp")]).await;
    assert_eq!(late.header("location"), "/login?why=expired", "{}", late.text);
    let (_, answer, _) = sign_in(&app, &bank, &mut passkey).await;
    assert_eq!(answer.status, 303, "{}", answer.text);
}

#[tokio::test]
async fn over_the_api_a_required_passkey_is_made_with_the_pending_token_alone() {
    let app = App::start().await;
    let bank = cards(&app).await;
    policy(&app, &bank, "{mfa,required_roles}", &json!(["customer"])).await;
    let login = json!({ "tenant": bank.slug, "username": "customer",
        "password": crate::harness::PASSWORD });
    let pending = async || {
        let first = app.post("/v1/auth/login").json(&login).send().await;
        assert_eq!(first.body["enrolment_required"], json!(true), "{}", first.body);
        first.body["mfa_token"].as_str().unwrap().to_owned()
    };
    let (token, other) = (pending().await, pending().await);
    let (browser, _) = first_step(&app, &bank, "customer", "/").await;
    let step = browser.cookies.iter().find(|(name, _)| name.ends_with("-step"));
    let of_the_console = step.unwrap().1.clone();
    let begin = |token: &str| json!({ "mfa_token": token, "method": "passkey" });
    let path = "/v1/auth/mfa/enrolment";
    let asked = app.post(path).json(&begin(&token)).send().await;
    assert_eq!(asked.status, 200, "{}", asked.body);
    let mut passkey = Passkey::new(KeyKind::Es256, SITE);
    let created = passkey.create(&asked.body["publicKey"]).to_json();
    let finish = |token: &str, more: Value| {
        let mut body = json!({ "mfa_token": token, "method": "passkey" });
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        body
    };
    let confirm =
        async |body: Value| app.post("/v1/auth/mfa/enrolment/confirm").json(&body).send().await;
    // body, status, code
    let table = [
        (finish(&token, json!({})), 400, "malformed_request"),
        (finish(&token, json!({ "code": "123456" })), 400, "malformed_request"),
        (
            json!({ "mfa_token": token, "method": "totp", "credential": created }),
            400,
            "malformed_request",
        ),
        (finish(&other, json!({ "credential": created })), 422, "passkey_not_accepted"),
        (finish("enrol_x_y", json!({ "credential": created })), 401, "invalid_token"),
        (finish(&of_the_console, json!({ "credential": created })), 401, "invalid_token"),
    ];
    for (body, status, code) in table {
        let answer = confirm(body.clone()).await;
        assert_eq!((answer.status, answer.code()), (status, code), "{body}: {}", answer.body);
    }
    let body = finish(&token, json!({ "credential": created, "name": "Ring" }));
    let done = confirm(body.clone()).await;
    assert_eq!((done.status, &done.body["method"]), (200, &json!("passkey")), "{}", done.body);
    assert_eq!(done.body["backup_codes"].as_array().unwrap().len(), 10);
    let access = done.body["access_token"].as_str().unwrap();
    let own = app.get("/v1/auth/webauthn/passkeys").bearer(access).send().await;
    assert_eq!(own.body["data"][0]["name"], "Ring", "{}", own.body);
    for token in [&token, &other, &of_the_console] {
        let late = confirm(finish(token, json!({ "credential": created }))).await;
        assert_eq!((late.status, late.code()), (401, "invalid_token"), "{}", late.body);
        let late = app.post(path).json(&begin(token)).send().await;
        assert_eq!((late.status, late.code()), (401, "invalid_token"), "{}", late.body);
    }
}
