//! Webhooks in the console: a secret is seen once, what became of each event is listed and
//! delivered again, and nobody does it for another tenant.

use std::time::Duration;

use futures_util::future::join_all;
use outward::Guard;
use uuid::Uuid;

use crate::{
    browser::{self, Stop, Walker, sign_in},
    console::Browser,
    console_policy::{fields_of, send},
    harness::{Answered, App},
    webhooks::{AT_ONCE, Sink, change, deliver, service},
};

const NEW: &str = "/webhooks/new";
/// Where a test of forms alone has them sent.
const URL: &str = "https://hook.example/strongroom";

/// The secret on a page, if there is one.
fn secret_of(page: &Answered) -> Option<String> {
    let (_, rest) = page.text.split_once("whsec_")?;
    let end =
        rest.find(|letter: char| !letter.is_ascii_alphanumeric() && !"+/=".contains(letter))?;
    Some(format!("whsec_{}", &rest[..end]))
}

async fn made(app: &App, browser: &mut Browser, typed: &[(&str, &str)]) -> Answered {
    let form = browser.get(app, NEW).await;
    assert_eq!(form.status, 200, "{}", form.text);
    let mut fields = vec![("url", URL), ("event_types", "account.updated")];
    fields.retain(|(name, _)| !typed.iter().any(|(known, _)| known == name));
    fields.extend_from_slice(typed);
    send(app, browser, (&form, NEW), &fields).await
}

/// Every webhook as the database has it.
async fn stored(app: &App) -> Vec<String> {
    let sql = "SELECT one::text FROM webhook_endpoints one WHERE status <> 'deleted' ORDER BY id";
    let rows = app.superuser.query(sql, &[]).await.unwrap();
    rows.iter().map(|row| row.get(0)).collect()
}

async fn only(app: &App) -> Uuid {
    app.superuser.query_one("SELECT id FROM webhook_endpoints", &[]).await.unwrap().get(0)
}

/// An administrator, and the webhook that they made, where it is read.
async fn with_webhook(app: &App, url: &str) -> (Browser, String) {
    let mut admin = Browser::signed_in_by_factor(app, "bank", "admin").await;
    let page = made(app, &mut admin, &[("url", url)]).await;
    assert_eq!(page.status, 201, "{}", page.text);
    (admin, format!("/webhooks/{}", only(app).await))
}

#[tokio::test]
async fn a_secret_is_seen_once_and_the_webhook_is_listed() {
    let app = App::start().await;
    let mut admin = Browser::signed_in_by_factor(&app, "bank", "admin").await;
    assert!(admin.get(&app, "/").await.text.contains("href=\"/webhooks\""), "led there");
    assert!(admin.get(&app, "/webhooks").await.text.contains("No webhooks yet"));
    let form = admin.get(&app, NEW).await;
    let typed =
        [("url", URL), ("event_types", "account.updated"), ("event_types", "transfer.posted")];
    let page = send(&app, &mut admin, (&form, NEW), &typed).await;
    assert_eq!((page.status, page.header("cache-control")), (201, "no-store"), "{}", page.text);
    let secret = secret_of(&page).expect("the secret");
    assert_eq!(page.text.matches("whsec_").count(), 1);
    let again = send(&app, &mut admin, (&form, NEW), &typed).await;
    assert_eq!((again.status, secret_of(&again)), (200, None), "{}", again.text);
    assert!(again.text.contains("was shown before"), "{}", again.text);
    assert_eq!(stored(&app).await.len(), 1);
    let place = format!("/webhooks/{}", only(&app).await);
    for path in ["/webhooks", &place, &format!("{place}/edit"), "/audit"] {
        let page = admin.get(&app, path).await;
        assert_eq!((page.status, secret_of(&page)), (200, None), "{path}");
    }
    let list = admin.get(&app, "/webhooks").await;
    for part in [URL, "2 kinds of events", "Active", &format!("href=\"{place}\"")] {
        assert!(list.text.contains(part), "{part}: {}", list.text);
    }
    let page = admin.get(&app, &place).await;
    for part in ["<h1><bdi>hook.example</bdi></h1>", "transfer.posted", "Nothing was told yet"] {
        assert!(page.text.contains(part), "{part}: {}", page.text);
    }
    // A new secret: the one of before is told until when it signs.
    let rotate = format!("{place}/rotate");
    let renewed = send(&app, &mut admin, (&page, &rotate), &[]).await;
    assert_eq!(renewed.status, 200, "{}", renewed.text);
    assert_ne!(secret_of(&renewed).expect("a new secret"), secret);
    assert!(renewed.text.contains("The secret before signs as well until"), "{}", renewed.text);
    let twice = send(&app, &mut admin, (&page, &rotate), &[]).await;
    assert_eq!((twice.status, secret_of(&twice)), (200, None), "{}", twice.text);
    let page = admin.get(&app, &place).await;
    let refused = send(&app, &mut admin, (&page, &rotate), &[("overlap_s", "604801")]).await;
    assert_eq!((refused.status, secret_of(&refused)), (422, None), "{}", refused.text);
    assert!(refused.text.contains("Expected 0 to 604800 seconds"), "{}", refused.text);
}

