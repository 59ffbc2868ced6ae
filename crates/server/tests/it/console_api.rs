//! "View as API" tells the truth: the request that each page's drawer shows is one that
//! the interface answers, and where it shows a list, with the same rows.

use std::collections::BTreeSet;

use uuid::Uuid;

use crate::{
    approvals,
    console::Browser,
    harness::{Answered, App},
};

/// The request of the page's drawer; none where it has none.
fn drawer(page: &Answered) -> Option<String> {
    let (_, drawer) = page.text.split_once("<dialog id=\"as-api\"")?;
    let (_, code) = drawer.split_once("<pre tabindex=\"0\"><code>")?;
    Some(unescaped(code.split_once("</code>")?.0))
}

/// The request that a swapped-in list brings for the drawer, and what it cannot say.
fn brought(page: &Answered) -> (String, String) {
    let (_, rest) = page.text.split_once("data-as-api=\"").expect("a list says its request");
    let (curl, rest) = rest.split_once('"').unwrap();
    let (_, rest) = rest.split_once("data-as-api-note=\"").unwrap();
    (unescaped(curl), unescaped(rest.split_once('"').unwrap().0))
}

fn unescaped(html: &str) -> String {
    [("&#34;", "\""), ("&quot;", "\""), ("&#39;", "'"), ("&#60;", "<"), ("&lt;", "<")]
        .into_iter()
        .chain([("&#62;", ">"), ("&gt;", ">"), ("&#38;", "&"), ("&amp;", "&")])
        .fold(html.to_owned(), |text, (mark, letter)| text.replace(mark, letter))
}

/// Runs it as a shell would, with that token.
async fn run(app: &App, token: &str, curl: &str) -> Answered {
    let (mut method, mut path, mut key, mut body) = ("GET", "", false, None);
    for (index, part) in curl.split(" \\\n  ").enumerate() {
        if index == 0 {
            let address = part.strip_prefix("curl ").expect("curl first").trim_matches('\'');
            let (_, rest) = address.split_once("://").expect("an absolute address");
            path = &rest[rest.find('/').unwrap()..];
        } else if let Some(name) = part.strip_prefix("-X ") {
            method = name;
        } else if let Some(text) = part.strip_prefix("-d '") {
            body = Some(text.strip_suffix('\'').unwrap().replace("'\\''", "'"));
        } else {
            let header = part.strip_prefix("-H \"").and_then(|rest| rest.strip_suffix('"'));
            let header = header.unwrap_or_else(|| panic!("{part} in {curl}"));
            key |= header == "Idempotency-Key: $(uuidgen)";
            let known = ["Authorization: Bearer $TOKEN", "Content-Type: application/json"];
            assert!(key || known.contains(&header), "{header}");
        }
    }
    let mut ask = app.ask(method.parse().unwrap(), path).bearer(token);
    if key {
        ask = ask.key(&app.clock.new_id().to_string());
    }
    if let Some(body) = body {
        ask = ask.raw_json(body);
    }
    ask.send().await
}

/// What htmx is given for the same address.
async fn fragment(app: &App, browser: &Browser, path: &str) -> Answered {
    let ask = app.get(path).header("cookie", &browser.jar());
    ask.header("hx-request", "true").send().await
}

/// Something of each kind, for the ids in paths.
pub(crate) struct Things {
    account: Uuid,
    customer: Uuid,
    movement: Uuid,
    hold: Uuid,
    event: Uuid,
    change: Uuid,
    key: Uuid,
    user: Uuid,
    webhook: Uuid,
    role: Uuid,
}

impl Things {
    pub(crate) async fn of(app: &App) -> Self {
        let token = app.login_by_factor(&app.bank, "admin").await;
        let [account, _] = app.bank.customers[0].accounts;
        let [_, untouched] = app.bank.customers[1].accounts;
        let order = serde_json::json!({
            "account_id": account, "amount": 500, "to_account_id": untouched,
        });
        let hold = app.post("/v1/holds").bearer(&token).key("hold").json(&order).send().await;
        assert_eq!(hold.status, 201, "{}", hold.text);
        let patch = serde_json::json!({ "patch": { "session": { "concurrent_limit": 3 } } });
        let change =
            app.post("/v1/settings/policy/changes").bearer(&token).json(&patch).send().await;
        let key = serde_json::json!({ "name": "Payroll", "role": "officer" });
        let key = app.post("/v1/api-keys").bearer(&token).json(&key).send().await;
        let webhook =
            serde_json::json!({ "url": "https://hook.example/", "event_types": ["hold.created"] });
        let webhook = app.post("/v1/webhooks").bearer(&token).json(&webhook).send().await;
        let role = serde_json::json!({
            "name": "night_desk", "permissions": [{ "permission": "account:read" }],
        });
        let role = app.post("/v1/roles").bearer(&token).json(&role).send().await;
        app.seal().await;
        let one = async |sql: &str, of: Uuid| -> Uuid {
            app.superuser.query_one(sql, &[&of]).await.unwrap().get(0)
        };
        let movement = "SELECT transfer_id FROM transactions WHERE account_id = $1";
        let event = "SELECT event_id FROM audit_log WHERE tenant_id = $1 LIMIT 1";
        Self {
            account,
            customer: app.bank.customers[0].id,
            movement: one(movement, untouched).await,
            hold: approvals::id(&hold.body["id"]),
            event: one(event, app.bank.id).await,
            change: approvals::id(&change.body["id"]),
            key: approvals::id(&key.body["id"]),
            user: app.bank.users["officer"],
            webhook: approvals::id(&webhook.body["id"]),
            role: approvals::id(&role.body["id"]),
        }
    }

