//! Pages that the walk by addresses does not meet, held to the same rules: what a form
//! answers, what waits, and what is refused; and what scripts change on a page.

use serde_json::json;

use crate::{
    approvals,
    browser::{Browser, Page, Stop, Walker, assert_accessible, sign_in},
    harness::{App, unlimited},
};

async fn number(app: &App, account: uuid::Uuid) -> String {
    let sql = "SELECT account_number FROM savings_accounts WHERE id = $1";
    app.superuser.query_one(sql, &[&account]).await.unwrap().get(0)
}

/// Fills in a form and sends it; the summary has come.
async fn summarised(page: &Page, path: &str, fields: &[(&str, &str)]) {
    page.goto(path).await.expect_status(200);
    for (name, text) in fields {
        page.type_text(&format!("#field-{name}"), text).await;
    }
    page.press("Enter").await;
    page.wait_for(".confirm").await;
    page.settle().await;
}

#[tokio::test]
async fn summaries_holds_what_waits_and_refusals_are_clean_in_every_variant() {
    let app = App::start_with(api::ApiConfig {
        request_timeout_ms: 3_000,
        rate_limit_floor_per_minute: Some(400),
        ..unlimited()
    })
    .await;
    approvals::set_ceiling(&app, &app.bank, Some(approvals::CEILING)).await;
    let [account, _] = app.bank.customers[0].accounts;
    let to = number(&app, app.bank.customers[1].accounts[0]).await;
    let token = app.login(&app.bank, "customer").await;
    let (_, waiting) = approvals::waiting(&app, &token, "w").await;
    let order = json!({ "account_id": account, "amount": 500, "description": "Hotel" });
    let hold = app.post("/v1/holds").bearer(&token).key("h").json(&order).send().await;
    let hold = format!("/holds/{}", hold.body["id"].as_str().unwrap());

    let (port, _acceptor) = app.listen().await;
    let origin = format!("http://localhost:{port}");
    let browser = Browser::start().await;
    let mut walker = Walker::default();
    let page = sign_in(&browser.person(&origin).await, &app, "customer").await;
    let fields = [("to_account_id", to.as_str()), ("amount", "12.50"), ("description", "Rent")];
    let begin = format!("/transfers/new?from_account_id={account}");
    summarised(&page, &begin, &fields).await;
    walker.look(&page, "transfer-confirm").await;
    summarised(&page, &begin, &[fields[0], ("amount", "75")]).await;
    walker.look(&page, "transfer-confirm-waits").await;
    summarised(&page, &format!("/accounts/{account}/hold"), &[("amount", "3")]).await;
    walker.look(&page, "hold-confirm").await;

    let page = sign_in(&browser.person(&origin).await, &app, "officer").await;
    for (name, path) in [
        ("hold", hold.clone()),
        ("hold-capture", format!("{hold}?confirm=ask-capture")),
        ("holds", format!("/accounts/{account}/holds")),
        ("hold-new", format!("/accounts/{account}/hold")),
        ("transfer-waiting", format!("/transfers/{waiting}")),
        ("approvals", "/approvals".to_owned()),
        ("overview-waiting", "/".to_owned()),
    ] {
        page.goto(&path).await.expect_status(200);
        walker.look(&page, name).await;
    }
    walker.visit(&page, &Stop::new("denied", "/settings").answering(403)).await;
    // Nobody reads a list that somebody locks: the page comes in its time, and says so.
    app.superuser
        .batch_execute("BEGIN; LOCK TABLE savings_accounts IN ACCESS EXCLUSIVE MODE")
        .await
        .unwrap();
    page.goto("/accounts").await.expect_status(503);
    walker.look(&page, "unavailable").await;
    app.superuser.batch_execute("ROLLBACK").await.unwrap();
    // One address that asks too often.
    let mut asked = 0;
    while app.get("/login").header("accept", "text/html").send().await.status != 429 {
        asked += 1;
        assert!(asked < 2_000, "no limit is ever met");
    }
    let page = browser.person(&origin).await.page().await;
    page.goto("/login").await.expect_status(429);
    walker.look(&page, "too-many").await;
    walker.finish();
}

