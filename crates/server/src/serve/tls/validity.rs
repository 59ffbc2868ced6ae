//! What an operator has to know of a certificate (RFC 5280, section 4.1): until when it is
//! good, and whether it vouches for itself. Three fields do not pay for a library of X.509:
//! whether clients trust the certificate is theirs to judge, and nothing here is believed.

use jiff::Timestamp;
use jiff::civil::DateTime;

const SEQUENCE: u8 = 0x30;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
/// `[0] EXPLICIT`: the version, absent in those of version 1.
const VERSION: u8 = 0xa0;

/// What was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Facts {
    pub(super) expires_at: Timestamp,
    pub(super) is_self_signed: bool,
}

/// Reads a certificate in DER; none where it is none.
pub(super) fn read(certificate: &[u8]) -> Option<Facts> {
    let mut certificate = Reader(certificate).inside(SEQUENCE)?;
    let mut signed = certificate.inside(SEQUENCE)?;
    if signed.0.first() == Some(&VERSION) {
        signed.element()?;
    }
    // serialNumber, signature
    signed.element()?;
    signed.element()?;
    let (_, issuer) = signed.element()?;
    let mut validity = signed.inside(SEQUENCE)?;
    let (_, subject) = signed.element()?;
    validity.element()?;
    let (kind, until) = validity.element()?;
    Some(Facts { expires_at: instant(kind, until)?, is_self_signed: issuer == subject })
}

/// Years of two digits are those from 1950 to 2049.
fn instant(kind: u8, text: &[u8]) -> Option<Timestamp> {
    let text = std::str::from_utf8(text).ok()?;
    let text = match kind {
        UTC_TIME => {
            let year: u8 = text.get(..2)?.parse().ok()?;
            format!("{}{text}", if year < 50 { "20" } else { "19" })
        }
        GENERALIZED_TIME => text.to_owned(),
        _ => return None,
    };
    let civil = DateTime::strptime("%Y%m%d%H%M%SZ", text).ok()?;
    Some(civil.to_zoned(jiff::tz::TimeZone::UTC).ok()?.timestamp())
}

/// DER, element by element.
#[derive(Clone, Copy)]
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    /// The next element: its tag and what it holds.
    fn element(&mut self) -> Option<(u8, &'a [u8])> {
        let (&[tag, length], rest) = self.0.split_first_chunk()?;
        let (length, rest) = match length {
            0..=0x7f => (usize::from(length), rest),
            0x81..=0x84 => {
                let (digits, rest) = rest.split_at_checked(usize::from(length & 0x7f))?;
                let length = digits.iter().fold(0, |sum, &digit| sum << 8 | usize::from(digit));
                (length, rest)
            }
            _ => return None,
        };
        let (content, rest) = rest.split_at_checked(length)?;
        self.0 = rest;
        Some((tag, content))
    }

    /// What the next element holds, where it is of that kind.
    fn inside(&mut self, wanted: u8) -> Option<Self> {
        self.element().filter(|(tag, _)| *tag == wanted).map(|(_, content)| Self(content))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use proptest::prelude::*;
    use rcgen::{CertificateParams, Issuer, KeyPair, date_time_ymd};

    use super::*;

    #[test]
    fn expiry_and_issuer_are_read_from_certificates_that_others_make() {
        let root_key = KeyPair::generate().unwrap();
        let mut root = CertificateParams::new(Vec::new()).unwrap();
        root.distinguished_name.push(rcgen::DnType::CommonName, "a root");
        // Before 2050 a time has two digits of the year, and four from then on.
        for (year, written) in [(2031, "2031-05-06T00:00:00Z"), (2051, "2051-05-06T00:00:00Z")] {
            root.not_after = date_time_ymd(year, 5, 6);
            let alone = root.clone().self_signed(&root_key).unwrap();
            let expected = Facts { expires_at: written.parse().unwrap(), is_self_signed: true };
            assert_eq!(read(alone.der()), Some(expected));
            let key = KeyPair::generate().unwrap();
            let mut leaf = CertificateParams::new(vec!["a.example".to_owned()]).unwrap();
            leaf.not_after = date_time_ymd(year, 5, 6);
            let issuer = Issuer::from_params(&root, &root_key);
            let leaf = leaf.signed_by(&key, &issuer).unwrap();
            assert_eq!(read(leaf.der()), Some(Facts { is_self_signed: false, ..expected }));
        }
    }

    proptest! {
        #[test]
        fn no_bytes_upset_it(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = read(&bytes);
        }

        #[test]
        fn no_cut_and_no_turned_byte_upsets_it(at in 0_usize..400, byte in any::<u8>()) {
            let made = rcgen::generate_simple_self_signed(vec!["a.example".to_owned()]).unwrap();
            let mut der = made.cert.der().to_vec();
            let _ = read(&der[..at.min(der.len())]);
            if let Some(place) = der.get_mut(at) {
                *place = byte;
            }
            let _ = read(&der);
        }
    }
}
