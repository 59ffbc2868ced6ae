//! People administered in the console: each flow walked over the real server, and what
//! others may not do with it.

use serde_json::json;
use uuid::Uuid;

use crate::{
    console::Browser,
    harness::{Answered, App, PASSWORD},
    recovery::last,
};

const NEXT: &str = "Another-Horse-8-Battery";

/// A browser of somebody, on the page of somebody else.
async fn at(app: &App, username: &str, person: Uuid) -> Browser {
    let mut browser = Browser::signed_in(app, "bank", username).await;
    let page = browser.get(app, &format!("/users/{person}")).await;
    assert_eq!(page.status, 200, "{}", page.text);
    browser
}

async fn version(app: &App, person: Uuid) -> String {
    let sql = "SELECT version::text FROM users WHERE id = $1";
    app.superuser.query_one(sql, &[&person]).await.unwrap().get(0)
}

/// One of the deeds of a person's page, on the version that stands there now.
async fn act(app: &App, browser: &mut Browser, person: Uuid, fields: &[(&str, &str)]) -> Answered {
    let version = version(app, person).await;
    let mut whole = vec![("version", version.as_str())];
    whole.extend_from_slice(fields);
    browser.post(app, &format!("/users/{person}"), &whole).await
}

/// The newest request to remove somebody's factors.
async fn reset_of(app: &App, person: Uuid) -> String {
    let sql = "SELECT id FROM mfa_reset_requests WHERE user_id = $1 ORDER BY id DESC LIMIT 1";
    app.superuser.query_one(sql, &[&person]).await.unwrap().get::<_, Uuid>(0).to_string()
}

async fn signs_in(app: &App, username: &str, password: &str) -> bool {
    let body = json!({ "tenant": "bank", "username": username, "password": password });
    app.post("/v1/auth/login").json(&body).send().await.status == 200
}

/// A value of the form's one-time key.
fn once(page: &Answered) -> String {
    let (_, rest) = page.text.split_once("name=\"once\" value=\"").expect("a one-time key");
    rest.split('"').next().unwrap().to_owned()
}

fn person_of(answer: &Answered) -> Uuid {
    answer.header("location").rsplit('/').next().unwrap().parse().unwrap()
}

/// A confirmed factor of somebody, as if they had set one up.
async fn give_factor(app: &App, person: Uuid) {
    let sql = "SELECT username FROM users WHERE id = $1";
    let name: String = app.superuser.query_one(sql, &[&person]).await.unwrap().get(0);
    app.another_factor(&app.bank, &name).await;
    let sql = "UPDATE users SET mfa_enabled = true WHERE id = $1";
    app.superuser.execute(sql, &[&person]).await.unwrap();
}

async fn factors(app: &App, person: Uuid) -> i64 {
    let sql = "SELECT count(*) FROM mfa_configs WHERE user_id = $1 AND confirmed_at IS NOT NULL";
    app.superuser.query_one(sql, &[&person]).await.unwrap().get(0)
}

#[tokio::test]
async fn who_sees_people_is_a_table() {
    let app = App::start().await;
    let other = app.add_bank("other").await;
    let (officer, stranger) = (app.bank.users["officer"], other.users["officer"]);
    // Path, then what admin, auditor and a customer are answered.
    let table: [(String, [u16; 3]); 12] = [
        ("/users".into(), [200, 200, 403]),
        ("/users/export".into(), [200, 200, 403]),
        ("/users/new".into(), [200, 403, 403]),
        ("/users/resets".into(), [200, 403, 403]),
        (format!("/users/{officer}"), [200, 200, 403]),
        (format!("/users/{officer}/edit"), [200, 403, 403]),
        // They are not deleted.
        (format!("/users/{officer}/restore"), [303, 403, 403]),
        // Another tenant's, and nobody's.
        (format!("/users/{stranger}"), [404, 404, 403]),
        (format!("/users/{stranger}/edit"), [404, 403, 403]),
        (format!("/users/{stranger}/restore"), [404, 403, 403]),
        (format!("/users/{}", Uuid::nil()), [404, 404, 403]),
        ("/users?status=none".into(), [400, 400, 403]),
    ];
    for (index, username) in ["admin", "auditor", "customer"].into_iter().enumerate() {
        let mut browser = Browser::signed_in(&app, "bank", username).await;
        for (path, statuses) in &table {
            let answer = browser.get(&app, path).await;
            assert_eq!(answer.status, statuses[index], "{username} {path}: {}", answer.text);
        }
        let place = browser.get(&app, "/").await.text.contains("href=\"/users\" data-go");
        assert_eq!(place, username != "customer", "{username} has the place in the navigation");
    }
    // Whoever may look and not touch sees no button.
    let mut auditor = Browser::signed_in(&app, "bank", "auditor").await;
    let page = auditor.get(&app, &format!("/users/{officer}")).await;
    assert!(!page.text.contains("name=\"act\"") && !page.text.contains("/edit\""), "{}", page.text);
    for name in
        ["lock", "disable", "delete", "request_reset", "send_reset", "end_sessions", "invite"]
    {
        let fields = [("act", name), ("reason", "other")];
        let answer = act(&app, &mut auditor, officer, &fields).await;
        assert_eq!(answer.status, 403, "{name}: {}", answer.text);
    }
    assert!(signs_in(&app, "officer", PASSWORD).await);
}

