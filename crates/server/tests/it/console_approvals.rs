//! Approvals decided in the console: one on its page, many at once, without a mouse; each
//! once, and by nobody who may not.

use serde_json::json;
use uuid::Uuid;

use crate::{
    approvals::{CEILING, balances, bank_with_ceiling, order, send, waiting},
    browser::{Browser as Chromium, assert_accessible, sign_in},
    console::Browser,
    harness::App,
};

fn once() -> String {
    tenancy::Clock::System.new_id().to_string()
}

async fn status_of(app: &App, approval: Uuid) -> String {
    let sql = "SELECT status FROM approvals WHERE id = $1";
    app.superuser.query_one(sql, &[&approval]).await.unwrap().get(0)
}

/// So many orders that wait, of one cent more each.
async fn several(app: &App, count: i64) -> Vec<(Uuid, Uuid)> {
    let token = app.login(&app.bank, "customer").await;
    let mut made = Vec::new();
    for number in 0..count {
        let order = order(app, CEILING + 1 + number);
        let answer = send(app, &token, &format!("several-{number}"), &order).await;
        let id = |name: &str| answer.body[name].as_str().unwrap().parse().unwrap();
        made.push((id("approval_id"), id("id")));
    }
    made
}

#[tokio::test]
async fn one_is_decided_on_its_page_and_once() {
    let app = bank_with_ceiling().await;
    let token = app.login(&app.bank, "customer").await;
    let (approval, transfer) = waiting(&app, &token, "one").await;
    let (place, path) = (format!("/transfers/{transfer}"), format!("/approvals/{approval}"));
    let mut manager = Browser::signed_in(&app, "bank", "manager").await;
    let list = manager.get(&app, "/approvals").await;
    assert!(list.text.contains(&format!("name=\"id\" value=\"{approval}\"")), "{}", list.text);
    let page = manager.get(&app, &place).await;
    for part in ["Approve…", "Reject…", "Decide before", "Waiting for approval", "Invoice 7"] {
        assert!(page.text.contains(part), "{part}: {}", page.text);
    }
    let sql = "SELECT account_number FROM savings_accounts WHERE id = ANY ($1)";
    let accounts = [0, 1].map(|at: usize| app.bank.customers[at].accounts[0]).to_vec();
    for row in app.superuser.query(sql, &[&accounts]).await.unwrap() {
        assert!(page.text.contains(row.get::<_, &str>(0)), "both accounts are shown");
    }
    let asked = manager.get(&app, &format!("{place}?confirm=ask-approve")).await;
    assert!(asked.text.contains("id=\"ask-approve\"") && asked.text.contains(" open>"));
    let before = balances(&app).await;
    let form = [("once", once()), ("note", "Seen".to_owned())];
    let form: Vec<(&str, &str)> = form.iter().map(|(name, text)| (*name, text.as_str())).collect();
    for time in ["once", "twice"] {
        let done = manager.post(&app, &format!("{path}/approve"), &form).await;
        assert_eq!((done.status, done.header("location")), (303, place.as_str()), "{time}");
    }
    let amount = CEILING + 1;
    assert_eq!(balances(&app).await, (before.0 - amount, before.1 + amount), "moved once");
    assert_eq!(status_of(&app, approval).await, "approved");
    let page = manager.get(&app, &place).await;
    assert!(page.text.contains("Posted") && !page.text.contains("Approve…"), "{}", page.text);
    for tail in ["", "/approve", "/reject"] {
        let there = manager.get(&app, &format!("{path}{tail}")).await;
        assert_eq!((there.status, there.header("location")), (303, place.as_str()), "{tail}");
    }
}

#[tokio::test]
async fn a_rejection_tells_its_maker_why() {
    let app = bank_with_ceiling().await;
    let token = app.login(&app.bank, "customer").await;
    let (approval, transfer) = waiting(&app, &token, "no").await;
    let mut manager = Browser::signed_in(&app, "bank", "manager").await;
    manager.get(&app, "/approvals").await;
    let fields = [("once", &*once()), ("note", "Who is this payee?")];
    let done = manager.post(&app, &format!("/approvals/{approval}/reject"), &fields).await;
    assert_eq!(done.status, 303, "{}", done.text);
    let mut customer = Browser::signed_in(&app, "bank", "customer").await;
    let page = customer.get(&app, &format!("/transfers/{transfer}")).await;
    for part in ["Rejected", "Who is this payee?", "Nothing has moved"] {
        assert!(page.text.contains(part), "{part}: {}", page.text);
    }
    // Decided is decided: somebody who comes late is told so.
    let mut officer = Browser::signed_in(&app, "bank", "officer").await;
    officer.get(&app, "/approvals").await;
    let path = format!("/approvals/{approval}/approve");
    let late = officer.post(&app, &path, &[("once", &once())]).await;
    assert_eq!(late.status, 422);
    assert!(late.text.contains("Somebody has decided it meanwhile"), "{}", late.text);
}

