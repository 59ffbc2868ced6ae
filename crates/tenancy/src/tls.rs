//! TLS to PostgreSQL as libpq's `sslmode` has it, by rustls.
//!
//! `require` encrypts and believes whoever answers; `verify-ca` believes a certificate of a
//! known root, `verify-full` only where it is for the host that was asked. The files are read
//! for each connection, so that renewed ones need no restart. Over a Unix socket nothing is
//! encrypted: it never leaves the machine.
//!
//! SCRAM is not bound to the channel: whoever wants to be sure of the server says
//! `verify-full`, and `require` promises no more than that nobody listens.

use std::fmt;
use std::future::Future;
use std::io;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_postgres::config::{Host, SslMode};
use tokio_postgres::tls::{ChannelBinding, MakeTlsConnect, TlsConnect};
use tokio_postgres::{Config, Socket};

/// What a connection string says of TLS.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TlsOptions {
    /// `sslmode`.
    pub mode: TlsMode,
    /// `sslrootcert`: a PEM file with the roots that are believed; the system's where unset.
    pub roots: Option<PathBuf>,
    /// `sslcert` and `sslkey`: PEM files of the certificate that we show, and its key.
    pub own: Option<(PathBuf, PathBuf)>,
}

/// `sslmode`. There is no `prefer` and no `allow`: what may be in the clear is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum TlsMode {
    /// In the clear; also where nothing is said.
    #[default]
    Disable,
    /// Encrypted, to whoever answers.
    Require,
    /// To whoever has a certificate of a known root.
    VerifyCa,
    /// To whoever has one for the host that was asked.
    VerifyFull,
}

/// Why a connection string cannot be used. Nothing of it is repeated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum OptionsError {
    /// Not a connection string.
    #[error("is not a PostgreSQL connection string")]
    Malformed,
    /// `sslmode` is something else.
    #[error("has an sslmode other than disable, require, verify-ca and verify-full")]
    Mode,
    /// One of `sslcert` and `sslkey` without the other.
    #[error("has one of sslcert and sslkey without the other")]
    HalfAPair,
}

/// Reads a connection string: what is the driver's, and what is ours.
pub fn parse(text: &str) -> Result<(Config, TlsOptions), OptionsError> {
    let (rest, named) = split(text).ok_or(OptionsError::Malformed)?;
    let mut config: Config = rest.parse().map_err(|_| OptionsError::Malformed)?;
    let [mut mode, mut roots, mut certificate, mut key] = [None, None, None, None];
    for (name, value) in named {
        match name.as_str() {
            "sslmode" => mode = Some(value),
            "sslrootcert" => roots = Some(value),
            "sslcert" => certificate = Some(value),
            _ => key = Some(value),
        }
    }
    let mode = match mode.as_deref() {
        None | Some("disable") => TlsMode::Disable,
        Some("require") => TlsMode::Require,
        Some("verify-ca") => TlsMode::VerifyCa,
        Some("verify-full") => TlsMode::VerifyFull,
        Some(_) => return Err(OptionsError::Mode),
    };
    let own = match (certificate, key) {
        (Some(certificate), Some(key)) => Some((certificate.into(), key.into())),
        (None, None) => None,
        _ => return Err(OptionsError::HalfAPair),
    };
    // As libpq: roots of the system are asked for by that word as well.
    let roots = roots.filter(|roots| roots != "system").map(PathBuf::from);
    let is_local = config.get_hosts().iter().all(|host| matches!(host, Host::Unix(_)));
    let mode = if is_local { TlsMode::Disable } else { mode };
    config.ssl_mode(if mode == TlsMode::Disable { SslMode::Disable } else { SslMode::Require });
    Ok((config, TlsOptions { mode, roots, own }))
}

type Named = Vec<(String, String)>;

fn is_ours(name: &str) -> bool {
    ["sslmode", "sslrootcert", "sslcert", "sslkey"].contains(&name)
}

