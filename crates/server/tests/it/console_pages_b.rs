//! The console's pages about money moving, the audit log, settings and the overview:
//! who gets which, what a form sent twice does, and what strangers' ids open.

use crate::{
    browser::{Browser as Chromium, Stop, Walker, sign_in},
    console::Browser,
    harness::{Answered, App, FUNDS},
};
use banking::overview::{BooksOverview, CustomerCount, LatestMovements, MovementDays};
use tenancy::Blueprint;
use uuid::Uuid;

const NOBODY: &str = "01890000-0000-7000-8000-000000000000";

async fn number(app: &App, account: Uuid) -> String {
    let sql = "SELECT account_number FROM savings_accounts WHERE id = $1";
    app.superuser.query_one(sql, &[&account]).await.unwrap().get(0)
}

/// The value of a hidden field of the page's last form that has one.
fn hidden(page: &Answered, name: &str) -> String {
    let mark = format!("name=\"{name}\" value=\"");
    let rest = page.text.rsplit_once(&mark).unwrap_or_else(|| panic!("{name}: {}", page.text)).1;
    rest.split('"').next().unwrap().to_owned()
}

async fn movements(app: &App) -> i64 {
    let sql = "SELECT count(*) FROM transfers WHERE kind <> 'deposit'";
    app.superuser.query_one(sql, &[]).await.unwrap().get(0)
}

/// Goes through form and summary; the browser stands before the last button.
async fn reviewed(
    app: &App,
    browser: &mut Browser,
    from: &str,
    to: &str,
    amount: &str,
) -> Answered {
    assert_eq!(browser.get(app, "/transfers/new").await.status, 200);
    let fields = [
        ("from_account_id", from),
        ("to_account_id", to),
        ("amount", amount),
        ("description", "<b>Rent</b>"),
    ];
    browser.post(app, "/transfers/new", &fields).await
}

#[tokio::test]
async fn each_page_is_for_its_roles() {
    let app = App::start().await;
    app.seal().await;
    let account = app.bank.customers[0].accounts[0];
    let event: Uuid = app
        .superuser
        .query_one("SELECT event_id FROM audit_log WHERE tenant_id = $1 LIMIT 1", &[&app.bank.id])
        .await
        .unwrap()
        .get(0);
    let movement: Uuid = app
        .superuser
        .query_one("SELECT transfer_id FROM transactions WHERE account_id = $1", &[&account])
        .await
        .unwrap()
        .get(0);
    // Path, then what admin, officer, auditor and the customer whose account it is get.
    let table: [(String, [u16; 4]); 21] = [
        ("/".into(), [200, 200, 200, 200]),
        ("/?days=90&show=volume".into(), [200, 200, 200, 200]),
        ("/activity.csv".into(), [200, 200, 200, 200]),
        ("/transfers/new".into(), [200, 200, 403, 200]),
        (format!("/transfers/{movement}"), [200, 200, 200, 200]),
        (format!("/transfers/{movement}/reverse"), [200, 403, 403, 403]),
        (format!("/accounts/{account}/deposit"), [200, 200, 403, 403]),
        (format!("/accounts/{account}/withdraw"), [200, 200, 403, 403]),
        (format!("/accounts/{account}/fee"), [200, 200, 403, 403]),
        ("/audit".into(), [200, 403, 200, 403]),
        ("/audit/verify".into(), [200, 403, 200, 403]),
        (format!("/audit/{event}?verify=yes"), [200, 403, 200, 403]),
        (format!("/audit/{event}/proof.json"), [200, 403, 200, 403]),
        ("/settings".into(), [200, 403, 200, 403]),
        ("/security".into(), [200, 200, 200, 200]),
        ("/security/password".into(), [200, 200, 200, 200]),
        ("/security/contact".into(), [200, 200, 200, 200]),
        ("/security/devices".into(), [200, 200, 200, 200]),
        ("/security/sessions".into(), [200, 200, 200, 200]),
        ("/security/activity".into(), [200, 200, 200, 200]),
        ("/users".into(), [200, 200, 200, 403]),
    ];
    for (index, role) in ["admin", "officer", "auditor", "customer"].into_iter().enumerate() {
        let mut browser = Browser::signed_in(&app, "bank", role).await;
        for (path, statuses) in &table {
            let answer = browser.get(&app, path).await;
            assert_eq!(answer.status, statuses[index], "{role} {path}: {}", answer.text);
        }
        for path in [
            format!("/transfers/{NOBODY}"),
            format!("/transfers/{NOBODY}/reverse"),
            format!("/accounts/{NOBODY}/deposit"),
            format!("/audit/{NOBODY}"),
            "/audit?severity=none".to_owned(),
            "/?days=31".to_owned(),
        ] {
            let status = browser.get(&app, &path).await.status;
            assert!(matches!(status, 400 | 403 | 404), "{role} {path}: {status}");
        }
    }
}

