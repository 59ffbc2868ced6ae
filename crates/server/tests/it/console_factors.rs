//! One's own second factors in the console: set up on the way in, from the list, proven
//! again, used up; and what these pages refuse.

mod abuse;
mod passkeys;

use serde_json::{Value, json};

use crate::{
    console::{Browser, is_sent_away},
    harness::{Answered, App, Bank, PASSWORD},
    identity::factor_world::totp,
};

const HTML: &str = "text/html";
const LIST: &str = "/security/factors";

/// What the authenticator app shows now, so many steps away.
fn code(app: &App, secret: &str, steps: i64) -> String {
    totp(secret, app.clock.now().as_second() / 30 + steps)
}

/// Not so near the end of a step that it is over before the code arrives.
async fn early_in_a_step(app: &App) {
    while app.clock.now().as_second() % 30 > 20 {
        tokio::time::sleep(std::time::Duration::from_millis(500)).await;
    }
}

/// The text between two marks.
fn between<'a>(text: &'a str, from: &str, to: &str) -> &'a str {
    let (_, rest) = text.split_once(from).unwrap_or_else(|| panic!("no {from} in {text}"));
    rest.split_once(to).unwrap_or_else(|| panic!("no {to} after {from}")).0
}

/// The key on a page that sets an app up.
fn key(page: &Answered) -> String {
    between(&page.text, "class=\"key-text\">", "<").replace(' ', "")
}

/// The backup codes on the one page that shows them.
fn codes(page: &Answered) -> Vec<String> {
    let list = between(&page.text, "class=\"codes-list\">", "</ol>");
    let codes = list.split("<code>").skip(1);
    codes.map(|rest| rest.split('<').next().unwrap().to_owned()).collect()
}

/// Changes the tenant's policy at a path, and waits until every node knows.
async fn policy(app: &App, bank: &Bank, path: &str, value: &Value) {
    let sql = "UPDATE security_policies SET policy = jsonb_set(policy, $2::text::text[], $3) \
         WHERE tenant_id = $1";
    app.superuser.execute(sql, &[&bank.id, &path, value]).await.unwrap();
    tokio::time::sleep(std::time::Duration::from_millis(1_100)).await;
}

/// A bank whose limits of verifications no test meets.
async fn bank() -> App {
    let app = App::start().await;
    policy(&app, &app.bank, "{rate_limits,mfa}", &json!(100)).await;
    app
}

/// The first step of a sign-in, and where it leads.
async fn first_step(app: &App, bank: &Bank, username: &str, next: &str) -> (Browser, String) {
    let mut browser = Browser::default();
    browser.get(app, "/login").await;
    let fields = [
        ("tenant", bank.slug.as_str()),
        ("username", username),
        ("password", PASSWORD),
        ("next", next),
    ];
    let answer = browser.post(app, "/login", &fields).await;
    assert_eq!(answer.status, 303, "{}", answer.text);
    let to = answer.header("location").to_owned();
    (browser, to)
}

/// Somebody signed in who has set an app up in this session.
struct Holder {
    browser: Browser,
    secret: String,
    codes: Vec<String>,
}

impl Holder {
    /// Their app's code of the step before this one is used; this one and the next are left.
    async fn new(app: &App, username: &str) -> Self {
        let mut browser = Browser::signed_in(app, "bank", username).await;
        early_in_a_step(app).await;
        let page = browser.post(app, "/security/factors/new", &[("method", "totp")]).await;
        assert_eq!(page.status, 200, "{}", page.text);
        let secret = key(&page);
        let first = code(app, &secret, -1);
        let fields = [("method", "totp"), ("code", first.as_str())];
        let page = browser.post(app, "/security/factors/confirm", &fields).await;
        assert_eq!(page.status, 200, "{}", page.text);
        Self { browser, secret, codes: codes(&page) }
    }

    /// Proves the app again, and goes on where it leads.
    async fn step_up(&mut self, app: &App, next: &str, steps: i64) -> Answered {
        let code = code(app, &self.secret, steps);
        let fields = [("method", "totp"), ("code", code.as_str()), ("next", next)];
        let answer = self.browser.post(app, "/step-up", &fields).await;
        self.browser.get(app, LIST).await;
        answer
    }
}

