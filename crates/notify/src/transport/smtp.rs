//! E-mail over SMTP (RFC 5321) with TLS: at once (RFC 8314) or by STARTTLS (RFC 3207), the
//! certificate verified in both. Owns the form of the mail and one connection, kept while
//! there is more to send.

use std::{error::Error as _, path::PathBuf, time::Duration};

use lettre::{
    Address,
    address::Envelope,
    message::{
        Mailbox, MultiPart, SinglePart,
        header::{HeaderName, HeaderValue},
    },
    transport::smtp::{
        Error as SmtpError,
        authentication::{Credentials, Mechanism},
        client::{AsyncSmtpConnection, Certificate, CertificateStore, TlsParameters},
        extension::ClientId,
    },
};
use tokio::{sync::Mutex, time::timeout};
use zeroize::Zeroizing;

use super::{Delivery, Pending, RootsError, Transport};
use crate::message::{Content, Message};

/// For the name, the connection, TLS and the login together.
const CONNECT_MAX: Duration = Duration::from_secs(15);
/// For one message.
const SEND_MAX: Duration = Duration::from_secs(20);

/// When TLS begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SmtpSecurity {
    /// With the first byte (port 465).
    Implicit,
    /// With STARTTLS, without which nothing is sent (port 587).
    StartTls,
    /// Never: a mail catcher on this machine.
    None,
}

/// How to reach the server.
#[derive(Clone)]
pub struct SmtpConfig {
    /// Its name, which its certificate must be for.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// When TLS begins.
    pub security: SmtpSecurity,
    /// User name and password, where it asks for them.
    pub credentials: Option<(String, Zeroizing<String>)>,
    /// The address that mail comes from.
    pub from: String,
    /// The certificates to believe, PEM; the system's where absent.
    pub roots: Option<PathBuf>,
}

impl std::fmt::Debug for SmtpConfig {
    /// Without the credentials.
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("SmtpConfig")
            .field("host", &self.host)
            .field("port", &self.port)
            .field("security", &self.security)
            .finish_non_exhaustive()
    }
}

/// Sends over one server.
pub struct Smtp {
    config: SmtpConfig,
    from: Address,
    tls: Option<TlsParameters>,
    hello: ClientId,
    /// Taken out while it is in use: one that is left in the middle of a conversation is
    /// dropped with whoever left it, and the next message does not become its rest.
    connection: Mutex<Option<AsyncSmtpConnection>>,
}

impl std::fmt::Debug for Smtp {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.config.fmt(formatter)
    }
}

/// Why there is no such transport.
#[derive(Debug, thiserror::Error)]
pub enum SmtpConfigError {
    /// The sender is no e-mail address.
    #[error("the sender is no e-mail address")]
    From,
    /// No certificates, or no TLS.
    #[error(transparent)]
    Roots(#[from] RootsError),
}

impl Smtp {
    /// A transport over that server; connects when there is something to send.
    ///
    /// # Errors
    /// Where the sender is no address, or the certificates cannot be read.
    pub fn new(config: SmtpConfig) -> Result<Self, SmtpConfigError> {
        let from: Address = config.from.parse().map_err(|_| SmtpConfigError::From)?;
        let tls = match config.security {
            SmtpSecurity::None => None,
            _ => Some(tls_parameters(&config)?),
        };
        // The server learns no name of an inner machine, but the one that mail comes from.
        let hello = ClientId::Domain(from.domain().to_owned());
        Ok(Self { config, from, tls, hello, connection: Mutex::default() })
    }

    async fn attempt(&self, message: &Message) -> Delivery {
        let Some(mail) = self.mail(message) else { return Delivery::never("not_a_mail") };
        let Ok(to) = message.to.parse::<Address>() else {
            return Delivery::never("not_an_address");
        };
        let Ok(envelope) = Envelope::new(Some(self.from.clone()), vec![to]) else {
            return Delivery::never("not_an_address");
        };
        let kept = self.connection.lock().await.take();
        let mut connection = match self.connected(kept).await {
            Ok(connection) => connection,
            Err(delivery) => return delivery,
        };
        match timeout(SEND_MAX, connection.send(&envelope, &mail)).await {
            Ok(Ok(_)) => {
                *self.connection.lock().await = Some(connection);
                Delivery::Sent
            }
            // The library has hung up already.
            Ok(Err(error)) => judged(&error),
            // It may have taken it; one that answers nobody would hold up everybody else.
            Err(_) => Delivery::outage("timeout"),
        }
    }

    /// The connection kept, if it still lives, or another one.
    async fn connected(
        &self,
        kept: Option<AsyncSmtpConnection>,
    ) -> Result<AsyncSmtpConnection, Delivery> {
        let connecting = async {
            if let Some(mut connection) = kept
                && connection.test_connected().await
            {
                return Ok(connection);
            }
            self.connect().await
        };
        timeout(CONNECT_MAX, connecting)
            .await
            .unwrap_or_else(|_| Err(Delivery::outage("unreachable")))
    }

