//! The console against what goes wrong and who means harm: outages, stolen and stale
//! cookies, guessing by both doors at once, odd methods, odd texts.

mod arrival;
mod refusals;
mod slow;

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use serde_json::json;
use tenancy::Blueprint;

use crate::{
    console::{Browser, is_sent_away},
    harness::{Answered, App, Bank, PASSWORD, unlimited},
};

const HTML: &str = "text/html,application/xhtml+xml";
const SESSION: &str = "__Host-strongroom";
const DEVICE: &str = "__Host-strongroom-device";

/// A request with a cookie, from an address, by a browser of that name.
async fn visit(app: &App, browser: &Browser, path: &str, (peer, agent): (&str, &str)) -> Answered {
    let ask = app.get(path).header("accept", HTML).header("cookie", &browser.jar());
    ask.peer(peer).header("user-agent", agent).send().await
}

/// Signs in from an address, by a browser of that name.
async fn enter(app: &App, tenant: &str, name: &str, (peer, agent): (&str, &str)) -> Browser {
    let mut browser = Browser::default();
    browser.get(app, "/login").await;
    let answer = attempt(app, &browser, tenant, (name, PASSWORD), (peer, agent)).await;
    assert_eq!(answer.status, 303, "{}", answer.text);
    browser.cookies.retain(|(name, _)| name == DEVICE);
    browser.cookies.push((SESSION.to_owned(), session_cookie(&answer)));
    browser
}

async fn attempt(
    app: &App,
    browser: &Browser,
    tenant: &str,
    (name, password): (&str, &str),
    (peer, agent): (&str, &str),
) -> Answered {
    let fields = [
        ("csrf", browser.token.as_str()),
        ("tenant", tenant),
        ("username", name),
        ("password", password),
    ];
    let ask = app.post("/login").header("accept", HTML).header("cookie", &browser.jar());
    let ask = ask.header("sec-fetch-site", "same-origin").header("user-agent", agent);
    ask.peer(peer).form(&fields).send().await
}

fn session_cookie(answer: &Answered) -> String {
    let mut lines = answer.headers.get_all("set-cookie").iter().map(|line| line.to_str().unwrap());
    let found = lines.find_map(|line| line.strip_prefix("__Host-strongroom="));
    found.unwrap().split(';').next().unwrap().to_owned()
}

/// A whole page of ours that tells nothing of the inside.
fn assert_designed(answer: &Answered, status: u16, title: &str) {
    assert_eq!(answer.status, status, "{}", answer.text);
    assert_eq!(answer.header("content-type"), "text/html; charset=utf-8");
    assert!(answer.header("content-security-policy").contains("default-src 'none'"));
    assert_eq!(answer.header("cache-control"), "no-store");
    assert!(answer.text.contains("<!doctype html>") && answer.text.contains(title));
    assert!(answer.text.contains(answer.header("x-request-id")), "the number to ask for");
    for leak in ["SELECT", "postgres", "tokio", "panicked", ".rs:", "savings_accounts", "/work"] {
        assert!(!answer.text.contains(leak), "{leak}: {}", answer.text);
    }
}

