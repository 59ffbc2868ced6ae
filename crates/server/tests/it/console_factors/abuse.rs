//! What these pages refuse: another's pending state or factor, a form that is not ours, a
//! way to another host, one code used twice at once.

use futures_util::future::join_all;
use serde_json::json;
use uuid::Uuid;

use super::{
    HTML, Holder, LIST, bank, code, codes, early_in_a_step, first_listed, first_step, key, policy,
    post_from,
};
use crate::{
    console::{Browser, is_sent_away},
    harness::{Answered, App},
};

/// Forms that take a pending state, and something to send them.
const PENDING: [(&str, &[(&str, &str)]); 5] = [
    ("/login/code", &[("method", "totp"), ("code", "123456")]),
    ("/login/code", &[("send", "sms")]),
    ("/login/factor", &[("method", "totp")]),
    ("/login/factor/confirm", &[("method", "totp"), ("code", "123456")]),
    ("/login/factor", &[("method", "passkey")]),
];

fn is_over(answer: &Answered) -> bool {
    answer.status == 303 && answer.header("location") == "/login?why=expired"
}

async fn count(app: &App, sql: &str, user: Uuid) -> i64 {
    app.superuser.query_one(sql, &[&user]).await.unwrap().get(0)
}

#[tokio::test]
async fn a_pending_state_is_good_for_one_thing_in_one_browser() {
    let app = bank().await;
    Holder::new(&app, "customer").await;
    policy(&app, &app.bank, "{mfa,required_roles}", &json!(["auditor"])).await;
    let (mut prover, _) = first_step(&app, &app.bank, "customer", "/").await;
    let (mut enroller, _) = first_step(&app, &app.bank, "auditor", "/").await;
    // Each is over where the other belongs, and stands all the same.
    let kept = (prover.clone(), enroller.clone());
    for (path, fields) in PENDING {
        let crossed = if path == "/login/code" { &mut enroller } else { &mut prover };
        crossed.get(&app, "/login").await;
        let answer = crossed.post(&app, path, fields).await;
        assert!(is_over(&answer), "{path} {fields:?}: {} {}", answer.status, answer.text);
        (prover, enroller) = kept.clone();
    }
    // Taken to another browser it opens nothing there.
    for (path, fields) in PENDING {
        let thief = if path == "/login/code" { &mut prover } else { &mut enroller };
        thief.get(&app, "/login").await;
        let mut whole = vec![("csrf", thief.token.as_str())];
        whole.extend_from_slice(fields);
        let answer = app
            .post(path)
            .header("accept", HTML)
            .header("cookie", &thief.jar())
            .header("sec-fetch-site", "same-origin")
            .header("user-agent", "another browser")
            .form(&whole)
            .send()
            .await;
        assert!(is_over(&answer), "{path} {fields:?}: {} {}", answer.status, answer.text);
    }
    // Without one, and with one that nobody gave out.
    let mut nobody = Browser::default();
    nobody.get(&app, "/login").await;
    for (path, fields) in PENDING {
        assert!(is_over(&nobody.post(&app, path, fields).await), "{path}");
        let kind = if path == "/login/code" { "mfa" } else { "enrol" };
        let forged = format!("{kind}_{}_{}", app.bank.id.simple(), "A".repeat(43));
        let mut liar = nobody.clone();
        liar.cookies.push(("__Host-strongroom-step".to_owned(), forged));
        assert!(is_over(&liar.post(&app, path, fields).await), "{path}");
    }
    for path in ["/login/code", "/login/factor"] {
        assert_eq!(nobody.get(&app, path).await.header("location"), "/login", "{path}");
    }
    // None of it was an attempt at their codes.
    let sql = "SELECT count(*) FROM mfa_verification_attempts WHERE user_id = $1 AND outcome <> 'success'";
    assert_eq!(count(&app, sql, app.bank.users["auditor"]).await, 0);
}

#[tokio::test]
async fn a_pending_state_opens_no_page_and_sends_no_form_of_the_signed_in() {
    let app = bank().await;
    policy(&app, &app.bank, "{mfa,required_roles}", &json!(["auditor"])).await;
    let (mut browser, _) = first_step(&app, &app.bank, "auditor", "/").await;
    let step = browser.cookies.iter().find(|(name, _)| name.ends_with("-step")).unwrap().clone();
    let mut as_session = browser.clone();
    as_session.cookies.push(("__Host-strongroom".to_owned(), step.1));
    for console::PagePath { method, path, .. } in console::page_paths() {
        let address = path.replace("{id}", "01890000-0000-7000-8000-000000000000");
        let ask = |browser: &Browser| {
            app.ask(method.to_uppercase().parse().unwrap(), address.clone())
                .header("accept", HTML)
                .header("cookie", &browser.jar())
                .header("sec-fetch-site", "same-origin")
        };
        let answer = ask(&browser).form(&[("csrf", browser.token.as_str())]).send().await;
        assert!(is_sent_away(&answer), "{method} {path}: {} {}", answer.status, answer.text);
        let answer = ask(&as_session).send().await;
        assert_eq!(answer.status, 401, "{method} {path}: a cookie that we never gave out");
    }
    browser.get(&app, "/login/factor").await;
    assert_eq!(browser.post(&app, "/login/factor", &[("method", "totp")]).await.status, 200);
}

