//! API keys that are bound to a client's certificate (RFC 8705), over real TLS: good with that
//! one alone, whoever has the secret, and otherwise as keys that do not exist.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use rustls::{
    ClientConfig, RootCertStore, SignatureScheme,
    client::ResolvesClientCert,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName},
    sign::CertifiedKey,
};
use serde_json::{Value, json};
use server::serve::{
    listener::{Acceptor, bind_loopbacks},
    tls::{Certificate, Pair},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};
use tokio_rustls::TlsConnector;

use crate::harness::App;

/// A certificate of somebody's own making, and its key.
pub(crate) struct Own {
    certificate: CertificateDer<'static>,
    key: Vec<u8>,
}

impl Own {
    pub(crate) fn make(name: &str) -> Self {
        let made = rcgen::generate_simple_self_signed(vec![name.to_owned()]).unwrap();
        Self { certificate: made.cert.der().clone(), key: made.signing_key.serialize_der() }
    }

    fn thumbprint(&self) -> String {
        URL_SAFE_NO_PAD.encode(vault::sha256(&self.certificate))
    }

    /// What greets with this certificate and the key of another one.
    pub(crate) fn shown_with_key_of(&self, other: &Self) -> Shown {
        let key = PrivateKeyDer::try_from(other.key.clone()).unwrap();
        let key = rustls::crypto::aws_lc_rs::sign::any_supported_type(&key).unwrap();
        let own = Arc::new(CertifiedKey::new(vec![self.certificate.clone()], key));
        Shown { own: Some(own), was_asked: Arc::default() }
    }
}

/// What a client shows where it is asked, and whether it was.
#[derive(Clone, Debug)]
pub(crate) struct Shown {
    own: Option<Arc<CertifiedKey>>,
    pub(crate) was_asked: Arc<AtomicBool>,
}

impl Shown {
    fn nothing() -> Self {
        Self { own: None, was_asked: Arc::default() }
    }
}

impl ResolvesClientCert for Shown {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        self.was_asked.store(true, Ordering::Relaxed);
        self.own.clone()
    }

    fn has_certs(&self) -> bool {
        self.own.is_some()
    }
}

/// A client that trusts one server and shows what it has.
pub(crate) fn connector(server: CertificateDer<'static>, shown: &Shown) -> TlsConnector {
    let mut roots = RootCertStore::empty();
    roots.add(server).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_client_cert_resolver(Arc::new(shown.clone()));
    TlsConnector::from(Arc::new(config))
}

/// The application behind TLS of its own.
struct Served {
    app: App,
    port: u16,
    own: CertificateDer<'static>,
    _acceptor: Acceptor,
    _folder: tempfile::TempDir,
}

impl Served {
    async fn start(asks_clients: bool) -> Self {
        let app = App::start().await;
        let folder = tempfile::tempdir().unwrap();
        let [certificate, key] = ["cert.pem", "key.pem"].map(|name| folder.path().join(name));
        let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
        std::fs::write(&certificate, made.cert.pem()).unwrap();
        std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
        let pair = Pair { certificate, key, is_tls12_allowed: true, asks_clients };
        let pair = Arc::new(Certificate::open(pair).unwrap());
        let (port, listeners) = bind_loopbacks(0).await.unwrap();
        let acceptor = Acceptor::new(app.router.clone(), 64).under(Some(pair));
        for listener in listeners {
            acceptor.listen(listener);
        }
        let own = made.cert.der().clone();
        Self { app, port, own, _acceptor: acceptor, _folder: folder }
    }

