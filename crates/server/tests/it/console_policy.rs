//! The security policy in the console: a form of all of it, a summary, a request, and a
//! second person; and what others may not do with any of these.

use futures_util::future::join_all;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::{
    console::Browser,
    harness::{Answered, App, Bank},
};

const FORM: &str = "/settings/policy";
const CHANGES: &str = "/settings/policy/changes";

/// What a browser would send of a form of the page, as it stands there.
pub(crate) fn fields_of(page: &str, action: &str) -> Vec<(String, String)> {
    let mark = format!("action=\"{action}\"");
    let (_, rest) = page.split_once(&mark).unwrap_or_else(|| panic!("no form to {action}: {page}"));
    let form = rest.split("</form>").next().unwrap();
    let mut fields = Vec::new();
    for (at, _) in form.match_indices('<') {
        let tag = form[at..].split('>').next().unwrap();
        let Some(name) = attribute(tag, "name") else { continue };
        let value = attribute(tag, "value").unwrap_or_default();
        if tag.starts_with("<input") {
            let ticked = ["checkbox", "radio"]
                .contains(&attribute(tag, "type").unwrap_or_default().as_str());
            if !ticked || tag.contains(" checked") {
                fields.push((name, value));
            }
        } else if tag.starts_with("<textarea") {
            let text = form[at + tag.len() + 1..].split("</textarea>").next().unwrap();
            fields.push((name, unescaped(text.trim_start_matches('\n'))));
        } else if tag.starts_with("<select") {
            let options = form[at..].split("</select>").next().unwrap();
            let first = options.split("<option ").nth(1).unwrap();
            let chosen = options.split("<option ").find(|option| option.contains(" selected"));
            fields.push((name, attribute(chosen.unwrap_or(first), "value").unwrap()));
        }
    }
    fields
}

fn attribute(tag: &str, name: &str) -> Option<String> {
    let tag = tag.split('>').next().unwrap();
    let (_, rest) = tag.split_once(&format!("{name}=\""))?;
    Some(unescaped(rest.split('"').next().unwrap()))
}

fn unescaped(html: &str) -> String {
    [("&#34;", "\""), ("&#39;", "'"), ("&#60;", "<"), ("&#62;", ">"), ("&#38;", "&")]
        .into_iter()
        .fold(html.to_owned(), |text, (mark, letter)| text.replace(mark, letter))
}

/// Sends a form of a page, with some fields filled in anew.
pub(crate) async fn send(
    app: &App,
    browser: &mut Browser,
    (page, action): (&Answered, &str),
    typed: &[(&str, &str)],
) -> Answered {
    let mut fields = fields_of(&page.text, action);
    fields.retain(|(name, _)| name != "csrf" && !typed.iter().any(|(known, _)| known == name));
    let typed = typed.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    fields.extend(typed);
    let fields: Vec<_> =
        fields.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    browser.post(app, action, &fields).await
}

/// Opens the form, types, and looks at what it would come to.
async fn reviewed(app: &App, browser: &mut Browser, typed: &[(&str, &str)]) -> Answered {
    let form = browser.get(app, FORM).await;
    assert_eq!(form.status, 200, "{}", form.text);
    send(app, browser, (&form, FORM), typed).await
}

/// Asks for a change; its id.
pub(crate) async fn asked(app: &App, browser: &mut Browser, typed: &[(&str, &str)]) -> Uuid {
    let summary = reviewed(app, browser, typed).await;
    assert_eq!(summary.status, 200, "{}", summary.text);
    let done = send(app, browser, (&summary, CHANGES), &[]).await;
    assert_eq!(done.status, 303, "{}", done.text);
    let place = done.header("location").to_owned();
    place.strip_prefix(&format!("{CHANGES}/")).unwrap().parse().unwrap()
}

async fn stored(app: &App, bank: &Bank) -> (Value, i64) {
    let sql = "SELECT policy, version FROM security_policies WHERE tenant_id = $1";
    let row = app.superuser.query_one(sql, &[&bank.id]).await.unwrap();
    (row.get(0), row.get(1))
}

