//! The console by keys alone, at high contrast, at 200 % and without motion.

use serde_json::json;

use super::{Browser, Page, Stop, Viewport, Walker, assert_accessible, pages::sign_in};
use crate::harness::App;

/// Id, class or name of what is in focus.
const FOCUSED: &str = "(() => { const at = document.activeElement; \
    return at.id || at.className || at.tagName; })()";
/// Whether what is in focus can be told from the rest, and lies within the window.
const IS_SHOWN: &str = "(() => { const at = document.activeElement; \
    if (at === document.body) return true; \
    const style = getComputedStyle(at); const box = at.getBoundingClientRect(); \
    const ring = style.outlineStyle !== 'none' && parseFloat(style.outlineWidth) > 0; \
    return (ring || style.boxShadow !== 'none') && box.bottom > 0 \
        && box.top < innerHeight && box.width > 0; })()";

async fn focused(page: &Page) -> String {
    page.eval(FOCUSED).await.as_str().unwrap_or_default().to_owned()
}

async fn is_open(page: &Page, id: &str) -> bool {
    page.eval(&format!("document.getElementById('{id}').open === true")).await == true
}

#[tokio::test]
async fn everything_is_reached_by_keys_and_nothing_holds_them() {
    let app = App::start().await;
    let (port, _acceptor) = app.listen().await;
    let origin = format!("http://localhost:{port}");
    let browser = Browser::start().await;
    let page = sign_in(&browser.person(&origin).await, &app, "admin").await;

    // The first stop leads past everything.
    page.goto("/accounts").await.expect_status(200);
    page.press("Tab").await;
    assert_eq!(focused(&page).await, "skip");
    page.screenshot("keyboard-skip").await;
    page.press("Enter").await;
    page.wait_until("document.activeElement.id === 'main'").await;

    // All the way round: each stop is to be seen, and the way leads out of the page again.
    page.goto("/accounts").await.expect_status(200);
    let mut stops = Vec::new();
    for _ in 0..200 {
        page.press("Tab").await;
        let here = page.eval("document.activeElement.outerHTML.slice(0, 160)").await;
        if page.eval("document.activeElement === document.body").await == true {
            break;
        }
        assert_eq!(page.eval(IS_SHOWN).await, true, "in focus and not to be seen: {here}");
        stops.push(here.as_str().unwrap_or_default().to_owned());
        if stops.len() > 3 && stops[0] == *stops.last().unwrap() {
            break;
        }
    }
    assert!(stops.len() > 8 && stops.len() < 200, "{} stops: {stops:#?}", stops.len());
    let at = |text: &str| stops.iter().position(|stop| stop.contains(text));
    assert!(at("skip") < at("search-trigger") && at("search-trigger") < at("sidebar-link"));

    shortcuts(&page).await;
    dialogs(&page).await;
    page.assert_clean();
}

async fn shortcuts(page: &Page) {
    page.goto("/").await.expect_status(200);
    for (keys, path) in
        [("g b", "/accounts"), ("g a", "/approvals"), ("g c", "/customers"), ("g o", "/")]
    {
        page.press(keys).await;
        page.wait_until(&format!("location.pathname === '{path}'")).await;
        page.settle().await;
    }
    page.goto("/accounts").await.expect_status(200);
    page.press("j j k Enter").await;
    page.wait_until("/^\\/accounts\\/[0-9a-f-]{36}$/.test(location.pathname)").await;
    page.settle().await;
    // Typed into a field, letters are letters.
    page.goto("/customers").await.expect_status(200);
    page.press("/").await;
    page.wait_until("document.activeElement.matches('[data-filter], #palette-input')").await;
    page.press("g a ?").await;
    assert_eq!(page.path().await, "/customers");
    assert!(!is_open(page, "keys").await);
}

async fn dialogs(page: &Page) {
    page.goto("/").await.expect_status(200);
    page.press("?").await;
    page.wait_until("document.getElementById('keys').open").await;
    page.settle().await;
    page.screenshot("keyboard-help").await;
    assert_accessible(page).await;
    for _ in 0..6 {
        page.press("Tab").await;
        let within = "document.activeElement === document.body \
            || document.getElementById('keys').contains(document.activeElement)";
        assert_eq!(
            page.eval(within).await,
            true,
            "a dialog keeps the keys: {}",
            focused(page).await
        );
    }
    page.press("Escape").await;
    page.wait_until("!document.getElementById('keys').open").await;

    page.press("Control+k").await;
    page.wait_until("document.activeElement.id === 'palette-input'").await;
    page.press("a c c").await;
    page.settle().await;
    page.screenshot("keyboard-palette").await;
    assert_accessible(page).await;
    page.press("Escape").await;
    page.wait_until("!document.getElementById('palette').open").await;
    page.press("Control+k").await;
    page.wait_until("document.activeElement.id === 'palette-input'").await;
    page.press("a c c o u n t s").await;
    page.press("Enter").await;
    page.wait_until("location.pathname === '/accounts'").await;
    page.settle().await;

    // The menu: opened by Enter, closed by Escape (the focus stays) and by going on.
    page.goto("/").await.expect_status(200);
    let summary = "document.querySelector('.menu > summary').focus()";
    page.eval(summary).await;
    page.press("Enter").await;
    page.wait_for(".menu-panel").await;
    page.screenshot("keyboard-menu").await;
    assert_accessible(page).await;
    page.press("Escape").await;
    page.wait_until("!document.querySelector('.menu').open").await;
    assert!(focused(page).await.contains("avatar"), "{}", focused(page).await);
    page.press("Enter").await;
    page.wait_for(".menu-panel").await;
    for _ in 0..8 {
        page.press("Tab").await;
    }
    page.wait_until("!document.querySelector('.menu').open").await;

    page.click("[data-open='as-api']").await;
    page.wait_until("document.getElementById('as-api').open").await;
    page.settle().await;
    page.screenshot("drawer").await;
    assert_accessible(page).await;
    page.press("Escape").await;
    page.wait_until("!document.getElementById('as-api').open").await;
    assert_eq!(page.eval("document.activeElement.dataset.open").await, "as-api", "focus returns");
}