    pub(crate) fn named(&self, path: &str) -> String {
        let id = match path.split('/').nth(1).unwrap_or_default() {
            "accounts" => self.account,
            "customers" => self.customer,
            "transfers" => self.movement,
            "holds" => self.hold,
            "audit" => self.event,
            "settings" => self.change,
            "keys" => self.key,
            "users" => self.user,
            "webhooks" => self.webhook,
            "roles" => self.role,
            _ => return path.to_owned(),
        };
        path.replace("{id}", &id.to_string())
    }
}

#[tokio::test]
async fn every_page_shows_a_request_that_the_interface_answers() {
    let app = App::start().await;
    let things = Things::of(&app).await;
    let customer = things.customer;
    let mut asked = Vec::new();
    for username in ["admin", "customer"] {
        let token = app.login(&app.bank, username).await;
        let mut browser = Browser::signed_in(&app, "bank", username).await;
        let pages = console::page_paths().into_iter().filter(|page| page.method == "get");
        let mut paths: Vec<String> = pages.map(|page| things.named(page.path)).collect();
        paths.push(format!("/accounts/new?customer_id={customer}"));
        paths.push("/customers/new?customer_type=business".to_owned());
        for path in paths {
            let page = browser.get(&app, &path).await;
            let is_page = page.status == 200 && page.text.contains("<main");
            if !is_page {
                continue;
            }
            let curl = drawer(&page).unwrap_or_else(|| panic!("{path} has no drawer"));
            let answer = run(&app, &token, &curl).await;
            assert!(answer.is_success(), "{username} {path}: {curl}\n{}", answer.text);
            asked.push(path);
        }
    }
    assert!(asked.len() > 35, "pages with a drawer: {asked:?}");
}

#[tokio::test]
async fn what_is_about_to_be_ordered_and_what_waits_are_requests_as_well() {
    let app = approvals::bank_with_ceiling().await;
    let [from, _] = app.bank.customers[0].accounts;
    let to = app.bank.customers[1].accounts[0];
    let sql = "SELECT account_number FROM savings_accounts WHERE id = $1";
    let number: String = app.superuser.query_one(sql, &[&to]).await.unwrap().get(0);
    let token = app.login(&app.bank, "customer").await;
    let mut browser = Browser::signed_in(&app, "bank", "customer").await;
    let from_text = from.to_string();
    let fields = [
        ("from_account_id", from_text.as_str()),
        ("to_account_id", &number),
        ("amount", "12.34"),
        ("description", "It's <Anna's>"),
        ("reference", "R'7"),
    ];
    let summary = browser.post(&app, "/transfers/new", &fields).await;
    assert_eq!(summary.status, 200, "{}", summary.text);
    let made = run(&app, &token, &drawer(&summary).unwrap()).await;
    assert_eq!(made.status, 201, "{}", made.text);
    assert_eq!(made.body["amount"], 1_234);
    assert_eq!(made.body["description"], "It's <Anna's>");
    assert_eq!(made.body["reference"], "R'7");
    let path = format!("/accounts/{from}/hold");
    let fields = [("amount", "5"), ("to_account_id", number.as_str()), ("description", "Hotel")];
    let summary = browser.post(&app, &path, &fields).await;
    assert_eq!(summary.status, 200, "{}", summary.text);
    let held = run(&app, &token, &drawer(&summary).unwrap()).await;
    assert_eq!((held.status, &held.body["amount"]), (201, &500.into()), "{}", held.text);
    // What waits is told by its approval, to whoever may see it.
    let (approval, transfer) = approvals::waiting(&app, &token, "waits").await;
    for username in ["customer", "manager"] {
        let token = app.login(&app.bank, username).await;
        let mut browser = Browser::signed_in(&app, "bank", username).await;
        let page = browser.get(&app, &format!("/transfers/{transfer}")).await;
        let curl = drawer(&page).unwrap();
        assert!(curl.contains(&format!("/v1/approvals/{approval}")), "{username}: {curl}");
        let read = run(&app, &token, &curl).await;
        assert_eq!(read.body["object_id"], transfer.to_string(), "{username}: {}", read.text);
    }
}

