//! The harness against pages with one fault each: what it must catch, and the clean
//! page that it must let pass.

use axum::{
    Router,
    http::{StatusCode, header},
    response::{Html, IntoResponse, Response},
    routing::get,
};
use server::serve::listener::{Acceptor, bind_loopbacks};

use super::{Browser, Kind, Page, Stop, Walker};

const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src * data:; \
                      connect-src 'self'; form-action 'self'; frame-ancestors 'none'; \
                      base-uri 'none'; require-trusted-types-for 'script'; trusted-types 'none'";

fn answer(body: &str) -> Response {
    let page = format!(
        "<!doctype html><html lang=en><head><meta charset=utf-8><title>Test</title>\
         <meta name=viewport content='width=device-width, initial-scale=1'>\
         <link rel=icon href=data:,><link rel=stylesheet href=/style.css></head>\
         <body><main><h1>Test</h1>{body}</main></body></html>"
    );
    ([(header::CONTENT_SECURITY_POLICY, POLICY)], Html(page)).into_response()
}

fn script(text: &'static str) -> axum::routing::MethodRouter {
    get(move || async move { ([(header::CONTENT_TYPE, "text/javascript")], text) })
}

fn page(body: &'static str) -> axum::routing::MethodRouter {
    get(move || async move { answer(body) })
}

const FORM: &str = "<form action=/clean><label>Name <input name=name id=name></label>\
                    <button>Send</button></form><p id=keys></p><script src=/keys.js></script>";

async fn serve() -> (String, Acceptor) {
    let router = Router::new()
        .route("/clean", page(FORM))
        .route("/inline-script", page("<script>1</script>"))
        .route("/inline-style", page("<p style='color: red'>x</p>"))
        .route("/trusted-types", page("<p id=a></p><script src=/html.js></script>"))
        .route("/console", page("<script src=/console.js></script>"))
        .route("/exception", page("<script src=/throw.js></script>"))
        .route("/rejection", page("<script src=/reject.js></script>"))
        .route("/foreign", page("<img alt=x src='https://elsewhere.example/x.png'>"))
        .route("/missing-part", page("<img alt=x src='/nowhere.png'>"))
        .route("/barrier", page("<input name=unnamed><img src=data:,>"))
        .route("/wide", page("<pre class=wide>wide</pre>"))
        .route("/cookie", get(cookie))
        .route("/refused", get(|| async { (StatusCode::FORBIDDEN, answer("No")) }))
        .route("/style.css", get(|| async {
            ([(header::CONTENT_TYPE, "text/css")], ".wide { width: 900px }")
        }))
        .route("/html.js", script("document.querySelector('#a').innerHTML = '<b>x</b>'"))
        .route("/console.js", script("console.error('went', 'wrong')"))
        .route("/throw.js", script("throw new Error('thrown')"))
        .route("/reject.js", script("Promise.reject(new Error('rejected'))"))
        .route("/keys.js", script(
            "addEventListener('keydown', (event) => { if (event.key.length > 1 || event.ctrlKey) \
             document.querySelector('#keys').append(`${event.ctrlKey ? '^' : ''}${event.key} `) })",
        ));
    let (port, listeners) = bind_loopbacks(0).await.unwrap();
    let acceptor = Acceptor::new(router, 64);
    for listener in listeners {
        acceptor.listen(listener);
    }
    (format!("http://localhost:{port}"), acceptor)
}

async fn cookie() -> Response {
    let cookie = "__Host-session=secret; Path=/; Secure; HttpOnly; SameSite=Strict";
    ([(header::SET_COOKIE, cookie)], answer("Set")).into_response()
}

#[tokio::test]
async fn the_harness_catches_what_no_page_may_do() {
    let (origin, _acceptor) = serve().await;
    let browser = Browser::start().await;
    let person = browser.person(&origin).await;
    let page = person.page().await;
    for (path, kind, text) in [
        ("/inline-script", Kind::Policy, "script-src"),
        ("/inline-style", Kind::Policy, "style-src"),
        ("/trusted-types", Kind::Policy, "require-trusted-types-for"),
        ("/console", Kind::Console, "went wrong"),
        ("/exception", Kind::Exception, "thrown"),
        ("/rejection", Kind::Exception, "rejected"),
        ("/foreign", Kind::Foreign, "https://elsewhere.example/x.png"),
        ("/missing-part", Kind::Network, "GET"),
    ] {
        page.goto(path).await.expect_status(200);
        let found = page.take_findings();
        let is_it = |finding: &super::Finding| finding.kind == kind && finding.text.contains(text);
        assert!(found.iter().any(is_it), "{path}: {found:?}");
    }
    walks(&page).await;
    drop(page);
    uses(&browser, &origin).await;
}

/// The walker's own rules.
async fn walks(page: &Page) {
    let mut walker = Walker::default();
    for (path, fault, times) in [
        ("/barrier", "label (critical)", 4),
        ("/wide", "scrolls sideways: 9", 2),
        ("/refused", "answered 403 instead of 200", 4),
        ("/console", "went wrong", 4),
    ] {
        walker.visit(page, &Stop::new("selftest", path)).await;
        let faults = walker.take_faults();
        let hits = faults.iter().filter(|text| text.contains(fault)).count();
        assert_eq!(hits, times, "{path}: {faults:#?}");
    }
    walker.visit(page, &Stop::new("selftest", "/refused").answering(403)).await;
    walker.visit(page, &Stop::new("selftest", "/clean")).await;
    walker.finish();
}

/// A person's own hands, and cookies that nobody else has.
async fn uses(browser: &Browser, origin: &str) {
    let (one, other) = (browser.person(origin).await, browser.person(origin).await);
    let page = one.page().await;
    page.goto("/cookie").await.expect_status(200);
    let cookies = one.cookies().await;
    let cookie = cookies.iter().find(|cookie| cookie["name"] == "__Host-session").unwrap();
    assert_eq!(cookie["httpOnly"], true, "{cookie}");
    assert_eq!(cookie["secure"], true, "{cookie}");
    assert_eq!(cookie["sameSite"], "Strict", "{cookie}");
    assert!(other.cookies().await.is_empty());

    page.goto("/clean").await.expect_status(200);
    page.press("Control+k Escape").await;
    assert_eq!(page.text("#keys").await, "^k Escape");
    page.type_text("#name", "first").await;
    page.type_text("#name", "Žluťoučký").await;
    page.press("! Enter").await;
    page.wait_until("location.search !== ''").await;
    page.settle().await;
    assert_eq!(page.path().await, "/clean?name=%C5%BDlu%C5%A5ou%C4%8Dk%C3%BD%21");
    page.assert_clean();
    // Ready for passkeys.
    page.command("WebAuthn.enable", serde_json::json!({})).await;
}

#[tokio::test]
#[should_panic(expected = "the browser complains")]
async fn a_page_with_findings_fails_the_test_that_forgets_them() {
    let (origin, _acceptor) = serve().await;
    let browser = Browser::start().await;
    let page = browser.person(&origin).await.page().await;
    page.goto("/console").await;
    drop(page);
}