async fn changes(app: &App) -> i64 {
    let sql = "SELECT count(*) FROM policy_changes";
    app.superuser.query_one(sql, &[]).await.unwrap().get(0)
}

fn without_marks(page: &Answered) -> String {
    page.text.replace("<bdi>", "").replace("</bdi>", "")
}

#[tokio::test]
async fn a_change_is_seen_asked_for_and_made_by_two() {
    let app = App::start().await;
    let mut maker = Browser::signed_in(&app, "bank", "admin").await;
    let mut checker = Browser::signed_in(&app, "bank", "super_admin").await;
    let untouched = reviewed(&app, &mut maker, &[]).await;
    assert_eq!(untouched.status, 422);
    assert!(untouched.text.contains("The policy is so already"), "{}", untouched.text);
    let typed = [
        ("session.concurrent_limit", "3"),
        ("session.idle_timeout_s", "1 h 30 min"),
        ("mfa.required_roles", "admin"),
        ("password.maximum_age_days", ""),
        ("note", "After the <audit>"),
    ];
    let summary = reviewed(&app, &mut maker, &typed).await;
    assert_eq!(summary.status, 200, "{}", summary.text);
    let shown = without_marks(&summary);
    for part in [
        "<del>10 sessions</del>",
        "<ins>3 sessions</ins>",
        "<del>30 min</del>",
        "<ins>90 min</ins>",
        "<del>Nobody</del>",
        "<ins>Admin</ins>",
        "<del>90 days</del>",
        "<ins>Never</ins>",
        "4 rules change",
        "After the &lt;audit&gt;",
    ] {
        assert!(shown.contains(part), "{part}: {shown}");
    }
    assert_eq!((changes(&app).await, stored(&app, &app.bank).await.1), (0, 1), "nothing yet");
    let done = send(&app, &mut maker, (&summary, CHANGES), &[]).await;
    assert_eq!(done.status, 303, "{}", done.text);
    let place = done.header("location").to_owned();
    let page = maker.get(&app, &place).await;
    assert!(page.text.contains("You asked for this"), "{}", page.text);
    assert!(!page.text.contains("Approve…"), "nobody is offered to agree with themselves");
    assert!(checker.get(&app, "/settings").await.text.contains("One change waits"));
    let page = checker.get(&app, &place).await;
    assert!(page.text.contains("Approve…") && page.text.contains("Reject…"), "{}", page.text);
    assert!(without_marks(&page).contains("<ins>3 sessions</ins>"));
    let approve = format!("{place}/approve");
    let done = send(&app, &mut checker, (&page, &approve), &[("note", "Seen")]).await;
    assert_eq!((done.status, done.header("location")), (303, place.as_str()), "{}", done.text);
    let (policy, version) = stored(&app, &app.bank).await;
    assert_eq!(version, 2);
    assert_eq!(policy["session"]["concurrent_limit"], 3);
    assert_eq!(policy["session"]["idle_timeout_s"], 5_400);
    assert_eq!(policy["mfa"]["required_roles"], json!(["admin"]));
    assert_eq!(policy["password"]["maximum_age_days"], json!(null));
    let page = maker.get(&app, &place).await;
    for part in ["Approved", "super_admin", "Seen", "Decided by"] {
        assert!(page.text.contains(part), "{part}: {}", page.text);
    }
    let settings = maker.get(&app, "/settings").await;
    assert!(settings.text.contains("90 min") && !settings.text.contains("waits for a second"));
    let list = maker.get(&app, CHANGES).await;
    assert!(list.text.contains(&place), "{}", list.text);
    for (status, some) in [("approved", true), ("pending", false), ("rejected", false)] {
        let list = maker.get(&app, &format!("{CHANGES}?status={status}")).await;
        assert_eq!(list.text.contains(&place), some, "{status}");
    }
    assert_eq!(maker.get(&app, &format!("{CHANGES}?status=lost")).await.status, 400);
}