#[tokio::test]
async fn people_are_found_by_name_by_address_by_role_and_by_state() {
    let app = App::start().await;
    let mut admin = Browser::signed_in(&app, "bank", "admin").await;
    let row = |name: &str| format!("href=\"/users/{}\"", app.bank.users[name]);
    // query, who is there, who is not
    let table: [(&str, &[&str], &[&str]); 8] = [
        ("", &["officer", "customer", "admin"], &[]),
        ("?username=OFF", &["officer"], &["customer", "admin"]),
        ("?username=fficer", &[], &["officer"]),
        ("?email=Officer%40BANK.example", &["officer"], &["customer"]),
        ("?email=officer%40bank.example&username=adm", &[], &["officer", "admin"]),
        ("?role=customer", &["customer", "second"], &["officer"]),
        ("?status=disabled", &[], &["officer"]),
        ("?status=deleted", &[], &["officer"]),
    ];
    for (query, there, absent) in table {
        let page = admin.get(&app, &format!("/users{query}")).await;
        assert_eq!(page.status, 200, "{query}: {}", page.text);
        for name in there {
            assert!(page.text.contains(&row(name)), "{query}: {name}");
        }
        for name in absent {
            assert!(!page.text.contains(&row(name)), "{query}: {name}");
        }
        assert!(!page.text.contains("officer@bank.example<"), "a list opens nothing sealed");
    }
    let file = admin.get(&app, "/users/export?username=off").await;
    assert_eq!(file.header("content-type"), "text/csv; charset=utf-8");
    assert!(file.text.contains(",officer,officer,active,") && file.text.lines().count() == 2);
    assert_eq!(crate::recovery::recorded(&app, &app.bank, "user.export").await, 1);
}

#[tokio::test]
async fn somebody_is_invited_joins_and_is_invited_no_more() {
    let app = App::start().await;
    let mut admin = Browser::signed_in(&app, "bank", "admin").await;
    let blank = admin.get(&app, "/users/new").await;
    let key = once(&blank);
    let nobody =
        [("start", "invitation"), ("once", &key), ("username", "new.one"), ("role", "officer")];
    let refused = admin.post(&app, "/users/new", &nobody).await;
    assert_eq!(refused.status, 422);
    assert!(refused.text.contains("An invitation needs an address"), "{}", refused.text);
    let mut fields = nobody.to_vec();
    fields.push(("email", "new.one@bank.example"));
    let made = admin.post(&app, "/users/new", &fields).await;
    assert_eq!(made.status, 303, "{}", made.text);
    let person = person_of(&made);
    // Sent twice it is done once, and the link that was sent stays good.
    let again = admin.post(&app, "/users/new", &fields).await;
    assert_eq!((again.status, person_of(&again)), (303, person));
    let link = last(&app, &app.bank, "invite", 1).await;
    assert_eq!(link.to, "new.one@bank.example");
    let page = admin.get(&app, &format!("/users/{person}")).await;
    assert!(page.text.contains("Not joined yet") && page.text.contains("Send invitation"));
    // Once more: the first link is void, the second sets the password.
    assert_eq!(act(&app, &mut admin, person, &[("act", "invite")]).await.status, 303);
    let newer = last(&app, &app.bank, "invite", 2).await;
    let join = async |token: &str| {
        let body = json!({ "token": token, "new_password": NEXT });
        app.post("/v1/invitations/accept").json(&body).send().await.status
    };
    assert_eq!(join(&link.token()).await, 422);
    assert_eq!(join(&newer.token()).await, 204);
    assert!(signs_in(&app, "new.one", NEXT).await);
    let page = admin.get(&app, &format!("/users/{person}")).await;
    assert!(!page.text.contains("Send invitation") && page.text.contains("Send link"));
    let late = act(&app, &mut admin, person, &[("act", "invite")]).await;
    assert_eq!(late.status, 409, "{}", late.text);
    assert!(late.text.contains("They have a password already"));
}

