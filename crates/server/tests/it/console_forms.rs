//! Forms of the console between two sendings: what was typed upon an old state, sent
//! twice at once, reloaded by its address, or has to wait for somebody else.

use std::time::Duration;

use serde_json::json;
use uuid::Uuid;

use crate::{
    approvals::{CEILING, bank_with_ceiling, decide, waiting},
    console::Browser,
    harness::{Answered, App, FUNDS},
};

/// A hidden field of the form that is sent to `action`.
fn hidden(page: &Answered, action: &str, name: &str) -> String {
    let (_, form) = page.text.split_once(&format!("action=\"{action}\"")).expect(action);
    let (_, rest) = form.split_once(&format!("name=\"{name}\" value=\"")).expect(name);
    rest.split('"').next().unwrap().to_owned()
}

async fn number(app: &App, account: Uuid) -> String {
    let sql = "SELECT account_number FROM savings_accounts WHERE id = $1";
    app.superuser.query_one(sql, &[&account]).await.unwrap().get(0)
}

async fn count(app: &App, table: &str) -> i64 {
    let sql = format!("SELECT count(*) FROM {table}");
    app.superuser.query_one(&sql, &[]).await.unwrap().get(0)
}

#[tokio::test]
async fn a_slip_of_the_keys_does_not_overwrite_what_somebody_saved_meanwhile() {
    let app = App::start().await;
    let account = app.bank.customers[0].accounts[0];
    let customer = app.bank.customers[0].id;
    let token = app.login(&app.bank, "manager").await;
    // The form; how one slips in it, how it is meant; what somebody else saves over the API.
    let table = [
        (
            format!("/accounts/{account}/settings"),
            vec![("overdraft_limit", "0"), ("interest_rate", "much")],
            vec![("overdraft_limit", "0"), ("interest_rate", "1.5")],
            (format!("/v1/accounts/{account}"), json!({ "minimum_balance": 5_000 })),
        ),
        (
            format!("/customers/{customer}/edit"),
            vec![("first_name", "Jana"), ("date_of_birth", "17.4.1990")],
            vec![("first_name", "Jana"), ("date_of_birth", "1990-04-17")],
            (format!("/v1/customers/{customer}"), json!({ "first_name": "Johana" })),
        ),
    ];
    for (path, slipped, meant, (api, change)) in table {
        let mut browser = Browser::signed_in(&app, "bank", "admin").await;
        let page = browser.get(&app, &path).await;
        let version = hidden(&page, &path, "version");
        let saved =
            app.patch(api.as_str()).bearer(&token).header("if-match", &format!("\"{version}\""));
        let saved = saved.json(&change).send().await;
        assert_eq!(saved.status, 200, "{api}: {}", saved.text);
        let with = |fields: &[(&'static str, &'static str)], version: &str| {
            let mut whole = vec![("once", Uuid::from_u128(77).to_string())];
            whole.push(("version", version.to_owned()));
            whole.extend(fields.iter().map(|(name, value)| (*name, (*value).to_owned())));
            whole
        };
        let fields = with(&slipped, &version);
        let fields: Vec<_> = fields.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let back = browser.post(&app, &path, &fields).await;
        assert_eq!(back.status, 422, "{path}: {}", back.text);
        let kept = hidden(&back, &path, "version");
        assert_eq!(kept, version, "{path}: the form stands on what was seen");
        let fields = with(&meant, &kept);
        let fields: Vec<_> = fields.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let late = browser.post(&app, &path, &fields).await;
        assert_eq!(late.status, 409, "{path}: {}", late.text);
        let read = app.get(api.as_str()).bearer(&token).send().await;
        for (name, value) in change.as_object().unwrap() {
            assert_eq!(&read.body[name], value, "{path}: what the other saved is there");
        }
        // Whoever was told goes on from what there is now.
        assert_ne!(hidden(&late, &path, "version"), version, "{path}");
    }
}