#[tokio::test]
async fn a_transfer_is_shown_before_it_is_made_and_made_once() {
    let app = App::start().await;
    let [from, _] = app.bank.customers[0].accounts;
    let to = app.bank.customers[1].accounts[0];
    let to_number = number(&app, to).await;
    let mut browser = Browser::signed_in(&app, "bank", "customer").await;
    let grouped = format!("{} {}", &to_number[..4], &to_number[4..]);
    let summary = reviewed(&app, &mut browser, &from.to_string(), &grouped, "12.34").await;
    assert_eq!(summary.status, 200, "{}", summary.text);
    assert_eq!(movements(&app).await, 0, "a summary moves nothing");
    for part in ["12.34", "987.66", "Remains available", "&lt;b&gt;Rent&lt;/b&gt;"] {
        assert!(summary.text.contains(part), "{part}");
    }
    // The one line that a payer must be able to trust: the number that will be paid.
    let (_, payee) = summary.text.split_once("<span class=\"flow-label\">To</span>").unwrap();
    let shown = format!("<span class=\"flow-number\">{to_number}</span>");
    assert!(payee.starts_with(&shown), "{}", &payee[..200]);
    assert!(!summary.text.contains("Nováková"), "a payer learns no owner's name");
    let once = hidden(&summary, "once");
    let from = from.to_string();
    let fields = [
        ("from_account_id", from.as_str()),
        ("to_account_id", &grouped),
        ("amount", "12.34"),
        ("description", "<b>Rent</b>"),
        ("once", &once),
    ];
    let first = browser.post(&app, "/transfers", &fields).await;
    assert_eq!(first.status, 303, "{}", first.text);
    let second = browser.post(&app, "/transfers", &fields).await;
    assert_eq!(
        (second.status, second.header("location")),
        (303, first.header("location")),
        "the same form gives the same movement"
    );
    assert_eq!(movements(&app).await, 1);
    assert_eq!(app.balance(to).await, FUNDS + 1_234);
    let page = browser.get(&app, first.header("location")).await;
    assert!(page.text.contains("nothing moved twice"), "the toast says so");
    assert!(page.text.contains("&lt;b&gt;Rent&lt;/b&gt;") && !page.text.contains("<b>Rent"));
    assert_eq!(page.text.matches("data-label=\"Entry\"").count(), 1, "the payer's own leg only");
    // The same key for something else is refused and moves nothing.
    let mut other = fields;
    other[2].1 = "99.00";
    assert_eq!(browser.post(&app, "/transfers", &other).await.status, 422);
    assert_eq!(movements(&app).await, 1);
    // The payee sees it as well, with their leg; a third customer does not exist here.
    let mut payee = Browser::signed_in(&app, "bank", "second").await;
    let page = payee.get(&app, first.header("location")).await;
    assert_eq!(page.status, 200);
    assert!(!page.text.contains("Reverse"), "customers reverse nothing");
    // Another tenant's person finds nothing under the id.
    app.add_bank("other").await;
    let mut foreign = Browser::signed_in(&app, "other", "admin").await;
    assert_eq!(foreign.get(&app, first.header("location")).await.status, 404);
}

