//! What is turned away before any handler sees it: cookies that nobody was given, forms
//! that are none, ids that are none. Each is counted, and drawn as a page of ours.

use axum::http::Method;
use tenancy::{Blueprint, policy::SecurityPolicy};

use crate::{
    console::Browser,
    harness::{Answered, App, PASSWORD},
};

use super::{HTML, SESSION, assert_designed, session_value};

#[tokio::test]
async fn a_forged_cookie_costs_no_read_and_is_recorded() {
    let app = App::start().await;
    app.identity.ensure_platform().await.unwrap();
    let mut honest = Browser::signed_in(&app, "bank", "admin").await;
    let cookie = session_value(&honest);
    let (token, seal) = cookie.split_once('.').unwrap();
    let unsealed = format!("{}{}", &token[..token.len() - 43], "A".repeat(43));
    let elsewhere = token.replace(&app.bank.id.simple().to_string(), &"0".repeat(32));
    let forged = [
        // What anybody can make who knows the tenant.
        unsealed.clone(),
        token.to_owned(),
        format!("{token}."),
        format!("{token}.{}", "0".repeat(64)),
        format!("{unsealed}.{seal}"),
        format!("{elsewhere}.{seal}"),
        format!("{cookie}0"),
        "nonsense".to_owned(),
    ];
    // Whoever looks for the session waits for this: no forged cookie may.
    let holder = testkit::connect(&app.database.superuser_url()).await;
    let lock = "BEGIN; LOCK TABLE user_sessions IN ACCESS EXCLUSIVE MODE";
    holder.batch_execute(lock).await.unwrap();
    let mut requests = 0;
    for cookie in &forged {
        // Not even a page for everybody tells whether a guess was right.
        for path in ["/accounts", "/login", "/docs"] {
            let ask = app.get(path).header("accept", HTML).peer("203.0.113.7");
            let answer = ask.header("cookie", &format!("{SESSION}={cookie}")).send().await;
            assert_eq!(answer.status, 401, "{cookie} at {path}: {}", answer.text);
            assert!(answer.text.contains("content=\"0; url=/login"), "{path}: {}", answer.text);
            let dropped = answer.header("set-cookie");
            assert!(dropped.starts_with("__Host-strongroom=;"), "taken away: {dropped}");
            assert!(dropped.contains("Max-Age=0"), "taken away: {dropped}");
            requests += 1;
        }
    }
    holder.batch_execute("ROLLBACK").await.unwrap();
    assert_eq!(honest.get(&app, "/").await.status, 200, "the real one opens its session");
    app.state.record_refused().await.unwrap();
    let sql = "SELECT host(ip_address), (details->>'status')::int, (details->>'requests')::int \
               FROM audit_log log JOIN tenants ON tenants.id = log.tenant_id \
               WHERE event_type = 'request_flood' AND tenants.slug = 'platform'";
    let rows = app.superuser.query(sql, &[]).await.unwrap();
    let rows: Vec<(String, i32, i32)> =
        rows.iter().map(|row| (row.get(0), row.get(1), row.get(2))).collect();
    assert_eq!(rows, [("203.0.113.7".to_owned(), 401, requests)]);
}

/// A request to the sign-in that never becomes an attempt.
async fn no_attempt(app: &App, what: &str, peer: &str) -> Answered {
    let method = if what == "another method" { Method::PUT } else { Method::POST };
    let site = if what == "another site's form" { "cross-site" } else { "same-origin" };
    let cookie = if what == "a forged cookie" { SESSION } else { "other" };
    let huge = "x".repeat(70_000);
    let username = match what {
        "more than 64 KB" => huge.as_str(),
        "U+0000" => "ad\0min",
        _ => "admin",
    };
    let ask = app.ask(method, "/login").header("accept", HTML).header("sec-fetch-site", site);
    let ask = ask.header("cookie", &format!("{cookie}=nonsense")).peer(peer);
    ask.form(&[("username", username), ("password", PASSWORD)]).send().await
}

#[tokio::test]
async fn what_fails_before_it_is_an_attempt_is_counted_as_one() {
    let app = App::start_strict().await;
    let budget = SecurityPolicy::of(Blueprint::Standard).rate_limits.auth_per_address;
    let table = [
        ("a form without its token", "203.0.113.1", 403),
        ("another site's form", "203.0.113.2", 403),
        ("more than 64 KB", "203.0.113.3", 413),
        ("U+0000", "203.0.113.4", 400),
        ("another method", "203.0.113.5", 405),
        ("a forged cookie", "203.0.113.6", 401),
    ];
    for (what, peer, status) in table {
        for number in 0..budget {
            let answer = no_attempt(&app, what, peer).await;
            assert_eq!(answer.status, status, "{what}, {number}: {}", answer.text);
        }
        let answer = no_attempt(&app, what, peer).await;
        assert_designed(&answer, 429, "Too many requests");
        assert!(!answer.header("retry-after").is_empty(), "{what}");
        // One budget with the API; reading, and everybody else, have their own.
        let by_api = app.post("/v1/auth/login").peer(peer).raw_json("{").send().await;
        assert_eq!(by_api.status, 429, "{what}");
        assert_eq!(app.get("/login").header("accept", HTML).peer(peer).send().await.status, 200);
    }
    let mut elsewhere = Browser::default();
    elsewhere.get(&app, "/login").await;
    let fields = [("tenant", "bank"), ("username", "admin"), ("password", PASSWORD)];
    assert_eq!(elsewhere.post(&app, "/login", &fields).await.status, 303);
}

#[tokio::test]
async fn an_id_that_is_none_leads_to_a_page_of_ours() {
    let app = App::start().await;
    let mut browser = Browser::signed_in(&app, "bank", "admin").await;
    let mut pages = 0;
    for page in console::page_paths() {
        if !page.path.contains("{id}") {
            continue;
        }
        for id in ["abc", "1", "01890000-0000-7000-8000-00000000000g", "%ff"] {
            let path = page.path.replace("{id}", id);
            let answer = match page.method {
                "get" => browser.get(&app, &path).await,
                _ => browser.post(&app, &path, &[]).await,
            };
            assert_designed(&answer, 404, "There is nothing here");
        }
        pages += 1;
    }
    assert!(pages > 20, "{pages}");
    assert_designed(&browser.get(&app, "/docs/operations/%ff").await, 404, "There is nothing here");
    assert_eq!(browser.get(&app, "/assets/%ff/app.css").await.status, 404);
}