#[tokio::test]
async fn a_transfer_begun_at_an_account_is_paid_from_it() {
    let app = App::start().await;
    for account in app.bank.customers[0].accounts {
        let own = number(&app, account).await;
        let chosen = format!("<option value=\"{account}\" selected>");
        let typed = format!("name=\"from_account_id\" type=\"text\" value=\"{own}\"");
        for (username, shown) in [("customer", chosen), ("officer", typed)] {
            let mut browser = Browser::signed_in(&app, "bank", username).await;
            let page = browser.get(&app, &format!("/accounts/{account}")).await;
            let at = page.text.find("/transfers/new?").expect("a way to it");
            let path = page.text[at..].split('"').next().unwrap().to_owned();
            let form = browser.get(&app, &path).await;
            assert!(form.text.contains(&shown), "{username} {path}: {}", form.text);
            assert!(form.text.matches(" selected>").count() <= 1, "{username}");
        }
    }
}

/// Claims a form's key as its first sending does, until it is given back.
async fn claim(app: &App, username: &str, command: &str, once: &str, take: bool) {
    let (tenant, person) = (app.bank.id, app.bank.users[username]);
    let name = format!("{tenant}/{person}/{command}/{once}");
    let act = if take { "pg_advisory_lock" } else { "pg_advisory_unlock" };
    let sql = format!("SELECT {act}(hashtextextended($1, 0))::text");
    app.superuser.query_one(&sql, &[&name]).await.unwrap();
}

#[tokio::test]
async fn a_double_click_without_scripts_leads_to_one_outcome() {
    let app = App::start().await;
    let [from, _] = app.bank.customers[0].accounts;
    let to = number(&app, app.bank.customers[1].accounts[0]).await;
    let from_text = from.to_string();
    let order = vec![
        ("from_account_id", from_text.as_str()),
        ("to_account_id", to.as_str()),
        ("amount", "5"),
    ];
    let teller = |act: &str| format!("/accounts/{from}/{act}");
    // Who, where, which command, what it holds, and what it writes.
    let table = [
        ("customer", "/transfers".to_owned(), "transfer.create", order, "transfers"),
        ("officer", teller("deposit"), "deposit.create", vec![("amount", "5")], "transfers"),
        ("officer", teller("fee"), "fee.create", vec![("amount", "5")], "transfers"),
        ("customer", teller("hold"), "hold.create", vec![("amount", "5")], "holds"),
    ];
    for (username, path, command, mut fields, written) in table {
        let mut browser = Browser::signed_in(&app, "bank", username).await;
        let before = count(&app, written).await;
        let once = app.clock.new_id().to_string();
        fields.push(("once", once.as_str()));
        // The first sending takes long: a page says so, and repeats the very same form.
        claim(&app, username, command, &once, true).await;
        let told = browser.post(&app, &path, &fields).await;
        assert_eq!(told.status, 409, "{path}: {}", told.text);
        for (name, value) in &fields {
            assert_eq!(&hidden(&told, &path, name), value, "{path}");
        }
        let keys = told.text.matches("name=\"once\"").count();
        assert_eq!(keys, 1, "{path}: no other key, with which it would be done again");
        // It ends while the second one waits: that gets the outcome.
        let ((), first) = tokio::join!(
            async {
                tokio::time::sleep(Duration::from_millis(300)).await;
                claim(&app, username, command, &once, false).await;
            },
            browser.post(&app, &path, &fields)
        );
        assert_eq!(first.status, 303, "{path}: {}", first.text);
        let again = browser.post(&app, &path, &fields).await;
        assert_eq!(again.header("location"), first.header("location"), "{path}");
        assert_eq!(count(&app, written).await, before + 1, "{path}: once");
    }
}