#[tokio::test]
async fn what_cannot_be_done_is_said_beside_its_field() {
    let app = App::start().await;
    app.add_bank("other").await;
    let [own, savings] = app.bank.customers[0].accounts;
    let foreign = app.bank.customers[1].accounts[0];
    let (own_number, foreign_number) = (number(&app, own).await, number(&app, foreign).await);
    let (own, savings) = (own.to_string(), savings.to_string());
    let mistyped = {
        let last = if own_number.ends_with('1') { '2' } else { '1' };
        format!("{}{last}", &own_number[..11])
    };
    let mut browser = Browser::signed_in(&app, "bank", "customer").await;
    let table = [
        (own.as_str(), foreign_number.as_str(), "", "Enter an amount"),
        (&own, &foreign_number, "0", "more than zero"),
        (&own, &foreign_number, "12,50", "with a point and no commas"),
        (&own, &foreign_number, "1.234", "2 decimal places"),
        (&own, &foreign_number, "1000.01", "Only 1,000.00 EUR is available"),
        (&own, &own_number, "1", "the account that the money comes from"),
        (&own, &mistyped, "1", "a digit is wrong or two are swapped"),
        (&own, "", "1", "Enter the number"),
        (&own, "<script>alert(1)</script>", "1", "No account with this number"),
        (&foreign.to_string(), &own_number, "1", "No account with this number"),
        (NOBODY, &own_number, "1", "No account with this number"),
        ("", &own_number, "1", "Say which account"),
    ];
    for (from, to, amount, told) in table {
        let answer = reviewed(&app, &mut browser, from, to, amount).await;
        assert_eq!(answer.status, 422, "{from} {to} {amount}");
        assert!(answer.text.contains(told), "{told}: {}", answer.text);
        assert!(!answer.text.contains("<script>alert"), "what was typed stays text");
        assert!(answer.text.contains("aria-invalid=\"true\""), "{told}");
    }
    // Straight to the last step with an account of somebody else's: nothing moves.
    let once = Uuid::from_u128(7).to_string();
    let thief = foreign.to_string();
    let mut fields = vec![
        ("from_account_id", thief.as_str()),
        ("to_account_id", own_number.as_str()),
        ("amount", "5"),
        ("once", once.as_str()),
    ];
    assert_eq!(browser.post(&app, "/transfers", &fields).await.status, 422);
    // Too much is refused by the command as well, not by the summary alone.
    fields[0].1 = &savings;
    fields[2].1 = "1000.01";
    let answer = browser.post(&app, "/transfers", &fields).await;
    assert_eq!(answer.status, 422);
    assert!(answer.text.contains("not enough money"), "{}", answer.text);
    // A frozen account.
    let frozen: Uuid = savings.parse().unwrap();
    let sql = "UPDATE ledger_accounts SET status = 'frozen' WHERE id = $1";
    app.superuser.execute(sql, &[&frozen]).await.unwrap();
    fields[2].1 = "5";
    let fresh = Uuid::from_u128(8).to_string();
    fields[3].1 = &fresh;
    let answer = browser.post(&app, "/transfers", &fields).await;
    assert_eq!(answer.status, 422);
    assert!(answer.text.contains("frozen"), "{}", answer.text);
    assert_eq!(movements(&app).await, 0);
}