/// Sends a form as a browser does that says which page it is on.
async fn post_from(app: &App, browser: &mut Browser, path: &str, referrer: &str) -> Answered {
    let token = browser.token.clone();
    app.post(path)
        .header("accept", HTML)
        .header("cookie", &browser.jar())
        .header("sec-fetch-site", "same-origin")
        .header("referer", referrer)
        .form(&[("csrf", token.as_str())])
        .send()
        .await
}

/// The address of the first factor on the list.
fn first_listed(page: &Answered) -> String {
    between(&page.text, "class=\"row-link\" href=\"", "\"").to_owned()
}

#[tokio::test]
async fn whose_role_requires_a_factor_is_led_through_setting_one_up_and_in() {
    let app = bank().await;
    policy(&app, &app.bank, "{mfa,required_roles}", &json!(["auditor"])).await;
    let (mut browser, to) = first_step(&app, &app.bank, "auditor", "/audit").await;
    assert_eq!(to, "/login/factor?next=%2Faudit");
    let choice = browser.get(&app, &to).await;
    assert_eq!(choice.status, 200, "{}", choice.text);
    assert!(choice.text.contains("Set up an authenticator app"), "{}", choice.text);
    assert!(!choice.text.contains("Make a passkey"), "the bank has none: {}", choice.text);
    for page in console::page_paths().into_iter().filter(|page| page.method == "get") {
        let path = page.path.replace("{id}", "01890000-0000-7000-8000-000000000000");
        assert!(is_sent_away(&browser.get(&app, &path).await), "{path}: no session yet");
    }
    browser.get(&app, &to).await;
    early_in_a_step(&app).await;
    let fields = [("method", "totp"), ("next", "/audit")];
    let page = browser.post(&app, "/login/factor", &fields).await;
    assert_eq!(page.status, 200, "{}", page.text);
    assert!(page.text.contains("<svg") && !page.text.contains("<?xml"), "{}", page.text);
    assert!(page.header("cache-control").contains("no-store"));
    let secret = key(&page);
    let wrong = [("method", "totp"), ("code", "000000"), ("next", "/audit")];
    let wrong = browser.post(&app, "/login/factor/confirm", &wrong).await;
    assert_eq!(wrong.status, 401, "{}", wrong.text);
    assert!(wrong.text.contains("not the one that is due") && !wrong.text.contains(&secret[..4]));
    let before = browser.clone();
    let right = code(&app, &secret, 0);
    let fields = [("method", "totp"), ("code", right.as_str()), ("next", "/audit")];
    let done = browser.post(&app, "/login/factor/confirm", &fields).await;
    assert_eq!(done.status, 200, "{}", done.text);
    assert_eq!(codes(&done).len(), 10, "{}", done.text);
    assert!(done.text.contains("href=\"/audit\""), "the way on: {}", done.text);
    let names: Vec<&str> = browser.cookies.iter().map(|(name, _)| name.as_str()).collect();
    assert!(names.contains(&"__Host-strongroom") && !names.contains(&"__Host-strongroom-step"));
    assert_eq!(browser.get(&app, "/audit").await.status, 200);
    // The pending state is used up, and the factor is asked for from now on.
    let mut before = before;
    let again = before.post(&app, "/login/factor/confirm", &fields).await;
    assert_eq!(again.header("location"), "/login?why=expired", "{}", again.text);
    let (_, to) = first_step(&app, &app.bank, "auditor", "/").await;
    assert!(to.starts_with("/login/code?with=totp.backup"), "{to}");
}