    async fn connect(&self) -> Result<AsyncSmtpConnection, Delivery> {
        let server = (self.config.host.as_str(), self.config.port);
        let at_once = self.tls.clone().filter(|_| self.config.security == SmtpSecurity::Implicit);
        let connected = AsyncSmtpConnection::connect_tokio1(
            server,
            Some(CONNECT_MAX),
            &self.hello,
            at_once,
            None,
        );
        let mut connection = connected.await.map_err(|error| unusable("connect", &error))?;
        if self.config.security == SmtpSecurity::StartTls
            && let Some(tls) = self.tls.clone()
        {
            // A server that does not offer it, or somebody between us who took the offer out.
            if !connection.can_starttls() {
                connection.abort().await;
                return Err(Delivery::outage("no_starttls"));
            }
            let begun = connection.starttls(tls, &self.hello).await;
            begun.map_err(|error| unusable("tls", &error))?;
        }
        if let Some((user, password)) = &self.config.credentials {
            let credentials = Credentials::new(user.clone(), password.to_string());
            let known = connection.auth(&[Mechanism::Plain, Mechanism::Login], &credentials).await;
            let answer = known.map_err(|error| unusable("auth", &error))?;
            // Whatever was slipped in before TLS began would stand in the place of this
            // answer, and each answer in the place of the next.
            if !answer.has_code(AUTHENTICATED) {
                connection.abort().await;
                return Err(Delivery::outage("auth_out_of_step"));
            }
        }
        Ok(connection)
    }

    /// The mail as it travels. The same at every attempt but for the boundary between its
    /// two bodies, and of the same Message-ID.
    fn mail(&self, message: &Message) -> Option<Vec<u8>> {
        let Content::Email { from_name, reply_to, subject, text, html } = &message.content else {
            return None;
        };
        let header = |name: &'static str, value: &str| {
            HeaderValue::new(HeaderName::new_from_ascii_str(name), value.to_owned())
        };
        let to: Address = message.to.parse().ok()?;
        let mut builder = lettre::Message::builder()
            .from(Mailbox::new(Some(from_name.clone()), self.from.clone()))
            .to(Mailbox::new(None, to))
            .subject(subject.clone())
            .date(message.written_at.into())
            .message_id(Some(format!("<{}@{}>", message.id, self.from.domain())))
            // RFC 3834: no holiday note is sent back.
            .raw_header(header("Auto-Submitted", "auto-generated"));
        if let Some(address) = reply_to.as_ref().and_then(|address| address.parse().ok()) {
            builder = builder.reply_to(Mailbox::new(None, address));
        }
        let bodies = MultiPart::alternative()
            .singlepart(SinglePart::plain(text.clone()))
            .singlepart(SinglePart::html(html.clone()));
        builder.multipart(bodies).ok().map(|mail| mail.formatted())
    }
}

impl Transport for Smtp {
    fn send<'a>(&'a self, message: &'a Message) -> Pending<'a, Delivery> {
        Box::pin(self.attempt(message))
    }

    fn rest(&self) -> Pending<'_, ()> {
        Box::pin(async {
            if let Some(mut connection) = self.connection.lock().await.take() {
                // Nobody waits long for a good-bye.
                drop(timeout(Duration::from_secs(2), connection.quit()).await);
            }
        })
    }
}

/// RFC 4954: the login succeeded.
const AUTHENTICATED: u16 = 235;
/// The service goes away (RFC 5321); TLS or a login is demanded, or refused (RFC 4954).
const OURS: [u16; 6] = [421, 454, 530, 534, 535, 538];

fn tls_parameters(config: &SmtpConfig) -> Result<TlsParameters, RootsError> {
    let mut builder =
        TlsParameters::builder(config.host.clone()).certificate_store(CertificateStore::None);
    for root in outward::certificates(config.roots.as_deref())? {
        let certificate = Certificate::from_der(root.to_vec()).map_err(|_| RootsError::Tls)?;
        builder = builder.add_root_certificate(certificate);
    }
    builder.build_rustls().map_err(|_| RootsError::Tls)
}

/// Before a message was begun: whatever it is, it is not the message's fault.
fn unusable(stage: &str, error: &SmtpError) -> Delivery {
    Delivery::outage(match error.status() {
        Some(code) => format!("{stage}_{}", u16::from(code)),
        None if is_about_tls(error) => "tls_refused".to_owned(),
        None if stage == "connect" => "unreachable".to_owned(),
        None => format!("{stage}_failed"),
    })
}

/// Whether TLS failed, and not the connection below it: a certificate, mostly.
fn is_about_tls(error: &SmtpError) -> bool {
    let mut cause = error.source();
    while let Some(next) = cause {
        let inner = next.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        if let Some(inner) = inner
            && inner.is::<rustls::Error>()
        {
            return true;
        }
        cause = next.source();
    }
    error.is_tls()
}

/// What the server said to a message.
fn judged(error: &SmtpError) -> Delivery {
    let Some(code) = error.status().map(u16::from) else {
        return if error.is_client() {
            // It cannot be said to this server: letters of the address that it does not take.
            Delivery::never("not_acceptable")
        } else {
            Delivery::outage("connection_lost")
        };
    };
    let word = format!("smtp_{code}");
    match code {
        _ if OURS.contains(&code) => Delivery::outage(word),
        500.. => Delivery::never(word),
        _ => Delivery::later(word),
    }
}