#[tokio::test]
async fn forged_and_stale_forms_move_nothing() {
    let app = App::start().await;
    let [from, _] = app.bank.customers[0].accounts;
    let to_number = number(&app, app.bank.customers[1].accounts[0]).await;
    let mut browser = Browser::signed_in(&app, "bank", "customer").await;
    let from = from.to_string();
    let summary = reviewed(&app, &mut browser, &from, &to_number, "5").await;
    let once = hidden(&summary, "once");
    let fields = |once: &'static str| {
        vec![
            ("from_account_id", from.clone()),
            ("to_account_id", to_number.clone()),
            ("amount", "5".to_owned()),
            ("once", once.to_owned()),
        ]
    };
    for forged in ["", "1", "../../etc/passwd", "zzzzzzzz-zzzz-zzzz-zzzz-zzzzzzzzzzzz"] {
        let fields = fields(forged);
        let fields: Vec<_> = fields.iter().map(|(name, value)| (*name, value.as_str())).collect();
        assert_eq!(browser.post(&app, "/transfers", &fields).await.status, 400, "{forged:?}");
    }
    let good = [
        ("from_account_id", from.as_str()),
        ("to_account_id", &to_number),
        ("amount", "5"),
        ("once", &once),
    ];
    for path in ["/transfers", "/transfers/new", &format!("/accounts/{from}/deposit")] {
        // Each anew: the page that refuses brings a token again.
        let mut tokenless = browser.clone();
        tokenless.token = String::new();
        assert_eq!(tokenless.post(&app, path, &good).await.status, 403, "{path}");
    }
    // Signed out in another tab: the form leads to the sign-in.
    let stale = browser.clone();
    browser.post(&app, "/logout", &[]).await;
    let answer = stale.clone().post(&app, "/transfers", &good).await;
    assert_eq!(answer.status, 303);
    assert!(answer.header("location").starts_with("/login"), "{}", answer.header("location"));
    assert_eq!(movements(&app).await, 0);
    // Somebody else's key is a key of their own.
    let mut second = Browser::signed_in(&app, "bank", "second").await;
    second.get(&app, "/transfers/new").await;
    assert_eq!(second.post(&app, "/transfers", &good).await.status, 422);
    assert_eq!(movements(&app).await, 0);
}

#[tokio::test]
async fn the_counter_books_once_and_a_reversal_undoes_once() {
    let app = App::start().await;
    let account = app.bank.customers[0].accounts[0];
    let mut officer = Browser::signed_in(&app, "bank", "officer").await;
    let mut done = Vec::new();
    for (act, amount, told) in [
        ("deposit", "50.00", "Deposit cash"),
        ("withdraw", "20", "Withdraw cash"),
        ("fee", "1.50", "Charge a fee"),
    ] {
        let path = format!("/accounts/{account}/{act}");
        let page = officer.get(&app, &path).await;
        assert!(page.text.contains(told), "{act}");
        let once = hidden(&page, "once");
        let fields = [("amount", amount), ("description", "Slip 17"), ("once", once.as_str())];
        let first = officer.post(&app, &path, &fields).await;
        assert_eq!(first.status, 303, "{act}: {}", first.text);
        let again = officer.post(&app, &path, &fields).await;
        assert_eq!(again.header("location"), first.header("location"), "{act}");
        done.push(first.header("location").to_owned());
        let bad = [("amount", "1e3"), ("once", once.as_str())];
        assert_eq!(officer.post(&app, &path, &bad).await.status, 422, "{act}");
    }
    assert_eq!(app.balance(account).await, FUNDS + 5_000 - 2_000 - 150);
    let path = format!("/accounts/{account}/withdraw");
    let page = officer.get(&app, &path).await;
    let fields = [("amount", "99999999"), ("once", &hidden(&page, "once"))];
    let answer = officer.post(&app, &path, &fields).await;
    assert_eq!(answer.status, 422);
    assert!(answer.text.contains("not enough money"), "{}", answer.text);
    let future = [("amount", "1"), ("value_date", "2199-01-01"), ("once", &hidden(&page, "once"))];
    assert_eq!(officer.post(&app, &path, &future).await.status, 422);
    // A customer cannot fill their own account.
    let mut customer = Browser::signed_in(&app, "bank", "customer").await;
    let fields = [("amount", "1000"), ("once", NOBODY)];
    let answer = customer.post(&app, &format!("/accounts/{account}/deposit"), &fields).await;
    assert_eq!(answer.status, 403);
    // Reversed by a manager, once; the officer may not.
    let deposit = &done[0];
    let reverse = format!("{deposit}/reverse");
    assert_eq!(officer.post(&app, &reverse, &[("once", NOBODY)]).await.status, 403);
    let mut manager = Browser::signed_in(&app, "bank", "manager").await;
    let page = manager.get(&app, deposit).await;
    assert!(page.text.contains("data-open=\"reverse\""), "{}", page.text);
    let once = hidden(&page, "once");
    let fields = [("reason", "Counted twice"), ("once", once.as_str())];
    let first = manager.post(&app, &reverse, &fields).await;
    assert_eq!(first.status, 303, "{}", first.text);
    let again = manager.post(&app, &reverse, &fields).await;
    assert_eq!(again.header("location"), first.header("location"));
    assert_eq!(app.balance(account).await, FUNDS - 2_000 - 150);
    let other = Uuid::from_u128(9).to_string();
    let answer = manager.post(&app, &reverse, &[("once", &other)]).await;
    assert_eq!(answer.status, 422);
    assert!(answer.text.contains("has been reversed before"), "{}", answer.text);
    let page = manager.get(&app, deposit).await;
    let place = first.header("location");
    assert!(page.text.contains(&format!("href=\"{place}\"")), "the reversal is linked");
    assert!(!page.text.contains("data-open=\"reverse\""), "and not offered again");
    assert!(manager.get(&app, place).await.text.contains(deposit.as_str()), "both ways");
}

