//! Keys in the console: those that sign, and those of machines. A secret is seen once; what
//! is ended is over at once; and nobody does it for another tenant.

use futures_util::future::join_all;
use serde_json::json;
use tenancy::{Blueprint, policy::JwtAlgorithm};
use uuid::Uuid;

use crate::{
    console::Browser,
    console_policy::send,
    harness::{Answered, App},
};

const NEW: &str = "/keys/api/new";

/// The secret on a page, if there is one.
fn secret_of(page: &Answered) -> Option<String> {
    let (_, rest) = page.text.split_once("apikey_")?;
    let end =
        rest.find(|letter: char| !letter.is_ascii_alphanumeric() && letter != '-' && letter != '_');
    Some(format!("apikey_{}", &rest[..end?]))
}

async fn keys(app: &App) -> i64 {
    app.superuser.query_one("SELECT count(*) FROM api_keys", &[]).await.unwrap().get(0)
}

async fn only_key(app: &App) -> Uuid {
    app.superuser.query_one("SELECT id FROM api_keys", &[]).await.unwrap().get(0)
}

/// Who signs in a tenant.
async fn signing(app: &App, tenant: Uuid) -> Uuid {
    let sql = "SELECT key_id FROM signing_keys WHERE tenant_id = $1 AND status = 'active'";
    app.superuser.query_one(sql, &[&tenant]).await.unwrap().get(0)
}

async fn made(app: &App, browser: &mut Browser, typed: &[(&str, &str)]) -> Answered {
    let form = browser.get(app, &format!("{NEW}?role=officer")).await;
    assert_eq!(form.status, 200, "{}", form.text);
    let mut fields = vec![("name", "Payroll"), ("reach", "all")];
    fields.retain(|(name, _)| !typed.iter().any(|(known, _)| known == name));
    fields.extend_from_slice(typed);
    send(app, browser, (&form, NEW), &fields).await
}

#[tokio::test]
async fn the_next_key_signs_and_a_lost_one_ends_with_its_tokens() {
    let app = App::start().await;
    let mut admin = Browser::signed_in(&app, "bank", "admin").await;
    let before = signing(&app, app.bank.id).await;
    let old = app.login(&app.bank, "officer").await;
    let page = admin.get(&app, "/keys").await;
    assert!(
        page.text.contains(&before.to_string()) && page.text.contains("Active"),
        "{}",
        page.text
    );
    assert!(!page.text.contains("jwks.json"), "a shared secret is in no key set");
    let done = admin.post(&app, "/keys/rotate", &[]).await;
    assert_eq!((done.status, done.header("location")), (303, "/keys"), "{}", done.text);
    let next = signing(&app, app.bank.id).await;
    assert_ne!(before, next);
    let page = admin.get(&app, "/keys").await;
    assert!(
        page.text.contains("Verify only") && page.text.contains("Verifies until"),
        "{}",
        page.text
    );
    assert_eq!(app.get("/v1/auth/me").bearer(&old).send().await.status, 200, "still good");
    let new = app.login(&app.bank, "officer").await;
    // The question says what it does.
    let question = admin.get(&app, &format!("/keys?confirm=revoke-{next}")).await;
    for part in ["All tokens signed with it end at once", "a new one is made", "cannot be undone"] {
        assert!(question.text.contains(part), "{part}");
    }
    for _ in 0..2 {
        let done = admin.post(&app, &format!("/keys/{next}/revoke"), &[]).await;
        assert_eq!((done.status, done.header("location")), (303, "/keys"), "{}", done.text);
    }
    assert_eq!(app.get("/v1/auth/me").bearer(&new).send().await.status, 401, "its tokens are over");
    assert_eq!(
        app.get("/v1/auth/me").bearer(&old).send().await.status,
        200,
        "another key's are not"
    );
    let page = admin.get(&app, "/keys").await;
    assert!(page.status == 200 && page.text.contains("Revoked"), "the console goes on");
    let sql = "SELECT count(*) FROM signing_keys WHERE tenant_id = $1 AND status = 'active'";
    let active: i64 = app.superuser.query_one(sql, &[&app.bank.id]).await.unwrap().get(0);
    assert_eq!(active, 1);
    assert_eq!(admin.get(&app, "/keys/rotate").await.header("location"), "/keys");
}