#[tokio::test]
async fn a_form_sent_twenty_times_makes_one_webhook_and_shows_its_secret_once() {
    let app = App::start().await;
    let mut admin = Browser::signed_in_by_factor(&app, "bank", "admin").await;
    let form = admin.get(&app, NEW).await;
    let typed = [("url", URL), ("event_types", "account.updated")];
    let racing = (0..20).map(|_| {
        let (app, form, mut browser) = (&app, &form, admin.clone());
        async move { send(app, &mut browser, (form, NEW), &typed).await }
    });
    let answers = join_all(racing).await;
    assert_eq!(answers.iter().filter_map(secret_of).count(), 1);
    assert!(answers.iter().all(|answer| matches!(answer.status, 200 | 201 | 409)));
    let other = [("url", "https://other.example/"), typed[1]];
    let other = send(&app, &mut admin, (&form, NEW), &other).await;
    assert_eq!((other.status, secret_of(&other)), (422, None), "{}", other.text);
    assert_eq!(stored(&app).await.len(), 1);
}

#[tokio::test]
async fn what_is_no_webhook_comes_back_with_what_was_typed() {
    let app = App::start().await;
    let mut admin = Browser::signed_in_by_factor(&app, "bank", "admin").await;
    let hostile = "\"><script>alert(1)</script>";
    // What is typed, what the page says.
    let table: [(&[(&str, &str)], &str); 7] = [
        (&[("url", "")], "Expected an absolute address"),
        (&[("url", "javascript:alert(1)")], "Expected an absolute address"),
        (&[("url", hostile)], "Expected an absolute address"),
        (&[("url", "https://me:secret@hook.example/")], "Expected no user name"),
        (&[("url", "https://hook.example/#top")], "Expected nothing behind a #"),
        (&[("event_types", "")], "Tick one kind of event at least"),
        (&[("event_types", hostile)], "Tick one kind of event at least"),
    ];
    for (typed, words) in table {
        let page = made(&app, &mut admin, typed).await;
        assert_eq!((page.status, secret_of(&page)), (422, None), "{typed:?}: {}", page.text);
        assert!(page.text.contains(words), "{typed:?}: {}", page.text);
        assert!(!page.text.contains("<script>alert"), "{typed:?}: {}", page.text);
        let field = format!("error-{}", typed[0].0);
        assert!(page.text.contains(&format!("id=\"{field}\"")), "{typed:?}: {}", page.text);
        let kept = fields_of(&page.text, NEW);
        if typed[0].0 != "url" {
            assert!(kept.contains(&("url".to_owned(), URL.to_owned())), "{kept:?}");
        }
    }
    for fields in [vec![("url", URL)], vec![("once", "x"), ("url", URL)]] {
        assert_eq!(admin.post(&app, NEW, &fields).await.status, 400, "{fields:?}");
    }
    assert!(stored(&app).await.is_empty());
    // What is stored is drawn as a text, whoever wrote it there.
    assert_eq!(made(&app, &mut admin, &[]).await.status, 201);
    let sql = "UPDATE webhook_endpoints SET url = 'https://hook.example/' || $1";
    app.superuser.execute(sql, &[&hostile]).await.unwrap();
    let place = format!("/webhooks/{}", only(&app).await);
    for path in ["/webhooks", &place, &format!("{place}/edit")] {
        let page = admin.get(&app, path).await;
        assert_eq!(page.status, 200, "{path}");
        assert!(page.text.contains("script") && !page.text.contains("<script>alert"), "{path}");
    }
}