    /// Status and body of a list of accounts; nothing where the handshake failed.
    async fn accounts(&self, secret: &str, shown: &Shown) -> Option<(u16, Value)> {
        let stream = TcpStream::connect(("127.0.0.1", self.port)).await.unwrap();
        let name = ServerName::try_from("localhost").unwrap();
        let connector = connector(self.own.clone(), shown);
        let mut stream = connector.connect(name, stream).await.ok()?;
        let request = format!(
            "GET /v1/accounts HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {secret}\r\n\
             x-request-id: same\r\nconnection: close\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).await.ok()?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.ok()?;
        let answer = String::from_utf8_lossy(&answer).into_owned();
        let (head, body) = answer.split_once("\r\n\r\n")?;
        let status = head.split(' ').nth(1)?.parse().ok()?;
        Some((status, serde_json::from_str(body).unwrap_or(Value::Null)))
    }

    async fn status(&self, secret: &str, shown: &Shown) -> Option<u16> {
        self.accounts(secret, shown).await.map(|(status, _)| status)
    }

    async fn send(&self, path: &str, body: &Value) -> Value {
        let admin = self.app.login_by_factor(&self.app.bank, "admin").await;
        let answer = self.app.post(path).bearer(&admin).json(body).send().await;
        assert!(answer.is_success(), "{}", answer.text);
        answer.body
    }

    /// How often a key was recorded as used without its certificate.
    async fn misuses(&self) -> i64 {
        let sql = "SELECT count(*) FROM audit_log WHERE action = 'api_key.misuse' AND result = 'denied' \
            AND event_type = 'security_violation' AND details ->> 'reason' = 'certificate'";
        self.app.superuser.query_one(sql, &[]).await.unwrap().get(0)
    }
}

fn secret_of(made: &Value) -> String {
    made["secret"].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bound_key_is_good_with_its_certificate_alone() {
    let served = Served::start(true).await;
    let (ours, others) = (Own::make("payroll"), Own::make("somebody"));
    let (own, other) = (ours.shown_with_key_of(&ours), others.shown_with_key_of(&others));
    let wish = json!({
        "name": "Payroll", "role": "officer", "certificate_thumbprint": ours.thumbprint(),
    });
    let made = served.send("/v1/api-keys", &wish).await;
    assert_eq!(made["certificate_thumbprint"], json!(ours.thumbprint()));
    let secret = secret_of(&made);
    assert_eq!(served.status(&secret, &own).await, Some(200));
    assert_eq!(served.misuses().await, 0);
    // Without it the key reads like one that nobody has.
    let last = if secret.ends_with('A') { "B" } else { "A" };
    let unknown = format!("{}{last}", &secret[..secret.len() - 1]);
    let nobodys = served.accounts(&unknown, &own).await.unwrap();
    assert_eq!(nobodys.0, 401);
    for shown in [&other, &Shown::nothing()] {
        assert_eq!(served.accounts(&secret, shown).await.unwrap(), nobodys);
    }
    assert_eq!(served.misuses().await, 1, "once a minute, key and address");
    // Nor does anything speak for it that is no handshake.
    let ask = served.app.get("/v1/accounts").bearer(&secret);
    let told = ask.header("x-client-certificate", &ours.thumbprint()).send().await;
    assert_eq!((told.status, told.code()), (401, "invalid_token"));
    // Whoever has the certificate and not its key does not even get that far.
    assert_eq!(served.status(&secret, &ours.shown_with_key_of(&others)).await, None);
    // A certificate opens nothing by itself, and stands in the way of nothing.
    assert_eq!(served.status("nonsense", &own).await, Some(401));
    let plain = served.send("/v1/api-keys", &json!({ "name": "Any", "role": "officer" })).await;
    for shown in [&own, &other, &Shown::nothing()] {
        assert_eq!(served.status(&secret_of(&plain), shown).await, Some(200));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rotation_keeps_the_certificate_binds_another_or_lets_go_of_it() {
    let served = Served::start(true).await;
    let (first, second) = (Own::make("first"), Own::make("second"));
    let (one, two) = (first.shown_with_key_of(&first), second.shown_with_key_of(&second));
    let wish = json!({
        "name": "Payroll", "role": "officer", "certificate_thumbprint": first.thumbprint(),
    });
    let made = served.send("/v1/api-keys", &wish).await;
    let path = format!("/v1/api-keys/{}/rotate", made["id"].as_str().unwrap());
    let kept = served.send(&path, &json!({})).await;
    assert_eq!(kept["certificate_thumbprint"], json!(first.thumbprint()));
    assert_eq!(served.status(&secret_of(&kept), &one).await, Some(200));
    assert_eq!(served.status(&secret_of(&kept), &two).await, Some(401));
    let moved = json!({ "certificate_thumbprint": second.thumbprint() });
    let moved = served.send(&path, &moved).await;
    // The secret before as well: a certificate that is given up is worth nothing.
    for secret in [secret_of(&kept), secret_of(&moved)] {
        assert_eq!(served.status(&secret, &two).await, Some(200));
        assert_eq!(served.status(&secret, &one).await, Some(401));
    }
    let freed = served.send(&path, &json!({ "certificate_thumbprint": null })).await;
    assert_eq!(freed["certificate_thumbprint"], Value::Null);
    assert_eq!(served.status(&secret_of(&freed), &Shown::nothing()).await, Some(200));
    let admin = served.app.login_by_factor(&served.app.bank, "admin").await;
    let bad = json!({ "certificate_thumbprint": "00:11" });
    let told = served.app.post(path).bearer(&admin).json(&bad).send().await;
    assert_eq!((told.status, told.field()), (422, "certificate_thumbprint"));
    let sql = "SELECT count(*) FROM audit_log WHERE action = 'api_key.rotate' \
        AND new_values ->> 'certificate_thumbprint' = $1";
    let told = served.app.superuser.query_one(sql, &[&second.thumbprint()]).await.unwrap();
    assert_eq!(told.get::<_, i64>(0), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_asked_for_a_certificate_unless_the_operator_wants_it() {
    for asks in [false, true] {
        let served = Served::start(asks).await;
        let ours = Own::make("payroll");
        let own = ours.shown_with_key_of(&ours);
        let wish = json!({
            "name": "Payroll", "role": "officer", "certificate_thumbprint": ours.thumbprint(),
        });
        let secret = secret_of(&served.send("/v1/api-keys", &wish).await);
        let expected = if asks { 200 } else { 401 };
        assert_eq!(served.status(&secret, &own).await, Some(expected));
        assert_eq!(own.was_asked.load(Ordering::Relaxed), asks);
    }
}