#[tokio::test]
async fn without_its_database_the_console_says_so_and_comes_back() {
    let app = App::start().await;
    let mut browser = Browser::signed_in(&app, "bank", "admin").await;
    // Before: the page of the sign-in asks the database as well.
    let mut stranger = Browser::default();
    assert_eq!(stranger.get(&app, "/login").await.status, 200);
    let compared = app.identity.hash_counts();
    let name = app.database.name().to_owned();
    let out = format!(
        "ALTER DATABASE {name} ALLOW_CONNECTIONS false; SELECT pg_terminate_backend(pid) \
         FROM pg_stat_activity WHERE datname = '{name}' AND pid <> pg_backend_pid()"
    );
    // Of another database: nobody can lock themselves out.
    let outside = app.database.superuser_url().replace(&name, "postgres");
    let outside = testkit::connect(&outside).await;
    outside.batch_execute(&out).await.unwrap();
    for path in ["/accounts", "/customers"] {
        let answer = browser.get(&app, path).await;
        assert_designed(&answer, 503, "Back in a moment");
        assert!(!answer.header("retry-after").is_empty());
        assert!(answer.text.contains(&format!("href=\"{path}\">Try again")), "{}", answer.text);
    }
    assert!(!browser.jar().is_empty(), "an outage signs nobody out");
    assert!(browser.jar().contains("__Host-strongroom="));
    // Whoever signs in is told the same, no password is compared and none is drawn.
    let fields = [("tenant", "bank"), ("username", "admin"), ("password", PASSWORD)];
    let answer = stranger.post(&app, "/login", &fields).await;
    assert_designed(&answer, 503, "Back in a moment");
    assert!(!answer.header("retry-after").is_empty());
    assert!(!answer.text.contains(PASSWORD));
    assert_eq!(app.identity.hash_counts(), compared);
    let back = format!("ALTER DATABASE {name} ALLOW_CONNECTIONS true");
    outside.batch_execute(&back).await.unwrap();
    let started = Instant::now();
    while browser.get(&app, "/accounts").await.status != 200 {
        assert!(started.elapsed() < Duration::from_secs(10), "never comes back");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn a_page_that_takes_too_long_is_503_and_one_that_breaks_is_500() {
    let config = api::ApiConfig { request_timeout_ms: 400, ..unlimited() };
    let app = App::start_with(config).await;
    let mut browser = Browser::signed_in(&app, "bank", "admin").await;
    assert_eq!(browser.get(&app, "/accounts").await.status, 200);
    let holder = testkit::connect(&app.database.superuser_url()).await;
    let lock = "BEGIN; LOCK TABLE savings_accounts IN ACCESS EXCLUSIVE MODE";
    holder.batch_execute(lock).await.unwrap();
    let started = Instant::now();
    let answer = browser.get(&app, "/accounts").await;
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
    assert_designed(&answer, 503, "Back in a moment");
    assert!(answer.text.contains("class=\"sidebar\""), "within the shell of the signed-in");
    // A form that ran out of time does not claim that nothing was done.
    let answer = browser.get(&app, "/accounts?status=active").await;
    assert!(answer.text.contains("href=\"/accounts?status=active\">Try again"));
    assert!(!answer.text.contains("Nothing was changed"));
    holder.batch_execute("ROLLBACK").await.unwrap();
    assert_eq!(browser.get(&app, "/accounts").await.status, 200);

    // What the database holds cannot be read: our mistake, and nothing of it is told.
    app.superuser
        .batch_execute(
            "SET session_replication_role = replica;
             DO $$ DECLARE one record; BEGIN
               FOR one IN SELECT conname FROM pg_constraint
                 WHERE conrelid = 'savings_accounts'::regclass AND contype = 'c' LOOP
                 EXECUTE format('ALTER TABLE savings_accounts DROP CONSTRAINT %I', one.conname);
               END LOOP; END $$;
             UPDATE savings_accounts SET account_type = 'nonsense-3141'",
        )
        .await
        .unwrap();
    let answer = browser.get(&app, "/accounts").await;
    assert_designed(&answer, 500, "Something went wrong");
    assert!(!answer.text.contains("nonsense-3141"));
}

#[tokio::test]
async fn policy_pins_cookies_to_address_and_device() {
    let app = App::start().await;
    let erp = app.add_tenant("erp", Blueprint::EquipmentErp, None).await;
    let digital = app.add_tenant("digital", Blueprint::DigitalBank, None).await;
    let home = ("192.0.2.1", "Tests/1");
    let (moved, swapped) = (("192.0.2.99", "Tests/1"), ("192.0.2.1", "Other/2"));
    for (bank, thief, tolerated) in [(&erp, moved, swapped), (&digital, swapped, moved)] {
        let name = bank.users.keys().next().unwrap();
        let browser = enter(&app, &bank.slug, name, home).await;
        for place in [home, tolerated, home] {
            assert_eq!(visit(&app, &browser, "/", place).await.status, 200, "{place:?}");
        }
        let answer = visit(&app, &browser, "/", thief).await;
        assert_eq!(answer.header("location"), "/login?why=expired", "{}", bank.slug);
        assert!(is_sent_away(&visit(&app, &browser, "/", home).await), "it is over for both");
        assert_eq!(violations(&app, bank).await, 1, "{}", bank.slug);
    }
    // A bank that demands neither: trains and new browsers end nothing.
    let browser = enter(&app, "bank", "admin", home).await;
    assert_eq!(visit(&app, &browser, "/", ("203.0.113.7", "Other/2")).await.status, 200);
}

async fn violations(app: &App, bank: &Bank) -> i64 {
    let sql = "SELECT count(*) FROM audit_log \
               WHERE tenant_id = $1 AND event_type = 'security_violation'";
    app.superuser.query_one(sql, &[&bank.id]).await.unwrap().get(0)
}

#[tokio::test]
async fn fifty_guesses_by_both_doors_evaluate_no_more_than_the_threshold() {
    let app = App::start().await;
    let context = app.cli("bank").await;
    let policy = app.identity.policy(&context).await.unwrap();
    let mut browser = Browser::default();
    browser.get(&app, "/login").await;
    let before = app.identity.hash_counts();
    let guesses = (0..50).map(|number| {
        let (app, browser) = (&app, &browser);
        async move {
            if number % 2 == 0 {
                return attempt(app, browser, "bank", ("customer", "wrong"), ("127.0.0.1", "x"))
                    .await;
            }
            let body =
                json!({ "tenant": "bank", "username": "customer@bank.example", "password": "wrong" });
            app.post("/v1/auth/login").json(&body).send().await
        }
    });
    for answer in join_all(guesses).await {
        assert_eq!(answer.status, 401, "{}", answer.text);
        assert!(!answer.text.to_lowercase().contains("locked"));
    }
    let after = app.identity.hash_counts();
    let threshold = u64::from(policy.account_lock.threshold);
    assert_eq!(after.evaluated - before.evaluated, threshold, "exactly as many as policy allows");
    assert_eq!(after.pretended - before.pretended, 50 - threshold, "the rest cost as much time");
    // Locked for the right password as well, by either door, in the same words.
    let right = ("customer", PASSWORD);
    let answer = attempt(&app, &browser, "bank", right, ("127.0.0.1", "x")).await;
    assert_eq!(answer.status, 401);
    assert!(answer.text.contains("do not match"));
    let body = json!({ "tenant": "bank", "username": "customer", "password": PASSWORD });
    assert_eq!(app.post("/v1/auth/login").json(&body).send().await.status, 401);
    assert_eq!(app.identity.hash_counts().evaluated, after.evaluated);
}

#[tokio::test]
async fn an_address_that_guesses_is_blocked_at_both_doors() {
    let app = App::start().await;
    let context = app.cli("bank").await;
    let threshold = app.identity.policy(&context).await.unwrap().address_block.threshold;
    let mut browser = Browser::default();
    browser.get(&app, "/login").await;
    let (attacker, other) = ("203.0.113.9", "203.0.113.10");
    for number in 0..threshold {
        let name = format!("nobody-{number}");
        let status = if number % 2 == 0 {
            attempt(&app, &browser, "bank", (&name, "wrong"), (attacker, "x")).await.status
        } else {
            let body = json!({ "tenant": "bank", "username": name, "password": "wrong" });
            app.post("/v1/auth/login").peer(attacker).json(&body).send().await.status
        };
        assert_eq!(status, 401, "attempt {number}");
    }
    let right = ("admin", PASSWORD);
    let answer = attempt(&app, &browser, "bank", right, (attacker, "x")).await;
    assert_eq!(answer.status, 429, "{}", answer.text);
    assert!(!answer.header("retry-after").is_empty());
    assert!(answer.text.contains("Too many attempts"));
    let body = json!({ "tenant": "bank", "username": "admin", "password": PASSWORD });
    let answer = app.post("/v1/auth/login").peer(attacker).json(&body).send().await;
    assert_eq!(answer.status, 429);
    let answer = attempt(&app, &browser, "bank", right, (other, "x")).await;
    assert_eq!(answer.status, 303, "whoever sits elsewhere gets in");
}

#[tokio::test]
async fn concurrent_sign_ins_end_at_the_limit_of_sessions() {
    let app = App::start().await;
    let context = app.cli("bank").await;
    let limit = app.identity.policy(&context).await.unwrap().session.concurrent_limit;
    let mut browser = Browser::default();
    browser.get(&app, "/login").await;
    let place = ("127.0.0.1", "x");
    let attempts =
        (0..limit + 4).map(|_| attempt(&app, &browser, "bank", ("customer", PASSWORD), place));
    let mut alive = 0;
    let answers = join_all(attempts).await;
    for answer in &answers {
        assert_eq!(answer.status, 303, "{}", answer.text);
        let cookies = vec![(SESSION.to_owned(), session_cookie(answer))];
        let one = Browser { cookies, ..Browser::default() };
        match visit(&app, &one, "/", place).await.status {
            200 => alive += 1,
            303 => {}
            other => panic!("{other}"),
        }
    }
    assert_eq!(alive, limit, "of {}", answers.len());
    let sql = "SELECT count(*) FROM user_sessions WHERE revoked_at IS NULL AND user_id = $1";
    let stored: i64 =
        app.superuser.query_one(sql, &[&app.bank.users["customer"]]).await.unwrap().get(0);
    assert_eq!(stored, i64::from(limit));
}

#[tokio::test]
async fn sign_out_everywhere_and_a_revoked_row_end_cookies_within_a_second() {
    let app = App::start().await;
    let mut browsers = [
        Browser::signed_in(&app, "bank", "admin").await,
        Browser::signed_in(&app, "bank", "admin").await,
    ];
    let mut bystander = Browser::signed_in(&app, "bank", "customer").await;
    let token = app.login(&app.bank, "admin").await;
    let ask = app.post("/v1/auth/logout-everywhere").bearer(&token);
    let answer = ask.json(&json!({ "keep_current": true })).send().await;
    assert!(answer.is_success(), "{}", answer.text);
    for browser in &mut browsers {
        let answer = browser.get(&app, "/accounts?status=active").await;
        let expected = "/login?next=%2Faccounts%3Fstatus%3Dactive&why=expired";
        assert_eq!(answer.header("location"), expected);
        assert!(browser.get(&app, expected).await.text.contains("Your session has ended"));
    }
    assert_eq!(bystander.get(&app, "/").await.status, 200);
    // As another node does it: nobody here is told.
    let sql = "UPDATE user_sessions SET revoked_at = now(), revocation_reason = 'logout' \
               WHERE user_id = $1 AND revoked_at IS NULL";
    let person = app.bank.users["customer"];
    assert_eq!(app.superuser.execute(sql, &[&person]).await.unwrap(), 1);
    tokio::time::sleep(Duration::from_millis(1_050)).await;
    let answer = bystander.get(&app, "/customers").await;
    assert_eq!(answer.header("location"), "/login?next=%2Fcustomers&why=expired");
}

#[tokio::test]
async fn a_cookie_opens_its_own_tenant_and_no_other() {
    let app = App::start().await;
    let other = app.add_bank("other").await;
    let mut theirs = Browser::signed_in(&app, "other", "admin").await;
    let ours = app.bank.customers[0].accounts[0];
    let answer = theirs.get(&app, &format!("/accounts/{ours}")).await;
    assert_designed(&answer, 404, "There is nothing here");
    assert_eq!(
        theirs.get(&app, &format!("/accounts/{}", other.customers[0].accounts[0])).await.status,
        200
    );
    // The same secret under another tenant's name is nobody's.
    let cookie = session_value(&theirs);
    let simple = |id: uuid::Uuid| id.simple().to_string();
    for (from, to) in
        [(simple(other.id), simple(app.bank.id)), (other.id.to_string(), app.bank.id.to_string())]
    {
        let forged = cookie.replace(&from, &to);
        let cookies = vec![(SESSION.to_owned(), forged.clone())];
        let mut thief = Browser { cookies, ..Browser::default() };
        let status = thief.get(&app, "/").await.status;
        assert_eq!(status, if forged == cookie { 200 } else { 401 });
    }
    for forged in ["", "console", "console__", &cookie[..cookie.len() - 1], &format!("{cookie}a")] {
        let cookies = vec![(SESSION.to_owned(), (*forged).to_owned())];
        let mut thief = Browser { cookies, ..Browser::default() };
        assert_eq!(thief.get(&app, "/").await.status, 401, "{forged}");
    }
    assert_eq!(theirs.get(&app, "/").await.status, 200);
}

fn session_value(browser: &Browser) -> String {
    let found = browser.cookies.iter().find(|(name, _)| name == SESSION);
    found.unwrap().1.clone()
}

#[tokio::test]
async fn two_tabs_share_a_session_and_a_stale_one_is_told_kindly() {
    let app = App::start().await;
    let mut first = Browser::signed_in(&app, "bank", "admin").await;
    let mut second = first.clone();
    assert_eq!(second.get(&app, "/customers").await.status, 200);
    assert_eq!(first.get(&app, "/").await.status, 200);
    assert_eq!(first.token, second.token, "both tabs' forms hold");
    let stale = first.token.clone();
    // The second tab signs in again: the jar is one, the first tab's form is old.
    let fields = [("tenant", "bank"), ("username", "admin"), ("password", PASSWORD)];
    assert_eq!(second.post(&app, "/login", &fields).await.status, 303);
    first.cookies = second.cookies.clone();
    first.token = stale;
    let answer = first.post(&app, "/logout", &[]).await;
    assert_designed(&answer, 403, "This form is no longer valid");
    assert!(answer.text.contains("signed in again"), "it says why");
    assert!(answer.text.contains("href=\"/\">Go to the overview"), "and how to go on");
    assert_eq!(first.get(&app, "/").await.status, 200, "nothing was changed");
    // The second tab signs out: the first one's form leads to the sign-in.
    second.get(&app, "/").await;
    assert_eq!(second.post(&app, "/logout", &[]).await.status, 303);
    let answer = first.post(&app, "/logout", &[]).await;
    assert_eq!((answer.status, answer.header("location")), (303, "/login?why=expired"));
}

#[tokio::test]
async fn the_migration_goes_down_with_living_sessions_and_up_again() {
    let app = App::start().await;
    let mut browser = Browser::signed_in(&app, "bank", "admin").await;
    let token = app.login(&app.bank, "admin").await;
    let mut owner = testkit::connect(&app.database.url_as("strongroom_owner")).await;
    let migrator = tenancy::migrate::Migrator::embedded();
    let all = u32::try_from(migrator.status(&owner).await.unwrap().len()).unwrap();
    let undone = migrator.down(&mut owner, all - 7).await.unwrap();
    assert_eq!(undone.last().map(|one| one.version), Some(8), "down to before the console");
    let sql = "SELECT count(*) FILTER (WHERE revocation_reason = 'console_removed'), \
               count(*) FILTER (WHERE revoked_at IS NULL) FROM user_sessions";
    let row = app.superuser.query_one(sql, &[]).await.unwrap();
    assert_eq!((row.get::<_, i64>(0), row.get::<_, i64>(1)), (1, 1), "tokens' sessions live on");
    migrator.up(&mut owner, None).await.unwrap();
    tokio::time::sleep(Duration::from_millis(1_050)).await;
    assert!(is_sent_away(&browser.get(&app, "/").await), "a cookie of before opens nothing");
    assert_eq!(app.get("/v1/auth/me").bearer(&token).send().await.status, 200);
    let mut anew = Browser::signed_in(&app, "bank", "admin").await;
    assert_eq!(anew.get(&app, "/accounts").await.status, 200);
}

#[tokio::test]
async fn cookies_are_the_same_in_development_and_behind_a_proxy() {
    let secure = api::ApiConfig {
        public_url: "https://bank.example".to_owned(),
        allowed_hosts: vec!["bank.example".to_owned(), "www.bank.example".to_owned()],
        ..unlimited()
    };
    let behind: &[(&str, &str)] = &[
        ("host", "bank.example"),
        ("x-forwarded-proto", "https"),
        ("x-forwarded-host", "evil.example"),
    ];
    for (config, headers) in [(unlimited(), &[("host", "localhost:8080")][..]), (secure, behind)] {
        let app = App::start_with(config).await;
        let mut ask = app.get("/login").header("accept", HTML);
        for (name, value) in headers {
            ask = ask.header(name, value);
        }
        let answer = ask.send().await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        for line in answer.headers.get_all("set-cookie") {
            let line = line.to_str().unwrap();
            assert!(line.starts_with("__Host-"), "{line}");
            assert!(line.contains("; Path=/; Secure; HttpOnly; SameSite=Strict"), "{line}");
            assert!(!line.contains("Domain"), "{line}");
        }
        assert!(!answer.text.contains("evil.example"));
    }
}

#[tokio::test]
async fn examples_name_the_host_visited_where_it_is_ours() {
    let config = api::ApiConfig {
        public_url: "https://bank.example".to_owned(),
        allowed_hosts: vec!["bank.example".to_owned(), "www.bank.example".to_owned()],
        ..unlimited()
    };
    let app = App::start_with(config).await;
    for (host, shown) in [
        ("bank.example", "https://bank.example/v1/transfers"),
        ("www.bank.example:8443", "https://www.bank.example:8443/v1/transfers"),
    ] {
        let ask = app.get("/docs/operations/createTransfer").header("host", host);
        let answer = ask.header("accept", HTML).send().await;
        assert!(answer.text.contains(shown), "{host}: {}", answer.text);
    }
    let app = App::start().await;
    let ask = app.get("/docs/operations/createTransfer").header("host", "evil.example");
    let answer = ask.header("accept", HTML).send().await;
    assert_eq!(answer.status, 200);
    assert!(!answer.text.contains("evil.example"), "a stranger's Host is never repeated");
}

#[tokio::test]
async fn head_asks_like_get_and_other_methods_do_nothing() {
    let app = App::start().await;
    let mut browser = Browser::signed_in(&app, "bank", "admin").await;
    for path in ["/login", "/docs", "/docs/swagger", "/", "/accounts"] {
        let ask = app.ask("HEAD".parse().unwrap(), path).header("accept", HTML);
        let head = ask.header("cookie", &browser.jar()).send().await;
        let get = browser.get(&app, path).await;
        assert_eq!((head.status, head.text.len()), (get.status, 0), "{path}");
        assert_eq!(head.header("content-type"), get.header("content-type"), "{path}");
        assert!(!head.header("content-security-policy").is_empty());
    }
    let head = app.ask("HEAD".parse().unwrap(), "/accounts").header("accept", HTML).send().await;
    assert_eq!(head.header("location"), "/login?next=%2Faccounts");
    for method in ["PUT", "PATCH", "DELETE", "BREW", "PROPFIND", "TRACE"] {
        for path in ["/", "/logout", "/accounts", "/login", "/docs"] {
            let ask = app.ask(method.parse().unwrap(), path).header("accept", HTML);
            let answer = ask.header("cookie", &browser.jar()).send().await;
            assert!(matches!(answer.status, 403 | 405), "{method} {path}: {}", answer.status);
            assert!(answer.text.contains("<!doctype html>"), "{method} {path}");
        }
    }
    assert_eq!(browser.get(&app, "/").await.status, 200, "still signed in");
}

#[tokio::test]
async fn bodies_too_large_and_texts_too_odd_change_nothing() {
    let app = App::start().await;
    let mut browser = Browser::default();
    browser.get(&app, "/login").await;
    let huge = "x".repeat(70_000);
    let answer = browser.post(&app, "/login", &[("username", &huge)]).await;
    assert_designed(&answer, 413, "The form is too large");
    let answer = browser.post(&app, "/login", &[("username", "ad\0min")]).await;
    assert_designed(&answer, 400, "That does not look right");
    browser.get(&app, "/login").await;
    for name in [
        "\u{202e}nimda",
        "admin\u{200b}",
        "ad\u{200d}min",
        "\u{feff}admin",
        "admin\u{2066}",
        "\"><script>alert(1)</script>",
        "admin\r\nSet-Cookie: a=b",
        "аdmin",
    ] {
        let fields = [("tenant", "bank"), ("username", name), ("password", PASSWORD)];
        let answer = browser.post(&app, "/login", &fields).await;
        assert_eq!(answer.status, 401, "{name:?} is not admin");
        assert!(!answer.text.contains("<script>alert"), "{name:?}");
        assert!(answer.headers.get("a").is_none());
    }
    // A field sent twice means its first; a form that is none means nothing.
    let ask = app.post("/login").header("accept", HTML).header("cookie", &browser.jar());
    let ask = ask.header("sec-fetch-site", "same-origin");
    let body = json!({ "csrf": browser.token, "username": "admin", "password": PASSWORD });
    assert_eq!(ask.json(&body).send().await.status, 403, "JSON is no form");
}
