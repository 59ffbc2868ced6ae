//! What leaves over SMTP, to whom nothing is said, and what the server's answers decide.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use notify::{Channel, Notices, Patience, Smtp, SmtpSecurity, Template, Transports};
use serde_json::json;

use super::certificate::Certificate;
use super::mail_server::{FROM, MailServer, USER};
use super::sms_gateway::SmsGateway;
use super::{ORIGIN, Post, SENT, TO, mail_over};

#[tokio::test]
async fn mail_leaves_over_tls_after_a_login_with_both_bodies() {
    let post = Post::open().await;
    for security in [SmtpSecurity::StartTls, SmtpSecurity::Implicit] {
        let server = MailServer::start(security).await;
        let notices = post.notices(mail_over(&server));
        let values = json!({ "link": "/reset?token=pwr_1_x", "expires_at": post.in_s(1_800) });
        let id = post.put(Channel::Email, Template::PasswordReset, values).await;
        assert_eq!(post.send(&notices, Channel::Email).await, 1);
        assert_eq!(post.send(&notices, Channel::Email).await, 0, "once");
        let mails = server.mails();
        let [mail] = mails.as_slice() else { panic!("{mails:?}") };
        assert_eq!((mail.from.as_str(), mail.to.as_slice()), (FROM, [TO.to_owned()].as_slice()));
        assert_eq!(mail.header("Message-ID"), format!("<{id}@bank.example>"));
        assert_eq!(mail.header("From"), format!("bank <{FROM}>"));
        assert_eq!(mail.header("Subject"), "Choose a new password");
        assert_eq!(mail.header("Auto-Submitted"), "auto-generated");
        for part in ["multipart/alternative", "text/plain", "text/html", "/reset?token="] {
            assert!(mail.data.contains(part), "{part}: {}", mail.data);
        }
        let row = post.row(id).await;
        assert_eq!((row.outcome(), row.attempts, row.wiped), (SENT, 1, true));
        let records = post.records(id).await;
        let [(action, result, details)] = records.as_slice() else { panic!("{records:?}") };
        assert_eq!((action.as_str(), result.as_str()), ("notice.send", "success"));
        assert_eq!(details["template"], "password_reset");
        assert_eq!(details["user_id"], json!(post.app.bank.users["customer"]));
    }
}

#[tokio::test]
async fn several_mails_share_a_connection() {
    let post = Post::open().await;
    let server = MailServer::start(SmtpSecurity::StartTls).await;
    for _ in 0..3 {
        post.news().await;
    }
    assert_eq!(post.send(&post.notices(mail_over(&server)), Channel::Email).await, 3);
    let count = |verb: &str| server.commands().iter().filter(|line| line.starts_with(verb)).count();
    assert_eq!((count("AUTH"), count("MAIL"), count("QUIT")), (1, 3, 1), "{:?}", server.commands());
}

#[tokio::test]
async fn nothing_is_said_to_a_server_that_cannot_be_trusted() {
    let post = Post::open().await;
    let id = post.code(Channel::Email).await;
    let honest = MailServer::start(SmtpSecurity::StartTls).await;
    let stripped = MailServer::start(SmtpSecurity::None).await;
    let another = Certificate::of("mail.evil.example");
    let strange = MailServer::start_as(SmtpSecurity::Implicit, another, 0).await;
    let mut wrong_password = honest.config();
    wrong_password.credentials = Some((USER.to_owned(), "wrong".to_owned().into()));
    let mut unknown_issuer = honest.config();
    unknown_issuer.roots = Some(strange.config().roots.unwrap());
    let mut no_tls_offered = stripped.config();
    no_tls_offered.security = SmtpSecurity::StartTls;
    let table = [
        (no_tls_offered, "no_starttls"),
        (unknown_issuer, "tls_refused"),
        (strange.config(), "tls_refused"),
        (wrong_password, "auth_535"),
    ];
    for (attempt, (config, error)) in (1..).zip(table) {
        let transports =
            Transports { email: Some(Arc::new(Smtp::new(config).unwrap())), sms: None };
        let notices = Notices::new(
            post.app.operations.clone(),
            Arc::clone(&post.app.keyring),
            transports,
            ORIGIN,
        );
        assert_eq!(post.send(&notices, Channel::Email).await, 0);
        let row = post.row(id).await;
        assert_eq!((row.outcome(), row.attempts), (("queued", Some(error)), attempt), "{error}");
        assert!(notices.is_resting(Channel::Email), "{error}");
        post.wait_s(60);
    }
    for server in [&honest, &stripped, &strange] {
        assert!(server.mails().is_empty());
        let commands = server.commands();
        assert!(!commands.iter().any(|line| line.starts_with("MAIL")), "{commands:?}");
    }
    let commands = stripped.commands();
    assert!(!commands.iter().any(|line| line.starts_with("AUTH")), "{commands:?}");
    // The one that is right is told.
    let (operations, keyring) = (post.app.operations.clone(), Arc::clone(&post.app.keyring));
    let notices = Notices::new(operations, keyring, mail_over(&honest), ORIGIN);
    assert_eq!(post.send(&notices, Channel::Email).await, 1);
}