#[tokio::test]
async fn what_is_no_policy_comes_back_with_every_fault_and_what_was_typed() {
    let app = App::start().await;
    let mut admin = Browser::signed_in(&app, "bank", "admin").await;
    // What is typed where, and what the page says.
    let table: [(&[(&str, &str)], &str); 12] = [
        (&[("session.concurrent_limit", "0")], "At the same time: write a whole number, 1 to 100."),
        (&[("session.concurrent_limit", "many")], "write a whole number, 1 to 100."),
        (&[("session.concurrent_limit", "")], "At the same time: this cannot be empty."),
        (
            &[("session.idle_timeout_s", "30")],
            "write a time between 2 min and 7 days, like 30 min, 12 h or 7 days.",
        ),
        (
            &[("session.idle_timeout_s", "2 days")],
            "this must not be more than “Ends in any case after”.",
        ),
        (&[("password.maximum_age_days", "-1")], "1 to 3650, or leave it empty."),
        (&[("token.algorithm", "none")], "Signature: choose one of those offered."),
        (&[("token.issuer", "x".repeat(201).leak())], "write 1 to 200 characters"),
        (&[("mfa.methods", "")], "Methods people may set up: choose one at least."),
        (&[("mfa.required_roles", "king")], "Required of: choose one of those offered."),
        (
            &[("password.hashing.scheme", "argon2id"), ("password.hashing.memory_kib", "64")],
            "Argon2id takes 7168 to 131072 KiB",
        ),
        (
            &[("rate_limits.read", "0"), ("rate_limits.mfa", "0")],
            "Second factors: write a whole number, 1 to 1000000.",
        ),
    ];
    for (typed, words) in table {
        let page = reviewed(&app, &mut admin, typed).await;
        assert_eq!(page.status, 422, "{typed:?}: {}", page.text);
        assert!(page.text.contains(words), "{typed:?}: {words}: {}", page.text);
        let (name, text) = typed[0];
        assert!(page.text.contains(&format!("#field-{name}")), "{name}: the summary leads there");
        let is_choice =
            name.ends_with("algorithm") || name.starts_with("mfa.") || name.ends_with("scheme");
        if !is_choice {
            let again = fields_of(&page.text, FORM);
            assert!(
                again.contains(&(name.to_owned(), text.to_owned())),
                "{name}: typed text stays"
            );
        }
        // Mended, the same page goes on.
        let good = [
            ("session.concurrent_limit", "4"),
            ("session.idle_timeout_s", "20 min"),
            ("password.maximum_age_days", "60"),
            ("token.algorithm", "ES256"),
            ("token.issuer", ""),
            ("mfa.methods", "totp"),
            ("mfa.required_roles", "admin"),
            ("password.hashing.memory_kib", "19456"),
            ("rate_limits.read", "90"),
            ("rate_limits.mfa", "3"),
        ];
        let mended = send(&app, &mut admin, (&page, FORM), &good).await;
        assert_eq!(mended.status, 200, "{typed:?}: {}", mended.text);
    }
    let page = reviewed(&app, &mut admin, table[11].0).await;
    assert!(page.text.contains("Reading: write a whole number"), "both faults are named");
    assert_eq!((changes(&app).await, stored(&app, &app.bank).await.1), (0, 1));
    // A note that is too long, which only a script could send.
    let summary = reviewed(&app, &mut admin, &[("session.concurrent_limit", "4")]).await;
    let long = "x".repeat(141);
    let page = send(&app, &mut admin, (&summary, CHANGES), &[("note", &long)]).await;
    assert_eq!(page.status, 422);
    assert!(page.text.contains("At most 140 characters"), "{}", page.text);
    let again = fields_of(&page.text, FORM);
    let kept = ("session.concurrent_limit".to_owned(), "4".to_owned());
    assert!(again.contains(&kept), "what was asked for is not lost");
    assert_eq!(changes(&app).await, 0);
}

