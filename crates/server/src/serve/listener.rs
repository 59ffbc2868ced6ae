//! Owns accepting connections: how many, how slow they may be, how large their
//! headers, how long they may say nothing, and letting them finish at the end. It
//! refuses to know what is served.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use api::ClientCertificate;
use axum::Router;
use axum::extract::ConnectInfo;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt as _;

use super::activity::{Activity, Answered, InFlight, Patience};
use super::tls::{Certificate, certificate_of};

/// A client that has not sent its headers by then is cut off (slowloris), and so is one
/// that sends nothing or pings alone; also how long a connection may stay idle between
/// requests. Places are few, and who holds one without asking keeps somebody out.
const PATIENCE: Patience = Patience {
    asking: Duration::from_secs(20),
    reading: Duration::from_secs(60),
    leaving: Duration::from_secs(2),
};
/// Request line and headers together.
const HEADER_BYTES_MAX: usize = 32 * 1024;
/// Requests at once on one HTTP/2 connection.
const STREAMS_MAX: u32 = 128;
/// Pause after a failed accept (out of file descriptors): the loop must not spin.
const PAUSE_AFTER_ERROR: Duration = Duration::from_millis(50);

/// Accepts connections for a router until it is told to stop.
#[derive(Clone, Debug)]
pub struct Acceptor {
    router: Router,
    certificate: Option<Arc<Certificate>>,
    patience: Patience,
    places: Arc<Semaphore>,
    connections: TaskTracker,
    stop: CancellationToken,
}

impl Acceptor {
    /// At most `max_connections` are open at a time; further ones wait in the
    /// listener's queue.
    pub fn new(router: Router, max_connections: usize) -> Self {
        Self {
            router,
            certificate: None,
            patience: PATIENCE,
            places: Arc::new(Semaphore::new(max_connections.min(Semaphore::MAX_PERMITS))),
            connections: TaskTracker::new(),
            stop: CancellationToken::new(),
        }
    }

    /// Speaks TLS alone, under what is served of that certificate when a connection begins.
    #[must_use]
    pub fn under(self, certificate: Option<Arc<Certificate>>) -> Self {
        Self { certificate, ..self }
    }

    /// Accepts on a listener in a task of its own.
    pub fn listen(&self, listener: TcpListener) {
        let own = self.clone();
        self.connections.spawn(async move { own.accept(&listener).await });
    }

    /// Stops accepting, lets requests in flight finish, and waits for them up to
    /// `patience`. Returns whether all of them finished.
    pub async fn stop(&self, patience: Duration) -> bool {
        self.stop.cancel();
        self.connections.close();
        tokio::time::timeout(patience, self.connections.wait()).await.is_ok()
    }

