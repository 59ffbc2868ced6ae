//! Owns the connection: resolving, judging, connecting, TLS, and one bounded answer.

use std::{
    net::{SocketAddr, ToSocketAddrs as _},
    path::Path,
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::{
    Request, Response, StatusCode,
    body::Incoming,
    client::conn::http1::{SendRequest, handshake},
    header,
};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    sync::Semaphore,
    time::timeout,
};
use tokio_rustls::TlsConnector;

use crate::{Destination, Guard, RootsError, tls};

const CONNECT_MAX: Duration = Duration::from_secs(10);
const ASK_MAX: Duration = Duration::from_secs(20);
/// Names looked up at once. A look-up that the system's resolver does not answer holds a thread
/// long after whoever asked has gone away, and the process has other work for its threads.
const LOOKUPS_MAX: usize = 64;
/// Of an answer that is read; the rest is nobody's business.
const ANSWER_MAX_BYTES: usize = 16 * 1_024;
/// What a server asks us to wait is believed up to here.
const RETRY_AFTER_MAX_S: u64 = 3_600;

/// Why there was no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unreached {
    /// No address, or nobody there.
    #[error("unreachable")]
    Unreachable,
    /// An address that the guard does not admit. All of a name's have to be admitted: one that
    /// leads here and elsewhere means here.
    #[error("address_refused")]
    AddressRefused,
    /// Its certificate is not believed, or TLS failed.
    #[error("tls_refused")]
    TlsRefused,
    /// It hung up.
    #[error("connection_lost")]
    ConnectionLost,
    /// It did not answer in time.
    #[error("timeout")]
    Timeout,
}

/// What a server said.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The status; a redirect is one like any other.
    pub status: StatusCode,
    /// `Retry-After`, an hour at most.
    pub retry_after: Option<Duration>,
    /// `Content-Type`, without parameters, in small letters.
    pub content_type: Option<String>,
    /// The body; none where it was too long or broke off.
    pub body: Option<Bytes>,
}

/// Connects.
#[derive(Clone)]
pub struct Client {
    guard: Guard,
    tls: Option<TlsConnector>,
    lookups: Arc<Semaphore>,
}

impl std::fmt::Debug for Client {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Client")
            .field("guard", &self.guard)
            .field("speaks_tls", &self.tls.is_some())
            .finish_non_exhaustive()
    }
}

impl Client {
    /// Believes the certificates of a PEM file, or the system's.
    pub fn new(guard: Guard, roots: Option<&Path>) -> Result<Self, RootsError> {
        let config = Arc::new(tls::client_config(roots)?);
        Ok(Self { tls: Some(TlsConnector::from(config)), ..Self::plain(guard) })
    }

    /// Believes nobody's certificate: it speaks no TLS.
    pub fn plain(guard: Guard) -> Self {
        Self { guard, tls: None, lookups: Arc::new(Semaphore::new(LOOKUPS_MAX)) }
    }

    /// Whom it connects to.
    pub fn guard(&self) -> Guard {
        self.guard
    }

    /// Posts a text over a connection of its own.
    pub async fn post(
        &self,
        destination: &Destination,
        content_type: &'static str,
        body: String,
    ) -> Result<Answer, Unreached> {
        let request = Request::post(destination.path())
            .header(header::HOST, destination.authority())
            .header(header::CONTENT_TYPE, content_type)
            .body(Full::from(body));
        // A destination that was read has a path and a host that can be sent.
        let request = request.map_err(|_| Unreached::Unreachable)?;
        self.connect(destination).await?.ask(request).await
    }

    /// A connection to one of the destination's addresses, all of which are admitted.
    pub async fn connect(&self, destination: &Destination) -> Result<Connection, Unreached> {
        within(async { self.found(destination).await?.connected(self.tls.as_ref()).await }).await
    }

    /// Looks the destination's name up and judges what it leads to. For whoever connects more
    /// than once: what was judged is what is connected to, without a look-up in between that
    /// could lead elsewhere.
    pub async fn find(&self, destination: &Destination) -> Result<Found, Unreached> {
        within(self.found(destination)).await
    }

    /// A connection to one of the addresses that were found.
    pub async fn connect_to(&self, found: &Found) -> Result<Connection, Unreached> {
        within(found.connected(self.tls.as_ref())).await
    }

