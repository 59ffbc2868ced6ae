//! Roles in the console: what one may do is seen before it is made or changed, nobody writes
//! more than they hold, and nobody does it for another tenant.

use futures_util::future::join_all;
use uuid::Uuid;

use crate::{
    browser::{self, Stop, Walker, sign_in},
    console::Browser,
    console_policy::{fields_of, send},
    harness::{Answered, App},
};

const NEW: &str = "/roles/new";
const DESK: &str = "account:read\ntransaction:deposit; amount 10.00 EUR";

/// The custom roles as the database has them.
async fn stored(app: &App) -> Vec<String> {
    let sql = "SELECT definition FROM custom_roles ORDER BY name";
    let rows = app.superuser.query(sql, &[]).await.unwrap();
    rows.iter().map(|row| row.get(0)).collect()
}

async fn id_of(app: &App, tenant: Uuid, name: &str) -> Uuid {
    let sql = "SELECT id FROM roles WHERE tenant_id = $1 AND name = $2";
    app.superuser.query_one(sql, &[&tenant, &name]).await.unwrap().get(0)
}

/// The preview of a form, as it stands on the page of it.
async fn preview(
    app: &App,
    browser: &mut Browser,
    action: &str,
    typed: &[(&str, &str)],
) -> Answered {
    let form = browser.get(app, action).await;
    assert_eq!(form.status, 200, "{action}: {}", form.text);
    send(app, browser, (&form, action), typed).await
}

/// What the preview's button sends: the second form of the page.
async fn confirm(app: &App, browser: &mut Browser, page: &Answered, action: &str) -> Answered {
    let mark = format!("action=\"{action}\"");
    let (_, second) = page.text.rsplit_once(&mark).unwrap_or_else(|| panic!("{}", page.text));
    let mut fields = fields_of(&format!("{mark}{second}"), action);
    fields.retain(|(name, _)| name != "csrf");
    let fields: Vec<_> =
        fields.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    assert!(fields.contains(&("step", "confirm")), "{fields:?}");
    browser.post(app, action, &fields).await
}

/// An administrator, and where the role that they made is read.
async fn with_role(app: &App) -> (Browser, String) {
    let mut admin = Browser::signed_in_by_factor(app, "bank", "admin").await;
    let typed = [("name", "night_desk"), ("grants", DESK)];
    let page = preview(app, &mut admin, NEW, &typed).await;
    assert_eq!(page.status, 200, "{}", page.text);
    let made = confirm(app, &mut admin, &page, NEW).await;
    assert_eq!(made.status, 303, "{}", made.text);
    (admin, format!("/roles/{}", id_of(app, app.bank.id, "night_desk").await))
}

/// Gives a role beside their own by the form of a person, where it has a box.
async fn give(app: &App, admin: &mut Browser, username: &str, role: &str) {
    let action = format!("/users/{}/edit", app.bank.users[username]);
    let form = admin.get(app, &action).await;
    let name = format!("also_{role}");
    assert!(form.text.contains(&format!("name=\"{name}\"")), "offered: {}", form.text);
    let saved = send(app, admin, (&form, &action), &[(&name, "yes")]).await;
    assert_eq!(saved.status, 303, "{}", saved.text);
}