#[tokio::test]
async fn nothing_is_lost_at_200_percent_at_high_contrast_or_without_motion() {
    let app = App::start().await;
    let (port, _acceptor) = app.listen().await;
    let origin = format!("http://localhost:{port}");
    let browser = Browser::start().await;
    let stranger = browser.person(&origin).await.page().await;
    let page = sign_in(&browser.person(&origin).await, &app, "admin").await;
    for (page, name, path) in [
        (&stranger, "login", "/login"),
        (&stranger, "docs", "/docs"),
        (&stranger, "docs-errors", "/docs/errors"),
        (&page, "overview", "/"),
        (&page, "accounts", "/accounts"),
    ] {
        // 1440 pixels at 200 %.
        page.set_viewport(Viewport::Other { width: 720, height: 450 }).await;
        page.goto(path).await.expect_status(200);
        let wide = "document.scrollingElement.scrollWidth > innerWidth";
        assert_eq!(page.eval(wide).await, false, "{path} scrolls sideways at 200 %");
        page.screenshot(&format!("{name}-zoom")).await;
        page.set_viewport(Viewport::Desktop).await;
        let features = json!([
            { "name": "forced-colors", "value": "active" },
            { "name": "prefers-reduced-motion", "value": "reduce" },
        ]);
        page.command("Emulation.setEmulatedMedia", json!({ "features": features })).await;
        page.goto(path).await.expect_status(200);
        assert_eq!(page.eval("matchMedia('(forced-colors: active)').matches").await, true);
        page.screenshot(&format!("{name}-contrast")).await;
        page.press("Tab").await;
        assert_eq!(page.eval(IS_SHOWN).await, true, "{path}: the focus is lost in high contrast");
        let moving = "document.getAnimations().filter((one) => \
            one.effect.getComputedTiming().activeDuration > 1).length";
        assert_eq!(page.eval(moving).await, 0, "{path} moves");
        page.command("Emulation.setEmulatedMedia", json!({ "features": [] })).await;
        page.assert_clean();
    }
    let current =
        page.eval("getComputedStyle(document.querySelector('.sidebar-link')).display").await;
    assert_eq!(current, "flex");
}

/// Our own frame around Swagger UI; what Swagger UI draws itself is not ours to mend and
/// is left out of the check.
#[tokio::test]
async fn the_frame_around_swagger_is_accessible_and_faults_are_designed() {
    let app = App::start().await;
    let (port, _acceptor) = app.listen().await;
    let origin = format!("http://localhost:{port}");
    let browser = Browser::start().await;
    let page = browser.person(&origin).await.page().await;
    for (viewport, name) in [(Viewport::Desktop, "desktop"), (Viewport::Phone, "phone")] {
        page.set_viewport(viewport).await;
        page.goto("/docs/swagger").await.expect_status(200);
        page.wait_for(".opblock").await;
        let places = page
            .eval("[...document.querySelectorAll('.docs-top > *')].map((one) => one.getBoundingClientRect().x)")
            .await;
        if viewport == Viewport::Desktop {
            let x: Vec<f64> = serde_json::from_value(places).unwrap();
            assert!(x.is_sorted(), "brand, links, button: {x:?}");
        }
        // Last: from here on the page is without it.
        page.screenshot(&format!("swagger-frame-{name}")).await;
        page.eval("document.getElementById('swagger').remove()").await;
        assert_accessible(&page).await;
    }
    page.take_findings();
    // Sign-in refused: the message is in focus, in every variant.
    page.set_viewport(Viewport::Desktop).await;
    page.goto("/login").await.expect_status(200);
    page.type_text("#username", "admin").await;
    page.type_text("#password", "wrong").await;
    page.press("Enter").await;
    page.wait_for("[role=alert]").await;
    page.settle().await;
    assert_eq!(page.eval("document.activeElement.matches('[role=alert]')").await, true);
    page.screenshot("login-refused-desktop").await;
    assert_accessible(&page).await;
    page.set_viewport(Viewport::Phone).await;
    page.screenshot("login-refused-phone").await;
    page.take_findings();
    app.add_bank("other").await;
    let mut walker = Walker::default();
    walker.visit(&page, &Stop::new("login-tenant", "/login?why=expired")).await;
    walker.finish();
    fault_pages(&app, &browser, &origin).await;
}

async fn fault_pages(app: &App, browser: &Browser, origin: &str) {
    let page = sign_in(&browser.person(origin).await, app, "admin").await;
    let holder = testkit::connect(&app.database.superuser_url()).await;
    let mut walker = Walker::default();
    walker.visit(&page, &Stop::new("fault-405", "/logout").answering(405)).await;
    let break_it = "ALTER TABLE ledger_accounts RENAME COLUMN status TO status_gone";
    holder.batch_execute(break_it).await.unwrap();
    let visit = page.goto("/accounts").await;
    assert!(visit.status >= 500, "{}", visit.status);
    page.take_findings();
    walker.visit(&page, &Stop::new("fault-500", "/accounts").answering(visit.status)).await;
    walker.finish();
}
