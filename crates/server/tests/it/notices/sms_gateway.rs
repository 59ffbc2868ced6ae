//! An SMS gateway that answers as Twilio's does: it checks path, Basic authentication,
//! content type and the fields of the form, and keeps what it took.

use std::collections::{BTreeMap, VecDeque};
use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use notify::{Gateway, GatewayConfig};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use zeroize::Zeroizing;

use super::certificate::Certificate;

pub(super) const SID: &str = "AC0123456789abcdef";
pub(super) const TOKEN: &str = "token-of-the-gateway";
pub(super) const NUMBER: &str = "+15005550006";

/// An answer in the place of the usual one.
#[derive(Clone, Copy, Debug)]
pub(super) struct Instead {
    pub(super) status: u16,
    pub(super) retry_after: Option<&'static str>,
    pub(super) body: &'static str,
}

/// A message that was taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Sms {
    pub(super) fields: BTreeMap<String, String>,
    pub(super) key: String,
}

#[derive(Default)]
struct Book {
    taken: Vec<Sms>,
    asked: usize,
    instead: VecDeque<Instead>,
}

/// The gateway; gone when dropped.
pub(super) struct SmsGateway {
    port: u16,
    certificate: Arc<Certificate>,
    book: Arc<Mutex<Book>>,
    task: JoinHandle<()>,
}

impl SmsGateway {
    pub(super) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let certificate = Arc::new(Certificate::of_localhost());
        let book = Arc::new(Mutex::new(Book::default()));
        let (shown, kept) = (Arc::clone(&certificate), Arc::clone(&book));
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (certificate, book) = (Arc::clone(&shown), Arc::clone(&kept));
                tokio::spawn(async move {
                    let Ok(stream) = certificate.acceptor.accept(stream).await else { return };
                    let service = service_fn(|request| answer(&book, request));
                    drop(
                        http1::Builder::new().serve_connection(TokioIo::new(stream), service).await,
                    );
                });
            }
        });
        Self { port, certificate, book, task }
    }

    pub(super) fn config(&self) -> GatewayConfig {
        GatewayConfig {
            base_url: format!("https://localhost:{}/sms/", self.port),
            account_sid: SID.to_owned(),
            auth_token: Zeroizing::new(TOKEN.to_owned()),
            from: NUMBER.to_owned(),
            roots: Some(self.certificate.roots().to_owned()),
        }
    }

    pub(super) fn transport(&self) -> Arc<Gateway> {
        Arc::new(Gateway::new(self.config()).unwrap())
    }

    pub(super) fn taken(&self) -> Vec<Sms> {
        self.book.lock().unwrap().taken.clone()
    }

    /// Requests, taken or not.
    pub(super) fn asked(&self) -> usize {
        self.book.lock().unwrap().asked
    }

    pub(super) fn answer(&self, instead: Instead) {
        self.book.lock().unwrap().instead.push_back(instead);
    }
}

impl Drop for SmsGateway {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn answer(
    book: &Mutex<Book>,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    let header = |name: &str| {
        head.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned()
    };
    let mut book = book.lock().unwrap();
    book.asked += 1;
    let said = |status: u16, retry_after: Option<&str>, body: &'static str| {
        let mut response = Response::builder().status(status);
        if let Some(seconds) = retry_after {
            response = response.header("retry-after", seconds);
        }
        Ok(response.body(Full::new(Bytes::from_static(body.as_bytes()))).unwrap())
    };
    if let Some(instead) = book.instead.pop_front() {
        return said(instead.status, instead.retry_after, instead.body);
    }
    let expected = format!("Basic {}", STANDARD.encode(format!("{SID}:{TOKEN}")));
    if header("authorization") != expected {
        return said(401, None, r#"{"code":20003,"message":"Authenticate"}"#);
    }
    let path = format!("/sms/2010-04-01/Accounts/{SID}/Messages.json");
    if head.method != Method::POST || head.uri.path() != path {
        return said(404, None, r#"{"code":20404,"message":"not found"}"#);
    }
    let fields: BTreeMap<String, String> = form_urlencoded::parse(&body).into_owned().collect();
    let names: Vec<&str> = fields.keys().map(String::as_str).collect();
    let is_form = header("content-type") == "application/x-www-form-urlencoded";
    let is_number = fields.get("To").is_some_and(|to| {
        to.strip_prefix('+').is_some_and(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()))
    });
    if !is_form || names != ["Body", "From", "To"] || !is_number {
        return said(400, None, r#"{"code":21211,"message":"Invalid 'To' Phone Number"}"#);
    }
    book.taken.push(Sms { fields, key: header("idempotency-key") });
    said(201, None, r#"{"sid":"SM1","status":"queued"}"#)
}