#[tokio::test]
async fn a_first_password_obeys_the_rules_and_is_never_drawn_again() {
    let app = App::start().await;
    let mut admin = Browser::signed_in(&app, "bank", "admin").await;
    let key = once(&admin.get(&app, "/users/new?start=password").await);
    let fields = |key: &str, role: &str, password: &str| {
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        vec![
            pair("start", "password"),
            pair("once", key),
            pair("username", "fresh"),
            pair("role", role),
            pair("password", password),
        ]
    };
    let send = async |admin: &mut Browser, fields: Vec<(String, String)>| {
        let fields: Vec<(&str, &str)> =
            fields.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        admin.post(&app, "/users/new", &fields).await
    };
    let weak = send(&mut admin, fields(&key, "officer", "fresh-Sh0rt")).await;
    assert_eq!(weak.status, 422, "{}", weak.text);
    assert!(
        weak.text.contains("At least 12 characters") && weak.text.contains("contains your name")
    );
    assert!(!weak.text.contains("fresh-Sh0rt"), "a password is never drawn again");
    let mighty = send(&mut admin, fields(&once(&weak), "super_admin", NEXT)).await;
    assert_eq!(mighty.status, 403, "nobody gives more than they hold: {}", mighty.text);
    // What was refused is remembered under its key.
    let next = once(&admin.get(&app, "/users/new?start=password").await);
    let made = send(&mut admin, fields(&next, "officer", NEXT)).await;
    assert_eq!(made.status, 303, "{}", made.text);
    assert!(signs_in(&app, "fresh", NEXT).await);
    let taken = once(&admin.get(&app, "/users/new?start=password").await);
    let taken = send(&mut admin, fields(&taken, "officer", NEXT)).await;
    assert_eq!(taken.status, 409);
    assert!(taken.text.contains("This user name is taken"), "{}", taken.text);
}

#[tokio::test]
async fn an_account_is_locked_unlocked_disabled_and_enabled() {
    let app = App::start().await;
    let officer = app.bank.users["officer"];
    let mut admin = at(&app, "admin", officer).await;
    let mut theirs = Browser::signed_in(&app, "bank", "officer").await;
    // deed, signs in afterwards
    let table: [(&[(&str, &str)], bool); 4] = [
        (&[("act", "lock"), ("reason", "suspected_fraud")], false),
        (&[("act", "unlock")], true),
        (&[("act", "disable")], false),
        (&[("act", "enable")], true),
    ];
    for (fields, expected) in table {
        let done = act(&app, &mut admin, officer, fields).await;
        assert_eq!(done.status, 303, "{fields:?}: {}", done.text);
        assert_eq!(signs_in(&app, "officer", PASSWORD).await, expected, "{fields:?}");
    }
    assert_eq!(theirs.get(&app, "/").await.status, 303, "their session ended with the lock");
    // A lock without its reason, a deed that does not exist.
    for fields in [&[("act", "lock")][..], &[("act", "lock"), ("reason", "spite")], &[("act", "x")]]
    {
        assert_eq!(act(&app, &mut admin, officer, fields).await.status, 400, "{fields:?}");
    }
    // On a version that somebody else has changed since nothing is done.
    let stale = [("act", "lock"), ("reason", "other"), ("version", "1")];
    let late = admin.post(&app, &format!("/users/{officer}"), &stale).await;
    assert_eq!(late.status, 409);
    assert!(late.text.contains("Somebody else changed this person meanwhile"), "{}", late.text);
    assert!(signs_in(&app, "officer", PASSWORD).await);
    // Without the form's token nothing is done either.
    admin.forget_token();
    let forged = act(&app, &mut admin, officer, &[("act", "disable")]).await;
    assert_eq!(forged.status, 403);
    assert!(signs_in(&app, "officer", PASSWORD).await);
}

