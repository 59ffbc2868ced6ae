//! Owns TLS of our own listener: which versions are spoken, under which certificate, and
//! taking up a renewed one without a restart. It refuses to know what is served.
//!
//! Connections that are open keep the certificate they began with. A pair that does not fit
//! (it is being replaced file by file) is tried again until it does, and the one before is
//! served meanwhile.

mod client;
mod validity;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, SystemTime};

use jiff::Timestamp;
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::version::{TLS12, TLS13};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

pub(super) use client::certificate_of;
use validity::Facts;

/// How often the files are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(10);

/// Where the certificate lies, and what is spoken under it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pair {
    /// A PEM file: the server's certificate, then those between it and a root.
    pub certificate: PathBuf,
    /// A PEM file: its private key.
    pub key: PathBuf,
    /// Whether clients may speak TLS 1.2 as well; 1.3 alone otherwise.
    pub is_tls12_allowed: bool,
    /// Whether clients are asked for a certificate, which they need not have.
    pub asks_clients: bool,
}

/// Why a pair is of no use. Files are named by the setting that names them, never by what
/// stands in them.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PairError {
    /// No certificate can be read from the file.
    #[error("names no PEM file with certificates that can be read")]
    Certificate,
    /// No private key can be read from the file.
    #[error("names no PEM file with a private key that can be read")]
    Key,
    /// They are of different pairs, or of a kind that TLS does not take.
    #[error(
        "is not the key of the certificate in SSL_CERT_PATH, or of a kind that TLS does not take"
    )]
    Unfit,
}

impl PairError {
    /// The setting that is at fault.
    pub fn setting(&self) -> &'static str {
        match self {
            Self::Certificate => "SSL_CERT_PATH",
            Self::Key | Self::Unfit => "SSL_KEY_PATH",
        }
    }
}

/// A pair that was read.
#[derive(Debug, Clone)]
pub struct Loaded {
    config: Arc<ServerConfig>,
    /// The first instant at which clients refuse it.
    pub expires_at: Timestamp,
    /// Whether nobody vouches for it but itself.
    pub is_self_signed: bool,
}

impl Pair {
    /// Reads both files and checks that they belong together.
    pub fn load(&self) -> Result<Loaded, PairError> {
        let chain: Vec<_> = CertificateDer::pem_file_iter(&self.certificate)
            .and_then(Iterator::collect)
            .map_err(|_| PairError::Certificate)?;
        let first = chain.first().ok_or(PairError::Certificate)?;
        let Facts { expires_at, is_self_signed } =
            validity::read(first).ok_or(PairError::Certificate)?;
        let key = PrivateKeyDer::from_pem_file(&self.key).map_err(|_| PairError::Key)?;
        let versions: &[_] = if self.is_tls12_allowed { &[&TLS13, &TLS12] } else { &[&TLS13] };
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(versions)
            .map_err(|_| PairError::Unfit)?;
        let builder = if self.asks_clients {
            builder.with_client_cert_verifier(Arc::new(client::AnybodysCertificate::of(&provider)))
        } else {
            builder.with_no_client_auth()
        };
        let mut config = builder.with_single_cert(chain, key).map_err(|_| PairError::Unfit)?;
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Loaded { config: Arc::new(config), expires_at, is_self_signed })
    }
}

/// By what a file is known to have been replaced.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Stamp([Option<(SystemTime, u64)>; 2]);

impl Stamp {
    fn of(pair: &Pair) -> Self {
        let of_file = |path: &Path| {
            let known = fs::metadata(path).ok()?;
            Some((known.modified().ok()?, known.len()))
        };
        Self([of_file(&pair.certificate), of_file(&pair.key)])
    }
}

/// The certificate that is served now.
#[derive(Debug)]
pub struct Certificate {
    pair: Pair,
    current: RwLock<Arc<ServerConfig>>,
    /// Of the pair that was taken up last, and of the one that was refused last.
    stamps: Mutex<(Stamp, Option<Stamp>)>,
}

impl Certificate {
    /// Reads the pair for the first time.
    pub fn open(pair: Pair) -> Result<Self, PairError> {
        // Taken before the files are read: one that is replaced meanwhile is read again.
        let stamp = Stamp::of(&pair);
        let loaded = pair.load()?;
        note(&loaded);
        Ok(Self { pair, current: RwLock::new(loaded.config), stamps: Mutex::new((stamp, None)) })
    }

