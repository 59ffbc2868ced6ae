//! The console's pages of customers, accounts and holds: who sees what, what filters
//! narrow, what forms do once, and what hostile texts cannot do.

use std::sync::Arc;

use banking::{
    AccountSeries, AuthoriseHold, CreateCustomer, CreateTransfer, CustomerType, Deposit,
    EntryFilter, EntrySearch, NewCustomer, PersonalData,
};
use operation::PageRequest;
use uuid::Uuid;

use crate::{
    console::{Browser, is_sent_away},
    harness::{Answered, App, FUNDS, PASSWORD},
};

const HOSTILE: &str = "<script>alert('x')</script>\"\u{202e}=cmd";

/// Signed in at the bank, with the form token of a page of ours.
async fn signed_in(app: &App, username: &str) -> Browser {
    let mut browser = Browser::default();
    browser.get(app, "/login").await;
    let fields = [("tenant", "bank"), ("username", username), ("password", PASSWORD)];
    assert_eq!(browser.post(app, "/login", &fields).await.status, 303, "{username}");
    assert_eq!(browser.get(app, "/accounts").await.status, 200, "{username}");
    browser
}

/// A hidden field of the form that is sent to `action`.
fn hidden(page: &Answered, action: &str, name: &str) -> String {
    let (_, form) = page.text.split_once(&format!("action=\"{action}\"")).expect(action);
    let (_, rest) = form.split_once(&format!("name=\"{name}\" value=\"")).expect(name);
    rest.split('"').next().unwrap().to_owned()
}

async fn hostile_customer(app: &App) -> Uuid {
    let context = app.cli("bank").await;
    let customer = NewCustomer {
        customer_type: CustomerType::Business,
        personal: PersonalData {
            company_name: Some(format!("={HOSTILE}")),
            email: Some("hostile@home.example".to_owned()),
            ..PersonalData::default()
        },
        user_id: None,
    };
    let command = CreateCustomer { keyring: Arc::clone(&app.keyring), customer };
    app.run(&context, command).await.id
}

async fn hold(app: &App, account_id: Uuid, amount: i64) -> Uuid {
    let context = app.cli("bank").await;
    // The settlement account is made by the first deposit of its currency.
    let command = AuthoriseHold {
        account_id,
        to_account_id: Some(app.bank.customers[1].accounts[0]),
        amount,
        currency: None,
        description: "Hotel".to_owned(),
        reference: None,
        expires_at: None,
    };
    app.run(&context, command).await.id
}

#[tokio::test]
async fn each_page_is_for_whom_it_is_and_nobody_else() {
    let app = App::start().await;
    let other = app.add_bank("other").await;
    let (mine, theirs) = (&app.bank.customers[0], &app.bank.customers[1]);
    let held = hold(&app, mine.accounts[0], 500).await;
    let foreign = hold(&app, theirs.accounts[1], 500).await;
    let mut people = Vec::new();
    for username in ["admin", "auditor", "customer"] {
        people.push((username, signed_in(&app, username).await));
    }
    let account = mine.accounts[0];
    // Path, then what admin, auditor and the customer are answered.
    let table = [
        ("/customers".to_owned(), [200, 200, 200]),
        ("/customers/export".to_owned(), [200, 200, 403]),
        ("/customers/new".to_owned(), [200, 403, 403]),
        (format!("/customers/{}", mine.id), [200, 200, 200]),
        (format!("/customers/{}", theirs.id), [200, 200, 404]),
        (format!("/customers/{}/edit", mine.id), [200, 403, 200]),
        (format!("/customers/{}/edit", theirs.id), [200, 403, 404]),
        ("/accounts".to_owned(), [200, 200, 200]),
        ("/accounts/export".to_owned(), [200, 200, 200]),
        ("/accounts/new".to_owned(), [200, 403, 403]),
        (format!("/accounts/{account}"), [200, 200, 200]),
        (format!("/accounts/{account}/export"), [200, 200, 200]),
        (format!("/accounts/{account}/holds"), [200, 200, 200]),
        (format!("/accounts/{account}/settings"), [200, 403, 403]),
        (format!("/accounts/{}", theirs.accounts[0]), [200, 200, 404]),
        (format!("/accounts/{}/export", theirs.accounts[0]), [200, 200, 404]),
        (format!("/accounts/{}/holds", theirs.accounts[0]), [200, 200, 404]),
        (format!("/holds/{held}"), [200, 200, 200]),
        (format!("/holds/{foreign}"), [200, 200, 404]),
        // Another tenant's, and nobody's.
        (format!("/customers/{}", other.customers[0].id), [404, 404, 404]),
        (format!("/accounts/{}", other.customers[0].accounts[0]), [404, 404, 404]),
        (format!("/accounts/{}/export", other.customers[0].accounts[0]), [404, 404, 404]),
        (format!("/holds/{}", Uuid::nil()), [404, 404, 404]),
    ];
    for (path, statuses) in table {
        for ((username, browser), status) in people.iter_mut().zip(statuses) {
            let answer = browser.get(&app, &path).await;
            assert_eq!(answer.status, status, "{path} for {username}");
        }
        let stranger = app.get(&path).header("accept", "text/html").send().await;
        assert!(is_sent_away(&stranger), "{path}");
    }
}