#[tokio::test]
async fn forms_that_somebody_tampered_with_do_nothing() {
    let app = App::start().await;
    let mut admin = Browser::signed_in(&app, "bank", "admin").await;
    let form = admin.get(&app, FORM).await;
    let summary = reviewed(&app, &mut admin, &[("session.concurrent_limit", "4")]).await;
    let once = Uuid::from_u128(7).to_string();
    // Which form, what is put into it, status.
    let table: [(&Answered, &str, &[(&str, &str)], u16); 11] = [
        (&form, FORM, &[("base", "")], 400),
        (&form, FORM, &[("base", "{")], 400),
        (&form, FORM, &[("base", "5")], 400),
        (&form, FORM, &[("version", "")], 400),
        (&form, FORM, &[("version", "new")], 400),
        (&form, FORM, &[("version", "7")], 409),
        (&summary, CHANGES, &[("patch", "[]")], 400),
        (&summary, CHANGES, &[("patch", "{\"session\":{\"sticky\":true}}")], 422),
        (&summary, CHANGES, &[("patch", "{\"x\":\"<script>alert(1)</script>\"}")], 422),
        (&summary, CHANGES, &[("once", "")], 400),
        (&summary, CHANGES, &[("version", "7"), ("once", &once)], 409),
    ];
    for (page, action, typed, status) in table {
        let answer = send(&app, &mut admin, (page, action), typed).await;
        assert_eq!(answer.status, status, "{action} {typed:?}: {}", answer.text);
        assert!(!answer.text.contains("<script>alert"), "{typed:?}");
    }
    // A base that somebody made up says nothing of what is stored: a field that it leaves out
    // is asked for as it was typed.
    let crafted = send(&app, &mut admin, (&form, FORM), &[("base", "{}")]).await;
    assert!(matches!(crafted.status, 200 | 422), "{}", crafted.text);
    // An address that somebody sent: it fills in the form and asks for nothing.
    for (patch, status) in [("%7B%22a%22%3A%22%3Cscript%3E%22%7D", 200), ("x", 400), ("5", 400)] {
        let page = admin.get(&app, &format!("{FORM}?patch={patch}&note=%3Cscript%3E")).await;
        assert_eq!(page.status, status, "{patch}");
        assert!(!page.text.contains("<script>\""), "{}", page.text);
    }
    assert_eq!((changes(&app).await, stored(&app, &app.bank).await.1), (0, 1));
    // Without the session's token, or from elsewhere, nothing is even looked at.
    let id = asked(&app, &mut admin, &[("session.concurrent_limit", "4")]).await;
    let mut checker = Browser::signed_in(&app, "bank", "super_admin").await;
    checker.get(&app, FORM).await;
    let paths = [
        FORM.to_owned(),
        CHANGES.to_owned(),
        format!("{CHANGES}/{id}/approve"),
        format!("{CHANGES}/{id}/reject"),
    ];
    for path in &paths {
        let request = app.post(path).header("accept", "text/html").header("cookie", &checker.jar());
        let foreign = request
            .header("sec-fetch-site", "cross-site")
            .header("origin", "https://evil.example")
            .form(&[("csrf", checker.token.as_str())]);
        assert_eq!(foreign.send().await.status, 403, "{path} from elsewhere");
    }
    for path in &paths {
        // Every page brings it again.
        checker.forget_token();
        assert_eq!(checker.post(&app, path, &[]).await.status, 403, "{path} without a token");
    }
    assert_eq!(stored(&app, &app.bank).await.1, 1);
}