#[tokio::test]
async fn the_audit_log_is_filtered_verified_and_taken_along() {
    let app = App::start().await;
    let mut admin = Browser::signed_in(&app, "bank", "admin").await;
    let mut customer = Browser::signed_in(&app, "bank", "customer").await;
    customer.get(&app, "/settings").await;
    app.seal().await;
    let page = admin.get(&app, "/audit").await;
    assert!(page.text.contains("signed in"), "{}", page.text);
    for (query, some) in [
        ("who=customer", true),
        ("who=nobody-by-that-name", false),
        ("result=denied", true),
        ("severity=high", true),
        ("action=account.open", true),
        ("action=%3Cscript%3E", false),
        ("resource_type=account&action=account.open", true),
        ("ip_address=203.0.113.250", false),
        ("from=2199-01-01", false),
        ("to=2000-01-01", false),
        ("event_type=login&result=success", true),
    ] {
        let page = admin.get(&app, &format!("/audit?{query}")).await;
        assert_eq!(page.status, 200, "{query}");
        assert_eq!(page.text.contains("class=\"audit-line "), some, "{query}");
        assert_eq!(page.text.contains("Nothing matches"), !some, "{query}");
        assert!(!page.text.contains("<script>"), "{query}");
    }
    for query in ["severity=loud", "resource_id=1", "ip_address=x", "from=yesterday", "cursor=zzz"]
    {
        assert_eq!(admin.get(&app, &format!("/audit?{query}")).await.status, 400, "{query}");
    }
    let csv = admin.get(&app, "/audit.csv?action=account.open").await;
    assert!(csv.header("content-type").starts_with("text/csv"));
    assert_eq!(csv.text.lines().count(), 1 + 4, "{}", csv.text);
    // One record, verified; then tampered with behind the log's back.
    let sql =
        "SELECT event_id FROM audit_log WHERE tenant_id = $1 AND action = 'account.open' LIMIT 1";
    let event: Uuid = app.superuser.query_one(sql, &[&app.bank.id]).await.unwrap().get(0);
    let page = admin.get(&app, &format!("/audit/{event}?verify=yes")).await;
    assert!(page.text.contains("verdict--good"), "{}", page.text);
    assert_eq!(page.text.matches("check--good").count(), 4);
    let proof = admin.get(&app, &format!("/audit/{event}/proof.json")).await;
    let proof: audit::portable::PortableInclusion = serde_json::from_str(&proof.text).unwrap();
    assert_eq!((proof.event_id, proof.tenant_id), (event, app.bank.id));
    let key = audit::note::NoteVerifier::parse(&proof.verifier_keys[0]).unwrap();
    let trust = audit::portable::Trust { keys: vec![key], ..Default::default() };
    assert!(proof.verify(&trust).is_ok());
    let page = admin.get(&app, "/audit/verify").await;
    assert!(page.text.contains("verdict--good"), "{}", page.text);
    // Another tenant's record is nobody's here.
    app.add_bank("other").await;
    let mut other = Browser::signed_in(&app, "other", "admin").await;
    assert_eq!(other.get(&app, &format!("/audit/{event}")).await.status, 404);
    assert_eq!(other.get(&app, &format!("/audit/{event}/proof.json")).await.status, 404);
    for sql in
        ["ALTER TABLE audit_log DISABLE TRIGGER USER", "SET session_replication_role = replica"]
    {
        app.superuser.batch_execute(sql).await.unwrap();
    }
    let sql = "UPDATE audit_log SET new_values = '{\"status\": \"closed\"}' WHERE event_id = $1";
    assert_eq!(app.superuser.execute(sql, &[&event]).await.unwrap(), 1);
    let page = admin.get(&app, &format!("/audit/{event}?verify=yes")).await;
    assert!(page.text.contains("verdict--bad"), "{}", page.text);
    assert!(page.text.contains("Not as in the sealed record: new_values"), "{}", page.text);
}

