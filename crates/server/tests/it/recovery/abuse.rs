//! What somebody tries who is not the owner of the mailbox.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use serde_json::json;
use tokio::task::JoinSet;

use super::{
    LATER, NEXT, forgot, is_link_refused, last, recorded, reset, reset_token, set_by, settled,
    told, try_login,
};
use crate::harness::{App, PASSWORD};

/// People whose answers must not differ: one of each fate.
async fn fates(app: &App) -> Vec<(&'static str, String, String)> {
    let bank = &app.bank;
    for number in 0..6 {
        try_login(app, bank, "second", &format!("Guess-Staple-{number}")).await;
    }
    let sql = "UPDATE users SET is_active = false WHERE username_key = 'manager'; \
        UPDATE users SET email_sealed = NULL, email_index = NULL WHERE username_key = 'officer'; \
        UPDATE users SET password_hash = NULL WHERE username_key = 'auditor'";
    app.superuser.batch_execute(sql).await.unwrap();
    let own = |fate, name: &str| (fate, bank.slug.clone(), name.to_owned());
    vec![
        own("known", "customer"),
        own("by e-mail", "customer@bank.example"),
        own("locked", "second"),
        own("disabled", "manager"),
        own("without e-mail", "officer"),
        own("without password", "auditor"),
        own("unknown", "nobody"),
        own("impossible", "two words\u{202e}"),
        ("unknown tenant", "nowhere".to_owned(), "customer".to_owned()),
    ]
}

