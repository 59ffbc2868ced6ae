//! Who sees what: other tenants, the table, the log, and what cannot be written.

use std::io::Write;
use std::sync::{Arc, Mutex};

use notify::{Channel, Notice, SmtpSecurity, Template, Transports, enqueue};
use serde_json::json;
use tenancy::OpContext;

use super::mail_server::{MailServer, SMTP_PASSWORD};
use super::sms_gateway::{Instead, SmsGateway, TOKEN};
use super::{CODE, PHONE, Post, SENT, TO, mail_over};

#[tokio::test]
async fn tenants_do_not_see_each_others_notices() {
    let post = Post::open().await;
    post.app.add_bank("rival").await;
    let id = post.news().await;
    let theirs = OpContext { clock: post.clock.clone(), ..post.app.cli("rival").await };
    let server = MailServer::start(SmtpSecurity::StartTls).await;
    let notices = post.notices(mail_over(&server));
    assert_eq!(notices.send_due(&theirs, Channel::Email, || false).await.unwrap(), 0);
    assert!(notices.waiting(&theirs).await.unwrap().is_empty());
    assert_eq!(notices.waiting(&post.context).await.unwrap()[0].count, 1);
    post.wait_s(5 * 24 * 3_600);
    assert_eq!(notices.expire(&theirs).await.unwrap(), 0);
    assert_eq!(post.row(id).await.outcome(), ("queued", None));
    // Nor does the database show them, whatever a statement leaves out.
    let url = post.app.database.url_as("strongroom_app");
    let client = testkit::connect(&url).await;
    let set = format!("SELECT set_config('app.current_tenant', '{}', false)", theirs.tenant_id());
    client.batch_execute(&set).await.unwrap();
    let seen: i64 = client.query_one("SELECT count(*) FROM notices", &[]).await.unwrap().get(0);
    assert_eq!(seen, 0);
    let own = format!("SELECT set_config('app.current_tenant', '{}', false)", post.app.bank.id);
    client.batch_execute(&own).await.unwrap();
    let seen: i64 = client.query_one("SELECT count(*) FROM notices", &[]).await.unwrap().get(0);
    assert_eq!(seen, 1);
    // What is over stays over, and nobody but the queue decides whom one goes to.
    for statement in [
        "UPDATE notices SET user_id = NULL",
        "UPDATE notices SET expires_at = expires_at + interval '1 year'",
        "TRUNCATE notices",
    ] {
        let refused = client.batch_execute(statement).await.unwrap_err();
        assert_eq!(
            refused.code().map(tokio_postgres::error::SqlState::code),
            Some("42501"),
            "{statement}"
        );
    }
    client
        .batch_execute(
            "UPDATE notices SET state = 'failed', recipient_sealed = NULL, values_sealed = NULL",
        )
        .await
        .unwrap();
    let revived = client.batch_execute("UPDATE notices SET state = 'queued'").await.unwrap_err();
    assert_eq!(revived.code().map(tokio_postgres::error::SqlState::code), Some("23000"));
}

/// Everything that is logged while it lives.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn secrets_are_neither_in_the_table_nor_in_the_log() {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_writer(move || writer.clone())
        .finish();
    let _guard = tracing::subscriber::set_default(subscriber);
    let post = Post::open().await;
    let (server, gateway) =
        (MailServer::start(SmtpSecurity::StartTls).await, SmsGateway::start().await);
    let notices = post
        .notices(Transports { email: Some(server.transport()), sms: Some(gateway.transport()) });
    let link = "/reset?token=pwr_secret-of-the-link";
    let values = json!({ "link": link, "expires_at": post.in_s(1_800), "name": "Jana Nováková" });
    post.put(Channel::Email, Template::PasswordReset, values).await;
    post.code(Channel::Sms).await;
    let anonymous = json!({ "code": CODE, "expires_at": post.in_s(300) });
    let (channel, template) = (Channel::Email, Template::SignInCode);
    post.put_about(&Notice { channel, to: TO, user: None, template, values: anonymous }).await;
    let secrets = [TO, PHONE, CODE, "secret-of-the-link", "Nováková", SMTP_PASSWORD, TOKEN];
    let dump = async || {
        let sql = "SELECT coalesce(string_agg(to_jsonb(notice)::text, ''), '') FROM notices notice";
        let rows: String = post.app.superuser.query_one(sql, &[]).await.unwrap().get(0);
        let sql =
            "SELECT coalesce(string_agg(convert_from(record, 'UTF8'), ''), '') FROM audit_log";
        let records: String = post.app.superuser.query_one(sql, &[]).await.unwrap().get(0);
        format!("{rows}{records}")
    };
    let queued = dump().await;
    // Servers that quote the recipient, and then take it.
    server.answer("RCPT", "421 4.2.1 <jana@home.example> busy");
    gateway.answer(Instead { status: 500, retry_after: None, body: "no +420123456789 482_913" });
    post.send(&notices, Channel::Email).await;
    post.send(&notices, Channel::Sms).await;
    let deferred = dump().await;
    post.wait_s(10);
    let fresh = post
        .notices(Transports { email: Some(server.transport()), sms: Some(gateway.transport()) });
    let sent = post.send(&fresh, Channel::Email).await + post.send(&fresh, Channel::Sms).await;
    assert_eq!((sent, server.mails().len(), gateway.taken().len()), (3, 2, 1));
    let logged = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    assert!(logged.contains("notices cannot be sent now"), "it is the log: {logged}");
    for (place, text) in
        [("queued", queued), ("deferred", deferred), ("over", dump().await), ("log", logged)]
    {
        for secret in secrets {
            assert!(!text.contains(secret), "{secret} is in {place}: {text}");
        }
    }
}

