//! The console's foundation as an attacker and a browser meet it: sessions, forms,
//! headers, the way in and out.

use std::time::Duration;

use crate::harness::{Answered, App, PASSWORD};

const HTML: &str = "text/html,application/xhtml+xml";
const SESSION: &str = "__Host-strongroom";
const BEFORE: &str = "__Host-strongroom-form";

/// A browser: a jar of cookies, and the form token of the last page.
#[derive(Clone, Debug, Default)]
pub(crate) struct Browser {
    pub(crate) cookies: Vec<(String, String)>,
    pub(crate) token: String,
}

/// A header of a request: name and value.
type Header = (&'static str, &'static str);

impl Browser {
    pub(crate) async fn get(&mut self, app: &App, path: &str) -> Answered {
        let answer =
            app.get(path).header("accept", HTML).header("cookie", &self.jar()).send().await;
        self.learn(&answer);
        answer
    }

    /// Submits a form of the last page.
    pub(crate) async fn post(
        &mut self,
        app: &App,
        path: &str,
        fields: &[(&str, &str)],
    ) -> Answered {
        let mut whole = vec![("csrf", self.token.as_str())];
        whole.extend_from_slice(fields);
        let answer = app
            .post(path)
            .header("accept", HTML)
            .header("cookie", &self.jar())
            .header("sec-fetch-site", "same-origin")
            .form(&whole)
            .send()
            .await;
        self.learn(&answer);
        answer
    }

    pub(crate) async fn signed_in(app: &App, tenant: &str, username: &str) -> Self {
        let mut browser = Self::past_the_password(app, tenant, username).await;
        assert_eq!(browser.get(app, "/").await.status, 200);
        browser
    }

    /// Signed in, and a second factor used just now.
    pub(crate) async fn signed_in_by_factor(app: &App, tenant: &str, username: &str) -> Self {
        let mut browser = Self::past_the_password(app, tenant, username).await;
        app.factor_used(username).await;
        assert_eq!(browser.get(app, "/").await.status, 200);
        browser
    }

    async fn past_the_password(app: &App, tenant: &str, username: &str) -> Self {
        let mut browser = Self::default();
        browser.get(app, "/login").await;
        let fields = [("tenant", tenant), ("username", username), ("password", PASSWORD)];
        let answer = browser.post(app, "/login", &fields).await;
        assert_eq!((answer.status, answer.header("location")), (303, "/"), "{}", answer.text);
        browser
    }

    fn cookie(&self, name: &str) -> &str {
        let found = self.cookies.iter().find(|(given, _)| given == name);
        found.map(|(_, value)| value.as_str()).unwrap_or_default()
    }

    pub(crate) fn forget_token(&mut self) {
        self.token = String::new();
    }

    pub(crate) fn jar(&self) -> String {
        let pairs = self.cookies.iter().map(|(name, value)| format!("{name}={value}"));
        pairs.collect::<Vec<_>>().join("; ")
    }

    fn learn(&mut self, answer: &Answered) {
        for line in answer.headers.get_all("set-cookie") {
            let line = line.to_str().unwrap();
            let (name, value) = line.split(';').next().unwrap().split_once('=').unwrap();
            self.cookies.retain(|(given, _)| given != name);
            if !line.contains("Max-Age=0") {
                self.cookies.push((name.to_owned(), value.to_owned()));
            }
        }
        if let Some((_, rest)) = answer.text.split_once("name=\"csrf-token\" content=\"") {
            rest.split('"').next().unwrap().clone_into(&mut self.token);
        }
    }
}

pub(crate) fn is_sent_away(answer: &Answered) -> bool {
    answer.status == 303 && answer.header("location").starts_with("/login")
}

#[tokio::test]
async fn every_page_sends_strangers_to_the_sign_in_and_back() {
    let app = App::start().await;
    for page in console::page_paths() {
        let path = page.path.replace("{id}", "01890000-0000-7000-8000-000000000000");
        let method = page.method.to_uppercase().parse().unwrap();
        let answer = app.ask(method, path.clone()).header("accept", HTML).send().await;
        assert!(is_sent_away(&answer), "{path}: {} {}", answer.status, answer.text);
    }
    let answer = app.get("/palette?q=a%20b").header("accept", HTML).send().await;
    assert_eq!(answer.header("location"), "/login?next=%2Fpalette%3Fq%3Da%2520b");
    // A fragment is not replaced by a sign-in page.
    let answer = app.get("/palette?q=abc").header("hx-request", "true").send().await;
    assert_eq!((answer.status, answer.header("hx-redirect")), (401, "/login"));
}