#[tokio::test]
async fn nobody_agrees_with_themselves_or_twice() {
    let app = App::start().await;
    let mut maker = Browser::signed_in(&app, "bank", "admin").await;
    let mut checker = Browser::signed_in(&app, "bank", "super_admin").await;
    let id = asked(&app, &mut maker, &[("session.concurrent_limit", "4")]).await;
    let (approve, reject) = (format!("{CHANGES}/{id}/approve"), format!("{CHANGES}/{id}/reject"));
    for path in [&approve, &reject] {
        let refused = maker.post(&app, path, &[]).await;
        assert_eq!(refused.status, 403, "{}", refused.text);
        assert!(refused.text.contains("Another administrator has to"), "{}", refused.text);
        let reloaded = maker.get(&app, path).await;
        assert_eq!(reloaded.header("location"), format!("{CHANGES}/{id}"));
    }
    // Somebody whom the maker made is no second person.
    let token = app.login(&app.bank, "admin").await;
    let person = json!({
        "username": "puppet", "email": "puppet@bank.example", "role": "admin",
        "password": crate::harness::PASSWORD,
    });
    let made = app.post("/v1/users").bearer(&token).key("puppet").json(&person).send().await;
    assert_eq!(made.status, 201, "{}", made.text);
    let mut puppet = Browser::signed_in(&app, "bank", "puppet").await;
    let refused = puppet.post(&app, &approve, &[]).await;
    assert_eq!(refused.status, 403, "{}", refused.text);
    assert!(refused.text.contains("you do not count as two people"), "{}", refused.text);
    assert_eq!(stored(&app, &app.bank).await.1, 1);
    // Twenty at once, one change.
    checker.get(&app, "/settings").await;
    let racing = (0..20).map(|_| {
        let (app, path, mut browser) = (&app, approve.clone(), checker.clone());
        async move { browser.post(app, &path, &[]).await.status }
    });
    let statuses = join_all(racing).await;
    assert!(statuses.iter().all(|status| *status == 303), "one's own, done once: {statuses:?}");
    let (policy, version) = stored(&app, &app.bank).await;
    assert_eq!((&policy["session"]["concurrent_limit"], version), (&json!(4), 2));
    let sql = "SELECT count(*) FROM audit_log WHERE action = 'settings.update'";
    let applied: i64 = app.superuser.query_one(sql, &[]).await.unwrap().get(0);
    assert_eq!(applied, 1);
    // The other way round it is too late, and said.
    let late = checker.post(&app, &reject, &[]).await;
    assert_eq!(late.status, 422);
    assert!(late.text.contains("Somebody has decided it meanwhile"), "{}", late.text);
    assert!(!late.text.contains("Approve…"));
}

#[tokio::test]
async fn a_form_sent_twenty_times_asks_once() {
    let app = App::start().await;
    let mut maker = Browser::signed_in(&app, "bank", "admin").await;
    let summary = reviewed(&app, &mut maker, &[("session.concurrent_limit", "4")]).await;
    let racing = (0..20).map(|_| {
        let (app, summary, mut browser) = (&app, &summary, maker.clone());
        async move { send(app, &mut browser, (summary, CHANGES), &[]).await }
    });
    let answers = join_all(racing).await;
    let places: std::collections::BTreeSet<_> = answers
        .iter()
        .filter(|answer| answer.status == 303)
        .map(|answer| answer.header("location").to_owned())
        .collect();
    assert_eq!(places.len(), 1);
    // Whoever was too early is given the same form once more.
    assert!(answers.iter().all(|answer| matches!(answer.status, 303 | 409)));
    assert_eq!(changes(&app).await, 1);
    // The same key for something else is nothing at all.
    let other = [("patch", "{\"session\":{\"concurrent_limit\":5}}")];
    let reused = send(&app, &mut maker, (&summary, CHANGES), &other).await;
    assert!(!reused.is_success() && reused.status != 303, "{}", reused.text);
    assert_eq!(changes(&app).await, 1);
}

