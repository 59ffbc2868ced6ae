//! SMS over an HTTP gateway that speaks as Twilio does:
//! `POST {base}/2010-04-01/Accounts/{sid}/Messages.json`, Basic authentication, a form with
//! `From`, `To` and `Body`. 201 is taken over; 429 and 5xx are for later; other 4xx are
//! judged below.

use std::{fmt::Write as _, path::PathBuf, sync::Arc, time::Duration};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::{
    Request, Response, StatusCode, Uri,
    body::Incoming,
    client::conn::http1::{SendRequest, handshake},
    header,
};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use serde::Deserialize;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    sync::Mutex,
    time::timeout,
};
use tokio_rustls::TlsConnector;
use zeroize::Zeroizing;

use super::{Delivery, Pending, RootsError, Transport, tls};
use crate::message::{Content, Message};

const CONNECT_MAX: Duration = Duration::from_secs(10);
const SEND_MAX: Duration = Duration::from_secs(20);
/// Of an answer that is read; the rest is nobody's business.
const ANSWER_MAX_BYTES: usize = 16 * 1_024;
/// What a gateway asks us to wait is believed up to here.
const RETRY_AFTER_MAX_S: u64 = 3_600;

/// How to reach the gateway.
#[derive(Clone)]
pub struct GatewayConfig {
    /// Where it is: `https://api.twilio.com`, perhaps with a path.
    pub base_url: String,
    /// The account, also the user name.
    pub account_sid: String,
    /// The password.
    pub auth_token: Zeroizing<String>,
    /// The number or name that messages come from.
    pub from: String,
    /// The certificates to believe, PEM; the system's where absent.
    pub roots: Option<PathBuf>,
}

impl std::fmt::Debug for GatewayConfig {
    /// Without the token.
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("GatewayConfig")
            .field("base_url", &self.base_url)
            .field("from", &self.from)
            .finish_non_exhaustive()
    }
}

/// Why there is no such transport.
#[derive(Debug, thiserror::Error)]
pub enum GatewayConfigError {
    /// The base is no address of a server.
    #[error("the base is no http(s) address")]
    BaseUrl,
    /// No certificates, or no TLS.
    #[error(transparent)]
    Roots(#[from] RootsError),
}

/// Sends over one gateway.
pub struct Gateway {
    from: String,
    host: String,
    port: u16,
    authority: String,
    path: String,
    authorization: Zeroizing<String>,
    tls: Option<(TlsConnector, ServerName<'static>)>,
    /// Taken out while it is in use, as [`super::Smtp`]'s.
    connection: Mutex<Option<SendRequest<Full<Bytes>>>>,
}

impl std::fmt::Debug for Gateway {
    /// Without the credentials.
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Gateway")
            .field("authority", &self.authority)
            .finish_non_exhaustive()
    }
}

impl Gateway {
    /// A transport over that gateway; connects when there is something to send.
    ///
    /// # Errors
    /// Where the base is no address, or the certificates cannot be read.
    pub fn new(config: GatewayConfig) -> Result<Self, GatewayConfigError> {
        let base: Uri = config.base_url.parse().map_err(|_| GatewayConfigError::BaseUrl)?;
        let authority = base.authority().ok_or(GatewayConfigError::BaseUrl)?;
        let host = base.host().ok_or(GatewayConfigError::BaseUrl)?;
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let tls = match base.scheme_str() {
            Some("https") => {
                let name = ServerName::try_from(host.clone());
                let name = name.map_err(|_| GatewayConfigError::BaseUrl)?;
                let connector = Arc::new(tls::client_config(config.roots.as_deref())?);
                Some((TlsConnector::from(connector), name))
            }
            Some("http") => None,
            _ => return Err(GatewayConfigError::BaseUrl),
        };
        let default_port = if tls.is_some() { 443 } else { 80 };
        let folder = base.path().trim_end_matches('/');
        let credentials = Zeroizing::new(format!("{}:{}", config.account_sid, *config.auth_token));
        Ok(Self {
            from: config.from,
            port: base.port_u16().unwrap_or(default_port),
            host,
            authority: authority.as_str().to_owned(),
            path: format!("{folder}/2010-04-01/Accounts/{}/Messages.json", config.account_sid),
            authorization: Zeroizing::new(format!(
                "Basic {}",
                STANDARD.encode(credentials.as_bytes())
            )),
            tls,
            connection: Mutex::default(),
        })
    }

