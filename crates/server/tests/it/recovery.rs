//! Getting in again: links that were sent, followed, abused; addresses that change;
//! passwords that grow old. Through the interface, over a real database.

mod abuse;
mod contact;
mod expiry;
mod hashing;
mod invite;

use std::time::Duration;

use serde_json::{Value, json};
use uuid::Uuid;

use crate::harness::{Answered, App, Bank, PASSWORD};

/// Good under every blueprint, and not [`PASSWORD`].
const NEXT: &str = "Quite-New-77-Battery";
const LATER: &str = "Yet-Another-88-Staple";

/// A notice in the queue, opened.
#[derive(Debug)]
pub(crate) struct Told {
    pub(crate) template: String,
    channel: String,
    pub(crate) to: String,
    pub(crate) values: Value,
}

impl Told {
    /// The token of its link.
    pub(crate) fn token(&self) -> String {
        let link = self.values["link"].as_str().unwrap();
        link.split_once("?token=").unwrap().1.to_owned()
    }
}

/// What a tenant has to tell, oldest first.
pub(crate) async fn told(app: &App, bank: &Bank) -> Vec<Told> {
    let context = app.cli(&bank.slug).await;
    let keys = app.keyring.tenant(&app.pool, &context).await.unwrap();
    let sql = "SELECT n.id, n.template, n.channel, n.recipient_sealed, n.values_sealed, s.key_id, s.kek_epoch, \
        s.wrapped_key \
        FROM notices n JOIN subject_keys s ON s.tenant_id = n.tenant_id AND s.subject_id = n.user_id \
        WHERE n.tenant_id = $1 ORDER BY n.id";
    let rows = app.superuser.query(sql, &[&bank.id]).await.unwrap();
    let opened = rows.iter().map(|row| {
        let (id, key_id): (Uuid, Uuid) = (row.get("id"), row.get("key_id"));
        let subject = keys.open_subject_key(key_id, row.get("kek_epoch"), row.get("wrapped_key"));
        let subject = subject.unwrap();
        let open = |column: &str| keys.open(&subject, ("notices", column, id), row.get(column));
        Told {
            template: row.get("template"),
            channel: row.get("channel"),
            to: open("recipient_sealed").unwrap(),
            values: serde_json::from_str(&open("values_sealed").unwrap()).unwrap(),
        }
    });
    opened.collect()
}