#[tokio::test]
async fn lists_show_no_more_than_the_policy_reaches() {
    let app = App::start().await;
    let (mine, theirs) = (&app.bank.customers[0], &app.bank.customers[1]);
    let mut browser = signed_in(&app, "customer").await;
    for path in ["/accounts", "/accounts/export"] {
        let list = browser.get(&app, path).await.text;
        assert!(list.contains(&mine.accounts[0].to_string()), "{path}");
        assert!(!list.contains(&theirs.accounts[0].to_string()), "{path}");
    }
    for path in ["/customers", "/customers/export", "/customers?email=second@home.example"] {
        let list = browser.get(&app, path).await.text;
        assert!(!list.contains(&theirs.id.to_string()), "{path}");
    }
    // A filter by somebody else's customer opens nothing.
    let path = format!("/accounts?customer_id={}", theirs.id);
    assert!(!browser.get(&app, &path).await.text.contains(&theirs.accounts[0].to_string()));
}

#[tokio::test]
async fn hostile_texts_stay_texts() {
    let app = App::start().await;
    let id = hostile_customer(&app).await;
    let context = app.cli("bank").await;
    let account = app.bank.customers[0].accounts[0];
    let deposit = Deposit {
        account_id: account,
        amount: 1_234,
        currency: None,
        description: "=HYPERLINK(1)<script>".to_owned(),
        reference: Some("@sum".to_owned()),
        value_date: None,
    };
    app.run(&context, deposit).await;
    let mut browser = signed_in(&app, "admin").await;
    let pages = [
        "/customers".to_owned(),
        format!("/customers/{id}"),
        format!("/customers/{id}/edit"),
        format!("/accounts/new?customer_id={id}"),
        format!("/accounts?customer_id={id}"),
        format!("/accounts/{account}"),
        "/accounts?account_number=%22%3E%3Cscript%3E".to_owned(),
        format!("/accounts/{account}?q=%22%3E%3Cscript%3E"),
    ];
    for path in pages {
        let answer = browser.get(&app, &path).await;
        assert_eq!(answer.status, 200, "{path}");
        assert!(!answer.text.contains("<script>"), "{path}");
        assert!(!answer.text.contains("alert('x')"), "{path}");
    }
    let drawn = browser.get(&app, &format!("/customers/{id}")).await.text;
    assert!(drawn.contains("<bdi>=&lt;script&gt;") && !drawn.contains('\u{202e}'));
    let file = browser.get(&app, "/customers/export").await.text;
    assert!(file.contains("\"'=<script>"), "no formula: {file}");
    let file = browser.get(&app, &format!("/accounts/{account}/export")).await.text;
    assert!(file.contains("\"'=HYPERLINK(1)<script>\",\"'@sum\",12.34"), "{file}");
}