#[tokio::test]
async fn the_key_set_is_linked_where_there_is_one() {
    let app = App::start().await;
    let algorithm = Some(JwtAlgorithm::ES256);
    let risk = app.add_tenant("risk", Blueprint::CoreBank, algorithm).await;
    let mut admin = Browser::signed_in(&app, "risk", "super_admin").await;
    let page = admin.get(&app, "/keys").await;
    assert!(page.text.contains("href=\"/t/risk/.well-known/jwks.json\""), "{}", page.text);
    let set = app.get("/t/risk/.well-known/jwks.json").send().await;
    assert_eq!(set.body["keys"][0]["kid"], json!(signing(&app, risk.id).await));
}

#[tokio::test]
async fn a_secret_is_seen_once_and_opens_what_it_is_for() {
    let app = App::start().await;
    let mut admin = Browser::signed_in_by_factor(&app, "bank", "admin").await;
    assert!(admin.get(&app, "/keys/api").await.text.contains("No API keys yet"));
    let roles = admin.get(&app, NEW).await;
    assert!(roles.text.contains("value=\"officer\"") && !roles.text.contains("super_admin\""));
    let form = admin.get(&app, &format!("{NEW}?role=officer")).await;
    let typed = [("name", "Pay <roll>"), ("reach", "some"), ("scopes", "account:read")];
    let page = send(&app, &mut admin, (&form, NEW), &typed).await;
    assert_eq!(page.status, 201, "{}", page.text);
    assert_eq!(page.header("cache-control"), "no-store");
    let secret = secret_of(&page).expect("the secret");
    assert_eq!(page.text.matches("apikey_").count(), 1);
    assert!(page.text.contains("Pay &lt;roll&gt;"), "{}", page.text);
    let asked = app.get("/v1/accounts").bearer(&secret).send().await;
    assert_eq!(asked.status, 200, "{}", asked.text);
    assert_eq!(app.get("/v1/customers").bearer(&secret).send().await.status, 403, "confined");
    // The same form again: the key is there, its secret is nowhere.
    let again = send(&app, &mut admin, (&form, NEW), &typed).await;
    assert_eq!((again.status, secret_of(&again)), (200, None), "{}", again.text);
    assert!(again.text.contains("was shown before"), "{}", again.text);
    assert_eq!(keys(&app).await, 1);
    let id = only_key(&app).await;
    for path in ["/keys/api".to_owned(), format!("/keys/api/{id}"), "/audit".to_owned()] {
        let page = admin.get(&app, &path).await;
        assert_eq!((page.status, secret_of(&page)), (200, None), "{path}");
    }
    let page = admin.get(&app, &format!("/keys/api/{id}")).await;
    for part in ["account:read", "Officer", "admin", "Anywhere"] {
        assert!(page.text.contains(part), "{part}: {}", page.text);
    }
    // The database and the log keep nothing that opens anything.
    let dump = "SELECT (SELECT string_agg(k::text, ' ') FROM api_keys k) || \
        (SELECT coalesce(string_agg(a::text, ' '), '') FROM audit_log a) || \
        (SELECT coalesce(string_agg(i::text, ' '), '') FROM idempotency_keys i)";
    let dump: String = app.superuser.query_one(dump, &[]).await.unwrap().get(0);
    assert!(!dump.contains(&secret[45..]), "the secret is stored");
}

#[tokio::test]
async fn a_form_sent_twenty_times_makes_one_key_and_shows_it_once() {
    let app = App::start().await;
    let mut admin = Browser::signed_in_by_factor(&app, "bank", "admin").await;
    let form = admin.get(&app, &format!("{NEW}?role=officer")).await;
    let racing =
        (0..20).map(|_| {
            let (app, form, mut browser) = (&app, &form, admin.clone());
            async move {
                send(app, &mut browser, (form, NEW), &[("name", "One"), ("reach", "all")]).await
            }
        });
    let answers = join_all(racing).await;
    assert_eq!(answers.iter().filter_map(secret_of).count(), 1);
    assert!(answers.iter().all(|answer| matches!(answer.status, 200 | 201 | 409)));
    assert_eq!(keys(&app).await, 1);
    // The same key of the form for another wish is refused, and said.
    let other = send(&app, &mut admin, (&form, NEW), &[("name", "Two"), ("reach", "all")]).await;
    assert_eq!((other.status, secret_of(&other)), (422, None), "{}", other.text);
    assert_eq!(keys(&app).await, 1);
}

