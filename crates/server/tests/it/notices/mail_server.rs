//! A mail server as far as a client can tell: greeting, EHLO, STARTTLS or TLS at once, AUTH,
//! envelope and data. It takes mail only over TLS and after a login, answers otherwise where
//! a test says so, and keeps what it took.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use notify::{Smtp, SmtpConfig, SmtpSecurity};
use tokio::io::{AsyncBufReadExt as _, AsyncRead, AsyncWrite, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use zeroize::Zeroizing;

use super::certificate::Certificate;

pub(super) const USER: &str = "strongroom@bank.example";
pub(super) const SMTP_PASSWORD: &str = "p:w/d-of-the-mail-server";
pub(super) const FROM: &str = "no-reply@bank.example";

/// A mail that was taken.
#[derive(Clone, Debug)]
pub(super) struct Mail {
    pub(super) from: String,
    pub(super) to: Vec<String>,
    pub(super) data: String,
}

impl Mail {
    /// A header's value.
    pub(super) fn header(&self, name: &str) -> &str {
        let opening = format!("{name}: ");
        let line = self.data.lines().find_map(|line| line.strip_prefix(&opening));
        line.unwrap_or_default()
    }
}

#[derive(Default)]
struct Book {
    mails: Vec<Mail>,
    /// Every command, that no password stands in.
    commands: Vec<String>,
    /// Answers in the place of the usual one, by command; `.` is the end of the data.
    instead: BTreeMap<&'static str, VecDeque<&'static str>>,
    released: bool,
}

/// The server; gone when dropped.
pub(super) struct MailServer {
    port: u16,
    security: SmtpSecurity,
    certificate: Arc<Certificate>,
    book: Arc<Mutex<Book>>,
    task: JoinHandle<()>,
}

impl MailServer {
    pub(super) async fn start(security: SmtpSecurity) -> Self {
        Self::start_as(security, Certificate::of_localhost(), 0).await
    }

    /// On that port; `security` none offers no STARTTLS.
    pub(super) async fn start_as(
        security: SmtpSecurity,
        certificate: Certificate,
        port: u16,
    ) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", port)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (certificate, book) = (Arc::new(certificate), Arc::new(Mutex::new(Book::default())));
        let (shown, kept) = (Arc::clone(&certificate), Arc::clone(&book));
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (certificate, book) = (Arc::clone(&shown), Arc::clone(&kept));
                tokio::spawn(async move { accept(stream, security, &certificate, &book).await });
            }
        });
        Self { port, security, certificate, book, task }
    }

    /// How its clients reach it; `host` is what they call it.
    pub(super) fn config(&self) -> SmtpConfig {
        SmtpConfig {
            host: "localhost".to_owned(),
            port: self.port,
            security: self.security,
            credentials: Some((USER.to_owned(), Zeroizing::new(SMTP_PASSWORD.to_owned()))),
            from: FROM.to_owned(),
            roots: Some(self.certificate.roots().to_owned()),
        }
    }

    pub(super) fn transport(&self) -> Arc<Smtp> {
        Arc::new(Smtp::new(self.config()).unwrap())
    }

    pub(super) fn mails(&self) -> Vec<Mail> {
        self.book.lock().unwrap().mails.clone()
    }

    pub(super) fn commands(&self) -> Vec<String> {
        self.book.lock().unwrap().commands.clone()
    }

    /// Answers a command so, once, after whatever was said before about it. `STALL` never
    /// answers, `LATE` refuses once it is released, `HANG UP` closes.
    pub(super) fn answer(&self, command: &'static str, with: &'static str) {
        self.book.lock().unwrap().instead.entry(command).or_default().push_back(with);
    }

    /// Lets go what is `LATE`.
    pub(super) fn release(&self) {
        self.book.lock().unwrap().released = true;
    }
}

impl Drop for MailServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn accept(
    stream: TcpStream,
    security: SmtpSecurity,
    certificate: &Certificate,
    book: &Mutex<Book>,
) -> Option<()> {
    if security == SmtpSecurity::Implicit {
        let stream = certificate.acceptor.accept(stream).await.ok()?;
        let mut talk = Talk { stream: BufReader::new(stream), book, secure: true, known: false };
        talk.say("220 mail.bank.example").await?;
        talk.converse(false).await?;
        return Some(());
    }
    let offers = security == SmtpSecurity::StartTls;
    let mut talk = Talk { stream: BufReader::new(stream), book, secure: false, known: false };
    talk.say("220 mail.bank.example").await?;
    talk.converse(offers).await?;
    // STARTTLS was asked for.
    let stream = certificate.acceptor.accept(talk.stream.into_inner()).await.ok()?;
    let mut talk = Talk { stream: BufReader::new(stream), book, secure: true, known: false };
    talk.converse(false).await
}