#[tokio::test]
async fn nobody_locks_disables_or_deletes_themselves_the_mightier_or_another_tenants() {
    let app = App::start().await;
    let other = app.add_bank("other").await;
    let (own, mightier) = (app.bank.users["admin"], app.bank.users["super_admin"]);
    let mut admin = at(&app, "admin", own).await;
    let page = admin.get(&app, &format!("/users/{own}")).await;
    assert!(
        page.text.contains("This is you") && !page.text.contains("ask-delete"),
        "{}",
        page.text
    );
    let table: [(Uuid, &[(&str, &str)], u16, &str); 8] = [
        (
            own,
            &[("act", "lock"), ("reason", "other")],
            403,
            "Nobody does this to their own account",
        ),
        (own, &[("act", "delete")], 403, "Nobody does this to their own account"),
        (own, &[("act", "send_reset")], 403, "Nobody does this to their own account"),
        (own, &[("act", "disable")], 403, "You may not do this"),
        (own, &[("act", "request_reset")], 403, "You may not do this"),
        (mightier, &[("act", "delete")], 403, "They hold more than you do"),
        (mightier, &[("act", "send_reset")], 403, "They hold more than you do"),
        (other.users["officer"], &[("act", "delete")], 404, "There is nothing here"),
    ];
    for (person, fields, status, words) in table {
        let answer = act(&app, &mut admin, person, fields).await;
        assert_eq!(answer.status, status, "{person} {fields:?}: {}", answer.text);
        assert!(answer.text.contains(words), "{fields:?}: {}", answer.text);
    }
    for (name, tenant) in [("admin", "bank"), ("super_admin", "bank"), ("officer", "other")] {
        Browser::signed_in(&app, tenant, name).await;
    }
}

#[tokio::test]
async fn the_deleted_are_listed_and_restored_as_a_shell() {
    let app = App::start().await;
    let officer = app.bank.users["officer"];
    let mut admin = at(&app, "admin", officer).await;
    let gone = act(&app, &mut admin, officer, &[("act", "delete")]).await;
    assert_eq!((gone.status, gone.header("location")), (303, "/users"), "{}", gone.text);
    assert_eq!(admin.get(&app, &format!("/users/{officer}")).await.status, 404);
    assert!(!signs_in(&app, "officer", PASSWORD).await);
    let place = format!("/users/{officer}/restore");
    assert!(admin.get(&app, "/users?status=deleted").await.text.contains(&place));
    let asked = admin.get(&app, &place).await;
    assert!(asked.status == 200 && asked.text.contains("and nothing else"), "{}", asked.text);
    assert_eq!(admin.post(&app, &place, &[]).await.status, 303);
    assert_eq!(admin.post(&app, &place, &[]).await.status, 404, "they are not deleted any more");
    let page = admin.get(&app, &format!("/users/{officer}")).await;
    assert!(page.text.contains("Not joined yet"), "{}", page.text);
    let unreachable = act(&app, &mut admin, officer, &[("act", "invite")]).await;
    assert_eq!(unreachable.status, 422);
    assert!(unreachable.text.contains("no e-mail address"), "{}", unreachable.text);
}

#[tokio::test]
async fn a_link_for_a_new_password_goes_to_its_owner_alone() {
    let app = App::start().await;
    let officer = app.bank.users["officer"];
    let mut admin = at(&app, "admin", officer).await;
    let sent = act(&app, &mut admin, officer, &[("act", "send_reset")]).await;
    assert_eq!(sent.status, 303, "{}", sent.text);
    let link = last(&app, &app.bank, "password_reset", 1).await;
    assert_eq!(link.to, "officer@bank.example");
    assert!(!sent.text.contains(&link.token()), "staff never see it");
    assert!(signs_in(&app, "officer", PASSWORD).await, "the password stays until it is used");
    let body = json!({ "token": link.token(), "new_password": NEXT });
    assert_eq!(app.post("/v1/auth/password/reset").json(&body).send().await.status, 204);
    assert!(signs_in(&app, "officer", NEXT).await);
    for _ in 0..2 {
        assert_eq!(act(&app, &mut admin, officer, &[("act", "send_reset")]).await.status, 303);
    }
    let enough = act(&app, &mut admin, officer, &[("act", "send_reset")]).await;
    assert_eq!(enough.status, 429, "{}", enough.text);
    assert!(enough.text.contains("Try again in an hour"));
    // Who is locked by staff gets in by no link.
    let lock = [("act", "lock"), ("reason", "compliance")];
    assert_eq!(act(&app, &mut admin, officer, &lock).await.status, 303);
    let locked = act(&app, &mut admin, officer, &[("act", "send_reset")]).await;
    assert_eq!(locked.status, 409, "{}", locked.text);
}

