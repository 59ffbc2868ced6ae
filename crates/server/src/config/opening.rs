//! Owns what stands in the place of a secret: a text that `config seal` made, or a reference to a
//! secret manager. Both are followed before anything is checked, once, and a fault names the
//! setting and the way, never what was found.
//!
//! It refuses to know how a store is asked (`secrets`) and what a value is for.

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use secrets::{Reference, Refusal};
use vault::sealed_text::{self, SealedTextError};
use vault::{RootKey, SecretBytes};
use zeroize::Zeroizing;

use super::settings::{self, Setting};
use super::source::{Found, Values, tidy};
use super::value::Kind;
use super::{Fault, ROOT};

/// Asks a store for what a reference leads to.
pub(crate) type Fetch<'a> = dyn Fn(&Reference) -> Result<Zeroizing<Vec<u8>>, Refusal> + 'a;

/// What the others are sealed under: first of all, and never sealed.
const ROOTS: [&str; 2] = [ROOT, "FIELD_ENCRYPTION_KEY"];
/// A use of the root that is none of the hierarchy's.
const LABEL: &str = "config-seal";
const A_ROOT: &str = "is a root and cannot be sealed: what it would be sealed under is itself; name a file \
(NAME_FILE) or a secret manager";

/// Puts what they stand for in the place of sealed texts and references; the settings for which
/// that failed have no value any more, and a fault each.
pub(super) fn open(
    values: &mut Values,
    faults: &mut Vec<Fault>,
    fetch: &Fetch<'_>,
) -> BTreeSet<&'static str> {
    let mut unopened = BTreeSet::new();
    let (roots, others): (Vec<_>, Vec<_>) =
        settings::all().partition(|setting| ROOTS.contains(&setting.name));
    // The roots stand first: under them the others open.
    for setting in roots.into_iter().chain(others) {
        let Some(found) = values.get(setting.name).filter(|found| is_indirect(&found.text)) else {
            continue;
        };
        match opened(setting, found, values, fetch) {
            Ok(found) => {
                values.insert(setting.name, found);
            }
            Err(message) => {
                faults.push(Fault::new(setting.name, message));
                values.remove(setting.name);
                unopened.insert(setting.name);
            }
        }
    }
    unopened
}

fn is_indirect(text: &str) -> bool {
    text.starts_with("sealed:") || Reference::is_one(text)
}

fn opened(
    setting: &Setting,
    found: &Found,
    values: &Values,
    fetch: &Fetch<'_>,
) -> Result<Found, String> {
    if !setting.secret {
        return Err("is no secret: its value stands here itself".to_owned());
    }
    let mut found = found.clone();
    if Reference::is_one(&found.text) {
        let reference = Reference::parse(&found.text).map_err(|error| error.to_string())?;
        let content =
            fetch(&reference).map_err(|refusal| format!("is {reference}, which {refusal}"))?;
        found.text = text_of(setting, &content)
            .ok_or_else(|| format!("is {reference}, which holds no text"))?;
        found.through = Some(reference.scheme());
    }
    // What a store keeps may be sealed in its turn: its administrators read it otherwise.
    if found.text.starts_with("sealed:") {
        let content = unsealed(setting, &found.text, values)?;
        found.text = text_of(setting, content.expose()).ok_or("was sealed, and is no text")?;
        found.through = Some("sealed");
    }
    // Followed once: a secret that looks like a way to another is a mistake.
    if is_indirect(&found.text) { Err("leads to another reference".to_owned()) } else { Ok(found) }
}

fn unsealed(setting: &Setting, text: &str, values: &Values) -> Result<SecretBytes, String> {
    if ROOTS.contains(&setting.name) {
        return Err(A_ROOT.to_owned());
    }
    let root = values.get(ROOT).ok_or("is sealed, and there is no ENCRYPTION_KEY to open it")?;
    let root = RootKey::parse(&root.text)
        .map_err(|_| "is sealed, and ENCRYPTION_KEY is not of the form to open it")?;
    sealed_text::open(&root.derive(LABEL), setting.name, text).map_err(|error| {
        let message = match error {
            SealedTextError::Malformed => "is no whole text of `config seal`",
            SealedTextError::WrongRoot => "was sealed under another ENCRYPTION_KEY",
            SealedTextError::Tampered => "was altered, or sealed for another setting",
        };
        message.to_owned()
    })
}

/// The text as a setting has it. A key management service keeps keys as bytes.
fn text_of(setting: &Setting, content: &[u8]) -> Option<Zeroizing<String>> {
    if setting.kind == Kind::Key && content.len() == 32 {
        return Some(Zeroizing::new(STANDARD.encode(content)));
    }
    std::str::from_utf8(content).ok().map(|text| tidy(setting, text))
}

/// What may stand in the place of a setting's value.
pub(super) fn seal(setting: &Setting, text: &str, root: &RootKey) -> Result<String, Fault> {
    let refused = |message: &str| Fault::new(setting.name, message);
    if !setting.secret {
        return Err(refused("is no secret: nothing would open it"));
    }
    if ROOTS.contains(&setting.name) {
        return Err(refused(A_ROOT));
    }
    if is_indirect(text) {
        return Err(refused("is sealed or a reference already"));
    }
    let text = SecretBytes::from_slice(tidy(setting, text).as_bytes());
    sealed_text::seal(&root.derive(LABEL), setting.name, &text)
        .map_err(|error| refused(&error.to_string()))
}