/// The last notice of a template, which the work behind an answer may still be making.
pub(crate) async fn last(app: &App, bank: &Bank, template: &str, count: usize) -> Told {
    for _ in 0..600 {
        let mut of_it = told(app, bank).await;
        of_it.retain(|notice| notice.template == template);
        if of_it.len() >= count {
            assert_eq!(of_it.len(), count, "{of_it:?}");
            return of_it.pop().unwrap();
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("no {count}. {template}");
}

/// How many records of an action a tenant has.
pub(crate) async fn recorded(app: &App, bank: &Bank, action: &str) -> i64 {
    let sql = "SELECT count(*) FROM audit_log WHERE tenant_id = $1 AND action = $2";
    app.superuser.query_one(sql, &[&bank.id, &action]).await.unwrap().get(0)
}

/// Waits until a tenant has so many records of an action: work after an answer is done.
pub(crate) async fn settled(app: &App, bank: &Bank, action: &str, count: i64) {
    for _ in 0..600 {
        if recorded(app, bank, action).await >= count {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("{action} was not recorded {count} times");
}

async fn forgot(app: &App, bank: &Bank, username: &str) -> Answered {
    let body = json!({ "tenant": bank.slug, "username": username });
    app.post("/v1/auth/password/forgot").json(&body).send().await
}

/// A link to set a new password, as it reaches its owner; the `count`th in the tenant.
pub(crate) async fn reset_token(app: &App, bank: &Bank, username: &str, count: usize) -> String {
    assert_eq!(forgot(app, bank, username).await.status, 202);
    last(app, bank, "password_reset", count).await.token()
}

pub(crate) async fn set_by(app: &App, path: &str, token: &str, password: &str) -> Answered {
    let body = json!({ "token": token, "new_password": password });
    app.post(path).json(&body).send().await
}

pub(crate) async fn reset(app: &App, token: &str, password: &str) -> Answered {
    set_by(app, "/v1/auth/password/reset", token, password).await
}

pub(crate) async fn try_login(app: &App, bank: &Bank, username: &str, password: &str) -> Answered {
    let body = json!({ "tenant": bank.slug, "username": username, "password": password });
    app.post("/v1/auth/login").json(&body).send().await
}

/// Changes a tenant's policy as an administrator would, and waits until nodes know.
async fn set_policy(app: &App, bank: &Bank, path: &[&str], value: &Value) {
    let sql =
        "UPDATE security_policies SET policy = jsonb_set(policy, $2, $3) WHERE tenant_id = $1";
    assert_eq!(app.superuser.execute(sql, &[&bank.id, &path, &value]).await.unwrap(), 1);
    tokio::time::sleep(Duration::from_millis(1_100)).await;
}

pub(crate) fn is_link_refused(answer: &Answered) -> bool {
    (answer.status, answer.code(), answer.field()) == (422, "link_invalid", "token")
}

#[tokio::test]
async fn a_forgotten_password_is_set_anew_by_one_link_once() {
    let app = App::start().await;
    let bank = &app.bank;
    let before = app.login(bank, "customer").await;
    let token = reset_token(&app, bank, "Customer@Bank.Example", 1).await;
    let link = last(&app, bank, "password_reset", 1).await;
    assert_eq!((link.to.as_str(), link.channel.as_str()), ("customer@bank.example", "email"));
    // What is refused leaves the link good, and every broken rule is named.
    let weak = reset(&app, &token, "short").await;
    assert_eq!(
        (weak.status, weak.code(), weak.field()),
        (422, "validation_failed", "new_password")
    );
    assert_eq!(weak.body["errors"].as_array().unwrap().len(), 4, "{}", weak.body);
    let named = reset(&app, &token, "My-Customer-Name-77").await;
    assert_eq!(named.body["errors"][0]["code"], "password_contains_name");
    let reused = reset(&app, &token, PASSWORD).await;
    assert_eq!((reused.status, reused.code()), (422, "password_reused"));
    assert_eq!(app.get("/v1/auth/me").bearer(&before).send().await.status, 200);
    let set = reset(&app, &token, NEXT).await;
    assert_eq!((set.status, set.text.as_str()), (204, ""), "{}", set.body);
    // Every session ended; nobody was signed in by it.
    let after = app.get("/v1/auth/me").bearer(&before).send().await;
    assert_eq!((after.status, after.code()), (401, "token_revoked"));
    assert_eq!(try_login(&app, bank, "customer", PASSWORD).await.status, 401);
    assert_eq!(try_login(&app, bank, "customer", NEXT).await.status, 200);
    assert!(is_link_refused(&reset(&app, &token, LATER).await), "a replay");
    let notice = last(&app, bank, "password_changed", 1).await;
    assert_eq!(notice.to, "customer@bank.example");
    assert_eq!(recorded(&app, bank, "password.set_by_link").await, 1);
    assert_eq!(recorded(&app, bank, "link.refuse").await, 1);
    let sql = "SELECT email_verified_at IS NOT NULL FROM users WHERE tenant_id = $1 AND username_key = 'customer'";
    assert!(app.superuser.query_one(sql, &[&bank.id]).await.unwrap().get::<_, bool>(0));
}

#[tokio::test]
async fn a_link_ends_by_time_by_a_newer_one_and_by_whatever_overtakes_it() {
    let app = App::start().await;
    let bank = &app.bank;
    let first = reset_token(&app, bank, "customer", 1).await;
    let second = reset_token(&app, bank, "customer", 2).await;
    assert!(is_link_refused(&reset(&app, &first, NEXT).await), "voided by the second");
    let sql = "UPDATE one_time_tokens SET created_at = created_at - interval '30 minutes', \
        expires_at = expires_at - interval '30 minutes'";
    let later = "UPDATE one_time_tokens SET created_at = created_at + interval '1 minute', \
        expires_at = expires_at + interval '1 minute'";
    app.superuser.batch_execute(sql).await.unwrap();
    assert!(is_link_refused(&reset(&app, &second, NEXT).await), "30 minutes later");
    app.superuser.batch_execute(later).await.unwrap();
    // A change of the password by its owner overtakes it.
    let token = app.login(bank, "customer").await;
    let change = json!({ "current_password": PASSWORD, "new_password": NEXT });
    let changed = app.post("/v1/auth/password/change").bearer(&token).json(&change).send().await;
    assert_eq!(changed.status, 204, "{}", changed.body);
    assert!(is_link_refused(&reset(&app, &second, LATER).await), "overtaken");
    // So does another address: whoever reads the old mailbox is somebody else by now.
    let third = reset_token(&app, bank, "officer", 3).await;
    let admin = app.login(bank, "admin").await;
    let path = format!("/v1/users/{}", bank.users["officer"]);
    let body = json!({ "email": "other@bank.example" });
    let moved = app.patch(&path).bearer(&admin).header("if-match", "*").json(&body).send().await;
    assert_eq!(moved.status, 200, "{}", moved.body);
    assert_eq!(last(&app, bank, "email_changed", 1).await.to, "officer@bank.example");
    assert!(is_link_refused(&reset(&app, &third, NEXT).await), "sent to the old address");
    // And so does being disabled.
    let fourth = reset_token(&app, bank, "manager", 4).await;
    let sql = "UPDATE users SET is_active = false WHERE username_key = 'manager'";
    app.superuser.batch_execute(sql).await.unwrap();
    assert!(is_link_refused(&reset(&app, &fourth, NEXT).await), "disabled");
}

#[tokio::test]
async fn a_lock_is_no_obstacle_to_the_owner_and_is_lifted_by_a_new_password() {
    let app = App::start().await;
    let bank = &app.bank;
    for number in 0..6 {
        try_login(&app, bank, "customer", &format!("Guess-Staple-{number}")).await;
    }
    assert_eq!(try_login(&app, bank, "customer", PASSWORD).await.status, 401, "locked");
    let token = reset_token(&app, bank, "customer", 1).await;
    assert_eq!(reset(&app, &token, NEXT).await.status, 204);
    assert_eq!(try_login(&app, bank, "customer", NEXT).await.status, 200);
}

#[tokio::test]
async fn no_more_than_three_links_an_hour_are_sent_and_the_last_stays_good() {
    let app = App::start().await;
    let bank = &app.bank;
    let mut token = String::new();
    for count in 1..=3 {
        token = reset_token(&app, bank, "customer", count).await;
    }
    for count in 4..=6 {
        assert_eq!(forgot(&app, bank, "customer").await.status, 202);
        settled(&app, bank, "password.reset_link", count).await;
    }
    last(&app, bank, "password_reset", 3).await;
    assert_eq!(reset(&app, &token, NEXT).await.status, 204, "asking on voids nothing");
}

#[tokio::test]
async fn what_was_over_a_day_ago_is_forgotten() {
    let app = App::start().await;
    let bank = &app.bank;
    reset_token(&app, bank, "customer", 1).await;
    reset_token(&app, bank, "officer", 2).await;
    let sql = "UPDATE one_time_tokens SET created_at = created_at - interval '25 hours', \
        expires_at = expires_at - interval '25 hours' WHERE user_id = $1";
    app.superuser.execute(sql, &[&bank.users["customer"]]).await.unwrap();
    let context = app.cli(&bank.slug).await;
    assert_eq!(app.identity.forget_one_time_tokens(&context).await.unwrap(), 1);
    assert_eq!(app.identity.forget_one_time_tokens(&context).await.unwrap(), 0);
    let left = app.superuser.query_one("SELECT count(*) FROM one_time_tokens", &[]).await.unwrap();
    assert_eq!(left.get::<_, i64>(0), 1);
}

#[tokio::test]
async fn advice_on_a_password_names_rules_and_estimates_the_rest() {
    let app = App::start().await;
    let ask = async |password: &str| {
        let body = json!({ "tenant": "bank", "password": password, "username": "jana.novakova" });
        app.post("/v1/auth/password/strength").json(&body).send().await
    };
    // password, acceptable, the least and the greatest score
    let table = [
        ("", false, 0, 0),
        ("Password123!", false, 0, 1),
        ("Jana.Novakova-77", false, 0, 3),
        ("correct horse battery staple", false, 4, 4),
        ("Correct-Horse-9-Battery", true, 3, 4),
    ];
    for (password, acceptable, least, greatest) in table {
        let answer = ask(password).await;
        assert_eq!(
            (answer.status, &answer.body["acceptable"]),
            (200, &json!(acceptable)),
            "{password}"
        );
        let score = answer.body["score"].as_u64().unwrap();
        assert!((least..=greatest).contains(&score), "{password}: {}", answer.body);
        assert!(
            answer.body["guesses_log10"].is_f64() && !answer.text.contains(password)
                || password.is_empty()
        );
        assert_eq!(answer.body["errors"].as_array().unwrap().is_empty(), acceptable);
    }
    let body = json!({ "tenant": "nowhere", "password": "x" });
    let nowhere = app.post("/v1/auth/password/strength").json(&body).send().await;
    assert_eq!((nowhere.status, nowhere.code()), (404, "not_found"));
}

#[tokio::test]
async fn a_person_sees_whom_they_recommended_and_nothing_of_them() {
    let app = App::start().await;
    let bank = &app.bank;
    let admin = app.login(bank, "admin").await;
    let code = async |username: &str| {
        let sql = "SELECT referral_code FROM users WHERE tenant_id = $1 AND username_key = $2";
        app.superuser.query_one(sql, &[&bank.id, &username]).await.unwrap().get::<_, String>(0)
    };
    let (own, others) = (code("customer").await, code("second").await);
    let mut recommended = Vec::new();
    for (name, code) in [("first.friend", &own), ("next.friend", &own), ("stranger", &others)] {
        let body = json!({ "username": name, "role": "customer", "referral_code": code, "full_name": "Eva Malá" });
        let made = app.post("/v1/users").bearer(&admin).json(&body).send().await;
        assert_eq!(made.status, 201, "{}", made.body);
        recommended.push(made.body["id"].clone());
    }
    let customer = app.login(bank, "customer").await;
    let page = app.get("/v1/auth/referrals?limit=1").bearer(&customer).send().await;
    assert_eq!(page.body["data"][0]["id"], recommended[1]);
    let next = page.body["next_cursor"].as_str().unwrap();
    let rest = app.get(format!("/v1/auth/referrals?cursor={next}")).bearer(&customer).send().await;
    assert_eq!(rest.body["data"].as_array().unwrap().len(), 1);
    assert_eq!(rest.body["data"][0]["id"], recommended[0]);
    let members: Vec<_> = rest.body["data"][0].as_object().unwrap().keys().collect();
    assert_eq!(members, ["id", "is_active", "created_at"]);
    let officer = app.login(bank, "officer").await;
    let none = app.get("/v1/auth/referrals").bearer(&officer).send().await;
    assert_eq!(none.body, json!({ "data": [], "next_cursor": null }));
    // Nobody reads another's through the function either.
    let sql = format!(
        "SET ROLE strongroom_app; SELECT set_config('app.current_tenant', '{}', false), \
         set_config('app.current_user_id', '{}', false); SELECT * FROM own_referrals('{}', NULL, 5)",
        bank.id, bank.users["second"], bank.users["customer"]
    );
    let refused = testkit::connect(&app.database.superuser_url()).await.batch_execute(&sql).await;
    assert_eq!(refused.unwrap_err().code().unwrap().code(), "42501");
}