    async fn found(&self, destination: &Destination) -> Result<Found, Unreached> {
        let (host, port) = (destination.host.clone(), destination.port);
        let addresses = self.look_up(move || (host, port).to_socket_addrs()).await?;
        if !addresses.iter().all(|address| self.guard.admits(address.ip())) {
            return Err(Unreached::AddressRefused);
        }
        Ok(Found { host: destination.host.clone(), is_https: destination.is_https, addresses })
    }
}

/// Where a destination's name leads, all of it admitted.
#[derive(Clone, Debug)]
pub struct Found {
    host: String,
    is_https: bool,
    addresses: Vec<SocketAddr>,
}

impl Found {
    async fn connected(&self, tls: Option<&TlsConnector>) -> Result<Connection, Unreached> {
        let stream = TcpStream::connect(self.addresses.as_slice()).await;
        let stream = stream.map_err(|_| Unreached::Unreachable)?;
        if !self.is_https {
            return converse(stream).await;
        }
        let connector = tls.ok_or(Unreached::TlsRefused)?;
        let name = ServerName::try_from(self.host.clone());
        let name = name.map_err(|_| Unreached::TlsRefused)?;
        let encrypted = connector.connect(name, stream).await;
        converse(encrypted.map_err(|_| Unreached::TlsRefused)?).await
    }
}

/// Whatever it takes to connect ends here.
async fn within<T>(step: impl Future<Output = Result<T, Unreached>>) -> Result<T, Unreached> {
    timeout(CONNECT_MAX, step).await.unwrap_or(Err(Unreached::Timeout))
}

impl Client {
    /// The place among those that look up is held by the look-up itself, not by whoever waits
    /// for it: to give up waiting frees no thread.
    async fn look_up<A>(
        &self,
        resolve: impl FnOnce() -> std::io::Result<A> + Send + 'static,
    ) -> Result<Vec<SocketAddr>, Unreached>
    where
        A: Iterator<Item = SocketAddr>,
    {
        let place = Arc::clone(&self.lookups).acquire_owned().await;
        let place = place.map_err(|_| Unreached::Unreachable)?;
        let looking = tokio::task::spawn_blocking(move || {
            let found = resolve().map(Iterator::collect);
            drop(place);
            found
        });
        looking.await.ok().and_then(Result::ok).ok_or(Unreached::Unreachable)
    }
}

/// One conversation; it can be kept for the next request.
#[derive(Debug)]
pub struct Connection(SendRequest<Full<Bytes>>);

impl Connection {
    /// Whether it still lives.
    pub async fn is_ready(&mut self) -> bool {
        timeout(CONNECT_MAX, self.0.ready()).await.is_ok_and(|ready| ready.is_ok())
    }

    /// Asks, and reads the answer up to its bound.
    pub async fn ask(&mut self, request: Request<Full<Bytes>>) -> Result<Answer, Unreached> {
        let asking = async {
            let answer = self.0.send_request(request).await;
            Ok(read(answer.map_err(|_| Unreached::ConnectionLost)?).await)
        };
        timeout(ASK_MAX, asking).await.unwrap_or(Err(Unreached::Timeout))
    }
}

async fn converse<S>(stream: S) -> Result<Connection, Unreached>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (sender, connection) =
        handshake(TokioIo::new(stream)).await.map_err(|_| Unreached::ConnectionLost)?;
    // It ends with its sender.
    tokio::spawn(async move { drop(connection.await) });
    Ok(Connection(sender))
}

/// Read to its end, so that the connection can be used again.
async fn read(answer: Response<Incoming>) -> Answer {
    let (status, retry_after) = (answer.status(), retry_after(&answer));
    let content_type = content_type(&answer);
    let body = Limited::new(answer.into_body(), ANSWER_MAX_BYTES).collect().await;
    Answer {
        status,
        retry_after,
        content_type,
        body: body.ok().map(http_body_util::Collected::to_bytes),
    }
}

fn content_type(answer: &Response<Incoming>) -> Option<String> {
    let value = answer.headers().get(header::CONTENT_TYPE)?.to_str().ok()?;
    let kind = value.split(';').next().unwrap_or_default().trim();
    Some(kind.to_ascii_lowercase())
}