#[tokio::test]
async fn who_was_overtaken_is_told_and_puts_nothing_back() {
    let app = App::start().await;
    let mut slow = Browser::signed_in(&app, "bank", "admin").await;
    let mut quick = Browser::signed_in(&app, "bank", "super_admin").await;
    let form = slow.get(&app, FORM).await;
    let waits = asked(&app, &mut slow, &[("password.history", "9")]).await;
    let summary = reviewed(&app, &mut slow, &[("password.minimum_length", "14")]).await;
    // Meanwhile another change is made.
    let made = asked(&app, &mut quick, &[("session.concurrent_limit", "4")]).await;
    let done = slow.post(&app, &format!("{CHANGES}/{made}/approve"), &[]).await;
    assert_eq!(done.status, 303, "{}", done.text);
    // The form of before and the summary of before both say so, with what was typed.
    let typed = [("password.minimum_length", "14")];
    for page in [
        send(&app, &mut slow, (&form, FORM), &typed).await,
        send(&app, &mut slow, (&summary, CHANGES), &[]).await,
    ] {
        assert_eq!(page.status, 409, "{}", page.text);
        assert!(page.text.contains("Somebody else changed the policy meanwhile"), "{}", page.text);
        let again = fields_of(&page.text, FORM);
        for (name, value) in [("password.minimum_length", "14"), ("session.concurrent_limit", "4")]
        {
            assert!(again.contains(&(name.to_owned(), value.to_owned())), "{name}");
        }
        let summary = send(&app, &mut slow, (&page, FORM), &[]).await;
        assert_eq!(summary.status, 200, "{}", summary.text);
        assert!(summary.text.contains("1 rule changes"), "the other's is not put back");
    }
    // What waited is of before, too.
    let place = format!("{CHANGES}/{waits}");
    let page = quick.get(&app, &place).await;
    assert!(page.text.contains("cannot be approved any more"), "{}", page.text);
    let refused = quick.post(&app, &format!("{place}/approve"), &[]).await;
    assert_eq!(refused.status, 409, "{}", refused.text);
    assert!(refused.text.contains("ask for the same again"), "{}", refused.text);
    assert_eq!(stored(&app, &app.bank).await.1, 2);
    let done = quick.post(&app, &format!("{place}/reject"), &[("note", "Anew, please")]).await;
    assert_eq!(done.status, 303);
    // The same again, upon the policy as it is now.
    let page = slow.get(&app, &place).await;
    assert!(page.text.contains("Anew, please"));
    let (_, rest) = page.text.split_once("href=\"/settings/policy?patch=").unwrap();
    let link = format!("{FORM}?patch={}", rest.split('"').next().unwrap());
    let form = slow.get(&app, &unescaped(&link)).await;
    let summary = send(&app, &mut slow, (&form, FORM), &[]).await;
    assert!(without_marks(&summary).contains("<ins>9 passwords</ins>"), "{}", summary.text);
    assert!(summary.text.contains("1 rule changes"), "{}", summary.text);
}

#[tokio::test]
async fn another_tenants_changes_are_not_there_and_roles_see_what_they_may() {
    let app = App::start().await;
    app.add_bank("other").await;
    let mut maker = Browser::signed_in(&app, "bank", "admin").await;
    let id = asked(&app, &mut maker, &[("session.concurrent_limit", "4")]).await;
    let mut stranger = Browser::signed_in(&app, "other", "super_admin").await;
    stranger.get(&app, "/settings").await;
    let place = format!("{CHANGES}/{id}");
    assert_eq!(stranger.get(&app, &place).await.status, 404);
    for verb in ["approve", "reject"] {
        let answer = stranger.post(&app, &format!("{place}/{verb}"), &[]).await;
        assert_eq!(answer.status, 404, "{verb}: {}", answer.text);
    }
    assert!(!stranger.get(&app, CHANGES).await.text.contains(&id.to_string()));
    // What each role gets of: the form, the list, the change; and of deciding.
    let table = [
        ("super_admin", [200, 200, 200]),
        ("manager", [403, 200, 200]),
        ("auditor", [403, 200, 200]),
        ("officer", [403, 403, 403]),
        ("customer_service", [403, 403, 403]),
        ("customer", [403, 403, 403]),
    ];
    for (role, statuses) in table {
        let mut browser = Browser::signed_in(&app, "bank", role).await;
        for (path, status) in [FORM, CHANGES, &place].into_iter().zip(statuses) {
            let page = browser.get(&app, path).await;
            assert_eq!(page.status, status, "{role} {path}");
            if role != "super_admin" {
                assert!(!page.text.contains("Approve…"), "{role} {path}");
                assert!(!page.text.contains("href=\"/settings/policy\""), "{role} {path}");
            }
        }
        if role == "super_admin" {
            continue;
        }
        let fields =
            [("version", "1"), ("base", "{}"), ("patch", "{}"), ("once", &Uuid::nil().to_string())]
                .map(|(name, value)| (name, value.to_owned()));
        let fields = fields.each_ref().map(|(name, value)| (*name, value.as_str()));
        for path in [FORM, CHANGES, &format!("{place}/approve"), &format!("{place}/reject")] {
            let answer = browser.post(&app, path, &fields).await;
            let expected = if statuses[2] == 403 && path.contains(&id.to_string()) {
                [403, 404]
            } else {
                [403, 403]
            };
            assert!(expected.contains(&answer.status), "{role} {path}: {}", answer.text);
        }
    }
    assert_eq!((changes(&app).await, stored(&app, &app.bank).await.1), (1, 1));
}

