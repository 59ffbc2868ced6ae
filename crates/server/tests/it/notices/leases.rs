//! At least once, and once while nobody dies: leases, ends, and a real server that is killed.

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use notify::{Channel, Notice, SmtpSecurity, Template, enqueue};
use serde_json::json;

use super::mail_server::{FROM, MailServer, SMTP_PASSWORD};
use super::{CODE, Post, SENT, TO, mail_over};
use crate::crash::place::{Server, Urls};

#[tokio::test]
async fn a_code_is_never_sent_after_its_end() {
    let post = Post::open().await;
    let server = MailServer::start(SmtpSecurity::StartTls).await;
    let notices = post.notices(mail_over(&server));
    let id = post.code(Channel::Email).await;
    assert_eq!(notices.expire(&post.context).await.unwrap(), 0, "not yet");
    post.wait_s(300);
    assert_eq!(post.send(&notices, Channel::Email).await, 0, "the worker need not have swept");
    assert_eq!(post.row(id).await.outcome(), ("queued", None));
    assert_eq!(notices.expire(&post.context).await.unwrap(), 1);
    assert_eq!(notices.expire(&post.context).await.unwrap(), 0);
    let row = post.row(id).await;
    assert_eq!((row.outcome(), row.wiped), (("failed", Some("expired")), true));
    let records = post.records(id).await;
    assert_eq!((records[0].0.as_str(), records[0].1.as_str()), ("notice.expire", "failed"));
    assert!(server.commands().is_empty());
    // One that is over already does not get in.
    let transaction = post.app.pool.begin(&post.context).await.unwrap();
    let keys = post.app.keyring.tenant_in(&transaction).await.unwrap();
    let values = json!({ "code": CODE, "expires_at": post.in_s(-1) });
    let (channel, template) = (Channel::Email, Template::SignInCode);
    let late = Notice { channel, to: TO, user: None, template, values };
    let refused = enqueue(&transaction, &post.context, &keys, &late).await.unwrap_err();
    assert_eq!(refused.constraint(), Some("notices_expire_later"));
}

#[tokio::test]
async fn a_worker_that_dies_in_the_middle_is_taken_over_from() {
    let post = Post::open().await;
    let server = MailServer::start(SmtpSecurity::StartTls).await;
    let (first, second) = (post.news().await, post.news().await);
    server.answer(".", "STALL");
    let (dying, context) = (post.notices(mail_over(&server)), post.context.clone());
    let worker =
        tokio::spawn(
            async move { dying.send_due(&context, Channel::Email, || false).await.map(drop) },
        );
    while server.mails().is_empty() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    // The server has it, and nobody has written so.
    worker.abort();
    assert!(worker.await.unwrap_err().is_cancelled());
    let survivor = post.notices(mail_over(&server));
    assert_eq!(post.row(first).await.outcome(), ("sending", None));
    assert_eq!(post.send(&survivor, Channel::Email).await, 0, "the lease still runs");
    assert_eq!(survivor.expire(&post.context).await.unwrap(), 0);
    post.wait_s(121);
    assert_eq!(post.send(&survivor, Channel::Email).await, 2);
    for id in [first, second] {
        assert_eq!((post.row(id).await.outcome(), post.row(id).await.attempts), (SENT, 2));
    }
    let ids: Vec<String> =
        server.mails().iter().map(|mail| mail.header("Message-ID").to_owned()).collect();
    assert_eq!(ids.len(), 3, "the one that was taken twice: {ids:?}");
    let told: BTreeSet<String> = ids.into_iter().collect();
    assert_eq!(told, [first, second].map(|id| format!("<{id}@bank.example>")).into());
}