/// The ids of a list's rows, by the addresses that they lead to.
fn rows(page: &Answered, prefix: &str) -> BTreeSet<String> {
    let (_, list) = page.text.split_once("data-as-api=").unwrap();
    let mark = format!("href=\"{prefix}");
    let hrefs = list.split(&mark).skip(1);
    let ids = hrefs.filter_map(|rest| rest.get(..36)).filter(|id| id.parse::<Uuid>().is_ok());
    ids.map(str::to_owned).collect()
}

#[tokio::test]
async fn a_filtered_list_is_what_its_request_gives_before_and_after_htmx() {
    let app = App::start().await;
    let things = Things::of(&app).await;
    let account = things.account;
    let sql = "SELECT account_number FROM savings_accounts WHERE id = $1";
    let number: String = app.superuser.query_one(sql, &[&account]).await.unwrap().get(0);
    let grouped = format!("{}+{}", &number[..4], &number[4..]);
    let today = app.clock.now().to_zoned(jiff::tz::TimeZone::UTC).date();
    let entries = format!("/accounts/{account}");
    // The address; where rows lead and the field of their id; how many; whether the
    // interface knows every filter.
    let (accounts, transfers) = (("/accounts/", "id"), ("/transfers/", "transfer_id"));
    let (customers, events) = (("/customers/", "id"), ("/audit/", "id"));
    let (changes, asked) = ("/settings/policy/changes", ("/settings/policy/changes/", "id"));
    let (holds, approvals) = (("/holds/", "id"), ("/transfers/", "object_id"));
    let table = [
        ("/accounts".to_owned(), accounts, 4, true),
        ("/accounts?status=active".to_owned(), accounts, 4, true),
        ("/accounts?status=frozen".to_owned(), accounts, 0, true),
        (format!("/accounts?account_number={grouped}"), accounts, 1, true),
        (format!("/accounts?customer_id={}", things.customer), accounts, 2, true),
        ("/accounts?account_type=checking".to_owned(), accounts, 0, false),
        ("/accounts?currency=EUR&status=active".to_owned(), accounts, 4, false),
        ("/customers?email=SECOND@home.example".to_owned(), customers, 1, true),
        ("/customers?phone=%2B420+601+123+456".to_owned(), customers, 0, true),
        ("/customers?customer_type=individual&status=active".to_owned(), customers, 2, true),
        (format!("{entries}?transaction_type=deposit&from=2020-01-01"), transfers, 1, true),
        (format!("{entries}?to=2020-01-01&days=365"), transfers, 0, true),
        (format!("{entries}?q=nothing"), transfers, 0, false),
        (format!("{entries}?min=1&max=2"), transfers, 0, false),
        (format!("{entries}/holds?status=authorized"), holds, 1, true),
        (format!("{entries}/holds?status=released"), holds, 0, true),
        ("/approvals".to_owned(), approvals, 0, true),
        (changes.to_owned(), asked, 1, true),
        (format!("{changes}?status=pending"), asked, 1, true),
        (format!("{changes}?status=approved"), asked, 0, true),
        ("/audit?action=account.open".to_owned(), events, 4, true),
        (format!("/audit?action=account.open&from={today}&to={today}"), events, 4, true),
        ("/audit?action=account.open&to=2020-01-01".to_owned(), events, 0, true),
        ("/audit?who=admin&action=hold.create".to_owned(), events, 1, true),
        ("/audit?who=nobody-by-that-name".to_owned(), events, 0, false),
    ];
    let token = app.login(&app.bank, "admin").await;
    let mut browser = Browser::signed_in(&app, "bank", "admin").await;
    for (path, (prefix, field), count, is_whole) in table {
        let page = browser.get(&app, &path).await;
        let part = fragment(&app, &browser, &path).await;
        assert_eq!((page.status, part.status), (200, 200), "{path}: {}", part.text);
        assert!(!part.text.contains("<html"), "{path}: only the list is swapped");
        let (curl, note) = brought(&part);
        assert_eq!(drawer(&page).as_ref(), Some(&curl), "{path}");
        assert_eq!(brought(&page), (curl.clone(), note.clone()), "{path}");
        assert_eq!(note.is_empty(), is_whole, "{path}: {note}");
        let answer = run(&app, &token, &curl).await;
        assert!(answer.is_success(), "{path}: {curl}\n{}", answer.text);
        let shown = rows(&part, prefix);
        assert_eq!((rows(&page, prefix).len(), shown.len()), (count, count), "{path}");
        if is_whole {
            let data = answer.body["data"].as_array().unwrap();
            let given = data.iter().map(|one| one[field].as_str().unwrap().to_owned());
            assert_eq!(given.collect::<BTreeSet<_>>(), shown, "{path}: {curl}");
        }
    }
}