#[tokio::test]
async fn what_is_no_key_comes_back_with_what_was_typed() {
    let app = App::start().await;
    let mut admin = Browser::signed_in_by_factor(&app, "bank", "admin").await;
    // What is typed, what the page says.
    let table: [(&[(&str, &str)], &str); 7] = [
        (&[("name", "")], "Write a name of 1 to 100 characters."),
        (&[("reach", "some")], "Tick one permission at least"),
        (&[("reach", "some"), ("scopes", "key:revoke")], "Tick one permission at least"),
        (&[("allowed_networks", "10.0.0.1/8")], "Write one network a line"),
        (&[("expires_on", "2001-01-01")], "Choose a day from tomorrow"),
        (&[("expires_on", "2999-01-01")], "Choose a day from tomorrow"),
        (&[("expires_on", "soon")], "Choose a day from tomorrow"),
    ];
    for (typed, words) in table {
        let page = made(&app, &mut admin, typed).await;
        assert_eq!((page.status, secret_of(&page)), (422, None), "{typed:?}: {}", page.text);
        assert!(page.text.contains(words), "{typed:?}: {}", page.text);
        if typed[0].0 != "name" {
            assert!(page.text.contains("value=\"Payroll\""), "{typed:?}: the name stays");
        }
    }
    // A role of more than one's own, or of nobody's, which the page does not offer.
    for (role, status) in [("super_admin", 403), ("king", 422), ("", 422)] {
        let page = made(&app, &mut admin, &[("role", role)]).await;
        assert_eq!((page.status, secret_of(&page)), (status, None), "{role}: {}", page.text);
    }
    assert_eq!(keys(&app).await, 0);
    let day = app.clock.now().to_zoned(jiff::tz::TimeZone::UTC).date().tomorrow().unwrap();
    let networks = "10.0.0.0/8\r\n\r\n 192.0.2.7 ";
    let typed = [("expires_on", day.to_string()), ("allowed_networks", networks.to_owned())];
    let typed = typed.each_ref().map(|(name, value)| (*name, value.as_str()));
    assert_eq!(made(&app, &mut admin, &typed).await.status, 201);
    let page = admin.get(&app, &format!("/keys/api/{}", only_key(&app).await)).await;
    assert!(page.text.contains("192.0.2.7/32") && page.text.contains("10.0.0.0/8"));
}

#[tokio::test]
async fn a_key_gets_a_new_secret_and_an_end() {
    let app = App::start().await;
    let mut admin = Browser::signed_in_by_factor(&app, "bank", "admin").await;
    let first = secret_of(&made(&app, &mut admin, &[]).await).unwrap();
    let id = only_key(&app).await;
    let (place, rotate) = (format!("/keys/api/{id}"), format!("/keys/api/{id}/rotate"));
    let opens = async |secret: &str| app.get("/v1/accounts").bearer(secret).send().await.status;
    let page = admin.get(&app, &place).await;
    let renewed = send(&app, &mut admin, (&page, &rotate), &[]).await;
    assert_eq!(renewed.status, 200, "{}", renewed.text);
    let second = secret_of(&renewed).expect("a new secret");
    assert_ne!(first, second);
    assert_eq!((opens(&first).await, opens(&second).await), (200, 200), "both for an hour");
    let again = send(&app, &mut admin, (&page, &rotate), &[]).await;
    assert_eq!(secret_of(&again), None, "sent twice, done once: {}", again.text);
    assert_eq!(opens(&second).await, 200, "and the second is still the second");
    let page = admin.get(&app, &place).await;
    for (typed, status) in [(("overlap_s", "86401"), 409), (("overlap_s", "x"), 400)] {
        let refused = send(&app, &mut admin, (&page, &rotate), &[typed]).await;
        assert_eq!((refused.status, secret_of(&refused)), (status, None), "{}", refused.text);
    }
    let page = admin.get(&app, &place).await;
    let renewed = send(&app, &mut admin, (&page, &rotate), &[("overlap_s", "0")]).await;
    let third = secret_of(&renewed).unwrap();
    assert_eq!((opens(&second).await, opens(&third).await), (401, 200), "at once");
    let page = admin.get(&app, &place).await;
    let revoke = format!("{place}/revoke");
    let done = send(&app, &mut admin, (&page, &revoke), &[]).await;
    assert_eq!((done.status, done.header("location")), (303, place.as_str()), "{}", done.text);
    assert_eq!(opens(&third).await, 401);
    let page = admin.get(&app, &place).await;
    assert!(page.text.contains("Revoked") && !page.text.contains("New secret…"), "{}", page.text);
    let late = admin.post(&app, &rotate, &[("once", &Uuid::nil().to_string())]).await;
    assert_eq!((late.status, secret_of(&late)), (409, None), "{}", late.text);
    assert!(late.text.contains("revoked or has expired"), "{}", late.text);
}