#[tokio::test]
async fn a_form_that_is_not_ours_changes_nothing() {
    let app = bank().await;
    let mut holder = Holder::new(&app, "customer").await;
    policy(&app, &app.bank, "{mfa,required_roles}", &json!(["auditor"])).await;
    let list = holder.browser.get(&app, LIST).await;
    let one = first_listed(&list);
    let state = "SELECT sum(version)::bigint + (SELECT count(*) FROM mfa_configs) \
         + (SELECT count(*) FROM mfa_challenges) + (SELECT count(*) FROM webauthn_challenges) \
         + (SELECT count(*) FROM mfa_backup_codes WHERE used_at IS NULL) FROM users WHERE id <> $1";
    let (pending, _) = first_step(&app, &app.bank, "auditor", "/").await;
    let before = count(&app, state, Uuid::nil()).await;
    let signed_in = [
        one.clone(),
        format!("{one}/remove"),
        "/security/factors/new".to_owned(),
        "/security/factors/confirm".to_owned(),
        "/security/passkeys".to_owned(),
        "/security/passkeys/new".to_owned(),
        "/security/backup-codes".to_owned(),
        "/step-up".to_owned(),
        "/step-up/passkey".to_owned(),
        "/step-up/passkey/options".to_owned(),
    ];
    let strangers = [
        "/login/passkey",
        "/login/passkey/options",
        "/login/code/passkey",
        "/login/code/passkey/options",
        "/login/factor",
        "/login/factor/confirm",
        "/login/factor/passkey",
    ];
    let paths = signed_in.iter().map(|path| (path.as_str(), &holder.browser));
    for (path, browser) in paths.chain(strangers.iter().map(|path| (*path, &pending))) {
        let (own, foreign) = (browser.token.clone(), "a".repeat(64));
        // The token and where the browser says that it comes from.
        let table = [
            ("", "same-origin"),
            (foreign.as_str(), "same-origin"),
            (own.as_str(), "cross-site"),
            (own.as_str(), "same-site"),
        ];
        for (token, site) in table {
            let fields = [("csrf", token), ("method", "totp"), ("code", "123456"), ("name", "x")];
            let answer = app
                .post(path)
                .header("accept", HTML)
                .header("cookie", &browser.jar())
                .header("sec-fetch-site", site)
                .form(&fields)
                .send()
                .await;
            assert_eq!(answer.status, 403, "{path} from {site}: {}", answer.text);
            assert!(answer.text.contains("This form is no longer valid"), "{path}");
        }
    }
    assert_eq!(count(&app, state, Uuid::nil()).await, before);
}

#[tokio::test]
async fn nobody_reaches_the_factors_of_somebody_else() {
    let app = bank().await;
    let mut owner = Holder::new(&app, "customer").await;
    let list = owner.browser.get(&app, LIST).await;
    let one = first_listed(&list);
    for username in ["second", "super_admin"] {
        let mut other = Holder::new(&app, username).await;
        other.step_up(&app, LIST, 0).await;
        assert_eq!(other.browser.get(&app, &one).await.status, 404, "{username}");
        let renamed = other.browser.post(&app, &one, &[("name", "Mine")]).await;
        assert_eq!(renamed.status, 404, "{username}: {}", renamed.text);
        let removed = other.browser.post(&app, &format!("{one}/remove"), &[]).await;
        assert_eq!(removed.status, 404, "{username}: {}", removed.text);
        // Their own code confirms nothing of the owner's.
        let waiting = other.browser.get(&app, "/security/factors/confirm").await;
        assert_eq!(waiting.header("location"), LIST);
    }
    assert!(owner.browser.get(&app, &one).await.text.contains("Authenticator app"));
}

