//! Files that leave the console: each is recorded before it is given, with what it was
//! filtered by and how much it holds but nobody's data, and the whole list of customers
//! is for those who may take it away.

use serde_json::{Value, json};
use uuid::Uuid;

use crate::{
    console::Browser,
    console_api::Things,
    harness::{Answered, App},
};

/// The exports that the bank's log holds, the oldest first; nothing is flushed before.
async fn exports(app: &App) -> Vec<Value> {
    let sql = "SELECT jsonb_build_object('action', action, 'severity', severity, \
               'result', result, 'resource', resource_type, 'object', resource_id, \
               'user', user_id, 'details', details) \
               FROM audit_log WHERE tenant_id = $1 AND event_type = 'data_export' \
               ORDER BY event_id";
    let rows = app.superuser.query(sql, &[&app.bank.id]).await.unwrap();
    rows.iter().map(|row| row.get(0)).collect()
}

fn is_file(answer: &Answered) -> bool {
    let kind = answer.header("content-type");
    kind.starts_with("text/csv") || kind == "application/jsonl"
}

#[tokio::test]
async fn every_file_leaves_one_record_and_no_other_page_does() {
    let app = App::start().await;
    let things = Things::of(&app).await;
    let mut browser = Browser::signed_in(&app, "bank", "admin").await;
    let mut files = Vec::new();
    for page in console::page_paths().into_iter().filter(|page| page.method == "get") {
        let before = exports(&app).await.len();
        let answer = browser.get(&app, &things.named(page.path)).await;
        let left = exports(&app).await.len() - before;
        assert_eq!(left, usize::from(is_file(&answer)), "{page:?}");
        if is_file(&answer) {
            files.push(page.path);
        }
    }
    let expected = [
        "/activity.csv",
        "/audit.csv",
        "/audit.jsonl",
        "/users/export",
        "/customers/export",
        "/accounts/export",
        "/accounts/{id}/export",
    ];
    assert_eq!(files, expected);
}

#[tokio::test]
async fn a_record_says_who_took_what_and_repeats_no_personal_data() {
    let app = App::start().await;
    let account = app.bank.customers[0].accounts[0];
    let customer = app.bank.customers[0].id;
    let statement = format!("/accounts/{account}/export");
    // Who, the file, and what is recorded: action, resource, object, filter, the names of
    // the filters that are not repeated, rows.
    let table = [
        (
            "admin",
            "/customers/export?email=second@home.example&status=active".to_owned(),
            (
                "customer.export",
                "customer",
                None,
                json!({ "status": "active" }),
                json!(["email"]),
                1,
            ),
        ),
        (
            "auditor",
            "/customers/export".to_owned(),
            ("customer.export", "customer", None, json!({}), json!([]), 2),
        ),
        (
            "officer",
            format!("/accounts/export?currency=EUR&customer_id={customer}"),
            (
                "account.export",
                "account",
                None,
                json!({ "currency": "EUR", "customer_id": customer }),
                json!([]),
                2,
            ),
        ),
        (
            "customer",
            format!("{statement}?q=Opening&transaction_type=deposit"),
            (
                "transaction.export",
                "account",
                Some(account),
                json!({ "transaction_type": "deposit" }),
                json!(["q"]),
                1,
            ),
        ),
    ];
    for (username, path, (action, resource, object, filter, named, rows)) in table {
        let mut browser = Browser::signed_in(&app, "bank", username).await;
        let file = browser.get(&app, &path).await;
        assert!(file.status == 200 && is_file(&file), "{username} {path}: {}", file.text);
        let expected = json!({
            "action": action, "severity": "high", "result": "success", "resource": resource,
            "object": object, "user": app.bank.users[username],
            "details": {
                "rows": rows, "filter": filter, "filtered_by": named, "continues": false,
            },
        });
        assert_eq!(exports(&app).await.pop(), Some(expected), "{username} {path}");
        assert_eq!(file.text.lines().count(), rows + 1, "{username} {path}");
    }
    untold(&app).await;
}

/// Nothing that people typed into filters is in a record of a file.
async fn untold(app: &App) {
    let sql = "SELECT count(*) FROM audit_log WHERE event_type = 'data_export' AND \
               convert_from(record, 'UTF8') ~ 'home.example|nobody-of-that-name|Opening'";
    let told: i64 = app.superuser.query_one(sql, &[]).await.unwrap().get(0);
    assert_eq!(told, 0, "what people typed is not in the log");
}