#[tokio::test]
async fn whoever_may_not_decide_is_told_and_nothing_moves() {
    let app = bank_with_ceiling().await;
    app.add_bank("other").await;
    let token = app.login(&app.bank, "customer").await;
    let (approval, transfer) = waiting(&app, &token, "mine").await;
    let place = format!("/transfers/{transfer}");
    let before = balances(&app).await;
    let mut customer = Browser::signed_in(&app, "bank", "customer").await;
    let page = customer.get(&app, &place).await;
    assert!(page.status == 200 && !page.text.contains("Approve…"), "{}", page.text);
    let officer = app.login(&app.bank, "officer").await;
    let own = send(&app, &officer, "own", &order(&app, CEILING + 7)).await;
    let own = own.body["approval_id"].as_str().unwrap().to_owned();
    let mut maker = Browser::signed_in(&app, "bank", "officer").await;
    let list = maker.get(&app, "/approvals").await;
    assert!(!list.text.contains(&format!("value=\"{own}\"")), "one's own is not to be marked");
    let path = format!("/approvals/{own}/approve");
    let refused = maker.post(&app, &path, &[("once", &once())]).await;
    assert_eq!(refused.status, 403, "{}", refused.text);
    assert!(refused.text.contains("does not decide it"), "{}", refused.text);
    for (bank, username, status) in [
        ("bank", "customer", 403),
        ("bank", "auditor", 403),
        ("bank", "second", 404),
        ("other", "super_admin", 404),
    ] {
        let mut browser = Browser::signed_in(&app, bank, username).await;
        browser.get(&app, "/").await;
        for verdict in ["approve", "reject"] {
            let path = format!("/approvals/{approval}/{verdict}");
            let answer = browser.post(&app, &path, &[("once", &once())]).await;
            assert!(
                [status, 403].contains(&answer.status),
                "{username} {verdict}: {}",
                answer.status
            );
        }
        let id = approval.to_string();
        let fields = [("once", &*once()), ("id", &id), ("verdict", "approve")];
        for path in ["/approvals/review", "/approvals/decide"] {
            let answer = browser.post(&app, path, &fields).await;
            assert!([403, 404].contains(&answer.status), "{username} {path}: {}", answer.status);
        }
    }
    assert_eq!(balances(&app).await, before);
    assert_eq!(status_of(&app, approval).await, "pending");
}

#[tokio::test]
async fn many_are_shown_once_more_and_each_is_decided_by_itself() {
    let app = bank_with_ceiling().await;
    let made = several(&app, 4).await;
    let mut manager = Browser::signed_in(&app, "bank", "manager").await;
    manager.get(&app, "/approvals").await;
    let none = manager.post(&app, "/approvals/review", &[]).await;
    assert_eq!((none.status, none.header("location")), (303, "/approvals"));
    let ids: Vec<String> = made.iter().map(|(approval, _)| approval.to_string()).collect();
    // One of them twice; one is decided by somebody else meanwhile.
    let marked: Vec<(&str, &str)> =
        ids[..3].iter().chain(&ids[..1]).map(|id| ("id", id.as_str())).collect();
    let page = manager.post(&app, "/approvals/review", &marked).await;
    assert_eq!(page.status, 200, "{}", page.text);
    let total = 3 * (CEILING + 1) + 1 + 2;
    let total = format!("{}.{:02}", total / 100, total % 100);
    for part in ["3 marked", total.as_str(), "Approve all", "Nothing is decided yet"] {
        assert!(page.text.contains(part), "{part}: {}", page.text);
    }
    let first = page.text.find("<button disabled hidden>").unwrap();
    assert!(first < page.text.find("name=\"verdict\"").unwrap(), "Enter decides nothing");
    let before = balances(&app).await;
    let officer = app.login(&app.bank, "officer").await;
    let path = format!("/v1/approvals/{}/reject", ids[1]);
    let rejected = app.post(path).bearer(&officer).key("meanwhile").json(&json!({})).send().await;
    assert_eq!(rejected.status, 200, "{}", rejected.text);
    let key = once();
    // What was shown comes back with the decision.
    let shown: Vec<String> = (page.text.split("name=\"seen\" value=\"").skip(1))
        .map(|rest| rest.split('"').next().unwrap().to_owned())
        .collect();
    assert_eq!(shown.len(), 3, "{}", page.text);
    let asked = vec![("once", key.as_str()), ("verdict", "approve")];
    let unseen = [marked.clone(), asked.clone()].concat();
    assert_eq!(manager.post(&app, "/approvals/decide", &unseen).await.status, 400);
    let other: Vec<String> =
        shown.iter().map(|one| format!("{}0", &one[..one.len() - 1])).collect();
    let with = |seen: &[String]| -> Vec<(&str, String)> {
        let fields = marked.iter().chain(&asked).map(|(name, text)| (*name, (*text).to_owned()));
        fields.chain(seen.iter().map(|seen| ("seen", seen.clone()))).collect()
    };
    let key_of_others = once();
    let wrong: Vec<(&str, String)> =
        with(&other).into_iter().filter(|(name, _)| *name != "once").collect();
    let mut wrong: Vec<(&str, &str)> =
        wrong.iter().map(|(name, text)| (*name, text.as_str())).collect();
    wrong.push(("once", &key_of_others));
    let refused = manager.post(&app, "/approvals/decide", &wrong).await;
    assert!(!refused.text.contains("the money has moved"), "{}", refused.text);
    assert!(refused.text.contains("not the order that you were shown"), "{}", refused.text);
    let fields = with(&shown);
    let fields: Vec<(&str, &str)> =
        fields.iter().map(|(name, text)| (*name, text.as_str())).collect();
    for time in ["once", "twice"] {
        let done = manager.post(&app, "/approvals/decide", &fields).await;
        assert_eq!(done.status, 200, "{time}: {}", done.text);
        assert_eq!(done.text.matches("the money has moved").count(), 2, "{time}: {}", done.text);
        assert!(done.text.contains("Somebody has decided it meanwhile"), "{time}: {}", done.text);
    }
    let moved = 2 * (CEILING + 1) + 2;
    assert_eq!(balances(&app).await, (before.0 - moved, before.1 + moved), "each once");
    assert_eq!(status_of(&app, made[3].0).await, "pending", "what was not marked waits");
    let wrong = [("once", key.as_str()), ("id", &*ids[3])];
    for (field, text) in [("verdict", "maybe"), ("verdict", "")] {
        let fields = [wrong.to_vec(), vec![(field, text)]].concat();
        assert_eq!(manager.post(&app, "/approvals/decide", &fields).await.status, 400, "{text}");
    }
    let hundred: Vec<String> = (0..101).map(|number| Uuid::from_u128(number).to_string()).collect();
    let fields: Vec<(&str, &str)> = hundred.iter().map(|id| ("id", id.as_str())).collect();
    for fields in [&fields[..], &[("id", "abc")]] {
        let answer = manager.post(&app, "/approvals/review", fields).await;
        assert_eq!(answer.status, 400, "{}", answer.text);
    }
    assert_eq!(status_of(&app, made[3].0).await, "pending");
}