#[tokio::test]
async fn the_way_back_stays_on_this_host() {
    let app = bank().await;
    let mut holder = Holder::new(&app, "customer").await;
    let evil = [
        "//evil.example",
        "/\\evil.example",
        "https://evil.example/",
        "javascript:alert(1)",
        "/\t/evil.example",
        "accounts",
    ];
    for next in evil {
        let path = format!("/step-up?next={}", percent(next));
        let page = holder.browser.get(&app, &path).await;
        assert!(page.text.contains("name=\"next\" value=\"/\""), "{next}: {}", page.text);
        assert!(!page.text.contains("evil"), "{next}");
        for path in ["/security/backup-codes", "/login/factor"] {
            let page = holder.browser.get(&app, &format!("{path}?next={}", percent(next))).await;
            assert!(!page.text.contains("evil"), "{path} {next}");
        }
    }
    // What the form says is no more believed than the address.
    let proven = holder.step_up(&app, evil[0], 0).await;
    assert_eq!((proven.status, proven.header("location")), (303, "/"), "{}", proven.text);
    // Nor is the page that a refused form says it was on.
    let sql = "UPDATE user_sessions SET mfa_at = now() - interval '1 hour'";
    app.superuser.batch_execute(sql).await.unwrap();
    tokio::time::sleep(std::time::Duration::from_millis(1_100)).await;
    let table = [
        (
            "http://localhost/security/backup-codes?x=1",
            "/step-up?next=%2Fsecurity%2Fbackup-codes%3Fx%3D1",
        ),
        ("http://evil.example/security/backup-codes", "/step-up?next=%2F"),
        ("http://localhost.evil.example/x", "/step-up?next=%2F"),
        ("http://localhost//evil.example/x", "/step-up?next=%2F"),
        ("http://localhost/step-up?next=/x", "/step-up?next=%2F"),
        ("nonsense", "/step-up?next=%2F"),
    ];
    for (referrer, to) in table {
        let refused =
            post_from(&app, &mut holder.browser, "/security/backup-codes", referrer).await;
        assert_eq!((refused.status, refused.header("location")), (303, to), "{referrer}");
    }
    // A script is told the way, not redirected into its answer.
    let fragment = app
        .post("/security/backup-codes")
        .header("cookie", &holder.browser.jar())
        .header("sec-fetch-site", "same-origin")
        .header("hx-request", "true")
        .form(&[("csrf", holder.browser.token.as_str())])
        .send()
        .await;
    assert_eq!((fragment.status, fragment.header("hx-redirect")), (403, "/step-up?next=%2F"));
}

fn percent(text: &str) -> String {
    text.bytes().fold(String::new(), |text, byte| text + &format!("%{byte:02x}"))
}

#[tokio::test]
async fn one_first_code_confirms_once_however_often_it_is_sent_at_once() {
    let app = bank().await;
    policy(&app, &app.bank, "{mfa,required_roles}", &json!(["auditor"])).await;
    early_in_a_step(&app).await;
    let mut signed_in = Browser::signed_in(&app, "bank", "customer").await;
    let own = signed_in.post(&app, "/security/factors/new", &[("method", "totp")]).await;
    let (mut pending, to) = first_step(&app, &app.bank, "auditor", "/").await;
    pending.get(&app, &to).await;
    let led = pending.post(&app, "/login/factor", &[("method", "totp")]).await;
    let table = [
        ("/security/factors/confirm", "customer", signed_in, key(&own)),
        ("/login/factor/confirm", "auditor", pending, key(&led)),
    ];
    for (path, username, browser, secret) in table {
        let code = code(&app, &secret, 0);
        let fields = [("method", "totp"), ("code", code.as_str())];
        let sending = (0..4).map(|_| {
            let mut browser = browser.clone();
            let app = &app;
            async move { browser.post(app, path, &fields).await }
        });
        let answers = join_all(sending).await;
        let shown: Vec<_> = answers.iter().filter(|answer| answer.status == 200).collect();
        assert_eq!(shown.len(), 1, "{path}: {answers:?}");
        let shown = codes(shown[0]);
        assert_eq!(shown.len(), 10);
        let user = app.bank.users[username];
        let sql = "SELECT count(*) FROM mfa_backup_codes WHERE user_id = $1";
        assert_eq!(count(&app, sql, user).await, 10, "{path}: one set");
        let sql = "SELECT count(*) FROM user_sessions WHERE user_id = $1 AND revoked_at IS NULL";
        assert_eq!(count(&app, sql, user).await, 1, "{path}: one session");
        // The codes that were shown are the ones that count.
        let (mut browser, to) = first_step(&app, &app.bank, username, "/").await;
        browser.get(&app, &to).await;
        let fields = [("method", "backup"), ("code", shown[0].as_str())];
        let entered = browser.post(&app, "/login/code", &fields).await;
        assert_eq!(entered.status, 303, "{path}: {}", entered.text);
    }
}

#[tokio::test]
async fn wrong_codes_are_charged_here_as_at_the_api() {
    let app = App::start().await;
    policy(&app, &app.bank, "{rate_limits,mfa}", &json!(100)).await;
    let mut holder = Holder::new(&app, "customer").await;
    let wrong = [("method", "totp"), ("code", "000000")];
    holder.browser.get(&app, "/step-up").await;
    for _ in 0..4 {
        let answer = holder.browser.post(&app, "/step-up", &wrong).await;
        assert_eq!(answer.status, 401, "{}", answer.text);
        assert!(answer.text.contains("Check it and try again"), "{}", answer.text);
    }
    let fifth = holder.browser.post(&app, "/step-up", &wrong).await;
    assert_eq!(fifth.status, 403, "{}", fifth.text);
    assert!(fifth.text.contains("try again in 15 minutes"), "{}", fifth.text);
    let right = holder.step_up(&app, "/", 0).await;
    assert_eq!(right.status, 403, "locked is locked: {}", right.text);
    assert!(holder.browser.get(&app, LIST).await.status == 200, "the session goes on");
}