#[tokio::test]
async fn the_overview_is_right_and_the_palette_finds_only_theirs() {
    let app = App::start().await;
    let operator = app.cli("bank").await;
    let books = app.operations.read(&operator, &BooksOverview).await.unwrap();
    assert_eq!((books.account_count(), books.is_more), (4, false));
    app.operations.read(&operator, &CustomerCount).await.unwrap();
    let from = "2026-01-01".parse().unwrap();
    let activity = app.operations.read(&operator, &MovementDays { from }).await.unwrap();
    assert_eq!(activity.days.iter().map(|day| day.count).sum::<u64>(), 4);
    let latest = app.operations.read(&operator, &LatestMovements { limit: 3 }).await.unwrap();
    assert_eq!(latest.len(), 3, "as many as asked for");
    let mut staff = Browser::signed_in(&app, "bank", "officer").await;
    let page = staff.get(&app, "/").await;
    let accounts = i64::try_from(app.bank.customers.len() * 2).unwrap();
    let held = format!("value=\"{}\"", accounts * FUNDS);
    assert!(page.text.contains(&held), "{held}: {}", page.text);
    let csv = staff.get(&app, "/activity.csv").await;
    assert!(csv.text.contains(&format!(",EUR,{accounts},")), "{}", csv.text);
    let mut customer = Browser::signed_in(&app, "bank", "customer").await;
    assert_eq!(customer.get(&app, "/activity.csv").await.text.lines().count(), 1, "not theirs");
    let foreign = app.bank.customers[1].accounts[0];
    let sql = "SELECT transfer_id FROM transactions WHERE account_id = $1";
    let movement: Uuid = app.superuser.query_one(sql, &[&foreign]).await.unwrap().get(0);
    for id in [foreign, movement, app.bank.customers[1].id] {
        let found = staff.get(&app, &format!("/palette?q={id}")).await;
        assert!(found.text.contains(&id.to_string()), "staff find {id}");
        let found = customer.get(&app, &format!("/palette?q={id}")).await;
        assert_eq!(found.status, 200);
        assert!(!found.text.contains(&id.to_string()), "customers do not find {id}");
    }
}