#[tokio::test]
async fn filters_narrow_and_cursors_belong_to_their_list() {
    let app = App::start().await;
    let context = app.cli("bank").await;
    let account = app.bank.customers[0].accounts[0];
    let to = app.bank.customers[1].accounts[0];
    for number in 1..=30 {
        let transfer = CreateTransfer {
            from_account_id: account,
            to_account_id: to,
            amount: number * 100,
            currency: "EUR".parse().unwrap(),
            description: if number == 7 { "Café rent".to_owned() } else { String::new() },
            reference: None,
        };
        app.run(&context, transfer).await;
    }
    let mut browser = signed_in(&app, "admin").await;
    let path = format!("/accounts/{account}");
    let table = [
        ("q=CAF%C3%89", 1),
        ("q=nothing", 0),
        ("min=29", 3),
        ("min=29&max=30", 2),
        ("transaction_type=deposit", 1),
        ("from=2200-01-01", 0),
        ("q=rent&max=6", 0),
    ];
    for (query, count) in table {
        let text = browser.get(&app, &format!("{path}?{query}")).await.text;
        assert_eq!(text.matches("data-label=\"Entry\"").count(), count, "{query}");
        let file = browser.get(&app, &format!("{path}/export?{query}")).await.text;
        assert_eq!(file.lines().count(), count + 1, "{query}: {file}");
    }
    let first = browser.get(&app, &path).await;
    assert_eq!(first.text.matches("data-label=\"Entry\"").count(), 25);
    let (_, rest) = first.text.split_once("?cursor=").unwrap();
    let cursor = rest.split('"').next().unwrap().to_owned();
    let second = browser.get(&app, &format!("{path}?cursor={cursor}")).await;
    assert_eq!(second.text.matches("data-label=\"Entry\"").count(), 6);
    let wrong = [
        format!("/accounts?cursor={cursor}"),
        format!("/accounts/{to}?cursor={cursor}"),
        format!("{path}?q=x&cursor={cursor}"),
        format!("{path}?cursor={cursor}A"),
        format!("{path}?from=yesterday"),
        format!("{path}?min=lots"),
        "/accounts?status=open".to_owned(),
        "/accounts?currency=EURO".to_owned(),
        "/customers?status=x".to_owned(),
    ];
    for path in wrong {
        assert_eq!(browser.get(&app, &path).await.status, 400, "{path}");
    }
    let mut colleague = signed_in(&app, "auditor").await;
    let stolen = colleague.get(&app, &format!("{path}?cursor={cursor}")).await;
    assert_eq!(stolen.status, 400, "a cursor is one person's");
    for (query, count) in [("currency=EUR", 4), ("currency=CZK", 0), ("account_type=checking", 0)] {
        let text = browser.get(&app, &format!("/accounts?{query}")).await.text;
        assert_eq!(text.matches("data-label=\"Account\"").count(), count, "{query}");
    }
    for (query, count) in [("email=SECOND@home.example", 1), ("customer_type=business", 0)] {
        let text = browser.get(&app, &format!("/customers?{query}")).await.text;
        assert_eq!(text.matches("data-label=\"Name\"").count(), count, "{query}");
    }
}

#[tokio::test]
async fn the_file_carries_the_running_balance() {
    let app = App::start().await;
    let account = app.bank.customers[0].accounts[0];
    let mut browser = signed_in(&app, "customer").await;
    let answer = browser.get(&app, &format!("/accounts/{account}/export")).await;
    assert!(answer.header("content-type").starts_with("text/csv"));
    assert!(answer.header("content-disposition").starts_with("attachment; filename=\"account-"));
    let lines: Vec<&str> = answer.text.lines().collect();
    let funds = format!("{}.{:02}", FUNDS / 100, FUNDS % 100);
    assert_eq!(lines.len(), 2);
    assert!(lines[0].starts_with("Value date,Posted,Type,Description,Reference,Amount,Balance"));
    assert!(
        lines[1].contains(&format!(",deposit,Opening,,{funds},{funds},EUR,1,")),
        "{}",
        lines[1]
    );
}