#[tokio::test]
async fn roles_are_changed_on_the_version_that_was_drawn() {
    let app = App::start().await;
    let officer = app.bank.users["officer"];
    let path = format!("/users/{officer}/edit");
    let mut admin = at(&app, "admin", officer).await;
    let form = admin.get(&app, &path).await;
    assert!(form.text.contains("value=\"officer@bank.example\""), "{}", form.text);
    assert!(!form.text.contains("value=\"super_admin\""), "only what one may give is offered");
    let mut fields = vec![
        ("version", "1"),
        ("full_name", "Petr Svoboda"),
        ("email", "officer@bank.example"),
        ("phone", ""),
        ("department", "Lending"),
        ("role", "customer_service"),
        ("also_auditor", "yes"),
    ];
    let saved = admin.post(&app, &path, &fields).await;
    assert_eq!(saved.status, 303, "{}", saved.text);
    let roles = async || -> Vec<String> {
        let sql = "SELECT array_agg(role ORDER BY role) FROM user_roles WHERE user_id = $1";
        app.superuser.query_one(sql, &[&officer]).await.unwrap().get(0)
    };
    assert_eq!(roles().await, ["auditor", "customer_service"]);
    // Somebody else still sees the first version: both are shown, nothing is saved.
    fields[4] = ("department", "Cards");
    let late = admin.post(&app, &path, &fields).await;
    assert_eq!(late.status, 409, "{}", late.text);
    assert!(late.text.contains("Lending") && late.text.contains("Save mine over it"));
    let now = version(&app, officer).await;
    fields[0] = ("version", &now);
    assert_eq!(admin.post(&app, &path, &fields).await.status, 303);
    // Forged: more than one holds oneself, a role that does not exist, none of the faults saved.
    let now = version(&app, officer).await;
    for (role, status) in [("super_admin", 403), ("emperor", 422)] {
        let forged = [("version", now.as_str()), ("role", role)];
        let answer = admin.post(&app, &path, &forged).await;
        assert_eq!(answer.status, status, "{role}: {}", answer.text);
    }
    let faulty = [("version", now.as_str()), ("email", "no address"), ("phone", "12")];
    let answer = admin.post(&app, &path, &faulty).await;
    assert_eq!(answer.status, 422);
    assert!(answer.text.contains("Not an e-mail address") && answer.text.contains("E.164"));
    assert_eq!(roles().await, ["auditor", "customer_service"]);
    assert_eq!(version(&app, officer).await, now);
}

/// Custom roles are given over the interface; a form of the console takes none away.
#[tokio::test]
async fn a_custom_role_stays_with_whoever_is_changed() {
    let app = App::start().await;
    let officer = app.bank.users["officer"];
    let give = "WITH made AS (INSERT INTO roles (tenant_id, name, role_type) VALUES ($1, 'plain_desk', 'custom') \
             RETURNING tenant_id, id, name), \
         permitted AS (INSERT INTO role_permissions (tenant_id, role_id, position, resource, action) \
             SELECT tenant_id, id, 0, 'account', 'read' FROM made) \
         INSERT INTO user_roles (tenant_id, user_id, role) SELECT tenant_id, $2, name FROM made";
    app.superuser.execute(give, &[&app.bank.id, &officer]).await.unwrap();
    let path = format!("/users/{officer}/edit");
    let mut admin = at(&app, "admin", officer).await;
    let form = admin.get(&app, &path).await;
    assert!(form.text.contains("also_plain_desk"), "{}", form.text);
    let fields = [
        ("version", "1"),
        ("full_name", "Petr Svoboda"),
        ("email", "officer@bank.example"),
        ("role", "officer"),
        ("also_auditor", "yes"),
        ("also_plain_desk", "yes"),
    ];
    let saved = admin.post(&app, &path, &fields).await;
    assert_eq!(saved.status, 303, "{}", saved.text);
    let sql = "SELECT array_agg(role ORDER BY role) FROM user_roles WHERE user_id = $1";
    let held: Vec<String> = app.superuser.query_one(sql, &[&officer]).await.unwrap().get(0);
    assert_eq!(held, ["auditor", "officer", "plain_desk"]);
}