#[tokio::test]
async fn a_role_is_seen_before_it_is_made_and_made_once() {
    let app = App::start().await;
    let mut admin = Browser::signed_in_by_factor(&app, "bank", "admin").await;
    assert!(admin.get(&app, "/").await.text.contains("href=\"/roles\""), "led there");
    let list = admin.get(&app, "/roles").await;
    assert!(list.text.contains("Officer") && list.text.contains("One person"), "{}", list.text);
    let typed = [("name", "night_desk"), ("grants", DESK)];
    let page = preview(&app, &mut admin, NEW, &typed).await;
    assert_eq!(page.status, 200, "{}", page.text);
    for part in ["2 permissions", "transaction:deposit", "up to 10.00 EUR", "appears", "Nobody"] {
        assert!(page.text.contains(part), "{part}: {}", page.text);
    }
    assert!(stored(&app).await.is_empty(), "a preview makes nothing");
    // Back to the form: what was typed is there.
    let back = send(&app, &mut admin, (&page, NEW), &[]).await;
    let kept = fields_of(&back.text, NEW);
    assert!(kept.contains(&("name".to_owned(), "night_desk".to_owned())), "{kept:?}");
    assert!(back.text.contains("amount 10.00 EUR") && stored(&app).await.is_empty());
    let racing = (0..20).map(|_| {
        let (app, page, mut browser) = (&app, &page, admin.clone());
        async move { confirm(app, &mut browser, page, NEW).await }
    });
    let place = |id: Uuid| format!("/roles/{id}");
    let answers = join_all(racing).await;
    let id = id_of(&app, app.bank.id, "night_desk").await;
    for answer in answers {
        let led = answer.status == 303 && answer.header("location") == place(id);
        assert!(led || answer.status == 409, "{} {}", answer.status, answer.text);
    }
    let again = confirm(&app, &mut admin, &page, NEW).await;
    assert_eq!((again.status, again.header("location")), (303, place(id).as_str()));
    assert_eq!(stored(&app).await.len(), 1);
    let page = admin.get(&app, &place(id)).await;
    for part in ["Your own", "Transaction: deposit", "up to 10.00 EUR", "Nobody"] {
        assert!(page.text.contains(part), "{part}: {}", page.text);
    }
    // Another of the same name is refused, and said.
    let page = preview(&app, &mut admin, NEW, &typed).await;
    let taken = confirm(&app, &mut admin, &page, NEW).await;
    assert_eq!(taken.status, 409, "{}", taken.text);
    assert!(taken.text.contains("There is a role of this name"), "{}", taken.text);
}

#[tokio::test]
async fn what_is_no_role_comes_back_with_the_line_at_fault() {
    let app = App::start().await;
    let mut admin = Browser::signed_in_by_factor(&app, "bank", "admin").await;
    let hostile = "account:read; \"><script>alert(1)</script>";
    // Name, grants, status, field at fault, what the page says.
    for (name, grants, status, field, words) in [
        ("Night Desk", DESK, 422, "name", "small letters and underscores"),
        ("officer", DESK, 422, "name", "This is the name of a system role"),
        ("night_desk", "", 422, "grants", "Expected 1 to 64 permissions"),
        ("night_desk", "account:read\n\naccount:fly", 422, "grants", "Line 3: "),
        ("night_desk", "account:read\naccount:read", 422, "grants", "Line 2: The same"),
        (
            "night_desk",
            "account:read; from everywhere",
            422,
            "grants",
            "Line 1: Expected a network",
        ),
        ("night_desk", "account:read; amount 1.00 EUR", 422, "grants", "knows no amount"),
        ("night_desk", "account:read; always", 422, "grants", "Line 1: “always” is no condition"),
        ("night_desk", "system:read", 422, "grants", "Line 1: "),
        ("night_desk", hostile, 422, "grants", "is no condition"),
        (hostile, DESK, 422, "name", "small letters"),
    ] {
        let typed = [("name", name), ("grants", grants)];
        for step in ["preview", "confirm"] {
            let once = Uuid::from_bytes(vault::random_bytes()).to_string();
            let typed = [typed.as_slice(), &[("step", step), ("once", &once)]].concat();
            let page = preview(&app, &mut admin, NEW, &typed).await;
            assert_eq!(page.status, status, "{name} {grants}: {}", page.text);
            assert!(page.text.contains(words), "{name} {grants}: {}", page.text);
            assert!(page.text.contains(&format!("id=\"error-{field}\"")), "{}", page.text);
            assert!(!page.text.contains("<script>alert"), "{}", page.text);
        }
    }
    // No role of a bank holds this, so nobody there can write it.
    for step in ["preview", "confirm"] {
        let once = Uuid::from_bytes(vault::random_bytes()).to_string();
        let typed =
            [("name", "desk"), ("grants", "equipment:read"), ("step", step), ("once", &once)];
        let more = preview(&app, &mut admin, NEW, &typed).await;
        assert_eq!(more.status, 403, "{}", more.text);
        assert!(more.text.contains("Nobody writes a role of more than they hold"), "{}", more.text);
        assert!(more.text.contains("equipment:read"), "what was typed stays");
    }
    for fields in [vec![("name", "x_y"), ("grants", DESK)], vec![("step", "do")]] {
        assert_eq!(admin.post(&app, NEW, &fields).await.status, 400, "{fields:?}");
    }
    assert!(stored(&app).await.is_empty());
}

