//! Owns the file of a witness' private key: `PRIVATE+KEY+name+hash+base64(0x04 ‖ seed)`, as
//! other tools that sign notes write theirs.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use anyhow::Context as _;
use audit::cosignature::Cosigner;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use vault::{NoteSigner, SecretBytes};
use zeroize::Zeroizing;

const PREFIX: &str = "PRIVATE+KEY+";
const COSIGNATURE_TYPE: u8 = 0x04;

/// Makes a key, writes it where no file is and only its owner reads, and gives the verifier key.
///
/// # Errors
/// A name with spaces or plus signs, or a file that is there or cannot be written.
pub fn write(name: &str, file: &Path) -> anyhow::Result<String> {
    let key = NoteSigner::generate();
    let mut bytes = Zeroizing::new(vec![COSIGNATURE_TYPE]);
    bytes.extend_from_slice(key.seed().expose());
    let seed = Zeroizing::new(STANDARD.encode(&*bytes));
    let verifier = Cosigner::new(name, key).and_then(|own| own.verifier());
    let verifier = verifier.context("the name must be without spaces and plus signs")?.to_text();
    let text = Zeroizing::new(format!("{PREFIX}{}{}\n", name_and_hash(&verifier), &*seed));
    let mut new = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(file)
        .with_context(|| format!("the key file {}", file.display()))?;
    new.write_all(text.as_bytes())?;
    new.sync_all()?;
    Ok(verifier)
}

/// The key of a file's text.
///
/// # Errors
/// Where that is none, or its hash is another key's.
pub fn parse(text: &str) -> anyhow::Result<Cosigner> {
    read(text).context("the key file holds no witness key; `witness new-key` makes one")
}

fn read(text: &str) -> Option<Cosigner> {
    let rest = text.trim_end().strip_prefix(PREFIX)?;
    let public = name_and_hash(rest);
    let bytes = Zeroizing::new(STANDARD.decode(rest.strip_prefix(public)?).ok()?);
    let (&COSIGNATURE_TYPE, seed) = bytes.split_first()? else { return None };
    let key = NoteSigner::from_seed(&SecretBytes::from_slice(seed)).ok()?;
    let cosigner = Cosigner::new(public.split_once('+')?.0, key).ok()?;
    let verifier = cosigner.verifier().ok()?.to_text();
    (name_and_hash(&verifier) == public).then_some(cosigner)
}

/// `name+hash+` of a key's text; what follows is base64 and may hold plus signs itself.
fn name_and_hash(key: &str) -> &str {
    let ends = key.match_indices('+').nth(1);
    ends.map_or("", |(end, plus)| &key[..end + plus.len()])
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::os::unix::fs::PermissionsExt as _;

    use super::{parse, write};

    #[test]
    fn a_key_is_written_once_for_its_owner_and_read_again() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("key");
        let verifier = write("witness.example/w1", &file).unwrap();
        assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        let text = std::fs::read_to_string(&file).unwrap();
        assert_eq!(parse(&text).unwrap().verifier().unwrap().to_text(), verifier);
        assert!(write("witness.example/w1", &file).is_err(), "never over another");
        assert_eq!(std::fs::read_to_string(&file).unwrap(), text);
        for wrong in ["", &verifier, &text.replace("/w1", "/w2"), &text[..text.len() - 9]] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
        assert!(write("two words", &folder.path().join("other")).is_err());
    }
}
