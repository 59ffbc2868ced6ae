//! Lists as files: exactly what the filters let through, also of a list that htmx
//! swapped in, and where a file ends before its list it says so and where the rest is.

use uuid::Uuid;

use crate::{
    console::Browser,
    harness::{Answered, App},
};

/// The address of the file that a list offers.
fn offered(list: &Answered, mark: &str) -> String {
    let at = list.text.find(mark).unwrap_or_else(|| panic!("{mark}: {}", list.text));
    list.text[at..].split('"').next().unwrap().replace("&#38;", "&")
}

/// The lines behind the header, and the address of the rest where it is not all.
fn read(file: &Answered) -> (Vec<String>, Option<String>) {
    assert_eq!(file.status, 200, "{}", file.text);
    let mut lines: Vec<String> = file.text.lines().skip(1).map(str::to_owned).collect();
    let last = lines.last().and_then(|line| line.strip_prefix("Not the whole list: "));
    let rest = last.map(|line| {
        let address = line.strip_suffix(" gives what follows").expect("a whole sentence");
        let (_, path) = address.split_once("://").unwrap();
        path[path.find('/').unwrap()..].to_owned()
    });
    if rest.is_some() {
        lines.pop();
    }
    (lines, rest)
}

#[tokio::test]
async fn a_file_holds_what_the_filters_let_through_after_htmx_as_well() {
    let app = App::start().await;
    app.seal().await;
    let account = app.bank.customers[0].accounts[0];
    let mut browser = Browser::signed_in(&app, "bank", "admin").await;
    // The list's address, the file's, and the rows of either.
    let entries = format!("/accounts/{account}");
    let table = [
        ("/audit?action=account.open".to_owned(), "/audit.csv".to_owned(), 4),
        ("/audit?action=customer.create&result=success".to_owned(), "/audit.csv".to_owned(), 2),
        ("/accounts?currency=EUR&status=active".to_owned(), "/accounts/export".to_owned(), 4),
        ("/customers?email=second@home.example".to_owned(), "/customers/export".to_owned(), 1),
        (format!("{entries}?q=opening"), format!("{entries}/export"), 1),
    ];
    for (path, file, count) in table {
        let ask = app.get(path.as_str()).header("cookie", &browser.jar());
        let list = ask.header("hx-request", "true").send().await;
        let address = offered(&list, &file);
        let (_, filters) = path.split_once('?').unwrap();
        assert_eq!(address, format!("{file}?{}", filters.replace('@', "%40")), "{path}");
        let (lines, rest) = read(&browser.get(&app, &address).await);
        assert_eq!((lines.len(), rest), (count, None), "{path}: {lines:?}");
    }
}

async fn with_entries(app: &App, account: Uuid, count: i64) {
    let unguarded = "ALTER TABLE transactions DISABLE TRIGGER whole_movements";
    app.superuser.batch_execute(unguarded).await.unwrap();
    let sql = "INSERT INTO transactions (tenant_id, transaction_id, account_id, transfer_id, account_sequence,
            transaction_type, amount, balance_after, transaction_date, posted_date)
        SELECT tenant_id, gen_random_uuid(), id, gen_random_uuid(), n, 'deposit', 1, n, '2026-01-01', now()
        FROM ledger_accounts, generate_series(2, $2::bigint) n WHERE id = $1";
    app.superuser.execute(sql, &[&account, &count]).await.unwrap();
    let sql = "UPDATE ledger_accounts SET entry_count = $2 WHERE id = $1";
    app.superuser.execute(sql, &[&account, &count]).await.unwrap();
}

#[tokio::test]
async fn a_cut_file_says_so_and_the_rest_follows_without_a_gap() {
    let app = App::start().await;
    let account = app.bank.customers[0].accounts[0];
    with_entries(&app, account, 10_700).await;
    let mut browser = Browser::signed_in(&app, "bank", "customer").await;
    let path = format!("/accounts/{account}/export");
    let page = browser.get(&app, &format!("/accounts/{account}")).await;
    assert!(page.text.contains("up to 10,000 of these"), "the page says it before");
    let (first, rest) = read(&browser.get(&app, &path).await);
    let rest = rest.expect("there is more");
    let (second, end) = read(&browser.get(&app, &rest).await);
    assert_eq!((first.len(), second.len(), end), (10_000, 700, None));
    let sequences = first.iter().chain(&second).map(|line| line.split(',').nth(8).unwrap());
    let sequences: Vec<i64> = sequences.map(|text| text.parse().unwrap()).collect();
    assert_eq!(sequences, (1..=10_700).rev().collect::<Vec<_>>());
    // The way on is one person's and of these filters.
    let mut other = Browser::signed_in(&app, "bank", "admin").await;
    assert_eq!(other.get(&app, &rest).await.status, 400);
    assert_eq!(browser.get(&app, &format!("{rest}&q=x")).await.status, 400);
    assert_eq!(browser.get(&app, &format!("{path}?cursor=zzz")).await.status, 400);
}

#[tokio::test]
async fn a_file_for_which_little_matches_looks_through_a_bounded_part_of_the_account() {
    let app = App::start().await;
    let account = app.bank.customers[0].accounts[0];
    with_entries(&app, account, 105_000).await;
    let mut browser = Browser::signed_in(&app, "bank", "customer").await;
    let path = format!("/accounts/{account}/export?q=opening");
    let (lines, rest) = read(&browser.get(&app, &path).await);
    assert!(lines.is_empty(), "the only match lies behind 100,000 entries");
    let (lines, end) = read(&browser.get(&app, &rest.expect("it says so")).await);
    assert_eq!((lines.len(), end), (1, None));
    assert!(lines[0].contains(",Opening,"), "{lines:?}");
}
