//! TLS of our own listener, through the real binary: what it speaks, what it refuses, and a
//! certificate that is renewed while it serves.

use std::path::PathBuf;
use std::process::{Child, Command};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, ProtocolVersion, RootCertStore, SupportedProtocolVersion};
use testkit::TestDatabase;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::bound_keys::{Own, connector};
use crate::serving::{free_port, serve, wait_for};

struct Served {
    folder: tempfile::TempDir,
    child: Child,
    port: u16,
    redirect: u16,
    /// For as long as it serves.
    _database: TestDatabase,
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Served {
    async fn start(settings: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        write(&folder, &made());
        let database = TestDatabase::create().await;
        let url = database.superuser_url();
        let (port, metrics, redirect) = (free_port(), free_port(), free_port());
        let mut command = serve(&url, &url, port, metrics, &[]);
        with_pair(&mut command, &folder)
            .env("PUBLIC_URL", format!("https://localhost:{port}"))
            .env("HTTP_REDIRECT_ADDRESS", format!("127.0.0.1:{redirect}"))
            .envs(settings.iter().copied());
        let mut child = command.spawn().unwrap();
        wait_for(&mut child, port);
        Self { folder, child, port, redirect, _database: database }
    }

    fn certificate(&self) -> CertificateDer<'static> {
        CertificateDer::from_pem_file(self.folder.path().join("cert.pem")).unwrap()
    }

    /// A connection of somebody who trusts the certificate that lies there now.
    async fn greet(
        &self,
        version: &'static SupportedProtocolVersion,
        protocols: &[&[u8]],
    ) -> std::io::Result<TlsStream<TcpStream>> {
        let mut roots = RootCertStore::empty();
        roots.add(self.certificate()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[version])
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
        let stream = TcpStream::connect(("127.0.0.1", self.port)).await?;
        let name = ServerName::try_from("localhost").unwrap();
        TlsConnector::from(Arc::new(config)).connect(name, stream).await
    }

    async fn ask(&self, path: &str) -> std::io::Result<String> {
        let mut stream = self.greet(&TLS13, &[b"http/1.1"]).await?;
        exchange(
            &mut stream,
            &format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n"),
        )
        .await
    }
}

fn made() -> (String, String) {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    (made.cert.pem(), made.signing_key.serialize_pem())
}

fn paths(folder: &tempfile::TempDir) -> [PathBuf; 2] {
    ["cert.pem", "key.pem"].map(|name| folder.path().join(name))
}

fn write(folder: &tempfile::TempDir, (certificate, key): &(String, String)) {
    let [at_certificate, at_key] = paths(folder);
    std::fs::write(at_certificate, certificate).unwrap();
    std::fs::write(at_key, key).unwrap();
}

fn with_pair<'a>(command: &'a mut Command, folder: &tempfile::TempDir) -> &'a mut Command {
    let [certificate, key] = paths(folder);
    command.env("SSL_CERT_PATH", certificate).env("SSL_KEY_PATH", key)
}