#[tokio::test]
async fn the_log_is_streamed_and_its_record_repeats_no_personal_data() {
    let app = App::start().await;
    // The log itself is streamed, so that nobody knows its length yet.
    let mut auditor = Browser::signed_in(&app, "bank", "auditor").await;
    let path = "/audit.csv?who=nobody-of-that-name&severity=high&action=nobody-of-that+name";
    let file = auditor.get(&app, path).await;
    assert_eq!((file.status, file.text.lines().count()), (200, 1), "{}", file.text);
    let nobody = json!({ "format": "csv", "filter": { "user_id": Uuid::nil() } });
    assert_eq!(exports(&app).await.pop().unwrap()["details"], nobody);
    auditor.get(&app, "/audit.jsonl?severity=high&action=nobody-of-that+name").await;
    let told = json!({ "format": "jsonl", "filter": { "severity": "high", "action": true } });
    assert_eq!(exports(&app).await.pop().unwrap()["details"], told);
    untold(&app).await;
}

#[tokio::test]
async fn the_list_of_customers_is_taken_away_by_those_who_may_export() {
    let app = App::start().await;
    let taken = [
        ("super_admin", true),
        ("admin", true),
        ("manager", true),
        ("auditor", true),
        ("officer", false),
        ("customer_service", false),
        ("customer", false),
    ];
    let denials = async |person: Uuid| -> i64 {
        let sql = "SELECT count(*) FROM audit_log WHERE tenant_id = $1 AND user_id = $2 \
                   AND event_type = 'permission_denied' AND action = 'customer.export'";
        app.superuser.query_one(sql, &[&app.bank.id, &person]).await.unwrap().get(0)
    };
    let mut given = 0;
    for (role, may) in taken {
        let person = app.bank.users[role];
        let mut browser = Browser::signed_in(&app, "bank", role).await;
        let list = browser.get(&app, "/customers").await;
        assert_eq!(list.status, 200, "{role}");
        assert_eq!(list.text.contains("/customers/export"), may, "{role}: the button");
        let before = app.audit_count(app.bank.id).await;
        let file = browser.get(&app, "/customers/export").await;
        given += usize::from(may);
        assert_eq!((file.status, is_file(&file)), (if may { 200 } else { 403 }, may), "{role}");
        assert_eq!(exports(&app).await.len(), given, "{role}");
        assert_eq!(denials(person).await, i64::from(!may), "{role}: a refusal is recorded");
        if !may {
            let after = app.audit_count(app.bank.id).await;
            assert_eq!(after, before + 1, "{role}: nobody was read for it");
        }
    }
    // The statement of their own account is the holder's.
    let mut holder = Browser::signed_in(&app, "bank", "customer").await;
    let account = app.bank.customers[0].accounts[0];
    let page = holder.get(&app, &format!("/accounts/{account}")).await;
    assert!(page.text.contains(&format!("/accounts/{account}/export")));
    assert!(is_file(&holder.get(&app, &format!("/accounts/{account}/export")).await));
}

#[tokio::test]
async fn what_cannot_be_recorded_is_not_given() {
    let app = App::start().await;
    let mut browser = Browser::signed_in(&app, "bank", "admin").await;
    assert!(is_file(&browser.get(&app, "/accounts/export").await));
    let sql = "ALTER TABLE audit_log ADD CONSTRAINT no_more CHECK (event_type <> 'data_export') \
               NOT VALID";
    app.superuser.batch_execute(sql).await.unwrap();
    let account = app.bank.customers[0].accounts[0];
    let number: String = app
        .superuser
        .query_one("SELECT account_number FROM savings_accounts WHERE id = $1", &[&account])
        .await
        .unwrap()
        .get(0);
    for path in ["/accounts/export".to_owned(), format!("/accounts/{account}/export")] {
        let answer = browser.get(&app, &path).await;
        assert!(answer.status >= 500 && !is_file(&answer), "{path}: {}", answer.status);
        assert!(!answer.text.contains(&number), "{path}: {}", answer.text);
    }
}