#[tokio::test]
async fn what_a_mail_server_says_decides() {
    // What it answers to which command; the state and error that follow, and whether the
    // next attempt sends it.
    let table = [
        ("RCPT", "450 4.2.1 <jana@home.example> busy", "queued", Some("smtp_450"), true),
        ("RCPT", "550 5.1.1 <jana@home.example> unknown", "failed", Some("smtp_550"), false),
        ("MAIL", "553 5.1.8 sender", "failed", Some("smtp_553"), false),
        ("MAIL", "530 5.7.0 log in", "queued", Some("smtp_530"), true),
        ("DATA", "421 4.3.2 going down", "queued", Some("smtp_421"), true),
        (".", "451 4.3.0 later", "queued", Some("smtp_451"), true),
        (".", "554 5.7.1 jana@home.example is spam", "failed", Some("smtp_554"), false),
        (".", "HANG UP", "queued", Some("connection_lost"), true),
        ("EHLO", "421 4.3.2 not now", "queued", Some("connect_421"), true),
    ];
    let post = Post::open().await;
    for (command, answer, state, error, again) in table {
        let server = MailServer::start(SmtpSecurity::Implicit).await;
        let notices = post.notices(mail_over(&server));
        let id = post.news().await;
        server.answer(command, answer);
        assert_eq!(post.send(&notices, Channel::Email).await, 0, "{command} {answer}");
        let row = post.row(id).await;
        assert_eq!(row.outcome(), (state, error), "{command} {answer}");
        assert_eq!(row.wiped, state == "failed", "{command} {answer}");
        assert_eq!(post.send(&notices, Channel::Email).await, 0, "not before its time");
        post.wait_s(10);
        assert_eq!(post.send(&notices, Channel::Email).await == 1, again, "{command} {answer}");
        if again {
            let mails = server.mails();
            assert_eq!(mails.len(), 1, "{command} {answer}");
            assert_eq!(mails[0].header("Message-ID"), format!("<{id}@bank.example>"));
        } else {
            let records = post.records(id).await;
            assert_eq!((records.len(), records[0].1.as_str()), (1, "failed"), "{records:?}");
            assert_eq!(records[0].2["error"], json!(error));
        }
    }
}

#[tokio::test]
async fn one_is_tried_a_bounded_number_of_times() {
    let post = Post::open().await;
    let server = MailServer::start(SmtpSecurity::StartTls).await;
    let notices = post.notices(mail_over(&server));
    let id = post.news().await;
    let mut delays = Vec::new();
    for _ in 0..5 {
        server.answer(".", "451 4.3.0 later");
        post.send(&notices, Channel::Email).await;
        let sql = "SELECT extract(epoch FROM next_attempt_at)::bigint FROM notices WHERE id = $1";
        let next_s: i64 = post.app.superuser.query_one(sql, &[&id]).await.unwrap().get(0);
        delays.push(next_s - post.clock.now_s());
        post.wait_s(60);
    }
    assert!((3..=7).contains(&delays[0]) && (7..=13).contains(&delays[1]), "{delays:?}");
    let row = post.row(id).await;
    assert_eq!((row.outcome(), row.attempts), (("failed", Some("attempts_exhausted")), 3));
    assert!(row.wiped);
    assert_eq!(server.commands().iter().filter(|line| line.starts_with("MAIL")).count(), 3);
    let records = post.records(id).await;
    assert_eq!((records.len(), records[0].1.as_str()), (1, "failed"));
}

#[tokio::test]
async fn an_outage_loses_nothing_and_holds_up_nobody_else() {
    let post = Post::open().await;
    let (server, gateway) =
        (MailServer::start(SmtpSecurity::StartTls).await, SmsGateway::start().await);
    let transports = Transports { email: Some(server.transport()), sms: Some(gateway.transport()) };
    let left_port = server.config().port;
    drop(server);
    // A second one stands in for minutes: what rests is not asked again.
    let patience = Patience { first_rest: Duration::from_secs(60), ..Patience::default() };
    let (operations, keyring) = (post.app.operations.clone(), Arc::clone(&post.app.keyring));
    let notices = Notices::with_patience(operations, keyring, transports, ORIGIN, patience);
    let mails = [post.news().await, post.news().await, post.news().await];
    let sms = post.code(Channel::Sms).await;
    assert_eq!(post.send(&notices, Channel::Email).await, 0);
    assert!(notices.is_resting(Channel::Email) && !notices.is_resting(Channel::Sms));
    assert_eq!(post.send(&notices, Channel::Sms).await, 1);
    assert_eq!(post.row(sms).await.outcome(), SENT);
    for id in mails {
        assert_eq!(post.row(id).await.outcome(), ("queued", Some("unreachable")));
    }
    post.wait_s(30);
    assert_eq!(post.send(&notices, Channel::Email).await, 0, "it rests");
    assert_eq!(post.row(mails[0]).await.attempts, 1, "and is not tried");
    // It is back, and another node finds out.
    let server =
        MailServer::start_as(SmtpSecurity::StartTls, Certificate::of_localhost(), left_port).await;
    assert_eq!(post.send(&post.notices(mail_over(&server)), Channel::Email).await, 3);
    let ids: BTreeSet<String> =
        server.mails().iter().map(|mail| mail.header("Message-ID").to_owned()).collect();
    assert_eq!(ids, mails.map(|id| format!("<{id}@bank.example>")).into());
}