#[tokio::test]
async fn an_account_is_opened_once_however_often_the_form_is_sent() {
    let app = App::start().await;
    let owner = app.bank.customers[0].id;
    let mut browser = signed_in(&app, "admin").await;
    let page = browser.get(&app, &format!("/accounts/new?customer_id={owner}")).await;
    let once = hidden(&page, "/accounts/new", "once");
    let owner = owner.to_string();
    let fields = [
        ("once", once.as_str()),
        ("customer_id", owner.as_str()),
        ("account_type", "checking"),
        ("currency", "CZK"),
        ("overdraft_limit", "1500.50"),
    ];
    let first = browser.post(&app, "/accounts/new", &fields).await;
    let second = browser.post(&app, "/accounts/new", &fields).await;
    assert_eq!((first.status, second.status), (303, 303), "{}", first.text);
    assert_eq!(first.header("location"), second.header("location"));
    let sql = "SELECT count(*), min(l.overdraft_limit) FROM savings_accounts s \
               JOIN ledger_accounts l ON l.id = s.id WHERE l.currency = 'CZK'";
    let row = app.superuser.query_one(sql, &[]).await.unwrap();
    assert_eq!((row.get::<_, i64>(0), row.get::<_, i64>(1)), (1, 150_050));
    // Without the session's token, and without a key, nothing.
    let mut forged = browser.clone();
    forged.forget_token();
    assert_eq!(forged.post(&app, "/accounts/new", &fields).await.status, 403);
    assert_eq!(browser.post(&app, "/accounts/new", &fields[1..]).await.status, 400);
    // What cannot be read, or is not allowed, comes back with the form.
    let fresh = browser.get(&app, "/accounts/new").await;
    let once = hidden(&fresh, "/accounts/new", "once");
    for (field, value) in [("overdraft_limit", "much"), ("interest_rate", "101")] {
        let mut wrong = vec![("once", once.as_str()), ("customer_id", owner.as_str())];
        wrong.extend([("account_type", "savings"), ("currency", "EUR"), (field, value)]);
        let answer = browser.post(&app, "/accounts/new", &wrong).await;
        assert_eq!(answer.status, 422, "{field}");
        assert!(answer.text.contains(&format!("id=\"error-{field}\"")), "{field}");
    }
}

#[tokio::test]
async fn two_people_who_change_one_customer_are_told() {
    let app = App::start().await;
    let id = app.bank.customers[0].id;
    let path = format!("/customers/{id}/edit");
    let mut one = signed_in(&app, "admin").await;
    let mut two = signed_in(&app, "manager").await;
    let seen = one.get(&app, &path).await;
    two.get(&app, &path).await;
    let version = hidden(&seen, &path, "version");
    let fields = |email: &'static str, version: &'static str| {
        [("version", version), ("first_name", "Jana"), ("last_name", "Nováková"), ("email", email)]
    };
    assert_eq!(version, "1");
    let saved = one.post(&app, &path, &fields("one@home.example", "1")).await;
    assert_eq!((saved.status, saved.header("location")), (303, path.trim_end_matches("/edit")));
    let late = two.post(&app, &path, &fields("two@home.example", "1")).await;
    assert_eq!(late.status, 409);
    assert!(late.text.contains("one@home.example") && late.text.contains("two@home.example"));
    assert_eq!(hidden(&late, &path, "version"), "2", "the form stands on what was shown");
    // The same form again changes nothing and says that it is done.
    assert_eq!(one.post(&app, &path, &fields("one@home.example", "1")).await.status, 303);
    assert_eq!(two.post(&app, &path, &fields("two@home.example", "2")).await.status, 303);
    let shown = one.get(&app, &format!("/customers/{id}")).await.text;
    assert!(shown.contains("two@home.example") && !shown.contains("one@home.example"));
}

