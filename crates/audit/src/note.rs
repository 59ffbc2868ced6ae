//! Owns the C2SP formats that leave this system: the signed note and the
//! checkpoint (<https://c2sp.org/signed-note>, <https://c2sp.org/tlog-checkpoint>).
//!
//! Refuses to know: where keys come from. A [`LogSigner`] signs, a
//! [`NoteVerifier`] needs only its text form, as an outsider would have it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::merkle::Hash;

/// The signature type byte of plain Ed25519 in key ids and verifier keys.
const ED25519_TYPE: u8 = 0x01;
/// Every signature line begins with an em dash and a space.
pub(crate) const SIGNATURE_PREFIX: &str = "\u{2014} ";
/// Longest note parsed, in bytes: a checkpoint has a few hundred.
const NOTE_MAX_BYTES: usize = 64 * 1024;

/// A log's signing key under its name.
#[derive(Debug)]
pub struct LogSigner {
    name: String,
    key: vault::NoteSigner,
}

impl LogSigner {
    /// A key under a name without spaces and plus signs.
    pub fn new(name: &str, key: vault::NoteSigner) -> Result<Self, NoteError> {
        if is_key_name(name) {
            Ok(Self { name: name.to_owned(), key })
        } else {
            Err(NoteError::MalformedKey)
        }
    }

    /// The name: the origin of the checkpoints it signs.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What an outsider verifies with.
    pub fn verifier(&self) -> Result<NoteVerifier, NoteError> {
        NoteVerifier::new(&self.name, self.key.public_key())
    }
}

/// Why a note, a checkpoint or a key was not accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoteError {
    /// The bytes are not a signed note.
    #[error("malformed note: {0}")]
    Malformed(&'static str),
    /// The text of the note is not a checkpoint.
    #[error("malformed checkpoint: {0}")]
    MalformedCheckpoint(&'static str),
    /// The text is no verifier key, or its hash does not fit.
    #[error("malformed verifier key")]
    MalformedKey,
    /// No line is signed by the key that was asked for.
    #[error("the note carries no signature by {0}")]
    Unsigned(String),
    /// A line claims the key and its signature is wrong.
    #[error("the signature by {0} is wrong")]
    BadSignature(String),
}

/// An Ed25519 verifier key, written `name+hash+base64(0x01 ‖ key)`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoteVerifier {
    name: String,
    key_hash: [u8; 4],
    public_key: [u8; 32],
}

impl NoteVerifier {
    /// A verifier of a name and a public key.
    pub fn new(name: &str, public_key: [u8; 32]) -> Result<Self, NoteError> {
        if !is_key_name(name) {
            return Err(NoteError::MalformedKey);
        }
        let key_hash = key_hash(name, ED25519_TYPE, &public_key);
        Ok(Self { name: name.to_owned(), key_hash, public_key })
    }

    /// Reads the text form, checking the hash inside it.
    pub fn parse(text: &str) -> Result<Self, NoteError> {
        let (name, public_key) = parse_key(text, ED25519_TYPE)?;
        Self::new(name, public_key)
    }

    /// The text form, for auditors and configuration.
    pub fn to_text(&self) -> String {
        key_text(&self.name, ED25519_TYPE, &self.public_key)
    }

    /// The key's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The same key under another name.
    pub(crate) fn renamed(&self, name: &str) -> Result<Self, NoteError> {
        Self::new(name, self.public_key)
    }
}

/// A signed note, taken apart. Signatures are not yet verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    /// The signed text, its last newline included.
    pub text: String,
    /// The signature lines, in order.
    pub signatures: Vec<NoteSignature>,
}

/// One signature line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoteSignature {
    /// The key's name.
    pub name: String,
    /// First four bytes of the key's hash.
    pub key_hash: [u8; 4],
    /// What follows the hash: 64 bytes for Ed25519.
    pub signature: Vec<u8>,
}