#[tokio::test]
async fn factors_are_removed_by_two_and_the_one_who_asked_decides_nothing() {
    let app = App::start().await;
    let customer = app.bank.users["customer"];
    give_factor(&app, customer).await;
    let mut admin = at(&app, "admin", customer).await;
    let path = format!("/users/{customer}");
    assert!(admin.get(&app, &path).await.text.contains("E-mail</dd>"), "the kind, and no more");
    assert_eq!(act(&app, &mut admin, customer, &[("act", "request_reset")]).await.status, 303);
    let twice = act(&app, &mut admin, customer, &[("act", "request_reset")]).await;
    assert_eq!(twice.status, 409, "{}", twice.text);
    let page = admin.get(&app, &path).await;
    assert!(page.text.contains("You asked, so somebody else decides"), "{}", page.text);
    assert!(!page.text.contains("ask-confirm-reset") && !page.text.contains("ask-reject-reset"));
    let first = reset_of(&app, customer).await;
    for deed in ["confirm_reset", "reject_reset"] {
        let own = act(&app, &mut admin, customer, &[("act", deed), ("request", &first)]).await;
        assert_eq!(own.status, 403, "{deed}: {}", own.text);
    }
    assert!(admin.get(&app, "/users/resets").await.text.contains("Another decides"));
    assert_eq!(factors(&app, customer).await, 1);
    // Nor does the person themselves, nor somebody who manages nobody.
    let mut own = Browser::signed_in(&app, "bank", "second").await;
    let confirm_first = [("act", "confirm_reset"), ("request", first.as_str())];
    assert_eq!(act(&app, &mut own, customer, &confirm_first).await.status, 403);
    // A second administrator turns it down; then there is nothing to decide.
    let mut second = at(&app, "manager", customer).await;
    let waiting = second.get(&app, "/users/resets").await;
    assert!(waiting.text.contains(&path) && waiting.text.contains(">admin<"), "{}", waiting.text);
    assert_eq!(act(&app, &mut second, customer, &[("act", "reject_reset")]).await.status, 303);
    assert_eq!(act(&app, &mut second, customer, &confirm_first).await.status, 404);
    assert_eq!(factors(&app, customer).await, 1);
    // Asked again and confirmed: that one, and none that was drawn before it.
    assert_eq!(act(&app, &mut admin, customer, &[("act", "request_reset")]).await.status, 303);
    let newest = reset_of(&app, customer).await;
    let drawn = second.get(&app, &path).await.text;
    assert!(drawn.contains(&format!("name=\"request\" value=\"{newest}\"")), "{drawn}");
    assert_eq!(act(&app, &mut second, customer, &[("act", "confirm_reset")]).await.status, 400);
    assert_eq!(act(&app, &mut second, customer, &confirm_first).await.status, 404);
    let confirm = [("act", "confirm_reset"), ("request", newest.as_str())];
    assert_eq!(act(&app, &mut second, customer, &confirm).await.status, 303);
    assert_eq!(factors(&app, customer).await, 0);
    assert_eq!(act(&app, &mut second, customer, &[("act", "reject_reset")]).await.status, 404);
}

#[tokio::test]
async fn somebodys_sessions_are_ended_by_who_may() {
    let app = App::start().await;
    let customer = app.bank.users["customer"];
    let mut theirs = Browser::signed_in(&app, "bank", "customer").await;
    let mut elsewhere = Browser::signed_in(&app, "bank", "customer").await;
    let mut admin = at(&app, "admin", customer).await;
    let page = admin.get(&app, &format!("/users/{customer}")).await;
    let ids: Vec<&str> = page
        .text
        .split("name=\"session\" value=\"")
        .skip(1)
        .map(|rest| rest.split('"').next().unwrap())
        .collect();
    assert_eq!(ids.len(), 2, "{}", page.text);
    // Another's session under this person's name is not there.
    let sql = "SELECT id::text FROM user_sessions WHERE user_id = $1 LIMIT 1";
    let row = app.superuser.query_one(sql, &[&app.bank.users["admin"]]).await.unwrap();
    let foreign: String = row.get(0);
    let fields = [("act", "end_session"), ("session", foreign.as_str())];
    assert_eq!(act(&app, &mut admin, customer, &fields).await.status, 422);
    assert_eq!(admin.get(&app, "/").await.status, 200, "nobody ended ours");
    let fields = [("act", "end_session"), ("session", ids[0])];
    assert_eq!(act(&app, &mut admin, customer, &fields).await.status, 303);
    let alive = [theirs.get(&app, "/").await.status, elsewhere.get(&app, "/").await.status];
    assert_eq!(alive.iter().filter(|status| **status == 200).count(), 1, "{alive:?}");
    assert_eq!(act(&app, &mut admin, customer, &[("act", "end_sessions")]).await.status, 303);
    assert_eq!(theirs.get(&app, "/").await.status, 303);
    assert_eq!(elsewhere.get(&app, "/").await.status, 303);
}