#[tokio::test]
async fn a_change_is_seen_whom_it_meets_and_made_on_the_version_that_was_seen() {
    let app = App::start().await;
    let (mut admin, place) = with_role(&app).await;
    let edit = format!("{place}/edit");
    give(&app, &mut admin, "customer", "night_desk").await;
    let form = admin.get(&app, &edit).await;
    assert!(form.text.contains("transaction:deposit; amount 10.00 EUR"), "{}", form.text);
    let typed = [("grants", "account:read\ntransaction:read")];
    let page = send(&app, &mut admin, (&form, &edit), &typed).await;
    assert_eq!(page.status, 200, "{}", page.text);
    for part in ["vanishes", "appears", "transaction:read", "One person holds it", "2 permissions"]
    {
        assert!(page.text.contains(part), "{part}: {}", page.text);
    }
    assert!(stored(&app).await[0].contains("transaction:deposit"), "a preview changes nothing");
    let mut holder = Browser::signed_in(&app, "bank", "customer").await;
    let saved = confirm(&app, &mut admin, &page, &edit).await;
    assert_eq!((saved.status, saved.header("location")), (303, place.as_str()), "{}", saved.text);
    assert!(!stored(&app).await[0].contains("transaction:deposit"));
    assert_eq!(holder.get(&app, "/").await.status, 303, "their session is over");
    let twice = confirm(&app, &mut admin, &page, &edit).await;
    assert_eq!(twice.status, 303, "the same form again: {}", twice.text);
    // What was drawn before the change is refused at either step, and what is typed stays.
    for step in ["preview", "confirm"] {
        let typed = [("grants", "account:read; own"), ("step", step)];
        let late = send(&app, &mut admin, (&form, &edit), &typed).await;
        assert_eq!(late.status, 409, "{step}: {}", late.text);
        assert!(late.text.contains("changed this role meanwhile"), "{}", late.text);
        assert!(late.text.contains("account:read; own"), "{}", late.text);
        assert!(late.text.contains("name=\"version\" value=\"2\""), "upon what is there now");
    }
    // Held: it is not ended. Taken back: it is.
    let page = admin.get(&app, &place).await;
    let end = format!("{place}/delete");
    let held = send(&app, &mut admin, (&page, &end), &[]).await;
    assert_eq!(held.status, 409, "{}", held.text);
    assert!(held.text.contains("Take it from them first"), "{}", held.text);
    let stale = send(&app, &mut admin, (&page, &end), &[("version", "1")]).await;
    assert_eq!(stale.status, 409, "{}", stale.text);
    let action = format!("/users/{}/edit", app.bank.users["customer"]);
    let form = admin.get(&app, &action).await;
    let mut fields = fields_of(&form.text, &action);
    fields.retain(|(name, _)| name != "csrf" && name != "also_night_desk");
    let fields: Vec<_> =
        fields.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    assert_eq!(admin.post(&app, &action, &fields).await.status, 303);
    let done = send(&app, &mut admin, (&page, &end), &[]).await;
    assert_eq!((done.status, done.header("location")), (303, "/roles"), "{}", done.text);
    assert!(stored(&app).await.is_empty());
    assert_eq!(admin.get(&app, &place).await.status, 404);
}