impl Note {
    /// Signs a text, which must end with a newline.
    pub fn sign(text: &str, signer: &LogSigner) -> Result<String, NoteError> {
        if !text.ends_with('\n') || text.contains(|c: char| c < ' ' && c != '\n') {
            return Err(NoteError::Malformed(
                "the text must end with a newline and hold no control characters",
            ));
        }
        let mut blob = key_hash(&signer.name, ED25519_TYPE, &signer.key.public_key()).to_vec();
        blob.extend_from_slice(&signer.key.sign(text.as_bytes()));
        Ok(format!("{text}\n{SIGNATURE_PREFIX}{} {}\n", signer.name, STANDARD.encode(blob)))
    }

    /// Takes a note apart.
    pub fn parse(note: &str) -> Result<Self, NoteError> {
        if note.len() > NOTE_MAX_BYTES {
            return Err(NoteError::Malformed("too long"));
        }
        if note.contains(|c: char| c < ' ' && c != '\n') {
            return Err(NoteError::Malformed("control characters"));
        }
        // The last blank line parts text from signatures.
        let split = note.rfind("\n\n").ok_or(NoteError::Malformed("no blank line"))?;
        let (text, signatures) = (&note[..=split], &note[split + 2..]);
        if signatures.is_empty() || !signatures.ends_with('\n') {
            return Err(NoteError::Malformed("no signature lines"));
        }
        let signatures = signatures.lines().map(signature_line).collect::<Result<_, _>>()?;
        Ok(Self { text: text.to_owned(), signatures })
    }

    /// Verifies that the key signed the text. Lines of other keys are ignored,
    /// a wrong line of this key is an error even beside a right one.
    pub fn verify(&self, verifier: &NoteVerifier) -> Result<(), NoteError> {
        let mut signed = false;
        for line in &self.signatures {
            if line.name != verifier.name || line.key_hash != verifier.key_hash {
                continue;
            }
            if !vault::verify_note_signature(
                &verifier.public_key,
                self.text.as_bytes(),
                &line.signature,
            ) {
                return Err(NoteError::BadSignature(verifier.name.clone()));
            }
            signed = true;
        }
        if signed { Ok(()) } else { Err(NoteError::Unsigned(verifier.name.clone())) }
    }
}

fn signature_line(line: &str) -> Result<NoteSignature, NoteError> {
    let rest = line.strip_prefix(SIGNATURE_PREFIX).ok_or(NoteError::Malformed("signature line"))?;
    let (name, blob) = rest.split_once(' ').ok_or(NoteError::Malformed("signature line"))?;
    if !is_key_name(name) {
        return Err(NoteError::Malformed("key name"));
    }
    let blob = STANDARD.decode(blob).map_err(|_| NoteError::Malformed("signature encoding"))?;
    match blob.split_first_chunk::<4>() {
        Some((key_hash, signature)) if !signature.is_empty() => Ok(NoteSignature {
            name: name.to_owned(),
            key_hash: *key_hash,
            signature: signature.to_vec(),
        }),
        _ => Err(NoteError::Malformed("signature length")),
    }
}

pub(crate) fn is_key_name(name: &str) -> bool {
    !name.is_empty() && !name.contains(|c: char| c.is_whitespace() || c.is_control() || c == '+')
}

/// The first four bytes of `SHA-256(name ‖ "\n" ‖ type ‖ key)`.
pub(crate) fn key_hash(name: &str, key_type: u8, public_key: &[u8; 32]) -> [u8; 4] {
    let [a, b, c, d, ..] = vault::sha256_parts(&[name.as_bytes(), &[b'\n', key_type], public_key]);
    [a, b, c, d]
}

/// `name+hash+base64(type ‖ key)`.
pub(crate) fn key_text(name: &str, key_type: u8, public_key: &[u8; 32]) -> String {
    let hash = u32::from_be_bytes(key_hash(name, key_type, public_key));
    let mut key = vec![key_type];
    key.extend_from_slice(public_key);
    format!("{name}+{hash:08x}+{}", STANDARD.encode(key))
}