    async fn attempt(&self, message: &Message) -> Delivery {
        let Content::Sms { text } = &message.content else {
            return Delivery::never("not_an_sms");
        };
        let Some(request) = self.request(message, text) else {
            return Delivery::never("not_an_sms");
        };
        let kept = self.connection.lock().await.take();
        let mut connection = match self.connected(kept).await {
            Ok(connection) => connection,
            Err(delivery) => return delivery,
        };
        let asking = async {
            let answer = connection.send_request(request).await.ok()?;
            Some(judged(answer).await)
        };
        match timeout(SEND_MAX, asking).await {
            Ok(Some(delivery)) => {
                *self.connection.lock().await = Some(connection);
                delivery
            }
            Ok(None) => Delivery::outage("connection_lost"),
            Err(_) => Delivery::later("timeout"),
        }
    }

    fn request(&self, message: &Message, text: &str) -> Option<Request<Full<Bytes>>> {
        let form = form_urlencoded::Serializer::new(String::new())
            .append_pair("From", &self.from)
            .append_pair("To", &message.to)
            .append_pair("Body", text)
            .finish();
        Request::post(self.path.as_str())
            .header(header::HOST, &self.authority)
            .header(header::AUTHORIZATION, self.authorization.as_str())
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .header(header::ACCEPT, "application/json")
            // For gateways that can tell a repetition; the same at every attempt.
            .header("idempotency-key", message.id.to_string())
            .body(Full::new(Bytes::from(form)))
            .ok()
    }

    /// The connection kept, if it still lives, or another one.
    async fn connected(
        &self,
        kept: Option<SendRequest<Full<Bytes>>>,
    ) -> Result<SendRequest<Full<Bytes>>, Delivery> {
        if let Some(mut connection) = kept
            && timeout(CONNECT_MAX, connection.ready()).await.is_ok_and(|ready| ready.is_ok())
        {
            return Ok(connection);
        }
        timeout(CONNECT_MAX, self.connect())
            .await
            .unwrap_or_else(|_| Err(Delivery::outage("unreachable")))
    }

    async fn connect(&self) -> Result<SendRequest<Full<Bytes>>, Delivery> {
        let server = (self.host.as_str(), self.port);
        let stream = TcpStream::connect(server).await;
        let stream = stream.map_err(|_| Delivery::outage("unreachable"))?;
        match &self.tls {
            None => converse(stream).await,
            Some((connector, name)) => {
                let encrypted = connector.connect(name.clone(), stream).await;
                converse(encrypted.map_err(|_| Delivery::outage("tls_refused"))?).await
            }
        }
    }
}

impl Transport for Gateway {
    fn send<'a>(&'a self, message: &'a Message) -> Pending<'a, Delivery> {
        Box::pin(self.attempt(message))
    }

    fn rest(&self) -> Pending<'_, ()> {
        Box::pin(async { drop(self.connection.lock().await.take()) })
    }
}

async fn converse<S>(stream: S) -> Result<SendRequest<Full<Bytes>>, Delivery>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (sender, connection) =
        handshake(TokioIo::new(stream)).await.map_err(|_| Delivery::outage("connection_lost"))?;
    // It ends with its sender.
    tokio::spawn(async move { drop(connection.await) });
    Ok(sender)
}

/// The part of an answer that is understood.
#[derive(Default, Deserialize)]
struct Told {
    code: Option<u32>,
}

async fn judged(answer: Response<Incoming>) -> Delivery {
    let (status, after) = (answer.status(), retry_after(&answer));
    // Read to its end, so that the connection can be used again.
    let body = Limited::new(answer.into_body(), ANSWER_MAX_BYTES).collect().await;
    if status.is_success() {
        return Delivery::Sent;
    }
    let mut error = format!("gateway_{}", status.as_u16());
    let told: Option<Told> =
        body.ok().and_then(|body| serde_json::from_slice(&body.to_bytes()).ok());
    if let Some(code) = told.and_then(|told| told.code) {
        // Writing to a String cannot fail.
        let _ = write!(error, "_{code}");
    }
    match status {
        // Too many of ours: the next one would be as well.
        StatusCode::TOO_MANY_REQUESTS => Delivery::Later { error, after, is_outage: true },
        // Not this message's fault: an account or address of ours that is not right.
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN | StatusCode::NOT_FOUND => {
            Delivery::outage(error)
        }
        StatusCode::REQUEST_TIMEOUT => Delivery::Later { error, after, is_outage: false },
        _ if status.is_client_error() => Delivery::never(error),
        // A redirect would take the credentials elsewhere.
        _ if status.is_redirection() => Delivery::outage(error),
        _ => Delivery::Later { error, after, is_outage: false },
    }
}

/// Seconds; the form with a date is for caches.
fn retry_after(answer: &Response<Incoming>) -> Option<Duration> {
    let seconds: u64 = answer.headers().get(header::RETRY_AFTER)?.to_str().ok()?.parse().ok()?;
    Some(Duration::from_secs(seconds.min(RETRY_AFTER_MAX_S)))
}
