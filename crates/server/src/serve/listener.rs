//! Owns accepting connections: how many, how slow they may be, how large their
//! headers, and letting them finish at the end. It refuses to know what is served.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt as _;

/// A client that has not sent its headers by then is cut off (slowloris); also
/// how long a connection may stay idle between requests.
const HEADER_TIMEOUT: Duration = Duration::from_secs(20);
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
            places: Arc::new(Semaphore::new(max_connections.min(Semaphore::MAX_PERMITS))),
            connections: TaskTracker::new(),
            stop: CancellationToken::new(),
        }
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
                        own.converse(stream, peer).await;
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

    async fn converse(&self, stream: TcpStream, peer: SocketAddr) {
        // Answers are small and whole: waiting to fill a packet only costs time.
        let _ = stream.set_nodelay(true);
        let service = service_fn(|request| answer(self.router.clone(), request, peer));
        let mut builder = Builder::new(TokioExecutor::new());
        builder
            .http1()
            .timer(TokioTimer::new())
            .header_read_timeout(HEADER_TIMEOUT)
            .max_buf_size(HEADER_BYTES_MAX);
        builder
            .http2()
            .timer(TokioTimer::new())
            .keep_alive_interval(HEADER_TIMEOUT)
            .max_header_list_size(u32::try_from(HEADER_BYTES_MAX).unwrap_or(u32::MAX))
            .max_concurrent_streams(STREAMS_MAX);
        let connection = builder.serve_connection(TokioIo::new(stream), service);
        tokio::pin!(connection);
        let ended = tokio::select! {
            ended = connection.as_mut() => ended,
            () = self.stop.cancelled() => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        if let Err(error) = ended {
            tracing::debug!(%error, "a connection ended badly");
        }
    }
}

async fn answer(
    router: Router,
    mut request: Request<Incoming>,
    peer: SocketAddr,
) -> Result<Response<Body>, Infallible> {
    request.extensions_mut().insert(ConnectInfo(peer));
    router.oneshot(request).await
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

    use std::time::Duration;

    use axum::Router;
    use axum::extract::ConnectInfo;
    use axum::routing::get;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpStream;

    use super::{Acceptor, bind_loopbacks};

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
}