/// Name and key of that text form, where the type is this one and the hash fits.
pub(crate) fn parse_key(text: &str, key_type: u8) -> Result<(&str, [u8; 32]), NoteError> {
    let mut parts = text.splitn(3, '+');
    let (Some(name), Some(hash), Some(key)) = (parts.next(), parts.next(), parts.next()) else {
        return Err(NoteError::MalformedKey);
    };
    let bytes = STANDARD.decode(key).map_err(|_| NoteError::MalformedKey)?;
    let Some((&found, key)) = bytes.split_first() else { return Err(NoteError::MalformedKey) };
    let key: [u8; 32] = key.try_into().map_err(|_| NoteError::MalformedKey)?;
    let claimed = u32::from_str_radix(hash, 16).map(u32::to_be_bytes);
    let fits = hash.len() == 8 && claimed.is_ok_and(|hash| hash == key_hash(name, key_type, &key));
    if found == key_type && fits { Ok((name, key)) } else { Err(NoteError::MalformedKey) }
}

/// A size in decimals. No sign, no leading zero: one size has one spelling.
pub(crate) fn parse_size(text: &str) -> Option<u64> {
    let is_canonical =
        text.bytes().all(|byte| byte.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    text.parse().ok().filter(|_| is_canonical)
}

/// A tree head: the text of a checkpoint note.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// The log's unique name, the first line.
    pub origin: String,
    /// Leaves in the tree.
    pub size: u64,
    /// The tree's root.
    pub root: Hash,
    /// Further lines, each without its newline.
    pub extensions: Vec<String>,
}

impl Checkpoint {
    /// The text to be signed.
    pub fn to_text(&self) -> String {
        let mut text = format!("{}\n{}\n{}\n", self.origin, self.size, STANDARD.encode(self.root));
        for line in &self.extensions {
            text.push_str(line);
            text.push('\n');
        }
        text
    }

    /// Reads the text of a note.
    pub fn parse(text: &str) -> Result<Self, NoteError> {
        let body =
            text.strip_suffix('\n').ok_or(NoteError::MalformedCheckpoint("no final newline"))?;
        let mut lines = body.split('\n');
        let origin = lines.next().filter(|line| !line.is_empty());
        let origin = origin.ok_or(NoteError::MalformedCheckpoint("empty origin"))?;
        let size = lines.next().ok_or(NoteError::MalformedCheckpoint("no size"))?;
        let size = parse_size(size).ok_or(NoteError::MalformedCheckpoint("size"))?;
        let root = lines.next().and_then(|line| STANDARD.decode(line).ok());
        let root = root.and_then(|bytes| bytes.try_into().ok());
        let root = root.ok_or(NoteError::MalformedCheckpoint("root"))?;
        let extensions: Vec<String> = lines.map(str::to_owned).collect();
        if extensions.iter().any(String::is_empty) {
            return Err(NoteError::MalformedCheckpoint("empty extension line"));
        }
        Ok(Self { origin: origin.to_owned(), size, root, extensions })
    }

    /// The note of this checkpoint under a key whose name is the origin.
    pub fn sign(&self, signer: &LogSigner) -> Result<String, NoteError> {
        Note::sign(&self.to_text(), signer)
    }

    /// Opens a note: signature first, then the text, then the origin.
    pub fn open(note: &str, verifier: &NoteVerifier) -> Result<Self, NoteError> {
        let note = Note::parse(note)?;
        note.verify(verifier)?;
        let checkpoint = Self::parse(&note.text)?;
        if checkpoint.origin != verifier.name {
            return Err(NoteError::MalformedCheckpoint("another log's origin"));
        }
        Ok(checkpoint)
    }
}

#[cfg(test)]
#[path = "note_tests.rs"]
mod tests;