struct Talk<'a, S> {
    stream: BufReader<S>,
    book: &'a Mutex<Book>,
    secure: bool,
    known: bool,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Talk<'_, S> {
    async fn say(&mut self, answer: &str) -> Option<()> {
        self.stream.write_all(format!("{answer}\r\n").as_bytes()).await.ok()?;
        self.stream.flush().await.ok()
    }

    async fn line(&mut self) -> Option<String> {
        let mut line = String::new();
        let read = self.stream.read_line(&mut line).await.ok()?;
        (read > 0).then(|| line.trim_end_matches("\r\n").to_owned())
    }

    /// Until the client leaves, or asks for TLS.
    async fn converse(&mut self, offers_tls: bool) -> Option<()> {
        let (mut from, mut to) = (String::new(), Vec::new());
        loop {
            let line = self.line().await?;
            let verb = line.split([' ', ':']).next().unwrap_or_default().to_uppercase();
            let noted = if verb == "AUTH" { "AUTH".to_owned() } else { line.clone() };
            self.book.lock().unwrap().commands.push(noted);
            if let Some(instead) = self.instead(&verb) {
                self.instead_say(instead).await?;
                continue;
            }
            match verb.as_str() {
                "EHLO" => self.hello(offers_tls).await?,
                "STARTTLS" if offers_tls => return self.say("220 go ahead").await,
                "AUTH" => {
                    let expected = STANDARD.encode(format!("\0{USER}\0{SMTP_PASSWORD}"));
                    self.known = self.secure && line == format!("AUTH PLAIN {expected}");
                    let answer = if self.known { "235 welcome" } else { "535 5.7.8 no" };
                    self.say(answer).await?;
                }
                "NOOP" => self.say("250 ok").await?,
                "QUIT" => {
                    self.say("221 bye").await?;
                    return None;
                }
                _ if !self.known => self.say("530 5.7.0 log in first").await?,
                "MAIL" => {
                    from = between(&line);
                    self.say("250 ok").await?;
                }
                "RCPT" => {
                    to.push(between(&line));
                    self.say("250 ok").await?;
                }
                "DATA" => {
                    self.say("354 go on").await?;
                    let data = self.data().await?;
                    let instead = self.instead(".");
                    if instead.is_none_or(|instead| instead == "STALL") {
                        let mail = Mail { from: from.clone(), to: std::mem::take(&mut to), data };
                        self.book.lock().unwrap().mails.push(mail);
                    }
                    self.instead_say(instead.unwrap_or("250 taken")).await?;
                }
                _ => self.say("500 what").await?,
            }
        }
    }

    fn instead(&self, verb: &str) -> Option<&'static str> {
        self.book.lock().unwrap().instead.get_mut(verb)?.pop_front()
    }

    async fn instead_say(&mut self, answer: &str) -> Option<()> {
        match answer {
            "STALL" => std::future::pending().await,
            "LATE" => {
                while !self.book.lock().unwrap().released {
                    tokio::time::sleep(std::time::Duration::from_millis(5)).await;
                }
                self.say("550 5.7.1 too late").await
            }
            "HANG UP" => None,
            answer => self.say(answer).await,
        }
    }

    async fn hello(&mut self, offers_tls: bool) -> Option<()> {
        let mut lines = vec!["mail.bank.example", "8BITMIME", "SMTPUTF8"];
        if offers_tls {
            lines.push("STARTTLS");
        }
        if self.secure {
            lines.push("AUTH PLAIN LOGIN");
        }
        let last = lines.len() - 1;
        for (position, line) in lines.into_iter().enumerate() {
            let dash = if position == last { ' ' } else { '-' };
            self.say(&format!("250{dash}{line}")).await?;
        }
        Some(())
    }

    async fn data(&mut self) -> Option<String> {
        let mut data = String::new();
        loop {
            let line = self.line().await?;
            if line == "." {
                return Some(data);
            }
            data.push_str(line.strip_prefix('.').unwrap_or(&line));
            data.push('\n');
        }
    }
}

fn between(line: &str) -> String {
    let (_, rest) = line.split_once('<').unwrap_or_default();
    rest.split_once('>').unwrap_or_default().0.to_owned()
}
