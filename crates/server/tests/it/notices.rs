//! Messages to people, over a real mail server's protocol with real TLS and a real HTTP
//! gateway: what leaves, what is tried again, what is given up, and what never leaves.

mod certificate;
mod mail_server;
mod sms_gateway;

use std::collections::BTreeSet;
use std::io::Write;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use notify::{
    Branding, Channel, Folder, Notice, Notices, Patience, SetBranding, Smtp, SmtpSecurity,
    Template, Transports, enqueue,
};
use operation::{Call, OperationError};
use serde_json::{Value, json};
use tenancy::{Actor, Clock, OpContext};
use uuid::Uuid;

use crate::crash::place::{Server, Urls};
use crate::harness::App;
use certificate::Certificate;
use mail_server::{FROM, MailServer, SMTP_PASSWORD, USER};
use sms_gateway::{Instead, NUMBER, SmsGateway, TOKEN};

const ORIGIN: &str = "https://bank.example";
const TO: &str = "jana@home.example";
const PHONE: &str = "+420123456789";
/// Such as no id, number or time in a log holds by chance.
const CODE: &str = "482_913";
const SENT: (&str, Option<&str>) = ("sent", None);

/// The bank, with a clock that stands still, and a queue.
struct Post {
    app: App,
    context: OpContext,
    clock: Clock,
}

/// A notice as its row tells it.
#[derive(Debug, PartialEq, Eq)]
struct Row {
    state: String,
    attempts: i32,
    error: Option<String>,
    wiped: bool,
}

impl Row {
    fn outcome(&self) -> (&str, Option<&str>) {
        (&self.state, self.error.as_deref())
    }
}

impl Post {
    async fn open() -> Self {
        let app = App::start().await;
        let clock = Clock::manual(app.clock.now());
        let context = OpContext { clock: clock.clone(), ..app.cli("bank").await };
        Self { app, context, clock }
    }

    fn notices(&self, transports: Transports) -> Notices {
        let patience = Patience {
            attempts_max: 3,
            first_rest: Duration::from_millis(1),
            ..Patience::default()
        };
        let (operations, keyring) = (self.app.operations.clone(), Arc::clone(&self.app.keyring));
        Notices::with_patience(operations, keyring, transports, ORIGIN, patience)
    }

    async fn put(&self, channel: Channel, template: Template, values: Value) -> Uuid {
        let to = if channel == Channel::Email { TO } else { PHONE };
        let user = self.app.bank.users.get("customer").copied();
        self.put_about(&Notice { channel, to, user, template, values }).await
    }

    async fn put_about(&self, notice: &Notice<'_>) -> Uuid {
        let transaction = self.app.pool.begin(&self.context).await.unwrap();
        let keys = self.app.keyring.tenant_in(&transaction).await.unwrap();
        let id = enqueue(&transaction, &self.context, &keys, notice).await.unwrap();
        transaction.commit().await.unwrap();
        id
    }

    async fn code(&self, channel: Channel) -> Uuid {
        let values = json!({ "code": CODE, "expires_at": self.in_s(300) });
        self.put(channel, Template::SignInCode, values).await
    }

    async fn news(&self) -> Uuid {
        self.put(Channel::Email, Template::PasswordChanged, json!({})).await
    }

    fn in_s(&self, seconds: i64) -> Timestamp {
        self.clock.now().checked_add(SignedDuration::from_secs(seconds)).unwrap()
    }

    fn wait_s(&self, seconds: i64) {
        self.clock.advance(SignedDuration::from_secs(seconds));
    }

    async fn row(&self, id: Uuid) -> Row {
        let sql = "SELECT state, attempts, last_error, recipient_sealed IS NULL AND values_sealed IS NULL \
                   FROM notices WHERE id = $1";
        let row = self.app.superuser.query_one(sql, &[&id]).await.unwrap();
        Row { state: row.get(0), attempts: row.get(1), error: row.get(2), wiped: row.get(3) }
    }

    /// What the audit log says of a notice: action, result and details.
    async fn records(&self, id: Uuid) -> Vec<(String, String, Value)> {
        let sql = "SELECT action, result::text, convert_from(record, 'UTF8') FROM audit_log \
                   WHERE resource_id = $1 ORDER BY event_id";
        let rows = self.app.superuser.query(sql, &[&id]).await.unwrap();
        rows.iter()
            .map(|row| {
                let record: Value = serde_json::from_str(row.get(2)).unwrap();
                (row.get(0), row.get(1), record["details"].clone())
            })
            .collect()
    }

    async fn send(&self, notices: &Notices, channel: Channel) -> u64 {
        // After an outage it rests for a millisecond.
        tokio::time::sleep(Duration::from_millis(10)).await;
        notices.send_due(&self.context, channel, || false).await.unwrap()
    }
}

fn mail_over(server: &MailServer) -> Transports {
    Transports { email: Some(server.transport()), sms: None }
}

