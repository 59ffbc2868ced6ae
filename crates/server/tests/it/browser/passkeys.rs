//! Passkeys in a real browser, held by Chromium's virtual authenticator: made, signed in
//! with, asked for as a second step and again, refused without its owner's finger or with
//! a counter that went back, and taken away. Every new page on the way is looked at.

use api::ApiConfig;
use serde_json::{Value, json};
use server::serve::listener::{Acceptor, bind_loopbacks};

use super::{Browser, Page, Stop, Walker, page::Media, sign_in};
use crate::{
    harness::{App, PASSWORD, unlimited},
    identity::factor_world::totp,
};

/// A bank that has passkeys, under the very address that the browser visits: they belong
/// to one origin.
struct Site {
    app: App,
    origin: String,
    _acceptor: Acceptor,
}

impl Site {
    async fn open(policy: Value) -> Self {
        let (port, listeners) = bind_loopbacks(0).await.unwrap();
        let origin = format!("http://localhost:{port}");
        let config = ApiConfig { public_url: origin.clone(), ..unlimited() };
        let app = App::start_with(config).await;
        let acceptor = Acceptor::new(app.router.clone(), 64);
        for listener in listeners {
            acceptor.listen(listener);
        }
        let sql = "UPDATE security_policies SET policy = jsonb_set(jsonb_set(policy, '{mfa}', \
             policy->'mfa' || $2), '{rate_limits,mfa}', '100') WHERE tenant_id = $1";
        app.superuser.execute(sql, &[&app.bank.id, &policy]).await.unwrap();
        tokio::time::sleep(std::time::Duration::from_millis(1_100)).await;
        Self { app, origin, _acceptor: acceptor }
    }

    /// Nobody has proven anything of late.
    async fn forget_proofs(&self) {
        let sql = "UPDATE user_sessions SET mfa_at = now() - interval '1 hour'";
        self.app.superuser.batch_execute(sql).await.unwrap();
        tokio::time::sleep(std::time::Duration::from_millis(1_100)).await;
    }

    async fn number(&self, sql: &str) -> i64 {
        self.app.superuser.query_one(sql, &[]).await.unwrap().get(0)
    }
}

/// The authenticator of a tab.
struct Virtual<'a> {
    page: &'a Page,
    id: Value,
}

impl<'a> Virtual<'a> {
    async fn of(page: &'a Page) -> Self {
        page.command("WebAuthn.enable", json!({})).await;
        let options = json!({
            "protocol": "ctap2", "transport": "internal", "hasResidentKey": true,
            "hasUserVerification": true, "isUserVerified": true,
            "automaticPresenceSimulation": true,
        });
        let made =
            page.command("WebAuthn.addVirtualAuthenticator", json!({ "options": options })).await;
        Self { page, id: made["authenticatorId"].clone() }
    }

    async fn tell(&self, command: &str, mut params: Value) -> Value {
        params["authenticatorId"] = self.id.clone();
        self.page.command(&format!("WebAuthn.{command}"), params).await
    }

    /// The one credential that it holds.
    async fn credential(&self) -> Value {
        let held = self.tell("getCredentials", json!({})).await;
        let held = held["credentials"].as_array().unwrap();
        assert_eq!(held.len(), 1, "{held:?}");
        held[0].clone()
    }

    /// Whether the finger on it is its owner's.
    async fn verify(&self, is_verified: bool) {
        self.tell("setUserVerified", json!({ "isUserVerified": is_verified })).await;
    }

    /// The same key with another counter: a copy of it.
    async fn count_from(&self, sign_count: u64) {
        let mut credential = self.credential().await;
        self.tell("removeCredential", json!({ "credentialId": credential["credentialId"] })).await;
        credential["signCount"] = sign_count.into();
        self.tell("addCredential", json!({ "credential": credential })).await;
    }
}

async fn sign_out(page: &Page) {
    page.eval("document.querySelector('form[action=\"/logout\"]').requestSubmit()").await;
    page.wait_until("location.pathname === '/login'").await;
    page.settle().await;
}

/// Clicks the sign-in's first button, and waits until it has come to something.
async fn by_passkey(page: &Page) {
    page.eval("document.querySelector('.notice--bad')?.remove()").await;
    page.click_text("button", "Sign in with a passkey").await;
    page.wait_until(
        "location.pathname !== '/login' && location.pathname !== '/login/passkey' \
         || document.querySelector('[data-passkey-said]').textContent !== '' \
         || document.querySelector('.notice--bad') !== null",
    )
    .await;
    page.settle().await;
}