    async fn accept(&self, listener: &TcpListener) {
        loop {
            let Ok(place) = Arc::clone(&self.places).acquire_owned().await else { return };
            let accepted = tokio::select! {
                () = self.stop.cancelled() => return,
                accepted = listener.accept() => accepted,
            };
            match accepted {
                Ok((stream, peer)) => {
                    let own = self.clone();
                    self.connections.spawn(async move {
                        own.greet(stream, peer).await;
                        drop(place);
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(PAUSE_AFTER_ERROR).await;
                }
            }
        }
    }

    async fn greet(&self, stream: TcpStream, peer: SocketAddr) {
        // Answers are small and whole: waiting to fill a packet only costs time.
        let _ = stream.set_nodelay(true);
        let Some(certificate) = &self.certificate else {
            return self.converse(stream, (peer, None)).await;
        };
        // Whoever does not finish the handshake has asked nothing.
        let handshake = TlsAcceptor::from(certificate.config()).accept(stream);
        let shaken = tokio::select! {
            () = self.stop.cancelled() => return,
            shaken = tokio::time::timeout(self.patience.asking, handshake) => shaken,
        };
        match shaken {
            Ok(Ok(stream)) => {
                let own = certificate_of(stream.get_ref().1);
                self.converse(stream, (peer, own)).await;
            }
            Ok(Err(error)) => tracing::debug!(%error, "a handshake failed"),
            Err(_) => tracing::debug!("a handshake took too long"),
        }
    }

    async fn converse<S>(&self, stream: S, client: (SocketAddr, Option<ClientCertificate>))
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let activity = Activity::new();
        let service = service_fn(|request| {
            answer(self.router.clone(), request, client.clone(), activity.begin())
        });
        let patience = self.patience;
        let mut builder = Builder::new(TokioExecutor::new());
        builder
            .http1()
            .timer(TokioTimer::new())
            .header_read_timeout(patience.asking)
            .max_buf_size(HEADER_BYTES_MAX);
        builder
            .http2()
            .timer(TokioTimer::new())
            .keep_alive_interval(patience.asking)
            .max_header_list_size(u32::try_from(HEADER_BYTES_MAX).unwrap_or(u32::MAX))
            .max_concurrent_streams(STREAMS_MAX);
        let connection = builder.serve_connection(TokioIo::new(stream), service);
        tokio::pin!(connection);
        let over = async {
            tokio::select! {
                () = self.stop.cancelled() => {}
                () = activity.ended(patience) => {}
            }
        };
        let ended = tokio::select! {
            ended = connection.as_mut() => ended,
            () = over => {
                connection.as_mut().graceful_shutdown();
                tokio::select! {
                    ended = connection => ended,
                    () = last_words(&activity, patience) => Ok(()),
                }
            }
        };
        if let Err(error) = ended {
            tracing::debug!(%error, "a connection ended badly");
        }
    }
}

/// Returns when a client that was told that it is over has had time to hear it, and no
/// request of theirs is left to be waited for.
async fn last_words(activity: &Activity, patience: Patience) {
    tokio::time::sleep(patience.leaving).await;
    activity.ended(Patience { asking: patience.leaving, ..patience }).await;
}

async fn answer(
    router: Router,
    mut request: Request<Incoming>,
    (peer, certificate): (SocketAddr, Option<ClientCertificate>),
    in_flight: InFlight,
) -> Result<Response<Answered>, Infallible> {
    request.extensions_mut().insert(ConnectInfo(peer));
    if let Some(certificate) = certificate {
        request.extensions_mut().insert(certificate);
    }
    let response = router.oneshot(request).await?;
    Ok(response.map(|body| Answered::new(body, in_flight)))
}

/// Listeners on both loopbacks under one port; 0 picks a free one. Where the
/// machine has no IPv6, IPv4 alone.
pub async fn bind_loopbacks(port: u16) -> std::io::Result<(u16, Vec<TcpListener>)> {
    let mut attempts = 0;
    loop {
        let first = TcpListener::bind(("127.0.0.1", port)).await?;
        let chosen = first.local_addr()?.port();
        match TcpListener::bind(("::1", chosen)).await {
            Ok(second) => return Ok((chosen, vec![first, second])),
            // The port is free on one loopback only: another one may be on both.
            Err(error)
                if error.kind() == std::io::ErrorKind::AddrInUse && port == 0 && attempts < 16 =>
            {
                attempts += 1;
            }
            Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => return Err(error),
            Err(_) => return Ok((chosen, vec![first])),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::sync::Arc;
    use std::time::{Duration, Instant};

    use axum::Router;
    use axum::extract::ConnectInfo;
    use axum::routing::get;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpStream;

    use super::{Acceptor, Certificate, Patience, bind_loopbacks};
    use crate::serve::tls::Pair;

    const SHORT: Patience = Patience {
        asking: Duration::from_millis(200),
        reading: Duration::from_millis(600),
        leaving: Duration::from_millis(100),
    };

    /// More than the sockets between two ends hold.
    const LARGE: usize = 64 << 20;

    async fn exchange(port: u16, request: &str) -> String {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.unwrap();
        String::from_utf8_lossy(&answer).into_owned()
    }

    fn slow_router() -> Router {
        Router::new()
            .route(
                "/slow",
                get(|| async {
                    tokio::time::sleep(Duration::from_millis(300)).await;
                    "done"
                }),
            )
            .route("/large", get(|| async { vec![0_u8; LARGE] }))
            .route(
                "/peer",
                get(|ConnectInfo(peer): ConnectInfo<std::net::SocketAddr>| async move {
                    peer.ip().to_string()
                }),
            )
    }

    #[tokio::test]
    async fn requests_in_flight_finish_and_no_new_ones_begin() {
        let (port, listeners) = bind_loopbacks(0).await.unwrap();
        let acceptor = Acceptor::new(slow_router(), 4);
        for listener in listeners {
            acceptor.listen(listener);
        }
        let request = "GET /peer HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
        assert!(exchange(port, request).await.ends_with("127.0.0.1"));
        let running =
            tokio::spawn(
                async move { exchange(port, "GET /slow HTTP/1.1\r\nhost: a\r\n\r\n").await },
            );
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert!(acceptor.stop(Duration::from_secs(5)).await);
        assert!(running.await.unwrap().ends_with("done"));
        assert!(TcpStream::connect(("127.0.0.1", port)).await.is_err());
    }

    #[tokio::test]
    async fn headers_are_bounded() {
        let (port, listeners) = bind_loopbacks(0).await.unwrap();
        let acceptor = Acceptor::new(slow_router(), 4);
        for listener in listeners {
            acceptor.listen(listener);
        }
        let huge = format!("GET /peer HTTP/1.1\r\nhost: a\r\nx: {}\r\n\r\n", "y".repeat(200_000));
        let mut stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        // The server may hang up before all of it is sent.
        let _ = stream.write_all(huge.as_bytes()).await;
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        assert!(!String::from_utf8_lossy(&answer).contains("200 OK"));
    }

    /// A server with one place.
    async fn serve_one() -> u16 {
        let (port, listeners) = bind_loopbacks(0).await.unwrap();
        let acceptor = Acceptor { patience: SHORT, ..Acceptor::new(slow_router(), 1) };
        // The other loopback's would keep the place for whoever comes there.
        listeners.into_iter().take(1).for_each(|listener| acceptor.listen(listener));
        port
    }

    #[tokio::test]
    async fn who_asks_nothing_or_reads_nothing_loses_their_place() {
        const SETTINGS: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
        let table: [(&str, &[u8]); 7] = [
            ("nothing", b""),
            ("half a protocol", b"PRI * HT"),
            ("half the headers", b"GET /peer HTTP/1.1\r\nhost"),
            ("one request and no more", b"GET /peer HTTP/1.1\r\nhost: a\r\n\r\n"),
            ("half of HTTP/2", &SETTINGS[..24]),
            ("HTTP/2 without a request", SETTINGS),
            ("a request whose answer is not read", b"GET /large HTTP/1.1\r\nhost: a\r\n\r\n"),
        ];
        for (what, sent) in table {
            let port = serve_one().await;
            let mut silent = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
            silent.write_all(sent).await.unwrap();
            // Until the first one is accepted.
            tokio::time::sleep(Duration::from_millis(50)).await;
            let request = "GET /peer HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
            let next = tokio::time::timeout(Duration::from_secs(10), exchange(port, request)).await;
            assert!(next.is_ok_and(|answer| answer.ends_with("127.0.0.1")), "{what}");
        }
    }

    #[tokio::test]
    async fn half_a_handshake_loses_its_place() {
        let folder = tempfile::tempdir().unwrap();
        let [certificate, key] = ["cert.pem", "key.pem"].map(|name| folder.path().join(name));
        let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
        std::fs::write(&certificate, made.cert.pem()).unwrap();
        std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
        let pair = Pair { certificate, key, is_tls12_allowed: false, asks_clients: false };
        let certificate = Arc::new(Certificate::open(pair).unwrap());
        for sent in [&b""[..], b"\x16\x03\x01\x02\x00\x01"] {
            let (port, listeners) = bind_loopbacks(0).await.unwrap();
            let acceptor = Acceptor::new(slow_router(), 1).under(Some(Arc::clone(&certificate)));
            let acceptor = Acceptor { patience: SHORT, ..acceptor };
            listeners.into_iter().take(1).for_each(|listener| acceptor.listen(listener));
            let mut silent = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
            silent.write_all(sent).await.unwrap();
            tokio::time::sleep(Duration::from_millis(50)).await;
            // The one place is free again when the silent one is hung up on.
            let mut rest = Vec::new();
            let ended =
                tokio::time::timeout(Duration::from_secs(10), silent.read_to_end(&mut rest));
            assert!(ended.await.is_ok());
            let mut next = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
            next.write_all(b"GET /peer HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
            // It speaks no TLS: told so at once, and nothing is served to it.
            let mut answer = Vec::new();
            let told = tokio::time::timeout(Duration::from_secs(10), next.read_to_end(&mut answer));
            assert!(told.await.is_ok());
            assert!(!String::from_utf8_lossy(&answer).contains("127.0.0.1"));
        }
    }

    #[tokio::test]
    async fn who_reads_slowly_gets_all_of_it() {
        let port = serve_one().await;
        let mut stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        let request = b"GET /large HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
        stream.write_all(request).await.unwrap();
        let (begun, mut taken, mut piece) = (Instant::now(), 0, vec![0; 1 << 20]);
        loop {
            match stream.read(&mut piece).await.unwrap() {
                0 => break,
                length => taken += length,
            }
            if begun.elapsed() < 2 * SHORT.reading {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
        assert!(taken > LARGE && begun.elapsed() > 2 * SHORT.reading, "{taken}");
    }

    #[tokio::test]
    async fn a_request_may_take_longer_than_silence() {
        let port = serve_one().await;
        let mut stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        for _ in 0..3 {
            stream.write_all(b"GET /slow HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
            let mut answer = vec![0; 1_024];
            let length = stream.read(&mut answer).await.unwrap();
            assert!(answer[..length].ends_with(b"done"));
            tokio::time::sleep(SHORT.asking / 2).await;
        }
    }
}