fn sms_over(gateway: &SmsGateway) -> Transports {
    Transports { email: None, sms: Some(gateway.transport()) }
}

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
    let port = server.config().port;
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
        MailServer::start_as(SmtpSecurity::StartTls, Certificate::of_localhost(), port).await;
    assert_eq!(post.send(&post.notices(mail_over(&server)), Channel::Email).await, 3);
    let ids: BTreeSet<String> =
        server.mails().iter().map(|mail| mail.header("Message-ID").to_owned()).collect();
    assert_eq!(ids, mails.map(|id| format!("<{id}@bank.example>")).into());
}

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
async fn a_gateway_is_asked_as_twilio_is() {
    let post = Post::open().await;
    let gateway = SmsGateway::start().await;
    let id = post.code(Channel::Sms).await;
    assert_eq!(post.send(&post.notices(sms_over(&gateway)), Channel::Sms).await, 1);
    let taken = gateway.taken();
    let [sms] = taken.as_slice() else { panic!("{taken:?}") };
    assert_eq!((sms.fields["To"].as_str(), sms.fields["From"].as_str()), (PHONE, NUMBER));
    assert!(sms.fields["Body"].starts_with(&format!("bank: {CODE} is your code")), "{sms:?}");
    assert_eq!(sms.key, id.to_string());
    assert_eq!((post.row(id).await.outcome(), post.row(id).await.wiped), (SENT, true));
}

#[tokio::test]
async fn what_a_gateway_says_decides() {
    let instead = |status, retry_after, body| Instead { status, retry_after, body };
    // The answer; the state and error that follow; when it is tried again, if it is.
    let table = [
        (instead(429, Some("90"), "{}"), "queued", Some("gateway_429"), Some((89, 91))),
        (instead(429, None, "busy"), "queued", Some("gateway_429"), Some((3, 7))),
        (instead(500, None, ""), "queued", Some("gateway_500"), Some((3, 7))),
        (instead(503, Some("999999"), ""), "queued", Some("gateway_503"), Some((3_599, 3_601))),
        (
            instead(400, None, r#"{"code":21211,"message":"'To' +420123456789 is invalid"}"#),
            "failed",
            Some("gateway_400_21211"),
            None,
        ),
        (
            instead(401, None, r#"{"code":20003}"#),
            "queued",
            Some("gateway_401_20003"),
            Some((3, 7)),
        ),
        (instead(302, None, ""), "queued", Some("gateway_302"), Some((3, 7))),
    ];
    let post = Post::open().await;
    for (answer, state, error, next) in table {
        let gateway = SmsGateway::start().await;
        let notices = post.notices(sms_over(&gateway));
        let id = post.put(Channel::Sms, Template::PhoneChanged, json!({})).await;
        gateway.answer(answer);
        assert_eq!(post.send(&notices, Channel::Sms).await, 0, "{answer:?}");
        let row = post.row(id).await;
        assert_eq!((row.outcome(), row.wiped), ((state, error), state == "failed"), "{answer:?}");
        let Some((least, most)) = next else { continue };
        let sql = "SELECT extract(epoch FROM next_attempt_at)::bigint FROM notices WHERE id = $1";
        let next_s: i64 = post.app.superuser.query_one(sql, &[&id]).await.unwrap().get(0);
        let delay_s = next_s - post.clock.now_s();
        assert!((least..=most).contains(&delay_s), "{answer:?}: {delay_s}");
        post.wait_s(most);
        let fresh = post.notices(sms_over(&gateway));
        assert_eq!(post.send(&fresh, Channel::Sms).await, 1, "{answer:?}");
        assert_eq!((gateway.asked(), gateway.taken()[0].key.clone()), (2, id.to_string()));
    }
}

#[tokio::test]
async fn a_wrong_token_sends_nothing_and_is_no_fault_of_the_message() {
    let post = Post::open().await;
    let gateway = SmsGateway::start().await;
    let id = post.code(Channel::Sms).await;
    let mut config = gateway.config();
    config.auth_token = "another".to_owned().into();
    let sms = Some(Arc::new(notify::Gateway::new(config).unwrap()) as Arc<dyn notify::Transport>);
    let notices = post.notices(Transports { email: None, sms });
    assert_eq!(post.send(&notices, Channel::Sms).await, 0);
    assert_eq!(post.row(id).await.outcome(), ("queued", Some("gateway_401_20003")));
    assert!(gateway.taken().is_empty());
    // Nor is it said to a gateway whose certificate nobody vouches for.
    let mut config = gateway.config();
    config.roots = Some(Certificate::of("localhost").roots().to_owned());
    assert!(notify::Gateway::new(config).is_err(), "the file is gone");
    let strange = Certificate::of("localhost");
    let mut config = gateway.config();
    config.roots = Some(strange.roots().to_owned());
    let sms = Some(Arc::new(notify::Gateway::new(config).unwrap()) as Arc<dyn notify::Transport>);
    post.wait_s(10);
    assert_eq!(post.send(&post.notices(Transports { email: None, sms }), Channel::Sms).await, 0);
    assert_eq!(post.row(id).await.outcome(), ("queued", Some("tls_refused")));
    assert_eq!(gateway.asked(), 1);
}

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
        assert_eq!(refused.code().map(|code| code.code()), Some("42501"), "{statement}");
    }
    client
        .batch_execute(
            "UPDATE notices SET state = 'failed', recipient_sealed = NULL, values_sealed = NULL",
        )
        .await
        .unwrap();
    let revived = client.batch_execute("UPDATE notices SET state = 'queued'").await.unwrap_err();
    assert_eq!(revived.code().map(|code| code.code()), Some("23000"));
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
    server.answer("RCPT", "450 4.2.1 <jana@home.example> busy");
    gateway.answer(Instead { status: 500, retry_after: None, body: "no +420123456789 482_913" });
    post.send(&notices, Channel::Email).await;
    post.send(&notices, Channel::Sms).await;
    let deferred = dump().await;
    post.wait_s(10);
    let fresh = post
        .notices(Transports { email: Some(server.transport()), sms: Some(gateway.transport()) });
    let sent = post.send(&fresh, Channel::Email).await + post.send(&fresh, Channel::Sms).await;
    // The second mail was taken the first time.
    assert_eq!((sent, server.mails().len(), gateway.taken().len()), (2, 2, 1));
    let logged = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    assert!(logged.len() > 1_000, "it is the log: {logged}");
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
    let moved = post.news().await;
    let tamper = "UPDATE notices SET values_sealed = (SELECT values_sealed FROM notices WHERE id = $2) WHERE id = $1";
    let good = post.news().await;
    post.app.superuser.execute(tamper, &[&moved, &good]).await.unwrap();
    assert_eq!(post.send(&post.notices(mail_over(&server)), Channel::Email).await, 1);
    for (id, error) in [(foreign, "foreign_link"), (erased, "erased"), (moved, "unreadable")] {
        let row = post.row(id).await;
        assert_eq!((row.outcome(), row.wiped), (("failed", Some(error)), true));
    }
    assert_eq!(post.row(good).await.outcome(), SENT);
    // Nobody is told anything about somebody who is erased.
    let transaction = post.app.pool.begin(&post.context).await.unwrap();
    let keys = post.app.keyring.tenant_in(&transaction).await.unwrap();
    assert!(enqueue(&transaction, &post.context, &keys, &notice).await.is_err());
}

