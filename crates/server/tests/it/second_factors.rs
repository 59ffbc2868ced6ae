//! Second factors over HTTP and in the console: what the wire says, that a pending
//! token opens nothing else, and that what other people wrote reads our codes.

use std::process::Stdio;

use axum::http::Method;
use serde_json::{Value, json};
use tokio::{io::AsyncWriteExt as _, process::Command};

use crate::{
    console::Browser,
    harness::{Answered, App, PASSWORD},
};

/// RFC 6238 by its makers' friends: Debian's `oathtool`.
async fn oathtool(secret: &str, at: i64) -> String {
    let moment = format!("@{at}");
    run("oathtool", &["--totp", "--base32", "--now", &moment, secret], b"").await
}

/// Runs a program of somebody else's. Where it is missing the test fails and says so:
/// `scripts/test` installs it.
async fn run(program: &str, arguments: &[&str], input: &[u8]) -> String {
    let spawned = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let mut child = spawned
        .unwrap_or_else(|error| panic!("{program} is not installed ({error}); run scripts/test"));
    child.stdin.take().unwrap().write_all(input).await.unwrap();
    let output = child.wait_with_output().await.unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{program}: {said}");
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

fn now_s(app: &App) -> i64 {
    app.clock.now().as_second()
}

async fn first_step(app: &App, username: &str) -> Answered {
    let body = json!({ "tenant": "bank", "username": username, "password": PASSWORD });
    app.post("/v1/auth/login").json(&body).send().await
}

async fn verify(app: &App, body: &Value) -> Answered {
    app.post("/v1/auth/mfa/verify").json(body).send().await
}

/// Enrols an authenticator app; its secret, its last code's time, and backup codes.
async fn enrolled(app: &App, token: &str) -> (Value, i64, Vec<String>) {
    let setup = app.post("/v1/auth/mfa/setup").bearer(token).json(&json!({ "method": "totp" }));
    let setup = setup.send().await;
    assert_eq!(setup.status, 200, "{}", setup.body);
    // Not so near the end of a step that it is over before the code arrives.
    while now_s(app) % 30 > 24 {
        tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    }
    // The step before this one: the next two are left for signing in.
    let at = now_s(app) - 30;
    let code = oathtool(setup.body["manual_entry_key"].as_str().unwrap(), at).await;
    let confirm = app.post("/v1/auth/mfa/confirm").bearer(token).json(&json!({ "code": code }));
    let confirm = confirm.send().await;
    assert_eq!((confirm.status, &confirm.body["enabled"]), (200, &json!(true)), "{}", confirm.body);
    let codes = confirm.body["backup_codes"].as_array().unwrap();
    let codes = codes.iter().map(|code| code.as_str().unwrap().to_owned()).collect();
    (setup.body, at, codes)
}

#[tokio::test]
async fn a_client_signs_in_in_two_steps_with_the_codes_of_oathtool() {
    let app = App::start().await;
    raise_limit(&app).await;
    let token = app.login(&app.bank, "customer").await;
    let (setup, at, codes) = enrolled(&app, &token).await;
    assert_eq!(codes.len(), 10);
    let first = first_step(&app, "customer").await;
    assert_eq!((first.status, &first.body["mfa_required"]), (200, &json!(true)), "{}", first.body);
    assert_eq!(first.body["methods"], json!(["totp", "backup"]));
    assert_eq!(first.body["enrolment_required"], json!(false));
    assert!(first.body.get("access_token").is_none());
    let pending = first.body["mfa_token"].as_str().unwrap();
    let secret = setup["manual_entry_key"].as_str().unwrap();
    let two_away = oathtool(secret, at + 120).await;
    let wrong = verify(&app, &json!({ "mfa_token": pending, "code": two_away })).await;
    assert_eq!((wrong.status, wrong.code()), (401, "invalid_code"), "{}", wrong.body);
    let code = oathtool(secret, at + 30).await;
    let right = verify(&app, &json!({ "mfa_token": pending, "code": code })).await;
    assert_eq!(
        (right.status, right.body["method"].as_str()),
        (200, Some("totp")),
        "{}",
        right.body
    );
    let access = right.body["access_token"].as_str().unwrap();
    let me = app.get("/v1/auth/me").bearer(access).send().await;
    assert_eq!((me.status, &me.body["mfa_enabled"]), (200, &json!(true)));
    let again = verify(&app, &json!({ "mfa_token": pending, "code": code })).await;
    assert_eq!((again.status, again.code()), (401, "invalid_token"));
    let next = first_step(&app, "customer").await;
    let pending = next.body["mfa_token"].as_str().unwrap();
    let backup = verify(&app, &json!({ "mfa_token": pending, "code": codes[0] })).await;
    assert_eq!(backup.body["method"], "backup", "{}", backup.body);
    assert_eq!(backup.body["backup_codes_remaining"], 9);
    assert_eq!(backup.body["regenerate_backup_codes"], "advised");
}

#[tokio::test]
async fn the_qr_codes_say_the_address_to_zbar_and_the_address_to_pyotp() {
    let app = App::start().await;
    let token = app.login(&app.bank, "customer").await;
    let setup = app.post("/v1/auth/mfa/setup").bearer(&token).json(&json!({ "method": "totp" }));
    let setup = setup.send().await.body;
    let uri = setup["otpauth_uri"].as_str().unwrap();
    let picture =
        setup["qr_code"].as_str().unwrap().strip_prefix("data:image/png;base64,").unwrap();
    let picture = {
        use base64::{Engine as _, engine::general_purpose::STANDARD};
        STANDARD.decode(picture).unwrap()
    };
    let place = tempfile::tempdir().unwrap();
    let file = place.path().join("code.png");
    std::fs::write(&file, &picture).unwrap();
    let read = run("zbarimg", &["--quiet", "--raw", file.to_str().unwrap()], b"").await;
    assert_eq!(read, uri, "the picture says exactly the address");
    let drawn = place.path().join("drawn.png");
    let drawn = drawn.to_str().unwrap();
    let svg = setup["qr_code_svg"].as_str().unwrap();
    run("rsvg-convert", &["--width", "600", "--output", drawn], svg.as_bytes()).await;
    let read = run("zbarimg", &["--quiet", "--raw", drawn], b"").await;
    assert_eq!(read, uri, "and so does the drawing");
    // What an app makes of the address is the code that is due.
    let script = "import sys, pyotp\n\
                  totp = pyotp.parse_uri(sys.stdin.read())\n\
                  print(totp.interval, totp.digits, totp.issuer, totp.name, totp.now())";
    let parsed = run("/usr/bin/python3", &["-c", script], uri.as_bytes()).await;
    let parsed: Vec<&str> = parsed.split(' ').collect();
    assert_eq!(parsed[..4], ["30", "6", "UltraCore", "customer"]);
    let confirm = json!({ "code": parsed[4] });
    let confirm = app.post("/v1/auth/mfa/confirm").bearer(&token).json(&confirm).send().await;
    assert_eq!(confirm.status, 200, "{}", confirm.body);
}

#[tokio::test]
async fn a_pending_token_opens_no_route() {
    let app = App::start().await;
    let token = app.login(&app.bank, "customer").await;
    enrolled(&app, &token).await;
    let first = first_step(&app, "customer").await;
    let pending = first.body["mfa_token"].as_str().unwrap();
    for route in api::route_facts() {
        if matches!(route.access, api::Access::Public(_)) {
            continue;
        }
        let path = route.path.replace("{id}", "01890000-0000-7000-8000-000000000000");
        let asked =
            app.ask(route.method.clone(), path).bearer(pending).json(&json!({})).send().await;
        assert_eq!((asked.status, asked.code()), (401, "invalid_token"), "{}", route.path);
    }
    let refreshed = json!({ "refresh_token": pending });
    let refreshed = app.post("/v1/auth/refresh").json(&refreshed).send().await;
    assert_eq!((refreshed.status, refreshed.code()), (401, "invalid_token"));
    for path in ["/v1/auth/mfa/enrolment", "/v1/auth/mfa/enrolment/confirm"] {
        let mut body = json!({ "mfa_token": pending, "method": "totp" });
        if path.ends_with("confirm") {
            body["code"] = json!("123456");
        }
        let crossed = app.ask(Method::POST, path).json(&body).send().await;
        assert_eq!((crossed.status, crossed.code()), (401, "invalid_token"), "{path}");
    }
    for body in [
        json!({ "mfa_token": "x".repeat(1_000_000), "code": "1" }),
        json!({ "mfa_token": pending, "code": "1".repeat(1_000_000) }),
        json!({ "mfa_token": pending, "code": "12\u{0}456" }),
        json!({ "mfa_token": pending, "method": "palm", "code": "123456" }),
        json!({ "mfa_token": pending }),
    ] {
        let answer = verify(&app, &body).await;
        assert!((400..500).contains(&answer.status), "{}", answer.body);
    }
}

#[tokio::test]
async fn the_tenants_own_limit_stands_before_a_second_step() {
    let app = App::start_strict().await;
    let body = json!({
        "mfa_token": format!("mfa_{}_{}", app.bank.id.simple(), "A".repeat(43)), "code": "123456",
    });
    for _ in 0..3 {
        let answer = verify(&app, &body).await;
        assert_eq!((answer.status, answer.code()), (401, "invalid_token"), "{}", answer.body);
        assert!(answer.header("ratelimit-policy").starts_with("\"mfa\";q=3;w=60"));
    }
    let fourth = verify(&app, &body).await;
    assert_eq!((fourth.status, fourth.code()), (429, "rate_limited"));
    assert!(!fourth.header("retry-after").is_empty());
}

#[tokio::test]
async fn the_console_asks_for_the_code_as_well() {
    let app = App::start().await;
    raise_limit(&app).await;
    let token = app.login(&app.bank, "customer").await;
    let (setup, at, codes) = enrolled(&app, &token).await;
    let mut browser = Browser::default();
    browser.get(&app, "/login").await;
    let fields = [
        ("tenant", "bank"),
        ("username", "customer"),
        ("password", PASSWORD),
        ("next", "/accounts"),
    ];
    let first = browser.post(&app, "/login", &fields).await;
    let onward = first.header("location").to_owned();
    assert_eq!(first.status, 303, "{}", first.text);
    assert_eq!(onward, "/login/code?with=totp.backup&next=%2Faccounts");
    let cookies: Vec<&str> = browser.cookies.iter().map(|(name, _)| name.as_str()).collect();
    assert!(cookies.contains(&"__Host-strongroom-step"), "{cookies:?}");
    assert!(!cookies.contains(&"__Host-strongroom"), "no session yet");
    // The pending state is no session, and no API's token either.
    assert!(crate::console::is_sent_away(&browser.clone().get(&app, "/accounts").await));
    let pending = &browser.cookies.iter().find(|(name, _)| name.ends_with("-step")).unwrap().1;
    let crossed = verify(&app, &json!({ "mfa_token": pending, "code": codes[0] })).await;
    assert_eq!((crossed.status, crossed.code()), (401, "invalid_token"));
    let page = browser.get(&app, &onward).await;
    assert!(page.status == 200 && page.text.contains("one-time-code"), "{}", page.text);
    let wrong = browser.post(&app, "/login/code", &[("method", "totp"), ("code", "000000")]).await;
    assert_eq!(wrong.status, 401, "{}", wrong.text);
    let forged = browser.clone();
    let mut forged = Browser { token: "a".repeat(64), ..forged };
    let code = oathtool(setup["manual_entry_key"].as_str().unwrap(), at + 30).await;
    let fields = [("method", "totp"), ("code", code.as_str()), ("next", "/accounts")];
    assert_eq!(forged.post(&app, "/login/code", &fields).await.status, 403, "not our form");
    let entered = browser.post(&app, "/login/code", &fields).await;
    assert_eq!(
        (entered.status, entered.header("location")),
        (303, "/accounts"),
        "{}",
        entered.text
    );
    assert_eq!(browser.get(&app, "/accounts").await.status, 200);
    assert!(!browser.cookies.iter().any(|(name, _)| name.ends_with("-step")), "dropped");
    let mut stranger = Browser::default();
    assert_eq!(stranger.get(&app, "/login/code").await.header("location"), "/login");
}

#[tokio::test]
async fn whose_role_requires_a_factor_enrols_it_over_the_api_and_gets_in() {
    let app = App::start().await;
    let sql = "UPDATE security_policies SET policy = \
         jsonb_set(policy, '{mfa,required_roles}', '[\"auditor\"]') WHERE tenant_id = $1";
    app.superuser.execute(sql, &[&app.bank.id]).await.unwrap();
    tokio::time::sleep(std::time::Duration::from_millis(1_100)).await;
    let first = first_step(&app, "auditor").await;
    assert_eq!(first.body["enrolment_required"], json!(true), "{}", first.body);
    let pending = first.body["mfa_token"].as_str().unwrap();
    let body = json!({ "mfa_token": pending, "method": "totp", "name": "Desk" });
    let setup = app.post("/v1/auth/mfa/enrolment").json(&body).send().await;
    assert_eq!(setup.status, 200, "{}", setup.body);
    let code = oathtool(setup.body["manual_entry_key"].as_str().unwrap(), now_s(&app)).await;
    let body = json!({ "mfa_token": pending, "code": code });
    let done = app.post("/v1/auth/mfa/enrolment/confirm").json(&body).send().await;
    assert_eq!((done.status, &done.body["enabled"]), (200, &json!(true)), "{}", done.body);
    assert_eq!(done.body["backup_codes"].as_array().unwrap().len(), 10);
    let access = done.body["access_token"].as_str().unwrap();
    let factors = app.get("/v1/auth/mfa/methods").bearer(access).send().await;
    assert_eq!(factors.body["data"][0]["name"], "Desk", "{}", factors.body);
    assert_eq!(factors.body["data"][1]["remaining"], 10);
}

/// Tests share one address.
async fn raise_limit(app: &App) {
    let sql = "UPDATE security_policies SET policy = jsonb_set(policy, '{rate_limits,mfa}', '100') \
         WHERE tenant_id = $1";
    app.superuser.execute(sql, &[&app.bank.id]).await.unwrap();
    tokio::time::sleep(std::time::Duration::from_millis(1_100)).await;
}