/// Chooses in a filter, as a person does; the list has been swapped in.
async fn filter(page: &Page, name: &str, value: &str) {
    let choose = format!(
        "(() => {{ const field = document.querySelector('#filter-{name}'); \
            field.value = '{value}'; \
            field.dispatchEvent(new Event('change', {{ bubbles: true }})); }})()"
    );
    page.eval(&choose).await;
    page.wait_until(&format!("location.search.includes('{name}={value}')")).await;
    page.settle().await;
}

#[tokio::test]
async fn the_drawer_and_the_file_follow_the_filters() {
    let app = App::start().await;
    let (port, _acceptor) = app.listen().await;
    let origin = format!("http://localhost:{port}");
    let browser = Browser::start().await;
    let page = sign_in(&browser.person(&origin).await, &app, "admin").await;
    page.goto("/accounts").await.expect_status(200);
    // Which filter, to what; what the request says then, and what is said beside it.
    for (name, value, asked, note) in [
        ("status", "frozen", "status=frozen", ""),
        ("account_type", "checking", "/v1/accounts?status=frozen", "no filter for type"),
    ] {
        filter(&page, name, value).await;
        page.click("[data-open=as-api]").await;
        page.wait_for("#as-api[open]").await;
        page.settle().await;
        let drawer = page.text("#as-api").await;
        assert!(drawer.contains(asked), "{name}: {drawer}");
        assert!(!drawer.contains("account_type="), "{name}: {drawer}");
        assert!(drawer.contains(note), "{name}: {drawer}");
        assert_accessible(&page).await;
        page.press("Escape").await;
        page.wait_until("document.querySelector('dialog[open]') === null").await;
    }
    page.goto("/audit").await.expect_status(200);
    filter(&page, "result", "success").await;
    let file = page.eval("document.querySelector('a[href^=\"/audit.csv\"]').search").await;
    assert_eq!(file, "?result=success");
}

/// The letters leave `/accounts` alone; Ctrl-K, which is none, goes on working.
async fn letters_do_nothing(page: &Page) {
    let closed = "document.querySelector('dialog[open]') === null";
    page.press("? / j g c").await;
    page.settle().await;
    assert_eq!(page.eval(closed).await, true, "no letter opens anything");
    assert_eq!(page.path().await, "/accounts", "none leads away");
    let moved = "document.activeElement.closest('main tbody, [data-filter]') !== null";
    assert_eq!(page.eval(moved).await, false, "none moves the focus");
    page.press("Control+k").await;
    page.wait_for("#palette[open]").await;
    page.press("Escape").await;
    page.wait_until(closed).await;
}

#[tokio::test]
async fn single_letters_are_turned_off_and_stay_off() {
    let app = App::start().await;
    let (port, _acceptor) = app.listen().await;
    let origin = format!("http://localhost:{port}");
    let browser = Browser::start().await;
    let person = browser.person(&origin).await;
    let page = sign_in(&person, &app, "admin").await;
    let closed = "document.querySelector('dialog[open]') === null";
    page.goto("/accounts").await.expect_status(200);
    page.press("?").await;
    page.wait_for("#keys[open]").await;
    page.settle().await;
    assert_accessible(&page).await;
    page.click("#keys-letters").await;
    page.press("Escape").await;
    page.wait_until(closed).await;
    letters_do_nothing(&page).await;
    page.click(".avatar-button").await;
    page.click_text(".menu-item", "Sign out").await;
    page.wait_until("location.pathname === '/login'").await;
    let page = sign_in(&person, &app, "admin").await;
    page.goto("/accounts").await.expect_status(200);
    letters_do_nothing(&page).await;
    // The menu leads to the switch, and it works both ways.
    page.click(".avatar-button").await;
    page.click("[data-open=keys]").await;
    page.wait_for("#keys[open]").await;
    page.settle().await;
    let chosen = "document.querySelector('#keys-letters').checked";
    assert_eq!(page.eval(chosen).await, false);
    page.click("#keys-letters").await;
    page.wait_until(chosen).await;
    page.press("Escape").await;
    page.wait_until(closed).await;
    page.press("?").await;
    page.wait_for("#keys[open]").await;
}
