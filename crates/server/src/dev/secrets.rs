//! Owns a development installation's root key: the configured one, else one made
//! once, kept beside its database and readable by its owner alone; forgotten with
//! an ephemeral one.
//! The passwords of its people follow from it, so that they need no keeping.

use std::fmt::Write as _;
use std::fs::OpenOptions;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use anyhow::Context as _;
use vault::{RootKey, RootKeys};
use zeroize::Zeroizing;

use crate::config::Configuration;

const KEY_BYTES: usize = 32;

/// The roots of a development installation, in the form of `ENCRYPTION_KEY`.
pub(super) struct Secrets {
    root: Zeroizing<String>,
    field: Option<Zeroizing<String>>,
}

impl Secrets {
    /// The keys of the configuration, where it has any.
    pub(super) fn of(configuration: &Configuration) -> Option<Self> {
        let (root, field) = configuration.root_key_texts();
        Some(Self { root: root?, field })
    }

    /// Random, and nowhere kept.
    pub(super) fn ephemeral() -> Self {
        let random = vault::random_secret(KEY_BYTES);
        Self { root: hexadecimal(random.expose()), field: None }
    }

    /// From a file; made where there is none.
    ///
    /// # Errors
    /// Where the file cannot be read or written, or holds no key.
    pub(super) fn kept_in(path: &Path) -> anyhow::Result<Self> {
        let context = || {
            let path = path.display();
            format!(
                "cannot use the development key {path}; make the folder yours, or choose another with --folder"
            )
        };
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(path)
            .with_context(context)?;
        let mut text = Zeroizing::new(String::new());
        file.read_to_string(&mut text).with_context(context)?;
        if text.trim().is_empty() {
            let made = Self::ephemeral();
            file.write_all(made.root.as_bytes()).with_context(context)?;
            return Ok(made);
        }
        RootKey::parse(&text).with_context(context)?;
        Ok(Self { root: Zeroizing::new(text.trim().to_owned()), field: None })
    }

    /// The root in the form of `ENCRYPTION_KEY`.
    pub(super) fn encryption_key(&self) -> &str {
        &self.root
    }

    /// The two roots.
    ///
    /// # Errors
    /// Never for keys that were checked when they were read.
    pub(super) fn roots(&self) -> anyhow::Result<RootKeys> {
        let field = self.field.as_deref().map(|text| RootKey::parse(text)).transpose()?;
        Ok(RootKeys::new(RootKey::parse(&self.root)?, field))
    }

    /// The password that the people of a tenant share. It fits every blueprint's
    /// rules: long, four classes, nobody's name.
    pub(super) fn password_of(&self, tenant: &str) -> Zeroizing<String> {
        let info = format!("password of {tenant}");
        let derived =
            vault::hkdf_sha256(b"strongroom/development", self.root.as_bytes(), info.as_bytes());
        Zeroizing::new(format!("Try-{}-4u", hexadecimal(&derived[..6]).as_str()))
    }
}

fn hexadecimal(bytes: &[u8]) -> Zeroizing<String> {
    let text = Zeroizing::new(String::with_capacity(2 * bytes.len()));
    bytes.iter().fold(text, |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::os::unix::fs::PermissionsExt as _;

    use super::Secrets;

    #[test]
    fn the_key_is_made_once_and_its_passwords_follow() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        let made = Secrets::kept_in(&path).unwrap();
        let read = Secrets::kept_in(&path).unwrap();
        assert_eq!(*made.password_of("bank"), *read.password_of("bank"));
        assert_ne!(*made.password_of("bank"), *made.password_of("other"));
        assert_ne!(*made.password_of("bank"), *Secrets::ephemeral().password_of("bank"));
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        made.roots().unwrap();
        std::fs::write(&path, "nonsense").unwrap();
        assert!(Secrets::kept_in(&path).is_err());
    }
}
