//! Whose certificates are believed: the system's roots, or one file of them and no other.

use std::path::{Path, PathBuf};

use rustls::{
    RootCertStore,
    pki_types::{CertificateDer, pem::PemObject},
};

/// Why there are no roots to verify servers with.
#[derive(Debug, thiserror::Error)]
pub enum RootsError {
    /// The file cannot be read, or holds no certificates.
    #[error("{0} holds no certificates that can be read")]
    File(PathBuf),
    /// The system has no roots (`ca-certificates` is not installed).
    #[error("the system has no root certificates")]
    System,
    /// TLS cannot be set up.
    #[error("TLS cannot be set up")]
    Tls,
}

/// The certificates of a PEM file, or the system's.
pub fn certificates(file: Option<&Path>) -> Result<Vec<CertificateDer<'static>>, RootsError> {
    let Some(path) = file else {
        let found = rustls_native_certs::load_native_certs().certs;
        return if found.is_empty() { Err(RootsError::System) } else { Ok(found) };
    };
    let unreadable = || RootsError::File(path.to_owned());
    let read = CertificateDer::pem_file_iter(path).map_err(|_| unreadable())?;
    let found = read.collect::<Result<Vec<_>, _>>().map_err(|_| unreadable())?;
    if found.is_empty() { Err(unreadable()) } else { Ok(found) }
}

/// What a client of HTTPS believes.
pub(crate) fn client_config(file: Option<&Path>) -> Result<rustls::ClientConfig, RootsError> {
    let mut roots = RootCertStore::empty();
    let (added, _) = roots.add_parsable_certificates(certificates(file)?);
    if added == 0 {
        return Err(RootsError::Tls);
    }
    let provider = std::sync::Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|_| RootsError::Tls)?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(config)
}
