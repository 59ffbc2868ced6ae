//! The console's page between a transfer that was confirmed and one that is made.

use crate::{console::Browser, harness::PASSWORD};

use super::{LIMIT, Scene};

const PROVE: &str = "/transfers/prove";

struct Visit {
    scene: Scene,
    browser: Browser,
    from: String,
    number: String,
}

impl Visit {
    async fn new() -> Self {
        let mut scene = Scene::new().await;
        let mut browser = Browser::default();
        browser.get(&scene.app, "/login").await;
        let fields = [("tenant", "bank"), ("username", "customer"), ("password", PASSWORD)];
        browser.post(&scene.app, "/login", &fields).await;
        let code = scene.codes.pop().unwrap();
        let fields = [("method", "backup"), ("code", code.as_str())];
        let entered = browser.post(&scene.app, "/login/code", &fields).await;
        assert_eq!(entered.status, 303, "{}", entered.text);
        browser.get(&scene.app, "/transfers/new").await;
        let sql = "SELECT account_number FROM savings_accounts WHERE id = $1";
        let number = scene.app.superuser.query_one(sql, &[&scene.to]).await.unwrap().get(0);
        Self { from: scene.from.to_string(), scene, browser, number }
    }

    async fn send(
        &mut self,
        path: &str,
        amount: &str,
        once: &str,
        more: &[(&str, &str)],
    ) -> crate::harness::Answered {
        let (from, number) = (self.from.clone(), self.number.clone());
        let visit = [
            ("from_account_id", from.as_str()),
            ("to_account_id", number.as_str()),
            ("amount", amount),
            ("description", "Rent"),
            ("once", once),
        ];
        let fields: Vec<(&str, &str)> = visit.iter().chain(more).copied().collect();
        self.browser.post(&self.scene.app, path, &fields).await
    }
}

#[tokio::test]
async fn a_page_names_amount_and_payee_takes_the_code_and_makes_the_transfer_once() {
    let mut visit = Visit::new().await;
    let once = visit.scene.app.clock.new_id().to_string();
    let first = visit.scene.app.clock.new_id().to_string();
    let small = visit.send("/transfers", "10.00", &first, &[]).await;
    assert_eq!(small.status, 303, "{}", small.text);
    let page = visit.send("/transfers", "10.01", &once, &[]).await;
    assert_eq!(page.status, 200, "{}", page.text);
    for shown in
        ["10.01", visit.number.as_str(), "one-time-code", "Confirm and transfer", once.as_str()]
    {
        assert!(page.text.contains(shown), "{shown}");
    }
    let wrong = visit.send(PROVE, "10.01", &once, &[("method", "backup"), ("code", "no")]).await;
    assert_eq!(wrong.status, 401, "{}", wrong.text);
    // A form whose amount was changed since is asked for anew, and the code is not used up.
    let code = visit.scene.codes.pop().unwrap();
    let proof = [("method", "backup"), ("code", code.as_str())];
    let more = visit.send(PROVE, "99.00", &once, &proof).await;
    assert_eq!((more.status, more.text.contains("99.00")), (200, true), "{}", more.text);
    let made = visit.send(PROVE, "10.01", &once, &proof).await;
    assert_eq!(made.status, 303, "{}", made.text);
    let place = made.header("location").to_owned();
    let again = visit.send(PROVE, "10.01", &once, &proof).await;
    assert_eq!((again.status, again.header("location")), (303, place.as_str()), "sent twice");
    let moved = crate::harness::FUNDS - visit.scene.app.balance(visit.scene.from).await;
    assert_eq!(moved, LIMIT + 1_001);
    assert_eq!(visit.scene.unused().await, 0);
    // Behind a form there is nothing to reload, and nothing is proven without ours.
    let app = &visit.scene.app;
    assert_eq!(visit.browser.get(app, PROVE).await.header("location"), "/transfers/new");
    let mut forged = Browser { token: "a".repeat(64), ..visit.browser.clone() };
    assert_eq!(forged.post(app, PROVE, &proof).await.status, 403);
    assert!(crate::console::is_sent_away(&Browser::default().get(app, PROVE).await));
}

#[tokio::test]
async fn who_has_no_factor_is_led_to_set_one_up() {
    let scene = Scene::new().await;
    let app = &scene.app;
    let mut browser = Browser::default();
    browser.get(app, "/login").await;
    let fields = [("tenant", "bank"), ("username", "second"), ("password", PASSWORD)];
    browser.post(app, "/login", &fields).await;
    browser.get(app, "/transfers/new").await;
    let sql = "SELECT account_number FROM savings_accounts WHERE id = $1";
    let number: String = app.superuser.query_one(sql, &[&scene.from]).await.unwrap().get(0);
    let from = app.bank.customers[1].accounts[0].to_string();
    let once = app.clock.new_id().to_string();
    let fields = [
        ("from_account_id", from.as_str()),
        ("to_account_id", number.as_str()),
        ("amount", "10.01"),
        ("once", once.as_str()),
    ];
    let page = browser.post(app, "/transfers", &fields).await;
    assert_eq!(page.status, 200, "{}", page.text);
    assert!(page.text.contains("Set up a second factor") && !page.text.contains("one-time-code"));
    assert_eq!(app.balance(app.bank.customers[1].accounts[0]).await, crate::harness::FUNDS);
}