#[tokio::test]
async fn what_became_of_each_event_is_listed_and_delivered_again() {
    let app = App::start().await;
    let sink = Sink::start().await.answering(&[200, 200, 500, 500, 500, 500]);
    let (mut admin, place) = with_webhook(&app, &sink.url).await;
    let webhooks = service(&app, Guard::Any, AT_ONCE);
    let page = admin.get(&app, &place).await;
    let test = format!("{place}/test");
    for _ in 0..2 {
        let sent = send(&app, &mut admin, (&page, &test), &[]).await;
        let to = (sent.status, sent.header("location"));
        assert_eq!(to, (303, place.as_str()), "{}", sent.text);
    }
    assert_eq!(deliver(&app, &webhooks, "bank").await, 1, "sent twice, done once");
    let page = admin.get(&app, &place).await;
    for part in ["webhook.test", "Delivered", ">200<", "Taken"] {
        assert!(page.text.contains(part), "{part}: {}", page.text);
    }
    let replay = format!("{place}/replay");
    assert!(!page.text.contains(">Replay</button>"), "a test is not replayed");
    let [first, second] = app.bank.customers[0].accounts;
    change(&app, &app.bank, first, 1).await;
    assert_eq!(deliver(&app, &webhooks, "bank").await, 1);
    change(&app, &app.bank, second, 1).await;
    assert_eq!(deliver(&app, &webhooks, "bank").await, 0, "given up");
    let page = admin.get(&app, &format!("{place}?status=given_up")).await;
    for part in ["account.updated", "Given up", "<span>500"] {
        assert!(page.text.contains(part), "{part}: {}", page.text);
    }
    assert!(!page.text.contains("webhook.test"), "filtered");
    let none = admin.get(&app, &format!("{place}?status=pending")).await;
    assert!(none.text.contains("No delivery in this state"), "{}", none.text);
    assert_eq!(admin.get(&app, &format!("{place}?status=lost")).await.status, 400);
    // The one that was given up, once more: its form stands first.
    for _ in 0..2 {
        let sent = send(&app, &mut admin, (&page, &replay), &[]).await;
        assert_eq!((sent.status, sent.header("location")), (303, place.as_str()), "{}", sent.text);
    }
    assert!(admin.get(&app, &place).await.text.contains("One event is delivered again"));
    assert_eq!(deliver(&app, &webhooks, "bank").await, 1);
    let ids = sink.ids();
    assert_eq!((ids.len(), &ids[6]), (7, &ids[5]), "under the id that it had: {ids:?}");
    // All from the first on.
    let asked = admin.get(&app, &format!("{place}?confirm=ask-replay")).await;
    assert!(asked.text.contains("<dialog id=\"ask-replay\"") && asked.text.contains(" open>"));
    let once = Uuid::from_u128(7).to_string();
    for (position, words) in [("", "Write a position"), ("0", "Write a position"), ("<b>", "Write")]
    {
        let fields = [("once", once.as_str()), ("from_position", position)];
        let refused = admin.post(&app, &replay, &fields).await;
        assert_eq!(refused.status, 422, "{position}: {}", refused.text);
        assert!(refused.text.contains(words) && !refused.text.contains("<b>"), "{position}");
        assert!(refused.text.contains("id=\"error-from_position\""), "{}", refused.text);
    }
    let once = Uuid::from_u128(8).to_string();
    let fields = [("once", once.as_str()), ("from_position", "1")];
    assert_eq!(admin.post(&app, &replay, &fields).await.status, 303);
    assert!(admin.get(&app, &place).await.text.contains("2 events are delivered again"));
    assert_eq!(deliver(&app, &webhooks, "bank").await, 2);
    // An event that is none of it.
    let (once, event) = (Uuid::from_u128(9).to_string(), Uuid::from_u128(10).to_string());
    let refused = admin.post(&app, &replay, &[("once", &once), ("event_id", &event)]).await;
    assert_eq!(refused.status, 422, "{}", refused.text);
    assert!(refused.text.contains("was not to be told that"), "{}", refused.text);
}

