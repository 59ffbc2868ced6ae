//! The table of pages: a page engineer adds a line, the walk does the rest. One test,
//! one browser, one database for all of them; what each page does is tested elsewhere.

use std::collections::BTreeMap;

use super::{Browser, Page, Person, Stop, Walker};
use crate::harness::{App, PASSWORD};

/// Who looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Who {
    /// Nobody signed in.
    Anybody,
    /// The bank's person with this user name.
    Signed(&'static str),
}

/// Who, the screenshots' name, path and the status expected. Ids in braces are those of
/// the first customer and of their first account.
const PAGES: &[(Who, &str, &str, u16)] = &[
    (Who::Anybody, "login", "/login", 200),
    (Who::Anybody, "docs", "/docs", 200),
    (Who::Anybody, "docs-search", "/docs?q=transfer", 200),
    (Who::Anybody, "docs-operation", "/docs/operations/createTransfer", 200),
    (Who::Anybody, "docs-list", "/docs/operations/listAccounts", 200),
    (Who::Anybody, "docs-start", "/docs/guides/getting-started", 200),
    (Who::Anybody, "docs-idempotency", "/docs/guides/idempotency", 200),
    (Who::Anybody, "docs-pages", "/docs/guides/pagination", 200),
    (Who::Anybody, "docs-money", "/docs/guides/money-and-dates", 200),
    (Who::Anybody, "docs-errors", "/docs/errors", 200),
    (Who::Anybody, "docs-nothing", "/docs/operations/none", 404),
    (Who::Signed("admin"), "overview", "/", 200),
    (Who::Signed("admin"), "customers", "/customers", 200),
    (Who::Signed("admin"), "customers-none", "/customers?email=nobody@bank.example", 200),
    (Who::Signed("admin"), "customer", "/customers/{customer}", 200),
    (Who::Signed("admin"), "customer-edit", "/customers/{customer}/edit", 200),
    (Who::Signed("admin"), "customer-new", "/customers/new", 200),
    (Who::Signed("admin"), "accounts", "/accounts", 200),
    (Who::Signed("admin"), "accounts-owner", "/accounts?customer_id={customer}", 200),
    (Who::Signed("admin"), "accounts-none", "/accounts?currency=JPY", 200),
    (Who::Signed("admin"), "account-new", "/accounts/new?customer_id={customer}", 200),
    (Who::Signed("admin"), "account", "/accounts/{account}?on=2026-01-01", 200),
    (Who::Signed("admin"), "account-none", "/accounts/{account}?q=nothing&days=365", 200),
    (Who::Signed("admin"), "account-holds", "/accounts/{account}/holds", 200),
    (Who::Signed("admin"), "account-settings", "/accounts/{account}/settings", 200),
    (Who::Signed("admin"), "account-close", "/accounts/{account}/settings?confirm=ask-close", 200),
    (Who::Signed("admin"), "transfer-new", "/transfers/new", 200),
    (Who::Signed("admin"), "deposit", "/accounts/{account}/deposit", 200),
    (Who::Signed("admin"), "audit", "/audit", 200),
    (Who::Signed("admin"), "audit-verify", "/audit/verify", 200),
    (Who::Signed("admin"), "settings", "/settings", 200),
    (Who::Signed("admin"), "security", "/security", 200),
    (Who::Signed("admin"), "factors-nobodys", "/security/factors", 200),
    (Who::Signed("admin"), "backup-codes-none", "/security/backup-codes", 200),
    (Who::Signed("admin"), "step-up-none", "/step-up", 200),
    (Who::Signed("admin"), "security-password", "/security/password", 200),
    (Who::Signed("admin"), "security-contact", "/security/contact", 200),
    (Who::Signed("admin"), "security-devices", "/security/devices", 200),
    (Who::Signed("admin"), "security-sessions", "/security/sessions", 200),
    (Who::Signed("admin"), "security-activity", "/security/activity", 200),
    (Who::Signed("admin"), "people", "/users", 200),
    (Who::Signed("admin"), "people-none", "/users?username=nobody", 200),
    (Who::Signed("admin"), "person", "/users/{user}", 200),
    (Who::Signed("admin"), "person-edit", "/users/{user}/edit", 200),
    (Who::Signed("admin"), "person-new", "/users/new", 200),
    (Who::Signed("admin"), "person-new-password", "/users/new?start=password", 200),
    (Who::Signed("admin"), "people-resets", "/users/resets", 200),
    (Who::Signed("admin"), "roles", "/roles", 200),
    (Who::Signed("admin"), "access", "/access", 200),
    (
        Who::Signed("admin"),
        "access-denied",
        "/access?person={user}&action=transaction:deposit&kind=account&id={account}",
        200,
    ),
    (Who::Signed("admin"), "access-refused", "/access?action=account:read&kind=account", 422),
    (Who::Signed("admin"), "webhooks-none", "/webhooks", 200),
    (Who::Signed("admin"), "webhook-new", "/webhooks/new", 200),
    (Who::Signed("admin"), "not-found", "/nothing/here", 404),
    (Who::Signed("customer"), "customer-overview", "/", 200),
    (Who::Signed("customer"), "customer-accounts", "/accounts", 200),
    (Who::Signed("customer"), "customer-account", "/accounts/{account}", 200),
    (Who::Signed("customer"), "customer-self", "/customers/{customer}", 200),
    (Who::Signed("customer"), "customer-self-edit", "/customers/{customer}/edit", 200),
];

