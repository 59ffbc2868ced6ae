//! SMS over an HTTP gateway that speaks as Twilio does:
//! `POST {base}/2010-04-01/Accounts/{sid}/Messages.json`, Basic authentication, a form with
//! `From`, `To` and `Body`. 201 is taken over; 429 and 5xx are for later; other 4xx are
//! judged below.

use std::{fmt::Write as _, path::PathBuf};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http_body_util::Full;
use hyper::{Request, StatusCode, header};
use outward::{Answer, Client, Connection, Destination, Guard, RootsError, Unreached};
use serde::Deserialize;
use tokio::sync::Mutex;
use zeroize::Zeroizing;

use super::{Delivery, Pending, Transport};
use crate::message::{Content, Message};

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
    client: Client,
    destination: Destination,
    path: String,
    authorization: Zeroizing<String>,
    /// Taken out while it is in use, as [`super::Smtp`]'s.
    connection: Mutex<Option<Connection>>,
}

impl std::fmt::Debug for Gateway {
    /// Without the credentials.
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Gateway")
            .field("authority", &self.destination.authority())
            .finish_non_exhaustive()
    }
}

impl Gateway {
    /// A transport over that gateway; connects when there is something to send.
    ///
    /// # Errors
    /// Where the base is no address, or the certificates cannot be read.
    pub fn new(config: GatewayConfig) -> Result<Self, GatewayConfigError> {
        let destination = Destination::parse(&config.base_url);
        let destination = destination.map_err(|_| GatewayConfigError::BaseUrl)?;
        // The operator says where it is, so it may be anywhere.
        let client = if destination.is_https() {
            Client::new(Guard::Any, config.roots.as_deref())?
        } else {
            Client::plain(Guard::Any)
        };
        let folder = destination.path().trim_end_matches('/');
        let credentials = Zeroizing::new(format!("{}:{}", config.account_sid, *config.auth_token));
        Ok(Self {
            from: config.from,
            path: format!("{folder}/2010-04-01/Accounts/{}/Messages.json", config.account_sid),
            authorization: Zeroizing::new(format!(
                "Basic {}",
                STANDARD.encode(credentials.as_bytes())
            )),
            client,
            destination,
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
            Err(unreached) => return outage(unreached),
        };
        match connection.ask(request).await {
            Ok(answer) => {
                *self.connection.lock().await = Some(connection);
                judged(&answer)
            }
            // It may have taken it; one that answers nobody would hold up everybody else.
            Err(unreached) => outage(unreached),
        }
    }

    fn request(&self, message: &Message, text: &str) -> Option<Request<Full<Bytes>>> {
        let form = form_urlencoded::Serializer::new(String::new())
            .append_pair("From", &self.from)
            .append_pair("To", &message.to)
            .append_pair("Body", text)
            .finish();
        Request::post(self.path.as_str())
            .header(header::HOST, self.destination.authority())
            .header(header::AUTHORIZATION, self.authorization.as_str())
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .header(header::ACCEPT, "application/json")
            // For gateways that can tell a repetition; the same at every attempt.
            .header("idempotency-key", message.id.to_string())
            .body(Full::new(Bytes::from(form)))
            .ok()
    }

    /// The connection kept, if it still lives, or another one.
    async fn connected(&self, kept: Option<Connection>) -> Result<Connection, Unreached> {
        if let Some(mut connection) = kept
            && connection.is_ready().await
        {
            return Ok(connection);
        }
        self.client.connect(&self.destination).await
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

/// The next message would fare alike.
fn outage(unreached: Unreached) -> Delivery {
    Delivery::outage(unreached.to_string())
}

/// The part of an answer that is understood.
#[derive(Default, Deserialize)]
struct Told {
    code: Option<u32>,
}

fn judged(answer: &Answer) -> Delivery {
    let (status, after) = (answer.status, answer.retry_after);
    if status.is_success() {
        return Delivery::Sent;
    }
    let mut error = format!("gateway_{}", status.as_u16());
    let told: Option<Told> =
        answer.body.as_ref().and_then(|body| serde_json::from_slice(body).ok());
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