#[tokio::test]
async fn a_webhook_is_changed_paused_and_ended_on_the_version_that_was_seen() {
    let app = App::start().await;
    let (mut admin, place) = with_webhook(&app, URL).await;
    let (edit, status) = (format!("{place}/edit"), format!("{place}/status"));
    let form = admin.get(&app, &edit).await;
    let kept = fields_of(&form.text, &edit);
    assert!(kept.contains(&("event_types".to_owned(), "account.updated".to_owned())), "{kept:?}");
    let early = admin.get(&app, &place).await;
    let faulty = send(&app, &mut admin, (&form, &edit), &[("url", "ftp://x.example")]).await;
    assert_eq!(faulty.status, 422, "{}", faulty.text);
    assert!(faulty.text.contains("id=\"error-url\"") && faulty.text.contains("ftp://x.example"));
    let typed = [("url", "https://b.example/"), ("event_types", "hold.created")];
    let saved = send(&app, &mut admin, (&form, &edit), &typed).await;
    assert_eq!((saved.status, saved.header("location")), (303, place.as_str()), "{}", saved.text);
    // Whoever drew the form before is told what differs, and may insist.
    let typed = [("url", "https://c.example/"), ("event_types", "hold.created")];
    let late = send(&app, &mut admin, (&form, &edit), &typed).await;
    assert_eq!(late.status, 409, "{}", late.text);
    for part in ["changed meanwhile", "https://b.example/", "https://c.example/", "Save mine"] {
        assert!(late.text.contains(part), "{part}: {}", late.text);
    }
    assert!(stored(&app).await[0].contains("b.example"));
    let saved = send(&app, &mut admin, (&late, &edit), &[]).await;
    assert_eq!(saved.status, 303, "{}", saved.text);
    assert!(stored(&app).await[0].contains("c.example"));
    // What was drawn before the change does nothing after it.
    for tail in ["status", "rotate", "delete"] {
        let late = send(&app, &mut admin, (&early, &format!("{place}/{tail}")), &[]).await;
        assert_eq!((late.status, secret_of(&late)), (409, None), "{tail}: {}", late.text);
        assert!(late.text.contains("Here is how it stands now"), "{tail}: {}", late.text);
        assert!(stored(&app).await[0].contains("active"), "{tail}");
    }
    for (said, next) in [("disabled", "Enable"), ("active", "Disable…")] {
        let page = admin.get(&app, &place).await;
        let done = send(&app, &mut admin, (&page, &status), &[]).await;
        assert_eq!(done.status, 303, "{}", done.text);
        let page = admin.get(&app, &place).await;
        assert!(page.text.contains(next), "{next}: {}", page.text);
        assert!(stored(&app).await[0].contains(said), "{said}");
    }
    for fields in [
        vec![("version", "1"), ("status", "failing")],
        vec![("version", "x"), ("status", "active")],
        vec![("status", "active")],
    ] {
        assert_eq!(admin.post(&app, &status, &fields).await.status, 400, "{fields:?}");
    }
    let page = admin.get(&app, &place).await;
    let done = send(&app, &mut admin, (&page, &format!("{place}/delete")), &[]).await;
    assert_eq!((done.status, done.header("location")), (303, "/webhooks"), "{}", done.text);
    assert_eq!(admin.get(&app, &place).await.status, 404);
    assert!(stored(&app).await.is_empty());
}