#[tokio::test]
async fn a_system_role_and_ones_own_are_looked_at_and_copied_only() {
    let app = App::start().await;
    let (mut admin, place) = with_role(&app).await;
    let officer = format!("/roles/{}", id_of(&app, app.bank.id, "officer").await);
    let page = admin.get(&app, &officer).await;
    assert!(page.text.contains("The blueprint’s") && page.text.contains("Account: read"));
    assert!(!page.text.contains("/edit\"") && !page.text.contains("ask-delete"), "{}", page.text);
    let copy = admin.get(&app, &format!("{NEW}?from={}", &officer[7..])).await;
    assert!(copy.text.contains("account:read"), "{}", copy.text);
    let fields = [("version", "1"), ("step", "confirm"), ("grants", "account:read")];
    let refused = admin.post(&app, &format!("{officer}/edit"), &fields).await;
    assert_eq!(refused.status, 422, "{}", refused.text);
    assert!(refused.text.contains("a role of the blueprint"), "{}", refused.text);
    let refused = admin.post(&app, &format!("{officer}/delete"), &[("version", "1")]).await;
    assert_eq!(refused.status, 422, "{}", refused.text);
    // An administrator who holds the role is refused it.
    let mut other = Browser::signed_in_by_factor(&app, "bank", "super_admin").await;
    give(&app, &mut other, "admin", "night_desk").await;
    let mut admin = Browser::signed_in_by_factor(&app, "bank", "admin").await;
    assert!(!admin.get(&app, &place).await.text.contains("ask-delete"));
    for step in ["preview", "confirm"] {
        let fields = [("version", "1"), ("step", step), ("grants", "account:read")];
        let own = admin.post(&app, &format!("{place}/edit"), &fields).await;
        assert_eq!(own.status, 403, "{}", own.text);
        assert!(own.text.contains("You hold this role yourself"), "{}", own.text);
    }
}

