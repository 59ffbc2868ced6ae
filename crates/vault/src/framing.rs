//! Unambiguous encoding of several parts into one byte string, for AAD and MAC inputs.
//!
//! Every part is preceded by its length as four big-endian bytes, so that ("ab", "c") and
//! ("a", "bc") never meet. The first part names the use and its version.

use uuid::Uuid;

/// Bytes under construction.
pub(crate) struct Framed(Vec<u8>);

impl Framed {
    /// Starts an encoding for one use, such as `strongroom/field/v1`.
    pub(crate) fn new(label: &str) -> Self {
        Self(Vec::with_capacity(192)).bytes(label.as_bytes())
    }

    /// Appends one part.
    pub(crate) fn bytes(mut self, part: &[u8]) -> Self {
        // A part of 4 GiB would need a bound that every caller already has; saturation keeps the
        // encoding unambiguous up to that size and nothing larger can be sealed.
        let length = u32::try_from(part.len()).unwrap_or(u32::MAX);
        self.0.extend_from_slice(&length.to_be_bytes());
        self.0.extend_from_slice(part);
        self
    }

    /// Appends an identifier in its 16-byte form.
    pub(crate) fn uuid(self, id: Uuid) -> Self {
        self.bytes(id.as_bytes())
    }

    /// Appends a number as four big-endian bytes.
    pub(crate) fn number(self, number: u32) -> Self {
        self.bytes(&number.to_be_bytes())
    }

    /// The encoding.
    pub(crate) fn finish(self) -> Vec<u8> {
        self.0
    }
}
