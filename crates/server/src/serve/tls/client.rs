//! Certificates of clients: asked for, never demanded, and trusted for one thing alone, that
//! whoever shows one has its private key (RFC 8705 section 3: self-signed ones will do).
//!
//! Who issued it and until when is not looked at: an API key names the very certificate that it
//! is used with, and whoever bound it vouches for it. It refuses to know whose that is.

use std::sync::Arc;

use api::ClientCertificate;
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{
    CryptoProvider, WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature,
};
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{DigitallySignedStruct, DistinguishedName, Error, ServerConnection, SignatureScheme};

/// Takes any certificate whose private key signed the handshake.
#[derive(Debug)]
pub(super) struct AnybodysCertificate {
    algorithms: WebPkiSupportedAlgorithms,
}

impl AnybodysCertificate {
    pub(super) fn of(provider: &Arc<CryptoProvider>) -> Self {
        Self { algorithms: provider.signature_verification_algorithms }
    }
}

impl ClientCertVerifier for AnybodysCertificate {
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signature, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signature, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

/// The certificate that the client of a connection has proven to be theirs.
pub(in crate::serve) fn certificate_of(connection: &ServerConnection) -> Option<ClientCertificate> {
    let own = connection.peer_certificates()?.first()?;
    let thumbprint = URL_SAFE_NO_PAD.encode(vault::sha256(own.as_ref()));
    Some(ClientCertificate { thumbprint })
}