#[tokio::test]
async fn keys_are_their_tenants_and_their_administrators() {
    let app = App::start().await;
    app.add_bank("other").await;
    let mut admin = Browser::signed_in_by_factor(&app, "bank", "admin").await;
    let secret = secret_of(&made(&app, &mut admin, &[]).await).unwrap();
    let (key, kid) = (only_key(&app).await, signing(&app, app.bank.id).await);
    let once = Uuid::from_u128(5).to_string();
    let posts = [
        format!("/keys/{kid}/revoke"),
        format!("/keys/api/{key}/rotate"),
        format!("/keys/api/{key}/revoke"),
    ];
    let mut stranger = Browser::signed_in_by_factor(&app, "other", "super_admin").await;
    stranger.get(&app, "/keys").await;
    assert_eq!(stranger.get(&app, &format!("/keys/api/{key}")).await.status, 404);
    for path in &posts {
        let answer = stranger.post(&app, path, &[("once", &once)]).await;
        assert_eq!(answer.status, 404, "{path}: {}", answer.text);
    }
    for path in ["/keys", "/keys/api"] {
        let page = stranger.get(&app, path).await;
        assert!(!page.text.contains(&key.to_string()) && !page.text.contains(&kid.to_string()));
    }
    for role in ["manager", "officer", "customer_service", "auditor", "customer"] {
        let mut browser = Browser::signed_in(&app, "bank", role).await;
        let home = browser.get(&app, "/").await;
        assert!(!home.text.contains("href=\"/keys\""), "{role} is not led there");
        for path in ["/keys", "/keys/api", NEW, &format!("/keys/api/{key}")] {
            assert_eq!(browser.get(&app, path).await.status, 403, "{role} {path}");
        }
        let fields = [("once", once.as_str()), ("name", "x"), ("role", role), ("reach", "all")];
        for path in posts.iter().map(String::as_str).chain(["/keys/rotate", NEW]) {
            let answer = browser.post(&app, path, &fields).await;
            assert_eq!((answer.status, secret_of(&answer)), (403, None), "{role} {path}");
        }
    }
    // Without the form's token, or from another site.
    admin.get(&app, "/keys").await;
    for path in posts.iter().map(String::as_str).chain(["/keys/rotate", NEW]) {
        let foreign = app
            .post(path)
            .header("accept", "text/html")
            .header("cookie", &admin.jar())
            .header("sec-fetch-site", "cross-site")
            .header("origin", "https://evil.example")
            .form(&[("csrf", admin.token.as_str()), ("once", &once)]);
        assert_eq!(foreign.send().await.status, 403, "{path}");
    }
    for path in posts.iter().map(String::as_str).chain(["/keys/rotate", NEW]) {
        // Every page brings it again.
        admin.forget_token();
        assert_eq!(admin.post(&app, path, &[("once", &once)]).await.status, 403, "{path}");
    }
    assert_eq!(keys(&app).await, 1);
    assert_eq!(signing(&app, app.bank.id).await, kid);
    assert_eq!(app.get("/v1/accounts").bearer(&secret).send().await.status, 200, "it lives on");
    // A machine opens no page.
    let page = app.get("/keys").header("accept", "text/html").bearer(&secret).send().await;
    assert!(crate::console::is_sent_away(&page));
}