#[tokio::test]
async fn a_tenants_look_is_its_admins_to_choose() {
    let post = Post::open().await;
    let server = MailServer::start(SmtpSecurity::StartTls).await;
    let branding = Branding {
        display_name: Some("Horní banka".to_owned()),
        logo_text: Some("HB".to_owned()),
        brand_colour: Some("#0a6b3d".to_owned()),
        support_address: Some("help@bank.example".to_owned()),
    };
    let choose = async |role: &str, branding: Branding| {
        let actor = Actor::user(post.app.bank.users[role], vec![role.to_owned()]);
        let context = OpContext { actor, ..post.context.clone() };
        let call = Call { context, idempotency_key: None, command: SetBranding { branding } };
        post.app.operations.run_one(call).await
    };
    let refused = choose("customer", branding.clone()).await.unwrap_err();
    assert!(
        matches!(&refused, OperationError::Refused(refusal) if refusal.kind.status() == 403),
        "{refused}"
    );
    let two_lines =
        Branding { display_name: Some("a\r\nBcc: b".to_owned()), ..Branding::default() };
    let refused = choose("admin", two_lines).await.unwrap_err();
    assert!(
        matches!(&refused, OperationError::Refused(refusal) if refusal.kind.status() == 422),
        "{refused}"
    );
    choose("admin", branding.clone()).await.unwrap();
    choose("admin", branding).await.unwrap();
    post.news().await;
    assert_eq!(post.send(&post.notices(mail_over(&server)), Channel::Email).await, 1);
    let mail = &server.mails()[0];
    assert_eq!(mail.header("Reply-To"), "help@bank.example");
    assert!(mail.header("From").contains("=?utf-8?"), "{}", mail.header("From"));
    assert!(mail.data.contains("#0a6b3d") || mail.data.contains("0a6b3d"), "{}", mail.data);
    let sql =
        "SELECT count(*) FROM audit_log WHERE action = 'branding.update' AND result = 'success'";
    assert_eq!(post.app.superuser.query_one(sql, &[]).await.unwrap().get::<_, i64>(0), 2);
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

#[tokio::test]
async fn in_development_they_are_written_for_their_owner_alone() {
    use std::os::unix::fs::PermissionsExt as _;
    let post = Post::open().await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notices");
    let transport: Arc<dyn notify::Transport> = Arc::new(Folder::new(&path));
    let notices =
        post.notices(Transports { email: Some(Arc::clone(&transport)), sms: Some(transport) });
    let id = post.code(Channel::Email).await;
    let other = post.code(Channel::Sms).await;
    assert_eq!(
        post.send(&notices, Channel::Email).await + post.send(&notices, Channel::Sms).await,
        2
    );
    for name in [format!("{id}.email.txt"), format!("{id}.html"), format!("{other}.sms.txt")] {
        let file = path.join(&name);
        assert!(std::fs::read_to_string(&file).unwrap().contains(CODE), "{name}");
        assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600, "{name}");
    }
}