async fn is_refused(page: &Page) -> bool {
    page.text("body").await.contains("That passkey was not accepted")
}

/// A bank's customer in a tab with an authenticator, and what has been looked at.
struct Life<'a> {
    site: &'a Site,
    page: &'a Page,
    key: Virtual<'a>,
    walker: Walker,
}

impl Life<'_> {
    /// Makes a passkey, and gives the address of its page.
    async fn make(&mut self) -> String {
        let (page, walker) = (self.page, &mut self.walker);
        walker.visit(page, &Stop::new("factors-none", "/security/factors")).await;
        page.goto("/security/factors").await.expect_status(200);
        page.click_text("button", "Make a passkey").await;
        page.wait_for("form[data-passkey=create]").await;
        walker.look(page, "passkey-new").await;
        page.type_text("#field-name", "Laptop").await;
        page.click_text("button", "Make the passkey").await;
        page.wait_for(".codes-list").await;
        page.settle().await;
        walker.look(page, "backup-codes-shown").await;
        page.emulate(Media { print: true, ..Media::default() }).await;
        let buttons = "getComputedStyle(document.querySelector('.codes .form-actions')).display";
        assert_eq!(page.eval(buttons).await, "none", "buttons are not printed");
        assert_eq!(page.count(".codes-list li").await, 10);
        page.screenshot("backup-codes-print").await;
        page.emulate(Media::default()).await;
        let made = self.key.credential().await;
        assert_eq!(made["isResidentCredential"], true, "{made}");
        assert_eq!(made["rpId"], "localhost", "{made}");
        walker.visit(page, &Stop::new("factors", "/security/factors")).await;
        walker.visit(page, &Stop::new("backup-codes", "/security/backup-codes")).await;
        page.goto("/security/factors").await.expect_status(200);
        page.click_text("a.row-link", "Laptop").await;
        page.wait_for("#field-name").await;
        walker.look(page, "passkey").await;
        page.path().await
    }

    /// Signs in with nothing else, from the keyboard.
    async fn sign_in(&mut self) {
        let page = self.page;
        sign_out(page).await;
        self.walker.look(page, "login-passkey").await;
        page.eval("document.querySelector('form.passkey button').focus()").await;
        page.press("Enter").await;
        page.wait_until("location.pathname === '/'").await;
        page.settle().await;
        let counted = self.site.number("SELECT sign_count FROM webauthn_credentials").await;
        let said = self.key.credential().await["signCount"].as_u64();
        assert_eq!(u64::try_from(counted).ok(), said);
        page.assert_clean();
    }

    /// Not its owner's finger: the browser gives nothing, and the page says so.
    async fn be_somebody_else(&mut self) {
        let page = self.page;
        sign_out(page).await;
        self.key.verify(false).await;
        by_passkey(page).await;
        assert_eq!(page.path().await, "/login?why=out");
        let said = page.text("[data-passkey-said]").await;
        assert!(said.contains("Nothing was confirmed"), "{said}");
        self.key.verify(true).await;
    }

    /// After the password it is the second step.
    async fn follow_the_password(&mut self) {
        let page = self.page;
        page.type_text("#username", "customer").await;
        page.type_text("#password", PASSWORD).await;
        page.press("Enter").await;
        page.wait_until("location.pathname === '/login/code'").await;
        page.settle().await;
        self.walker.look(page, "second-step").await;
        page.click_text("button", "Use your passkey").await;
        page.wait_until("location.pathname === '/'").await;
        page.settle().await;
    }

    /// What is sensitive asks for it again, and leads back to the form, which waits.
    async fn step_up(&mut self, its_page: &str) {
        let page = self.page;
        self.site.forget_proofs().await;
        page.goto(its_page).await.expect_status(200);
        page.click_text("button", "Remove").await;
        page.wait_until("location.pathname === '/step-up'").await;
        page.settle().await;
        self.walker.look(page, "step-up").await;
        page.click_text("button", "Use your passkey").await;
        page.wait_until(&format!("location.pathname === '{its_page}'")).await;
        page.settle().await;
        assert!(page.text(".toast").await.contains("You can go on"));
        let kept = self.site.number("SELECT count(*) FROM webauthn_credentials").await;
        assert_eq!(kept, 1, "not yet");
    }

    /// A counter that went back is a copy: refused, and recorded as an alarm.
    async fn be_a_copy(&mut self) {
        let page = self.page;
        sign_out(page).await;
        let count = self.key.credential().await["signCount"].as_u64().unwrap();
        assert!(count > 2, "{count}");
        self.key.count_from(1).await;
        by_passkey(page).await;
        assert!(is_refused(page).await, "{}", page.text("body").await);
        let alarms = "SELECT count(*) FROM audit_log WHERE event_type = 'security_violation'";
        assert_eq!(self.site.number(alarms).await, 1);
        self.key.count_from(count).await;
        by_passkey(page).await;
        assert_eq!(page.path().await, "/", "{}", page.text("body").await);
    }

    /// Taken away here, it opens nothing, though the authenticator still has it.
    async fn end(&mut self, its_page: &str) {
        let page = self.page;
        self.site.app.another_factor(&self.site.app.bank, "customer").await;
        page.goto(its_page).await.expect_status(200);
        page.click_text("button", "Remove").await;
        page.wait_until("location.pathname === '/security/factors'").await;
        page.settle().await;
        assert_eq!(self.site.number("SELECT count(*) FROM webauthn_credentials").await, 0);
        sign_out(page).await;
        self.key.credential().await;
        by_passkey(page).await;
        assert!(is_refused(page).await, "{}", page.text("body").await);
        self.walker.look(page, "login-refused").await;
    }
}