#[tokio::test]
async fn an_empty_tenant_has_pages_of_zeroes_and_not_of_errors() {
    let app = App::start().await;
    app.add_tenant("empty", Blueprint::CoreBank, None).await;
    let mut admin = Browser::signed_in(&app, "empty", "admin").await;
    for (path, said) in [
        ("/", "Nothing has been paid in yet"),
        ("/?days=90&show=volume", "Nothing has moved yet"),
        ("/customers", "No customers yet"),
        ("/accounts", "No accounts yet"),
        ("/approvals", "Nothing waits"),
        ("/transfers/new", "New transfer"),
        ("/audit/verify", "Nothing sealed yet"),
    ] {
        let page = admin.get(&app, path).await;
        assert_eq!(page.status, 200, "{path}: {}", page.text);
        assert!(page.text.contains(said), "{path}: {}", page.text);
    }
    for path in ["/customers/export", "/accounts/export", "/activity.csv"] {
        let file = admin.get(&app, path).await;
        assert_eq!((file.status, file.text.lines().count()), (200, 1), "{path}: {}", file.text);
    }
    // Somebody may sign in whom nothing belongs to.
    let mut customer = Browser::signed_in(&app, "empty", "customer").await;
    assert!(customer.get(&app, "/").await.text.contains("No accounts yet"));
    assert!(customer.get(&app, "/transfers/new").await.text.contains("No account to pay from"));
}

#[tokio::test]
async fn the_pages_look_right() {
    let app = App::start().await;
    let (port, _acceptor) = app.listen().await;
    let origin = format!("http://localhost:{port}");
    let chromium = Chromium::start().await;
    let mut walker = Walker::default();
    let [from, _] = app.bank.customers[0].accounts;
    let to = number(&app, app.bank.customers[1].accounts[0]).await;
    let person = chromium.person(&origin).await;
    let page = sign_in(&person, &app, "customer").await;
    page.goto("/transfers/new").await.expect_status(200);
    page.eval(&format!("document.querySelector('#field-from_account_id').value = '{from}'")).await;
    page.type_text("#field-to_account_id", &to).await;
    page.type_text("#field-amount", "125.50").await;
    page.type_text("#field-description", "Rent, March").await;
    page.screenshot("b-transfer-filled").await;
    page.press("Enter").await;
    page.wait_for(".confirm").await;
    page.settle().await;
    page.screenshot("b-transfer-confirm").await;
    page.click(".confirm-actions .button--primary").await;
    page.wait_until("/^\\/transfers\\/[0-9a-f-]{36}$/.test(location.pathname)").await;
    page.settle().await;
    let movement = page.path().await;
    walker.visit(&page, &Stop::new("b-transfer", movement.clone())).await;
    walker.visit(&page, &Stop::new("b-customer-overview", "/")).await;
    walker.visit(&page, &Stop::new("b-transfer-new", "/transfers/new")).await;
    app.seal().await;
    let person = chromium.person(&origin).await;
    let page = sign_in(&person, &app, "admin").await;
    let sql =
        "SELECT event_id FROM audit_log WHERE tenant_id = $1 AND action = 'account.open' LIMIT 1";
    let event: Uuid = app.superuser.query_one(sql, &[&app.bank.id]).await.unwrap().get(0);
    for (name, path) in [
        ("b-overview", "/?days=90".to_owned()),
        ("b-transfer-staff", movement.clone()),
        ("b-transfer-reverse", format!("{movement}/reverse")),
        ("b-teller", format!("/accounts/{from}/deposit")),
        ("b-audit", "/audit".to_owned()),
        ("b-audit-none", "/audit?action=nothing".to_owned()),
        ("b-audit-event", format!("/audit/{event}?verify=yes")),
        ("b-audit-verify", "/audit/verify".to_owned()),
        ("b-settings", "/settings".to_owned()),
    ] {
        walker.visit(&page, &Stop::new(name, path)).await;
    }
    walker.finish();
}