/// Takes what is ours out of a URL, or of a string of `name=value` words.
fn split(text: &str) -> Option<(String, Named)> {
    let mut named = Vec::new();
    if !text.contains("://") {
        let mut rest = Vec::new();
        for word in text.split_whitespace() {
            match word.split_once('=').filter(|(name, _)| is_ours(name)) {
                Some((name, value)) => named.push((name.to_owned(), value.to_owned())),
                None => rest.push(word),
            }
        }
        // Quoted values may hold spaces: without any of ours the text stays as it is.
        return Some(if named.is_empty() {
            (text.to_owned(), named)
        } else {
            (rest.join(" "), named)
        });
    }
    let Some((address, query)) = text.split_once('?') else {
        return Some((text.to_owned(), named));
    };
    let mut rest = Vec::new();
    for pair in query.split('&') {
        match pair.split_once('=').filter(|(name, _)| is_ours(name)) {
            Some((name, value)) => named.push((name.to_owned(), unescaped(value)?)),
            None => rest.push(pair),
        }
    }
    let rest = rest.join("&");
    let query = if rest.is_empty() { rest } else { format!("?{rest}") };
    Some((format!("{address}{query}"), named))
}

/// A value of a URL without its percent signs.
fn unescaped(value: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(value.len());
    let mut rest = value.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        rest = after;
        if first != b'%' {
            bytes.push(first);
            continue;
        }
        let (digits, after) = rest.split_at_checked(2)?;
        bytes.push(u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?);
        rest = after;
    }
    String::from_utf8(bytes).ok()
}

/// Why TLS could not be begun. Files are named: they are the operator's.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// No certificates in the file of `sslrootcert`.
    #[error("sslrootcert {0} holds no certificates that can be read")]
    Roots(PathBuf),
    /// The system has no roots.
    #[error("the system has no root certificates; name some by sslrootcert")]
    NoRoots,
    /// No certificate in the file of `sslcert`.
    #[error("sslcert {0} holds no certificate that can be read")]
    Certificate(PathBuf),
    /// No key in the file of `sslkey`, or another one's.
    #[error("sslkey {0} holds no private key of the certificate in sslcert")]
    Key(PathBuf),
    /// The host is nothing that a certificate can be for.
    #[error("the host of the database is neither a name nor an address")]
    Host,
    /// The library refuses.
    #[error("TLS cannot be set up: {0}")]
    Library(#[from] rustls::Error),
    /// The server refuses, or is not who it should be.
    #[error("{0}")]
    Handshake(#[from] io::Error),
}

/// What connections are made with.
#[derive(Debug, Clone)]
pub struct Connector(Arc<TlsOptions>);

impl Connector {
    /// With what the connection string says.
    pub fn new(options: TlsOptions) -> Self {
        Self(Arc::new(options))
    }
}

impl TlsOptions {
    fn client(&self) -> Result<ClientConfig, TlsError> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()?;
        let verifier: Arc<dyn ServerCertVerifier> = match self.mode {
            // As libpq: who names roots wants them looked at.
            TlsMode::Disable | TlsMode::Require if self.roots.is_none() => {
                Arc::new(Anybody(provider))
            }
            TlsMode::Disable | TlsMode::Require | TlsMode::VerifyCa => {
                Arc::new(AnyHost(self.verifier(provider)?))
            }
            TlsMode::VerifyFull => self.verifier(provider)?,
        };
        // The library's word for a verifier that is not its own; ours are above.
        let builder = builder.dangerous().with_custom_certificate_verifier(verifier);
        let Some((certificate, key)) = &self.own else {
            return Ok(builder.with_no_client_auth());
        };
        let chain =
            certificates(certificate).ok_or_else(|| TlsError::Certificate(certificate.clone()))?;
        let unfit = || TlsError::Key(key.clone());
        let key = PrivateKeyDer::from_pem_file(key).map_err(|_| unfit())?;
        builder.with_client_auth_cert(chain, key).map_err(|_| unfit())
    }

    fn verifier(
        &self,
        provider: Arc<CryptoProvider>,
    ) -> Result<Arc<WebPkiServerVerifier>, TlsError> {
        let found = match &self.roots {
            Some(file) => certificates(file).ok_or_else(|| TlsError::Roots(file.clone()))?,
            None => rustls_native_certs::load_native_certs().certs,
        };
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(found);
        let made = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider).build();
        made.map_err(|_| self.roots.clone().map_or(TlsError::NoRoots, TlsError::Roots))
    }
}

fn certificates(file: &Path) -> Option<Vec<CertificateDer<'static>>> {
    let found: Vec<_> = CertificateDer::pem_file_iter(file).ok()?.collect::<Result<_, _>>().ok()?;
    (!found.is_empty()).then_some(found)
}

impl MakeTlsConnect<Socket> for Connector {
    type Stream = Stream;
    type TlsConnect = Handshake;
    type Error = TlsError;