#[tokio::test]
async fn the_inbox_is_worked_off_without_a_mouse() {
    let app = bank_with_ceiling().await;
    let made = several(&app, 3).await;
    let (port, _acceptor) = app.listen().await;
    let origin = format!("http://localhost:{port}");
    let browser = Chromium::start().await;
    let page = sign_in(&browser.person(&origin).await, &app, "manager").await;
    page.press("g a").await;
    page.wait_until("location.pathname === '/approvals'").await;
    page.settle().await;
    // The newest first: the first two rows are marked, one of them unmarked and marked again.
    page.press("j x j x x x").await;
    let marked = "document.querySelectorAll('main tbody input:checked').length";
    assert_eq!(page.eval(marked).await, 2);
    page.screenshot("approvals-marked").await;
    assert_accessible(&page).await;
    page.press("e").await;
    page.wait_until("location.pathname === '/approvals/review'").await;
    page.settle().await;
    assert_accessible(&page).await;
    page.screenshot("approvals-review").await;
    // A note, and Enter in it decides nothing.
    page.type_text("#many-note", "Checked").await;
    page.press("Enter").await;
    page.settle().await;
    assert_eq!(page.path().await, "/approvals/review");
    assert_eq!(status_of(&app, made[2].0).await, "pending");
    page.press("Tab Tab Tab Enter").await;
    page.wait_until("location.pathname === '/approvals/decide'").await;
    page.settle().await;
    assert_accessible(&page).await;
    page.screenshot("approvals-done").await;
    for (approval, _) in &made[1..] {
        assert_eq!(status_of(&app, *approval).await, "approved");
    }
    // The one that is left, on its own page: the row, the question, the answer.
    page.press("g a").await;
    page.wait_until("location.pathname === '/approvals'").await;
    page.settle().await;
    page.press("j e").await;
    page.wait_until(&format!("location.pathname === '/transfers/{}'", made[0].1)).await;
    page.settle().await;
    page.press("e").await;
    page.wait_until("document.getElementById('ask-approve').open").await;
    page.settle().await;
    page.screenshot("approval-asked").await;
    assert_accessible(&page).await;
    // The question begins in its note, where Enter decides nothing.
    page.type_text("#approve-note", "Checked").await;
    page.press("Enter").await;
    page.settle().await;
    assert_eq!(status_of(&app, made[0].0).await, "pending");
    page.press("Escape").await;
    page.wait_until("!document.getElementById('ask-approve').open").await;
    assert_eq!(status_of(&app, made[0].0).await, "pending");
    page.press("?").await;
    page.wait_until("document.getElementById('keys').open").await;
    let help = page.text("#keys").await;
    assert!(help.contains("Mark the row") && help.contains("Decide"), "{help}");
    page.assert_clean();
}