#[tokio::test]
async fn people_change_their_own_contact_details_and_nothing_else() {
    let app = App::start().await;
    let id = app.bank.customers[0].id;
    let path = format!("/customers/{id}/edit");
    let mut browser = signed_in(&app, "customer").await;
    let page = browser.get(&app, &path).await;
    assert!(!page.text.contains("name=\"last_name\""));
    let fields = [("version", "1"), ("email", "new@home.example"), ("phone", "+420 601 123 456")];
    assert_eq!(browser.post(&app, &path, &fields).await.status, 303);
    let more = [("version", "2"), ("last_name", "Else"), ("email", "new@home.example")];
    assert_eq!(browser.post(&app, &path, &more).await.status, 422);
    let theirs = format!("/customers/{}/edit", app.bank.customers[1].id);
    assert_eq!(browser.post(&app, &theirs, &fields).await.status, 404);
}

#[tokio::test]
async fn an_account_is_frozen_released_and_closed_with_words() {
    let app = App::start().await;
    let id = app.bank.customers[0].accounts[0];
    let path = format!("/accounts/{id}/settings");
    let mut browser = signed_in(&app, "admin").await;
    let close = format!("/accounts/{id}/close");
    let page = browser.get(&app, &path).await;
    let (once, version) = (hidden(&page, &close, "once"), hidden(&page, &close, "version"));
    let fields = [("once", once.as_str()), ("version", version.as_str())];
    let refused = browser.post(&app, &close, &fields).await;
    assert_eq!(refused.status, 422);
    assert!(refused.text.contains("There is still 1,000.00 EUR on this account."));
    for (wanted, now) in [("frozen", "frozen"), ("active", "active")] {
        let page = browser.get(&app, &path).await;
        let form = format!("/accounts/{id}/status");
        let (once, version) = (hidden(&page, &form, "once"), hidden(&page, &form, "version"));
        let fields = [("once", once.as_str()), ("version", version.as_str()), ("status", wanted)];
        for _ in 0..2 {
            assert_eq!(browser.post(&app, &form, &fields).await.status, 303, "{wanted}");
        }
        let stored: String = app
            .superuser
            .query_one("SELECT status FROM ledger_accounts WHERE id = $1", &[&id])
            .await
            .unwrap()
            .get(0);
        assert_eq!(stored, now);
    }
    // On a version that is long gone: told, not done.
    let page = browser.get(&app, &path).await;
    let once = hidden(&page, &path, "once");
    let stale = [("once", once.as_str()), ("version", "1"), ("overdraft_limit", "900")];
    let answer = browser.post(&app, &path, &stale).await;
    assert_eq!(answer.status, 409);
    assert!(answer.text.contains("Somebody else changed this account"));
    let mut customer = signed_in(&app, "customer").await;
    let answer = customer.post(&app, &close, &fields).await;
    assert_eq!(answer.status, 403, "nobody closes their own account");
}

#[tokio::test]
async fn a_hold_is_captured_once_and_what_is_left_released() {
    let app = App::start().await;
    let account = app.bank.customers[0].accounts[0];
    let id = hold(&app, account, 5_000).await;
    let path = format!("/holds/{id}");
    let mut browser = signed_in(&app, "admin").await;
    let page = browser.get(&app, &path).await;
    let capture = format!("{path}/capture");
    let once = hidden(&page, &capture, "once");
    let fields = [("once", once.as_str()), ("amount", "20"), ("keep", "yes")];
    for _ in 0..3 {
        assert_eq!(browser.post(&app, &capture, &fields).await.status, 303);
    }
    assert_eq!(app.balance(account).await, FUNDS - 2_000, "once");
    let page = browser.get(&app, &path).await;
    let once = hidden(&page, &capture, "once");
    let answer = browser.post(&app, &capture, &[("once", &once), ("amount", "30.01")]).await;
    assert_eq!(answer.status, 422);
    assert!(answer.text.contains("more than remains"));
    let release = format!("{path}/release");
    let once = hidden(&page, &release, "once");
    assert_eq!(browser.post(&app, &release, &[("once", &once)]).await.status, 303);
    let page = browser.get(&app, &path).await.text;
    assert!(page.contains("Released") && !page.contains("ask-capture"));
    // Who promised it, or may not read it, ends nothing.
    let live = hold(&app, account, 700).await;
    let key = Uuid::from_u128(1).to_string();
    for (username, status) in [("customer", 403), ("second", 404), ("auditor", 403)] {
        let mut other = signed_in(&app, username).await;
        for what in ["capture", "release"] {
            let answer =
                other.post(&app, &format!("/holds/{live}/{what}"), &[("once", &key)]).await;
            assert_eq!(answer.status, status, "{username} {what}");
        }
    }
}