/// Signs in by the page, as a person does.
pub(crate) async fn sign_in(person: &Person, app: &App, username: &str) -> Page {
    let page = person.page().await;
    page.goto("/login").await.expect_status(200);
    if page.count("#tenant").await > 0 {
        page.type_text("#tenant", &app.bank.slug).await;
    }
    page.type_text("#username", username).await;
    page.type_text("#password", PASSWORD).await;
    page.press("Enter").await;
    page.wait_until("location.pathname !== '/login'").await;
    page.settle().await;
    page
}

#[tokio::test]
async fn every_page_is_clean_in_every_variant() {
    let app = App::start().await;
    let (port, _acceptor) = app.listen().await;
    let origin = format!("http://localhost:{port}");
    let browser = Browser::start().await;
    let mut walker = Walker::default();
    let (mut who, mut page) = (Who::Anybody, browser.person(&origin).await.page().await);
    for (whose, name, path, status) in PAGES {
        if *whose != who {
            who = *whose;
            let person = browser.person(&origin).await;
            page = match who {
                Who::Anybody => person.page().await,
                Who::Signed(username) => sign_in(&person, &app, username).await,
            };
        }
        let first = &app.bank.customers[0];
        let path = path
            .replace("{customer}", &first.id.to_string())
            .replace("{account}", &first.accounts[0].to_string())
            .replace("{user}", &app.bank.users["officer"].to_string());
        walker.visit(&page, &Stop::new(*name, path).answering(*status)).await;
    }
    walker.finish();
}

#[tokio::test]
async fn the_documentation_is_searched_followed_and_used_without_scripts() {
    let app = App::start().await;
    let (port, _acceptor) = app.listen().await;
    let origin = format!("http://localhost:{port}");
    let browser = Browser::start().await;
    let person = browser.person(&origin).await;
    let page = person.page().await;
    let shown = "document.querySelectorAll('[data-words]:not([hidden])').length";

    page.goto("/docs").await.expect_status(200);
    let all = page.eval(shown).await.as_u64().unwrap();
    let document = api::openapi();
    let operations = serde_json::to_value(&document).unwrap()["paths"]
        .as_object()
        .unwrap()
        .values()
        .map(|item| item.as_object().unwrap().len() as u64)
        .sum::<u64>();
    assert_eq!(all, operations, "every operation of the document has its line");
    page.press("/").await;
    page.press("b a t c h").await;
    page.wait_until(&format!("{shown} === 1")).await;
    page.click("[data-words]:not([hidden]) a").await;
    page.wait_for("#problems").await;
    assert_eq!(page.path().await, "/docs/operations/createTransferBatch");
    page.goto("/docs/operations/createTransfer").await.expect_status(200);
    page.click_text("a", "insufficient_funds").await;
    page.wait_until("document.querySelector(':target')?.id === 'insufficient_funds'").await;
    page.assert_clean();

    let quiet = browser.person(&origin).await.page().await;
    quiet.set_scripts(false).await;
    quiet.goto("/docs?q=transfers+batch").await.expect_status(200);
    assert_eq!(quiet.count("[data-words]").await, 1);
    swagger(&page).await;
}

#[tokio::test]
async fn every_link_of_the_documentation_leads_somewhere() {
    let app = App::start().await;
    let mut open = vec!["/docs".to_owned()];
    let mut seen: BTreeMap<String, String> = BTreeMap::new();
    let mut anchors = Vec::new();
    while let Some(path) = open.pop() {
        let (path, anchor) = path.split_once('#').unwrap_or((&path, ""));
        if !anchor.is_empty() {
            anchors.push((path.to_owned(), anchor.to_owned()));
        }
        if seen.contains_key(path) {
            continue;
        }
        let answer = app.get(path).header("accept", "text/html").send().await;
        assert_eq!(answer.status, 200, "{path}");
        for href in answer.text.split("href=\"").skip(1).filter_map(|rest| rest.split('"').next()) {
            if href.starts_with("/docs") {
                open.push(href.to_owned());
            } else if let Some(anchor) = href.strip_prefix('#') {
                anchors.push((path.to_owned(), anchor.to_owned()));
            }
        }
        seen.insert(path.to_owned(), answer.text);
    }
    for (path, anchor) in anchors {
        assert!(seen[&path].contains(&format!("id=\"{anchor}\"")), "{path}#{anchor}");
    }
    let operations = seen.keys().filter(|path| path.starts_with("/docs/operations/")).count();
    assert!(operations > 30, "{operations} pages of operations");
}

/// Swagger UI draws every operation under the strict policy, in both lights, opens one
/// and sends a request, without a single violation.
async fn swagger(page: &Page) {
    let visit = page.goto("/docs/swagger").await;
    let policy = &visit.expect_status(200).headers["content-security-policy"];
    assert!(!policy.contains("unsafe-"), "{policy}");
    assert!(policy.contains("require-trusted-types-for 'script'"), "{policy}");
    assert!(policy.ends_with("trusted-types default dompurify dompurify#page"), "{policy}");
    page.wait_for(".opblock").await;
    page.click("#operations-keys-readOpenApi .opblock-summary-control").await;
    page.click(".try-out__btn").await;
    page.click(".execute").await;
    page.wait_for_text(".live-responses-table .response-col_status", "200").await;
    page.settle().await;
    page.screenshot("swagger-desktop-light").await;
    // The policy lets through nothing that runs, whoever asks.
    let cleaned = page
        .eval(
            "(() => { const box = document.createElement('div'); \
              box.innerHTML = '<p>x</p><script>1</script><a href=\"javascript:1\">y</a>'; \
              return box.innerHTML; })()",
        )
        .await;
    assert_eq!(cleaned, "<p>x</p><a>y</a>");
    page.assert_clean();
}