#[tokio::test]
async fn an_app_is_set_up_named_and_taken_away_by_who_proves_it() {
    let app = bank().await;
    let mut holder = Holder::new(&app, "customer").await;
    assert_eq!(holder.codes.len(), 10);
    let list = holder.browser.get(&app, LIST).await;
    assert!(list.text.contains("Authenticator app") && list.text.contains("10 codes are left"));
    assert!(!list.text.contains("Set up an authenticator app"), "one is enough: {}", list.text);
    let one = first_listed(&list);
    let long = "n".repeat(65);
    for name in ["", long.as_str()] {
        let answer = holder.browser.post(&app, &one, &[("name", name)]).await;
        assert_eq!(answer.status, 422, "{}", answer.text);
    }
    assert!(holder.browser.get(&app, &one).await.text.contains(r#"name="version" value="2""#));
    let seen = [("name", "Work <phone>"), ("version", "2")];
    let renamed = holder.browser.post(&app, &one, &seen).await;
    assert_eq!((renamed.status, renamed.header("location")), (303, LIST));
    // Drawn before that, sent after it: nothing is done.
    let stale = holder.browser.post(&app, &one, &[("name", "Late"), ("version", "2")]).await;
    assert_eq!(stale.status, 412, "{}", stale.text);
    assert!(stale.text.contains("It was changed meanwhile") && !stale.text.contains("Late"));
    let list = holder.browser.get(&app, LIST).await;
    assert!(list.text.contains("Work &#60;phone&#62;") || list.text.contains("Work &lt;phone&gt;"));
    // Not proven in this session: to the step-up, and back to the form, which is sent anew.
    let referrer = format!("http://localhost{one}");
    let path = format!("{one}/remove");
    let refused = post_from(&app, &mut holder.browser, &path, &referrer).await;
    let to = format!("/step-up?next={}", one.replace('/', "%2F"));
    assert_eq!((refused.status, refused.header("location")), (303, to.as_str()));
    let page = holder.browser.get(&app, &to).await;
    assert!(page.status == 200 && page.text.contains("one-time-code"), "{}", page.text);
    let before = holder.browser.clone();
    let wrong = [("method", "totp"), ("code", "000000")];
    assert_eq!(holder.browser.post(&app, "/step-up", &wrong).await.status, 401);
    let proven = holder.step_up(&app, &one, 0).await;
    assert_eq!((proven.status, proven.header("location")), (303, one.as_str()), "{}", proven.text);
    assert!(is_sent_away(&before.clone().get(&app, LIST).await), "another cookie took its place");
    assert!(holder.browser.get(&app, &one).await.text.contains("Remove it"), "it is still there");
    // Nobody is left without one, or a stolen session would take it away for good.
    let only = holder.browser.post(&app, &path, &[]).await;
    assert_eq!(only.status, 422, "{}", only.text);
    assert!(only.text.contains("The only second factor stays"), "{}", only.text);
    app.another_factor(&app.bank, "customer").await;
    let removed = holder.browser.post(&app, &path, &[]).await;
    assert_eq!((removed.status, removed.header("location")), (303, LIST), "{}", removed.text);
    assert_eq!(holder.browser.get(&app, &one).await.status, 404);
}

#[tokio::test]
async fn a_new_set_of_codes_takes_a_fresh_proof_and_voids_the_old_one() {
    let app = bank().await;
    let mut holder = Holder::new(&app, "customer").await;
    let path = "/security/backup-codes";
    let page = holder.browser.get(&app, path).await;
    assert!(page.text.contains("<strong>10 codes</strong> are left"), "{}", page.text);
    let referrer = "http://localhost/security/backup-codes";
    let refused = post_from(&app, &mut holder.browser, path, referrer).await;
    assert_eq!(refused.header("location"), "/step-up?next=%2Fsecurity%2Fbackup-codes");
    holder.step_up(&app, path, 0).await;
    let made = holder.browser.post(&app, path, &[("next", "/accounts")]).await;
    assert_eq!(made.status, 200, "{}", made.text);
    assert!(made.text.contains("data-print") && made.text.contains("href=\"/accounts\""));
    let new = codes(&made);
    assert!(new.len() == 10 && new.iter().all(|code| !holder.codes.contains(code)));
    assert!(!holder.browser.get(&app, path).await.text.contains(&new[0]), "shown once");
    let (mut browser, _) = first_step(&app, &app.bank, "customer", "/").await;
    let old = [("method", "backup"), ("code", holder.codes[0].as_str())];
    assert_eq!(browser.post(&app, "/login/code", &old).await.status, 401);
    let right = [("method", "backup"), ("code", new[0].as_str()), ("next", "/accounts")];
    let entered = browser.post(&app, "/login/code", &right).await;
    // In, and led to a new set, which can wait.
    let to = "/security/backup-codes?used=yes&next=%2Faccounts";
    assert_eq!((entered.status, entered.header("location")), (303, to), "{}", entered.text);
    let page = browser.get(&app, to).await;
    assert!(page.text.contains("href=\"/accounts\">Later"), "{}", page.text);
    assert_eq!(browser.get(&app, "/accounts").await.status, 200);
}

/// Uses up all codes of somebody but so many.
async fn leave_codes(app: &App, username: &str, left: i64) {
    let sql = "UPDATE mfa_backup_codes SET used_at = now() WHERE user_id = $1 AND id IN \
         (SELECT id FROM mfa_backup_codes WHERE user_id = $1 ORDER BY used_at NULLS FIRST, id OFFSET $2)";
    app.superuser.execute(sql, &[&app.bank.users[username], &left]).await.unwrap();
    tokio::time::sleep(std::time::Duration::from_millis(1_100)).await;
}

#[tokio::test]
async fn at_two_backup_codes_nothing_is_open_but_a_new_set() {
    let app = bank().await;
    let mut holder = Holder::new(&app, "admin").await;
    // Their first factor ended what was open before it: a program comes in by both.
    let who = json!({ "tenant": "bank", "username": "admin", "password": PASSWORD });
    let due = app.post("/v1/auth/login").json(&who).send().await;
    let step = json!({
        "mfa_token": due.body["mfa_token"], "method": "backup", "code": holder.codes[9],
    });
    let tokens = app.post("/v1/auth/mfa/verify").json(&step).send().await;
    let token = tokens.body["access_token"].as_str().unwrap().to_owned();
    leave_codes(&app, "admin", 3).await;
    assert_eq!(holder.browser.get(&app, "/accounts").await.status, 200, "three are enough");
    leave_codes(&app, "admin", 2).await;
    let open = ["/security/backup-codes", "/logout"];
    for console::PagePath { method, path, .. } in console::page_paths() {
        if open.contains(&path) || path.starts_with("/step-up") {
            continue;
        }
        let address = path.replace("{id}", "01890000-0000-7000-8000-000000000000");
        let answer = match method {
            "get" => holder.browser.get(&app, &address).await,
            _ => holder.browser.post(&app, &address, &[]).await,
        };
        assert_eq!(answer.status, 403, "{method} {path}: {}", answer.text);
        assert!(answer.text.contains("Make a new set to go on"), "{method} {path}");
        assert!(!answer.text.contains("href=\"/transfers\""), "{method} {path}: no navigation");
    }
    let mut refused = 0;
    for route in api::route_facts() {
        let open = [
            "/v1/auth/logout",
            "/v1/auth/logout-everywhere",
            "/v1/auth/me",
            "/v1/auth/mfa/backup-codes",
            "/v1/auth/step-up",
            "/v1/auth/step-up/challenge",
        ];
        if matches!(route.access, api::Access::Public(_)) || open.contains(&route.path) {
            continue;
        }
        let path = route.path.replace("{id}", "01890000-0000-7000-8000-000000000000");
        let answer = app.ask(route.method.clone(), &path).bearer(&token).send().await;
        let seen = (answer.status, answer.code());
        assert_eq!(seen, (403, "backup_codes_due"), "{} {path}: {}", route.method, answer.body);
        refused += 1;
    }
    assert!(refused > 60, "{refused}");
    assert_eq!(app.get("/v1/auth/me").bearer(&token).send().await.status, 200);
    let mut other = Browser::signed_in(&app, "bank", "customer").await;
    assert_eq!(other.get(&app, "/accounts").await.status, 200, "others go on");
    holder.browser.get(&app, "/security/backup-codes").await;
    let code = code(&app, &holder.secret, 0);
    let fields = [("method", "totp"), ("code", code.as_str())];
    assert_eq!(holder.browser.post(&app, "/step-up", &fields).await.status, 303);
    holder.browser.get(&app, "/security/backup-codes").await;
    let made = holder.browser.post(&app, "/security/backup-codes", &[]).await;
    assert_eq!(codes(&made).len(), 10, "{}", made.text);
    assert_eq!(holder.browser.get(&app, "/accounts").await.status, 200);
    assert_eq!(app.get("/v1/accounts").bearer(&token).send().await.status, 200, "at once");
}

/// The code in the newest message to somebody, opened as the worker opens it.
async fn sent_code(app: &App, username: &str) -> String {
    let user = app.bank.users[username];
    let notice = "SELECT id, values_sealed FROM notices WHERE user_id = $1 \
         AND template = 'sign_in_code' ORDER BY id DESC LIMIT 1";
    let notice = app.superuser.query_one(notice, &[&user]).await.unwrap();
    let key = "SELECT key_id, kek_epoch, wrapped_key FROM subject_keys WHERE subject_id = $1";
    let key = app.superuser.query_one(key, &[&user]).await.unwrap();
    let keys = app.keyring.tenant(&app.pool, &app.cli("bank").await).await.unwrap();
    let subject = keys.open_subject_key(key.get(0), key.get(1), key.get(2)).unwrap();
    let cell = ("notices", "values_sealed", notice.get(0));
    let values = keys.open(&subject, cell, notice.get(1)).unwrap();
    let values: Value = serde_json::from_str(&values).unwrap();
    values["code"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn codes_by_e_mail_are_set_up_sent_and_proven() {
    let app = bank().await;
    policy(&app, &app.bank, "{mfa,methods}", &json!(["email", "sms", "backup"])).await;
    let mut browser = Browser::signed_in(&app, "bank", "customer").await;
    let list = browser.get(&app, LIST).await;
    assert!(list.text.contains("Set up e-mail") && list.text.contains("Set up text messages"));
    assert!(!list.text.contains("authenticator app\""), "it is not offered: {}", list.text);
    let table = [("sms", "There is no address on record"), ("totp", "cannot be sent that way")];
    for (method, words) in table {
        let refused = browser.post(&app, "/security/factors/new", &[("method", method)]).await;
        assert_eq!(refused.status, 422, "{method}: {}", refused.text);
        assert!(refused.text.contains(words), "{method}: {}", refused.text);
    }
    let page = browser.post(&app, "/security/factors/new", &[("method", "email")]).await;
    assert!(page.status == 200 && page.text.contains("on its way"), "{}", page.text);
    let code = sent_code(&app, "customer").await;
    let fields = [("method", "email"), ("code", code.as_str())];
    let shown = browser.post(&app, "/security/factors/confirm", &fields).await;
    assert_eq!(codes(&shown).len(), 10, "{}", shown.text);

    let (mut other, to) = first_step(&app, &app.bank, "customer", "/").await;
    assert_eq!(to, "/login/code?with=email.backup&next=%2F");
    other.get(&app, &to).await;
    let fields = [("send", "email"), ("with", "email.backup"), ("next", "/accounts")];
    let sent = other.post(&app, "/login/code", &fields).await;
    assert!(sent.status == 200 && sent.text.contains("on its way"), "{}", sent.text);
    let old = [("method", "email"), ("code", code.as_str())];
    assert_eq!(other.post(&app, "/login/code", &old).await.status, 401, "of another challenge");
    let code = sent_code(&app, "customer").await;
    let fields = [("method", "email"), ("code", code.as_str()), ("next", "/accounts")];
    let entered = other.post(&app, "/login/code", &fields).await;
    assert_eq!(entered.header("location"), "/accounts", "{}", entered.text);

    browser.get(&app, "/step-up?next=/security").await;
    let sent = browser.post(&app, "/step-up", &[("send", "email"), ("next", "/security")]).await;
    assert!(sent.text.contains("value=\"/security\""), "{}", sent.text);
    let code = sent_code(&app, "customer").await;
    let fields = [("method", "email"), ("code", code.as_str()), ("next", "/security")];
    let proven = browser.post(&app, "/step-up", &fields).await;
    assert_eq!((proven.status, proven.header("location")), (303, "/security"), "{}", proven.text);
}