/// Everything that changes one, with fields that would do.
fn changes(place: &str) -> Vec<(String, Vec<(&'static str, String)>)> {
    let once = || ("once", Uuid::from_u128(5).to_string());
    let version = || ("version", "1".to_owned());
    let settings = || {
        vec![
            ("url", "https://evil.example/".to_owned()),
            ("event_types", "account.updated".to_owned()),
        ]
    };
    vec![
        (NEW.to_owned(), [vec![once()], settings()].concat()),
        (format!("{place}/edit"), [vec![version()], settings()].concat()),
        (format!("{place}/status"), vec![version(), ("status", "disabled".to_owned())]),
        (format!("{place}/rotate"), vec![once(), version(), ("overlap_s", "0".to_owned())]),
        (format!("{place}/test"), vec![once()]),
        (format!("{place}/replay"), vec![once(), ("from_position", "1".to_owned())]),
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
async fn webhooks_are_their_tenants_and_their_administrators() {
    let app = App::start().await;
    app.add_bank("other").await;
    let (mut admin, place) = with_webhook(&app, URL).await;
    let before = stored(&app).await;
    let mut stranger = Browser::signed_in_by_factor(&app, "other", "super_admin").await;
    for path in [place.clone(), format!("{place}/edit")] {
        assert_eq!(stranger.get(&app, &path).await.status, 404, "{path}");
    }
    assert!(!stranger.get(&app, "/webhooks").await.text.contains("hook.example"));
    for change in changes(&place).iter().filter(|(path, _)| path != NEW) {
        let answer = post(&app, &mut stranger, change).await;
        assert_eq!((answer.status, secret_of(&answer)), (404, None), "{change:?}");
    }
    // An auditor looks and is offered nothing; the others are not led there.
    let mut auditor = Browser::signed_in(&app, "bank", "auditor").await;
    assert!(auditor.get(&app, "/").await.text.contains("href=\"/webhooks\""));
    let page = auditor.get(&app, &place).await;
    assert_eq!(page.status, 200, "{}", page.text);
    for part in ["/edit\"", "/test\"", "/replay\"", "ask-delete", "ask-rotate", "/status\""] {
        assert!(!page.text.contains(part), "{part}: {}", page.text);
    }
    assert!(!auditor.get(&app, "/webhooks").await.text.contains(NEW));
    for role in ["officer", "customer_service", "customer"] {
        let mut browser = Browser::signed_in(&app, "bank", role).await;
        assert!(!browser.get(&app, "/").await.text.contains("href=\"/webhooks\""), "{role}");
        for path in ["/webhooks", &place] {
            assert_eq!(browser.get(&app, path).await.status, 403, "{role} {path}");
        }
    }
    for role in ["auditor", "officer", "customer_service", "customer"] {
        let mut browser = Browser::signed_in(&app, "bank", role).await;
        for path in [NEW, &format!("{place}/edit")] {
            assert_eq!(browser.get(&app, path).await.status, 403, "{role} {path}");
        }
        for change in changes(&place) {
            let answer = post(&app, &mut browser, &change).await;
            assert_eq!((answer.status, secret_of(&answer)), (403, None), "{role} {change:?}");
        }
    }
    // Without the form's token.
    for change in changes(&place) {
        admin.forget_token();
        assert_eq!(post(&app, &mut admin, &change).await.status, 403, "{change:?}");
    }
    assert_eq!(stored(&app).await, before);
}

#[tokio::test]
async fn whoever_has_a_factor_proves_it_of_late() {
    let app = App::start().await;
    let (mut admin, place) = with_webhook(&app, URL).await;
    let enrolled = "UPDATE users SET mfa_enabled = true WHERE username = 'admin'";
    app.superuser.execute(enrolled, &[]).await.unwrap();
    let stale = "UPDATE user_sessions SET mfa_at = now() - interval '6 minutes'";
    app.superuser.execute(stale, &[]).await.unwrap();
    // What a node remembers of a session it forgets within a second.
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    let before = stored(&app).await;
    for path in [NEW, &format!("{place}/edit")] {
        let led = admin.get(&app, path).await;
        assert_eq!(led.status, 303, "{path}: {}", led.text);
        assert!(led.header("location").starts_with("/step-up?next=%2Fwebhooks"), "{path}");
    }
    for change in changes(&place) {
        let led = post(&app, &mut admin, &change).await;
        assert_eq!(led.status, 303, "{change:?}: {}", led.text);
        assert!(led.header("location").starts_with("/step-up?next="), "{change:?}");
    }
    assert_eq!(stored(&app).await, before, "nothing was changed");
}

#[tokio::test]
async fn pages_of_webhooks_are_clean_in_every_variant() {
    let app = App::start().await;
    let sink = Sink::start().await.answering(&[200, 200, 503, 503, 503, 503]);
    let (mut admin, place) = with_webhook(&app, &sink.url).await;
    let webhooks = service(&app, Guard::Any, AT_ONCE);
    let page = admin.get(&app, &place).await;
    send(&app, &mut admin, (&page, &format!("{place}/test")), &[]).await;
    let [one, other] = app.bank.customers[0].accounts;
    for account in [one, other] {
        change(&app, &app.bank, account, 1).await;
        deliver(&app, &webhooks, "bank").await;
    }
    let failing = "UPDATE webhook_endpoints SET status = 'failing', failing_since = now()";
    let (port, _acceptor) = app.listen().await;
    let origin = format!("http://localhost:{port}");
    let browser = browser::Browser::start().await;
    let mut walker = Walker::default();
    let page = sign_in(&browser.person(&origin).await, &app, "admin").await;
    for (name, path) in [
        ("webhooks", "/webhooks".to_owned()),
        ("webhook", place.clone()),
        ("webhook-given-up", format!("{place}?status=given_up")),
        ("webhook-replay", format!("{place}?confirm=ask-replay")),
        ("webhook-rotate", format!("{place}?confirm=ask-rotate")),
        ("webhook-edit", format!("{place}/edit")),
    ] {
        walker.visit(&page, &Stop::new(name, path)).await;
    }
    app.superuser.execute(failing, &[]).await.unwrap();
    walker.visit(&page, &Stop::new("webhook-failing", place.clone())).await;
    walker.visit(&page, &Stop::new("webhooks-failing", "/webhooks")).await;
    // By keys and clicks alone: nothing ticked comes back, then the secret.
    page.goto("/webhooks").await.expect_status(200);
    page.press("g w").await;
    page.goto(NEW).await.expect_status(200);
    page.type_text("#field-url", "https://hook.example/strongroom").await;
    page.click_text("main button.button--primary", "Make the webhook").await;
    page.wait_for(".summary").await;
    walker.look(&page, "webhook-new-faults").await;
    page.click("input[name=event_types][value='transfer.posted']").await;
    page.click_text("main button.button--primary", "Make the webhook").await;
    page.wait_for(".code").await;
    walker.look(&page, "webhook-secret").await;
    let secret = page.text(".code code").await;
    assert!(secret.starts_with("whsec_"), "{secret}");
    page.click_text("main a.button", "I have copied it").await;
    page.wait_until("/webhooks\\/[0-9a-f-]{36}$/.test(location.pathname)").await;
    page.click("[data-open=ask-delete]").await;
    page.wait_for("#ask-delete[open]").await;
    walker.look(&page, "webhook-delete").await;
    walker.finish();
}