#[tokio::test]
async fn behind_a_refusal_every_way_on_can_be_opened() {
    let app = App::start().await;
    let account = app.bank.customers[0].accounts[0];
    let token = app.login(&app.bank, "admin").await;
    let order = json!({ "account_id": account, "amount": 500 });
    let hold = app.post("/v1/holds").bearer(&token).key("h").json(&order).send().await;
    let hold = format!("/holds/{}", hold.body["id"].as_str().unwrap());
    let settings = format!("/accounts/{account}/settings");
    let close = format!("/accounts/{account}/close");
    let mut browser = Browser::signed_in(&app, "bank", "admin").await;
    let version = hidden(&browser.get(&app, &settings).await, &close, "version");
    let once = app.clock.new_id().to_string();
    let refused = [
        (close, vec![("once", once.as_str()), ("version", version.as_str())], settings.as_str()),
        (format!("{hold}/capture"), vec![("once", once.as_str()), ("amount", "99")], &hold),
    ];
    for (path, fields, home) in refused {
        let page = browser.post(&app, &path, &fields).await;
        assert_eq!(page.status, 422, "{path}: {}", page.text);
        assert!(!page.text.contains("href=\"?"), "{path}: no way on hangs on the address");
        assert!(page.text.contains(&format!("href=\"{home}?confirm=")), "{path}");
        let back = hidden(&page, "/preferences/theme", "back");
        assert_eq!(back, home, "{path}: another light leads to a page");
        let reloaded = browser.get(&app, &path).await;
        assert_eq!((reloaded.status, reloaded.header("location")), (303, home), "{path}");
        assert_eq!(browser.get(&app, home).await.status, 200);
    }
}

#[tokio::test]
async fn what_has_to_wait_is_told_before_and_found_by_those_who_decide() {
    let app = bank_with_ceiling().await;
    // Pages know the policy as it was at most a second ago.
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    let [from, _] = app.bank.customers[0].accounts;
    let to = number(&app, app.bank.customers[1].accounts[0]).await;
    let from = from.to_string();
    let mut customer = Browser::signed_in(&app, "bank", "customer").await;
    // What is the ceiling moves at once; what is above it waits, with or without the money.
    for (amount, waits) in [("50.00", false), ("50.01", true), ("5000", true)] {
        let fields =
            [("from_account_id", from.as_str()), ("to_account_id", &to), ("amount", amount)];
        let page = customer.post(&app, "/transfers/new", &fields).await;
        assert_eq!(page.status, 200, "{amount}: {}", page.text);
        assert_eq!(page.text.contains("a second one has to agree"), waits, "{amount}");
        assert_eq!(page.text.contains("final once it is made"), !waits, "{amount}");
        assert_eq!(page.text.contains("Balance afterwards"), !waits, "{amount}");
    }
    let token = app.login(&app.bank, "customer").await;
    let (approval, transfer) = waiting(&app, &token, "w").await;
    let link = "<a href=\"/approvals\">";
    // Who may decide is led there; who may not is not.
    for (username, shown) in [("manager", "1"), ("officer", "1"), ("auditor", ""), ("customer", "")]
    {
        let mut browser = Browser::signed_in(&app, "bank", username).await;
        let page = browser.get(&app, "/").await;
        assert_eq!(page.text.contains(link), !shown.is_empty(), "{username}");
        assert!(shown.is_empty() || page.text.contains(&format!("{link}{shown}</a>")));
    }
    let mut second = Browser::signed_in(&app, "bank", "second").await;
    let mut manager = Browser::signed_in(&app, "bank", "manager").await;
    let row = format!("href=\"/transfers/{transfer}\"");
    let list = manager.get(&app, "/approvals").await;
    for part in [row.as_str(), "Invoice 7", "50.01", "<bdi>customer</bdi>"] {
        assert!(list.text.contains(part), "{part}: {}", list.text);
    }
    assert!(!second.get(&app, "/approvals").await.text.contains(&row), "not the payee's to see");
    assert!(customer.get(&app, "/approvals").await.text.contains(&row), "its maker sees it");
    let page = manager.get(&app, &format!("/transfers/{transfer}")).await;
    assert!(page.text.contains(&format!("/v1/approvals/{approval}")), "{}", page.text);
    assert!(page.text.contains(link), "and a way back to the others");
    let token = app.login(&app.bank, "manager").await;
    assert_eq!(decide(&app, &token, (approval, "reject"), "r").await.status, 200);
    for (path, has) in [
        ("/approvals", false),
        ("/approvals?status=rejected", true),
        ("/approvals?status=approved", false),
    ] {
        assert_eq!(manager.get(&app, path).await.text.contains(&row), has, "{path}");
    }
    assert_eq!(manager.get(&app, "/approvals?status=lost").await.status, 400);
    assert!(manager.get(&app, "/").await.text.contains(&format!("{link}0</a>")));
    assert_eq!(CEILING, 5_000, "the amounts above are about this ceiling");
}