#[tokio::test]
async fn a_passkey_lives_its_whole_life_in_a_browser() {
    let site = Site::open(json!({ "methods": ["passkey", "totp", "backup"] })).await;
    let browser = Browser::start().await;
    let person = browser.person(&site.origin).await;
    let page = sign_in(&person, &site.app, "customer").await;
    let key = Virtual::of(&page).await;
    let mut life = Life { site: &site, page: &page, key, walker: Walker::default() };
    let its_page = life.make().await;
    life.sign_in().await;
    life.be_somebody_else().await;
    life.follow_the_password().await;
    life.step_up(&its_page).await;
    life.be_a_copy().await;
    life.end(&its_page).await;
    page.assert_clean();
    life.walker.finish();
}

#[tokio::test]
async fn a_required_factor_is_made_on_the_way_in_by_passkey_or_by_app() {
    let policy = json!({
        "methods": ["passkey", "totp", "backup"], "required_roles": ["customer", "auditor"],
    });
    let site = Site::open(policy).await;
    let browser = Browser::start().await;
    let mut walker = Walker::default();

    let page = browser.person(&site.origin).await.page().await;
    let key = Virtual::of(&page).await;
    enter(&page, "customer").await;
    page.wait_until("location.pathname === '/login/factor'").await;
    page.settle().await;
    walker.look(&page, "enrolment").await;
    page.click_text("button", "Make a passkey").await;
    page.wait_for("form[data-passkey=create]").await;
    walker.look(&page, "enrolment-passkey").await;
    page.click_text("button", "Make the passkey").await;
    page.wait_for(".codes-list").await;
    walker.look(&page, "enrolment-codes").await;
    page.click_text("a", "I have kept them").await;
    page.wait_until("location.pathname === '/'").await;
    page.settle().await;
    assert_eq!(key.credential().await["rpId"], "localhost");
    page.assert_clean();

    // Without scripts there is the app, and no button that does nothing.
    let page = browser.person(&site.origin).await.page().await;
    page.set_scripts(false).await;
    enter(&page, "auditor").await;
    page.wait_until("location.pathname === '/login/factor'").await;
    page.settle().await;
    page.click_text("button", "Set up an authenticator app").await;
    page.wait_for(".qr svg").await;
    page.set_scripts(true).await;
    walker.look(&page, "enrolment-app").await;
    let secret = page.text(".key-text").await.replace(' ', "");
    let code = totp(&secret, site.app.clock.now().as_second() / 30);
    page.type_text("#code", &code).await;
    page.press("Enter").await;
    page.wait_for(".codes-list").await;
    page.click_text("a", "I have kept them").await;
    page.wait_until("location.pathname === '/'").await;
    page.settle().await;
    page.goto("/security/factors").await.expect_status(200);
    assert!(page.text("main").await.contains("Authenticator app"));
    page.goto("/step-up?next=/security/factors").await.expect_status(200);
    walker.look(&page, "step-up-code").await;
    page.assert_clean();
    walker.finish();
}

/// The first step of a sign-in by the page, whatever comes after it.
async fn enter(page: &Page, username: &str) {
    page.goto("/login").await.expect_status(200);
    page.type_text("#username", username).await;
    page.type_text("#password", PASSWORD).await;
    page.press("Enter").await;
}