#[tokio::test]
async fn after_signing_in_nobody_is_sent_elsewhere() {
    let app = App::start().await;
    let table = [
        ("/palette?q=x", "/palette?q=x"),
        ("//evil.example", "/"),
        ("/\\evil.example", "/"),
        ("https://evil.example/", "/"),
        ("javascript:alert(1)", "/"),
        ("/\t/evil.example", "/"),
    ];
    for (next, place) in table {
        let mut browser = Browser::default();
        browser.get(&app, "/login").await;
        let fields =
            [("tenant", "bank"), ("username", "admin"), ("password", PASSWORD), ("next", next)];
        let answer = browser.post(&app, "/login", &fields).await;
        assert_eq!((answer.status, answer.header("location")), (303, place), "{next}");
    }
}

#[tokio::test]
async fn the_cookie_is_new_hidden_hashed_and_ends_what_was_before() {
    let app = App::start().await;
    let mut browser = Browser::signed_in(&app, "bank", "admin").await;
    let first = browser.cookie(SESSION).to_owned();
    assert!(browser.cookie(BEFORE).is_empty(), "the form's cookie of before is gone");
    let (token, _) = first.split_once('.').expect("a token and a seal");
    let stored: i64 = app
        .superuser
        .query_one(
            "SELECT count(*) FROM user_sessions WHERE console_token_hash = sha256($1::text::bytea)",
            &[&token],
        )
        .await
        .unwrap()
        .get(0);
    assert_eq!(stored, 1, "only its hash is stored");
    let tokens: i64 = app
        .superuser
        .query_one(
            "SELECT count(*) FROM refresh_tokens r JOIN user_sessions s ON s.id = r.session_id
             WHERE s.console_token_hash IS NOT NULL",
            &[],
        )
        .await
        .unwrap()
        .get(0);
    assert_eq!(tokens, 0, "a console session has no tokens");
    // Signing in again over a living session: another cookie, and the first is over.
    let fields = [("tenant", "bank"), ("username", "admin"), ("password", PASSWORD)];
    let answer = browser.post(&app, "/login", &fields).await;
    assert_eq!(answer.status, 303);
    let line = answer
        .headers
        .get_all("set-cookie")
        .iter()
        .find(|line| line.to_str().unwrap().starts_with("__Host-strongroom="));
    let line = line.unwrap().to_str().unwrap();
    assert!(line.ends_with("; Path=/; Secure; HttpOnly; SameSite=Strict"), "{line}");
    assert_ne!(browser.cookie(SESSION), first);
    let mut old = Browser { cookies: vec![(SESSION.to_owned(), first)], token: String::new() };
    assert!(is_sent_away(&old.get(&app, "/").await));
    assert_eq!(browser.get(&app, "/").await.status, 200);
}

#[tokio::test]
async fn a_token_is_no_cookie_and_a_cookie_no_token() {
    let app = App::start().await;
    let grant = app.sign_in(&app.bank, "admin").await;
    for kind in ["access_token", "refresh_token"] {
        let token = grant[kind].as_str().unwrap().to_owned();
        let mut browser =
            Browser { cookies: vec![(SESSION.to_owned(), token)], ..Browser::default() };
        assert_eq!(browser.get(&app, "/").await.status, 401, "{kind}");
    }
    let browser = Browser::signed_in(&app, "bank", "admin").await;
    let cookie = browser.cookie(SESSION);
    assert_eq!(app.get("/v1/auth/me").bearer(cookie).send().await.status, 401);
    let body = serde_json::json!({ "refresh_token": cookie });
    assert_eq!(app.post("/v1/auth/refresh").json(&body).send().await.status, 401);
    // The API takes no cookie, the console no Authorization.
    assert_eq!(app.get("/v1/auth/me").header("cookie", &browser.jar()).send().await.status, 401);
    let token = grant["access_token"].as_str().unwrap();
    assert!(is_sent_away(&app.get("/").header("accept", HTML).bearer(token).send().await));
    // Two cookies of the name are nobody's.
    let twice = format!("{0}; {0}", browser.jar());
    assert!(is_sent_away(
        &app.get("/").header("accept", HTML).header("cookie", &twice).send().await
    ));
}

