//! The security headers of every route of the interface and every page of the console, whatever
//! the answer is. From the tables of routes, so that a new one is asked.

use std::collections::{BTreeMap, BTreeSet};

use axum::http::Method;
use uuid::Uuid;

use crate::{
    console::Browser,
    harness::{Answered, App},
    wire::security_headers,
};

/// What says who serves.
const BANNERS: [&str; 3] = ["server", "x-powered-by", "via"];

fn told(answer: &Answered) -> String {
    for name in BANNERS {
        assert!(answer.headers.get(name).is_none(), "{name}");
    }
    assert!(!answer.header("x-request-id").is_empty());
    let text = security_headers(answer);
    // A nonce is another one each time.
    match text.split_once("'nonce-") {
        Some((before, after)) => {
            let rest = after.split_once('\'').unwrap().1;
            assert!(!rest.contains("'nonce-"), "{text}");
            format!("{before}'nonce-…'{rest}")
        }
        None => text,
    }
}

#[tokio::test]
async fn every_route_answers_under_the_same_headers() {
    let app = App::start().await;
    let mut by_headers: BTreeMap<String, BTreeSet<u16>> = BTreeMap::new();
    let mut seen = 0;
    for route in api::route_facts() {
        let path = route.path.replace("{tenant}", "bank").replace("{id}", &Uuid::nil().to_string());
        // Anew: some routes end the session.
        let token = app.login_by_factor(&app.bank, "super_admin").await;
        let ask = |method: &Method, path: String| app.ask(method.clone(), path);
        let answers = [
            ask(&route.method, format!("{path}/nothing/here")).bearer(&token).send().await,
            ask(&Method::PUT, path.clone()).bearer(&token).send().await,
            ask(&route.method, path.clone()).send().await,
            ask(&route.method, path.clone()).bearer(&token).send().await,
        ];
        assert_eq!(answers[0].status, 404, "{}", route.path);
        // Its other methods are kept for a module to come.
        let unknown = if route.path == "/v1/auth/register" { 404 } else { 405 };
        assert_eq!(answers[1].status, unknown, "{}", route.path);
        for answer in answers {
            by_headers.entry(told(&answer)).or_default().insert(answer.status);
            seen += 1;
        }
    }
    assert!(seen > 400, "{seen}");
    let [(headers, statuses)] = by_headers.iter().collect::<Vec<_>>()[..] else {
        panic!("{by_headers:#?}");
    };
    for status in [200, 400, 401, 404, 405, 415] {
        assert!(statuses.contains(&status), "{status} was not among {statuses:?}");
    }
    insta::assert_snapshot!("headers_of_routes", headers);
}

#[tokio::test]
async fn every_page_answers_under_headers_of_its_kind() {
    let app = App::start().await;
    let mut browser = Browser::signed_in_by_factor(&app, "bank", "super_admin").await;
    let mut kinds: BTreeSet<String> = BTreeSet::new();
    let mut statuses: BTreeSet<u16> = BTreeSet::new();
    for page in console::page_paths() {
        let path = page.path.replace("{id}", &Uuid::nil().to_string());
        let path: String = match path.split_once('{') {
            Some((before, _)) => format!("{before}nothing"),
            None => path,
        };
        let answers = [
            browser.get(&app, &path).await,
            app.get(path.as_str()).send().await,
            app.post(path.as_str()).form(&[("a", "b")]).send().await,
            app.ask(Method::PUT, path.as_str()).send().await,
            app.get(format!("{path}/nothing/here")).send().await,
        ];
        for answer in answers {
            assert!(answer.status < 500, "{path}: {}", answer.text);
            statuses.insert(answer.status);
            kinds.insert(told(&answer));
        }
    }
    assert!(statuses.contains(&200) && statuses.contains(&303) && statuses.contains(&404));
    let kinds: Vec<_> = kinds.into_iter().collect();
    insta::assert_snapshot!("headers_of_pages", kinds.join("\n\n"));
}