#[tokio::test]
async fn what_is_rolled_back_is_never_sent() {
    let post = Post::open().await;
    let server = MailServer::start(SmtpSecurity::StartTls).await;
    let transaction = post.app.pool.begin(&post.context).await.unwrap();
    let keys = post.app.keyring.tenant_in(&transaction).await.unwrap();
    let (channel, template) = (Channel::Email, Template::PasswordChanged);
    let notice = Notice { channel, to: TO, user: None, template, values: json!({}) };
    enqueue(&transaction, &post.context, &keys, &notice).await.unwrap();
    transaction.rollback().await.unwrap();
    assert_eq!(post.send(&post.notices(mail_over(&server)), Channel::Email).await, 0);
    // Nor is what nobody can mean let in.
    let transaction = post.app.pool.begin(&post.context).await.unwrap();
    for (to, values) in [
        ("jana@home.example\r\nRCPT TO:<eve@evil.example>", json!({})),
        ("+420123456789", json!({})),
        (TO, json!({ "device": "a\r\nBcc: eve@evil.example" })),
        (TO, json!({ "unknown": 1 })),
    ] {
        let notice = Notice { channel, to, user: None, template, values };
        let refused = enqueue(&transaction, &post.context, &keys, &notice).await.unwrap_err();
        assert!(!refused.to_string().contains("eve"), "{refused}");
    }
    transaction.rollback().await.unwrap();
    let sql = "SELECT count(*) FROM notices";
    assert_eq!(post.app.superuser.query_one(sql, &[]).await.unwrap().get::<_, i64>(0), 0);
}

#[tokio::test]
async fn what_cannot_be_written_is_given_up_and_does_not_hold_up_the_next() {
    let post = Post::open().await;
    let server = MailServer::start(SmtpSecurity::StartTls).await;
    let until = post.in_s(1_800);
    let foreign = json!({ "link": "https://evil.example/reset", "expires_at": until });
    let foreign = post.put(Channel::Email, Template::PasswordReset, foreign).await;
    let second = post.app.bank.users["second"];
    let (channel, template) = (Channel::Email, Template::PasswordChanged);
    let notice = Notice { channel, to: TO, user: Some(second), template, values: json!({}) };
    let erased = post.put_about(&notice).await;
    let shred =
        "UPDATE subject_keys SET wrapped_key = NULL, shredded_at = now() WHERE subject_id = $1";
    post.app.superuser.execute(shred, &[&second]).await.unwrap();
    // The key of somebody does not open, and of another notice the header names a living key
    // of another tenant.
    let officer = post.app.bank.users["officer"];
    let keyless = post.put_about(&Notice { user: Some(officer), ..notice.clone() }).await;
    let tamper = "UPDATE subject_keys SET wrapped_key = (SELECT wrapped_key FROM subject_keys other \
        WHERE other.wrapped_key IS NOT NULL AND other.subject_id <> $1 LIMIT 1) WHERE subject_id = $1";
    post.app
        .superuser
        .batch_execute("ALTER TABLE subject_keys DISABLE TRIGGER USER")
        .await
        .unwrap();
    assert_eq!(post.app.superuser.execute(tamper, &[&officer]).await.unwrap(), 1);
    post.app.add_bank("elsewhere").await;
    let theirs = post.news().await;
    let tamper = "UPDATE notices SET values_sealed = overlay(values_sealed PLACING uuid_send((SELECT key_id \
        FROM data_keys other WHERE other.tenant_id <> notices.tenant_id AND other.purpose = 'field_data')) FROM 2) \
        WHERE id = $1";
    post.app.superuser.execute(tamper, &[&theirs]).await.unwrap();
    let moved = post.news().await;
    let tamper = "UPDATE notices SET values_sealed = (SELECT values_sealed FROM notices WHERE id = $2) WHERE id = $1";
    let good = post.news().await;
    post.app.superuser.execute(tamper, &[&moved, &good]).await.unwrap();
    assert_eq!(post.send(&post.notices(mail_over(&server)), Channel::Email).await, 1);
    for (id, error) in [
        (foreign, "foreign_link"),
        (erased, "erased"),
        (keyless, "unreadable"),
        (theirs, "unreadable"),
        (moved, "unreadable"),
    ] {
        let row = post.row(id).await;
        assert_eq!((row.outcome(), row.wiped), (("failed", Some(error)), true));
    }
    assert_eq!(post.row(good).await.outcome(), SENT);
    // Nobody is told anything about somebody who is erased.
    let transaction = post.app.pool.begin(&post.context).await.unwrap();
    let keys = post.app.keyring.tenant_in(&transaction).await.unwrap();
    assert!(enqueue(&transaction, &post.context, &keys, &notice).await.is_err());
}