#[tokio::test]
async fn only_forms_of_this_very_session_and_origin_do_anything() {
    let app = App::start().await;
    app.add_bank("other").await;
    let mut browser = Browser::signed_in(&app, "bank", "admin").await;
    let same_person = Browser::signed_in(&app, "bank", "admin").await;
    let other_tenant = Browser::signed_in(&app, "other", "admin").await;
    let good = browser.token.clone();
    let forged = "0".repeat(64);
    let own = ("sec-fetch-site", "same-origin");
    let table: [(&str, &str, &[Header]); 10] = [
        ("missing", "", &[own]),
        ("forged", &forged, &[own]),
        ("another session's", &same_person.token, &[own]),
        ("another tenant's", &other_tenant.token, &[own]),
        ("no word of the browser", &good, &[]),
        ("another site", &good, &[("sec-fetch-site", "cross-site")]),
        ("a sister host", &good, &[("sec-fetch-site", "same-site")]),
        ("another origin", &good, &[("origin", "https://evil.example")]),
        ("an opaque origin", &good, &[("origin", "null")]),
        ("both at odds", &good, &[own, ("origin", "https://evil.example")]),
    ];
    for (what, token, headers) in table {
        let mut ask = app.post("/logout").header("accept", HTML).header("cookie", &browser.jar());
        for (name, value) in headers {
            ask = ask.header(name, value);
        }
        let answer = ask.form(&[("csrf", token)]).send().await;
        assert_eq!(answer.status, 403, "{what}");
        assert!(answer.text.contains("This form is no longer valid"), "{what}");
    }
    // GET changes nothing, and no other method is a way around.
    for method in ["GET", "PUT", "DELETE", "PATCH"] {
        let ask = app.ask(method.parse().unwrap(), "/logout").header("accept", HTML);
        let answer = ask.header("cookie", &browser.jar()).send().await;
        assert!(matches!(answer.status, 403 | 405), "{method}: {}", answer.status);
    }
    let huge = "x".repeat(70_000);
    assert_eq!(browser.post(&app, "/logout", &[("x", &huge)]).await.status, 413);
    assert_eq!(browser.post(&app, "/logout", &[("x", "a\0b")]).await.status, 400);
    assert_eq!(browser.get(&app, "/").await.status, 200, "still signed in after all of it");
    // htmx sends the token as a header.
    let answer = app
        .post("/logout")
        .header("cookie", &browser.jar())
        .header("origin", "http://localhost:8080")
        .header("x-csrf-token", &good)
        .send()
        .await;
    assert_eq!((answer.status, answer.header("location")), (303, "/login?why=out"));
    assert!(answer.header("clear-site-data").contains("storage"));
    assert!(is_sent_away(&browser.get(&app, "/").await));
}

#[tokio::test]
async fn nobody_is_signed_in_by_another_site() {
    let app = App::start().await;
    let mut browser = Browser::default();
    browser.get(&app, "/login").await;
    let mut attacker = Browser::default();
    attacker.get(&app, "/login").await;
    let credentials = [("tenant", "bank"), ("username", "admin"), ("password", PASSWORD)];
    browser.token.clone_from(&attacker.token);
    assert_eq!(browser.post(&app, "/login", &credentials).await.status, 403);
    browser.token = String::new();
    assert_eq!(browser.post(&app, "/login", &credentials).await.status, 403);
    let nothing = Browser { cookies: Vec::new(), token: attacker.token.clone() };
    assert_eq!(nothing.clone().post(&app, "/login", &credentials).await.status, 403);
    assert_eq!(attacker.post(&app, "/login", &credentials).await.status, 303);
}

#[tokio::test]
async fn whatever_is_wrong_the_page_says_the_same() {
    let app = App::start().await;
    let mut pages = Vec::new();
    for (tenant, username, password) in [
        ("bank", "admin", "wrong"),
        ("bank", "nobody", "wrong"),
        ("nowhere", "admin", "wrong"),
        ("bank", "", ""),
    ] {
        let mut browser = Browser::default();
        browser.get(&app, "/login").await;
        let fields = [("tenant", tenant), ("username", username), ("password", password)];
        let answer = browser.post(&app, "/login", &fields).await;
        assert_eq!(answer.status, 401, "{username}@{tenant}");
        assert!(!answer.text.contains("wrong"), "the password is never drawn");
        let said = answer.text.split("role=\"alert\"").nth(1).unwrap();
        pages.push(said.split("</div>").next().unwrap().to_owned());
    }
    assert!(pages.windows(2).all(|two| two[0] == two[1]), "{pages:?}");
}