async fn exchange<S>(stream: &mut S, request: &str) -> std::io::Result<String>
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
{
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn it_speaks_tls_1_3_alone_and_nothing_in_the_clear() {
    let served = Served::start(&[]).await;
    let answer = served.ask("/livez").await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(answer.contains("strict-transport-security: "), "{answer}");
    for protocol in [&b"h2"[..], b"http/1.1"] {
        let stream = served.greet(&TLS13, &[protocol]).await.unwrap();
        let (_, session) = stream.get_ref();
        assert_eq!(session.alpn_protocol(), Some(protocol));
        assert_eq!(session.protocol_version(), Some(ProtocolVersion::TLSv1_3));
    }
    assert!(served.greet(&TLS12, &[]).await.is_err());
    let mut plain = TcpStream::connect(("127.0.0.1", served.port)).await.unwrap();
    let answer = exchange(&mut plain, "GET /livez HTTP/1.1\r\nhost: localhost\r\n\r\n").await;
    assert!(!answer.is_ok_and(|answer| answer.contains("200 OK")));
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_1_2_is_spoken_where_it_is_asked_for() {
    let served = Served::start(&[("TLS_MINIMUM", "1.2")]).await;
    for version in [&TLS12, &TLS13] {
        assert!(served.greet(version, &[]).await.is_ok());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_are_asked_for_certificates_where_the_setting_says_so() {
    for (setting, asked) in [("off", false), ("optional", true)] {
        let served = Served::start(&[("TLS_CLIENT_CERTIFICATES", setting)]).await;
        let own = Own::make("client");
        let shown = own.shown_with_key_of(&own);
        let stream = TcpStream::connect(("127.0.0.1", served.port)).await.unwrap();
        let name = ServerName::try_from("localhost").unwrap();
        let connector = connector(served.certificate(), &shown);
        let mut stream = connector.connect(name, stream).await.unwrap();
        let request = "GET /livez HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
        let answer = exchange(&mut stream, request).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 200"), "{setting}: {answer}");
        assert_eq!(shown.was_asked.load(Ordering::Relaxed), asked, "{setting}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_renewed_certificate_is_served_without_a_lost_request() {
    let served = Arc::new(Served::start(&[]).await);
    // One connection from before goes on under the certificate that it began with.
    let mut old = served.greet(&TLS13, &[b"http/1.1"]).await.unwrap();
    let before = served.certificate();
    let is_over = Arc::new(AtomicBool::new(false));
    let asked = Arc::new(AtomicU32::new(0));
    // Clients that trust both: a renewal must not be seen by them.
    let next = made();
    let mut roots = RootCertStore::empty();
    roots.add(before.clone()).unwrap();
    roots.add(CertificateDer::from_pem_slice(next.0.as_bytes()).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&TLS13])
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let connector = TlsConnector::from(Arc::new(config));
    let clients: Vec<_> = (0..4)
        .map(|_| {
            let (is_over, asked) = (Arc::clone(&is_over), Arc::clone(&asked));
            let (connector, port) = (connector.clone(), served.port);
            tokio::spawn(async move {
                while !is_over.load(Ordering::Relaxed) {
                    let stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
                    let name = ServerName::try_from("localhost").unwrap();
                    let mut stream = connector.connect(name, stream).await.unwrap();
                    let request =
                        "GET /livez HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
                    let answer = exchange(&mut stream, request).await.unwrap();
                    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
                    asked.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();
    let [at_certificate, at_key] = paths(&served.folder);
    let hang_up = || {
        let signalled =
            Command::new("kill").args(["-s", "HUP", &served.child.id().to_string()]).status();
        assert!(signalled.unwrap().success());
    };
    // Half of the pair, looked at: the old one is served on.
    std::fs::write(at_certificate, &next.0).unwrap();
    hang_up();
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(served.ask("/livez").await.is_err(), "the new one cannot be served yet");
    std::fs::write(at_key, &next.1).unwrap();
    hang_up();
    let until = Instant::now() + Duration::from_secs(20);
    while served.ask("/livez").await.is_err() {
        assert!(Instant::now() < until, "the new one is not served");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    tokio::time::sleep(Duration::from_millis(300)).await;
    is_over.store(true, Ordering::Relaxed);
    for client in clients {
        client.await.unwrap();
    }
    assert!(asked.load(Ordering::Relaxed) > 20);
    let request = "GET /livez HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
    assert!(exchange(&mut old, request).await.unwrap().starts_with("HTTP/1.1 200"));
}

#[tokio::test(flavor = "multi_thread")]
async fn questions_in_the_clear_are_sent_to_tls_and_orders_refused() {
    let served = Served::start(&[]).await;
    let ask = async |request: &str| {
        let mut stream = TcpStream::connect(("127.0.0.1", served.redirect)).await.unwrap();
        exchange(
            &mut stream,
            &format!("{request}\r\nhost: evil.example\r\nconnection: close\r\n\r\n"),
        )
        .await
        .unwrap()
    };
    let answer = ask("GET /login?next=%2F HTTP/1.1").await;
    assert!(answer.starts_with("HTTP/1.1 308"), "{answer}");
    let location = format!("location: https://localhost:{}/login?next=%2F\r\n", served.port);
    assert!(answer.contains(&location), "{answer}");
    let answer = ask("POST /v1/auth/login HTTP/1.1").await;
    assert!(answer.starts_with("HTTP/1.1 400") && !answer.contains("location:"), "{answer}");
}

#[test]
fn a_pair_that_is_of_no_use_is_refused_with_all_other_faults() {
    let folder = tempfile::tempdir().unwrap();
    let (certificate, key) = made();
    let nowhere = "postgresql:///nowhere?host=/nowhere";
    let refused = |environment: &str, settings: &[(&str, &str)]| {
        let mut command = serve(nowhere, nowhere, free_port(), free_port(), &[]);
        with_pair(&mut command, &folder)
            .env("ENV", environment)
            .env("PUBLIC_URL", "https://bank.example")
            .envs(settings.iter().copied());
        let output = command.output().unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    write(&folder, &(certificate.clone(), made().1));
    let (code, words) = refused("staging", &[("DEBUG", "true")]);
    assert_eq!(code, Some(3), "{words}");
    assert!(words.contains("SSL_KEY_PATH is not the key of the certificate"), "{words}");
    assert!(words.contains("DEBUG is for development only"), "{words}");
    // Who puts the key itself there is told so, without seeing it again.
    let (code, words) = refused("development", &[("SSL_KEY_PATH", &key)]);
    assert_eq!(code, Some(3), "{words}");
    assert!(words.contains("SSL_KEY_PATH must be: path of a file"), "{words}");
    assert!(!words.contains("PRIVATE KEY"), "{words}");
    let (code, words) = refused("development", &[("SSL_KEY_PATH", "")]);
    assert_eq!(code, Some(3), "{words}");
    assert!(words.contains("SSL_KEY_PATH is not set"), "{words}");
    // A certificate that vouches for itself is good enough for staging, which gets as far as
    // the database that is not there.
    write(&folder, &(certificate, key));
    let (code, words) = refused("production", &[]);
    assert_eq!(code, Some(3), "{words}");
    assert!(words.contains("signed by itself") && !words.contains("TRUSTED_PROXIES"), "{words}");
    let (_, words) = refused("staging", &[]);
    assert!(!words.contains("SSL_") && !words.contains("TRUSTED_PROXIES"), "{words}");
}