/// Everything that writes one, with fields that would do.
fn changes(place: &str) -> Vec<(String, Vec<(&'static str, String)>)> {
    let grants = || ("grants", "account:read".to_owned());
    let version = || ("version", "1".to_owned());
    let step = |step: &str| ("step", step.to_owned());
    let once = || ("once", Uuid::from_u128(5).to_string());
    let name = || ("name", "evil_desk".to_owned());
    vec![
        (NEW.to_owned(), vec![name(), grants(), step("preview")]),
        (NEW.to_owned(), vec![name(), grants(), step("confirm"), once()]),
        (format!("{place}/edit"), vec![version(), grants(), step("preview")]),
        (format!("{place}/edit"), vec![version(), grants(), step("confirm")]),
        (format!("{place}/delete"), vec![version()]),
    ]
}

async fn post(
    app: &App,
    browser: &mut Browser,
    (path, fields): &(String, Vec<(&'static str, String)>),
) -> Answered {
    let fields: Vec<_> = fields.iter().map(|(name, value)| (*name, value.as_str())).collect();
    browser.post(app, path, &fields).await
}

#[tokio::test]
async fn roles_are_their_tenants_and_their_administrators() {
    let app = App::start().await;
    app.add_bank("other").await;
    let (mut admin, place) = with_role(&app).await;
    let before = stored(&app).await;
    let mut stranger = Browser::signed_in_by_factor(&app, "other", "super_admin").await;
    for path in [place.clone(), format!("{place}/edit"), format!("{NEW}?from={}", &place[7..])] {
        assert_eq!(stranger.get(&app, &path).await.status, 404, "{path}");
    }
    assert!(!stranger.get(&app, "/roles").await.text.contains("Night desk"));
    for change in changes(&place).iter().filter(|(path, _)| path != NEW) {
        assert_eq!(post(&app, &mut stranger, change).await.status, 404, "{change:?}");
    }
    let mut auditor = Browser::signed_in(&app, "bank", "auditor").await;
    assert!(auditor.get(&app, "/").await.text.contains("href=\"/roles\""));
    let page = auditor.get(&app, &place).await;
    assert_eq!(page.status, 200, "{}", page.text);
    for part in ["/edit\"", "ask-delete", NEW] {
        assert!(!page.text.contains(part), "{part}: {}", page.text);
    }
    for role in ["officer", "customer_service", "customer"] {
        let mut browser = Browser::signed_in(&app, "bank", role).await;
        assert!(!browser.get(&app, "/").await.text.contains("href=\"/roles\""), "{role}");
        for path in ["/roles", &place] {
            assert_eq!(browser.get(&app, path).await.status, 403, "{role} {path}");
        }
    }
    for role in ["auditor", "officer", "customer_service", "customer"] {
        let mut browser = Browser::signed_in(&app, "bank", role).await;
        for path in [NEW, &format!("{place}/edit")] {
            assert_eq!(browser.get(&app, path).await.status, 403, "{role} {path}");
        }
        for change in changes(&place) {
            assert_eq!(post(&app, &mut browser, &change).await.status, 403, "{role} {change:?}");
        }
    }
    for change in changes(&place) {
        admin.forget_token();
        assert_eq!(post(&app, &mut admin, &change).await.status, 403, "{change:?}");
    }
    // Whoever used no factor of late is led to one, and nothing is done meanwhile.
    let mut unproven = Browser::signed_in(&app, "bank", "admin").await;
    for path in [NEW, &format!("{place}/edit")] {
        let led = unproven.get(&app, path).await;
        assert!(led.header("location").starts_with("/step-up?next=%2Froles"), "{path}");
    }
    for change in changes(&place) {
        let led = post(&app, &mut unproven, &change).await;
        assert!(led.header("location").starts_with("/step-up?next="), "{change:?}: {}", led.text);
    }
    assert_eq!(stored(&app).await, before);
}

#[tokio::test]
async fn pages_of_roles_are_clean_in_every_variant() {
    let app = App::start().await;
    let (mut admin, place) = with_role(&app).await;
    give(&app, &mut admin, "customer", "night_desk").await;
    let (port, _acceptor) = app.listen().await;
    let origin = format!("http://localhost:{port}");
    let browser = browser::Browser::start().await;
    let mut walker = Walker::default();
    let page = sign_in(&browser.person(&origin).await, &app, "admin").await;
    app.factor_used("admin").await;
    let officer = format!("/roles/{}", id_of(&app, app.bank.id, "officer").await);
    for (name, path) in [
        ("roles", "/roles".to_owned()),
        ("role", place.clone()),
        ("role-end", format!("{place}?confirm=ask-delete")),
        ("role-system", officer),
        ("role-new", NEW.to_owned()),
        ("role-edit", format!("{place}/edit")),
        ("person-edit-custom", format!("/users/{}/edit", app.bank.users["customer"])),
    ] {
        walker.visit(&page, &Stop::new(name, path)).await;
    }
    let write =
        |text: &str| format!("document.getElementById('field-grants').value = '{text}'; undefined");
    page.goto(&format!("{place}/edit")).await.expect_status(200);
    page.eval(&write("account:read\\ntransaction:deposit; always")).await;
    page.click_text("main button.button--primary", "Show what it does").await;
    page.wait_for(".summary").await;
    walker.look(&page, "role-edit-faults").await;
    let wanted = "account:read; own\\nhold:*; factor any\\ntransaction:deposit; amount 25.00 EUR; \
        hours mon tue wed thu fri 08:00-18:00 Europe/Prague; from 10.0.0.0/8";
    page.eval(&write(wanted)).await;
    page.click_text("main button.button--primary", "Show what it does").await;
    page.wait_for(".diff").await;
    walker.look(&page, "role-preview").await;
    page.click_text("main button.button--primary", "Change the role").await;
    page.wait_for(".toast").await;
    walker.look(&page, "role-changed").await;
    walker.finish();
}