#[tokio::test]
async fn where_there_is_one_tenant_the_platforms_people_ask_to_be_asked() {
    let app = App::start().await;
    app.add_tenant("platform", tenancy::Blueprint::Platform, None).await;
    let mut browser = Browser::default();
    let field = "name=\"tenant\"";
    assert!(!browser.get(&app, "/login").await.text.contains(field), "nobody else is asked");
    assert!(browser.get(&app, "/login?tenant=").await.text.contains(field));
    let page = browser.get(&app, "/login?tenant=platform").await;
    assert!(page.text.contains(field) && page.text.contains("value=\"platform\""));
    let mut fields = [("tenant", "platform"), ("username", "super_admin"), ("password", "wrong")];
    let refused = browser.post(&app, "/login", &fields).await;
    assert_eq!(refused.status, 401);
    assert!(refused.text.contains(field), "it stays for the next try");
    fields[2].1 = PASSWORD;
    assert_eq!(browser.post(&app, "/login", &fields).await.status, 303);
    let page = browser.get(&app, "/").await;
    assert_eq!(page.status, 200);
    assert!(page.text.contains("<span class=\"tenant\" title=\"Tenant\">platform</span>"));
    // Without the field it is the one tenant that banks, where the name exists as well.
    let mut browser = Browser::default();
    browser.get(&app, "/login").await;
    assert_eq!(browser.post(&app, "/login", &fields[1..]).await.status, 303);
    let page = browser.get(&app, "/").await;
    assert!(page.text.contains("<span class=\"tenant\" title=\"Tenant\">bank</span>"));
}

#[tokio::test]
async fn the_api_and_the_console_spend_one_budget() {
    let app = App::start_strict().await;
    let context = app.cli("bank").await;
    let limits = app.identity.policy(&context).await.unwrap().rate_limits;
    let budget = limits.auth_per_user.min(limits.auth_per_address);
    let mut browser = Browser::default();
    browser.get(&app, "/login").await;
    let mut statuses = Vec::new();
    for attempt in 0..budget + 2 {
        let status = if attempt % 2 == 0 {
            let fields = [("tenant", "bank"), ("username", "ADMIN "), ("password", "wrong")];
            browser.post(&app, "/login", &fields).await.status
        } else {
            let body = serde_json::json!({
                "tenant": "bank", "username": "admin", "password": "wrong",
            });
            app.post("/v1/auth/login").json(&body).send().await.status
        };
        statuses.push(status);
    }
    let within = usize::try_from(budget).unwrap();
    assert!(statuses[..within].iter().all(|status| *status == 401), "{statuses:?}");
    assert_eq!(statuses[within..], [429, 429], "one more of either kind is too many");
}

#[tokio::test]
async fn an_ended_session_is_over_at_once_and_an_idle_one_in_time() {
    let app = App::start().await;
    let mut browser = Browser::signed_in(&app, "bank", "admin").await;
    let token = app.login(&app.bank, "admin").await;
    let list = app.get("/v1/auth/sessions").bearer(&token).send().await;
    let listed: Vec<_> = list.body["data"].as_array().unwrap().clone();
    assert_eq!(listed.len(), 2, "the console's session is one like the others");
    let console = listed.iter().find(|session| session["current"] == false).unwrap();
    let path = format!("/v1/auth/sessions/{}", console["id"].as_str().unwrap());
    assert_eq!(app.delete(path).bearer(&token).send().await.status, 204);
    let answer = browser.get(&app, "/").await;
    assert_eq!(answer.header("location"), "/login?why=expired");
    assert!(browser.cookie(SESSION).is_empty(), "a dead cookie is taken away");

    let mut idle = Browser::signed_in(&app, "bank", "admin").await;
    let sql = "UPDATE user_sessions SET last_activity_at = last_activity_at - interval '2 days'
               WHERE console_token_hash IS NOT NULL AND revoked_at IS NULL";
    assert_eq!(app.superuser.execute(sql, &[]).await.unwrap(), 1);
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    assert!(is_sent_away(&idle.get(&app, "/").await), "idle for too long");
}

