//! Owns asking witnesses (<https://c2sp.org/tlog-witness>) to cosign the super-log: who they
//! are, what is sent to them, which of their answers are kept, and how far each is.
//!
//! Refuses to know: when anything is sealed. No witness delays it, and what one says against
//! the log is told and not obeyed, unless it was made the anchor.

mod anchor;
mod ask;
mod exchange;
mod standing;

use outward::{Destination, DestinationFault};

use crate::cosignature::CosignatureVerifier;

pub use anchor::WitnessAnchor;
pub use ask::{AskFault, Asked, Witnesses};
pub use standing::{SuperStanding, WitnessStanding, standing};

/// A witness: where it answers, and the key that its cosignatures verify with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Witness {
    destination: Destination,
    verifier: CosignatureVerifier,
}

/// Why a text names no witness.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WitnessFault {
    /// Not an address and a key.
    #[error("must be: addresses with verifier keys, as `https://witness.example/+name+hash+key`")]
    Malformed,
    /// The address is none.
    #[error("must name addresses without query: {0}")]
    Address(DestinationFault),
    /// The key is none.
    #[error("must give each witness' verifier key, as `witness new-key` prints it")]
    Key,
    /// Two of one name: their cosignatures could not be told apart.
    #[error("must not name a witness twice")]
    Twice,
}

impl Witness {
    /// Reads the address under which `/add-checkpoint` answers, a plus sign, and the key.
    pub fn parse(text: &str) -> Result<Self, WitnessFault> {
        let (url, key) = text.split_once('+').ok_or(WitnessFault::Malformed)?;
        if url.contains('?') {
            return Err(WitnessFault::Address(DestinationFault::Malformed));
        }
        let url = format!("{}/add-checkpoint", url.trim_end_matches('/'));
        let destination = Destination::parse(&url).map_err(WitnessFault::Address)?;
        let verifier = CosignatureVerifier::parse(key).map_err(|_| WitnessFault::Key)?;
        Ok(Self { destination, verifier })
    }

    /// Several, each by a name of its own.
    pub fn parse_all<'text>(
        texts: impl IntoIterator<Item = &'text str>,
    ) -> Result<Vec<Self>, WitnessFault> {
        let mut all: Vec<Self> = Vec::new();
        for text in texts {
            let witness = Self::parse(text)?;
            if all.iter().any(|other| other.name() == witness.name()) {
                return Err(WitnessFault::Twice);
            }
            all.push(witness);
        }
        Ok(all)
    }

    /// Its key's name.
    pub fn name(&self) -> &str {
        self.verifier.name()
    }

    /// Whether it is spoken to over TLS.
    pub fn is_https(&self) -> bool {
        self.destination.is_https()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use outward::DestinationFault;

    use super::{Witness, WitnessFault};
    use crate::cosignature::Cosigner;
    use crate::note::LogSigner;

    #[test]
    fn a_witness_is_an_address_and_a_key() {
        let key = |name| Cosigner::new(name, vault::NoteSigner::generate()).unwrap();
        let key = |name| key(name).verifier().unwrap().to_text();
        let one = key("witness.example/w1");
        let log = LogSigner::new("log.example", vault::NoteSigner::generate()).unwrap();
        let of_log = log.verifier().unwrap().to_text();
        let witness = Witness::parse(&format!("https://witness.example/a/+{one}")).unwrap();
        assert_eq!(witness.name(), "witness.example/w1");
        assert_eq!(witness.destination.path(), "/a/add-checkpoint");
        let address = WitnessFault::Address;
        let table = [
            (String::new(), WitnessFault::Malformed),
            ("https://witness.example".to_owned(), WitnessFault::Malformed),
            (format!("witness.example+{one}"), address(DestinationFault::Malformed)),
            (format!("ftp://witness.example+{one}"), address(DestinationFault::Scheme)),
            (format!("https://a@witness.example+{one}"), address(DestinationFault::UserInfo)),
            (format!("https://witness.example?a+{one}"), address(DestinationFault::Malformed)),
            (format!("https://witness.example+{of_log}"), WitnessFault::Key),
            (format!("https://witness.example+{}", &one[..one.len() - 4]), WitnessFault::Key),
        ];
        for (text, fault) in table {
            assert_eq!(Witness::parse(&text), Err(fault), "{text}");
        }
        let [first, again, other] = [
            format!("https://a.example+{one}"),
            format!("https://b.example+{one}"),
            format!("https://b.example+{}", key("witness.example/w2")),
        ];
        assert_eq!(Witness::parse_all([&*first, &*again]), Err(WitnessFault::Twice));
        assert_eq!(Witness::parse_all([&*first, &*other]).unwrap().len(), 2);
    }
}
