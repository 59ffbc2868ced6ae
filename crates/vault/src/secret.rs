//! A byte string that wipes itself and never prints itself.
//!
//! It knows nothing of what the bytes are for.

use std::fmt;

use zeroize::Zeroizing;

/// Secret bytes: zeroed on drop, redacted in `Debug`, without `Display` or serialisation.
#[derive(Clone)]
pub struct SecretBytes(Zeroizing<Vec<u8>>);

impl SecretBytes {
    /// Takes ownership of `bytes`. The vector must not have been reallocated while it held the
    /// secret, or copies of it stay behind in freed memory.
    pub fn new(bytes: Vec<u8>) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// Copies `bytes`; wiping the original stays the caller's duty.
    pub fn from_slice(bytes: &[u8]) -> Self {
        Self::new(bytes.to_vec())
    }

    /// The bytes themselves. Named so that a reviewer can search for every use.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }

    /// The bytes as text, `None` where they are not UTF-8.
    pub fn expose_text(&self) -> Option<&str> {
        std::str::from_utf8(&self.0).ok()
    }

    /// Length in bytes.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are no bytes at all.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Debug for SecretBytes {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("SecretBytes(redacted)")
    }
}