#[tokio::test]
async fn every_answer_is_guarded() {
    let app = App::start().await;
    let mut browser = Browser::signed_in(&app, "bank", "admin").await;
    let mut nonces = Vec::new();
    for path in ["/", "/login", "/nothing", "/palette?q=abc"] {
        let answer = browser.get(&app, path).await;
        let policy = answer.header("content-security-policy").to_owned();
        for part in [
            "default-src 'none'",
            "base-uri 'none'",
            "frame-ancestors 'none'",
            "form-action 'self'",
            "require-trusted-types-for 'script'",
            "trusted-types htmx",
        ] {
            assert!(policy.contains(part), "{path}: {policy}");
        }
        assert!(!policy.contains("unsafe"), "{policy}");
        nonces.push(policy.split("'nonce-").nth(1).unwrap().split('\'').next().unwrap().to_owned());
        for (name, value) in [
            ("cache-control", "no-store"),
            ("x-content-type-options", "nosniff"),
            ("referrer-policy", "same-origin"),
            ("cross-origin-opener-policy", "same-origin"),
            ("cross-origin-resource-policy", "same-origin"),
            ("x-frame-options", "DENY"),
        ] {
            assert_eq!(answer.header(name), value, "{path}");
        }
        assert!(!answer.header("permissions-policy").is_empty());
        assert!(!answer.header("x-request-id").is_empty());
        assert!(!answer.text.contains("style=\"") && !answer.text.contains(" onclick"), "{path}");
    }
    nonces.sort();
    nonces.dedup();
    assert_eq!(nonces.len(), 4, "a nonce is for one answer");
    // What browsers get as a page, clients get as a problem.
    let page = browser.get(&app, "/nothing").await;
    assert_eq!((page.status, page.header("content-type")), (404, "text/html; charset=utf-8"));
    let problem = app.get("/nothing").send().await;
    assert_eq!((problem.status, problem.code()), (404, "not_found"));
}

#[tokio::test]
async fn files_are_found_by_their_content_and_kept() {
    let app = App::start().await;
    let page = app.get("/login").header("accept", HTML).send().await;
    let places: Vec<&str> =
        page.text.split('"').filter(|text| text.starts_with("/assets/")).collect();
    assert!(places.len() >= 5);
    for place in places {
        let file = app.get(place).send().await;
        assert_eq!(file.status, 200, "{place}");
        assert_eq!(file.header("cache-control"), "public, max-age=31536000, immutable");
    }
    assert_eq!(app.get("/assets/0000000000000000/app.css").send().await.status, 404);
}

#[tokio::test]
async fn the_theme_is_the_servers_to_draw() {
    let app = App::start().await;
    let mut browser = Browser::default();
    browser.get(&app, "/login").await;
    let fields = [("theme", "dark"), ("back", "//evil.example")];
    let answer = browser.post(&app, "/preferences/theme", &fields).await;
    assert_eq!((answer.status, answer.header("location")), (303, "/"));
    assert!(browser.get(&app, "/login").await.text.contains("data-theme=\"dark\""));
    browser.post(&app, "/preferences/theme", &[("theme", "\"><script>")]).await;
    assert!(!browser.get(&app, "/login").await.text.contains("data-theme"));
}

#[tokio::test]
async fn the_overview_shows_what_is_theirs() {
    let app = App::start().await;
    let mut browser = Browser::signed_in(&app, "bank", "customer").await;
    let page = browser.get(&app, "/").await;
    assert_eq!(page.text.matches("class=\"account-number\"").count(), 2);
    assert!(page.text.contains("1,000.00"));
    let number: String = app
        .superuser
        .query_one(
            "SELECT account_number FROM savings_accounts WHERE id = $1",
            &[&app.bank.customers[1].accounts[0]],
        )
        .await
        .unwrap()
        .get(0);
    assert!(!page.text.contains(&number), "another's account is not shown");
    let found = browser.get(&app, &format!("/palette?q={number}")).await;
    assert_eq!(found.status, 200);
    assert!(!found.text.contains(&number), "nor found");
    let mut staff = Browser::signed_in(&app, "bank", "admin").await;
    let found = staff.get(&app, &format!("/palette?q={number}")).await;
    assert!(found.text.contains(&number), "staff find it");
}