/// Seconds; the form with a date is for caches.
fn retry_after(answer: &Response<Incoming>) -> Option<Duration> {
    let seconds: u64 = answer.headers().get(header::RETRY_AFTER)?.to_str().ok()?.parse().ok()?;
    Some(Duration::from_secs(seconds.min(RETRY_AFTER_MAX_S)))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::TcpListener,
    };

    use super::*;

    /// A server that answers every connection with these bytes; its port.
    async fn server(answer: String) -> u16 {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut request = [0; 1_024];
                let _ = stream.read(&mut request).await;
                let _ = stream.write_all(answer.as_bytes()).await;
            }
        });
        port
    }

    async fn asked(port: u16) -> Result<Answer, Unreached> {
        let url = format!("http://localhost:{port}/hook");
        let destination = Destination::parse(&url).unwrap();
        let mut connection = Client::plain(Guard::Any).connect(&destination).await?;
        let request = Request::post(destination.path())
            .header(header::HOST, destination.authority())
            .body(Full::default());
        connection.ask(request.unwrap()).await
    }

    #[tokio::test]
    async fn a_name_that_leads_home_is_refused_where_only_the_public_is_meant() {
        let port = server("HTTP/1.1 204 No Content\r\n\r\n".to_owned()).await;
        assert_eq!(asked(port).await.unwrap().status, StatusCode::NO_CONTENT);
        // The last three are loopback to a resolver, and no literals to whoever reads them.
        for host in ["localhost", "127.0.0.1", "[::1]", "2130706433", "0x7f000001", "127.1"] {
            let destination = Destination::parse(&format!("http://{host}:{port}/hook")).unwrap();
            let client = Client::plain(Guard::PublicOnly);
            let refused = client.connect(&destination).await;
            assert_eq!(refused.unwrap_err(), Unreached::AddressRefused, "{host}");
            let refused = client.find(&destination).await;
            assert_eq!(refused.unwrap_err(), Unreached::AddressRefused, "{host}");
        }
    }

    #[tokio::test]
    async fn look_ups_that_hang_hold_no_more_than_their_places() {
        let port = server("HTTP/1.1 204 No Content\r\n\r\n".to_owned()).await;
        let known = Destination::parse(&format!("http://localhost:{port}/hook")).unwrap();
        let client = Client::plain(Guard::Any);
        let found = client.find(&known).await.unwrap();
        let (release, held) = std::sync::mpsc::channel::<()>();
        let held = Arc::new(std::sync::Mutex::new(held));
        let begun = Arc::new(std::sync::atomic::AtomicUsize::new(0));
        for _ in 0..LOOKUPS_MAX * 2 {
            let (held, begun) = (Arc::clone(&held), Arc::clone(&begun));
            let looking = client.look_up(move || {
                begun.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
                let _ = held.lock().unwrap().recv();
                Ok(std::iter::empty())
            });
            // Whoever asked goes away; the look-up does not.
            assert!(timeout(Duration::from_millis(20), looking).await.is_err());
        }
        assert_eq!(begun.load(std::sync::atomic::Ordering::SeqCst), LOOKUPS_MAX);
        // Nobody finds anything now; where something was found, it is connected to.
        assert!(timeout(Duration::from_millis(20), client.find(&known)).await.is_err());
        assert!(client.connect_to(&found).await.is_ok());
        drop(release);
        let found = client.look_up(|| ("127.0.0.1", 9).to_socket_addrs()).await.unwrap();
        assert_eq!(found, [SocketAddr::from(([127, 0, 0, 1], 9))]);
    }

    #[tokio::test]
    async fn a_redirect_is_an_answer_and_is_not_followed() {
        let second = server("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n".to_owned()).await;
        let answer = format!(
            "HTTP/1.1 307 Temporary Redirect\r\nlocation: http://127.0.0.1:{second}/\r\n\
             retry-after: 86400\r\ncontent-length: 0\r\n\r\n"
        );
        let answer = asked(server(answer).await).await.unwrap();
        assert_eq!(answer.status, StatusCode::TEMPORARY_REDIRECT);
        assert_eq!(answer.retry_after, Some(Duration::from_secs(3_600)), "believed for an hour");
    }

    #[tokio::test]
    async fn an_answer_is_read_up_to_its_bound() {
        for (bytes, is_read) in [(ANSWER_MAX_BYTES, true), (ANSWER_MAX_BYTES + 1, false)] {
            let body = "a".repeat(bytes);
            let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {bytes}\r\n\r\n{body}");
            let answer = asked(server(answer).await).await.unwrap();
            assert_eq!(answer.body.is_some(), is_read, "{bytes}");
        }
    }
}