/// Asks until it is so.
async fn until(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !is_so().await {
        assert!(Instant::now() < deadline, "never: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_real_server_killed_in_the_middle_sends_when_it_is_back() {
    let mut post = Post::open().await;
    // The real server's clock.
    post.context = post.app.cli("bank").await;
    let mails = MailServer::start(SmtpSecurity::StartTls).await;
    let ids = [post.news().await, post.news().await, post.news().await];
    mails.answer(".", "STALL");
    let url = post.app.database.superuser_url();
    let (config, key) = (mails.config(), "07".repeat(32));
    let login = "strongroom%40bank.example:p%3Aw%2Fd-of-the-mail-server";
    let smtp_url = format!("smtp://{login}@localhost:{}", config.port);
    let roots = config.roots.unwrap();
    let settings = [
        ("ENCRYPTION_KEY", key.as_str()),
        ("LOG_LEVEL", "trace"),
        ("SMTP_URL", smtp_url.as_str()),
        ("SMTP_FROM", FROM),
        ("SMTP_CA_FILE", roots.to_str().unwrap()),
    ];
    let urls = Urls { app: url.clone(), sealer: url };
    let mut server = Server::start(urls, &settings).await;
    until("the mail server has the first", async || !mails.mails().is_empty()).await;
    server.kill();
    let taken = mails.mails().len();
    assert_eq!(taken, 1);
    // Two minutes later.
    let later = "UPDATE notices SET next_attempt_at = now() WHERE state = 'sending'";
    assert_eq!(post.app.superuser.execute(later, &[]).await.unwrap(), 3);
    server.start_again();
    until("all are sent", async || {
        let sql = "SELECT count(*) FROM notices WHERE state = 'sent'";
        post.app.superuser.query_one(sql, &[]).await.unwrap().get::<_, i64>(0) == 3
    })
    .await;
    let mut sent: Vec<String> =
        mails.mails().iter().map(|mail| mail.header("Message-ID").to_owned()).collect();
    assert_eq!(sent.len(), 4, "the first twice, each other once: {sent:?}");
    sent.sort();
    sent.dedup();
    let mut expected = ids.map(|id| format!("<{id}@bank.example>"));
    expected.sort();
    assert_eq!(sent, expected);
    server.kill();
    let log = std::fs::read_to_string(server.folder().join("log.jsonl")).unwrap();
    assert!(log.contains("\"ready\""), "it is the log: {log}");
    for secret in [TO, SMTP_PASSWORD, "p%3Aw%2Fd", key.as_str()] {
        assert!(!log.contains(secret), "{secret}: {log}");
    }
}

#[tokio::test]
async fn a_worker_that_was_too_slow_changes_nothing() {
    let post = Post::open().await;
    let server = MailServer::start(SmtpSecurity::StartTls).await;
    let id = post.news().await;
    // Held up until somebody else has sent it; then it hears that the mail is refused.
    server.answer("MAIL", "LATE");
    let (slow, context) = (post.notices(mail_over(&server)), post.context.clone());
    let worker =
        tokio::spawn(async move { slow.send_due(&context, Channel::Email, || false).await });
    while !server.commands().iter().any(|line| line.starts_with("MAIL")) {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    post.wait_s(121);
    assert_eq!(post.send(&post.notices(mail_over(&server)), Channel::Email).await, 1);
    server.release();
    assert_eq!(worker.await.unwrap().unwrap(), 0);
    let row = post.row(id).await;
    assert_eq!((row.outcome(), row.attempts), (SENT, 2), "the lease was no longer its own");
    assert_eq!(server.mails().len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_workers_send_each_notice_once() {
    let post = Post::open().await;
    let server = MailServer::start(SmtpSecurity::StartTls).await;
    let mut expected = BTreeSet::new();
    for _ in 0..60 {
        expected.insert(format!("<{}@bank.example>", post.news().await));
    }
    let workers = (0..8).map(|_| {
        let (notices, context) = (post.notices(mail_over(&server)), post.context.clone());
        tokio::spawn(async move { notices.send_due(&context, Channel::Email, || false).await })
    });
    let mut sent = 0;
    for worker in workers.collect::<Vec<_>>() {
        sent += worker.await.unwrap().unwrap();
    }
    let ids: Vec<String> =
        server.mails().iter().map(|mail| mail.header("Message-ID").to_owned()).collect();
    assert_eq!((sent, ids.len()), (60, 60));
    assert_eq!(ids.into_iter().collect::<BTreeSet<_>>(), expected);
}

#[tokio::test]
async fn a_worker_that_is_told_to_stop_leaves_the_rest_to_others() {
    let post = Post::open().await;
    let server = MailServer::start(SmtpSecurity::StartTls).await;
    let ids = [post.news().await, post.news().await];
    let asked = Mutex::new(0);
    let is_stopping = || {
        let mut asked = asked.lock().unwrap();
        *asked += 1;
        // Before the batch and before the first of it: go on. Then stop.
        *asked > 2
    };
    let notices = post.notices(mail_over(&server));
    assert_eq!(notices.send_due(&post.context, Channel::Email, is_stopping).await.unwrap(), 1);
    let mut states: Vec<String> = Vec::new();
    for id in ids {
        states.push(post.row(id).await.state);
    }
    states.sort();
    assert_eq!(states, ["queued", "sent"]);
    assert_eq!(post.send(&post.notices(mail_over(&server)), Channel::Email).await, 1, "at once");
}

#[tokio::test]
async fn what_is_long_over_is_forgotten() {
    let post = Post::open().await;
    let server = MailServer::start(SmtpSecurity::StartTls).await;
    let notices = post.notices(mail_over(&server));
    post.news().await;
    assert_eq!(post.send(&notices, Channel::Email).await, 1);
    post.wait_s(89 * 24 * 3_600);
    let young = post.news().await;
    assert_eq!(notices.forget(&post.context).await.unwrap(), 0);
    post.wait_s(2 * 24 * 3_600);
    assert_eq!(notices.forget(&post.context).await.unwrap(), 1);
    assert_eq!(post.row(young).await.outcome(), ("queued", None), "what waits is not over");
}