#[tokio::test]
async fn nobody_learns_who_exists_by_forgetting_a_password() {
    let app = App::start().await;
    let bank = &app.bank;
    app.identity.ensure_platform().await.unwrap();
    let mut answers = Vec::new();
    for (fate, tenant, username) in fates(&app).await {
        let before = recorded(&app, bank, "password.forgot").await;
        let body = json!({ "tenant": tenant, "username": username });
        let answer = app.post("/v1/auth/password/forgot").json(&body).send().await;
        // Before the answer the same was done for everybody.
        let own = i64::from(tenant == bank.slug);
        assert_eq!(recorded(&app, bank, "password.forgot").await - before, own, "{fate}");
        let mut names: Vec<_> = answer.headers.keys().map(ToString::to_string).collect();
        names.sort_unstable();
        answers.push((fate, answer.status, answer.text.clone(), names));
    }
    for (fate, status, text, headers) in &answers {
        assert_eq!((*status, text.as_str()), (202, r#"{"accepted":true}"#), "{fate}");
        assert_eq!(headers, &answers[0].3, "{fate}");
    }
    // Two were of the same person, one locked: three links, and nothing to anybody else.
    settled(&app, bank, "password.reset_link", 6).await;
    let sent: Vec<_> = told(&app, bank).await.into_iter().map(|notice| notice.to).collect();
    assert_eq!(sent.len(), 3, "{sent:?}");
    assert!(sent.iter().all(|to| to == "customer@bank.example" || to == "second@bank.example"));
}

/// Reported and not asserted: a busy machine's clock proves nothing to the microsecond.
#[tokio::test]
async fn the_time_of_an_answer_is_reported_for_known_and_unknown() {
    let app = App::start().await;
    let mut medians = Vec::new();
    for names in [["customer", "officer", "second"], ["nobody", "noone", "nemo"]] {
        let mut taken = Vec::new();
        for round in 0..20 {
            let started = Instant::now();
            let answer = forgot(&app, &app.bank, names[round % 3]).await;
            taken.push(started.elapsed());
            assert_eq!(answer.status, 202);
            // The work behind the answer is over before the next is timed.
            tokio::time::sleep(Duration::from_millis(40)).await;
        }
        taken.sort_unstable();
        medians.push(taken[taken.len() / 2]);
    }
    eprintln!("median of an answer: known {:?}, unknown {:?}", medians[0], medians[1]);
    let ratio = medians[0].as_secs_f64() / medians[1].as_secs_f64();
    assert!((0.2..5.0).contains(&ratio), "{medians:?}");
}

#[tokio::test]
async fn of_fifty_uses_of_one_link_at_once_one_succeeds() {
    let app = Arc::new(App::start().await);
    let token = reset_token(&app, &app.bank, "customer", 1).await;
    let mut uses = JoinSet::new();
    for number in 0..50 {
        let (app, token) = (Arc::clone(&app), token.clone());
        uses.spawn(async move {
            let password = format!("Quite-New-{number}-Battery");
            let answer = reset(&app, &token, &password).await;
            (answer.status, answer.code().to_owned(), password)
        });
    }
    let answers = uses.join_all().await;
    let winners: Vec<_> = answers.iter().filter(|(status, ..)| *status == 204).collect();
    assert_eq!(winners.len(), 1, "{answers:?}");
    for (status, code, _) in answers.iter().filter(|(status, ..)| *status != 204) {
        assert_eq!((*status, code.as_str()), (422, "link_invalid"));
    }
    assert_eq!(try_login(&app, &app.bank, "customer", &winners[0].2).await.status, 200);
    let sql = "SELECT count(*) FROM password_history WHERE user_id = $1";
    let history = app.superuser.query_one(sql, &[&app.bank.users["customer"]]).await.unwrap();
    assert_eq!(history.get::<_, i64>(0), 2);
}

#[tokio::test]
async fn resets_and_requests_for_them_at_the_same_time_leave_one_password_and_one_live_link() {
    let app = Arc::new(App::start().await);
    let token = reset_token(&app, &app.bank, "customer", 1).await;
    let mut both = JoinSet::new();
    for number in 0..10 {
        let (app, token) = (Arc::clone(&app), token.clone());
        both.spawn(async move {
            if number % 2 == 0 {
                forgot(&app, &app.bank, "customer").await.status
            } else {
                reset(&app, &token, NEXT).await.status
            }
        });
    }
    let statuses = both.join_all().await;
    assert!(statuses.iter().all(|status| [202, 204, 422].contains(status)), "{statuses:?}");
    assert!(statuses.iter().filter(|status| **status == 204).count() <= 1, "{statuses:?}");
    settled(&app, &app.bank, "password.reset_link", 6).await;
    let sql = "SELECT count(*) FROM one_time_tokens WHERE used_at IS NULL AND voided_at IS NULL";
    let live = app.superuser.query_one(sql, &[]).await.unwrap().get::<_, i64>(0);
    assert!(live <= 1, "{live}");
    let [old, new] =
        [PASSWORD, NEXT].map(|password| try_login(&app, &app.bank, "customer", password));
    assert_ne!(old.await.status, new.await.status);
}

/// A token is tried wherever one is taken, but where it is good.
async fn refused_elsewhere(app: &App, kind: &str, token: &str, good_for: &[&str]) {
    for path in ["/v1/auth/password/reset", "/v1/invitations/accept", "/v1/auth/verify-email"] {
        if good_for.contains(&path) {
            continue;
        }
        let answer = if path == "/v1/auth/verify-email" {
            app.post(path).json(&json!({ "token": token })).send().await
        } else {
            set_by(app, path, token, NEXT).await
        };
        assert!(is_link_refused(&answer), "{kind} at {path}: {} {}", answer.status, answer.body);
    }
}

#[tokio::test]
async fn a_token_is_good_for_its_own_purpose_its_own_tenant_and_nothing_else() {
    let app = App::start().await;
    let bank = &app.bank;
    let rival = app.add_bank("rival").await;
    let admin = app.login(bank, "admin").await;
    let body = json!({ "username": "new.one", "role": "customer", "email": "new@bank.example" });
    let made = app.post("/v1/users").bearer(&admin).json(&body).send().await;
    let body = json!({ "user_id": made.body["id"] });
    let sent = app.post("/v1/invitations").bearer(&admin).json(&body).send().await;
    assert_eq!(sent.status, 201, "{}", sent.body);
    let signed_in = app.sign_in(bank, "customer").await;
    let customer = signed_in["access_token"].as_str().unwrap();
    let path = "/v1/auth/me/email/verification";
    assert_eq!(app.post(path).bearer(customer).send().await.status, 202);
    let body = json!({ "email": "moved@bank.example", "current_password": PASSWORD });
    assert_eq!(app.post("/v1/auth/me/email").bearer(customer).json(&body).send().await.status, 202);
    let body = json!({ "phone": "+420601123456", "current_password": PASSWORD });
    let phone = app.post("/v1/auth/me/phone").bearer(customer).json(&body).send().await;
    let reset_link = reset_token(&app, bank, "customer", 1).await;
    let verifications = told(&app, bank).await;
    let verifications: Vec<_> =
        verifications.iter().filter(|notice| notice.template == "verify_email").collect();
    // token, the paths that take it
    let tokens = [
        ("reset", reset_link.clone(), &["/v1/auth/password/reset"][..]),
        ("invite", last(&app, bank, "invite", 1).await.token(), &["/v1/invitations/accept"]),
        ("verify", verifications[0].token(), &["/v1/auth/verify-email"]),
        ("mailchange", verifications[1].token(), &["/v1/auth/verify-email"]),
        ("phonechange", phone.body["phone_token"].as_str().unwrap().to_owned(), &[]),
        ("refresh", signed_in["refresh_token"].as_str().unwrap().to_owned(), &[]),
        ("access", customer.to_owned(), &[]),
        ("nonsense", "reset".to_owned(), &[]),
        ("empty", String::new(), &[]),
    ];
    for (kind, token, good_for) in &tokens {
        refused_elsewhere(&app, kind, token, good_for).await;
        let body = json!({ "refresh_token": token });
        if *kind != "refresh" {
            assert_eq!(app.post("/v1/auth/refresh").json(&body).send().await.status, 401, "{kind}");
            assert_eq!(
                app.get("/v1/auth/me").bearer(token).send().await.status,
                if *kind == "access" { 200 } else { 401 }
            );
        }
    }
    // Under another tenant's name, and under another kind's, it is another text.
    let theirs = reset_link.replace(&bank.id.simple().to_string(), &rival.id.simple().to_string());
    assert_ne!(theirs, reset_link);
    assert!(is_link_refused(&reset(&app, &theirs, NEXT).await));
    let disguised = reset_link.replace("reset_", "invite_");
    assert!(is_link_refused(&set_by(&app, "/v1/invitations/accept", &disguised, NEXT).await));
    // None of it has used anything up.
    assert_eq!(set_by(&app, "/v1/invitations/accept", &tokens[1].1, NEXT).await.status, 204);
    let verify = async |token: &str| {
        app.post("/v1/auth/verify-email").json(&json!({ "token": token })).send().await
    };
    assert_eq!(verify(&tokens[2].1).await.status, 204);
    assert_eq!(reset(&app, &reset_link, NEXT).await.status, 204);
    let moved = verify(&tokens[3].1).await;
    assert!(is_link_refused(&moved), "asked for with the old password");
    for (kind, token, _) in &tokens[..4] {
        assert!(is_link_refused(&verify(token).await), "{kind} again");
        assert!(is_link_refused(&reset(&app, token, LATER).await), "{kind} again");
    }
}

#[tokio::test]
async fn no_header_of_the_request_stands_in_a_link() {
    let app = App::start().await;
    let body = json!({ "tenant": "bank", "username": "customer" });
    let answer = app
        .post("/v1/auth/password/forgot")
        .header("host", "evil.example")
        .header("x-forwarded-host", "evil.example")
        .header("forwarded", "host=evil.example;proto=http")
        .header("origin", "https://evil.example")
        .header("referer", "https://evil.example/reset")
        .json(&body)
        .send()
        .await;
    assert_eq!(answer.status, 202);
    let notice = last(&app, &app.bank, "password_reset", 1).await;
    let link = notice.values["link"].as_str().unwrap();
    // A path: what leaves puts the configured origin in front, and nothing else.
    assert!(link.starts_with("/reset/confirm?token=reset_"), "{link}");
    assert!(!notice.values.to_string().contains("evil"), "{}", notice.values);
}

#[tokio::test]
async fn a_crash_between_the_link_and_the_password_changes_neither() {
    let app = App::start().await;
    let token = reset_token(&app, &app.bank, "customer", 1).await;
    let session = app.login(&app.bank, "customer").await;
    let broken = "CREATE FUNCTION break_it() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
            RAISE EXCEPTION 'disk on fire' USING ERRCODE = 'io_error'; END $$; \
        CREATE TRIGGER breaks BEFORE INSERT ON password_history FOR EACH ROW EXECUTE FUNCTION break_it()";
    app.superuser.batch_execute(broken).await.unwrap();
    let answer = reset(&app, &token, NEXT).await;
    assert!(answer.status >= 500, "{}", answer.body);
    app.superuser.batch_execute("DROP TRIGGER breaks ON password_history").await.unwrap();
    assert_eq!(try_login(&app, &app.bank, "customer", NEXT).await.status, 401);
    assert_eq!(app.get("/v1/auth/me").bearer(&session).send().await.status, 200);
    assert_eq!(reset(&app, &token, NEXT).await.status, 204, "the link is as good as before");
    assert_eq!(try_login(&app, &app.bank, "customer", NEXT).await.status, 200);
}

#[tokio::test]
async fn a_strangers_tries_are_limited_alike_for_known_and_unknown() {
    let app = App::start_strict().await;
    let mut statuses = Vec::new();
    for (username, peer) in [("customer", "192.0.2.1"), ("nobody", "192.0.2.2")] {
        let mut of_one = Vec::new();
        for _ in 0..7 {
            let body = json!({ "tenant": "bank", "username": username });
            let answer = app.post("/v1/auth/password/forgot").peer(peer).json(&body).send().await;
            of_one.push((answer.status, answer.code().to_owned()));
        }
        statuses.push(of_one);
    }
    assert_eq!(statuses[0], statuses[1]);
    assert_eq!((statuses[0][4].0, statuses[0][5].1.as_str()), (202, "rate_limited"));
    // Guessing tokens spends the address's budget as well.
    let mut last = 0;
    for number in 0..6 {
        let guess =
            format!("reset_{}_{}", app.bank.id.simple(), "A".repeat(42) + &number.to_string());
        let body = json!({ "token": guess, "new_password": NEXT });
        let answer = app.post("/v1/auth/password/reset").peer("192.0.2.3").json(&body).send().await;
        last = answer.status;
    }
    assert_eq!(last, 429);
}

#[tokio::test]
async fn odd_passwords_are_neither_cut_nor_kept_nor_fatal() {
    let app = App::start().await;
    let bank = &app.bank;
    // 73 bytes, of which bcrypt alone would see 72.
    let long = format!("Aa1-{}", "x".repeat(68)) + "y";
    let token = reset_token(&app, bank, "customer", 1).await;
    for (text, status, code) in [
        ("\u{0}Quite-New-77-Battery", 400, "malformed_request"),
        (&*"Aa1-".repeat(300), 422, "validation_failed"),
        (&"Aa1-".repeat(300_000), 413, "payload_too_large"),
    ] {
        let answer = reset(&app, &token, text).await;
        assert_eq!(answer.status, status, "{} bytes: {}", text.len(), answer.body);
        assert!(answer.code() == code || status == 413, "{}", answer.body);
    }
    assert_eq!(reset(&app, &token, &long).await.status, 204);
    assert_eq!(try_login(&app, bank, "customer", &long).await.status, 200);
    for near in [&long[..72], &format!("{}z", &long[..72])] {
        assert_eq!(try_login(&app, bank, "customer", near).await.status, 401, "{near}");
    }
}