#[tokio::test]
async fn a_hold_is_shown_before_it_is_placed_and_placed_once() {
    let app = App::start().await;
    let [account, other] = app.bank.customers[0].accounts;
    let to = number(&app, app.bank.customers[1].accounts[0]).await;
    let own = number(&app, account).await;
    let path = format!("/accounts/{account}/hold");
    for (username, status) in [("auditor", 403), ("second", 404), ("officer", 200)] {
        let mut browser = Browser::signed_in(&app, "bank", username).await;
        assert_eq!(browser.get(&app, &path).await.status, status, "{username}");
    }
    let mut browser = Browser::signed_in(&app, "bank", "customer").await;
    let page = browser.get(&app, &format!("/accounts/{account}")).await;
    assert!(page.text.contains(&format!("href=\"{path}\"")), "the account leads to it");
    for (amount, promised, told) in [
        ("", to.as_str(), "Enter an amount"),
        ("1,5", &to, "with a point and no commas"),
        ("1000.01", &to, "Only 1,000.00 EUR is available"),
        ("5", &own, "the account that the money is held on"),
        ("5", "LEGACY1", "No account with this number"),
    ] {
        let fields = [("amount", amount), ("to_account_id", promised)];
        let answer = browser.post(&app, &path, &fields).await;
        assert_eq!(answer.status, 422, "{amount} {promised}");
        assert!(answer.text.contains(told), "{told}: {}", answer.text);
    }
    let fields =
        vec![("amount", "20.50"), ("to_account_id", to.as_str()), ("description", "<i>Room</i>")];
    let summary = browser.post(&app, &path, &fields).await;
    assert_eq!((summary.status, count(&app, "holds").await), (200, 0), "nothing is held yet");
    for part in ["20.50", "979.50", &to, &own, "&#60;i&#62;Room", "After 7 days"] {
        let kit = part.replace("&#60;", "&lt;").replace("&#62;", "&gt;");
        assert!(summary.text.contains(part) || summary.text.contains(&kit), "{part}");
    }
    assert!(!summary.text.contains("<i>Room"), "what was typed stays text");
    let mut changed = fields.clone();
    changed.push(("change", "yes"));
    let form = browser.post(&app, &path, &changed).await;
    assert!(form.text.contains("value=\"20.50\""), "{}", form.text);
    let (_, last) = summary.text.rsplit_once("name=\"once\" value=\"").unwrap();
    let once = last.split('"').next().unwrap().to_owned();
    let mut sent = fields;
    sent.push(("once", once.as_str()));
    let first = browser.post(&app, &path, &sent).await;
    assert_eq!(first.status, 303, "{}", first.text);
    let again = browser.post(&app, &path, &sent).await;
    assert_eq!(again.header("location"), first.header("location"));
    assert_eq!((count(&app, "holds").await, app.balance(account).await), (1, FUNDS));
    let page = browser.get(&app, first.header("location")).await;
    assert!(page.text.contains("Promised to"), "{}", page.text);
    // Nobody else's money, whatever the address says.
    let theirs = format!("/accounts/{}/hold", app.bank.customers[1].accounts[0]);
    assert_eq!(browser.post(&app, &theirs, &sent).await.status, 404);
    // The same key for another account is another order, and refused.
    let twin = format!("/accounts/{other}/hold");
    assert_eq!(browser.post(&app, &twin, &sent).await.status, 422);
    assert_eq!(count(&app, "holds").await, 1);
}
