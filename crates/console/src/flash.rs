//! Owns the one message that survives a redirect: shown once, as a toast.
//!
//! It rides in a `__Host-` cookie, which only this host can set; it is escaped like
//! any other text. Refuses secrets: say that something was done, never its value.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

const LETTERS_MAX: usize = 240;

/// A message for the next page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Flash {
    /// One sentence.
    pub(crate) text: String,
}

impl Flash {
    pub(crate) fn new(text: impl Into<String>) -> Self {
        Self { text: text.into().chars().take(LETTERS_MAX).collect() }
    }

    pub(crate) fn cookie(&self) -> String {
        URL_SAFE_NO_PAD.encode(&self.text)
    }

    pub(crate) fn read(cookie: &str) -> Option<Self> {
        let bytes = URL_SAFE_NO_PAD.decode(cookie).ok()?;
        Some(Self::new(String::from_utf8(bytes).ok()?)).filter(|flash| !flash.text.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::Flash;

    #[test]
    fn what_was_said_is_read_and_nonsense_is_nothing() {
        let flash = Flash::new("Účet otevřen");
        assert_eq!(Flash::read(&flash.cookie()), Some(flash));
        assert_eq!(Flash::read("%%%"), None);
        assert_eq!(Flash::read(""), None);
    }
}