    /// Also asked where nothing will be encrypted, with no host over a Unix socket: what may
    /// be wrong is found when it is needed.
    fn make_tls_connect(&mut self, host: &str) -> Result<Handshake, TlsError> {
        Ok(Handshake { options: Arc::clone(&self.0), host: host.to_owned() })
    }
}

/// One connection's handshake, to be made.
pub struct Handshake {
    options: Arc<TlsOptions>,
    host: String,
}

impl TlsConnect<Socket> for Handshake {
    type Stream = Stream;
    type Error = TlsError;
    type Future = Pin<Box<dyn Future<Output = Result<Stream, TlsError>> + Send>>;

    fn connect(self, socket: Socket) -> Self::Future {
        Box::pin(async move {
            let host = ServerName::try_from(self.host).map_err(|_| TlsError::Host)?;
            let connector = tokio_rustls::TlsConnector::from(Arc::new(self.options.client()?));
            Ok(Stream(connector.connect(host, socket).await?))
        })
    }
}

/// An encrypted connection.
pub struct Stream(tokio_rustls::client::TlsStream<Socket>);

impl tokio_postgres::tls::TlsStream for Stream {
    fn channel_binding(&self) -> ChannelBinding {
        ChannelBinding::none()
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(context, buffer)
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(context)
    }
}

/// `require`: whoever answers, as long as they hold the key of what they show.
struct Anybody(Arc<CryptoProvider>);

/// `verify-ca`: a certificate that is good but for the host's name.
struct AnyHost(Arc<WebPkiServerVerifier>);

impl fmt::Debug for Anybody {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Anybody")
    }
}

impl fmt::Debug for AnyHost {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("AnyHost")
    }
}

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

impl ServerCertVerifier for AnyHost {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        between: &[CertificateDer<'_>],
        host: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        use CertificateError::{NotValidForName, NotValidForNameContext};
        // The name is looked at last, so what is said of it is all that is wrong.
        match self.0.verify_server_cert(certificate, between, host, ocsp, now) {
            Err(rustls::Error::InvalidCertificate(
                NotValidForName | NotValidForNameContext { .. },
            )) => Ok(ServerCertVerified::assertion()),
            verified => verified,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.0.verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.0.verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_verify_schemes()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn what_is_ours_is_taken_out_and_the_rest_is_the_drivers() {
        let own = |certificate: &str, key: &str| Some((certificate.into(), key.into()));
        let full = TlsOptions { mode: TlsMode::VerifyFull, ..TlsOptions::default() };
        let table = [
            ("postgres://u:p@h/d", TlsOptions::default()),
            ("postgres://u:p@h/d?sslmode=disable", TlsOptions::default()),
            ("postgres://u:p@h/d?sslmode=verify-full", full.clone()),
            ("postgres://u:p@h/d?sslmode=verify-full&sslrootcert=system", full.clone()),
            ("host=h user=u password=p dbname=d sslmode=verify-full", full.clone()),
            (
                "postgres://u:p@h/d?sslcert=%2Fa%20b.pem&application_name=x&sslkey=k&sslmode=require&sslrootcert=%2fr",
                TlsOptions {
                    mode: TlsMode::Require,
                    roots: Some("/r".into()),
                    own: own("/a b.pem", "k"),
                },
            ),
            // A Unix socket is not encrypted, whatever is asked: as libpq.
            ("postgres://u:p@/d?host=/run&sslmode=verify-full", TlsOptions::default()),
        ];
        for (text, expected) in table {
            let (config, options) = parse(text).unwrap();
            assert_eq!(options, expected, "{text}");
            assert_eq!((config.get_user(), config.get_dbname()), (Some("u"), Some("d")), "{text}");
            let mode =
                if expected.mode == TlsMode::Disable { SslMode::Disable } else { SslMode::Require };
            assert_eq!(config.get_ssl_mode(), mode, "{text}");
        }
        let refused = [
            ("postgres://h/d?sslmode=prefer", OptionsError::Mode),
            ("postgres://h/d?sslmode=allow", OptionsError::Mode),
            ("postgres://h/d?sslmode=", OptionsError::Mode),
            ("postgres://h/d?sslcert=a", OptionsError::HalfAPair),
            ("postgres://h/d?sslkey=a", OptionsError::HalfAPair),
            ("postgres://h/d?sslrootcert=%zz", OptionsError::Malformed),
            ("nonsense", OptionsError::Malformed),
        ];
        for (text, expected) in refused {
            assert_eq!(parse(text).err(), Some(expected), "{text}");
        }
    }
}