    /// What the next connection is greeted with.
    pub fn config(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Takes up the files where they are others by now.
    pub fn look(&self) {
        let stamp = Stamp::of(&self.pair);
        let mut stamps = self.stamps.lock().unwrap_or_else(PoisonError::into_inner);
        if stamps.0 == stamp {
            return;
        }
        match self.pair.load() {
            Ok(loaded) => {
                note(&loaded);
                tracing::info!(expires_at = %loaded.expires_at, "a new certificate is served");
                *self.current.write().unwrap_or_else(PoisonError::into_inner) = loaded.config;
                *stamps = (stamp, None);
            }
            Err(error) => {
                metrics::counter!("strongroom_tls_reload_failures_total").increment(1);
                // Said once of each state of the files, tried as often as they are looked at.
                if stamps.1.as_ref() != Some(&stamp) {
                    let setting = error.setting();
                    tracing::error!(setting, %error, "the new certificate is of no use; the old one is served");
                    stamps.1 = Some(stamp);
                }
            }
        }
    }

    /// Looks every few seconds, and at once on SIGHUP, until it is told to stop.
    pub async fn watch(self: Arc<Self>, stop: CancellationToken) -> std::io::Result<()> {
        let mut hangup = signal(SignalKind::hangup())?;
        loop {
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                () = tokio::time::sleep(LOOK_EVERY) => {}
                _ = hangup.recv() => {}
            }
            self.look();
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "seconds since 1970 are exact in a float")]
fn note(loaded: &Loaded) {
    metrics::gauge!("strongroom_tls_certificate_expires_timestamp_seconds")
        .set(loaded.expires_at.as_second() as f64);
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    struct Place {
        folder: tempfile::TempDir,
        pair: Pair,
    }

    impl Place {
        fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            let [certificate, key] = ["cert.pem", "key.pem"].map(|name| folder.path().join(name));
            Self {
                folder,
                pair: Pair { certificate, key, is_tls12_allowed: false, asks_clients: false },
            }
        }

        fn write(&self, (certificate, key): &(String, String)) {
            fs::write(&self.pair.certificate, certificate).unwrap();
            fs::write(&self.pair.key, key).unwrap();
        }
    }

    fn made(name: &str) -> (String, String) {
        let made = rcgen::generate_simple_self_signed(vec![name.to_owned()]).unwrap();
        (made.cert.pem(), made.signing_key.serialize_pem())
    }

    #[test]
    fn what_is_wrong_with_a_pair_is_said_of_the_setting_and_not_of_the_file() {
        let (good, other) = (made("a.example"), made("b.example"));
        let text = |words: &str| words.to_owned();
        let table = [
            ((text(""), good.1.clone()), PairError::Certificate),
            ((text("no PEM"), good.1.clone()), PairError::Certificate),
            ((good.1.clone(), good.1.clone()), PairError::Certificate),
            (
                (
                    text("-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n"),
                    good.1.clone(),
                ),
                PairError::Certificate,
            ),
            ((good.0.clone(), text("")), PairError::Key),
            ((good.0.clone(), good.0.clone()), PairError::Key),
            ((good.0.clone(), other.1), PairError::Unfit),
        ];
        for (files, expected) in table {
            let place = Place::new();
            place.write(&files);
            let error = place.pair.load().unwrap_err();
            assert_eq!(error, expected);
            assert!(!error.to_string().contains(&*place.folder.path().to_string_lossy()));
        }
        assert_eq!(Place::new().pair.load().unwrap_err(), PairError::Certificate);
    }

    #[test]
    fn a_new_pair_is_taken_up_and_half_of_one_waits_for_the_rest() {
        let place = Place::new();
        let (first, second) = (made("a.example"), made("b.example"));
        place.write(&first);
        let certificate = Certificate::open(place.pair.clone()).unwrap();
        let served = || Arc::as_ptr(&certificate.config());
        let before = served();
        certificate.look();
        assert_eq!(served(), before, "nothing has changed");
        // Replaced file by file, and looked at in between; lengths differ by the name.
        let longer = made("a-much-longer-name.of-this-bank.example");
        fs::write(&place.pair.certificate, &longer.0).unwrap();
        certificate.look();
        certificate.look();
        assert_eq!(served(), before, "half a pair");
        fs::write(&place.pair.key, &longer.1).unwrap();
        certificate.look();
        let after = served();
        assert_ne!(after, before);
        fs::remove_file(&place.pair.key).unwrap();
        certificate.look();
        assert_eq!(served(), after, "a file that is gone");
        place.write(&second);
        certificate.look();
        assert_ne!(served(), after);
    }
}