#[tokio::test]
async fn what_nobody_decided_is_shown_as_expired() {
    let app = App::start().await;
    let mut maker = Browser::signed_in(&app, "bank", "admin").await;
    let id = asked(&app, &mut maker, &[("session.concurrent_limit", "4")]).await;
    // Eight days later, as the hash has it that binds what is decided on: both move.
    let sql = format!(
        "SET session_replication_role = 'replica'; \
         UPDATE policy_changes SET requested_at = requested_at - interval '8 days', \
             expires_at = expires_at - interval '8 days' WHERE id = '{id}'; \
         SET session_replication_role = 'origin'"
    );
    app.superuser.batch_execute(&sql).await.unwrap();
    let mut checker = Browser::signed_in(&app, "bank", "super_admin").await;
    let place = format!("{CHANGES}/{id}");
    for is_written in [false, true] {
        let page = checker.get(&app, &place).await;
        assert!(page.text.contains("Nobody decided within seven days"), "{}", page.text);
        assert!(!page.text.contains("Approve…") && page.text.contains("Ask for the same again"));
        let list = checker.get(&app, &format!("{CHANGES}?status=expired")).await;
        assert!(list.text.contains(&place), "written down: {is_written}");
        let late = checker.post(&app, &format!("{place}/approve"), &[]).await;
        assert_eq!(late.status, 422);
        assert!(late.text.contains("Nobody decided in time"), "{}", late.text);
        assert!(!checker.get(&app, "/settings").await.text.contains("waits for a second"));
        let mut worker = app.cli("bank").await;
        worker.actor = tenancy::Actor::system(tenancy::ActorKind::Worker);
        let noted = app.identity.expire_policy_changes(&worker).await.unwrap();
        assert_eq!(noted, u64::from(!is_written));
    }
}

#[tokio::test]
async fn what_was_typed_outlives_the_proof_of_a_factor() {
    let app = App::start().await;
    let mut admin = Browser::signed_in(&app, "bank", "admin").await;
    let form = admin.get(&app, FORM).await;
    let summary = reviewed(&app, &mut admin, &[("session.concurrent_limit", "4")]).await;
    // From now on they have a factor, and have not proven it in this session.
    app.superuser.batch_execute("UPDATE users SET mfa_enabled = true").await.unwrap();
    tokio::time::sleep(std::time::Duration::from_millis(1_200)).await;
    let typed = [("session.concurrent_limit", "4"), ("note", "Why not")];
    for page in [
        send(&app, &mut admin, (&form, FORM), &typed).await,
        send(&app, &mut admin, (&summary, CHANGES), &[("note", "Why not")]).await,
    ] {
        assert_eq!(page.status, 303, "{}", page.text);
        let patch = "%7B%22session%22%3A%7B%22concurrent_limit%22%3A4%7D%7D";
        assert_eq!(page.header("location"), format!("{FORM}?patch={patch}&note=Why+not"));
        let opened = admin.get(&app, page.header("location")).await;
        assert!(matches!(opened.status, 303 | 403), "the factor first: {}", opened.text);
    }
    assert_eq!(changes(&app).await, 0);
    let back = "UPDATE users SET mfa_enabled = false";
    app.superuser.batch_execute(back).await.unwrap();
    tokio::time::sleep(std::time::Duration::from_millis(1_200)).await;
    let link = format!("{FORM}?patch=%7B%22session%22%3A%7B%22concurrent_limit%22%3A4%7D%7D");
    let form = admin.get(&app, &link).await;
    let kept = ("session.concurrent_limit".to_owned(), "4".to_owned());
    assert!(fields_of(&form.text, FORM).contains(&kept));
}
