//! Owns `cosignature/v1`: what a witness says of a checkpoint, and when it said it
//! (<https://c2sp.org/tlog-cosignature>).
//!
//! Refuses to know: whether a checkpoint extends another. A witness asks that first.
//!
//! A cosigner's key has a type of its own, so that neither of the two, a log's signature and a
//! witness' cosignature, is ever taken for the other, even where one key made both.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::note::{
    Checkpoint, Note, NoteError, SIGNATURE_PREFIX, is_key_name, key_hash, key_text, parse_key,
};

/// The signature type byte of timestamped Ed25519 cosignatures.
const COSIGNATURE_TYPE: u8 = 0x04;
const TIME_BYTES: usize = 8;

/// A witness' signing key under its name.
#[derive(Debug)]
pub struct Cosigner {
    name: String,
    key: vault::NoteSigner,
}

impl Cosigner {
    /// A key under a name without spaces and plus signs.
    pub fn new(name: &str, key: vault::NoteSigner) -> Result<Self, NoteError> {
        if is_key_name(name) {
            Ok(Self { name: name.to_owned(), key })
        } else {
            Err(NoteError::MalformedKey)
        }
    }

    /// What an outsider verifies with.
    pub fn verifier(&self) -> Result<CosignatureVerifier, NoteError> {
        CosignatureVerifier::new(&self.name, self.key.public_key())
    }

    /// The signature line over the text of a checkpoint, its newline included. The time is in
    /// seconds since 1970 and never zero: a cosignature without one is another statement.
    pub fn cosign(&self, text: &str, seconds: u64) -> Result<String, NoteError> {
        Checkpoint::parse(text)?;
        if seconds == 0 {
            return Err(NoteError::Malformed("a cosignature needs its time"));
        }
        let mut blob = key_hash(&self.name, COSIGNATURE_TYPE, &self.key.public_key()).to_vec();
        blob.extend_from_slice(&seconds.to_be_bytes());
        blob.extend_from_slice(&self.key.sign(message(text, seconds).as_bytes()));
        Ok(format!("{SIGNATURE_PREFIX}{} {}\n", self.name, STANDARD.encode(blob)))
    }
}

/// A witness' verifier key, written `name+hash+base64(0x04 ‖ key)`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CosignatureVerifier {
    name: String,
    key_hash: [u8; 4],
    public_key: [u8; 32],
}

impl CosignatureVerifier {
    /// A verifier of a name and a public key.
    pub fn new(name: &str, public_key: [u8; 32]) -> Result<Self, NoteError> {
        if !is_key_name(name) {
            return Err(NoteError::MalformedKey);
        }
        let key_hash = key_hash(name, COSIGNATURE_TYPE, &public_key);
        Ok(Self { name: name.to_owned(), key_hash, public_key })
    }

    /// Reads the text form, checking the hash inside it.
    pub fn parse(text: &str) -> Result<Self, NoteError> {
        let (name, public_key) = parse_key(text, COSIGNATURE_TYPE)?;
        Self::new(name, public_key)
    }

    /// The text form, for auditors and configuration.
    pub fn to_text(&self) -> String {
        key_text(&self.name, COSIGNATURE_TYPE, &self.public_key)
    }

    /// The key's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The latest second at which the witness cosigned. Lines of other keys are ignored, a
    /// wrong line of this key is an error even beside a right one.
    pub fn verify(&self, note: &Note) -> Result<u64, NoteError> {
        let own = |line: &&crate::note::NoteSignature| {
            line.name == self.name && line.key_hash == self.key_hash
        };
        let mut latest = None;
        for line in note.signatures.iter().filter(own) {
            latest = latest.max(Some(self.time_of(&note.text, &line.signature)?));
        }
        latest.ok_or_else(|| NoteError::Unsigned(self.name.clone()))
    }

    /// The newest of this key's lines among those that were answered about a checkpoint's text,
    /// without its newline, and its time. Lines of other keys are left out.
    pub fn line_among(&self, text: &str, lines: &str) -> Result<(String, u64), NoteError> {
        let note = Note::parse(&format!("{text}\n{lines}"))?;
        // An answer with a blank line in it would sign a text of its own.
        if note.text != text {
            return Err(NoteError::Malformed("a blank line among the signatures"));
        }
        let seconds = self.verify(&note)?;
        let newest = note.signatures.iter().find(|line| {
            line.name == self.name
                && line.key_hash == self.key_hash
                && line.signature.starts_with(&seconds.to_be_bytes())
        });
        let newest = newest.ok_or_else(|| NoteError::Unsigned(self.name.clone()))?;
        let blob = [&newest.key_hash[..], &newest.signature].concat();
        Ok((format!("{SIGNATURE_PREFIX}{} {}", self.name, STANDARD.encode(blob)), seconds))
    }

    fn time_of(&self, text: &str, blob: &[u8]) -> Result<u64, NoteError> {
        let wrong = || NoteError::BadSignature(self.name.clone());
        let (time, signature) = blob.split_first_chunk::<TIME_BYTES>().ok_or_else(wrong)?;
        let seconds = u64::from_be_bytes(*time);
        let message = message(text, seconds);
        let signed = seconds > 0
            && vault::verify_note_signature(&self.public_key, message.as_bytes(), signature);
        if signed { Ok(seconds) } else { Err(wrong()) }
    }
}

fn message(text: &str, seconds: u64) -> String {
    format!("cosignature/v1\ntime {seconds}\n{text}")
}

#[cfg(test)]
#[path = "cosignature_tests.rs"]
mod tests;
