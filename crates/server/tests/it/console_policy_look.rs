//! The pages of the policy and of keys in a real browser, in every variant: what the walk by
//! addresses does not meet, and the whole way by keyboard.

use crate::{
    browser::{Browser, Page, Stop, Walker, sign_in},
    console, console_policy,
    harness::App,
};

async fn typed(page: &Page, path: &str, text: &str) {
    let choose = format!(
        "(() => {{ const field = document.getElementById('field-{path}'); field.value = '{text}'; }})()"
    );
    page.eval(&choose).await;
}

async fn pressed(page: &Page, words: &str) {
    page.click_text("main button.button--primary", words).await;
}

#[tokio::test]
async fn pages_of_the_policy_are_clean_in_every_variant() {
    let app = App::start().await;
    let mut person = console::Browser::signed_in(&app, "bank", "super_admin").await;
    let own = console_policy::asked(&app, &mut person, &[("password.history", "9")]).await;
    let (port, _acceptor) = app.listen().await;
    let origin = format!("http://localhost:{port}");
    let browser = Browser::start().await;
    let mut walker = Walker::default();
    let page = sign_in(&browser.person(&origin).await, &app, "admin").await;
    for (name, path) in [
        ("policy-settings", "/settings".to_owned()),
        ("policy-form", "/settings/policy".to_owned()),
        ("policy-changes", "/settings/policy/changes".to_owned()),
        ("policy-changes-none", "/settings/policy/changes?status=rejected".to_owned()),
        ("policy-change", format!("/settings/policy/changes/{own}")),
        ("policy-change-approve", format!("/settings/policy/changes/{own}?confirm=ask-approve")),
    ] {
        walker.visit(&page, &Stop::new(name, path)).await;
    }
    // Faults come back in focus; mended, they lead to the summary, and that to the change.
    page.goto("/settings/policy").await.expect_status(200);
    typed(&page, "session.idle_timeout_s", "30").await;
    typed(&page, "session.concurrent_limit", "0").await;
    pressed(&page, "Show what would change").await;
    page.wait_for(".summary").await;
    let focused = "document.activeElement.classList.contains('summary')";
    page.wait_until(focused).await;
    walker.look(&page, "policy-form-faults").await;
    typed(&page, "session.idle_timeout_s", "20 min").await;
    typed(&page, "session.concurrent_limit", "3").await;
    typed(&page, "note", "After the audit of May").await;
    pressed(&page, "Show what would change").await;
    page.wait_for(".diff").await;
    walker.look(&page, "policy-review").await;
    pressed(&page, "Ask for this change").await;
    page.wait_until("/changes\\/[0-9a-f-]{36}$/.test(location.pathname)").await;
    walker.look(&page, "policy-change-own").await;
    // The other's is approved in the dialog; one's own is stale from then on.
    page.goto(&format!("/settings/policy/changes/{own}")).await.expect_status(200);
    page.click("[data-open=ask-approve]").await;
    page.wait_for("#ask-approve[open]").await;
    page.click("#ask-approve .button--primary").await;
    page.wait_for(".toast").await;
    walker.look(&page, "policy-change-approved").await;
    page.goto("/settings/policy/changes?status=pending").await.expect_status(200);
    page.click(".row-link").await;
    page.wait_for(".notice").await;
    walker.look(&page, "policy-change-stale").await;
    walker.finish();
}

#[tokio::test]
async fn pages_of_keys_are_clean_in_every_variant() {
    let app = App::start().await;
    let (port, _acceptor) = app.listen().await;
    let origin = format!("http://localhost:{port}");
    let browser = Browser::start().await;
    let mut walker = Walker::default();
    let page = sign_in(&browser.person(&origin).await, &app, "admin").await;
    walker.visit(&page, &Stop::new("step-up-without-factor", "/step-up?next=/keys/api/new")).await;
    app.factor_used("admin").await;
    walker.visit(&page, &Stop::new("keys-api-none", "/keys/api")).await;
    walker.visit(&page, &Stop::new("keys-api-role", "/keys/api/new")).await;
    walker.visit(&page, &Stop::new("keys-api-new", "/keys/api/new?role=officer")).await;
    pressed(&page, "Make the key").await;
    // The browser itself stops at the empty name.
    page.settle().await;
    assert_eq!(page.eval("document.activeElement.id").await, "field-name");
    typed(&page, "name", "Payroll").await;
    pressed(&page, "Make the key").await;
    page.wait_for(".summary").await;
    walker.look(&page, "keys-api-faults").await;
    page.click("input[name=scopes][value='account:read']").await;
    typed(&page, "name", "Payroll").await;
    pressed(&page, "Make the key").await;
    page.wait_for(".code").await;
    walker.look(&page, "keys-api-secret").await;
    let secret = page.text(".code code").await;
    assert!(secret.starts_with("apikey_"), "{secret}");
    page.click_text("main a.button", "I have copied it").await;
    page.wait_until("/api\\/[0-9a-f-]{36}$/.test(location.pathname)").await;
    let place = page.path().await;
    walker.visit(&page, &Stop::new("keys-api-key", place.clone())).await;
    walker.visit(&page, &Stop::new("keys-api-rotate", format!("{place}?confirm=ask-rotate"))).await;
    walker.visit(&page, &Stop::new("keys-api", "/keys/api")).await;
    assert!(!page.text("body").await.contains(&secret), "no other page has it");
    walker.visit(&page, &Stop::new("keys-data", "/keys/data?count=yes")).await;
    walker.visit(&page, &Stop::new("keys", "/keys")).await;
    page.click("[data-open=ask-rotate]").await;
    page.wait_for("#ask-rotate[open]").await;
    page.click("#ask-rotate .button--primary").await;
    page.wait_for(".toast").await;
    walker.look(&page, "keys-rotated").await;
    page.click("[data-open^=revoke-]").await;
    page.wait_for("dialog[open]").await;
    walker.look(&page, "keys-revoke").await;
    walker.finish();
}