#[tokio::test]
async fn the_series_agrees_with_every_day_that_was_asked_alone() {
    let app = App::start().await;
    let context = app.cli("bank").await;
    let account_id = app.bank.customers[0].accounts[0];
    let today = banking::movements::business_date(&context).unwrap();
    let from = today.saturating_sub(jiff::Span::new().days(40));
    app.superuser
        .execute(
            "UPDATE savings_accounts SET opened_date = opened_date - 90 WHERE id = $1",
            &[&account_id],
        )
        .await
        .unwrap();
    for (days_ago, amount) in [(3, 100), (30, 2_000), (30, 7), (60, 50)] {
        let value_date = Some(today.saturating_sub(jiff::Span::new().days(days_ago)));
        let description = "Back-dated".to_owned();
        let (currency, reference) = (None, None);
        let order = Deposit { account_id, amount, currency, description, reference, value_date };
        app.run(&context, order).await;
    }
    let view = AccountSeries { account_id, from, to: today };
    let series = app.operations.read(&context, &view).await.unwrap();
    assert_eq!(series.days.len(), 41);
    for (date, balance) in series.days {
        let alone = banking::BalanceAsOf { account_id, date };
        let alone = app.operations.read(&context, &alone).await.unwrap();
        assert_eq!(balance, alone.balance, "{date}");
    }
    let endless = AccountSeries { account_id, from: jiff::civil::date(2000, 1, 1), to: today };
    assert!(app.operations.read(&context, &endless).await.is_err());
}

#[tokio::test]
async fn a_search_looks_through_no_more_than_it_says_and_goes_on_behind_it() {
    let app = App::start().await;
    let context = app.cli("bank").await;
    let account_id = app.bank.customers[0].accounts[0];
    // Twelve thousand entries, the oldest of which is looked for.
    let unguarded = "ALTER TABLE transactions DISABLE TRIGGER whole_movements";
    app.superuser.batch_execute(unguarded).await.unwrap();
    let sql = "INSERT INTO transactions (tenant_id, transaction_id, account_id, transfer_id, account_sequence,
            transaction_type, amount, balance_after, transaction_date, posted_date)
        SELECT tenant_id, gen_random_uuid(), id, gen_random_uuid(), n, 'deposit', 1, n, '2026-01-01', now()
        FROM ledger_accounts, generate_series(2, 12000) n WHERE id = $1";
    app.superuser.execute(sql, &[&account_id]).await.unwrap();
    let sql = "UPDATE ledger_accounts SET entry_count = 12000 WHERE id = $1";
    app.superuser.execute(sql, &[&account_id]).await.unwrap();
    let filter = EntryFilter { text: Some("opening".to_owned()), ..EntryFilter::default() };
    let mut page = PageRequest { limit: 25, after: None, ..PageRequest::default() };
    let mut found = Vec::new();
    loop {
        let search = EntrySearch { account_id, filter: filter.clone(), page: page.clone() };
        let answer = app.operations.read(&context, &search).await.unwrap();
        found.push(answer.data.len());
        let Some(next) = answer.next else { break };
        page.after = Some(next);
    }
    assert_eq!(found, [0, 0, 1]);
}
